/* Mail of clients until it is decided, once; commit knowledge of our own sessions. */
#include "base/fault.h"
#include "replication/replica_internal.h"

static struct accept *accept_at(const struct replica *r, uint32_t h)
{
    return otree_at(&r->accepts, h);
}

static struct accept *accept_find(const struct replica *r, struct mid id)
{
    uint32_t h = otree_find(&r->accepts, id);

    return h != 0 ? accept_at(r, h) : NULL;
}

static void look_at(struct replica *r, uint64_t at_ms)
{
    if (at_ms < r->accept_ms || otree_count(&r->accepts) == 1)
        r->accept_ms = at_ms;
}

static struct accept *accept_get(struct replica *r, struct mid id)
{
    struct accept *a = accept_find(r, id);
    uint32_t h;

    if (a != NULL)
        return a;
    h = otree_add(&r->accepts, id);
    if (h == 0)
        return NULL;
    a = accept_at(r, h);
    a->start_ms = r->now;
    look_at(r, r->now + LIMIT_ACK_PROGRESS_MS);
    return a;
}

static void accept_drop(struct replica *r, struct accept *a)
{
    blob_release(&a->envelope);
    blob_release(&a->body);
    otree_remove(&r->accepts, otree_find(&r->accepts, a->n.key));
}

void accept_fini(struct replica *r)
{
    for (uint32_t h = 1; h <= r->accepts.pool.made; h++)
        if (pool_is_taken(&r->accepts.pool, h)) {
            blob_release(&accept_at(r, h)->envelope);
            blob_release(&accept_at(r, h)->body);
        }
}

/* The one answer to the client. */
static void answer(struct replica *r, struct accept *a, enum replica_news_kind kind)
{
    if (a->is_told)
        return;
    a->is_told = true;
    replica_tell(r, &(struct replica_news){.kind = kind, .id = a->n.key});
}

static void release_bytes(struct accept *a)
{
    blob_release(&a->envelope);
    blob_release(&a->body);
}

/* --- to the peers --- */

static bool push_pieces(struct replica *r, struct peer *p, struct accept *a, uint64_t number)
{
    struct str all = blob_str(a->body);

    for (size_t at = 0; at < all.n;) {
        size_t left = all.n - at;
        size_t n = left < LIMIT_BODY_PIECE_BYTES ? left : LIMIT_BODY_PIECE_BYTES;
        struct stream_item i = {.record = {.kind = COPY_BODY,
                                           .body_number = number,
                                           .offset = at,
                                           .body = str_head(str_from(all, at), n)},
                                .keep = {a->body, NULL}};

        if (!link_push(r, p, &i, false))
            return false;
        p->body_bytes += n;
        at += n;
    }
    return true;
}

static void push_put(struct replica *r, struct peer *p, struct accept *a)
{
    struct stream_item i = {.record = {.kind = COPY_PUT,
                                       .id = a->n.key,
                                       .state = COPY_UNDECIDED,
                                       .envelope = blob_str(a->envelope),
                                       .body = blob_str(a->body),
                                       .body_number = a->body_number},
                            .keep = {a->envelope, a->body}};

    if (!p->up || a->put[p->index] != PUT_IDLE)
        return;
    if (a->body != NULL && a->body->n > LIMIT_BODY_PIECE_BYTES) {
        uint64_t number = r->body_number++;

        if (!push_pieces(r, p, a, number))
            return;
        i.record.body = STR_NONE;
        i.record.body_number = number;
        i.keep[1] = NULL;
    }
    if (link_push(r, p, &i, false)) {
        a->put[p->index] = PUT_SENT;
        a->was_pushed = true;
    }
}

/* All pieces went over this link, or all of it is to be read from the store. */
static void accept_again(struct replica *r, struct peer *p, struct accept *a)
{
    uint32_t h = entry_find(r, a->n.key);

    a->put[p->index] = PUT_AGAIN;
    if (h != 0)
        entry_now(r, h);
}

