/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What guests see: registers and a disk. A round is one start of each way, the order turning by one from
 * round to round, so that none is always the first on a cold or the last on a hot processor.
 */
#include "tests/bench/sections.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define DISK_BYTES       (64u << 20)
#define CHUNK            65536u
#define DISK_KINDS       4u
#define BARE_ROUND_TRIPS 2000

/*
 * One run of a payload that sends samples: -1 if dvmm failed. QEMU may fail: then it is noted and the run has
 * no samples.
 */
static int collect(const struct plan *p, struct section *s, enum way way, const char *payload,
		   const char *words, const char *disk, unsigned kinds, struct samples samples[])
{
	const char *const *argv = way_argv(p, way, payload, words, disk);
	struct child child;
	double drift = 0;

	if (latency_collect(&child, argv, way == QEMU ? QEMU_DONE : 0, kinds, samples, &drift)) {
		for (unsigned i = 0; i < kinds; i++)
			samples_free(&samples[i]);
		if (way != QEMU)
			return -1;
		section_qemu_failed(s, child.complaint);
	}
	if (drift > 0)
		section_note(s,
			     "do not trust these figures: a guest's TSC ran at %.2f of the host's time (%s)",
			     drift, way_title[way]);
	return 0;
}

/* --- Registers ---------------------------------------------------------------------------------- */

enum {
	ROW_BARE = LATENCY_ALL_KINDS, /* the floor, */
	ROW_BETWEEN,                  /* the floor where hand-offs are, */
	ROW_ADDED, /* and for each of the four accesses what is added, as so many of the first */
	ADDED_KINDS = LATENCY_KINDS - LATENCY_PIO_READ,
};

static uint64_t last_round(const struct cell *c)
{
	return c->rounds.count ? c->rounds.value[c->rounds.count - 1] : 0;
}

/* What the separation adds in this round, as so many of this round's bare round trips. */
static int added_round(const struct plan *p, struct section *s)
{
	static const enum pingpong_kind floor[WAYS] = {
		[SAME_CPU] = PINGPONG_FUTEX_ONE_CPU, [SPIN] = PINGPONG_SPIN};
	struct samples between = {0};

	if (pingpong_measure(PINGPONG_BETWEEN_RUNS, BARE_ROUND_TRIPS, &between))
		return -1;
	cell_round(&s->cell[ROW_BETWEEN][SAME_CPU], &between);
	for (unsigned way = SAME_CPU; way <= SPIN; way++) {
		struct samples samples = {0};
		uint64_t bare;

		if (!way_possible(p, (enum way)way))
			continue;
		if (pingpong_measure(floor[way], BARE_ROUND_TRIPS, &samples))
			return -1;
		cell_round(&s->cell[ROW_BARE][way], &samples);
		bare = last_round(&s->cell[ROW_BARE][way]);
		for (unsigned i = 0; bare && i < ADDED_KINDS; i++) {
			uint64_t with = last_round(&s->cell[LATENCY_PIO_READ + i][way]),
				 without = last_round(&s->cell[LATENCY_PIO_READ + i][IN_PROCESS]);

			cell_value(&s->cell[ROW_ADDED + i][way],
				   with > without ? (with - without) * 1000 / bare : 0);
		}
	}
	return 0;
}

static void latency_rows(struct section *s)
{
	static const char *const added[ADDED_KINDS] = {"PIO read: added / bare", "PIO write: added / bare",
						       "MMIO read: added / bare", "MMIO write: added / bare"};

	for (unsigned kind = 0; kind < LATENCY_ALL_KINDS; kind++)
		section_row(s, latency_kind_title[kind], "ns");
	section_row(s, "bare round trip, no VM", "ns");
	section_row(s, "bare round trip, between two KVM_RUNs", "ns");
	for (unsigned i = 0; i < ADDED_KINDS; i++)
		section_row_thousandths(s, added[i], "times");
}

static int latency_round(const struct plan *p, struct section *s, unsigned round)
{
	char words[64];

	snprintf(words, sizeof(words), "registers samples=%u", p->samples);
	for (unsigned i = 0; i < s->columns; i++) {
		const enum way way = (enum way)((i + round) % s->columns);
		struct samples samples[LATENCY_ALL_KINDS] = {0};

		if (!way_still_possible(p, s, way))
			continue;
		if (collect(p, s, way, "latency.elf", words, NULL, LATENCY_ALL_KINDS, samples))
			return -1;
		for (unsigned kind = 0; kind < LATENCY_ALL_KINDS; kind++)
			cell_round(&s->cell[kind][way], &samples[kind]);
	}
	return added_round(p, s);
}

