#include "tests/crash/copies.h"

#define SITE          2
#define FIRST_SESSION 9

static struct mid id_of(uint64_t session, uint64_t counter)
{
    return mid_make(SITE, FIRST_SESSION + session, counter);
}

static struct copies_slot *slot(struct copies *c, uint64_t counter)
{
    return &c->slots[counter - 1];
}

static enum copy_state state_of(const struct copies *c, uint64_t counter)
{
    enum copy_state s = c->slots[counter - 1].state;

    return s == COPY_UNDECIDED && (c->resolved || counter <= c->upto) ? COPY_COMMITTED : s;
}

static bool is_live(enum copy_state s)
{
    return s == COPY_UNDECIDED || s == COPY_COMMITTED;
}

struct spool_totals copies_totals(const struct copies *c)
{
    struct spool_totals t = {0};

    for (size_t i = 0; i < COPIES_SLOTS; i++)
        if (is_live(c->slots[i].state)) {
            t.messages++;
            t.bytes += c->slots[i].bytes;
        }
    return t;
}

/* --- Planning --- */

static struct copies_op *add(struct copies *c, struct copies_batch *b, enum copies_kind kind,
                             uint64_t counter)
{
    struct copies_op *op = &b->ops[b->n++];

    *op = (struct copies_op){.kind = kind, .session = c->session, .counter = counter};
    return op;
}

static void set_state(struct copies *c, uint64_t counter, enum copy_state to)
{
    ASSERT(to >= slot(c, counter)->state); /* or the model itself goes downwards */
    slot(c, counter)->state = to;
    if (to == COPY_SETTLED)
        slot(c, counter)->has_mark = false;
}

/* A drawn id in this state; 0: none. */
static uint64_t pick(const struct copies *c, struct prng *r, enum copy_state state)
{
    uint64_t start = prng_below(r, COPIES_SLOTS);

    for (uint64_t i = 0; i < COPIES_SLOTS; i++) {
        uint64_t counter = 1 + (start + i) % COPIES_SLOTS;

        if (counter <= c->next && state_of(c, counter) == state)
            return counter;
    }
    return 0;
}

static uint64_t draw(struct copies *c)
{
    return c->next < COPIES_SLOTS ? ++c->next : 0;
}

static void plan_put(struct copies *c, struct prng *r, struct copies_batch *b)
{
    uint64_t counter = prng_below(r, 8) == 0 ? pick(c, r, COPY_ABORTED) : 0;
    bool again = counter != 0;
    struct copies_op *op;

    if (!again)
        counter = draw(c);
    if (counter == 0)
        return;
    op = add(c, b, prng_below(r, 3) == 0 ? COPIES_PUT_STAGED : COPIES_PUT, counter);
    op->state = again || prng_below(r, 3) == 0 ? COPY_COMMITTED : COPY_UNDECIDED;
    op->bytes = 1 + prng_below(r, 15000);
    slot(c, counter)->bytes = op->bytes;
    set_state(c, counter, op->state);
}

static void plan_upto(struct copies *c, struct prng *r, struct copies_batch *b)
{
    if (c->upto >= c->next)
        return;
    c->upto += 1 + prng_below(r, c->next - c->upto);
    add(c, b, COPIES_UPTO, c->upto);
}

static void plan_resolved(struct copies *c, struct prng *r, struct copies_batch *b)
{
    if (c->next < COPIES_SLOTS || c->resolved || prng_below(r, 3) != 0)
        return;
    c->resolved = true;
    add(c, b, COPIES_RESOLVED, 0);
}

static void plan_to(struct copies *c, struct copies_batch *b, enum copies_kind kind,
                    uint64_t counter, enum copy_state to)
{
    if (counter == 0)
        return;
    add(c, b, kind, counter)->bytes = slot(c, counter)->bytes;
    set_state(c, counter, to);
}

static void plan_range(struct copies *c, struct prng *r, struct copies_batch *b)
{
    struct copies_op *op;

    if (c->next == 0)
        return;
    op = add(c, b, COPIES_RANGE, 1 + prng_below(r, c->next));
    op->last = op->counter + prng_below(r, c->next - op->counter + 1);
    for (uint64_t i = op->counter; i <= op->last; i++)
        if (!is_live(slot(c, i)->state))
            set_state(c, i, COPY_SETTLED);
}

