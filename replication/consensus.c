#include "replication/consensus.h"

#include "base/assert.h"
#include "replication/clusterclock.h"
#include "replication/consensus_private.h"

#define TIMEOUT_GAP_MS 10 /* a deadline the engine leaves in the past must not spin */

/* --- proposals --- */

static void answer(struct cs_update *out, uint64_t req_id, enum cs_outcome outcome,
                   uint64_t index, uint64_t leader)
{
    if (req_id == CS_CLOCK_REQ)
        return;
    ASSERT(out->answer_count < sizeof out->answers / sizeof out->answers[0]);
    out->answers[out->answer_count++] = (struct cs_answer){
        .req_id = req_id, .outcome = outcome, .index = index, .leader = leader};
}

static struct pending *ring_at(struct consensus *c, uint32_t i)
{
    return &c->ring[(c->ring_head + i) % LIMIT_PROPOSALS];
}

/* Nothing above `kept` will be known to us; what is decided still comes. */
static void ring_cut(struct consensus *c, uint64_t kept, enum cs_outcome outcome,
                     struct cs_update *out)
{
    uint32_t n = 0;

    while (n < c->ring_count && ring_at(c, n)->index <= kept)
        n++;
    for (uint32_t i = n; i < c->ring_count; i++)
        answer(out, ring_at(c, i)->req_id, outcome, 0, 0);
    c->ring_count = n;
    if (c->clock_index > kept)
        c->clock_index = 0;
}

/* Hands entries to the engine: it leads, and takes them. Their term and batch are set here. */
static bool submit(struct consensus *c, struct raft_entry *list, unsigned n, void *batch,
                   struct cs_update *out)
{
    struct raft_event ev = {.type = RAFT_SUBMIT};

    for (unsigned i = 0; i < n; i++) {
        list[i].term = raft_current_term(&c->raft);
        list[i].batch = batch;
    }
    ev.submit.entries = list;
    ev.submit.n = n;
    return cs_engine_step(c, &ev, out);
}

/* One entry of our own making. */
static bool submit_one(struct consensus *c, enum raft_entry_type type, struct str bytes,
                       struct cs_update *out)
{
    struct raft_entry e = {.type = type};
    void *batch = raft_malloc(bytes.n);

    if (batch == NULL) {
        out->failed = "out of memory";
        return false;
    }
    memcpy(batch, bytes.p, bytes.n);
    e.buf = (struct raft_buffer){batch, bytes.n};
    return submit(c, &e, 1, batch, out);
}

static void on_propose(struct consensus *c, const struct cs_event *ev, struct cs_update *out)
{
    struct raft_entry list[LIMIT_CONTROL_BATCH];
    uint64_t ids[LIMIT_CONTROL_BATCH];
    size_t bytes = 0;
    unsigned n = 0;
    char *batch;

    ASSERT(ev->count >= 1 && ev->count <= LIMIT_CONTROL_BATCH);
    for (size_t i = 0; i < ev->count; i++) {
        const struct cs_proposal *p = &ev->proposals[i];

        ASSERT(p->bytes.n >= 1 && p->bytes.n <= LIMIT_COMMAND_BYTES);
        if (p->req_id == CS_CLOCK_REQ)
            c->clock_proposed = false;
        if (!cs_takes_proposals(c))
            answer(out, p->req_id, c->leading && !c->stopped ? CS_FULL : CS_NOT_LEADER, 0,
                   cs_leader(c));
        else if (c->ring_count + n == LIMIT_PROPOSALS || c->write_count == CS_WRITES)
            answer(out, p->req_id, CS_FULL, 0, 0);
        else {
            ids[n] = p->req_id;
            list[n++] = (struct raft_entry){.type = RAFT_COMMAND,
                                            .buf = {(void *)(uintptr_t)p->bytes.p, p->bytes.n}};
            bytes += p->bytes.n;
        }
    }
    if (n == 0)
        return;
    batch = raft_malloc(bytes);
    if (batch == NULL) {
        out->failed = "out of memory";
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        memcpy(batch, list[i].buf.base, list[i].buf.len);
        list[i].buf.base = batch;
        batch += list[i].buf.len;
    }
    if (!submit(c, list, n, batch - bytes, out))
        return;
    for (unsigned i = 0; i < n; i++) {
        out->entries[i].req_id = ids[i] == CS_CLOCK_REQ ? 0 : ids[i];
        *ring_at(c, c->ring_count++) = (struct pending){ids[i], out->entries[i].index};
        if (ids[i] == CS_CLOCK_REQ)
            c->clock_index = out->entries[i].index;
    }
}

