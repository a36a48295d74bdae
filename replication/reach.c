#include "replication/reach.h"

#include <string.h>

#include "base/arena.h"
#include "base/heap.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/pool.h"

enum seen { SEEN_NOTHING, SEEN_UP, SEEN_DOWN };

struct look {
    enum seen seen;
    uint64_t at_ms;    /* of the last word */
    uint64_t since_ms; /* of the first word that says so on end */
};

struct entry {
    struct reach_addr addr;
    struct look looks[LIMIT_CLUSTER_MEMBERS]; /* by place in reach.sites; own first */
    uint32_t fails;                           /* own, in a row */
    uint64_t wanted_until_ms;                 /* own interest */
    uint64_t heard_until_ms;                  /* a sibling's interest */
    uint64_t down_since_ms;                   /* of the whole watch */
    uint64_t due_ms;                          /* cluster time: own next turn */
    uint64_t taken_back_until_ms;             /* `down` is told because `up` was */
    bool has_news, is_up_news;
    struct heap_node turn;
    uint32_t hash_low;
};

struct reach {
    struct arena arena;
    uint16_t sites[LIMIT_CLUSTER_MEMBERS]; /* own first */
    uint32_t site_count;
    struct pool entries;
    struct map index;
    struct heap turns;
    uint32_t news, up_news; /* entries with such */
    uint32_t told;          /* the note goes on behind this handle */
    uint32_t ticked;
    uint32_t risen; /* the search for what is up again goes on behind this handle */
};

static struct entry *entry_at(const struct reach *r, uint32_t handle)
{
    return pool_at(&r->entries, handle);
}

static struct heap_node *turn_node(const void *ctx, uint32_t handle)
{
    return &entry_at(ctx, handle)->turn;
}

static bool turn_before(const void *ctx, uint32_t a, uint32_t b)
{
    uint64_t one = entry_at(ctx, a)->due_ms, two = entry_at(ctx, b)->due_ms;

    return one != two ? one < two : a < b;
}

static const struct heap_ops by_turn = {turn_node, turn_before};

/* --- entries --- */

/* The bytes that make an address, without padding. */
static void addr_bytes(const struct reach_addr *a, uint8_t b[18])
{
    memcpy(b, a->ip, 16);
    b[16] = (uint8_t)(a->port >> 8);
    b[17] = (uint8_t)a->port;
}

static bool is_addr(const void *ctx, uint32_t handle, const void *key)
{
    const struct reach_addr *one = &entry_at(ctx, handle)->addr, *two = key;

    return one->port == two->port && memcmp(one->ip, two->ip, sizeof one->ip) == 0;
}

static uint64_t hash_of(const struct reach *r, const struct reach_addr *a)
{
    uint8_t b[18];

    addr_bytes(a, b);
    return map_hash(&r->index, b, sizeof b);
}

/* The same at all sites, and spread: turns at many addresses must not fall together. */
static uint32_t place_of(const struct reach_addr *a)
{
    static const uint64_t key[2] = {0x7472697370, 0x6f6f6c};
    uint8_t b[18];

    addr_bytes(a, b);
    return (uint32_t)siphash(key, b, sizeof b);
}

static uint32_t find(const struct reach *r, const struct reach_addr *a)
{
    return map_find(&r->index, hash_of(r, a), is_addr, r, a);
}

static uint32_t add(struct reach *r, const struct reach_addr *a, uint64_t now)
{
    uint32_t handle = pool_take(&r->entries);
    struct entry *e;

    if (handle == 0)
        return 0;
    e = entry_at(r, handle);
    e->addr = *a;
    e->down_since_ms = now;
    e->hash_low = place_of(a);
    if (map_put(&r->index, hash_of(r, a), handle) != OK) {
        pool_give(&r->entries, handle);
        return 0;
    }
    heap_push(&r->turns, handle);
    return handle;
}

static void set_news(struct reach *r, struct entry *e, bool news)
{
    r->news += (uint32_t)news - (uint32_t)e->has_news;
    e->has_news = news;
}

static void set_up_news(struct reach *r, struct entry *e, bool news)
{
    r->up_news += (uint32_t)news - (uint32_t)e->is_up_news;
    e->is_up_news = news;
}

static void drop(struct reach *r, uint32_t handle)
{
    struct entry *e = entry_at(r, handle);

    set_news(r, e, false);
    set_up_news(r, e, false);
    heap_remove(&r->turns, handle);
    map_remove(&r->index, hash_of(r, &e->addr), handle);
    pool_give(&r->entries, handle);
}

/* --- sites and turns --- */

static int site_place(const struct reach *r, uint16_t site)
{
    for (uint32_t i = 0; i < r->site_count; i++)
        if (r->sites[i] == site)
            return (int)i;
    return -1;
}

