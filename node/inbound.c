/* One SMTP session with a client: the shell around node/smtp. It moves bytes, asks the control
 * store, keeps envelope and body, and waits for the writer. Every decision is smtpd's. */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/cluster.h"
#include "node/edge.h"
#include "node/inbound_private.h"
#include "node/policy/auth_results.h"
#include "node/replica_thread.h"
#include "node/smtp/received.h"
#include "proto/record.h"

#define TX_ARENA_BYTES (RECORD_ARENA_BYTES + AUTH_RESULTS_SIZE + RECEIVED_SPF_SIZE)
static_assert(AUTH_RESULTS_SIZE + RECEIVED_SPF_SIZE + RECEIVED_SIZE <= LIMIT_TRACE_HEADER_BYTES,
              "what we say of a message fits above it");
#define BLOCKS_RETRY_MS 20 /* body memory is full, or the peers lag: look again after */

static void feed(struct inbound *in, struct smtpd_event *ev);
static void pump(struct inbound *in);

/* --- life --- */

void inbound_tx_reset(struct inbound *in)
{
    struct node *n = in->thread->node;
    struct writer_request *r;

    inbound_judge_end(in);
    inbound_grey_end(in);
    inbound_recipient_end(in);
    inbound_delegate_end(in);
    inbound_auth_end(in);
    block_list_free(&n->blocks, &in->tx.body);
    if (in->tx.body_number != 0) { /* chunks on disk that no record will name */
        r = writer_request_new(WRITER_UNSTAGE, NULL, 0, NULL);
        if (r != NULL) { /* else they are removed at the next start */
            r->body_number = in->tx.body_number;
            writer_post_always(n->writer, r);
        }
    }
    arena_reset(&in->tx.arena);
    in->tx = (struct transaction){0};
    arena_init(&in->tx.arena, TX_ARENA_BYTES);
}

static void inbound_free(struct inbound *in)
{
    struct smtp_thread *t = in->thread;

    inbound_tx_reset(in);
    if (in->prev != NULL)
        in->prev->next = in->next;
    else
        t->inbound = in->next;
    if (in->next != NULL)
        in->next->prev = in->prev;
    event_free(in->retry);
    XXH3_freeState(in->digest);
    snapshot_release(&in->settings);
    free(in);
}

/* The client is gone or told to go. What the writer still holds keeps the memory. */
static void end_session(struct inbound *in, bool politely)
{
    if (in->conn != NULL) {
        if (politely)
            conn_finish(&in->conn);
        else
            conn_close(&in->conn);
        event_del(in->retry);
        inbound_door_leave(in);
        atomic_fetch_sub(&in->thread->node->sessions, 1);
        stat_add(STAT_SESSIONS, -1);
        LOG(EV_DISCONNECT, L_CSTR("client", in->peer), L_U64("messages", in->smtpd.messages));
    }
    if (in->requests == 0)
        inbound_free(in);
}

/* --- the body --- */

static void body_begin(struct inbound *in)
{
    const struct node_settings *s = inbound_settings(in);

    bodyscan_init(&in->tx.scan, in->options.max_body_bytes);
    headerscan_init(&in->tx.header, str_of(s->config->cluster));
    headers_init(&in->tx.headers, in->tx.smtputf8);
    auth_strip_init(&in->tx.strip, str_of(s->config->authserv_id));
    XXH3_64bits_reset(in->digest);
}

/* The message is what stays of it: that is counted, digested, and sent on. */
static void body_keep(struct inbound *in, struct str run)
{
    if (run.n == 0)
        return;
    XXH3_64bits_update(in->digest, run.p, run.n);
    if (!in->tx.stage_failed && !block_append(&in->thread->node->blocks, &in->tx.body, run))
        in->tx.stage_failed = true;
}

static void body_take(struct inbound *in, struct str span)
{
    struct str run;

    headerscan_feed(&in->tx.header, span);
    if (in->tx.checks[DOMAIN_CHECK_HEADERS] != CHECK_OFF)
        headers_feed(&in->tx.headers, span);
    while ((run = auth_strip_next(&in->tx.strip, &span)).n > 0)
        body_keep(in, run);
}

