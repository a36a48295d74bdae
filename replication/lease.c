#include "replication/lease.h"

#include "base/fault.h"
#include "base/limits.h"

#define RENEWALS 16 /* proposals of which the time is remembered */

/* What this node knows of another one's session. */
struct watch {
    uint16_t site;
    uint64_t session, renewal_index;
    uint64_t since_ms;     /* when that renewal was seen applied here */
    uint64_t end_again_ms; /* not proposed before */
    uint64_t share_since_ms, share_again_ms;
    bool wants_share;
};

struct own_slot {
    uint64_t epoch;
    bool is_leaving;
    bool is_quiet, is_offered; /* of this epoch */
    uint16_t to;               /* site; 0: any other */
    uint64_t again_ms;
};

struct lease {
    struct arena arena; /* that holds this struct */
    struct lease_options o;
    uint64_t now_ms, deadline_ms;

    uint64_t nonce, session;
    bool is_opening;        /* proposed under this nonce */
    uint64_t open_first_ms; /* before the first proposal under this nonce */
    uint64_t open_again_ms;
    uint64_t renew_again_ms;
    uint64_t valid_until_ms;
    uint64_t seq, seen_seq; /* of the last renewal proposed, and seen applied */
    uint64_t renewal_ms[RENEWALS];

    bool is_counting;
    uint64_t term_start, counted_from_ms;
    struct watch watches[LIMIT_MEMBER_RECORDS];
    uint32_t watch_count;

    struct own_slot slots[LEASE_SLOTS];
    struct slot_ref refs[LEASE_SLOTS]; /* of the commands of the last step */
    bool is_draining, is_stopping, is_all_quiet, is_over;
    uint64_t end_again_ms;
};

/* --- helpers --- */

static bool is_live(const struct lease_member *m)
{
    return m->session != 0 && !m->session_ended;
}

static const struct lease_member *member_at(const struct lease_state *s, uint16_t site)
{
    for (uint32_t i = 0; i < s->member_count; i++)
        if (s->members[i].site == site)
            return &s->members[i];
    return NULL;
}

static bool can_hold(const struct lease_state *s, uint16_t site)
{
    const struct lease_member *m = member_at(s, site);

    return m != NULL && is_live(m) && m->may_hold;
}

static bool is_other_there(const struct lease_state *s, uint16_t own)
{
    for (uint32_t i = 0; i < s->member_count; i++)
        if (s->members[i].site != own && can_hold(s, s->members[i].site))
            return true;
    return false;
}

static void due(struct lease *l, uint64_t ms)
{
    if (ms < l->deadline_ms)
        l->deadline_ms = ms;
}

/* False: no room in this answer; it is asked again at the next step. */
static bool want(struct lease *l, struct lease_want *out, const struct command *c)
{
    if (out->count == LEASE_COMMANDS) {
        due(l, l->now_ms + 1);
        return false;
    }
    out->commands[out->count++] = *c;
    return true;
}

/* --- the own session --- */

static void begin_nonce(struct lease *l, uint64_t nonce)
{
    l->nonce = nonce;
    l->session = 0;
    l->valid_until_ms = 0;
    l->is_opening = false;
    l->open_again_ms = 0;
}

/* A lease that was proposed at `from_ms` has been seen applied. */
static void extend(struct lease *l, uint64_t from_ms, uint32_t duration_ms)
{
    uint64_t span_ms = (uint64_t)duration_ms * 99 / 100;
    uint64_t until_ms = from_ms + (span_ms > LEASE_GUARD_MS ? span_ms - LEASE_GUARD_MS : 0);

    if (until_ms > l->valid_until_ms)
        l->valid_until_ms = until_ms;
}

static void see_own(struct lease *l, const struct lease_member *own)
{
    if (l->session == 0) {
        l->session = own->session;
        l->seq = l->seen_seq = 0;
        l->renew_again_ms = l->open_first_ms + l->o.renew_ms;
        extend(l, l->open_first_ms, own->duration_ms);
    }
    /* The number says which proposal came through: one that took long must not lend the clock
     * reading of a later one. */
    if (own->renewal_seq != l->seen_seq && own->renewal_seq <= l->seq &&
        own->renewal_seq + RENEWALS > l->seq)
        extend(l, l->renewal_ms[own->renewal_seq % RENEWALS], own->duration_ms);
    l->seen_seq = own->renewal_seq;
}