/* --- messages --- */

static const char *append_fault(const struct raftwire_message *m)
{
    struct cs_members members;
    uint64_t term = m->append.prev_term;

    if ((m->append.prev_index == 0) != (m->append.prev_term == 0))
        return "entry 0 has no term, and no other has none";
    if (m->append.count > LIMIT_CONTROL_BATCH)
        return "too many entries";
    for (uint32_t i = 0; i < m->append.count; i++) {
        const struct raftwire_entry *e = &m->append.entries[i];

        if (e->term == 0 || e->term < term || e->term > m->term)
            return "the terms of the entries make no sense";
        if (e->bytes.n == 0 || e->bytes.n > LIMIT_COMMAND_BYTES)
            return "the size of an entry makes no sense";
        /* Followers note the change under the index of the first entry they got with it. */
        if (e->kind == RAFTWIRE_MEMBERS && (i > 0 || !cs_members_decode(e->bytes, &members)))
            return "a members entry makes no sense, or is not the first";
        if (e->kind < RAFTWIRE_COMMAND || e->kind > RAFTWIRE_MEMBERS)
            return "an entry of an unknown kind";
        term = e->term;
    }
    return NULL;
}

static void receive_append(struct consensus *c, const struct raftwire_message *m,
                           struct raft_message *to, struct cs_update *out)
{
    struct raft_entry list[LIMIT_CONTROL_BATCH];
    struct raft_event ev = {.type = RAFT_RECEIVE};
    size_t bytes = 0;
    char *batch = NULL, *at;

    to->type = RAFT_APPEND_ENTRIES;
    to->append_entries = (struct raft_append_entries){.version = m->version,
                                                      .term = m->term,
                                                      .prev_log_index = m->append.prev_index,
                                                      .prev_log_term = m->append.prev_term,
                                                      .leader_commit = m->append.commit,
                                                      .n_entries = m->append.count};
    for (uint32_t i = 0; i < m->append.count; i++)
        bytes += m->append.entries[i].bytes.n;
    if (m->append.count > 0) {
        batch = raft_malloc(bytes);
        if (batch == NULL) {
            out->failed = "out of memory";
            return;
        }
        to->append_entries.entries = list;
    }
    at = batch;
    for (uint32_t i = 0; i < m->append.count; i++) {
        const struct raftwire_entry *e = &m->append.entries[i];

        list[i] = (struct raft_entry){.term = e->term,
                                      .type = (enum raft_entry_type)e->kind,
                                      .buf = {at, e->bytes.n},
                                      .batch = batch};
        memcpy(at, e->bytes.p, e->bytes.n);
        at += e->bytes.n;
    }
    ev.receive.message = to;
    cs_engine_step(c, &ev, out);
}

static void receive_install(struct consensus *c, const struct raftwire_message *m,
                            struct raft_message *to, struct cs_update *out)
{
    struct raft_event ev = {.type = RAFT_RECEIVE};
    bool installing = c->raft.snapshot.installing;
    struct cs_members members;

    if (m->install.index == 0 || m->install.term == 0 || m->install.term > m->term ||
        m->install.members_index > m->install.index ||
        !cs_members_decode(m->install.members, &members)) {
        out->refused = "a snapshot that makes no sense";
        return;
    }
    to->type = RAFT_INSTALL_SNAPSHOT;
    to->install_snapshot =
        (struct raft_install_snapshot){.version = m->version,
                                       .term = m->term,
                                       .last_index = m->install.index,
                                       .last_term = m->install.term,
                                       .conf_index = m->install.members_index};
    if (!cs_configuration_of(m->install.members, &to->install_snapshot.conf)) {
        out->failed = "out of memory";
        return;
    }
    ev.receive.message = to;
    if (!cs_engine_step(c, &ev, out))
        return;
    if (out->install.index != 0) {
        c->incoming = m->install;
        memcpy(c->incoming_members, m->install.members.p, m->install.members.n);
        c->incoming.members.p = (const char *)c->incoming_members;
        out->install = c->incoming;
    } else if (installing && out->message_count == 0)
        raft_configuration_close(&to->install_snapshot.conf); /* the engine forgets this one */
}

