#include "node/policy/harvest.h"

#include "base/bigendian.h"

struct item {
    struct change_link link; /* first */
    struct harvest_entry e;
};

void harvest_init(struct harvest *h, uint32_t entries)
{
    memset(h, 0, sizeof *h); /* large: no literal on the stack */
    h->entries = entries != 0 ? entries : LIMIT_HARVEST_ENTRIES;
    pool_init(&h->pool, sizeof(struct item), h->entries);
    map_init(&h->map, h->entries, 0); /* the keys are hashes under a secret already */
}

void harvest_fini(struct harvest *h)
{
    map_fini(&h->map);
    pool_fini(&h->pool);
}

static struct item *item_at(const struct harvest *h, uint32_t handle)
{
    return pool_at(&h->pool, handle);
}

/* --- who it is --- */

static uint64_t key_of(const uint64_t secret[2], char kind, struct str what)
{
    char b[1 + LIMIT_SMTP_DOMAIN_BYTES];
    uint64_t key;

    b[0] = kind;
    what = str_head(what, what.n < sizeof b - 1 ? what.n : sizeof b - 1);
    memcpy(b + 1, what.p, what.n);
    key = siphash(secret, b, 1 + what.n);
    return key != 0 ? key : 1;
}

static uint64_t network_key(const uint64_t secret[2], char kind, const struct ip_addr *ip,
                            unsigned bits)
{
    struct ip_addr net = ip_network(ip, bits);

    return key_of(secret, kind, (struct str){(const char *)net.b, sizeof net.b});
}

struct harvest_keys harvest_keys(const uint64_t secret[2], const struct ip_addr *client,
                                 struct str domain)
{
    bool is_v4 = ip_is_v4(client);
    char lower[LIMIT_SMTP_DOMAIN_BYTES];

    if (domain.n > sizeof lower)
        domain = str_head(domain, sizeof lower);
    return (struct harvest_keys){
        .client = network_key(secret, 'c', client, is_v4 ? IP_BITS : 64),
        .network = network_key(secret, 'n', client, is_v4 ? IP_V4_BITS + 24 : 48),
        .domain = key_of(secret, 'd', str_lower(domain, lower, sizeof lower))};
}

uint64_t harvest_name(const uint64_t secret[2], const struct ip_addr *client, struct str domain,
                      struct str local)
{
    char b[sizeof client->b + LIMIT_SMTP_DOMAIN_BYTES + 1 + LIMIT_SMTP_LOCAL_PART_BYTES];
    struct ip_addr who = ip_network(client, ip_is_v4(client) ? IP_BITS : 64);
    size_t n = sizeof who.b;

    domain = str_head(domain,
                      domain.n < LIMIT_SMTP_DOMAIN_BYTES ? domain.n : LIMIT_SMTP_DOMAIN_BYTES);
    local = str_head(
        local, local.n < LIMIT_SMTP_LOCAL_PART_BYTES ? local.n : LIMIT_SMTP_LOCAL_PART_BYTES);
    memcpy(b, who.b, n);
    n += str_lower(domain, b + n, LIMIT_SMTP_DOMAIN_BYTES).n;
    b[n++] = '@';
    n += str_lower(local, b + n, LIMIT_SMTP_LOCAL_PART_BYTES).n;
    return siphash(secret, b, n);
}

/* --- names that were counted --- */

/* The other filter is the present one, and empty. */
static void turn_over(struct harvest *h)
{
    h->turn = !h->turn;
    h->named = 0;
    memset(h->names[h->turn], 0, sizeof h->names[0]);
}

static void follow_clock(struct harvest *h, uint64_t now_ms)
{
    uint64_t period = now_ms / LIMIT_HARVEST_NAME_MS;

    if (period != h->period)
        turn_over(h);
    if (period != h->period && period != h->period + 1)
        turn_over(h); /* both are of long ago */
    h->period = period;
}

static bool has_bit(const uint64_t *bits, uint64_t n)
{
    return (bits[n / 64] >> n % 64 & 1) != 0;
}

static bool is_first(struct harvest *h, uint64_t name, uint64_t now_ms)
{
    uint64_t one = name % LIMIT_HARVEST_NAME_BITS, two = (name >> 32) % LIMIT_HARVEST_NAME_BITS;
    uint64_t *now;
    bool is_there = false;

    follow_clock(h, now_ms);
    if (h->named >= LIMIT_HARVEST_NAMES) /* fuller, it would know everybody */
        turn_over(h);
    for (int i = 0; i < 2; i++)
        is_there |= has_bit(h->names[i], one) && has_bit(h->names[i], two);
    h->named += !is_there;
    now = h->names[h->turn];
    now[one / 64] |= UINT64_C(1) << one % 64;
    now[two / 64] |= UINT64_C(1) << two % 64;
    return !is_there;
}

/* --- finding --- */

static uint32_t window_at(uint64_t now_ms)
{
    return (uint32_t)(now_ms / LIMIT_HARVEST_WINDOW_MS);
}

