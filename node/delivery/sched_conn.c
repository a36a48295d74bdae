/* Connections and the jobs on them. */
#include "node/delivery/sched_internal.h"

#define HANDLE_BITS 24 /* of a connection number; the rest counts */

static struct heap_node *timer_node(const void *ctx, uint32_t h)
{
    return &sched_conn(ctx, h)->timer;
}

static bool timer_before(const void *ctx, uint32_t a, uint32_t b)
{
    return sched_conn(ctx, a)->timer_ms < sched_conn(ctx, b)->timer_ms;
}

static const struct heap_ops by_timer = {timer_node, timer_before};

void sched_conn_init(struct sched *s, const struct sched_options *o)
{
    s->ask_ahead = o->ask_ahead;
    s->conns_max = o->conns_max > 0 ? o->conns_max : LIMIT_CONNS_OUT;
    ASSERT(s->conns_max < UINT32_C(1) << (HANDLE_BITS - 1));
    /* Probes of what is dead leave half of the places to mail, mail leaves a tenth to them. */
    s->probes_max = s->conns_max > 1 ? s->conns_max / 2 : 1;
    s->ordinary_max = s->conns_max - (s->conns_max > 1 ? (s->conns_max + 9) / 10 : 0);
    /* twice: one that failed stays known until the result of its probe is told */
    pool_init(&s->conns, sizeof(struct sched_conn), s->conns_max * 2);
    heap_init(&s->conn_timers, &by_timer, s);
}

static uint32_t find(const struct sched *s, uint64_t id)
{
    uint32_t h = (uint32_t)(id & ((UINT64_C(1) << HANDLE_BITS) - 1));

    return pool_is_taken(&s->conns, h) && sched_conn(s, h)->id == id ? h : 0;
}

static void set_timer(struct sched *s, uint32_t conn, uint64_t at_ms)
{
    struct sched_conn *c = sched_conn(s, conn);

    if (c->has_timer)
        heap_remove(&s->conn_timers, conn);
    c->has_timer = at_ms != NEVER;
    c->timer_ms = at_ms;
    if (c->has_timer)
        heap_push(&s->conn_timers, conn);
}

static void touch(struct sched *s, uint32_t conn)
{
    struct sched_conn *c = sched_conn(s, conn);

    if (c->in_todo)
        return;
    c->in_todo = true;
    sched_list_push(CONN_TODO(s), &s->conn_todo, conn);
}

static void set_idle(struct sched *s, uint32_t conn, bool idle)
{
    struct sched_conn *c = sched_conn(s, conn);

    if (c->in_idle == idle)
        return;
    c->in_idle = idle;
    if (idle)
        sched_list_push(IDLE_LINKS(s), &s->idle, conn);
    else
        sched_list_remove(IDLE_LINKS(s), &s->idle, conn);
}

static void owe_quit(struct sched *s, uint32_t conn)
{
    sched_conn(s, conn)->owes_quit = true;
    touch(s, conn);
}

/* --- opening --- */

bool sched_conn_has_place(const struct sched *s, bool is_probe)
{
    if (s->conn_count >= s->conns_max)
        return false;
    return is_probe ? s->probes_opening < s->probes_max
                    : s->conn_count - s->probes_opening < s->ordinary_max;
}

bool sched_conn_unblock(struct sched *s)
{
    uint32_t dest = s->blocked.first;

    if (dest == 0 || !sched_conn_has_place(s, false))
        return false;
    sched_list_remove(BLOCKED_LINKS(s), &s->blocked, dest);
    sched_dest(s, dest)->in_blocked = false;
    sched_dest(s, dest)->is_granted = true;
    sched_dest_touch(s, dest);
    return true;
}

static void set_limits(const struct sched_dest *t, struct sched_conn *c, struct sched_now now)
{
    c->connect_ms = CONNECT_MS;
    c->greet_ms = GREET_MS;
    if (t->state != SCHED_DEST_DOWN)
        return;
    if (now.boot_ms - t->down_since_ms >= PROBE_FAST_AGE_MS)
        c->connect_ms = PROBE_CONNECT_SLOW_MS;
    if (t->opening > 0)
        c->greet_ms = GREET_COMPANY_MS;
}

