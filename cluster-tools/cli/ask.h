/* ask: runs of commands that ask the daemon. Each returns the exit status. */
#pragma once

#include "cluster-tools/cli/parse.h"

int ask_daemon(const struct cli_run *run);
/* Shows what would be done, asks on the terminal, does it. */
int ask_destructive(const struct cli_run *run);
/* health, as a Nagios plugin. */
int ask_nagios(const struct cli_run *run);
