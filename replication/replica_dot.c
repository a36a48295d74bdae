/* Questions before the final dot. */
#include "base/fault.h"
#include "replication/replica_internal.h"

static const uint64_t RETRY_MS =
    1000; /* between two tries of the shell, when nothing says more */
static const uint64_t FOREIGN_KEPT_MS = 3600000;

static struct dot *dot_at(const struct replica *r, uint32_t h)
{
    return otree_at(&r->dots, h);
}

static struct dot *dot_find(const struct replica *r, struct mid id)
{
    uint32_t h = otree_find(&r->dots, id);

    return h != 0 ? dot_at(r, h) : NULL;
}

static void look_at(struct replica *r, uint64_t at_ms)
{
    if (at_ms < r->dot_ms || otree_count(&r->dots) == 1)
        r->dot_ms = at_ms;
}

static void dot_drop(struct replica *r, struct dot *d)
{
    blob_release(&d->domain);
    otree_remove(&r->dots, otree_find(&r->dots, d->n.key));
}

void dot_fini(struct replica *r)
{
    for (uint32_t h = 1; h <= r->dots.pool.made; h++)
        if (pool_is_taken(&r->dots.pool, h))
            blob_release(&dot_at(r, h)->domain);
}

/* --- asking --- */

/* One side: a peer, or the own store. */
static void ask(struct replica *r, struct dot *d, uint32_t side)
{
    struct copy_record rec = {.kind = COPY_DOT,
                              .id = d->n.key,
                              .domain = blob_str(d->domain),
                              .slot_epoch = d->slot_epoch,
                              .site = r->o.site,
                              .epoch = r->o.session,
                              .counter = d->side[side].over};

    if (side == OWN_SIDE) {
        op_own(r, &rec, d->domain, d->serial);
        d->side[side].state = ASK_SENT;
    } else if (link_push(r, &r->peers[side],
                         &(struct stream_item){
                             .record = rec, .keep = {d->domain, NULL}, .cookie = d->serial},
                         false)) {
        d->side[side].state = ASK_SENT;
    }
}

static void close_side(struct replica *r, struct dot *d, uint32_t side)
{
    struct copy_record rec = {
        .kind = COPY_CLOSED, .id = d->n.key, .slot_epoch = d->slot_epoch, .site = r->o.site};

    uint32_t h = entry_find(r, d->n.key);

    if (side == OWN_SIDE) {
        op_own(r, &rec, NULL, d->serial);
        d->side[side].state = ASK_YES; /* in order: no need to wait */
        return;
    }
    /* fates that got lost with a link: who asks when the mark is gone must find them */
    if (h != 0 && bit_get(entry_at(r, h)->news, &r->peers[side]))
        feed_news_now(r, &r->peers[side], h);
    if (link_push(r, &r->peers[side], &(struct stream_item){.record = rec, .cookie = d->serial},
                  false)) {
        d->side[side].state = ASK_SENT;
    }
}

static struct dot *dot_get(struct replica *r, struct mid id)
{
    struct dot *d = dot_find(r, id);
    uint32_t h;

    if (d != NULL)
        return d;
    h = otree_add(&r->dots, id);
    return h != 0 ? dot_at(r, h) : NULL;
}

static void tell_no(struct replica *r, struct mid id, uint64_t tag, uint64_t slot_epoch,
                    enum copy_code why, uint64_t retry_ms)
{
    replica_tell(r, &(struct replica_news){.kind = REPLICA_NO_CONSENT,
                                           .id = id,
                                           .tag = tag,
                                           .slot_epoch = slot_epoch,
                                           .why = why,
                                           .retry_ms = retry_ms});
}

