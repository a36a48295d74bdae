#include "base/prng.h"

#include <check.h>

START_TEST(same_seed_gives_the_same_numbers_another_one_others)
{
    struct prng a, b, c;
    int same = 0;

    prng_seed(&a, 1);
    prng_seed(&b, 1);
    prng_seed(&c, 2);
    for (int i = 0; i < 1000; i++) {
        uint64_t n = prng_next(&a);

        ck_assert_uint_eq(n, prng_next(&b));
        same += n == prng_next(&c);
    }
    ck_assert_int_eq(same, 0);
}
END_TEST

START_TEST(seed_nought_is_a_seed_like_any_other)
{
    struct prng r;

    prng_seed(&r, 0);
    ck_assert_uint_ne(r.s, 0);
    ck_assert_uint_ne(prng_next(&r), prng_next(&r));
}
END_TEST

START_TEST(numbers_below_n_are_spread_evenly)
{
    unsigned seen[10] = {0};
    struct prng r;

    prng_seed(&r, 9);
    for (int i = 0; i < 100000; i++) {
        uint64_t n = prng_below(&r, 10);

        ck_assert_uint_lt(n, 10);
        seen[n]++;
    }
    for (int i = 0; i < 10; i++)
        ck_assert(seen[i] > 9500 && seen[i] < 10500);
    ck_assert_uint_eq(prng_below(&r, 1), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("prng");
    TCase *tc = tcase_create("prng");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, same_seed_gives_the_same_numbers_another_one_others);
    tcase_add_test(tc, seed_nought_is_a_seed_like_any_other);
    tcase_add_test(tc, numbers_below_n_are_spread_evenly);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
