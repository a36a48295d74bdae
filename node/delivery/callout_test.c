/* Whom a primary is asked for, on a clock that is a number, against primaries that are a table
 * of replies. The dialogue itself is smtpc_ask_test's. */
#include "node/delivery/callout.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define MINUTE 60000
#define WISHES 4096

/* One reply for each local part; what is not in the table gets the last one. */
struct primary {
    struct {
        const char *local, *reply;
    } rcpts[8];
    const char *others;
    bool is_away, breaks_off, refuses_mail;
};

/* A node, and what came of its wishes. */
struct world {
    struct callout c;
    const struct primary *primary;
    uint64_t now_ms;
    int sessions, cuts, routes;
    uint32_t opened[256], opened_count; /* places, in order */
    uint64_t asked_ms[4096];            /* when each question was seen */
    uint32_t asked;
    char somebody[LIMIT_SMTP_LOCAL_PART_BYTES + 1];
    struct callout_wish wishes[WISHES];
    uint32_t wish_count, answered;
    uint64_t answered_ms;
    struct route_ip (*ip_of)(uint64_t generation);
    bool has_no_way, hangs;
    uint32_t hanging;
};

static struct route_ip same_ip(uint64_t generation)
{
    uint8_t b[4] = {192, 0, 2, 1};

    (void)generation;
    return route_ip_v4(b);
}

static struct route_ip own_ip(uint64_t generation)
{
    uint8_t b[4] = {192, 0, (uint8_t)(generation >> 8), (uint8_t)generation};

    return route_ip_v4(b);
}

static struct world *world_new(uint32_t per_minute, const struct primary *p)
{
    struct world *w = calloc(1, sizeof *w);

    ck_assert_ptr_nonnull(w);
    w->now_ms = 5;
    w->primary = p;
    w->ip_of = same_ip;
    callout_init(&w->c, per_minute, 7, w->now_ms);
    w->now_ms += LIMIT_CALLOUT_MINUTE_MS;
    return w;
}

static struct callout_wish *want(struct world *w, uint64_t generation, const char *local)
{
    struct callout_wish *x = &w->wishes[w->wish_count++];

    ck_assert_uint_lt(w->wish_count, WISHES);
    *x = (struct callout_wish){.generation = generation, .verdict = CALLOUT_VERDICTS};
    snprintf(x->domain, sizeof x->domain, "d%u.example", (unsigned)generation);
    snprintf(x->local, sizeof x->local, "%s", local);
    callout_want(&w->c, x, w->now_ms);
    return x;
}

static const char *reply_to(const struct world *w, const char *local)
{
    for (size_t i = 0; i < 8 && w->primary->rcpts[i].local != NULL; i++)
        if (strcmp(w->primary->rcpts[i].local, local) == 0)
            return w->primary->rcpts[i].reply;
    return w->primary->others;
}

/* As smtpc reads them. */
static struct smtpc_rcpt rcpt_of(const char *text)
{
    struct reply r;
    char line[256];
    size_t used;
    int n = snprintf(line, sizeof line, "%s\r\n", text);

    reply_reset(&r);
    ck_assert(reply_feed(&r, (struct str){line, (size_t)n}, &used) == REPLY_DONE);
    return (struct smtpc_rcpt){.verdict = verdict_of(AT_RCPT, &r),
                               .code = r.code,
                               .tried = true,
                               .reply = str_of(text)};
}

