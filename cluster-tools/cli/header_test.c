#include "cluster-tools/cli/header.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static char buf[LIMIT_POLICY_HEADER_BYTES];

static void write_file(const char *bytes, size_t n)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
    int fd;

    snprintf(path, sizeof path, "/tmp/trispool-header-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void teardown(void)
{
    unlink(path);
}

static const struct {
    const char *file, *header;
} files[] = {
    {"", ""},
    {"\n", "\r\n"},
    {"a: b\nc: d\n\nbody\n", "a: b\r\nc: d\r\n\r\n"},
    {"a: b\r\nc: d\r\n\r\nbody\r\n", "a: b\r\nc: d\r\n\r\n"},
    {"a: b\r\nc: d\n\nbody", "a: b\r\nc: d\r\n\r\n"},
    {"a: b", "a: b\r\n"},
    {"a: b\n", "a: b\r\n"},
    {"a: b\rc\n\n", "a: b\rc\r\n\r\n"}, /* a bare CR stays: it is to be judged */
    {"a: b\r", "a: b\r\r\n"},
};

START_TEST(the_header_is_what_stands_before_the_empty_line)
{
    size_t n = 99;

    write_file(files[_i].file, strlen(files[_i].file));
    ck_assert_ptr_null(header_read(path, buf, &n));
    ck_assert_uint_eq(n, strlen(files[_i].header));
    ck_assert_mem_eq(buf, files[_i].header, n);
}
END_TEST

START_TEST(the_limit_holds_at_the_byte)
{
    char *text = malloc(LIMIT_POLICY_HEADER_BYTES + 1);
    size_t n;

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', LIMIT_POLICY_HEADER_BYTES);
    write_file(text, LIMIT_POLICY_HEADER_BYTES - 2);
    ck_assert_ptr_null(header_read(path, buf, &n));
    ck_assert_uint_eq(n, LIMIT_POLICY_HEADER_BYTES);
    write_file(text, LIMIT_POLICY_HEADER_BYTES - 1);
    ck_assert_ptr_nonnull(header_read(path, buf, &n));
    text[LIMIT_POLICY_HEADER_BYTES - 3] = '\n'; /* and no room for the empty line */
    text[LIMIT_POLICY_HEADER_BYTES - 2] = '\n';
    write_file(text, LIMIT_POLICY_HEADER_BYTES - 1);
    ck_assert_ptr_nonnull(header_read(path, buf, &n));
    free(text);
}
END_TEST

START_TEST(what_is_not_there_is_told)
{
    size_t n;

    unlink(path);
    ck_assert_str_eq(header_read(path, buf, &n), "the file cannot be opened");
    ck_assert_str_eq(header_read("/tmp", buf, &n), "the file cannot be read");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("header");
    TCase *t = tcase_create("header");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, the_header_is_what_stands_before_the_empty_line, 0,
                        (int)(sizeof files / sizeof *files));
    tcase_add_test(t, the_limit_holds_at_the_byte);
    tcase_add_test(t, what_is_not_there_is_told);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
