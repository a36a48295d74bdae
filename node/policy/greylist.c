#include "node/policy/greylist.h"

#include "base/bigendian.h"

struct item {
    struct change_link link; /* first */
    struct greylist_entry e;
};

void greylist_init(struct greylist *g, const struct greylist_options *opt)
{
    *g = (struct greylist){.opt = *opt};
    if (g->opt.delay_ms == 0)
        g->opt.delay_ms = LIMIT_GREY_DELAY_MS;
    if (g->opt.window_ms == 0)
        g->opt.window_ms = LIMIT_GREY_WINDOW_MS;
    if (g->opt.known_ms == 0)
        g->opt.known_ms = LIMIT_GREY_KNOWN_MS;
    if (g->opt.entries == 0)
        g->opt.entries = LIMIT_GREY_ENTRIES;
    if (g->opt.first_tries == 0)
        g->opt.first_tries = LIMIT_GREY_FIRST_TRIES;
    pool_init(&g->pool, sizeof(struct item), g->opt.entries);
    map_init(&g->map, g->opt.entries, 0); /* the keys are hashes under a secret already */
}

void greylist_fini(struct greylist *g)
{
    map_fini(&g->map);
    pool_fini(&g->pool);
}

void greylist_set_delay(struct greylist *g, uint64_t delay_ms)
{
    ASSERT(delay_ms > 0);
    g->opt.delay_ms = delay_ms;
}

static struct item *item_at(const struct greylist *g, uint32_t handle)
{
    return pool_at(&g->pool, handle);
}

/* --- items --- */

static bool has_key(const void *ctx, uint32_t value, const void *key)
{
    const struct pool *pool = ctx;

    return ((const struct item *)pool_at(pool, value))->e.key == *(const uint64_t *)key;
}

static uint32_t find(const struct greylist *g, uint64_t key)
{
    return map_find(&g->map, key, has_key, &g->pool, &key);
}

static uint64_t ttl(const struct greylist *g, bool is_passed)
{
    return is_passed ? g->opt.known_ms : g->opt.window_ms;
}

static bool is_dead(const struct greylist *g, bool is_passed, uint64_t last_ms, uint64_t now_ms)
{
    return now_ms >= ttl(g, is_passed) && last_ms <= now_ms - ttl(g, is_passed);
}

static void drop(struct greylist *g, uint32_t handle)
{
    struct item *it = item_at(g, handle);

    changes_remove(&g->changes, &g->pool, handle);
    if (!it->e.is_passed)
        g->first_tries--;
    map_remove(&g->map, it->e.key, handle);
    pool_give(&g->pool, handle);
}

/* 0: at a ceiling. */
static uint32_t add(struct greylist *g, const struct greylist_entry *e)
{
    uint32_t handle;

    if (!e->is_passed && g->first_tries >= g->opt.first_tries)
        return 0;
    handle = pool_take(&g->pool);
    if (handle == 0)
        return 0;
    if (map_put(&g->map, e->key, handle) != OK) {
        pool_give(&g->pool, handle);
        return 0;
    }
    item_at(g, handle)->e = *e;
    g->first_tries += !e->is_passed;
    changes_add(&g->changes, &g->pool, handle);
    return handle;
}

/* The live item of a key; a dead one goes. 0: none. */
static uint32_t live(struct greylist *g, uint64_t key, uint64_t now_ms)
{
    uint32_t handle = find(g, key);
    const struct item *it;

    if (handle == 0)
        return 0;
    it = item_at(g, handle);
    if (!is_dead(g, it->e.is_passed, it->e.last_ms, now_ms))
        return handle;
    drop(g, handle);
    return 0;
}

/* --- merging --- */

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What is left of an entry in the light of our clock. Of a known client nobody asks any more
 * when it came first: 0, so that all sites say the same. */
static struct greylist_entry clamped(const struct greylist_entry *e, uint64_t now_ms)
{
    struct greylist_entry c = *e;

    c.last_ms = min_of(c.last_ms, now_ms);
    if (c.is_passed)
        c.first_ms = 0;
    return c;
}

/* Whether it has changed. */
static bool join(struct greylist *g, struct item *it, const struct greylist_entry *e)
{
    bool is_passed = it->e.is_passed || e->is_passed;
    uint64_t first_ms = is_passed ? 0 : min_of(it->e.first_ms, e->first_ms);
    uint64_t last_ms = max_of(it->e.last_ms, e->last_ms);

    if (is_passed == it->e.is_passed && first_ms == it->e.first_ms && last_ms == it->e.last_ms)
        return false;
    g->first_tries -= is_passed && !it->e.is_passed;
    it->e.is_passed = is_passed;
    it->e.first_ms = first_ms;
    it->e.last_ms = last_ms;
    return true;
}

