#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster-tools/common/words.h"
#include "tests/integration/bed/wan.h"

#define WORD_BYTES   128
#define MAX_ARGUMENT 1e15

struct unit {
    const char *name;
    double factor;
};

static const struct unit time_units[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"", 1e6}, {0}};
static const struct unit share_units[] = {{"%", 1e4}, {"", 1e6}, {0}};
static const struct unit rate_units[] = {
    {"kbit", 1e3 / 8}, {"mbit", 1e6 / 8}, {"gbit", 1e9 / 8}, {0}};
static const struct unit size_units[] = {{"k", 1024}, {"m", 1048576}, {"", 1}, {0}};

/* A number from 0 and one of the units, in the smallest. */
static bool measure(struct str word, const struct unit *units, uint64_t *out)
{
    char z[WORD_BYTES], *end;
    double value;

    if (!str_to_z(word, z, sizeof(z)))
        return false;
    value = strtod(z, &end);
    if (end == z)
        return false;
    for (; units->name != NULL; units++)
        if (strcmp(end, units->name) == 0 && value >= 0 &&
            value * units->factor < MAX_ARGUMENT) {
            *out = (uint64_t)(value * units->factor + 0.5);
            return true;
        }
    return false;
}

static bool share(struct str word, uint32_t *millionths)
{
    uint64_t value;

    if (!measure(word, share_units, &value) || value > 1000000)
        return false;
    *millionths = (uint32_t)value;
    return true;
}

static bool set_burst(struct wan_link *l, struct str value)
{
    struct str begin = str_split(&value, ',');

    return share(begin, &l->burst_begin) && share(value, &l->burst_end);
}

static bool is_word(struct str word, const char *name)
{
    return str_eq(word, str_of(name));
}

static bool set_value(struct wan_link *l, struct str key, struct str value)
{
    if (is_word(key, "delay"))
        return measure(value, time_units, &l->delay);
    if (is_word(key, "jitter"))
        return measure(value, time_units, &l->jitter);
    if (is_word(key, "rate"))
        return measure(value, rate_units, &l->rate);
    if (is_word(key, "queue"))
        return measure(value, size_units, &l->queue_bytes);
    if (is_word(key, "loss"))
        return share(value, &l->loss);
    if (is_word(key, "double"))
        return share(value, &l->doubled);
    if (is_word(key, "reorder"))
        return share(value, &l->reordered);
    if (is_word(key, "damage"))
        return share(value, &l->damaged);
    return is_word(key, "burst") && set_burst(l, value);
}

static bool set_link(struct wan *w, size_t from, size_t to, uint64_t now, struct str words)
{
    struct wan_link *l = &w->links[from][to];
    struct str word;

    while ((word = words_cut(&words)).n > 0) {
        struct str key = str_split(&word, '=');

        if (is_word(key, "up"))
            l->is_down = false;
        else if (is_word(key, "down"))
            l->is_down = true;
        else if (is_word(key, "hold"))
            l->is_held = true;
        else if (is_word(key, "release"))
            wan_release(w, from, to, now);
        else if (!set_value(l, key, word))
            return false;
    }
    return true;
}

/* WAN_SITES: there is no such site. */
static size_t find_site(const struct wan *w, struct str name)
{
    for (size_t i = 0; i < w->site_count; i++)
        if (is_word(name, w->sites[i].name))
            return i;
    return WAN_SITES;
}

static bool do_link(struct wan *w, struct str words, uint64_t now)
{
    struct str from = words_cut(&words), to = words_cut(&words);
    size_t a = find_site(w, from), b = find_site(w, to);

    if ((a == WAN_SITES && !is_word(from, "*")) || (b == WAN_SITES && !is_word(to, "*")))
        return false;
    for (size_t i = 0; i < w->site_count; i++)
        for (size_t j = 0; j < w->site_count; j++) {
            /* A * does not mean a site's way to itself. */
            bool is_meant =
                (a == WAN_SITES || a == i) && (b == WAN_SITES || b == j) && (i != j || a == b);

            if (is_meant && !set_link(w, i, j, now, words))
                return false;
        }
    return true;
}

