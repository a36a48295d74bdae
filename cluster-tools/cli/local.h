/* local: commands that need no daemon. Returns the exit status. */
#pragma once

#include "cluster-tools/cli/parse.h"

int local_run(const struct cli_run *run);
