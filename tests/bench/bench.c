/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench [--json FILE] [--rounds N] [--dvmm PATH] [--plot FILE] price|attack...
 *
 * Measurements for developers that take minutes and need a build directory: what only a dvmm without its
 * watchdog can be compared with, and two VMs at each other's throat. Everything else is dvmm-bench's.
 */
#include "tests/bench/bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(const struct bench *b);
} benchmarks[] = {
	{"price", bench_price},
	{"attack", bench_attack},
};
#define BENCHMARKS (sizeof(benchmarks) / sizeof(benchmarks[0]))

static int usage(void)
{
	fprintf(stderr,
		"Usage: bench [--json FILE] [--rounds N] [--dvmm PATH] [--plot FILE] price|attack...\n"
		"Run from the build directory; --dvmm defaults to ./dvmm.\n");
	return 1;
}

static size_t find(const char *name)
{
	size_t i = 0;

	while (i < BENCHMARKS && strcmp(name, benchmarks[i].name) != 0)
		i++;
	return i;
}

static int run_named(const struct bench *b, char **names)
{
	int failed = 0;

	for (; *names; names++) {
		if (!benchmarks[find(*names)].run(b))
			continue;
		fprintf(stderr, "bench: %s failed\n", *names);
		failed = 1;
	}
	return failed;
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
	if (optind == argc)
		return usage();
	for (int i = optind; i < argc; i++)
		if (find(argv[i]) == BENCHMARKS)
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
