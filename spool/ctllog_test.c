/* The control log keeps what it acknowledged, in order, and notices every changed byte. */
#include "spool/ctllog.h"

#include <check.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/prng.h"

#define MAP (16 * MiB)

static char top[64], dir[96];
static struct ctllog *l;
static struct arena arena;
static const struct store_id id = {.cluster = {1, 2, 3}, .site = 7, .incarnation = 99};

static enum err open_log(uint64_t map, const struct store_id *create)
{
    return ctllog_open(
        &l, &(struct ctllog_options){.dir = dir, .map_bytes = map, .create = create});
}

static void reopen(void)
{
    ctllog_close(&l);
    ck_assert_int_eq(open_log(MAP, NULL), OK);
}

static void setup(void)
{
    log_set_level(LOG_ALARM);
    snprintf(top, sizeof top, "/tmp/ctllog_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/a/log", top); /* two levels are made */
    arena_init(&arena, 64 * MiB);
    ck_assert_int_eq(open_log(MAP, &id), OK);
}

static void teardown(void)
{
    char file[128];

    if (l != NULL)
        ctllog_close(&l);
    arena_reset(&arena);
    for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f; f++) {
        snprintf(file, sizeof file, "%s/%s", dir, *f);
        unlink(file);
    }
    rmdir(dir);
    snprintf(dir, sizeof dir, "%s/a", top);
    rmdir(dir);
    rmdir(top);
}

/* Entries with bytes made of index and term. */
static enum err append(uint64_t from, size_t count, uint64_t term)
{
    static char bytes[LIMIT_CONTROL_BATCH][32];
    struct log_entry e[LIMIT_CONTROL_BATCH];

    for (size_t i = 0; i < count; i++) {
        int n = snprintf(bytes[i], sizeof bytes[i], "%llu/%llu", (unsigned long long)(from + i),
                         (unsigned long long)term);
        e[i] = (struct log_entry){.index = from + i,
                                  .term = term,
                                  .kind = RAFTWIRE_COMMAND,
                                  .bytes = {bytes[i], (size_t)n}};
    }
    return ctllog_append(l, e, count);
}

static void expect(uint64_t index, uint64_t term)
{
    struct log_entry e;
    char want[32];

    snprintf(want, sizeof want, "%llu/%llu", (unsigned long long)index,
             (unsigned long long)term);
    ck_assert_int_eq(ctllog_read(l, index, &arena, &e), OK);
    ck_assert_uint_eq(e.index, index);
    ck_assert_uint_eq(e.term, term);
    ck_assert(str_eq(e.bytes, str_of(want)));
}

static void expect_range(uint64_t first, uint64_t last)
{
    struct log_entry e;

    ck_assert_uint_eq(ctllog_first(l), first);
    ck_assert_uint_eq(ctllog_last(l), last);
    ck_assert_int_eq(ctllog_read(l, first - 1, &arena, &e), E_NOTFOUND);
    ck_assert_int_eq(ctllog_read(l, last + 1, &arena, &e), E_NOTFOUND);
}

START_TEST(a_new_log_is_empty_and_keeps_its_identity)
{
    expect_range(1, 0);
    ck_assert_uint_eq(ctllog_term(l), 0);
    ck_assert_uint_eq(ctllog_last_term(l), 0);
    reopen();
    expect_range(1, 0);
    ck_assert_mem_eq(ctllog_id(l)->cluster, id.cluster, 16);
    ck_assert_uint_eq(ctllog_id(l)->site, 7);
    ck_assert_uint_eq(ctllog_id(l)->incarnation, 99);
}
END_TEST

START_TEST(a_missing_log_is_not_made_unasked)
{
    char file[128];

    ctllog_close(&l);
    snprintf(file, sizeof file, "%s/data.mdb", dir);
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(open_log(MAP, NULL), E_NOTFOUND);
    ck_assert_ptr_null(l);
    ck_assert_int_ne(access(file, F_OK), 0);
}
END_TEST

