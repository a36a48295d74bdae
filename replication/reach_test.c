/* Three sites share the probes of a primary, find out who reaches it, move its domain there in
 * time, and leave it there for a while. */
#include "replication/reach.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/prng.h"

#define SITES 3

static const uint16_t all[SITES] = {1, 2, 3};

/* --- a world: sites with a primary or more, each reachable from some --- */

struct site {
    struct reach *r;
    uint64_t offset; /* of its boot clock */
    uint64_t note_at;
    bool is_down;
    bool reaches; /* the primary */
    uint64_t held_since;
    uint64_t try_at; /* as holder: its own next try, forced by news */
};

static struct site sites[SITES + 1];
static uint64_t t; /* true time, cluster time too */
static uint16_t holder, home;
static unsigned probes;
static uint64_t last_turn, turn_ms = 1; /* of a probe; length of an interval */
static unsigned doubled;                /* probes in an interval that had one */
static uint64_t moved_at;
static unsigned moves;
static struct prng rnd;

static struct reach_addr addr(uint32_t n)
{
    struct reach_addr a = {.port = 25};

    a.ip[10] = a.ip[11] = 0xff;
    a.ip[12] = (uint8_t)(n >> 24);
    a.ip[13] = (uint8_t)(n >> 16);
    a.ip[14] = (uint8_t)(n >> 8);
    a.ip[15] = (uint8_t)n;
    return a;
}

static const uint32_t primary = 0xc0000219;

static uint64_t clock_of(const struct site *s)
{
    return s->offset + t;
}

static void world(uint64_t seed)
{
    prng_seed(&rnd, seed);
    memset(sites, 0, sizeof sites);
    t = 1000000 + prng_below(&rnd, 100000);
    holder = home = 1;
    probes = moves = doubled = 0;
    turn_ms = 1;
    for (uint16_t s = 1; s <= SITES; s++) {
        sites[s].r = reach_new(s, seed);
        ck_assert_ptr_nonnull(sites[s].r);
        sites[s].offset = prng_below(&rnd, 1000000);
        reach_sites(sites[s].r, all, SITES);
    }
}

static void end_world(void)
{
    for (uint16_t s = 1; s <= SITES; s++)
        reach_free(&sites[s].r);
}

static void notes(struct site *from, uint16_t number)
{
    struct frame_reach list[LIMIT_FRAME_REACH];
    uint32_t n;

    if (t < from->note_at && !reach_has_news(from->r))
        return;
    from->note_at = t + 1000;
    n = reach_note(from->r, clock_of(from), list, LIMIT_FRAME_REACH);
    for (uint16_t s = 1; s <= SITES; s++)
        if (s != number && !sites[s].is_down)
            reach_heard(sites[s].r, number, list, n, clock_of(&sites[s]));
}

static void judge(struct site *s, uint16_t number)
{
    struct reach_addr a = addr(primary);
    uint16_t may[SITES], to, n = 0;
    struct reach_domain d = {.addrs = &a,
                             .count = 1,
                             .home = home,
                             .held_since_ms = holder != home ? s->held_since : 0,
                             .may_hold = may};

    for (uint16_t i = 1; i <= SITES; i++)
        if (!sites[i].is_down)
            may[n++] = i;
    d.may_hold_count = n;
    switch (reach_judge(s->r, &d, clock_of(s), &to)) {
    case REACH_STAY:
        return;
    case REACH_GIVE:
        ck_assert_uint_ne(to, number);
        holder = to;
        break;
    case REACH_RETURN:
        holder = home;
        break;
    }
    sites[holder].held_since = clock_of(&sites[holder]);
    moved_at = t;
    moves++;
}

static void run_site(uint16_t number)
{
    struct site *s = &sites[number];
    struct reach_addr a, p = addr(primary);
    uint64_t now = clock_of(s);

    if (s->is_down)
        return;
    if (number == holder || (number == home && holder != home))
        ck_assert_int_eq(reach_want(s->r, &p, now), OK);
    while (reach_next_probe(s->r, now, t, &a)) {
        probes++;
        doubled += last_turn == t / turn_ms;
        last_turn = t / turn_ms;
        reach_saw(s->r, &a, s->reaches, now);
    }
    while (reach_next_up(s->r, &a))
        if (number == holder && !s->reaches)
            reach_saw(s->r, &a, false, now); /* tries at once, in vain */
    reach_tick(s->r, now);
    notes(s, number);
    if (number == holder)
        judge(s, number);
}

