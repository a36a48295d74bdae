/* The replica thread: the shell around the engine of the data plane. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/clock.h"
#include "proto/frame.h"
#include "proto/record.h"
#include "tests/sim/sim.h"

#define MAP_BYTES (256 * MiB)
#define HOP_US    300 /* from one thread to another, at most */

/* --- What the engine asks for --- */

/* A version to come greets in its own format. */
static struct str in_other_format(struct str bytes)
{
    static uint8_t buf[LIMIT_FRAME_BYTES];
    struct arena a;
    struct frame f;
    struct str out = bytes;

    arena_init(&a, LIMIT_REPLICA_FRAME_BYTES);
    if (frame_decode(bytes, &a, &f) == OK && f.kind == FRAME_HELLO) {
        f.format = FRAME_FORMAT + 1;
        if (frame_encode(&f, buf, sizeof buf, &out) != OK)
            violation("a HELLO of another format cannot be said");
    }
    arena_reset(&a);
    return out;
}

static void on_send(void *ctx, uint16_t site, bool is_bulk, struct str bytes)
{
    struct node *n = ctx;

    (void)is_bulk; /* frames of one lane overtake each other here, too */
    if (n->other_format)
        bytes = in_other_format(bytes);
    world_send(n->index, sim_node_of(site)->index, SIM_PLANE_DATA, n->incarnation, bytes);
}

struct stored {
    struct copy_op *op;
};

static void stored_later(struct node *n, void *arg)
{
    struct stored *s = arg;
    struct copy_op *op = s->op;

    free(s);
    if (n->replica == NULL)
        return;
    replica_stored(n->replica, op, node_ms(n));
    data_poke(n);
}

static void copy_done(struct node *n, struct write_request *r)
{
    struct stored *s = malloc(sizeof *s);

    ASSERT(s != NULL);
    s->op = r->op;
    write_request_free(r);
    node_post_in_order(n, world_below(HOP_US), stored_later, s);
}

static void on_store(void *ctx, struct copy_op *op)
{
    struct write_request *r = write_request_new(WRITE_COPY);

    r->op = op;
    r->done = copy_done;
    writer_give(ctx, r);
}

static void upkeep_done(struct node *n, struct write_request *r)
{
    (void)n;
    write_request_free(r);
}

static void upkeep(struct node *n, enum write_kind kind, uint16_t site)
{
    struct write_request *r = write_request_new(kind);

    r->site = site;
    r->done = upkeep_done;
    writer_give(n, r);
}

/* A node that was filled and died before the log knew it says so again. */
static void every_second(struct node *n, void *arg)
{
    struct member m;

    (void)arg;
    if (n->is_filled && control_member_get(n->control, n->site, &m) == OK &&
        m.incarnation == n->incarnation && !m.filled)
        log_propose(n, &(struct command){.kind = COMMAND_MEMBER_FILLED,
                                         .member_filled = {n->site, n->incarnation}});
    node_post(n, SECOND, every_second, NULL);
}

void data_forget(struct node *n)
{
    upkeep(n, WRITE_FORGET, 0);
}

static void every_minute(struct node *n, void *arg)
{
    (void)arg;
    upkeep(n, WRITE_AGE, 0);
    spool_refresh_room(n->spool);
    node_post(n, MINUTE, every_minute, NULL);
}

static bool is_origin_there(void *ctx, struct mid id)
{
    const struct node *n = ctx, *o = sim_node_of(mid_site(id));

    return o != n && o->up && o->session == mid_epoch(id);
}

/* So long that what its process of before had sent to n has come, or is lost. */
static bool is_long_other(const struct node *n, const struct node *o)
{
    uint64_t since_us = n->woke_us > o->other_since_us ? n->woke_us : o->other_since_us;

    return o->other_format && world_now() > since_us + 10 * SECOND;
}

