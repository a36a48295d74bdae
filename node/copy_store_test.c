/* One record of the data plane at a time, against a real spool: what it answers, what is
 * stored, and that it is still so after a reopen. */
#include "node/copy_store.h"

#include "tests/support/copy_kit.h"

/* --- Copies --- */

START_TEST(a_put_stores_the_copy_and_says_whose_domain_it_is)
{
    struct envelope e;

    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 5000), COPY_OK);
    ck_assert_int_eq(last.state, COPY_UNDECIDED);
    ck_assert(str_eq(last.domain, STR("example.org")));
    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 5000), COPY_OK);
    again();
    ck_assert_int_eq(state(1), COPY_UNDECIDED);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
    ck_assert_uint_eq(e.rcpt_count, 2);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 1);
    ck_assert_int_eq(put(ORIGIN, 2, COPY_COMMITTED, 0), COPY_OK); /* an empty body */
    ck_assert_int_eq(last.state, COPY_COMMITTED);
}
END_TEST

enum step {
    NOTHING,
    PUT_U,
    PUT_C,
    RELAY_C, /* of another site */
    ABORT,
    RELAYED_ABORT,
    COMMIT,
    UPTO,
    FINAL,
    PARTLY,
    CLOSED_EPOCH, /* the session is sealed from here on */
    FILL,
    RESOLVED
};

static enum copy_code step(enum step s)
{
    switch (s) {
    case NOTHING:
        return COPY_OK;
    case PUT_U:
        return put(ORIGIN, 1, COPY_UNDECIDED, 100);
    case PUT_C:
        return put(ORIGIN, 1, COPY_COMMITTED, 100);
    case RELAY_C:
        return put(OTHER, 1, COPY_COMMITTED, 100);
    case ABORT:
        return mark(ORIGIN, COPY_ABORT, 1);
    case RELAYED_ABORT:
        return mark(OTHER, COPY_ABORT, 1);
    case COMMIT:
        return mark(OTHER, COPY_COMMIT, 1);
    case UPTO:
        return upto(1);
    case FINAL:
        return delivered(1);
    case PARTLY:
        return outcome(OTHER, 1, 100, FATE_DELIVERED, FATE_PENDING, PHASE_DELIVER);
    case CLOSED_EPOCH:
        view.sealed = true;
        return COPY_OK;
    case FILL:
        fill();
        return COPY_OK;
    case RESOLVED:
        return of_session(OTHER, COPY_RESOLVED, SESSION);
    }
    return COPY_FAILED;
}

static const struct {
    enum step first, second, third;
    enum copy_code expect; /* of the last */
    enum copy_state state;
} ways[] = {
    {NOTHING, NOTHING, ABORT, COPY_OK, COPY_ABORTED},
    {NOTHING, NOTHING, COMMIT, COPY_MISSING, COPY_NONE},
    {NOTHING, NOTHING, FINAL, COPY_OK, COPY_SETTLED},
    {NOTHING, NOTHING, PARTLY, COPY_MISSING, COPY_NONE},
    {NOTHING, PUT_U, PUT_C, COPY_OK, COPY_COMMITTED},
    {NOTHING, PUT_U, RELAY_C, COPY_OK, COPY_COMMITTED},
    {NOTHING, PUT_U, COMMIT, COPY_OK, COPY_COMMITTED},
    {NOTHING, PUT_U, UPTO, COPY_OK, COPY_COMMITTED},
    {NOTHING, PUT_U, ABORT, COPY_OK, COPY_ABORTED},
    {NOTHING, PUT_U, FINAL, COPY_OK, COPY_SETTLED},
    {NOTHING, PUT_U, PARTLY, COPY_OK, COPY_COMMITTED},
    {NOTHING, PUT_C, PUT_U, COPY_OK, COPY_COMMITTED},
    {NOTHING, PUT_C, ABORT, COPY_SEALED, COPY_COMMITTED},
    {NOTHING, PUT_C, FINAL, COPY_OK, COPY_SETTLED},
    {PUT_C, FINAL, PUT_C, COPY_IS_SETTLED, COPY_SETTLED},
    {PUT_C, FINAL, FINAL, COPY_OK, COPY_SETTLED},
    {PUT_C, FINAL, COMMIT, COPY_IS_SETTLED, COPY_SETTLED},
    {PUT_C, FINAL, ABORT, COPY_IS_SETTLED, COPY_SETTLED},
    {NOTHING, FINAL, PUT_U, COPY_IS_SETTLED, COPY_SETTLED},
    {NOTHING, ABORT, ABORT, COPY_OK, COPY_ABORTED},
    {NOTHING, ABORT, PUT_U, COPY_IS_ABORTED, COPY_ABORTED},
    {NOTHING, ABORT, UPTO, COPY_OK, COPY_ABORTED},
    {NOTHING, ABORT, RELAY_C, COPY_OK, COPY_COMMITTED},
    {NOTHING, ABORT, FINAL, COPY_OK, COPY_SETTLED},
    {NOTHING, UPTO, PUT_U, COPY_OK, COPY_COMMITTED},
    {NOTHING, CLOSED_EPOCH, PUT_U, COPY_SEALED, COPY_NONE},
    {NOTHING, CLOSED_EPOCH, RELAY_C, COPY_OK, COPY_COMMITTED},
    {NOTHING, CLOSED_EPOCH, ABORT, COPY_SEALED, COPY_NONE},
    {PUT_U, CLOSED_EPOCH, ABORT, COPY_SEALED, COPY_UNDECIDED},
    {PUT_U, CLOSED_EPOCH, UPTO, COPY_SEALED, COPY_UNDECIDED},
    {PUT_U, CLOSED_EPOCH, RELAYED_ABORT, COPY_OK, COPY_ABORTED},
    {PUT_U, FILL, RESOLVED, COPY_LAG, COPY_UNDECIDED},
    {PUT_U, CLOSED_EPOCH, RESOLVED, COPY_NOT_WITNESS, COPY_UNDECIDED},
};

