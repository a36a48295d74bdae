/* Full maps, full disks, failing disks: what was acknowledged stays, what fails is said, mail
 * can always leave. */
#include <check.h>
#include <errno.h>

#include "tests/support/io_tap.h"
#include "tests/support/spool_kit.h"

static struct kit kit;

static struct mid id_of(uint64_t counter)
{
    return mid_make(1, 7, counter);
}

static void teardown(void)
{
    *io_tap() = (struct io_tap){0};
    kit_fini(&kit);
}

static void nothing(void)
{
}

/* Puts until the spool is full; returns how many went in. */
static uint64_t fill(uint64_t first, uint64_t bytes)
{
    uint64_t n = 0;
    enum err e;

    while ((e = kit_put(&kit, id_of(first + n), bytes)) == OK)
        n++;
    ck_assert_int_eq(e, E_FULL);
    return n;
}

/* --- Room --- */

static const uint64_t bodies[] = {10, 1000, 4000, 30000, 100000};

START_TEST(a_full_spool_lets_everything_leave_and_takes_mail_again)
{
    uint64_t first, second;
    struct envelope e;
    struct spool_txn *t;

    kit_init(&kit, 2 * MiB);
    first = fill(1, bodies[_i]);
    ck_assert_uint_gt(first, 2);
    ck_assert_uint_le(spool_used_bytes(kit.spool), spool_capacity_bytes(kit.spool) / 10 * 9);
    for (uint64_t i = 1; i <= first; i++) { /* updates and marks go on */
        ck_assert_int_eq(kit_get(&kit, id_of(i), &e), OK);
        e.rcpts[0].attempts++;
        t = spool_begin(kit.spool);
        ck_assert_int_eq(spool_update(t, &e), OK);
        ck_assert_int_eq(spool_dot(t, id_of(i), 3), OK);
        ck_assert_int_eq(spool_commit(&t), OK);
        t = spool_begin(kit.spool);
        ck_assert_int_eq(spool_closed(t, id_of(i)), OK);
        ck_assert_int_eq(spool_commit(&t), OK);
    }
    for (uint64_t i = 1; i <= first; i++)
        ck_assert_int_eq(kit_settle(&kit, id_of(i), 1), OK);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 0);
    t = spool_begin(kit.spool); /* only traces are left: they make way, too */
    ck_assert_int_eq(spool_prune(t, 1, SIZE_MAX, NULL), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_int_eq(spool_room(kit.spool), SPOOL_ROOM);
    second = fill(10000, bodies[_i]);
    ck_assert_uint_ge(second, first / 2);
    kit_reopen(&kit);
    for (uint64_t i = 0; i < second; i++) {
        ck_assert_int_eq(kit_get(&kit, id_of(10000 + i), &e), OK);
        ck_assert_int_eq(kit_compare(&kit, &e), OK);
    }
}
END_TEST

START_TEST(everything_leaves_in_one_batch_as_well)
{
    struct spool_txn *t;
    uint64_t n;

    kit_init(&kit, 4 * MiB);
    n = fill(1, 30000);
    t = spool_begin(kit.spool);
    for (uint64_t i = 1; i <= n; i++) {
        struct envelope e;

        ck_assert_int_eq(kit_get(&kit, id_of(i), &e), OK);
        ck_assert_int_eq(spool_settle(t, &e, 1, 1), OK);
    }
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 0);
    ck_assert_int_eq(kit_put(&kit, id_of(n + 1), 30000), OK);
}
END_TEST

START_TEST(full_and_room_have_a_gap_between_them)
{
    uint64_t n, i = 1;

    kit_init(&kit, 8 * MiB);
    n = fill(1, 4000);
    kit.options.quota_bytes = spool_used_bytes(kit.spool); /* 100 % of it are used */
    kit_reopen(&kit);
    ck_assert_int_eq(spool_room(kit.spool), SPOOL_FULL);
    while (spool_room(kit.spool) == SPOOL_FULL) {
        ck_assert_int_eq(kit_put(&kit, id_of(n + 10), 10), E_FULL);
        ck_assert_int_eq(kit_settle(&kit, id_of(i++), 1), OK);
    }
    ck_assert_uint_lt(spool_used_bytes(kit.spool), kit.options.quota_bytes / 100 * 85 + 100);
    ck_assert_uint_gt(spool_used_bytes(kit.spool), kit.options.quota_bytes / 100 * 80);
    while (spool_used_bytes(kit.spool) < kit.options.quota_bytes / 100 * 87)
        ck_assert_int_eq(kit_put(&kit, id_of(n + i++), 4000), OK);
    ck_assert_int_eq(spool_room(kit.spool), SPOOL_ROOM); /* between the marks it stays */
}
END_TEST

