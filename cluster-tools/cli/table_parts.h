/* Between the files that the table of commands is made of (table*.c) only. */
#pragma once

#include "cluster-tools/cli/table.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NONE                                                                                   \
    {                                                                                          \
        NULL, CLI_FLAG, CLI_ONE, NULL, NULL, 0                                                 \
    }

#define OPT_YES                                                                                \
    {                                                                                          \
        "yes", 'y', NULL, CLI_FLAG, NULL, NULL, 0, "Do not ask"                                \
    }
#define OPT_DRY_RUN                                                                            \
    {                                                                                          \
        "dry-run", 'n', NULL, CLI_FLAG, "dry_run", NULL, 0,                                    \
            "Show what would be done, and do nothing"                                          \
    }

#define OPT_SMTPUTF8                                                                           \
    {                                                                                          \
        "smtputf8", 0, "yes|no", CLI_YESNO, "smtputf8", "yes|no", 0,                           \
            "Whether its primary takes internationalised mail (RFC 6531), so that it may be "  \
            "taken here"                                                                       \
    }

#define ONE_DOMAIN                                                                             \
    {                                                                                          \
        "DOMAIN", CLI_DOMAIN, CLI_ONE, "name", NULL, 0                                         \
    }

struct cli_part {
    const struct cli_command *commands;
    size_t count;
};

/* table_edge.c: who is let in, and to whom */
struct cli_part cli_edge_part(void);
