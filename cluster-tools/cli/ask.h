/* ask: runs of commands that ask the daemon. Each returns the exit status. */
#pragma once

#include "cluster-tools/cli/parse.h"

/* One request. Takes args. Each row is given to `take`; *last gives the final line. E_IO: *why
 * says what, and *last is NULL. */
MUST_CHECK enum err ask_talk(const struct cli_run *run, const char *command, json_t *args,
                             void (*take)(void *to, json_t *row), void *to, json_t **last,
                             struct cli_error *why);

int ask_daemon(const struct cli_run *run);
/* Shows what would be done, asks on the terminal, does it. */
int ask_destructive(const struct cli_run *run);
/* health, as a Nagios plugin. */
int ask_nagios(const struct cli_run *run);
