#include "proto/frame.h"

#include <xxhash.h>

#include "base/limits.h"
#include "proto/frame.pb-c.h"

#define SUM_BYTES sizeof(uint64_t)
/* Tags, lengths and numbers of a record, each at its longest. */
#define RECORD_FIXED_BYTES 128
#define RANGE_BYTES        20
/* The same of a refusal, of an address, and of a frame without its lists. */
#define REFUSAL_BYTES 64
#define REACH_BYTES   48
#define HEAD_BYTES    256

static_assert(HEAD_BYTES + LIMIT_FRAME_REFUSALS * REFUSAL_BYTES <= LIMIT_FRAME_BYTES &&
                  HEAD_BYTES + LIMIT_FRAME_REACH * REACH_BYTES <= LIMIT_FRAME_BYTES &&
                  HEAD_BYTES + RECORD_FIXED_BYTES + LIMIT_ENVELOPE_BYTES +
                          LIMIT_BODY_PIECE_BYTES <=
                      LIMIT_FRAME_BYTES &&
                  HEAD_BYTES + RECORD_FIXED_BYTES + LIMIT_FRAME_RANGES * RANGE_BYTES <=
                      LIMIT_FRAME_BYTES &&
                  HEAD_BYTES + LIMIT_GOSSIP_FRAME_BYTES <= LIMIT_FRAME_BYTES,
              "what is within its own limit fits a frame");

size_t frame_record_bytes(const struct copy_record *r)
{
    return RECORD_FIXED_BYTES + r->domain.n + r->envelope.n + r->body.n +
           (size_t)r->range_count * RANGE_BYTES;
}

/* --- what is sound --- */

static bool records_sound(const struct frame *f)
{
    if (f->seq == 0 || f->seq > UINT64_MAX - LIMIT_FRAME_RECORDS || f->acked >= f->seq)
        return false;
    for (uint32_t i = 0; i < f->record_count; i++)
        if (copyrec_check(&f->records[i]) != NULL ||
            (f->records[i].kind >= COPY_BODY) != (f->stream == FRAME_COPIES))
            return false;
    return true;
}

/* In order and each once; above 0; covered by what is acknowledged. */
static bool refusals_sound(const struct frame *f)
{
    uint64_t before = 0;

    for (uint32_t i = 0; i < f->refusal_count; i++) {
        const struct frame_refusal *r = &f->refusals[i];

        if (r->seq <= before || r->seq > f->upto || (int)r->answer.code <= COPY_OK ||
            r->answer.code > COPY_DOUBT)
            return false;
        before = r->seq;
    }
    return true;
}

static bool reach_sound(const struct frame *f)
{
    for (uint32_t i = 0; i < f->reach_count; i++)
        if (f->reach[i].port == 0)
            return false;
    return true;
}

static bool stream_sound(const struct frame *f)
{
    return (int)f->stream >= FRAME_MARKS && f->stream < FRAME_STREAMS;
}

/* The one place that says what a frame is: asked before encoding and after decoding. */
static bool sound(const struct frame *f)
{
    if (f->site == 0 || f->incarnation == 0 || f->from_nonce == 0 ||
        (f->to_nonce == 0 && f->kind != FRAME_HELLO))
        return false;
    switch (f->kind) {
    case FRAME_HELLO:
        return f->format != 0;
    case FRAME_RECORDS:
        return stream_sound(f) && records_sound(f);
    case FRAME_ACK:
        return stream_sound(f) && refusals_sound(f);
    case FRAME_NOTE:
        return reach_sound(f);
    case FRAME_FACTS:
        return f->facts.n > 0;
    }
    return false;
}

static bool within_limits(const struct frame *f)
{
    return (f->kind != FRAME_RECORDS || f->record_count <= LIMIT_FRAME_RECORDS) &&
           (f->kind != FRAME_ACK || f->refusal_count <= LIMIT_FRAME_REFUSALS) &&
           (f->kind != FRAME_NOTE || f->reach_count <= LIMIT_FRAME_REACH) &&
           (f->kind != FRAME_FACTS || f->facts.n <= LIMIT_GOSSIP_FRAME_BYTES);
}

/* --- to bytes --- */

static ProtobufCBinaryData bytes_of(const void *p, size_t n)
{
    return (ProtobufCBinaryData){.len = n, .data = (uint8_t *)(uintptr_t)p};
}

static ProtobufCBinaryData bytes_of_str(struct str s)
{
    return bytes_of(s.p, s.n);
}

/* Memory for the generated form of a frame that goes out: all of it at once. */
struct scratch {
    struct arena arena;
    char *at;
    size_t left;
};

