/*
 * A primary that follows a script, and the shell between it and smtpc: arrays instead of
 * sockets, a number instead of a clock. The shell does what smtpc.h asks of a shell, to the
 * letter; the primary is good except where a rule says otherwise. For tests only.
 */
#pragma once

#include <check.h>
#include <stdio.h>

#include "node/delivery/smtpc.h"

#define S(s) .send = s

/* --- the primary --- */

struct rule {
    const char *on;   /* "banner", "EHLO", "MAIL", "RCPT", "DATA", "body", ".", "RSET", "TLS" */
    int nth;          /* the nth time, 0: each time */
    const char *send; /* NULL: nothing */
    size_t send_n;    /* with NUL inside; 0: strlen */
    bool close;       /* then close */
    bool mute;        /* then never answer again */
};

#define MAX_RULES 6

struct world {
    struct smtpc s;
    struct smtpc_out out;
    const struct rule *rules;
    bool pipelining, bytewise, lazy; /* lazy: does not read while the body is sent */
    struct reply reply;
    char in[1 << 18]; /* what the primary sent and the shell did not yet read */
    size_t in_n, in_at;
    bool eof, mute, has_mail, has_rcpt;
    char line[1024]; /* a command as it arrives at the primary */
    size_t line_n;
    char log[1 << 16]; /* all the primary was sent */
    size_t log_n;
    int seen[16];
    int dots, bodies, checks, outstanding, most_outstanding;
    bool body_stalls, tls_fails, body_fails;
    uint64_t now_ms;
    /* what came out */
    int results;
    char verdicts[LIMIT_SMTP_RCPTS + 1];
    struct smtpc_result result;
    char first_text[LIMIT_REPLY_KEPT_BYTES + 1];
    bool ready, closed;
    struct smtpc_closed end;
};

static inline void step(struct world *w, struct smtpc_event ev);

static inline void send_bytes(struct world *w, const char *p, size_t n)
{
    ck_assert(w->in_n + n <= sizeof w->in);
    memcpy(w->in + w->in_n, p, n);
    w->in_n += n;
}

static const char *good_answer(const struct world *w, const char *verb)
{
    if (strcmp(verb, "banner") == 0)
        return "220 primary\r\n";
    if (strcmp(verb, "EHLO") == 0)
        return w->pipelining ? "250-primary\r\n250-PIPELINING\r\n250-SIZE 9\r\n250 8BITMIME\r\n"
                             : "250-primary\r\n250 8BITMIME\r\n";
    if (strcmp(verb, "RCPT") == 0 && !w->has_mail)
        return "503 MAIL first\r\n";
    if (strcmp(verb, "DATA") == 0)
        return w->has_rcpt ? "354 go on\r\n" : "503 RCPT first\r\n";
    if (strcmp(verb, "STARTTLS") == 0)
        return "220 go on\r\n";
    if (strcmp(verb, "QUIT") == 0)
        return "221 bye\r\n";
    if (strcmp(verb, "body") == 0 || strcmp(verb, "TLS") == 0)
        return "";
    return "250 ok\r\n";
}

static inline void happens(struct world *w, const char *verb)
{
    static const char *const verbs[] = {"banner", "EHLO", "HELO", "MAIL", "RCPT", "DATA",
                                        "body",   ".",    "RSET", "TLS",  "QUIT", "STARTTLS"};
    const char *answer = good_answer(w, verb);
    size_t answer_n = strlen(answer);
    const struct rule *r = w->rules;
    int nth = 0;

    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i], verb) == 0)
            nth = ++w->seen[i];
    ck_assert_msg(nth > 0, "unknown command '%s'", verb);
    if (w->mute || w->eof)
        return;
    while (r != NULL && r->on != NULL &&
           (strcmp(r->on, verb) != 0 || (r->nth != 0 && r->nth != nth)))
        r++;
    if (r != NULL && r->on != NULL) {
        answer = r->send != NULL ? r->send : "";
        answer_n = r->send_n > 0 ? r->send_n : strlen(answer);
        w->eof |= r->close;
        w->mute |= r->mute;
    }
    if (strcmp(verb, "MAIL") == 0)
        w->has_mail = answer[0] == '2';
    if (strcmp(verb, "RCPT") == 0)
        w->has_rcpt |= answer[0] == '2';
    if (strcmp(verb, "RSET") == 0 || strcmp(verb, ".") == 0)
        w->has_mail = w->has_rcpt = false;
    send_bytes(w, answer, answer_n);
}

