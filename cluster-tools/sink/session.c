#include "cluster-tools/sink/session.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/fsm.h"
#include "base/limits.h"
#include "cluster-tools/common/number.h"
#include "cluster-tools/common/words.h"

#define SHOWN(s) (s)->config->hostname

static const struct fsm_state states[] = {
    [SESSION_NEW] = {"NEW", FSM_TO(SESSION_NEW) | FSM_TO(SESSION_READY)},
    [SESSION_READY] = {"READY",
                       FSM_TO(SESSION_NEW) | FSM_TO(SESSION_READY) | FSM_TO(SESSION_MAIL)},
    [SESSION_MAIL] = {"MAIL",
                      FSM_TO(SESSION_NEW) | FSM_TO(SESSION_READY) | FSM_TO(SESSION_RCPT)},
    [SESSION_RCPT] = {"RCPT",
                      FSM_TO(SESSION_NEW) | FSM_TO(SESSION_READY) | FSM_TO(SESSION_RCPT)},
};

typedef struct session_out handler_fn(struct session *, struct str arg, struct outbuf *);
static handler_fn on_ehlo, on_helo, on_starttls, on_mail, on_rcpt, on_data, on_bdat, on_rset,
    on_noop, on_vrfy, on_quit;

static const struct command {
    struct str verb;
    handler_fn *run;
} commands[] = {
    {{"EHLO", 4}, on_ehlo},        {{"HELO", 4}, on_helo},     {{"STARTTLS", 8}, on_starttls},
    {{"MAIL FROM:", 10}, on_mail}, {{"RCPT TO:", 8}, on_rcpt}, {{"DATA", 4}, on_data},
    {{"BDAT", 4}, on_bdat},        {{"RSET", 4}, on_rset},     {{"NOOP", 4}, on_noop},
    {{"VRFY", 4}, on_vrfy},        {{"QUIT", 4}, on_quit},
};

static const struct session_out go_on = {.act = SESSION_GO_ON};

void session_init(struct session *s, const struct session_config *config, struct fault *fault)
{
    *s = (struct session){.config = config, .fault = fault, .state = SESSION_NEW};
    outbuf_init(&s->envelope, LIMIT_TOOL_ENVELOPE_BYTES);
}

void session_fini(struct session *s)
{
    outbuf_fini(&s->envelope);
}

static void forget(struct session *s)
{
    s->rcpts = 0;
    s->chunked = false;
    s->message_bytes = 0;
    outbuf_fini(&s->envelope);
}

void session_reset(struct session *s)
{
    forget(s);
    if (s->state != SESSION_NEW)
        fsm_move(&s->state, SESSION_READY, states);
}

void session_secured(struct session *s)
{
    s->secured = true;
    forget(s);
    fsm_move(&s->state, SESSION_NEW, states);
}

static struct session_out say(struct outbuf *replies, const char *text)
{
    outbuf_printf(replies, "%s\r\n", text);
    return go_on;
}

/* True: the step goes wrong as *out says, and its reply, if any, is queued. */
static bool goes_wrong(struct session *s, enum stage stage, struct outbuf *replies,
                       struct session_out *out)
{
    int code = fault_code(s->fault, stage);

    *out = (struct session_out){.fault = fault_at(s->fault, stage)};
    switch (out->fault) {
    case FAULT_NONE:
    case FAULT_ACKLOSS: /* the message is taken; session_message_end() does the rest */
        return false;
    case FAULT_TEMPFAIL:
        outbuf_printf(replies, "%d 4.7.1 Try again later (on purpose)\r\n", code);
        break;
    case FAULT_REJECT:
        outbuf_printf(replies, "%d 5.7.1 Refused (on purpose)\r\n", code);
        break;
    case FAULT_DROP:
        out->act = SESSION_DROP;
        return true;
    case FAULT_STALL:
        out->act = SESSION_STALL;
        return true;
    }
    /* RFC 5321 3.8: 421 announces that the server closes; and a refused banner ends it. */
    out->act = stage == STAGE_BANNER || code == 421 ? SESSION_CLOSE : SESSION_GO_ON;
    return true;
}

struct session_out session_open(struct session *s, bool busy, struct outbuf *replies)
{
    struct session_out out;

    if (busy) {
        outbuf_printf(replies, "421 4.7.0 %s Too many connections\r\n", SHOWN(s));
        return (struct session_out){.act = SESSION_CLOSE};
    }
    if (goes_wrong(s, STAGE_BANNER, replies, &out))
        return out;
    outbuf_printf(replies, "220 %s ESMTP trispool-sink\r\n", SHOWN(s));
    return (struct session_out){.delay_us = fault_delay_us(s->fault, STAGE_BANNER)};
}

static struct session_out on_ehlo(struct session *s, struct str arg, struct outbuf *replies)
{
    const struct session_config *c = s->config;
    struct session_out out;

