/*
 * checksum: the body checksum that travels in X-Trispool-Id. FNV-1a, 64 bits.
 *
 * It tells damage and truncation from an intact body in a test; it is no defence against
 * somebody who forges one. FNV because a script in any language can check it in three lines.
 * Threads: pure.
 */
#pragma once

#include <stdint.h>

#include "base/str.h"

#define CHECKSUM_INIT UINT64_C(14695981039346656037)

/* The checksum of what `sum` covers so far, followed by `bytes`. */
static inline uint64_t checksum_add(uint64_t sum, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++)
        sum = (sum ^ (unsigned char)bytes.p[i]) * UINT64_C(1099511628211);
    return sum;
}