static bool counts(const struct harvest_entry *e, uint64_t now_ms)
{
    return (uint64_t)e->window + 1 >= window_at(now_ms);
}

static uint64_t hash_of(uint64_t key, uint32_t window)
{
    return key + window * UINT64_C(0x9e3779b97f4a7c15);
}

static bool is_entry(const void *ctx, uint32_t value, const void *key)
{
    const struct harvest_entry *have = &((const struct item *)pool_at(ctx, value))->e;
    const struct harvest_entry *want = key;

    return have->key == want->key && have->window == want->window;
}

static uint32_t find(const struct harvest *h, uint64_t key, uint32_t window)
{
    struct harvest_entry want = {.key = key, .window = window};

    return map_find(&h->map, hash_of(key, window), is_entry, &h->pool, &want);
}

static uint64_t sum(const uint32_t n[LIMIT_CLUSTER_MEMBERS])
{
    uint64_t all = 0;

    for (int i = 0; i < LIMIT_CLUSTER_MEMBERS; i++)
        all += n[i];
    return all;
}

/* --- room --- */

static void drop(struct harvest *h, uint32_t handle)
{
    struct item *it = item_at(h, handle);

    changes_remove(&h->changes, &h->pool, handle);
    map_remove(&h->map, hash_of(it->e.key, it->e.window), handle);
    pool_give(&h->pool, handle);
}

/* What is over is worth nothing; what is suspicious is not given away. */
static uint64_t worth(const struct harvest_entry *e, uint64_t now_ms)
{
    return counts(e, now_ms) ? sum(e->bad) : 0;
}

static void make_room(struct harvest *h, uint64_t now_ms)
{
    uint64_t least = LIMIT_HARVEST_SUSPECT;
    uint32_t victim = 0;

    for (int i = 0; i < LIMIT_HARVEST_LOOK && h->pool.made > 0; i++) {
        h->looked = h->looked < h->pool.made ? h->looked + 1 : 1;
        if (!pool_is_taken(&h->pool, h->looked) ||
            worth(&item_at(h, h->looked)->e, now_ms) >= least)
            continue;
        least = worth(&item_at(h, h->looked)->e, now_ms);
        victim = h->looked;
    }
    if (victim != 0)
        drop(h, victim);
}

static uint32_t add(struct harvest *h, const struct harvest_entry *e, uint64_t now_ms)
{
    uint32_t handle;

    if (h->pool.count >= h->entries)
        make_room(h, now_ms);
    handle = pool_take(&h->pool);
    if (handle == 0)
        return 0;
    if (map_put(&h->map, hash_of(e->key, e->window), handle) != OK) {
        pool_give(&h->pool, handle);
        return 0;
    }
    item_at(h, handle)->e = *e;
    changes_add(&h->changes, &h->pool, handle);
    return handle;
}

/* --- counting --- */

static void raise_one(struct harvest *h, uint32_t handle, uint32_t *n)
{
    if (*n == UINT32_MAX)
        return;
    ++*n;
    changes_touch(&h->changes, &h->pool, handle);
}

static void bad(struct harvest *h, uint16_t site, uint64_t key, uint64_t now_ms)
{
    struct harvest_entry e = {.key = key, .window = window_at(now_ms)};
    uint32_t handle = find(h, key, e.window);

    if (handle != 0) {
        raise_one(h, handle, &item_at(h, handle)->e.bad[site - 1]);
        return;
    }
    e.bad[site - 1] = 1;
    (void)add(h, &e, now_ms);
}

static void good(struct harvest *h, uint16_t site, uint64_t key, uint64_t now_ms)
{
    struct harvest_entry e = {.key = key, .window = window_at(now_ms)};
    uint32_t handle = find(h, key, e.window);

    if (handle != 0) {
        raise_one(h, handle, &item_at(h, handle)->e.good[site - 1]);
        return;
    }
    e.good[site - 1] = 1;
    if (find(h, key, e.window - 1) != 0)
        (void)add(h, &e, now_ms);
}

bool harvest_bad(struct harvest *h, uint16_t site, const struct harvest_keys *k, uint64_t name,
                 uint64_t now_ms)
{
    ASSERT(site >= 1 && site <= LIMIT_CLUSTER_MEMBERS);
    if (!is_first(h, name, now_ms))
        return false;
    bad(h, site, k->client, now_ms);
    bad(h, site, k->network, now_ms);
    bad(h, site, k->domain, now_ms);
    return true;
}

void harvest_good(struct harvest *h, uint16_t site, const struct harvest_keys *k,
                  uint64_t now_ms)
{
    ASSERT(site >= 1 && site <= LIMIT_CLUSTER_MEMBERS);
    good(h, site, k->client, now_ms);
    good(h, site, k->network, now_ms);
}

/* --- the state --- */

