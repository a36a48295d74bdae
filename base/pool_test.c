#include "base/pool.h"

#include <check.h>
#include <signal.h>
#include <string.h>

#include "base/prng.h"

struct item {
    uint64_t a;
    uint32_t b;
    char c[5];
};

START_TEST(items_are_zeroed_aligned_and_stay_where_they_are)
{
    static uint32_t handles[50000];
    static struct item *at[50000];
    struct pool p;

    pool_init(&p, sizeof(struct item), 50000);
    for (uint32_t i = 0; i < 50000; i++) {
        handles[i] = pool_take(&p);
        ck_assert_uint_ne(handles[i], 0);
        at[i] = pool_at(&p, handles[i]);
        ck_assert_uint_eq((uintptr_t)at[i] % 8, 0);
        ck_assert(at[i]->a == 0 && at[i]->b == 0 && at[i]->c[4] == 0);
        *at[i] = (struct item){i, i, "abcd"};
    }
    for (uint32_t i = 0; i < 50000; i++) {
        ck_assert_ptr_eq(at[i], pool_at(&p, handles[i]));
        ck_assert_uint_eq(at[i]->a, i);
    }
    pool_fini(&p);
}
END_TEST

START_TEST(ceiling_counts_items_that_are_out)
{
    uint32_t h[3];
    struct pool p;

    pool_init(&p, 1, 3);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 3; i++) {
            h[i] = pool_take(&p);
            ck_assert_uint_ne(h[i], 0);
        }
        ck_assert_uint_eq(pool_take(&p), 0);
        ck_assert_uint_eq(p.count, 3);
        memset(pool_at(&p, h[round % 3]), 0xff, 1);
        for (int i = 0; i < 3; i++)
            pool_give(&p, h[i]);
    }
    ck_assert_uint_eq(p.made, 3); /* used again, not made anew */
    pool_fini(&p);
}
END_TEST

START_TEST(handles_that_are_out_are_known)
{
    uint32_t a, b;
    struct pool p;

    pool_init(&p, 16, 10);
    a = pool_take(&p);
    b = pool_take(&p);
    ck_assert(pool_is_taken(&p, a) && pool_is_taken(&p, b));
    ck_assert(!pool_is_taken(&p, 0) && !pool_is_taken(&p, b + 1));
    pool_give(&p, a);
    ck_assert(!pool_is_taken(&p, a) && pool_is_taken(&p, b));
    ck_assert_uint_eq(pool_take(&p), a);
    ck_assert(pool_is_taken(&p, a));
    pool_fini(&p);
}
END_TEST

START_TEST(handle_given_back_twice_ends_the_program)
{
    struct pool p;
    uint32_t a;

    pool_init(&p, 16, 10);
    a = pool_take(&p);
    pool_give(&p, a);
    pool_give(&p, a);
}
END_TEST

START_TEST(random_use_never_hands_out_an_item_twice)
{
    static uint32_t out[2000];
    uint32_t count = 0;
    struct prng rng;
    struct pool p;

    prng_seed(&rng, 11);
    pool_init(&p, 40, 1500);
    for (int i = 0; i < 100000; i++) {
        if (prng_below(&rng, 2) == 0) {
            uint32_t h = pool_take(&p);

            ck_assert((h == 0) == (count == 1500));
            if (h == 0)
                continue;
            memcpy(pool_at(&p, h), &i, sizeof i);
            out[count++] = h;
        } else if (count > 0) {
            uint32_t k = (uint32_t)prng_below(&rng, count);

            pool_give(&p, out[k]);
            out[k] = out[--count];
        }
        ck_assert_uint_eq(p.count, count);
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < i; k++)
            ck_assert_uint_ne(out[i], out[k]);
    pool_fini(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tc = tcase_create("pool");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, items_are_zeroed_aligned_and_stay_where_they_are);
    tcase_add_test(tc, ceiling_counts_items_that_are_out);
    tcase_add_test(tc, handles_that_are_out_are_known);
    tcase_add_test_raise_signal(tc, handle_given_back_twice_ends_the_program, SIGABRT);
    tcase_add_test(tc, random_use_never_hands_out_an_item_twice);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
