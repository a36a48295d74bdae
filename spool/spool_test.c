/* The queue of a node: what was put comes back exactly, what is settled stays dead, one
 * message's trouble is not the batch's, and a full spool still lets mail leave. */
#include "spool/spool.h"

#include <check.h>

#include "tests/support/spool_kit.h"

#define MAP_BYTES (64 * MiB)
#define DAY       UINT64_C(86400000)

static struct kit kit;

static void setup(void)
{
    kit_init(&kit, MAP_BYTES);
}

static void teardown(void)
{
    kit_fini(&kit);
}

static struct mid id_of(uint64_t counter)
{
    return mid_make(1, 7, counter);
}

static enum err settled(uint64_t counter)
{
    return spool_settled_contains(kit.reader, id_of(counter));
}

static void ck_live(struct mid id, uint64_t bytes)
{
    struct envelope e;

    ck_assert_int_eq(kit_get(&kit, id, &e), OK);
    ck_assert_uint_eq(e.body_bytes, bytes);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
    ck_assert_int_eq(spool_verify_body(kit.reader, &e), OK);
}

/* --- Put and read --- */

static const uint64_t sizes[] = {0,    1,     4071,  4072,   4073,   8144,
                                 8145, 16368, 65536, 262144, 1000003};

START_TEST(a_body_of_any_size_comes_back_exactly_also_after_a_reopen)
{
    ck_assert_int_eq(kit_put(&kit, id_of(1), sizes[_i]), OK);
    ck_assert_int_eq(kit_put(&kit, id_of(2), 10), OK);
    ck_live(id_of(1), sizes[_i]);
    kit_reopen(&kit);
    ck_live(id_of(1), sizes[_i]);
    ck_live(id_of(2), 10);
}
END_TEST

START_TEST(a_body_is_read_from_any_offset)
{
    static const uint64_t offsets[] = {0, 1, 4071, 4072, 4073, 9999, 10000, 10001};
    struct envelope e;
    char buf[300], want[300];
    size_t got;

    ck_assert_int_eq(kit_put(&kit, id_of(1), 10000), OK);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        size_t expect = offsets[i] < 10000 ? 10000 - (size_t)offsets[i] : 0;

        if (expect > sizeof buf)
            expect = sizeof buf;
        ck_assert_int_eq(spool_read_body(kit.reader, &e, offsets[i], buf, sizeof buf, &got),
                         OK);
        ck_assert_uint_eq(got, expect);
        kit_fill(e.id, offsets[i], want, got);
        ck_assert_mem_eq(buf, want, got);
    }
}
END_TEST

START_TEST(an_empty_commit_is_fine)
{
    struct spool_txn *t = spool_begin(kit.spool);

    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(an_aborted_batch_leaves_nothing)
{
    struct spool_txn *t = spool_begin(kit.spool);
    struct kit_message m;
    struct envelope e;

    kit_message(&kit, &m, id_of(1), 5000);
    ck_assert_int_eq(spool_put(t, &m.envelope, &m.body), OK);
    ck_assert_uint_gt(spool_txn_bytes(t), 5000);
    spool_abort(&t);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), E_NOTFOUND);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 0);
    kit_message_free(&kit, &m);
}
END_TEST

START_TEST(a_reader_sees_nothing_of_a_batch_before_its_commit)
{
    struct spool_txn *t = spool_begin(kit.spool);
    struct kit_message m;
    struct envelope e;

    kit_message(&kit, &m, id_of(1), 5000);
    ck_assert_int_eq(spool_put(t, &m.envelope, &m.body), OK);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), E_NOTFOUND);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_live(id_of(1), 5000);
    kit_message_free(&kit, &m);
}
END_TEST

/* --- Answers that concern one message --- */

struct answer_world {
    struct spool_txn *t;
    struct kit_message live;  /* id 1, put               */
    struct kit_message other; /* id 1 with another body  */
    struct kit_message dead;  /* id 2, settled           */
    struct kit_message fresh; /* id 3                    */
};