static void run(uint64_t ms)
{
    for (uint64_t end = t + ms; t < end; t += 50)
        for (uint16_t s = 1; s <= SITES; s++)
            run_site(s);
}

/* --- turns --- */

static const struct {
    uint64_t after_ms, interval;
} ages[] = {{20000, REACH_FAST_MS}, {REACH_FAST_FOR_MS + 20000, REACH_SLOW_MS}};

START_TEST(the_fleet_makes_one_probe_in_an_interval)
{
    world((uint64_t)_i + 1);
    run(ages[_i % 2].after_ms);
    probes = doubled = 0;
    turn_ms = ages[_i % 2].interval;
    run(60000);
    ck_assert_uint_eq(doubled, 0);
    ck_assert_uint_ge(probes, 60000 / ages[_i % 2].interval - 2);
    ck_assert_uint_le(probes, 60000 / ages[_i % 2].interval + 2);
    end_world();
}
END_TEST

START_TEST(those_that_are_left_take_all_turns)
{
    static const uint16_t left[2] = {1, 3};

    world(7);
    run(20000);
    sites[2].is_down = true;
    reach_sites(sites[1].r, left, 2);
    reach_sites(sites[3].r, left, 2);
    probes = 0;
    run(30000);
    ck_assert_uint_ge(probes, 28);
    ck_assert_uint_le(probes, 32);
    sites[3].is_down = true;
    reach_sites(sites[1].r, left, 1);
    probes = 0;
    run(30000);
    ck_assert_uint_ge(probes, 28);
    ck_assert_uint_le(probes, 32);
    end_world();
}
END_TEST

START_TEST(what_nobody_wants_is_forgotten_by_all)
{
    world(8);
    run(20000);
    for (uint16_t s = 1; s <= SITES; s++)
        ck_assert_uint_eq(reach_count(sites[s].r), 1);
    holder = home = 9; /* nobody: no more mail */
    run(2 * REACH_WANT_MS + 20000);
    for (uint16_t s = 1; s <= SITES; s++)
        ck_assert_uint_eq(reach_count(sites[s].r), 0);
    probes = 0;
    run(10000);
    ck_assert_uint_eq(probes, 0);
    ck_assert_uint_eq(reach_wakeup_ms(sites[1].r), UINT64_MAX);
    end_world();
}
END_TEST

/* --- who reaches it --- */

START_TEST(a_domain_goes_to_the_only_site_that_reaches_its_primary_in_time)
{
    uint16_t only = _i % 2 == 0 ? 2 : 3;
    uint64_t up_at;

    world((uint64_t)_i + 1);
    run(5000 + prng_below(&rnd, _i % 2 == 0 ? 20000 : 2 * REACH_FAST_FOR_MS));
    ck_assert_uint_eq(holder, 1);
    up_at = t;
    sites[only].reaches = true;
    run(10000);
    ck_assert_uint_eq(holder, only);
    ck_assert_uint_le(moved_at - up_at, 9000);
    run(60000);
    ck_assert_uint_eq(moves, 1);
    end_world();
}
END_TEST

START_TEST(a_domain_that_its_holder_reaches_stays)
{
    world((uint64_t)_i + 1);
    run(20000);
    for (uint16_t s = 1; s <= SITES; s++)
        sites[s].reaches = true;
    run(400000);
    ck_assert_uint_eq(moves, 0);
    sites[2].reaches = sites[3].reaches = false;
    run(400000);
    ck_assert_uint_eq(moves, 0);
    end_world();
}
END_TEST

