/* Bodies of peers that come in pieces, copies that are damaged, and a disk that fills: nothing
 * is left behind, and nothing is taken for a copy that is none. */
#include "node/copy_store.h"

#include "base/bigendian.h"

#include "tests/support/copy_kit.h"

/* --- Bodies in pieces --- */

static enum copy_code piece(uint16_t from, uint64_t number, uint64_t counter, uint64_t offset,
                            uint64_t bytes)
{
    return apply(from, &(struct copy_record){.kind = COPY_BODY,
                                             .body_number = number,
                                             .offset = offset,
                                             .body = body_of(counter, offset, bytes)});
}

static enum copy_code put_staged(uint16_t from, uint64_t number, uint64_t counter,
                                 uint64_t bytes)
{
    struct copy_record r = put_record(counter, COPY_UNDECIDED, bytes);

    r.body = STR_NONE;
    r.body_number = number;
    return apply(from, &r);
}

static uint64_t orphans_after_reopen(void)
{
    struct spool_recovered found;

    again();
    spool_recovered(kit.spool, &found);
    return found.orphan_bodies;
}

START_TEST(pieces_become_the_body_of_the_put_that_names_them)
{
    struct envelope e;

    ck_assert_int_eq(piece(ORIGIN, 77, 1, 0, 60000), COPY_OK);
    commit();
    ck_assert_int_eq(piece(OTHER, 77, 2, 0, 9000), COPY_OK); /* a number of another peer */
    ck_assert_int_eq(piece(ORIGIN, 77, 1, 60000, 60000), COPY_OK);
    commit();
    ck_assert_int_eq(put_staged(ORIGIN, 77, 1, 120000), COPY_OK);
    ck_assert_int_eq(put_staged(OTHER, 77, 2, 9000), COPY_OK);
    ck_assert_uint_eq(orphans_after_reopen(), 0);
    for (uint64_t i = 1; i <= 2; i++) {
        ck_assert_int_eq(kit_get(&kit, id_of(i), &e), OK);
        ck_assert_int_eq(kit_compare(&kit, &e), OK);
    }
}
END_TEST

START_TEST(a_put_over_pieces_that_are_not_all_here_is_missing_and_leaves_nothing)
{
    ck_assert_int_eq(put_staged(ORIGIN, 5, 1, 20000), COPY_MISSING);
    ck_assert_int_eq(piece(ORIGIN, 5, 1, 0, 10000), COPY_OK);
    ck_assert_int_eq(put_staged(ORIGIN, 5, 1, 20000), COPY_MISSING);
    ck_assert_int_eq(piece(ORIGIN, 5, 1, 10000, 10000), COPY_MISSING); /* dropped with it */
    ck_assert_int_eq(piece(ORIGIN, 6, 1, 0, 10000), COPY_OK);
    ck_assert_int_eq(piece(ORIGIN, 6, 1, 10001, 9999), COPY_MISSING); /* a hole */
    ck_assert_int_eq(piece(ORIGIN, 7, 9, 0, 20000), COPY_OK);         /* another's bytes */
    ck_assert_int_eq(put_staged(ORIGIN, 7, 1, 20000), COPY_MISSING);
    ck_assert_int_eq(state(1), COPY_NONE);
    ck_assert_uint_eq(orphans_after_reopen(), 0);
}
END_TEST

START_TEST(pieces_of_an_earlier_incarnation_are_nobody_s)
{
    struct copy_record r;

    ck_assert_int_eq(piece(ORIGIN, 5, 1, 0, 20000), COPY_OK);
    r = put_record(1, COPY_UNDECIDED, 20000);
    r.body = STR_NONE;
    r.body_number = 5;
    blob_release(&last.store_keep);
    last = (struct copy_op){.record = r, .from = ORIGIN, .incarnation = ORIGIN + 101u};
    copy_store_apply(&store, txn, &last);
    ck_assert_int_eq(last.answer.code, COPY_MISSING);
    ck_assert_int_eq(state(1), COPY_NONE);
    ck_assert_int_eq(put_staged(ORIGIN, 5, 1, 20000), COPY_OK);
}
END_TEST

