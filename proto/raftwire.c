#include "proto/raftwire.h"

#include <xxhash.h>

#include "base/assert.h"
#include "proto/command.h"
#include "proto/raftwire.pb-c.h"

#define SUM_BYTES 8
static_assert(RAFTWIRE_KEY_BYTES == MEMBER_KEY_BYTES, "a key is a key");
/* What unpacking may take: a frame of nothing but empty entries must not grow a hundredfold. */
#define SCRATCH_BYTES (4 * MiB)

union body_pb {
    Raftwire__Hello hello;
    Raftwire__Append append;
    Raftwire__AppendResult append_result;
    Raftwire__Vote vote;
    Raftwire__VoteResult vote_result;
    Raftwire__TimeoutNow timeout_now;
    Raftwire__Snapshot snapshot;
    Raftwire__SnapshotAck snapshot_ack;
    Raftwire__Forward forward;
    Raftwire__ForwardAnswer forward_answer;
    Raftwire__Peers peers;
};

struct entries_pb {
    Raftwire__Entry entries[LIMIT_CONTROL_BATCH];
    Raftwire__Entry *list[LIMIT_CONTROL_BATCH];
    Raftwire__Peer peers[LIMIT_MEMBER_RECORDS];
    Raftwire__Peer *peer_list[LIMIT_MEMBER_RECORDS];
    char addresses[LIMIT_MEMBER_RECORDS][LIMIT_ADDRESS_BYTES + 1];
};

static void put_sum(uint8_t *to, struct str bytes)
{
    uint64_t sum = XXH3_64bits(bytes.p, bytes.n);

    for (int i = 0; i < SUM_BYTES; i++)
        to[i] = (uint8_t)(sum >> (8 * i));
}

static ProtobufCBinaryData bytes_of(struct str s)
{
    return (ProtobufCBinaryData){s.n, (uint8_t *)(uintptr_t)s.p};
}

/* --- what may be said --- */

static bool is_size(struct str s, size_t most)
{
    return s.n >= 1 && s.n <= most;
}

static bool entries_are_well(const struct raftwire_message *m)
{
    if (m->append.count > LIMIT_CONTROL_BATCH)
        return false;
    for (uint32_t i = 0; i < m->append.count; i++) {
        const struct raftwire_entry *e = &m->append.entries[i];

        if (e->kind < RAFTWIRE_COMMAND || e->kind > RAFTWIRE_MEMBERS || e->term == 0 ||
            !is_size(e->bytes, LIMIT_COMMAND_BYTES))
            return false;
    }
    return true;
}

static bool snapshot_is_well(const struct raftwire_frame *f)
{
    return f->snapshot.at.index != 0 && f->snapshot.at.term != 0 &&
           is_size(f->snapshot.at.members, RAFTWIRE_MEMBERS_BYTES) &&
           f->snapshot.transfer != 0 && f->snapshot.applied >= f->snapshot.at.index &&
           is_size(f->snapshot.piece, RAFTWIRE_PIECE_BYTES);
}

static bool answer_is_well(const struct raftwire_frame *f)
{
    bool accepted = f->forward_answer.outcome == RAFTWIRE_ACCEPTED;

    return f->forward_answer.request != 0 && f->forward_answer.outcome >= RAFTWIRE_ACCEPTED &&
           f->forward_answer.outcome <= RAFTWIRE_UNKNOWN &&
           accepted == (f->forward_answer.index != 0) &&
           accepted == (f->forward_answer.term != 0) &&
           (f->forward_answer.outcome == RAFTWIRE_NOT_LEADER || f->forward_answer.leader == 0);
}

static bool peers_are_well(const struct raftwire_frame *f)
{
    if (f->peers.index == 0 || f->peers.count < 1 || f->peers.count > LIMIT_MEMBER_RECORDS)
        return false;
    for (uint32_t i = 0; i < f->peers.count; i++) {
        const struct raftwire_peer *p = &f->peers.list[i];

        if (p->site == 0 || p->incarnation == 0 || member_address_check(p->address) != NULL ||
            (i > 0 && p->site <= f->peers.list[i - 1].site))
            return false;
    }
    return true;
}

