#include "replication/rset.h"

struct span_item {
    struct otree_node n; /* key: the first id */
    uint64_t to;         /* counter of the last one */
};

static struct span_item *item_at(const struct rset *s, uint32_t h)
{
    return otree_at(&s->spans, h);
}

static bool is_of(struct mid id, struct rset_span span)
{
    return mid_site(id) == span.site && mid_epoch(id) == span.epoch;
}

void rset_init(struct rset *s, uint32_t ceiling)
{
    otree_init(&s->spans, sizeof(struct span_item), ceiling);
    s->ids = 0;
}

void rset_fini(struct rset *s)
{
    otree_fini(&s->spans);
    s->ids = 0;
}

void rset_clear(struct rset *s)
{
    uint32_t ceiling = s->spans.pool.ceiling;

    rset_fini(s);
    rset_init(s, ceiling);
}

/* The interval that holds the counter, or the last one before it; 0: none of this session. */
static uint32_t span_floor(const struct rset *s, struct rset_span span, uint64_t counter)
{
    uint32_t h = otree_floor(&s->spans, mid_make(span.site, span.epoch, counter));

    return h != 0 && is_of(item_at(s, h)->n.key, span) ? h : 0;
}

static uint32_t span_ceil(const struct rset *s, struct rset_span span, uint64_t counter)
{
    uint32_t h = otree_ceil(&s->spans, mid_make(span.site, span.epoch, counter));

    return h != 0 && is_of(item_at(s, h)->n.key, span) ? h : 0;
}

static void drop(struct rset *s, uint32_t h)
{
    struct span_item *i = item_at(s, h);

    s->ids -= i->to - mid_counter(i->n.key) + 1;
    otree_remove(&s->spans, h);
}

bool rset_add(struct rset *s, struct rset_span span)
{
    uint32_t h = span_floor(s, span, span.from), next;
    struct span_item *i = h != 0 ? item_at(s, h) : NULL;
    uint64_t from;

    ASSERT(span.from <= span.to);
    if (i != NULL && i->to >= span.to)
        return true;
    if (i == NULL || (i->to < span.from && i->to + 1 < span.from)) {
        h = otree_add(&s->spans, mid_make(span.site, span.epoch, span.from));
        if (h == 0)
            return false;
        i = item_at(s, h);
        i->to = span.to;
        s->ids += span.to - span.from + 1;
    } else {
        s->ids += span.to - i->to;
        i->to = span.to;
    }
    /* what the longer interval covers or touches now */
    from = mid_counter(i->n.key);
    while (from < UINT64_MAX && (next = span_ceil(s, span, from + 1)) != 0) {
        uint64_t at = mid_counter(item_at(s, next)->n.key), to = item_at(s, next)->to;

        if (at > i->to && at - 1 > i->to)
            break;
        drop(s, next);
        if (to > i->to) {
            s->ids += to - i->to;
            i->to = to;
        }
        /* it was counted within i already as far as they overlap */
    }
    return true;
}

bool rset_remove(struct rset *s, struct rset_span span)
{
    uint32_t h = span_floor(s, span, span.from);

    ASSERT(span.from <= span.to);
    if (h != 0 && item_at(s, h)->to >= span.from &&
        mid_counter(item_at(s, h)->n.key) < span.from) {
        struct span_item *i = item_at(s, h);
        uint64_t to = i->to;

        s->ids -= to - span.from + 1;
        i->to = span.from - 1;
        if (to > span.to)
            return rset_add(s, (struct rset_span){span.site, span.epoch, span.to + 1, to});
    }
    while ((h = span_ceil(s, span, span.from)) != 0 &&
           mid_counter(item_at(s, h)->n.key) <= span.to) {
        uint64_t to = item_at(s, h)->to;

        drop(s, h);
        if (to > span.to)
            return rset_add(s, (struct rset_span){span.site, span.epoch, span.to + 1, to});
    }
    return true;
}

static struct rset_span one(struct mid id)
{
    uint64_t c = mid_counter(id);

    return (struct rset_span){mid_site(id), mid_epoch(id), c, c};
}

bool rset_add_id(struct rset *s, struct mid id)
{
    return rset_add(s, one(id));
}

bool rset_remove_id(struct rset *s, struct mid id)
{
    return rset_remove(s, one(id));
}

bool rset_covers(const struct rset *s, struct rset_span span)
{
    uint32_t h = span_floor(s, span, span.from);

    return h != 0 && item_at(s, h)->to >= span.to;
}

bool rset_has(const struct rset *s, struct mid id)
{
    return rset_covers(s, one(id));
}

static struct rset_span span_of(const struct rset *s, uint32_t h)
{
    const struct span_item *i = item_at(s, h);

    return (struct rset_span){mid_site(i->n.key), mid_epoch(i->n.key), mid_counter(i->n.key),
                              i->to};
}

bool rset_next(const struct rset *s, struct mid from, struct rset_span *out)
{
    uint32_t h = span_floor(s, one(from), mid_counter(from));

    if (h != 0 && item_at(s, h)->to >= mid_counter(from)) {
        *out = span_of(s, h);
        out->from = mid_counter(from);
        return true;
    }
    h = otree_ceil(&s->spans, from);
    if (h == 0)
        return false;
    *out = span_of(s, h);
    return true;
}

bool rset_cut(const struct rset *s, struct rset_span within, struct rset_span *out)
{
    if (!rset_next(s, mid_make(within.site, within.epoch, within.from), out))
        return false;
    if (out->site != within.site || out->epoch != within.epoch || out->from > within.to)
        return false;
    if (out->to > within.to)
        out->to = within.to;
    return true;
}

void rset_drop_below(struct rset *s, uint16_t site, uint64_t epoch)
{
    uint32_t h;

    while ((h = otree_ceil(&s->spans, mid_make(site, 0, 0))) != 0) {
        struct rset_span span = span_of(s, h);

        if (span.site != site || span.epoch >= epoch)
            return;
        drop(s, h);
    }
}

struct mid rset_after(struct rset_span span)
{
    return span.to == UINT64_MAX ? mid_make(span.site, span.epoch + 1, 0)
                                 : mid_make(span.site, span.epoch, span.to + 1);
}

void rset_check(const struct rset *s)
{
    struct mid at = {0};
    struct rset_span span, last = {0};
    uint64_t ids = 0;
    uint32_t count = 0;

    otree_check(&s->spans);
    for (; rset_next(s, at, &span); at = rset_after(span), count++) {
        ASSERT(span.from <= span.to);
        ASSERT(count == 0 || last.site != span.site || last.epoch != span.epoch ||
               last.to + 1 < span.from);
        ids += span.to - span.from + 1;
        last = span;
    }
    ASSERT(ids == s->ids && count == otree_count(&s->spans));
}
