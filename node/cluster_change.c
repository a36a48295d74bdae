/* What becomes of messages: tries, results, expiry. Every change goes through the writer before
 * the scheduler hears of it. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/cluster_private.h"
#include "node/delivery/dsn.h"
#include "node/domain_name.h"
#include "node/smtp_thread.h"
#include "proto/record.h"

#define JOB_ARENA_BYTES (3 * RECORD_ARENA_BYTES + 2 * LIMIT_DSN_BYTES)
#define SCAN_BATCH      1000
#define UNTRIED_MS      5000 /* a try that came to nothing for a reason of ours: then again */

/* --- the scheduler's view of an envelope --- */

static bool sender_domain(struct cluster *c, const struct envelope *e, char *buf,
                          struct sched_message *out)
{
    size_t at = str_find_last(e->sender, '@');
    struct arena scratch;
    struct domain d;

    if (at >= e->sender.n || !domain_name_ascii(str_from(e->sender, at + 1), buf, &out->domain))
        return false;
    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    out->generation = 0;
    if (control_domain_get(control_thread_state(c->node->control), out->domain, &scratch, &d) ==
        OK) {
        out->generation = d.generation; /* the sender is a customer: his route */
        if (cluster_is_member(c)) {
            out->generation |= CLUSTER_DSN_GENERATION;
            cluster_set_domain(c, &d, out->generation);
        }
    }
    arena_reset(&scratch);
    return true;
}

bool cluster_message_of(struct cluster *c, const struct envelope *e, struct sched_message *out,
                        char buf[LIMIT_SMTP_DOMAIN_BYTES])
{
    *out = (struct sched_message){.id = e->id,
                                  .domain = e->domain,
                                  .generation = e->domain_generation,
                                  .body_bytes = e->body_bytes,
                                  .received_ms = e->received_ms,
                                  .next_ms = UINT64_MAX,
                                  .deadline_ms = e->deadline_ms,
                                  .phase = e->phase,
                                  .held = e->held};
    if (e->phase == PHASE_DSN) {
        out->next_ms = e->dsn_next_ms;
        out->deadline_ms = e->dsn_deadline_ms;
        return sender_domain(c, e, buf, out);
    }
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].fate == FATE_PENDING && e->rcpts[i].next_ms < out->next_ms)
            out->next_ms = e->rcpts[i].next_ms;
    if (out->next_ms == UINT64_MAX)
        out->next_ms = 0;
    return true;
}

/* --- jobs --- */

struct delivery_job *cluster_load(struct cluster *c, struct mid id, enum err *why)
{
    struct delivery_job *j = calloc(1, sizeof *j);

    ASSERT(j != NULL);
    arena_init(&j->arena, JOB_ARENA_BYTES);
    *why = spool_get(c->reader, id, &j->arena, &j->env);
    if (*why != OK)
        cluster_job_free(&j);
    else if (cluster_is_member(c))
        cluster_job_begin(c, j);
    return j;
}

void cluster_job_free(struct delivery_job **j)
{
    if ((*j)->all_link != NULL) {
        *(*j)->all_link = (*j)->all_next;
        if ((*j)->all_next != NULL)
            (*j)->all_next->all_link = (*j)->all_link;
    }
    if ((*j)->counted != NULL)
        dsn_policy_undo((*j)->counted, &(*j)->env);
    arena_reset(&(*j)->arena);
    free(*j);
    *j = NULL;
}

static bool choose_rcpts(struct cluster *c, struct delivery_job *j, bool recovered)
{
    uint64_t now_ms = control_now_ms(c->node->control);

    j->rcpts = arena_take(&j->arena, sizeof *j->rcpts * (j->env.rcpt_count + 1));
    if (j->rcpts == NULL)
        return false;
    for (int all = recovered; all < 2 && j->rcpt_count == 0; all++)
        for (uint32_t i = 0; i < j->env.rcpt_count; i++)
            if (j->env.rcpts[i].fate == FATE_PENDING &&
                (all || j->env.rcpts[i].next_ms <= now_ms))
                j->rcpts[j->rcpt_count++] = i;
    j->size_bytes = j->env.trace_header.n + j->env.body_bytes;
    return j->rcpt_count > 0;
}

