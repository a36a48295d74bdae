/*
 * member: cluster init, key and join: who a node is, in the files of one that does not run.
 * Root becomes the owner of the data directory first, so that the daemon can read what is made.
 * Returns the exit status.
 */
#pragma once

#include "cluster-tools/cli/parse.h"

int member_run(const struct cli_run *run);
