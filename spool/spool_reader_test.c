/* Readers of other threads, beside the writer: what they are handed is whole, always, or they
 * are told that it has left. Meant for the thread sanitizer as well. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "spool/spool_internal.h"
#include "tests/support/spool_kit.h"

#define READERS  3
#define MESSAGES 150

static struct kit kit;
static atomic_bool done;

static struct mid id_of(uint64_t counter)
{
    return mid_make(1, 7, counter);
}

static void setup(void)
{
    log_set_level(LOG_WARN);
    kit_init(&kit, 64 * MiB);
    atomic_store(&done, false);
}

static void teardown(void)
{
    kit_fini(&kit);
}

struct eyes {
    struct spool_reader *reader;
    struct mid seen[64];
    size_t n;
    uint64_t whole, left;
};

static bool see(void *user, const struct envelope *e, bool dot_open)
{
    struct eyes *eyes = user;

    (void)dot_open;
    if (eyes->n < 64)
        eyes->seen[eyes->n++] = e->id;
    return eyes->n < 64;
}

/* What a delivery does: take the envelope, then the body in pieces, while others settle it. */
static void read_one(struct eyes *eyes, struct mid id)
{
    struct arena a;
    struct envelope e;
    enum err err;
    bool live;

    arena_init(&a, RECORD_ARENA_BYTES);
    err = spool_get(eyes->reader, id, &a, &e);
    ASSERT(err == OK || err == E_NOTFOUND);
    if (err == OK) {
        err = spool_verify_body(eyes->reader, &e);
        ASSERT(err == OK || err == E_NOTFOUND);
    }
    if (err == OK)
        eyes->whole++;
    if (err == E_NOTFOUND) { /* then it can be traced, and is settled */
        eyes->left++;
        arena_reset(&a);
        ASSERT(spool_trace(eyes->reader, id, &a, &e, &live) == OK && !live);
        ASSERT(spool_settled_contains(eyes->reader, id) == OK);
    }
    arena_reset(&a);
}

static void *reader_main(void *arg)
{
    struct eyes *eyes = arg;

    while (!atomic_load(&done)) {
        struct spool_cursor c = {0};

        eyes->n = 0;
        ASSERT(spool_scan(eyes->reader, &c, 64, see, eyes) == OK && c.corrupt == 0);
        for (size_t i = 0; i < eyes->n; i++)
            read_one(eyes, eyes->seen[i]);
        ASSERT(spool_totals(kit.spool).messages <= MESSAGES);
        (void)spool_room(kit.spool);
        (void)spool_next_body(kit.spool);
    }
    return NULL;
}

static void *scrub_main(void *arg)
{
    struct spool_scrub *sc = arg;
    struct spool_reader_age age;
    uint64_t corrupt;
    bool round;

    while (!atomic_load(&done)) {
        ASSERT(spool_scrub_step(sc, 20000, &round, &corrupt) == OK && corrupt == 0);
        spool_readers_check(kit.spool, &age);
    }
    return NULL;
}

START_TEST(readers_beside_the_writer_never_see_half_a_message)
{
    struct eyes eyes[READERS] = {0};
    struct spool_scrub *sc;
    pthread_t threads[READERS + 1];

    ck_assert_int_eq(spool_scrub_open(kit.spool, &sc), OK);
    for (size_t i = 0; i < READERS; i++) {
        ck_assert_int_eq(spool_reader_open(kit.spool, &eyes[i].reader), OK);
        pthread_create(&threads[i], NULL, reader_main, &eyes[i]);
    }
    pthread_create(&threads[READERS], NULL, scrub_main, sc);
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        ck_assert_int_eq(kit_put(&kit, id_of(i), i * 501 % 60000), OK);
        if (i > 10)
            ck_assert_int_eq(kit_settle(&kit, id_of(i - 10), i), OK);
    }
    atomic_store(&done, true);
    for (size_t i = 0; i <= READERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < READERS; i++)
        spool_reader_close(&eyes[i].reader);
    spool_scrub_close(&sc);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 10);
}
END_TEST

START_TEST(a_scrub_reads_everything_in_steps_of_any_size)
{
    static const uint64_t steps[] = {1, 5000, 100000, UINT64_MAX};
    struct spool_scrub *sc;
    uint64_t corrupt = 0;
    size_t calls = 0;
    bool round = false;

    for (uint64_t i = 1; i <= 20; i++)
        ck_assert_int_eq(kit_put(&kit, id_of(i), i * 3000), OK);
    ck_assert_int_eq(kit_settle(&kit, id_of(5), 1), OK);
    ck_assert_int_eq(spool_scrub_open(kit.spool, &sc), OK);
    for (int rounds = 0; rounds < 2; rounds++) {
        do {
            ck_assert_int_eq(spool_scrub_step(sc, steps[_i], &round, &corrupt), OK);
            ck_assert_uint_eq(corrupt, 0);
            calls++;
        } while (!round);
    }
    ck_assert_uint_ge(calls, steps[_i] == 1 ? 50 : 2);
    spool_scrub_close(&sc);
}
END_TEST

START_TEST(no_call_of_a_reader_leaves_a_snapshot_open)
{
    struct spool_reader_age age;
    struct spool_cursor c = {0};
    struct eyes eyes = {0};
    struct envelope e;
    char buf[10];
    size_t got;
    bool live;

    ck_assert_int_eq(kit_put(&kit, id_of(1), 100), OK);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(spool_read_body(kit.reader, &e, 0, buf, sizeof buf, &got), OK);
    ck_assert_int_eq(spool_scan(kit.reader, &c, 1, see, &eyes), OK);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(2), &kit.arena, &e, &live), E_NOTFOUND);
    ck_assert_int_eq(spool_settled_contains(kit.reader, id_of(1)), E_NOTFOUND);
    for (uint64_t i = 10; i < 20; i++)
        ck_assert_int_eq(kit_put(&kit, id_of(i), 10), OK);
    spool_readers_check(kit.spool, &age);
    ck_assert_uint_eq(age.lag_txns, 0);
    ck_assert_uint_eq(age.oldest_ms, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spool reader");
    TCase *tc = tcase_create("beside the writer");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, readers_beside_the_writer_never_see_half_a_message);
    tcase_add_loop_test(tc, a_scrub_reads_everything_in_steps_of_any_size, 0, 4);
    tcase_add_test(tc, no_call_of_a_reader_leaves_a_snapshot_open);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
