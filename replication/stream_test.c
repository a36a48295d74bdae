/* One stream over a network that loses, doubles and reorders frames, to a store that answers in
 * any order: each record is executed once, in the order of its first sending, and its sender
 * hears the answer that was given. */
#include "replication/stream.h"

#include <check.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/prng.h"

#define ITEMS_MAX 20000

struct world {
    struct stream_out *out;
    struct stream_in *in;
    uint64_t now;
    /* by cookie */
    enum copy_code answer[ITEMS_MAX]; /* what the store says */
    uint8_t executed[ITEMS_MAX], told[ITEMS_MAX], lost[ITEMS_MAX];
    enum class { LARGE, SMALL, FED } class[ITEMS_MAX];
    uint64_t executed_before[3]; /* the last cookie of each class, plus one */
    uint64_t pushed, sent, last_told, last_took;
    bool push_again; /* from within done() */
};

static struct world w;

static void setup(void)
{
    w = (struct world){.out = stream_out_new(FRAME_MARKS), .in = stream_in_new(FRAME_MARKS)};
    ck_assert(w.out != NULL && w.in != NULL);
}

static void teardown(void)
{
    stream_out_free(&w.out);
    stream_in_free(&w.in);
    ck_assert(w.out == NULL && w.in == NULL);
}

static void push_item(enum class class, size_t bytes)
{
    struct blob *b = blob_new(bytes);
    struct stream_item item = {
        .record = {.kind = class == SMALL ? COPY_PUT : COPY_BODY, .counter = w.pushed},
        .keep = {b, NULL},
        .cookie = w.pushed};

    ck_assert_ptr_nonnull(b);
    ck_assert_uint_lt(w.pushed, ITEMS_MAX);
    memset(b->b, 'x', bytes);
    item.record.body = blob_str(b);
    ck_assert_int_eq(stream_push(w.out, &item, class == FED), OK);
    w.class[w.pushed++] = class;
    blob_release(&b); /* the stream holds it */
}

static void push_sized(bool feed, size_t bytes)
{
    push_item(feed ? FED : LARGE, bytes);
}

static void push(bool feed)
{
    push_sized(feed, 1);
}

static void on_done(void *ctx, const struct stream_item *i, const struct copy_answer *a,
                    uint64_t took_ms)
{
    (void)ctx;
    ck_assert_uint_eq(i->record.counter, i->cookie);
    ck_assert_int_eq(i->record.body.p[0], 'x'); /* still held */
    ck_assert_int_eq(a->code, w.answer[i->cookie]);
    ck_assert_uint_eq(a->detail, a->code == COPY_OK ? 0 : i->cookie);
    ck_assert_uint_eq(w.told[i->cookie]++, 0);
    ck_assert_uint_eq(w.executed[i->cookie], 1);
    w.last_told = i->cookie;
    w.last_took = took_ms;
    if (w.push_again) {
        w.push_again = false;
        push(false);
    }
}

static void on_lost(void *ctx, const struct stream_item *i)
{
    (void)ctx;
    ck_assert_int_eq(i->record.body.p[0], 'x');
    ck_assert_uint_eq(w.told[i->cookie], 0);
    w.lost[i->cookie]++;
}

/* Takes what is new in a frame; the records' cookies go to `taken`, with their seq. */
static uint32_t take(const struct frame *f, uint64_t *taken, uint64_t *first_seq)
{
    uint32_t from, n = stream_in_take(w.in, f, &from);

    *first_seq = f->seq + from;
    for (uint32_t i = 0; i < n; i++) {
        taken[i] = f->records[from + i].counter;
        ck_assert_uint_eq(w.executed[taken[i]]++, 0);
        ck_assert_uint_ge(taken[i], w.executed_before[w.class[taken[i]]]); /* in order */
        w.executed_before[w.class[taken[i]]] = taken[i] + 1;
    }
    return n;
}

static void finish(uint64_t seq, uint64_t cookie)
{
    const struct copy_answer a = {.code = w.answer[cookie],
                                  .detail = w.answer[cookie] == COPY_OK ? 0 : cookie};

    stream_in_done(w.in, seq, &a);
}

