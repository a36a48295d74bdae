/* prng: xorshift64*, for jitter, tests and the simulator. Never for secrets. Plain data. */
#pragma once

#include <stdint.h>

struct prng {
    uint64_t s;
};

static inline void prng_seed(struct prng *r, uint64_t seed)
{
    r->s = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
}

static inline uint64_t prng_next(struct prng *r)
{
    r->s ^= r->s >> 12;
    r->s ^= r->s << 25;
    r->s ^= r->s >> 27;
    return r->s * UINT64_C(0x2545F4914F6CDD1D);
}

/* 0 .. n-1; n above 0. */
static inline uint64_t prng_below(struct prng *r, uint64_t n)
{
    return (prng_next(r) >> 11) % n;
}
