/* The control thread: node/control_core as it is, with its stores on a simulated disk and the
 * other members behind the simulated network. A turn takes what has come in; what it says goes
 * out when its writes are durable, or, when the power fails in the middle of it, as far as it
 * had come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "node/control_core.h"
#include "tests/sim/sim.h"

#define CTL_MAP_BYTES (16 * MiB)
#define OPERATOR_US   (2 * SECOND)
#define LOG_MOST      400 /* entries, then the log is shortened: so that some get the state */
#define TURN_US       50
#define CLUSTER_NAME  "a simulated one"
#define FIRST         0 /* the node that founds the cluster */

/* Something for the core. */
struct input {
    struct input *next;
    enum { IN_FRAME, IN_PROPOSE, IN_QUIET } kind;
    uint16_t site; /* FRAME */
    uint64_t incarnation;
    uint32_t slot; /* QUIET */
    uint64_t epoch;
    struct asked *asked; /* PROPOSE */
    size_t n;
    char b[]; /* FRAME */
};

/* A proposal until its answer. */
struct asked {
    enum command_kind kind;
    void (*done)(unsigned node, const struct control_outcome *o);
    struct str bytes;
    uint8_t b[];
};

/* A frame that goes out with the turn. */
struct output {
    struct output *next;
    uint16_t site;
    size_t at; /* writes of the turn before it */
    size_t n;
    char b[];
};

struct log_state {
    struct control_core *core;
    bool busy, leads;
    unsigned changed;
    struct input *first, **last;
    struct output *out, **out_last;
    uint64_t tick_us, cluster_ms, applied;
};

/* What a member has said, and must know for ever. */
struct promise {
    uint64_t incarnation, term, vote;
};

/* A session that somebody has sealed, as of that index. */
struct seal {
    uint64_t epoch, applied;
};

/* What the members did, as somebody sees it who sees all of them. */
struct view {
    uint64_t digest, leader; /* by index of the log; by term: who led in it */
    bool has_digest;
};

static struct {
    uint64_t leaders, longest;
    bool joining[WORLD_NODES], domains;
    struct promise promises[WORLD_NODES];
    struct seal seals[WORLD_NODES];
    struct view *views;
    size_t room;
} lg;

uint64_t log_leader_changes(void)
{
    return lg.leaders;
}

uint64_t log_length(void)
{
    return lg.longest;
}

/* --- What the core says --- */

static void on_send(void *ctx, uint16_t site, uint64_t incarnation, struct str bytes)
{
    struct node *n = ctx;
    struct output *o = malloc(sizeof *o + bytes.n);

    (void)incarnation; /* it is in the frame, and who it is not for drops it */
    ASSERT(o != NULL);
    *o = (struct output){.site = site, .at = disk_position(n->ctl_disk), .n = bytes.n};
    memcpy(o->b, bytes.p, bytes.n);
    *n->log->out_last = o;
    n->log->out_last = &o->next;
}

static void on_answer(void *ctx, uint64_t req_id, const struct control_outcome *o)
{
    struct asked *a = (struct asked *)(uintptr_t)req_id;

    if (o->err != OK)
        trace("node %u: %s: %s%s%s", ((struct node *)ctx)->index, command_kind_text(a->kind),
              err_text(o->err), o->refused != NULL ? ", " : "",
              o->refused != NULL ? o->refused : "");
    if (a->done != NULL)
        a->done(((struct node *)ctx)->index, o);
    free(a);
}

static void on_changed(void *ctx, unsigned bits)
{
    ((struct node *)ctx)->log->changed |= bits;
}

static void on_fence(void *ctx, enum err why)
{
    (void)why;
    sim_counts()->io_errors++;
    node_end(ctx, "the control store failed");
}

static void on_cut(void *ctx, uint16_t site)
{
    trace("node %u: cuts off site %u", ((struct node *)ctx)->index, site);
}

static void on_solo(void *ctx, enum err e, const char *why)
{
    (void)ctx, (void)e, (void)why;
}

static uint64_t on_now(void *ctx)
{
    return node_ms(ctx);
}

/* --- Turns --- */

