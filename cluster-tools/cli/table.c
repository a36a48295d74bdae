#include "cluster-tools/cli/table.h"

#include "base/limits.h"
#include "cluster-tools/cli/table_parts.h"
#include "cluster-tools/cli/table_undelivered.h"

/* --- options that several commands share --- */

#define OPT_ROUTE                                                                              \
    {                                                                                          \
        "route", 'r', "ROUTE", CLI_TEXT, "route", NULL, 0,                                     \
            "Where the mail goes: mx (the domain's own MX records), or "                       \
            "HOST[:PORT][=PREFERENCE],... in the order of trying"                              \
    }
#define OPT_HOLD                                                                               \
    {                                                                                          \
        "hold", 0, "TIME", CLI_SPAN, "hold_s", NULL, LIMIT_HOLD_MAX_S,                         \
            "How long mail is kept for a primary that is away: 1d to 60d; 0d: as the plan "    \
            "says"                                                                             \
    }
#define OPT_TLS                                                                                \
    {                                                                                          \
        "tls", 0, "MODE", CLI_WORD, "tls", "opportunistic|require|off", 0,                     \
            "TLS with the primary"                                                             \
    }
#define OPT_EIGHT_BIT                                                                          \
    {                                                                                          \
        "eight-bit", 0, "MODE", CLI_WORD, "eight_bit", "pass|hold", 0,                         \
            "8-bit mail for a primary without 8BITMIME: passed on as it is, or held"           \
    }
#define OPT_PLAN                                                                               \
    {                                                                                          \
        "plan", 0, "NAME", CLI_TEXT, "plan", NULL, 0, "Plan whose limits count"                \
    }
#define OPT_CONNECTIONS                                                                        \
    {                                                                                          \
        "max-connections", 0, "N", CLI_COUNT, "max_connections", NULL, LIMIT_DOMAIN_CONNS,     \
            "Connections to its primary side by side; 0: as the plan says"                     \
    }
#define OPT_CHECKS                                                                             \
    {                                                                                          \
        "checks", 0, "KIND=MODE,...", CLI_TEXT, "checks", NULL, 0,                             \
            "What is looked at before its mail is taken: rdns, dnsbl, helo, sender, forged, "  \
            "spf, headers, greylist, server (what the node's policy server says) or all, "     \
            "each "                                                                            \
            "off, mark, defer (4xx) or refuse (5xx)"                                           \
    }
#define OPT_RECIPIENTS                                                                         \
    {                                                                                          \
        "recipients", 0, "MODE", CLI_WORD, "recipients", "any|list|learn", 0,                  \
            "Which recipients it has: any, those of its list (trispool recipient), or of "     \
            "these and whom its primary takes, which is learned from deliveries"               \
    }
#define OPT_UNKNOWN                                                                            \
    {                                                                                          \
        "unknown", 0, "MODE", CLI_WORD, "unknown", "authenticated|accept|defer", 0,            \
            "With --recipients learn, what becomes of mail for recipients of whom nothing is " \
            "known: taken of senders that SPF passes and else put off (450), taken, or put "   \
            "off"                                                                              \
    }
#define OPT_SEPARATOR                                                                          \
    {                                                                                          \
        "separator", 0, "CHARACTER", CLI_TEXT, "separator", NULL, 0,                           \
            "What sub-addresses begin with: with + the list's john@ is john+anything@ too; "   \
            "\"\": nothing"                                                                    \
    }
#define OPT_PAUSED                                                                             \
    {                                                                                          \
        "paused", 0, "yes|no", CLI_YESNO, "paused", "yes|no", 0,                               \
            "Whether its mail is taken and kept, but not delivered"                            \
    }

static const struct cli_option globals[] = {
    {"socket", 's', "PATH", CLI_TEXT, NULL, NULL, 0,
     "Control socket of the daemon (default: $TRISPOOL_SOCKET, or "
     "/run/trispool/control.sock)"},
    {"output", 'o', "FORMAT", CLI_WORD, NULL, "table|json|jsonl", 0,
     "table (default, for people), json (one object), jsonl (an object a line)"},
    {"quiet", 'q', NULL, CLI_FLAG, NULL, NULL, 0, "Errors only"},
    {"help", 'h', NULL, CLI_FLAG, NULL, NULL, 0, "Show this help"},
    {"version", 'V', NULL, CLI_FLAG, NULL, NULL, 0, "Show the version"},
};

/* --- status --- */

static const struct cli_column node_columns[] = {
    {"SITE", "site", CLI_F_COUNT, NULL, 0},
    {"STATE", "state", CLI_F_STATE, NULL, 0},
    {"LINK", "link", CLI_F_STATE, NULL, 0},
    {"LEADER", "leader", CLI_F_BOOL, NULL, 0},
    {"SLOTS", "slots", CLI_F_COUNT, NULL, 0},
    {"FILLED", "filled", CLI_F_BOOL, NULL, 0},
    {"DRAINING", "draining", CLI_F_BOOL, NULL, 0},
    {"TAKES MAIL", "takes_mail", CLI_F_BOOL, NULL, 0},
    {"LAG", "echo_ms", CLI_F_MS, NULL, 0},
    {"LAST ACK", "ack_age_ms", CLI_F_MS, NULL, 0},
    {"LACKS", "lacks", CLI_F_COUNT, NULL, 0},
    {"WAITING", "queued_bytes", CLI_F_BYTES, NULL, 0},
};

static const struct cli_column dnsbl_columns[] = {
    {"LIST", "zone", CLI_F_TEXT, NULL, 0},    {"ADDRESSES", "addresses", CLI_F_TEXT, NULL, 0},
    {"STATE", "state", CLI_F_STATE, NULL, 0}, {"ALARM", "alarm", CLI_F_BOOL, NULL, 0},
    {"WHY", "why", CLI_F_TEXT, NULL, 0},
};

