/* Which site reaches which primary: turns at probing, news from one site to all, and domains
 * that go to the site that reaches theirs. What is decided is decided by replication/reach. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/cluster_private.h"
#include "node/smtp_thread.h"
#include "replication/reach.h"

#define SECOND_MS      1000
#define PROBES_A_BEAT  20
#define PROBES_OUT     64 /* of addresses that the scheduler does not know */
#define CONNECT_MS     2000
#define GREET_MS       5000
#define PLACED_LOOK_MS 60000 /* between two looks at where a placed domain goes */
#define PLACE_AGAIN_MS 1000
#define PLACE_WAIT_MS  15000               /* for quiet and for a leader */
#define PLACE_DOUBT_MS 60000               /* more, when a proposal may yet be decided */
#define PROBE_CONN     (UINT64_C(1) << 63) /* a number that the scheduler never gives */

/* A connection that only looks. */
struct probe {
    struct probe *next;
    uint64_t conn;
    bool ready;
};

/* A domain that is placed by exception: here, or away from here. */
struct placed {
    struct placed *next;
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint64_t generation, epoch;
    bool is_here, is_named; /* named: by the last view */
    uint64_t since_ms;      /* here: since when */
    uint64_t look_ms;       /* when its addresses are to be looked up again */
    struct reach_addr addrs[LIMIT_PROBE_ADDRS], fresh[LIMIT_PROBE_ADDRS];
    uint32_t count, fresh_count;
};

/* A domain on its way to another site. */
struct giving {
    struct giving *next;
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint64_t epoch, tag, again_ms;
    uint64_t until_ms; /* it stays here, when it could not go by then */
    uint32_t slot;
    uint16_t to;   /* 0: home */
    bool proposed; /* an answer is due */
};

struct cluster_reach {
    struct reach *reach;
    uint64_t second_ms, serial;
    struct probe *probes;
    uint32_t probe_count, giving_count;
    struct placed *placed;
    struct giving *giving;
    uint16_t links[LIMIT_CLUSTER_MEMBERS], may_hold[LIMIT_CLUSTER_MEMBERS];
    uint32_t link_count, may_hold_count;
};

static struct reach_addr addr_of(struct route_ip ip, uint16_t port)
{
    struct reach_addr a = {.port = port};

    memcpy(a.ip, ip.b, sizeof a.ip);
    return a;
}

static struct route_ip ip_of(const struct reach_addr *a)
{
    struct route_ip ip;

    memcpy(ip.b, a->ip, sizeof ip.b);
    return ip;
}

/* --- what is wanted --- */

/* True: the fleet watches it from now on, beside the scheduler's own clock: the turn of a site
 * that is gone is lost until that is known, which alone is more than the two seconds of INV-8.
 */
static bool want(struct cluster *c, const struct reach_addr *a, uint64_t now_ms)
{
    return reach_want(c->reach->reach, a, now_ms) == OK;
}

void cluster_reach_down(struct cluster *c, struct route_ip ip, uint16_t port)
{
    struct reach_addr a = addr_of(ip, port);
    uint64_t now_ms = clock_boot_ms();
    bool up = true;

    if (c->reach == NULL || !want(c, &a, now_ms))
        return;
    if (!reach_view(c->reach->reach, c->node->site, &a, now_ms, &up) || up)
        reach_saw(c->reach->reach, &a, false, now_ms);
}

void cluster_reach_up(struct cluster *c, struct route_ip ip, uint16_t port)
{
    struct reach_addr a = addr_of(ip, port);

    if (c->reach != NULL)
        reach_unwant(c->reach->reach, &a);
}

static void want_all(struct cluster *c, uint64_t now_ms)
{
    uint32_t at = 0;
    struct route_ip ip;
    uint16_t port;

    while (sched_down_next(c->sched, &at, &ip, &port)) {
        struct reach_addr a = addr_of(ip, port);

        (void)want(c, &a, now_ms); /* too many: the scheduler's own clock is enough */
    }
    for (const struct placed *p = c->reach->placed; p != NULL; p = p->next)
        for (uint32_t i = 0; i < p->count; i++)
            (void)want(c, &p->addrs[i], now_ms);
}

/* --- what is seen --- */

static void saw(struct cluster *c, const struct conn_report *r, bool up)
{
    struct reach_addr a = addr_of(r->ip, r->port);

    reach_saw(c->reach->reach, &a, up, clock_boot_ms());
}