static bool question(struct world *w, uint32_t place, struct callout_names *names)
{
    struct smtpc_rcpt rcpts[LIMIT_CALLOUT_NAMES];
    struct smtpc_result r = {.begun = true, .rcpts = rcpts, .count = names->count};

    for (uint32_t i = 0; i < names->count; i++) {
        w->asked_ms[w->asked++ % 4096] = w->now_ms;
        if (strncmp(names->locals[i], "no-such-recipient-", 18) == 0)
            memcpy(w->somebody, names->locals[i], sizeof w->somebody);
        rcpts[i] = rcpt_of(reply_to(w, names->locals[i]));
        rcpts[i].tried = !w->primary->refuses_mail;
        r.brake |= rcpts[i].verdict == VERDICT_RETRY_BRAKE;
        r.alarm |= rcpts[i].verdict == VERDICT_ODD_5XX;
        if (w->primary->breaks_off) {
            rcpts[i].verdict = VERDICT_RETRY;
            r.why = SMTPC_WHY_LOST;
        }
    }
    return callout_result(&w->c, place, &r, names);
}

static void session(struct world *w, uint32_t place)
{
    struct callout_names names;

    w->sessions++;
    w->opened[w->opened_count++ % 256] = place;
    if (w->hangs) {
        w->hanging = place;
        return;
    }
    if (!w->primary->is_away) {
        callout_ready(&w->c, place, &names);
        while (question(w, place, &names))
            ;
    }
    callout_closed(&w->c, place, w->now_ms);
}

static void pull(struct world *w)
{
    struct callout_action a;
    struct route_ip ip;

    while (callout_next(&w->c, w->now_ms, &a)) {
        switch (a.act) {
        case CALLOUT_ROUTE:
            w->routes++;
            ip = w->ip_of(a.domain->generation);
            callout_routed(&w->c, a.place, w->has_no_way ? NULL : &ip, w->now_ms);
            break;
        case CALLOUT_OPEN:
            session(w, a.place);
            break;
        case CALLOUT_CUT:
            w->cuts++;
            break;
        case CALLOUT_ANSWER:
            ck_assert_int_lt(a.wish->verdict, CALLOUT_VERDICTS);
            w->answered++;
            w->answered_ms = w->now_ms;
            break;
        }
    }
}

/* The shell's ticks. */
static void pass(struct world *w, uint64_t ms)
{
    for (uint64_t end = w->now_ms + ms; w->now_ms < end; w->now_ms += 500)
        pull(w);
    pull(w);
}

static const struct primary knows_two = {.rcpts = {{"ann", "250 2.1.5 ok"}, {"bob", "250 ok"}},
                                         .others = "550 5.1.1 no such user"};

START_TEST(what_a_reply_is_worth)
{
    static const struct {
        const char *reply, *somebody;
        enum callout_verdict verdict;
    } cases[] = {
        {"250 ok", "550 no", CALLOUT_VALID},
        {"251 will forward", "550 5.1.1 no", CALLOUT_VALID},
        {"252 will try", "551 no", CALLOUT_VALID},
        {"250 ok", "553 5.1.3 no", CALLOUT_VALID},
        {"250 ok", "250 ok", CALLOUT_TAKES_ALL},
        {"250 ok", "252 ok", CALLOUT_TAKES_ALL},
        {"250 ok", "450 4.1.1 later", CALLOUT_UNKNOWN},
        {"250 ok", "452 too many", CALLOUT_UNKNOWN},
        {"250 ok", "550 5.7.1 you talk too much", CALLOUT_UNKNOWN},
        {"550 no", "250 ok", CALLOUT_INVALID}, /* nobody is asked for then */
        {"550 5.1.1 no", "550 no", CALLOUT_INVALID},
        {"551 5.1.6 moved", "550 no", CALLOUT_INVALID},
        {"553 5.1.3 what", "550 no", CALLOUT_INVALID},
        {"550 5.7.1 blocked", "550 no", CALLOUT_UNKNOWN},
        {"550 5.2.1 disabled", "550 no", CALLOUT_UNKNOWN},
        {"550 4.2.2 contradicts itself", "550 no", CALLOUT_UNKNOWN},
        {"552 5.2.2 full", "550 no", CALLOUT_UNKNOWN},
        {"552 full", "550 no", CALLOUT_UNKNOWN},
        {"554 5.7.1 no", "550 no", CALLOUT_UNKNOWN},
        {"556 no mail here", "550 no", CALLOUT_UNKNOWN},
        {"450 4.2.1 greylisted", "550 no", CALLOUT_UNKNOWN},
        {"451 4.3.0 trouble", "550 no", CALLOUT_UNKNOWN},
        {"421 bye", "550 no", CALLOUT_UNKNOWN},
    };
    struct primary p = {.rcpts = {{"ann", cases[_i].reply}}, .others = cases[_i].somebody};
    struct world *w;
    struct callout_wish *x;

    if (_i >= (int)(sizeof cases / sizeof cases[0]))
        return;
    w = world_new(10, &p);
    x = want(w, 3, "ann");
    pass(w, 2 * MINUTE);
    ck_assert_msg(x->verdict == cases[_i].verdict, "%s, %s: %s", cases[_i].reply,
                  cases[_i].somebody, callout_verdict_text(x->verdict));
    ck_assert_int_eq(w->sessions, 1);
    ck_assert_uint_eq(w->asked, 1 + (cases[_i].reply[0] == '2'));
    ck_assert(callout_is_idle(&w->c));
    free(w);
}
END_TEST

