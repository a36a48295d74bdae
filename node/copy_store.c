#include "node/copy_store.h"

#include <xxhash.h>

#include "base/fault.h"
#include "base/log.h"
#include "proto/merge.h"
#include "proto/record.h"
#include "replication/copies.h"

#define ARENA_BYTES (3 * RECORD_ARENA_BYTES)
#define EPOCH_END   (UINT64_C(1) << 48)

/* The holder of a damaged mark: it is open, and CLOSED can name it. */
#define NOBODY_SITE       UINT16_MAX
#define NOBODY_SLOT_EPOCH UINT64_MAX

/* One op on its way. */
struct run {
    struct copy_store *cs;
    struct spool_txn *t;
    struct copy_op *op;
    const struct copy_record *r;
    struct spool_state st;
    struct copy_facts f;
    struct arena arena;
};

static void answer(struct run *x, enum copy_code code)
{
    x->op->answer = (struct copy_answer){.code = code};
}

/* What the spool said of one message. */
static enum copy_code code_of(enum err e)
{
    switch (e) {
    case OK:
    case E_EXISTS:
        return COPY_OK;
    case E_NOTFOUND:
        return COPY_MISSING;
    case E_CONFLICT:
        return COPY_CONFLICT;
    case E_FULL:
        return COPY_NO_ROOM;
    case E_PROTO:
        return COPY_MALFORMED;
    case E_CORRUPT:
        return COPY_DAMAGED;
    default:
        return COPY_FAILED;
    }
}

/* False: answered. */
static bool fine(struct run *x, enum err e)
{
    if (e == OK || e == E_EXISTS)
        return true;
    answer(x, code_of(e));
    return false;
}

static void keep_domain(struct copy_op *op, struct str domain)
{
    if (op->store_keep != NULL || domain.n == 0)
        return;
    op->store_keep = blob_new(domain.n);
    if (op->store_keep == NULL)
        return; /* it is a help, not a need */
    memcpy(op->store_keep->b, domain.p, domain.n);
    op->domain = blob_str(op->store_keep);
}

/* What is known of the id. A damaged record is a copy whose state nobody can tell. */
static bool learn(struct run *x, struct mid id)
{
    struct copy_facts *f = &x->f;

    if (!fine(x, spool_state(x->t, id, &x->st)))
        return false;
    *f = (struct copy_facts){
        .state = x->st.state,
        .sealed = x->cs->view.sealed(x->cs->view.ctx, mid_site(id), mid_epoch(id)),
        .from_origin = x->op->from == mid_site(id),
        .own_origin = x->cs->site == mid_site(id),
        .upto_covers = x->st.upto_covers};
    return true;
}

static bool learn_sound(struct run *x, struct mid id)
{
    if (!learn(x, id))
        return false;
    if (x->st.damaged)
        answer(x, COPY_DAMAGED);
    return !x->st.damaged;
}

static void learn_mark(struct run *x, struct mid id)
{
    struct spool_mark m;
    enum err e = spool_mark_get(x->t, id, &m);

    if (e == E_CORRUPT)
        m = (struct spool_mark){.slot_epoch = NOBODY_SLOT_EPOCH, .site = NOBODY_SITE};
    x->f.has_dot = e == OK || e == E_CORRUPT;
    x->f.dot_site = m.site;
    x->f.dot_session = m.session;
    x->f.dot_epoch = m.slot_epoch;
    x->f.dot_over = m.over;
    x->f.dot_doubt = m.doubt;
}

/* What a verdict says of the mark. */
static void store_mark(struct run *x, const struct copy_verdict *v)
{
    struct spool_mark m = {.slot_epoch = x->r->slot_epoch,
                           .site = x->r->site,
                           .session = x->r->epoch,
                           .over = v->dot_over,
                           .doubt = v->dot_doubt};

    if (!v->store_dot)
        return;
    if (v->keep_holder) {
        m.slot_epoch = x->f.dot_epoch;
        m.site = x->f.dot_site;
        m.session = x->f.dot_session;
    }
    fine(x, spool_mark(x->t, x->r->id, &m));
}

static bool is_live(enum copy_state s)
{
    return s == COPY_UNDECIDED || s == COPY_COMMITTED;
}

