#include "node/delivery/route.h"

#include "base/assert.h"

#define SMTP_PORT  25
#define UNSURE_TTL 60              /* seconds: of a route of which a host gave no answer */
#define NO_SELF    UINT32_C(65536) /* above every preference */

/* --- addresses --- */

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

struct route_ip route_ip_v4(const uint8_t b[4])
{
    struct route_ip ip;

    memcpy(ip.b, mapped, sizeof mapped);
    memcpy(ip.b + sizeof mapped, b, 4);
    return ip;
}

bool route_ip_is_v4(struct route_ip ip)
{
    return memcmp(ip.b, mapped, sizeof mapped) == 0;
}

bool route_ip_eq(struct route_ip a, struct route_ip b)
{
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}

struct prefix {
    uint8_t b[16];
    unsigned bits;
};

#define V4(a, b, c, d, bits)                                                                   \
    {                                                                                          \
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, 96 + (bits)                    \
    }

/* Where no mail may ever go, not even in a laboratory: this names no single machine. */
static const struct prefix nowhere[] = {
    V4(0, 0, 0, 0, 8),          /* RFC 791: "this network" */
    V4(224, 0, 0, 0, 4),        /* RFC 1112: multicast */
    V4(255, 255, 255, 255, 32), /* RFC 919: limited broadcast */
    {{0}, 128},                 /* RFC 4291 2.5.2: unspecified */
    {{0xff}, 8},                /* RFC 4291 2.7: multicast */
};

static const struct prefix private[] = {
    V4(10, 0, 0, 0, 8),     /* RFC 1918 */
    V4(100, 64, 0, 0, 10),  /* RFC 6598: carrier NAT */
    V4(127, 0, 0, 0, 8),    /* RFC 1122: loopback */
    V4(169, 254, 0, 0, 16), /* RFC 3927: link-local */
    V4(172, 16, 0, 0, 12),  /* RFC 1918 */
    V4(192, 0, 0, 0, 24),   /* RFC 6890: protocol assignments */
    V4(192, 168, 0, 0, 16), /* RFC 1918 */
    V4(198, 18, 0, 0, 15),  /* RFC 2544: benchmarks */
    V4(240, 0, 0, 0, 4),    /* RFC 1112: reserved */
    {{0}, 96},              /* RFC 4291: loopback, IPv4-compatible */
    {{[1] = 0x64, [2] = 0xff, [3] = 0x9b, [5] = 1}, 48}, /* RFC 8215: local NAT64 */
    {{0x01}, 64},                                        /* RFC 6666: discard */
    {{0xfc}, 7},                                         /* RFC 4193: unique local */
    {{0xfe, 0x80}, 10},                                  /* RFC 4291: link-local */
    {{0xfe, 0xc0}, 10},                                  /* RFC 3879: site-local */
};

/* IPv4 addresses that stand inside IPv6 ones are judged as such. */
static const struct inside {
    struct prefix prefix;
    unsigned at;
} insides[] = {
    {{{[1] = 0x64, [2] = 0xff, [3] = 0x9b}, 96}, 12}, /* RFC 6052: NAT64 */
    {{{0x20, 0x02}, 16}, 2},                          /* RFC 3056: 6to4 */
};

static bool has_prefix(struct route_ip ip, const struct prefix *p)
{
    unsigned whole = p->bits / 8, rest = p->bits % 8;

    if (memcmp(ip.b, p->b, whole) != 0)
        return false;
    return rest == 0 || (ip.b[whole] ^ p->b[whole]) >> (8 - rest) == 0;
}

static bool in_list(struct route_ip ip, const struct prefix *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (has_prefix(ip, &list[i]))
            return true;
    return false;
}

/* The address that packets end up at. */
static struct route_ip inner(struct route_ip ip)
{
    for (size_t i = 0; i < sizeof insides / sizeof *insides; i++)
        if (has_prefix(ip, &insides[i].prefix))
            return route_ip_v4(ip.b + insides[i].at);
    return ip;
}

static bool is_nowhere(struct route_ip ip)
{
    return in_list(inner(ip), nowhere, sizeof nowhere / sizeof *nowhere);
}

bool route_ip_is_private(struct route_ip ip)
{
    return is_nowhere(ip) || in_list(inner(ip), private, sizeof private / sizeof *private);
}

const char *route_result_text(enum route_result r)
{
    static const char *const texts[] = {
        [ROUTE_OK] = "ok",
        [ROUTE_NO_ANSWER] = "no-answer",
        [ROUTE_NO_DOMAIN] = "no-domain",
        [ROUTE_NO_MX] = "no-mx",
        [ROUTE_NO_ADDRESS] = "no-address",
        [ROUTE_NULL_MX] = "null-mx",
        [ROUTE_LOOPS_TO_SELF] = "loops-to-self",
        [ROUTE_ALL_PRIVATE] = "all-private",
        [ROUTE_RESULTS] = "none-yet",
    };

    ASSERT((size_t)r < sizeof texts / sizeof *texts);
    return texts[r];
}

/* --- hosts --- */

