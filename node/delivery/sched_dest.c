/* Destinations: up or down, probes, windows of connections. */
#include "node/delivery/sched_internal.h"

static struct heap_node *timer_node(const void *ctx, uint32_t h)
{
    return &sched_dest(ctx, h)->timer;
}

static struct heap_node *probe_node(const void *ctx, uint32_t h)
{
    return &sched_dest(ctx, h)->probe;
}

static bool timer_before(const void *ctx, uint32_t a, uint32_t b)
{
    return sched_dest(ctx, a)->timer_ms < sched_dest(ctx, b)->timer_ms;
}

static bool probe_before(const void *ctx, uint32_t a, uint32_t b)
{
    return sched_dest(ctx, a)->probe_due_ms < sched_dest(ctx, b)->probe_due_ms;
}

static const struct heap_ops by_timer = {timer_node, timer_before};
static const struct heap_ops by_probe = {probe_node, probe_before};

/* In any second at most probes_per_s probes: nine tenths of that evenly, a tenth of a second's
 * worth at once after a rest. */
#define PROBE_BURST_US UINT64_C(100000)

void sched_dest_init(struct sched *s, const struct sched_options *o)
{
    uint32_t rate = o->probes_per_s > 0 ? o->probes_per_s : LIMIT_PROBES_PER_S;

    heap_init(&s->dest_timers, &by_timer, s);
    heap_init(&s->probes, &by_probe, s);
    s->probe_gap_us = 10000000 / 9 / rate + 1;
}

/* --- host names --- */

static bool host_has_name(const void *ctx, uint32_t value, const void *key)
{
    const struct sched_host *h = sched_host(ctx, value);

    return str_eq((struct str){h->name, h->name_n}, *(const struct str *)key);
}

uint32_t sched_host_get(struct sched *s, struct str name)
{
    uint64_t hash = map_hash(&s->host_map, name.p, name.n);
    uint32_t h = map_find(&s->host_map, hash, host_has_name, s, &name);
    struct sched_host *host;

    if (h == 0) {
        h = pool_take(&s->hosts);
        if (h == 0)
            return 0;
        if (map_put(&s->host_map, hash, h) != OK) {
            pool_give(&s->hosts, h);
            return 0;
        }
        host = sched_host(s, h);
        host->name_n = (uint8_t)name.n;
        if (name.n > 0)
            memcpy(host->name, name.p, name.n);
    }
    sched_host(s, h)->refs++;
    return h;
}

void sched_host_ref(struct sched *s, uint32_t host)
{
    sched_host(s, host)->refs++;
}

void sched_host_unref(struct sched *s, uint32_t host)
{
    struct sched_host *h = sched_host(s, host);

    ASSERT(h->refs > 0);
    h->refs--;
    if (h->refs > 0)
        return;
    map_remove(&s->host_map, map_hash(&s->host_map, h->name, h->name_n), host);
    pool_give(&s->hosts, host);
}

/* --- destinations and edges --- */

static bool dest_has_key(const void *ctx, uint32_t value, const void *key)
{
    return memcmp(&sched_dest(ctx, value)->key, key, sizeof(struct sched_dest_key)) == 0;
}

static uint32_t dest_get(struct sched *s, const struct sched_dest_key *key)
{
    uint64_t hash = map_hash(&s->dest_map, key, sizeof *key);
    uint32_t t = map_find(&s->dest_map, hash, dest_has_key, s, key);

    if (t != 0)
        return t;
    t = pool_take(&s->dests);
    if (t == 0)
        return 0;
    if (map_put(&s->dest_map, hash, t) != OK) {
        pool_give(&s->dests, t);
        return 0;
    }
    sched_dest(s, t)->key = *key;
    sched_dest(s, t)->window = 1;
    sched_dest(s, t)->is_canary = true;
    if (key->host != 0) {
        sched_host_ref(s, key->host);
        s->named_dests++;
    }
    return t;
}

