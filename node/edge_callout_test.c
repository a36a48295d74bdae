/* Which wishes go, what answers become, and which RCPTs wait; with the real set. */
#include "node/edge_callout.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

struct world {
    struct rcptset set;
    struct edge_callout e;
    struct sched_now now;
    struct {
        uint64_t generation;
        char local[LIMIT_SMTP_LOCAL_PART_BYTES + 1];
        bool hurries;
    } posted[2 * LIMIT_CALLOUT_OUT];
    int posts, overs;
    bool is_full;
    void *waiter;
    enum rcptset_status status;
};

static struct world *w;
static const struct edge_callout_domain dom = {{"d.example", 9}, 7, '+'};
static const struct edge_callout_domain other = {{"e.example", 9}, 8, 0};
static int ann, bob;

static bool on_post(void *ctx, const struct edge_callout_domain *d, struct str local,
                    bool hurries)
{
    ck_assert_ptr_eq(ctx, w);
    ck_assert_int_lt(w->posts, 2 * LIMIT_CALLOUT_OUT);
    if (w->is_full)
        return false;
    w->posted[w->posts].generation = d->generation;
    snprintf(w->posted[w->posts].local, sizeof w->posted[0].local, STR_FMT, STR_ARG(local));
    w->posted[w->posts++].hurries = hurries;
    return true;
}

static void on_over(void *ctx, void *waiter, enum rcptset_status status)
{
    ck_assert_ptr_eq(ctx, w);
    w->overs++;
    w->waiter = waiter;
    w->status = status;
}

static void setup(void)
{
    w = calloc(1, sizeof *w);
    ck_assert_ptr_nonnull(w);
    rcptset_init(&w->set, &(struct rcptset_options){.seed = 3});
    edge_callout_init(&w->e, &(struct edge_callout_options){&w->set, w, on_post, on_over});
    w->now = (struct sched_now){1000000, UINT64_C(50000000000)};
}

static void teardown(void)
{
    rcptset_fini(&w->set);
    free(w);
}

static void pass(uint64_t ms)
{
    w->now.boot_ms += ms;
    w->now.cluster_ms += ms;
}

static struct rcptset_name name_of(const char *local)
{
    return (struct rcptset_name){dom.generation, str_of(local), dom.separator};
}

static void wish(const char *local)
{
    struct rcptset_name n = name_of(local);

    ck_assert_int_eq(rcptset_want(&w->set, &n, w->now.cluster_ms), RCPTSET_NEWS);
}

static void learn(const char *local, enum rcptset_status status)
{
    struct rcptset_name n = name_of(local);

    (void)!rcptset_learn(&w->set, &n, status, RCPTSET_DELIVERY, w->now.cluster_ms);
}

static enum rcptset_status known(const char *local)
{
    struct rcptset_name n = name_of(local);
    struct rcptset_entry found;

    return rcptset_find(&w->set, &n, w->now.cluster_ms, &found);
}

static void look(int times)
{
    for (int i = 0; i < times; i++)
        edge_callout_look(&w->e, &dom, w->now);
}

static void answer(const char *local, enum callout_verdict v)
{
    edge_callout_answer(&w->e, dom.generation, str_of(local), v, w->now);
}

static bool begin(const char *local, void *waiter)
{
    return edge_callout_begin(&w->e, &dom, str_of(local), waiter, w->now);
}

START_TEST(wishes_go_as_many_as_a_session_holds_the_oldest_first_and_once_a_day)
{
    look(3);
    ck_assert_int_eq(w->posts, 0);
    wish("ann");
    pass(10);
    wish("bob");
    look(3);
    ck_assert_int_eq(w->posts, 2);
    ck_assert_str_eq(w->posted[0].local, "ann");
    ck_assert(!w->posted[0].hurries);
    answer("ann", CALLOUT_VALID);
    ck_assert_int_eq(known("ann"), RCPTSET_VALID);
    look(3);
    ck_assert_int_eq(w->posts, 2);
    ck_assert_str_eq(w->posted[1].local, "bob");
    answer("bob", CALLOUT_UNKNOWN);
    ck_assert_int_eq(known("bob"), RCPTSET_UNKNOWN);
    look(3);
    ck_assert_int_eq(w->posts, 2); /* it was asked */
    pass(LIMIT_RCPTSET_REASK_MS + 1);
    wish("bob");
    look(3);
    ck_assert_int_eq(w->posts, 3);
}
END_TEST

