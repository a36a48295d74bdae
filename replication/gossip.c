#include "replication/gossip.h"

#include "base/assert.h"
#include "base/bigendian.h"

enum { GREET = 1, CHANGES = 2 };

#define HEAD_BYTES  26 /* of CHANGES, before its entries */
#define GREET_BYTES 19 /* before what was heard of each set */

static_assert(HEAD_BYTES + 2 + LIMIT_GOSSIP_ENTRY_BYTES <= LIMIT_GOSSIP_FRAME_BYTES &&
                  GREET_BYTES + 8 * LIMIT_GOSSIP_SETS <= LIMIT_GOSSIP_FRAME_BYTES,
              "a frame has room for one");

void gossip_init(struct gossip *g, const struct gossip_options *o)
{
    ASSERT(o->nonce != 0 && o->set_count <= LIMIT_GOSSIP_SETS);
    *g = (struct gossip){.o = *o};
}

static struct gossip_peer *find(struct gossip *g, uint16_t site)
{
    for (int i = 0; i < GOSSIP_PEERS; i++)
        if (g->peers[i].site == site)
            return &g->peers[i];
    return NULL;
}

/* A new site takes the place of one whose link is down. */
static struct gossip_peer *place(struct gossip *g, uint16_t site)
{
    struct gossip_peer *p = find(g, site);

    for (int i = 0; p == NULL && i < GOSSIP_PEERS; i++)
        if (!g->peers[i].is_up) {
            p = &g->peers[i];
            *p = (struct gossip_peer){.site = site};
        }
    return p;
}

/* --- bytes --- */

/* 0 when there are too few; *ok turns false. */
static uint64_t load(struct str *s, int bytes, bool *ok)
{
    uint64_t v;

    *ok = *ok && s->n >= (size_t)bytes;
    v = *ok ? get_be(s->p, bytes) : 0;
    *s = *ok ? str_from(*s, (size_t)bytes) : STR_NONE;
    return v;
}

/* --- what goes out --- */

static void greet(struct gossip *g, struct gossip_peer *p, uint64_t now)
{
    char *at = put_be(g->frame, 1, GREET);

    at = put_be(at, 8, g->o.nonce);
    at = put_be(at, 8, p->nonce);
    at = put_be(at, 1, !p->knows_us);
    at = put_be(at, 1, g->o.set_count);
    for (uint32_t i = 0; i < g->o.set_count; i++)
        at = put_be(at, 8, p->sets[i].heard);
    p->greet_ms = now + LIMIT_GOSSIP_GREET_MS;
    (*g->o.send)(g->o.ctx, p->site, (struct str){g->frame, (size_t)(at - g->frame)});
}

/* As many changes as a frame holds. False: there is none. */
static bool send_changes(struct gossip *g, struct gossip_peer *p, uint32_t set)
{
    struct change_cursor at = p->sets[set].at;
    size_t used = HEAD_BYTES, n = 1;
    char *head = g->frame;

    while (n > 0 && used + 2 + LIMIT_GOSSIP_ENTRY_BYTES <= LIMIT_GOSSIP_FRAME_BYTES) {
        n = (*g->o.sets[set].next)(g->o.sets[set].ctx, &at, g->frame + used + 2);
        ASSERT(n <= LIMIT_GOSSIP_ENTRY_BYTES);
        if (n > 0)
            put_be(g->frame + used, 2, n);
        used += n > 0 ? n + 2 : 0;
    }
    if (used == HEAD_BYTES)
        return false;
    head = put_be(head, 1, CHANGES);
    head = put_be(head, 8, g->o.nonce);
    head = put_be(head, 1, set);
    head = put_be(head, 8, p->sets[set].at.serial);
    put_be(head, 8, at.serial);
    p->sets[set].at = at;
    p->sets[set].upto[p->sets[set].flying++] = at;
    (*g->o.send)(g->o.ctx, p->site, (struct str){g->frame, used});
    return true;
}

static void go_back(struct gossip_peer *p, uint32_t set, uint64_t serial)
{
    if (p->sets[set].acked != serial)
        p->sets[set].acked_hint = 0; /* not where we thought: the set has to look */
    p->sets[set].acked = serial;
    p->sets[set].at = (struct change_cursor){serial, p->sets[set].acked_hint};
    p->sets[set].flying = 0;
}

static void pump_set(struct gossip *g, struct gossip_peer *p, uint32_t set, uint64_t now)
{
    if (p->sets[set].flying > 0 && now - p->sets[set].progress_ms >= LIMIT_GOSSIP_RESEND_MS)
        go_back(p, set, p->sets[set].acked);
    if (p->sets[set].flying == 0)
        p->sets[set].progress_ms = now;
    while (p->sets[set].flying < LIMIT_GOSSIP_FLYING && send_changes(g, p, set))
        ;
}

void gossip_tick(struct gossip *g, uint64_t now)
{
    for (int i = 0; i < GOSSIP_PEERS; i++) {
        struct gossip_peer *p = &g->peers[i];

        if (!p->is_up)
            continue;
        if (!p->knows_us && now >= p->greet_ms)
            greet(g, p, now);
        for (uint32_t set = 0; p->knows_us && set < p->set_count; set++)
            pump_set(g, p, set, now);
    }
}