static bool is_well(const struct raftwire_frame *f)
{
    if (f->site == 0 || f->incarnation == 0)
        return false;
    switch (f->kind) {
    case RAFTWIRE_APPEND:
        return entries_are_well(&f->message);
    case RAFTWIRE_SNAPSHOT:
        return snapshot_is_well(f);
    case RAFTWIRE_SNAPSHOT_ACK:
        return f->snapshot_ack.transfer != 0;
    case RAFTWIRE_FORWARD:
        return f->forward.request != 0 && is_size(f->forward.bytes, LIMIT_COMMAND_BYTES);
    case RAFTWIRE_FORWARD_ANSWER:
        return answer_is_well(f);
    case RAFTWIRE_PEERS:
        return peers_are_well(f);
    case RAFTWIRE_HELLO:
    case RAFTWIRE_APPEND_RESULT:
    case RAFTWIRE_VOTE:
    case RAFTWIRE_VOTE_RESULT:
    case RAFTWIRE_TIMEOUT_NOW:
        return true;
    }
    return false;
}

/* --- encoding --- */

static void put_append(const struct raftwire_message *m, Raftwire__Append *to,
                       struct entries_pb *room)
{
    raftwire__append__init(to);
    to->version = m->version;
    to->term = m->term;
    to->prev_index = m->append.prev_index;
    to->prev_term = m->append.prev_term;
    to->commit = m->append.commit;
    to->n_entries = m->append.count;
    to->entries = room->list;
    for (uint32_t i = 0; i < m->append.count; i++) {
        raftwire__entry__init(&room->entries[i]);
        room->entries[i].term = m->append.entries[i].term;
        room->entries[i].kind = (uint32_t)m->append.entries[i].kind;
        room->entries[i].bytes = bytes_of(m->append.entries[i].bytes);
        room->list[i] = &room->entries[i];
    }
}

static void put_message(const struct raftwire_message *m, union body_pb *b, Raftwire__Frame *pb)
{
    if (m->kind == RAFTWIRE_APPEND_RESULT) {
        raftwire__append_result__init(&b->append_result);
        b->append_result.version = m->version;
        b->append_result.term = m->term;
        b->append_result.rejected = m->append_result.rejected;
        b->append_result.last_index = m->append_result.last_index;
        b->append_result.features = m->append_result.features;
        b->append_result.capacity = m->append_result.capacity;
        pb->append_result = &b->append_result;
    } else if (m->kind == RAFTWIRE_VOTE) {
        raftwire__vote__init(&b->vote);
        b->vote.version = m->version;
        b->vote.term = m->term;
        b->vote.last_index = m->vote.last_index;
        b->vote.last_term = m->vote.last_term;
        b->vote.disrupt_leader = m->vote.disrupt_leader;
        b->vote.pre_vote = m->vote.pre_vote;
        pb->vote = &b->vote;
    } else if (m->kind == RAFTWIRE_VOTE_RESULT) {
        raftwire__vote_result__init(&b->vote_result);
        b->vote_result.version = m->version;
        b->vote_result.term = m->term;
        b->vote_result.granted = m->vote_result.granted;
        b->vote_result.pre_vote = m->vote_result.pre_vote;
        b->vote_result.features = m->vote_result.features;
        b->vote_result.capacity = m->vote_result.capacity;
        pb->vote_result = &b->vote_result;
    } else {
        ASSERT(m->kind == RAFTWIRE_TIMEOUT_NOW);
        raftwire__timeout_now__init(&b->timeout_now);
        b->timeout_now.version = m->version;
        b->timeout_now.term = m->term;
        b->timeout_now.last_index = m->timeout_now.last_index;
        b->timeout_now.last_term = m->timeout_now.last_term;
        pb->timeout_now = &b->timeout_now;
    }
}

