/* Entries survive the way to bytes and back; what is not in the one form is refused. */
#include "proto/access.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static char buf[64 * KiB];
static size_t used;

static void setup(void)
{
    used = 0;
}

static struct access_entry block(uint8_t last, uint8_t bits)
{
    return (struct access_entry){
        .prefix = {.address = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = last},
                   .bits = bits},
        .action = ACCESS_BLOCK};
}

static void append(struct access_entry e)
{
    ck_assert_int_eq(access_append(buf, sizeof buf, &used, &e), OK);
}

static struct str all(void)
{
    return (struct str){buf, used};
}

START_TEST(entries_come_back_as_they_were)
{
    char long_reason[LIMIT_ACCESS_REASON_BYTES + 1];
    struct access_entry e[3] = {block(0, 120), block(0, 121), block(200, 128)}, got;
    struct str rest;

    memset(long_reason, '~', sizeof long_reason);
    e[0].for_s = 3600;
    e[0].reason = STR("sends spam");
    e[1].action = ACCESS_ALLOW;
    e[1].for_s = LIMIT_ACCESS_FOR_S;
    e[1].reason = (struct str){long_reason, LIMIT_ACCESS_REASON_BYTES};
    e[2].action = ACCESS_LAPSE;
    for (int i = 0; i < 3; i++)
        append(e[i]);
    ck_assert_ptr_null(access_check(all()));
    rest = all();
    for (int i = 0; i < 3; i++) {
        ck_assert(access_next(&rest, &got));
        ck_assert_int_eq(access_prefix_compare(&got.prefix, &e[i].prefix), 0);
        ck_assert_int_eq(got.action, e[i].action);
        ck_assert_uint_eq(got.for_s, e[i].for_s);
        ck_assert(str_eq(got.reason, e[i].reason));
    }
    ck_assert(!access_next(&rest, &got));
    ck_assert_uint_eq(rest.n, 0);
}
END_TEST

static const struct {
    struct access_entry e;
    const char *why;
} bad[] = {
    {{.prefix = {.bits = 129}}, "128 bits"},
    {{.prefix = {.address = {[15] = 1}, .bits = 127}}, "behind its prefix"},
    {{.prefix = {.address = {[0] = 1}, .bits = 0}}, "behind its prefix"},
    {{.prefix = {.address = {[1] = 0x10}, .bits = 11}}, "behind its prefix"},
    {{.action = 4}, "unknown action"},
    {{.action = ACCESS_REMOVE, .for_s = 1}, "neither"},
    {{.action = ACCESS_LAPSE, .reason = {"x", 1}}, "neither"},
    {{.action = ACCESS_BLOCK, .for_s = LIMIT_ACCESS_FOR_S + 1}, "ten years"},
    {{.action = ACCESS_BLOCK, .reason = {"a\nb", 3}}, "printable"},
    {{.action = ACCESS_BLOCK, .reason = {"\x7f", 1}}, "printable"},
};

START_TEST(what_makes_no_sense_is_not_written)
{
    ck_assert_ptr_nonnull(access_entry_check(&bad[_i].e));
    ck_assert_ptr_nonnull(strstr(access_entry_check(&bad[_i].e), bad[_i].why));
    ck_assert_int_eq(access_append(buf, sizeof buf, &used, &bad[_i].e), E_PROTO);
    ck_assert_uint_eq(used, 0);
}
END_TEST

START_TEST(too_long_a_reason_and_too_small_a_buffer)
{
    char reason[LIMIT_ACCESS_REASON_BYTES + 1];
    struct access_entry e = block(0, 120);

    memset(reason, 'x', sizeof reason);
    e.reason = (struct str){reason, sizeof reason};
    ck_assert_int_eq(access_append(buf, sizeof buf, &used, &e), E_PROTO);
    e.reason.n = 10;
    ck_assert_int_eq(access_append(buf, ACCESS_ENTRY_BYTES + 9, &used, &e), E_FULL);
    ck_assert_int_eq(access_append(buf, ACCESS_ENTRY_BYTES + 10, &used, &e), OK);
    ck_assert_uint_eq(used, ACCESS_ENTRY_BYTES + 10);
}
END_TEST

START_TEST(order_number_and_cuts_are_checked)
{
    ck_assert_ptr_nonnull(access_check(STR_NONE));
    append(block(4, 128));
    for (size_t cut = 1; cut < used; cut++)
        ck_assert_ptr_nonnull(access_check(str_head(all(), cut)));
    append(block(4, 128));
    ck_assert_ptr_nonnull(access_check(all())); /* twice */
    used = 0;
    append(block(5, 128));
    append(block(4, 128));
    ck_assert_ptr_nonnull(access_check(all())); /* not ascending */
    used = 0;
    for (uint32_t i = 0; i <= LIMIT_ACCESS_BATCH; i++) {
        struct access_entry e = {.prefix = {.bits = 128}, .action = ACCESS_BLOCK};

        ck_assert_ptr_eq(access_check(all()), i > 0 ? NULL : access_check(STR_NONE));
        e.prefix.address[14] = (uint8_t)(i >> 8);
        e.prefix.address[15] = (uint8_t)i;
        append(e);
    }
    ck_assert_ptr_nonnull(access_check(all()));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("access");
    TCase *tc = tcase_create("access");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, entries_come_back_as_they_were);
    tcase_add_loop_test(tc, what_makes_no_sense_is_not_written, 0, sizeof bad / sizeof *bad);
    tcase_add_test(tc, too_long_a_reason_and_too_small_a_buffer);
    tcase_add_test(tc, order_number_and_cuts_are_checked);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
