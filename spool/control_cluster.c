/* Members, their sessions, slots and placements: what entries do to them. */
#include "base/fault.h"
#include "spool/control_internal.h"

/* --- assignment --- */

static void remember(uint64_t released[CONTROL_RELEASED], uint64_t epoch)
{
    for (int i = CONTROL_RELEASED - 1; i > 0; i--)
        released[i] = released[i - 1];
    released[0] = epoch;
}

/* Where a slot goes: the least loaded session that may hold, and of equals the lowest site; one
 * that drains only when there is no other; never `except`. NULL: nobody. */
static struct session *pick(struct view *v, uint16_t except)
{
    struct session *best = NULL;

    for (int drained = 0; drained < 2 && best == NULL; drained++) {
        for (uint32_t i = 0; i < v->session_count; i++) {
            struct session *s = &v->sessions[i];
            bool is_fit = drained != 0 ? control_is_able(v, s) : s->may_hold;

            if (is_fit && s->site != except &&
                (best == NULL || v->load[i] < v->load[best - v->sessions]))
                best = s;
        }
    }
    return best;
}

/* The slot passes to `to` (NULL: to nobody) under the index of this entry. */
static void assign(struct control_step *s, struct view *v, uint32_t slot, struct session *to,
                   bool released)
{
    struct slot_rec *r = &v->slots[slot];
    struct session *from = control_session_at(v, r->s.site);

    if (released)
        remember(r->released, r->s.epoch);
    if (from != NULL)
        v->load[from - v->sessions]--;
    if (to != NULL)
        v->load[to - v->sessions]++;
    if (to == NULL || r->s.wanted == to->site)
        r->s.wanted = 0;
    r->s.site = to != NULL ? to->site : 0;
    r->s.epoch = s->index;
    control_put_slot(s->txn, slot, r);
}

static void spread_free(struct control_step *s, struct view *v)
{
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        struct session *to = v->slots[i].s.site == 0 ? pick(v, 0) : NULL;

        if (to != NULL)
            assign(s, v, i, to, false);
    }
}

static void forget_wishes(struct control_step *s, struct view *v, uint16_t site)
{
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        if (v->slots[i].s.wanted == site) {
            v->slots[i].s.wanted = 0;
            control_put_slot(s->txn, i, &v->slots[i]);
        }
    }
}

/* The domain goes back to the slot's holder, under the index of this entry. */
static void end_placement(struct control_step *s, struct view *v, struct str domain,
                          struct placement_rec *r, bool released)
{
    if (released)
        remember(r->released, r->epoch);
    r->site = 0;
    r->epoch = s->index;
    r->slot_epoch = v->slots[control_slot_of(domain)].s.epoch;
    control_put_placement(s->txn, domain, r);
}

/* All placements at a site: they end, or (`keep`) go on under the index of this entry. After
 * the slots have found their holders. */
static void move_placements(struct control_step *s, struct view *v, uint16_t site, bool keep,
                            bool released)
{
    struct str after = STR_NONE, found, payload;
    char key[CTLKV_KEY_BYTES];

    while (ctlkv_next(s->txn, T_PLACEMENT, after, &found, &payload) == OK) {
        struct placement_rec r;

        if (payload.n != PLACEMENT_BYTES || found.n > sizeof key) {
            if (control_senseless(s->txn, T_PLACEMENT, found) != OK)
                return;
        }
        control_placement_of(payload, &r);
        memcpy(key, found.p, found.n);
        after = (struct str){key, found.n};
        if (r.site != site)
            continue;
        if (!keep) {
            end_placement(s, v, after, &r, released);
            continue;
        }
        r.epoch = s->index;
        control_put_placement(s->txn, after, &r);
    }
}

/* A session is over. All it held finds another holder in this entry. */
static void end_session(struct control_step *s, struct view *v, struct session *old,
                        bool released)
{
    old->ended = true;
    control_judge_sessions(v);
    control_put_session(s->txn, old);
    forget_wishes(s, v, old->site);
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
        if (v->slots[i].s.site == old->site)
            assign(s, v, i, pick(v, old->site), released);
    move_placements(s, v, old->site, false, released);
}

/* --- apply: sessions --- */

static void set_eligible(struct control_step *s, struct member_rec *m)
{
    if (m == NULL)
        return;
    m->eligible = s->index;
    control_put_member(s->txn, m);
}