static void put_snapshot(const struct raftwire_frame *f, union body_pb *b, Raftwire__Frame *pb)
{
    if (f->kind == RAFTWIRE_SNAPSHOT_ACK) {
        raftwire__snapshot_ack__init(&b->snapshot_ack);
        b->snapshot_ack.transfer = f->snapshot_ack.transfer;
        b->snapshot_ack.offset = f->snapshot_ack.offset;
        b->snapshot_ack.failed = f->snapshot_ack.failed;
        pb->snapshot_ack = &b->snapshot_ack;
        return;
    }
    raftwire__snapshot__init(&b->snapshot);
    b->snapshot.version = f->snapshot.version;
    b->snapshot.term = f->snapshot.term;
    b->snapshot.at_index = f->snapshot.at.index;
    b->snapshot.at_term = f->snapshot.at.term;
    b->snapshot.members_index = f->snapshot.at.members_index;
    b->snapshot.members = bytes_of(f->snapshot.at.members);
    b->snapshot.transfer = f->snapshot.transfer;
    b->snapshot.applied = f->snapshot.applied;
    b->snapshot.offset = f->snapshot.offset;
    b->snapshot.last = f->snapshot.last;
    b->snapshot.piece = bytes_of(f->snapshot.piece);
    pb->snapshot = &b->snapshot;
}

static void put_peers(const struct raftwire_frame *f, Raftwire__Peers *to,
                      struct entries_pb *room)
{
    raftwire__peers__init(to);
    to->index = f->peers.index;
    to->n_list = f->peers.count;
    to->list = room->peer_list;
    for (uint32_t i = 0; i < f->peers.count; i++) {
        const struct raftwire_peer *p = &f->peers.list[i];
        Raftwire__Peer *pb = room->peer_list[i] = &room->peers[i];

        raftwire__peer__init(pb);
        pb->site = p->site;
        pb->incarnation = p->incarnation;
        pb->key = bytes_of((struct str){(const char *)p->key, sizeof p->key});
        if (p->has_old_key)
            pb->old_key = bytes_of((struct str){(const char *)p->old_key, sizeof p->old_key});
        pb->address = room->addresses[i];
        memcpy(pb->address, p->address.p, p->address.n);
        pb->address[p->address.n] = 0;
    }
}

static void put_body(const struct raftwire_frame *f, union body_pb *b, struct entries_pb *room,
                     Raftwire__Frame *pb)
{
    switch (f->kind) {
    case RAFTWIRE_HELLO:
        raftwire__hello__init(&b->hello);
        b->hello.format = f->hello.format;
        b->hello.answer = f->hello.answer;
        b->hello.applied = f->hello.applied;
        pb->hello = &b->hello;
        return;
    case RAFTWIRE_APPEND:
        put_append(&f->message, &b->append, room);
        pb->append = &b->append;
        return;
    case RAFTWIRE_APPEND_RESULT:
    case RAFTWIRE_VOTE:
    case RAFTWIRE_VOTE_RESULT:
    case RAFTWIRE_TIMEOUT_NOW:
        put_message(&f->message, b, pb);
        return;
    case RAFTWIRE_SNAPSHOT:
    case RAFTWIRE_SNAPSHOT_ACK:
        put_snapshot(f, b, pb);
        return;
    case RAFTWIRE_FORWARD:
        raftwire__forward__init(&b->forward);
        b->forward.request = f->forward.request;
        b->forward.bytes = bytes_of(f->forward.bytes);
        pb->forward = &b->forward;
        return;
    case RAFTWIRE_FORWARD_ANSWER:
        raftwire__forward_answer__init(&b->forward_answer);
        b->forward_answer.request = f->forward_answer.request;
        b->forward_answer.outcome = (uint32_t)f->forward_answer.outcome;
        b->forward_answer.index = f->forward_answer.index;
        b->forward_answer.term = f->forward_answer.term;
        b->forward_answer.leader = f->forward_answer.leader;
        pb->forward_answer = &b->forward_answer;
        return;
    case RAFTWIRE_PEERS:
        put_peers(f, &b->peers, room);
        pb->peers = &b->peers;
        return;
    }
}

enum err raftwire_encode(const struct raftwire_frame *f, uint8_t *buf, size_t size,
                         struct str *out)
{
    Raftwire__Frame pb = RAFTWIRE__FRAME__INIT;
    struct entries_pb room;
    union body_pb body;
    size_t n;

    *out = STR_NONE;
    if (!is_well(f))
        return E_PROTO;
    pb.cluster = bytes_of((struct str){(const char *)f->cluster, sizeof f->cluster});
    pb.site = f->site;
    pb.incarnation = f->incarnation;
    pb.to = f->to;
    put_body(f, &body, &room, &pb);
    n = raftwire__frame__get_packed_size(&pb);
    if (n + SUM_BYTES > size || n + SUM_BYTES > LIMIT_FRAME_BYTES)
        return E_FULL;
    ASSERT(raftwire__frame__pack(&pb, buf) == n);
    *out = (struct str){(const char *)buf, n};
    put_sum(buf + n, *out);
    out->n += SUM_BYTES;
    return OK;
}

