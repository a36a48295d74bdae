/* What goes and where: order, routes, domains, operators, deadlines, limits. Virtual time. */
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

static enum err on_domain(enum sched_event_type type, const char *name, uint64_t generation)
{
    return w_step(w, (struct sched_event){
                         .type = type, .domain = str_of(name), .generation = generation});
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

static uint32_t message_of(const char *name, uint64_t generation)
{
    uint32_t k = w->msg_count++;

    snprintf(w->msgs[k].domain, sizeof w->msgs[k].domain, "%s", name);
    w->msgs[k].m = (struct sched_message){.id = w_id(k),
                                          .domain = str_of(w->msgs[k].domain),
                                          .generation = generation,
                                          .received_ms = w->now.cluster_ms,
                                          .deadline_ms = w->now.cluster_ms + 14 * W_DAY,
                                          .is_fresh = true};
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_NEW, .message = w->msgs[k].m}),
        OK);
    return k;
}

/* --- order --- */

START_TEST(oldest_mail_goes_first_however_it_came_in)
{
    set("d1", 0, (struct sched_settings){.max_conns = 1});
    w_temper(w, 1, T_REFUSE);
    for (int i = 0; i < 40; i++) {
        uint32_t k = w_message(w, "d1", true);

        w->msgs[k].m.received_ms -= (uint64_t)(i * 37 % 40) * 1000 + 100000;
        w_changed(w, k);
    }
    w_wait(w, 3000);
    w_temper(w, 1, T_UP);
    w_wait(w, 10000);
    for (uint32_t i = 0; i < 40; i++)
        for (uint32_t k = 0; k < 40; k++)
            if (w->msgs[i].m.received_ms < w->msgs[k].m.received_ms)
                ck_assert_uint_lt(w->msgs[i].done_ms, w->msgs[k].done_ms);
}
END_TEST

START_TEST(new_mail_is_every_third_while_old_mail_waits)
{
    uint32_t old = 0, fresh = 0;

    set("d1", 0, (struct sched_settings){.max_conns = 1});
    w_temper(w, 1, T_REFUSE);
    for (int i = 0; i < 300; i++)
        w_message(w, "d1", true);
    w_wait(w, 3000);
    w_temper(w, 1, T_UP);
    while (w->delivered == 0)
        w_wait(w, 10);
    for (int i = 0; i < 300; i++)
        w_message(w, "d1", true);
    w_wait(w, 3000);
    for (uint32_t i = 0; i < 600; i++) {
        old += i < 300 && w->msgs[i].done;
        fresh += i >= 300 && w->msgs[i].done;
    }
    ck_assert_uint_gt(fresh, 30);
    ck_assert_uint_ge(old, 2 * fresh);
    ck_assert_uint_le(old, 2 * fresh + 8);
    w_wait(w, 20000);
    ck_assert_uint_eq(w->delivered, 600);
}
END_TEST

START_TEST(domains_of_one_address_take_turns)
{
    w->primaries[1].job_ms = 100;
    for (int i = 0; i < 2000; i++)
        w_message(w, "d1.big", true);
    w_wait(w, 3000);
    for (int i = 0; i < 5; i++)
        w_message(w, "d1.small", true);
    w_wait(w, 1500);
    for (uint32_t i = 2000; i < 2005; i++)
        ck_assert(w->msgs[i].done);
}
END_TEST

START_TEST(domain_limit_holds_where_domains_share_an_address)
{
    uint32_t mine = 0, most = 0;

    w->primaries[1].job_ms = 100;
    set("d1.thin", 0, (struct sched_settings){.max_conns = 2});
    for (int i = 0; i < 300; i++) {
        w_message(w, "d1.thin", true);
        w_message(w, "d1.wide", true);
    }
    for (int t = 0; t < 300; t++) {
        w_wait(w, 20);
        mine = 0;
        for (int i = 0; i < W_CONNS; i++) {
            bool has = false;

            for (uint32_t k = 0; w->conns[i].id != 0 && k < w->conns[i].job_count; k++)
                has |= w_index(w->conns[i].jobs[k]) % 2 == 0;
            mine += has;
        }
        most = mine > most ? mine : most;
    }
    ck_assert_uint_eq(most, 2);
    ck_assert_uint_ge(w->primaries[1].busy_peak, 10);
    w_wait(w, 60000);
    ck_assert_uint_eq(w->delivered, 600);
}
END_TEST