enum greylist_merged greylist_merge(struct greylist *g, const struct greylist_entry *e,
                                    uint64_t now_ms)
{
    struct greylist_entry c = clamped(e, now_ms);
    uint32_t handle = live(g, e->key, now_ms);

    ASSERT(e->key != 0);
    if (is_dead(g, c.is_passed, c.last_ms, now_ms))
        return GREYLIST_NO_NEWS;
    if (handle == 0)
        return add(g, &c) != 0 ? GREYLIST_NEWS : GREYLIST_NO_ROOM;
    if (!join(g, item_at(g, handle), &c))
        return GREYLIST_NO_NEWS;
    changes_touch(&g->changes, &g->pool, handle);
    return GREYLIST_NEWS;
}

/* --- checks --- */

/* A known client is noted anew only when that makes its time much longer: not each of its
 * messages is told to all sites. */
static bool touch_known(struct greylist *g, uint64_t key, uint64_t now_ms)
{
    uint32_t handle = live(g, key, now_ms);
    struct item *it;

    if (handle == 0)
        return false;
    it = item_at(g, handle);
    if (!it->e.is_passed)
        return false;
    if (it->e.last_ms > now_ms || now_ms - it->e.last_ms >= LIMIT_GREY_TOUCH_MS) {
        it->e.last_ms = now_ms;
        changes_touch(&g->changes, &g->pool, handle);
    }
    return true;
}

/* A network that tries ever new senders is one try for each domain: it could fill the list,
 * and so open it for all. Two networks under one number share a limit: they wait once more. */
static bool is_crowd(struct greylist *g, const struct greylist_keys *keys, uint64_t now_ms)
{
    uint16_t *tries = &g->crowd[keys->network % LIMIT_GREY_CROWD];

    if (now_ms / LIMIT_GREY_CROWD_MS != g->crowd_window) {
        g->crowd_window = now_ms / LIMIT_GREY_CROWD_MS;
        memset(g->crowd, 0, sizeof g->crowd);
    }
    if (*tries >= LIMIT_GREY_NETWORK_TRIES)
        return true;
    ++*tries;
    return false;
}

static enum greylist_verdict note_first(struct greylist *g, const struct greylist_keys *keys,
                                        uint64_t now_ms, uint64_t *wait_ms)
{
    struct greylist_entry seen = {keys->try, now_ms, now_ms, false};

    if (is_crowd(g, keys, now_ms))
        seen.key = keys->crowd;
    if (live(g, seen.key, now_ms) == 0 && add(g, &seen) == 0)
        return GREYLIST_FULL;
    *wait_ms = g->opt.delay_ms;
    return GREYLIST_FIRST;
}

/* The first try of these, by its sender, or as one of a crowd. 0: none. */
static uint32_t find_try(struct greylist *g, const struct greylist_keys *keys, uint64_t now_ms)
{
    const uint64_t ways[] = {keys->try, keys->plain, keys->crowd};
    uint32_t handle = 0;

    for (size_t i = 0; handle == 0 && i < sizeof ways / sizeof *ways; i++)
        handle = live(g, ways[i], now_ms);
    return handle;
}

static enum greylist_verdict judge(struct greylist *g, const struct greylist_keys *keys,
                                   uint64_t now_ms, uint64_t *wait_ms, bool grants)
{
    struct greylist_entry known = {keys->client, 0, now_ms, true};
    uint32_t handle;
    struct item *it;

    *wait_ms = 0;
    if (touch_known(g, keys->client, now_ms) || touch_known(g, keys->network, now_ms))
        return GREYLIST_KNOWN;
    handle = find_try(g, keys, now_ms);
    if (handle == 0)
        return note_first(g, keys, now_ms, wait_ms);
    it = item_at(g, handle);
    if (it->e.first_ms > now_ms) { /* of a clock that is ahead: now we have seen it ourselves */
        it->e.first_ms = now_ms;
        it->e.last_ms = now_ms;
        changes_touch(&g->changes, &g->pool, handle);
    }
    if (now_ms - it->e.first_ms < g->opt.delay_ms) {
        *wait_ms = g->opt.delay_ms - (now_ms - it->e.first_ms);
        return GREYLIST_EARLY;
    }
    if (!grants)
        return GREYLIST_PASSED;
    /* No room for the client is no harm: the first try stays, and passes again. */
    return greylist_merge(g, &known, now_ms) == GREYLIST_NO_ROOM ? GREYLIST_FULL
                                                                 : GREYLIST_PASSED;
}

