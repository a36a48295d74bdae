/* A small cluster of leases: clocks that drift, nodes that stop, leaders that do not know they
 * are deposed, proposals that come late or twice or never. Never two holders of a slot by the
 * clock; every slot is taken within the time promised; what is asked for is given at once. */
#include "replication/lease.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "replication/lease_world.h"

#define LOG     40000
#define FLIGHTS 4096
#define STEP_MS 10

/* --- the world --- */

struct entry {
    struct command c;
    struct slot_ref *refs; /* of a release */
    uint16_t from;
};

struct flight {
    bool used;
    uint64_t at;
    struct entry *e;
};

struct node {
    struct lease *l;
    struct state s;
    double rate;     /* of its clock */
    uint64_t offset; /* of its clock */
    bool is_down, is_paused;
    bool thinks_it_leads;
    uint64_t term_start;
    uint64_t lag;      /* ms between a commit and its apply here, at most */
    uint64_t apply_at; /* next one not before */
    uint64_t shell_at; /* looks again */
    uint64_t dots_ms;  /* to finish what a slot has under way */
    uint64_t quiet_at[LEASE_SLOTS], quiet_epoch[LEASE_SLOTS];
    bool is_quiet[LEASE_SLOTS];
};

static struct entry *entries[LOG];
static uint64_t committed;
static struct flight flights[FLIGHTS];
static struct node nodes[NODES];
static struct prng rnd;
static uint64_t t; /* true time */
static uint16_t leader;
static unsigned loss, twice; /* percent */
static uint64_t delay;       /* of a proposal, at most */
static uint32_t d_ms = 10000, renew_ms = 3000;

static uint64_t clock_of(const struct node *n)
{
    return n->offset + (uint64_t)((double)t * n->rate);
}

static void commit(struct entry *e)
{
    ck_assert_uint_lt(committed, LOG);
    entries[committed++] = e;
}

static struct entry *entry_of(const struct command *c, uint16_t from)
{
    struct entry *e = calloc(1, sizeof *e);

    ck_assert_ptr_nonnull(e);
    e->c = *c;
    e->from = from;
    if (c->kind == COMMAND_SLOT_RELEASE) {
        e->refs = calloc(c->slot_release.count, sizeof *e->refs);
        ck_assert_ptr_nonnull(e->refs);
        memcpy(e->refs, c->slot_release.slots, c->slot_release.count * sizeof *e->refs);
        e->c.slot_release.slots = e->refs;
    }
    ck_assert_ptr_null(command_check(&e->c));
    return e;
}

static void fly(const struct command *c, uint16_t from, uint64_t ms)
{
    for (int i = 0; i < FLIGHTS; i++) {
        if (!flights[i].used) {
            flights[i] = (struct flight){true, t + ms, entry_of(c, from)};
            return;
        }
    }
    ck_abort_msg("too many proposals");
}

static void propose(uint16_t site, const struct command *c)
{
    if (prng_below(&rnd, 100) < loss) { /* at times it is told, at times not */
        if (prng_below(&rnd, 2) == 0)
            lease_failed(nodes[site - 1].l, c->kind, clock_of(&nodes[site - 1]));
        return;
    }
    fly(c, site, delay == 0 ? 0 : prng_below(&rnd, delay));
    if (prng_below(&rnd, 100) < twice)
        fly(c, site, delay == 0 ? 0 : prng_below(&rnd, 3 * delay));
}

static void start(uint16_t site)
{
    struct node *n = &nodes[site - 1];

    n->l = lease_new(&(struct lease_options){.site = site,
                                             .incarnation = site,
                                             .duration_ms = d_ms,
                                             .renew_ms = renew_ms,
                                             .nonce = prng_next(&rnd) | 1});
    n->is_down = n->is_paused = n->thinks_it_leads = false;
    memset(n->is_quiet, 0, sizeof n->is_quiet);
    memset(n->quiet_epoch, 0, sizeof n->quiet_epoch);
}

static void kill_node(uint16_t site)
{
    nodes[site - 1].is_down = true;
    lease_free(&nodes[site - 1].l);
    if (leader == site)
        leader = 0;
}