START_TEST(a_placed_domain_returns_when_home_has_been_well_for_long)
{
    uint64_t placed;

    world((uint64_t)_i + 1);
    run(20000);
    sites[2].reaches = true;
    run(10000);
    ck_assert_uint_eq(holder, 2);
    placed = moved_at;
    run(20000);
    sites[1].reaches = true;
    run(REACH_HOLD_MS - (t - placed) - 1000);
    ck_assert_uint_eq(holder, 2); /* not within five minutes */
    run(20000);
    ck_assert_uint_eq(holder, 1);
    run(600000);
    ck_assert_uint_eq(moves, 2);
    end_world();
}
END_TEST

START_TEST(a_home_that_comes_and_goes_does_not_get_it_back)
{
    world(3);
    run(20000);
    sites[2].reaches = true;
    run(10000);
    for (int i = 0; i < 60; i++) {
        sites[1].reaches = !sites[1].reaches;
        run(20000);
    }
    ck_assert_uint_eq(moves, 1);
    end_world();
}
END_TEST

START_TEST(when_the_new_holder_fails_it_moves_on_at_once)
{
    uint64_t fails_at;

    world((uint64_t)_i + 1);
    run(20000);
    sites[2].reaches = true;
    run(10000);
    ck_assert_uint_eq(holder, 2);
    run(20000);
    sites[2].reaches = false;
    sites[3].reaches = true;
    fails_at = t;
    run(20000);
    ck_assert_uint_eq(holder, 3);
    ck_assert_uint_le(moved_at - fails_at, 18000);
    end_world();
}
END_TEST

START_TEST(a_primary_that_nobody_reaches_moves_nothing)
{
    world(4);
    run(2 * REACH_FAST_FOR_MS);
    ck_assert_uint_eq(moves, 0);
    sites[2].reaches = true;
    sites[2].is_down = true; /* and cannot say so */
    run(60000);
    ck_assert_uint_eq(moves, 0);
    end_world();
}
END_TEST

START_TEST(flapping_ways_move_a_domain_no_faster_than_it_may)
{
    world((uint64_t)_i + 1);
    for (int i = 0; i < 300; i++) {
        sites[1 + prng_below(&rnd, SITES)].reaches = prng_below(&rnd, 2) == 0;
        run(prng_below(&rnd, 4000));
    }
    /* each move but one from home follows 5 s of holding, and two failures after a success */
    ck_assert_uint_le(moves, 600000 / REACH_HOLD_MIN_MS);
    for (uint16_t s = 1; s <= SITES; s++)
        sites[s].reaches = s == 2;
    run(40000);
    ck_assert_uint_eq(holder, 2);
    end_world();
}
END_TEST

/* --- single rules --- */

static struct frame_reach word(uint32_t n, bool up, uint32_t age_ms)
{
    struct frame_reach f = {.port = 25, .up = up, .age_ms = age_ms};
    struct reach_addr a = addr(n);

    memcpy(f.ip, a.ip, sizeof f.ip);
    return f;
}

START_TEST(a_recovery_is_told_once)
{
    struct reach *r = reach_new(1, 5);
    struct frame_reach up = word(1, true, 0), down = word(1, false, 0);
    struct reach_addr a = addr(1), got;

    reach_sites(r, all, SITES);
    reach_heard(r, 2, &up, 1, 1000); /* nobody wants it here */
    ck_assert_uint_eq(reach_count(r), 0);
    ck_assert_int_eq(reach_want(r, &a, 1000), OK);
    reach_saw(r, &a, false, 1000);
    ck_assert(!reach_next_up(r, &got));
    reach_heard(r, 2, &up, 1, 2000);
    reach_heard(r, 3, &up, 1, 2500);
    ck_assert(reach_next_up(r, &got) && memcmp(got.ip, a.ip, 16) == 0 && got.port == 25);
    ck_assert(!reach_next_up(r, &got));
    reach_heard(r, 2, &up, 1, 3000);
    ck_assert(!reach_next_up(r, &got));
    reach_heard(r, 2, &down, 1, 4000);
    reach_heard(r, 3, &down, 1, 4000);
    reach_heard(r, 3, &up, 1, 5000);
    ck_assert(reach_next_up(r, &got));
    reach_saw(r, &a, true, 6000); /* by its own probe */
    ck_assert(reach_next_up(r, &got));
    reach_saw(r, &a, true, 7000);
    ck_assert(!reach_next_up(r, &got));
    reach_free(&r);
    ck_assert_ptr_null(r);
}
END_TEST