static void tell_open(const struct sched *s, const struct sched_conn *c,
                      struct sched_action *out)
{
    const struct sched_dest *t = sched_dest(s, c->dest);
    const struct sched_host *host = sched_host(s, c->host);

    out->type = SCHED_ACT_OPEN;
    out->conn = c->id;
    out->ip = t->key.ip;
    out->port = t->key.port;
    out->host = (struct str){host->name, host->name_n};
    out->tls = c->tls;
    out->is_probe = c->is_probe || c->probe_dom != 0;
    out->connect_ms = c->connect_ms;
    out->greet_ms = c->greet_ms;
}

bool sched_conn_open(struct sched *s, const struct sched_opening *o, struct sched_now now,
                     struct sched_action *out)
{
    struct sched_dest *t = sched_dest(s, o->dest);
    uint64_t patience =
        t->greet_ms * 2 > GREET_PATIENCE_MS ? t->greet_ms * 2 : GREET_PATIENCE_MS;
    uint32_t h;
    struct sched_conn *c;

    if (s->conn_count >= s->conns_max || (h = pool_take(&s->conns)) == 0)
        return false;
    c = sched_conn(s, h);
    c->id = ++s->conn_serial << HANDLE_BITS | h;
    c->dest = o->dest;
    c->host = o->host;
    c->state = CONN_OPENING;
    c->is_probe = o->is_probe;
    c->probe_dom = o->probe_dom;
    c->opened_ms = now.boot_ms;
    c->tls = (enum sched_tls)t->key.tls;
    if (c->tls == SCHED_TLS_TRY && t->no_tls_until_ms > now.boot_ms)
        c->tls = SCHED_TLS_OFF;
    set_limits(t, c, now);
    sched_host_ref(s, c->host);
    sched_list_push(DEST_CONNS(s), &t->conns, h);
    t->refs++;
    t->opening++;
    t->last_open_ms = now.boot_ms;
    t->used_ms = now.boot_ms;
    s->conn_count++;
    s->probes_opening += c->is_probe;
    if (t->state != SCHED_DEST_DOWN)
        set_timer(s, h, now.boot_ms + patience);
    sched_dest_probe_update(s, o->dest);
    tell_open(s, c, out);
    return true;
}

/* Takes a connection out of what can be used. */
static void leave(struct sched *s, uint32_t conn)
{
    struct sched_conn *c = sched_conn(s, conn);
    struct sched_dest *t = sched_dest(s, c->dest);

    ASSERT(c->state == CONN_OPENING || c->state == CONN_READY);
    sched_list_remove(DEST_CONNS(s), &t->conns, conn);
    if (c->state == CONN_OPENING) {
        t->opening--;
        s->probes_opening -= c->is_probe;
    } else {
        t->ready--;
    }
    set_idle(s, conn, false);
    set_timer(s, conn, NEVER);
    c->state = CONN_QUITTING;
    sched_dest_probe_update(s, c->dest);
    sched_dest_touch(s, c->dest);
}

static void forget(struct sched *s, uint32_t conn)
{
    struct sched_conn *c = sched_conn(s, conn);
    uint32_t dest = c->dest, host = c->host;

    ASSERT(c->job_count == 0);
    if (c->in_todo)
        sched_list_remove(CONN_TODO(s), &s->conn_todo, conn);
    pool_give(&s->conns, conn);
    sched_dest(s, dest)->refs--;
    sched_dest_drop(s, dest);
    sched_host_unref(s, host);
}

/* The socket is closed. One that owes the result of a probe stays known until that is told. */
static void gone(struct sched *s, uint32_t conn, enum sched_failure failure)
{
    struct sched_conn *c = sched_conn(s, conn);

    if (c->state != CONN_QUITTING)
        leave(s, conn);
    s->conn_count--;
    if (c->probe_dom == 0) {
        forget(s, conn);
        return;
    }
    c->state = CONN_DEAD;
    c->owes_quit = false;
    if (!c->owes_result)
        c->failure = failure;
    c->owes_result = true;
    touch(s, conn);
}

/* --- jobs --- */

static bool has_job_of(const struct sched_conn *c, uint32_t dom)
{
    for (uint32_t i = 0; i < c->job_count; i++)
        if (c->jobs[i].dom == dom)
            return true;
    return false;
}