static const struct cli_column status_columns[] = {
    {"version", "version", CLI_F_TEXT, NULL, 0},
    {"cluster", "cluster", CLI_F_TEXT, NULL, 0},
    {"site", "site", CLI_F_COUNT, NULL, 0},
    {"host name", "hostname", CLI_F_TEXT, NULL, 0},
    {"copies of a message", "copies", CLI_F_COUNT, NULL, 0},
    {"one-copy mode", "one_copy_mode", CLI_F_BOOL, NULL, 0},
    {"solo, one copy", "solo", CLI_F_BOOL, NULL, 0},
    {"takes mail", "takes_mail", CLI_F_BOOL, NULL, 0},
    {"gate", "gate", CLI_F_TEXT, NULL, 0},
    {"quorum", "quorum", CLI_F_BOOL, NULL, 0},
    {"leader", "leader", CLI_F_COUNT, NULL, 0},
    {"filled", "filled", CLI_F_BOOL, NULL, 0},
    {"may deliver", "may_deliver", CLI_F_BOOL, NULL, 0},
    {"slots held", "slots", CLI_F_COUNT, NULL, 0},
    {"fewer than two copies", "single_copies", CLI_F_COUNT, NULL, 0},
    {"undecided", "undecided", CLI_F_COUNT, NULL, 0},
    {"intakes waiting", "intakes_waiting", CLI_F_COUNT, NULL, 0},
    {"dots waiting", "dots_waiting", CLI_F_COUNT, NULL, 0},
    {"copy alarms", "copy_alarms", CLI_F_COUNT, NULL, 0},
    {"strangers", "strangers", CLI_F_COUNT, NULL, 0},
    {"fenced", "fenced", CLI_F_BOOL, NULL, 0},
    {"alarms", "alarms", CLI_F_COUNT, NULL, 0},
    {"up", "uptime_s", CLI_F_AGE, NULL, 0},
    {"started", "started", CLI_F_TIME, NULL, 0},
    {"session epoch", "session_epoch", CLI_F_COUNT, NULL, 0},
    {"cluster clock", "cluster_clock_ms", CLI_F_MS, NULL, 0},
    {"control log applied", "control_applied", CLI_F_COUNT, NULL, 0},
    {"sessions open", "sessions", CLI_F_COUNT, NULL, 0},
    {"queue", "queue_messages", CLI_F_COUNT, NULL, 0},
    {"queue size", "queue_bytes", CLI_F_BYTES, NULL, 0},
    {"oldest message", "oldest", CLI_F_TIME, NULL, 0},
    {"its age", "oldest_age_s", CLI_F_AGE, NULL, 0},
    {"ready", "ready", CLI_F_COUNT, NULL, 0},
    {"deferred", "deferred", CLI_F_COUNT, NULL, 0},
    {"held", "held", CLI_F_COUNT, NULL, 0},
    {"in delivery", "in_delivery", CLI_F_COUNT, NULL, 0},
    {"destinations", "destinations", CLI_F_COUNT, NULL, 0},
    {"destinations down", "destinations_down", CLI_F_COUNT, NULL, 0},
    {"connections out", "connections_out", CLI_F_COUNT, NULL, 0},
    {"possible duplicates", "possible_duplicates", CLI_F_COUNT, NULL, 0},
    {"damaged records", "corrupt_records", CLI_F_COUNT, NULL, 0},
    {"spool used", "spool_used_bytes", CLI_F_BYTES, NULL, 0},
    {"spool capacity", "spool_capacity_bytes", CLI_F_BYTES, NULL, 0},
    {"spool full", "spool_full", CLI_F_BOOL, NULL, 0},
    {"domains", "domains", CLI_F_COUNT, NULL, 0},
    {"orders pending", "orders_pending", CLI_F_COUNT, NULL, 0},
    {"scheduler answers", "scheduler_answers", CLI_F_BOOL, NULL, 0},
    {"nodes", "nodes", CLI_F_ROWS, node_columns, COUNT(node_columns)},
    {"resolver", "resolver", CLI_F_TEXT, NULL, 0},
    {"lists in DNS", "dnsbl", CLI_F_ROWS, dnsbl_columns, COUNT(dnsbl_columns)},
};

static const struct cli_column health_columns[] = {
    {"health", "health", CLI_F_STATE, NULL, 0},
    {"why", "text", CLI_F_TEXT, NULL, 0},
    {"copies of a message", "copies", CLI_F_COUNT, NULL, 0},
};

static const struct cli_option health_options[] = {
    {"nagios", 0, NULL, CLI_FLAG, NULL, NULL, 0,
     "One line and the exit status of a Nagios plugin: 0 ok, 1 warning, 2 critical, 3 unknown"},
};

/* --- queue --- */

static const struct cli_option list_options[] = {
    {"domain", 'd', "DOMAIN", CLI_DOMAIN, "domain", NULL, 0, "Mail for this domain"},
    {"sender", 0, "ADDRESS", CLI_TEXT, "sender", NULL, 0,
     "Mail from this address (\"\" is the null sender)"},
    {"older", 0, "TIME", CLI_SPAN, "older_s", NULL, INT32_MAX, "Mail at least this old: 2h"},
    {"state", 0, "STATE", CLI_WORD, "state", "queued|deferred|held|dsn", 0,
     "Mail in this state"},
    {"limit", 'l', "N", CLI_COUNT, "limit", NULL, INT64_MAX, "At most N messages"},
};

static const struct cli_column list_columns[] = {
    {"ID", "id", CLI_F_TEXT, NULL, 0},
    {"STATE", "state", CLI_F_STATE, NULL, 0},
    {"AGE", "age_s", CLI_F_AGE, NULL, 0},
    {"SIZE", "body_bytes", CLI_F_BYTES, NULL, 0},
    {"TRIES", "attempts", CLI_F_COUNT, NULL, 0},
    {"COPIES", "copies", CLI_F_COUNT, NULL, 0},
    {"HOLDER", "holder", CLI_F_COUNT, NULL, 0},
    {"SENDER", "sender", CLI_F_SENDER, NULL, 0},
    {"RECIPIENTS", "recipients", CLI_F_LIST, NULL, 0},
};

