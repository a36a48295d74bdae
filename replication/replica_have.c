/* Summaries and deltas of what is held; clear sessions; whether this node was rolled back. */
#include <stdlib.h>

#include "base/fault.h"
#include "replication/replica_internal.h"

/* Entries looked at for one record of a summary. */
static const uint32_t STEP_ENTRIES = 8192;

static bool same_session(struct mid a, struct mid b)
{
    return mid_site(a) == mid_site(b) && mid_epoch(a) == mid_epoch(b);
}

static enum copy_state state_of_pass(enum have_pass pass)
{
    switch (pass) {
    case HAVE_SETTLED:
        return COPY_SETTLED;
    case HAVE_COMMITTED:
        return COPY_COMMITTED;
    case HAVE_UNDECIDED:
        return COPY_UNDECIDED;
    case HAVE_ABORTED:
        return COPY_ABORTED;
    case HAVE_DONE:
        break;
    }
    return COPY_NONE;
}

/* --- ours, as a record --- */

static struct rset_span span_of(const struct copy_record *rec, const struct copy_range *range)
{
    return (struct rset_span){rec->site, rec->epoch, range->from, range->to};
}

static void push_have(struct replica *r, struct peer *p, const struct copy_record *rec)
{
    struct blob *keep = blob_new(rec->range_count * sizeof *rec->ranges);
    struct stream_item i = {.record = *rec, .keep = {keep, NULL}};

    if (keep == NULL) {
        p->overflow = true; /* out of memory: the link starts anew */
        return;
    }
    memcpy(keep->b, rec->ranges, rec->range_count * sizeof *rec->ranges);
    i.record.ranges = (const struct copy_range *)(const void *)keep->b;
    (void)link_push(r, p, &i, false);
    blob_release(&keep);
}

/* Adds a counter behind those that are there. False: there is no room. */
static bool range_add(struct replica *r, uint32_t *count, uint64_t from, uint64_t to)
{
    if (*count > 0 && r->ranges[*count - 1].to + 1 == from) {
        r->ranges[*count - 1].to = to;
        return true;
    }
    if (*count == LIMIT_FRAME_RANGES)
        return false;
    r->ranges[(*count)++] = (struct copy_range){from, to};
    return true;
}

/* The next record of settled ids of a set from the cursor on. False: there is none. */
static bool next_settled(struct replica *r, const struct rset *set, struct mid *cursor,
                         struct copy_record *rec)
{
    struct rset_span span;
    uint32_t count = 0;

    while (rset_next(set, *cursor, &span)) {
        if (count > 0 && (span.site != rec->site || span.epoch != rec->epoch))
            break;
        if (!range_add(r, &count, span.from, span.to))
            break;
        rec->site = span.site;
        rec->epoch = span.epoch;
        *cursor = rset_after(span);
    }
    rec->ranges = r->ranges;
    rec->range_count = count;
    return count > 0;
}

/* The next record of live ids in that state. False: none among the entries that were looked at;
 * *is_end: these were the last. */
static bool next_live(struct replica *r, struct mid *cursor, struct copy_record *rec,
                      bool *is_end)
{
    uint32_t count = 0, h = otree_ceil(&r->entries, *cursor);

    for (uint32_t looked = 0; h != 0 && looked < STEP_ENTRIES; looked++) {
        const struct entry *e = entry_at(r, h);
        struct mid id = e->n.key;
        struct rset_span one = {mid_site(id), mid_epoch(id), mid_counter(id), mid_counter(id)};

        if (e->state == rec->state) {
            if (count > 0 && (one.site != rec->site || one.epoch != rec->epoch))
                break;
            if (!range_add(r, &count, one.from, one.to))
                break;
            rec->site = one.site;
            rec->epoch = one.epoch;
        }
        *cursor = rset_after(one);
        h = otree_after(&r->entries, h);
    }
    *is_end = h == 0;
    rec->ranges = r->ranges;
    rec->range_count = count;
    return count > 0;
}

/* --- summary --- */

/* Aborts of our own sessions come before their commit knowledge, which would commit what the
 * peer does not know to be aborted. */
