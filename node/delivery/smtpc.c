#include "node/delivery/smtpc.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/fsm.h"
#include "base/utf8.h"

#define LIVE (FSM_TO(SC_CLOSED))

static const struct fsm_state states[] = {
    [SC_CONNECT] = {"CONNECT", LIVE | FSM_TO(SC_BANNER)},
    [SC_BANNER] = {"BANNER", LIVE | FSM_TO(SC_EHLO)},
    [SC_EHLO] = {"EHLO", LIVE | FSM_TO(SC_STARTTLS) | FSM_TO(SC_READY) | FSM_TO(SC_QUIT)},
    [SC_STARTTLS] = {"STARTTLS", LIVE | FSM_TO(SC_HANDSHAKE)},
    [SC_HANDSHAKE] = {"HANDSHAKE", LIVE | FSM_TO(SC_EHLO)},
    [SC_READY] = {"READY", LIVE | FSM_TO(SC_ENVELOPE) | FSM_TO(SC_QUIT)},
    [SC_ENVELOPE] = {"ENVELOPE", LIVE | FSM_TO(SC_BODY) | FSM_TO(SC_FINAL)},
    [SC_BODY] = {"BODY", LIVE | FSM_TO(SC_CONSENT)},
    [SC_CONSENT] = {"CONSENT", LIVE | FSM_TO(SC_DOT)},
    [SC_DOT] = {"DOT", LIVE | FSM_TO(SC_FINAL)},
    [SC_FINAL] = {"FINAL", LIVE | FSM_TO(SC_READY) | FSM_TO(SC_QUIT)},
    [SC_QUIT] = {"QUIT", LIVE},
    [SC_CLOSED] = {"CLOSED", 0},
};

/* What an empty input lets happen. */
enum next {
    NEXT_NOTHING,
    NEXT_EHLO,
    NEXT_STARTTLS,
    NEXT_HANDSHAKE,
    NEXT_COMMANDS,
    NEXT_DOT,
    NEXT_RESULT
};

#define OWN_TEXT_BYTES 128

static void move(struct smtpc *s, enum smtpc_state to, uint64_t deadline_ms)
{
    fsm_move(&s->state, (int)to, states);
    s->deadline_ms = deadline_ms;
}

static void ask_input(struct smtpc *s, struct smtpc_out *out, enum next next)
{
    ASSERT(s->next == NEXT_NOTHING && out->act == SMTPC_DO_NOTHING);
    s->next = (int)next;
    out->act = SMTPC_DO_CHECK_INPUT;
}

/* --- commands --- */

static void put(struct smtpc_out *out, struct str s)
{
    ASSERT(s.n <= sizeof out->send - out->send_n);
    if (s.n > 0)
        memcpy(out->send + out->send_n, s.p, s.n);
    out->send_n += s.n;
}

static void put_path(struct smtpc_out *out, struct str verb, struct str path)
{
    put(out, verb);
    put(out, STR("<"));
    put(out, path);
    put(out, STR(">"));
}

static struct str rcpt_path(const struct smtpc *s, uint32_t i)
{
    const struct envelope *env = s->job.env;

    return s->job.dsn ? env->sender : env->rcpts[s->rcpts[i].index].path;
}

static void put_mail(struct smtpc *s, struct smtpc_out *out)
{
    char size[32];
    int n;

    /* RFC 5321 4.5.5: a notification has the null sender, so that nobody answers it */
    put_path(out, STR("MAIL FROM:"), s->job.dsn || s->job.asks ? STR_NONE : s->job.env->sender);
    if (s->ehlo.has_size && !s->job.asks) {
        n = snprintf(size, sizeof size, " SIZE=%" PRIu64, s->job.size_bytes);
        ASSERT(n > 0 && (size_t)n < sizeof size);
        put(out, (struct str){size, (size_t)n});
    }
    if (s->ehlo.eight_bit && s->job.eight_bit)
        put(out, STR(" BODY=8BITMIME"));
    if (s->job.smtputf8)
        put(out, STR(" SMTPUTF8"));
    put(out, STR("\r\n"));
    s->mail_sent = s->mail_due = true;
}

static void put_data(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    ASSERT(!s->job.asks);
    put(out, STR("DATA\r\n"));
    s->data_sent = s->data_due = true;
    if (s->rcpts_answered == s->rcpts_sent)
        s->deadline_ms = now_ms + LIMIT_REMOTE_DATA_MS;
}