START_TEST(a_record_does_what_the_rules_say_and_it_is_so_after_a_reopen)
{
    ck_assert_int_eq(step(ways[_i].first), COPY_OK);
    ck_assert_int_eq(step(ways[_i].second), COPY_OK);
    ck_assert_int_eq(step(ways[_i].third), ways[_i].expect);
    ck_assert_int_eq(state(1), ways[_i].state);
    if (last.record.kind != COPY_UPTO && last.record.kind != COPY_RESOLVED)
        ck_assert_int_eq(last.state, ways[_i].state);
    again();
    ck_assert_int_eq(state(1), ways[_i].state);
}
END_TEST

START_TEST(a_copy_with_other_content_is_refused)
{
    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 100), COPY_OK);
    ck_assert_int_eq(put(OTHER, 1, COPY_COMMITTED, 101), COPY_CONFLICT);
    ck_assert_int_eq(last.state, COPY_UNDECIDED);
    ck_assert_int_eq(state(1), COPY_UNDECIDED);
    ck_assert_int_eq(outcome(OTHER, 1, 101, FATE_DELIVERED, FATE_DELIVERED, PHASE_DONE),
                     COPY_CONFLICT);
    ck_assert_int_eq(state(1), COPY_UNDECIDED);
}
END_TEST

START_TEST(what_does_not_fit_together_is_malformed)
{
    struct copy_record r = put_record(1, COPY_UNDECIDED, 100);

    r.id = id_of(2);
    ck_assert_int_eq(apply(ORIGIN, &r), COPY_MALFORMED);
    r.id = id_of(1);
    r.body.n--;
    ck_assert_int_eq(apply(ORIGIN, &r), COPY_MALFORMED);
    r.body.n++;
    body_bytes[50] ^= 1;
    ck_assert_int_eq(apply(ORIGIN, &r), COPY_MALFORMED);
    body_bytes[50] ^= 1;
    r.envelope.n--;
    ck_assert_int_eq(apply(ORIGIN, &r), COPY_MALFORMED);
    ck_assert_int_eq(of_session(ORIGIN, COPY_RESOLVED, UINT64_C(1) << 48), COPY_MALFORMED);
    ck_assert_int_eq(state(1), COPY_NONE);
    r.envelope.n++;
    ck_assert_int_eq(apply(ORIGIN, &r), COPY_OK);
}
END_TEST

