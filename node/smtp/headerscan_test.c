#include "node/smtp/headerscan.h"

#include <check.h>

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *text;
    unsigned received, own;
    bool done;
} cases[] = {
    {"", 0, 0, false},
    {"\r\n", 0, 0, true},
    {"Subject: a\r\n\r\nReceived: x\r\n", 0, 0, true},
    {"Received: x\r\n\tby y\r\nReceived: z\r\n\r\n", 2, 0, true},
    {"rEcEiVeD:x\r\nReceived :x\r\nReceived\t : x\r\n", 3, 0, false},
    {"Received-SPF: x\r\nXReceived: x\r\nReceive: x\r\nReceivee: x\r\n", 0, 0, false},
    {"Subject: a\r\n Received: x\r\n", 0, 0, false},
    {"Subject: Received: x\r\n", 0, 0, false},
    {"Received: from a by b (trispool east) id 1\r\n\r\n", 1, 1, true},
    {"Received: from a by b\r\n\t(trispool\r\n \teast) id 1\r\n\r\n", 1, 1, true},
    {"Received: by b (trispool east) (trispool east)\r\n\r\n", 1, 1, true},
    {"Received: by b ((trispool east)\r\n\r\n", 1, 1, true},
    {"Received: by b (trispool (trispool east)\r\n\r\n", 1, 1, true},
    {"Received: by b (trispool eastern)\r\n\r\n", 1, 0, true},
    {"Received: by b (trispool west)\r\n\r\n", 1, 0, true},
    {"Received: by b ( trispool east)\r\n\r\n", 1, 0, true},
    {"Received: by b (trispooleast)\r\n\r\n", 1, 0, true},
    {"Received: by b (trispool\r\nX: east)\r\n\r\n", 1, 0, true},
    {"Received: by b (trispool\r\nReceived: east)\r\n\r\n", 2, 0, true},
    {"Subject: (trispool east)\r\n\r\n", 0, 0, true},
    {"Received: (trispool east)\r\nReceived: (trispool east)\r\n\r\n", 2, 2, true},
    /* what is no field ends the section */
    {"Received: a\r\nHello, world\r\nReceived: b\r\n", 1, 0, true},
    {"Hello\r\nReceived: b\r\n", 0, 0, true},
    {": a\r\nReceived: b\r\n", 0, 0, true},
    {" : a\r\nReceived: b\r\n", 0, 0, true},
    {"\tcontinued\r\nReceived: b\r\n", 0, 0, true},
    {"N\xc3\xa4me: a\r\nReceived: b\r\n", 0, 0, true},
    {"\rReceived: b\r\n", 0, 0, true},
    /* but a line of an mbox file at the top does not */
    {"From a@b Tue Nov 24 01:46:56 2026\r\nReceived: b\r\n\r\n", 1, 0, true},
    {">From a@b Tue Nov 24 01:46:56 2026\r\nReceived: b\r\n\r\n", 1, 0, true},
    {"From\t: a@b\r\nReceived: b\r\n\r\n", 1, 0, true},
    {"From \r\nReceived: b\r\n\r\n", 1, 0, true},
    {"From \n", 0, 0, true},
    {"X: y\r\nFrom a@b Tue\r\nReceived: b\r\n", 0, 0, true},
    {"Frog a@b Tue\r\nReceived: b\r\n", 0, 0, true},
};

START_TEST(received_fields_are_counted_in_the_header_in_every_segmentation)
{
    struct str text = str_of(cases[_i].text);

    for (size_t step = 1; step <= text.n + 1; step++) {
        struct headerscan h;

        headerscan_init(&h, STR("east"));
        for (size_t at = 0; at < text.n; at += step)
            headerscan_feed(
                &h, str_head(str_from(text, at), step < text.n - at ? step : text.n - at));
        ck_assert_msg(h.received == cases[_i].received && h.own == cases[_i].own &&
                          h.done == cases[_i].done,
                      "'%s' by %zu: received %u own %u done %d", text.p, step, h.received,
                      h.own, h.done);
        ck_assert_int_eq(headerscan_verdict(&h), HEADER_OK);
    }
}
END_TEST

static struct headerscan fed(struct str line, unsigned times)
{
    struct headerscan h;

    headerscan_init(&h, STR("east"));
    while (times-- > 0)
        headerscan_feed(&h, line);
    headerscan_feed(&h, STR("\r\nbody\r\n"));
    return h;
}

static enum header_verdict verdict(struct str line, unsigned times)
{
    struct headerscan h = fed(line, times);

    ck_assert(h.done);
    return headerscan_verdict(&h);
}

START_TEST(limits_hold_to_the_last_one)
{
    struct str hop = STR("Received: x\r\n"), own = STR("Received: (trispool east)\r\n");
    /* 64 bytes, so that a whole number of them and the empty line make the limit + 2 */
    struct str line = STR("X-Pad-Pad-Pad-Pad: 0123456789012345678901234567890123456789abc\r\n");

    ck_assert_int_eq(verdict(hop, LIMIT_RECEIVED_HOPS), HEADER_OK);
    ck_assert_int_eq(verdict(hop, LIMIT_RECEIVED_HOPS + 1), HEADER_LOOP);
    ck_assert_int_eq(verdict(own, LIMIT_OWN_TRACES), HEADER_OK);
    ck_assert_int_eq(verdict(own, LIMIT_OWN_TRACES + 1), HEADER_OWN_LOOP);
    ck_assert_uint_eq(line.n, 64);
    ck_assert_int_eq(verdict(line, LIMIT_HEADER_BYTES / 64 - 1), HEADER_OK);
    ck_assert_int_eq(verdict(line, LIMIT_HEADER_BYTES / 64), HEADER_TOO_BIG);
}
END_TEST

START_TEST(a_header_of_just_the_limit_is_taken)
{
    struct headerscan h = fed(STR("X:\r\n"), (LIMIT_HEADER_BYTES - 4) / 4);

    ck_assert_uint_eq(h.header_bytes, LIMIT_HEADER_BYTES - 2);
    ck_assert_int_eq(headerscan_verdict(&h), HEADER_OK);
    headerscan_init(&h, STR("east"));
    headerscan_feed(&h, STR("XX:\r\nY:\r\n: "));
    ck_assert(h.done);
}
END_TEST

START_TEST(names_of_clusters_are_plain)
{
    char name[LIMIT_CLUSTER_NAME_BYTES + 1];

    memset(name, 'a', sizeof name);
    ck_assert(cluster_name_is_valid(STR("a.B-9_")));
    ck_assert(cluster_name_is_valid((struct str){name, LIMIT_CLUSTER_NAME_BYTES}));
    ck_assert(!cluster_name_is_valid((struct str){name, LIMIT_CLUSTER_NAME_BYTES + 1}));
    ck_assert(!cluster_name_is_valid(STR("")));
    ck_assert(!cluster_name_is_valid(STR("a)b")));
    ck_assert(!cluster_name_is_valid(STR("a b")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("headerscan");
    TCase *tc = tcase_create("scan");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, received_fields_are_counted_in_the_header_in_every_segmentation, 0,
                        COUNT(cases));
    tcase_add_test(tc, limits_hold_to_the_last_one);
    tcase_add_test(tc, a_header_of_just_the_limit_is_taken);
    tcase_add_test(tc, names_of_clusters_are_plain);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
