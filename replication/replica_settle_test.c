/* Mail that ended while a node was away, and how it hears of that. */
#include <check.h>

#include "replication/replica_world_run.h"

static struct world *w;

static void setup(void)
{
    w = w_new(1);
    w->verbose = getenv("REPLICA_VERBOSE") != NULL;
    w_run_long(w, 3000);
}

static void teardown(void)
{
    w_free(w);
}

/* Mail that ended while site 3, which has a copy of it, was away. */
static struct mid ended_without_3(void)
{
    struct mid id;

    w_no_holder(w);
    id = w_mail(w, w_node(w, 1), W_SMALL);
    w_run_long(w, 2000);
    w_crash(w, w_node(w, 3));
    w_node(w, 1)->leaving = false;
    w_run_long(w, 60000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_SETTLED);
    return id;
}

START_TEST(node_that_slept_through_the_outcome_hears_of_it)
{
    struct mid id = ended_without_3();

    w_start(w, w_node(w, 3));
    w_run_long(w, 3000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
}
END_TEST

static void forget_fates(uint16_t site, struct mid id)
{
    w_copy(w_node(w, site)->disk, id)->trace[0] = 0;
}

/* Traces grow old, and who knew them loses a disk: a copy that was away for long must end. */
START_TEST(what_is_over_ends_even_when_nobody_can_tell_how)
{
    struct mid id = ended_without_3();

    forget_fates(1, id);
    forget_fates(2, id);
    w_start(w, w_node(w, 3));
    w_run_long(w, 3000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
}
END_TEST

START_TEST(who_may_know_the_fates_is_waited_for)
{
    struct mid id = ended_without_3();

    forget_fates(1, id);
    w_crash(w, w_node(w, 2));
    w_start(w, w_node(w, 3));
    w_run_long(w, 60000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_COMMITTED);
    w_start(w, w_node(w, 2));
    w_run_long(w, 5000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
    ck_assert_int_eq(w_copy(w_node(w, 3)->disk, id)->trace[0], 'd');
}
END_TEST

/* Live at 2 and 3, and 1 knows that it is over. */
static struct mid known_by_1_alone(void)
{
    struct mid id;

    w_no_holder(w);
    id = w_mail(w, w_node(w, 1), W_SMALL);
    w_run_long(w, 5000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_COMMITTED);
    w_crash(w, w_node(w, 1));
    w_settle(w, w_node(w, 1), id);
    forget_fates(1, id);
    return id;
}

/* Each of the two hears of the end while the other may know more, for all it knows. */
START_TEST(who_waited_for_another_asks_itself_again_when_that_one_is_there)
{
    struct mid id = known_by_1_alone();

    w_part(w, 2, 3, true);
    w_run_long(w, 30000);
    w_start(w, w_node(w, 1));
    w_run_long(w, 30000);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_COMMITTED);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_COMMITTED);
    w_part(w, 2, 3, false);
    w_run_long(w, 30000);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_SETTLED);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
}
END_TEST

START_TEST(who_waited_for_another_waits_no_longer_when_that_one_is_no_member)
{
    struct mid id = known_by_1_alone();

    w_crash(w, w_node(w, 3));
    w_run_long(w, 30000);
    w_start(w, w_node(w, 1));
    w_run_long(w, 30000);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_COMMITTED);
    w_append(w, (struct w_entry){.kind = W_END, .site = 3});
    w_append(w, (struct w_entry){.kind = W_MEMBER, .site = 3, .incarnation = 0});
    w_run_long(w, 10000);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_SETTLED);
}
END_TEST

START_TEST(what_cannot_be_read_ends_when_nobody_can_tell_how)
{
    struct mid id = ended_without_3();

    forget_fates(1, id);
    forget_fates(2, id);
    w_copy(w_node(w, 3)->disk, id)->unreadable = true;
    w_start(w, w_node(w, 3));
    w_run_long(w, 15000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
}
END_TEST

/* The own store has no room for it: it is told again. */
START_TEST(an_end_that_found_no_room_is_stored_later)
{
    struct mid id = ended_without_3();

    forget_fates(1, id);
    forget_fates(2, id);
    w_start(w, w_node(w, 3));
    w_node(w, 3)->full = true;
    w_run_long(w, 5000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_COMMITTED);
    w_node(w, 3)->full = false;
    w_run_long(w, 5000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
}
END_TEST

/* Who told it first is gone: a late copy must not come in there. */
START_TEST(settled_ids_that_found_no_room_are_told_again)
{
    struct mid id;

    w_node(w, 3)->full = true;
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 5000);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_SETTLED);
    w_crash(w, w_node(w, 1));
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_NONE);
    w_node(w, 3)->full = false;
    w_run_long(w, 5000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
}
END_TEST

/* Its summary does not name it, so nobody would tell it of its own accord. */
START_TEST(node_asks_for_what_it_cannot_read_and_hears_of_its_end)
{
    struct mid id = ended_without_3();

    w_copy(w_node(w, 3)->disk, id)->unreadable = true;
    w_start(w, w_node(w, 3));
    w_run_long(w, 12000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("replica settle");
    TCase *tc = tcase_create("replica settle");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, what_is_over_ends_even_when_nobody_can_tell_how);
    tcase_add_test(tc, who_may_know_the_fates_is_waited_for);
    tcase_add_test(tc, who_waited_for_another_asks_itself_again_when_that_one_is_there);
    tcase_add_test(tc, who_waited_for_another_waits_no_longer_when_that_one_is_no_member);
    tcase_add_test(tc, what_cannot_be_read_ends_when_nobody_can_tell_how);
    tcase_add_test(tc, an_end_that_found_no_room_is_stored_later);
    tcase_add_test(tc, settled_ids_that_found_no_room_are_told_again);
    tcase_add_test(tc, node_that_slept_through_the_outcome_hears_of_it);
    tcase_add_test(tc, node_asks_for_what_it_cannot_read_and_hears_of_its_end);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
