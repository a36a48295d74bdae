/* Traces of the consensus core: one event a line, and what it asks for. */
#include "replication/consensus.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"

static struct consensus cs;
static struct cs_update up;
static char text[65536];

/* The update as text: "term=3 vote=1 | append 5..7 t3 | answers 9:applied@5 | apply 5..7 |
 * clock 5000". */
static const char *describe(void)
{
    static const char *const outcomes[] = {"applied", "not_leader", "full", "unknown"};
    size_t n = 0;

    text[0] = 0;
#define ADD(...)                                                                               \
    n += (size_t)snprintf(text + n, sizeof text - n, "%s", n > 0 ? " | " : ""),                \
        n += (size_t)snprintf(text + n, sizeof text - n, __VA_ARGS__)
    if (up.store_term)
        ADD("term=%llu vote=%u", (unsigned long long)up.term, up.vote);
    if (up.entry_count > 0)
        ADD("append %llu..%llu t%llu", (unsigned long long)up.entries[0].index,
            (unsigned long long)up.entries[up.entry_count - 1].index,
            (unsigned long long)up.entries[0].term);
    for (size_t i = 0; i < up.answer_count; i++)
        ADD("%llu:%s@%llu", (unsigned long long)up.answers[i].req_id,
            outcomes[up.answers[i].outcome], (unsigned long long)up.answers[i].index);
    if (up.apply_to != 0)
        ADD("apply %llu..%llu", (unsigned long long)up.apply_from,
            (unsigned long long)up.apply_to);
    if (up.clock_elapsed_ms != 0)
        ADD("clock %u", up.clock_elapsed_ms);
#undef ADD
    return text;
}

struct line {
    const char *event; /* start, propose FIRST COUNT, clock, persisted N, full N, applied N,
                          tick, stop; all at `now` */
    unsigned long long now;
    const char *expect;
};

static void step(enum cs_event_type type, uint64_t now, uint64_t index,
                 const struct cs_proposal *p, size_t count)
{
    cs_step(
        &cs,
        &(struct cs_event){
            .type = type, .boot_now_ms = now, .index = index, .proposals = p, .count = count},
        &up);
}

static void propose(uint64_t now, uint64_t first, uint64_t count)
{
    static struct cs_proposal p[LIMIT_CONTROL_BATCH];

    for (uint64_t i = 0; i < count; i++)
        p[i] = (struct cs_proposal){.req_id = first + i, .bytes = STR("x")};
    step(CS_EV_PROPOSE, now, 0, p, count);
}

static void play(const struct line *lines)
{
    for (const struct line *l = lines; l->event != NULL; l++) {
        unsigned long long a = 0, b = 0;

        if (strcmp(l->event, "start") == 0)
            step(CS_EV_START, l->now, 0, NULL, 0);
        else if (sscanf(l->event, "propose %llu %llu", &a, &b) == 2)
            propose(l->now, a, b);
        else if (strcmp(l->event, "clock") == 0)
            propose(l->now, CS_CLOCK_REQ, 1);
        else if (sscanf(l->event, "persisted %llu", &a) == 1)
            step(CS_EV_PERSISTED, l->now, a, NULL, 0);
        else if (sscanf(l->event, "full %llu", &a) == 1)
            step(CS_EV_STORE_FULL, l->now, a, NULL, 0);
        else if (sscanf(l->event, "applied %llu", &a) == 1)
            step(CS_EV_APPLIED, l->now, a, NULL, 0);
        else if (strcmp(l->event, "tick") == 0)
            step(CS_EV_TICK, l->now, 0, NULL, 0);
        else if (strcmp(l->event, "stop") == 0)
            step(CS_EV_STOP, l->now, 0, NULL, 0);
        else
            ck_abort_msg("%s", l->event);
        ck_assert_msg(strcmp(describe(), l->expect) == 0, "line %d, %s: got \"%s\"",
                      (int)(l - lines), l->event, text);
    }
}