/* More than a session may hold: the blocks go to disk, reading waits until they are there. */
static void stage(struct inbound *in)
{
    struct node *n = in->thread->node;
    struct writer_request *r =
        writer_request_new(WRITER_STAGE, in->thread->box, SMTP_MAIL_STORED, in);

    if (r == NULL) {
        in->tx.stage_failed = true;
        block_list_free(&n->blocks, &in->tx.body);
        return;
    }
    if (in->tx.body_number == 0)
        in->tx.body_number = spool_next_body(n->spool);
    if (n->replica != NULL)
        replica_thread_body(n->replica, in->tx.body_number, in->tx.staged_bytes, &in->tx.body);
    r->body_number = in->tx.body_number;
    r->offset = in->tx.staged_bytes;
    r->body = in->tx.body;
    in->tx.staged_bytes += r->body.bytes;
    in->tx.body = (struct block_list){0};
    in->staging = true;
    in->requests++;
    conn_pause(in->conn, true);
    writer_post_always(n->writer, r); /* one per session at a time */
}

/* What the check of the header says, if the domain wants to know; empty: nothing to refuse. */
static const char *judge_headers(struct inbound *in)
{
    uint8_t mode = in->tx.checks[DOMAIN_CHECK_HEADERS];

    if (mode == CHECK_OFF)
        return "";
    if (headers_end(&in->tx.headers) == HEADERS_OK) {
        stat_add(STAT_CHECK_HEADERS_PASSED_TOTAL, 1);
        return "";
    }
    stat_add(STAT_CHECK_HEADERS_TOTAL, 1);
    stat_add(STAT_CHECK_HEADERS_REFUSED_TOTAL, mode != CHECK_MARK);
    LOG(EV_HEADERS_BAD, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_CSTR("domain", in->tx.domain),
        L_CSTR("why", headers_verdict_text(in->tx.headers.verdict)),
        L_CSTR("field", in->tx.headers.field != NULL ? in->tx.headers.field : ""),
        L_U64("line", in->tx.headers.line), L_CSTR("mode", check_mode_text(mode)));
    if (mode == CHECK_MARK)
        return "";
    return headers_reply(&in->tx.headers, in->refusal).p;
}

/* RFC 8601 5: from outside, with our name on it. */
static void strip_end(struct inbound *in)
{
    body_keep(in, auth_strip_end(&in->tx.strip));
    if (in->tx.strip.removed == 0)
        return;
    stat_add(STAT_AUTH_FORGED_TOTAL, in->tx.strip.removed);
    LOG(EV_AUTH_FORGED, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_CSTR("domain", in->tx.domain), L_U64("fields", in->tx.strip.removed),
        L_U64("bytes", in->tx.strip.removed_bytes));
}

static void body_end(struct inbound *in)
{
    struct smtpd_event ev = {.type = SMTPD_EV_BODY_END,
                             .violation = in->tx.scan.violation,
                             .endless = !in->tx.scan.done,
                             .header = headerscan_verdict(&in->tx.header),
                             .body_bytes = in->tx.scan.body_bytes};

    strip_end(in);
    if (ev.violation == BODY_CLEAN && ev.header == HEADER_OK)
        ev.refusal = str_of(judge_headers(in));
    if (ev.violation == BODY_CLEAN && ev.header == HEADER_OK && ev.refusal.n == 0)
        ev.refusal = str_of(inbound_recipient_for_nobody(in));
    if (ev.violation != BODY_CLEAN || ev.header != HEADER_OK || ev.refusal.n > 0) {
        stat_add(STAT_MESSAGES_REFUSED_TOTAL, 1);
        LOG(EV_MESSAGE_REFUSED, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
            L_U64("violation", ev.violation), L_U64("header", ev.header));
    }
    feed(in, &ev);
}

/* Large bodies are read no faster than the faster peer takes them: those that will go in
 * pieces, whether on disk by now or not. */
static bool peers_lag(const struct inbound *in)
{
    const struct node *n = in->thread->node;

    return n->replica != NULL &&
           in->tx.staged_bytes + in->tx.body.bytes > LIMIT_BODY_PIECE_BYTES &&
           replica_thread_backlog(n->replica) > LIMIT_STREAM_WINDOW_BYTES / 2;
}

static void wait_a_little(struct inbound *in)
{
    struct timeval tv = {0, BLOCKS_RETRY_MS * 1000};

    conn_pause(in->conn, true);
    event_add(in->retry, &tv);
}