static void send_out(struct node *n, size_t upto)
{
    struct log_state *l = n->log;
    struct output *o, *next;

    for (o = l->out; o != NULL; o = next) {
        next = o->next;
        if (o->at <= upto)
            world_send(n->index, sim_node_of(o->site)->index, SIM_PLANE_CTL, n->incarnation,
                       (struct str){o->b, o->n});
        free(o);
    }
    l->out = NULL;
    l->out_last = &l->out;
}

static void feed(struct node *n, struct input *in)
{
    struct control_core *c = n->log->core;

    switch (in->kind) {
    case IN_FRAME:
        control_core_receive(c, in->site, in->incarnation, (struct str){in->b, in->n},
                             node_ms(n));
        break;
    case IN_PROPOSE:
        if (control_core_propose(c, (uintptr_t)in->asked, in->asked->bytes, node_ms(n)) != OK)
            on_answer(n, (uintptr_t)in->asked, &(struct control_outcome){.err = E_FULL});
        break;
    case IN_QUIET:
        control_core_quiet(c, in->slot, in->epoch, node_ms(n));
        break;
    }
    free(in);
}

static void look_at_session(struct node *n)
{
    uint64_t epoch = control_core_session(n->log->core);
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

static void turn(struct node *n);
static void turn_done(struct node *n, void *arg);

static void tick(struct node *n, void *arg)
{
    (void)arg;
    if (n->log->tick_us > world_now())
        return;
    n->log->tick_us = NEVER;
    if (!n->log->busy)
        turn(n);
}

static void arm(struct node *n)
{
    uint64_t due = control_core_deadline(n->log->core), at;

    at = due == UINT64_MAX ? NEVER : world_when_boot(&n->clock, due * 1000);
    if (at >= n->log->tick_us)
        return;
    n->log->tick_us = at > world_now() ? at : world_now() + 100;
    node_at(n, n->log->tick_us, tick, NULL);
}

static void turn(struct node *n)
{
    struct log_state *l = n->log;
    struct input *in = l->first, *next;

    if (n->ending)
        return;
    l->first = NULL;
    l->last = &l->first;
    disk_begin(n->ctl_disk);
    for (; in != NULL; in = next) {
        next = in->next;
        feed(n, in);
    }
    control_core_flush(l->core, node_ms(n));
    control_core_tick(l->core, node_ms(n));
    l->busy = true;
    node_post(n, TURN_US + disk_cost_us(n->ctl_disk), turn_done, NULL);
}

static struct view *view_at(uint64_t i)
{
    if (i >= lg.room) {
        size_t room = i + i / 2 + 1024;

        lg.views = realloc(lg.views, room * sizeof *lg.views);
        ASSERT(lg.views != NULL);
        memset(lg.views + lg.room, 0, (room - lg.room) * sizeof *lg.views);
        lg.room = room;
    }
    return &lg.views[i];
}

static void note_lead(struct node *n)
{
    bool leads = control_core_leads(n->log->core);
    struct control_core_status s;
    struct view *v;

    if (leads && !n->log->leads) {
        control_core_status(n->log->core, &s);
        v = view_at(s.term);
        trace("node %u leads in term %llu", n->index, (unsigned long long)s.term);
        if (v->leader != 0 && v->leader != n->incarnation)
            violation("two nodes led in term %llu", (unsigned long long)s.term);
        v->leader = n->incarnation;
        lg.leaders++;
    }
    n->log->leads = leads;
}

/* A vote is given once in a term, and not forgotten. */
static void note_vote(struct node *n)
{
    struct promise *p = &lg.promises[n->index];
    uint64_t term, vote = control_core_vote(n->log->core, &term);

    if (p->incarnation == n->incarnation &&
        (term < p->term || (term == p->term && p->vote != 0 && vote != p->vote)))
        violation("node %u voted for %llu in term %llu, and has forgotten it", n->index,
                  (unsigned long long)p->vote, (unsigned long long)p->term);
    *p = (struct promise){n->incarnation, term, vote};
}

/* A session that is over stays over (rule 7 of docs/wire.md); and it is not over before its own
 * node knows, by its own clock, that it may be. */
static void note_seals(struct node *n, uint64_t applied)
{
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        const struct node *o = sim_node(i);
        struct seal *s = &lg.seals[i];

        if (s->epoch != 0 && applied >= s->applied &&
            !control_session_sealed(n->control, o->site, s->epoch))
            violation("node %u takes session %llu of node %u as open again", n->index,
                      (unsigned long long)s->epoch, i);
        if (!o->up || o->session == 0 || o->session == s->epoch ||
            !control_session_sealed(n->control, o->site, o->session))
            continue;
        *s = (struct seal){o->session, applied};
        if (o->log != NULL && !o->ending && log_lease_counts(o))
            violation("INV-4: node %u has ended session %llu, and node %u still counts on it",
                      n->index, (unsigned long long)o->session, i);
    }
}

