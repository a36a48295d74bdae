/* Messages come back in the order of their time, each once. */
#include "cluster-tools/load/retry.h"

#include <check.h>

START_TEST(messages_come_out_by_time_and_none_is_lost)
{
    struct retry_heap h;
    struct message m;
    uint64_t last = 0, sum = 0, state = 1;

    retry_init(&h);
    ck_assert_uint_eq(retry_next_us(&h), UINT64_MAX);
    for (uint64_t i = 0; i < 5000; i++) {
        state = state * UINT64_C(6364136223846793005) + 1;
        m = (struct message){.number = i, .due_us = state >> 50};
        ck_assert_int_eq(retry_push(&h, &m), OK);
    }
    for (int i = 0; i < 5000; i++) {
        ck_assert_int_eq(retry_pop_due(&h, retry_next_us(&h), &m), OK);
        ck_assert_uint_ge(m.due_us, last);
        last = m.due_us;
        sum += m.number;
    }
    ck_assert_uint_eq(sum, 4999 * 5000 / 2);
    ck_assert_int_eq(retry_pop_due(&h, UINT64_MAX, &m), E_AGAIN);
    retry_fini(&h);
}
END_TEST

START_TEST(nothing_comes_out_before_its_time)
{
    struct retry_heap h;
    struct message m = {.due_us = 100};

    retry_init(&h);
    ck_assert_int_eq(retry_push(&h, &m), OK);
    ck_assert_int_eq(retry_pop_due(&h, 99, &m), E_AGAIN);
    ck_assert_int_eq(retry_pop_due(&h, 100, &m), OK);
    retry_fini(&h);
}
END_TEST

START_TEST(waits_double_up_to_the_limit)
{
    static const uint64_t want[] = {1, 2, 4, 8, 10, 10};

    for (uint32_t i = 0; i < 6; i++)
        ck_assert_uint_eq(retry_wait_us(i + 1, 1, 10), want[i]);
    ck_assert_uint_eq(retry_wait_us(UINT32_MAX, 1, 10), 10);
    ck_assert_uint_eq(retry_wait_us(1, 20, 10), 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("retry");
    TCase *tc = tcase_create("heap");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, messages_come_out_by_time_and_none_is_lost);
    tcase_add_test(tc, nothing_comes_out_before_its_time);
    tcase_add_test(tc, waits_double_up_to_the_limit);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