static struct probe **probe_of(struct cluster_reach *cr, uint64_t conn)
{
    struct probe **at = &cr->probes;

    while (*at != NULL && (*at)->conn != conn)
        at = &(*at)->next;
    return at;
}

static void post_order(struct cluster *c, enum smtp_mail kind, const struct conn_order *from)
{
    struct conn_order *o = malloc(sizeof *o);

    ASSERT(o != NULL);
    *o = *from;
    o->mail.kind = (int)kind;
    mailbox_answer(c->node->smtp[o->conn % c->node->smtp_count]->box, &o->mail);
}

/* One of ours: it has seen what it came for, or is over. */
static void probe_heard(struct cluster *c, const struct conn_report *r, bool ready)
{
    struct probe **at = probe_of(c->reach, r->conn), *p = *at;

    if (p == NULL)
        return;
    if (ready) {
        p->ready = true;
        post_order(c, SMTP_MAIL_QUIT, &(struct conn_order){.conn = r->conn});
        return;
    }
    *at = p->next;
    c->reach->probe_count--;
    free(p);
}

bool cluster_reach_conn(struct cluster *c, const struct conn_report *r)
{
    bool ready = r->mail.kind == CLUSTER_MAIL_READY;

    if (c->reach == NULL)
        return false;
    if (ready)
        saw(c, r, true);
    else if (r->mail.kind == CLUSTER_MAIL_FAILED && r->failure != SCHED_FAIL_LOCAL)
        saw(c, r, r->failure == SCHED_FAIL_TLS); /* it is there, and greets */
    if ((r->conn & PROBE_CONN) == 0)
        return false;
    probe_heard(c, r, ready);
    return true;
}

/* --- probing --- */

static void probe_alone(struct cluster *c, const struct reach_addr *a)
{
    struct cluster_reach *cr = c->reach;
    struct probe *p;

    if (cr->probe_count >= PROBES_OUT || c->draining)
        return;
    p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    p->conn = PROBE_CONN | ++cr->serial;
    p->next = cr->probes;
    cr->probes = p;
    cr->probe_count++;
    stat_add(STAT_PROBES_TOTAL, 1);
    post_order(c, SMTP_MAIL_OPEN,
               &(struct conn_order){.conn = p->conn,
                                    .ip = ip_of(a),
                                    .port = a->port,
                                    .tls = SMTPC_TLS_OFF,
                                    .connect_ms = CONNECT_MS,
                                    .greet_ms = GREET_MS});
}

/* Its mail waits here: the probe is the connection that carries it. */
static bool try_here(struct cluster *c, const struct reach_addr *a)
{
    return sched_step(
               c->sched,
               &(struct sched_event){.type = SCHED_EV_TRY, .ip = ip_of(a), .port = a->port},
               cluster_now(c)) == OK;
}

static void probe_turns(struct cluster *c, uint64_t now_ms)
{
    struct reach_addr a;

    for (int i = 0; i < PROBES_A_BEAT && reach_next_probe(c->reach->reach, now_ms,
                                                          control_now_ms(c->node->control), &a);
         i++)
        if (!try_here(c, &a))
            probe_alone(c, &a);
    while (reach_next_up(c->reach->reach, &a))
        (void)try_here(c, &a);
}

/* --- what the siblings are told, and say --- */

static void tell(struct cluster *c, uint64_t now_ms)
{
    struct frame_reach list[LIMIT_FRAME_REACH];

    replica_thread_reach(c->node->replica, list,
                         reach_note(c->reach->reach, now_ms, list, LIMIT_FRAME_REACH));
}

void cluster_reach_heard(struct cluster *c, const struct replica_event *ev)
{
    if (c->reach != NULL)
        reach_heard(c->reach->reach, ev->site, ev->reach, ev->reach_count, clock_boot_ms());
}

void cluster_reach_link(struct cluster *c, uint16_t site, bool open)
{
    struct cluster_reach *cr = c->reach;
    uint32_t n = 0;

    if (cr == NULL)
        return;
    for (uint32_t i = 0; i < cr->link_count; i++)
        if (cr->links[i] != site)
            cr->links[n++] = cr->links[i];
    if (open && n < LIMIT_CLUSTER_MEMBERS - 1)
        cr->links[n++] = site;
    cr->link_count = n;
    reach_sites(cr->reach, cr->links, n);
}

