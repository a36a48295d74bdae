/* What the console sees, and the check of all invariants for the tests. */
#include "node/delivery/sched_internal.h"

void sched_counts(const struct sched *s, struct sched_counts *out)
{
    *out = (struct sched_counts){
        .messages = s->msgs.count,
        .deferred = s->deferred.count,
        .held = s->held,
        .given = s->given,
        .writing = s->writing,
        .domains = s->doms.count,
        .dests = s->dests.count,
        .conns = s->conn_count,
        .probes = s->probes_made,
        .entry_bytes = sizeof(struct sched_msg),
    };
    out->ready = out->messages - out->deferred - out->held - out->given - out->writing;
    for (uint32_t t = 1; t <= s->dests.made; t++) {
        if (!pool_is_taken(&s->dests, t))
            continue;
        out->dests_down += sched_dest(s, t)->state == SCHED_DEST_DOWN;
        out->conns_opening += sched_dest(s, t)->opening;
    }
}

bool sched_message_view(const struct sched *s, struct mid id, struct sched_message_view *out)
{
    uint32_t h = sched_msg_find(s, id);
    const struct sched_msg *m;

    if (h == 0)
        return false;
    m = sched_msg(s, h);
    *out = (struct sched_message_view){
        .state = (enum sched_message_state)m->state,
        .phase = (enum phase)m->phase,
        .next_ms = m->next_ms,
        .deadline_ms = m->deadline_ms,
        .conn = m->conn != 0 ? sched_conn(s, m->conn)->id : 0,
    };
    return true;
}

static void view_addr(const struct sched *s, uint32_t edge, struct sched_addr_view *out)
{
    const struct sched_edge *e = sched_edge(s, edge);
    const struct sched_dest *t = sched_dest(s, e->dest);
    const struct sched_host *host = sched_host(s, e->host);

    *out = (struct sched_addr_view){
        .ip = t->key.ip,
        .port = t->key.port,
        .pref = e->pref,
        .host = {host->name, host->name_n},
        .state = t->state,
        .failure = t->state == SCHED_DEST_DOWN ? t->failure : SCHED_FAIL_NONE,
        .down_since_ms = t->state == SCHED_DEST_DOWN ? t->down_since_ms : 0,
        .next_probe_ms = t->in_probes ? t->probe_due_ms : NEVER,
        .conns = t->conns.count,
        .conns_ready = t->ready,
        .window = t->window,
    };
}

bool sched_domain_view(const struct sched *s, struct str domain, uint64_t generation,
                       struct sched_domain_view *out)
{
    uint32_t dom = sched_dom_find(s, domain, generation);
    const struct sched_dom *d;

    if (dom == 0)
        return false;
    d = sched_dom(s, dom);
    *out = (struct sched_domain_view){
        .is_paused = d->settings.is_paused,
        .is_known = d->is_set || d->generation == 0,
        .messages = d->messages,
        .ready = sched_dom_ready(d),
        .deferred = d->deferred.count,
        .held = d->held,
        .given = d->given,
        .route_result = d->route_result,
        .is_stale = d->is_stale,
    };
    for (uint32_t e = d->edges.first; e != 0 && out->addr_count < LIMIT_ROUTE_ADDRS;
         e = sched_list_next(DOM_EDGES(s), e))
        view_addr(s, e, &out->addrs[out->addr_count++]);
    return true;
}

bool sched_down_next(const struct sched *s, uint32_t *at, struct route_ip *ip, uint16_t *port)
{
    while (++*at <= s->dests.made) {
        const struct sched_dest *t;

        if (!pool_is_taken(&s->dests, *at))
            continue;
        t = sched_dest(s, *at);
        if (t->state != SCHED_DEST_DOWN || t->wants == 0)
            continue;
        *ip = t->key.ip;
        *port = t->key.port;
        return true;
    }
    return false;
}

