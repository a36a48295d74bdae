#include "node/edge_callout.h"

#include <string.h>

#include "base/assert.h"

static_assert(RCPTSET_DUE >= LIMIT_CALLOUT_NAMES, "enough for a session");

void edge_callout_init(struct edge_callout *e, const struct edge_callout_options *o)
{
    memset(e, 0, sizeof *e);
    e->opt = *o;
}

/* --- rests --- */

static uint32_t place_of(uint64_t generation)
{
    /* generations are log indexes: near each other, and all different */
    return (uint32_t)(generation * UINT64_C(0x9e3779b97f4a7c15) >> 32) % LIMIT_CALLOUT_RESTS;
}

static const struct edge_callout_rest *rest_of(const struct edge_callout *e,
                                               uint64_t generation)
{
    const struct edge_callout_rest *r = &e->rests[place_of(generation)];

    return r->generation == generation ? r : NULL;
}

static struct edge_callout_rest *rest_for(struct edge_callout *e, uint64_t generation)
{
    struct edge_callout_rest *r = &e->rests[place_of(generation)];

    if (r->generation != generation)
        *r = (struct edge_callout_rest){.generation = generation};
    return r;
}

static bool may_wish(const struct edge_callout *e, uint64_t generation, struct sched_now now)
{
    const struct edge_callout_rest *r = rest_of(e, generation);

    return r == NULL || now.boot_ms >= r->wish_ms;
}

/* --- wishes --- */

static struct edge_callout_out *find_out(struct edge_callout *e, uint64_t generation,
                                         struct str local)
{
    for (uint32_t i = 0; i < LIMIT_CALLOUT_OUT; i++) {
        struct edge_callout_out *o = &e->out[i];

        if (o->generation == generation &&
            str_eq((struct str){o->local, o->local_bytes}, local))
            return o;
    }
    return NULL;
}

static void post(struct edge_callout *e, const struct edge_callout_domain *d, struct str local,
                 bool hurries, uint64_t wanted_ms)
{
    struct edge_callout_out *o = e->out;

    /* what nobody waits for leaves room for those who do */
    if (e->out_count >= LIMIT_CALLOUT_OUT - (hurries ? 0 : LIMIT_CALLOUT_WAITS) ||
        find_out(e, d->generation, local) != NULL)
        return;
    while (o->generation != 0)
        o++;
    if (!e->opt.post(e->opt.ctx, d, local, hurries))
        return; /* it stays due */
    *o = (struct edge_callout_out){.generation = d->generation,
                                   .separator = d->separator,
                                   .wanted_ms = wanted_ms,
                                   .local_bytes = (uint8_t)local.n};
    memcpy(o->local, local.p, local.n);
    e->out_count++;
}

void edge_callout_look(struct edge_callout *e, const struct edge_callout_domain *d,
                       struct sched_now now)
{
    struct rcptset_entry due[RCPTSET_DUE];
    size_t n;

    if (!may_wish(e, d->generation, now))
        return;
    n = rcptset_due(e->opt.set, d->generation, now.cluster_ms, due, RCPTSET_DUE);
    for (size_t i = 0; i < n; i++) /* those on their way stay due until they are answered */
        post(e, d, (struct str){due[i].local, due[i].local_bytes}, false, due[i].wanted_ms);
}

/* --- waits --- */

bool edge_callout_may_wait(const struct edge_callout *e, uint64_t generation,
                           struct sched_now now)
{
    const struct edge_callout_rest *r = rest_of(e, generation);
    uint32_t n = 0;

    if (e->wait_count == LIMIT_CALLOUT_WAITS || (r != NULL && now.boot_ms < r->wait_ms))
        return false;
    for (uint32_t i = 0; i < LIMIT_CALLOUT_WAITS; i++)
        n += e->waits[i].waiter != NULL && e->waits[i].generation == generation;
    return n < LIMIT_CALLOUT_WAITS_EACH;
}

static void end_wait(struct edge_callout *e, struct edge_callout_wait *w,
                     enum rcptset_status status)
{
    void *waiter = w->waiter;

    w->waiter = NULL;
    e->wait_count--;
    e->opt.over(e->opt.ctx, waiter, status);
}

bool edge_callout_begin(struct edge_callout *e, const struct edge_callout_domain *d,
                        struct str local, void *waiter, struct sched_now now)
{
    struct rcptset_name name = {d->generation, local, d->separator};
    struct edge_callout_wait *w = e->waits;
    enum rcptset_merged wish;

