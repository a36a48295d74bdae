/* What a peer lacks goes to it: marks, then single copies, then the others, beside live mail;
 * repair of damaged copies; FILLED. */
#include "base/fault.h"
#include "replication/replica_internal.h"

static const uint64_t WANT_MS = 10000; /* between two questions for a damaged copy */

static void set_flying(struct entry *e, const struct peer *p, bool on)
{
    bit_set(&e->flying, p, on);
}

/* --- marks --- */

/* The envelope as it is here. NULL: it cannot be read. */
static struct blob *envelope_of(struct replica *r, struct mid id, uint64_t *body_bytes)
{
    struct str bytes = STR_NONE;
    enum err e = r->ops.read_envelope(r->ops.ctx, id, &bytes, body_bytes);
    struct blob *b;

    if (e == E_CORRUPT)
        feed_damaged(r, id);
    if (e != OK)
        return NULL;
    b = blob_new(bytes.n);
    if (b != NULL && bytes.n > 0)
        memcpy(b->b, bytes.p, bytes.n);
    return b;
}

static bool push_news(struct replica *r, struct peer *p, struct mid id)
{
    uint64_t body_bytes = 0;
    struct blob *envelope = envelope_of(r, id, &body_bytes);
    struct stream_item i = {
        .record = {.kind = COPY_OUTCOME, .id = id, .envelope = blob_str(envelope)},
        .keep = {envelope, NULL}};
    bool ok = envelope != NULL && link_push(r, p, &i, false);

    blob_release(&envelope);
    return ok;
}

void feed_news_now(struct replica *r, struct peer *p, uint32_t h)
{
    struct entry *e = entry_at(r, h);

    if (bit_get(e->flying, p) || !push_news(r, p, e->n.key))
        return;
    set_flying(e, p, true);
    entry_touch(r, h);
}

/* The mark of a dot that stands here, to a peer that has lost its own. True: it is out; or
 * *none. */
static bool push_dot_mark(struct replica *r, struct peer *p, struct mid id, bool *none)
{
    struct copy_mark m = {0};
    enum err e = r->ops.read_mark(r->ops.ctx, id, &m);

    *none = e == E_NOTFOUND;
    if (e == E_CORRUPT) /* as good as one of a holder that nobody knows */
        m = (struct copy_mark){.slot_epoch = UINT64_MAX, .site = UINT16_MAX};
    if (e != OK && e != E_CORRUPT)
        return false;
    return link_push_mark(r, p,
                          &(struct copy_record){.kind = COPY_MARK,
                                                .id = id,
                                                .slot_epoch = m.slot_epoch,
                                                .site = m.site,
                                                .epoch = m.session,
                                                .counter = (m.doubt ? COPY_MARK_DOUBT : 0u) |
                                                           (m.over ? COPY_MARK_OVER : 0u)});
}

static bool push_mark(struct replica *r, struct peer *p, const struct entry *e)
{
    struct copy_record rec = {.id = e->n.key};

    if (e->state != COPY_ABORTED && e->has[p->index] != COPY_UNDECIDED)
        return push_news(r, p, e->n.key);
    rec.kind = e->state == COPY_ABORTED ? COPY_ABORT : COPY_COMMIT;
    return link_push_mark(r, p, &rec);
}

static void feed_mark(struct replica *r, struct peer *p, uint32_t h)
{
    struct entry *e = entry_at(r, h);
    bool none = false;
    bool ok =
        entry_owes_dot(r, e, p) ? push_dot_mark(r, p, e->n.key, &none) : push_mark(r, p, e);

    if (none)
        bit_set(&e->tell, p, false);
    if (!ok && !none) {
        entry_later(r, h);
        return;
    }
    set_flying(e, p, ok);
    entry_touch(r, h);
}

static void has_less(struct replica *r, uint32_t h, struct peer *p, enum copy_state state)
{
    entry_at(r, h)->has[p->index] = (uint8_t)state;
    entry_touch(r, h);
}

static void forget_stale(struct peer *p, struct mid id)
{
    (void)rset_remove_id(&p->stale, id);
    (void)rset_remove_id(&p->stale_late, id);
}

/* Settled here, and its store did not take that: told again, in a while. */
static void owe_outcome(struct replica *r, struct peer *p, struct mid id)
{
    if (replica_is_settled(r, id))
        settle_owe(
            r, p,
            (struct rset_span){mid_site(id), mid_epoch(id), mid_counter(id), mid_counter(id)},
            false);
}

static enum copy_state state_by_mark(const struct copy_record *rec)
{
    return rec->kind == COPY_ABORT ? COPY_ABORTED : COPY_COMMITTED;
}