START_TEST(entries_read_back_after_a_reopen)
{
    ck_assert_int_eq(append(1, 3, 1), OK);
    ck_assert_int_eq(append(4, LIMIT_CONTROL_BATCH, 2), OK);
    reopen();
    expect_range(1, 3 + LIMIT_CONTROL_BATCH);
    expect(1, 1);
    expect(3, 1);
    expect(4, 2);
    expect(3 + LIMIT_CONTROL_BATCH, 2);
    ck_assert_uint_eq(ctllog_last_term(l), 2);
}
END_TEST

START_TEST(an_entry_of_the_largest_size_reads_back)
{
    static char big[LIMIT_COMMAND_BYTES];
    struct log_entry e = {.index = 1,
                          .term = 1,
                          .kind = RAFTWIRE_COMMAND,
                          .bytes = {big, sizeof big}},
                     back;

    memset(big, 'x', sizeof big);
    ck_assert_int_eq(ctllog_append(l, &e, 1), OK);
    ck_assert_int_eq(ctllog_read(l, 1, &arena, &back), OK);
    ck_assert(str_eq(e.bytes, back.bytes));
}
END_TEST

START_TEST(an_append_replaces_a_suffix_in_one_transaction)
{
    ck_assert_int_eq(append(1, 10, 1), OK);
    ck_assert_int_eq(append(6, 2, 3), OK);
    reopen();
    expect_range(1, 7);
    expect(5, 1);
    expect(6, 3);
    expect(7, 3);
    ck_assert_uint_eq(ctllog_last_term(l), 3);
}
END_TEST

START_TEST(a_cut_suffix_is_gone)
{
    ck_assert_int_eq(append(1, 5, 1), OK);
    ck_assert_int_eq(append(6, 5, 2), OK);
    ck_assert_int_eq(ctllog_truncate_suffix(l, 6), OK);
    expect_range(1, 5);
    ck_assert_uint_eq(ctllog_last_term(l), 1);
    ck_assert_int_eq(ctllog_truncate_suffix(l, 1), OK);
    ck_assert_uint_eq(ctllog_last_term(l), 0);
    reopen();
    expect_range(1, 0);
    ck_assert_int_eq(append(1, 1, 9), OK);
    expect(1, 9);
}
END_TEST

START_TEST(a_dropped_prefix_is_gone_and_its_term_kept)
{
    ck_assert_int_eq(append(1, 200, 4), OK);
    ck_assert_int_eq(append(201, 100, 5), OK);
    ck_assert_int_eq(ctllog_drop_prefix(l, 150), OK);
    reopen();
    expect_range(151, 300);
    ck_assert_uint_eq(ctllog_base_term(l), 4);
    expect(151, 4);
    ck_assert_int_eq(ctllog_drop_prefix(l, 300), OK);
    ck_assert_int_eq(ctllog_drop_prefix(l, 300), OK); /* nothing left to do */
    reopen();
    expect_range(301, 300);
    ck_assert_uint_eq(ctllog_last_term(l), 5);
    ck_assert_int_eq(append(301, 1, 5), OK);
    reopen();
    expect_range(301, 301);
}
END_TEST

START_TEST(a_long_prefix_is_dropped_in_pieces)
{
    for (uint64_t i = 0; i < 12; i++)
        ck_assert_int_eq(append(1 + i * LIMIT_CONTROL_BATCH, LIMIT_CONTROL_BATCH, 1), OK);
    ck_assert_int_eq(ctllog_drop_prefix(l, 3000), OK);
    reopen();
    expect_range(3001, 3072);
}
END_TEST

START_TEST(term_and_vote_are_kept)
{
    ck_assert_int_eq(ctllog_put_term(l, 5, 2), OK);
    reopen();
    ck_assert_uint_eq(ctllog_term(l), 5);
    ck_assert_uint_eq(ctllog_vote(l), 2);
    ck_assert_int_eq(ctllog_put_term(l, 6, 0), OK);
    ck_assert_uint_eq(ctllog_vote(l), 0);
}
END_TEST

