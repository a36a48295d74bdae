#include "node/policy/rcptset.h"

#include "base/bigendian.h"
#include "node/policy/rcptset_internal.h"

static uint64_t or_preset(uint32_t value, uint64_t preset)
{
    return value != 0 ? value : preset;
}

void rcptset_init(struct rcptset *s, const struct rcptset_options *opt)
{
    *s = (struct rcptset){.opt = *opt};
    s->opt.entries = (uint32_t)or_preset(opt->entries, LIMIT_RCPTSET_ENTRIES);
    s->opt.per_domain = (uint32_t)or_preset(opt->per_domain, LIMIT_RCPTSET_PER_DOMAIN);
    s->opt.doubts = (uint32_t)or_preset(opt->doubts, LIMIT_RCPTSET_DOUBTS);
    pool_init(&s->pool, sizeof(struct rcptset_item), s->opt.entries);
    pool_init(&s->domain_pool, sizeof(struct rcptset_domain), LIMIT_DOMAINS);
    map_init(&s->map, s->opt.entries, opt->seed);
    map_init(&s->domains, LIMIT_DOMAINS, opt->seed);
}

void rcptset_fini(struct rcptset *s)
{
    map_fini(&s->map);
    map_fini(&s->domains);
    pool_fini(&s->pool);
    pool_fini(&s->domain_pool);
}

/* --- what ends when --- */

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What never was is past, also at the beginning of time. */
static bool is_past(uint64_t from_ms, uint64_t span_ms, uint64_t now_ms)
{
    return from_ms == 0 || (now_ms >= span_ms && from_ms <= now_ms - span_ms);
}

static enum rcptset_status status_at(const struct rcptset_entry *e, uint64_t now_ms)
{
    if (e->invalid.ms > e->valid.ms)
        return is_past(e->invalid.ms, LIMIT_RCPTSET_INVALID_MS, now_ms) ? RCPTSET_UNKNOWN
                                                                        : RCPTSET_INVALID;
    return is_past(e->valid.ms, LIMIT_RCPTSET_VALID_MS, now_ms) ? RCPTSET_UNKNOWN
                                                                : RCPTSET_VALID;
}

static bool is_over(const struct rcptset_entry *e, uint64_t now_ms)
{
    return is_past(e->valid.ms, LIMIT_RCPTSET_VALID_MS, now_ms) &&
           is_past(e->invalid.ms, LIMIT_RCPTSET_INVALID_MS, now_ms) &&
           is_past(max_of(e->wanted_ms, e->asked_ms), LIMIT_RCPTSET_WISH_MS, now_ms);
}

/* What is left of an entry in the light of our clock. */
static struct rcptset_entry clamped(const struct rcptset_entry *e, uint64_t now_ms)
{
    struct rcptset_entry c = *e;

    c.valid.ms = min_of(c.valid.ms, now_ms);
    c.invalid.ms = min_of(c.invalid.ms, now_ms);
    c.asked_ms = min_of(c.asked_ms, now_ms);
    c.wanted_ms = min_of(c.wanted_ms, now_ms);
    return c;
}

/* --- finding --- */

/* An address within the set, and how it is compared. */
struct wanted {
    const struct pool *pool;
    uint64_t generation;
    struct str local;
    bool any_case, is_valid; /* is_valid: only such */
};

static bool is_wanted(const void *ctx, uint32_t value, const void *key)
{
    const struct wanted *w = key;
    const struct rcptset_entry *e = &((struct rcptset_item *)pool_at(w->pool, value))->e;
    struct str local = {e->local, e->local_bytes};

    (void)ctx;
    if (e->generation != w->generation || (w->is_valid && rcptset_class(e) != RCPTSET_VALID))
        return false;
    return w->any_case ? str_eq_nocase(local, w->local) : str_eq(local, w->local);
}

/* Of the local part in lower case: all its spellings are found in one place. */
static uint64_t hash_of(const struct rcptset *s, uint64_t generation, struct str local)
{
    char b[8 + LIMIT_SMTP_LOCAL_PART_BYTES];

    put_be(b, 8, generation);
    (void)str_lower(local, b + 8, LIMIT_SMTP_LOCAL_PART_BYTES);
    return map_hash(&s->map, b, 8 + local.n);
}

static bool fits(struct str local)
{
    return local.n > 0 && local.n <= LIMIT_SMTP_LOCAL_PART_BYTES;
}