START_TEST(a_relay_brings_fates_along)
{
    struct made x;
    struct envelope *e = make(&x, 1, 100), got;
    struct copy_record r;

    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 100), COPY_OK);
    x.rcpts[1].fate = FATE_BOUNCED;
    r = put_record(1, COPY_COMMITTED, 100);
    r.envelope = encode(e);
    ck_assert_int_eq(apply(OTHER, &r), COPY_OK);
    ck_assert_uint_eq(last.answer.detail, 0);
    again();
    ck_assert_int_eq(kit_get(&kit, id_of(1), &got), OK);
    ck_assert_int_eq(got.rcpts[0].fate, FATE_PENDING);
    ck_assert_int_eq(got.rcpts[1].fate, FATE_BOUNCED);
    ck_assert_int_eq(kit_compare(&kit, &got), OK);
}
END_TEST

/* --- Final dots --- */

/* A slot of OTHER with epoch 5, and this node filled; one thing is different in each case. */
static void d_nothing(void)
{
}
static void d_not_filled(void)
{
    ck_assert_int_eq(spool_member_begin(txn, 9, 9, false), OK);
}
static void d_no_slot(void)
{
    view.has_slot = false;
}
static void d_lag(void)
{
    view.slot_epoch = 4;
}
static void d_newer(void)
{
    view.slot_epoch = 8;
}
static void d_another_holder(void)
{
    view.holder = ORIGIN;
}
static void d_settled(void)
{
    ck_assert_int_eq(delivered(1), COPY_OK);
}
static void d_aborted(void)
{
    ck_assert_int_eq(mark(ORIGIN, COPY_ABORT, 1), COPY_OK);
}
static void d_foreign(void)
{
    struct spool_mark m = {.slot_epoch = 3, .site = ORIGIN, .session = 44};

    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
}
static void d_earlier_process(void)
{
    struct spool_mark m = {.slot_epoch = 4, .site = OTHER, .session = 44};

    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
}
static void d_released(void)
{
    struct spool_mark m = {.slot_epoch = 5, .site = ORIGIN, .session = 44};

    view.released = true;
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
}
static void d_own_again(void)
{
    struct spool_mark m = {.slot_epoch = 4, .site = OTHER, .session = 55};

    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
}
static void d_doubt(void)
{
    struct spool_mark m = {
        .slot_epoch = 3, .site = ORIGIN, .session = 44, .over = true, .doubt = true};

    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
}
static void d_released_in_doubt(void)
{
    struct spool_mark m = {.slot_epoch = 5, .site = ORIGIN, .session = 44, .doubt = true};

    view.released = true;
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
}
static void d_a_copy(void)
{
    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 100), COPY_OK);
}

static const struct {
    void (*different)(void);
    enum copy_code expect;
    uint64_t detail;
    uint16_t site;
    uint64_t session;
} dots[] = {
    {d_nothing, COPY_OK, 0, 0, 0},
    {d_a_copy, COPY_OK, 0, 0, 0},
    {d_own_again, COPY_OK, 0, 0, 0},
    {d_released, COPY_OK, 0, 0, 0},
    {d_doubt, COPY_DOUBT, 0, 0, 0},
    {d_released_in_doubt, COPY_DOUBT, 0, 0, 0},
    {d_not_filled, COPY_NOT_WITNESS, 0, 0, 0},
    {d_no_slot, COPY_LAG, 0, 0, 0},
    {d_lag, COPY_LAG, 0, 0, 0},
    {d_newer, COPY_EPOCH, 8, 0, 0},
    {d_another_holder, COPY_EPOCH, 5, 0, 0},
    {d_settled, COPY_IS_SETTLED, 0, 0, 0},
    {d_aborted, COPY_IS_ABORTED, 0, 0, 0},
    {d_foreign, COPY_FOREIGN_DOT, 3, ORIGIN, 44},
    {d_earlier_process, COPY_FOREIGN_DOT, 4, OTHER, 44},
};

START_TEST(a_dot_is_consented_to_only_under_the_newest_epoch_and_to_one_holder)
{
    struct spool_mark m, before;
    enum err had;

    fill();
    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 100), COPY_OK);
    view.has_slot = true;
    view.holder = OTHER;
    view.slot_epoch = 5;
    dots[_i].different();
    had = spool_mark_get(txn, id_of(1), &before);
    ck_assert_int_eq(dot(OTHER, 55, 5), dots[_i].expect);
    ck_assert_uint_eq(last.answer.detail, dots[_i].detail);
    ck_assert_uint_eq(last.answer.site, dots[_i].site);
    ck_assert_uint_eq(last.answer.session, dots[_i].session);
    again();
    if (dots[_i].expect == COPY_OK || dots[_i].expect == COPY_DOUBT) {
        ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), OK);
        ck_assert(!m.over && m.doubt == (dots[_i].expect == COPY_DOUBT));
        ck_assert_uint_eq(m.slot_epoch, 5);
        ck_assert_uint_eq(m.site, OTHER);
        ck_assert_uint_eq(m.session, 55);
        ck_assert_int_eq(dot(OTHER, 55, 5), dots[_i].expect);
    } else {
        ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), had);
        ck_assert_mem_eq(&m, &before, sizeof m);
    }
}
END_TEST