void replica_dot(struct replica *r, struct mid id, struct str domain, uint64_t slot_epoch,
                 uint64_t tag, uint64_t now)
{
    struct dot *d;

    if (now > r->now)
        r->now = now;
    d = dot_get(r, id);
    if (d != NULL) {
        blob_release(&d->domain);
        d->domain = blob_new(domain.n);
    }
    if (d == NULL || d->domain == NULL) {
        if (d != NULL)
            dot_drop(r, d);
        tell_no(r, id, tag, slot_epoch, COPY_FAILED, RETRY_MS);
        return;
    }
    if (domain.n > 0)
        memcpy(d->domain->b, domain.p, domain.n);
    d->phase = DOT_ASKING;
    d->slot_epoch = slot_epoch;
    d->tag = tag;
    d->start_ms = r->now;
    d->serial = ++r->dot_serial;
    memset(d->side, 0, sizeof d->side);
    for (uint32_t i = 0; i < SIDES; i++)
        ask(r, d, i);
    look_at(r, r->now + LIMIT_DOT_MS);
    replica_turn(r, now);
}

/* --- other holders' marks --- */

static struct foreign *foreign_find(const struct replica *r, struct mid id)
{
    uint32_t h = otree_find(&r->foreigns, id);

    return h != 0 ? otree_at(&r->foreigns, h) : NULL;
}

static void foreign_drop(struct replica *r, struct mid id)
{
    uint32_t h = otree_find(&r->foreigns, id);

    if (h != 0)
        otree_remove(&r->foreigns, h);
}

/* Since when this mark stands in our way. */
static uint64_t foreign_since(struct replica *r, struct mid id, const struct copy_answer *a)
{
    struct foreign *f = foreign_find(r, id);
    uint32_t h;

    if (f == NULL) {
        h = otree_add(&r->foreigns, id);
        if (h == 0)
            return r->now; /* waits for room: no dot meanwhile */
        f = otree_at(&r->foreigns, h);
    }
    if (f->site != a->site || f->session != a->session || f->slot_epoch != a->detail) {
        f->site = a->site;
        f->session = a->session;
        f->slot_epoch = a->detail;
        f->since_ms = r->now;
    }
    f->used_ms = r->now;
    return f->since_ms;
}

/* The process that asked for that dot is gone: it can send nothing any more. */
static bool process_is_gone(struct replica *r, const struct copy_answer *a)
{
    const struct peer *p = replica_peer(r, a->site);

    if (a->site == r->o.site)
        return a->session < r->o.session;
    return p != NULL && p->session > a->session;
}

/* 0: it need not be waited for (any more); else for how long. */
static uint64_t foreign_wait(struct replica *r, const struct dot *d,
                             const struct copy_answer *a)
{
    uint64_t since = foreign_since(r, d->n.key, a);

    if (process_is_gone(r, a) || r->ops.released(r->ops.ctx, blob_str(d->domain), a->detail) ||
        r->now - since >= LIMIT_FOREIGN_DOT_MS)
        return 0;
    return since + LIMIT_FOREIGN_DOT_MS - r->now;
}

/* Its mark gives way to ours in one step, and the doubt goes over to it: so whoever comes next
 * knows of that dot, by one mark or the other. */
static void overrule(struct replica *r, struct dot *d, uint32_t side)
{
    d->side[side].over = d->side[side].answer.detail;
    ask(r, d, side);
}

static bool is_doubtful(const struct dot *d)
{
    for (uint32_t i = 0; i < SIDES; i++)
        if (d->side[i].state == ASK_YES && d->side[i].answer.code == COPY_DOUBT)
            return true;
    return false;
}

/* --- deciding --- */

static void begin_closing(struct replica *r, struct dot *d)
{
    d->phase = DOT_CLOSING;
    d->start_ms = r->now;
    d->serial = ++r->dot_serial;
    for (uint32_t i = 0; i < SIDES; i++)
        d->side[i].state = ASK_IDLE;
    look_at(r, r->now);
}

static void refuse(struct replica *r, struct dot *d, enum copy_code why, uint64_t retry_ms)
{
    tell_no(r, d->n.key, d->tag, d->slot_epoch, why, retry_ms);
    begin_closing(r, d);
}

static void consent(struct replica *r, struct dot *d)
{
    struct replica_news n = {.kind = REPLICA_CONSENT,
                             .id = d->n.key,
                             .tag = d->tag,
                             .slot_epoch = d->slot_epoch,
                             .possible_duplicate = is_doubtful(d)};

    foreign_drop(r, d->n.key);
    d->phase = DOT_OPEN;
    d->start_ms = r->now;
    blob_release(&d->domain);
    replica_tell(r, &n);
}

