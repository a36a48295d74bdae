/*
 * A session against a primary that says anything at any time. The input is a list of moves:
 * bytes for the socket (random, or one of many lines a primary may say) and events of the
 * shell. Checked from outside, without the session's own variables:
 *   - every job ends in exactly one result, with a verdict for each of its recipients;
 *   - OK only after a dot, a dot only after 354, consent and an empty input; one dot a job;
 *   - commands are whole lines without anything of the envelope that could break them;
 *   - a question sends no DATA, and nobody is OK by it but who was asked for;
 *   - after an oddity nobody is OK and nobody PERMANENT;
 *   - a deadline stands as long as the session is open, and the clock always ends it.
 */
#include "node/delivery/smtpc.h"

#include <stdio.h>
#include <stdlib.h>

#define HOLD(cond)                                                                             \
    do {                                                                                       \
        if (!(cond)) {                                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                         \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const lines[] = {"220 hi\r\n",
                                    "250 ok\r\n",
                                    "250-x\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 5\r\n",
                                    "250-x\r\n250-STARTTLS\r\n250 PIPELINING\r\n",
                                    "250-x\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n",
                                    "354 go\r\n",
                                    "550 5.1.1 no\r\n",
                                    "552 5.3.4 big\r\n",
                                    "554 no\r\n",
                                    "450 slow\r\n",
                                    "451 later\r\n",
                                    "421 bye\r\n",
                                    "500 what\r\n",
                                    "503 no\r\n",
                                    "250-",
                                    "250\n",
                                    "2500\r\n",
                                    "150 x\r\n",
                                    "251 y\r\n",
                                    "550 4.2.2 odd\r\n",
                                    "221 bye\r\n"};

struct fuzz {
    struct smtpc s;
    struct smtpc_out out;
    struct reply reply;
    char in[8192];
    size_t in_n, in_at;
    bool closed, ready, in_job, asks, consent, body, body_done, tls, seen_354, asked,
        asked_empty;
    unsigned dots, jobs, results;
    uint32_t job_rcpts;
    uint64_t now_ms;
};

static struct rcpt rcpts[LIMIT_SMTP_RCPTS];
static uint32_t indexes[LIMIT_SMTP_RCPTS];
static struct envelope env = {.rcpts = rcpts, .rcpt_count = LIMIT_SMTP_RCPTS};

static void check_result(struct fuzz *f)
{
    const struct smtpc_result *r = f->out.result;
    bool odd = r->why == SMTPC_WHY_ODDITY;

    HOLD(f->in_job && r->count == f->job_rcpts && r->env == &env);
    HOLD(r->dot_sent == (f->dots == 1) && !(f->asks && r->dot_sent));
    HOLD(!r->unknown || r->dot_sent);
    HOLD(r->begun || !r->dot_sent);
    for (uint32_t i = 0; i < r->count; i++) {
        enum verdict v = r->rcpts[i].verdict;

        HOLD(v <= VERDICT_ODDITY && r->rcpts[i].reply.n <= LIMIT_REPLY_KEPT_BYTES);
        HOLD(v != VERDICT_OK || ((f->asks || f->dots == 1) && r->rcpts[i].tried && !odd));
        HOLD(v != VERDICT_UNKNOWN || r->unknown);
        HOLD((v == VERDICT_ODDITY) == odd);
        HOLD(v != VERDICT_PERMANENT || r->rcpts[i].code >= 500);
        HOLD(memchr(r->rcpts[i].reply.p, '\n', r->rcpts[i].reply.n) == NULL);
    }
    f->in_job = false;
    f->results++;
}

static void check_sent(const struct fuzz *f)
{
    struct str sent = {f->out.send, f->out.send_n};

    while (sent.n > 0) {
        size_t end = str_find(sent, '\n');
        struct str line;

        HOLD(end < sent.n && end > 0);
        line = str_head(sent, end);
        sent = str_from(sent, end + 1);
        HOLD(str_find(line, '\r') == line.n - 1 && memchr(line.p, 0, line.n) == NULL);
        HOLD(line.n == 2 || line.n >= 5); /* the dot, or a verb */
        HOLD(!f->asks || (line.n > 2 && !str_starts_nocase(line, STR("DATA"))));
    }
}

static void step(struct fuzz *f, struct smtpc_event ev)
{
    enum smtpc_do act;

    HOLD(!f->closed);
    ev.now_ms = f->now_ms;
    smtpc_step(&f->s, &ev, &f->out);
    if (ev.type == SMTPC_EV_REPLY)
        reply_reset(&f->reply);
    act = f->out.act;
    check_sent(f);
    /* what goes out on an open connection follows an empty input or stands behind a group */
    if (f->out.result != NULL)
        check_result(f);
    HOLD(!f->out.ready || !f->in_job);
    f->ready = f->out.ready;
    f->body = act == SMTPC_DO_SEND_BODY;
    f->tls = act == SMTPC_DO_START_TLS;
    f->asked = act == SMTPC_DO_CHECK_INPUT;
    HOLD(!f->body || f->in_job);
    f->body_done &= f->in_job;
    if (act == SMTPC_DO_SEND_DOT) {
        HOLD(f->in_job && f->consent && f->body_done && ev.type == SMTPC_EV_INPUT_EMPTY);
        HOLD(f->out.send_n == 3 && memcmp(f->out.send, ".\r\n", 3) == 0);
        HOLD(++f->dots == 1);
    } else {
        HOLD(f->out.send_n != 3);
    }
    if (f->out.close) {
        HOLD(!f->in_job && f->out.send_n == 0 && act == SMTPC_DO_NOTHING);
        HOLD(f->out.closed->reply.n > 0);
        f->closed = true;
        return;
    }
    HOLD(f->out.deadline_ms > f->now_ms);
    if (f->asked)
        step(f, (struct smtpc_event){.type = f->in_at < f->in_n || reply_begun(&f->reply)
                                                 ? SMTPC_EV_INPUT_PENDING
                                                 : SMTPC_EV_INPUT_EMPTY});
}

/* Reads at most one reply. */
static void read_one(struct fuzz *f)
{
    size_t used, n = f->in_n - f->in_at;
    char *copy;
    enum reply_status status;

    if (n == 0 || f->tls)
        return;
    copy = malloc(n);
    memcpy(copy, f->in + f->in_at, n);
    status = reply_feed(&f->reply, (struct str){copy, n}, &used);
    free(copy);
    f->in_at += used;
    if (status == REPLY_DONE)
        step(f, (struct smtpc_event){.type = SMTPC_EV_REPLY, .reply = &f->reply});
    else if (status == REPLY_BAD)
        step(f, (struct smtpc_event){.type = SMTPC_EV_ODDITY, .bad = f->reply.bad});
}

static void receive(struct fuzz *f, const void *p, size_t n)
{
    if (n > sizeof f->in - f->in_n)
        return;
    memcpy(f->in + f->in_n, p, n);
    f->in_n += n;
}

static void give_job(struct fuzz *f, uint8_t how)
{
    struct smtpc_job job = {.env = &env,
                            .rcpts = indexes,
                            .rcpt_count = how % 8 == 7 ? 70 : 1 + how % 4,
                            .dsn = (how & 16) != 0,
                            .eight_bit = (how & 32) != 0,
                            .smtputf8 = (how & 36) == 36,
                            .size_bytes = how,
                            .consent = how & 64 ? SMTPC_CONSENT_GIVEN : SMTPC_CONSENT_ASKED};

    job.asks = !job.dsn && (how & 8) != 0;
    if (how == 2)
        job.consent = SMTPC_CONSENT_REFUSED;
    /* some envelopes are damaged */
    env.sender = how == 0 ? STR("a\r\nDATA") : how & 128 ? STR("s@x") : STR("");
    f->in_job = true;
    f->asks = job.asks;
    f->body_done = false;
    f->consent = job.consent == SMTPC_CONSENT_GIVEN;
    f->dots = 0;
    f->job_rcpts = job.dsn ? 1 : job.rcpt_count;
    f->jobs++;
    step(f, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
}

static void consent(struct fuzz *f, bool yes)
{
    f->consent |= yes && f->in_job;
    step(f, (struct smtpc_event){.type = SMTPC_EV_CONSENT, .yes = yes});
}

/* One move of primary or shell. Takes at most 2 bytes. */
static size_t move(struct fuzz *f, const uint8_t *p, size_t n)
{
    uint8_t arg = n > 1 ? p[1] : 0;
    bool sending = f->body;

    switch (p[0] % 16) {
    case 0:
        receive(f, &arg, 1);
        break;
    case 1:
    case 2:
    case 3:
        receive(f, lines[arg % (sizeof lines / sizeof lines[0])],
                strlen(lines[arg % (sizeof lines / sizeof lines[0])]));
        if (p[0] % 16 != 3)
            read_one(f);
        break;
    case 4:
        f->now_ms += arg * UINT64_C(1000);
        step(f, (struct smtpc_event){.type = SMTPC_EV_TIMEOUT});
        f->body |= sending && !f->closed && f->in_job;
        break;
    case 5:
        consent(f, arg & 1);
        f->body |= sending && !f->closed && f->in_job;
        break;
    case 6:
        if (arg % 8 == 0)
            step(f, (struct smtpc_event){.type = SMTPC_EV_CLOSED});
        break;
    case 7:
        if (arg % 4 == 0)
            step(f, (struct smtpc_event){.type = SMTPC_EV_QUIT});
        f->body |= sending && !f->closed && f->in_job;
        break;
    default:
        read_one(f);
        return 1;
    }
    return 2;
}

/* What a good shell does by itself: it answers actions and hands over jobs. */
static void shell(struct fuzz *f, uint8_t how)
{
    if (!f->closed && f->tls) {
        f->tls = false;
        f->in_n = f->in_at = 0;
        reply_reset(&f->reply);
        step(f, (struct smtpc_event){.type = SMTPC_EV_TLS, .yes = how % 4 != 0});
    }
    if (!f->closed && f->ready && !f->in_job)
        give_job(f, how);
    if (!f->closed && f->body && how % 4 != 3) {
        f->body_done = true;
        step(f, (struct smtpc_event){.type =
                                         how == 8 ? SMTPC_EV_BODY_FAILED : SMTPC_EV_BODY_SENT});
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz f;
    struct smtpc_options opt = {.helo = STR("mx.example")};

    if (size < 2)
        return 0;
    memset(&f, 0, sizeof f);
    for (uint32_t i = 0; i < LIMIT_SMTP_RCPTS; i++) {
        indexes[i] = LIMIT_SMTP_RCPTS - 1 - i;
        rcpts[i].path = STR("u@d.example");
    }
    opt.tls = (enum smtpc_tls)(data[0] % 3);
    opt.eight_bit = data[0] & 64 ? SMTPC_8BIT_HOLD : SMTPC_8BIT_PASS;
    reply_reset(&f.reply);
    f.now_ms = 1;
    smtpc_init(&f.s, &opt, f.now_ms);
    if (data[0] & 128) /* half of the inputs begin behind the greeting */
        receive(&f, lines[0], strlen(lines[0]));
    step(&f, (struct smtpc_event){.type = SMTPC_EV_CONNECTED});
    for (size_t at = 1; at < size && !f.closed; at++) {
        at += move(&f, data + at, size - at) - 1;
        shell(&f, data[at < size ? at : size - 1]);
    }
    for (int turns = 0; !f.closed; turns++) { /* left alone, every session ends */
        HOLD(turns < 4);
        f.now_ms = f.out.deadline_ms;
        step(&f, (struct smtpc_event){.type = SMTPC_EV_TIMEOUT});
    }
    HOLD(f.results == f.jobs);
    return 0;
}
