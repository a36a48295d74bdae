/* The commands about who is let in. */
#include "cluster-tools/cli/table_private.h"

/* --- access --- */

#define OPT_FOR                                                                                \
    {                                                                                          \
        "for", 0, "TIME", CLI_SPAN, "for_s", NULL, LIMIT_ACCESS_FOR_S,                         \
            "How long the entry counts, up to 520w; without it until it is removed"            \
    }
static const struct cli_option access_options[] = {
    OPT_FOR,
    {"reason", 0, "TEXT", CLI_TEXT, "reason", NULL, 0,
     "Why, for colleagues; who is refused is told it, too"},
    OPT_DRY_RUN,
};

static const struct cli_option access_remove_options[] = {OPT_DRY_RUN};

static const struct cli_column access_columns[] = {
    {"NETWORK", "network", CLI_F_TEXT, NULL, 0}, {"ACTION", "action", CLI_F_TEXT, NULL, 0},
    {"EXPIRES", "expires", CLI_F_TIME, NULL, 0}, {"ADDED", "added", CLI_F_TIME, NULL, 0},
    {"BY", "uid", CLI_F_COUNT, NULL, 0},         {"REASON", "reason", CLI_F_TEXT, NULL, 0},
};

#define NETWORKS                                                                               \
    {                                                                                          \
        "NETWORK", CLI_TEXT, CLI_MANY, "networks", NULL, 0                                     \
    }
#define ONE_ADDRESS                                                                            \
    {                                                                                          \
        "ADDRESS", CLI_TEXT, CLI_ONE, "address", NULL, 0                                       \
    }

/* --- policy --- */

static const struct cli_option policy_options[] = {
    {"ip", 0, "ADDRESS", CLI_TEXT, "ip", NULL, 0, "Address of the client"},
    {"helo", 0, "NAME", CLI_TEXT, "helo", NULL, 0, "What it says in HELO"},
    {"from", 0, "ADDRESS", CLI_TEXT, "from", NULL, 0,
     "What it says in MAIL FROM; '<>' is the null sender"},
    {"rcpt", 0, "ADDRESS", CLI_TEXT, "rcpt", NULL, 0, "A recipient of a domain served here"},
    {"message", 'm', "FILE", CLI_MESSAGE, "message", NULL, 0,
     "Message whose header is judged, too; lines end with LF or CRLF"},
};

static const struct cli_column verdict_columns[] = {
    {"CHECK", "check", CLI_F_TEXT, NULL, 0},   {"MODE", "mode", CLI_F_TEXT, NULL, 0},
    {"FOUND", "result", CLI_F_TEXT, NULL, 0},  {"AGAINST", "against", CLI_F_BOOL, NULL, 0},
    {"DETAIL", "detail", CLI_F_TEXT, NULL, 0},
};

static const struct cli_column policy_columns[] = {
    {"client", "ip", CLI_F_TEXT, NULL, 0},
    {"HELO", "helo", CLI_F_TEXT, NULL, 0},
    {"sender", "from", CLI_F_TEXT, NULL, 0},
    {"recipient", "rcpt", CLI_F_TEXT, NULL, 0},
    {"taken", "taken", CLI_F_BOOL, NULL, 0},
    {"reply", "reply", CLI_F_TEXT, NULL, 0},
    {"looked up in", "looked_up_ms", CLI_F_MS, NULL, 0},
    {"out of time", "late", CLI_F_BOOL, NULL, 0},
    {"checks", "checks", CLI_F_ROWS, verdict_columns, COUNT(verdict_columns)},
};

static const struct cli_command commands[] = {
    {"access", "list", "Networks that are blocked or allowed", NULL, NULL, NONE, NULL, 0,
     "access.list", NULL, false, CLI_TABLE, access_columns, COUNT(access_columns)},
    {"access", "show", "The entry that holds for an address",
     "Of all networks that hold it, the longest counts. Exit status 1 when there is none.",
     NULL, ONE_ADDRESS, NULL, 0, "access.show", NULL, false, CLI_RECORD, access_columns,
     COUNT(access_columns)},
    {"access", "block", "Take no mail from clients of these networks",
     "Their recipients are refused with 550 5.7.1, but for postmaster. In force at all sites "
     "within two seconds. An entry for the same network is replaced.",
     "trispool access block 192.0.2.0/24 --for 7d --reason \"spam run\"", NETWORKS,
     access_options, COUNT(access_options), "access.change", "block", false, CLI_TABLE,
     access_columns, COUNT(access_columns)},
    {"access", "allow", "Take mail from clients of these networks",
     "For a part of a network that is blocked.", "trispool access allow 192.0.2.25", NETWORKS,
     access_options, COUNT(access_options), "access.change", "allow", false, CLI_TABLE,
     access_columns, COUNT(access_columns)},
    {"access", "remove", "Forget entries", "Networks without an entry are fine.", NULL,
     NETWORKS, access_remove_options, COUNT(access_remove_options), "access.change", "remove",
     false, CLI_SUMMARY, access_columns, COUNT(access_columns)},

    {"policy", "test", "What would be said to a client, and why",
     "Looks up what a session would look up and shows what each check finds, those that the "
     "domain has off included; nothing is sent, counted or changed. Exit status 1 when the "
     "mail "
     "would be refused. Limits on connections are not looked at.",
     "trispool policy test --ip 192.0.2.7 --helo mail.example.org --from a@example.org --rcpt "
     "b@example.com",
     NONE, policy_options, COUNT(policy_options), "policy.test", NULL, false, CLI_RECORD,
     policy_columns, COUNT(policy_columns)},
};

const struct cli_command *cli_door_commands(size_t *count)
{
    *count = COUNT(commands);
    return commands;
}
