#include "node/policy/away.h"

#include <string.h>

struct item {
    struct away_entry e;
    uint64_t serial;       /* of its last change */
    uint64_t round;        /* in which this site saw it last */
    uint32_t older, newer; /* in the order of changes; 0: none */
};

void away_init(struct away *a, uint32_t entries, uint64_t seed)
{
    *a = (struct away){.entries = entries != 0 ? entries : LIMIT_DOMAINS};
    pool_init(&a->pool, sizeof(struct item), a->entries);
    map_init(&a->map, a->entries, seed);
}

void away_fini(struct away *a)
{
    map_fini(&a->map);
    pool_fini(&a->pool);
}

static struct item *item_at(const struct away *a, uint32_t handle)
{
    return pool_at(&a->pool, handle);
}

static uint64_t hash_of(const struct away *a, uint64_t generation)
{
    return map_hash(&a->map, &generation, sizeof generation);
}

static bool is_item(const void *ctx, uint32_t value, const void *key)
{
    return ((const struct item *)pool_at(ctx, value))->e.generation == *(const uint64_t *)key;
}

static uint32_t find(const struct away *a, uint64_t generation)
{
    return map_find(&a->map, hash_of(a, generation), is_item, &a->pool, &generation);
}

static bool is_past(uint64_t from_ms, uint64_t span_ms, uint64_t now_ms)
{
    return now_ms >= span_ms && from_ms <= now_ms - span_ms;
}

bool away_has(const struct away *a, uint64_t generation, uint64_t now_ms)
{
    uint32_t handle = find(a, generation);

    return handle != 0 && item_at(a, handle)->e.is_away &&
           !is_past(item_at(a, handle)->e.ms, LIMIT_AWAY_MS, now_ms);
}

/* --- the order of changes --- */

static void unlink_item(struct away *a, uint32_t handle)
{
    struct item *it = item_at(a, handle);

    if (it->older != 0)
        item_at(a, it->older)->newer = it->newer;
    else
        a->oldest = it->newer;
    if (it->newer != 0)
        item_at(a, it->newer)->older = it->older;
    else
        a->newest = it->older;
}

static void link_newest(struct away *a, uint32_t handle)
{
    struct item *it = item_at(a, handle);

    it->older = a->newest;
    it->newer = 0;
    if (a->newest != 0)
        item_at(a, a->newest)->newer = handle;
    else
        a->oldest = handle;
    a->newest = handle;
    it->serial = ++a->serial;
}

/* 0: there is no room. */
static uint32_t add(struct away *a, const struct away_entry *e)
{
    uint32_t handle = pool_take(&a->pool);

    if (handle == 0)
        return 0;
    if (map_put(&a->map, hash_of(a, e->generation), handle) != OK) {
        pool_give(&a->pool, handle);
        return 0;
    }
    *item_at(a, handle) = (struct item){.e = *e};
    link_newest(a, handle);
    return handle;
}

static void change(struct away *a, uint32_t handle, const struct away_entry *e)
{
    unlink_item(a, handle);
    item_at(a, handle)->e = *e;
    link_newest(a, handle);
}

static void drop(struct away *a, uint32_t handle)
{
    unlink_item(a, handle);
    map_remove(&a->map, hash_of(a, item_at(a, handle)->e.generation), handle);
    pool_give(&a->pool, handle);
}

/* --- what this site sees --- */

static void see(struct away *a, const struct away_entry *seen)
{
    uint32_t handle = find(a, seen->generation);
    const struct away_entry *e;

    if (handle == 0) {
        handle = add(a, seen);
    } else {
        e = &item_at(a, handle)->e;
        if (!e->is_away || e->site != seen->site ||
            is_past(e->ms, LIMIT_AWAY_AGAIN_MS, seen->ms))
            change(a, handle, seen);
    }
    if (handle != 0)
        item_at(a, handle)->round = a->round;
}