/* The next group, or without PIPELINING the next command. All earlier replies are in. */
static void send_commands(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    bool group = s->ehlo.pipelining;
    uint32_t room = group ? LIMIT_REMOTE_WINDOW : 1;

    if (s->need_rset && !s->mail_sent) {
        put(out, STR("RSET\r\n"));
        s->need_rset = false;
        s->rset_due = true;
        if (!group)
            return;
    }
    if (!s->mail_sent) {
        put_mail(s, out);
        if (!group)
            return;
    }
    if (!group && s->rcpts_sent == s->rcpt_count)
        room = 0;
    for (; room > 0 && s->rcpts_sent < s->rcpt_count; room--) {
        put_path(out, STR("RCPT TO:"), rcpt_path(s, s->rcpts_sent));
        put(out, STR("\r\n"));
        s->rcpts_sent++;
        if (!group)
            return;
    }
    /* RFC 2920 3.1: DATA may end a group, though it is not yet known who was accepted */
    if (s->rcpts_sent == s->rcpt_count && !s->job.asks)
        put_data(s, out, now_ms);
}

static void send_hello(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    put(out, s->helo ? STR("HELO ") : STR("EHLO "));
    put(out, s->opt.helo);
    put(out, STR("\r\n"));
    s->deadline_ms = now_ms + LIMIT_REMOTE_COMMAND_MS;
}

static void send_quit(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    put(out, STR("QUIT\r\n"));
    move(s, SC_QUIT, now_ms + LIMIT_REMOTE_QUIT_MS);
}

/* --- texts --- */

/* Keeps a text for the result. All recipients share the room: each text gets its part of what
 * is left, so that a talkative primary costs its last recipients no more than its first. */
static struct str keep_text(struct smtpc *s, struct str text)
{
    size_t free_bytes = sizeof s->texts - s->texts_n;
    size_t share = free_bytes / (s->texts_left + 1);
    size_t n = text.n < share ? text.n : share;

    if (n > LIMIT_REPLY_KEPT_BYTES)
        n = LIMIT_REPLY_KEPT_BYTES;
    if (s->text.n > 0 && str_eq(s->text, str_head(text, n)))
        return s->text;
    if (n > 0)
        memcpy(s->texts + s->texts_n, text.p, n);
    s->text = (struct str){s->texts + s->texts_n, n};
    s->texts_n += n;
    return s->text;
}

/* Words of our own, in parentheses: nobody takes them for a reply. */
static struct str own_text(char buf[OWN_TEXT_BYTES], enum smtpc_why why, enum at at,
                           enum reply_bad bad)
{
    static const char *const words[SMTPC_WHY_COUNT] = {
        [SMTPC_WHY_NONE] = "done",
        [SMTPC_WHY_QUIT] = "session ended",
        [SMTPC_WHY_REFUSED] = "refused",
        [SMTPC_WHY_CLOSING] = "connection closed by the primary",
        [SMTPC_WHY_LOST] = "connection lost",
        [SMTPC_WHY_TIMEOUT] = "timed out",
        [SMTPC_WHY_ODDITY] = "",
        [SMTPC_WHY_TLS_FAILED] = "TLS failed",
        [SMTPC_WHY_TLS_MISSING] = "TLS is required and not offered",
        [SMTPC_WHY_NO_CONSENT] = "not allowed to deliver now",
        [SMTPC_WHY_BODY_FAILED] = "the stored body could not be sent",
        [SMTPC_WHY_UNSOUND] = "the stored envelope cannot be sent",
        [SMTPC_WHY_EIGHT_BIT] = "held: the primary does not offer 8BITMIME",
        [SMTPC_WHY_SMTPUTF8] = "held: the primary does not offer SMTPUTF8",
        [SMTPC_WHY_EMPTY_DATA] = "DATA accepted without recipients",
    };
    const char *what = why == SMTPC_WHY_ODDITY ? reply_bad_text(bad) : words[why];
    int n = snprintf(buf, OWN_TEXT_BYTES, "(%s; at %s)", what, at_name(at));

    ASSERT(n > 0 && n < OWN_TEXT_BYTES);
    return (struct str){buf, (size_t)n};
}

/* --- ends of jobs and of sessions --- */

static void decide(struct smtpc *s, struct smtpc_rcpt *r, enum verdict v, uint16_t code,
                   struct str text)
{
    r->verdict = v;
    r->code = code;
    r->decided = true;
    r->reply = text;
    if (s->texts_left > 0)
        s->texts_left--;
}

