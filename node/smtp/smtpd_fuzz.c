/*
 * A whole session with a small shell around it: the input is a program of what the client and
 * the node do. Random bytes make a random walk, libFuzzer finds the paths in between. Checked
 * after each step: the form of the replies, what is asked when, that a promise is made only by
 * a commit.
 */
#include <stdlib.h>

#include "node/smtp/smtpd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_BYTES 8192

static const char *const texts[] = {
    "EHLO c.example\r\n",
    "HELO c\r\n",
    "EHLO \r\n",
    "MAIL FROM:<a@x.example>\r\n",
    "MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
    "MAIL FROM:<a@x.example> SIZE=999999999\r\n",
    "MAIL FROM:<a@x.example> SMTPUTF8\r\n",
    "MAIL\r\n",
    "MAIL x\r\n",
    "RCPT TO:<b@y.example>\r\n",
    "RCPT TO:<b@z.example>\r\n",
    "RCPT TO:<c%d@y.example>\r\n",
    "RCPT TO:<postmaster>\r\n",
    "RCPT TO:<\xc3\xa9@\xc3\xa9.example>\r\n",
    "RCPT x\r\n",
    "DATA\r\n",
    "Subject: x\r\n\r\n..body\r\n.\r\n",
    ".\r\n",
    "Received: (trispool east)\r\n",
    "\r\n",
    "bare\nlf\r\n.\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "VRFY x\r\n",
    "EXPN x\r\n",
    "HELP\r\n",
    "AUTH PLAIN x\r\n",
    "BDAT 1 LAST\r\n",
    "STARTTLS\r\n",
    "QUIT\r\n",
    "QUIT x\r\n",
    "NOOP  \r\n",
    "EHLO a\tb\r\n",
    "EHLO a\xe4\r\n",
    "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n.\r\n",
    "NO\0OP\r\n",
    "GET / HTTP/1.0\r\n",
    "FOO\r\n",
    "a\rb",
    "\n",
    "\x16\x03\x01",
    "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n",
};
#define TEXTS (sizeof texts / sizeof texts[0])

static const char *const refusals[] = {"450 4.7.1 Later", "550 5.7.1 No\r\n250 hidden",
                                       "421 4.3.2 Elsewhere", "550 5.1.1 \xff"};

struct shell {
    struct smtpd_options options;
    struct smtpd smtpd;
    struct smtpd_out out;
    struct bodyscan body;
    struct headerscan header;
    struct str program;
    unsigned char when_done; /* what next() gives at the end of the program */
    uint64_t now_ms;
    char input[INPUT_BYTES];
    size_t input_n;
};

static unsigned char next(struct shell *sh)
{
    unsigned char c = sh->when_done;

    if (sh->program.n > 0) {
        c = (unsigned char)sh->program.p[0];
        sh->program = str_from(sh->program, 1);
    }
    return c;
}

/* Complete lines, each with a code, all of one reply but the last with a hyphen, nothing but
 * printable bytes. */
static void check_reply(struct str reply)
{
    while (reply.n > 0) {
        struct str line = str_split(&reply, '\n');

        ASSERT(line.n >= 5 && str_ends(line, '\r') && line.n < 600);
        line.n--;
        for (size_t i = 0; i < line.n; i++)
            ASSERT(line.p[i] >= ' ' && line.p[i] <= '~');
        ASSERT(line.p[0] >= '2' && line.p[0] <= '5' && (line.p[3] == ' ' || line.p[3] == '-'));
        ASSERT(line.p[3] == ' ' || reply.n > 0);
    }
}

