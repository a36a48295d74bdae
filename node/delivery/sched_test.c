/* When mail goes: outages, probes, canaries, windows, turns. Virtual time; see sched_world.h.
 */
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

static void domain(const char *name, struct sched_settings settings)
{
    ck_assert_int_eq(w_step(w, (struct sched_event){.type = SCHED_EV_DOMAIN_SET,
                                                    .domain = str_of(name),
                                                    .generation = 0,
                                                    .settings = settings}),
                     OK);
}

START_TEST(mail_for_a_primary_that_is_up_goes_at_once)
{
    w_message(w, "d1", true);
    w_wait(w, 100);
    ck_assert_uint_eq(w->delivered, 1);
    ck_assert_uint_eq(w->downs, 0);
}
END_TEST

/* INV-8: at any age of the outage, for each way in which a primary can be away. */
static const uint64_t ages[] = {1000,   2500,    10000, 61000,     599000,
                                603000, 3600000, W_DAY, 5 * W_DAY, 13 * W_DAY};
static const enum temper ways[] = {T_REFUSE, T_BLACKHOLE, T_HANG};
#define AGES (int)(sizeof ages / sizeof *ages)

START_TEST(first_message_is_taken_within_the_promised_time)
{
    uint64_t age = ages[_i % AGES], most = age < 600000 ? 2000 : 10000, back;

    w->checks = age < W_DAY;
    w_temper(w, 1, ways[_i / AGES]);
    w_message(w, "d1", true);
    w_wait(w, age);
    for (int k = 0; k < 5; k++)
        w_message(w, "d1", true);
    w_wait(w, 137);
    ck_assert_uint_eq(w->delivered, 0);
    w_temper(w, 1, T_UP);
    back = w->now.boot_ms;
    w_wait(w, most);
    ck_assert_msg(w->primaries[1].first_taken_ms != 0, "age %llu way %d: not in %llu ms",
                  (unsigned long long)age, _i / AGES, (unsigned long long)most);
    ck_assert_uint_le(w->primaries[1].first_taken_ms - back, most);
    w_wait(w, 2000);
    ck_assert_uint_eq(w->delivered, 6);
}
END_TEST

START_TEST(gaps_between_probes_stay_short_for_fourteen_days)
{
    w->checks = false;
    w_temper(w, 1, T_REFUSE);
    w_message(w, "d1", true);
    w_wait(w, 1000);
    w->primaries[1].gap_max_ms = 0;
    w_wait(w, 590000);
    ck_assert_uint_le(w->primaries[1].gap_max_ms, 1100);
    w_wait(w, 13 * W_DAY);
    ck_assert_uint_le(w->primaries[1].gap_max_ms, 5100);
    ck_assert_uint_gt(w->primaries[1].opens, 13 * 17280);
    ck_assert_uint_lt(w->primaries[1].opens, 13 * 17280 + 2000); /* and it is no attack */
    ck_assert_uint_eq(w->downs, 1);
    ck_assert_uint_eq(w->gives, 0);
}
END_TEST

/* A machine that went away after it took the connection forgets it; nobody tells us. */
START_TEST(probe_that_hangs_for_ever_gets_company)
{
    uint64_t back;

    w_temper(w, 1, T_HANG);
    w_message(w, "d1", true);
    w_wait(w, 30000);
    w->primaries[1].temper = T_UP; /* what hangs goes on hanging */
    back = w->now.boot_ms;
    w_wait(w, 10000);
    ck_assert_uint_eq(w->delivered, 1);
    ck_assert_uint_le(w->primaries[1].first_taken_ms - back, 10000);
}
END_TEST

START_TEST(nothing_is_probed_when_no_mail_waits)
{
    uint32_t i, opens;

    w_temper(w, 1, T_REFUSE);
    i = w_message(w, "d1", true);
    w_wait(w, 5000);
    opens = w->primaries[1].opens;
    ck_assert_uint_ge(opens, 4);
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = w_id(i)}), OK);
    w_wait(w, 60000);
    ck_assert_uint_eq(w->primaries[1].opens, opens);
    ck_assert_uint_eq(sched_wakeup_ms(w->s, w->now), UINT64_MAX);
}
END_TEST