/* All recipients that are not yet decided. */
static void decide_rest(struct smtpc *s, enum verdict v, uint16_t code, struct str text)
{
    struct str kept;

    s->texts_left = 0; /* one text for all of them, so it may be long */
    kept = keep_text(s, text);
    for (uint32_t i = 0; i < s->rcpt_count; i++)
        if (!s->rcpts[i].decided)
            decide(s, &s->rcpts[i], v, code, kept);
}

static void fill_result(struct smtpc *s, struct smtpc_out *out, enum smtpc_why why)
{
    struct smtpc_result *r = &s->result;

    r->why = why;
    r->at = s->reached;
    r->count = s->rcpt_count;
    for (uint32_t i = 0; i < s->rcpt_count; i++) {
        struct smtpc_rcpt *rcpt = &s->rcpts[i];

        ASSERT(rcpt->decided);
        ASSERT(rcpt->verdict != VERDICT_OK || (rcpt->accepted && r->dot_sent == !s->job.asks));
        rcpt->tried = s->mail_ok && i < s->rcpts_sent;
        r->brake |= rcpt->verdict == VERDICT_RETRY_BRAKE;
        r->alarm |= rcpt->verdict == VERDICT_ODD_5XX;
    }
    out->result = r;
    s->in_job = false;
}

static void close_session(struct smtpc *s, struct smtpc_out *out, struct smtpc_closed closed,
                          struct str text)
{
    char own[OWN_TEXT_BYTES];

    if (text.n == 0)
        text = own_text(own, closed.why, closed.at, closed.bad);
    memcpy(s->closed_text, text.p, text.n);
    s->closed = closed;
    s->closed.reply = (struct str){s->closed_text, text.n};
    s->closed.messages = s->messages;
    s->next = NEXT_NOTHING;
    move(s, SC_CLOSED, 0);
    out->act = SMTPC_DO_NOTHING;
    out->send_n = 0;
    out->close = true;
    out->closed = &s->closed;
}

/* The connection ends in the middle of a job: what was learned counts, unless the primary was
 * out of step, as then nothing says which reply belonged to which command. */
static void drop_job(struct smtpc *s, struct smtpc_out *out, const struct smtpc_closed *c,
                     struct str text)
{
    bool stale = s->messages > 1 && !s->heard && s->reached <= AT_MAIL;
    enum verdict v = c->verdict;
    char own[OWN_TEXT_BYTES];

    if (text.n == 0)
        text = own_text(own, c->why, c->at, c->bad);
    if (c->why == SMTPC_WHY_ODDITY) {
        for (uint32_t i = 0; i < s->rcpt_count; i++)
            s->rcpts[i].decided = false;
        s->texts_n = 0;
        s->text = STR_NONE;
    }
    decide_rest(s, v, c->code, text);
    /* a definite answer to the dot leaves nothing unknown; 421 is one (RFC 5321 3.8) */
    s->result.unknown = s->result.dot_sent && c->code == 0;
    s->result.begun = !stale || (c->why != SMTPC_WHY_LOST && c->why != SMTPC_WHY_ODDITY &&
                                 c->why != SMTPC_WHY_CLOSING);
    fill_result(s, out, c->why);
}

static void drop(struct smtpc *s, struct smtpc_out *out, struct smtpc_closed closed,
                 struct str text)
{
    closed.at = smtpc_at(s);
    s->reached = closed.at;
    if (s->in_job)
        drop_job(s, out, &closed, text);
    close_session(s, out, closed, text);
}

/* A reply nobody asked for, of the wrong kind, or none at all. The primary's words do not
 * count, so the text is our own and the code 0. */
static void drop_odd(struct smtpc *s, struct smtpc_out *out, enum reply_bad bad)
{
    bool tls = s->state == SC_HANDSHAKE || s->next == NEXT_HANDSHAKE;
    enum smtpc_why why = tls ? SMTPC_WHY_TLS_FAILED : SMTPC_WHY_ODDITY;

    if (s->state == SC_QUIT) /* nothing depends on its reply */
        close_session(s, out, (struct smtpc_closed){.why = SMTPC_WHY_QUIT, .at = AT_QUIT},
                      STR_NONE);
    else
        drop(s, out,
             (struct smtpc_closed){
                 .why = why, .verdict = verdict_of_oddity(smtpc_at(s)), .bad = bad},
             STR_NONE);
}