START_TEST(pieces_that_begin_anew_take_the_place_of_the_old)
{
    ck_assert_int_eq(piece(ORIGIN, 5, 1, 0, 10000), COPY_OK);
    ck_assert_int_eq(piece(ORIGIN, 5, 2, 0, 20000), COPY_OK);
    ck_assert_int_eq(put_staged(ORIGIN, 5, 2, 20000), COPY_OK);
    ck_assert_uint_eq(orphans_after_reopen(), 0);
    ck_assert_int_eq(put_staged(ORIGIN, 5, 3, 20000), COPY_MISSING); /* a crash forgets */
}
END_TEST

START_TEST(pieces_go_when_the_copy_is_refused_or_here_already)
{
    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 20000), COPY_OK);
    ck_assert_int_eq(piece(ORIGIN, 5, 1, 0, 20000), COPY_OK);
    ck_assert_int_eq(put_staged(ORIGIN, 5, 1, 20000), COPY_OK);
    ck_assert_int_eq(mark(ORIGIN, COPY_ABORT, 2), COPY_OK);
    ck_assert_int_eq(piece(ORIGIN, 6, 2, 0, 20000), COPY_OK);
    ck_assert_int_eq(put_staged(ORIGIN, 6, 2, 20000), COPY_IS_ABORTED);
    ck_assert_uint_eq(orphans_after_reopen(), 0);
}
END_TEST

START_TEST(pieces_go_with_the_link_and_with_age_but_not_what_a_message_has)
{
    struct envelope e;

    ck_assert(!copy_store_age(&store, txn, 1));
    ck_assert_int_eq(piece(ORIGIN, 5, 1, 0, 20000), COPY_OK);
    ck_assert_int_eq(put_staged(ORIGIN, 5, 1, 20000), COPY_OK);
    ck_assert_int_eq(piece(ORIGIN, 6, 2, 0, 20000), COPY_OK);
    ck_assert_int_eq(piece(OTHER, 6, 3, 0, 20000), COPY_OK);
    ck_assert(copy_store_link_new(&store, txn, ORIGIN));
    ck_assert(!copy_store_link_new(&store, txn, ORIGIN));
    ck_assert_int_eq(put_staged(ORIGIN, 6, 2, 20000), COPY_MISSING);
    ck_assert(!copy_store_age(&store, txn, LIMIT_STAGED_MS));
    ck_assert_int_eq(piece(OTHER, 6, 3, 20000, 20000), COPY_OK);
    ck_assert(!copy_store_age(&store, txn, 2 * LIMIT_STAGED_MS - 1));
    ck_assert(copy_store_age(&store, txn, 2 * LIMIT_STAGED_MS));
    ck_assert_int_eq(put_staged(OTHER, 6, 3, 40000), COPY_MISSING);
    ck_assert_uint_eq(orphans_after_reopen(), 0);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
}
END_TEST

START_TEST(a_batch_that_is_dropped_leaves_no_body_without_its_bytes)
{
    ck_assert_int_eq(piece(ORIGIN, 5, 1, 0, 20000), COPY_OK);
    commit();
    ck_assert_int_eq(piece(ORIGIN, 5, 1, 20000, 20000), COPY_OK);
    spool_abort(&txn);
    txn = spool_begin(kit.spool);
    ck_assert_int_eq(put_staged(ORIGIN, 5, 1, 40000), COPY_MISSING);
    ck_assert_int_eq(piece(ORIGIN, 6, 1, 0, 20000), COPY_OK);
    commit();
    ck_assert_int_eq(put_staged(ORIGIN, 6, 1, 20000), COPY_OK);
    spool_abort(&txn); /* the PUT did not happen: its chunks are nobody's */
    txn = spool_begin(kit.spool);
    ck_assert(copy_store_link_new(&store, txn, ORIGIN));
    ck_assert_int_eq(state(1), COPY_NONE);
    ck_assert_uint_eq(orphans_after_reopen(), 0);
}
END_TEST

START_TEST(more_bodies_than_the_limit_push_out_the_oldest)
{
    for (uint64_t i = 0; i < LIMIT_STAGED_BODIES; i++) {
        ck_assert_int_eq(piece(ORIGIN, 10 + i, 1, 0, 10), COPY_OK);
        if (i == 0)
            copy_store_age(&store, txn, 5);
    }
    copy_store_age(&store, txn, 6);
    ck_assert_int_eq(piece(ORIGIN, 5, 1, 0, 10), COPY_OK);
    ck_assert_int_eq(piece(ORIGIN, 10 + LIMIT_STAGED_BODIES - 1, 1, 10, 10), COPY_OK);
    ck_assert_int_eq(put_staged(ORIGIN, 5, 1, 10), COPY_OK);
    ck_assert_uint_le(store.used, LIMIT_STAGED_BODIES);
}
END_TEST