START_TEST(mail_that_is_refused_says_nothing_about_recipients)
{
    struct primary p = {.others = "550 5.1.1 no", .refuses_mail = true};
    struct world *w = world_new(10, &p);
    struct callout_wish *x = want(w, 3, "ann");

    pass(w, 2 * MINUTE);
    ck_assert_int_eq(x->verdict, CALLOUT_UNKNOWN);
    free(w);
}
END_TEST

START_TEST(those_who_are_taken_are_believed_beside_those_who_are_not)
{
    struct world *w = world_new(10, &knows_two);
    struct callout_wish *ann = want(w, 3, "ann"), *eve = want(w, 3, "eve"),
                        *bob = want(w, 3, "bob"), *again = want(w, 3, "ann");

    pass(w, 2 * MINUTE);
    ck_assert_int_eq(ann->verdict, CALLOUT_VALID);
    ck_assert_int_eq(bob->verdict, CALLOUT_VALID);
    ck_assert_int_eq(again->verdict, CALLOUT_VALID);
    ck_assert_int_eq(eve->verdict, CALLOUT_INVALID);
    ck_assert_int_eq(w->sessions, 1);
    ck_assert_uint_eq(w->asked, 4); /* three names, once each, and somebody */
    free(w);
}
END_TEST

START_TEST(somebody_is_another_one_each_time)
{
    struct world *w = world_new(10, &knows_two);
    char first[sizeof w->somebody];

    (void)want(w, 3, "ann");
    pass(w, 2 * MINUTE);
    memcpy(first, w->somebody, sizeof first);
    ck_assert_uint_gt(strlen(first), 30);
    (void)want(w, 3, "bob");
    pass(w, 2 * MINUTE);
    ck_assert_str_ne(first, w->somebody);
    free(w);
}
END_TEST

START_TEST(a_primary_that_takes_all_is_left_alone_for_a_day)
{
    struct primary p = {.others = "250 ok"};
    struct world *w = world_new(10, &p);
    struct callout_wish *x;

    for (char name[] = "a"; name[0] <= 'h'; name[0]++)
        (void)want(w, 3, name);
    pass(w, 2 * MINUTE);
    for (uint32_t i = 0; i < w->wish_count; i++)
        ck_assert_int_eq(w->wishes[i].verdict, CALLOUT_TAKES_ALL);
    ck_assert_int_eq(w->sessions, 1);
    w->now_ms += LIMIT_CALLOUT_TAKES_ALL_MS - 3 * MINUTE;
    x = want(w, 3, "z");
    pull(w);
    ck_assert_int_eq(x->verdict, CALLOUT_TAKES_ALL);
    ck_assert_int_eq(w->sessions, 1);
    x = want(w, 4, "z"); /* another domain is another matter */
    pass(w, 2 * MINUTE);
    ck_assert_int_eq(w->sessions, 2);
    w->now_ms += 4 * MINUTE;
    (void)want(w, 3, "z");
    pass(w, 2 * MINUTE);
    ck_assert_int_eq(w->sessions, 3);
    free(w);
}
END_TEST

