#include "tests/sim/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "tests/sim/world.h"

#define FOREIGN_DOT_US (11 * MINUTE)
#define LIVE_BACK      500 /* messages looked at for one that is live */
#define CLOCK_SLACK_PM 30  /* clocks drift by 1 % at most; per mille, with room */

struct check_rcpt {
    uint32_t taken;
    bool permanent;
    bool duplicate_ok;    /* as of the last consent: another one would be excused */
    uint8_t delivered_on; /* nodes whose disks know that it was delivered */
};

struct dot {
    bool open, sent;
    uint64_t at_us;
};

struct message {
    struct mid id;
    bool has_id, accepted, refused, closed, rotted;
    uint8_t copies;       /* nodes with a durable copy, or its settled mark */
    uint8_t settled;      /* nodes where all fates are final and durable */
    bool is_over;         /* two at once had its end: that is not lost with a disk */
    uint8_t ended_before; /* nodes that lost their disk when it had ended */
    uint8_t acked;        /* nodes that had a durable copy, and may have said so */
    uint8_t flagged;
    uint32_t rcpt_count;
    uint64_t bytes, hold_ms, offered_us, accepted_us;
    struct check_rcpt rcpts[CHECK_RCPTS];
    struct dot dots[WORLD_NODES];
};

static struct {
    struct message *all;
    uint32_t n, room;
    struct {
        struct mid id;
        uint32_t key_plus_1;
    } * index;
    uint32_t index_room, index_n;
    struct check_counts counts;
} c;

struct check_counts *check_counts(void)
{
    return &c.counts;
}

void check_init(void)
{
    free(c.all);
    free(c.index);
    memset(&c, 0, sizeof c);
}

static unsigned count_bits(uint8_t bits)
{
    return (unsigned)__builtin_popcount(bits);
}

static const char *text_of(struct mid id)
{
    static char buf[4][MID_TEXT_SIZE];
    static unsigned turn;

    return mid_text(id, buf[turn++ % 4]);
}

/* --- Which message is it? --- */

static void index_put(struct mid id, uint32_t key)
{
    uint32_t at = (uint32_t)XXH3_64bits(&id, sizeof id) & (c.index_room - 1);

    while (c.index[at].key_plus_1 != 0)
        at = (at + 1) & (c.index_room - 1);
    c.index[at].id = id;
    c.index[at].key_plus_1 = key + 1;
}

static void index_grow(void)
{
    c.index_room = c.index_room > 0 ? 2 * c.index_room : 1024;
    free(c.index);
    c.index = calloc(c.index_room, sizeof *c.index);
    ASSERT(c.index != NULL);
    for (uint32_t i = 0; i < c.n; i++)
        if (c.all[i].has_id)
            index_put(c.all[i].id, i);
}

static struct message *find(struct mid id)
{
    uint32_t at;

    if (c.index_room == 0)
        return NULL;
    at = (uint32_t)XXH3_64bits(&id, sizeof id) & (c.index_room - 1);
    for (; c.index[at].key_plus_1 != 0; at = (at + 1) & (c.index_room - 1))
        if (mid_cmp(c.index[at].id, id) == 0)
            return &c.all[c.index[at].key_plus_1 - 1];
    return NULL;
}

static struct message *of_rcpt(struct str path, struct check_rcpt **rcpt)
{
    char text[64];
    unsigned key, i;

    snprintf(text, sizeof text, "%.*s", (int)(path.n < 60 ? path.n : 60), path.p);
    if (sscanf(text, "u%u.%u@", &key, &i) != 2 || key >= c.n || i >= c.all[key].rcpt_count)
        violation("a primary was given mail for <%s>, which no client sent", text);
    *rcpt = &c.all[key].rcpts[i];
    return &c.all[key];
}

/* --- Clients --- */

uint32_t check_offer(uint64_t bytes, uint32_t rcpts, uint64_t hold_ms)
{
    ASSERT(rcpts <= CHECK_RCPTS);
    if (c.n == c.room) {
        c.room = c.room > 0 ? 2 * c.room : 256;
        c.all = realloc(c.all, c.room * sizeof *c.all);
        ASSERT(c.all != NULL);
    }
    c.all[c.n] = (struct message){
        .bytes = bytes, .rcpt_count = rcpts, .hold_ms = hold_ms, .offered_us = world_now()};
    c.counts.offered++;
    return c.n++;
}

