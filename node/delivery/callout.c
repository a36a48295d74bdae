#include "node/delivery/callout.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/fsm.h"
#include "node/delivery/lesson.h"

#define BUSY_MS 1000 /* another session goes to the address: looked at again after */
#define OVER    FSM_TO(CO_FREE)

static const struct fsm_state states[] = {
    [CO_FREE] = {"FREE", FSM_TO(CO_WAITING)},
    [CO_WAITING] = {"WAITING", FSM_TO(CO_ROUTING) | OVER},
    [CO_ROUTING] = {"ROUTING", FSM_TO(CO_OPENING) | FSM_TO(CO_WAITING) | OVER},
    [CO_OPENING] = {"OPENING", FSM_TO(CO_NAMES) | FSM_TO(CO_WAITING) | OVER},
    [CO_NAMES] = {"NAMES", FSM_TO(CO_SOMEBODY) | FSM_TO(CO_LEAVING) | OVER},
    [CO_SOMEBODY] = {"SOMEBODY", FSM_TO(CO_LEAVING) | OVER},
    [CO_LEAVING] = {"LEAVING", FSM_TO(CO_WAITING) | OVER},
};

const char *callout_verdict_text(enum callout_verdict v)
{
    static const char *const texts[CALLOUT_VERDICTS] = {
        [CALLOUT_NOT_ASKED] = "not-asked", [CALLOUT_VALID] = "valid",
        [CALLOUT_INVALID] = "invalid",     [CALLOUT_UNKNOWN] = "unknown",
        [CALLOUT_TAKES_ALL] = "takes-all",
    };

    return texts[v];
}

uint32_t callout_share(uint32_t sites)
{
    return LIMIT_CALLOUT_PER_MINUTE / sites;
}

void callout_init(struct callout *c, uint32_t per_minute, uint64_t seed, uint64_t now_ms)
{
    ASSERT(per_minute >= 2 && per_minute <= LIMIT_CALLOUT_PER_MINUTE);
    memset(c, 0, sizeof *c);
    c->per_minute = per_minute;
    c->start_ms = now_ms + LIMIT_CALLOUT_MINUTE_MS;
    c->answers_end = &c->answers;
    prng_seed(&c->rng, seed);
}

/* --- answers --- */

static void answer(struct callout *c, struct callout_wish *w, enum callout_verdict v)
{
    w->verdict = v;
    w->next = NULL;
    *c->answers_end = w;
    c->answers_end = &w->next;
}

static void move(struct callout_domain *d, enum callout_state to)
{
    fsm_move(&d->state, (int)to, states);
}

/* Of the wish at *at, which leaves the domain. */
static void answer_at(struct callout *c, struct callout_domain *d, struct callout_wish **at,
                      enum callout_verdict v)
{
    struct callout_wish *w = *at;

    *at = w->next;
    d->wishes--;
    answer(c, w, v);
}

static void answer_all(struct callout *c, struct callout_domain *d, enum callout_verdict v)
{
    while (d->first != NULL)
        answer_at(c, d, &d->first, v);
}

static void let_go(struct callout_domain *d)
{
    if (d->state == CO_WAITING && d->first == NULL)
        move(d, CO_FREE);
}

/* --- who takes all --- */

static bool takes_all(const struct callout *c, uint64_t generation, uint64_t now_ms)
{
    for (uint32_t i = 0; i < LIMIT_CALLOUT_NOTES; i++)
        if (c->notes[i].generation == generation && now_ms < c->notes[i].until_ms)
            return true;
    return false;
}

/* The oldest one goes: it costs a question to know it again. */
static void note_takes_all(struct callout *c, uint64_t generation, uint64_t now_ms)
{
    c->notes[c->note_at] =
        (struct callout_note){generation, now_ms + LIMIT_CALLOUT_TAKES_ALL_MS};
    c->note_at = (c->note_at + 1) % LIMIT_CALLOUT_NOTES;
}

/* --- wishes --- */

static struct callout_domain *domain_of(struct callout *c, const struct callout_wish *w)
{
    struct callout_domain *room = NULL;

    for (uint32_t i = 0; i < LIMIT_CALLOUT_DOMAINS; i++) {
        struct callout_domain *d = &c->domains[i];

        if (d->state == CO_FREE && room == NULL)
            room = d;
        if (d->state != CO_FREE && d->generation == w->generation)
            return d;
    }
    if (room == NULL)
        return NULL;
    *room = (struct callout_domain){.generation = w->generation};
    memcpy(room->name, w->domain, sizeof room->name);
    return room;
}

/* One that hurries goes before those that do not. */
static void enqueue(struct callout_domain *d, struct callout_wish *w)
{
    struct callout_wish **at = &d->first;

    while (*at != NULL && (!w->hurries || (*at)->hurries))
        at = &(*at)->next;
    w->next = *at;
    *at = w;
    d->wishes++;
}

