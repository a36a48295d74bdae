#include "node/delivery/sched.h"

#include "base/arena.h"
#include "node/delivery/sched_internal.h"

static_assert(sizeof(struct sched_msg) <= 96, "a million messages must fit");

/* The scheduler lives in an arena of its own, so that no heap is touched in this folder. */
struct sched_home {
    struct arena arena;
    struct sched s;
};

static struct sched_link *link_at(struct sched_links where, uint32_t item)
{
    return (struct sched_link *)((char *)pool_at(where.pool, item) + where.offset);
}

void sched_list_push(struct sched_links where, struct sched_list *l, uint32_t item)
{
    *link_at(where, item) = (struct sched_link){.prev = l->last};
    if (l->last != 0)
        link_at(where, l->last)->next = item;
    else
        l->first = item;
    l->last = item;
    l->count++;
}

void sched_list_remove(struct sched_links where, struct sched_list *l, uint32_t item)
{
    struct sched_link was = *link_at(where, item);

    ASSERT(l->count > 0);
    if (was.prev != 0)
        link_at(where, was.prev)->next = was.next;
    else
        l->first = was.next;
    if (was.next != 0)
        link_at(where, was.next)->prev = was.prev;
    else
        l->last = was.prev;
    l->count--;
}

uint32_t sched_list_next(struct sched_links where, uint32_t item)
{
    return link_at(where, item)->next;
}

struct sched *sched_new(const struct sched_options *o)
{
    uint32_t msgs = o->messages_max > 0 ? o->messages_max : LIMIT_QUEUE_MESSAGES;
    uint32_t doms = o->domains_max > 0 ? o->domains_max : LIMIT_QUEUE_DOMAINS;
    uint32_t edges = doms > UINT32_MAX / 8 ? UINT32_MAX / 2 : doms * 4 + LIMIT_ROUTE_ADDRS;
    struct arena arena;
    struct sched_home *home;
    struct sched *s;

    arena_init(&arena, sizeof *home + 64);
    home = arena_take(&arena, sizeof *home);
    if (home == NULL)
        return NULL;
    home->arena = arena;
    s = &home->s;
    pool_init(&s->msgs, sizeof(struct sched_msg), msgs);
    pool_init(&s->doms, sizeof(struct sched_dom), doms);
    pool_init(&s->edges, sizeof(struct sched_edge), edges);
    pool_init(&s->hosts, sizeof(struct sched_host), edges);
    pool_init(&s->dests, sizeof(struct sched_dest), edges);
    map_init(&s->msg_map, msgs, o->seed);
    map_init(&s->dom_map, doms, o->seed + 1);
    map_init(&s->host_map, edges, o->seed + 2);
    map_init(&s->dest_map, edges, o->seed + 3);
    sched_msg_init(s);
    sched_dom_init(s);
    sched_dest_init(s, o);
    sched_conn_init(s, o);
    return s;
}

void sched_free(struct sched **s)
{
    struct sched *old = *s;
    struct sched_home *home =
        (struct sched_home *)((char *)old - offsetof(struct sched_home, s));
    struct arena arena = home->arena;

    pool_fini(&old->msgs);
    pool_fini(&old->doms);
    pool_fini(&old->edges);
    pool_fini(&old->hosts);
    pool_fini(&old->dests);
    pool_fini(&old->conns);
    map_fini(&old->msg_map);
    map_fini(&old->dom_map);
    map_fini(&old->host_map);
    map_fini(&old->dest_map);
    arena_reset(&arena);
    *s = NULL;
}

static void stop(struct sched *s)
{
    s->is_stopping = true;
    for (uint32_t d = 1; d <= s->doms.made; d++)
        if (pool_is_taken(&s->doms, d))
            sched_dom_touch(s, d);
    for (uint32_t t = 1; t <= s->dests.made; t++)
        if (pool_is_taken(&s->dests, t))
            sched_dest_probe_update(s, t);
    sched_conn_stop(s);
}

static enum err retry_now(struct sched *s, const struct sched_event *ev, struct sched_now now)
{
    if (ev->scope == SCHED_MESSAGE)
        return sched_msg_retry(s, ev->id, now);
    return sched_dom_retry(s, ev, now);
}

