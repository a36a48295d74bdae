/* The writer thread: natural group commit. What it wrote takes virtual time to become durable;
 * answers go out after that, or never, when the power is cut before. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "proto/record.h"
#include "tests/sim/sim.h"

#define TURN_US     100 /* work of a turn besides the disk */
#define PRUNE_COUNT 1000
#define FORGET_MS   ((uint64_t)(LIMIT_TRACE_DAYS + 2) * 86400000)

void writer_init(struct node *n)
{
    n->writer = (struct writer_state){0};
    n->writer.last = &n->writer.first;
}

struct write_request *write_request_new(enum write_kind kind)
{
    struct write_request *r = calloc(1, sizeof *r);

    ASSERT(r != NULL);
    r->kind = kind;
    arena_init(&r->arena, 4 * RECORD_ARENA_BYTES);
    return r;
}

void write_request_free(struct write_request *r)
{
    arena_reset(&r->arena);
    blob_release(&r->bytes);
    free(r);
}

static enum err put(struct node *n, struct spool_txn *t, struct write_request *r)
{
    struct spool_copy c = {.state = COPY_UNDECIDED, .staged = r->body_number, .bytes = r->body};
    enum err e = spool_put_copy(t, r->env, &c), gone;

    (void)n;
    if (e == OK)
        return OK;
    gone = spool_abort_copy(t, r->env->id);
    return gone == E_IO ? E_IO : e;
}

/* INV-4: a yes comes from a witness that has applied this slot epoch as the newest. */
static void look_at_dot(struct node *n, struct spool_txn *t, const struct copy_op *op)
{
    uint64_t epoch = 0;
    uint16_t site = 0;
    char text[MID_TEXT_SIZE];

    if (op->answer.code != COPY_OK && op->answer.code != COPY_DOUBT)
        return;
    mid_text(op->record.id, text);
    if (control_holder(n->control, op->record.domain, &site, &epoch) != OK ||
        site != op->record.site || epoch != op->record.slot_epoch)
        violation("INV-4: node %u says yes to a dot of site %u for %s under epoch %llu, and "
                  "knows %u and %llu",
                  n->index, op->record.site, text, (unsigned long long)op->record.slot_epoch,
                  site, (unsigned long long)epoch);
    if (!spool_is_filled(t))
        violation("INV-4: node %u says yes to a dot for %s, and its own memory has a gap",
                  n->index, text);
    check_yes(op->record.id, n->index);
}

/* The state of a copy whose session is over; COPY_SETTLED: nothing is to be said of it. */
static enum copy_state state_behind_seal(struct node *n, struct spool_txn *t,
                                         const struct copy_op *op)
{
    struct mid id = op->record.id;
    struct spool_state st;

    if ((op->record.kind != COPY_PUT && op->record.kind != COPY_ABORT) ||
        !control_session_sealed(n->control, mid_site(id), mid_epoch(id)) ||
        spool_state(t, id, &st) != OK || st.damaged)
        return COPY_SETTLED;
    return st.state;
}

/* The same of commit knowledge: an abort that it covers may have been refused. */
static void look_at_upto(const struct node *n, const struct copy_op *op)
{
    if (op->answer.code == COPY_OK && op->from != n->site &&
        control_session_sealed(n->control, op->record.site, op->record.epoch))
        violation("INV-3: node %u takes the word of site %u on its session %llu, which is over",
                  n->index, op->from, (unsigned long long)op->record.epoch);
}

/* INV-3: behind the seal its origin decides nothing any more, and nothing new comes in. */
static void look_at_seal(const struct node *n, enum copy_state before, const struct copy_op *op)
{
    char text[MID_TEXT_SIZE];

    if (op->answer.code != COPY_OK)
        return;
    if (before == COPY_NONE && op->record.kind == COPY_PUT && op->state == COPY_UNDECIDED)
        violation("INV-3: node %u takes %s, undecided, of a session that is over", n->index,
                  mid_text(op->record.id, text));
    if (before < COPY_ABORTED && op->record.kind == COPY_ABORT && op->state == COPY_ABORTED &&
        op->from == mid_site(op->record.id))
        violation("INV-3: node %u takes the word of site %u that %s is aborted, and its "
                  "session is over",
                  n->index, op->from, mid_text(op->record.id, text));
}

static enum err run(struct node *n, struct spool_txn *t, struct write_request *r)
{
    enum copy_state before;
    enum err e;

    switch (r->kind) {
    case WRITE_PUT:
        return put(n, t, r);
    case WRITE_STAGE:
        return spool_stage_copy(t, r->body_number, r->offset, r->body);
    case WRITE_COPY:
        before = state_behind_seal(n, t, r->op);
        copy_store_apply(&n->store, t, r->op);
        look_at_seal(n, before, r->op);
        if (r->op->record.kind == COPY_UPTO)
            look_at_upto(n, r->op);
        if (r->op->record.kind == COPY_DOT && r->op->from != n->site)
            look_at_dot(n, t, r->op);
        return OK;
    case WRITE_MEMBER:
        e = spool_member_begin(t, r->incarnation, r->incarnation, r->filled);
        return e == E_EXISTS ? OK : e;
    case WRITE_LINK:
        copy_store_link_new(&n->store, t, r->site);
        return OK;
    case WRITE_AGE:
        copy_store_age(&n->store, t, node_ms(n));
        return spool_prune(t, log_cluster_ms(n), PRUNE_COUNT, NULL);
    case WRITE_FORGET:
        return spool_prune(t, log_cluster_ms(n) + FORGET_MS, PRUNE_COUNT, NULL);
    }
    return E_PROTO;
}

