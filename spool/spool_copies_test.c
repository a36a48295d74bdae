/* Copies of several nodes in one spool: states go upwards only and survive a reopen; what is
 * known of a session counts for each of its ids; marks need no copy; what is settled elsewhere
 * comes in around what lives here. (spool_copies.c, spool_member.c, spool_facts.c) */
#include <check.h>

#include "base/log.h"
#include "spool/spool_check.h"
#include "spool/spool_internal.h"
#include "tests/support/spool_kit.h"

static struct kit kit;
static struct spool_txn *txn;

static void setup(void)
{
    log_set_level(LOG_ALARM + 1);
    kit_init(&kit, 64 * MiB);
    txn = spool_begin(kit.spool);
}

static void teardown(void)
{
    if (txn != NULL)
        spool_abort(&txn);
    kit_fini(&kit);
}

static void again(void)
{
    ck_assert_int_eq(spool_commit(&txn), OK);
    kit_reopen(&kit);
    txn = spool_begin(kit.spool);
}

static struct mid id_of(uint64_t counter)
{
    return mid_make(2, 7, counter);
}

static enum err put(uint64_t counter, enum copy_state state, uint64_t bytes)
{
    struct kit_message m;
    enum err e;

    kit_message(&kit, &m, id_of(counter), bytes);
    e = spool_put_copy(
        txn, &m.envelope,
        &(struct spool_copy){.state = state, .from_peer = true, .blocks = &m.body});
    kit_message_free(&kit, &m);
    return e;
}

static enum copy_state state(uint64_t counter)
{
    struct spool_state st;

    ck_assert_int_eq(spool_state(txn, id_of(counter), &st), OK);
    ck_assert(!st.damaged);
    return st.state;
}

/* --- One id --- */

enum step { NOTHING, PUT_UNDECIDED, PUT_COMMITTED, ABORT, COMMIT, UPTO, RESOLVED, SETTLE };

static enum err step(enum step s)
{
    struct envelope e;

    switch (s) {
    case NOTHING:
        return OK;
    case PUT_UNDECIDED:
        return put(1, COPY_UNDECIDED, 100);
    case PUT_COMMITTED:
        return put(1, COPY_COMMITTED, 100);
    case ABORT:
        return spool_abort_copy(txn, id_of(1));
    case COMMIT:
        return spool_commit_id(txn, id_of(1));
    case UPTO:
        return spool_commit_upto(txn, 2, 7, 1);
    case RESOLVED:
        return spool_resolved(txn, 2, 7);
    case SETTLE:
        arena_reset(&kit.arena);
        ck_assert_int_eq(spool_look(txn, id_of(1), &kit.arena, &e), OK);
        return spool_settle(txn, &e, 1, 1);
    }
    return E_PROTO;
}

static void on_finding(void *user, const struct spool_finding *f)
{
    (void)user;
    ck_abort_msg("%s %s: %s", f->table, f->key, f->what);
}

static void ck_sound(void)
{
    struct spool_check_summary sum;

    ck_assert_int_eq(spool_commit(&txn), OK);
    kit_close(&kit);
    ck_assert_int_eq(spool_check(kit.dir, on_finding, NULL, &sum), OK);
    kit_open(&kit);
    txn = spool_begin(kit.spool);
}

