/* Numbers with units: all of the text counts, and nothing overflows. */
#include "cluster-tools/common/number.h"

#include <check.h>
#include <string.h>

enum kind { COUNT, SIZE, DURATION, DELAY, MICRO };

static const struct {
    enum kind kind;
    const char *text;
    enum err err;
    uint64_t want;
} cases[] = {
    {COUNT, "0", OK, 0},
    {COUNT, "100", OK, 100},
    {COUNT, "101", E_FULL, 0},
    {COUNT, "18446744073709551616", E_FULL, 0},
    {COUNT, "", E_PROTO, 0},
    {COUNT, "-1", E_PROTO, 0},
    {COUNT, " 1", E_PROTO, 0},
    {COUNT, "1 ", E_PROTO, 0},
    {SIZE, "4096", OK, 4096},
    {SIZE, "4k", OK, 4096},
    {SIZE, "50M", OK, 50 * 1024 * 1024},
    {SIZE, "1GiB", OK, 1 << 30},
    {SIZE, "2G", E_FULL, 0},
    {SIZE, "17179869185G", E_FULL, 0},
    {SIZE, "4kb", E_PROTO, 0},
    {SIZE, "k", E_PROTO, 0},
    {DURATION, "2", OK, 2000000},
    {DURATION, "1.5", OK, 1500000},
    {DURATION, "250ms", OK, 250000},
    {DURATION, "0.5ms", OK, 500},
    {DURATION, "2m", OK, 120000000},
    {DURATION, "1.5h", OK, UINT64_C(5400000000)},
    {DURATION, "2400h", OK, UINT64_C(8640000000000)},
    {DURATION, "2401h", E_FULL, 0},
    {DURATION, "99999999999999999999s", E_FULL, 0},
    {DURATION, "1.", E_PROTO, 0},
    {DURATION, ".5", E_PROTO, 0},
    {DURATION, "5 s", E_PROTO, 0},
    {DURATION, "1d", E_PROTO, 0},
    {DELAY, "250", OK, 250000},
    {DELAY, "2s", OK, 2000000},
    {MICRO, "12.5", OK, 12500000},
    {MICRO, "100", OK, 100000000},
    {MICRO, "100.000001", E_FULL, 0},
    {MICRO, "0.1234567", OK, 123456},
    {MICRO, "1x", E_PROTO, 0},
};

#define CASES (sizeof cases / sizeof cases[0])

static enum err parse(enum kind kind, struct str text, uint64_t *out)
{
    switch (kind) {
    case COUNT:
        return number_count(text, 100, out);
    case SIZE:
        return number_size(text, UINT64_C(1) << 30, out);
    case DURATION:
        return number_duration_us(text, out);
    case DELAY:
        return number_delay_us(text, out);
    case MICRO:
        return number_micro(text, 100, out);
    }
    return E_PROTO;
}

START_TEST(numbers_are_read_whole_or_refused)
{
    uint64_t got = 0;
    enum err e =
        parse(cases[_i].kind, (struct str){cases[_i].text, strlen(cases[_i].text)}, &got);

    ck_assert_msg(e == cases[_i].err, "'%s' gave %d", cases[_i].text, e);
    if (e == OK)
        ck_assert_msg(got == cases[_i].want, "'%s' gave %llu", cases[_i].text,
                      (unsigned long long)got);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("number");
    TCase *tc = tcase_create("parse");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, numbers_are_read_whole_or_refused, 0, CASES);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
