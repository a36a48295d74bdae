/* Every row of the reply table (DESIGN "Delivery"), then every code in every place against an
 * oracle written from the same text a second time. */
#include "node/delivery/verdict.h"

#include <check.h>
#include <stdio.h>

static enum verdict ask(enum at at, const char *line)
{
    static struct reply r;
    char bytes[128];
    size_t used;

    snprintf(bytes, sizeof bytes, "%s\r\n", line);
    reply_reset(&r);
    ck_assert_int_eq(reply_feed(&r, str_of(bytes), &used), REPLY_DONE);
    return verdict_of(at, &r);
}

static const struct {
    enum at at;
    const char *reply;
    enum verdict verdict;
} cases[] = {
    /* connect, banner, EHLO, STARTTLS, AUTH: anything but success */
    {AT_BANNER, "220 hi", VERDICT_OK},
    {AT_BANNER, "250 hi", VERDICT_DEST_NOT_UP},
    {AT_BANNER, "421 busy", VERDICT_DEST_NOT_UP},
    {AT_BANNER, "450 busy", VERDICT_DEST_NOT_UP},
    {AT_BANNER, "554 no", VERDICT_DEST_NOT_UP_ALARM},
    {AT_BANNER, "521 no mail", VERDICT_DEST_NOT_UP_ALARM},
    {AT_EHLO, "250 x", VERDICT_OK},
    {AT_EHLO, "220 x", VERDICT_DEST_NOT_UP},
    {AT_EHLO, "550 x", VERDICT_DEST_NOT_UP_ALARM},
    {AT_STARTTLS, "220 go", VERDICT_OK},
    {AT_STARTTLS, "250 go", VERDICT_DEST_NOT_UP},
    {AT_STARTTLS, "454 later", VERDICT_DEST_NOT_UP},
    {AT_STARTTLS, "501 no", VERDICT_DEST_NOT_UP_ALARM},
    {AT_AUTH, "235 in", VERDICT_OK},
    {AT_AUTH, "535 out", VERDICT_DEST_NOT_UP_ALARM},
    {AT_AUTH, "334 more", VERDICT_DEST_NOT_UP},
    /* any: unknown codes, 3xx where none is due */
    {AT_MAIL, "354 go", VERDICT_ODDITY},
    {AT_MAIL, "220 hi", VERDICT_ODDITY},
    {AT_MAIL, "251 hi", VERDICT_ODDITY},
    {AT_RCPT, "354 go", VERDICT_ODDITY},
    {AT_RCPT, "253 go", VERDICT_ODDITY},
    {AT_DATA, "250 ok", VERDICT_ODDITY},
    {AT_DATA, "355 ok", VERDICT_ODDITY},
    {AT_DOT, "354 ok", VERDICT_ODDITY},
    {AT_DOT, "251 ok", VERDICT_ODDITY},
    {AT_DOT, "220 ok", VERDICT_ODDITY},
    {AT_RSET, "500 what", VERDICT_ODDITY},
    {AT_IDLE, "250 ok", VERDICT_ODDITY},
    {AT_BODY, "550 no", VERDICT_ODDITY},
    /* MAIL 552 5.3.4 */
    {AT_MAIL, "552 5.3.4 big", VERDICT_PERMANENT},
    {AT_MAIL, "552 big", VERDICT_ODD_5XX},
    {AT_MAIL, "552 5.2.2 full", VERDICT_ODD_5XX},
    {AT_MAIL, "550 5.3.4 big", VERDICT_ODD_5XX},
    /* RCPT */
    {AT_RCPT, "250 ok", VERDICT_OK},
    {AT_RCPT, "251 forwards", VERDICT_OK},
    {AT_RCPT, "252 perhaps", VERDICT_OK},
    {AT_RCPT, "550 no", VERDICT_PERMANENT},
    {AT_RCPT, "551 no", VERDICT_PERMANENT},
    {AT_RCPT, "553 no", VERDICT_PERMANENT},
    {AT_RCPT, "556 no", VERDICT_PERMANENT},
    {AT_RCPT, "552 full", VERDICT_RETRY},
    {AT_RCPT, "552 5.3.4 big", VERDICT_RETRY},
    {AT_RCPT, "550 4.2.2 full", VERDICT_ODD_5XX}, /* contradicts itself */
    /* after the dot */
    {AT_DOT, "250 ok", VERDICT_OK},
    {AT_DOT, "550 no", VERDICT_PERMANENT},
    {AT_DOT, "552 no", VERDICT_PERMANENT},
    {AT_DOT, "553 no", VERDICT_PERMANENT},
    {AT_DOT, "554 no", VERDICT_PERMANENT},
    {AT_DOT, "556 no", VERDICT_PERMANENT},
    {AT_DOT, "554 4.7.1 later", VERDICT_ODD_5XX},
    {AT_DOT, "551 no", VERDICT_ODD_5XX},
    /* any other 5xx */
    {AT_MAIL, "530 tls first", VERDICT_ODD_5XX},
    {AT_MAIL, "535 who", VERDICT_ODD_5XX},
    {AT_RCPT, "500 what", VERDICT_ODD_5XX},
    {AT_RCPT, "504 what", VERDICT_ODD_5XX},
    {AT_RCPT, "521 what", VERDICT_ODD_5XX},
    {AT_RCPT, "534 what", VERDICT_ODD_5XX},
    {AT_RCPT, "538 what", VERDICT_ODD_5XX},
    {AT_RCPT, "554 relay denied", VERDICT_ODD_5XX},
    {AT_DATA, "554 no", VERDICT_ODD_5XX},
    {AT_DATA, "550 no", VERDICT_ODD_5XX},
    {AT_DOT, "500 no", VERDICT_ODD_5XX},
    {AT_DOT, "599 no", VERDICT_ODD_5XX},
    /* 4xx */
    {AT_MAIL, "421 bye", VERDICT_RETRY_BRAKE},
    {AT_MAIL, "450 slow", VERDICT_RETRY_BRAKE},
    {AT_MAIL, "451 later", VERDICT_RETRY},
    {AT_RCPT, "421 bye", VERDICT_RETRY_BRAKE},
    {AT_RCPT, "450 slow", VERDICT_RETRY_BRAKE},
    {AT_RCPT, "452 full", VERDICT_RETRY},
    {AT_RCPT, "499 what", VERDICT_RETRY},
    {AT_DATA, "451 later", VERDICT_RETRY},
    {AT_DOT, "421 bye", VERDICT_RETRY_BRAKE},
    {AT_DOT, "450 slow", VERDICT_RETRY_BRAKE},
    {AT_DOT, "452 full", VERDICT_RETRY},
    {AT_RSET, "250 ok", VERDICT_OK},
    {AT_RSET, "421 bye", VERDICT_RETRY_BRAKE},
    {AT_IDLE, "421 bye", VERDICT_RETRY_BRAKE},
    {AT_BODY, "421 bye", VERDICT_RETRY_BRAKE},
    {AT_QUIT, "221 bye", VERDICT_ODDITY}, /* nobody asks */
};

