/* Any bytes as entries of peers, and as a walk of lessons, wishes, questions, merges and sweeps
 * in a small set: what is unpacked packs to the same bytes, counts and ceilings hold, a reading
 * tells each entry once.
 *
 * Covers: node/policy/rcptset.c node/policy/rcptset_order.c
 */
#include <stdlib.h>

#include "node/policy/rcptset_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct rcptset *s)
{
    struct change_cursor all = {0};
    struct rcptset_entry e;
    uint32_t count = 0, doubts = 0;

    while (rcptset_changes(s, &all, &e)) {
        count++;
        doubts += rcptset_class(&e) != RCPTSET_VALID;
    }
    ASSERT(count == rcptset_count(s) && doubts == s->doubts && count <= s->opt.entries);
}

static void entries(struct rcptset *s, struct str in, uint64_t now_ms)
{
    char *copy = malloc(in.n + 1);
    struct str rest = {copy, in.n}, before;
    struct rcptset_entry e;
    uint8_t again[RCPTSET_ENTRY_BYTES];

    ASSERT(copy != NULL);
    memcpy(copy, in.p, in.n);
    for (before = rest; rcptset_unpack(&rest, &e) == OK; before = rest) {
        size_t n = rcptset_pack(&e, again);

        ASSERT(before.n - rest.n == n && memcmp(again, before.p, n) == 0);
        (void)!rcptset_merge(s, &e, now_ms);
    }
    ASSERT(rest.n == before.n);
    free(copy);
}

/* One operation: four bytes. Few names and coarse times, so that they meet. */
static void step(struct rcptset *s, const uint8_t op[4], uint64_t *now_ms)
{
    static const char locals[] = "aAbBcC+d";
    struct rcptset_name n = {1 + op[1] % 3, {locals + op[2] % 6, 1 + op[2] / 64 % 3}, '+'};
    static const char long_local[LIMIT_SMTP_LOCAL_PART_BYTES + 1] = "long";
    struct rcptset_entry e, dropped[16], due[RCPTSET_DUE];
    enum rcptset_status status = 1 + op[3] % 2;

    if (op[2] >= 253)
        n.local = op[2] == 255 ? STR_NONE : (struct str){long_local, sizeof long_local};
    if (op[2] == 252)
        n.separator = 0;

    switch (op[0] % 6) {
    case 0:
        (void)!rcptset_learn(s, &n, status, 1 + (op[3] / 2) % 2, *now_ms);
        break;
    case 1:
        (void)!rcptset_want(s, &n, *now_ms);
        break;
    case 2:
        for (size_t k = rcptset_due(s, n.generation, *now_ms, due, op[3] % 5); k > 0; k--)
            rcptset_asked(s, &due[k - 1], *now_ms);
        break;
    case 3:
        *now_ms += op[1] * UINT64_C(100000) << op[2] % 10;
        break;
    case 4:
        ASSERT(rcptset_sweep(s, *now_ms, op[1] % 16, dropped) <= op[1] % 16U);
        break;
    case 5:
        status = rcptset_find(s, &n, *now_ms, &e);
        ASSERT(status == RCPTSET_UNKNOWN || e.generation == n.generation);
        *now_ms -= *now_ms < op[3] * UINT64_C(1000) ? 0 : op[3] * UINT64_C(1000);
        break;
    }
    ASSERT(rcptset_known(s, n.generation) <= s->opt.per_domain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rcptset_options small = {.entries = 20, .per_domain = 8, .doubts = 3, .seed = 1};
    struct rcptset s;
    uint64_t now_ms = UINT64_C(1) << 40;

    if (size == 0)
        return 0;
    rcptset_init(&s, &small);
    entries(&s, str_from((struct str){(const char *)data, size}, 1), (uint64_t)data[0] << 40);
    for (size_t i = 1; i + 4 <= size; i += 4)
        step(&s, data + i, &now_ms);
    read_all(&s);
    rcptset_fini(&s);
    return 0;
}