static void set_timer(struct sched *s, uint32_t dest, uint64_t at_ms)
{
    struct sched_dest *t = sched_dest(s, dest);

    if (t->has_timer)
        heap_remove(&s->dest_timers, dest);
    t->has_timer = at_ms != NEVER;
    t->timer_ms = at_ms;
    if (t->has_timer)
        heap_push(&s->dest_timers, dest);
}

void sched_dest_timer(struct sched *s, uint32_t dest, uint64_t at_ms)
{
    const struct sched_dest *t = sched_dest(s, dest);

    if (!t->has_timer || at_ms < t->timer_ms)
        set_timer(s, dest, at_ms);
}

void sched_dest_drop(struct sched *s, uint32_t dest)
{
    struct sched_dest *t = sched_dest(s, dest);
    struct sched_dest_key key = t->key;

    if (t->edges.count > 0 || t->refs > 0)
        return;
    ASSERT(t->active.count == 0 && t->wants == 0 && t->conns.count == 0);
    set_timer(s, dest, NEVER);
    sched_dest_probe_update(s, dest);
    ASSERT(!t->in_probes);
    if (t->in_todo)
        sched_list_remove(DEST_TODO(s), &s->dest_todo, dest);
    if (t->in_blocked)
        sched_list_remove(BLOCKED_LINKS(s), &s->blocked, dest);
    map_remove(&s->dest_map, map_hash(&s->dest_map, &key, sizeof key), dest);
    pool_give(&s->dests, dest);
    if (key.host != 0) {
        sched_host_unref(s, key.host);
        s->named_dests--;
    }
}

bool sched_edge_add(struct sched *s, uint32_t dom, const struct route_addr *a,
                    enum sched_tls tls)
{
    struct sched_dest_key key;
    uint32_t host, dest, edge;
    struct sched_edge *e;

    ASSERT(a->host.n <= LIMIT_SMTP_DOMAIN_BYTES);
    host = sched_host_get(s, a->host);
    if (host == 0)
        return false;
    memset(&key, 0, sizeof key);
    key.ip = a->ip;
    key.port = a->port;
    key.tls = (uint16_t)tls;
    key.host = tls == SCHED_TLS_REQUIRE ? host : 0;
    dest = dest_get(s, &key);
    edge = dest != 0 ? pool_take(&s->edges) : 0;
    if (edge == 0) {
        if (dest != 0)
            sched_dest_drop(s, dest);
        sched_host_unref(s, host);
        return false;
    }
    e = sched_edge(s, edge);
    e->dom = dom;
    e->dest = dest;
    e->host = host;
    e->pref = a->pref;
    sched_list_push(DOM_EDGES(s), &sched_dom(s, dom)->edges, edge);
    sched_list_push(DEST_EDGES(s), &sched_dest(s, dest)->edges, edge);
    if (sched_dom(s, dom)->wants)
        sched_dest_want(s, dest, true);
    return true;
}

void sched_edge_remove(struct sched *s, uint32_t edge)
{
    struct sched_edge e = *sched_edge(s, edge);

    sched_list_remove(DOM_EDGES(s), &sched_dom(s, e.dom)->edges, edge);
    sched_list_remove(DEST_EDGES(s), &sched_dest(s, e.dest)->edges, edge);
    pool_give(&s->edges, edge);
    sched_dest_drop(s, e.dest);
    sched_host_unref(s, e.host);
}

void sched_dest_touch(struct sched *s, uint32_t dest)
{
    struct sched_dest *t = sched_dest(s, dest);

    if (t->in_todo)
        return;
    t->in_todo = true;
    sched_list_push(DEST_TODO(s), &s->dest_todo, dest);
}

void sched_dest_want(struct sched *s, uint32_t dest, bool wants)
{
    struct sched_dest *t = sched_dest(s, dest);

    ASSERT(wants || t->wants > 0);
    t->wants = wants ? t->wants + 1 : t->wants - 1;
    sched_dest_probe_update(s, dest);
}