static void world(uint64_t seed)
{
    prng_seed(&rnd, seed);
    t = 1;
    committed = 0;
    leader = 0;
    loss = twice = 0;
    delay = 30;
    d_ms = 10000;
    renew_ms = 3000;
    memset(flights, 0, sizeof flights);
    memset(nodes, 0, sizeof nodes);
    for (uint16_t site = 1; site <= NODES; site++) {
        struct node *n = &nodes[site - 1];

        for (int i = 0; i < NODES; i++)
            n->s.members[i] = (struct lease_member){
                .site = (uint16_t)(i + 1), .incarnation = (uint64_t)i + 1, .may_hold = true};
        n->rate = 1.0;
        n->offset = prng_below(&rnd, 1000000);
        n->lag = 20;
        start(site);
    }
}

static void drop(struct entry *e)
{
    free(e->refs);
    free(e);
}

static void end_world(void)
{
    for (uint16_t site = 1; site <= NODES; site++)
        lease_free(&nodes[site - 1].l);
    for (uint64_t i = 0; i < committed; i++)
        drop(entries[i]);
    for (int i = 0; i < FLIGHTS; i++)
        if (flights[i].used)
            drop(flights[i].e);
}

/* A new leader has all that is committed; the one before does not know yet. */
static void elect(uint16_t site)
{
    leader = site;
    commit(entry_of(&(struct command){.kind = COMMAND_CLOCK, .clock = {1}}, 0));
    nodes[site - 1].thinks_it_leads = true;
    nodes[site - 1].term_start = committed;
}

static void land(void)
{
    for (int i = 0; i < FLIGHTS; i++) {
        if (!flights[i].used || flights[i].at > t)
            continue;
        if (leader == 0) {
            flights[i].at = t + 100; /* forwarded to whoever leads then */
            continue;
        }
        flights[i].used = false;
        commit(flights[i].e);
    }
}

/* The shell: dots of a slot that leaves end after a while. */
static void shell(struct node *n)
{
    uint16_t own = (uint16_t)(n - nodes + 1);

    for (uint32_t i = 0; i < LEASE_SLOTS; i++) {
        const struct slot_state *s = &n->s.slots[i];

        if (s->site != own || !lease_is_leaving(n->l, i)) {
            n->quiet_epoch[i] = 0;
            n->is_quiet[i] = false;
            continue;
        }
        if (n->quiet_epoch[i] != s->epoch) {
            n->quiet_epoch[i] = s->epoch;
            n->is_quiet[i] = false;
            n->quiet_at[i] = t + (n->dots_ms == 0 ? 0 : prng_below(&rnd, n->dots_ms));
        }
        if (!n->is_quiet[i] && t >= n->quiet_at[i]) {
            n->is_quiet[i] = true;
            lease_quiet(n->l, i, s->epoch);
        }
    }
}

static void run_node(uint16_t site)
{
    struct node *n = &nodes[site - 1];
    struct lease_want out;
    struct lease_state view = {
        .members = n->s.members, .member_count = NODES, .slots = n->s.slots};
    bool applied = false;

    if (n->is_down || n->is_paused)
        return;
    if (lease_deadline(n->l) > clock_of(n) && n->s.applied == committed && t < n->shell_at)
        return;
    while (n->s.applied < committed && (t >= n->apply_at || leader == site)) {
        const struct entry *e = entries[n->s.applied];

        if (!apply(&n->s, &e->c) && e->from == site)
            lease_failed(n->l, e->c.kind, clock_of(n));
        n->apply_at = t + prng_below(&rnd, n->lag + 1);
        applied = true;
    }
    if (n->thinks_it_leads && leader != site && leader != 0 &&
        n->s.applied >= nodes[leader - 1].term_start)
        n->thinks_it_leads = false;
    view.applied = n->s.applied;
    shell(n);
    n->shell_at = t + 50;
    if (!applied && lease_deadline(n->l) > clock_of(n))
        return;
    lease_step(n->l, &view, n->thinks_it_leads, n->term_start, clock_of(n), &out);
    for (uint32_t i = 0; i < out.count; i++)
        propose(site, &out.commands[i]);
    shell(n);
}

/* Whether a node would begin, or still has, a delivery in a slot. */
static bool delivers(const struct node *n, uint32_t slot)
{
    uint16_t own = (uint16_t)(n - nodes + 1);

    return !n->is_down && n->s.slots[slot].site == own && !n->is_quiet[slot] &&
           lease_session(n->l) == n->s.members[own - 1].session &&
           lease_valid_until(n->l) > clock_of(n);
}

