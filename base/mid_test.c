#include "base/mid.h"

#include <check.h>

#include "base/prng.h"

START_TEST(parts_come_back_as_they_went_in)
{
    static const struct {
        uint16_t site;
        uint64_t epoch, counter;
    } cases[] = {{0, 0, 0},
                 {1, 2, 3},
                 {UINT16_MAX, (UINT64_C(1) << 48) - 1, UINT64_MAX},
                 {0x0102, 0x030405060708, 0x090a0b0c0d0e0f10}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mid id = mid_make(cases[i].site, cases[i].epoch, cases[i].counter);

        ck_assert_uint_eq(mid_site(id), cases[i].site);
        ck_assert_uint_eq(mid_epoch(id), cases[i].epoch);
        ck_assert_uint_eq(mid_counter(id), cases[i].counter);
    }
    ck_assert_int_eq(mid_make(0x0102, 3, 4).b[0], 1); /* big-endian: part of the disk format */
    ck_assert_int_eq(mid_make(0x0102, 3, 4).b[1], 2);
    ck_assert_int_eq(mid_make(0x0102, 3, 4).b[7], 3);
    ck_assert_int_eq(mid_make(0x0102, 3, 4).b[15], 4);
}
END_TEST

START_TEST(text_form_is_fixed)
{
    char text[MID_TEXT_SIZE];

    ck_assert_str_eq(mid_text(mid_make(0, 0, 0), text), "00000000000000000000000000");
    ck_assert_str_eq(mid_text(mid_make(0, 0, 31), text), "0000000000000000000000000Z");
    ck_assert_str_eq(mid_text(mid_make(0, 0, 32), text), "00000000000000000000000010");
    ck_assert_str_eq(mid_text(mid_make(UINT16_MAX, (UINT64_C(1) << 48) - 1, UINT64_MAX), text),
                     "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
}
END_TEST

START_TEST(text_sorts_like_bytes_and_parses_back_in_any_case)
{
    struct prng rng;
    struct mid last = mid_make(0, 0, 0);
    char last_text[MID_TEXT_SIZE], text[MID_TEXT_SIZE];

    prng_seed(&rng, 3);
    mid_text(last, last_text);
    for (int i = 0; i < 20000; i++) {
        struct mid id = mid_make((uint16_t)prng_below(&rng, 4), prng_below(&rng, 1 << 20),
                                 prng_next(&rng) >> prng_below(&rng, 64)),
                   back;
        int bytes = mid_cmp(id, last);

        mid_text(id, text);
        ck_assert_int_eq((strcmp(text, last_text) > 0) - (strcmp(text, last_text) < 0),
                         (bytes > 0) - (bytes < 0));
        ck_assert(mid_parse(str_of(text), &back) && mid_cmp(id, back) == 0);
        for (char *c = text; *c != 0; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
        ck_assert(mid_parse(str_of(text), &back) && mid_cmp(id, back) == 0);
        last = id;
        mid_text(last, last_text);
    }
}
END_TEST

START_TEST(what_is_not_an_id_is_refused)
{
    static const char *const bad[] = {
        "",
        "0",
        "0000000000000000000000000",   /* 25 digits */
        "000000000000000000000000000", /* 27 digits */
        "80000000000000000000000000",  /* above 128 bits */
        "Z0000000000000000000000000",
        "0000000000000000000000000I", /* no digit: like 1 */
        "0000000000000000000000000L",
        "0000000000000000000000000O", /* no digit: like 0 */
        "0000000000000000000000000U",
        "0000000000000000000000000-",
        "0000000000000000000000000 ",
        " 0000000000000000000000000",
        "0000000000000000000000000\xff",
    };
    char with_nul[27] = "0000000000000000000000000";
    struct mid id;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!mid_parse(str_of(bad[i]), &id), "%s", bad[i]);
    ck_assert(!mid_parse((struct str){with_nul, 26}, &id));
    ck_assert(!mid_parse(STR_NONE, &id));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mid");
    TCase *tc = tcase_create("mid");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, parts_come_back_as_they_went_in);
    tcase_add_test(tc, text_form_is_fixed);
    tcase_add_test(tc, text_sorts_like_bytes_and_parses_back_in_any_case);
    tcase_add_test(tc, what_is_not_an_id_is_refused);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
