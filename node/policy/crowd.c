#include "node/policy/crowd.h"

#include "base/assert.h"
#include "base/map.h"

#define MINUTE_US UINT64_C(60000000)

static_assert(LIMIT_CROWD_CELLS <= 65536 && (LIMIT_CROWD_CELLS & (LIMIT_CROWD_CELLS - 1)) == 0,
              "one hash of 64 bits gives the cells of four rows");

void crowd_init(struct crowd *c, const uint64_t secret[2])
{
    c->secret[0] = secret[0];
    c->secret[1] = secret[1];
}

static struct crowd_place find(const struct crowd *c, const struct ip_addr *who)
{
    uint64_t hash = siphash(c->secret, who->b, sizeof who->b);
    struct crowd_place p = {.is_inside = true};

    for (int i = 0; i < CROWD_ROWS; i++, hash >>= 16)
        p.cells[i] = (uint16_t)(hash & (LIMIT_CROWD_CELLS - 1));
    return p;
}

/* All cells first, then a look, and undone when it was one too many: who looks first and adds
 * then lets in as many as there are threads, and who looks at each cell as he adds to it can
 * pass others between two of them. */
static bool add_inside(struct crowd *c, const struct crowd_place *p, uint32_t most)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < CROWD_ROWS; i++)
        atomic_fetch_add(&c->cells[i][p->cells[i]].inside, 1);
    for (int i = 0; i < CROWD_ROWS; i++) {
        uint64_t now = atomic_load(&c->cells[i][p->cells[i]].inside);

        if (now < least)
            least = now;
    }
    return least <= most;
}

static void take_inside(struct crowd *c, const struct crowd_place *p)
{
    for (int i = 0; i < CROWD_ROWS; i++)
        atomic_fetch_sub(&c->cells[i][p->cells[i]].inside, 1);
}

/* When the cell is full again with one session more. */
static uint64_t pour(struct crowd_cell *cell, uint64_t cost_us, uint64_t now_us)
{
    uint_fast64_t was = atomic_load(&cell->full_us), then;

    do
        then = (was > now_us ? was : now_us) + cost_us;
    while (!atomic_compare_exchange_weak(&cell->full_us, &was, then));
    return then;
}

static void take_rate(struct crowd *c, const struct crowd_place *p, uint32_t per_minute)
{
    for (int i = 0; i < CROWD_ROWS; i++)
        atomic_fetch_sub(&c->cells[i][p->cells[i]].full_us, MINUTE_US / per_minute);
}

static bool add_rate(struct crowd *c, const struct crowd_place *p, uint32_t per_minute,
                     uint64_t now_ms)
{
    uint64_t cost_us = MINUTE_US / per_minute, now_us = now_ms * 1000, least = UINT64_MAX;

    for (int i = 0; i < CROWD_ROWS; i++) {
        uint64_t full_us = pour(&c->cells[i][p->cells[i]], cost_us, now_us);

        if (full_us < least)
            least = full_us;
    }
    if (least <= now_us + MINUTE_US)
        return true;
    take_rate(c, p, per_minute);
    return false;
}

enum crowd_verdict crowd_enter(struct crowd *c, const struct ip_addr *who,
                               const struct crowd_terms *terms, uint64_t now_ms,
                               struct crowd_place *place)
{
    struct crowd_place p = find(c, who);

    ASSERT(terms->inside > 0);
    *place = (struct crowd_place){0};
    if (!add_inside(c, &p, terms->inside)) {
        take_inside(c, &p);
        return CROWD_TOO_MANY;
    }
    if (terms->per_minute > 0 && !add_rate(c, &p, terms->per_minute, now_ms)) {
        take_inside(c, &p);
        return CROWD_TOO_FAST;
    }
    *place = p;
    return CROWD_IN;
}

void crowd_leave(struct crowd *c, struct crowd_place *place)
{
    if (place->is_inside)
        take_inside(c, place);
    *place = (struct crowd_place){0};
}

void crowd_undo(struct crowd *c, const struct crowd_terms *terms, struct crowd_place *place)
{
    if (place->is_inside && terms->per_minute > 0)
        take_rate(c, place, terms->per_minute);
    crowd_leave(c, place);
}

struct ip_addr crowd_client(const struct ip_addr *ip)
{
    return ip_is_v4(ip) ? *ip : ip_network(ip, 64);
}

struct ip_addr crowd_network(const struct ip_addr *ip)
{
    return ip_network(ip, ip_is_v4(ip) ? IP_V4_BITS + 24 : 48);
}