START_TEST(an_own_dot_needs_a_committed_copy)
{
    fill();
    view.has_slot = true;
    view.holder = OWN;
    view.slot_epoch = 5;
    ck_assert_int_eq(dot(OWN, 55, 5), COPY_MISSING);
    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 100), COPY_OK);
    ck_assert_int_eq(dot(OWN, 55, 5), COPY_MISSING);
    ck_assert_int_eq(upto(1), COPY_OK);
    ck_assert_int_eq(dot(OWN, 55, 5), COPY_OK);
}
END_TEST

START_TEST(nobody_asks_in_another_s_name)
{
    struct copy_record r = {.kind = COPY_DOT,
                            .id = id_of(1),
                            .domain = STR("example.org"),
                            .site = ORIGIN,
                            .epoch = 55,
                            .slot_epoch = 5};

    fill();
    view.has_slot = true;
    view.holder = ORIGIN;
    view.slot_epoch = 5;
    ck_assert_int_eq(apply(OTHER, &r), COPY_MALFORMED);
    ck_assert_int_eq(apply(ORIGIN, &r),
                     COPY_MISSING); /* no copy: nobody would hear of the mark */
    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 100), COPY_OK);
    ck_assert_int_eq(apply(ORIGIN, &r), COPY_OK);
}
END_TEST

START_TEST(closed_takes_away_exactly_that_mark)
{
    struct spool_mark m = {.slot_epoch = 5, .site = ORIGIN, .session = 44};

    ck_assert_int_eq(closed(ORIGIN, 5), COPY_MISSING);
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    ck_assert_int_eq(closed(ORIGIN, 4), COPY_MISSING);
    ck_assert_int_eq(closed(OTHER, 5), COPY_MISSING);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), OK);
    ck_assert_int_eq(closed(ORIGIN, 5), COPY_OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), E_NOTFOUND);
}
END_TEST

START_TEST(doubt_stays_until_the_copy_tells_of_it)
{
    struct spool_mark m = {.slot_epoch = 5, .site = ORIGIN, .session = 44, .doubt = true};
    struct made x;
    struct envelope *e = make(&x, 1, 100);
    struct copy_record r = {.kind = COPY_OUTCOME, .id = id_of(1)};

    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 100), COPY_OK);
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    ck_assert_int_eq(closed(ORIGIN, 5), COPY_OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), OK);
    ck_assert(m.over && m.doubt && m.site == ORIGIN && m.session == 44);
    e->possible_duplicates = 1;
    r.envelope = encode(e);
    ck_assert_int_eq(apply(ORIGIN, &r), COPY_OK);
    ck_assert_int_eq(closed(ORIGIN, 5), COPY_OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), E_NOTFOUND);
}
END_TEST

START_TEST(mark_of_a_peer_is_kept_beside_what_is_known)
{
    struct copy_record r = {.kind = COPY_MARK,
                            .id = id_of(1),
                            .slot_epoch = 5,
                            .site = ORIGIN,
                            .epoch = 44,
                            .counter = COPY_MARK_OVER};
    struct spool_mark m;

    ck_assert_int_eq(apply(OTHER, &r), COPY_OK); /* over, and no doubt */
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), E_NOTFOUND);
    r.counter = COPY_MARK_OVER | COPY_MARK_DOUBT;
    ck_assert_int_eq(apply(OTHER, &r), COPY_OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), OK);
    ck_assert(m.over && m.doubt && m.site == ORIGIN && m.session == 44 && m.slot_epoch == 5);
    m = (struct spool_mark){.slot_epoch = 9, .site = OTHER, .session = 55};
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    r.counter = 0; /* another one, which may be under way */
    ck_assert_int_eq(apply(OTHER, &r), COPY_OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), OK);
    ck_assert(!m.over && m.doubt && m.site == OTHER && m.slot_epoch == 9);
    ck_assert_int_eq(delivered(1), COPY_OK);
    ck_assert_int_eq(apply(OTHER, &r), COPY_OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), E_NOTFOUND);
}
END_TEST