/* What the lists of a frame need, rounded up as carve() does. */
static size_t scratch_bytes(const struct frame *f)
{
    size_t n = 0;

    if (f->kind == FRAME_ACK)
        return f->refusal_count * (sizeof(Data__Refusal *) + sizeof(Data__Refusal) + 16) + 32;
    if (f->kind == FRAME_NOTE)
        return f->reach_count * (sizeof(Data__Reach *) + sizeof(Data__Reach) + 16) + 32;
    if (f->kind == FRAME_RECORDS)
        for (uint32_t i = 0; i < f->record_count; i++)
            n += sizeof(Data__Record *) + sizeof(Data__Record) + 32 +
                 2 * sizeof(uint64_t) * f->records[i].range_count;
    return n + 32;
}

static void *carve(struct scratch *s, size_t n)
{
    char *p = s->at;

    n = (n + 15) & ~(size_t)15;
    ASSERT(n <= s->left);
    s->at += n;
    s->left -= n;
    return p;
}

/* A list of `count` messages in protobuf-c's form: pointers to items of `item` bytes. */
static void **carve_list(struct scratch *s, size_t count, size_t item)
{
    void **list = carve(s, count * sizeof *list);
    char *items = carve(s, count * item);

    for (size_t i = 0; i < count; i++)
        list[i] = items + i * item;
    return list;
}

/* Gaps and lengths instead of ends: small numbers, and nothing out of order can be said. */
static void ranges_to_pb(const struct copy_record *r, struct scratch *s, Data__Record *pb)
{
    uint64_t before = 0;

    pb->ranges = carve(s, 2 * r->range_count * sizeof *pb->ranges);
    pb->n_ranges = 2 * (size_t)r->range_count;
    for (uint32_t i = 0; i < r->range_count; i++) {
        pb->ranges[2 * i] = r->ranges[i].from - before;
        pb->ranges[2 * i + 1] = r->ranges[i].to - r->ranges[i].from;
        before = r->ranges[i].to;
    }
}

static void record_to_pb(const struct copy_record *r, struct scratch *s, Data__Record *pb)
{
    static const struct mid none;

    data__record__init(pb);
    pb->kind = (uint32_t)r->kind;
    pb->state = (uint32_t)r->state;
    if (mid_cmp(r->id, none) != 0)
        pb->id = bytes_of(r->id.b, sizeof r->id.b);
    pb->site = r->site;
    pb->epoch = r->epoch;
    pb->counter = r->counter;
    pb->slot_epoch = r->slot_epoch;
    pb->body_number = r->body_number;
    pb->offset = r->offset;
    pb->domain = bytes_of_str(r->domain);
    pb->envelope = bytes_of_str(r->envelope);
    pb->body = bytes_of_str(r->body);
    ranges_to_pb(r, s, pb);
}

static void put_records(const struct frame *f, struct scratch *s, Data__Frame *pb)
{
    pb->stream = (uint32_t)f->stream;
    pb->seq = f->seq;
    pb->acked = f->acked;
    pb->n_records = f->record_count;
    pb->records = (Data__Record **)carve_list(s, f->record_count, sizeof **pb->records);
    for (uint32_t i = 0; i < f->record_count; i++)
        record_to_pb(&f->records[i], s, pb->records[i]);
}

static void put_ack(const struct frame *f, struct scratch *s, Data__Frame *pb)
{
    pb->stream = (uint32_t)f->stream;
    pb->upto = f->upto;
    pb->n_refusals = f->refusal_count;
    pb->refusals = (Data__Refusal **)carve_list(s, f->refusal_count, sizeof **pb->refusals);
    for (uint32_t i = 0; i < f->refusal_count; i++) {
        const struct frame_refusal *r = &f->refusals[i];

        data__refusal__init(pb->refusals[i]);
        pb->refusals[i]->seq = r->seq;
        pb->refusals[i]->code = (uint32_t)r->answer.code;
        pb->refusals[i]->detail = r->answer.detail;
        pb->refusals[i]->site = r->answer.site;
        pb->refusals[i]->session = r->answer.session;
    }
}

static void put_note(const struct frame *f, struct scratch *s, Data__Frame *pb)
{
    pb->open = f->open;
    pb->live = f->live;
    pb->single = f->single;
    pb->n_reach = f->reach_count;
    pb->reach = (Data__Reach **)carve_list(s, f->reach_count, sizeof **pb->reach);
    for (uint32_t i = 0; i < f->reach_count; i++) {
        data__reach__init(pb->reach[i]);
        pb->reach[i]->ip = bytes_of(f->reach[i].ip, sizeof f->reach[i].ip);
        pb->reach[i]->port = f->reach[i].port;
        pb->reach[i]->up = f->reach[i].up;
        pb->reach[i]->age_ms = f->reach[i].age_ms;
    }
}