static void give(struct sched *s, uint32_t conn, uint32_t dom, struct sched_now now,
                 struct sched_action *out)
{
    struct sched_conn *c = sched_conn(s, conn);
    struct sched_dest *t = sched_dest(s, c->dest);
    struct sched_dom *d = sched_dom(s, dom);
    uint32_t msg = sched_msg_take(s, dom, conn);
    const struct sched_msg *m = sched_msg(s, msg);

    if (!has_job_of(c, dom))
        d->conns_used++;
    c->jobs[c->job_count++] =
        (struct sched_job_slot){.id = m->id, .msg = msg, .dom = dom, .bytes = m->bytes};
    d->given++;
    if (t->jobs++ == 0)
        t->busy_ms = now.boot_ms;
    if (sched_dom_ready(d) == 0)
        sched_dom_touch(s, dom);
    if (t->is_canary && t->canary_ms == 0)
        t->canary_ms = now.boot_ms;
    set_idle(s, conn, false);
    set_timer(s, conn, NEVER);
    out->type = SCHED_ACT_GIVE;
    out->conn = c->id;
    out->id = m->id;
    out->phase = (enum phase)m->phase;
    out->recovered = m->recovered;
    out->possible_duplicate = m->dup;
}

static struct sched_job_slot take_slot(struct sched *s, uint32_t conn, uint32_t i)
{
    struct sched_conn *c = sched_conn(s, conn);
    struct sched_job_slot slot = c->jobs[i];
    struct sched_dom *d = sched_dom(s, slot.dom);

    for (c->job_count--; i < c->job_count; i++)
        c->jobs[i] = c->jobs[i + 1];
    d->given--;
    sched_dest(s, c->dest)->jobs--;
    if (!has_job_of(c, slot.dom))
        d->conns_used--;
    sched_dom_touch(s, slot.dom);
    return slot;
}

void sched_conn_msg_gone(struct sched *s, uint32_t conn, uint32_t msg)
{
    struct sched_conn *c = sched_conn(s, conn);

    for (uint32_t i = 0; i < c->job_count; i++)
        if (c->jobs[i].msg == msg)
            c->jobs[i].msg = 0;
}

/* The connection has nothing to do: it waits a little for more, or makes room. */
static void rest(struct sched *s, uint32_t conn, struct sched_now now)
{
    struct sched_conn *c = sched_conn(s, conn);
    const struct sched_dest *t = sched_dest(s, c->dest);
    uint32_t window = sched_dest_window(s, t, now);

    if (c->is_ending)
        return; /* CONN_CLOSED is on its way */
    if (s->is_stopping || c->messages >= LIMIT_MESSAGES_PER_CONN ||
        (t->active.count > 0 && t->conns.count > window) ||
        (s->blocked.count > 0 && c->messages >= TURN_MESSAGES) ||
        (c->probe_dom != 0 && t->wants == 0)) {
        owe_quit(s, conn);
        return;
    }
    set_idle(s, conn, true);
    set_timer(s, conn, now.boot_ms + IDLE_MS);
}

/* --- who gets what --- */

static bool can_take(const struct sched *s, const struct sched_conn *c)
{
    uint32_t limit = s->blocked.count > 0 ? TURN_MESSAGES : LIMIT_MESSAGES_PER_CONN;

    return c->state == CONN_READY && !c->owes_quit && !c->is_ending &&
           c->messages + c->job_count < limit;
}

/* A connection without jobs, while fewer than `window` are at work; or 0. */
static uint32_t pick_idle(const struct sched *s, const struct sched_dest *t, uint32_t window)
{
    uint32_t busy = 0, found = 0;

    for (uint32_t h = t->conns.first; h != 0; h = sched_list_next(DEST_CONNS(s), h)) {
        const struct sched_conn *c = sched_conn(s, h);

        busy += c->job_count > 0;
        if (c->job_count == 0 && can_take(s, c))
            found = h;
    }
    return busy < window ? found : 0;
}