static void push_own_aborts(struct replica *r, struct peer *p)
{
    uint32_t h;

    if (r->aborted == 0)
        return;
    h = otree_ceil(&r->entries, mid_make(r->o.site, r->o.session, 0));
    for (; h != 0; h = otree_after(&r->entries, h)) {
        const struct entry *e = entry_at(r, h);

        if (mid_site(e->n.key) != r->o.site)
            return;
        if (e->state == COPY_ABORTED && e->has[p->index] != COPY_ABORTED)
            accept_push_abort(r, p, e->n.key);
    }
}

/* Our word on our sessions of this process; and the peer's own word on its sessions, by which
 * it sees whether it forgot something. */
static void push_uptos(struct replica *r, struct peer *p)
{
    for (uint32_t h = otree_ceil(&r->sessions, (struct mid){{0}}); h != 0;
         h = otree_after(&r->sessions, h)) {
        const struct session *s = otree_at(&r->sessions, h);
        uint16_t site = mid_site(s->n.key);
        uint64_t epoch = mid_epoch(s->n.key);
        struct copy_record rec = {
            .kind = COPY_UPTO, .site = site, .epoch = epoch, .counter = s->upto};

        if (site == r->o.site && epoch >= r->o.session)
            accept_push_upto(r, p, s);
        else if (site == p->site && rec.counter > 0)
            (void)link_push_mark(r, p, &rec);
    }
}

static void push_clear(struct replica *r, struct peer *p, const struct site_clear *c)
{
    struct copy_record rec = {.kind = COPY_CLEAR, .site = c->site, .epoch = c->told};

    if (c->told > 0)
        (void)link_push_mark(r, p, &rec);
}

static void forget_seen(struct replica *r, const struct peer *p)
{
    for (uint32_t h = 1; h <= r->entries.pool.made; h++)
        if (pool_is_taken(&r->entries.pool, h)) {
            struct entry *e = entry_at(r, h);

            bit_set(&e->seen, p, false);
            bit_set(&e->flying, p, false);
            bit_set(&e->fill, p, false);
            bit_set(&e->tell, p, false);
            bit_set(&e->ended, p, false);
        }
    settle_forget_peer(r, p);
}

void have_link_up(struct replica *r, struct peer *p)
{
    forget_seen(r, p);
    p->fill_left = 0;
    p->filled_sent = false;
    rset_clear(&p->ahead[0]);
    rset_clear(&p->ahead[1]);
    rset_clear(&p->stale);
    rset_clear(&p->stale_late);
    rset_clear(&p->unheard); /* the summary tells them, too */
    rset_clear(&p->aborts);
    push_own_aborts(r, p);
    push_uptos(r, p);
    for (uint32_t i = 0; i < r->clear_count; i++)
        push_clear(r, p, &r->clear[i]);
    p->pass = HAVE_SETTLED;
    p->cursor = (struct mid){{0}};
}

/* One record; moves to the next pass when this one has no more. */
static void summary_step(struct replica *r, struct peer *p)
{
    struct copy_record rec = {.kind = COPY_HAVE, .state = state_of_pass(p->pass)};
    bool is_end = true, is_some;

    if (p->pass == HAVE_SETTLED) {
        is_some = next_settled(r, &r->settled, &p->cursor, &rec);
        is_end = !is_some;
    } else {
        is_some = next_live(r, &p->cursor, &rec, &is_end);
    }
    if (is_some)
        push_have(r, p, &rec);
    if (is_end) {
        p->pass++;
        p->cursor = (struct mid){{0}};
    }
}

/* Echoes and dots must not stand behind too much of it. */
static bool has_room(const struct peer *p)
{
    return stream_out_bytes(p->out[FRAME_MARKS]) < LIMIT_REPLICA_AHEAD_BYTES;
}

/* Until it has them a late copy of such an id could come in there. */
static void tell_unheard(struct replica *r, struct peer *p)
{
    struct copy_record rec = {.kind = COPY_HAVE, .state = COPY_SETTLED};
    struct mid cursor = {{0}};

    if (rset_is_empty(&p->unheard) || r->now < p->unheard_ms)
        return;
    while (has_room(p) && next_settled(r, &p->unheard, &cursor, &rec)) {
        push_have(r, p, &rec);
        for (uint32_t i = 0; i < rec.range_count; i++)
            (void)rset_remove(&p->unheard, span_of(&rec, &rec.ranges[i]));
    }
}

