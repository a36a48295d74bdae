#include "base/clock.h"

#include <time.h>

#include "base/assert.h"

static struct timespec read_clock(clockid_t id)
{
    struct timespec t;
    int rc = clock_gettime(id, &t);

    ASSERT(rc == 0);
    return t;
}

uint64_t clock_boot_us(void)
{
    struct timespec t = read_clock(CLOCK_BOOTTIME);

    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t clock_boot_ms(void)
{
    return clock_boot_us() / 1000u;
}

int64_t clock_wall_ms(void)
{
    struct timespec t = read_clock(CLOCK_REALTIME);

    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
