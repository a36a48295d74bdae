/* Whatever DNS says, a route never leads to ourselves, to a private address or past a limit,
 * and preferences never go down along it. */
#include <stdlib.h>

#include "node/delivery/route.h"

#define NAMES 6
#define IPS   8

static const char *const names[NAMES] = {"a.example", "A.EXAMPLE.", "mx1.own.example",
                                         "b.example", ".",          "MX2.own.example."};

struct input {
    const uint8_t *p;
    size_t n;
};

static uint32_t byte(struct input *in)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->p++;
}

/* Public, private, own, IPv4 in IPv6: a few of each. */
static struct route_ip any_ip(struct input *in)
{
    static const uint8_t heads[][16] = {
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 0},
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 0},
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 0},
        {0x2a, 2},
        {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 203, 0, 113, 0},
        {0xfe, 0x80},
        {0}};
    struct route_ip ip;

    memcpy(ip.b, heads[byte(in) % 7], sizeof ip.b);
    ip.b[15] = (uint8_t)byte(in);
    if (byte(in) == 255)
        for (int i = 0; i < 16; i++)
            ip.b[i] = (uint8_t)byte(in);
    return ip;
}

static void check(const struct route *r, const struct route_self *self, bool allow_private)
{
    ASSERT((r->result == ROUTE_OK) == (r->count > 0));
    ASSERT(r->count <= LIMIT_ROUTE_ADDRS);
    for (size_t i = 0; i < r->count; i++) {
        ASSERT(i == 0 || r->addrs[i].pref >= r->addrs[i - 1].pref);
        ASSERT(allow_private || !route_ip_is_private(r->addrs[i].ip));
        ASSERT(r->addrs[i].port != 0 && r->addrs[i].host.n > 0);
        for (size_t k = 0; k < self->ip_count; k++)
            ASSERT(!route_ip_eq(r->addrs[i].ip, self->ips[k]));
        for (size_t k = 0; k < i; k++)
            ASSERT(!route_ip_eq(r->addrs[i].ip, r->addrs[k].ip) ||
                   r->addrs[i].port != r->addrs[k].port);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str own[] = {{"mx1.own.example", 15}, {"mx2.own.example", 15}};
    struct route_ip own_ip = route_ip_v4((const uint8_t[4]){203, 0, 113, 1});
    struct route_self self = {own, 2, &own_ip, 1};
    struct input in = {data, size};
    struct route_host hosts[LIMIT_ROUTE_HOSTS] = {0};
    struct route_ip ips[LIMIT_ROUTE_HOSTS][IPS];
    struct route_mx mx[40];
    size_t count = byte(&in) % 41;
    struct route_plan plan;
    struct route_query q;
    struct route route;
    struct prng rng;

    prng_seed(&rng, byte(&in));
    for (size_t i = 0; i < count; i++)
        mx[i] = (struct route_mx){str_of(names[byte(&in) % NAMES]), (uint16_t)byte(&in)};
    route_plan(STR("customer.example"), (enum route_lookup)(byte(&in) % 4), mx, count, &self,
               &rng, &plan);
    ASSERT((plan.result == ROUTE_OK) == (plan.count > 0) && plan.count <= LIMIT_ROUTE_HOSTS);
    if (plan.result != ROUTE_OK)
        return 0;
    for (size_t i = 0; i < plan.count; i++) {
        hosts[i] = (struct route_host){.name = plan.hosts[i].host,
                                       .port = (uint16_t)byte(&in),
                                       .a = (enum route_lookup)(byte(&in) % 4),
                                       .aaaa = (enum route_lookup)(byte(&in) % 4),
                                       .ips = ips[i],
                                       .ip_count = byte(&in) % (IPS + 1)};
        for (size_t k = 0; k < hosts[i].ip_count; k++)
            ips[i][k] = any_ip(&in);
    }
    q = (struct route_query){.plan = &plan,
                             .hosts = hosts,
                             .self = &self,
                             .rng = &rng,
                             .ttl_s = 300,
                             .allow_private = byte(&in) % 2 == 0};
    route_build(&q, &route);
    check(&route, &self, q.allow_private);
    route_build_static(hosts, plan.count, 300, &route);
    ASSERT(route.count <= LIMIT_ROUTE_ADDRS);
    return 0;
}