/* False: wait (for the writer, for memory, for more input, or the session has gone on). */
static bool body_pump(struct inbound *in)
{
    struct node *n = in->thread->node;
    struct str unread = conn_input(in->conn), rest = unread, span;
    bool shed = atomic_load(&n->blocks.held) + 2 * LIMIT_INPUT_BYTES > n->blocks.ceiling;

    if (in->staging || in->tx.is_awaiting_auth || unread.n == 0)
        return false;
    if (shed && in->tx.body.bytes > 0 && in->tx.scan.violation == BODY_CLEAN &&
        !in->tx.stage_failed) {
        stage(in); /* what waits in memory goes to disk, or nobody would ever give any back */
        return false;
    }
    if (shed || peers_lag(in)) {
        wait_a_little(in);
        return false;
    }
    while ((span = bodyscan_next(&in->tx.scan, &rest)).n > 0)
        body_take(in, span);
    conn_consume(in->conn, unread.n - rest.n);
    if (in->tx.scan.done || bodyscan_is_endless(&in->tx.scan)) {
        if (in->tx.scan.violation == BODY_CLEAN && inbound_auth_wait(in))
            return false;
        body_end(in);
        return true;
    }
    if (in->tx.body.bytes >= LIMIT_SESSION_BLOCK_BYTES && in->tx.scan.violation == BODY_CLEAN)
        stage(in);
    return !in->staging;
}

/* --- the commit --- */

/* All but what comes with the id; strings are copies in the arena. False: no room. */
static bool envelope_fill(struct inbound *in, struct arena *a, struct envelope *e,
                          struct received *rec)
{
    const struct node_config *c = inbound_settings(in)->config;
    struct rcpt *rcpts = arena_take(a, sizeof *rcpts * in->tx.rcpt_count);

    if (rcpts == NULL)
        return false;
    for (uint32_t i = 0; i < in->tx.rcpt_count; i++)
        rcpts[i].path = arena_str(a, in->tx.rcpts[i]);
    *e = (struct envelope){.domain = arena_str(a, str_of(in->tx.domain)),
                           .domain_generation = in->tx.generation,
                           .sender = arena_str(a, in->tx.sender),
                           .rcpts = rcpts,
                           .rcpt_count = in->tx.rcpt_count,
                           .body_bytes = in->tx.scan.body_bytes - in->tx.strip.removed_bytes,
                           .body_digest = XXH3_64bits_digest(in->digest),
                           .eight_bit = in->tx.eight_bit || in->tx.scan.eight_bit_bytes > 0,
                           .smtputf8 = in->tx.smtputf8,
                           .client_addr = arena_str(a, str_of(in->peer)),
                           .sender_auth = in->tx.sender_auth,
                           .client_helo = arena_str(a, smtpd_helo(&in->smtpd)),
                           .tls = arena_str(a, smtpd_tls_text(&in->smtpd))};
    *rec = (struct received){.helo = e->client_helo,
                             .client_addr = e->client_addr,
                             .host = arena_str(a, str_of(c->hostname)),
                             .cluster = arena_str(a, str_of(c->cluster)),
                             .esmtp = in->smtpd.esmtp,
                             .smtputf8 = in->tx.smtputf8,
                             .tls = e->tls,
                             .above = arena_str(a, in->tx.above),
                             .rcpt = in->tx.rcpt_count == 1 ? rcpts[0].path : STR_NONE};
    return rcpts[in->tx.rcpt_count - 1].path.p != NULL && rec->host.p != NULL &&
           rec->cluster.p != NULL;
}

static void commit_failed(struct inbound *in, enum err e)
{
    feed(in, &(struct smtpd_event){.type = SMTPD_EV_COMMIT, .err = e});
}

/* The domain as it was at RCPT: same generation, not closing. */
static bool domain_is_open(struct inbound *in)
{
    struct arena scratch;
    struct domain d;
    enum err e;
    bool open;

    if (in->tx.generation == 0)
        return true; /* the operator's own, for bare postmaster */
    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(control_thread_state(in->thread->node->control),
                           str_of(in->tx.domain), &scratch, &d);
    open = e == OK && d.generation == in->tx.generation && !d.closing;
    arena_reset(&scratch);
    return open;
}