json_t *section_latency(const struct plan *p)
{
	struct section *s = &(struct section){
		.name = "latency",
		.title = "One register access, seen by the guest",
		.how = "Guest latency.elf: difference of two RDTSC around one instruction, warm-up first, in cycles "
		       "of the host's TSC. One vCPU, bound. The PIO and MMIO rows are the UART's scratch register "
		       "and a virtio device's QueueSel (read: its magic number). bare round trip: two processes and a "
		       "word in shared memory, by futex on one CPU (same-cpu) or by spinning on two (spin), in each "
		       "round. added / bare: what is more than in-process, as so many bare round trips; 0: nothing is.",
		.base = IN_PROCESS,
	};

	section_ways(s, p);
	latency_rows(s);
	for (unsigned round = 0; round < p->rounds; round++) {
		progress("registers", round, p->rounds);
		if (latency_round(p, s, round))
			return NULL;
	}
	if (p->qemu)
		section_note(
			s,
			"QEMU's microvm has no i8042 and no PM1a: there these ports are nobody's. Writes of the "
			"RTC's index are coalesced by KVM, and the PIC is QEMU's own");
	return section_json(s);
}

json_t *section_pingpong(const struct plan *p)
{
	struct section *s = &(struct section){
		.name = "pingpong",
		.title = "Bare round trip between two processes",
		.how = "No virtual machine: a word in shared memory there and back, both sides bound. The least that "
		       "a hand-off can cost. Between two KVM_RUNs: by how much a guest's port write takes longer when "
		       "a round trip follows it, in a program that does nothing else.",
		.base = -1,
		.columns = 1,
		.column = {"round trip"},
	};

	for (unsigned kind = 0; kind < PINGPONG_KINDS; kind++)
		section_row(s, pingpong_title[kind], "ns");
	for (unsigned round = 0; round < p->rounds; round++) {
		progress("round trips", round, p->rounds);
		for (unsigned kind = 0; kind < PINGPONG_KINDS; kind++) {
			struct samples samples = {0};

			if (kind == PINGPONG_SPIN && !p->spin)
				continue;
			if (pingpong_measure((enum pingpong_kind)kind, p->samples, &samples))
				return NULL;
			cell_round(&s->cell[kind][0], &samples);
		}
	}
	return section_json(s);
}

/* --- Disk --------------------------------------------------------------------------------------- */

/* Written, not sparse, so that reads find data in the page cache. */
static int image_make(const char *path)
{
	static char chunk[CHUNK];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc = fd < 0 ? -1 : 0;

	memset(chunk, 'd', sizeof(chunk));
	for (unsigned done = 0; !rc && done < DISK_BYTES; done += CHUNK)
		rc = write(fd, chunk, CHUNK) == (ssize_t)CHUNK ? 0 : -1;
	if (rc)
		fprintf(stderr, "dvmm-bench: %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

static uint64_t per_second(const struct samples *interval)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < interval->count; i++)
		ns += interval->value[i];
	return ns ? interval->count * 1000000000ull / ns : 0;
}

/* Row 2 * k is the latency, 2 * k + 1 the rate, of depth 1 (k = 0) and 32. */
static void disk_round(struct section *s, enum way way, struct samples samples[DISK_KINDS])
{
	for (unsigned k = 0; k < 2; k++) {
		struct samples *interval = &samples[2 * k + 1];

		cell_round(&s->cell[2 * k][way], &samples[2 * k]);
		if (interval->count)
			cell_value(&s->cell[2 * k + 1][way], per_second(interval));
		samples_free(interval);
	}
}

json_t *section_disk(const struct plan *p)
{
	struct section *s = &(struct section){
		.name = "disk",
		.title = "virtio-blk, random reads of 4 KiB",
		.how = "Guest blk_speed.elf: a driver that polls, with indirect descriptors made once; a 64 MiB raw "
		       "image in the host's page cache, so this is the path and not the medium. The interrupt is not "
		       "part of it.",
		.base = IN_PROCESS,
	};
	char words[64];
	int rc;

	section_ways(s, p);
	if (!p->spin)
		section_note(
			s,
			"the guest polls: where it has no CPU of its own these are time slices of the host's");
	section_row(s, "latency, depth 1", "ns");
	section_row(s, "rate, depth 1", "IOPS");
	section_row(s, "latency, depth 32", "ns");
	section_row(s, "rate, depth 32", "IOPS");
	snprintf(words, sizeof(words), "samples=%u", p->samples);
	rc = image_make(p->disk);
	for (unsigned round = 0; !rc && round < p->rounds; round++) {
		progress("disk", round, p->rounds);
		for (unsigned i = 0; !rc && i < s->columns; i++) {
			const enum way way = (enum way)((i + round) % s->columns);
			struct samples samples[DISK_KINDS] = {0};

			if (!way_still_possible(p, s, way))
				continue;
			rc = collect(p, s, way, "blk_speed.elf", words, p->disk, DISK_KINDS, samples);
			if (!rc)
				disk_round(s, way, samples);
		}
	}
	unlink(p->disk);
	return rc ? NULL : section_json(s);
}
