/* The cluster thread: scheduler, consent, results. What is decided is decided by
 * node/delivery and by the engine; this carries it out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "node/delivery/outcome.h"
#include "proto/record.h"
#include "tests/sim/mail.h"

#define SCAN_BATCH       500
#define UNTRIED_MS       2000
#define ACTIONS_A_TURN   1000
#define CONSENT_VALID_MS 45000 /* from the question on, as REPLICA_CONSENT_MS of the daemon */

static void pull(struct node *n);

static struct sched_now now_of(struct node *n)
{
    return (struct sched_now){node_ms(n), log_cluster_ms(n)};
}

void mail_tell(struct node *n, const struct sched_event *ev)
{
    enum err e;

    if (n->sched == NULL)
        return;
    e = sched_step(n->sched, ev, now_of(n));
    ASSERT(e == OK || e == E_NOTFOUND || e == E_EXISTS || e == E_CONFLICT || e == E_AGAIN);
}

static void pull_later(struct node *n, void *arg)
{
    (void)arg;
    if (n->sched_tick_us > world_now())
        return;
    n->sched_tick_us = NEVER;
    pull(n);
}

void mail_poke(struct node *n)
{
    if (n->sched_tick_us <= world_now() + 100)
        return;
    n->sched_tick_us = world_now() + 100;
    node_at(n, n->sched_tick_us, pull_later, NULL);
}

/* --- The scheduler's view --- */

static void message_of(const struct envelope *e, struct sched_message *out)
{
    *out = (struct sched_message){.id = e->id,
                                  .domain = e->domain,
                                  .generation = e->domain_generation,
                                  .body_bytes = e->body_bytes,
                                  .received_ms = e->received_ms,
                                  .next_ms = UINT64_MAX,
                                  .deadline_ms = e->deadline_ms,
                                  .phase = e->phase};
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].fate == FATE_PENDING && e->rcpts[i].next_ms < out->next_ms)
            out->next_ms = e->rcpts[i].next_ms;
    if (out->next_ms == UINT64_MAX)
        out->next_ms = 0;
}

static void offer(struct node *n, struct mid id, enum sched_event_type type,
                  uint64_t not_before_ms)
{
    struct sched_event ev = {.type = type};
    struct arena a;
    struct envelope e;
    enum err err;

    data_seen(n);
    arena_init(&a, 4 * RECORD_ARENA_BYTES);
    err = spool_get(n->read.reader, id, &a, &e);
    if (err == OK) {
        message_of(&e, &ev.message);
        if (ev.message.next_ms < not_before_ms)
            ev.message.next_ms = not_before_ms;
        mail_tell(n, &ev);
    } else {
        mail_tell(n, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = id});
    }
    if (err == E_CORRUPT && n->replica != NULL) {
        replica_damaged(n->replica, id, node_ms(n));
        data_poke(n);
    }
    arena_reset(&a);
    mail_poke(n);
}

static bool on_scan(void *user, const struct envelope *e, bool dot_open)
{
    struct sched_event ev = {.type = SCHED_EV_MESSAGE_NEW};

    (void)dot_open;
    message_of(e, &ev.message);
    mail_tell(user, &ev);
    return true;
}

static bool scan(struct node *n)
{
    struct spool_cursor c = {.committed_only = true};

    data_seen(n);
    while (!c.end)
        if (spool_scan(n->read.reader, &c, SCAN_BATCH, on_scan, n) != OK)
            return false;
    return true;
}

/* --- Which domains are ours --- */

void mail_control_changed(struct node *n)
{
    for (unsigned i = 0; i < SIM_DOMAINS && n->sched != NULL; i++) {
        struct str name = str_of(sim_domain(i));
        struct sched_event ev = {.domain = name};
        struct arena a;
        struct domain d;
        uint16_t site = 0;
        uint64_t epoch = 0;
        bool ours;

        if (control_holder(n->control, name, &site, &epoch) != OK)
            site = 0;
        ours =
            site == n->site && log_lease_counts(n) && !log_is_leaving(n, control_slot_of(name));
        n->slot_epochs[i] = epoch;
        if (ours == n->holds[i])
            continue;
        arena_init(&a, LIMIT_COMMAND_SCRATCH);
        if (control_domain_get(n->control, name, &a, &d) == OK) {
            n->holds[i] = ours;
            trace("node %u %s %s", n->index, ours ? "holds" : "gives up", sim_domain(i));
            ev.type = ours ? SCHED_EV_DOMAIN_SET : SCHED_EV_DOMAIN_GONE;
            ev.generation = d.generation;
            ev.settings = (struct sched_settings){.tls = SCHED_TLS_OFF, .route_version = 1};
            mail_tell(n, &ev);
        }
        arena_reset(&a);
    }
    mail_poke(n);
}