char *check_body(uint32_t key, uint64_t bytes)
{
    char *b = malloc(bytes + 128);
    struct prng r;
    size_t n;

    ASSERT(b != NULL && bytes >= 64);
    prng_seed(&r, key + 77);
    n = (size_t)snprintf(b, 128, "Subject: message %u\r\nX-Sim-Key: %08u\r\n\r\n", key, key);
    while (n < bytes) {
        uint64_t x = prng_next(&r);
        size_t left = bytes - n, line = x % 70;

        if (line + 2 > left)
            line = left - 2;
        if (line + 3 == left) /* one byte would be left over, and a line ends in two */
            line = line > 0 ? line - 1 : 1;
        for (size_t i = 0; i < line; i++)
            b[n + i] = (char)('!' + (x >> (i % 50)) % 90);
        if (line > 0 && x % 5 == 0)
            b[n] = '.';
        n += line;
        b[n++] = '\r';
        b[n++] = '\n';
    }
    return b;
}

static struct message *message_of_key(uint32_t key)
{
    ASSERT(key < c.n);
    return &c.all[key];
}

void check_accepted(uint32_t key, unsigned node)
{
    struct message *m = message_of_key(key);

    c.counts.accepted++;
    m->accepted = true;
    m->accepted_us = world_now();
    trace("node %u: 250 for %u %s, durable on nodes %x", node, key, text_of(m->id), m->copies);
    if (!m->has_id || count_bits(m->copies | m->acked) < 2)
        violation("INV-1: 250 for message %u (%s) with copies durable on %u nodes", key,
                  text_of(m->id), count_bits(m->copies));
    if (m->refused)
        violation("message %u was answered 451 and then 250", key);
}

void check_refused(uint32_t key, unsigned node)
{
    struct message *m = message_of_key(key);

    c.counts.refused++;
    m->refused = true;
    trace("node %u: 451 for %u %s", node, key, m->has_id ? text_of(m->id) : "");
    for (uint32_t i = 0; i < m->rcpt_count; i++)
        if (m->rcpts[i].taken > 0)
            violation("INV-3: message %u was delivered and is answered 451", key);
}

void check_closed(uint32_t key, unsigned node)
{
    trace("node %u: closed without a reply: %u", node, key);
    c.counts.closed++;
    message_of_key(key)->closed = true;
}

/* --- Nodes --- */

void check_drawn(uint32_t key, struct mid id)
{
    struct message *m = message_of_key(key);

    if (find(id) != NULL)
        violation("id %s is given to message %u and was used before", text_of(id), key);
    m->id = id;
    m->has_id = true;
    if (2 * ++c.index_n > c.index_room)
        index_grow();
    else
        index_put(id, key);
}

void check_stored(struct mid id, unsigned node)
{
    struct message *m = find(id);

    if (m == NULL)
        violation("node %u holds %s, which no client sent", node, text_of(id));
    m->copies |= (uint8_t)(1u << node);
}

void check_aborted(struct mid id, unsigned node)
{
    struct message *m = find(id);

    if (m != NULL)
        m->copies &= (uint8_t) ~(1u << node);
}

static void check_expiry(const struct message *m, struct mid id)
{
    uint64_t age_ms = (world_now() - m->offered_us) / MS;

    if (age_ms < m->hold_ms - m->hold_ms / 1000 * CLOCK_SLACK_PM)
        violation("%s expired after %llu s of %llu", text_of(id),
                  (unsigned long long)age_ms / 1000, (unsigned long long)m->hold_ms / 1000);
}

