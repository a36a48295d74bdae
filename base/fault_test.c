/* No build but the one of the simulator has a bug planted. */
#include <check.h>
#include <stdlib.h>

#include "base/fault.h"

START_TEST(no_bug_is_planted_unless_it_is_asked_for)
{
    ck_assert(!FAULT(SKIP_SYNC));
#ifdef TRISPOOL_PLANTED
    fault_plant(FAULT_SKIP_SYNC);
    ck_assert(FAULT(SKIP_SYNC));
    fault_plant(FAULT_NONE);
#endif
    for (unsigned f = 0; f < FAULT_COUNT; f++)
        ck_assert_int_gt(fault_text((enum fault)f)[0], 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fault");
    TCase *tc = tcase_create("fault");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, no_bug_is_planted_unless_it_is_asked_for);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
