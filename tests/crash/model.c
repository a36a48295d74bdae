#include "tests/crash/model.h"

#define STAGE_BYTES 100000

struct mid model_id(uint64_t counter)
{
    return mid_make(1, 7, counter);
}

static struct model_msg *slot(struct model *m, uint64_t counter)
{
    return &m->msgs[counter % MODEL_SLOTS];
}

static struct op *add(struct batch *b, enum op_kind kind, uint64_t counter)
{
    struct op *op = &b->ops[b->n++];

    *op = (struct op){.kind = kind, .counter = counter};
    return op;
}

static bool gone(const struct model_msg *msg)
{
    return msg->state == MODEL_FREE || msg->state == MODEL_SETTLED ||
           msg->state == MODEL_ABORTED;
}

static size_t live_count(const struct model *m)
{
    size_t n = 0;

    for (size_t i = 0; i < MODEL_SLOTS; i++)
        n += m->msgs[i].state == MODEL_LIVE_MSG;
    return n;
}

/* The oldest live message, or any; NULL: none lives. */
static struct model_msg *pick_live(struct model *m, struct prng *r, bool oldest)
{
    struct model_msg *best = NULL;
    size_t start = (size_t)prng_below(r, MODEL_SLOTS);

    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        struct model_msg *msg = &m->msgs[(start + i) % MODEL_SLOTS];

        if (msg->state != MODEL_LIVE_MSG)
            continue;
        if (!oldest)
            return msg;
        if (best == NULL || msg->counter < best->counter)
            best = msg;
    }
    return best;
}

static struct model_msg *draw(struct model *m, uint64_t bytes)
{
    uint64_t counter = m->next;
    struct model_msg *msg = slot(m, counter);

    /* The window is full: something must leave first, and in an earlier batch, because
     * model_run() looks here for what the batch did to it. */
    if (!gone(msg) || (msg->state != MODEL_FREE && msg->batch == m->batch))
        return NULL;
    m->next++;
    *msg = (struct model_msg){.state = MODEL_DRAWN,
                              .counter = counter,
                              .bytes = bytes,
                              .digest = kit_digest(model_id(counter), bytes),
                              .batch = m->batch};
    return msg;
}

static uint64_t some_size(struct prng *r)
{
    switch (prng_below(r, 8)) {
    case 0:
        return prng_below(r, 3) * SPOOL_CHUNK_DATA_BYTES;
    case 1:
        return 20000 + prng_below(r, 40000);
    default:
        return prng_below(r, 9000);
    }
}

static void plan_put(struct model *m, struct prng *r, struct batch *b)
{
    struct model_msg *msg = draw(m, some_size(r));

    if (msg == NULL)
        return;
    msg->state = MODEL_LIVE_MSG;
    add(b, OP_PUT, msg->counter);
}

static void plan_abort(struct model *m, struct batch *b)
{
    struct model_msg *msg = draw(m, 0);

    if (msg == NULL)
        return;
    msg->state = MODEL_ABORTED;
    add(b, OP_ABORT, msg->counter);
}

static void plan_stage(struct model *m, struct prng *r, struct kit *k, struct batch *b)
{
    struct model_staged *st = &m->staged;
    struct op *op;

    if (!st->active) {
        struct model_msg *msg = draw(m, 150000 + prng_below(r, 150000));

        if (msg == NULL)
            return;
        *st = (struct model_staged){.active = true,
                                    .counter = msg->counter,
                                    .bytes = msg->bytes,
                                    .digest = msg->digest,
                                    .number = spool_next_body(k->spool)};
    }
    if (st->done < st->bytes) {
        op = add(b, OP_STAGE, st->counter);
        op->number = st->number;
        op->offset = st->done;
        op->bytes = st->bytes - st->done < STAGE_BYTES ? st->bytes - st->done : STAGE_BYTES;
        st->done += op->bytes;
        return;
    }
    slot(m, st->counter)->number = st->number;
    if (prng_below(r, 4) == 0) {
        add(b, OP_UNSTAGE, st->counter);
        slot(m, st->counter)->state = MODEL_DRAWN;
    } else {
        add(b, OP_PUT_STAGED, st->counter);
        slot(m, st->counter)->state = MODEL_LIVE_MSG;
    }
    st->active = false;
}

static void plan_settle(struct model *m, struct prng *r, struct batch *b)
{
    struct model_msg *msg = pick_live(m, r, prng_below(r, 2) == 0);

    if (msg == NULL)
        return;
    msg->state = MODEL_SETTLED;
    msg->batch = m->batch;
    msg->dot = false;
    add(b, OP_SETTLE, msg->counter);
}

