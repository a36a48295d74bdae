/* A member of a cluster: consent before what ends messages, outcomes that the peers are told
 * of, and what the data plane says. tests/sim/node_mail.c does the same on virtual time. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/cluster_private.h"
#include "proto/record.h"

#define UNTRIED_MS 2000 /* a try that came to nothing, and nobody said for how long */
#define NOT_OURS_MS                                                                            \
    60000 /* the end of a message that another node holds is looked at again                   \
           */
#define FRESH_MS       10000 /* received a moment ago: its sender may be looking */
#define DSN_WALK_BATCH 2000  /* messages looked at in one turn */

void cluster_job_begin(struct cluster *c, struct delivery_job *j)
{
    char domain[LIMIT_SMTP_DOMAIN_BYTES];

    j->ask_tag = ++c->ask_serial;
    j->slot = control_slot_of(str_lower(j->env.domain, domain, sizeof domain));
    j->all_next = c->jobs;
    j->all_link = &c->jobs;
    if (j->all_next != NULL)
        j->all_next->all_link = &j->all_next;
    c->jobs = j;
}

/* --- what the scheduler is told --- */

static void gone(struct cluster *c, struct mid id)
{
    cluster_tell(c, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = id});
}

/* Notifications are known to the scheduler of their holder alone. */
static bool is_elsewhere(const struct cluster *c, const struct envelope *e)
{
    return e->phase == PHASE_DSN && !cluster_holds(c, e->domain, NULL);
}

/* ev: type, and times below which the message's own do not count. */
static void tell_message(struct cluster *c, const struct envelope *e, struct sched_event *ev)
{
    uint64_t next_ms = ev->message.next_ms, deadline_ms = ev->message.deadline_ms;
    bool is_fresh = ev->message.is_fresh;
    char domain[LIMIT_SMTP_DOMAIN_BYTES];

    if (is_elsewhere(c, e)) {
        gone(c, e->id);
        return;
    }
    if (!cluster_message_of(c, e, &ev->message, domain)) {
        if (next_ms == 0)
            cluster_dead_dsn(c, e->id);
        else
            cluster_rescan_later(c);
        return;
    }
    if (ev->message.next_ms < next_ms)
        ev->message.next_ms = next_ms;
    if (ev->message.deadline_ms < deadline_ms)
        ev->message.deadline_ms = deadline_ms;
    ev->message.is_fresh = is_fresh;
    ev->message.possible_duplicate = e->possible_duplicates > 0;
    cluster_tell(c, ev);
}

static void offer(struct cluster *c, struct mid id, struct sched_event *ev)
{
    struct arena a;
    struct envelope e;
    enum err err;

    if (c->ended)
        return;
    arena_init(&a, 3 * RECORD_ARENA_BYTES);
    err = spool_get(c->reader, id, &a, &e);
    if (err == OK) {
        ev->message.is_fresh = ev->type == SCHED_EV_MESSAGE_NEW &&
                               e.received_ms + FRESH_MS > control_now_ms(c->node->control);
        tell_message(c, &e, ev);
    } else {
        gone(c, id);
        if (err == E_CORRUPT)
            replica_thread_damaged(c->node->replica, id);
        if (err != E_NOTFOUND)
            cluster_rescan_later(c);
    }
    arena_reset(&a);
}

void cluster_offer(struct cluster *c, struct mid id, enum sched_event_type type,
                   uint64_t not_before_ms)
{
    struct sched_event ev = {.type = type, .message.next_ms = not_before_ms};

    offer(c, id, &ev);
}

/* Its end cannot be written now: neither a try nor the end before then. */
static void offer_later(struct cluster *c, struct mid id, uint64_t wait_ms)
{
    uint64_t at_ms = control_now_ms(c->node->control) + wait_ms;
    struct sched_event ev = {.type = SCHED_EV_MESSAGE_CHANGED,
                             .message = {.next_ms = at_ms, .deadline_ms = at_ms}};

    offer(c, id, &ev);
}