/* --- Bodies of peers --- */

static struct copy_body *body_find(struct copy_store *cs, const struct copy_op *op)
{
    for (uint32_t i = 0; i < cs->used; i++) {
        struct copy_body *b = &cs->bodies[i];

        if (b->own != 0 && b->number == op->record.body_number && b->site == op->from &&
            b->incarnation == op->incarnation)
            return b;
    }
    return NULL;
}

static bool is_put(const struct copy_body *b)
{
    static const struct mid none;

    return mid_cmp(b->id, none) != 0;
}

/* A PUT may have made the chunks a message's: whether its commit came true, the spool knows. */
static bool body_is_message(struct spool_txn *t, const struct copy_body *b)
{
    struct envelope e;
    struct arena a;
    enum err err;
    bool yes;

    if (!is_put(b))
        return false;
    arena_init(&a, RECORD_ARENA_BYTES);
    err = spool_look(t, b->id, &a, &e);
    yes = err != E_NOTFOUND && (err != OK || e.body_number == b->own);
    arena_reset(&a);
    return yes;
}

/* Forgets it; its chunks go, unless a message has them. What fails sticks to the transaction.
 */
static void body_drop(struct copy_store *cs, struct spool_txn *t, struct copy_body *b)
{
    enum err e = body_is_message(t, b) ? OK : spool_unstage(t, b->own);

    (void)e; /* none there: a batch was dropped */
    *b = (struct copy_body){0};
    while (cs->used > 0 && cs->bodies[cs->used - 1].own == 0)
        cs->used--;
}

static struct copy_body *body_room(struct copy_store *cs, struct spool_txn *t)
{
    struct copy_body *oldest = NULL;

    for (uint32_t i = 0; i < cs->used; i++) {
        struct copy_body *b = &cs->bodies[i];

        if (b->own == 0)
            return b;
        if (oldest == NULL || b->used_ms < oldest->used_ms)
            oldest = b;
    }
    if (cs->used < LIMIT_STAGED_BODIES)
        return &cs->bodies[cs->used++];
    body_drop(cs, t, oldest);
    if (oldest >= &cs->bodies[cs->used])
        cs->used = (uint32_t)(oldest - cs->bodies) + 1;
    return oldest;
}

static struct copy_body *body_new(struct run *x)
{
    struct copy_body *b = body_find(x->cs, x->op);

    if (b != NULL)
        body_drop(x->cs, x->t, b);
    b = body_room(x->cs, x->t);
    *b = (struct copy_body){.own = spool_txn_next_body(x->t),
                            .incarnation = x->op->incarnation,
                            .number = x->r->body_number,
                            .site = x->op->from};
    return b;
}

static void on_body(struct run *x)
{
    struct copy_body *b = x->r->offset == 0 ? body_new(x) : body_find(x->cs, x->op);
    enum err e = E_NOTFOUND;

    if (b != NULL && b->done == x->r->offset && !is_put(b))
        e = spool_stage_copy(x->t, b->own, x->r->offset, x->r->body);
    if (b != NULL && e == OK) {
        b->done += x->r->body.n;
        b->used_ms = x->cs->now_ms;
    } else if (b != NULL) {
        body_drop(x->cs, x->t, b);
    }
    answer(x, code_of(e));
}

bool copy_store_link_new(struct copy_store *cs, struct spool_txn *t, uint16_t site)
{
    bool any = false;

    for (uint32_t i = cs->used; i-- > 0;)
        if (cs->bodies[i].own != 0 && cs->bodies[i].site == site) {
            body_drop(cs, t, &cs->bodies[i]);
            any = true;
        }
    return any;
}

bool copy_store_age(struct copy_store *cs, struct spool_txn *t, uint64_t now_ms)
{
    bool any = false;

    for (uint32_t i = cs->used; i-- > 0;) {
        struct copy_body *b = &cs->bodies[i];

        if (b->own == 0)
            continue;
        if (b->used_ms == 0) /* it came before the first look at the clock */
            b->used_ms = now_ms;
        if (now_ms - b->used_ms < LIMIT_STAGED_MS)
            continue;
        body_drop(cs, t, b);
        any = true;
    }
    cs->now_ms = now_ms;
    return any;
}

/* --- PUT --- */