static void drop_421(struct smtpc *s, struct smtpc_out *out, const struct reply *r)
{
    /* between two messages it only means that the primary is tired of waiting */
    enum verdict v = s->state == SC_READY ? VERDICT_OK : VERDICT_RETRY_BRAKE;

    drop(s, out, (struct smtpc_closed){.why = SMTPC_WHY_CLOSING, .verdict = v, .code = r->code},
         reply_text(r));
}

static void drop_own(struct smtpc *s, struct smtpc_out *out, enum smtpc_why why)
{
    drop(s, out, (struct smtpc_closed){.why = why, .verdict = VERDICT_RETRY}, STR_NONE);
}

/* Not up: banner, EHLO or STARTTLS were answered with no success. */
static void drop_refused(struct smtpc *s, struct smtpc_out *out, enum smtpc_why why,
                         enum verdict v, const struct reply *r)
{
    drop(s, out, (struct smtpc_closed){.why = why, .verdict = v, .code = r->code},
         reply_text(r));
}

static void become_ready(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    if (s->quit || s->messages >= LIMIT_MESSAGES_PER_CONN) {
        send_quit(s, out, now_ms);
        return;
    }
    move(s, SC_READY, now_ms + LIMIT_REMOTE_IDLE_MS);
    out->ready = true;
}

/* All replies are in, and none too many. */
static void finish_job(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    enum smtpc_why why = s->empty_data ? SMTPC_WHY_EMPTY_DATA : SMTPC_WHY_NONE;
    char own[OWN_TEXT_BYTES];

    if (s->refused && !s->result.dot_sent) {
        why = SMTPC_WHY_NO_CONSENT;
        decide_rest(s, VERDICT_RETRY, 0, own_text(own, why, s->reached, REPLY_FINE));
    }
    fill_result(s, out, why);
    if (s->empty_data)
        close_session(s, out, (struct smtpc_closed){.why = why, .at = AT_DATA}, STR_NONE);
    else
        become_ready(s, out, now_ms);
}

static void go_final(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    move(s, SC_FINAL, now_ms + LIMIT_REMOTE_QUIT_MS);
    ask_input(s, out, NEXT_RESULT);
}

/* --- jobs --- */

/* Paths were checked when the mail came in; what could break a command line is looked for
 * again, because a disk has been between. */
static bool path_is_sound(const struct smtpc *s, struct str path)
{
    if (path.n > LIMIT_SMTP_PATH_BYTES)
        return false;
    return utf8_is_text(path) && (s->job.smtputf8 || !utf8_has_8bit(path));
}

static bool job_is_sound(const struct smtpc *s)
{
    if (!s->job.dsn && !path_is_sound(s, s->job.env->sender))
        return false;
    for (uint32_t i = 0; i < s->rcpt_count; i++)
        if (rcpt_path(s, i).n == 0 || !path_is_sound(s, rcpt_path(s, i)))
            return false;
    return true;
}

static void take_job(struct smtpc *s, const struct smtpc_job *job)
{
    ASSERT(s->state == SC_READY);
    ASSERT(job->dsn || (job->rcpt_count > 0 && job->rcpt_count <= LIMIT_SMTP_RCPTS));
    ASSERT(!job->asks || !job->dsn);
    s->job = *job;
    s->rcpt_count = job->dsn ? 1 : job->rcpt_count;
    for (uint32_t i = 0; i < s->rcpt_count; i++) {
        s->rcpts[i] = (struct smtpc_rcpt){.index = job->dsn ? 0 : job->rcpts[i]};
        ASSERT(job->dsn || job->rcpts[i] < job->env->rcpt_count);
    }
    s->rcpts_sent = s->rcpts_answered = s->rcpts_accepted = 0;
    s->reached = AT_MAIL;
    s->in_job = true;
    s->heard = s->refused = s->empty_data = false;
    s->consent = job->consent == SMTPC_CONSENT_GIVEN;
    s->rset_due = s->mail_due = s->data_due = false;
    s->mail_sent = s->mail_ok = s->data_sent = false;
    s->texts_n = 0;
    s->text = STR_NONE;
    s->texts_left = s->rcpt_count;
    s->result = (struct smtpc_result){
        .env = job->env, .dsn = job->dsn, .begun = true, .rcpts = s->rcpts};
}

/* The job ends before a byte of it is sent. */
static void end_unsent(struct smtpc *s, struct smtpc_out *out, enum smtpc_why why)
{
    char own[OWN_TEXT_BYTES];

    decide_rest(s, VERDICT_RETRY, 0, own_text(own, why, AT_MAIL, REPLY_FINE));
    fill_result(s, out, why);
    out->ready = true;
}

