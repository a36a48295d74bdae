/* Live messages and their sessions: states, what each peer has, what it is owed. */
#include "replication/replica_internal.h"

uint32_t entry_find(const struct replica *r, struct mid id)
{
    return otree_find(&r->entries, id);
}

struct entry *entry_at(const struct replica *r, uint32_t h)
{
    return otree_at(&r->entries, h);
}

struct session *session_find(const struct replica *r, uint16_t site, uint64_t epoch)
{
    uint32_t h = otree_find(&r->sessions, mid_make(site, epoch, 0));

    return h != 0 ? otree_at(&r->sessions, h) : NULL;
}

struct session *session_get(struct replica *r, uint16_t site, uint64_t epoch)
{
    uint32_t h = otree_find(&r->sessions, mid_make(site, epoch, 0));

    if (h == 0)
        h = otree_add(&r->sessions, mid_make(site, epoch, 0));
    return h != 0 ? otree_at(&r->sessions, h) : NULL;
}

static struct session *session_of(const struct replica *r, const struct entry *e)
{
    struct session *s = session_find(r, mid_site(e->n.key), mid_epoch(e->n.key));

    ASSERT(s != NULL);
    return s;
}

/* --- owed lists --- */

static void owed_link_first(struct replica *r, struct peer *p, uint32_t h, enum owed_list which)
{
    struct entry *e = entry_at(r, h);
    struct owed *l = &p->owed[which];

    e->list[p->index] = (uint8_t)which;
    e->link[p->index].prev = 0;
    e->link[p->index].next = l->first;
    if (l->first != 0)
        entry_at(r, l->first)->link[p->index].prev = h;
    else
        l->last = h;
    l->first = h;
    l->count++;
}

static void owed_link(struct replica *r, struct peer *p, uint32_t h, enum owed_list which)
{
    struct entry *e = entry_at(r, h);
    struct owed *l = &p->owed[which];

    e->list[p->index] = (uint8_t)which;
    e->link[p->index].prev = l->last;
    e->link[p->index].next = 0;
    if (l->last != 0)
        entry_at(r, l->last)->link[p->index].next = h;
    else
        l->first = h;
    l->last = h;
    l->count++;
}

static void owed_unlink(struct replica *r, struct peer *p, uint32_t h)
{
    struct entry *e = entry_at(r, h);
    struct owed *l = &p->owed[e->list[p->index]];
    uint32_t next = e->link[p->index].next, prev = e->link[p->index].prev;

    if (prev != 0)
        entry_at(r, prev)->link[p->index].next = next;
    else
        l->first = next;
    if (next != 0)
        entry_at(r, next)->link[p->index].prev = prev;
    else
        l->last = prev;
    l->count--;
    e->list[p->index] = OWED_NONE;
}

void owed_clear(struct replica *r, struct peer *p)
{
    for (int which = OWED_MARKS; which < OWED_LISTS; which++)
        while (p->owed[which].first != 0)
            owed_unlink(r, p, p->owed[which].first);
}

static bool copy_is_single(const struct entry *e)
{
    if (e->state != COPY_COMMITTED)
        return false;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (e->has[i] != COPY_NONE && e->has[i] != COPY_ABORTED)
            return false;
    return true;
}

/* What of an undecided copy goes to a peer: those of other sites while their session lives (an
 * undecided one behind its seal would be refused), and our own when it lost the pieces. */
static enum owed_list undecided_owed(struct replica *r, const struct entry *e,
                                     const struct peer *p)
{
    if (e->has[p->index] != COPY_NONE)
        return OWED_NONE;
    if (mid_site(e->n.key) == r->o.site)
        return accept_wants(r, p, e->n.key) ? OWED_SINGLE : OWED_NONE;
    return session_of(r, e)->sealed ? OWED_NONE : OWED_COPIES;
}

static enum owed_list copy_owed(struct replica *r, const struct entry *e, const struct peer *p)
{
    enum copy_state has = e->has[p->index];

    if (bit_get(e->again, p) && e->state != COPY_ABORTED && !e->is_damaged)
        return OWED_SINGLE;
    switch (e->state) {
    case COPY_UNDECIDED:
        return undecided_owed(r, e, p);
    case COPY_ABORTED:
        return has < COPY_ABORTED ? OWED_MARKS : OWED_NONE;
    case COPY_COMMITTED:
        break;
    default:
        return OWED_NONE;
    }
    if (has == COPY_NONE || has == COPY_ABORTED) {
        if (e->is_damaged)
            return OWED_NONE;
        return copy_is_single(e) ? OWED_SINGLE : OWED_COPIES;
    }
    if (has == COPY_UNDECIDED || bit_get(e->news, p))
        return has == COPY_SETTLED ? OWED_NONE : OWED_MARKS;
    return OWED_NONE;
}

bool entry_owes_dot(struct replica *r, const struct entry *e, const struct peer *p)
{
    return bit_get(e->tell, p) && copy_owed(r, e, p) == OWED_NONE;
}