/* No dot of a domain of this slot is asked for, open, or without a durable outcome. */
static bool is_quiet(const struct node *n, uint32_t slot)
{
    if (!replica_outcomes_told(n->replica))
        return false;
    for (unsigned i = 0; i < SIM_DOMAINS; i++)
        if (control_slot_of(str_of(sim_domain(i))) == slot) {
            if (n->outcomes[i] > 0)
                return false;
            for (const struct job_out *j = n->jobs; j != NULL; j = j->list_next)
                if (sim_domain_index(j->env.domain) == (int)i)
                    return false;
        }
    return true;
}

static void look_for_quiet(struct node *n, void *arg)
{
    (void)arg;
    if (n->sched == NULL)
        return;
    mail_control_changed(n);
    log_quiet(n, is_quiet);
    node_post(n, world_between(100, 300) * MS, look_for_quiet, NULL);
}

/* --- Jobs --- */

static struct job_out *job_new(struct node *n, struct mid id)
{
    struct job_out *j = calloc(1, sizeof *j);

    ASSERT(j != NULL);
    arena_init(&j->arena, 8 * RECORD_ARENA_BYTES);
    data_seen(n);
    if (spool_get(n->read.reader, id, &j->arena, &j->env) != OK) {
        arena_reset(&j->arena);
        free(j);
        return NULL;
    }
    j->list_next = n->jobs;
    j->list_link = &n->jobs;
    if (n->jobs != NULL)
        n->jobs->list_link = &j->list_next;
    n->jobs = j;
    return j;
}

void mail_job_free(struct job_out *j)
{
    *j->list_link = j->list_next;
    if (j->list_next != NULL)
        j->list_next->list_link = j->list_link;
    arena_reset(&j->arena);
    free(j);
}

static void ask_consent(struct node *n, struct job_out *j)
{
    int i = sim_domain_index(j->env.domain);

    ASSERT(i >= 0);
    j->slot_epoch = n->slot_epochs[i];
    j->consent_ms = node_ms(n);
    replica_dot(n->replica, j->env.id, j->env.domain, j->slot_epoch, j->conn, node_ms(n));
    data_poke(n);
}

static void choose(struct node *n, struct job_out *j, bool recovered)
{
    uint64_t now_ms = log_cluster_ms(n);

    for (int all = recovered; all < 2 && j->rcpt_count == 0; all++)
        for (uint32_t i = 0; i < j->env.rcpt_count && i < CHECK_RCPTS; i++)
            if (j->env.rcpts[i].fate == FATE_PENDING &&
                (all || j->env.rcpts[i].next_ms <= now_ms))
                j->rcpts[j->rcpt_count++] = i;
}

static void not_given(struct node *n, const struct sched_action *a)
{
    mail_tell(n, &(struct sched_event){.type = SCHED_EV_JOB_DONE,
                                       .conn = a->conn,
                                       .id = a->id,
                                       .job = SCHED_JOB_NOT_TRIED});
    mail_tell(n, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = a->id});
}

static void give(struct node *n, const struct sched_action *a)
{
    struct job_out *j = job_new(n, a->id);

    if (j != NULL)
        choose(n, j, a->recovered);
    if (j == NULL || j->rcpt_count == 0) {
        if (j != NULL)
            mail_job_free(j);
        not_given(n, a);
        return;
    }
    j->conn = a->conn;
    ask_consent(n, j);
    conn_give(n, j);
}

/* --- Outcomes --- */

struct written {
    struct copy_op *op;
    enum err err;
};

