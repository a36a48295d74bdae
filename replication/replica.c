#include "replication/replica.h"

#include "replication/replica_internal.h"

static void pools_init(struct replica *r)
{
    otree_init(&r->entries, sizeof(struct entry), LIMIT_QUEUE_MESSAGES);
    otree_init(&r->sessions, sizeof(struct session), LIMIT_REPLICA_SESSIONS);
    otree_init(&r->accepts, sizeof(struct accept), LIMIT_REPLICA_ACCEPTS);
    otree_init(&r->dots, sizeof(struct dot), LIMIT_REPLICA_DOTS);
    otree_init(&r->foreigns, sizeof(struct foreign), LIMIT_REPLICA_FOREIGN);
    otree_init(&r->wants, sizeof(struct want), LIMIT_REPLICA_WANTS);
    rset_init(&r->settled, LIMIT_REPLICA_RANGES);
    rset_init(&r->decided, LIMIT_REPLICA_ACCEPTS);
    rset_init(&r->damaged, LIMIT_REPLICA_RANGES);
    rset_init(&r->untold, LIMIT_REPLICA_RANGES);
    rset_init(&r->ending, LIMIT_REPLICA_RANGES);
    op_init(r);
}

struct replica *replica_new(const struct replica_options *o)
{
    struct arena home;
    struct replica *r;

    ASSERT(o->session < EPOCH_END && o->copies >= 1 && o->copies <= REPLICA_PEERS + 1);
    arena_init(&home, sizeof *r + 64);
    r = arena_take(&home, sizeof *r);
    if (r == NULL)
        return NULL;
    r->home = home;
    r->o = *o;
    r->ops = o->ops;
    r->filled = o->filled;
    r->session = o->session;
    prng_seed(&r->prng, o->seed);
    r->body_number = OWN_BODY | (prng_next(&r->prng) >> 2);
    arena_init(&r->arena, LIMIT_REPLICA_FRAME_BYTES);
    pools_init(r);
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        r->peers[i].index = (uint8_t)i;
        if (!link_init(r, &r->peers[i])) {
            replica_free(&r);
            return NULL;
        }
    }
    return r;
}

void replica_free(struct replica **r)
{
    struct replica *old = *r;
    struct arena home;

    if (old == NULL)
        return;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        link_fini(old, &old->peers[i]);
    accept_fini(old);
    dot_fini(old);
    op_fini(old);
    otree_fini(&old->entries);
    otree_fini(&old->sessions);
    otree_fini(&old->accepts);
    otree_fini(&old->dots);
    otree_fini(&old->foreigns);
    otree_fini(&old->wants);
    rset_fini(&old->settled);
    rset_fini(&old->decided);
    rset_fini(&old->damaged);
    rset_fini(&old->untold);
    rset_fini(&old->ending);
    arena_reset(&old->arena);
    home = old->home;
    arena_reset(&home);
    *r = NULL;
}

void replica_tell(struct replica *r, const struct replica_news *n)
{
    r->ops.tell(r->ops.ctx, n);
}

void replica_stop(struct replica *r, enum copy_code why, const char *text)
{
    if (r->stopped)
        return;
    r->stopped = true;
    replica_tell(r, &(struct replica_news){.kind = REPLICA_STOP, .why = why, .text = text});
}

struct peer *replica_peer(struct replica *r, uint16_t site)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (r->peers[i].incarnation != 0 && r->peers[i].site == site)
            return &r->peers[i];
    return NULL;
}

struct peer *replica_other(struct replica *r, const struct peer *p)
{
    return &r->peers[1 - p->index];
}

bool replica_is_sealed(struct replica *r, uint16_t site, uint64_t epoch)
{
    struct session *s = session_find(r, site, epoch);

    if (s != NULL && s->sealed)
        return true;
    if (!r->ops.sealed(r->ops.ctx, site, epoch))
        return false;
    if (s != NULL)
        s->sealed = true;
    return true;
}

