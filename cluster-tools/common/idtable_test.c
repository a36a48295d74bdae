/* Every id keeps its counters, however the table grows. */
#include "cluster-tools/common/idtable.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"

static struct idtable *table;

static void setup(void)
{
    table = idtable_new();
    ck_assert_ptr_nonnull(table);
}

static void teardown(void)
{
    idtable_free(&table);
    ck_assert_ptr_null(table);
}

static struct idtable_entry *get(const char *id)
{
    struct idtable_entry *e = NULL;

    ck_assert_int_eq(idtable_get(table, (struct str){id, strlen(id)}, &e), OK);
    return e;
}

START_TEST(an_id_is_found_again_and_starts_at_zero)
{
    ck_assert_uint_eq(get("a")->count[0], 0);
    get("a")->count[0] = 7;
    get("b")->count[1] = 3;
    ck_assert_uint_eq(get("a")->count[0], 7);
    ck_assert_uint_eq(get("b")->count[0], 0);
    ck_assert_uint_eq(idtable_count(table), 2);
}
END_TEST

START_TEST(one_id_being_the_start_of_another_does_not_mix_them_up)
{
    get("run-1")->count[0] = 1;
    get("run-10")->count[0] = 10;
    get("")->count[0] = 5;
    ck_assert_uint_eq(get("run-1")->count[0], 1);
    ck_assert_uint_eq(get("run-10")->count[0], 10);
    ck_assert_uint_eq(get("")->count[0], 5);
}
END_TEST

START_TEST(growing_keeps_every_id_and_its_counters)
{
    const struct idtable_entry *e;
    size_t at = 0, seen = 0;
    char id[32];

    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(id, sizeof id, "id-%u", i);
        get(id)->count[3] = i;
    }
    ck_assert_uint_eq(idtable_count(table), 20000);
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(id, sizeof id, "id-%u", i);
        ck_assert_uint_eq(get(id)->count[3], i);
    }
    while ((e = idtable_next(table, &at)) != NULL)
        seen++;
    ck_assert_uint_eq(seen, 20000);
}
END_TEST

START_TEST(an_id_over_the_limit_is_refused_and_changes_nothing)
{
    static char id[LIMIT_TOOL_ID_BYTES + 1];
    struct idtable_entry *e;

    memset(id, 'x', sizeof id);
    ck_assert_int_eq(idtable_get(table, (struct str){id, sizeof id}, &e), E_FULL);
    ck_assert_uint_eq(idtable_count(table), 0);
    ck_assert_int_eq(idtable_get(table, (struct str){id, sizeof id - 1}, &e), OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("idtable");
    TCase *tc = tcase_create("table");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_id_is_found_again_and_starts_at_zero);
    tcase_add_test(tc, one_id_being_the_start_of_another_does_not_mix_them_up);
    tcase_add_test(tc, growing_keeps_every_id_and_its_counters);
    tcase_add_test(tc, an_id_over_the_limit_is_refused_and_changes_nothing);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
