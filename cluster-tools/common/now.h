/*
 * now: the clocks of base/clock.h in the one unit of the tools, microseconds. Threads: any.
 */
#pragma once

#include <stdint.h>

#include "base/clock.h"

/* Since boot: for everything that is measured or waited for. */
static inline uint64_t tool_now_us(void)
{
    return clock_boot_us();
}

/* Since 1970, to the millisecond: for ledgers and dates. */
static inline uint64_t tool_wall_us(void)
{
    return (uint64_t)clock_wall_ms() * 1000;
}
