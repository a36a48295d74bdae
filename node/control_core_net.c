#include "node/control_core_private.h"

#define BAD_FRAMES_MS 60000
#define HELLO_MS      1000 /* between two that nobody answered */
#define GAP_MS        20000
#define GAP_COUNT     20

struct core_peer *core_peer_find(struct control_core *c, uint64_t id)
{
    for (size_t i = 0; i < CORE_PEERS; i++)
        if (c->peers[i].id == id && id != 0)
            return &c->peers[i];
    return NULL;
}

/* One that is no member any more makes room; its transfer ended with its membership. */
static struct core_peer *room_for_peer(struct control_core *c)
{
    struct core_peer *oldest = NULL;

    for (size_t i = 0; i < CORE_PEERS; i++) {
        struct core_peer *p = &c->peers[i];

        if (p->id == 0)
            return p;
        if (cs_member_find(cs_members(c->cs), p->id) == NULL && p->transfer.snapshot == NULL &&
            (oldest == NULL || p->contact_ms < oldest->contact_ms))
            oldest = p;
    }
    return oldest;
}

struct core_peer *core_peer_of(struct control_core *c, uint64_t id, uint16_t site)
{
    struct core_peer *p = core_peer_find(c, id);

    if (p == NULL)
        p = room_for_peer(c);
    if (p != NULL && p->id != id)
        *p = (struct core_peer){.id = id, .site = site};
    return p;
}

void core_bad_frame(struct control_core *c, uint16_t site, const char *why)
{
    struct core_peer *p = NULL;

    c->bad_frames++;
    stat_add(STAT_CONTROL_BAD_FRAMES_TOTAL, 1);
    for (size_t i = 0; i < CORE_PEERS; i++)
        if (c->peers[i].id != 0 && c->peers[i].site == site)
            p = &c->peers[i];
    if (p == NULL)
        return;
    if (c->now_ms >= p->bad_ms + BAD_FRAMES_MS) {
        p->bad_ms = c->now_ms;
        p->bad = 0;
    }
    /* Logged up to the limit: who sends more is not heard, nor does he fill the log. */
    if (++p->bad <= LIMIT_BAD_FRAMES)
        LOG(EV_CONTROL_BAD_FRAME, L_U64("site", site), L_U64("incarnation", p->id),
            L_CSTR("why", why));
    if (p->bad == LIMIT_BAD_FRAMES && c->o.ops.cut != NULL)
        c->o.ops.cut(c->o.ops.ctx, site);
}

void core_send(struct control_core *c, struct core_peer *p, struct raftwire_frame *f)
{
    const struct store_id *id = ctllog_id(c->log);
    struct str bytes;
    enum err e;

    memcpy(f->cluster, id->cluster, sizeof f->cluster);
    f->site = id->site;
    f->incarnation = id->incarnation;
    f->to = p->id;
    e = raftwire_encode(f, c->frame, sizeof c->frame, &bytes);
    ASSERT(e == OK);
    c->o.ops.send(c->o.ops.ctx, p->site, p->id, bytes);
}

/* --- messages of the consensus --- */

/* An entry to send: of the update, before it is on the disk, or of the log. */
static enum err entry_to_send(struct control_core *c, uint64_t index, struct arena *a,
                              struct raftwire_entry *to)
{
    const struct cs_update *u = &c->update;
    struct log_entry e;
    enum err err;

    if (u->entry_count > 0 && index >= u->entries[0].index) {
        const struct cs_entry *n = &u->entries[index - u->entries[0].index];

        ASSERT(index - u->entries[0].index < u->entry_count);
        *to = (struct raftwire_entry){n->term, n->kind, n->bytes};
        return OK;
    }
    err = ctllog_read(c->log, index, a, &e);
    *to = (struct raftwire_entry){e.term, e.kind, e.bytes};
    return err == E_NOTFOUND ? E_CORRUPT : err;
}

/* Entries from `from` on that go into one frame: a MEMBERS entry is always the first. */
static enum err pack(struct control_core *c, uint64_t from, uint64_t end, struct arena *a,
                     struct raftwire_entry *list, uint32_t *count)
{
    size_t bytes = RAFTWIRE_HEAD_BYTES;
    enum err e = OK;

    *count = 0;
    while (*count < LIMIT_CONTROL_BATCH && from + *count < end) {
        struct raftwire_entry *next = &list[*count];

        e = entry_to_send(c, from + *count, a, next);
        if (e != OK)
            return e;
        bytes += raftwire_entry_bytes(next);
        if (bytes > LIMIT_FRAME_BYTES || (next->kind == RAFTWIRE_MEMBERS && *count > 0))
            break;
        ++*count;
    }
    return OK;
}

