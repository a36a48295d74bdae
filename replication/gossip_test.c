/* Two and three sites whose sets must become equal, over ways that lose, double and reorder. A
 * set here is an array of numbers that only grow, with the serial of each one's last change. */
#include "replication/gossip.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"

#define SITES   3
#define KEYS    5000
#define FLIGHT  4096
#define STEP_MS 50

struct toy {
    uint64_t serial, values[KEYS], serials[KEYS], merges;
};

struct frame {
    uint16_t from, to;
    size_t n;
    char bytes[LIMIT_GOSSIP_FRAME_BYTES];
};

static struct site {
    uint16_t number;
    struct toy toys[2];
    struct gossip g;
} sites[SITES + 1];

static struct frame *air[FLIGHT];
static size_t in_air;
static uint64_t sent, sent_bytes, now;
static struct prng rng;

/* --- the toy --- */

static void toy_set(struct toy *t, uint64_t key, uint64_t value)
{
    if (value <= t->values[key])
        return;
    t->values[key] = value;
    t->serials[key] = ++t->serial;
}

static size_t toy_next(void *ctx, struct change_cursor *at, char *buf)
{
    struct toy *t = ctx;
    uint64_t best = 0, serial = UINT64_MAX;

    if (at->serial >= t->serial)
        return 0;
    for (uint64_t i = 0; i < KEYS; i++)
        if (t->serials[i] > at->serial && t->serials[i] < serial) {
            serial = t->serials[i];
            best = i;
        }
    *at = (struct change_cursor){serial, 0};
    memcpy(buf, &best, 8);
    memcpy(buf + 8, &t->values[best], 8);
    return 16 + best % 7; /* what is behind is not looked at */
}

static bool toy_merge(void *ctx, struct str entry)
{
    struct toy *t = ctx;
    uint64_t key, value;

    if (entry.n < 16)
        return false;
    memcpy(&key, entry.p, 8);
    memcpy(&value, entry.p + 8, 8);
    t->merges++;
    if (key >= KEYS)
        return false;
    toy_set(t, key, value);
    return true;
}

/* --- the way --- */

static void on_send(void *ctx, uint16_t to, struct str facts)
{
    struct site *s = ctx;
    struct frame *f = malloc(sizeof *f);

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_lt(in_air, FLIGHT);
    f->from = s->number;
    f->to = to;
    f->n = facts.n;
    memcpy(f->bytes, facts.p, facts.n);
    air[in_air++] = f;
    sent++;
    sent_bytes += facts.n;
}

static void site_start(uint16_t number, uint64_t nonce)
{
    struct site *s = &sites[number];

    s->number = number;
    memset(s->toys, 0, sizeof s->toys);
    gossip_init(&s->g, &(struct gossip_options){.nonce = nonce,
                                                .set_count = 2,
                                                .sets = {{&s->toys[0], toy_next, toy_merge},
                                                         {&s->toys[1], toy_next, toy_merge}},
                                                .ctx = s,
                                                .send = on_send});
}

static void link_all(bool is_up)
{
    for (uint16_t a = 1; a <= SITES; a++)
        for (uint16_t b = 1; b <= SITES; b++)
            if (a != b)
                gossip_link(&sites[a].g, b, is_up, now);
}

static void setup(void)
{
    prng_seed(&rng, 7);
    now = 1000;
    sent = sent_bytes = 0;
    for (uint16_t i = 1; i <= SITES; i++)
        site_start(i, 100 + i);
}

static void drop_air(void)
{
    while (in_air > 0)
        free(air[--in_air]);
}

static void deliver(struct frame *f)
{
    char *copy = malloc(f->n); /* of its exact size, so that a read behind its end is seen */

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, f->bytes, f->n);
    gossip_heard(&sites[f->to].g, f->from, (struct str){copy, f->n}, now);
    free(copy);
}

/* One turn: all that is in the air arrives, but for `lost` of 100, some twice, in any order. */
static void turn(unsigned lost, unsigned doubled)
{
    size_t count = in_air;
    struct frame *round[FLIGHT];

    memcpy(round, air, count * sizeof *air);
    in_air = 0;
    for (size_t i = 0; i < count; i++) {
        size_t k = i + (lost > 0 ? prng_below(&rng, count - i) : 0);
        struct frame *f = round[k];

        round[k] = round[i];
        if (prng_below(&rng, 100) >= lost) {
            deliver(f);
            if (prng_below(&rng, 100) < doubled)
                deliver(f);
        }
        free(f);
    }
    now += STEP_MS;
    for (uint16_t i = 1; i <= SITES; i++)
        gossip_tick(&sites[i].g, now);
}

static bool are_equal(int toy)
{
    for (uint16_t i = 2; i <= SITES; i++)
        if (memcmp(sites[1].toys[toy].values, sites[i].toys[toy].values,
                   sizeof sites[1].toys[toy].values) != 0)
            return false;
    return true;
}

