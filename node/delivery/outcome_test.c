/* What a try, the clock and an operator make of an envelope. */
#include "node/delivery/outcome.h"

#include <check.h>
#include <stdio.h>

#define MINUTE UINT64_C(60000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define NOW    (1000 * DAY)

static struct arena arena;
static struct rcpt rcpts[3];
static struct envelope env;
static struct smtpc_rcpt tried[3];
static struct smtpc_result result;
static struct outcome out;

static void setup(void)
{
    arena_init(&arena, 1 << 20);
    for (uint32_t i = 0; i < 3; i++) {
        rcpts[i] = (struct rcpt){.path = STR("u@d.example"), .reply = {"", 0}};
        tried[i] = (struct smtpc_rcpt){.index = i, .tried = true, .reply = STR("250 2.0.0 ok")};
    }
    env = (struct envelope){.sender = STR("s@x.example"),
                            .rcpts = rcpts,
                            .rcpt_count = 3,
                            .received_ms = NOW - DAY,
                            .deadline_ms = NOW + 13 * DAY};
    result = (struct smtpc_result){.env = &env, .begun = true, .count = 3, .rcpts = tried};
}

static void teardown(void)
{
    arena_reset(&arena);
}

static void apply(uint64_t now_ms)
{
    ck_assert_int_eq(outcome_of_result(&env, &result, now_ms, &arena, &out), OK);
}

/* The new envelope becomes the old one. */
static void go_on(void)
{
    env = out.env;
}

static void all_verdicts(enum verdict v, uint16_t code)
{
    for (int i = 0; i < 3; i++) {
        tried[i].verdict = v;
        tried[i].code = code;
    }
}

static const struct {
    enum verdict v[3];
    enum fate fate[3];
    bool null_sender;
    enum phase phase;
    enum outcome_write write;
} ends[] = {
#define V(x) VERDICT_##x
#define F(x) FATE_##x
    {{V(OK), V(OK), V(OK)},
     {F(DELIVERED), F(DELIVERED), F(DELIVERED)},
     false,
     PHASE_DONE,
     OUTCOME_SETTLE},
    {{V(OK), V(PERMANENT), V(OK)},
     {F(DELIVERED), F(BOUNCED), F(DELIVERED)},
     false,
     PHASE_DSN,
     OUTCOME_UPDATE},
    {{V(OK), V(PERMANENT), V(OK)},
     {F(DELIVERED), F(BOUNCED), F(DELIVERED)},
     true,
     PHASE_DONE,
     OUTCOME_SETTLE},
    {{V(OK), V(PERMANENT), V(RETRY)},
     {F(DELIVERED), F(BOUNCED), F(PENDING)},
     false,
     PHASE_DELIVER,
     OUTCOME_UPDATE},
    {{V(RETRY), V(RETRY_BRAKE), V(ODD_5XX)},
     {F(PENDING), F(PENDING), F(PENDING)},
     false,
     PHASE_DELIVER,
     OUTCOME_UPDATE},
    {{V(UNKNOWN), V(ODDITY), V(OK)},
     {F(PENDING), F(PENDING), F(DELIVERED)},
     false,
     PHASE_DELIVER,
     OUTCOME_UPDATE},
    {{V(PERMANENT), V(PERMANENT), V(PERMANENT)},
     {F(BOUNCED), F(BOUNCED), F(BOUNCED)},
     false,
     PHASE_DSN,
     OUTCOME_UPDATE},
#undef V
#undef F
};

