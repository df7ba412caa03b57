/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bench [--json FILE] [--rounds N] [--dvmm PATH] [--plot FILE] [NAME]...: those named, or all that take
 * seconds. */
#include "tests/bench/bench.h"

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

static const struct {
	const char *name;
	int (*run)(const struct bench *b);
	bool only_if_named; /* it takes minutes */
} benchmarks[] = {
	{"startup", bench_startup, false}, {"pingpong", bench_pingpong, false},
	{"latency", bench_latency, false}, {"price", bench_price, true},
	{"restart", bench_restart, true},  {"attack", bench_attack, true},
};
#define BENCHMARKS (sizeof(benchmarks) / sizeof(benchmarks[0]))

int samples_add(struct samples *s, uint64_t value)
{
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 1024;
		uint64_t *grown = reallocarray(s->value, room, sizeof(*grown));

		if (!grown) {
			fprintf(stderr, "bench: out of memory\n");
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

json_t *samples_json(struct samples *s, const char *unit)
{
	json_t *object;
	char name[32];

	if (!s->count)
		return json_null();
	object = json_object();
	snprintf(name, sizeof(name), "p50_%s", unit);
	json_object_set_new(object, name, json_integer((json_int_t)samples_quantile(s, 500)));
	snprintf(name, sizeof(name), "p99_%s", unit);
	json_object_set_new(object, name, json_integer((json_int_t)samples_quantile(s, 990)));
	json_object_set_new(object, "samples", json_integer((json_int_t)s->count));
	return object;
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

static int usage(void)
{
	fprintf(stderr, "Usage: bench [--json FILE] [--rounds N] [--dvmm PATH] [--plot FILE] [NAME]...\n"
			"Run from the build directory; --dvmm defaults to ./dvmm.\n");
	return 1;
}

static int run_named(const struct bench *b, char **names)
{
	int failed = 0;

	for (size_t i = 0; i < BENCHMARKS; i++) {
		bool wanted = !*names && !benchmarks[i].only_if_named;

		for (char **name = names; *name; name++)
			wanted |= !strcmp(*name, benchmarks[i].name);
		if (wanted && benchmarks[i].run(b)) {
			fprintf(stderr, "bench: %s failed\n", benchmarks[i].name);
			failed = 1;
		}
	}
	return failed;
}

static bool known(const char *name)
{
	for (size_t i = 0; i < BENCHMARKS; i++)
		if (!strcmp(name, benchmarks[i].name))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", required_argument, NULL, 'j'},
		{"rounds", required_argument, NULL, 'r'},
		{"dvmm", required_argument, NULL, 'd'},
		{"plot", required_argument, NULL, 'p'},
		{0},
	};
	struct bench b = {
		.dvmm = "./dvmm",
		.bare_kvm = "tests/bench/bare_kvm",
		.plain = "tests/bench/plain/dvmm",
		.guests = "tests/guests",
	};
	const char *json = NULL;
	int opt, failed;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'j')
			json = optarg;
		else if (opt == 'r')
			b.rounds = (unsigned)strtoul(optarg, NULL, 10);
		else if (opt == 'd')
			b.dvmm = optarg;
		else if (opt == 'p')
			b.plot = optarg;
		else
			return usage();
	}
	for (int i = optind; i < argc; i++)
		if (!known(argv[i]))
			return usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	b.result = json_object();
	failed = run_named(&b, argv + optind);
	if (json &&
	    json_dump_file(b.result, json, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6))) {
		fprintf(stderr, "bench: %s: cannot be written\n", json);
		failed = 1;
	}
	json_decref(b.result);
	return failed;
}