/* What one side's no means; the phase is another one when it ends the asking. */
static void take_no(struct replica *r, struct dot *d, uint32_t side)
{
    struct dot_side *s = &d->side[side];
    uint64_t wait;

    switch (s->answer.code) {
    case COPY_EPOCH:
    case COPY_IS_SETTLED:
    case COPY_IS_ABORTED:
        refuse(r, d, s->answer.code, 0);
        return;
    case COPY_FOREIGN_DOT:
        wait = foreign_wait(r, d, &s->answer);
        if (wait == 0) {
            overrule(r, d, side);
            return;
        }
        refuse(r, d, COPY_FOREIGN_DOT, wait < LIMIT_DOT_MS ? wait : LIMIT_DOT_MS);
        return;
    case COPY_LAG:
        s->state = ASK_LATER;
        s->again_ms = r->now + LIMIT_DOT_LAG_MS;
        look_at(r, s->again_ms);
        return;
    default:
        if (side == OWN_SIDE) {
            refuse(r, d, s->answer.code, RETRY_MS);
            return;
        }
        s->state = ASK_LATER; /* the other peer may say yes */
        s->again_ms = r->now + RETRY_MS;
        look_at(r, s->again_ms);
        return;
    }
}

static void dot_step(struct replica *r, struct dot *d)
{
    bool has_peer = replica_is_solo(r) || FAULT(DOT_WITHOUT_PEER);

    for (uint32_t i = 0; i < SIDES; i++) {
        if (d->side[i].state == ASK_NO)
            take_no(r, d, i);
        if (d->phase != DOT_ASKING)
            return;
        if (d->side[i].state == ASK_IDLE ||
            (d->side[i].state == ASK_LATER && r->now >= d->side[i].again_ms))
            ask(r, d, i);
        has_peer = has_peer || (i != OWN_SIDE && d->side[i].state == ASK_YES);
    }
    if (has_peer && d->side[OWN_SIDE].state == ASK_YES) {
        consent(r, d);
        return;
    }
    if (r->now >= d->start_ms + LIMIT_DOT_MS)
        refuse(r, d, d->side[OWN_SIDE].state == ASK_YES ? COPY_LAG : COPY_FAILED, RETRY_MS);
}

/* True: all marks are gone, or it is not worth more trouble: they end with the epoch. */
static bool closing_step(struct replica *r, struct dot *d)
{
    bool is_crowded = otree_count(&r->dots) > LIMIT_REPLICA_DOTS / 2, is_over = true;

    for (uint32_t i = 0; i < SIDES; i++) {
        bool is_away = i != OWN_SIDE && !r->peers[i].up;

        if (d->side[i].state == ASK_IDLE)
            close_side(r, d, i);
        if (d->side[i].state == ASK_YES || (is_away && is_crowded) ||
            (i != OWN_SIDE && r->peers[i].incarnation == 0))
            continue;
        is_over = false;
    }
    return is_over || r->now >= d->start_ms + LIMIT_FOREIGN_DOT_MS;
}

static uint64_t dot_due(const struct replica *r, const struct dot *d)
{
    uint64_t due = d->start_ms + (d->phase == DOT_ASKING ? (uint64_t)LIMIT_DOT_MS
                                                         : (uint64_t)LIMIT_FOREIGN_DOT_MS);

    (void)r;
    for (uint32_t i = 0; i < SIDES; i++)
        if (d->side[i].state == ASK_LATER && d->side[i].again_ms < due)
            due = d->side[i].again_ms;
    return due;
}

static void foreign_sweep(struct replica *r)
{
    uint32_t after;

    if (otree_count(&r->foreigns) < LIMIT_REPLICA_FOREIGN / 2)
        return;
    for (uint32_t h = otree_ceil(&r->foreigns, (struct mid){{0}}); h != 0; h = after) {
        const struct foreign *f = otree_at(&r->foreigns, h);

        after = otree_after(&r->foreigns, h);
        if (r->now - f->used_ms > FOREIGN_KEPT_MS)
            otree_remove(&r->foreigns, h);
    }
}

