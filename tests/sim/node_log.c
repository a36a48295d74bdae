/* The control thread over an ideal log: one sequence of entries for all, which each node
 * applies when it has a way to the leader of the moment. State, leases and everything that is
 * on disk are the daemon's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/sim.h"

#define CTL_MAP_BYTES (16 * MiB)
#define POLL_US       (100 * MS)
#define ELECTION_US   (2 * SECOND)
#define CLOCK_US      (5 * SECOND)
#define DURATION_MS   10000
#define RENEW_MS      3000

struct log_state {
    struct lease *lease;
    bool busy;
    uint64_t clock_base_ms; /* cluster time as of the last clock entry, seen at clock_at_ms */
    uint64_t clock_at_ms;
    uint64_t tick_us;
};

struct entry_bytes {
    size_t n;
    uint8_t b[];
};

static struct {
    struct entry_bytes **entries; /* [0]: index 1 */
    uint64_t n, room;
    int leader; /* -1: none */
    uint64_t lost_at_us, term_start, changes, clock_us;
    struct store_id id;
} lg;

static void append(const struct command *c)
{
    static uint8_t buf[LIMIT_COMMAND_BYTES];
    struct entry_bytes *e;
    struct str bytes;
    enum err rc = command_encode(c, buf, sizeof buf, &bytes);

    ASSERT(rc == OK);
    if (lg.n == lg.room) {
        lg.room = lg.room > 0 ? 2 * lg.room : 1024;
        lg.entries = realloc(lg.entries, lg.room * sizeof(struct entry_bytes *));
        ASSERT(lg.entries != NULL);
    }
    e = malloc(sizeof *e + bytes.n);
    ASSERT(e != NULL);
    e->n = bytes.n;
    memcpy(e->b, bytes.p, bytes.n);
    lg.entries[lg.n++] = e;
}

/* --- Who leads --- */

static bool reaches(unsigned a, unsigned b)
{
    return !world_link(a, b)->cut && !world_link(b, a)->cut && sim_node(b)->up &&
           !sim_node(b)->paused && sim_node(b)->incarnation != 0;
}

static bool may_lead(unsigned i)
{
    const struct node *n = sim_node(i);
    bool any = false;

    for (unsigned k = 0; k < WORLD_NODES; k++)
        any |= k != i && reaches(i, k);
    return any && n->up && !n->paused && n->incarnation != 0;
}

static void elect(void *arg)
{
    (void)arg;
    if (lg.leader >= 0 && !may_lead((unsigned)lg.leader)) {
        lg.leader = -1;
        lg.lost_at_us = world_now();
    }
    if (lg.leader < 0 && world_now() >= lg.lost_at_us + ELECTION_US) {
        unsigned first = (unsigned)world_below(WORLD_NODES);

        for (unsigned i = 0; i < WORLD_NODES && lg.leader < 0; i++)
            if (may_lead((first + i) % WORLD_NODES))
                lg.leader = (int)((first + i) % WORLD_NODES);
        if (lg.leader >= 0) {
            append(&(struct command){.kind = COMMAND_CLOCK, .clock = {.elapsed_ms = 1}});
            lg.term_start = lg.n;
            lg.clock_us = world_now();
            lg.changes++;
            trace("node %d leads from entry %llu", lg.leader, (unsigned long long)lg.n);
        }
    }
    if (lg.leader >= 0 && world_now() >= lg.clock_us + CLOCK_US) {
        append(&(struct command){.kind = COMMAND_CLOCK, .clock = {.elapsed_ms = 5000}});
        lg.clock_us = world_now();
    }
    world_at(world_now() + POLL_US, elect, NULL);
}

uint64_t log_leader_changes(void)
{
    return lg.changes;
}

uint64_t log_length(void)
{
    return lg.n;
}

/* --- A new cluster --- */

static void add_domain(unsigned i)
{
    struct command c = {.kind = COMMAND_DOMAIN_PUT,
                        .domain_put = {.mode = DOMAIN_ADD,
                                       .domain = {.name = str_of(sim_domain(i)),
                                                  .route = {.kind = ROUTE_STATIC}}}};
    char host[32];

    snprintf(host, sizeof host, "198.51.100.%u", i + 1);
    c.domain_put.domain.route.host_count = 1;
    c.domain_put.domain.route.hosts[0] = (struct domain_host){.host = str_of(host), .port = 25};
    c.domain_put.domain.tls = DOMAIN_TLS_OFF;
    append(&c);
}

static void add_member(unsigned i)
{
    struct command c = {.kind = COMMAND_MEMBER_ADD,
                        .member_add = {.site = (uint16_t)(i + 1),
                                       .incarnation = lg.n == 0 ? 1 : 0,
                                       .key = {1, (uint8_t)(lg.n + 1), (uint8_t)(lg.n >> 8)},
                                       .control = STR("192.0.2.1:7301"),
                                       .data = STR("192.0.2.1:7302")}};

    append(&c);
    sim_node(i)->incarnation = lg.n;
}