static void news_later(struct node *n, void *arg)
{
    struct replica_news news = *(struct replica_news *)arg;

    free(arg);
    switch (news.kind) {
    case REPLICA_ACCEPTED:
    case REPLICA_REFUSED:
    case REPLICA_CLOSE:
        intake_news(n, &news);
        break;
    case REPLICA_CONSENT:
    case REPLICA_NO_CONSENT:
    case REPLICA_DELIVERABLE:
    case REPLICA_CHANGED:
    case REPLICA_GONE:
        mail_news(n, &news);
        break;
    case REPLICA_GATE:
        n->gate_open = news.open;
        trace("node %u: gate %s", n->index, news.open ? "open" : "closed");
        break;
    case REPLICA_FILLED:
        trace("node %u is filled", n->index);
        check_filled(n->index, n->joined_us, is_origin_there, n);
        n->is_filled = true;
        break;
    case REPLICA_STOP:
        if (n->set_back) { /* as it says: it joins anew */
            trace("node %u sees that its spool is older: %s", n->index, news.text);
            node_wipe(n);
            (void)log_join(n);
            return;
        }
        violation("node %u was told to stop: %s", n->index, news.text != NULL ? news.text : "");
    case REPLICA_ALARM:
        trace("node %u: alarm: %s", n->index, copy_code_text(news.why));
        break;
    case REPLICA_BAD_FRAME:
        trace("node %u: bad frame from site %u: %s", n->index, news.site,
              news.text != NULL ? news.text : "");
        break;
    case REPLICA_LINK:
        if (news.open && (n->other_format || is_long_other(n, sim_node_of(news.site))))
            violation("node %u speaks with site %u, which has another format", n->index,
                      news.site);
        if (news.open)
            upkeep(n, WRITE_LINK, news.site);
        trace("node %u: link to site %u %s", n->index, news.site, news.open ? "up" : "down");
        break;
    case REPLICA_REACH:
    case REPLICA_FACTS:
        break;
    }
    data_poke(n);
}

static void on_tell(void *ctx, const struct replica_news *news)
{
    struct replica_news *copy = malloc(sizeof *copy);

    ASSERT(copy != NULL);
    *copy = *news;
    copy->reach = NULL;
    copy->facts = STR_NONE;
    node_post(ctx, 0, news_later, copy);
}

void data_seen(struct node *n)
{
    if (n->writer.busy)
        disk_seen(n->spool_disk);
}

static enum err on_read_envelope(void *ctx, struct mid id, struct str *envelope,
                                 uint64_t *body_bytes)
{
    struct node *n = ctx;

    data_seen(n);
    return replica_read_envelope(&n->read, id, envelope, body_bytes);
}

static enum err on_read_body(void *ctx, struct mid id, uint64_t offset, void *buf, size_t size,
                             size_t *got)
{
    struct node *n = ctx;

    data_seen(n);
    return replica_read_body(&n->read, id, offset, buf, size, got);
}

static enum err on_read_trace(void *ctx, struct mid id, struct str *envelope)
{
    struct node *n = ctx;

    data_seen(n);
    return replica_read_trace(&n->read, id, envelope);
}

static enum err on_read_mark(void *ctx, struct mid id, struct copy_mark *out)
{
    struct node *n = ctx;

    data_seen(n);
    return replica_read_mark(&n->read, id, out);
}

static bool on_sealed(void *ctx, uint16_t site, uint64_t epoch)
{
    struct node *n = ctx;

    disk_seen(n->ctl_disk);
    return control_session_sealed(n->control, site, epoch);
}

static bool on_released(void *ctx, struct str domain, uint64_t slot_epoch)
{
    struct node *n = ctx;

    disk_seen(n->ctl_disk);
    return control_released(n->control, domain, slot_epoch);
}

static bool on_slot(void *ctx, struct str domain, uint16_t *site, uint64_t *epoch)
{
    struct node *n = ctx;

    disk_seen(n->ctl_disk);
    return control_holder(n->control, domain, site, epoch) == OK;
}

static uint64_t on_cluster_ms(void *ctx)
{
    return log_cluster_ms(ctx);
}

static int64_t on_wall_ms(void *ctx)
{
    (void)ctx;
    return clock_wall_ms();
}

/* --- Ticks --- */

static void tick(struct node *n, void *arg)
{
    (void)arg;
    if (n->replica == NULL || n->replica_tick_us > world_now())
        return;
    n->replica_tick_us = NEVER;
    replica_tick(n->replica, node_ms(n));
    data_poke(n);
}

