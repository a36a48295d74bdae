/* Whose primary is away is known at all sites, is taken back by who said it, is forgotten when
 * nobody repeats it; words may come late, doubled and in any order. */
#include "node/policy/away.h"

#include <check.h>
#include <string.h>

#include "base/prng.h"

#define T0 UINT64_C(1000000000)

static struct away a, b;

static void setup(void)
{
    away_init(&a, 0, 1);
    away_init(&b, 0, 2);
}

static void teardown(void)
{
    away_fini(&a);
    away_fini(&b);
}

static void tell_all(const struct away *from, struct away *to, uint64_t now_ms)
{
    struct change_cursor at = {0};
    struct away_entry e;
    uint8_t bytes[AWAY_ENTRY_BYTES];

    while (away_changes(from, &at, &e)) {
        away_pack(&e, bytes);
        ck_assert_int_eq(away_unpack((struct str){(char *)bytes, sizeof bytes}, &e), OK);
        (void)!away_merge(to, &e, now_ms);
    }
}

START_TEST(what_one_site_sees_the_other_knows_until_it_is_taken_back)
{
    uint64_t seen[] = {7, 9};

    away_told(&a, 1, seen, 2, T0);
    tell_all(&a, &b, T0 + 5);
    ck_assert(away_has(&b, 7, T0 + 5) && away_has(&b, 9, T0 + 5) && !away_has(&b, 8, T0 + 5));
    away_told(&a, 1, seen, 1, T0 + 1000);
    tell_all(&a, &b, T0 + 1005);
    ck_assert(away_has(&b, 7, T0 + 1005) && !away_has(&b, 9, T0 + 1005));
}
END_TEST

START_TEST(what_is_not_repeated_is_forgotten_and_what_is_stays)
{
    uint64_t seen = 7;

    for (uint64_t ms = 0; ms <= 2 * LIMIT_AWAY_MS; ms += 1000) {
        away_told(&a, 1, &seen, 1, T0 + ms);
        tell_all(&a, &b, T0 + ms);
        ck_assert(away_has(&b, 7, T0 + ms));
    }
    ck_assert(away_has(&b, 7, T0 + 2 * LIMIT_AWAY_MS + LIMIT_AWAY_AGAIN_MS));
    ck_assert(!away_has(&b, 7, T0 + 3 * LIMIT_AWAY_MS));
    away_sweep(&b, T0 + 3 * LIMIT_AWAY_MS);
    ck_assert_uint_eq(away_count(&b), 0);
}
END_TEST

START_TEST(a_word_is_told_again_rarely)
{
    uint64_t seen = 7, serial;

    away_told(&a, 1, &seen, 1, T0);
    serial = a.changes.serial;
    for (uint64_t ms = 1000; ms < LIMIT_AWAY_AGAIN_MS; ms += 1000)
        away_told(&a, 1, &seen, 1, T0 + ms);
    ck_assert_uint_eq(a.changes.serial, serial);
    away_told(&a, 1, &seen, 1, T0 + LIMIT_AWAY_AGAIN_MS);
    ck_assert_uint_eq(a.changes.serial, serial + 1);
}
END_TEST

START_TEST(who_did_not_say_it_does_not_take_it_back)
{
    uint64_t seen = 7;

    away_told(&a, 1, &seen, 1, T0);
    tell_all(&a, &b, T0);
    away_told(&b, 2, NULL, 0, T0 + 10);
    ck_assert(away_has(&b, 7, T0 + 10));
    away_told(&b, 2, &seen, 1, T0 + 20); /* its mail has come here */
    away_told(&b, 2, NULL, 0, T0 + 30);
    ck_assert(!away_has(&b, 7, T0 + 30));
}
END_TEST

START_TEST(a_primary_that_answers_is_not_away_whoever_says_so)
{
    uint64_t seen = 7, serial;

    away_told(&a, 1, &seen, 1, T0);
    tell_all(&a, &b, T0);
    away_answered(&b, 2, 7, T0 + 10);
    ck_assert(!away_has(&b, 7, T0 + 10));
    tell_all(&b, &a, T0 + 10);
    ck_assert(!away_has(&a, 7, T0 + 10));
    serial = b.changes.serial;
    away_answered(&b, 2, 7, T0 + 20); /* no news, and no entry of one that never was away */
    away_answered(&b, 2, 8, T0 + 20);
    ck_assert(b.changes.serial == serial && away_count(&b) == 1);
    away_told(&a, 1, &seen, 1, T0 + 20);
    ck_assert(away_has(&a, 7, T0 + 20));
}
END_TEST

