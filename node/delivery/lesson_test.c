/* Which answers say that there is such a recipient, or none; every other one says nothing. */
#include "node/delivery/lesson.h"

#include <check.h>

static const struct {
    enum verdict verdict;
    bool tried, accepted;
    uint16_t code;
    const char *reply;
    enum lesson lesson;
} cases[] = {
    {VERDICT_OK, true, true, 250, "250 2.0.0 taken", LESSON_VALID},
    {VERDICT_PERMANENT, true, false, 550, "550 5.1.1 no such user", LESSON_INVALID},
    {VERDICT_PERMANENT, true, false, 550, "550 5.1.10 null MX", LESSON_INVALID},
    {VERDICT_PERMANENT, true, false, 550, "550 no such user", LESSON_INVALID},
    {VERDICT_PERMANENT, true, false, 551, "551 5.1.6 moved", LESSON_INVALID},
    {VERDICT_PERMANENT, true, false, 553, "553 5.1.3 bad address", LESSON_INVALID},
    /* of the sender, of a full mailbox, of policy */
    {VERDICT_PERMANENT, true, false, 550, "550 5.7.1 you are listed", LESSON_NOTHING},
    {VERDICT_PERMANENT, true, false, 550, "550 5.2.1 mailbox disabled", LESSON_NOTHING},
    {VERDICT_PERMANENT, true, false, 550, "550 5.4.1 access denied", LESSON_NOTHING},
    {VERDICT_PERMANENT, true, false, 550, "550 5.0.0 no", LESSON_NOTHING},
    {VERDICT_PERMANENT, true, false, 556, "556 5.1.10 domain takes no mail", LESSON_NOTHING},
    /* after the dot, at MAIL, or words of our own */
    {VERDICT_PERMANENT, true, true, 550, "550 5.1.1 after all not", LESSON_NOTHING},
    {VERDICT_PERMANENT, false, false, 552, "552 5.3.4 too big", LESSON_NOTHING},
    {VERDICT_PERMANENT, true, false, 550, "(no words)", LESSON_NOTHING},
    {VERDICT_RETRY, true, false, 450, "450 4.1.1 unknown for now", LESSON_NOTHING},
    {VERDICT_RETRY, true, true, 451, "451 later", LESSON_NOTHING},
    {VERDICT_RETRY_BRAKE, true, false, 421, "421 busy", LESSON_NOTHING},
    {VERDICT_ODD_5XX, true, false, 550, "550 4.1.1 contradicts itself", LESSON_NOTHING},
    {VERDICT_ODD_5XX, true, false, 554, "554 5.1.1 odd", LESSON_NOTHING},
    {VERDICT_UNKNOWN, true, true, 0, "(lost)", LESSON_NOTHING},
    {VERDICT_ODDITY, true, false, 550, "550 5.1.1 out of step", LESSON_NOTHING},
};

START_TEST(a_try_teaches_what_the_table_says)
{
    const struct smtpc_rcpt r = {.verdict = cases[_i].verdict,
                                 .tried = cases[_i].tried,
                                 .accepted = cases[_i].accepted,
                                 .code = cases[_i].code,
                                 .reply = str_of(cases[_i].reply)};

    ck_assert_msg(lesson_of(&r) == cases[_i].lesson, "%s", cases[_i].reply);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lesson");
    TCase *tc = tcase_create("lesson");
    SRunner *sr;
    int failed;

    tcase_add_loop_test(tc, a_try_teaches_what_the_table_says, 0,
                        (int)(sizeof cases / sizeof *cases));
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
