/* The simulator's own ground: time, the network, disks that lose what was not synced, and an
 * oracle that speaks up. */
#include <check.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/sim/check.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#define MAP_BYTES (8 << 20)

static char order[16];

static void note_a(void *arg)
{
    strncat(order, arg, 2);
}

START_TEST(events_run_in_the_order_of_time_and_equal_ones_in_the_order_of_calls)
{
    world_init(1, false);
    order[0] = 0;
    world_at(30, note_a, "c");
    world_at(10, note_a, "a");
    world_at(30, note_a, "d");
    world_at(20, note_a, "b");
    while (world_step(NEVER))
        ;
    ck_assert_str_eq(order, "abcd");
    ck_assert_uint_eq(world_now(), 30);
}
END_TEST

START_TEST(a_drifting_clock_shows_a_deadline_never_before_its_time)
{
    struct world_clock c = {.drift_ppm = 9999};
    uint64_t at;

    world_init(1, false);
    world_use_clock(&c);
    for (int i = 0; i < 1000; i++) {
        uint64_t due = world_boot_us(&c) + world_below(100 * SECOND);

        at = world_when_boot(&c, due);
        world_skip(at);
        ck_assert_uint_ge(world_boot_us(&c), due);
        ck_assert_uint_le(world_boot_us(&c), due + 10);
    }
    ck_assert_uint_eq(clock_boot_ms(), world_boot_us(&c) / 1000);
    c.wall_ms = -14 * 86400000LL;
    ck_assert_int_lt(clock_wall_ms(), (int64_t)1800000000000);
    world_use_clock(NULL);
}
END_TEST

static unsigned arrived;

static void on_frame(unsigned from, unsigned to, int plane, uint64_t incarnation,
                     struct str bytes)
{
    (void)from, (void)to, (void)plane, (void)incarnation;
    arrived += bytes.n == 3;
}

START_TEST(the_network_loses_doubles_and_cuts_as_told)
{
    world_init(7, false);
    world_receiver(on_frame);
    arrived = 0;
    world_link(0, 1)->loss_pm = 500;
    world_link(1, 0)->double_pm = 500;
    world_link(0, 2)->cut = true;
    for (int i = 0; i < 1000; i++) {
        world_send(0, 1, 0, 1, STR("abc"));
        world_send(1, 0, 0, 1, STR("abc"));
        world_send(0, 2, 0, 1, STR("abc"));
    }
    while (world_step(NEVER))
        ;
    ck_assert_uint_gt(arrived, 1900);
    ck_assert_uint_lt(arrived, 2100);
    ck_assert_uint_gt(world_counts()->frames_lost, 1400);
}
END_TEST

/* --- disks --- */

struct store {
    char dir[64];
    struct disk_store *disk;
    MDB_env *env;
    MDB_dbi dbi;
};

static bool open_store(struct store *s, unsigned flags)
{
    MDB_txn *txn;
    bool good;

    ck_assert_int_eq(mdb_env_create(&s->env), 0);
    mdb_env_set_mapsize(s->env, MAP_BYTES);
    good = mdb_env_open(s->env, s->dir, flags | MDB_NOTLS, 0600) == 0 &&
           mdb_txn_begin(s->env, NULL, 0, &txn) == 0;
    if (!good)
        return false;
    good = mdb_dbi_open(txn, NULL, 0, &s->dbi) == 0;
    return mdb_txn_commit(txn) == 0 && good;
}

static bool put(struct store *s, uint32_t key)
{
    char filler[3000] = "x";
    MDB_val k = {4, &key}, v = {sizeof filler, filler};
    MDB_txn *txn;

    ck_assert_int_eq(mdb_txn_begin(s->env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_put(txn, s->dbi, &k, &v, 0), 0);
    return mdb_txn_commit(txn) == 0;
}

static bool has(struct store *s, uint32_t key)
{
    MDB_val k = {4, &key}, v;
    MDB_txn *txn;
    bool found;

    ck_assert_int_eq(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), 0);
    found = mdb_get(txn, s->dbi, &k, &v) == 0;
    mdb_txn_abort(txn);
    return found;
}

/* Commits, cuts the power in the middle of the last one, opens again. Exit status of the child:
 * 0: what was finished is there; 1: something is lost or the file is broken. */