START_TEST(a_spool_that_refused_a_message_near_the_mark_is_full)
{
    kit_init(&kit, 8 * MiB);
    (void)fill(1, bodies[_i]);
    ck_assert_int_eq(spool_room(kit.spool), SPOOL_FULL);
}
END_TEST

START_TEST(a_body_larger_than_what_is_left_does_not_shut_out_small_ones)
{
    struct kit_message m;
    struct spool_txn *t;

    kit_init(&kit, 2 * MiB);
    ck_assert_int_eq(kit_put(&kit, id_of(1), 3000000), E_FULL);
    ck_assert_int_eq(spool_room(kit.spool), SPOOL_ROOM);
    t = spool_begin(kit.spool); /* in one batch, one answer each */
    kit_message(&kit, &m, id_of(1), 3000000);
    ck_assert_int_eq(spool_put(t, &m.envelope, &m.body), E_FULL);
    ck_assert_int_eq(spool_stage(t, spool_next_body(kit.spool), 0, &m.body), E_FULL);
    kit_message_free(&kit, &m);
    kit_message(&kit, &m, id_of(2), 3000);
    ck_assert_int_eq(spool_put(t, &m.envelope, &m.body), OK);
    kit_message_free(&kit, &m);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, 1);
}
END_TEST

static void grow_rcpts(struct envelope *e, struct rcpt rcpts[LIMIT_SMTP_RCPTS])
{
    static char text[LIMIT_REPLY_KEPT_BYTES];

    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < LIMIT_SMTP_RCPTS; i++)
        rcpts[i] = (struct rcpt){.path = STR("a@b"), .reply = {text, sizeof text}};
    e->rcpts = rcpts;
    e->rcpt_count = LIMIT_SMTP_RCPTS;
}

START_TEST(the_end_of_the_map_fails_the_batch_and_leaves_the_spool_usable)
{
    static struct rcpt rcpts[LIMIT_SMTP_RCPTS];
    struct envelope e;
    struct spool_txn *t;
    enum err answer = OK;
    uint64_t n;

    kit_init(&kit, 2 * MiB);
    n = fill(1, 4000);
    t = spool_begin(kit.spool);
    for (uint64_t i = 1; i <= n && answer == OK; i++) {
        ck_assert_int_eq(kit_get(&kit, id_of(i), &e), OK);
        grow_rcpts(&e, rcpts); /* envelopes may grow in the reserve, but not without end */
        answer = spool_update(t, &e);
    }
    ck_assert_int_eq(answer, E_FULL);
    ck_assert_int_eq(spool_update(t, &e), E_FULL); /* it sticks */
    ck_assert_int_eq(spool_closed(t, e.id), E_FULL);
    ck_assert_int_eq(spool_commit(&t), E_FULL);
    ck_assert_uint_eq(spool_totals(kit.spool).messages, n);
    for (uint64_t i = 1; i <= n; i++) {
        ck_assert_int_eq(kit_get(&kit, id_of(i), &e), OK);
        ck_assert_uint_eq(e.rcpt_count, 1);
        ck_assert_int_eq(kit_settle(&kit, id_of(i), 1), OK);
    }
    ck_assert_int_eq(kit_put(&kit, id_of(n + 1), 4000), OK);
}
END_TEST

START_TEST(traces_take_no_more_than_their_share)
{
    struct envelope e;
    struct spool_txn *t;
    bool live;
    uint64_t n = 0, left = 0;

    kit_init(&kit, 4 * MiB);
    for (; spool_used_bytes(kit.spool) < 2 * MiB; n++) {
        ck_assert_int_eq(kit_put(&kit, id_of(n), 10), OK);
        ck_assert_int_eq(kit_settle(&kit, id_of(n), n * 1000000), OK);
    }
    t = spool_begin(kit.spool);
    ck_assert_int_eq(spool_prune(t, n * 1000000, SIZE_MAX, NULL), OK);
    ck_assert_int_eq(spool_commit(&t), OK);
    ck_assert_uint_lt(spool_used_bytes(kit.spool), 3 * MiB / 2);
    for (uint64_t i = 0; i < n; i++) {
        arena_reset(&kit.arena);
        if (spool_trace(kit.reader, id_of(i), &kit.arena, &e, &live) == OK)
            left++;
    }
    ck_assert_uint_gt(left, n / 4);
    ck_assert_uint_lt(left, n);
    /* the newest are the ones that stay */
    ck_assert_int_eq(spool_trace(kit.reader, id_of(n - 1), &kit.arena, &e, &live), OK);
}
END_TEST

/* --- A disk that fails or fills --- */

