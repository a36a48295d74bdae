/* bigendian: whole numbers of 1 to 8 bytes, the first byte the most significant: on disk, in
 * frames, in keys that sort by memcmp. p need not be aligned. Pure. Threads: any. */
#pragma once

#include <stdint.h>

static inline uint64_t get_be(const void *p, int bytes)
{
    const uint8_t *b = p;
    uint64_t v = 0;

    for (int i = 0; i < bytes; i++)
        v = v << 8 | b[i];
    return v;
}

/* The bytes of v that there is no room for are left out. Returns what lies behind. */
static inline void *put_be(void *p, int bytes, uint64_t v)
{
    uint8_t *b = p;

    for (int i = bytes - 1; i >= 0; i--, v >>= 8)
        b[i] = (uint8_t)v;
    return b + bytes;
}