/* Sends all there is, executes and answers it at once; returns the records executed. */
static uint64_t exchange(void)
{
    static uint64_t taken[LIMIT_FRAME_RECORDS];
    struct frame f = {0}, ack = {0};
    uint64_t total = 0, seq;

    while (stream_next(w.out, w.now, &f)) {
        uint32_t n = take(&f, taken, &seq);

        for (uint32_t i = 0; i < n; i++)
            finish(seq + i, taken[i]);
        total += n;
        while (stream_in_ack(w.in, &ack))
            ck_assert(stream_acked(w.out, &ack, w.now, on_done, NULL));
    }
    return total;
}

/* Sends all there is to nobody. */
static uint64_t send_in_vain(void)
{
    struct frame f = {0};
    uint64_t n = 0;

    while (stream_next(w.out, w.now, &f))
        n += f.record_count;
    return n;
}

START_TEST(records_arrive_once_and_in_order_and_their_answers_come_back)
{
    for (int i = 0; i < 3000; i++)
        push(false);
    w.answer[5] = COPY_EPOCH;
    w.answer[2999] = COPY_SEALED;
    w.now = 10;
    ck_assert_uint_eq(exchange(), 3000);
    for (int i = 0; i < 3000; i++)
        ck_assert(w.told[i] == 1);
    ck_assert_uint_eq(stream_out_bytes(w.out), 0);
    ck_assert_uint_eq(stream_out_flying(w.out), 0);
    ck_assert_uint_eq(stream_out_deadline(w.out), UINT64_MAX);
    ck_assert_uint_eq(stream_in_pending(w.in), 0);
    ck_assert_uint_eq(stream_in_next(w.in), 3001);
}
END_TEST

START_TEST(nothing_is_acknowledged_before_all_that_stands_before_it_is_done)
{
    static uint64_t taken[LIMIT_FRAME_RECORDS];
    struct frame f = {0}, ack = {0};
    uint64_t seq;

    push(false);
    push(false);
    push(false);
    ck_assert(stream_next(w.out, 0, &f));
    ck_assert_uint_eq(take(&f, taken, &seq), 3);
    ck_assert(!stream_in_ack(w.in, &ack));
    finish(3, 2);
    finish(2, 1);
    ck_assert(!stream_in_ack(w.in, &ack));
    ck_assert_uint_eq(stream_in_pending(w.in), 3);
    finish(1, 0);
    ck_assert(stream_in_ack(w.in, &ack));
    ck_assert_uint_eq(ack.upto, 3);
    ck_assert(!stream_in_ack(w.in, &ack)); /* said */
}
END_TEST

START_TEST(without_an_ack_all_that_flies_is_sent_again_and_later_each_time)
{
    static const uint64_t at_ms[] = {1000, 3000, 7000, 11000, 15000};

    push(false);
    push(true);
    ck_assert_uint_eq(stream_out_deadline(w.out), 0);
    ck_assert_uint_eq(send_in_vain(), 2);
    for (size_t i = 0; i < LIMIT_RESEND_TRIES; i++) {
        ck_assert_uint_eq(stream_out_deadline(w.out), at_ms[i]);
        w.now = at_ms[i] - 1;
        ck_assert_uint_eq(send_in_vain(), 0);
        w.now = at_ms[i];
        ck_assert_uint_eq(send_in_vain(), 2);
    }
    ck_assert(!stream_out_stuck(w.out, w.now));
    w.now += LIMIT_RESEND_MAX_MS;
    ck_assert_uint_eq(stream_out_deadline(w.out), w.now);
    ck_assert(stream_out_stuck(w.out, w.now));
    ck_assert_uint_eq(send_in_vain(), 0);
}
END_TEST

