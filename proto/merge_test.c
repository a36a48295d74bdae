/* What two nodes know of a message is one truth, in whatever order it is put together. */
#include "proto/merge.h"

#include <check.h>

#include "base/prng.h"

struct world {
    struct rcpt rcpts[2];
    struct envelope e;
};

static const struct str replies[] = {STR_NONE, STR("250 ok"), STR("450 later"), STR("450 lat")};

static void init(struct world *w)
{
    *w = (struct world){0};
    w->e.rcpts = w->rcpts;
    w->e.rcpt_count = 2;
}

static void copy(struct world *to, const struct world *from)
{
    *to = *from;
    to->e.rcpts = to->rcpts;
}

static void randomize(struct world *w, struct prng *r)
{
    init(w);
    for (size_t i = 0; i < 2; i++) {
        w->rcpts[i].fate = (enum fate)prng_below(r, 5);
        w->rcpts[i].attempts = (uint32_t)prng_below(r, 3);
        w->rcpts[i].last_ms = prng_below(r, 3);
        w->rcpts[i].next_ms = prng_below(r, 3);
        w->rcpts[i].odd_since_ms = prng_below(r, 2);
        w->rcpts[i].final_ms = w->rcpts[i].fate == FATE_PENDING ? 0 : 1 + prng_below(r, 2);
        w->rcpts[i].reply = replies[prng_below(r, 4)];
    }
    w->e.body_number = 1 + prng_below(r, 100);
    w->e.deadline_ms = prng_below(r, 3);
    w->e.held = prng_below(r, 2) == 0;
    w->e.held_index = prng_below(r, 3);
    w->e.possible_duplicates = (uint32_t)prng_below(r, 3);
    w->e.phase = (enum phase)prng_below(r, 3);
    w->e.dsn = (enum dsn_fate)prng_below(r, 5);
    w->e.dsn_attempts = (uint32_t)prng_below(r, 2);
    w->e.dsn_next_ms = prng_below(r, 2);
    w->e.dsn_deadline_ms = prng_below(r, 2);
    w->e.dsn_reply = replies[prng_below(r, 4)];
    w->e.settled_ms = prng_below(r, 2);
    w->e.settled_wall_ms = (int64_t)prng_below(r, 2);
}

static bool same_rcpt(const struct rcpt *a, const struct rcpt *b)
{
    return a->fate == b->fate && a->attempts == b->attempts && a->last_ms == b->last_ms &&
           a->next_ms == b->next_ms && a->odd_since_ms == b->odd_since_ms &&
           a->final_ms == b->final_ms && str_eq(a->reply, b->reply);
}

/* But for the body's number. */
static bool same(const struct world *a, const struct world *b)
{
    return same_rcpt(&a->rcpts[0], &b->rcpts[0]) && same_rcpt(&a->rcpts[1], &b->rcpts[1]) &&
           a->e.deadline_ms == b->e.deadline_ms && a->e.held == b->e.held &&
           a->e.held_index == b->e.held_index &&
           a->e.possible_duplicates == b->e.possible_duplicates && a->e.phase == b->e.phase &&
           a->e.dsn == b->e.dsn && a->e.dsn_attempts == b->e.dsn_attempts &&
           a->e.dsn_next_ms == b->e.dsn_next_ms &&
           a->e.dsn_deadline_ms == b->e.dsn_deadline_ms &&
           str_eq(a->e.dsn_reply, b->e.dsn_reply) && a->e.settled_ms == b->e.settled_ms &&
           a->e.settled_wall_ms == b->e.settled_wall_ms;
}

START_TEST(order_grouping_and_repetition_do_not_matter)
{
    struct prng r;

    prng_seed(&r, (uint64_t)_i + 1);
    for (size_t n = 0; n < 20000; n++) {
        struct world a, b, c, ab, ba, ab_c, bc, a_bc, before;
        uint64_t number;

        randomize(&a, &r);
        randomize(&b, &r);
        randomize(&c, &r);
        copy(&ab, &a);
        number = ab.e.body_number;
        ck_assert(envelope_merge(&ab.e, &b.e) == !same(&ab, &a));
        ck_assert_uint_eq(ab.e.body_number, number);
        copy(&ba, &b);
        envelope_merge(&ba.e, &a.e);
        ck_assert(same(&ab, &ba));
        copy(&before, &ab);
        ck_assert(!envelope_merge(&ab.e, &b.e));
        ck_assert(!envelope_merge(&ab.e, &a.e));
        ck_assert(!envelope_merge(&ab.e, &before.e));
        copy(&ab_c, &ab);
        envelope_merge(&ab_c.e, &c.e);
        copy(&bc, &b);
        envelope_merge(&bc.e, &c.e);
        copy(&a_bc, &a);
        envelope_merge(&a_bc.e, &bc.e);
        ck_assert(same(&ab_c, &a_bc));
    }
}
END_TEST