static void plan_touch(struct model *m, struct prng *r, struct batch *b)
{
    struct model_msg *msg = pick_live(m, r, false);

    if (msg == NULL)
        return;
    if (msg->dot) {
        msg->dot = false;
        add(b, OP_CLOSED, msg->counter);
    } else if (prng_below(r, 2) == 0) {
        msg->dot = true;
        add(b, OP_DOT, msg->counter)->dot_epoch = ++m->dot_epoch;
    } else {
        msg->attempts++;
        add(b, OP_UPDATE, msg->counter);
    }
}

/* An id that was drawn for a body that never came: it must not stay a gap. */
static void plan_leftovers(struct model *m, struct batch *b)
{
    for (size_t i = 0; i < MODEL_SLOTS && b->n < BATCH_OPS / 2; i++) {
        struct model_msg *msg = &m->msgs[i];

        if (msg->state != MODEL_DRAWN ||
            (m->staged.active && m->staged.counter == msg->counter))
            continue;
        msg->state = MODEL_ABORTED;
        msg->batch = m->batch;
        add(b, OP_ABORT, msg->counter);
    }
}

void model_plan(struct model *m, struct prng *r, struct kit *k, struct batch *b)
{
    size_t want = 1 + (size_t)prng_below(r, BATCH_OPS / 2 - 1);

    *b = (struct batch){0};
    m->batch++;
    plan_leftovers(m, b);
    for (size_t tries = 0; tries < 4 * BATCH_OPS && b->n < BATCH_OPS / 2 + want; tries++) {
        bool crowded = live_count(m) > MODEL_LIVE || m->next % MODEL_SLOTS == MODEL_SLOTS - 1;
        uint64_t die = prng_below(r, 20);

        if (die < (crowded ? 12 : 5))
            plan_settle(m, r, b);
        else if (die < 14)
            plan_put(m, r, b);
        else if (die < 15)
            plan_abort(m, b);
        else if (die < 16)
            plan_stage(m, r, k, b);
        else
            plan_touch(m, r, b);
    }
    copies_plan(&m->copies, r, &b->copies);
}

static void envelope_of(const struct model_msg *msg, struct kit_message *out)
{
    kit_envelope(out, model_id(msg->counter), 0);
    out->envelope.body_bytes = msg->bytes;
    out->envelope.body_digest = msg->digest;
    out->envelope.body_number = msg->number;
    out->rcpt.attempts = msg->attempts;
}

static enum err run_stage(struct kit *k, struct spool_txn *t, const struct op *op)
{
    struct block_list piece = {0};
    enum err e;

    kit_append(k, &piece, model_id(op->counter), op->offset, op->bytes);
    e = spool_stage(t, op->number, op->offset, &piece);
    block_list_free(&k->pool, &piece);
    return e;
}

static enum err run_put(struct kit *k, struct spool_txn *t, struct model_msg *msg,
                        struct kit_message *made)
{
    enum err e;

    kit_append(k, &made->body, made->envelope.id, 0, msg->bytes);
    e = spool_put(t, &made->envelope, &made->body);
    msg->number = made->envelope.body_number;
    kit_message_free(k, made);
    return e;
}

/* The model is already where the whole batch leads: a message that is put and updated in one
 * batch is put with the attempts it ends with, which the update then writes again. */
static enum err run_op(struct model *m, struct kit *k, struct spool_txn *t, const struct op *op)
{
    struct model_msg *msg = slot(m, op->counter);
    struct kit_message made;

    envelope_of(msg, &made);
    switch (op->kind) {
    case OP_PUT:
        return run_put(k, t, msg, &made);
    case OP_STAGE:
        return run_stage(k, t, op);
    case OP_PUT_STAGED:
        return spool_put_staged(t, &made.envelope, msg->number);
    case OP_UNSTAGE:
        return spool_unstage(t, msg->number);
    case OP_ABORT:
        return spool_abort_id(t, made.envelope.id);
    case OP_UPDATE:
        return spool_update(t, &made.envelope);
    case OP_DOT:
        return spool_dot(t, made.envelope.id, op->dot_epoch);
    case OP_CLOSED:
        return spool_closed(t, made.envelope.id);
    case OP_SETTLE:
        return spool_settle(t, &made.envelope, 1, 1);
    }
    return E_PROTO;
}

struct spool_txn *model_run(struct model *m, struct kit *k, const struct batch *b)
{
    struct spool_txn *t = spool_begin(k->spool);

