/* The scheduler in a fleet: what is tried at once, what is stuck. */
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

static enum err try_now(uint32_t primary)
{
    return w_step(w,
                  (struct sched_event){.type = SCHED_EV_TRY, .ip = w_ip(primary), .port = 25});
}

/* A primary that is down, with one message that waits. */
static void outage(uint32_t primary, const char *domain)
{
    w_temper(w, primary, T_REFUSE);
    w_message(w, domain, true);
    w_wait(w, 3000);
    ck_assert_uint_ge(w->primaries[primary].opens, 3);
}

START_TEST(what_somebody_saw_up_gets_its_mail_at_once)
{
    uint32_t opens;

    outage(1, "d1");
    w_wait(w, 700000); /* the own clock is slow by now */
    opens = w->primaries[1].opens;
    while (w->primaries[1].opens == opens)
        w_wait(w, 100);
    w_temper(w, 1, T_UP);
    w_wait(w, 1000);
    ck_assert_uint_eq(w->delivered, 0);
    ck_assert_int_eq(try_now(1), OK);
    w_wait(w, 100);
    ck_assert_uint_eq(w->delivered, 1);
    ck_assert_uint_eq(w->ups, 1);
}
END_TEST

START_TEST(what_is_up_unknown_or_without_mail_is_not_tried)
{
    uint32_t i = w_message(w, "d1", true);

    ck_assert_int_eq(try_now(1), E_NOTFOUND);
    w_wait(w, 100);
    ck_assert_int_eq(try_now(1), E_NOTFOUND);
    outage(2, "d2");
    i = w_message(w, "d2", true);
    ck_assert_int_eq(try_now(2), OK);
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = w_id(i)}), OK);
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = w_id(i - 1)}), OK);
    w_wait(w, 100);
    ck_assert_int_eq(try_now(2), E_NOTFOUND);
}
END_TEST

START_TEST(try_is_followed_by_one_without_tls)
{
    uint32_t opens;

    outage(1, "d1");
    opens = w->primaries[1].opens;
    w_temper(w, 1, T_UP);
    w->primaries[1].breaks_tls = true;
    ck_assert_int_eq(try_now(1), OK);
    w_wait(w, 200);
    ck_assert_uint_eq(w->primaries[1].opens, opens + 2);
    ck_assert_uint_eq(w->delivered, 1);
}
END_TEST

START_TEST(destination_that_belongs_to_a_name_is_tried_too)
{
    struct sched_settings tls = {.tls = SCHED_TLS_REQUIRE};

    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_DOMAIN_SET,
                                                    .domain = STR("d1"),
                                                    .settings = tls}),
                     OK);
    outage(1, "d1");
    outage(2, "d2");
    w_temper(w, 1, T_UP);
    ck_assert_int_eq(try_now(1), OK);
    w_wait(w, 100);
    ck_assert_uint_eq(w->delivered, 1);
    ck_assert_uint_eq(w->primaries[2].taken, 0);
}
END_TEST

/* The way to a primary that is being served is cut without a word. */
START_TEST(silence_is_looked_into_and_means_down)
{
    uint64_t cut;

    for (int i = 0; i < 20; i++)
        w_message(w, "d1", true);
    w_wait(w, 1000);
    ck_assert_uint_eq(w->delivered, 20);
    w->primaries[1].job_ms = 3600000; /* what is on its way hangs */
    w->primaries[1].temper = T_BLACKHOLE;
    cut = w->now.boot_ms;
    for (int i = 0; i < 200; i++)
        w_message(w, "d1", true);
    w_wait(w, 6000);
    ck_assert_uint_eq(w->downs, 1);
    ck_assert_uint_le(w->now.boot_ms - cut, 6000);
}
END_TEST

START_TEST(canary_that_is_cut_off_is_looked_into_too)
{
    sched_free(&w->s);
    w->s = sched_new(&(struct sched_options){.seed = 1, .ask_ahead = _i > 0});
    w_message(w, "d1", true);
    w->primaries[1].job_ms = 3600000;
    w_wait(w, 1000);
    w->primaries[1].temper = T_BLACKHOLE;
    w_message(w, "d1", true);
    w_wait(w, 6000);
    ck_assert_uint_eq(w->downs, 1);
}
END_TEST

