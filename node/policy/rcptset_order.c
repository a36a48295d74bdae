/* The orders in which the entries of an rcptset stand: a pairing heap (Fredman, Sedgewick,
 * Sleator, Tarjan 1986) for each class of a domain. And their bytes. */
#include "base/bigendian.h"
#include "base/utf8.h"
#include "node/policy/rcptset_internal.h"

enum rcptset_status rcptset_class(const struct rcptset_entry *e)
{
    uint64_t told_ms = e->valid.ms > e->invalid.ms ? e->valid.ms : e->invalid.ms;

    if (e->wanted_ms > e->asked_ms && e->wanted_ms > told_ms)
        return RCPTSET_UNKNOWN;
    return e->valid.ms > 0 && e->valid.ms >= e->invalid.ms ? RCPTSET_VALID : RCPTSET_INVALID;
}

uint64_t rcptset_rank(const struct rcptset_entry *e)
{
    uint64_t renew, again;

    switch (rcptset_class(e)) {
    case RCPTSET_UNKNOWN:
        return e->wanted_ms;
    case RCPTSET_INVALID:
    case RCPTSET_STATUSES:
        return e->invalid.ms > e->asked_ms ? e->invalid.ms : e->asked_ms;
    case RCPTSET_VALID:
        break;
    }
    renew = e->valid.ms + LIMIT_RCPTSET_RENEW_MS;
    again = e->asked_ms > 0 ? e->asked_ms + LIMIT_RCPTSET_REASK_MS : 0;
    return renew > again ? renew : again;
}

/* --- heaps --- */

static uint32_t meld(const struct rcptset *s, uint32_t a, uint32_t b)
{
    struct rcptset_item *x, *y;

    if (a == 0 || b == 0)
        return a != 0 ? a : b;
    if (rcptset_rank(&rcptset_at(s, b)->e) < rcptset_rank(&rcptset_at(s, a)->e)) {
        uint32_t t = a;

        a = b;
        b = t;
    }
    x = rcptset_at(s, a);
    y = rcptset_at(s, b);
    y->next = x->child;
    if (y->next != 0)
        rcptset_at(s, y->next)->before = b;
    y->before = a;
    x->child = b;
    return a;
}

/* Children become one heap: in pairs from the first on, then from the last pair back. */
static uint32_t meld_all(const struct rcptset *s, uint32_t first)
{
    uint32_t pairs = 0, top = 0;

    while (first != 0) {
        uint32_t second = rcptset_at(s, first)->next, rest = 0, one;

        if (second != 0)
            rest = rcptset_at(s, second)->next;
        rcptset_at(s, first)->next = rcptset_at(s, first)->before = 0;
        if (second != 0)
            rcptset_at(s, second)->next = rcptset_at(s, second)->before = 0;
        one = meld(s, first, second);
        rcptset_at(s, one)->next = pairs;
        pairs = one;
        first = rest;
    }
    while (pairs != 0) {
        uint32_t next = rcptset_at(s, pairs)->next;

        rcptset_at(s, pairs)->next = 0;
        top = meld(s, top, pairs);
        pairs = next;
    }
    return top;
}

void rcptset_join_class(struct rcptset *s, uint32_t handle)
{
    struct rcptset_item *it = rcptset_at(s, handle);
    struct rcptset_domain *d = rcptset_domain_at(s, it->domain);
    enum rcptset_status class = rcptset_class(&it->e);

    it->child = it->next = it->before = 0;
    d->top[class] = meld(s, d->top[class], handle);
    d->count[class]++;
    s->doubts += class != RCPTSET_VALID;
}

void rcptset_leave_class(struct rcptset *s, uint32_t handle)
{
    struct rcptset_item *it = rcptset_at(s, handle);
    struct rcptset_domain *d = rcptset_domain_at(s, it->domain);
    enum rcptset_status class = rcptset_class(&it->e);
    uint32_t *top = &d->top[class];
    uint32_t below = meld_all(s, it->child);

    if (*top == handle) {
        *top = below;
    } else {
        struct rcptset_item *before = rcptset_at(s, it->before);

        if (before->child == handle)
            before->child = it->next;
        else
            before->next = it->next;
        if (it->next != 0)
            rcptset_at(s, it->next)->before = it->before;
        *top = meld(s, *top, below);
    }
    it->child = it->next = it->before = 0;
    d->count[class]--;
    s->doubts -= class != RCPTSET_VALID;
}