START_TEST(recovery_starts_with_one_message_and_then_widens)
{
    w->primaries[1].job_ms = 500;
    w_temper(w, 1, T_REFUSE);
    for (int i = 0; i < 400; i++)
        w_message(w, "d1", true);
    w_wait(w, 5000);
    w_temper(w, 1, T_UP);
    while (w->gives == 0)
        w_wait(w, 10);
    w_wait(w, 450);
    ck_assert_uint_eq(w->gives, 1); /* the canary */
    ck_assert_uint_eq(w->primaries[1].busy_peak, 1);
    w_wait(w, 10000);
    ck_assert_uint_eq(w->primaries[1].busy_peak, LIMIT_CONNS_PER_DEST);
    w_wait(w, 10000);
    ck_assert_uint_eq(w->delivered, 400);
    ck_assert_uint_le(w->primaries[1].conns_peak, LIMIT_CONNS_PER_DEST);
    ck_assert_uint_eq(w->ups, 1);
}
END_TEST

START_TEST(window_stops_at_what_the_domain_allows)
{
    domain("d1", (struct sched_settings){.max_conns = 3});
    for (int i = 0; i < 300; i++)
        w_message(w, "d1", true);
    w_wait(w, 20000);
    ck_assert_uint_eq(w->delivered, 300);
    ck_assert_uint_eq(w->primaries[1].busy_peak, 3);
    ck_assert_uint_eq(w->primaries[1].conns_peak, 3);
}
END_TEST

static uint32_t window(void)
{
    struct sched_domain_view v;

    ck_assert(sched_domain_view(w->s, STR("d1"), 0, &v));
    ck_assert_uint_eq(v.addr_count, 1);
    return v.addrs[0].window;
}

START_TEST(brake_halves_the_window_once_a_second_and_growth_is_slower_then)
{
    uint32_t before, after;

    w->primaries[1].job_ms = 100;
    for (int i = 0; i < 4000; i++)
        w_message(w, "d1", true);
    w_wait(w, 5000);
    before = window();
    ck_assert_uint_ge(before, LIMIT_CONNS_PER_DEST);
    w_temper(w, 1, T_GREYLIST);
    w_wait(w, 150); /* every connection gets a 450 */
    w_temper(w, 1, T_UP);
    after = window();
    ck_assert_uint_eq(after, before / 2);
    w_wait(w, 1300); /* a second of rest, three rounds; some were given out before */
    ck_assert_uint_le(window(), after + 8);
    w_wait(w, 20000);
    ck_assert_uint_ge(window(), LIMIT_CONNS_PER_DEST);
}
END_TEST

/* Trap 13: a primary that greylists us is up. */
START_TEST(four_fifty_does_not_make_a_primary_down)
{
    w_temper(w, 1, T_GREYLIST);
    w->retry_ms = 60000;
    for (int i = 0; i < 50; i++)
        w_message(w, "d1", true);
    w_wait(w, 30000);
    ck_assert_uint_eq(w->downs, 0);
    ck_assert_uint_eq(w->gives, 50); /* each had its first try soon, none a second one yet */
    w_temper(w, 1, T_UP);
    w_wait(w, 60000);
    ck_assert_uint_eq(w->delivered, 50);
    ck_assert_uint_eq(w->downs, 0);
}
END_TEST

START_TEST(slow_replies_are_a_brake)
{
    for (int i = 0; i < 3000; i++)
        w_message(w, "d1", true);
    w->primaries[1].job_ms = 50;
    w_wait(w, 3000);
    ck_assert_uint_ge(window(), LIMIT_CONNS_PER_DEST);
    w->primaries[1].job_ms = 9000;
    w_wait(w, 60000);
    ck_assert_uint_le(window(), LIMIT_CONNS_PER_DEST / 2 + 1);
    ck_assert_uint_eq(w->downs, 0);
}
END_TEST

