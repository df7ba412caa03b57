/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads what tests/guests/latency.c, or a guest that speaks as it does, measures of itself: the latency of
 * one register access.
 *
 * The guest counts TSC cycles. They are converted with the host's TSC frequency, which is right as long as
 * KVM does not scale the guest's TSC; each run checks that against the wall clock, and the report says if it
 * did not hold.
 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_MS    20000
#define MAX_SAMPLES 100000u
#define WARM_UP     200u /* as in tests/guests/latency.c */
#define LATE_NS     50e6 /* as late as a process may be to read, on a busy host */

const char *const latency_mode_title[LATENCY_MODES] = {"in-process", "same-cpu", "spin"};
const char *const latency_kind_name[LATENCY_KINDS] = {"nothing", "pio_read", "pio_write", "mmio_read",
						      "mmio_write"};
const char *const latency_kind_title[LATENCY_ALL_KINDS] = {
	"nothing (RDTSC)",
	"PIO read",
	"PIO write",
	"MMIO read",
	"MMIO write",
	"UART line status, read",
	"UART interrupt enable, write",
	"UART data, write",
	"RTC data, read",
	"RTC index, write",
	"i8042 status, read",
	"i8042 command, write",
	"ACPI PM1a control, read",
	"ACPI PM1a control, write",
	"virtio InterruptStatus, read",
	"virtio InterruptACK, write",
	"port nobody claims, read",
	"PIC mask, read (KVM's own)",
};

/* The guest's line "latency KINDS SAMPLES\n". */
static int read_header(const struct child *child, unsigned want_kinds, unsigned *count)
{
	char line[64] = "";
	unsigned kinds;

	for (size_t n = 0; n < sizeof(line) - 1; n++) {
		if (child_read(child, &line[n], 1, LIMIT_MS))
			return -1;
		if (line[n] == '\n')
			break;
	}
	if (sscanf(line, "latency %u %u", &kinds, count) != 2 || kinds != want_kinds || *count > MAX_SAMPLES)
		return -1;
	return 0;
}

/* Both measure from the header to the last sample; the host, when it got to read them. */
static void note_drift(double *drift, double guest_ns, double host_ns)
{
	if (guest_ns > host_ns * 1.02 + LATE_NS || guest_ns < host_ns * 0.98 - LATE_NS)
		*drift = guest_ns / host_ns;
}

static int read_samples(const struct child *child, unsigned kinds, struct samples samples[], double *drift)
{
	uint64_t guest_cycles, start_ns;
	unsigned count;
	double mhz = tsc_mhz();

	if (read_header(child, kinds, &count))
		return -1;
	start_ns = now_ns();
	for (unsigned kind = 0; kind < kinds; kind++) {
		static uint32_t buffer[MAX_SAMPLES + WARM_UP];

		if (kind == LATENCY_TRANSMIT && child_read(child, buffer, WARM_UP + count, LIMIT_MS))
			return -1;
		if (child_read(child, buffer, count * sizeof(buffer[0]), LIMIT_MS))
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

int latency_collect(struct child *child, const char *const argv[], int want_status, unsigned kinds,
		    struct samples samples[], double *drift)
{
	int rc, status;

	if (child_start(child, argv, true))
		return -1;
	rc = read_samples(child, kinds, samples, drift);
	status = child_end(child, LIMIT_MS);
	if (!rc && status == want_status)
		return 0;
	fprintf(stderr, "%s: %s: %s (status %d): %s\n", program_invocation_short_name, argv[0],
		rc ? "the guest's samples did not arrive" : "failed", status, child->complaint);
	return -1;
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
	struct child child;

	snprintf(kernel, sizeof(kernel), "%s/latency.elf", b->guests);
	snprintf(pin, sizeof(pin), "0:%d", allowed_cpu(0));
	return latency_collect(&child, argv, 0, LATENCY_KINDS, samples, drift);
}
