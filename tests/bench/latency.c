/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the separation costs the guest: the latency of one register access, measured by tests/guests/latency.c
 * in the guest, with the devices in-process, sandboxed on the vCPU's CPU, and sandboxed on another CPU; next
 * to bare ping-pongs of the same minute. One vCPU, pinned. A round is one run of each mode and one of each
 * ping-pong.
 *
 * The guest counts TSC cycles. They are converted with the host's TSC frequency, which is right as long as
 * KVM does not scale the guest's TSC; each run checks that against the wall clock, and the report says if it
 * did not hold.
 */
#include "tests/bench/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_ROUNDS 5
#define PINGPONGS      2000
#define LIMIT_MS       20000
#define MAX_SAMPLES    100000u
#define START_UP_NS    50e6 /* more than dvmm needs before the guest runs */

static const char *const mode_name[LATENCY_MODES] = {"in_process", "same_cpu", "spin"};
const char *const latency_mode_title[LATENCY_MODES] = {"in-process", "same-cpu", "spin"};
const char *const latency_kind_name[LATENCY_KINDS] = {"nothing", "pio_read", "pio_write", "mmio_read",
						      "mmio_write"};
const char *const latency_kind_title[LATENCY_KINDS] = {"nothing (RDTSC)", "PIO read", "PIO write",
						       "MMIO read", "MMIO write"};

struct latency {
	struct samples samples[LATENCY_MODES][LATENCY_KINDS]; /* ns */
	struct samples pingpong[PINGPONG_KINDS];
	double drift; /* guest time / host time in the last run in which they disagreed; 0: none */
};

/* The guest's line "latency LATENCY_KINDS SAMPLES\n". */
static int read_header(const struct child *child, unsigned *count)
{
	char line[64] = "";
	unsigned kinds;

	for (size_t n = 0; n < sizeof(line) - 1; n++) {
		if (child_read(child, &line[n], 1, LIMIT_MS))
			return -1;
		if (line[n] == '\n')
			break;
	}
	if (sscanf(line, "latency %u %u", &kinds, count) != 2 || kinds != LATENCY_KINDS ||
	    *count > MAX_SAMPLES)
		return -1;
	return 0;
}

/* The host's interval, from the start of dvmm to the last sample, contains the guest's and not much else. */
static void note_drift(double *drift, double guest_ns, double host_ns)
{
	if (guest_ns > host_ns * 1.02 || guest_ns < host_ns * 0.8 - START_UP_NS)
		*drift = guest_ns / host_ns;
}

static int read_samples(const struct child *child, struct samples samples[LATENCY_KINDS], double *drift,
			uint64_t start_ns)
{
	uint64_t guest_cycles;
	unsigned count;
	uint32_t cycles;
	double mhz = tsc_mhz();

	if (read_header(child, &count))
		return -1;
	for (int kind = 0; kind < LATENCY_KINDS; kind++) {
		static uint32_t buffer[MAX_SAMPLES];

		if (child_read(child, buffer, count * sizeof(cycles), LIMIT_MS))
			return -1;
		for (unsigned i = 0; i < count; i++)
			if (samples_add(&samples[kind], (uint64_t)((double)buffer[i] * 1000 / mhz)))
				return -1;
	}
	if (child_read(child, &guest_cycles, sizeof(guest_cycles), LIMIT_MS))
		return -1;
	note_drift(drift, (double)guest_cycles * 1000 / mhz, (double)(now_ns() - start_ns));
	return 0;
}

int latency_run(const struct bench *b, const char *dvmm, enum latency_mode mode,
		struct samples samples[LATENCY_KINDS], double *drift)
{
	char kernel[4096], pin[32];
	const char *const argv[] = {
		dvmm,
		"--kernel",
		kernel,
		"--mem",
		"128M",
		"--cpus",
		"1",
		"--pin",
		pin,
		"--emulation",
		mode == LATENCY_IN_PROCESS ? "in-process" : "sandboxed",
		"--handoff",
		mode == LATENCY_SPIN ? "spin" : "same-cpu",
		NULL,
	};
	uint64_t start_ns = now_ns();
	struct child child;
	int rc, status;

	snprintf(kernel, sizeof(kernel), "%s/latency.elf", b->guests);
	snprintf(pin, sizeof(pin), "0:%d", allowed_cpu(0));
	if (child_start(&child, argv, true))
		return -1;
	rc = read_samples(&child, samples, drift, start_ns);
	status = child_end(&child, LIMIT_MS);
	if (rc || status)
		fprintf(stderr, "bench: %s, %s: %s (exit status %d)\n", dvmm, latency_mode_title[mode],
			rc ? "the guest's samples did not arrive" : "failed", status);
	return rc || status ? -1 : 0;
}