START_TEST(verdicts_become_fates_and_fates_the_phase)
{
    uint32_t pending = 0, delivered = 0, bounced = 0;

    if (ends[_i].null_sender)
        env.sender = STR_NONE;
    for (int i = 0; i < 3; i++)
        tried[i].verdict = ends[_i].v[i];
    apply(NOW);
    for (int i = 0; i < 3; i++) {
        const struct rcpt *r = &out.env.rcpts[i];

        ck_assert_int_eq(r->fate, ends[_i].fate[i]);
        ck_assert_uint_eq(r->final_ms, r->fate == FATE_PENDING ? 0 : NOW);
        ck_assert_uint_eq(r->next_ms, r->fate == FATE_PENDING ? NOW + LIMIT_RETRY_FIRST_MS : 0);
        ck_assert(r->last_ms == NOW && r->attempts == 1);
        ck_assert(str_eq(r->reply, STR("250 2.0.0 ok")));
        ck_assert_int_eq(rcpts[i].fate, FATE_PENDING); /* the old one stands */
        pending += r->fate == FATE_PENDING;
        delivered += r->fate == FATE_DELIVERED;
        bounced += r->fate == FATE_BOUNCED;
    }
    ck_assert(out.delivered == delivered && out.bounced == bounced && out.deferred == pending);
    ck_assert_int_eq(out.env.phase, ends[_i].phase);
    ck_assert_int_eq(out.write, ends[_i].write);
    ck_assert(out.dsn_due == (out.env.phase == PHASE_DSN));
    ck_assert_int_eq(out.env.dsn, out.dsn_due ? DSN_PENDING : DSN_NONE);
    ck_assert_uint_eq(out.env.dsn_deadline_ms, out.dsn_due ? NOW + 5 * DAY : 0);
    ck_assert_uint_eq(out.next_ms, pending > 0 ? NOW + LIMIT_RETRY_FIRST_MS : 0);
}
END_TEST

START_TEST(a_deferred_recipient_waits_five_minutes_doubling_to_an_hour)
{
    static const uint64_t minutes[] = {5, 10, 20, 40, 60, 60};
    uint64_t now = NOW;

    all_verdicts(VERDICT_RETRY, 451);
    for (size_t i = 0; i < sizeof minutes / sizeof minutes[0]; i++) {
        apply(now);
        ck_assert_uint_eq(out.next_ms, now + minutes[i] * MINUTE);
        now = out.next_ms + 3000; /* tried a little late */
        go_on();
    }
    ck_assert_uint_eq(env.rcpts[0].attempts, 6);
    for (int i = 0; i < 3; i++) /* an operator's "retry" starts anew */
        env.rcpts[i].next_ms = 0;
    apply(now);
    ck_assert_uint_eq(out.next_ms, now + 5 * MINUTE);
}
END_TEST

START_TEST(a_primary_that_closes_with_421_does_not_double_the_wait)
{
    uint64_t now = NOW;

    all_verdicts(VERDICT_RETRY_BRAKE, 421);
    for (int i = 0; i < 3; i++) {
        tried[0].tried = tried[1].tried = tried[2].tried = false;
        apply(now);
        ck_assert_uint_eq(out.next_ms, now + 5 * MINUTE);
        ck_assert_uint_eq(out.env.rcpts[0].attempts, 0);
        now = out.next_ms;
        go_on();
    }
    all_verdicts(VERDICT_RETRY_BRAKE, 450);
    apply(now);
    ck_assert_uint_eq(out.next_ms, now + 10 * MINUTE);
}
END_TEST

START_TEST(four_hours_of_nothing_but_odd_5xx_bounce)
{
    uint64_t now = NOW;

    all_verdicts(VERDICT_ODD_5XX, 530);
    for (; now < NOW + LIMIT_ODD_5XX_MS; now += 30 * MINUTE) {
        apply(now);
        ck_assert(out.alarm && out.bounced == 0 && out.deferred == 3);
        ck_assert_uint_eq(out.env.rcpts[1].odd_since_ms, NOW);
        go_on();
    }
    apply(now - 1); /* a millisecond early */
    ck_assert_uint_eq(out.bounced, 0);
    go_on();
    apply(now);
    ck_assert(out.bounced == 3 && out.alarm && out.dsn_due);
}
END_TEST