static const struct cli_column rcpt_columns[] = {
    {"RECIPIENT", "recipient", CLI_F_TEXT, NULL, 0},
    {"FATE", "fate", CLI_F_STATE, NULL, 0},
    {"TRIES", "attempts", CLI_F_COUNT, NULL, 0},
    {"LAST TRY", "last_try", CLI_F_TIME, NULL, 0},
    {"NEXT TRY", "next_try", CLI_F_TIME, NULL, 0},
    {"FINAL", "final", CLI_F_TIME, NULL, 0},
    {"REPLY", "reply", CLI_F_TEXT, NULL, 0},
};

static const struct cli_column dsn_columns[] = {
    {"FATE", "fate", CLI_F_STATE, NULL, 0},
    {"TRIES", "attempts", CLI_F_COUNT, NULL, 0},
    {"NEXT TRY", "next_try", CLI_F_TIME, NULL, 0},
    {"GIVEN UP AT", "deadline", CLI_F_TIME, NULL, 0},
    {"REPLY", "reply", CLI_F_TEXT, NULL, 0},
};

#define MESSAGE_COLUMNS                                                                        \
    {"copies known", "copies", CLI_F_COUNT, NULL, 0},                                          \
        {"site that delivers", "holder", CLI_F_COUNT, NULL, 0},                                \
        {"domain", "domain", CLI_F_TEXT, NULL, 0},                                             \
        {"sender", "sender", CLI_F_SENDER, NULL, 0},                                           \
        {"size of the body", "body_bytes", CLI_F_BYTES, NULL, 0},                              \
        {"checksum (XXH3)", "body_xxh3", CLI_F_TEXT, NULL, 0},                                 \
        {"8-bit", "eight_bit", CLI_F_BOOL, NULL, 0},                                           \
        {"received", "received", CLI_F_TIME, NULL, 0}, {"age", "age_s", CLI_F_AGE, NULL, 0},   \
        {"kept until", "deadline", CLI_F_TIME, NULL, 0},                                       \
        {"from client", "client_addr", CLI_F_TEXT, NULL, 0},                                   \
        {"SPF", "spf", CLI_F_TEXT, NULL, 0}, {"HELO", "client_helo", CLI_F_TEXT, NULL, 0},     \
        {"TLS", "tls", CLI_F_TEXT, NULL, 0}, {"tries", "attempts", CLI_F_COUNT, NULL, 0},      \
        {"possible duplicates", "possible_duplicates", CLI_F_COUNT, NULL, 0},                  \
        {"held by an operator", "held", CLI_F_BOOL, NULL, 0},                                  \
        {"generation of the domain", "generation", CLI_F_COUNT, NULL, 0},                      \
        {"recipients", "recipients", CLI_F_ROWS, rcpt_columns, COUNT(rcpt_columns)},           \
    {                                                                                          \
        "notification to the sender", "dsn", CLI_F_ROWS, dsn_columns, COUNT(dsn_columns)       \
    }

static const struct cli_column show_columns[] = {
    {"id", "id", CLI_F_TEXT, NULL, 0},
    {"state", "state", CLI_F_STATE, NULL, 0},
    {"next try", "next_try", CLI_F_TIME, NULL, 0},
    {"phase", "phase", CLI_F_TEXT, NULL, 0},
    MESSAGE_COLUMNS,
};

static const struct cli_column trace_columns[] = {
    {"id", "id", CLI_F_TEXT, NULL, 0},
    {"still queued", "live", CLI_F_BOOL, NULL, 0},
    {"settled", "settled", CLI_F_TIME, NULL, 0},
    {"phase", "phase", CLI_F_TEXT, NULL, 0},
    MESSAGE_COLUMNS,
};

static const struct cli_column summary_columns[] = {
    {"DOMAIN", "domain", CLI_F_TEXT, NULL, 0},
    {"MESSAGES", "messages", CLI_F_COUNT, NULL, 0},
    {"SIZE", "bytes", CLI_F_BYTES, NULL, 0},
    {"OLDEST", "oldest_age_s", CLI_F_AGE, NULL, 0},
    {"DEFERRED", "deferred", CLI_F_COUNT, NULL, 0},
    {"HELD", "held", CLI_F_COUNT, NULL, 0},
    {"DSN", "dsn", CLI_F_COUNT, NULL, 0},
    {"PRIMARY", "primary", CLI_F_STATE, NULL, 0},
    {"PAUSED", "paused", CLI_F_BOOL, NULL, 0},
    {"HOLDER", "holder", CLI_F_COUNT, NULL, 0},
};

static const struct cli_option operate_options[] = {
    {"domain", 'd', "DOMAIN", CLI_DOMAIN, "domain", NULL, 0, "All mail for this domain"},
    {"all", 'a', NULL, CLI_FLAG, "all", NULL, 0, "All mail"},
    OPT_DRY_RUN,
    OPT_YES,
};

#define SELECTION                                                                              \
    "The messages are named by their ids, by *--domain* or by *--all*. Mail that came in "     \
    "after the command began is not meant. The order stands in the control log and is "        \
    "carried out by the daemon, also when this tool is ended."
#define IDS                                                                                    \
    {                                                                                          \
        "ID", CLI_TEXT, CLI_MANY, "ids", NULL, 0                                               \
    }
#define ONE_ID                                                                                 \
    {                                                                                          \
        "ID", CLI_TEXT, CLI_ONE, "id", NULL, 0                                                 \
    }

/* --- message --- */

static const struct cli_option cat_options[] = {
    {"headers", 0, NULL, CLI_FLAG, "headers", NULL, 0, "The header only"},
};

/* --- domain --- */