void check_outcome(const struct envelope *e, unsigned node)
{
    struct message *m = find(e->id);
    bool final = true;

    if (m == NULL)
        violation("node %u has an outcome for %s, which no client sent", node, text_of(e->id));
    for (uint32_t i = 0; i < e->rcpt_count && i < CHECK_RCPTS; i++) {
        struct check_rcpt *r = &m->rcpts[i];

        final &= e->rcpts[i].fate != FATE_PENDING;
        if (e->rcpts[i].fate == FATE_DELIVERED && r->taken == 0)
            violation("node %u calls %s delivered, and no primary has it", node,
                      text_of(e->id));
        if (e->rcpts[i].fate == FATE_BOUNCED && !r->permanent)
            violation("node %u calls %s bounced, and no primary refused it", node,
                      text_of(e->id));
        if (e->rcpts[i].fate == FATE_EXPIRED)
            check_expiry(m, e->id);
        if (e->rcpts[i].fate == FATE_DELIVERED)
            r->delivered_on |= (uint8_t)(1u << node);
    }
    if (e->possible_duplicates > 0)
        m->flagged = 1;
    if (final && e->phase == PHASE_DONE)
        m->settled |= (uint8_t)(1u << node);
    m->is_over = m->is_over || (m->settled & (m->settled - 1)) != 0;
}

void check_wiped(unsigned node)
{
    for (uint32_t i = 0; i < c.n; i++) {
        struct message *m = &c.all[i];

        if (!m->accepted)
            m->acked = (uint8_t)(m->acked | (m->copies & 1u << node));
        if (m->settled != 0 || m->is_over)
            m->ended_before |= (uint8_t)(1u << node);
        m->copies &= (uint8_t) ~(1u << node);
        m->settled &= (uint8_t) ~(1u << node);
        for (uint32_t k = 0; k < m->rcpt_count; k++)
            m->rcpts[k].delivered_on &= (uint8_t) ~(1u << node);
    }
}

void check_crashed(unsigned node)
{
    for (uint32_t i = 0; i < c.n; i++)
        c.all[i].dots[node].open = false;
}

void check_restarted(unsigned node, bool (*has)(void *ctx, struct mid id), void *ctx)
{
    for (uint32_t i = 0; i < c.n; i++) {
        struct message *m = &c.all[i];

        if ((m->copies & 1u << node) != 0 && !has(ctx, m->id))
            violation("node %u lost %s, which was durable on its disk", node, text_of(m->id));
    }
}

bool check_some_live(uint32_t *key)
{
    uint32_t n = 0, from = c.n > LIVE_BACK ? c.n - LIVE_BACK : 0;

    for (uint32_t i = from; i < c.n; i++)
        if (c.all[i].copies != 0 && c.all[i].settled == 0 && world_below(++n) == 0)
            *key = i;
    return n > 0;
}

void check_rotted(uint32_t key)
{
    message_of_key(key)->rotted = true;
}

bool check_may_stay(struct mid id)
{
    const struct message *m = find(id);

    return m != NULL && m->rotted && !m->accepted;
}

void check_filled(unsigned node, uint64_t since_us, bool (*is_told)(void *ctx, struct mid id),
                  void *ctx)
{
    for (uint32_t i = 0; i < c.n; i++) {
        const struct message *m = &c.all[i];

        if (m->accepted && m->accepted_us + 2 * SECOND < since_us && m->settled == 0 &&
            (m->copies & 1u << node) == 0 && is_told(ctx, m->id))
            violation("INV-2: node %u calls itself filled, and lacks %s", node, text_of(m->id));
    }
}

void check_yes(struct mid id, unsigned node)
{
    const struct message *m = find(id);

    if (m == NULL)
        violation("node %u says yes to a dot for %s, which no client sent", node, text_of(id));
    if ((m->settled & 1u << node) != 0)
        violation("INV-2: node %u says yes to a dot for %s, and knows its end", node,
                  text_of(id));
}

void check_consent(struct mid id, unsigned node)
{
    struct message *m = find(id);
    bool some = false;

    c.counts.dots++;
    trace("node %u: consent for %s", node, text_of(id));
    if (m == NULL)
        violation("consent for %s, which no client sent", text_of(id));
    if (m->refused)
        violation("INV-3: node %u may send a dot for %s, which was answered 451", node,
                  text_of(id));
    for (unsigned i = 0; i < WORLD_NODES; i++)
        if (i != node && m->dots[i].open && m->dots[i].at_us + FOREIGN_DOT_US > world_now())
            violation("INV-4: nodes %u and %u both may send a dot for %s", i, node,
                      text_of(id));
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        struct check_rcpt *r = &m->rcpts[i];

        r->duplicate_ok = count_bits(r->delivered_on) < 2 && !(r->delivered_on & 1u << node);
        some |= r->duplicate_ok;
    }
    if (!some)
        violation("INV-2: node %u may send %s again, and two nodes know it as delivered", node,
                  text_of(id));
    m->dots[node] = (struct dot){.open = true, .at_us = world_now()};
}

