/* What is known of recipients is found by the rules of names, ages by time alone, is asked for
 * in its order, stays below its ceilings, and ends equal at all sites whatever way it went. */
#include "node/policy/rcptset.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "node/policy/rcptset_internal.h"

#define T0   UINT64_C(1000000000000)
#define HOUR UINT64_C(3600000)
#define DAY  (24 * HOUR)

static const struct rcptset_options defaults = {.entries = 0};
static struct rcptset s;

static struct rcptset_name name(const char *local)
{
    return (struct rcptset_name){7, str_of(local), '+'};
}

static enum rcptset_merged learn(const char *local, enum rcptset_status status, uint64_t now_ms)
{
    struct rcptset_name n = name(local);

    return rcptset_learn(&s, &n, status, RCPTSET_CALLOUT, now_ms);
}

static enum rcptset_merged want(const char *local, uint64_t now_ms)
{
    struct rcptset_name n = name(local);

    return rcptset_want(&s, &n, now_ms);
}

static enum rcptset_status find(const char *local, uint64_t now_ms)
{
    struct rcptset_name n = name(local);
    struct rcptset_entry e;

    return rcptset_find(&s, &n, now_ms, &e);
}

static bool due_is(const char *local, uint64_t now_ms)
{
    struct rcptset_entry e;

    if (rcptset_due(&s, 7, now_ms, &e, 1) == 0)
        return local == NULL;
    return local != NULL && str_eq((struct str){e.local, e.local_bytes}, str_of(local));
}

static void asked(const char *local, uint64_t now_ms)
{
    struct rcptset_entry e;

    ck_assert(due_is(local, now_ms) && rcptset_due(&s, 7, now_ms, &e, 1) == 1);
    rcptset_asked(&s, &e, now_ms);
}

static void setup(void)
{
    rcptset_init(&s, &defaults);
}

static void teardown(void)
{
    rcptset_fini(&s);
}

START_TEST(a_name_is_found_as_it_is_then_in_any_case_then_by_its_base)
{
    struct rcptset_name other = {8, STR("john"), '+'};
    struct rcptset_entry e;

    ck_assert_int_eq(learn("johN", RCPTSET_INVALID, T0), RCPTSET_NEWS);
    ck_assert_int_eq(learn("John+list", RCPTSET_VALID, T0), RCPTSET_NEWS);
    ck_assert_int_eq(find("John", T0), RCPTSET_VALID);
    ck_assert_int_eq(find("jOHN+other", T0), RCPTSET_VALID);
    ck_assert_int_eq(find("joh", T0), RCPTSET_UNKNOWN);
    ck_assert_int_eq(rcptset_find(&s, &other, T0, &e), RCPTSET_UNKNOWN);
    ck_assert_int_eq(learn("JOHN", RCPTSET_INVALID, T0 + 1), RCPTSET_NEWS);
    ck_assert_int_eq(find("JOHN", T0 + 1), RCPTSET_INVALID);
    ck_assert_int_eq(find("john", T0 + 1), RCPTSET_VALID); /* VALID before others */
    ck_assert_int_eq(find("+john", T0), RCPTSET_UNKNOWN);
    ck_assert_uint_eq(rcptset_known(&s, 7), 1);
    ck_assert_uint_eq(rcptset_known(&s, 8), 0);
}
END_TEST

START_TEST(a_refusal_of_a_sub_address_counts_for_it_alone_until_it_is_taken)
{
    ck_assert_int_eq(learn("john", RCPTSET_VALID, T0), RCPTSET_NEWS);
    ck_assert_int_eq(learn("john+x", RCPTSET_INVALID, T0), RCPTSET_NEWS);
    ck_assert_int_eq(find("john+x", T0), RCPTSET_INVALID);
    ck_assert_int_eq(find("john+y", T0), RCPTSET_VALID);
    ck_assert_int_eq(learn("nobody", RCPTSET_INVALID, T0), RCPTSET_NEWS);
    ck_assert_int_eq(find("nobody+y", T0), RCPTSET_INVALID);
    (void)!learn("john+x", RCPTSET_VALID, T0 + 1);
    ck_assert_int_eq(find("john+x", T0 + 1), RCPTSET_VALID);
}
END_TEST

