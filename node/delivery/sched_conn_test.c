/* Connections and what the shell may get wrong: TLS, reuse, sharing, limits. Virtual time. */
#include "node/delivery/sched_world.h"

#include <check.h>

static struct world *w;

static void setup(void)
{
    w = w_new(&(struct sched_options){.seed = 1});
    w->checks = true;
}

static void teardown(void)
{
    w_free(&w);
}

static enum err on_id(enum sched_event_type type, uint32_t i)
{
    return w_step(w, (struct sched_event){.type = type, .id = w_id(i)});
}

static void set(const char *name, uint64_t generation, struct sched_settings settings)
{
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_DOMAIN_SET,
                                                    .domain = str_of(name),
                                                    .generation = generation,
                                                    .settings = settings}),
                     OK);
}

static enum sched_message_state state_of(uint32_t i)
{
    struct sched_message_view v;

    ck_assert(sched_message_view(w->s, w_id(i), &v));
    return v.state;
}

/* --- TLS --- */

START_TEST(tls_that_fails_is_left_out_at_once_and_for_an_hour)
{
    w->primaries[1].breaks_tls = true;
    set("d1", 0, (struct sched_settings){.tls = SCHED_TLS_TRY});
    w_message(w, "d1", true);
    w_wait(w, 200);
    ck_assert_uint_eq(w->delivered, 1);
    ck_assert_uint_eq(w->primaries[1].opens, 2);
    ck_assert_uint_eq(w->downs, 0);
    w_wait(w, 3500000);
    w_message(w, "d1", true);
    w_wait(w, 200);
    ck_assert_uint_eq(w->primaries[1].opens, 3);
    w_wait(w, 200000);
    w->primaries[1].breaks_tls = false;
    w_message(w, "d1", true);
    w_wait(w, 200);
    ck_assert_int_eq(w->primaries[1].last_tls, SCHED_TLS_TRY);
}
END_TEST

START_TEST(required_tls_that_fails_means_down_for_that_domain_alone)
{
    w->primaries[1].breaks_tls = true;
    set("d1.strict", 0, (struct sched_settings){.tls = SCHED_TLS_REQUIRE});
    w_message(w, "d1.strict", true);
    w_message(w, "d1.easy", true);
    w_wait(w, 60000);
    ck_assert(!w->msgs[0].done);
    ck_assert(w->msgs[1].done);
    ck_assert_uint_eq(w->downs, 1);
    ck_assert_int_eq(w->last_down.failure, SCHED_FAIL_TLS);
    w->primaries[1].breaks_tls = false;
    w_wait(w, 2000);
    ck_assert(w->msgs[0].done);
    ck_assert_int_eq(w->primaries[1].last_tls, SCHED_TLS_REQUIRE);
}
END_TEST

/* --- connections --- */

START_TEST(connection_is_used_again_and_ends_after_five_idle_seconds)
{
    for (int i = 0; i < 5; i++) {
        w_message(w, "d1", true);
        w_wait(w, 3000);
    }
    ck_assert_uint_eq(w->opens, 1);
    ck_assert_uint_eq(w->quits, 0);
    w_wait(w, 3000);
    ck_assert_uint_eq(w->quits, 1);
    ck_assert_uint_eq(w->open_conns, 0);
}
END_TEST

START_TEST(connection_ends_after_so_many_messages)
{
    w->checks = false;
    w->primaries[1].job_ms = 1;
    set("d1", 0, (struct sched_settings){.max_conns = 1});
    for (int i = 0; i < LIMIT_MESSAGES_PER_CONN * 2 + 1; i++)
        w_message(w, "d1", true);
    w_wait(w, 20000);
    ck_assert_uint_eq(w->delivered, LIMIT_MESSAGES_PER_CONN * 2 + 1);
    ck_assert_uint_eq(w->opens, 3);
}
END_TEST

