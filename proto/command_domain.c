/* The record of a domain, in commands and in the store; and what both kinds of bytes share. */
#include "proto/command_private.h"

/* --- to bytes --- */

ProtobufCBinaryData command_bytes(struct str s)
{
    return (ProtobufCBinaryData){.len = s.n, .data = (uint8_t *)s.p};
}

void command_domain_to_pb(const struct domain *d, struct command_domain *pb)
{
    ASSERT(d->route.host_count <= LIMIT_ROUTE_HOSTS);
    control__domain__init(&pb->domain);
    for (uint32_t i = 0; i < d->route.host_count; i++) {
        control__host__init(&pb->hosts[i]);
        pb->hosts[i].host = command_bytes(d->route.hosts[i].host);
        pb->hosts[i].port = d->route.hosts[i].port;
        pb->hosts[i].preference = d->route.hosts[i].preference;
        pb->host_list[i] = &pb->hosts[i];
    }
    pb->domain.name = command_bytes(d->name);
    pb->domain.route_kind = (uint32_t)d->route.kind;
    pb->domain.n_hosts = d->route.host_count;
    pb->domain.hosts = pb->host_list;
    pb->domain.hold_s = d->hold_s;
    pb->domain.tls = (uint32_t)d->tls;
    pb->domain.eight_bit = (uint32_t)d->eight_bit;
    pb->domain.dsn = (uint32_t)d->dsn;
    pb->domain.paused = d->paused;
    pb->domain.plan = command_bytes(d->plan);
    pb->domain.max_connections = d->max_connections;
    for (unsigned i = 0; i < DOMAIN_CHECK_KINDS; i++)
        pb->domain.checks |= (uint32_t)d->checks[i] << 2 * i;
    pb->domain.recipients = (uint32_t)d->recipients;
    pb->domain.separator = (uint8_t)d->separator;
    pb->domain.unknown = (uint32_t)d->unknown;
    pb->domain.smtputf8 = d->smtputf8;
    pb->domain.digest = command_bytes(d->digest);
}

enum err command_pack(const ProtobufCMessage *m, size_t limit, uint8_t *buf, size_t size,
                      struct str *out)
{
    size_t n = protobuf_c_message_get_packed_size(m);

    if (n > size || n > limit)
        return E_FULL;
    ASSERT(protobuf_c_message_pack(m, buf) == n);
    *out = (struct str){(const char *)buf, n};
    return OK;
}

enum err domain_encode(const struct domain *d, uint8_t *buf, size_t size, struct str *out)
{
    struct command_domain pb;

    if (domain_check(d) != NULL)
        return E_PROTO;
    command_domain_to_pb(d, &pb);
    pb.domain.generation = d->generation;
    pb.domain.changed = d->changed;
    pb.domain.closing = d->closing;
    return command_pack(&pb.domain.base, LIMIT_COMMAND_BYTES, buf, size, out);
}

/* --- from bytes --- */

static void *scratch_alloc(void *arena, size_t n)
{
    return arena_take(arena, n);
}

static void scratch_free(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

ProtobufCAllocator command_scratch(struct arena *scratch)
{
    arena_init(scratch, LIMIT_COMMAND_SCRATCH);
    return (ProtobufCAllocator){scratch_alloc, scratch_free, scratch};
}

struct str command_keep(ProtobufCBinaryData b, struct arena *a, bool *full)
{
    struct str copy = arena_str(a, (struct str){(const char *)b.data, b.len});

    if (b.len > 0 && copy.p == NULL)
        *full = true;
    return copy;
}

/* False: a number does not fit, which its text form could not have come from. */
static bool hosts_from_pb(const Control__Domain *pb, struct arena *a, struct domain_route *r,
                          bool *full)
{
    if (pb->n_hosts > LIMIT_ROUTE_HOSTS)
        return false;
    r->host_count = (uint32_t)pb->n_hosts;
    for (uint32_t i = 0; i < r->host_count; i++) {
        const Control__Host *h = pb->hosts[i];

        if (h->port > UINT16_MAX || h->preference > UINT16_MAX)
            return false;
        r->hosts[i].host = command_keep(h->host, a, full);
        r->hosts[i].port = (uint16_t)h->port;
        r->hosts[i].preference = (uint16_t)h->preference;
    }
    return true;
}

bool command_domain_from_pb(const Control__Domain *pb, struct arena *a, struct domain *d,
                            bool *full)
{
    *d = (struct domain){.name = command_keep(pb->name, a, full),
                         .route.kind = (enum route_kind)pb->route_kind,
                         .hold_s = pb->hold_s,
                         .tls = (enum domain_tls)pb->tls,
                         .eight_bit = (enum domain_eight_bit)pb->eight_bit,
                         .dsn = (enum domain_dsn)pb->dsn,
                         .paused = pb->paused != 0,
                         .plan = command_keep(pb->plan, a, full),
                         .max_connections = pb->max_connections,
                         .recipients = (enum domain_recipients)pb->recipients,
                         .separator = (char)pb->separator,
                         .unknown = (enum domain_unknown)pb->unknown,
                         .smtputf8 = pb->smtputf8 != 0,
                         .digest = command_keep(pb->digest, a, full),
                         .generation = pb->generation,
                         .changed = pb->changed,
                         .closing = pb->closing != 0};
    if (pb->checks >> 2 * DOMAIN_CHECK_KINDS != 0) /* of a later version */
        return false;
    for (unsigned i = 0; i < DOMAIN_CHECK_KINDS; i++)
        d->checks[i] = pb->checks >> 2 * i & 3;
    return hosts_from_pb(pb, a, &d->route, full);
}

enum err domain_decode(struct str bytes, struct arena *a, struct domain *out)
{
    struct arena scratch;
    ProtobufCAllocator alloc = command_scratch(&scratch);
    Control__Domain *pb;
    struct str again;
    uint8_t *buf;
    bool full = false;
    enum err e = E_PROTO;

    *out = (struct domain){.name = STR_NONE};
    if (bytes.n == 0 || bytes.n > LIMIT_COMMAND_BYTES)
        return E_PROTO;
    pb = control__domain__unpack(&alloc, bytes.n, (const uint8_t *)bytes.p);
    buf = arena_take(&scratch, bytes.n);
    if (pb != NULL && buf != NULL && command_domain_from_pb(pb, a, out, &full)) {
        if (full)
            e = E_FULL;
        else if (domain_encode(out, buf, bytes.n, &again) == OK && str_eq(again, bytes))
            e = OK;
    }
    arena_reset(&scratch);
    return e;
}
