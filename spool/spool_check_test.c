/* The offline check finds what does not fit together, and nothing else. Values with flipped
 * bits are planted in spool_damage_test.c; here every value is sound, and the spool is not. */
#include "spool/spool_check.h"

#include <check.h>
#include <lmdb.h>

#include "base/log.h"
#include "spool/spool_format.h"
#include "tests/support/spool_kit.h"

#define DAY UINT64_C(86400000)

static struct kit kit;

static struct mid id_of(uint64_t counter)
{
    return mid_make(1, 7, counter);
}

/* Live 1, 2; settled 3, 4, 6. */
static void setup(void)
{
    struct spool_txn *t;

    log_set_level(LOG_ALARM + 1);
    kit_init(&kit, 16 * MiB);
    for (uint64_t i = 1; i <= 4; i++)
        ck_assert_int_eq(kit_put(&kit, id_of(i), 10000), OK);
    ck_assert_int_eq(kit_settle(&kit, id_of(3), 5 * DAY), OK);
    ck_assert_int_eq(kit_settle(&kit, id_of(4), 5 * DAY), OK);
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_abort_id(t, id_of(6)), OK);
    ck_assert_int_eq(spool_dot(t, id_of(1), 3), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    kit_close(&kit);
}

static void teardown(void)
{
    kit_fini(&kit);
}

struct found {
    size_t n;
    char first[256];
};

static void collect(void *user, const struct spool_finding *f)
{
    struct found *found = user;

    if (found->n++ == 0)
        snprintf(found->first, sizeof found->first, "%s: %s", f->table, f->what);
}

static struct spool_check_summary check(struct found *found)
{
    struct spool_check_summary sum;

    *found = (struct found){0};
    ck_assert_int_eq(spool_check(kit.dir, collect, found, &sum), OK);
    ck_assert_uint_eq(sum.findings, found->n);
    return sum;
}

/* --- A well-formed value written, or one removed, behind the spool's back --- */