size_t raftwire_entry_bytes(const struct raftwire_entry *e)
{
    return e->bytes.n + 32; /* tags, two lengths, term, kind */
}

/* --- decoding --- */

static void *scratch_alloc(void *arena, size_t n)
{
    return arena_take(arena, n);
}

static void scratch_free(void *arena, void *p)
{
    (void)arena, (void)p;
}

/* A copy in the caller's arena; *full is set when there is no room. */
static struct str keep(ProtobufCBinaryData b, struct arena *a, bool *full)
{
    struct str copy = arena_str(a, (struct str){(const char *)b.data, b.len});

    if (b.len > 0 && copy.p == NULL)
        *full = true;
    return copy;
}

static bool get_append(const Raftwire__Append *pb, struct arena *a, struct raftwire_message *to,
                       bool *full)
{
    struct raftwire_entry *list;

    if (pb->version > UINT8_MAX || pb->n_entries > LIMIT_CONTROL_BATCH)
        return false;
    to->version = (uint8_t)pb->version;
    to->term = pb->term;
    to->append.prev_index = pb->prev_index;
    to->append.prev_term = pb->prev_term;
    to->append.commit = pb->commit;
    to->append.count = (uint32_t)pb->n_entries;
    list = arena_take(a, pb->n_entries * sizeof *list + 1);
    if (list == NULL) {
        *full = true;
        return true;
    }
    to->append.entries = list;
    for (size_t i = 0; i < pb->n_entries; i++)
        list[i] =
            (struct raftwire_entry){.term = pb->entries[i]->term,
                                    .kind = (enum raftwire_entry_kind)pb->entries[i]->kind,
                                    .bytes = keep(pb->entries[i]->bytes, a, full)};
    return true;
}

static bool get_results(const Raftwire__Frame *pb, struct raftwire_frame *to)
{
    struct raftwire_message *m = &to->message;

    if (to->kind == RAFTWIRE_APPEND_RESULT) {
        const Raftwire__AppendResult *r = pb->append_result;

        m->version = (uint8_t)r->version;
        m->term = r->term;
        m->append_result.rejected = r->rejected;
        m->append_result.last_index = r->last_index;
        m->append_result.features = (uint16_t)r->features;
        m->append_result.capacity = (uint16_t)r->capacity;
        return r->version <= UINT8_MAX && r->features <= UINT16_MAX &&
               r->capacity <= UINT16_MAX;
    }
    m->version = (uint8_t)pb->vote_result->version;
    m->term = pb->vote_result->term;
    m->vote_result.granted = pb->vote_result->granted;
    m->vote_result.pre_vote = pb->vote_result->pre_vote;
    m->vote_result.features = (uint16_t)pb->vote_result->features;
    m->vote_result.capacity = (uint16_t)pb->vote_result->capacity;
    return pb->vote_result->version <= UINT8_MAX && pb->vote_result->features <= UINT16_MAX &&
           pb->vote_result->capacity <= UINT16_MAX;
}

static bool get_votes(const Raftwire__Frame *pb, struct raftwire_frame *to)
{
    struct raftwire_message *m = &to->message;

    if (to->kind == RAFTWIRE_VOTE) {
        m->version = (uint8_t)pb->vote->version;
        m->term = pb->vote->term;
        m->vote.last_index = pb->vote->last_index;
        m->vote.last_term = pb->vote->last_term;
        m->vote.disrupt_leader = pb->vote->disrupt_leader;
        m->vote.pre_vote = pb->vote->pre_vote;
        return pb->vote->version <= UINT8_MAX;
    }
    m->version = (uint8_t)pb->timeout_now->version;
    m->term = pb->timeout_now->term;
    m->timeout_now.last_index = pb->timeout_now->last_index;
    m->timeout_now.last_term = pb->timeout_now->last_term;
    return pb->timeout_now->version <= UINT8_MAX;
}