static void put_all(const struct frame *f, struct scratch *s, Data__Frame *pb)
{
    data__frame__init(pb);
    pb->kind = (uint32_t)f->kind;
    pb->cluster = bytes_of(f->cluster, sizeof f->cluster);
    pb->site = f->site;
    pb->incarnation = f->incarnation;
    pb->from_nonce = f->from_nonce;
    pb->to_nonce = f->to_nonce;
    switch (f->kind) {
    case FRAME_HELLO:
        pb->format = f->format;
        pb->session = f->session;
        pb->filled = f->filled;
        return;
    case FRAME_RECORDS:
        put_records(f, s, pb);
        return;
    case FRAME_ACK:
        put_ack(f, s, pb);
        return;
    case FRAME_NOTE:
        put_note(f, s, pb);
        return;
    case FRAME_FACTS:
        pb->facts = bytes_of_str(f->facts);
        return;
    }
}

static void put_sum(uint8_t *buf, uint64_t sum)
{
    for (size_t i = 0; i < SUM_BYTES; i++)
        buf[i] = (uint8_t)(sum >> 8 * i);
}

static uint64_t sum_of(struct str s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < SUM_BYTES; i++)
        sum |= (uint64_t)(uint8_t)s.p[i] << 8 * i;
    return sum;
}

/* Behind the checksum. */
static enum err pack(const Data__Frame *pb, uint8_t *buf, size_t size, struct str *out)
{
    size_t n = SUM_BYTES + data__frame__get_packed_size(pb);

    if (n > size || n > LIMIT_FRAME_BYTES)
        return E_FULL;
    ASSERT(data__frame__pack(pb, buf + SUM_BYTES) == n - SUM_BYTES);
    put_sum(buf, XXH3_64bits(buf + SUM_BYTES, n - SUM_BYTES));
    *out = (struct str){(const char *)buf, n};
    return OK;
}

enum err frame_encode(const struct frame *f, uint8_t *buf, size_t size, struct str *out)
{
    struct scratch s;
    Data__Frame pb;
    enum err e = E_FULL;

    if (!within_limits(f))
        return E_FULL;
    if (!sound(f))
        return E_PROTO;
    s.left = scratch_bytes(f);
    arena_init(&s.arena, s.left + 16);
    s.at = arena_take(&s.arena, s.left);
    if (s.at != NULL) {
        put_all(f, &s, &pb);
        e = pack(&pb, buf, size, out);
    }
    arena_reset(&s.arena);
    return e;
}

/* --- the form of the bytes, before anything is unpacked --- */

enum wire { VARINT = 1, FIXED64, BYTES, PACKED }; /* 0: no such field */

#define FIELDS 21 /* and the one that is not used, 0 */

struct shape {
    uint8_t wire[FIELDS];
    const struct shape *child[FIELDS]; /* a message, as often as `most` says */
    uint32_t most[FIELDS];             /* messages, or numbers if PACKED */
};

static const struct shape record_shape = {.wire = {0, VARINT, VARINT, BYTES, VARINT, VARINT,
                                                   VARINT, VARINT, VARINT, VARINT, BYTES, BYTES,
                                                   BYTES, PACKED},
                                          .most = {[13] = 2 * LIMIT_FRAME_RANGES}};

static const struct shape refusal_shape = {.wire = {0, VARINT, VARINT, VARINT, VARINT, VARINT}};

static const struct shape reach_shape = {.wire = {0, BYTES, VARINT, VARINT, VARINT}};

static const struct shape frame_shape = {
    .wire = {0,      VARINT, BYTES,  VARINT, VARINT, FIXED64, FIXED64,
             VARINT, VARINT, VARINT, VARINT, VARINT, VARINT,  BYTES,
             VARINT, BYTES,  VARINT, VARINT, VARINT, BYTES,   BYTES},
    .child = {[13] = &record_shape, [15] = &refusal_shape, [19] = &reach_shape},
    .most = {
        [13] = LIMIT_FRAME_RECORDS, [15] = LIMIT_FRAME_REFUSALS, [19] = LIMIT_FRAME_REACH}};

static bool take_varint(struct str *s, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b;

        if (s->n == 0)
            return false;
        b = (uint8_t)s->p[0];
        *s = str_from(*s, 1);
        *out |= (uint64_t)(b & 0x7f) << shift;
        if ((b & 0x80) == 0)
            return true;
    }
    return false;
}