static enum err put_again(struct answer_world *w)
{
    return spool_put(w->t, &w->live.envelope, &w->live.body);
}
static enum err put_other_body(struct answer_world *w)
{
    return spool_put(w->t, &w->other.envelope, &w->other.body);
}
static enum err put_settled(struct answer_world *w)
{
    return spool_put(w->t, &w->dead.envelope, &w->dead.body);
}
static enum err put_beyond_a_limit(struct answer_world *w)
{
    w->fresh.envelope.rcpt_count = 0;
    return spool_put(w->t, &w->fresh.envelope, &w->fresh.body);
}
static enum err put_staged_without_stage(struct answer_world *w)
{
    return spool_put_staged(w->t, &w->fresh.envelope, spool_next_body(kit.spool));
}
static enum err put_staged_again(struct answer_world *w)
{
    return spool_put_staged(w->t, &w->live.envelope, spool_next_body(kit.spool));
}
static enum err put_staged_settled(struct answer_world *w)
{
    return spool_put_staged(w->t, &w->dead.envelope, spool_next_body(kit.spool));
}
static enum err unstage_nothing(struct answer_world *w)
{
    return spool_unstage(w->t, spool_next_body(kit.spool));
}
static enum err stage_behind_a_hole(struct answer_world *w)
{
    return spool_stage(w->t, spool_next_body(kit.spool), SPOOL_CHUNK_DATA_BYTES,
                       &w->fresh.body);
}
static enum err stage_beyond_the_limit(struct answer_world *w)
{
    return spool_stage(w->t, spool_next_body(kit.spool), LIMIT_BODY_BYTES, &w->fresh.body);
}
static enum err abort_live(struct answer_world *w)
{
    return spool_abort_id(w->t, w->live.envelope.id);
}
static enum err abort_settled(struct answer_world *w)
{
    return spool_abort_id(w->t, w->dead.envelope.id);
}
static enum err update_unknown(struct answer_world *w)
{
    return spool_update(w->t, &w->fresh.envelope);
}
static enum err update_settled(struct answer_world *w)
{
    return spool_update(w->t, &w->dead.envelope);
}
static enum err update_other_body(struct answer_world *w)
{
    return spool_update(w->t, &w->other.envelope);
}
static enum err update_other_number(struct answer_world *w)
{
    w->live.envelope.body_number++;
    return spool_update(w->t, &w->live.envelope);
}
static enum err update_beyond_a_limit(struct answer_world *w)
{
    w->live.envelope.domain.n = 0;
    return spool_update(w->t, &w->live.envelope);
}
static enum err dot_unknown(struct answer_world *w)
{
    return spool_dot(w->t, w->fresh.envelope.id, 5);
}
static enum err dot_settled(struct answer_world *w)
{
    return spool_dot(w->t, w->dead.envelope.id, 5);
}
static enum err dot_of_an_older_epoch(struct answer_world *w)
{
    ck_assert_int_eq(spool_dot(w->t, w->live.envelope.id, 5), OK);
    return spool_dot(w->t, w->live.envelope.id, 4);
}
static enum err dot_of_the_same_epoch(struct answer_world *w)
{
    ck_assert_int_eq(spool_dot(w->t, w->live.envelope.id, 5), OK);
    return spool_dot(w->t, w->live.envelope.id, 5);
}
static enum err closed_without_mark(struct answer_world *w)
{
    return spool_closed(w->t, w->live.envelope.id);
}
static enum err settle_unknown(struct answer_world *w)
{
    return spool_settle(w->t, &w->fresh.envelope, 1, 1);
}
static enum err settle_settled(struct answer_world *w)
{
    return spool_settle(w->t, &w->dead.envelope, 1, 1);
}
static enum err settle_other_body(struct answer_world *w)
{
    return spool_settle(w->t, &w->other.envelope, 1, 1);
}

static const struct {
    enum err (*call)(struct answer_world *w);
    enum err expect;
} answers[] = {
    {put_again, E_EXISTS},
    {put_other_body, E_CONFLICT},
    {put_settled, E_NOTFOUND},
    {put_beyond_a_limit, E_PROTO},
    {put_staged_without_stage, E_NOTFOUND},
    {put_staged_again, E_EXISTS},
    {put_staged_settled, E_NOTFOUND},
    {unstage_nothing, E_NOTFOUND},
    {stage_behind_a_hole, E_NOTFOUND},
    {stage_beyond_the_limit, E_PROTO},
    {abort_live, E_CONFLICT},
    {abort_settled, E_EXISTS},
    {update_unknown, E_NOTFOUND},
    {update_settled, E_NOTFOUND},
    {update_other_body, E_CONFLICT},
    {update_other_number, E_CONFLICT},
    {update_beyond_a_limit, E_PROTO},
    {dot_unknown, E_NOTFOUND},
    {dot_settled, E_NOTFOUND},
    {dot_of_an_older_epoch, E_CONFLICT},
    {dot_of_the_same_epoch, OK},
    {closed_without_mark, E_NOTFOUND},
    {settle_unknown, E_NOTFOUND},
    {settle_settled, E_EXISTS},
    {settle_other_body, E_CONFLICT},
};

