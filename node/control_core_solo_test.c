/* Two of three sites are lost for good: the third becomes the only member, when it is told to
 * and when it is true. */
#include "node/control_core_world.h"

static uint32_t members(struct node *n)
{
    struct control_members m;

    ck_assert_int_eq(control_members(control_core_state(n->core), &m), OK);
    return m.count;
}

/* Asks, and waits for the answer. */
static void solo(struct node *n)
{
    int before = n->solos;

    control_core_solo(n->core, now);
    for (int i = 0; i < 2 * CORE_SOLO_MS && n->solos == before; i++)
        run(1);
    ck_assert_int_eq(n->solos, before + 1);
}

static void lose(struct node *n)
{
    stop_node(n);
}

static void restart(struct node *n)
{
    stop_node(n);
    run(1000);
    open_node(n);
}

/* --- when it must not be --- */

START_TEST(it_is_refused_while_a_majority_is_there)
{
    uint64_t begin;

    three();
    for (int i = 0; i < 3; i++) {
        solo(&nodes[i]);
        ck_assert_int_eq(nodes[i].solo, E_CONFLICT);
    }
    lose(&nodes[0]); /* one other is enough */
    run(10000);
    begin = now;
    solo(&nodes[2]);
    ck_assert_int_eq(nodes[2].solo, E_CONFLICT);
    ck_assert_uint_lt(now, begin + CORE_SOLO_MS);
    ck_assert_uint_eq(members(&nodes[2]), 3);
    ck_assert_int_eq(get(&nodes[2], setting("a", "1")).err, OK);
    run(1000);
    ck_assert(holds(&nodes[1], "a", "1"));
}
END_TEST

START_TEST(it_is_refused_when_the_majority_comes_back_while_it_listens)
{
    three();
    nodes[1].deaf = nodes[2].deaf = true;
    run(10000);
    control_core_solo(nodes[0].core, now);
    run(CORE_SOLO_MS - 1000);
    ck_assert_int_eq(nodes[0].solos, 0);
    nodes[1].deaf = false;
    run(CORE_SOLO_MS);
    ck_assert_int_eq(nodes[0].solos, 1);
    ck_assert_int_eq(nodes[0].solo, E_CONFLICT);
    ck_assert_uint_eq(voters(&nodes[0]), 3);
}
END_TEST

START_TEST(it_is_refused_to_who_is_alone_or_no_member)
{
    make_node(0, 1, 1, true);
    run(1000);
    solo(&nodes[0]);
    ck_assert_int_eq(nodes[0].solo, E_EXISTS);
    make_node(1, 2, 77, false); /* nobody added it */
    solo(&nodes[1]);
    ck_assert_int_eq(nodes[1].solo, E_NOTFOUND);
}
END_TEST

START_TEST(it_is_asked_for_once_and_ends_with_the_node)
{
    three();
    lose(&nodes[1]);
    lose(&nodes[2]);
    run(5000);
    control_core_solo(nodes[0].core, now);
    control_core_solo(nodes[0].core, now);
    ck_assert_int_eq(nodes[0].solos, 1);
    ck_assert_int_eq(nodes[0].solo, E_CONFLICT);
    control_core_stop(nodes[0].core, now);
    ck_assert_int_eq(nodes[0].solos, 2);
    ck_assert_int_eq(nodes[0].solo, E_IO);
    restart(&nodes[0]);
    run(2 * CORE_SOLO_MS);
    ck_assert_uint_eq(voters(&nodes[0]), 3); /* nothing of it stays */
    ck_assert_uint_eq(members(&nodes[0]), 3);
}
END_TEST

/* --- when it is --- */

