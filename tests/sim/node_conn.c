/* The smtp thread's connections to primaries: the shell around node/delivery/smtpc. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "node/delivery/stuff.h"
#include "tests/sim/mail.h"

#define WAY_US    (8 * MS) /* between a node and a primary */
#define OUT_BYTES 4096     /* of one answer of a primary */

struct conn_out {
    struct conn_out *next, *prev;
    struct node *node;
    uint64_t id;
    unsigned primary;
    struct smtpc smtpc;
    struct reply reply;
    char *in; /* what came and was not read */
    size_t in_n;
    bool was_ready, in_job, closing;
    uint64_t opened_ms, open_deadline_ms, greet_ms, timer_ms;
    uint64_t out_at_us, back_at_us; /* bytes stay in order */
    struct primary_conn *peer;
    struct job_out *first, **last;
};

static void step(struct conn_out *o, struct smtpc_event ev);

static struct conn_out *find(struct node *n, uint64_t id)
{
    struct conn_out *o = n->conns;

    while (o != NULL && o->id != id)
        o = o->next;
    return o;
}

static void conn_free(struct conn_out *o)
{
    if (o->prev != NULL)
        o->prev->next = o->next;
    else
        o->node->conns = o->next;
    if (o->next != NULL)
        o->next->prev = o->prev;
    free(o->in); /* the peer's side lives on until all that was sent has arrived */
    free(o);
}

/* --- Bytes on their way --- */

struct wire {
    struct node *node;
    uint64_t life, conn;
    struct primary_conn *peer;
    unsigned primary;
    bool end;
    size_t n;
    char b[];
};

static struct wire *wire_new(struct conn_out *o, const char *b, size_t n)
{
    struct wire *w = malloc(sizeof *w + n);

    ASSERT(w != NULL);
    *w = (struct wire){o->node, o->node->life, o->id, o->peer, o->primary, false, n};
    if (n > 0)
        memcpy(w->b, b, n);
    return w;
}

static void read_replies(struct conn_out *o)
{
    while (!o->closing && o->in_n > 0) {
        struct smtpc_event ev = {.type = SMTPC_EV_REPLY};
        enum reply_status status;
        struct reply done;
        size_t used;

        status = reply_feed(&o->reply, (struct str){o->in, o->in_n}, &used);
        memmove(o->in, o->in + used, o->in_n - used);
        o->in_n -= used;
        if (status == REPLY_MORE)
            continue;
        done = o->reply;
        reply_reset(&o->reply);
        ev.reply = &done;
        if (status == REPLY_BAD)
            ev = (struct smtpc_event){.type = SMTPC_EV_ODDITY, .bad = done.bad};
        step(o, ev);
    }
}

static void end_turn(struct conn_out *o)
{
    struct node *n = o->node;

    if (!o->closing)
        read_replies(o);
    if (o->closing)
        conn_free(o);
    mail_poke(n);
}

static void back(struct node *n, void *arg)
{
    struct wire *w = arg;
    struct conn_out *o = find(n, w->conn);

    if (o != NULL && w->n > 0) {
        o->in = realloc(o->in, o->in_n + w->n);
        ASSERT(o->in != NULL);
        memcpy(o->in + o->in_n, w->b, w->n);
        o->in_n += w->n;
        if (w->end) {
            read_replies(o);
            if (!o->closing)
                step(o, (struct smtpc_event){.type = SMTPC_EV_CLOSED});
        }
        end_turn(o);
    } else if (o != NULL && w->end) {
        step(o, (struct smtpc_event){.type = SMTPC_EV_CLOSED});
        end_turn(o);
    }
    free(w);
}

static void send_back(struct wire *w, const char *b, size_t n, bool end, uint64_t delay_us)
{
    struct wire *r = malloc(sizeof *r + n);

    ASSERT(r != NULL);
    *r = *w;
    r->end = end;
    r->n = n;
    if (n > 0)
        memcpy(r->b, b, n);
    if (w->node->up && w->node->life == w->life)
        node_post(w->node, WAY_US + delay_us, back, r);
    else
        free(r);
}

static void at_primary(void *arg)
{
    struct wire *w = arg;
    char out[OUT_BYTES];
    uint64_t delay_us;
    bool end;
    size_t n =
        primary_feed(w->peer, (struct str){w->b, w->n}, out, sizeof out, &end, &delay_us);

    if (n > 0 || end)
        send_back(w, out, n, end, delay_us);
    free(w);
}

static void send_out(struct conn_out *o, const char *b, size_t n)
{
    uint64_t at = world_now() + WAY_US + n / 10;

    if (n == 0 || o->peer == NULL)
        return;
    o->out_at_us = at > o->out_at_us ? at : o->out_at_us + 1;
    world_at(o->out_at_us, at_primary, wire_new(o, b, n));
}

/* --- Jobs --- */

