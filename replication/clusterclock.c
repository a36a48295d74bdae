#include "replication/clusterclock.h"

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void clusterclock_init(struct clusterclock *c, uint64_t base_ms, uint64_t boot_now_ms)
{
    *c = (struct clusterclock){.base_ms = base_ms, .boot_ms = boot_now_ms, .floor_ms = base_ms};
}

uint64_t clusterclock_now(const struct clusterclock *c, uint64_t boot_now_ms)
{
    /* Callers in other threads read their clock on their own: theirs may be the older one. */
    uint64_t elapsed = boot_now_ms > c->boot_ms ? boot_now_ms - c->boot_ms : 0;
    uint64_t now = c->base_ms + min_u64(elapsed, CLUSTERCLOCK_SPAN_MS);

    return now > c->floor_ms ? now : c->floor_ms;
}

void clusterclock_applied(struct clusterclock *c, uint64_t base_ms, uint64_t boot_now_ms)
{
    /* The entry says less than this node has counted by the time it took to write it. The node
     * waits until the log has caught up: the log is right, the node only guessed. */
    uint64_t shown = clusterclock_now(c, boot_now_ms);

    *c = (struct clusterclock){.base_ms = base_ms, .boot_ms = boot_now_ms, .floor_ms = shown};
}

uint32_t clusterclock_measure(uint64_t *mark_ms, uint64_t boot_now_ms)
{
    uint64_t elapsed = boot_now_ms > *mark_ms ? boot_now_ms - *mark_ms : 0;

    *mark_ms = boot_now_ms;
    return (uint32_t)min_u64(elapsed, CLUSTERCLOCK_SPAN_MS);
}