void feed_mark_acked(struct replica *r, struct peer *p, const struct copy_record *rec,
                     const struct copy_answer *a)
{
    uint32_t h = entry_find(r, rec->id);
    struct entry *e;

    if (rec->kind == COPY_OUTCOME && a->code == COPY_OK)
        forget_stale(p, rec->id);
    if (h == 0) {
        if (rec->kind == COPY_OUTCOME && could_not(a->code))
            owe_outcome(r, p, rec->id);
        return;
    }
    e = entry_at(r, h);
    set_flying(e, p, false);
    if (rec->kind == COPY_MARK) {
        bit_set(&e->tell, p, could_not(a->code));
        entry_later(r, h);
        return;
    }
    if (rec->kind == COPY_OUTCOME && (a->code == COPY_OK || a->code == COPY_MISSING))
        bit_set(&e->news, p, false);
    switch (a->code) {
    case COPY_OK:
        entry_has(r, h, p, state_by_mark(rec));
        break;
    case COPY_SEALED: /* an abort that came too late there: it decides by asking */
    case COPY_IS_ABORTED:
        if (rec->kind == COPY_ABORT)
            entry_has(r, h, p, COPY_ABORTED);
        else
            has_less(r, h, p, COPY_ABORTED);
        break;
    case COPY_MISSING:
        has_less(r, h, p, COPY_NONE);
        break;
    case COPY_IS_SETTLED:
        entry_has(r, h, p, COPY_SETTLED);
        break;
    default:
        entry_later(r, h);
    }
}

/* --- copies --- */

/* Copies overtake marks: only behind all that is told over a new link, or a node with an older
 * disk would get back what it misses before it is asked for it. */
static bool feed_has_room(const struct peer *p)
{
    return p->have_acked && !p->overflow &&
           stream_out_feed(p->out[FRAME_COPIES]) < LIMIT_FEED_WINDOW_BYTES;
}

/* Up to `bytes` of the body from an offset; NULL: not that many, or not readable. */
static struct blob *body_piece(struct replica *r, struct mid id, uint64_t offset, size_t bytes)
{
    struct blob *b = blob_new(bytes);
    size_t at = 0;

    while (b != NULL && at < bytes) {
        size_t got = 0;
        enum err e = r->ops.read_body(r->ops.ctx, id, offset + at, b->b + at, bytes - at, &got);

        if (e == OK && got > 0) {
            at += got;
            continue;
        }
        if (e == E_CORRUPT || e == OK)
            feed_damaged(r, id);
        blob_release(&b);
    }
    return b;
}

/* The PUT itself: with the body, or with the number of its pieces. */
static bool push_copy(struct replica *r, struct peer *p, uint32_t h, struct blob *body,
                      uint64_t number)
{
    const struct entry *e = entry_at(r, h);
    uint64_t body_bytes = 0;
    struct blob *envelope = envelope_of(r, e->n.key, &body_bytes);
    struct stream_item i = {.record = {.kind = COPY_PUT,
                                       .id = e->n.key,
                                       .state = (enum copy_state)e->state,
                                       .envelope = blob_str(envelope),
                                       .body = blob_str(body),
                                       .body_number = number},
                            .keep = {envelope, body}};
    bool ok = envelope != NULL && link_push(r, p, &i, true);

    blob_release(&envelope);
    return ok;
}

static void body_end(struct replica *r, struct peer *p, bool ok)
{
    uint32_t h = entry_find(r, p->body.id);

    p->body.is_open = false;
    if (h == 0 || ok)
        return;
    set_flying(entry_at(r, h), p, false);
    entry_later(r, h);
}

/* More pieces of the large body that is under way. False: there is no room for now. */
static bool body_step(struct replica *r, struct peer *p)
{
    struct feed_body *f = &p->body;
    uint32_t h = entry_find(r, f->id);

    if (h == 0 || entry_at(r, h)->state == COPY_ABORTED) {
        body_end(r, p, false);
        return true;
    }
    while (f->offset < f->total) {
        uint64_t left = f->total - f->offset;
        size_t n = left < LIMIT_BODY_PIECE_BYTES ? (size_t)left : LIMIT_BODY_PIECE_BYTES;
        struct blob *piece;
        bool ok;

        if (!feed_has_room(p))
            return false;
        piece = body_piece(r, f->id, f->offset, n);
        ok = piece != NULL &&
             link_push(r, p,
                       &(struct stream_item){.record = {.kind = COPY_BODY,
                                                        .body_number = f->number,
                                                        .offset = f->offset,
                                                        .body = blob_str(piece)},
                                             .keep = {piece, NULL}},
                       true);
        blob_release(&piece);
        if (!ok) {
            body_end(r, p, false);
            return true;
        }
        p->body_bytes += n;
        f->offset += n;
    }
    body_end(r, p, push_copy(r, p, h, NULL, f->number));
    return true;
}

