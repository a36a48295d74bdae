/* What the engine of the data plane asks for, what it tells, and how it begins. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/replica_thread_private.h"
#include "proto/record.h"

/* --- the control state, as the writer and the engine look at it --- */

static bool on_sealed(void *ctx, uint16_t site, uint64_t epoch)
{
    struct replica_thread *t = ctx;

    return control_session_sealed(control_thread_state(t->node->control), site, epoch);
}

static bool on_slot(void *ctx, struct str domain, uint16_t *site, uint64_t *epoch)
{
    struct replica_thread *t = ctx;

    return control_holder(control_thread_state(t->node->control), domain, site, epoch) == OK;
}

static bool on_released(void *ctx, struct str domain, uint64_t slot_epoch)
{
    struct replica_thread *t = ctx;

    return control_released(control_thread_state(t->node->control), domain, slot_epoch);
}

static uint64_t on_cluster_ms(void *ctx)
{
    struct replica_thread *t = ctx;

    return control_now_ms(t->node->control);
}

static int64_t on_wall_ms(void *ctx)
{
    (void)ctx;
    return clock_wall_ms();
}

void replica_thread_copy_store(struct replica_thread *t, struct copy_store *out)
{
    *out = (struct copy_store){.site = t->node->site,
                               .view = {.ctx = t,
                                        .sealed = on_sealed,
                                        .slot = on_slot,
                                        .released = on_released,
                                        .cluster_ms = on_cluster_ms,
                                        .wall_ms = on_wall_ms}};
}

/* The engine asks about the own session with each message: no entry, no change. */
static bool on_sealed_cached(void *ctx, uint16_t site, uint64_t epoch)
{
    struct replica_thread *t = ctx;
    uint64_t applied = control_applied(control_thread_state(t->node->control));
    bool is_own = site == t->node->site;

    if (is_own && t->unsealed.epoch == epoch && t->unsealed.applied == applied)
        return false;
    if (on_sealed(ctx, site, epoch))
        return true;
    if (is_own) {
        t->unsealed.epoch = epoch;
        t->unsealed.applied = applied;
    }
    return false;
}

/* --- what it asks for --- */

static void on_send(void *ctx, uint16_t site, bool is_bulk, struct str bytes)
{
    struct replica_thread *t = ctx;

    if (plane_send(t->plane, site, is_bulk ? PLANE_BULK : PLANE_URGENT, bytes))
        stat_add(STAT_DATA_FRAMES_SENT_TOTAL, 1);
    else
        stat_add(STAT_DATA_FRAMES_DROPPED_TOTAL, 1);
}

static void on_store(void *ctx, struct copy_op *op)
{
    struct replica_thread *t = ctx;
    struct writer_request *r = writer_request_new(WRITER_COPY, t->box, RT_COPY, NULL);

    ASSERT(r != NULL);
    r->copy = op;
    writer_post_always(t->node->writer, r); /* bounded by LIMIT_REPLICA_OPS */
}

static enum err on_read_envelope(void *ctx, struct mid id, struct str *envelope,
                                 uint64_t *body_bytes)
{
    return replica_read_envelope(&((struct replica_thread *)ctx)->read, id, envelope,
                                 body_bytes);
}

static enum err on_read_body(void *ctx, struct mid id, uint64_t offset, void *buf, size_t size,
                             size_t *got)
{
    return replica_read_body(&((struct replica_thread *)ctx)->read, id, offset, buf, size, got);
}

static enum err on_read_trace(void *ctx, struct mid id, struct str *envelope)
{
    return replica_read_trace(&((struct replica_thread *)ctx)->read, id, envelope);
}

static enum err on_read_mark(void *ctx, struct mid id, struct copy_mark *out)
{
    return replica_read_mark(&((struct replica_thread *)ctx)->read, id, out);
}

/* --- what it tells --- */