static bool take_bytes(struct str *s, size_t n, struct str *out)
{
    if (n > s->n)
        return false;
    *out = str_head(*s, n);
    *s = str_from(*s, n);
    return true;
}

/* How many varints end in these bytes. */
static size_t varints_in(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += ((uint8_t)s.p[i] & 0x80) == 0;
    return n;
}

/* The value behind a tag: of the right type. *inside: its bytes, if it has a length. */
static bool take_value(struct str *s, enum wire wire, unsigned type, struct str *inside)
{
    uint64_t n;

    *inside = STR_NONE;
    switch (wire) {
    case VARINT:
        return type == 0 && take_varint(s, &n);
    case FIXED64:
        return type == 1 && take_bytes(s, 8, inside);
    case BYTES:
    case PACKED:
        break;
    }
    return type == 2 && take_varint(s, &n) && take_bytes(s, n, inside);
}

/* One message without its parts: fields that it has, in their order, each once or as often as
 * it may be. Calls itself no deeper than shapes do. */
static bool in_shape(struct str s, const struct shape *shape)
{
    uint64_t tag, before = 0;
    uint32_t count = 0;
    struct str inside;

    while (s.n > 0) {
        uint64_t field;

        if (!take_varint(&s, &tag))
            return false;
        field = tag >> 3;
        if (field >= FIELDS || shape->wire[field] == 0 || field < before)
            return false;
        count = field == before ? count + 1 : 1;
        if (count > (shape->child[field] != NULL ? shape->most[field] : 1))
            return false;
        before = field;
        if (!take_value(&s, (enum wire)shape->wire[field], (unsigned)(tag & 7), &inside))
            return false;
        if (shape->wire[field] == PACKED && varints_in(inside) > shape->most[field])
            return false;
        if (shape->child[field] != NULL && !in_shape(inside, shape->child[field]))
            return false;
    }
    return true;
}

/* --- from bytes --- */

/* protobuf-c unpacks into the caller's arena: what it makes of strings is the result. */
struct room {
    struct arena *arena;
    bool is_full;
};

static void *room_alloc(void *room, size_t n)
{
    struct room *r = room;
    void *p = arena_take(r->arena, n);

    r->is_full |= p == NULL;
    return p;
}

static void room_free(void *room, void *p)
{
    (void)room;
    (void)p;
}

static void *room_take(struct room *r, size_t n)
{
    return room_alloc(r, n);
}

static struct str str_of_pb(ProtobufCBinaryData b)
{
    return b.len > 0 ? (struct str){(const char *)b.data, b.len} : STR_NONE;
}

/* False: malformed, or no room. Numbers that run over come out of order, which is refused. */
static bool ranges_from_pb(const Data__Record *pb, struct room *room, struct copy_record *r)
{
    struct copy_range *ranges;
    uint64_t before = 0;

    if (pb->n_ranges == 0)
        return true;
    ranges = room_take(room, pb->n_ranges / 2 * sizeof *ranges);
    if (ranges == NULL || pb->n_ranges % 2 != 0)
        return false;
    for (size_t i = 0; i < pb->n_ranges / 2; i++) {
        ranges[i].from = before + pb->ranges[2 * i];
        ranges[i].to = ranges[i].from + pb->ranges[2 * i + 1];
        before = ranges[i].to;
    }
    r->ranges = ranges;
    r->range_count = (uint32_t)(pb->n_ranges / 2);
    return true;
}

static bool record_from_pb(const Data__Record *pb, struct room *room, struct copy_record *r)
{
    *r = (struct copy_record){.kind = (enum copy_kind)pb->kind,
                              .state = (enum copy_state)pb->state,
                              .site = (uint16_t)pb->site,
                              .epoch = pb->epoch,
                              .counter = pb->counter,
                              .slot_epoch = pb->slot_epoch,
                              .body_number = pb->body_number,
                              .offset = pb->offset,
                              .domain = str_of_pb(pb->domain),
                              .envelope = str_of_pb(pb->envelope),
                              .body = str_of_pb(pb->body)};
    if (pb->id.len > 0) {
        if (pb->id.len != sizeof r->id.b)
            return false;
        memcpy(r->id.b, pb->id.data, sizeof r->id.b);
    }
    return ranges_from_pb(pb, room, r);
}

static bool get_records(const Data__Frame *pb, struct room *room, struct frame *f)
{
    struct copy_record *records;

    f->stream = (enum frame_stream)pb->stream;
    f->seq = pb->seq;
    f->acked = pb->acked;
    if (pb->n_records == 0)
        return true;
    records = room_take(room, pb->n_records * sizeof *records);
    if (records == NULL)
        return false;
    for (size_t i = 0; i < pb->n_records; i++)
        if (!record_from_pb(pb->records[i], room, &records[i]))
            return false;
    f->records = records;
    f->record_count = (uint32_t)pb->n_records;
    return true;
}