/* False: an address is up, or nobody knows yet. */
static bool way_of(const struct sched *s, const struct sched_dom *d, struct sched_way *out)
{
    out->count = 0;
    for (uint32_t e = d->edges.first; e != 0 && out->count < LIMIT_ROUTE_ADDRS;
         e = sched_list_next(DOM_EDGES(s), e)) {
        const struct sched_dest *t = sched_dest(s, sched_edge(s, e)->dest);

        if (t->state != SCHED_DEST_DOWN)
            return false;
        out->addrs[out->count].ip = t->key.ip;
        out->addrs[out->count++].port = t->key.port;
    }
    return out->count > 0;
}

bool sched_stuck_next(const struct sched *s, uint32_t *at, struct sched_way *out)
{
    while (++*at <= s->doms.made) {
        const struct sched_dom *d;

        if (!pool_is_taken(&s->doms, *at))
            continue;
        d = sched_dom(s, *at);
        if (!d->wants || !way_of(s, d, out))
            continue;
        out->domain = (struct str){d->name, d->name_n};
        out->generation = d->generation;
        return true;
    }
    return false;
}

bool sched_addr_is_down(const struct sched *s, struct route_ip ip, uint16_t port)
{
    for (uint32_t t = 1; t <= s->dests.made; t++) {
        const struct sched_dest *d;

        if (!pool_is_taken(&s->dests, t))
            continue;
        d = sched_dest(s, t);
        if (d->state == SCHED_DEST_DOWN && d->key.port == port && route_ip_eq(d->key.ip, ip))
            return true;
    }
    return false;
}

bool sched_domain_is_set(const struct sched *s, struct str domain, uint64_t generation)
{
    uint32_t dom = sched_dom_find(s, domain, generation);

    return dom != 0 && sched_dom(s, dom)->is_set;
}

/* --- the check --- */

#define EACH(s, field, item)                                                                   \
    uint32_t item = 1;                                                                         \
    item <= (s)->field.made;                                                                   \
    item++

static void check_list(struct sched_links where, const struct sched_list *l)
{
    uint32_t count = 0, last = 0;

    for (uint32_t i = l->first; i != 0; last = i, i = sched_list_next(where, i)) {
        ASSERT(pool_is_taken(where.pool, i));
        count++;
        ASSERT(count <= l->count);
    }
    ASSERT(count == l->count && last == l->last);
}

static void check_msg(const struct sched *s, uint32_t h, uint64_t counts[5])
{
    const struct sched_msg *m = sched_msg(s, h);

    ASSERT(sched_msg_find(s, m->id) == h);
    ASSERT(pool_is_taken(&s->doms, m->dom));
    ASSERT(m->lost <= LOST_TRIES);
    counts[m->state]++;
    if (m->state == SCHED_MSG_GIVEN) {
        const struct sched_conn *c = sched_conn(s, m->conn);
        uint32_t slots = 0;

        for (uint32_t i = 0; i < c->job_count; i++)
            slots += c->jobs[i].msg == h;
        ASSERT(slots == 1 && c->state == CONN_READY);
    } else {
        ASSERT(m->conn == 0);
    }
    if (m->state == SCHED_MSG_READY || m->state == SCHED_MSG_DEFERRED)
        ASSERT(!m->held);
}

static void check_msgs(const struct sched *s)
{
    uint64_t counts[5] = {0}, ready = 0, deferred = 0, held = 0, writing = 0;

    for (EACH(s, msgs, h))
        if (pool_is_taken(&s->msgs, h))
            check_msg(s, h, counts);
    for (EACH(s, doms, h)) {
        const struct sched_dom *d;

        if (!pool_is_taken(&s->doms, h))
            continue;
        d = sched_dom(s, h);
        ready += sched_dom_ready(d);
        deferred += d->deferred.count;
        held += d->held;
        writing += d->writing;
        check_list(DEFERRED_LINKS(s), &d->deferred);
        if (d->backlog.ops != NULL) {
            heap_check(&d->backlog);
            heap_check(&d->fresh);
        }
    }
    ASSERT(counts[SCHED_MSG_READY] == ready);
    ASSERT(counts[SCHED_MSG_DEFERRED] == deferred && deferred == s->deferred.count);
    ASSERT(counts[SCHED_MSG_HELD] == held && held == s->held);
    ASSERT(counts[SCHED_MSG_WRITING] == writing && writing == s->writing);
    ASSERT(counts[SCHED_MSG_GIVEN] == s->given);
    ASSERT(s->expiry.count == ready + deferred + held);
    ASSERT(s->msg_map.count == s->msgs.count);
    heap_check(&s->deferred);
    heap_check(&s->expiry);
}