/* All that carries no entries. */
static void receive_small(struct consensus *c, const struct raftwire_message *m,
                          struct raft_message *to, struct cs_update *out)
{
    struct raft_event ev = {.type = RAFT_RECEIVE, .receive.message = to};

    if (m->kind == RAFTWIRE_APPEND_RESULT) {
        to->type = RAFT_APPEND_ENTRIES_RESULT;
        to->append_entries_result =
            (struct raft_append_entries_result){.version = m->version,
                                                .term = m->term,
                                                .rejected = m->append_result.rejected,
                                                .last_log_index = m->append_result.last_index,
                                                .features = m->append_result.features,
                                                .capacity = m->append_result.capacity};
    } else if (m->kind == RAFTWIRE_VOTE) {
        to->type = RAFT_REQUEST_VOTE;
        to->request_vote = (struct raft_request_vote){.version = m->version,
                                                      .term = m->term,
                                                      .candidate_id = m->peer,
                                                      .last_log_index = m->vote.last_index,
                                                      .last_log_term = m->vote.last_term,
                                                      .disrupt_leader = m->vote.disrupt_leader,
                                                      .pre_vote = m->vote.pre_vote};
    } else if (m->kind == RAFTWIRE_VOTE_RESULT) {
        to->type = RAFT_REQUEST_VOTE_RESULT;
        to->request_vote_result =
            (struct raft_request_vote_result){.version = m->version,
                                              .term = m->term,
                                              .vote_granted = m->vote_result.granted,
                                              .pre_vote = m->vote_result.pre_vote,
                                              .features = m->vote_result.features,
                                              .capacity = m->vote_result.capacity};
    } else {
        to->type = RAFT_TIMEOUT_NOW;
        to->timeout_now = (struct raft_timeout_now){.version = m->version,
                                                    .term = m->term,
                                                    .last_log_index = m->timeout_now.last_index,
                                                    .last_log_term = m->timeout_now.last_term};
    }
    cs_engine_step(c, &ev, out);
}

static void on_receive(struct consensus *c, const struct raftwire_message *m,
                       struct cs_update *out)
{
    /* The engine wants an address to remember a leader by; it is never used. */
    struct raft_message to = {.server_id = m->peer, .server_address = "-"};

    ASSERT(m->peer != 0 && m->peer != c->cfg.id);
    if (c->stopped)
        return;
    switch (m->kind) {
    case RAFTWIRE_APPEND:
        out->refused = append_fault(m);
        /* A disk far behind: the leader sends them again. */
        if (out->refused == NULL && c->write_count < CS_WRITES)
            receive_append(c, m, &to, out);
        return;
    case RAFTWIRE_SNAPSHOT:
        receive_install(c, m, &to, out);
        return;
    case RAFTWIRE_APPEND_RESULT:
    case RAFTWIRE_VOTE:
    case RAFTWIRE_VOTE_RESULT:
    case RAFTWIRE_TIMEOUT_NOW:
        receive_small(c, m, &to, out);
        return;
    case RAFTWIRE_HELLO:
    case RAFTWIRE_SNAPSHOT_ACK:
    case RAFTWIRE_FORWARD:
    case RAFTWIRE_FORWARD_ANSWER:
    case RAFTWIRE_PEERS:
        break;
    }
    out->refused = "not a message of Raft";
}

/* --- the disk --- */

/* What is decided and on this disk: a follower hears of decisions before it has the entries. */
static uint64_t stored_commit(const struct consensus *c)
{
    uint64_t commit = raft_commit_index(&c->raft);

    return commit < c->raft.last_stored ? commit : c->raft.last_stored;
}