/* The word of a peer on each message comes a round trip later. */
START_TEST(questions_go_ahead_of_a_canary)
{
    sched_free(&w->s);
    w->s = sched_new(&(struct sched_options){.seed = 1, .ask_ahead = true});
    w->primaries[1].job_ms = 500;
    for (int i = 0; i < 50; i++)
        w_message(w, "d1", true);
    w_wait(w, 400);
    ck_assert_uint_eq(w->gives, LIMIT_JOBS_AHEAD);
    ck_assert_uint_eq(w->primaries[1].busy_peak, 1); /* one at a time on the wire */
    ck_assert_uint_eq(w->primaries[1].conns, 1);
    w_wait(w, 3000);
    ck_assert_uint_gt(w->primaries[1].busy_peak, 3);
    w_wait(w, 10000);
    ck_assert_uint_eq(w->delivered, 50);
}
END_TEST

/* One that takes its time is neither down nor crowded with connections. */
START_TEST(slow_primary_is_not_down)
{
    uint32_t opens;

    w->primaries[1].job_ms = 8000;
    for (int i = 0; i < 100; i++)
        w_message(w, "d1", true);
    w_wait(w, 60000);
    opens = w->primaries[1].opens;
    w_wait(w, 60000);
    ck_assert_uint_eq(w->downs, 0);
    ck_assert_uint_gt(w->delivered, 10);
    ck_assert_uint_le(w->primaries[1].opens - opens, 12);
}
END_TEST

static uint32_t down_count(uint32_t *last)
{
    uint32_t at = 0, n = 0;
    struct route_ip ip;
    uint16_t port;

    while (sched_down_next(w->s, &at, &ip, &port)) {
        ck_assert_uint_eq(port, 25);
        *last = w_primary_of(ip);
        n++;
    }
    return n;
}

static void two_addresses(struct world *world, const char *domain, struct route *r)
{
    uint32_t first = (uint32_t)strtoul(domain + 1, NULL, 10);

    (void)world;
    w_route_add(r, first, 10);
    w_route_add(r, first + 1, 20);
}

START_TEST(what_is_down_and_who_is_stuck_is_told)
{
    static struct sched_way way;
    uint32_t at = 0, last = 0;

    ck_assert_uint_eq(down_count(&last), 0);
    w->route_of = two_addresses;
    w_temper(w, 11, T_REFUSE);
    w_temper(w, 12, T_HANG);
    w_message(w, "d10", true); /* one of two is up */
    w_message(w, "d11", true); /* neither is, and one is not known to be down yet */
    w_wait(w, 2000);
    ck_assert_uint_eq(down_count(&last), 1);
    ck_assert_uint_eq(last, 11);
    ck_assert(!sched_stuck_next(w->s, &at, &way));
    w_wait(w, 15000);
    at = 0;
    ck_assert_uint_eq(down_count(&last), 2);
    ck_assert(sched_stuck_next(w->s, &at, &way));
    ck_assert(str_eq(way.domain, STR("d11")));
    ck_assert_uint_eq(way.count, 2);
    ck_assert_uint_eq(w_primary_of(way.addrs[0].ip), 11);
    ck_assert_uint_eq(w_primary_of(way.addrs[1].ip), 12);
    ck_assert(!sched_stuck_next(w->s, &at, &way));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched_fleet");
    TCase *tc = tcase_create("fleet");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_somebody_saw_up_gets_its_mail_at_once);
    tcase_add_test(tc, what_is_up_unknown_or_without_mail_is_not_tried);
    tcase_add_test(tc, try_is_followed_by_one_without_tls);
    tcase_add_test(tc, destination_that_belongs_to_a_name_is_tried_too);
    tcase_add_test(tc, silence_is_looked_into_and_means_down);
    tcase_add_loop_test(tc, canary_that_is_cut_off_is_looked_into_too, 0, 2);
    tcase_add_test(tc, questions_go_ahead_of_a_canary);
    tcase_add_test(tc, slow_primary_is_not_down);
    tcase_add_test(tc, what_is_down_and_who_is_stuck_is_told);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