START_TEST(anything_else_breaks_the_run_of_odd_5xx)
{
    static const enum verdict others[] = {VERDICT_RETRY, VERDICT_RETRY_BRAKE, VERDICT_UNKNOWN,
                                          VERDICT_ODDITY};
    uint64_t now = NOW;

    for (int turn = 0; turn < 20; turn++, now += HOUR) {
        all_verdicts(turn % 4 == 3 ? others[_i] : VERDICT_ODD_5XX, 554);
        apply(now);
        ck_assert_uint_eq(out.bounced, 0);
        ck_assert((out.env.rcpts[0].odd_since_ms == 0) == (turn % 4 == 3));
        go_on();
    }
}
END_TEST

START_TEST(two_odd_5xx_with_a_long_silence_between_are_no_run)
{
    all_verdicts(VERDICT_ODD_5XX, 554);
    apply(NOW);
    go_on();
    apply(NOW + 12 * HOUR); /* the primary was away */
    ck_assert_uint_eq(out.bounced, 0);
    ck_assert_uint_eq(out.env.rcpts[0].odd_since_ms, NOW + 12 * HOUR);
}
END_TEST

START_TEST(cluster_time_zero_still_starts_a_run)
{
    all_verdicts(VERDICT_ODD_5XX, 554);
    apply(0);
    ck_assert_uint_gt(out.env.rcpts[0].odd_since_ms, 0);
}
END_TEST

START_TEST(a_final_fate_never_changes)
{
    static const enum fate fates[] = {FATE_DELIVERED, FATE_BOUNCED, FATE_EXPIRED, FATE_PURGED};

    for (int v = VERDICT_OK; v <= VERDICT_ODDITY; v++) {
        rcpts[1] = (struct rcpt){.path = STR("u@d"), .fate = fates[_i], .final_ms = 7};
        all_verdicts((enum verdict)v, 0);
        apply(NOW);
        ck_assert_int_eq(out.env.rcpts[1].fate, fates[_i]);
        ck_assert_uint_eq(out.env.rcpts[1].final_ms, 7);
        ck_assert_int_eq(outcome_of_time(&env, NOW + 30 * DAY, &arena, &out), OK);
        ck_assert_int_eq(out.env.rcpts[1].fate, fates[_i]);
        ck_assert_int_eq(outcome_of_operator(&env, OUTCOME_BOUNCE, NULL, NOW, &arena, &out),
                         OK);
        ck_assert_int_eq(out.env.rcpts[1].fate, fates[_i]);
    }
}
END_TEST

START_TEST(a_lost_dot_is_counted_as_a_possible_duplicate)
{
    all_verdicts(VERDICT_UNKNOWN, 0);
    result.unknown = result.dot_sent = true;
    apply(NOW);
    ck_assert(out.possible_duplicate && out.env.possible_duplicates == 1);
    ck_assert_int_eq(out.write, OUTCOME_UPDATE);
    go_on();
    apply(NOW + HOUR);
    ck_assert_uint_eq(out.env.possible_duplicates, 2);
}
END_TEST

START_TEST(a_try_that_never_began_changes_nothing)
{
    all_verdicts(VERDICT_ODDITY, 0);
    result.begun = false;
    apply(NOW);
    ck_assert_int_eq(out.write, OUTCOME_NOTHING);
    ck_assert(memcmp(out.env.rcpts, rcpts, sizeof rcpts) == 0);
    ck_assert_uint_eq(out.next_ms, 0);
}
END_TEST

START_TEST(a_dot_that_was_not_allowed_leaves_its_recipients_as_they_were)
{
    all_verdicts(VERDICT_RETRY, 0);
    tried[1].verdict = VERDICT_PERMANENT;
    tried[1].code = 550;
    result.why = SMTPC_WHY_NO_CONSENT;
    apply(NOW);
    ck_assert_int_eq(out.write, OUTCOME_UPDATE);
    ck_assert_uint_eq(out.env.rcpts[0].next_ms, 0);
    ck_assert_int_eq(out.env.rcpts[1].fate, FATE_BOUNCED);
    ck_assert_uint_eq(out.deferred, 0);
    tried[1] = tried[0];
    result.count = 1;
    apply(NOW);
    ck_assert_int_eq(out.write, OUTCOME_NOTHING);
}
END_TEST