static void touch_domains(struct sched *s, const struct sched_dest *t)
{
    for (uint32_t e = t->edges.first; e != 0; e = sched_list_next(DEST_EDGES(s), e))
        if (sched_dom_ready(sched_dom(s, sched_edge(s, e)->dom)) > 0)
            sched_dom_touch(s, sched_edge(s, e)->dom);
}

/* --- probes --- */

/* Keeps the place among the probes up to date: there while DOWN, mail waits and fewer than two
 * connections are on their way. The second one is for the case that the first waits for a peer
 * which has forgotten it: a machine that went away after it took the connection. */
void sched_dest_probe_update(struct sched *s, uint32_t dest)
{
    struct sched_dest *t = sched_dest(s, dest);
    bool due = t->state == SCHED_DEST_DOWN && t->wants > 0 && t->opening < 2 && !s->is_stopping;
    uint64_t at = t->next_probe_ms;

    if (t->opening == 1 && at < t->last_open_ms + PROBE_SECOND_MS)
        at = t->last_open_ms + PROBE_SECOND_MS;
    if (t->try_now)
        at = 0;
    if (t->in_probes && due && t->probe_due_ms == at)
        return;
    if (t->in_probes)
        heap_remove(&s->probes, dest);
    t->in_probes = due;
    t->probe_due_ms = at;
    if (due)
        heap_push(&s->probes, dest);
}

/* A route of a hundred dead addresses must not take the probes of a hundred others. */
static uint64_t probe_gap_ms(const struct sched *s, const struct sched_dest *t,
                             struct sched_now now)
{
    bool is_young = now.boot_ms - t->down_since_ms < PROBE_FAST_AGE_MS;
    uint64_t gap = is_young ? PROBE_FAST_MS : PROBE_SLOW_MS, crowded;
    uint32_t least = UINT32_MAX, looked = 0;

    for (uint32_t e = t->edges.first; e != 0 && looked < SCAN_MAX && least > PROBE_CROWD;
         e = sched_list_next(DEST_EDGES(s), e), looked++) {
        const struct sched_dom *d = sched_dom(s, sched_edge(s, e)->dom);

        if (d->wants && d->edges.count < least)
            least = d->edges.count;
    }
    if (least <= PROBE_CROWD || least == UINT32_MAX)
        return gap;
    crowded = gap * least / PROBE_CROWD;
    return crowded < PROBE_CROWD_MS ? crowded : PROBE_CROWD_MS;
}

/* Whose host name a probe bears: of a domain that waits. */
static uint32_t probe_host(const struct sched *s, const struct sched_dest *t)
{
    uint32_t looked = 0, e = t->edges.first, pick = e;

    for (; e != 0 && looked < SCAN_MAX; e = sched_list_next(DEST_EDGES(s), e), looked++) {
        if (sched_dom(s, sched_edge(s, e)->dom)->wants) {
            pick = e;
            break;
        }
    }
    return sched_edge(s, pick)->host;
}

bool sched_dest_probe(struct sched *s, struct sched_now now, struct sched_action *out)
{
    uint32_t dest = heap_first(&s->probes);
    uint64_t now_us = now.boot_ms * 1000, floor_us;
    struct sched_opening opening;
    struct sched_dest *t;

    if (dest == 0 || sched_dest(s, dest)->probe_due_ms > now.boot_ms ||
        s->probe_free_us > now_us || !sched_conn_has_place(s, true))
        return false;
    t = sched_dest(s, dest);
    t->try_now = false;
    t->next_probe_ms = now.boot_ms + probe_gap_ms(s, t, now);
    opening = (struct sched_opening){.dest = dest, .host = probe_host(s, t), .is_probe = true};
    if (!sched_conn_open(s, &opening, now, out)) {
        sched_dest_probe_update(s, dest); /* out of memory: next time */
        return false;
    }
    floor_us = now_us > PROBE_BURST_US ? now_us - PROBE_BURST_US : 0;
    if (s->probe_free_us < floor_us)
        s->probe_free_us = floor_us;
    s->probe_free_us += s->probe_gap_us;
    s->probes_made++;
    return true;
}