static struct job_out *take_first(struct conn_out *o)
{
    struct job_out *j = o->first;

    o->first = j->next;
    if (o->first == NULL)
        o->last = &o->first;
    return j;
}

static enum sched_failure failure_of(const struct smtpc_closed *c)
{
    return c->at == AT_CONNECT  ? SCHED_FAIL_CONNECT
           : c->at == AT_BANNER ? SCHED_FAIL_GREETING
                                : SCHED_FAIL_EHLO;
}

static void finish(struct conn_out *o, enum sched_failure failure)
{
    struct node *n = o->node;

    o->closing = true;
    while (o->first != NULL)
        mail_untried(n, take_first(o));
    mail_tell(n, &(struct sched_event){.type = o->was_ready ? SCHED_EV_CONN_CLOSED
                                                            : SCHED_EV_CONN_FAILED,
                                       .conn = o->id,
                                       .failure = failure});
}

static void start_job(struct conn_out *o)
{
    struct job_out *j = o->first;
    struct smtpc_job job = {.env = &j->env,
                            .rcpts = j->rcpts,
                            .rcpt_count = j->rcpt_count,
                            .size_bytes = j->env.trace_header.n + j->env.body_bytes,
                            .consent = j->consent   ? SMTPC_CONSENT_GIVEN
                                       : j->refused ? SMTPC_CONSENT_REFUSED
                                                    : SMTPC_CONSENT_ASKED};

    o->in_job = true;
    step(o, (struct smtpc_event){.type = SMTPC_EV_JOB, .job = &job});
}

static bool stuffed(struct stuff *s, struct str in, char **out, size_t *n, size_t *room)
{
    while (in.n > 0) {
        size_t got;

        if (*n + 2 * in.n + 16 > *room) {
            *room = 2 * (*room + 2 * in.n + 16);
            *out = realloc(*out, *room);
            ASSERT(*out != NULL);
        }
        if (stuff_step(s, &in, *out + *n, *room - *n, &got) != OK)
            return false;
        *n += got;
    }
    return true;
}

/* The whole body at once; *out is the caller's. */
static bool make_body(struct conn_out *o, char **out, size_t *n)
{
    static char piece[SPOOL_READ_BYTES];
    const struct job_out *j = o->first;
    struct stuff s;
    size_t room = 0, got = 1;
    uint64_t at = 0;
    bool good;

    stuff_init(&s);
    data_seen(o->node);
    good = stuffed(&s, j->env.trace_header, out, n, &room);
    while (good && got > 0) {
        enum err e =
            spool_read_body(o->node->read.reader, &j->env, at, piece, sizeof piece, &got);

        if (e == E_CORRUPT)
            replica_damaged(o->node->replica, j->env.id, node_ms(o->node));
        good = e == OK && stuffed(&s, (struct str){piece, got}, out, n, &room);
        at += got;
    }
    return good && stuff_end(&s) == OK;
}

static void send_body(struct conn_out *o)
{
    char *body = NULL;
    size_t n = 0;
    bool good = make_body(o, &body, &n);

    if (good)
        send_out(o, body, n);
    free(body);
    step(o, (struct smtpc_event){.type = good ? SMTPC_EV_BODY_SENT : SMTPC_EV_BODY_FAILED});
}

/* --- The turn --- */

static void on_timer(struct node *n, void *arg)
{
    uint64_t id = *(uint64_t *)arg;
    struct conn_out *o = find(n, id);

    free(arg);
    if (o == NULL || node_ms(n) < o->timer_ms || o->timer_ms == 0)
        return;
    if (o->open_deadline_ms > 0 && node_ms(n) >= o->open_deadline_ms)
        finish(o, o->smtpc.state == SC_CONNECT ? SCHED_FAIL_CONNECT : SCHED_FAIL_GREETING);
    else
        step(o, (struct smtpc_event){.type = SMTPC_EV_TIMEOUT});
    end_turn(o);
}

static void set_timer(struct conn_out *o, uint64_t deadline_ms)
{
    uint64_t *id;

    if (o->open_deadline_ms > 0 && (deadline_ms == 0 || o->open_deadline_ms < deadline_ms))
        deadline_ms = o->open_deadline_ms;
    if (deadline_ms == o->timer_ms)
        return;
    o->timer_ms = deadline_ms;
    if (deadline_ms == 0)
        return;
    id = malloc(sizeof *id);
    ASSERT(id != NULL);
    *id = o->id;
    node_at(o->node, world_when_boot(&o->node->clock, deadline_ms * 1000), on_timer, id);
}

static void first_ready(struct conn_out *o)
{
    o->was_ready = true;
    o->open_deadline_ms = 0;
    mail_tell(o->node, &(struct sched_event){.type = SCHED_EV_CONN_READY,
                                             .conn = o->id,
                                             .latency_ms = node_ms(o->node) - o->opened_ms});
}