void cluster_news(struct cluster *c, const struct replica_event *ev)
{
    if (c->ended)
        return;
    switch (ev->kind) {
    case REPLICA_DELIVERABLE:
        cluster_offer(c, ev->id, SCHED_EV_MESSAGE_NEW, 0);
        break;
    case REPLICA_CHANGED:
        cluster_offer(c, ev->id, SCHED_EV_MESSAGE_CHANGED, 0);
        break;
    case REPLICA_GONE:
        gone(c, ev->id);
        break;
    case REPLICA_LINK:
        cluster_reach_link(c, ev->site, ev->open);
        break;
    case REPLICA_REACH:
        cluster_reach_heard(c, ev);
        break;
    default:
        break;
    }
}

/* --- marks --- */

static void closed(struct cluster *c, const struct delivery_job *j)
{
    if (j->slot_epoch != 0 && !c->ended)
        replica_thread_closed(c->node->replica, j->env.id, j->slot_epoch);
}

/* An earlier dot of the message may have been sent, and the mark that says so goes: the message
 * itself must say it from now on (docs/wire.md, 13). */
static void flag(struct cluster *c, struct delivery_job *j)
{
    j->outcome =
        (struct outcome){.env = j->env, .write = OUTCOME_UPDATE, .possible_duplicate = true};
    j->outcome.env.possible_duplicates++;
    cluster_write(c, j, true);
}

void cluster_unsent(struct cluster *c, struct delivery_job *j)
{
    /* spread: mail that waits for another's dots must not come back all at once, and first */
    uint64_t wait_ms =
        j->retry_ms > 0 ? j->retry_ms + prng_below(&c->rng, 2 * j->retry_ms + 1) : UNTRIED_MS;

    if (j->no_consent && j->retry_ms == 0)
        cluster_hold_look(c);
    if (j->possible_duplicate && !c->ended) {
        flag(c, j);
        return;
    }
    closed(c, j);
    cluster_offer(c, j->env.id, SCHED_EV_MESSAGE_CHANGED,
                  control_now_ms(c->node->control) + wait_ms);
    cluster_job_free(&j);
}

/* --- consent to an end that needs no connection --- */

static bool needs_consent(const struct outcome *o)
{
    return o->delivered + o->bounced + o->expired + o->purged > 0 || o->dsn_sent ||
           o->dsn_given_up || o->write == OUTCOME_SETTLE;
}

static void store(struct cluster *c, struct delivery_job *j);

/* Nothing is written of it: what asked for it asks again. */
static void drop(struct cluster *c, struct delivery_job *j)
{
    if (j->operation != 0)
        cluster_order_written(c, j->operation);
    cluster_job_free(&j);
}

static void ask(struct cluster *c, struct delivery_job *j)
{
    uint64_t epoch;

    if (!cluster_holds(c, j->env.domain, &epoch)) {
        struct mid id = j->env.id;

        closed(c, j);
        drop(c, j);
        offer_later(c, id, NOT_OURS_MS);
        return;
    }
    j->conn = 0;
    j->slot_epoch = epoch;
    replica_thread_dot(c->node->replica,
                       &delivery_job_ask(j, c->box, CLUSTER_MAIL_CONSENT)->ask);
}

/* A word that came when its job was back already; the mark is gone, or goes. */
static void late(struct cluster *c, const struct consent_ask *a)
{
    enum err e;
    struct delivery_job *j;

    if (!a->ask.yes || !a->ask.possible_duplicate || c->ended)
        return;
    j = cluster_load(c, a->ask.id, &e);
    if (j != NULL)
        flag(c, j);
}

void cluster_consented(struct cluster *c, struct consent_ask *a)
{
    struct delivery_job *j = a->job;

    if (j == NULL) {
        late(c, a);
    } else if (c->ended) {
        cluster_job_free(&j);
    } else if (a->ask.yes) {
        j->consent = true;
        if (a->ask.possible_duplicate) {
            j->outcome.env.possible_duplicates++;
            j->outcome.possible_duplicate = true;
        }
        store(c, j);
    } else {
        struct mid id = j->env.id;

        if (a->ask.retry_ms == 0)
            cluster_hold_look(c);
        drop(c, j);
        offer_later(c, id, a->ask.retry_ms > 0 ? a->ask.retry_ms : UNTRIED_MS);
        cluster_order_try(c, id);
    }
    free(a);
}

/* --- outcomes --- */

static struct copy_op *outcome_op(const struct cluster *c, const struct envelope *e)
{
    struct copy_op *op = calloc(1, sizeof *op);
    size_t size = envelope_encoded_size(e);

