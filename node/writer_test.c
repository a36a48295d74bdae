/* The writer answers each request once, after its commit: mail of a node that is alone, mail
 * that waits for a peer's copy, and records of the data plane; and what it does without room.
 */
#include "node/writer.h"

#include <poll.h>
#include <stdatomic.h>

#include "tests/support/copy_kit.h"
#include "tests/support/io_tap.h"

static struct writer *writer;
static struct mailbox *box;
static atomic_int fenced;

static void on_fence(void *ctx, enum err why)
{
    (void)ctx;
    atomic_store(&fenced, (int)why);
}

static void start(void)
{
    setup();
    spool_abort(&txn);
    txn = NULL;
    atomic_store(&fenced, OK);
    box = mailbox_new(100);
    ck_assert_int_eq(writer_start(&writer, &(struct writer_options){.spool = kit.spool,
                                                                    .blocks = &kit.pool,
                                                                    .copies = &store,
                                                                    .cluster_ms = on_cluster_ms,
                                                                    .fence = on_fence}),
                     OK);
}

static void stop(void)
{
    writer_join(writer);
    writer_free(&writer);
    mailbox_free(&box);
    *io_tap() = (struct io_tap){0};
    teardown();
}

/* Posts it and waits for its answer. */
static struct writer_request *ask(struct writer_request *r)
{
    struct pollfd p = {mailbox_fd(box), POLLIN, 0};
    struct mail *m;

    ck_assert_int_eq(writer_post(writer, r), OK);
    while ((m = mailbox_take(box)) == NULL)
        poll(&p, 1, 1000);
    ck_assert_ptr_null(m->next);
    ck_assert_ptr_eq(m, &r->mail);
    return r;
}

static enum err done(struct writer_request *r)
{
    enum err e = r->err;

    writer_request_free(writer, &r);
    return e;
}

static enum err write_put(uint64_t counter, enum copy_state how, bool has_env)
{
    struct writer_request *r = writer_request_new(WRITER_PUT, box, 1, NULL);
    struct kit_message m;

    kit_message(&kit, &m, id_of(counter), 5000);
    r->id = id_of(counter);
    r->env = has_env ? &m.envelope : NULL;
    r->body = m.body;
    r->state = how;
    return done(ask(r));
}

static struct copy_answer copy(const struct copy_record *record, enum err expect)
{
    struct writer_request *r = writer_request_new(WRITER_COPY, box, 1, NULL);

    blob_release(&last.store_keep);
    last = (struct copy_op){.record = *record, .from = ORIGIN, .incarnation = 7};
    r->copy = &last;
    ck_assert_int_eq(done(ask(r)), expect);
    return last.answer;
}

static struct copy_answer copy_mark(enum copy_kind kind, uint64_t counter, enum err expect)
{
    return copy(&(struct copy_record){.kind = kind, .id = id_of(counter)}, expect);
}

static enum copy_state stored(uint64_t counter)
{
    struct spool_state st;

    ck_assert_int_eq(spool_state_of(kit.reader, id_of(counter), &st), OK);
    return st.state;
}

static const struct {
    enum copy_state how;
    bool has_env;
    enum err expect;
    enum copy_state state;
} puts_of[] = {
    {COPY_NONE, true, OK, COPY_COMMITTED},
    {COPY_NONE, false, E_FULL, COPY_SETTLED},
    {COPY_UNDECIDED, true, OK, COPY_UNDECIDED},
    {COPY_UNDECIDED, false, E_FULL, COPY_ABORTED},
};

START_TEST(mail_is_stored_as_its_origin_says_and_a_failed_put_leaves_no_gap)
{
    ck_assert_int_eq(write_put(1, puts_of[_i].how, puts_of[_i].has_env), puts_of[_i].expect);
    ck_assert_int_eq(stored(1), puts_of[_i].state);
}
END_TEST

START_TEST(a_record_of_the_data_plane_comes_back_with_its_answer)
{
    struct copy_record r = put_record(1, COPY_UNDECIDED, 5000);

    ck_assert_int_eq(copy(&r, OK).code, COPY_OK);
    ck_assert_int_eq(last.state, COPY_UNDECIDED);
    ck_assert_int_eq(stored(1), COPY_UNDECIDED);
    ck_assert_int_eq(copy_mark(COPY_COMMIT, 1, OK).code, COPY_OK);
    ck_assert_int_eq(stored(1), COPY_COMMITTED);
    ck_assert_int_eq(copy_mark(COPY_COMMIT, 2, OK).code, COPY_MISSING);
}
END_TEST

