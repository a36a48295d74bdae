#include "cluster-tools/load/client.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/fsm.h"

static const struct fsm_state states[] = {
    [CLIENT_BANNER] = {"BANNER", FSM_TO(CLIENT_EHLO) | FSM_TO(CLIENT_QUIT)},
    [CLIENT_EHLO] = {"EHLO", FSM_TO(CLIENT_HELO) | FSM_TO(CLIENT_STARTTLS) |
                                 FSM_TO(CLIENT_IDLE) | FSM_TO(CLIENT_QUIT)},
    [CLIENT_HELO] = {"HELO", FSM_TO(CLIENT_IDLE) | FSM_TO(CLIENT_QUIT)},
    [CLIENT_STARTTLS] = {"STARTTLS", FSM_TO(CLIENT_HANDSHAKE) | FSM_TO(CLIENT_QUIT)},
    [CLIENT_HANDSHAKE] = {"HANDSHAKE", FSM_TO(CLIENT_EHLO)},
    [CLIENT_IDLE] = {"IDLE", FSM_TO(CLIENT_TX) | FSM_TO(CLIENT_QUIT)},
    [CLIENT_TX] = {"TX", FSM_TO(CLIENT_BODY) | FSM_TO(CLIENT_ABORT) | FSM_TO(CLIENT_RSET) |
                             FSM_TO(CLIENT_QUIT)},
    [CLIENT_BODY] = {"BODY", FSM_TO(CLIENT_DOT) | FSM_TO(CLIENT_QUIT)},
    [CLIENT_DOT] = {"DOT", FSM_TO(CLIENT_IDLE) | FSM_TO(CLIENT_RSET) | FSM_TO(CLIENT_QUIT)},
    [CLIENT_ABORT] = {"ABORT", FSM_TO(CLIENT_RSET) | FSM_TO(CLIENT_QUIT)},
    [CLIENT_RSET] = {"RSET", FSM_TO(CLIENT_IDLE) | FSM_TO(CLIENT_QUIT)},
    [CLIENT_QUIT] = {"QUIT", 0},
};

static const struct client_result nothing = {CLIENT_NOTHING, 0};

static void move(struct client *c, enum client_state next)
{
    fsm_move(&c->state, (int)next, states);
}

static bool is_ok(int code)
{
    return code / 100 == 2;
}

void client_init(struct client *c, const struct client_options *opt)
{
    ASSERT(opt->rcpts > 0 && opt->rcpt_modulus > 0);
    *c = (struct client){.opt = opt, .state = CLIENT_BANNER};
}

bool client_uses_bdat(const struct client *c)
{
    return c->opt->bdat && c->can_chunk;
}

bool client_outcome_unknown(const struct client *c)
{
    return c->state == CLIENT_DOT;
}

bool client_partial(const struct client *c)
{
    return c->accepted > 0 && c->accepted < c->opt->rcpts;
}

void client_quit(struct client *c, struct outbuf *out)
{
    ASSERT(c->state != CLIENT_BODY && c->state != CLIENT_HANDSHAKE);
    outbuf_add(out, STR("QUIT\r\n"));
    move(c, CLIENT_QUIT);
}

static void say_ehlo(struct client *c, struct outbuf *out)
{
    c->can_pipeline = c->can_chunk = c->can_starttls = c->can_size = c->can_8bit = false;
    outbuf_printf(out, "EHLO %s\r\n", c->opt->helo);
    move(c, CLIENT_EHLO);
}

/* The server is up, but not for mail. */
static struct client_result refuse_server(struct client *c, int code, struct outbuf *out)
{
    client_quit(c, out);
    return (struct client_result){CLIENT_REFUSED, code};
}

/* The message in hand was refused with `code`. A 421 announces that the server closes (RFC
 * 5321 3.8), and after any 4xx a sender takes the message elsewhere. */
static struct client_result refuse_message(struct client *c, int code, struct outbuf *out)
{
    if (code < 500) {
        client_quit(c, out);
        return (struct client_result){CLIENT_TEMP, code};
    }
    outbuf_add(out, STR("RSET\r\n"));
    move(c, CLIENT_RSET);
    return (struct client_result){CLIENT_PERM, code};
}