void have_acked(struct replica *r, struct peer *p, const struct copy_record *rec,
                enum copy_code code)
{
    /* DAMAGED: its own record is in the way, and stays there */
    if (rec->state != COPY_SETTLED || (code != COPY_NO_ROOM && code != COPY_FAILED))
        return;
    p->unheard_ms = r->now + LIMIT_RELAY_MS;
    for (uint32_t i = 0; i < rec->range_count; i++)
        if (!rset_add(&p->unheard, span_of(rec, &rec->ranges[i])))
            p->overflow = true; /* too many: the link starts anew, with a summary */
}

uint64_t have_deadline(const struct peer *p)
{
    return p->up && !rset_is_empty(&p->unheard) && has_room(p) ? p->unheard_ms : NEVER;
}

void have_step(struct replica *r, struct peer *p)
{
    tell_unheard(r, p);
    if (p->pass == HAVE_DONE)
        return;
    while (p->pass != HAVE_DONE && !p->overflow && has_room(p))
        summary_step(r, p);
    if (p->pass != HAVE_DONE || p->overflow)
        return;
    have_flush_now(r); /* what changed behind the cursor */
    (void)link_push_mark(r, p, &(struct copy_record){.kind = COPY_HAVE_END});
}

/* --- deltas --- */

static int by_id(const void *a, const void *b)
{
    return mid_cmp(*(const struct mid *)a, *(const struct mid *)b);
}

static enum copy_state state_now(struct replica *r, struct mid id)
{
    uint32_t h = entry_find(r, id);

    if (h != 0)
        return entry_at(r, h)->state;
    return replica_is_settled(r, id) ? COPY_SETTLED : COPY_NONE;
}

/* The ids first..last-1 of one session: a record for each state. */
static void flush_session(struct replica *r, uint32_t first, uint32_t last)
{
    struct copy_record rec = {.kind = COPY_HAVE,
                              .site = mid_site(r->changed[first]),
                              .epoch = mid_epoch(r->changed[first]),
                              .ranges = r->ranges};

    for (int state = COPY_UNDECIDED; state <= COPY_SETTLED; state++) {
        rec.state = (enum copy_state)state;
        rec.range_count = 0;
        for (uint32_t i = first; i <= last; i++) {
            bool is_it = i < last && state_now(r, r->changed[i]) == rec.state;
            uint64_t c = i < last ? mid_counter(r->changed[i]) : 0;

            if (is_it && range_add(r, &rec.range_count, c, c))
                continue;
            if ((i == last || is_it) && rec.range_count > 0) {
                for (uint32_t k = 0; k < REPLICA_PEERS; k++)
                    if (r->peers[k].up)
                        push_have(r, &r->peers[k], &rec);
                rec.range_count = 0;
            }
            if (is_it)
                (void)range_add(r, &rec.range_count, c, c);
        }
    }
}

void have_flush_now(struct replica *r)
{
    uint32_t count = 0;

    qsort(r->changed, r->changed_count, sizeof r->changed[0], by_id);
    for (uint32_t i = 0; i < r->changed_count; i++)
        if (count == 0 || mid_cmp(r->changed[count - 1], r->changed[i]) != 0)
            r->changed[count++] = r->changed[i];
    for (uint32_t first = 0, i = 1; i <= count; i++)
        if (i == count || !same_session(r->changed[first], r->changed[i])) {
            flush_session(r, first, i);
            first = i;
        }
    r->changed_count = 0;
}

void have_flush(struct replica *r)
{
    if (r->changed_count > 0 && r->now >= r->changed_ms)
        have_flush_now(r);
}

/* --- the peer's --- */

static void mark_entries(struct replica *r, struct peer *p, struct rset_span span,
                         enum copy_state state)
{
    uint32_t h;

