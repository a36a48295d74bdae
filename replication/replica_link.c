/* Links: HELLO, streams out and in, acks, notes; frames that no node would send. */
#include "replication/replica_internal.h"

struct link_ctx {
    struct replica *r;
    struct peer *p;
};

static const uint64_t BAD_SPAN_MS = 60000;

static void new_nonce(struct replica *r, struct peer *p)
{
    do
        p->nonce = prng_next(&r->prng);
    while (p->nonce == 0);
}

bool link_init(struct replica *r, struct peer *p)
{
    rset_init(&p->ahead[0], LIMIT_REPLICA_RANGES);
    rset_init(&p->ahead[1], LIMIT_REPLICA_RANGES);
    rset_init(&p->stale, LIMIT_REPLICA_RANGES);
    rset_init(&p->stale_late, LIMIT_REPLICA_RANGES);
    rset_init(&p->unheard, LIMIT_REPLICA_RANGES);
    rset_init(&p->aborts, LIMIT_REPLICA_RANGES);
    p->pass = HAVE_DONE;
    new_nonce(r, p);
    for (int i = 0; i < FRAME_STREAMS; i++) {
        p->out[i] = stream_out_new((enum frame_stream)i);
        p->in[i] = stream_in_new((enum frame_stream)i);
        if (p->out[i] == NULL || p->in[i] == NULL)
            return false;
    }
    return true;
}

static void forget(void *ctx, const struct stream_item *i)
{
    (void)ctx;
    (void)i;
}

void link_fini(struct replica *r, struct peer *p)
{
    (void)r;
    for (int i = 0; i < FRAME_STREAMS; i++) {
        if (p->out[i] != NULL) {
            stream_out_reset(p->out[i], forget, NULL);
            stream_out_free(&p->out[i]);
        }
        if (p->in[i] != NULL)
            stream_in_free(&p->in[i]);
    }
    rset_fini(&p->ahead[0]);
    rset_fini(&p->ahead[1]);
    rset_fini(&p->stale);
    rset_fini(&p->stale_late);
    rset_fini(&p->unheard);
    rset_fini(&p->aborts);
}

static void send_frame(struct replica *r, struct peer *p, struct frame *f)
{
    struct str bytes;

    memcpy(f->cluster, r->o.cluster, sizeof f->cluster);
    f->site = r->o.site;
    f->incarnation = r->o.incarnation;
    f->from_nonce = p->nonce;
    f->to_nonce = p->peer_nonce;
    if (frame_encode(f, r->frame, sizeof r->frame, &bytes) != OK) {
        /* streams pack by frame_record_bytes(): a frame that does not fit is our mistake */
        replica_stop(r, COPY_MALFORMED, "a frame of our own does not fit");
        return;
    }
    (*r->ops.send)(r->ops.ctx, p->site, f->kind == FRAME_RECORDS && f->stream == FRAME_COPIES,
                   bytes);
}

static void send_hello(struct replica *r, struct peer *p)
{
    struct frame f = {.kind = FRAME_HELLO,
                      .format = FRAME_FORMAT,
                      .session = r->o.session,
                      .filled = r->filled};

    send_frame(r, p, &f);
}

static void tell_link(struct replica *r, const struct peer *p)
{
    replica_tell(r,
                 &(struct replica_news){.kind = REPLICA_LINK, .site = p->site, .open = p->up});
}

static void lost(void *ctx, const struct stream_item *i)
{
    struct link_ctx *c = ctx;

    op_lost(c->r, c->p, i);
}

void link_down(struct replica *r, struct peer *p)
{
    struct link_ctx c = {r, p};
    bool was_up = p->up;

    p->up = false;
    p->serial++;
    p->overflow = false;
    p->echo_out = false;
    p->got_have = false;
    p->have_acked = false;
    p->pass = HAVE_DONE;
    p->hello_ms = r->now;
    p->note_ms = 0;
    new_nonce(r, p);
    for (int i = 0; i < FRAME_STREAMS; i++) {
        stream_out_reset(p->out[i], lost, &c);
        stream_in_reset(p->in[i]);
    }
    p->body_bytes = 0;
    feed_link_down(r, p);
    dot_link_down(r, p);
    settle_link_down(r, p);
    if (was_up)
        tell_link(r, p);
}

static void link_up(struct replica *r, struct peer *p)
{
    ASSERT(!p->up);
    p->up = true;
    p->last_ack_ms = p->mark_ack_ms = r->now;
    p->progress_ms = r->now;
    p->next_note_ms = r->now;
    p->echo_asked_ms = 0;
    tell_link(r, p);
    have_link_up(r, p);
    settle_link_up(r, p);
    accept_link_up(r, p);
    dot_link_up(r, p);
}

