#include "cluster-tools/load/options.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster-tools/common/now.h"
#include "cluster-tools/common/number.h"
#include "cluster-tools/common/version.h"
#include "cluster-tools/load/body.h"

#define SECOND_US    UINT64_C(1000000)
#define MAX_MESSAGES UINT64_C(1000000000000)
#define MAX_CONNS    100000
#define MAX_RATE     10000000

enum key {
    KEY_TARGETS = 't',
    KEY_MESSAGES = 'n',
    KEY_DURATION = 'd',
    KEY_CONNECTIONS = 'c',
    KEY_PER_SESSION = 'm',
    KEY_SIZE = 's',
    KEY_RATE = 'r',
    KEY_ATTEMPTS = 'a',
    KEY_RETRY_DELAY = 256,
    KEY_RETRY_MAX,
    KEY_DOWN_CACHE,
    KEY_AS,
    KEY_ADDRESSES,
    KEY_SESSIONS,
    KEY_RCPTS,
    KEY_RCPT,
    KEY_RCPT_MOD,
    KEY_FROM,
    KEY_HELO,
    KEY_NO_PIPELINING,
    KEY_BDAT,
    KEY_STARTTLS,
    KEY_CA,
    KEY_TLS_NAME,
    KEY_WAIT_QUIT,
    KEY_FILES,
    KEY_UNCHECKED,
    KEY_SOURCE,
    KEY_RUN,
    KEY_JOURNAL,
    KEY_CONNECT_TIMEOUT,
    KEY_IO_TIMEOUT,
    KEY_INTERVAL,
    KEY_IDLE,
    KEY_HOLD,
};

static const char doc[] =
    "Sends mail as a sending mail server does, and keeps book of every answer.\n\n"
    "It opens sessions to the targets, sends generated messages (or the files of a directory), "
    "moves on to the next target when one is down or refuses, and prints counts and latencies "
    "as one JSON object at the end.\v"
    "Times are seconds unless they bear a unit (250ms, 1.5s, 2m, 1h); sizes are bytes or bear "
    "k, M, G.\n\n"
    "Examples:\n"
    "  100 messages to a server on this machine, one after the other:\n"
    "    trispool-load -t 127.0.0.1:2525 -n 100 --rcpt user@example.test\n"
    "  200 messages a second for a minute over 20 connections, three targets, with a "
    "journal:\n"
    "    trispool-load -t mx1:25/10,mx2:25/10,mx3:25/10 -n 0 -d 60 -r 200 -c 20 \\\n"
    "        --journal sent.log\n"
    "  every file of a directory, byte for byte, over TLS:\n"
    "    trispool-load -t 127.0.0.1:2525 --files mails/ --starttls\n\n"
    "Exit status: 0 every message was acknowledged, 1 some were not, 64 wrong usage, 71 this "
    "machine got in the way (file, descriptor or memory missing).";

#define HEADING(text)                                                                          \
    {                                                                                          \
        0, 0, 0, 0, text, 0                                                                    \
    }

