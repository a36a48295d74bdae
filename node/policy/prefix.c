#include "node/policy/prefix.h"

#include <stdio.h>
#include <stdlib.h>

#define DEPTH  (IP_BITS + 1) /* networks that can lie within each other */
#define STRIDE 64

struct wide {
    uint64_t high, low;
};

/* Addresses of which most differ in the first half: then the second one is not looked at. */
struct halves {
    uint64_t *high, *low;
};

/* Ranges of IPv4: from4[i] up to from4[i + 1], or to the end. entry4[i] is 1 + the index of the
 * entry that its addresses belong to, 0: none. The first begins at 0. top4: every STRIDE-th of
 * from4, so few that they stay in the cache: of a million networks, what is not costs a
 * microsecond. The same of IPv6. */
struct prefix_set {
    struct arena memory; /* all of this lies in it, this struct included */
    struct prefix_entry *entries;
    uint32_t count;
    uint32_t *from4, *entry4, *top4;
    uint32_t count4;
    struct halves from6, top6;
    uint32_t *entry6;
    uint32_t count6;
};

/* --- one network --- */

enum prefix_verdict prefix_parse(struct str text, struct prefix *out)
{
    struct str head = str_head(text, str_find(text, '/'));
    struct ip_addr ip, net;
    uint64_t length;
    unsigned bits, base;

    if (!ip_parse(head, &ip))
        return PREFIX_NO_ADDRESS;
    /* ::ffff:192.0.2.0/120 has a length of IPv6 and is 192.0.2.0/24 */
    base = ip_is_v4(&ip) && str_find(head, ':') == head.n ? IP_V4_BITS : 0;
    bits = IP_BITS;
    if (head.n < text.n) {
        struct str tail = str_from(text, head.n + 1);

        if (tail.n > 3 || (tail.n > 1 && tail.p[0] == '0') || !str_to_u64(tail, &length) ||
            length > IP_BITS - base)
            return PREFIX_NO_LENGTH;
        bits = base + (unsigned)length;
    }
    net = ip_network(&ip, bits);
    *out = (struct prefix){net, (uint8_t)bits};
    return ip_eq(&net, &ip) ? PREFIX_OK : PREFIX_HOST_BITS;
}

const char *prefix_verdict_text(enum prefix_verdict v)
{
    switch (v) {
    case PREFIX_OK:
        return "a network";
    case PREFIX_NO_ADDRESS:
        return "not an IPv4 or IPv6 address";
    case PREFIX_NO_LENGTH:
        return "the length behind the slash is not 0 to 32 (IPv4) or 0 to 128 (IPv6)";
    case PREFIX_HOST_BITS:
        return "the address has bits set behind the length of its network";
    }
    ASSERT(v == PREFIX_OK);
    return "";
}

static bool is_v4(const struct prefix *p)
{
    return p->bits >= IP_V4_BITS && ip_is_v4(&p->ip);
}

struct str prefix_text(const struct prefix *p, char buf[static PREFIX_TEXT_BYTES])
{
    size_t n = ip_text(&p->ip, buf).n;
    int more = snprintf(buf + n, PREFIX_TEXT_BYTES - n, "/%d",
                        is_v4(p) ? p->bits - IP_V4_BITS : p->bits);

    ASSERT(more > 0 && n + (size_t)more < PREFIX_TEXT_BYTES);
    return (struct str){buf, n + (size_t)more};
}

bool prefix_holds(const struct prefix *p, const struct ip_addr *ip)
{
    struct ip_addr net = ip_network(ip, p->bits);

    return ip_eq(&net, &p->ip) && is_v4(p) == ip_is_v4(ip);
}

/* --- building --- */

static uint64_t load_word(const uint8_t b[8])
{
    uint64_t w = 0;

    for (int i = 0; i < 8; i++)
        w = w << 8 | b[i];
    return w;
}

static struct wide wide_of(const struct ip_addr *ip)
{
    return (struct wide){load_word(ip->b), load_word(ip->b + 8)};
}

/* The first address behind the network. False: there is none. */
static bool after(const struct prefix *p, struct wide *out)
{
    struct wide w = wide_of(&p->ip);

    if (p->bits == 0)
        return false;
    if (p->bits > 64) {
        w.low += UINT64_C(1) << (IP_BITS - p->bits);
        w.high += w.low == 0;
    } else {
        w.high += UINT64_C(1) << (64 - p->bits);
    }
    if (is_v4(p) && w.low >> 32 != 0xffff)
        return false;
    *out = w;
    return w.high != 0 || w.low != 0;
}