bool accept_wants(const struct replica *r, const struct peer *p, struct mid id)
{
    const struct accept *a = accept_find(r, id);

    return a != NULL && a->phase == ACC_WAIT && a->is_stored && a->put[p->index] == PUT_AGAIN;
}

bool accept_is_open(const struct replica *r, struct mid id)
{
    return accept_find(r, id) != NULL;
}

void accept_link_up(struct replica *r, struct peer *p)
{
    uint32_t h = otree_ceil(&r->accepts, (struct mid){{0}});

    for (; h != 0; h = otree_after(&r->accepts, h)) {
        struct accept *a = accept_at(r, h);

        if (a->phase != ACC_WAIT || !a->has_put || a->put[p->index] == PUT_ACKED)
            continue;
        a->put[p->index] = PUT_IDLE;
        if (a->body != NULL)
            push_put(r, p, a);
        else
            accept_again(r, p, a); /* its pieces were for the link before */
    }
}

/* What an incarnation that is gone has acknowledged went with its disk. */
void accept_forget_peer(struct replica *r, const struct peer *p)
{
    uint32_t h = otree_ceil(&r->accepts, (struct mid){{0}});

    for (; h != 0; h = otree_after(&r->accepts, h))
        accept_at(r, h)->put[p->index] = PUT_IDLE;
}

/* --- deciding --- */

static void count_decided(struct replica *r, struct mid id)
{
    if (!rset_add_id(&r->decided, id))
        return; /* commit knowledge stops here; single commits go on */
    r->flush_due = true;
}

static void commit(struct replica *r, struct accept *a)
{
    a->phase = ACC_FLUSH;
    answer(r, a, REPLICA_ACCEPTED);
    release_bytes(a);
    count_decided(r, a->n.key);
    r->flush_due = true;
}

static void check_copies(struct replica *r, struct accept *a)
{
    unsigned copies = a->is_stored ? 1 : 0;

    if (a->phase != ACC_WAIT || !a->is_stored)
        return;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        copies += a->put[i] == PUT_ACKED;
    if (copies >= (replica_is_solo(r) || FAULT(ACK_ON_ONE_COPY) ? 1 : r->o.copies))
        commit(r, a);
}

static bool all_refused(const struct replica *r, const struct accept *a)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (r->peers[i].incarnation == 0 || a->put[i] != PUT_REFUSED)
            return false;
    return true;
}

/* Of a message whose own put failed: no peer was ever told of it. */
static bool is_unheard(const struct accept *a)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (a->put[i] != PUT_IDLE || a->was_pushed)
            return false;
    return true;
}

static void abort_begin(struct replica *r, struct accept *a)
{
    a->phase = ACC_ABORT_OWN;
    a->abort_ms = r->now;
    a->op_pending = true;
    release_bytes(a);
    op_own(r, &(struct copy_record){.kind = COPY_ABORT, .id = a->n.key}, NULL, 0);
    look_at(r, r->now + LIMIT_ABORT_MS);
}

static void give_up(struct replica *r, struct accept *a)
{
    answer(r, a, REPLICA_CLOSE);
    release_bytes(a);
    if (a->phase == ACC_WAIT)
        a->phase = ACC_DEAD;
}

enum err replica_put(struct replica *r, struct mid id, struct blob *envelope, struct blob *body,
                     uint64_t body_number, uint64_t now)
{
    struct accept *a;

    ASSERT(mid_site(id) == r->o.site && envelope != NULL);
    if (now > r->now)
        r->now = now;
    if (otree_count(&r->entries) >= LIMIT_QUEUE_MESSAGES)
        return E_FULL;
    a = accept_get(r, id);
    if (a == NULL)
        return E_FULL;
    if (a->has_put)
        return E_EXISTS;
    a->has_put = true;
    look_at(r, r->now);
    if (a->was_stored && !a->is_stored && !a->is_told)
        answer(r, a, REPLICA_REFUSED); /* no peer was ever told of it */
    if (a->phase == ACC_WAIT) {
        a->envelope = blob_hold(envelope);
        a->body = body != NULL ? blob_hold(body) : NULL;
        a->body_number = body_number;
        for (uint32_t i = 0; i < REPLICA_PEERS; i++)
            push_put(r, &r->peers[i], a);
    }
    replica_turn(r, now);
    return OK;
}

