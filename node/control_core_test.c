/* Three control planes in one process, on a network made of function calls: members come, go
 * and are replaced, proposals find the leader, a member that is far behind gets the state. */
#include "node/control_core_world.h"

/* --- tests --- */

START_TEST(a_first_member_is_joined_by_two)
{
    three();
    ck_assert_int_eq(get(leader(), setting("a", "1")).err, OK);
    ck_assert(holds(leader(), "a", "1"));
    digests_agree();
}
END_TEST

START_TEST(a_proposal_anywhere_is_answered_when_it_can_be_read_there)
{
    struct control_outcome first, again;

    three();
    for (int i = 0; i < 3; i++) {
        char name[16];

        snprintf(name, sizeof name, "s%d", i);
        first = get(&nodes[i], setting(name, "x"));
        ck_assert_int_eq(first.err, OK);
        ck_assert(holds(&nodes[i], name, "x"));
    }
    first =
        get(follower(), (struct command){.kind = COMMAND_DOMAIN_PUT,
                                         .domain_put = {.mode = DOMAIN_ADD,
                                                        .domain = {.name = STR("a.example"),
                                                                   .route.kind = ROUTE_MX}}});
    again =
        get(follower(), (struct command){.kind = COMMAND_DOMAIN_PUT,
                                         .domain_put = {.mode = DOMAIN_ADD,
                                                        .domain = {.name = STR("a.example"),
                                                                   .route.kind = ROUTE_MX}}});
    ck_assert_int_eq(first.err, OK);
    ck_assert_int_eq(again.err, E_EXISTS); /* its own node's state machine says so */
    ck_assert_str_eq(again.refused, "the domain exists");
    ck_assert_uint_gt(again.index, first.index);
}
END_TEST

START_TEST(a_forwarded_proposal_that_is_repeated_comes_into_the_log_once)
{
    struct command hold = {
        .kind = COMMAND_OPERATE,
        .operate = {.op = OPERATE_HOLD, .select = OPERATE_ALL, .cutoff_ms = 5}};
    struct control_counts n;
    uint64_t req;

    three();
    lose_kind = RAFTWIRE_FORWARD_ANSWER;
    req = ask(follower(), hold);
    control_core_flush(follower()->core, now);
    run(2500);
    ck_assert(!answers[req].came);
    lose_kind = 0;
    run(1500);
    ck_assert(answers[req].came);
    ck_assert_int_eq(answers[req].o.err, OK);
    ck_assert_int_eq(control_counts(control_core_state(leader()->core), &n), OK);
    ck_assert_uint_eq(n.operations, 1);
}
END_TEST

/* Frames of that kind (of appends, those with entries) that a node has on their way; *number:
 * of the last forwarded proposal. */
static int frames_of(struct node *n, enum raftwire_kind kind, uint64_t *number)
{
    int count = 0;

    for (uint32_t i = 0; i < packet_count; i++) {
        struct raftwire_frame f;
        struct arena a;

        arena_init(&a, 2 * MiB);
        if (packets[i].from == n &&
            raftwire_decode((struct str){packets[i].bytes, packets[i].n}, &a, &f) == OK &&
            f.kind == kind && (kind != RAFTWIRE_APPEND || f.message.append.count > 0)) {
            if (kind == RAFTWIRE_FORWARD)
                *number = f.forward.request;
            count++;
        }
        arena_reset(&a);
    }
    return count;
}

/* It would come back at once, for as long as the follower has not heard of the next leader; and
 * with frames that are doubled, ever more of them. */
START_TEST(who_says_that_it_does_not_lead_is_not_asked_again_at_once)
{
    static uint8_t buf[4096];
    struct raftwire_frame f = {.kind = RAFTWIRE_FORWARD_ANSWER};
    struct node *n, *l;
    struct str bytes;
    uint64_t req, number = 0;

    three();
    run(3000);
    n = follower();
    l = leader();
    req = ask(n, setting("a", "1"));
    control_core_flush(n->core, now);
    ck_assert_int_eq(frames_of(n, RAFTWIRE_FORWARD, &number), 1);
    f.site = l->id.site;
    f.to = n->id.incarnation;
    f.incarnation = l->id.incarnation;
    memcpy(f.cluster, cluster, sizeof cluster);
    f.forward_answer.outcome = RAFTWIRE_NOT_LEADER;
    f.forward_answer.request = number;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), OK);
    control_core_receive(n->core, l->id.site, l->id.incarnation, bytes, now);
    control_core_flush(n->core, now);
    ck_assert_int_eq(frames_of(n, RAFTWIRE_FORWARD, &number), 1);
    ck_assert_uint_le(control_core_deadline(n->core), now + 100);
    run(1000);
    ck_assert(answers[req].came && answers[req].o.err == OK);
}
END_TEST

