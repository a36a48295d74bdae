/* Every combination of facts, against rules that are written down one by one. */
#include "node/policy/recipient.h"

#include <check.h>

/* All combinations: digits of a number in mixed bases. */
static bool nth(unsigned n, struct recipient_facts *f)
{
    f->mode = (enum recipient_mode)(n % RECIPIENT_MODES);
    n /= RECIPIENT_MODES;
    f->unknown = (enum recipient_unknown)(n % RECIPIENT_UNKNOWNS);
    n /= RECIPIENT_UNKNOWNS;
    f->known = (enum rcptset_status)(n % RCPTSET_STATUSES);
    n /= RCPTSET_STATUSES;
    for (size_t i = 0; i < 7; i++, n /= 2)
        *(bool *[]){&f->is_reserved, &f->is_listed,        &f->any_is_known, &f->is_up,
                    &f->was_asked,   &f->is_authenticated, &f->is_suspicious}[i] = n % 2 != 0;
    return n == 0;
}

START_TEST(every_combination_follows_the_rules)
{
    struct recipient_facts f, g;
    unsigned n, seen[4] = {0};

    for (n = 0; nth(n, &f); n++) {
        enum recipient_verdict v = recipient_judge(&f);
        bool learns = f.mode == RECIPIENT_LEARN && !f.is_reserved && !f.is_listed;
        bool is_open = learns && f.known == RCPTSET_UNKNOWN && f.any_is_known;

        seen[v]++;
        if (f.is_reserved || f.is_listed)
            ck_assert_int_eq(v, RECIPIENT_TAKE);
        else if (f.mode == RECIPIENT_LIST)
            ck_assert_int_eq(v, RECIPIENT_REFUSE);
        else if (f.mode == RECIPIENT_ANY || f.known == RCPTSET_VALID)
            ck_assert_int_eq(v, RECIPIENT_TAKE);
        if (learns && f.known == RCPTSET_INVALID)
            ck_assert_int_eq(v, f.is_suspicious ? RECIPIENT_UNSURE : RECIPIENT_REFUSE);
        if (learns && f.known == RCPTSET_UNKNOWN && !f.any_is_known)
            ck_assert_int_eq(v, RECIPIENT_TAKE);
        /* Only what is unknown is asked, once, and never for a suspicious client. */
        ck_assert_int_eq(v == RECIPIENT_ASK,
                         is_open && f.is_up && !f.was_asked && !f.is_suspicious);
        if (is_open && v != RECIPIENT_ASK)
            ck_assert_int_eq(v == RECIPIENT_TAKE,
                             !f.is_suspicious && (f.unknown == RECIPIENT_ACCEPT ||
                                                  (f.unknown == RECIPIENT_AUTHENTICATED &&
                                                   f.is_authenticated)));
        /* To a suspicious client what was refused and what is unknown look the same. */
        g = f;
        g.known = RCPTSET_INVALID;
        if (is_open && f.is_suspicious)
            ck_assert_str_eq(recipient_reply(v), recipient_reply(recipient_judge(&g)));
        /* Mail that is wanted does not suffer from the client it comes by. */
        g = f;
        g.is_suspicious = !f.is_suspicious;
        if (f.known == RCPTSET_VALID)
            ck_assert_int_eq(recipient_judge(&g), v);
    }
    ck_assert_uint_eq(n, 3 * 3 * 3 * 128);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_gt(seen[i], 0);
}
END_TEST

START_TEST(words_and_codes_fit_the_verdict)
{
    ck_assert_str_eq(recipient_reply(RECIPIENT_TAKE), "");
    ck_assert_str_eq(recipient_reply(RECIPIENT_ASK), "");
    ck_assert(strncmp(recipient_reply(RECIPIENT_REFUSE), "550 5.1.1 ", 10) == 0);
    ck_assert(strncmp(recipient_reply(RECIPIENT_UNSURE), "450 4.1.1 ", 10) == 0);
}
END_TEST

START_TEST(reserved_names_are_two)
{
    ck_assert(recipient_is_reserved(STR("Postmaster")) && recipient_is_reserved(STR("abuse")));
    ck_assert(!recipient_is_reserved(STR("postmaster+x")) && !recipient_is_reserved(STR("")));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("recipient");
    TCase *tc = tcase_create("recipient");
    SRunner *sr;
    int failed;

    tcase_add_test(tc, every_combination_follows_the_rules);
    tcase_add_test(tc, words_and_codes_fit_the_verdict);
    tcase_add_test(tc, reserved_names_are_two);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