/* --- routes --- */

static enum route_result answer;
static uint32_t answer_primary, answer_ttl_s = 60;

static void answers(struct world *world, const char *name, struct route *r)
{
    (void)world;
    (void)name;
    r->result = answer;
    if (answer == ROUTE_OK) {
        w_route_add(r, answer_primary, 10);
        r->ttl_s = answer_ttl_s;
    }
}

START_TEST(no_reason_of_a_route_ever_ends_a_message)
{
    answer = (enum route_result)(ROUTE_NO_ANSWER + _i);
    answer_primary = 1;
    w->route_of = answers;
    w->checks = false;
    w_message(w, "any", true);
    w_wait(w, 13 * W_DAY);
    ck_assert_uint_eq(w->expires, 0);
    ck_assert_uint_eq(w->failed_routes, 1); /* told once, not at each look-up */
    ck_assert_int_eq(w->last_failed_route.route_result, answer);
    ck_assert(!w->last_failed_route.is_stale);
    ck_assert_uint_le(w->resolves, 13 * 1440 + 10);
    answer = ROUTE_OK;
    w_wait(w, 61000);
    ck_assert_uint_eq(w->delivered, 1);
    sched_check(w->s);
}
END_TEST

START_TEST(failed_look_ups_are_repeated_after_1_2_4_up_to_60_seconds)
{
    static const uint64_t at[] = {0, 1, 3, 7, 15, 31, 63, 123, 183};

    answer = ROUTE_NO_ANSWER;
    w->route_of = answers;
    w->dns_ms = 0;
    w_message(w, "any", true);
    for (uint32_t i = 0; i < sizeof at / sizeof *at; i++) {
        w_run(w, 1000000 + at[i] * 1000 + 500);
        ck_assert_uint_eq(w->resolves, i + 1);
    }
}
END_TEST

/* Finding C2: DNS may fail for as long as it likes. */
START_TEST(last_good_route_is_used_while_look_ups_fail)
{
    answer = ROUTE_OK;
    answer_primary = 1;
    w->route_of = answers;
    set("cust", 7, (struct sched_settings){0});
    for (uint32_t i = 0; i < 20; i++) {
        message_of("cust", 7);
        w_wait(w, 3600000);
        ck_assert_uint_eq(w->delivered, i + 1);
        answer = (enum route_result)(ROUTE_NO_ANSWER + i % 7);
    }
    ck_assert(w->last_failed_route.is_stale);
    answer = ROUTE_OK; /* and when it moved, the new one is taken */
    answer_primary = 2;
    w_wait(w, 61000);
}
END_TEST

START_TEST(route_is_refreshed_by_its_ttl_only_while_mail_waits)
{
    answer = ROUTE_OK;
    answer_primary = 1;
    w->route_of = answers;
    set("any", 0, (struct sched_settings){0});
    w_message(w, "any", true);
    w_wait(w, 3600000);
    ck_assert_uint_eq(w->resolves, 1);
    w_temper(w, 1, T_REFUSE);
    w_message(w, "any", true);
    w_wait(w, 600000);
    ck_assert_uint_ge(w->resolves, 10); /* TTL 60 s */
    ck_assert_uint_le(w->resolves, 12);
    answer_primary = 2; /* the primary has moved */
    w_wait(w, 61000);
    ck_assert_uint_eq(w->primaries[2].taken, 1);
}
END_TEST

START_TEST(changed_settings_void_the_route_at_once)
{
    answer = ROUTE_OK;
    answer_primary = 1;
    w->route_of = answers;
    set("any", 0, (struct sched_settings){.route_version = 1});
    w_temper(w, 1, T_REFUSE);
    w_message(w, "any", true);
    w_wait(w, 5000);
    w->dns_ms = 100;
    w_temper(w, 1, T_UP);
    answer_primary = 2;
    set("any", 0, (struct sched_settings){.route_version = 2});
    w_wait(w, 1000);
    ck_assert_uint_eq(w->primaries[1].taken, 0);
    ck_assert_uint_eq(w->primaries[2].taken, 1);
}
END_TEST