static bool build_dsn(struct cluster *c, struct delivery_job *j)
{
    struct snapshot_ref *ref;
    const struct node_settings *s = cluster_settings(c, &ref);
    char *text = arena_take(&j->arena, LIMIT_DSN_BYTES);
    char head[LIMIT_DSN_HEADER_BYTES];
    size_t head_n = 0, n = 0;
    enum err e = E_FULL;

    if (spool_read_body(c->reader, &j->env, 0, head, sizeof head, &head_n) != OK)
        head_n = 0; /* a notification without headers is better than none */
    if (text != NULL)
        e = dsn_build(&(struct dsn_in){.env = &j->env,
                                       .hostname = str_of(s->config->hostname),
                                       .body_start = {head, head_n},
                                       .now_wall_ms = clock_wall_ms()},
                      text, LIMIT_DSN_BYTES, &n);
    snapshot_release(&ref);
    j->dsn = true;
    j->dsn_text = (struct str){text, n};
    j->size_bytes = n;
    return e == OK;
}

static enum smtpc_eight_bit eight_bit_of(struct cluster *c, const struct envelope *e)
{
    struct arena scratch;
    struct domain d;
    enum smtpc_eight_bit policy = SMTPC_8BIT_PASS;

    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    if (control_domain_get(control_thread_state(c->node->control), e->domain, &scratch, &d) ==
            OK &&
        d.eight_bit == DOMAIN_EIGHT_BIT_HOLD)
        policy = SMTPC_8BIT_HOLD;
    arena_reset(&scratch);
    return policy;
}

/* The durable mark that has to come before the final dot; the answer goes to the connection. */
static void ask_consent(struct cluster *c, struct smtp_thread *t, const struct delivery_job *j)
{
    struct writer_request *r = writer_request_new(WRITER_DOT, t->box, SMTP_MAIL_DOT, NULL);
    struct slot slot = {0};

    ASSERT(r != NULL);
    if (control_slot(control_thread_state(c->node->control), control_slot_of(j->env.domain),
                     &slot) != OK)
        slot.epoch = 0;
    r->id = j->env.id;
    r->tag = j->conn;
    r->slot_epoch = slot.epoch;
    writer_post_always(c->node->writer, r);
}

/* In a member the holding is looked at once more: the scheduler may be a step behind. */
static bool is_held(struct cluster *c, struct delivery_job *j, const struct sched_action *a)
{
    uint64_t now_ms = control_now_ms(c->node->control);

    if (!cluster_is_member(c) || cluster_holds(c, j->env.domain, &j->slot_epoch))
        return true;
    cluster_tell(c, &(struct sched_event){.type = SCHED_EV_JOB_DONE,
                                          .conn = a->conn,
                                          .id = a->id,
                                          .job = SCHED_JOB_NOT_TRIED});
    cluster_offer(c, a->id, SCHED_EV_MESSAGE_CHANGED, now_ms + UNTRIED_MS);
    return false;
}

static void not_given(struct cluster *c, const struct sched_action *a, enum err why)
{
    /* E_NOTFOUND: settled meanwhile. Damaged records were alarmed; they stay, untried. */
    cluster_tell(c, &(struct sched_event){.type = SCHED_EV_JOB_DONE,
                                          .conn = a->conn,
                                          .id = a->id,
                                          .job = SCHED_JOB_NOT_TRIED});
    cluster_tell(c, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = a->id});
    if (why == E_NOTFOUND || why == E_CORRUPT)
        return;
    cluster_rescan_later(c); /* want of memory: a walk over the spool finds it again */
}

