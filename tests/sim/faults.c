#include "tests/sim/faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/sim.h"

enum kind {
    F_POWER,
    F_POWER_IN_COMMIT,
    F_KILL,
    F_PAUSE,
    F_LONG_PAUSE,
    F_ONE_WAY,
    F_ISOLATE,
    F_LOSSY,
    F_CLOG,
    F_SLOW_DISK,
    F_EIO,
    F_FULL,
    F_WIPE,
    F_PRIMARY,
    F_CLOCK_STEP,
    F_BIT_ROT,
    F_POWER_ALL,
    F_PAUSE_AT_DOT,
    F_POWER_AT_DOT,
    F_FORMAT,
    F_DATA_CUT,
    F_SPLIT,
    F_BLIND,
    F_DEAF,
    F_FORGET,
    F_KINDS
};

static const struct {
    const char *name;
    unsigned weight;
} kinds[F_KINDS] = {
    [F_POWER] = {"power cut", 8},
    [F_POWER_IN_COMMIT] = {"power cut in a commit", 10},
    [F_KILL] = {"process killed", 8},
    [F_PAUSE] = {"process frozen", 8},
    [F_LONG_PAUSE] = {"frozen for a quarter of an hour", 1},
    [F_ONE_WAY] = {"one-way cut", 8},
    [F_ISOLATE] = {"node cut off", 8},
    [F_LOSSY] = {"frames lost, doubled, reordered", 8},
    [F_CLOG] = {"link clogged", 5},
    [F_SLOW_DISK] = {"slow disk", 6},
    [F_EIO] = {"I/O error", 3},
    [F_FULL] = {"disk full", 3},
    [F_WIPE] = {"disk lost, node added anew", 5},
    [F_PRIMARY] = {"primary misbehaves", 20},
    [F_CLOCK_STEP] = {"wall clock steps by days", 3},
    [F_BIT_ROT] = {"a bit flips on a disk", 8},
    [F_POWER_ALL] = {"power cut everywhere", 2},
    [F_PAUSE_AT_DOT] = {"holder frozen at a dot", 6},
    [F_POWER_AT_DOT] = {"power cut at a dot", 4},
    [F_FORMAT] = {"a node of another version", 2},
    [F_DATA_CUT] = {"data plane cut alone", 6},
    [F_SPLIT] = {"an intake split three ways", 4},
    [F_BLIND] = {"a holder lost unheard", 4},
    [F_DEAF] = {"a holder that the log does not hear", 4},
    [F_FORGET] = {"traces forgotten", 4},
};

static struct {
    bool on;
    uint64_t until_us, well_since_us;
    uint32_t only;
    /* A flipped bit and a lost disk are two copies gone: in a life with rot both befall one
     * node only; in one without, any. */
    bool rots;
    unsigned bad;
    struct world_link calm;
    uint64_t sync_min_us, sync_max_us;
    uint64_t counts[F_KINDS];
    uint64_t generation; /* ends of faults of an earlier time do nothing */
} f;

_Static_assert(SIM_FAULTS == F_KINDS, "faults.h");

const char *fault_name(unsigned kind)
{
    return kinds[kind].name;
}

uint64_t faults_count(unsigned kind)
{
    return f.counts[kind];
}

/* --- Calm --- */

static void calm_link(unsigned a, unsigned b)
{
    *world_link(a, b) = f.calm;
}

static void calm_disk(struct node *n)
{
    struct disk_faults calm = {.sync_min_us = f.sync_min_us, .sync_max_us = f.sync_max_us};

    *disk_faults(n->spool_disk) = calm;
    *disk_faults(n->ctl_disk) = calm;
}

void faults_weather(void)
{
    static const uint64_t delays_ms[] = {1, 2, 10, 40};
    uint64_t ms = delays_ms[world_below(4)];

    f.rots = world_chance(500);
    f.bad = (unsigned)world_below(WORLD_NODES);
    f.calm = (struct world_link){.delay_min_us = (uint32_t)(ms * MS),
                                 .delay_max_us = (uint32_t)(2 * ms * MS),
                                 .tail_pm = 10};
    f.sync_min_us = world_between(100, 1000);
    f.sync_max_us = f.sync_min_us * world_between(2, 6);
    for (unsigned a = 0; a < WORLD_NODES; a++) {
        for (unsigned b = 0; b < WORLD_NODES; b++)
            calm_link(a, b);
        calm_disk(sim_node(a));
    }
}