static const struct cli_option add_options[] = {
    OPT_ROUTE,
    OPT_HOLD,
    OPT_TLS,
    OPT_EIGHT_BIT,
    OPT_PLAN,
    OPT_CONNECTIONS,
    OPT_PAUSED,
    OPT_CHECKS,
    OPT_RECIPIENTS,
    OPT_SEPARATOR,
    OPT_DSN,
    OPT_DIGEST,
    OPT_SMTPUTF8,
    OPT_UNKNOWN,
    {"reopen", 0, NULL, CLI_FLAG, "reopen", NULL, 0,
     "Take back a domain that was removed and still has mail; what is not named stays as it "
     "was"},
    OPT_DRY_RUN,
};

static const struct cli_option set_options[] = {
    OPT_ROUTE,       OPT_HOLD,   OPT_TLS,    OPT_EIGHT_BIT,  OPT_PLAN,
    OPT_CONNECTIONS, OPT_PAUSED, OPT_CHECKS, OPT_RECIPIENTS, OPT_SEPARATOR,
    OPT_UNKNOWN,     OPT_DSN,    OPT_DIGEST, OPT_SMTPUTF8,   OPT_DRY_RUN,
};

static const struct cli_option remove_options[] = {OPT_DRY_RUN, OPT_YES};

static const struct cli_column domain_list_columns[] = {
    {"DOMAIN", "name", CLI_F_TEXT, NULL, 0}, {"STATE", "state", CLI_F_STATE, NULL, 0},
    {"HOLD", "hold_s", CLI_F_AGE, NULL, 0},  {"TLS", "tls", CLI_F_TEXT, NULL, 0},
    {"PLAN", "plan", CLI_F_TEXT, NULL, 0},   {"ROUTE", "route", CLI_F_TEXT, NULL, 0},
};

#define DOMAIN_COLUMNS                                                                         \
    {"domain", "name", CLI_F_TEXT, NULL, 0}, {"state", "state", CLI_F_STATE, NULL, 0},         \
        {"route", "route", CLI_F_TEXT, NULL, 0}, {"hold time", "hold_s", CLI_F_AGE, NULL, 0},  \
        {"plan", "plan", CLI_F_TEXT, NULL, 0},                                                 \
        {"connections", "max_connections", CLI_F_COUNT, NULL, 0},                              \
        {"TLS", "tls", CLI_F_TEXT, NULL, 0}, {"8-bit mail", "eight_bit", CLI_F_TEXT, NULL, 0}, \
        {"checks", "checks", CLI_F_TEXT, NULL, 0},                                             \
        {"internationalised mail", "smtputf8", CLI_F_BOOL, NULL, 0},                           \
        {"senders told", "dsn", CLI_F_TEXT, NULL, 0},                                          \
        {"digest to", "digest", CLI_F_TEXT, NULL, 0},                                          \
        {"recipients", "recipients", CLI_F_TEXT, NULL, 0},                                     \
        {"unknown recipients", "unknown", CLI_F_TEXT, NULL, 0},                                \
    {                                                                                          \
        "sub-addresses by", "separator", CLI_F_TEXT, NULL, 0                                   \
    }

static const struct cli_column domain_columns[] = {DOMAIN_COLUMNS};

static const struct cli_column address_columns[] = {
    {"HOST", "host", CLI_F_TEXT, NULL, 0},
    {"ADDRESS", "ip", CLI_F_TEXT, NULL, 0},
    {"PORT", "port", CLI_F_COUNT, NULL, 0},
    {"STATE", "state", CLI_F_STATE, NULL, 0},
    {"WHY", "failure", CLI_F_TEXT, NULL, 0},
    {"DOWN FOR", "down_s", CLI_F_AGE, NULL, 0},
    {"NEXT PROBE", "next_probe_ms", CLI_F_MS, NULL, 0},
    {"CONNECTIONS", "connections", CLI_F_COUNT, NULL, 0},
};

static const struct cli_column domain_show_columns[] = {
    DOMAIN_COLUMNS,
    {"recipients listed", "listed", CLI_F_COUNT, NULL, 0},
    {"recipients learned", "learned", CLI_F_COUNT, NULL, 0},
    {"which means", "learned_note", CLI_F_TEXT, NULL, 0},
    {"primary", "primary", CLI_F_STATE, NULL, 0},
    {"messages", "messages", CLI_F_COUNT, NULL, 0},
    {"ready", "ready", CLI_F_COUNT, NULL, 0},
    {"deferred", "deferred", CLI_F_COUNT, NULL, 0},
    {"held", "held", CLI_F_COUNT, NULL, 0},
    {"in delivery", "in_delivery", CLI_F_COUNT, NULL, 0},
    {"look-up of the route", "route_result", CLI_F_TEXT, NULL, 0},
    {"addresses", "addresses", CLI_F_ROWS, address_columns, COUNT(address_columns)},
};

static const struct cli_column domain_remove_columns[] = {
    {"domain", "name", CLI_F_TEXT, NULL, 0},
    {"state", "state", CLI_F_STATE, NULL, 0},
    {"messages still queued", "messages", CLI_F_COUNT, NULL, 0},
};

static const struct cli_column probe_columns[] = {
    {"HOST", "host", CLI_F_TEXT, NULL, 0},      {"ADDRESS", "ip", CLI_F_TEXT, NULL, 0},
    {"PORT", "port", CLI_F_COUNT, NULL, 0},     {"ANSWERED", "answered", CLI_F_BOOL, NULL, 0},
    {"AFTER", "latency_ms", CLI_F_MS, NULL, 0}, {"WHY NOT", "failure", CLI_F_TEXT, NULL, 0},
};

/* --- plan --- */

static const struct cli_option plan_options[] = {
    {"hold", 0, "TIME", CLI_SPAN, "hold_s", NULL, LIMIT_HOLD_MAX_S,
     "How long mail is kept: 1d to 60d (a new plan: 14d)"},
    {"max-connections", 0, "N", CLI_COUNT, "max_connections", NULL, LIMIT_DOMAIN_CONNS,
     "Connections to a primary side by side (a new plan: 20)"},
    OPT_DRY_RUN,
};

