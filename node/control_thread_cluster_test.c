/* Control threads of several members over real links on loopback: they find each other, agree,
 * lose a leader, and hear nobody else. */
#include "node/control_thread_world.h"

/* --- tests --- */

START_TEST(three_members_find_each_other_and_agree)
{
    three();
    ck_assert_int_eq(leader(1), leader(0));
    ck_assert_int_eq(leader(2), leader(0));
    for (int i = 0; i < 3; i++) {
        UNTIL(lease(i).session != 0 && lease(i).valid_until_ms > clock_boot_ms());
        ck_assert(lease(i).has_members);
    }
}
END_TEST

START_TEST(what_is_put_anywhere_is_seen_there_when_it_is_answered)
{
    three();
    for (int i = 0; i < 3; i++) {
        char name[32];

        snprintf(name, sizeof name, "d%d.example", i);
        ck_assert_int_eq(ask(i, domain(DOMAIN_ADD, name)).err, OK);
        ck_assert(has(i, name));
        ck_assert_int_eq(ask((i + 1) % 3, domain(DOMAIN_ADD, name)).err, E_EXISTS);
        UNTIL(all_know(name));
    }
}
END_TEST

START_TEST(a_leader_that_stops_hands_over_and_the_others_go_on)
{
    int first, other;

    three();
    first = leader(0);
    other = (first + 1) % 3;
    control_thread_stop(&nodes[first].t);
    UNTIL(leader(other) >= 0 && leader(other) != first);
    ck_assert_int_eq(ask(other, domain(DOMAIN_ADD, "a.example")).err, OK);
    open_node(first);
    UNTIL(has(first, "a.example"));
    ck_assert_int_eq(ask(first, domain(DOMAIN_ADD, "b.example")).err, OK);
}
END_TEST

START_TEST(a_leader_that_stands_still_is_replaced_and_comes_back_as_a_follower)
{
    int first, other;

    three();
    first = leader(0);
    other = (first + 1) % 3;
    freeze(first, true);
    UNTIL(leader(other) >= 0 && leader(other) != first);
    ck_assert_int_eq(ask(other, domain(DOMAIN_ADD, "a.example")).err, OK);
    freeze(first, false);
    UNTIL(has(first, "a.example"));
    UNTIL(leader(first) == leader(other));
}
END_TEST

START_TEST(one_alone_of_three_decides_nothing)
{
    struct control_outcome out;
    struct command c = domain(DOMAIN_ADD, "a.example");

    three();
    control_thread_stop(&nodes[1].t);
    control_thread_stop(&nodes[2].t);
    UNTIL(leader(0) < 0);
    ck_assert_int_eq(control_propose_wait(nodes[0].t, &c, &out), E_NOTOWNER);
    ck_assert(!has(0, "a.example"));
    UNTIL(lease(0).valid_until_ms < clock_boot_ms());
    open_node(2);
    ck_assert_int_eq(ask(0, c).err, OK);
    UNTIL(lease(0).valid_until_ms > clock_boot_ms());
}
END_TEST

START_TEST(a_stranger_is_ignored_and_counted)
{
    uint64_t before, term;

    three();
    /* It knows the cluster's id, all keys and addresses, and says that it is the third. */
    make_joiner(3, nodes[2].id.incarnation, 7);
    term = status(0).term;
    before = (uint64_t)stat_get(STAT_CONTROL_STRANGERS_TOTAL);
    open_node(3);
    UNTIL((uint64_t)stat_get(STAT_CONTROL_STRANGERS_TOTAL) > before);
    poll(NULL, 0, QUIET_MS);
    ck_assert_uint_eq(control_applied(control_thread_state(nodes[3].t)), 0);
    ck_assert_uint_eq(status(0).term, term);
    ck_assert_int_eq(ask(0, domain(DOMAIN_ADD, "a.example")).err, OK);
    ck_assert(!has(3, "a.example"));
}
END_TEST

