/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From exec to exit: the bare KVM program, and dvmm with a guest that resets at once, both modes. Includes
 * what the kernel does to take a process and a VM down.
 */
#include "tests/bench/bench.h"

#include <stdio.h>

#define DEFAULT_ROUNDS 40
#define LIMIT_MS       20000

enum { BARE, IN_PROCESS, SANDBOXED, PROGRAMS };

static const char *const title[PROGRAMS] = {"bare KVM program", "dvmm, in-process", "dvmm, sandboxed"};
static const char *const name[PROGRAMS] = {"bare_kvm", "in_process", "sandboxed"};

static int measure(const char *const argv[], struct samples *s)
{
	uint64_t start = now_ns();
	struct child child;
	int status;

	if (child_start(&child, argv, false))
		return -1;
	status = child_end(&child, LIMIT_MS);
	if (status) {
		fprintf(stderr, "bench: %s ended with status %d\n", argv[0], status);
		return -1;
	}
	return samples_add(s, now_ns() - start);
}

static void report(const struct bench *b, struct samples samples[PROGRAMS])
{
	json_t *object = json_object();
	double bare = (double)samples_quantile(&samples[BARE], 500);

	printf("Start-up, exec to exit, %zu runs each    p50 us    p99 us   to bare\n", samples[BARE].count);
	for (int i = 0; i < PROGRAMS; i++) {
		double p50 = (double)samples_quantile(&samples[i], 500);
		json_t *row = samples_json(&samples[i], "ns");

		printf("  %-36s %9.0f %9.0f %8.2fx\n", title[i], p50 / 1000,
		       (double)samples_quantile(&samples[i], 990) / 1000, p50 / bare);
		json_object_set_new(row, "ratio", json_real(p50 / bare));
		json_object_set_new(object, name[i], row);
	}
	printf("\n");
	json_object_set_new(b->result, "startup", object);
}

int bench_startup(const struct bench *b)
{
	char kernel[4096];
	const char *const argv[PROGRAMS][8] = {
		[BARE] = {b->bare_kvm},
		[IN_PROCESS] = {b->dvmm, "--kernel", kernel, "--mem", "128M", "--emulation", "in-process"},
		[SANDBOXED] = {b->dvmm, "--kernel", kernel, "--mem", "128M", "--emulation", "sandboxed"},
	};
	struct samples samples[PROGRAMS] = {0}, warm_up = {0};
	unsigned rounds = b->rounds ? b->rounds : DEFAULT_ROUNDS;
	int rc = 0;

	snprintf(kernel, sizeof(kernel), "%s/reset.elf", b->guests);
	for (int i = 0; !rc && i < PROGRAMS; i++)
		rc = measure(argv[i], &warm_up);
	for (unsigned round = 0; !rc && round < rounds; round++)
		for (int i = 0; !rc && i < PROGRAMS; i++)
			rc = measure(argv[i], &samples[i]);
	if (!rc)
		report(b, samples);
	for (int i = 0; i < PROGRAMS; i++)
		samples_free(&samples[i]);
	samples_free(&warm_up);
	return rc;
}