/* The connection with the fewest jobs that may take one in advance; or 0. */
static uint32_t pick_ahead(const struct sched *s, const struct sched_dest *t, uint32_t dom)
{
    const struct sched_dom *d = sched_dom(s, dom);
    bool may_spread = d->conns_used < sched_dom_max_conns(d);
    uint32_t found = 0, least = LIMIT_JOBS_AHEAD;

    for (uint32_t h = t->conns.first; h != 0; h = sched_list_next(DEST_CONNS(s), h)) {
        const struct sched_conn *c = sched_conn(s, h);
        uint64_t bytes = 0;

        if (c->job_count == 0 || c->job_count >= least || !can_take(s, c) ||
            !(may_spread || has_job_of(c, dom)))
            continue;
        for (uint32_t i = 0; i < c->job_count; i++)
            bytes += c->jobs[i].bytes;
        if (bytes >= AHEAD_BYTES)
            continue;
        found = h;
        least = c->job_count;
    }
    return found;
}

/* No place for one more connection: wait in line, and let go of one that nobody uses. */
static void block(struct sched *s, uint32_t dest)
{
    struct sched_dest *t = sched_dest(s, dest);

    if (!t->in_blocked) {
        t->in_blocked = true;
        sched_list_push(BLOCKED_LINKS(s), &s->blocked, dest);
    }
    if (s->idle.first != 0) {
        uint32_t conn = s->idle.first;

        set_idle(s, conn, false);
        owe_quit(s, conn);
    }
}

static bool wants_open(const struct sched_dest *t, const struct sched_dom *d, uint32_t window)
{
    uint32_t need = sched_dom_ready(d) > t->active.count ? sched_dom_ready(d) : t->active.count;

    return t->conns.count < window && t->opening < need &&
           d->conns_used < sched_dom_max_conns(d);
}

/* One domain's turn. */
static bool serve(struct sched *s, uint32_t dest, uint32_t dom, struct sched_now now,
                  struct sched_action *out)
{
    struct sched_dest *t = sched_dest(s, dest);
    struct sched_dom *d = sched_dom(s, dom);
    uint32_t window = sched_dest_window(s, t, now), conn = 0;

    if (d->conns_used < sched_dom_max_conns(d))
        conn = pick_idle(s, t, window);
    if (conn == 0 && wants_open(t, d, window)) {
        struct sched_opening o = {.dest = dest, .host = sched_edge(s, d->bound)->host};

        /* a place that is free belongs to who waits longest, not to who let it go */
        if ((s->blocked.count == 0 || t->is_granted) && sched_conn_has_place(s, false) &&
            sched_conn_open(s, &o, now, out)) {
            t->is_granted = false;
            return true;
        }
        block(s, dest);
    }
    if (conn == 0 && (!t->is_canary || s->ask_ahead) && sched_dom_ready(d) > t->opening)
        conn = pick_ahead(s, t, dom);
    if (conn == 0)
        return false;
    give(s, conn, dom, now, out);
    return true;
}

/* The domain whose name the next connection bears, which may have one more; or 0. */
static uint32_t company_of(const struct sched *s, const struct sched_dest *t)
{
    uint32_t edge = t->edges.first;

    if (t->active.first != 0)
        edge = sched_dom(s, t->active.first)->bound;
    if (edge != 0) {
        const struct sched_dom *d = sched_dom(s, sched_edge(s, edge)->dom);

        if (d->conns_used >= sched_dom_max_conns(d))
            return 0;
    }
    return edge;
}

bool sched_conn_company(struct sched *s, uint32_t dest, struct sched_now now,
                        struct sched_action *out)
{
    const struct sched_dest *t = sched_dest(s, dest);
    uint64_t heard_ms = t->alive_ms > t->busy_ms ? t->alive_ms : t->busy_ms;
    bool is_asked = t->last_open_ms > heard_ms;
    uint64_t due = is_asked ? t->last_open_ms + SILENT_AGAIN_MS : heard_ms + SILENT_MS;
    struct sched_opening o = {.dest = dest};
    uint32_t edge;

    if (t->jobs == 0 || t->ready == 0 || t->opening > 0)
        return false;
    if (due < t->brake_until_ms)
        due = t->brake_until_ms;
    if (now.boot_ms < due) {
        sched_dest_timer(s, dest, due);
        return false;
    }
    edge = company_of(s, t);
    if (edge == 0 || !sched_conn_has_place(s, false))
        return false;
    o.host = sched_edge(s, edge)->host;
    return sched_conn_open(s, &o, now, out);
}

