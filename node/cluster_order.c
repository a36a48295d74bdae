/* What the control store says: domains to the scheduler, operators' orders to messages. */
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "node/cluster_private.h"
#include "proto/record.h"

/* One message of an operation. Waits while a try or a write of the message is under way. */
struct order {
    struct order *next;
    struct mid id;
    enum operate_op op;
    uint64_t operation; /* log index */
};

/* --- domains --- */

static enum sched_tls tls_of(enum domain_tls t)
{
    return t == DOMAIN_TLS_OFF       ? SCHED_TLS_OFF
           : t == DOMAIN_TLS_REQUIRE ? SCHED_TLS_REQUIRE
                                     : SCHED_TLS_TRY;
}

void cluster_set_domain(struct cluster *c, const struct domain *d, uint64_t generation)
{
    struct control *control = control_thread_state(c->node->control);
    struct domain_terms terms = {.max_connections = LIMIT_CONNS_PER_DEST};
    struct snapshot_ref *ref;
    const struct node_settings *s = cluster_settings(c, &ref);
    uint32_t conns = (uint32_t)s->config->delivery.max_connections;

    if ((d->max_connections > 0 || d->plan.n > 0) &&
        control_domain_terms(control, d, &terms) == OK)
        conns = terms.max_connections;
    snapshot_release(&ref);
    cluster_tell(c, &(struct sched_event){.type = SCHED_EV_DOMAIN_SET,
                                          .domain = d->name,
                                          .generation = generation,
                                          .settings = {.is_paused = d->paused,
                                                       .max_conns = conns,
                                                       .tls = tls_of(d->tls),
                                                       .route_version = d->changed}});
}

/* Ours, or another node's to deliver; and the way of notifications that go there. */
static void tell_domain(struct cluster *c, const struct domain *d)
{
    bool is_new = !sched_domain_is_set(c->sched, d->name, d->generation);

    if (cluster_holds(c, d->name, NULL)) {
        cluster_set_domain(c, d, d->generation);
        if (is_new && cluster_is_member(c)) /* what another node put off may go from here */
            cluster_tell(c, &(struct sched_event){.type = SCHED_EV_RETRY_NOW,
                                                  .scope = SCHED_DOMAIN,
                                                  .domain = d->name,
                                                  .generation = d->generation});
    } else {
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_DOMAIN_GONE,
                                              .domain = d->name,
                                              .generation = d->generation});
    }
}

void cluster_domain_look(struct cluster *c, struct str name)
{
    struct arena arena;
    struct domain d;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    if (control_domain_get(control_thread_state(c->node->control), name, &arena, &d) == OK)
        tell_domain(c, &d);
    arena_reset(&arena);
}

void cluster_domains_held(struct cluster *c)
{
    struct control *control = control_thread_state(c->node->control);
    char after[LIMIT_SMTP_DOMAIN_BYTES];
    struct str name = {after, 0};
    struct arena arena;
    struct domain d;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    while (control_domain_next(control, name, &arena, &d) == OK) {
        if (holding_is_new(c->holding, control_slot_of(d.name)))
            tell_domain(c, &d);
        name = str_lower(d.name, after, sizeof after);
        arena_reset(&arena);
        arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    }
    arena_reset(&arena);
}

void cluster_domains_changed(struct cluster *c)
{
    struct control *control = control_thread_state(c->node->control);
    char after[LIMIT_SMTP_DOMAIN_BYTES];
    struct str name = {after, 0};
    uint64_t seen = control_applied(control);
    struct arena arena;
    struct domain d;
    bool wants_lists = false, wants_digests = false, takes_utf8 = false;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    c->some_closing = false;
    while (control_domain_next(control, name, &arena, &d) == OK) {
        tell_domain(c, &d); /* plans may have changed: all of them */
        if (cluster_is_member(c) &&
            sched_domain_is_set(c->sched, d.name, d.generation | CLUSTER_DSN_GENERATION))
            cluster_set_domain(c, &d, d.generation | CLUSTER_DSN_GENERATION);
        c->some_closing |= d.closing;
        wants_digests |= d.digest.n > 0;
        takes_utf8 |= !d.closing && d.smtputf8;
        wants_lists |= !d.closing && d.checks[DOMAIN_CHECK_DNSBL] != CHECK_OFF;
        name = str_lower(d.name, after, sizeof after);
        arena_reset(&arena);
        arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    }
    arena_reset(&arena);
    c->domains_seen = seen;
    cluster_dnsbl_want(c, wants_lists);
    cluster_digest_want(c, wants_digests);
    atomic_store(&c->node->smtputf8, takes_utf8);
    if (c->some_closing)
        cluster_look_again(c);
}

