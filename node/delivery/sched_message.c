/* Messages: which are ready, which wait, which expire. */
#include "base/fault.h"
#include "node/delivery/sched_internal.h"

static struct heap_node *due_node(const void *ctx, uint32_t h)
{
    return &sched_msg(ctx, h)->due;
}

static struct heap_node *expiry_node(const void *ctx, uint32_t h)
{
    return &sched_msg(ctx, h)->expiry;
}

static bool is_older(const void *ctx, uint32_t a, uint32_t b)
{
    const struct sched_msg *x = sched_msg(ctx, a), *y = sched_msg(ctx, b);

    if (x->received_ms != y->received_ms)
        return x->received_ms < y->received_ms;
    return mid_cmp(x->id, y->id) < 0;
}

static bool is_due_before(const void *ctx, uint32_t a, uint32_t b)
{
    const struct sched_msg *x = sched_msg(ctx, a), *y = sched_msg(ctx, b);

    return x->next_ms != y->next_ms ? x->next_ms < y->next_ms : is_older(ctx, a, b);
}

static bool expires_before(const void *ctx, uint32_t a, uint32_t b)
{
    return sched_msg(ctx, a)->deadline_ms < sched_msg(ctx, b)->deadline_ms;
}

static const struct heap_ops by_age = {due_node, is_older};
static const struct heap_ops by_next = {due_node, is_due_before};
static const struct heap_ops by_deadline = {expiry_node, expires_before};

void sched_msg_init(struct sched *s)
{
    heap_init(&s->deferred, &by_next, s);
    heap_init(&s->expiry, &by_deadline, s);
}

static void heaps_of(struct sched *s, struct sched_dom *d)
{
    if (d->backlog.ops == NULL) {
        heap_init(&d->backlog, &by_age, s);
        heap_init(&d->fresh, &by_age, s);
    }
}

static bool has_id(const void *ctx, uint32_t value, const void *key)
{
    return mid_cmp(sched_msg(ctx, value)->id, *(const struct mid *)key) == 0;
}

static uint64_t hash_of(const struct sched *s, struct mid id)
{
    return map_hash(&s->msg_map, id.b, sizeof id.b);
}

uint32_t sched_msg_find(const struct sched *s, struct mid id)
{
    return map_find(&s->msg_map, hash_of(s, id), has_id, s, &id);
}

/* True: mail that just came in while its domain is being served. What came in during an outage
 * is backlog, however new it is. */
static bool is_fresh_now(const struct sched *s, const struct sched_dom *d)
{
    return d->bound != 0 &&
           sched_dest(s, sched_edge(s, d->bound)->dest)->state == SCHED_DEST_UP;
}

static void make_ready(struct sched *s, uint32_t h, bool fresh)
{
    struct sched_msg *m = sched_msg(s, h);
    struct sched_dom *d = sched_dom(s, m->dom);

    heaps_of(s, d);
    m->state = SCHED_MSG_READY;
    m->fresh = fresh;
    heap_push(fresh ? &d->fresh : &d->backlog, h);
}

/* Puts a message that is in no structure where it belongs now. */
static void place(struct sched *s, uint32_t h, bool fresh, struct sched_now now)
{
    struct sched_msg *m = sched_msg(s, h);
    struct sched_dom *d = sched_dom(s, m->dom);

    heap_push(&s->expiry, h);
    if (m->held) {
        m->state = SCHED_MSG_HELD;
        d->held++;
        s->held++;
    } else if (m->next_ms > now.cluster_ms && !m->recovered) {
        m->state = SCHED_MSG_DEFERRED;
        heap_push(&s->deferred, h);
        sched_list_push(DEFERRED_LINKS(s), &d->deferred, h);
    } else {
        make_ready(s, h, fresh && is_fresh_now(s, d));
    }
    sched_dom_touch(s, m->dom);
}

static void unplace(struct sched *s, uint32_t h)
{
    struct sched_msg *m = sched_msg(s, h);
    struct sched_dom *d = sched_dom(s, m->dom);

    switch ((enum sched_message_state)m->state) {
    case SCHED_MSG_READY:
        heap_remove(m->fresh ? &d->fresh : &d->backlog, h);
        break;
    case SCHED_MSG_DEFERRED:
        heap_remove(&s->deferred, h);
        sched_list_remove(DEFERRED_LINKS(s), &d->deferred, h);
        break;
    case SCHED_MSG_HELD:
        d->held--;
        s->held--;
        break;
    case SCHED_MSG_GIVEN: /* the job stays counted in its domain until it ends */
        s->given--;
        return;
    case SCHED_MSG_WRITING:
        d->writing--;
        s->writing--;
        return;
    }
    heap_remove(&s->expiry, h);
}

