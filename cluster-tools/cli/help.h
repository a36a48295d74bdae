/* help: --help, the man page's source and completion files, out of the table. */
#pragma once

#include <stdio.h>

#include "cluster-tools/cli/table.h"

/* Of the whole program; noun not NULL: of its verbs only. */
void help_overview(FILE *out, const char *noun);
void help_command(FILE *out, const struct cli_command *c);

void generate_man(FILE *out); /* scdoc; docs/man/trispool.1.scd is this */
void generate_bash(FILE *out);
void generate_zsh(FILE *out);
void generate_fish(FILE *out);