START_TEST(facts_end_by_age_alone)
{
    struct rcptset_entry dropped[8];

    (void)!learn("a", RCPTSET_VALID, T0);
    (void)!learn("b", RCPTSET_INVALID, T0);
    (void)!want("c", T0);
    ck_assert_int_eq(find("b", T0 + DAY - 1), RCPTSET_INVALID);
    ck_assert_int_eq(find("b", T0 + DAY), RCPTSET_UNKNOWN);
    ck_assert_int_eq(find("a", T0 + 90 * DAY - 1), RCPTSET_VALID);
    ck_assert_int_eq(find("a", T0 + 90 * DAY), RCPTSET_UNKNOWN);
    ck_assert_uint_eq(rcptset_sweep(&s, T0 + HOUR - 1, 8, dropped), 0);
    ck_assert_uint_eq(rcptset_sweep(&s, T0 + HOUR, 8, dropped), 1);
    ck_assert_int_eq(dropped[0].local[0], 'c');
    ck_assert_uint_eq(rcptset_sweep(&s, T0 + 90 * DAY - 1, 8, dropped), 1);
    ck_assert_int_eq(dropped[0].local[0], 'b');
    ck_assert_uint_eq(rcptset_sweep(&s, T0 + 90 * DAY, 8, dropped), 1);
    ck_assert_uint_eq(rcptset_count(&s), 0);
}
END_TEST

START_TEST(what_was_valid_before_it_was_refused_does_not_come_back)
{
    struct rcptset_entry e = {
        .generation = 7, .local_bytes = 1, .local = "a", .invalid = {T0 + 1, RCPTSET_DELIVERY}};

    (void)!learn("a", RCPTSET_VALID, T0);
    (void)!learn("a", RCPTSET_INVALID, T0 + 1);
    ck_assert_int_eq(find("a", T0 + DAY), RCPTSET_INVALID);
    ck_assert_int_eq(find("a", T0 + 2 * DAY), RCPTSET_UNKNOWN);
    (void)!learn("b", RCPTSET_VALID, T0); /* told late: the refusal counts all the same */
    e.local[0] = 'b';
    ck_assert_int_eq(rcptset_merge(&s, &e, T0 + 3 * DAY), RCPTSET_NEWS);
    ck_assert_int_eq(find("b", T0 + 3 * DAY), RCPTSET_UNKNOWN);
}
END_TEST

START_TEST(the_same_again_is_news_once_a_day_and_the_contrary_at_once)
{
    ck_assert_int_eq(learn("a", RCPTSET_VALID, T0), RCPTSET_NEWS);
    ck_assert_int_eq(learn("a", RCPTSET_VALID, T0 + DAY - 1), RCPTSET_NO_NEWS);
    ck_assert_int_eq(learn("a", RCPTSET_VALID, T0 + DAY), RCPTSET_NEWS);
    ck_assert_int_eq(learn("a", RCPTSET_INVALID, T0 + DAY + 1), RCPTSET_NEWS);
    ck_assert_int_eq(find("a", T0 + DAY + 1), RCPTSET_INVALID);
    ck_assert_int_eq(learn("a", RCPTSET_VALID, T0 + DAY + 2), RCPTSET_NEWS);
    ck_assert_int_eq(learn("", RCPTSET_VALID, T0), RCPTSET_NO_ROOM);
    ck_assert_int_eq(learn("a2345678901234567890123456789012345678901234567890123456789012345",
                           RCPTSET_VALID, T0),
                     RCPTSET_NO_ROOM);
}
END_TEST

