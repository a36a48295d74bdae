#include "cluster-tools/sink/options.h"

#include <argp.h>
#include <stdio.h>

#include "cluster-tools/common/number.h"
#include "cluster-tools/common/version.h"

#define DEFAULT_MAX_BYTES (100 * MiB)
#define MAX_COUNT         UINT64_C(1000000000000)

enum key {
    KEY_LISTEN = 'l',
    KEY_LEDGER = 256,
    KEY_DIR,
    KEY_CONTROL,
    KEY_CONTROL_SOCKET,
    KEY_MODE,
    KEY_EXPECT,
    KEY_TIMEOUT,
    KEY_MAX_CONNS,
    KEY_SIZE,
    KEY_HOSTNAME,
    KEY_TLS,
    KEY_TLS_KEY,
    KEY_REQUIRE_TLS,
    KEY_CHUNKING,
    KEY_NO_PIPELINING,
    KEY_NO_8BITMIME,
    KEY_LENIENT,
    KEY_CHECK,
    KEY_JOURNAL,
    KEY_RECEIVED,
    KEY_MAX_DUP,
    KEY_COMPARE,
    KEY_RELAY,
    KEY_DIRECT,
    KEY_VERBOSE,
};

static const char doc[] =
    "Stands in for a mail server: takes mail, keeps book of it, and fails on command.\n\n"
    "Afterwards it tells what was lost, doubled or altered: --check compares its ledger with "
    "the journal of trispool-load, --compare compares the files that were sent with those that "
    "arrived.\v"
    "Control lines (by --control, --control-socket, or one by --mode):\n"
    "  up | down                  listen | stop listening and cut every session\n"
    "  accept                     back to normal\n"
    "  tempfail|reject [at=STAGE] [code=N] [pct=P]\n"
    "                             answer 4xx or 5xx (at=rcpt unless said)\n"
    "  drop [at=STAGE] [pct=P]    cut the connection (at=eom: behind the dot)\n"
    "  stall [at=STAGE] [pct=P]   never answer again (at=banner unless said)\n"
    "  ackloss [pct=P]            take the message, then cut instead of the 250\n"
    "  delay TIME [at=STAGE]      answer later; 250 is 250ms; 0 ends it (at=eom unless said)\n"
    "  max-conns N                421 beyond N sessions\n"
    "  stats [FILE] | reset | quit\n"
    "STAGE: banner ehlo helo starttls mail rcpt data body eom quit\n\n"
    "Examples:\n"
    "  take mail on a port of this machine, keep every message in a folder:\n"
    "    trispool-sink -l 127.0.0.1:2525 --dir got/ --log got.log\n"
    "  a server that is down, until told otherwise:\n"
    "    trispool-sink -l 127.0.0.1:2525 --control ctl --mode down &\n"
    "    echo up > ctl\n"
    "  is everything there that was acknowledged?\n"
    "    trispool-sink --check --journal sent.log --received got.log\n"
    "    trispool-sink --compare sent/ got/\n\n"
    "Exit status: 0 all well, 1 --check or --compare found something, 64 wrong usage, 71 this "
    "machine got in the way (port, file or memory).";

#define HEADING(text)                                                                          \
    {                                                                                          \
        0, 0, 0, 0, text, 0                                                                    \
    }