START_TEST(busy_primary_is_asked_at_most_every_few_seconds)
{
    w_temper(w, 1, T_BUSY);
    for (int i = 0; i < 100; i++)
        w_message(w, "d1", true);
    w_wait(w, 60000);
    ck_assert_uint_le(w->gives, 18);
    ck_assert_uint_ge(w->gives, 12);
    ck_assert_uint_eq(w->downs, 0);
    w_temper(w, 1, T_UP);
    w_wait(w, 6000);
    ck_assert_uint_ge(w->delivered, 80);
}
END_TEST

START_TEST(broken_primary_gets_a_message_every_few_seconds_not_the_whole_queue)
{
    static const enum temper broken[] = {T_LOSE, T_ODD, T_SHUT};

    w_temper(w, 1, broken[_i]);
    for (int i = 0; i < 1000; i++)
        w_message(w, "d1", true);
    w_wait(w, 60000);
    ck_assert_uint_le(w->primaries[1].opens, 20);
    ck_assert_uint_ge(w->primaries[1].opens, 10);
    w_temper(w, 1, T_UP);
    w_wait(w, 10000);
    ck_assert_uint_gt(w->delivered, 100);
}
END_TEST

START_TEST(one_success_frees_every_domain_of_the_address)
{
    char name[16];
    uint64_t back;

    w->checks = false;
    w_temper(w, 1, T_REFUSE);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "d1.%d", i);
        w_message(w, name, true);
    }
    w_wait(w, 3600000);
    ck_assert_uint_lt(w->primaries[1].opens, 2000); /* not once per domain: trap 16 */
    w_temper(w, 1, T_UP);
    back = w->now.boot_ms;
    w_wait(w, 10000);
    ck_assert_uint_eq(w->delivered, 300);
    ck_assert_uint_le(w->primaries[1].last_taken_ms - back, 8000);
    ck_assert_uint_eq(w->ups, 1);
    sched_check(w->s);
}
END_TEST

START_TEST(recovery_frees_deferred_mail_once_and_says_so)
{
    w_temper(w, 1, T_DEFER);
    w->retry_ms = 3600000;
    for (int i = 0; i < 30; i++)
        w_message(w, "d1", true);
    w_wait(w, 20000);
    ck_assert_uint_eq(w->gives, 30);
    w_temper(w, 1, T_REFUSE); /* the outage is noticed with the next message */
    w_message(w, "d1", true);
    w_wait(w, 30000);
    ck_assert_uint_eq(w->downs, 1);
    w_temper(w, 1, T_DEFER);
    w_wait(w, 30000);
    ck_assert_uint_eq(w->gives, 61); /* all of them, once */
    ck_assert(w->msgs[0].last_recovered);
    w_wait(w, 600000);
    ck_assert_uint_eq(w->gives, 61);
    w_wait(w, 3600000); /* then their own clock again */
    ck_assert_uint_eq(w->gives, 92);
    ck_assert(!w->msgs[0].last_recovered);
}
END_TEST

/* Deferred mail alone keeps the probes of a primary going that is known to be down. */
START_TEST(recovery_is_noticed_when_only_deferred_mail_waits)
{
    uint32_t i;

    w_temper(w, 1, T_DEFER);
    w->retry_ms = 3600000;
    w_message(w, "d1", true);
    w_wait(w, 10000);
    w_temper(w, 1, T_REFUSE);
    i = w_message(w, "d1", true);
    w_wait(w, 2000);
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = w_id(i)}), OK);
    w_wait(w, 20000);
    w_temper(w, 1, T_UP);
    w_wait(w, 2000);
    ck_assert_uint_eq(w->delivered, 1);
}
END_TEST

/* The primary goes away and comes back; the mail that showed it is taken out again. */
static void short_outage(enum temper after)
{
    uint32_t i;

    w_temper(w, 1, T_REFUSE);
    i = w_message(w, "d1", true);
    w_wait(w, 3000);
    ck_assert_int_eq(
        w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = w_id(i)}), OK);
    w_temper(w, 1, after);
    w_wait(w, 20000);
}

/* A message that kills its primary must not be handed over again each time that comes back. */
START_TEST(message_whose_connection_was_lost_three_times_keeps_its_clock)
{
    w_temper(w, 1, T_LOSE);
    w->retry_ms = 3600000;
    w_message(w, "d1", true);
    w_wait(w, 1000);
    for (uint32_t i = 1; i <= 6; i++) {
        ck_assert_uint_eq(w->msgs[0].tries, i < 3 ? i : 3);
        short_outage(T_LOSE);
    }
    w_temper(w, 1, T_UP);
    w_wait(w, 3600000);
    ck_assert(w->msgs[0].done);
}
END_TEST

