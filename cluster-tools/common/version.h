/*
 * version: what --version prints, and the exit status of a wrong usage, for argp programs.
 */
#pragma once

#define EXIT_USAGE   64 /* EX_USAGE of sysexits.h */
#define EXIT_MACHINE 71 /* EX_OSERR: descriptors, memory, files; nothing was judged */

/* Call before argp_parse(). `program` is borrowed for the life of the process. */
void version_announce(const char *program);