static void is_alone(struct node *n)
{
    struct session s;
    struct slot slot;

    ck_assert(control_core_is_lone(n->core));
    ck_assert_uint_eq(voters(n), 1);
    ck_assert_uint_eq(members(n), 1);
    ck_assert(holds(n, CONTROL_SOLO_SETTING, "on"));
    ck_assert_int_eq(get(n, setting("alone", "1")).err, OK);
    ck_assert_uint_gt(control_core_valid_until(n->core), now);
    ck_assert_int_eq(control_session(control_core_state(n->core), n->id.site, &s), OK);
    ck_assert_uint_eq(s.epoch, control_core_session(n->core));
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        ck_assert_int_eq(control_slot(control_core_state(n->core), i, &slot), OK);
        ck_assert_uint_eq(slot.site, n->id.site);
    }
}

START_TEST(the_last_one_becomes_the_only_member)
{
    three();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
            get(&nodes[i],
                (struct command){.kind = COMMAND_MEMBER_FILLED,
                                 .member_filled = {nodes[i].id.site, nodes[i].id.incarnation}})
                .err,
            OK);
    ck_assert_int_eq(get(&nodes[2], setting("kept", "1")).err, OK);
    lose(&nodes[0]);
    lose(&nodes[1]);
    run(20000);
    ck_assert_int_eq(get(&nodes[2], setting("a", "1")).err, E_NOTOWNER);
    nodes[2].changed = 0;
    solo(&nodes[2]);
    ck_assert_int_eq(nodes[2].solo, OK);
    ck_assert(!nodes[2].fenced);
    ck_assert_uint_eq(nodes[2].changed & (CONTROL_CHANGED_MEMBERS | CONTROL_CHANGED_SETTINGS),
                      CONTROL_CHANGED_MEMBERS | CONTROL_CHANGED_SETTINGS);
    run(5000);
    ck_assert(holds(&nodes[2], "kept", "1"));
    is_alone(&nodes[2]);
    for (int i = 0; i < 3; i++) { /* and stays it */
        restart(&nodes[2]);
        run(20000);
        is_alone(&nodes[2]);
    }
}
END_TEST

START_TEST(what_waits_meanwhile_is_answered_and_what_was_in_the_log_counts)
{
    uint64_t undecided, waiting;
    struct node *last;

    three();
    last = leader();
    for (int i = 0; i < 3; i++)
        if (&nodes[i] != last)
            lose(&nodes[i]);
    undecided = ask(last, setting("undecided", "1"));
    control_core_flush(last->core, now);
    run(100);
    ck_assert(!answers[undecided].came);
    run(10000);
    control_core_solo(last->core, now);
    run(CORE_SOLO_MS - 1000);
    waiting = ask(last, setting("waiting", "1"));
    control_core_flush(last->core, now);
    run(2000);
    ck_assert_int_eq(last->solo, OK);
    ck_assert(answers[undecided].came && answers[waiting].came);
    ck_assert_int_eq(answers[waiting].o.err, E_TIMEOUT);
    ck_assert(holds(last, "undecided", "1"));
    run(2000);
    is_alone(last);
}
END_TEST

START_TEST(others_join_it_anew)
{
    three();
    lose(&nodes[0]);
    lose(&nodes[2]);
    solo(&nodes[1]);
    ck_assert_int_eq(nodes[1].solo, OK);
    remove_dir(nodes[2].dir);
    join(2, 3);
    remove_dir(nodes[0].dir);
    join(0, 1);
    run(500);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(voters(&nodes[i]), 3);
        ck_assert_uint_eq(members(&nodes[i]), 3);
    }
    ck_assert_int_eq(get(&nodes[0], setting("a", "1")).err, OK);
    digests_agree();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control_core_solo");
    TCase *tc = tcase_create("control_core_solo");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, it_is_refused_while_a_majority_is_there);
    tcase_add_test(tc, it_is_refused_when_the_majority_comes_back_while_it_listens);
    tcase_add_test(tc, it_is_refused_to_who_is_alone_or_no_member);
    tcase_add_test(tc, it_is_asked_for_once_and_ends_with_the_node);
    tcase_add_test(tc, the_last_one_becomes_the_only_member);
    tcase_add_test(tc, what_waits_meanwhile_is_answered_and_what_was_in_the_log_counts);
    tcase_add_test(tc, others_join_it_anew);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