static inline void primary_reads(struct world *w, const char *p, size_t n)
{
    ck_assert(w->log_n + n < sizeof w->log);
    memcpy(w->log + w->log_n, p, n);
    w->log_n += n;
    for (size_t i = 0; i < n; i++) {
        char verb[16] = "";

        ck_assert(w->line_n < sizeof w->line - 1);
        w->line[w->line_n++] = p[i];
        if (p[i] != '\n')
            continue;
        ck_assert(w->line_n >= 2 && w->line[w->line_n - 2] == '\r');
        w->line[w->line_n] = 0;
        sscanf(w->line, "%15[^ \r]", verb);
        w->line_n = 0;
        w->outstanding++;
        happens(w, verb);
    }
    if (w->outstanding > w->most_outstanding)
        w->most_outstanding = w->outstanding;
}

/* --- the shell --- */

static inline void take_result(struct world *w)
{
    static const char letters[] = "DRBPOUX"; /* in the order of enum verdict */
    const struct smtpc_result *r = w->out.result;

    w->results++;
    w->result = *r;
    for (uint32_t i = 0; i < r->count; i++) {
        ck_assert_int_lt(r->rcpts[i].verdict, 7);
        w->verdicts[i] = letters[r->rcpts[i].verdict];
        ck_assert_uint_gt(r->rcpts[i].reply.n, 0);
    }
    w->verdicts[r->count] = 0;
    snprintf(w->first_text, sizeof w->first_text, STR_FMT, STR_ARG(r->rcpts[0].reply));
}

static inline void read_replies(struct world *w)
{
    while (w->in_at < w->in_n && !w->closed && w->s.next == 0) {
        size_t used, n = w->bytewise ? 1 : w->in_n - w->in_at;
        enum reply_status status =
            reply_feed(&w->reply, (struct str){w->in + w->in_at, n}, &used);

        w->in_at += used;
        if (status == REPLY_MORE)
            continue;
        w->outstanding--;
        if (status == REPLY_DONE)
            step(w, (struct smtpc_event){.type = SMTPC_EV_REPLY, .reply = &w->reply});
        else
            step(w, (struct smtpc_event){.type = SMTPC_EV_ODDITY, .bad = w->reply.bad});
    }
}

static inline void act(struct world *w)
{
    bool pending = w->in_at < w->in_n || reply_begun(&w->reply);

    switch (w->out.act) {
    case SMTPC_DO_NOTHING:
        break;
    case SMTPC_DO_CHECK_INPUT:
        w->checks++;
        step(w, (struct smtpc_event){.type = pending ? SMTPC_EV_INPUT_PENDING
                                                     : SMTPC_EV_INPUT_EMPTY});
        break;
    case SMTPC_DO_START_TLS:
        ck_assert(!pending);
        happens(w, "TLS");
        step(w, (struct smtpc_event){.type = SMTPC_EV_TLS, .yes = !w->tls_fails});
        break;
    case SMTPC_DO_SEND_BODY:
        w->bodies++;
        happens(w, "body");
        if (!w->lazy)
            read_replies(w);
        if (!w->closed && w->body_fails)
            step(w, (struct smtpc_event){.type = SMTPC_EV_BODY_FAILED});
        else if (!w->closed && !w->body_stalls && !w->eof)
            step(w, (struct smtpc_event){.type = SMTPC_EV_BODY_SENT});
        break;
    case SMTPC_DO_SEND_DOT:
        break; /* the bytes went out before */
    }
}