bool gossip_is_quiet(const struct gossip *g)
{
    for (int i = 0; i < GOSSIP_PEERS; i++) {
        if (g->peers[i].is_up && !g->peers[i].knows_us)
            return false;
        for (uint32_t set = 0; g->peers[i].is_up && set < g->peers[i].set_count; set++)
            if (g->peers[i].sets[set].flying > 0)
                return false;
    }
    return true;
}

void gossip_link(struct gossip *g, uint16_t site, bool is_up, uint64_t now)
{
    struct gossip_peer *p = is_up ? place(g, site) : find(g, site);

    if (p == NULL)
        return;
    p->is_up = is_up;
    p->knows_us = false; /* where it stands is not known until it says so again */
    if (is_up) {
        greet(g, p, now);
        gossip_tick(g, now);
    }
}

/* --- what comes in --- */

/* A process of the peer that we have not heard before: all its serials are new. */
static void meet(struct gossip *g, struct gossip_peer *p, uint64_t nonce)
{
    if (p->nonce == nonce)
        return;
    p->nonce = nonce;
    p->knows_us = false; /* that was another one */
    for (uint32_t i = 0; i < g->o.set_count; i++)
        p->sets[i].heard = 0;
}

static void acked(struct gossip_peer *p, uint32_t set, uint64_t upto, uint64_t now)
{
    uint32_t done = 0;

    while (done < p->sets[set].flying && p->sets[set].upto[done].serial <= upto)
        done++;
    if (upto <= p->sets[set].acked)
        return; /* an old one, or nothing new: LIMIT_GOSSIP_RESEND_MS judges */
    p->sets[set].acked = upto;
    p->sets[set].acked_hint = done > 0 && p->sets[set].upto[done - 1].serial == upto
                                  ? p->sets[set].upto[done - 1].hint
                                  : 0;
    p->sets[set].progress_ms = now;
    if (p->sets[set].at.serial < upto) /* it was being sent again */
        p->sets[set].at = (struct change_cursor){upto, p->sets[set].acked_hint};
    p->sets[set].flying -= done;
    for (uint32_t i = 0; i < p->sets[set].flying; i++)
        p->sets[set].upto[i] = p->sets[set].upto[i + done];
}

/* False: it makes no sense. */
static bool take_greet(struct gossip *g, struct gossip_peer *p, struct str s, uint64_t now)
{
    uint64_t heard[UINT8_MAX] = {0}, nonce, of, asks;
    bool ok = true, was_known;
    uint32_t count;

    nonce = load(&s, 8, &ok);
    of = load(&s, 8, &ok);
    asks = load(&s, 1, &ok);
    count = (uint32_t)load(&s, 1, &ok);
    for (uint32_t i = 0; i < count; i++)
        heard[i] = load(&s, 8, &ok);
    if (!ok || s.n > 0 || nonce == 0 || asks > 1)
        return false;
    meet(g, p, nonce);
    was_known = p->knows_us;
    p->knows_us |= of == g->o.nonce;
    if (asks == 1)
        greet(g, p, now);
    p->set_count = count < g->o.set_count ? count : g->o.set_count;
    if (of != g->o.nonce)
        return true; /* it does not know us, or only as we were before a restart */
    for (uint32_t i = 0; i < p->set_count; i++) {
        if (was_known)
            acked(p, i, heard[i], now);
        else
            go_back(p, i, heard[i]);
    }
    return true;
}

static bool merge_all(struct gossip *g, uint32_t set, struct str s)
{
    bool ok = true;

    while (ok && s.n > 0) {
        size_t n = load(&s, 2, &ok);

        ok = ok && n > 0 && n <= LIMIT_GOSSIP_ENTRY_BYTES && n <= s.n &&
             (*g->o.sets[set].merge)(g->o.sets[set].ctx, str_head(s, n));
        s = ok ? str_from(s, n) : STR_NONE;
    }
    return ok;
}

/* An entry that makes no sense is not heard again with each try: the frame is acknowledged and
 * what is left of it is lost. The peer is out of its mind, or newer than it should be. */
static bool take_changes(struct gossip *g, struct gossip_peer *p, struct str s, uint64_t now)
{
    bool ok = true;
    uint64_t nonce = load(&s, 8, &ok), set = load(&s, 1, &ok), from = load(&s, 8, &ok),
             upto = load(&s, 8, &ok);

    if (!ok || nonce == 0 || upto <= from || s.n == 0)
        return false;
    if (set >= g->o.set_count)
        return true;
    meet(g, p, nonce);
    if (from <= p->sets[set].heard && upto > p->sets[set].heard) {
        p->sets[set].heard = upto;
        ok = merge_all(g, (uint32_t)set, s);
    }
    greet(g, p, now); /* where we stand: an ack, or what is missing */
    return ok;
}

void gossip_heard(struct gossip *g, uint16_t site, struct str facts, uint64_t now)
{
    struct gossip_peer *p = find(g, site);
    bool ok = true;
    uint64_t kind = load(&facts, 1, &ok);

    if (p == NULL || !p->is_up)
        return;
    if (kind == GREET)
        ok = ok && take_greet(g, p, facts, now);
    else
        ok = ok && kind == CHANGES && take_changes(g, p, facts, now);
    g->bad += !ok;
    gossip_tick(g, now);
}
