#include "base/map.h"

#include <check.h>

#include "base/prng.h"

#define KEYS 3000

static uint64_t keys[KEYS + 1]; /* of value i */

static bool is_equal(const void *ctx, uint32_t value, const void *key)
{
    (void)ctx;
    return keys[value] == *(const uint64_t *)key;
}

/* Every hash collides with many others, so that runs and wrap-around are common. */
static uint64_t weak_hash(uint64_t key)
{
    return key % 61 * 7;
}

static void walk(uint32_t steps, uint64_t (*hash)(uint64_t))
{
    static bool is_in[KEYS + 1];
    uint32_t count = 0;
    struct prng rng;
    struct map m;

    prng_seed(&rng, steps);
    map_init(&m, KEYS, 1);
    memset(is_in, 0, sizeof is_in);
    for (uint32_t i = 1; i <= KEYS; i++)
        keys[i] = i * 11;
    for (uint32_t s = 0; s < steps; s++) {
        uint32_t i = 1 + (uint32_t)prng_below(&rng, KEYS);
        uint64_t h = hash(keys[i]);

        ck_assert_uint_eq(map_find(&m, h, is_equal, NULL, &keys[i]), is_in[i] ? i : 0);
        if (is_in[i])
            map_remove(&m, h, i);
        else
            ck_assert_int_eq(map_put(&m, h, i), OK);
        is_in[i] = !is_in[i];
        count += is_in[i] ? 1 : UINT32_MAX;
        ck_assert_uint_eq(m.count, count);
    }
    for (uint32_t i = 1; i <= KEYS; i++)
        ck_assert_uint_eq(map_find(&m, hash(keys[i]), is_equal, NULL, &keys[i]),
                          is_in[i] ? i : 0);
    map_fini(&m);
}

static uint64_t good_hash(uint64_t key)
{
    static const uint64_t secret[2] = {1, 2};

    return siphash(secret, &key, sizeof key);
}

START_TEST(what_was_put_is_found_until_it_is_removed)
{
    walk(100000, good_hash);
}
END_TEST

START_TEST(colliding_hashes_cost_time_but_lose_nothing)
{
    walk(20000, weak_hash);
}
END_TEST

START_TEST(hashes_at_the_end_of_the_table_wrap_around)
{
    struct map m;

    map_init(&m, 100, 1);
    for (uint32_t i = 1; i <= 10; i++) {
        keys[i] = i;
        ck_assert_int_eq(map_put(&m, 15, i), OK); /* the last of 16 slots */
    }
    for (uint32_t gone = 1; gone <= 10; gone++) {
        map_remove(&m, 15, gone);
        for (uint32_t i = 1; i <= 10; i++)
            ck_assert_uint_eq(map_find(&m, 15, is_equal, NULL, &keys[i]), i > gone ? i : 0);
    }
    map_fini(&m);
}
END_TEST

START_TEST(empty_map_finds_nothing_and_full_map_refuses)
{
    uint64_t key = 5;
    struct map m;

    map_init(&m, 2, 1);
    ck_assert_uint_eq(map_find(&m, 1, is_equal, NULL, &key), 0);
    keys[1] = 1;
    keys[2] = 2;
    ck_assert_int_eq(map_put(&m, 1, 1), OK);
    ck_assert_int_eq(map_put(&m, 2, 2), OK);
    ck_assert_int_eq(map_put(&m, 3, 3), E_FULL);
    map_remove(&m, 1, 1);
    ck_assert_int_eq(map_put(&m, 3, 3), OK);
    map_fini(&m);
}
END_TEST

/* Test vectors of the paper's appendix: key 00..0f, input 00, 00 01, ... */
START_TEST(siphash_is_the_published_one)
{
    const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    uint8_t in[15];

    for (int i = 0; i < 15; i++)
        in[i] = (uint8_t)i;
    ck_assert_uint_eq(siphash(key, in, 15), UINT64_C(0xa129ca6149be45e5));
    ck_assert_uint_eq(siphash(key, in, 0), UINT64_C(0x726fdb47dd0e0e31));
    ck_assert_uint_eq(siphash(key, in, 8), UINT64_C(0x93f5f5799a932462));
}
END_TEST

START_TEST(seed_changes_the_hashes)
{
    struct map a, b;

    map_init(&a, 1, 1);
    map_init(&b, 1, 2);
    ck_assert_uint_ne(map_hash(&a, "x", 1), map_hash(&b, "x", 1));
    map_fini(&a);
    map_fini(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("map");
    TCase *tc = tcase_create("map");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, what_was_put_is_found_until_it_is_removed);
    tcase_add_test(tc, colliding_hashes_cost_time_but_lose_nothing);
    tcase_add_test(tc, hashes_at_the_end_of_the_table_wrap_around);
    tcase_add_test(tc, empty_map_finds_nothing_and_full_map_refuses);
    tcase_add_test(tc, siphash_is_the_published_one);
    tcase_add_test(tc, seed_changes_the_hashes);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