START_TEST(what_is_known_is_asked_for_afresh_before_it_is_over)
{
    learn("ann", RCPTSET_VALID);
    look(1);
    ck_assert_int_eq(w->posts, 0);
    pass(LIMIT_RCPTSET_RENEW_MS + 1);
    look(1);
    ck_assert_int_eq(w->posts, 1);
    answer("ann", CALLOUT_VALID);
    pass(LIMIT_RCPTSET_VALID_MS - LIMIT_RCPTSET_RENEW_MS + 1);
    ck_assert_int_eq(known("ann"), RCPTSET_VALID); /* the first fact is over by now */
    pass(LIMIT_RCPTSET_RENEW_MS);
    look(1);
    answer("ann", CALLOUT_INVALID); /* and who has left is known to have */
    ck_assert_int_eq(known("ann"), RCPTSET_INVALID);
}
END_TEST

START_TEST(a_domain_that_is_not_asked_rests_and_the_wish_stays)
{
    wish("ann");
    look(1);
    answer("ann", CALLOUT_NOT_ASKED);
    look(5);
    pass(LIMIT_CALLOUT_LATER_MS - 1);
    look(5);
    ck_assert_int_eq(w->posts, 1);
    pass(1);
    look(5);
    ck_assert_int_eq(w->posts, 2);
    ck_assert_str_eq(w->posted[1].local, "ann");
}
END_TEST

START_TEST(one_that_takes_all_rests_for_a_day_and_nothing_is_learned)
{
    wish("ann");
    ck_assert(begin("ann", &ann));
    answer("ann", CALLOUT_TAKES_ALL);
    ck_assert_int_eq(w->overs, 1);
    ck_assert_int_eq(w->status, RCPTSET_UNKNOWN);
    ck_assert_int_eq(known("ann"), RCPTSET_UNKNOWN);
    pass(LIMIT_CALLOUT_TAKES_ALL_MS - 1);
    wish("bob");
    look(1);
    ck_assert_int_eq(w->posts, 1);
    ck_assert(!edge_callout_may_wait(&w->e, dom.generation, w->now));
    ck_assert(edge_callout_may_wait(&w->e, other.generation, w->now));
    pass(1);
    look(1);
    ck_assert_int_eq(w->posts, 3); /* and ann again: nothing was said of her */
    ck_assert(edge_callout_may_wait(&w->e, dom.generation, w->now));
}
END_TEST

START_TEST(a_full_box_loses_no_wish)
{
    wish("ann");
    w->is_full = true;
    look(2);
    ck_assert_int_eq(w->posts, 0);
    w->is_full = false;
    look(1);
    ck_assert_int_eq(w->posts, 1);
}
END_TEST

START_TEST(a_wait_ends_with_what_the_primary_says)
{
    static const struct {
        enum callout_verdict said;
        enum rcptset_status status;
    } cases[] = {{CALLOUT_VALID, RCPTSET_VALID},
                 {CALLOUT_INVALID, RCPTSET_INVALID},
                 {CALLOUT_UNKNOWN, RCPTSET_UNKNOWN}};

    ck_assert(begin("ann+x", &ann));
    ck_assert_int_eq(w->posts, 1);
    ck_assert(w->posted[0].hurries);
    ck_assert_str_eq(w->posted[0].local, "ann+x");
    ck_assert_int_eq(w->overs, 0);
    answer("ann+x", cases[_i].said);
    ck_assert_int_eq(w->overs, 1);
    ck_assert_ptr_eq(w->waiter, &ann);
    ck_assert_int_eq(w->status, cases[_i].status);
    ck_assert_uint_eq(w->e.wait_count + w->e.out_count, 0);
}
END_TEST

START_TEST(a_wait_that_another_site_asks_for_ends_with_its_news)
{
    struct rcptset_entry due;

    ck_assert(begin("ann", &ann));
    answer("ann", CALLOUT_NOT_ASKED); /* it is not held here */
    ck_assert(rcptset_due(&w->set, dom.generation, w->now.cluster_ms, &due, 1) == 1);
    ck_assert_uint_gt(due.wanted_ms, 0); /* told to all */
    ck_assert_int_eq(w->overs, 0);
    learn("bob", RCPTSET_VALID);
    edge_callout_news(&w->e, dom.generation, w->now);
    ck_assert_int_eq(w->overs, 0);
    learn("ann", RCPTSET_INVALID);
    edge_callout_news(&w->e, other.generation, w->now);
    ck_assert_int_eq(w->overs, 0);
    edge_callout_news(&w->e, dom.generation, w->now);
    ck_assert_int_eq(w->overs, 1);
    ck_assert_int_eq(w->status, RCPTSET_INVALID);
    ck_assert(begin("eve", &bob)); /* no wish goes now, but the other site sees it */
    ck_assert_int_eq(w->posts, 1);
}
END_TEST