/* --- of a node that is alone --- */

static bool put_envelope(struct inbound *in, struct writer_request *r)
{
    struct envelope_times times = {control_now_ms(in->thread->node->control), clock_wall_ms(),
                                   in->tx.hold_ms};
    struct envelope *e = arena_take(&r->arena, sizeof *e);
    struct received rec;

    if (e == NULL || !envelope_fill(in, &r->arena, e, &rec) ||
        !envelope_stamp(e, &rec, &r->arena, r->id, &times))
        return false;
    r->env = e;
    return true;
}

static void put(struct inbound *in)
{
    struct node *n = in->thread->node;
    struct writer_request *r =
        writer_request_new(WRITER_PUT, in->thread->box, SMTP_MAIL_STORED, in);

    if (r == NULL) {
        commit_failed(in, E_FULL);
        return;
    }
    r->id = node_draw_id(n);
    r->body = in->tx.body;
    in->tx.body = (struct block_list){0};
    r->body_number = in->tx.body_number;
    r->staged = in->tx.body_number != 0;
    if (!put_envelope(in, r))
        r->env = NULL;                    /* the writer marks the id and answers E_FULL */
    if (r->staged && r->body.bytes > 0) { /* the tail joins the chunks on disk first */
        struct writer_request *tail =
            writer_request_new(WRITER_STAGE, in->thread->box, SMTP_MAIL_STORED, in);

        ASSERT(tail != NULL);
        tail->body_number = r->body_number;
        tail->offset = in->tx.staged_bytes;
        tail->body = r->body;
        r->body = (struct block_list){0};
        in->requests++;
        writer_post_always(n->writer, tail);
    }
    in->tx.body_number = 0; /* the record names it from here on, or put_done() takes it back */
    in->requests++;
    if (writer_post(n->writer, r) != OK)
        writer_post_always(n->writer, r); /* the id is drawn: bounded by the sessions */
}

/* --- of a member --- */

/* Until the replica thread has it nothing was begun: the client may go elsewhere. */
static void offer(struct inbound *in)
{
    struct node *n = in->thread->node;
    struct intake *i = intake_new(in->thread->box, SMTP_MAIL_TAKEN, in);

    if (i == NULL || !envelope_fill(in, &i->arena, &i->env, &i->received)) {
        if (i != NULL)
            intake_free(n, &i);
        commit_failed(in, E_FULL);
        return;
    }
    i->hold_ms = in->tx.hold_ms;
    i->body = in->tx.body;
    in->tx.body = (struct block_list){0};
    i->staged = in->tx.body_number != 0;
    i->body_number = in->tx.body_number;
    i->staged_bytes = in->tx.staged_bytes;
    if (replica_thread_accept(n->replica, i) != OK) {
        intake_free(n, &i);
        commit_failed(in, E_TIMEOUT);
        return;
    }
    in->tx.body_number = 0; /* the record names it, or the replica thread removes it */
    in->requests++;
}

static void commit(struct inbound *in)
{
    struct node *n = in->thread->node;

    if (atomic_load(&n->fenced)) /* nothing was begun: the client may go elsewhere */
        commit_failed(in, E_TIMEOUT);
    else if (!domain_is_open(in)) /* removed, or another tenant's, since RCPT */
        commit_failed(in, E_TIMEOUT);
    else if (in->tx.stage_failed)
        commit_failed(in, E_FULL);
    else if (n->replica != NULL)
        offer(in);
    else
        put(in);
}

static void accepted(const struct inbound *in, const struct envelope *e)
{
    stat_add(STAT_MESSAGES_ACCEPTED_TOTAL, 1);
    stat_add(STAT_BYTES_ACCEPTED_TOTAL, (int64_t)e->body_bytes);
    LOG(EV_MESSAGE_ACCEPTED, L_MID(e->id), L_STR("from", e->sender), L_STR("domain", e->domain),
        L_U64("rcpts", e->rcpt_count), L_U64("bytes", e->body_bytes),
        L_STR("client", e->client_addr));
    if (in->tx.is_wanted && !in->tx.is_allowed)
        edge_good(in->thread->node->edge, &in->ip);
}