/* Mail that can go must have a way to go on by itself: nothing may be forgotten. */
static void check_progress(const struct sched *s, uint32_t dom)
{
    const struct sched_dom *d = sched_dom(s, dom);
    const struct sched_dest *t;
    bool is_up = false;

    if (d->in_todo || !sched_dom_runs(s, d))
        return;
    ASSERT(d->wants == (sched_dom_ready(d) + d->deferred.count > 0));
    if (d->wants)
        ASSERT(d->route_state != ROUTE_REST || d->has_timer);
    if (sched_dom_ready(d) == 0)
        return;
    if (d->bound == 0) {
        for (uint32_t e = d->edges.first; e != 0; e = sched_list_next(DOM_EDGES(s), e)) {
            t = sched_dest(s, sched_edge(s, e)->dest);
            is_up |= t->state != SCHED_DEST_DOWN;
            ASSERT(t->in_probes || t->opening >= 2);
        }
        ASSERT(!is_up);
        return;
    }
    t = sched_dest(s, sched_edge(s, d->bound)->dest);
    ASSERT(t->state != SCHED_DEST_DOWN);
    ASSERT(t->in_todo || t->in_blocked || t->conns.count > 0 || t->has_timer ||
           d->conns_used >= sched_dom_max_conns(d)); /* on another address */
}

static void check_dom(const struct sched *s, uint32_t dom)
{
    const struct sched_dom *d = sched_dom(s, dom);
    uint32_t given = 0, used = 0, messages = 0;

    check_list(DOM_EDGES(s), &d->edges);
    for (uint32_t e = d->edges.first; e != 0; e = sched_list_next(DOM_EDGES(s), e))
        ASSERT(sched_edge(s, e)->dom == dom);
    for (EACH(s, conns, h)) {
        const struct sched_conn *c = sched_conn(s, h);
        uint32_t mine = 0;

        if (!pool_is_taken(&s->conns, h))
            continue;
        for (uint32_t i = 0; i < c->job_count; i++) {
            mine += c->jobs[i].dom == dom;
            messages += c->jobs[i].dom == dom && c->jobs[i].msg != 0;
        }
        given += mine;
        used += mine > 0;
    }
    ASSERT(d->given == given && d->conns_used == used);
    messages += sched_dom_ready(d) + d->deferred.count + d->held + d->writing;
    ASSERT(d->messages == messages);
    ASSERT(d->bound == 0 || sched_edge(s, d->bound)->dom == dom);
    check_progress(s, dom);
}

static void check_conn(const struct sched *s, uint32_t h)
{
    const struct sched_conn *c = sched_conn(s, h);

    ASSERT(pool_is_taken(&s->dests, c->dest) && pool_is_taken(&s->hosts, c->host));
    ASSERT(c->job_count <= LIMIT_JOBS_AHEAD);
    ASSERT(c->messages <= LIMIT_MESSAGES_PER_CONN + LIMIT_JOBS_AHEAD);
    ASSERT(c->job_count == 0 || c->state == CONN_READY);
    ASSERT(!c->in_idle || (c->state == CONN_READY && c->job_count == 0));
    if (c->state == CONN_READY && c->job_count == 0)
        ASSERT(c->in_idle || c->owes_quit || c->is_ending);
}