static void tell_cluster(struct replica_thread *t, const struct replica_news *news)
{
    size_t reach_bytes = news->reach_count * sizeof(struct frame_reach);
    struct replica_event *e;

    if (t->news == NULL)
        return;
    e = malloc(sizeof *e + reach_bytes);
    ASSERT(e != NULL); /* lost, a message would wait for the next start */
    *e = (struct replica_event){.mail.kind = t->news_kind,
                                .kind = news->kind,
                                .id = news->id,
                                .site = news->site,
                                .open = news->open,
                                .reach_count = news->reach_count};
    if (reach_bytes > 0)
        memcpy(e->reach, news->reach, reach_bytes);
    mailbox_answer(t->news, &e->mail);
}

/* What the peer began to send over the link before is dropped. */
static void link_news(struct replica_thread *t, const struct replica_news *news)
{
    struct writer_request *r;
    uint64_t up = 0;

    LOG(news->open ? EV_LINK_UP : EV_LINK_DOWN, L_U64("site", news->site));
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        if (t->sites[i] == news->site)
            t->links[i] = news->open;
        up += t->links[i];
    }
    stat_set(STAT_LINKS_UP, up);
    tell_cluster(t, news);
    if (t->link != NULL)
        (*t->link)(t->ctx, news->site, news->open);
    if (!news->open)
        return;
    r = writer_request_new(WRITER_LINK, NULL, 0, NULL);
    ASSERT(r != NULL);
    r->site = news->site;
    writer_post_always(t->node->writer, r);
}

static void gate_news(struct replica_thread *t, bool is_open)
{
    atomic_store(&t->open, is_open);
    stat_set(STAT_GATE_OPEN, is_open);
    if (!is_open)
        stat_add(STAT_GATE_CLOSINGS_TOTAL, 1);
    LOG(is_open ? EV_GATE_OPEN : EV_GATE_CLOSED, L_U64("site", t->node->site));
}

static void alarm_news(struct replica_thread *t, const struct replica_news *news)
{
    if (news->why == COPY_DAMAGED) {
        t->counts.damaged++;
        stat_add(STAT_COPIES_DAMAGED_TOTAL, 1);
    } else {
        t->counts.conflicts++;
        stat_add(STAT_COPY_CONFLICTS_TOTAL, 1);
    }
    LOG(EV_COPY_ALARM, L_MID(news->id), L_CSTR("why", copy_code_text(news->why)));
}

static void stop_news(struct replica_thread *t, const struct replica_news *news)
{
    LOG(EV_DATA_STOPPED, L_CSTR("why", news->text != NULL ? news->text : "it must not go on"),
        L_CSTR("code", copy_code_text(news->why)));
    atomic_store(&t->open, false);
    t->fence(t->ctx, E_CONFLICT);
}

static void bad_frame_news(struct replica_thread *t, const struct replica_news *news)
{
    t->counts.bad_frames++;
    stat_add(STAT_DATA_BAD_FRAMES_TOTAL, 1);
    LOG(EV_DATA_BAD_FRAME, L_U64("site", news->site),
        L_CSTR("why", news->text != NULL ? news->text : ""));
}

/* Called from within the engine: nothing here calls it. */
static void on_tell(void *ctx, const struct replica_news *news)
{
    struct replica_thread *t = ctx;

    switch (news->kind) {
    case REPLICA_ACCEPTED:
        replica_thread_verdict(t, news->id, INTAKE_ACCEPTED);
        break;
    case REPLICA_REFUSED:
        replica_thread_verdict(t, news->id, INTAKE_REFUSED);
        break;
    case REPLICA_CLOSE:
        replica_thread_verdict(t, news->id, INTAKE_CLOSE);
        break;
    case REPLICA_CONSENT:
    case REPLICA_NO_CONSENT:
        replica_thread_dot_news(t, news);
        break;
    case REPLICA_DELIVERABLE:
    case REPLICA_CHANGED:
    case REPLICA_GONE:
    case REPLICA_REACH:
        tell_cluster(t, news);
        break;
    case REPLICA_GATE:
        gate_news(t, news->open);
        break;
    case REPLICA_FILLED:
        t->is_filled = true;
        LOG(EV_DATA_FILLED, L_U64("site", t->node->site));
        break;
    case REPLICA_STOP:
        stop_news(t, news);
        break;
    case REPLICA_ALARM:
        alarm_news(t, news);
        break;
    case REPLICA_BAD_FRAME:
        bad_frame_news(t, news);
        break;
    case REPLICA_LINK:
        link_news(t, news);
        break;
    case REPLICA_FACTS:
        if (t->facts != NULL)
            (*t->facts)(t->ctx, news->site, news->facts);
        break;
    }
}

