/* Frames that no member would send: dropped, told, and too many of them cut their sender off.
 * What links are for is in replica_test.c. */
#include <check.h>

#include "proto/frame.h"
#include "replication/replica_world_run.h"

static struct world *w;

static void setup(void)
{
    w = w_new(1);
    w_run_long(w, 3000);
    w_node(w, 1)->may_hear_bad = true;
}

static void teardown(void)
{
    w_free(w);
}

static void hear(struct str bytes)
{
    struct w_node *from = w_node(w, 2);

    replica_frame(w_node(w, 1)->r, from->site, from->incarnation, bytes, w->now);
}

static bool is_linked(void)
{
    struct replica_status s;

    replica_status(w_node(w, 1)->r, &s, w->now);
    for (int i = 0; i < REPLICA_PEERS; i++)
        if (s.peers[i].site == 2)
            return s.peers[i].link_up;
    return false;
}

static const struct {
    bool cluster, site, incarnation, format, checksum;
    const char *why;
} wrongs[] = {
    {.cluster = true, .why = "it is of another cluster"},
    {.site = true, .why = "it names another sender"},
    {.incarnation = true, .why = "it names another sender"},
    {.format = true, .why = "the peer speaks another format of frames"},
    {.checksum = true, .why = "it cannot be read"},
};

START_TEST(a_frame_with_something_wrong_is_dropped_and_told)
{
    static uint8_t buf[4096];
    struct frame f = {.kind = FRAME_HELLO,
                      .cluster = "cluster",
                      .site = wrongs[_i].site ? 3 : 2,
                      .incarnation = w_node(w, 2)->incarnation + wrongs[_i].incarnation,
                      .from_nonce = 77,
                      .format = FRAME_FORMAT + wrongs[_i].format,
                      .session = w_node(w, 2)->session};
    struct str bytes;

    f.cluster[0] ^= wrongs[_i].cluster;
    ck_assert_int_eq(frame_encode(&f, buf, sizeof buf, &bytes), OK);
    buf[bytes.n - 1] ^= wrongs[_i].checksum;
    hear(bytes);
    ck_assert_uint_eq(w_node(w, 1)->bad_frames, 1);
    ck_assert_str_eq(w_node(w, 1)->bad_text, wrongs[_i].why);
    ck_assert(is_linked());
}
END_TEST

START_TEST(a_peer_that_keeps_sending_such_is_not_heard_for_a_while)
{
    struct mid id;

    for (int i = 1; i < LIMIT_BAD_FRAMES; i++)
        hear(STR("this is no frame"));
    w_run_long(w, 5000);
    ck_assert(is_linked());
    hear(STR("this is no frame"));
    ck_assert_uint_eq(w_node(w, 1)->bad_frames, LIMIT_BAD_FRAMES);
    hear(STR("this is no frame")); /* not even looked at */
    ck_assert_uint_eq(w_node(w, 1)->bad_frames, LIMIT_BAD_FRAMES);
    w_run_long(w, LIMIT_LINK_CUT_MS - 5000);
    ck_assert(!is_linked());
    id = w_mail(w, w_node(w, 1), W_SMALL); /* the third member is enough */
    w_run_long(w, 3000);
    ck_assert_int_eq(w_msg(w, id)->answer, W_250);
    w_run_long(w, 10000);
    ck_assert(is_linked());
}
END_TEST

START_TEST(facts_go_to_the_site_that_they_are_for_and_only_over_a_link)
{
    struct w_node *n2 = w_node(w, 2), *n3 = w_node(w, 3);

    replica_facts(w_node(w, 1)->r, 2, STR("facts"));
    w_run_long(w, 1000);
    ck_assert_uint_eq(n2->facts, 1);
    ck_assert_uint_eq(n2->facts_site, 1);
    ck_assert_uint_eq(n2->facts_bytes, 5);
    ck_assert_int_eq(n2->facts_first, 'f');
    ck_assert_uint_eq(n3->facts, 0);
    w_part(w, 1, 2, true);
    w_run_long(w, 20000);
    ck_assert(!is_linked());
    replica_facts(w_node(w, 1)->r, 2, STR("lost"));
    w_part(w, 1, 2, false);
    w_run_long(w, 20000);
    ck_assert(is_linked());
    ck_assert_uint_eq(n2->facts, 1);
}
END_TEST

START_TEST(facts_before_the_first_word_of_a_peer_go_nowhere)
{
    struct w_node *n;

    w_free(w);
    w = w_new(1);
    n = w_node(w, 1);
    replica_facts(n->r, 2, STR("facts"));
    w_run_long(w, 3000);
    ck_assert(!n->stopped && is_linked());
    ck_assert_uint_eq(w_node(w, 2)->facts, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("replica link");
    TCase *tc = tcase_create("bad frames");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_frame_with_something_wrong_is_dropped_and_told, 0,
                        (int)(sizeof wrongs / sizeof *wrongs));
    tcase_add_test(tc, a_peer_that_keeps_sending_such_is_not_heard_for_a_while);
    tcase_add_test(tc, facts_go_to_the_site_that_they_are_for_and_only_over_a_link);
    tcase_add_test(tc, facts_before_the_first_word_of_a_peer_go_nowhere);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? 0 : 1;
}
