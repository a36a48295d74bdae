/* Operators' orders in a member. Each node has each order, in the log, and all copies; the
 * holder of a message's domain acts; an order is done when a walk of the log's leader finds
 * nothing that it selects and that is not as it wants it. So an order survives whoever began to
 * carry it out: docs/decisions/0010-orders-are-done-when-nothing-is-left.md. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "node/cluster_private.h"
#include "node/delivery/order.h"
#include "proto/record.h"

#define WALK_BATCH      1000
#define BATCHES_A_BEAT  5
#define CHANGES_AT_ONCE 500  /* under way; the walk waits meanwhile */
#define LOOK_MS         1000 /* between two walks of one order ... */
#define LOOK_SOON_MS    200  /* ... when some of its changes have been written */
#define LOOK_FAR_MS     5000 /* ... over much mail */
#define MUCH_MAIL       20000
#define DONE_AGAIN_MS   3000 /* proposed again */

/* One order that is not done. */
struct order_run {
    struct order_run *next;
    struct arena arena;
    struct operation op;
    struct spool_cursor cursor;
    bool walking, is_over;
    uint64_t look_ms;      /* next walk */
    uint64_t seen, unmet;  /* by this walk: messages; those that are not as wanted */
    uint64_t changes;      /* on their way */
    uint64_t retried_view; /* RETRY: told for what was held then */
};

static bool is_holding(const struct order_run *r)
{
    return r->op.operate.op == OPERATE_HOLD || r->op.operate.op == OPERATE_RELEASE;
}

void cluster_operations_new(struct cluster *c)
{
    struct control *control = control_thread_state(c->node->control);
    struct order_run **at = &c->runs, *r;

    while (*at != NULL)
        at = &(*at)->next;
    for (;;) {
        r = calloc(1, sizeof *r);
        ASSERT(r != NULL);
        arena_init(&r->arena, LIMIT_COMMAND_SCRATCH);
        if (control_operation_next(control, c->operations_seen, &r->arena, &r->op) != OK)
            break;
        c->operations_seen = r->op.index;
        *at = r;
        at = &r->next;
    }
    arena_reset(&r->arena);
    free(r);
}

/* --- one message --- */

struct find {
    struct cluster *cluster;
    struct order_run *run;
    bool alone;
    struct mid ids[WALK_BATCH]; /* to be acted on here */
    size_t count;
};

static void look_at(struct find *f, const struct envelope *e)
{
    struct order_run *r = f->run;

    r->seen++;
    if (!order_selects(&r->op.operate, e) ||
        order_is_met(&r->op.operate, r->op.index, f->alone, e))
        return;
    r->unmet++;
    if (f->count < WALK_BATCH && cluster_holds(f->cluster, e->domain, NULL))
        f->ids[f->count++] = e->id;
}

static bool on_message(void *user, const struct envelope *e, bool dot_open)
{
    (void)dot_open;
    look_at(user, e);
    return true;
}

static void act(struct cluster *c, struct order_run *r, struct mid id)
{
    if (cluster_is_busy(c, id)) { /* found again by a later walk; no try begins before it */
        if (r->op.operate.op == OPERATE_HOLD)
            cluster_tell(c, &(struct sched_event){.type = SCHED_EV_HOLD, .id = id});
        return;
    }
    r->changes++;
    if (!cluster_change(c, id, r->op.operate.op, r->op.index))
        r->changes--;
}

/* --- walks --- */

static bool is_pending(const struct cluster *c, const struct order_run *r)
{
    struct control *control = control_thread_state(c->node->control);
    struct arena arena;
    struct operation op;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_operation_next(control, r->op.index - 1, &arena, &op);
    arena_reset(&arena);
    return e != E_NOTFOUND && (e != OK || op.index == r->op.index);
}

static void walk_begin(struct cluster *c, struct order_run *r)
{
    r->is_over = !is_pending(c, r);
    r->walking = true;
    r->seen = r->unmet = 0;
    r->cursor = (struct spool_cursor){.committed_only = true};
}

static void walk_ids(struct cluster *c, struct find *f)
{
    const struct operate *o = &f->run->op.operate;
    struct arena arena;

    f->run->cursor.end = true;
    for (uint32_t i = 0; i < o->id_count; i++) {
        struct spool_state st;
        struct envelope e;

        if (spool_state_of(c->reader, o->ids[i], &st) != OK || st.state != COPY_COMMITTED)
            continue;
        arena_init(&arena, 3 * RECORD_ARENA_BYTES);
        if (spool_get(c->reader, o->ids[i], &arena, &e) == OK)
            look_at(f, &e);
        arena_reset(&arena);
    }
}

