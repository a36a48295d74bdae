/* How a node lives: its process starts, stops for a while, dies, loses its disk. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/sim/sim.h"

static struct node nodes[WORLD_NODES];
static struct sim_counts counts;

struct deferred {
    struct deferred *next;
    struct node *node;
    uint64_t life;
    void (*fn)(struct node *n, void *arg);
    void *arg;
};

struct sim_counts *sim_counts(void)
{
    return &counts;
}

struct node *sim_node(unsigned index)
{
    ASSERT(index < WORLD_NODES);
    return &nodes[index];
}

struct node *sim_node_of(uint16_t site)
{
    return sim_node((unsigned)site - 1);
}

uint64_t node_ms(const struct node *n)
{
    return world_boot_us(&n->clock) / 1000;
}

/* --- Events of a node --- */

static void run(void *arg)
{
    struct deferred *d = arg;
    struct node *n = d->node;

    if (!n->up || d->life != n->life) {
        free(d->arg);
        free(d);
        return;
    }
    if (n->paused) { /* it finds all this when it goes on */
        d->next = NULL;
        *n->held_last = d;
        n->held_last = &d->next;
        return;
    }
    world_use_clock(&n->clock);
    d->fn(n, d->arg);
    world_use_clock(NULL);
    free(d);
}

void node_at(struct node *n, uint64_t at_us, void (*fn)(struct node *n, void *arg), void *arg)
{
    struct deferred *d = malloc(sizeof *d);

    ASSERT(d != NULL);
    *d = (struct deferred){.node = n, .life = n->life, .fn = fn, .arg = arg};
    world_at(at_us, run, d);
}

void node_post(struct node *n, uint64_t delay_us, void (*fn)(struct node *n, void *arg),
               void *arg)
{
    node_at(n, world_now() + delay_us, fn, arg);
}

void node_post_in_order(struct node *n, uint64_t delay_us,
                        void (*fn)(struct node *n, void *arg), void *arg)
{
    uint64_t at_us = world_now() + delay_us;

    n->posted_us = at_us > n->posted_us ? at_us : n->posted_us;
    node_at(n, n->posted_us, fn, arg);
}

/* --- Life --- */

void node_init(unsigned index, const char *dir)
{
    struct node *n = &nodes[index];
    char path[256];

    *n = (struct node){.index = index, .site = (uint16_t)(index + 1), .fresh = true};
    n->held_last = &n->held;
    snprintf(n->dir, sizeof n->dir, "%s/n%u", dir, index);
    ASSERT(mkdir(n->dir, 0700) == 0);
    snprintf(path, sizeof path, "%s/spool/", n->dir);
    n->spool_disk = disk_add(path);
    snprintf(path, sizeof path, "%s/control/", n->dir);
    n->ctl_disk = disk_add(path);
    n->clock.drift_ppm = (int64_t)world_between(0, 20000) - 10000; /* 1 % */
}

void node_start(struct node *n)
{
    if (n->up || n->incarnation == 0)
        return;
    n->up = true;
    n->paused = n->ending = false;
    n->life++;
    n->starts++;
    n->session = 0;
    n->gate_open = false;
    if (n->joined_us == 0)
        n->joined_us = world_now();
    trace("node %u starts (incarnation %llu)", n->index, (unsigned long long)n->incarnation);
    world_use_clock(&n->clock);
    writer_init(n);
    if (!log_open(n) || !data_open(n))
        violation("node %u does not start from its own disk", n->index);
    world_use_clock(NULL);
}

static void drop_held(struct node *n)
{
    struct deferred *d, *next;

    for (d = n->held; d != NULL; d = next) {
        next = d->next;
        free(d->arg);
        free(d);
    }
    n->held = NULL;
    n->held_last = &n->held;
}

