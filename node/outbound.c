/* One SMTP session with a primary: the shell around node/delivery/smtpc. The cluster thread
 * says where to connect and which message to send; this moves bytes and reports. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "base/utf8.h"
#include "node/cluster.h"
#include "node/delivery/stuff.h"
#include "node/net/conn.h"
#include "node/smtp_thread.h"

#define UNHEARD_MS       11000  /* a machine that is gone is noticed, as by keepalive */
#define BODY_AHEAD_BYTES 131072 /* produced and not yet with the kernel */
/* Locals are zeroed in this build: with SPOOL_READ_BYTES that cost more than sending 4 KB. */
#define BODY_PIECE_BYTES 16384

enum body_source { BODY_NONE, BODY_TRACE, BODY_STORED, BODY_ENDED };

struct outbound {
    struct outbound *next, *prev;
    struct smtp_thread *thread;
    struct snapshot_ref *settings;
    struct conn *conn;
    uint64_t id;
    struct route_ip ip;
    uint16_t port;
    char host[LIMIT_SMTP_DOMAIN_BYTES + 1];
    enum smtpc_tls tls;
    bool was_ready, in_job, closing;
    uint64_t opened_us, dot_us;
    uint64_t open_deadline_ms, greet_ms;

    struct delivery_job *first, **last; /* first is the one under way when in_job */
    enum body_source source;
    struct stuff stuff;
    uint64_t body_at; /* bytes of the current source that were read */
    bool body_waits; /* all is sent, and the consent has grown old: asked anew before the dot */

    struct reply reply;
    struct smtpc smtpc;
};

static const struct node_settings *settings_of(const struct outbound *o)
{
    return snapshot_value(o->settings);
}

static void step(struct outbound *o, struct smtpc_event *ev);
static void body_pump(struct outbound *o);

/* --- reports to the cluster thread --- */

static struct conn_report *report_new(uint64_t conn, struct route_ip ip, uint16_t port)
{
    struct conn_report *r = calloc(1, sizeof *r);

    ASSERT(r != NULL);
    r->conn = conn;
    r->ip = ip;
    r->port = port;
    return r;
}

static void report(struct smtp_thread *t, struct conn_report *r, enum cluster_mail kind)
{
    r->mail.kind = (int)kind;
    mailbox_answer(cluster_box(t->node->cluster), &r->mail);
}

static void return_job(struct outbound *o)
{
    struct delivery_job *j = o->first;

    o->first = j->next;
    if (o->first == NULL)
        o->last = &o->first;
    j->mail.kind = CLUSTER_MAIL_RESULT;
    mailbox_answer(cluster_box(o->thread->node->cluster), &j->mail);
}

static enum sched_failure failure_of(const struct smtpc_closed *c)
{
    if (c->why == SMTPC_WHY_TLS_FAILED || c->why == SMTPC_WHY_TLS_MISSING)
        return SCHED_FAIL_TLS;
    switch (c->at) {
    case AT_CONNECT:
        return SCHED_FAIL_CONNECT;
    case AT_BANNER:
        return SCHED_FAIL_GREETING;
    default:
        return SCHED_FAIL_EHLO;
    }
}

static void outbound_free(struct outbound *o)
{
    if (o->prev != NULL)
        o->prev->next = o->next;
    else
        o->thread->outbound = o->next;
    if (o->next != NULL)
        o->next->prev = o->prev;
    snapshot_release(&o->settings);
    stat_add(STAT_CONNS_OUT, -1);
    free(o);
}

/* The connection is over. Jobs that were not tried go back first: the cluster thread must take
 * their marks back before the scheduler gives them to another connection. */
static void finish(struct outbound *o, enum sched_failure failure, const struct smtpc_closed *c)
{
    struct conn_report *r = report_new(o->id, o->ip, o->port);

    while (o->first != NULL)
        return_job(o);
    r->failure = failure;
    if (c != NULL) {
        r->odd = c->why == SMTPC_WHY_ODDITY;
        r->code = c->code;
        snprintf(r->text, sizeof r->text, STR_FMT, STR_ARG(c->reply));
    }
    report(o->thread, r, o->was_ready ? CLUSTER_MAIL_CLOSED : CLUSTER_MAIL_FAILED);
    if (c != NULL && c->why == SMTPC_WHY_QUIT)
        conn_finish(&o->conn);
    else
        conn_close(&o->conn);
}