START_TEST(an_ack_ends_the_patience_of_the_resends_and_tells_the_time_from_the_first_sending)
{
    struct frame ack = {.upto = 1};

    push(false);
    push(false);
    send_in_vain();
    w.now = 1000;
    send_in_vain();
    w.executed[0] = 1;
    w.now = 1500;
    ck_assert(stream_acked(w.out, &ack, w.now, on_done, NULL));
    ck_assert(w.told[0] == 1 && w.told[1] == 0 && w.last_took == 1500);
    ck_assert_uint_eq(stream_out_deadline(w.out), 2500);
    ck_assert(stream_acked(w.out, &ack, 1600, on_done, NULL)); /* an old one is no progress */
    ck_assert_uint_eq(stream_out_deadline(w.out), 2500);
}
END_TEST

START_TEST(what_is_acknowledged_meanwhile_is_not_sent_again)
{
    struct frame f = {0}, ack = {.upto = 2};

    for (int i = 0; i < 3; i++) {
        push_sized(false, LIMIT_FRAME_BYTES - 4096); /* one in a frame */
        w.executed[i] = 1;
    }
    ck_assert_uint_eq(send_in_vain(), 3);
    w.now = 1000;
    ck_assert(stream_next(w.out, w.now, &f));
    ck_assert(f.seq == 1 && f.record_count == 1);
    ck_assert(stream_acked(w.out, &ack, w.now, on_done, NULL));
    ck_assert(stream_next(w.out, w.now, &f));
    ck_assert(f.seq == 3 && f.record_count == 1 && f.acked == 2);
    ck_assert(!stream_next(w.out, w.now, &f));
}
END_TEST

START_TEST(the_window_holds_and_what_waits_goes_when_there_is_room)
{
    struct frame ack = {.upto = 1};
    uint64_t flew;

    for (int i = 0; i < 40; i++)
        push_sized(false, 256 * KiB);
    flew = send_in_vain();
    ck_assert_uint_eq(flew, LIMIT_STREAM_FIRST_BYTES / (256 * KiB) - 1);
    ck_assert_uint_le(stream_out_flying(w.out), LIMIT_STREAM_FIRST_BYTES);
    ck_assert_uint_gt(stream_out_bytes(w.out), 40 * 256 * KiB);
    ck_assert_uint_eq(send_in_vain(), 0);
    w.executed[0] = 1;
    ck_assert(stream_acked(w.out, &ack, w.now, on_done, NULL));
    ck_assert_uint_eq(stream_out_deadline(w.out), 0);
    ck_assert_uint_ge(send_in_vain(), 1);
}
END_TEST

/* Sends as much as may fly; returns its bytes. */
static uint64_t fly(void)
{
    while (stream_out_bytes(w.out) < 20 * MiB)
        push_sized(false, 256 * KiB);
    w.sent += send_in_vain();
    return stream_out_flying(w.out);
}

/* All of it is acknowledged, that many ms later. */
static void land(uint64_t took_ms)
{
    struct frame ack = {.upto = w.sent};

    memset(w.executed, 1, w.sent);
    w.now += took_ms;
    ck_assert(stream_acked(w.out, &ack, w.now, on_done, NULL));
    ck_assert_uint_eq(stream_out_flying(w.out), 0);
}

START_TEST(the_window_opens_while_acks_come_soon_and_closes_while_they_are_late)
{
    const uint64_t late_ms = 40 + LIMIT_STREAM_DELAY_MS + 50;
    uint64_t flew = fly(), before;

    for (int i = 0; i < 4; i++, fly())
        land(40);
    flew = fly();
    ck_assert_uint_gt(flew, LIMIT_STREAM_WINDOW_BYTES - 512 * KiB);
    ck_assert_uint_le(flew, LIMIT_STREAM_WINDOW_BYTES);
    for (int i = 0; i < 20; i++) { /* a queue on the way */
        before = flew;
        land(late_ms);
        flew = fly();
        ck_assert(flew < before || flew < LIMIT_STREAM_LEAST_BYTES + 1 * KiB); /* one piece */
    }
    ck_assert_uint_lt(flew, LIMIT_STREAM_LEAST_BYTES + 1 * KiB);
    ck_assert_uint_ge(flew, 256 * KiB);
    for (int i = 0; i < 300; i++, fly()) /* no queue: it is that long now */
        land(late_ms);
    ck_assert_uint_gt(fly(), LIMIT_STREAM_WINDOW_BYTES - 512 * KiB);
}
END_TEST