bool sched_conn_pump(struct sched *s, uint32_t dest, struct sched_now now,
                     struct sched_action *out)
{
    struct sched_dest *t = sched_dest(s, dest);
    uint32_t looked = 0;

    if (t->is_canary && t->canary_ms != 0) {
        uint32_t allowed = sched_dest_window(s, t, now);

        if (allowed < CANARIES)
            sched_dest_timer(s, dest, t->canary_ms + allowed * CANARY_STALL_MS);
        if (t->jobs >= (s->ask_ahead ? allowed * LIMIT_JOBS_AHEAD : allowed))
            return false;
    }
    while (t->active.count > 0 && looked++ < SCAN_MAX && looked <= t->active.count) {
        uint32_t dom = t->active.first;

        sched_list_remove(RING_LINKS(s), &t->active, dom); /* domains take turns */
        sched_list_push(RING_LINKS(s), &t->active, dom);
        if (sched_dom_ready(sched_dom(s, dom)) == 0) {
            sched_dom_unbind(s, dom);
            sched_dom_touch(s, dom);
            looked--;
        } else if (serve(s, dest, dom, now, out)) {
            return true;
        }
    }
    return false;
}

/* --- events --- */

enum err sched_conn_ready(struct sched *s, const struct sched_event *ev, struct sched_now now)
{
    uint32_t conn = find(s, ev->conn);
    struct sched_conn *c;
    struct sched_dest *t;

    if (conn == 0)
        return E_NOTFOUND;
    c = sched_conn(s, conn);
    if (c->state != CONN_OPENING)
        return OK; /* told to quit meanwhile */
    t = sched_dest(s, c->dest);
    c->state = CONN_READY;
    c->latency_ms = ev->latency_ms;
    t->opening--;
    t->ready++;
    s->probes_opening -= c->is_probe;
    sched_dest_ready(s, c->dest, ev->latency_ms, now);
    if (c->probe_dom != 0) {
        c->owes_result = true;
        touch(s, conn);
    }
    if (!c->owes_quit)
        rest(s, conn, now);
    return OK;
}

enum err sched_conn_failed(struct sched *s, const struct sched_event *ev, struct sched_now now)
{
    uint32_t conn = find(s, ev->conn), dest;
    enum sched_failure failure;
    uint64_t opened_ms;
    bool was_opening;

    if (conn == 0)
        return E_NOTFOUND;
    if (sched_conn(s, conn)->state == CONN_READY)
        return sched_conn_closed(s, ev->conn, now);
    if (sched_conn(s, conn)->state == CONN_DEAD)
        return E_NOTFOUND;
    was_opening = sched_conn(s, conn)->state == CONN_OPENING;
    opened_ms = sched_conn(s, conn)->opened_ms;
    dest = sched_conn(s, conn)->dest;
    sched_dest(s, dest)->refs++; /* it is looked at once more below */
    failure = ev->failure;
    if (failure == SCHED_FAIL_TLS && sched_conn(s, conn)->tls == SCHED_TLS_OFF)
        failure = SCHED_FAIL_EHLO; /* there was no TLS to fail */
    gone(s, conn, failure);
    if (was_opening)
        sched_dest_failed(s, dest, failure, opened_ms, now);
    sched_dest(s, dest)->refs--;
    sched_dest_drop(s, dest);
    return OK;
}

enum err sched_conn_closed(struct sched *s, uint64_t id, struct sched_now now)
{
    uint32_t conn = find(s, id), returned;
    struct sched_conn *c;

    if (conn == 0 || sched_conn(s, conn)->state == CONN_DEAD)
        return E_NOTFOUND;
    c = sched_conn(s, conn);
    if (c->state == CONN_OPENING) {
        struct sched_event ev = {.conn = id, .failure = SCHED_FAIL_GREETING};

        return sched_conn_failed(s, &ev, now);
    }
    returned = c->job_count;
    while (c->job_count > 0) {
        struct sched_job_slot slot = take_slot(s, conn, 0);

        if (slot.msg != 0)
            sched_msg_back(s, slot.msg, now);
    }
    if (returned > 0 && c->messages == 0 && !c->is_ending) {
        /* takes connections and ends them before the first message */
        struct sched_outcome o = {.job = SCHED_JOB_LOST, .opened_ms = c->opened_ms};

        sched_dest_job(s, c->dest, &o, now);
    }
    if (sched_dest(s, c->dest)->jobs == 0)
        sched_dest(s, c->dest)->canary_ms = 0;
    sched_dest(s, c->dest)->used_ms = now.boot_ms;
    gone(s, conn, SCHED_FAIL_NONE);
    return OK;
}

