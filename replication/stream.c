#include "replication/stream.h"

#include "base/arena.h"
#include "base/limits.h"
#include "base/pool.h"

/* A record waits as an entry of about this size, however few bytes it travels with. */
#define ENTRIES_MAX (LIMIT_STREAM_QUEUE_BYTES / 256)
/* What a frame has besides its records, at most. */
#define FRAME_HEAD_BYTES 512

/* Of large bodies, which wait for the window, and what overtakes them. */
enum { URGENT, BULK, FEED, QUEUES };

struct entry {
    struct stream_item item;
    uint64_t seq;     /* 0: waits */
    uint64_t sent_ms; /* the first time */
    uint32_t bytes, next;
    uint8_t queue;
};

struct chain {
    uint32_t first, last;
    uint64_t bytes, feed_bytes;
};

/* How much may fly. The way there and back without a queue is the best one of the last one or
 * two spans, and at most LIMIT_STREAM_WAY_MS: under a load that never ends no ack comes without
 * a queue, and each span would allow a longer one. */
struct pace {
    uint64_t window; /* bytes */
    uint64_t best_ms[2], span_ms;
    uint64_t brake_ms; /* not again before */
    bool is_short;     /* something waits for it */
};

#define PACE_SPAN_MS 30000

struct stream_out {
    struct arena arena; /* this struct lies in it */
    struct pool entries;
    enum frame_stream which;
    struct chain queues[QUEUES];
    struct chain flying; /* seq acked + 1 and on, without gaps */
    struct pace pace;
    uint64_t next_seq, acked;
    uint64_t generation; /* counts resets */
    uint32_t resend;     /* what flies from here on is to be sent again; 0: nothing */
    uint64_t due_ms;     /* then it is, if nothing is acknowledged; while something flies */
    uint64_t wait_ms;
    uint32_t tries; /* resends without progress */
    bool say_acked; /* many refusals: the peer may forget them */
    struct copy_record records[LIMIT_FRAME_RECORDS];
};

static struct entry *at(const struct stream_out *s, uint32_t e)
{
    return pool_at(&s->entries, e);
}

static void push_back(const struct stream_out *s, struct chain *c, uint32_t e)
{
    struct entry *x = at(s, e);

    x->next = 0;
    if (c->last != 0)
        at(s, c->last)->next = e;
    else
        c->first = e;
    c->last = e;
    c->bytes += x->bytes;
    c->feed_bytes += x->queue == FEED ? x->bytes : 0;
}

static uint32_t pop_front(const struct stream_out *s, struct chain *c)
{
    uint32_t e = c->first;
    const struct entry *x = at(s, e);

    c->first = x->next;
    if (c->first == 0)
        c->last = 0;
    c->bytes -= x->bytes;
    c->feed_bytes -= x->queue == FEED ? x->bytes : 0;
    return e;
}

static void let_go(struct stream_out *s, uint32_t e)
{
    struct entry *x = at(s, e);

    blob_release(&x->item.keep[0]);
    blob_release(&x->item.keep[1]);
    pool_give(&s->entries, e);
}

static void start_anew(struct stream_out *s)
{
    for (int q = 0; q < QUEUES; q++)
        s->queues[q] = (struct chain){0};
    s->flying = (struct chain){0};
    s->pace =
        (struct pace){.window = LIMIT_STREAM_FIRST_BYTES, .best_ms = {UINT64_MAX, UINT64_MAX}};
    s->next_seq = 1;
    s->acked = 0;
    s->generation++;
    s->resend = 0;
    s->wait_ms = LIMIT_RESEND_MS;
    s->tries = 0;
    s->say_acked = false;
}

struct stream_out *stream_out_new(enum frame_stream which)
{
    struct arena arena;
    struct stream_out *s;

    arena_init(&arena, sizeof *s + 64);
    s = arena_take(&arena, sizeof *s);
    if (s == NULL)
        return NULL;
    s->arena = arena;
    s->which = which;
    pool_init(&s->entries, sizeof(struct entry), ENTRIES_MAX);
    start_anew(s);
    return s;
}

void stream_out_reset(struct stream_out *s,
                      void (*lost)(void *ctx, const struct stream_item *i), void *ctx)
{
    struct chain old[] = {s->flying, s->queues[URGENT], s->queues[BULK], s->queues[FEED]};

    start_anew(s); /* first: lost() may push for the new link */
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        while (old[i].first != 0) {
            uint32_t e = pop_front(s, &old[i]);

            if (lost != NULL)
                lost(ctx, &at(s, e)->item);
            let_go(s, e);
        }
    }
}

void stream_out_free(struct stream_out **s)
{
    struct arena arena;

    if (*s == NULL)
        return;
    stream_out_reset(*s, NULL, NULL);
    pool_fini(&(*s)->entries);
    arena = (*s)->arena;
    arena_reset(&arena);
    *s = NULL;
}