    while ((h = entry_within(r, span)) != 0) {
        uint64_t at = mid_counter(entry_at(r, h)->n.key);

        entry_has(r, h, p, state);
        if (at >= span.to)
            return;
        span.from = at + 1;
    }
}

/* Live there: settled here, or not here at all, or (marked already) live here too. */
static void take_live(struct replica *r, struct peer *p, const struct copy_record *rec,
                      struct rset_span span)
{
    struct rset *ahead = &p->ahead[rec->state == COPY_COMMITTED];
    struct rset_span piece, rest = span;
    const struct site_clear *c = replica_clear_of(r, span.site);
    uint32_t h;

    if (c != NULL && span.epoch < c->durable) {
        settle_owe(r, p, span, false);
        return;
    }
    for (; rset_cut(&r->settled, rest, &piece); rest.from = piece.to + 1) {
        settle_owe(r, p, piece, false);
        if (piece.to >= rest.to)
            break;
    }
    if (!rset_add(ahead, span))
        rset_clear(ahead); /* knowledge only */
    for (rest = span; rset_cut(&r->settled, rest, &piece); rest.from = piece.to + 1) {
        (void)rset_remove(ahead, piece);
        if (piece.to >= rest.to)
            break;
    }
    for (rest = span; (h = entry_within(r, rest)) != 0;) {
        uint64_t at = mid_counter(entry_at(r, h)->n.key);

        (void)rset_remove_id(ahead, entry_at(r, h)->n.key);
        if (at >= span.to)
            break;
        rest.from = at + 1;
    }
}

/* What it has settled is no news to it any more. */
static void take_settled(struct peer *p, struct rset_span span)
{
    (void)rset_remove(&p->stale, span);
    (void)rset_remove(&p->stale_late, span);
    (void)rset_remove(&p->ahead[0], span);
    (void)rset_remove(&p->ahead[1], span);
}

static uint64_t ids_of(const struct copy_record *rec)
{
    uint64_t ids = 0;

    for (uint32_t i = 0; i < rec->range_count; i++) {
        uint64_t n = rec->ranges[i].to - rec->ranges[i].from;

        if (n >= LIMIT_RESOLVE_IDS || ids + n >= LIMIT_RESOLVE_IDS)
            return LIMIT_RESOLVE_IDS;
        ids += n + 1;
    }
    return ids;
}

/* In a session that is sealed here: it was aborted, and nobody was told 451 on the word of this
 * record; it is not the origin's word, which would come too late. So it is stored as ours. */
static void take_aborted(struct replica *r, const struct copy_record *rec)
{
    struct session *s = session_find(r, rec->site, rec->epoch);
    uint64_t ids = ids_of(rec);

    if (s == NULL || (s->undecided == 0 && !s->asked) ||
        !replica_is_sealed(r, rec->site, rec->epoch))
        return;
    if (ids >= LIMIT_RESOLVE_IDS || !op_room(r, (uint32_t)ids)) {
        s->asked = false; /* what follows is not the whole answer: asked again */
        return;
    }
    for (uint32_t i = 0; i < rec->range_count; i++)
        for (uint64_t c = rec->ranges[i].from; c <= rec->ranges[i].to; c++)
            op_own(r,
                   &(struct copy_record){.kind = COPY_ABORT,
                                         .id = mid_make(rec->site, rec->epoch, c)},
                   NULL, 0);
}

static bool is_known_settled(struct replica *r, struct rset_span span)
{
    const struct site_clear *c = replica_clear_of(r, span.site);

    return (c != NULL && span.epoch < c->durable) || rset_covers(&r->settled, span);
}

bool have_take(struct replica *r, struct peer *p, const struct copy_record *rec)
{
    bool is_new = false;

    for (uint32_t i = 0; i < rec->range_count; i++) {
        struct rset_span span = span_of(rec, &rec->ranges[i]);

        mark_entries(r, p, span, rec->state);
        if (rec->state == COPY_UNDECIDED || rec->state == COPY_COMMITTED)
            take_live(r, p, rec, span);
        else if (rec->state == COPY_SETTLED)
            take_settled(p, span);
        is_new = is_new || !is_known_settled(r, span);
    }
    if (rec->state == COPY_ABORTED)
        take_aborted(r, rec);
    return rec->state == COPY_SETTLED && is_new;
}