START_TEST(forwarded_proposals_that_come_together_go_into_one_batch)
{
    struct node *f;
    uint64_t first;

    three();
    run(3000);
    f = follower();
    first = next_req;
    for (int i = 0; i < 50; i++)
        ask(f, setting("a", "1"));
    control_core_flush(f->core, now);
    ck_assert_int_eq(frames_of(leader(), RAFTWIRE_APPEND, NULL), 0);
    run(DELAY + 1);
    ck_assert_int_le(frames_of(leader(), RAFTWIRE_APPEND, NULL),
                     2); /* one for each of the others */
    ck_assert_int_ge(frames_of(leader(), RAFTWIRE_APPEND, NULL), 1);
    run(1000);
    for (uint64_t r = first; r < next_req; r++)
        ck_assert(answers[r].came && answers[r].o.err == OK);
}
END_TEST

START_TEST(when_the_leader_is_gone_another_leads_within_seconds)
{
    struct node *old, *next;
    uint64_t req;

    three();
    old = leader();
    old->deaf = true;
    req = ask(follower(), setting("late", "1")); /* waits, or is not known to have come in */
    control_core_flush(follower()->core, now);
    run(5000);
    next = leader();
    ck_assert_ptr_nonnull(next);
    ck_assert_ptr_ne(next, old);
    ck_assert(answers[req].came);
    ck_assert(answers[req].o.err == OK || answers[req].o.err == E_TIMEOUT);
    ck_assert_int_eq(get(follower(), setting("b", "2")).err, OK);
    ck_assert(!control_core_leads(old->core)); /* nobody answers it */
    old->deaf = false;
    run(3000);
    ck_assert(holds(old, "b", "2"));
    digests_agree();
}
END_TEST

START_TEST(without_a_majority_nothing_is_decided_and_every_asker_is_told)
{
    struct node *left;
    uint64_t req[2];

    three();
    left = follower();
    for (int i = 0; i < 3; i++)
        nodes[i].deaf = true;
    req[0] = ask(left, setting("a", "1"));
    control_core_flush(left->core, now);
    run(5000);
    req[1] = ask(left, setting("b", "1"));
    control_core_flush(left->core, now);
    run(CORE_LEADERLESS_MS + 1500);
    ck_assert(answers[req[0]].came && answers[req[1]].came);
    ck_assert_int_eq(answers[req[0]].o.err, E_TIMEOUT);  /* it may have reached the leader */
    ck_assert_int_eq(answers[req[1]].o.err, E_NOTOWNER); /* nobody leads */
    ck_assert(!holds(left, "a", "1"));
}
END_TEST

START_TEST(a_lossy_network_only_takes_longer)
{
    three();
    loss = 20;
    for (int i = 0; i < 60; i++) {
        char name[16];
        struct control_outcome o;

        snprintf(name, sizeof name, "s%d", i);
        o = get(&nodes[i % 3], setting(name, "x"));
        ck_assert(o.err == OK || o.err == E_TIMEOUT || o.err == E_NOTOWNER);
        if (o.err == OK)
            ck_assert(holds(&nodes[i % 3], name, "x"));
    }
    loss = 0;
    digests_agree();
}
END_TEST

static void propose_many(struct node *n, int count)
{
    uint64_t last = 0;

    for (int i = 0; i < count; i++) {
        char name[16];

        snprintf(name, sizeof name, "s%d", i % 900);
        last = ask(n, setting(name, i % 2 == 0 ? "even" : "odd"));
        if (i % 200 == 199) {
            control_core_flush(n->core, now);
            while (!answers[last].came)
                run(5);
            ck_assert_int_eq(answers[last].o.err, OK);
        }
    }
    run(100);
}