/* --- up and down --- */

static void reset_window(struct sched_dest *t)
{
    t->window = 1;
    t->credit = 0;
    t->is_canary = true;
    t->is_braked = false;
    t->canary_ms = 0;
    t->latency_ms = t->latency_best_ms = 0;
}

static void go_down(struct sched *s, uint32_t dest, enum sched_failure failure,
                    struct sched_now now)
{
    struct sched_dest *t = sched_dest(s, dest);

    t->state = SCHED_DEST_DOWN;
    t->failure = failure;
    t->down_since_ms = now.boot_ms;
    t->next_probe_ms = t->last_open_ms + PROBE_FAST_MS; /* at once if that took longer */
    t->tell_down = true;
    touch_domains(s, t);
    sched_dest_touch(s, dest);
    sched_dest_probe_update(s, dest);
}

static void go_up(struct sched *s, uint32_t dest, struct sched_now now)
{
    struct sched_dest *t = sched_dest(s, dest);
    bool was_down = t->state == SCHED_DEST_DOWN;

    t->state = SCHED_DEST_UP;
    if (!was_down)
        return;
    reset_window(t);
    t->bad_streak = 0;
    t->pause_until_ms = t->avoid_until_ms = 0;
    t->tell_up = true;
    t->try_now = false;
    t->told_down_ms = now.boot_ms - t->down_since_ms;
    sched_dest_probe_update(s, dest);
    for (uint32_t e = t->edges.first; e != 0; e = sched_list_next(DEST_EDGES(s), e))
        sched_dom_recovered(s, sched_edge(s, e)->dom, now);
}

void sched_dest_ready(struct sched *s, uint32_t dest, uint64_t latency_ms, struct sched_now now)
{
    struct sched_dest *t = sched_dest(s, dest);

    t->alive_ms = now.boot_ms;
    t->greet_ms = latency_ms;
    go_up(s, dest, now);
    sched_dest_touch(s, dest);
}

static void brake(struct sched_dest *t, struct sched_now now)
{
    if (now.boot_ms < t->brake_until_ms)
        return;
    t->brake_until_ms = now.boot_ms + BRAKE_MS;
    t->window = t->window > 1 ? t->window / 2 : 1;
    t->credit = 0;
    t->is_braked = true;
}

/* Other connections are at work, and it is not so that nothing at all was heard since this one
 * was tried: it takes no more than these. */
static bool is_crowded(const struct sched_dest *t, uint64_t opened_ms, struct sched_now now)
{
    bool unheard = now.boot_ms - opened_ms >= UNHEARD_MS && t->alive_ms < opened_ms;

    return t->ready > 0 && now.boot_ms - t->alive_ms < ALIVE_MS && !unheard;
}

void sched_dest_failed(struct sched *s, uint32_t dest, enum sched_failure failure,
                       uint64_t opened_ms, struct sched_now now)
{
    struct sched_dest *t = sched_dest(s, dest);

    sched_dest_touch(s, dest);
    if (failure == SCHED_FAIL_LOCAL) {
        t->pause_until_ms = now.boot_ms + PAUSE_FIRST_MS;
        t->next_probe_ms = t->pause_until_ms;
        if (t->avoid_until_ms < t->pause_until_ms)
            t->avoid_until_ms =
                t->pause_until_ms; /* it may be the want of this address alone */
        touch_domains(s, t);
        sched_dest_probe_update(s, dest);
    } else if (failure == SCHED_FAIL_TLS && t->key.tls == SCHED_TLS_TRY) {
        t->no_tls_until_ms = now.boot_ms + NO_TLS_MS;
        t->next_probe_ms = now.boot_ms; /* the same probe, once more without TLS */
        t->try_now = true;
        sched_dest_probe_update(s, dest);
    } else if (is_crowded(t, opened_ms, now)) {
        t->window = t->ready; /* ask again in a while */
        t->credit = 0;
        t->is_braked = true;
        t->brake_until_ms = now.boot_ms + CROWDED_MS;
    } else if (t->state != SCHED_DEST_DOWN) {
        go_down(s, dest, failure, now);
    } else {
        t->failure = failure;
        sched_dest_probe_update(s, dest);
    }
}

