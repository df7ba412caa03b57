/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading side of the latency histogram; see the header for how buckets are cut. */
#include "vmm/histogram.h"

/* The largest value that falls into a bucket: the inverse of histogram_bucket(). */
static uint64_t bucket_last_ns(unsigned bucket)
{
	unsigned shift;

	if (bucket < 2 * HISTOGRAM_SUBS)
		return bucket;
	shift = bucket / HISTOGRAM_SUBS - 1;
	return ((uint64_t)(bucket % HISTOGRAM_SUBS + HISTOGRAM_SUBS + 1) << shift) - 1;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (!from->count)
		return; /* and its buckets stay untouched pages */
	if (!into->count || from->min_ns < into->min_ns)
		into->min_ns = from->min_ns;
	if (from->max_ns > into->max_ns)
		into->max_ns = from->max_ns;
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
		into->bucket[b] += from->bucket[b];
}

uint64_t histogram_percentile(const struct histogram *h, unsigned per_mille)
{
	/* Rounded up without overflow: the product may exceed 64 bits. */
	uint64_t rank = h->count / 1000 * per_mille + (h->count % 1000 * per_mille + 999) / 1000;
	uint64_t seen = 0, ns;
	unsigned b = 0;

	if (!h->count)
		return 0;
	for (; b < HISTOGRAM_BUCKETS - 1; b++) {
		seen += h->bucket[b];
		if (seen >= rank)
			break;
	}
	if (b == HISTOGRAM_BUCKETS - 1)
		return h->max_ns; /* this bucket has no upper end */
	ns = bucket_last_ns(b);
	if (ns < h->min_ns)
		return h->min_ns;
	return ns < h->max_ns ? ns : h->max_ns;
}

uint64_t histogram_mean(const struct histogram *h)
{
	return h->count ? h->sum_ns / h->count : 0;
}