START_TEST(one_message_s_trouble_is_answered_and_the_batch_goes_on)
{
    struct answer_world w;
    struct kit_message more;

    kit_message(&kit, &w.live, id_of(1), 100);
    kit_message(&kit, &w.other, id_of(1), 101);
    kit_message(&kit, &w.dead, id_of(2), 100);
    kit_message(&kit, &w.fresh, id_of(3), 100);
    kit_message(&kit, &more, id_of(4), 100);
    w.t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_put(w.t, &w.live.envelope, &w.live.body), OK);
    ck_assert_int_eq(spool_put(w.t, &w.dead.envelope, &w.dead.body), OK);
    ck_assert_int_eq(spool_settle(w.t, &w.dead.envelope, 1, 1), OK);
    ck_assert_int_eq(answers[_i].call(&w), answers[_i].expect);
    ck_assert_int_eq(spool_put(w.t, &more.envelope, &more.body), OK);
    ck_assert_int_eq(spool_commit(&w.t), OK);

    ck_live(id_of(1), 100);
    ck_live(id_of(4), 100);
    ck_assert_int_eq(settled(2), OK);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 2);
    ck_assert_uint_eq(spool_totals(kit.spool).bytes, 200);
    kit_message_free(&kit, &w.live);
    kit_message_free(&kit, &w.other);
    kit_message_free(&kit, &w.dead);
    kit_message_free(&kit, &w.fresh);
    kit_message_free(&kit, &more);
}
END_TEST

/* --- Staged bodies --- */

static enum err stage(struct spool_txn *t, uint64_t number, struct mid id, uint64_t offset,
                      size_t n)
{
    struct block_list piece = {0};
    enum err e;

    kit_append(&kit, &piece, id, offset, n);
    e = spool_stage(t, number, offset, &piece);
    block_list_free(&kit.pool, &piece);
    return e;
}

static const size_t steps[] = {1000, 4072, 5000, 8144, 100000, 262144};

START_TEST(a_body_staged_in_pieces_of_any_size_comes_back_exactly)
{
    const uint64_t bytes = 300000;
    uint64_t number = spool_next_body(kit.spool);
    struct kit_message m;
    struct spool_txn *t;

    for (uint64_t offset = 0; offset < bytes; offset += steps[_i]) {
        size_t n = bytes - offset < steps[_i] ? (size_t)(bytes - offset) : steps[_i];

        t = spool_begin(kit.spool);
        ck_assert_int_eq(stage(t, number, id_of(1), offset, n), OK);
        ck_assert_int_eq(spool_commit(&t), OK);
    }
    kit_envelope(&m, id_of(1), bytes);
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_put_staged(t, &m.envelope, number), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_uint_eq(m.envelope.body_number, number);
    ck_live(id_of(1), bytes);
    kit_reopen(&kit);
    ck_live(id_of(1), bytes);
}
END_TEST

static const struct {
    size_t first;    /* bytes staged at 0  */
    uint64_t offset; /* of the next piece */
    enum err expect;
} places[] = {{10, 10, OK},
              {10, 5, E_NOTFOUND},
              {10, 11, E_NOTFOUND},
              {10, 4072, E_NOTFOUND},
              {4072, 4072, OK},
              {4072, 4071, E_NOTFOUND},
              {4072, 4073, E_NOTFOUND},
              {4072, 8144, E_NOTFOUND},
              {5000, 5000, OK},
              {5000, 4999, E_NOTFOUND},
              {5000, 4072, OK}, /* the last chunk again, from its start */
              {5000, 0, OK}};

