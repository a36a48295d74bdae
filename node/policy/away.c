#include "node/policy/away.h"

#include <string.h>

#include "base/bigendian.h"

struct item {
    struct change_link link; /* first */
    struct away_entry e;
    uint64_t round; /* in which this site saw it last */
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
    item_at(a, handle)->e = *e;
    changes_add(&a->changes, &a->pool, handle);
    return handle;
}

static void change(struct away *a, uint32_t handle, const struct away_entry *e)
{
    item_at(a, handle)->e = *e;
    changes_touch(&a->changes, &a->pool, handle);
}

static void drop(struct away *a, uint32_t handle)
{
    changes_remove(&a->changes, &a->pool, handle);
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

bool away_changes(const struct away *a, struct change_cursor *at, struct away_entry *out)
{
    uint32_t handle = changes_next(&a->changes, &a->pool, at);

    if (handle != 0)
        *out = item_at(a, handle)->e;
    return handle != 0;
}

void away_pack(const struct away_entry *e, uint8_t out[static AWAY_ENTRY_BYTES])
{
    put_be(out, 8, e->generation);
    put_be(out + 8, 8, e->ms);
    put_be(out + 16, 2, e->site);
    out[18] = e->is_away;
}

enum err away_unpack(struct str bytes, struct away_entry *out)
{
    *out = (struct away_entry){.generation = 0};
    if (bytes.n != AWAY_ENTRY_BYTES || (uint8_t)bytes.p[18] > 1)
        return E_PROTO;
    out->generation = get_be(bytes.p, 8);
    out->ms = get_be(bytes.p + 8, 8);
    out->site = (uint16_t)get_be(bytes.p + 16, 2);
    out->is_away = bytes.p[18] != 0;
    return out->generation > 0 && out->site > 0 ? OK : E_PROTO;
}