static enum err send_append(struct control_core *c, struct core_peer *p,
                            const struct raftwire_message *m)
{
    struct raftwire_entry list[LIMIT_CONTROL_BATCH];
    struct raftwire_frame f = {.kind = RAFTWIRE_APPEND, .message = *m};
    uint64_t next = m->append.prev_index + 1, end = next + m->append.count;
    enum err e = OK;

    do {
        struct arena a;
        uint32_t count;

        arena_init(&a, CORE_FRAME_ARENA);
        e = pack(c, next, end, &a, list, &count);
        if (e == OK) {
            f.message.append.entries = list;
            f.message.append.count = count;
            core_send(c, p, &f);
            if (count > 0) {
                f.message.append.prev_index = next + count - 1;
                f.message.append.prev_term = list[count - 1].term;
            }
            next += count;
        }
        arena_reset(&a);
    } while (e == OK && next < end);
    return e;
}

void core_send_messages(struct control_core *c)
{
    for (size_t i = 0; i < c->update.message_count && c->failed == OK; i++) {
        const struct raftwire_message *m = &c->update.messages[i];
        const struct cs_member *to = cs_member_find(cs_members(c->cs), m->peer);
        struct core_peer *p =
            to != NULL ? core_peer_of(c, to->id, to->site) : core_peer_find(c, m->peer);
        struct raftwire_frame f = {.kind = m->kind, .message = *m};
        enum err e = OK;

        if (p == NULL)
            continue;
        if (m->kind == RAFTWIRE_APPEND)
            e = send_append(c, p, m);
        else if (m->kind == RAFTWIRE_SNAPSHOT)
            core_transfer_begin(c, p, m);
        else
            core_send(c, p, &f);
        if (e != OK)
            core_fail(c, "read_to_send", e);
    }
}

/* --- what comes in --- */

static void send_hello(struct control_core *c, struct core_peer *p, bool is_answer)
{
    struct raftwire_frame f = {.kind = RAFTWIRE_HELLO};

    f.hello.format = RAFTWIRE_FORMAT;
    f.hello.answer = is_answer;
    f.hello.applied = control_applied(c->state);
    p->hello_ms = c->now_ms;
    core_send(c, p, &f);
}

void core_lonely_tick(struct control_core *c)
{
    if (cs_leads(c->cs) || cs_leader(c->cs) != 0) {
        c->lonely_ms = 0;
        return;
    }
    if (c->lonely_ms != 0 && c->now_ms < c->lonely_ms + CORE_LONELY_MS)
        return;
    for (size_t i = 0; c->lonely_ms != 0 && i < CORE_PEERS; i++)
        if (c->peers[i].id != 0)
            send_hello(c, &c->peers[i], false);
    c->lonely_ms = c->now_ms;
}

void control_core_meet(struct control_core *c, uint16_t site, uint64_t incarnation)
{
    core_peer_of(c, incarnation, site);
}

/* For one that is behind: the leader may be a member that it does not know, and whose key it
 * shuts out. */
static void send_peers(struct control_core *c, struct core_peer *p)
{
    struct raftwire_frame f = {.kind = RAFTWIRE_PEERS};
    struct raftwire_peer list[LIMIT_MEMBER_RECORDS];
    struct control_members m;
    uint32_t n = 0;
    enum err e = control_members(c->state, &m);

    if (e != OK) {
        core_fail(c, "read_members", e);
        return;
    }
    for (uint32_t i = 0; i < m.count; i++) {
        const struct member *is = &m.members[i];

        if (is->leaving)
            continue;
        list[n] = (struct raftwire_peer){.site = is->site,
                                         .incarnation = is->incarnation,
                                         .has_old_key = is->has_old_key,
                                         .address = str_of(is->control)};
        memcpy(list[n].key, is->key, sizeof list[n].key);
        if (is->has_old_key)
            memcpy(list[n].old_key, is->old_key, sizeof list[n].old_key);
        n++;
    }
    f.peers.index = m.applied;
    f.peers.list = list;
    f.peers.count = n;
    if (n > 0 && m.applied > 0)
        core_send(c, p, &f);
}

/* From a member; it may be removed itself by now, then another one knows better. */
static void learn(struct control_core *c, const struct raftwire_frame *f)
{
    struct control_core_news *news = &c->news;

    if (f->peers.index <= control_applied(c->state) || f->peers.index <= news->index)
        return;
    memset(news, 0, sizeof *news);
    news->index = f->peers.index;
    news->count = f->peers.count;
    for (uint32_t i = 0; i < f->peers.count; i++) {
        const struct raftwire_peer *p = &f->peers.list[i];

        news->peers[i].site = p->site;
        news->peers[i].incarnation = p->incarnation;
        news->peers[i].has_old_key = p->has_old_key;
        memcpy(news->peers[i].key, p->key, sizeof p->key);
        memcpy(news->peers[i].old_key, p->old_key, sizeof p->old_key);
        memcpy(news->peers[i].address, p->address.p, p->address.n);
    }
    c->o.ops.changed(c->o.ops.ctx, CONTROL_CHANGED_MEMBERS);
}

const struct control_core_news *control_core_news(const struct control_core *c)
{
    return &c->news;
}