    if (!edge_callout_may_wait(e, d->generation, now) || local.n == 0 ||
        local.n > sizeof w->local)
        return false;
    wish = rcptset_want(e->opt.set, &name, now.cluster_ms);
    if (wish == RCPTSET_NO_ROOM || wish == RCPTSET_VAIN)
        return false;
    while (w->waiter != NULL)
        w++;
    *w = (struct edge_callout_wait){.waiter = waiter,
                                    .generation = d->generation,
                                    .end_ms = now.boot_ms + LIMIT_CALLOUT_WAIT_MS,
                                    .separator = d->separator,
                                    .local_bytes = (uint8_t)local.n};
    memcpy(w->local, local.p, local.n);
    e->wait_count++;
    if (may_wish(e, d->generation, now))
        post(e, d, local, true, now.cluster_ms);
    return true;
}

void edge_callout_news(struct edge_callout *e, uint64_t generation, struct sched_now now)
{
    for (uint32_t i = 0; i < LIMIT_CALLOUT_WAITS && e->wait_count > 0; i++) {
        struct edge_callout_wait *w = &e->waits[i];
        struct rcptset_name name = {w->generation, {w->local, w->local_bytes}, w->separator};
        struct rcptset_entry found;
        enum rcptset_status status;

        if (w->waiter == NULL || w->generation != generation)
            continue;
        status = rcptset_find(e->opt.set, &name, now.cluster_ms, &found);
        if (status != RCPTSET_UNKNOWN)
            end_wait(e, w, status);
    }
}

void edge_callout_tick(struct edge_callout *e, struct sched_now now)
{
    for (uint32_t i = 0; i < LIMIT_CALLOUT_WAITS && e->wait_count > 0; i++) {
        struct edge_callout_wait *w = &e->waits[i];

        if (w->waiter == NULL || now.boot_ms < w->end_ms)
            continue;
        rest_for(e, w->generation)->wait_ms = now.boot_ms + LIMIT_CALLOUT_LATER_MS;
        end_wait(e, w, RCPTSET_UNKNOWN);
    }
}

void edge_callout_end(struct edge_callout *e)
{
    for (uint32_t i = 0; i < LIMIT_CALLOUT_WAITS; i++)
        if (e->waits[i].waiter != NULL)
            end_wait(e, &e->waits[i], RCPTSET_UNKNOWN);
}

/* --- answers --- */

/* Who waits for exactly this need not any longer: of an answer that says nothing, or for which
 * the set had no room. */
static void end_waits(struct edge_callout *e, uint64_t generation, struct str local,
                      enum rcptset_status status)
{
    for (uint32_t i = 0; i < LIMIT_CALLOUT_WAITS && e->wait_count > 0; i++) {
        struct edge_callout_wait *w = &e->waits[i];

        if (w->waiter != NULL && w->generation == generation &&
            str_eq((struct str){w->local, w->local_bytes}, local))
            end_wait(e, w, status);
    }
}

static void note_asked(struct edge_callout *e, const struct edge_callout_out *o,
                       struct sched_now now)
{
    struct rcptset_entry entry = {
        .generation = o->generation, .wanted_ms = o->wanted_ms, .local_bytes = o->local_bytes};

    memcpy(entry.local, o->local, o->local_bytes);
    rcptset_asked(e->opt.set, &entry, now.cluster_ms);
}

enum rcptset_merged edge_callout_answer(struct edge_callout *e, uint64_t generation,
                                        struct str local, enum callout_verdict verdict,
                                        struct sched_now now)
{
    struct edge_callout_out *place = find_out(e, generation, local), o;
    enum rcptset_merged learned = RCPTSET_NO_NEWS;
    enum rcptset_status status = verdict == CALLOUT_VALID ? RCPTSET_VALID : RCPTSET_INVALID;
    struct edge_callout_rest *rest;
    struct rcptset_name name;

    ASSERT(place != NULL);
    o = *place;
    place->generation = 0;
    e->out_count--;
    name = (struct rcptset_name){generation, {o.local, o.local_bytes}, o.separator};
    switch (verdict) {
    case CALLOUT_VALID:
    case CALLOUT_INVALID:
        note_asked(e, &o, now);
        learned = rcptset_learn(e->opt.set, &name, status, RCPTSET_CALLOUT, now.cluster_ms);
        edge_callout_news(e, generation, now);
        end_waits(e, generation, name.local, status);
        break;
    case CALLOUT_UNKNOWN:
        note_asked(e, &o, now);
        end_waits(e, generation, name.local, RCPTSET_UNKNOWN);
        break;
    case CALLOUT_NOT_ASKED: /* another site may: who waits goes on waiting */
        rest_for(e, generation)->wish_ms = now.boot_ms + LIMIT_CALLOUT_LATER_MS;
        break;
    case CALLOUT_TAKES_ALL:
        rest = rest_for(e, generation);
        rest->wish_ms = rest->wait_ms = now.boot_ms + LIMIT_CALLOUT_TAKES_ALL_MS;
        end_waits(e, generation, name.local, RCPTSET_UNKNOWN);
        break;
    case CALLOUT_VERDICTS:
        ASSERT(false);
    }
    return learned;
}