START_TEST(wishes_are_asked_first_then_what_is_old_the_oldest_first)
{
    uint64_t t = T0 + 60 * DAY;

    (void)!learn("older", RCPTSET_VALID, T0);
    (void)!learn("old", RCPTSET_VALID, T0 + 1);
    (void)!learn("fresh", RCPTSET_VALID, T0 + 2);
    (void)!learn("no", RCPTSET_INVALID, T0);
    ck_assert(due_is(NULL, t - 1));
    ck_assert(due_is("older", t + 1));
    ck_assert_int_eq(want("w2", t), RCPTSET_NEWS);
    ck_assert_int_eq(want("w1", t - 5), RCPTSET_NEWS);
    ck_assert_int_eq(want("w1", t + HOUR - 6), RCPTSET_NO_NEWS);
    asked("w1", t + 1);
    asked("w2", t + 1);
    asked("older", t + 1);
    ck_assert(due_is("old", t + 1));
    asked("old", t + 2);
    ck_assert(due_is(NULL, t + 1));
    ck_assert(due_is("fresh", t + 2));
    ck_assert_int_eq(learn("fresh", RCPTSET_VALID, t + 2), RCPTSET_NEWS);
    ck_assert(due_is(NULL, t + DAY));
    asked("older", t + DAY + 1);                          /* nothing came of it: once a day */
    ck_assert_int_eq(want("w1", t + HOUR), RCPTSET_VAIN); /* just asked */
    ck_assert_int_eq(want("w1", t + HOUR + 1), RCPTSET_NEWS);
}
END_TEST

START_TEST(doubts_are_bounded_and_never_push_out_what_is_valid)
{
    struct rcptset_options small = {.entries = 16, .per_domain = 6, .doubts = 3};

    rcptset_fini(&s);
    rcptset_init(&s, &small);
    (void)!learn("v1", RCPTSET_VALID, T0);
    ck_assert_int_eq(want("w1", T0), RCPTSET_NEWS);
    ck_assert_int_eq(learn("i1", RCPTSET_INVALID, T0 + 1), RCPTSET_NEWS);
    ck_assert_int_eq(learn("i2", RCPTSET_INVALID, T0 + 2), RCPTSET_NEWS);
    ck_assert_int_eq(want("w2", T0), RCPTSET_NO_ROOM);
    ck_assert_int_eq(learn("i3", RCPTSET_INVALID, T0 + 3), RCPTSET_NEWS); /* w1 goes */
    ck_assert_int_eq(learn("i4", RCPTSET_INVALID, T0 + 4), RCPTSET_NEWS); /* i1 goes */
    ck_assert_int_eq(find("i1", T0 + 4), RCPTSET_UNKNOWN);
    ck_assert_int_eq(find("i2", T0 + 4), RCPTSET_INVALID);
    ck_assert_uint_eq(rcptset_count(&s), 4);
    for (const char *const *v = (const char *const[]){"v2", "v3", "v4", "v5", "v6", NULL}; *v;
         v++)
        ck_assert_int_eq(learn(*v, RCPTSET_VALID, T0 + 5), RCPTSET_NEWS);
    ck_assert_uint_eq(rcptset_count(&s), 6); /* all doubts made room */
    ck_assert_int_eq(learn("v7", RCPTSET_VALID, T0 + 5), RCPTSET_NO_ROOM);
    ck_assert_int_eq(learn("i5", RCPTSET_INVALID, T0 + 5), RCPTSET_NO_ROOM);
    ck_assert_int_eq(find("v1", T0 + 5), RCPTSET_VALID);
    ck_assert_int_eq(want("v2", T0 + 6), RCPTSET_NEWS);
    ck_assert_int_eq(learn("v3", RCPTSET_INVALID, T0 + 6), RCPTSET_NEWS);
    ck_assert_int_eq(learn("v4", RCPTSET_INVALID, T0 + 6), RCPTSET_NEWS);
    ck_assert_int_eq(want("v5", T0 + 7), RCPTSET_NO_ROOM);
    ck_assert_int_eq(find("v5", T0 + 7), RCPTSET_VALID);
    /* who has left is known to have, whatever room there is */
    ck_assert_int_eq(learn("v5", RCPTSET_INVALID, T0 + 7), RCPTSET_NEWS);
    ck_assert_int_eq(find("v5", T0 + 7), RCPTSET_INVALID);
    ck_assert_int_eq(find("v2", T0 + 7), RCPTSET_UNKNOWN); /* the wish made room */
}
END_TEST

START_TEST(what_never_was_does_not_count_at_the_beginning_of_time)
{
    struct rcptset_entry dropped[2];

    ck_assert_int_eq(want("a", 5), RCPTSET_NEWS);
    ck_assert_int_eq(find("a", 5), RCPTSET_UNKNOWN);
    ck_assert_uint_eq(rcptset_sweep(&s, 5, 2, dropped), 0);
    ck_assert_uint_eq(rcptset_sweep(&s, 5 + HOUR, 2, dropped), 1);
}
END_TEST