void dot_tick(struct replica *r)
{
    uint64_t next = NEVER;
    uint32_t h, after;

    if (r->now < r->dot_ms)
        return;
    r->dot_ms = NEVER;
    for (h = otree_ceil(&r->dots, (struct mid){{0}}); h != 0; h = after) {
        struct dot *d = dot_at(r, h);

        after = otree_after(&r->dots, h);
        if (d->phase == DOT_ASKING)
            dot_step(r, d);
        if ((d->phase == DOT_CLOSING && closing_step(r, d)) ||
            (d->phase == DOT_OPEN && r->now >= d->start_ms + LIMIT_FOREIGN_DOT_MS)) {
            dot_drop(r, d);
            continue;
        }
        if (dot_due(r, d) < next)
            next = dot_due(r, d);
    }
    if (next < r->dot_ms)
        r->dot_ms = next;
    foreign_sweep(r);
}

/* --- answers --- */

void dot_answered(struct replica *r, uint32_t side, const struct copy_record *rec,
                  uint64_t cookie, const struct copy_answer *a)
{
    struct dot *d = dot_find(r, rec->id);

    if (d == NULL || d->phase != DOT_ASKING || d->serial != (uint32_t)cookie)
        return;
    d->side[side].answer = *a;
    d->side[side].state = a->code == COPY_OK || a->code == COPY_DOUBT ? ASK_YES : ASK_NO;
    look_at(r, r->now);
}

void dot_closed_acked(struct replica *r, uint32_t side, const struct copy_record *rec,
                      uint64_t cookie)
{
    struct dot *d = dot_find(r, rec->id);

    if (d == NULL || d->phase != DOT_CLOSING || d->serial != (uint32_t)cookie)
        return;
    d->side[side].state = ASK_YES;
    look_at(r, r->now);
}

void replica_closed(struct replica *r, struct mid id, uint64_t slot_epoch, uint64_t now)
{
    struct dot *d = dot_get(r, id);

    if (now > r->now)
        r->now = now;
    if (d == NULL)
        return; /* the marks end with the epoch, or after 11 minutes */
    d->slot_epoch = slot_epoch;
    begin_closing(r, d);
    replica_turn(r, now);
}

bool dot_is_open(const struct replica *r, uint32_t serial)
{
    for (uint32_t h = otree_ceil(&r->dots, (struct mid){{0}}); h != 0;
         h = otree_after(&r->dots, h)) {
        const struct dot *d = dot_at(r, h);

        if (d->phase == DOT_OPEN && (int32_t)(d->serial - serial) <= 0)
            return true;
    }
    return false;
}

void dot_done(struct replica *r, struct mid id)
{
    struct dot *d = dot_find(r, id);

    foreign_drop(r, id);
    if (d != NULL)
        dot_drop(r, d);
}

/* The try is over, the message is not: its marks are taken away behind the outcome, which does
 * not do it: a repeated one could hit the next dot. */
void dot_unfinished(struct replica *r, struct mid id)
{
    struct dot *d = dot_find(r, id);

    foreign_drop(r, id);
    if (d != NULL && d->phase == DOT_OPEN)
        begin_closing(r, d);
}

/* It changed under the question: whoever asked must read it again, or forget it. */
void dot_gone(struct replica *r, struct mid id, enum copy_code why, uint64_t retry_ms)
{
    struct dot *d = dot_find(r, id);

    if (why != COPY_LAG)
        foreign_drop(r, id); /* it is over; else the doubt stays */
    if (d == NULL)
        return;
    if (d->phase == DOT_ASKING)
        refuse(r, d, why, retry_ms);
}

void dot_link_up(struct replica *r, struct peer *p)
{
    (void)p;
    look_at(r, r->now);
}

void dot_link_down(struct replica *r, struct peer *p)
{
    for (uint32_t h = otree_ceil(&r->dots, (struct mid){{0}}); h != 0;
         h = otree_after(&r->dots, h)) {
        struct dot *d = dot_at(r, h);
        struct dot_side *s = &d->side[p->index];

        if (d->phase == DOT_ASKING || s->state == ASK_SENT)
            s->state = ASK_IDLE;
    }
}