START_TEST(a_wait_without_an_answer_ends_and_is_the_last_one_for_a_minute)
{
    ck_assert(begin("ann", &ann));
    pass(LIMIT_CALLOUT_WAIT_MS - 1);
    edge_callout_tick(&w->e, w->now);
    ck_assert_int_eq(w->overs, 0);
    w->now.boot_ms += 1; /* the cluster's clock may stand still */
    edge_callout_tick(&w->e, w->now);
    ck_assert_int_eq(w->overs, 1);
    ck_assert_int_eq(w->status, RCPTSET_UNKNOWN);
    ck_assert(!begin("bob", &bob));
    ck_assert(edge_callout_begin(&w->e, &other, STR("bob"), &bob, w->now));
    pass(LIMIT_CALLOUT_LATER_MS);
    answer("ann", CALLOUT_VALID); /* late, but true */
    ck_assert_int_eq(known("ann"), RCPTSET_VALID);
    ck_assert(begin("bob", &bob));
}
END_TEST

START_TEST(an_answer_for_which_there_is_no_room_is_told_all_the_same)
{
    rcptset_fini(&w->set);
    rcptset_init(&w->set, &(struct rcptset_options){.entries = 16, .per_domain = 2});
    learn("one", RCPTSET_VALID);
    ck_assert(begin("ann", &ann));
    learn("two", RCPTSET_VALID); /* pushes the wish out */
    ck_assert_int_eq(w->overs, 0);
    answer("ann", CALLOUT_VALID);
    ck_assert_int_eq(w->overs, 1);
    ck_assert_int_eq(w->status, RCPTSET_VALID);
    ck_assert_int_eq(known("ann"), RCPTSET_UNKNOWN);
}
END_TEST

START_TEST(few_of_a_domain_wait_and_not_too_many_in_all)
{
    char local[16];
    uint32_t n = 0;

    for (uint64_t g = 1; g <= LIMIT_CALLOUT_WAITS; g++)
        for (int i = 0; i <= LIMIT_CALLOUT_WAITS_EACH; i++) {
            struct edge_callout_domain d = {{"x.example", 9}, g, 0};
            bool more = n < LIMIT_CALLOUT_WAITS && i < LIMIT_CALLOUT_WAITS_EACH;

            snprintf(local, sizeof local, "u%d", i);
            ck_assert_int_eq(edge_callout_may_wait(&w->e, g, w->now), more);
            ck_assert_int_eq(edge_callout_begin(&w->e, &d, str_of(local), &ann, w->now), more);
            n += more;
        }
    ck_assert_int_eq(w->posts, LIMIT_CALLOUT_WAITS);
    for (uint64_t g = 1000; g <= 1000 + LIMIT_CALLOUT_OUT; g++) {
        struct edge_callout_domain d = {{"x.example", 9}, g, 0};
        struct rcptset_name name = {g, STR("x"), 0};

        ck_assert_int_eq(rcptset_want(&w->set, &name, w->now.cluster_ms), RCPTSET_NEWS);
        edge_callout_look(&w->e, &d, w->now);
    }
    ck_assert_int_eq(w->posts, LIMIT_CALLOUT_OUT - LIMIT_CALLOUT_WAITS); /* room for waits */
    edge_callout_end(&w->e);
    ck_assert_int_eq(w->overs, LIMIT_CALLOUT_WAITS);
    ck_assert_uint_eq(w->e.wait_count, 0);
}
END_TEST

START_TEST(two_who_wait_for_one_cost_one_question)
{
    ck_assert(begin("ann", &ann));
    ck_assert(begin("ann", &bob));
    ck_assert_int_eq(w->posts, 1);
    answer("ann", CALLOUT_VALID);
    ck_assert_int_eq(w->overs, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_callout");
    TCase *tc = tcase_create("wishes and waits");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, wishes_go_as_many_as_a_session_holds_the_oldest_first_and_once_a_day);
    tcase_add_test(tc, what_is_known_is_asked_for_afresh_before_it_is_over);
    tcase_add_test(tc, a_domain_that_is_not_asked_rests_and_the_wish_stays);
    tcase_add_test(tc, one_that_takes_all_rests_for_a_day_and_nothing_is_learned);
    tcase_add_test(tc, a_full_box_loses_no_wish);
    tcase_add_loop_test(tc, a_wait_ends_with_what_the_primary_says, 0, 3);
    tcase_add_test(tc, a_wait_that_another_site_asks_for_ends_with_its_news);
    tcase_add_test(tc, a_wait_without_an_answer_ends_and_is_the_last_one_for_a_minute);
    tcase_add_test(tc, an_answer_for_which_there_is_no_room_is_told_all_the_same);
    tcase_add_test(tc, few_of_a_domain_wait_and_not_too_many_in_all);
    tcase_add_test(tc, two_who_wait_for_one_cost_one_question);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