static uint32_t find(const struct rcptset *s, struct wanted w)
{
    w.pool = &s->pool;
    return fits(w.local)
               ? map_find(&s->map, hash_of(s, w.generation, w.local), is_wanted, NULL, &w)
               : 0;
}

/* What stands before the separator; all of it, when there is none. */
static struct str base_of(const struct rcptset_name *n)
{
    size_t at = n->separator != 0 ? str_find(n->local, n->separator) : n->local.n;

    return at > 0 ? str_head(n->local, at) : n->local;
}

static enum rcptset_status look(const struct rcptset *s, uint64_t generation, struct str local,
                                uint64_t now_ms, struct rcptset_entry *out)
{
    const struct wanted ways[] = {
        {.generation = generation, .local = local},
        {.generation = generation, .local = local, .any_case = true, .is_valid = true},
        {.generation = generation, .local = local, .any_case = true},
    };

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        uint32_t handle = find(s, ways[i]);

        enum rcptset_status status =
            handle != 0 ? status_at(&rcptset_at(s, handle)->e, now_ms) : RCPTSET_UNKNOWN;

        if (status == RCPTSET_UNKNOWN)
            continue;
        *out = rcptset_at(s, handle)->e;
        return status;
    }
    return RCPTSET_UNKNOWN;
}

enum rcptset_status rcptset_find(const struct rcptset *s, const struct rcptset_name *n,
                                 uint64_t now_ms, struct rcptset_entry *out)
{
    struct str base = base_of(n);
    enum rcptset_status status = look(s, n->generation, n->local, now_ms, out);

    if (status == RCPTSET_UNKNOWN && base.n < n->local.n)
        status = look(s, n->generation, base, now_ms, out);
    return status;
}

/* --- room --- */

static void drop(struct rcptset *s, uint32_t handle)
{
    struct rcptset_entry *e = &rcptset_at(s, handle)->e;

    changes_remove(&s->changes, &s->pool, handle);
    rcptset_leave(s, handle);
    map_remove(&s->map, hash_of(s, e->generation, (struct str){e->local, e->local_bytes}),
               handle);
    pool_give(&s->pool, handle);
}

/* The oldest doubt of the domain makes room, a wish before a fact. */
static bool shed(struct rcptset *s, uint32_t domain)
{
    const struct rcptset_domain *d = domain != 0 ? rcptset_domain_at(s, domain) : NULL;

    if (d == NULL || d->count[RCPTSET_UNKNOWN] + d->count[RCPTSET_INVALID] == 0)
        return false;
    drop(s, d->top[d->count[RCPTSET_UNKNOWN] > 0 ? RCPTSET_UNKNOWN : RCPTSET_INVALID]);
    return true;
}

static bool has_room(const struct rcptset *s, uint32_t domain, enum rcptset_status status,
                     bool is_new)
{
    const struct rcptset_domain *d = domain != 0 ? rcptset_domain_at(s, domain) : NULL;
    uint32_t doubts = 0, all = 0;

    if (d != NULL) {
        doubts = d->count[RCPTSET_UNKNOWN] + d->count[RCPTSET_INVALID];
        all = doubts + d->count[RCPTSET_VALID];
    }
    if (status != RCPTSET_VALID &&
        (doubts >= s->opt.doubts || s->doubts >= (s->opt.entries + 3) / 4))
        return false;
    return !is_new || (all < s->opt.per_domain && s->pool.count < s->opt.entries);
}

static bool make_room(struct rcptset *s, uint64_t generation, enum rcptset_status status)
{
    uint32_t domain = rcptset_domain_find(s, generation);

    if (has_room(s, domain, status, true))
        return true;
    return status != RCPTSET_UNKNOWN && shed(s, domain) &&
           has_room(s, rcptset_domain_find(s, generation), status, true);
}

static enum rcptset_merged add(struct rcptset *s, const struct rcptset_entry *e)
{
    struct str local = {e->local, e->local_bytes};
    uint32_t handle = make_room(s, e->generation, rcptset_class(e)) ? pool_take(&s->pool) : 0;

    if (handle == 0)
        return RCPTSET_NO_ROOM;
    rcptset_at(s, handle)->e = *e;
    if (!rcptset_join(s, handle)) {
        pool_give(&s->pool, handle);
        return RCPTSET_NO_ROOM;
    }
    if (map_put(&s->map, hash_of(s, e->generation, local), handle) != OK) {
        rcptset_leave(s, handle);
        pool_give(&s->pool, handle);
        return RCPTSET_NO_ROOM;
    }
    changes_add(&s->changes, &s->pool, handle);
    return RCPTSET_NEWS;
}