void cluster_give(struct cluster *c, const struct sched_action *a)
{
    struct smtp_thread *t = c->node->smtp[a->conn % c->node->smtp_count];
    enum err e;
    struct delivery_job *j = cluster_load(c, a->id, &e);

    if (j == NULL) {
        not_given(c, a, e);
        return;
    }
    if (!is_held(c, j, a)) {
        cluster_job_free(&j);
        return;
    }
    j->conn = a->conn;
    if (j->env.digest_until_ms != 0) {
        j->dsn = true;
        j->size_bytes = j->env.body_bytes;
    } else if (a->phase == PHASE_DSN ? !build_dsn(c, j) : !choose_rcpts(c, j, a->recovered)) {
        cluster_job_free(&j);
        not_given(c, a, E_FULL);
        return;
    }
    j->eight_bit = eight_bit_of(c, &j->env);
    j->mail.kind = SMTP_MAIL_GIVE;
    if (cluster_is_member(c)) {
        struct consent_ask *ask =
            delivery_job_ask(j, t->box, SMTP_MAIL_CONSENT); /* it goes behind the job */

        j->careful = cluster_is_fresh_here(c, j->env.domain);
        mailbox_answer(t->box, &j->mail);
        replica_thread_dot(c->node->replica, &ask->ask);
    } else {
        struct delivery_job mark = {.conn = j->conn, .env = j->env};
        char domain[LIMIT_SMTP_DOMAIN_BYTES];

        /* the job is the other thread's once posted, and it must be there before the answer */
        mark.env.domain = str_lower(j->env.domain, domain, sizeof domain);
        mailbox_answer(t->box, &j->mail);
        ask_consent(c, t, &mark);
    }
}

/* --- writing --- */

static struct writer_request *request_for(struct delivery_job *j, struct mailbox *box)
{
    struct writer_request *r =
        writer_request_new(j->outcome.write == OUTCOME_SETTLE ? WRITER_SETTLE : WRITER_UPDATE,
                           box, CLUSTER_MAIL_WRITTEN, j);

    ASSERT(r != NULL);
    r->env = &j->outcome.env;
    r->id = j->env.id;
    return r;
}

void cluster_write(struct cluster *c, struct delivery_job *j, bool close_mark)
{
    struct writer_request *r;

    if (cluster_is_member(c)) {
        cluster_write_copy(c, j);
        return;
    }
    r = request_for(j, c->box);
    r->closed = close_mark;
    j->next = c->writes;
    j->link = &c->writes;
    if (j->next != NULL)
        j->next->link = &j->next;
    c->writes = j;
    writer_post_always(c->node->writer, r);
}

static void close_mark(struct cluster *c, struct mid id)
{
    struct writer_request *r = writer_request_new(WRITER_CLOSED, NULL, 0, NULL);

    ASSERT(r != NULL);
    r->id = id;
    writer_post_always(c->node->writer, r);
}

static void log_rcpts(const struct delivery_job *j, enum log_event ev, enum fate fate)
{
    const struct envelope *e = &j->outcome.env;

    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].fate == fate && j->env.rcpts[i].fate == FATE_PENDING)
            LOG(ev, L_MID(e->id), L_STR("rcpt", e->rcpts[i].path),
                L_STR("reply", e->rcpts[i].reply), L_U64("attempts", e->rcpts[i].attempts));
}

static void log_deferred(const struct delivery_job *j)
{
    const struct envelope *e = &j->outcome.env;
    struct str reply = e->phase == PHASE_DSN ? e->dsn_reply : STR_NONE;

    for (uint32_t i = 0; i < e->rcpt_count && reply.n == 0; i++)
        if (e->rcpts[i].fate == FATE_PENDING)
            reply = e->rcpts[i].reply;
    LOG(EV_MESSAGE_DEFERRED, L_MID(e->id), L_U64("rcpts", j->outcome.deferred),
        L_U64("next_ms", j->outcome.next_ms), L_STR("reply", reply));
}