static const struct {
    enum fate a, b, expect;
} fates[] = {
    {FATE_PENDING, FATE_PURGED, FATE_PURGED},
    {FATE_PURGED, FATE_EXPIRED, FATE_EXPIRED},
    {FATE_EXPIRED, FATE_BOUNCED, FATE_BOUNCED},
    {FATE_BOUNCED, FATE_DELIVERED, FATE_DELIVERED},
    {FATE_DELIVERED, FATE_PENDING, FATE_DELIVERED},
};

START_TEST(the_better_fate_wins_with_its_reply_and_its_time)
{
    struct world a, b;

    init(&a);
    init(&b);
    a.rcpts[0] = (struct rcpt){.fate = fates[_i].a, .final_ms = 7, .reply = STR("a")};
    b.rcpts[0] = (struct rcpt){.fate = fates[_i].b, .final_ms = 5, .reply = STR("b")};
    envelope_merge(&a.e, &b.e);
    ck_assert_int_eq(a.rcpts[0].fate, fates[_i].expect);
    ck_assert_uint_eq(a.rcpts[0].final_ms, fates[_i].expect == fates[_i].b ? 5 : 7);
    ck_assert(str_eq(a.rcpts[0].reply, fates[_i].expect == fates[_i].b ? STR("b") : STR("a")));
    ck_assert_int_eq(a.rcpts[1].fate, FATE_PENDING);
}
END_TEST

START_TEST(the_later_try_says_when_the_next_one_is_due)
{
    struct world a, b;

    init(&a);
    init(&b);
    a.rcpts[0] = (struct rcpt){.attempts = 9, .last_ms = 10, .next_ms = 500, .reply = STR("z")};
    b.rcpts[0] = (struct rcpt){.attempts = 2, .last_ms = 11, .next_ms = 300, .reply = STR("b")};
    ck_assert(envelope_merge(&a.e, &b.e));
    ck_assert_uint_eq(a.rcpts[0].attempts, 2);
    ck_assert_uint_eq(a.rcpts[0].next_ms, 300);
    ck_assert(str_eq(a.rcpts[0].reply, STR("b")));
}
END_TEST

START_TEST(the_later_order_holds_or_releases)
{
    struct world a, b;

    init(&a);
    init(&b);
    a.e.held = true;
    a.e.held_index = 5;
    ck_assert(!envelope_merge(&a.e, &b.e)); /* a copy that no order has reached */
    b.e.held_index = 6;
    ck_assert(envelope_merge(&a.e, &b.e)); /* released */
    ck_assert(!a.e.held);
    a.e.held = true;
    a.e.held_index = 7;
    ck_assert(envelope_merge(&b.e, &a.e));
    ck_assert(b.e.held && b.e.held_index == 7);
}
END_TEST

/* In what the other one has nothing is lost by being merged into. */
START_TEST(nothing_goes_backwards)
{
    struct prng r;

    prng_seed(&r, 7);
    for (size_t n = 0; n < 20000; n++) {
        struct world a, b;
        struct envelope old;

        randomize(&a, &r);
        randomize(&b, &r);
        old = a.e;
        envelope_merge(&a.e, &b.e);
        ck_assert(a.e.phase >= old.phase && a.e.phase >= b.e.phase);
        ck_assert(a.e.deadline_ms >= old.deadline_ms && a.e.deadline_ms >= b.e.deadline_ms);
        ck_assert(a.e.possible_duplicates >= old.possible_duplicates &&
                  a.e.possible_duplicates >= b.e.possible_duplicates);
        ck_assert(old.dsn != DSN_SENT || a.e.dsn == DSN_SENT);
        ck_assert(b.e.dsn != DSN_SENT || a.e.dsn == DSN_SENT);
        ck_assert(a.e.held_index >= old.held_index && a.e.held_index >= b.e.held_index);
        for (size_t i = 0; i < 2; i++)
            ck_assert(a.rcpts[i].fate >= b.rcpts[i].fate);
    }
}
END_TEST

START_TEST(a_notification_that_was_sent_is_not_given_up)
{
    struct world a, b;

    init(&a);
    init(&b);
    a.e.dsn = DSN_GIVEN_UP;
    b.e.dsn = DSN_SENT;
    ck_assert(envelope_merge(&a.e, &b.e));
    ck_assert_int_eq(a.e.dsn, DSN_SENT);
    b.e.dsn = DSN_GIVEN_UP;
    ck_assert(!envelope_merge(&a.e, &b.e));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("merge");
    TCase *tc = tcase_create("merge");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, order_grouping_and_repetition_do_not_matter, 0, 3);
    tcase_add_loop_test(tc, the_better_fate_wins_with_its_reply_and_its_time, 0,
                        (int)(sizeof fates / sizeof fates[0]));
    tcase_add_test(tc, the_later_try_says_when_the_next_one_is_due);
    tcase_add_test(tc, a_notification_that_was_sent_is_not_given_up);
    tcase_add_test(tc, the_later_order_holds_or_releases);
    tcase_add_test(tc, nothing_goes_backwards);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