static const struct {
    enum step first, second, third;
    enum err expect; /* of the last one */
    enum copy_state state;
} ways[] = {
    {NOTHING, NOTHING, NOTHING, OK, COPY_NONE},
    {NOTHING, NOTHING, PUT_UNDECIDED, OK, COPY_UNDECIDED},
    {NOTHING, NOTHING, PUT_COMMITTED, OK, COPY_COMMITTED},
    {NOTHING, NOTHING, ABORT, OK, COPY_ABORTED},
    {NOTHING, NOTHING, COMMIT, E_NOTFOUND, COPY_NONE},
    {NOTHING, PUT_UNDECIDED, PUT_UNDECIDED, E_EXISTS, COPY_UNDECIDED},
    {NOTHING, PUT_UNDECIDED, COMMIT, OK, COPY_COMMITTED},
    {NOTHING, PUT_UNDECIDED, ABORT, OK, COPY_ABORTED},
    {NOTHING, PUT_UNDECIDED, UPTO, OK, COPY_COMMITTED},
    {NOTHING, PUT_UNDECIDED, RESOLVED, OK, COPY_COMMITTED},
    {NOTHING, PUT_COMMITTED, COMMIT, E_EXISTS, COPY_COMMITTED},
    {NOTHING, PUT_COMMITTED, ABORT, E_CONFLICT, COPY_COMMITTED},
    {PUT_UNDECIDED, UPTO, ABORT, E_CONFLICT, COPY_COMMITTED},
    {PUT_UNDECIDED, COMMIT, ABORT, E_CONFLICT, COPY_COMMITTED},
    {PUT_UNDECIDED, RESOLVED, ABORT, E_CONFLICT, COPY_COMMITTED},
    {NOTHING, UPTO, PUT_UNDECIDED, OK, COPY_COMMITTED},
    {NOTHING, UPTO, UPTO, E_EXISTS, COPY_NONE},
    {NOTHING, RESOLVED, RESOLVED, E_EXISTS, COPY_NONE},
    {NOTHING, ABORT, ABORT, E_EXISTS, COPY_ABORTED},
    {NOTHING, ABORT, UPTO, OK, COPY_ABORTED},
    {NOTHING, ABORT, RESOLVED, OK, COPY_ABORTED},
    {NOTHING, ABORT, COMMIT, E_NOTFOUND, COPY_ABORTED},
    {NOTHING, ABORT, PUT_UNDECIDED, E_NOTFOUND, COPY_ABORTED},
    {NOTHING, ABORT, PUT_COMMITTED, OK, COPY_COMMITTED},
    {ABORT, PUT_COMMITTED, ABORT, E_CONFLICT, COPY_COMMITTED},
    {NOTHING, PUT_COMMITTED, SETTLE, OK, COPY_SETTLED},
    {PUT_COMMITTED, SETTLE, ABORT, E_NOTFOUND, COPY_SETTLED},
    {PUT_COMMITTED, SETTLE, PUT_COMMITTED, E_NOTFOUND, COPY_SETTLED},
    {PUT_COMMITTED, SETTLE, COMMIT, E_NOTFOUND, COPY_SETTLED},
};

START_TEST(a_state_goes_upwards_and_is_there_after_a_reopen)
{
    struct spool_state st;

    ck_assert_int_eq(step(ways[_i].first), OK);
    ck_assert_int_eq(step(ways[_i].second), OK);
    ck_assert_int_eq(step(ways[_i].third), ways[_i].expect);
    ck_assert_int_eq(state(1), ways[_i].state);
    again();
    ck_assert_int_eq(state(1), ways[_i].state);
    ck_assert_int_eq(spool_state_of(kit.reader, id_of(1), &st), OK);
    ck_assert_int_eq(st.state, ways[_i].state);
    ck_assert_uint_eq(spool_totals(kit.spool).messages,
                      st.state == COPY_UNDECIDED || st.state == COPY_COMMITTED);
    ck_sound();
}
END_TEST

START_TEST(an_abort_takes_the_body_along_and_another_id_s_stays)
{
    struct envelope e;
    struct spool_recovered found;

    ck_assert_int_eq(put(1, COPY_UNDECIDED, 20000), OK);
    ck_assert_int_eq(put(2, COPY_UNDECIDED, 20000), OK);
    ck_assert_int_eq(spool_abort_copy(txn, id_of(1)), OK);
    again();
    spool_recovered(kit.spool, &found);
    ck_assert_uint_eq(found.orphan_bodies, 0);
    ck_assert_uint_eq(found.totals.bytes, 20000);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), E_NOTFOUND);
    ck_assert_int_eq(kit_get(&kit, id_of(2), &e), OK);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
    ck_assert_int_eq(spool_settled_contains(kit.reader, id_of(1)), E_NOTFOUND);
}
END_TEST

START_TEST(a_commit_leaves_the_envelope_and_the_body_as_they_were)
{
    struct envelope e;

    ck_assert_int_eq(put(1, COPY_UNDECIDED, 20000), OK);
    ck_assert_int_eq(spool_commit_id(txn, id_of(1)), OK);
    again();
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
    ck_assert_uint_eq(e.received_ms, 1);
}
END_TEST

START_TEST(an_update_leaves_the_state_as_it_was)
{
    struct envelope e;

    ck_assert_int_eq(put(1, COPY_UNDECIDED, 100), OK);
    arena_reset(&kit.arena);
    ck_assert_int_eq(spool_look(txn, id_of(1), &kit.arena, &e), OK);
    e.held = true;
    ck_assert_int_eq(spool_update(txn, &e), OK);
    ck_assert_int_eq(state(1), COPY_UNDECIDED);
}
END_TEST

