/* Questions to primaries (node/delivery/callout.h): only of domains that this node holds, over
 * connections that are none of the scheduler's. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/cluster_private.h"
#include "node/delivery/callout.h"
#include "node/smtp/address.h"
#include "node/smtp_thread.h"

#define CALLOUT_CONN (UINT64_C(1) << 62) /* a number that neither scheduler nor reach gives */
#define TICK_MS      1000
#define PATH_BYTES   (LIMIT_SMTP_LOCAL_PART_BYTES + 1 + LIMIT_SMTP_DOMAIN_BYTES + 1)

/* A domain's place in the plan. */
struct call {
    struct route_addr addr; /* where it goes; host in host[] */
    char host[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint64_t conn; /* 0: none */
    enum smtpc_tls tls;
    bool is_asking, is_closed; /* asking: a job is out; closed: its connection is over */
};

struct cluster_callout {
    struct callout plan;
    struct event *tick;
    uint64_t serial; /* of connections */
    bool is_pulling; /* what is done within calls back */
    struct call calls[LIMIT_CALLOUT_DOMAINS];
};

static void pull(struct cluster *c);

/* --- orders to the smtp threads --- */

static struct smtp_thread *thread_of(struct cluster *c, const struct call *k)
{
    return c->node->smtp[k->conn % c->node->smtp_count];
}

static void order(struct cluster *c, const struct call *k, enum smtp_mail kind)
{
    struct conn_order *o = calloc(1, sizeof *o);

    ASSERT(o != NULL);
    o->mail.kind = (int)kind;
    o->conn = k->conn;
    o->ip = k->addr.ip;
    o->port = k->addr.port;
    memcpy(o->host, k->host, sizeof o->host);
    o->tls = k->tls;
    o->connect_ms = LIMIT_CALLOUT_CONNECT_MS;
    o->greet_ms = LIMIT_CALLOUT_GREET_MS;
    o->cuts = true;
    mailbox_answer(thread_of(c, k)->box, &o->mail);
}

static void open_conn(struct cluster *c, struct call *k)
{
    k->conn = CALLOUT_CONN | ++c->callout->serial;
    k->is_asking = k->is_closed = false;
    stat_add(STAT_CALLOUT_SESSIONS_TOTAL, 1);
    order(c, k, SMTP_MAIL_OPEN);
}

/* A job with nothing but the null sender and the recipients. */
static void give(struct cluster *c, uint32_t place, const struct callout_names *names)
{
    const struct callout_domain *d = &c->callout->plan.domains[place];
    struct call *k = &c->callout->calls[place];
    struct delivery_job *j = calloc(1, sizeof *j);

    ASSERT(j != NULL);
    arena_init(&j->arena, LIMIT_COMMAND_SCRATCH);
    j->env.rcpts = arena_take(&j->arena, names->count * sizeof *j->env.rcpts);
    j->rcpts = arena_take(&j->arena, names->count * sizeof *j->rcpts);
    ASSERT(j->env.rcpts != NULL && j->rcpts != NULL);
    for (uint32_t i = 0; i < names->count; i++) {
        char *path = arena_take(&j->arena, PATH_BYTES);
        int n;

        ASSERT(path != NULL);
        n = snprintf(path, PATH_BYTES, "%s@%s", names->locals[i], d->name);
        j->env.rcpts[i] = (struct rcpt){.path = {path, (size_t)n}};
        j->rcpts[i] = i;
    }
    j->env.rcpt_count = j->rcpt_count = names->count;
    j->asks = true;
    j->conn = k->conn;
    j->mail.kind = SMTP_MAIL_GIVE;
    k->is_asking = true;
    stat_add(STAT_CALLOUT_QUESTIONS_TOTAL, names->count);
    mailbox_answer(thread_of(c, k)->box, &j->mail);
}

/* --- may it be asked? --- */

/* The record, if questions may be asked of this domain by this node now. */
static bool look_up(struct cluster *c, const char *name, uint64_t generation,
                    enum smtpc_tls *tls)
{
    struct control *control = control_thread_state(c->node->control);
    struct arena arena;
    struct domain d;
    bool may;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    may = !c->draining && !c->ended && cluster_holds(c, str_of(name), NULL) &&
          control_domain_get(control, str_of(name), &arena, &d) == OK &&
          d.generation == generation && !d.closing && !d.paused;
    if (may)
        *tls = d.tls == DOMAIN_TLS_OFF       ? SMTPC_TLS_OFF
               : d.tls == DOMAIN_TLS_REQUIRE ? SMTPC_TLS_REQUIRE
                                             : SMTPC_TLS_OPPORTUNISTIC;
    arena_reset(&arena);
    return may;
}

/* Mail that goes there now teaches the same, and has the connections. */
static bool is_draining(struct cluster *c, const struct callout_domain *d)
{
    static struct sched_domain_view v; /* 16 KiB, this thread's alone */

    return sched_domain_view(c->sched, str_of(d->name), d->generation, &v) &&
           v.ready + v.given > 0;
}

static void find_way(struct cluster *c, uint32_t place)
{
    const struct callout_domain *d = &c->callout->plan.domains[place];
    struct call *k = &c->callout->calls[place];

    *k = (struct call){0};
    if (!look_up(c, d->name, d->generation, &k->tls) || is_draining(c, d))
        callout_routed(&c->callout->plan, place, NULL, clock_boot_ms());
    else
        cluster_resolve_callout(c, str_of(d->name), d->generation, place);
}

/* The best address that is not known to be down. */
static const struct route_addr *choose(const struct cluster *c, const struct route *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (!sched_addr_is_down(c->sched, r->addrs[i].ip, r->addrs[i].port))
            return &r->addrs[i];
    return NULL;
}

void cluster_callout_routed(struct cluster *c, uint32_t place, const struct route *r)
{
    struct call *k = &c->callout->calls[place];
    const struct route_addr *a = choose(c, r);

    if (a != NULL && str_to_z(a->host, k->host, sizeof k->host))
        k->addr = *a;
    else
        a = NULL;
    callout_routed(&c->callout->plan, place, a != NULL ? &a->ip : NULL, clock_boot_ms());
    pull(c);
}

/* --- wishes --- */

static struct callout_ask *ask_of(struct callout_wish *w)
{
    return (struct callout_ask *)((char *)w - offsetof(struct callout_ask, wish));
}

static void answer(struct callout_ask *a)
{
    static const enum stat_id ids[] = {[CALLOUT_NOT_ASKED] = STAT_CALLOUT_UNASKED_TOTAL,
                                       [CALLOUT_VALID] = STAT_CALLOUT_VALID_TOTAL,
                                       [CALLOUT_INVALID] = STAT_CALLOUT_INVALID_TOTAL,
                                       [CALLOUT_UNKNOWN] = STAT_CALLOUT_UNKNOWN_TOTAL,
                                       [CALLOUT_TAKES_ALL] = STAT_CALLOUT_TAKES_ALL_TOTAL};

    stat_add(ids[a->wish.verdict], 1);
    if (a->wish.verdict != CALLOUT_NOT_ASKED)
        LOG(EV_CALLOUT, L_CSTR("domain", a->wish.domain), L_CSTR("local", a->wish.local),
            L_CSTR("verdict", callout_verdict_text(a->wish.verdict)));
    a->mail.kind = a->answer_kind;
    mailbox_answer(a->answer_to, &a->mail);
}

/* Nobody but us is asked about: a local part may come from a peer, or a disk. And none that is
 * not ASCII: a primary that does not offer SMTPUTF8 now would spoil the whole question. */
static bool is_sound(const struct callout_wish *w)
{
    char text[PATH_BYTES + 2];
    struct path path;
    int n = snprintf(text, sizeof text, "<%s@%s>", w->local, w->domain);

    return n > 0 && (size_t)n < sizeof text &&
           address_parse_rcpt((struct str){text, (size_t)n}, false, &path) == ADDRESS_OK &&
           str_eq(path.local, str_of(w->local)) && str_eq(path.domain, str_of(w->domain)) &&
           !path.relay_form;
}

void cluster_callout_take(struct cluster *c, struct callout_ask *a)
{
    enum smtpc_tls tls;

    a->wish.verdict = is_sound(&a->wish) ? CALLOUT_NOT_ASKED : CALLOUT_UNKNOWN;
    if (c->callout == NULL || a->wish.verdict == CALLOUT_UNKNOWN ||
        !look_up(c, a->wish.domain, a->wish.generation, &tls)) {
        answer(a);
        return;
    }
    callout_want(&c->callout->plan, &a->wish, clock_boot_ms());
    pull(c);
}

enum err cluster_callout(struct cluster *c, struct callout_ask *a)
{
    a->mail.kind = CLUSTER_MAIL_CALLOUT;
    return mailbox_post(cluster_box(c), &a->mail);
}

/* --- sessions --- */

static struct call *call_of(struct cluster *c, uint64_t conn, uint32_t *place)
{
    for (*place = 0; *place < LIMIT_CALLOUT_DOMAINS; (*place)++)
        if (c->callout->calls[*place].conn == conn)
            return &c->callout->calls[*place];
    return NULL;
}

static void is_over(struct cluster *c, struct call *k, uint32_t place)
{
    k->conn = 0;
    callout_closed(&c->callout->plan, place, clock_boot_ms());
}

static void log_failure(const struct call *k, const struct callout_domain *d,
                        const struct conn_report *r)
{
    LOG(EV_CALLOUT_FAILED, L_CSTR("domain", d->name), L_CSTR("host", k->host),
        L_CSTR("why", sched_failure_text(r->failure)), L_CSTR("reply", r->text));
}

bool cluster_callout_conn(struct cluster *c, const struct conn_report *r)
{
    struct callout_names names;
    uint32_t place;
    struct call *k;

    if ((r->conn & CALLOUT_CONN) == 0)
        return false;
    k = c->callout != NULL ? call_of(c, r->conn, &place) : NULL;
    if (k == NULL)
        return true;
    if (r->mail.kind == CLUSTER_MAIL_READY) {
        callout_ready(&c->callout->plan, place, &names);
        give(c, place, &names);
        return true;
    }
    if (r->mail.kind == CLUSTER_MAIL_FAILED && r->failure == SCHED_FAIL_TLS &&
        k->tls == SMTPC_TLS_OPPORTUNISTIC && !c->draining &&
        !c->callout->plan.domains[place].is_cut) {
        k->tls = SMTPC_TLS_OFF; /* as deliveries do: at once, in the clear */
        open_conn(c, k);
        return true;
    }
    if (r->mail.kind == CLUSTER_MAIL_FAILED)
        log_failure(k, &c->callout->plan.domains[place], r);
    k->is_closed = true;
    if (!k->is_asking) /* else its job comes back first */
        is_over(c, k, place);
    pull(c);
    return true;
}

bool cluster_callout_result(struct cluster *c, struct delivery_job *j)
{
    struct callout_names names;
    uint32_t place;
    struct call *k;

    if ((j->conn & CALLOUT_CONN) == 0)
        return false;
    k = c->callout != NULL ? call_of(c, j->conn, &place) : NULL;
    if (k != NULL) {
        bool more = callout_result(&c->callout->plan, place, j->result, &names);

        k->is_asking = more;
        if (more)
            give(c, place, &names);
        else if (k->is_closed)
            is_over(c, k, place);
        else
            order(c, k, SMTP_MAIL_QUIT);
        pull(c);
    }
    cluster_job_free(&j);
    return true;
}

/* It hangs: in a job it is cut, else it ends as soon as it can. */
static void cut(struct cluster *c, const struct call *k)
{
    order(c, k, k->is_asking ? SMTP_MAIL_RECALL : SMTP_MAIL_QUIT);
}

/* --- the turn --- */

static void perform(struct cluster *c, const struct callout_action *a)
{
    switch (a->act) {
    case CALLOUT_ROUTE:
        find_way(c, a->place);
        break;
    case CALLOUT_OPEN:
        open_conn(c, &c->callout->calls[a->place]);
        break;
    case CALLOUT_CUT:
        cut(c, &c->callout->calls[a->place]);
        break;
    case CALLOUT_ANSWER:
        answer(ask_of(a->wish));
        break;
    }
}

static void pull(struct cluster *c)
{
    struct cluster_callout *co = c->callout;
    struct timeval tv = {TICK_MS / 1000, TICK_MS % 1000 * 1000};
    struct callout_action a;

    if (co->is_pulling)
        return;
    co->is_pulling = true;
    while (callout_next(&co->plan, clock_boot_ms(), &a))
        perform(c, &a);
    co->is_pulling = false;
    if (!callout_is_idle(&co->plan) && !event_pending(co->tick, EV_TIMEOUT, NULL))
        event_add(co->tick, &tv);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    pull(arg);
}

/* --- life --- */

void cluster_callout_begin(struct cluster *c)
{
    uint32_t sites = cluster_is_member(c) ? LIMIT_CLUSTER_MEMBERS : 1;
    uint64_t seed;

    c->callout = calloc(1, sizeof *c->callout);
    ASSERT(c->callout != NULL);
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = clock_boot_us();
    callout_init(&c->callout->plan, callout_share(sites), seed, clock_boot_ms());
    c->callout->tick = event_new(c->base, -1, 0, on_tick, c);
    ASSERT(c->callout->tick != NULL);
}

void cluster_callout_drain(struct cluster *c)
{
    if (c->callout == NULL)
        return;
    callout_stop(&c->callout->plan);
    pull(c);
}

/* The connections are gone, and the thread. */
void cluster_callout_end(struct cluster *c)
{
    struct cluster_callout *co = c->callout;
    struct callout_action a;

    if (co == NULL)
        return;
    c->callout = NULL;
    callout_abandon(&co->plan);
    while (callout_next(&co->plan, clock_boot_ms(), &a))
        answer(ask_of(a.wish));
    event_free(co->tick);
    free(co);
}