START_TEST(route_of_which_nothing_answers_is_looked_up_every_minute)
{
    answer = ROUTE_OK;
    answer_primary = 1;
    answer_ttl_s = 3600;
    w->route_of = answers;
    w_temper(w, 1, T_REFUSE);
    w_message(w, "any", true);
    w_wait(w, 5000);
    answer_primary = 2; /* the primary has moved */
    w_wait(w, 61000);
    ck_assert_uint_eq(w->primaries[2].taken, 1);
}
END_TEST

START_TEST(answer_to_a_question_of_old_settings_is_thrown_away)
{
    answer = ROUTE_OK;
    answer_primary = 1;
    w->route_of = answers;
    w->dns_ms = 1000;
    set("any", 0, (struct sched_settings){.route_version = 1});
    w_message(w, "any", true);
    w_wait(w, 500);
    set("any", 0, (struct sched_settings){.route_version = 2});
    w_wait(w, 1000); /* the old answer has come */
    answer_primary = 2;
    w_wait(w, 2000);
    ck_assert_uint_eq(w->primaries[1].opens, 0);
    ck_assert_uint_eq(w->primaries[2].taken, 1);
}
END_TEST

/* --- domains --- */

START_TEST(look_ups_under_way_are_limited_and_our_domains_go_first)
{
    uint32_t ours;
    char name[16];

    w->dns_ms = 10000;
    w->checks = false;
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "d1.f%d", i);
        w_message(w, name, true);
    }
    w_wait(w, 100);
    ck_assert_uint_eq(w->resolving_peak, LIMIT_ROUTES_FOREIGN);
    set("d2", 7, (struct sched_settings){0});
    ours = message_of("d2", 7);
    w_wait(w, 10100); /* one look-up, whatever waits besides */
    ck_assert(w->msgs[ours].done);
    w_wait(w, 300000);
    ck_assert_uint_eq(w->delivered, 501);
    ck_assert_uint_le(w->resolving_peak, LIMIT_ROUTES_FOREIGN + 1);
    sched_check(w->s);
}
END_TEST

START_TEST(mail_of_an_earlier_owner_of_a_domain_is_not_tried)
{
    uint32_t old = message_of("d1", 3), now = message_of("d1", 4);

    set("d1", 4, (struct sched_settings){0});
    w_wait(w, 60000);
    ck_assert(!w->msgs[old].done && w->msgs[old].tries == 0);
    ck_assert(w->msgs[now].done);
    set("d1", 3, (struct sched_settings){0});
    w_wait(w, 1000);
    ck_assert(w->msgs[old].done);
    ck_assert_int_eq(on_domain(SCHED_EV_DOMAIN_GONE, "d1", 3), OK);
    ck_assert_int_eq(on_domain(SCHED_EV_DOMAIN_GONE, "d1", 3), E_NOTFOUND);
    old = message_of("d1", 3);
    w_wait(w, 60000);
    ck_assert_uint_eq(w->msgs[old].tries, 0);
}
END_TEST

START_TEST(paused_domain_does_nothing_and_its_mail_still_expires)
{
    uint32_t i;

    set("d1", 0, (struct sched_settings){.is_paused = true});
    i = w_message(w, "d1", true);
    w->msgs[i].m.deadline_ms = w->now.cluster_ms + 100000;
    w_changed(w, i);
    w_message(w, "d1", true);
    w_wait(w, 99000);
    ck_assert_uint_eq(w->opens + w->resolves, 0);
    w_wait(w, 2000);
    ck_assert_uint_eq(w->expires, 1);
    set("d1", 0, (struct sched_settings){.is_paused = false});
    w_wait(w, 1000);
    ck_assert_uint_eq(w->delivered, 1);
}
END_TEST

START_TEST(domain_that_is_not_ours_is_forgotten_with_its_last_message)
{
    struct sched_counts c;

    w_message(w, "d1", true);
    w_wait(w, 30000);
    ck_assert_uint_eq(w->delivered, 1);
    sched_counts(w->s, &c);
    ck_assert_uint_eq(c.domains + c.dests + c.conns + c.messages, 0);
}
END_TEST