START_TEST(of_one_moment_valid_counts_and_either_order_ends_equal)
{
    struct rcptset_entry e = {.generation = 7, .local_bytes = 1, .local = "a"}, first, out;
    struct rcptset_name n = name("a");

    for (int i = 0; i < 2; i++) {
        e.invalid = (struct rcptset_fact){T0, i == 0 ? RCPTSET_CALLOUT : RCPTSET_DELIVERY};
        (void)!rcptset_merge(&s, &e, T0);
        e.invalid.source = i == 0 ? RCPTSET_DELIVERY : RCPTSET_CALLOUT;
        (void)!rcptset_merge(&s, &e, T0);
        ck_assert_int_eq(rcptset_find(&s, &n, T0, i == 0 ? &first : &out), RCPTSET_INVALID);
        teardown();
        setup();
    }
    ck_assert_int_eq(first.invalid.source, out.invalid.source);
    e.valid = (struct rcptset_fact){T0, RCPTSET_DELIVERY};
    (void)!rcptset_merge(&s, &e, T0);
    ck_assert_int_eq(find("a", T0), RCPTSET_VALID);
}
END_TEST

START_TEST(a_clock_that_is_ahead_keeps_nothing_longer)
{
    struct rcptset_entry e = {.generation = 7,
                              .local_bytes = 1,
                              .local = "a",
                              .invalid = {T0 + 1000 * DAY, RCPTSET_DELIVERY}};

    ck_assert_int_eq(rcptset_merge(&s, &e, T0), RCPTSET_NEWS);
    ck_assert_int_eq(find("a", T0 + DAY), RCPTSET_UNKNOWN);
    ck_assert_int_eq(learn("a", RCPTSET_VALID, T0 + 1), RCPTSET_NEWS);
    ck_assert_int_eq(find("a", T0 + 1), RCPTSET_VALID);
    e.invalid.ms = T0 - DAY;
    e.local[0] = 'b';
    ck_assert_int_eq(rcptset_merge(&s, &e, T0), RCPTSET_NO_NEWS); /* over already */
}
END_TEST

/* --- three sites --- */

static void send_all(const struct rcptset *from, struct rcptset *to,
                     struct change_cursor *since, uint64_t now_ms)
{
    uint8_t bytes[RCPTSET_ENTRY_BYTES];
    struct rcptset_entry e, read;

    while (rcptset_changes(from, since, &e)) {
        struct str in = {(const char *)bytes, rcptset_pack(&e, bytes)};

        ck_assert_int_eq(rcptset_unpack(&in, &read), OK);
        ck_assert_uint_eq(in.n, 0);
        (void)!rcptset_merge(to, &read, now_ms);
    }
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, RCPTSET_ENTRY_BYTES);
}

static size_t image(const struct rcptset *set, uint8_t out[][RCPTSET_ENTRY_BYTES])
{
    struct change_cursor at = {0};
    struct rcptset_entry e;
    size_t n = 0;

    memset(out, 0, 1000 * RCPTSET_ENTRY_BYTES);
    while (rcptset_changes(set, &at, &e))
        rcptset_pack(&e, out[n++]);
    qsort(out, n, RCPTSET_ENTRY_BYTES, by_bytes);
    return n;
}

