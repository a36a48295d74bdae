/* Any bytes behind a right checksum: decoding either refuses them, or what it made is sound and
 * encodes to the same bytes. Any fields: a frame that can be encoded survives the way to bytes
 * and back, in whatever room there is or with E_FULL, and its bytes, damaged, are again refused
 * or exact. The first byte chooses.
 *
 * Covers: proto/frame.c proto/copyrec.c
 */
#include "proto/frame.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/limits.h"

#define ARENA_BYTES (12 * MiB)
#define SUM_BYTES   8
#define MOST        40 /* records, and such, of a built frame */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t bytes[LIMIT_FRAME_BYTES], again[LIMIT_FRAME_BYTES];

static void look_at(const struct frame *f)
{
    for (uint32_t i = 0; i < f->record_count; i++) {
        ASSERT(copyrec_check(&f->records[i]) == NULL);
        ASSERT(!str_eq(str_of(copy_kind_text(f->records[i].kind)), STR("unknown")));
    }
    for (uint32_t i = 0; i < f->refusal_count; i++)
        ASSERT(!str_eq(str_of(copy_code_text(f->refusals[i].answer.code)), STR("unknown")));
    ASSERT(f->record_count <= LIMIT_FRAME_RECORDS);
    ASSERT(f->refusal_count <= LIMIT_FRAME_REFUSALS && f->reach_count <= LIMIT_FRAME_REACH);
}

static bool exact(struct str in, size_t room)
{
    struct arena a;
    struct frame f;
    struct str out;
    enum err e;

    arena_init(&a, room);
    e = frame_decode(in, &a, &f);
    if (e == OK) {
        look_at(&f);
        ASSERT(frame_encode(&f, again, sizeof again, &out) == OK);
        ASSERT(str_eq(in, out));
    } else {
        ASSERT(e == E_PROTO || e == E_FULL);
        ASSERT(f.kind == 0 && f.record_count == 0);
    }
    arena_reset(&a);
    return e == OK;
}

static void right_sum(char *p, size_t n)
{
    uint64_t sum = XXH3_64bits(p + SUM_BYTES, n - SUM_BYTES);

    for (size_t i = 0; i < SUM_BYTES; i++)
        p[i] = (char)(sum >> 8 * i);
}

/* An exact-size copy behind a sum. */
static void any_bytes(struct str in, bool is_summed)
{
    size_t n = in.n + SUM_BYTES;
    char *copy = malloc(n);

    ASSERT(copy != NULL);
    memset(copy, 0, SUM_BYTES);
    if (in.n > 0)
        memcpy(copy + SUM_BYTES, in.p, in.n);
    if (is_summed)
        right_sum(copy, n);
    exact((struct str){copy, n}, ARENA_BYTES);
    free(copy);
}

/* --- a frame from fields --- */

static uint8_t byte(struct str *in)
{
    uint8_t b = 0;

    if (in->n > 0) {
        b = (uint8_t)in->p[0];
        *in = str_from(*in, 1);
    }
    return b;
}

/* Values around limits; 0 is mostly one too few. */
static uint64_t number(struct str *in)
{
    static const uint64_t liked[] = {1,
                                     1,
                                     1,
                                     2,
                                     3,
                                     5,
                                     200,
                                     65535,
                                     65536,
                                     LIMIT_BODY_BYTES,
                                     (UINT64_C(1) << 48) - 1,
                                     UINT64_C(1) << 48,
                                     UINT64_MAX - 1,
                                     UINT64_MAX};
    uint8_t b = byte(in);

    if (b == 199)
        return 0;
    return b < 200 ? liked[b % (sizeof liked / sizeof *liked)] : (uint64_t)b << byte(in) % 57;
}

static struct str text(struct str *in, size_t limit)
{
    static char big[LIMIT_ENVELOPE_BYTES + 1];
    uint8_t b = byte(in);
    struct str s;

    if (b == 255)
        return (struct str){big, limit + byte(in) % 2};
    s = str_head(*in, b % 40 < in->n ? b % 40 : in->n);
    *in = str_from(*in, s.n);
    return s;
}