static void greet(struct control_core *c, struct core_peer *p, const struct raftwire_frame *f)
{
    bool foreign = f->hello.format != RAFTWIRE_FORMAT;

    if (foreign && !p->foreign)
        LOG(EV_CONTROL_FORMAT, L_U64("site", p->site), L_U64("format", f->hello.format),
            L_U64("ours", RAFTWIRE_FORMAT));
    p->foreign = foreign;
    p->greeted = !foreign;
    if (!f->hello.answer)
        send_hello(c, p, true);
    if (!foreign && f->hello.applied < control_applied(c->state))
        send_peers(c, p);
}

/* What is decided comes to a member at once, as entries or as the state, unless it had said
 * that it has them: then the leader has nothing to send. So a log that is older than it was is
 * found out: what it had acknowledged, votes among it, is not here any more. */
static void look_for_gap(struct control_core *c, const struct raftwire_message *m)
{
    if (m->append.count > 0 || m->append.commit <= cs_last(c->cs)) {
        c->gap.since_ms = 0;
        return;
    }
    if (c->gap.since_ms == 0 || c->gap.last != cs_last(c->cs)) {
        c->gap.since_ms = c->now_ms;
        c->gap.last = cs_last(c->cs);
        c->gap.count = 0;
    }
    if (++c->gap.count < GAP_COUNT || c->now_ms < c->gap.since_ms + GAP_MS)
        return;
    LOG(EV_CONTROL_ROLLED_BACK, L_U64("last", cs_last(c->cs)),
        L_U64("decided", m->append.commit));
    core_fail(c, "rolled_back", E_CONFLICT);
}

static void dispatch(struct control_core *c, struct core_peer *p,
                     const struct raftwire_frame *f)
{
    if (f->kind == RAFTWIRE_SNAPSHOT)
        c->gap.since_ms = 0;
    if (f->kind == RAFTWIRE_APPEND)
        look_for_gap(c, &f->message);
    if (c->failed != OK)
        return;
    switch (f->kind) {
    case RAFTWIRE_APPEND:
    case RAFTWIRE_APPEND_RESULT:
    case RAFTWIRE_VOTE:
    case RAFTWIRE_VOTE_RESULT:
    case RAFTWIRE_TIMEOUT_NOW:
        core_run(c, (struct cs_event){.type = CS_EV_RECEIVE, .message = &f->message});
        if (c->update.refused != NULL)
            core_bad_frame(c, f->site, c->update.refused);
        return;
    case RAFTWIRE_SNAPSHOT:
        core_arrival_piece(c, p, f);
        return;
    case RAFTWIRE_SNAPSHOT_ACK:
        core_transfer_acked(c, p, f);
        return;
    case RAFTWIRE_FORWARD:
        core_forward_received(c, f);
        return;
    case RAFTWIRE_FORWARD_ANSWER:
        core_forward_answered(c, f);
        return;
    case RAFTWIRE_PEERS:
        learn(c, f);
        return;
    case RAFTWIRE_HELLO:
        return;
    }
}

/* Not what it claims, or not for us; NULL: well. */
static const char *frame_fault(const struct control_core *c, uint16_t site,
                               uint64_t incarnation, const struct raftwire_frame *f)
{
    const struct store_id *id = ctllog_id(c->log);

    if (memcmp(f->cluster, id->cluster, sizeof id->cluster) != 0)
        return "another cluster";
    if (f->site != site || f->incarnation != incarnation)
        return "it claims to be another member";
    if (f->incarnation == id->incarnation)
        return "it claims to be this node";
    return NULL;
}

void control_core_receive(struct control_core *c, uint16_t site, uint64_t incarnation,
                          struct str bytes, uint64_t now)
{
    struct raftwire_frame f;
    struct core_peer *p;
    struct arena a;
    const char *fault = "bytes that make no frame";

    c->now_ms = now > c->now_ms ? now : c->now_ms;
    if (c->failed != OK || c->stopping)
        return;
    p = core_peer_of(c, incarnation, site);
    if (p == NULL)
        return;
    arena_init(&a, CORE_FRAME_ARENA);
    if (raftwire_decode(bytes, &a, &f) == OK)
        fault = frame_fault(c, site, incarnation, &f);
    if (fault != NULL) {
        core_bad_frame(c, site, fault);
    } else if (f.to == ctllog_id(c->log)->incarnation) { /* else: for one before us */
        p->contact_ms = c->now_ms;
        if (f.kind == RAFTWIRE_HELLO)
            greet(c, p, &f);
        else if (p->greeted)
            dispatch(c, p, &f);
        else if (p->hello_ms == 0 || c->now_ms >= p->hello_ms + HELLO_MS)
            send_hello(c, p, false);
    }
    arena_reset(&a);
    /* Proposals of others gather too, for one fsync: control_core_deadline() is now. */
    if (fault != NULL || f.kind != RAFTWIRE_FORWARD)
        control_core_flush(c, c->now_ms);
}
