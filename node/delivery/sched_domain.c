/* Domains: settings, routes, which destination is used, operator's probes. */
#include "node/delivery/sched_internal.h"

struct dom_key {
    struct str name;
    uint64_t generation;
};

static struct heap_node *timer_node(const void *ctx, uint32_t h)
{
    return &sched_dom(ctx, h)->timer;
}

static bool timer_before(const void *ctx, uint32_t a, uint32_t b)
{
    return sched_dom(ctx, a)->timer_ms < sched_dom(ctx, b)->timer_ms;
}

static const struct heap_ops by_timer = {timer_node, timer_before};

void sched_dom_init(struct sched *s)
{
    heap_init(&s->dom_timers, &by_timer, s);
}

static struct str name_of(const struct sched_dom *d)
{
    return (struct str){d->name, d->name_n};
}

void sched_dom_name(const struct sched *s, uint32_t dom, struct sched_action *out)
{
    const struct sched_dom *d = sched_dom(s, dom);

    out->domain = name_of(d);
    out->generation = d->generation;
}

static bool has_key(const void *ctx, uint32_t value, const void *key)
{
    const struct sched_dom *d = sched_dom(ctx, value);
    const struct dom_key *k = key;

    return d->generation == k->generation && str_eq(name_of(d), k->name);
}

static uint64_t hash_of(const struct sched *s, struct str name, uint64_t generation)
{
    return map_hash(&s->dom_map, name.p, name.n) + generation * UINT64_C(0x9E3779B97F4A7C15);
}

uint32_t sched_dom_find(const struct sched *s, struct str name, uint64_t generation)
{
    struct dom_key key = {name, generation};

    return map_find(&s->dom_map, hash_of(s, name, generation), has_key, s, &key);
}

uint32_t sched_dom_get(struct sched *s, struct str name, uint64_t generation)
{
    uint32_t h = sched_dom_find(s, name, generation);
    struct sched_dom *d;

    if (h != 0)
        return h;
    ASSERT(name.n <= LIMIT_SMTP_DOMAIN_BYTES);
    h = pool_take(&s->doms);
    if (h == 0)
        return 0;
    if (map_put(&s->dom_map, hash_of(s, name, generation), h) != OK) {
        pool_give(&s->doms, h);
        return 0;
    }
    d = sched_dom(s, h);
    d->name_n = (uint8_t)name.n;
    if (name.n > 0)
        memcpy(d->name, name.p, name.n);
    d->generation = generation;
    d->route_result = ROUTE_RESULTS;
    d->told = ROUTE_OK;
    return h;
}

bool sched_dom_runs(const struct sched *s, const struct sched_dom *d)
{
    return !s->is_stopping && (d->is_set || d->generation == 0) && !d->settings.is_paused;
}

uint32_t sched_dom_max_conns(const struct sched_dom *d)
{
    return d->settings.max_conns > 0 ? d->settings.max_conns : LIMIT_CONNS_PER_DEST;
}

void sched_dom_touch(struct sched *s, uint32_t dom)
{
    struct sched_dom *d = sched_dom(s, dom);

    if (d->in_todo)
        return;
    d->in_todo = true;
    sched_list_push(DOM_TODO(s), &s->dom_todo, dom);
}

static void set_timer(struct sched *s, uint32_t dom, uint64_t at_ms)
{
    struct sched_dom *d = sched_dom(s, dom);

    if (d->has_timer && d->timer_ms == at_ms)
        return;
    if (d->has_timer)
        heap_remove(&s->dom_timers, dom);
    d->has_timer = at_ms != NEVER;
    d->timer_ms = at_ms;
    if (d->has_timer)
        heap_push(&s->dom_timers, dom);
}

/* --- which destination --- */

void sched_dom_unbind(struct sched *s, uint32_t dom)
{
    struct sched_dom *d = sched_dom(s, dom);
    struct sched_dest *t;

    if (d->bound == 0)
        return;
    t = sched_dest(s, sched_edge(s, d->bound)->dest);
    sched_list_remove(RING_LINKS(s), &t->active, dom);
    if (t->active.count == 0)
        s->hungry--;
    d->bound = 0;
}

