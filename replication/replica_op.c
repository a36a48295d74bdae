/* Records: from a peer to the store, from the store to what follows, and peers' answers. */
#include "base/fault.h"
#include "replication/replica_internal.h"

#define OPS_RESERVED 4096 /* for our own ops: peers' records wait for room before */
#define OWN_OP       UINT64_MAX
#define OWN_WAITS    (UINT64_MAX - 1) /* it found no room, and will be tried again */

static const uint64_t AGAIN_MS = 1000;

void op_init(struct replica *r)
{
    pool_init(&r->store_ops, sizeof(struct copy_op), LIMIT_REPLICA_OPS);
    r->again_ms = NEVER;
}

void op_fini(struct replica *r)
{
    for (uint32_t h = 1; h <= r->store_ops.made; h++)
        if (pool_is_taken(&r->store_ops, h)) {
            struct copy_op *op = pool_at(&r->store_ops, h);

            blob_release(&op->keep);
        }
    pool_fini(&r->store_ops);
}

bool op_room(const struct replica *r, uint32_t records)
{
    return r->store_ops.count + records + OPS_RESERVED <= LIMIT_REPLICA_OPS;
}

static struct copy_op *op_new(struct replica *r, const struct copy_record *record,
                              struct blob *keep)
{
    uint32_t h = pool_take(&r->store_ops);
    struct copy_op *op;

    if (h == 0) {
        replica_stop(r, COPY_FAILED, "the store does not answer");
        return NULL;
    }
    op = pool_at(&r->store_ops, h);
    op->record = *record;
    op->keep = keep != NULL ? blob_hold(keep) : NULL;
    op->cookie[2] = h;
    return op;
}

void op_own(struct replica *r, const struct copy_record *record, struct blob *keep,
            uint64_t cookie)
{
    struct copy_op *op = op_new(r, record, keep);

    if (op == NULL)
        return;
    op->from = r->o.site;
    op->incarnation = r->o.incarnation;
    op->cookie[0] = cookie;
    op->cookie[1] = OWN_OP;
    r->ops.store(r->ops.ctx, op);
}

/* What we decided stays decided when there is no room for it: nobody else would repeat it. A
 * DOT is asked anew, and a mark that is not taken away harms nobody. */
static bool must_be_stored(const struct copy_op *op)
{
    if (op->answer.code != COPY_NO_ROOM && op->answer.code != COPY_FAILED)
        return false;
    switch (op->record.kind) {
    case COPY_ABORT:
    case COPY_COMMIT:
    case COPY_UPTO:
    case COPY_FILLED:
    case COPY_CLEAR:
    case COPY_ENDED:
        return true;
    default:
        return false;
    }
}

static void op_later(struct replica *r, struct copy_op *op)
{
    op->cookie[1] = OWN_WAITS;
    if (r->again_ms == NEVER)
        r->again_ms = r->now + AGAIN_MS;
}

void op_tick(struct replica *r)
{
    if (r->now < r->again_ms)
        return;
    r->again_ms = NEVER;
    for (uint32_t h = 1; h <= r->store_ops.made; h++) {
        struct copy_op *op = pool_at(&r->store_ops, h);

        if (!pool_is_taken(&r->store_ops, h) || op->cookie[1] != OWN_WAITS)
            continue;
        op->cookie[1] = OWN_OP;
        op->answer = (struct copy_answer){.code = COPY_OK};
        r->ops.store(r->ops.ctx, op);
    }
}

/* --- records that came in --- */

static uint64_t link_cookie(const struct peer *p, enum frame_stream stream)
{
    return (uint64_t)p->serial << 8 | (uint64_t)p->index << 1 | (uint64_t)stream;
}

