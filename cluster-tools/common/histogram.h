/*
 * histogram: latencies in fixed memory, log-linear.
 *
 * Values are microseconds. Below 64 us each value has its own bucket; above, each power of two
 * is cut in 64 parts, so a quantile is at most 1/64 (1.6 %) above the true value, and never
 * above the largest value seen. Reaches 2^45 us (over a year); larger values count as that.
 * Threads: one owner. Memory: the struct, about 20 KiB.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_SUB     64
#define HISTOGRAM_BUCKETS (HISTOGRAM_SUB * 40)

struct histogram {
    uint64_t count, sum_us, max_us;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value_us);

/* The value that `part` of 10,000 samples do not exceed: 5000 is the median, 9990 is p99.9.
 * 0 when nothing was added. */
uint64_t histogram_quantile_us(const struct histogram *h, unsigned part);

/* The mean, rounded down; 0 when nothing was added. */
uint64_t histogram_mean_us(const struct histogram *h);