static void outcome_give(struct node *n, struct copy_op *op);

static void outcome_again(struct node *n, void *arg)
{
    struct written w = *(struct written *)arg;

    free(arg);
    outcome_give(n, w.op);
}

static void outcome_stored(struct node *n, void *arg)
{
    struct written w = *(struct written *)arg;
    struct copy_op *op = w.op;
    struct mid id = op->record.id;
    bool good = w.err == OK && op->answer.code == COPY_OK;
    bool settled = good && op->state == COPY_SETTLED;

    if (w.err == E_FULL) { /* the disk is full even for this: again in a second */
        node_post(n, SECOND, outcome_again, arg);
        return;
    }
    free(arg);
    check_dot_over(id, n->index);
    if (op->shell != NULL)
        --*(uint32_t *)op->shell;
    if (good && n->replica != NULL) {
        replica_outcome(n->replica, id, op->keep, settled, node_ms(n));
        data_poke(n);
    }
    if (w.err == OK && op->answer.code == COPY_DAMAGED) {
        replica_damaged(n->replica, id, node_ms(n));
        data_poke(n);
    }
    blob_release(&op->keep);
    blob_release(&op->store_keep);
    free(op);
    if (settled || !good) {
        mail_tell(n, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = id});
        mail_poke(n);
    } else {
        offer(n, id, SCHED_EV_MESSAGE_CHANGED, 0);
    }
}

static void outcome_done(struct node *n, struct write_request *r)
{
    struct written *w = malloc(sizeof *w);

    ASSERT(w != NULL);
    *w = (struct written){r->op, r->err};
    write_request_free(r);
    node_post(n, world_below(300), outcome_stored, w);
}

static void outcome_give(struct node *n, struct copy_op *op)
{
    struct write_request *r = write_request_new(WRITE_COPY);

    r->op = op;
    r->done = outcome_done;
    writer_give(n, r);
}

static void write_outcome(struct node *n, const struct envelope *e)
{
    struct copy_op *op = calloc(1, sizeof *op);
    size_t size = envelope_encoded_size(e);

    ASSERT(op != NULL && size > 0);
    op->keep = blob_new(size);
    ASSERT(op->keep != NULL);
    envelope_encode(e, op->keep->b);
    op->record =
        (struct copy_record){.kind = COPY_OUTCOME, .id = e->id, .envelope = blob_str(op->keep)};
    op->from = n->site;
    op->incarnation = n->incarnation;
    op->shell = &n->outcomes[sim_domain_index(e->domain)];
    ++*(uint32_t *)op->shell;
    outcome_give(n, op);
}

/* An earlier dot of the message may have been sent, and the mark that says so goes: the message
 * itself must say it from now on (docs/wire.md, 13). */
static void flag(struct node *n, const struct envelope *e)
{
    struct envelope flagged = *e;

    flagged.possible_duplicates++;
    check_counts()->flagged++;
    write_outcome(n, &flagged);
}

/* The job comes back, and its dot was not sent. */
void mail_untried(struct node *n, struct job_out *j)
{
    struct sched_message_view v;

    check_dot_over(j->env.id, n->index);
    if (j->possible_duplicate && n->replica != NULL) {
        flag(n, &j->env);
        mail_job_free(j);
        return;
    }
    if (n->replica != NULL) {
        replica_closed(n->replica, j->env.id, j->slot_epoch, node_ms(n));
        data_poke(n);
    }
    if (sched_message_view(n->sched, j->env.id, &v) && v.state == SCHED_MSG_WRITING)
        offer(n, j->env.id, SCHED_EV_MESSAGE_CHANGED,
              log_cluster_ms(n) + (j->retry_ms > 0 ? j->retry_ms : UNTRIED_MS));
    mail_job_free(j);
}

static enum sched_job kind_of(const struct smtpc_result *r)
{
    bool permanent = false;