/* The bytes that came are the body that the envelope means. Else *c is not to be used. */
static enum copy_code body_of(struct run *x, const struct envelope *e, struct spool_copy *c)
{
    struct copy_body *b;

    if (x->r->body_number == 0) {
        c->bytes = x->r->body;
        return c->bytes.n == e->body_bytes &&
                       XXH3_64bits(c->bytes.p, c->bytes.n) == e->body_digest
                   ? COPY_OK
                   : COPY_MALFORMED;
    }
    b = body_find(x->cs, x->op);
    if (b == NULL || is_put(b) || b->done != e->body_bytes ||
        spool_staged_verify(x->t, b->own, e->body_bytes, e->body_digest) != OK)
        return COPY_MISSING;
    c->staged = b->own;
    return COPY_OK;
}

static void store_new(struct run *x, struct envelope *e, const struct copy_verdict *v)
{
    struct spool_copy c = {.state = v->state, .from_peer = true};
    struct copy_body *b;

    answer(x, body_of(x, e, &c));
    if (x->op->answer.code != COPY_OK)
        return;
    if (!fine(x, x->st.damaged ? spool_replace(x->t, e, &c) : spool_put_copy(x->t, e, &c)))
        return;
    x->op->state = v->state;
    x->op->answer.detail = x->st.damaged;
    b = c.staged != 0 ? body_find(x->cs, x->op) : NULL;
    if (b != NULL)
        b->id = e->id;
}

/* Ours is damaged though its record is good: theirs takes its place, with what both know. */
static void mend(struct run *x, struct envelope *own)
{
    struct spool_copy c = {.state = x->op->state, .from_peer = true};
    struct copy_body *b;

    answer(x, body_of(x, own, &c));
    if (x->op->answer.code != COPY_OK || !fine(x, spool_replace(x->t, own, &c)))
        return;
    x->op->answer.detail = 1;
    b = c.staged != 0 ? body_find(x->cs, x->op) : NULL;
    if (b != NULL)
        b->id = own->id;
}

/* The same copy again: its state may be higher, its fates newer, and ours may be damaged. */
static void store_again(struct run *x, const struct envelope *e, const struct copy_verdict *v)
{
    struct envelope own;
    bool changed;

    if (!fine(x, spool_look(x->t, e->id, &x->arena, &own)))
        return;
    changed = envelope_merge(&own, e);
    if (v->state > x->f.state && !fine(x, spool_commit_id(x->t, e->id)))
        return;
    x->op->state = v->state;
    if (x->op->from != x->cs->site && spool_verify(x->t, e->id) == E_CORRUPT)
        mend(x, &own);
    else if (changed)
        fine(x, spool_update(x->t, &own));
}

static void drop_body_of(struct run *x)
{
    struct copy_body *b = x->r->body_number != 0 ? body_find(x->cs, x->op) : NULL;

    if (b != NULL && !is_put(b))
        body_drop(x->cs, x->t, b);
}

static void on_put(struct run *x)
{
    struct copy_verdict v;
    struct envelope e;

    if (envelope_decode(x->r->envelope, &x->arena, &e) != OK || mid_cmp(e.id, x->r->id) != 0) {
        answer(x, COPY_MALFORMED);
    } else if (learn(x, e.id)) {
        keep_domain(x->op, e.domain);
        x->f.same_digest = x->st.bytes == e.body_bytes && x->st.digest == e.body_digest;
        v = copies_on_put(&x->f, x->r->state);
        x->op->answer = v.answer;
        x->op->state = x->f.state;
        if (v.answer.code == COPY_CONFLICT)
            LOG(EV_ID_CONFLICT, L_MID(e.id), L_U64("bytes", x->st.bytes),
                L_U64("new", e.body_bytes));
        if (v.answer.code == COPY_OK && is_live(x->f.state))
            store_again(x, &e, &v);
        else if (v.answer.code == COPY_OK)
            store_new(x, &e, &v);
    }
    drop_body_of(x);
}

/* --- Decisions --- */

/* Too late is too late, whatever it was; else the origin has to say it again. */
static void abort_damaged(struct run *x)
{
    x->f.state = COPY_UNDECIDED;
    answer(x, copies_on_abort(&x->f).answer.code == COPY_SEALED ? COPY_SEALED : COPY_DAMAGED);
}

