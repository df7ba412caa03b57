/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A latency histogram of fixed size: counts of nanoseconds in log-linear buckets.
 *
 * Values below 64 ns have a bucket each; from there on every power of two is cut into 32, so a value read
 * back is at most 1/32 above the one recorded. Values from 2^37 ns (137 s) on share the last bucket; min, max
 * and sum are exact. An all-zero histogram is an empty one, so it may lie in memory that has never been
 * touched (8.3 KiB of address space).
 *
 * Threads: one writer; read it after the writer has ended.
 */
#ifndef DVMM_VMM_HISTOGRAM_H
#define DVMM_VMM_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 5 /* 32 buckets for each power of two */
#define HISTOGRAM_TOP_BITS 37
#define HISTOGRAM_SUBS     (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_BUCKETS  ((HISTOGRAM_TOP_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUBS)

struct histogram {
	uint64_t count;
	uint64_t sum_ns; /* wraps after 584 years of waiting */
	uint64_t min_ns; /* valid if count > 0 */
	uint64_t max_ns;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* The bucket of a value: its leading HISTOGRAM_SUB_BITS + 1 bits and how far they are shifted. */
static inline unsigned histogram_bucket(uint64_t ns)
{
	unsigned shift;

	if (ns < 2 * HISTOGRAM_SUBS)
		return (unsigned)ns;
	if (ns >> HISTOGRAM_TOP_BITS)
		return HISTOGRAM_BUCKETS - 1;
	shift = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
	return shift * HISTOGRAM_SUBS + (unsigned)(ns >> shift);
}

static inline void histogram_record(struct histogram *h, uint64_t ns)
{
	h->bucket[histogram_bucket(ns)]++;
	h->sum_ns += ns;
	if (!h->count++ || ns < h->min_ns)
		h->min_ns = ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

/* Adds what `from` holds to `into`. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The smallest value that at least per_mille (1 .. 1000) of 1000 recorded values do not exceed, up to 1/32
 * too high but never outside [min_ns, max_ns]. p99.9 is 999. 0 if the histogram is empty. */
uint64_t histogram_percentile(const struct histogram *h, unsigned per_mille);

/* 0 if empty. */
uint64_t histogram_mean(const struct histogram *h);

#endif