static bool refuse_opening(struct control_step *s, struct view *v, const struct session_open *o)
{
    const struct member_rec *m = control_member_at(v, o->site);
    const struct session *old = control_session_at(v, o->site);
    bool is_same = old != NULL && old->incarnation == o->incarnation;

    if (v->member_count > 0 && (m == NULL || m->m.incarnation != o->incarnation))
        control_refuse(s, E_CONFLICT, "not a member of the cluster, or replaced");
    else if (is_same && o->nonce != 0 && old->nonce == o->nonce)
        control_refuse(s, E_EXISTS, "this session was opened already");
    else if (o->nonce != 0 && o->after != (is_same ? old->epoch : 0))
        control_refuse(s, E_CONFLICT, "another session of the site was opened meanwhile");
    else if (old == NULL && v->session_count >= LIMIT_SITES)
        control_refuse(s, E_FULL, "too many sites");
    return s->result.err != OK;
}

static void apply_session_open(struct control_step *s, struct view *v,
                               const struct session_open *o)
{
    struct session *own;
    bool holds;

    if (refuse_opening(s, v, o))
        return;
    own = control_session_at(v, o->site);
    if (own == NULL)
        own = &v->sessions[v->session_count++];
    *own = (struct session){.site = o->site,
                            .epoch = s->index,
                            .incarnation = o->incarnation,
                            .duration_ms = o->duration_ms,
                            .nonce = o->nonce,
                            .renewal_index = s->index};
    control_judge_sessions(v);
    control_put_session(s->txn, own);
    holds = own->may_hold;
    /* What the old session held stays at the site, under a new epoch: its process is over, so
     * nobody waits for its dots. A draining site gives it away at once instead. */
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
        if (v->slots[i].s.site == o->site)
            assign(s, v, i, holds ? own : pick(v, 0), false);
    move_placements(s, v, o->site, holds, false);
    spread_free(s, v);
    if (control_is_able(v, own))
        set_eligible(s, control_member_at(v, o->site));
}

static void apply_session_renew(struct control_step *s, const struct session_renew *r)
{
    struct session have;
    enum err e = control_get_session(s->txn, r->site, &have);

    if (e == E_NOTFOUND ||
        (e == OK && (have.epoch != r->epoch || (have.ended && !FAULT(RENEW_ENDED))))) {
        control_refuse(s, E_CONFLICT, "the session is over");
    } else if (e == OK) {
        have.renewal_index = s->index;
        have.renewal_seq = r->seq;
        have.ended = have.ended && !FAULT(RENEW_ENDED);
        control_put_session(s->txn, &have);
    }
}

static void apply_session_end(struct control_step *s, struct view *v,
                              const struct session_end *o)
{
    struct session *old = control_session_at(v, o->site);

    if (old == NULL || old->epoch != o->epoch || old->ended)
        control_refuse(s, E_CONFLICT, "the session is over");
    else if (o->renewal_index != 0 && o->renewal_index != old->renewal_index)
        control_refuse(s, E_CONFLICT, "the session was renewed meanwhile");
    else
        end_session(s, v, old, o->renewal_index == 0);
}

/* --- apply: members --- */

static bool is_key_of_another(struct view *v, const uint8_t key[MEMBER_KEY_BYTES],
                              uint16_t site)
{
    for (uint32_t i = 0; i < v->member_count; i++) {
        const struct member *m = &v->members[i].m;

        if (m->site != site && !m->leaving &&
            (memcmp(m->key, key, MEMBER_KEY_BYTES) == 0 ||
             (m->has_old_key && memcmp(m->old_key, key, MEMBER_KEY_BYTES) == 0)))
            return true;
    }
    return false;
}

static uint32_t present_count(struct view *v)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < v->member_count; i++)
        n += !v->members[i].m.leaving;
    return n;
}

static bool refuse_member(struct control_step *s, struct view *v, const struct member_add *m)
{
    bool is_first = v->member_count == 0;

    if (is_first != (m->incarnation != 0))
        control_refuse(s, E_CONFLICT,
                       is_first ? "the first member brings its incarnation"
                                : "an incarnation is given by the log");
    else if (is_key_of_another(v, m->key, m->site))
        control_refuse(s, E_EXISTS, "another member has this key");
    else if (control_member_at(v, m->site) == NULL && present_count(v) >= LIMIT_CLUSTER_MEMBERS)
        control_refuse(s, E_FULL, "a cluster has three members; remove one first");
    else if (v->member_count >= LIMIT_MEMBER_RECORDS)
        control_refuse(s, E_FULL, "replaced members are not yet forgotten; try again later");
    for (uint32_t i = 0; i < v->member_count; i++)
        if (v->members[i].m.incarnation == s->index) /* the first one chose its own */
            control_refuse(s, E_CONFLICT, "the incarnation is in use; try again");
    return s->result.err != OK;
}

static void copy_address(char to[LIMIT_ADDRESS_BYTES + 1], struct str from)
{
    bool fits = str_to_z(from, to, LIMIT_ADDRESS_BYTES + 1);

    ASSERT(fits);
}

