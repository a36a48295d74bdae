#include "node/control_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/fault.h"
#include "node/control_core_private.h"

#define DEFAULT_LOG_MAP   (1 * GiB)
#define DEFAULT_STATE_MAP (4 * GiB)
#define NEAR_INSTALL_MS   10000
#define SLOW_AGAIN_MS     60000 /* between two lines of the log about a slow disk */

/* --- failures --- */

void core_follow_up(struct control_core *c, struct cs_event ev)
{
    ASSERT(c->follow_count < CORE_FOLLOW_UPS);
    c->follow[c->follow_count++] = ev;
}

void core_fail(struct control_core *c, const char *op, enum err e)
{
    if (c->failed != OK)
        return;
    c->failed = e;
    c->blocked = false;
    LOG(EV_CONTROL_FAILED, L_CSTR("store", "control"), L_CSTR("op", op), L_ERR(e));
    c->follow_count = 0; /* nothing of what was asked for is done any more */
    core_follow_up(c, (struct cs_event){.type = CS_EV_STOP});
    if (c->o.ops.fence != NULL)
        c->o.ops.fence(c->o.ops.ctx, e);
}

void core_set_full(struct control_core *c, bool full)
{
    if (full != c->full)
        log_write(full ? EV_CONTROL_FULL : EV_CONTROL_ROOM_AGAIN, NULL, 0);
    c->full = full;
    stat_set(STAT_CONTROL_FULL, full);
}

/* --- carrying out an update --- */

static uint64_t time_now(const struct control_core *c)
{
    return c->o.ops.now != NULL ? c->o.ops.now(c->o.ops.ctx) : c->now_ms;
}

/* No heartbeat goes out while the disk is waited for: others may think that we are gone. */
static void look_at_disk(struct control_core *c, uint64_t ms)
{
    uint32_t most = c->o.near_sites ? CS_NEAR_HEARTBEAT_MS : CS_HEARTBEAT_MS;

    if (ms <= most || (c->slow_ms != 0 && c->now_ms < c->slow_ms + SLOW_AGAIN_MS))
        return;
    c->slow_ms = c->now_ms;
    LOG(EV_CONTROL_SLOW, L_U64("ms", ms), L_U64("heartbeat_ms", most));
}

static void do_append(struct control_core *c)
{
    const struct cs_update *u = &c->update;
    struct log_entry entries[LIMIT_CONTROL_BATCH];
    uint64_t begin = time_now(c);
    enum err e;

    for (size_t i = 0; i < u->entry_count; i++)
        entries[i] = (struct log_entry){.index = u->entries[i].index,
                                        .term = u->entries[i].term,
                                        .kind = u->entries[i].kind,
                                        .bytes = u->entries[i].bytes};
    e = ctllog_append(c->log, entries, u->entry_count);
    look_at_disk(c, time_now(c) - begin);
    if (e == OK || e == E_FULL)
        core_set_full(c, e == E_FULL);
    if (e == OK) {
        core_requests_taken(c);
        core_follow_up(
            c, (struct cs_event){.type = CS_EV_PERSISTED, .index = ctllog_last(c->log)});
    } else if (e == E_FULL) {
        core_follow_up(c, (struct cs_event){.type = CS_EV_STORE_FULL});
    } else {
        core_fail(c, "append", e);
    }
}

static void do_compact(struct control_core *c)
{
    const struct cs_update *u = &c->update;
    enum err e = ctllog_put_snapshot(c->log, &u->compact);

    if (e == OK && u->compact_upto >= ctllog_first(c->log))
        e = ctllog_drop_prefix(c->log, u->compact_upto);
    if (e != OK && e != E_FULL) /* full: the log stays longer, and it is tried again */
        core_fail(c, "compact", e);
}

static void do_clock(struct control_core *c)
{
    struct command command = {.kind = COMMAND_CLOCK,
                              .clock.elapsed_ms = c->update.clock_elapsed_ms};
    struct str bytes;
    enum err e = command_encode(&command, c->clock_bytes, sizeof c->clock_bytes, &bytes);

    ASSERT(e == OK);
    c->proposals[0] = (struct cs_proposal){.req_id = CS_CLOCK_REQ, .bytes = bytes};
    core_follow_up(
        c, (struct cs_event){.type = CS_EV_PROPOSE, .proposals = c->proposals, .count = 1});
}

