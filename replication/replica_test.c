#include <check.h>

#include "replication/replica_world_run.h"

static struct world *w;

static void setup(void)
{
    w = w_new(1);
    w->verbose = getenv("REPLICA_VERBOSE") != NULL;
    w_run_long(w, 3000);
}

static void teardown(void)
{
    w_free(w);
}

static void isolate(uint16_t a, bool on)
{
    for (uint16_t b = 1; b <= W_NODES; b++)
        if (b != a)
            w_part(w, a, b, on);
}

static struct replica_status status_of(uint16_t site)
{
    struct replica_status s;

    replica_status(w_node(w, site)->r, &s, w->now);
    return s;
}

START_TEST(links_come_up_and_doors_open)
{
    for (uint16_t site = 1; site <= W_NODES; site++) {
        struct replica_status s = status_of(site);

        ck_assert(s.open && s.filled);
        ck_assert(s.peers[0].link_up && s.peers[1].link_up);
    }
}
END_TEST

START_TEST(mail_is_accepted_with_two_copies_and_gets_a_third)
{
    struct mid id;

    w_no_holder(w);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 2000);
    ck_assert_int_eq(w_msg(w, id)->answer, W_250);
    for (uint16_t site = 1; site <= W_NODES; site++)
        ck_assert_int_eq(w_state_at(w, site, id), COPY_COMMITTED);
    ck_assert_uint_eq(status_of(2).single, 0);
}
END_TEST

START_TEST(bodies_of_all_sizes_come_over)
{
    static const uint32_t sizes[] = {1, 65536, 65537, 200000, 262144, 262145, 3000000};
    struct mid ids[sizeof sizes / sizeof *sizes];

    w_no_holder(w);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        ids[i] = w_mail(w, w_node(w, 1), sizes[i]);
    w_run_long(w, 3000);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint16_t site = 1; site <= W_NODES; site++)
            ck_assert_msg(w_state_at(w, site, ids[i]) == COPY_COMMITTED, "%u bytes at %u",
                          sizes[i], site);
}
END_TEST

START_TEST(what_is_delivered_is_settled_everywhere)
{
    struct mid id = w_mail(w, w_node(w, 3), W_SMALL);

    w_run_long(w, 60000);
    for (uint32_t k = 0; k < W_RCPTS; k++)
        ck_assert_uint_eq(w_msg(w, id)->taken[k], 1);
    for (uint16_t site = 1; site <= W_NODES; site++)
        ck_assert_int_eq(w_state_at(w, site, id), COPY_SETTLED);
}
END_TEST

START_TEST(without_a_peer_it_is_closed_not_refused)
{
    struct mid id;

    isolate(2, true);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 4000);
    ck_assert(!w_node(w, 2)->open);
    ck_assert_int_eq(w_msg(w, id)->answer, W_WAITS);
    w_run_long(w, 8000);
    ck_assert_int_eq(w_msg(w, id)->answer, W_CLOSED);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_ABORTED);
    isolate(2, false);
    w_run_long(w, 20000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_ABORTED);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_ABORTED);
}
END_TEST

START_TEST(refused_once_a_peer_has_the_abort)
{
    struct mid id;

    w_no_holder(w);
    w_node(w, 1)->store_fails = false;
    w_node(w, 1)->slow = w_node(w, 3)->slow = true;
    /* copies get through late only: what flies is lost for six seconds */
    w_part(w, 1, 2, true);
    w_part(w, 3, 2, true);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 5200);
    isolate(2, false);
    w_node(w, 1)->slow = w_node(w, 3)->slow = false;
    w_run_long(w, 10000);
    ck_assert_int_eq(w_msg(w, id)->answer, W_451);
    w_run_long(w, 10000);
    for (uint16_t site = 1; site <= W_NODES; site++)
        ck_assert_int_eq(w_state_at(w, site, id), COPY_ABORTED);
}
END_TEST

START_TEST(put_that_failed_here_is_aborted_everywhere)
{
    struct mid bad, good;

    w_no_holder(w);
    w_node(w, 2)->store_fails = true;
    bad = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 500);
    w_node(w, 2)->store_fails = false;
    good = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 10000);
    ck_assert_int_eq(w_msg(w, bad)->answer, W_451);
    ck_assert_int_eq(w_msg(w, good)->answer, W_250);
    for (uint16_t site = 1; site <= W_NODES; site++) {
        ck_assert_int_eq(w_state_at(w, site, bad), COPY_ABORTED);
        ck_assert_int_eq(w_state_at(w, site, good), COPY_COMMITTED);
    }
}
END_TEST