START_TEST(a_window_that_is_not_used_does_not_grow)
{
    for (int i = 0; i < 500; i++) { /* small mail in a quiet night */
        push_sized(false, 4 * KiB);
        w.sent += send_in_vain();
        land(40);
    }
    ck_assert_uint_le(fly(), LIMIT_STREAM_FIRST_BYTES);
}
END_TEST

/* It may use half of the window, and yet has to make it grow: or a node that lacks copies gets
 * them one by one, after any load that made the window small. */
START_TEST(feed_alone_opens_the_window_again)
{
    uint64_t flew = 0;

    fly();
    land(40);
    for (fly(); stream_out_bytes(w.out) > 0; w.sent += send_in_vain())
        land(40 + LIMIT_STREAM_DELAY_MS + 50);
    for (int i = 0; i < 20; i++) {
        while (stream_out_feed(w.out) < 4 * MiB)
            push_sized(true, 64 * KiB);
        w.sent += send_in_vain();
        ck_assert(i > 0 || stream_out_flying(w.out) < LIMIT_STREAM_LEAST_BYTES);
        flew = stream_out_flying(w.out);
        land(40);
    }
    ck_assert_uint_gt(flew, LIMIT_FEED_WINDOW_BYTES - 128 * KiB);
    ck_assert_uint_le(flew, LIMIT_FEED_WINDOW_BYTES);
}
END_TEST

/* 2 MB a second and no end: each ack waits for all that flew when its record was sent. */
START_TEST(a_load_that_never_ends_does_not_make_the_way_seem_longer)
{
    uint64_t took = 0;

    for (int i = 0; i < 2000; i++) { /* ten minutes */
        took = 40 + fly() / 2000;
        land(took);
    }
    ck_assert_uint_gt(w.now, 300000);
    ck_assert_uint_le(took, LIMIT_STREAM_WAY_MS + LIMIT_STREAM_DELAY_MS);
}
END_TEST

START_TEST(what_is_small_overtakes_large_bodies_and_their_window)
{
    struct frame f = {0};

    fly();
    ck_assert_uint_eq(send_in_vain(), 0);
    push_item(SMALL, 4 * KiB);
    push_item(SMALL, 4 * KiB);
    ck_assert_uint_eq(stream_out_deadline(w.out), 0);
    ck_assert(stream_next(w.out, w.now, &f));
    ck_assert(f.record_count == 2 && f.records[0].counter == w.pushed - 2 &&
              f.records[1].counter == w.pushed - 1);
    ck_assert(!stream_next(w.out, w.now, &f));
    ck_assert_uint_le(stream_out_flying(w.out),
                      LIMIT_STREAM_FIRST_BYTES + LIMIT_STREAM_LEAST_BYTES);
}
END_TEST

START_TEST(feed_waits_behind_what_is_urgent_and_leaves_room_for_it)
{
    struct frame f = {0};

    for (int i = 0; i < 20; i++)
        push_sized(true, 200 * KiB);
    ck_assert_uint_eq(send_in_vain(), LIMIT_FEED_WINDOW_BYTES / (200 * KiB));
    ck_assert_uint_gt(stream_out_feed(w.out), 20 * 200 * KiB);
    push(false);
    push(false);
    ck_assert(stream_next(w.out, 0, &f));
    ck_assert(f.record_count == 2 && f.records[0].counter == 20 && f.records[1].counter == 21);
    ck_assert(!stream_next(w.out, 0, &f));
}
END_TEST

START_TEST(urgent_records_overtake_the_feed_that_has_not_flown)
{
    push(true);
    push(false);
    push(true);
    push(false);
    exchange();
    ck_assert_uint_eq(w.last_told, 2); /* 1 3 0 2 */
}
END_TEST

