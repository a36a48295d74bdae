/* Bytes come out in the order they went in, up to the limit and not beyond. */
#include "cluster-tools/common/outbuf.h"

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static struct outbuf o;

static void setup(void)
{
    outbuf_init(&o, 2000);
}

static void teardown(void)
{
    outbuf_fini(&o);
}

START_TEST(bytes_come_out_in_order_however_they_are_taken)
{
    uint64_t next_in = 0, next_out = 0;

    for (int turn = 0; turn < 500; turn++) {
        while (outbuf_pending(&o).n < 1500)
            outbuf_printf(&o, "%06llu", (unsigned long long)next_in++);
        for (int i = 0; i < 1 + turn % 200; i++) {
            char want[8];

            snprintf(want, sizeof want, "%06llu", (unsigned long long)next_out++);
            ck_assert_mem_eq(outbuf_pending(&o).p, want, 6);
            outbuf_sent(&o, 6);
        }
    }
    ck_assert(!o.failed);
}
END_TEST

START_TEST(the_limit_fails_for_good_and_keeps_what_was_there)
{
    static const char piece[1000];

    outbuf_add(&o, (struct str){piece, 1000});
    outbuf_add(&o, (struct str){piece, 1000});
    ck_assert(!o.failed);
    outbuf_add(&o, STR("x"));
    ck_assert(o.failed);
    ck_assert_uint_eq(outbuf_pending(&o).n, 2000);
    outbuf_sent(&o, 2000);
    outbuf_add(&o, STR("x"));
    ck_assert_uint_eq(outbuf_pending(&o).n, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("outbuf");
    TCase *tc = tcase_create("buffer");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, bytes_come_out_in_order_however_they_are_taken);
    tcase_add_test(tc, the_limit_fails_for_good_and_keeps_what_was_there);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
