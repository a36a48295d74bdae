/*
 * world: one simulated world in one process: virtual time, an event heap, chance out of one
 * seed, and the network between the nodes. Idle time is skipped: the clock jumps from event to
 * event. The same seed brings the same run, event for event.
 *
 * Time: microseconds of the world; nodes have clocks of their own (struct world_clock), which
 * drift and step, and which the daemon's base/clock.c reads: this file puts itself between it
 * and the kernel (clock_gettime).
 * Threads: one. A violation ends the process: it prints the seed, the time and what happened.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"
#include "base/str.h"

#define WORLD_NODES 3
#define MS          UINT64_C(1000) /* microseconds */
#define SECOND      (1000 * MS)
#define MINUTE      (60 * SECOND)
#define HOUR        (60 * MINUTE)
#define DAY         (24 * HOUR)
#define NEVER       UINT64_MAX

#define VIOLATION_EXIT 3 /* exit status of a run that found one */

struct world_counts {
    uint64_t events, frames, frames_lost, frames_doubled, bytes;
};

void world_init(uint64_t seed, bool trace);
uint64_t world_now(void);
uint64_t world_seed(void);
struct world_counts *world_counts(void);

/* --- Chance --- */
uint64_t world_below(uint64_t n);                   /* 0 .. n - 1 */
uint64_t world_between(uint64_t from, uint64_t to); /* both included */
bool world_chance(uint64_t per_mille);

/* --- Events --- */
/* Runs fn(arg) at that time (or now, when it has passed); equal times in the order of the
 * calls. */
void world_at(uint64_t at_us, void (*fn)(void *arg), void *arg);
/* Runs the next event. False: there is none up to `until_us`; then that is the time. */
bool world_step(uint64_t until_us);
/* Skips to that time: what was due meanwhile is late. */
void world_skip(uint64_t to_us);

/* --- Clocks of the nodes --- */
struct world_clock {
    uint64_t since_us; /* of the world; the machine booted then */
    int64_t drift_ppm;
    int64_t wall_ms; /* what is added to the time of the world */
};
uint64_t world_boot_us(const struct world_clock *c);
/* When the boot clock will show that, in microseconds of the world. */
uint64_t world_when_boot(const struct world_clock *c, uint64_t boot_us);
/* Whose clocks clock_gettime() shows from now on. NULL: the real ones. */
void world_use_clock(const struct world_clock *c);

/* --- What happened --- */
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool trace_on(void);
_Noreturn void violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Told in front of each violation and trace line: which planted bug, which options. */
void world_note(const char *text);

/* --- The network between nodes --- */
struct world_link { /* one direction */
    bool cut;
    uint32_t cut_planes;                     /* a bit for each plane that is cut alone */
    uint32_t loss_pm, double_pm, corrupt_pm; /* per mille */
    uint32_t delay_min_us, delay_max_us;
    uint32_t tail_pm; /* so many take up to ten times as long */
    uint64_t clogged_until_us;
};
struct world_link *world_link(unsigned from, unsigned to);
/* A frame: copied, and given to receive() later, once, twice or never, in any order. */
void world_send(unsigned from, unsigned to, int plane, uint64_t incarnation, struct str bytes);
void world_receiver(void (*receive)(unsigned from, unsigned to, int plane, uint64_t incarnation,
                                    struct str bytes));
/* One way for something that is not a frame (clients, primaries). */
uint64_t world_delay(unsigned from, unsigned to);