START_TEST(a_staged_piece_goes_only_where_the_last_one_ended)
{
    uint64_t number = spool_next_body(kit.spool);
    struct spool_txn *t = spool_begin(kit.spool);

    ck_assert_int_eq(stage(t, number, id_of(1), 0, places[_i].first), OK);
    ck_assert_int_eq(stage(t, number, id_of(1), places[_i].offset, 3000), places[_i].expect);
    ck_assert_int_eq(spool_commit(&t), OK);
}
END_TEST

static const uint64_t wrong_sizes[] = {0, 1, 5000, 9999, 10001, 12216, 20000};

START_TEST(a_staged_body_of_another_size_is_not_named)
{
    uint64_t number = spool_next_body(kit.spool);
    struct spool_txn *t = spool_begin(kit.spool);
    struct kit_message m;

    kit_envelope(&m, id_of(1), wrong_sizes[_i]);
    ck_assert_int_eq(stage(t, number, id_of(1), 0, 10000), OK);
    ck_assert_int_eq(spool_put_staged(t, &m.envelope, number), E_NOTFOUND);
    ck_assert_int_eq(spool_commit(&t), OK);
}
END_TEST

START_TEST(staged_chunks_without_a_record_are_gone_after_a_reopen)
{
    struct spool_recovered found;
    struct spool_txn *t = spool_begin(kit.spool);

    ck_assert_int_eq(stage(t, spool_next_body(kit.spool), id_of(1), 0, 10000), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(kit_put(&kit, id_of(2), 20000), OK);
    t = spool_begin(kit.spool);
    ck_assert_int_eq(stage(t, spool_next_body(kit.spool), id_of(3), 0, 1), OK);
    ck_assert_int_eq(spool_commit(&t), OK);

    kit_reopen(&kit);
    spool_recovered(kit.spool, &found);
    ck_assert_uint_eq(found.orphan_bodies, 2);
    ck_assert_uint_eq(found.orphan_chunks, 4);
    ck_assert_uint_eq(found.totals.messages, 1);
    ck_assert_uint_eq(found.totals.bytes, 20000);
    ck_live(id_of(2), 20000);
    ck_assert_uint_gt(spool_next_body(kit.spool), 3); /* numbers are not given again */
    kit_reopen(&kit);
    spool_recovered(kit.spool, &found);
    ck_assert_uint_eq(found.orphan_bodies, 0);
}
END_TEST

START_TEST(unstage_removes_all_chunks_of_one_body_only)
{
    uint64_t first = spool_next_body(kit.spool), second = spool_next_body(kit.spool);
    struct spool_txn *t = spool_begin(kit.spool);
    struct kit_message m;

    ck_assert_int_eq(stage(t, first, id_of(1), 0, 30000), OK);
    ck_assert_int_eq(stage(t, second, id_of(2), 0, 30000), OK);
    ck_assert_int_eq(spool_unstage(t, first), OK);
    ck_assert_int_eq(spool_unstage(t, first), E_NOTFOUND);
    kit_envelope(&m, id_of(2), 30000);
    ck_assert_int_eq(spool_put_staged(t, &m.envelope, second), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_live(id_of(2), 30000);
}
END_TEST

/* --- Update, marks --- */

START_TEST(an_update_replaces_the_envelope_and_keeps_the_body)
{
    struct envelope e;
    struct spool_txn *t;

    ck_assert_int_eq(kit_put(&kit, id_of(1), 10000), OK);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    e.rcpts[0].fate = FATE_BOUNCED;
    e.rcpts[0].reply = STR("550 5.1.1 no such user");
    e.held = true;
    t = spool_begin(kit.spool);
    ck_assert_int_eq(kit_commit(t, spool_update(t, &e)), OK);
    kit_reopen(&kit);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(e.rcpts[0].fate, FATE_BOUNCED);
    ck_assert(str_eq(e.rcpts[0].reply, STR("550 5.1.1 no such user")));
    ck_assert(e.held);
    ck_live(id_of(1), 10000);
}
END_TEST

struct seen {
    struct mid ids[300];
    bool open[300];
    size_t n, stop_at;
};

static bool see(void *user, const struct envelope *e, bool dot_open)
{
    struct seen *s = user;

    ck_assert_uint_lt(s->n, 300);
    ck_assert_int_eq((int)e->rcpt_count, 1);
    s->ids[s->n] = e->id;
    s->open[s->n++] = dot_open;
    return s->n != s->stop_at;
}

START_TEST(an_open_dot_is_found_after_a_restart_and_a_closed_one_is_not)
{
    struct seen s = {0};
    struct spool_cursor c = {0};
    struct spool_recovered found;
    struct spool_txn *t;

    for (uint64_t i = 1; i <= 3; i++)
        ck_assert_int_eq(kit_put(&kit, id_of(i), 10), OK);
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_dot(t, id_of(1), 5), OK);
    ck_assert_int_eq(spool_dot(t, id_of(2), 5), OK);
    ck_assert_int_eq(spool_closed(t, id_of(1)), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    kit_reopen(&kit);
    spool_recovered(kit.spool, &found);
    ck_assert_uint_eq(found.open_dots, 1);
    ck_assert_int_eq(spool_scan(kit.reader, &c, 100, see, &s), OK);
    ck_assert_uint_eq(s.n, 3);
    ck_assert(!s.open[0] && s.open[1] && !s.open[2]);

    ck_assert_int_eq(kit_settle(&kit, id_of(2), 1), OK); /* takes its mark along */
    kit_reopen(&kit);
    spool_recovered(kit.spool, &found);
    ck_assert_uint_eq(found.open_dots, 0);
}
END_TEST

static const size_t batches[] = {1, 7, 100, 1000};

START_TEST(a_scan_sees_every_message_once_in_order_with_any_batch)
{
    struct seen s = {0};
    struct spool_cursor c = {0};
    struct spool_txn *t = spool_begin(kit.spool);

    for (uint64_t i = 0; i < 100; i++) {
        struct kit_message m;

        kit_message(&kit, &m, mid_make((uint16_t)(i % 3), i % 5, i), 10);
        ck_assert_int_eq(spool_put(t, &m.envelope, &m.body), OK);
        kit_message_free(&kit, &m);
    }
    ck_assert_int_eq(spool_commit(&t), OK);
    while (!c.end)
        ck_assert_int_eq(spool_scan(kit.reader, &c, batches[_i], see, &s), OK);
    ck_assert_uint_eq(s.n, 100);
    for (size_t i = 1; i < s.n; i++)
        ck_assert_int_lt(mid_cmp(s.ids[i - 1], s.ids[i]), 0);
    ck_assert_int_eq(spool_scan(kit.reader, &c, 10, see, &s), OK);
    ck_assert_uint_eq(s.n, 100);
}
END_TEST

START_TEST(a_scan_stopped_by_its_callback_goes_on_behind_that_record)
{
    struct seen s = {.stop_at = 2};
    struct spool_cursor c = {0};

    for (uint64_t i = 1; i <= 5; i++)
        ck_assert_int_eq(kit_put(&kit, id_of(i), 10), OK);
    ck_assert_int_eq(spool_scan(kit.reader, &c, 100, see, &s), OK);
    ck_assert_uint_eq(s.n, 2);
    ck_assert(!c.end);
    ck_assert_int_eq(spool_scan(kit.reader, &c, 100, see, &s), OK);
    ck_assert(c.end);
    ck_assert_uint_eq(s.n, 5);
    ck_assert_uint_eq(mid_counter(s.ids[2]), 3);
}
END_TEST

/* --- Settled --- */

START_TEST(late_copy_of_a_settled_message_stays_dead)
{
    struct envelope e;

    ck_assert_int_eq(kit_put(&kit, id_of(1), 5000), OK);
    ck_assert_int_eq(kit_settle(&kit, id_of(1), 1), OK);
    ck_assert_int_eq(kit_put(&kit, id_of(1), 5000), E_NOTFOUND);
    kit_reopen(&kit);
    ck_assert_int_eq(kit_put(&kit, id_of(1), 5000), E_NOTFOUND);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), E_NOTFOUND);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 0);
    ck_assert_uint_eq(spool_totals(kit.spool).bytes, 0);
}
END_TEST

