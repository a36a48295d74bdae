#include "base/assert.h"
#include "replication/consensus_private.h"

#if !defined(RAFT_VERSION_NUMBER) || RAFT_VERSION_NUMBER < 2201
#error "libraft 0.22.1 or newer is needed: older ones lose committed entries"
#endif

#define ENGINE_OLDEST     2201
#define INSTALL_MS        30000
#define MAX_INFLIGHT      4096 /* the engine's own 32 chokes a path with a long round trip */
#define CATCH_UP_ROUNDS   10
#define CATCH_UP_ROUND_MS 10000

/* The engine numbers roles and kinds of entries as our stored bytes do. */
_Static_assert((int)CS_STANDBY == (int)RAFT_STANDBY && (int)CS_VOTER == (int)RAFT_VOTER &&
                   (int)CS_SPARE == (int)RAFT_SPARE,
               "roles are stored");
_Static_assert((int)RAFTWIRE_COMMAND == (int)RAFT_COMMAND &&
                   (int)RAFTWIRE_BARRIER == (int)RAFT_BARRIER &&
                   (int)RAFTWIRE_MEMBERS == (int)RAFT_CHANGE,
               "kinds are stored");

/* 0.22.1 declares it and does not export it: then raft_step(), which older packages lack, and
 * the name of the library have to vouch for the version when the program is loaded. */
#pragma weak raft_version_number

bool cs_engine_fits(void)
{
    int (*volatile version)(void) = raft_version_number;

    return version == NULL || version() >= ENGINE_OLDEST;
}

static void say_nothing(struct raft_tracer *t, int type, const void *info)
{
    (void)t, (void)type, (void)info;
}

struct consensus *cs_new(const struct cs_config *cfg)
{
    struct consensus *c = raft_calloc(1, sizeof *c);

    ASSERT(cfg->id != 0 && cfg->site != 0);
    if (c == NULL)
        return NULL;
    c->cfg = *cfg;
    if (c->cfg.election_ms == 0)
        c->cfg.election_ms = CS_ELECTION_MS;
    if (c->cfg.heartbeat_ms == 0)
        c->cfg.heartbeat_ms = CS_HEARTBEAT_MS;
    if (c->cfg.install_ms == 0)
        c->cfg.install_ms = INSTALL_MS;
    c->quiet = (struct raft_tracer){.version = 2, .emit = say_nothing};
    c->seed = (unsigned)(cfg->seed ^ cfg->seed >> 32);
    c->applying = c->applied = cfg->applied;
    c->now_ms = cfg->boot_now_ms;
    return c;
}

void cs_engine_unload(struct consensus *c)
{
    if (c->loaded)
        raft_close(&c->raft, NULL);
    c->loaded = false;
    raft_free(c->held);
    c->held = NULL;
    c->change_count = c->write_count = 0;
}

void cs_free(struct consensus **c)
{
    if (*c == NULL)
        return;
    cs_engine_unload(*c);
    raft_free((*c)->changes);
    raft_free(*c);
    *c = NULL;
}

/* --- what is known of members --- */

void cs_members_renew(struct consensus *c)
{
    struct str newest =
        c->change_count > 0 ? c->changes[c->change_count - 1].members : c->snapshot.members;

    c->members.count = 0;
    if (newest.n > 0) {
        bool well = cs_members_decode(newest, &c->members);

        ASSERT(well); /* looked at when it came in */
    }
}

static void changes_point(struct consensus *c)
{
    for (uint32_t i = 0; i < c->change_count; i++)
        c->changes[i].members.p = (const char *)c->changes[i].bytes;
}

static bool change_add(struct consensus *c, uint64_t index, struct str members)
{
    struct change *to;

    if (c->change_count == c->change_room) {
        uint32_t room = c->change_room * 2 + 4;
        struct change *more = raft_realloc(c->changes, room * sizeof *more);

        if (more == NULL)
            return false;
        c->changes = more;
        c->change_room = room;
        changes_point(c);
    }
    ASSERT(members.n <= RAFTWIRE_MEMBERS_BYTES);
    to = &c->changes[c->change_count++];
    *to = (struct change){.index = index, .members.n = members.n};
    memcpy(to->bytes, members.p, members.n);
    to->members.p = (const char *)to->bytes;
    return true;
}

