#include "cluster-tools/load/targets.h"

#include "base/assert.h"
#include "cluster-tools/common/number.h"

#define MAX_PREFERENCE 65535 /* RFC 5321 5.1, RFC 1035 3.3.9: 16 bits */

static enum err add_one(struct targets *t, struct str text)
{
    struct address found[LIMIT_TOOL_TARGETS];
    uint64_t preference = TARGETS_DEFAULT_PREFERENCE;
    bool with_preference = str_find(text, '/') < text.n;
    struct str where = str_split(&text, '/');
    size_t n;
    enum err e;

    if (with_preference && number_count(text, MAX_PREFERENCE, &preference) != OK)
        return E_PROTO;
    if (t->n == LIMIT_TOOL_TARGETS)
        return E_FULL;
    e = address_resolve(where, found, LIMIT_TOOL_TARGETS - t->n, &n);
    if (e != OK)
        return e;
    for (size_t i = 0; i < n; i++)
        t->list[t->n++] = (struct target){
            .address = found[i],
            .preference = (unsigned)preference,
        };
    return OK;
}

enum err targets_add(struct targets *t, struct str text, struct str *bad)
{
    bool more;

    do {
        struct str one;
        enum err e;

        more = str_find(text, ',') < text.n;
        one = str_split(&text, ',');
        e = add_one(t, one);
        if (e != OK) {
            *bad = one;
            return e;
        }
    } while (more);
    return OK;
}

/* Insertion sort by preference with a random draw among equals; n is small. */
static void put_in_order(struct walk *w, const struct targets *t, struct prng *prng)
{
    uint64_t draw[LIMIT_TOOL_TARGETS];

    for (size_t i = 0; i < t->n; i++)
        draw[i] = prng_next(prng);
    for (size_t i = 0; i < t->n; i++) {
        size_t at = i;

        for (; at > 0; at--) {
            size_t before = w->order[at - 1];
            unsigned p = t->list[before].preference, mine = t->list[i].preference;

            if (p < mine || (p == mine && draw[before] <= draw[i]))
                break;
            w->order[at] = w->order[at - 1];
        }
        w->order[at] = (uint8_t)i;
    }
}

void walk_start(struct walk *w, const struct targets *t, struct prng *prng, int current)
{
    unsigned at = 0;

    static_assert(LIMIT_TOOL_TARGETS <= UINT8_MAX, "order[] holds bytes");
    *w = (struct walk){.n = (unsigned)t->n};
    put_in_order(w, t, prng);
    if (current == TARGETS_NONE)
        return;
    /* As with a sender's session cache: an open session is tried before any preference. */
    for (; w->order[at] != current; at++)
        ASSERT(at + 1 < w->n);
    for (; at > 0; at--)
        w->order[at] = w->order[at - 1];
    w->order[0] = (uint8_t)current;
    w->pos = w->addresses = w->sessions = 1;
}

int walk_next(struct walk *w, const struct targets *t, struct walk_budget b, uint64_t now_us)
{
    while (w->pos < w->n) {
        uint8_t i = w->order[w->pos];
        bool last = w->pos + 1 == w->n;

        if ((b.addresses > 0 && w->addresses >= b.addresses) ||
            (b.sessions > 0 && w->sessions >= b.sessions))
            return TARGETS_NONE;
        w->pos++;
        if (t->list[i].down_until_us > now_us && !last)
            continue;
        w->addresses++;
        return i;
    }
    return TARGETS_NONE;
}

void walk_completed(struct walk *w)
{
    w->sessions++;
}
