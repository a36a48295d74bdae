/* Keys of the links between the nodes: pairs that belong together, and one text for each key.
 */
#include <check.h>
#include <stdio.h>

#include "node/net/plane.h"

START_TEST(a_pair_belongs_together_and_no_two_are_alike)
{
    uint8_t public_key[2][PLANE_KEY_BYTES], secret_key[2][PLANE_KEY_BYTES];
    uint8_t again[PLANE_KEY_BYTES];

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(plane_key_new(public_key[i], secret_key[i]), OK);
        ck_assert_int_eq(plane_key_public(secret_key[i], again), OK);
        ck_assert_mem_eq(again, public_key[i], PLANE_KEY_BYTES);
    }
    ck_assert_mem_ne(public_key[0], public_key[1], PLANE_KEY_BYTES);
    ck_assert_mem_ne(secret_key[0], secret_key[1], PLANE_KEY_BYTES);
}
END_TEST

START_TEST(a_key_as_text_is_the_key_again)
{
    uint8_t key[PLANE_KEY_BYTES], again[PLANE_KEY_BYTES];
    char text[PLANE_KEY_TEXT];

    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i * 37 + 5);
    plane_key_text(key, text);
    ck_assert_uint_eq(strlen(text), 40);
    ck_assert(plane_key_parse(str_of(text), again));
    ck_assert_mem_eq(key, again, sizeof key);
}
END_TEST

/* libzmq's manual has this one, a server's key in its examples. */
START_TEST(the_text_is_that_of_the_manual)
{
    static const char *const text = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
    static const uint8_t start[] = {0xBB, 0x88, 0x47, 0x1D};
    uint8_t key[PLANE_KEY_BYTES];
    char again[PLANE_KEY_TEXT];

    ck_assert(plane_key_parse(str_of(text), key));
    ck_assert_mem_eq(key, start, sizeof start);
    plane_key_text(key, again);
    ck_assert_str_eq(again, text);
}
END_TEST

static const char *const wrong[] = {
    "",
    "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI",
    "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID0",
    "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI ",
    "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{h\"D",
    ("\xc3\xa4" /* in a piece of its own: else the e belongs to the escape */
     "e@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"),
    "#####w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
};

START_TEST(what_is_not_the_text_of_a_key_is_refused)
{
    uint8_t key[PLANE_KEY_BYTES];

    ck_assert(!plane_key_parse(str_of(wrong[_i]), key));
}
END_TEST

START_TEST(a_text_with_a_zero_byte_is_refused)
{
    static const char text[] = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV\0hID";
    uint8_t key[PLANE_KEY_BYTES];

    ck_assert(!plane_key_parse((struct str){text, sizeof text - 1}, key));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plane_key");
    TCase *tc = tcase_create("key");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, a_pair_belongs_together_and_no_two_are_alike);
    tcase_add_test(tc, a_key_as_text_is_the_key_again);
    tcase_add_test(tc, the_text_is_that_of_the_manual);
    tcase_add_loop_test(tc, what_is_not_the_text_of_a_key_is_refused, 0,
                        sizeof wrong / sizeof *wrong);
    tcase_add_test(tc, a_text_with_a_zero_byte_is_refused);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