/* No answer to a connection that stands, for longer than this destination takes: others are
 * tried meanwhile, and it is asked again from the start. */
void sched_dest_slow_greeting(struct sched *s, uint32_t dest, struct sched_now now)
{
    struct sched_dest *t = sched_dest(s, dest);

    if (t->state == SCHED_DEST_DOWN || t->ready > 0)
        return;
    go_down(s, dest, SCHED_FAIL_GREETING, now);
    t->next_probe_ms = now.boot_ms;
    t->try_now = true;
    sched_dest_probe_update(s, dest);
}

void sched_dest_retry(struct sched *s, uint32_t dest, struct sched_now now)
{
    struct sched_dest *t = sched_dest(s, dest);

    t->pause_until_ms = t->avoid_until_ms = 0;
    t->next_probe_ms = now.boot_ms;
    t->try_now = t->state == SCHED_DEST_DOWN;
    sched_dest_probe_update(s, dest);
    sched_dest_touch(s, dest);
}

/* --- the fleet --- */

/* The destinations of an address: without a host name one for each mode; with one (TLS is
 * required) any number. *at: 0 at first. 0: the end. */
static uint32_t dest_of_addr(const struct sched *s, const struct sched_event *ev, uint32_t *at)
{
    struct sched_dest_key key;
    uint32_t t;

    memset(&key, 0, sizeof key);
    key.ip = ev->ip;
    key.port = ev->port;
    for (; *at <= SCHED_TLS_OFF; (*at)++) {
        key.tls = (uint16_t)*at;
        t = map_find(&s->dest_map, map_hash(&s->dest_map, &key, sizeof key), dest_has_key, s,
                     &key);
        if (t != 0) {
            (*at)++;
            return t;
        }
    }
    for (; s->named_dests > 0 && *at - SCHED_TLS_OFF <= s->dests.made; (*at)++) {
        t = *at - SCHED_TLS_OFF;
        if (!pool_is_taken(&s->dests, t) || sched_dest(s, t)->key.host == 0 ||
            sched_dest(s, t)->key.port != ev->port ||
            memcmp(&sched_dest(s, t)->key.ip, &ev->ip, sizeof ev->ip) != 0)
            continue;
        (*at)++;
        return t;
    }
    return 0;
}

enum err sched_dest_try(struct sched *s, const struct sched_event *ev, struct sched_now now)
{
    uint32_t at = 0, dest;
    enum err e = E_NOTFOUND;

    while ((dest = dest_of_addr(s, ev, &at)) != 0) {
        struct sched_dest *t = sched_dest(s, dest);

        if (t->state != SCHED_DEST_DOWN || t->wants == 0)
            continue;
        t->next_probe_ms = now.boot_ms;
        t->try_now = true;
        sched_dest_probe_update(s, dest);
        e = OK;
    }
    return e;
}

/* --- windows --- */

static uint32_t canaries(const struct sched_dest *t, struct sched_now now)
{
    uint64_t stalls = t->canary_ms == 0 ? 0 : (now.boot_ms - t->canary_ms) / CANARY_STALL_MS;

    return stalls < CANARIES - 1 ? 1 + (uint32_t)stalls : CANARIES;
}

uint32_t sched_dest_window(const struct sched *s, const struct sched_dest *t,
                           struct sched_now now)
{
    uint32_t cap = 1, looked = 0, window;