static void fill(struct sched_msg *m, const struct sched_message *from)
{
    ASSERT(from->phase == PHASE_DELIVER || from->phase == PHASE_DSN);
    m->received_ms = from->received_ms;
    m->next_ms = from->next_ms;
    m->deadline_ms = from->deadline_ms;
    m->bytes = from->body_bytes < UINT32_MAX ? (uint32_t)from->body_bytes : UINT32_MAX;
    m->phase = (uint8_t)from->phase;
    m->held = from->held;
    m->dup = from->possible_duplicate;
}

enum err sched_msg_new(struct sched *s, const struct sched_message *from, struct sched_now now)
{
    uint32_t h, dom;
    struct sched_msg *m;

    if (sched_msg_find(s, from->id) != 0)
        return E_EXISTS;
    dom = sched_dom_get(s, from->domain, from->generation);
    if (dom == 0)
        return E_FULL;
    h = pool_take(&s->msgs);
    if (h == 0 || map_put(&s->msg_map, hash_of(s, from->id), h) != OK) {
        if (h != 0)
            pool_give(&s->msgs, h);
        sched_dom_touch(s, dom); /* it may have been made for nothing */
        return E_FULL;
    }
    m = sched_msg(s, h);
    m->id = from->id;
    m->dom = dom;
    m->stamp = sched_dom(s, dom)->releases;
    fill(m, from);
    sched_dom(s, dom)->messages++;
    place(s, h, from->is_fresh, now);
    return OK;
}

/* The next try that the shell wrote was computed before a recovery that came meanwhile. */
static bool missed_a_recovery(const struct sched *s, const struct sched_msg *m)
{
    return m->state == SCHED_MSG_WRITING && m->lost < LOST_TRIES &&
           m->stamp != sched_dom(s, m->dom)->releases;
}

enum err sched_msg_changed(struct sched *s, const struct sched_message *from,
                           struct sched_now now)
{
    uint32_t h = sched_msg_find(s, from->id), dom;
    struct sched_msg *m;

    if (h == 0)
        return E_NOTFOUND;
    m = sched_msg(s, h);
    if (m->state == SCHED_MSG_GIVEN)
        return E_CONFLICT;
    dom = sched_dom_get(s, from->domain, from->generation);
    if (dom == 0)
        return E_FULL;
    if (dom != m->dom || from->phase != m->phase) {
        m->recovered = false;
        m->lost = 0;
    } else if (missed_a_recovery(s, m)) {
        m->recovered = true;
    }
    unplace(s, h);
    if (dom != m->dom) {
        sched_dom(s, m->dom)->messages--;
        sched_dom(s, dom)->messages++;
        sched_dom_touch(s, m->dom);
        m->dom = dom;
    }
    fill(m, from);
    place(s, h, false, now);
    return OK;
}

enum err sched_msg_gone(struct sched *s, struct mid id)
{
    uint32_t h = sched_msg_find(s, id);
    struct sched_msg *m;

    if (h == 0)
        return E_NOTFOUND;
    m = sched_msg(s, h);
    if (m->state == SCHED_MSG_GIVEN)
        sched_conn_msg_gone(s, m->conn, h);
    unplace(s, h);
    sched_dom(s, m->dom)->messages--;
    sched_dom_touch(s, m->dom);
    map_remove(&s->msg_map, hash_of(s, id), h);
    pool_give(&s->msgs, h);
    return OK;
}

enum err sched_msg_hold(struct sched *s, struct mid id, bool held, struct sched_now now)
{
    uint32_t h = sched_msg_find(s, id);
    struct sched_msg *m;

    if (h == 0)
        return E_NOTFOUND;
    m = sched_msg(s, h);
    if (m->held == held)
        return OK;
    if (m->state == SCHED_MSG_GIVEN || m->state == SCHED_MSG_WRITING) {
        m->held = held;
        return OK;
    }
    unplace(s, h);
    m->held = held;
    place(s, h, false, now);
    return OK;
}

enum err sched_msg_retry(struct sched *s, struct mid id, struct sched_now now)
{
    uint32_t h = sched_msg_find(s, id);
    struct sched_msg *m;