static void propose_opening(struct lease *l, const struct lease_member *own,
                            struct lease_want *out)
{
    struct command c = {.kind = COMMAND_SESSION_OPEN,
                        .session_open = {.site = l->o.site,
                                         .incarnation = l->o.incarnation,
                                         .duration_ms = l->o.duration_ms,
                                         .nonce = l->nonce,
                                         .after = own->session}};

    if (l->now_ms >= l->open_again_ms && want(l, out, &c)) {
        if (!l->is_opening)
            l->open_first_ms = l->now_ms;
        l->is_opening = true;
        l->open_again_ms = l->now_ms + LEASE_RETRY_MS;
    }
    due(l, l->open_again_ms);
}

static void propose_renewal(struct lease *l, struct lease_want *out)
{
    struct command c = {.kind = COMMAND_SESSION_RENEW,
                        .session_renew = {l->o.site, l->session, l->seq + 1}};

    if (l->now_ms >= l->renew_again_ms && want(l, out, &c)) {
        l->seq++;
        l->renewal_ms[l->seq % RENEWALS] = l->now_ms;
        l->renew_again_ms = l->now_ms + l->o.renew_ms;
    }
    due(l, l->renew_again_ms);
}

static void step_session(struct lease *l, const struct lease_member *own,
                         struct lease_want *out)
{
    bool is_ours, is_lost;

    if (own == NULL) { /* not yet a member, or no longer */
        begin_nonce(l, l->nonce);
        l->is_over = l->is_stopping;
        return;
    }
    is_ours = own->session != 0 && own->session_nonce == l->nonce;
    is_lost = is_ours ? own->session_ended : l->session != 0;
    if (is_lost)
        begin_nonce(l, l->nonce + 1);
    else if (is_ours)
        see_own(l, own);
    if (l->session != 0)
        propose_renewal(l, out);
    else if (!l->is_stopping)
        propose_opening(l, own, out);
    else
        l->is_over = true;
}

/* --- taking: the leader ends sessions that were not renewed --- */

static struct watch *watch_of(struct lease *l, uint16_t site)
{
    for (uint32_t i = 0; i < l->watch_count; i++)
        if (l->watches[i].site == site)
            return &l->watches[i];
    if (l->watch_count == LIMIT_MEMBER_RECORDS) /* sites that are gone make room */
        l->watch_count = 0;
    l->watches[l->watch_count] = (struct watch){.site = site};
    return &l->watches[l->watch_count++];
}

static void watch_members(struct lease *l, const struct lease_state *s)
{
    for (uint32_t i = 0; i < s->member_count; i++) {
        const struct lease_member *m = &s->members[i];
        struct watch *w = watch_of(l, m->site);

        if (w->session != m->session || w->renewal_index != m->renewal_index) {
            w->since_ms = l->now_ms;
            w->end_again_ms = 0;
        }
        if (w->session != m->session || w->wants_share != m->wants_share) {
            w->share_since_ms = l->now_ms;
            w->share_again_ms = 0;
        }
        w->session = m->session;
        w->renewal_index = m->renewal_index;
        w->wants_share = m->wants_share;
    }
}

/* A node that has just begun to lead does not know how long the others could not renew; nor
 * does one that was stopped for a while. */
static void count(struct lease *l, const struct lease_state *s, bool leads, uint64_t term_start,
                  uint64_t stopped_ms)
{
    bool counts = leads && s->applied >= term_start;

    if (counts &&
        (!l->is_counting || l->term_start != term_start || stopped_ms > l->o.duration_ms / 4))
        l->counted_from_ms = l->now_ms;
    l->is_counting = counts;
    l->term_start = term_start;
    if (counts)
        due(l, l->now_ms + l->o.duration_ms / 8);
}