/* Own place in ascending order. */
static uint32_t own_rank(const struct reach *r)
{
    uint32_t rank = 0;

    for (uint32_t i = 1; i < r->site_count; i++)
        rank += r->sites[i] < r->sites[0];
    return rank;
}

/* The first turn of this site that begins after `cluster_ms`. */
static uint64_t next_turn(const struct reach *r, const struct entry *e, uint64_t now,
                          uint64_t cluster_ms)
{
    uint64_t interval =
        now - e->down_since_ms < REACH_FAST_FOR_MS ? REACH_FAST_MS : REACH_SLOW_MS;
    uint64_t turn = cluster_ms / interval + 1;

    while ((turn + e->hash_low) % r->site_count != own_rank(r))
        turn++;
    return turn * interval;
}

static void set_due(struct reach *r, uint32_t handle, uint64_t due_ms)
{
    heap_remove(&r->turns, handle);
    entry_at(r, handle)->due_ms = due_ms;
    heap_push(&r->turns, handle);
}

void reach_sites(struct reach *r, const uint16_t *sites, uint32_t count)
{
    uint16_t now[LIMIT_CLUSTER_MEMBERS] = {r->sites[0]};
    int from[LIMIT_CLUSTER_MEMBERS] = {0};
    uint32_t n = 1;
    bool is_same;

    for (uint32_t i = 0; i < count; i++) {
        if (sites[i] == r->sites[0])
            continue;
        ASSERT(n < LIMIT_CLUSTER_MEMBERS);
        now[n] = sites[i];
        from[n++] = site_place(r, sites[i]);
    }
    is_same = n == r->site_count && memcmp(now, r->sites, sizeof now) == 0;
    if (is_same)
        return;
    memcpy(r->sites, now, sizeof now);
    r->site_count = n;
    for (uint32_t h = 1; h <= r->entries.made; h++) {
        struct look old[LIMIT_CLUSTER_MEMBERS];
        struct entry *e;

        if (!pool_is_taken(&r->entries, h))
            continue;
        e = entry_at(r, h);
        memcpy(old, e->looks, sizeof old);
        for (uint32_t i = 0; i < LIMIT_CLUSTER_MEMBERS; i++)
            e->looks[i] =
                i < n && from[i] >= 0 ? old[from[i]] : (struct look){.seen = SEEN_NOTHING};
        set_due(r, h, 0);     /* turns are others now */
        set_news(r, e, true); /* a site that has come knows nothing */
    }
}

/* --- what happens --- */

struct reach *reach_new(uint16_t site, uint64_t seed)
{
    struct arena arena;
    struct reach *r;

    arena_init(&arena, sizeof *r + 4 * KiB);
    r = arena_take(&arena, sizeof *r);
    if (r == NULL) {
        arena_reset(&arena);
        return NULL;
    }
    r->arena = arena;
    r->sites[0] = site;
    r->site_count = 1;
    pool_init(&r->entries, sizeof(struct entry), LIMIT_REACH_ADDRS);
    map_init(&r->index, LIMIT_REACH_ADDRS, seed);
    heap_init(&r->turns, &by_turn, r);
    return r;
}

void reach_free(struct reach **r)
{
    struct arena arena;

    if (*r != NULL) {
        map_fini(&(*r)->index);
        pool_fini(&(*r)->entries);
        arena = (*r)->arena;
        arena_reset(&arena);
    }
    *r = NULL;
}

enum err reach_want(struct reach *r, const struct reach_addr *a, uint64_t now)
{
    uint32_t handle = find(r, a);
    struct entry *e;

    if (handle == 0)
        handle = add(r, a, now);
    if (handle == 0)
        return E_FULL;
    e = entry_at(r, handle);
    if (e->wanted_until_ms <= now)
        set_news(r, e, true);
    e->wanted_until_ms = now + REACH_WANT_MS;
    return OK;
}

void reach_unwant(struct reach *r, const struct reach_addr *a)
{
    uint32_t handle = find(r, a);

    if (handle != 0)
        entry_at(r, handle)->wanted_until_ms = 0;
}

/* True: the word is another than the last. */
static bool note_look(struct look *l, bool up, uint64_t at_ms, uint64_t since_ms)
{
    enum seen seen = up ? SEEN_UP : SEEN_DOWN;
    bool changed = l->seen != seen;

    if (changed)
        l->since_ms = since_ms;
    l->seen = seen;
    l->at_ms = at_ms;
    return changed;
}

static bool is_anyone_up(const struct reach *r, const struct entry *e, uint64_t now)
{
    for (uint32_t i = 0; i < r->site_count; i++)
        if (e->looks[i].seen == SEEN_UP && now - e->looks[i].at_ms <= REACH_FRESH_MS)
            return true;
    return false;
}