/* --- the body --- */

static void body_failed(struct outbound *o, enum err e)
{
    o->source = BODY_NONE;
    if (e == E_CORRUPT && o->thread->node->replica != NULL)
        replica_thread_damaged(o->thread->node->replica, o->first->env.id);
    LOG(EV_SPOOL_CORRUPT, L_MID(o->first->env.id), L_ERR(e), L_CSTR("at", "delivery"));
    step(o, &(struct smtpc_event){.type = SMTPC_EV_BODY_FAILED});
}

/* The next piece of what is sent, at most `size` bytes; empty at its end. */
static enum err body_read(struct outbound *o, char *buf, size_t size, struct str *piece)
{
    const struct delivery_job *j = o->first;
    struct str text = j->dsn ? j->dsn_text : j->env.trace_header;
    size_t n = 0;
    enum err e = OK;

    if (o->source == BODY_TRACE) {
        o->source = j->dsn && j->env.digest_until_ms == 0 ? BODY_ENDED : BODY_STORED;
        *piece = text;
        return OK;
    }
    if (o->source == BODY_STORED) {
        e = spool_read_body(o->thread->reader, &j->env, o->body_at, buf, size, &n);
        if (e == OK && n == 0)
            o->source = BODY_ENDED;
        o->body_at += n;
    }
    *piece = (struct str){buf, n};
    return e;
}

static enum err body_produce(struct outbound *o)
{
    char in[BODY_PIECE_BYTES], out[2 * BODY_PIECE_BYTES + STUFF_MIN_ROOM];
    struct str piece;
    size_t n;
    enum err e = OK;

    while (e == OK && o->source != BODY_ENDED &&
           conn_output_pending(o->conn) < BODY_AHEAD_BYTES) {
        e = body_read(o, in, sizeof in, &piece);
        while (e == OK && piece.n > 0) {
            e = stuff_step(&o->stuff, &piece, out, sizeof out, &n);
            if (e == OK)
                conn_write(o->conn, (struct str){out, n});
        }
    }
    if (e == OK && o->source == BODY_ENDED)
        e = stuff_end(&o->stuff);
    return e;
}

/* Of a member: a yes that was given long ago will not do for this dot. */
static bool is_stale(const struct outbound *o, const struct delivery_job *j)
{
    return o->thread->node->replica != NULL && j->consent &&
           clock_boot_ms() >= j->consent_ms + REPLICA_CONSENT_MS / 2;
}

static void ask_anew(struct outbound *o, struct delivery_job *j)
{
    replica_thread_dot(o->thread->node->replica,
                       &delivery_job_ask(j, o->thread->box, SMTP_MAIL_CONSENT)->ask);
}

static void body_pump(struct outbound *o)
{
    enum err e;

    if (o->source == BODY_NONE)
        return;
    e = o->source == BODY_ENDED ? OK : body_produce(o);
    if (e != OK) {
        body_failed(o, e);
    } else if (o->source == BODY_ENDED && conn_output_pending(o->conn) == 0) {
        o->source = BODY_NONE;
        o->body_waits = is_stale(o, o->first);
        if (o->body_waits)
            ask_anew(o, o->first);
        else
            step(o, &(struct smtpc_event){.type = SMTPC_EV_BODY_SENT});
    }
}

/* --- the turn --- */

/* A notification is ASCII: it is the address that may not be. */
static bool needs_smtputf8(const struct delivery_job *j)
{
    return j->dsn ? utf8_has_8bit(j->env.sender) : j->env.smtputf8;
}