void link_member(struct replica *r, struct peer *p, uint16_t site, uint64_t incarnation)
{
    if (p->up)
        link_down(r, p);
    p->site = site;
    p->incarnation = incarnation;
    p->peer_nonce = 0;
    p->old_count = 0;
    p->session = 0;
    p->filled = p->open = p->filled_us = p->filled_sent = false;
    p->hello_ms = 0;
    p->bad = 0;
    p->cut_ms = 0;
    p->echo_ms = 0;
    p->fill_serial = r->dot_serial;
    memset(p->clear, 0, sizeof p->clear);
    rset_clear(&p->ahead[0]);
    rset_clear(&p->ahead[1]);
    rset_clear(&p->stale);
    rset_clear(&p->stale_late);
    rset_clear(&p->unheard);
    rset_clear(&p->aborts);
    entry_forget_peer(r, p);
    accept_forget_peer(r, p);
}

/* --- what came in --- */

static void bad_frame(struct replica *r, struct peer *p, const char *text)
{
    replica_tell(
        r, &(struct replica_news){.kind = REPLICA_BAD_FRAME, .site = p->site, .text = text});
    if (p->bad == 0 || r->now - p->bad_ms > BAD_SPAN_MS) {
        p->bad = 0;
        p->bad_ms = r->now;
    }
    if (++p->bad >= LIMIT_BAD_FRAMES) {
        p->bad = 0;
        p->cut_ms = r->now + LIMIT_LINK_CUT_MS;
    }
}

static bool is_old_nonce(const struct peer *p, uint64_t nonce)
{
    uint32_t n = p->old_count < OLD_LINKS ? p->old_count : OLD_LINKS;

    for (uint32_t i = 0; i < n; i++)
        if (p->old[i] == nonce)
            return true;
    return false;
}

static void take_hello(struct replica *r, struct peer *p, const struct frame *f)
{
    bool is_answered = f->to_nonce == p->nonce;

    if (f->format != FRAME_FORMAT) {
        bad_frame(r, p, "the peer speaks another format of frames");
        return;
    }
    if (f->from_nonce == 0 || is_old_nonce(p, f->from_nonce))
        return; /* late: it has drawn another since */
    if (f->from_nonce != p->peer_nonce) {
        if (p->up) {
            link_down(r, p); /* our streams start anew: so must our nonce */
            is_answered = false;
        }
        if (p->peer_nonce != 0)
            p->old[p->old_count++ % OLD_LINKS] = p->peer_nonce;
        p->peer_nonce = f->from_nonce;
    }
    p->session = f->session;
    p->filled = f->filled;
    if (is_answered && p->up)
        return;
    if (is_answered)
        link_up(r, p);
    send_hello(r, p);
}

static void done(void *ctx, const struct stream_item *i, const struct copy_answer *a,
                 uint64_t took_ms)
{
    struct link_ctx *c = ctx;

    op_acked(c->r, c->p, i, a, took_ms);
}

static void take_ack(struct replica *r, struct peer *p, const struct frame *f)
{
    struct link_ctx c = {r, p};

    if (stream_acked(p->out[f->stream], f, r->now, done, &c))
        return;
    bad_frame(r, p, "it acknowledges what was never sent");
    link_down(r, p);
}

static void take_records(struct replica *r, struct peer *p, const struct frame *f)
{
    uint32_t from = 0, count;

    if (!op_room(r, f->record_count))
        return; /* it will come again */
    count = stream_in_take(p->in[f->stream], f, &from);
    if (count > 0)
        op_take(r, p, f, from, count);
}

static void take_note(struct replica *r, struct peer *p, const struct frame *f)
{
    p->open = f->open;
    p->note_ms = r->now > 0 ? r->now : 1;
    p->live = f->live;
    p->single = f->single;
    if (f->reach_count > 0)
        replica_tell(r, &(struct replica_news){.kind = REPLICA_REACH,
                                               .site = p->site,
                                               .reach = f->reach,
                                               .reach_count = f->reach_count});
}

static void take_linked(struct replica *r, struct peer *p, const struct frame *f)
{
    if (f->from_nonce != p->peer_nonce || f->to_nonce != p->nonce)
        return; /* of an earlier link */
    if (!p->up)
        link_up(r, p); /* it has seen ours: its HELLO was lost, or is behind */
    switch (f->kind) {
    case FRAME_RECORDS:
        take_records(r, p, f);
        break;
    case FRAME_ACK:
        take_ack(r, p, f);
        break;
    case FRAME_NOTE:
        take_note(r, p, f);
        break;
    case FRAME_FACTS:
        replica_tell(r, &(struct replica_news){
                            .kind = REPLICA_FACTS, .site = p->site, .facts = f->facts});
        break;
    case FRAME_HELLO:
        ASSERT(false);
    }
}

static const char *frame_fault(const struct replica *r, const struct peer *p,
                               const struct frame *f)
{
    if (memcmp(f->cluster, r->o.cluster, sizeof f->cluster) != 0)
        return "it is of another cluster";
    if (f->site != p->site || f->incarnation != p->incarnation)
        return "it names another sender";
    if ((f->kind == FRAME_RECORDS || f->kind == FRAME_ACK) && f->stream >= FRAME_STREAMS)
        return "it names an unknown stream";
    return NULL;
}

