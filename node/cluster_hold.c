/* Which domains this node delivers, and how they are given away. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "node/cluster_private.h"
#include "node/smtp_thread.h"

#define NAME_AGAIN_MS 5000

static bool lease_counts(const struct control_lease *l)
{
    return l->has_members && l->session != 0 && !l->is_over &&
           l->valid_until_ms > clock_boot_ms();
}

static bool is_leaving(const struct control_lease *l, uint32_t slot)
{
    return (l->leaving[slot / 64] >> slot % 64 & 1) != 0;
}

bool cluster_holds(const struct cluster *c, struct str domain, uint64_t *epoch)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES];
    struct str name;
    uint64_t ignored;

    if (!cluster_is_member(c))
        return true;
    if (c->draining || domain.n > sizeof buf)
        return false;
    name = str_lower(domain, buf, sizeof buf);
    return holding_of(c->holding, name, control_slot_of(name),
                      epoch != NULL ? epoch : &ignored);
}

bool cluster_is_fresh_here(const struct cluster *c, struct str domain)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES];
    struct str name = str_lower(domain, buf, sizeof buf);

    return clock_boot_ms() <
           holding_since(c->holding, name, control_slot_of(name)) + LIMIT_FOREIGN_DOT_MS;
}

/* --- the view --- */

/* What has ended and is older than the slot's own epoch says nothing any more. */
static void view_places(struct cluster *c, struct control *control, const struct slot *slots)
{
    char after[LIMIT_SMTP_DOMAIN_BYTES];
    struct str name = {after, 0};
    struct arena arena;
    struct placement p;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    while (control_placement_next(control, name, &arena, &p) == OK) {
        bool counts = p.site != 0 || p.epoch > slots[control_slot_of(p.domain)].epoch;

        if (counts && holding_place(c->holding, p.domain, p.site, p.epoch) != OK)
            LOG(EV_SHED, L_CSTR("limit", "placements"), L_STR("domain", p.domain));
        name = str_lower(p.domain, after, sizeof after);
        arena_reset(&arena);
        arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    }
    arena_reset(&arena);
}

/* False: it cannot be read; the view stays what it was. */
static bool view(struct cluster *c, const struct control_lease *lease, bool *changed)
{
    struct control *control = control_thread_state(c->node->control);
    struct slot slots[CONTROL_SLOTS];

    if (control_slots(control, slots) != OK)
        return false;
    holding_begin(c->holding, clock_boot_ms());
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
        if (slots[i].site != 0)
            holding_slot(c->holding, i, slots[i].site, slots[i].epoch, is_leaving(lease, i));
    view_places(c, control, slots);
    *changed = holding_end(c->holding);
    c->some_leaving = false;
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        if (holding_leaving(c->holding, i) == 0)
            c->quiet_said[i] = 0; /* it may be asked for again */
        else
            c->some_leaving = true;
    }
    return true;
}

/* They wait in the queues of connections; one that has begun stays there. */
void cluster_recall(struct cluster *c, struct str cut_domain)
{
    for (struct delivery_job *j = c->jobs; j != NULL; j = j->all_next) {
        struct conn_order *o;

        if (j->conn == 0 || cluster_holds(c, j->env.domain, NULL))
            continue;
        o = calloc(1, sizeof *o);
        ASSERT(o != NULL);
        o->mail.kind = SMTP_MAIL_RECALL;
        o->conn = j->conn;
        o->id = j->env.id;
        o->cuts = str_eq_nocase(j->env.domain, cut_domain);
        mailbox_answer(c->node->smtp[j->conn % c->node->smtp_count]->box, &o->mail);
    }
}

static void say_holding(struct cluster *c)
{
    uint32_t slots = 0, leaving = 0;

    for (uint32_t i = 0; i < HOLDING_SLOTS; i++) {
        slots += holding_home(c->holding, i) == c->node->site;
        leaving += holding_leaving(c->holding, i) != 0;
    }
    LOG(EV_HOLDING, L_U64("slots", holding_has_lease(c->holding) ? slots : 0),
        L_U64("leaving", leaving), L_U64("lease", holding_has_lease(c->holding)));
}