START_TEST(a_full_map_writes_nothing_and_leaves_the_log_usable)
{
    static char big[LIMIT_COMMAND_BYTES];
    struct log_entry e = {.term = 1, .kind = RAFTWIRE_COMMAND, .bytes = {big, sizeof big}};
    enum err err = OK;

    ctllog_close(&l);
    ck_assert_int_eq(open_log(MiB, NULL), OK);
    while (err == OK) {
        e.index = ctllog_last(l) + 1;
        err = ctllog_append(l, &e, 1);
    }
    ck_assert_int_eq(err, E_FULL);
    expect_range(1, e.index - 1);
    ck_assert_int_eq(ctllog_drop_prefix(l, e.index - 1), OK);
    /* LMDB uses a freed page again when the transaction that freed it is not the last one */
    ck_assert_int_eq(ctllog_put_term(l, 1, 0), OK);
    ck_assert_int_eq(ctllog_append(l, &e, 1), OK);
}
END_TEST

/* --- damage --- */

/* Changes one byte of a record behind the program's back. */
static void damage(const char *table, MDB_val key, size_t at)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val v;
    char copy[64];

    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_open(env, dir, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, table, 0, &dbi), 0);
    ck_assert_int_eq(mdb_get(txn, dbi, &key, &v), 0);
    ck_assert_uint_le(v.mv_size, sizeof copy);
    memcpy(copy, v.mv_data, v.mv_size);
    copy[at % v.mv_size] ^= 0x10;
    v.mv_data = copy;
    ck_assert_int_eq(mdb_put(txn, dbi, &key, &v, 0), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

START_TEST(a_changed_byte_of_an_entry_is_noticed)
{
    unsigned char k[8] = {[7] = 2};
    struct log_entry e;
    uint64_t bad;

    ck_assert_int_eq(append(1, 3, 1), OK);
    ctllog_close(&l);
    damage("log", (MDB_val){8, k}, (size_t)_i);
    ck_assert_int_eq(open_log(MAP, NULL), OK);
    ck_assert_int_eq(ctllog_read(l, 2, &arena, &e), E_CORRUPT);
    ck_assert_int_eq(ctllog_verify(l, &bad), OK);
    ck_assert_uint_eq(bad, 1);
    expect(1, 1);
    expect(3, 1);
}
END_TEST

START_TEST(a_changed_byte_of_the_last_entry_or_a_meta_record_stops_the_opening)
{
    static const char *const keys[] = {"format", "id", "base", "term"};
    unsigned char k[8] = {[7] = 3};

    ck_assert_int_eq(append(1, 3, 1), OK);
    ctllog_close(&l);
    if (_i < 4)
        damage("meta", (MDB_val){strlen(keys[_i]), (void *)keys[_i]}, 9);
    else
        damage("log", (MDB_val){8, k}, 9);
    ck_assert_int_eq(open_log(MAP, NULL), E_CORRUPT);
    ck_assert_ptr_null(l);
}
END_TEST

START_TEST(a_gap_stops_the_opening)
{
    unsigned char k[8] = {[7] = 2};
    MDB_val key = {8, k};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    ck_assert_int_eq(append(1, 3, 1), OK);
    ctllog_close(&l);
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_open(env, dir, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, "log", 0, &dbi), 0);
    ck_assert_int_eq(mdb_del(txn, dbi, &key, NULL), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    ck_assert_int_eq(open_log(MAP, NULL), E_CORRUPT);
}
END_TEST

/* Random operations against an array of terms. */
START_TEST(over_random_operations_the_log_is_what_a_plain_array_says)
{
    static uint64_t terms[4000];
    uint64_t first = 1, last = 0, term = 1;
    struct prng r;

    prng_seed(&r, 11);
    for (int i = 0; i < 300; i++) {
        switch (prng_below(&r, 8)) {
        case 0:
            if (last >= first) {
                uint64_t from = first + prng_below(&r, last - first + 1);
                ck_assert_int_eq(ctllog_truncate_suffix(l, from), OK);
                last = from - 1;
            }
            break;
        case 1:
            if (last >= first) {
                uint64_t upto = first + prng_below(&r, last - first + 1);
                ck_assert_int_eq(ctllog_drop_prefix(l, upto), OK);
                first = upto + 1;
            }
            break;
        case 2:
            reopen();
            break;
        default: {
            uint64_t from = last + 1, n = 1 + prng_below(&r, 9);
            if (last >= first && prng_below(&r, 3) == 0)
                from = first + prng_below(&r, last - first + 1);
            term += prng_below(&r, 2);
            ck_assert_int_eq(append(from, n, term), OK);
            for (uint64_t k = from; k < from + n; k++)
                terms[k] = term;
            last = from + n - 1;
        }
        }
        expect_range(first, last);
        for (uint64_t k = first; k <= last; k++)
            expect(k, terms[k]);
        arena_reset(&arena);
    }
}
END_TEST

/* --- for the engine --- */

static const struct raftwire_snapshot at20 = {
    .index = 20, .term = 3, .members_index = 4, .members = {"members", 7}};

START_TEST(a_first_log_begins_with_its_members_in_term_one)
{
    struct log_entry e;

    ctllog_close(&l);
    for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f; f++) {
        char file[128];

        snprintf(file, sizeof file, "%s/%s", dir, *f);
        unlink(file);
    }
    ck_assert_int_eq(ctllog_open(&l, &(struct ctllog_options){.dir = dir,
                                                              .map_bytes = MAP,
                                                              .create = &id,
                                                              .members = STR("members")}),
                     OK);
    reopen();
    expect_range(1, 1);
    ck_assert_uint_eq(ctllog_term(l), 1);
    ck_assert_uint_eq(ctllog_vote(l), 0);
    ck_assert_int_eq(ctllog_read(l, 1, &arena, &e), OK);
    ck_assert_int_eq(e.kind, RAFTWIRE_MEMBERS);
    ck_assert(str_eq(e.bytes, STR("members")));
}
END_TEST