struct fault {
    enum io_op op;
    enum io_verdict verdict;
    long after; /* calls of any kind that pass before; -1: every call of this op fails */
};

static enum io_verdict strike(void *user, enum io_op op)
{
    struct fault *f = user;

    if (f->after < 0)
        return op == f->op ? f->verdict : IO_PASS;
    return f->after-- == 0 ? f->verdict : IO_PASS;
}

static const struct {
    const char *what;
    struct fault fault;
    bool disk_full;
    enum err expect;
} faults[] = {
    {"sync fails", {IO_SYNC, IO_FAIL_EIO, -1}, false, E_IO},
    {"write fails", {IO_WRITE, IO_FAIL_EIO, -1}, false, E_IO},
    {"write comes back short with space left", {IO_WRITE, IO_SHORT, -1}, false, E_IO},
    {"write comes back short on a full disk", {IO_WRITE, IO_SHORT, -1}, true, E_FULL},
    {"write says no space", {IO_WRITE, IO_FAIL_ENOSPC, -1}, false, E_FULL},
    {"write fails on a full disk", {IO_WRITE, IO_FAIL_EIO, -1}, true, E_FULL},
    {"sync fails on a full disk", {IO_SYNC, IO_FAIL_EIO, -1}, true, E_FULL},
    {"meta write fails", {IO_WRITE_SYNCED, IO_FAIL_EIO, -1}, false, E_IO},
    {"meta write fails on a full disk", {IO_WRITE_SYNCED, IO_FAIL_EIO, -1}, true, E_IO},
    {"meta write says no space", {IO_WRITE_SYNCED, IO_FAIL_ENOSPC, -1}, true, E_IO},
};

START_TEST(a_failing_disk_poisons_and_a_full_one_does_not)
{
    struct fault fault = faults[_i].fault;
    struct envelope e;
    struct spool_txn *t;

    kit_init(&kit, 16 * MiB);
    ck_assert_int_eq(kit_put(&kit, id_of(1), 10000), OK);
    *io_tap() =
        (struct io_tap){.judge = strike, .user = &fault, .disk_full = faults[_i].disk_full};
    ck_assert_msg(kit_put(&kit, id_of(2), 10000) == faults[_i].expect, "%s", faults[_i].what);
    *io_tap() = (struct io_tap){0};

    if (faults[_i].expect == E_FULL) {
        spool_refresh_room(kit.spool);
        ck_assert_int_eq(kit_get(&kit, id_of(2), &e), E_NOTFOUND);
        ck_assert_int_eq(kit_put(&kit, id_of(2), 10000), OK);
    } else { /* for good: a disk that failed once is not asked again */
        ck_assert_int_eq(kit_put(&kit, id_of(3), 10), E_IO);
        t = spool_begin(kit.spool);
        ck_assert_int_eq(spool_dot(t, id_of(1), 1), E_IO);
        spool_abort(&t);
        ck_assert_int_eq(kit_settle(&kit, id_of(1), 1), E_IO);
    }
    kit_reopen(&kit);
    ck_assert_int_eq(kit_get(&kit, id_of(1), &e), OK);
    ck_assert_int_eq(kit_compare(&kit, &e), OK);
    if (kit_get(&kit, id_of(2), &e) == OK) /* whole or not at all */
        ck_assert_int_eq(kit_compare(&kit, &e), OK);
    else
        ck_assert_int_eq(faults[_i].expect, E_IO);
    ck_assert_int_eq(kit_put(&kit, id_of(3), 10), OK);
}
END_TEST

START_TEST(a_full_disk_is_full_before_a_commit_fails)
{
    uint64_t room;

    kit_init(&kit, 16 * MiB);
    ck_assert_int_eq(kit_put(&kit, id_of(1), 100000), OK);
    room = spool_capacity_bytes(kit.spool);
    io_tap()->disk_full = true;
    spool_refresh_room(kit.spool);
    ck_assert_int_eq(spool_room(kit.spool), SPOOL_FULL);
    ck_assert_uint_lt(spool_capacity_bytes(kit.spool), room);
    ck_assert_int_eq(kit_put(&kit, id_of(2), 10), E_FULL);
    ck_assert_int_eq(kit_settle(&kit, id_of(1), 1), OK);
    io_tap()->disk_full = false;
    spool_refresh_room(kit.spool);
    ck_assert_int_eq(kit_put(&kit, id_of(2), 10), OK);
}
END_TEST

/* Puts, settles and reads one after the other; what was acknowledged must hold later. */
struct story {
    uint64_t put, settled; /* ids 1..put, 1..settled are acknowledged */
};

