#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define ROOM_MIN 16

struct map_slot {
    uint32_t hash;
    uint32_t value; /* 0: empty */
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], int rounds)
{
    for (; rounds > 0; rounds--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

/* Little-endian, whatever the machine. */
static uint64_t load(const unsigned char *p, size_t count)
{
    uint64_t w = 0;

    for (size_t i = 0; i < count; i++)
        w |= (uint64_t)p[i] << (8 * i);
    return w;
}

uint64_t siphash(const uint64_t key[2], const void *bytes, size_t count)
{
    const unsigned char *p = bytes;
    size_t left = count;
    uint64_t v[4] = {
        key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
        key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t w;

    for (; left >= 8; left -= 8, p += 8) {
        w = load(p, 8);
        v[3] ^= w;
        sip_rounds(v, 2);
        v[0] ^= w;
    }
    w = load(p, left) | (uint64_t)count << 56;
    v[3] ^= w;
    sip_rounds(v, 2);
    v[0] ^= w;
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m, uint32_t ceiling, uint64_t seed)
{
    *m = (struct map){.ceiling = ceiling};
    m->key[0] = seed;
    m->key[1] = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

void map_fini(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

uint64_t map_hash(const struct map *m, const void *bytes, size_t count)
{
    return siphash(m->key, bytes, count);
}

uint32_t map_find(const struct map *m, uint64_t hash, map_eq_fn *is_equal, const void *ctx,
                  const void *key)
{
    uint32_t h = (uint32_t)hash, mask = m->room - 1;

    if (m->room == 0)
        return 0;
    for (uint32_t i = h & mask; m->slots[i].value != 0; i = (i + 1) & mask)
        if (m->slots[i].hash == h && is_equal(ctx, m->slots[i].value, key))
            return m->slots[i].value;
    return 0;
}

static void place(struct map_slot *slots, uint32_t room, struct map_slot s)
{
    uint32_t i = s.hash & (room - 1);

    while (slots[i].value != 0)
        i = (i + 1) & (room - 1);
    slots[i] = s;
}

static bool grow(struct map *m)
{
    uint32_t room = m->room > 0 ? m->room * 2 : ROOM_MIN;
    struct map_slot *slots;

    if (room < m->room)
        return false;
    slots = calloc(room, sizeof *slots);
    if (slots == NULL)
        return false;
    for (uint32_t i = 0; i < m->room; i++)
        if (m->slots[i].value != 0)
            place(slots, room, m->slots[i]);
    free(m->slots);
    m->slots = slots;
    m->room = room;
    return true;
}

enum err map_put(struct map *m, uint64_t hash, uint32_t value)
{
    ASSERT(value != 0);
    if (m->count >= m->ceiling)
        return E_FULL;
    if (m->count >= m->room / 4 * 3 && !grow(m))
        return E_FULL;
    place(m->slots, m->room, (struct map_slot){(uint32_t)hash, value});
    m->count++;
    return OK;
}

/* Backward shift: what would not be found past the hole moves into it, so that no markers of
 * removed entries pile up. */
void map_remove(struct map *m, uint64_t hash, uint32_t value)
{
    uint32_t mask = m->room - 1, i = (uint32_t)hash & mask, hole;

    ASSERT(m->room > 0);
    while (m->slots[i].value != value) {
        ASSERT(m->slots[i].value != 0);
        i = (i + 1) & mask;
    }
    hole = i;
    for (i = (i + 1) & mask; m->slots[i].value != 0; i = (i + 1) & mask) {
        uint32_t home = m->slots[i].hash & mask;

        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* its home lies behind the hole */
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole] = (struct map_slot){0};
    m->count--;
}