static void put_done(struct inbound *in, struct writer_request *r)
{
    struct node *n = in->thread->node;
    struct smtpd_event ev = {.type = SMTPD_EV_COMMIT, .err = r->err, .mid = r->id};

    if (r->err == OK) {
        accepted(in, r->env);
        cluster_message_new(n->cluster, r->env);
    } else {
        /* inbound_tx_reset() removes the chunks; after E_IO a record may name them all the same
         */
        in->tx.body_number = r->staged && r->err != E_IO ? r->body_number : 0;
        if (r->err != E_IO)
            ev.err = E_FULL;
        stat_add(STAT_MESSAGES_REFUSED_TOTAL, 1);
        LOG(EV_SHED, L_CSTR("limit", "spool"), L_MID(r->id), L_ERR(r->err));
    }
    if (in->conn != NULL)
        feed(in, &ev);
}

/* What kept the memory is answered. */
void inbound_give_back(struct inbound *in)
{
    in->requests--;
    if (in->conn != NULL)
        pump(in);
    else if (in->requests == 0)
        inbound_free(in);
}

void inbound_stored(struct writer_request *r)
{
    struct inbound *in = r->ctx;

    if (r->op == WRITER_PUT)
        put_done(in, r);
    else if (r->err != OK)
        in->tx.stage_failed = true;
    if (r->op == WRITER_STAGE && in->staging) {
        in->staging = false;
        if (in->conn != NULL)
            conn_pause(in->conn, false);
    }
    writer_request_free(in->thread->node->writer, &r);
    inbound_give_back(in);
}

static enum err taken_err(const struct intake *i)
{
    switch (i->verdict) {
    case INTAKE_ACCEPTED:
        return OK;
    case INTAKE_REFUSED:
        return i->no_room ? E_FULL : E_TIMEOUT;
    case INTAKE_CLOSE:
        break;
    }
    return E_IO;
}

void inbound_taken(struct smtp_thread *t, struct intake *i)
{
    struct inbound *in = i->ctx;
    struct smtpd_event ev = {.type = SMTPD_EV_COMMIT, .err = taken_err(i), .mid = i->env.id};

    if (ev.err == OK) {
        accepted(in, &i->env);
    } else {
        stat_add(STAT_MESSAGES_REFUSED_TOTAL, 1);
        LOG(ev.err == E_IO ? EV_CLIENT_CLOSED : EV_SHED,
            L_CSTR("limit", i->no_room ? "spool" : "second copy"), L_MID(i->env.id),
            L_CSTR("client", in->peer));
    }
    if (in->conn != NULL)
        feed(in, &ev);
    intake_free(t->node, &i);
    inbound_give_back(in);
}

/* --- the turn --- */

static void start_tls(struct inbound *in)
{
    size_t thrown =
        conn_start_tls(in->conn, inbound_settings(in)->server_tls, true, NULL, false);

    if (thrown == 0)
        return;
    stat_add(STAT_STARTTLS_DISCARDED_TOTAL, 1);
    LOG(EV_PLAINTEXT_AFTER_STARTTLS, L_CSTR("client", in->peer), L_U64("bytes", thrown));
}

static void log_refusal(struct inbound *in, const struct smtpd_out *out)
{
    struct str reply = {out->reply, out->reply_n};

    if (reply.n < 3 || reply.p[0] < '4')
        return;
    LOG(EV_REFUSED, L_CSTR("client", in->peer), L_CSTR("state", smtpd_state_name(&in->smtpd)),
        L_STR("reply", str_head(reply, reply.n - 2)));
}

/* One event in; performs what comes out, and answers what can be answered at once. */
static void feed(struct inbound *in, struct smtpd_event *first)
{
    struct smtpd_event ev = *first;
    struct inbound_answer answer;
    struct smtpd_out out;

    for (;;) {
        uint64_t now_ms = clock_boot_ms();

        ev.now_ms = now_ms;
        smtpd_step(&in->smtpd, &ev, &out);
        log_refusal(in, &out);
        conn_write(in->conn, (struct str){out.reply, out.reply_n});
        conn_deadline(in->conn, out.deadline_ms, now_ms);
        answer = inbound_ask(in, &out);
        if (!answer.is_asked || answer.is_later)
            break;
        ev = (struct smtpd_event){.type = SMTPD_EV_VERDICT,
                                  .refusal = str_of(answer.refusal),
                                  .refusal_closes = answer.closes};
    }
    if (out.act == SMTPD_ACT_RESET)
        inbound_tx_reset(in);
    else if (out.act == SMTPD_ACT_START_TLS)
        start_tls(in);
    else if (out.act == SMTPD_ACT_BODY)
        body_begin(in);
    if (out.act == SMTPD_ACT_COMMIT)
        commit(in);
    else if (out.close)
        end_session(in, true);
}