static void learn(struct client *c, struct str keyword)
{
    const struct {
        struct str name;
        bool *flag;
    } known[] = {
        {STR("PIPELINING"), &c->can_pipeline}, {STR("CHUNKING"), &c->can_chunk},
        {STR("STARTTLS"), &c->can_starttls},   {STR("SIZE"), &c->can_size},
        {STR("8BITMIME"), &c->can_8bit},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct str rest = keyword;

        if (str_cut_nocase(&rest, known[i].name) && (rest.n == 0 || rest.p[0] == ' '))
            *known[i].flag = true;
    }
}

static struct client_result on_banner(struct client *c, int code, struct outbuf *out)
{
    if (code != 220)
        return refuse_server(c, code, out);
    say_ehlo(c, out);
    return (struct client_result){CLIENT_GREETED, code};
}

static struct client_result on_ehlo(struct client *c, int code, struct outbuf *out)
{
    if (code >= 500 && !c->opt->starttls) {
        /* RFC 5321 3.2: a server that does not know EHLO may know HELO. */
        outbuf_printf(out, "HELO %s\r\n", c->opt->helo);
        move(c, CLIENT_HELO);
        return nothing;
    }
    if (!is_ok(code))
        return refuse_server(c, code, out);
    if (c->opt->starttls && !c->secured) {
        if (!c->can_starttls)
            return refuse_server(c, 0, out);
        outbuf_add(out, STR("STARTTLS\r\n"));
        move(c, CLIENT_STARTTLS);
        return nothing;
    }
    move(c, CLIENT_IDLE);
    return (struct client_result){CLIENT_READY, code};
}

static struct client_result on_helo(struct client *c, int code, struct outbuf *out)
{
    if (!is_ok(code))
        return refuse_server(c, code, out);
    c->can_pipeline = c->can_chunk = c->can_starttls = c->can_size = c->can_8bit = false;
    move(c, CLIENT_IDLE);
    return (struct client_result){CLIENT_READY, code};
}

static struct client_result on_starttls(struct client *c, int code, struct outbuf *out)
{
    if (code != 220)
        return refuse_server(c, code, out);
    move(c, CLIENT_HANDSHAKE);
    return (struct client_result){CLIENT_DO_TLS, code};
}

void client_secured(struct client *c, struct outbuf *out)
{
    c->secured = true;
    say_ehlo(c, out); /* RFC 3207 4.2: what was said in the clear does not count */
}

static void say_rcpt(const struct client *c, unsigned i, struct outbuf *out)
{
    uint64_t number = (c->msg.number * c->opt->rcpts + i) % c->opt->rcpt_modulus;
    struct str pattern = str_of(c->opt->rcpt);

    outbuf_add(out, STR("RCPT TO:<"));
    while (pattern.n > 0) {
        if (str_cut_nocase(&pattern, STR("%u"))) {
            outbuf_printf(out, "%" PRIu64, number);
        } else {
            outbuf_add(out, str_head(pattern, 1));
            pattern = str_from(pattern, 1);
        }
    }
    outbuf_add(out, STR(">\r\n"));
}

/* How many replies a transaction has before its body: MAIL, each RCPT and, without BDAT,
 * DATA. */
static unsigned steps(const struct client *c)
{
    return 1 + c->opt->rcpts + (client_uses_bdat(c) ? 0 : 1);
}

static void say_step(const struct client *c, unsigned step, struct outbuf *out)
{
    if (step == 0) {
        outbuf_printf(out, "MAIL FROM:<%s>", c->opt->from);
        if (c->can_size)
            outbuf_printf(out, " SIZE=%" PRIu64, c->msg.bytes);
        if (c->can_8bit && c->msg.eight_bit)
            outbuf_add(out, STR(" BODY=8BITMIME"));
        outbuf_add(out, STR("\r\n"));
    } else if (step <= c->opt->rcpts) {
        say_rcpt(c, step - 1, out);
    } else {
        outbuf_add(out, STR("DATA\r\n"));
    }
}

void client_begin(struct client *c, const struct client_message *msg, struct outbuf *out)
{
    bool all = c->opt->pipelining && c->can_pipeline;

    c->msg = *msg;
    c->replies = c->accepted = 0;
    c->mail_code = c->rcpt_code = 0;
    move(c, CLIENT_TX);
    for (unsigned i = 0; i < (all ? steps(c) : 1); i++)
        say_step(c, i, out);
}

static struct client_result start_body(struct client *c, struct outbuf *out)
{
    if (client_uses_bdat(c))
        outbuf_printf(out, "BDAT %" PRIu64 " LAST\r\n", c->msg.bytes);
    move(c, CLIENT_BODY);
    return (struct client_result){CLIENT_DO_BODY, 0};
}