static void check_dest(const struct sched *s, uint32_t dest)
{
    const struct sched_dest *t = sched_dest(s, dest);
    uint32_t wants = 0, refs = 0, opening = 0, ready = 0, jobs = 0;

    check_list(DEST_EDGES(s), &t->edges);
    check_list(DEST_CONNS(s), &t->conns);
    check_list(RING_LINKS(s), &t->active);
    for (uint32_t e = t->edges.first; e != 0; e = sched_list_next(DEST_EDGES(s), e))
        wants += sched_dom(s, sched_edge(s, e)->dom)->wants;
    for (EACH(s, conns, h)) {
        const struct sched_conn *c = sched_conn(s, h);

        if (!pool_is_taken(&s->conns, h) || c->dest != dest)
            continue;
        refs++;
        opening += c->state == CONN_OPENING;
        ready += c->state == CONN_READY;
        jobs += c->job_count;
    }
    for (uint32_t d = t->active.first; d != 0; d = sched_list_next(RING_LINKS(s), d))
        ASSERT(sched_edge(s, sched_dom(s, d)->bound)->dest == dest);
    ASSERT(t->wants == wants && t->refs == refs && t->jobs == jobs);
    ASSERT(t->opening == opening && t->ready == ready && t->conns.count == opening + ready);
    ASSERT(t->window >= 1 && t->window <= s->conns_max + 1);
    ASSERT(t->in_probes ==
           (t->state == SCHED_DEST_DOWN && wants > 0 && opening < 2 && !s->is_stopping));
    ASSERT(t->edges.count > 0 || refs > 0);
}

static void check_totals(const struct sched *s)
{
    uint32_t alive = 0, probes = 0, hungry = 0, down = 0, asked[2] = {0};

    for (EACH(s, conns, h)) {
        const struct sched_conn *c = sched_conn(s, h);

        if (!pool_is_taken(&s->conns, h))
            continue;
        check_conn(s, h);
        alive += c->state != CONN_DEAD;
        probes += c->state == CONN_OPENING && c->is_probe;
    }
    for (EACH(s, dests, t)) {
        if (!pool_is_taken(&s->dests, t))
            continue;
        check_dest(s, t);
        hungry += sched_dest(s, t)->active.count > 0;
        down += sched_dest(s, t)->in_probes;
    }
    for (EACH(s, doms, d)) {
        if (!pool_is_taken(&s->doms, d))
            continue;
        check_dom(s, d);
        asked[sched_dom(s, d)->generation == 0] += sched_dom(s, d)->route_state == ROUTE_ASKED;
    }
    ASSERT(s->conn_count == alive && alive <= s->conns_max);
    ASSERT(s->probes_opening == probes && probes <= s->probes_max);
    ASSERT(s->hungry == hungry && s->probes.count == down);
    ASSERT(s->asked[0] == asked[0] && s->asked[1] == asked[1]);
    ASSERT(asked[0] + asked[1] <= LIMIT_ROUTES_PENDING && asked[1] <= LIMIT_ROUTES_FOREIGN);
}

void sched_check(const struct sched *s)
{
    check_msgs(s);
    check_totals(s);
    check_list(DOM_TODO(s), &s->dom_todo);
    check_list(DEST_TODO(s), &s->dest_todo);
    check_list(CONN_TODO(s), &s->conn_todo);
    check_list(BLOCKED_LINKS(s), &s->blocked);
    check_list(IDLE_LINKS(s), &s->idle);
    check_list(WANTED_LINKS(s), &s->wanted[0]);
    check_list(WANTED_LINKS(s), &s->wanted[1]);
    heap_check(&s->dom_timers);
    heap_check(&s->dest_timers);
    heap_check(&s->conn_timers);
    heap_check(&s->probes);
    ASSERT(s->dom_map.count == s->doms.count && s->dest_map.count == s->dests.count);
    ASSERT(s->host_map.count == s->hosts.count);
}