    for (uint32_t i = 0; i < r->count; i++) {
        if (r->rcpts[i].verdict == VERDICT_OK)
            return SCHED_JOB_OK;
        permanent |= r->rcpts[i].verdict == VERDICT_PERMANENT;
    }
    switch (r->why) {
    case SMTPC_WHY_ODDITY:
    case SMTPC_WHY_EMPTY_DATA:
        return SCHED_JOB_ODDITY;
    case SMTPC_WHY_LOST:
    case SMTPC_WHY_TIMEOUT:
        return SCHED_JOB_LOST;
    case SMTPC_WHY_NO_CONSENT:
    case SMTPC_WHY_BODY_FAILED:
    case SMTPC_WHY_UNSOUND:
        return SCHED_JOB_NOT_TRIED;
    case SMTPC_WHY_CLOSING:
        return SCHED_JOB_BRAKE_CLOSE;
    default:
        break;
    }
    if (r->brake)
        return SCHED_JOB_BRAKE;
    return permanent ? SCHED_JOB_PERMANENT : SCHED_JOB_DEFERRED;
}

void mail_result(struct node *n, struct job_out *j, const struct smtpc_result *result)
{
    struct outcome o;
    enum err e;

    if (result == NULL || !result->begun) {
        mail_untried(n, j);
        mail_poke(n);
        return;
    }
    mail_tell(n, &(struct sched_event){.type = SCHED_EV_JOB_DONE,
                                       .conn = j->conn,
                                       .id = j->env.id,
                                       .job = kind_of(result),
                                       .latency_ms = 10});
    e = outcome_of_result(&j->env, result, log_cluster_ms(n), &j->arena, &o);
    ASSERT(e == OK);
    if (o.write == OUTCOME_NOTHING) {
        mail_untried(n, j);
        mail_poke(n);
        return;
    }
    if (j->possible_duplicate)
        o.env.possible_duplicates++;
    if (o.env.possible_duplicates > j->env.possible_duplicates)
        check_counts()->flagged++;
    check_counts()->bounced += o.bounced;
    write_outcome(n, &o.env);
    mail_job_free(j);
    mail_poke(n);
}

/* --- Expiry: it needs consent as a dot does --- */

static void expire(struct node *n, struct mid id)
{
    struct job_out *j = job_new(n, id);
    int i = j == NULL ? -1 : sim_domain_index(j->env.domain);

    if (j == NULL) {
        mail_tell(n, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = id});
        return;
    }
    if (!n->holds[i]) { /* not ours to end */
        offer(n, id, SCHED_EV_MESSAGE_CHANGED, 0);
        mail_tell(n, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = id});
        mail_job_free(j);
        return;
    }
    ask_consent(n, j);
}

static void expire_now(struct node *n, struct job_out *j)
{
    struct outcome o;
    enum err e = outcome_of_time(&j->env, log_cluster_ms(n), &j->arena, &o);

    ASSERT(e == OK);
    if (o.write == OUTCOME_NOTHING) {
        mail_untried(n, j);
        return;
    }
    check_counts()->expired += o.expired;
    write_outcome(n, &o.env);
    mail_job_free(j);
}

/* --- News of the engine --- */

static struct job_out *job_of(struct node *n, const struct replica_news *news)
{
    struct job_out *j = n->jobs;

    while (j != NULL && (mid_cmp(j->env.id, news->id) != 0 || j->conn != news->tag ||
                         j->slot_epoch != news->slot_epoch))
        j = j->list_next;
    return j;
}

/* A word that came when its job was back already; the mark is gone, or goes. */
static void late(struct node *n, const struct replica_news *news)
{
    struct job_out *j;

    if (news->kind != REPLICA_CONSENT || !news->possible_duplicate)
        return;
    j = job_new(n, news->id);
    if (j == NULL)
        return;
    flag(n, &j->env);
    mail_job_free(j);
}

static void consent_news(struct node *n, const struct replica_news *news)
{
    struct job_out *j = job_of(n, news);

    if (j == NULL) { /* its connection ended meanwhile, and CLOSED was told */
        trace("node %u: late word on a dot", n->index);
        late(n, news);
        return;
    }
    if (news->kind == REPLICA_CONSENT) {
        check_consent(j->env.id, n->index);
        j->consent = true;
        j->possible_duplicate = news->possible_duplicate;
    } else {
        check_counts()->dots_refused++;
        trace("node %u: no consent: %s", n->index, copy_code_text(news->why));
        j->refused = true;
        j->retry_ms = news->retry_ms;
    }
    if (j->conn != 0)
        conn_consent(n, j);
    else if (j->consent)
        expire_now(n, j);
    else
        mail_untried(n, j);
}