static const struct argp_option options[] = {
    HEADING("Where to, and how much:"),
    {"target", KEY_TARGETS, "ADDR:PORT[/PREF],...", 0,
     "Targets, IPv6 as [::1]:25; may be repeated. The lowest PREF is tried first, equal ones "
     "in random order (default 10). A name stands for all its addresses",
     0},
    {"messages", KEY_MESSAGES, "N", 0,
     "Messages (default 100; with --files: each file once; "
     "0: no limit, needs -d)",
     0},
    {"duration", KEY_DURATION, "TIME", 0, "Start no new message after this time", 0},
    {"connections", KEY_CONNECTIONS, "N", 0, "Sessions side by side (default 1)", 0},
    {"per-session", KEY_PER_SESSION, "N", 0, "Messages per session (default 1; 0: no limit)",
     0},
    {"rate", KEY_RATE, "R", 0,
     "Open loop: R messages a second on a fixed schedule, whatever the answers do (default: "
     "as fast as the sessions allow)",
     0},
    HEADING("What is sent:"),
    {"size", KEY_SIZE, "BYTES", 0,
     "Size of a generated message with its header, exactly "
     "(default 4096, at least 642, up to 1G)",
     0},
    {"files", KEY_FILES, "DIR", 0,
     "Send the files of DIR as they are, in the order of their names. Lines must end in CRLF",
     0},
    {"unchecked", KEY_UNCHECKED, 0, 0,
     "Send files with bare CR or LF, too (to see them refused); one without CRLF at its end "
     "gets it",
     0},
    {"from", KEY_FROM, "ADDR", 0,
     "Envelope sender (default load@sender.example; '' for the "
     "null sender)",
     0},
    {"rcpt", KEY_RCPT, "ADDR", 0,
     "Recipient; each %u in it becomes a number (default user%u@example.test)", 0},
    {"rcpt-mod", KEY_RCPT_MOD, "N", 0, "That number runs from 0 to N-1 (default 1000)", 0},
    {"rcpts", KEY_RCPTS, "N", 0, "Recipients per message (default 1, up to 1000)", 0},
    {"helo", KEY_HELO, "NAME", 0, "Name said in EHLO (default client.example)", 0},
    HEADING("How a session goes:"),
    {"starttls", KEY_STARTTLS, 0, 0, "Demand STARTTLS; any certificate will do without --ca",
     0},
    {"ca", KEY_CA, "FILE", 0, "Certificates must lead to one of this PEM file", 0},
    {"tls-name", KEY_TLS_NAME, "NAME", 0,
     "Ask for this server name (SNI); with --ca it must be in the certificate", 0},
    {"no-pipelining", KEY_NO_PIPELINING, 0, 0, "Never pipeline (default: when offered)", 0},
    {"bdat", KEY_BDAT, 0, 0, "Use BDAT when CHUNKING is offered", 0},
    {"wait-quit", KEY_WAIT_QUIT, 0, 0,
     "Wait for the answer to QUIT (default: close behind it, as Postfix does)", 0},
    {"connect-timeout", KEY_CONNECT_TIMEOUT, "TIME", 0, "Default 10 s", 0},
    {"io-timeout", KEY_IO_TIMEOUT, "TIME", 0, "Without any progress; default 60 s", 0},
    {"source", KEY_SOURCE, "ADDR,...", 0, "Bind to these addresses in turn", 0},
    HEADING("When a target fails:"),
    {"as", KEY_AS, "SENDER", 0,
     "Walk the targets as postfix (default), exim or opensmtpd does: short for --addresses "
     "and --sessions of 5 and 2, 0 and 0, 0 and 1",
     0},
    {"addresses", KEY_ADDRESSES, "N", 0, "Targets tried in one attempt; 0: all", 0},
    {"sessions", KEY_SESSIONS, "N", 0,
     "Sessions that got past EHLO in one attempt; 0: no limit. A 421 in the banner costs none",
     0},
    {"attempts", KEY_ATTEMPTS, "N", 0, "Attempts before giving up (default 1)", 0},
    {"retry-delay", KEY_RETRY_DELAY, "TIME", 0,
     "Wait before the second attempt, doubled each time (default 1 s)", 0},
    {"retry-max", KEY_RETRY_MAX, "TIME", 0, "Longest such wait (default 60 s)", 0},
    {"down-cache", KEY_DOWN_CACHE, "TIME", 0,
     "Pass over a target for this time after a failed connection (default 0)", 0},
    HEADING("Books and progress:"),
    {"journal", KEY_JOURNAL, "FILE", 0,
     "Write every outcome: A acked, U unknown, T refused for now, P refused for good, G given "
     "up. trispool-sink --check compares it with what arrived",
     0},
    {"run", KEY_RUN, "ID", 0, "Prefix of the message ids (default: from time and pid)", 0},
    {"interval", KEY_INTERVAL, "TIME", 0, "Progress on stderr every TIME", 0},
    HEADING("Instead of sending:"),
    {"idle", KEY_IDLE, "N", 0, "Open N sessions up to EHLO, print READY, hold them", 0},
    {"hold", KEY_HOLD, "TIME", 0, "How long (default 0)", 0},
    HEADING("Help:"),
    {0},
};

/* Ends the program when a value is not good: argp_error() exits with 64. */
static void need(struct argp_state *state, enum err e, const char *what, const char *arg)
{
    if (e != OK)
        argp_error(state, "bad value for %s: '%s'%s", what, arg,
                   e == E_FULL ? " (out of range)" : "");
}

static uint64_t count(struct argp_state *state, const char *what, const char *arg, uint64_t min,
                      uint64_t max)
{
    uint64_t v = 0;

    need(state, number_count(str_of(arg), max, &v), what, arg);
    need(state, v < min ? E_FULL : OK, what, arg);
    return v;
}

static uint64_t duration(struct argp_state *state, const char *what, const char *arg)
{
    uint64_t v = 0;

    need(state, number_duration_us(str_of(arg), &v), what, arg);
    return v;
}