START_TEST(words_of_strangers_and_of_sites_that_left_do_not_count)
{
    static const uint16_t two[2] = {1, 3};
    struct reach *r = reach_new(1, 5);
    struct frame_reach up = word(1, true, 0), down = word(2, false, 0);
    struct reach_addr a = addr(1);
    bool is_up;

    reach_sites(r, all, SITES);
    ck_assert_int_eq(reach_want(r, &a, 1000), OK);
    reach_heard(r, 7, &up, 1, 1000);
    reach_heard(r, 7, &down, 1, 1000);
    reach_heard(r, 1, &up, 1, 1000);
    ck_assert_uint_eq(reach_count(r), 1);
    ck_assert(!reach_view(r, 7, &a, 1000, &is_up) && !reach_view(r, 1, &a, 1000, &is_up));
    reach_heard(r, 2, &up, 1, 1000);
    reach_heard(r, 3, &up, 1, 1000);
    ck_assert(reach_view(r, 2, &a, 1000, &is_up) && is_up);
    reach_sites(r, two, 2);
    ck_assert(!reach_view(r, 2, &a, 1000, &is_up));
    ck_assert(reach_view(r, 3, &a, 1000, &is_up) && is_up);
    ck_assert(!reach_view(r, 3, &a, 1001 + REACH_FRESH_MS, &is_up)); /* too long ago */
    reach_free(&r);
}
END_TEST

START_TEST(a_domain_is_given_only_after_two_failures_and_a_try_after_the_siblings_word)
{
    static const uint16_t may[2] = {1, 2};
    struct reach *r = reach_new(1, 5);
    struct frame_reach up = word(1, true, 0), down = word(1, false, 0);
    struct reach_addr a[2] = {addr(1), addr(2)};
    struct reach_domain d = {
        .addrs = a, .count = 2, .home = 1, .may_hold = may, .may_hold_count = 2};
    uint16_t to;

    reach_sites(r, all, SITES);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(reach_want(r, &a[i], 1000), OK);
    reach_heard(r, 2, &up, 1, 500);
    reach_saw(r, &a[0], false, 1000);
    reach_saw(r, &a[1], false, 1000);
    ck_assert_int_eq(reach_judge(r, &d, 1000, &to), REACH_STAY); /* one failure */
    reach_saw(r, &a[0], true, 1500);
    reach_unwant(r, &a[1]);
    for (int i = 0; i < 9; i++)
        reach_tick(r, 1500);
    ck_assert_int_eq(reach_want(r, &a[1], 1500), OK);
    reach_saw(r, &a[0], false, 1600);
    reach_saw(r, &a[0], false, 2000);
    reach_heard(r, 2, &down, 1, 2500);
    reach_heard(r, 2, &up, 1, 3000);
    ck_assert_int_eq(reach_judge(r, &d, 3000, &to), REACH_STAY); /* a[1] was not tried */
    reach_saw(r, &a[1], false, 3000);
    ck_assert_int_eq(reach_judge(r, &d, 3000, &to), REACH_STAY); /* a[0] not since */
    reach_saw(r, &a[0], false, 3100);
    d.home = 3;
    d.held_since_ms = 500;
    ck_assert_int_eq(reach_judge(r, &d, 499 + REACH_HOLD_MIN_MS, &to), REACH_STAY); /* placed */
    ck_assert_int_eq(reach_judge(r, &d, 500 + REACH_HOLD_MIN_MS, &to), REACH_GIVE);
    d.home = 1;
    d.held_since_ms = 0;
    ck_assert_int_eq(reach_judge(r, &d, 3100, &to), REACH_GIVE);
    ck_assert_uint_eq(to, 2);
    d.may_hold_count = 1;
    ck_assert_int_eq(reach_judge(r, &d, 3100, &to), REACH_STAY);
    d.may_hold_count = 2;
    ck_assert_int_eq(reach_judge(r, &d, 3001 + REACH_FRESH_MS, &to), REACH_STAY);
    reach_saw(r, &a[1], true, 3200); /* one address is enough to stay */
    ck_assert_int_eq(reach_judge(r, &d, 3200, &to), REACH_STAY);
    d.count = 0;
    ck_assert_int_eq(reach_judge(r, &d, 3200, &to), REACH_STAY);
    reach_free(&r);
}
END_TEST