/* The entries from here on are replaced. */
static void changes_cut(struct consensus *c, uint64_t from)
{
    while (c->change_count > 0 && c->changes[c->change_count - 1].index >= from) {
        ASSERT(!c->changes[c->change_count - 1].confirmed);
        c->change_count--;
    }
}

void cs_changes_drop(struct consensus *c, uint64_t upto)
{
    uint32_t n = 0;

    while (n < c->change_count && c->changes[n].index <= upto)
        n++;
    if (n == 0)
        return;
    c->change_count -= n;
    memmove(c->changes, c->changes + n, c->change_count * sizeof *c->changes);
    changes_point(c);
}

void cs_snapshot_set(struct consensus *c, const struct raftwire_snapshot *s)
{
    c->snapshot = *s;
    memmove(c->snapshot_members, s->members.p, s->members.n);
    c->snapshot.members.p = (const char *)c->snapshot_members;
}

bool cs_configuration_of(struct str members, struct raft_configuration *out)
{
    struct raft_buffer buf = {(void *)(uintptr_t)members.p, members.n};

    return raft_configuration_decode(&buf, out) == 0;
}

uint32_t cs_voters(const struct consensus *c)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->members.count; i++)
        n += c->members.list[i].role == CS_VOTER;
    return n;
}

bool cs_is_lone(const struct consensus *c)
{
    const struct cs_member *m = cs_member_find(&c->members, c->cfg.id);

    return m != NULL && m->role == CS_VOTER && cs_voters(c) == 1;
}

/* --- what the engine asks for --- */

static void take_vote_result(const struct consensus *c,
                             const struct raft_request_vote_result *r,
                             struct raftwire_message *to)
{
    to->kind = RAFTWIRE_VOTE_RESULT;
    to->version = r->version;
    to->term = r->term;
    to->vote_result.granted = r->vote_granted;
    to->vote_result.pre_vote = r->pre_vote;
    to->vote_result.features = r->features;
    to->vote_result.capacity = r->capacity;
    /* The engine answers a pre-vote with the term of the question. Three candidates, of which
     * the one with the best log has the lowest term, would then refuse each other for ever: it
     * never learns of the higher terms, and they are refused for their logs. */
    if (r->pre_vote && !r->vote_granted && raft_current_term(&c->raft) > r->term)
        to->term = raft_current_term(&c->raft);
}

static void take_small(const struct raft_message *m, struct raftwire_message *to)
{
    if (m->type == RAFT_APPEND_ENTRIES_RESULT) {
        const struct raft_append_entries_result *r = &m->append_entries_result;

        to->kind = RAFTWIRE_APPEND_RESULT;
        to->version = r->version;
        to->term = r->term;
        to->append_result.rejected = r->rejected;
        to->append_result.last_index = r->last_log_index;
        to->append_result.features = r->features;
        to->append_result.capacity = r->capacity;
    } else if (m->type == RAFT_REQUEST_VOTE) {
        to->kind = RAFTWIRE_VOTE;
        to->version = m->request_vote.version;
        to->term = m->request_vote.term;
        to->vote.last_index = m->request_vote.last_log_index;
        to->vote.last_term = m->request_vote.last_log_term;
        to->vote.disrupt_leader = m->request_vote.disrupt_leader;
        to->vote.pre_vote = m->request_vote.pre_vote;
    } else {
        ASSERT(m->type == RAFT_TIMEOUT_NOW);
        to->kind = RAFTWIRE_TIMEOUT_NOW;
        to->version = m->timeout_now.version;
        to->term = m->timeout_now.term;
        to->timeout_now.last_index = m->timeout_now.last_log_index;
        to->timeout_now.last_term = m->timeout_now.last_log_term;
    }
}

static void take_message(const struct consensus *c, const struct raft_message *m,
                         struct cs_update *out)
{
    struct raftwire_message *to = &out->messages[out->message_count++];

