/* A bit that flips on the disk, in any record, never passes for good mail: it is alarmed, the
 * record stays where it is, the rest of the spool works. */
#include <check.h>
#include <lmdb.h>

#include "base/log.h"
#include "base/stats.h"
#include "spool/spool_check.h"
#include "spool/spool_format.h"
#include "tests/support/spool_kit.h"

#define DAY UINT64_C(86400000)

static struct kit kit;

static struct mid id_of(uint64_t counter)
{
    return mid_make(1, 7, counter);
}

/* Live: 1 (10,000 bytes, open dot), 2 (10 bytes), 3. Settled: 10..12, and 1 of session 8.
 * Aborted: 20. Committed up to 30. Clear: site 2 below session 5. */
static void setup(void)
{
    struct spool_txn *t;

    log_set_level(LOG_ALARM + 1); /* thousands of alarms are the point of this test */
    kit_init(&kit, 16 * MiB);
    ck_assert_int_eq(kit_put(&kit, id_of(1), 10000), OK);
    ck_assert_int_eq(kit_put(&kit, id_of(2), 10), OK);
    ck_assert_int_eq(kit_put(&kit, id_of(3), 0), OK);
    for (uint64_t i = 10; i <= 12; i++) {
        ck_assert_int_eq(kit_put(&kit, id_of(i), 100), OK);
        ck_assert_int_eq(kit_settle(&kit, id_of(i), i == 11 ? DAY : 50 * DAY), OK);
    }
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_dot(t, id_of(1), 5), OK);
    ck_assert_int_eq(spool_abort_id(t, mid_make(1, 8, 1)), OK);
    ck_assert_int_eq(spool_abort_copy(t, id_of(20)), OK);
    ck_assert_int_eq(spool_commit_upto(t, 1, 7, 30), OK);
    ck_assert_int_eq(spool_clear_below(t, 2, 5), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
}

static void teardown(void)
{
    kit_fini(&kit);
}

/* --- Rewriting values behind the spool's back --- */

static void flip(char *value, size_t *n, size_t where)
{
    ck_assert_uint_lt(where, *n * 8);
    value[where / 8] = (char)(value[where / 8] ^ (1 << where % 8));
}

static void cut(char *value, size_t *n, size_t where)
{
    (void)value;
    *n = where;
}

/* Opens the closed spool raw, changes one value, closes. Returns the value's old length. */
static size_t rewrite(enum spool_table table, const struct spool_key *key,
                      const struct spool_key *to,
                      void (*change)(char *value, size_t *n, size_t where), size_t where)
{
    char path[128], value[8192];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = {key->n, (void *)(uintptr_t)key->b}, v;
    size_t n, old;

    snprintf(path, sizeof path, "%s/data", kit.dir);
    ck_assert_int_eq(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 16);
    ck_assert_int_eq(mdb_env_open(env, path, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, spool_table_name(table), 0, &dbi), 0);
    ck_assert_int_eq(mdb_get(txn, dbi, &k, &v), 0);
    old = n = v.mv_size;
    ck_assert_uint_le(n, sizeof value);
    memcpy(value, v.mv_data, n);
    if (change != NULL)
        change(value, &n, where);
    k = (MDB_val){to->n, (void *)(uintptr_t)to->b};
    v = (MDB_val){n, value};
    if (change == NULL && to == key)
        ck_assert_int_eq(mdb_del(txn, dbi, &k, NULL), 0);
    else
        ck_assert_int_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    return old;
}

static void no_report(void *user, const struct spool_finding *f)
{
    (void)user, (void)f;
}

static uint64_t offline_findings(void)
{
    struct spool_check_summary sum;
    enum err e = spool_check(kit.dir, no_report, NULL, &sum);

    return e == E_CORRUPT ? 1 : sum.findings;
}

static uint64_t scrub_round(void)
{
    struct spool_scrub *sc;
    uint64_t corrupt = 0, bad;
    bool done = false;

    ck_assert_int_eq(spool_scrub_open(kit.spool, &sc), OK);
    while (!done) {
        ck_assert_int_eq(spool_scrub_step(sc, 1000, &done, &bad), OK);
        corrupt += bad;
    }
    spool_scrub_close(&sc);
    return corrupt;
}

/* --- What must hold for each table --- */

struct seen {
    size_t n;
    bool first_open;
};

static bool see(void *user, const struct envelope *e, bool dot_open)
{
    struct seen *s = user;

    s->n++;
    if (mid_counter(e->id) == 1)
        s->first_open = dot_open;
    return true;
}

static struct seen scan(uint64_t expect_corrupt)
{
    struct spool_cursor c = {0};
    struct seen s = {0};

