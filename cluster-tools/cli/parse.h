/*
 * parse: the command line, by the table. No I/O. Options may stand anywhere, `--` ends them;
 * --name VALUE, --name=VALUE, -x VALUE and -xVALUE are the same. Nothing is abbreviated.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "cluster-tools/cli/table.h"

enum cli_output { CLI_OUT_TABLE, CLI_OUT_JSON, CLI_OUT_JSONL };

/* What went wrong, for people and for JSON. Texts may hold outside bytes: escape them. */
struct cli_error {
    int exit;
    char what[560], where[300], act[300]; /* where and act may be empty */
};

void cli_error_set(struct cli_error *e, int exit, const char *where, const char *act,
                   const char *what, ...) __attribute__((format(printf, 5, 6)));

struct cli_run {
    const struct cli_command *command; /* NULL: help or version of the whole */
    const char *noun;                  /* help is asked for all its verbs; else NULL */
    bool help, version, quiet, yes, dry_run, nagios, replace;
    const char *socket; /* NULL: not given */
    const char *file;   /* NULL: not given; "-": standard input */
    enum cli_output output;
    json_t *args;        /* of the request */
    const char *operand; /* of a command that asks no daemon; NULL: none */
};

/* OK, and *out to be given to cli_run_fini(), which borrows argv; or E_PROTO and *why is set.
 * Also after E_PROTO out->output says how to write the error. */
MUST_CHECK enum err cli_parse(int argc, char **argv, struct cli_run *out,
                              struct cli_error *why);
void cli_run_fini(struct cli_run *r);

/* "14d", "1d12h", "90s", "0": seconds. False: not a time, or above max. */
bool cli_span_parse(struct str text, uint64_t max, uint64_t *out);
