#include "node/control_core_private.h"
#include "spool/control_snapshot.h"

/* --- to a member that is behind --- */

static void transfer_end(struct core_transfer *t)
{
    if (t->snapshot != NULL)
        control_snapshot_close(&t->snapshot);
    *t = (struct core_transfer){.snapshot = NULL};
}

void core_transfers_end(struct control_core *c)
{
    for (size_t i = 0; i < CORE_PEERS; i++)
        transfer_end(&c->peers[i].transfer);
}

static void send_piece(struct control_core *c, struct core_peer *p)
{
    struct core_transfer *t = &p->transfer;
    struct raftwire_frame f = {.kind = RAFTWIRE_SNAPSHOT};
    enum err e = control_snapshot_read(t->snapshot, t->offset, c->piece, sizeof c->piece,
                                       &t->piece_bytes);

    if (e != OK || t->piece_bytes == 0) {
        transfer_end(t); /* the engine asks again */
        return;
    }
    t->sent_ms = c->now_ms;
    f.snapshot.version = t->version;
    f.snapshot.term = t->term;
    f.snapshot.at = t->at;
    f.snapshot.transfer = t->number;
    f.snapshot.applied = control_snapshot_index(t->snapshot);
    f.snapshot.offset = t->offset;
    f.snapshot.last = t->offset + t->piece_bytes == control_snapshot_bytes(t->snapshot);
    f.snapshot.piece = (struct str){(const char *)c->piece, t->piece_bytes};
    core_send(c, p, &f);
}

void core_transfer_begin(struct control_core *c, struct core_peer *p,
                         const struct raftwire_message *m)
{
    struct core_transfer *t = &p->transfer;

    if (t->snapshot != NULL && t->term == m->term && t->at.index == m->install.index)
        return; /* it is on its way; the engine asks again after a while */
    transfer_end(t);
    if (control_snapshot_open(&t->snapshot, c->state) != OK) {
        t->snapshot = NULL; /* logged; the engine asks again */
        return;
    }
    t->number = c->next_transfer++;
    t->term = m->term;
    t->version = m->version;
    t->heard_ms = c->now_ms;
    t->at = m->install;
    memcpy(t->members, m->install.members.p, m->install.members.n);
    t->at.members.p = t->members;
    ASSERT(control_snapshot_index(t->snapshot) >= t->at.index);
    LOG(EV_CONTROL_SNAPSHOT_SENT, L_U64("site", p->site), L_U64("incarnation", p->id),
        L_U64("index", t->at.index), L_U64("bytes", control_snapshot_bytes(t->snapshot)));
    send_piece(c, p);
}

void core_transfer_acked(struct control_core *c, struct core_peer *p,
                         const struct raftwire_frame *f)
{
    struct core_transfer *t = &p->transfer;

    if (t->snapshot == NULL || f->snapshot_ack.transfer != t->number)
        return;
    t->heard_ms = c->now_ms;
    if (f->snapshot_ack.failed) {
        transfer_end(t);
        return;
    }
    if (f->snapshot_ack.offset != t->offset + t->piece_bytes)
        return; /* of a piece before */
    t->offset += t->piece_bytes;
    if (t->offset == control_snapshot_bytes(t->snapshot))
        transfer_end(t);
    else
        send_piece(c, p);
}

void core_transfers_tick(struct control_core *c)
{
    for (size_t i = 0; i < CORE_PEERS && c->failed == OK; i++) {
        struct core_transfer *t = &c->peers[i].transfer;

        if (t->snapshot == NULL)
            continue;
        /* A copy of the state lies on the disk for as long: not for one that is away. */
        if (c->now_ms >= t->heard_ms + CORE_TRANSFER_MS ||
            cs_member_find(cs_members(c->cs), c->peers[i].id) == NULL)
            transfer_end(t);
        else if (c->now_ms >= t->sent_ms + CORE_RETRY_MS)
            send_piece(c, &c->peers[i]);
    }
}

/* --- from the leader --- */

void core_arrival_end(struct control_core *c)
{
    if (c->arrival.restore != NULL)
        control_restore_abort(&c->arrival.restore);
    c->arrival = (struct core_arrival){.restore = NULL};
}

static void ack(struct control_core *c, struct core_peer *p, uint64_t number, uint64_t offset,
                bool failed)
{
    struct raftwire_frame f = {.kind = RAFTWIRE_SNAPSHOT_ACK};

    f.snapshot_ack.transfer = number;
    f.snapshot_ack.offset = offset;
    f.snapshot_ack.failed = failed;
    core_send(c, p, &f);
}