void data_poke(struct node *n)
{
    uint64_t due_ms, at;

    if (n->replica == NULL)
        return;
    due_ms = replica_deadline(n->replica);
    at = due_ms == UINT64_MAX ? NEVER : world_when_boot(&n->clock, due_ms * 1000);
    if (at == NEVER || at >= n->replica_tick_us)
        return;
    if (at <= world_now())
        at = world_now() + 100;
    n->replica_tick_us = at;
    node_at(n, at, tick, NULL);
}

/* --- Life --- */

static bool has_on_disk(void *ctx, struct mid id)
{
    struct node *n = ctx;
    struct spool_state s;

    return spool_state_of(n->read.reader, id, &s) != OK || s.damaged || s.state != COPY_NONE;
}

bool data_open(struct node *n)
{
    struct spool_options o = {.map_bytes = MAP_BYTES};
    struct write_request *r;
    char dir[200];

    snprintf(dir, sizeof dir, "%s/spool", n->dir);
    (void)mkdir(dir, 0700);
    o.dir = dir;
    if (spool_open(&n->spool, &o) != OK || replica_read_open(&n->read, n->spool) != OK)
        return false;
    n->store = (struct copy_store){.site = n->site,
                                   .view = {.ctx = n,
                                            .sealed = on_sealed,
                                            .slot = on_slot,
                                            .released = on_released,
                                            .cluster_ms = on_cluster_ms,
                                            .wall_ms = on_wall_ms}};
    check_restarted(n->index, has_on_disk, n);
    r = write_request_new(WRITE_MEMBER);
    r->incarnation = n->incarnation;
    r->filled = n->incarnation == 1;
    r->done = upkeep_done;
    writer_give(n, r);
    node_post(n, MINUTE, every_minute, NULL);
    n->fresh = false;
    return true;
}

static void members(struct node *n)
{
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        struct member m;
        uint16_t site = (uint16_t)(i + 1);

        if (i == n->index)
            continue;
        if (control_member_get(n->control, site, &m) != OK)
            m.incarnation = 0;
        replica_member(n->replica, site, m.incarnation, node_ms(n));
    }
}

void data_begin(struct node *n)
{
    struct spool_member m = {0};
    struct replica_options o = {.site = n->site,
                                .incarnation = n->incarnation,
                                .cluster = "simulated",
                                .session = n->session,
                                .seed = world_below(UINT64_MAX / 4) + 1,
                                .copies = 2,
                                .ops = {n, on_send, on_store, on_tell, on_read_envelope,
                                        on_read_body, on_read_trace, on_read_mark, on_sealed,
                                        on_released}};
    enum err e = spool_member(n->read.reader, &m);

    ASSERT(e == OK);
    o.first_epoch = m.first_epoch;
    o.filled = m.filled;
    n->counter = 0;
    n->replica_tick_us = NEVER;
    n->is_filled = m.filled;
    node_post(n, SECOND, every_second, NULL);
    n->replica = replica_new(&o);
    ASSERT(n->replica != NULL);
    if (replica_read_all(&n->read, n->replica) != OK)
        violation("node %u cannot read its own spool", n->index);
    replica_start(n->replica, node_ms(n));
    members(n);
    if (!mail_open(n))
        violation("node %u cannot scan its own spool", n->index);
    data_poke(n);
}

void data_control_changed(struct node *n)
{
    if (n->replica == NULL)
        return;
    members(n);
    replica_control(n->replica, node_ms(n));
    data_poke(n);
    mail_control_changed(n);
}

void data_frame(struct node *n, unsigned from, uint64_t incarnation, struct str bytes)
{
    if (n->replica == NULL)
        return;
    replica_frame(n->replica, sim_node(from)->site, incarnation, bytes, node_ms(n));
    data_poke(n);
}

void data_close(struct node *n)
{
    if (n->replica != NULL)
        replica_free(&n->replica);
    replica_read_close(&n->read);
    if (n->spool != NULL)
        spool_close(&n->spool);
}
