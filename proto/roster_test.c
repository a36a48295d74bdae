/* Entries of a domain's list have one form; a recipient finds the entry that its owner meant.
 */
#include "proto/roster.h"

#include <check.h>
#include <stdio.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
#define LONG     "a234567890123456789012345678901234567890123456789012345678901234"

static const struct {
    const char *local, *why; /* a part of it; NULL: fine */
} locals[] = {
    {"a", NULL},
    {"@", NULL},
    {"first.last+tag=x/y'z", NULL},
    {"a..b", NULL}, /* some primaries have such */
    {LONG, NULL},
    {LONG "5", "64"},
    {"", "64"},
    {"A", "lower case"},
    {"a b", "blanks"},
    {"a@b", "blanks"},
    {"@@", "blanks"},
    {"\"a\"", "blanks"},
    {"a\\b", "blanks"},
    {"a\x7f", "blanks"},
    {"\xc3\xa4", "blanks"},
};

START_TEST(an_entry_has_one_form)
{
    const char *why = roster_local_check(str_of(locals[_i].local));

    if (locals[_i].why == NULL)
        ck_assert_ptr_null(why);
    else
        ck_assert(why != NULL && strstr(why, locals[_i].why) != NULL);
}
END_TEST

#define S(lit)                                                                                 \
    {                                                                                          \
        lit, sizeof(lit) - 1                                                                   \
    }

static const struct {
    struct str bytes;
    const char *why;
} packed[] = {
    {S("\1\1a"), NULL},
    {S("\1\1@\0\1a\1\2aa\1\1b"), NULL},
    {S(""), "no entry"},
    {S("\1\1a\1\1a"), "ascending"},
    {S("\1\1b\1\1a"), "ascending"},
    {S("\1\2aa\1\1a"), "ascending"},
    {S("\2\1a"), "unknown"},
    {S("\1\1"), "cut short"},
    {S("\1\1a\1"), "cut short"},
    {S("\1\0"), "64"},
    {S("\1\1A"), "lower case"},
};

START_TEST(entries_of_a_command_are_in_order_and_whole)
{
    const char *why = roster_check(packed[_i].bytes);

    if (packed[_i].why == NULL)
        ck_assert_ptr_null(why);
    else
        ck_assert(why != NULL && strstr(why, packed[_i].why) != NULL);
}
END_TEST

START_TEST(what_is_appended_is_read_back_up_to_the_limit)
{
    static char buf[LIMIT_COMMAND_BYTES];
    char name[LIMIT_SMTP_LOCAL_PART_BYTES + 1];
    size_t used = 0;
    struct roster_entry e;
    struct str rest;

    for (int i = 0; i <= LIMIT_ROSTER_BATCH; i++) {
        int n = snprintf(name, sizeof name, "%064d", i);

        ck_assert_int_eq(n, LIMIT_SMTP_LOCAL_PART_BYTES);
        e = (struct roster_entry){.is_removed = i % 3 == 0, .local = str_of(name)};
        ck_assert_int_eq(roster_append(buf, sizeof buf, &used, &e), OK);
        ck_assert_int_eq(roster_check((struct str){buf, used}) == NULL, i < LIMIT_ROSTER_BATCH);
    }
    rest = (struct str){buf, used};
    for (int i = 0; i <= LIMIT_ROSTER_BATCH; i++) {
        ck_assert(roster_next(&rest, &e) && e.is_removed == (i % 3 == 0));
        snprintf(name, sizeof name, "%064d", i);
        ck_assert(str_eq(e.local, str_of(name)));
    }
    ck_assert_uint_eq(rest.n, 0);
    used = 0;
    ck_assert_int_eq(roster_append(buf, 65, &used, &e), E_FULL);
    e.local = STR("UPPER");
    ck_assert_int_eq(roster_append(buf, sizeof buf, &used, &e), E_PROTO);
    ck_assert_uint_eq(used, 0);
}
END_TEST

static const struct {
    const char *local;
    char separator;
    const char *exact, *base;
} wanted[] = {
    {"john", '+', "john", ""},
    {"John.Doe", '+', "john.doe", ""},
    {"\"John\"", '+', "john", ""},
    {"john+list", '+', "john+list", "john"},
    {"john+a+b", '+', "john+a+b", "john"},
    {"john+list", 0, "john+list", ""},
    {"john-list", '-', "john-list", "john"},
    {"+john", '+', "+john", ""},
    {"john+", '+', "john+", "john"},
    {"\"john doe\"", '+', "", ""},
    {"\"a\\\"b\"", '+', "", ""},
    {"\"@\"", '+', "", ""},
    {"\"\"", '+', "", ""},
    {"\"", '+', "", ""},
    {LONG "5", '+', "", ""},
    {LONG, '+', LONG, ""},
};

START_TEST(a_recipient_is_looked_for_whole_then_without_its_sub_address_then_caught)
{
    struct roster_wanted w;

    roster_wanted(&w, str_of(wanted[_i].local), wanted[_i].separator);
    ck_assert(str_eq(w.key[ROSTER_EXACT], str_of(wanted[_i].exact)));
    ck_assert(str_eq(w.key[ROSTER_BASE], str_of(wanted[_i].base)));
    ck_assert(str_eq(w.key[ROSTER_CAUGHT], STR("@")));
}
END_TEST

START_TEST(a_separator_may_stand_within_a_local_part)
{
    ck_assert_ptr_null(roster_separator_check(0));
    ck_assert_ptr_null(roster_separator_check('+'));
    ck_assert_ptr_null(roster_separator_check('-'));
    for (const char *c = "aZ0.@\" \\(\x7f\x80"; *c != 0; c++)
        ck_assert_ptr_nonnull(roster_separator_check(*c));
    ck_assert_str_eq(roster_match_text(ROSTER_BASE), "sub-address");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("roster");
    TCase *tc = tcase_create("roster");
    SRunner *sr;
    int failed;

    tcase_add_loop_test(tc, an_entry_has_one_form, 0, COUNT(locals));
    tcase_add_loop_test(tc, entries_of_a_command_are_in_order_and_whole, 0, COUNT(packed));
    tcase_add_test(tc, what_is_appended_is_read_back_up_to_the_limit);
    tcase_add_loop_test(
        tc, a_recipient_is_looked_for_whole_then_without_its_sub_address_then_caught, 0,
        COUNT(wanted));
    tcase_add_test(tc, a_separator_may_stand_within_a_local_part);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
