/* A failing disk never yields a false "durable"; a full one leaves the store usable. */
#include "spool/ctlkv.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "tests/support/io_tap.h"

static const char *const tables[] = {"one", "two", NULL};
static char dir[64];
static struct ctlkv kv;

/* The injected fault: the call number `at` of those of kind `op`, and all after it, until the
 * tap is cleared. */
static struct {
    enum io_op op;
    enum io_verdict verdict;
    int at, seen, hit;
} fault;

static enum io_verdict judge(void *user, enum io_op op)
{
    (void)user;
    if (op != fault.op || fault.seen++ < fault.at)
        return IO_PASS;
    fault.hit++;
    return fault.verdict;
}

static void inject(enum io_op op, enum io_verdict verdict, int at, bool disk_full)
{
    fault.op = op;
    fault.verdict = verdict;
    fault.at = at;
    fault.seen = fault.hit = 0;
    *io_tap() = (struct io_tap){.judge = judge, .disk_full = disk_full};
}

static void heal(void)
{
    *io_tap() = (struct io_tap){.judge = NULL};
}

static enum err open_kv(bool create, bool *fresh)
{
    return ctlkv_open(&kv,
                      &(struct ctlkv_options){.dir = dir,
                                              .name = "test",
                                              .map_bytes = 16 * MiB,
                                              .tables = tables,
                                              .create = create},
                      fresh);
}

static enum err put(const char *key, struct str value)
{
    struct ctlkv_txn t;

    ctlkv_begin(&t, &kv, true);
    ctlkv_put(&t, 0, str_of(key), STR("v="), value);
    ctlkv_put(&t, 1, str_of(key), value, STR_NONE);
    return ctlkv_commit(&t);
}

/* 'o', 'n': the record of table 0 holds "v=old" or "v=new"; both tables must agree. */
static char get(const char *key)
{
    struct ctlkv_txn t;
    struct str a, b;
    char c;

    ctlkv_begin(&t, &kv, false);
    ck_assert_int_eq(ctlkv_get(&t, 0, str_of(key), &a), OK);
    ck_assert_int_eq(ctlkv_get(&t, 1, str_of(key), &b), OK);
    ck_assert(str_eq(str_from(a, 2), b));
    c = b.p[0];
    ctlkv_abort(&t);
    return c;
}

static void setup(void)
{
    struct ctlkv_txn t;
    bool fresh;

    log_set_level(LOG_ALARM);
    snprintf(dir, sizeof dir, "/tmp/ctlkv_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(open_kv(true, &fresh), OK);
    ck_assert(fresh);
    ctlkv_begin(&t, &kv, true);
    ctlkv_make_tables(&t);
    ck_assert_int_eq(ctlkv_commit(&t), OK);
    ck_assert_int_eq(put("key", STR("old")), OK);
}

static void teardown(void)
{
    char file[96];

    heal();
    ctlkv_close(&kv);
    for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f; f++) {
        snprintf(file, sizeof file, "%s/%s", dir, *f);
        unlink(file);
    }
    rmdir(dir);
}

static void reopen(void)
{
    bool fresh;

    ctlkv_close(&kv);
    ck_assert_int_eq(open_kv(false, &fresh), OK);
    ck_assert(!fresh);
}

static void check_all(void)
{
    uint64_t bad, digest;

    ck_assert_int_eq(ctlkv_walk(&kv, 0, &bad, &digest), OK);
    ck_assert_uint_eq(bad, 0);
}

/* `again`: what the next write says once the fault is gone. A failed sync or meta page is never
 * tried again: nobody knows what the page cache holds. */
static const struct {
    const char *what;
    enum io_op op;
    enum io_verdict verdict;
    bool disk_full;
    enum err first, again;
} faults[] = {
    {"data page, EIO", IO_WRITE, IO_FAIL_EIO, false, E_IO, E_IO},
    {"data page, ENOSPC", IO_WRITE, IO_FAIL_ENOSPC, true, E_FULL, OK},
    {"data page, short, disk full", IO_WRITE, IO_SHORT, true, E_FULL, OK},
    {"data page, short, disk not full", IO_WRITE, IO_SHORT, false, E_IO, E_IO},
    {"sync, EIO", IO_SYNC, IO_FAIL_EIO, false, E_IO, E_IO},
    {"meta page, EIO", IO_WRITE_SYNCED, IO_FAIL_EIO, false, E_IO, E_IO},
    {"meta page, ENOSPC", IO_WRITE_SYNCED, IO_FAIL_ENOSPC, true, E_FULL, E_IO},
};