static struct str trim(struct str name)
{
    return str_ends(name, '.') ? str_head(name, name.n - 1) : name;
}

static bool same_name(struct str a, struct str b)
{
    return str_eq_nocase(trim(a), trim(b));
}

static bool is_own_name(const struct route_self *self, struct str name)
{
    for (size_t i = 0; i < self->name_count; i++)
        if (same_name(self->names[i], name))
            return true;
    return false;
}

static bool is_own_ip(const struct route_self *self, struct route_ip ip)
{
    for (size_t i = 0; i < self->ip_count; i++)
        if (route_ip_eq(self->ips[i], inner(ip)) || route_ip_eq(self->ips[i], ip))
            return true;
    return false;
}

struct ranked {
    struct route_mx mx;
    uint32_t order; /* random: equal preferences are shuffled by it */
};

static bool is_better(const struct ranked *a, const struct ranked *b)
{
    return a->mx.pref != b->mx.pref ? a->mx.pref < b->mx.pref : a->order < b->order;
}

/* Keeps the best LIMIT_ROUTE_HOSTS, each name once, with its best preference. */
static size_t rank(struct ranked *list, size_t count, struct ranked fresh)
{
    size_t at;

    for (at = 0; at < count; at++) {
        if (!same_name(list[at].mx.host, fresh.mx.host))
            continue;
        if (!is_better(&fresh, &list[at]))
            return count;
        memmove(&list[at], &list[at + 1], (count - at - 1) * sizeof *list);
        count--;
        break;
    }
    for (at = count; at > 0 && is_better(&fresh, &list[at - 1]); at--)
        ;
    if (at == LIMIT_ROUTE_HOSTS)
        return count;
    if (count == LIMIT_ROUTE_HOSTS)
        count--;
    memmove(&list[at + 1], &list[at], (count - at) * sizeof *list);
    list[at] = fresh;
    return count + 1;
}

static bool is_null_mx(const struct route_mx *mx, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (trim(mx[i].host).n > 0)
            return false;
    return count > 0;
}

/* The implicit MX of RFC 5321 5.1. */
static void plan_implicit(struct str domain, const struct route_self *self,
                          struct route_plan *out)
{
    out->is_implicit = true;
    out->result = is_own_name(self, domain) ? ROUTE_LOOPS_TO_SELF : ROUTE_OK;
    out->hosts[0] = (struct route_mx){trim(domain), 0};
    out->count = out->result == ROUTE_OK ? 1 : 0;
}

static void plan_mx(const struct route_mx *mx, size_t count, const struct route_self *self,
                    struct prng *rng, struct route_plan *out)
{
    struct ranked list[LIMIT_ROUTE_HOSTS + 1];
    uint32_t self_pref = NO_SELF;
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (is_own_name(self, mx[i].host) && mx[i].pref < self_pref)
            self_pref = mx[i].pref;
    for (size_t i = 0; i < count; i++) {
        struct str host = trim(mx[i].host);

        if (host.n == 0 || host.n > LIMIT_SMTP_DOMAIN_BYTES || mx[i].pref >= self_pref)
            continue;
        kept = rank(list, kept,
                    (struct ranked){{host, mx[i].pref}, (uint32_t)(prng_next(rng) >> 32)});
    }
    out->knows_self = self_pref != NO_SELF;
    out->self_pref = out->knows_self ? (uint16_t)self_pref : 0;
    out->count = kept;
    for (size_t i = 0; i < kept; i++)
        out->hosts[i] = list[i].mx;
    if (kept > 0)
        out->result = ROUTE_OK;
    else
        out->result = out->knows_self ? ROUTE_LOOPS_TO_SELF : ROUTE_NO_ADDRESS;
}

void route_plan(struct str domain, enum route_lookup lookup, const struct route_mx *mx,
                size_t count, const struct route_self *self, struct prng *rng,
                struct route_plan *out)
{
    *out = (struct route_plan){.result = ROUTE_NO_ANSWER};
    switch (lookup) {
    case ROUTE_LOOKUP_NO_ANSWER:
        break;
    case ROUTE_LOOKUP_NXDOMAIN:
        out->result = ROUTE_NO_DOMAIN;
        break;
    case ROUTE_LOOKUP_NODATA:
        plan_implicit(domain, self, out);
        break;
    case ROUTE_LOOKUP_FOUND:
        if (is_null_mx(mx, count))
            out->result = ROUTE_NULL_MX;
        else if (count > 0)
            plan_mx(mx, count, self, rng, out);
        break;
    }
}

/* --- addresses of hosts --- */

static void add(struct route *r, const struct route_addr *a)
{
    for (size_t i = 0; i < r->count; i++)
        if (route_ip_eq(r->addrs[i].ip, a->ip) && r->addrs[i].port == a->port)
            return;
    if (r->count < LIMIT_ROUTE_ADDRS)
        r->addrs[r->count++] = *a;
}

