/* The id is found behind whatever a relay puts in front, and damage is seen. */
#include "cluster-tools/sink/tag.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>

#include "cluster-tools/common/checksum.h"

static struct tag tag;

static enum tag_verdict judge(const char *message, size_t piece)
{
    size_t n = strlen(message);

    tag_init(&tag);
    for (size_t at = 0; at < n; at += piece)
        tag_add(&tag, (struct str){message + at, piece < n - at ? piece : n - at});
    return tag_verdict(&tag);
}

#define FIELD "X-Trispool-Id: run-1 7 %016" PRIx64 "\r\n"

static const struct {
    const char *before, *after; /* the field */
    enum tag_verdict want;
} cases[] = {
    {"", "From: a\r\n\r\nhello\r\n", TAG_OK},
    {"Received: from x\r\n\tby y; now\r\n", "\r\nhello\r\n", TAG_OK},
    {"", "\r\nhello", TAG_SHORT},
    {"", "\r\n", TAG_SHORT},
    {"", "\r\nhellO\r\n", TAG_BAD},
    {"", "\r\nhello\r\n\r\n", TAG_BAD},
    {"\r\n", "\r\nhello\r\n", TAG_UNTAGGED}, /* in the body it does not count */
    {"X-Trispool-Id: other 7 zz\r\n", "\r\nhello\r\n", TAG_OK}, /* cannot be read: no field */
};

START_TEST(damage_is_told_from_an_intact_body)
{
    uint64_t sum = checksum_add(CHECKSUM_INIT, STR("hello\r\n"));
    char message[512];

    snprintf(message, sizeof message, "%s" FIELD "%s", cases[_i].before, sum, cases[_i].after);
    for (size_t piece = 1; piece <= strlen(message); piece++) {
        ck_assert_int_eq(judge(message, piece), cases[_i].want);
        if (cases[_i].want != TAG_UNTAGGED)
            ck_assert(str_eq(tag_id(&tag), STR("run-1")));
    }
}
END_TEST

START_TEST(a_field_that_is_not_one_is_no_tag)
{
    static const char *const fields[] = {
        "X-Trispool-Id: a 7\r\n\r\n",      "X-Trispool-Id: a 7 12345678901234567\r\n\r\n",
        "X-Trispool-Id: a -7 1\r\n\r\n",   "X-Trispool-Id: a 7 1 more\r\n\r\n",
        "X-Trispool-Id: \x01 7 1\r\n\r\n", "X-Trispool-Id:\r\n\r\n",
        "X-Trispool-Idx: a 7 1\r\n\r\n",
    };

    ck_assert_int_eq(judge(fields[_i], 1000), TAG_UNTAGGED);
}
END_TEST

START_TEST(a_header_line_longer_than_the_buffer_does_no_harm)
{
    static char message[3 * LIMIT_TOOL_HEADER_LINE_BYTES];

    memset(message, 'x', sizeof message - 1);
    ck_assert_int_eq(judge(message, 100), TAG_UNTAGGED);
    ck_assert_int_eq(judge(message, sizeof message), TAG_UNTAGGED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tag");
    TCase *tc = tcase_create("reader");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, damage_is_told_from_an_intact_body, 0, 8);
    tcase_add_loop_test(tc, a_field_that_is_not_one_is_no_tag, 0, 7);
    tcase_add_test(tc, a_header_line_longer_than_the_buffer_does_no_harm);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
