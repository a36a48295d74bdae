#include "node/policy/listing.h"

void listing_init(struct listing *l, const struct listing_facts *f)
{
    ASSERT(f->count <= LIMIT_DNSBL_LISTS && f->threshold > 0);
    l->count = f->count;
    l->threshold = f->threshold;
    for (size_t i = 0; i < f->count; i++) {
        struct listing_item *t = &l->items[i];

        t->list = &f->lists[i];
        t->result = (struct dnsbl_result){.status = DNSBL_NOT_LISTED};
        t->is_asked = t->is_cut = false;
        t->is_off = (f->on >> i & 1) == 0 || !dnsbl_name(t->list, &f->client, t->buf, &t->name);
        t->is_open = !t->is_off;
    }
}

size_t listing_questions(struct listing *l, struct question out[static LIMIT_DNSBL_LISTS])
{
    size_t n = 0;

    for (size_t i = 0; i < l->count; i++) {
        struct listing_item *t = &l->items[i];

        if (!t->is_open || t->is_asked)
            continue;
        t->is_asked = true;
        out[n++] = (struct question){DNS_A, t->name, (uint32_t)i};
    }
    return n;
}

void listing_answer(struct listing *l, uint32_t tag, const struct dns_answer *a)
{
    struct listing_item *t;

    if (tag >= l->count || !l->items[tag].is_open || !l->items[tag].is_asked)
        return;
    t = &l->items[tag];
    t->is_open = false;
    t->is_cut = a->cut;
    t->result = dnsbl_judge(t->list, a);
}

void listing_give_up(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].is_open)
            l->items[i].result.status = DNSBL_UNKNOWN;
        l->items[i].is_open = false;
    }
}

bool listing_is_done(const struct listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->items[i].is_open)
            return false;
    return true;
}

int64_t listing_weight(const struct listing *l)
{
    int64_t sum = 0;

    for (size_t i = 0; i < l->count; i++)
        if (l->items[i].result.status == DNSBL_LISTED)
            sum += l->items[i].result.weight;
    return sum;
}

static bool has_said_all(const struct listing_item *t)
{
    return !t->is_off && !t->is_cut && t->result.status != DNSBL_UNKNOWN &&
           t->result.status != DNSBL_UNAVAILABLE;
}

/* The most that the list could still take from the sum: zero or less. */
static int64_t unsaid(const struct listing_item *t)
{
    int32_t least = 0, said = t->result.weight < 0 ? t->result.weight : 0;

    if (has_said_all(t))
        return 0;
    for (size_t i = 0; i < t->list->range_count; i++)
        if (t->list->ranges[i].weight < least)
            least = t->list->ranges[i].weight;
    return (int64_t)least - said;
}

bool listing_is_listed(const struct listing *l)
{
    int64_t sum = listing_weight(l);

    for (size_t i = 0; i < l->count; i++)
        sum += unsaid(&l->items[i]);
    return sum >= l->threshold;
}

bool listing_is_unknown(const struct listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->items[i].result.status == DNSBL_UNKNOWN ||
            l->items[i].result.status == DNSBL_UNAVAILABLE)
            return true;
    return false;
}

const struct dnsbl_list *listing_heaviest(const struct listing *l)
{
    const struct listing_item *best = NULL;

    for (size_t i = 0; i < l->count; i++) {
        const struct listing_item *t = &l->items[i];

        if (t->result.status == DNSBL_LISTED &&
            (best == NULL || t->result.weight > best->result.weight))
            best = t;
    }
    return best != NULL ? best->list : NULL;
}