static void plan_mark(struct copies *c, struct prng *r, struct copies_batch *b)
{
    uint64_t counter = c->next > 0 ? 1 + prng_below(r, c->next) : 0;
    struct copies_slot *s;

    if (counter == 0 || slot(c, counter)->state == COPY_SETTLED)
        return;
    s = slot(c, counter);
    if (s->has_mark && prng_below(r, 2) == 0) {
        s->has_mark = false;
        add(c, b, COPIES_CLOSED, counter);
        return;
    }
    s->has_mark = true;
    s->mark = (struct spool_mark){1 + prng_below(r, 1000), (uint16_t)(1 + prng_below(r, 3)),
                                  1 + prng_below(r, 1000), prng_below(r, 2) != 0,
                                  prng_below(r, 2) != 0};
    add(c, b, COPIES_MARK, counter)->mark = s->mark;
}

/* An id that was drawn and is not heard of: a range settles it, or the end of its session. */
static void plan_silence(struct copies *c, struct prng *r, struct copies_batch *b)
{
    uint64_t counter = draw(c);

    if (counter != 0 && prng_below(r, 2) == 0)
        plan_to(c, b, COPIES_ABORT, counter, COPY_ABORTED);
}

static void plan_clear(struct copies *c, struct copies_batch *b)
{
    uint64_t filled_by = c->filled_by;
    uint64_t session = c->session + 1;

    if (c->next < COPIES_SLOTS || copies_totals(c).messages > 0)
        return;
    add(c, b, COPIES_CLEAR, 0);
    *c = (struct copies){.session = session, .filled_by = filled_by};
}

static void plan_node(struct copies *c, struct prng *r, struct copies_batch *b)
{
    struct copies_op *op =
        add(c, b, prng_below(r, 4) == 0 ? COPIES_FILLED : COPIES_ECHO, prng_below(r, 64));

    if (op->kind == COPIES_FILLED)
        c->filled_by |= UINT64_C(1) << op->counter;
}

static void plan_one(struct copies *c, struct prng *r, struct copies_batch *b)
{
    bool ending = c->next == COPIES_SLOTS;
    uint64_t die = prng_below(r, 20);

    if (die < (ending ? 0 : 6))
        plan_put(c, r, b);
    else if (die < 8)
        plan_upto(c, r, b);
    else if (die < 9)
        plan_to(c, b, COPIES_COMMIT, pick(c, r, COPY_UNDECIDED), COPY_COMMITTED);
    else if (die < 10)
        plan_to(c, b, COPIES_ABORT, pick(c, r, COPY_UNDECIDED), COPY_ABORTED);
    else if (die < 13)
        plan_to(c, b, COPIES_SETTLE, pick(c, r, COPY_COMMITTED), COPY_SETTLED);
    else if (die < 14)
        plan_to(c, b, COPIES_ABSENT, pick(c, r, COPY_ABORTED), COPY_SETTLED);
    else if (die < 15)
        plan_range(c, r, b);
    else if (die < 16)
        plan_silence(c, r, b);
    else if (die < 17)
        plan_resolved(c, r, b);
    else if (die < 18)
        plan_clear(c, b);
    else if (die < 19)
        plan_mark(c, r, b);
    else
        plan_node(c, r, b);
}

void copies_plan(struct copies *c, struct prng *r, struct copies_batch *b)
{
    size_t want = (size_t)prng_below(r, COPIES_OPS);

    *b = (struct copies_batch){0};
    for (size_t tries = 0; tries < 3 * want && b->n < want; tries++)
        plan_one(c, r, b);
}

/* --- Running --- */

static enum err run_put(struct kit *k, struct spool_txn *t, const struct copies_op *op)
{
    struct mid id = id_of(op->session, op->counter);
    struct spool_copy c = {.state = op->state, .from_peer = true};
    char *bytes = malloc(op->bytes);
    struct kit_message m;
    size_t half = op->bytes / 2;
    enum err e = OK;

    (void)k;
    ASSERT(bytes != NULL);
    kit_fill(id, 0, bytes, op->bytes);
    kit_envelope(&m, id, op->bytes);
    c.bytes = (struct str){bytes, op->bytes};
    if (op->kind == COPIES_PUT_STAGED) {
        c.staged = spool_txn_next_body(t);
        if (half > 0)
            e = spool_stage_copy(t, c.staged, 0, (struct str){bytes, half});
        if (e == OK)
            e = spool_stage_copy(t, c.staged, half,
                                 (struct str){bytes + half, op->bytes - half});
    }
    if (e == OK)
        e = spool_put_copy(t, &m.envelope, &c);
    free(bytes);
    return e;
}

static enum err run_settle(struct kit *k, struct spool_txn *t, struct mid id)
{
    struct envelope envelope;
    enum err e;

    arena_reset(&k->arena);
    e = spool_look(t, id, &k->arena, &envelope);
    return e == OK ? spool_settle(t, &envelope, 1, 1) : e;
}

static enum err known_is_fine(enum err e)
{
    return e == E_EXISTS ? OK : e;
}