/* Settled ids that are neither live nor settled here: from now on a late copy of them is
 * refused. */
void have_stored(struct replica *r, struct peer *p, const struct copy_op *op)
{
    const struct copy_record *rec = &op->record;
    uint32_t h;

    (void)p;
    if (op->answer.code != COPY_OK)
        return;
    for (uint32_t i = 0; i < rec->range_count; i++) {
        struct rset_span span = span_of(rec, &rec->ranges[i]), gap = span;

        if (is_known_settled(r, span))
            continue;
        for (;;) {
            h = entry_within(r, span);
            gap.from = span.from;
            gap.to = h != 0 ? mid_counter(entry_at(r, h)->n.key) : span.to;
            if (h == 0) {
                replica_settled_add(r, gap);
                break;
            }
            if (gap.to > gap.from) {
                gap.to--;
                replica_settled_add(r, gap);
                gap.to++;
            }
            if (gap.to >= span.to)
                break;
            span.from = gap.to + 1;
        }
    }
}

void have_end(struct replica *r, struct peer *p)
{
    if (p->got_have)
        return;
    p->got_have = true;
    for (uint32_t h = 1; h <= r->entries.pool.made; h++) {
        struct entry *e;

        if (!pool_is_taken(&r->entries.pool, h))
            continue;
        e = entry_at(r, h);
        if (!bit_get(e->seen, p))
            e->has[p->index] = COPY_NONE;
        e->since_ms = 0;
        bit_set(&e->tell, p, !p->filled);
        entry_touch(r, h);
        if (e->list[p->index] != OWED_NONE && !bit_get(e->fill, p)) {
            bit_set(&e->fill, p, true);
            p->fill_left++;
        }
        settle_judge(r, h);
    }
    settle_hurry(r, p); /* what is settled here and live there: at once */
}

/* The peer repeats what we told it of a session of ours. What was decided was durable here
 * before: so a node that does not know it has an older disk than it believes. */
void have_upto_of_ours(struct replica *r, const struct copy_record *rec)
{
    const struct site_clear *c = replica_clear_of(r, rec->site);
    struct rset_span piece, rest = {rec->site, rec->epoch, 1, rec->counter};

    if (rec->epoch < r->o.first_epoch || (c != NULL && rec->epoch < c->durable) ||
        FAULT(OWN_ROLLBACK_UNSEEN))
        return;
    while (rest.from <= rest.to) {
        uint32_t h =
            entry_within(r, (struct rset_span){rest.site, rest.epoch, rest.from, rest.from});

        if (h != 0 || rset_has(&r->damaged, mid_make(rest.site, rest.epoch, rest.from))) {
            rest.from++;
        } else if (rset_cut(&r->settled, rest, &piece) && piece.from == rest.from) {
            rest.from = piece.to + 1;
        } else {
            replica_stop(r, COPY_MISSING,
                         "a peer knows decided mail of this node that is not here: the "
                         "spool is older than it was; join anew");
            return;
        }
    }
}

/* --- clear sessions --- */

/* Ids are drawn from that session still, or the store has not answered for all of it: the peers
 * would call settled what is only on its way. */
static uint64_t own_begun(struct replica *r)
{
    uint32_t h = otree_ceil(&r->accepts, mid_make(r->o.site, 0, 0));
    uint64_t epoch = h != 0
                         ? mid_epoch(((const struct accept *)otree_at(&r->accepts, h))->n.key)
                         : UINT64_MAX;

    return epoch < r->session ? epoch : r->session;
}