    if (goes_wrong(s, STAGE_EHLO, replies, &out))
        return out;
    if (arg.n == 0)
        return say(replies, "501 5.5.4 EHLO wants a name");
    forget(s);
    fsm_move(&s->state, SESSION_READY, states);
    outbuf_printf(replies, "250-%s\r\n", c->hostname);
    if (c->pipelining)
        outbuf_add(replies, STR("250-PIPELINING\r\n"));
    if (c->eight_bit)
        outbuf_add(replies, STR("250-8BITMIME\r\n250-SMTPUTF8\r\n"));
    if (c->chunking)
        outbuf_add(replies, STR("250-CHUNKING\r\n"));
    if (c->tls && !s->secured)
        outbuf_add(replies, STR("250-STARTTLS\r\n"));
    if (c->max_bytes > 0)
        outbuf_printf(replies, "250-SIZE %" PRIu64 "\r\n", c->max_bytes);
    outbuf_add(replies, STR("250 ENHANCEDSTATUSCODES\r\n"));
    return (struct session_out){.delay_us = fault_delay_us(s->fault, STAGE_EHLO)};
}

static struct session_out on_helo(struct session *s, struct str arg, struct outbuf *replies)
{
    struct session_out out;

    if (goes_wrong(s, STAGE_HELO, replies, &out))
        return out;
    if (arg.n == 0)
        return say(replies, "501 5.5.4 HELO wants a name");
    forget(s);
    fsm_move(&s->state, SESSION_READY, states);
    outbuf_printf(replies, "250 %s\r\n", SHOWN(s));
    return (struct session_out){.delay_us = fault_delay_us(s->fault, STAGE_HELO)};
}

static struct session_out on_starttls(struct session *s, struct str arg, struct outbuf *replies)
{
    struct session_out out;

    if (!s->config->tls)
        return say(replies, "502 5.5.1 STARTTLS is not offered");
    if (s->secured || s->state == SESSION_NEW)
        return say(replies, "503 5.5.1 Not now");
    if (arg.n > 0)
        return say(replies, "501 5.5.4 STARTTLS has no argument");
    if (goes_wrong(s, STAGE_STARTTLS, replies, &out))
        return out;
    say(replies, "220 2.0.0 Shake hands");
    return (struct session_out){.act = SESSION_DO_TLS,
                                .delay_us = fault_delay_us(s->fault, STAGE_STARTTLS)};
}

/* RFC 1870 6.1: the size a client announces with MAIL. 0 when it does not. */
static uint64_t announced_bytes(struct str arg)
{
    uint64_t bytes = 0;
    struct str word;

    while ((word = words_cut(&arg)).n > 0)
        if (str_cut_nocase(&word, STR("SIZE=")) &&
            number_count(word, UINT64_MAX, &bytes) == E_FULL)
            return UINT64_MAX;
    return bytes;
}

static void remember(struct session *s, struct str verb, struct str arg)
{
    outbuf_add(&s->envelope, verb);
    outbuf_add(&s->envelope, arg);
    outbuf_add(&s->envelope, STR("\n"));
}

static struct session_out on_mail(struct session *s, struct str arg, struct outbuf *replies)
{
    uint64_t max = s->config->max_bytes;
    struct session_out out;

    if (goes_wrong(s, STAGE_MAIL, replies, &out))
        return out;
    if (s->config->require_tls && !s->secured)
        return say(replies, "530 5.7.0 Must issue a STARTTLS command first");
    if (s->state != SESSION_READY)
        return say(replies, "503 5.5.1 Not now");
    if (arg.n == 0 || arg.p[0] != '<')
        return say(replies, "501 5.5.4 Want MAIL FROM:<address>");
    if (max > 0 && announced_bytes(arg) > max)
        return say(replies, "552 5.3.4 Message too big");
    remember(s, STR("MAIL FROM:"), arg);
    fsm_move(&s->state, SESSION_MAIL, states);
    say(replies, "250 2.1.0 Ok");
    return (struct session_out){.delay_us = fault_delay_us(s->fault, STAGE_MAIL)};
}

static struct session_out on_rcpt(struct session *s, struct str arg, struct outbuf *replies)
{
    struct session_out out;

    if (s->state != SESSION_MAIL && s->state != SESSION_RCPT)
        return say(replies, "503 5.5.1 Not now");
    if (goes_wrong(s, STAGE_RCPT, replies, &out))
        return out;
    if (arg.n < 3 || arg.p[0] != '<')
        return say(replies, "501 5.5.4 Want RCPT TO:<address>");
    remember(s, STR("RCPT TO:"), arg);
    if (s->envelope.failed) {
        s->envelope.failed = false; /* only the line that was too much is lost */
        return say(replies, "452 4.5.3 Too many recipients");
    }
    s->rcpts++;
    fsm_move(&s->state, SESSION_RCPT, states);
    say(replies, "250 2.1.5 Ok");
    return (struct session_out){.delay_us = fault_delay_us(s->fault, STAGE_RCPT)};
}

static struct session_out on_data(struct session *s, struct str arg, struct outbuf *replies)
{
    struct session_out out;