void check_dot_sent(struct mid id, unsigned node)
{
    struct message *m = find(id);

    ASSERT(m != NULL);
    if (!m->dots[node].open)
        violation("node %u sends a dot for %s without consent", node, text_of(id));
    m->dots[node].sent = true;
}

void check_dot_over(struct mid id, unsigned node)
{
    struct message *m = find(id);

    if (m != NULL)
        m->dots[node].open = false;
}

/* --- Primaries --- */

void check_taken(struct str rcpt_path, struct str data)
{
    struct check_rcpt *r;
    struct message *m = of_rcpt(rcpt_path, &r);
    uint32_t key = (uint32_t)(m - c.all);
    char *body = check_body(key, m->bytes);

    c.counts.taken++;
    trace("primary takes %u (%.*s)", key, (int)rcpt_path.n, rcpt_path.p);
    if (data.n < m->bytes || memcmp(data.p + data.n - m->bytes, body, m->bytes) != 0)
        violation("message %u was altered on its way", key);
    free(body);
    if (m->refused)
        violation("INV-3: message %u was answered 451 and is delivered", key);
    if (!m->has_id)
        violation("message %u was delivered and never had an id", key);
    if (r->taken++ == 0)
        return;
    c.counts.duplicates++;
    if (!r->duplicate_ok)
        violation("INV-2: message %u (%s) is delivered again, without an excuse", key,
                  text_of(m->id));
}

void check_permanent(struct str rcpt_path)
{
    struct check_rcpt *r;

    of_rcpt(rcpt_path, &r);
    r->permanent = true;
}

/* --- The end --- */

uint32_t check_open_count(void)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < c.n; i++)
        n += c.all[i].accepted && c.all[i].settled != (1u << WORLD_NODES) - 1;
    return n;
}

static void end_of_rcpt(const struct message *m, uint32_t i, enum fate fate, unsigned node)
{
    const struct check_rcpt *r = &m->rcpts[i];

    if (fate == FATE_PENDING)
        violation("%s is settled on node %u with a recipient pending", text_of(m->id), node);
    if (fate == FATE_DELIVERED && r->taken == 0)
        violation("%s: called delivered on node %u, and no primary has it", text_of(m->id),
                  node);
}

void check_end(unsigned node, const struct envelope *(*trace_of)(void *ctx, struct mid id),
               bool (*settled)(void *ctx, struct mid id), void *ctx)
{
    for (uint32_t i = 0; i < c.n; i++) {
        const struct message *m = &c.all[i];
        const struct envelope *e;

        if (!m->accepted)
            continue;
        /* What all others call clear is not told to a node that joins after that: nobody has a
         * copy that could come in (docs/wire.md, 18). */
        if (!settled(ctx, m->id) && (m->ended_before & 1u << node) != 0)
            continue;
        if (!settled(ctx, m->id))
            violation("%s (message %u, 250) is not settled on node %u in the end",
                      text_of(m->id), i, node);
        e = trace_of(ctx, m->id);
        for (uint32_t k = 0; k < m->rcpt_count; k++) {
            if (e != NULL)
                end_of_rcpt(m, k, e->rcpts[k].fate, node);
            if (m->rcpts[k].taken == 0 && !m->rcpts[k].permanent &&
                (e == NULL || e->rcpts[k].fate == FATE_DELIVERED))
                violation("LOST: message %u (%s) had its 250 and reached nobody", i,
                          text_of(m->id));
            if (m->rcpts[k].taken > 1 && !m->flagged)
                violation("message %u (%s) was delivered twice and is not flagged", i,
                          text_of(m->id));
        }
    }
}