static void step(struct shell *sh, struct smtpd_event ev)
{
    struct smtpd *s = &sh->smtpd;
    struct smtpd_out *out = &sh->out;
    int before = s->state;
    bool promises;

    ev.now_ms = sh->now_ms += next(sh) % 16 == 15 ? 100000 : 1;
    smtpd_step(s, &ev, out);
    check_reply((struct str){out->reply, out->reply_n});
    promises = str_starts_nocase((struct str){out->reply, out->reply_n},
                                 STR("250 2.0.0 Ok: queued as"));
    ASSERT(promises == (ev.type == SMTPD_EV_COMMIT && ev.err == OK));
    ASSERT(s->waiting ==
               (out->act >= SMTPD_ACT_ASK_CONNECT && out->act <= SMTPD_ACT_ASK_RCPT) ||
           ev.type == SMTPD_EV_SHUTDOWN);
    ASSERT((out->act == SMTPD_ACT_COMMIT) ==
           (s->state == SMTPD_COMMIT && before == SMTPD_BODY));
    ASSERT(before != SMTPD_COMMIT || ev.type == SMTPD_EV_COMMIT || s->state == SMTPD_COMMIT);
    ASSERT(out->deadline_ms == 0 || s->state == SMTPD_BODY || s->state == SMTPD_TLS ||
           out->deadline_ms <= s->envelope_deadline_ms);
    ASSERT((out->deadline_ms == 0) == (s->state == SMTPD_COMMIT || s->state == SMTPD_CLOSED));
    ASSERT(s->rcpts <= LIMIT_SMTP_RCPTS && smtpd_state_name(s) != NULL);
    ASSERT(smtpd_helo(s).n <= LIMIT_SMTP_HELO_BYTES && smtpd_domain(s).n <= sizeof s->domain);
    if (s->state == SMTPD_BODY && before != SMTPD_BODY) {
        bodyscan_init(&sh->body, sh->options.max_body_bytes);
        headerscan_init(&sh->header, STR("east"));
    }
}

static void consume(struct shell *sh, size_t n)
{
    sh->input_n -= n;
    memmove(sh->input, sh->input + n, sh->input_n);
}

/* One line of the input goes in, as a heap block of its very size. False: there is none yet. */
static bool step_line(struct shell *sh)
{
    struct wire_cut cut = wire_cut_line((struct str){sh->input, sh->input_n});
    char *copy;

    if (cut.kind == WIRE_MORE)
        return false;
    copy = malloc(cut.line.n > 0 ? cut.line.n : 1);
    ASSERT(copy != NULL);
    if (cut.line.n > 0)
        memcpy(copy, cut.line.p, cut.line.n);
    cut.line.p = copy;
    consume(sh, cut.consumed);
    step(sh,
         (struct smtpd_event){.type = cut.kind == WIRE_LINE ? SMTPD_EV_LINE : SMTPD_EV_BAD_LINE,
                              .line = cut.line,
                              .bad_line = cut.kind});
    free(copy);
    return true;
}

static bool step_body(struct shell *sh)
{
    struct str in = {sh->input, sh->input_n}, span;
    unsigned char c = next(sh);

    while ((span = bodyscan_next(&sh->body, &in)).n > 0)
        headerscan_feed(&sh->header, span);
    consume(sh, sh->input_n - in.n);
    ASSERT(smtpd_body_deadline(&sh->smtpd, sh->body.body_bytes) > LIMIT_SMTP_DATA_MS);
    if (!sh->body.done && !(c == 0xff && sh->body.violation != BODY_CLEAN))
        return false;
    step(sh, (struct smtpd_event){.type = SMTPD_EV_BODY_END,
                                  .refusal = c == 0xfd ? STR("550 5.6.0 no") : STR_NONE,
                                  .violation = sh->body.violation,
                                  .endless = !sh->body.done,
                                  .header =
                                      c == 0xfe ? HEADER_LOOP : headerscan_verdict(&sh->header),
                                  .body_bytes = sh->body.body_bytes});
    return true;
}

/* What may come while an answer of the node is awaited. */
static bool step_meanwhile(struct shell *sh)
{
    unsigned char c = next(sh);

    if (c == 0xfd)
        step(sh, (struct smtpd_event){.type = SMTPD_EV_TIMEOUT});
    else if (c == 0xfe)
        step(sh, (struct smtpd_event){.type = SMTPD_EV_SHUTDOWN});
    return sh->smtpd.state == SMTPD_CLOSED;
}

static void step_verdict(struct shell *sh)
{
    unsigned char c = next(sh);
    struct smtpd_event ev = {.type = SMTPD_EV_VERDICT};

    if (step_meanwhile(sh))
        return;
    if (c >= 0xe0) {
        ev.refusal = str_of(refusals[c % 4]);
        ev.refusal_closes = c % 8 == 7;
    }
    step(sh, ev);
}

