#include "cluster-tools/common/version.h"

#include <argp.h>
#include <stdio.h>

#ifndef TRISPOOL_VERSION
#error "the build defines TRISPOOL_VERSION"
#endif

static const char *announced;

static void print_version(FILE *to, struct argp_state *state)
{
    (void)state;
    fprintf(to, "%s %s\n", announced, TRISPOOL_VERSION);
}

void version_announce(const char *program)
{
    announced = program;
    argp_err_exit_status = EXIT_USAGE;
    argp_program_version_hook = print_version;
}