static void shuffle(struct route_addr *a, size_t count, struct prng *rng)
{
    for (size_t i = count; i > 1; i--) {
        size_t k = (size_t)prng_below(rng, i);
        struct route_addr was = a[i - 1];

        a[i - 1] = a[k];
        a[k] = was;
    }
}

struct finding {
    bool unsure, private; /* a host gave no answer; an address was one we must not use */
    size_t usable;        /* hosts better than us */
};

static uint32_t self_pref_of(const struct route_query *q)
{
    uint32_t pref = q->plan->knows_self ? q->plan->self_pref : NO_SELF;

    for (size_t i = 0; i < q->plan->count; i++)
        for (size_t k = 0; k < q->hosts[i].ip_count; k++)
            if (is_own_ip(q->self, q->hosts[i].ips[k]) && q->plan->hosts[i].pref < pref)
                pref = q->plan->hosts[i].pref;
    return pref;
}

/* The addresses of a host that may be used, at most LIMIT_ROUTE_HOST_ADDRS, any of many. */
static size_t host_addrs(const struct route_query *q, size_t at, struct route_addr *out,
                         struct finding *found)
{
    const struct route_host *h = &q->hosts[at];
    size_t kept = 0;

    for (size_t i = 0; i < h->ip_count; i++) {
        struct route_addr a = {h->ips[i], h->port != 0 ? h->port : SMTP_PORT,
                               q->plan->hosts[at].pref, q->plan->hosts[at].host};
        size_t slot = kept;

        if (is_nowhere(a.ip) || (!q->allow_private && route_ip_is_private(a.ip))) {
            found->private = true;
            continue;
        }
        if (kept == LIMIT_ROUTE_HOST_ADDRS)
            slot = (size_t)prng_below(q->rng, i + 1); /* every one has the same chance */
        else
            kept++;
        if (slot < LIMIT_ROUTE_HOST_ADDRS)
            out[slot] = a;
    }
    if (kept == 0 && (h->a == ROUTE_LOOKUP_NO_ANSWER || h->aaaa == ROUTE_LOOKUP_NO_ANSWER))
        found->unsure = true;
    return kept;
}

static enum route_result why_empty(const struct route_query *q, const struct finding *found)
{
    const struct route_host *h = &q->hosts[0];

    if (found->usable == 0)
        return ROUTE_LOOPS_TO_SELF;
    if (found->unsure)
        return ROUTE_NO_ANSWER;
    if (found->private)
        return ROUTE_ALL_PRIVATE;
    if (!q->plan->is_implicit)
        return ROUTE_NO_ADDRESS;
    return h->a == ROUTE_LOOKUP_NXDOMAIN && h->aaaa == ROUTE_LOOKUP_NXDOMAIN ? ROUTE_NO_DOMAIN
                                                                             : ROUTE_NO_MX;
}

void route_build(const struct route_query *q, struct route *out)
{
    struct route_addr list[LIMIT_ROUTE_HOSTS * LIMIT_ROUTE_HOST_ADDRS];
    uint32_t self_pref = self_pref_of(q);
    struct finding found = {0};
    size_t count = 0, from = 0;

    ASSERT(q->plan->result == ROUTE_OK && q->plan->count <= LIMIT_ROUTE_HOSTS);
    *out = (struct route){.result = ROUTE_OK, .ttl_s = q->ttl_s};
    for (size_t i = 0; i < q->plan->count; i++) {
        if (q->plan->hosts[i].pref >= self_pref)
            continue;
        found.usable++;
        count += host_addrs(q, i, list + count, &found);
    }
    while (from < count) { /* a group of one preference */
        size_t to = from;

        while (to < count && list[to].pref == list[from].pref)
            to++;
        shuffle(list + from, to - from, q->rng);
        for (; from < to; from++)
            add(out, &list[from]);
    }
    if (out->count == 0)
        out->result = why_empty(q, &found);
    else if (found.unsure && out->ttl_s > UNSURE_TTL)
        out->ttl_s = UNSURE_TTL; /* the host that gave no answer may be the better one */
}

void route_build_static(const struct route_host *hosts, size_t count, uint32_t ttl_s,
                        struct route *out)
{
    bool unsure = false;

    *out = (struct route){.result = ROUTE_OK, .ttl_s = ttl_s};
    for (size_t i = 0; i < count && i < LIMIT_ROUTE_HOSTS; i++) {
        const struct route_host *h = &hosts[i];

        for (size_t k = 0; k < h->ip_count && k < LIMIT_ROUTE_HOST_ADDRS; k++) {
            struct route_addr a = {h->ips[k], h->port != 0 ? h->port : SMTP_PORT, (uint16_t)i,
                                   trim(h->name)};

            add(out, &a);
        }
        unsure |= h->ip_count == 0 &&
                  (h->a == ROUTE_LOOKUP_NO_ANSWER || h->aaaa == ROUTE_LOOKUP_NO_ANSWER);
    }
    if (out->count == 0)
        out->result = unsure ? ROUTE_NO_ANSWER : ROUTE_NO_ADDRESS;
    else if (unsure && out->ttl_s > UNSURE_TTL)
        out->ttl_s = UNSURE_TTL;
}