START_TEST(commit_knowledge_ends_at_its_counter_and_never_goes_back)
{
    for (uint64_t i = 1; i <= 4; i++)
        ck_assert_int_eq(put(i, COPY_UNDECIDED, 10), OK);
    ck_assert_int_eq(spool_commit_upto(txn, 2, 7, 3), OK);
    ck_assert_int_eq(spool_commit_upto(txn, 2, 7, 2), E_EXISTS);
    ck_assert_int_eq(spool_commit_upto(txn, 2, 8, 9), OK); /* of another session */
    ck_assert_int_eq(spool_commit_upto(txn, 1, 7, 9), OK); /* of another site */
    ck_assert_int_eq(state(3), COPY_COMMITTED);
    ck_assert_int_eq(state(4), COPY_UNDECIDED);
    ck_assert_int_eq(spool_resolved(txn, 2, 7), OK);
    ck_assert_int_eq(state(4), COPY_COMMITTED);
    ck_assert_int_eq(spool_commit_upto(txn, 2, 7, 1), E_EXISTS);
    ck_assert_int_eq(spool_commit_upto(txn, 2, 7, 5), OK);
    ck_assert_int_eq(put(9, COPY_UNDECIDED, 10), OK); /* it is still resolved */
    ck_assert_int_eq(state(9), COPY_COMMITTED);
}
END_TEST

/* --- Delivery sees what is committed --- */

static bool count(void *user, const struct envelope *e, bool dot_open)
{
    uint64_t *seen = user;

    (void)dot_open;
    *seen += UINT64_C(1) << mid_counter(e->id);
    return true;
}

START_TEST(a_scan_may_pass_over_what_is_not_committed)
{
    struct spool_cursor all = {0}, committed = {.committed_only = true};
    uint64_t seen = 0;

    ck_assert_int_eq(put(1, COPY_UNDECIDED, 10), OK);
    ck_assert_int_eq(put(2, COPY_COMMITTED, 10), OK);
    ck_assert_int_eq(put(5, COPY_UNDECIDED, 10), OK);
    ck_assert_int_eq(spool_commit_upto(txn, 2, 7, 1), OK);
    again();
    ck_assert_int_eq(spool_scan(kit.reader, &committed, 100, count, &seen), OK);
    ck_assert_uint_eq(seen, 1 << 1 | 1 << 2);
    ck_assert_uint_eq(committed.corrupt, 0);
    ck_assert(committed.end);
    seen = 0;
    ck_assert_int_eq(spool_scan(kit.reader, &all, 100, count, &seen), OK);
    ck_assert_uint_eq(seen, 1 << 1 | 1 << 2 | 1 << 5);
}
END_TEST

/* --- Marks --- */

START_TEST(a_mark_names_its_holder_also_where_no_copy_is)
{
    struct spool_mark m = {.slot_epoch = 9, .site = 3, .session = 77}, got;

    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &got), E_NOTFOUND);
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    again();
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &got), OK);
    ck_assert_uint_eq(got.slot_epoch, 9);
    ck_assert_uint_eq(got.site, 3);
    ck_assert_uint_eq(got.session, 77);
    m.slot_epoch = 4; /* whoever writes it has judged */
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &got), OK);
    ck_assert_uint_eq(got.slot_epoch, 4);
    ck_assert_int_eq(spool_closed(txn, id_of(1)), OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &got), E_NOTFOUND);
}
END_TEST

START_TEST(a_mark_says_what_else_it_stands_for)
{
    for (int n = 0; n < 4; n++) {
        struct spool_mark m = {.slot_epoch = 9, .site = 3, .session = 77}, got;

        m.over = (n & 1) != 0;
        m.doubt = (n & 2) != 0;
        ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
        again();
        ck_assert_int_eq(spool_mark_get(txn, id_of(1), &got), OK);
        ck_assert(got.over == m.over && got.doubt == m.doubt);
        ck_assert_int_eq(spool_mark_of(kit.reader, id_of(1), &got), OK);
        ck_assert(got.site == 3 && got.over == m.over && got.doubt == m.doubt);
    }
    ck_assert_int_eq(spool_closed(txn, id_of(1)), OK);
    again();
    ck_assert_int_eq(spool_mark_of(kit.reader, id_of(1), &(struct spool_mark){0}), E_NOTFOUND);
}
END_TEST

/* Who consented to a dot has consented, whatever it hears of the copy: a committed one may come
 * over the abort, and then another holder must hear of the first one's dot. */
START_TEST(an_abort_does_not_take_the_mark_along)
{
    struct spool_mark m = {.slot_epoch = 9, .site = 3, .session = 77}, got;

    ck_assert_int_eq(put(1, COPY_UNDECIDED, 100), OK);
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    ck_assert_int_eq(spool_abort_copy(txn, id_of(1)), OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &got), OK);
    ck_assert_int_eq(put(1, COPY_COMMITTED, 100), OK);
    again();
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &got), OK);
    ck_assert_uint_eq(got.site, 3);
}
END_TEST