START_TEST(notes_hold_what_fits_and_go_round)
{
    struct reach *r = reach_new(1, 5);
    struct frame_reach list[LIMIT_FRAME_REACH];
    static bool told[1000];
    uint32_t n, count = 0;

    reach_sites(r, all, SITES);
    for (uint32_t i = 0; i < 1000; i++) {
        struct reach_addr a = addr(i);

        ck_assert_int_eq(reach_want(r, &a, 1000), OK);
    }
    ck_assert(reach_has_news(r));
    for (int round = 0; round < 5; round++) {
        n = reach_note(r, 1000, list, LIMIT_FRAME_REACH);
        ck_assert_uint_eq(n, LIMIT_FRAME_REACH);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t which = (uint32_t)list[i].ip[14] << 8 | list[i].ip[15];

            count += !told[which];
            told[which] = true;
            ck_assert(!list[i].up);
        }
    }
    ck_assert_uint_eq(count, 1000);
    ck_assert(!reach_has_news(r));
    reach_free(&r);
}
END_TEST

START_TEST(the_table_has_its_limit_and_room_comes_back)
{
    struct reach *r = reach_new(1, 5);
    struct reach_addr a;

    for (uint32_t i = 0; i < LIMIT_REACH_ADDRS; i++) {
        a = addr(i);
        ck_assert_int_eq(reach_want(r, &a, 1000), OK);
    }
    a = addr(LIMIT_REACH_ADDRS);
    ck_assert_int_eq(reach_want(r, &a, 1000), E_FULL);
    a = addr(5);
    ck_assert_int_eq(reach_want(r, &a, 1000), OK);
    reach_unwant(r, &a);
    for (int i = 0; i < 9; i++)
        reach_tick(r, 1500);
    a = addr(LIMIT_REACH_ADDRS);
    ck_assert_int_eq(reach_want(r, &a, 1500), OK);
    for (int i = 0; i < 9; i++)
        reach_tick(r, 1500 + REACH_WANT_MS);
    ck_assert_uint_eq(reach_count(r), 0);
    reach_free(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reach");
    TCase *tc = tcase_create("reach");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, the_fleet_makes_one_probe_in_an_interval, 0, 6);
    tcase_add_test(tc, those_that_are_left_take_all_turns);
    tcase_add_test(tc, what_nobody_wants_is_forgotten_by_all);
    tcase_add_loop_test(tc, a_domain_goes_to_the_only_site_that_reaches_its_primary_in_time, 0,
                        20);
    tcase_add_loop_test(tc, a_domain_that_its_holder_reaches_stays, 0, 3);
    tcase_add_loop_test(tc, a_placed_domain_returns_when_home_has_been_well_for_long, 0, 5);
    tcase_add_test(tc, a_home_that_comes_and_goes_does_not_get_it_back);
    tcase_add_loop_test(tc, when_the_new_holder_fails_it_moves_on_at_once, 0, 5);
    tcase_add_test(tc, a_primary_that_nobody_reaches_moves_nothing);
    tcase_add_loop_test(tc, flapping_ways_move_a_domain_no_faster_than_it_may, 0, 5);
    tcase_add_test(tc, a_recovery_is_told_once);
    tcase_add_test(tc, words_of_strangers_and_of_sites_that_left_do_not_count);
    tcase_add_test(tc,
                   a_domain_is_given_only_after_two_failures_and_a_try_after_the_siblings_word);
    tcase_add_test(tc, notes_hold_what_fits_and_go_round);
    tcase_add_test(tc, the_table_has_its_limit_and_room_comes_back);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