static void look_at_lead(struct control_core *c)
{
    uint64_t id = cs_leader(c->cs);
    const struct cs_member *m = cs_member_find(cs_members(c->cs), id);

    stat_set(STAT_CONTROL_LEADS, cs_leads(c->cs));
    if (id != 0)
        LOG(EV_CONTROL_LEADER, L_U64("site", m != NULL ? m->site : 0), L_U64("incarnation", id),
            L_U64("term", cs_term(c->cs)));
    if (!cs_leads(c->cs))
        core_transfers_end(c);
    c->lease_stale = true;
    core_requests_lead_changed(c);
    c->o.ops.changed(c->o.ops.ctx, CONTROL_CHANGED_LEAD);
}

/* In the order that replication/consensus.h asks for. */
static void carry_out(struct control_core *c)
{
    const struct cs_update *u = &c->update;
    enum err e = OK;

    if (u->failed != NULL) {
        LOG(EV_CONTROL_ENGINE, L_CSTR("why", u->failed));
        core_fail(c, "consensus", E_CORRUPT);
    }
    if (c->failed == OK && u->store_term)
        e = ctllog_put_term(c->log, u->term, u->vote);
    if (e != OK) /* without room too: a vote that is not kept could be given twice */
        core_fail(c, "put_term", e);
    if (c->failed == OK && u->message_count > 0)
        core_send_messages(c);
    if (c->failed == OK && u->entry_count > 0)
        do_append(c);
    if (c->failed == OK && u->install.index != 0)
        core_install(c);
    if (c->failed == OK && u->compact.index != 0)
        do_compact(c);
    core_requests_answers(c);
    if (c->failed == OK && u->apply_to != 0) {
        c->batch_from = u->apply_from;
        c->batch_to = u->apply_to;
        core_apply(c);
    }
    if (c->failed == OK && u->clock_elapsed_ms != 0)
        do_clock(c);
    if (c->failed == OK && u->led_changed)
        look_at_lead(c);
}

static enum err load_log(struct control_core *c, struct arena *a, struct cs_log *to)
{
    *to = (struct cs_log){.term = ctllog_term(c->log),
                          .vote = ctllog_vote(c->log),
                          .snapshot = *ctllog_snapshot(c->log),
                          .first = ctllog_first(c->log)};
    return ctllog_load(c->log, a, &to->entries, &to->count);
}

/* START and STORE_FULL come with the log as it is. */
static void step_with_log(struct control_core *c, struct cs_event *ev)
{
    struct cs_log log;
    struct arena a;
    enum err e;

    arena_init(&a, CORE_LOAD_BYTES);
    e = load_log(c, &a, &log);
    ev->log = &log;
    if (e == OK)
        cs_step(c->cs, ev, &c->update);
    arena_reset(&a);
    if (e == OK)
        carry_out(c);
    else
        core_fail(c, "load", e);
}

void core_run(struct control_core *c, struct cs_event ev)
{
    struct cs_event queue[CORE_FOLLOW_UPS];
    size_t count = 1;

    queue[0] = ev;
    while (count > 0) {
        struct cs_event one = queue[0];

        one.boot_now_ms = c->now_ms;
        c->follow_count = 0;
        if (one.type == CS_EV_START || one.type == CS_EV_STORE_FULL) {
            step_with_log(c, &one);
        } else {
            cs_step(c->cs, &one, &c->update);
            carry_out(c);
        }
        if (c->failed != OK) /* only the STOP that core_fail() left counts */
            count = 1;
        for (size_t i = 1; i < count; i++)
            queue[i - 1] = queue[i];
        count--;
        for (size_t i = 0; i < c->follow_count; i++) {
            ASSERT(count < CORE_FOLLOW_UPS);
            queue[count++] = c->follow[i];
        }
    }
}

/* --- open and close --- */

static enum err complain(const char *op, enum err e)
{
    LOG(EV_CONTROL_FAILED, L_CSTR("store", "control"), L_CSTR("op", op), L_ERR(e));
    return e;
}

static enum err draw_id(uint16_t site, struct store_id *id)
{
    *id = (struct store_id){.site = site};
    if (getrandom(id->cluster, sizeof id->cluster, 0) != (ssize_t)sizeof id->cluster ||
        getrandom(&id->incarnation, sizeof id->incarnation, 0) !=
            (ssize_t)sizeof id->incarnation)
        return complain("getrandom", E_IO);
    id->incarnation |= 1; /* above 0 */
    return OK;
}

/* Entry 1 of a cluster of this one node. */
static struct str only_member(const struct store_id *id, uint8_t buf[RAFTWIRE_MEMBERS_BYTES])
{
    struct cs_members m = {.count = 1};