static const struct cli_column plan_columns[] = {
    {"PLAN", "name", CLI_F_TEXT, NULL, 0},
    {"HOLD", "hold_s", CLI_F_AGE, NULL, 0},
    {"CONNECTIONS", "max_connections", CLI_F_COUNT, NULL, 0},
};

#define ONE_PLAN                                                                               \
    {                                                                                          \
        "PLAN", CLI_TEXT, CLI_ONE, "name", NULL, 0                                             \
    }

/* --- cluster --- */

#define OPT_CONFIG                                                                             \
    {                                                                                          \
        "config", 'c', "FILE", CLI_TEXT, "config", NULL, 0,                                    \
            "Configuration of the node (default: /etc/trispool/trispool.yaml)"                 \
    }
#define OPT_SITE(help)                                                                         \
    {                                                                                          \
        "site", 0, "N", CLI_COUNT, "site", NULL, 3, help                                       \
    }
#define OPT_ADDRESSES(of)                                                                      \
    {"control",                                                                                \
     0,                                                                                        \
     "ADDRESS:PORT",                                                                           \
     CLI_TEXT,                                                                                 \
     "control",                                                                                \
     NULL,                                                                                     \
     0,                                                                                        \
     "Where the others reach its control plane" of},                                           \
    {                                                                                          \
        "data", 0, "ADDRESS:PORT", CLI_TEXT, "data", NULL, 0, "The same for copies of mail" of \
    }

static const struct cli_option init_options[] = {
    OPT_CONFIG,
    OPT_SITE("Site of this node, as a check: the configuration has it"),
    OPT_ADDRESSES(" (default: peers of the configuration)"),
};

static const struct cli_option offline_options[] = {OPT_CONFIG};

static const struct cli_option member_add_options[] = {
    OPT_SITE("Site of the new node; a member that has it is replaced"),
    {"key", 'k', "KEY", CLI_TEXT, "key", NULL, 0,
     "Its public key: what *trispool cluster key* says there"},
    OPT_ADDRESSES(""),
};

static const struct cli_option lease_options[] = {
    {"domain", 'd', "DOMAIN", CLI_DOMAIN, "domain", NULL, 0, "Who delivers this domain"},
};

static const struct cli_option move_options[] = {
    {"to", 't', "SITE", CLI_COUNT, "to", NULL, 3, "Site that is to deliver"},
};

static const struct cli_option drain_options[] = {
    OPT_SITE("Another site than that of the node that is asked"),
};

static const struct cli_column member_columns[] = {
    {"SITE", "site", CLI_F_COUNT, NULL, 0},
    {"STATE", "state", CLI_F_STATE, NULL, 0},
    {"SELF", "self", CLI_F_BOOL, NULL, 0},
    {"LEADER", "leader", CLI_F_BOOL, NULL, 0},
    {"FILLED", "filled", CLI_F_BOOL, NULL, 0},
    {"DRAINING", "draining", CLI_F_BOOL, NULL, 0},
    {"HEARD", "contact_ms", CLI_F_MS, NULL, 0},
    {"MATCH", "match", CLI_F_COUNT, NULL, 0},
    {"CONTROL", "control", CLI_F_TEXT, NULL, 0},
    {"DATA", "data", CLI_F_TEXT, NULL, 0},
    {"INCARNATION", "incarnation", CLI_F_COUNT, NULL, 0},
    {"KEY", "key", CLI_F_TEXT, NULL, 0},
};

static const struct cli_column member_add_columns[] = {
    {"site", "site", CLI_F_COUNT, NULL, 0},
    {"incarnation", "incarnation", CLI_F_COUNT, NULL, 0},
    {"control", "control", CLI_F_TEXT, NULL, 0},
    {"data", "data", CLI_F_TEXT, NULL, 0},
    {"key", "key", CLI_F_TEXT, NULL, 0},
    {"token", "token", CLI_F_TEXT, NULL, 0},
};

static const struct cli_column member_remove_columns[] = {
    {"SITE", "site", CLI_F_COUNT, NULL, 0},
    {"STATE", "state", CLI_F_STATE, NULL, 0},
    {"INCARNATION", "incarnation", CLI_F_COUNT, NULL, 0},
    {"CONTROL", "control", CLI_F_TEXT, NULL, 0},
};

static const struct cli_column leader_columns[] = {
    {"leader", "site", CLI_F_COUNT, NULL, 0},
    {"incarnation", "incarnation", CLI_F_COUNT, NULL, 0},
    {"term", "term", CLI_F_COUNT, NULL, 0},
    {"entries decided", "committed", CLI_F_COUNT, NULL, 0},
    {"entries applied here", "applied", CLI_F_COUNT, NULL, 0},
    {"last entry here", "last", CLI_F_COUNT, NULL, 0},
    {"members change", "changing", CLI_F_BOOL, NULL, 0},
};

static const struct cli_column lease_columns[] = {
    {"SITE", "site", CLI_F_COUNT, NULL, 0},        {"SLOTS", "slots", CLI_F_COUNT, NULL, 0},
    {"LEAVING", "leaving", CLI_F_COUNT, NULL, 0},  {"COMING", "coming", CLI_F_COUNT, NULL, 0},
    {"PLACED", "placed", CLI_F_COUNT, NULL, 0},    {"LIVE", "live", CLI_F_BOOL, NULL, 0},
    {"MAY HOLD", "may_hold", CLI_F_BOOL, NULL, 0}, {"SESSION", "session", CLI_F_COUNT, NULL, 0},
    {"DOMAIN", "domain", CLI_F_TEXT, NULL, 0},     {"SLOT", "slot", CLI_F_COUNT, NULL, 0},
    {"EPOCH", "epoch", CLI_F_COUNT, NULL, 0},      {"BY", "by", CLI_F_TEXT, NULL, 0},
    {"WANTED BY", "wanted", CLI_F_COUNT, NULL, 0},
};

static const struct cli_option revoke_options[] = {
    OPT_SITE("Another site than that of the node that is asked"),
};

