/*
 * link: the connection to the daemon's control socket, for one request. Blocking, with a
 * deadline for silence (LIMIT_TOOL_SILENCE_MS). Lines up to LIMIT_TOOL_ANSWER_BYTES.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "cluster-tools/cli/parse.h"

struct link {
    int fd;
    char *buf;
    size_t start, used, looked, size; /* start: of the line not yet given */
};

/* Errors of all: E_IO, with *why set. */
MUST_CHECK enum err link_open(struct link *l, const char *path, struct cli_error *why);
void link_close(struct link *l);
/* Takes args. */
MUST_CHECK enum err link_send(struct link *l, const char *command, json_t *args,
                              struct cli_error *why);
/* Gives the next line of the answer, an object. */
MUST_CHECK enum err link_read(struct link *l, json_t **out, struct cli_error *why);
