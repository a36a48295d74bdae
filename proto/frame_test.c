/* Frames survive the way to bytes and back; everything else is refused, and nothing that is
 * over a limit is even unpacked (frame.c). No record travels that is not sound (copyrec.c). */
#include "proto/frame.h"

#include <check.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/limits.h"
#include "base/prng.h"

#define ARENA_BYTES (8 * MiB)

static struct arena arena;
static uint8_t buf[LIMIT_FRAME_BYTES + 1];

static void setup(void)
{
    arena_init(&arena, ARENA_BYTES);
}

static void teardown(void)
{
    arena_reset(&arena);
}

#define S(lit)                                                                                 \
    {                                                                                          \
        (lit), sizeof(lit) - 1                                                                 \
    }
#define ID  .id = {{0, 1, [7] = 9, [15] = 1}}
#define ID2 .id = {{0xff, 0xff, 0xff, [15] = 0xff}}

static const struct copy_range ranges[] = {
    {1, 1}, {2, 7}, {9, 1000000}, {UINT64_MAX - 1, UINT64_MAX}};

static const struct copy_record marks[] = {
    {.kind = COPY_ECHO},
    {COPY_ABORT, ID},
    {COPY_COMMIT, ID2},
    {COPY_UPTO, .site = 1, .epoch = (UINT64_C(1) << 48) - 1, .counter = UINT64_MAX},
    {COPY_DOT, ID, .domain = S("a.example"), .slot_epoch = 5, .site = 65535, .epoch = 9},
    {COPY_DOT, ID, .domain = S("a.example"), .slot_epoch = 5, .site = 65535, .epoch = 9,
     .counter = 4},
    {COPY_CLOSED, ID, .slot_epoch = UINT64_MAX, .site = 2},
    {COPY_OUTCOME, ID, .envelope = S("any bytes\0\xff")},
    {COPY_RESOLVE, .site = 3, .epoch = 1},
    {COPY_RESOLVED, .site = 3, .epoch = 1},
    {COPY_HAVE, COPY_SETTLED, .site = 1, .epoch = 2, .ranges = ranges, .range_count = 4},
    {COPY_HAVE, COPY_ABORTED, .site = 1, .epoch = 2, .ranges = ranges, .range_count = 1},
    {.kind = COPY_HAVE_END},
    {.kind = COPY_FILLED},
    {COPY_WANT, ID},
    {COPY_CLEAR, .site = 2, .epoch = 77},
    {COPY_MARK, ID, .slot_epoch = 5, .site = 3, .epoch = 9, .counter = 3},
    {COPY_MARK, ID, .slot_epoch = UINT64_MAX, .site = UINT16_MAX},
    {COPY_ENDED, ID},
};

static const struct copy_record copies[] = {
    {COPY_BODY, .body_number = 1, .body = S("x")},
    {COPY_BODY, .body_number = UINT64_MAX, .offset = LIMIT_BODY_BYTES - 4, .body = S("last")},
    {COPY_PUT, COPY_UNDECIDED, ID, .envelope = S("e"), .body = S("the body")},
    {COPY_PUT, COPY_COMMITTED, ID2, .envelope = S("e"), .body_number = 7},
    {COPY_PUT, COPY_COMMITTED, ID2, .envelope = S("e")}, /* an empty body */
};

static const struct frame_refusal refusals[] = {
    {1, {COPY_EPOCH, UINT64_MAX, 0, 0}},
    {2, {COPY_FOREIGN_DOT, 5, 65535, UINT64_MAX}},
    {9, {COPY_FAILED, 0, 0, 0}},
};

static const struct frame_reach reach[] = {
    {.ip = {[10] = 0xff, [11] = 0xff, [15] = 1}, .port = 25, .up = true, .age_ms = UINT32_MAX},
    {.ip = {0}, .port = 65535},
};

#define HEAD .cluster = {1, [15] = 0xff}, .site = 1, .incarnation = UINT64_MAX, .from_nonce = 3

