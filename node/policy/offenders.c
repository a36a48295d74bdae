#include "node/policy/offenders.h"

#define WAYS       4
#define IS_NETWORK UINT64_C(1) /* in the place of the key's last bit */

static_assert(LIMIT_OFFENDERS % WAYS == 0, "whole sets");

static size_t set_of(uint64_t key)
{
    return (size_t)(key >> 1) % (LIMIT_OFFENDERS / WAYS) * WAYS;
}

static void show(struct offenders *o, size_t place, uint64_t key, bool is_network)
{
    uint64_t shown = key == 0 ? 0 : (key & ~IS_NETWORK) | (is_network ? IS_NETWORK : 0);

    o->keys[place] = key;
    atomic_store_explicit(&o->shown[place], shown, memory_order_relaxed);
}

void offenders_secret(struct offenders *o, const uint64_t secret[2])
{
    atomic_store(&o->secret[0], secret[0]);
    atomic_store(&o->secret[1], secret[1]);
    for (size_t i = 0; i < LIMIT_OFFENDERS; i++)
        show(o, i, 0, false);
}

static bool is_one(const struct harvest *h, uint64_t key, uint64_t times, uint64_t now_ms)
{
    return harvest_key_state(h, key, times, now_ms) == HARVEST_OFFENDER;
}

/* The place where it stands, else a free one, else that of somebody else. */
static size_t place_of(const struct offenders *o, uint64_t key)
{
    size_t set = set_of(key), place = set + (size_t)(key >> 32) % WAYS;

    for (size_t i = set; i < set + WAYS; i++)
        if (o->keys[i] == key)
            return i;
    for (size_t i = set; i < set + WAYS; i++)
        if (o->keys[i] == 0)
            return i;
    return place;
}

void offenders_note(struct offenders *o, const struct harvest *h, uint64_t key, uint64_t now_ms)
{
    if (is_one(h, key, 1, now_ms))
        show(o, place_of(o, key), key, is_one(h, key, LIMIT_HARVEST_NETWORK, now_ms));
}

void offenders_sweep(struct offenders *o, const struct harvest *h, uint64_t now_ms)
{
    for (size_t i = 0; i < LIMIT_OFFENDERS; i++) {
        uint64_t key = o->keys[i];

        if (key == 0)
            continue;
        if (is_one(h, key, 1, now_ms))
            show(o, i, key, is_one(h, key, LIMIT_HARVEST_NETWORK, now_ms));
        else
            show(o, i, 0, false);
    }
}

static bool is_shown(const struct offenders *o, uint64_t shown, bool any)
{
    size_t set = set_of(shown);

    for (size_t i = set; i < set + WAYS; i++) {
        uint64_t s = atomic_load_explicit(&o->shown[i], memory_order_relaxed);

        if (s != 0 && (s & ~IS_NETWORK) == shown && (any || (s & IS_NETWORK) != 0))
            return true;
    }
    return false;
}

bool offenders_has(const struct offenders *o, const struct ip_addr *client)
{
    uint64_t secret[2] = {atomic_load(&o->secret[0]), atomic_load(&o->secret[1])};
    struct harvest_keys k = harvest_keys(secret, client, STR_NONE);

    return is_shown(o, k.client & ~IS_NETWORK, true) ||
           is_shown(o, k.network & ~IS_NETWORK, false);
}