START_TEST(a_queue_over_its_limit_refuses)
{
    struct blob *b = blob_new(LIMIT_FRAME_BYTES / 2);
    struct stream_item item = {.record = {.kind = COPY_BODY, .body = blob_str(b)},
                               .keep = {NULL, b}};
    unsigned n = 0;

    while (stream_push(w.out, &item, n % 2 == 0) == OK)
        n++;
    ck_assert_uint_eq(n, LIMIT_STREAM_QUEUE_BYTES / (LIMIT_FRAME_BYTES / 2) - 1);
    ck_assert_uint_eq(atomic_load(&b->owners), n + 1);
    stream_out_reset(w.out, NULL, NULL);
    ck_assert_uint_eq(atomic_load(&b->owners), 1);
    ck_assert_int_eq(stream_push(w.out, &item, false), OK);
    blob_release(&b);
}
END_TEST

START_TEST(refusals_are_repeated_until_the_sender_says_that_it_has_seen_them)
{
    static uint64_t taken[LIMIT_FRAME_RECORDS];
    struct frame f = {0}, ack = {0};
    uint64_t seq;

    push(false);
    push(false);
    w.answer[0] = COPY_LAG;
    ck_assert(stream_next(w.out, 0, &f));
    ck_assert_uint_eq(take(&f, taken, &seq), 2);
    finish(1, 0);
    ck_assert(stream_in_ack(w.in, &ack)); /* lost on its way */
    finish(2, 1);
    ck_assert(stream_in_ack(w.in, &ack));
    ck_assert(ack.refusal_count == 1 && ack.refusals[0].seq == 1);
    ck_assert(stream_acked(w.out, &ack, 0, on_done, NULL));
    ck_assert(w.told[0] == 1 && w.told[1] == 1);
    push(false);
    ck_assert(stream_next(w.out, 0, &f));
    ck_assert_uint_eq(f.acked, 2);
    ck_assert_uint_eq(take(&f, taken, &seq), 1);
    finish(3, 2);
    ck_assert(stream_in_ack(w.in, &ack));
    ck_assert_uint_eq(ack.refusal_count, 0);
}
END_TEST

START_TEST(more_refusals_than_an_ack_holds_all_come_without_a_resend)
{
    static uint64_t taken[LIMIT_FRAME_RECORDS];
    struct frame f = {0}, ack = {0};
    uint64_t seq;
    int rounds = 0;

    for (int i = 0; i < 5000; i++) {
        push(false);
        w.answer[i] = COPY_EPOCH;
    }
    while (stream_next(w.out, w.now, &f))
        take(&f, taken, &seq);
    for (uint64_t i = 0; i < 5000; i++)
        finish(i + 1, i);
    while (stream_in_ack(w.in, &ack)) {
        ck_assert_uint_le(ack.refusal_count, LIMIT_FRAME_REFUSALS);
        ck_assert(stream_acked(w.out, &ack, w.now, on_done, NULL));
        while (stream_next(w.out, w.now, &f))
            ck_assert_uint_eq(take(&f, taken, &seq), 0);
        rounds++;
    }
    ck_assert_int_eq(rounds, 5);
    ck_assert_uint_eq(w.last_told, 4999);
    ck_assert_uint_eq(stream_in_pending(w.in), 0);
}
END_TEST

START_TEST(a_peer_that_claims_answers_it_cannot_have_gets_them_all_the_same)
{
    static const struct copy_record r[3];
    const struct copy_answer no = {.code = COPY_LAG};
    struct frame ack = {0}, f = {.seq = 1, .records = r, .record_count = 1};
    uint32_t from;

    ck_assert_uint_eq(stream_in_take(w.in, &f, &from), 1);
    stream_in_done(w.in, 1, &no);
    f = (struct frame){.seq = 2, .records = r, .record_count = 1, .acked = 2};
    ck_assert_uint_eq(stream_in_take(w.in, &f, &from), 1);
    ck_assert(stream_in_ack(w.in, &ack) && ack.refusal_count == 1);
}
END_TEST