/* --- operators --- */

START_TEST(held_message_stays_until_it_is_released)
{
    uint32_t i = w_message(w, "d1", true);

    ck_assert_int_eq(on_id(SCHED_EV_HOLD, i), OK);
    w_wait(w, 60000);
    ck_assert_uint_eq(w->opens, 0);
    ck_assert_int_eq(state_of(i), SCHED_MSG_HELD);
    ck_assert_int_eq(on_id(SCHED_EV_RELEASE, i), OK);
    w_wait(w, 1000);
    ck_assert(w->msgs[i].done);
    ck_assert_int_eq(on_id(SCHED_EV_HOLD, i), E_NOTFOUND);
}
END_TEST

START_TEST(hold_of_a_message_under_way_takes_effect_after_the_try)
{
    uint32_t i;

    w_temper(w, 1, T_DEFER);
    w->primaries[1].job_ms = 5000;
    w->retry_ms = 10000;
    i = w_message(w, "d1", true);
    w_wait(w, 1000);
    ck_assert_int_eq(state_of(i), SCHED_MSG_GIVEN);
    ck_assert_int_eq(on_id(SCHED_EV_HOLD, i), OK);
    w->msgs[i].m.held = true; /* what the shell writes next */
    w_wait(w, 60000);
    ck_assert_int_eq(state_of(i), SCHED_MSG_HELD);
    ck_assert_uint_eq(w->msgs[i].tries, 1);
}
END_TEST

START_TEST(retry_now_goes_past_every_clock)
{
    w_temper(w, 1, T_DEFER);
    w->retry_ms = 3600000;
    for (int i = 0; i < 4; i++)
        w_message(w, i < 3 ? "d1.a" : "d1.b", true);
    w_wait(w, 10000);
    ck_assert_uint_eq(w->gives, 4);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_RETRY_NOW,
                                                    .scope = SCHED_MESSAGE,
                                                    .id = w_id(0)}),
                     OK);
    w_wait(w, 5000);
    ck_assert_uint_eq(w->gives, 5);
    ck_assert_uint_eq(w->msgs[0].tries, 2);
    ck_assert(w->msgs[0].last_recovered);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_RETRY_NOW,
                                                    .scope = SCHED_DOMAIN,
                                                    .domain = STR("d1.a")}),
                     OK);
    w_wait(w, 5000);
    ck_assert_uint_eq(w->gives, 8);
    ck_assert_uint_eq(w->msgs[3].tries, 1);
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_RETRY_NOW, .scope = SCHED_ALL}), OK);
    w_wait(w, 5000);
    ck_assert_uint_eq(w->gives, 12);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_RETRY_NOW,
                                                    .scope = SCHED_DOMAIN,
                                                    .domain = STR("none")}),
                     E_NOTFOUND);
}
END_TEST

START_TEST(retry_now_probes_and_looks_up_at_once)
{
    uint32_t opens;

    answer = ROUTE_NO_ANSWER;
    w->route_of = answers;
    w_message(w, "any", true);
    w_wait(w, 3600500);
    answer = ROUTE_OK;
    answer_primary = 1;
    w_temper(w, 1, T_REFUSE);
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_RETRY_NOW, .scope = SCHED_ALL}), OK);
    w_wait(w, 500);
    ck_assert_uint_eq(w->opens, 1);
    w_wait(w, 3600000 + 2500);
    opens = w->opens;
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_RETRY_NOW, .scope = SCHED_ALL}), OK);
    w_wait(w, 50);
    ck_assert_uint_eq(w->opens, opens + 1);
}
END_TEST

static enum err probe(const char *name)
{
    return w_step(w, (struct sched_event){
                         .type = SCHED_EV_PROBE_NOW, .domain = str_of(name), .token = 77});
}