START_TEST(a_member_behind_the_log_gets_the_state_and_goes_on)
{
    struct control_core_status s;
    struct node *away;

    three();
    away = follower();
    away->deaf = true;
    propose_many(leader(), LIMIT_CONTROL_LOG_MOST + 400);
    run(1000);
    control_core_status(leader()->core, &s);
    ck_assert_uint_gt(s.first, 1000);
    loss = 5;
    away->deaf = false;
    run(20000);
    loss = 0;
    control_core_status(away->core, &s);
    ck_assert_uint_gt(s.first, 1000); /* not by the log */
    ck_assert(away->changed & CONTROL_CHANGED_MEMBERS);
    digests_agree();
    stop_node(away);
    open_node(away);
    digests_agree();
    ck_assert_int_eq(get(away, setting("last", "1")).err, OK);
    digests_agree();
}
END_TEST

START_TEST(a_new_member_of_an_old_log_gets_the_state)
{
    make_node(0, 1, 1, true);
    propose_many(&nodes[0], LIMIT_CONTROL_LOG_MOST + 400);
    join(1, 2);
    ck_assert_int_eq(get(&nodes[1], setting("a", "1")).err, OK);
    digests_agree();
}
END_TEST

START_TEST(a_wiped_node_comes_back_as_another_incarnation)
{
    uint64_t gone;

    three();
    gone = nodes[1].id.incarnation;
    stop_node(&nodes[1]);
    run(5000);
    join(3, 2);
    run(2000);
    ck_assert_uint_eq(voters(leader()), 3);
    ck_assert_int_eq(role_of(leader(), gone), (enum cs_role) - 1);
    ck_assert_int_eq(get(&nodes[3], setting("a", "1")).err, OK);
    digests_agree();
}
END_TEST

START_TEST(a_leader_hands_over_when_asked)
{
    struct node *old;

    three();
    old = leader();
    control_core_transfer(old->core, 0, now);
    run(500); /* no election timeout passes */
    ck_assert_ptr_nonnull(leader());
    ck_assert_ptr_ne(leader(), old);
    ck_assert_int_eq(get(old, setting("a", "1")).err, OK);
}
END_TEST

START_TEST(a_restart_of_all_keeps_everything)
{
    three();
    ck_assert_int_eq(get(follower(), setting("a", "1")).err, OK);
    run(500);
    for (int i = 0; i < 3; i++)
        stop_node(&nodes[i]);
    for (int i = 0; i < 3; i++)
        open_node(&nodes[i]);
    run(5000);
    ck_assert_ptr_nonnull(leader());
    ck_assert(holds(follower(), "a", "1"));
    ck_assert_int_eq(get(follower(), setting("b", "1")).err, OK);
    digests_agree();
}
END_TEST

/* The files of a node that does not run: kept, or put back. */
static void keep_log(const struct node *n, bool back)
{
    for (const char *const *sub = (const char *const[]){"log", "state", NULL}; *sub; sub++) {
        char is[160], old[160];

        snprintf(is, sizeof is, "%s/%s/data.mdb", n->dir, *sub);
        snprintf(old, sizeof old, "%s.%s", n->dir, *sub);
        copy_file(back ? old : is, back ? is : old);
        if (back)
            unlink(old);
    }
}

START_TEST(a_log_that_is_older_than_it_was_is_found_out)
{
    struct node *n;

    three();
    n = follower();
    stop_node(n);
    keep_log(n, false);
    open_node(n);
    run(3000);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(get(leader(), setting("a", "1")).err, OK);
    run(500);
    ck_assert(!n->fenced);
    stop_node(n);
    keep_log(n, true);
    open_node(n);
    run(60000);
    ck_assert(n->fenced);
    ck_assert_int_eq(n->why, E_CONFLICT);
    ck_assert_ptr_nonnull(leader()); /* the others go on */
}
END_TEST

static uint32_t slots_of(struct node *as_seen_by, uint16_t site)
{
    struct slot slots[CONTROL_SLOTS];
    uint32_t n = 0;

    ck_assert_int_eq(control_slots(control_core_state(as_seen_by->core), slots), OK);
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
        n += slots[i].site == site;
    return n;
}

static void fill(struct node *n)
{
    struct control_outcome o =
        get(n, (struct command){.kind = COMMAND_MEMBER_FILLED,
                                .member_filled = {n->id.site, n->id.incarnation}});

    ck_assert_int_eq(o.err, OK);
}