    if (t->is_canary)
        return canaries(t, now);
    for (uint32_t d = t->active.first; d != 0 && looked < SCAN_MAX;
         d = sched_list_next(RING_LINKS(s), d), looked++) {
        uint32_t max = sched_dom_max_conns(sched_dom(s, d));

        cap = max > cap ? max : cap;
    }
    window = t->window < cap ? t->window : cap;
    if (s->blocked.count > 0) { /* too few for all: everybody gets a share */
        uint32_t share = s->hungry > 0 ? s->ordinary_max / s->hungry : s->ordinary_max;

        share = share > 0 ? share : 1;
        window = window < share ? window : share;
    }
    return window;
}

/* Grows by one for each message taken; after a brake by one for as many as the window is wide.
 */
static void grow(const struct sched *s, struct sched_dest *t, struct sched_now now)
{
    if (now.boot_ms < t->brake_until_ms || t->window > t->conns.count ||
        t->window > s->conns_max)
        return; /* just braked, or not used up */
    t->credit++;
    if (t->credit < (t->is_braked ? t->window : 1))
        return;
    t->credit = 0;
    t->window++;
}

/* True: replies have become slow, against what this destination can do. */
static bool is_slow(struct sched_dest *t, uint64_t latency_ms)
{
    if (latency_ms == 0)
        return false;
    t->latency_ms = t->latency_ms == 0 ? latency_ms : (t->latency_ms * 7 + latency_ms) / 8;
    if (t->latency_best_ms == 0 || t->latency_ms < t->latency_best_ms)
        t->latency_best_ms = t->latency_ms;
    return t->latency_ms >= SLOW_MS && t->latency_ms >= 4 * t->latency_best_ms;
}

static void answered(struct sched *s, uint32_t dest, const struct sched_outcome *o,
                     struct sched_now now)
{
    struct sched_dest *t = sched_dest(s, dest);
    bool slow = is_slow(t, o->latency_ms);

    go_up(s, dest, now); /* as good a proof as a probe */
    t->alive_ms = now.boot_ms;
    t->bad_streak = 0;
    t->avoid_until_ms = 0;
    t->is_canary = false;
    t->canary_ms = 0;
    if (o->job == SCHED_JOB_BRAKE) {
        brake(t, now);
    } else if (!slow) {
        if (o->job != SCHED_JOB_DEFERRED)
            grow(s, t, now);
    } else if (t->window > 1 && now.boot_ms >= t->brake_until_ms) {
        brake(t, now);
        t->brake_until_ms = now.boot_ms + t->latency_ms * 2; /* see what it did */
    }
}

/* Busy, broken or lost: slower and slower, down to a try in 5 s, another address meanwhile.
 * Connections that were open when it began and end the same way are one event with it. */
static void misbehaved(struct sched *s, uint32_t dest, const struct sched_outcome *o,
                       struct sched_now now)
{
    struct sched_dest *t = sched_dest(s, dest);
    bool is_busy = o->job == SCHED_JOB_BRAKE_CLOSE;
    uint64_t pause = PAUSE_FIRST_MS;

    if (t->bad_streak > 0 && o->opened_ms <= t->bad_ms)
        return;
    t->bad_ms = now.boot_ms;
    brake(t, now);
    if (!is_busy)
        reset_window(t);
    t->bad_streak++;
    t->avoid_until_ms = now.boot_ms + (is_busy ? AVOID_BUSY_MS : AVOID_BAD_MS);
    for (uint32_t i = 2; i < t->bad_streak && pause < PAUSE_MAX_MS; i++)
        pause *= 2;
    if (t->bad_streak > 1 || is_busy)
        t->pause_until_ms = now.boot_ms + (pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
    touch_domains(s, t);
}

void sched_dest_job(struct sched *s, uint32_t dest, const struct sched_outcome *o,
                    struct sched_now now)
{
    struct sched_dest *t = sched_dest(s, dest);