static void step_take(struct lease *l, const struct lease_state *s, struct lease_want *out)
{
    for (uint32_t i = 0; i < s->member_count; i++) {
        const struct lease_member *m = &s->members[i];
        struct watch *w = watch_of(l, m->site);
        uint64_t from_ms = w->since_ms > l->counted_from_ms ? w->since_ms : l->counted_from_ms;
        uint64_t wait_ms = FAULT(TAKEOVER_AT_ONCE) ? 0 : m->duration_ms;
        uint64_t at_ms = from_ms + (wait_ms * 101 + 99) / 100;
        struct command c = {.kind = COMMAND_SESSION_END,
                            .session_end = {m->site, m->session, m->renewal_index}};

        if (!is_live(m) || m->site == l->o.site)
            continue;
        at_ms = at_ms > w->end_again_ms ? at_ms : w->end_again_ms;
        if (l->now_ms >= at_ms && want(l, out, &c))
            at_ms = w->end_again_ms = l->now_ms + LEASE_RETRY_MS;
        due(l, at_ms);
    }
}

/* --- giving --- */

/* Why a slot of ours is to go, and where. False: it stays. */
static bool is_to_go(const struct lease *l, const struct lease_state *s, uint32_t slot,
                     bool may_stay, uint16_t *to)
{
    uint16_t wanted = s->slots[slot].wanted_by;

    *to = 0;
    if (wanted != 0 && wanted != l->o.site && can_hold(s, wanted)) {
        *to = wanted;
        return true;
    }
    return !may_stay && is_other_there(s, l->o.site);
}

static void judge_slot(struct lease *l, const struct lease_state *s, uint32_t slot,
                       bool may_stay)
{
    struct own_slot *o = &l->slots[slot];
    bool goes;

    if (l->session == 0 || s->slots[slot].site != l->o.site) {
        *o = (struct own_slot){.epoch = 0};
        return;
    }
    if (o->epoch != s->slots[slot].epoch)
        *o = (struct own_slot){.epoch = s->slots[slot].epoch};
    goes = is_to_go(l, s, slot, may_stay, &o->to);
    if (!goes && o->is_offered)
        o->to = l->o.site; /* an epoch once offered is not used again */
    o->is_leaving = goes || o->is_offered || l->is_stopping;
    o->is_quiet = o->is_leaving && (o->is_quiet || l->is_all_quiet);
    /* While the node stops and nobody else is there, nothing is offered: the session's end
     * leaves it to whoever comes. */
    if (!goes && !o->is_offered)
        o->again_ms = UINT64_MAX;
    else if (o->again_ms == UINT64_MAX)
        o->again_ms = 0;
}

static bool is_due(const struct lease *l, const struct own_slot *o)
{
    return o->epoch != 0 && o->is_leaving && o->is_quiet && l->now_ms >= o->again_ms;
}

/* All slots that are due for one site in one command. `used`: of l->refs. */
static void release_to(struct lease *l, uint16_t to, uint32_t *used, struct lease_want *out)
{
    struct command c = {.kind = COMMAND_SLOT_RELEASE,
                        .slot_release = {.slots = &l->refs[*used], .to = to}};

    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        if (is_due(l, &l->slots[i]) && l->slots[i].to == to)
            l->refs[*used + c.slot_release.count++] =
                (struct slot_ref){(uint8_t)i, l->slots[i].epoch};
    if (c.slot_release.count == 0 || !want(l, out, &c))
        return;
    *used += c.slot_release.count;
    for (uint32_t i = 0; i < c.slot_release.count; i++) {
        struct own_slot *o = &l->slots[c.slot_release.slots[i].slot];

        o->is_offered = true;
        o->again_ms = l->now_ms + LEASE_RETRY_MS;
        due(l, o->again_ms);
    }
}

static void step_give(struct lease *l, const struct lease_state *s,
                      const struct lease_member *own, struct lease_want *out)
{
    bool may_stay = own != NULL && own->may_hold && !l->is_draining && !l->is_stopping;
    uint32_t used = 0;

    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        judge_slot(l, s, i, may_stay);
    for (uint32_t i = 0; i < LEASE_SLOTS; i++) {
        if (is_due(l, &l->slots[i]))
            release_to(l, l->slots[i].to, &used, out);
        if (l->slots[i].is_quiet && l->slots[i].again_ms != UINT64_MAX)
            due(l, l->slots[i].again_ms);
    }
}