static void bind(struct sched *s, uint32_t dom, uint32_t edge)
{
    struct sched_dom *d = sched_dom(s, dom);
    uint32_t dest;
    struct sched_dest *t;

    if (d->bound != edge)
        sched_dom_unbind(s, dom);
    if (edge == 0)
        return;
    dest = sched_edge(s, edge)->dest;
    t = sched_dest(s, dest);
    if (d->bound == 0) {
        d->bound = edge;
        sched_list_push(RING_LINKS(s), &t->active, dom);
        if (t->active.count == 1)
            s->hungry++;
    }
    sched_dest_touch(s, dest);
}

/* The best address that is not DOWN; one that misbehaved lately only if there is no other. */
static uint32_t choose(const struct sched *s, const struct sched_dom *d, struct sched_now now)
{
    uint32_t second = 0;

    for (uint32_t e = d->edges.first; e != 0; e = sched_list_next(DOM_EDGES(s), e)) {
        const struct sched_dest *t = sched_dest(s, sched_edge(s, e)->dest);

        if (t->state == SCHED_DEST_DOWN)
            continue;
        if (t->avoid_until_ms <= now.boot_ms)
            return e;
        if (second == 0)
            second = e;
    }
    return second;
}

static void set_wants(struct sched *s, struct sched_dom *d, bool wants)
{
    if (d->wants == wants)
        return;
    d->wants = wants;
    for (uint32_t e = d->edges.first; e != 0; e = sched_list_next(DOM_EDGES(s), e))
        sched_dest_want(s, sched_edge(s, e)->dest, wants);
}

static void drop_edges(struct sched *s, uint32_t dom, uint32_t count)
{
    struct sched_dom *d = sched_dom(s, dom);

    for (; count > 0; count--) {
        uint32_t e = d->edges.first;

        if (d->bound == e)
            sched_dom_unbind(s, dom);
        if (d->wants)
            sched_dest_want(s, sched_edge(s, e)->dest, false);
        sched_edge_remove(s, e);
    }
    d->probe_edge = 0;
}

void sched_dom_recovered(struct sched *s, uint32_t dom, struct sched_now now)
{
    struct sched_dom *d = sched_dom(s, dom);
    uint64_t next = d->released_ms + RELEASE_GAP_MS;

    d->releases++;
    if (d->release_ms == 0)
        d->release_ms = d->released_ms == 0 || next < now.boot_ms ? now.boot_ms : next;
    sched_dom_touch(s, dom);
}

/* --- routes --- */

static void want_route(struct sched *s, uint32_t dom)
{
    struct sched_dom *d = sched_dom(s, dom);

    ASSERT(d->route_state == ROUTE_REST);
    d->route_state = ROUTE_WANTED;
    sched_list_push(WANTED_LINKS(s), &s->wanted[d->generation == 0], dom);
}

static void unwant_route(struct sched *s, uint32_t dom)
{
    struct sched_dom *d = sched_dom(s, dom);

    if (d->route_state != ROUTE_WANTED)
        return;
    d->route_state = ROUTE_REST;
    sched_list_remove(WANTED_LINKS(s), &s->wanted[d->generation == 0], dom);
}

/* When the route is to be looked up again. One of which nothing answers is looked up more
 * often: the primary may have moved. */
static uint64_t route_due(const struct sched *s, const struct sched_dom *d,
                          struct sched_now now)
{
    uint64_t soon = d->answered_ms + ROUTE_DOWN_TTL_MS;

    if (d->edges.count == 0 || choose(s, d, now) != 0 || soon > d->route_due_ms)
        return d->route_due_ms;
    return soon;
}

bool sched_dom_resolve(struct sched *s, struct sched_now now, struct sched_action *out)
{
    (void)now;
    for (int foreign = 0; foreign <= 1; foreign++) {
        uint32_t dom = s->wanted[foreign].first;
        struct sched_dom *d;

        if (dom == 0 || s->asked[0] + s->asked[1] >= LIMIT_ROUTES_PENDING ||
            (foreign && s->asked[1] >= LIMIT_ROUTES_FOREIGN))
            continue;
        d = sched_dom(s, dom);
        unwant_route(s, dom);
        d->route_state = ROUTE_ASKED;
        d->serial = ++s->route_serial;
        d->is_void = false;
        s->asked[foreign]++;
        out->type = SCHED_ACT_RESOLVE;
        out->serial = d->serial;
        sched_dom_name(s, dom, out);
        return true;
    }
    return false;
}

