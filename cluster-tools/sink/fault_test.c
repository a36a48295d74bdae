/* Control words do what they say, or nothing. */
#include "cluster-tools/sink/fault.h"

#include <check.h>
#include <string.h>

#include "cluster-tools/common/words.h"

static struct fault f;

static enum err command(const char *text)
{
    struct str rest = {text, strlen(text)}, word = words_cut(&rest);
    const char *why = NULL;

    return fault_command(&f, word, rest, &why);
}

static void setup(void)
{
    fault_init(&f, 1);
}

START_TEST(words_set_what_goes_wrong_and_where)
{
    static const struct {
        const char *text;
        enum fault_kind kind;
        enum stage stage;
        int code;
    } cases[] = {
        {"tempfail", FAULT_TEMPFAIL, STAGE_RCPT, 451},
        {"tempfail at=banner", FAULT_TEMPFAIL, STAGE_BANNER, 421},
        {"reject at=eom", FAULT_REJECT, STAGE_EOM, 554},
        {"reject code=552 at=mail", FAULT_REJECT, STAGE_MAIL, 552},
        {"drop", FAULT_DROP, STAGE_EOM, 451},
        {"drop at=body", FAULT_DROP, STAGE_BODY, 451},
        {"stall  at=quit ", FAULT_STALL, STAGE_QUIT, 451},
        {"ackloss", FAULT_ACKLOSS, STAGE_EOM, 451},
    };

    ck_assert_int_eq(command(cases[_i].text), OK);
    for (int s = 0; s < STAGE_COUNT; s++)
        ck_assert_int_eq(fault_at(&f, (enum stage)s),
                         s == (int)cases[_i].stage ? cases[_i].kind : FAULT_NONE);
    ck_assert_int_eq(fault_code(&f, cases[_i].stage), cases[_i].code);
    ck_assert_int_eq(command("accept"), OK);
    ck_assert_int_eq(fault_at(&f, cases[_i].stage), FAULT_NONE);
}
END_TEST

START_TEST(nonsense_changes_nothing)
{
    static const char *const bad[] = {
        "tempfail at=nowhere", "tempfail code=554",
        "reject code=450",     "drop code=450",
        "tempfail pct=101",    "tempfail pct=",
        "reject at=body",      "ackloss at=rcpt",
        "tempfail later",      "delay",
        "delay soon",          "delay 5 at=x",
        "delay 5 6",           "tempfail code=45x",
    };

    ck_assert_int_eq(command("stall at=mail"), OK);
    ck_assert_int_eq(command(bad[_i]), E_PROTO);
    ck_assert_int_eq(fault_at(&f, STAGE_MAIL), FAULT_STALL);
    ck_assert_uint_eq(fault_delay_us(&f, STAGE_EOM), 0);
}
END_TEST

START_TEST(other_words_are_not_found)
{
    ck_assert_int_eq(command("up"), E_NOTFOUND);
    ck_assert_int_eq(command(""), E_NOTFOUND);
}
END_TEST

START_TEST(a_share_hits_about_that_often)
{
    static const struct {
        const char *text;
        unsigned low, high;
    } cases[] = {
        {"drop pct=0", 0, 0}, {"drop pct=30", 2700, 3300}, {"drop pct=100", 10000, 10000}};
    unsigned hits = 0;

    ck_assert_int_eq(command(cases[_i].text), OK);
    for (int i = 0; i < 10000; i++)
        hits += fault_at(&f, STAGE_EOM) == FAULT_DROP;
    ck_assert_uint_ge(hits, cases[_i].low);
    ck_assert_uint_le(hits, cases[_i].high);
}
END_TEST

START_TEST(delays_go_with_one_stage)
{
    ck_assert_int_eq(command("delay 250"), OK);
    ck_assert_uint_eq(fault_delay_us(&f, STAGE_EOM), 250000);
    ck_assert_int_eq(command("delay 2s at=banner"), OK);
    ck_assert_uint_eq(fault_delay_us(&f, STAGE_BANNER), 2000000);
    ck_assert_uint_eq(fault_delay_us(&f, STAGE_EOM), 0);
    ck_assert_int_eq(command("delay 0"), OK);
    ck_assert_uint_eq(fault_delay_us(&f, STAGE_BANNER), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fault");
    TCase *tc = tcase_create("words");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, words_set_what_goes_wrong_and_where, 0, 8);
    tcase_add_loop_test(tc, nonsense_changes_nothing, 0, 14);
    tcase_add_test(tc, other_words_are_not_found);
    tcase_add_loop_test(tc, a_share_hits_about_that_often, 0, 3);
    tcase_add_test(tc, delays_go_with_one_stage);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
