/* What the files of the table share (table*.c). */
#pragma once

#include "base/limits.h"
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

/* table_door.c: access, policy */
const struct cli_command *cli_door_commands(size_t *count);