/* --- One fault, and its end --- */

struct ending {
    enum kind kind;
    unsigned a, b;
    uint64_t generation;
};

static bool all_well(void)
{
    struct member m;

    for (unsigned i = 0; i < WORLD_NODES; i++) {
        struct node *n = sim_node(i);

        if (!n->up || n->paused || n->ending || n->session == 0 ||
            control_member_get(n->control, n->site, &m) != OK || !m.filled)
            return false;
        for (unsigned k = 0; k < WORLD_NODES; k++)
            if (k != i && (world_link(i, k)->cut || world_link(i, k)->cut_planes != 0))
                return false;
    }
    return true;
}

bool faults_all_well(void)
{
    return all_well();
}

static void watch(void *arg)
{
    (void)arg;
    if (!all_well())
        f.well_since_us = NEVER;
    else if (f.well_since_us == NEVER)
        f.well_since_us = world_now();
    world_at(world_now() + SECOND, watch, NULL);
}

static void revive(struct node *n)
{
    node_resume(n);
    if (n->up || !log_join(n))
        return;
    calm_disk(n);
    node_start(n);
}

static void keep_alive(void *arg)
{
    struct node *n = arg;

    if (!n->up)
        revive(n);
}

/* It is set back to the version of the others. */
static void end_format(struct node *n)
{
    if (!n->other_format)
        return;
    node_crash(n, false);
    n->other_format = false;
    revive(n);
}

static void end_fault(void *arg)
{
    struct ending e = *(struct ending *)arg;
    struct node *n = sim_node(e.a % WORLD_NODES); /* a primary has a number of its own */

    free(arg);
    if (e.generation != f.generation)
        return;
    switch (e.kind) {
    case F_ONE_WAY:
    case F_LOSSY:
    case F_CLOG:
    case F_DATA_CUT:
        calm_link(e.a, e.b);
        break;
    case F_ISOLATE:
        for (unsigned i = 0; i < WORLD_NODES; i++) {
            calm_link(e.a, i);
            calm_link(i, e.a);
        }
        break;
    case F_SLOW_DISK:
    case F_EIO:
    case F_FULL:
        calm_disk(n);
        break;
    case F_PRIMARY:
        primary_set(e.a, PRIMARY_UP);
        break;
    case F_POWER_ALL:
        for (unsigned i = 0; i < WORLD_NODES; i++)
            revive(sim_node(i));
        break;
    case F_FORMAT:
        end_format(n);
        break;
    default:
        revive(n);
        break;
    }
}

static void end_in(enum kind kind, unsigned a, unsigned b, uint64_t us)
{
    struct ending *e = malloc(sizeof *e);

    ASSERT(e != NULL);
    *e = (struct ending){kind, a, b, f.generation};
    world_at(world_now() + us, end_fault, e);
}

/* Waits for a commit to be under way. */
static void cut_in_commit(void *arg)
{
    struct node *n = arg;

    if (!n->up || n->paused)
        return;
    if (n->writer.busy)
        node_crash(n, true);
    else
        world_at(world_now() + world_between(50, 900), cut_in_commit, n);
}

/* Waits for a dot that is allowed and has no answer yet. Frozen for less than a lease counts,
 * or for longer: before its fence, and behind it. */
static void stop_at_dot(struct node *n, enum kind k)
{
    if (k == F_POWER_AT_DOT) {
        node_crash(n, true);
        end_in(k, n->index, 0, world_between(100, 20000) * MS);
        return;
    }
    node_pause(n);
    end_in(k, n->index, 0,
           world_chance(400) ? world_between(100, 8000) * MS : world_between(9, 40) * SECOND);
}

static void wait_for_dot(void *arg)
{
    struct ending *e = arg;
    struct node *n = sim_node(e->a);

    if (e->generation != f.generation || !n->up || n->paused || world_now() > f.until_us) {
        free(e);
    } else if (mail_has_consent(n)) {
        stop_at_dot(n, e->kind);
        free(e);
    } else {
        world_at(world_now() + world_between(300, 3000), wait_for_dot, e);
    }
}

