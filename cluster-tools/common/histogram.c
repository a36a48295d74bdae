#include "cluster-tools/common/histogram.h"

#include <stddef.h>

#include "base/assert.h"

/* log2(HISTOGRAM_SUB): how many bits of a value its bucket tells apart. */
#define SUB_BITS 6

static size_t bucket_of(uint64_t v)
{
    unsigned shift;
    size_t i;

    if (v < HISTOGRAM_SUB)
        return (size_t)v;
    shift = 63 - (unsigned)__builtin_clzll(v) - SUB_BITS;
    i = (size_t)(shift + 1) * HISTOGRAM_SUB + ((v >> shift) & (HISTOGRAM_SUB - 1));
    return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

/* The largest value that falls into bucket i. */
static uint64_t top_of(size_t i)
{
    size_t shift;

    if (i < HISTOGRAM_SUB)
        return i;
    shift = i / HISTOGRAM_SUB - 1;
    return ((uint64_t)(HISTOGRAM_SUB + i % HISTOGRAM_SUB + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value_us)
{
    h->count++;
    h->sum_us += value_us;
    if (value_us > h->max_us)
        h->max_us = value_us;
    h->bucket[bucket_of(value_us)]++;
}

uint64_t histogram_quantile_us(const struct histogram *h, unsigned part)
{
    uint64_t want, seen = 0;

    ASSERT(part <= 10000);
    /* Split so that the product cannot overflow, rounded up: the median of one sample is it. */
    want = h->count / 10000 * part + (h->count % 10000 * part + 9999) / 10000;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        seen += h->bucket[i];
        if (seen > 0 && seen >= want)
            return top_of(i) < h->max_us ? top_of(i) : h->max_us;
    }
    return h->max_us;
}

uint64_t histogram_mean_us(const struct histogram *h)
{
    return h->count == 0 ? 0 : h->sum_us / h->count;
}