static void apply_member_add(struct control_step *s, struct view *v, const struct member_add *m)
{
    struct member_rec *old, *r;
    bool is_first = v->member_count == 0;

    if (refuse_member(s, v, m))
        return;
    old = control_member_at(v, m->site);
    if (old != NULL) {
        struct session *session = control_session_at(v, m->site);

        old->m.leaving = true;
        control_put_member(s->txn, old);
        if (session != NULL && !session->ended)
            end_session(s, v, session, false);
    }
    r = &v->members[v->member_count++];
    *r = (struct member_rec){.m = {.site = m->site,
                                   .incarnation = is_first ? m->incarnation : s->index,
                                   .filled = is_first, /* there is nothing to be filled from */
                                   .added = s->index},
                             .eligible = is_first ? s->index : 0,
                             .balanced = is_first ? s->index : 0};
    memcpy(r->m.key, m->key, MEMBER_KEY_BYTES);
    copy_address(r->m.control, m->control);
    copy_address(r->m.data, m->data);
    control_put_member(s->txn, r);
}

/* The record of an incarnation; NULL: refused. */
static struct member_rec *find_member(struct control_step *s, struct view *v, uint16_t site,
                                      uint64_t incarnation)
{
    for (uint32_t i = 0; i < v->member_count; i++)
        if (v->members[i].m.site == site && v->members[i].m.incarnation == incarnation)
            return &v->members[i];
    control_refuse(s, E_NOTFOUND, "no such member");
    return NULL;
}

static void apply_member_remove(struct control_step *s, struct view *v,
                                const struct member_remove *m)
{
    struct member_rec *r = find_member(s, v, m->site, m->incarnation);
    struct session *session = control_session_at(v, m->site);
    char key[MEMBER_KEY_SIZE];

    if (r == NULL)
        return;
    if (!r->m.leaving && present_count(v) == 1) {
        control_refuse(s, E_CONFLICT, "the last member stays");
        return;
    }
    r->m.leaving = true; /* from here on it may not hold */
    if (session != NULL && !session->ended && session->incarnation == m->incarnation)
        end_session(s, v, session, false);
    ctlkv_del(s->txn, T_MEMBER, control_member_key(key, m->site, m->incarnation));
}

static void apply_member_key(struct control_step *s, struct view *v, const struct member_key *m)
{
    struct member_rec *r = find_member(s, v, m->site, m->incarnation);

    if (r == NULL)
        return;
    if (r->m.leaving) {
        control_refuse(s, E_CONFLICT, "the member was replaced");
    } else if (is_key_of_another(v, m->key, m->site)) {
        control_refuse(s, E_EXISTS, "another member has this key");
    } else {
        bool is_same = memcmp(r->m.key, m->key, MEMBER_KEY_BYTES) == 0;

        if (!m->keep_old)
            memset(r->m.old_key, 0, MEMBER_KEY_BYTES);
        else if (!is_same) /* a proposal that came twice keeps what it kept */
            memcpy(r->m.old_key, r->m.key, MEMBER_KEY_BYTES);
        r->m.has_old_key = m->keep_old && (!is_same || r->m.has_old_key);
        memcpy(r->m.key, m->key, MEMBER_KEY_BYTES);
        control_put_member(s->txn, r);
    }
}

static void apply_member_filled(struct control_step *s, struct view *v,
                                const struct member_filled *m)
{
    struct member_rec *r = find_member(s, v, m->site, m->incarnation);

    if (r == NULL || r->m.filled)
        return;
    r->m.filled = true;
    control_judge_sessions(v);
    set_eligible(s, r);
    spread_free(s, v);
}

static void apply_drain(struct control_step *s, struct view *v, const struct drain *d)
{
    struct member_rec *r = control_member_at(v, d->site);

    if (r == NULL) {
        control_refuse(s, E_NOTFOUND, "no such member");
        return;
    }
    if (r->m.draining == d->on)
        return;
    r->m.draining = d->on;
    control_put_member(s->txn, r);
    control_judge_sessions(v);
    if (d->on) {
        forget_wishes(s, v, d->site);
        return;
    }
    set_eligible(s, r);
    spread_free(s, v);
}

/* --- apply: slots and placements --- */

/* NULL: the site has a session that may hold; else refused. */
static struct session *target(struct control_step *s, struct view *v, uint16_t site)
{
    struct session *to = control_session_at(v, site);

    if (to != NULL && to->may_hold)
        return to;
    control_refuse(s, E_CONFLICT,
                   "that site may not hold: it is away, not filled, or draining");
    return NULL;
}