/* Somebody sees it up, and nobody did before: what waits is tried. */
static void recovered(struct reach *r, struct entry *e, bool was_up)
{
    if (!was_up && e->looks[0].seen != SEEN_UP)
        set_up_news(r, e, true);
}

void reach_saw(struct reach *r, const struct reach_addr *a, bool up, uint64_t now)
{
    uint32_t handle = find(r, a);
    struct entry *e;
    bool was_up;

    if (handle == 0)
        return;
    e = entry_at(r, handle);
    was_up = e->looks[0].seen == SEEN_UP;
    if (note_look(&e->looks[0], up, now, now))
        set_news(r, e, true);
    e->fails = up ? 0 : e->fails + 1;
    if (!up && was_up) {
        e->down_since_ms = now;
        e->taken_back_until_ms = now + REACH_TAKEN_BACK_MS;
    }
    if (up && !was_up && e->wanted_until_ms > now)
        set_up_news(r, e, true);
}

static void hear(struct reach *r, uint32_t place, const struct frame_reach *f, uint64_t now)
{
    struct reach_addr a = {.port = f->port};
    uint64_t since_ms = f->age_ms < now ? now - f->age_ms : 0;
    uint32_t handle;
    struct entry *e;
    bool was_up;

    memcpy(a.ip, f->ip, sizeof a.ip);
    handle = find(r, &a);
    if (handle == 0 && !f->up) /* an `up` of what nobody here wants is no matter */
        handle = add(r, &a, since_ms);
    if (handle == 0)
        return;
    e = entry_at(r, handle);
    was_up = is_anyone_up(r, e, now);
    if (note_look(&e->looks[place], f->up, now, since_ms) && !f->up &&
        since_ms > e->down_since_ms)
        e->down_since_ms = since_ms; /* fast again */
    if (f->up)
        recovered(r, e, was_up);
    else
        e->heard_until_ms = now + REACH_WANT_MS;
}

