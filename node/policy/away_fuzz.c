/* Any bytes as entries of peers and as walks of what a site sees, in a small set: what is
 * unpacked packs to the same bytes, a second merge is no news, the ceiling holds, a reading
 * tells each entry once.
 *
 * Covers: node/policy/away.c
 */
#include <stdlib.h>
#include <string.h>

#include "node/policy/away.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void entry(struct away *a, struct str in, uint64_t now_ms)
{
    struct away_entry e;
    uint8_t again[AWAY_ENTRY_BYTES];
    char *copy = malloc(in.n + 1);

    ASSERT(copy != NULL);
    memcpy(copy, in.p, in.n);
    if (away_unpack((struct str){copy, in.n}, &e) == OK) {
        away_pack(&e, again);
        ASSERT(memcmp(again, in.p, sizeof again) == 0);
        (void)!away_merge(a, &e, now_ms);
        ASSERT(away_merge(a, &e, now_ms) != AWAY_NEWS);
    }
    free(copy);
}

static void step(struct away *a, const uint8_t op[3], uint64_t *now_ms)
{
    uint64_t seen[2] = {1 + op[1] % 7, 1 + op[2] % 7};
    uint16_t site = 1 + op[0] / 4 % 3;

    *now_ms += op[0] * UINT64_C(200);
    if (op[0] % 4 == 0)
        away_sweep(a, *now_ms);
    else
        away_told(a, site, seen, op[0] % 4 - 1U, *now_ms);
    if (op[0] % 16 == 1)
        away_answered(a, site, seen[1], *now_ms);
    (void)away_has(a, seen[1] + op[0], *now_ms);
    if (op[0] % 4 > 1 && away_count(a) < a->entries)
        ASSERT(away_has(a, seen[0], *now_ms));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct away a;
    struct change_cursor at = {0};
    struct away_entry e;
    uint64_t now_ms;
    uint32_t count = 0;

    if (size == 0)
        return 0;
    away_init(&a, 5, 1);
    now_ms = (uint64_t)data[0] << 12;
    for (size_t i = 1; i + AWAY_ENTRY_BYTES <= size; i += AWAY_ENTRY_BYTES)
        entry(&a, (struct str){(const char *)data + i, AWAY_ENTRY_BYTES - data[0] % 2}, now_ms);
    for (size_t i = 1; i + 3 <= size; i += 3)
        step(&a, data + i, &now_ms);
    while (away_changes(&a, &at, &e))
        count++;
    ASSERT(count == away_count(&a) && count <= a.entries);
    away_fini(&a);
    return 0;
}