START_TEST(a_fault_is_told_and_leaves_the_old_or_the_new_state)
{
    char found;

    inject(faults[_i].op, faults[_i].verdict, 0, faults[_i].disk_full);
    ck_assert_msg(put("key", STR("new")) == faults[_i].first, "%s", faults[_i].what);
    ck_assert_int_gt(fault.hit, 0);
    heal();
    ck_assert_msg(put("other", STR("old")) == faults[_i].again, "%s", faults[_i].what);
    if (faults[_i].again == OK)
        ck_assert_int_eq(get("key"), 'o');
    reopen();
    found = get("key");
    ck_assert(found == 'o' || found == 'n');
    check_all();
    ck_assert_int_eq(put("key", STR("new")), OK);
    ck_assert_int_eq(get("key"), 'n');
}
END_TEST

START_TEST(a_poisoned_store_still_reads_and_says_so_for_every_write)
{
    inject(IO_WRITE, IO_FAIL_EIO, 0, false);
    ck_assert_int_eq(put("key", STR("new")), E_IO);
    heal();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(put("key", STR("new")), E_IO);
    ck_assert_int_eq(get("key"), 'o');
}
END_TEST

START_TEST(the_first_error_of_a_transaction_stays)
{
    struct ctlkv_txn t;
    struct str v;

    ctlkv_begin(&t, &kv, true);
    ctlkv_put(&t, 0, STR("key"), STR_NONE, STR("new"));
    ctlkv_fail(&t, "test", E_CORRUPT);
    ctlkv_fail(&t, "test", E_IO);
    ck_assert_int_eq(ctlkv_get(&t, 0, STR("key"), &v), E_CORRUPT);
    ctlkv_put(&t, 0, STR("key"), STR_NONE, STR("newer"));
    ck_assert_int_eq(ctlkv_commit(&t), E_CORRUPT);
    ck_assert_int_eq(get("key"), 'o');
    ck_assert_int_eq(put("key", STR("new")), OK); /* that was not a failure of the disk */
}
END_TEST

START_TEST(a_walk_goes_by_key_and_finds_the_last)
{
    struct str after = STR_NONE, key, v;
    struct ctlkv_txn t;
    int n = 0;

    ck_assert_int_eq(put("a", STR("old")), OK);
    ck_assert_int_eq(put("zz", STR("old")), OK);
    ctlkv_begin(&t, &kv, false);
    ck_assert_uint_eq(ctlkv_count(&t, 0), 3);
    while (ctlkv_next(&t, 0, after, &key, &v) == OK) {
        ck_assert(n++ == 0 || memcmp(key.p, after.p, 1) > 0);
        after = key;
    }
    ck_assert_int_eq(n, 3);
    ck_assert_int_eq(ctlkv_next(&t, 0, STR("b"), &key, &v), OK); /* between two keys */
    ck_assert(str_eq(key, STR("key")));
    ck_assert_int_eq(ctlkv_last(&t, 0, &key, &v), OK);
    ck_assert(str_eq(key, STR("zz")));
    ctlkv_abort(&t);
}
END_TEST

START_TEST(a_store_without_tables_counts_as_none)
{
    char file[96];
    bool fresh;

    ctlkv_close(&kv);
    snprintf(file, sizeof file, "%s/data.mdb", dir);
    unlink(file);
    ck_assert_int_eq(open_kv(true, &fresh), OK);
    ck_assert(fresh);
    ctlkv_close(&kv); /* died before the first transaction */
    ck_assert_int_eq(open_kv(false, &fresh), E_NOTFOUND);
    ck_assert_int_eq(open_kv(true, &fresh), OK);
    ck_assert(fresh);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctlkv");
    TCase *tc = tcase_create("ctlkv");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_fault_is_told_and_leaves_the_old_or_the_new_state, 0,
                        (int)(sizeof faults / sizeof *faults));
    tcase_add_test(tc, a_poisoned_store_still_reads_and_says_so_for_every_write);
    tcase_add_test(tc, the_first_error_of_a_transaction_stays);
    tcase_add_test(tc, a_walk_goes_by_key_and_finds_the_last);
    tcase_add_test(tc, a_store_without_tables_counts_as_none);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