/* --- Outcomes --- */

START_TEST(outcomes_merge_and_settle_when_all_is_final)
{
    struct envelope e;
    bool live;

    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 100), COPY_OK);
    ck_assert_int_eq(outcome(OTHER, 1, 100, FATE_DELIVERED, FATE_PENDING, PHASE_DELIVER),
                     COPY_OK);
    again();
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(e.rcpts[0].fate, FATE_DELIVERED);
    ck_assert_int_eq(outcome(ORIGIN, 1, 100, FATE_PENDING, FATE_BOUNCED, PHASE_DELIVER),
                     COPY_OK);
    ck_assert_int_eq(last.state, COPY_COMMITTED); /* nobody has seen to a notification */
    ck_assert_int_eq(outcome(OTHER, 1, 100, FATE_PENDING, FATE_BOUNCED, PHASE_DONE), COPY_OK);
    ck_assert_int_eq(last.state, COPY_SETTLED);
    again();
    ck_assert_int_eq(state(1), COPY_SETTLED);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), OK);
    ck_assert(!live);
    ck_assert_int_eq(e.rcpts[0].fate, FATE_DELIVERED);
    ck_assert_int_eq(e.rcpts[1].fate, FATE_BOUNCED);
    ck_assert_uint_eq(e.settled_ms, 1000);
    ck_assert_int_eq((int)e.settled_wall_ms, 2000);
}
END_TEST

START_TEST(an_outcome_for_an_id_that_never_came_is_kept_for_the_next_who_asks)
{
    struct envelope e;
    bool live;

    ck_assert_int_eq(delivered(1), COPY_OK);
    again();
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), OK);
    ck_assert(!live);
    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 100), COPY_IS_SETTLED);
}
END_TEST

START_TEST(the_mark_stays_until_all_is_final_or_it_is_closed)
{
    struct spool_mark m = {.slot_epoch = 5, .site = OTHER, .session = 44};

    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 100), COPY_OK);
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    ck_assert_int_eq(outcome(ORIGIN, 1, 100, FATE_PENDING, FATE_DELIVERED, PHASE_DELIVER),
                     COPY_OK);
    ck_assert_int_eq(outcome(OTHER, 1, 100, FATE_PENDING, FATE_PENDING, PHASE_DELIVER),
                     COPY_OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), OK);
    ck_assert_int_eq(delivered(1), COPY_OK);
    ck_assert_int_eq(spool_mark_get(txn, id_of(1), &m), E_NOTFOUND);
}
END_TEST

/* --- Sessions --- */

START_TEST(a_resolved_session_has_nothing_undecided)
{
    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 100), COPY_OK);
    ck_assert_int_eq(put(ORIGIN, 2, COPY_UNDECIDED, 100), COPY_OK);
    fill();
    ck_assert_int_eq(of_session(OTHER, COPY_RESOLVE, SESSION), COPY_LAG);
    view.sealed = true;
    ck_assert_int_eq(of_session(OTHER, COPY_RESOLVE, SESSION), COPY_OK);
    ck_assert_int_eq(mark(OTHER, COPY_ABORT, 2), COPY_OK);
    ck_assert_int_eq(of_session(OTHER, COPY_RESOLVED, SESSION), COPY_OK);
    again();
    ck_assert_int_eq(state(1), COPY_COMMITTED);
    ck_assert_int_eq(state(2), COPY_ABORTED);
    ck_assert_int_eq(of_session(OTHER, COPY_RESOLVED, SESSION), COPY_OK);
}
END_TEST

static enum copy_code have(enum copy_state of, uint64_t from, uint64_t to)
{
    struct copy_range g = {from, to};

    return apply(OTHER, &(struct copy_record){.kind = COPY_HAVE,
                                              .site = ORIGIN,
                                              .epoch = SESSION,
                                              .state = of,
                                              .ranges = &g,
                                              .range_count = 1});
}

