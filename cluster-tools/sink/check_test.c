/* What counts as lost, doubled, altered and excused. */
#include "cluster-tools/sink/check.h"

#include <check.h>
#include <string.h>

static const struct check_setup strict = {.max_duplicates = 0};
static struct check_result r;
static struct idtable *ids;

/* Lines, each with | behind it, fed to `on_line`. */
static void feed(const char *lines,
                 void on_line(struct check_result *, struct idtable *, struct str))
{
    while (*lines != 0) {
        size_t n = strcspn(lines, "|");

        on_line(&r, ids, (struct str){lines, n});
        lines += n + (lines[n] == '|');
    }
}

static void judge(const char *journal, const char *ledger)
{
    memset(&r, 0, sizeof r);
    ids = idtable_new();
    ck_assert_ptr_nonnull(ids);
    feed(journal, check_journal_line);
    feed(ledger, check_ledger_line);
    check_sum(&r, ids, NULL);
    idtable_free(&ids);
}

static const struct {
    const char *journal, *ledger;
    unsigned acked, delivered, lost, altered, duplicates, excused;
    bool pass;
} cases[] = {
    {"A x t 1 250|", "R x 1 ok 1 25|", 1, 1, 0, 0, 0, 0, true},
    {"A x t 1 250|", "", 1, 0, 1, 0, 0, 0, false},
    {"A x t 1 250|", "R y 1 ok 1 25|", 1, 1, 1, 0, 0, 0, false},
    {"A x t 1 250|", "R x 1 bad 1 25|", 1, 1, 0, 1, 0, 0, false},
    {"A x t 1 250|", "R x 1 short 1 25|", 1, 1, 0, 1, 0, 0, false},
    {"A x t 1 250|", "R x 1 ok 1 25|R x 2 ok 1 25|", 1, 1, 0, 0, 1, 0, false},
    {"U x t 1 0|A x t 2 250|", "R x 1 ok 1 25|R x 2 ok 1 25|", 1, 1, 0, 0, 0, 1, true},
    {"U x t 1 0|A x t 2 250|", "R x 1 ok 1 25|R x 2 ok 1 25|R x 3 ok 1 25|", 1, 1, 0, 0, 1, 1,
     false},
    {"A x t 1 250|", "K x 1 ok 1 25|R x 2 ok 1 25|", 1, 1, 0, 0, 0, 1, true},
    {"T x t 1 451|A x t 1 250|", "R x 1 ok 1 25|R x 2 ok 1 25|", 1, 1, 0, 0, 1, 0, false},
    {"U x t 1 0|G x - 1 0|", "", 0, 0, 0, 0, 0, 0, true},
    {"P x t 1 554|", "", 0, 0, 0, 0, 0, 0, true},
    {"A x t 1 250|", "R x 1 ok 1 25|R - 1 untagged 1 25|R - 2 untagged 1 25|", 1, 1, 0, 0, 0, 0,
     true},
    {"A x t 1 250|", "R x 1 ok 1 25|N x 1 3 25|", 1, 1, 0, 0, 0, 0, false},
    {"A x t 1 250|half", "R x 1 ok 1 25|", 1, 1, 0, 0, 0, 0, false},
    {"A x t 1 250|", "R x 1 ok 1 25|R", 1, 1, 0, 0, 0, 0, false},
};

#define CASES (sizeof cases / sizeof cases[0])

START_TEST(books_are_compared_as_told)
{
    judge(cases[_i].journal, cases[_i].ledger);
    ck_assert_uint_eq(r.acked, cases[_i].acked);
    ck_assert_uint_eq(r.delivered, cases[_i].delivered);
    ck_assert_uint_eq(r.lost, cases[_i].lost);
    ck_assert_uint_eq(r.altered, cases[_i].altered);
    ck_assert_uint_eq(r.duplicates, cases[_i].duplicates);
    ck_assert_uint_eq(r.excused, cases[_i].excused);
    ck_assert_int_eq(check_passes(&r, &strict), cases[_i].pass);
}
END_TEST

START_TEST(bare_line_ends_fail_the_check_unless_it_is_lenient)
{
    struct check_setup lenient = {.lenient = true};

    judge("A x t 1 250|", "R x 1 ok 1 25|N x 1 3 25|N - 1 2 25|");
    ck_assert_uint_eq(r.noncanonical, 5);
    ck_assert(!check_passes(&r, &strict));
    ck_assert(check_passes(&r, &lenient));
}
END_TEST

START_TEST(what_nobody_was_told_about_is_sorted_by_what_the_sender_knows)
{
    judge("U u t 1 0|T t t 1 451|P p t 1 554|",
          "R u 1 ok 1 25|R t 1 ok 1 25|R p 1 ok 1 25|R f 1 ok 1 25|");
    ck_assert_uint_eq(r.unknown_delivered, 1);
    ck_assert_uint_eq(r.refused_delivered, 2);
    ck_assert_uint_eq(r.foreign, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("check");
    TCase *tc = tcase_create("books");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, books_are_compared_as_told, 0, CASES);
    tcase_add_test(tc, bare_line_ends_fail_the_check_unless_it_is_lenient);
    tcase_add_test(tc, what_nobody_was_told_about_is_sorted_by_what_the_sender_knows);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
