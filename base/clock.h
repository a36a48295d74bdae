/*
 * clock: the two clocks of a node. Shells read them once per turn of their loop and pass the
 * value on as `now`; pure modules never call this.
 * Threads: any.
 */
#pragma once

#include <stdint.h>

/* Milliseconds since boot, suspend included (CLOCK_BOOTTIME). For every deadline. */
uint64_t clock_boot_ms(void);
/* The same in microseconds, for measurements. */
uint64_t clock_boot_us(void);
/* Unix time in milliseconds (CLOCK_REALTIME). For Received, logs and display only. */
int64_t clock_wall_ms(void);