START_TEST(recipients_not_in_the_try_are_not_touched)
{
    result.count = 1;
    tried[0].index = 2;
    apply(NOW);
    ck_assert_int_eq(out.env.rcpts[2].fate, FATE_DELIVERED);
    ck_assert(out.env.rcpts[0].fate == FATE_PENDING && out.env.rcpts[0].last_ms == 0);
    ck_assert_uint_eq(out.next_ms, 0); /* they may go at once */
}
END_TEST

START_TEST(the_hold_time_ends_pending_recipients_and_no_others)
{
    rcpts[0].fate = FATE_DELIVERED;
    ck_assert_int_eq(outcome_of_time(&env, env.deadline_ms - 1, &arena, &out), OK);
    ck_assert_int_eq(out.write, OUTCOME_NOTHING);
    env.held = true; /* holding lengthens nothing */
    ck_assert_int_eq(outcome_of_time(&env, env.deadline_ms, &arena, &out), OK);
    ck_assert_uint_eq(out.expired, 2);
    ck_assert_int_eq(out.env.rcpts[0].fate, FATE_DELIVERED);
    ck_assert_int_eq(out.env.rcpts[1].fate, FATE_EXPIRED);
    ck_assert(out.dsn_due && out.env.phase == PHASE_DSN && out.write == OUTCOME_UPDATE);
    env.sender = STR_NONE;
    ck_assert_int_eq(outcome_of_time(&env, env.deadline_ms, &arena, &out), OK);
    ck_assert(!out.dsn_due && out.write == OUTCOME_SETTLE);
}
END_TEST

static void owe_a_dsn(void)
{
    rcpts[0].fate = rcpts[1].fate = rcpts[2].fate = FATE_BOUNCED;
    env.phase = PHASE_DSN;
    env.dsn = DSN_PENDING;
    env.dsn_deadline_ms = NOW + 5 * DAY;
    result.dsn = true;
    result.count = 1;
}

static const struct {
    enum verdict verdict;
    enum dsn_fate fate;
} dsn_ends[] = {{VERDICT_OK, DSN_SENT},          {VERDICT_PERMANENT, DSN_GIVEN_UP},
                {VERDICT_ODD_5XX, DSN_GIVEN_UP}, {VERDICT_RETRY, DSN_PENDING},
                {VERDICT_UNKNOWN, DSN_PENDING},  {VERDICT_ODDITY, DSN_PENDING}};

START_TEST(a_dsn_is_sent_given_up_or_tried_again)
{
    bool ends_here = dsn_ends[_i].fate != DSN_PENDING;

    owe_a_dsn();
    tried[0].verdict = dsn_ends[_i].verdict;
    apply(NOW);
    ck_assert_int_eq(out.env.dsn, dsn_ends[_i].fate);
    ck_assert_int_eq(out.write, ends_here ? OUTCOME_SETTLE : OUTCOME_UPDATE);
    ck_assert_int_eq(out.env.phase, ends_here ? PHASE_DONE : PHASE_DSN);
    ck_assert_uint_eq(out.env.dsn_attempts, 1);
    ck_assert_uint_eq(out.next_ms, ends_here ? 0 : NOW + 5 * MINUTE);
    ck_assert(out.dsn_sent == (out.env.dsn == DSN_SENT));
    ck_assert(out.dsn_given_up == (out.env.dsn == DSN_GIVEN_UP));
    ck_assert(str_eq(out.env.dsn_reply, STR("250 2.0.0 ok")));
    ck_assert_int_eq(out.env.rcpts[0].fate, FATE_BOUNCED); /* its own fate is another thing */
}
END_TEST