void log_init(void)
{
    memset(&lg, 0, sizeof lg);
    memcpy(lg.id.cluster, "simulated cluster", 16);
    lg.leader = -1;
    for (unsigned i = 0; i < WORLD_NODES; i++)
        add_member(i);
    for (unsigned i = 0; i < SIM_DOMAINS; i++)
        add_domain(i);
    world_at(0, elect, NULL);
}

/* A wiped node's operator adds it again, at any live member. */
static bool join(struct node *n)
{
    if (lg.leader < 0)
        return false;
    add_member(n->index);
    trace("node %u joins as incarnation %llu", n->index, (unsigned long long)n->incarnation);
    return true;
}

bool log_join(struct node *n)
{
    return n->incarnation != 0 || join(n);
}

/* --- Leases --- */

static void lease_members(const struct control_cluster *cc, struct lease_member *out,
                          uint32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < cc->member_count; i++) {
        const struct member *m = &cc->members[i];
        struct lease_member *l = &out[*count];

        if (m->leaving)
            continue;
        *l = (struct lease_member){.site = m->site,
                                   .incarnation = m->incarnation,
                                   .session_ended = true,
                                   .may_hold = m->filled && !m->draining,
                                   .wants_share = m->wants_share};
        for (uint32_t k = 0; k < cc->session_count; k++) {
            const struct session *s = &cc->sessions[k];

            if (s->site != m->site || s->incarnation != m->incarnation)
                continue;
            l->session = s->epoch;
            l->session_ended = s->ended;
            l->renewal_index = s->renewal_index;
            l->duration_ms = s->duration_ms;
            l->session_nonce = s->nonce;
            l->renewal_seq = s->renewal_seq;
        }
        (*count)++;
    }
}

static void look_at_session(struct node *n)
{
    uint64_t epoch = lease_session(n->log->lease);
    bool first = n->session == 0;

    if (epoch == 0 || epoch == n->session)
        return;
    trace("node %u: session %llu", n->index, (unsigned long long)epoch);
    n->session = epoch;
    n->counter = 0;
    if (first)
        data_begin(n);
    else
        replica_session(n->replica, epoch, node_ms(n));
    data_poke(n);
}

static void lease_turn(struct node *n);

static void lease_tick(struct node *n, void *arg)
{
    (void)arg;
    if (n->log->tick_us > world_now())
        return;
    n->log->tick_us = NEVER;
    lease_turn(n);
}

static void lease_turn(struct node *n)
{
    static struct control_cluster cc;
    static struct slot_state slots[LEASE_SLOTS];
    struct lease_member m[LIMIT_MEMBER_RECORDS];
    struct lease_state s = {.members = m, .slots = slots};
    struct lease_want want = {0};
    uint64_t at;
    enum err e = control_cluster(n->control, &cc);

    ASSERT(e == OK);
    s.applied = cc.applied;
    lease_members(&cc, m, &s.member_count);
    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        slots[i] = (struct slot_state){cc.slots[i].site, cc.slots[i].epoch, cc.slots[i].wanted};
    lease_step(n->log->lease, &s, lg.leader == (int)n->index, lg.term_start, node_ms(n), &want);
    look_at_session(n);
    for (uint32_t i = 0; i < want.count; i++)
        log_propose(n, &want.commands[i]);
    at = world_when_boot(&n->clock, lease_deadline(n->log->lease) == UINT64_MAX
                                        ? UINT64_MAX
                                        : lease_deadline(n->log->lease) * 1000);
    if (at < n->log->tick_us) {
        n->log->tick_us = at > world_now() ? at : world_now() + MS;
        node_at(n, n->log->tick_us, lease_tick, NULL);
    }
}

/* Slots that are to be given away, and in which no dot is open any more. */
void log_quiet(struct node *n, bool (*is_quiet)(const struct node *n, uint32_t slot))
{
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        struct slot s;

        if (lease_is_leaving(n->log->lease, i) && is_quiet(n, i) &&
            control_slot(n->control, i, &s) == OK && s.site == n->site)
            lease_quiet(n->log->lease, i, s.epoch);
    }
    lease_turn(n);
}

bool log_is_leaving(const struct node *n, uint32_t slot)
{
    return lease_is_leaving(n->log->lease, slot);
}

bool log_lease_valid(const struct node *n)
{
    return n->log != NULL && node_ms(n) < lease_valid_until(n->log->lease);
}

/* --- Proposals --- */

struct proposal {
    struct node *node;
    struct str bytes;
    uint8_t b[];
};

static void arrived(void *arg)
{
    struct proposal *p = arg;
    struct arena a;
    struct command c;

    arena_init(&a, LIMIT_COMMAND_SCRATCH);
    if (lg.leader >= 0 && command_decode(p->bytes, &a, &c) == OK)
        append(&c);
    arena_reset(&a);
    free(p);
}