static void on_persisted(struct consensus *c, uint64_t index, struct cs_update *out)
{
    struct raft_event ev = {.type = RAFT_PERSISTED_ENTRIES};
    struct write w;

    ASSERT(c->write_count > 0);
    w = c->writes[c->write_head];
    ASSERT(index == w.asked);
    c->write_head = (c->write_head + 1) % CS_WRITES;
    c->write_count--;
    if (w.last < w.first || w.last <= c->raft.last_stored)
        return; /* replaced meanwhile */
    ev.persisted_entries.index = w.last;
    cs_engine_step(c, &ev, out);
}

/* The engine cannot be told that a write failed. It begins anew with what is on disk: that is
 * what a crash would do, and Raft is made for it. */
static void on_store_full(struct consensus *c, const struct cs_log *log, struct cs_update *out)
{
    uint64_t last = log->first + log->count - 1;
    bool lone = cs_is_lone(c);

    ASSERT(c->write_count > 0 || c->raft.snapshot.installing);
    cs_engine_unload(c);
    c->seed = c->seed * 1103515245 + 12345;
    if (lone)
        ring_cut(c, last, CS_FULL, out);
    cs_engine_load(c, log, out);
}

static void on_snapshot_persisted(struct consensus *c, uint64_t applied, struct cs_update *out)
{
    const struct raftwire_snapshot *at = &c->incoming;
    struct raft_event ev = {.type = RAFT_PERSISTED_SNAPSHOT};

    ASSERT(c->raft.snapshot.installing && applied >= at->index);
    ev.persisted_snapshot.metadata = (struct raft_snapshot_metadata){
        .index = at->index, .term = at->term, .configuration_index = at->members_index};
    ev.persisted_snapshot.last = true;
    if (!cs_configuration_of(at->members, &ev.persisted_snapshot.metadata.configuration)) {
        out->failed = "out of memory";
        return;
    }
    /* What it jumps over was decided, with what result nobody will know here. */
    while (c->ring_count > 0 && ring_at(c, 0)->index <= applied) {
        answer(out, ring_at(c, 0)->req_id, CS_UNKNOWN, 0, 0);
        c->ring_head = (c->ring_head + 1) % LIMIT_PROPOSALS;
        c->ring_count--;
    }
    c->change_count = 0;
    cs_snapshot_set(c, at);
    cs_members_renew(c);
    c->applying = c->applied = applied;
    cs_engine_step(c, &ev, out);
}

static void on_compact(struct consensus *c, const struct cs_event *cs, struct cs_update *out)
{
    uint64_t index = cs->index;
    uint32_t trailing = cs->trailing;
    struct raft_event ev = {.type = RAFT_SNAPSHOT};
    struct raftwire_snapshot at = c->snapshot;

    /* A state can be newer than the log below it, when it came as a snapshot. */
    if (index <= at.index || index > c->applied || index > stored_commit(c) ||
        c->raft.snapshot.installing)
        return;
    ASSERT(cs->term != 0);
    at.index = index;
    at.term = cs->term;
    for (uint32_t i = 0; i < c->change_count && c->changes[i].index <= index; i++) {
        at.members_index = c->changes[i].index;
        at.members = c->changes[i].members;
    }
    ASSERT(at.members.n > 0);
    ev.snapshot.metadata = (struct raft_snapshot_metadata){
        .index = index, .term = at.term, .configuration_index = at.members_index};
    ev.snapshot.trailing = trailing;
    if (!cs_configuration_of(at.members, &ev.snapshot.metadata.configuration)) {
        out->failed = "out of memory";
        return;
    }
    cs_snapshot_set(c, &at);
    cs_changes_drop(c, index);
    if (!cs_engine_step(c, &ev, out))
        return;
    out->compact = c->snapshot;
    out->compact_upto = index > trailing ? index - trailing : 0;
}

static void on_applied(struct consensus *c, uint64_t index, struct cs_update *out)
{
    ASSERT(index > c->applied && index <= c->applying);
    c->applied = index;
    while (c->ring_count > 0 && ring_at(c, 0)->index <= index) {
        answer(out, ring_at(c, 0)->req_id, CS_APPLIED, ring_at(c, 0)->index, 0);
        c->ring_head = (c->ring_head + 1) % LIMIT_PROPOSALS;
        c->ring_count--;
    }
    if (c->clock_index != 0 && c->clock_index <= index)
        c->clock_index = 0;
}