static void check(void)
{
    for (uint32_t slot = 0; slot < LEASE_SLOTS; slot += 17) {
        int holders = 0;

        for (int i = 0; i < NODES; i++)
            holders += delivers(&nodes[i], slot);
        ck_assert_msg(holders <= 1, "slot %u has %d holders at %lu", slot, holders,
                      (unsigned long)t);
    }
}

static void run(uint64_t ms)
{
    for (uint64_t end = t + ms; t < end; t += STEP_MS) {
        land();
        for (uint16_t site = 1; site <= NODES; site++)
            run_node(site);
        check();
    }
}

static uint32_t delivered_by(uint16_t site)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        n += delivers(&nodes[site - 1], i);
    return n;
}

static void even(uint32_t seconds)
{
    elect(1);
    run(1000 * seconds);
    ck_assert_uint_ge(delivered_by(1), 85);
    ck_assert_uint_ge(delivered_by(2), 85);
    ck_assert_uint_ge(delivered_by(3), 85);
}

/* Until two sites deliver all slots between them; how long it took. */
static uint64_t until_taken(uint16_t a, uint16_t b)
{
    uint64_t from = t;

    while (delivered_by(a) + delivered_by(b) < LEASE_SLOTS) {
        run(STEP_MS);
        ck_assert_msg(t - from < 60000, "not within a minute");
    }
    return t - from;
}

/* --- sessions --- */

START_TEST(all_sessions_open_and_slots_are_shared_out)
{
    world((uint64_t)_i + 1);
    even(15);
    end_world();
}
END_TEST

START_TEST(a_session_is_valid_only_once_its_opening_is_seen_applied)
{
    struct lease_member m = {.site = 1, .incarnation = 1, .may_hold = true};
    struct slot_state slots[LEASE_SLOTS] = {{.site = 1, .epoch = 3}};
    struct lease_state s = {.applied = 1, .members = &m, .member_count = 1, .slots = slots};
    struct lease_want out;
    struct lease *l = lease_new(&(struct lease_options){1, 1, 10000, 3000, 77});

    lease_step(l, &s, false, 0, 1000, &out);
    ck_assert_uint_eq(out.count, 1);
    ck_assert_int_eq(out.commands[0].kind, COMMAND_SESSION_OPEN);
    ck_assert_uint_eq(out.commands[0].session_open.nonce, 77);
    ck_assert_uint_eq(out.commands[0].session_open.after, 0);
    ck_assert_uint_eq(lease_valid_until(l), 0);
    ck_assert_uint_eq(lease_deadline(l), 1000 + LEASE_RETRY_MS);
    lease_step(l, &s, false, 0, 1500, &out); /* patience */
    ck_assert_uint_eq(out.count, 0);
    lease_failed(l, COMMAND_SESSION_OPEN, 1600);
    lease_step(l, &s, false, 0, 1850, &out);
    ck_assert_uint_eq(out.count, 1);
    /* an old process's session is not ours */
    m.session = m.renewal_index = 2;
    m.session_nonce = 76;
    m.duration_ms = 10000;
    lease_step(l, &s, false, 0, 1900, &out);
    ck_assert_uint_eq(lease_session(l), 0);
    lease_step(l, &s, false, 0, 1900 + LEASE_RETRY_MS, &out);
    ck_assert_uint_eq(out.count, 1);
    ck_assert_uint_eq(out.commands[0].session_open.after, 2); /* the one it takes over from */
    /* ours counts from before it was first proposed */
    m.session = m.renewal_index = 3;
    m.session_nonce = 77;
    lease_step(l, &s, false, 0, 3000, &out);
    ck_assert_uint_eq(lease_session(l), 3);
    ck_assert_uint_eq(lease_valid_until(l), 1000 + 9900 - LEASE_GUARD_MS);
    lease_free(&l);
    ck_assert_ptr_null(l);
}
END_TEST