static void on_job(struct smtpc *s, const struct smtpc_job *job, struct smtpc_out *out,
                   uint64_t now_ms)
{
    take_job(s, job);
    if (!job_is_sound(s)) {
        end_unsent(s, out, SMTPC_WHY_UNSOUND);
    } else if (job->consent == SMTPC_CONSENT_REFUSED) {
        end_unsent(s, out, SMTPC_WHY_NO_CONSENT);
    } else if (job->eight_bit && !s->ehlo.eight_bit && s->opt.eight_bit == SMTPC_8BIT_HOLD) {
        end_unsent(s, out, SMTPC_WHY_EIGHT_BIT);
    } else if (job->smtputf8 && !s->ehlo.smtputf8) {
        end_unsent(s, out, SMTPC_WHY_SMTPUTF8);
    } else {
        s->messages++;
        move(s, SC_ENVELOPE,
             now_ms + LIMIT_REMOTE_COMMAND_MS + s->rcpt_count * LIMIT_REMOTE_RCPT_MS);
        ask_input(s, out, NEXT_COMMANDS);
    }
}

/* --- replies --- */

static void on_hello_reply(struct smtpc *s, const struct reply *r, struct smtpc_out *out,
                           uint64_t now_ms)
{
    bool want_tls = s->opt.tls != SMTPC_TLS_OFF && !s->tls;
    enum verdict v = verdict_of(AT_EHLO, r);

    if ((r->code == 500 || r->code == 502) && !s->helo &&
        (s->opt.tls != SMTPC_TLS_REQUIRE || s->tls)) {
        s->helo = true;
        ask_input(s, out, NEXT_EHLO);
        return;
    }
    if (v != VERDICT_OK) {
        drop_refused(s, out, SMTPC_WHY_REFUSED, v, r);
        return;
    }
    s->ehlo = s->helo ? (struct ehlo){0} : r->ehlo;
    if (want_tls && s->ehlo.starttls) {
        move(s, SC_STARTTLS, now_ms + LIMIT_REMOTE_COMMAND_MS);
        ask_input(s, out, NEXT_STARTTLS);
    } else if (want_tls && s->opt.tls == SMTPC_TLS_REQUIRE) {
        drop(s, out,
             (struct smtpc_closed){.why = SMTPC_WHY_TLS_MISSING,
                                   .verdict = VERDICT_DEST_NOT_UP_ALARM},
             STR_NONE);
    } else {
        become_ready(s, out, now_ms);
    }
}

static void on_setup_reply(struct smtpc *s, const struct reply *r, struct smtpc_out *out)
{
    enum verdict v = verdict_of(smtpc_at(s), r);
    bool tls_refused = s->state == SC_STARTTLS && r->code != 421;

    if (v != VERDICT_OK) {
        drop_refused(s, out, tls_refused ? SMTPC_WHY_TLS_FAILED : SMTPC_WHY_REFUSED, v, r);
    } else if (s->state == SC_BANNER) {
        move(s, SC_EHLO, s->deadline_ms);
        ask_input(s, out, NEXT_EHLO);
    } else {
        ask_input(s, out, NEXT_HANDSHAKE);
    }
}

/* What is to come once nothing is outstanding. */
static void proceed(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    bool mail_failed = s->mail_sent && !s->mail_ok;
    bool all_sent = s->rcpts_sent == s->rcpt_count;
    bool is_over = all_sent && (s->rcpts_accepted == 0 || s->job.asks);

    if (mail_failed || is_over || s->refused || s->data_sent)
        go_final(s, out, now_ms);
    else
        ask_input(s, out, NEXT_COMMANDS);
}

static void on_rcpt_reply(struct smtpc *s, const struct reply *r, enum verdict v)
{
    struct smtpc_rcpt *rcpt = &s->rcpts[s->rcpts_answered++];

    if (v == VERDICT_OK)
        s->need_rset = true; /* also when MAIL was refused: such a primary keeps it */
    if (!s->mail_ok)
        return;
    s->reached = AT_RCPT;
    if (v == VERDICT_OK) {
        rcpt->accepted = true;
        s->rcpts_accepted++;
    }
    if (v != VERDICT_OK || s->job.asks) {
        decide(s, rcpt, v, r->code, keep_text(s, reply_text(r)));
    }
}