START_TEST(a_dsn_waits_like_a_recipient_and_ends_after_five_days)
{
    static const uint64_t minutes[] = {5, 10, 20, 40, 60, 60};
    uint64_t now = NOW;

    owe_a_dsn();
    tried[0].verdict = VERDICT_RETRY;
    for (size_t i = 0; i < sizeof minutes / sizeof minutes[0]; i++) {
        apply(now);
        ck_assert_uint_eq(out.next_ms, now + minutes[i] * MINUTE);
        now = out.next_ms;
        go_on();
    }
    ck_assert_int_eq(outcome_of_time(&env, NOW + 5 * DAY - 1, &arena, &out), OK);
    ck_assert_int_eq(out.write, OUTCOME_NOTHING);
    ck_assert_uint_eq(out.next_ms, now);
    ck_assert_int_eq(outcome_of_time(&env, NOW + 5 * DAY, &arena, &out), OK);
    ck_assert(out.dsn_given_up && out.write == OUTCOME_SETTLE);
    result.why = SMTPC_WHY_NO_CONSENT; /* its dot needs consent too */
    tried[0].code = 0;
    apply(now);
    ck_assert_int_eq(out.write, OUTCOME_NOTHING);
}
END_TEST

START_TEST(a_dsn_with_nowhere_to_go_is_given_up)
{
    owe_a_dsn();
    ck_assert_int_eq(outcome_of_dead_dsn(&env, STR("(no such domain)"), NOW, &arena, &out), OK);
    ck_assert(out.dsn_given_up && out.write == OUTCOME_SETTLE);
    ck_assert(str_eq(out.env.dsn_reply, STR("(no such domain)")));
}
END_TEST

START_TEST(a_dsn_that_is_withheld_ends_the_message_with_the_reason)
{
    all_verdicts(VERDICT_PERMANENT, 550);
    apply(NOW);
    ck_assert(out.dsn_due && out.write == OUTCOME_UPDATE);
    outcome_withhold(&out, STR("(why)"));
    ck_assert(!out.dsn_due && out.dsn_withheld && !out.dsn_given_up && !out.dsn_sent);
    ck_assert_int_eq(out.write, OUTCOME_SETTLE);
    ck_assert_int_eq(out.env.phase, PHASE_DONE);
    ck_assert_int_eq(out.env.dsn, DSN_WITHHELD);
    ck_assert(str_eq(out.env.dsn_reply, STR("(why)")));
    ck_assert_uint_eq(out.bounced, 3);
    ck_assert(out.env.dsn_deadline_ms == 0 && out.env.dsn_next_ms == 0 && out.next_ms == 0);
}
END_TEST

START_TEST(an_operator_ends_what_is_pending)
{
    static const bool which[3] = {false, true, false};
    static const struct {
        enum outcome_order order;
        bool some, bounced_before;
        uint32_t purged, bounced;
        enum phase phase;
        enum dsn_fate dsn;
    } cases[] = {
        {OUTCOME_PURGE, false, false, 3, 0, PHASE_DONE, DSN_NONE},
        {OUTCOME_PURGE, false, true, 2, 0, PHASE_DONE, DSN_GIVEN_UP},
        {OUTCOME_PURGE, true, false, 1, 0, PHASE_DELIVER, DSN_NONE},
        {OUTCOME_BOUNCE, false, false, 0, 3, PHASE_DSN, DSN_PENDING},
        {OUTCOME_BOUNCE, true, true, 0, 1, PHASE_DELIVER, DSN_NONE},
    };

    rcpts[0].fate = cases[_i].bounced_before ? FATE_BOUNCED : FATE_PENDING;
    ck_assert_int_eq(outcome_of_operator(&env, cases[_i].order, cases[_i].some ? which : NULL,
                                         NOW, &arena, &out),
                     OK);
    ck_assert_uint_eq(out.purged, cases[_i].purged);
    ck_assert_uint_eq(out.bounced, cases[_i].bounced);
    ck_assert_int_eq(out.env.phase, cases[_i].phase);
    ck_assert_int_eq(out.env.dsn, cases[_i].dsn);
    ck_assert_int_eq(out.write, out.env.phase == PHASE_DONE ? OUTCOME_SETTLE : OUTCOME_UPDATE);
    ck_assert(!cases[_i].some || out.env.rcpts[2].fate == FATE_PENDING);
}
END_TEST