START_TEST(a_removed_member_is_shut_out)
{
    struct command c = {.kind = COMMAND_MEMBER_REMOVE};
    struct control_outcome out;

    three();
    c.member_remove = (struct member_remove){.site = 3, .incarnation = nodes[2].id.incarnation};
    ck_assert_int_eq(ask(0, c).err, OK);
    UNTIL(voters(0) == 2 && voters(1) == 2);
    ck_assert_int_eq(ask(0, domain(DOMAIN_ADD, "a.example")).err, OK);
    UNTIL(has(1, "a.example"));
    c = domain(DOMAIN_ADD, "b.example");
    ck_assert_int_ne(control_propose_wait(nodes[2].t, &c, &out), OK);
    ck_assert(!has(2, "a.example"));
    ck_assert(!has(0, "b.example"));
}
END_TEST

START_TEST(a_wiped_member_is_replaced_by_one_with_another_key)
{
    three();
    control_thread_stop(&nodes[0].t); /* site 1; the fourth of our nodes is of site 1, too */
    {
        struct control_outcome o = ask(1, member_add(3));

        ck_assert_int_eq(o.err, OK);
        make_joiner(3, o.index, 2 | 4);
    }
    open_node(3);
    UNTIL(voters(3) == 3);
    ck_assert_int_eq(ask(3, domain(DOMAIN_ADD, "a.example")).err, OK);
    UNTIL(has(1, "a.example") && has(2, "a.example"));
    open_node(0); /* the old one comes back after all */
    poll(NULL, 0, QUIET_MS);
    ck_assert(!has(0, "a.example"));
    ck_assert_int_eq(ask(1, domain(DOMAIN_ADD, "b.example")).err, OK);
}
END_TEST

static struct control_outcome solo(int i)
{
    struct mailbox *box = mailbox_new(1);
    struct control_outcome out;
    struct control_answer *a;
    struct mail *m = NULL;

    ck_assert_int_eq(
        control_thread_solo(nodes[i].t, &(struct control_propose_to){.box = box, .kind = 7}),
        OK);
    while (m == NULL) {
        struct pollfd p = {.fd = mailbox_fd(box), .events = POLLIN};

        ck_assert_int_ge(poll(&p, 1, WAIT_MS), 1);
        m = mailbox_take(box);
    }
    ck_assert_int_eq(m->kind, 7);
    a = (struct control_answer *)(void *)m;
    out = (struct control_outcome){.err = a->err, .refused = a->refused};
    control_answer_free(&a);
    mailbox_free(&box);
    return out;
}

START_TEST(the_last_one_goes_on_alone_and_shuts_the_others_out)
{
    struct control_members m;
    struct control_outcome out;
    uint64_t before;

    three();
    out = solo(0);
    ck_assert_int_eq(out.err, E_CONFLICT);
    ck_assert_ptr_nonnull(out.refused);
    control_thread_stop(&nodes[1].t);
    control_thread_stop(&nodes[2].t);
    ck_assert_int_eq(solo(0).err, OK);
    ck_assert_int_eq(ask(0, domain(DOMAIN_ADD, "a.example")).err, OK);
    ck_assert_int_eq(control_members(control_thread_state(nodes[0].t), &m), OK);
    ck_assert_uint_eq(m.count, 1);
    UNTIL(lease(0).valid_until_ms > clock_boot_ms());
    before = (uint64_t)stat_get(STAT_CONTROL_STRANGERS_TOTAL);
    open_node(1);
    open_node(2);
    UNTIL((uint64_t)stat_get(STAT_CONTROL_STRANGERS_TOTAL) > before);
    UNTIL(leader(1) > 0); /* they are another cluster now */
    ck_assert_int_eq(ask(1, domain(DOMAIN_ADD, "b.example")).err, OK);
    ck_assert_int_eq(ask(0, domain(DOMAIN_ADD, "c.example")).err, OK);
    ck_assert(!has(0, "b.example") && !has(1, "a.example"));
    control_thread_stop(&nodes[0].t);
    open_node(0);
    ck_assert_int_eq(ask(0, domain(DOMAIN_ADD, "d.example")).err, OK);
    UNTIL(voters(0) == 1);
}
END_TEST