static void init(uint64_t last, uint64_t term, uint64_t applied, uint64_t now)
{
    cs_init(&cs, &(struct cs_config){.site = 1,
                                     .last_index = last,
                                     .term = term,
                                     .applied = applied,
                                     .boot_now_ms = now});
}

START_TEST(a_proposal_is_answered_after_disk_and_apply)
{
    init(0, 0, 0, 100);
    play((const struct line[]){
        {"start", 100, "term=1 vote=1"},
        {"propose 7 1", 100, "append 1..1 t1"},
        {"persisted 1", 101, "apply 1..1"},
        {"applied 1", 102, "7:applied@1"},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(what_is_in_the_log_and_not_applied_is_applied_at_start_and_answers_nobody)
{
    init(9, 3, 6, 0);
    play((const struct line[]){
        {"start", 0, "term=4 vote=1 | apply 7..9"},
        {"propose 1 2", 0, "append 10..11 t4"},
        {"persisted 11", 0, ""}, /* one batch with the state machine at a time */
        {"applied 9", 0, "apply 10..11"},
        {"applied 11", 0, "1:applied@10 | 2:applied@11"},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(several_appends_may_be_under_way)
{
    init(0, 0, 0, 0);
    play((const struct line[]){
        {"start", 0, "term=1 vote=1"},
        {"propose 1 2", 0, "append 1..2 t1"},
        {"propose 3 1", 0, "append 3..3 t1"},
        {"persisted 2", 0, "apply 1..2"},
        {"persisted 3", 0, ""},
        {"applied 2", 0, "1:applied@1 | 2:applied@2 | apply 3..3"},
        {"applied 3", 0, "3:applied@3"},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(an_append_without_room_gives_its_indices_to_others)
{
    init(4, 1, 4, 0);
    play((const struct line[]){
        {"start", 0, "term=2 vote=1"},
        {"propose 1 1", 0, "append 5..5 t2"},
        {"propose 2 2", 0, "append 6..7 t2"},
        {"persisted 5", 0, "apply 5..5"},
        {"full 6", 0, "2:full@0 | 3:full@0"},
        {"propose 4 1", 0, "append 6..6 t2"},
        {"applied 5", 0, "1:applied@5"},
        {"persisted 6", 0, "apply 6..6"},
        {"applied 6", 0, "4:applied@6"},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(a_stop_leaves_nobody_waiting)
{
    init(0, 0, 0, 0);
    play((const struct line[]){
        {"start", 0, "term=1 vote=1"},
        {"propose 1 2", 0, "append 1..2 t1"},
        {"persisted 2", 0, "apply 1..2"},
        {"propose 3 1", 0, "append 3..3 t1"},
        {"stop", 0, "1:unknown@0 | 2:unknown@0 | 3:unknown@0"},
        {"stop", 0, ""},
        {"applied 2", 0, ""},
        {"persisted 3", 0, "apply 3..3"},
        {"applied 3", 0, ""},
        {"propose 4 1", 0, "4:full@0"},
        {"tick", 100000, ""},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(the_clock_is_proposed_every_interval_and_never_counts_downtime)
{
    /* The machine has been up for a day, the log is old: nothing of that counts. */
    init(3, 1, 3, 86400000);
    play((const struct line[]){
        {"start", 86400000, "term=2 vote=1"},
        {"tick", 86400000, ""},
        {"tick", 86404999, ""},
        {"tick", 86405000, "clock 5000"},
        {"clock", 86405000, "append 4..4 t2"},
        {"tick", 86411000, ""}, /* one clock entry in flight at a time */
        {"persisted 4", 86411000, "apply 4..4"},
        {"applied 4", 86411000, ""}, /* nobody is answered */
        {"tick", 86411000, "clock 6000"},
        {"clock", 86411000, "append 5..5 t2"},
        {"persisted 5", 86411000, "apply 5..5"},
        {"applied 5", 86411000, ""},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(a_clock_entry_adds_at_most_two_intervals)
{
    init(0, 0, 0, 0);
    play((const struct line[]){
        {"start", 0, "term=1 vote=1"},
        {"tick", 3600000, "clock 10000"},
        {"clock", 3600000, "append 1..1 t1"},
        {"full 1", 3600000, ""}, /* no room: this time is lost, not gathered */
        {"tick", 3604999, ""},
        {"tick", 3605000, "clock 5000"},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(the_deadline_is_the_next_clock_entry)
{
    init(0, 0, 0, 1000);
    ck_assert_uint_eq(cs_deadline_ms(&cs), UINT64_MAX);
    step(CS_EV_START, 1000, 0, NULL, 0);
    ck_assert(cs_leads(&cs));
    ck_assert_uint_eq(cs_deadline_ms(&cs), 6000);
    step(CS_EV_TICK, 6100, 0, NULL, 0);
    ck_assert_uint_eq(cs_deadline_ms(&cs), UINT64_MAX);
    propose(6100, CS_CLOCK_REQ, 1);
    step(CS_EV_PERSISTED, 6100, 1, NULL, 0);
    step(CS_EV_APPLIED, 6200, 1, NULL, 0);
    ck_assert_uint_eq(cs_deadline_ms(&cs), 11100);
    ck_assert_uint_eq(cs_applied(&cs), 1);
}
END_TEST

START_TEST(at_the_limit_of_proposals_more_are_refused_and_the_first_ones_kept)
{
    init(0, 0, 0, 0);
    step(CS_EV_START, 0, 0, NULL, 0);
    for (uint64_t i = 0; i < LIMIT_PROPOSALS; i += LIMIT_CONTROL_BATCH) {
        propose(0, i, LIMIT_CONTROL_BATCH);
        ck_assert_uint_eq(up.entry_count, LIMIT_CONTROL_BATCH);
        ck_assert_uint_eq(up.answer_count, 0);
    }
    propose(0, 5000, 1);
    ck_assert_str_eq(describe(), "5000:full@0");
    step(CS_EV_PERSISTED, 0, LIMIT_PROPOSALS, NULL, 0);
    ck_assert_str_eq(describe(), "apply 1..256");
    step(CS_EV_APPLIED, 0, 256, NULL, 0);
    ck_assert_uint_eq(up.answer_count, 256);
    ck_assert_uint_eq(up.answers[255].req_id, 255);
    ck_assert_uint_eq(up.apply_from, 257);
    propose(0, 6000, 1);
    ck_assert_str_eq(describe(), "append 1025..1025 t1");
}
END_TEST

START_TEST(a_long_replay_comes_in_batches)
{
    init(600, 1, 0, 0);
    step(CS_EV_START, 0, 0, NULL, 0);
    ck_assert_str_eq(describe(), "term=2 vote=1 | apply 1..256");
    step(CS_EV_APPLIED, 0, 256, NULL, 0);
    ck_assert_str_eq(describe(), "apply 257..512");
    step(CS_EV_APPLIED, 0, 512, NULL, 0);
    ck_assert_str_eq(describe(), "apply 513..600");
    step(CS_EV_APPLIED, 0, 600, NULL, 0);
    ck_assert_str_eq(describe(), "");
}
END_TEST

/* A model of the shell with a slow, sometimes full disk. Whatever the order: every proposal is
 * answered exactly once, "applied" comes in log order with the index of its own entry, and
 * "full" only for what is not in the log. */
struct world {
    struct prng r;
    uint64_t now, log[40000], stored, appended, applied, apply_to, answered, proposed;
    bool answered_req[40000];
};

static void take_update(struct world *w)
{
    for (size_t i = 0; i < up.entry_count; i++) {
        ck_assert_uint_eq(up.entries[i].index, w->appended + 1);
        w->appended++;
        w->log[w->appended] = up.entries[i].bytes.n; /* req id travels as the length */
    }
    for (size_t i = 0; i < up.answer_count; i++) {
        const struct cs_answer *a = &up.answers[i];

        ck_assert(!w->answered_req[a->req_id]);
        w->answered_req[a->req_id] = true;
        w->answered++;
        if (a->outcome == CS_APPLIED) {
            ck_assert_uint_le(a->index, w->applied);
            ck_assert_uint_eq(w->log[a->index], a->req_id);
        }
    }
    if (up.apply_to != 0) {
        ck_assert_uint_eq(up.apply_from, w->applied + 1);
        ck_assert_uint_le(up.apply_to, w->stored);
        w->apply_to = up.apply_to;
    }
}

static void world_propose(struct world *w, uint64_t count)
{
    static struct cs_proposal p[LIMIT_CONTROL_BATCH];
    static char bytes[40000];

    for (uint64_t i = 0; i < count; i++) {
        w->proposed++;
        p[i] = (struct cs_proposal){.req_id = w->proposed, .bytes = {bytes, w->proposed}};
    }
    step(CS_EV_PROPOSE, w->now, 0, p, count);
    take_update(w);
}

static void world_turn(struct world *w)
{
    w->now += prng_below(&w->r, 50);
    switch (prng_below(&w->r, 6)) {
    case 0:
    case 1:
        world_propose(w, 1 + prng_below(&w->r, prng_below(&w->r, 8) == 0 ? 256 : 5));
        return;
    case 2:
    case 3:
        if (w->stored < w->appended) {
            w->stored += 1 + prng_below(&w->r, w->appended - w->stored);
            step(CS_EV_PERSISTED, w->now, w->stored, NULL, 0);
            take_update(w);
        }
        return;
    case 4:
        if (w->applied < w->apply_to) {
            w->applied = w->apply_to;
            step(CS_EV_APPLIED, w->now, w->applied, NULL, 0);
            take_update(w);
        }
        return;
    default:
        if (w->stored < w->appended && prng_below(&w->r, 4) == 0) {
            uint64_t from = w->stored + 1 + prng_below(&w->r, w->appended - w->stored);

            w->appended = from - 1;
            step(CS_EV_STORE_FULL, w->now, from, NULL, 0);
            take_update(w);
        }
    }
}

START_TEST(over_random_walks_every_proposal_is_answered_once)
{
    static struct world w;

    for (uint64_t seed = 1; seed <= 40; seed++) {
        memset(&w, 0, sizeof w);
        prng_seed(&w.r, seed);
        init(0, 0, 0, 0);
        step(CS_EV_START, 0, 0, NULL, 0);
        for (int i = 0; i < 1000 && w.proposed < 39000; i++)
            world_turn(&w);
        step(CS_EV_STOP, w.now, 0, NULL, 0);
        take_update(&w);
        ck_assert_uint_eq(w.answered, w.proposed);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("consensus");
    TCase *tc = tcase_create("consensus");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, a_proposal_is_answered_after_disk_and_apply);
    tcase_add_test(tc,
                   what_is_in_the_log_and_not_applied_is_applied_at_start_and_answers_nobody);
    tcase_add_test(tc, several_appends_may_be_under_way);
    tcase_add_test(tc, an_append_without_room_gives_its_indices_to_others);
    tcase_add_test(tc, a_stop_leaves_nobody_waiting);
    tcase_add_test(tc, the_clock_is_proposed_every_interval_and_never_counts_downtime);
    tcase_add_test(tc, a_clock_entry_adds_at_most_two_intervals);
    tcase_add_test(tc, the_deadline_is_the_next_clock_entry);
    tcase_add_test(tc, at_the_limit_of_proposals_more_are_refused_and_the_first_ones_kept);
    tcase_add_test(tc, a_long_replay_comes_in_batches);
    tcase_add_test(tc, over_random_walks_every_proposal_is_answered_once);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
