/* Finding the addresses of a domain: DNS questions out, node/delivery/route decides. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "node/cluster_private.h"

#define STATIC_TTL_S                                                                           \
    60 /* of a route of literals: how soon a changed record is noticed anyway */
#define UNKNOWN_TTL_S 300

/* One look-up of a route. */
struct route_job {
    struct route_job *next;
    struct cluster *cluster;
    char domain[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint64_t generation;
    uint32_t serial;
    bool is_callout; /* not the scheduler's: serial is its place */
    bool is_static, allow_private;
    unsigned waiting; /* answers still due */
    uint32_t ttl_s;
    struct route_plan plan;
    char names[LIMIT_ROUTE_HOSTS][LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct route_ip ips[LIMIT_ROUTE_HOSTS][LIMIT_ROUTE_HOST_ADDRS];
    struct route_host hosts[LIMIT_ROUTE_HOSTS];
    size_t host_count;
    struct host_query {
        struct route_job *job;
        size_t host;
        bool is_aaaa;
    } queries[2 * LIMIT_ROUTE_HOSTS];
    size_t query_count;
};

static void job_free(struct route_job *j)
{
    struct route_job **at = &j->cluster->routes;

    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    free(j);
}

void cluster_routes_free(struct cluster *c)
{
    while (c->routes != NULL)
        job_free(c->routes);
}

static enum route_lookup lookup_of(enum dns_status s)
{
    switch (s) {
    case DNS_OK:
        return ROUTE_LOOKUP_FOUND;
    case DNS_NXDOMAIN:
        return ROUTE_LOOKUP_NXDOMAIN;
    case DNS_NODATA:
        return ROUTE_LOOKUP_NODATA;
    case DNS_SERVFAIL:
    case DNS_BOGUS:
    case DNS_STATUSES:
    case DNS_SILENCE:
        break;
    }
    return ROUTE_LOOKUP_NO_ANSWER;
}

/* --- ourselves --- */

struct self {
    struct str names[LIMIT_CONFIG_ITEMS];
    struct route_ip ips[LIMIT_CONFIG_ITEMS];
    struct route_self self;
};

static struct route_ip ip_of(const struct sockaddr_storage *ss)
{
    struct route_ip ip = {{0}};

    if (ss->ss_family == AF_INET)
        return route_ip_v4((const uint8_t *)&((const struct sockaddr_in *)ss)->sin_addr);
    memcpy(ip.b, &((const struct sockaddr_in6 *)ss)->sin6_addr, sizeof ip.b);
    return ip;
}

static void self_fill(const struct node_config *config, struct self *s)
{
    const struct config_strings *names = &config->delivery.own_names;
    const struct config_addresses *addrs = &config->delivery.own_addresses;

    *s = (struct self){.self = {.names = s->names, .ips = s->ips}};
    for (size_t i = 0; i < names->n && i < LIMIT_CONFIG_ITEMS; i++)
        s->names[s->self.name_count++] = str_of(names->v[i]);
    for (size_t i = 0; i < addrs->n && i < LIMIT_CONFIG_ITEMS; i++)
        s->ips[s->self.ip_count++] = ip_of(&addrs->v[i].ss);
}

/* --- answers --- */

static void answer(struct route_job *j, const struct route *route)
{
    struct cluster *c = j->cluster;

    LOG(EV_ROUTE, L_CSTR("domain", j->domain),
        L_CSTR("result", route_result_text(route->result)), L_U64("addresses", route->count));
    if (j->is_callout) {
        cluster_callout_routed(c, j->serial, route); /* which borrows from the job */
        job_free(j);
        return;
    }
    cluster_tell(c, &(struct sched_event){.type = SCHED_EV_ROUTE_ANSWER,
                                          .domain = str_of(j->domain),
                                          .generation = j->generation,
                                          .serial = j->serial,
                                          .route = route});
    job_free(j);
    event_active(c->wake, EV_TIMEOUT, 0);
}

static void build(struct route_job *j)
{
    struct cluster *c = j->cluster;
    struct snapshot_ref *ref;
    const struct node_settings *s = cluster_settings(c, &ref);
    struct self self;
    struct route route;

    if (j->ttl_s == UINT32_MAX)
        j->ttl_s = UNKNOWN_TTL_S;
    if (j->is_static) {
        route_build_static(j->hosts, j->host_count, j->ttl_s, &route);
    } else {
        self_fill(s->config, &self);
        route_build(
            &(struct route_query){.plan = &j->plan,
                                  .hosts = j->hosts,
                                  .self = &self.self,
                                  .rng = &c->rng,
                                  .ttl_s = j->ttl_s,
                                  .allow_private = s->config->delivery.allow_private_addresses},
            &route);
    }
    snapshot_release(&ref);
    answer(j, &route);
}

static void on_host(void *arg, const struct dns_answer *a)
{
    struct host_query *q = arg;
    struct route_job *j = q->job;
    struct route_host *h = &j->hosts[q->host];
    struct route_ip *ips = j->ips[q->host];

    if (q->is_aaaa)
        h->aaaa = lookup_of(a->status);
    else
        h->a = lookup_of(a->status);
    for (size_t i = 0; i < a->count && h->ip_count < LIMIT_ROUTE_HOST_ADDRS; i++) {
        if (q->is_aaaa)
            memcpy(ips[h->ip_count++].b, &a->records[i].addr, 16);
        else
            ips[h->ip_count++] = route_ip_v4((const uint8_t *)&a->records[i].addr);
    }
    if (a->count > 0 && a->ttl_s < j->ttl_s)
        j->ttl_s = a->ttl_s;
    if (--j->waiting == 0)
        build(j);
}

/* Adds a host; asks for its addresses unless the name is one. */
static void add_host(struct route_job *j, struct str name, uint16_t pref, uint16_t port)
{
    size_t at = j->host_count;
    struct route_host *h = &j->hosts[at];
    struct in_addr v4;
    bool fits = at < LIMIT_ROUTE_HOSTS && str_to_z(name, j->names[at], sizeof j->names[at]);

    if (!fits)
        return;
    j->host_count++;
    *h = (struct route_host){
        .name = str_of(j->names[at]), .pref = pref, .port = port, .ips = j->ips[at]};
    if (inet_pton(AF_INET, j->names[at], &v4) == 1) {
        j->ips[at][0] = route_ip_v4((const uint8_t *)&v4);
        h->ip_count = 1;
        h->a = ROUTE_LOOKUP_FOUND;
        h->aaaa = ROUTE_LOOKUP_NODATA;
    } else if (inet_pton(AF_INET6, j->names[at], j->ips[at][0].b) == 1) {
        h->ip_count = 1;
        h->a = ROUTE_LOOKUP_NODATA;
        h->aaaa = ROUTE_LOOKUP_FOUND;
    } else {
        j->queries[j->query_count++] = (struct host_query){j, at, false};
        j->queries[j->query_count++] = (struct host_query){j, at, true};
    }
}

static void ask_hosts(struct route_job *j)
{
    j->waiting = (unsigned)j->query_count;
    if (j->waiting == 0) {
        j->ttl_s = STATIC_TTL_S;
        build(j);
        return;
    }
    for (size_t i = 0; i < j->query_count; i++) {
        struct host_query *q = &j->queries[i];

        dns_query(j->cluster->dns, j->names[q->host], q->is_aaaa ? DNS_AAAA : DNS_A, on_host,
                  q);
    }
}

static void on_mx(void *arg, const struct dns_answer *a)
{
    struct route_job *j = arg;
    struct cluster *c = j->cluster;
    struct route_mx mx[LIMIT_DNS_RECORDS];
    struct snapshot_ref *ref;
    const struct node_settings *s = cluster_settings(c, &ref);
    struct self self;
    struct route none = {0};

    for (size_t i = 0; i < a->count; i++)
        mx[i] = (struct route_mx){str_of(a->records[i].host), a->records[i].preference};
    if (a->count > 0)
        j->ttl_s = a->ttl_s;
    self_fill(s->config, &self);
    route_plan(str_of(j->domain), lookup_of(a->status), mx, a->count, &self.self, &c->rng,
               &j->plan);
    snapshot_release(&ref);
    if (j->plan.result != ROUTE_OK) {
        none.result = j->plan.result;
        none.ttl_s = j->ttl_s == UINT32_MAX ? UNKNOWN_TTL_S : j->ttl_s;
        answer(j, &none);
        return;
    }
    for (size_t i = 0; i < j->plan.count; i++) {
        add_host(j, j->plan.hosts[i].host, j->plan.hosts[i].pref, 0);
        j->plan.hosts[i].host = j->hosts[i].name; /* what was borrowed goes with the answer */
    }
    ask_hosts(j);
}

/* --- questions --- */

/* True: the route is a list, which was added. */
static bool add_static(struct route_job *j)
{
    struct control *control = control_thread_state(j->cluster->node->control);
    struct snapshot_ref *ref;
    const struct node_settings *s = cluster_settings(j->cluster, &ref);
    struct arena arena;
    struct domain d;
    bool is_static = false;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    if (j->generation != 0) {
        is_static = true; /* without its record: no hosts, never somebody else's MX */
        if (control_domain_get(control, str_of(j->domain), &arena, &d) == OK &&
            d.generation == CLUSTER_GENERATION(j->generation)) {
            is_static = d.route.kind == ROUTE_STATIC;
            for (uint32_t i = 0; i < d.route.host_count; i++)
                add_host(j, d.route.hosts[i].host, d.route.hosts[i].preference,
                         d.route.hosts[i].port);
        }
    } else if (s->config->delivery.dsn_route.n > 0) {
        const struct config_hosts *hosts = &s->config->delivery.dsn_route;

        is_static = true;
        for (size_t i = 0; i < hosts->n; i++)
            add_host(j, str_of(hosts->v[i].name), (uint16_t)i, hosts->v[i].port);
    }
    arena_reset(&arena);
    snapshot_release(&ref);
    return is_static;
}

static struct route_job *job_new(struct cluster *c, struct str domain, uint64_t generation)
{
    struct route_job *j = calloc(1, sizeof *j);

    ASSERT(j != NULL);
    j->cluster = c;
    j->generation = generation;
    j->ttl_s = UINT32_MAX;
    ASSERT(str_to_z(domain, j->domain, sizeof j->domain));
    j->next = c->routes;
    c->routes = j;
    return j;
}

static void begin(struct route_job *j)
{
    struct cluster *c = j->cluster;

    j->is_static = add_static(j);
    if (j->is_static)
        ask_hosts(j);
    else
        dns_query(c->dns, j->domain, DNS_MX, on_mx, j);
}

void cluster_resolve(struct cluster *c, const struct sched_action *a)
{
    struct route_job *j = job_new(c, a->domain, a->generation);

    j->serial = a->serial;
    begin(j);
}

void cluster_resolve_callout(struct cluster *c, struct str domain, uint64_t generation,
                             uint32_t place)
{
    struct route_job *j = job_new(c, domain, generation);

    j->is_callout = true;
    j->serial = place;
    begin(j);
}
