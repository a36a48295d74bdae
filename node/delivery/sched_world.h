/*
 * sched_world: the world around a scheduler, on virtual time, for its tests: a shell that does
 * what the actions say, DNS, and primaries of every temper. Everything that happens is counted;
 * what must never happen (a message on two connections, a GIVE to a connection that is not
 * ready, an early expiry) ends the test at once. Included by test programs only.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "node/delivery/sched.h"

#define W_MESSAGES  200000
#define W_PRIMARIES 256
#define W_CONNS     2048
#define W_EVENTS    8192
#define W_DAY       UINT64_C(86400000)

enum temper {
    T_UP,
    T_REFUSE,    /* TCP reset */
    T_BLACKHOLE, /* no answer to SYN */
    T_HANG,      /* TCP, then silence */
    T_LOSE,      /* greets, then cuts every transaction */
    T_ODD,       /* greets, then breaks the protocol */
    T_BUSY,      /* 421 to every message */
    T_GREYLIST,  /* 450 to every message */
    T_DEFER,     /* 451 to every message */
    T_SHUT,      /* greets, then closes before the first command */
    T_LOCAL      /* our own machine cannot open the connection */
};

struct primary {
    enum temper temper;
    uint64_t rtt_ms, job_ms;
    uint32_t max_conns; /* more are refused in the greeting; 0: any number */
    bool breaks_tls;
    uint32_t conns, busy, busy_peak, conns_peak, opens, taken;
    uint64_t last_open_ms, gap_max_ms; /* between OPENs */
    uint64_t first_taken_ms, last_taken_ms;
    enum sched_tls last_tls;
};

struct w_conn {
    uint64_t id; /* 0: free */
    uint32_t primary;
    bool ready, counted, quitting, blackholed, ending;
    uint64_t opened_ms, fails_ms, greet_ms, syn_ms;
    struct mid jobs[LIMIT_JOBS_AHEAD];
    bool recovered[LIMIT_JOBS_AHEAD];
    uint32_t job_count;
    bool working;
};

struct w_msg {
    struct sched_message m;
    char domain[64];
    bool on_conn, done, expired;
    uint32_t tries;
    uint64_t done_ms, given_ms;
    bool last_recovered;
};

enum w_event_type { W_CONNECTED, W_JOB, W_WRITTEN, W_ROUTE, W_CLOSE };

struct w_event {
    uint64_t at_ms, seq;
    enum w_event_type type;
    uint64_t conn;
    uint32_t msg;
    bool gone; /* W_WRITTEN: settled */
    char domain[64];
    uint64_t generation;
    uint32_t serial;
};

struct world {
    struct sched *s;
    struct sched_now now;
    struct prng rng;
    struct primary primaries[W_PRIMARIES];
    struct w_conn conns[W_CONNS];
    struct w_msg *msgs;
    uint32_t msg_count;
    struct w_event *events;
    uint32_t event_count;
    uint64_t event_seq;
    void (*route_of)(struct world *w, const char *domain, struct route *r); /* DNS */
    uint64_t dns_ms, write_ms, retry_ms; /* retry_ms: next try after a deferral */
    uint32_t open_conns, open_peak;
    uint32_t resolves, opens, quits, gives, expires, downs, ups, failed_routes, probe_results;
    uint32_t delivered, resolving, resolving_peak;
    uint64_t last_resolve_ms;
    struct sched_action last_result, last_failed_route, last_down, last_up;
    uint32_t probe_starts; /* in the current second */
    uint64_t probe_second;
    uint32_t probe_peak;
    bool checks; /* sched_check() after each pull */
};