struct site_clear *replica_clear_of(struct replica *r, uint16_t site)
{
    for (uint32_t i = 0; i < r->clear_count; i++)
        if (r->clear[i].site == site)
            return &r->clear[i];
    if (r->clear_count == LIMIT_SITES)
        return NULL;
    r->clear[r->clear_count] = (struct site_clear){.site = site};
    return &r->clear[r->clear_count++];
}

bool replica_is_settled(struct replica *r, struct mid id)
{
    const struct site_clear *c = replica_clear_of(r, mid_site(id));

    return (c != NULL && mid_epoch(id) < c->durable) || rset_has(&r->settled, id);
}

void replica_settled_add(struct replica *r, struct rset_span span)
{
    const struct site_clear *c = replica_clear_of(r, span.site);

    if (c != NULL && span.epoch < c->durable)
        return;
    if (!rset_add(&r->settled, span))
        replica_stop(r, COPY_FAILED, "out of memory for settled ids");
}

/* --- what the store holds --- */

enum err replica_load_copy(struct replica *r, struct mid id, enum copy_state state)
{
    ASSERT(!r->is_started);
    ASSERT(state == COPY_UNDECIDED || state == COPY_ABORTED || state == COPY_COMMITTED);
    entry_state(r, id, state, NULL);
    return entry_find(r, id) != 0 ? OK : E_FULL;
}

enum err replica_load_settled(struct replica *r, uint16_t site, uint64_t epoch, uint64_t from,
                              uint64_t to)
{
    ASSERT(!r->is_started && epoch < EPOCH_END && from <= to);
    return rset_add(&r->settled, (struct rset_span){site, epoch, from, to}) ? OK : E_FULL;
}

enum err replica_load_damaged(struct replica *r, struct mid id)
{
    ASSERT(!r->is_started);
    (void)otree_add(&r->wants, id); /* full: others first; asked for at the next start */
    return rset_add_id(&r->damaged, id) ? OK : E_FULL;
}

void replica_load_clear(struct replica *r, uint16_t site, uint64_t epoch)
{
    struct site_clear *c = replica_clear_of(r, site);

    if (c != NULL && c->durable < epoch)
        c->durable = epoch;
}

enum err replica_load_dot(struct replica *r, struct mid id, uint16_t site, uint64_t session,
                          uint64_t slot_epoch)
{
    (void)r;
    (void)id;
    (void)site;
    (void)session;
    (void)slot_epoch;
    /* The store answers for marks; whether one stands in the way is learned by asking. */
    return OK;
}

void replica_load_news(struct replica *r, struct mid id)
{
    uint32_t h = entry_find(r, id);

    if (h != 0)
        entry_at(r, h)->news = (1 << REPLICA_PEERS) - 1;
}

enum err replica_load_upto(struct replica *r, uint16_t site, uint64_t epoch, uint64_t counter)
{
    struct session *s = session_get(r, site, epoch);

    if (s == NULL)
        return E_FULL;
    if (s->upto < counter)
        s->upto = counter;
    return OK;
}

void replica_start(struct replica *r, uint64_t now)
{
    ASSERT(!r->is_started);
    r->is_started = true;
    r->now = now;
    gate_init(&r->gate, now);
    settle_commit_own(r);
    replica_turn(r, now);
}

/* --- the world around --- */

bool replica_is_solo(const struct replica *r)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (r->peers[i].incarnation != 0)
            return false;
    return r->may_be_solo;
}

/* It is alone from now on, by its members and by an operator's word. */
static void solo_begin(struct replica *r)
{
    if (!replica_is_solo(r))
        return;
    rset_clear(&r->untold);
    r->accept_ms = r->dot_ms = r->seal_ms = 0;
    if (!r->filled)
        op_own(r, &(struct copy_record){.kind = COPY_FILLED}, NULL, 0);
}