/* Neither the copy nor its abort finds room: the abort is written as soon as there is some. */
START_TEST(put_that_failed_on_a_full_disk_is_aborted_later)
{
    struct mid id;

    w_no_holder(w);
    w_node(w, 2)->full = true;
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 10000);
    ck_assert_int_eq(w_msg(w, id)->answer, W_CLOSED);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_UNDECIDED);
    w_node(w, 2)->full = false;
    w_run_long(w, 10000);
    for (uint16_t site = 1; site <= W_NODES; site++)
        ck_assert_int_eq(w_state_at(w, site, id), COPY_ABORTED);
}
END_TEST

/* A full disk took the copy, then neither its abort nor anything: what it hears next must not
 * commit what was refused. */
START_TEST(commit_knowledge_stays_below_an_abort_that_found_no_room)
{
    struct mid bad, good, next;

    w_no_holder(w);
    w_node(w, 2)->store_fails = true;
    bad = w_mail(w, w_node(w, 2), W_SMALL);
    while (w_state_at(w, 1, bad) != COPY_UNDECIDED)
        w_run(w, 1);
    w_node(w, 1)->full = true;
    w_run_long(w, 500);
    w_node(w, 2)->store_fails = false;
    while (w_msg(w, bad)->answer == W_WAITS)
        w_run(w, 1);
    ck_assert_int_eq(w_msg(w, bad)->answer, W_451);
    good = w_mail(w, w_node(w, 2), W_SMALL);
    while (w_msg(w, good)->answer == W_WAITS)
        w_run(w, 1);
    w_node(w, 1)->full = false;
    next = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 10000);
    for (uint16_t site = 1; site <= W_NODES; site++) {
        ck_assert_int_eq(w_state_at(w, site, bad), COPY_ABORTED);
        ck_assert_int_eq(w_state_at(w, site, good), COPY_COMMITTED);
        ck_assert_int_eq(w_state_at(w, site, next), COPY_COMMITTED);
    }
}
END_TEST

START_TEST(commit_that_found_no_room_is_stored_later)
{
    struct mid id;

    w_no_holder(w);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    while (w_msg(w, id)->answer == W_WAITS)
        w_run(w, 1);
    ck_assert_int_eq(w_msg(w, id)->answer, W_250);
    w_node(w, 2)->full = true;
    isolate(2, true); /* or a peer would tell it */
    w_run_long(w, 5000);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_UNDECIDED);
    w_node(w, 2)->full = false;
    w_run_long(w, 5000);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_COMMITTED);
    isolate(2, false);
}
END_TEST

START_TEST(outcome_that_found_no_room_is_told_again)
{
    struct mid id;

    w_no_holder(w);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 2000);
    w_node(w, 3)->full = true;
    w_node(w, 1)->leaving = false;
    w_run_long(w, 60000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_SETTLED);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_SETTLED);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_COMMITTED);
    w_node(w, 3)->full = false;
    w_run_long(w, 10000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
}
END_TEST

START_TEST(filled_that_found_no_room_is_told_again)
{
    w_crash(w, w_node(w, 3));
    w_wipe(w, w_node(w, 3));
    w_start(w, w_node(w, 3));
    w_node(w, 3)->full = true;
    w_run_long(w, 20000);
    ck_assert(!w_node(w, 3)->disk->filled);
    w_node(w, 3)->full = false;
    w_run_long(w, 10000);
    ck_assert(w_node(w, 3)->disk->filled);
}
END_TEST

START_TEST(undecided_copies_of_a_dead_origin_are_resolved)
{
    struct mid id;

    w_no_holder(w);
    w_part(w, 2, 3, true);
    w->loss = 0;
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 30);
    w_crash(w, w_node(w, 2));
    w_part(w, 2, 3, false);
    w_append(w, (struct w_entry){.kind = W_END, .site = 2});
    w_run_long(w, 10000);
    /* whatever it was: with the session over it is decided, and the same at both */
    ck_assert_int_ne(w_state_at(w, 1, id), COPY_UNDECIDED);
    ck_assert_int_eq(w_state_at(w, 1, id), w_state_at(w, 3, id));
}
END_TEST