#define W_ASSERT(w, cond)                                                                      \
    do {                                                                                       \
        if (!(cond)) {                                                                         \
            fprintf(stderr, "%s:%d: at %llu ms: %s\n", __FILE__, __LINE__,                     \
                    (unsigned long long)(w)->now.boot_ms, #cond);                              \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

static inline struct route_ip w_ip(uint32_t primary)
{
    uint8_t b[4] = {198, 51, (uint8_t)(primary >> 8), (uint8_t)primary};

    return route_ip_v4(b);
}

static inline uint32_t w_primary_of(struct route_ip ip)
{
    return (uint32_t)ip.b[14] << 8 | ip.b[15];
}

/* Default DNS: "dN..." goes to primary N alone. */
static inline void w_route_add(struct route *r, uint32_t primary, uint16_t pref)
{
    r->result = ROUTE_OK;
    r->ttl_s = 3600;
    r->addrs[r->count++] = (struct route_addr){w_ip(primary), 25, pref, STR("mx.example.net")};
}

static inline void w_route_default(struct world *w, const char *domain, struct route *r)
{
    (void)w;
    w_route_add(r, (uint32_t)strtoul(domain + 1, NULL, 10), 10);
}

static inline struct world *w_new(const struct sched_options *o)
{
    struct world *w = calloc(1, sizeof *w);

    W_ASSERT(w, w != NULL);
    w->msgs = calloc(W_MESSAGES, sizeof *w->msgs);
    w->events = calloc(W_EVENTS, sizeof *w->events);
    w->s = sched_new(o);
    w->now = (struct sched_now){1000000, 5000000};
    prng_seed(&w->rng, 7);
    w->route_of = w_route_default;
    w->dns_ms = 5;
    w->write_ms = 2;
    w->retry_ms = 300000;
    for (int i = 0; i < W_PRIMARIES; i++)
        w->primaries[i] = (struct primary){.rtt_ms = 10, .job_ms = 20};
    return w;
}

static inline void w_free(struct world **w)
{
    sched_free(&(*w)->s);
    free((*w)->msgs);
    free((*w)->events);
    free(*w);
    *w = NULL;
}

static inline enum err w_step(struct world *w, struct sched_event ev)
{
    return sched_step(w->s, &ev, w->now);
}

/* --- events, in order of time: a binary heap --- */

static inline bool w_before(const struct w_event *a, const struct w_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static inline void w_push(struct world *w, struct w_event e)
{
    uint32_t i = w->event_count++;

    W_ASSERT(w, w->event_count <= W_EVENTS);
    e.seq = ++w->event_seq;
    for (; i > 0 && w_before(&e, &w->events[(i - 1) / 2]); i = (i - 1) / 2)
        w->events[i] = w->events[(i - 1) / 2];
    w->events[i] = e;
}

static inline struct w_event w_pop(struct world *w)
{
    struct w_event first = w->events[0], last = w->events[--w->event_count];
    uint32_t i = 0;

    for (;;) {
        uint32_t k = 2 * i + 1;

        if (k + 1 < w->event_count && w_before(&w->events[k + 1], &w->events[k]))
            k++;
        if (k >= w->event_count || w_before(&last, &w->events[k]))
            break;
        w->events[i] = w->events[k];
        i = k;
    }
    w->events[i] = last;
    return first;
}

/* --- messages --- */

static inline struct mid w_id(uint32_t i)
{
    return mid_make(1, 1, i + 1);
}

static inline uint32_t w_index(struct mid id)
{
    return (uint32_t)mid_counter(id) - 1;
}

/* A new message; answers its index. */
static inline uint32_t w_message(struct world *w, const char *domain, bool fresh)
{
    uint32_t i = w->msg_count++;
    struct w_msg *m = &w->msgs[i];

    W_ASSERT(w, i < W_MESSAGES && strlen(domain) < sizeof m->domain);
    snprintf(m->domain, sizeof m->domain, "%s", domain);
    m->m = (struct sched_message){
        .id = w_id(i),
        .domain = str_of(m->domain),
        .body_bytes = 4096,
        .received_ms = w->now.cluster_ms,
        .deadline_ms = w->now.cluster_ms + 14 * W_DAY,
        .is_fresh = fresh,
    };
    W_ASSERT(w, w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_NEW,
                                               .message = m->m}) == OK);
    return i;
}

static inline void w_changed(struct world *w, uint32_t i)
{
    enum err e = w_step(
        w, (struct sched_event){.type = SCHED_EV_MESSAGE_CHANGED, .message = w->msgs[i].m});

    W_ASSERT(w, e == OK || e == E_NOTFOUND);
}

/* --- the shell --- */

static inline struct w_conn *w_conn(struct world *w, uint64_t id)
{
    for (int i = 0; i < W_CONNS; i++)
        if (id != 0 && w->conns[i].id == id)
            return &w->conns[i];
    return NULL;
}

static inline void w_uncount(struct world *w, struct w_conn *c)
{
    struct primary *p = &w->primaries[c->primary];

    if (c->counted)
        p->conns--;
    if (c->working)
        p->busy--;
    w->open_conns--;
    c->id = 0;
}

static inline void w_fail(struct world *w, struct w_conn *c, enum sched_failure f)
{
    uint64_t id = c->id;

    w_uncount(w, c);
    W_ASSERT(w, w_step(w, (struct sched_event){
                              .type = SCHED_EV_CONN_FAILED, .conn = id, .failure = f}) == OK);
}

static inline void w_close(struct world *w, struct w_conn *c)
{
    uint64_t id = c->id;

    for (uint32_t i = 0; i < c->job_count; i++)
        w->msgs[w_index(c->jobs[i])].on_conn = false;
    w_uncount(w, c);
    W_ASSERT(w,
             w_step(w, (struct sched_event){.type = SCHED_EV_CONN_CLOSED, .conn = id}) == OK);
}

/* When does this connection attempt learn something? SYNs go out at 0, 1 and 3 s. */
static inline void w_plan_connect(struct world *w, struct w_conn *c)
{
    const struct primary *p = &w->primaries[c->primary];
    uint64_t since = w->now.boot_ms - c->syn_ms, at = w->now.boot_ms;

    switch (p->temper) {
    case T_REFUSE:
        at = c->syn_ms + p->rtt_ms > at ? c->syn_ms + p->rtt_ms : at;
        break;
    case T_BLACKHOLE:
        c->blackholed = true;
        at = since < 1000 ? c->syn_ms + 1000 : c->syn_ms + 3000;
        if (at <= w->now.boot_ms || at > c->fails_ms)
            at = c->fails_ms;
        break;
    case T_HANG:
        at = c->greet_ms; /* looked at again when the temper changes */
        break;
    default:
        at = w->now.boot_ms + (since == 0 ? 2 : 1) * p->rtt_ms;
        break;
    }
    w_push(w, (struct w_event){.at_ms = at, .type = W_CONNECTED, .conn = c->id});
}

static inline void w_open(struct world *w, const struct sched_action *a)
{
    struct primary *p = &w->primaries[w_primary_of(a->ip)];
    struct w_conn *c = NULL;

    for (int i = 0; c == NULL; i++) {
        W_ASSERT(w, i < W_CONNS);
        c = w->conns[i].id == 0 ? &w->conns[i] : NULL;
    }
    *c = (struct w_conn){.id = a->conn,
                         .primary = w_primary_of(a->ip),
                         .opened_ms = w->now.boot_ms,
                         .syn_ms = w->now.boot_ms,
                         .fails_ms = w->now.boot_ms + a->connect_ms,
                         .greet_ms = w->now.boot_ms + a->connect_ms + a->greet_ms};
    if (p->opens > 0 && w->now.boot_ms - p->last_open_ms > p->gap_max_ms)
        p->gap_max_ms = w->now.boot_ms - p->last_open_ms;
    p->opens++;
    p->last_open_ms = w->now.boot_ms;
    p->last_tls = a->tls;
    w->opens++;
    w->open_conns++;
    if (w->open_conns > w->open_peak)
        w->open_peak = w->open_conns;
    if (a->is_probe) {
        if (w->now.boot_ms / 1000 != w->probe_second)
            w->probe_starts = 0;
        w->probe_second = w->now.boot_ms / 1000;
        w->probe_starts++;
        if (w->probe_starts > w->probe_peak)
            w->probe_peak = w->probe_starts;
    }
    w_plan_connect(w, c);
}

static inline void w_start_job(struct world *w, struct w_conn *c)
{
    struct primary *p = &w->primaries[c->primary];

    if (c->working || c->job_count == 0)
        return;
    c->working = true;
    p->busy++;
    if (p->busy > p->busy_peak)
        p->busy_peak = p->busy;
    w_push(w, (struct w_event){.at_ms = w->now.boot_ms + p->job_ms,
                               .type = W_JOB,
                               .conn = c->id,
                               .msg = w_index(c->jobs[0])});
}

static inline void w_give(struct world *w, const struct sched_action *a)
{
    struct w_conn *c = w_conn(w, a->conn);
    struct w_msg *m = &w->msgs[w_index(a->id)];

    W_ASSERT(w, c != NULL && c->ready && !c->quitting && !c->ending);
    W_ASSERT(w, c->job_count < LIMIT_JOBS_AHEAD);
    W_ASSERT(w, !m->on_conn && !m->done && !m->expired); /* INV-4 in the small */
    m->on_conn = true;
    m->tries++;
    m->given_ms = w->now.boot_ms;
    m->last_recovered = a->recovered;
    W_ASSERT(w, m->m.next_ms <= w->now.cluster_ms || a->recovered);
    c->jobs[c->job_count++] = a->id;
    w->gives++;
    w_start_job(w, c);
}

static inline void w_expire(struct world *w, const struct sched_action *a)
{
    struct w_msg *m = &w->msgs[w_index(a->id)];

    W_ASSERT(w, !m->on_conn && !m->done && !m->expired);
    W_ASSERT(w, w->now.cluster_ms >= m->m.deadline_ms);
    m->expired = true;
    m->done_ms = w->now.boot_ms;
    w->expires++;
    w_push(w, (struct w_event){.at_ms = w->now.boot_ms + w->write_ms,
                               .type = W_WRITTEN,
                               .msg = w_index(a->id),
                               .gone = true});
}

static inline void w_resolve(struct world *w, const struct sched_action *a)
{
    struct w_event e = {.at_ms = w->now.boot_ms + w->dns_ms,
                        .type = W_ROUTE,
                        .generation = a->generation,
                        .serial = a->serial};

    w->resolves++;
    w->resolving++;
    if (w->resolving > w->resolving_peak)
        w->resolving_peak = w->resolving;
    w->last_resolve_ms = w->now.boot_ms;
    snprintf(e.domain, sizeof e.domain, STR_FMT, STR_ARG(a->domain));
    w_push(w, e);
}

static inline void w_perform(struct world *w, const struct sched_action *a)
{
    struct w_conn *c;

    switch (a->type) {
    case SCHED_ACT_RESOLVE:
        w_resolve(w, a);
        break;
    case SCHED_ACT_OPEN:
        w_open(w, a);
        break;
    case SCHED_ACT_GIVE:
        w_give(w, a);
        break;
    case SCHED_ACT_QUIT:
        c = w_conn(w, a->conn);
        W_ASSERT(w, c != NULL && c->job_count == 0);
        w->quits++;
        w_close(w, c);
        break;
    case SCHED_ACT_EXPIRE:
        w_expire(w, a);
        break;
    case SCHED_ACT_PROBE_RESULT:
        w->probe_results++;
        w->last_result = *a;
        break;
    case SCHED_ACT_PRIMARY_DOWN:
        w->downs++;
        w->last_down = *a;
        break;
    case SCHED_ACT_PRIMARY_UP:
        w->ups++;
        w->last_up = *a;
        break;
    case SCHED_ACT_ROUTE_FAILED:
        w->failed_routes++;
        w->last_failed_route = *a;
        break;
    }
}

static inline void w_pull(struct world *w)
{
    struct sched_action a;

    while (sched_next_action(w->s, w->now, &a))
        w_perform(w, &a);
    if (w->checks)
        sched_check(w->s);
}

/* --- what the world does --- */

static inline void w_on_connect(struct world *w, struct w_conn *c)
{
    struct primary *p = &w->primaries[c->primary];
    uint64_t id = c->id;

    if (c->ready)
        return; /* an older plan of this attempt */
    if (c->blackholed && w->now.boot_ms >= c->fails_ms) {
        w_fail(w, c, SCHED_FAIL_CONNECT);
        return;
    }
    c->blackholed = false;
    switch (p->temper) {
    case T_REFUSE:
        w_fail(w, c, SCHED_FAIL_CONNECT);
        return;
    case T_BLACKHOLE:
        if (w->now.boot_ms >= c->fails_ms)
            w_fail(w, c, SCHED_FAIL_CONNECT);
        else
            w_plan_connect(w, c);
        return;
    case T_HANG:
        if (w->now.boot_ms >= c->greet_ms)
            w_fail(w, c, SCHED_FAIL_GREETING);
        return;
    case T_LOCAL:
        w_fail(w, c, SCHED_FAIL_LOCAL);
        return;
    default:
        break;
    }
    if (p->max_conns > 0 && p->conns >= p->max_conns) {
        w_fail(w, c, SCHED_FAIL_GREETING);
        return;
    }
    if (p->breaks_tls && p->last_tls != SCHED_TLS_OFF) {
        w_fail(w, c, SCHED_FAIL_TLS);
        return;
    }
    c->ready = c->counted = true;
    p->conns++;
    if (p->conns > p->conns_peak)
        p->conns_peak = p->conns;
    W_ASSERT(w, w_step(w, (struct sched_event){.type = SCHED_EV_CONN_READY,
                                               .conn = id,
                                               .latency_ms = w->now.boot_ms - c->opened_ms}) ==
                    OK);
    if (p->temper == T_SHUT) {
        w_pull(w);
        c = w_conn(w, id);
        if (c != NULL)
            w_close(w, c);
    }
}

static inline void w_report(struct world *w, struct w_conn *c, uint32_t i, enum sched_job job)
{
    struct w_msg *m = &w->msgs[i];

    m->on_conn = false;
    if (c->working)
        w->primaries[c->primary].busy--;
    c->working = false;
    c->job_count--;
    memmove(&c->jobs[0], &c->jobs[1], c->job_count * sizeof c->jobs[0]);
    W_ASSERT(w, w_step(w, (struct sched_event){.type = SCHED_EV_JOB_DONE,
                                               .conn = c->id,
                                               .id = w_id(i),
                                               .job = job,
                                               .latency_ms =
                                                   w->primaries[c->primary].job_ms}) == OK);
}

static inline void w_on_job(struct world *w, struct w_conn *c, uint32_t i)
{
    static const enum sched_job jobs[] = {[T_UP] = SCHED_JOB_OK,
                                          [T_REFUSE] = SCHED_JOB_LOST,
                                          [T_BLACKHOLE] = SCHED_JOB_LOST,
                                          [T_HANG] = SCHED_JOB_LOST,
                                          [T_LOSE] = SCHED_JOB_LOST,
                                          [T_ODD] = SCHED_JOB_ODDITY,
                                          [T_BUSY] = SCHED_JOB_BRAKE_CLOSE,
                                          [T_GREYLIST] = SCHED_JOB_BRAKE,
                                          [T_DEFER] = SCHED_JOB_DEFERRED,
                                          [T_SHUT] = SCHED_JOB_LOST,
                                          [T_LOCAL] = SCHED_JOB_LOST};
    struct primary *p = &w->primaries[c->primary];
    enum sched_job job = jobs[p->temper];
    struct w_msg *m = &w->msgs[i];

    W_ASSERT(w, c->job_count > 0 && w_index(c->jobs[0]) == i);
    if (job == SCHED_JOB_OK) {
        m->done = true;
        m->done_ms = w->now.boot_ms;
        w->delivered++;
        p->taken++;
        if (p->first_taken_ms == 0)
            p->first_taken_ms = w->now.boot_ms;
        p->last_taken_ms = w->now.boot_ms;
    } else {
        m->m.next_ms = w->now.cluster_ms + w->retry_ms;
    }
    w_report(w, c, i, job);
    w_push(w, (struct w_event){.at_ms = w->now.boot_ms + w->write_ms,
                               .type = W_WRITTEN,
                               .msg = i,
                               .gone = m->done});
    if (job == SCHED_JOB_LOST || job == SCHED_JOB_ODDITY || job == SCHED_JOB_BRAKE_CLOSE) {
        c->ending = true; /* the close is noticed a little later */
        w_push(w,
               (struct w_event){.at_ms = w->now.boot_ms + 3, .type = W_CLOSE, .conn = c->id});
    } else {
        w_start_job(w, c);
    }
}

static inline void w_on_route(struct world *w, const struct w_event *e)
{
    struct route r = {.result = ROUTE_NO_ANSWER};
    enum err err;

    w->route_of(w, e->domain, &r);
    w->resolving--;
    err = w_step(w, (struct sched_event){.type = SCHED_EV_ROUTE_ANSWER,
                                         .domain = str_of(e->domain),
                                         .generation = e->generation,
                                         .serial = e->serial,
                                         .route = &r});
    W_ASSERT(w, err == OK || err == E_NOTFOUND);
}

static inline void w_happen(struct world *w, const struct w_event *e)
{
    struct w_conn *c = w_conn(w, e->conn);

    switch (e->type) {
    case W_CONNECTED:
        if (c != NULL)
            w_on_connect(w, c);
        break;
    case W_JOB:
        if (c != NULL)
            w_on_job(w, c, e->msg);
        break;
    case W_WRITTEN:
        if (e->gone)
            W_ASSERT(w, w_step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_GONE,
                                                       .id = w_id(e->msg)}) == OK);
        else
            w_changed(w, e->msg);
        break;
    case W_ROUTE:
        w_on_route(w, e);
        break;
    case W_CLOSE:
        if (c != NULL)
            w_close(w, c);
        break;
    }
}

