/* Traces of the consensus adapter: one event a line, and what it asks for. The network of three
 * is in consensus_sim_test.c. */
#include "replication/consensus.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct consensus *cs;
static struct cs_update up;
static char text[65536];

/* The update as text: "term=3 vote=1 | send append>2 5/2+3 | append 5..7 t3 | 9:applied@5 |
 * apply 5..7 | clock 5000". */
static const char *describe(void)
{
    static const char *const outcomes[] = {"applied", "not_leader", "full", "unknown"};
    size_t n = 0;

    text[0] = 0;
#define ADD(...)                                                                               \
    n += (size_t)snprintf(text + n, sizeof text - n, "%s", n > 0 ? " | " : ""),                \
        n += (size_t)snprintf(text + n, sizeof text - n, __VA_ARGS__)
    if (up.failed != NULL)
        ADD("failed");
    if (up.refused != NULL)
        ADD("refused");
    if (up.store_term)
        ADD("term=%llu vote=%llu", (unsigned long long)up.term, (unsigned long long)up.vote);
    for (size_t i = 0; i < up.message_count; i++) {
        const struct raftwire_message *m = &up.messages[i];

        if (m->kind == RAFTWIRE_APPEND)
            ADD("append>%llu %llu+%u", (unsigned long long)m->peer,
                (unsigned long long)m->append.prev_index, m->append.count);
        else if (m->kind == RAFTWIRE_VOTE)
            ADD("%svote>%llu t%llu", m->vote.pre_vote ? "pre" : "", (unsigned long long)m->peer,
                (unsigned long long)m->term);
        else if (m->kind == RAFTWIRE_VOTE_RESULT)
            ADD("%s>%llu t%llu v%u", m->vote_result.granted ? "yes" : "no",
                (unsigned long long)m->peer, (unsigned long long)m->term, m->version);
        else if (m->kind == RAFTWIRE_APPEND_RESULT)
            ADD("have>%llu %llu", (unsigned long long)m->peer,
                (unsigned long long)m->append_result.last_index);
        else
            ADD("%s>%llu", raftwire_kind_text(m->kind), (unsigned long long)m->peer);
    }
    if (up.entry_count > 0)
        ADD("append %llu..%llu t%llu", (unsigned long long)up.entries[0].index,
            (unsigned long long)up.entries[up.entry_count - 1].index,
            (unsigned long long)up.entries[0].term);
    if (up.install.index != 0)
        ADD("install %llu", (unsigned long long)up.install.index);
    if (up.compact.index != 0)
        ADD("compact %llu upto %llu", (unsigned long long)up.compact.index,
            (unsigned long long)up.compact_upto);
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

static void step(struct cs_event ev)
{
    cs_step(cs, &ev, &up);
}

/* --- a log of `last` entries in `term`, entry 1 names the members --- */

static struct raftwire_entry entries[2000];
static uint8_t members_bytes[RAFTWIRE_MEMBERS_BYTES];
static struct cs_log disk;

static void log_of(uint64_t last, uint64_t term, uint32_t members)
{
    struct cs_members m = {.count = members};

    for (uint32_t i = 0; i < members; i++)
        m.list[i] = (struct cs_member){i + 1, (uint16_t)(i + 1), CS_VOTER};
    for (uint64_t i = 0; i < last; i++)
        entries[i] = (struct raftwire_entry){.term = term, .kind = RAFTWIRE_COMMAND};
    entries[0].kind = RAFTWIRE_MEMBERS;
    entries[0].bytes = cs_members_encode(&m, members_bytes);
    disk = (struct cs_log){.term = term, .first = 1, .entries = entries, .count = last};
}

static void init(uint64_t last, uint64_t term, uint32_t members, uint64_t applied, uint64_t now)
{
    cs_free(&cs);
    log_of(last, term, members);
    cs = cs_new(&(struct cs_config){
        .id = 1, .site = 1, .seed = 7, .applied = applied, .boot_now_ms = now});
    ck_assert_ptr_nonnull(cs);
}

struct line {
    const char *event; /* start, propose FIRST COUNT, clock, persisted N, full LAST, applied N,
                          tick, stop, transfer N, compact N; all at `now` */
    unsigned long long now;
    const char *expect;
};

static void propose(uint64_t now, uint64_t first, uint64_t count)
{
    static struct cs_proposal p[LIMIT_CONTROL_BATCH];

    for (uint64_t i = 0; i < count; i++)
        p[i] = (struct cs_proposal){.req_id = first == CS_CLOCK_REQ ? first : first + i,
                                    .bytes = STR("x")};
    step((struct cs_event){
        .type = CS_EV_PROPOSE, .boot_now_ms = now, .proposals = p, .count = count});
}

static bool play_index(const char *event, unsigned long long now)
{
    static const struct {
        const char *name;
        enum cs_event_type type;
    } words[] = {{"persisted", CS_EV_PERSISTED}, {"applied", CS_EV_APPLIED},
                 {"tick", CS_EV_TICK},           {"stop", CS_EV_STOP},
                 {"start", CS_EV_START},         {"compact", CS_EV_COMPACT},
                 {"transfer", CS_EV_TRANSFER},   {"snapshot", CS_EV_SNAPSHOT_PERSISTED}};
    unsigned long long a = 0;
    char word[20];

    if (sscanf(event, "%19s %llu", word, &a) < 1)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i].name) == 0) {
            step((struct cs_event){.type = words[i].type,
                                   .boot_now_ms = now,
                                   .index = a,
                                   .term = 1,
                                   .trailing = 2,
                                   .member.id = a,
                                   .log = &disk});
            return true;
        }
    return false;
}