static void take_route(struct sched *s, uint32_t dom, const struct route *r,
                       struct sched_now now)
{
    struct sched_dom *d = sched_dom(s, dom);
    uint32_t old = d->edges.count, added = 0;
    uint64_t ttl_ms = (uint64_t)r->ttl_s * 1000;

    /* the new ones first, so that a destination in both keeps its state */
    while (added < r->count && added < LIMIT_ROUTE_ADDRS &&
           sched_edge_add(s, dom, &r->addrs[added], d->settings.tls))
        added++;
    if (added > 0)
        drop_edges(s, dom, old);
    if (ttl_ms < ROUTE_TTL_MIN_MS)
        ttl_ms = ROUTE_TTL_MIN_MS;
    if (ttl_ms > ROUTE_TTL_MAX_MS)
        ttl_ms = ROUTE_TTL_MAX_MS;
    d->route_due_ms = now.boot_ms + (added > 0 ? ttl_ms : ROUTE_RETRY_MAX_MS);
    d->good_ms = now.boot_ms;
    d->retry_ms = 0;
    d->is_stale = added == 0 && old > 0;
    d->told = ROUTE_OK;
}

static void keep_route(struct sched *s, uint32_t dom, struct sched_now now)
{
    struct sched_dom *d = sched_dom(s, dom);

    d->retry_ms = d->retry_ms == 0 ? ROUTE_RETRY_FIRST_MS : d->retry_ms * 2;
    if (d->retry_ms > ROUTE_RETRY_MAX_MS)
        d->retry_ms = ROUTE_RETRY_MAX_MS;
    d->route_due_ms = now.boot_ms + d->retry_ms;
    if (d->edges.count > 0 && now.boot_ms - d->good_ms > ROUTE_STALE_MS)
        drop_edges(s, dom, d->edges.count);
    d->is_stale = d->edges.count > 0;
    d->tell_failed = d->told != d->route_result;
}

enum err sched_dom_answer(struct sched *s, const struct sched_event *ev, struct sched_now now)
{
    uint32_t dom = sched_dom_find(s, ev->domain, ev->generation);
    struct sched_dom *d = dom != 0 ? sched_dom(s, dom) : NULL;

    if (d == NULL || d->route_state != ROUTE_ASKED || d->serial != ev->serial)
        return E_NOTFOUND;
    d->route_state = ROUTE_REST;
    s->asked[d->generation == 0]--;
    sched_dom_touch(s, dom);
    if (d->is_void)
        return OK; /* of other settings; asked again at once if it is needed */
    d->route_result = ev->route->result;
    d->tell_failed = false;
    if (d->route_result == ROUTE_OK && ev->route->count == 0)
        d->route_result = ROUTE_NO_ADDRESS;
    d->answered_ms = now.boot_ms;
    if (d->route_result == ROUTE_OK)
        take_route(s, dom, ev->route, now);
    else
        keep_route(s, dom, now);
    return OK;
}

/* --- settings and operators --- */

enum err sched_dom_set(struct sched *s, const struct sched_event *ev)
{
    uint32_t dom = sched_dom_get(s, ev->domain, ev->generation);
    struct sched_dom *d;

    if (dom == 0)
        return E_FULL;
    d = sched_dom(s, dom);
    if (d->settings.route_version != ev->settings.route_version ||
        d->settings.tls != ev->settings.tls) {
        set_wants(s, d, false);
        drop_edges(s, dom, d->edges.count);
        d->is_void = true;
        d->is_stale = false;
        d->route_due_ms = 0;
        d->retry_ms = 0;
    }
    d->is_set = true;
    d->settings = ev->settings;
    sched_dom_touch(s, dom);
    return OK;
}

