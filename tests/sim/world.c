#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#define EPOCH_US UINT64_C(1800000000000000) /* Unix time at which the world begins */

struct event {
    uint64_t at_us, seq;
    void (*fn)(void *arg);
    void *arg;
};

struct frame_in_flight {
    unsigned from, to;
    int plane;
    uint64_t incarnation;
    size_t n;
    char bytes[];
};

static struct world {
    uint64_t now_us, seq, seed;
    struct prng rng;
    struct event *heap;
    size_t n, room;
    bool trace;
    const char *note;
    struct world_counts counts;
    struct world_link links[WORLD_NODES][WORLD_NODES];
    void (*receive)(unsigned from, unsigned to, int plane, uint64_t incarnation,
                    struct str bytes);
    const struct world_clock *clock;
} w;

void world_init(uint64_t seed, bool trace_it)
{
    free(w.heap);
    w = (struct world){.seed = seed, .trace = trace_it, .note = ""};
    prng_seed(&w.rng, seed + 1);
    for (int i = 0; i < 8; i++)
        prng_next(&w.rng);
    for (unsigned a = 0; a < WORLD_NODES; a++)
        for (unsigned b = 0; b < WORLD_NODES; b++)
            w.links[a][b] = (struct world_link){.delay_min_us = 1 * MS, .delay_max_us = 3 * MS};
}

uint64_t world_now(void)
{
    return w.now_us;
}

uint64_t world_seed(void)
{
    return w.seed;
}

struct world_counts *world_counts(void)
{
    return &w.counts;
}

/* --- Chance --- */

uint64_t world_below(uint64_t n)
{
    return n == 0 ? 0 : prng_below(&w.rng, n);
}

uint64_t world_between(uint64_t from, uint64_t to)
{
    ASSERT(from <= to);
    return from + world_below(to - from + 1);
}

bool world_chance(uint64_t per_mille)
{
    return per_mille > 0 && world_below(1000) < per_mille;
}

/* --- Events: a binary heap --- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void world_at(uint64_t at_us, void (*fn)(void *arg), void *arg)
{
    struct event e = {at_us > w.now_us ? at_us : w.now_us, ++w.seq, fn, arg};
    size_t i;

    if (w.n == w.room) {
        w.room = w.room > 0 ? 2 * w.room : 1024;
        w.heap = realloc(w.heap, w.room * sizeof *w.heap);
        ASSERT(w.heap != NULL);
    }
    for (i = w.n++; i > 0 && before(&e, &w.heap[(i - 1) / 2]); i = (i - 1) / 2)
        w.heap[i] = w.heap[(i - 1) / 2];
    w.heap[i] = e;
}

static struct event pop(void)
{
    struct event top = w.heap[0], last = w.heap[--w.n];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < w.n && before(&w.heap[child + 1], &w.heap[child]))
            child++;
        if (child >= w.n || !before(&w.heap[child], &last))
            break;
        w.heap[i] = w.heap[child];
        i = child;
    }
    if (w.n > 0)
        w.heap[i] = last;
    return top;
}

bool world_step(uint64_t until_us)
{
    struct event e;

    if (w.n == 0 || w.heap[0].at_us > until_us) {
        if (until_us != NEVER && until_us > w.now_us)
            w.now_us = until_us;
        return false;
    }
    e = pop();
    if (e.at_us > w.now_us)
        w.now_us = e.at_us;
    w.counts.events++;
    e.fn(e.arg);
    return true;
}

void world_skip(uint64_t to_us)
{
    if (to_us > w.now_us)
        w.now_us = to_us;
}

/* --- Clocks --- */

uint64_t world_boot_us(const struct world_clock *c)
{
    uint64_t passed = w.now_us - c->since_us;

    return (uint64_t)((int64_t)passed + (int64_t)passed / 1000000 * c->drift_ppm +
                      (int64_t)(passed % 1000000) * c->drift_ppm / 1000000);
}