/* --- merging --- */

static struct rcptset_fact later(struct rcptset_fact a, struct rcptset_fact b)
{
    return b.ms > a.ms || (b.ms == a.ms && b.source > a.source) ? b : a;
}

static struct rcptset_entry joined(const struct rcptset_entry *a, const struct rcptset_entry *b)
{
    struct rcptset_entry c = *a;

    c.valid = later(a->valid, b->valid);
    c.invalid = later(a->invalid, b->invalid);
    c.asked_ms = max_of(a->asked_ms, b->asked_ms);
    c.wanted_ms = max_of(a->wanted_ms, b->wanted_ms);
    return c;
}

static bool is_same(struct rcptset_fact a, struct rcptset_fact b)
{
    return a.ms == b.ms && a.source == b.source;
}

/* The item becomes *e, which has the same name. Who is VALID no more is so whatever room there
 * is for doubts; a wish has none. */
static enum rcptset_merged change(struct rcptset *s, uint32_t handle,
                                  const struct rcptset_entry *e)
{
    struct rcptset_item *it = rcptset_at(s, handle);
    struct rcptset_entry c = *e;
    bool is_shut = rcptset_class(&it->e) == RCPTSET_VALID &&
                   rcptset_class(e) != RCPTSET_VALID &&
                   !has_room(s, it->domain, rcptset_class(e), false);

    if (is_shut && rcptset_class(e) == RCPTSET_UNKNOWN)
        c.wanted_ms = it->e.wanted_ms;
    if (is_same(it->e.valid, c.valid) && is_same(it->e.invalid, c.invalid) &&
        it->e.asked_ms == c.asked_ms && it->e.wanted_ms == c.wanted_ms)
        return is_shut ? RCPTSET_NO_ROOM : RCPTSET_NO_NEWS;
    if (is_shut && rcptset_class(&c) != RCPTSET_VALID)
        (void)shed(s, it->domain);
    rcptset_leave_class(s, handle);
    it->e = c;
    rcptset_join_class(s, handle);
    changes_touch(&s->changes, &s->pool, handle);
    return RCPTSET_NEWS;
}

enum rcptset_merged rcptset_merge(struct rcptset *s, const struct rcptset_entry *e,
                                  uint64_t now_ms)
{
    struct rcptset_entry c = clamped(e, now_ms);
    uint32_t handle = find(
        s, (struct wanted){.generation = e->generation, .local = {e->local, e->local_bytes}});

    ASSERT(e->generation != 0 && fits((struct str){e->local, e->local_bytes}));
    if (handle != 0 && is_over(&rcptset_at(s, handle)->e, now_ms)) {
        drop(s, handle);
        handle = 0;
    }
    if (handle == 0)
        return is_over(&c, now_ms) ? RCPTSET_NO_NEWS : add(s, &c);
    c = joined(&rcptset_at(s, handle)->e, &c);
    return change(s, handle, &c);
}

/* --- what this site finds out --- */

static bool entry_named(struct rcptset_entry *e, uint64_t generation, struct str local)
{
    *e = (struct rcptset_entry){.generation = generation};
    if (!fits(local))
        return false;
    e->local_bytes = (uint8_t)local.n;
    memcpy(e->local, local.p, local.n);
    return true;
}

static enum rcptset_merged learn(struct rcptset *s, uint64_t generation, struct str local,
                                 enum rcptset_status status, enum rcptset_source source,
                                 uint64_t now_ms)
{
    uint32_t handle = find(s, (struct wanted){.generation = generation, .local = local});
    struct rcptset_entry e;

    if (!entry_named(&e, generation, local))
        return RCPTSET_NO_ROOM;
    if (handle != 0 && status == RCPTSET_VALID) {
        const struct rcptset_entry *have = &rcptset_at(s, handle)->e;

        if (have->valid.ms >= have->invalid.ms && have->valid.ms <= now_ms &&
            !is_past(have->valid.ms, LIMIT_RCPTSET_TOUCH_MS, now_ms))
            return RCPTSET_NO_NEWS;
    }
    /* Not below the wish of a site whose clock is ahead: it is fulfilled. */
    if (handle != 0)
        now_ms = max_of(now_ms, rcptset_at(s, handle)->e.wanted_ms);
    *(status == RCPTSET_VALID ? &e.valid : &e.invalid) = (struct rcptset_fact){now_ms, source};
    return rcptset_merge(s, &e, now_ms);
}