    switch (o->job) {
    case SCHED_JOB_OK:
    case SCHED_JOB_PERMANENT:
    case SCHED_JOB_DEFERRED:
    case SCHED_JOB_BRAKE:
        answered(s, dest, o, now);
        break;
    case SCHED_JOB_BRAKE_CLOSE:
        t->alive_ms = now.boot_ms;
        misbehaved(s, dest, o, now);
        break;
    case SCHED_JOB_DEST_PROBLEM:
    case SCHED_JOB_ODDITY:
    case SCHED_JOB_LOST:
        misbehaved(s, dest, o, now);
        break;
    case SCHED_JOB_NOT_TRIED:
        break;
    }
    if (t->jobs == 0)
        t->canary_ms = 0;
    sched_dest_touch(s, dest);
}

/* --- steps --- */

static void fact(const struct sched *s, const struct sched_dest *t, struct sched_action *out)
{
    out->ip = t->key.ip;
    out->port = t->key.port;
    out->tls = (enum sched_tls)t->key.tls;
    if (t->edges.first != 0) {
        const struct sched_host *h = sched_host(s, sched_edge(s, t->edges.first)->host);

        out->host = (struct str){h->name, h->name_n};
    }
}

/* What is to be told, in the order in which it happened. */
static bool tell(const struct sched *s, struct sched_dest *t, struct sched_action *out)
{
    bool up_first = t->tell_up && (!t->tell_down || t->state == SCHED_DEST_DOWN);

    if (!t->tell_up && !t->tell_down)
        return false;
    fact(s, t, out);
    if (up_first) {
        t->tell_up = false;
        out->type = SCHED_ACT_PRIMARY_UP;
        out->down_ms = t->told_down_ms;
    } else {
        t->tell_down = false;
        out->type = SCHED_ACT_PRIMARY_DOWN;
        out->failure = t->failure;
    }
    return true;
}

static bool pump(struct sched *s, uint32_t dest, struct sched_now now, struct sched_action *out)
{
    struct sched_dest *t = sched_dest(s, dest);

    if (s->is_stopping || t->state == SCHED_DEST_DOWN)
        return false;
    if (sched_conn_company(s, dest, now, out))
        return true;
    if (t->active.count == 0)
        return false;
    if (t->pause_until_ms > now.boot_ms) {
        sched_dest_timer(s, dest, t->pause_until_ms);
        return false;
    }
    if (t->conns.count == 0 && t->used_ms != 0 && now.boot_ms - t->used_ms > IDLE_RESTART_MS)
        reset_window(t);
    return sched_conn_pump(s, dest, now, out);
}

bool sched_dest_step(struct sched *s, struct sched_now now, struct sched_action *out)
{
    uint32_t dest;

    while (s->dest_todo.first != 0 || sched_conn_unblock(s)) {
        struct sched_dest *t;

        dest = s->dest_todo.first;
        t = sched_dest(s, dest);
        sched_list_remove(DEST_TODO(s), &s->dest_todo, dest);
        t->in_todo = false;
        if (tell(s, t, out) || pump(s, dest, now, out)) {
            sched_dest_touch(s, dest); /* to the end: destinations take turns */
            return true;
        }
        t->is_granted = false; /* it had no use for it */
        if (t->avoid_until_ms > now.boot_ms)
            sched_dest_timer(s, dest, t->avoid_until_ms);
    }
    return false;
}

void sched_dest_timers(struct sched *s, struct sched_now now)
{
    uint32_t dest;

    while ((dest = heap_first(&s->dest_timers)) != 0 &&
           sched_dest(s, dest)->timer_ms <= now.boot_ms) {
        struct sched_dest *t = sched_dest(s, dest);

        set_timer(s, dest, NEVER);
        if (t->avoid_until_ms != 0 && t->avoid_until_ms <= now.boot_ms) {
            t->avoid_until_ms = 0;
            touch_domains(s, t); /* the better address may be used again */
        }
        sched_dest_touch(s, dest);
    }
}