static int measure(const struct bench *b, struct latency *l)
{
	unsigned rounds = b->rounds ? b->rounds : DEFAULT_ROUNDS;
	bool two_cpus = allowed_cpu(1) >= 0;

	for (unsigned round = 0; round < rounds; round++) {
		for (int mode = 0; mode < LATENCY_MODES; mode++)
			if ((mode != LATENCY_SPIN || two_cpus) &&
			    latency_run(b, b->dvmm, (enum latency_mode)mode, l->samples[mode], &l->drift))
				return -1;
		for (int i = 0; i < PINGPONG_KINDS; i++)
			if (pingpong_measure((enum pingpong_kind)i, PINGPONGS, &l->pingpong[i]))
				return -1;
	}
	return 0;
}

static uint64_t p50(struct samples *s)
{
	return samples_quantile(s, 500);
}

static void print_table(struct latency *l)
{
	printf("Register access, seen by the guest     in-process            same-cpu                   "
	       "spin\n"
	       "ns, %6zu samples each              p50     p99      p50     p99     added      p50     p99   "
	       "  added\n",
	       l->samples[LATENCY_IN_PROCESS][0].count);
	for (int kind = 0; kind < LATENCY_KINDS; kind++) {
		int64_t base = (int64_t)p50(&l->samples[LATENCY_IN_PROCESS][kind]);

		printf("  %-30s", latency_kind_title[kind]);
		for (int mode = 0; mode < LATENCY_MODES; mode++) {
			struct samples *s = &l->samples[mode][kind];

			if (!s->count)
				continue;
			printf(" %7" PRIu64 " %7" PRIu64, p50(s), samples_quantile(s, 990));
			if (mode)
				printf("   %+7" PRId64, (int64_t)p50(s) - base);
			printf(" ");
		}
		printf("\n");
	}
	printf("\n");
}

/* What the separation adds to a PIO read, in terms of the bare hand-off. */
static void report_added(struct latency *l, json_t *object)
{
	static const struct {
		int mode;
		enum pingpong_kind floor;
	} pair[] = {{LATENCY_SAME_CPU, PINGPONG_FUTEX_ONE_CPU}, {LATENCY_SPIN, PINGPONG_SPIN}};

	for (int i = 0; i < 2; i++) {
		struct samples *s = &l->samples[pair[i].mode][LATENCY_PIO_READ];
		double floor = (double)p50(&l->pingpong[pair[i].floor]);
		double added =
			(double)p50(s) - (double)p50(&l->samples[LATENCY_IN_PROCESS][LATENCY_PIO_READ]);
		char key[64];

		if (!s->count || floor == 0)
			continue;
		printf("PIO read, %s: adds %.0f ns, %.2f times the bare round trip (%s)\n",
		       latency_mode_title[pair[i].mode], added, added / floor, pingpong_title[pair[i].floor]);
		snprintf(key, sizeof(key), "pio_read_added_by_%s", mode_name[pair[i].mode]);
		json_object_set_new(object, key,
				    json_pack("{sf sf}", "ns", added, "bare_round_trips", added / floor));
	}
}

static void report_drift(const struct latency *l, json_t *object)
{
	bool trusted = l->drift == 0;

	if (!trusted)
		printf("Do not trust these figures: the guest's TSC ran at %.2f of the host's time.\n",
		       l->drift);
	printf("\n");
	json_object_set_new(object, "tsc_mhz", json_real(tsc_mhz()));
	json_object_set_new(object, "guest_tsc_trusted", json_boolean(trusted));
}

static void report(const struct bench *b, struct latency *l)
{
	json_t *object = json_object();

	print_table(l);
	for (int mode = 0; mode < LATENCY_MODES; mode++) {
		json_t *row = json_object();

		for (int kind = 0; kind < LATENCY_KINDS; kind++)
			json_object_set_new(row, latency_kind_name[kind],
					    samples_json(&l->samples[mode][kind], "ns"));
		json_object_set_new(object, mode_name[mode], row);
	}
	json_object_set_new(object, "pingpong", pingpong_report(l->pingpong));
	report_added(l, object);
	report_drift(l, object);
	json_object_set_new(b->result, "latency", object);
}

int bench_latency(const struct bench *b)
{
	struct latency l = {0};
	int rc = measure(b, &l);

	if (!rc)
		report(b, &l);
	for (int mode = 0; mode < LATENCY_MODES; mode++)
		for (int kind = 0; kind < LATENCY_KINDS; kind++)
			samples_free(&l.samples[mode][kind]);
	for (int i = 0; i < PINGPONG_KINDS; i++)
		samples_free(&l.pingpong[i]);
	return rc;
}