START_TEST(what_a_peer_has_settled_comes_in_around_what_lives_here)
{
    ck_assert_int_eq(put(ORIGIN, 3, COPY_UNDECIDED, 100), COPY_OK);
    ck_assert_int_eq(have(COPY_SETTLED, 1, 9), COPY_OK);
    ck_assert_int_eq(have(COPY_SETTLED, 1, 9), COPY_OK);
    ck_assert_int_eq(have(COPY_COMMITTED, 10, 12), COPY_OK);
    ck_assert_int_eq(have(COPY_SETTLED, 9, 1), COPY_MALFORMED);
    again();
    ck_assert_int_eq(state(2), COPY_SETTLED);
    ck_assert_int_eq(state(3), COPY_UNDECIDED);
    ck_assert_int_eq(state(9), COPY_SETTLED);
    ck_assert_int_eq(state(10), COPY_NONE);
}
END_TEST

/* A third node may have it live still, and this one be the last that can tell how it ended. */
START_TEST(what_was_settled_by_its_id_alone_keeps_the_fates_that_come_later)
{
    struct envelope e;
    bool live;

    ck_assert_int_eq(have(COPY_SETTLED, 1, 1), COPY_OK);
    ck_assert_int_eq(outcome(OTHER, 1, 100, FATE_PENDING, FATE_BOUNCED, PHASE_DONE), COPY_OK);
    again();
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), E_NOTFOUND);
    ck_assert_int_eq(outcome(OTHER, 1, 100, FATE_DELIVERED, FATE_BOUNCED, PHASE_DONE), COPY_OK);
    ck_assert_int_eq(last.state, COPY_SETTLED);
    again();
    ck_assert_int_eq(spool_trace(kit.reader, id_of(1), &kit.arena, &e, &live), OK);
    ck_assert_int_eq(e.rcpts[0].fate, FATE_DELIVERED);
    ck_assert_int_eq(e.rcpts[1].fate, FATE_BOUNCED);
}
END_TEST

/* That no member can tell the fates is for this node alone to find. */
START_TEST(a_copy_whose_fates_nobody_can_tell_ends_by_the_own_word_alone)
{
    struct envelope e;
    bool live;

    ck_assert_int_eq(put(ORIGIN, 3, COPY_COMMITTED, 100), COPY_OK);
    ck_assert_int_eq(mark(OTHER, COPY_ENDED, 3), COPY_MALFORMED);
    ck_assert_int_eq(state(3), COPY_COMMITTED);
    ck_assert_int_eq(mark(OWN, COPY_ENDED, 3), COPY_OK);
    ck_assert_int_eq(last.state, COPY_SETTLED);
    ck_assert_int_eq(mark(OWN, COPY_ENDED, 3), COPY_OK);
    ck_assert_int_eq(mark(OWN, COPY_ENDED, 4), COPY_OK);
    ck_assert_int_eq(last.state, COPY_NONE);
    again();
    ck_assert_int_eq(state(3), COPY_SETTLED);
    ck_assert_int_eq(state(4), COPY_NONE);
    ck_assert_int_eq(spool_trace(kit.reader, id_of(3), &kit.arena, &e, &live), E_NOTFOUND);
}
END_TEST

START_TEST(what_a_peer_has_aborted_is_aborted_here_unless_it_is_committed)
{
    ck_assert_int_eq(put(ORIGIN, 3, COPY_UNDECIDED, 100), COPY_OK);
    ck_assert_int_eq(put(ORIGIN, 4, COPY_COMMITTED, 100), COPY_OK);
    ck_assert_int_eq(have(COPY_ABORTED, 2, 5), COPY_OK);
    ck_assert_int_eq(have(COPY_ABORTED, 0, UINT64_MAX), COPY_MALFORMED);
    ck_assert_int_eq(have(COPY_ABORTED, 1, LIMIT_RESOLVE_IDS + 1), COPY_MALFORMED);
    again();
    ck_assert_int_eq(state(1), COPY_NONE);
    ck_assert_int_eq(state(2), COPY_ABORTED);
    ck_assert_int_eq(state(3), COPY_ABORTED);
    ck_assert_int_eq(state(4), COPY_COMMITTED);
    ck_assert_int_eq(state(6), COPY_NONE);
}
END_TEST