static bool is_quiet(void)
{
    for (uint16_t i = 1; i <= SITES; i++)
        if (!gossip_is_quiet(&sites[i].g))
            return false;
    return in_air == 0;
}

static void settle(unsigned lost)
{
    for (int i = 0; i < 4000 && !(is_quiet() && are_equal(0) && are_equal(1)); i++)
        turn(lost, lost);
    ck_assert(are_equal(0));
    ck_assert(are_equal(1));
}

START_TEST(what_one_site_sees_all_know)
{
    link_all(true);
    toy_set(&sites[1].toys[0], 5, 9);
    toy_set(&sites[2].toys[1], 6, 8);
    settle(0);
    ck_assert_uint_eq(sites[3].toys[0].values[5], 9);
    ck_assert_uint_eq(sites[3].toys[1].values[6], 8);
    ck_assert(is_quiet());
    sent = 0;
    for (int i = 0; i < 200; i++)
        turn(0, 0);
    ck_assert_uint_eq(sent, 0); /* who has nothing to say is silent */
}
END_TEST

START_TEST(sets_become_equal_over_ways_that_lose_double_and_reorder)
{
    prng_seed(&rng, (uint64_t)_i + 1);
    link_all(true);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 300; i++)
            toy_set(&sites[1 + prng_below(&rng, SITES)].toys[prng_below(&rng, 2)],
                    prng_below(&rng, KEYS), prng_below(&rng, 1000));
        turn(30, 20);
    }
    settle(30);
    drop_air();
}
END_TEST

START_TEST(a_link_that_was_down_goes_on_where_it_was)
{
    uint64_t merges;

    link_all(true);
    for (uint64_t i = 0; i < 3000; i++)
        toy_set(&sites[1].toys[0], i, 1);
    settle(0);
    link_all(false);
    toy_set(&sites[1].toys[0], 4000, 1);
    turn(0, 0);
    drop_air();
    ck_assert(!are_equal(0));
    merges = sites[2].toys[0].merges;
    link_all(true);
    settle(0);
    /* from the one, and the same from the third, that had it of it */
    ck_assert_uint_le(sites[2].toys[0].merges - merges, 2);
}
END_TEST

START_TEST(a_site_that_has_forgotten_everything_is_told_everything)
{
    link_all(true);
    for (uint64_t i = 0; i < 3000; i++)
        toy_set(&sites[1].toys[0], i, 1);
    settle(0);
    for (uint16_t i = 1; i <= SITES; i++)
        if (i != 2)
            gossip_link(&sites[i].g, 2, false, now);
    drop_air();
    site_start(2, 999);
    toy_set(&sites[2].toys[0], 4500, 3); /* its serials begin anew: heard all the same */
    link_all(true);
    settle(0);
    ck_assert_uint_eq(sites[2].toys[0].values[2999], 1);
    ck_assert_uint_eq(sites[3].toys[0].values[4500], 3);
}
END_TEST

START_TEST(a_peer_that_is_another_process_all_at_once_is_told_everything_too)
{
    link_all(true);
    for (uint64_t i = 0; i < 3000; i++)
        toy_set(&sites[1].toys[0], i, 1);
    settle(0);
    drop_air();
    site_start(2, 999);
    gossip_link(&sites[2].g, 1, true, now); /* the others heard of no change of their links */
    gossip_link(&sites[2].g, 3, true, now);
    toy_set(&sites[1].toys[0], 4000, 1);
    settle(0);
    ck_assert_uint_eq(sites[2].toys[0].values[2999], 1);
}
END_TEST

START_TEST(what_flies_to_a_peer_is_bounded)
{
    link_all(true);
    for (int i = 0; i < 5; i++)
        turn(0, 0);
    drop_air();
    for (int round = 0; round < 50; round++) {
        for (uint64_t i = 0; i < KEYS; i++)
            toy_set(&sites[1].toys[0], i, (uint64_t)round + 1);
        gossip_tick(&sites[1].g, now);
        ck_assert_uint_le(in_air, 2 * LIMIT_GOSSIP_FLYING);
    }
    drop_air();
}
END_TEST

START_TEST(without_an_answer_it_is_sent_again)
{
    link_all(true);
    for (int i = 0; i < 5; i++)
        turn(0, 0);
    drop_air();
    toy_set(&sites[1].toys[0], 1, 1);
    gossip_tick(&sites[1].g, now);
    ck_assert_uint_eq(in_air, 2);
    drop_air();
    now += LIMIT_GOSSIP_RESEND_MS - 1;
    gossip_tick(&sites[1].g, now);
    ck_assert_uint_eq(in_air, 0);
    now++;
    gossip_tick(&sites[1].g, now);
    ck_assert_uint_eq(in_air, 2);
    drop_air();
}
END_TEST