    m.list[0] = (struct cs_member){id->incarnation, id->site, CS_VOTER};
    return cs_members_encode(&m, buf);
}

static enum err open_log(struct control_core *c)
{
    const struct control_core_options *o = &c->o;
    uint8_t buf[RAFTWIRE_MEMBERS_BYTES];
    struct store_id id;
    char dir[4096];
    enum err e = draw_id(o->site, &id);

    if (e != OK)
        return e;
    if (snprintf(dir, sizeof dir, "%s/log", o->dir) >= (int)sizeof dir - 8)
        return complain("dir", E_FULL);
    e = ctllog_open(&c->log, &(struct ctllog_options){.dir = dir,
                                                      .map_bytes = o->log_map_bytes,
                                                      .create = o->create ? &id : NULL,
                                                      .members = only_member(&id, buf)});
    if (e != OK)
        return complain("open_log", e);
    return ctllog_id(c->log)->site == o->site ? OK : complain("site", E_CONFLICT);
}

/* A crash while a snapshot went into the two stores. */
static enum err finish_install(struct control_core *c)
{
    uint64_t applied;

    if (!ctllog_installing(c->log, &applied))
        return OK;
    return control_applied(c->state) >= applied ? ctllog_install_end(c->log)
                                                : ctllog_install_drop(c->log);
}

static enum err open_stores(struct control_core *c)
{
    char dir[4096];
    enum err e = open_log(c);

    if (e != OK)
        return e;
    snprintf(dir, sizeof dir, "%s/state", c->o.dir);
    /* A log that still holds its first entry rebuilds a state that was not made yet. */
    e = control_open(&c->state, &(struct control_options){.dir = dir,
                                                          .map_bytes = c->o.state_map_bytes,
                                                          .id = ctllog_id(c->log),
                                                          .create = ctllog_first(c->log) == 1});
    if (e != OK)
        return complain("open_state", e);
    e = finish_install(c);
    if (e != OK)
        return complain("finish_install", e);
    if (control_applied(c->state) > ctllog_last(c->log) &&
        control_applied(c->state) > ctllog_snapshot_applied(c->log))
        return complain("log_is_behind_state", E_CORRUPT);
    if (control_applied(c->state) + 1 < ctllog_first(c->log))
        return complain("state_is_behind_log", E_CORRUPT);
    return OK;
}

enum err core_engine_start(struct control_core *c)
{
    enum err e;

    c->cs = cs_new(&(struct cs_config){
        .id = ctllog_id(c->log)->incarnation,
        .site = c->o.site,
        .seed = c->o.seed,
        .election_ms = c->o.near_sites ? CS_NEAR_ELECTION_MS : CS_ELECTION_MS,
        .heartbeat_ms = c->o.near_sites ? CS_NEAR_HEARTBEAT_MS : CS_HEARTBEAT_MS,
        .install_ms = c->o.near_sites ? NEAR_INSTALL_MS : 0,
        .applied = FAULT(APPLY_TWICE) && ctllog_snapshot(c->log)->index > 0
                       ? ctllog_snapshot(c->log)->index
                       : control_applied(c->state),
        .boot_now_ms = c->now_ms});
    if (c->cs == NULL)
        return complain("engine", E_FULL);
    e = core_clock_again(c);
    if (e != OK)
        return complain("read_clock", e);
    core_run(c, (struct cs_event){.type = CS_EV_START});
    return c->blocked ? E_FULL : c->failed;
}

/* Applies what an earlier run decided. */
static enum err replay(struct control_core *c)
{
    uint64_t applied = control_applied(c->state);
    struct control_counts counts;
    enum err e = core_engine_start(c);

    if (e != OK)
        return e;
    LOG(EV_CONTROL_OPENED, L_U64("applied", control_applied(c->state)),
        L_U64("replayed", control_applied(c->state) - applied),
        L_U64("log_first", ctllog_first(c->log)), L_U64("term", ctllog_term(c->log)));
    stat_set(STAT_CONTROL_APPLIED_INDEX, control_applied(c->state));
    e = control_counts(c->state, &counts);
    if (e == OK && counts.operations > 0)
        c->o.ops.changed(c->o.ops.ctx, CONTROL_CHANGED_OPERATIONS);
    return e;
}

enum err control_core_open(struct control_core **out, const struct control_core_options *o)
{
    struct control_core *c = calloc(1, sizeof *c);
    enum err e;