enum err sched_conn_job_done(struct sched *s, const struct sched_event *ev,
                             struct sched_now now)
{
    uint32_t conn = find(s, ev->conn), i = 0;
    struct sched_job_slot slot;
    struct sched_outcome o;
    struct sched_conn *c;

    if (conn == 0)
        return E_NOTFOUND;
    c = sched_conn(s, conn);
    while (i < c->job_count && mid_cmp(c->jobs[i].id, ev->id) != 0)
        i++;
    if (i == c->job_count)
        return E_NOTFOUND;
    slot = take_slot(s, conn, i);
    if (slot.msg != 0)
        sched_msg_tried(s, slot.msg, ev->job);
    c->messages++;
    c->is_ending |= ev->job == SCHED_JOB_BRAKE_CLOSE || ev->job == SCHED_JOB_ODDITY ||
                    ev->job == SCHED_JOB_LOST;
    o = (struct sched_outcome){ev->job, ev->latency_ms, c->opened_ms};
    sched_dest_job(s, c->dest, &o, now);
    if (c->job_count > 0)
        return OK;
    if (ev->job == SCHED_JOB_DEST_PROBLEM)
        owe_quit(s, conn);
    else
        rest(s, conn, now);
    return OK;
}

void sched_conn_stop(struct sched *s)
{
    for (uint32_t h = 1; h <= s->conns.made; h++) {
        const struct sched_conn *c;

        if (!pool_is_taken(&s->conns, h))
            continue;
        c = sched_conn(s, h);
        if (c->state == CONN_OPENING || (c->state == CONN_READY && c->job_count == 0))
            owe_quit(s, h);
    }
}

/* --- steps --- */

static void tell_result(struct sched *s, uint32_t conn, struct sched_action *out)
{
    struct sched_conn *c = sched_conn(s, conn);
    const struct sched_dom *d = sched_dom(s, c->probe_dom);

    tell_open(s, c, out); /* address and host */
    out->type = SCHED_ACT_PROBE_RESULT;
    out->is_probe = true;
    out->failure = c->failure;
    out->latency_ms = c->latency_ms;
    out->token = d->probe_token;
    sched_dom_name(s, c->probe_dom, out);
    sched_dom_probed(s, c->probe_dom);
    out->left = d->probe_left;
    c->owes_result = false;
    c->probe_dom = 0;
}

bool sched_conn_step(struct sched *s, struct sched_now now, struct sched_action *out)
{
    uint32_t conn;

    (void)now;
    while ((conn = s->conn_todo.first) != 0) {
        struct sched_conn *c = sched_conn(s, conn);

        sched_list_remove(CONN_TODO(s), &s->conn_todo, conn);
        c->in_todo = false;
        if (c->owes_result) {
            tell_result(s, conn, out);
            if (c->state == CONN_DEAD)
                forget(s, conn);
            else if (c->owes_quit)
                touch(s, conn);
            return true;
        }
        if (!c->owes_quit || c->state == CONN_QUITTING)
            continue;
        ASSERT(c->job_count == 0);
        leave(s, conn);
        out->type = SCHED_ACT_QUIT;
        out->conn = c->id;
        return true;
    }
    return false;
}

void sched_conn_timers(struct sched *s, struct sched_now now)
{
    uint32_t conn;

    while ((conn = heap_first(&s->conn_timers)) != 0 &&
           sched_conn(s, conn)->timer_ms <= now.boot_ms) {
        const struct sched_conn *c = sched_conn(s, conn);

        set_timer(s, conn, NEVER);
        if (c->state == CONN_OPENING)
            sched_dest_slow_greeting(s, c->dest, now);
        else if (c->job_count == 0)
            owe_quit(s, conn);
    }
}
