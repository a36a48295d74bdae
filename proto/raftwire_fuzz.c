/* Any bytes behind a right checksum: decoding reads nothing outside and either refuses them, or
 * what it made encodes to the same bytes. Any fields, of any size, in the form that another
 * node sends: they are taken exactly when encoding could have said them. What was taken and
 * then got one field changed is not said, or survives the way to bytes and back; its bytes,
 * damaged, are again refused or exact. The first byte chooses.
 */
#include "proto/raftwire.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/assert.h"
#include "proto/raftwire.pb-c.h"

#define ARENA_BYTES (12 * MiB)
#define SUM_BYTES   8
#define MOST        4 /* entries of a built frame, mostly */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t bytes[LIMIT_FRAME_BYTES + 4096], again[LIMIT_FRAME_BYTES];

/* --- what must hold --- */

static bool is_exact(struct str in, size_t room, struct arena *a, struct raftwire_frame *f)
{
    struct str out;
    enum err e;

    arena_init(a, room);
    e = raftwire_decode(in, a, f);
    if (e == OK) {
        ASSERT(!str_eq(str_of(raftwire_kind_text(f->kind)), STR("none")));
        ASSERT(raftwire_encode(f, again, sizeof again, &out) == OK);
        ASSERT(str_eq(in, out));
        ASSERT(raftwire_encode(f, again, in.n - 1, &out) == E_FULL);
    } else {
        ASSERT(e == E_PROTO || (e == E_FULL && room < ARENA_BYTES));
    }
    return e == OK;
}

static bool exact(struct str in, size_t room)
{
    struct raftwire_frame f;
    struct arena a;
    bool is_taken = is_exact(in, room, &a, &f);

    arena_reset(&a);
    return is_taken;
}

static void right_sum(char *p, size_t n)
{
    uint64_t sum = XXH3_64bits(p, n - SUM_BYTES);

    for (size_t i = 0; i < SUM_BYTES; i++)
        p[n - SUM_BYTES + i] = (char)(sum >> 8 * i);
}

/* An exact-size copy before a sum. */
static void any_bytes(struct str in, bool is_summed)
{
    char *copy = malloc(in.n + SUM_BYTES);

    ASSERT(copy != NULL);
    memset(copy, 0, in.n + SUM_BYTES);
    if (in.n > 0)
        memcpy(copy, in.p, in.n);
    if (is_summed)
        right_sum(copy, in.n + SUM_BYTES);
    exact((struct str){copy, is_summed ? in.n + SUM_BYTES : in.n}, ARENA_BYTES);
    free(copy);
}

/* --- fields --- */

static uint8_t byte(struct str *in)
{
    uint8_t b = 0;

    if (in->n > 0) {
        b = (uint8_t)in->p[0];
        *in = str_from(*in, 1);
    }
    return b;
}

/* Values around limits; mostly not 0, which many fields may not be. */
static uint64_t number(struct str *in)
{
    static const uint64_t liked[] = {
        1, 1, 1, 2, 5, UINT8_MAX, UINT16_MAX, 200, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX, 3};
    uint8_t b = byte(in);

    if (b == 199)
        return 0;
    return b < 200 ? liked[b % (sizeof liked / sizeof *liked)] : (uint64_t)b << byte(in) % 57;
}

/* What has to fit into `bits` bits, and now and then does not. */
static uint32_t narrow(struct str *in, unsigned bits)
{
    uint64_t wide = number(in);

    return byte(in) > 250 ? (uint32_t)wide | 1u << bits : (uint32_t)wide & ((1u << bits) - 1);
}

static bool flag(struct str *in)
{
    return byte(in) % 2 != 0;
}

/* 1 to 40 bytes, or as many as the limit, or one more, or none. */
static ProtobufCBinaryData text(struct str *in, size_t limit)
{
    static uint8_t big[LIMIT_FRAME_BYTES + 1];
    uint8_t b = byte(in);

    if (b == 255)
        return (ProtobufCBinaryData){limit + byte(in) % 2u, big};
    return (ProtobufCBinaryData){b == 254 ? 0 : 1u + b % 40, big + b};
}

static void build_append(struct str *in, Raftwire__Frame *pb)
{
    static Raftwire__Append body;
    static Raftwire__Entry entries[LIMIT_CONTROL_BATCH + 1], *list[LIMIT_CONTROL_BATCH + 1];

    raftwire__append__init(&body);
    body.version = narrow(in, 8);
    body.term = number(in);
    body.prev_index = number(in);
    body.prev_term = number(in);
    body.commit = number(in);
    body.n_entries = byte(in) % (MOST + 1u);
    for (size_t i = 0; i <= LIMIT_CONTROL_BATCH; i++) {
        list[i] = &entries[i];
        raftwire__entry__init(&entries[i]);
        entries[i].term = i < body.n_entries ? number(in) : 1;
        entries[i].kind = i < body.n_entries && byte(in) > 250 ? byte(in) : 1 + (uint32_t)i % 3;
        entries[i].bytes = i < body.n_entries ? text(in, LIMIT_COMMAND_BYTES)
                                              : (ProtobufCBinaryData){1, (uint8_t *)list};
    }
    if (byte(in) > 250)
        body.n_entries = LIMIT_CONTROL_BATCH + byte(in) % 2u;
    body.entries = list;
    pb->append = &body;
}