START_TEST(each_member_has_a_session_and_a_dead_ones_slots_are_taken)
{
    struct node *dead;
    uint32_t left = 0;

    three();
    fill(&nodes[1]);
    fill(&nodes[2]);
    run(5000);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_ne(control_core_session(nodes[i].core), 0);
        ck_assert_uint_gt(control_core_valid_until(nodes[i].core), now);
        ck_assert(nodes[i].changed & CONTROL_CHANGED_LEASE);
    }
    /* shares are given by whoever holds them, as soon as he says that no dot is open */
    for (int k = 0; k < 50; k++) {
        for (int i = 0; i < 3; i++)
            for (uint32_t slot = 0; slot < CONTROL_SLOTS; slot++) {
                struct slot s;

                if (control_core_is_leaving(nodes[i].core, slot) &&
                    control_slot(control_core_state(nodes[i].core), slot, &s) == OK)
                    control_core_quiet(nodes[i].core, slot, s.epoch, now);
            }
        run(100);
    }
    for (uint16_t site = 1; site <= 3; site++)
        ck_assert_uint_ge(slots_of(&nodes[0], site), 80);
    dead = leader();
    stop_node(dead);
    run(16000);
    for (int i = 0; i < 3; i++)
        if (&nodes[i] != dead)
            left += slots_of(leader(), nodes[i].id.site);
    ck_assert_uint_eq(left, CONTROL_SLOTS);
    ck_assert_uint_eq(slots_of(leader(), dead->id.site), 0);
}
END_TEST

START_TEST(a_node_that_leaves_gives_its_slots_at_once)
{
    three();
    fill(&nodes[1]);
    fill(&nodes[2]);
    run(2000);
    ck_assert_uint_gt(slots_of(&nodes[0], 1), 0);
    control_core_leave(nodes[0].core, now);
    run(500);
    control_core_quiet_all(nodes[0].core, now);
    run(1000);
    ck_assert(control_core_is_over(nodes[0].core));
    ck_assert_uint_eq(slots_of(&nodes[1], 1), 0);
}
END_TEST

/* The leader's key is one that a member does not know, for it was away: it shuts the leader
 * out, until the third has told. */
START_TEST(who_was_away_hears_of_keys_and_addresses_from_those_it_still_knows)
{
    const struct control_core_news *news;
    struct command c = {.kind = COMMAND_MEMBER_KEY};

    three();
    nodes[2].deaf = true;
    c.member_key = (struct member_key){
        .site = 2, .incarnation = nodes[1].id.incarnation, .key = {77}, .keep_old = true};
    control_core_transfer(leader()->core, nodes[1].id.incarnation, now);
    run(3000);
    ck_assert_ptr_eq(leader(), &nodes[1]);
    ck_assert_int_eq(get(&nodes[0], c).err, OK);
    stranger_of[0] = &nodes[1];
    stranger_of[1] = &nodes[2];
    nodes[2].deaf = false;
    nodes[2].changed = 0;
    run(2 * CORE_LONELY_MS + 100);
    news = control_core_news(nodes[2].core);
    ck_assert_uint_gt(news->index, control_applied(control_core_state(nodes[2].core)));
    ck_assert(nodes[2].changed & CONTROL_CHANGED_MEMBERS);
    ck_assert_uint_eq(news->count, 3);
    ck_assert_uint_eq(news->peers[1].site, 2);
    ck_assert_uint_eq(news->peers[1].incarnation, nodes[1].id.incarnation);
    ck_assert_uint_eq(news->peers[1].key[0], 77);
    ck_assert(news->peers[1].has_old_key);
    ck_assert_uint_eq(news->peers[1].old_key[0], 2);
    ck_assert(!news->peers[2].has_old_key);
    ck_assert_str_eq(news->peers[1].address, "192.0.2.1:7301");
    stranger_of[0] = NULL;
    run(5000);
    ck_assert_int_eq(get(&nodes[2], setting("a", "1")).err, OK);
    ck_assert_uint_ge(control_applied(control_core_state(nodes[2].core)), news->index);
}
END_TEST

static uint64_t bad_frames(struct node *n)
{
    struct control_core_status s;

    control_core_status(n->core, &s);
    return s.bad_frames;
}