/* What is next is what a look at all entries says. */
static void check_due(struct rcptset *set, uint64_t generation, uint64_t now_ms)
{
    uint64_t best[RCPTSET_STATUSES] = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    uint32_t count[RCPTSET_STATUSES] = {0};
    struct change_cursor at = {0};
    struct rcptset_entry e, due[RCPTSET_DUE];
    uint32_t domain = rcptset_domain_find(set, generation);
    size_t n, all_due = 0;

    while (rcptset_changes(set, &at, &e)) {
        if (e.generation != generation)
            continue;
        count[rcptset_class(&e)]++;
        all_due += rcptset_class(&e) != RCPTSET_INVALID && rcptset_rank(&e) <= now_ms;
        if (rcptset_rank(&e) < best[rcptset_class(&e)])
            best[rcptset_class(&e)] = rcptset_rank(&e);
    }
    ck_assert_int_eq(domain != 0, count[0] + count[1] + count[2] > 0);
    for (int i = 0; domain != 0 && i < RCPTSET_STATUSES; i++) {
        const struct rcptset_domain *d = rcptset_domain_at(set, domain);

        ck_assert_uint_eq(d->count[i], count[i]);
        if (count[i] > 0)
            ck_assert_uint_eq(rcptset_rank(&rcptset_at(set, d->top[i])->e), best[i]);
    }
    n = rcptset_due(set, generation, now_ms, due, RCPTSET_DUE);
    ck_assert(n > 0 || (best[0] > now_ms && best[RCPTSET_VALID] > now_ms));
    if (n > 0)
        ck_assert_uint_eq(rcptset_rank(&due[0]),
                          best[0] <= now_ms ? best[0] : best[RCPTSET_VALID]);
    for (size_t i = 1; i < n; i++) /* wishes, then the others, the oldest of each first */
        ck_assert(rcptset_class(&due[i - 1]) < rcptset_class(&due[i]) ||
                  (rcptset_class(&due[i - 1]) == rcptset_class(&due[i]) &&
                   rcptset_rank(&due[i - 1]) <= rcptset_rank(&due[i])));
    if (n < RCPTSET_DUE)
        ck_assert_uint_eq(n, all_due);
}

static void random_step(struct rcptset *set, struct prng *rnd, uint64_t now_ms)
{
    char local[16];
    struct rcptset_name n = {1 + prng_below(rnd, 3), STR_NONE, '+'};
    struct rcptset_entry e, dropped[4];

    snprintf(local, sizeof local, "%c%s", (int)("aAbBcdefgh"[prng_below(rnd, 10)]),
             prng_below(rnd, 4) == 0 ? "+x" : "");
    n.local = str_of(local);
    switch (prng_below(rnd, 5)) {
    case 0:
        (void)!rcptset_want(set, &n, now_ms);
        break;
    case 1:
        if (rcptset_due(set, n.generation, now_ms, &e, 1) > 0)
            rcptset_asked(set, &e, now_ms);
        break;
    case 2:
        (void)rcptset_sweep(set, now_ms, 4, dropped);
        break;
    default:
        (void)!rcptset_learn(set, &n, 1 + (enum rcptset_status)prng_below(rnd, 2),
                             1 + (enum rcptset_source)prng_below(rnd, 2), now_ms);
    }
    check_due(set, n.generation, now_ms);
}

START_TEST(sites_end_equal_whatever_way_the_changes_went)
{
    static uint8_t images[3][1000][RCPTSET_ENTRY_BYTES];
    struct rcptset set[3];
    struct change_cursor since[3][3] = {{{0}}};
    struct rcptset_entry dropped[256];
    uint64_t now_ms = T0;
    struct prng rnd;
    size_t n[3];

    prng_seed(&rnd, (uint64_t)_i + 1);
    for (int i = 0; i < 3; i++)
        rcptset_init(&set[i], &defaults);
    for (int step = 0; step < 600; step++) {
        uint32_t i = (uint32_t)prng_below(&rnd, 3), k = (uint32_t)prng_below(&rnd, 3);

        if (prng_below(&rnd, 2) == 0) /* else at the same moment: ties */
            now_ms += prng_below(&rnd, prng_below(&rnd, 8) == 0 ? 5 * DAY : HOUR);
        random_step(&set[i], &rnd, now_ms);
        if (i != k && prng_below(&rnd, 4) == 0)
            send_all(&set[i], &set[k], &since[i][k], now_ms);
        if (prng_below(&rnd, 50) == 0)
            since[i][k] = (struct change_cursor){0}; /* all again */
    }
    for (int i = 0; i < 18; i++)
        if (i / 3 % 3 != i % 3)
            send_all(&set[i / 3 % 3], &set[i % 3], &since[i / 3 % 3][i % 3], now_ms);
    for (int i = 0; i < 3; i++) {
        (void)rcptset_sweep(&set[i], now_ms, 256, dropped);
        n[i] = image(&set[i], images[i]);
        ck_assert_uint_eq(n[i], rcptset_count(&set[i]));
        ck_assert_uint_eq(n[i], n[0]);
        ck_assert_mem_eq(images[i], images[0], sizeof images[0]);
        for (uint64_t g = 1; g <= 3; g++)
            check_due(&set[i], g, now_ms);
    }
    for (int i = 0; i < 3; i++)
        rcptset_fini(&set[i]);
}
END_TEST