static void at_dot(struct node *n, enum kind k)
{
    struct ending *e = malloc(sizeof *e);

    ASSERT(e != NULL);
    *e = (struct ending){k, n->index, 0, f.generation};
    wait_for_dot(e);
}

static void rot(struct node *n)
{
    char text[32];
    uint32_t key;

    for (int i = 0; i < 20 && check_some_live(&key); i++) {
        if (world_chance(600)) /* in its body, or in its envelope */
            snprintf(text, sizeof text, "X-Sim-Key: %08u", (unsigned)key);
        else
            snprintf(text, sizeof text, "u%u.0@d", (unsigned)key);
        if (!disk_flip(n->spool_disk, text, strlen(text)))
            continue;
        trace("node %u: a bit of %s flips", n->index, text);
        sim_counts()->flips++;
        check_rotted(key);
        return;
    }
}

static void cut_plane(unsigned plane, unsigned from, unsigned to, bool on)
{
    struct world_link *l = world_link(from, to);

    l->cut_planes = (l->cut_planes & ~(1u << plane)) | (uint32_t)on << plane;
}

static void cut_data(unsigned from, unsigned to, bool on)
{
    cut_plane(SIM_PLANE_DATA, from, to, on);
}

static void cut_pair(unsigned a, unsigned b, bool on)
{
    cut_data(a, b, on);
    cut_data(b, a, on);
}

static void links_of(enum kind k, unsigned a, unsigned b)
{
    struct world_link *l = world_link(a, b);

    if (k == F_LOSSY) {
        l->loss_pm = (uint32_t)world_between(20, 300);
        l->double_pm = (uint32_t)world_between(0, 300);
        l->delay_max_us = l->delay_min_us + (uint32_t)(world_between(5, 80) * MS);
        l->tail_pm = 100;
        l->corrupt_pm = (uint32_t)world_below(20);
        end_in(k, a, b, world_between(2, 30) * SECOND);
    } else if (k == F_CLOG) {
        l->clogged_until_us = world_now() + world_between(1, 12) * SECOND;
    } else if (k == F_DATA_CUT) {
        cut_data(a, b, true);
        sim_counts()->cuts++;
        end_in(k, a, b, world_between(1, 40) * SECOND);
    } else {
        l->cut = true;
        sim_counts()->cuts++;
        end_in(k, a, b, world_between(1, 40) * SECOND);
    }
}

/* --- An intake split three ways ---
 *
 * Mail that node a takes now is stored at c, which cannot say so; b hears of its end alone;
 * then a dies, and c is left with a copy that nobody told it about. What c makes of it, b and c
 * must agree on (docs/wire.md, 4 and 7 to 9). Only the data plane is cut: the log goes on. */
struct split {
    unsigned step, a, b, c;
    uint64_t generation;
};

/* It was begun in an earlier time of faults: nothing follows, and it is freed. */
static bool is_past(struct split *s)
{
    if (s->generation == f.generation)
        return false;
    free(s);
    return true;
}

static void split(void *arg)
{
    struct split *s = arg;
    uint64_t wait_ms = 0;

    if (is_past(s))
        return;
    switch (s->step++) {
    case 0:
        cut_data(s->a, s->b, true);
        cut_data(s->b, s->a, true);
        cut_data(s->c, s->a, true);
        cut_data(s->c, s->b, true);
        cut_data(s->b, s->c, true);
        wait_ms = world_between(500, 3000);
        break;
    case 1:
        cut_data(s->a, s->c, true);
        wait_ms = world_between(2000, 6000);
        break;
    case 2:
        cut_data(s->a, s->b, false);
        cut_data(s->b, s->a, false);
        wait_ms = world_between(200, 6000);
        break;
    case 3:
        if (world_chance(700))
            node_crash(sim_node(s->a), true);
        else
            node_pause(sim_node(s->a));
        wait_ms = world_between(8000, 25000);
        break;
    default:
        for (unsigned i = 0; i < WORLD_NODES; i++)
            for (unsigned k = 0; k < WORLD_NODES; k++)
                cut_data(i, k, false);
        end_in(F_POWER, s->a, 0, world_between(100, 20000) * MS);
        free(s);
        return;
    }
    world_at(world_now() + wait_ms * MS, split, s);
}