static const struct cli_column key_columns[] = {
    {"site", "site", CLI_F_COUNT, NULL, 0},
    {"key", "key", CLI_F_TEXT, NULL, 0},
    {"old key still good", "old_key_counts", CLI_F_BOOL, NULL, 0},
};

static const struct cli_option solo_options[] = {
    {"yes", 'y', NULL, CLI_FLAG, "yes", NULL, 0, "The others are lost, and the price is known"},
};

static const struct cli_column problem_columns[] = {
    {"SITE", "site", CLI_F_COUNT, NULL, 0},
    {"PROBLEM", "problem", CLI_F_TEXT, NULL, 0},
    {"MESSAGES", "messages", CLI_F_COUNT, NULL, 0},
};

static const struct cli_column verify_columns[] = {
    {"verified", "verified", CLI_F_BOOL, NULL, 0},
    {"messages", "messages", CLI_F_COUNT, NULL, 0},
    {"members", "members", CLI_F_COUNT, NULL, 0},
    {"what is missing", "problems", CLI_F_ROWS, problem_columns, COUNT(problem_columns)},
};

static const struct cli_option verify_options[] = {
    {"wait", 'w', "TIME", CLI_SPAN, "wait_s", NULL, 60,
     "How long what is under way may take to settle (default: 3s)"},
};

static const struct cli_column move_columns[] = {
    {"domain", "domain", CLI_F_TEXT, NULL, 0}, {"moved", "moved", CLI_F_BOOL, NULL, 0},
    {"site", "site", CLI_F_COUNT, NULL, 0},    {"slot", "slot", CLI_F_COUNT, NULL, 0},
    {"epoch", "epoch", CLI_F_COUNT, NULL, 0},  {"wanted by", "wanted", CLI_F_COUNT, NULL, 0},
};

static const struct cli_column drain_columns[] = {
    {"site", "site", CLI_F_COUNT, NULL, 0},
    {"draining", "draining", CLI_F_BOOL, NULL, 0},
};

#define OFFLINE                                                                                \
    "Works on the files of a node that does not run. As root it becomes the owner of the "     \
    "data "                                                                                    \
    "directory first."

/* --- config --- */

static const struct cli_option config_show_options[] = {
    {"effective", 0, NULL, CLI_FLAG, NULL, NULL, 0,
     "Every value in force, presets with the rest (this is what is shown in any case)"},
};

static const struct cli_column reload_columns[] = {
    {"reloaded", "reloaded", CLI_F_BOOL, NULL, 0},
};

/* --- the table --- */

