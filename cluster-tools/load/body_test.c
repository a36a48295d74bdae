/* Generated messages have exactly the size, the lines and the checksum they claim. */
#include "cluster-tools/load/body.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tools/common/checksum.h"
#include "cluster-tools/load/files.h"

static const struct body_stamp stamp = {
    .id = {"run-5", 5}, .from = {"a@x", 3}, .number = 5, .wall_s = 0};

/* Reads it all in pieces of `piece`. gives. */
static char *read_all(const struct body_plan *plan, const struct body_stamp *s, size_t piece,
                      size_t want)
{
    char *all = malloc(want + piece);
    size_t n = 0, got;
    struct body b;

    ck_assert_ptr_nonnull(all);
    body_init(&b);
    body_open_generated(&b, plan, s);
    do {
        ck_assert_uint_le(n, want);
        ck_assert_int_eq(body_read(&b, all + n, piece, &got), OK);
        n += got;
    } while (got > 0);
    body_close(&b);
    ck_assert_uint_eq(n, want);
    return all;
}

START_TEST(sizes_are_exact_and_lines_canonical)
{
    static const size_t sizes[] = {BODY_MIN_BYTES,
                                   BODY_MIN_BYTES + 1,
                                   BODY_MIN_BYTES + 76,
                                   BODY_MIN_BYTES + 77,
                                   BODY_MIN_BYTES + 78,
                                   BODY_MIN_BYTES + 79,
                                   1351,
                                   1352,
                                   1353,
                                   1354,
                                   1355,
                                   4096,
                                   100000};
    struct body_plan plan;
    struct file_scan scan;
    char *all;

    body_plan_init(&plan, sizes[_i]);
    all = read_all(&plan, &stamp, 1000, sizes[_i]);
    file_scan_init(&scan);
    file_scan_add(&scan, (struct str){all, sizes[_i]});
    ck_assert_int_eq(file_scan_end(&scan), FILE_CLEAN);
    ck_assert_uint_eq(checksum_add(CHECKSUM_INIT, (struct str){all + BODY_HEAD_BYTES,
                                                               sizes[_i] - BODY_HEAD_BYTES}),
                      plan.checksum[5 % plan.variants]);
    ck_assert_mem_eq(all, "X-Trispool-Id: run-5 ", 21);
    ck_assert_mem_eq(all + BODY_HEAD_BYTES - 4, "\r\n\r\n", 4);
    free(all);
}
END_TEST

START_TEST(pieces_do_not_matter)
{
    struct body_plan plan;
    char *one, *other;

    body_plan_init(&plan, 5000);
    one = read_all(&plan, &stamp, 5000, 5000);
    for (size_t piece = 1; piece < 100; piece += 7) {
        other = read_all(&plan, &stamp, piece, 5000);
        ck_assert_mem_eq(one, other, 5000);
        free(other);
    }
    free(one);
}
END_TEST

START_TEST(every_line_of_a_large_body_differs_from_every_other)
{
    struct body_plan plan;
    uint64_t last = 0;
    char *all;

    body_plan_init(&plan, 2 << 20);
    ck_assert_uint_ge(plan.variants, 2);
    all = read_all(&plan, &stamp, 65536, 2 << 20);
    for (char *p = all + BODY_HEAD_BYTES; p < all + (2 << 20);) {
        char *end = memchr(p, '\n', (size_t)(all + (2 << 20) - p));

        if (p[0] != '.') {
            uint64_t n = strtoull(p, NULL, 10);

            ck_assert(last == 0 || n > last);
            last = n;
        }
        p = end + 1;
    }
    ck_assert_uint_gt(last, 20000);
    free(all);
}
END_TEST

START_TEST(the_longest_id_and_sender_fit_into_the_header)
{
    static char id[64], from[254];
    struct body_plan plan;

    memset(id, 'i', sizeof id);
    memset(from, 'f', sizeof from);
    body_plan_init(&plan, UINT64_C(1) << 20);
    free(read_all(&plan,
                  &(struct body_stamp){.id = {id, sizeof id},
                                       .from = {from, sizeof from},
                                       .number = UINT64_MAX,
                                       .wall_s = UINT32_MAX},
                  65536, 1 << 20));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("body");
    TCase *tc = tcase_create("generated");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, sizes_are_exact_and_lines_canonical, 0, 13);
    tcase_add_test(tc, pieces_do_not_matter);
    tcase_add_test(tc, every_line_of_a_large_body_differs_from_every_other);
    tcase_add_test(tc, the_longest_id_and_sender_fit_into_the_header);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