static void op_peer(struct replica *r, struct peer *p, enum frame_stream stream, uint64_t seq,
                    const struct copy_record *record, struct blob *keep)
{
    struct copy_op *op = op_new(r, record, keep);

    if (op == NULL)
        return;
    op->from = p->site;
    op->incarnation = p->incarnation;
    op->cookie[0] = seq;
    op->cookie[1] = link_cookie(p, stream);
    if (FAULT(ACK_BEFORE_COMMIT) && record->kind == COPY_PUT) {
        op->cookie[1] = OWN_WAITS - 1; /* of no link: it is answered now */
        stream_in_done(p->in[stream], seq, &(struct copy_answer){.code = COPY_OK});
    }
    r->ops.store(r->ops.ctx, op);
}

/* Where each kind belongs; what a peer may say of whom. NULL: in order. */
static const char *record_fault(const struct peer *p, enum frame_stream stream,
                                const struct copy_record *rec)
{
    bool is_copy = rec->kind == COPY_PUT || rec->kind == COPY_BODY;

    if (is_copy != (stream == FRAME_COPIES))
        return "a record in the wrong stream";
    if (rec->epoch >= EPOCH_END - 1 || mid_epoch(rec->id) >= EPOCH_END - 1)
        return "a session that cannot be";
    if (rec->kind == COPY_DOT && rec->site != p->site)
        return "a question in the name of another";
    return NULL;
}

/* True: the store has to do with it; false: *code is its answer now. */
static bool route(struct replica *r, struct peer *p, const struct copy_record *rec,
                  enum copy_code *code)
{
    uint32_t h;
    const struct session *s;

    *code = COPY_OK;
    switch (rec->kind) {
    case COPY_ECHO:
    case COPY_ABORT:
    case COPY_COMMIT:
    case COPY_CLOSED:
    case COPY_OUTCOME:
    case COPY_RESOLVE:
    case COPY_FILLED:
    case COPY_MARK:
    case COPY_BODY:
        return true;
    case COPY_PUT:
        *code = COPY_NO_ROOM;
        return otree_count(&r->entries) < LIMIT_QUEUE_MESSAGES;
    case COPY_UPTO:
        if (rec->site == p->site)
            return true;
        if (rec->site == r->o.site)
            have_upto_of_ours(r, rec);
        return false;
    case COPY_DOT:
        /* fates that it does not know yet: first these, then its question again */
        h = entry_find(r, rec->id);
        *code = COPY_LAG;
        if (h == 0 || !bit_get(entry_at(r, h)->news, p))
            return true;
        feed_news_now(r, p, h);
        return false;
    case COPY_RESOLVED:
        s = session_find(r, rec->site, rec->epoch);
        return s != NULL && s->asked && s->asked_peer == p->index;
    case COPY_HAVE:
        return have_take(r, p, rec);
    case COPY_HAVE_END:
        have_end(r, p);
        return false;
    case COPY_WANT:
        feed_wanted(r, p, rec->id);
        return false;
    case COPY_ENDED:
        settle_ended(r, p, rec->id);
        return false;
    case COPY_CLEAR:
        have_clear_of_peer(r, p, rec);
        return false;
    }
    *code = COPY_MALFORMED;
    return false;
}

static size_t record_keep_bytes(const struct copy_record *rec)
{
    return rec->range_count * sizeof *rec->ranges + rec->domain.n + rec->envelope.n +
           rec->body.n + sizeof *rec->ranges;
}

static struct str move(struct blob *b, size_t *at, struct str s)
{
    struct str out = {b->b + *at, s.n};

    if (s.n == 0)
        return STR_NONE;
    memcpy(b->b + *at, s.p, s.n);
    *at += s.n;
    return out;
}

/* The record with its strings and ranges in the blob instead of the frame's memory. */
static void record_move(struct copy_record *rec, struct blob *b, size_t *at)
{
    *at = (*at + sizeof *rec->ranges - 1) / sizeof *rec->ranges * sizeof *rec->ranges;
    if (rec->range_count > 0) {
        void *to = b->b + *at;

        memcpy(to, rec->ranges, rec->range_count * sizeof *rec->ranges);
        *at += rec->range_count * sizeof *rec->ranges;
        rec->ranges = to;
    }
    rec->domain = move(b, at, rec->domain);
    rec->envelope = move(b, at, rec->envelope);
    rec->body = move(b, at, rec->body);
}

