#include "replication/stream.h"

#include "base/arena.h"
#include "base/limits.h"
#include "base/pool.h"

/* Records taken and not yet done. The window of the peer's stream holds fewer. */
#define PENDING_MAX (LIMIT_STREAM_WINDOW_BYTES / 64)
#define PAGE        UINT64_C(64)
#define PAGES       (PENDING_MAX / PAGE + 1)

struct page {
    uint64_t done; /* bit set */
    struct copy_answer answers[PAGE];
};

struct stream_in {
    struct arena arena; /* this struct lies in it */
    struct pool pool;
    enum frame_stream which;
    uint64_t next; /* the seq that is taken next */
    uint64_t upto; /* done, and answers kept, up to here */
    bool ack_due;
    uint32_t refusal_count;
    struct frame_refusal refusals[LIMIT_FRAME_REFUSALS];
    uint32_t pages[PAGES]; /* of seq n: [n / PAGE % PAGES]; 0: none */
};

static uint32_t *page_of(struct stream_in *s, uint64_t seq)
{
    return &s->pages[seq / PAGE % PAGES];
}

static void drop_pages(struct stream_in *s)
{
    for (size_t i = 0; i < PAGES; i++) {
        if (s->pages[i] != 0)
            pool_give(&s->pool, s->pages[i]);
        s->pages[i] = 0;
    }
}

struct stream_in *stream_in_new(enum frame_stream which)
{
    struct arena arena;
    struct stream_in *s;

    arena_init(&arena, sizeof *s + 64);
    s = arena_take(&arena, sizeof *s);
    if (s == NULL)
        return NULL;
    s->arena = arena;
    s->which = which;
    s->next = 1;
    pool_init(&s->pool, sizeof(struct page), PAGES);
    return s;
}

void stream_in_free(struct stream_in **s)
{
    struct arena arena;

    if (*s == NULL)
        return;
    pool_fini(&(*s)->pool);
    arena = (*s)->arena;
    arena_reset(&arena);
    *s = NULL;
}

void stream_in_reset(struct stream_in *s)
{
    drop_pages(s);
    s->next = 1;
    s->upto = 0;
    s->ack_due = false;
    s->refusal_count = 0;
}

/* The peer has seen the answers up to `acked`: these need not be told again. */
static void forget_refusals(struct stream_in *s, uint64_t acked)
{
    uint32_t gone = 0;

    while (gone < s->refusal_count && s->refusals[gone].seq <= acked)
        gone++;
    s->refusal_count -= gone;
    memmove(s->refusals, s->refusals + gone, s->refusal_count * sizeof *s->refusals);
}

/* Moves `upto` over what is done. A refusal that cannot be kept cannot be acknowledged. */
static void advance(struct stream_in *s)
{
    while (s->upto + 1 < s->next) {
        uint64_t seq = s->upto + 1;
        struct page *p = pool_at(&s->pool, *page_of(s, seq));
        const struct copy_answer *a = &p->answers[seq % PAGE];

        if ((p->done >> seq % PAGE & 1) == 0)
            return;
        if (a->code != COPY_OK) {
            if (s->refusal_count == LIMIT_FRAME_REFUSALS)
                return;
            s->refusals[s->refusal_count++] = (struct frame_refusal){seq, *a};
        }
        s->upto = seq;
        s->ack_due = true;
        if (seq % PAGE == PAGE - 1) {
            pool_give(&s->pool, *page_of(s, seq));
            *page_of(s, seq) = 0;
        }
    }
}

/* A place for the answer of `next`. False: too much is not done yet. */
static bool make_place(struct stream_in *s)
{
    uint32_t *page = page_of(s, s->next);

    if (s->next - s->upto > PENDING_MAX)
        return false;
    if (*page == 0)
        *page = pool_take(&s->pool);
    return *page != 0;
}

uint32_t stream_in_take(struct stream_in *s, const struct frame *f, uint32_t *from)
{
    uint32_t n = 0;

    if (f->acked <= s->upto) {
        forget_refusals(s, f->acked);
        advance(s);
    }
    *from = 0;
    if (f->record_count == 0)
        return 0;
    if (f->seq > s->next || s->next - f->seq >= f->record_count) {
        s->ack_due = true; /* a gap, or known: the peer should hear how far we are */
        return 0;
    }
    *from = (uint32_t)(s->next - f->seq);
    while (n < f->record_count - *from && make_place(s)) {
        s->next++;
        n++;
    }
    return n;
}

void stream_in_done(struct stream_in *s, uint64_t seq, const struct copy_answer *a)
{
    struct page *p;

    ASSERT(seq > s->upto && seq < s->next);
    p = pool_at(&s->pool, *page_of(s, seq));
    ASSERT((p->done >> seq % PAGE & 1) == 0);
    p->done |= UINT64_C(1) << seq % PAGE;
    p->answers[seq % PAGE] = *a;
    advance(s);
}

bool stream_in_ack(struct stream_in *s, struct frame *f)
{
    if (!s->ack_due)
        return false;
    s->ack_due = false;
    f->stream = s->which;
    f->upto = s->upto;
    f->refusals = s->refusals;
    f->refusal_count = s->refusal_count;
    return true;
}

uint64_t stream_in_next(const struct stream_in *s)
{
    return s->next;
}

uint64_t stream_in_pending(const struct stream_in *s)
{
    return s->next - 1 - s->upto;
}