/* One batch is with the state machine at a time; the next is given when that one is done. */
static void give_apply(struct consensus *c, struct cs_update *out)
{
    uint64_t to = stored_commit(c);

    if (c->applying > c->applied || to <= c->applied || out->install.index != 0)
        return;
    if (to - c->applied > LIMIT_CONTROL_BATCH)
        to = c->applied + LIMIT_CONTROL_BATCH;
    out->apply_from = c->applied + 1;
    out->apply_to = to;
    c->applying = to;
}

/* --- leadership and members --- */

static void lose_lead(struct consensus *c, struct cs_update *out)
{
    c->leading = c->wanted = c->catching = c->holding = c->clock_proposed = false;
    c->change_index = 0;
    /* Not by `decided`: the step that ends the lead may come from the next leader, with other
     * entries under our indices, decided in the same message. */
    ring_cut(c, c->was_decided, CS_UNKNOWN, out);
}

static void gain_lead(struct consensus *c, struct cs_update *out)
{
    c->leading = true;
    c->lead_term = raft_current_term(&c->raft);
    /* Time without a leader is nobody's: the cluster clock stands still in it. */
    c->clock_mark_ms = c->now_ms;
    c->clock_due_ms = c->now_ms + LIMIT_CLOCK_TICK_MS;
    c->term_start = raft_last_index(&c->raft);
    if (out->entry_count > 0)
        c->term_start = out->entries[0].index;
    else if (!cs_is_lone(c) && submit_one(c, RAFT_BARRIER, STR("\0\0\0\0\0\0\0\0"), out))
        /* With all decided before, the engine begins its term without an entry. Who counts
         * from that entry (leases, changes of members) needs one. */
        c->term_start = out->entries[0].index;
}

static void look_at_lead(struct consensus *c, struct cs_update *out)
{
    bool leads = raft_state(&c->raft) == RAFT_LEADER;

    if (c->leading && (!leads || c->lead_term != raft_current_term(&c->raft)))
        lose_lead(c, out);
    if (leads && !c->leading && out->failed == NULL)
        gain_lead(c, out);
}

/* The engine is told of each decided change, once. It may step down by it. */
static void confirm_changes(struct consensus *c, struct cs_update *out)
{
    for (uint32_t i = 0; i < c->change_count && c->changes[i].index <= stored_commit(c); i++) {
        struct raft_event ev = {.type = RAFT_CONFIGURATION};

        if (c->changes[i].confirmed)
            continue;
        ev.configuration.index = c->changes[i].index;
        if (!cs_configuration_of(c->changes[i].members, &ev.configuration.conf)) {
            out->failed = "out of memory";
            return;
        }
        c->changes[i].confirmed = true;
        if (!cs_engine_step(c, &ev, out))
            return;
        if (c->change_index == c->changes[i].index)
            c->change_index = 0;
    }
}

static void on_member(struct consensus *c, const struct cs_event *ev)
{
    const struct cs_member *m = cs_member_find(&c->members, ev->member.id);

    if (!c->leading || c->stopped || cs_is_changing(c) || raft_transferee(&c->raft) != 0)
        return;
    if (ev->change == CS_ADD && (m != NULL || c->members.count == CS_MEMBERS))
        return;
    if (ev->change == CS_PROMOTE && (m == NULL || m->role == CS_VOTER))
        return;
    if (ev->change == CS_REMOVE && (m == NULL || (m->role == CS_VOTER && cs_voters(c) == 1)))
        return;
    c->wanted = true;
    c->catching = c->holding = false;
    c->change = ev->change;
    c->member = m != NULL ? *m : ev->member;
}

/* The members after the change that is wanted. */
static void members_changed(const struct consensus *c, struct cs_members *to)
{
    *to = c->members;
    if (c->change == CS_ADD) {
        to->list[to->count] = c->member;
        to->list[to->count++].role = CS_SPARE;
        return;
    }
    for (uint32_t i = 0; i < to->count; i++) {
        if (to->list[i].id != c->member.id)
            continue;
        if (c->change == CS_PROMOTE)
            to->list[i].role = CS_VOTER;
        else
            to->list[i] = to->list[--to->count];
    }
}