/* --- Damage --- */

static const struct {
    bool body, staged;
} wounds[] = {{false, false}, {true, false}, {false, true}, {true, true}};

/* Or the origin would say it for ever: what nobody can read is decided by nobody here. */
START_TEST(an_abort_of_a_damaged_copy_may_be_too_late)
{
    ck_assert_int_eq(put(ORIGIN, 1, COPY_UNDECIDED, 20000), COPY_OK);
    damage(STR("bob@example.org"));
    ck_assert_int_eq(mark(ORIGIN, COPY_ABORT, 1), COPY_DAMAGED);
    view.sealed = true;
    ck_assert_int_eq(mark(ORIGIN, COPY_ABORT, 1), COPY_SEALED);
    ck_assert_int_eq(put(OTHER, 1, COPY_COMMITTED, 20000), COPY_OK); /* still to be mended */
}
END_TEST

START_TEST(a_peer_s_copy_takes_the_place_of_a_damaged_one)
{
    struct envelope e;

    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 20000), COPY_OK);
    ck_assert_int_eq(mark(OTHER, COPY_WANT, 1), COPY_OK);
    damage(wounds[_i].body ? body_of(1, 5000, 100) : STR("bob@example.org"));
    if (!wounds[_i].body) {
        ck_assert_int_eq(mark(OTHER, COPY_WANT, 1), COPY_DAMAGED);
        ck_assert_int_eq(mark(OTHER, COPY_COMMIT, 1), COPY_DAMAGED);
        ck_assert_int_eq(mark(ORIGIN, COPY_ABORT, 1), COPY_DAMAGED);
        ck_assert_int_eq(outcome(OTHER, 1, 20000, FATE_PENDING, FATE_DELIVERED, PHASE_DELIVER),
                         COPY_DAMAGED);
    }
    if (wounds[_i].staged) {
        ck_assert_int_eq(piece(OTHER, 6, 1, 0, 20000), COPY_OK);
        ck_assert_int_eq(put_staged(OTHER, 6, 1, 20000), COPY_OK);
    } else {
        ck_assert_int_eq(put(OTHER, 1, COPY_COMMITTED, 20000), COPY_OK);
    }
    ck_assert_uint_eq(last.answer.detail, 1);
    ck_assert_int_eq(mark(OTHER, COPY_COMMIT, 1), COPY_OK);
    ck_assert_int_eq(last.state, COPY_COMMITTED);
    again();
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
    ck_assert_int_eq(spool_verify_body(kit.reader, &e), OK);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 1);
    ck_assert_int_eq(put(OTHER, 1, COPY_COMMITTED, 20000), COPY_OK);
    ck_assert_uint_eq(last.answer.detail, 0);
    ck_assert_uint_eq(orphans_after_reopen(), 0);
}
END_TEST

/* It is open, of nobody that is known: the asker waits, and takes it away as any other. */
START_TEST(a_damaged_mark_stands_in_the_way_until_it_is_closed)
{
    static const char slot_epoch[] = {1, 35, 69, 103, 9, 10, 11, 12};
    struct spool_mark m = {.slot_epoch = get_be(slot_epoch, 8), .site = ORIGIN, .session = 44};

    fill();
    view.has_slot = true;
    view.holder = OTHER;
    view.slot_epoch = 5;
    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 100), COPY_OK);
    ck_assert_int_eq(spool_mark(txn, id_of(1), &m), OK);
    damage((struct str){slot_epoch, sizeof slot_epoch});
    ck_assert_int_eq(dot(OTHER, 55, 5), COPY_FOREIGN_DOT);
    ck_assert_uint_ne(last.answer.site, 0);
    ck_assert_uint_ne(last.answer.detail, 0);
    {
        struct copy_record r = {.kind = COPY_CLOSED,
                                .id = id_of(1),
                                .site = last.answer.site,
                                .slot_epoch = last.answer.detail};

        ck_assert_ptr_null(copyrec_check(&r)); /* it can be sent */
        ck_assert_int_eq(apply(OTHER, &r), COPY_OK);
    }
    ck_assert_int_eq(dot(OTHER, 55, 5), COPY_OK);
}
END_TEST