START_TEST(a_renewal_counts_from_its_own_proposal_however_late_it_comes)
{
    struct lease_member m = {.site = 1, .incarnation = 1, .may_hold = true};
    struct slot_state slots[LEASE_SLOTS] = {{.site = 1, .epoch = 3}};
    struct lease_state s = {.applied = 1, .members = &m, .member_count = 1, .slots = slots};
    struct lease_want out;
    struct lease *l = lease_new(&(struct lease_options){1, 1, 10000, 3000, 77});

    lease_step(l, &s, false, 0, 0, &out);
    m.session = m.renewal_index = 3;
    m.session_nonce = 77;
    m.duration_ms = 10000;
    for (uint64_t now = 1000; now <= 9000; now += 1000)
        lease_step(l, &s, false, 0, now, &out); /* proposed at 3000, 6000, 9000 */
    ck_assert_int_eq(out.commands[0].kind, COMMAND_SESSION_RENEW);
    ck_assert_uint_eq(out.commands[0].session_renew.seq, 3);
    m.renewal_seq = 1;
    m.renewal_index = 10;
    lease_step(l, &s, false, 0, 9100, &out);
    ck_assert_uint_eq(lease_valid_until(l), 3000 + 9650);
    m.renewal_seq = 3;
    lease_step(l, &s, false, 0, 9200, &out);
    ck_assert_uint_eq(lease_valid_until(l), 9000 + 9650);
    m.renewal_seq = 2; /* overtaken by the third */
    lease_step(l, &s, false, 0, 9300, &out);
    ck_assert_uint_eq(lease_valid_until(l), 9000 + 9650);
    m.renewal_seq = 99; /* none that we proposed */
    lease_step(l, &s, false, 0, 9400, &out);
    ck_assert_uint_eq(lease_valid_until(l), 9000 + 9650);
    lease_free(&l);
}
END_TEST

START_TEST(a_session_that_ended_is_not_valid_and_is_opened_anew)
{
    world(3);
    even(15);
    ck_assert_uint_eq(nodes[1].s.members[1].session, lease_session(nodes[1].l));
    nodes[1].is_paused = true;
    run(12000);
    ck_assert_uint_eq(delivered_by(1) + delivered_by(3), LEASE_SLOTS);
    nodes[1].is_paused = false;
    run(STEP_MS);
    ck_assert_uint_eq(delivered_by(2), 0);
    run(1000);
    ck_assert_uint_ne(lease_session(nodes[1].l), 0);
    ck_assert_uint_gt(lease_valid_until(nodes[1].l), clock_of(&nodes[1]));
    run(12000); /* and it gets its share again */
    ck_assert_uint_ge(delivered_by(2), 85);
    end_world();
}
END_TEST

START_TEST(a_node_that_is_no_member_asks_for_nothing)
{
    struct lease_member m = {.site = 1, .incarnation = 2, .may_hold = true};
    struct slot_state slots[LEASE_SLOTS] = {{.site = 1, .epoch = 3}};
    struct lease_state s = {.applied = 1, .members = &m, .member_count = 1, .slots = slots};
    struct lease_want out;
    struct lease *l = lease_new(&(struct lease_options){1, 1, 10000, 3000, 77});

    lease_step(l, &s, false, 0, 1000, &out);
    ck_assert_uint_eq(out.count, 0);
    s.member_count = 0;
    lease_step(l, &s, true, 1, 1000, &out);
    ck_assert_uint_eq(out.count, 0);
    lease_free(&l);
}
END_TEST

/* --- taking --- */

static const struct {
    uint32_t d, renew;
    uint64_t follower, leader, election;
} times[] = {{10000, 3000, 10500, 14000, 3500}, {6000, 2000, 6500, 9000, 2200}};

START_TEST(the_slots_of_a_dead_follower_are_taken_in_time)
{
    uint64_t took;

    world((uint64_t)_i + 1);
    d_ms = times[_i % 2].d;
    renew_ms = times[_i % 2].renew;
    for (uint16_t site = 1; site <= NODES; site++) {
        lease_free(&nodes[site - 1].l);
        start(site);
        nodes[site - 1].rate = site == 1 ? 0.9995 : 1.0005; /* what ntp leaves */
    }
    even(15 + (uint32_t)prng_below(&rnd, 10));
    run(10 * prng_below(&rnd, 300));
    kill_node(2);
    took = until_taken(1, 3);
    ck_assert_msg(took <= times[_i % 2].follower, "%lu ms", (unsigned long)took);
    end_world();
}
END_TEST