START_TEST(flapping_primary_does_not_get_its_deferred_mail_each_time)
{
    w_temper(w, 1, T_DEFER);
    w->retry_ms = 3600000;
    w_message(w, "d1", true);
    w_wait(w, 1000);
    for (int i = 0; i < 20; i++) { /* 4 s down, 3 s up */
        w_temper(w, 1, T_REFUSE);
        w_message(w, "d1", true);
        w_wait(w, 4000);
        w_temper(w, 1, T_DEFER);
        w_wait(w, 3000);
    }
    ck_assert_uint_ge(w->ups, 10);
    ck_assert_uint_ge(w->msgs[0].tries, 5);
    ck_assert_uint_le(w->msgs[0].tries, 15); /* 140 s: one in 10 s at most */
}
END_TEST

/* The write that says "in an hour" ends after the recovery that it does not know of. */
START_TEST(recovery_counts_for_mail_that_is_being_written_too)
{
    w->primaries[1].job_ms = 3000;
    w->retry_ms = 3600000;
    w->write_ms = 6000;
    w_message(w, "d1", true);
    w_wait(w, 1000);
    w_temper(w, 1, T_REFUSE); /* cut in the transaction */
    w_message(w, "d1", true);
    w_wait(w, 1500);
    w_temper(w, 1, T_UP);
    w_wait(w, 12000);
    ck_assert_uint_eq(w->ups, 1);
    ck_assert_uint_eq(w->delivered, 2);
    ck_assert(w->msgs[0].last_recovered);
}
END_TEST

/* Twenty connections cut at once are one event: the next try is made at once. */
START_TEST(restart_of_a_primary_costs_no_pause)
{
    uint32_t gives;

    w->primaries[1].job_ms = 1000;
    for (int i = 0; i < 1000; i++)
        w_message(w, "d1", true);
    w_wait(w, 20000);
    ck_assert_uint_eq(w->primaries[1].busy, LIMIT_CONNS_PER_DEST);
    w_temper(w, 1, T_SHUT);
    w_temper(w, 1, T_UP);
    gives = w->gives;
    w_wait(w, 200);
    ck_assert_uint_eq(w->gives, gives + 1);
    ck_assert_uint_eq(w->downs, 0);
}
END_TEST

static void two_routes(struct world *world, const char *name, struct route *r)
{
    (void)world;
    (void)name;
    w_route_add(r, 1, 10);
    w_route_add(r, 2, 20);
    w_route_add(r, 3, 30);
}

START_TEST(failed_address_hands_over_to_the_next_one_in_the_same_turn)
{
    w->route_of = two_routes;
    w_temper(w, 1, T_REFUSE);
    w_temper(w, 2, T_REFUSE);
    w_message(w, "any", true);
    w_wait(w, 200);
    ck_assert_uint_eq(w->primaries[3].taken, 1);
    ck_assert_uint_eq(w->primaries[1].opens, 1);
    ck_assert_uint_eq(w->primaries[2].opens, 1);
    w_temper(w, 2, T_UP); /* nobody looks while there is no mail */
    w_wait(w, 10000);
    w_message(w, "any", true);
    w_wait(w, 100);
    ck_assert_uint_eq(w->primaries[2].taken + w->primaries[3].taken, 2);
    w_wait(w, 1000);
    w_temper(w, 1, T_UP);
    for (int i = 0; i < 20; i++) {
        w_message(w, "any", true);
        w_wait(w, 500);
    }
    ck_assert_uint_ge(w->primaries[1].taken, 15); /* back to the best one */
}
END_TEST