START_TEST(a_key_is_changed_while_all_runs)
{
    uint8_t public_key[PLANE_KEY_BYTES], secret_key[PLANE_KEY_BYTES];
    struct command c = {.kind = COMMAND_MEMBER_KEY};

    three();
    ck_assert_int_eq(plane_key_new(public_key, secret_key), OK);
    c.member_key = (struct member_key){
        .site = 2, .incarnation = nodes[1].id.incarnation, .keep_old = true};
    memcpy(c.member_key.key, public_key, sizeof public_key);
    ck_assert_int_eq(ask(1, c).err, OK);
    ck_assert_int_eq(ask(1, domain(DOMAIN_ADD, "a.example")).err, OK);
    control_thread_rekey(nodes[1].t, public_key, secret_key);
    ck_assert_int_eq(ask(1, domain(DOMAIN_ADD, "b.example")).err, OK);
    c.member_key.keep_old = false;
    ck_assert_int_eq(ask(1, c).err, OK);
    ck_assert_int_eq(ask(1, domain(DOMAIN_ADD, "c.example")).err, OK);
    UNTIL(all_know("c.example"));
    /* Under the old key it gets nothing any more. */
    control_thread_rekey(nodes[1].t, nodes[1].identity.public_key,
                         nodes[1].identity.secret_key);
    UNTIL(leader(1) < 0);
    control_thread_rekey(nodes[1].t, public_key, secret_key);
    ck_assert_int_eq(ask(1, domain(DOMAIN_ADD, "d.example")).err, OK);
}
END_TEST

/* It does not know the leader's key any more, and shuts it out: the third has to tell. */
START_TEST(who_was_away_while_a_key_was_changed_comes_back)
{
    uint8_t public_key[PLANE_KEY_BYTES], secret_key[PLANE_KEY_BYTES];
    struct command c = {.kind = COMMAND_MEMBER_KEY};

    three();
    control_thread_stop(&nodes[2].t);
    ck_assert_int_eq(plane_key_new(public_key, secret_key), OK);
    c.member_key = (struct member_key){.site = 2, .incarnation = nodes[1].id.incarnation};
    memcpy(c.member_key.key, public_key, sizeof public_key);
    ck_assert_int_eq(ask(0, c).err, OK); /* revoked at once */
    control_thread_rekey(nodes[1].t, public_key, secret_key);
    ck_assert_int_eq(ask(1, domain(DOMAIN_ADD, "a.example")).err, OK);
    control_thread_transfer(nodes[0].t, nodes[1].id.incarnation);
    UNTIL(leader(0) == 1 && leader(1) == 1);
    open_node(2);
    UNTIL(has(2, "a.example"));
    ck_assert_int_eq(ask(2, domain(DOMAIN_ADD, "b.example")).err, OK);
    ck_assert_int_eq(leader(2), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control_thread_cluster");
    TCase *tc = tcase_create("control_thread_cluster");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 180);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, three_members_find_each_other_and_agree);
    tcase_add_test(tc, what_is_put_anywhere_is_seen_there_when_it_is_answered);
    tcase_add_test(tc, a_leader_that_stops_hands_over_and_the_others_go_on);
    tcase_add_test(tc, a_leader_that_stands_still_is_replaced_and_comes_back_as_a_follower);
    tcase_add_test(tc, one_alone_of_three_decides_nothing);
    tcase_add_test(tc, a_stranger_is_ignored_and_counted);
    tcase_add_test(tc, a_removed_member_is_shut_out);
    tcase_add_test(tc, a_wiped_member_is_replaced_by_one_with_another_key);
    tcase_add_test(tc, the_last_one_goes_on_alone_and_shuts_the_others_out);
    tcase_add_test(tc, a_key_is_changed_while_all_runs);
    tcase_add_test(tc, who_was_away_while_a_key_was_changed_comes_back);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