START_TEST(too_few_connections_are_shared_fairly)
{
    char name[16];
    uint32_t served = 0;

    sched_free(&w->s);
    w->s = sched_new(&(struct sched_options){.seed = 1, .conns_max = 10});
    w->checks = false;
    for (uint32_t d = 1; d <= 50; d++) {
        snprintf(name, sizeof name, "d%u", d);
        for (int i = 0; i < (d == 1 ? 5000 : 100); i++)
            w_message(w, name, true);
    }
    w_wait(w, 15000);
    ck_assert_uint_le(w->open_peak, 10);
    for (uint32_t d = 2; d <= 50; d++)
        served += w->primaries[d].taken > 0;
    ck_assert_uint_eq(served, 49);
    w_wait(w, 120000);
    ck_assert_uint_eq(w->delivered, 5000 + 4900);
    sched_check(w->s);
}
END_TEST

START_TEST(nobody_keeps_a_connection_while_others_have_none)
{
    char name[16];
    uint32_t served = 0;

    sched_free(&w->s);
    w->s = sched_new(&(struct sched_options){.seed = 1, .conns_max = 10});
    w->checks = false;
    for (uint32_t d = 1; d <= 50; d++) {
        w->primaries[d].job_ms = 100;
        snprintf(name, sizeof name, "d%u", d);
        for (int i = 0; i < 300; i++)
            w_message(w, name, true);
    }
    w_wait(w, 20000);
    for (uint32_t d = 1; d <= 50; d++)
        served += w->primaries[d].taken > 0;
    ck_assert_uint_eq(served, 50);
}
END_TEST

START_TEST(large_message_gets_no_company_on_its_connection)
{
    w->primaries[1].job_ms = 2000;
    set("d1", 0, (struct sched_settings){.max_conns = 1});
    for (int i = 0; i < 4; i++) {
        uint32_t k = w_message(w, "d1", true);

        w->msgs[k].m.body_bytes = 40 << 20;
        w_changed(w, k);
    }
    w_wait(w, 3000);
    ck_assert_uint_eq(w->gives, 2);
    w_wait(w, 7000);
    ck_assert_uint_eq(w->delivered, 4);
}
END_TEST

START_TEST(want_of_descriptors_is_not_the_fault_of_the_primary)
{
    struct sched_action a;
    uint32_t opens = 0;

    w_message(w, "d1", true);
    w_pull(w);
    w->now.boot_ms += 5;
    w->now.cluster_ms += 5;
    while (w->event_count > 0) {
        struct w_event e = w_pop(w);

        w_happen(w, &e);
    }
    for (int i = 0; i < 30; i++) {
        while (sched_next_action(w->s, w->now, &a)) {
            ck_assert_int_ne(a.type, SCHED_ACT_PRIMARY_DOWN);
            if (a.type != SCHED_ACT_OPEN)
                continue;
            opens++;
            ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_CONN_FAILED,
                                                            .conn = a.conn,
                                                            .failure = SCHED_FAIL_LOCAL}),
                             OK);
        }
        w->now.boot_ms += 100;
        w->now.cluster_ms += 100;
    }
    ck_assert_uint_ge(opens, 3);
    ck_assert_uint_le(opens, 4);
}
END_TEST

static void one_is_ours(struct world *world, const char *name, struct route *r)
{
    (void)world;
    (void)name;
    w_route_add(r, 1, 10);
    w_route_add(r, 2, 20);
}

START_TEST(address_we_cannot_reach_for_reasons_of_ours_is_passed_over)
{
    w->route_of = one_is_ours;
    w_temper(w, 1, T_LOCAL);
    w_message(w, "any", true);
    w_wait(w, 100);
    ck_assert_uint_eq(w->primaries[2].taken, 1);
    ck_assert_uint_eq(w->downs, 0);
}
END_TEST

/* --- what the shell may get wrong or late --- */