static const struct cli_command commands[] = {
    {NULL, "status", "The node at a glance",
     "A node that says *one-copy mode: yes*, or *solo*, keeps every message on its own disk "
     "alone. Of a member it shows the cluster too, as this node sees it.",
     NULL, NONE, NULL, 0, "status", NULL, false, CLI_RECORD, status_columns,
     COUNT(status_columns)},
    {NULL, "health", "Is the node well? Exit status 0 or 1",
     "Critical: fenced after a disk error, spool full, scheduler silent, no daemon; of a "
     "member: it takes no mail, or nobody leads the control log. Warning: stopping, damaged "
     "records or "
     "copies, a message near the end of its hold time; a member that is not reached or not "
     "filled, a message without a second copy, solo.",
     NULL, NONE, health_options, COUNT(health_options), "health", NULL, false, CLI_RECORD,
     health_columns, COUNT(health_columns)},
    {NULL, "metrics", "Counters and gauges in the text format of Prometheus", NULL, NULL, NONE,
     NULL, 0, "metrics", NULL, false, CLI_LINES, NULL, 0},

    {"queue", "list", "Messages, a line each",
     "In the order of arrival. *queued*: tried as soon as the primary answers; *deferred*: "
     "waits for its next try; *held*: by an operator; *dsn*: its recipients are done, the "
     "sender is owed a notification.",
     "trispool queue list --domain example.com --older 2h", NONE, list_options,
     COUNT(list_options), "queue.list", NULL, false, CLI_TABLE, list_columns,
     COUNT(list_columns)},
    {"queue", "show", "One message that is queued", NULL, NULL, ONE_ID, NULL, 0, "queue.show",
     NULL, false, CLI_RECORD, show_columns, COUNT(show_columns)},
    {"queue", "summary", "Mail by domain, with the state of the primary", NULL, NULL, NONE,
     NULL, 0, "queue.summary", NULL, false, CLI_TABLE, summary_columns, COUNT(summary_columns)},
    {"queue", "trace", "What became of a message, recipient by recipient",
     "From the store, not from logs: works for queued mail and for mail settled up to 30 days "
     "ago.",
     NULL, ONE_ID, NULL, 0, "queue.trace", NULL, false, CLI_RECORD, trace_columns,
     COUNT(trace_columns)},
    UNDELIVERED_COMMAND,
    {"queue", "retry", "Try mail now",
     "Retry times are forgotten, primaries that are down are probed at once. " SELECTION, NULL,
     IDS, operate_options, COUNT(operate_options), "queue.operate", "retry", false, CLI_SUMMARY,
     list_columns, COUNT(list_columns)},
    {"queue", "hold", "Keep mail from being tried",
     "Held mail still expires at the end of its hold time. " SELECTION, NULL, IDS,
     operate_options, COUNT(operate_options), "queue.operate", "hold", false, CLI_SUMMARY,
     list_columns, COUNT(list_columns)},
    {"queue", "release", "End a hold", SELECTION, NULL, IDS, operate_options,
     COUNT(operate_options), "queue.operate", "release", false, CLI_SUMMARY, list_columns,
     COUNT(list_columns)},
    {"queue", "delete", "Remove mail without telling anybody",
     "Recipients that are pending become *purged*; the sender is not told. " SELECTION,
     "trispool queue delete --domain example.com --dry-run", IDS, operate_options,
     COUNT(operate_options), "queue.operate", "delete", true, CLI_SUMMARY, list_columns,
     COUNT(list_columns)},
    {"queue", "bounce", "End mail and tell its senders",
     "Recipients that are pending become *bounced*; senders are told as *--dsn* "
     "says. " SELECTION,
     NULL, IDS, operate_options, COUNT(operate_options), "queue.operate", "bounce", true,
     CLI_SUMMARY, list_columns, COUNT(list_columns)},

    {"message", "cat", "The bytes of a queued message",
     "Exactly what the primary will get, before SMTP doubles leading dots: the Received "
     "field of this system (and what was found out above it), then the message as it came in. "
     "Who reads is written to the log.",
     "trispool message cat ID --headers", ONE_ID, cat_options, COUNT(cat_options),
     "message.cat", NULL, false, CLI_BYTES, NULL, 0},

    {"domain", "add", "Take mail for a domain",
     "Prints the MX records that the domain's owner has to publish. Names in other scripts are "
     "turned into A-labels.",
     "trispool domain add example.com --route mail.example.com --hold 14d", ONE_DOMAIN,
     add_options, COUNT(add_options), "domain.add", NULL, false, CLI_RECORD, domain_columns,
     COUNT(domain_columns)},
    {"domain", "list", "All domains", NULL, NULL, NONE, NULL, 0, "domain.list", NULL, false,
     CLI_TABLE, domain_list_columns, COUNT(domain_list_columns)},
    {"domain", "show", "One domain, its mail and its primary", NULL, NULL, ONE_DOMAIN, NULL, 0,
     "domain.show", NULL, false, CLI_RECORD, domain_show_columns, COUNT(domain_show_columns)},
    {"domain", "set", "Change a domain", "What is not named stays as it is.",
     "trispool domain set example.com --paused yes", ONE_DOMAIN, set_options,
     COUNT(set_options), "domain.set", NULL, false, CLI_RECORD, domain_columns,
     COUNT(domain_columns)},
    {"domain", "remove", "Take no more mail for a domain",
     "What is queued is still delivered, bounced or expired; then the domain goes. Until then "
     "it is *closing*, and *domain add --reopen* takes it back.",
     NULL, ONE_DOMAIN, remove_options, COUNT(remove_options), "domain.remove", NULL, true,
     CLI_RECORD, domain_remove_columns, COUNT(domain_remove_columns)},
    {"domain", "probe", "Does its primary answer now?",
     "Connects, waits for the greeting, says EHLO and QUIT. Exit status 0 when one address "
     "answered.",
     NULL, ONE_DOMAIN, NULL, 0, "domain.probe", NULL, false, CLI_TABLE, probe_columns,
     COUNT(probe_columns)},

    {"plan", "list", "All plans", NULL, NULL, NONE, NULL, 0, "plan.list", NULL, false,
     CLI_TABLE, plan_columns, COUNT(plan_columns)},
    {"plan", "show", "One plan", NULL, NULL, ONE_PLAN, NULL, 0, "plan.show", NULL, false,
     CLI_TABLE, plan_columns, COUNT(plan_columns)},
    {"plan", "set", "Make or change a plan", "What is not named stays as it is.",
     "trispool plan set gold --hold 30d --max-connections 50", ONE_PLAN, plan_options,
     COUNT(plan_options), "plan.set", NULL, false, CLI_TABLE, plan_columns,
     COUNT(plan_columns)},

    {"cluster", "init", "Make this node the first member of a new cluster",
     OFFLINE " The data directory must be empty.", NULL, NONE, init_options,
     COUNT(init_options), NULL, NULL, false, CLI_LOCAL, NULL, 0},
    {"cluster", "key", "The public key of this node; makes the pair at first",
     OFFLINE " The last word is the key, for *trispool cluster add* on a member.", NULL, NONE,
     offline_options, COUNT(offline_options), NULL, NULL, false, CLI_LOCAL, NULL, 0},
    {"cluster", "add", "Take a node in as a member, or in the place of one",
     "Prints the token that the new node joins with; it holds no secret. A member of the same "
     "site is replaced for good: its sessions end, its files are of no use any more. If the "
     "answer was lost, the same words print the token again, until that node has begun.",
     "trispool cluster add --site 2 --key KEY --control 192.0.2.2:7301 --data 192.0.2.2:7302",
     NONE, member_add_options, COUNT(member_add_options), "cluster.add", NULL, false,
     CLI_RECORD, member_add_columns, COUNT(member_add_columns)},
    {"cluster",
     "join",
     "Make this node the member that a token is for",
     OFFLINE " The data directory holds its key and nothing else. Once started, the node is "
             "filled by both others; it takes mail as soon as it reaches one of them.",
     NULL,
     {"TOKEN", CLI_TEXT, CLI_ONE, NULL, NULL, 0},
     offline_options,
     COUNT(offline_options),
     NULL,
     NULL,
     false,
     CLI_LOCAL,
     NULL,
     0},
    {"cluster", "members", "All members, as this node knows them",
     "*voter*: counts in the control log; *spare*: is being fed the log; *joining*: was added, "
     "and not yet seen; *leaving*: was replaced.",
     NULL, NONE, NULL, 0, "cluster.members", NULL, false, CLI_TABLE, member_columns,
     COUNT(member_columns)},
    {"cluster", "leader", "Who leads the control log", "Exit status 1 when nobody is known to.",
     NULL, NONE, NULL, 0, "cluster.leader", NULL, false, CLI_RECORD, leader_columns,
     COUNT(leader_columns)},
    {"cluster", "leases", "Who delivers",
     "256 slots are shared by the sites; a domain belongs to one of them, unless it is placed "
     "at a site that alone reaches its primary.",
     NULL, NONE, lease_options, COUNT(lease_options), "cluster.leases", NULL, false, CLI_TABLE,
     lease_columns, COUNT(lease_columns)},
    {"cluster",
     "move-lease",
     "Have another site deliver a domain",
     "And all domains of the same slot. The holder ends what is under way first; the command "
     "waits up to ten seconds for that.",
     "trispool cluster move-lease example.com --to 2",
     {"DOMAIN", CLI_DOMAIN, CLI_ONE, "domain", NULL, 0},
     move_options,
     COUNT(move_options),
     "cluster.move-lease",
     NULL,
     false,
     CLI_RECORD,
     move_columns,
     COUNT(move_columns)},
    {"cluster", "drain", "Have a node deliver nothing",
     "It gives its leases to the others, takes mail and keeps its copies.", NULL, NONE,
     drain_options, COUNT(drain_options), "cluster.drain", NULL, false, CLI_RECORD,
     drain_columns, COUNT(drain_columns)},
    {"cluster", "undrain", "End a drain", NULL, NULL, NONE, drain_options, COUNT(drain_options),
     "cluster.undrain", NULL, false, CLI_RECORD, drain_columns, COUNT(drain_columns)},
    {"cluster", "verify", "Has every live message the copies it should have?",
     "As the node that is asked knows it: all members are reached and filled, none lacks "
     "anything, and no message is undecided. Exit status 1, and what is missing, if not.",
     NULL, NONE, verify_options, COUNT(verify_options), "cluster.verify", NULL, false,
     CLI_RECORD, verify_columns, COUNT(verify_columns)},
    {"cluster",
     "remove",
     "Forget a member for good",
     "For one that is lost and not replaced at once. With two members left each 250 needs both "
     "of them. To put another machine in its place *cluster add* is enough.",
     NULL,
     {"SITE", CLI_COUNT, CLI_ONE, "site", NULL, 3},
     remove_options,
     COUNT(remove_options),
     "cluster.remove",
     NULL,
     true,
     CLI_TABLE,
     member_remove_columns,
     COUNT(member_remove_columns)},

    {"cluster", "rotate-key", "Give this node another key",
     "The new key is good beside the old one until all links are made with it; then the old "
     "one "
     "is good no more. When a member is away, the old key stays good for it: *cluster "
     "revoke-key* "
     "ends that once all are back. The command can be given again at any point.",
     NULL, NONE, NULL, 0, "cluster.rotate-key", NULL, false, CLI_RECORD, key_columns,
     COUNT(key_columns)},
    {"cluster", "revoke-key", "End the time in which a member's old key is good too", NULL,
     NULL, NONE, revoke_options, COUNT(revoke_options), "cluster.revoke-key", NULL, false,
     CLI_RECORD, key_columns, COUNT(key_columns)},
    {"cluster", "solo", "Go on alone when both other sites are lost for good",
     "Without *--yes* it tells the price and does nothing. It is refused while the others can "
     "be "
     "reached.",
     NULL, NONE, solo_options, COUNT(solo_options), "cluster.solo", NULL, false, CLI_LINES,
     NULL, 0},

    {"config", "show", "The configuration the daemon runs with", NULL, NULL, NONE,
     config_show_options, COUNT(config_show_options), "config.show", NULL, false, CLI_LINES,
     NULL, 0},
    {"config",
     "check",
     "Look for mistakes in a configuration file",
     "All of them in one run, each with its place. No daemon is needed and nothing but the "
     "file is touched. Default: /etc/trispool/trispool.yaml.",
     NULL,
     {"FILE", CLI_TEXT, CLI_OPTIONAL, NULL, NULL, 0},
     NULL,
     0,
     NULL,
     NULL,
     false,
     CLI_LOCAL,
     NULL,
     0},
    {"config", "reload", "Have the daemon read its configuration again", NULL, NULL, NONE, NULL,
     0, "config.reload", NULL, false, CLI_RECORD, reload_columns, COUNT(reload_columns)},

    {NULL,
     "generate",
     "Print the man page's source, or a completion file for a shell",
     NULL,
     "trispool generate bash > /etc/bash_completion.d/trispool",
     {"WHAT", CLI_WORD, CLI_ONE, NULL, "man|bash|zsh|fish", 0},
     NULL,
     0,
     NULL,
     NULL,
     false,
     CLI_LOCAL,
     NULL,
     0},
};