    ASSERT(out->message_count <= CS_MESSAGES);
    *to = (struct raftwire_message){.peer = m->server_id};
    if (m->type == RAFT_APPEND_ENTRIES) {
        to->kind = RAFTWIRE_APPEND;
        to->version = m->append_entries.version;
        to->term = m->append_entries.term;
        to->append.prev_index = m->append_entries.prev_log_index;
        to->append.prev_term = m->append_entries.prev_log_term;
        to->append.commit = m->append_entries.leader_commit;
        to->append.count = m->append_entries.n_entries;
    } else if (m->type == RAFT_REQUEST_VOTE_RESULT) {
        take_vote_result(c, &m->request_vote_result, to);
    } else if (m->type == RAFT_INSTALL_SNAPSHOT) {
        to->kind = RAFTWIRE_SNAPSHOT;
        to->version = m->install_snapshot.version;
        to->term = m->install_snapshot.term;
        to->install = c->snapshot;
        ASSERT(c->snapshot.index == m->install_snapshot.last_index);
    } else {
        take_small(m, to);
    }
}

static void take_entries(struct consensus *c, const struct raft_update *u,
                         struct cs_update *out)
{
    uint64_t first = u->entries.index;

    ASSERT(out->entry_count == 0 && u->entries.n <= LIMIT_CONTROL_BATCH);
    ASSERT(c->held == NULL && c->write_count < CS_WRITES);
    for (uint32_t i = 0; i < c->write_count; i++) {
        struct write *w = &c->writes[(c->write_head + i) % CS_WRITES];

        if (w->last >= first)
            w->last = first - 1;
    }
    changes_cut(c, first);
    for (unsigned i = 0; i < u->entries.n; i++) {
        const struct raft_entry *e = &u->entries.batch[i];

        out->entries[i] = (struct cs_entry){.index = first + i,
                                            .term = e->term,
                                            .kind = (enum raftwire_entry_kind)e->type,
                                            .bytes = {e->buf.base, e->buf.len}};
        if (e->type == RAFT_CHANGE && !change_add(c, first + i, out->entries[i].bytes))
            out->failed = "out of memory";
    }
    out->entry_count = u->entries.n;
    c->held = u->entries.batch[0].batch;
    c->writes[(c->write_head + c->write_count++) % CS_WRITES] = (struct write){
        .asked = first + u->entries.n - 1, .first = first, .last = first + u->entries.n - 1};
    cs_members_renew(c);
}

/* The engine dropped its log for it. What it says of the members came with the message. */
static void take_install(struct consensus *c, struct raft_update *u, struct cs_update *out)
{
    out->install.index = u->snapshot.metadata.index;
    raft_configuration_close(&u->snapshot.metadata.configuration);
    for (uint32_t i = 0; i < c->write_count; i++) {
        struct write *w = &c->writes[(c->write_head + i) % CS_WRITES];

        w->last = w->first - 1;
    }
}

bool cs_engine_step(struct consensus *c, struct raft_event *ev, struct cs_update *out)
{
    struct raft_update u = {.flags = 0};
    int rv;

    ev->time = c->now_ms;
    rv = raft_step(&c->raft, ev, &u);
    if (rv != 0) {
        out->failed = raft_strerror(rv);
        return false;
    }
    if (u.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) {
        out->store_term = true;
        out->term = raft_current_term(&c->raft);
        out->vote = raft_voted_for(&c->raft);
    }
    if (u.flags & RAFT_UPDATE_MESSAGES)
        for (unsigned i = 0; i < u.messages.n; i++)
            take_message(c, &u.messages.batch[i], out);
    if (u.flags & RAFT_UPDATE_ENTRIES)
        take_entries(c, &u, out);
    if (u.flags & RAFT_UPDATE_SNAPSHOT)
        take_install(c, &u, out);
    if (raft_commit_index(&c->raft) > c->decided)
        c->decided = raft_commit_index(&c->raft);
    return out->failed == NULL;
}

/* --- start --- */

static const char *log_fault(const struct cs_log *log)
{
    struct cs_members m;
    uint64_t term = 0;

    if (log->snapshot.index > 0 && !cs_members_decode(log->snapshot.members, &m))
        return "the members of the snapshot make no sense";
    if (log->snapshot.index == 0 && log->count > 0 && log->entries[0].kind != RAFTWIRE_MEMBERS)
        return "the log does not begin with its members";
    if (log->first == 0 || log->first > log->snapshot.index + 1 ||
        log->first + log->count < log->snapshot.index + 1)
        return "the log does not fit to its snapshot";
    for (size_t i = 0; i < log->count; i++) {
        const struct raftwire_entry *e = &log->entries[i];

        if (e->term == 0 || e->term < term || e->term > log->term)
            return "the terms of the log make no sense";
        if (e->kind == RAFTWIRE_MEMBERS && !cs_members_decode(e->bytes, &m))
            return "a members entry makes no sense";
        term = e->term;
    }
    return NULL;
}