void callout_want(struct callout *c, struct callout_wish *w, uint64_t now_ms)
{
    struct callout_domain *d;

    ASSERT(w->generation > 0 && w->local[0] != 0);
    w->since_ms = now_ms;
    w->name = 0;
    if (takes_all(c, w->generation, now_ms)) {
        answer(c, w, CALLOUT_TAKES_ALL);
        return;
    }
    d = c->is_stopped ? NULL : domain_of(c, w);
    if (d == NULL || d->wishes >= LIMIT_CALLOUT_WISHES) {
        answer(c, w, CALLOUT_NOT_ASKED);
        return;
    }
    enqueue(d, w);
    if (d->state == CO_FREE)
        move(d, CO_WAITING);
}

/* --- budgets --- */

static bool is_spare(const struct callout_budget *b, uint64_t now_ms)
{
    if (!b->is_taken)
        return true;
    if (b->is_busy || now_ms < b->rest_ms)
        return false;
    for (uint32_t i = 0; i < LIMIT_CALLOUT_PER_MINUTE; i++)
        if (b->free_ms[i] > now_ms)
            return false;
    return true;
}

/* Of the address; else the one that was of no use for the longest time. NULL: all are in use.
 */
static struct callout_budget *budget_of(struct callout *c, struct route_ip ip, uint64_t now_ms)
{
    struct callout_budget *room = NULL;

    for (uint32_t i = 0; i < LIMIT_CALLOUT_ADDRS; i++) {
        struct callout_budget *b = &c->budgets[i];

        if (b->is_taken && route_ip_eq(b->ip, ip))
            return b;
        if (is_spare(b, now_ms) && (room == NULL || b->used_ms < room->used_ms))
            room = b;
    }
    if (room != NULL)
        *room = (struct callout_budget){.ip = ip, .is_taken = true};
    return room;
}

/* Places that are free; *again_ms: when two are. */
static uint32_t places_of(const struct callout *c, const struct callout_budget *b,
                          uint64_t now_ms, uint64_t *again_ms)
{
    uint64_t first = UINT64_MAX, second = UINT64_MAX;
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->per_minute; i++) {
        uint64_t at = b->free_ms[i];

        n += at <= now_ms;
        if (at < first) {
            second = first;
            first = at;
        } else if (at < second) {
            second = at;
        }
    }
    *again_ms = second;
    return n;
}

static void reserve(const struct callout *c, struct callout_budget *b, uint32_t n,
                    uint64_t now_ms)
{
    b->is_busy = true;
    b->used_ms = now_ms;
    for (uint32_t i = 0; i < c->per_minute && n > 0; i++) {
        if (b->free_ms[i] > now_ms)
            continue;
        b->free_ms[i] = UINT64_MAX;
        n--;
    }
    ASSERT(n == 0);
}

static void release(const struct callout *c, struct callout_budget *b, uint32_t spent,
                    uint64_t now_ms)
{
    ASSERT(b->is_busy);
    b->is_busy = false;
    b->used_ms = now_ms;
    for (uint32_t i = 0; i < c->per_minute; i++) {
        if (b->free_ms[i] != UINT64_MAX)
            continue;
        b->free_ms[i] = spent > 0 ? now_ms + LIMIT_CALLOUT_MINUTE_MS : now_ms;
        spent -= spent > 0;
    }
    ASSERT(spent == 0);
}

static void rest(struct callout_budget *b, uint64_t now_ms)
{
    uint64_t ms = LIMIT_CALLOUT_REST_MS;

    for (uint32_t i = 0; i < b->failures && ms < LIMIT_CALLOUT_REST_MAX_MS; i++)
        ms *= 2;
    b->rest_ms = now_ms + (ms < LIMIT_CALLOUT_REST_MAX_MS ? ms : LIMIT_CALLOUT_REST_MAX_MS);
    b->failures++;
}

/* --- a session --- */

static bool is_named(const struct callout_domain *d, const char *local, uint32_t *name)
{
    for (*name = 0; *name < d->name_count; (*name)++)
        if (strcmp(d->names[*name], local) == 0)
            return true;
    return false;
}

/* The first of the queue, and all who ask for the same. */
static void choose(struct callout_domain *d, uint32_t room)
{
    d->name_count = 0;
    for (struct callout_wish *w = d->first; w != NULL; w = w->next) {
        uint32_t i;

        w->name = 0;
        if (!is_named(d, w->local, &i)) {
            if (d->name_count == room)
                continue;
            memcpy(d->names[i], w->local, sizeof d->names[i]);
            d->verdicts[i] = CALLOUT_NOT_ASKED;
            d->name_count++;
        }
        w->name = i + 1;
    }
}