START_TEST(a_gap_is_not_taken_and_a_known_record_is_acknowledged_again)
{
    static const struct copy_record r[3] = {{.counter = 0}, {.counter = 1}, {.counter = 2}};
    struct frame ack = {0}, f = {.seq = 2, .records = r, .record_count = 1};
    uint32_t from;

    ck_assert_uint_eq(stream_in_take(w.in, &f, &from), 0);
    ck_assert(stream_in_ack(w.in, &ack) && ack.upto == 0);
    f.seq = 1;
    ck_assert_uint_eq(stream_in_take(w.in, &f, &from), 1);
    f.record_count = 3;
    ck_assert_uint_eq(stream_in_take(w.in, &f, &from), 2);
    ck_assert_uint_eq(from, 1);
    ck_assert(!stream_in_ack(w.in, &ack));
    ck_assert_uint_eq(stream_in_take(w.in, &f, &from), 0);
    ck_assert(stream_in_ack(w.in, &ack) && ack.upto == 0); /* known, none is done */
    f.seq = UINT64_MAX;
    ck_assert_uint_eq(stream_in_take(w.in, &f, &from), 0);
    f.seq = 0;
    f.record_count = 1;
    ck_assert_uint_eq(stream_in_take(w.in, &f, &from), 0);
}
END_TEST

START_TEST(a_peer_that_acknowledges_what_was_not_sent_is_broken)
{
    struct frame_refusal bad[2] = {{.seq = 1}, {.seq = 1}};
    struct frame ack = {.upto = 1};

    ck_assert(!stream_acked(w.out, &ack, 0, on_done, NULL));
    push(false);
    push(false);
    ck_assert(!stream_acked(w.out, &ack, 0, on_done, NULL)); /* waits still */
    send_in_vain();
    ack.upto = 3;
    ck_assert(!stream_acked(w.out, &ack, 0, on_done, NULL));
    ack = (struct frame){.upto = 2, .refusals = bad, .refusal_count = 2};
    ck_assert(!stream_acked(w.out, &ack, 0, on_done, NULL)); /* twice the same */
    bad[1].seq = 3;
    ck_assert(!stream_acked(w.out, &ack, 0, on_done, NULL)); /* above upto */
    ck_assert_uint_eq(w.told[0], 0);
}
END_TEST

START_TEST(a_receiver_takes_only_so_much_that_is_not_done)
{
    static struct copy_record r[LIMIT_FRAME_RECORDS];
    struct frame f = {.seq = 1, .records = r, .record_count = LIMIT_FRAME_RECORDS};
    const struct copy_answer ok = {.code = COPY_OK};
    uint64_t max = LIMIT_STREAM_WINDOW_BYTES / 64;
    uint32_t from, n;

    while ((n = stream_in_take(w.in, &f, &from)) > 0)
        f.seq += n;
    ck_assert_uint_eq(stream_in_pending(w.in), max);
    stream_in_done(w.in, 1, &ok);
    ck_assert_uint_eq(stream_in_take(w.in, &f, &from), 1);
    for (uint64_t seq = max + 1; seq > 1; seq--)
        stream_in_done(w.in, seq, &ok);
    ck_assert_uint_eq(stream_in_pending(w.in), 0);
}
END_TEST

START_TEST(a_new_link_starts_at_one_and_all_that_waited_is_handed_back)
{
    static uint64_t taken[LIMIT_FRAME_RECORDS];
    struct frame f = {0};
    uint64_t seq;

    push(false);
    push(true);
    ck_assert(stream_next(w.out, 0, &f));
    push(false);
    ck_assert_uint_eq(take(&f, taken, &seq), 2);
    stream_out_reset(w.out, on_lost, NULL);
    stream_in_reset(w.in);
    ck_assert(w.lost[0] == 1 && w.lost[1] == 1 && w.lost[2] == 1);
    ck_assert_uint_eq(stream_out_bytes(w.out), 0);
    ck_assert_uint_eq(stream_out_feed(w.out), 0);
    ck_assert_uint_eq(stream_in_pending(w.in), 0);
    push(false);
    ck_assert(stream_next(w.out, 0, &f));
    ck_assert(f.seq == 1 && f.acked == 0);
    ck_assert_uint_eq(take(&f, taken, &seq), 1);
}
END_TEST