/* The entries as the engine reads them at start; it keeps terms only. *batch holds the bytes.
 */
static struct raft_entry *entries_of(const struct cs_log *log, void **batch)
{
    struct raft_entry *list;
    size_t bytes = 1;
    char *to;

    for (size_t i = 0; i < log->count; i++)
        bytes += log->entries[i].kind == RAFTWIRE_MEMBERS ? log->entries[i].bytes.n : 0;
    *batch = to = raft_malloc(bytes);
    list = raft_calloc(log->count, sizeof *list);
    if (to == NULL || list == NULL) {
        raft_free(to);
        raft_free(list);
        return NULL;
    }
    for (size_t i = 0; i < log->count; i++) {
        const struct raftwire_entry *e = &log->entries[i];

        list[i] = (struct raft_entry){
            .term = e->term, .type = (enum raft_entry_type)e->kind, .batch = *batch};
        if (e->kind == RAFTWIRE_MEMBERS) {
            memcpy(to, e->bytes.p, e->bytes.n);
            list[i].buf = (struct raft_buffer){to, e->bytes.n};
            to += e->bytes.n;
        }
    }
    return list;
}

static bool engine_start(struct consensus *c, const struct cs_log *log,
                         struct raft_snapshot_metadata *metadata, struct cs_update *out)
{
    struct raft_event ev = {.type = RAFT_START};
    struct raft_entry *list = NULL;
    void *batch = NULL;

    ev.start.term = log->term;
    ev.start.voted_for = log->vote;
    ev.start.metadata = metadata;
    ev.start.start_index = log->first;
    if (log->count > 0) {
        list = entries_of(log, &batch);
        if (list == NULL) {
            out->failed = "out of memory";
            return false;
        }
        ev.start.entries = list;
        ev.start.n_entries = (unsigned)log->count;
    }
    if (!cs_engine_step(c, &ev, out))
        return false; /* the engine freed them */
    raft_free(batch);
    raft_free(list);
    return true;
}

static bool engine_init(struct consensus *c)
{
    if (raft_init(&c->raft, NULL, NULL, c->cfg.id, "") != 0)
        return false;
    c->loaded = true;
    c->raft.tracer = &c->quiet;
    raft_seed(&c->raft, c->seed | 1);
    raft_set_election_timeout(&c->raft, c->cfg.election_ms);
    raft_set_heartbeat_timeout(&c->raft, c->cfg.heartbeat_ms);
    raft_set_install_snapshot_timeout(&c->raft, c->cfg.install_ms);
    raft_set_pre_vote(&c->raft, true);
    raft_set_max_inflight_entries(&c->raft, MAX_INFLIGHT);
    raft_set_max_catch_up_rounds(&c->raft, CATCH_UP_ROUNDS);
    raft_set_max_catch_up_round_duration(&c->raft, CATCH_UP_ROUND_MS);
    return true;
}

bool cs_engine_load(struct consensus *c, const struct cs_log *log, struct cs_update *out)
{
    struct raft_snapshot_metadata at = {.index = log->snapshot.index,
                                        .term = log->snapshot.term,
                                        .configuration_index = log->snapshot.members_index};
    bool snapshot = log->snapshot.index > 0, well;

    out->failed = log_fault(log);
    if (out->failed != NULL)
        return false;
    well = engine_init(c);
    if (snapshot)
        cs_snapshot_set(c, &log->snapshot);
    for (size_t i = 0; well && i < log->count; i++)
        if (log->entries[i].kind == RAFTWIRE_MEMBERS &&
            log->first + i > log->snapshot.members_index)
            well = change_add(c, log->first + i, log->entries[i].bytes);
    well = well && (!snapshot || cs_configuration_of(log->snapshot.members, &at.configuration));
    if (!well) {
        out->failed = "out of memory";
        return false;
    }
    cs_members_renew(c);
    return engine_start(c, log, snapshot ? &at : NULL, out);
}