START_TEST(a_clock_that_is_ahead_keeps_nobody_away_for_longer)
{
    struct away_entry e = {7, T0 + 1000 * LIMIT_AWAY_MS, 2, true};

    ck_assert_int_eq(away_merge(&a, &e, T0), AWAY_NEWS);
    ck_assert(!away_has(&a, 7, T0 + LIMIT_AWAY_MS));
}
END_TEST

START_TEST(words_in_any_order_end_equal)
{
    struct away_entry words[60], x, y;
    struct prng rng;

    prng_seed(&rng, (uint64_t)_i + 1);
    for (int i = 0; i < 60; i++)
        words[i] =
            (struct away_entry){1 + prng_below(&rng, 5), T0 - prng_below(&rng, 4),
                                (uint16_t)(1 + prng_below(&rng, 3)), prng_below(&rng, 2) != 0};
    for (int i = 0; i < 60; i++)
        (void)!away_merge(&a, &words[i], T0);
    for (int i = 0; i < 200; i++)
        (void)!away_merge(&b, &words[prng_below(&rng, 60)], T0);
    for (int i = 59; i >= 0; i--)
        (void)!away_merge(&b, &words[i], T0);
    for (uint64_t g = 1; g <= 5; g++) {
        struct change_cursor at = {0};

        x = y = (struct away_entry){0};
        while (x.generation != g && away_changes(&a, &at, &x))
            continue;
        at = (struct change_cursor){0};
        while (y.generation != g && away_changes(&b, &at, &y))
            continue;
        ck_assert(x.generation == y.generation && x.ms == y.ms && x.site == y.site &&
                  x.is_away == y.is_away);
    }
}
END_TEST

START_TEST(at_the_ceiling_one_more_counts_as_up)
{
    uint64_t seen[] = {1, 2, 3};
    struct away small;

    away_init(&small, 2, 1);
    away_told(&small, 1, seen, 3, T0);
    ck_assert(away_has(&small, 1, T0) && away_has(&small, 2, T0) && !away_has(&small, 3, T0));
    ck_assert_int_eq(away_merge(&small, &(struct away_entry){4, T0, 2, true}, T0),
                     AWAY_NO_ROOM);
    away_fini(&small);
}
END_TEST

START_TEST(bytes_that_make_no_sense_are_refused)
{
    struct away_entry e = {7, T0, 1, true}, out;
    uint8_t bytes[AWAY_ENTRY_BYTES];
    struct str all = {(char *)bytes, sizeof bytes};

    away_pack(&e, bytes);
    ck_assert_int_eq(away_unpack(str_head(all, sizeof bytes - 1), &out), E_PROTO);
    bytes[18] = 2;
    ck_assert_int_eq(away_unpack(all, &out), E_PROTO);
    bytes[18] = 1;
    memset(bytes + 16, 0, 2);
    ck_assert_int_eq(away_unpack(all, &out), E_PROTO);
    memset(bytes, 0, 8);
    bytes[17] = 1;
    ck_assert_int_eq(away_unpack(all, &out), E_PROTO);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("away");
    TCase *tc = tcase_create("away");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_one_site_sees_the_other_knows_until_it_is_taken_back);
    tcase_add_test(tc, what_is_not_repeated_is_forgotten_and_what_is_stays);
    tcase_add_test(tc, a_word_is_told_again_rarely);
    tcase_add_test(tc, who_did_not_say_it_does_not_take_it_back);
    tcase_add_test(tc, a_primary_that_answers_is_not_away_whoever_says_so);
    tcase_add_test(tc, a_clock_that_is_ahead_keeps_nobody_away_for_longer);
    tcase_add_loop_test(tc, words_in_any_order_end_equal, 0, 50);
    tcase_add_test(tc, at_the_ceiling_one_more_counts_as_up);
    tcase_add_test(tc, bytes_that_make_no_sense_are_refused);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
