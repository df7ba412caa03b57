/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the file is opened before the guest starts, so that a bad path is found in time and
 * nothing needs to be opened once the process is confined; it is truncated and written in one go at the end.
 * Latency and counts are kept per (vCPU, device), and the two views of the file, per vCPU and per device, are
 * sums over rows and columns.
 */
#include "config.h"

#include "vmm/stats.h"

#include "emulator/x86/x86.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* The reasons that KVM can return on x86, by the names of linux/kvm.h. */
static const char *const exit_name[STATS_EXITS] = {
	[KVM_EXIT_UNKNOWN] = "unknown",
	[KVM_EXIT_EXCEPTION] = "exception",
	[KVM_EXIT_IO] = "io",
	[KVM_EXIT_HYPERCALL] = "hypercall",
	[KVM_EXIT_DEBUG] = "debug",
	[KVM_EXIT_HLT] = "hlt",
	[KVM_EXIT_MMIO] = "mmio",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq_window_open",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_FAIL_ENTRY] = "fail_entry",
	[KVM_EXIT_INTR] = "intr",
	[KVM_EXIT_SET_TPR] = "set_tpr",
	[KVM_EXIT_TPR_ACCESS] = "tpr_access",
	[KVM_EXIT_NMI] = "nmi",
	[KVM_EXIT_INTERNAL_ERROR] = "internal_error",
	[KVM_EXIT_WATCHDOG] = "watchdog",
	[KVM_EXIT_SYSTEM_EVENT] = "system_event",
	[KVM_EXIT_IOAPIC_EOI] = "ioapic_eoi",
	[KVM_EXIT_HYPERV] = "hyperv",
	[KVM_EXIT_X86_RDMSR] = "x86_rdmsr",
	[KVM_EXIT_X86_WRMSR] = "x86_wrmsr",
	[KVM_EXIT_DIRTY_RING_FULL] = "dirty_ring_full",
	[KVM_EXIT_AP_RESET_HOLD] = "ap_reset_hold",
	[KVM_EXIT_X86_BUS_LOCK] = "x86_bus_lock",
	[KVM_EXIT_XEN] = "xen",
#ifdef KVM_EXIT_NOTIFY
	[KVM_EXIT_NOTIFY] = "notify",
#endif
#ifdef KVM_EXIT_MEMORY_FAULT
	[KVM_EXIT_MEMORY_FAULT] = "memory_fault",
#endif
};

const char *stats_exit_name(uint32_t reason)
{
	return reason < STATS_EXITS ? exit_name[reason] : NULL;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Opens for writing, creating if need be; *created tells which of the two it was. */
static int file_open(const char *path, bool *created)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);

	*created = fd >= 0;
	/* O_NONBLOCK: a FIFO that nobody reads must not make us wait for its other end. */
	if (fd < 0 && errno == EEXIST)
		fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
	if (fd < 0)
		return -errno;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

int stats_open(struct stats **stats, const char *path, uint32_t vcpus, const char *const *device_name,
	       uint32_t devices)
{
	uint64_t vcpu_at = (sizeof(struct stats) + 63) / 64 * 64;
	uint64_t latency_at = vcpu_at + vcpus * sizeof(struct stats_vcpu);
	uint64_t cells = (uint64_t)vcpus * (devices + 1);
	uint64_t saved_at = latency_at + cells * sizeof(struct histogram);
	uint64_t bytes = saved_at + cells * sizeof(struct stats_saved);
	bool created;
	int fd = file_open(path, &created);
	struct stats *s;
	uint8_t *map;

	*stats = NULL;
	if (fd < 0)
		return fd;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		close(fd);
		if (created)
			unlink(path);
		return -ENOMEM;
	}
	/* A huge page would touch all that is meant to stay untouched. No support for them is fine, too. */
	(void)madvise(map, bytes, MADV_NOHUGEPAGE);
	s = (struct stats *)map;
	*s = (struct stats){
		.fd = fd,
		.created = created ? path : NULL,
		.mapping_bytes = bytes,
		.start_ns = now_ns(),
		.vcpus = vcpus,
		.devices = devices,
		.device_name = device_name,
		.vcpu = (struct stats_vcpu *)(map + vcpu_at),
		.latency = (struct histogram *)(map + latency_at),
		.saved = (struct stats_saved *)(map + saved_at),
	};
	for (uint32_t v = 0; v < vcpus; v++)
		s->vcpu[v].pinned_cpu = s->vcpu[v].first_cpu = s->vcpu[v].last_cpu = -1;

	/* Unseeded, jansson opens /dev/urandom at its first object, after we may have given up open(2). All
	 * keys are ours. */
	json_object_seed(1);
	*stats = s;
	return 0;
}