void replica_put_stored(struct replica *r, struct mid id, enum err e, uint64_t now)
{
    struct accept *a = accept_get(r, id);

    if (now > r->now)
        r->now = now;
    if (a != NULL) {
        a->was_stored = true;
        a->is_stored = e == OK;
    }
    if (e == OK)
        entry_state(r, id, COPY_UNDECIDED, NULL);
    if (a != NULL) {
        for (uint32_t i = 0; i < REPLICA_PEERS; i++)
            if (a->put[i] == PUT_AGAIN)
                accept_again(r, &r->peers[i], a);
        if (a->phase == ACC_WAIT && e != OK) {
            if (a->has_put && is_unheard(a))
                answer(r, a, REPLICA_REFUSED);
            abort_begin(r, a);
        }
        check_copies(r, a);
        if (a->phase == ACC_DEAD)
            look_at(r, r->now);
    }
    replica_turn(r, now);
}

void replica_body(struct replica *r, uint64_t body_number, uint64_t offset, struct blob *piece,
                  uint64_t now)
{
    ASSERT(body_number < OWN_BODY && piece->n > 0);
    if (now > r->now)
        r->now = now;
    for (size_t at = 0; at < piece->n;) {
        size_t left = piece->n - at;
        size_t n = left < LIMIT_BODY_PIECE_BYTES ? left : LIMIT_BODY_PIECE_BYTES;
        struct stream_item i = {.record = {.kind = COPY_BODY,
                                           .body_number = body_number,
                                           .offset = offset + at,
                                           .body = str_head(str_from(blob_str(piece), at), n)},
                                .keep = {piece, NULL}};

        for (uint32_t k = 0; k < REPLICA_PEERS; k++)
            if (link_push(r, &r->peers[k], &i, false))
                r->peers[k].body_bytes += n;
        at += n;
    }
    replica_turn(r, now);
}

uint64_t replica_backlog(const struct replica *r)
{
    uint64_t least = NEVER;

    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (r->peers[i].up && r->peers[i].body_bytes < least)
            least = r->peers[i].body_bytes;
    return least == NEVER ? 0 : least;
}

bool replica_is_open(const struct replica *r)
{
    return r->told_open && !r->stopped;
}

/* --- answers --- */

void accept_put_acked(struct replica *r, struct peer *p, struct mid id,
                      const struct copy_answer *ans)
{
    struct accept *a = accept_find(r, id);

    if (a == NULL || a->phase != ACC_WAIT)
        return; /* decided once */
    switch (ans->code) {
    case COPY_OK:
        a->put[p->index] = PUT_ACKED;
        check_copies(r, a);
        break;
    case COPY_MISSING:
        accept_again(r, p, a);
        break;
    default:
        a->put[p->index] = PUT_REFUSED;
        if (ans->code == COPY_CONFLICT || ans->code == COPY_IS_SETTLED)
            replica_tell(
                r, &(struct replica_news){.kind = REPLICA_ALARM, .id = id, .why = ans->code});
        look_at(r, r->now);
    }
}

void accept_put_lost(struct replica *r, struct peer *p, struct mid id)
{
    struct accept *a = accept_find(r, id);

    if (a != NULL && a->put[p->index] == PUT_SENT)
        a->put[p->index] = PUT_IDLE;
}

void accept_abort_stored(struct replica *r, struct mid id, const struct copy_op *op)
{
    struct accept *a = accept_find(r, id);

    if (a == NULL || a->phase != ACC_ABORT_OWN)
        return;
    a->op_pending = false;
    if (op->answer.code != COPY_OK) {
        /* our own seal was first, or the store is gone: nobody may say it is refused */
        a->phase = ACC_DEAD;
        answer(r, a, REPLICA_CLOSE);
        look_at(r, r->now);
        return;
    }
    a->phase = ACC_ABORT;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        accept_push_abort(r, &r->peers[i], id);
    if (replica_is_solo(r) || FAULT(REFUSE_ON_OWN_ABORT))
        answer(r, a, REPLICA_REFUSED); /* nobody else decides anything */
    count_decided(r, id);
    look_at(r, r->now);
}