enum greylist_verdict greylist_check(struct greylist *g, const struct greylist_keys *keys,
                                     uint64_t now_ms, uint64_t *wait_ms)
{
    return judge(g, keys, now_ms, wait_ms, true);
}

enum greylist_verdict greylist_watch(struct greylist *g, const struct greylist_keys *keys,
                                     uint64_t now_ms, uint64_t *wait_ms)
{
    return judge(g, keys, now_ms, wait_ms, false);
}

static bool is_known(const struct greylist *g, uint64_t key, uint64_t now_ms)
{
    struct greylist_entry e;

    return greylist_get(g, key, now_ms, &e) && e.is_passed;
}

enum greylist_verdict greylist_look(const struct greylist *g, const struct greylist_keys *keys,
                                    uint64_t now_ms, uint64_t *wait_ms)
{
    struct greylist_entry e;
    uint64_t age_ms;

    *wait_ms = 0;
    if (is_known(g, keys->client, now_ms) || is_known(g, keys->network, now_ms))
        return GREYLIST_KNOWN;
    *wait_ms = g->opt.delay_ms;
    if (!greylist_get(g, keys->try, now_ms, &e) && !greylist_get(g, keys->plain, now_ms, &e) &&
        !greylist_get(g, keys->crowd, now_ms, &e))
        return GREYLIST_FIRST;
    age_ms = now_ms > e.first_ms ? now_ms - e.first_ms : 0;
    *wait_ms -= min_of(age_ms, g->opt.delay_ms);
    return *wait_ms > 0 ? GREYLIST_EARLY : GREYLIST_PASSED;
}

const char *greylist_reply(void)
{
    return "450 4.7.1 Not seen before: please try again in some minutes";
}

const char *greylist_verdict_text(enum greylist_verdict v)
{
    static const char *const texts[] = {
        [GREYLIST_FIRST] = "first", [GREYLIST_EARLY] = "early", [GREYLIST_PASSED] = "passed",
        [GREYLIST_KNOWN] = "known", [GREYLIST_FULL] = "full",
    };

    return texts[v];
}

/* --- reading and ageing --- */

bool greylist_get(const struct greylist *g, uint64_t key, uint64_t now_ms,
                  struct greylist_entry *out)
{
    uint32_t handle = find(g, key);

    if (handle == 0)
        return false;
    *out = item_at(g, handle)->e;
    return !is_dead(g, out->is_passed, out->last_ms, now_ms);
}

uint32_t greylist_count(const struct greylist *g)
{
    return g->pool.count;
}

bool greylist_changes(const struct greylist *g, struct change_cursor *at,
                      struct greylist_entry *out)
{
    uint32_t handle = changes_next(&g->changes, &g->pool, at);

    if (handle != 0)
        *out = item_at(g, handle)->e;
    return handle != 0;
}

size_t greylist_sweep(struct greylist *g, uint64_t now_ms, size_t look, uint64_t *dropped)
{
    size_t count = 0;

    for (; look > 0 && g->pool.made > 0; look--) {
        struct item *it;

        g->swept = g->swept < g->pool.made ? g->swept + 1 : 1;
        if (!pool_is_taken(&g->pool, g->swept))
            continue;
        it = item_at(g, g->swept);
        if (it->e.last_ms > now_ms)
            it->e.last_ms = now_ms;
        if (is_dead(g, it->e.is_passed, it->e.last_ms, now_ms)) {
            dropped[count++] = it->e.key;
            drop(g, g->swept);
        }
    }
    return count;
}

/* --- bytes --- */

void greylist_pack(const struct greylist_entry *e, uint8_t out[static GREYLIST_ENTRY_BYTES])
{
    put_be(out, 8, e->key);
    put_be(out + 8, 8, e->first_ms);
    put_be(out + 16, 8, e->last_ms);
    out[24] = e->is_passed;
}

enum err greylist_unpack(struct str bytes, struct greylist_entry *out)
{
    if (bytes.n != GREYLIST_ENTRY_BYTES || (uint8_t)bytes.p[24] > 1)
        return E_PROTO;
    *out = (struct greylist_entry){get_be(bytes.p, 8), get_be(bytes.p + 8, 8),
                                   get_be(bytes.p + 16, 8), bytes.p[24] == 1};
    return out->key != 0 ? OK : E_PROTO;
}
