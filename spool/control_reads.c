/* Members, their sessions, slots and placements: reads, each a transaction of its own. */
#include <xxhash.h>

#include "spool/control_internal.h"

uint32_t control_slot_of(struct str domain_name)
{
    return (uint32_t)(XXH3_64bits(domain_name.p, domain_name.n) % CONTROL_SLOTS);
}

/* The first record behind (site, incarnation). */
static enum err next_member(struct ctlkv_txn *t, uint16_t site, uint64_t incarnation,
                            struct member *out)
{
    char key[MEMBER_KEY_SIZE];
    struct str found, payload;
    struct member_rec r;
    enum err e =
        ctlkv_next(t, T_MEMBER, control_member_key(key, site, incarnation), &found, &payload);

    if (e == OK)
        e = control_member_of(t, found, payload, &r);
    *out = e == OK ? r.m : (struct member){.site = 0};
    return e;
}

enum err control_member_next(struct control *c, uint16_t site, uint64_t incarnation,
                             struct member *out)
{
    struct ctlkv_txn t;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = next_member(&t, site, incarnation, out);
    ctlkv_abort(&t);
    return e;
}

enum err control_member_get(struct control *c, uint16_t site, struct member *out)
{
    struct ctlkv_txn t;
    uint64_t after = 0;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    do {
        e = next_member(&t, site, after, out);
        after = out->incarnation;
        if (e == OK && out->site != site)
            e = E_NOTFOUND;
    } while (e == OK && out->leaving);
    ctlkv_abort(&t);
    return e;
}

/* Into memory of its own: it is larger than what belongs on a stack. */
static enum err read_view(struct control *c, struct arena *a, bool slots, struct view **out,
                          uint64_t *applied)
{
    struct ctlkv_txn t;
    enum err e;

    arena_init(a, sizeof **out + KiB);
    *out = arena_take(a, sizeof **out);
    if (*out == NULL)
        return E_FULL;
    ctlkv_begin(&t, &c->kv, false);
    if (slots)
        control_load_view(*out, &t);
    else
        control_load_people(*out, &t);
    e = t.first_err;
    if (e == OK)
        e = control_get_meta_u64(&t, KEY_APPLIED, applied);
    ctlkv_abort(&t);
    return e;
}

static void copy_members(const struct view *v, struct member *out, uint32_t *count)
{
    *count = v->member_count;
    for (uint32_t i = 0; i < v->member_count; i++)
        out[i] = v->members[i].m;
}

static void copy_sessions(const struct view *v, struct session *out, uint32_t *count)
{
    *count = v->session_count;
    for (uint32_t i = 0; i < v->session_count; i++)
        out[i] = v->sessions[i];
}

enum err control_members(struct control *c, struct control_members *out)
{
    struct arena a;
    struct view *v;
    uint64_t applied = 0;
    enum err e = read_view(c, &a, false, &v, &applied);

    *out = (struct control_members){.applied = applied};
    if (e == OK)
        copy_members(v, out->members, &out->count);
    arena_reset(&a);
    return e;
}

enum err control_sessions(struct control *c, struct session out[LIMIT_SITES], uint32_t *count)
{
    struct arena a;
    struct view *v;
    uint64_t applied;
    enum err e = read_view(c, &a, false, &v, &applied);

    *count = 0;
    if (e == OK)
        copy_sessions(v, out, count);
    arena_reset(&a);
    return e;
}

enum err control_cluster(struct control *c, struct control_cluster *out)
{
    struct arena a;
    struct view *v;
    enum err e = read_view(c, &a, true, &v, &out->applied);

    out->member_count = out->session_count = 0;
    if (e == OK) {
        copy_members(v, out->members, &out->member_count);
        copy_sessions(v, out->sessions, &out->session_count);
        for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
            out->slots[i] = v->slots[i].s;
    }
    arena_reset(&a);
    return e;
}

enum err control_session(struct control *c, uint16_t site, struct session *out)
{
    struct session all[LIMIT_SITES];
    uint32_t count;
    enum err e = control_sessions(c, all, &count);

    *out = (struct session){.site = site};
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].site == site) {
            *out = all[i];
            return e;
        }
    }
    return e != OK ? e : E_NOTFOUND;
}

bool control_session_sealed(struct control *c, uint16_t site, uint64_t epoch)
{
    struct ctlkv_txn t;
    struct session s;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = control_get_session(&t, site, &s);
    ctlkv_abort(&t);
    return e == OK && (s.epoch > epoch || (s.epoch == epoch && s.ended));
}

enum err control_slot(struct control *c, uint32_t slot, struct slot *out)
{
    struct ctlkv_txn t;
    struct slot_rec r;
    enum err e;

    ASSERT(slot < CONTROL_SLOTS);
    ctlkv_begin(&t, &c->kv, false);
    e = control_get_slot(&t, slot, &r);
    ctlkv_abort(&t);
    *out = r.s;
    return e == OK && r.s.site == 0 ? E_NOTFOUND : e;
}

enum err control_slots(struct control *c, struct slot out[CONTROL_SLOTS])
{
    struct ctlkv_txn t;
    enum err e = OK;

    ctlkv_begin(&t, &c->kv, false);
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        struct slot_rec r;

        e = e == OK ? control_get_slot(&t, i, &r) : e;
        out[i] = e == OK ? r.s : (struct slot){.site = 0};
    }
    ctlkv_abort(&t);
    return e;
}

/* The records that say who delivers a domain. */
static enum err read_domain(struct control *c, struct str domain, struct placement_rec *p,
                            struct slot_rec *slot)
{
    struct ctlkv_txn t;
    enum err e;

    *slot = (struct slot_rec){.s = {.site = 0}};
    ctlkv_begin(&t, &c->kv, false);
    e = control_get_placement(&t, domain, p);
    if (e == OK)
        e = control_get_slot(&t, control_slot_of(domain), slot);
    ctlkv_abort(&t);
    return e;
}

enum err control_holder(struct control *c, struct str domain, uint16_t *site, uint64_t *epoch)
{
    struct placement_rec p;
    struct slot_rec slot;
    enum err e = read_domain(c, domain, &p, &slot);

    control_effective(&p, &slot.s, site, epoch);
    return e == OK && *site == 0 ? E_NOTFOUND : e;
}

bool control_released(struct control *c, struct str domain, uint64_t epoch)
{
    struct placement_rec p;
    struct slot_rec slot;

    if (read_domain(c, domain, &p, &slot) != OK)
        return false;
    /* After a placement's end the slot's holder delivers under the epoch of that end: closed
     * with the assignment of the slot that it was under. */
    if (p.site == 0 && p.epoch == epoch && control_remembers(slot.released, p.slot_epoch))
        return true;
    return control_remembers(p.released, epoch) || control_remembers(slot.released, epoch);
}

enum err control_placement_next(struct control *c, struct str after, struct arena *a,
                                struct placement *out)
{
    struct ctlkv_txn t;
    struct str key, payload;
    struct placement_rec r;
    enum err e;

    *out = (struct placement){.domain = STR_NONE};
    ctlkv_begin(&t, &c->kv, false);
    e = ctlkv_next(&t, T_PLACEMENT, after, &key, &payload);
    if (key.n > 0)
        out->domain = arena_str(a, key);
    if (e == OK && payload.n != PLACEMENT_BYTES)
        e = control_senseless(&t, T_PLACEMENT, key);
    if (e == OK) {
        control_placement_of(payload, &r);
        out->site = r.site;
        out->epoch = r.epoch;
        e = out->domain.p == NULL ? E_FULL : OK;
    }
    ctlkv_abort(&t);
    return e;
}