START_TEST(a_settled_id_takes_no_mark)
{
    struct spool_mark m = {.slot_epoch = 9, .site = 3, .session = 77};

    ck_assert_int_eq(spool_settle_range(txn, 2, 7, 1, 1), OK);
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), E_NOTFOUND);
}
END_TEST

/* --- What is settled elsewhere --- */

static size_t intervals(void)
{
    MDB_stat st;

    ck_assert_int_eq(mdb_stat(txn->mdb, kit.spool->dbi[TABLE_SETTLED], &st), 0);
    return st.ms_entries;
}

START_TEST(a_settled_range_comes_in_around_what_lives_here)
{
    struct spool_mark m = {.slot_epoch = 9, .site = 3, .session = 77}, got;

    ck_assert_int_eq(put(3, COPY_UNDECIDED, 10), OK);
    ck_assert_int_eq(put(4, COPY_COMMITTED, 10), OK);
    ck_assert_int_eq(put(7, COPY_COMMITTED, 10), OK);
    ck_assert_int_eq(spool_abort_copy(txn, id_of(5)), OK);
    ck_assert_int_eq(spool_mark(txn, id_of(3), &m), OK);
    ck_assert_int_eq(spool_mark(txn, id_of(6), &m), OK);
    ck_assert_int_eq(spool_settle_range(txn, 2, 7, 1, 7), OK);
    for (uint64_t i = 0; i <= 8; i++) {
        bool live = i == 3 || i == 4 || i == 7, outside = i == 0 || i == 8;

        ck_assert_int_eq(spool_settled_find(kit.spool, txn->mdb, id_of(i)),
                         live || outside ? E_NOTFOUND : OK);
        ck_assert_int_eq(state(i) == COPY_SETTLED, !live && !outside);
    }
    ck_assert_uint_eq(intervals(), 2);
    ck_assert_int_eq(spool_mark_get(txn, id_of(3), &got), OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(6), &got), E_NOTFOUND);
    ck_assert_int_eq(spool_settle_range(txn, 2, 7, 1, 7), E_EXISTS);
    ck_assert_int_eq(spool_settle_range(txn, 2, 7, 0, UINT64_MAX), OK);
    ck_assert_uint_eq(intervals(), 3);
    ck_assert_int_eq(spool_settle_range(txn, 2, 7, 0, UINT64_MAX), E_EXISTS);
}
END_TEST

#define IDS 48

/* Random ranges against an array; intervals are as few as there are runs. */
START_TEST(ranges_merge_in_any_order)
{
    bool dead[IDS] = {0}, live[IDS] = {0};
    struct prng r;

    prng_seed(&r, (uint64_t)_i + 1);
    for (size_t i = 0; i < 5; i++)
        live[prng_below(&r, IDS)] = true;
    for (uint64_t i = 0; i < IDS; i++)
        if (live[i])
            ck_assert_int_eq(put(i, COPY_COMMITTED, 10), OK);
    for (size_t round = 0; round < 30; round++) {
        uint64_t from = prng_below(&r, IDS), to = from + prng_below(&r, IDS - from);
        bool fresh = false;
        size_t runs = 0;

        for (uint64_t i = from; i <= to; i++) {
            fresh |= !live[i] && !dead[i];
            dead[i] |= !live[i];
        }
        ck_assert_int_eq(spool_settle_range(txn, 2, 7, from, to), fresh ? OK : E_EXISTS);
        for (uint64_t i = 0; i < IDS; i++) {
            runs += dead[i] && (i == 0 || !dead[i - 1]);
            ck_assert_int_eq(spool_settled_find(kit.spool, txn->mdb, id_of(i)),
                             dead[i] ? OK : E_NOTFOUND);
        }
        ck_assert_uint_eq(intervals(), runs);
    }
}
END_TEST

/* Who has heard of the end alone can tell nobody how it ended, until somebody tells it. */
START_TEST(a_settled_id_takes_its_last_envelope_later)
{
    struct kit_message made;
    struct envelope e;
    bool live;

    kit_envelope(&made, id_of(3), 100);
    ck_assert_int_eq(spool_settle_trace(txn, &made.envelope, 5, 6), E_NOTFOUND);
    ck_assert_int_eq(spool_settle_range(txn, mid_site(id_of(3)), mid_epoch(id_of(3)), 3, 3),
                     OK);
    again();
    ck_assert_int_eq(spool_trace(kit.reader, id_of(3), &kit.arena, &e, &live), E_NOTFOUND);
    ck_assert_int_eq(spool_settle_trace(txn, &made.envelope, 5, 6), OK);
    ck_assert_int_eq(spool_settle_trace(txn, &made.envelope, 7, 8), E_EXISTS);
    again();
    ck_assert_int_eq(spool_trace(kit.reader, id_of(3), &kit.arena, &e, &live), OK);
    ck_assert(!live);
    ck_assert_uint_eq(e.settled_ms, 5);
}
END_TEST