/* --- domains --- */

static bool has_generation(const void *ctx, uint32_t value, const void *key)
{
    return rcptset_domain_at(ctx, value)->generation == *(const uint64_t *)key;
}

uint32_t rcptset_domain_find(const struct rcptset *s, uint64_t generation)
{
    return map_find(&s->domains, map_hash(&s->domains, &generation, sizeof generation),
                    has_generation, s, &generation);
}

bool rcptset_join(struct rcptset *s, uint32_t handle)
{
    struct rcptset_item *it = rcptset_at(s, handle);
    uint64_t generation = it->e.generation;

    it->domain = rcptset_domain_find(s, generation);
    if (it->domain == 0) {
        it->domain = pool_take(&s->domain_pool);
        if (it->domain == 0)
            return false;
        rcptset_domain_at(s, it->domain)->generation = generation;
        if (map_put(&s->domains, map_hash(&s->domains, &generation, sizeof generation),
                    it->domain) != OK) {
            pool_give(&s->domain_pool, it->domain);
            return false;
        }
    }
    rcptset_join_class(s, handle);
    return true;
}

void rcptset_leave(struct rcptset *s, uint32_t handle)
{
    uint32_t domain = rcptset_at(s, handle)->domain;
    struct rcptset_domain *d = rcptset_domain_at(s, domain);

    rcptset_leave_class(s, handle);
    if (d->count[RCPTSET_UNKNOWN] + d->count[RCPTSET_VALID] + d->count[RCPTSET_INVALID] > 0)
        return;
    map_remove(&s->domains, map_hash(&s->domains, &d->generation, sizeof d->generation),
               domain);
    pool_give(&s->domain_pool, domain);
}

/* --- bytes --- */

size_t rcptset_pack(const struct rcptset_entry *e, uint8_t out[static RCPTSET_ENTRY_BYTES])
{
    put_be(out, 8, e->generation);
    put_be(out + 8, 8, e->valid.ms);
    put_be(out + 16, 8, e->invalid.ms);
    put_be(out + 24, 8, e->asked_ms);
    put_be(out + 32, 8, e->wanted_ms);
    out[40] = (uint8_t)((unsigned)e->valid.source << 4 | (unsigned)e->invalid.source);
    out[41] = e->local_bytes;
    memcpy(out + RCPTSET_HEAD_BYTES, e->local, e->local_bytes);
    return RCPTSET_HEAD_BYTES + e->local_bytes;
}

static bool is_sound_fact(struct rcptset_fact f)
{
    return f.source < RCPTSET_SOURCES && (f.source == RCPTSET_NOBODY) == (f.ms == 0);
}

/* What could break a command line is no local part. */
static bool is_sound(const struct rcptset_entry *e)
{
    if (e->generation == 0 || !is_sound_fact(e->valid) || !is_sound_fact(e->invalid))
        return false;
    return utf8_is_text((struct str){e->local, e->local_bytes});
}

enum err rcptset_unpack(struct str *bytes, struct rcptset_entry *out)
{
    const char *p = bytes->p;
    size_t n = bytes->n >= RCPTSET_HEAD_BYTES ? (uint8_t)p[41] : 0;

    *out = (struct rcptset_entry){.generation = 0};
    if (n == 0 || n > LIMIT_SMTP_LOCAL_PART_BYTES || bytes->n - RCPTSET_HEAD_BYTES < n)
        return E_PROTO;
    out->generation = get_be(p, 8);
    out->valid =
        (struct rcptset_fact){get_be(p + 8, 8), (enum rcptset_source)((uint8_t)p[40] >> 4)};
    out->invalid = (struct rcptset_fact){get_be(p + 16, 8), (enum rcptset_source)(p[40] & 15)};
    out->asked_ms = get_be(p + 24, 8);
    out->wanted_ms = get_be(p + 32, 8);
    out->local_bytes = (uint8_t)n;
    memcpy(out->local, p + RCPTSET_HEAD_BYTES, n);
    if (!is_sound(out))
        return E_PROTO;
    *bytes = str_from(*bytes, RCPTSET_HEAD_BYTES + n);
    return OK;
}