static void build_ranges(struct str *in, struct copy_record *r, struct copy_range *room)
{
    static struct copy_range many[LIMIT_FRAME_RANGES + 1];
    uint64_t at = 0;

    r->range_count = byte(in) % (MOST + 1);
    r->ranges = room;
    for (uint32_t i = 0; i < r->range_count; i++) {
        room[i].from = at + (byte(in) > 250 ? number(in) : 1 + byte(in) % 3u);
        room[i].to = room[i].from + (byte(in) > 250 ? number(in) : byte(in) % 3u);
        at = room[i].to;
    }
    if (byte(in) == 255) {
        for (uint64_t i = 0; i <= LIMIT_FRAME_RANGES; i++)
            many[i] = (struct copy_range){2 * i + 1, 2 * i + 1};
        r->ranges = many;
        r->range_count = LIMIT_FRAME_RANGES + byte(in) % 2;
    }
}

/* Mostly the fields that the kind has, so that many are sound. */
static void build_record(struct str *in, bool is_copy, struct copy_record *r,
                         struct copy_range *ranges)
{
    static const enum copy_kind with_id[] = {COPY_ABORT,  COPY_COMMIT, COPY_DOT,
                                             COPY_CLOSED, COPY_MARK,   COPY_OUTCOME,
                                             COPY_WANT,   COPY_ENDED,  COPY_PUT};
    int kind = is_copy ? COPY_BODY + byte(in) % 2 : COPY_ECHO + byte(in) % 17;
    bool odd = byte(in) == 255, has_id = odd;

    *r = (struct copy_record){.kind = (enum copy_kind)kind};
    for (size_t i = 0; i < sizeof with_id / sizeof *with_id; i++)
        has_id |= r->kind == with_id[i];
    if (has_id)
        r->id = mid_make((uint16_t)number(in), number(in) % (UINT64_C(1) << 48), number(in));
    if (odd || kind == COPY_UPTO || kind == COPY_DOT || kind == COPY_CLOSED ||
        (kind >= COPY_RESOLVE && kind <= COPY_HAVE) || kind == COPY_CLEAR || kind == COPY_MARK)
        r->site = (uint16_t)number(in);
    if (odd || (r->site != 0 && kind != COPY_CLOSED))
        r->epoch = number(in);
    if (odd || kind == COPY_UPTO || (kind == COPY_DOT && byte(in) % 2 != 0))
        r->counter = number(in);
    if (kind == COPY_MARK)
        r->counter = byte(in) % 5;
    if (odd || kind == COPY_DOT || kind == COPY_CLOSED || kind == COPY_MARK)
        r->slot_epoch = number(in);
    if (odd || kind == COPY_DOT)
        r->domain = text(in, LIMIT_SMTP_DOMAIN_BYTES);
    if (odd || kind == COPY_HAVE || kind == COPY_PUT)
        r->state = (enum copy_state)(byte(in) > 250 ? byte(in) % 6 : COPY_COMMITTED);
    if (odd || kind == COPY_HAVE)
        build_ranges(in, r, ranges);
    if (odd || kind == COPY_OUTCOME || kind == COPY_PUT)
        r->envelope = text(in, LIMIT_ENVELOPE_BYTES);
    if (odd || is_copy)
        r->body = text(in, LIMIT_BODY_PIECE_BYTES);
    if (odd || kind == COPY_BODY || r->body.n == 0)
        r->body_number = is_copy ? number(in) : 0;
    if (odd || kind == COPY_BODY)
        r->offset = number(in);
}

static void build_lists(struct str *in, struct frame *f)
{
    static struct copy_record records[MOST];
    static struct copy_range ranges[MOST][MOST];
    static struct frame_refusal refusals[MOST];
    static struct frame_reach reach[MOST];
    uint64_t seq = 0;

    f->record_count = byte(in) % 5;
    for (uint32_t i = 0; i < f->record_count; i++)
        build_record(in, f->stream == FRAME_COPIES, &records[i], ranges[i]);
    f->refusal_count = byte(in) % (MOST + 1);
    for (uint32_t i = 0; i < f->refusal_count; i++) {
        seq += number(in);
        refusals[i] = (struct frame_refusal){
            seq,
            {(enum copy_code)(byte(in) % 16), number(in), (uint16_t)number(in), number(in)}};
    }
    f->reach_count = byte(in) % (MOST + 1);
    for (uint32_t i = 0; i < f->reach_count; i++) {
        reach[i] = (struct frame_reach){.port = (uint16_t)number(in),
                                        .up = byte(in) % 2 != 0,
                                        .age_ms = (uint32_t)number(in)};
        reach[i].ip[byte(in) % 16] = byte(in);
    }
    f->records = records;
    f->refusals = refusals;
    f->reach = reach;
}