void stats_close(struct stats *s)
{
	if (!s)
		return;
	close(s->fd);
	if (s->created)
		unlink(s->created);
	munmap(s, s->mapping_bytes);
}

void stats_vcpu_start(struct stats *s, uint32_t vcpu, int pinned_cpu)
{
	if (!s || vcpu >= s->vcpus)
		return;
	s->vcpu[vcpu].pinned_cpu = pinned_cpu;
	s->vcpu[vcpu].first_cpu = sched_getcpu();
}

void stats_vcpu_end(struct stats *s, uint32_t vcpu)
{
	if (s && vcpu < s->vcpus)
		s->vcpu[vcpu].last_cpu = sched_getcpu();
}

/* A JSON string of any bytes: jansson refuses what is not UTF-8, such as an old file name. */
static json_t *json_text(const char *text)
{
	const char *given = text ? text : "";
	json_t *json = json_string(given);
	char *ascii;

	if (json)
		return json;
	ascii = strdup(given);
	if (!ascii)
		return NULL;
	for (char *c = ascii; *c; c++)
		if (*c & 0x80)
			*c = '?';
	json = json_string(ascii);
	free(ascii);
	return json;
}

static json_t *json_cpu(int32_t cpu)
{
	return cpu < 0 ? json_null() : json_integer(cpu);
}

/* null if nothing was recorded: there is no such thing as the median of no values. */
static json_t *json_latency(const struct histogram *h)
{
	if (!h->count)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "min", (json_int_t)h->min_ns, "mean",
			 (json_int_t)histogram_mean(h), "p50", (json_int_t)histogram_percentile(h, 500),
			 "p90", (json_int_t)histogram_percentile(h, 900), "p99",
			 (json_int_t)histogram_percentile(h, 990), "p99.9",
			 (json_int_t)histogram_percentile(h, 999), "max", (json_int_t)h->max_ns);
}

/* Only reasons that occurred. A newer KVM may have reasons without a name here; they join "other". */
static json_t *json_exits(const struct stats_vcpu *v)
{
	json_t *exits = json_object();
	uint64_t other = v->exits[STATS_EXITS];

	for (uint32_t reason = 0; reason < STATS_EXITS; reason++) {
		if (!exit_name[reason])
			other += v->exits[reason];
		else if (v->exits[reason])
			json_object_set_new(exits, exit_name[reason],
					    json_integer((json_int_t)v->exits[reason]));
	}
	if (other)
		json_object_set_new(exits, "other", json_integer((json_int_t)other));
	return exits;
}

/* Sums over a row or a column of the tables. */
struct sum {
	struct histogram latency;
	struct stats_saved saved;
};

static void sum_add(struct sum *sum, const struct stats *s, uint32_t vcpu, uint32_t device)
{
	const uint64_t cell = stats_cell(s, vcpu, device);

	histogram_merge(&sum->latency, &s->latency[cell]);
	sum->saved.published += s->saved[cell].published;
	sum->saved.posted += s->saved[cell].posted;
}