void op_take(struct replica *r, struct peer *p, const struct frame *f, uint32_t from,
             uint32_t count)
{
    uint32_t serial = p->serial;
    struct blob *keep = NULL;
    size_t bytes = 0, at = 0;

    for (uint32_t i = from; i < from + count; i++)
        bytes += record_keep_bytes(&f->records[i]);
    keep = blob_new(bytes);
    if (keep == NULL) {
        link_down(r, p); /* out of memory: all of it again, later */
        return;
    }
    for (uint32_t i = from; i < from + count && p->serial == serial; i++) {
        struct copy_record rec = f->records[i];
        enum copy_code code = COPY_MALFORMED;
        uint64_t seq = f->seq + i;

        record_move(&rec, keep, &at);
        if (record_fault(p, f->stream, &rec) == NULL && route(r, p, &rec, &code))
            op_peer(r, p, f->stream, seq, &rec, keep);
        else if (p->serial == serial)
            stream_in_done(p->in[f->stream], seq, &(struct copy_answer){.code = code});
    }
    blob_release(&keep);
}

/* --- what the store answered --- */

static void alarm_id(struct replica *r, struct mid id, enum copy_code why)
{
    replica_tell(r, &(struct replica_news){.kind = REPLICA_ALARM, .id = id, .why = why});
}

static struct rset_span span_of_id(struct mid id)
{
    return (struct rset_span){mid_site(id), mid_epoch(id), mid_counter(id), mid_counter(id)};
}

static void put_stored(struct replica *r, struct peer *p, const struct copy_op *op)
{
    struct mid id = op->record.id;
    uint32_t h;

    switch (op->answer.code) {
    case COPY_OK:
        entry_state(r, id, op->state, p);
        feed_repaired(r, id);
        break;
    case COPY_IS_SETTLED:
        entry_state(r, id, COPY_SETTLED, p);
        if (p != NULL && p->up)
            settle_owe(r, p, span_of_id(id), true);
        return;
    case COPY_CONFLICT:
        alarm_id(r, id, COPY_CONFLICT);
        break;
    case COPY_DAMAGED:
        feed_damaged(r, id);
        break;
    default:
        break;
    }
    h = entry_find(r, id);
    if (h != 0 && p != NULL)
        entry_has(r, h, p, op->record.state);
}

static void outcome_stored(struct replica *r, struct peer *p, const struct copy_op *op)
{
    struct mid id = op->record.id;
    uint32_t h;

    if (op->answer.code == COPY_DAMAGED)
        feed_damaged(r, id);
    if (op->answer.code != COPY_OK)
        return;
    entry_state(r, id, op->state, p);
    h = entry_find(r, id);
    if (h == 0)
        feed_repaired(r, id); /* settled: what could not be read is gone, too */
    if (h == 0 || p == NULL)
        return;
    entry_has(r, h, p, COPY_COMMITTED);
    bit_set(&entry_at(r, h)->news, replica_other(r, p), true);
    entry_later(r, h);
    dot_gone(r, id, COPY_LAG, LIMIT_DOT_LAG_MS);
    replica_tell(r, &(struct replica_news){.kind = REPLICA_CHANGED, .id = id});
}

static void upto_stored(struct replica *r, struct peer *p, const struct copy_op *op)
{
    const struct copy_record *rec = &op->record;
    struct session *s;

    if (op->answer.code != COPY_OK || p == NULL)
        return;
    s = session_get(r, rec->site, rec->epoch);
    if (s == NULL || s->upto >= rec->counter)
        return;
    entry_commit_range(r, rec->site, rec->epoch, s->upto + 1, rec->counter, p);
    s->upto = rec->counter;
}