START_TEST(the_slots_of_a_dead_leader_are_taken_in_time_after_the_election)
{
    uint64_t took;

    world((uint64_t)_i + 1);
    d_ms = times[_i % 2].d;
    renew_ms = times[_i % 2].renew;
    for (uint16_t site = 1; site <= NODES; site++) {
        lease_free(&nodes[site - 1].l);
        start(site);
    }
    even(15);
    run(10 * prng_below(&rnd, 300));
    kill_node(1);
    run(times[_i % 2].election);
    elect(3);
    took = until_taken(2, 3) + times[_i % 2].election;
    ck_assert_msg(took <= times[_i % 2].leader, "%lu ms", (unsigned long)took);
    end_world();
}
END_TEST

START_TEST(a_node_that_comes_back_in_time_loses_nothing)
{
    uint64_t before;

    world(4);
    even(20);
    before = committed;
    for (uint64_t i = 0; i < 40; i++) {
        uint16_t site = (uint16_t)(1 + i % NODES);

        if (site == leader)
            continue;
        nodes[site - 1].is_paused = true;
        run(4000);
        nodes[site - 1].is_paused = false;
        run(3500);
    }
    for (uint64_t i = before; i < committed; i++)
        ck_assert_int_ne(entries[i]->c.kind, COMMAND_SESSION_END);
    end_world();
}
END_TEST

START_TEST(a_new_leader_and_one_that_was_stopped_count_anew)
{
    uint64_t before;

    world(5);
    even(20);
    before = committed;
    leader = 0; /* for longer than any session lasts nobody can renew */
    nodes[0].thinks_it_leads = false;
    run(12000);
    elect(3);
    run(9000);
    for (uint16_t site = 1; site <= NODES; site++)
        nodes[site - 1].is_paused = true; /* all at once: one host suspended */
    run(30000);
    for (uint16_t site = 1; site <= NODES; site++)
        nodes[site - 1].is_paused = false;
    run(9000);
    for (uint64_t i = before; i < committed; i++)
        ck_assert_int_ne(entries[i]->c.kind, COMMAND_SESSION_END);
    ck_assert_uint_eq(delivered_by(1) + delivered_by(2) + delivered_by(3), LEASE_SLOTS);
    end_world();
}
END_TEST

START_TEST(a_take_over_that_comes_late_is_defeated)
{
    struct state before;
    uint64_t renewed;

    world(6);
    even(20);
    renewed = nodes[0].s.members[1].renewal_index;
    run(4000);
    before = nodes[0].s;
    ck_assert_uint_ne(before.members[1].renewal_index, renewed);
    commit(entry_of(&(struct command){.kind = COMMAND_SESSION_END,
                                      .session_end = {2, before.members[1].session, renewed}},
                    1));
    run(500);
    ck_assert(!nodes[0].s.members[1].session_ended);
    ck_assert_uint_ge(delivered_by(2), 85);
    end_world();
}
END_TEST

/* --- giving --- */

static void drain(uint16_t site, bool on)
{
    commit(entry_of(&(struct command){.kind = COMMAND_DRAIN, .drain = {site, on}}, 0));
}

START_TEST(a_draining_node_hands_over_at_once)
{
    world((uint64_t)_i + 1);
    even(15);
    if (_i % 2 == 0)
        drain(2, true); /* an operator's word, in the log */
    else
        lease_drain(nodes[1].l, true);
    ck_assert_uint_le(until_taken(1, 3), 300);
    run(5000);
    ck_assert_uint_ne(lease_session(nodes[1].l), 0);
    drain(2, false);
    lease_drain(nodes[1].l, false);
    run(1000);
    ck_assert_uint_eq(delivered_by(1) + delivered_by(3), LEASE_SLOTS);
    end_world();
}
END_TEST

START_TEST(a_slot_is_given_when_its_dots_are_done_and_not_before)
{
    world(8);
    even(15);
    nodes[1].dots_ms = 8000;
    drain(2, true);
    run(200);
    ck_assert(lease_is_leaving(nodes[1].l, 0) == (nodes[1].s.slots[0].site == 2));
    ck_assert_uint_gt(delivered_by(2),
                      70); /* under way; check() sees that nobody else begins */
    ck_assert_uint_le(until_taken(1, 3), 8300);
    end_world();
}
END_TEST

START_TEST(the_last_one_that_may_hold_keeps_what_it_has)
{
    world(9);
    even(15);
    kill_node(1);
    kill_node(3);
    run(1000);
    elect(2);
    run(12000);
    ck_assert_uint_eq(delivered_by(2), LEASE_SLOTS);
    lease_drain(nodes[1].l, true);
    run(5000);
    ck_assert_uint_eq(delivered_by(2), LEASE_SLOTS);
    end_world();
}
END_TEST