void away_told(struct away *a, uint16_t site, const uint64_t *generations, size_t count,
               uint64_t now_ms)
{
    ASSERT(site > 0);
    a->round++;
    for (size_t i = 0; i < count; i++)
        see(a, &(struct away_entry){generations[i], now_ms, site, true});
    for (uint32_t handle = 1; handle <= a->pool.made; handle++) {
        struct away_entry e;

        if (!pool_is_taken(&a->pool, handle) || item_at(a, handle)->round == a->round)
            continue;
        e = item_at(a, handle)->e;
        if (!e.is_away || e.site != site)
            continue;
        e.is_away = false;
        e.ms = now_ms;
        change(a, handle, &e);
    }
}

void away_answered(struct away *a, uint16_t site, uint64_t generation, uint64_t now_ms)
{
    uint32_t handle = find(a, generation);

    if (handle != 0 && item_at(a, handle)->e.is_away)
        change(a, handle, &(struct away_entry){generation, now_ms, site, false});
}

void away_sweep(struct away *a, uint64_t now_ms)
{
    for (uint32_t handle = 1; handle <= a->pool.made; handle++)
        if (pool_is_taken(&a->pool, handle) &&
            is_past(item_at(a, handle)->e.ms, LIMIT_AWAY_MS, now_ms))
            drop(a, handle);
}

uint32_t away_count(const struct away *a)
{
    return a->pool.count;
}

/* --- between sites --- */

static bool is_later(const struct away_entry *e, const struct away_entry *have)
{
    if (e->ms != have->ms)
        return e->ms > have->ms;
    if (e->is_away != have->is_away)
        return e->is_away;
    return e->site > have->site;
}

enum away_merged away_merge(struct away *a, const struct away_entry *told, uint64_t now_ms)
{
    struct away_entry e = *told;
    uint32_t handle = find(a, e.generation);

    ASSERT(e.generation > 0 && e.site > 0);
    e.ms = e.ms < now_ms ? e.ms : now_ms;
    if (is_past(e.ms, LIMIT_AWAY_MS, now_ms))
        return AWAY_NO_NEWS;
    if (handle == 0)
        return add(a, &e) != 0 ? AWAY_NEWS : AWAY_NO_ROOM;
    if (!is_later(&e, &item_at(a, handle)->e))
        return AWAY_NO_NEWS;
    change(a, handle, &e);
    return AWAY_NEWS;
}

/* The oldest item above the cursor. As a rule the item taken last is still where it was; else
 * the way goes back from the newest. */
static uint32_t above(const struct away *a, const struct away_cursor *at)
{
    uint32_t handle = a->newest;

    if (at->serial >= a->serial)
        return 0;
    if (at->serial == 0)
        return a->oldest;
    if (pool_is_taken(&a->pool, at->hint) && item_at(a, at->hint)->serial == at->serial)
        return item_at(a, at->hint)->newer;
    if (handle == 0 || item_at(a, handle)->serial <= at->serial)
        return 0;
    while (item_at(a, handle)->older != 0 &&
           item_at(a, item_at(a, handle)->older)->serial > at->serial)
        handle = item_at(a, handle)->older;
    return handle;
}

bool away_changes(const struct away *a, struct away_cursor *at, struct away_entry *out)
{
    uint32_t handle = above(a, at);

    if (handle == 0)
        return false;
    *out = item_at(a, handle)->e;
    *at = (struct away_cursor){item_at(a, handle)->serial, handle};
    return true;
}

static uint8_t *store(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
    return p + bytes;
}

static uint64_t load(struct str s, size_t at, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = at; i < at + bytes; i++)
        v = v << 8 | (uint8_t)s.p[i];
    return v;
}

void away_pack(const struct away_entry *e, uint8_t out[static AWAY_ENTRY_BYTES])
{
    uint8_t *p = store(store(out, e->generation, 8), e->ms, 8);

    *store(p, e->site, 2) = e->is_away;
}

enum err away_unpack(struct str bytes, struct away_entry *out)
{
    *out = (struct away_entry){.generation = 0};
    if (bytes.n != AWAY_ENTRY_BYTES || (uint8_t)bytes.p[18] > 1)
        return E_PROTO;
    out->generation = load(bytes, 0, 8);
    out->ms = load(bytes, 8, 8);
    out->site = (uint16_t)load(bytes, 16, 2);
    out->is_away = bytes.p[18] != 0;
    return out->generation > 0 && out->site > 0 ? OK : E_PROTO;
}