static bool command_pump(struct inbound *in)
{
    struct wire_cut cut = wire_cut_line(conn_input(in->conn));
    struct smtpd_event ev = {.type = SMTPD_EV_LINE, .line = cut.line};

    if (cut.kind == WIRE_MORE)
        return false;
    if (cut.kind != WIRE_LINE)
        ev = (struct smtpd_event){.type = SMTPD_EV_BAD_LINE, .bad_line = cut.kind};
    conn_consume(in->conn,
                 cut.consumed); /* the bytes stay where they are until the next read */
    feed(in, &ev);
    return true;
}

/* Works through the unread input as far as the state allows. A session that ended is gone
 * after the call. */
static void pump(struct inbound *in)
{
    bool more = true;

    in->requests++; /* keeps the memory over the turn */
    while (more && in->conn != NULL) {
        switch (in->smtpd.state) {
        case SMTPD_TLS:
        case SMTPD_COMMIT:
        case SMTPD_CLOSED:
            more = false;
            break;
        case SMTPD_BODY:
            more = body_pump(in);
            break;
        default:
            more = !in->smtpd.waiting && command_pump(in);
        }
    }
    in->requests--;
    if (in->conn == NULL && in->requests == 0)
        inbound_free(in);
}

/* Runs one event outside pump(), where the session may end and its memory go. */
static void feed_and_pump(struct inbound *in, struct smtpd_event *ev)
{
    in->requests++;
    feed(in, ev);
    in->requests--;
    pump(in);
}

/* --- the banner --- */

/* It was waited with, see inbound_door.c. */
static void greet(struct inbound *in)
{
    event_del(in->retry);
    feed_and_pump(in, &(struct smtpd_event){.type = SMTPD_EV_VERDICT,
                                            .refusal = str_of(inbound_door_open(in))});
}

static void on_input(void *owner)
{
    struct inbound *in = owner;

    if (in->smtpd.state == SMTPD_OPEN)
        greet(in);
    else
        pump(in);
}

static void on_nothing(void *owner)
{
    (void)owner;
}

void inbound_answered(struct inbound *in, const char *refusal, bool closes)
{
    bool is_later = false;

    if (refusal[0] == 0)
        refusal = inbound_next_step(in, &is_later);
    if (is_later)
        return;
    if (refusal[0] != 0)
        stat_add(STAT_RCPTS_REFUSED_TOTAL, 1);
    feed_and_pump(in,
                  &(struct smtpd_event){.type = SMTPD_EV_VERDICT,
                                        .refusal = str_of(refusal),
                                        .refusal_closes = closes || inbound_closes(refusal)});
}

void inbound_authenticated(struct inbound *in)
{
    in->requests++;
    in->tx.is_awaiting_auth = false;
    body_end(in);
    in->requests--;
    pump(in);
}

static void on_tls(void *owner)
{
    struct inbound *in = owner;
    char text[LIMIT_TLS_TEXT_BYTES];

    conn_tls(in->conn, text, sizeof text);
    LOG(EV_TLS_IN, L_CSTR("client", in->peer), L_CSTR("tls", text));
    feed_and_pump(in, &(struct smtpd_event){
                          .type = SMTPD_EV_TLS, .tls_ok = true, .tls_text = str_of(text)});
}

static void on_timeout(void *owner)
{
    struct inbound *in = owner;
    uint64_t now_ms = clock_boot_ms();

    if (in->smtpd.state == SMTPD_BODY) {
        uint64_t read = in->tx.scan.body_bytes + in->tx.scan.swallowed_bytes;
        uint64_t deadline_ms = smtpd_body_deadline(&in->smtpd, read);

        if (deadline_ms > now_ms) {
            conn_deadline(in->conn, deadline_ms, now_ms);
            return;
        }
    }
    feed_and_pump(in, &(struct smtpd_event){.type = SMTPD_EV_TIMEOUT});
}