static const struct cli_exit exits[] = {
    {0, "done, or the answer is yes"},
    {1, "the answer is no: not found, refused, not well"},
    {2, "done for some of the messages named, the others are not queued"},
    {64, "wrong usage, or a question that nobody is there to answer"},
    {69, "the daemon does not answer"},
    {75, "not now: try again later"},
    {77, "not permitted"},
    {78, "the configuration has mistakes"},
};

size_t cli_command_count(void)
{
    return COUNT(commands) + cli_edge_part().count;
}

const struct cli_command *cli_command_at(size_t i)
{
    struct cli_part edge = cli_edge_part();

    ASSERT(i < COUNT(commands) + edge.count);
    return i < COUNT(commands) ? &commands[i] : &edge.commands[i - COUNT(commands)];
}

size_t cli_global_count(void)
{
    return COUNT(globals);
}

const struct cli_option *cli_global_at(size_t i)
{
    ASSERT(i < COUNT(globals));
    return &globals[i];
}

size_t cli_exit_count(void)
{
    return COUNT(exits);
}

const struct cli_exit *cli_exit_at(size_t i)
{
    ASSERT(i < COUNT(exits));
    return &exits[i];
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

const struct cli_command *cli_find(const char *noun, const char *verb)
{
    for (size_t i = 0; i < cli_command_count(); i++) {
        const struct cli_command *c = cli_command_at(i);

        if (is_same(c->noun, noun) && strcmp(c->verb, verb) == 0)
            return c;
    }
    return NULL;
}

bool cli_is_noun(const char *word)
{
    for (size_t i = 0; i < cli_command_count(); i++) {
        const struct cli_command *c = cli_command_at(i);

        if (c->noun != NULL && strcmp(c->noun, word) == 0)
            return true;
    }
    return false;
}

bool cli_is_word(const char *words, const char *text)
{
    struct str rest = str_of(words);

    while (rest.n > 0)
        if (str_eq(str_split(&rest, '|'), str_of(text)))
            return true;
    return false;
}