static void play(const struct line *lines)
{
    for (const struct line *l = lines; l->event != NULL; l++) {
        unsigned long long a = 0, b = 0;

        if (sscanf(l->event, "propose %llu %llu", &a, &b) == 2) {
            propose(l->now, a, b);
        } else if (strcmp(l->event, "clock") == 0) {
            propose(l->now, CS_CLOCK_REQ, 1);
        } else if (sscanf(l->event, "full %llu", &a) == 1) {
            log_of(a, 1, 1);
            step((struct cs_event){
                .type = CS_EV_STORE_FULL, .boot_now_ms = l->now, .log = &disk});
        } else {
            ck_assert_msg(play_index(l->event, l->now), "%s", l->event);
        }
        ck_assert_msg(strcmp(describe(), l->expect) == 0, "line %d, %s: got \"%s\"",
                      (int)(l - lines), l->event, text);
    }
}

static void teardown(void)
{
    cs_free(&cs);
}

/* --- alone --- */

START_TEST(a_proposal_is_answered_after_disk_and_apply)
{
    init(1, 1, 1, 0, 100);
    play((const struct line[]){
        {"start", 100, "apply 1..1"},
        {"applied 1", 100, ""},
        {"propose 7 1", 100, "append 2..2 t1"},
        {"persisted 2", 101, "apply 2..2"},
        {"applied 2", 102, "7:applied@2"},
        {NULL, 0, NULL},
    });
    ck_assert(cs_leads(cs));
    ck_assert_uint_eq(cs_leader(cs), 1);
}
END_TEST

