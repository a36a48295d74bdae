#include "base/stats.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/assert.h"

static _Atomic uint64_t values[STAT_COUNT];

static const struct {
    const char *name, *type, *help;
} table[] = {
#define X(name, type, help) [STAT_##name] = {#name, #type, help},
#include "base/stats.def"
#undef X
};

void stat_add(enum stat_id s, int64_t n)
{
    atomic_fetch_add_explicit(&values[s], (uint64_t)n, memory_order_relaxed);
}

void stat_set(enum stat_id s, uint64_t value)
{
    atomic_store_explicit(&values[s], value, memory_order_relaxed);
}

uint64_t stat_get(enum stat_id s)
{
    return atomic_load_explicit(&values[s], memory_order_relaxed);
}

const char *stat_name(enum stat_id s)
{
    ASSERT(s < STAT_COUNT);
    return table[s].name;
}

static void lower(char *out, size_t size, const char *in)
{
    size_t i = 0;

    for (; in[i] != 0 && i + 1 < size; i++)
        out[i] = (char)(in[i] >= 'A' && in[i] <= 'Z' ? in[i] + ('a' - 'A') : in[i]);
    out[i] = 0;
}

size_t stats_text(char *buf, size_t size)
{
    size_t n = 0;

    ASSERT(size > 0);
    buf[0] = 0;
    for (int i = 0; i < STAT_COUNT; i++) {
        char name[64], type[16];
        int w;

        lower(name, sizeof name, table[i].name);
        lower(type, sizeof type, table[i].type);
        w = snprintf(buf + n, size - n,
                     "# HELP trispool_%s %s\n# TYPE trispool_%s %s\ntrispool_%s %llu\n", name,
                     table[i].help, name, type, name,
                     (unsigned long long)stat_get((enum stat_id)i));
        if (w < 0 || (size_t)w >= size - n) {
            buf[n] = 0; /* whole entries only */
            break;
        }
        n += (size_t)w;
    }
    return n;
}