/* Of the windows that count, and the next, in which a site's clock may be already. */
static void add_up(const struct harvest *h, uint64_t key, uint64_t now_ms, uint64_t *bads,
                   uint64_t *goods)
{
    uint32_t now = window_at(now_ms);

    *bads = *goods = 0;
    for (uint32_t w = now > 0 ? now - 1 : 0; w <= now + 1; w++) {
        uint32_t handle = find(h, key, w);

        if (handle == 0)
            continue;
        *bads += sum(item_at(h, handle)->e.bad);
        *goods += sum(item_at(h, handle)->e.good);
    }
}

enum harvest_state harvest_key_state(const struct harvest *h, uint64_t key, uint64_t times,
                                     uint64_t now_ms)
{
    uint64_t bads, goods;

    add_up(h, key, now_ms, &bads, &goods);
    if (goods > bads || bads < LIMIT_HARVEST_SUSPECT * times)
        return HARVEST_OK;
    return bads < LIMIT_HARVEST_OFFENDER * times ? HARVEST_SUSPICIOUS : HARVEST_OFFENDER;
}

enum harvest_state harvest_state(const struct harvest *h, const struct harvest_keys *k,
                                 uint64_t now_ms)
{
    enum harvest_state client = harvest_key_state(h, k->client, 1, now_ms);
    enum harvest_state network =
        harvest_key_state(h, k->network, LIMIT_HARVEST_NETWORK, now_ms);
    uint64_t bads, goods;

    if (client == HARVEST_OFFENDER || network == HARVEST_OFFENDER)
        return HARVEST_OFFENDER;
    add_up(h, k->domain, now_ms, &bads, &goods);
    return client == HARVEST_SUSPICIOUS || network == HARVEST_SUSPICIOUS ||
                   bads >= LIMIT_HARVEST_DOMAIN
               ? HARVEST_SUSPICIOUS
               : HARVEST_OK;
}

const char *harvest_reply(void)
{
    return "421 4.7.0 Too many recipients that are not here, come back later";
}

/* --- between sites --- */

static bool take_max(uint32_t *have, uint32_t told)
{
    bool is_more = told > *have;

    if (is_more)
        *have = told;
    return is_more;
}

enum harvest_merged harvest_merge(struct harvest *h, const struct harvest_entry *e,
                                  uint64_t now_ms)
{
    uint32_t handle = find(h, e->key, e->window);
    bool is_news = false;
    struct item *it;

    ASSERT(e->key != 0);
    if (!counts(e, now_ms) || e->window > window_at(now_ms) + 1)
        return HARVEST_NO_NEWS;
    if (handle == 0)
        return add(h, e, now_ms) != 0 ? HARVEST_NEWS : HARVEST_NO_ROOM;
    it = item_at(h, handle);
    for (int i = 0; i < LIMIT_CLUSTER_MEMBERS; i++) {
        is_news |= take_max(&it->e.bad[i], e->bad[i]);
        is_news |= take_max(&it->e.good[i], e->good[i]);
    }
    if (!is_news)
        return HARVEST_NO_NEWS;
    changes_touch(&h->changes, &h->pool, handle);
    return HARVEST_NEWS;
}

bool harvest_changes(const struct harvest *h, struct change_cursor *at,
                     struct harvest_entry *out)
{
    uint32_t handle = changes_next(&h->changes, &h->pool, at);

    if (handle != 0)
        *out = item_at(h, handle)->e;
    return handle != 0;
}

size_t harvest_sweep(struct harvest *h, uint64_t now_ms, size_t look)
{
    size_t count = 0;

    for (; look > 0 && h->pool.made > 0; look--) {
        h->swept = h->swept < h->pool.made ? h->swept + 1 : 1;
        if (!pool_is_taken(&h->pool, h->swept) || counts(&item_at(h, h->swept)->e, now_ms))
            continue;
        drop(h, h->swept);
        count++;
    }
    return count;
}

uint32_t harvest_count(const struct harvest *h)
{
    return h->pool.count;
}

/* --- bytes --- */

void harvest_pack(const struct harvest_entry *e, uint8_t out[static HARVEST_ENTRY_BYTES])
{
    uint8_t *p = put_be(put_be(out, 8, e->key), 4, e->window);

    for (int i = 0; i < LIMIT_CLUSTER_MEMBERS; i++)
        p = put_be(put_be(p, 4, e->bad[i]), 4, e->good[i]);
}

enum err harvest_unpack(struct str bytes, struct harvest_entry *out)
{
    *out = (struct harvest_entry){.key = 0};
    if (bytes.n != HARVEST_ENTRY_BYTES)
        return E_PROTO;
    out->key = get_be(bytes.p, 8);
    out->window = (uint32_t)get_be(bytes.p + 8, 4);
    for (int i = 0; i < LIMIT_CLUSTER_MEMBERS; i++) {
        out->bad[i] = (uint32_t)get_be(bytes.p + 12 + 8 * i, 4);
        out->good[i] = (uint32_t)get_be(bytes.p + 16 + 8 * i, 4);
    }
    return out->key != 0 ? OK : E_PROTO;
}