static bool add_prefix(struct wan_site *site, struct str word)
{
    struct wan_prefix *p = &site->prefixes[site->prefix_count];
    struct str address = str_split(&word, '/');
    char z[WORD_BYTES];
    uint64_t bits;

    if (site->prefix_count == WAN_PREFIXES || !str_to_z(address, z, sizeof(z)))
        return false;
    p->family = str_find(address, ':') < address.n ? AF_INET6 : AF_INET;
    if (inet_pton(p->family, z, p->address) != 1 || !str_to_u64(word, &bits) ||
        bits > (p->family == AF_INET ? 32 : 128))
        return false;
    p->bits = (unsigned)bits;
    site->prefix_count++;
    return true;
}

static bool do_site(struct wan *w, struct str words)
{
    struct str name = words_cut(&words), word;
    size_t i = find_site(w, name);

    if (i == WAN_SITES) {
        if (w->site_count == WAN_SITES || name.n == 0 ||
            !str_to_z(name, w->sites[w->site_count].name, WAN_NAME_BYTES))
            return false;
        i = w->site_count++;
    }
    while ((word = words_cut(&words)).n > 0)
        if (!add_prefix(&w->sites[i], word))
            return false;
    return true;
}

static void do_reset(struct wan *w, uint64_t now)
{
    for (size_t i = 0; i < w->site_count; i++)
        for (size_t j = 0; j < w->site_count; j++) {
            struct wan_link *l = &w->links[i][j];

            if (l->is_held)
                wan_release(w, i, j, now);
            *l = (struct wan_link){.prng = l->prng};
        }
}

static void do_zero(struct wan *w)
{
    for (size_t i = 0; i < w->site_count; i++)
        for (size_t j = 0; j < w->site_count; j++)
            w->links[i][j].count = (struct wan_count){0};
}

/* Text that grows in a buffer; what does not fit is cut. */
struct text {
    char *buf;
    size_t size, n;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(t->buf + t->n, t->size - t->n, format, ap);
    va_end(ap);
    if (n > 0)
        t->n += (size_t)n < t->size - t->n ? (size_t)n : t->size - t->n - 1;
}

static void do_stats(const struct wan *w, struct text *t)
{
    for (size_t i = 0; i < w->site_count; i++)
        for (size_t j = 0; j < w->site_count; j++) {
            const struct wan_count *c = &w->links[i][j].count;

            if (c->packets > 0)
                add(t,
                    "%s %s packets=%" PRIu64 " bytes=%" PRIu64 " lost=%" PRIu64
                    " overflowed=%" PRIu64 " fell_down=%" PRIu64 " doubled=%" PRIu64
                    " reordered=%" PRIu64 " damaged=%" PRIu64 "\n",
                    w->sites[i].name, w->sites[j].name, c->packets, c->bytes, c->lost,
                    c->overflowed, c->fell_down, c->doubled, c->reordered, c->damaged);
        }
    add(t, "strangers=%" PRIu64 " in_flight=%zu\n", w->strangers, w->heap_count);
}

size_t wan_command(struct wan *w, uint64_t now, struct str line, char *answer, size_t size)
{
    struct text t = {.buf = answer, .size = size};
    struct str word = words_cut(&line);
    uint64_t seed = 0;
    bool good = true;

    if (is_word(word, "site"))
        good = do_site(w, line);
    else if (is_word(word, "link"))
        good = do_link(w, line, now);
    else if (is_word(word, "seed"))
        good = str_to_u64(words_cut(&line), &seed);
    else if (is_word(word, "reset"))
        do_reset(w, now);
    else if (is_word(word, "zero"))
        do_zero(w);
    else if (is_word(word, "stats"))
        do_stats(w, &t);
    else
        good = false;
    if (good && is_word(word, "seed"))
        wan_seed(w, seed);
    add(&t, good ? "ok\n" : "error: not understood: " STR_FMT "\n", STR_ARG(word));
    return t.n;
}