/* True: the reply was 354 and the session has left ENVELOPE for it. */
static bool on_data_reply(struct smtpc *s, const struct reply *r, enum verdict v,
                          struct smtpc_out *out, uint64_t now_ms)
{
    s->data_due = false;
    if (s->rcpts_accepted > 0)
        s->reached = AT_DATA;
    if (v != VERDICT_OK) {
        if (s->rcpts_accepted > 0)
            decide_rest(s, v, r->code, reply_text(r));
        return false;
    }
    if (s->rcpts_accepted == 0) {
        s->empty_data = true;
        return false;
    }
    if (s->refused) {
        drop_own(s, out, SMTPC_WHY_NO_CONSENT);
        return true;
    }
    move(s, SC_BODY,
         now_ms + LIMIT_REMOTE_BODY_MS + s->job.size_bytes / LIMIT_REMOTE_BODY_RATE * 1000);
    out->act = SMTPC_DO_SEND_BODY;
    return true;
}

static void on_mail_reply(struct smtpc *s, const struct reply *r, enum verdict v)
{
    s->mail_due = false;
    s->heard = true;
    s->mail_ok = v == VERDICT_OK;
    if (s->mail_ok)
        s->need_rset = true;
    else
        decide_rest(s, v, r->code, reply_text(r));
}

static void on_envelope_reply(struct smtpc *s, const struct reply *r, struct smtpc_out *out,
                              uint64_t now_ms)
{
    enum at at = smtpc_at(s);
    enum verdict v = verdict_of(at, r);

    if (r->code == 421) {
        drop_421(s, out, r);
        return;
    }
    /* RSET is never refused (RFC 5321 4.1.1.5): a primary that does is not to be reused */
    if (v == VERDICT_ODDITY || (at == AT_RSET && v != VERDICT_OK)) {
        drop_odd(s, out, REPLY_FINE);
        return;
    }
    if (at == AT_RSET)
        s->rset_due = false;
    else if (at == AT_MAIL)
        on_mail_reply(s, r, v);
    else if (at == AT_RCPT)
        on_rcpt_reply(s, r, v);
    else if (on_data_reply(s, r, v, out, now_ms))
        return;
    if (s->data_due && s->rcpts_answered == s->rcpts_sent)
        s->deadline_ms = now_ms + LIMIT_REMOTE_DATA_MS;
    if (!s->rset_due && !s->mail_due && !s->data_due && s->rcpts_answered == s->rcpts_sent)
        proceed(s, out, now_ms);
}

static void on_dot_reply(struct smtpc *s, const struct reply *r, struct smtpc_out *out,
                         uint64_t now_ms)
{
    enum verdict v = verdict_of(AT_DOT, r);

    if (v == VERDICT_ODDITY) {
        drop_odd(s, out, REPLY_FINE);
    } else if (r->code == 421) {
        drop_421(s, out, r);
    } else {
        decide_rest(s, v, r->code, reply_text(r));
        s->reached = AT_DOT;
        s->need_rset = false; /* RFC 5321 4.1.1.4: the end of data ends the transaction */
        go_final(s, out, now_ms);
    }
}

/* A reply behind the last one. Only 421 may come unasked; the verdicts before it stand. */
static void on_extra_reply(struct smtpc *s, const struct reply *r, struct smtpc_out *out)
{
    if (r->code != 421) {
        drop_odd(s, out, REPLY_FINE);
        return;
    }
    if (s->refused)
        decide_rest(s, VERDICT_RETRY, 421, reply_text(r));
    fill_result(s, out, SMTPC_WHY_CLOSING);
    s->result.brake = true;
    drop_421(s, out, r);
}

static void on_reply(struct smtpc *s, const struct reply *r, struct smtpc_out *out,
                     uint64_t now_ms)
{
    switch ((enum smtpc_state)s->state) {
    case SC_BANNER:
    case SC_STARTTLS:
        on_setup_reply(s, r, out);
        break;
    case SC_EHLO:
        on_hello_reply(s, r, out, now_ms);
        break;
    case SC_ENVELOPE:
        on_envelope_reply(s, r, out, now_ms);
        break;
    case SC_DOT:
        on_dot_reply(s, r, out, now_ms);
        break;
    case SC_FINAL:
        on_extra_reply(s, r, out);
        break;
    case SC_READY:
    case SC_BODY:
    case SC_CONSENT:
        if (r->code == 421)
            drop_421(s, out, r);
        else
            drop_odd(s, out, REPLY_FINE);
        break;
    case SC_QUIT:
    case SC_HANDSHAKE:
        drop_odd(s, out, REPLY_FINE);
        break;
    case SC_CONNECT:
    case SC_CLOSED:
        ASSERT(false); /* a reply without a connection */
    }
}