static bool get_snapshot(const Raftwire__Frame *pb, struct arena *a, struct raftwire_frame *to,
                         bool *full)
{
    const Raftwire__Snapshot *s = pb->snapshot;

    if (to->kind == RAFTWIRE_SNAPSHOT_ACK) {
        to->snapshot_ack.transfer = pb->snapshot_ack->transfer;
        to->snapshot_ack.offset = pb->snapshot_ack->offset;
        to->snapshot_ack.failed = pb->snapshot_ack->failed;
        return true;
    }
    to->snapshot.version = (uint8_t)s->version;
    to->snapshot.term = s->term;
    to->snapshot.at = (struct raftwire_snapshot){.index = s->at_index,
                                                 .term = s->at_term,
                                                 .members_index = s->members_index,
                                                 .members = keep(s->members, a, full)};
    to->snapshot.transfer = s->transfer;
    to->snapshot.applied = s->applied;
    to->snapshot.offset = s->offset;
    to->snapshot.last = s->last;
    to->snapshot.piece = keep(s->piece, a, full);
    return s->version <= UINT8_MAX;
}

static bool get_peer(const Raftwire__Peer *pb, struct arena *a, struct raftwire_peer *to,
                     bool *full)
{
    if (pb->site > UINT16_MAX || pb->key.len != sizeof to->key ||
        (pb->old_key.len != 0 && pb->old_key.len != sizeof to->old_key))
        return false;
    *to = (struct raftwire_peer){.site = (uint16_t)pb->site,
                                 .incarnation = pb->incarnation,
                                 .has_old_key = pb->old_key.len != 0};
    memcpy(to->key, pb->key.data, sizeof to->key);
    if (to->has_old_key)
        memcpy(to->old_key, pb->old_key.data, sizeof to->old_key);
    to->address = arena_str(a, str_of(pb->address));
    *full = *full || to->address.p == NULL;
    return true;
}

static bool get_peers(const Raftwire__Peers *pb, struct arena *a, struct raftwire_frame *to,
                      bool *full)
{
    struct raftwire_peer *list;

    if (pb->n_list < 1 || pb->n_list > LIMIT_MEMBER_RECORDS)
        return false;
    list = arena_take(a, pb->n_list * sizeof *list);
    to->peers.index = pb->index;
    to->peers.list = list;
    to->peers.count = (uint32_t)pb->n_list;
    *full = *full || list == NULL;
    for (size_t i = 0; list != NULL && i < pb->n_list; i++)
        if (!get_peer(pb->list[i], a, &list[i], full))
            return false;
    return true;
}

static bool get_body(const Raftwire__Frame *pb, struct arena *a, struct raftwire_frame *to,
                     bool *full)
{
    switch (to->kind) {
    case RAFTWIRE_HELLO:
        to->hello.format = pb->hello->format;
        to->hello.answer = pb->hello->answer;
        to->hello.applied = pb->hello->applied;
        return true;
    case RAFTWIRE_APPEND:
        return get_append(pb->append, a, &to->message, full);
    case RAFTWIRE_APPEND_RESULT:
    case RAFTWIRE_VOTE_RESULT:
        return get_results(pb, to);
    case RAFTWIRE_VOTE:
    case RAFTWIRE_TIMEOUT_NOW:
        return get_votes(pb, to);
    case RAFTWIRE_SNAPSHOT:
    case RAFTWIRE_SNAPSHOT_ACK:
        return get_snapshot(pb, a, to, full);
    case RAFTWIRE_FORWARD:
        to->forward.request = pb->forward->request;
        to->forward.bytes = keep(pb->forward->bytes, a, full);
        return true;
    case RAFTWIRE_FORWARD_ANSWER:
        to->forward_answer.request = pb->forward_answer->request;
        to->forward_answer.outcome = (enum raftwire_outcome)pb->forward_answer->outcome;
        to->forward_answer.index = pb->forward_answer->index;
        to->forward_answer.term = pb->forward_answer->term;
        to->forward_answer.leader = pb->forward_answer->leader;
        return true;
    case RAFTWIRE_PEERS:
        return get_peers(pb->peers, a, to, full);
    }
    return false;
}

