/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a run did, for --stats FILE: exits by kind, operations and their latency per vCPU and per device, host
 * CPUs.
 *
 * Owns: its tables, one mapping of zero pages of which only what is counted in gets touched, and the open
 * file. Without
 * --stats there is no struct stats at all: every function takes NULL and does nothing.
 *
 * Threads: stats_vcpu_start/exit/operation/published/posted/vcpu_end for a vCPU are called by the thread of
 * that vCPU only, stats_open, stats_write and stats_close by the main thread, the last two after those
 * threads have ended. There are no locks.
 */
#ifndef DVMM_VMM_STATS_H
#define DVMM_VMM_STATS_H

#include <stdint.h>

#include "vmm/histogram.h"

#define STATS_EXITS     64         /* KVM exit reasons from here on are counted together, as "other" */
#define STATS_NO_DEVICE UINT32_MAX /* an operation that no device claimed; equals REPLY_NO_DEVICE */

struct stats_vcpu {
	uint64_t exits[STATS_EXITS + 1]; /* by KVM_EXIT_*; the last one: all others */
	int32_t pinned_cpu;              /* -1: not bound */
	int32_t first_cpu, last_cpu; /* where its thread was at its start and end; -1: it did not get there */
} __attribute__((aligned(64)));

struct x86_count;

/* Accesses that were no hand-offs, by one vCPU to one device. */
struct stats_saved {
	uint64_t published; /* reads of published registers */
	uint64_t posted;    /* writes to posted registers */
};

struct stats {
	int fd;
	const char *created;    /* path of the file if stats_open() made it, else NULL */
	uint64_t mapping_bytes; /* of this struct and the tables behind it */
	uint64_t start_ns;
	uint32_t vcpus, devices;
	const char *const *device_name; /* [devices], the caller's */
	struct stats_vcpu *vcpu;        /* [vcpus] */
	struct histogram *latency;      /* [vcpus][devices + 1], the last one of a row: no device */
	struct stats_saved *saved;      /* the same */
};

/* How the run went, as words for the file. Strings that are not valid UTF-8 get '?' for each byte above 127.
 */
struct stats_run {
	const char *emulation; /* "sandboxed", "in-process" */
	const char *handoff;   /* "same-cpu", "spin" */
	const char *reason;    /* why it ended, one line */
	int exit_status;
	uint64_t forced;   /* operations completed by force */
	uint64_t repins;   /* vCPUs moved to another CPU because of that */
	const struct x86_count *instructions; /* [instruction_kinds]: emulated, by the emulator's account; shared with it */
	uint32_t instruction_kinds;
	uint64_t restarts; /* emulators that have taken over from a dead one */
};

/*
 * Opens (or creates) the file and makes the tables. An existing file keeps its contents until stats_write().
 * path and device_name must outlive the result. 0, or -errno with *stats NULL: what open(2) said (-ENOENT:
 * the folder is missing, -EACCES, -EISDIR), or -ENOMEM.
 */
int stats_open(struct stats **stats, const char *path, uint32_t vcpus, const char *const *device_name,
	       uint32_t devices);

/*
 * Replaces the contents of the file by the JSON text. System calls, for whoever filters the main thread:
 * ftruncate, write, what malloc needs, and no open. 0, or -errno: the file may then be incomplete.
 */
int stats_write(struct stats *s, const struct stats_run *run);

/* Closes and frees. A file that stats_open() created and nothing was written to is removed again (unlink). */
void stats_close(struct stats *s);

/* The vCPU's thread starts (bound to pinned_cpu, or -1), and ends. */
void stats_vcpu_start(struct stats *s, uint32_t vcpu, int pinned_cpu);
void stats_vcpu_end(struct stats *s, uint32_t vcpu);

/* "io", "mmio", "internal_error" ... for KVM_EXIT_*, or NULL if this program knows no such reason on x86. */
const char *stats_exit_name(uint32_t reason);

/* KVM_RUN returned. For -EINTR pass KVM_EXIT_INTR: KVM does not always set exit_reason then. */
static inline void stats_exit(struct stats *s, uint32_t vcpu, uint32_t reason)
{
	if (s && vcpu < s->vcpus)
		s->vcpu[vcpu].exits[reason < STATS_EXITS ? reason : STATS_EXITS]++;
}

/* Where a device's figures are in the row of a vCPU: the index may be the emulator's word, any value is
 * safe. */
static inline uint64_t stats_cell(const struct stats *s, uint32_t vcpu, uint32_t device)
{
	return (uint64_t)vcpu * (s->devices + 1) + (device < s->devices ? device : s->devices);
}

/* A hand-off to the device with that index took ns. */
static inline void stats_operation(struct stats *s, uint32_t vcpu, uint32_t device, uint64_t ns)
{
	if (s && vcpu < s->vcpus)
		histogram_record(&s->latency[stats_cell(s, vcpu, device)], ns);
}

/* A register was read without one. */
static inline void stats_published(struct stats *s, uint32_t vcpu, uint32_t device)
{
	if (s && vcpu < s->vcpus)
		s->saved[stats_cell(s, vcpu, device)].published++;
}

/* A write was not waited for. */
static inline void stats_posted(struct stats *s, uint32_t vcpu, uint32_t device)
{
	if (s && vcpu < s->vcpus)
		s->saved[stats_cell(s, vcpu, device)].posted++;
}

#endif