    if (arg.n > 0)
        return say(replies, "501 5.5.4 DATA has no argument");
    if (s->chunked)
        return say(replies, "503 5.5.1 DATA and BDAT do not mix");
    if (s->state != SESSION_RCPT)
        return say(replies, s->state == SESSION_MAIL ? "554 5.5.1 No valid recipients"
                                                     : "503 5.5.1 Not now");
    if (goes_wrong(s, STAGE_DATA, replies, &out))
        return out;
    say(replies, "354 Go ahead");
    return (struct session_out){.act = SESSION_DO_DATA,
                                .delay_us = fault_delay_us(s->fault, STAGE_DATA)};
}

/* RFC 3030 2: whatever the answer, the chunk has to be read. */
static struct session_out on_bdat(struct session *s, struct str arg, struct outbuf *replies)
{
    struct session_out out = {.act = SESSION_DO_CHUNK}, wrong;
    struct str bytes = words_cut(&arg), last = words_cut(&arg);

    if (!s->config->chunking)
        return say(replies, "502 5.5.1 BDAT is not offered");
    out.chunk_last = str_cut_nocase(&last, STR("LAST"));
    if (number_count(bytes, UINT64_MAX, &out.chunk_bytes) != OK || last.n > 0 || arg.n > 0) {
        say(replies, "501 5.5.4 Want BDAT size [LAST]");
        return (struct session_out){.act = SESSION_CLOSE}; /* nobody knows how much follows */
    }
    out.chunk_first = !s->chunked;
    s->chunked = true;
    if (s->state != SESSION_RCPT) {
        out.chunk_unwanted = true;
        say(replies, "503 5.5.1 No transaction");
    } else if (goes_wrong(s, STAGE_DATA, replies, &wrong)) {
        if (wrong.act != SESSION_GO_ON)
            return wrong;
        out.chunk_unwanted = true;
        out.fault = wrong.fault;
    }
    return out;
}

static struct session_out on_rset(struct session *s, struct str arg, struct outbuf *replies)
{
    (void)arg;
    session_reset(s);
    return say(replies, "250 2.0.0 Ok");
}

static struct session_out on_noop(struct session *s, struct str arg, struct outbuf *replies)
{
    (void)s;
    (void)arg;
    return say(replies, "250 2.0.0 Ok");
}

static struct session_out on_vrfy(struct session *s, struct str arg, struct outbuf *replies)
{
    (void)s;
    (void)arg;
    return say(replies, "252 2.0.0 Perhaps");
}

static struct session_out on_quit(struct session *s, struct str arg, struct outbuf *replies)
{
    struct session_out out;

    (void)arg;
    if (goes_wrong(s, STAGE_QUIT, replies, &out))
        return out;
    say(replies, "221 2.0.0 Bye");
    return (struct session_out){.act = SESSION_CLOSE,
                                .delay_us = fault_delay_us(s->fault, STAGE_QUIT)};
}

struct session_out session_line(struct session *s, struct str line, struct outbuf *replies)
{
    if (str_find(line, '\r') < line.n || str_find(line, '\n') < line.n)
        return say(replies, "500 5.5.2 CR and LF stand together, or not at all");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct str arg = line, verb = commands[i].verb;

        if (!str_cut_nocase(&arg, verb))
            continue;
        if (arg.n > 0 && arg.p[0] != ' ' && !str_ends(verb, ':'))
            continue;
        str_skip(&arg, ' ');
        return commands[i].run(s, arg, replies);
    }
    return say(replies, "500 5.5.2 Command not recognised");
}

struct session_out session_body(struct session *s, uint64_t bytes)
{
    struct session_out out = go_on;
    bool first = s->message_bytes == 0 && bytes > 0;

    s->message_bytes += bytes;
    /* Once a message: the dice must not be thrown again for every packet. */
    if (!first)
        return out;
    out.fault = fault_at(s->fault, STAGE_BODY);
    if (out.fault == FAULT_DROP)
        out.act = SESSION_DROP;
    else if (out.fault == FAULT_STALL)
        out.act = SESSION_STALL;
    return out;
}

void session_chunk_end(struct outbuf *replies)
{
    say(replies, "250 2.0.0 Chunk taken");
}

struct session_out session_message_end(struct session *s, bool *take, struct outbuf *replies)
{
    uint64_t max = s->config->max_bytes;
    struct session_out out;

    *take = false;
    if (goes_wrong(s, STAGE_EOM, replies, &out))
        return out;
    if (max > 0 && s->message_bytes > max)
        return say(replies, "552 5.3.4 Message too big");
    *take = true;
    out.delay_us = fault_delay_us(s->fault, STAGE_EOM);
    if (out.fault == FAULT_ACKLOSS)
        out.act = SESSION_DROP;
    return out;
}

void session_taken(bool kept, struct outbuf *replies)
{
    say(replies, kept ? "250 2.0.0 Taken" : "452 4.3.1 Cannot keep it");
}