void replica_frame(struct replica *r, uint16_t site, uint64_t incarnation, struct str bytes,
                   uint64_t now)
{
    struct peer *p = replica_peer(r, site);
    struct frame f = {0};
    const char *fault;

    if (now > r->now)
        r->now = now;
    if (!r->is_started || r->stopped || p == NULL || p->incarnation != incarnation ||
        r->now < p->cut_ms)
        return;
    arena_reset(&r->arena);
    if (frame_decode(bytes, &r->arena, &f) != OK)
        fault = "it cannot be read";
    else
        fault = frame_fault(r, p, &f);
    if (fault != NULL)
        bad_frame(r, p, fault);
    else if (f.kind == FRAME_HELLO)
        take_hello(r, p, &f);
    else
        take_linked(r, p, &f);
    replica_turn(r, now);
}

/* --- what goes out --- */

void replica_facts(struct replica *r, uint16_t site, struct str facts)
{
    struct peer *p = replica_peer(r, site);

    ASSERT(facts.n > 0 && facts.n <= LIMIT_GOSSIP_FRAME_BYTES);
    if (p != NULL && p->up)
        send_frame(r, p, &(struct frame){.kind = FRAME_FACTS, .facts = facts});
}

bool link_push(struct replica *r, struct peer *p, const struct stream_item *i, bool feed)
{
    bool is_copy = i->record.kind == COPY_PUT || i->record.kind == COPY_BODY;

    (void)r;
    if (!p->up || p->overflow)
        return false;
    if (stream_push(p->out[is_copy ? FRAME_COPIES : FRAME_MARKS], i, feed) != OK) {
        p->overflow = true;
        return false;
    }
    return true;
}

bool link_push_mark(struct replica *r, struct peer *p, const struct copy_record *record)
{
    return link_push(r, p, &(struct stream_item){.record = *record}, false);
}

void link_push_marks(struct replica *r, const struct copy_record *record)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        (void)link_push_mark(r, &r->peers[i], record);
}

void link_note_soon(struct replica *r)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        r->peers[i].next_note_ms = r->now;
}

static void send_note(struct replica *r, struct peer *p)
{
    struct frame f = {.kind = FRAME_NOTE,
                      .open = r->told_open,
                      .live = r->committed + r->undecided,
                      .single = r->single,
                      .reach = r->reach,
                      .reach_count = r->reach_count};

    send_frame(r, p, &f);
    p->next_note_ms = r->now + LIMIT_NOTE_MS;
}

void link_pump(struct replica *r, struct peer *p)
{
    struct frame f;

    if (p->overflow)
        link_down(r, p);
    if (!p->up)
        return;
    for (int i = 0; i < FRAME_STREAMS; i++) {
        memset(&f, 0, sizeof f);
        while (stream_next(p->out[i], r->now, &f)) {
            f.kind = FRAME_RECORDS;
            send_frame(r, p, &f);
            memset(&f, 0, sizeof f);
        }
        if (stream_in_ack(p->in[i], &f)) {
            f.kind = FRAME_ACK;
            send_frame(r, p, &f);
        }
    }
    if (r->now >= p->next_note_ms)
        send_note(r, p);
}

static uint64_t echo_due(const struct peer *p)
{
    uint64_t last = p->mark_ack_ms > p->echo_asked_ms ? p->mark_ack_ms : p->echo_asked_ms;

    return p->echo_out ? NEVER : last + LIMIT_ECHO_MS;
}

void link_tick(struct replica *r, struct peer *p)
{
    if (p->incarnation == 0 || r->stopped)
        return;
    if (p->up && (stream_out_stuck(p->out[FRAME_MARKS], r->now) ||
                  stream_out_stuck(p->out[FRAME_COPIES], r->now)))
        link_down(r, p);
    if (!p->up) {
        if (r->now >= p->hello_ms) {
            send_hello(r, p);
            p->hello_ms = r->now + LIMIT_HELLO_MS;
        }
        return;
    }
    if (r->now >= echo_due(p)) {
        p->echo_asked_ms = r->now;
        p->echo_out = link_push_mark(r, p, &(struct copy_record){.kind = COPY_ECHO});
    }
}

uint64_t link_deadline(const struct replica *r, const struct peer *p)
{
    uint64_t at = p->next_note_ms;

    (void)r;
    if (p->incarnation == 0)
        return NEVER;
    if (!p->up)
        return p->hello_ms;
    for (int i = 0; i < FRAME_STREAMS; i++) {
        uint64_t due = stream_out_deadline(p->out[i]);

        at = due < at ? due : at;
    }
    return echo_due(p) < at ? echo_due(p) : at;
}