START_TEST(a_new_link_drops_what_its_peer_began_to_send)
{
    struct copy_record body = {
        .kind = COPY_BODY, .body_number = 5, .body = body_of(1, 0, 5000)};
    struct writer_request *r = writer_request_new(WRITER_LINK, box, 1, NULL);
    struct copy_record named = put_record(1, COPY_UNDECIDED, 5000);

    named.body = STR_NONE;
    named.body_number = 5;
    ck_assert_int_eq(copy(&body, OK).code, COPY_OK);
    r->site = ORIGIN;
    ck_assert_int_eq(done(ask(r)), OK);
    ck_assert_int_eq(copy(&named, OK).code, COPY_MISSING);
}
END_TEST

/* What was posted before it, without anybody waiting, can be read when it is answered. */
START_TEST(a_barrier_is_answered_when_what_came_before_it_is_durable)
{
    struct kit_message m[20];

    for (uint64_t i = 1; i <= 20; i++) {
        struct writer_request *r = writer_request_new(WRITER_PUT, NULL, 0, NULL);

        kit_message(&kit, &m[i - 1], id_of(i), 5000);
        r->id = id_of(i);
        r->env = &m[i - 1].envelope;
        r->body = m[i - 1].body;
        ck_assert_int_eq(writer_post(writer, r), OK);
    }
    ck_assert_int_eq(done(ask(writer_request_new(WRITER_BARRIER, box, 1, NULL))), OK);
    for (uint64_t i = 1; i <= 20; i++)
        ck_assert_int_eq(stored(i), COPY_COMMITTED);
}
END_TEST

/* --- Trouble with the disk --- */

/* The writer looks after the spool behind the first batch, which may write; behind the second
 * it waits. */
static void until_writer_waits(void)
{
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(copy_mark(COPY_ECHO, 0, OK).code, COPY_OK);
}

struct fault {
    enum io_verdict verdict;
    unsigned times;
};

static enum io_verdict strike(void *user, enum io_op op)
{
    struct fault *f = user;

    (void)op;
    if (f->times == 0)
        return IO_PASS;
    f->times--;
    return f->verdict;
}

START_TEST(without_room_copies_are_shed_and_marks_are_tried_again)
{
    static struct fault fault;
    struct copy_record r = put_record(1, COPY_UNDECIDED, 5000);

    until_writer_waits();
    *io_tap() = (struct io_tap){.judge = strike, .user = &fault, .disk_full = true};
    fault = (struct fault){IO_FAIL_ENOSPC, 1};
    ck_assert_int_eq(copy(&r, E_FULL).code, COPY_NO_ROOM);
    ck_assert_int_eq(last.state, COPY_NONE);
    ck_assert_uint_eq(fault.times, 0);
    fault = (struct fault){IO_FAIL_ENOSPC, 1};
    ck_assert_int_eq(copy_mark(COPY_ABORT, 2, OK).code, COPY_OK);
    ck_assert_uint_eq(fault.times, 0);
    fault = (struct fault){IO_FAIL_ENOSPC, 1};
    ck_assert_int_eq(write_put(3, COPY_UNDECIDED, true), E_FULL);
    ck_assert_int_eq(stored(1), COPY_NONE);
    ck_assert_int_eq(stored(2), COPY_ABORTED);
    ck_assert_int_eq(stored(3), COPY_ABORTED);
    ck_assert_int_eq(atomic_load(&fenced), OK);
}
END_TEST

START_TEST(a_disk_that_fails_fences_the_node_and_says_nothing_was_done)
{
    static struct fault fault = {IO_FAIL_EIO, UINT32_MAX};

    until_writer_waits();
    *io_tap() = (struct io_tap){.judge = strike, .user = &fault};
    ck_assert_int_eq(copy_mark(COPY_ECHO, 0, E_IO).code, COPY_FAILED);
    ck_assert_int_eq(atomic_load(&fenced), E_IO);
    ck_assert_int_eq(copy_mark(COPY_ECHO, 0, E_IO).code, COPY_FAILED); /* also later */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("writer");
    TCase *tc = tcase_create("writer");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, start, stop);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, mail_is_stored_as_its_origin_says_and_a_failed_put_leaves_no_gap, 0,
                        (int)(sizeof puts_of / sizeof puts_of[0]));
    tcase_add_test(tc, a_record_of_the_data_plane_comes_back_with_its_answer);
    tcase_add_test(tc, a_new_link_drops_what_its_peer_began_to_send);
    tcase_add_test(tc, a_barrier_is_answered_when_what_came_before_it_is_durable);
    tcase_add_test(tc, without_room_copies_are_shed_and_marks_are_tried_again);
    tcase_add_test(tc, a_disk_that_fails_fences_the_node_and_says_nothing_was_done);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