void node_crash(struct node *n, bool power)
{
    if (!n->up)
        return;
    trace("node %u crashes%s", n->index, power ? ", power cut" : "");
    n->up = false;
    n->crashes++;
    counts.crashes++;
    drop_held(n);
    check_crashed(n->index);
    world_use_clock(&n->clock);
    intake_close(n);
    mail_close(n);
    data_close(n);
    writer_drop(n);
    log_close(n);
    world_use_clock(NULL);
    if (power) {
        disk_crash(n->spool_disk);
        log_forget(n, disk_crash(n->ctl_disk));
    } else { /* the kernel has it all, and will write it */
        log_forget(n, world_below(disk_position(n->ctl_disk) + 1));
        disk_end(n->spool_disk);
        disk_end(n->ctl_disk);
    }
    *disk_faults(n->spool_disk) = (struct disk_faults){0};
    *disk_faults(n->ctl_disk) = (struct disk_faults){0};
}

static int unlink_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void node_wipe(struct node *n)
{
    node_crash(n, true);
    trace("node %u loses its disk", n->index);
    disk_forget(n->spool_disk);
    disk_forget(n->ctl_disk);
    nftw(n->dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    ASSERT(mkdir(n->dir, 0700) == 0);
    check_wiped(n->index);
    n->fresh = true;
    n->incarnation = 0;
    n->set_back = n->is_filled = false;
    n->joined_us = 0;
    n->wipes++;
    counts.wipes++;
}

/* --- An older spool --- */

static const char *backup_from; /* of nftw(), which has no argument for it */
static const char *backup_to;

static int copy_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    char to[400], buf[65536];
    FILE *in, *out;
    size_t got;

    (void)st, (void)ftw;
    snprintf(to, sizeof to, "%s%s", backup_to, path + strlen(backup_from));
    if (type == FTW_D)
        return mkdir(to, 0700);
    in = fopen(path, "rb");
    out = fopen(to, "wb");
    ASSERT(in != NULL && out != NULL);
    while ((got = fread(buf, 1, sizeof buf, in)) > 0)
        ASSERT(fwrite(buf, 1, got, out) == got);
    fclose(in);
    fclose(out);
    return 0;
}

void node_backup(struct node *n)
{
    char from[200], to[200];

    node_crash(n, false);
    disk_forget(n->spool_disk);
    snprintf(from, sizeof from, "%s/spool", n->dir);
    snprintf(to, sizeof to, "%s/kept", n->dir);
    nftw(to, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    backup_from = from;
    backup_to = to;
    ASSERT(nftw(from, copy_one, 16, FTW_PHYS) == 0);
    node_start(n);
}

void node_restore(struct node *n)
{
    char from[200], to[200];

    node_crash(n, false);
    trace("node %u gets an older spool", n->index);
    disk_forget(n->spool_disk);
    snprintf(from, sizeof from, "%s/kept", n->dir);
    snprintf(to, sizeof to, "%s/spool", n->dir);
    nftw(to, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    ASSERT(rename(from, to) == 0);
    check_wiped(n->index);
    n->set_back = true;
    counts.set_backs++;
    node_start(n);
}

static void start_again(void *arg)
{
    node_start(arg);
}

void node_start_later(struct node *n)
{
    world_at(world_now(), start_again, n);
}

static void end_now(struct node *n, void *arg)
{
    (void)arg;
    node_crash(n, false);
    counts.restarts++;
    world_at(world_now() + world_between(1 * SECOND, 4 * SECOND), start_again, n);
}

void node_end(struct node *n, const char *why)
{
    if (n->ending)
        return;
    n->ending = true;
    trace("node %u ends: %s", n->index, why);
    node_post(n, 0, end_now, NULL);
}

void node_pause(struct node *n)
{
    if (!n->up || n->paused)
        return;
    trace("node %u is frozen", n->index);
    n->paused = true;
    counts.pauses++;
}

void node_resume(struct node *n)
{
    struct deferred *d, *next;

    if (!n->paused)
        return;
    trace("node %u goes on", n->index);
    n->paused = false;
    n->woke_us = world_now();
    for (d = n->held; d != NULL; d = next) {
        next = d->next;
        world_at(world_now(), run, d);
    }
    n->held = NULL;
    n->held_last = &n->held;
}
