#include "node/control_core_private.h"

#define TEND_MS 500

static void change(struct control_core *c, enum cs_change what, const struct cs_member *m)
{
    static const char *const texts[] = {
        [CS_ADD] = "add", [CS_PROMOTE] = "promote", [CS_REMOVE] = "remove"};

    LOG(EV_CONTROL_MEMBER, L_CSTR("change", texts[what]), L_U64("site", m->site),
        L_U64("incarnation", m->id));
    core_run(c, (struct cs_event){.type = CS_EV_MEMBER, .change = what, .member = *m});
}

static const struct member *wanted(const struct control_members *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (w->members[i].incarnation == id && !w->members[i].leaving)
            return &w->members[i];
    return NULL;
}

/* Removing comes first: one that is gone for ever counts in every majority until then. */
static bool remove_one(struct control_core *c, const struct control_members *w)
{
    const struct cs_members *have = cs_members(c->cs);
    bool self = false;

    for (uint32_t i = 0; i < have->count; i++) {
        if (wanted(w, have->list[i].id) != NULL)
            continue;
        if (have->list[i].id == ctllog_id(c->log)->incarnation) {
            self = true;
            continue;
        }
        change(c, CS_REMOVE, &have->list[i]);
        return true;
    }
    if (self) /* another one removes us */
        core_run(c, (struct cs_event){.type = CS_EV_TRANSFER});
    return self;
}

/* The members of the log become those of the state, one change at a time; the leader tends. */
void core_members_tend(struct control_core *c)
{
    const struct cs_members *have = cs_members(c->cs);
    struct control_members w;
    enum err e;

    if (!cs_leads(c->cs) || c->now_ms < c->tend_ms)
        return;
    c->tend_ms = c->now_ms + TEND_MS;
    if (cs_is_changing(c->cs) || cs_applied(c->cs) < cs_term_start(c->cs))
        return;
    e = control_members(c->state, &w);
    if (e != OK) {
        core_fail(c, "read_members", e);
        return;
    }
    if (w.count == 0 || remove_one(c, &w)) /* none: a node alone, without a cluster */
        return;
    for (uint32_t i = 0; i < w.count; i++) {
        const struct cs_member *m = cs_member_find(have, w.members[i].incarnation);
        struct cs_member add = {w.members[i].incarnation, w.members[i].site, CS_SPARE};

        if (w.members[i].leaving || (m != NULL && m->role == CS_VOTER))
            continue;
        change(c, m == NULL ? CS_ADD : CS_PROMOTE, m == NULL ? &add : m);
        return;
    }
}