static json_t *json_vcpu(const struct stats *s, uint32_t vcpu)
{
	const struct stats_vcpu *v = &s->vcpu[vcpu];
	struct sum sum = {0};

	for (uint32_t d = 0; d <= s->devices; d++)
		sum_add(&sum, s, vcpu, d);
	return json_pack("{s:I, s:{s:o, s:o, s:o}, s:o, s:I, s:I, s:I, s:o}", "vcpu", (json_int_t)vcpu, "host_cpu",
			 "pinned", json_cpu(v->pinned_cpu), "first", json_cpu(v->first_cpu), "last",
			 json_cpu(v->last_cpu), "exits", json_exits(v), "operations",
			 (json_int_t)sum.latency.count, "published", (json_int_t)sum.saved.published,
			 "posted", (json_int_t)sum.saved.posted,
			 "latency_ns", json_latency(&sum.latency));
}

static json_t *json_device(const struct stats *s, uint32_t device)
{
	struct sum sum = {0};

	for (uint32_t v = 0; v < s->vcpus; v++)
		sum_add(&sum, s, v, device);
	return json_pack("{s:o, s:I, s:I, s:I, s:o}", "name",
			 json_text(device < s->devices ? s->device_name[device] : "none"), "operations",
			 (json_int_t)sum.latency.count, "published", (json_int_t)sum.saved.published,
			 "posted", (json_int_t)sum.saved.posted,
			 "latency_ns", json_latency(&sum.latency));
}

/* An object of those that occurred, and their sum. Names and numbers are the emulator's: each is copied once, and of a name only
 * letters and digits count. */
static json_t *json_instructions(const struct stats_run *run)
{
	json_t *by_name = json_object();
	uint64_t sum = 0;

	for (uint32_t i = 0; i < run->instruction_kinds; i++) {
		const struct x86_count c = run->instructions[i];
		char name[sizeof(c.name) + 1] = "";

		__asm__ volatile("" : : "r"(&c) : "memory"); /* the copy, also to the compiler */
		for (size_t n = 0; n < sizeof(c.name) && isalnum((unsigned char)c.name[n]); n++)
			name[n] = c.name[n];
		if (!c.executed || !*name)
			continue;
		sum += c.executed;
		json_object_set_new(by_name, name, json_integer((json_int_t)c.executed));
	}
	return json_pack("{s:I, s:o}", "emulated", (json_int_t)sum, "by_mnemonic", by_name);
}

/* jansson's setters take NULL for "the allocation before me failed" and say so: every failure ends in -ENOMEM
 * here. */
static json_t *json_run(const struct stats *s, const struct stats_run *run)
{
	json_t *vcpus = json_array(), *devices = json_array();
	int bad = 0;

	for (uint32_t v = 0; v < s->vcpus; v++)
		bad |= json_array_append_new(vcpus, json_vcpu(s, v));
	for (uint32_t d = 0; d <= s->devices; d++)
		bad |= json_array_append_new(devices, json_device(s, d));
	if (bad) {
		json_decref(vcpus);
		json_decref(devices);
		return NULL;
	}
	return json_pack("{s:s, s:o, s:o, s:i, s:I, s:I, s:I, s:o, s:f, s:o, s:o, s:o}", "dvmm", PACKAGE_VERSION,
			 "emulation", json_text(run->emulation), "handoff", json_text(run->handoff),
			 "exit_status", run->exit_status, "forced", (json_int_t)run->forced, "repins",
			 (json_int_t)run->repins, "restarts", (json_int_t)run->restarts, "reason",
			 json_text(run->reason), "duration_s", (double)(now_ns() - s->start_ns) / 1e9,
			 "instructions", json_instructions(run), "vcpus", vcpus, "devices", devices);
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

int stats_write(struct stats *s, const struct stats_run *run)
{
	json_t *json;
	char *text;
	int ret;

	if (!s)
		return 0;
	json = json_run(s, run);
	text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
	json_decref(json);
	if (!text)
		return -ENOMEM;
	s->created = NULL;
	/* Pipes and terminals have nothing to truncate (EINVAL). */
	ret = ftruncate(s->fd, 0) < 0 && errno != EINVAL ? -errno : 0;
	if (!ret)
		ret = write_all(s->fd, text, strlen(text));
	if (!ret)
		ret = write_all(s->fd, "\n", 1);
	free(text);
	return ret;
}