static void on_abort(struct run *x, struct mid id)
{
    struct copy_verdict v;

    if (!learn(x, id))
        return;
    if (x->st.damaged) {
        abort_damaged(x);
        return;
    }
    v = copies_on_abort(&x->f);
    x->op->answer = v.answer;
    x->op->state = x->f.state;
    if (v.answer.code != COPY_OK || v.state == x->f.state)
        return;
    if (fine(x, spool_abort_copy(x->t, id)))
        x->op->state = v.state;
}

static void on_commit(struct run *x)
{
    struct copy_verdict v;

    if (!learn_sound(x, x->r->id))
        return;
    v = copies_on_commit(&x->f);
    x->op->answer = v.answer;
    x->op->state = x->f.state;
    if (v.answer.code != COPY_OK || v.state == x->f.state)
        return;
    if (fine(x, spool_commit_id(x->t, x->r->id)))
        x->op->state = v.state;
}

static void learn_session(struct run *x)
{
    x->f = (struct copy_facts){.state = COPY_UNDECIDED,
                               .own_origin = x->cs->site == x->r->site,
                               .sealed =
                                   x->cs->view.sealed(x->cs->view.ctx, x->r->site, x->r->epoch),
                               .witness = spool_is_filled(x->t)};
}

static void on_upto(struct run *x)
{
    enum err e;

    learn_session(x);
    x->op->answer = copies_on_upto(&x->f).answer;
    if (x->op->answer.code != COPY_OK)
        return;
    e = spool_commit_upto(x->t, x->r->site, x->r->epoch, x->r->counter);
    answer(x, e == E_NOTFOUND ? COPY_IS_SETTLED : code_of(e));
}

static void on_resolve(struct run *x)
{
    learn_session(x);
    x->op->answer = copies_on_resolve(&x->f).answer;
}

static void on_resolved(struct run *x)
{
    struct copy_verdict v;
    enum err e;

    learn_session(x);
    v = copies_on_resolved(&x->f);
    x->op->answer = v.answer;
    if (v.answer.code != COPY_OK)
        return;
    e = spool_resolved(x->t, x->r->site, x->r->epoch);
    if (e != E_NOTFOUND) /* clear: resolved long ago */
        fine(x, e);
}

/* --- Final dots --- */

static void on_dot(struct run *x)
{
    const struct copy_view *view = &x->cs->view;
    struct copy_verdict v;

    if (x->r->site != x->op->from) {
        answer(x, COPY_MALFORMED);
        return;
    }
    keep_domain(x->op, x->r->domain);
    if (!learn(x, x->r->id))
        return;
    x->f.own_dot = x->op->from == x->cs->site;
    if (x->st.damaged && x->f.own_dot) {
        answer(x, COPY_DAMAGED);
        return;
    }
    x->f.witness = spool_is_filled(x->t);
    x->f.has_slot = view->slot(view->ctx, x->r->domain, &x->f.newest_site, &x->f.newest_epoch);
    learn_mark(x, x->r->id);
    if (x->f.has_dot && view->released(view->ctx, x->r->domain, x->f.dot_epoch))
        x->f.dot_over = true;
    v = copies_on_dot(&x->f, x->r);
    x->op->answer = v.answer;
    store_mark(x, &v);
}

static void close_mark(struct run *x, struct mid id)
{
    enum err e = spool_closed(x->t, id);

    if (e != E_NOTFOUND)
        fine(x, e);
}

/* The doubt is in the copy's own record by now. */
static bool is_flagged(struct run *x)
{
    struct envelope e;

    return is_live(x->f.state) && spool_look(x->t, x->r->id, &x->arena, &e) == OK &&
           e.possible_duplicates > 0;
}

static void on_closed(struct run *x)
{
    struct copy_verdict v;

    if (!learn(x, x->r->id))
        return;
    learn_mark(x, x->r->id);
    x->f.flagged = x->f.dot_doubt && is_flagged(x);
    v = copies_on_closed(&x->f, x->r);
    x->op->answer = v.answer;
    store_mark(x, &v);
    if (v.drop_dot)
        close_mark(x, x->r->id);
}