static void feed_copy(struct replica *r, struct peer *p, uint32_t h)
{
    struct entry *e = entry_at(r, h);
    uint64_t body_bytes = 0;
    struct blob *envelope = envelope_of(r, e->n.key, &body_bytes), *body;
    bool ok = envelope != NULL;

    blob_release(&envelope);
    if (ok && body_bytes > LIMIT_BODY_PIECE_BYTES) {
        p->body = (struct feed_body){true, e->n.key, r->body_number++, 0, body_bytes};
        set_flying(e, p, true);
        entry_touch(r, h);
        return;
    }
    body = ok ? body_piece(r, e->n.key, 0, (size_t)body_bytes) : NULL;
    ok = body != NULL && push_copy(r, p, h, body, 0);
    blob_release(&body);
    if (!ok) {
        entry_later(r, h);
        return;
    }
    set_flying(e, p, true);
    entry_touch(r, h);
}

void feed_put_acked(struct replica *r, struct peer *p, const struct copy_record *rec,
                    const struct copy_answer *a)
{
    uint32_t h = entry_find(r, rec->id);
    struct entry *e;

    if (h == 0)
        return;
    e = entry_at(r, h);
    set_flying(e, p, false);
    switch (a->code) {
    case COPY_OK:
        bit_set(&e->again, p, false);
        if (!bit_get(e->news, p))
            settle_told(r, rec->id); /* the copy came with its fates */
        entry_has(r, h, p, rec->state);
        break;
    case COPY_IS_SETTLED:
        bit_set(&e->again, p, false);
        entry_has(r, h, p, COPY_SETTLED);
        break;
    case COPY_IS_ABORTED:
        entry_has(r, h, p, COPY_ABORTED);
        break;
    case COPY_CONFLICT:
        replica_tell(r, &(struct replica_news){
                            .kind = REPLICA_ALARM, .id = rec->id, .why = COPY_CONFLICT});
        bit_set(&e->again, p, false);
        entry_has(r, h, p, COPY_COMMITTED);
        break;
    case COPY_MISSING:
        if (accept_wants(r, p, rec->id)) {
            entry_now(r, h);
            break;
        }
        entry_later(r, h);
        break;
    default:
        entry_later(r, h);
    }
}

/* --- in turn --- */

static bool is_due(const struct replica *r, const struct owed *l)
{
    uint64_t since;

    if (l->first == 0)
        return false;
    since = entry_at(r, l->first)->since_ms;
    return since == 0 || r->now >= since + LIMIT_RELAY_MS;
}

/* Copies of sessions that are over, of which nobody has said yet whether they were accepted:
 * this may be the only one of mail with a 250. The other peer can say; one that is not filled
 * cannot, and would wait for the same word. */
static bool is_unresolved(struct replica *r, const struct peer *p)
{
    const struct peer *other = replica_other(r, p);

    if (r->undecided == 0 || other->incarnation == 0 || (other->up && !other->filled))
        return false;
    for (uint32_t h = otree_ceil(&r->sessions, (struct mid){{0}}); h != 0;
         h = otree_after(&r->sessions, h)) {
        const struct session *s = otree_at(&r->sessions, h);

        if (s->undecided > 0 && replica_is_sealed(r, mid_site(s->n.key), mid_epoch(s->n.key)))
            return true;
    }
    return false;
}

/* All that it lacked at its summary is there, and every dot that was under way when its
 * memory began is over: from us it has all it must know to be asked. */
static void filled_step(struct replica *r, struct peer *p)
{
    if (p->filled || p->filled_sent || r->now < p->filled_ms || !p->got_have ||
        !p->have_acked || p->fill_left > 0 || p->body.is_open || !rset_is_empty(&p->stale) ||
        dot_is_open(r, p->fill_serial) || is_unresolved(r, p))
        return;
    p->filled_sent = link_push_mark(r, p, &(struct copy_record){.kind = COPY_FILLED});
}

void feed_step(struct replica *r, struct peer *p)
{
    uint32_t budget = LIMIT_REPLICA_TURN;

    while (budget > 0 && !p->overflow && is_due(r, &p->owed[OWED_MARKS]) &&
           stream_out_bytes(p->out[FRAME_MARKS]) < LIMIT_REPLICA_AHEAD_BYTES) {
        feed_mark(r, p, p->owed[OWED_MARKS].first);
        budget--;
    }
    for (; budget > 0 && feed_has_room(p); budget--) {
        if (p->body.is_open) {
            if (!body_step(r, p))
                break;
        } else if (is_due(r, &p->owed[OWED_SINGLE])) {
            feed_copy(r, p, p->owed[OWED_SINGLE].first);
        } else if (is_due(r, &p->owed[OWED_COPIES])) {
            feed_copy(r, p, p->owed[OWED_COPIES].first);
        } else {
            break;
        }
    }
    filled_step(r, p);
}