START_TEST(a_copy_is_settled_by_its_id_alone_and_leaves_no_trace)
{
    struct spool_mark m = {.slot_epoch = 9, .site = 3, .session = 77};
    struct envelope e;
    bool live;

    ck_assert_int_eq(spool_settle_id(txn, id_of(1)), E_NOTFOUND);
    ck_assert_int_eq(put(1, COPY_COMMITTED, 100), OK);
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    ck_assert_int_eq(spool_settle_id(txn, id_of(1)), OK);
    ck_assert_int_eq(spool_settle_id(txn, id_of(1)), E_EXISTS);
    again();
    ck_assert_int_eq(put(1, COPY_COMMITTED, 100), E_NOTFOUND);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), E_NOTFOUND);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), E_NOTFOUND);
}
END_TEST

START_TEST(an_outcome_settles_an_id_that_never_came)
{
    struct spool_mark m = {.slot_epoch = 9, .site = 3, .session = 77};
    struct kit_message made;
    struct envelope e;
    bool live;

    kit_envelope(&made, id_of(1), 100);
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    ck_assert_int_eq(spool_settle_absent(txn, &made.envelope, 5, 6), OK);
    ck_assert_int_eq(spool_settle_absent(txn, &made.envelope, 5, 6), E_EXISTS);
    ck_assert_int_eq(put(1, COPY_COMMITTED, 100), E_NOTFOUND);
    ck_assert_int_eq(put(2, COPY_UNDECIDED, 100), OK);
    kit_envelope(&made, id_of(2), 100);
    ck_assert_int_eq(spool_settle_absent(txn, &made.envelope, 5, 6), E_CONFLICT);
    again();
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), OK);
    ck_assert(!live);
    ck_assert_uint_eq(e.settled_ms, 5);
}
END_TEST

START_TEST(what_is_clear_is_one_number_and_answers_as_settled)
{
    struct spool_mark m = {.slot_epoch = 9, .site = 3, .session = 77};
    struct spool_state st;
    MDB_stat stat;

    ck_assert_int_eq(spool_settle_range(txn, 2, 7, 1, 9), OK);
    ck_assert_int_eq(spool_settle_range(txn, 2, 8, 1, 9), OK);
    ck_assert_int_eq(spool_settle_range(txn, 1, 7, 1, 9), OK);
    ck_assert_int_eq(spool_abort_copy(txn, id_of(10)), OK);
    ck_assert_int_eq(spool_mark(txn, id_of(11), &m), OK);
    ck_assert_int_eq(spool_commit_upto(txn, 2, 7, 12), OK);
    ck_assert_int_eq(put(13, COPY_COMMITTED, 10), OK);
    ck_assert_int_eq(spool_clear_below(txn, 2, 8), E_CONFLICT);
    ck_assert_int_eq(spool_clear_below(txn, 2, 7), OK);
    ck_assert_int_eq(step(NOTHING), OK);
    {
        struct envelope e;

        arena_reset(&kit.arena);
        ck_assert_int_eq(spool_look(txn, id_of(13), &kit.arena, &e), OK);
        ck_assert_int_eq(spool_settle(txn, &e, 1, 1), OK);
    }
    ck_assert_int_eq(spool_clear_below(txn, 2, 8), OK);
    ck_assert_int_eq(spool_clear_below(txn, 2, 8), E_EXISTS);
    ck_assert_int_eq(spool_clear_below(txn, 2, 7), E_EXISTS);
    ck_assert_uint_eq(intervals(), 2);
    for (size_t i = 0; i < 3; i++) {
        static const enum spool_table gone[] = {TABLE_ABORTED, TABLE_MARK, TABLE_SESSION};

        ck_assert_int_eq(mdb_stat(txn->mdb, kit.spool->dbi[gone[i]], &stat), 0);
        ck_assert_uint_eq(stat.ms_entries, 0);
    }
    again();
    ck_assert_int_eq(state(12345), COPY_SETTLED);
    ck_assert_int_eq(put(12345, COPY_COMMITTED, 10), E_NOTFOUND);
    ck_assert_int_eq(spool_commit_upto(txn, 2, 7, 99), E_NOTFOUND);
    ck_assert_int_eq(spool_settle_range(txn, 2, 7, 1, 9), E_EXISTS);
    ck_assert_int_eq(spool_abort_copy(txn, id_of(12345)), E_NOTFOUND);
    ck_assert_int_eq(spool_mark(txn, id_of(12345), &m), E_NOTFOUND);
    ck_assert_int_eq(spool_state(txn, mid_make(2, 8, 10), &st), OK);
    ck_assert_int_eq(st.state, COPY_NONE);
}
END_TEST