START_TEST(message_is_known_once_and_late_events_do_nothing)
{
    uint32_t i;

    w->primaries[1].job_ms = 1000;
    i = w_message(w, "d1", true);
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_NEW, .message = w->msgs[i].m}),
        E_EXISTS);
    w_wait(w, 500);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_CHANGED,
                                                    .message = w->msgs[i].m}),
                     E_CONFLICT);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_CONN_READY, .conn = 99}),
                     E_NOTFOUND);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_CONN_CLOSED, .conn = 0}),
                     E_NOTFOUND);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_JOB_DONE,
                                                    .conn = w->conns[0].id,
                                                    .id = w_id(i + 1)}),
                     E_NOTFOUND);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_ROUTE_ANSWER,
                                                    .domain = STR("d1"),
                                                    .serial = 1}),
                     E_NOTFOUND);
    ck_assert_int_eq(on_id(SCHED_EV_MESSAGE_GONE, i + 1), E_NOTFOUND);
    w_wait(w, 2000);
    ck_assert_uint_eq(w->delivered, 1);
}
END_TEST

START_TEST(message_may_be_gone_while_it_is_under_way)
{
    struct sched_counts c;
    uint32_t i;

    w->primaries[1].job_ms = 1000;
    i = w_message(w, "d1", true);
    w_wait(w, 500);
    ck_assert_int_eq(on_id(SCHED_EV_MESSAGE_GONE, i), OK);
    sched_check(w->s);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_JOB_DONE,
                                                    .conn = w->conns[0].id,
                                                    .id = w_id(i),
                                                    .job = SCHED_JOB_OK}),
                     OK);
    w->conns[0].job_count = 0;
    w->event_count = 0;
    w_wait(w, 10000);
    sched_counts(w->s, &c);
    ck_assert_uint_eq(c.messages + c.domains + c.conns, 0);
}
END_TEST

START_TEST(limits_are_answered_not_asserted)
{
    struct sched_message m = {.domain = STR("d1"), .deadline_ms = UINT64_MAX};

    sched_free(&w->s);
    w->s = sched_new(&(struct sched_options){.messages_max = 2, .domains_max = 1});
    for (uint32_t i = 0; i < 4; i++) {
        enum err expect[] = {OK, E_FULL, OK, E_FULL};

        m.id = w_id(i);
        m.domain = i == 1 ? STR("d2") : STR("d1");
        ck_assert_int_eq(
            w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_NEW, .message = m}),
            expect[i]);
        sched_check(w->s);
    }
    m.id = w_id(0);
    m.domain = STR("d2");
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_CHANGED, .message = m}),
        E_FULL);
    ck_assert_int_eq(state_of(0), SCHED_MSG_READY);
}
END_TEST

START_TEST(entry_of_a_message_is_small)
{
    struct sched_counts c;

    sched_counts(w->s, &c);
    ck_assert_uint_le(c.entry_bytes, 96);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched_conn");
    TCase *tc = tcase_create("conn");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, tls_that_fails_is_left_out_at_once_and_for_an_hour);
    tcase_add_test(tc, required_tls_that_fails_means_down_for_that_domain_alone);
    tcase_add_test(tc, connection_is_used_again_and_ends_after_five_idle_seconds);
    tcase_add_test(tc, connection_ends_after_so_many_messages);
    tcase_add_test(tc, too_few_connections_are_shared_fairly);
    tcase_add_test(tc, nobody_keeps_a_connection_while_others_have_none);
    tcase_add_test(tc, large_message_gets_no_company_on_its_connection);
    tcase_add_test(tc, want_of_descriptors_is_not_the_fault_of_the_primary);
    tcase_add_test(tc, address_we_cannot_reach_for_reasons_of_ours_is_passed_over);
    tcase_add_test(tc, message_is_known_once_and_late_events_do_nothing);
    tcase_add_test(tc, message_may_be_gone_while_it_is_under_way);
    tcase_add_test(tc, limits_are_answered_not_asserted);
    tcase_add_test(tc, entry_of_a_message_is_small);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