static bool get_ack(const Data__Frame *pb, struct room *room, struct frame *f)
{
    struct frame_refusal *refusals;

    f->stream = (enum frame_stream)pb->stream;
    f->upto = pb->upto;
    if (pb->n_refusals == 0)
        return true;
    refusals = room_take(room, pb->n_refusals * sizeof *refusals);
    if (refusals == NULL)
        return false;
    for (size_t i = 0; i < pb->n_refusals; i++) {
        const Data__Refusal *r = pb->refusals[i];

        refusals[i].seq = r->seq;
        refusals[i].answer = (struct copy_answer){(enum copy_code)r->code, r->detail,
                                                  (uint16_t)r->site, r->session};
    }
    f->refusals = refusals;
    f->refusal_count = (uint32_t)pb->n_refusals;
    return true;
}

static bool get_note(const Data__Frame *pb, struct room *room, struct frame *f)
{
    struct frame_reach *reach;

    f->open = pb->open != 0;
    f->live = pb->live;
    f->single = pb->single;
    if (pb->n_reach == 0)
        return true;
    reach = room_take(room, pb->n_reach * sizeof *reach);
    if (reach == NULL)
        return false;
    for (size_t i = 0; i < pb->n_reach; i++) {
        const Data__Reach *r = pb->reach[i];

        if (r->ip.len != sizeof reach[i].ip)
            return false;
        memcpy(reach[i].ip, r->ip.data, sizeof reach[i].ip);
        reach[i].port = (uint16_t)r->port;
        reach[i].up = r->up != 0;
        reach[i].age_ms = r->age_ms;
    }
    f->reach = reach;
    f->reach_count = (uint32_t)pb->n_reach;
    return true;
}

/* False: malformed, or no room. What of it does not fit is found by encoding again. */
static bool get_all(const Data__Frame *pb, struct room *room, struct frame *f)
{
    *f = (struct frame){.kind = (enum frame_kind)pb->kind,
                        .site = (uint16_t)pb->site,
                        .incarnation = pb->incarnation,
                        .from_nonce = pb->from_nonce,
                        .to_nonce = pb->to_nonce};
    if (pb->cluster.len != sizeof f->cluster)
        return false;
    memcpy(f->cluster, pb->cluster.data, sizeof f->cluster);
    switch (pb->kind) {
    case FRAME_HELLO:
        f->format = pb->format;
        f->session = pb->session;
        f->filled = pb->filled != 0;
        return true;
    case FRAME_RECORDS:
        return get_records(pb, room, f);
    case FRAME_ACK:
        return get_ack(pb, room, f);
    case FRAME_NOTE:
        return get_note(pb, room, f);
    case FRAME_FACTS:
        f->facts = str_of_pb(pb->facts);
        return true;
    default:
        return false;
    }
}

/* One form only: the same bytes come out of it again. */
static enum err same_again(const struct frame *f, struct str bytes)
{
    struct arena scratch;
    struct str again;
    uint8_t *buf;
    enum err e;

    arena_init(&scratch, LIMIT_FRAME_BYTES);
    buf = arena_take(&scratch, bytes.n);
    if (buf == NULL)
        return E_FULL;
    e = frame_encode(f, buf, bytes.n, &again);
    if (e != OK || !str_eq(again, bytes))
        e = E_PROTO;
    arena_reset(&scratch);
    return e;
}

enum err frame_decode(struct str bytes, struct arena *a, struct frame *out)
{
    struct room room = {.arena = a};
    ProtobufCAllocator alloc = {room_alloc, room_free, &room};
    const Data__Frame *pb;
    struct str body;
    enum err e = E_PROTO;

    *out = (struct frame){.kind = (enum frame_kind)0};
    if (bytes.n <= SUM_BYTES || bytes.n > LIMIT_FRAME_BYTES)
        return E_PROTO;
    body = str_from(bytes, SUM_BYTES);
    if (XXH3_64bits(body.p, body.n) != sum_of(bytes) || !in_shape(body, &frame_shape))
        return E_PROTO;
    pb = data__frame__unpack(&alloc, body.n, (const uint8_t *)body.p);
    if (pb != NULL && get_all(pb, &room, out))
        e = same_again(out, bytes);
    if (room.is_full)
        e = E_FULL;
    if (e != OK)
        *out = (struct frame){.kind = (enum frame_kind)0};
    return e;
}