/* A frame as node 2 would send it to node 1, with something wrong. */
static void send_wrong(int what)
{
    static uint8_t buf[4096];
    struct raftwire_frame f = {.site = 2,
                               .incarnation = nodes[1].id.incarnation,
                               .to = nodes[0].id.incarnation,
                               .kind = RAFTWIRE_VOTE};
    struct str bytes;

    memcpy(f.cluster, cluster, sizeof cluster);
    f.message = (struct raftwire_message){.kind = RAFTWIRE_VOTE, .version = 2, .term = 1000};
    f.message.vote.disrupt_leader = true;
    if (what == 0)
        f.cluster[0] ^= 1;
    if (what == 1)
        f.site = 3;
    if (what == 2)
        f.incarnation = nodes[2].id.incarnation;
    if (what == 3)
        f.to = 12345;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), OK);
    if (what == 4)
        buf[9] ^= 1;
    control_core_receive(nodes[0].core, 2, nodes[1].id.incarnation, bytes, now);
}

START_TEST(a_frame_that_is_not_what_it_says_is_dropped_and_counted)
{
    struct control_core_status s;
    uint64_t before;

    three();
    before = bad_frames(&nodes[0]);
    for (int what = 0; what <= 4; what++)
        send_wrong(what);
    ck_assert_uint_eq(bad_frames(&nodes[0]), before + 4); /* one was for somebody else */
    control_core_status(nodes[0].core, &s);
    ck_assert_uint_lt(s.term, 1000);
    ck_assert_int_eq(nodes[0].cuts, 0);
    for (int i = 0; i < LIMIT_BAD_FRAMES; i++)
        send_wrong(0);
    ck_assert_int_eq(nodes[0].cuts, 1);
}
END_TEST

START_TEST(a_member_of_another_format_is_not_heard)
{
    static uint8_t buf[4096];
    struct raftwire_frame f = {.site = 2, .to = 1, .kind = RAFTWIRE_HELLO};
    struct str bytes;
    struct control_core_status s;

    three();
    memcpy(f.cluster, cluster, sizeof cluster);
    f.incarnation = nodes[1].id.incarnation;
    f.hello.format = RAFTWIRE_FORMAT + 1;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), OK);
    nodes[1].deaf = true;
    control_core_receive(nodes[0].core, 2, nodes[1].id.incarnation, bytes, now);
    control_core_status(nodes[0].core, &s);
    f.kind = RAFTWIRE_VOTE;
    f.message = (struct raftwire_message){.kind = RAFTWIRE_VOTE, .version = 2, .term = 1000};
    f.message.vote.disrupt_leader = true;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), OK);
    control_core_receive(nodes[0].core, 2, nodes[1].id.incarnation, bytes, now);
    control_core_status(nodes[0].core, &s);
    ck_assert_uint_lt(s.term, 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control_core");
    TCase *tc = tcase_create("control_core");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_first_member_is_joined_by_two);
    tcase_add_test(tc, a_proposal_anywhere_is_answered_when_it_can_be_read_there);
    tcase_add_test(tc, a_forwarded_proposal_that_is_repeated_comes_into_the_log_once);
    tcase_add_test(tc, forwarded_proposals_that_come_together_go_into_one_batch);
    tcase_add_test(tc, who_says_that_it_does_not_lead_is_not_asked_again_at_once);
    tcase_add_test(tc, when_the_leader_is_gone_another_leads_within_seconds);
    tcase_add_test(tc, without_a_majority_nothing_is_decided_and_every_asker_is_told);
    tcase_add_test(tc, a_lossy_network_only_takes_longer);
    tcase_add_test(tc, a_member_behind_the_log_gets_the_state_and_goes_on);
    tcase_add_test(tc, a_new_member_of_an_old_log_gets_the_state);
    tcase_add_test(tc, a_wiped_node_comes_back_as_another_incarnation);
    tcase_add_test(tc, a_leader_hands_over_when_asked);
    tcase_add_test(tc, a_restart_of_all_keeps_everything);
    tcase_add_test(tc, a_log_that_is_older_than_it_was_is_found_out);
    tcase_add_test(tc, each_member_has_a_session_and_a_dead_ones_slots_are_taken);
    tcase_add_test(tc, a_node_that_leaves_gives_its_slots_at_once);
    tcase_add_test(tc, who_was_away_hears_of_keys_and_addresses_from_those_it_still_knows);
    tcase_add_test(tc, a_frame_that_is_not_what_it_says_is_dropped_and_counted);
    tcase_add_test(tc, a_member_of_another_format_is_not_heard);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