enum err sched_dom_gone(struct sched *s, const struct sched_event *ev)
{
    uint32_t dom = sched_dom_find(s, ev->domain, ev->generation);
    struct sched_dom *d = dom != 0 ? sched_dom(s, dom) : NULL;

    if (d == NULL || !d->is_set)
        return E_NOTFOUND;
    set_wants(s, d, false);
    drop_edges(s, dom, d->edges.count);
    d->is_set = false;
    d->is_void = true;
    d->is_stale = false;
    d->route_due_ms = 0;
    d->settings = (struct sched_settings){0};
    sched_dom_touch(s, dom);
    return OK;
}

static void retry_domain(struct sched *s, uint32_t dom, struct sched_now now)
{
    struct sched_dom *d = sched_dom(s, dom);

    d->release_ms = now.boot_ms;
    d->release_lost = true;
    d->releases++;
    if (d->route_result != ROUTE_OK)
        d->route_due_ms = 0;
    for (uint32_t e = d->edges.first; e != 0; e = sched_list_next(DOM_EDGES(s), e))
        sched_dest_retry(s, sched_edge(s, e)->dest, now);
    sched_dom_touch(s, dom);
}

enum err sched_dom_retry(struct sched *s, const struct sched_event *ev, struct sched_now now)
{
    uint32_t dom;

    if (ev->scope == SCHED_ALL) {
        for (dom = 1; dom <= s->doms.made; dom++)
            if (pool_is_taken(&s->doms, dom))
                retry_domain(s, dom, now);
        return OK;
    }
    dom = sched_dom_find(s, ev->domain, ev->generation);
    if (dom == 0)
        return E_NOTFOUND;
    retry_domain(s, dom, now);
    return OK;
}

enum err sched_dom_probe(struct sched *s, const struct sched_event *ev)
{
    uint32_t dom = sched_dom_find(s, ev->domain, ev->generation);
    struct sched_dom *d = dom != 0 ? sched_dom(s, dom) : NULL;

    if (d == NULL || s->is_stopping)
        return E_NOTFOUND;
    if (d->probe != PROBE_NONE)
        return E_AGAIN;
    d->probe = PROBE_WAITS;
    d->probe_token = ev->token;
    if (d->route_result != ROUTE_OK)
        d->route_due_ms = 0; /* a failure of a minute ago is no answer */
    sched_dom_touch(s, dom);
    return OK;
}

void sched_dom_probed(struct sched *s, uint32_t dom)
{
    struct sched_dom *d = sched_dom(s, dom);

    ASSERT(d->probe == PROBE_RUNS && d->probe_left > 0);
    d->probe_left--;
    if (d->probe_left == 0)
        d->probe = PROBE_NONE;
    sched_dom_touch(s, dom);
}

static void probe_result(struct sched *s, uint32_t dom, struct sched_action *out)
{
    struct sched_dom *d = sched_dom(s, dom);

    out->type = SCHED_ACT_PROBE_RESULT;
    out->token = d->probe_token;
    out->left = d->probe_left;
    sched_dom_name(s, dom, out);
}

/* Begins the operator's probe when the route is known, then one address a step. */
static bool probe_step(struct sched *s, uint32_t dom, struct sched_now now,
                       struct sched_action *out)
{
    struct sched_dom *d = sched_dom(s, dom);

    if (d->probe == PROBE_WAITS) {
        if (d->route_state != ROUTE_REST || d->route_due_ms <= now.boot_ms)
            return false;
        if (d->edges.count == 0) {
            d->probe = PROBE_NONE;
            probe_result(s, dom, out);
            out->route_result = d->route_result;
            return true;
        }
        d->probe = PROBE_RUNS;
        d->probe_edge = d->edges.first;
        d->probe_left = d->edges.count < LIMIT_PROBE_ADDRS ? d->edges.count : LIMIT_PROBE_ADDRS;
        d->probe_open = d->probe_left;
    }
    if (d->probe != PROBE_RUNS || d->probe_open == 0)
        return false;
    d->probe_open--;
    if (d->probe_edge != 0) {
        const struct sched_edge *e = sched_edge(s, d->probe_edge);
        struct sched_opening o = {.dest = e->dest, .host = e->host, .probe_dom = dom};

        d->probe_edge = sched_list_next(DOM_EDGES(s), d->probe_edge);
        if (sched_conn_open(s, &o, now, out))
            return true;
        out->ip = sched_dest(s, e->dest)->key.ip;
        out->port = sched_dest(s, e->dest)->key.port;
    }
    sched_dom_probed(s, dom); /* no connection left, or the route changed meanwhile */
    probe_result(s, dom, out);
    out->failure = SCHED_FAIL_LOCAL;
    return true;
}