START_TEST(aborted_one_is_not_resurrected_by_resolving)
{
    struct mid id;

    w_no_holder(w);
    isolate(2, true);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 5500); /* the own abort is durable, nobody heard of it */
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_ABORTED);
    w_crash(w, w_node(w, 2));
    isolate(2, false);
    /* a copy that a peer had stored before it lost the link */
    w_start(w, w_node(w, 2));
    w_run_long(w, 10000);
    for (uint16_t site = 1; site <= W_NODES; site++)
        ck_assert(w_state_at(w, site, id) == COPY_ABORTED ||
                  w_state_at(w, site, id) == COPY_NONE);
}
END_TEST

START_TEST(node_that_was_away_catches_up)
{
    struct mid ids[300];

    w_no_holder(w);
    w_crash(w, w_node(w, 3));
    for (int i = 0; i < 300; i++) {
        ids[i] = w_mail(w, w_node(w, (uint16_t)(1 + i % 2)), i == 7 ? W_LARGE : W_SMALL);
        w_run(w, 10);
    }
    w_run_long(w, 3000);
    ck_assert_uint_eq(w->accepted, 300);
    w_start(w, w_node(w, 3));
    w_run_long(w, 6000);
    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(w_state_at(w, 3, ids[i]), COPY_COMMITTED);
}
END_TEST

START_TEST(ack_of_a_lost_disk_does_not_count)
{
    struct mid id;

    w_no_holder(w);
    w_part(w, 1, 2, true);
    w_run_long(w, 10000);
    w_node(w, 2)->slow = true;
    w_run_long(w, 2000);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    while (w_state_at(w, 3, id) == COPY_NONE)
        w_run(w, 1);
    w_run(w, 100); /* its ack is there, the own commit is not */
    w_crash(w, w_node(w, 3));
    w_wipe(w, w_node(w, 3));
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_NONE);
    while (w_state_at(w, 2, id) == COPY_NONE)
        w_run(w, 1);
    w_run_long(w, 2000);
    ck_assert_int_eq(w_msg(w, id)->answer, W_WAITS);
    w_part(w, 1, 2, false);
    w_node(w, 2)->slow = false;
    w_start(w, w_node(w, 3));
    w_run_long(w, 10000);
    ck_assert_int_ne(w_msg(w, id)->answer, W_WAITS);
}
END_TEST

START_TEST(wiped_node_is_no_witness_until_both_have_filled_it)
{
    struct mid id;

    w_no_holder(w);
    id = w_mail(w, w_node(w, 1), W_SMALL);
    w_run_long(w, 2000);
    w_crash(w, w_node(w, 3));
    w_wipe(w, w_node(w, 3));
    w_part(w, 2, 3, true);
    w_start(w, w_node(w, 3));
    w_run_long(w, 10000);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_COMMITTED);
    ck_assert(!w_node(w, 3)->disk->filled);
    w_part(w, 2, 3, false);
    w_run_long(w, 10000);
    ck_assert(w_node(w, 3)->disk->filled);
    ck_assert(!w_node(w, 3)->stopped);
}
END_TEST

START_TEST(wiped_node_knows_what_is_settled_before_it_is_a_witness)
{
    struct mid id = w_mail(w, w_node(w, 1), W_SMALL);

    w_run_long(w, 60000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_SETTLED);
    w_crash(w, w_node(w, 3));
    w_wipe(w, w_node(w, 3));
    w_start(w, w_node(w, 3));
    w_run_long(w, 10000);
    ck_assert(w_node(w, 3)->disk->filled);
    ck_assert_int_eq(w_state_at(w, 3, id), COPY_SETTLED);
}
END_TEST

START_TEST(node_with_an_older_disk_stops)
{
    struct w_disk *old = malloc(sizeof *old);
    struct w_node *n = w_node(w, 2);

    w_no_holder(w);
    w_mail(w, n, W_SMALL);
    w_run_long(w, 2000);
    *old = *n->disk;
    rset_init(&old->settled, 1000);
    w_mail(w, n, W_SMALL);
    w_run_long(w, 2000);
    w_crash(w, n);
    rset_fini(&n->disk->settled);
    free(n->disk);
    n->disk = old;
    w_start(w, n);
    w_run_long(w, 3000);
    ck_assert(n->stopped);
}
END_TEST

