/* Rows of table.c about mail that its sender is not told of; a part of that file. Threads:
 * none, static data. */
#pragma once

#include "base/limits.h"
#include "cluster-tools/cli/table.h"

#define OPT_DSN                                                                                \
    {                                                                                          \
        "dsn", 0, "WHOM", CLI_WORD, "dsn", "authenticated|all|none", 0,                        \
            "Which senders are told of mail that ended undelivered: those whom SPF passed "    \
            "when it came (the default), all, or none; of the rest trispool queue "            \
            "undelivered tells"                                                                \
    }

#define OPT_DIGEST                                                                             \
    {                                                                                          \
        "digest", 0, "ADDRESS", CLI_TEXT, "digest", NULL, 0,                                   \
            "Where its owner is told, once a day at most, of mail that ended undelivered and " \
            "whose sender was not told; \"\": nowhere"                                         \
    }

static const struct cli_option undelivered_options[] = {
    {"domain", 'd', "DOMAIN", CLI_DOMAIN, "domain", NULL, 0, "Mail for this domain"},
    {"within", 0, "TIME", CLI_SPAN, "within_s", NULL, INT32_MAX,
     "Mail that ended no longer ago than this: 1d"},
};

static const struct cli_column undelivered_columns[] = {
    {"ID", "id", CLI_F_TEXT, NULL, 0},
    {"ENDED", "ended", CLI_F_TIME, NULL, 0},
    {"RECEIVED", "received", CLI_F_TIME, NULL, 0},
    {"SENDER", "sender", CLI_F_SENDER, NULL, 0},
    {"RECIPIENT", "recipient", CLI_F_TEXT, NULL, 0},
    {"FATE", "fate", CLI_F_STATE, NULL, 0},
    {"REPLY", "reply", CLI_F_TEXT, NULL, 0},
    {"SENDER NOT TOLD", "not_told", CLI_F_TEXT, NULL, 0},
};

#define UNDELIVERED_COMMAND                                                                    \
    {                                                                                          \
        "queue", "undelivered", "Mail that ended and whose sender was not told",               \
            "Mail that was refused for good or expired, and whose sender was not told: not "   \
            "authenticated, the null sender, told too often, or as the domain wants it. A "    \
            "line a recipient, 30 days back.",                                                 \
            "trispool queue undelivered --domain example.com --within 1d",                     \
            {NULL, CLI_FLAG, CLI_ONE, NULL, NULL, 0}, undelivered_options,                     \
            sizeof undelivered_options / sizeof *undelivered_options, "queue.undelivered",     \
            NULL, false, CLI_TABLE, undelivered_columns,                                       \
            sizeof undelivered_columns / sizeof *undelivered_columns                           \
    }