/* --- the look at a domain --- */

static bool is_unused(const struct sched_dom *d)
{
    return d->messages == 0 && d->given == 0 && !d->is_set && d->route_state != ROUTE_ASKED &&
           d->probe == PROBE_NONE;
}

static void forget(struct sched *s, uint32_t dom)
{
    struct sched_dom *d = sched_dom(s, dom);

    set_wants(s, d, false);
    drop_edges(s, dom, d->edges.count);
    unwant_route(s, dom);
    set_timer(s, dom, NEVER);
    map_remove(&s->dom_map, hash_of(s, name_of(d), d->generation), dom);
    pool_give(&s->doms, dom);
}

static void release_step(struct sched *s, uint32_t dom, struct sched_now now)
{
    struct sched_dom *d = sched_dom(s, dom);

    if (d->release_ms != 0 && d->release_ms <= now.boot_ms) {
        d->release_left = d->deferred.count;
        d->release_ms = 0;
        d->released_ms = now.boot_ms;
    }
    if (d->release_left > 0 && sched_msg_release(s, dom)) {
        d->release_left = 0;
        d->release_lost = false;
    }
}

static void look(struct sched *s, uint32_t dom, struct sched_now now)
{
    struct sched_dom *d = sched_dom(s, dom);
    bool runs = sched_dom_runs(s, d), needs_route;
    uint64_t timer = NEVER;

    set_wants(s, d, runs && sched_dom_ready(d) + d->deferred.count > 0);
    bind(s, dom, runs && sched_dom_ready(d) > 0 ? choose(s, d, now) : 0);
    needs_route = d->wants || (d->probe == PROBE_WAITS && !s->is_stopping);
    if (!needs_route) {
        unwant_route(s, dom);
    } else if (d->route_state == ROUTE_REST) {
        timer = route_due(s, d, now);
        if (timer <= now.boot_ms) {
            want_route(s, dom);
            timer = NEVER;
        }
    }
    if (d->release_ms != 0 && d->release_ms < timer)
        timer = d->release_ms;
    if (d->release_left > 0)
        timer = now.boot_ms + 1; /* the budget of this pull is spent */
    set_timer(s, dom, timer);
}

static bool tell_route_failed(struct sched *s, uint32_t dom, struct sched_action *out)
{
    struct sched_dom *d = sched_dom(s, dom);

    if (!d->tell_failed)
        return false;
    d->tell_failed = false;
    d->told = d->route_result;
    out->type = SCHED_ACT_ROUTE_FAILED;
    out->route_result = d->route_result;
    out->is_stale = d->is_stale;
    sched_dom_name(s, dom, out);
    return true;
}

static void fire_timers(struct sched *s, struct sched_now now)
{
    uint32_t dom;

    while ((dom = heap_first(&s->dom_timers)) != 0 &&
           sched_dom(s, dom)->timer_ms <= now.boot_ms) {
        set_timer(s, dom, NEVER);
        sched_dom_touch(s, dom);
    }
}

bool sched_dom_step(struct sched *s, struct sched_now now, struct sched_action *out)
{
    uint32_t dom;

    fire_timers(s, now);
    while ((dom = s->dom_todo.first) != 0) {
        struct sched_dom *d = sched_dom(s, dom);

        sched_list_remove(DOM_TODO(s), &s->dom_todo, dom);
        d->in_todo = false;
        if (is_unused(d)) {
            forget(s, dom);
            continue;
        }
        release_step(s, dom, now);
        look(s, dom, now);
        if (tell_route_failed(s, dom, out) || probe_step(s, dom, now, out)) {
            sched_dom_touch(s, dom);
            return true;
        }
    }
    return false;
}