START_TEST(every_row_of_the_table_gives_its_verdict)
{
    enum verdict v = ask(cases[_i].at, cases[_i].reply);

    ck_assert_msg(v == cases[_i].verdict, "%s at %s: %s", cases[_i].reply,
                  at_name(cases[_i].at), verdict_name(v));
}
END_TEST

START_TEST(no_code_without_its_row_is_success_or_permanent)
{
    static const int good[][2] = {{AT_BANNER, 220}, {AT_EHLO, 250}, {AT_STARTTLS, 220},
                                  {AT_AUTH, 235},   {AT_RSET, 250}, {AT_MAIL, 250},
                                  {AT_RCPT, 250},   {AT_RCPT, 251}, {AT_RCPT, 252},
                                  {AT_DATA, 354},   {AT_DOT, 250}};
    static const int dead[][2] = {{AT_RCPT, 550}, {AT_RCPT, 551}, {AT_RCPT, 553},
                                  {AT_RCPT, 556}, {AT_DOT, 550},  {AT_DOT, 552},
                                  {AT_DOT, 553},  {AT_DOT, 554},  {AT_DOT, 556}};
    size_t goods = 0, deads = 0;

    for (int at = AT_BANNER; at < AT_COUNT; at++)
        for (int code = 200; code <= 599; code++) {
            char line[16];
            enum verdict v;
            bool is_good = false, is_dead = false;

            snprintf(line, sizeof line, "%d x", code);
            v = ask((enum at)at, line);
            for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
                is_good |= good[i][0] == at && good[i][1] == code;
            for (size_t i = 0; i < sizeof dead / sizeof dead[0]; i++)
                is_dead |= dead[i][0] == at && dead[i][1] == code;
            goods += v == VERDICT_OK;
            deads += v == VERDICT_PERMANENT;
            ck_assert((v == VERDICT_OK) == is_good);
            ck_assert((v == VERDICT_PERMANENT) == is_dead);
        }
    ck_assert_uint_eq(goods, sizeof good / sizeof good[0]);
    ck_assert_uint_eq(deads, sizeof dead / sizeof dead[0]);
}
END_TEST

START_TEST(a_loss_is_unknown_only_after_the_dot)
{
    for (int at = AT_CONNECT; at < AT_COUNT; at++) {
        bool before = at <= AT_AUTH;

        ck_assert_int_eq(verdict_of_loss((enum at)at), before         ? VERDICT_DEST_NOT_UP
                                                       : at == AT_DOT ? VERDICT_UNKNOWN
                                                                      : VERDICT_RETRY);
        ck_assert_int_eq(verdict_of_oddity((enum at)at),
                         before ? VERDICT_DEST_NOT_UP : VERDICT_ODDITY);
    }
    for (int v = 0; v < VERDICT_COUNT; v++)
        ck_assert_uint_gt(strlen(verdict_name((enum verdict)v)), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("verdict");
    TCase *tc = tcase_create("table");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, every_row_of_the_table_gives_its_verdict, 0,
                        sizeof cases / sizeof cases[0]);
    tcase_add_test(tc, no_code_without_its_row_is_success_or_permanent);
    tcase_add_test(tc, a_loss_is_unknown_only_after_the_dot);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
