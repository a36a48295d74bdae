#include "node/policy/familiar.h"

#include <string.h>

#include "base/map.h"

void familiar_init(struct familiar *f, const uint64_t secret[2])
{
    memcpy(f->secret, secret, sizeof f->secret);
}

static uint64_t key_of(const struct familiar *f, const struct ip_addr *client,
                       struct str spf_domain)
{
    struct ip_addr net = ip_network(client, ip_is_v4(client) ? IP_V4_BITS + 24 : 64);
    char b[sizeof net.b + LIMIT_SMTP_DOMAIN_BYTES];
    uint64_t key;

    if (spf_domain.n > LIMIT_SMTP_DOMAIN_BYTES)
        spf_domain = str_head(spf_domain, LIMIT_SMTP_DOMAIN_BYTES);
    memcpy(b, net.b, sizeof net.b);
    spf_domain = str_lower(spf_domain, b + sizeof net.b, LIMIT_SMTP_DOMAIN_BYTES);
    key = siphash(f->secret, b, sizeof net.b + spf_domain.n);
    return key != 0 ? key : 1;
}

void familiar_note(struct familiar *f, const struct ip_addr *client, struct str spf_domain,
                   uint64_t now_ms)
{
    uint64_t key = key_of(f, client, spf_domain);

    f->places[key % LIMIT_FAMILIAR].key = key;
    f->places[key % LIMIT_FAMILIAR].until_ms = now_ms + LIMIT_FAMILIAR_MS;
}

bool familiar_is(const struct familiar *f, const struct ip_addr *client, struct str spf_domain,
                 uint64_t now_ms)
{
    uint64_t key = key_of(f, client, spf_domain);

    return f->places[key % LIMIT_FAMILIAR].key == key &&
           now_ms < f->places[key % LIMIT_FAMILIAR].until_ms;
}
