#include "node/delivery/holding.h"

#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/pool.h"

struct held_slot {
    uint16_t site; /* 0: nobody */
    bool leaving, seen, is_new;
    uint64_t epoch, since_ms;
};

struct held_place {
    char name[LIMIT_SMTP_DOMAIN_BYTES];
    uint8_t name_n;
    bool giving; /* by a placement of ours, under giving_epoch */
    uint16_t site;
    uint64_t epoch, giving_epoch, since_ms;
    uint64_t view; /* the last one that named it; 0: it is here for `giving` alone */
};

struct holding {
    struct arena arena;
    uint16_t site;
    bool valid, changed;
    bool all_new; /* a placement, or the lease, is another one */
    uint64_t view, now_ms;
    struct held_slot slots[HOLDING_SLOTS];
    struct pool places;
    struct map index;
};

struct holding *holding_new(uint16_t site, uint64_t seed)
{
    struct arena arena;
    struct holding *h;

    arena_init(&arena, sizeof *h + 4 * KiB);
    h = arena_take(&arena, sizeof *h);
    if (h == NULL) {
        arena_reset(&arena);
        return NULL;
    }
    h->arena = arena;
    h->site = site;
    pool_init(&h->places, sizeof(struct held_place), LIMIT_DOMAINS);
    map_init(&h->index, LIMIT_DOMAINS, seed);
    return h;
}

void holding_free(struct holding **h)
{
    struct arena arena;

    if (*h == NULL)
        return;
    map_fini(&(*h)->index);
    pool_fini(&(*h)->places);
    arena = (*h)->arena;
    arena_reset(&arena);
    *h = NULL;
}

/* --- placements --- */

static struct held_place *place_at(const struct holding *h, uint32_t item)
{
    return pool_at(&h->places, item);
}

static struct str name_of(const struct held_place *p)
{
    return (struct str){p->name, p->name_n};
}

static bool has_name(const void *ctx, uint32_t item, const void *key)
{
    return str_eq(name_of(place_at(ctx, item)), *(const struct str *)key);
}

static struct held_place *find(const struct holding *h, struct str domain)
{
    uint32_t item =
        map_find(&h->index, map_hash(&h->index, domain.p, domain.n), has_name, h, &domain);

    return item != 0 ? place_at(h, item) : NULL;
}

static struct held_place *get(struct holding *h, struct str domain)
{
    struct held_place *p = find(h, domain);
    uint32_t item;

    if (p != NULL || domain.n > sizeof p->name)
        return p;
    item = pool_take(&h->places);
    if (item == 0)
        return NULL;
    p = place_at(h, item);
    memcpy(p->name, domain.p, domain.n);
    p->name_n = (uint8_t)domain.n;
    if (map_put(&h->index, map_hash(&h->index, domain.p, domain.n), item) == OK)
        return p;
    pool_give(&h->places, item);
    return NULL;
}

static bool is_placed(const struct held_place *p)
{
    return p != NULL && p->view != 0 && p->site != 0;
}

/* --- the view --- */

void holding_begin(struct holding *h, uint64_t now_ms)
{
    h->view++;
    h->now_ms = now_ms;
    h->all_new = false;
    for (uint32_t i = 0; i < HOLDING_SLOTS; i++)
        h->slots[i].seen = h->slots[i].is_new = false;
}

static void set_slot(struct holding *h, uint32_t slot, const struct held_slot *to)
{
    struct held_slot *s = &h->slots[slot];
    bool is_new = (s->site == h->site || to->site == h->site) &&
                  (s->site != to->site || s->epoch != to->epoch || s->leaving != to->leaving);

    uint64_t since_ms = s->site == to->site && s->epoch == to->epoch ? s->since_ms : h->now_ms;

    h->changed |= is_new;
    *s = *to;
    s->is_new = is_new;
    s->since_ms = since_ms;
}

void holding_slot(struct holding *h, uint32_t slot, uint16_t site, uint64_t epoch, bool leaving)
{
    ASSERT(slot < HOLDING_SLOTS);
    set_slot(
        h, slot,
        &(struct held_slot){.site = site, .epoch = epoch, .leaving = leaving, .seen = true});
}