static void step_stop(struct lease *l, struct lease_want *out)
{
    struct command c = {.kind = COMMAND_SESSION_END,
                        .session_end = {.site = l->o.site, .epoch = l->session}};

    if (!l->is_stopping || !l->is_all_quiet || l->session == 0)
        return;
    if (l->now_ms >= l->end_again_ms && want(l, out, &c))
        l->end_again_ms = l->now_ms + LEASE_RETRY_MS;
    due(l, l->end_again_ms);
}

/* --- shares: the leader asks for slots for a site that came back --- */

struct shares {
    uint16_t owner[LEASE_SLOTS]; /* who will have the slot */
    uint32_t holders;            /* sites that may hold */
};

static uint32_t share_of(const struct shares *sh, uint16_t site)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        n += sh->owner[i] == site;
    return n;
}

static void count_shares(const struct lease_state *s, struct shares *sh)
{
    sh->holders = 0;
    for (uint32_t i = 0; i < s->member_count; i++)
        sh->holders += can_hold(s, s->members[i].site);
    for (uint32_t i = 0; i < LEASE_SLOTS; i++)
        sh->owner[i] = s->slots[i].wanted_by != 0 ? s->slots[i].wanted_by : s->slots[i].site;
}

/* Marks slots for `site` until it has its share, each from who has most. */
static void take_share(const struct lease_state *s, struct shares *sh, uint16_t site,
                       struct slot_wanted *w)
{
    uint32_t fair = LEASE_SLOTS / sh->holders, have = share_of(sh, site);

    while (have < fair) {
        uint16_t richest = 0;
        uint32_t most = fair, slot = LEASE_SLOTS;

        for (uint32_t i = 0; i < s->member_count; i++) {
            uint32_t n = share_of(sh, s->members[i].site);

            if (n > most && s->members[i].site != site) {
                most = n;
                richest = s->members[i].site;
            }
        }
        while (richest != 0 && slot-- > 0 &&
               (sh->owner[slot] != richest || s->slots[slot].site != richest))
            ;
        if (richest == 0 || slot >= LEASE_SLOTS)
            return;
        w->slots[slot / 8] |= (uint8_t)(1u << slot % 8);
        sh->owner[slot] = site;
        have++;
    }
}

/* A wish that is on its way is not in the state yet: another one would name the same slots. */
static bool is_share_pending(struct lease *l)
{
    bool pending = false;

    for (uint32_t i = 0; i < l->watch_count; i++) {
        const struct watch *w = &l->watches[i];

        if (w->wants_share && w->share_again_ms > l->now_ms) {
            due(l, w->share_again_ms);
            pending = true;
        }
    }
    return pending;
}

static void step_share(struct lease *l, const struct lease_state *s, struct lease_want *out)
{
    struct shares sh;

    if (is_share_pending(l))
        return;
    count_shares(s, &sh);
    for (uint32_t i = 0; i < s->member_count; i++) {
        const struct lease_member *m = &s->members[i];
        struct watch *w = watch_of(l, m->site);
        /* A node that falls again at once draws no slots. */
        uint64_t at_ms = w->share_since_ms + l->o.duration_ms;
        struct command c = {.kind = COMMAND_SLOT_WANTED,
                            .slot_wanted = {.site = m->site, .balance = true}};

        if (!m->wants_share || !can_hold(s, m->site))
            continue;
        at_ms = at_ms > w->share_again_ms ? at_ms : w->share_again_ms;
        if (l->now_ms >= at_ms) {
            take_share(s, &sh, m->site, &c.slot_wanted);
            if (want(l, out, &c))
                at_ms = w->share_again_ms = l->now_ms + LEASE_RETRY_MS;
        }
        due(l, at_ms);
    }
}

/* --- the outside --- */