void replica_member(struct replica *r, uint16_t site, uint64_t incarnation, uint64_t now)
{
    struct peer *p = replica_peer(r, site);

    ASSERT(site != r->o.site);
    if (p == NULL && incarnation == 0)
        return;
    for (uint32_t i = 0; p == NULL && i < REPLICA_PEERS; i++)
        if (r->peers[i].incarnation == 0)
            p = &r->peers[i];
    ASSERT(p != NULL);
    if (p->incarnation == incarnation)
        return;
    link_member(r, p, site, incarnation);
    solo_begin(r);
    replica_turn(r, now);
}

void replica_control(struct replica *r, uint64_t now)
{
    r->seal_ms = 0;
    r->accept_ms = 0;
    r->clear_ms = 0;
    replica_turn(r, now);
}

void replica_session(struct replica *r, uint64_t epoch, uint64_t now)
{
    ASSERT(epoch < EPOCH_END && epoch >= r->session);
    r->session = epoch;
    r->accept_ms = 0;
    replica_turn(r, now);
}

void replica_solo(struct replica *r, bool on, uint64_t now)
{
    ASSERT(r->is_started);
    if (r->may_be_solo == on)
        return;
    r->may_be_solo = on;
    solo_begin(r);
    replica_turn(r, now);
}

void replica_cork(struct replica *r)
{
    r->corks++;
}

void replica_uncork(struct replica *r, uint64_t now)
{
    ASSERT(r->corks > 0);
    r->corks--;
    replica_turn(r, now);
}

/* --- time --- */

static bool sibling_is_open(const struct replica *r)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        const struct peer *p = &r->peers[i];

        if (p->up && p->open && p->note_ms != 0 && r->now - p->note_ms < LIMIT_NOTE_OLD_MS)
            return true;
    }
    return false;
}

static void gate_tick(struct replica *r)
{
    bool open;

    gate_step(&r->gate, sibling_is_open(r), r->now);
    open = (r->gate.open || replica_is_solo(r)) && !r->stopped;
    if (open == r->told_open)
        return;
    r->told_open = open;
    replica_tell(r, &(struct replica_news){.kind = REPLICA_GATE, .open = open});
    link_note_soon(r);
}

void replica_tick(struct replica *r, uint64_t now)
{
    ASSERT(r->is_started);
    if (now > r->now)
        r->now = now;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        link_tick(r, &r->peers[i]);
    op_tick(r);
    feed_tick(r);
    have_clear_tick(r);
    replica_turn(r, now);
}

void replica_turn(struct replica *r, uint64_t now)
{
    if (now > r->now)
        r->now = now;
    if (r->corks > 0 || !r->is_started)
        return;
    accept_tick(r);
    dot_tick(r);
    settle_tick(r);
    accept_flush(r);
    have_flush(r);
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        struct peer *p = &r->peers[i];

        if (!p->up)
            continue;
        have_step(r, p);
        settle_step(r, p);
        feed_step(r, p);
    }
    gate_tick(r);
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        link_pump(r, &r->peers[i]);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t replica_deadline(const struct replica *r)
{
    uint64_t at = gate_deadline(&r->gate);

    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        at = sooner(at, link_deadline(r, &r->peers[i]));
        at = sooner(at, feed_deadline(r, &r->peers[i]));
        at = sooner(at, settle_deadline(r, &r->peers[i]));
        at = sooner(at, have_deadline(&r->peers[i]));
    }
    at = sooner(at, settle_ending_deadline(r));
    if (otree_count(&r->accepts) > 0)
        at = sooner(at, r->accept_ms);
    if (otree_count(&r->dots) > 0)
        at = sooner(at, r->dot_ms);
    if (r->changed_count > 0)
        at = sooner(at, r->changed_ms);
    if (r->undecided > 0)
        at = sooner(at, r->seal_ms);
    at = sooner(at, r->clear_ms);
    at = sooner(at, r->again_ms);
    return at > r->now ? at : r->now + 1;
}

void replica_reach(struct replica *r, const struct frame_reach *reach, uint32_t count)
{
    r->reach_count = count < LIMIT_FRAME_REACH ? count : LIMIT_FRAME_REACH;
    if (r->reach_count > 0)
        memcpy(r->reach, reach, r->reach_count * sizeof *reach);
}