START_TEST(copy_that_cannot_be_read_is_no_older_disk)
{
    struct w_node *n = w_node(w, 2);
    struct mid id;

    w_no_holder(w);
    w_mail(w, n, W_SMALL);
    id = w_mail(w, n, W_SMALL);
    w_mail(w, n, W_SMALL);
    w_run_long(w, 2000);
    w_crash(w, n);
    w_copy(n->disk, id)->unreadable = true;
    w_start(w, n);
    w_run_long(w, 8000);
    ck_assert(!n->stopped);
}
END_TEST

START_TEST(crash_before_the_own_commit_is_no_older_disk)
{
    struct mid id;

    w_no_holder(w);
    w_node(w, 2)->slow = true;
    w_run_long(w, 1000);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 300);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_NONE);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_UNDECIDED);
    w_crash(w, w_node(w, 2));
    w_append(w, (struct w_entry){.kind = W_END, .site = 2});
    w_run_long(w, 8000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_COMMITTED);
    w_node(w, 2)->slow = false;
    w_start(w, w_node(w, 2));
    w_run_long(w, 8000);
    ck_assert(!w_node(w, 2)->stopped);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_COMMITTED);
}
END_TEST

START_TEST(damaged_copy_is_fetched_from_a_peer)
{
    struct mid id;
    uint32_t told;

    w_no_holder(w);
    id = w_mail(w, w_node(w, 1), W_LARGE);
    w_run_long(w, 2000);
    told = w_node(w, 2)->deliverable;
    w_copy(w_node(w, 2)->disk, id)->damaged = true;
    replica_damaged(w_node(w, 2)->r, id, w->now);
    w_run_long(w, 3000);
    ck_assert(!w_copy(w_node(w, 2)->disk, id)->damaged);
    ck_assert_uint_eq(w_node(w, 2)->deliverable, told + 1); /* else nobody reads it again */
}
END_TEST

START_TEST(no_dot_without_a_peer)
{
    struct mid id;

    w_no_holder(w);
    id = w_mail(w, w_node(w, 1), W_SMALL);
    w_run_long(w, 2000);
    isolate(1, true);
    w_node(w, 1)->leaving = false;
    w_run_long(w, 60000);
    ck_assert_uint_eq(w->consents, 0);
    isolate(1, false);
    w_run_long(w, 60000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_SETTLED);
}
END_TEST

START_TEST(dot_of_a_dead_holder_is_waited_for_and_then_flagged)
{
    struct mid id = w_mail(w, w_node(w, 2), W_SMALL);
    uint64_t start;

    while (w->consents == 0)
        w_run_long(w, 10);
    w_crash(w, w_node(w, 1)); /* its dot is out, its reply is not known */
    start = w->now;
    w_append(w, (struct w_entry){.kind = W_END, .site = 1});
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = 2});
    w_run_long(w, LIMIT_FOREIGN_DOT_MS - 30000);
    ck_assert_uint_eq(w->consents, 1);
    while (w->consents == 1)
        w_run_long(w, 100);
    ck_assert_uint_ge(w->now - start, LIMIT_FOREIGN_DOT_MS - 1000);
    w_run_long(w, 60000);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_SETTLED);
}
END_TEST

START_TEST(dot_of_a_holder_that_restarted_is_not_waited_for)
{
    struct mid id = w_mail(w, w_node(w, 2), W_SMALL);

    while (w->consents == 0)
        w_run_long(w, 10);
    w_crash(w, w_node(w, 1));
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = 2});
    w_start(w, w_node(w, 1));
    w_run_long(w, 60000);
    ck_assert_uint_ge(w->consents, 2);
    ck_assert_int_eq(w_state_at(w, 2, id), COPY_SETTLED);
}
END_TEST

/* Site 1 sends a dot that the primary takes, and dies before it knows; then it is back, and the
 * next dot for the message must be flagged, whatever happens in between: w_dot_checks(). */
static struct mid dot_of_unknown_end(void)
{
    struct mid id = w_mail(w, w_node(w, 2), W_SMALL);

    while (w->consents == 0)
        w_run_long(w, 10);
    ck_assert_uint_gt(w_msg(w, id)->taken[0] + w_msg(w, id)->taken[1], 0);
    w_crash(w, w_node(w, 1));
    return id;
}