/* In any minute, the first one included, seen from the primary. */
static uint32_t most_in_a_minute(struct world *const *nodes, size_t count)
{
    uint32_t most = 0;

    for (size_t n = 0; n < count; n++)
        for (uint32_t i = 0; i < nodes[n]->asked; i++) {
            uint64_t end = nodes[n]->asked_ms[i];
            uint32_t seen = 0;

            for (size_t m = 0; m < count; m++)
                for (uint32_t k = 0; k < nodes[m]->asked; k++)
                    seen +=
                        nodes[m]->asked_ms[k] <= end && nodes[m]->asked_ms[k] + MINUTE > end;
            if (seen > most)
                most = seen;
        }
    return most;
}

/* Many domains, one address, more wishes than anybody could ask for. */
static void flood(struct world *w, uint64_t generations, uint32_t *serial)
{
    char name[32];

    for (uint64_t g = 1; g <= generations; g++) {
        *serial += 1;
        snprintf(name, sizeof name, *serial % 5 == 0 ? "ann" : "u%u", *serial);
        (void)want(w, g, name);
    }
}

START_TEST(an_address_is_asked_ten_times_a_minute_at_most_over_all_sites)
{
    static const uint32_t sites[] = {1, 2, 3};
    uint32_t n = sites[_i], serial = 0;
    struct world *w[3];

    for (uint32_t i = 0; i < n; i++)
        w[i] = world_new(callout_share(n), &knows_two);
    for (int s = 0; s < 1200; s++)
        for (uint32_t i = 0; i < n; i++) {
            if (s % 3 == 0 && w[i]->wish_count < WISHES - 8)
                flood(w[i], 7, &serial);
            w[i]->now_ms += 997;
            pull(w[i]);
        }
    ck_assert_uint_le(most_in_a_minute(w, n), LIMIT_CALLOUT_PER_MINUTE);
    /* and the budget is put to use */
    ck_assert_uint_gt(most_in_a_minute(w, n), n * callout_share(n) - 3);
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_uint_gt(w[i]->asked, callout_share(n) * 10);
        free(w[i]);
    }
}
END_TEST

START_TEST(nothing_is_asked_in_the_first_minute_as_the_run_before_may_have)
{
    struct world *w = world_new(10, &knows_two);

    callout_init(&w->c, 10, 7, w->now_ms);
    pass(w, MINUTE);
    (void)want(w, 3, "ann");
    pass(w, 500);
    ck_assert_int_eq(w->sessions + w->routes, 0);
    pass(w, 2000);
    ck_assert_int_eq(w->sessions, 1);
    free(w);
}
END_TEST

START_TEST(questions_count_from_the_end_of_their_session)
{
    struct world *w = world_new(3, &knows_two);
    struct callout_names names;

    pass(w, 2 * MINUTE);
    w->hangs = true;
    (void)want(w, 3, "eve");
    (void)want(w, 3, "eva");
    pull(w);
    ck_assert_int_eq(w->sessions, 1);
    callout_ready(&w->c, w->hanging, &names);
    ck_assert_uint_eq(names.count, 2);
    w->now_ms += 50000;
    ck_assert(!question(w, w->hanging, &names));
    callout_closed(&w->c, w->hanging, w->now_ms);
    w->hangs = false;
    (void)want(w, 3, "ann"); /* one place is left: too few to believe the answer */
    pass(w, 59000);
    ck_assert_int_eq(w->sessions, 1);
    (void)want(w, 3, "ann");
    pass(w, 3000);
    ck_assert_int_eq(w->sessions, 2);
    free(w);
}
END_TEST

