/* Random walk: a shell that does anything it may, in any order, late, twice, and with answers
 * of its own mind; every invariant of the structures is checked as it goes, and no message is
 * ever on two connections, tried while held, or expired early. */
#include <stdlib.h>

#include "base/map.h"
#include "base/prng.h"
#include "node/delivery/sched.h"

#define SEED_BYTES 16   /* an input shorter than this is the seed of a long walk */
#define LONG_WALK  2500 /* bytes of it */
#define MESSAGES   64
#define CONNS      64
#define RESOLVES   160
#define ADDRESSES  6
#define DOMAINS    8

struct input {
    const uint8_t *p; /* NULL: n bytes of the generator */
    size_t n;
};

struct walk {
    struct sched *s;
    struct sched_now now;
    struct input in;
    struct prng rng;
    struct sched_message msgs[MESSAGES];
    bool known[MESSAGES], given[MESSAGES], writing[MESSAGES], gone_given[MESSAGES];
    uint32_t counter;
    uint64_t conns[CONNS];
    bool ready[CONNS], quitting[CONNS];
    struct mid jobs[CONNS][LIMIT_JOBS_AHEAD];
    uint32_t job_count[CONNS];
    uint32_t serials[RESOLVES];
    int asked[RESOLVES]; /* domain, or -1 */
    bool stopped;
};

static uint32_t byte(struct walk *w)
{
    if (w->in.n == 0)
        return 0;
    w->in.n--;
    return w->in.p != NULL ? *w->in.p++ : (uint32_t)prng_below(&w->rng, 256);
}

static struct str name_of(int d)
{
    static const char *const names[DOMAINS] = {"a.example", "b.example", "c.example",
                                               "d.example", "a.example", "f.example",
                                               "g.example", "h.example"};

    return str_of(names[d]);
}

static uint64_t generation_of(int d)
{
    return d < 4 ? 0 : (uint64_t)d;
}

static enum err step(struct walk *w, struct sched_event ev)
{
    return sched_step(w->s, &ev, w->now);
}

/* --- actions --- */

static int conn_of(const struct walk *w, uint64_t id)
{
    for (int c = 0; c < CONNS; c++)
        if (w->conns[c] == id)
            return c;
    return -1;
}

static int msg_of(const struct walk *w, struct mid id)
{
    for (int i = 0; i < MESSAGES; i++)
        if (mid_cmp(w->msgs[i].id, id) == 0)
            return i;
    return -1;
}

static void on_open(struct walk *w, const struct sched_action *a)
{
    int c = conn_of(w, 0);

    ASSERT(a->conn != 0 && conn_of(w, a->conn) < 0 && c >= 0);
    ASSERT(a->connect_ms > 0 && a->greet_ms > 0 && a->host.n > 0);
    w->conns[c] = a->conn;
    w->ready[c] = w->quitting[c] = false;
    w->job_count[c] = 0;
}

static void on_give(struct walk *w, const struct sched_action *a)
{
    int c = conn_of(w, a->conn), i = msg_of(w, a->id);

    ASSERT(c >= 0 && w->ready[c] && !w->quitting[c]);
    ASSERT(i >= 0 && w->known[i] && !w->given[i] && !w->writing[i] && !w->msgs[i].held);
    ASSERT(w->msgs[i].next_ms <= w->now.cluster_ms || a->recovered);
    ASSERT(w->msgs[i].phase == a->phase && !w->stopped);
    ASSERT(w->job_count[c] < LIMIT_JOBS_AHEAD);
    w->given[i] = true;
    w->jobs[c][w->job_count[c]++] = a->id;
}

static void on_resolve(struct walk *w, const struct sched_action *a)
{
    for (int d = 0; d < DOMAINS; d++) {
        if (!str_eq(a->domain, name_of(d)) || a->generation != generation_of(d))
            continue;
        for (int i = 0; i < RESOLVES; i++) {
            if (w->asked[i] >= 0)
                continue;
            w->asked[i] = d;
            w->serials[i] = a->serial;
            return;
        }
    }
    ASSERT(false);
}