/* Runs until `until_ms` of boot time; both clocks go together. */
static inline void w_run(struct world *w, uint64_t until_ms)
{
    w_pull(w);
    while (w->now.boot_ms < until_ms) {
        uint64_t next = sched_wakeup_ms(w->s, w->now);

        if (next <= w->now.boot_ms)
            next = w->now.boot_ms + 1;
        if (w->event_count > 0 && w->events[0].at_ms < next)
            next = w->events[0].at_ms;
        if (next > until_ms)
            next = until_ms;
        if (next > w->now.boot_ms) {
            w->now.cluster_ms += next - w->now.boot_ms;
            w->now.boot_ms = next;
        }
        while (w->event_count > 0 && w->events[0].at_ms <= w->now.boot_ms) {
            struct w_event e = w_pop(w);

            w_happen(w, &e);
        }
        w_pull(w);
    }
}

static inline void w_wait(struct world *w, uint64_t ms)
{
    w_run(w, w->now.boot_ms + ms);
}

/* Attempts on their way notice the change as real ones do: at the next SYN, at the next byte. A
 * primary that comes back from HANG or BLACKHOLE has forgotten its connections. */
static inline void w_temper(struct world *w, uint32_t primary, enum temper temper)
{
    struct primary *p = &w->primaries[primary];
    enum temper old = p->temper;

    p->temper = temper;
    p->first_taken_ms = 0;
    p->gap_max_ms = 0;
    for (int i = 0; i < W_CONNS; i++) {
        struct w_conn *c = &w->conns[i];

        if (c->id == 0 || c->primary != primary)
            continue;
        if (!c->ready && old == T_HANG) {
            w_plan_connect(w, c);
        } else if (c->ready && (temper == T_REFUSE || temper == T_SHUT)) {
            while (c->job_count > 0 && c->working) {
                uint32_t m = w_index(c->jobs[0]);

                w->msgs[m].m.next_ms = w->now.cluster_ms + w->retry_ms;
                w_report(w, c, m, SCHED_JOB_LOST);
                w_push(w, (struct w_event){.at_ms = w->now.boot_ms + w->write_ms,
                                           .type = W_WRITTEN,
                                           .msg = m});
            }
            w_close(w, c);
        }
    }
}