void log_propose(struct node *n, const struct command *c)
{
    static uint8_t buf[LIMIT_COMMAND_BYTES];
    struct proposal *p;
    struct str bytes;
    enum err rc = command_encode(c, buf, sizeof buf, &bytes);
    unsigned leader = lg.leader < 0 ? 0 : (unsigned)lg.leader;

    ASSERT(rc == OK);
    if (c->kind != COMMAND_SESSION_RENEW)
        trace("node %u proposes %s", n->index, command_kind_text(c->kind));
    if (lg.leader < 0 || (leader != n->index && !reaches(n->index, leader))) {
        lease_failed(n->log->lease, c->kind, node_ms(n));
        return;
    }
    p = malloc(sizeof *p + bytes.n);
    ASSERT(p != NULL);
    memcpy(p->b, bytes.p, bytes.n);
    p->bytes = (struct str){(const char *)p->b, bytes.n};
    world_at(world_now() + (leader == n->index ? 0 : world_delay(n->index, leader)), arrived,
             p);
}

/* --- Applying --- */

static void applied(struct node *n, void *arg)
{
    uint64_t ms;

    (void)arg;
    disk_end(n->ctl_disk);
    n->log->busy = false;
    if (control_cluster_ms(n->control, &ms) == OK && ms != n->log->clock_base_ms) {
        n->log->clock_base_ms = ms;
        n->log->clock_at_ms = node_ms(n);
    }
    lease_turn(n);
    data_control_changed(n);
}

static void apply_some(struct node *n)
{
    struct control_input in[LIMIT_CONTROL_BATCH];
    static struct command cmds[LIMIT_CONTROL_BATCH];
    struct command_result res[LIMIT_CONTROL_BATCH];
    uint64_t from = control_applied(n->control) + 1;
    struct arena a;
    size_t count = 0;
    enum err e = OK;

    arena_init(&a, 4 * LIMIT_COMMAND_SCRATCH);
    for (; from + count <= lg.n && count < 64; count++) {
        const struct entry_bytes *b = lg.entries[from + count - 1];

        e = command_decode((struct str){(const char *)b->b, b->n}, &a, &cmds[count]);
        ASSERT(e == OK);
        in[count] = (struct control_input){from + count, &cmds[count]};
    }
    disk_begin(n->ctl_disk);
    e = control_apply_batch(n->control, in, count, res);
    for (size_t i = 0; i < count && e == OK; i++)
        if (res[i].err != OK)
            trace("node %u: entry %llu (%s) refused: %s", n->index,
                  (unsigned long long)in[i].index, command_kind_text(cmds[i].kind),
                  res[i].refused);
    arena_reset(&a);
    if (e != OK) {
        sim_counts()->io_errors++;
        node_end(n, "the control store failed");
        return;
    }
    n->log->busy = true;
    node_post(n, disk_cost_us(n->ctl_disk), applied, NULL);
}

static void poll_log(struct node *n, void *arg)
{
    bool way = lg.leader >= 0 &&
               ((unsigned)lg.leader == n->index || reaches(n->index, (unsigned)lg.leader));

    (void)arg;
    if (n->ending)
        return;
    if (way && !n->log->busy && control_applied(n->control) < lg.n)
        apply_some(n);
    node_post(n, world_between(5 * MS, 60 * MS), poll_log, NULL);
}

static void lease_first(struct node *n, void *arg)
{
    (void)arg;
    lease_turn(n);
}

bool log_open(struct node *n)
{
    char dir[200];
    struct store_id id = lg.id;
    struct control_options o = {
        .dir = dir, .map_bytes = CTL_MAP_BYTES, .id = &id, .create = n->fresh};

    id.site = n->site;
    id.incarnation = n->incarnation;
    snprintf(dir, sizeof dir, "%s/control", n->dir);
    if (control_open(&n->control, &o) != OK)
        return false;
    n->log = calloc(1, sizeof *n->log);
    ASSERT(n->log != NULL);
    n->log->tick_us = NEVER;
    n->log->clock_at_ms = node_ms(n);
    if (control_cluster_ms(n->control, &n->log->clock_base_ms) != OK)
        n->log->clock_base_ms = CONTROL_CLOCK_START_MS;
    n->log->lease =
        lease_new(&(struct lease_options){.site = n->site,
                                          .incarnation = n->incarnation,
                                          .duration_ms = DURATION_MS,
                                          .renew_ms = RENEW_MS,
                                          .nonce = world_below(UINT64_MAX / 4) + 1});
    ASSERT(n->log->lease != NULL);
    node_post(n, MS, poll_log, NULL);
    node_post(n, 2 * MS, lease_first, NULL);
    return true;
}

void log_close(struct node *n)
{
    if (n->log != NULL) {
        lease_free(&n->log->lease);
        free(n->log);
        n->log = NULL;
    }
    if (n->control != NULL)
        control_close(&n->control);
}

uint64_t log_cluster_ms(struct node *n)
{
    uint64_t passed = node_ms(n) - n->log->clock_at_ms;
    uint64_t ms = n->log->clock_base_ms + (passed < 5000 ? passed : 5000);

    if (ms > n->cluster_ms)
        n->cluster_ms = ms;
    return n->cluster_ms;
}