START_TEST(only_this_node_itself_clears_sessions)
{
    ck_assert_int_eq(put(ORIGIN, 3, COPY_COMMITTED, 100), COPY_OK);
    ck_assert_int_eq(of_session(OTHER, COPY_CLEAR, 9), COPY_OK);
    ck_assert_int_eq(state(1), COPY_NONE);
    ck_assert_int_eq(of_session(OWN, COPY_CLEAR, 9), COPY_CONFLICT);
    ck_assert_int_eq(delivered(3), COPY_OK);
    ck_assert_int_eq(of_session(OWN, COPY_CLEAR, 9), COPY_OK);
    again();
    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 100), COPY_IS_SETTLED);
    ck_assert_int_eq(upto(5), COPY_IS_SETTLED);
}
END_TEST

START_TEST(a_node_is_filled_by_its_own_word_alone)
{
    ck_assert_int_eq(apply(OTHER, &(struct copy_record){.kind = COPY_FILLED}), COPY_OK);
    ck_assert_uint_eq(last.answer.detail, 1 << OTHER);
    ck_assert_int_eq(apply(ORIGIN, &(struct copy_record){.kind = COPY_FILLED}), COPY_OK);
    ck_assert_uint_eq(last.answer.detail, 1 << OTHER | 1 << ORIGIN);
    ck_assert(!spool_is_filled(txn));
    ck_assert_int_eq(apply(OWN, &(struct copy_record){.kind = COPY_FILLED}), COPY_OK);
    ck_assert_int_eq(apply(OWN, &(struct copy_record){.kind = COPY_FILLED}), COPY_OK);
    again();
    ck_assert(spool_is_filled(txn));
}
END_TEST

START_TEST(an_echo_is_something_to_commit)
{
    uint64_t before = spool_txn_bytes(txn);

    ck_assert_int_eq(apply(OTHER, &(struct copy_record){.kind = COPY_ECHO}), COPY_OK);
    ck_assert_uint_gt(spool_txn_bytes(txn), before);
    ck_assert_int_eq(apply(OTHER, &(struct copy_record){.kind = COPY_HAVE_END}), COPY_OK);
}
END_TEST

/* --- Suite --- */

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

static TCase *fresh_case(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
    return tc;
}

static void add_copies(Suite *suite)
{
    TCase *tc = fresh_case(suite, "copies");

    tcase_add_test(tc, a_put_stores_the_copy_and_says_whose_domain_it_is);
    tcase_add_loop_test(tc, a_record_does_what_the_rules_say_and_it_is_so_after_a_reopen, 0,
                        COUNT(ways));
    tcase_add_test(tc, a_copy_with_other_content_is_refused);
    tcase_add_test(tc, what_does_not_fit_together_is_malformed);
    tcase_add_test(tc, a_relay_brings_fates_along);
}

static void add_decisions(Suite *suite)
{
    TCase *tc = fresh_case(suite, "decisions");

    tcase_add_loop_test(tc, a_dot_is_consented_to_only_under_the_newest_epoch_and_to_one_holder,
                        0, COUNT(dots));
    tcase_add_test(tc, an_own_dot_needs_a_committed_copy);
    tcase_add_test(tc, nobody_asks_in_another_s_name);
    tcase_add_test(tc, closed_takes_away_exactly_that_mark);
    tcase_add_test(tc, doubt_stays_until_the_copy_tells_of_it);
    tcase_add_test(tc, mark_of_a_peer_is_kept_beside_what_is_known);
    tcase_add_test(tc, outcomes_merge_and_settle_when_all_is_final);
    tcase_add_test(tc, an_outcome_for_an_id_that_never_came_is_kept_for_the_next_who_asks);
    tcase_add_test(tc, the_mark_stays_until_all_is_final_or_it_is_closed);
    tcase_add_test(tc, a_resolved_session_has_nothing_undecided);
    tcase_add_test(tc, what_a_peer_has_settled_comes_in_around_what_lives_here);
    tcase_add_test(tc, what_was_settled_by_its_id_alone_keeps_the_fates_that_come_later);
    tcase_add_test(tc, a_copy_whose_fates_nobody_can_tell_ends_by_the_own_word_alone);
    tcase_add_test(tc, what_a_peer_has_aborted_is_aborted_here_unless_it_is_committed);
    tcase_add_test(tc, only_this_node_itself_clears_sessions);
    tcase_add_test(tc, a_node_is_filled_by_its_own_word_alone);
    tcase_add_test(tc, an_echo_is_something_to_commit);
}

int main(void)
{
    Suite *suite = suite_create("copy store");
    SRunner *runner;
    int failed;

    add_copies(suite);
    add_decisions(suite);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
