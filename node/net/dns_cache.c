#include "node/net/dns_cache.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/pool.h"

struct kept {
    uint32_t next, prev; /* in the order in which they came; 0: none */
    uint64_t expires_ms, hash;
    enum dns_type type;
    char *message;
    uint32_t message_n;
    uint16_t name_n;
    char name[LIMIT_SMTP_DOMAIN_BYTES]; /* lower case */
};

struct dns_cache {
    struct pool pool;
    struct map map;
    uint32_t oldest, newest;
    uint64_t bytes; /* of the messages */
};

struct wanted {
    struct str name; /* lower case */
    enum dns_type type;
};

static struct kept *kept_at(const struct dns_cache *c, uint32_t h)
{
    return pool_at(&c->pool, h);
}

static bool is_wanted(const void *ctx, uint32_t h, const void *key)
{
    const struct kept *k = kept_at(ctx, h);
    const struct wanted *w = key;

    return k->type == w->type && str_eq((struct str){k->name, k->name_n}, w->name);
}

struct dns_cache *dns_cache_new(uint64_t seed)
{
    struct dns_cache *c = calloc(1, sizeof *c);

    ASSERT(c != NULL);
    pool_init(&c->pool, sizeof(struct kept), LIMIT_DNS_CACHE_ENTRIES);
    map_init(&c->map, LIMIT_DNS_CACHE_ENTRIES, seed);
    return c;
}

static void drop(struct dns_cache *c, uint32_t h)
{
    struct kept *k = kept_at(c, h);

    *(k->prev != 0 ? &kept_at(c, k->prev)->next : &c->oldest) = k->next;
    *(k->next != 0 ? &kept_at(c, k->next)->prev : &c->newest) = k->prev;
    map_remove(&c->map, k->hash, h);
    c->bytes -= k->message_n;
    free(k->message);
    pool_give(&c->pool, h);
}

void dns_cache_free(struct dns_cache **cp)
{
    struct dns_cache *c = *cp;

    *cp = NULL;
    while (c->oldest != 0)
        drop(c, c->oldest);
    map_fini(&c->map);
    pool_fini(&c->pool);
    free(c);
}

/* False: no name that DNS can have. */
static bool lower(struct str name, enum dns_type type, char *buf, struct wanted *w)
{
    if (name.n == 0 || name.n > LIMIT_SMTP_DOMAIN_BYTES)
        return false;
    str_lower(name, buf, LIMIT_SMTP_DOMAIN_BYTES);
    *w = (struct wanted){{buf, name.n}, type};
    return true;
}

static uint64_t hash_of(const struct dns_cache *c, const struct wanted *w)
{
    return map_hash(&c->map, w->name.p, w->name.n) ^ (uint64_t)w->type;
}

bool dns_cache_get(struct dns_cache *c, struct str name, enum dns_type type, uint64_t now_ms,
                   struct str *message)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct wanted w;
    uint32_t h;

    if (!lower(name, type, buf, &w))
        return false;
    h = map_find(&c->map, hash_of(c, &w), is_wanted, c, &w);
    if (h == 0)
        return false;
    if (now_ms >= kept_at(c, h)->expires_ms) {
        drop(c, h);
        return false;
    }
    *message = (struct str){kept_at(c, h)->message, kept_at(c, h)->message_n};
    return true;
}

static void keep(struct dns_cache *c, const struct wanted *w, struct str message,
                 uint64_t expires_ms)
{
    uint32_t h = pool_take(&c->pool);
    struct kept *k;

    if (h == 0)
        return;
    k = kept_at(c, h);
    *k = (struct kept){.prev = c->newest,
                       .expires_ms = expires_ms,
                       .hash = hash_of(c, w),
                       .type = w->type,
                       .message = malloc(message.n),
                       .message_n = (uint32_t)message.n,
                       .name_n = (uint16_t)w->name.n};
    if (k->message == NULL || map_put(&c->map, k->hash, h) != OK) {
        free(k->message);
        pool_give(&c->pool, h);
        return;
    }
    memcpy(k->message, message.p, message.n);
    memcpy(k->name, w->name.p, w->name.n);
    *(c->newest != 0 ? &kept_at(c, c->newest)->next : &c->oldest) = h;
    c->newest = h;
    c->bytes += message.n;
}

void dns_cache_put(struct dns_cache *c, struct str name, enum dns_type type, struct str message,
                   uint32_t ttl_s, uint64_t now_ms)
{
    uint64_t for_ms = (uint64_t)ttl_s * 1000;
    char buf[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct wanted w;
    uint32_t h;

    if (!lower(name, type, buf, &w))
        return;
    h = map_find(&c->map, hash_of(c, &w), is_wanted, c, &w);
    if (h != 0)
        drop(c, h);
    if (for_ms == 0 || message.n == 0 || message.n > LIMIT_DNS_CACHE_MESSAGE_BYTES)
        return;
    while (c->oldest != 0 && (c->pool.count >= LIMIT_DNS_CACHE_ENTRIES ||
                              c->bytes + message.n > LIMIT_DNS_CACHE_BYTES))
        drop(c, c->oldest);
    keep(c, &w, message, now_ms + (for_ms < LIMIT_DNS_CACHE_MS ? for_ms : LIMIT_DNS_CACHE_MS));
}
