#include "node/control_core_private.h"

#define DURATION_MS      10000
#define RENEW_MS         3000
#define NEAR_DURATION_MS 6000
#define NEAR_RENEW_MS    2000

enum err core_lease_init(struct control_core *c)
{
    uint32_t ms = c->o.session_ms;

    if (ms == 0)
        ms = c->o.near_sites ? NEAR_DURATION_MS : DURATION_MS;
    c->lease_stale = true;
    c->lease = lease_new(
        &(struct lease_options){.site = c->o.site,
                                .incarnation = ctllog_id(c->log)->incarnation,
                                .duration_ms = ms,
                                .renew_ms = c->o.near_sites ? NEAR_RENEW_MS : RENEW_MS,
                                .nonce = c->o.seed | 1});
    return c->lease != NULL ? OK : E_FULL;
}

/* What other threads look at; they are told when it is another. */
static void show(struct control_core *c)
{
    uint8_t leaving[LEASE_SLOTS / 8] = {0};
    uint64_t session = lease_session(c->lease);
    bool over = lease_is_over(c->lease);

    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        if (lease_is_leaving(c->lease, i))
            leaving[i / 8] = (uint8_t)(leaving[i / 8] | 1u << i % 8);
    if (session == c->session && over == c->over &&
        memcmp(leaving, c->leaving, sizeof leaving) == 0)
        return;
    c->session = session;
    c->over = over;
    memcpy(c->leaving, leaving, sizeof leaving);
    c->o.ops.changed(c->o.ops.ctx, CONTROL_CHANGED_LEASE);
}

void core_lease_pump(struct control_core *c)
{
    struct lease_want want = {.count = 0};
    uint64_t now;
    enum err e;

    if (c->failed != OK || c->stopping || c->blocked)
        return;
    if (!c->lease_stale && c->now_ms < core_lease_deadline(c))
        return;
    c->lease_stale = false;
    now = c->o.ops.now != NULL ? c->o.ops.now(c->o.ops.ctx) : c->now_ms;
    c->now_ms = now > c->now_ms ? now : c->now_ms;
    e = lease_view_read(&c->view, c->state);
    if (e != OK) {
        core_fail(c, "read_leases", e);
        return;
    }
    c->has_members = c->view.cluster.member_count > 0;
    if (!c->has_members)
        return;
    lease_step(c->lease, &c->view.state, cs_leads(c->cs),
               cs_leads(c->cs) ? cs_term_start(c->cs) : 0, c->now_ms, &want);
    for (uint32_t i = 0; i < want.count; i++)
        core_propose_own(c, &want.commands[i]);
    show(c);
}

void core_lease_answered(struct control_core *c, enum command_kind kind, enum err e)
{
    if (e != OK)
        lease_failed(c->lease, kind, c->now_ms);
}

uint64_t core_lease_deadline(const struct control_core *c)
{
    if (c->blocked)
        return UINT64_MAX;
    if (c->lease_stale)
        return c->now_ms;
    return c->has_members ? lease_deadline(c->lease) : UINT64_MAX;
}

/* --- for the shell --- */

bool control_core_has_members(const struct control_core *c)
{
    return c->has_members;
}

uint64_t control_core_session(const struct control_core *c)
{
    return lease_session(c->lease);
}

uint64_t control_core_valid_until(const struct control_core *c)
{
    return lease_valid_until(c->lease);
}

bool control_core_is_leaving(const struct control_core *c, uint32_t slot)
{
    return lease_is_leaving(c->lease, slot);
}

bool control_core_is_over(const struct control_core *c)
{
    return lease_is_over(c->lease);
}

void control_core_quiet(struct control_core *c, uint32_t slot, uint64_t epoch, uint64_t now)
{
    lease_quiet(c->lease, slot, epoch);
    c->lease_stale = true; /* many slots get quiet in one turn: one command for all */
    c->now_ms = now > c->now_ms ? now : c->now_ms;
}

void control_core_drain(struct control_core *c, bool on, uint64_t now)
{
    lease_drain(c->lease, on);
    c->lease_stale = true;
    control_core_flush(c, now);
}

void control_core_leave(struct control_core *c, uint64_t now)
{
    lease_stop(c->lease);
    c->lease_stale = true;
    control_core_flush(c, now);
}

void control_core_quiet_all(struct control_core *c, uint64_t now)
{
    lease_quiet_all(c->lease);
    c->lease_stale = true;
    control_core_flush(c, now);
}