static inline void step(struct world *w, struct smtpc_event ev)
{
    struct str sent;
    bool dot;

    ck_assert(!w->closed);
    ev.now_ms = w->now_ms;
    if (ev.type == SMTPC_EV_REPLY || ev.type == SMTPC_EV_ODDITY) {
        struct reply copy = w->reply; /* the step may only borrow it */

        ev.reply = ev.type == SMTPC_EV_REPLY ? &copy : NULL;
        smtpc_step(&w->s, &ev, &w->out);
        memset(&copy, 0xee, sizeof copy);
        reply_reset(&w->reply);
    } else {
        smtpc_step(&w->s, &ev, &w->out);
    }
    sent = (struct str){w->out.send, w->out.send_n};
    dot = w->out.act == SMTPC_DO_SEND_DOT;
    ck_assert(dot == str_eq(sent, STR(".\r\n")));
    w->dots += dot;
    if (w->out.result != NULL)
        take_result(w);
    w->ready = w->out.ready;
    if (w->out.close) {
        ck_assert_uint_eq(sent.n, 0);
        ck_assert_uint_eq(w->out.deadline_ms, 0);
        w->closed = true;
        w->end = *w->out.closed;
        ck_assert_uint_gt(w->end.reply.n, 0);
        return;
    }
    ck_assert_uint_gt(w->out.deadline_ms, w->now_ms);
    primary_reads(w, sent.p, sent.n);
    act(w);
}

/* Everything that can happen without waiting, then end of file. */
static inline void settle(struct world *w)
{
    read_replies(w);
    if (!w->closed && w->eof && w->in_at == w->in_n)
        step(w, (struct smtpc_event){.type = SMTPC_EV_CLOSED});
}

static inline void wait_out(struct world *w)
{
    for (int turns = 0; !w->closed && turns < 4; turns++) {
        w->now_ms = w->out.deadline_ms;
        step(w, (struct smtpc_event){.type = SMTPC_EV_TIMEOUT});
        settle(w);
    }
    ck_assert(w->closed);
}

static const struct smtpc_options plain = {.helo = {"mx.example", 10}};

static inline void start(struct world *w, const struct smtpc_options *opt)
{
    w->now_ms = 1000;
    reply_reset(&w->reply);
    smtpc_init(&w->s, opt, w->now_ms);
    step(w, (struct smtpc_event){.type = SMTPC_EV_CONNECTED});
    w->outstanding = 1;
    happens(w, "banner");
    settle(w);
}

/* --- the mail --- */

static struct rcpt rcpts[LIMIT_SMTP_RCPTS];
static struct envelope env;
static uint32_t indexes[LIMIT_SMTP_RCPTS];
static char paths[LIMIT_SMTP_RCPTS][32];

static inline void setup(void)
{
    for (uint32_t i = 0; i < LIMIT_SMTP_RCPTS; i++) {
        snprintf(paths[i], sizeof paths[i], "u%u@d.example", i);
        rcpts[i] = (struct rcpt){.path = str_of(paths[i])};
        indexes[i] = i;
    }
    env = (struct envelope){
        .sender = STR("s@x.example"), .rcpts = rcpts, .rcpt_count = LIMIT_SMTP_RCPTS};
}

static inline void give_job(struct world *w, uint32_t count, bool consent)
{
    struct smtpc_job job = {.env = &env,
                            .rcpts = indexes,
                            .rcpt_count = count,
                            .size_bytes = 1234,
                            .consent = consent ? SMTPC_CONSENT_GIVEN : SMTPC_CONSENT_ASKED};

    ck_assert(w->ready);
    step(w, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
    memset(&job, 0xee, sizeof job);
    settle(w);
}