void cluster_facts(struct delivery_job *j)
{
    const struct outcome *o = &j->outcome;
    bool is_digest = j->env.digest_until_ms != 0;

    j->counted = NULL;
    stat_add(STAT_RCPTS_DELIVERED_TOTAL, o->delivered);
    stat_add(STAT_RCPTS_BOUNCED_TOTAL, o->bounced);
    stat_add(STAT_RCPTS_EXPIRED_TOTAL, o->expired);
    stat_add(STAT_RCPTS_PURGED_TOTAL, o->purged);
    stat_add(STAT_DEFERRALS_TOTAL, o->deferred > 0);
    stat_add(is_digest ? STAT_DIGESTS_SENT_TOTAL : STAT_DSNS_SENT_TOTAL, o->dsn_sent);
    stat_add(is_digest ? STAT_DIGESTS_FAILED_TOTAL : STAT_DSNS_FAILED_TOTAL, o->dsn_given_up);
    stat_add(STAT_DSNS_WITHHELD_TOTAL, o->dsn_withheld);
    log_rcpts(j, EV_MESSAGE_DELIVERED, FATE_DELIVERED);
    log_rcpts(j, EV_MESSAGE_BOUNCED, FATE_BOUNCED);
    log_rcpts(j, EV_MESSAGE_EXPIRED, FATE_EXPIRED);
    log_rcpts(j, EV_MESSAGE_PURGED, FATE_PURGED);
    if (o->deferred > 0)
        log_deferred(j);
    if (o->possible_duplicate) {
        stat_add(STAT_POSSIBLE_DUPLICATES_TOTAL, 1);
        LOG(EV_POSSIBLE_DUPLICATE, L_MID(j->env.id));
    }
    if (o->alarm) {
        stat_add(STAT_PRIMARY_ALARMS_TOTAL, 1);
        LOG(EV_PRIMARY_ALARM, L_MID(j->env.id), L_STR("domain", j->env.domain));
    }
    if (o->dsn_sent || o->dsn_given_up)
        LOG(is_digest     ? o->dsn_sent ? EV_DIGEST_SENT : EV_DIGEST_FAILED
            : o->dsn_sent ? EV_DSN_SENT
                          : EV_DSN_FAILED,
            L_MID(j->env.id), L_STR("to", j->env.sender), L_STR("reply", o->env.dsn_reply));
    if (o->dsn_withheld)
        LOG(EV_DSN_WITHHELD, L_MID(j->env.id), L_STR("from", j->env.sender),
            L_STR("domain", j->env.domain), L_STR("why", o->env.dsn_reply));
}

/* As the owner of the domain wants it now; mail of an earlier owner as most want it. */
static enum domain_dsn dsn_mode(struct cluster *c, const struct envelope *e)
{
    struct arena scratch;
    struct domain d;
    enum domain_dsn mode = DOMAIN_DSN_AUTHENTICATED;

    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    if (control_domain_get(control_thread_state(c->node->control), e->domain, &scratch, &d) ==
            OK &&
        d.generation == e->domain_generation)
        mode = d.dsn;
    arena_reset(&scratch);
    return mode;
}

void cluster_may_tell(struct cluster *c, struct delivery_job *j)
{
    const char *why;

    if (!j->outcome.dsn_due)
        return;
    why = dsn_policy_ask(c->dsn_policy, &j->outcome.env, dsn_mode(c, &j->env),
                         control_now_ms(c->node->control));
    if (why != NULL)
        outcome_withhold(&j->outcome, str_of(why));
    else
        j->counted = c->dsn_policy;
}

/* not_before_ms: for the scheduler alone, when nothing was written. */
static void message_changed(struct cluster *c, const struct envelope *e, uint64_t not_before_ms)
{
    struct sched_event ev = {.type = SCHED_EV_MESSAGE_CHANGED};
    char domain[LIMIT_SMTP_DOMAIN_BYTES];

    if (c->ended)
        return;
    if (cluster_message_of(c, e, &ev.message, domain)) {
        if (ev.message.next_ms < not_before_ms)
            ev.message.next_ms = not_before_ms;
        cluster_tell(c, &ev);
        return;
    }
    cluster_dead_dsn(c, e->id);
}