static enum err arrival_begin(struct control_core *c, const struct raftwire_frame *f)
{
    struct core_arrival *a = &c->arrival;

    core_arrival_end(c);
    *a = (struct core_arrival){.from = f->incarnation,
                               .number = f->snapshot.transfer,
                               .applied = f->snapshot.applied,
                               .term = f->snapshot.term,
                               .version = f->snapshot.version,
                               .at = f->snapshot.at};
    memcpy(a->members, f->snapshot.at.members.p, f->snapshot.at.members.n);
    a->at.members.p = a->members;
    return control_restore_begin(&a->restore, c->state);
}

/* All pieces are there: the engine says whether it is wanted. */
static void arrived(struct control_core *c)
{
    struct core_arrival *a = &c->arrival;
    struct raftwire_message m = {.kind = RAFTWIRE_SNAPSHOT,
                                 .peer = a->from,
                                 .version = a->version,
                                 .term = a->term,
                                 .install = a->at};

    core_run(c, (struct cs_event){.type = CS_EV_RECEIVE, .message = &m});
    core_arrival_end(c);
}

void core_arrival_piece(struct control_core *c, struct core_peer *p,
                        const struct raftwire_frame *f)
{
    struct core_arrival *a = &c->arrival;
    bool known =
        a->restore != NULL && a->from == f->incarnation && a->number == f->snapshot.transfer;
    enum err e = OK;

    if (!known && f->snapshot.offset != 0) {
        ack(c, p, f->snapshot.transfer, 0, true); /* its beginning was lost, with our memory */
        return;
    }
    if (!known)
        e = arrival_begin(c, f);
    if (e == OK && f->snapshot.offset == a->offset) {
        e = control_restore_write(a->restore, f->snapshot.piece);
        a->offset += f->snapshot.piece.n;
    }
    if (e == E_IO) {
        core_fail(c, "restore", e);
        return;
    }
    if (e != OK) {
        core_arrival_end(c);
        ack(c, p, f->snapshot.transfer, 0, true);
        if (e == E_PROTO)
            core_bad_frame(c, p->site, "a snapshot that makes no sense");
        return;
    }
    ack(c, p, a->number, a->offset, false);
    if (f->snapshot.last && f->snapshot.offset + f->snapshot.piece.n == a->offset)
        arrived(c);
}

static enum err install(struct control_core *c)
{
    struct core_arrival *a = &c->arrival;
    uint64_t have = control_applied(c->state);
    enum err e =
        ctllog_install_begin(c->log, &c->update.install, have > a->applied ? have : a->applied);

    if (e != OK)
        return e;
    if (a->applied > have)
        e = control_restore_commit(&a->restore);
    if (e == OK && control_applied(c->state) >= c->update.install.index)
        return ctllog_install_end(c->log);
    if (e == OK)
        e = E_PROTO; /* it is older than it says */
    return ctllog_install_drop(c->log) == OK ? e : E_IO;
}

static uint16_t site_of(struct control_core *c, uint64_t id)
{
    const struct core_peer *p = core_peer_find(c, id);

    return p != NULL ? p->site : 0;
}

/* The state first, then the log: after a crash in between the log still says what to do. */
void core_install(struct control_core *c)
{
    enum err e = install(c);

    if (e == OK || e == E_FULL)
        core_set_full(c, e == E_FULL);
    if (e == E_PROTO || e == E_CONFLICT)
        core_bad_frame(c, site_of(c, c->arrival.from), "a snapshot that makes no sense");
    if (e == E_FULL || e == E_PROTO || e == E_CONFLICT) {
        core_follow_up(c, (struct cs_event){.type = CS_EV_STORE_FULL});
        return;
    }
    if (e == OK)
        e = core_clock_again(c);
    if (e != OK) {
        core_fail(c, "install", e);
        return;
    }
    LOG(EV_CONTROL_SNAPSHOT_TAKEN, L_U64("index", ctllog_snapshot(c->log)->index),
        L_U64("applied", control_applied(c->state)));
    c->tend_ms = c->now_ms;
    c->lease_stale = true;
    core_requests_applied(c, control_applied(c->state));
    core_follow_up(c, (struct cs_event){.type = CS_EV_SNAPSHOT_PERSISTED,
                                        .index = control_applied(c->state)});
    c->o.ops.changed(c->o.ops.ctx, CONTROL_CHANGED_ALL);
}