/* Who has applied the same entries has the same state. */
static void note_state(struct node *n)
{
    uint64_t applied = control_applied(n->control), digest;
    struct view *v;

    if (applied == n->log->applied || n->ending)
        return;
    n->log->applied = applied;
    v = view_at(applied);
    if (control_digest(n->control, &digest) != OK)
        violation("node %u cannot read its control state", n->index);
    if (v->has_digest && v->digest != digest)
        violation("node %u has another control state at entry %llu", n->index,
                  (unsigned long long)applied);
    *v = (struct view){.digest = digest, .leader = v->leader, .has_digest = true};
    if (applied > lg.longest)
        lg.longest = applied;
    note_seals(n, applied);
}

static void turn_done(struct node *n, void *arg)
{
    struct log_state *l = n->log;
    unsigned changed = l->changed;

    (void)arg;
    disk_end(n->ctl_disk);
    send_out(n, SIZE_MAX);
    l->busy = false;
    l->changed = 0;
    note_lead(n);
    note_vote(n);
    note_state(n);
    look_at_session(n);
    if (changed != 0)
        data_control_changed(n);
    if (l->first != NULL)
        turn(n);
    if (!l->busy)
        arm(n);
}

static void take(struct node *n, struct input *in)
{
    struct log_state *l = n->log;

    *l->last = in;
    l->last = &in->next;
    if (!l->busy)
        turn(n);
}

static struct input *input_new(size_t n)
{
    struct input *in = calloc(1, sizeof *in + n);

    ASSERT(in != NULL);
    in->n = n;
    return in;
}

void log_frame(struct node *n, unsigned from, uint64_t incarnation, struct str bytes)
{
    struct input *in = input_new(bytes.n);
    struct member m;

    /* Who speaks is known from its key, and a key that is no member's opens no link. */
    if (control_member_get(n->control, sim_node(from)->site, &m) == OK &&
        m.incarnation > incarnation) {
        free(in);
        return;
    }
    in->kind = IN_FRAME;
    in->site = sim_node(from)->site;
    in->incarnation = incarnation;
    memcpy(in->b, bytes.p, bytes.n);
    take(n, in);
}

static void ask(struct node *n, const struct command *c,
                void (*done)(unsigned node, const struct control_outcome *o))
{
    struct asked *a = malloc(sizeof *a + LIMIT_COMMAND_BYTES);
    struct input *in = input_new(0);
    enum err rc;

    ASSERT(a != NULL);
    *a = (struct asked){.kind = c->kind, .done = done};
    rc = command_encode(c, a->b, LIMIT_COMMAND_BYTES, &a->bytes);
    ASSERT(rc == OK);
    a = realloc(a, sizeof *a + a->bytes.n);
    a->bytes.p = (const char *)a->b;
    in->kind = IN_PROPOSE;
    in->asked = a;
    trace("node %u proposes %s", n->index, command_kind_text(c->kind));
    take(n, in);
}

void log_propose(struct node *n, const struct command *c)
{
    ask(n, c, NULL);
}

/* --- Leases --- */

/* Slots that are to be given away, and in which no dot is open any more. */
void log_quiet(struct node *n, bool (*is_quiet)(const struct node *n, uint32_t slot))
{
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        struct input *in;
        struct slot s;

        if (!control_core_is_leaving(n->log->core, i) || !is_quiet(n, i) ||
            control_slot(n->control, i, &s) != OK || s.site != n->site)
            continue;
        in = input_new(0);
        in->kind = IN_QUIET;
        in->slot = i;
        in->epoch = s.epoch;
        take(n, in);
    }
}

