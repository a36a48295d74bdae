/* Any bytes as entries of peers, as senders and as a walk of checks, merges, sweeps and
 * readings: what is unpacked packs to the same bytes, counts hold, a reading tells each entry
 * once.
 *
 * Covers: node/policy/greylist.c node/policy/greylist_key.c
 */
#include <stdlib.h>

#include "node/policy/greylist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void name(struct str in)
{
    char buf[LIMIT_SMTP_PATH_BYTES], *copy = malloc(in.n + 1);
    struct greylist_try t;
    struct str s;

    ASSERT(copy != NULL);
    memcpy(copy, in.p, in.n);
    s = (struct str){copy, in.n};
    t = (struct greylist_try){.spf_domain = in.n % 3 == 0 ? s : STR_NONE, .sender = s};
    t.domain = s;
    ASSERT(greylist_sender(s, buf).n <= in.n);
    ASSERT(greylist_keys((const uint64_t[2]){1, 2}, &t).try != 0);
    t.client = ip_v4((const uint8_t *)"\1\2\3\4");
    ASSERT(greylist_keys((const uint64_t[2]){1, 2}, &t).network != 0);
    free(copy);
}

static void entry(struct greylist *g, struct str in, uint64_t now_ms)
{
    struct greylist_entry e;
    uint8_t again[GREYLIST_ENTRY_BYTES];
    char *copy = malloc(in.n + 1);

    ASSERT(copy != NULL);
    memcpy(copy, in.p, in.n);
    if (greylist_unpack((struct str){copy, in.n}, &e) == OK) {
        greylist_pack(&e, again);
        ASSERT(memcmp(again, in.p, sizeof again) == 0);
        (void)!greylist_merge(g, &e, now_ms);
    }
    free(copy);
}

static void read_all(const struct greylist *g, struct change_cursor *at, bool from_start)
{
    struct change_cursor all = {0};
    struct greylist_entry e;
    uint32_t count = 0;

    if (!from_start && greylist_changes(g, at, &e))
        return;
    while (greylist_changes(g, &all, &e))
        count++;
    ASSERT(count == greylist_count(g) && g->first_tries <= count);
}

/* A look says what the check behind it says, but whether there is room. */
static void check(struct greylist *g, const struct greylist_keys *keys, uint64_t now_ms)
{
    uint64_t wait_ms, said_ms;
    enum greylist_verdict said = greylist_look(g, keys, now_ms, &said_ms);
    enum greylist_verdict v = greylist_check(g, keys, now_ms, &wait_ms);

    ASSERT(wait_ms <= g->opt.delay_ms);
    ASSERT(greylist_verdict_text(v)[0] != 0 && greylist_reply()[0] == '4');
    ASSERT(v == GREYLIST_FULL || (v == said && wait_ms == said_ms));
}

/* One operation: four bytes. Few keys and coarse times, so that they meet. */
static void step(struct greylist *g, const uint8_t op[4], uint64_t *now_ms,
                 struct change_cursor *at)
{
    uint64_t key = 1 + op[1] % 13, dropped[16], wait_ms;
    struct greylist_keys keys = {key, 100 + key / 2, 100 + key / 3, 200 + key,
                                 1 + op[1] / 16 % 13};
    struct greylist_entry e = {key + (op[3] & 1) * 99, op[2] * UINT64_C(20000000),
                               op[2] * UINT64_C(20000000) + op[3] * UINT64_C(10000000),
                               op[3] & 1};

    switch (op[0] % 6) {
    case 0:
        if (op[2] % 4 == 0)
            ASSERT(greylist_watch(g, &keys, *now_ms, &wait_ms) <= GREYLIST_FULL);
        if (op[2] % 64 == 1)
            greylist_set_delay(g, 1 + op[3] * UINT64_C(1000));
        check(g, &keys, *now_ms);
        break;
    case 1:
        (void)!greylist_merge(g, &e, *now_ms);
        break;
    case 2:
        *now_ms += op[1] * UINT64_C(1000) << op[2] % 12;
        break;
    case 3:
        ASSERT(greylist_sweep(g, *now_ms, op[1] % 16, dropped) <= op[1] % 16U);
        break;
    case 4:
        *now_ms -= *now_ms < op[1] * UINT64_C(1000) ? 0 : op[1] * UINT64_C(1000);
        break;
    case 5:
        read_all(g, at, op[1] % 2 == 0);
        (void)greylist_get(g, key, *now_ms, &e);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct greylist_options small = {.entries = 10, .first_tries = 7};
    struct greylist g;
    struct change_cursor at = {0};
    uint64_t now_ms = 5;

    if (size == 0)
        return 0;
    greylist_init(&g, &small);
    name(str_from((struct str){(const char *)data, size}, 1));
    for (size_t i = 1; i + GREYLIST_ENTRY_BYTES <= size; i += GREYLIST_ENTRY_BYTES)
        entry(&g, (struct str){(const char *)data + i, GREYLIST_ENTRY_BYTES - data[0] % 2},
              (uint64_t)data[0] << 40);
    for (size_t i = 1; i + 4 <= size; i += 4)
        step(&g, data + i, &now_ms, &at);
    read_all(&g, &at, true);
    greylist_fini(&g);
    return 0;
}