/* --- What the oracle is told once it is durable --- */

static void tell_outcome(struct node *n, const struct copy_op *op)
{
    struct arena a;
    struct envelope e;

    arena_init(&a, 4 * RECORD_ARENA_BYTES);
    if (envelope_decode(op->record.envelope, &a, &e) == OK)
        check_outcome(&e, n->index);
    arena_reset(&a);
}

static void trace_ranges(const struct copy_record *r)
{
    for (uint32_t i = 0; i < r->range_count; i++)
        trace("    state %d: %llu to %llu", (int)r->state,
              (unsigned long long)r->ranges[i].from, (unsigned long long)r->ranges[i].to);
}

static void tell(struct node *n, const struct write_request *r)
{
    const struct copy_op *op = r->op;
    char text[MID_TEXT_SIZE];

    if (trace_on() && op != NULL && op->record.kind != COPY_ECHO)
        trace("node %u: stored %s %s of site %u (%u %llu %llu): %s, state %d", n->index,
              copy_kind_text(op->record.kind), mid_text(op->record.id, text), op->from,
              op->record.site, (unsigned long long)op->record.epoch,
              (unsigned long long)op->record.counter, copy_code_text(op->answer.code),
              (int)op->state);
    if (trace_on() && op != NULL)
        trace_ranges(&op->record);
    else if (trace_on() && r->kind == WRITE_PUT)
        trace("node %u: stored own %s: %s", n->index, mid_text(r->env->id, text),
              err_text(r->err));

    if (r->kind == WRITE_PUT && r->err == OK)
        check_stored(r->env->id, n->index);
    if (r->kind != WRITE_COPY || r->err != OK)
        return;
    if (op->record.kind == COPY_PUT && op->answer.code == COPY_OK &&
        (op->state == COPY_UNDECIDED || op->state == COPY_COMMITTED))
        check_stored(op->record.id, n->index);
    if (op->state == COPY_ABORTED &&
        (op->record.kind == COPY_ABORT || op->record.kind == COPY_PUT))
        check_aborted(op->record.id, n->index);
    if (op->record.kind == COPY_OUTCOME && op->answer.code == COPY_OK)
        tell_outcome(n, op);
}

/* --- Turns --- */

static void fail(struct write_request *r, enum err e)
{
    r->err = e;
    if (r->op != NULL)
        r->op->answer.code = e == E_FULL ? COPY_NO_ROOM : COPY_FAILED;
}

/* After a batch that did not fit: mail is shed, what ends messages is tried once more. */
static void run_alone(struct node *n, struct write_request *r)
{
    bool shed = r->kind == WRITE_PUT || r->kind == WRITE_STAGE ||
                (r->kind == WRITE_COPY &&
                 (r->op->record.kind == COPY_PUT || r->op->record.kind == COPY_BODY));
    struct spool_txn *t = spool_begin(n->spool);
    enum err e;

    if (r->kind == WRITE_PUT)
        r->err = spool_abort_copy(t, r->env->id);
    else if (!shed)
        r->err = run(n, t, r);
    e = spool_commit(&t);
    if (shed)
        r->err = E_FULL;
    if (shed && r->op != NULL)
        r->op->answer.code = COPY_NO_ROOM;
    else if (e != OK)
        fail(r, e);
}

static void turn(struct node *n, void *arg);

static void finish(struct node *n, void *arg)
{
    struct write_request *r = n->writer.flying, *next;
    enum err e = n->writer.commit_err;

    (void)arg;
    disk_end(n->spool_disk);
    n->writer.busy = false;
    n->writer.flying = NULL;
    if (e != OK && e != E_FULL) {
        sim_counts()->io_errors++;
        node_end(n, "the spool failed");
    }
    for (; r != NULL; r = next) {
        next = r->next;
        if (e == E_FULL)
            run_alone(n, r);
        else if (e != OK)
            fail(r, e);
        tell(n, r);
        r->done(n, r);
    }
    if (!n->ending && n->writer.first != NULL)
        turn(n, NULL);
}

static void turn(struct node *n, void *arg)
{
    struct writer_state *w = &n->writer;
    struct spool_txn *t;
    struct write_request *r;

    (void)arg;
    if (w->busy || w->first == NULL || n->ending)
        return;
    w->busy = true;
    w->flying = w->first;
    w->first = NULL;
    w->last = &w->first;
    disk_begin(n->spool_disk);
    t = spool_begin(n->spool);
    for (r = w->flying; r != NULL; r = r->next)
        r->err = run(n, t, r);
    w->commit_err = spool_commit(&t);
    sim_counts()->commits++;
    node_post(n, TURN_US + disk_cost_us(n->spool_disk), finish, NULL);
}

void writer_give(struct node *n, struct write_request *r)
{
    r->next = NULL;
    *n->writer.last = r;
    n->writer.last = &r->next;
    if (!n->writer.busy)
        node_post(n, world_below(200), turn, NULL);
}

void writer_drop(struct node *n)
{
    struct write_request *r, *next;

    for (int i = 0; i < 2; i++)
        for (r = i == 0 ? n->writer.flying : n->writer.first; r != NULL; r = next) {
            next = r->next;
            write_request_free(r);
        }
    writer_init(n);
}