START_TEST(loading_gives_terms_and_kinds_and_who_the_members_are)
{
    struct log_entry e = {
        .index = 4, .term = 2, .kind = RAFTWIRE_MEMBERS, .bytes = STR("members")};
    const struct raftwire_entry *list;
    size_t count;

    ck_assert_int_eq(append(1, 3, 1), OK);
    ck_assert_int_eq(ctllog_append(l, &e, 1), OK);
    ck_assert_int_eq(append(5, 2, 3), OK);
    ck_assert_int_eq(ctllog_load(l, &arena, &list, &count), OK);
    ck_assert_uint_eq(count, 6);
    ck_assert_uint_eq(list[2].term, 1);
    ck_assert_int_eq(list[2].kind, RAFTWIRE_COMMAND);
    ck_assert_uint_eq(list[2].bytes.n, 0);
    ck_assert_int_eq(list[3].kind, RAFTWIRE_MEMBERS);
    ck_assert(str_eq(list[3].bytes, STR("members")));
    ck_assert_uint_eq(list[5].term, 3);
}
END_TEST

START_TEST(a_vote_is_for_a_member_of_any_number)
{
    ck_assert_int_eq(ctllog_put_term(l, 5, UINT64_MAX), OK);
    reopen();
    ck_assert_uint_eq(ctllog_term(l), 5);
    ck_assert_uint_eq(ctllog_vote(l), UINT64_MAX);
}
END_TEST