static enum owed_list owed_of(struct replica *r, const struct entry *e, const struct peer *p)
{
    if (!p->up || !p->got_have || bit_get(e->flying, p))
        return OWED_NONE;
    return entry_owes_dot(r, e, p) ? OWED_MARKS : copy_owed(r, e, p);
}

static void fill_step(struct entry *e, struct peer *p)
{
    if (!bit_get(e->fill, p) || e->list[p->index] != OWED_NONE || bit_get(e->flying, p))
        return;
    bit_set(&e->fill, p, false);
    ASSERT(p->fill_left > 0);
    p->fill_left--;
}

static void single_step(struct replica *r, struct entry *e)
{
    bool is = copy_is_single(e);

    if (is == e->is_single)
        return;
    e->is_single = is;
    if (is)
        r->single++;
    else
        r->single--;
}

void entry_touch(struct replica *r, uint32_t h)
{
    struct entry *e = entry_at(r, h);

    single_step(r, e);
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        struct peer *p = &r->peers[i];
        enum owed_list which = owed_of(r, e, p);

        if (which != e->list[i]) {
            if (e->list[i] != OWED_NONE)
                owed_unlink(r, p, h);
            if (which != OWED_NONE)
                owed_link(r, p, h, which);
        }
        fill_step(e, p);
    }
}

void entry_later(struct replica *r, uint32_t h)
{
    entry_at(r, h)->since_ms = r->now;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (entry_at(r, h)->list[i] != OWED_NONE)
            owed_unlink(r, &r->peers[i], h); /* to the end of its list */
    entry_touch(r, h);
}

void entry_now(struct replica *r, uint32_t h)
{
    struct entry *e = entry_at(r, h);

    entry_touch(r, h);
    e->since_ms = 0;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        enum owed_list which = e->list[i];

        if (which == OWED_NONE)
            continue;
        owed_unlink(r, &r->peers[i], h);
        owed_link_first(r, &r->peers[i], h, which);
    }
}

/* --- states --- */

static void count_state(struct replica *r, struct session *s, enum copy_state state, bool more)
{
    uint64_t by = more ? 1 : UINT64_MAX; /* one more, or one less */

    switch (state) {
    case COPY_UNDECIDED:
        r->undecided += by;
        s->undecided += (uint32_t)by;
        break;
    case COPY_ABORTED:
        r->aborted += by;
        s->aborted += (uint32_t)by;
        break;
    case COPY_COMMITTED:
        r->committed += by;
        s->committed += (uint32_t)by;
        break;
    case COPY_NONE:
    case COPY_SETTLED:
        ASSERT(false);
    }
}

static void tell_id(struct replica *r, enum replica_news_kind kind, struct mid id)
{
    if (r->is_started)
        replica_tell(r, &(struct replica_news){.kind = kind, .id = id});
}

/* What was said of the id before it came here. */
static void take_ahead(struct replica *r, struct entry *e)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        struct peer *p = &r->peers[i];

        if (rset_has(&p->ahead[1], e->n.key))
            e->has[i] = COPY_COMMITTED;
        else if (rset_has(&p->ahead[0], e->n.key))
            e->has[i] = COPY_UNDECIDED;
        else
            continue;
        bit_set(&e->seen, p, true);
        /* knowledge only: what does not fit is learned again with the next summary */
        if (!rset_remove_id(&p->ahead[0], e->n.key) || !rset_remove_id(&p->ahead[1], e->n.key))
            rset_clear(&p->ahead[0]);
    }
}

static void entry_new(struct replica *r, struct mid id, enum copy_state state)
{
    struct session *s = session_get(r, mid_site(id), mid_epoch(id));
    uint32_t h = s != NULL ? otree_add(&r->entries, id) : 0;
    struct entry *e;

    if (h == 0) {
        replica_stop(r, COPY_FAILED, "out of memory for live messages");
        return;
    }
    e = entry_at(r, h);
    e->state = (uint8_t)state;
    count_state(r, s, state, true);
    take_ahead(r, e);
    entry_later(r, h);
    entry_changed(r, id);
    if (state == COPY_COMMITTED)
        tell_id(r, REPLICA_DELIVERABLE, id);
}

/* Of a session that is over, and decided only now: a peer that is being filled has to have it
 * before it is called filled, as all that it lacked at its summary. */
static void fill_more(struct replica *r, struct entry *e)
{
    if (!replica_is_sealed(r, mid_site(e->n.key), mid_epoch(e->n.key)))
        return;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        struct peer *p = &r->peers[i];

        if (p->filled || p->filled_sent || e->list[i] == OWED_NONE || bit_get(e->fill, p))
            continue;
        bit_set(&e->fill, p, true);
        p->fill_left++;
    }
}