static void wait_until(struct callout *c, struct callout_domain *d, uint64_t again_ms)
{
    move(d, CO_WAITING);
    d->again_ms = again_ms;
    c->sessions--;
    let_go(d);
}

void callout_routed(struct callout *c, uint32_t place, const struct route_ip *ip,
                    uint64_t now_ms)
{
    struct callout_domain *d = &c->domains[place];
    struct callout_budget *b = ip != NULL ? budget_of(c, *ip, now_ms) : NULL;
    uint64_t again_ms;
    uint32_t room;

    ASSERT(d->state == CO_ROUTING);
    if (b == NULL || now_ms < b->rest_ms || c->is_stopped)
        answer_all(c, d, CALLOUT_NOT_ASKED);
    if (d->first == NULL) { /* these, or they have grown old meanwhile */
        wait_until(c, d, now_ms);
        return;
    }
    room = places_of(c, b, now_ms, &again_ms);
    b->is_awaited |= b->is_busy;
    if (b->is_busy || room < 2) {
        wait_until(c, d, b->is_busy ? now_ms + BUSY_MS : again_ms);
        return;
    }
    choose(d, room - 1 < LIMIT_CALLOUT_NAMES ? room - 1 : LIMIT_CALLOUT_NAMES);
    reserve(c, b, d->name_count + 1, now_ms);
    d->budget = (uint32_t)(b - c->budgets);
    d->spent = 0;
    d->is_cut = d->is_well = false;
    d->opened_ms = 0;
    move(d, CO_OPENING);
}

void callout_ready(struct callout *c, uint32_t place, struct callout_names *out)
{
    struct callout_domain *d = &c->domains[place];

    move(d, CO_NAMES);
    d->spent = out->count = d->name_count;
    for (uint32_t i = 0; i < d->name_count; i++)
        out->locals[i] = d->names[i];
}

static enum callout_verdict worth(const struct smtpc_rcpt *r)
{
    static const enum callout_verdict verdicts[] = {[LESSON_NOTHING] = CALLOUT_UNKNOWN,
                                                    [LESSON_VALID] = CALLOUT_VALID,
                                                    [LESSON_INVALID] = CALLOUT_INVALID};

    return verdicts[lesson_of(r)];
}

/* It answered all that it was asked, and did not ask for less. */
static bool is_well(const struct smtpc_result *r)
{
    return r->why == SMTPC_WHY_NONE && !r->brake && !r->alarm;
}

/* Those it would take are VALID only when it refuses somebody. */
static void believe(struct callout *c, struct callout_domain *d, enum callout_verdict somebody)
{
    for (uint32_t i = 0; i < d->name_count; i++)
        if (d->verdicts[i] == CALLOUT_VALID && somebody != CALLOUT_INVALID)
            d->verdicts[i] = somebody == CALLOUT_VALID ? CALLOUT_TAKES_ALL : CALLOUT_UNKNOWN;
    if (somebody == CALLOUT_VALID)
        note_takes_all(c, d->generation, d->opened_ms);
}

static bool take_names(struct callout *c, struct callout_domain *d,
                       const struct smtpc_result *r, struct callout_names *out)
{
    bool some_taken = false;

    ASSERT(r->count == d->name_count);
    for (uint32_t i = 0; i < d->name_count; i++) {
        d->verdicts[i] = worth(&r->rcpts[i]);
        some_taken |= d->verdicts[i] == CALLOUT_VALID;
    }
    d->is_well = is_well(r);
    if (!some_taken || r->why != SMTPC_WHY_NONE || d->is_cut)
        return false;
    snprintf(d->somebody, sizeof d->somebody, "no-such-recipient-%016" PRIx64,
             prng_next(&c->rng));
    d->spent++;
    move(d, CO_SOMEBODY);
    *out = (struct callout_names){1, {d->somebody}};
    return true;
}

bool callout_result(struct callout *c, uint32_t place, const struct smtpc_result *r,
                    struct callout_names *out)
{
    struct callout_domain *d = &c->domains[place];

    ASSERT(d->state == CO_NAMES || d->state == CO_SOMEBODY);
    if (r == NULL)
        d->spent -= d->state == CO_NAMES ? d->name_count : 1;
    if (d->state == CO_NAMES && r != NULL && take_names(c, d, r, out))
        return true;
    if (d->state == CO_SOMEBODY && r != NULL)
        d->is_well &= is_well(r);
    else
        d->is_well &= r != NULL;
    believe(c, d, d->state == CO_SOMEBODY && r != NULL ? worth(&r->rcpts[0]) : CALLOUT_UNKNOWN);
    move(d, CO_LEAVING);
    return false;
}

