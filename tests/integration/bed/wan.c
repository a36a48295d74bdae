#include "tests/integration/bed/wan.h"

#include <stdlib.h>
#include <sys/socket.h>

#define NS_PER_S            UINT64_C(1000000000)
#define MILLION             1000000
#define DEFAULT_QUEUE_BYTES (256 << 10)
#define HEADER_BYTES        40 /* of IP, about: damage hits what follows */

void wan_seed(struct wan *w, uint64_t seed)
{
    for (size_t i = 0; i < WAN_SITES; i++)
        for (size_t j = 0; j < WAN_SITES; j++) {
            struct prng *r = &w->links[i][j].prng;

            prng_seed(r, seed + (i * WAN_SITES + j + 1) * UINT64_C(0xBF58476D1CE4E5B9));
            for (int k = 0; k < 8; k++)
                prng_next(r); /* neighbouring seeds begin alike */
        }
}

void wan_init(struct wan *w, uint64_t seed)
{
    *w = (struct wan){0};
    wan_seed(w, seed);
}

void wan_fini(struct wan *w)
{
    for (size_t i = 0; i < w->heap_count; i++)
        free(w->heap[i].bytes);
    free(w->heap);
    *w = (struct wan){0};
}

/* --- packets in flight, a binary heap --- */

static bool is_before(const struct wan_packet *a, const struct wan_packet *b)
{
    return a->due != b->due ? a->due < b->due : a->number < b->number;
}

static void sift_down(struct wan *w, size_t i)
{
    struct wan_packet p = w->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && is_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!is_before(&w->heap[child], &p))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = p;
}

