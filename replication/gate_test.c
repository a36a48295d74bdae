/* The gate opens on proof, closes without it, and does not flap. */
#include "replication/gate.h"

#include <check.h>

#include "base/limits.h"
#include "base/prng.h"

#define START 1000000

static struct gate g;
static uint64_t now;

static void setup(void)
{
    now = START;
    gate_init(&g, now);
}

/* Acks every `every_ms`, for so long; true: the state changed in between. */
static bool acks(uint64_t every_ms, uint64_t took_ms, uint64_t for_ms, bool sibling_open)
{
    bool changed = false;

    for (uint64_t end = now + for_ms; now < end;) {
        now += every_ms;
        gate_ack(&g, took_ms, false, now);
        changed |= gate_step(&g, sibling_open, now);
    }
    return changed;
}

/* Nothing comes for so long. */
static bool silence(uint64_t for_ms)
{
    now += for_ms;
    return gate_step(&g, false, now);
}

static void open_gate(void)
{
    while (!g.open)
        acks(100, 10, 100, true);
}

START_TEST(it_starts_closed_and_three_good_acks_open_it)
{
    ck_assert(!gate_step(&g, false, now) && !g.open);
    acks(100, 500, 200, true);
    ck_assert(!g.open);
    ck_assert(acks(100, 500, 100, true));
    ck_assert(g.open);
}
END_TEST

START_TEST(a_slow_ack_or_a_second_of_silence_breaks_the_row)
{
    acks(100, 10, 200, true);
    acks(100, 501, 100, true);
    acks(100, 10, 200, true);
    ck_assert(!g.open);
    now += LIMIT_GATE_DEAD_MS;
    acks(100, 10, 100, true);
    ck_assert(!g.open);
    acks(100, 10, 200, true);
    ck_assert(g.open);
}
END_TEST

START_TEST(a_second_without_an_ack_closes_it)
{
    open_gate();
    ck_assert_uint_eq(gate_deadline(&g), now + LIMIT_GATE_DEAD_MS);
    ck_assert(!silence(LIMIT_GATE_DEAD_MS - 1));
    ck_assert(silence(1) && !g.open);
}
END_TEST

START_TEST(it_stays_closed_for_five_seconds_and_then_opens)
{
    uint64_t closed;

    open_gate();
    silence(LIMIT_GATE_DEAD_MS);
    closed = now;
    ck_assert_uint_eq(gate_deadline(&g), UINT64_MAX);
    acks(100, 10, 4950, true);
    ck_assert(g.open && now - closed == 5000);
    ck_assert_uint_eq(g.opened_ms, now);
}
END_TEST

START_TEST(the_end_of_the_closed_time_is_a_deadline)
{
    open_gate();
    silence(LIMIT_GATE_DEAD_MS);
    acks(100, 10, 4900, true);
    ck_assert(!g.open);
    ck_assert_uint_eq(gate_deadline(&g), g.closed_ms + LIMIT_GATE_CLOSED_MS);
    now = gate_deadline(&g);
    ck_assert(gate_step(&g, true, now));
}
END_TEST

START_TEST(old_acks_do_not_open_it)
{
    open_gate();
    silence(LIMIT_GATE_DEAD_MS);
    acks(100, 10, 3000, true);
    ck_assert(!silence(LIMIT_GATE_DEAD_MS + 2000));
    acks(100, 10, 200, true);
    ck_assert(!g.open);
    ck_assert(acks(100, 10, 100, true));
}
END_TEST

START_TEST(closed_times_double_to_a_minute_and_start_again_after_a_quiet_one)
{
    static const uint64_t want[] = {5000, 10000, 20000, 40000, 60000, 60000};

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        uint64_t closed;

        open_gate();
        silence(LIMIT_GATE_DEAD_MS);
        closed = now;
        while (!g.open)
            acks(50, 10, 50, true);
        ck_assert_uint_eq(now - closed, want[i]);
    }
    acks(250, 10, 60000, true);
    silence(LIMIT_GATE_DEAD_MS);
    ck_assert_uint_eq(g.hold_ms, LIMIT_GATE_CLOSED_MS);
}
END_TEST

START_TEST(slowness_closes_it_only_while_a_sibling_is_open)
{
    open_gate();
    ck_assert(!acks(250, 900, 20000, false));
    ck_assert(g.open);
    ck_assert(gate_step(&g, true, now) && !g.open);
}
END_TEST

START_TEST(slow_is_half_of_at_least_eight)
{
    open_gate();
    ck_assert(!acks(250, 900, 7 * 250, true));
    ck_assert(acks(250, 900, 250, true));

    setup();
    open_gate();
    acks(250, 10, 5000, true);
    ck_assert(!acks(250, 900, 9 * 250, true)); /* 9 of 20 */
    ck_assert(acks(250, 900, 250, true));
}
END_TEST