START_TEST(address_that_breaks_the_protocol_is_second_choice)
{
    w->route_of = two_routes;
    w_temper(w, 1, T_ODD);
    w_message(w, "any", true);
    w_wait(w, 1000);
    w_message(w, "any", true);
    w_wait(w, 1000);
    ck_assert_uint_eq(w->primaries[2].taken, 1);
    ck_assert_uint_eq(w->primaries[1].opens, 1);
    w_temper(w, 1, T_UP);
    w_wait(w, 600000);
    w_message(w, "any", true);
    w_wait(w, 1000);
    ck_assert_uint_ge(w->primaries[1].taken, 1);
}
END_TEST

/* It takes two connections and refuses the third: that is its limit, not an outage. */
START_TEST(refused_connection_beside_working_ones_narrows_the_window)
{
    w->primaries[1].max_conns = 2;
    w->primaries[1].job_ms = 50;
    for (int i = 0; i < 1000; i++)
        w_message(w, "d1", true);
    w_wait(w, 30000);
    ck_assert_uint_eq(w->downs, 0);
    ck_assert_uint_ge(w->delivered, 900);
    ck_assert_uint_lt(w->primaries[1].opens, 200);
}
END_TEST

START_TEST(lost_connection_gives_its_jobs_back_untried)
{
    w->primaries[1].job_ms = 1000;
    domain("d1", (struct sched_settings){.max_conns = 1});
    for (int i = 0; i < 10; i++)
        w_message(w, "d1", true);
    w_wait(w, 1500); /* the canary is over, four jobs are on the connection */
    ck_assert_uint_eq(w->gives, 5);
    w_temper(w, 1, T_REFUSE);
    w_wait(w, 3000);
    w_temper(w, 1, T_UP);
    w_wait(w, 20000);
    ck_assert_uint_eq(w->delivered, 10);
}
END_TEST

START_TEST(bad_domain_costs_its_neighbours_nothing)
{
    static const enum temper bad[] = {T_REFUSE, T_BLACKHOLE, T_HANG,     T_LOSE,
                                      T_ODD,    T_BUSY,      T_GREYLIST, T_SHUT};
    uint64_t worst[2] = {0};
    char name[16];

    w->checks = false;
    for (int round = 0; round < 2; round++) {
        uint32_t from = w->msg_count;

        w_temper(w, 100, round == 0 ? T_UP : bad[_i]);
        for (int t = 0; t < 60; t++) {
            for (int i = 1; i < 100; i++) {
                snprintf(name, sizeof name, "d%d", i);
                w_message(w, name, true);
            }
            for (int i = 0; i < 20; i++)
                w_message(w, "d100", true);
            w_wait(w, 500);
        }
        for (uint32_t i = from; i < w->msg_count; i++) {
            uint64_t ms = w->msgs[i].done_ms + 1000000 - w->msgs[i].m.received_ms;

            if (strcmp(w->msgs[i].domain, "d100") == 0)
                continue;
            ms = w->msgs[i].done_ms - (w->msgs[i].m.received_ms - 4000000);
            ck_assert(w->msgs[i].done);
            worst[round] = ms > worst[round] ? ms : worst[round];
        }
    }
    ck_assert_uint_le(worst[1], worst[0] + worst[0] / 10 + 5);
}
END_TEST

START_TEST(probes_keep_to_the_rate_and_take_turns)
{
    char name[16];
    uint32_t least = UINT32_MAX, most = 0;

    sched_free(&w->s);
    w->s = sched_new(&(struct sched_options){.seed = 1, .probes_per_s = 20});
    w->checks = false;
    for (uint32_t i = 1; i <= 100; i++) {
        w_temper(w, i, T_REFUSE);
        snprintf(name, sizeof name, "d%u", i);
        w_message(w, name, true);
    }
    w_wait(w, 60000);
    ck_assert_uint_le(w->probe_peak, 20);
    for (uint32_t i = 1; i <= 100; i++) {
        uint32_t opens = w->primaries[i].opens;

        least = opens < least ? opens : least;
        most = opens > most ? opens : most;
    }
    ck_assert_uint_ge(least, 10);
    ck_assert_uint_le(most, least + 2);
}
END_TEST

static void many_addresses(struct world *world, const char *name, struct route *r)
{
    if (strcmp(name, "crowd") != 0) {
        w_route_default(world, name, r);
        return;
    }
    for (uint32_t i = 100; i < 200; i++)
        w_route_add(r, i, 10);
}