static void build_append_result(struct str *in, Raftwire__Frame *pb)
{
    static Raftwire__AppendResult body;

    raftwire__append_result__init(&body);
    body.version = narrow(in, 8);
    body.term = number(in);
    body.rejected = number(in);
    body.last_index = number(in);
    body.features = narrow(in, 16);
    body.capacity = narrow(in, 16);
    pb->append_result = &body;
}

static void build_vote(struct str *in, Raftwire__Frame *pb)
{
    static Raftwire__Vote body;

    raftwire__vote__init(&body);
    body.version = narrow(in, 8);
    body.term = number(in);
    body.last_index = number(in);
    body.last_term = number(in);
    body.disrupt_leader = flag(in);
    body.pre_vote = flag(in);
    pb->vote = &body;
}

static void build_vote_result(struct str *in, Raftwire__Frame *pb)
{
    static Raftwire__VoteResult body;

    raftwire__vote_result__init(&body);
    body.version = narrow(in, 8);
    body.term = number(in);
    body.granted = flag(in);
    body.pre_vote = flag(in);
    body.features = narrow(in, 16);
    body.capacity = narrow(in, 16);
    pb->vote_result = &body;
}

static void build_timeout_now(struct str *in, Raftwire__Frame *pb)
{
    static Raftwire__TimeoutNow body;

    raftwire__timeout_now__init(&body);
    body.version = narrow(in, 8);
    body.term = number(in);
    body.last_index = number(in);
    body.last_term = number(in);
    pb->timeout_now = &body;
}

static void build_snapshot(struct str *in, Raftwire__Frame *pb)
{
    static Raftwire__Snapshot body;

    raftwire__snapshot__init(&body);
    body.version = narrow(in, 8);
    body.term = number(in);
    body.at_index = number(in);
    body.at_term = number(in);
    body.members_index = number(in);
    body.members = text(in, RAFTWIRE_MEMBERS_BYTES);
    body.transfer = number(in);
    body.applied = byte(in) > 200 ? number(in) : UINT64_MAX;
    body.offset = number(in);
    body.last = flag(in);
    body.piece = text(in, RAFTWIRE_PIECE_BYTES);
    pb->snapshot = &body;
}

static void build_proposal(struct str *in, Raftwire__Frame *pb)
{
    static Raftwire__Forward forward;
    static Raftwire__ForwardAnswer answer;
    static Raftwire__SnapshotAck ack;

    raftwire__forward__init(&forward);
    raftwire__forward_answer__init(&answer);
    raftwire__snapshot_ack__init(&ack);
    switch (byte(in) % 4) {
    case 0:
        forward.request = number(in);
        forward.bytes = text(in, LIMIT_COMMAND_BYTES);
        pb->forward = &forward;
        break;
    case 1:
        ack.transfer = number(in);
        ack.offset = number(in);
        ack.failed = flag(in);
        pb->snapshot_ack = &ack;
        break;
    default:
        answer.request = number(in);
        answer.outcome = byte(in) % 6u;
        answer.index = (answer.outcome == 1) != (byte(in) > 250) ? number(in) : 0;
        answer.term = (answer.outcome == 1) != (byte(in) > 250) ? number(in) : 0;
        answer.leader = (answer.outcome == 2) != (byte(in) > 250) ? number(in) : 0;
        pb->forward_answer = &answer;
        break;
    }
}

static void build_peers(struct str *in, Raftwire__Frame *pb)
{
    static Raftwire__Peers body;
    static Raftwire__Peer peers[LIMIT_MEMBER_RECORDS + 1], *list[LIMIT_MEMBER_RECORDS + 1];
    static uint8_t key[RAFTWIRE_KEY_BYTES + 1];
    static char *const addresses[] = {(char *)"a:1", (char *)"192.0.2.1:7301",
                                      (char *)"[2001:db8::1]:7301", (char *)"no port",
                                      (char *)""};

    raftwire__peers__init(&body);
    body.index = number(in);
    body.n_list = byte(in) % (LIMIT_MEMBER_RECORDS + 2u);
    for (size_t i = 0; i < body.n_list; i++) {
        list[i] = &peers[i];
        raftwire__peer__init(&peers[i]);
        peers[i].site = byte(in) > 250 ? narrow(in, 16) : (uint32_t)i + 1;
        peers[i].incarnation = number(in);
        peers[i].key = (ProtobufCBinaryData){RAFTWIRE_KEY_BYTES + (byte(in) > 250), key};
        if (flag(in))
            peers[i].old_key =
                (ProtobufCBinaryData){RAFTWIRE_KEY_BYTES - (byte(in) > 250), key};
        peers[i].address = addresses[byte(in) > 250 ? byte(in) % 5 : byte(in) % 3];
    }
    body.list = list;
    pb->peers = &body;
}

