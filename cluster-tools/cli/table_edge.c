/* Commands about who is let in, and to whom: access, recipient, policy. */
#include "base/limits.h"
#include "cluster-tools/cli/table_parts.h"

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

/* --- recipient --- */

static const struct cli_option recipient_options[] = {OPT_DRY_RUN};

static const struct cli_option import_options[] = {
    {"file", 'f', "FILE", CLI_TEXT, NULL, NULL, 0,
     "An address a line, or a local part; @ for all; # begins a comment; - is standard input"},
    {"replace", 0, NULL, CLI_FLAG, NULL, NULL, 0,
     "Take what the file does not name off the list"},
    OPT_DRY_RUN,
};

static const struct cli_column recipient_columns[] = {
    {"RECIPIENT", "recipient", CLI_F_TEXT, NULL, 0},
    {"ADDED", "added", CLI_F_TIME, NULL, 0},
    {"BY", "uid", CLI_F_COUNT, NULL, 0},
};

static const struct cli_column match_columns[] = {
    {"recipient", "recipient", CLI_F_TEXT, NULL, 0},
    {"match", "match", CLI_F_TEXT, NULL, 0},
    {"entry", "entry", CLI_F_TEXT, NULL, 0},
};

static const struct cli_column asked_columns[] = {
    {"recipient", "recipient", CLI_F_TEXT, NULL, 0},
    {"the primary says", "verdict", CLI_F_TEXT, NULL, 0},
    {"held by site", "holder", CLI_F_COUNT, NULL, 0},
};

static const struct cli_column changed_columns[] = {
    {"domain", "domain", CLI_F_TEXT, NULL, 0},
    {"added", "added", CLI_F_COUNT, NULL, 0},
    {"removed", "removed", CLI_F_COUNT, NULL, 0},
    {"as they were", "unchanged", CLI_F_COUNT, NULL, 0},
    {"listed", "listed", CLI_F_COUNT, NULL, 0},
    {"dry run", "dry_run", CLI_F_BOOL, NULL, 0},
};

#define RECIPIENTS                                                                             \
    {                                                                                          \
        "RECIPIENT", CLI_TEXT, CLI_MANY, "recipients", NULL, 0                                 \
    }
#define THE_DOMAIN                                                                             \
    {                                                                                          \
        "DOMAIN", CLI_DOMAIN, CLI_ONE, "domain", NULL, 0                                       \
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
     "Also within a network that is blocked. They are spared the greylist, the policy server, "
     "the "
     "limits of clients, the count of recipients that are not there, and all checks of their "
     "domains but that of the header.",
     "trispool access allow 192.0.2.25", NETWORKS, access_options, COUNT(access_options),
     "access.change", "allow", false, CLI_TABLE, access_columns, COUNT(access_columns)},
    {"access", "remove", "Forget entries", "Networks without an entry are fine.", NULL,
     NETWORKS, access_remove_options, COUNT(access_remove_options), "access.change", "remove",
     false, CLI_SUMMARY, access_columns, COUNT(access_columns)},

    {"recipient", "list", "The recipients that a domain lists", NULL, NULL, THE_DOMAIN, NULL, 0,
     "recipient.list", NULL, false, CLI_TABLE, recipient_columns, COUNT(recipient_columns)},
    {"recipient", "show", "Does a list have this recipient, and by which entry?",
     "Looked for as it is (in any case), then without its sub-address, then *@*. Exit status 1 "
     "when none holds.",
     "trispool recipient show john+news@example.com", ONE_ADDRESS, NULL, 0, "recipient.show",
     NULL, false, CLI_RECORD, match_columns, COUNT(match_columns)},
    {"recipient", "ask", "Ask the primary whether it has this recipient",
     "MAIL FROM:<> and RCPT, nothing is sent. *valid*: it would take mail for it, and it "
     "refuses a "
     "recipient that nobody has; *invalid*: it refuses it; *takes-all*: it takes whoever is "
     "named (known for a day); *unknown*: nothing came of it; *not-asked*: another site holds "
     "the domain (ask there), mail is on its way to the primary, it does not answer, or it has "
     "been asked ten times in this minute, over all sites. Exit status 1 unless *valid*.",
     "trispool recipient ask john@example.com", ONE_ADDRESS, NULL, 0, "recipient.ask", NULL,
     false, CLI_RECORD, asked_columns, COUNT(asked_columns)},
    {"recipient", "add", "Put recipients on the list of their domain",
     "*@example.com* is every recipient of example.com. The list counts once *domain set "
     "--recipients list* says so; then others are refused with 550 5.1.1, but for postmaster "
     "and abuse.",
     "trispool recipient add john@example.com mary@example.com", RECIPIENTS, recipient_options,
     COUNT(recipient_options), "recipient.change", "add", false, CLI_RECORD, changed_columns,
     COUNT(changed_columns)},
    {"recipient", "remove", "Take recipients off the list of their domain",
     "The last one stays for as long as the domain takes listed ones only.", NULL, RECIPIENTS,
     recipient_options, COUNT(recipient_options), "recipient.change", "remove", false,
     CLI_RECORD, changed_columns, COUNT(changed_columns)},
    {"recipient", "import", "Put the recipients of a file on the list of a domain",
     "In pieces: those that are new come first, with *--replace* the others go after them, so "
     "that no recipient who stays is refused meanwhile. When it breaks off, the same command "
     "does the rest.",
     "trispool recipient import example.com --file users.txt --replace", THE_DOMAIN,
     import_options, COUNT(import_options), "recipient.change", NULL, false, CLI_RECORD,
     changed_columns, COUNT(changed_columns)},

    {"policy", "test", "What would be said to a client, and why",
     "Looks up what a session would look up and shows what each check finds, those that the "
     "domain has off included; nothing is sent, counted or changed. Exit status 1 when the "
     "mail would be refused. Not looked at: limits on connections, whether the client is a "
     "host "
     "of the domain itself (which no greylist holds up), the policy server, and what the "
     "primary would say if it were asked.",
     "trispool policy test --ip 192.0.2.7 --helo mail.example.org --from a@example.org --rcpt "
     "b@example.com",
     NONE, policy_options, COUNT(policy_options), "policy.test", NULL, false, CLI_RECORD,
     policy_columns, COUNT(policy_columns)},
};

struct cli_part cli_edge_part(void)
{
    return (struct cli_part){commands, COUNT(commands)};
}