    while (!c.end)
        ck_assert_int_eq(spool_scan(kit.reader, &c, 100, see, &s), OK);
    ck_assert_uint_eq(c.corrupt, expect_corrupt);
    return s;
}

static void others_live(void)
{
    struct envelope e;

    ck_assert_int_eq(kit_get(&kit, id_of(2), &e), OK);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
    ck_assert_int_eq(kit_get(&kit, id_of(3), &e), OK);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
}

static void ck_msg(void)
{
    struct envelope e = {0};
    struct spool_recovered found;
    struct kit_message m;
    struct spool_txn *t;
    bool live;

    spool_recovered(kit.spool, &found);
    ck_assert_uint_eq(found.corrupt_records, 1);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), E_CORRUPT);
    ck_assert(e.rcpts == NULL && e.body_number == 0);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), E_CORRUPT);
    ck_assert_uint_eq(scan(1).n, 2);
    kit_message(&kit, &m, id_of(1), 10000);
    m.envelope.body_number = 1;
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_put(t, &m.envelope, &m.body), E_CORRUPT);
    ck_assert_int_eq(spool_put_staged(t, &m.envelope, 1), E_CORRUPT);
    ck_assert_int_eq(spool_update(t, &m.envelope), E_CORRUPT);
    ck_assert_int_eq(spool_dot(t, id_of(1), 9), E_CORRUPT);
    ck_assert_int_eq(spool_settle(t, &m.envelope, 1, 1), E_CORRUPT);
    ck_assert_int_eq(spool_abort_id(t, id_of(1)), E_CONFLICT);
    ck_assert_int_eq(spool_commit(&t), OK);
    kit_message_free(&kit, &m);
    others_live();
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), E_CORRUPT); /* kept */
}

static void ck_body(void)
{
    struct envelope e;
    char buf[SPOOL_READ_BYTES];
    size_t got;

    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(spool_read_body(kit.reader, &e, 0, buf, sizeof buf, &got), E_CORRUPT);
    ck_assert_uint_eq(got, 0);
    ck_assert_int_eq(spool_read_body(kit.reader, &e, 5000, buf, 1, &got), E_CORRUPT);
    ck_assert_int_eq(spool_verify_body(kit.reader, &e), E_CORRUPT);
    ck_assert_int_eq(spool_read_body(kit.reader, &e, 0, buf, 100, &got), OK); /* chunk 0 */
    others_live();
}

static void ck_mark(void)
{
    struct spool_txn *t;

    ck_assert(scan(0).first_open);
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_dot(t, id_of(1), 9), E_CORRUPT);
    ck_assert_int_eq(spool_commit(&t), OK);
    others_live();
}

static void ck_settled(void)
{
    struct spool_txn *t;

    ck_assert_int_eq(spool_settled_contains(kit.reader, id_of(10)), E_CORRUPT);
    ck_assert_int_eq(spool_settled_contains(kit.reader, id_of(12)), E_CORRUPT);
    ck_assert_int_eq(kit_put(&kit, id_of(11), 100), E_CORRUPT);
    ck_assert_int_eq(kit_put(&kit, id_of(13), 100), E_CORRUPT); /* it may reach as far */
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_abort_id(t, id_of(11)), E_CORRUPT);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(spool_settled_contains(kit.reader, mid_make(1, 8, 1)), OK);
    ck_assert_int_eq(kit_put(&kit, mid_make(1, 8, 2), 100), OK);
    others_live();
}

static void ck_trace(void)
{
    struct envelope e;
    bool live;

    ck_assert_int_eq(spool_trace(kit.reader, id_of(11), &kit.arena, &e, &live), E_CORRUPT);
    ck_assert_ptr_null(e.rcpts);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(12), &kit.arena, &e, &live), OK);
    others_live();
}

static void ck_aging(void)
{
    struct envelope e;
    struct spool_txn *t = spool_begin(kit.spool);
    size_t dropped;
    bool live;

    ck_assert_int_eq(spool_prune(t, 90 * DAY, 100, &dropped), OK);
    ck_assert_uint_eq(dropped, 2); /* the damaged one is passed over, not the others */
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(11), &kit.arena, &e, &live), OK);
    others_live();
}

static void ck_aborted(void)
{
    struct spool_txn *t = spool_begin(kit.spool);
    struct spool_state st;

    ck_assert_int_eq(spool_state(t, id_of(20), &st), E_CORRUPT);
    ck_assert_int_eq(spool_abort_copy(t, id_of(20)), E_CORRUPT);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(kit_put(&kit, id_of(20), 100), E_CORRUPT);
    others_live();
}