uint64_t world_when_boot(const struct world_clock *c, uint64_t boot_us)
{
    uint64_t now = world_boot_us(c);

    if (boot_us == UINT64_MAX)
        return NEVER;
    if (boot_us <= now)
        return w.now_us;
    /* A little late rather than early: a timer never fires before its time. */
    return w.now_us + (boot_us - now) * 1000000 / (uint64_t)(1000000 + c->drift_ppm) + 2;
}

void world_use_clock(const struct world_clock *c)
{
    w.clock = c;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    uint64_t us;

    if (w.clock == NULL)
        return (int)syscall(SYS_clock_gettime, id, out);
    if (id == CLOCK_REALTIME)
        us = w.now_us + EPOCH_US + (uint64_t)(w.clock->wall_ms * (int64_t)MS);
    else
        us = world_boot_us(w.clock);
    out->tv_sec = (time_t)(us / SECOND);
    out->tv_nsec = (long)(us % SECOND * 1000);
    return 0;
}

/* --- What happened --- */

void world_note(const char *text)
{
    w.note = text;
}

bool trace_on(void)
{
    return w.trace;
}

void trace(const char *fmt, ...)
{
    va_list ap;

    if (!w.trace)
        return;
    printf("%6llu.%06llu ", (unsigned long long)(w.now_us / SECOND),
           (unsigned long long)(w.now_us % SECOND));
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

void violation(const char *fmt, ...)
{
    va_list ap;

    printf("VIOLATION seed=%llu at=%llu.%06llu %s", (unsigned long long)w.seed,
           (unsigned long long)(w.now_us / SECOND), (unsigned long long)(w.now_us % SECOND),
           w.note);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(NULL);
    _exit(VIOLATION_EXIT);
}

/* --- The network --- */

struct world_link *world_link(unsigned from, unsigned to)
{
    ASSERT(from < WORLD_NODES && to < WORLD_NODES);
    return &w.links[from][to];
}

void world_receiver(void (*receive)(unsigned from, unsigned to, int plane, uint64_t incarnation,
                                    struct str bytes))
{
    w.receive = receive;
}

uint64_t world_delay(unsigned from, unsigned to)
{
    const struct world_link *l = world_link(from, to);
    uint64_t us = world_between(l->delay_min_us, l->delay_max_us);

    return world_chance(l->tail_pm) ? us * world_between(2, 10) : us;
}

static void arrive(void *arg)
{
    struct frame_in_flight *f = arg;

    /* A cut also eats what is on its way. */
    if (w.links[f->from][f->to].cut || w.links[f->from][f->to].cut_planes >> f->plane & 1)
        w.counts.frames_lost++;
    else
        w.receive(f->from, f->to, f->plane, f->incarnation, (struct str){f->bytes, f->n});
    free(f);
}

static void fly(unsigned from, unsigned to, int plane, uint64_t incarnation, struct str bytes)
{
    struct frame_in_flight *f = malloc(sizeof *f + bytes.n);
    uint64_t at = w.now_us + world_delay(from, to);
    const struct world_link *l = world_link(from, to);

    ASSERT(f != NULL);
    *f = (struct frame_in_flight){from, to, plane, incarnation, bytes.n};
    if (bytes.n > 0)
        memcpy(f->bytes, bytes.p, bytes.n);
    if (bytes.n > 0 && world_chance(l->corrupt_pm))
        f->bytes[world_below(bytes.n)] ^= (char)(1 << world_below(8));
    if (l->clogged_until_us > w.now_us)
        at = l->clogged_until_us + world_delay(from, to);
    world_at(at, arrive, f);
}

void world_send(unsigned from, unsigned to, int plane, uint64_t incarnation, struct str bytes)
{
    const struct world_link *l = world_link(from, to);

    w.counts.frames++;
    w.counts.bytes += bytes.n;
    if (l->cut || (l->cut_planes >> plane & 1) || world_chance(l->loss_pm)) {
        w.counts.frames_lost++;
        return;
    }
    fly(from, to, plane, incarnation, bytes);
    if (world_chance(l->double_pm)) {
        w.counts.frames_doubled++;
        fly(from, to, plane, incarnation, bytes);
    }
}
