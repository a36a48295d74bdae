/* stats: counters and gauges of a node, from the table base/stats.def. Threads: any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum stat_id {
#define X(name, type, help) STAT_##name,
#include "base/stats.def"
#undef X
    STAT_COUNT
};

void stat_add(enum stat_id s, int64_t n);
void stat_set(enum stat_id s, uint64_t value);
uint64_t stat_get(enum stat_id s);
const char *stat_name(enum stat_id s); /* upper case, as in the table */

/* All of them in Prometheus text format, at most size - 1 bytes and a NUL; returns the length.
 */
size_t stats_text(char *buf, size_t size);
