/* What the console sees; the check of all invariants. */
#include "replication/replica_internal.h"

static void peer_status(const struct replica *r, const struct peer *p,
                        struct replica_peer_status *out)
{
    *out = (struct replica_peer_status){.site = p->site,
                                        .incarnation = p->incarnation,
                                        .is_member = p->incarnation != 0,
                                        .link_up = p->up,
                                        .filled = p->filled || p->filled_sent,
                                        .open = p->up && p->open && p->note_ms != 0,
                                        .last_ack_age_ms = r->now - p->last_ack_ms,
                                        .echo_ms = p->echo_ms,
                                        .queued_bytes = stream_out_bytes(p->out[FRAME_MARKS]) +
                                                        stream_out_bytes(p->out[FRAME_COPIES])};
    for (int i = OWED_MARKS; i < OWED_LISTS; i++)
        out->lacks += p->owed[i].count;
}

void replica_status(const struct replica *r, struct replica_status *out, uint64_t now)
{
    (void)now;
    *out = (struct replica_status){.open = replica_is_open(r),
                                   .filled = r->filled,
                                   .solo = replica_is_solo(r),
                                   .live = r->committed + r->undecided,
                                   .committed = r->committed,
                                   .undecided = r->undecided,
                                   .single = r->single,
                                   .dots = otree_count(&r->dots),
                                   .accepts = otree_count(&r->accepts)};
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        peer_status(r, &r->peers[i], &out->peers[i]);
}

enum err replica_copies_of(const struct replica *r, struct mid id, unsigned *others)
{
    uint32_t h = entry_find(r, id);

    *others = 0;
    if (h == 0 || entry_at(r, h)->state == COPY_ABORTED)
        return E_NOTFOUND;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        *others += entry_at(r, h)->has[i] == COPY_UNDECIDED ||
                   entry_at(r, h)->has[i] == COPY_COMMITTED;
    return OK;
}

static void check_lists(const struct replica *r, const struct peer *p)
{
    for (int which = OWED_MARKS; which < OWED_LISTS; which++) {
        const struct owed *l = &p->owed[which];
        uint32_t count = 0, last = 0;

        for (uint32_t h = l->first; h != 0; h = entry_at(r, h)->link[p->index].next) {
            ASSERT(entry_at(r, h)->list[p->index] == which);
            ASSERT(entry_at(r, h)->link[p->index].prev == last);
            last = h;
            count++;
        }
        ASSERT(l->last == last && l->count == count);
        ASSERT(count == 0 || p->got_have);
    }
}

static void check_entries(const struct replica *r)
{
    uint64_t states[COPY_SETTLED + 1] = {0}, single = 0, fill[REPLICA_PEERS] = {0};

    for (uint32_t h = 1; h <= r->entries.pool.made; h++) {
        const struct entry *e;

        if (!pool_is_taken(&r->entries.pool, h))
            continue;
        e = entry_at(r, h);
        ASSERT(e->state >= COPY_UNDECIDED && e->state <= COPY_COMMITTED);
        ASSERT(!rset_has(&r->settled, e->n.key));
        ASSERT(session_find(r, mid_site(e->n.key), mid_epoch(e->n.key)) != NULL);
        states[e->state]++;
        single += e->is_single;
        for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
            fill[i] += e->fill >> i & 1;
            ASSERT(e->list[i] == OWED_NONE || (e->flying >> i & 1) == 0);
        }
    }
    ASSERT(states[COPY_UNDECIDED] == r->undecided && states[COPY_ABORTED] == r->aborted);
    ASSERT(states[COPY_COMMITTED] == r->committed && single == r->single);
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        ASSERT(fill[i] == r->peers[i].fill_left);
}

void replica_check(const struct replica *r)
{
    uint64_t undecided = 0, aborted = 0, committed = 0;

    otree_check(&r->entries);
    otree_check(&r->sessions);
    otree_check(&r->accepts);
    otree_check(&r->dots);
    rset_check(&r->settled);
    rset_check(&r->decided);
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        rset_check(&r->peers[i].stale);
        rset_check(&r->peers[i].stale_late);
        rset_check(&r->peers[i].ahead[0]);
        rset_check(&r->peers[i].ahead[1]);
        check_lists(r, &r->peers[i]);
    }
    check_entries(r);
    for (uint32_t h = otree_ceil(&r->sessions, (struct mid){{0}}); h != 0;
         h = otree_after(&r->sessions, h)) {
        const struct session *s = otree_at(&r->sessions, h);

        undecided += s->undecided;
        aborted += s->aborted;
        committed += s->committed;
    }
    ASSERT(undecided == r->undecided && aborted == r->aborted && committed == r->committed);
}