static uint64_t waiting_bytes(const struct stream_out *s)
{
    return s->queues[URGENT].bytes + s->queues[BULK].bytes + s->queues[FEED].bytes;
}

/* A large body and its PUT stay in order; what is whole in one record need not wait for them.
 */
static int queue_of(const struct copy_record *rec, bool feed)
{
    if (feed)
        return FEED;
    return rec->kind == COPY_BODY || (rec->kind == COPY_PUT && rec->body_number != 0) ? BULK
                                                                                      : URGENT;
}

enum err stream_push(struct stream_out *s, const struct stream_item *item, bool feed)
{
    size_t bytes = frame_record_bytes(&item->record);
    struct entry *x;
    uint32_t e;

    ASSERT(bytes <= LIMIT_FRAME_BYTES - FRAME_HEAD_BYTES);
    if (waiting_bytes(s) + bytes > LIMIT_STREAM_QUEUE_BYTES)
        return E_FULL;
    e = pool_take(&s->entries);
    if (e == 0)
        return E_FULL;
    x = at(s, e);
    x->item = *item;
    blob_hold(x->item.keep[0]);
    blob_hold(x->item.keep[1]);
    x->bytes = (uint32_t)bytes;
    x->queue = (uint8_t)queue_of(&item->record, feed);
    push_back(s, &s->queues[x->queue], e);
    return OK;
}

/* --- sending --- */

