/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Samples, clocks and CPUs: what every benchmark needs. */
#include "tests/bench/bench.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

int samples_add(struct samples *s, uint64_t value)
{
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 1024;
		uint64_t *grown = reallocarray(s->value, room, sizeof(*grown));

		if (!grown) {
			fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
			return -1;
		}
		s->value = grown;
		s->room = room;
	}
	s->value[s->count++] = value;
	return 0;
}

void samples_free(struct samples *s)
{
	free(s->value);
	*s = (struct samples){0};
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t samples_quantile(struct samples *s, unsigned p)
{
	if (!s->count)
		return 0;
	qsort(s->value, s->count, sizeof(*s->value), compare);
	return s->value[(s->count - 1) * p / 1000];
}

double samples_interval(struct samples *s, uint64_t *low, uint64_t *high)
{
	const size_t n = s->count;
	double outside = 0, term = n ? pow(0.5, (double)n) : 0; /* P(Binomial(n, 1/2) = rank) */
	size_t rank = 0;

	*low = samples_quantile(s, 0);
	*high = samples_quantile(s, 1000);
	if (!n)
		return 0;
	if (term == 0) { /* n too large for it: the normal approximation */
		rank = (size_t)((double)n / 2 - 0.98 * sqrt((double)n));
		outside = 0.025;
	} else {
		outside = term;
		while (outside + term * (double)(n - rank) / (double)(rank + 1) <= 0.025) {
			term *= (double)(n - rank) / (double)(rank + 1);
			outside += term;
			rank++;
		}
	}
	*low = s->value[rank];
	*high = s->value[n - 1 - rank];
	return 1 - 2 * outside > 0 ? 1 - 2 * outside : 0;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

double tsc_mhz(void)
{
	static double mhz;

	if (mhz == 0) {
		const struct timespec pause = {.tv_nsec = 50000000};
		uint64_t ns = clock_ns(CLOCK_MONOTONIC_RAW), cycles = __rdtsc();

		nanosleep(&pause, NULL);
		cycles = __rdtsc() - cycles;
		mhz = (double)cycles * 1000 / (double)(clock_ns(CLOCK_MONOTONIC_RAW) - ns);
	}
	return mhz;
}

int allowed_cpu(unsigned nth)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && !nth--)
			return cpu;
	return -1;
}