static void answer_named(struct callout *c, struct callout_domain *d)
{
    struct callout_wish **at = &d->first;

    while (*at != NULL) {
        if ((*at)->name == 0)
            at = &(*at)->next;
        else
            answer_at(c, d, at, d->verdicts[(*at)->name - 1]);
    }
}

void callout_closed(struct callout *c, uint32_t place, uint64_t now_ms)
{
    struct callout_domain *d = &c->domains[place];
    struct callout_budget *b = &c->budgets[d->budget];

    ASSERT(d->state == CO_OPENING || d->state == CO_LEAVING);
    release(c, b, d->spent, now_ms);
    if (d->is_well)
        b->failures = 0;
    else
        rest(b, now_ms);
    answer_named(c, d);
    if (takes_all(c, d->generation, now_ms))
        answer_all(c, d, CALLOUT_TAKES_ALL);
    wait_until(c, d, b->is_awaited ? now_ms + 2 * BUSY_MS : now_ms);
    b->is_awaited = false;
}

/* --- what is to be done --- */

static void drop_old(struct callout *c, struct callout_domain *d, uint64_t now_ms)
{
    struct callout_wish **at = &d->first;

    while (*at != NULL) {
        if (now_ms - (*at)->since_ms <
            ((*at)->hurries ? LIMIT_CALLOUT_WISH_MS : LIMIT_CALLOUT_PATIENCE_MS))
            at = &(*at)->next;
        else
            answer_at(c, d, at, CALLOUT_NOT_ASKED);
    }
    let_go(d);
}

/* True: there is something to do at this place. */
static bool look(struct callout *c, struct callout_domain *d, uint64_t now_ms,
                 enum callout_do *act)
{
    if (d->state == CO_WAITING)
        drop_old(c, d, now_ms);
    if (d->state == CO_WAITING && now_ms >= d->again_ms && now_ms >= c->start_ms &&
        c->sessions < LIMIT_CALLOUT_CONNS) {
        c->sessions++;
        move(d, CO_ROUTING);
        *act = CALLOUT_ROUTE;
        return true;
    }
    if (d->state == CO_OPENING && d->opened_ms == 0) {
        d->opened_ms = now_ms;
        *act = CALLOUT_OPEN;
        return true;
    }
    if (d->state >= CO_OPENING && !d->is_cut &&
        (c->is_stopped || now_ms - d->opened_ms >= LIMIT_CALLOUT_SESSION_MS)) {
        d->is_cut = true;
        *act = CALLOUT_CUT;
        return true;
    }
    return false;
}

/* True: *out is what is to be done at the next place that has something; of all, or of those
 * for whom somebody waits. */
static bool next_place(struct callout *c, uint64_t now_ms, bool hurries,
                       struct callout_action *out)
{
    for (uint32_t i = 0; i < LIMIT_CALLOUT_DOMAINS; i++) {
        uint32_t place = (c->turn + i) % LIMIT_CALLOUT_DOMAINS;
        struct callout_domain *d = &c->domains[place];

        if (hurries && (d->first == NULL || !d->first->hurries))
            continue;
        *out = (struct callout_action){.place = place, .domain = d};
        if (!look(c, d, now_ms, &out->act))
            continue;
        if (out->act == CALLOUT_OPEN) /* others of its address are before it now */
            c->turn = (place + 1) % LIMIT_CALLOUT_DOMAINS;
        return true;
    }
    return false;
}

bool callout_next(struct callout *c, uint64_t now_ms, struct callout_action *out)
{
    if (next_place(c, now_ms, true, out) || next_place(c, now_ms, false, out))
        return true;
    if (c->answers == NULL)
        return false;
    *out = (struct callout_action){.act = CALLOUT_ANSWER, .wish = c->answers};
    c->answers = c->answers->next;
    if (c->answers == NULL)
        c->answers_end = &c->answers;
    return true;
}

bool callout_is_idle(const struct callout *c)
{
    for (uint32_t i = 0; i < LIMIT_CALLOUT_DOMAINS; i++)
        if (c->domains[i].state != CO_FREE)
            return false;
    return c->answers == NULL;
}

void callout_stop(struct callout *c)
{
    c->is_stopped = true;
    for (uint32_t i = 0; i < LIMIT_CALLOUT_DOMAINS; i++) {
        struct callout_domain *d = &c->domains[i];

        if (d->state == CO_WAITING || d->state == CO_ROUTING)
            answer_all(c, d, CALLOUT_NOT_ASKED);
        let_go(d);
    }
}

void callout_abandon(struct callout *c)
{
    callout_stop(c);
    for (uint32_t i = 0; i < LIMIT_CALLOUT_DOMAINS; i++) {
        answer_all(c, &c->domains[i], CALLOUT_NOT_ASKED);
        if (c->domains[i].state != CO_FREE)
            move(&c->domains[i], CO_FREE);
    }
}