static void on_expire(struct walk *w, const struct sched_action *a)
{
    int i = msg_of(w, a->id);

    ASSERT(i >= 0 && w->known[i] && !w->given[i] && !w->writing[i]);
    ASSERT(w->msgs[i].deadline_ms <= w->now.cluster_ms);
    w->writing[i] = true;
}

static void pull(struct walk *w)
{
    struct sched_action a;
    int c;

    for (int n = 0; sched_next_action(w->s, w->now, &a); n++) {
        ASSERT(n < 100000);
        switch (a.type) {
        case SCHED_ACT_RESOLVE:
            on_resolve(w, &a);
            break;
        case SCHED_ACT_OPEN:
            on_open(w, &a);
            break;
        case SCHED_ACT_GIVE:
            on_give(w, &a);
            break;
        case SCHED_ACT_QUIT:
            c = conn_of(w, a.conn);
            ASSERT(c >= 0 && w->job_count[c] == 0 && !w->quitting[c]);
            w->quitting[c] = true;
            break;
        case SCHED_ACT_EXPIRE:
            on_expire(w, &a);
            break;
        case SCHED_ACT_PROBE_RESULT:
        case SCHED_ACT_PRIMARY_DOWN:
        case SCHED_ACT_PRIMARY_UP:
        case SCHED_ACT_ROUTE_FAILED:
            break;
        }
    }
    sched_check(w->s);
    ASSERT(sched_wakeup_ms(w->s, w->now) >= w->now.boot_ms);
}

/* --- events --- */

static void fill(struct walk *w, int i)
{
    struct sched_message *m = &w->msgs[i];
    int d = (int)byte(w) % DOMAINS;

    m->domain = name_of(d);
    m->generation = generation_of(d);
    m->body_bytes = (uint64_t)byte(w) << 16;
    m->next_ms = byte(w) % 3 == 0 ? w->now.cluster_ms + byte(w) * 1000 : 0;
    m->deadline_ms = w->now.cluster_ms + (uint64_t)(byte(w) + 1) * 2000;
    m->phase = byte(w) % 4 == 0 ? PHASE_DSN : PHASE_DELIVER;
    m->held = byte(w) % 8 == 0;
}

static void message_new(struct walk *w, int i)
{
    enum err e;

    if (w->known[i]) {
        e = step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_NEW, .message = w->msgs[i]});
        ASSERT(e == E_EXISTS);
        return;
    }
    if (w->gone_given[i])
        return;
    w->msgs[i].id = mid_make(1, 1, ++w->counter);
    w->msgs[i].received_ms = w->now.cluster_ms - byte(w);
    w->msgs[i].is_fresh = byte(w) % 2 == 0;
    fill(w, i);
    e = step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_NEW, .message = w->msgs[i]});
    ASSERT(e == OK || e == E_FULL);
    w->known[i] = e == OK;
    w->given[i] = w->writing[i] = false;
}

static void message_changed(struct walk *w, int i)
{
    struct sched_message was = w->msgs[i];
    enum err e;

    fill(w, i);
    e = step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_CHANGED, .message = w->msgs[i]});
    if (!w->known[i])
        ASSERT(e == E_NOTFOUND);
    else if (w->given[i])
        ASSERT(e == E_CONFLICT);
    else
        ASSERT(e == OK || e == E_FULL);
    if (e == OK)
        w->writing[i] = false;
    else
        w->msgs[i] = was;
}

static void message_gone(struct walk *w, int i)
{
    enum err e =
        step(w, (struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = w->msgs[i].id});

    ASSERT(e == (w->known[i] ? OK : E_NOTFOUND));
    if (w->known[i] && w->given[i])
        w->gone_given[i] = true;
    w->known[i] = false;
}

