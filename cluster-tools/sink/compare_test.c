/* One Received field of the relay is cut, no more and no less; lists compare as multisets. */
#include "cluster-tools/sink/compare.h"

#include <check.h>
#include <string.h>

static const struct {
    const char *in, *relay, *want; /* want NULL: nothing is cut */
} cuts[] = {
    {"Received: from a by mx.x; now\r\nFrom: b\r\n", "mx.x", "From: b\r\n"},
    {"Received: from a\r\n\tby mx.x (t)\r\n with ESMTP; now\r\n\r\nx", "mx.x", "\r\nx"},
    {"received: BY MX.X; now\r\n\r\n", "mx.x", "\r\n"},
    {"Received: by mx.x;\r\nReceived: by mx.x;\r\n\r\n", "mx.x", "Received: by mx.x;\r\n\r\n"},
    {"Received: by mx.x;\r\n", "mx.x", ""},
    {"Received: from a by other; now\r\n\r\n", "", "\r\n"},
    {"Received: from a by other; now\r\n\r\n", "mx.x", NULL},
    {"Received: from a by mx.xx; now\r\n\r\n", "mx.x", NULL},
    {"Received: from (by mx.x) a by other; now\r\n\r\n", "mx.x", NULL},
    {"Received: from a (x (by y) z) by mx.x; now\r\n\r\n", "mx.x", "\r\n"},
    {"Received: from a; now\r\n\r\n", "", NULL},
    {"Received: from a by\r\n\r\n", "", NULL},
    {"From: b\r\nReceived: by mx.x;\r\n\r\n", "mx.x", NULL},
    {"Received: by mx.x; never ends", "mx.x", NULL},
    {"Received-SPF: pass\r\n\tx=y\r\nReceived: by mx.x;\r\nA: b\r\n", "mx.x", "A: b\r\n"},
    {"Authentication-Results: x\r\nReceived-SPF: pass\r\nReceived: by mx.x;\r\nA: b\r\n",
     "mx.x", "A: b\r\n"},
    {"Authentication-Results: x;\r\n\ty\r\nReceived: by mx.x;\r\nA: b\r\n", "mx.x", "A: b\r\n"},
    {"Authentication-Results: x\r\nAuthentication-Results: y\r\nReceived: by mx.x;\r\n", "mx.x",
     NULL},
    {"Received-SPF: pass\r\nAuthentication-Results: x\r\nReceived: by mx.x;\r\n", "mx.x", NULL},
    {"Received-SPF: pass\r\nA: b\r\n", "mx.x", NULL},
    {"Received-SPF: a\r\nReceived-SPF: b\r\nReceived: by mx.x;\r\n", "mx.x", NULL},
    {"Received-SPF: by mx.x; never ends", "mx.x", NULL},
    {"Received: by mx.x;\n\r\n", "mx.x", "" /* an LF alone ends no line */},
    {"", "mx.x", NULL},
};

#define CUTS (sizeof cuts / sizeof cuts[0])

START_TEST(exactly_one_field_of_the_relay_is_cut)
{
    struct str m = {cuts[_i].in, strlen(cuts[_i].in)};
    struct str relay = {cuts[_i].relay, strlen(cuts[_i].relay)};
    bool cut = compare_cut_received(&m, relay);
    const char *want = cuts[_i].want != NULL ? cuts[_i].want : cuts[_i].in;

    ck_assert_int_eq(cut, cuts[_i].want != NULL);
    ck_assert_uint_eq(m.n, strlen(want));
    ck_assert_mem_eq(m.p, want, m.n);
}
END_TEST

static const struct {
    const char *sent, *received; /* a letter a file */
    unsigned lost, duplicated, altered;
} lists[] = {
    {"", "", 0, 0, 0},         {"abc", "cab", 0, 0, 0}, {"aab", "aba", 0, 0, 0},
    {"abc", "ab", 1, 0, 0},    {"aa", "a", 1, 0, 0},    {"ab", "abb", 0, 1, 0},
    {"ab", "abbbaa", 0, 4, 0}, {"ab", "ax", 1, 0, 1},   {"ab", "abx", 0, 0, 1},
    {"aab", "abb", 1, 1, 0},   {"", "xyx", 0, 0, 3},    {"xyx", "", 3, 0, 0},
};

#define LISTS (sizeof lists / sizeof lists[0])

START_TEST(lists_compare_as_multisets)
{
    struct fingerprint sent[8], received[8];
    struct compare_result r;

    for (size_t i = 0; i < strlen(lists[_i].sent); i++)
        fingerprint_make(&sent[i], (struct str){lists[_i].sent + i, 1}, "sent");
    for (size_t i = 0; i < strlen(lists[_i].received); i++)
        fingerprint_make(&received[i], (struct str){lists[_i].received + i, 1}, "received");
    compare_lists(sent, strlen(lists[_i].sent), received, strlen(lists[_i].received), &r, NULL);
    ck_assert_uint_eq(r.sent, strlen(lists[_i].sent));
    ck_assert_uint_eq(r.received, strlen(lists[_i].received));
    ck_assert_uint_eq(r.lost, lists[_i].lost);
    ck_assert_uint_eq(r.duplicated, lists[_i].duplicated);
    ck_assert_uint_eq(r.altered, lists[_i].altered);
}
END_TEST

START_TEST(a_message_without_the_field_of_the_relay_equals_nothing)
{
    static const char *const received[] = {"Received: by mx.x; now\r\nA: b\r\n", "A: b\r\n",
                                           "Received: by other; now\r\nA: b\r\n"};
    struct fingerprint sent, got;
    struct compare_result r;

    fingerprint_make(&sent, STR("A: b\r\n"), "sent");
    ck_assert_int_eq(
        fingerprint_make_relayed(&got, str_of(received[_i]), STR("mx.x"), "received"), _i == 0);
    compare_lists(&sent, 1, &got, 1, &r, NULL);
    ck_assert_uint_eq(r.lost, _i == 0 ? 0 : 1);
    ck_assert_uint_eq(r.altered, _i == 0 ? 0 : 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("compare");
    TCase *tc = tcase_create("files");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, exactly_one_field_of_the_relay_is_cut, 0, CUTS);
    tcase_add_loop_test(tc, lists_compare_as_multisets, 0, LISTS);
    tcase_add_loop_test(tc, a_message_without_the_field_of_the_relay_equals_nothing, 0, 3);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