/* A word of a peer that is stored now. p: NULL when it is no member any more. */
static void peer_stored(struct replica *r, struct peer *p, const struct copy_op *op)
{
    const struct copy_record *rec = &op->record;
    enum copy_code code = op->answer.code;
    uint32_t h;

    switch (rec->kind) {
    case COPY_PUT:
        put_stored(r, p, op);
        break;
    case COPY_ABORT:
    case COPY_COMMIT:
        if (code == COPY_OK)
            entry_state(r, rec->id, op->state, p);
        h = entry_find(r, rec->id);
        if (h != 0 && p != NULL)
            entry_has(r, h, p, rec->kind == COPY_ABORT ? COPY_ABORTED : COPY_COMMITTED);
        break;
    case COPY_UPTO:
        upto_stored(r, p, op);
        break;
    case COPY_DOT:
        if (code == COPY_IS_SETTLED && p != NULL && p->up)
            settle_owe(r, p, span_of_id(rec->id), true);
        break;
    case COPY_OUTCOME:
        outcome_stored(r, p, op);
        break;
    case COPY_RESOLVE:
        if (code == COPY_OK && p != NULL)
            settle_answer_resolve(r, p, rec);
        break;
    case COPY_RESOLVED:
        settle_resolved(r, op, p);
        break;
    case COPY_HAVE:
        have_stored(r, p, op);
        break;
    case COPY_FILLED:
        if (code == COPY_OK && p != NULL)
            feed_filled(r, p);
        break;
    default:
        break;
    }
}

static void own_stored(struct replica *r, const struct copy_op *op)
{
    const struct copy_record *rec = &op->record;

    switch (rec->kind) {
    case COPY_ABORT:
        if (op->answer.code == COPY_OK)
            entry_state(r, rec->id, op->state, NULL);
        accept_abort_stored(r, rec->id, op);
        break;
    case COPY_COMMIT:
        if (op->answer.code == COPY_OK)
            entry_state(r, rec->id, op->state, NULL);
        break;
    case COPY_UPTO:
        accept_upto_stored(r, op);
        break;
    case COPY_DOT:
        dot_answered(r, OWN_SIDE, rec, op->cookie[0], &op->answer);
        break;
    case COPY_RESOLVED:
        settle_resolved(r, op, NULL);
        break;
    case COPY_FILLED:
        feed_filled_own(r, op->answer.code == COPY_OK);
        break;
    case COPY_CLEAR:
        have_clear_stored(r, rec, op->answer.code == COPY_OK);
        break;
    case COPY_ENDED:
        settle_ended_stored(r, op);
        break;
    default:
        break;
    }
}

static struct peer *sender_of(struct replica *r, const struct copy_op *op)
{
    struct peer *p = replica_peer(r, op->from);

    return p != NULL && p->incarnation == op->incarnation ? p : NULL;
}

void replica_stored(struct replica *r, struct copy_op *op, uint64_t now)
{
    uint32_t h = (uint32_t)op->cookie[2];

    ASSERT(pool_is_taken(&r->store_ops, h) && pool_at(&r->store_ops, h) == op);
    if (now > r->now)
        r->now = now;
    if (op->answer.code == COPY_DAMAGED)
        alarm_id(r, op->record.id, COPY_DAMAGED);
    if (op->cookie[1] == OWN_OP && must_be_stored(op)) {
        blob_release(&op->store_keep);
        op_later(r, op);
        replica_turn(r, now);
        return;
    }
    if (op->cookie[1] == OWN_OP) {
        own_stored(r, op);
    } else {
        struct peer *p = sender_of(r, op);
        enum frame_stream stream = (enum frame_stream)(op->cookie[1] & 1);

        peer_stored(r, p, op);
        if (p != NULL && p->up && link_cookie(p, stream) == op->cookie[1])
            stream_in_done(p->in[stream], op->cookie[0], &op->answer);
    }
    blob_release(&op->keep);
    blob_release(&op->store_keep);
    pool_give(&r->store_ops, h);
    replica_turn(r, now);
}