START_TEST(a_snapshot_record_stays_and_the_log_goes_on)
{
    ck_assert_int_eq(append(1, 30, 3), OK);
    ck_assert_uint_eq(ctllog_snapshot(l)->index, 0);
    ck_assert_int_eq(ctllog_put_snapshot(l, &at20), OK);
    ck_assert_int_eq(ctllog_drop_prefix(l, 10), OK);
    reopen();
    expect_range(11, 30);
    ck_assert_uint_eq(ctllog_snapshot(l)->index, 20);
    ck_assert_uint_eq(ctllog_snapshot(l)->term, 3);
    ck_assert_uint_eq(ctllog_snapshot(l)->members_index, 4);
    ck_assert(str_eq(ctllog_snapshot(l)->members, STR("members")));
    ck_assert_uint_eq(ctllog_snapshot_applied(l), 0);
}
END_TEST

START_TEST(a_snapshot_from_a_peer_replaces_the_log_and_a_crash_in_between_is_seen)
{
    uint64_t applied;

    ck_assert_int_eq(append(1, 5, 1), OK);
    ck_assert(!ctllog_installing(l, &applied));
    ck_assert_int_eq(ctllog_install_begin(l, &at20, 22), OK);
    reopen(); /* the state was not written */
    ck_assert(ctllog_installing(l, &applied));
    ck_assert_uint_eq(applied, 22);
    expect_range(1, 5);
    ck_assert_int_eq(ctllog_install_drop(l), OK);
    reopen();
    ck_assert(!ctllog_installing(l, &applied));
    ck_assert_int_eq(ctllog_install_begin(l, &at20, 22), OK);
    reopen(); /* it was */
    ck_assert_int_eq(ctllog_install_end(l), OK);
    reopen();
    ck_assert(!ctllog_installing(l, &applied));
    expect_range(21, 20);
    ck_assert_uint_eq(ctllog_base_term(l), 3);
    ck_assert_uint_eq(ctllog_last_term(l), 3);
    ck_assert_uint_eq(ctllog_snapshot(l)->index, 20);
    ck_assert_uint_eq(ctllog_snapshot_applied(l), 22);
    ck_assert_int_eq(append(21, 2, 4), OK);
    reopen();
    expect_range(21, 22);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctllog");
    TCase *tc = tcase_create("ctllog");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_new_log_is_empty_and_keeps_its_identity);
    tcase_add_test(tc, a_missing_log_is_not_made_unasked);
    tcase_add_test(tc, entries_read_back_after_a_reopen);
    tcase_add_test(tc, an_entry_of_the_largest_size_reads_back);
    tcase_add_test(tc, an_append_replaces_a_suffix_in_one_transaction);
    tcase_add_test(tc, a_cut_suffix_is_gone);
    tcase_add_test(tc, a_dropped_prefix_is_gone_and_its_term_kept);
    tcase_add_test(tc, a_long_prefix_is_dropped_in_pieces);
    tcase_add_test(tc, term_and_vote_are_kept);
    tcase_add_test(tc, a_full_map_writes_nothing_and_leaves_the_log_usable);
    tcase_add_loop_test(tc, a_changed_byte_of_an_entry_is_noticed, 0, 8 + 8 + 3);
    tcase_add_loop_test(tc, a_changed_byte_of_the_last_entry_or_a_meta_record_stops_the_opening,
                        0, 5);
    tcase_add_test(tc, a_gap_stops_the_opening);
    tcase_add_test(tc, over_random_operations_the_log_is_what_a_plain_array_says);
    tcase_add_test(tc, a_first_log_begins_with_its_members_in_term_one);
    tcase_add_test(tc, loading_gives_terms_and_kinds_and_who_the_members_are);
    tcase_add_test(tc, a_vote_is_for_a_member_of_any_number);
    tcase_add_test(tc, a_snapshot_record_stays_and_the_log_goes_on);
    tcase_add_test(tc, a_snapshot_from_a_peer_replaces_the_log_and_a_crash_in_between_is_seen);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