static enum err tell(struct story *s, uint64_t steps)
{
    enum err e = OK;

    for (uint64_t i = 1; i <= steps && e == OK; i++) {
        e = kit_put(&kit, id_of(i), i * 3000);
        s->put += e == OK;
        if (e == OK && i > 2) {
            e = kit_settle(&kit, id_of(i - 2), 1);
            s->settled += e == OK;
        }
    }
    return e;
}

/* What `tell` had acknowledged is there; the step that failed may be there, whole. */
static void ck_story(const struct story *s, uint64_t steps)
{
    for (uint64_t i = 1; i <= steps; i++) {
        struct envelope e;
        enum err live = kit_get(&kit, id_of(i), &e);
        enum err dead = spool_settled_contains(kit.reader, id_of(i));

        if (i <= s->settled)
            ck_assert(live == E_NOTFOUND && dead == OK);
        else if (i <= s->put)
            ck_assert((live == OK) != (dead == OK));
        if (i > s->put + 1)
            ck_assert(live == E_NOTFOUND && dead == E_NOTFOUND);
        if (live == OK)
            ck_assert_int_eq(kit_compare(&kit, &e), OK);
    }
}

static const enum io_verdict kinds[] = {IO_FAIL_EIO, IO_FAIL_ENOSPC, IO_SHORT};

START_TEST(each_io_call_of_a_story_may_fail_and_nothing_acknowledged_is_lost)
{
    for (long n = 0;; n++) {
        struct fault fault = {.verdict = kinds[_i], .after = n};
        struct story story = {0};
        enum err e;

        kit_init(&kit, 16 * MiB);
        *io_tap() = (struct io_tap){.judge = strike, .user = &fault};
        e = tell(&story, 6);
        *io_tap() = (struct io_tap){0};
        kit_reopen(&kit);
        ck_story(&story, 6);
        ck_assert_int_eq(kit_put(&kit, id_of(100), 10), OK);
        if (fault.after >= 0) { /* the story is shorter than n */
            ck_assert_int_eq(e, OK);
            ck_assert_int_gt(n, 20);
            break;
        }
        ck_assert(e == E_IO || e == E_FULL);
        kit_fini(&kit);
    }
}
END_TEST

START_TEST(an_opening_whose_nth_io_call_fails_leaves_a_spool_that_opens)
{
    for (long n = 0;; n++) {
        struct fault fault = {.verdict = kinds[_i], .after = n};
        enum err e;

        kit_prepare(&kit, 16 * MiB);
        *io_tap() = (struct io_tap){.judge = strike, .user = &fault};
        e = spool_open(&kit.spool, &kit.options);
        *io_tap() = (struct io_tap){0};
        ck_assert(e == OK || kit.spool == NULL);
        if (e == OK)
            spool_close(&kit.spool);
        kit_open(&kit);
        ck_assert_int_eq(kit_put(&kit, id_of(1), 10), OK);
        if (fault.after >= 0) {
            ck_assert_int_gt(n, 3);
            break;
        }
        kit_fini(&kit);
    }
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

int main(void)
{
    Suite *suite = suite_create("spool full");
    TCase *room = tcase_create("room"), *disk = tcase_create("disk");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(room, nothing, teardown);
    tcase_set_timeout(room, 240);
    tcase_add_loop_test(room, a_full_spool_lets_everything_leave_and_takes_mail_again, 0,
                        COUNT(bodies));
    tcase_add_test(room, everything_leaves_in_one_batch_as_well);
    tcase_add_test(room, full_and_room_have_a_gap_between_them);
    tcase_add_loop_test(room, a_spool_that_refused_a_message_near_the_mark_is_full, 0,
                        COUNT(bodies));
    tcase_add_test(room, a_body_larger_than_what_is_left_does_not_shut_out_small_ones);
    tcase_add_test(room, the_end_of_the_map_fails_the_batch_and_leaves_the_spool_usable);
    tcase_add_test(room, traces_take_no_more_than_their_share);
    suite_add_tcase(suite, room);
    tcase_add_checked_fixture(disk, nothing, teardown);
    tcase_set_timeout(disk, 240);
    tcase_add_loop_test(disk, a_failing_disk_poisons_and_a_full_one_does_not, 0, COUNT(faults));
    tcase_add_test(disk, a_full_disk_is_full_before_a_commit_fails);
    tcase_add_loop_test(disk, each_io_call_of_a_story_may_fail_and_nothing_acknowledged_is_lost,
                        0, COUNT(kinds));
    tcase_add_loop_test(disk, an_opening_whose_nth_io_call_fails_leaves_a_spool_that_opens, 0,
                        COUNT(kinds));
    suite_add_tcase(suite, disk);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