/* A member that becomes a voter is fed first. False: not yet, or given up. */
static bool is_caught_up(struct consensus *c, struct cs_update *out)
{
    struct raft_event ev = {.type = RAFT_CATCH_UP, .catch_up.server_id = c->member.id};
    int status;

    if (c->change != CS_PROMOTE)
        return true;
    if (!c->catching) {
        c->catching = true;
        cs_engine_step(c, &ev, out);
        return false;
    }
    if (raft_catch_up(&c->raft, c->member.id, &status) == 0 && status == RAFT_CATCH_UP_FINISHED)
        return true;
    if (status != RAFT_CATCH_UP_RUNNING)
        c->wanted = c->catching = false; /* who wants it asks again */
    return false;
}

/* A change goes into the log alone, when all before it is decided. */
static void pump_change(struct consensus *c, struct cs_update *out)
{
    uint8_t buf[RAFTWIRE_MEMBERS_BYTES];
    struct cs_members to;

    if (!c->leading || !c->wanted || out->failed != NULL || !is_caught_up(c, out))
        return;
    c->holding = true;
    if (out->entry_count > 0 || c->write_count > 0 || raft_transferee(&c->raft) != 0 ||
        stored_commit(c) != raft_last_index(&c->raft) || c->applied < c->term_start ||
        c->raft.configuration_uncommitted_index != 0)
        return;
    members_changed(c, &to);
    if (!submit_one(c, RAFT_CHANGE, cs_members_encode(&to, buf), out))
        return;
    c->wanted = c->catching = c->holding = false;
    c->change_index = out->entries[0].index;
}

static void on_transfer(struct consensus *c, uint64_t to, struct cs_update *out)
{
    struct raft_event ev = {.type = RAFT_TRANSFER, .transfer.server_id = to};
    const struct cs_member *m = cs_member_find(&c->members, to);
    bool others = cs_voters(c) > 1;

    if (!c->leading || cs_is_changing(c) || raft_transferee(&c->raft) != 0 || !others)
        return;
    if (to != 0 && (to == c->cfg.id || m == NULL || m->role != CS_VOTER))
        return;
    cs_engine_step(c, &ev, out);
}

static void on_stop(struct consensus *c, struct cs_update *out)
{
    if (c->stopped)
        return;
    c->stopped = true;
    ring_cut(c, 0, CS_UNKNOWN, out);
}

/* --- time --- */

static uint64_t engine_deadline(const struct consensus *c)
{
    uint64_t due = raft_timeout(&c->raft), soonest = c->last_timeout_ms + TIMEOUT_GAP_MS;

    /* Nobody to send to, nobody to lose the lead to: an idle node sleeps. */
    if (c->leading && c->members.count == 1)
        return UINT64_MAX;
    return due > soonest ? due : soonest;
}

static uint64_t next_clock_ms(const struct consensus *c)
{
    /* The next clock entry waits for the last one; APPLIED of that one brings it up again. */
    if (!cs_takes_proposals(c) || c->applied < c->term_start || c->clock_proposed ||
        c->clock_index != 0)
        return UINT64_MAX;
    return c->clock_due_ms;
}

uint64_t cs_deadline_ms(const struct consensus *c)
{
    uint64_t engine_due, clock_due;

    if (!c->started || c->stopped || !c->loaded)
        return UINT64_MAX;
    engine_due = engine_deadline(c);
    clock_due = next_clock_ms(c);
    return engine_due < clock_due ? engine_due : clock_due;
}

static void on_tick(struct consensus *c, struct cs_update *out)
{
    struct raft_event ev = {.type = RAFT_TIMEOUT};

    if (c->stopped)
        return;
    if (c->now_ms >= engine_deadline(c)) {
        c->last_timeout_ms = c->now_ms;
        if (!cs_engine_step(c, &ev, out))
            return;
        look_at_lead(c, out);
    }
    if (c->now_ms >= next_clock_ms(c)) {
        out->clock_elapsed_ms = clusterclock_measure(&c->clock_mark_ms, c->now_ms);
        c->clock_due_ms = c->now_ms + LIMIT_CLOCK_TICK_MS;
        c->clock_proposed = out->clock_elapsed_ms > 0;
    }
}