enum err sched_step(struct sched *s, const struct sched_event *ev, struct sched_now now)
{
    switch (ev->type) {
    case SCHED_EV_MESSAGE_NEW:
        return sched_msg_new(s, &ev->message, now);
    case SCHED_EV_MESSAGE_CHANGED:
        return sched_msg_changed(s, &ev->message, now);
    case SCHED_EV_MESSAGE_GONE:
        return sched_msg_gone(s, ev->id);
    case SCHED_EV_HOLD:
        return sched_msg_hold(s, ev->id, true, now);
    case SCHED_EV_RELEASE:
        return sched_msg_hold(s, ev->id, false, now);
    case SCHED_EV_DOMAIN_SET:
        return sched_dom_set(s, ev);
    case SCHED_EV_DOMAIN_GONE:
        return sched_dom_gone(s, ev);
    case SCHED_EV_ROUTE_ANSWER:
        return sched_dom_answer(s, ev, now);
    case SCHED_EV_CONN_READY:
        return sched_conn_ready(s, ev, now);
    case SCHED_EV_CONN_FAILED:
        return sched_conn_failed(s, ev, now);
    case SCHED_EV_CONN_CLOSED:
        return sched_conn_closed(s, ev->conn, now);
    case SCHED_EV_JOB_DONE:
        return sched_conn_job_done(s, ev, now);
    case SCHED_EV_RETRY_NOW:
        return retry_now(s, ev, now);
    case SCHED_EV_PROBE_NOW:
        return sched_dom_probe(s, ev);
    case SCHED_EV_TRY:
        return sched_dest_try(s, ev, now);
    case SCHED_EV_DRAIN_STOP:
        stop(s);
        return OK;
    }
    ASSERT(false);
    return OK;
}

typedef bool step_fn(struct sched *s, struct sched_now now, struct sched_action *out);

/* The kinds of actions take turns, so that no flood of one (a million messages that expire in
 * one moment, a thousand probes) keeps the others waiting. */
static step_fn *const steps[] = {sched_msg_expire,  sched_conn_step,  sched_dom_step,
                                 sched_dom_resolve, sched_dest_probe, sched_dest_step};
#define STEPS ((uint32_t)(sizeof steps / sizeof *steps))

static bool has_work(const struct sched *s)
{
    return s->conn_todo.count > 0 || s->dom_todo.count > 0 || s->dest_todo.count > 0;
}

bool sched_next_action(struct sched *s, struct sched_now now, struct sched_action *out)
{
    if (s->seen_cluster_ms != now.cluster_ms) {
        s->seen_cluster_ms = now.cluster_ms;
        s->seen_boot_ms = now.boot_ms;
    }
    s->budget = RELEASE_BATCH;
    s->more = false;
    sched_conn_timers(s, now);
    sched_dest_timers(s, now);
    sched_msg_due(s, now);
    do {
        for (uint32_t i = 0; i < STEPS; i++) {
            *out = (struct sched_action){.conn = 0};
            if (steps[(s->turn + i) % STEPS](s, now, out)) {
                s->turn = (s->turn + i + 1) % STEPS;
                return true;
            }
        }
    } while (has_work(s));
    return false;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Cluster time comes in steps: when it stands still, what is due in it is not looked for more
 * often than every 50 ms. */
static uint64_t from_cluster(const struct sched *s, uint64_t due_ms, struct sched_now now)
{
    uint64_t wait = due_ms > now.cluster_ms ? due_ms - now.cluster_ms : 0;

    if (wait > 0 && wait < 50 && now.boot_ms > s->seen_boot_ms)
        wait = 50;
    return wait < NEVER - now.boot_ms ? now.boot_ms + wait : NEVER;
}

static uint64_t probe_wakeup(const struct sched *s)
{
    uint32_t t = heap_first(&s->probes);
    uint64_t due, token = (s->probe_free_us + 999) / 1000;

    if (t == 0 || !sched_conn_has_place(s, true))
        return NEVER; /* a connection that ends makes place */
    due = sched_dest(s, t)->probe_due_ms;
    return due > token ? due : token;
}

uint64_t sched_wakeup_ms(const struct sched *s, struct sched_now now)
{
    uint64_t at = probe_wakeup(s);
    uint32_t first;

    if (has_work(s) || s->more)
        return now.boot_ms;
    if ((first = heap_first(&s->dom_timers)) != 0)
        at = earlier(at, sched_dom(s, first)->timer_ms);
    if ((first = heap_first(&s->dest_timers)) != 0)
        at = earlier(at, sched_dest(s, first)->timer_ms);
    if ((first = heap_first(&s->conn_timers)) != 0)
        at = earlier(at, sched_conn(s, first)->timer_ms);
    if (!s->is_stopping && (first = heap_first(&s->deferred)) != 0)
        at = earlier(at, from_cluster(s, sched_msg(s, first)->next_ms, now));
    if (!s->is_stopping && (first = heap_first(&s->expiry)) != 0)
        at = earlier(at, from_cluster(s, sched_msg(s, first)->deadline_ms, now));
    return at > now.boot_ms ? at : now.boot_ms;
}

const char *sched_failure_text(enum sched_failure f)
{
    static const char *const texts[] = {
        [SCHED_FAIL_NONE] = "none",         [SCHED_FAIL_CONNECT] = "connect",
        [SCHED_FAIL_GREETING] = "greeting", [SCHED_FAIL_EHLO] = "ehlo",
        [SCHED_FAIL_TLS] = "tls",           [SCHED_FAIL_LOCAL] = "local"};

    ASSERT((size_t)f < sizeof texts / sizeof *texts);
    return texts[f];
}