/* --- Damage is mended by a peer's copy --- */

static void damage(enum spool_table table, const struct spool_key *key)
{
    MDB_val k = val_of_key(key), v;

    ck_assert_int_eq(mdb_get(txn->mdb, kit.spool->dbi[table], &k, &v), 0);
    {
        char *copy = malloc(v.mv_size);
        MDB_val bad = {v.mv_size, copy};

        ck_assert_ptr_nonnull(copy);
        memcpy(copy, v.mv_data, v.mv_size);
        copy[v.mv_size - 1] ^= 1;
        ck_assert_int_eq(mdb_put(txn->mdb, kit.spool->dbi[table], &k, &bad, 0), 0);
        free(copy);
    }
}

START_TEST(an_outcome_settles_a_copy_that_nobody_can_read)
{
    struct spool_key msg = spool_key_mid(id_of(1));
    struct kit_message m;

    ck_assert_int_eq(put(1, COPY_COMMITTED, 100), OK);
    damage(TABLE_MSG, &msg);
    kit_envelope(&m, id_of(1), 100);
    ck_assert_int_eq(spool_settle_absent(txn, &m.envelope, 1, 1), OK);
    ck_assert_int_eq(state(1), COPY_SETTLED);
    again();
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 0);
}
END_TEST

static const struct {
    enum spool_table table;
    bool staged;
    enum copy_state was, sent, becomes;
} wounds[] = {
    {TABLE_MSG, false, COPY_COMMITTED, COPY_COMMITTED, COPY_COMMITTED},
    {TABLE_MSG, false, COPY_COMMITTED, COPY_UNDECIDED, COPY_UNDECIDED}, /* nobody can tell */
    {TABLE_BODY, false, COPY_COMMITTED, COPY_UNDECIDED, COPY_COMMITTED},
    {TABLE_BODY, false, COPY_UNDECIDED, COPY_COMMITTED, COPY_COMMITTED},
    {TABLE_BODY, true, COPY_UNDECIDED, COPY_UNDECIDED, COPY_UNDECIDED},
    {TABLE_MSG, true, COPY_UNDECIDED, COPY_UNDECIDED, COPY_UNDECIDED},
};

START_TEST(a_damaged_copy_is_replaced_whole)
{
    struct spool_key msg = spool_key_mid(id_of(1)), chunk = spool_key_body(1, 1);
    struct spool_copy c = {.state = wounds[_i].sent, .from_peer = true};
    struct spool_recovered found;
    struct kit_message m;
    struct envelope e;
    char *bytes = malloc(20000);

    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(put(1, wounds[_i].was, 20000), OK);
    ck_assert_int_eq(spool_verify(txn, id_of(1)), OK);
    damage(wounds[_i].table, wounds[_i].table == TABLE_MSG ? &msg : &chunk);
    ck_assert_int_eq(spool_verify(txn, id_of(1)), E_CORRUPT);
    kit_envelope(&m, id_of(1), 20000);
    kit_fill(id_of(1), 0, bytes, 20000);
    c.bytes = (struct str){bytes, 20000};
    if (wounds[_i].staged) {
        c.staged = spool_txn_next_body(txn);
        ck_assert_int_eq(spool_stage_copy(txn, c.staged, 0, (struct str){bytes, 9999}), OK);
        ck_assert_int_eq(
            spool_stage_copy(txn, c.staged, 9999, (struct str){bytes + 9999, 10001}), OK);
        ck_assert_int_eq(spool_staged_verify(txn, c.staged, 20000, m.envelope.body_digest), OK);
        ck_assert_int_eq(spool_staged_verify(txn, c.staged, 20000, m.envelope.body_digest + 1),
                         E_CORRUPT);
        ck_assert_int_eq(spool_staged_verify(txn, c.staged, 24000, m.envelope.body_digest),
                         E_CORRUPT);
    }
    ck_assert_int_eq(spool_replace(txn, &m.envelope, &c), OK);
    ck_assert_int_eq(spool_verify(txn, id_of(1)), OK);
    ck_assert_int_eq(state(1), wounds[_i].becomes);
    m.envelope.id = id_of(2);
    ck_assert_int_eq(spool_replace(txn, &m.envelope, &c), E_NOTFOUND);
    ck_assert_int_eq(spool_commit(&txn), OK);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 1);
    if (wounds[_i].table == TABLE_BODY) /* else nobody can tell what goes */
        ck_assert_uint_eq(spool_totals(kit.spool).bytes, 20000);
    txn = spool_begin(kit.spool);
    again();
    spool_recovered(kit.spool, &found);
    ck_assert_uint_eq(found.orphan_bodies, wounds[_i].table == TABLE_MSG);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 1);
    ck_assert_uint_eq(spool_totals(kit.spool).bytes, 20000);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
    free(bytes);
}
END_TEST