/* --- the start --- */

static void options_of(struct replica_thread *t, const struct spool_member *m,
                       struct replica_options *o)
{
    const struct store_id *id = control_thread_id(t->node->control);

    *o = (struct replica_options){.site = t->node->site,
                                  .incarnation = id->incarnation,
                                  .session = t->session,
                                  .first_epoch = m->first_epoch,
                                  .filled = m->filled,
                                  .copies = 2,
                                  .ops = {t, on_send, on_store, on_tell, on_read_envelope,
                                          on_read_body, on_read_trace, on_read_mark,
                                          on_sealed_cached, on_released}};
    memcpy(o->cluster, id->cluster, sizeof o->cluster);
    if (getrandom(&o->seed, sizeof o->seed, 0) != (ssize_t)sizeof o->seed)
        o->seed = clock_boot_us();
}

static void begin(struct replica_thread *t)
{
    struct spool_member m = {0};
    struct replica_options o;
    struct replica_status s;
    enum err e = spool_member(t->read.reader, &m);

    if (e == OK) {
        options_of(t, &m, &o);
        t->engine = replica_new(&o);
        ASSERT(t->engine != NULL);
        e = replica_read_all(&t->read, t->engine);
    }
    if (e != OK) {
        LOG(EV_DATA_STOPPED, L_CSTR("why", "what the spool holds cannot be taken over"),
            L_ERR(e));
        t->stopping = true;
        replica_free(&t->engine);
        t->fence(t->ctx, e);
        return;
    }
    t->incarnation = o.incarnation;
    t->is_filled = m.filled;
    t->now_ms = clock_boot_ms(); /* it may have taken a while */
    replica_start(t->engine, t->now_ms);
    replica_thread_turn(t);
    replica_thread_members(t);
    replica_thread_solo(t);
    replica_status(t->engine, &s, t->now_ms);
    LOG(EV_DATA_BEGUN, L_U64("session", t->session), L_U64("live", s.live),
        L_U64("filled", m.filled));
}

void replica_thread_session(struct replica_thread *t)
{
    struct control_lease lease;

    control_thread_lease(t->node->control, &lease);
    if (t->stopping || lease.session == 0 || lease.session == t->session)
        return;
    t->session = lease.session;
    t->counter = 0;
    if (t->engine == NULL) {
        begin(t);
        return;
    }
    LOG(EV_DATA_SESSION, L_U64("session", t->session));
    replica_session(t->engine, t->session, t->now_ms);
}

/* --- members --- */

static bool is_peer(const struct replica_thread *t, const struct member *m)
{
    return m->site != t->node->site && !m->leaving;
}

static bool is_named(const struct control_members *all, uint16_t site)
{
    for (uint32_t i = 0; i < all->count; i++)
        if (all->members[i].site == site && !all->members[i].leaving)
            return true;
    return false;
}