static uint64_t sessions_clear(struct replica *r, uint16_t site)
{
    uint64_t epoch = 0;
    uint32_t h = otree_ceil(&r->sessions, mid_make(site, 0, 0));
    struct rset_span span;
    struct mid at = mid_make(site, 0, 0);

    for (; h != 0; h = otree_after(&r->sessions, h)) {
        const struct session *s = otree_at(&r->sessions, h);

        if (mid_site(s->n.key) != site)
            break;
        if (s->undecided > 0 || s->committed > 0 ||
            !replica_is_sealed(r, site, mid_epoch(s->n.key)))
            return mid_epoch(s->n.key);
        epoch = mid_epoch(s->n.key) + 1;
    }
    /* sessions of which only settled ids are known */
    for (; rset_next(&r->settled, at, &span) && span.site == site;
         at = mid_make(site, span.epoch + 1, 0)) {
        if (!replica_is_sealed(r, site, span.epoch))
            return span.epoch;
        if (span.epoch >= epoch)
            epoch = span.epoch + 1;
    }
    return epoch;
}

/* Below which epoch all sessions of a site are sealed, resolved and settled here. */
static uint64_t clear_here(struct replica *r, uint16_t site)
{
    uint64_t epoch = sessions_clear(r, site), begun;

    if (site != r->o.site)
        return epoch;
    begun = own_begun(r);
    return epoch < begun ? epoch : begun;
}

static void clear_agreed(struct replica *r, struct site_clear *c)
{
    uint32_t slot = (uint32_t)(c - r->clear);
    uint64_t least = c->told;

    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        uint64_t theirs = r->peers[i].incarnation != 0 ? r->peers[i].clear[slot] : 0;

        least = theirs < least ? theirs : least;
    }
    if (least <= c->durable || c->is_pending)
        return;
    c->is_pending = true;
    op_own(r, &(struct copy_record){.kind = COPY_CLEAR, .site = c->site, .epoch = least}, NULL,
           0);
}

static void clear_site(struct replica *r, uint16_t site)
{
    struct site_clear *c = replica_clear_of(r, site);
    uint64_t epoch;

    if (c == NULL)
        return;
    epoch = clear_here(r, site);
    if (r->filled && epoch > c->told) {
        c->told = epoch;
        for (uint32_t i = 0; i < REPLICA_PEERS; i++)
            push_clear(r, &r->peers[i], c);
    }
    clear_agreed(r, c);
}

void have_clear_tick(struct replica *r)
{
    if (r->now < r->clear_ms)
        return;
    r->clear_ms = r->now + LIMIT_CLEAR_MS;
    clear_site(r, r->o.site);
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (r->peers[i].incarnation != 0)
            clear_site(r, r->peers[i].site);
}

void have_clear_of_peer(struct replica *r, struct peer *p, const struct copy_record *rec)
{
    const struct site_clear *c = replica_clear_of(r, rec->site);

    if (c != NULL && p->clear[c - r->clear] < rec->epoch)
        p->clear[c - r->clear] = rec->epoch;
}

static void drop_aborted_below(struct replica *r, uint16_t site, uint64_t epoch)
{
    uint32_t h = otree_ceil(&r->entries, mid_make(site, 0, 0)), after;

    for (; h != 0; h = after) {
        const struct entry *e = entry_at(r, h);

        if (mid_site(e->n.key) != site || mid_epoch(e->n.key) >= epoch)
            return;
        after = otree_after(&r->entries, h);
        if (e->state == COPY_ABORTED)
            entry_drop(r, h);
    }
}

void have_clear_stored(struct replica *r, const struct copy_record *rec, bool ok)
{
    struct site_clear *c = replica_clear_of(r, rec->site);
    uint32_t h, after;

    if (c == NULL)
        return;
    c->is_pending = false;
    if (!ok || c->durable >= rec->epoch)
        return;
    c->durable = rec->epoch;
    drop_aborted_below(r, rec->site, rec->epoch);
    rset_drop_below(&r->settled, rec->site, rec->epoch);
    rset_drop_below(&r->decided, rec->site, rec->epoch);
    for (h = otree_ceil(&r->sessions, mid_make(rec->site, 0, 0)); h != 0; h = after) {
        const struct session *s = otree_at(&r->sessions, h);

        if (mid_site(s->n.key) != rec->site || mid_epoch(s->n.key) >= rec->epoch)
            return;
        after = otree_after(&r->sessions, h);
        if (s->undecided + s->aborted + s->committed == 0)
            otree_remove(&r->sessions, h);
    }
}