bool log_is_leaving(const struct node *n, uint32_t slot)
{
    return control_core_is_leaving(n->log->core, slot);
}

bool log_lease_counts(const struct node *n)
{
    return control_core_valid_until(n->log->core) > node_ms(n);
}

uint64_t log_cluster_ms(struct node *n)
{
    uint64_t ms = clusterclock_now(control_core_clock(n->log->core), node_ms(n));

    if (ms > n->log->cluster_ms)
        n->log->cluster_ms = ms;
    return n->log->cluster_ms;
}

/* --- Operators --- */

static struct command add_member(unsigned i)
{
    struct command c = {.kind = COMMAND_MEMBER_ADD,
                        .member_add = {.site = (uint16_t)(i + 1),
                                       .key = {(uint8_t)(i + 1)},
                                       .control = STR("192.0.2.1:7301"),
                                       .data = STR("192.0.2.1:7302")}};

    c.member_add.key[1] = (uint8_t)sim_node(i)->wipes;
    return c;
}

static struct node *some_member(void)
{
    unsigned first = (unsigned)world_below(WORLD_NODES);

    for (unsigned i = 0; i < WORLD_NODES; i++) {
        struct node *n = sim_node((first + i) % WORLD_NODES);

        if (n->up && !n->paused && !n->ending && n->session != 0)
            return n;
    }
    return NULL;
}

static void joined(unsigned i, const struct control_outcome *o)
{
    struct node *n = sim_node(i);

    lg.joining[i] = false;
    if (o->err != OK || n->incarnation != 0)
        return;
    n->incarnation = o->index;
    n->wants_join = false;
    trace("node %u joins as incarnation %llu", i, (unsigned long long)n->incarnation);
    node_start_later(n);
}

/* Which node a MEMBER_ADD was for is not in its answer. */
#define JOINED(i)                                                                              \
    static void joined_##i(unsigned at, const struct control_outcome *o)                       \
    {                                                                                          \
        (void)at;                                                                              \
        joined(i, o);                                                                          \
    }
JOINED(0)
JOINED(1)
JOINED(2)

bool log_join(struct node *n)
{
    static void (*const done[WORLD_NODES])(unsigned, const struct control_outcome *) = {
        joined_0, joined_1, joined_2};
    struct node *at = some_member();
    struct command c = add_member(n->index);

    if (n->incarnation != 0)
        return true;
    n->wants_join = true;
    if (at != NULL && at != n && !lg.joining[n->index]) {
        lg.joining[n->index] = true;
        ask(at, &c, done[n->index]);
    }
    return false;
}

static struct command domain_of(unsigned i, char host[32])
{
    struct command c = {.kind = COMMAND_DOMAIN_PUT,
                        .domain_put = {.mode = DOMAIN_ADD,
                                       .domain = {.name = str_of(sim_domain(i)),
                                                  .route = {.kind = ROUTE_STATIC}}}};

    snprintf(host, 32, "198.51.100.%u", i + 1);
    c.domain_put.domain.route.host_count = 1;
    c.domain_put.domain.route.hosts[0] = (struct domain_host){.host = str_of(host), .port = 25};
    c.domain_put.domain.tls = DOMAIN_TLS_OFF;
    return c;
}

/* Replaced incarnations are forgotten once the one in their place is filled. */
static void forget_replaced(struct node *at)
{
    struct control_members all;
    struct member now;

    if (control_members(at->control, &all) != OK)
        return;
    for (uint32_t i = 0; i < all.count; i++) {
        const struct member *m = &all.members[i];

        if (m->leaving && control_member_get(at->control, m->site, &now) == OK && now.filled)
            log_propose(at, &(struct command){.kind = COMMAND_MEMBER_REMOVE,
                                              .member_remove = {m->site, m->incarnation}});
    }
}

/* An addition that timed out was decided after all, behind the one that was asked for next: the
 * disk belongs to nobody, and its operator begins again. */