START_TEST(reading_the_body_of_a_message_settled_meanwhile_says_so)
{
    struct envelope e;
    char buf[100];
    size_t got;

    ck_assert_int_eq(kit_put(&kit, id_of(1), 5000), OK);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(spool_read_body(kit.reader, &e, 0, buf, sizeof buf, &got), OK);
    {
        struct spool_txn *t = spool_begin(kit.spool);
        struct envelope copy = e;

        ck_assert_int_eq(kit_commit(t, spool_settle(t, &copy, 1, 1)), OK);
    }
    ck_assert_int_eq(spool_read_body(kit.reader, &e, 100, buf, sizeof buf, &got), E_NOTFOUND);
    ck_assert_uint_eq(got, 0);
    ck_assert_int_eq(spool_verify_body(kit.reader, &e), E_NOTFOUND);
}
END_TEST

START_TEST(a_settled_message_can_be_traced_until_it_is_old)
{
    const uint64_t settled_ms = 100 * DAY + 5;
    struct envelope e;
    struct spool_txn *t;
    bool live;
    size_t dropped;

    ck_assert_int_eq(kit_put(&kit, id_of(1), 5000), OK);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), OK);
    ck_assert(live);
    ck_assert_int_eq(kit_settle(&kit, id_of(1), settled_ms), OK);
    kit_reopen(&kit);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), OK);
    ck_assert(!live);
    ck_assert_uint_eq(e.settled_ms, settled_ms);
    ck_assert_int_eq((int)e.settled_wall_ms, 1);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(2), &kit.arena, &e, &live), E_NOTFOUND);

    t = spool_begin(kit.spool); /* 30 days later, to the hour: still there */
    ck_assert_int_eq(spool_prune(t, 130 * DAY + DAY - 1, 100, &dropped), OK);
    ck_assert_uint_eq(dropped, 0);
    ck_assert_int_eq(spool_prune(t, 131 * DAY, 100, &dropped), OK);
    ck_assert_uint_eq(dropped, 1);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), E_NOTFOUND);
    ck_assert_int_eq(settled(1), OK); /* that it has left is never forgotten */
}
END_TEST