START_TEST(a_question_that_was_never_sent_costs_nothing)
{
    struct world *w = world_new(3, &knows_two);
    struct callout_names names;
    struct callout_wish *x;

    pass(w, 2 * MINUTE);
    w->hangs = true;
    x = want(w, 3, "ann");
    pull(w);
    callout_ready(&w->c, w->hanging, &names);
    ck_assert(!callout_result(&w->c, w->hanging, NULL, &names));
    callout_closed(&w->c, w->hanging, w->now_ms);
    w->hangs = false;
    pull(w);
    ck_assert_int_eq(x->verdict, CALLOUT_NOT_ASKED);
    pass(w, LIMIT_CALLOUT_REST_MS);
    (void)want(w, 3, "ann");
    (void)want(w, 3, "bob");
    pull(w);
    ck_assert_uint_eq(w->asked, 3); /* all of the budget is there */
    free(w);
}
END_TEST

START_TEST(a_primary_that_fails_rests_for_longer_each_time)
{
    static const struct primary kinds[] = {{.is_away = true},
                                           {.others = "250 ok", .breaks_off = true},
                                           {.others = "450 4.2.1 greylisted"},
                                           {.others = "554 5.7.1 no"}};
    static const uint64_t rests[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    struct world *w = world_new(10, &kinds[_i]);
    struct callout_wish *x;

    pass(w, 2 * MINUTE);
    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++) {
        int before = w->sessions;

        x = want(w, 3, "ann");
        pull(w);
        ck_assert_int_eq(w->sessions, before + 1);
        ck_assert_int_eq(x->verdict, kinds[_i].is_away ? CALLOUT_NOT_ASKED : CALLOUT_UNKNOWN);
        w->now_ms += rests[i] * 1000 - 1;
        x = want(w, 3, "ann");
        pull(w); /* at once: nobody waits for what will not be asked */
        ck_assert_int_eq(x->verdict, CALLOUT_NOT_ASKED);
        ck_assert_int_eq(w->sessions, before + 1);
        w->now_ms += 1;
    }
    w->primary = &knows_two; /* a good answer, and all is forgotten */
    x = want(w, 3, "ann");
    pull(w);
    ck_assert_int_eq(x->verdict, CALLOUT_VALID);
    w->primary = &kinds[_i];
    pass(w, 2 * MINUTE);
    (void)want(w, 3, "ann");
    pull(w);
    w->now_ms += LIMIT_CALLOUT_REST_MS;
    w->primary = &knows_two;
    x = want(w, 3, "ann");
    pull(w);
    ck_assert_int_eq(x->verdict, CALLOUT_VALID);
    free(w);
}
END_TEST

START_TEST(domains_of_an_address_take_turns)
{
    struct world *w = world_new(3, &knows_two);
    uint32_t serial = 1, seen[4] = {0};

    for (int i = 0; i < 200; i++) {
        flood(w, 4, &serial);
        if (i < 8) /* one of them is greedy */
            (void)want(w, 2, "ann");
        pass(w, 5000);
    }
    ck_assert_uint_gt(w->opened_count, 12);
    ck_assert_uint_lt(w->opened_count, 256);
    for (uint32_t i = 0; i < w->opened_count; i++)
        seen[w->opened[i]]++;
    for (int i = 0; i < 4; i++)
        ck_assert_msg(seen[i] * 5 >= w->opened_count, "%u of %u", seen[i], w->opened_count);
    free(w);
}
END_TEST

