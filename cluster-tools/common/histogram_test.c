/* Quantiles stay within 1/64 of the truth, and never above what was seen. */
#include "cluster-tools/common/histogram.h"

#include <check.h>
#include <string.h>

static struct histogram h;

static void setup(void)
{
    memset(&h, 0, sizeof h);
}

START_TEST(an_empty_histogram_says_zero)
{
    ck_assert_uint_eq(histogram_quantile_us(&h, 5000), 0);
    ck_assert_uint_eq(histogram_quantile_us(&h, 10000), 0);
    ck_assert_uint_eq(histogram_mean_us(&h), 0);
}
END_TEST

START_TEST(one_sample_is_every_quantile)
{
    static const uint64_t values[] = {0, 1, 63, 64, 65, 1000003, UINT64_C(1) << 44};

    histogram_add(&h, values[_i]);
    ck_assert_uint_eq(histogram_quantile_us(&h, 0), values[_i]);
    ck_assert_uint_eq(histogram_quantile_us(&h, 5000), values[_i]);
    ck_assert_uint_eq(histogram_quantile_us(&h, 9999), values[_i]);
}
END_TEST

START_TEST(quantiles_of_a_ramp_are_within_one_64th)
{
    static const unsigned parts[] = {100, 5000, 9000, 9900, 9990, 10000};
    uint64_t truth = 100000 * (uint64_t)parts[_i] / 10000, got;

    for (uint64_t v = 1; v <= 100000; v++)
        histogram_add(&h, v);
    got = histogram_quantile_us(&h, parts[_i]);
    ck_assert_uint_ge(got, truth);
    ck_assert_uint_le(got, truth + truth / 64);
    ck_assert_uint_eq(histogram_mean_us(&h), 50000);
}
END_TEST

START_TEST(a_rare_slow_answer_shows_at_p999_and_not_at_p99)
{
    for (int i = 0; i < 1997; i++)
        histogram_add(&h, 10);
    for (int i = 0; i < 3; i++)
        histogram_add(&h, 5000000);
    ck_assert_uint_eq(histogram_quantile_us(&h, 9900), 10);
    ck_assert_uint_eq(histogram_quantile_us(&h, 9990), 5000000);
}
END_TEST

START_TEST(a_quantile_is_reached_not_fallen_short_of)
{
    histogram_add(&h, 1);
    histogram_add(&h, 10);
    histogram_add(&h, 50);
    ck_assert_uint_eq(histogram_quantile_us(&h, 3333), 1);
    ck_assert_uint_eq(histogram_quantile_us(&h, 5000), 10);
    ck_assert_uint_eq(histogram_quantile_us(&h, 6667), 50);
}
END_TEST

START_TEST(absurd_values_land_in_the_last_bucket)
{
    histogram_add(&h, UINT64_MAX);
    histogram_add(&h, 1);
    ck_assert_uint_eq(histogram_quantile_us(&h, 10000), UINT64_MAX);
    ck_assert_uint_eq(histogram_quantile_us(&h, 5000), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("histogram");
    TCase *tc = tcase_create("quantiles");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, an_empty_histogram_says_zero);
    tcase_add_loop_test(tc, one_sample_is_every_quantile, 0, 7);
    tcase_add_loop_test(tc, quantiles_of_a_ramp_are_within_one_64th, 0, 6);
    tcase_add_test(tc, a_rare_slow_answer_shows_at_p999_and_not_at_p99);
    tcase_add_test(tc, a_quantile_is_reached_not_fallen_short_of);
    tcase_add_test(tc, absurd_values_land_in_the_last_bucket);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