START_TEST(operators_probe_tells_each_address_and_leaves_no_connection)
{
    set("d1", 0, (struct sched_settings){0});
    ck_assert_int_eq(probe("d9"), E_NOTFOUND);
    ck_assert_int_eq(probe("d1"), OK);
    ck_assert_int_eq(probe("d1"), E_AGAIN);
    w_wait(w, 100);
    ck_assert_uint_eq(w->probe_results, 1);
    ck_assert_int_eq(w->last_result.failure, SCHED_FAIL_NONE);
    ck_assert_uint_eq(w->last_result.token, 77);
    ck_assert_uint_eq(w->last_result.left, 0);
    ck_assert_uint_eq(w->last_result.latency_ms, 20);
    ck_assert(str_eq(w->last_result.domain, STR("d1")));
    ck_assert_uint_eq(w->quits, 1);
    ck_assert_uint_eq(w->open_conns, 0);
    w_temper(w, 1, T_REFUSE);
    ck_assert_int_eq(probe("d1"), OK);
    w_wait(w, 100);
    ck_assert_uint_eq(w->probe_results, 2);
    ck_assert_int_eq(w->last_result.failure, SCHED_FAIL_CONNECT);
    w_wait(w, 60000);
    ck_assert_uint_eq(w->opens, 2); /* no mail: nobody goes on probing */
}
END_TEST

START_TEST(operators_probe_without_a_route_tells_why)
{
    answer = ROUTE_NULL_MX;
    w->route_of = answers;
    set("any", 0, (struct sched_settings){0});
    ck_assert_int_eq(probe("any"), OK);
    w_wait(w, 100);
    ck_assert_uint_eq(w->probe_results, 1);
    ck_assert_int_eq(w->last_result.route_result, ROUTE_NULL_MX);
    ck_assert_uint_eq(w->last_result.left, 0);
}
END_TEST

START_TEST(stop_ends_idle_connections_and_begins_nothing)
{
    w->primaries[1].job_ms = 1000;
    w_temper(w, 2, T_HANG);
    w_message(w, "d1", true);
    w_message(w, "d2", true);
    w_wait(w, 500);
    ck_assert_uint_eq(w->open_conns, 2);
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_DRAIN_STOP}), OK);
    w_wait(w, 10);
    ck_assert_uint_eq(w->open_conns, 1); /* the one that works */
    w_message(w, "d3", true);
    w_wait(w, 60000);
    ck_assert_uint_eq(w->open_conns, 0);
    ck_assert_uint_eq(w->delivered, 1);
    ck_assert_uint_eq(w->resolves, 2);
}
END_TEST

/* --- deadlines --- */

START_TEST(message_expires_exactly_at_its_deadline)
{
    uint64_t deadline;

    w->checks = false;
    w_temper(w, 1, T_REFUSE);
    for (int i = 0; i < 3; i++)
        w_message(w, "d1", true);
    on_id(SCHED_EV_HOLD, 1);
    deadline = w->msgs[0].m.deadline_ms - w->now.cluster_ms + w->now.boot_ms;
    w_run(w, deadline - 1);
    ck_assert_uint_eq(w->expires, 0);
    w_run(w, deadline);
    ck_assert_uint_eq(w->expires, 3);
    w_wait(w, 60000);
    ck_assert_uint_eq(w->expires, 3);
    sched_check(w->s);
}
END_TEST

START_TEST(message_under_way_at_its_deadline_expires_only_after_a_failed_try)
{
    uint32_t i;

    w->primaries[1].job_ms = 10000;
    i = w_message(w, "d1", true);
    w->msgs[i].m.deadline_ms = w->now.cluster_ms + 5000;
    w_changed(w, i);
    w_wait(w, 9000);
    ck_assert_uint_eq(w->expires, 0);
    w_temper(w, 1, T_DEFER);
    w_wait(w, 2000);
    ck_assert_uint_eq(w->expires, 1);
}
END_TEST

/* The boot clock may be anything; only cluster time ends mail. */
START_TEST(clock_that_stands_still_expires_nothing)
{
    w->checks = false;
    w_temper(w, 1, T_REFUSE);
    w_message(w, "d1", true);
    for (int i = 0; i < 30; i++) {
        uint64_t cluster = w->now.cluster_ms;

        w_wait(w, 60000);
        w->now.boot_ms += W_DAY;
        w->now.cluster_ms = cluster + 1;
    }
    ck_assert_uint_eq(w->expires, 0);
}
END_TEST