static void reset_from_done(void *ctx, const struct stream_item *i, const struct copy_answer *a,
                            uint64_t took_ms)
{
    (void)a;
    (void)took_ms;
    w.told[i->cookie]++;
    stream_out_reset(ctx, on_lost, NULL);
    push(false);
}

START_TEST(an_answer_may_end_the_link)
{
    struct frame ack = {.upto = 2};

    push(false);
    push(false);
    push(false);
    send_in_vain();
    ck_assert(stream_acked(w.out, &ack, 0, reset_from_done, w.out));
    ck_assert(w.told[0] == 1 && w.lost[1] == 1 && w.lost[2] == 1 && w.told[1] == 0);
    ck_assert_uint_eq(send_in_vain(), 1);
}
END_TEST

START_TEST(an_answer_may_lead_to_the_next_record)
{
    push(false);
    w.push_again = true;
    exchange();
    ck_assert(w.told[0] == 1 && w.told[1] == 1);
}
END_TEST

/* --- a little world --- */

#define WIRE 64

struct wire_frame { /* what travels: frames are borrowed only until the next call */
    bool is_ack;
    struct frame f;
    struct copy_record records[LIMIT_FRAME_RECORDS];
    struct frame_refusal refusals[LIMIT_FRAME_REFUSALS];
};

static struct wire_frame wire[WIRE];
static uint32_t wire_count;
static uint64_t waiting[ITEMS_MAX][2]; /* taken, not done: seq, cookie */
static uint32_t waiting_count;

static void put_on_wire(const struct frame *f, bool is_ack, struct prng *r)
{
    uint64_t copies = prng_below(r, 10) < 2 ? 0 : prng_below(r, 10) < 1 ? 2 : 1;

    for (; copies > 0 && wire_count < WIRE; copies--) {
        struct wire_frame *x = &wire[wire_count++];

        x->is_ack = is_ack;
        x->f = *f;
        if (is_ack)
            memcpy(x->refusals, f->refusals, f->refusal_count * sizeof *f->refusals);
        else
            memcpy(x->records, f->records, f->record_count * sizeof *f->records);
    }
}

static void receive(struct wire_frame *x)
{
    static uint64_t taken[LIMIT_FRAME_RECORDS];
    uint64_t seq;
    uint32_t n;

    if (x->is_ack) {
        x->f.refusals = x->refusals;
        ck_assert(stream_acked(w.out, &x->f, w.now, on_done, NULL));
        return;
    }
    x->f.records = x->records;
    n = take(&x->f, taken, &seq);
    for (uint32_t i = 0; i < n; i++) {
        waiting[waiting_count][0] = seq + i;
        waiting[waiting_count++][1] = taken[i];
    }
}

static void receive_any(struct prng *r)
{
    static struct wire_frame x;
    uint32_t i = (uint32_t)prng_below(r, wire_count);

    if (prng_below(r, 3) > 0)
        i = 0; /* mostly in order */
    x = wire[i];
    memmove(&wire[i], &wire[i + 1], (--wire_count - i) * sizeof *wire);
    receive(&x);
}

static void finish_any(struct prng *r)
{
    uint32_t i = (uint32_t)prng_below(r, waiting_count);
    uint64_t seq = waiting[i][0], cookie = waiting[i][1];

    waiting[i][0] = waiting[--waiting_count][0];
    waiting[i][1] = waiting[waiting_count][1];
    finish(seq, cookie);
}

static void send_all(struct prng *r)
{
    struct frame f = {0};

    while (stream_next(w.out, w.now, &f))
        put_on_wire(&f, false, r);
    if (stream_in_ack(w.in, &f))
        put_on_wire(&f, true, r);
}

static void new_link(void)
{
    stream_out_reset(w.out, on_lost, NULL);
    stream_in_reset(w.in);
    wire_count = waiting_count = 0; /* the link's nonces drop what is under way */
}