static void step_tls(struct shell *sh)
{
    static const char tls_text[256] = "TLSv1.3 TLS_AES_256_GCM_SHA384";
    unsigned char c = next(sh);

    if (step_meanwhile(sh))
        return;
    consume(sh, sh->input_n); /* plaintext behind STARTTLS */
    step(sh, (struct smtpd_event){
                 .type = SMTPD_EV_TLS, .tls_ok = c < 0xe0, .tls_text = {tls_text, c}});
}

/* Goes on until more of the program is needed. False: the session is over. */
static bool pump(struct shell *sh)
{
    for (;;) {
        switch ((enum smtpd_state)sh->smtpd.state) {
        case SMTPD_CLOSED:
            return false;
        case SMTPD_TLS:
            step_tls(sh);
            break;
        case SMTPD_COMMIT:
            (void)step_meanwhile(sh);
            step(sh, (struct smtpd_event){.type = SMTPD_EV_COMMIT,
                                          .err = (enum err)(next(sh) % ERR_COUNT)});
            break;
        case SMTPD_BODY:
            if (sh->input_n == 0 || !step_body(sh))
                return true;
            break;
        default:
            if (sh->smtpd.waiting)
                step_verdict(sh);
            else if (!step_line(sh))
                return true;
        }
    }
}

static void append(struct shell *sh, struct str s)
{
    if (s.n > sizeof sh->input - sh->input_n)
        s.n = sizeof sh->input - sh->input_n;
    if (s.n > 0)
        memcpy(sh->input + sh->input_n, s.p, s.n);
    sh->input_n += s.n;
}

static void append_raw(struct shell *sh)
{
    size_t n = next(sh);

    n = n < sh->program.n ? n : sh->program.n;
    append(sh, str_head(sh->program, n));
    sh->program = str_from(sh->program, n);
}

/* Says one thing up to 2040 times, so that small programs reach the limits. */
static void repeat(struct shell *sh)
{
    const char *text = texts[next(sh) % TEXTS];
    unsigned times = next(sh);

    for (times *= times > 0xf0 ? 8 : 1; times > 0 && pump(sh); times--)
        append(sh, str_of(text));
}

static void append_long_line(struct shell *sh)
{
    size_t n = 12 * (size_t)next(sh);

    append(sh, STR("EHLO "));
    while (n-- > 0)
        append(sh, STR("a"));
    append(sh, STR("\r\n"));
}

/* The client says something, or time passes. */
static void act(struct shell *sh)
{
    unsigned char c = next(sh);

    if (c == 0xff)
        sh->when_done = next(sh);
    else if (c == 0xfe)
        step(sh, (struct smtpd_event){.type = SMTPD_EV_SHUTDOWN});
    else if (c == 0xfd)
        step(sh, (struct smtpd_event){.type = SMTPD_EV_TIMEOUT});
    else if (c == 0xfc)
        append_long_line(sh);
    else if (c >= 0xf8)
        repeat(sh);
    else if (c >= 0xf0)
        append_raw(sh);
    else
        append(sh, str_of(texts[c % TEXTS]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct shell sh;
    unsigned char c;

    sh = (struct shell){.program = {(const char *)data, size}, .now_ms = 1000};
    while (sh.program.n > 0) {
        c = next(&sh);
        sh.options = (struct smtpd_options){.hostname = STR("mx.example"),
                                            .smtputf8 = (c & 8) != 0,
                                            .max_body_bytes = c & 1 ? 100 : LIMIT_BODY_BYTES,
                                            .tls_offered = (c & 6) != 0,
                                            .tls_required = (c & 6) == 6};
        sh.input_n = 0;
        smtpd_init(&sh.smtpd, &sh.options);
        step(&sh, (struct smtpd_event){.type = SMTPD_EV_OPEN, .shutting_down = c == 0xff});
        while (pump(&sh) && sh.program.n > 0)
            act(&sh);
    }
    return 0;
}