static void join_replaced(const struct node *at)
{
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        struct node *n = sim_node(i);
        struct member m;

        if (!n->up || n->session != 0 || n == at ||
            control_member_get(at->control, n->site, &m) != OK ||
            m.incarnation <= n->incarnation)
            continue;
        trace("node %u was replaced before it began", i);
        node_wipe(n);
        n->wants_join = true;
    }
}

static void operate(void *arg)
{
    struct node *at = some_member();

    (void)arg;
    for (unsigned i = 0; i < WORLD_NODES; i++)
        if (sim_node(i)->incarnation == 0 && sim_node(i)->wants_join)
            (void)log_join(sim_node(i));
    for (unsigned i = 0; i < SIM_DOMAINS && at != NULL && !lg.domains; i++) {
        char host[32];
        struct command c = domain_of(i, host);

        log_propose(at, &c);
    }
    lg.domains |= at != NULL;
    if (at != NULL) {
        join_replaced(at);
        forget_replaced(at);
    }
    world_at(world_now() + (lg.domains ? OPERATOR_US : SECOND / 4), operate, NULL);
}

void log_init(void)
{
    free(lg.views);
    memset(&lg, 0, sizeof lg);
    sim_node(FIRST)->incarnation = 1;
    for (unsigned i = 0; i < WORLD_NODES; i++)
        sim_node(i)->wants_join = i != FIRST;
    world_at(0, operate, NULL);
}

/* --- Life --- */

static bool make(struct node *n, const char *dir)
{
    struct control_core_make m = {.dir = dir,
                                  .id = {.site = n->site, .incarnation = n->incarnation}};
    struct command first = add_member(n->index);

    memcpy(m.id.cluster, CLUSTER_NAME, sizeof m.id.cluster);
    first.member_add.incarnation = n->incarnation;
    if (n->index == FIRST && n->incarnation == 1)
        m.first = &first;
    return control_core_make(&m) == OK;
}

static void first_turn(struct node *n, void *arg)
{
    (void)arg;
    if (!n->log->busy)
        turn(n);
}

bool log_open(struct node *n)
{
    char dir[200];
    struct control_core_options o = {.dir = dir,
                                     .log_map_bytes = CTL_MAP_BYTES,
                                     .state_map_bytes = CTL_MAP_BYTES,
                                     .site = n->site,
                                     .seed = world_below(UINT64_MAX / 4) + 1,
                                     .boot_now_ms = node_ms(n),
                                     .log_most = LOG_MOST,
                                     .ops = {.ctx = n,
                                             .send = on_send,
                                             .answer = on_answer,
                                             .changed = on_changed,
                                             .fence = on_fence,
                                             .cut = on_cut,
                                             .solo = on_solo,
                                             .now = on_now}};

    snprintf(dir, sizeof dir, "%s/control", n->dir);
    n->log = calloc(1, sizeof *n->log);
    ASSERT(n->log != NULL);
    n->log->last = &n->log->first;
    n->log->out_last = &n->log->out;
    n->log->tick_us = NEVER;
    if (n->fresh && !make(n, dir))
        return false;
    disk_begin(n->ctl_disk);
    if (control_core_open(&n->log->core, &o) != OK)
        return false;
    n->control = control_core_state(n->log->core);
    n->log->busy = true;
    node_post(n, TURN_US + disk_cost_us(n->ctl_disk), turn_done, NULL);
    node_post(n, MS, first_turn, NULL);
    return true;
}

void log_close(struct node *n)
{
    struct log_state *l = n->log;
    struct input *in, *next;

    if (l == NULL)
        return;
    for (in = l->first; in != NULL; in = next) {
        next = in->next;
        if (in->kind == IN_PROPOSE)
            on_answer(n, (uintptr_t)in->asked, &(struct control_outcome){.err = E_IO});
        free(in);
    }
    if (l->core != NULL)
        control_core_close(&l->core);
    n->control = NULL;
}

void log_forget(struct node *n, size_t upto)
{
    if (n->log == NULL)
        return;
    send_out(n, upto);
    free(n->log);
    n->log = NULL;
}