void cluster_dead_dsn(struct cluster *c, struct mid id)
{
    enum err why;
    struct delivery_job *j = cluster_load(c, id, &why);

    if (j == NULL)
        return;
    if (outcome_of_dead_dsn(&j->env, STR("(the sender's domain is not a name)"),
                            control_now_ms(c->node->control), &j->arena, &j->outcome) == OK)
        cluster_write(c, j, true);
    else
        cluster_job_free(&j);
}

bool cluster_is_writing(const struct cluster *c, struct mid id)
{
    for (const struct delivery_job *j = c->writes; j != NULL; j = j->next)
        if (mid_cmp(j->env.id, id) == 0)
            return true;
    return false;
}

static void unlink_write(struct delivery_job *j)
{
    *j->link = j->next;
    if (j->next != NULL)
        j->next->link = j->link;
}

/* Of a node that is alone. */
static void settled_or_changed(struct cluster *c, const struct writer_request *r)
{
    struct delivery_job *j = r->ctx;

    if (r->err == OK) {
        cluster_facts(j);
        cluster_learn(c, j);
        cluster_digest_ended(c, j);
    }
    if (r->err == OK && r->op == WRITER_SETTLE) {
        LOG(EV_MESSAGE_SETTLED, L_MID(j->env.id));
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = j->env.id});
    } else if (r->err == OK) {
        message_changed(c, &j->outcome.env, 0);
    } else if (r->err != E_IO) { /* settled meanwhile, or damaged: alarmed by the spool */
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = j->env.id});
    }
}

void cluster_written(struct cluster *c, struct writer_request *r)
{
    struct delivery_job *j = r->ctx;

    if (r->err == E_FULL && !c->ended) { /* the disk is full even for this: again in a second */
        r->mail.next = c->parked;
        c->parked = &r->mail;
        cluster_look_again(c);
        return;
    }
    unlink_write(j);
    if (r->op == WRITER_COPY)
        cluster_copy_written(c, r);
    else
        settled_or_changed(c, r);
    if (j->operation != 0 && r->err != E_IO)
        cluster_order_written(c, j->operation);
    writer_request_free(c->node->writer, &r);
    cluster_order_try(c, j->env.id);
    cluster_job_free(&j);
}

void cluster_parked_free(struct cluster *c)
{
    while (c->parked != NULL) {
        struct writer_request *r = (struct writer_request *)c->parked;
        struct delivery_job *j = r->ctx;

        c->parked = c->parked->next;
        if (r->op == WRITER_COPY)
            cluster_copy_free(&r->copy);
        writer_request_free(c->node->writer, &r);
        cluster_job_free(&j);
    }
}

void cluster_retry_parked(struct cluster *c)
{
    struct mail *m = c->parked, *next;

    c->parked = NULL;
    for (; m != NULL; m = next) {
        next = m->next;
        writer_post_always(c->node->writer, (struct writer_request *)m);
    }
}

/* --- results --- */

static enum sched_job kind_of(const struct smtpc_result *r)
{
    bool permanent = false, ok = false, close = false;

    for (uint32_t i = 0; i < r->count; i++) {
        ok |= r->rcpts[i].verdict == VERDICT_OK;
        permanent |= r->rcpts[i].verdict == VERDICT_PERMANENT;
        close |= r->rcpts[i].code == 421;
    }
    if (ok)
        return SCHED_JOB_OK;
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
        return close ? SCHED_JOB_BRAKE_CLOSE : SCHED_JOB_BRAKE;
    return permanent ? SCHED_JOB_PERMANENT : SCHED_JOB_DEFERRED;
}

/* The job comes back untried. Its mark goes, unless the message is on its way again already. */
static void untried(struct cluster *c, struct delivery_job *j)
{
    struct sched_message_view v;
    bool is_again;

    if (j->recalled) /* the connection lives, and the scheduler counts it there */
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_JOB_DONE,
                                              .conn = j->conn,
                                              .id = j->env.id,
                                              .job = SCHED_JOB_NOT_TRIED});
    is_again = sched_message_view(c->sched, j->env.id, &v) && v.state == SCHED_MSG_GIVEN &&
               v.conn != j->conn;
    if (is_again) {
        cluster_job_free(&j);
    } else if (cluster_is_member(c)) {
        cluster_unsent(c, j);
    } else {
        close_mark(c, j->env.id);
        cluster_job_free(&j);
    }
}