/* --- Membership --- */

START_TEST(a_member_is_filled_when_it_is_told_so_and_only_as_this_incarnation)
{
    struct spool_member m;
    uint64_t by;

    ck_assert_int_eq(spool_member(kit.reader, &m), E_NOTFOUND);
    ck_assert(!spool_is_filled(txn));
    ck_assert_int_eq(spool_member_begin(txn, 40, 41, false), OK);
    ck_assert_int_eq(spool_member_begin(txn, 40, 99, true), E_EXISTS);
    ck_assert_int_eq(spool_filled_by(txn, 1, &by), OK);
    ck_assert_uint_eq(by, 1 << 1);
    ck_assert_int_eq(spool_filled_by(txn, 3, &by), OK);
    ck_assert_uint_eq(by, 1 << 1 | 1 << 3);
    ck_assert_int_eq(spool_filled_by(txn, 64, &by), E_PROTO);
    again();
    ck_assert(!spool_is_filled(txn));
    ck_assert_int_eq(spool_filled_set(txn), OK);
    ck_assert_int_eq(spool_filled_set(txn), E_EXISTS);
    again();
    ck_assert(spool_is_filled(txn));
    ck_assert_int_eq(spool_member(kit.reader, &m), OK);
    ck_assert_uint_eq(m.incarnation, 40);
    ck_assert_uint_eq(m.first_epoch, 41);
    ck_assert_uint_eq(m.filled_by, 1 << 1 | 1 << 3);
    ck_assert(m.filled);
    ck_assert_int_eq(spool_member_begin(txn, 50, 51, false), OK);
    ck_assert(!spool_is_filled(txn));
}
END_TEST

START_TEST(an_echo_makes_a_commit_that_has_nothing_else)
{
    MDB_envinfo before, after;

    again();
    ck_assert_int_eq(mdb_env_info(kit.spool->env, &before), 0);
    ck_assert_int_eq(spool_echo(txn), OK);
    ck_assert_int_eq(spool_commit(&txn), OK);
    ck_assert_int_eq(mdb_env_info(kit.spool->env, &after), 0);
    ck_assert_uint_eq(after.me_last_txnid, before.me_last_txnid + 1);
    txn = spool_begin(kit.spool);
    ck_assert_int_eq(spool_echo(txn), OK);
}
END_TEST

/* --- What a start is told --- */

struct facts {
    char text[1000];
    size_t n;
};

static void tell(void *user, const struct spool_fact *f)
{
    static const char *const names[] = {"clear", "session", "settled", "aborted",
                                        "copy",  "mark",    "damaged"};
    struct facts *all = user;

    all->n += (size_t)snprintf(all->text + all->n, sizeof all->text - all->n, "%s %u/%llu",
                               names[f->kind], f->site, (unsigned long long)f->epoch);
    if (f->kind == SPOOL_FACT_SESSION)
        all->n += (size_t)snprintf(all->text + all->n, sizeof all->text - all->n, " %llu %d",
                                   (unsigned long long)f->upto, f->resolved);
    if (f->kind == SPOOL_FACT_SETTLED)
        all->n += (size_t)snprintf(all->text + all->n, sizeof all->text - all->n, " %llu-%llu",
                                   (unsigned long long)f->from, (unsigned long long)f->to);
    if (f->kind >= SPOOL_FACT_ABORTED)
        all->n += (size_t)snprintf(all->text + all->n, sizeof all->text - all->n, " %llu %d",
                                   (unsigned long long)mid_counter(f->id), (int)f->state);
    if (f->kind == SPOOL_FACT_MARK)
        all->n += (size_t)snprintf(all->text + all->n, sizeof all->text - all->n, " %llu %u",
                                   (unsigned long long)f->mark.slot_epoch, f->mark.site);
    all->n += (size_t)snprintf(all->text + all->n, sizeof all->text - all->n, "\n");
}