START_TEST(bytes_that_nobody_packs_are_refused)
{
    struct rcptset_entry e = {
        .generation = 7, .local_bytes = 2, .local = "ab", .valid = {5, RCPTSET_CALLOUT}};
    uint8_t good[RCPTSET_ENTRY_BYTES], bad[RCPTSET_ENTRY_BYTES];
    size_t n = rcptset_pack(&e, good);
    const struct {
        size_t at;
        uint8_t value;
    } breaks[] = {{7, 0},  {15, 0},  {23, 1}, {40, 0x00}, {40, 0x30}, {40, 0x22}, {40, 0x21},
                  {41, 0}, {41, 65}, {41, 3}, {42, 10},   {43, 0x7f}, {43, 0x80}};
    struct str in = {(const char *)good, n};

    ck_assert_int_eq(rcptset_unpack(&in, &e), OK);
    memcpy(bad, good, n);
    memcpy(bad + 42, "\xc3\xa9", 2); /* a letter in another script */
    in = (struct str){(const char *)bad, n};
    ck_assert_int_eq(rcptset_unpack(&in, &e), OK);
    memcpy(bad + 42, "\xc2\x9b", 2); /* a control character */
    in = (struct str){(const char *)bad, n};
    ck_assert_int_eq(rcptset_unpack(&in, &e), E_PROTO);
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
        memcpy(bad, good, n);
        bad[breaks[i].at] = breaks[i].value;
        in = (struct str){(const char *)bad, n};
        ck_assert_msg(rcptset_unpack(&in, &e) == E_PROTO, "%zu", i);
        ck_assert_uint_eq(in.n, n);
    }
    in = (struct str){(const char *)good, n - 1};
    ck_assert_int_eq(rcptset_unpack(&in, &e), E_PROTO);
}
END_TEST

/* The site that wished has a clock that is ahead of the one that learns. */
START_TEST(a_wish_from_ahead_is_fulfilled_by_what_is_learned_now)
{
    ck_assert_int_eq(want("john", T0 + 5000), RCPTSET_NEWS);
    ck_assert_int_eq(learn("john", RCPTSET_VALID, T0), RCPTSET_NEWS);
    ck_assert_uint_eq(rcptset_known(&s, 7), 1);
    ck_assert(!due_is("john", T0 + 6000));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rcptset");
    TCase *tc = tcase_create("rcptset");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_name_is_found_as_it_is_then_in_any_case_then_by_its_base);
    tcase_add_test(tc, a_refusal_of_a_sub_address_counts_for_it_alone_until_it_is_taken);
    tcase_add_test(tc, facts_end_by_age_alone);
    tcase_add_test(tc, what_was_valid_before_it_was_refused_does_not_come_back);
    tcase_add_test(tc, the_same_again_is_news_once_a_day_and_the_contrary_at_once);
    tcase_add_test(tc, wishes_are_asked_first_then_what_is_old_the_oldest_first);
    tcase_add_test(tc, doubts_are_bounded_and_never_push_out_what_is_valid);
    tcase_add_test(tc, what_never_was_does_not_count_at_the_beginning_of_time);
    tcase_add_test(tc, of_one_moment_valid_counts_and_either_order_ends_equal);
    tcase_add_test(tc, a_clock_that_is_ahead_keeps_nothing_longer);
    tcase_add_loop_test(tc, sites_end_equal_whatever_way_the_changes_went, 0, 40);
    tcase_add_test(tc, bytes_that_nobody_packs_are_refused);
    tcase_add_test(tc, a_wish_from_ahead_is_fulfilled_by_what_is_learned_now);
    suite_add_tcase(suite, tc);
    sr = srunner_create(suite);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