void cluster_result(struct cluster *c, struct delivery_job *j)
{
    enum err e;

    if (cluster_callout_result(c, j))
        return;
    if (c->ended) {
        cluster_job_free(&j);
        return;
    }
    if (j->result == NULL || !j->result->begun) {
        untried(c, j);
        return;
    }
    e = outcome_of_result(&j->env, j->result, control_now_ms(c->node->control), &j->arena,
                          &j->outcome);
    ASSERT(e == OK); /* the job's arena has room for it */
    cluster_may_tell(c, j);
    cluster_tell(c, &(struct sched_event){.type = SCHED_EV_JOB_DONE,
                                          .conn = j->conn,
                                          .id = j->env.id,
                                          .job = kind_of(j->result),
                                          .latency_ms = j->latency_ms});
    if (j->outcome.write == OUTCOME_NOTHING && cluster_is_member(c)) {
        struct mid id = j->env.id;

        cluster_unsent(c, j);
        cluster_order_try(c, id);
        return;
    }
    if (j->possible_duplicate) {
        j->outcome.env.possible_duplicates++;
        j->outcome.possible_duplicate = true;
    }
    if (j->outcome.write == OUTCOME_NOTHING) {
        close_mark(c, j->env.id);
        message_changed(c, &j->env, control_now_ms(c->node->control) + UNTRIED_MS);
        cluster_order_try(c, j->env.id);
        cluster_job_free(&j);
        return;
    }
    cluster_write(c, j, true);
}

void cluster_expire(struct cluster *c, struct mid id)
{
    enum err e;
    struct delivery_job *j = cluster_load(c, id, &e);

    if (j == NULL) {
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = id});
        if (e != E_NOTFOUND && e != E_CORRUPT)
            cluster_rescan_later(c);
        return;
    }
    e = outcome_of_time(&j->env, control_now_ms(c->node->control), &j->arena, &j->outcome);
    if (e == OK && j->outcome.write != OUTCOME_NOTHING) {
        cluster_may_tell(c, j);
        cluster_write(c, j, false);
        return;
    }
    if (cluster_is_member(c))
        cluster_offer(c, id, SCHED_EV_MESSAGE_CHANGED, 0);
    else
        message_changed(c, &j->env, 0);
    cluster_job_free(&j);
}

/* --- walks over the spool --- */

struct walk {
    struct cluster *cluster;
    struct str domain; /* DSNs to this sender's domain; or empty: at start */
    bool again;        /* not at start: open marks are those of tries under way */
    struct mid *ids;
    size_t count, size;
};

static void remember(struct walk *w, struct mid id)
{
    if (w->count == w->size) {
        w->size = w->size > 0 ? 2 * w->size : 64;
        w->ids = realloc(w->ids, w->size * sizeof *w->ids);
        ASSERT(w->ids != NULL);
    }
    w->ids[w->count++] = id;
}

static bool on_start(void *user, const struct envelope *e, bool dot_open)
{
    struct walk *w = user;
    struct sched_event ev = {.type = SCHED_EV_MESSAGE_NEW};
    char domain[LIMIT_SMTP_DOMAIN_BYTES];

    if (cluster_message_of(w->cluster, e, &ev.message, domain)) {
        ev.message.possible_duplicate = dot_open || e->possible_duplicates > 0;
        ev.message.held |= dot_open && !w->again; /* until the flag is durable */
        cluster_tell(w->cluster, &ev);
    }
    if (w->again)
        return true;
    if (dot_open || (e->phase == PHASE_DSN && ev.message.domain.n == 0))
        remember(w, e->id);
    return true;
}

/* In a member: whose dot may be open is told with the consent; of notifications, which belong
 * to their holder, it is read again outside of the walk. */