/* A peer that keeps saying where it stands, and that is always the same place. */
START_TEST(an_answer_that_says_nothing_new_delays_nothing)
{
    char greet[64] = {1, [8] = 102, [16] = 101, [18] = 2};
    uint64_t acked;

    link_all(true);
    toy_set(&sites[1].toys[0], 1, 1);
    settle(0);
    acked = sites[1].g.peers[0].sets[0].acked;
    ck_assert_uint_eq(acked, 1);
    greet[26] = (char)acked;
    toy_set(&sites[1].toys[0], 1, 2);
    gossip_tick(&sites[1].g, now);
    drop_air();
    now += LIMIT_GOSSIP_RESEND_MS - 1;
    gossip_heard(&sites[1].g, 2, (struct str){greet, 35}, now);
    ck_assert_uint_eq(sites[1].g.bad, 0);
    drop_air();
    now++;
    gossip_tick(&sites[1].g, now);
    ck_assert_uint_eq(in_air, 2);
    drop_air();
}
END_TEST

#define B(lit)                                                                                 \
    {                                                                                          \
        (lit), sizeof(lit) - 1                                                                 \
    }
#define N0 "\0\0\0\0\0\0\0"

static const struct str nonsense[] = {
    B(""),
    B("\x03"),
    B("\x01"),
    B("\x01" N0 "\x09" N0 "\0\x01\x01"),
    B("\x01" N0 "\x09" N0 "\0\x02\x00"),
    B("\x01" N0 "\0" N0 "\0\x01\x00"),
    B("\x01" N0 "\x09" N0 "\0\x01\x00x"),
    B("\x02" N0 "\x09\0" N0 "\0" N0 "\x01"),
    B("\x02" N0 "\x09\0" N0 "\x01" N0 "\x01\0\x10"
      "aaaaaaaabbbbbbbb"),
    B("\x02" N0 "\x09\0" N0 "\0" N0 "\x01\0\0"),
    B("\x02" N0 "\x09\0" N0 "\0" N0 "\x01\0\x11" N0 "\0bbbbbbbb"),
    B("\x02" N0 "\x09\0" N0 "\0" N0 "\x01\0\x08" N0 "\0"),
    B("\x02" N0 "\x09\0" N0 "\0" N0 "\x01\x02\x01" N0 "\0"),
};

START_TEST(facts_that_make_no_sense_are_counted)
{
    link_all(true);
    drop_air();
    gossip_heard(&sites[1].g, 2, nonsense[_i], now);
    drop_air();
    ck_assert_uint_eq(sites[1].g.bad, 1);
}
END_TEST

START_TEST(nobody_is_heard_without_a_link_and_newer_sets_are_passed_over)
{
    struct str set7 = B("\x02" N0 "\x09\x07" N0 "\0" N0 "\x01\0\x01x");

    gossip_heard(&sites[1].g, 2, nonsense[0], now);
    ck_assert_uint_eq(sites[1].g.bad, 0);
    link_all(true);
    gossip_heard(&sites[1].g, 2, set7, now);
    ck_assert_uint_eq(sites[1].g.bad, 0);
    drop_air();
}
END_TEST

START_TEST(a_peer_from_before_a_set_was_made_is_told_of_the_others_and_then_left_alone)
{
    uint64_t before;

    sites[2].g.o.set_count = 1;
    link_all(true);
    toy_set(&sites[1].toys[0], 5, 9);
    toy_set(&sites[1].toys[1], 6, 8);
    for (int i = 0; i < 100; i++)
        turn(0, 0);
    ck_assert(are_equal(0) && is_quiet());
    ck_assert_uint_eq(sites[2].toys[1].values[6], 0);
    ck_assert_uint_eq(sites[3].toys[1].values[6], 8);
    before = sent;
    for (int i = 0; i < 2 * LIMIT_GOSSIP_RESEND_MS / STEP_MS; i++)
        turn(0, 0);
    ck_assert_uint_eq(sent, before);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("gossip");
    TCase *tc = tcase_create("all");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(tc, setup, drop_air);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, what_one_site_sees_all_know);
    tcase_add_loop_test(tc, sets_become_equal_over_ways_that_lose_double_and_reorder, 0, 10);
    tcase_add_test(tc, a_link_that_was_down_goes_on_where_it_was);
    tcase_add_test(tc, a_site_that_has_forgotten_everything_is_told_everything);
    tcase_add_test(tc, a_peer_that_is_another_process_all_at_once_is_told_everything_too);
    tcase_add_test(tc, what_flies_to_a_peer_is_bounded);
    tcase_add_test(tc, without_an_answer_it_is_sent_again);
    tcase_add_test(tc, an_answer_that_says_nothing_new_delays_nothing);
    tcase_add_loop_test(tc, facts_that_make_no_sense_are_counted, 0,
                        sizeof nonsense / sizeof *nonsense);
    tcase_add_test(tc, nobody_is_heard_without_a_link_and_newer_sets_are_passed_over);
    tcase_add_test(tc,
                   a_peer_from_before_a_set_was_made_is_told_of_the_others_and_then_left_alone);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? 0 : 1;
}