static const struct argp_option options[] = {
    HEADING("Taking mail:"),
    {"listen", KEY_LISTEN, "ADDR:PORT", 0, "Listen here; IPv6 as [::1]:2525; may be repeated",
     0},
    {"log", KEY_LEDGER, "FILE", 0, "Append a line for every message taken", 0},
    {"dir", KEY_DIR, "DIR", 0,
     "Keep every message as received in DIR/<n>.eml, its envelope in DIR/<n>.env", 0},
    {"hostname", KEY_HOSTNAME, "NAME", 0, "Own name (default primary.example.test)", 0},
    {"size", KEY_SIZE, "BYTES", 0,
     "Largest message, offered and kept to (default 100M; 0: any)", 0},
    {"chunking", KEY_CHUNKING, 0, 0, "Offer CHUNKING (BDAT)", 0},
    {"no-pipelining", KEY_NO_PIPELINING, 0, 0, "Do not offer PIPELINING", 0},
    {"no-8bitmime", KEY_NO_8BITMIME, 0, 0, "Do not offer 8BITMIME and SMTPUTF8", 0},
    {"tls", KEY_TLS, "CERT", 0, "Offer STARTTLS with this certificate (PEM)", 0},
    {"tls-key", KEY_TLS_KEY, "KEY", 0, "Its key (PEM); also possible: --tls CERT KEY", 0},
    {"require-tls", KEY_REQUIRE_TLS, 0, 0, "Refuse MAIL without TLS (530)", 0},
    {"lenient", KEY_LENIENT, 0, 0,
     "Let an LF alone end lines and the data, as a careless server does; with --check: CRs and "
     "LFs that stood alone are fine",
     0},
    HEADING("Failing on command:"),
    {"control", KEY_CONTROL, "FIFO", 0, "Make this FIFO and obey lines written to it", 0},
    {"control-socket", KEY_CONTROL_SOCKET, "PATH", 0,
     "Make this UNIX socket, obey lines and answer each with one line", 0},
    {"mode", KEY_MODE, "LINE", 0, "A control line to start with, as --mode down", 0},
    {"max-conns", KEY_MAX_CONNS, "N", 0, "421 beyond N sessions (default: no limit)", 0},
    {"expect", KEY_EXPECT, "N", 0, "Stop when N distinct messages have arrived", 0},
    {"timeout", KEY_TIMEOUT, "TIME", 0, "Stop after this time (seconds, or 500ms, 2m, 1h)", 0},
    HEADING("Judging:"),
    {"check", KEY_CHECK, 0, 0,
     "Compare journals with ledgers: every acknowledged id must have arrived, whole; copies "
     "too many are counted, those the sender could not avoid are excused",
     0},
    {"journal", KEY_JOURNAL, "FILE", 0, "A journal of trispool-load; may be repeated", 0},
    {"received", KEY_RECEIVED, "FILE", 0, "A ledger of trispool-sink; may be repeated", 0},
    {"max-dup", KEY_MAX_DUP, "N", 0,
     "Fail with more than N copies without an excuse (default: never)", 0},
    {"compare", KEY_COMPARE, 0, 0,
     "Compare two folders: --compare SENT RECEIVED. Every sent file must have arrived once, "
     "byte for byte behind one Received field (above it may stand an "
     "Authentication-Results and a Received-SPF)",
     0},
    {"relay", KEY_RELAY, "NAME", 0,
     "That field must say \"by NAME\" (default: any name will do)", 0},
    {"direct", KEY_DIRECT, 0, 0, "No relay between: the files must be equal as they are", 0},
    {"verbose", KEY_VERBOSE, 0, 0, "Name what is wrong on stderr", 0},
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

static void count(struct argp_state *state, const char *what, const char *arg, uint64_t *out)
{
    need(state, number_count(str_of(arg), MAX_COUNT, out), what, arg);
}

static void add_listener(struct argp_state *state, struct sink_options *o, const char *arg)
{
    size_t n;

    if (o->listen_count == LIMIT_TOOL_LISTENERS)
        argp_error(state, "more than %d addresses to listen on", LIMIT_TOOL_LISTENERS);
    if (address_resolve(str_of(arg), &o->listen[o->listen_count], 1, &n) != OK)
        argp_error(state, "bad address '%s' (want ADDR:PORT or [ADDR6]:PORT)", arg);
    o->listen_count++;
}

static void add_file(struct argp_state *state, const char **list, size_t *n, const char *path)
{
    if (*n == CHECK_MAX_FILES)
        argp_error(state, "more than %d files of a kind", CHECK_MAX_FILES);
    list[(*n)++] = path;
}

static const char *name(struct argp_state *state, const char *arg)
{
    for (const char *p = arg; *p != 0; p++)
        need(state, *p > ' ' && *p < 127 ? OK : E_PROTO, "--hostname", arg);
    need(state, *arg != 0 && strlen(arg) <= 255 ? OK : E_PROTO, "--hostname", arg);
    return arg;
}

static bool parse_serve(struct argp_state *state, struct sink_options *o, int key,
                        const char *arg)
{
    switch (key) {
    case KEY_LISTEN:
        add_listener(state, o, arg);
        return true;
    case KEY_LEDGER:
        o->ledger_path = arg;
        return true;
    case KEY_DIR:
        o->dir_path = arg;
        return true;
    case KEY_CONTROL:
        o->fifo_path = arg;
        return true;
    case KEY_CONTROL_SOCKET:
        o->socket_path = arg;
        return true;
    case KEY_MODE:
        o->mode = arg;
        return true;
    case KEY_EXPECT:
        count(state, "--expect", arg, &o->expect);
        return true;
    case KEY_TIMEOUT:
        need(state, number_duration_us(str_of(arg), &o->timeout_us), "--timeout", arg);
        return true;
    case KEY_MAX_CONNS:
        count(state, "--max-conns", arg, &o->max_conns);
        return true;
    case KEY_LENIENT:
        o->lenient = o->check.lenient = true;
        return true;
    default:
        return false;
    }
}

static bool parse_session(struct argp_state *state, struct sink_options *o, int key,
                          const char *arg)
{
    switch (key) {
    case KEY_SIZE:
        need(state, number_size(str_of(arg), 16 * GiB, &o->session.max_bytes), "--size", arg);
        return true;
    case KEY_HOSTNAME:
        o->session.hostname = name(state, arg);
        return true;
    case KEY_TLS:
        o->session.tls = true;
        o->cert_path = arg;
        return true;
    case KEY_TLS_KEY:
        o->key_path = arg;
        return true;
    case KEY_REQUIRE_TLS:
        o->session.require_tls = true;
        return true;
    case KEY_CHUNKING:
        o->session.chunking = true;
        return true;
    case KEY_NO_PIPELINING:
        o->session.pipelining = false;
        return true;
    case KEY_NO_8BITMIME:
        o->session.eight_bit = false;
        return true;
    default:
        return false;
    }
}

static bool parse_judge(struct argp_state *state, struct sink_options *o, int key,
                        const char *arg)
{
    switch (key) {
    case KEY_CHECK:
        o->task = TASK_CHECK;
        return true;
    case KEY_JOURNAL:
        add_file(state, o->check.journals, &o->check.journal_count, arg);
        return true;
    case KEY_RECEIVED:
        add_file(state, o->check.ledgers, &o->check.ledger_count, arg);
        return true;
    case KEY_MAX_DUP:
        count(state, "--max-dup", arg, &o->check.max_duplicates);
        return true;
    case KEY_COMPARE:
        o->task = TASK_COMPARE;
        return true;
    case KEY_RELAY:
        o->compare.relay = arg;
        return true;
    case KEY_DIRECT:
        o->compare.direct = true;
        return true;
    case KEY_VERBOSE:
        o->check.verbose = o->compare.verbose = true;
        return true;
    default:
        return false;
    }
}

static void word(struct argp_state *state, struct sink_options *o, const char *arg)
{
    if (o->task == TASK_COMPARE && o->compare.sent_dir == NULL)
        o->compare.sent_dir = arg;
    else if (o->task == TASK_COMPARE && o->compare.received_dir == NULL)
        o->compare.received_dir = arg;
    else if (o->task == TASK_SERVE && o->cert_path != NULL && o->key_path == NULL)
        o->key_path = arg; /* --tls CERT KEY */
    else
        argp_error(state, "unexpected word '%s'", arg);
}

static void finish(struct argp_state *state, const struct sink_options *o)
{
    switch (o->task) {
    case TASK_SERVE:
        if (o->listen_count == 0)
            argp_error(state, "nothing to listen on: say -l ADDR:PORT, --check or --compare");
        if ((o->cert_path == NULL) != (o->key_path == NULL))
            argp_error(state, "TLS wants a certificate and a key: --tls CERT KEY");
        if (o->session.require_tls && !o->session.tls)
            argp_error(state, "--require-tls needs --tls CERT KEY");
        break;
    case TASK_CHECK:
        if (o->check.journal_count == 0 || o->check.ledger_count == 0)
            argp_error(state, "--check wants at least one --journal and one --received");
        break;
    case TASK_COMPARE:
        if (o->compare.received_dir == NULL)
            argp_error(state, "--compare wants two folders: --compare SENT RECEIVED");
        if (o->compare.direct && o->compare.relay != NULL)
            argp_error(state, "--direct and --relay contradict each other");
        break;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct sink_options *o = state->input;

    if (key == ARGP_KEY_ARG) {
        word(state, o, arg);
        return 0;
    }
    if (key == ARGP_KEY_END) {
        finish(state, o);
        return 0;
    }
    if (parse_serve(state, o, key, arg) || parse_session(state, o, key, arg) ||
        parse_judge(state, o, key, arg))
        return 0;
    return ARGP_ERR_UNKNOWN;
}

void sink_options_parse(struct sink_options *o, int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "-l ADDR:PORT\n--check --journal FILE --received FILE\n"
                    "--compare SENT RECEIVED",
        .doc = doc,
    };

    *o = (struct sink_options){
        .session = {.hostname = "primary.example.test",
                    .pipelining = true,
                    .eight_bit = true,
                    .max_bytes = DEFAULT_MAX_BYTES},
        .check = {.max_duplicates = CHECK_ANY},
    };
    version_announce("trispool-sink");
    argp_parse(&argp, argc, argv, 0, NULL, o);
}