/* Nothing is taken for committed on the word of a damaged record; the next word mends it. */
static void ck_session(void)
{
    struct spool_state st;
    struct spool_txn *t;

    ck_assert_int_eq(spool_state_of(kit.reader, id_of(25), &st), OK);
    ck_assert(!st.upto_covers);
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_commit_upto(t, 1, 7, 30), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(spool_state_of(kit.reader, id_of(25), &st), OK);
    ck_assert(st.upto_covers);
    others_live();
}

static void ck_clear(void)
{
    struct spool_txn *t;

    ck_assert_int_eq(spool_settled_contains(kit.reader, mid_make(2, 4, 1)), E_CORRUPT);
    ck_assert_int_eq(kit_put(&kit, mid_make(2, 4, 1), 100), E_CORRUPT);
    ck_assert_int_eq(kit_put(&kit, mid_make(3, 4, 1), 100), OK);
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_clear_below(t, 2, 5), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(kit_put(&kit, mid_make(2, 4, 1), 100), E_NOTFOUND);
    others_live();
}

static struct spool_key key_of(enum spool_table table)
{
    switch (table) {
    case TABLE_META:
        return spool_key_format();
    case TABLE_BODY:
        return spool_key_body(1, 1); /* the middle chunk of message 1 */
    case TABLE_SETTLED:
        return spool_key_mid(id_of(10));
    case TABLE_TRACE:
        return spool_key_mid(id_of(11));
    case TABLE_AGING:
        return spool_key_aging(1, id_of(11));
    case TABLE_ABORTED:
        return spool_key_mid(id_of(20));
    case TABLE_SESSION:
        return spool_key_session(id_of(1));
    case TABLE_CLEAR:
        return spool_key_clear(2);
    default:
        return spool_key_mid(id_of(1));
    }
}

static const struct {
    enum spool_table table;
    void (*check)(void);
} tables[] = {
    {TABLE_META, NULL},      {TABLE_MSG, ck_msg},         {TABLE_BODY, ck_body},
    {TABLE_MARK, ck_mark},   {TABLE_SETTLED, ck_settled}, {TABLE_TRACE, ck_trace},
    {TABLE_AGING, ck_aging}, {TABLE_ABORTED, ck_aborted}, {TABLE_SESSION, ck_session},
    {TABLE_CLEAR, ck_clear},
};

/* After the change: everything that reads the record must say so. */
static void ck_damage(int i)
{
    uint64_t alarms = stat_get(STAT_SPOOL_CORRUPT_TOTAL);

    ck_assert_uint_ge(offline_findings(), 1);
    if (tables[i].check == NULL) {
        ck_assert_int_eq(spool_open(&kit.spool, &kit.options), E_CORRUPT);
    } else {
        kit_open(&kit);
        ck_assert_uint_ge(scrub_round(), 1);
        tables[i].check();
        kit_close(&kit);
    }
    ck_assert_uint_gt(stat_get(STAT_SPOOL_CORRUPT_TOTAL), alarms);
}

START_TEST(a_flipped_bit_is_never_taken_for_good)
{
    struct spool_key key = key_of(tables[_i].table);
    size_t bits = 8, step;

    ck_assert_uint_eq(scrub_round(), 0);
    kit_close(&kit);
    ck_assert_uint_eq(offline_findings(), 0);
    for (size_t where = 0; where < bits; where += step) {
        bits = 8 * rewrite(tables[_i].table, &key, &key, flip, where);
        step = bits > 1000 ? bits / 97 : 3;
        ck_damage(_i);
        teardown();
        setup();
        kit_close(&kit);
    }
}
END_TEST

static const size_t lengths[] = {0, 1, 7, 8, 9};

START_TEST(a_value_cut_short_is_never_taken_for_good)
{
    struct spool_key key = key_of(tables[_i].table);

    kit_close(&kit);
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
        if ((tables[_i].table == TABLE_AGING || tables[_i].table == TABLE_ABORTED) &&
            lengths[k] == 8)
            continue; /* its whole length */
        rewrite(tables[_i].table, &key, &key, cut, lengths[k]);
        ck_damage(_i);
        teardown();
        setup();
        kit_close(&kit);
    }
}
END_TEST

START_TEST(a_value_under_a_foreign_key_is_never_taken_for_good)
{
    struct spool_key from = spool_key_mid(id_of(2)), to = spool_key_mid(id_of(1));

    kit_close(&kit);
    rewrite(TABLE_MSG, &from, &to, NULL, 0);
    ck_assert_uint_ge(offline_findings(), 1);
    kit_open(&kit);
    ck_msg();
}
END_TEST