static void is_sent_again_and_flagged(struct mid id)
{
    w_run_long(w, LIMIT_FOREIGN_DOT_MS + 60000);
    ck_assert_uint_ge(w->consents, 2);
    ck_assert(w_msg(w, id)->flagged);
    for (uint16_t site = 1; site <= W_NODES; site++)
        ck_assert_int_eq(w_state_at(w, site, id), COPY_SETTLED);
}

START_TEST(doubt_outlives_a_question_without_an_answer)
{
    struct mid id;

    w_part(w, 1, 3, true); /* site 2 alone has consented */
    w_run_long(w, 10000);
    id = dot_of_unknown_end();
    w_start(w, w_node(w, 1));
    isolate(1, true);
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = 1});
    w_run_long(w, 40000); /* asks itself alone, again and again, and takes it back */
    ck_assert_uint_eq(w->consents, 1);
    isolate(1, false);
    w_crash(w, w_node(w, 2)); /* and is away when sites 1 and 3 decide */
    w_run_long(w, 60000);
    w_start(w, w_node(w, 2));
    is_sent_again_and_flagged(id);
}
END_TEST

START_TEST(doubt_outlives_a_dot_that_was_not_sent)
{
    struct mid id = dot_of_unknown_end();

    w->unsent = 1000;
    w_start(w, w_node(w, 1));
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = 1});
    while (w->consents < 4)
        w_run_long(w, 100);
    ck_assert(!w_msg(w, id)->flagged);
    w->unsent = 0;
    is_sent_again_and_flagged(id);
}
END_TEST

START_TEST(doubt_outlives_the_release_of_a_slot)
{
    struct mid id = dot_of_unknown_end();

    w->unsent = 1000;
    w_start(w, w_node(w, 1));
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = 1});
    while (w->consents < 2)
        w_run(w, 10);
    w_node(w, 1)->leaving = true;
    w_run_long(w, 30000);
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = 3, .released = true});
    w->unsent = 0;
    is_sent_again_and_flagged(id);
}
END_TEST

START_TEST(doubt_outlives_the_disk_of_the_holder)
{
    struct mid id;

    w_part(w, 1, 3, true); /* site 2 alone has consented */
    w_run_long(w, 10000);
    id = dot_of_unknown_end();
    w_wipe(w, w_node(w, 1));
    w_part(w, 1, 3, false);
    w_start(w, w_node(w, 1));
    w_run_long(w, 20000);
    ck_assert(w_node(w, 1)->disk->filled);
    w_crash(w, w_node(w, 2)); /* and is away when sites 1 and 3 decide */
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = 3});
    w_run_long(w, LIMIT_FOREIGN_DOT_MS + 60000);
    w_start(w, w_node(w, 2));
    is_sent_again_and_flagged(id);
}
END_TEST

START_TEST(sessions_that_are_over_shrink_to_a_number)
{
    struct mid id = w_mail(w, w_node(w, 2), W_SMALL);

    w_run_long(w, 60000);
    w_crash(w, w_node(w, 2));
    w_start(w, w_node(w, 2));
    w_run_long(w, 60000);
    for (uint16_t site = 1; site <= W_NODES; site++) {
        ck_assert_uint_gt(w_node(w, site)->disk->clear[2], mid_epoch(id));
        ck_assert(!rset_has(&w_node(w, site)->disk->settled, id));
        ck_assert_int_eq(w_state_at(w, site, id), COPY_SETTLED);
    }
}
END_TEST

/* Site 2 has the only copy that is left, and does not know that it was accepted: its word that
 * site 3 lacks nothing has to wait, or the loss of its disk would be the loss of the message.
 */
START_TEST(undecided_copies_are_there_before_a_node_is_filled)
{
    struct mid id;

    w_no_holder(w);
    w_part(w, 1, 3, true);
    id = w_mail(w, w_node(w, 3), W_SMALL);
    while (w_msg(w, id)->answer == W_WAITS)
        w_run_long(w, 1);
    ck_assert_int_eq(w_msg(w, id)->answer, W_250);
    w_crash(w, w_node(w, 2));
    w_crash(w, w_node(w, 3));
    w_wipe(w, w_node(w, 3));
    w_part(w, 1, 3, false);
    w_start(w, w_node(w, 3));
    w_start(w, w_node(w, 2));
    for (int i = 0; i < 60000 && !w_node(w, 3)->disk->filled; i++)
        w_run_long(w, 1);
    ck_assert(w_node(w, 3)->disk->filled);
    ck_assert(w_state_at(w, 1, id) != COPY_NONE || w_state_at(w, 3, id) != COPY_NONE);
}
END_TEST