static void step(struct prng *r)
{
    uint64_t what = prng_below(r, 100);

    if (what < 25 && w.pushed < ITEMS_MAX - 1) {
        w.answer[w.pushed] = prng_below(r, 4) == 0 ? COPY_EPOCH : COPY_OK;
        push_sized(prng_below(r, 3) == 0, 1 + prng_below(r, 3) * prng_below(r, 3000));
    } else if (what < 45) {
        send_all(r);
    } else if (what < 70 && wire_count > 0) {
        receive_any(r);
    } else if (what < 95 && waiting_count > 0) {
        finish_any(r);
    } else {
        w.now += prng_below(r, 700);
    }
    if (stream_out_stuck(w.out, w.now) || prng_below(r, 2000) == 0)
        new_link();
}

static void drain(struct prng *r)
{
    for (int i = 0; i < 20000 && stream_out_bytes(w.out) > 0; i++) {
        send_all(r);
        while (wire_count > 0)
            receive_any(r);
        while (waiting_count > 0)
            finish_any(r);
        w.now += 500;
        if (stream_out_stuck(w.out, w.now))
            new_link();
    }
}

START_TEST(over_random_runs_each_record_is_executed_once_and_answered_or_handed_back)
{
    struct prng r;

    prng_seed(&r, (uint64_t)_i + 1);
    wire_count = waiting_count = 0;
    for (int i = 0; i < 6000; i++)
        step(&r);
    drain(&r);
    ck_assert_msg(stream_out_bytes(w.out) == 0, "seed %d does not drain", _i + 1);
    for (uint64_t c = 0; c < w.pushed; c++) {
        if (w.told[c] + w.lost[c] != 1 || w.executed[c] > 1)
            ck_abort_msg("seed %d: record %u", _i + 1, (unsigned)c);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream");
    TCase *tc = tcase_create("stream");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, records_arrive_once_and_in_order_and_their_answers_come_back);
    tcase_add_test(tc, nothing_is_acknowledged_before_all_that_stands_before_it_is_done);
    tcase_add_test(tc, without_an_ack_all_that_flies_is_sent_again_and_later_each_time);
    tcase_add_test(
        tc, an_ack_ends_the_patience_of_the_resends_and_tells_the_time_from_the_first_sending);
    tcase_add_test(tc, what_is_acknowledged_meanwhile_is_not_sent_again);
    tcase_add_test(tc, the_window_holds_and_what_waits_goes_when_there_is_room);
    tcase_add_test(tc, the_window_opens_while_acks_come_soon_and_closes_while_they_are_late);
    tcase_add_test(tc, a_window_that_is_not_used_does_not_grow);
    tcase_add_test(tc, feed_alone_opens_the_window_again);
    tcase_add_test(tc, a_load_that_never_ends_does_not_make_the_way_seem_longer);
    tcase_add_test(tc, what_is_small_overtakes_large_bodies_and_their_window);
    tcase_add_test(tc, feed_waits_behind_what_is_urgent_and_leaves_room_for_it);
    tcase_add_test(tc, urgent_records_overtake_the_feed_that_has_not_flown);
    tcase_add_test(tc, a_queue_over_its_limit_refuses);
    tcase_add_test(tc, refusals_are_repeated_until_the_sender_says_that_it_has_seen_them);
    tcase_add_test(tc, more_refusals_than_an_ack_holds_all_come_without_a_resend);
    tcase_add_test(tc, a_peer_that_claims_answers_it_cannot_have_gets_them_all_the_same);
    tcase_add_test(tc, a_gap_is_not_taken_and_a_known_record_is_acknowledged_again);
    tcase_add_test(tc, a_peer_that_acknowledges_what_was_not_sent_is_broken);
    tcase_add_test(tc, a_receiver_takes_only_so_much_that_is_not_done);
    tcase_add_test(tc, a_new_link_starts_at_one_and_all_that_waited_is_handed_back);
    tcase_add_test(tc, an_answer_may_lead_to_the_next_record);
    tcase_add_test(tc, an_answer_may_end_the_link);
    tcase_add_loop_test(
        tc, over_random_runs_each_record_is_executed_once_and_answered_or_handed_back, 0, 30);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
