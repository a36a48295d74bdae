/* Any bytes as entries of peers, and as a walk of tries, messages, merges and sweeps in a small
 * table: what is unpacked packs to the same bytes, the ceiling holds, a reading tells each
 * entry once.
 *
 * Covers: node/policy/harvest.c
 */
#include <stdlib.h>

#include "node/policy/harvest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void entry(struct harvest *h, struct str in, uint64_t now_ms)
{
    struct harvest_entry e;
    uint8_t again[HARVEST_ENTRY_BYTES];
    char *copy = malloc(in.n + 1);

    ASSERT(copy != NULL);
    memcpy(copy, in.p, in.n);
    if (harvest_unpack((struct str){copy, in.n}, &e) == OK) {
        harvest_pack(&e, again);
        ASSERT(memcmp(again, in.p, sizeof again) == 0);
        (void)!harvest_merge(h, &e, now_ms);
        ASSERT(harvest_merge(h, &e, now_ms) != HARVEST_NEWS || h->entries == h->pool.count);
    }
    free(copy);
}

static void read_all(const struct harvest *h)
{
    struct change_cursor all = {0};
    struct harvest_entry e;
    uint32_t count = 0;

    while (harvest_changes(h, &all, &e))
        count++;
    ASSERT(count == harvest_count(h) && count <= h->entries);
}

/* Texts of any length: cut at their limits. */
static void names(uint8_t length, uint8_t first)
{
    static const uint64_t secret[2] = {1, 2};
    static char text[400];
    struct ip_addr v4 = ip_v4((const uint8_t[4]){192, 0, 2, first}), v6 = {{0x20, 1, first}};
    struct str s = {text, (size_t)length * 400 / 255};
    struct harvest_keys k;

    memset(text, 'a', sizeof text);
    text[0] = (char)first;
    k = harvest_keys(secret, first % 2 != 0 ? &v4 : &v6, s);
    ASSERT(k.client != 0 && k.network != 0 && k.domain != 0 && k.client != k.network);
    (void)harvest_name(secret, &v4, s, s);
}

static void step(struct harvest *h, const uint8_t op[3], uint64_t *now_ms)
{
    uint64_t key = 1 + op[1] % 7;
    struct harvest_keys k = {key, 100 + key / 2, 200};
    uint16_t site = 1 + op[2] % LIMIT_CLUSTER_MEMBERS;

    switch (op[0] % 5) {
    case 0:
        (void)harvest_bad(h, site, &k, op[2], *now_ms);
        break;
    case 1:
        harvest_good(h, site, &k, *now_ms);
        break;
    case 2:
        *now_ms += op[1] * UINT64_C(100000);
        ASSERT(harvest_sweep(h, *now_ms, op[2] % 8) <= op[2] % 8U);
        break;
    case 3:
        ASSERT(harvest_state(h, &k, *now_ms) <= HARVEST_OFFENDER);
        break;
    case 4:
        names(op[1], op[2]);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct harvest h;
    uint64_t now_ms;

    if (size == 0)
        return 0;
    harvest_init(&h, 9);
    now_ms = (uint64_t)data[0] << 24;
    for (size_t i = 1; i + HARVEST_ENTRY_BYTES <= size; i += HARVEST_ENTRY_BYTES)
        entry(&h, (struct str){(const char *)data + i, HARVEST_ENTRY_BYTES - data[0] % 2},
              now_ms);
    for (size_t i = 1; i + 3 <= size; i += 3)
        step(&h, data + i, &now_ms);
    read_all(&h);
    harvest_fini(&h);
    return 0;
}