/* The session is over, and one of its messages is on its way to the disk. */
START_TEST(what_is_being_stored_keeps_its_session_from_being_clear)
{
    struct w_node *n = w_node(w, 2);
    struct mid late;

    (void)w_mail(w, n, W_SMALL);
    w_run_long(w, 60000);
    isolate(2, true);
    w_run_long(w, 6000); /* until the links are down */
    n->slow = true;
    late = w_mail(w, n, W_SMALL);
    w_append(w, (struct w_entry){.kind = W_END, .site = 2});
    isolate(2, false);
    w_run_long(w, 1500); /* all hear what the others call clear */
    isolate(3, true);
    w_run_long(w, 15000); /* and site 3 goes by it, without having heard of the message */
    ck_assert_uint_le(w_node(w, 3)->disk->clear[2], mid_epoch(late));
    n->slow = false;
    isolate(3, false);
    ck_assert_int_eq(w_msg(w, late)->answer, W_CLOSED);
    w_run_long(w, 120000);
    for (uint16_t site = 1; site <= W_NODES; site++)
        ck_assert_int_eq(w_state_at(w, site, late), COPY_SETTLED);
}
END_TEST

START_TEST(own_seal_closes_clients_and_the_next_session_goes_on)
{
    struct mid id, next;

    w_no_holder(w);
    isolate(2, true);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 1000);
    w_append(w, (struct w_entry){.kind = W_END, .site = 2});
    w_run_long(w, 2500);
    ck_assert_int_eq(w_msg(w, id)->answer, W_CLOSED);
    isolate(2, false);
    w_run_long(w, 10000);
    next = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 5000);
    ck_assert_uint_gt(mid_epoch(next), mid_epoch(id));
    ck_assert_int_eq(w_msg(w, next)->answer, W_250);
    for (uint16_t site = 1; site <= W_NODES; site++)
        ck_assert_int_eq(w_state_at(w, site, id), COPY_COMMITTED);
}
END_TEST

/* Two sites are lost for good: their sessions are over, they are no members any more. */
static void lose_two(void)
{
    for (uint16_t site = 2; site <= W_NODES; site++) {
        w_crash(w, w_node(w, site));
        w_append(w, (struct w_entry){.kind = W_END, .site = site});
        w_append(w, (struct w_entry){.kind = W_MEMBER, .site = site, .incarnation = 0});
    }
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = 1});
    w_run_long(w, 3000);
    w_no_holder(w);
}

START_TEST(alone_it_takes_no_mail_until_an_operator_says_so)
{
    struct mid id;

    w_no_holder(w);
    lose_two();
    ck_assert(!w_node(w, 1)->open && !status_of(1).solo);
    w->solo = true;
    replica_solo(w_node(w, 1)->r, true, w->now);
    ck_assert(w_node(w, 1)->open && status_of(1).solo);
    id = w_mail(w, w_node(w, 1), W_SMALL);
    w_run_long(w, 1000);
    ck_assert_int_eq(w_msg(w, id)->answer, W_250);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_COMMITTED);
    replica_solo(w_node(w, 1)->r, false, w->now);
    ck_assert(!w_node(w, 1)->open);
}
END_TEST

START_TEST(operators_word_counts_only_while_there_is_no_other_member)
{
    struct mid id;

    w_no_holder(w);
    isolate(1, true);
    replica_solo(w_node(w, 1)->r, true, w->now);
    w_run_long(w, 3000);
    ck_assert(!w_node(w, 1)->open && !status_of(1).solo);
    id = w_mail(w, w_node(w, 1), W_SMALL);
    w_run_long(w, 12000);
    ck_assert_int_eq(w_msg(w, id)->answer, W_CLOSED);
}
END_TEST