/* --- domains that are placed --- */

/* The scheduler looks the addresses up, under a generation that no mail has. */
static void look_up(struct cluster *c, struct placed *p)
{
    struct control *control = control_thread_state(c->node->control);
    struct arena arena;
    struct domain d;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    if (control_domain_get(control, str_of(p->name), &arena, &d) == OK) {
        if (p->generation != 0 && p->generation != d.generation)
            cluster_tell(c, &(struct sched_event){.type = SCHED_EV_DOMAIN_GONE,
                                                  .domain = d.name,
                                                  .generation =
                                                      p->generation | CLUSTER_LOOK_GENERATION});
        p->generation = d.generation;
        p->fresh_count = 0;
        cluster_set_domain(c, &d, d.generation | CLUSTER_LOOK_GENERATION);
        cluster_tell(
            c, &(struct sched_event){.type = SCHED_EV_PROBE_NOW,
                                     .domain = d.name,
                                     .generation = d.generation | CLUSTER_LOOK_GENERATION});
    }
    arena_reset(&arena);
}

static struct placed *placed_find(struct cluster *c, struct str name)
{
    struct placed *p = c->reach->placed;

    while (p != NULL && !str_eq(str_of(p->name), name))
        p = p->next;
    return p;
}

bool cluster_reach_probed(struct cluster *c, const struct sched_action *a)
{
    struct placed *p;

    if ((a->generation & CLUSTER_LOOK_GENERATION) == 0 || c->reach == NULL)
        return false;
    p = placed_find(c, a->domain);
    if (p == NULL)
        return true;
    if (a->route_result == ROUTE_OK && p->fresh_count < LIMIT_PROBE_ADDRS)
        p->fresh[p->fresh_count++] = addr_of(a->ip, a->port);
    if (a->left == 0 && p->fresh_count > 0) {
        memcpy(p->addrs, p->fresh, sizeof p->addrs);
        p->count = p->fresh_count;
    }
    return true;
}

static void placed_name(struct cluster *c, const struct placement *from, uint64_t now_ms)
{
    struct placed *p = placed_find(c, from->domain);
    bool is_here = from->site == c->node->site;

    if (p == NULL) {
        p = calloc(1, sizeof *p);
        ASSERT(p != NULL && from->domain.n < sizeof p->name);
        memcpy(p->name, from->domain.p, from->domain.n);
        p->next = c->reach->placed;
        c->reach->placed = p;
    }
    if (p->epoch != from->epoch || p->is_here != is_here)
        p->since_ms = now_ms;
    p->epoch = from->epoch;
    p->is_here = is_here;
    p->is_named = true;
}

static void forget_placed(struct cluster *c)
{
    struct placed **at = &c->reach->placed, *p;

    while ((p = *at) != NULL) {
        if (p->is_named) {
            at = &p->next;
            continue;
        }
        if (p->generation != 0)
            cluster_tell(c, &(struct sched_event){.type = SCHED_EV_DOMAIN_GONE,
                                                  .domain = str_of(p->name),
                                                  .generation =
                                                      p->generation | CLUSTER_LOOK_GENERATION});
        *at = p->next;
        free(p);
    }
}

/* Who may hold, and which placements concern this site: it has the domain, or its slot. */
void cluster_reach_view(struct cluster *c)
{
    struct control *control = control_thread_state(c->node->control);
    struct session sessions[LIMIT_SITES];
    char after[LIMIT_SMTP_DOMAIN_BYTES];
    struct str name = {after, 0};
    uint64_t now_ms = clock_boot_ms();
    struct arena arena;
    struct placement p;
    uint32_t n = 0;

    if (c->reach == NULL)
        return;
    if (control_sessions(control, sessions, &n) != OK)
        n = 0;
    c->reach->may_hold_count = 0;
    for (uint32_t i = 0; i < n && c->reach->may_hold_count < LIMIT_CLUSTER_MEMBERS; i++)
        if (sessions[i].may_hold)
            c->reach->may_hold[c->reach->may_hold_count++] = sessions[i].site;
    for (struct placed *q = c->reach->placed; q != NULL; q = q->next)
        q->is_named = false;
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    while (control_placement_next(control, name, &arena, &p) == OK) {
        uint32_t slot = control_slot_of(p.domain);

        if (p.site != 0 &&
            (p.site == c->node->site || holding_home(c->holding, slot) == c->node->site))
            placed_name(c, &p, now_ms);
        name = str_lower(p.domain, after, sizeof after);
        arena_reset(&arena);
        arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    }
    arena_reset(&arena);
    forget_placed(c);
}