/* IPv4 first, then by address, the outer network first; of equal ones in the order given. */
static int compare(const void *left, const void *right)
{
    const struct prefix_entry *a = left, *b = right;
    int order = (int)is_v4(&b->prefix) - (int)is_v4(&a->prefix);

    if (order == 0)
        order = memcmp(a->prefix.ip.b, b->prefix.ip.b, sizeof a->prefix.ip.b);
    return order != 0 ? order : (int)a->prefix.bits - (int)b->prefix.bits;
}

static bool is_same(const struct prefix_entry *a, const struct prefix_entry *b)
{
    return compare(a, b) == 0;
}

/* Sorted, each network once, with its last value. While sorting, `value` is the position in
 * `given`, which makes the order of equal ones known. */
static int compare_positions(const void *left, const void *right)
{
    const struct prefix_entry *a = left, *b = right;
    int order = compare(left, right);

    return order != 0 ? order : (a->value > b->value) - (a->value < b->value);
}

static void sort(struct prefix_set *set, const struct prefix_entry *given, size_t count)
{
    struct prefix_entry *e = set->entries;
    uint32_t kept = 0;

    for (size_t i = 0; i < count; i++)
        e[i] = (struct prefix_entry){given[i].prefix, (uint32_t)i};
    if (count > 0)
        qsort(e, count, sizeof *e, compare_positions);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && is_same(&e[i], &e[i + 1]))
            continue;
        e[kept] = e[i];
        e[kept].value = given[e[i].value].value;
        kept++;
    }
    set->count = kept;
}

/* From here on the addresses belong to `entry`. */
static void emit4(struct prefix_set *set, struct wide from, uint32_t entry)
{
    uint32_t low = (uint32_t)from.low;

    if (set->count4 > 0 && set->from4[set->count4 - 1] == low)
        set->count4--;
    if (set->count4 > 0 && set->entry4[set->count4 - 1] == entry)
        return;
    set->from4[set->count4] = low;
    set->entry4[set->count4++] = entry;
}

static void emit6(struct prefix_set *set, struct wide from, uint32_t entry)
{
    if (set->count6 > 0 && set->from6.high[set->count6 - 1] == from.high &&
        set->from6.low[set->count6 - 1] == from.low)
        set->count6--;
    if (set->count6 > 0 && set->entry6[set->count6 - 1] == entry)
        return;
    set->from6.high[set->count6] = from.high;
    set->from6.low[set->count6] = from.low;
    set->entry6[set->count6++] = entry;
}

typedef void emit_fn(struct prefix_set *set, struct wide from, uint32_t entry);

/* Entries first .. end, of one family and sorted, into ranges. The open networks, each within
 * the one before, stand on a stack. */
static void flatten(struct prefix_set *set, uint32_t first, uint32_t end, emit_fn *emit)
{
    uint32_t open[DEPTH];
    uint32_t depth = 0;
    struct wide next;

    emit(set, (struct wide){0, 0}, 0);
    for (uint32_t i = first; i < end; i++) {
        const struct prefix *p = &set->entries[i].prefix;

        while (depth > 0 && !prefix_holds(&set->entries[open[depth - 1] - 1].prefix, &p->ip)) {
            depth--;
            if (after(&set->entries[open[depth] - 1].prefix, &next))
                emit(set, next, depth > 0 ? open[depth - 1] : 0);
        }
        ASSERT(depth < DEPTH);
        open[depth++] = i + 1;
        emit(set, wide_of(&p->ip), i + 1);
    }
    while (depth-- > 0)
        if (after(&set->entries[open[depth] - 1].prefix, &next))
            emit(set, next, depth > 0 ? open[depth - 1] : 0);
}

static void take_tops(struct prefix_set *set)
{
    for (uint32_t i = 0; i < set->count4; i += STRIDE)
        set->top4[i / STRIDE] = set->from4[i];
    for (uint32_t i = 0; i < set->count6; i += STRIDE) {
        set->top6.high[i / STRIDE] = set->from6.high[i];
        set->top6.low[i / STRIDE] = set->from6.low[i];
    }
}

static size_t rounded(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15; /* as the arena does */
}