static void primaries_set(enum primary_temper t)
{
    for (unsigned i = 0; i < SIM_DOMAINS; i++)
        primary_set(i, t);
}

/* Mail waits at all three; what b delivers of it, and then c alone knows to be over, a has live
 * still. It may become its holder, and asks c for its dots in the moment in which it would hear
 * of that. */
static void blind(void *arg)
{
    struct split *s = arg;
    uint64_t wait_ms;

    if (is_past(s))
        return;
    switch (s->step++) {
    case 0:
        primaries_set(PRIMARY_DOWN);
        wait_ms = world_between(3000, 10000);
        break;
    case 1:
        cut_pair(s->a, s->b, true);
        cut_pair(s->a, s->c, true);
        primaries_set(PRIMARY_UP);
        wait_ms = world_between(500, 5000);
        break;
    case 2:
        node_crash(sim_node(s->b), true);
        wait_ms = world_between(11000, 30000);
        break;
    default:
        cut_pair(s->a, s->c, false);
        cut_pair(s->a, s->b, false);
        end_in(F_POWER, s->b, 0, world_between(100, 20000) * MS);
        free(s);
        return;
    }
    world_at(world_now() + wait_ms * MS, blind, s);
}

static void cut_log(unsigned a, bool on)
{
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        cut_plane(SIM_PLANE_CTL, a, i, on);
        cut_plane(SIM_PLANE_CTL, i, a, on);
    }
}

/* Mail waits at all three, and a's session ends without its hearing of it: it delivers until
 * its fence, which c hears of, and b, the next holder, does not. b asks c for its dots before c
 * has come to tell it what is over. */
static void deaf(void *arg)
{
    struct split *s = arg;
    uint64_t wait_ms;

    if (is_past(s))
        return;
    switch (s->step++) {
    case 0:
        primaries_set(PRIMARY_DOWN);
        wait_ms = world_between(3000, 10000);
        break;
    case 1:
        cut_log(s->a, true);
        cut_pair(s->a, s->b, true);
        wait_ms = world_between(3000, 9000);
        break;
    case 2:
        primaries_set(PRIMARY_UP);
        wait_ms = world_between(10000, 20000);
        break;
    default:
        cut_log(s->a, false);
        cut_pair(s->a, s->b, false);
        free(s);
        return;
    }
    world_at(world_now() + wait_ms * MS, deaf, s);
}

static void stepwise(void (*step)(void *arg), unsigned a, unsigned b)
{
    struct split *s = malloc(sizeof *s);

    ASSERT(s != NULL);
    *s = (struct split){0, a, b, WORLD_NODES - a - b, f.generation};
    step(s);
}

static void isolate(unsigned a)
{
    sim_counts()->cuts++;
    for (unsigned i = 0; i < WORLD_NODES; i++)
        if (i != a)
            world_link(a, i)->cut = world_link(i, a)->cut = true;
    end_in(F_ISOLATE, a, 0, world_between(1, 60) * SECOND);
}

static void disks_of(enum kind k, struct node *n)
{
    struct disk_faults *d = disk_faults(world_chance(700) ? n->spool_disk : n->ctl_disk);

    if (!n->up) /* it may be a disk that nobody has put in yet */
        return;
    if (k == F_SLOW_DISK) {
        d->sync_min_us = world_between(20, 200) * MS;
        d->sync_max_us = d->sync_min_us * 3;
        d->stall_pm = 20;
        d->stall_us = 4 * SECOND;
        end_in(k, n->index, 0, world_between(3, 30) * SECOND);
    } else if (k == F_EIO) {
        d->eio = true;
        end_in(k, n->index, 0, world_between(1, 5) * SECOND);
    } else {
        disk_faults(n->spool_disk)->full = true;
        sim_counts()->full_disks++;
        end_in(k, n->index, 0, world_between(2, 20) * SECOND);
    }
}

/* What is lost must stand on another disk: so not before the disk that was lost last is filled
 * again. Else at any time: also while a node is away, and has not got it all. */
static bool may_wipe(const struct node *n)
{
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        const struct node *o = sim_node(i);

        if (o != n && (o->incarnation == 0 || !o->is_filled))
            return false;
    }
    return (!f.rots || n->index == f.bad) && n->incarnation != 0 && n->is_filled;
}