static bool see_trace(void *user, const struct envelope *e, bool dot_open)
{
    uint64_t *seen = user;

    ck_assert(!dot_open && e->settled_ms == 100 * DAY);
    *seen = *seen * 10 + mid_counter(e->id);
    return true;
}

START_TEST(what_is_settled_is_walked_in_batches_and_nothing_else)
{
    struct spool_cursor c = {.settled = true};
    uint64_t seen = 0;
    int calls = 0;

    for (uint64_t i = 1; i <= 5; i++)
        ck_assert_int_eq(kit_put(&kit, id_of(i), 10), OK);
    for (uint64_t i = 1; i <= 5; i += 2)
        ck_assert_int_eq(kit_settle(&kit, id_of(i), 100 * DAY), OK);
    for (; !c.end; calls++)
        ck_assert_int_eq(spool_scan(kit.reader, &c, 2, see_trace, &seen), OK);
    ck_assert_uint_eq(seen, 135);
    ck_assert_int_eq(calls, 2);
    ck_assert_uint_eq(c.corrupt, 0);
}
END_TEST

START_TEST(pruning_takes_the_oldest_first_and_at_most_max)
{
    struct envelope e;
    struct spool_txn *t;
    size_t dropped;
    bool live;

    for (uint64_t i = 1; i <= 10; i++) {
        ck_assert_int_eq(kit_put(&kit, id_of(i), 10), OK);
        ck_assert_int_eq(kit_settle(&kit, id_of(i), (20 - i) * DAY), OK);
    }
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_prune(t, 100 * DAY, 4, &dropped), OK);
    ck_assert_uint_eq(dropped, 4);
    ck_assert_int_eq(spool_commit(&t), OK);
    for (uint64_t i = 1; i <= 10; i++)
        ck_assert_int_eq(spool_trace(kit.reader, id_of(i), &kit.arena, &e, &live),
                         i > 6 ? E_NOTFOUND : OK);
}
END_TEST

START_TEST(an_aborted_id_is_settled_and_leaves_no_trace)
{
    struct envelope e;
    struct spool_txn *t = spool_begin(kit.spool);
    bool live;

    ck_assert_int_eq(spool_abort_id(t, id_of(1)), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(settled(1), OK);
    ck_assert_int_eq(kit_put(&kit, id_of(1), 10), E_NOTFOUND);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), E_NOTFOUND);
}
END_TEST