enum err holding_place(struct holding *h, struct str domain, uint16_t site, uint64_t epoch)
{
    struct held_place *p = get(h, domain);

    if (p == NULL)
        return E_FULL;
    if (p->view == 0 || p->site != site || p->epoch != epoch) {
        h->all_new = true;
        p->since_ms = h->now_ms;
    }
    p->site = site;
    p->epoch = epoch;
    p->view = h->view;
    return OK;
}

/* What this view did not name. */
static void forget_places(struct holding *h)
{
    for (uint32_t i = 1; i <= h->places.made; i++) {
        struct held_place *p = pool_is_taken(&h->places, i) ? place_at(h, i) : NULL;

        if (p == NULL || p->view == h->view)
            continue;
        h->all_new |= p->view != 0;
        p->view = 0;
        if (p->giving)
            continue;
        map_remove(&h->index, map_hash(&h->index, p->name, p->name_n), i);
        pool_give(&h->places, i);
    }
}

bool holding_end(struct holding *h)
{
    bool changed;

    for (uint32_t i = 0; i < HOLDING_SLOTS; i++)
        if (!h->slots[i].seen)
            set_slot(h, i, &(struct held_slot){.site = 0});
    forget_places(h);
    changed = h->changed || h->all_new;
    h->changed = false;
    return changed;
}

bool holding_is_new(const struct holding *h, uint32_t slot)
{
    return h->all_new || h->slots[slot].is_new;
}

bool holding_lease(struct holding *h, bool valid)
{
    bool changed = h->valid != valid;

    h->all_new |= changed;
    h->valid = valid;
    return changed;
}

/* --- giving a domain away --- */

static uint64_t epoch_here(const struct holding *h, const struct held_place *p, uint32_t slot)
{
    const struct held_slot *s = &h->slots[slot];

    if (is_placed(p))
        return p->site == h->site ? p->epoch : 0;
    if (s->site != h->site)
        return 0;
    return p != NULL && p->view != 0 && p->epoch > s->epoch ? p->epoch : s->epoch;
}

void holding_give(struct holding *h, struct str domain, uint32_t slot)
{
    struct held_place *p = get(h, domain);

    if (p == NULL)
        return;
    p->giving = true;
    p->giving_epoch = epoch_here(h, p, slot);
}

void holding_keep(struct holding *h, struct str domain)
{
    struct held_place *p = find(h, domain);

    if (p != NULL)
        p->giving = false; /* and forgotten by the next view, when it is not placed */
}

/* --- answers --- */

uint64_t holding_epoch(const struct holding *h, struct str domain, uint32_t slot)
{
    ASSERT(slot < HOLDING_SLOTS);
    return h->valid ? epoch_here(h, find(h, domain), slot) : 0;
}

bool holding_of(const struct holding *h, struct str domain, uint32_t slot, uint64_t *epoch)
{
    const struct held_place *p = find(h, domain);

    *epoch = h->valid ? epoch_here(h, p, slot) : 0;
    if (*epoch == 0 || (p != NULL && p->giving && p->giving_epoch == *epoch))
        return false;
    return is_placed(p) || !h->slots[slot].leaving;
}

uint64_t holding_since(const struct holding *h, struct str domain, uint32_t slot)
{
    const struct held_place *p = find(h, domain);

    if (p != NULL && p->view != 0 && (p->site != 0 || p->epoch > h->slots[slot].epoch))
        return p->since_ms;
    return h->slots[slot].since_ms;
}

bool holding_is_placed(const struct holding *h, struct str domain)
{
    const struct held_place *p = find(h, domain);

    return is_placed(p) && p->site == h->site;
}

bool holding_has_lease(const struct holding *h)
{
    return h->valid;
}

uint16_t holding_home(const struct holding *h, uint32_t slot)
{
    return h->slots[slot].site;
}

uint64_t holding_leaving(const struct holding *h, uint32_t slot)
{
    const struct held_slot *s = &h->slots[slot];

    return s->site == h->site && s->leaving ? s->epoch : 0;
}