START_TEST(chunks_that_changed_places_are_never_taken_for_good)
{
    struct spool_key from = spool_key_body(1, 0), to = spool_key_body(1, 1);

    kit_close(&kit);
    rewrite(TABLE_BODY, &from, &to, NULL, 0);
    ck_assert_uint_ge(offline_findings(), 1);
    kit_open(&kit);
    ck_body();
}
END_TEST

/* Damage from before the checksum was made: only the digest of the whole tells. */
static void reseal(char *value, size_t *n, size_t where)
{
    struct spool_key key = key_of(TABLE_BODY);

    value[where] ^= 1;
    spool_value_seal(TABLE_BODY, (struct str){(char *)key.b, key.n}, value,
                     *n - CHECKSUM_BYTES);
}

START_TEST(a_body_of_good_chunks_with_another_digest_is_never_taken_for_good)
{
    struct spool_key key = key_of(TABLE_BODY);
    struct envelope e;

    kit_close(&kit);
    rewrite(TABLE_BODY, &key, &key, reseal, 100);
    ck_assert_uint_ge(offline_findings(), 1);
    kit_open(&kit);
    ck_assert_uint_eq(scrub_round(), 1);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(spool_verify_body(kit.reader, &e), E_CORRUPT);
}
END_TEST

START_TEST(a_lost_chunk_is_damage_and_not_the_end_of_the_body)
{
    struct spool_key key = spool_key_body(1, 1);

    kit_close(&kit);
    rewrite(TABLE_BODY, &key, &key, NULL, 0);
    ck_assert_uint_ge(offline_findings(), 1);
    kit_open(&kit);
    ck_assert_uint_ge(scrub_round(), 1);
    ck_body();
    ck_assert_int_eq(kit_settle(&kit, id_of(1), 1), OK); /* an operator can still end it */
}
END_TEST

START_TEST(while_a_record_is_damaged_no_orphan_is_removed)
{
    struct spool_key key = spool_key_mid(id_of(1));
    struct spool_recovered found;

    kit_close(&kit);
    rewrite(TABLE_MSG, &key, &key, flip, 200);
    kit_open(&kit);
    spool_recovered(kit.spool, &found);
    ck_assert_uint_eq(found.corrupt_records, 1);
    ck_assert_uint_eq(found.orphan_bodies, 0);
    kit_close(&kit);
    rewrite(TABLE_MSG, &key, &key, flip, 200); /* mended: its body must still be there */
    kit_open(&kit);
    others_live();
    {
        struct envelope e;

        ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
        ck_assert_int_eq(kit_compare(&kit, &e), OK);
    }
}
END_TEST

static void newer(char *value, size_t *n, size_t where)
{
    struct spool_key key = spool_key_format();

    (void)n;
    put_be(value + CHECKSUM_BYTES, FORMAT_DATA_BYTES, where);
    spool_value_seal(TABLE_META, (struct str){(char *)key.b, key.n}, value, FORMAT_DATA_BYTES);
}

START_TEST(a_spool_of_another_version_is_refused_and_not_called_damaged)
{
    struct spool_key key = spool_key_format();
    struct spool_check_summary sum;

    kit_close(&kit);
    rewrite(TABLE_META, &key, &key, newer, SPOOL_FORMAT_VERSION + 1);
    ck_assert_int_eq(spool_open(&kit.spool, &kit.options), E_PROTO);
    ck_assert_int_eq(spool_check(kit.dir, no_report, NULL, &sum), E_PROTO);
    rewrite(TABLE_META, &key, &key, newer, SPOOL_FORMAT_VERSION - 1);
    ck_assert_int_eq(spool_open(&kit.spool, &kit.options), E_PROTO);
    ck_assert_int_eq(spool_check(kit.dir, no_report, NULL, &sum), E_PROTO);
    rewrite(TABLE_META, &key, &key, newer, SPOOL_FORMAT_VERSION);
    kit_open(&kit);
    others_live();
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

int main(void)
{
    Suite *suite = suite_create("spool damage");
    TCase *tc = tcase_create("damage");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 240);
    tcase_add_loop_test(tc, a_flipped_bit_is_never_taken_for_good, 0, COUNT(tables));
    tcase_add_loop_test(tc, a_value_cut_short_is_never_taken_for_good, 0, COUNT(tables));
    tcase_add_test(tc, a_value_under_a_foreign_key_is_never_taken_for_good);
    tcase_add_test(tc, chunks_that_changed_places_are_never_taken_for_good);
    tcase_add_test(tc, a_body_of_good_chunks_with_another_digest_is_never_taken_for_good);
    tcase_add_test(tc, a_lost_chunk_is_damage_and_not_the_end_of_the_body);
    tcase_add_test(tc, while_a_record_is_damaged_no_orphan_is_removed);
    tcase_add_test(tc, a_spool_of_another_version_is_refused_and_not_called_damaged);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