static bool is_calm(void)
{
    return f.well_since_us != NEVER && world_now() > f.well_since_us + 10 * SECOND;
}

/* A process ends, or stands still. */
static void stop(enum kind k, struct node *n)
{
    bool power = k == F_POWER;

    if (k == F_PAUSE || k == F_LONG_PAUSE)
        node_pause(n);
    else if (k == F_POWER_IN_COMMIT)
        cut_in_commit(n);
    else if (k == F_WIPE)
        node_wipe(n);
    else
        node_crash(n, power);
    if (k == F_PAUSE)
        end_in(k, n->index, 0, world_between(300, 30000) * MS);
    else if (k == F_LONG_PAUSE)
        end_in(k, n->index, 0, world_between(10, 16) * MINUTE);
    else
        end_in(k, n->index, 0, world_between(100, 20000) * MS);
}

static void stop_all(void)
{
    for (unsigned i = 0; i < WORLD_NODES; i++)
        node_crash(sim_node(i), true);
    end_in(F_POWER_ALL, 0, 0, world_between(1, 10) * SECOND);
}

/* As if a month had gone by: who is away has copies of what nobody can tell the end of. */
static void forget_all(void)
{
    for (unsigned i = 0; i < WORLD_NODES; i++)
        if (sim_node(i)->up && sim_node(i)->session != 0)
            data_forget(sim_node(i));
}

static void upgrade(struct node *n)
{
    node_crash(n, false);
    n->other_format = true;
    n->other_since_us = world_now();
    revive(n);
    end_in(F_FORMAT, n->index, 0, world_between(5, 40) * SECOND);
}

static void annoy(unsigned primary)
{
    primary_set(primary, (enum primary_temper)(1 + world_below(PRIMARY_TEMPERS - 1)));
    end_in(F_PRIMARY, primary, 0, world_between(2, 40) * SECOND);
}

static void strike(enum kind k)
{
    unsigned a = (unsigned)world_below(WORLD_NODES);
    unsigned b = (a + 1 + (unsigned)world_below(WORLD_NODES - 1)) % WORLD_NODES;
    struct node *n = sim_node(a);

    if ((k == F_WIPE && !may_wipe(n)) || (k == F_BIT_ROT && !f.rots))
        return;
    f.counts[k]++;
    trace("fault: %s (%u %u)", kinds[k].name, a, b);
    switch (k) {
    case F_POWER:
    case F_POWER_IN_COMMIT:
    case F_KILL:
    case F_PAUSE:
    case F_LONG_PAUSE:
    case F_WIPE:
        stop(k, n);
        break;
    case F_ONE_WAY:
    case F_LOSSY:
    case F_CLOG:
    case F_DATA_CUT:
        links_of(k, a, b);
        break;
    case F_ISOLATE:
        isolate(a);
        break;
    case F_SLOW_DISK:
    case F_EIO:
    case F_FULL:
        disks_of(k, n);
        break;
    case F_PRIMARY:
        annoy((unsigned)world_below(SIM_DOMAINS));
        break;
    case F_CLOCK_STEP:
        n->clock.wall_ms = (int64_t)world_below(28 * 86400000ULL) - 14 * 86400000LL;
        break;
    case F_BIT_ROT:
        if (sim_node(f.bad)->up)
            rot(sim_node(f.bad));
        break;
    case F_POWER_ALL:
        stop_all();
        break;
    case F_PAUSE_AT_DOT:
    case F_POWER_AT_DOT:
        at_dot(n, k);
        break;
    case F_FORMAT:
        upgrade(n);
        break;
    case F_SPLIT:
        stepwise(split, a, b);
        break;
    case F_BLIND:
        stepwise(blind, a, b);
        break;
    case F_DEAF:
        stepwise(deaf, a, b);
        break;
    case F_FORGET:
        forget_all();
        break;
    case F_KINDS:
        break;
    }
}

uint32_t faults_mask_of_wipe(void)
{
    return 1u << F_WIPE;
}

static struct node *some_disk(void)
{
    return sim_node(f.rots ? f.bad : (unsigned)world_below(WORLD_NODES));
}

static void wipe(struct node *n)
{
    f.counts[F_WIPE]++;
    node_wipe(n);
    calm_disk(n);
    n->wants_join = true;
}