static void build_body(struct str *in, Raftwire__Frame *pb)
{
    static Raftwire__Hello hello;

    switch (byte(in) % 10) {
    case 0:
        raftwire__hello__init(&hello);
        hello.format = (uint32_t)number(in);
        hello.answer = flag(in);
        hello.applied = number(in);
        pb->hello = &hello;
        break;
    case 1:
    case 2:
        build_append(in, pb);
        break;
    case 3:
        build_append_result(in, pb);
        break;
    case 4:
        build_vote(in, pb);
        break;
    case 5:
        build_vote_result(in, pb);
        break;
    case 6:
        build_timeout_now(in, pb);
        break;
    case 7:
        build_snapshot(in, pb);
        break;
    case 8:
        build_peers(in, pb);
        break;
    default:
        build_proposal(in, pb);
        break;
    }
}

/* --- frames from fields --- */

/* One field changed, of what was well. */
static void changed(struct raftwire_frame *f, struct str *in)
{
    static const struct raftwire_entry many[LIMIT_CONTROL_BATCH + 1];
    struct raftwire_frame got;
    struct arena a;
    struct str out;
    enum err e;

    switch (byte(in) % 4) {
    case 0:
        f->kind = (enum raftwire_kind)(byte(in) % 14);
        memset(&f->snapshot, 0, sizeof f->snapshot); /* the largest body: all of them */
        break;
    case 1:
        if (f->kind == RAFTWIRE_APPEND) {
            f->message.append.entries = many;
            f->message.append.count = LIMIT_CONTROL_BATCH + byte(in) % 2u;
        }
        break;
    case 2:
        f->site = (uint16_t)number(in);
        break;
    default:
        f->incarnation = number(in);
        break;
    }
    if (f->kind >= RAFTWIRE_APPEND && f->kind <= RAFTWIRE_TIMEOUT_NOW)
        f->message.kind = f->kind;
    e = raftwire_encode(f, bytes, sizeof bytes, &out);
    ASSERT(e == OK || ((e == E_PROTO || e == E_FULL) && out.n == 0));
    if (e == OK) {
        ASSERT(is_exact(out, ARENA_BYTES, &a, &got));
        ASSERT(got.kind == f->kind && got.site == f->site);
        arena_reset(&a);
    }
    ASSERT(raftwire_kind_text(f->kind) != NULL);
}

/* An exact-size copy of good bytes, some of them changed, perhaps cut; the sum is right. */
static void damaged(struct str good, struct str how)
{
    size_t n = how.n % 2 == 0 ? good.n : good.n - 1;
    char *copy = malloc(good.n);

    ASSERT(copy != NULL);
    memcpy(copy, good.p, good.n);
    for (size_t i = 0; i + 1 < how.n && i < 16; i += 2)
        copy[(uint8_t)how.p[i] % (good.n - SUM_BYTES)] = how.p[i + 1];
    right_sum(copy, n);
    exact((struct str){copy, n}, ARENA_BYTES);
    free(copy);
}

static void built(struct str in)
{
    static uint8_t cluster[RAFTWIRE_CLUSTER_BYTES + 1];
    Raftwire__Frame pb = RAFTWIRE__FRAME__INIT;
    struct raftwire_frame f;
    struct arena a;
    struct str good;
    size_t n, room = (size_t)byte(&in) * 16;

    memset(cluster, byte(&in), sizeof cluster);
    pb.cluster = (ProtobufCBinaryData){
        byte(&in) > 250 ? byte(&in) % (sizeof cluster + 1) : RAFTWIRE_CLUSTER_BYTES, cluster};
    pb.site = narrow(&in, 16);
    pb.incarnation = number(&in);
    pb.to = number(&in);
    build_body(&in, &pb);
    if (byte(&in) > 250)
        build_body(&in, &pb); /* two of them, most likely */
    n = raftwire__frame__get_packed_size(&pb) + SUM_BYTES;
    if (n > sizeof bytes)
        return;
    raftwire__frame__pack(&pb, bytes);
    right_sum((char *)bytes, n);
    good = (struct str){(const char *)bytes, n};
    exact(good, room);
    damaged(good, in);
    if (is_exact(good, ARENA_BYTES, &a, &f)) {
        ASSERT(f.site == pb.site && f.incarnation == pb.incarnation && f.to == pb.to);
        changed(&f, &in);
    }
    arena_reset(&a);
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
    default:
        built(in);
        break;
    }
    free(copy);
    return 0;
}