/* Cluster time moves in steps: between two of them nobody spins. */
START_TEST(stepping_clock_is_not_waited_for_in_milliseconds)
{
    uint32_t i;

    set("d1", 0, (struct sched_settings){.is_paused = true});
    i = w_message(w, "d1", true);
    w->msgs[i].m.next_ms = w->now.cluster_ms + 3;
    w_changed(w, i);
    w_pull(w);
    ck_assert_uint_eq(sched_wakeup_ms(w->s, w->now), w->now.boot_ms + 3);
    w->now.boot_ms += 3;
    w_pull(w);
    ck_assert_uint_eq(sched_wakeup_ms(w->s, w->now), w->now.boot_ms + 50);
}
END_TEST

START_TEST(notification_goes_to_the_domain_of_the_sender)
{
    uint32_t i;

    w_temper(w, 1, T_REFUSE);
    i = w_message(w, "d1", true);
    w_wait(w, 5000);
    snprintf(w->msgs[i].domain, sizeof w->msgs[i].domain, "d2");
    w->msgs[i].m.domain = str_of(w->msgs[i].domain);
    w->msgs[i].m.phase = PHASE_DSN;
    w_changed(w, i);
    w_wait(w, 1000);
    ck_assert_uint_eq(w->primaries[2].taken, 1);
    w_wait(w, 20000);
    ck_assert_uint_le(w->primaries[1].opens, 8); /* nobody waits for it any more */
}
END_TEST

static void add_routes(TCase *tc)
{
    tcase_add_loop_test(tc, no_reason_of_a_route_ever_ends_a_message, 0,
                        ROUTE_RESULTS - ROUTE_NO_ANSWER);
    tcase_add_test(tc, failed_look_ups_are_repeated_after_1_2_4_up_to_60_seconds);
    tcase_add_test(tc, last_good_route_is_used_while_look_ups_fail);
    tcase_add_test(tc, route_is_refreshed_by_its_ttl_only_while_mail_waits);
    tcase_add_test(tc, changed_settings_void_the_route_at_once);
    tcase_add_test(tc, route_of_which_nothing_answers_is_looked_up_every_minute);
    tcase_add_test(tc, answer_to_a_question_of_old_settings_is_thrown_away);
    tcase_add_test(tc, look_ups_under_way_are_limited_and_our_domains_go_first);
}

static void add_operators(TCase *tc)
{
    tcase_add_test(tc, mail_of_an_earlier_owner_of_a_domain_is_not_tried);
    tcase_add_test(tc, paused_domain_does_nothing_and_its_mail_still_expires);
    tcase_add_test(tc, domain_that_is_not_ours_is_forgotten_with_its_last_message);
    tcase_add_test(tc, held_message_stays_until_it_is_released);
    tcase_add_test(tc, hold_of_a_message_under_way_takes_effect_after_the_try);
    tcase_add_test(tc, retry_now_goes_past_every_clock);
    tcase_add_test(tc, retry_now_probes_and_looks_up_at_once);
    tcase_add_test(tc, operators_probe_tells_each_address_and_leaves_no_connection);
    tcase_add_test(tc, operators_probe_without_a_route_tells_why);
    tcase_add_test(tc, stop_ends_idle_connections_and_begins_nothing);
}

static void add_rest(TCase *tc)
{
    tcase_add_test(tc, message_expires_exactly_at_its_deadline);
    tcase_add_test(tc, message_under_way_at_its_deadline_expires_only_after_a_failed_try);
    tcase_add_test(tc, clock_that_stands_still_expires_nothing);
    tcase_add_test(tc, stepping_clock_is_not_waited_for_in_milliseconds);
    tcase_add_test(tc, notification_goes_to_the_domain_of_the_sender);
}

int main(void)
{
    Suite *suite = suite_create("sched_queue");
    TCase *tc = tcase_create("what");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, oldest_mail_goes_first_however_it_came_in);
    tcase_add_test(tc, new_mail_is_every_third_while_old_mail_waits);
    tcase_add_test(tc, domains_of_one_address_take_turns);
    tcase_add_test(tc, domain_limit_holds_where_domains_share_an_address);
    add_routes(tc);
    add_operators(tc);
    add_rest(tc);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