/* --- what a peer answered --- */

/* True: this answer cannot have come without a commit of the peer's writer. */
static bool is_durable(const struct copy_record *rec, const struct copy_answer *a)
{
    switch (rec->kind) {
    case COPY_ECHO:
    case COPY_ABORT:
    case COPY_COMMIT:
    case COPY_OUTCOME:
    case COPY_PUT:
    case COPY_BODY:
    case COPY_CLOSED:
        return a->code == COPY_OK;
    case COPY_DOT:
        return a->code == COPY_OK || a->code == COPY_DOUBT;
    default:
        return false;
    }
}

/* True: it waited for bodies on their way, not for the writer of the peer. */
static bool is_behind_bodies(const struct peer *p, const struct copy_record *rec)
{
    if (rec->kind != COPY_PUT)
        return rec->kind == COPY_BODY;
    return rec->body_number != 0 || p->body_bytes > 0 ||
           stream_out_feed(p->out[FRAME_COPIES]) > 0;
}

static void gate_acked(struct replica *r, struct peer *p, const struct copy_record *rec,
                       uint64_t took_ms)
{
    gate_ack(&r->gate, took_ms, is_behind_bodies(p, rec), r->now);
    p->last_ack_ms = r->now;
    if (rec->kind == COPY_PUT || rec->kind == COPY_BODY)
        return;
    p->mark_ack_ms = r->now;
    p->echo_ms = p->echo_ms == 0 ? took_ms : (p->echo_ms * 7 + took_ms) / 8;
}

/* Called while a stream is looked through: nothing may be pushed in here; what follows from an
 * answer waits for the end of the turn. */
void op_acked(struct replica *r, struct peer *p, const struct stream_item *i,
              const struct copy_answer *a, uint64_t took_ms)
{
    const struct copy_record *rec = &i->record;

    if (is_durable(rec, a))
        gate_acked(r, p, rec, took_ms);
    switch (rec->kind) {
    case COPY_ECHO:
        p->echo_out = false;
        break;
    case COPY_PUT:
        p->progress_ms = r->now;
        accept_put_acked(r, p, rec->id, a);
        feed_put_acked(r, p, rec, a);
        break;
    case COPY_BODY:
        p->progress_ms = r->now;
        p->body_bytes -= rec->body.n < p->body_bytes ? rec->body.n : p->body_bytes;
        break;
    case COPY_ABORT:
        accept_abort_acked(r, p, rec->id, a);
        feed_mark_acked(r, p, rec, a);
        break;
    case COPY_COMMIT:
    case COPY_MARK:
    case COPY_OUTCOME:
        if (rec->kind == COPY_OUTCOME && a->code == COPY_OK)
            settle_told(r, rec->id);
        feed_mark_acked(r, p, rec, a);
        break;
    case COPY_DOT:
        dot_answered(r, p->index, rec, i->cookie, a);
        break;
    case COPY_CLOSED:
        dot_closed_acked(r, p->index, rec, i->cookie);
        break;
    case COPY_RESOLVE:
        settle_resolve_acked(r, p, rec, a);
        break;
    case COPY_FILLED:
        p->filled_sent = a->code == COPY_OK; /* else told again, in a while */
        p->filled_ms = r->now + AGAIN_MS;
        break;
    case COPY_HAVE:
        have_acked(r, p, rec, a->code);
        break;
    case COPY_HAVE_END:
        p->have_acked = true;
        break;
    default:
        break;
    }
}

void op_lost(struct replica *r, struct peer *p, const struct stream_item *i)
{
    if (i->record.kind == COPY_PUT)
        accept_put_lost(r, p, i->record.id);
}
