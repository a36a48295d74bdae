#include "node/lease_view.h"

static void set_session(struct lease_member *m, const struct session *s)
{
    m->session = s->epoch;
    m->session_ended = s->ended;
    m->session_nonce = s->nonce;
    m->renewal_index = s->renewal_index;
    m->renewal_seq = s->renewal_seq;
    m->duration_ms = s->duration_ms;
}

static const struct session *session_of(const struct control_cluster *c, uint16_t site,
                                        uint64_t incarnation)
{
    for (uint32_t i = 0; i < c->session_count; i++)
        if (c->sessions[i].site == site && c->sessions[i].incarnation == incarnation)
            return &c->sessions[i];
    return NULL;
}

static uint32_t from_members(struct lease_member *out, const struct control_cluster *c)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->member_count; i++) {
        const struct member *m = &c->members[i];
        const struct session *s = session_of(c, m->site, m->incarnation);

        if (m->leaving)
            continue;
        out[n] = (struct lease_member){.site = m->site,
                                       .incarnation = m->incarnation,
                                       .may_hold = m->filled && !m->draining,
                                       .wants_share = m->wants_share};
        if (s != NULL)
            set_session(&out[n], s);
        n++;
    }
    return n;
}

static uint32_t from_sessions(struct lease_member *out, const struct control_cluster *c)
{
    for (uint32_t i = 0; i < c->session_count; i++) {
        out[i] = (struct lease_member){.site = c->sessions[i].site,
                                       .incarnation = c->sessions[i].incarnation,
                                       .may_hold = true};
        set_session(&out[i], &c->sessions[i]);
    }
    return c->session_count;
}

enum err lease_view_read(struct lease_view *v, struct control *c)
{
    enum err e = control_cluster(c, &v->cluster);

    if (e != OK)
        return e;
    v->state = (struct lease_state){
        .applied = v->cluster.applied, .members = v->members, .slots = v->slots};
    v->state.member_count = v->cluster.member_count > 0
                                ? from_members(v->members, &v->cluster)
                                : from_sessions(v->members, &v->cluster);
    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        v->slots[i] = (struct slot_state){.site = v->cluster.slots[i].site,
                                          .epoch = v->cluster.slots[i].epoch,
                                          .wanted_by = v->cluster.slots[i].wanted};
    return OK;
}