/* --- giving away --- */

static bool may_hold(const struct cluster *c, uint16_t site)
{
    for (uint32_t i = 0; i < c->reach->may_hold_count; i++)
        if (c->reach->may_hold[i] == site)
            return true;
    return false;
}

static enum reach_verdict judge(struct cluster *c, struct str name,
                                const struct reach_addr *addrs, uint32_t count, uint64_t now_ms,
                                uint16_t *to)
{
    const struct placed *p = placed_find(c, name);
    struct reach_domain d = {.addrs = addrs,
                             .count = count,
                             .home = holding_home(c->holding, control_slot_of(name)),
                             .may_hold = c->reach->may_hold,
                             .may_hold_count = c->reach->may_hold_count};

    if (p != NULL && p->is_here) {
        d.held_since_ms = p->since_ms > 0 ? p->since_ms : 1;
        *to = 0;
        if (!may_hold(c, c->node->site) && d.home != 0 && d.home != c->node->site)
            return REACH_RETURN; /* this node is to give away all it has */
    }
    return reach_judge(c->reach->reach, &d, now_ms, to);
}

static struct giving *giving_find(struct cluster *c, struct str name)
{
    struct giving *g = c->reach->giving;

    while (g != NULL && !str_eq(str_of(g->name), name))
        g = g->next;
    return g;
}

static void give(struct cluster *c, struct str name, uint16_t to)
{
    struct giving *g;
    uint64_t epoch;

    if (c->reach->giving_count >= LIMIT_PLACINGS || !cluster_holds(c, name, &epoch))
        return;
    g = calloc(1, sizeof *g);
    ASSERT(g != NULL && str_to_z(name, g->name, sizeof g->name));
    g->epoch = epoch;
    g->until_ms = clock_boot_ms() + PLACE_WAIT_MS;
    g->to = to;
    g->slot = control_slot_of(name);
    g->tag = ++c->reach->serial;
    g->next = c->reach->giving;
    c->reach->giving = g;
    c->reach->giving_count++;
    LOG(EV_DOMAIN_MOVES, L_STR("domain", str_of(g->name)), L_U64("to", to),
        L_U64("epoch", epoch));
    holding_give(c->holding, str_of(g->name), g->slot);
    cluster_domain_look(c, str_of(g->name));
    cluster_recall(c, to != 0 ? str_of(g->name) : STR_NONE);
}

/* It went, or it stays after all. */
static void giving_end(struct cluster *c, struct giving **at)
{
    struct giving *g = *at;

    *at = g->next;
    c->reach->giving_count--;
    holding_keep(c->holding, str_of(g->name));
    cluster_domain_look(c, str_of(g->name));
    free(g);
}

static bool is_quiet(const struct cluster *c, const struct giving *g)
{
    for (const struct delivery_job *j = c->jobs; j != NULL; j = j->all_next)
        if (j->slot == g->slot && str_eq_nocase(j->env.domain, str_of(g->name)))
            return false;
    return replica_thread_outcomes_told(c->node->replica);
}

static void propose(struct cluster *c, struct giving *g, uint64_t now_ms)
{
    struct command cmd = {.kind = COMMAND_PLACE, .place = {str_of(g->name), g->to, g->epoch}};
    struct control_propose_to to = {.box = c->box, .kind = CLUSTER_MAIL_ANSWER, .tag = g->tag};

    g->proposed = control_propose(c->node->control, &cmd, &to) == OK;
    g->again_ms = now_ms + PLACE_AGAIN_MS;
}

void cluster_reach_answer(struct cluster *c, const struct control_answer *a)
{
    struct giving **at;

    if (a->tag == 0 || c->reach == NULL || c->ended)
        return;
    for (at = &c->reach->giving; *at != NULL && (*at)->tag != a->tag;)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    (*at)->proposed = false;
    (*at)->again_ms = clock_boot_ms() + PLACE_AGAIN_MS;
    if (a->err == E_TIMEOUT || a->err == E_IO)
        (*at)->until_ms = clock_boot_ms() + PLACE_DOUBT_MS;
    else if (a->err != OK && a->index != 0 &&
             (*at)->until_ms <= clock_boot_ms() + PLACE_WAIT_MS)
        giving_end(c, at); /* refused: it stays here. OK: the view says so in a moment */
}