static bool on_member(void *user, const struct envelope *e, bool dot_open)
{
    struct walk *w = user;
    struct sched_event ev = {.type = SCHED_EV_MESSAGE_NEW};
    char domain[LIMIT_SMTP_DOMAIN_BYTES];

    if (e->phase == PHASE_DSN) {
        remember(w, e->id);
    } else if (cluster_message_of(w->cluster, e, &ev.message, domain)) {
        ev.message.possible_duplicate = dot_open || e->possible_duplicates > 0;
        cluster_tell(w->cluster, &ev);
    }
    return true;
}

static enum err walk(struct cluster *c, struct walk *w,
                     bool (*fn)(void *, const struct envelope *, bool));

static enum err scan_member(struct cluster *c)
{
    struct walk w = {.cluster = c};
    enum err e = walk(c, &w, on_member);

    for (size_t i = 0; i < w.count; i++)
        cluster_offer(c, w.ids[i], SCHED_EV_MESSAGE_NEW, 0);
    free(w.ids);
    return e;
}

/* The process before us ended between a mark and its outcome: that dot may have been sent. */
static void flag_open_dot(struct cluster *c, struct mid id)
{
    enum err e;
    struct delivery_job *j = cluster_load(c, id, &e);

    if (j == NULL) {
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = id});
        if (e != E_NOTFOUND && e != E_CORRUPT)
            cluster_rescan_later(c);
        return;
    }
    j->outcome =
        (struct outcome){.env = j->env, .write = OUTCOME_UPDATE, .possible_duplicate = true};
    j->outcome.env.possible_duplicates++;
    cluster_write(c, j, true);
}

static enum err walk(struct cluster *c, struct walk *w,
                     bool (*fn)(void *, const struct envelope *, bool))
{
    struct spool_cursor cursor = {.committed_only = cluster_is_member(c)};
    enum err e = OK;

    while (e == OK && !cursor.end)
        e = spool_scan(c->reader, &cursor, SCAN_BATCH, fn, w);
    return e;
}

enum err cluster_scan(struct cluster *c)
{
    struct walk w = {.cluster = c};
    enum err e;

    if (cluster_is_member(c))
        return scan_member(c);
    e = walk(c, &w, on_start);
    for (size_t i = 0; i < w.count; i++)
        flag_open_dot(c, w.ids[i]);
    free(w.ids);
    return e;
}

void cluster_rescan(struct cluster *c)
{
    struct walk w = {.cluster = c, .again = true};

    if ((cluster_is_member(c) ? scan_member(c) : walk(c, &w, on_start)) != OK)
        c->rescan = true;
}

static bool on_dsn(void *user, const struct envelope *e, bool dot_open)
{
    struct walk *w = user;
    struct sched_message m;
    char domain[LIMIT_SMTP_DOMAIN_BYTES];

    (void)dot_open;
    if (e->phase == PHASE_DSN && cluster_message_of(w->cluster, e, &m, domain) &&
        str_eq(m.domain, w->domain))
        remember(w, e->id);
    return true;
}

void cluster_dead_dsns(struct cluster *c, struct str domain, enum route_result why)
{
    struct walk w = {.cluster = c, .domain = domain};
    struct delivery_job *j;
    enum err e;

    if (why != ROUTE_NO_DOMAIN && why != ROUTE_NULL_MX && why != ROUTE_LOOPS_TO_SELF)
        return;
    if (walk(c, &w, on_dsn) != OK)
        w.count = 0;
    for (size_t i = 0; i < w.count; i++) {
        struct sched_message_view v;

        if (!sched_message_view(c->sched, w.ids[i], &v) || v.state == SCHED_MSG_GIVEN ||
            v.state == SCHED_MSG_WRITING)
            continue;
        j = cluster_load(c, w.ids[i], &e);
        if (j != NULL &&
            outcome_of_dead_dsn(&j->env, str_of(route_result_text(why)),
                                control_now_ms(c->node->control), &j->arena, &j->outcome) == OK)
            cluster_write(c, j, false);
        else if (j != NULL)
            cluster_job_free(&j);
    }
    free(w.ids);
}