static enum err run_op(struct kit *k, struct spool_txn *t, const struct copies_op *op)
{
    struct mid id = id_of(op->session, op->counter);
    struct kit_message m;
    uint64_t by;

    switch (op->kind) {
    case COPIES_PUT:
    case COPIES_PUT_STAGED:
        return run_put(k, t, op);
    case COPIES_COMMIT:
        return spool_commit_id(t, id);
    case COPIES_UPTO:
        return spool_commit_upto(t, SITE, mid_epoch(id), op->counter);
    case COPIES_RESOLVED:
        return spool_resolved(t, SITE, mid_epoch(id));
    case COPIES_ABORT:
        return spool_abort_copy(t, id);
    case COPIES_SETTLE:
        return run_settle(k, t, id);
    case COPIES_ABSENT:
        kit_envelope(&m, id, op->bytes);
        return spool_settle_absent(t, &m.envelope, 1, 1);
    case COPIES_RANGE:
        return known_is_fine(spool_settle_range(t, SITE, mid_epoch(id), op->counter, op->last));
    case COPIES_MARK:
        return spool_mark(t, id, &op->mark);
    case COPIES_CLOSED:
        return spool_closed(t, id);
    case COPIES_CLEAR:
        return spool_clear_below(t, SITE, mid_epoch(id) + 1);
    case COPIES_FILLED:
        return spool_filled_by(t, (uint16_t)op->counter, &by);
    case COPIES_ECHO:
        return spool_echo(t);
    }
    return E_PROTO;
}

void copies_run(struct kit *k, struct spool_txn *t, const struct copies_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        enum err e = run_op(k, t, &b->ops[i]);

        if (e != OK)
            fprintf(stderr, "copies op %d on %llu: %s\n", (int)b->ops[i].kind,
                    (unsigned long long)b->ops[i].counter, err_text(e));
        ASSERT(e == OK);
    }
}

/* --- Comparing --- */

static const char *slot_differs(const struct copies *c, uint64_t counter, struct kit *k)
{
    enum copy_state want = counter <= c->next ? state_of(c, counter) : COPY_NONE;
    struct mid id = id_of(c->session, counter);
    struct spool_state got;
    struct envelope e;

    if (spool_state_of(k->reader, id, &got) != OK || got.damaged)
        return "a state cannot be read";
    if (got.state < want)
        return "the state of a copy went downwards";
    if (got.state > want)
        return "the state of a copy is higher than anybody said";
    if (!is_live(want))
        return NULL;
    if (kit_get(k, id, &e) != OK || e.body_bytes != c->slots[counter - 1].bytes ||
        spool_verify_body(k->reader, &e) != OK)
        return "a copy is damaged";
    return NULL;
}

struct marks {
    const struct copies *c;
    size_t n;
    bool wrong;
};

static void see(void *user, const struct spool_fact *f)
{
    struct marks *m = user;
    const struct copies_slot *s;
    uint64_t counter = mid_counter(f->id);

    if (f->kind != SPOOL_FACT_MARK || f->site != SITE)
        return;
    m->n++;
    if (f->epoch != FIRST_SESSION + m->c->session || counter == 0 || counter > m->c->next) {
        m->wrong = true;
        return;
    }
    s = &m->c->slots[counter - 1];
    m->wrong |= !s->has_mark || s->mark.slot_epoch != f->mark.slot_epoch ||
                s->mark.site != f->mark.site || s->mark.session != f->mark.session ||
                s->mark.over != f->mark.over || s->mark.doubt != f->mark.doubt;
}

static const char *marks_differ(const struct copies *c, struct kit *k)
{
    struct marks m = {.c = c};
    struct spool_facts place = {0};
    size_t want = 0;

    for (size_t i = 0; i < COPIES_SLOTS; i++)
        want += c->slots[i].has_mark;
    while (!place.end)
        if (spool_facts(k->reader, &place, 11, see, &m) != OK || place.corrupt > 0)
            return "the facts cannot be read";
    return m.wrong || m.n != want ? "the mark of a holder is lost, or another's" : NULL;
}

const char *copies_differ(const struct copies *c, struct kit *k)
{
    struct spool_state old;
    struct spool_member m;
    const char *what = marks_differ(c, k);

    for (uint64_t i = 1; i <= COPIES_SLOTS && what == NULL; i++)
        what = slot_differs(c, i, k);
    if (what == NULL && c->session > 0 &&
        (spool_state_of(k->reader, id_of(c->session - 1, 3), &old) != OK ||
         old.state != COPY_SETTLED))
        what = "an id of a clear session is forgotten";
    if (what == NULL && c->filled_by != 0 &&
        (spool_member(k->reader, &m) != OK || m.filled_by != c->filled_by))
        what = "who has filled this node is forgotten";
    return what;
}