START_TEST(route_of_a_hundred_dead_addresses_does_not_eat_the_probes)
{
    uint32_t crowd = 0;

    w->route_of = many_addresses;
    w->checks = false;
    for (uint32_t i = 1; i < 200; i++)
        w_temper(w, i, T_REFUSE);
    w_message(w, "crowd", true);
    w_message(w, "d1", true);
    w_wait(w, 10000);
    w->primaries[1].opens = 0;
    for (uint32_t i = 100; i < 200; i++)
        w->primaries[i].opens = 0;
    w_wait(w, 100000);
    for (uint32_t i = 100; i < 200; i++)
        crowd += w->primaries[i].opens;
    ck_assert_uint_le(crowd, 1200);
    ck_assert_uint_ge(w->primaries[1].opens, 95);
    w_temper(w, 150, T_UP);
    w_wait(w, 10000);
    ck_assert_uint_eq(w->primaries[150].taken, 1);
}
END_TEST

START_TEST(canary_that_gets_no_answer_does_not_block_the_queue_for_ever)
{
    w->primaries[1].job_ms = 600000;
    for (int i = 0; i < 50; i++)
        w_message(w, "d1", true);
    w_wait(w, 14000);
    ck_assert_uint_eq(w->gives, 1);
    w_wait(w, 50000);
    ck_assert_uint_eq(w->gives, 4);
    w_wait(w, 300000);
    ck_assert_uint_eq(w->gives, 4);
    ck_assert_uint_eq(w->primaries[1].busy, 4); /* each on a connection of its own */
}
END_TEST

static TCase *more(TCase *tc)
{
    tcase_add_test(tc, failed_address_hands_over_to_the_next_one_in_the_same_turn);
    tcase_add_test(tc, address_that_breaks_the_protocol_is_second_choice);
    tcase_add_test(tc, refused_connection_beside_working_ones_narrows_the_window);
    tcase_add_test(tc, lost_connection_gives_its_jobs_back_untried);
    tcase_add_loop_test(tc, bad_domain_costs_its_neighbours_nothing, 0, 8);
    tcase_add_test(tc, probes_keep_to_the_rate_and_take_turns);
    tcase_add_test(tc, route_of_a_hundred_dead_addresses_does_not_eat_the_probes);
    tcase_add_test(tc, canary_that_gets_no_answer_does_not_block_the_queue_for_ever);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("sched");
    TCase *tc = tcase_create("when");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, mail_for_a_primary_that_is_up_goes_at_once);
    tcase_add_loop_test(tc, first_message_is_taken_within_the_promised_time, 0, 3 * AGES);
    tcase_add_test(tc, gaps_between_probes_stay_short_for_fourteen_days);
    tcase_add_test(tc, probe_that_hangs_for_ever_gets_company);
    tcase_add_test(tc, nothing_is_probed_when_no_mail_waits);
    tcase_add_test(tc, recovery_starts_with_one_message_and_then_widens);
    tcase_add_test(tc, window_stops_at_what_the_domain_allows);
    tcase_add_test(tc, brake_halves_the_window_once_a_second_and_growth_is_slower_then);
    tcase_add_test(tc, four_fifty_does_not_make_a_primary_down);
    tcase_add_test(tc, slow_replies_are_a_brake);
    tcase_add_test(tc, busy_primary_is_asked_at_most_every_few_seconds);
    tcase_add_loop_test(tc, broken_primary_gets_a_message_every_few_seconds_not_the_whole_queue,
                        0, 3);
    tcase_add_test(tc, one_success_frees_every_domain_of_the_address);
    tcase_add_test(tc, recovery_frees_deferred_mail_once_and_says_so);
    tcase_add_test(tc, recovery_is_noticed_when_only_deferred_mail_waits);
    tcase_add_test(tc, message_whose_connection_was_lost_three_times_keeps_its_clock);
    tcase_add_test(tc, flapping_primary_does_not_get_its_deferred_mail_each_time);
    tcase_add_test(tc, recovery_counts_for_mail_that_is_being_written_too);
    tcase_add_test(tc, restart_of_a_primary_costs_no_pause);
    suite_add_tcase(suite, more(tc));
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