static void plant(enum spool_table table, struct spool_key key, const void *data, size_t n)
{
    char path[128], value[16384];
    MDB_val k = {key.n, key.b}, v = {CHECKSUM_BYTES + n, value};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    snprintf(path, sizeof path, "%s/data", kit.dir);
    ck_assert_int_eq(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 16);
    ck_assert_int_eq(mdb_env_open(env, path, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, spool_table_name(table), 0, &dbi), 0);
    if (data != NULL) {
        memcpy(value + CHECKSUM_BYTES, data, n);
        spool_value_seal(table, (struct str){(char *)key.b, key.n}, value, n);
        ck_assert_int_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
    } else {
        ck_assert_int_eq(mdb_del(txn, dbi, &k, NULL), 0);
    }
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void interval(struct mid first, uint64_t end)
{
    char data[8];

    put_be(data, 8, end);
    plant(TABLE_SETTLED, spool_key_mid(first), data, sizeof data);
}

static void live_and_settled(void)
{
    interval(id_of(2), 2); /* also touches 3..4 */
}
static void interval_backwards(void)
{
    interval(mid_make(2, 2, 5), 4);
}
static void intervals_overlap(void)
{
    interval(mid_make(2, 2, 5), 9);
    interval(mid_make(2, 2, 9), 12);
}
static void intervals_not_merged(void)
{
    interval(mid_make(2, 2, 5), 9);
    interval(mid_make(2, 2, 10), 12);
}
static void short_interval(void)
{
    plant(TABLE_SETTLED, spool_key_mid(mid_make(2, 2, 5)), "1234", 4);
}
static void mark_of_a_settled_id(void)
{
    plant(TABLE_MARK, spool_key_mid(id_of(3)), "123456781212345678\0", MARK_DATA_BYTES);
}
static void short_mark(void)
{
    plant(TABLE_MARK, spool_key_mid(id_of(1)), "1234", 4);
}
static void aborted_and_live(void)
{
    plant(TABLE_ABORTED, spool_key_mid(id_of(2)), "", 0);
}
static void aborted_and_settled(void)
{
    plant(TABLE_ABORTED, spool_key_mid(id_of(3)), "", 0);
}
static void abort_with_data(void)
{
    plant(TABLE_ABORTED, spool_key_mid(id_of(9)), "x", 1);
}
static void short_session(void)
{
    plant(TABLE_SESSION, spool_key_session(id_of(9)), "1234", 4);
}
static void unknown_flag_of_a_session(void)
{
    plant(TABLE_SESSION, spool_key_session(id_of(9)), "12345678\2", SESSION_BYTES);
}
static void short_clear(void)
{
    plant(TABLE_CLEAR, spool_key_clear(2), "1234", 4);
}
static void live_and_clear(void)
{
    plant(TABLE_CLEAR, spool_key_clear(1), "\0\0\0\0\0\0\0\x8", CLEAR_DATA_BYTES);
}
static void interval_of_a_clear_session(void)
{
    plant(TABLE_CLEAR, spool_key_clear(2), "\0\0\0\0\0\0\0\x3", CLEAR_DATA_BYTES);
    interval(mid_make(2, 2, 5), 9);
}
static void known_and_clear(void)
{
    plant(TABLE_CLEAR, spool_key_clear(2), "\0\0\0\0\0\0\0\x3", CLEAR_DATA_BYTES);
    plant(TABLE_SESSION, spool_key_session(mid_make(2, 2, 0)), "12345678\1", SESSION_BYTES);
}
static void member_of_rubbish(void)
{
    plant(TABLE_META, spool_key_meta(SPOOL_MEMBER_KEY), "1234", 4);
}
static void state_out_of_range(void)
{
    struct msg_head h = {.number = 5, .state = COPY_ABORTED};
    char data[MSG_HEAD_BYTES + 7] = "";

    msg_head_write(&h, data);
    plant(TABLE_MSG, spool_key_mid(id_of(9)), data, sizeof data);
}
static void trace_not_settled(void)
{
    plant(TABLE_SETTLED, spool_key_mid(id_of(3)), NULL, 0);
}
static void trace_without_aging(void)
{
    plant(TABLE_AGING, spool_key_aging(5, id_of(3)), NULL, 0);
}
static void aging_without_trace(void)
{
    plant(TABLE_TRACE, spool_key_mid(id_of(3)), NULL, 0);
}
static void aging_with_data(void)
{
    plant(TABLE_AGING, spool_key_aging(5, id_of(3)), "x", 1);
}
static void trace_of_rubbish(void)
{
    plant(TABLE_TRACE, spool_key_mid(id_of(3)), "rubbish", 7);
}
static void record_of_rubbish(void)
{
    plant(TABLE_MSG, spool_key_mid(id_of(9)), "123456781234567812345678rubbish", 31);
}
static void record_of_a_head(void)
{
    plant(TABLE_MSG, spool_key_mid(id_of(9)), "12345678", 8);
}
static void chunk_too_short(void)
{
    plant(TABLE_BODY, spool_key_body(1, 1), "short", 5);
}
static void chunk_missing(void)
{
    plant(TABLE_BODY, spool_key_body(2, 2), NULL, 0);
}
static void chunk_too_many(void)
{
    plant(TABLE_BODY, spool_key_body(1, 3), "more", 4);
}
static void other_content(void)
{
    static const char zeroes[SPOOL_CHUNK_DATA_BYTES];

    plant(TABLE_BODY, spool_key_body(1, 1), zeroes, sizeof zeroes);
}
static void unknown_meta(void)
{
    struct spool_key key = {.b = "what", .n = 4};

    plant(TABLE_META, key, "1234", 4);
}

static void head_of_another(void)
{
    struct rcpt rcpt = {.path = STR("a@b")};
    struct envelope e = {.id = id_of(9), .domain = STR("b"), .rcpts = &rcpt, .rcpt_count = 1};
    struct msg_head h = {.number = 5, .state = COPY_COMMITTED};
    char data[256];
    size_t n = envelope_encoded_size(&e);

    msg_head_write(&h, data);
    envelope_encode(&e, data + MSG_HEAD_BYTES);
    plant(TABLE_MSG, spool_key_mid(id_of(9)), data, MSG_HEAD_BYTES + n);
}

static const struct {
    void (*plant)(void);
    const char *expect;
} wrong[] = {
    {live_and_settled, "msg: live and settled at once"},
    {interval_backwards, "settled: the interval ends before it begins"},
    {intervals_overlap, "settled: touches the interval before it"},
    {intervals_not_merged, "settled: touches the interval before it"},
    {short_interval, "settled: length"},
    {mark_of_a_settled_id, "mark: a mark of a settled id"},
    {short_mark, "mark: length"},
    {aborted_and_live, "aborted: live and aborted at once"},
    {aborted_and_settled, "aborted: settled and aborted at once"},
    {abort_with_data, "aborted: length"},
    {short_session, "session: length"},
    {unknown_flag_of_a_session, "session: length"},
    {short_clear, "clear: length"},
    {live_and_clear, "msg: live, and its session is clear"},
    {interval_of_a_clear_session, "settled: an interval of a clear session"},
    {known_and_clear, "session: known, and clear"},
    {member_of_rubbish, "meta: unknown record"},
    {state_out_of_range, "msg: head of the record"},
    {trace_not_settled, "trace: traced, but not in the settled set"},
    {trace_without_aging, "trace: has no aging entry"},
    {aging_without_trace, "aging: has no trace"},
    {aging_with_data, "aging: length"},
    {trace_of_rubbish, "trace: envelope does not decode"},
    {record_of_rubbish, "msg: head of the record"},
    {record_of_a_head, "msg: head of the record"},
    {head_of_another, "msg: envelope differs from its key or head"},
    {chunk_too_short, "msg: length of a chunk"},
    {chunk_missing, "msg: a chunk is missing"},
    {chunk_too_many, "msg: a chunk too many"},
    {other_content, "msg: digest of the body"},
    {unknown_meta, "meta: unknown record"},
};

START_TEST(what_does_not_fit_together_is_found_and_named)
{
    struct found found;

    check(&found);
    ck_assert_msg(found.n == 0, "%s", found.first);
    wrong[_i].plant();
    check(&found);
    ck_assert_uint_ge(found.n, 1);
    ck_assert_str_eq(found.first, wrong[_i].expect);
}
END_TEST

START_TEST(a_good_spool_is_counted_and_its_pages_are_the_file)
{
    struct found found;
    struct spool_check_summary sum = check(&found);

    ck_assert_uint_eq(sum.messages, 2);
    ck_assert_uint_eq(sum.body_bytes, 20000);
    ck_assert_uint_eq(sum.chunks, 6);
    ck_assert_uint_eq(sum.marks, 1);
    ck_assert_uint_eq(sum.intervals, 2);
    ck_assert_uint_eq(sum.traces, 2);
    ck_assert_uint_eq(sum.agings, 2);
    ck_assert_uint_eq(sum.aborted, 0);
    ck_assert_uint_eq(sum.undecided, 0);
    ck_assert_uint_eq(sum.orphan_chunks, 0);
    ck_assert_uint_eq(sum.used_pages + sum.free_pages, sum.file_pages);
    ck_assert_uint_gt(sum.free_pages, 0);
}
END_TEST

START_TEST(staged_chunks_are_counted_and_are_no_fault)
{
    struct block_list piece = {0};
    struct found found;
    struct spool_check_summary sum;
    struct spool_txn *t;

    kit_open(&kit);
    kit_append(&kit, &piece, id_of(9), 0, 9000);
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_stage(t, spool_next_body(kit.spool), 0, &piece), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    block_list_free(&kit.pool, &piece);
    kit_close(&kit);
    sum = check(&found);
    ck_assert_uint_eq(found.n, 0);
    ck_assert_uint_eq(sum.orphan_chunks, 3);
}
END_TEST

/* A copy of the largest record of LMDB's list of free pages. */
static size_t free_list(size_t list[512])
{
    char path[128];
    MDB_env *env;
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    size_t n = 0;

    snprintf(path, sizeof path, "%s/data", kit.dir);
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_open(env, path, MDB_RDONLY, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    ck_assert_int_eq(mdb_cursor_open(txn, 0, &cursor), 0);
    while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
        if (v.mv_size / sizeof *list <= n || v.mv_size > 512 * sizeof *list)
            continue;
        n = v.mv_size / sizeof *list;
        memcpy(list, v.mv_data, v.mv_size);
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return n;
}

/* Replaces a run of bytes wherever it stands in the data file. */
static void patch(const void *old, const void *fresh, size_t n)
{
    static char file[1 << 20];
    char path[128], *at;
    size_t size;
    FILE *f;

    snprintf(path, sizeof path, "%s/data/data.mdb", kit.dir);
    f = fopen(path, "r+");
    ck_assert_ptr_nonnull(f);
    size = fread(file, 1, sizeof file, f);
    for (at = file; (at = memmem(at, size - (size_t)(at - file), old, n)) != NULL; at += n)
        memcpy(at, fresh, n);
    rewind(f);
    ck_assert_uint_eq(fwrite(file, 1, size, f), size);
    fclose(f);
}

static const struct {
    long page; /* -1: the one after it; else this number */
    const char *expect;
} pages[] = {
    {-1, "file: a page is free twice"},
    {0, "file: a free page is outside of the file"},
    {1000000, "file: a free page is outside of the file"},
};

START_TEST(a_list_of_free_pages_that_lies_is_found)
{
    size_t list[512], fresh[512];
    struct found found;
    size_t n = free_list(list);

    ck_assert_uint_gt(n, 2);
    memcpy(fresh, list, sizeof list);
    fresh[1] = pages[_i].page < 0 ? list[2] : (size_t)pages[_i].page;
    patch(list, fresh, n * sizeof *list);
    check(&found);
    ck_assert_uint_ge(found.n, 1);
    ck_assert_str_eq(found.first, pages[_i].expect);
}
END_TEST

START_TEST(a_spool_in_use_or_none_at_all_is_refused)
{
    struct spool_check_summary sum;
    struct found found = {0};

    kit_open(&kit);
    ck_assert_int_eq(spool_check(kit.dir, collect, &found, &sum), E_AGAIN);
    kit_close(&kit);
    ck_assert_int_eq(spool_check("/nonexistent", collect, &found, &sum), E_CORRUPT);
    ck_assert_uint_eq(found.n, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spool check");
    TCase *tc = tcase_create("check");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, what_does_not_fit_together_is_found_and_named, 0,
                        (int)(sizeof wrong / sizeof wrong[0]));
    tcase_add_test(tc, a_good_spool_is_counted_and_its_pages_are_the_file);
    tcase_add_test(tc, staged_chunks_are_counted_and_are_no_fault);
    tcase_add_loop_test(tc, a_list_of_free_pages_that_lies_is_found, 0,
                        (int)(sizeof pages / sizeof pages[0]));
    tcase_add_test(tc, a_spool_in_use_or_none_at_all_is_refused);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