void cluster_propose(struct cluster *c, const struct command *cmd)
{
    struct control_propose_to to = {.box = c->box, .kind = CLUSTER_MAIL_ANSWER};

    if (control_propose(c->node->control, cmd, &to) != OK)
        LOG(EV_SHED, L_CSTR("limit", "control log")); /* proposed again by the next round */
}

/* A domain that is closing and has no mail left is forgotten. */
void cluster_drop_closed(struct cluster *c)
{
    struct control *control = control_thread_state(c->node->control);
    char after[LIMIT_SMTP_DOMAIN_BYTES];
    struct str name = {after, 0};
    struct arena arena;
    struct domain d;

    if (!c->some_closing)
        return;
    c->some_closing = false;
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    while (control_domain_next(control, name, &arena, &d) == OK) {
        static struct sched_domain_view v; /* 16 KiB, this thread's alone */

        if (d.closing && cluster_holds(c, d.name, NULL)) {
            struct command cmd = {.kind = COMMAND_DOMAIN_DROP,
                                  .domain_drop = {d.name, d.generation}};

            c->some_closing = true;
            if (!c->rescan &&
                (!sched_domain_view(c->sched, d.name, d.generation, &v) || v.messages == 0)) {
                cluster_tell(c, &(struct sched_event){.type = SCHED_EV_DOMAIN_GONE,
                                                      .domain = d.name,
                                                      .generation = d.generation});
                cluster_propose(c, &cmd);
            }
        }
        name = str_lower(d.name, after, sizeof after);
        arena_reset(&arena);
        arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    }
    arena_reset(&arena);
}

/* --- orders --- */

/* An operation is done when the last of its changes is durable. */
struct progress {
    struct progress *next;
    uint64_t operation; /* log index */
    uint64_t left;      /* changes, and one while they are being given out */
};

bool cluster_is_busy(struct cluster *c, struct mid id)
{
    struct sched_message_view v;

    return cluster_is_writing(c, id) ||
           (sched_message_view(c->sched, id, &v) &&
            (v.state == SCHED_MSG_GIVEN || v.state == SCHED_MSG_WRITING));
}

static void expect(struct cluster *c, uint64_t operation)
{
    struct progress *p = c->progress;

    while (p != NULL && p->operation != operation)
        p = p->next;
    if (p == NULL) {
        p = calloc(1, sizeof *p);
        ASSERT(p != NULL);
        *p = (struct progress){c->progress, operation, 0};
        c->progress = p;
    }
    p->left++;
}

void cluster_order_written(struct cluster *c, uint64_t operation)
{
    struct command cmd = {.kind = COMMAND_OPERATE_DONE, .operate_done = {operation}};
    struct progress **at = &c->progress, *p;

    if (cluster_is_member(c)) {
        cluster_operate_written(c, operation);
        return;
    }
    while ((p = *at) != NULL && p->operation != operation)
        at = &p->next;
    if (p == NULL || --p->left > 0)
        return;
    *at = p->next;
    free(p);
    if (!c->ended)
        cluster_propose(c, &cmd);
}

/* HOLD works at once, RELEASE when it is written: else a try could begin on the old record. */
static void set_held(struct cluster *c, struct delivery_job *j, bool held, uint64_t operation)
{
    bool is_new =
        j->env.held != held || (cluster_is_member(c) && j->env.held_index < operation);

    j->outcome =
        (struct outcome){.env = j->env, .write = is_new ? OUTCOME_UPDATE : OUTCOME_NOTHING};
    j->outcome.env.held = held;
    j->outcome.env.held_index = operation; /* between two nodes the later order counts */
    if (held || j->outcome.write == OUTCOME_NOTHING)
        cluster_tell(c, &(struct sched_event){.type = held ? SCHED_EV_HOLD : SCHED_EV_RELEASE,
                                              .id = j->env.id});
}