START_TEST(who_waits_goes_first)
{
    struct world *w = world_new(3, &knows_two);
    struct callout_wish *slow[4], *fast = &w->wishes[100];

    pass(w, 2 * MINUTE);
    for (int i = 0; i < 4; i++)
        slow[i] = want(w, 3, (const char *[]){"u0", "u1", "u2", "u3"}[i]);
    *fast = (struct callout_wish){.domain = "d3.example",
                                  .generation = 3,
                                  .local = "ann",
                                  .hurries = true,
                                  .verdict = CALLOUT_VERDICTS};
    callout_want(&w->c, fast, w->now_ms);
    pull(w);
    ck_assert_int_eq(fast->verdict, CALLOUT_VALID);
    ck_assert_int_eq(slow[0]->verdict, CALLOUT_INVALID);
    ck_assert_int_eq(slow[1]->verdict, CALLOUT_VERDICTS);
    free(w);
}
END_TEST

START_TEST(a_domain_that_met_its_address_busy_goes_before_one_that_has_been_there)
{
    struct world *w = world_new(10, &knows_two);
    struct callout_names names;
    uint32_t first;

    w->hangs = true;
    want(w, 1, "u0");
    pull(w);
    first = w->opened[0];
    want(w, 1, "u1");
    want(w, 2, "u2");
    pass(w, 700); /* looked at, and met busy */
    ck_assert_uint_eq(w->opened_count, 1);
    w->hangs = false;
    callout_ready(&w->c, first, &names);
    while (question(w, first, &names))
        ;
    callout_closed(&w->c, first, w->now_ms);
    pass(w, 4000);
    ck_assert_uint_eq(w->opened_count, 3);
    ck_assert_uint_ne(w->opened[1], first);
    ck_assert_uint_eq(w->opened[2], first);
    free(w);
}
END_TEST

START_TEST(who_is_waited_for_goes_first_whatever_the_turn)
{
    struct world *w = world_new(10, &knows_two);
    struct callout_wish *fast = &w->wishes[w->wish_count++];

    w->hangs = true;
    want(w, 1, "u0");
    *fast = (struct callout_wish){.domain = "d2.example",
                                  .generation = 2,
                                  .local = "ann",
                                  .hurries = true,
                                  .verdict = CALLOUT_VERDICTS};
    callout_want(&w->c, fast, w->now_ms);
    pull(w);
    ck_assert_uint_eq(w->opened_count, 1);
    ck_assert_uint_eq(w->c.domains[w->opened[0]].generation, 2);
    free(w);
}
END_TEST

START_TEST(a_wish_of_the_first_second_lives_until_the_first_minute_is_over)
{
    struct world *w = world_new(10, &knows_two);
    struct callout_wish *fast = &w->wishes[w->wish_count++];

    w->now_ms = w->c.start_ms - LIMIT_CALLOUT_MINUTE_MS; /* of callout_init() */
    *fast = (struct callout_wish){.domain = "d2.example",
                                  .generation = 2,
                                  .local = "ann",
                                  .hurries = true,
                                  .verdict = CALLOUT_VERDICTS};
    callout_want(&w->c, fast, w->now_ms);
    pass(w, LIMIT_CALLOUT_MINUTE_MS - 500);
    ck_assert_int_eq(w->sessions, 0);
    pass(w, 1000);
    ck_assert_int_eq(fast->verdict, CALLOUT_VALID);
    free(w);
}
END_TEST

/* What a domain of tens of thousands needs, to be known when its primary goes. */
START_TEST(a_member_keeps_two_names_a_minute_known)
{
    static const struct primary eight = {.rcpts = {{"n0", "250 ok"},
                                                   {"n1", "250 ok"},
                                                   {"n2", "250 ok"},
                                                   {"n3", "250 ok"},
                                                   {"n4", "250 ok"},
                                                   {"n5", "250 ok"},
                                                   {"n6", "250 ok"},
                                                   {"n7", "250 ok"}},
                                         .others = "550 5.1.1 no such user"};
    struct world *w = world_new(callout_share(3), &eight);
    struct callout_wish *out[LIMIT_CALLOUT_NAMES] = {NULL};
    int valid = 0, next = 0;

    for (int ms = 0; ms < 60 * MINUTE; ms += 500) {
        for (int i = 0; i < LIMIT_CALLOUT_NAMES; i++) {
            char local[] = {'n', (char)('0' + next % 8), 0};

            if (out[i] != NULL && out[i]->verdict == CALLOUT_VERDICTS)
                continue;
            valid += out[i] != NULL && out[i]->verdict == CALLOUT_VALID;
            out[i] = want(w, 3, local);
            next++;
        }
        pass(w, 500);
    }
    ck_assert_int_ge(valid, 110);
    free(w);
}
END_TEST