    for (size_t i = 0; i < b->n; i++) {
        enum err e = run_op(m, k, t, &b->ops[i]);

        if (e != OK)
            fprintf(stderr, "op %d on %llu: %s\n", (int)b->ops[i].kind,
                    (unsigned long long)b->ops[i].counter, err_text(e));
        ASSERT(e == OK);
    }
    copies_run(k, t, &b->copies);
    return t;
}

void model_crashed(struct model *m)
{
    m->staged.active = false;
}

/* --- Comparing --- */

static const char *live_differs(const struct model_msg *msg, struct kit *k)
{
    struct envelope e;

    if (kit_get(k, model_id(msg->counter), &e) != OK)
        return "an acknowledged message is missing";
    if (e.body_bytes != msg->bytes || e.body_digest != msg->digest)
        return "a message has another body";
    if (e.rcpts[0].attempts != msg->attempts)
        return "an envelope is of another time";
    if (spool_verify_body(k->reader, &e) != OK)
        return "a body is damaged";
    if (spool_settled_contains(k->reader, e.id) != E_NOTFOUND)
        return "a live message is settled";
    return NULL;
}

static const char *dead_differs(const struct model_msg *msg, struct kit *k)
{
    struct mid id = model_id(msg->counter);
    struct envelope e;
    enum err traced;
    bool live;

    if (spool_settled_contains(k->reader, id) != OK)
        return "a settled id is not in the settled set";
    arena_reset(&k->arena);
    traced = spool_trace(k->reader, id, &k->arena, &e, &live);
    if (traced == OK && live)
        return "a settled message lives";
    if (msg->state == MODEL_ABORTED)
        return traced == E_NOTFOUND ? NULL : "an aborted id has a trace";
    if (traced != OK)
        return "a settled message has no trace";
    return e.rcpts[0].attempts == msg->attempts ? NULL : "a trace is of another time";
}

static const char *absent_differs(const struct model_msg *msg, struct kit *k)
{
    struct mid id = model_id(msg->counter);
    struct envelope e;

    if (kit_get(k, id, &e) != E_NOTFOUND)
        return "a message is there that nobody put";
    return spool_settled_contains(k->reader, id) == E_NOTFOUND ? NULL
                                                               : "an id is settled too early";
}

struct tally {
    const struct model *m;
    size_t n;
    const char *what;
};

static bool count_live(void *user, const struct envelope *e, bool dot_open)
{
    struct tally *t = user;
    const struct model_msg *msg = &t->m->msgs[mid_counter(e->id) % MODEL_SLOTS];

    t->n++;
    if (mid_site(e->id) != mid_site(model_id(1)))
        return true; /* a copy: looked at by copies_differ() */
    if (msg->counter != mid_counter(e->id) || msg->state != MODEL_LIVE_MSG)
        t->what = "a message is there that nobody put";
    else if (msg->dot != dot_open)
        t->what = "a mark is lost, or one too many";
    return true;
}

static const char *totals_differ(const struct model *m, struct kit *k)
{
    struct tally t = {.m = m};
    struct spool_totals copies = copies_totals(&m->copies);
    struct spool_cursor c = {0};
    uint64_t bytes = copies.bytes;

    while (!c.end)
        if (spool_scan(k->reader, &c, 7, count_live, &t) != OK || c.corrupt > 0)
            return "the scan fails";
    for (size_t i = 0; i < MODEL_SLOTS; i++)
        if (m->msgs[i].state == MODEL_LIVE_MSG)
            bytes += m->msgs[i].bytes;
    if (t.what != NULL)
        return t.what;
    if (t.n != live_count(m) + copies.messages || spool_totals(k->spool).messages != t.n ||
        spool_totals(k->spool).bytes != bytes)
        return "the totals are wrong";
    return NULL;
}

const char *model_differs(const struct model *m, struct kit *k)
{
    const char *what = totals_differ(m, k);

    if (what == NULL)
        what = copies_differ(&m->copies, k);
    for (size_t i = 0; i < MODEL_SLOTS && what == NULL; i++) {
        const struct model_msg *msg = &m->msgs[i];

        if (msg->state == MODEL_LIVE_MSG)
            what = live_differs(msg, k);
        else if (msg->state == MODEL_SETTLED || msg->state == MODEL_ABORTED)
            what = dead_differs(msg, k);
        else if (msg->state == MODEL_DRAWN)
            what = absent_differs(msg, k);
    }
    if (what == NULL && m->next > MODEL_SLOTS + 1 &&
        spool_settled_contains(k->reader, model_id(1)) != OK)
        what = "an old id is forgotten";
    /* The next one nobody has drawn. */
    if (what == NULL && spool_settled_contains(k->reader, model_id(m->next)) != E_NOTFOUND)
        what = "an id is settled that was never drawn";
    return what;
}