START_TEST(a_node_that_stops_ends_its_session_by_its_own_word)
{
    world(10);
    even(15);
    lease_stop(nodes[1].l);
    run(300);
    ck_assert_uint_eq(delivered_by(1) + delivered_by(3), LEASE_SLOTS);
    ck_assert(!lease_is_over(nodes[1].l));
    ck_assert(!nodes[0].s.members[1].session_ended);
    lease_quiet_all(nodes[1].l);
    run(300);
    ck_assert(lease_is_over(nodes[1].l));
    ck_assert(nodes[0].s.members[1].session_ended);
    run(5000); /* for good */
    ck_assert_uint_eq(lease_session(nodes[1].l), 0);
    end_world();
}
END_TEST

START_TEST(slots_that_are_wanted_elsewhere_go_there)
{
    struct command c = {.kind = COMMAND_SLOT_WANTED, .slot_wanted = {.site = 3}};

    world(11);
    even(15);
    memset(c.slot_wanted.slots, 0xff, sizeof c.slot_wanted.slots);
    commit(entry_of(&c, 0));
    run(500);
    ck_assert_uint_eq(delivered_by(3), LEASE_SLOTS);
    run(60000); /* nobody undoes it */
    ck_assert_uint_eq(delivered_by(3), LEASE_SLOTS);
    kill_node(2); /* a site that comes back gets its share all the same */
    run(11000);
    start(2);
    run(15000);
    ck_assert_uint_ge(delivered_by(2), 85);
    end_world();
}
END_TEST

START_TEST(an_epoch_that_was_offered_is_not_used_again)
{
    struct lease_member m[2] = {{.site = 1, .incarnation = 1, .may_hold = true},
                                {.site = 2, .session = 4, .incarnation = 2, .may_hold = true}};
    struct slot_state slots[LEASE_SLOTS] = {{.site = 1, .epoch = 3}};
    struct lease_state s = {.applied = 1, .members = m, .member_count = 2, .slots = slots};
    struct lease_want out;
    struct lease *l = lease_new(&(struct lease_options){1, 1, 10000, 3000, 77});

    lease_step(l, &s, false, 0, 0, &out);
    m[0].session = m[0].renewal_index = 3;
    m[0].session_nonce = 77;
    m[0].duration_ms = 10000;
    slots[0].wanted_by = 2;
    lease_quiet(l, 0, 3); /* nobody asked yet: of no effect */
    lease_step(l, &s, false, 0, 10, &out);
    ck_assert(lease_is_leaving(l, 0) && !lease_is_leaving(l, 1));
    ck_assert_uint_eq(out.count, 0);
    lease_quiet(l, 0, 2); /* another epoch */
    lease_step(l, &s, false, 0, 20, &out);
    ck_assert_uint_eq(out.count, 0);
    slots[0].wanted_by = 0; /* not offered yet: it stays */
    lease_step(l, &s, false, 0, 30, &out);
    ck_assert(!lease_is_leaving(l, 0));
    slots[0].wanted_by = 2;
    lease_step(l, &s, false, 0, 40, &out);
    lease_quiet(l, 0, 3);
    lease_step(l, &s, false, 0, 50, &out);
    ck_assert_uint_eq(out.count, 1);
    ck_assert_int_eq(out.commands[0].kind, COMMAND_SLOT_RELEASE);
    ck_assert_uint_eq(out.commands[0].slot_release.to, 2);
    m[1].may_hold = false; /* offered: nothing begins under it any more */
    lease_step(l, &s, false, 0, 60, &out);
    ck_assert(lease_is_leaving(l, 0));
    ck_assert_uint_eq(out.count, 0);
    lease_step(l, &s, false, 0, 50 + LEASE_RETRY_MS, &out);
    ck_assert_uint_eq(out.count, 1);
    ck_assert_uint_eq(out.commands[0].slot_release.to, 1); /* a new epoch for itself */
    slots[0].epoch = 9;
    lease_step(l, &s, false, 0, 1100, &out);
    ck_assert(!lease_is_leaving(l, 0));
    lease_free(&l);
}
END_TEST

/* --- anything goes --- */