static const size_t batches[] = {1, 2, 3, 1000};

START_TEST(a_start_is_told_everything_once_with_any_batch)
{
    struct spool_mark m = {.slot_epoch = 9, .site = 3, .session = 77};
    struct spool_facts c = {0};
    struct facts all = {0};
    struct spool_key damaged = spool_key_mid(id_of(21));

    ck_assert_int_eq(spool_clear_below(txn, 2, 6), OK);
    ck_assert_int_eq(spool_settle_range(txn, 2, 7, 1, 9), OK);
    ck_assert_int_eq(spool_settle_range(txn, 2, 7, 12, 12), OK);
    ck_assert_int_eq(spool_abort_copy(txn, id_of(10)), OK);
    ck_assert_int_eq(spool_commit_upto(txn, 2, 7, 15), OK);
    ck_assert_int_eq(spool_resolved(txn, 3, 5), OK);
    ck_assert_int_eq(put(15, COPY_UNDECIDED, 10), OK);
    ck_assert_int_eq(put(16, COPY_UNDECIDED, 10), OK);
    ck_assert_int_eq(put(17, COPY_COMMITTED, 10), OK);
    ck_assert_int_eq(put(21, COPY_COMMITTED, 10), OK);
    ck_assert_int_eq(spool_mark(txn, id_of(17), &m), OK);
    ck_assert_int_eq(spool_mark(txn, id_of(21), &m), OK);
    damage(TABLE_MSG, &damaged);
    damage(TABLE_MARK, &damaged);
    again();
    while (!c.end)
        ck_assert_int_eq(spool_facts(kit.reader, &c, batches[_i], tell, &all), OK);
    ck_assert_uint_eq(c.corrupt, 2);
    ck_assert_str_eq(all.text, "clear 2/6\n"
                               "session 2/7 15 0\n"
                               "session 3/5 0 1\n"
                               "settled 2/7 1-9\n"
                               "settled 2/7 12-12\n"
                               "aborted 2/7 10 2\n"
                               "copy 2/7 15 3\n"
                               "copy 2/7 16 1\n"
                               "copy 2/7 17 3\n"
                               "damaged 2/7 21 0\n"
                               "mark 2/7 17 0 9 3\n"
                               "mark 2/7 21 0 0 0\n");
    ck_assert_int_eq(spool_facts(kit.reader, &c, 1, tell, &all), OK);
}
END_TEST

/* --- Suite --- */

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

int main(void)
{
    Suite *suite = suite_create("spool copies");
    TCase *tc = tcase_create("copies");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, a_state_goes_upwards_and_is_there_after_a_reopen, 0, COUNT(ways));
    tcase_add_test(tc, an_abort_takes_the_body_along_and_another_id_s_stays);
    tcase_add_test(tc, a_commit_leaves_the_envelope_and_the_body_as_they_were);
    tcase_add_test(tc, an_update_leaves_the_state_as_it_was);
    tcase_add_test(tc, commit_knowledge_ends_at_its_counter_and_never_goes_back);
    tcase_add_test(tc, a_scan_may_pass_over_what_is_not_committed);
    tcase_add_test(tc, a_mark_names_its_holder_also_where_no_copy_is);
    tcase_add_test(tc, a_mark_says_what_else_it_stands_for);
    tcase_add_test(tc, an_abort_does_not_take_the_mark_along);
    tcase_add_test(tc, a_settled_id_takes_no_mark);
    tcase_add_test(tc, a_settled_range_comes_in_around_what_lives_here);
    tcase_add_loop_test(tc, ranges_merge_in_any_order, 0, 8);
    tcase_add_test(tc, a_copy_is_settled_by_its_id_alone_and_leaves_no_trace);
    tcase_add_test(tc, an_outcome_settles_an_id_that_never_came);
    tcase_add_test(tc, a_settled_id_takes_its_last_envelope_later);
    tcase_add_test(tc, what_is_clear_is_one_number_and_answers_as_settled);
    tcase_add_test(tc, an_outcome_settles_a_copy_that_nobody_can_read);
    tcase_add_loop_test(tc, a_damaged_copy_is_replaced_whole, 0, COUNT(wounds));
    tcase_add_test(tc, a_member_is_filled_when_it_is_told_so_and_only_as_this_incarnation);
    tcase_add_test(tc, an_echo_makes_a_commit_that_has_nothing_else);
    tcase_add_loop_test(tc, a_start_is_told_everything_once_with_any_batch, 0, COUNT(batches));
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