static uint64_t due_of(const struct replica *r, const struct owed *l)
{
    if (l->first == 0)
        return NEVER;
    return is_due(r, l) ? r->now : entry_at(r, l->first)->since_ms + LIMIT_RELAY_MS;
}

uint64_t feed_deadline(const struct replica *r, const struct peer *p)
{
    uint64_t at = NEVER, due;

    if (otree_count(&r->wants) > 0)
        at = r->now + LIMIT_RELAY_MS;
    if (!p->up)
        return at;
    if (stream_out_bytes(p->out[FRAME_MARKS]) < LIMIT_REPLICA_AHEAD_BYTES)
        at = due_of(r, &p->owed[OWED_MARKS]) < at ? due_of(r, &p->owed[OWED_MARKS]) : at;
    if (!feed_has_room(p))
        return at;
    if (p->body.is_open)
        return r->now;
    due = due_of(r, &p->owed[OWED_SINGLE]);
    at = due < at ? due : at;
    due = due_of(r, &p->owed[OWED_COPIES]);
    return due < at ? due : at;
}

void feed_link_down(struct replica *r, struct peer *p)
{
    owed_clear(r, p);
    p->body.is_open = false;
    for (uint32_t h = 1; h <= r->entries.pool.made; h++)
        if (pool_is_taken(&r->entries.pool, h)) {
            struct entry *e = entry_at(r, h);

            bit_set(&e->flying, p, false);
            bit_set(&e->fill, p, false);
            bit_set(&e->tell, p, false);
        }
    p->fill_left = 0;
}

/* --- repair --- */

void feed_wanted(struct replica *r, struct peer *p, struct mid id)
{
    uint32_t h = entry_find(r, id);

    if (h == 0) {
        if (replica_is_settled(r, id))
            settle_owe(r, p,
                       (struct rset_span){mid_site(id), mid_epoch(id), mid_counter(id),
                                          mid_counter(id)},
                       true);
        return;
    }
    bit_set(&entry_at(r, h)->again, p, true);
    entry_now(r, h);
}

void feed_damaged(struct replica *r, struct mid id)
{
    uint32_t h = entry_find(r, id);

    if (h == 0)
        return;
    entry_at(r, h)->is_damaged = true;
    entry_touch(r, h);
    if (otree_find(&r->wants, id) == 0)
        (void)otree_add(&r->wants, id); /* full: found again when it is read again */
}

void feed_repaired(struct replica *r, struct mid id)
{
    uint32_t h = otree_find(&r->wants, id);

    if (h == 0)
        return;
    otree_remove(&r->wants, h);
    h = entry_find(r, id);
    if (h == 0)
        return;
    entry_at(r, h)->is_damaged = false;
    entry_touch(r, h);
    if (entry_at(r, h)->state == COPY_COMMITTED) /* its delivery could not read it */
        replica_tell(r, &(struct replica_news){.kind = REPLICA_DELIVERABLE, .id = id});
}

void feed_tick(struct replica *r)
{
    for (uint32_t h = otree_ceil(&r->wants, (struct mid){{0}}); h != 0;
         h = otree_after(&r->wants, h)) {
        struct want *w = otree_at(&r->wants, h);

        if (r->now < w->ask_ms)
            continue;
        w->ask_ms = r->now + WANT_MS;
        link_push_marks(r, &(struct copy_record){.kind = COPY_WANT, .id = w->n.key});
    }
}

void replica_damaged(struct replica *r, struct mid id, uint64_t now)
{
    if (now > r->now)
        r->now = now;
    feed_damaged(r, id);
    feed_tick(r);
    replica_turn(r, now);
}

/* --- filled --- */

void feed_filled(struct replica *r, struct peer *p)
{
    p->filled_us = true;
    if (r->filled)
        return;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (r->peers[i].incarnation != 0 && !r->peers[i].filled_us && !FAULT(FILLED_BY_ONE))
            return;
    op_own(r, &(struct copy_record){.kind = COPY_FILLED}, NULL, 0);
}

void feed_filled_own(struct replica *r, bool ok)
{
    if (!ok || r->filled)
        return;
    r->filled = true;
    replica_tell(r, &(struct replica_news){.kind = REPLICA_FILLED});
}