static void on_end(void *owner, enum conn_end why)
{
    struct inbound *in = owner;

    if (why == CONN_TLS_FAILED)
        LOG(EV_TLS_IN_FAILED, L_CSTR("client", in->peer));
    end_session(in, false);
}

static const struct conn_ops ops = {.on_connected = on_nothing,
                                    .on_input = on_input,
                                    .on_drained = on_nothing,
                                    .on_tls = on_tls,
                                    .on_timeout = on_timeout,
                                    .on_end = on_end};

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct inbound *in = arg;

    (void)fd;
    (void)what;
    if (in->conn == NULL)
        return;
    if (in->smtpd.state == SMTPD_OPEN)
        greet(in);
    else
        conn_pause(in->conn, false);
}

/* --- for the thread --- */

static void find_peer(struct inbound *in, const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET6) {
        memcpy(in->ip.b, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr,
               sizeof in->ip.b);
    } else {
        const struct sockaddr_in *a = (const void *)addr;

        in->ip = ip_v4((const uint8_t *)&a->sin_addr);
    }
    ip_text(&in->ip, in->peer);
}

static void say_and_close(int fd, const char *line)
{
    ssize_t n = send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);

    (void)n; /* a courtesy */
    close(fd);
    stat_add(STAT_SESSIONS_SHED_TOTAL, 1);
}

void inbound_accept(struct smtp_thread *t, int fd, const struct sockaddr *addr)
{
    struct node *n = t->node;
    struct inbound *in = calloc(1, sizeof *in);
    const struct node_config *c;

    if (in == NULL) {
        say_and_close(fd, "421 4.3.0 Out of memory\r\n");
        return;
    }
    in->settings = snapshot_hold(n->settings);
    c = inbound_settings(in)->config;
    if (atomic_load(&n->sessions) >= c->smtp.max_sessions) {
        LOG(EV_SHED, L_CSTR("limit", "smtp.max_sessions"));
        say_and_close(fd, "421 4.3.2 Too many connections, try the next MX\r\n");
        snapshot_release(&in->settings);
        free(in);
        return;
    }
    in->thread = t;
    find_peer(in, addr);
    in->options =
        (struct smtpd_options){.hostname = str_of(c->hostname),
                               .max_body_bytes = c->smtp.max_message_bytes,
                               .tls_offered = inbound_settings(in)->server_tls != NULL,
                               .tls_required = c->smtp.require_tls,
                               .smtputf8 = atomic_load(&n->smtputf8)};
    arena_init(&in->tx.arena, TX_ARENA_BYTES);
    smtpd_init(&in->smtpd, &in->options);
    in->retry = event_new(t->base, -1, 0, on_retry, in);
    in->conn = conn_accepted(&t->conns, fd, &ops, in);
    in->digest = XXH3_createState();
    ASSERT(in->retry != NULL && in->conn != NULL && in->digest != NULL);
    in->next = t->inbound;
    if (t->inbound != NULL)
        t->inbound->prev = in;
    t->inbound = in;
    atomic_fetch_add(&n->sessions, 1);
    stat_add(STAT_SESSIONS, 1);
    stat_add(STAT_SESSIONS_TOTAL, 1);
    LOG(EV_CONNECT, L_CSTR("client", in->peer));
    feed_and_pump(in, &(struct smtpd_event){.type = SMTPD_EV_OPEN,
                                            .shutting_down = atomic_load(&n->stopping)});
}

void inbound_drain(struct smtp_thread *t)
{
    struct inbound *next;

    for (struct inbound *in = t->inbound; in != NULL; in = next) {
        next = in->next;
        inbound_judge_hurry(in);
        inbound_delegate_hurry(in);
        inbound_grey_hurry(in);
        inbound_auth_hurry(in);
        if (in->conn != NULL)
            feed_and_pump(in, &(struct smtpd_event){.type = SMTPD_EV_SHUTDOWN});
    }
}

void inbound_close_all(struct smtp_thread *t)
{
    struct inbound *next;

    for (struct inbound *in = t->inbound; in != NULL; in = next) {
        next = in->next;
        if (in->conn != NULL)
            end_session(in, false);
    }
}