static void build(struct str *in, struct frame *f)
{
    *f = (struct frame){.kind = (enum frame_kind)(1 + byte(in) % 6),
                        .site = (uint16_t)number(in),
                        .incarnation = number(in),
                        .from_nonce = number(in),
                        .to_nonce = number(in),
                        .format = (uint32_t)number(in),
                        .session = number(in),
                        .filled = byte(in) % 2 != 0,
                        .stream = (enum frame_stream)(byte(in) > 250 ? 2 : byte(in) % 2),
                        .seq = number(in),
                        .acked = byte(in) > 250 ? number(in) : 0,
                        .upto = byte(in) > 250 ? number(in) : MOST,
                        .open = byte(in) % 2 != 0,
                        .live = number(in),
                        .single = number(in),
                        .facts = text(in, LIMIT_GOSSIP_FRAME_BYTES)};
    f->cluster[byte(in) % 16] = byte(in);
    build_lists(in, f);
    switch (byte(in)) {
    case 253:
        f->record_count = LIMIT_FRAME_RECORDS + 1;
        break;
    case 254:
        f->refusal_count = LIMIT_FRAME_REFUSALS + 1;
        break;
    case 255:
        f->reach_count = LIMIT_FRAME_REACH + 1;
        break;
    default:
        break;
    }
}

/* An exact-size copy of good bytes, some of them changed, perhaps cut; the sum is right. */
static void damaged(struct str good, struct str how)
{
    size_t n = how.n % 2 == 0 ? good.n : good.n - 1;
    char *copy = malloc(good.n);

    ASSERT(copy != NULL);
    memcpy(copy, good.p, good.n);
    for (size_t i = 0; i + 1 < how.n && i < 16; i += 2)
        copy[SUM_BYTES + (uint8_t)how.p[i] % (good.n - SUM_BYTES)] = how.p[i + 1];
    right_sum(copy, n);
    exact((struct str){copy, n}, ARENA_BYTES);
    free(copy);
}

static void built(struct str in)
{
    struct frame f;
    struct str out;
    size_t room = (size_t)byte(&in) * 64;
    enum err e;

    build(&in, &f);
    e = frame_encode(&f, bytes, sizeof bytes, &out);
    if (e != OK) {
        ASSERT(e == E_PROTO || e == E_FULL);
        return;
    }
    ASSERT(exact(out, ARENA_BYTES));
    exact(out, room);
    ASSERT(frame_encode(&f, again, out.n - 1, &(struct str){0}) == E_FULL);
    damaged(out, in);
}

static void one_record(struct str in)
{
    static struct copy_range ranges[MOST];
    struct copy_record r;

    build_record(&in, byte(&in) % 2 != 0, &r, ranges);
    if (copyrec_check(&r) == NULL)
        ASSERT(frame_record_bytes(&r) < LIMIT_FRAME_BYTES);
    ASSERT(copy_kind_text((enum copy_kind)byte(&in)) != NULL);
    ASSERT(copy_code_text((enum copy_code)byte(&in)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in;
    char *copy;

    if (size < 1)
        return 0;
    copy = malloc(size - 1 > 0 ? size - 1 : 1);
    ASSERT(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    in = (struct str){copy, size - 1};
    switch (data[0] % 8) {
    case 0:
        any_bytes(in, false);
        break;
    case 1:
    case 2:
        any_bytes(in, true);
        break;
    case 3:
        one_record(in);
        break;
    default:
        built(in);
        break;
    }
    free(copy);
    return 0;
}