static void any_fault(void)
{
    uint16_t site = (uint16_t)(1 + prng_below(&rnd, NODES));
    struct node *n = &nodes[site - 1];

    switch (prng_below(&rnd, 12)) {
    case 0:
        if (!n->is_down)
            kill_node(site);
        return;
    case 1:
    case 2:
        if (n->is_down)
            start(site);
        return;
    case 3:
    case 4:
        n->is_paused = !n->is_paused;
        return;
    case 5: /* the old one goes on believing in itself until it hears of it */
        if (!n->is_down && !n->is_paused)
            elect(site);
        return;
    case 6:
        leader = 0;
        return;
    case 7:
        drain(site, prng_below(&rnd, 3) == 0);
        return;
    case 8:
        if (!n->is_down)
            lease_drain(n->l, prng_below(&rnd, 3) == 0);
        return;
    case 9:
        n->lag = prng_below(&rnd, 3) == 0 ? prng_below(&rnd, 9000) : 20;
        return;
    case 10:
        n->dots_ms = prng_below(&rnd, 5000);
        return;
    default: {
        struct command c = {.kind = COMMAND_SLOT_WANTED,
                            .slot_wanted = {.site = (uint16_t)prng_below(&rnd, 4)}};

        for (size_t i = 0; i < sizeof c.slot_wanted.slots; i++)
            c.slot_wanted.slots[i] = (uint8_t)prng_next(&rnd);
        c.slot_wanted.slots[0] |= 1;
        commit(entry_of(&c, 0));
        return;
    }
    }
}

START_TEST(never_two_holders_by_the_clock_and_all_slots_held_in_the_end)
{
    world((uint64_t)_i + 100);
    loss = (unsigned)prng_below(&rnd, 30);
    twice = (unsigned)prng_below(&rnd, 30);
    delay = prng_below(&rnd, 6000);
    for (int i = 0; i < NODES; i++)
        nodes[i].rate = 0.99 + 0.0001 * (double)prng_below(&rnd, 201);
    for (int i = 0; i < 150; i++) {
        any_fault();
        run(prng_below(&rnd, 3000));
    }
    loss = twice = 0;
    delay = 30;
    for (uint16_t site = 1; site <= NODES; site++) {
        nodes[site - 1].is_paused = false;
        nodes[site - 1].lag = 20;
        nodes[site - 1].dots_ms = 100;
        if (nodes[site - 1].is_down)
            start(site);
        lease_drain(nodes[site - 1].l, false);
        drain(site, false);
    }
    elect(1);
    run(40000);
    ck_assert_uint_eq(delivered_by(1) + delivered_by(2) + delivered_by(3), LEASE_SLOTS);
    end_world();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lease");
    TCase *tc = tcase_create("lease");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, all_sessions_open_and_slots_are_shared_out, 0, 5);
    tcase_add_test(tc, a_session_is_valid_only_once_its_opening_is_seen_applied);
    tcase_add_test(tc, a_renewal_counts_from_its_own_proposal_however_late_it_comes);
    tcase_add_test(tc, a_session_that_ended_is_not_valid_and_is_opened_anew);
    tcase_add_test(tc, a_node_that_is_no_member_asks_for_nothing);
    tcase_add_loop_test(tc, the_slots_of_a_dead_follower_are_taken_in_time, 0, 6);
    tcase_add_loop_test(tc, the_slots_of_a_dead_leader_are_taken_in_time_after_the_election, 0,
                        6);
    tcase_add_test(tc, a_node_that_comes_back_in_time_loses_nothing);
    tcase_add_test(tc, a_new_leader_and_one_that_was_stopped_count_anew);
    tcase_add_test(tc, a_take_over_that_comes_late_is_defeated);
    tcase_add_loop_test(tc, a_draining_node_hands_over_at_once, 0, 4);
    tcase_add_test(tc, a_slot_is_given_when_its_dots_are_done_and_not_before);
    tcase_add_test(tc, the_last_one_that_may_hold_keeps_what_it_has);
    tcase_add_test(tc, a_node_that_stops_ends_its_session_by_its_own_word);
    tcase_add_test(tc, slots_that_are_wanted_elsewhere_go_there);
    tcase_add_test(tc, an_epoch_that_was_offered_is_not_used_again);
    tcase_add_loop_test(tc, never_two_holders_by_the_clock_and_all_slots_held_in_the_end, 0,
                        12);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