/* A disk is lost, and of the two others only c can fill the new one: what a took meanwhile c
 * has not got. The node must not believe that it has it all (docs/wire.md, 21). */
static void wipe_behind(void *arg)
{
    struct split *s = arg;
    uint64_t wait_us = world_between(15, 40) * SECOND;

    if (s->step++ == 0 && may_wipe(sim_node(s->b))) {
        wipe(sim_node(s->b));
        cut_pair(s->a, s->b, true);
        world_at(world_now() + wait_us, wipe_behind, s);
        return;
    }
    cut_pair(s->a, s->b, false);
    cut_pair(s->a, s->c, false);
    free(s);
}

void faults_wipe(void)
{
    struct node *n = some_disk();
    struct split *s;

    if (!may_wipe(n))
        return;
    if (world_chance(600)) {
        wipe(n);
        return;
    }
    s = malloc(sizeof *s);
    ASSERT(s != NULL);
    s->step = 0;
    s->b = n->index;
    s->a = (n->index + 1 + (unsigned)world_below(2)) % WORLD_NODES;
    s->c = WORLD_NODES - s->a - s->b;
    cut_pair(s->a, s->c, true);
    world_at(world_now() + world_between(3, 10) * SECOND, wipe_behind, s);
}

struct node *faults_keep_spool(void)
{
    struct node *n = some_disk();

    if (!may_wipe(n) || !is_calm())
        return NULL;
    node_backup(n);
    return n;
}

void faults_set_back(struct node *n)
{
    if (all_well())
        node_restore(n);
}

static void next_fault(void *arg)
{
    unsigned sum = 0, at;
    uint64_t generation = (uint64_t)(uintptr_t)arg;

    if (!f.on || generation != f.generation || world_now() >= f.until_us)
        return;
    for (unsigned k = 0; k < F_KINDS; k++)
        sum += f.only >> k & 1 ? kinds[k].weight : 0;
    at = (unsigned)world_below(sum);
    for (unsigned k = 0; k < F_KINDS; k++) {
        unsigned weight = f.only >> k & 1 ? kinds[k].weight : 0;

        if (at < weight) {
            strike((enum kind)k);
            break;
        }
        at -= weight;
    }
    world_at(world_now() + world_between(200, 9000) * MS, next_fault, arg);
}

void faults_begin(uint64_t until_us, uint32_t only)
{
    if (f.generation == 0)
        world_at(world_now(), watch, NULL);
    f.on = true;
    f.until_us = until_us;
    f.only = only & ((1u << F_KINDS) - 1);
    f.generation++;
    f.well_since_us = NEVER;
    if (f.only != 0)
        world_at(world_now() + 5 * SECOND, next_fault, (void *)(uintptr_t)f.generation);
}

static void heal(void *arg)
{
    bool all = true;

    (void)arg;
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        revive(sim_node(i));
        all &= sim_node(i)->up;
    }
    if (!f.on)
        world_at(world_now() + SECOND, heal, NULL);
}

void faults_end(void)
{
    f.on = false;
    f.generation++;
    for (unsigned a = 0; a < WORLD_NODES; a++) {
        for (unsigned b = 0; b < WORLD_NODES; b++)
            calm_link(a, b);
        calm_disk(sim_node(a));
    }
    for (unsigned i = 0; i < SIM_DOMAINS; i++)
        primary_set(i, PRIMARY_UP);
    for (unsigned i = 0; i < WORLD_NODES; i++)
        end_format(sim_node(i));
    heal(NULL);
}

void faults_rest(uint64_t us)
{
    bool power = world_chance(500);

    sim_counts()->rests++;
    sim_counts()->rest_us += us;
    trace("all machines rest for %llu s, %s", (unsigned long long)(us / SECOND),
          power ? "without power" : "suspended");
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        if (power)
            node_crash(sim_node(i), true);
        else
            node_pause(sim_node(i));
    }
    world_skip(world_now() + us);
    for (unsigned i = 0; i < WORLD_NODES; i++)
        world_at(world_now() + world_between(0, 20) * SECOND, keep_alive, sim_node(i));
    for (unsigned i = 0; i < WORLD_NODES; i++)
        node_resume(sim_node(i));
}