START_TEST(one_hiccup_under_load_does_not_close_it)
{
    open_gate();
    acks(10, 5, 6000, true);
    now += 700;
    for (int i = 0; i < 1000; i++)
        gate_ack(&g, 700, false, now);
    ck_assert(!gate_step(&g, true, now));
    ck_assert(!acks(10, 5, 1000, true));
    ck_assert(g.open);
}
END_TEST

START_TEST(a_fast_peer_beside_a_slow_one_keeps_it_open)
{
    open_gate();
    for (int i = 0; i < 100; i++) {
        acks(50, 900, 50, true);
        acks(50, 20, 50, true);
    }
    ck_assert(g.open);
}
END_TEST

START_TEST(slow_acks_open_it_when_no_sibling_is_open)
{
    acks(300, 900, 3000, true);
    ck_assert(!g.open);
    ck_assert(acks(300, 900, 300, false));
    ck_assert(g.open);
}
END_TEST

START_TEST(after_a_closing_for_slowness_it_is_judged_anew)
{
    open_gate();
    while (g.open)
        acks(250, 900, 250, true);
    while (!g.open)
        acks(100, 10, 100, true);
    ck_assert(!acks(100, 10, 10000, true));
}
END_TEST

START_TEST(what_waited_for_bodies_is_proof_but_never_slow)
{
    open_gate();
    for (uint64_t end = now + 20000; now < end;) {
        now += 100;
        gate_ack(&g, 900, true, now);
        ck_assert(!gate_step(&g, true, now));
    }
    ck_assert(silence(LIMIT_GATE_DEAD_MS));
    for (uint64_t end = now + 10000;
         now < end;) { /* neither does it open it beside a sibling */
        now += 100;
        gate_ack(&g, 900, true, now);
        ck_assert(!gate_step(&g, true, now));
    }
    ck_assert(acks(100, 10, 300, true));
}
END_TEST

/* Whatever comes: open only with an ack in the last second, closed at least five seconds after
 * the first, no more than two changes in five seconds, and deadlines lie ahead after a step. */
START_TEST(over_random_runs_it_is_never_open_without_proof_and_never_flaps)
{
    struct prng r;
    uint64_t last_closed = 0;

    prng_seed(&r, (uint64_t)_i + 1);
    for (int i = 0; i < 20000; i++) {
        int mood = i / 500 % 4;
        bool sibling = prng_below(&r, 4) > 0, was = g.open;

        now += prng_below(&r, mood == 0 ? 1500 : 300);
        if (prng_below(&r, 3) > 0)
            gate_ack(&g, prng_below(&r, mood == 1 ? 1500 : 400), prng_below(&r, 2) > 0, now);
        if (gate_step(&g, sibling, now) != (was != g.open))
            ck_abort_msg("seed %d: a change is not told", _i + 1);
        if (g.open && now - g.last_ack_ms >= LIMIT_GATE_DEAD_MS)
            ck_abort_msg("seed %d: open without proof", _i + 1);
        if (was && !g.open)
            last_closed = now;
        if (!was && g.open && last_closed > 0 && now - last_closed < LIMIT_GATE_CLOSED_MS)
            ck_abort_msg("seed %d: opened too early", _i + 1);
        if (gate_step(&g, sibling, now))
            ck_abort_msg("seed %d: two steps at one time differ", _i + 1);
        if (gate_deadline(&g) <= now)
            ck_abort_msg("seed %d: a deadline in the past", _i + 1);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate");
    TCase *tc = tcase_create("gate");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, it_starts_closed_and_three_good_acks_open_it);
    tcase_add_test(tc, a_slow_ack_or_a_second_of_silence_breaks_the_row);
    tcase_add_test(tc, a_second_without_an_ack_closes_it);
    tcase_add_test(tc, it_stays_closed_for_five_seconds_and_then_opens);
    tcase_add_test(tc, the_end_of_the_closed_time_is_a_deadline);
    tcase_add_test(tc, old_acks_do_not_open_it);
    tcase_add_test(tc, closed_times_double_to_a_minute_and_start_again_after_a_quiet_one);
    tcase_add_test(tc, slowness_closes_it_only_while_a_sibling_is_open);
    tcase_add_test(tc, slow_is_half_of_at_least_eight);
    tcase_add_test(tc, one_hiccup_under_load_does_not_close_it);
    tcase_add_test(tc, a_fast_peer_beside_a_slow_one_keeps_it_open);
    tcase_add_test(tc, slow_acks_open_it_when_no_sibling_is_open);
    tcase_add_test(tc, after_a_closing_for_slowness_it_is_judged_anew);
    tcase_add_test(tc, what_waited_for_bodies_is_proof_but_never_slow);
    tcase_add_loop_test(tc, over_random_runs_it_is_never_open_without_proof_and_never_flaps, 0,
                        20);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