/* --- the other events --- */

static void on_input_empty(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    enum next next = (enum next)s->next;

    s->next = NEXT_NOTHING;
    switch (next) {
    case NEXT_EHLO:
        send_hello(s, out, now_ms);
        break;
    case NEXT_STARTTLS:
        put(out, STR("STARTTLS\r\n"));
        break;
    case NEXT_HANDSHAKE:
        move(s, SC_HANDSHAKE, now_ms + LIMIT_REMOTE_TLS_MS);
        out->act = SMTPC_DO_START_TLS;
        break;
    case NEXT_COMMANDS:
        send_commands(s, out, now_ms);
        break;
    case NEXT_DOT:
        ASSERT(s->consent && s->rcpts_accepted > 0 && !s->job.asks); /* INV-4: no yes, no dot */
        put(out, STR(".\r\n"));
        s->result.dot_sent = true;
        move(s, SC_DOT, now_ms + LIMIT_REMOTE_DOT_MS);
        out->act = SMTPC_DO_SEND_DOT;
        break;
    case NEXT_RESULT:
        finish_job(s, out, now_ms);
        break;
    case NEXT_NOTHING:
        ASSERT(false); /* an answer without a question */
    }
}

static void on_input_pending(struct smtpc *s, struct smtpc_out *out)
{
    ASSERT(s->next != NEXT_NOTHING);
    if (s->next == NEXT_RESULT)
        s->next = NEXT_NOTHING; /* it may be a 421: wait for the whole of it */
    else
        drop_odd(s, out, REPLY_FINE);
}

static void on_tls(struct smtpc *s, bool good, struct smtpc_out *out, uint64_t now_ms)
{
    ASSERT(s->state == SC_HANDSHAKE);
    if (!good) {
        drop(s, out,
             (struct smtpc_closed){.why = SMTPC_WHY_TLS_FAILED, .verdict = VERDICT_DEST_NOT_UP},
             STR_NONE);
        return;
    }
    /* RFC 3207 4.2: what was learned in the clear is forgotten */
    s->tls = true;
    s->helo = false;
    s->ehlo = (struct ehlo){0};
    move(s, SC_EHLO, now_ms + LIMIT_REMOTE_COMMAND_MS);
    ask_input(s, out, NEXT_EHLO);
}

static void on_body_sent(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    ASSERT(s->state == SC_BODY);
    move(s, SC_CONSENT, now_ms + LIMIT_COMMIT_MS);
    if (s->consent)
        ask_input(s, out, NEXT_DOT);
}

static void on_consent(struct smtpc *s, bool given, struct smtpc_out *out)
{
    if (!s->in_job || s->consent || s->refused)
        return;
    s->consent = given;
    s->refused = !given;
    if (given && s->state == SC_CONSENT)
        ask_input(s, out, NEXT_DOT);
    else if (!given && (s->state == SC_BODY || s->state == SC_CONSENT))
        drop_own(s, out, SMTPC_WHY_NO_CONSENT);
}

/* The end of the connection, or of the time, before the reply that is due. */
static void on_loss(struct smtpc *s, enum smtpc_why why, struct smtpc_out *out)
{
    bool tls = s->state == SC_STARTTLS || s->state == SC_HANDSHAKE;
    enum at at = smtpc_at(s);

    if (s->state == SC_FINAL) {
        drop_odd(s, out, REPLY_FINE); /* bytes came that make no reply */
    } else if (s->state == SC_QUIT) {
        close_session(s, out, (struct smtpc_closed){.why = SMTPC_WHY_QUIT, .at = AT_QUIT},
                      STR_NONE);
    } else if (s->state == SC_READY) {
        close_session(s, out, (struct smtpc_closed){.why = SMTPC_WHY_CLOSING, .at = AT_IDLE},
                      STR_NONE);
    } else {
        drop(s, out,
             (struct smtpc_closed){.why = tls ? SMTPC_WHY_TLS_FAILED : why,
                                   .verdict = verdict_of_loss(at)},
             STR_NONE);
    }
}

