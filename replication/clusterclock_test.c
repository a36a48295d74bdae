/* The cluster clock counts measured time, at most two intervals by itself, and never goes back.
 */
#include "replication/clusterclock.h"

#include <check.h>
#include <stdlib.h>

#include "base/prng.h"

#define SPAN CLUSTERCLOCK_SPAN_MS

START_TEST(it_counts_on_between_two_entries)
{
    struct clusterclock c;

    clusterclock_init(&c, 1000, 50000);
    ck_assert_uint_eq(clusterclock_now(&c, 50000), 1000);
    ck_assert_uint_eq(clusterclock_now(&c, 54321), 5321);
}
END_TEST

START_TEST(it_stops_after_two_intervals_without_an_entry)
{
    struct clusterclock c;

    clusterclock_init(&c, 1000, 50000);
    ck_assert_uint_eq(clusterclock_now(&c, 50000 + SPAN), 1000 + SPAN);
    ck_assert_uint_eq(clusterclock_now(&c, 50000 + SPAN + 1), 1000 + SPAN);
    ck_assert_uint_eq(clusterclock_now(&c, 50000 + 86400000ull * 30), 1000 + SPAN);
}
END_TEST

START_TEST(it_waits_for_a_log_that_says_less)
{
    struct clusterclock c;

    clusterclock_init(&c, 1000, 0);
    ck_assert_uint_eq(clusterclock_now(&c, 5200), 6200);
    clusterclock_applied(&c, 6000, 5200); /* measured at 5000, applied 200 ms later */
    ck_assert_uint_eq(clusterclock_now(&c, 5200), 6200);
    ck_assert_uint_eq(clusterclock_now(&c, 5400), 6200);
    ck_assert_uint_eq(clusterclock_now(&c, 5500), 6300);
}
END_TEST

START_TEST(an_older_reading_of_another_thread_does_not_count_backwards)
{
    struct clusterclock c;

    clusterclock_init(&c, 1000, 50000);
    clusterclock_applied(&c, 6000, 55000);
    ck_assert_uint_eq(clusterclock_now(&c, 54999), 6000);
    ck_assert_uint_eq(clusterclock_now(&c, 0), 6000);
}
END_TEST

START_TEST(a_measurement_is_bounded_and_what_lies_above_is_lost)
{
    uint64_t mark = 100;

    ck_assert_uint_eq(clusterclock_measure(&mark, 5100), 5000);
    ck_assert_uint_eq(mark, 5100);
    ck_assert_uint_eq(clusterclock_measure(&mark, 5100 + SPAN + 500), SPAN);
    ck_assert_uint_eq(clusterclock_measure(&mark, 5100 + SPAN + 600), 100);
    ck_assert_uint_eq(clusterclock_measure(&mark, 5), 0);
}
END_TEST

/* A leader that measures and a node that applies with delays, long stalls in between. */
START_TEST(over_random_runs_it_never_goes_back_nor_ahead_of_real_time)
{
    struct prng r;

    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t boot = 1000, mark = 1000, base = 1000, last = 0;
        struct clusterclock c;

        prng_seed(&r, seed);
        clusterclock_init(&c, base, boot);
        for (int i = 0; i < 200; i++) {
            uint64_t now;

            boot += prng_below(&r, prng_below(&r, 20) == 0 ? 60000 : 3000);
            if (prng_below(&r, 3) == 0) {
                base += clusterclock_measure(&mark, boot);
                boot += prng_below(&r, 300);
                clusterclock_applied(&c, base, boot);
            }
            now = clusterclock_now(&c, boot);
            ck_assert_msg(now >= last, "seed %llu", (unsigned long long)seed);
            ck_assert_msg(now <= boot + SPAN, "seed %llu", (unsigned long long)seed);
            ck_assert_msg(base <= boot, "seed %llu", (unsigned long long)seed);
            last = now;
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clusterclock");
    TCase *tc = tcase_create("clusterclock");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, it_counts_on_between_two_entries);
    tcase_add_test(tc, it_stops_after_two_intervals_without_an_entry);
    tcase_add_test(tc, it_waits_for_a_log_that_says_less);
    tcase_add_test(tc, an_older_reading_of_another_thread_does_not_count_backwards);
    tcase_add_test(tc, a_measurement_is_bounded_and_what_lies_above_is_lost);
    tcase_add_test(tc, over_random_runs_it_never_goes_back_nor_ahead_of_real_time);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