START_TEST(alone_it_delivers_what_it_has_and_tells_nobody)
{
    struct mid id;

    w_no_holder(w);
    id = w_mail(w, w_node(w, 2), W_SMALL);
    w_run_long(w, 1000);
    lose_two();
    w_node(w, 1)->leaving = false;
    w_run_long(w, 30000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_COMMITTED);
    replica_solo(w_node(w, 1)->r, true, w->now);
    w_run_long(w, 30000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_SETTLED);
    ck_assert(replica_outcomes_told(w_node(w, 1)->r));
}
END_TEST

START_TEST(alone_it_commits_what_lost_sites_left_undecided)
{
    struct mid id;

    w_no_holder(w);
    w_part(w, 2, 3, true);
    w->loss = 0;
    id = w_mail(w, w_node(w, 2), W_SMALL);
    for (int i = 0; i < 1000 && w_state_at(w, 1, id) == COPY_NONE; i++)
        w_run_long(w, 1);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_UNDECIDED);
    lose_two();
    w_run_long(w, 10000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_UNDECIDED);
    replica_solo(w_node(w, 1)->r, true, w->now);
    w_run_long(w, 5000);
    ck_assert_int_eq(w_state_at(w, 1, id), COPY_COMMITTED);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("replica");
    TCase *tc = tcase_create("replica");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, links_come_up_and_doors_open);
    tcase_add_test(tc, mail_is_accepted_with_two_copies_and_gets_a_third);
    tcase_add_test(tc, bodies_of_all_sizes_come_over);
    tcase_add_test(tc, what_is_delivered_is_settled_everywhere);
    tcase_add_test(tc, without_a_peer_it_is_closed_not_refused);
    tcase_add_test(tc, refused_once_a_peer_has_the_abort);
    tcase_add_test(tc, put_that_failed_here_is_aborted_everywhere);
    tcase_add_test(tc, put_that_failed_on_a_full_disk_is_aborted_later);
    tcase_add_test(tc, commit_knowledge_stays_below_an_abort_that_found_no_room);
    tcase_add_test(tc, commit_that_found_no_room_is_stored_later);
    tcase_add_test(tc, outcome_that_found_no_room_is_told_again);
    tcase_add_test(tc, filled_that_found_no_room_is_told_again);
    tcase_add_test(tc, undecided_copies_of_a_dead_origin_are_resolved);
    tcase_add_test(tc, aborted_one_is_not_resurrected_by_resolving);
    tcase_add_test(tc, node_that_was_away_catches_up);
    tcase_add_test(tc, ack_of_a_lost_disk_does_not_count);
    tcase_add_test(tc, wiped_node_is_no_witness_until_both_have_filled_it);
    tcase_add_test(tc, wiped_node_knows_what_is_settled_before_it_is_a_witness);
    tcase_add_test(tc, node_with_an_older_disk_stops);
    tcase_add_test(tc, copy_that_cannot_be_read_is_no_older_disk);
    tcase_add_test(tc, crash_before_the_own_commit_is_no_older_disk);
    tcase_add_test(tc, damaged_copy_is_fetched_from_a_peer);
    tcase_add_test(tc, no_dot_without_a_peer);
    tcase_add_test(tc, dot_of_a_dead_holder_is_waited_for_and_then_flagged);
    tcase_add_test(tc, dot_of_a_holder_that_restarted_is_not_waited_for);
    tcase_add_test(tc, doubt_outlives_a_question_without_an_answer);
    tcase_add_test(tc, doubt_outlives_a_dot_that_was_not_sent);
    tcase_add_test(tc, doubt_outlives_the_release_of_a_slot);
    tcase_add_test(tc, doubt_outlives_the_disk_of_the_holder);
    tcase_add_test(tc, sessions_that_are_over_shrink_to_a_number);
    tcase_add_test(tc, undecided_copies_are_there_before_a_node_is_filled);
    tcase_add_test(tc, what_is_being_stored_keeps_its_session_from_being_clear);
    tcase_add_test(tc, own_seal_closes_clients_and_the_next_session_goes_on);
    tcase_add_test(tc, alone_it_takes_no_mail_until_an_operator_says_so);
    tcase_add_test(tc, operators_word_counts_only_while_there_is_no_other_member);
    tcase_add_test(tc, alone_it_delivers_what_it_has_and_tells_nobody);
    tcase_add_test(tc, alone_it_commits_what_lost_sites_left_undecided);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
