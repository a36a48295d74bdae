/* The smallest parts: err.c, assert.c, clock.c. */
#include "base/err.h"

#include <check.h>
#include <signal.h>

#include "base/assert.h"
#include "base/clock.h"

START_TEST(every_error_has_a_text_of_its_own)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        ck_assert_str_ne(err_text((enum err)i), "");
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(err_text((enum err)i), err_text((enum err)k));
    }
}
END_TEST

START_TEST(an_assertion_that_fails_ends_the_process)
{
    ASSERT(1 + 1 == 3);
}
END_TEST

START_TEST(the_clock_of_deadlines_never_goes_back_and_counts_what_its_names_say)
{
    uint64_t us = clock_boot_us(), ms = clock_boot_ms();

    ck_assert_uint_ge(ms, us / 1000);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_boot_us();

        ck_assert_uint_ge(now, us);
        us = now;
    }
    ck_assert_int_gt(clock_wall_ms(), INT64_C(1600000000000)); /* milliseconds since 1970 */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("err");
    TCase *tc = tcase_create("small");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, every_error_has_a_text_of_its_own);
    tcase_add_test_raise_signal(tc, an_assertion_that_fails_ends_the_process, SIGABRT);
    tcase_add_test(tc, the_clock_of_deadlines_never_goes_back_and_counts_what_its_names_say);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