/* True: it is over. */
static bool giving_step(struct cluster *c, struct giving *g, uint64_t now_ms)
{
    uint64_t epoch = holding_epoch(c->holding, str_of(g->name), g->slot);

    if (g->proposed)
        return false;
    if (epoch != 0 && epoch != g->epoch)
        return true; /* it was held anew */
    if (epoch == 0)
        return holding_has_lease(c->holding); /* it is another's; without a lease: wait */
    if (now_ms >= g->until_ms)
        return true;
    if (now_ms >= g->again_ms && is_quiet(c, g))
        propose(c, g, now_ms);
    return false;
}

static void giving_steps(struct cluster *c, uint64_t now_ms)
{
    struct giving **at = &c->reach->giving;

    while (*at != NULL) {
        if (giving_step(c, *at, now_ms))
            giving_end(c, at);
        else
            at = &(*at)->next;
    }
}

static void judge_stuck(struct cluster *c, uint64_t now_ms)
{
    static struct sched_way way; /* this thread's alone */
    struct reach_addr addrs[LIMIT_ROUTE_ADDRS];
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint32_t at = 0;
    uint16_t to;

    while (sched_stuck_next(c->sched, &at, &way)) {
        if (way.generation == 0 || way.generation >= CLUSTER_LOOK_GENERATION ||
            !cluster_holds(c, way.domain, NULL) || !str_to_z(way.domain, name, sizeof name))
            continue;
        for (size_t i = 0; i < way.count; i++)
            addrs[i] = addr_of(way.addrs[i].ip, way.addrs[i].port);
        if (judge(c, str_of(name), addrs, (uint32_t)way.count, now_ms, &to) == REACH_GIVE)
            give(c, str_of(name), to);
    }
}

static void judge_placed(struct cluster *c, uint64_t now_ms)
{
    uint16_t to;

    for (struct placed *p = c->reach->placed; p != NULL; p = p->next) {
        enum reach_verdict v;

        if (now_ms >= p->look_ms) {
            p->look_ms = now_ms + PLACED_LOOK_MS;
            look_up(c, p);
        }
        if (!p->is_here || giving_find(c, str_of(p->name)) != NULL)
            continue;
        v = judge(c, str_of(p->name), p->addrs, p->count, now_ms, &to);
        if (v == REACH_RETURN)
            give(c, str_of(p->name), 0);
    }
}

void cluster_reach_beat(struct cluster *c)
{
    uint64_t now_ms = clock_boot_ms();

    if (c->reach == NULL || c->ended)
        return;
    if (now_ms >= c->reach->second_ms) {
        c->reach->second_ms = now_ms + SECOND_MS;
        want_all(c, now_ms);
        reach_tick(c->reach->reach, now_ms);
        if (!c->draining) {
            judge_stuck(c, now_ms);
            judge_placed(c, now_ms);
        }
        tell(c, now_ms);
    } else if (reach_has_news(c->reach->reach)) {
        tell(c, now_ms);
    }
    probe_turns(c, now_ms);
    giving_steps(c, now_ms);
}

/* --- life --- */

void cluster_reach_begin(struct cluster *c)
{
    if (!cluster_is_member(c))
        return;
    c->reach = calloc(1, sizeof *c->reach);
    ASSERT(c->reach != NULL);
    c->reach->reach = reach_new(c->node->site, prng_next(&c->rng));
    ASSERT(c->reach->reach != NULL);
    cluster_reach_view(c);
}

void cluster_reach_end(struct cluster *c)
{
    struct cluster_reach *cr = c->reach;

    if (cr == NULL)
        return;
    c->reach = NULL;
    while (cr->probes != NULL) {
        struct probe *p = cr->probes;

        cr->probes = p->next;
        free(p);
    }
    while (cr->placed != NULL) {
        struct placed *p = cr->placed;

        cr->placed = p->next;
        free(p);
    }
    while (cr->giving != NULL) {
        struct giving *g = cr->giving;

        cr->giving = g->next;
        free(g);
    }
    reach_free(&cr->reach);
    free(cr);
}