static void hold(struct walk *w, int i, bool held)
{
    enum err e = step(w, (struct sched_event){.type = held ? SCHED_EV_HOLD : SCHED_EV_RELEASE,
                                              .id = w->msgs[i].id});

    ASSERT(e == (w->known[i] ? OK : E_NOTFOUND));
    if (w->known[i])
        w->msgs[i].held = held;
}

static void domain(struct walk *w, bool gone)
{
    int d = (int)byte(w) % DOMAINS;
    struct sched_settings settings = {.is_paused = byte(w) % 4 == 0,
                                      .max_conns = byte(w) % 4,
                                      .tls = (enum sched_tls)(byte(w) % 3),
                                      .route_version = byte(w) % 2};
    enum err e =
        step(w, (struct sched_event){.type = gone ? SCHED_EV_DOMAIN_GONE : SCHED_EV_DOMAIN_SET,
                                     .domain = name_of(d),
                                     .generation = generation_of(d),
                                     .settings = settings});

    ASSERT(e == OK || e == E_FULL || e == E_NOTFOUND);
}

static void route_answer(struct walk *w)
{
    struct route r = {.result = (enum route_result)(byte(w) % ROUTE_RESULTS), .ttl_s = byte(w)};
    int i = (int)byte(w) % RESOLVES;
    enum err e;

    for (int n = 0; n < RESOLVES && w->asked[i] < 0; n++)
        i = (i + 1) % RESOLVES;
    if (w->asked[i] < 0)
        return;
    for (uint32_t n = byte(w) % 4; r.result == ROUTE_OK && n > 0; n--) {
        uint8_t ip[4] = {192, 0, 2, (uint8_t)(byte(w) % ADDRESSES)};

        r.addrs[r.count++] =
            (struct route_addr){route_ip_v4(ip), 25, (uint16_t)n,
                                byte(w) % 2 == 0 ? STR("mx.example") : STR("mx2.example")};
    }
    e = step(w, (struct sched_event){.type = SCHED_EV_ROUTE_ANSWER,
                                     .domain = name_of(w->asked[i]),
                                     .generation = generation_of(w->asked[i]),
                                     .serial = w->serials[i],
                                     .route = &r});
    ASSERT(e == OK);
    w->asked[i] = -1;
}

static int any_conn(struct walk *w)
{
    int c = (int)byte(w) % CONNS;

    for (int n = 0; n < CONNS && w->conns[c] == 0; n++)
        c = (c + 1) % CONNS;
    return w->conns[c] != 0 ? c : -1;
}

static void give_back(struct walk *w, int c, uint32_t from)
{
    for (uint32_t k = from; k < w->job_count[c]; k++) {
        int i = msg_of(w, w->jobs[c][k]);

        ASSERT(i >= 0);
        w->given[i] = false;
        w->gone_given[i] = false;
    }
}

static void conn_event(struct walk *w)
{
    int c = any_conn(w);
    struct sched_event ev = {.type = SCHED_EV_CONN_READY};

    if (c < 0)
        return;
    ev.conn = w->conns[c];
    ev.latency_ms = byte(w) * 40;
    if (!w->ready[c] && !w->quitting[c] && byte(w) % 3 != 0) {
        w->ready[c] = true;
        ASSERT(step(w, ev) == OK);
        return;
    }
    if (w->ready[c] || byte(w) % 4 == 0) {
        ev.type = SCHED_EV_CONN_CLOSED;
    } else {
        ev.type = SCHED_EV_CONN_FAILED;
        ev.failure = (enum sched_failure)(1 + byte(w) % 5);
    }
    ASSERT(step(w, ev) == OK);
    ASSERT(step(w, ev) == E_NOTFOUND);
    give_back(w, c, 0);
    w->conns[c] = 0;
}