static void entry_raise(struct replica *r, uint32_t h, enum copy_state state, struct peer *from)
{
    struct entry *e = entry_at(r, h);
    struct session *s = session_of(r, e);
    struct mid id = e->n.key;

    count_state(r, s, e->state, false);
    count_state(r, s, state, true);
    e->state = (uint8_t)state;
    entry_later(r, h);
    entry_changed(r, id);
    if (state == COPY_COMMITTED) {
        fill_more(r, e);
        tell_id(r, REPLICA_DELIVERABLE, id);
    } else if (from != NULL) {
        dot_gone(r, id, COPY_IS_ABORTED, 0);
        tell_id(r, REPLICA_GONE, id);
    }
}

/* A peer that holds it live may not have heard of its end; we are the one who knows. */
static void entry_settle(struct replica *r, uint32_t h, struct peer *from)
{
    struct entry *e = entry_at(r, h);
    struct mid id = e->n.key;
    struct rset_span one = {mid_site(id), mid_epoch(id), mid_counter(id), mid_counter(id)};

    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (r->peers[i].up && &r->peers[i] != from &&
            (e->has[i] == COPY_UNDECIDED || e->has[i] == COPY_COMMITTED))
            settle_owe(r, &r->peers[i], one, false);
    feed_repaired(r, id);
    entry_drop(r, h);
    replica_settled_add(r, one);
    entry_changed(r, id);
    if (from != NULL) {
        dot_gone(r, id, COPY_IS_SETTLED, 0);
        tell_id(r, REPLICA_GONE, id);
    }
}

void entry_state(struct replica *r, struct mid id, enum copy_state state, struct peer *from)
{
    uint32_t h = entry_find(r, id);

    if (state == COPY_NONE)
        return;
    if (state == COPY_SETTLED) {
        if (h != 0) {
            entry_settle(r, h, from);
        } else if (!replica_is_settled(r, id)) {
            replica_settled_add(r, (struct rset_span){mid_site(id), mid_epoch(id),
                                                      mid_counter(id), mid_counter(id)});
            entry_changed(r, id);
        }
        return;
    }
    if (h == 0) {
        if (!replica_is_settled(r, id))
            entry_new(r, id, state);
    } else if (state > entry_at(r, h)->state) {
        entry_raise(r, h, state, from);
    }
}

void entry_drop(struct replica *r, uint32_t h)
{
    struct entry *e = entry_at(r, h);

    count_state(r, session_of(r, e), e->state, false);
    if (e->is_single)
        r->single--;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        if (e->list[i] != OWED_NONE)
            owed_unlink(r, &r->peers[i], h);
        if (bit_get(e->fill, &r->peers[i]))
            r->peers[i].fill_left--;
    }
    otree_remove(&r->entries, h);
}

void entry_has(struct replica *r, uint32_t h, struct peer *p, enum copy_state state)
{
    struct entry *e = entry_at(r, h);

    bit_set(&e->seen, p, true);
    if (state > e->has[p->index])
        e->has[p->index] = (uint8_t)state;
    entry_touch(r, h);
}

uint32_t entry_within(const struct replica *r, struct rset_span span)
{
    uint32_t h = otree_ceil(&r->entries, mid_make(span.site, span.epoch, span.from));

    if (h == 0)
        return 0;
    return mid_cmp(entry_at(r, h)->n.key, mid_make(span.site, span.epoch, span.to)) <= 0 ? h
                                                                                         : 0;
}

void entry_commit_range(struct replica *r, uint16_t site, uint64_t epoch, uint64_t from,
                        uint64_t to, struct peer *by)
{
    struct rset_span span = {site, epoch, from, to};
    uint32_t h;

    while (span.from <= to && (h = entry_within(r, span)) != 0) {
        uint64_t at = mid_counter(entry_at(r, h)->n.key);

        if (entry_at(r, h)->state == COPY_UNDECIDED)
            entry_raise(r, h, COPY_COMMITTED, by);
        if (at == UINT64_MAX)
            break;
        span.from = at + 1;
    }
}

void entry_forget_peer(struct replica *r, struct peer *p)
{
    for (uint32_t h = 1; h <= r->entries.pool.made; h++) {
        struct entry *e;

        if (!pool_is_taken(&r->entries.pool, h))
            continue;
        e = entry_at(r, h);
        e->has[p->index] = COPY_NONE;
        bit_set(&e->seen, p, false);
        bit_set(&e->again, p, false);
        bit_set(&e->tell, p, false);
        bit_set(&e->ended, p, false);
        entry_touch(r, h);
        settle_judge(r, h);
    }
    settle_forget_peer(r, p);
}

void entry_changed(struct replica *r, struct mid id)
{
    if (!r->is_started || (!r->peers[0].up && !r->peers[1].up))
        return;
    if (r->changed_count == LIMIT_REPLICA_CHANGES)
        have_flush_now(r);
    if (r->changed_count == 0)
        r->changed_ms = r->now + LIMIT_HAVE_MS;
    r->changed[r->changed_count++] = id;
}