static void act(struct conn_out *o, enum smtpc_do what)
{
    switch (what) {
    case SMTPC_DO_NOTHING:
    case SMTPC_DO_START_TLS:
    case SMTPC_DO_SEND_DOT:
        break;
    case SMTPC_DO_CHECK_INPUT:
        step(o, (struct smtpc_event){.type = reply_begun(&o->reply) || o->in_n > 0
                                                 ? SMTPC_EV_INPUT_PENDING
                                                 : SMTPC_EV_INPUT_EMPTY});
        break;
    case SMTPC_DO_SEND_BODY:
        send_body(o);
        break;
    }
}

static void step(struct conn_out *o, struct smtpc_event ev)
{
    struct smtpc_out *out;
    struct node *n = o->node;
    bool ready;
    enum smtpc_do what;

    if (o->closing)
        return;
    out = malloc(sizeof *out);
    ASSERT(out != NULL);
    ev.now_ms = node_ms(n);
    smtpc_step(&o->smtpc, &ev, out);
    what = out->act;
    ready = out->ready;
    if (what == SMTPC_DO_SEND_DOT && !mail_may_send(n, o->first)) {
        /* Frozen for longer than the peers wait: the dot stays here. */
        free(out);
        step(o, (struct smtpc_event){.type = SMTPC_EV_CLOSED});
        return;
    }
    if (what == SMTPC_DO_SEND_DOT)
        check_dot_sent(o->first->env.id, n->index);
    send_out(o, out->send, out->send_n);
    set_timer(o, out->close ? 0 : out->deadline_ms);
    if (out->result != NULL) {
        o->in_job = false;
        mail_result(n, take_first(o), out->result);
    }
    if (out->close) {
        finish(o, o->was_ready ? SCHED_FAIL_NONE : failure_of(out->closed));
        free(out);
        return;
    }
    free(out);
    if (ready && !o->was_ready)
        first_ready(o);
    act(o, what);
    if (ready && !o->closing && !o->in_job && o->first != NULL)
        start_job(o);
}

/* --- For the scheduler --- */

static void connected(struct node *n, void *arg)
{
    uint64_t id = *(uint64_t *)arg;
    struct conn_out *o = find(n, id);
    struct wire *hello;

    free(arg);
    if (o == NULL)
        return;
    if (primary_get(o->primary) == PRIMARY_DOWN) {
        step(o, (struct smtpc_event){.type = SMTPC_EV_CLOSED});
        end_turn(o);
        return;
    }
    o->peer = primary_accept(o->primary);
    o->open_deadline_ms = node_ms(n) + o->greet_ms;
    hello = wire_new(o, NULL, 0);
    world_at(world_now() + WAY_US, at_primary, hello);
    step(o, (struct smtpc_event){.type = SMTPC_EV_CONNECTED});
    end_turn(o);
}

void conn_open(struct node *n, const struct sched_action *a)
{
    struct conn_out *o = calloc(1, sizeof *o);
    struct smtpc_options opt = {.helo = STR("mx.sim.example"), .tls = SMTPC_TLS_OFF};
    uint64_t *id = malloc(sizeof *id);

    ASSERT(o != NULL && id != NULL);
    o->node = n;
    o->id = *id = a->conn;
    o->primary = (unsigned)a->ip.b[15] - 1;
    o->last = &o->first;
    o->opened_ms = node_ms(n);
    o->greet_ms = a->greet_ms;
    o->open_deadline_ms = o->opened_ms + a->connect_ms;
    reply_reset(&o->reply);
    smtpc_init(&o->smtpc, &opt, o->opened_ms);
    o->next = n->conns;
    if (n->conns != NULL)
        n->conns->prev = o;
    n->conns = o;
    set_timer(o, 0);
    node_post(n, 2 * WAY_US, connected, id);
}

void conn_quit(struct node *n, uint64_t id)
{
    struct conn_out *o = find(n, id);

    if (o == NULL)
        return;
    step(o, (struct smtpc_event){.type = SMTPC_EV_QUIT});
    end_turn(o);
}

void conn_give(struct node *n, struct job_out *j)
{
    struct conn_out *o = find(n, j->conn);

    j->next = NULL;
    if (o == NULL) {
        mail_untried(n, j);
        return;
    }
    *o->last = j;
    o->last = &j->next;
    if (!o->in_job && o->smtpc.state == SC_READY)
        start_job(o);
    end_turn(o);
}

void conn_consent(struct node *n, struct job_out *j)
{
    struct conn_out *o = find(n, j->conn);

    if (o == NULL)
        return;
    if (o->in_job && o->first == j)
        step(o, (struct smtpc_event){.type = SMTPC_EV_CONSENT, .yes = j->consent});
    end_turn(o);
}

void conn_close_all(struct node *n)
{
    while (n->conns != NULL)
        conn_free(n->conns);
}