/* The one body there is; 0: none. With several, the frame is not what encoding makes. */
static enum raftwire_kind kind_of(const Raftwire__Frame *pb)
{
    const void *const bodies[] = {[RAFTWIRE_HELLO] = pb->hello,
                                  [RAFTWIRE_APPEND] = pb->append,
                                  [RAFTWIRE_APPEND_RESULT] = pb->append_result,
                                  [RAFTWIRE_VOTE] = pb->vote,
                                  [RAFTWIRE_VOTE_RESULT] = pb->vote_result,
                                  [RAFTWIRE_TIMEOUT_NOW] = pb->timeout_now,
                                  [RAFTWIRE_SNAPSHOT] = pb->snapshot,
                                  [RAFTWIRE_SNAPSHOT_ACK] = pb->snapshot_ack,
                                  [RAFTWIRE_FORWARD] = pb->forward,
                                  [RAFTWIRE_FORWARD_ANSWER] = pb->forward_answer,
                                  [RAFTWIRE_PEERS] = pb->peers};

    for (unsigned k = RAFTWIRE_HELLO; k <= RAFTWIRE_PEERS; k++)
        if (bodies[k] != NULL)
            return (enum raftwire_kind)k;
    return (enum raftwire_kind)0;
}

static bool from_pb(const Raftwire__Frame *pb, struct arena *a, struct raftwire_frame *to,
                    bool *full)
{
    to->kind = kind_of(pb);
    if (to->kind == 0 || pb->cluster.len != sizeof to->cluster || pb->site > UINT16_MAX)
        return false;
    memcpy(to->cluster, pb->cluster.data, sizeof to->cluster);
    to->site = (uint16_t)pb->site;
    to->incarnation = pb->incarnation;
    to->to = pb->to;
    if (!get_body(pb, a, to, full))
        return false;
    if (to->kind >= RAFTWIRE_APPEND && to->kind <= RAFTWIRE_TIMEOUT_NOW) {
        to->message.kind = to->kind;
        to->message.peer = to->incarnation;
    }
    return true;
}

enum err raftwire_decode(struct str bytes, struct arena *a, struct raftwire_frame *out)
{
    struct arena scratch;
    ProtobufCAllocator alloc = {scratch_alloc, scratch_free, &scratch};
    Raftwire__Frame *pb;
    struct str again, frame;
    uint8_t sum[SUM_BYTES], *buf;
    bool full = false;
    enum err e = E_PROTO;

    *out = (struct raftwire_frame){.kind = 0};
    if (bytes.n <= SUM_BYTES || bytes.n > LIMIT_FRAME_BYTES)
        return E_PROTO;
    frame = str_head(bytes, bytes.n - SUM_BYTES);
    put_sum(sum, frame);
    if (memcmp(sum, bytes.p + frame.n, SUM_BYTES) != 0)
        return E_PROTO;
    arena_init(&scratch, SCRATCH_BYTES);
    pb = raftwire__frame__unpack(&alloc, frame.n, (const uint8_t *)frame.p);
    buf = arena_take(&scratch, bytes.n);
    if (pb != NULL && buf != NULL && from_pb(pb, a, out, &full)) {
        if (full)
            e = E_FULL;
        else if (raftwire_encode(out, buf, bytes.n, &again) == OK && str_eq(again, bytes))
            e = OK;
    }
    arena_reset(&scratch);
    return e;
}

const char *raftwire_kind_text(enum raftwire_kind k)
{
    static const char *const texts[] = {[RAFTWIRE_HELLO] = "hello",
                                        [RAFTWIRE_APPEND] = "append",
                                        [RAFTWIRE_APPEND_RESULT] = "append_result",
                                        [RAFTWIRE_VOTE] = "vote",
                                        [RAFTWIRE_VOTE_RESULT] = "vote_result",
                                        [RAFTWIRE_TIMEOUT_NOW] = "timeout_now",
                                        [RAFTWIRE_SNAPSHOT] = "snapshot",
                                        [RAFTWIRE_SNAPSHOT_ACK] = "snapshot_ack",
                                        [RAFTWIRE_FORWARD] = "forward",
                                        [RAFTWIRE_FORWARD_ANSWER] = "forward_answer",
                                        [RAFTWIRE_PEERS] = "peers"};

    return k >= RAFTWIRE_HELLO && k <= RAFTWIRE_PEERS ? texts[k] : "none";
}
