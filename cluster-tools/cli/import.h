/*
 * import: recipients of a file onto the list of a domain. Reads the file, then the list, and
 * sends the difference: additions first, so that nobody who stays is refused in between. What
 * it did not get done it does when it is run again.
 * Limits: LIMIT_TOOL_IMPORT_BYTES of the file, LIMIT_ROSTER_PER_DOMAIN recipients.
 */
#pragma once

#include "cluster-tools/cli/parse.h"

bool import_is_meant(const struct cli_run *run);
int import_run(const struct cli_run *run); /* the exit status */
