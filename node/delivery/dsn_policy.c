#include "node/delivery/dsn_policy.h"

#include "base/map.h"

void dsn_policy_init(struct dsn_policy *p, const uint64_t seed[2])
{
    memset(p, 0, sizeof *p);
    memcpy(p->seed, seed, sizeof p->seed);
}

/* Case does not tell two senders apart: it would be a way around the limit. */
static struct dsn_count *place(const struct dsn_policy *p, struct dsn_count *counts,
                               struct str name)
{
    char lower[LIMIT_SMTP_PATH_BYTES];
    struct str key = str_lower(str_head(name, name.n < sizeof lower ? name.n : sizeof lower),
                               lower, sizeof lower);

    return &counts[siphash(p->seed, key.p, key.n) % LIMIT_DSN_RATE_PLACES];
}

static bool has_room(struct dsn_count *c, uint32_t most, uint64_t now_ms)
{
    if (c->n > 0 && now_ms >= c->since_ms + LIMIT_DSN_RATE_MS)
        c->n = 0;
    return c->n < most;
}

static void count(struct dsn_count *c, uint64_t now_ms)
{
    if (c->n++ == 0)
        c->since_ms = now_ms;
}

const char *dsn_policy_ask(struct dsn_policy *p, const struct envelope *e, enum domain_dsn mode,
                           uint64_t now_ms)
{
    struct dsn_count *sender = place(p, p->senders, e->sender);
    struct dsn_count *domain = place(p, p->domains, e->domain);

    ASSERT(e->sender.n > 0);
    if (mode == DOMAIN_DSN_NONE)
        return "(the domain tells nobody)";
    if (mode == DOMAIN_DSN_AUTHENTICATED && e->sender_auth != SENDER_PASS)
        return "(the sender is not authenticated)";
    if (!has_room(sender, LIMIT_DSN_PER_SENDER, now_ms))
        return "(too many notifications to this sender)";
    if (!has_room(domain, LIMIT_DSN_PER_DOMAIN, now_ms))
        return "(too many notifications of this domain)";
    count(sender, now_ms);
    count(domain, now_ms);
    return NULL;
}

void dsn_policy_undo(struct dsn_policy *p, const struct envelope *e)
{
    struct dsn_count *sender = place(p, p->senders, e->sender);
    struct dsn_count *domain = place(p, p->domains, e->domain);

    sender->n -= sender->n > 0;
    domain->n -= domain->n > 0;
}
