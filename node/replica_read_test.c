/* What the engine reads of traces: whether a node can tell how a message ended. */
#include "node/replica_read.h"

#include "tests/support/copy_kit.h"

static enum err trace(uint64_t counter)
{
    struct replica_read r = {0};
    struct str envelope = STR_NONE;
    enum err e;

    commit();
    ck_assert_int_eq(replica_read_open(&r, kit.spool), OK);
    e = replica_read_trace(&r, id_of(counter), &envelope);
    ck_assert((e == OK) == (envelope.n > 0));
    replica_read_close(&r);
    return e;
}

static void end(uint64_t counter)
{
    ck_assert_int_eq(put(ORIGIN, counter, COPY_COMMITTED, 100), COPY_OK);
    ck_assert_int_eq(outcome(OTHER, counter, 100, FATE_DELIVERED, FATE_DELIVERED, PHASE_DONE),
                     COPY_OK);
}

START_TEST(fates_are_told_while_they_are_kept)
{
    end(1);
    ck_assert_int_eq(trace(1), OK);
    ck_assert_int_eq(trace(2), E_NOTFOUND);
}
END_TEST

/* It may still be read later: nobody may be told that it is lost. */
START_TEST(of_what_is_here_still_nothing_is_said)
{
    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 100), COPY_OK);
    ck_assert_int_eq(trace(1), E_CONFLICT);
    damage(STR("bob@example.org"));
    ck_assert_int_eq(trace(1), E_CONFLICT);
}
END_TEST

START_TEST(a_trace_that_cannot_be_read_is_none)
{
    end(1);
    ck_assert_int_eq(trace(1), OK);
    damage(STR("bob@example.org"));
    ck_assert_int_eq(trace(1), E_NOTFOUND);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("replica read");
    TCase *tc = tcase_create("traces");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, fates_are_told_while_they_are_kept);
    tcase_add_test(tc, of_what_is_here_still_nothing_is_said);
    tcase_add_test(tc, a_trace_that_cannot_be_read_is_none);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