static void on_timeout(struct smtpc *s, struct smtpc_out *out, uint64_t now_ms)
{
    if (now_ms < s->deadline_ms)
        return;
    if (s->state == SC_READY)
        send_quit(s, out, now_ms);
    else
        on_loss(s, s->state == SC_CONSENT ? SMTPC_WHY_NO_CONSENT : SMTPC_WHY_TIMEOUT, out);
}

void smtpc_init(struct smtpc *s, const struct smtpc_options *opt, uint64_t now_ms)
{
    ASSERT(opt->helo.n > 0 && opt->helo.n <= LIMIT_SMTP_HELO_BYTES);
    *s = (struct smtpc){
        .opt = *opt, .state = SC_CONNECT, .deadline_ms = now_ms + LIMIT_CONNECT_MS};
}

static void step(struct smtpc *s, const struct smtpc_event *ev, struct smtpc_out *out)
{
    switch (ev->type) {
    case SMTPC_EV_CONNECTED:
        move(s, SC_BANNER, ev->now_ms + LIMIT_BANNER_MS);
        break;
    case SMTPC_EV_REPLY:
        on_reply(s, ev->reply, out, ev->now_ms);
        break;
    case SMTPC_EV_ODDITY:
        drop_odd(s, out, ev->bad);
        break;
    case SMTPC_EV_JOB:
        on_job(s, ev->job, out, ev->now_ms);
        break;
    case SMTPC_EV_CONSENT:
        on_consent(s, ev->yes, out);
        break;
    case SMTPC_EV_BODY_SENT:
        on_body_sent(s, out, ev->now_ms);
        break;
    case SMTPC_EV_BODY_FAILED:
        ASSERT(s->state == SC_BODY);
        drop_own(s, out, SMTPC_WHY_BODY_FAILED);
        break;
    case SMTPC_EV_INPUT_EMPTY:
        on_input_empty(s, out, ev->now_ms);
        break;
    case SMTPC_EV_INPUT_PENDING:
        on_input_pending(s, out);
        break;
    case SMTPC_EV_TLS:
        on_tls(s, ev->yes, out, ev->now_ms);
        break;
    case SMTPC_EV_CLOSED:
        on_loss(s, SMTPC_WHY_LOST, out);
        break;
    case SMTPC_EV_TIMEOUT:
        on_timeout(s, out, ev->now_ms);
        break;
    case SMTPC_EV_QUIT:
        s->quit = true;
        if (s->state == SC_READY)
            send_quit(s, out, ev->now_ms);
        break;
    }
}

void smtpc_step(struct smtpc *s, const struct smtpc_event *ev, struct smtpc_out *out)
{
    bool answer = ev->type == SMTPC_EV_INPUT_EMPTY || ev->type == SMTPC_EV_INPUT_PENDING;

    ASSERT(s->state != SC_CLOSED);
    ASSERT(answer == (s->next != NEXT_NOTHING)); /* a question is answered at once */
    /* send[] is not cleared: it is 9 KB, and send_n says what of it is valid */
    out->send_n = 0;
    out->act = SMTPC_DO_NOTHING;
    out->result = NULL;
    out->ready = out->close = false;
    out->closed = NULL;
    step(s, ev, out);
    out->deadline_ms = s->deadline_ms;
    ASSERT(out->result == NULL || out->act == SMTPC_DO_NOTHING);
    ASSERT(!out->close || !s->in_job);
}

enum at smtpc_at(const struct smtpc *s)
{
    static const enum at places[] = {
        [SC_CONNECT] = AT_CONNECT,   [SC_BANNER] = AT_BANNER,      [SC_EHLO] = AT_EHLO,
        [SC_STARTTLS] = AT_STARTTLS, [SC_HANDSHAKE] = AT_STARTTLS, [SC_READY] = AT_IDLE,
        [SC_ENVELOPE] = AT_MAIL,     [SC_BODY] = AT_BODY,          [SC_CONSENT] = AT_BODY,
        [SC_DOT] = AT_DOT,           [SC_FINAL] = AT_DOT,          [SC_QUIT] = AT_QUIT,
        [SC_CLOSED] = AT_QUIT,
    };

    if (s->state == SC_FINAL)
        return s->reached;
    if (s->state != SC_ENVELOPE)
        return places[s->state];
    if (s->rset_due)
        return AT_RSET;
    if (s->mail_due || !s->mail_sent)
        return AT_MAIL;
    if (s->rcpts_answered < s->rcpts_sent || !s->data_sent)
        return AT_RCPT;
    return AT_DATA;
}