void accept_abort_acked(struct replica *r, struct peer *p, struct mid id,
                        const struct copy_answer *ans)
{
    struct accept *a = accept_find(r, id);

    /* What it could not store it is told again: until then it must not commit that. */
    if (rset_has(&p->aborts, id) && ans->code != COPY_NO_ROOM && ans->code != COPY_FAILED) {
        (void)rset_remove_id(&p->aborts, id);
        p->upto_due = true;
        r->flush_due = true;
    }
    if (a == NULL || a->phase != ACC_ABORT || ans->code != COPY_OK)
        return;
    answer(r, a, REPLICA_REFUSED);
    look_at(r, r->now);
}

/* --- time --- */

static uint64_t progress_of(const struct replica *r, const struct accept *a)
{
    uint64_t last = a->start_ms;

    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (r->peers[i].up && (a->put[i] == PUT_SENT || a->put[i] == PUT_AGAIN) &&
            r->peers[i].progress_ms > last)
            last = r->peers[i].progress_ms;
    return last;
}

/* When it must be looked at again. */
static uint64_t wait_step(struct replica *r, struct accept *a)
{
    uint64_t due = progress_of(r, a) + LIMIT_ACK_PROGRESS_MS;

    if (due > a->start_ms + LIMIT_ACCEPT_MS)
        due = a->start_ms + LIMIT_ACCEPT_MS;
    if (replica_is_sealed(r, r->o.site, mid_epoch(a->n.key)))
        give_up(r, a); /* no abort behind the own seal */
    else if (r->now >= due || all_refused(r, a))
        abort_begin(r, a);
    return due;
}

/* Both words of the shell were heard: what comes later of this id would begin it anew. */
static bool is_complete(const struct replica *r, const struct accept *a)
{
    return (a->was_stored && a->has_put) || r->now >= a->start_ms + LIMIT_ACCEPT_MS;
}

/* True: it is over and can go. */
static bool abort_step(struct replica *r, struct accept *a)
{
    if (r->now >= a->abort_ms + LIMIT_ABORT_MS)
        give_up(r, a);
    return a->is_told && a->phase == ACC_ABORT && is_complete(r, a);
}

static uint64_t accept_step(struct replica *r, struct accept *a, bool *is_over)
{
    switch (a->phase) {
    case ACC_WAIT: {
        uint64_t due = wait_step(r, a);

        check_copies(r, a); /* by now one may be enough */
        return a->phase == ACC_WAIT ? due : r->now + LIMIT_ABORT_MS;
    }
    case ACC_ABORT_OWN:
    case ACC_ABORT:
        *is_over = abort_step(r, a);
        return r->now >= a->abort_ms + LIMIT_ABORT_MS ? a->start_ms + LIMIT_ACCEPT_MS
                                                      : a->abort_ms + LIMIT_ABORT_MS;
    case ACC_DEAD:
        *is_over = !a->op_pending && is_complete(r, a);
        return a->start_ms + LIMIT_ACCEPT_MS;
    case ACC_FLUSH:
        break;
    }
    return NEVER;
}

void accept_tick(struct replica *r)
{
    uint64_t next = NEVER;
    uint32_t h, after;

    if (r->now < r->accept_ms)
        return;
    r->accept_ms = NEVER;
    for (h = otree_ceil(&r->accepts, (struct mid){{0}}); h != 0; h = after) {
        bool is_over = false;
        uint64_t due = accept_step(r, accept_at(r, h), &is_over);

        after = otree_after(&r->accepts, h);
        if (is_over)
            accept_drop(r, accept_at(r, h));
        else if (due < next)
            next = due;
    }
    if (next < r->accept_ms)
        r->accept_ms = next;
}