static void start_job(struct outbound *o)
{
    struct delivery_job *j = o->first;
    struct smtpc_job job = {.env = &j->env,
                            .rcpts = j->rcpts,
                            .rcpt_count = j->rcpt_count,
                            .dsn = j->dsn,
                            .asks = j->asks,
                            .eight_bit = !j->dsn && j->env.eight_bit,
                            .smtputf8 = needs_smtputf8(j),
                            .size_bytes = j->size_bytes};

    if (is_stale(o, j))
        ask_anew(o, j);
    if (j->careful && !j->consent && !j->no_consent)
        return; /* a no before the first command costs nothing, a later one the connection */
    job.consent = j->consent      ? SMTPC_CONSENT_GIVEN
                  : j->no_consent ? SMTPC_CONSENT_REFUSED
                                  : SMTPC_CONSENT_ASKED;
    o->smtpc.opt.eight_bit = j->eight_bit; /* of the message's domain, not of the session */
    o->in_job = true;
    o->dot_us = 0;
    step(o, &(struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
}

static void check_input(struct outbound *o)
{
    bool pending = reply_begun(&o->reply) || conn_input_pending(o->conn);

    step(o, &(struct smtpc_event){.type =
                                      pending ? SMTPC_EV_INPUT_PENDING : SMTPC_EV_INPUT_EMPTY});
}

static void take_result(struct outbound *o, const struct smtpc_result *result)
{
    struct delivery_job *j = o->first;

    ASSERT(o->in_job && j != NULL);
    j->result = smtpc_result_copy(result, &j->arena);
    ASSERT(j->result != NULL); /* the job's arena has room for it */
    j->latency_ms = o->dot_us > 0 ? (clock_boot_us() - o->dot_us) / 1000 : 0;
    o->in_job = o->body_waits = false;
    o->source = BODY_NONE;
    return_job(o);
}

static void first_ready(struct outbound *o)
{
    struct conn_report *r = report_new(o->id, o->ip, o->port);

    o->was_ready = true;
    o->open_deadline_ms = 0;
    r->latency_ms = (clock_boot_us() - o->opened_us) / 1000;
    report(o->thread, r, CLUSTER_MAIL_READY);
}

static void act(struct outbound *o, const struct smtpc_out *out)
{
    switch (out->act) {
    case SMTPC_DO_NOTHING:
        break;
    case SMTPC_DO_CHECK_INPUT:
        check_input(o);
        break;
    case SMTPC_DO_START_TLS:
        reply_reset(&o->reply);
        conn_start_tls(o->conn, settings_of(o)->client_tls, false, o->host,
                       o->tls == SMTPC_TLS_REQUIRE &&
                           settings_of(o)->config->delivery.tls_ca_file != NULL);
        break;
    case SMTPC_DO_SEND_BODY:
        stuff_init(&o->stuff);
        o->source = BODY_TRACE;
        o->body_at = 0;
        body_pump(o);
        break;
    case SMTPC_DO_SEND_DOT:
        o->dot_us = clock_boot_us();
        break;
    }
}

static bool may_send(const struct outbound *o, uint64_t now_ms)
{
    return o->thread->node->replica == NULL || delivery_job_may_send(o->first, now_ms);
}

/* One event in; performs what comes out. The session may be over afterwards (o->closing). */
static void step(struct outbound *o, struct smtpc_event *ev)
{
    struct smtpc_out out;
    uint64_t now_ms = clock_boot_ms(), deadline_ms;

    if (o->closing)
        return;
    ev->now_ms = now_ms;
    smtpc_step(&o->smtpc, ev, &out);
    if (out.act == SMTPC_DO_SEND_DOT && !may_send(o, now_ms)) {
        /* frozen for longer than the peers wait: the dot stays here */
        step(o, &(struct smtpc_event){.type = SMTPC_EV_CLOSED});
        return;
    }
    conn_write(o->conn, (struct str){out.send, out.send_n});
    deadline_ms = out.deadline_ms;
    if (o->open_deadline_ms > 0 && (deadline_ms == 0 || o->open_deadline_ms < deadline_ms))
        deadline_ms = o->open_deadline_ms;
    conn_deadline(o->conn, out.close ? 0 : deadline_ms, now_ms);
    if (out.result != NULL)
        take_result(o, out.result);
    if (out.close) {
        o->closing = true;
        finish(o, o->was_ready ? SCHED_FAIL_NONE : failure_of(out.closed), out.closed);
        return;
    }
    if (out.ready && !o->was_ready)
        first_ready(o);
    act(o, &out);
    if (out.ready && !o->closing && !o->in_job && o->first != NULL)
        start_job(o);
}

static void read_replies(struct outbound *o)
{
    while (!o->closing) {
        struct str unread = conn_input(o->conn);
        struct smtpc_event ev = {.type = SMTPC_EV_REPLY, .reply = &o->reply};
        enum reply_status status;
        size_t used;

        if (unread.n == 0)
            return;
        status = reply_feed(&o->reply, unread, &used);
        conn_consume(o->conn, used);
        if (status == REPLY_MORE)
            continue;
        if (status == REPLY_BAD)
            ev = (struct smtpc_event){.type = SMTPC_EV_ODDITY, .bad = o->reply.bad};
        if (status == REPLY_DONE) {
            struct reply done = o->reply; /* the check of the step looks at the parser */

            reply_reset(&o->reply);
            ev.reply = &done;
            step(o, &ev);
        } else {
            step(o, &ev);
        }
    }
}

/* The node stops: no waiting for a goodbye. */
static void cut(struct outbound *o)
{
    if (o->in_job) /* the session makes the result: a dot that was sent must be flagged */
        step(o, &(struct smtpc_event){.type = SMTPC_EV_CLOSED});
    if (o->closing)
        return;
    o->closing = true;
    finish(o, SCHED_FAIL_LOCAL, NULL);
}

/* All callbacks end here: bytes that a check has read are fed, and what is over is freed. */
static void end_turn(struct outbound *o)
{
    if (!o->closing)
        read_replies(o);
    if (!o->closing && o->thread->draining && !o->in_job)
        cut(o);
    if (o->closing)
        outbound_free(o);
}

static void on_connected(void *owner)
{
    struct outbound *o = owner;

    o->open_deadline_ms = clock_boot_ms() + o->greet_ms;
    step(o, &(struct smtpc_event){.type = SMTPC_EV_CONNECTED});
    end_turn(o);
}

static void on_input(void *owner)
{
    end_turn(owner);
}

static void on_drained(void *owner)
{
    struct outbound *o = owner;

    body_pump(o);
    end_turn(o);
}

static void on_tls(void *owner)
{
    struct outbound *o = owner;

    step(o, &(struct smtpc_event){.type = SMTPC_EV_TLS, .yes = true});
    end_turn(o);
}

static void on_timeout(void *owner)
{
    struct outbound *o = owner;

    if (o->open_deadline_ms > 0 && clock_boot_ms() >= o->open_deadline_ms) {
        o->closing = true;
        finish(o, o->smtpc.state == SC_CONNECT ? SCHED_FAIL_CONNECT : SCHED_FAIL_GREETING,
               NULL);
    } else {
        step(o, &(struct smtpc_event){.type = SMTPC_EV_TIMEOUT});
    }
    end_turn(o);
}

static void on_end(void *owner, enum conn_end why)
{
    struct outbound *o = owner;

    read_replies(o);
    step(o, &(struct smtpc_event){.type =
                                      why == CONN_TLS_FAILED ? SMTPC_EV_TLS : SMTPC_EV_CLOSED});
    end_turn(o);
}

static const struct conn_ops ops = {.on_connected = on_connected,
                                    .on_input = on_input,
                                    .on_drained = on_drained,
                                    .on_tls = on_tls,
                                    .on_timeout = on_timeout,
                                    .on_end = on_end};

/* --- for the thread --- */

static struct outbound *find(struct smtp_thread *t, uint64_t id)
{
    struct outbound *o = t->outbound;

    while (o != NULL && o->id != id)
        o = o->next;
    return o;
}

static socklen_t address(const struct conn_order *r, struct sockaddr_storage *ss)
{
    struct sockaddr_in *a4 = (void *)ss;
    struct sockaddr_in6 *a6 = (void *)ss;

    memset(ss, 0, sizeof *ss);
    if (route_ip_is_v4(r->ip)) {
        a4->sin_family = AF_INET;
        a4->sin_port = htons(r->port);
        memcpy(&a4->sin_addr, r->ip.b + 12, 4);
        return sizeof *a4;
    }
    a6->sin6_family = AF_INET6;
    a6->sin6_port = htons(r->port);
    memcpy(&a6->sin6_addr, r->ip.b, 16);
    return sizeof *a6;
}

static struct outbound *outbound_new(struct smtp_thread *t, const struct conn_order *r)
{
    struct outbound *o = calloc(1, sizeof *o);
    uint64_t now_ms = clock_boot_ms();
    struct smtpc_options opt = {.tls = r->tls};

    if (o == NULL)
        return NULL;
    o->thread = t;
    o->id = r->conn;
    o->ip = r->ip;
    o->port = r->port;
    o->tls = r->tls;
    o->last = &o->first;
    o->opened_us = clock_boot_us();
    o->greet_ms = r->greet_ms;
    o->open_deadline_ms = now_ms + r->connect_ms;
    memcpy(o->host, r->host, sizeof o->host);
    o->settings = snapshot_hold(t->node->settings);
    opt.helo = str_of(settings_of(o)->config->delivery.helo);
    reply_reset(&o->reply);
    smtpc_init(&o->smtpc, &opt, now_ms);
    o->next = t->outbound;
    if (t->outbound != NULL)
        t->outbound->prev = o;
    t->outbound = o;
    smtp_thread_beat(t);
    stat_add(STAT_CONNS_OUT, 1);
    return o;
}

void outbound_open(struct smtp_thread *t, struct conn_order *r)
{
    struct outbound *o = t->joined ? NULL : outbound_new(t, r);
    struct sockaddr_storage ss;
    socklen_t n = address(r, &ss);
    enum err e;

    if (o == NULL) {
        struct conn_report *failed = report_new(r->conn, r->ip, r->port);

        failed->failure = SCHED_FAIL_LOCAL;
        report(t, failed, CLUSTER_MAIL_FAILED);
    } else {
        e = conn_connect(&t->conns, (struct sockaddr *)&ss, n, &ops, o, &o->conn);
        if (e != OK) {
            o->closing = true;
            finish(o, e == E_FULL ? SCHED_FAIL_LOCAL : SCHED_FAIL_CONNECT, NULL);
            outbound_free(o);
        } else {
            conn_deadline(o->conn, o->open_deadline_ms, clock_boot_ms());
        }
    }
    free(r);
}

void outbound_quit(struct smtp_thread *t, struct conn_order *r)
{
    struct outbound *o = find(t, r->conn);

    free(r);
    if (o == NULL)
        return; /* it has ended by itself, the report is on its way */
    step(o, &(struct smtpc_event){.type = SMTPC_EV_QUIT});
    end_turn(o);
}

void outbound_give(struct smtp_thread *t, struct delivery_job *j)
{
    struct outbound *o = find(t, j->conn);

    j->next = NULL;
    if (o == NULL) { /* it ended while the job was on its way */
        j->mail.kind = CLUSTER_MAIL_RESULT;
        mailbox_answer(cluster_box(t->node->cluster), &j->mail);
        return;
    }
    *o->last = j;
    o->last = &j->next;
    if (!o->in_job && o->smtpc.state == SC_READY)
        start_job(o);
    end_turn(o);
}

void outbound_consent(struct smtp_thread *t, struct writer_request *r)
{
    struct outbound *o = find(t, r->tag);
    struct delivery_job *j = o != NULL ? o->first : NULL;
    bool yes = r->err == OK;

    while (j != NULL && mid_cmp(j->env.id, r->id) != 0)
        j = j->next;
    writer_request_free(t->node->writer, &r);
    if (j == NULL)
        return;
    j->consent = yes;
    j->no_consent = !yes;
    if (o->in_job && j == o->first)
        step(o, &(struct smtpc_event){.type = SMTPC_EV_CONSENT, .yes = yes});
    end_turn(o);
}

static struct delivery_job *find_job(struct outbound *o, struct mid id)
{
    struct delivery_job *j = o != NULL ? o->first : NULL;

    while (j != NULL && mid_cmp(j->env.id, id) != 0)
        j = j->next;
    return j;
}

/* The word on the job that is under way. */
static void on_word(struct outbound *o, bool yes)
{
    if (!o->body_waits) {
        step(o, &(struct smtpc_event){.type = SMTPC_EV_CONSENT, .yes = yes});
        return;
    }
    o->body_waits = false;
    step(o, &(struct smtpc_event){.type = yes ? SMTPC_EV_BODY_SENT : SMTPC_EV_BODY_FAILED});
}

void outbound_answer(struct smtp_thread *t, struct consent_ask *a)
{
    struct outbound *o = find(t, a->conn);
    struct delivery_job *j = find_job(o, a->ask.id);

    if (j == NULL || j->ask_tag != a->ask.tag) { /* back already; it may speak of a doubt */
        a->ask.mail.kind = CLUSTER_MAIL_CONSENT;
        mailbox_answer(cluster_box(t->node->cluster), &a->ask.mail);
        return;
    }
    j->consent = a->ask.yes;
    j->no_consent = !a->ask.yes;
    j->possible_duplicate |= a->ask.possible_duplicate;
    j->consent_ms = a->ask.asked_ms;
    j->retry_ms = a->ask.retry_ms;
    if (o->in_job && j == o->first)
        on_word(o, a->ask.yes);
    else if (!o->in_job && j == o->first && o->smtpc.state == SC_READY)
        start_job(o);
    free(a);
    end_turn(o);
}

/* The primary does not answer here: a try that has not sent its dot is cut. */
static void cut_unsent(struct outbound *o)
{
    if (o->smtpc.state == SC_DOT || o->smtpc.state == SC_FINAL)
        return;
    cut(o);
    outbound_free(o);
}

/* A job that waits in the queue goes back: the domain is given away. */
void outbound_recall(struct smtp_thread *t, struct conn_order *r)
{
    struct outbound *o = find(t, r->conn);
    struct delivery_job *j = find_job(o, r->id), **at;
    bool cuts = r->cuts;

    free(r);
    if (j == NULL)
        return;
    if (o->in_job && j == o->first) {
        if (cuts)
            cut_unsent(o);
        return;
    }
    for (at = &o->first; *at != j; at = &(*at)->next)
        ;
    *at = j->next;
    for (o->last = &o->first; *o->last != NULL; o->last = &(*o->last)->next)
        ;
    j->recalled = true;
    j->mail.kind = CLUSTER_MAIL_RESULT;
    mailbox_answer(cluster_box(t->node->cluster), &j->mail);
}

void outbound_pulse(struct smtp_thread *t)
{
    struct outbound *next;

    for (struct outbound *o = t->outbound; o != NULL; o = next) {
        next = o->next;
        if (o->conn == NULL || !conn_is_unheard(o->conn, UNHEARD_MS))
            continue;
        step(o, &(struct smtpc_event){.type = SMTPC_EV_CLOSED});
        end_turn(o);
    }
}

void outbound_drain(struct smtp_thread *t, bool hurry)
{
    struct outbound *next;

    for (struct outbound *o = t->outbound; o != NULL; o = next) {
        next = o->next;
        if (o->in_job && (!hurry || o->smtpc.state == SC_DOT || o->smtpc.state == SC_FINAL))
            continue; /* a dot without its reply would be a possible duplicate */
        cut(o);
        outbound_free(o);
    }
}

void outbound_close_all(struct smtp_thread *t)
{
    while (t->outbound != NULL) {
        struct outbound *o = t->outbound;

        cut(o);
        outbound_free(o);
    }
}