bool mail_has_consent(const struct node *n)
{
    for (const struct job_out *j = n->jobs; j != NULL; j = j->list_next)
        if (j->consent)
            return true;
    return false;
}

bool mail_may_send(const struct node *n, const struct job_out *j)
{
    return j->consent && node_ms(n) < j->consent_ms + CONSENT_VALID_MS;
}

void mail_news(struct node *n, const struct replica_news *news)
{
    if (n->sched == NULL)
        return;
    switch (news->kind) {
    case REPLICA_CONSENT:
    case REPLICA_NO_CONSENT:
        consent_news(n, news);
        break;
    case REPLICA_DELIVERABLE:
        offer(n, news->id, SCHED_EV_MESSAGE_NEW, 0);
        break;
    case REPLICA_CHANGED:
        offer(n, news->id, SCHED_EV_MESSAGE_CHANGED, 0);
        break;
    default:
        mail_tell(n, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = news->id});
        break;
    }
    mail_poke(n);
}

void mail_accepted(struct node *n, struct mid id)
{
    (void)n, (void)id; /* DELIVERABLE follows, with the commit */
}

/* --- Actions of the scheduler --- */

static void resolve(struct node *n, const struct sched_action *a)
{
    struct route r = {.result = ROUTE_OK, .ttl_s = 300, .count = 1};
    int i = sim_domain_index(a->domain);
    uint8_t ip[4] = {198, 51, 100, (uint8_t)(i + 1)};

    ASSERT(i >= 0);
    r.addrs[0] = (struct route_addr){
        .ip = route_ip_v4(ip), .port = 25, .host = str_of(sim_domain((unsigned)i))};
    mail_tell(n, &(struct sched_event){.type = SCHED_EV_ROUTE_ANSWER,
                                       .domain = a->domain,
                                       .generation = a->generation,
                                       .serial = a->serial,
                                       .route = &r});
}

static void pull(struct node *n)
{
    struct sched_action a;
    uint64_t at;

    if (n->sched == NULL)
        return;
    for (int i = 0; i < ACTIONS_A_TURN && sched_next_action(n->sched, now_of(n), &a); i++) {
        if (a.type == SCHED_ACT_RESOLVE) {
            char name[64];
            struct sched_action copy = a;

            snprintf(name, sizeof name, STR_FMT, STR_ARG(a.domain));
            copy.domain = str_of(name);
            resolve(n, &copy);
        } else if (a.type == SCHED_ACT_OPEN) {
            conn_open(n, &a);
        } else if (a.type == SCHED_ACT_GIVE) {
            give(n, &a);
        } else if (a.type == SCHED_ACT_QUIT) {
            conn_quit(n, a.conn);
        } else if (a.type == SCHED_ACT_EXPIRE) {
            expire(n, a.id);
        }
    }
    at = sched_wakeup_ms(n->sched, now_of(n));
    at = at == UINT64_MAX ? NEVER : world_when_boot(&n->clock, at * 1000);
    if (at < n->sched_tick_us) {
        n->sched_tick_us = at > world_now() ? at : world_now() + MS;
        node_at(n, n->sched_tick_us, pull_later, NULL);
    }
}

/* --- Life --- */

bool mail_open(struct node *n)
{
    n->sched = sched_new(&(struct sched_options){.messages_max = 100000,
                                                 .domains_max = 100,
                                                 .conns_max = 50,
                                                 .seed = world_below(UINT64_MAX / 4)});
    ASSERT(n->sched != NULL);
    n->sched_tick_us = NEVER;
    memset(n->holds, 0, sizeof n->holds);
    memset(n->outcomes, 0, sizeof n->outcomes);
    mail_control_changed(n);
    look_for_quiet(n, NULL);
    return scan(n);
}

void mail_close(struct node *n)
{
    conn_close_all(n);
    while (n->jobs != NULL)
        mail_job_free(n->jobs);
    if (n->sched != NULL)
        sched_free(&n->sched);
}