static int power_cut(struct store *s, uint64_t seed, unsigned flags)
{
    uint32_t n = 0, finished;
    pid_t child = fork();
    int status = 0;

    if (child != 0) {
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    alarm(20);
    world_init(seed, false);
    open_store(s, flags);
    disk_end(s->disk);
    while (n < 5 + seed % 20) {
        disk_begin(s->disk);
        put(s, n++);
        disk_end(s->disk);
    }
    finished = n;
    disk_begin(s->disk);
    put(s, n++);
    mdb_env_close(s->env);
    disk_crash(s->disk);
    if (!open_store(s, 0))
        _exit(1);
    for (uint32_t i = 0; i < finished; i++)
        if (!has(s, i))
            _exit(1);
    _exit(0);
}

static void prepare(struct store *s)
{
    char path[128];

    *s = (struct store){0};
    snprintf(s->dir, sizeof s->dir, "/dev/shm/sim-disk.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(s->dir));
    snprintf(path, sizeof path, "%s/", s->dir);
    s->disk = disk_add(path);
}

static void clear(struct store *s)
{
    char path[128];

    snprintf(path, sizeof path, "%s/data.mdb", s->dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/lock.mdb", s->dir);
    unlink(path);
}

START_TEST(what_was_synced_survives_a_power_cut_and_the_rest_may_not)
{
    unsigned lost = 0;
    struct store s;

    prepare(&s);
    for (uint64_t seed = 1; seed <= 60; seed++) {
        ck_assert_int_eq(power_cut(&s, seed, 0), 0);
        clear(&s);
        lost += power_cut(&s, seed, MDB_NOSYNC) != 0;
        clear(&s);
    }
    ck_assert_uint_gt(lost, 20); /* a sync that is left out is found */
    rmdir(s.dir);
}
END_TEST

START_TEST(a_disk_that_fails_or_is_full_says_so)
{
    struct store s;

    world_init(3, false);
    prepare(&s);
    ck_assert(open_store(&s, 0));
    disk_faults(s.disk)->full = true;
    ck_assert(!put(&s, 1));
    disk_faults(s.disk)->full = false;
    disk_faults(s.disk)->sync_min_us = disk_faults(s.disk)->sync_max_us = 5 * MS;
    disk_begin(s.disk);
    ck_assert(put(&s, 2));
    ck_assert_uint_ge(disk_cost_us(s.disk), 10 * MS);
    disk_end(s.disk);
    disk_faults(s.disk)->eio = true;
    ck_assert(!put(&s, 3));
    mdb_env_close(s.env);
    disk_forget(s.disk);
    clear(&s);
    rmdir(s.dir);
}
END_TEST

/* --- the oracle --- */

static uint32_t offer(struct mid id)
{
    uint32_t key = check_offer(500, 1, 86400000);

    check_drawn(key, id);
    return key;
}

static void one_copy(void)
{
    struct mid id = mid_make(1, 5, 1);
    uint32_t key = offer(id);

    check_stored(id, 0);
    check_accepted(key, 0);
}

static void two_dots(void)
{
    struct mid id = mid_make(1, 5, 1);

    offer(id);
    check_consent(id, 0);
    check_consent(id, 2);
}

static void after_451(void)
{
    struct mid id = mid_make(1, 5, 1);
    uint32_t key = offer(id);
    char *body = check_body(key, 500);

    check_refused(key, 0);
    check_taken(STR("u0.0@d1.example"), (struct str){body, 500});
}

static void altered(void)
{
    uint32_t key = offer(mid_make(1, 5, 1));
    char *body = check_body(key, 500);

    body[300] ^= 1;
    check_taken(STR("u0.0@d1.example"), (struct str){body, 500});
}

static void twice(void)
{
    struct mid id = mid_make(1, 5, 1);
    uint32_t key = offer(id);
    char *body = check_body(key, 500);
    struct rcpt rcpt = {.path = STR("u0.0@d1.example"), .fate = FATE_DELIVERED};
    struct envelope e = {.id = id, .rcpts = &rcpt, .rcpt_count = 1};

    check_consent(id, 0);
    check_taken(rcpt.path, (struct str){body, 500});
    check_outcome(&e, 0);
    check_dot_over(id, 0);
    check_consent(id, 0);
}

static bool has_nothing(void *ctx, struct mid id)
{
    (void)ctx, (void)id;
    return false;
}

static void lost_on_disk(void)
{
    struct mid id = mid_make(1, 5, 1);

    offer(id);
    check_stored(id, 1);
    check_restarted(1, has_nothing, NULL);
}

static void reused(void)
{
    offer(mid_make(1, 5, 1));
    offer(mid_make(1, 5, 1));
}

static void good(void)
{
    struct mid id = mid_make(1, 5, 1);
    uint32_t key = offer(id);
    char *body = check_body(key, 500);

    check_stored(id, 0);
    check_stored(id, 1);
    check_accepted(key, 0);
    check_consent(id, 0);
    check_dot_sent(id, 0);
    check_taken(STR("u0.0@d1.example"), (struct str){body, 500});
}

static int verdict_of(void (*fn)(void))
{
    pid_t child;
    int status = 0;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        ck_assert_ptr_nonnull(freopen("/dev/null", "w", stdout));
        world_init(1, false);
        check_init();
        fn();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(the_oracle_sees_each_kind_of_breach_and_nothing_else)
{
    ck_assert_int_eq(verdict_of(good), 0);
    ck_assert_int_eq(verdict_of(one_copy), VIOLATION_EXIT);
    ck_assert_int_eq(verdict_of(two_dots), VIOLATION_EXIT);
    ck_assert_int_eq(verdict_of(after_451), VIOLATION_EXIT);
    ck_assert_int_eq(verdict_of(altered), VIOLATION_EXIT);
    ck_assert_int_eq(verdict_of(twice), VIOLATION_EXIT);
    ck_assert_int_eq(verdict_of(lost_on_disk), VIOLATION_EXIT);
    ck_assert_int_eq(verdict_of(reused), VIOLATION_EXIT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sim_world");
    TCase *tc = tcase_create("world");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, events_run_in_the_order_of_time_and_equal_ones_in_the_order_of_calls);
    tcase_add_test(tc, a_drifting_clock_shows_a_deadline_never_before_its_time);
    tcase_add_test(tc, the_network_loses_doubles_and_cuts_as_told);
    tcase_add_test(tc, what_was_synced_survives_a_power_cut_and_the_rest_may_not);
    tcase_add_test(tc, a_disk_that_fails_or_is_full_says_so);
    tcase_add_test(tc, the_oracle_sees_each_kind_of_breach_and_nothing_else);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