    ASSERT(c != NULL);
    *out = NULL;
    c->o = *o;
    if (c->o.log_map_bytes == 0)
        c->o.log_map_bytes = DEFAULT_LOG_MAP;
    if (c->o.state_map_bytes == 0)
        c->o.state_map_bytes = DEFAULT_STATE_MAP;
    c->now_ms = o->boot_now_ms;
    c->next_number = o->seed | 1;
    c->next_transfer = o->seed | 1;
    core_requests_init(c);
    e = cs_engine_fits() ? open_stores(c) : complain("libraft_is_too_old", E_CONFLICT);
    if (e == OK)
        e = core_lease_init(c);
    if (e == OK)
        e = replay(c);
    if (e != OK)
        control_core_close(&c);
    *out = c;
    return e;
}

void control_core_close(struct control_core **cp)
{
    struct control_core *c = *cp;

    core_requests_fail(c, E_IO);
    core_solo_end(c, E_IO, "the node stops");
    core_transfers_end(c);
    core_arrival_end(c);
    cs_free(&c->cs);
    lease_free(&c->lease);
    if (c->state != NULL)
        control_close(&c->state);
    if (c->log != NULL)
        ctllog_close(&c->log);
    free(c);
    *cp = NULL;
}

/* The first member's own record is entry 2, decided as it is: there is nobody else. */
static enum err append_first(struct ctllog *log, const struct command *first)
{
    struct log_entry entry = {.index = 2, .term = 1, .kind = RAFTWIRE_COMMAND};
    uint8_t bytes[2048];
    enum err e = command_encode(first, bytes, sizeof bytes, &entry.bytes);

    return e == OK ? ctllog_append(log, &entry, 1) : e;
}

enum err control_core_make(const struct control_core_make *m)
{
    uint8_t buf[RAFTWIRE_MEMBERS_BYTES];
    struct control *state = NULL;
    struct ctllog *log = NULL;
    char dir[4096];
    enum err e;

    if (snprintf(dir, sizeof dir, "%s/log", m->dir) >= (int)sizeof dir - 8)
        return complain("dir", E_FULL);
    e = ctllog_open(&log, &(struct ctllog_options){.dir = dir, .map_bytes = DEFAULT_LOG_MAP});
    if (e == OK)
        ctllog_close(&log);
    if (e != E_NOTFOUND)
        return e == OK ? E_EXISTS : e;
    e = ctllog_open(&log, &(struct ctllog_options){.dir = dir,
                                                   .map_bytes = DEFAULT_LOG_MAP,
                                                   .create = &m->id,
                                                   .members = m->first != NULL
                                                                  ? only_member(&m->id, buf)
                                                                  : STR_NONE});
    if (e != OK)
        return complain("make_log", e);
    if (m->first != NULL)
        e = append_first(log, m->first);
    ctllog_close(&log);
    snprintf(dir, sizeof dir, "%s/state", m->dir);
    if (e == OK)
        e = control_open(&state, &(struct control_options){.dir = dir,
                                                           .map_bytes = DEFAULT_STATE_MAP,
                                                           .id = &m->id,
                                                           .create = true});
    if (state != NULL)
        control_close(&state);
    return e == OK ? OK : complain("make_state", e);
}

/* --- inputs --- */

static void turn(struct control_core *c, uint64_t now)
{
    c->now_ms = now > c->now_ms ? now : c->now_ms;
}

static void maybe_compact(struct control_core *c)
{
    uint64_t applied = control_applied(c->state), term;
    uint32_t most = c->o.log_most != 0 ? c->o.log_most : LIMIT_CONTROL_LOG_MOST;
    struct log_entry entry;

    if (c->blocked || applied > ctllog_last(c->log) || applied < ctllog_first(c->log) ||
        applied < cs_snapshot(c->cs)->index + most)
        return;
    if (ctllog_read(c->log, applied, NULL, &entry) != OK)
        return; /* logged; it is met again where it counts */
    term = entry.term;
    core_run(c, (struct cs_event){.type = CS_EV_COMPACT,
                                  .index = applied,
                                  .term = term,
                                  .trailing = most < LIMIT_CONTROL_LOG_MOST
                                                  ? most / 2
                                                  : LIMIT_CONTROL_LOG_KEPT});
}