/* Everything at once, so that the set is one piece of memory. */
static struct prefix_set *take_memory(size_t count, size_t v4)
{
    size_t ranges4 = 2 * v4 + 1, ranges6 = 2 * (count - v4) + 1;
    size_t sizes[] = {rounded(sizeof(struct prefix_set)),
                      rounded(count * sizeof(struct prefix_entry)),
                      rounded((ranges6 / STRIDE + 1) * sizeof(uint64_t)),
                      rounded((ranges6 / STRIDE + 1) * sizeof(uint64_t)),
                      rounded(ranges6 * sizeof(uint64_t)),
                      rounded(ranges6 * sizeof(uint64_t)),
                      rounded(ranges6 * sizeof(uint32_t)),
                      rounded((ranges4 / STRIDE + 1) * sizeof(uint32_t)),
                      rounded(ranges4 * sizeof(uint32_t)),
                      rounded(ranges4 * sizeof(uint32_t))};
    size_t total = 0;
    struct arena memory;
    struct prefix_set *set;
    char *p;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        total += sizes[i];
    arena_init(&memory, total);
    p = arena_take(&memory, total);
    if (p == NULL)
        return NULL;
    set = (struct prefix_set *)p;
    set->memory = memory;
    set->entries = (struct prefix_entry *)(p += sizes[0]);
    set->top6.high = (uint64_t *)(p += sizes[1]);
    set->top6.low = (uint64_t *)(p += sizes[2]);
    set->from6.high = (uint64_t *)(p += sizes[3]);
    set->from6.low = (uint64_t *)(p += sizes[4]);
    set->entry6 = (uint32_t *)(p += sizes[5]);
    set->top4 = (uint32_t *)(p += sizes[6]);
    set->from4 = (uint32_t *)(p += sizes[7]);
    set->entry4 = (uint32_t *)(p + sizes[8]);
    return set;
}

struct prefix_set *prefix_set_new(const struct prefix_entry *entries, size_t count)
{
    struct prefix_set *set;
    size_t v4 = 0;
    uint32_t end4 = 0;

    if (count > LIMIT_PREFIXES)
        return NULL;
    for (size_t i = 0; i < count; i++)
        v4 += is_v4(&entries[i].prefix);
    set = take_memory(count, v4);
    if (set == NULL)
        return NULL;
    sort(set, entries, count);
    while (end4 < set->count && is_v4(&set->entries[end4].prefix))
        end4++;
    flatten(set, 0, end4, emit4);
    flatten(set, end4, set->count, emit6);
    take_tops(set);
    return set;
}

void prefix_set_free(struct prefix_set **set)
{
    prefix_set_drop(*set);
    *set = NULL;
}

void prefix_set_drop(void *set)
{
    struct arena memory;

    if (set == NULL)
        return;
    memory = ((struct prefix_set *)set)->memory;
    arena_reset(&memory);
}

/* --- reading --- */

/* The last of from[low] .. from[high - 1] that is not above the address; from[low] is not. */
static uint32_t last4(const uint32_t *from, uint32_t low, uint32_t high, uint32_t address)
{
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (from[middle] <= address)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bool is_above(const struct halves *from, uint32_t i, struct wide address)
{
    return from->high[i] != address.high ? from->high[i] > address.high
                                         : from->low[i] > address.low;
}

static uint32_t last6(const struct halves *from, uint32_t low, uint32_t high,
                      struct wide address)
{
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (is_above(from, middle, address))
            high = middle;
        else
            low = middle;
    }
    return low;
}

static uint32_t tops(uint32_t count)
{
    return (count + STRIDE - 1) / STRIDE;
}

static uint32_t end_of(uint32_t top, uint32_t count)
{
    return top * STRIDE + STRIDE < count ? top * STRIDE + STRIDE : count;
}

static uint32_t find4(const struct prefix_set *set, uint32_t address)
{
    uint32_t top = last4(set->top4, 0, tops(set->count4), address);

    return set->entry4[last4(set->from4, top * STRIDE, end_of(top, set->count4), address)];
}

static uint32_t find6(const struct prefix_set *set, struct wide address)
{
    uint32_t top = last6(&set->top6, 0, tops(set->count6), address);

    return set->entry6[last6(&set->from6, top * STRIDE, end_of(top, set->count6), address)];
}

const struct prefix_entry *prefix_set_find(const struct prefix_set *set,
                                           const struct ip_addr *ip)
{
    struct wide address = wide_of(ip);
    uint32_t entry = ip_is_v4(ip) ? find4(set, (uint32_t)address.low) : find6(set, address);

    return entry > 0 ? &set->entries[entry - 1] : NULL;
}

size_t prefix_set_count(const struct prefix_set *set)
{
    return set->count;
}

size_t prefix_set_bytes(const struct prefix_set *set)
{
    return set->memory.used;
}