static void mark_balanced(struct control_step *s, struct view *v, uint16_t site)
{
    for (uint32_t i = 0; i < v->member_count; i++) {
        if (v->members[i].m.leaving || (site != 0 && v->members[i].m.site != site))
            continue;
        v->members[i].balanced = s->index;
        control_put_member(s->txn, &v->members[i]);
    }
}

static void apply_slot_wanted(struct control_step *s, struct view *v,
                              const struct slot_wanted *w)
{
    if (w->site != 0 && target(s, v, w->site) == NULL)
        return;
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        struct slot_rec *r = &v->slots[i];
        uint16_t wish = r->s.site == w->site ? 0 : w->site;

        if ((w->slots[i / 8] >> i % 8 & 1) == 0 || r->s.site == 0 || r->s.wanted == wish)
            continue;
        r->s.wanted = wish;
        control_put_slot(s->txn, i, r);
    }
    mark_balanced(s, v, w->balance ? w->site : 0);
}

static void apply_slot_release(struct control_step *s, struct view *v,
                               const struct slot_release *r)
{
    struct session *to = NULL;
    uint16_t holder = v->slots[r->slots[0].slot].s.site;

    for (uint32_t i = 0; i < r->count; i++) {
        const struct slot *have = &v->slots[r->slots[i].slot].s;

        if (have->site == 0 || have->site != holder || have->epoch != r->slots[i].epoch) {
            control_refuse(s, E_CONFLICT, "a slot has another holder or epoch");
            return;
        }
    }
    if (r->to == holder)
        to = control_session_at(v, holder);
    else if (r->to != 0)
        to = target(s, v, r->to);
    else
        to = pick(v, holder);
    if (to == NULL) {
        if (s->result.err == OK)
            control_refuse(s, E_CONFLICT, "no other site may hold");
        return;
    }
    for (uint32_t i = 0; i < r->count; i++)
        assign(s, v, r->slots[i].slot, r->to != 0 ? to : pick(v, holder), true);
}

static void apply_place(struct control_step *s, struct view *v, const struct place *p)
{
    const struct slot *slot = &v->slots[control_slot_of(p->domain)].s;
    struct placement_rec r;
    uint16_t site;
    uint64_t epoch;
    struct str payload;
    enum err e = ctlkv_get(s->txn, T_DOMAIN, p->domain, &payload);

    if (e == E_NOTFOUND)
        control_refuse(s, E_NOTFOUND, "no such domain");
    if (e != OK || control_get_placement(s->txn, p->domain, &r) != OK)
        return;
    control_effective(&r, slot, &site, &epoch);
    if (site == 0 || epoch != p->epoch) {
        control_refuse(s, E_CONFLICT, "the domain has another holder or epoch");
        return;
    }
    if (p->site != 0 && target(s, v, p->site) == NULL)
        return;
    remember(r.released, epoch);
    r.site = p->site == slot->site ? 0 : p->site;
    r.epoch = s->index;
    r.slot_epoch = slot->epoch;
    control_put_placement(s->txn, p->domain, &r);
}

void control_apply_cluster(struct control_step *s, const struct command *c)
{
    struct view *v;

    if (c->kind == COMMAND_SESSION_RENEW) { /* the one that comes all the time */
        apply_session_renew(s, &c->session_renew);
        return;
    }
    v = arena_take(s->arena, sizeof *v);
    if (v == NULL) {
        ctlkv_fail(s->txn, "view", E_FULL);
        return;
    }
    control_load_view(v, s->txn);
    if (s->txn->first_err != OK)
        return;
    switch (c->kind) {
    case COMMAND_SESSION_OPEN:
        apply_session_open(s, v, &c->session_open);
        return;
    case COMMAND_SESSION_END:
        apply_session_end(s, v, &c->session_end);
        return;
    case COMMAND_MEMBER_ADD:
        apply_member_add(s, v, &c->member_add);
        return;
    case COMMAND_MEMBER_REMOVE:
        apply_member_remove(s, v, &c->member_remove);
        return;
    case COMMAND_MEMBER_KEY:
        apply_member_key(s, v, &c->member_key);
        return;
    case COMMAND_MEMBER_FILLED:
        apply_member_filled(s, v, &c->member_filled);
        return;
    case COMMAND_SLOT_WANTED:
        apply_slot_wanted(s, v, &c->slot_wanted);
        return;
    case COMMAND_SLOT_RELEASE:
        apply_slot_release(s, v, &c->slot_release);
        return;
    case COMMAND_PLACE:
        apply_place(s, v, &c->place);
        return;
    case COMMAND_DRAIN:
        apply_drain(s, v, &c->drain);
        return;
    default:
        ASSERT(c->kind == COMMAND_DRAIN); /* control.c applies all others */
    }
}