/* --- one step --- */

static void dispatch(struct consensus *c, const struct cs_event *ev, struct cs_update *out)
{
    switch (ev->type) {
    case CS_EV_START:
        ASSERT(!c->started);
        c->started = true;
        cs_engine_load(c, ev->log, out);
        return;
    case CS_EV_RECEIVE:
        on_receive(c, ev->message, out);
        return;
    case CS_EV_PROPOSE:
        on_propose(c, ev, out);
        return;
    case CS_EV_PERSISTED:
        on_persisted(c, ev->index, out);
        return;
    case CS_EV_STORE_FULL:
        on_store_full(c, ev->log, out);
        return;
    case CS_EV_SNAPSHOT_PERSISTED:
        on_snapshot_persisted(c, ev->index, out);
        return;
    case CS_EV_COMPACT:
        on_compact(c, ev, out);
        return;
    case CS_EV_APPLIED:
        on_applied(c, ev->index, out);
        return;
    case CS_EV_TICK:
        on_tick(c, out);
        return;
    case CS_EV_MEMBER:
        on_member(c, ev);
        return;
    case CS_EV_TRANSFER:
        on_transfer(c, ev->member.id, out);
        return;
    case CS_EV_STOP:
        on_stop(c, out);
        return;
    }
    ASSERT(false); /* an event without a type */
}

void cs_step(struct consensus *c, const struct cs_event *ev, struct cs_update *out)
{
    bool led = cs_leads(c);

    out->failed = out->refused = NULL;
    out->store_term = out->led_changed = false;
    out->message_count = out->entry_count = out->answer_count = 0;
    out->install = out->compact = (struct raftwire_snapshot){.index = 0};
    out->compact_upto = out->apply_from = out->apply_to = 0;
    out->clock_elapsed_ms = 0;
    ASSERT(ev->boot_now_ms >= c->now_ms);
    ASSERT(c->started || ev->type == CS_EV_START);
    c->now_ms = ev->boot_now_ms;
    c->was_decided = c->decided;
    raft_free(c->held);
    c->held = NULL;
    dispatch(c, ev, out);
    if (out->failed == NULL && c->loaded) {
        look_at_lead(c, out);
        confirm_changes(c, out);
        look_at_lead(c, out);
        pump_change(c, out);
        give_apply(c, out);
    }
    out->led_changed = led != cs_leads(c) || c->leader_shown != cs_leader(c);
    c->leader_shown = cs_leader(c);
}

/* --- what it knows --- */

bool cs_leads(const struct consensus *c)
{
    return c->leading && !c->stopped;
}

bool cs_takes_proposals(const struct consensus *c)
{
    return cs_leads(c) && !c->holding && c->change_index == 0 && raft_transferee(&c->raft) == 0;
}

uint64_t cs_leader(const struct consensus *c)
{
    if (!c->loaded)
        return 0;
    if (c->leading)
        return c->cfg.id;
    return c->raft.state == RAFT_FOLLOWER ? c->raft.follower_state.current_leader.id : 0;
}

uint64_t cs_term(const struct consensus *c)
{
    return raft_current_term(&c->raft);
}

uint64_t cs_term_start(const struct consensus *c)
{
    return c->term_start;
}

uint64_t cs_applied(const struct consensus *c)
{
    return c->applied;
}

uint64_t cs_commit(const struct consensus *c)
{
    return c->decided;
}

uint64_t cs_last(const struct consensus *c)
{
    return raft_last_index((struct raft *)(uintptr_t)&c->raft);
}

const struct cs_members *cs_members(const struct consensus *c)
{
    return &c->members;
}

uint64_t cs_match(const struct consensus *c, uint64_t id)
{
    raft_index index = 0;

    return c->leading && raft_match_index(&c->raft, id, &index) == 0 ? index : 0;
}

bool cs_is_changing(const struct consensus *c)
{
    return c->wanted || c->change_index != 0;
}

const struct raftwire_snapshot *cs_snapshot(const struct consensus *c)
{
    return &c->snapshot;
}