static void on_mark(struct run *x)
{
    struct copy_verdict v;

    if (!learn(x, x->r->id))
        return;
    learn_mark(x, x->r->id);
    v = copies_on_mark(&x->f, x->r);
    x->op->answer = v.answer;
    store_mark(x, &v);
}

/* --- Outcomes --- */

/* A recipient whose notification is not decided yet keeps the message: its holder decides. */
static bool is_final(const struct envelope *e)
{
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].fate == FATE_PENDING)
            return false;
    return e->phase == PHASE_DONE;
}

static void settle(struct run *x, struct envelope *e)
{
    uint64_t now_ms = x->cs->view.cluster_ms(x->cs->view.ctx);
    int64_t wall_ms = x->cs->view.wall_ms(x->cs->view.ctx);

    if (fine(x, is_live(x->f.state) ? spool_settle(x->t, e, now_ms, wall_ms)
                                    : spool_settle_absent(x->t, e, now_ms, wall_ms)))
        x->op->state = COPY_SETTLED;
}

/* Known to be settled, perhaps by its id alone: then its fates are kept, for a node that has it
 * still live and can be told by nobody else. */
static void keep_trace(struct run *x, struct envelope *e)
{
    (void)fine(x, spool_settle_trace(x->t, e, x->cs->view.cluster_ms(x->cs->view.ctx),
                                     x->cs->view.wall_ms(x->cs->view.ctx)));
}

/* The message stays; what is new of it is stored. */
static void keep_fates(struct run *x, const struct envelope *own, bool changed,
                       const struct copy_verdict *v)
{
    if (v->state > x->f.state && !fine(x, spool_commit_id(x->t, own->id)))
        return;
    x->op->state = v->state;
    if (changed && !fine(x, spool_update(x->t, own)))
        return;
    if (v->drop_dot)
        close_mark(x, own->id);
}

static void merge_outcome(struct run *x, struct envelope *e)
{
    struct envelope own = *e;
    bool changed = false;
    struct copy_verdict v;

    if (is_live(x->f.state)) {
        if (x->st.bytes != e->body_bytes || x->st.digest != e->body_digest) {
            LOG(EV_ID_CONFLICT, L_MID(e->id), L_U64("bytes", x->st.bytes),
                L_U64("new", e->body_bytes));
            answer(x, COPY_CONFLICT);
            return;
        }
        if (!fine(x, spool_look(x->t, e->id, &x->arena, &own)))
            return;
        changed = envelope_merge(&own, e);
    }
    if (x->st.damaged && !is_final(&own)) {
        answer(x, COPY_DAMAGED);
        return;
    }
    v = copies_on_outcome(&x->f, is_final(&own));
    x->op->answer = v.answer;
    if (x->f.state == COPY_SETTLED) {
        if (is_final(&own))
            keep_trace(x, &own);
        return;
    }
    if (v.answer.code != COPY_OK)
        return;
    if (v.state == COPY_SETTLED && FAULT(OUTCOME_NOT_STORED) && x->op->from == x->cs->site)
        x->op->state = COPY_SETTLED;
    else if (v.state == COPY_SETTLED)
        settle(x, &own);
    else if (is_live(x->f.state))
        keep_fates(x, &own, changed, &v);
}

static void on_outcome(struct run *x)
{
    struct envelope e;

    if (envelope_decode(x->r->envelope, &x->arena, &e) != OK || mid_cmp(e.id, x->r->id) != 0) {
        answer(x, COPY_MALFORMED);
        return;
    }
    keep_domain(x->op, e.domain);
    if (!learn(x, e.id))
        return;
    x->op->state = x->f.state;
    learn_mark(x, e.id);
    merge_outcome(x, &e);
}

/* No member knows how it ended, and one that it did: that word came from one who knew. */
static void on_ended(struct run *x)
{
    if (x->op->from != x->cs->site) {
        answer(x, COPY_MALFORMED);
        return;
    }
    if (!learn(x, x->r->id))
        return;
    x->op->state = x->f.state;
    if (!is_live(x->f.state) && !x->st.damaged)
        return;
    if (!fine(x, spool_settle_id(x->t, x->r->id)))
        return;
    x->op->state = COPY_SETTLED;
    LOG(EV_ENDED_UNKNOWN, L_MID(x->r->id));
}