START_TEST(what_is_in_the_log_and_not_applied_is_applied_at_start_and_answers_nobody)
{
    init(9, 3, 1, 6, 0);
    play((const struct line[]){
        {"start", 0, "apply 7..9"},
        {"propose 1 2", 0, "append 10..11 t3"},
        {"persisted 11", 0, ""}, /* one batch with the state machine at a time */
        {"applied 9", 0, "apply 10..11"},
        {"applied 11", 0, "1:applied@10 | 2:applied@11"},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(several_writes_may_be_under_way)
{
    init(1, 1, 1, 1, 0);
    play((const struct line[]){
        {"start", 0, ""},
        {"propose 1 2", 0, "append 2..3 t1"},
        {"propose 3 1", 0, "append 4..4 t1"},
        {"persisted 3", 0, "apply 2..3"},
        {"persisted 4", 0, ""},
        {"applied 3", 0, "1:applied@2 | 2:applied@3 | apply 4..4"},
        {"applied 4", 0, "3:applied@4"},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(a_write_without_room_gives_its_indices_to_others)
{
    init(4, 1, 1, 4, 0);
    play((const struct line[]){
        {"start", 0, ""},
        {"propose 1 1", 0, "append 5..5 t1"},
        {"persisted 5", 0, "apply 5..5"},
        {"propose 2 2", 0, "append 6..7 t1"},
        {"full 5", 0, "2:full@0 | 3:full@0"},
        {"propose 4 1", 0, "append 6..6 t1"},
        {"applied 5", 0, "1:applied@5"},
        {"persisted 6", 0, "apply 6..6"},
        {"applied 6", 0, "4:applied@6"},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(a_stop_leaves_nobody_waiting)
{
    init(1, 1, 1, 1, 0);
    play((const struct line[]){
        {"start", 0, ""},
        {"propose 1 2", 0, "append 2..3 t1"},
        {"persisted 3", 0, "apply 2..3"},
        {"propose 3 1", 0, "append 4..4 t1"},
        {"stop", 0, "1:unknown@0 | 2:unknown@0 | 3:unknown@0"},
        {"stop", 0, ""},
        {"applied 3", 0, ""},
        {"persisted 4", 0, "apply 4..4"},
        {"applied 4", 0, ""},
        {"propose 4 1", 0, "4:not_leader@0"},
        {"tick", 100000, ""},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(the_clock_is_proposed_every_interval_and_never_counts_downtime)
{
    /* The machine has been up for a day, the log is old: nothing of that counts. */
    init(3, 1, 1, 3, 86400000);
    play((const struct line[]){
        {"start", 86400000, ""},
        {"tick", 86400000, ""},
        {"tick", 86404999, ""},
        {"tick", 86405000, "clock 5000"},
        {"clock", 86405000, "append 4..4 t1"},
        {"tick", 86411000, ""}, /* one clock entry in flight at a time */
        {"persisted 4", 86411000, "apply 4..4"},
        {"applied 4", 86411000, ""}, /* nobody is answered */
        {"tick", 86411000, "clock 6000"},
        {"clock", 86411000, "append 5..5 t1"},
        {"persisted 5", 86411000, "apply 5..5"},
        {"applied 5", 86411000, ""},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(a_clock_entry_adds_at_most_two_intervals)
{
    init(1, 1, 1, 1, 0);
    play((const struct line[]){
        {"start", 0, ""},
        {"tick", 3600000, "clock 10000"},
        {"clock", 3600000, "append 2..2 t1"},
        {"full 1", 3600000, ""}, /* no room: this time is lost, not gathered */
        {"tick", 3604999, ""},
        {"tick", 3605000, "clock 5000"},
        {NULL, 0, NULL},
    });
}
END_TEST

START_TEST(a_node_alone_wakes_for_the_clock_only)
{
    init(1, 1, 1, 1, 1000);
    ck_assert_uint_eq(cs_deadline_ms(cs), UINT64_MAX);
    play((const struct line[]){{"start", 1000, ""}, {NULL, 0, NULL}});
    ck_assert_uint_eq(cs_deadline_ms(cs), 6000);
    play((const struct line[]){{"tick", 6100, "clock 5100"}, {NULL, 0, NULL}});
    ck_assert_uint_eq(cs_deadline_ms(cs), UINT64_MAX);
    play((const struct line[]){{"clock", 6100, "append 2..2 t1"},
                               {"persisted 2", 6100, "apply 2..2"},
                               {"applied 2", 6200, ""},
                               {NULL, 0, NULL}});
    ck_assert_uint_eq(cs_deadline_ms(cs), 11100);
    ck_assert_uint_eq(cs_applied(cs), 2);
}
END_TEST

START_TEST(at_the_limit_of_proposals_more_are_refused_and_the_first_ones_kept)
{
    init(1, 1, 1, 1, 0);
    step((struct cs_event){.type = CS_EV_START, .log = &disk});
    for (uint64_t i = 0; i < LIMIT_PROPOSALS; i += LIMIT_CONTROL_BATCH) {
        propose(0, i, LIMIT_CONTROL_BATCH);
        ck_assert_uint_eq(up.entry_count, LIMIT_CONTROL_BATCH);
        ck_assert_uint_eq(up.answer_count, 0);
    }
    propose(0, 5000, 1);
    ck_assert_str_eq(describe(), "5000:full@0");
    for (uint64_t i = 1; i <= LIMIT_PROPOSALS / LIMIT_CONTROL_BATCH; i++)
        step((struct cs_event){.type = CS_EV_PERSISTED, .index = 1 + i * LIMIT_CONTROL_BATCH});
    step((struct cs_event){.type = CS_EV_APPLIED, .index = 257});
    ck_assert_uint_eq(up.answer_count, 256);
    ck_assert_uint_eq(up.answers[255].req_id, 255);
    ck_assert_uint_eq(up.apply_from, 258);
    propose(0, 6000, 1);
    ck_assert_str_eq(describe(), "append 1026..1026 t1");
}
END_TEST

START_TEST(a_long_replay_comes_in_batches)
{
    init(600, 1, 1, 0, 0);
    play((const struct line[]){{"start", 0, "apply 1..256"},
                               {"applied 256", 0, "apply 257..512"},
                               {"applied 512", 0, "apply 513..600"},
                               {"applied 600", 0, ""},
                               {NULL, 0, NULL}});
}
END_TEST

START_TEST(the_log_is_shortened_below_what_is_applied)
{
    init(9, 1, 1, 9, 0);
    play((const struct line[]){{"start", 0, ""},
                               {"compact 8", 0, "compact 8 upto 6"},
                               {"compact 8", 0, ""},
                               {"compact 9", 0, "compact 9 upto 7"},
                               {NULL, 0, NULL}});
    ck_assert_uint_eq(cs_snapshot(cs)->index, 9);
    ck_assert_uint_eq(cs_snapshot(cs)->members_index, 1);
}
END_TEST

START_TEST(a_log_that_makes_no_sense_does_not_start)
{
    init(3, 1, 1, 3, 0);
    entries[0].kind = RAFTWIRE_COMMAND;
    play((const struct line[]){{"start", 0, "failed"}, {NULL, 0, NULL}});
    init(3, 2, 1, 3, 0);
    entries[2].term = 1; /* terms never go back */
    play((const struct line[]){{"start", 0, "failed"}, {NULL, 0, NULL}});
    init(3, 2, 1, 3, 0);
    disk.first = 2; /* and what was before? */
    play((const struct line[]){{"start", 0, "failed"}, {NULL, 0, NULL}});
    init(3, 2, 1, 3, 0);
    members_bytes[1] = 9;
    play((const struct line[]){{"start", 0, "failed"}, {NULL, 0, NULL}});
}
END_TEST

/* --- three --- */

static void receive(uint64_t now, struct raftwire_message m)
{
    step((struct cs_event){.type = CS_EV_RECEIVE, .boot_now_ms = now, .message = &m});
}

static struct raftwire_message vote_result(uint64_t peer, uint64_t term, uint8_t version,
                                           bool pre_vote)
{
    return (struct raftwire_message){.kind = RAFTWIRE_VOTE_RESULT,
                                     .peer = peer,
                                     .version = version,
                                     .term = term,
                                     .vote_result = {.granted = true, .pre_vote = pre_vote}};
}

/* A candidate that has won its pre-vote; its term is 2. */
static void become_candidate(uint64_t now)
{
    init(3, 1, 3, 3, 0);
    play((const struct line[]){{"start", 0, ""}, {NULL, 0, NULL}});
    step((struct cs_event){.type = CS_EV_TICK, .boot_now_ms = now});
    ck_assert_str_eq(describe(), "prevote>2 t2 | prevote>3 t2");
    receive(now, vote_result(2, 2, 2, true));
    ck_assert_str_eq(describe(), "term=2 vote=1 | vote>2 t2 | vote>3 t2");
}

START_TEST(an_election_is_asked_for_before_it_is_held_and_begins_with_a_barrier)
{
    become_candidate(3000);
    receive(3000, vote_result(3, 2, 2, false));
    ck_assert_str_eq(describe(), "append>2 3+1 | append>3 3+1 | append 4..4 t2");
    ck_assert_int_eq(up.entries[0].kind, RAFTWIRE_BARRIER);
    ck_assert(up.led_changed && cs_leads(cs));
    ck_assert_uint_eq(cs_term_start(cs), 4);
}
END_TEST

/* The engine tells them apart by the version alone. */
START_TEST(a_late_yes_to_the_question_is_no_vote)
{
    become_candidate(3000);
    receive(3000, vote_result(3, 2, 2, true));
    ck_assert_str_eq(describe(), "");
    ck_assert(!cs_leads(cs));
    receive(3000, vote_result(3, 2, 1, true)); /* a transport that loses the version */
    ck_assert(cs_leads(cs));
}
END_TEST

START_TEST(a_node_that_is_refused_a_pre_vote_learns_the_higher_term)
{
    become_candidate(3000);
    receive(3000, (struct raftwire_message){.kind = RAFTWIRE_VOTE,
                                            .peer = 3,
                                            .version = 2,
                                            .term = 1,
                                            .vote = {3, 1, false, true}});
    ck_assert_str_eq(describe(), "no>3 t2 v2"); /* the engine would say t1 */
}
END_TEST

static struct raftwire_message append_of(uint64_t peer, uint64_t term, uint64_t prev,
                                         uint64_t prev_term, uint64_t commit,
                                         const struct raftwire_entry *list, uint32_t count)
{
    return (struct raftwire_message){.kind = RAFTWIRE_APPEND,
                                     .peer = peer,
                                     .term = term,
                                     .append = {prev, prev_term, commit, list, count}};
}

START_TEST(a_follower_acknowledges_what_is_on_its_disk_and_applies_what_is_decided)
{
    const struct raftwire_entry two[] = {{2, RAFTWIRE_BARRIER, STR("12345678")},
                                         {2, RAFTWIRE_COMMAND, STR("x")}};

    init(3, 1, 3, 3, 0);
    play((const struct line[]){{"start", 0, ""}, {NULL, 0, NULL}});
    receive(10, append_of(2, 2, 3, 1, 5, two, 2));
    ck_assert_str_eq(describe(), "term=2 vote=0 | append 4..5 t2");
    ck_assert_uint_eq(cs_leader(cs), 2);
    play((const struct line[]){{"propose 1 1", 10, "1:not_leader@0"},
                               {"persisted 5", 10, "have>2 5 | apply 4..5"},
                               {"applied 5", 10, ""},
                               {NULL, 0, NULL}});
    /* a new leader has something else at 6 */
    receive(20, append_of(2, 2, 5, 2, 5, &two[1], 1));
    ck_assert_str_eq(describe(), "append 6..6 t2");
    receive(30, append_of(3, 3, 5, 2, 5,
                          &(struct raftwire_entry){3, RAFTWIRE_BARRIER, STR("12345678")}, 1));
    ck_assert_str_eq(describe(), "term=3 vote=0 | append 6..6 t3");
    play((const struct line[]){{"persisted 6", 40, ""}, /* the one that was replaced */
                               {"persisted 6", 40, "have>3 6"},
                               {NULL, 0, NULL}});
}
END_TEST

START_TEST(an_append_that_makes_no_sense_is_refused_and_changes_nothing)
{
    const struct raftwire_entry members[] = {{2, RAFTWIRE_COMMAND, STR("x")},
                                             {2, RAFTWIRE_MEMBERS, STR("x")}};
    const struct raftwire_entry back[] = {{2, RAFTWIRE_COMMAND, STR("x")},
                                          {1, RAFTWIRE_COMMAND, STR("x")}};

    init(3, 1, 3, 3, 0);
    play((const struct line[]){{"start", 0, ""}, {NULL, 0, NULL}});
    receive(1, append_of(2, 2, 3, 1, 3, members, 2)); /* members not first */
    ck_assert_str_eq(describe(), "refused");
    receive(1, append_of(2, 2, 3, 1, 3, &members[1], 1)); /* and none at all */
    ck_assert_str_eq(describe(), "refused");
    receive(1, append_of(2, 2, 3, 1, 3, back, 2));
    ck_assert_str_eq(describe(), "refused");
    receive(1, append_of(2, 1, 3, 1, 3, members, 1)); /* from a term that is not yet */
    ck_assert_str_eq(describe(), "refused");
    receive(1, append_of(2, 2, 0, 1, 3, NULL, 0));
    ck_assert_str_eq(describe(), "refused");
    ck_assert_uint_eq(cs_last(cs), 3);
    ck_assert_uint_eq(cs_term(cs), 1);
}
END_TEST

START_TEST(a_leader_that_loses_the_lead_does_not_say_what_became_of_proposals)
{
    become_candidate(3000);
    receive(3000, vote_result(3, 2, 2, false));
    play((const struct line[]){
        {"propose 5 2", 3000, "append 5..6 t2"}, /* peers are asked what they have first */
        {NULL, 0, NULL}});
    receive(3001, append_of(3, 3, 3, 1, 3, NULL, 0));
    ck_assert_str_eq(describe(), "term=3 vote=0 | have>3 3 | 5:unknown@0 | 6:unknown@0");
}
END_TEST

START_TEST(members_come_back_from_their_bytes_and_nothing_else_does)
{
    struct cs_members m = {.count = 3}, back;
    uint8_t buf[RAFTWIRE_MEMBERS_BYTES];
    struct str bytes;

    m.list[0] = (struct cs_member){1, 1, CS_VOTER};
    m.list[1] = (struct cs_member){UINT64_MAX, UINT16_MAX, CS_SPARE};
    m.list[2] = (struct cs_member){77, 3, CS_STANDBY};
    bytes = cs_members_encode(&m, buf);
    ck_assert(cs_members_decode(bytes, &back));
    ck_assert_uint_eq(back.count, 3);
    ck_assert_uint_eq(back.list[1].id, UINT64_MAX);
    ck_assert_uint_eq(back.list[1].site, UINT16_MAX);
    ck_assert_int_eq(back.list[2].role, CS_STANDBY);
    for (size_t n = 0; n < bytes.n; n++)
        ck_assert(!cs_members_decode(str_head(bytes, n), &back));
    for (size_t i = 0; i < bytes.n; i++) {
        buf[i] ^= 0xff;
        if (cs_members_decode(bytes, &back)) /* an id changed to another one */
            ck_assert_uint_eq(back.count, 3);
        buf[i] ^= 0xff;
    }
    m.list[2].id = 1;
    ck_assert(!cs_members_decode(cs_members_encode(&m, buf), &back)); /* twice the same */
}
END_TEST

START_TEST(the_engine_is_not_older_than_the_one_it_was_made_for)
{
    ck_assert(cs_engine_fits());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("consensus");
    TCase *tc = tcase_create("consensus");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, a_proposal_is_answered_after_disk_and_apply);
    tcase_add_test(tc,
                   what_is_in_the_log_and_not_applied_is_applied_at_start_and_answers_nobody);
    tcase_add_test(tc, several_writes_may_be_under_way);
    tcase_add_test(tc, a_write_without_room_gives_its_indices_to_others);
    tcase_add_test(tc, a_stop_leaves_nobody_waiting);
    tcase_add_test(tc, the_clock_is_proposed_every_interval_and_never_counts_downtime);
    tcase_add_test(tc, a_clock_entry_adds_at_most_two_intervals);
    tcase_add_test(tc, a_node_alone_wakes_for_the_clock_only);
    tcase_add_test(tc, at_the_limit_of_proposals_more_are_refused_and_the_first_ones_kept);
    tcase_add_test(tc, a_long_replay_comes_in_batches);
    tcase_add_test(tc, the_log_is_shortened_below_what_is_applied);
    tcase_add_test(tc, a_log_that_makes_no_sense_does_not_start);
    tcase_add_test(tc, an_election_is_asked_for_before_it_is_held_and_begins_with_a_barrier);
    tcase_add_test(tc, a_late_yes_to_the_question_is_no_vote);
    tcase_add_test(tc, a_node_that_is_refused_a_pre_vote_learns_the_higher_term);
    tcase_add_test(tc, a_follower_acknowledges_what_is_on_its_disk_and_applies_what_is_decided);
    tcase_add_test(tc, an_append_that_makes_no_sense_is_refused_and_changes_nothing);
    tcase_add_test(tc, a_leader_that_loses_the_lead_does_not_say_what_became_of_proposals);
    tcase_add_test(tc, members_come_back_from_their_bytes_and_nothing_else_does);
    tcase_add_test(tc, the_engine_is_not_older_than_the_one_it_was_made_for);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