static uint64_t less(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Something always flies when something waits, however large it is. Large bodies leave a little
 * room for what overtakes them. */
static bool fits_window(const struct stream_out *s, const struct entry *x)
{
    const struct chain *flying = &s->flying;
    uint64_t window = s->pace.window + (x->queue == URGENT ? LIMIT_STREAM_LEAST_BYTES : 0);

    if (x->queue == FEED && flying->feed_bytes > 0 &&
        flying->feed_bytes + x->bytes > less(LIMIT_FEED_WINDOW_BYTES, window / 2))
        return false;
    return flying->bytes == 0 || flying->bytes + x->bytes <= window;
}

/* It does not fit, and would if the window were larger. */
static bool is_short(const struct stream_out *s, const struct entry *x)
{
    return x->queue != FEED || s->pace.window / 2 < LIMIT_FEED_WINDOW_BYTES;
}

static uint64_t best_ms(struct pace *p, uint64_t took_ms, uint64_t now)
{
    if (now >= p->span_ms) {
        p->best_ms[1] = p->best_ms[0];
        p->best_ms[0] = UINT64_MAX;
        p->span_ms = now + PACE_SPAN_MS;
    }
    p->best_ms[0] = less(p->best_ms[0], took_ms);
    return less(less(p->best_ms[0], p->best_ms[1]), LIMIT_STREAM_WAY_MS);
}

/* So many bytes were acknowledged, the newest of them after took_ms. A window that nothing
 * waits for proves nothing and does not grow; one too large shrinks to what the way has carried
 * in the time that is not late. */
static void pace_step(struct pace *p, uint64_t bytes, uint64_t took_ms, uint64_t now)
{
    uint64_t best = best_ms(p, took_ms, now), fits;

    if (took_ms <= best + LIMIT_STREAM_DELAY_MS) {
        if (took_ms <= best + LIMIT_STREAM_DELAY_MS / 2 && p->is_short)
            p->window = less(p->window + bytes, LIMIT_STREAM_WINDOW_BYTES);
        return;
    }
    if (now < p->brake_ms)
        return;
    p->brake_ms = now + took_ms; /* once a round: what flies now was sent before */
    fits = p->window * (best + LIMIT_STREAM_DELAY_MS / 2) / took_ms;
    p->window = fits > LIMIT_STREAM_LEAST_BYTES ? fits : LIMIT_STREAM_LEAST_BYTES;
}

/* The queue whose first record goes next; NULL: none may. Feed never overtakes. */
static struct chain *next_queue(struct stream_out *s)
{
    s->pace.is_short = false;
    for (int q = 0; q < QUEUES; q++) {
        const struct entry *x;

        if (s->queues[q].first == 0)
            continue;
        x = at(s, s->queues[q].first);
        if (fits_window(s, x))
            return &s->queues[q];
        s->pace.is_short = is_short(s, x);
        return NULL;
    }
    return NULL;
}

static bool in_vain(const struct stream_out *s)
{
    return s->tries >= LIMIT_RESEND_TRIES;
}

/* No ack for too long: all that flies goes again. */
static void go_back(struct stream_out *s, uint64_t now)
{
    if (s->flying.first == 0 || now < s->due_ms || in_vain(s))
        return;
    s->resend = s->flying.first;
    s->tries++;
    s->wait_ms = s->wait_ms * 2 < LIMIT_RESEND_MAX_MS ? s->wait_ms * 2 : LIMIT_RESEND_MAX_MS;
    s->due_ms = now + s->wait_ms;
}

/* What goes next: what is sent again, before what is new; in any case with its number. */
static uint32_t next_entry(struct stream_out *s, uint64_t now, uint64_t room)
{
    struct chain *from;
    uint32_t e = s->resend;

    if (e != 0) {
        if (at(s, e)->bytes > room)
            return 0;
        s->resend = at(s, e)->next;
        return e;
    }
    from = next_queue(s);
    if (from == NULL || at(s, from->first)->bytes > room)
        return 0;
    e = pop_front(s, from);
    at(s, e)->seq = s->next_seq++;
    at(s, e)->sent_ms = now;
    if (s->flying.first == 0)
        s->due_ms = now + s->wait_ms;
    push_back(s, &s->flying, e);
    return e;
}

bool stream_next(struct stream_out *s, uint64_t now, struct frame *f)
{
    uint64_t room = LIMIT_FRAME_BYTES - FRAME_HEAD_BYTES;
    uint32_t n = 0, e;

    go_back(s, now);
    f->seq = s->resend != 0 ? at(s, s->resend)->seq : s->next_seq;
    while (n < LIMIT_FRAME_RECORDS && (e = next_entry(s, now, room)) != 0) {
        s->records[n++] = at(s, e)->item.record;
        room -= at(s, e)->bytes;
    }
    if (n == 0 && !s->say_acked)
        return false;
    s->say_acked = false;
    f->stream = s->which;
    f->acked = s->acked;
    f->records = s->records;
    f->record_count = n;
    return true;
}

uint64_t stream_out_deadline(const struct stream_out *s)
{
    for (int q = 0; q < QUEUES; q++) {
        if (s->queues[q].first != 0) {
            if (fits_window(s, at(s, s->queues[q].first)))
                return 0;
            break;
        }
    }
    if (s->resend != 0 || s->say_acked)
        return 0;
    return s->flying.first != 0 ? s->due_ms : UINT64_MAX;
}

bool stream_out_stuck(const struct stream_out *s, uint64_t now)
{
    return s->flying.first != 0 && in_vain(s) && now >= s->due_ms;
}

uint64_t stream_out_bytes(const struct stream_out *s)
{
    return waiting_bytes(s) + s->flying.bytes;
}

uint64_t stream_out_flying(const struct stream_out *s)
{
    return s->flying.bytes;
}

uint64_t stream_out_feed(const struct stream_out *s)
{
    return s->queues[FEED].bytes + s->flying.feed_bytes;
}

/* --- answers --- */

/* Refusals are of records below `upto`, each named once, in order. */
static bool ack_is_sound(const struct stream_out *s, const struct frame *ack)
{
    uint64_t before = 0;

    if (ack->upto >= s->next_seq || ack->refusal_count > LIMIT_FRAME_REFUSALS)
        return false;
    for (uint32_t i = 0; i < ack->refusal_count; i++) {
        if (ack->refusals[i].seq <= before || ack->refusals[i].seq > ack->upto)
            return false;
        before = ack->refusals[i].seq;
    }
    return true;
}

static void progress(struct stream_out *s, uint64_t now)
{
    s->tries = 0;
    s->wait_ms = LIMIT_RESEND_MS;
    s->due_ms = now + s->wait_ms;
}

static uint32_t take_settled(struct stream_out *s)
{
    uint32_t e;

    if (s->resend == s->flying.first)
        s->resend = at(s, s->resend)->next; /* no need to send it again */
    e = pop_front(s, &s->flying);
    s->acked = at(s, e)->seq;
    return e;
}

bool stream_acked(struct stream_out *s, const struct frame *ack, uint64_t now,
                  void (*done)(void *ctx, const struct stream_item *i,
                               const struct copy_answer *a, uint64_t took_ms),
                  void *ctx)
{
    const struct copy_answer ok = {.code = COPY_OK};
    uint64_t generation = s->generation, flew = s->flying.bytes, sent_ms = now;
    bool is_first = s->tries == 0; /* else nobody can say which sending it answers */
    uint32_t i = 0;

    if (!ack_is_sound(s, ack))
        return false;
    if (ack->upto > s->acked)
        progress(s, now);
    while (s->generation == generation && s->acked < ack->upto) {
        uint32_t e = take_settled(s);
        const struct entry *x = at(s, e);

        while (i < ack->refusal_count && ack->refusals[i].seq < x->seq)
            i++;
        sent_ms = x->sent_ms;
        done(ctx, &x->item,
             i < ack->refusal_count && ack->refusals[i].seq == x->seq ? &ack->refusals[i].answer
                                                                      : &ok,
             now - x->sent_ms);
        let_go(s, e);
    }
    if (s->generation == generation && is_first && s->flying.bytes < flew)
        pace_step(&s->pace, flew - s->flying.bytes, now - sent_ms, now);
    if (s->generation == generation && ack->refusal_count > LIMIT_FRAME_REFUSALS / 2)
        s->say_acked = true;
    return true;
}
