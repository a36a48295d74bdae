/* For lease_test.c: the control state, as far as leases see it, and what entries do to it. The
 * real one is spool/control_cluster.c, which this folder does not know. */
#pragma once

#include <check.h>
#include <string.h>

#include "replication/lease.h"

#define NODES 3

struct state {
    uint64_t applied;
    struct lease_member members[NODES];
    struct slot_state slots[LEASE_SLOTS];
};

static bool may_take(const struct state *s, uint16_t site)
{
    const struct lease_member *m = &s->members[site - 1];

    return site >= 1 && site <= NODES && m->session != 0 && !m->session_ended && m->may_hold;
}

static uint16_t pick(const struct state *s, uint16_t except)
{
    uint32_t load[NODES + 1] = {0};
    uint16_t best = 0;

    for (int i = 0; i < LEASE_SLOTS; i++)
        load[s->slots[i].site]++;
    for (uint16_t site = 1; site <= NODES; site++)
        if (site != except && may_take(s, site) && (best == 0 || load[site] < load[best]))
            best = site;
    return best;
}

static void assign(struct state *s, uint32_t slot, uint16_t to)
{
    s->slots[slot].site = to;
    s->slots[slot].epoch = s->applied;
    if (to == 0 || s->slots[slot].wanted_by == to)
        s->slots[slot].wanted_by = 0;
}

static void spread_free(struct state *s)
{
    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        if (s->slots[i].site == 0 && pick(s, 0) != 0)
            assign(s, i, pick(s, 0));
}

static bool apply_open(struct state *s, const struct session_open *o)
{
    struct lease_member *m = &s->members[o->site - 1];

    if (m->incarnation != o->incarnation || m->session_nonce == o->nonce ||
        m->session != o->after)
        return false;
    m->session = m->renewal_index = s->applied;
    m->renewal_seq = 0;
    m->session_nonce = o->nonce;
    m->session_ended = false;
    m->duration_ms = o->duration_ms;
    m->wants_share = true;
    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        if (s->slots[i].site == o->site)
            assign(s, i, o->site);
    spread_free(s);
    return true;
}

static bool apply_end(struct state *s, const struct session_end *e)
{
    struct lease_member *m = &s->members[e->site - 1];

    if (m->session != e->epoch || m->session_ended ||
        (e->renewal_index != 0 && e->renewal_index != m->renewal_index))
        return false;
    m->session_ended = true;
    for (uint32_t i = 0; i < LEASE_SLOTS; i++) {
        if (s->slots[i].wanted_by == e->site)
            s->slots[i].wanted_by = 0;
        if (s->slots[i].site == e->site)
            assign(s, i, pick(s, e->site));
    }
    return true;
}

static bool apply_release(struct state *s, const struct slot_release *r)
{
    uint16_t holder = s->slots[r->slots[0].slot].site;

    for (uint32_t i = 0; i < r->count; i++)
        if (s->slots[r->slots[i].slot].site != holder ||
            s->slots[r->slots[i].slot].epoch != r->slots[i].epoch)
            return false;
    if (r->to == 0 ? pick(s, holder) == 0 : r->to != holder && !may_take(s, r->to))
        return false;
    for (uint32_t i = 0; i < r->count; i++)
        assign(s, r->slots[i].slot, r->to != 0 ? r->to : pick(s, holder));
    return true;
}

static bool apply_wanted(struct state *s, const struct slot_wanted *w)
{
    if (w->site != 0 && !may_take(s, w->site))
        return false;
    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        if (w->slots[i / 8] >> i % 8 & 1)
            s->slots[i].wanted_by = s->slots[i].site == w->site ? 0 : w->site;
    for (uint16_t site = 1; site <= NODES; site++)
        if (!w->balance || site == w->site)
            s->members[site - 1].wants_share = false;
    return true;
}

static bool apply(struct state *s, const struct command *c)
{
    struct lease_member *m;

    s->applied++;
    switch (c->kind) {
    case COMMAND_SESSION_OPEN:
        return apply_open(s, &c->session_open);
    case COMMAND_SESSION_RENEW:
        m = &s->members[c->session_renew.site - 1];
        if (m->session != c->session_renew.epoch || m->session_ended)
            return false;
        m->renewal_index = s->applied;
        m->renewal_seq = c->session_renew.seq;
        return true;
    case COMMAND_SESSION_END:
        return apply_end(s, &c->session_end);
    case COMMAND_SLOT_RELEASE:
        return apply_release(s, &c->slot_release);
    case COMMAND_SLOT_WANTED:
        return apply_wanted(s, &c->slot_wanted);
    case COMMAND_DRAIN:
        s->members[c->drain.site - 1].may_hold = !c->drain.on;
        if (!c->drain.on)
            spread_free(s);
        return true;
    default: /* the first entry of a term */
        return true;
    }
}
