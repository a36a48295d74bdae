/*
 * clusterclock: what time it is in the cluster between two entries of the control log. The log
 * adds what was measured (COMMAND_CLOCK); between its entries a node counts on by itself, at
 * most two intervals. So no wall clock moves hold-time deadlines, and a time in which no node
 * could write the log ages no mail.
 *
 * Pure: plain data, `boot_now_ms` (CLOCK_BOOTTIME) comes in.
 * Limits: LIMIT_CLOCK_TICK_MS.
 */
#pragma once

#include <stdint.h>

#include "base/limits.h"

/* What a node counts on by itself, and the most that one log entry adds. */
#define CLUSTERCLOCK_SPAN_MS (2 * LIMIT_CLOCK_TICK_MS)

struct clusterclock {
    uint64_t base_ms;  /* cluster time of the last applied entry */
    uint64_t boot_ms;  /* when this node applied it              */
    uint64_t floor_ms; /* never below: what was shown before     */
};

void clusterclock_init(struct clusterclock *c, uint64_t base_ms, uint64_t boot_now_ms);

/* The state machine's clock stands at base_ms now. */
void clusterclock_applied(struct clusterclock *c, uint64_t base_ms, uint64_t boot_now_ms);

/* Cluster time, milliseconds. Never goes back over calls with growing boot_now_ms, also over
 * clusterclock_applied() in between. */
uint64_t clusterclock_now(const struct clusterclock *c, uint64_t boot_now_ms);

/* For the leader: milliseconds to put into a log entry, measured from *mark_ms to now; at most
 * CLUSTERCLOCK_SPAN_MS. Moves *mark_ms to now: what lies above the bound is never counted. */
uint32_t clusterclock_measure(uint64_t *mark_ms, uint64_t boot_now_ms);