/* Words that go into commands: a blank or a control character would be a second command. */
static const char *word(struct argp_state *state, const char *what, const char *arg, size_t max)
{
    for (const char *p = arg; *p != 0; p++)
        need(state,
             (unsigned char)*p <= ' ' || *p == 127 || *p == '<' || *p == '>' ? E_PROTO : OK,
             what, arg);
    need(state, strlen(arg) > max ? E_FULL : OK, what, arg);
    return arg;
}

static const char *run_id(struct argp_state *state, const char *arg)
{
    size_t good = strspn(arg, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                              "0123456789._-");

    need(state, arg[good] != 0 || good == 0 ? E_PROTO : OK, "--run", arg);
    need(state, good > 40 ? E_FULL : OK, "--run", arg);
    return arg;
}

static void add_targets(struct argp_state *state, struct load_options *o, const char *arg)
{
    struct str bad = STR("");

    switch (targets_add(&o->targets, str_of(arg), &bad)) {
    case OK:
        return;
    case E_NOTFOUND:
        argp_error(state, "target '" STR_FMT "': no such host", STR_ARG(bad));
        return;
    case E_FULL:
        argp_error(state, "more than %d targets", LIMIT_TOOL_TARGETS);
        return;
    default:
        argp_error(state,
                   "bad target '" STR_FMT "' (want ADDR:PORT or [ADDR6]:PORT, then /PREF)",
                   STR_ARG(bad));
    }
}

static void add_sources(struct argp_state *state, struct load_options *o, const char *arg)
{
    while (*arg != 0) {
        size_t n = strcspn(arg, ",");

        if (o->source_count == LIMIT_TOOL_SOURCES)
            argp_error(state, "more than %d source addresses", LIMIT_TOOL_SOURCES);
        need(state, address_numeric((struct str){arg, n}, 0, &o->sources[o->source_count]),
             "--source", arg);
        o->source_count++;
        arg += arg[n] == ',' ? n + 1 : n;
    }
}

static void imitate(struct argp_state *state, struct load_options *o, const char *arg)
{
    static const struct {
        const char *name;
        struct walk_budget budget;
    } senders[] = {
        {"postfix", {.addresses = 5, .sessions = 2}},
        {"exim", {.addresses = 0, .sessions = 0}},
        {"opensmtpd", {.addresses = 0, .sessions = 1}},
    };

    for (size_t i = 0; i < sizeof senders / sizeof senders[0]; i++)
        if (strcmp(arg, senders[i].name) == 0) {
            o->budget = senders[i].budget;
            return;
        }
    argp_error(state, "--as knows postfix, exim and opensmtpd, not '%s'", arg);
}

static bool parse_load(struct argp_state *state, struct load_options *o, int key,
                       const char *arg)
{
    switch (key) {
    case KEY_TARGETS:
        add_targets(state, o, arg);
        return true;
    case KEY_MESSAGES:
        o->messages = count(state, "-n", arg, 0, MAX_MESSAGES);
        o->messages_given = true;
        return true;
    case KEY_DURATION:
        o->duration_us = duration(state, "-d", arg);
        return true;
    case KEY_CONNECTIONS:
        o->connections = (unsigned)count(state, "-c", arg, 1, MAX_CONNS);
        return true;
    case KEY_PER_SESSION:
        o->per_session = count(state, "-m", arg, 0, MAX_MESSAGES);
        return true;
    case KEY_SIZE:
        need(state, number_size(str_of(arg), GiB, &o->message_bytes), "-s", arg);
        need(state, o->message_bytes < BODY_MIN_BYTES ? E_FULL : OK, "-s", arg);
        return true;
    case KEY_RATE:
        need(state, number_micro(str_of(arg), MAX_RATE, &o->rate_micro), "-r", arg);
        return true;
    case KEY_IDLE:
        o->idle = (unsigned)count(state, "--idle", arg, 1, MAX_CONNS);
        return true;
    case KEY_HOLD:
        o->hold_us = duration(state, "--hold", arg);
        return true;
    default:
        return false;
    }
}