bool cluster_change(struct cluster *c, struct mid id, enum operate_op op, uint64_t operation)
{
    uint64_t now_ms = control_now_ms(c->node->control);
    enum err e;
    struct delivery_job *j = cluster_load(c, id, &e);

    if (j == NULL) /* gone meanwhile */
        return false;
    switch (op) {
    case OPERATE_HOLD:
    case OPERATE_RELEASE:
        set_held(c, j, op == OPERATE_HOLD, operation);
        break;
    case OPERATE_RETRY:
        cluster_tell(c, &(struct sched_event){
                            .type = SCHED_EV_RETRY_NOW, .scope = SCHED_MESSAGE, .id = id});
        j->outcome.write = OUTCOME_NOTHING;
        break;
    case OPERATE_DELETE:
    case OPERATE_BOUNCE: /* held until it is written: no try may begin meanwhile */
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_HOLD, .id = id});
        e = outcome_of_operator(&j->env, op == OPERATE_DELETE ? OUTCOME_PURGE : OUTCOME_BOUNCE,
                                NULL, now_ms, &j->arena, &j->outcome);
        break;
    }
    if (e == OK && j->outcome.write != OUTCOME_NOTHING) {
        cluster_may_tell(c, j);
        j->operation = operation;
        cluster_write(c, j, false);
        return true;
    }
    if (!j->env.held && (op == OPERATE_DELETE || op == OPERATE_BOUNCE))
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_RELEASE, .id = id});
    cluster_job_free(&j);
    return false;
}

static void act(struct cluster *c, const struct order *o)
{
    if (!cluster_change(c, o->id, o->op, o->operation))
        cluster_order_written(c, o->operation);
}

void cluster_order_try(struct cluster *c, struct mid id)
{
    struct order **at = &c->orders, *o;

    if (c->orders == NULL || c->ended || cluster_is_busy(c, id))
        return;
    while ((o = *at) != NULL && mid_cmp(o->id, id) != 0)
        at = &o->next;
    if (o == NULL)
        return;
    *at = o->next;
    act(c, o);
    free(o);
    cluster_order_try(c, id); /* one that needed no write lets the next one through */
}

static void order(struct cluster *c, const struct operation *op, struct mid id)
{
    struct order *o = calloc(1, sizeof *o), **at = &c->orders;

    ASSERT(o != NULL);
    *o = (struct order){NULL, id, op->operate.op, op->index};
    expect(c, op->index);
    if (cluster_is_busy(c, id)) { /* after what is under way, and after older orders */
        while (*at != NULL)
            at = &(*at)->next;
        *at = o;
        return;
    }
    act(c, o);
    free(o);
}

struct selection {
    struct cluster *cluster;
    const struct operation *op;
    struct mid *ids;
    size_t count, size;
};

static bool select_message(void *user, const struct envelope *e, bool dot_open)
{
    struct selection *s = user;
    const struct operate *o = &s->op->operate;

    (void)dot_open;
    if (e->received_ms > o->cutoff_ms)
        return true;
    if (o->select == OPERATE_DOMAIN &&
        (!str_eq(e->domain, o->domain) ||
         (o->generation != 0 && o->generation != e->domain_generation)))
        return true;
    if (s->count == s->size) {
        s->size = s->size > 0 ? 2 * s->size : 256;
        s->ids = realloc(s->ids, s->size * sizeof *s->ids);
        ASSERT(s->ids != NULL);
    }
    s->ids[s->count++] = e->id;
    return true;
}

static void operate(struct cluster *c, const struct operation *op)
{
    struct selection s = {.cluster = c, .op = op};
    struct spool_cursor cursor = {0};
    enum err e = OK;

    LOG(EV_OPERATOR, L_CSTR("op", operate_op_text(op->operate.op)),
        L_U64("uid", op->operate.uid), L_U64("index", op->index),
        L_U64("ids", op->operate.id_count), L_STR("domain", op->operate.domain));
    expect(c, op->index);
    if (op->operate.select == OPERATE_IDS) {
        for (uint32_t i = 0; i < op->operate.id_count; i++)
            order(c, op, op->operate.ids[i]);
    } else {
        while (e == OK && !cursor.end)
            e = spool_scan(c->reader, &cursor, 1000, select_message, &s);
        for (size_t i = 0; i < s.count; i++)
            order(c, op, s.ids[i]);
        free(s.ids);
    }
    cluster_order_written(c, op->index);
}

void cluster_operations(struct cluster *c)
{
    struct control *control = control_thread_state(c->node->control);
    struct arena arena;
    struct operation op;

    if (cluster_is_member(c)) {
        cluster_operations_new(c);
        return;
    }
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    while (control_operation_next(control, c->operations_seen, &arena, &op) == OK) {
        operate(c, &op);
        c->operations_seen = op.index;
        arena_reset(&arena);
        arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    }
    arena_reset(&arena);
}

void cluster_orders_free(struct cluster *c)
{
    while (c->orders != NULL) { /* pending in the control store: done after the next start */
        struct order *o = c->orders;

        c->orders = o->next;
        free(o);
    }
    while (c->progress != NULL) {
        struct progress *p = c->progress;

        c->progress = p->next;
        free(p);
    }
}