/* A piece of a walk. False: the spool cannot be read; again later. */
static bool walk_step(struct cluster *c, struct order_run *r, bool alone)
{
    struct find *f = calloc(1, sizeof *f);
    bool good = true, retry = r->op.operate.op == OPERATE_RETRY;

    ASSERT(f != NULL);
    f->cluster = c;
    f->run = r;
    f->alone = alone;
    if (r->op.operate.select == OPERATE_IDS)
        walk_ids(c, f);
    else
        good = spool_scan(c->reader, &r->cursor, WALK_BATCH, on_message, f) == OK;
    for (size_t i = 0; i < f->count && !(retry && r->retried_view == c->views); i++)
        act(c, r, f->ids[i]);
    free(f);
    return good;
}

static bool is_leader(const struct cluster *c)
{
    struct control_core_status s;

    control_thread_status(c->node->control, &s);
    return s.leader_site == c->node->site;
}

/* Each node that may hold has renewed its session since, so it has the order; one that has not
 * soon holds nothing. */
static bool is_heard(const struct cluster *c, const struct order_run *r)
{
    struct session sessions[LIMIT_SITES];
    uint32_t n = 0;

    if (control_sessions(control_thread_state(c->node->control), sessions, &n) != OK)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!sessions[i].ended && sessions[i].renewal_index < r->op.index)
            return false;
    return true;
}

static void propose_done(struct cluster *c, const struct order_run *r)
{
    struct command cmd = {.kind = COMMAND_OPERATE_DONE, .operate_done = {r->op.index}};
    struct control_propose_to to = {.box = c->box, .kind = CLUSTER_MAIL_ANSWER};

    if (control_propose(c->node->control, &cmd, &to) != OK)
        LOG(EV_SHED, L_CSTR("limit", "control log")); /* by the next walk */
}

static void walk_end(struct cluster *c, struct order_run *r, uint64_t now_ms)
{
    bool retry = r->op.operate.op == OPERATE_RETRY;

    r->walking = false;
    r->look_ms = now_ms + (r->seen > MUCH_MAIL ? LOOK_FAR_MS : LOOK_MS);
    if (retry)
        r->retried_view = c->views;
    if (r->is_over || r->changes > 0 || !is_leader(c) ||
        (retry ? !is_heard(c, r) : r->unmet > 0))
        return;
    propose_done(c, r);
    r->look_ms = now_ms + DONE_AGAIN_MS;
}

static void run_step(struct cluster *c, struct order_run *r, bool alone, uint64_t now_ms)
{
    if (!r->walking && now_ms < r->look_ms)
        return;
    if (!r->walking)
        walk_begin(c, r);
    for (int i = 0; i < BATCHES_A_BEAT && !r->cursor.end; i++) {
        if (r->changes >= CHANGES_AT_ONCE)
            return;
        if (!walk_step(c, r, alone)) {
            r->walking = false;
            r->look_ms = now_ms + LOOK_FAR_MS;
            return;
        }
    }
    if (r->cursor.end)
        walk_end(c, r, now_ms);
}

/* What is done goes when its last walk here is over: what it found here is being done. */
static bool is_finished(const struct order_run *r)
{
    return r->is_over && !r->walking && r->changes == 0;
}

static void run_free(struct order_run *r)
{
    arena_reset(&r->arena);
    free(r);
}

void cluster_operate_beat(struct cluster *c)
{
    struct order_run **at = &c->runs, *r;
    uint64_t now_ms = clock_boot_ms();
    bool alone = true;

    if (c->ended || c->draining)
        return;
    while ((r = *at) != NULL) {
        run_step(c, r, alone || !is_holding(r), now_ms);
        if (is_finished(r)) {
            *at = r->next;
            run_free(r);
            continue;
        }
        alone = alone && !is_holding(r);
        at = &r->next;
    }
}

void cluster_operate_written(struct cluster *c, uint64_t operation)
{
    for (struct order_run *r = c->runs; r != NULL; r = r->next) {
        if (r->op.index != operation)
            continue;
        r->changes--;
        if (!r->walking && r->look_ms > clock_boot_ms() + LOOK_SOON_MS)
            r->look_ms = clock_boot_ms() + LOOK_SOON_MS;
    }
}

void cluster_operate_look(struct cluster *c)
{
    uint64_t soon_ms = clock_boot_ms() + LOOK_SOON_MS;

    for (struct order_run *r = c->runs; r != NULL; r = r->next)
        if (!r->walking && r->look_ms > soon_ms)
            r->look_ms = soon_ms;
}

void cluster_operate_end(struct cluster *c)
{
    while (c->runs != NULL) { /* pending in the control store: for who holds next */
        struct order_run *r = c->runs;

        c->runs = r->next;
        run_free(r);
    }
}