#define LINKED   HEAD, .to_nonce = UINT64_MAX
#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct frame good[] = {
    {FRAME_HELLO, HEAD, .format = FRAME_FORMAT},
    {FRAME_HELLO, LINKED, .format = 99, .session = UINT64_MAX, .filled = true},
    {FRAME_RECORDS, LINKED, .stream = FRAME_MARKS, .seq = 9, .acked = 8, .records = marks,
     .record_count = COUNT(marks)},
    {FRAME_RECORDS, LINKED, .stream = FRAME_COPIES, .seq = 1, .records = copies,
     .record_count = COUNT(copies)},
    {FRAME_RECORDS, LINKED, .stream = FRAME_MARKS, .seq = 100, .acked = 99},
    {FRAME_ACK, LINKED, .stream = FRAME_MARKS},
    {FRAME_ACK, LINKED, .stream = FRAME_COPIES, .upto = 9, .refusals = refusals,
     .refusal_count = COUNT(refusals)},
    {FRAME_NOTE, LINKED},
    {FRAME_NOTE, LINKED, .open = true, .live = UINT64_MAX, .single = 1, .reach = reach,
     .reach_count = COUNT(reach)},
    {FRAME_FACTS, LINKED, .facts = S("\0facts")},
};

static bool same_record(const struct copy_record *a, const struct copy_record *b)
{
    if (a->range_count != b->range_count)
        return false;
    for (uint32_t i = 0; i < a->range_count; i++)
        if (a->ranges[i].from != b->ranges[i].from || a->ranges[i].to != b->ranges[i].to)
            return false;
    return a->kind == b->kind && a->state == b->state && mid_cmp(a->id, b->id) == 0 &&
           a->site == b->site && a->epoch == b->epoch && a->counter == b->counter &&
           a->slot_epoch == b->slot_epoch && a->body_number == b->body_number &&
           a->offset == b->offset && str_eq(a->domain, b->domain) &&
           str_eq(a->envelope, b->envelope) && str_eq(a->body, b->body);
}

static bool same_lists(const struct frame *a, const struct frame *b)
{
    if (a->record_count != b->record_count || a->refusal_count != b->refusal_count ||
        a->reach_count != b->reach_count)
        return false;
    for (uint32_t i = 0; i < a->record_count; i++)
        if (!same_record(&a->records[i], &b->records[i]))
            return false;
    for (uint32_t i = 0; i < a->refusal_count; i++) {
        const struct frame_refusal *x = &a->refusals[i], *y = &b->refusals[i];

        if (x->seq != y->seq || x->answer.code != y->answer.code ||
            x->answer.detail != y->answer.detail || x->answer.site != y->answer.site ||
            x->answer.session != y->answer.session)
            return false;
    }
    for (uint32_t i = 0; i < a->reach_count; i++) {
        const struct frame_reach *x = &a->reach[i], *y = &b->reach[i];

        if (memcmp(x->ip, y->ip, 16) != 0 || x->port != y->port || x->up != y->up ||
            x->age_ms != y->age_ms)
            return false;
    }
    return true;
}

static bool same(const struct frame *a, const struct frame *b)
{
    return a->kind == b->kind && memcmp(a->cluster, b->cluster, 16) == 0 &&
           a->site == b->site && a->incarnation == b->incarnation &&
           a->from_nonce == b->from_nonce && a->to_nonce == b->to_nonce &&
           a->format == b->format && a->session == b->session && a->filled == b->filled &&
           a->stream == b->stream && a->seq == b->seq && a->acked == b->acked &&
           a->upto == b->upto && a->open == b->open && a->live == b->live &&
           a->single == b->single && str_eq(a->facts, b->facts) && same_lists(a, b);
}

/* Decodes an exact-size copy, so that a read beyond the end is seen. */
static enum err decode(struct str bytes, struct frame *out)
{
    char *copy = malloc(bytes.n > 0 ? bytes.n : 1);
    enum err e;

    ck_assert_ptr_nonnull(copy);
    if (bytes.n > 0)
        memcpy(copy, bytes.p, bytes.n);
    e = frame_decode((struct str){copy, bytes.n}, &arena, out);
    free(copy); /* what was decoded does not point into it */
    return e;
}