/* Why a transaction without a single good recipient failed. */
static int refusal(const struct client *c, int code)
{
    if (c->mail_code != 0)
        return c->mail_code;
    return c->rcpt_code != 0 ? c->rcpt_code : code;
}

/* All replies before the body are in; `code` is the last. */
static struct client_result judge_tx(struct client *c, int code, struct outbuf *out)
{
    if (client_uses_bdat(c))
        return c->accepted > 0 ? start_body(c, out) : refuse_message(c, refusal(c, code), out);
    if (code / 100 != 3)
        return refuse_message(c, c->accepted > 0 ? code : refusal(c, code), out);
    if (c->accepted > 0)
        return start_body(c, out);
    /* RFC 2920 3.1: 354 although nobody is left to get it; an empty message ends it. */
    outbuf_add(out, STR(".\r\n"));
    move(c, CLIENT_ABORT);
    return nothing;
}

static void note_step(struct client *c, unsigned step, int code)
{
    if (step == 0) {
        if (!is_ok(code))
            c->mail_code = code;
    } else if (step <= c->opt->rcpts) {
        if (is_ok(code))
            c->accepted++;
        else if (c->rcpt_code == 0 || (code < 500 && c->rcpt_code >= 500))
            c->rcpt_code = code;
    }
}

static struct client_result on_tx(struct client *c, int code, struct outbuf *out)
{
    unsigned step = c->replies++;

    if (code == 421 || (code / 100 == 3 && step <= c->opt->rcpts)) {
        /* The server closes, or is out of step: replies and commands no longer match. */
        client_quit(c, out);
        return (struct client_result){CLIENT_TEMP, code};
    }
    note_step(c, step, code);
    if (c->replies == steps(c))
        return judge_tx(c, code, out);
    if (c->opt->pipelining && c->can_pipeline)
        return nothing;
    if (c->mail_code != 0 || (step == c->opt->rcpts && c->accepted == 0))
        return refuse_message(c, refusal(c, code), out);
    say_step(c, c->replies, out);
    return nothing;
}

void client_body_sent(struct client *c)
{
    move(c, CLIENT_DOT);
}

static struct client_result on_dot(struct client *c, int code, struct outbuf *out)
{
    if (is_ok(code)) {
        move(c, CLIENT_IDLE);
        return (struct client_result){CLIENT_ACKED, code};
    }
    return refuse_message(c, code, out);
}

/* A reply before the end of the body. Half a message is on the way: only closing helps. */
static struct client_result on_early(struct client *c, int code)
{
    c->body_cut = true;
    move(c, CLIENT_QUIT);
    if (code >= 500)
        return (struct client_result){CLIENT_PERM, code};
    return (struct client_result){CLIENT_TEMP, code};
}

static struct client_result on_rset(struct client *c, int code, struct outbuf *out)
{
    if (is_ok(code)) {
        move(c, CLIENT_IDLE);
        return (struct client_result){CLIENT_READY, code};
    }
    client_quit(c, out);
    return (struct client_result){CLIENT_ENDED, code};
}

struct client_result client_line(struct client *c, const struct reply_line *line,
                                 struct outbuf *out)
{
    if (c->state == CLIENT_EHLO && !line->first && is_ok(line->code))
        learn(c, line->text);
    if (!line->last)
        return nothing;
    switch ((enum client_state)c->state) {
    case CLIENT_BANNER:
        return on_banner(c, line->code, out);
    case CLIENT_EHLO:
        return on_ehlo(c, line->code, out);
    case CLIENT_HELO:
        return on_helo(c, line->code, out);
    case CLIENT_STARTTLS:
        return on_starttls(c, line->code, out);
    case CLIENT_TX:
        return on_tx(c, line->code, out);
    case CLIENT_BODY:
        return on_early(c, line->code);
    case CLIENT_DOT:
        return on_dot(c, line->code, out);
    case CLIENT_ABORT:
        return refuse_message(c, refusal(c, line->code), out);
    case CLIENT_RSET:
        return on_rset(c, line->code, out);
    case CLIENT_HANDSHAKE: /* the shell throws input away here */
    case CLIENT_IDLE:      /* a server speaks unasked only to close: 421 */
    case CLIENT_QUIT:
        break;
    }
    return (struct client_result){CLIENT_ENDED, line->code};
}