static bool parse_failing(struct argp_state *state, struct load_options *o, int key,
                          const char *arg)
{
    switch (key) {
    case KEY_ATTEMPTS:
        o->attempts = (unsigned)count(state, "-a", arg, 1, 1000000);
        return true;
    case KEY_RETRY_DELAY:
        o->retry_first_us = duration(state, "--retry-delay", arg);
        return true;
    case KEY_RETRY_MAX:
        o->retry_max_us = duration(state, "--retry-max", arg);
        return true;
    case KEY_DOWN_CACHE:
        o->down_cache_us = duration(state, "--down-cache", arg);
        return true;
    case KEY_AS:
        imitate(state, o, arg);
        return true;
    case KEY_ADDRESSES:
        o->budget.addresses = (unsigned)count(state, "--addresses", arg, 0, 1000);
        return true;
    case KEY_SESSIONS:
        o->budget.sessions = (unsigned)count(state, "--sessions", arg, 0, 1000);
        return true;
    case KEY_CONNECT_TIMEOUT:
        o->conn.connect_timeout_us = duration(state, "--connect-timeout", arg);
        return true;
    case KEY_IO_TIMEOUT:
        o->conn.io_timeout_us = duration(state, "--io-timeout", arg);
        return true;
    case KEY_INTERVAL:
        o->interval_us = duration(state, "--interval", arg);
        return true;
    default:
        return false;
    }
}

static bool parse_session(struct argp_state *state, struct load_options *o, int key,
                          const char *arg)
{
    struct client_options *c = &o->conn.client;

    switch (key) {
    case KEY_FROM:
        c->from = word(state, "--from", arg, 254);
        return true;
    case KEY_RCPT:
        c->rcpt = word(state, "--rcpt", arg, 254);
        return true;
    case KEY_RCPT_MOD:
        c->rcpt_modulus = count(state, "--rcpt-mod", arg, 1, MAX_MESSAGES);
        return true;
    case KEY_RCPTS:
        c->rcpts = (unsigned)count(state, "--rcpts", arg, 1, LIMIT_TOOL_RCPTS);
        return true;
    case KEY_HELO:
        c->helo = word(state, "--helo", arg, 255);
        return true;
    case KEY_NO_PIPELINING:
        c->pipelining = false;
        return true;
    case KEY_BDAT:
        c->bdat = true;
        return true;
    case KEY_STARTTLS:
        c->starttls = true;
        return true;
    case KEY_TLS_NAME:
        o->conn.tls_name = word(state, "--tls-name", arg, 255);
        return true;
    case KEY_WAIT_QUIT:
        o->conn.wait_quit = true;
        return true;
    default:
        return false;
    }
}

static error_t parse_rest(struct argp_state *state, struct load_options *o, int key,
                          const char *arg)
{
    switch (key) {
    case KEY_CA:
        o->ca_path = arg;
        return 0;
    case KEY_FILES:
        o->files_dir = arg;
        return 0;
    case KEY_UNCHECKED:
        o->unchecked = true;
        return 0;
    case KEY_SOURCE:
        add_sources(state, o, arg);
        return 0;
    case KEY_RUN:
        o->run = run_id(state, arg);
        return 0;
    case KEY_JOURNAL:
        o->journal_path = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected word '%s' (targets go behind -t)", arg);
        return 0;
    case ARGP_KEY_END:
        if (o->targets.n == 0)
            argp_error(state, "no target: say where to with -t ADDR:PORT");
        if (o->messages_given && o->messages == 0 && o->duration_us == 0)
            argp_error(state, "-n 0 needs -d");
        if ((o->ca_path != NULL || o->conn.tls_name != NULL) && !o->conn.client.starttls)
            argp_error(state, "--ca and --tls-name need --starttls");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct load_options *o = state->input;

    if (parse_load(state, o, key, arg) || parse_failing(state, o, key, arg) ||
        parse_session(state, o, key, arg))
        return 0;
    return parse_rest(state, o, key, arg);
}

void load_options_parse(struct load_options *o, int argc, char **argv)
{
    static const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "-t ADDR:PORT", .doc = doc};

    *o = (struct load_options){
        .conn = {.client = {.helo = "client.example",
                            .from = "load@sender.example",
                            .rcpt = "user%u@example.test",
                            .rcpts = 1,
                            .rcpt_modulus = 1000,
                            .pipelining = true},
                 .connect_timeout_us = 10 * SECOND_US,
                 .io_timeout_us = 60 * SECOND_US},
        .budget = {.addresses = 5, .sessions = 2},
        .messages = 100,
        .per_session = 1,
        .message_bytes = 4096,
        .retry_first_us = SECOND_US,
        .retry_max_us = 60 * SECOND_US,
        .connections = 1,
        .attempts = 1,
    };
    version_announce("trispool-load");
    snprintf(o->run_buffer, sizeof o->run_buffer, "%llx.%x",
             (unsigned long long)(tool_wall_us() / SECOND_US), (unsigned)getpid());
    o->run = o->run_buffer;
    argp_parse(&argp, argc, argv, 0, NULL, o);
}