struct lease *lease_new(const struct lease_options *o)
{
    struct arena arena;
    struct lease *l;

    ASSERT(o->site != 0 && o->nonce != 0 && o->renew_ms > 0 && o->renew_ms < o->duration_ms);
    arena_init(&arena, sizeof *l + 4 * KiB);
    l = arena_take(&arena, sizeof *l);
    if (l == NULL) {
        arena_reset(&arena);
        return NULL;
    }
    l->arena = arena;
    l->o = *o;
    l->nonce = FAULT(ID_REUSED) ? o->site : o->nonce;
    return l;
}

void lease_free(struct lease **l)
{
    struct arena arena;

    if (*l != NULL) {
        arena = (*l)->arena;
        arena_reset(&arena);
    }
    *l = NULL;
}

void lease_step(struct lease *l, const struct lease_state *s, bool leads,
                uint64_t term_start_index, uint64_t now, struct lease_want *out)
{
    const struct lease_member *own = member_at(s, l->o.site);
    uint64_t stopped_ms = now > l->now_ms ? now - l->now_ms : 0;

    if (own != NULL && own->incarnation != l->o.incarnation)
        own = NULL; /* replaced */
    out->count = 0;
    l->now_ms = now > l->now_ms ? now : l->now_ms;
    l->deadline_ms = UINT64_MAX;
    step_session(l, own, out);
    watch_members(l, s);
    count(l, s, leads, term_start_index, stopped_ms);
    if (l->is_counting)
        step_take(l, s, out);
    step_give(l, s, own, out);
    step_stop(l, out);
    if (l->is_counting)
        step_share(l, s, out);
}

void lease_failed(struct lease *l, enum command_kind kind, uint64_t now)
{
    uint64_t again_ms = now + LEASE_AGAIN_MS;

    if (kind == COMMAND_SESSION_OPEN && l->open_again_ms > again_ms)
        l->open_again_ms = again_ms;
    if (kind == COMMAND_SESSION_RENEW && l->renew_again_ms > again_ms)
        l->renew_again_ms = again_ms;
    if (kind == COMMAND_SESSION_END && l->end_again_ms > again_ms)
        l->end_again_ms = again_ms;
    for (uint32_t i = 0; i < l->watch_count; i++) {
        struct watch *w = &l->watches[i];

        if (kind == COMMAND_SESSION_END && w->end_again_ms > again_ms)
            w->end_again_ms = again_ms;
        if (kind == COMMAND_SLOT_WANTED && w->share_again_ms > again_ms)
            w->share_again_ms = again_ms;
    }
    for (uint32_t i = 0; i < LEASE_SLOTS && kind == COMMAND_SLOT_RELEASE; i++)
        if (l->slots[i].again_ms != UINT64_MAX && l->slots[i].again_ms > again_ms)
            l->slots[i].again_ms = again_ms;
    due(l, again_ms);
}

uint64_t lease_deadline(const struct lease *l)
{
    return l->deadline_ms;
}

uint64_t lease_session(const struct lease *l)
{
    return l->session;
}

uint64_t lease_valid_until(const struct lease *l)
{
    return l->valid_until_ms;
}

void lease_quiet(struct lease *l, uint32_t slot, uint64_t epoch)
{
    struct own_slot *o = &l->slots[slot];

    ASSERT(slot < LEASE_SLOTS);
    if (epoch == 0 || o->epoch != epoch || !o->is_leaving)
        return;
    o->is_quiet = true;
    due(l, l->now_ms);
}

bool lease_is_leaving(const struct lease *l, uint32_t slot)
{
    ASSERT(slot < LEASE_SLOTS);
    return l->slots[slot].is_leaving;
}

void lease_drain(struct lease *l, bool on)
{
    l->is_draining = on;
    due(l, l->now_ms);
}

void lease_stop(struct lease *l)
{
    l->is_stopping = true;
    due(l, l->now_ms);
}

void lease_quiet_all(struct lease *l)
{
    l->is_all_quiet = l->is_stopping;
    due(l, l->now_ms);
}

bool lease_is_over(const struct lease *l)
{
    return l->is_over;
}