/* --- What a peer has --- */

static void have_aborted(struct run *x)
{
    enum copy_code worst = COPY_OK;
    uint64_t ids = 0;

    for (uint32_t i = 0; i < x->r->range_count; i++) {
        const struct copy_range *g = &x->r->ranges[i];

        if (g->to - g->from >= LIMIT_RESOLVE_IDS - ids) {
            answer(x, COPY_MALFORMED);
            return;
        }
        ids += g->to - g->from + 1;
        for (uint64_t n = 0; n <= g->to - g->from; n++) {
            on_abort(x, mid_make(x->r->site, x->r->epoch, g->from + n));
            if (x->op->answer.code == COPY_DAMAGED || x->op->answer.code == COPY_FAILED)
                worst = x->op->answer.code;
        }
    }
    answer(x, worst); /* what is committed or settled here stays so: no trouble */
    x->op->state = COPY_NONE;
}

static void have_settled(struct run *x)
{
    answer(x, COPY_OK);
    for (uint32_t i = 0; i < x->r->range_count; i++)
        if (!fine(x, spool_settle_range(x->t, x->r->site, x->r->epoch, x->r->ranges[i].from,
                                        x->r->ranges[i].to)))
            return;
}

static void on_have(struct run *x)
{
    for (uint32_t i = 0; i < x->r->range_count; i++)
        if (x->r->ranges[i].from > x->r->ranges[i].to) {
            answer(x, COPY_MALFORMED);
            return;
        }
    if (x->r->state == COPY_SETTLED)
        have_settled(x);
    else if (x->r->state == COPY_ABORTED)
        have_aborted(x);
    else
        answer(x, COPY_OK);
}

static void on_want(struct run *x)
{
    if (learn_sound(x, x->r->id))
        answer(x, is_live(x->f.state) ? COPY_OK : COPY_MISSING);
}

static void on_clear(struct run *x)
{
    answer(x, COPY_OK);
    if (x->op->from == x->cs->site)
        fine(x, spool_clear_below(x->t, x->r->site, x->r->epoch));
}

static void on_filled(struct run *x)
{
    uint64_t by = 0;
    enum err e = x->op->from == x->cs->site ? spool_filled_set(x->t)
                                            : spool_filled_by(x->t, x->op->from, &by);

    answer(x, code_of(e));
    x->op->answer.detail = by;
}

/* --- All of them --- */

static void apply(struct run *x)
{
    switch (x->r->kind) {
    case COPY_ECHO:
        answer(x, code_of(spool_echo(x->t)));
        return;
    case COPY_ABORT:
        on_abort(x, x->r->id);
        return;
    case COPY_COMMIT:
        on_commit(x);
        return;
    case COPY_UPTO:
        on_upto(x);
        return;
    case COPY_DOT:
        on_dot(x);
        return;
    case COPY_CLOSED:
        on_closed(x);
        return;
    case COPY_OUTCOME:
        on_outcome(x);
        return;
    case COPY_RESOLVE:
        on_resolve(x);
        return;
    case COPY_RESOLVED:
        on_resolved(x);
        return;
    case COPY_HAVE:
        on_have(x);
        return;
    case COPY_HAVE_END:
        answer(x, COPY_OK);
        return;
    case COPY_FILLED:
        on_filled(x);
        return;
    case COPY_WANT:
        on_want(x);
        return;
    case COPY_CLEAR:
        on_clear(x);
        return;
    case COPY_MARK:
        on_mark(x);
        return;
    case COPY_ENDED:
        on_ended(x);
        return;
    case COPY_BODY:
        on_body(x);
        return;
    case COPY_PUT:
        on_put(x);
        return;
    }
    answer(x, COPY_MALFORMED);
}

void copy_store_apply(struct copy_store *cs, struct spool_txn *t, struct copy_op *op)
{
    struct run x = {.cs = cs, .t = t, .op = op, .r = &op->record};

    op->state = COPY_NONE;
    arena_init(&x.arena, ARENA_BYTES);
    if (op->record.epoch >= EPOCH_END)
        answer(&x, COPY_MALFORMED);
    else
        apply(&x);
    arena_reset(&x.arena);
}