START_TEST(settled_ids_of_one_session_say_nothing_about_another)
{
    struct spool_txn *t = spool_begin(kit.spool);

    ck_assert_int_eq(spool_abort_id(t, mid_make(1, 7, UINT64_MAX)), OK);
    ck_assert_int_eq(spool_abort_id(t, mid_make(1, 8, 0)), OK);
    ck_assert_int_eq(spool_abort_id(t, mid_make(2, 7, 5)), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(spool_settled_contains(kit.reader, mid_make(1, 7, UINT64_MAX)), OK);
    ck_assert_int_eq(spool_settled_contains(kit.reader, mid_make(1, 7, 0)), E_NOTFOUND);
    ck_assert_int_eq(spool_settled_contains(kit.reader, mid_make(1, 8, 0)), OK);
    ck_assert_int_eq(spool_settled_contains(kit.reader, mid_make(1, 8, 1)), E_NOTFOUND);
    ck_assert_int_eq(spool_settled_contains(kit.reader, mid_make(1, 6, 5)), E_NOTFOUND);
    ck_assert_int_eq(spool_settled_contains(kit.reader, mid_make(2, 7, 5)), OK);
    ck_assert_int_eq(spool_settled_contains(kit.reader, mid_make(2, 7, 4)), E_NOTFOUND);
}
END_TEST

/* --- Opening --- */

START_TEST(a_second_opener_is_refused)
{
    struct spool *second;

    ck_assert_int_eq(spool_open(&second, &kit.options), E_AGAIN);
    ck_assert_ptr_null(second);
}
END_TEST

START_TEST(a_spool_that_lost_its_file_does_not_start_empty)
{
    struct spool *s;
    char path[128];

    kit_close(&kit);
    snprintf(path, sizeof path, "%s/data/data.mdb", kit.dir);
    ck_assert_int_eq(truncate(path, 0), 0);
    ck_assert_int_eq(spool_open(&s, &kit.options), E_CORRUPT);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(spool_open(&s, &kit.options), E_CORRUPT);
    ck_assert_ptr_null(s);
}
END_TEST

START_TEST(what_is_not_a_spool_is_refused)
{
    struct spool *s;
    char path[128];
    FILE *f;

    kit_close(&kit);
    snprintf(path, sizeof path, "%s/data/data.mdb", kit.dir);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    for (int i = 0; i < 100000; i++)
        fputc('x', f);
    fclose(f);
    ck_assert_int_eq(spool_open(&s, &kit.options), E_CORRUPT);
}
END_TEST

START_TEST(a_creation_that_was_cut_is_begun_anew)
{
    char path[128];
    FILE *f;

    kit_close(&kit);
    kit_remove_dir(kit.dir);
    ck_assert_int_eq(mkdir(kit.dir, 0700), 0);
    snprintf(path, sizeof path, "%s/data.new", kit.dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/data.new/data.mdb", kit.dir);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs("half", f);
    fclose(f);
    kit_open(&kit);
    ck_assert_int_eq(kit_put(&kit, id_of(1), 10), OK);
}
END_TEST

START_TEST(a_directory_that_is_not_there_is_an_error)
{
    struct spool_options o = {.dir = "/nonexistent/spool", .map_bytes = MAP_BYTES};
    struct spool *s;

    ck_assert_int_eq(spool_open(&s, &o), E_IO);
    ck_assert_ptr_null(s);
}
END_TEST

START_TEST(readers_are_bounded_and_come_back)
{
    struct spool_reader *readers[LIMIT_SPOOL_READERS], *more;
    size_t n = 0;
    enum err e;

    while ((e = spool_reader_open(kit.spool, &readers[n])) == OK)
        n++;
    ck_assert_int_eq(e, E_FULL);
    ck_assert_uint_eq(n, LIMIT_SPOOL_READERS - 1); /* one is the kit's */
    spool_reader_close(&readers[--n]);
    ck_assert_int_eq(spool_reader_open(kit.spool, &more), OK);
    spool_reader_close(&more);
    while (n > 0)
        spool_reader_close(&readers[--n]);
}
END_TEST

static bool look_while_open(void *user, const struct envelope *e, bool dot_open)
{
    (void)e, (void)dot_open;
    for (uint64_t i = 2; i < 5; i++)
        ck_assert_int_eq(kit_put(&kit, id_of(i), 10), OK);
    spool_readers_check(kit.spool, user);
    return true;
}

START_TEST(the_watchdog_sees_how_far_an_open_snapshot_lags)
{
    struct spool_reader_age age;
    struct spool_cursor c = {0};

    ck_assert_int_eq(kit_put(&kit, id_of(1), 10), OK);
    spool_readers_check(kit.spool, &age);
    ck_assert_uint_eq(age.lag_txns, 0);
    ck_assert_uint_eq(age.oldest_ms, 0);
    ck_assert_int_eq(spool_scan(kit.reader, &c, 1, look_while_open, &age), OK);
    ck_assert_uint_eq(age.lag_txns, 3);
    spool_readers_check(kit.spool, &age);
    ck_assert_uint_eq(age.lag_txns, 0);
}
END_TEST

/* --- Suite --- */

static TCase *fresh_case(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
    return tc;
}

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

static void add_messages(Suite *suite)
{
    TCase *tc = fresh_case(suite, "messages");

    tcase_add_loop_test(tc, a_body_of_any_size_comes_back_exactly_also_after_a_reopen, 0,
                        COUNT(sizes));
    tcase_add_test(tc, a_body_is_read_from_any_offset);
    tcase_add_test(tc, an_empty_commit_is_fine);
    tcase_add_test(tc, an_aborted_batch_leaves_nothing);
    tcase_add_test(tc, a_reader_sees_nothing_of_a_batch_before_its_commit);
    tcase_add_loop_test(tc, one_message_s_trouble_is_answered_and_the_batch_goes_on, 0,
                        COUNT(answers));
    tcase_add_loop_test(tc, a_body_staged_in_pieces_of_any_size_comes_back_exactly, 0,
                        COUNT(steps));
    tcase_add_loop_test(tc, a_staged_piece_goes_only_where_the_last_one_ended, 0,
                        COUNT(places));
    tcase_add_loop_test(tc, a_staged_body_of_another_size_is_not_named, 0, COUNT(wrong_sizes));
    tcase_add_test(tc, staged_chunks_without_a_record_are_gone_after_a_reopen);
    tcase_add_test(tc, unstage_removes_all_chunks_of_one_body_only);
    tcase_add_test(tc, an_update_replaces_the_envelope_and_keeps_the_body);
    tcase_add_test(tc, an_open_dot_is_found_after_a_restart_and_a_closed_one_is_not);
    tcase_add_loop_test(tc, a_scan_sees_every_message_once_in_order_with_any_batch, 0,
                        COUNT(batches));
    tcase_add_test(tc, a_scan_stopped_by_its_callback_goes_on_behind_that_record);
}

static void add_settled(Suite *suite)
{
    TCase *tc = fresh_case(suite, "settled");

    tcase_add_test(tc, late_copy_of_a_settled_message_stays_dead);
    tcase_add_test(tc, reading_the_body_of_a_message_settled_meanwhile_says_so);
    tcase_add_test(tc, a_settled_message_can_be_traced_until_it_is_old);
    tcase_add_test(tc, what_is_settled_is_walked_in_batches_and_nothing_else);
    tcase_add_test(tc, pruning_takes_the_oldest_first_and_at_most_max);
    tcase_add_test(tc, an_aborted_id_is_settled_and_leaves_no_trace);
    tcase_add_test(tc, settled_ids_of_one_session_say_nothing_about_another);
}

static void add_opening(Suite *suite)
{
    TCase *tc = fresh_case(suite, "opening");

    tcase_add_test(tc, a_second_opener_is_refused);
    tcase_add_test(tc, a_spool_that_lost_its_file_does_not_start_empty);
    tcase_add_test(tc, what_is_not_a_spool_is_refused);
    tcase_add_test(tc, a_creation_that_was_cut_is_begun_anew);
    tcase_add_test(tc, a_directory_that_is_not_there_is_an_error);
    tcase_add_test(tc, readers_are_bounded_and_come_back);
    tcase_add_test(tc, the_watchdog_sees_how_far_an_open_snapshot_lags);
}

int main(void)
{
    Suite *suite = suite_create("spool");
    SRunner *runner;
    int failed;

    add_messages(suite);
    add_settled(suite);
    add_opening(suite);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