START_TEST(a_wish_that_has_no_turn_goes_back)
{
    struct world *w = world_new(3, &knows_two);
    struct callout_wish *x[8];

    pass(w, 2 * MINUTE);
    w->ip_of = same_ip;
    for (int i = 0; i < 8; i++) /* two a minute are asked for */
        x[i] = want(w, 3, (const char *[]){"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"}[i]);
    pass(w, LIMIT_CALLOUT_PATIENCE_MS + 500);
    ck_assert_int_eq(x[5]->verdict, CALLOUT_INVALID);
    ck_assert_int_eq(x[6]->verdict, CALLOUT_NOT_ASKED);
    ck_assert_int_eq(x[7]->verdict, CALLOUT_NOT_ASKED);
    ck_assert(callout_is_idle(&w->c));
    w->has_no_way = true;
    x[0] = want(w, 3, "u0");
    pull(w);
    ck_assert_int_eq(x[0]->verdict, CALLOUT_NOT_ASKED);
    ck_assert(callout_is_idle(&w->c));
    free(w);
}
END_TEST

START_TEST(what_is_above_a_limit_is_not_asked)
{
    struct world *w = world_new(10, &knows_two);
    struct callout_wish *x = NULL;
    char name[16];

    w->ip_of = own_ip;
    w->hangs = true;
    callout_init(&w->c, 10, 7, w->now_ms); /* nothing goes yet */
    for (int i = 0; i <= LIMIT_CALLOUT_WISHES; i++) {
        ck_assert(x == NULL || x->verdict == CALLOUT_VERDICTS);
        snprintf(name, sizeof name, "u%d", i);
        x = want(w, 1, name);
    }
    pull(w);
    ck_assert_int_eq(x->verdict, CALLOUT_NOT_ASKED);
    for (uint64_t g = 2; g <= LIMIT_CALLOUT_DOMAINS; g++)
        x = want(w, g, "ann");
    pull(w);
    ck_assert_int_eq(x->verdict, CALLOUT_VERDICTS);
    x = want(w, LIMIT_CALLOUT_DOMAINS + 1, "ann");
    pull(w);
    ck_assert_int_eq(x->verdict, CALLOUT_NOT_ASKED);
    ck_assert_int_eq(w->sessions, 0);
    w->now_ms += LIMIT_CALLOUT_MINUTE_MS; /* these are old now */
    pull(w);
    for (uint64_t g = 1; g <= LIMIT_CALLOUT_DOMAINS; g++)
        (void)want(w, g, "bob");
    pass(w, 1000);
    ck_assert_int_eq(w->sessions, LIMIT_CALLOUT_CONNS);
    free(w);
}
END_TEST

START_TEST(a_session_that_takes_too_long_is_cut_once)
{
    struct world *w = world_new(10, &knows_two);
    struct callout_wish *x;
    struct callout_names names;

    pass(w, 2 * MINUTE);
    w->hangs = true;
    x = want(w, 3, "ann");
    pull(w);
    callout_ready(&w->c, w->hanging, &names);
    w->now_ms += LIMIT_CALLOUT_SESSION_MS - 1;
    pull(w);
    ck_assert_int_eq(w->cuts, 0);
    w->now_ms += 1;
    pull(w);
    pull(w);
    ck_assert_int_eq(w->cuts, 1);
    ck_assert(!question(w, w->hanging, &names)); /* taken, but too late to ask for somebody */
    callout_closed(&w->c, w->hanging, w->now_ms);
    pull(w);
    ck_assert_int_eq(x->verdict, CALLOUT_UNKNOWN);
    free(w);
}
END_TEST