/* --- commit knowledge --- */

static void tell_single(struct replica *r, struct mid id)
{
    struct copy_record rec = {.kind = COPY_COMMIT, .id = id};

    op_own(r, &rec, NULL, 0);
    link_push_marks(r, &rec);
}

/* All that is decided up to here, without a gap. */
static uint64_t decided_upto(const struct replica *r, const struct session *s)
{
    uint16_t site = mid_site(s->n.key);
    uint64_t epoch = mid_epoch(s->n.key);
    struct rset_span span;

    if (!rset_next(&r->decided, mid_make(site, epoch, s->told + 1), &span) ||
        span.site != site || span.epoch != epoch || span.from != s->told + 1)
        return s->told;
    return span.to + (FAULT(UPTO_OFF_BY_ONE) ? 1 : 0);
}

void accept_push_abort(struct replica *r, struct peer *p, struct mid id)
{
    if (!p->up)
        return; /* all of them go before the commit knowledge when it is up again */
    if (!rset_add_id(&p->aborts, id))
        p->overflow = true; /* the link starts anew, and with it this */
    (void)link_push_mark(r, p, &(struct copy_record){.kind = COPY_ABORT, .id = id});
}

void accept_push_upto(struct replica *r, struct peer *p, const struct session *s)
{
    struct copy_record rec = {.kind = COPY_UPTO,
                              .site = mid_site(s->n.key),
                              .epoch = mid_epoch(s->n.key),
                              .counter = s->told};
    struct rset_span open;

    if (rset_next(&p->aborts, mid_make(rec.site, rec.epoch, 0), &open) &&
        open.site == rec.site && open.epoch == rec.epoch && open.from <= rec.counter)
        rec.counter = open.from - 1;
    if (rec.counter > 0)
        (void)link_push_mark(r, p, &rec);
}

static void flush_session(struct replica *r, struct session *s)
{
    uint64_t upto = decided_upto(r, s);
    bool is_news = upto > s->told;
    struct copy_record rec = {.kind = COPY_UPTO,
                              .site = mid_site(s->n.key),
                              .epoch = mid_epoch(s->n.key),
                              .counter = upto};

    if (is_news) {
        s->told = upto;
        r->upto_pending = true;
        op_own(r, &rec, NULL, 0);
    }
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (is_news || r->peers[i].upto_due)
            accept_push_upto(r, &r->peers[i], s);
}

/* One commit knowledge on its way at a time: the next takes all that was decided meanwhile. */
void accept_flush(struct replica *r)
{
    uint32_t h, after;

    if (!r->flush_due || r->upto_pending)
        return;
    r->flush_due = false;
    h = otree_ceil(&r->sessions, mid_make(r->o.site, r->o.session, 0));
    for (; h != 0; h = otree_after(&r->sessions, h)) {
        struct session *s = otree_at(&r->sessions, h);

        if (mid_site(s->n.key) != r->o.site)
            break;
        flush_session(r, s);
    }
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        r->peers[i].upto_due = false;
    for (h = otree_ceil(&r->accepts, (struct mid){{0}}); h != 0; h = after) {
        struct accept *a = accept_at(r, h);
        const struct session *s = session_find(r, r->o.site, mid_epoch(a->n.key));

        after = otree_after(&r->accepts, h);
        if (a->phase != ACC_FLUSH)
            continue;
        if (s == NULL || mid_counter(a->n.key) > s->told)
            tell_single(r, a->n.key);
        accept_drop(r, a);
    }
}

void accept_upto_stored(struct replica *r, const struct copy_op *op)
{
    const struct copy_record *rec = &op->record;
    struct session *s = session_find(r, rec->site, rec->epoch);

    r->upto_pending = false;
    if (s == NULL || op->answer.code != COPY_OK || s->upto >= rec->counter)
        return;
    entry_commit_range(r, rec->site, rec->epoch, s->upto + 1, rec->counter, NULL);
    s->upto = rec->counter;
}