    ASSERT(op != NULL &&
           size > 0); /* it came out of the spool, and grows by texts with limits */
    op->keep = blob_new(size);
    ASSERT(op->keep != NULL);
    envelope_encode(e, op->keep->b);
    op->record =
        (struct copy_record){.kind = COPY_OUTCOME, .id = e->id, .envelope = blob_str(op->keep)};
    op->from = c->node->site;
    op->incarnation = control_thread_id(c->node->control)->incarnation;
    return op;
}

/* Durable here first; then the peers are told. */
static void store(struct cluster *c, struct delivery_job *j)
{
    struct writer_request *r = writer_request_new(WRITER_COPY, c->box, CLUSTER_MAIL_WRITTEN, j);

    ASSERT(r != NULL);
    r->copy = outcome_op(c, &j->outcome.env);
    r->id = j->env.id;
    j->next = c->writes;
    j->link = &c->writes;
    if (j->next != NULL)
        j->next->link = &j->next;
    c->writes = j;
    writer_post_always(c->node->writer, r);
}

void cluster_write_copy(struct cluster *c, struct delivery_job *j)
{
    if (j->consent || !needs_consent(&j->outcome))
        store(c, j);
    else
        ask(c, j);
}

/* Takes op->keep. */
static void tell_peers(struct cluster *c, const struct delivery_job *j, struct copy_op *op)
{
    bool is_final = op->state == COPY_SETTLED;

    if (c->ended)
        return; /* the next process tells it */
    replica_thread_outcome(c->node->replica, j->env.id, op->keep, is_final);
    op->keep = NULL;
    if (!is_final && !j->consent)
        closed(c, j); /* the question may be under way; behind a yes the outcome is enough */
}

void cluster_copy_written(struct cluster *c, struct writer_request *r)
{
    struct delivery_job *j = r->ctx;
    struct copy_op *op = r->copy;
    struct mid id = j->env.id;
    bool good = r->err == OK && op->answer.code == COPY_OK;

    if (good) {
        cluster_facts(j);
        cluster_learn(c, j);
        cluster_digest_ended(c, j);
        tell_peers(c, j, op);
    }
    if (good && op->state == COPY_SETTLED) {
        LOG(EV_MESSAGE_SETTLED, L_MID(id));
        gone(c, id);
    } else if (good) {
        cluster_offer(c, id, SCHED_EV_MESSAGE_CHANGED, 0);
    } else if (r->err == OK) { /* settled or aborted by a peer's word, or damaged: alarmed */
        gone(c, id);
        if (op->answer.code == COPY_DAMAGED)
            replica_thread_damaged(c->node->replica, id);
    }
    cluster_copy_free(&r->copy);
}

void cluster_copy_free(struct copy_op **op)
{
    blob_release(&(*op)->keep);
    blob_release(&(*op)->store_keep);
    free(*op);
    *op = NULL;
}

/* --- notifications of domains that came or went --- */

void cluster_dsn_walk(struct cluster *c)
{
    c->dsn_walk = (struct spool_cursor){.committed_only = true};
    c->dsn_walking = true;
}

struct dsn_walk {
    struct cluster *cluster;
    struct mid ids[DSN_WALK_BATCH];
    size_t count;
};

static bool on_dsn(void *user, const struct envelope *e, bool dot_open)
{
    struct dsn_walk *w = user;
    struct sched_message_view v;

    (void)dot_open;
    if (e->phase != PHASE_DSN ||
        sched_message_view(w->cluster->sched, e->id, &v) == !is_elsewhere(w->cluster, e))
        return true;
    w->ids[w->count++] = e->id;
    return true;
}

void cluster_dsn_step(struct cluster *c)
{
    struct dsn_walk *w;
    enum err e;

    if (!c->dsn_walking)
        return;
    w = calloc(1, sizeof *w);
    ASSERT(w != NULL);
    w->cluster = c;
    e = spool_scan(c->reader, &c->dsn_walk, DSN_WALK_BATCH, on_dsn, w);
    for (size_t i = 0; i < w->count; i++)
        cluster_offer(c, w->ids[i], SCHED_EV_MESSAGE_NEW, 0);
    free(w);
    c->dsn_walking = e == OK && !c->dsn_walk.end;
    if (e != OK)
        cluster_rescan_later(c);
}