START_TEST(a_frame_survives_the_way_to_bytes_and_back)
{
    const struct frame *f = &good[_i];
    struct frame back;
    struct str bytes;

    ck_assert_int_eq(frame_encode(f, buf, sizeof buf, &bytes), OK);
    ck_assert_int_eq(decode(bytes, &back), OK);
    ck_assert(same(f, &back));
    ck_assert_int_eq(frame_encode(f, buf, bytes.n - 1, &bytes), E_FULL);
}
END_TEST

START_TEST(every_cut_every_added_byte_and_every_flipped_bit_is_refused)
{
    struct frame back;
    struct str bytes;

    ck_assert_int_eq(frame_encode(&good[_i], buf, sizeof buf, &bytes), OK);
    for (size_t n = 0; n < bytes.n; n++)
        ck_assert_int_eq(decode(str_head(bytes, n), &back), E_PROTO);
    buf[bytes.n] = 0;
    ck_assert_int_eq(decode((struct str){bytes.p, bytes.n + 1}, &back), E_PROTO);
    for (size_t bit = 0; bit < bytes.n * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (decode(bytes, &back) != E_PROTO || back.kind != 0)
            ck_abort_msg("bit %u", (unsigned)bit);
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}
END_TEST

/* The checksum is no secret: a peer that is out of its mind computes it as well. */
static struct str with_sum(size_t n)
{
    uint64_t sum = XXH3_64bits(buf + 8, n - 8);

    for (size_t i = 0; i < 8; i++)
        buf[i] = (uint8_t)(sum >> 8 * i);
    return (struct str){(const char *)buf, n};
}

START_TEST(with_a_right_checksum_damage_is_refused_or_is_another_exact_frame)
{
    static uint8_t again[LIMIT_FRAME_BYTES];
    struct frame back;
    struct str bytes, out;

    ck_assert_int_eq(frame_encode(&good[_i], buf, sizeof buf, &bytes), OK);
    for (size_t bit = 64; bit < bytes.n * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (decode(with_sum(bytes.n), &back) == OK) {
            ck_assert_int_eq(frame_encode(&back, again, sizeof again, &out), OK);
            if (!str_eq(out, bytes))
                ck_abort_msg("bit %u", (unsigned)bit);
        }
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        arena_reset(&arena);
    }
    for (size_t n = 9; n < bytes.n; n++) {
        ck_assert_int_eq(frame_encode(&good[_i], buf, sizeof buf, &bytes), OK);
        if (decode(with_sum(n), &back) == OK)
            ck_assert(!same(&back, &good[_i]));
    }
}
END_TEST

/* --- what is not sound is not sent, and not taken --- */

static const struct copy_record bad_records[] = {
    {0},
    {.kind = (enum copy_kind)17},
    {.kind = (enum copy_kind)34},
    {.kind = (enum copy_kind) - 1},
    {COPY_ECHO, .counter = 1},
    {.kind = COPY_ABORT},
    {COPY_ABORT, ID, .state = COPY_ABORTED},
    {COPY_ABORT, .id = {{0, 1, [15] = 1}}},          /* no epoch */
    {COPY_ABORT, .id = {{0, 0, [7] = 9, [15] = 1}}}, /* no site */
    {COPY_ABORT, .id = {{0, 1, [7] = 9}}},           /* no counter */
    {COPY_UPTO, .site = 1, .epoch = 1},
    {COPY_UPTO, .site = 1, .epoch = UINT64_C(1) << 48, .counter = 1},
    {COPY_DOT, ID, .slot_epoch = 5, .site = 1, .epoch = 9},
    {COPY_CLOSED, ID, .slot_epoch = 5, .site = 1, .epoch = 9},
    {COPY_MARK, ID, .slot_epoch = 5, .site = 1, .epoch = 9, .counter = 4},
    {COPY_MARK, ID, .site = 1, .epoch = 9},
    {COPY_OUTCOME, ID},
    {COPY_HAVE, COPY_SETTLED, .site = 1, .epoch = 2},
    {COPY_HAVE, .site = 1, .epoch = 2, .ranges = ranges, .range_count = 1},
    {COPY_HAVE, (enum copy_state)5, .site = 1, .epoch = 2, .ranges = ranges, .range_count = 1},
    {COPY_HAVE, COPY_SETTLED, .site = 1, .epoch = 2,
     .ranges = (const struct copy_range[]){{0, 1}}, .range_count = 1},
    {COPY_HAVE, COPY_SETTLED, .site = 1, .epoch = 2,
     .ranges = (const struct copy_range[]){{2, 1}}, .range_count = 1},
    {COPY_HAVE, COPY_SETTLED, .site = 1, .epoch = 2,
     .ranges = (const struct copy_range[]){{1, 3}, {3, 4}}, .range_count = 2},
    {COPY_BODY, .body_number = 1},
    {COPY_BODY, .body = S("x")},
    {COPY_BODY, .body_number = 1, .offset = LIMIT_BODY_BYTES, .body = S("x")},
    {COPY_BODY, .body_number = 1, .offset = UINT64_MAX, .body = S("x")},
    {COPY_PUT, COPY_UNDECIDED, ID, .body = S("x")},
    {COPY_PUT, COPY_ABORTED, ID, .envelope = S("e"), .body = S("x")},
    {COPY_PUT, COPY_SETTLED, ID, .envelope = S("e"), .body = S("x")},
    {COPY_PUT, ID, .envelope = S("e"), .body = S("x")},
    {COPY_PUT, COPY_UNDECIDED, ID, .envelope = S("e"), .body = S("x"), .body_number = 1},
    {COPY_PUT, COPY_UNDECIDED, ID, .envelope = S("e"), .offset = 1},
};

START_TEST(a_record_that_is_not_sound_has_a_reason_and_no_bytes)
{
    const struct copy_record *r = &bad_records[_i];
    struct frame f = {FRAME_RECORDS,
                      LINKED,
                      .stream = r->kind >= COPY_BODY ? FRAME_COPIES : FRAME_MARKS,
                      .seq = 1,
                      .records = r,
                      .record_count = 1};
    struct str bytes;

    ck_assert_ptr_nonnull(copyrec_check(r));
    ck_assert_int_eq(frame_encode(&f, buf, sizeof buf, &bytes), E_PROTO);
}
END_TEST

START_TEST(each_limit_of_a_record_holds_at_its_last_byte)
{
    static char big[LIMIT_ENVELOPE_BYTES + 1];
    static struct copy_range many[LIMIT_FRAME_RANGES + 1];
    struct copy_record dot = marks[4], outcome = marks[7], have = marks[10], body = copies[0];

    for (uint64_t i = 0; i <= LIMIT_FRAME_RANGES; i++)
        many[i] = (struct copy_range){2 * i + 1, 2 * i + 1};
    dot.domain = (struct str){big, LIMIT_SMTP_DOMAIN_BYTES};
    outcome.envelope = (struct str){big, LIMIT_ENVELOPE_BYTES};
    have.ranges = many;
    have.range_count = LIMIT_FRAME_RANGES;
    body.body = (struct str){big, LIMIT_BODY_PIECE_BYTES};
    ck_assert_ptr_null(copyrec_check(&dot));
    ck_assert_ptr_null(copyrec_check(&outcome));
    ck_assert_ptr_null(copyrec_check(&have));
    ck_assert_ptr_null(copyrec_check(&body));
    dot.domain.n++;
    outcome.envelope.n++;
    have.range_count++;
    body.body.n++;
    ck_assert_ptr_nonnull(copyrec_check(&dot));
    ck_assert_ptr_nonnull(copyrec_check(&outcome));
    ck_assert_ptr_nonnull(copyrec_check(&have));
    ck_assert_ptr_nonnull(copyrec_check(&body));
}
END_TEST

static const struct frame_refusal bad_refusals[][2] = {
    {{0, {COPY_LAG, 0, 0, 0}}, {1, {COPY_LAG, 0, 0, 0}}},
    {{1, {COPY_LAG, 0, 0, 0}}, {1, {COPY_LAG, 0, 0, 0}}},
    {{1, {COPY_LAG, 0, 0, 0}}, {10, {COPY_LAG, 0, 0, 0}}},
    {{1, {COPY_OK, 0, 0, 0}}, {2, {COPY_LAG, 0, 0, 0}}},
    {{1, {(enum copy_code)15, 0, 0, 0}}, {2, {COPY_LAG, 0, 0, 0}}},
};

static const struct frame bad[] = {
    {0, LINKED},
    {6, LINKED},
    {FRAME_FACTS, LINKED},
    {FRAME_FACTS, HEAD, .facts = S("x")},
    {FRAME_NOTE, HEAD},
    {FRAME_HELLO, LINKED},
    {FRAME_NOTE, .site = 0, .incarnation = 1, .from_nonce = 1, .to_nonce = 1},
    {FRAME_NOTE, .site = 1, .incarnation = 0, .from_nonce = 1, .to_nonce = 1},
    {FRAME_NOTE, .site = 1, .incarnation = 1, .from_nonce = 0, .to_nonce = 1},
    {FRAME_NOTE, LINKED, .reach = (const struct frame_reach[]){{.up = true}}, .reach_count = 1},
    {FRAME_RECORDS, LINKED, .seq = 0, .records = marks, .record_count = 1},
    {FRAME_RECORDS, LINKED, .seq = UINT64_MAX, .records = marks, .record_count = 1},
    {FRAME_RECORDS, LINKED, .seq = 3, .acked = 3, .records = marks, .record_count = 1},
    {FRAME_RECORDS, LINKED, .seq = 1, .stream = FRAME_COPIES, .records = marks,
     .record_count = 1},
    {FRAME_RECORDS, LINKED, .seq = 1, .stream = FRAME_MARKS, .records = copies,
     .record_count = 1},
    {FRAME_RECORDS, LINKED, .seq = 1, .stream = FRAME_STREAMS},
    {FRAME_ACK, LINKED, .stream = FRAME_STREAMS},
    {FRAME_ACK, LINKED, .upto = 9, .refusals = bad_refusals[0], .refusal_count = 2},
    {FRAME_ACK, LINKED, .upto = 9, .refusals = bad_refusals[1], .refusal_count = 2},
    {FRAME_ACK, LINKED, .upto = 9, .refusals = bad_refusals[2], .refusal_count = 2},
    {FRAME_ACK, LINKED, .upto = 9, .refusals = bad_refusals[3], .refusal_count = 2},
    {FRAME_ACK, LINKED, .upto = 9, .refusals = bad_refusals[4], .refusal_count = 2},
};

START_TEST(a_frame_that_is_not_sound_has_no_bytes)
{
    struct str bytes;

    ck_assert_int_eq(frame_encode(&bad[_i], buf, sizeof buf, &bytes), E_PROTO);
}
END_TEST

START_TEST(the_fields_of_another_kind_do_not_travel)
{
    struct frame f = good[5], back;
    struct str bytes;

    f.format = 7;
    f.open = true;
    f.seq = f.acked = f.live = 9;
    f.records = marks;
    f.record_count = 3;
    f.reach = reach;
    f.reach_count = LIMIT_FRAME_REACH + 1;
    ck_assert_int_eq(frame_encode(&f, buf, sizeof buf, &bytes), OK);
    ck_assert_int_eq(decode(bytes, &back), OK);
    ck_assert(same(&back, &good[5]));
}
END_TEST

/* --- limits --- */

START_TEST(a_frame_is_full_at_its_limits_and_not_before)
{
    static struct copy_record r[LIMIT_FRAME_RECORDS + 1];
    static struct frame_refusal no[LIMIT_FRAME_REFUSALS + 1];
    static struct frame_reach up[LIMIT_FRAME_REACH + 1];
    struct frame f[] = {
        {FRAME_RECORDS, LINKED, .seq = 1, .records = r, .record_count = LIMIT_FRAME_RECORDS},
        {FRAME_ACK, LINKED, .upto = UINT64_MAX, .refusals = no,
         .refusal_count = LIMIT_FRAME_REFUSALS},
        {FRAME_NOTE, LINKED, .reach = up, .reach_count = LIMIT_FRAME_REACH}};
    struct frame back;
    struct str bytes;

    for (uint64_t i = 0; i <= LIMIT_FRAME_RECORDS; i++)
        r[i] = marks[4];
    for (uint64_t i = 0; i <= LIMIT_FRAME_REFUSALS; i++)
        no[i] = (struct frame_refusal){UINT64_MAX - LIMIT_FRAME_REFUSALS + i,
                                       {COPY_FAILED, UINT64_MAX, UINT16_MAX, UINT64_MAX}};
    for (uint64_t i = 0; i <= LIMIT_FRAME_REACH; i++)
        up[i] = reach[0];
    for (size_t i = 0; i < COUNT(f); i++) {
        ck_assert_int_eq(frame_encode(&f[i], buf, sizeof buf, &bytes), OK);
        ck_assert_int_eq(decode(bytes, &back), OK);
        ck_assert(same(&f[i], &back));
        f[i].record_count += f[i].record_count > 0;
        f[i].refusal_count += f[i].refusal_count > 0;
        f[i].reach_count += f[i].reach_count > 0;
        ck_assert_int_eq(frame_encode(&f[i], buf, sizeof buf, &bytes), E_FULL);
        arena_reset(&arena);
    }
}
END_TEST

START_TEST(a_record_is_never_larger_than_was_said)
{
    struct copy_range wide[4] = {{UINT64_MAX / 3, UINT64_MAX / 3 * 2},
                                 {UINT64_MAX - 3, UINT64_MAX}};
    struct copy_record r[] = {marks[3],
                              marks[4],
                              copies[2],
                              copies[3],
                              {COPY_HAVE, COPY_SETTLED, .site = 65535,
                               .epoch = (UINT64_C(1) << 48) - 1, .ranges = wide,
                               .range_count = 2},
                              {COPY_DOT, ID2, .domain = S("a"), .slot_epoch = UINT64_MAX,
                               .site = 65535, .epoch = (UINT64_C(1) << 48) - 1}};
    struct frame none = good[4], one = none;
    struct str empty, bytes;
    size_t without;

    ck_assert_int_eq(frame_encode(&none, buf, sizeof buf, &empty), OK);
    without = empty.n;
    for (size_t i = 0; i < COUNT(r); i++) {
        one.records = &r[i];
        one.record_count = 1;
        one.stream = r[i].kind >= COPY_BODY ? FRAME_COPIES : FRAME_MARKS;
        ck_assert_int_eq(frame_encode(&one, buf, sizeof buf, &bytes), OK);
        ck_assert_uint_le(bytes.n, without + 2 + frame_record_bytes(&r[i]));
    }
}
END_TEST

START_TEST(a_frame_above_the_size_is_refused_both_ways)
{
    static char big[LIMIT_ENVELOPE_BYTES];
    struct copy_record r[4];
    struct frame back, f = {FRAME_RECORDS, LINKED, .seq = 1, .records = r, .record_count = 4};
    struct str bytes;

    for (size_t i = 0; i < 4; i++) {
        r[i] = marks[7];
        r[i].envelope = (struct str){big, sizeof big};
    }
    ck_assert_int_eq(frame_encode(&f, buf, sizeof buf, &bytes), E_FULL);
    memset(buf, 0, sizeof buf);
    ck_assert_int_eq(decode(with_sum(sizeof buf), &back), E_PROTO);
}
END_TEST

/* Bytes of a frame by hand: a head that is good, and then `n` times `part`. */
static struct str many(const char *part, size_t part_n, size_t n)
{
    struct str head;
    size_t at;

    ck_assert_int_eq(frame_encode(&good[4], buf, sizeof buf, &head), OK);
    at = head.n;
    for (size_t i = 0; i < n && at + part_n <= LIMIT_FRAME_BYTES; i++, at += part_n)
        memcpy(buf + at, part, part_n);
    return with_sum(at);
}

START_TEST(too_many_of_anything_is_refused_before_it_is_unpacked)
{
    static const struct {
        const char *part;
        size_t n;
    } parts[] = {{"\x6a\x00", 2},         /* 13: empty records    */
                 {"\x7a\x00", 2},         /* 15: empty refusals   */
                 {"\x9a\x01\x00", 3},     /* 19: empty addresses  */
                 {"\xa2\x01\x00", 3},     /* 20: not known        */
                 {"\x6a\x02\x70\x01", 4}, /* a record's field 14  */
                 {"\x90\x01\x01", 3}};    /* 18, again and again  */
    struct frame back;

    for (size_t i = 0; i < COUNT(parts); i++) {
        ck_assert_int_eq(decode(many(parts[i].part, parts[i].n, 100000), &back), E_PROTO);
        ck_assert_uint_eq(arena.used, 0);
    }
}
END_TEST

START_TEST(more_ranges_than_the_limit_are_refused_before_they_are_unpacked)
{
    static char part[4 + 2 * LIMIT_FRAME_RANGES + 6];
    size_t n = 2 * LIMIT_FRAME_RANGES + 1;
    struct frame back;

    part[0] = 0x6a; /* a record of n + 4 bytes: its field 13 with n numbers */
    part[1] = (char)(0x80 | ((n + 4) & 0x7f));
    part[2] = (char)((n + 4) >> 7);
    part[3] = 0x6a;
    part[4] = (char)(0x80 | (n & 0x7f));
    part[5] = (char)(n >> 7);
    memset(part + 6, 1, n);
    part[1] = (char)(0x80 | ((n + 3) & 0x7f));
    part[2] = (char)((n + 3) >> 7);
    ck_assert_int_eq(decode(many(part, n + 6, 1), &back), E_PROTO);
    ck_assert_uint_eq(arena.used, 0);
}
END_TEST

START_TEST(an_arena_without_room_is_said)
{
    struct frame back;
    struct arena small;
    struct str bytes;
    size_t needed = 0;

    ck_assert_int_eq(frame_encode(&good[2], buf, sizeof buf, &bytes), OK);
    ck_assert_int_eq(decode(bytes, &back), OK);
    needed = arena.used;
    for (size_t room = 0; room < needed; room += 16) {
        arena_init(&small, room);
        ck_assert_int_eq(frame_decode(bytes, &small, &back), E_FULL);
        ck_assert_int_eq(back.kind, 0);
        arena_reset(&small);
    }
}
END_TEST

START_TEST(kinds_and_codes_have_texts)
{
    for (int k = COPY_ECHO; k <= COPY_ENDED; k++)
        ck_assert_str_ne(copy_kind_text((enum copy_kind)k), "unknown");
    ck_assert_str_eq(copy_kind_text(COPY_PUT), "put");
    ck_assert_str_eq(copy_kind_text((enum copy_kind)17), "unknown");
    ck_assert_str_eq(copy_kind_text((enum copy_kind) - 1), "unknown");
    for (int c = COPY_OK; c <= COPY_DOUBT; c++)
        ck_assert_str_ne(copy_code_text((enum copy_code)c), "unknown");
    ck_assert_str_eq(copy_code_text(COPY_FOREIGN_DOT), "foreign_dot");
    ck_assert_str_eq(copy_code_text((enum copy_code)15), "unknown");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame");
    TCase *tc = tcase_create("frame");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_frame_survives_the_way_to_bytes_and_back, 0, COUNT(good));
    tcase_add_loop_test(tc, every_cut_every_added_byte_and_every_flipped_bit_is_refused, 0,
                        COUNT(good));
    tcase_add_loop_test(tc, with_a_right_checksum_damage_is_refused_or_is_another_exact_frame,
                        0, COUNT(good));
    tcase_add_loop_test(tc, a_record_that_is_not_sound_has_a_reason_and_no_bytes, 0,
                        COUNT(bad_records));
    tcase_add_test(tc, each_limit_of_a_record_holds_at_its_last_byte);
    tcase_add_loop_test(tc, a_frame_that_is_not_sound_has_no_bytes, 0, COUNT(bad));
    tcase_add_test(tc, the_fields_of_another_kind_do_not_travel);
    tcase_add_test(tc, a_frame_is_full_at_its_limits_and_not_before);
    tcase_add_test(tc, a_record_is_never_larger_than_was_said);
    tcase_add_test(tc, a_frame_above_the_size_is_refused_both_ways);
    tcase_add_test(tc, too_many_of_anything_is_refused_before_it_is_unpacked);
    tcase_add_test(tc, more_ranges_than_the_limit_are_refused_before_they_are_unpacked);
    tcase_add_test(tc, an_arena_without_room_is_said);
    tcase_add_test(tc, kinds_and_codes_have_texts);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
