#include "base/heap.h"

#include <check.h>
#include <string.h>

#include "base/prng.h"

#define ITEMS 2000

struct item {
    struct heap_node node;
    uint64_t key;
    bool in;
};

static struct item items[ITEMS + 1];

static struct heap_node *node(const void *ctx, uint32_t item)
{
    (void)ctx;
    return &items[item].node;
}

static bool is_before(const void *ctx, uint32_t a, uint32_t b)
{
    (void)ctx;
    return items[a].key < items[b].key;
}

static const struct heap_ops ops = {node, is_before};

START_TEST(items_come_out_in_order)
{
    static const uint64_t factors[] = {1, 7919, ITEMS - 1, 0}; /* up, mixed, down, all equal */
    struct heap h;

    for (int f = 0; f < 4; f++) {
        uint64_t last = 0;

        heap_init(&h, &ops, NULL);
        ck_assert_uint_eq(heap_first(&h), 0);
        for (uint32_t i = 1; i <= ITEMS; i++) {
            items[i].key = i * factors[f] % ITEMS;
            heap_push(&h, i);
        }
        heap_check(&h);
        for (uint32_t i = 1; i <= ITEMS; i++) {
            uint32_t first = heap_first(&h);

            ck_assert_uint_ge(items[first].key, last);
            last = items[first].key;
            heap_remove(&h, first);
        }
        ck_assert_uint_eq(heap_first(&h), 0);
    }
}
END_TEST

START_TEST(items_leave_from_anywhere)
{
    struct prng rng;
    struct heap h;

    memset(items, 0, sizeof items);
    prng_seed(&rng, 2);
    heap_init(&h, &ops, NULL);
    for (int s = 0; s < 20000; s++) {
        uint32_t i = 1 + (uint32_t)prng_below(&rng, s < 10000 ? ITEMS : 40);

        if (items[i].in) {
            heap_remove(&h, i);
        } else {
            items[i].key = prng_below(&rng, 500);
            heap_push(&h, i);
        }
        items[i].in = !items[i].in;
        if (s % 50 == 0)
            heap_check(&h);
    }
    for (uint32_t i = 1; i <= ITEMS; i++)
        if (items[i].in)
            heap_remove(&h, i);
    ck_assert_uint_eq(h.count, 0);
    heap_check(&h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("heap");
    TCase *tc = tcase_create("heap");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, items_come_out_in_order);
    tcase_add_test(tc, items_leave_from_anywhere);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