enum rcptset_merged rcptset_learn(struct rcptset *s, const struct rcptset_name *n,
                                  enum rcptset_status status, enum rcptset_source source,
                                  uint64_t now_ms)
{
    struct str base = status == RCPTSET_VALID ? base_of(n) : n->local;
    struct wanted whole = {.generation = n->generation, .local = n->local};

    ASSERT(status != RCPTSET_UNKNOWN && source != RCPTSET_NOBODY);
    /* What was said of the sub-address itself before does not hold any more. */
    if (base.n < n->local.n && find(s, whole) != 0)
        (void)!learn(s, n->generation, n->local, status, source, now_ms);
    return learn(s, n->generation, base, status, source, now_ms);
}

enum rcptset_merged rcptset_want(struct rcptset *s, const struct rcptset_name *n,
                                 uint64_t now_ms)
{
    uint32_t handle = find(s, (struct wanted){.generation = n->generation, .local = n->local});
    struct rcptset_entry e;

    if (!entry_named(&e, n->generation, n->local))
        return RCPTSET_NO_ROOM;
    if (handle != 0) {
        const struct rcptset_entry *have = &rcptset_at(s, handle)->e;

        if (!is_past(have->asked_ms, LIMIT_RCPTSET_WISH_MS, now_ms))
            return RCPTSET_VAIN;
        if (!is_past(have->wanted_ms, LIMIT_RCPTSET_WISH_MS, now_ms))
            return RCPTSET_NO_NEWS;
    }
    e.wanted_ms = now_ms;
    return rcptset_merge(s, &e, now_ms);
}

size_t rcptset_due(struct rcptset *s, uint64_t generation, uint64_t now_ms,
                   struct rcptset_entry *out, size_t room)
{
    static const enum rcptset_status order[] = {RCPTSET_UNKNOWN, RCPTSET_VALID};
    uint32_t domain = rcptset_domain_find(s, generation), found[RCPTSET_DUE];
    size_t n = 0;

    ASSERT(room <= RCPTSET_DUE);
    for (size_t i = 0; domain != 0 && i < sizeof order / sizeof *order; i++) {
        uint32_t *top = &rcptset_domain_at(s, domain)->top[order[i]];

        while (n < room && *top != 0 && rcptset_rank(&rcptset_at(s, *top)->e) <= now_ms) {
            found[n] = *top;
            out[n] = rcptset_at(s, *top)->e;
            rcptset_leave_class(s, found[n++]); /* shows the next one */
        }
    }
    for (size_t i = 0; i < n; i++)
        rcptset_join_class(s, found[i]);
    return n;
}

void rcptset_asked(struct rcptset *s, const struct rcptset_entry *e, uint64_t now_ms)
{
    struct rcptset_entry c = *e;

    /* Above the wish, also of a clock that is ahead, or it would be the next one for ever. */
    c.asked_ms = max_of(now_ms, e->wanted_ms);
    (void)!rcptset_merge(s, &c, c.asked_ms);
}

uint32_t rcptset_known(const struct rcptset *s, uint64_t generation)
{
    uint32_t domain = rcptset_domain_find(s, generation);

    return domain != 0 ? rcptset_domain_at(s, domain)->count[RCPTSET_VALID] : 0;
}

uint32_t rcptset_count(const struct rcptset *s)
{
    return s->pool.count;
}

bool rcptset_changes(const struct rcptset *s, struct change_cursor *at,
                     struct rcptset_entry *out)
{
    uint32_t handle = changes_next(&s->changes, &s->pool, at);

    if (handle != 0)
        *out = rcptset_at(s, handle)->e;
    return handle != 0;
}

size_t rcptset_sweep(struct rcptset *s, uint64_t now_ms, size_t look_at,
                     struct rcptset_entry *dropped)
{
    size_t count = 0;

    for (; look_at > 0 && s->pool.made > 0; look_at--) {
        struct rcptset_entry c;

        s->swept = s->swept < s->pool.made ? s->swept + 1 : 1;
        if (!pool_is_taken(&s->pool, s->swept))
            continue;
        c = clamped(&rcptset_at(s, s->swept)->e, now_ms);
        if (is_over(&c, now_ms)) {
            dropped[count++] = c;
            drop(s, s->swept);
        }
    }
    return count;
}