START_TEST(a_final_outcome_ends_a_copy_that_nobody_can_read)
{
    ck_assert_int_eq(put(ORIGIN, 1, COPY_COMMITTED, 100), COPY_OK);
    damage(STR("bob@example.org"));
    ck_assert_int_eq(delivered(1), COPY_OK);
    ck_assert_int_eq(last.state, COPY_SETTLED);
    again();
    ck_assert_int_eq(state(1), COPY_SETTLED);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 0);
}
END_TEST

/* --- Room --- */

START_TEST(peers_copies_go_on_above_the_mark_for_intake_and_marks_above_both)
{
    struct kit_message m;
    uint64_t own = 0, peers = 0;
    enum err e;

    spool_abort(&txn);
    kit_fini(&kit);
    kit_init(&kit, 8 * MiB);
    do {
        e = kit_put(&kit, mid_make(OWN, 3, ++own), 50000);
    } while (e == OK);
    ck_assert_int_eq(e, E_FULL);
    txn = spool_begin(kit.spool);
    while (put(ORIGIN, ++peers, COPY_COMMITTED, 50000) == COPY_OK) {
        commit();
        ck_assert_uint_lt(peers, 1000);
    }
    ck_assert_int_eq(last.answer.code, COPY_NO_ROOM);
    ck_assert_uint_ge(peers, 4);
    ck_assert_int_eq(piece(ORIGIN, 5, 1, 0, 60000), COPY_NO_ROOM);
    ck_assert_uint_gt(spool_used_bytes(kit.spool) * 100, spool_capacity_bytes(kit.spool) * 94);
    kit_message(&kit, &m, mid_make(OWN, 3, own + 1), 50000);
    ck_assert_int_eq(spool_put(txn, &m.envelope, &m.body), E_FULL);
    kit_message_free(&kit, &m);
    ck_assert_int_eq(mark(ORIGIN, COPY_ABORT, peers), COPY_OK);
    ck_assert_int_eq(outcome(OTHER, 1, 50000, FATE_DELIVERED, FATE_DELIVERED, PHASE_DONE),
                     COPY_OK);
    ck_assert_int_eq(mark(OTHER, COPY_HAVE_END, 1), COPY_OK);
    ck_assert_int_eq(apply(OTHER, &(struct copy_record){.kind = COPY_ECHO}), COPY_OK);
    commit();
    ck_assert_int_eq(put(ORIGIN, peers + 1, COPY_COMMITTED, 20000), COPY_OK);
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

static void add_bodies(Suite *suite)
{
    TCase *tc = fresh_case(suite, "bodies");

    tcase_add_test(tc, pieces_become_the_body_of_the_put_that_names_them);
    tcase_add_test(tc, a_put_over_pieces_that_are_not_all_here_is_missing_and_leaves_nothing);
    tcase_add_test(tc, pieces_of_an_earlier_incarnation_are_nobody_s);
    tcase_add_test(tc, pieces_that_begin_anew_take_the_place_of_the_old);
    tcase_add_test(tc, pieces_go_when_the_copy_is_refused_or_here_already);
    tcase_add_test(tc, pieces_go_with_the_link_and_with_age_but_not_what_a_message_has);
    tcase_add_test(tc, a_batch_that_is_dropped_leaves_no_body_without_its_bytes);
    tcase_add_test(tc, more_bodies_than_the_limit_push_out_the_oldest);
}

static void add_damage(Suite *suite)
{
    TCase *tc = fresh_case(suite, "damage");

    tcase_add_test(tc, an_abort_of_a_damaged_copy_may_be_too_late);
    tcase_add_loop_test(tc, a_peer_s_copy_takes_the_place_of_a_damaged_one, 0, COUNT(wounds));
    tcase_add_test(tc, a_damaged_mark_stands_in_the_way_until_it_is_closed);
    tcase_add_test(tc, a_final_outcome_ends_a_copy_that_nobody_can_read);
    tcase_add_test(tc, peers_copies_go_on_above_the_mark_for_intake_and_marks_above_both);
}

int main(void)
{
    Suite *suite = suite_create("copy store bodies");
    SRunner *runner;
    int failed;

    add_bodies(suite);
    add_damage(suite);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