    if (h == 0)
        return E_NOTFOUND;
    m = sched_msg(s, h);
    m->recovered = true;
    m->lost = 0;
    if (m->state == SCHED_MSG_DEFERRED) {
        unplace(s, h);
        place(s, h, false, now);
    }
    return OK;
}

/* Oldest first; while old and new mail both wait, two old ones, then a new one. */
uint32_t sched_msg_take(struct sched *s, uint32_t dom, uint32_t conn)
{
    struct sched_dom *d = sched_dom(s, dom);
    bool fresh = d->fresh.count > 0 && (d->backlog.count == 0 || d->turn >= 2);
    uint32_t h = heap_first(fresh ? &d->fresh : &d->backlog);
    struct sched_msg *m = sched_msg(s, h);

    ASSERT(m->state == SCHED_MSG_READY);
    d->turn = fresh || d->fresh.count == 0 ? 0 : (uint8_t)(d->turn + 1);
    unplace(s, h);
    m->state = SCHED_MSG_GIVEN;
    m->conn = conn;
    m->stamp = d->releases;
    s->given++;
    return h;
}

void sched_msg_back(struct sched *s, uint32_t h, struct sched_now now)
{
    struct sched_msg *m = sched_msg(s, h);

    ASSERT(m->state == SCHED_MSG_GIVEN);
    s->given--;
    m->conn = 0;
    place(s, h, false, now);
}

void sched_msg_tried(struct sched *s, uint32_t h, enum sched_job job)
{
    struct sched_msg *m = sched_msg(s, h);

    ASSERT(m->state == SCHED_MSG_GIVEN);
    s->given--;
    m->conn = 0;
    m->state = SCHED_MSG_WRITING;
    s->writing++;
    sched_dom(s, m->dom)->writing++;
    if (job == SCHED_JOB_NOT_TRIED)
        return;
    m->recovered = false;
    if (job != SCHED_JOB_LOST && job != SCHED_JOB_ODDITY)
        m->lost = 0;
    else if (m->lost < LOST_TRIES)
        m->lost++;
}

static void undefer(struct sched *s, uint32_t h)
{
    struct sched_msg *m = sched_msg(s, h);

    heap_remove(&s->deferred, h);
    sched_list_remove(DEFERRED_LINKS(s), &sched_dom(s, m->dom)->deferred, h);
    make_ready(s, h, false);
}

/* What stays, goes to the end of the list, so that the next portion does not meet it again. */
bool sched_msg_release(struct sched *s, uint32_t dom)
{
    struct sched_dom *d = sched_dom(s, dom);

    for (; d->release_left > 0 && d->deferred.count > 0; d->release_left--) {
        uint32_t h = d->deferred.first;
        struct sched_msg *m = sched_msg(s, h);

        if (s->budget == 0) {
            s->more = true;
            return false;
        }
        s->budget--;
        if (m->lost >= LOST_TRIES && !d->release_lost) {
            sched_list_remove(DEFERRED_LINKS(s), &d->deferred, h);
            sched_list_push(DEFERRED_LINKS(s), &d->deferred, h);
            continue;
        }
        m->recovered = true;
        undefer(s, h);
    }
    return true;
}

void sched_msg_due(struct sched *s, struct sched_now now)
{
    uint32_t h;

    if (s->is_stopping)
        return;
    while ((h = heap_first(&s->deferred)) != 0 && sched_msg(s, h)->next_ms <= now.cluster_ms) {
        if (s->budget == 0) {
            s->more = true;
            return;
        }
        s->budget--;
        undefer(s, h);
        sched_dom_touch(s, sched_msg(s, h)->dom);
    }
}

bool sched_msg_expire(struct sched *s, struct sched_now now, struct sched_action *out)
{
    uint32_t h = heap_first(&s->expiry);
    struct sched_msg *m;

    if (h == 0 || s->is_stopping)
        return false;
    m = sched_msg(s, h);
    if (m->deadline_ms > now.cluster_ms && !FAULT(EXPIRES_AT_ONCE))
        return false;
    unplace(s, h);
    m->state = SCHED_MSG_WRITING;
    m->stamp = sched_dom(s, m->dom)->releases;
    s->writing++;
    sched_dom(s, m->dom)->writing++;
    sched_dom_touch(s, m->dom);
    out->type = SCHED_ACT_EXPIRE;
    out->id = m->id;
    out->phase = (enum phase)m->phase;
    return true;
}