static void job_done(struct walk *w)
{
    int c = any_conn(w), i;
    struct sched_event ev = {.type = SCHED_EV_JOB_DONE};

    if (c < 0 || w->job_count[c] == 0)
        return;
    ev.conn = w->conns[c];
    ev.id = w->jobs[c][0];
    ev.job = (enum sched_job)(byte(w) % (SCHED_JOB_NOT_TRIED + 1));
    ev.latency_ms = byte(w) * 40;
    i = msg_of(w, ev.id);
    ASSERT(i >= 0 && w->given[i]);
    w->given[i] = false;
    w->writing[i] = w->known[i];
    w->gone_given[i] = false;
    w->job_count[c]--;
    memmove(&w->jobs[c][0], &w->jobs[c][1], w->job_count[c] * sizeof w->jobs[c][0]);
    ASSERT(step(w, ev) == OK);
}

static void operator_event(struct walk *w)
{
    int d = (int)byte(w) % DOMAINS, i = (int)byte(w) % MESSAGES;
    struct sched_event ev = {.type = SCHED_EV_RETRY_NOW,
                             .scope = (enum sched_scope)(byte(w) % 3),
                             .id = w->msgs[i].id,
                             .domain = name_of(d),
                             .generation = generation_of(d),
                             .token = 5};
    enum err e;

    if (byte(w) % 2 == 0)
        ev.type = SCHED_EV_PROBE_NOW;
    e = step(w, ev);
    ASSERT(e == OK || e == E_NOTFOUND || e == E_AGAIN);
    if (byte(w) == 255 && byte(w) > 200) {
        w->stopped = true;
        ASSERT(step(w, (struct sched_event){.type = SCHED_EV_DRAIN_STOP}) == OK);
    }
}

static void pass_time(struct walk *w)
{
    static const uint64_t spans[] = {1, 10, 100, 1000, 5000, 20000, 700000, 7200000};
    uint64_t span = spans[byte(w) % 8];
    uint64_t next = sched_wakeup_ms(w->s, w->now);

    if (byte(w) % 2 == 0 && next != UINT64_MAX && next > w->now.boot_ms)
        span = next - w->now.boot_ms;
    w->now.boot_ms += span;
    w->now.cluster_ms += byte(w) % 8 == 0 ? 0 : span;
}

static void move(struct walk *w)
{
    uint32_t what = byte(w) % 16;
    int i = (int)byte(w) % MESSAGES;

    if (what < 3)
        message_new(w, i);
    else if (what == 3)
        message_changed(w, i);
    else if (what == 4)
        message_gone(w, i);
    else if (what == 5)
        hold(w, i, byte(w) % 2 == 0);
    else if (what == 6)
        domain(w, byte(w) % 4 == 0);
    else if (what < 9)
        route_answer(w);
    else if (what < 12)
        conn_event(w);
    else if (what < 14)
        job_done(w);
    else if (what == 14)
        operator_event(w);
    else
        pass_time(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct walk w;
    uint8_t *copy = malloc(size > 0 ? size : 1);

    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    w = (struct walk){.now = {1000, 100000}, .in = {copy, size}};
    if (size < SEED_BYTES) {
        const uint64_t key[2] = {1, 2};

        prng_seed(&w.rng, siphash(key, copy, size));
        w.in = (struct input){NULL, LONG_WALK};
    }
    for (int i = 0; i < RESOLVES; i++)
        w.asked[i] = -1;
    w.s = sched_new(&(struct sched_options){.messages_max = 48,
                                            .domains_max = 7,
                                            .conns_max = 1 + byte(&w) % 12,
                                            .probes_per_s = 1 + byte(&w) % 8,
                                            .seed = byte(&w)});
    while (w.in.n > 0) {
        for (uint32_t burst = byte(&w) % 4; burst > 0; burst--)
            move(&w);
        move(&w);
        pull(&w);
    }
    for (int i = 0; i < 20; i++) { /* quiet in the end: whatever waits is waited for */
        w.now.boot_ms += 10000;
        w.now.cluster_ms += 10000;
        pull(&w);
    }
    sched_free(&w.s);
    free(copy);
    return 0;
}
