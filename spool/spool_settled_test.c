/* Whatever the order in which ids die, the settled set holds exactly them, in as few intervals
 * as there are runs. */
#include <check.h>

#include "spool/spool_internal.h"
#include "tests/support/spool_kit.h"

#define IDS 64

static struct kit kit;

static void setup(void)
{
    kit_init(&kit, 16 * MiB);
}

static void teardown(void)
{
    kit_fini(&kit);
}

/* Three stretches of counters where arithmetic may go wrong, and two neighbouring sessions. */
static const struct {
    uint16_t site;
    uint64_t epoch, first;
} stretches[] = {
    {1, 7, 0}, {1, 7, UINT64_MAX - IDS + 1}, {1, 8, 0}, {0, 0, 1000}, {UINT16_MAX, 1, 5}};
#define STRETCHES (sizeof stretches / sizeof stretches[0])

static struct mid id_of(size_t stretch, uint64_t i)
{
    return mid_make(stretches[stretch].site, stretches[stretch].epoch,
                    stretches[stretch].first + i);
}

static size_t intervals(void)
{
    MDB_txn *txn;
    MDB_stat st;

    ck_assert_int_eq(mdb_txn_begin(kit.spool->env, NULL, MDB_RDONLY, &txn), 0);
    ck_assert_int_eq(mdb_stat(txn, kit.spool->dbi[TABLE_SETTLED], &st), 0);
    mdb_txn_abort(txn);
    return st.ms_entries;
}

static void ck_set(bool dead[STRETCHES][IDS])
{
    size_t runs = 0;

    for (size_t s = 0; s < STRETCHES; s++)
        for (uint64_t i = 0; i < IDS; i++) {
            runs += dead[s][i] && (i == 0 || !dead[s][i - 1]);
            ck_assert_int_eq(spool_settled_contains(kit.reader, id_of(s, i)),
                             dead[s][i] ? OK : E_NOTFOUND);
        }
    ck_assert_uint_eq(intervals(), runs);
}

START_TEST(the_set_holds_exactly_what_died_in_any_order)
{
    bool dead[STRETCHES][IDS] = {0};
    struct prng r;

    prng_seed(&r, (uint64_t)_i + 1);
    for (size_t round = 0; round < 40; round++) {
        struct spool_txn *t = spool_begin(kit.spool);

        for (size_t n = 0; n < 20; n++) {
            size_t s = (size_t)prng_below(&r, STRETCHES);
            uint64_t i = prng_below(&r, IDS);

            ck_assert_int_eq(spool_abort_id(t, id_of(s, i)), dead[s][i] ? E_EXISTS : OK);
            dead[s][i] = true;
        }
        ck_assert_int_eq(spool_commit(&t), OK);
        ck_set(dead);
    }
    kit_reopen(&kit);
    ck_set(dead);
}
END_TEST

START_TEST(a_batch_that_is_dropped_leaves_the_set_as_it_was)
{
    bool dead[STRETCHES][IDS] = {0};
    struct spool_txn *t = spool_begin(kit.spool);

    ck_assert_int_eq(spool_abort_id(t, id_of(0, 1)), OK);
    ck_assert_int_eq(spool_abort_id(t, id_of(0, 3)), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    dead[0][1] = dead[0][3] = true;
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_abort_id(t, id_of(0, 2)), OK); /* joins the two */
    spool_abort(&t);
    ck_set(dead);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spool settled");
    TCase *tc = tcase_create("intervals");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, the_set_holds_exactly_what_died_in_any_order, 0, 8);
    tcase_add_test(tc, a_batch_that_is_dropped_leaves_the_set_as_it_was);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