START_TEST(one_session_goes_to_an_address_at_a_time)
{
    struct world *w = world_new(10, &knows_two);

    w->hangs = true;
    (void)want(w, 3, "ann");
    pull(w);
    (void)want(w, 4, "ann");
    pass(w, 3000);
    ck_assert_int_eq(w->sessions, 1);
    callout_closed(&w->c, w->hanging, w->now_ms);
    w->now_ms += LIMIT_CALLOUT_REST_MS;
    (void)want(w, 4, "ann");
    pass(w, 3000);
    ck_assert_int_eq(w->sessions, 2);
    w->ip_of = own_ip;
    (void)want(w, 5, "ann");
    pull(w);
    ck_assert_int_eq(w->sessions, 3);
    free(w);
}
END_TEST

START_TEST(a_stop_answers_all_and_asks_nobody)
{
    struct world *w = world_new(3, &knows_two);
    struct callout_wish *x, *y, *z, *left;

    pass(w, 2 * MINUTE);
    w->hangs = true;
    x = want(w, 3, "ann");
    pull(w);
    left = want(w, 3, "bob");
    y = want(w, 4, "ann");
    callout_stop(&w->c);
    z = want(w, 5, "ann");
    pull(w);
    ck_assert_int_eq(w->cuts, 1);
    ck_assert_int_eq(y->verdict, CALLOUT_NOT_ASKED);
    ck_assert_int_eq(z->verdict, CALLOUT_NOT_ASKED);
    callout_closed(&w->c, w->hanging, w->now_ms);
    pull(w);
    ck_assert_int_eq(x->verdict, CALLOUT_NOT_ASKED);
    ck_assert_int_eq(left->verdict, CALLOUT_NOT_ASKED);
    ck_assert_int_eq(w->sessions, 1);
    ck_assert(callout_is_idle(&w->c));
    free(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("callout");
    TCase *tc = tcase_create("plan");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, what_a_reply_is_worth, 0, 23);
    tcase_add_test(tc, mail_that_is_refused_says_nothing_about_recipients);
    tcase_add_test(tc, those_who_are_taken_are_believed_beside_those_who_are_not);
    tcase_add_test(tc, somebody_is_another_one_each_time);
    tcase_add_test(tc, a_primary_that_takes_all_is_left_alone_for_a_day);
    tcase_add_loop_test(tc, an_address_is_asked_ten_times_a_minute_at_most_over_all_sites, 0,
                        3);
    tcase_add_test(tc, nothing_is_asked_in_the_first_minute_as_the_run_before_may_have);
    tcase_add_test(tc, questions_count_from_the_end_of_their_session);
    tcase_add_test(tc, a_question_that_was_never_sent_costs_nothing);
    tcase_add_loop_test(tc, a_primary_that_fails_rests_for_longer_each_time, 0, 4);
    tcase_add_test(tc, domains_of_an_address_take_turns);
    tcase_add_test(tc, who_waits_goes_first);
    tcase_add_test(tc, a_domain_that_met_its_address_busy_goes_before_one_that_has_been_there);
    tcase_add_test(tc, who_is_waited_for_goes_first_whatever_the_turn);
    tcase_add_test(tc, a_wish_of_the_first_second_lives_until_the_first_minute_is_over);
    tcase_add_test(tc, a_member_keeps_two_names_a_minute_known);
    tcase_add_test(tc, a_wish_that_has_no_turn_goes_back);
    tcase_add_test(tc, what_is_above_a_limit_is_not_asked);
    tcase_add_test(tc, a_session_that_takes_too_long_is_cut_once);
    tcase_add_test(tc, one_session_goes_to_an_address_at_a_time);
    tcase_add_test(tc, a_stop_answers_all_and_asks_nobody);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