static void tell_members(struct replica_thread *t, const struct control_members *all)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (t->sites[i] != 0 && !is_named(all, t->sites[i])) {
            replica_member(t->engine, t->sites[i], 0, t->now_ms);
            t->sites[i] = 0;
            t->links[i] = false;
        }
    for (uint32_t k = 0; k < all->count; k++) {
        const struct member *m = &all->members[k];
        uint32_t slot = 0;

        if (!is_peer(t, m))
            continue;
        while (slot < REPLICA_PEERS && t->sites[slot] != m->site)
            slot++;
        for (uint32_t i = 0; slot == REPLICA_PEERS && i < REPLICA_PEERS; i++)
            if (t->sites[i] == 0) {
                slot = i;
                t->sites[i] = m->site;
            }
        if (slot < REPLICA_PEERS)
            replica_member(t->engine, m->site, m->incarnation, t->now_ms);
    }
}

static void add_peer(struct plane_peer *p, const struct member *m)
{
    *p = (struct plane_peer){
        .site = m->site, .incarnation = m->incarnation, .has_old_key = m->has_old_key};
    memcpy(p->address, m->data, sizeof p->address);
    memcpy(p->key, m->key, sizeof p->key);
    memcpy(p->old_key, m->old_key, sizeof p->old_key);
}

static void add_seed(struct plane_peer *p, const struct identity_peer *seed)
{
    *p = (struct plane_peer){.site = seed->site, .incarnation = seed->incarnation};
    memcpy(p->address, seed->data, sizeof p->address);
    memcpy(p->key, seed->key, sizeof p->key);
}

/* Also before the engine begins: the ways are there when it does. */
static void plane_members(struct replica_thread *t, const struct control_members *all)
{
    struct plane_peer peers[LIMIT_MEMBER_RECORDS];
    uint32_t count = 0;

    for (uint32_t i = 0; i < all->count; i++)
        if (is_peer(t, &all->members[i]))
            add_peer(&peers[count++], &all->members[i]);
    for (uint32_t i = 0; all->count == 0 && i < t->identity.seed_count; i++)
        add_seed(&peers[count++], &t->identity.seeds[i]);
    if (plane_peers(t->plane, peers, count) != OK)
        LOG(EV_INTERNAL, L_CSTR("call", "plane_peers"), L_U64("members", count));
}

void replica_thread_members(struct replica_thread *t)
{
    struct control_members all;

    if (control_members(control_thread_state(t->node->control), &all) != OK)
        return;
    plane_members(t, &all);
    if (t->engine != NULL)
        tell_members(t, &all);
}

/* --- proposals --- */

static void propose(struct replica_thread *t, const struct command *c)
{
    t->is_proposing =
        control_propose(t->node->control, c,
                        &(struct control_propose_to){.box = t->box, .kind = RT_ANSWER}) == OK;
}

/* A node that was filled and died before the log knew it says so again. */
void replica_thread_filled(struct replica_thread *t)
{
    struct member m;

    if (t->engine == NULL || !t->is_filled || t->filled_told || t->is_proposing)
        return;
    if (control_member_get(control_thread_state(t->node->control), t->node->site, &m) != OK ||
        m.incarnation != t->incarnation)
        return;
    if (m.filled)
        t->filled_told = true;
    else
        propose(t, &(struct command){.kind = COMMAND_MEMBER_FILLED,
                                     .member_filled = {t->node->site, t->incarnation}});
}

void replica_thread_solo(struct replica_thread *t)
{
    struct setting s;
    bool is_set, has_peer = false;

    arena_reset(&t->scratch);
    is_set = control_setting_get(control_thread_state(t->node->control),
                                 str_of(REPLICA_SOLO_SETTING), &t->scratch, &s) == OK;
    if (is_set) /* the members of before it would take it back */
        replica_thread_members(t);
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        has_peer |= t->sites[i] != 0;
    replica_solo(t->engine, is_set && !has_peer, t->now_ms);
    if (is_set && has_peer && !t->is_proposing) /* the next loss of sites is another matter */
        propose(t, &(struct command){.kind = COMMAND_SETTING_PUT,
                                     .setting_put = {str_of(REPLICA_SOLO_SETTING), STR_NONE}});
}