void control_core_tick(struct control_core *c, uint64_t now)
{
    turn(c, now);
    if (c->failed != OK || c->stopping)
        return;
    if (c->blocked && c->now_ms >= c->retry_ms) {
        c->follow_count = 0;
        core_apply(c);
        if (c->follow_count > 0)
            core_run(c, c->follow[0]);
    }
    if (c->failed == OK && c->now_ms >= cs_deadline_ms(c->cs))
        core_run(c, (struct cs_event){.type = CS_EV_TICK});
    if (c->failed == OK)
        core_transfers_tick(c);
    if (c->failed == OK)
        core_members_tend(c);
    if (c->failed == OK)
        maybe_compact(c);
    if (c->failed == OK)
        core_lonely_tick(c);
    if (c->failed == OK)
        core_solo_tick(c);
    core_requests_tick(c);
}

uint64_t control_core_deadline(const struct control_core *c)
{
    uint64_t due, requests, lease;

    if (c->failed != OK || c->stopping)
        return UINT64_MAX;
    due = cs_deadline_ms(c->cs);
    requests = core_requests_deadline(c);
    due = requests < due ? requests : due;
    lease = core_lease_deadline(c);
    due = lease < due ? lease : due;
    if (c->blocked && c->retry_ms < due)
        due = c->retry_ms;
    if (c->lonely_ms != 0 && c->lonely_ms + CORE_LONELY_MS < due)
        due = c->lonely_ms + CORE_LONELY_MS;
    if (c->solo_ms != 0 && c->solo_ms + CORE_SOLO_MS < due)
        due = c->solo_ms + CORE_SOLO_MS;
    if (cs_leads(c->cs) && !control_core_is_lone(c) && c->tend_ms < due)
        due = c->tend_ms;
    for (size_t i = 0; i < CORE_PEERS; i++) {
        const struct core_transfer *t = &c->peers[i].transfer;

        if (t->snapshot != NULL && t->sent_ms + CORE_RETRY_MS < due)
            due = t->sent_ms + CORE_RETRY_MS;
    }
    return due;
}

void control_core_transfer(struct control_core *c, uint64_t to, uint64_t now)
{
    turn(c, now);
    if (c->failed == OK && !c->stopping)
        core_run(c, (struct cs_event){.type = CS_EV_TRANSFER, .member.id = to});
}

void control_core_stop(struct control_core *c, uint64_t now)
{
    bool first = !c->stopping;

    turn(c, now);
    c->stopping = true;
    if (c->failed == OK && first)
        core_run(c, (struct cs_event){.type = CS_EV_STOP});
    core_requests_fail(c, E_IO);
    core_solo_end(c, E_IO, "the node stops");
}

/* --- what it knows --- */

struct control *control_core_state(struct control_core *c)
{
    return c->state;
}

const struct store_id *control_core_id(const struct control_core *c)
{
    return ctllog_id(c->log);
}

const struct clusterclock *control_core_clock(const struct control_core *c)
{
    return &c->clock;
}

uint64_t control_core_vote(const struct control_core *c, uint64_t *term)
{
    *term = ctllog_term(c->log);
    return ctllog_vote(c->log);
}

bool control_core_leads(const struct control_core *c)
{
    return cs_leads(c->cs);
}

bool control_core_is_lone(const struct control_core *c)
{
    const struct cs_members *m = cs_members(c->cs);

    return m->count == 1 && m->list[0].id == ctllog_id(c->log)->incarnation;
}

uint64_t control_core_term_start(const struct control_core *c)
{
    return cs_leads(c->cs) ? cs_term_start(c->cs) : 0;
}

void control_core_status(const struct control_core *c, struct control_core_status *out)
{
    const struct cs_members *m = cs_members(c->cs);
    const struct cs_member *leader = cs_member_find(m, cs_leader(c->cs));

    *out = (struct control_core_status){.leader = cs_leader(c->cs),
                                        .leader_site = leader != NULL ? leader->site : 0,
                                        .term = cs_term(c->cs),
                                        .commit = cs_commit(c->cs),
                                        .applied = control_applied(c->state),
                                        .last = cs_last(c->cs),
                                        .first = ctllog_first(c->log),
                                        .changing = cs_is_changing(c->cs),
                                        .member_count = m->count,
                                        .bad_frames = c->bad_frames};
    for (uint32_t i = 0; i < m->count; i++) {
        struct control_core_peer *p = &out->members[i];

        *p = (struct control_core_peer){.site = m->list[i].site,
                                        .incarnation = m->list[i].id,
                                        .role = m->list[i].role,
                                        .match = cs_match(c->cs, m->list[i].id)};
        for (size_t k = 0; k < CORE_PEERS; k++)
            if (c->peers[k].id == p->incarnation)
                p->contact_ms = c->peers[k].contact_ms;
    }
}
