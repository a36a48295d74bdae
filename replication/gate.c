#include "replication/gate.h"

#include "base/limits.h"

#define TICK_MS    (LIMIT_GATE_SPAN_MS / 50) /* of the samples */
#define SLOW_COUNT 8     /* ticks with acks, below which nothing is said of slowness */
#define STEADY_MS  60000 /* open so long: the next closing is the first again */

_Static_assert(LIMIT_GATE_SPAN_MS / TICK_MS < GATE_SAMPLES, "the span fits the ring");

void gate_init(struct gate *g, uint64_t now)
{
    *g = (struct gate){.closed_ms = now};
}

static uint64_t since(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

static bool is_dead(const struct gate *g, uint64_t now)
{
    return since(g->last_ack_ms, now) >= LIMIT_GATE_DEAD_MS;
}

/* One sample a tick: slow only while every ack of the tick is. */
static void sample(struct gate *g, bool slow, uint64_t now)
{
    uint32_t last = (g->head + GATE_SAMPLES - 1) % GATE_SAMPLES;

    if (g->count > 0 && g->samples[last].at_ms / TICK_MS == now / TICK_MS) {
        g->samples[last].slow &= slow;
        return;
    }
    g->samples[g->head].at_ms = now;
    g->samples[g->head].slow = slow;
    g->head = (g->head + 1) % GATE_SAMPLES;
    if (g->count < GATE_SAMPLES)
        g->count++;
}

void gate_ack(struct gate *g, uint64_t took_ms, bool is_body, uint64_t now)
{
    bool slow = took_ms > LIMIT_GATE_SLOW_MS;

    if (is_dead(g, now))
        g->good = g->any = 0;
    g->last_ack_ms = now;
    if (!slow || !is_body)
        sample(g, slow, now);
    if (g->open)
        return;
    if (!slow)
        g->good++;
    else if (!is_body)
        g->good = 0;
    g->any++;
}

static bool is_slow(const struct gate *g, uint64_t now)
{
    uint32_t all = 0, slow = 0;

    for (uint32_t i = 0; i < g->count; i++) {
        if (since(g->samples[i].at_ms, now) >= LIMIT_GATE_SPAN_MS)
            continue;
        all++;
        slow += g->samples[i].slow;
    }
    return all >= SLOW_COUNT && slow * 2 >= all;
}

/* Ever longer, while it closes soon after each opening: else a disk at its limit flaps. */
static uint64_t next_hold(const struct gate *g, uint64_t now)
{
    if (g->hold_ms == 0 || since(g->opened_ms, now) >= STEADY_MS)
        return LIMIT_GATE_CLOSED_MS;
    return g->hold_ms * 2 < LIMIT_GATE_CLOSED_MAX_MS ? g->hold_ms * 2
                                                     : LIMIT_GATE_CLOSED_MAX_MS;
}

static void close_it(struct gate *g, uint64_t now)
{
    g->hold_ms = next_hold(g, now);
    g->open = false;
    g->closed_ms = now;
    g->good = g->any = 0;
}

static void open_it(struct gate *g, uint64_t now)
{
    g->open = true;
    g->opened_ms = now;
    g->count = g->head = 0; /* it is judged by what comes now */
}

static bool may_close(const struct gate *g, bool sibling_open, uint64_t now)
{
    return is_dead(g, now) || (sibling_open && is_slow(g, now));
}

static bool may_open(const struct gate *g, bool sibling_open, uint64_t now)
{
    return (sibling_open ? g->good : g->any) >= LIMIT_GATE_GOOD && !is_dead(g, now) &&
           since(g->closed_ms, now) >= g->hold_ms;
}

bool gate_step(struct gate *g, bool sibling_open, uint64_t now)
{
    if (g->open && may_close(g, sibling_open, now)) {
        close_it(g, now);
        return true;
    }
    if (!g->open && may_open(g, sibling_open, now)) {
        open_it(g, now);
        return true;
    }
    if (is_dead(g, now))
        g->good = g->any = 0;
    return false;
}

uint64_t gate_deadline(const struct gate *g)
{
    if (g->open)
        return g->last_ack_ms + LIMIT_GATE_DEAD_MS;
    /* Later than that the acks that came are too old, and the next one is an event; so is the
     * one that opens it when only slow ones come. */
    if (g->good >= LIMIT_GATE_GOOD &&
        g->closed_ms + g->hold_ms < g->last_ack_ms + LIMIT_GATE_DEAD_MS)
        return g->closed_ms + g->hold_ms;
    return UINT64_MAX;
}