START_TEST(an_operator_may_drop_a_dsn_but_not_bounce_it)
{
    owe_a_dsn();
    ck_assert_int_eq(outcome_of_operator(&env, OUTCOME_BOUNCE, NULL, NOW, &arena, &out), OK);
    ck_assert_int_eq(out.write, OUTCOME_NOTHING);
    ck_assert_int_eq(outcome_of_operator(&env, OUTCOME_PURGE, NULL, NOW, &arena, &out), OK);
    ck_assert(out.dsn_given_up && out.write == OUTCOME_SETTLE);
}
END_TEST

START_TEST(without_memory_nothing_is_decided)
{
    struct arena small;

    owe_a_dsn();
    for (int dsn = 0; dsn < 2; dsn++)
        for (size_t ceiling = 0; ceiling < sizeof rcpts + 16; ceiling += 16) {
            result.dsn = dsn;
            env.phase = dsn ? PHASE_DSN : PHASE_DELIVER;
            rcpts[0].fate = dsn ? FATE_BOUNCED : FATE_PENDING;
            arena_init(&small, ceiling);
            ck_assert(outcome_of_result(&env, &result, NOW, &small, &out) ==
                      (ceiling < sizeof rcpts + 16 ? E_FULL : OK));
            arena_reset(&small);
            ck_assert(ceiling >= sizeof rcpts ||
                      outcome_of_time(&env, NOW, &small, &out) == E_FULL);
            arena_reset(&small);
            ck_assert(ceiling >= sizeof rcpts ||
                      outcome_of_operator(&env, OUTCOME_PURGE, NULL, NOW, &small, &out) ==
                          E_FULL);
            arena_reset(&small);
            ck_assert(!dsn ||
                      outcome_of_dead_dsn(&env, STR("(x)"), NOW, &small, &out) == E_FULL);
            arena_reset(&small);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("outcome");
    TCase *tc = tcase_create("outcome");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, verdicts_become_fates_and_fates_the_phase, 0,
                        sizeof ends / sizeof ends[0]);
    tcase_add_test(tc, a_deferred_recipient_waits_five_minutes_doubling_to_an_hour);
    tcase_add_test(tc, a_primary_that_closes_with_421_does_not_double_the_wait);
    tcase_add_test(tc, four_hours_of_nothing_but_odd_5xx_bounce);
    tcase_add_loop_test(tc, anything_else_breaks_the_run_of_odd_5xx, 0, 4);
    tcase_add_test(tc, two_odd_5xx_with_a_long_silence_between_are_no_run);
    tcase_add_test(tc, cluster_time_zero_still_starts_a_run);
    tcase_add_loop_test(tc, a_final_fate_never_changes, 0, 4);
    tcase_add_test(tc, a_lost_dot_is_counted_as_a_possible_duplicate);
    tcase_add_test(tc, a_try_that_never_began_changes_nothing);
    tcase_add_test(tc, a_dot_that_was_not_allowed_leaves_its_recipients_as_they_were);
    tcase_add_test(tc, recipients_not_in_the_try_are_not_touched);
    tcase_add_test(tc, the_hold_time_ends_pending_recipients_and_no_others);
    tcase_add_loop_test(tc, a_dsn_is_sent_given_up_or_tried_again, 0,
                        sizeof dsn_ends / sizeof dsn_ends[0]);
    tcase_add_test(tc, a_dsn_waits_like_a_recipient_and_ends_after_five_days);
    tcase_add_test(tc, a_dsn_with_nowhere_to_go_is_given_up);
    tcase_add_test(tc, a_dsn_that_is_withheld_ends_the_message_with_the_reason);
    tcase_add_loop_test(tc, an_operator_ends_what_is_pending, 0, 5);
    tcase_add_test(tc, an_operator_may_drop_a_dsn_but_not_bounce_it);
    tcase_add_test(tc, without_memory_nothing_is_decided);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