void cluster_hold_look(struct cluster *c)
{
    struct control_lease lease;
    bool changed = false;

    if (!cluster_is_member(c))
        return;
    control_thread_lease(c->node->control, &lease);
    memcpy(c->leaving, lease.leaving, sizeof c->leaving);
    if (!view(c, &lease, &changed))
        return;
    changed |= holding_lease(c->holding, lease_counts(&lease));
    cluster_reach_view(c);
    if (!changed)
        return;
    c->views++;
    say_holding(c);
    cluster_domains_held(c);
    cluster_digest_owe(c);
    cluster_dsn_walk(c);
    cluster_operate_look(c);
    cluster_recall(c, STR_NONE);
}

/* --- giving away --- */

/* No dot of this slot is open, asked for, or without an outcome that a peer has. */
static void say_quiet(struct cluster *c)
{
    bool busy[HOLDING_SLOTS] = {false}, is_told;

    if (!c->some_leaving)
        return;
    for (const struct delivery_job *j = c->jobs; j != NULL; j = j->all_next)
        busy[j->slot] = true;
    is_told = replica_thread_outcomes_told(c->node->replica);
    for (uint32_t i = 0; i < HOLDING_SLOTS; i++) {
        uint64_t epoch = holding_leaving(c->holding, i);

        if (epoch != 0 && c->quiet_said[i] != epoch && !busy[i] && is_told) {
            c->quiet_said[i] = epoch;
            control_thread_quiet(c->node->control, i, epoch);
        }
    }
}

/* The stop: nothing is under way, in or out, and nothing will be. */
static void say_all_quiet(struct cluster *c)
{
    if (!c->draining || c->all_quiet_said || c->jobs != NULL ||
        atomic_load(&c->node->sessions) > 0 || replica_thread_pending(c->node->replica) > 0 ||
        !replica_thread_outcomes_told(c->node->replica))
        return;
    c->all_quiet_said = true;
    control_thread_quiet_all(c->node->control);
}

/* The host name of this site, for the MX records that any member tells. */
static void say_name(struct cluster *c)
{
    struct control *control = control_thread_state(c->node->control);
    char key[NODE_HOSTNAME_SETTING_BYTES];
    struct snapshot_ref *ref;
    struct arena arena;
    struct setting s;
    struct str name;
    enum err e;

    if (c->is_named || !holding_has_lease(c->holding) || clock_boot_ms() < c->name_again_ms)
        return;
    snprintf(key, sizeof key, NODE_HOSTNAME_SETTING, (unsigned)c->node->site);
    name = str_of(cluster_settings(c, &ref)->config->hostname);
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_setting_get(control, str_of(key), &arena, &s);
    c->is_named = e == OK && str_eq(s.value, name);
    if (!c->is_named && (e == OK || e == E_NOTFOUND))
        cluster_propose(c, &(struct command){.kind = COMMAND_SETTING_PUT,
                                             .setting_put = {str_of(key), name}});
    c->name_again_ms = clock_boot_ms() + NAME_AGAIN_MS;
    arena_reset(&arena);
    snapshot_release(&ref);
}

void cluster_hold_beat(struct cluster *c)
{
    struct control_lease lease;

    if (!cluster_is_member(c) || c->ended)
        return;
    control_thread_lease(c->node->control, &lease);
    if (lease_counts(&lease) != holding_has_lease(c->holding) ||
        memcmp(c->leaving, lease.leaving, sizeof c->leaving) != 0)
        cluster_hold_look(c); /* the notice may come before what it is about can be seen */
    say_quiet(c);
    say_all_quiet(c);
    say_name(c);
    cluster_dsn_step(c);
}

/* --- life --- */

void cluster_hold_begin(struct cluster *c)
{
    if (!cluster_is_member(c))
        return;
    c->holding = holding_new(c->node->site, prng_next(&c->rng));
    ASSERT(c->holding != NULL);
    cluster_hold_look(c);
}

void cluster_hold_end(struct cluster *c)
{
    if (c->holding != NULL)
        holding_free(&c->holding);
}