static void push(struct wan *w, struct wan_packet p)
{
    size_t i = w->heap_count++;

    if (i == w->heap_room) {
        w->heap_room = i > 0 ? 2 * i : 4096;
        w->heap = reallocarray(w->heap, w->heap_room, sizeof(*w->heap));
        if (w->heap == NULL)
            abort();
    }
    for (; i > 0 && is_before(&p, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = p;
}

static struct wan_packet pop(struct wan *w)
{
    struct wan_packet first = w->heap[0];

    w->heap[0] = w->heap[--w->heap_count];
    if (w->heap_count > 0)
        sift_down(w, 0);
    return first;
}

uint64_t wan_next(const struct wan *w)
{
    return w->heap_count > 0 ? w->heap[0].due : WAN_HELD;
}

bool wan_give(struct wan *w, uint64_t now, struct wan_packet *out)
{
    while (w->heap_count > 0 && w->heap[0].due <= now) {
        struct wan_link *l;

        *out = pop(w);
        l = &w->links[out->from][out->to];
        if (!l->is_down)
            return true;
        l->count.fell_down++;
        free(out->bytes);
    }
    return false;
}

void wan_release(struct wan *w, size_t from, size_t to, uint64_t now)
{
    w->links[from][to].is_held = false;
    for (size_t i = 0; i < w->heap_count; i++) {
        struct wan_packet *p = &w->heap[i];

        if (p->from == from && p->to == to && p->due == WAN_HELD)
            p->due = now + w->links[from][to].delay;
    }
    for (size_t i = w->heap_count / 2; i > 0; i--)
        sift_down(w, i - 1);
}

/* --- which link --- */

static bool is_within(const struct wan_prefix *p, int family, const unsigned char *address)
{
    unsigned whole = p->bits / 8, rest = p->bits % 8;

    if (p->family != family || memcmp(p->address, address, whole) != 0)
        return false;
    return rest == 0 || (p->address[whole] ^ address[whole]) >> (8 - rest) == 0;
}

/* The site with the longest prefix; WAN_SITES: none. */
static size_t site_of(const struct wan *w, int family, const unsigned char *address)
{
    size_t best = WAN_SITES;
    unsigned bits = 0;

    for (size_t i = 0; i < w->site_count; i++)
        for (size_t j = 0; j < w->sites[i].prefix_count; j++) {
            const struct wan_prefix *p = &w->sites[i].prefixes[j];

            if (p->bits >= bits && is_within(p, family, address)) {
                best = i;
                bits = p->bits;
            }
        }
    return best;
}

/* --- what the link does --- */

static bool chance(struct wan_link *l, uint32_t millionths)
{
    return millionths > 0 && prng_below(&l->prng, MILLION) < millionths;
}

static bool is_lost(struct wan_link *l)
{
    if (l->burst_begin > 0 && chance(l, l->in_burst ? l->burst_end : l->burst_begin))
        l->in_burst = !l->in_burst;
    return (l->burst_begin > 0 && l->in_burst) || chance(l, l->loss);
}

/* When the packet has left the sender; false: the queue is full. */
static bool serialise(struct wan_link *l, uint64_t now, size_t size, uint64_t *left_at)
{
    uint64_t start = l->free_at > now ? l->free_at : now;
    uint64_t limit = l->queue_bytes > 0 ? l->queue_bytes : DEFAULT_QUEUE_BYTES;

    *left_at = now;
    if (l->rate == 0)
        return true;
    if ((start - now) * l->rate / NS_PER_S + size > limit)
        return false;
    l->free_at = *left_at = start + size * NS_PER_S / l->rate;
    return true;
}

static uint64_t due_at(struct wan_link *l, uint64_t left_at)
{
    uint64_t due = left_at + l->delay;

    if (l->jitter > 0)
        due += prng_below(&l->prng, l->jitter + 1);
    if (chance(l, l->reordered)) { /* overtakes what is on its way */
        l->count.reordered++;
        return left_at + l->delay / 4;
    }
    if (due < l->last_due)
        due = l->last_due;
    l->last_due = due;
    return due;
}

static void damage(struct wan_link *l, unsigned char *bytes, size_t size)
{
    size_t at = HEADER_BYTES + prng_below(&l->prng, size - HEADER_BYTES);

    bytes[at] ^= (unsigned char)(1U << prng_below(&l->prng, 8));
    l->count.damaged++;
}

static void send_copy(struct wan *w, struct wan_packet p, const unsigned char *bytes)
{
    p.number = w->next_number++;
    p.bytes = malloc(p.size);
    if (p.bytes == NULL)
        abort();
    memcpy(p.bytes, bytes, p.size);
    push(w, p);
}

static void pass_link(struct wan *w, struct wan_packet p, uint64_t now, unsigned char *bytes)
{
    struct wan_link *l = &w->links[p.from][p.to];
    uint64_t left_at;

    l->count.packets++;
    l->count.bytes += p.size;
    if (l->is_down) {
        l->count.fell_down++;
        return;
    }
    if (is_lost(l)) {
        l->count.lost++;
        return;
    }
    if (!serialise(l, now, p.size, &left_at)) {
        l->count.overflowed++;
        return;
    }
    if (p.size > HEADER_BYTES && chance(l, l->damaged))
        damage(l, bytes, p.size);
    p.due = due_at(l, left_at);
    if (l->is_held)
        p.due = WAN_HELD;
    send_copy(w, p, bytes);
    if (chance(l, l->doubled)) {
        l->count.doubled++;
        send_copy(w, p, bytes);
    }
}

bool wan_take(struct wan *w, uint64_t now, unsigned char *bytes, size_t size)
{
    size_t from = WAN_SITES, to = WAN_SITES;

    if (size >= 20 && bytes[0] >> 4 == 4) {
        from = site_of(w, AF_INET, bytes + 12);
        to = site_of(w, AF_INET, bytes + 16);
    } else if (size >= 40 && bytes[0] >> 4 == 6) {
        from = site_of(w, AF_INET6, bytes + 8);
        to = site_of(w, AF_INET6, bytes + 24);
    }
    if (from == WAN_SITES || to == WAN_SITES) {
        w->strangers++;
        return false;
    }
    pass_link(w, (struct wan_packet){.from = (uint8_t)from, .to = (uint8_t)to, .size = size},
              now, bytes);
    return true;
}