void reach_heard(struct reach *r, uint16_t site, const struct frame_reach *list, uint32_t count,
                 uint64_t now)
{
    int place = site_place(r, site);

    if (place <= 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        hear(r, (uint32_t)place, &list[i], now);
}

static bool is_watched(const struct entry *e, uint64_t now)
{
    return e->wanted_until_ms > now || e->heard_until_ms > now || e->taken_back_until_ms > now;
}

/* Some at a time, so that a full table costs no long turn. */
void reach_tick(struct reach *r, uint64_t now)
{
    uint32_t todo = r->entries.made / 8 + 64;

    for (uint32_t i = 0; i < todo && r->entries.made > 0; i++) {
        r->ticked = r->ticked % r->entries.made + 1;
        if (pool_is_taken(&r->entries, r->ticked) && !is_watched(entry_at(r, r->ticked), now))
            drop(r, r->ticked);
    }
}

/* --- what to do --- */

bool reach_next_probe(struct reach *r, uint64_t now, uint64_t cluster_ms,
                      struct reach_addr *out)
{
    uint32_t handle;

    while ((handle = heap_first(&r->turns)) != 0) {
        struct entry *e = entry_at(r, handle);
        bool is_new = e->due_ms == 0;

        if (e->due_ms > cluster_ms)
            return false;
        set_due(r, handle, next_turn(r, e, now, cluster_ms));
        if (is_new || !is_watched(e, now))
            continue;
        *out = e->addr;
        return true;
    }
    return false;
}

uint64_t reach_wakeup_ms(const struct reach *r)
{
    uint32_t handle = heap_first(&r->turns);

    return handle == 0 ? UINT64_MAX : entry_at(r, handle)->due_ms;
}

bool reach_next_up(struct reach *r, struct reach_addr *out)
{
    while (r->up_news > 0) {
        struct entry *e;

        r->risen = r->risen % r->entries.made + 1;
        if (!pool_is_taken(&r->entries, r->risen))
            continue;
        e = entry_at(r, r->risen);
        if (!e->is_up_news)
            continue;
        set_up_news(r, e, false);
        *out = e->addr;
        return true;
    }
    return false;
}

/* False: nothing that a sibling should hear. */
static bool tell(const struct entry *e, uint64_t now, struct frame_reach *out)
{
    const struct look *own = &e->looks[0];
    bool up = own->seen == SEEN_UP;
    uint64_t age_ms = own->seen == SEEN_NOTHING ? 0 : now - own->since_ms;

    if (up ? now - own->at_ms > REACH_TELL_MS
           : e->wanted_until_ms <= now && e->taken_back_until_ms <= now)
        return false;
    *out = (struct frame_reach){.port = e->addr.port,
                                .up = up,
                                .age_ms = age_ms < UINT32_MAX ? (uint32_t)age_ms : UINT32_MAX};
    memcpy(out->ip, e->addr.ip, sizeof out->ip);
    return true;
}

uint32_t reach_note(struct reach *r, uint64_t now, struct frame_reach *out, uint32_t size)
{
    uint32_t n = 0, made = r->entries.made;

    for (uint32_t h = 1; r->news > 0 && n < size && h <= made; h++) {
        struct entry *e = pool_is_taken(&r->entries, h) ? entry_at(r, h) : NULL;

        if (e != NULL && e->has_news) {
            set_news(r, e, false);
            n += tell(e, now, &out[n]);
        }
    }
    for (uint32_t looked = 0; looked < made && n < size; looked++) {
        r->told = r->told % made + 1;
        if (pool_is_taken(&r->entries, r->told))
            n += tell(entry_at(r, r->told), now, &out[n]);
    }
    return n;
}

bool reach_has_news(const struct reach *r)
{
    return r->news > 0;
}

/* --- where a domain belongs --- */

static bool is_in(const uint16_t *sites, uint32_t count, uint16_t site)
{
    for (uint32_t i = 0; i < count; i++)
        if (sites[i] == site)
            return true;
    return false;
}

static const struct entry *lookup(const struct reach *r, const struct reach_addr *a)
{
    uint32_t handle = find(r, a);

    return handle == 0 ? NULL : entry_at(r, handle);
}

static bool is_up_at(const struct look *l, uint64_t now)
{
    return l->seen == SEEN_UP && now - l->at_ms <= REACH_FRESH_MS;
}

/* Each address was tried from here and is down. */
static bool is_down_here(const struct reach *r, const struct reach_domain *d)
{
    for (uint32_t i = 0; i < d->count; i++) {
        const struct entry *e = lookup(r, &d->addrs[i]);

        if (e == NULL || e->looks[0].seen != SEEN_DOWN)
            return false;
    }
    return d->count > 0;
}

/* The sibling reaches an address that has failed from here, after it said so too. */
static bool is_better(const struct reach *r, const struct reach_domain *d, uint32_t place,
                      uint64_t now)
{
    for (uint32_t i = 0; i < d->count; i++) {
        const struct entry *e = lookup(r, &d->addrs[i]);

        if (is_up_at(&e->looks[place], now) && e->fails >= 2 &&
            e->looks[0].at_ms >= e->looks[place].since_ms)
            return true;
    }
    return false;
}

static enum reach_verdict judge_down(const struct reach *r, const struct reach_domain *d,
                                     uint64_t now, uint16_t *to)
{
    for (uint32_t i = 1; i < r->site_count; i++) {
        uint16_t site = r->sites[i];

        if (!is_in(d->may_hold, d->may_hold_count, site) || !is_better(r, d, i, now))
            continue;
        if (*to == 0 || site == d->home || (*to != d->home && site < *to))
            *to = site;
    }
    return *to != 0 ? REACH_GIVE : REACH_STAY;
}

/* It works here; whether it works at home too, and has for long. */
static bool is_home_better(const struct reach *r, const struct reach_domain *d, uint64_t now)
{
    int place = site_place(r, d->home);

    if (place <= 0 || !is_in(d->may_hold, d->may_hold_count, d->home))
        return false;
    for (uint32_t i = 0; i < d->count; i++) {
        const struct entry *e = lookup(r, &d->addrs[i]);

        if (e != NULL && is_up_at(&e->looks[place], now) &&
            now - e->looks[place].since_ms >= REACH_STEADY_MS)
            return true;
    }
    return false;
}

enum reach_verdict reach_judge(const struct reach *r, const struct reach_domain *d,
                               uint64_t now, uint16_t *to)
{
    bool is_placed = d->home != r->sites[0] && d->held_since_ms != 0;
    uint64_t held_ms = now > d->held_since_ms ? now - d->held_since_ms : 0;

    *to = 0;
    if (is_placed && held_ms < REACH_HOLD_MIN_MS)
        return REACH_STAY;
    if (is_down_here(r, d))
        return judge_down(r, d, now, to);
    if (is_placed && held_ms >= REACH_HOLD_MS && is_home_better(r, d, now))
        return REACH_RETURN;
    return REACH_STAY;
}

bool reach_view(const struct reach *r, uint16_t site, const struct reach_addr *a, uint64_t now,
                bool *up)
{
    const struct entry *e = lookup(r, a);
    int place = site_place(r, site);

    *up = false;
    if (e == NULL || place < 0 || e->looks[place].seen == SEEN_NOTHING)
        return false;
    *up = e->looks[place].seen == SEEN_UP;
    return place == 0 || now - e->looks[place].at_ms <= REACH_FRESH_MS;
}

uint32_t reach_count(const struct reach *r)
{
    return r->entries.count;
}
