/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the kernel's answer to sched_getaffinity(2) is already the intersection of everything
 * that restricts us (cpuset, cgroup, taskset, offline CPUs), so it is the only source of "may run there".
 * Sysfs is asked just for one thing, who shares a core with whom, and a host that hides it is treated as one
 * without SMT.
 */
#include "config.h"

#include "sched/topology.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef HAVE_SYS_RSEQ_H
#include <sys/rseq.h>
#endif

#define NO_CORE UINT_MAX

/* A decimal number at *text, which moves past it. */
static int number_parse(const char **text)
{
	const char *s = *text;
	int n = 0;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	for (; *s >= '0' && *s <= '9'; s++) {
		n = n * 10 + (*s - '0');
		if (n >= TOPOLOGY_CPU_LIMIT)
			return -ERANGE;
	}
	*text = s;
	return n;
}

int cpu_list_parse(const char *text, int *cpu, unsigned max)
{
	unsigned count = 0;

	for (;;) {
		int first = number_parse(&text);
		int last = first;

		if (first >= 0 && *text == '-') {
			text++;
			last = number_parse(&text);
		}
		if (first < 0 || last < 0)
			return first < 0 ? first : last;
		if (last < first)
			return -EINVAL;
		for (int c = first; c <= last; c++, count++)
			if (count < max)
				cpu[count] = c;
		if (count > TOPOLOGY_CPU_LIMIT)
			return -ERANGE;
		if (*text != ',')
			break;
		text++;
	}
	if (*text == '\n')
		text++;
	return *text ? -EINVAL : (int)count;
}

/* The whole of a small file as a string; false if it cannot be read or does not fit. */
static bool file_read(const char *path, char *to, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, to, size);
	close(fd);
	if (n < 0 || (size_t)n >= size)
		return false;
	to[n] = '\0';
	return true;
}

int topology_index(const struct topology *t, int cpu)
{
	unsigned low = 0, high = t->count;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (t->cpu[mid].cpu < cpu)
			low = mid + 1;
		else
			high = mid;
	}
	return low < t->count && t->cpu[low].cpu == cpu ? (int)low : -1;
}

/* Gives CPU t->cpu[i], and all of its siblings that are allowed and have no core yet, the core t->cores. */
static void core_fill(struct topology *t, unsigned i, bool smt, const char *sysfs)
{
	char path[PATH_MAX], list[256];
	int sibling[16];
	int siblings = 0;

	t->cpu[i].core = t->cores;
	snprintf(path, sizeof(path), "%s/cpu%d/topology/thread_siblings_list", sysfs, t->cpu[i].cpu);
	if (smt && file_read(path, list, sizeof(list)))
		siblings = cpu_list_parse(list, sibling, 16);
	for (int s = 0; s < siblings && s < 16; s++) {
		int at = topology_index(t, sibling[s]);

		if (at >= 0 && t->cpu[at].core == NO_CORE)
			t->cpu[at].core = t->cores;
	}
	t->cores++;
}

/* Numbers the threads of each core. Siblings need not be neighbours in the list. */
static int threads_number(struct topology *t)
{
	unsigned *threads = calloc(t->cores, sizeof(*threads));

	if (!threads)
		return -ENOMEM;
	for (unsigned i = 0; i < t->count; i++)
		t->cpu[i].thread = threads[t->cpu[i].core]++;
	for (unsigned i = 0; i < t->count; i++)
		t->cpu[i].threads = threads[t->cpu[i].core];
	free(threads);
	return 0;
}

int topology_make(struct topology *t, const int *cpu, unsigned count, const char *sysfs)
{
	char path[PATH_MAX], active[8];
	bool smt = true;

	memset(t, 0, sizeof(*t));
	for (unsigned i = 0; i < count; i++)
		if (cpu[i] < 0 || (i && cpu[i] <= cpu[i - 1]))
			return -EINVAL;
	if (!count)
		return -EINVAL;
	t->cpu = calloc(count, sizeof(*t->cpu));
	if (!t->cpu)
		return -ENOMEM;
	t->count = count;
	for (unsigned i = 0; i < count; i++)
		t->cpu[i] = (struct topology_cpu){.cpu = cpu[i], .core = NO_CORE};

	/* One file instead of one for each core, where SMT is off or absent. */
	snprintf(path, sizeof(path), "%s/smt/active", sysfs);
	if (file_read(path, active, sizeof(active)))
		smt = active[0] != '0';
	for (unsigned i = 0; i < count; i++)
		if (t->cpu[i].core == NO_CORE)
			core_fill(t, i, smt, sysfs);
	if (threads_number(t) < 0) {
		topology_free(t);
		return -ENOMEM;
	}
	return 0;
}

/* The affinity mask of this thread, in a set of *size bytes for the caller to free; NULL with errno set. */
static cpu_set_t *affinity_get(size_t *size)
{
	/* The kernel refuses a set smaller than its own nr_cpu_ids (EINVAL) and does not say how large that
	 * is. */
	for (int cpus = CPU_SETSIZE; cpus <= TOPOLOGY_CPU_LIMIT; cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC(cpus);
		int cause;

		if (!set)
			return NULL;
		*size = CPU_ALLOC_SIZE(cpus);
		CPU_ZERO_S(*size, set);
		if (!sched_getaffinity(0, *size, set))
			return set;
		cause = errno;
		CPU_FREE(set);
		errno = cause;
		if (cause != EINVAL)
			return NULL;
	}
	return NULL;
}

int topology_read(struct topology *t, const char *sysfs)
{
	size_t size = 0;
	cpu_set_t *set = affinity_get(&size);
	unsigned count = 0;
	int *cpu;
	int ret = -ENOMEM;

	memset(t, 0, sizeof(*t));
	if (!set)
		return -errno;
	cpu = calloc(CPU_COUNT_S(size, set), sizeof(*cpu));
	if (cpu) {
		for (int c = 0; c < (int)(size * 8); c++)
			if (CPU_ISSET_S(c, size, set))
				cpu[count++] = c;
		ret = topology_make(t, cpu, count, sysfs);
	}
	free(cpu);
	CPU_FREE(set);
	return ret;
}

void topology_free(struct topology *t)
{
	free(t->cpu);
	memset(t, 0, sizeof(*t));
}

void topology_format(const struct topology *t, char *to, size_t size)
{
	size_t used = 0;

	if (size)
		to[0] = '\0';
	for (unsigned i = 0, last; i < t->count; i = last + 1) {
		char range[32];
		int len;

		for (last = i; last + 1 < t->count && t->cpu[last + 1].cpu == t->cpu[last].cpu + 1; last++)
			;
		len = last == i ? snprintf(range, sizeof(range), "%s%d", i ? "," : "", t->cpu[i].cpu)
				: snprintf(range, sizeof(range), "%s%d-%d", i ? "," : "", t->cpu[i].cpu,
					   t->cpu[last].cpu);
		/* Room for ",..." is kept until the last range is in. */
		if (used + len + (last + 1 < t->count ? sizeof(",...") : 1) > size) {
			snprintf(to + used, size - used, "%s...", i ? "," : "");
			return;
		}
		memcpy(to + used, range, len + 1);
		used += len;
	}
}

int sched_pin_thread(pid_t tid, int cpu)
{
	cpu_set_t small, *set = &small;
	size_t size = sizeof(small);
	int ret;

	if (cpu < 0)
		return 0;
	if (cpu >= TOPOLOGY_CPU_LIMIT)
		return -EINVAL;
	if (cpu >= CPU_SETSIZE) { /* rare; and only then is there an allocation on this path */
		set = CPU_ALLOC(cpu + 1);
		size = CPU_ALLOC_SIZE(cpu + 1);
		if (!set)
			return -ENOMEM;
	}
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	ret = sched_setaffinity(tid, size, set) < 0 ? -errno : 0;
	if (set != &small)
		CPU_FREE(set);
	return ret;
}

void sched_cpu_set(cpu_set_t *set, int cpu, const struct topology *allowed)
{
	CPU_ZERO(set);
	if (cpu >= 0 && cpu < CPU_SETSIZE)
		CPU_SET(cpu, set);
	for (unsigned i = 0; cpu < 0 && i < allowed->count; i++)
		if (allowed->cpu[i].cpu < CPU_SETSIZE)
			CPU_SET(allowed->cpu[i].cpu, set);
}

int sched_unbind_thread(pid_t tid, const struct topology *allowed)
{
	cpu_set_t set;

	sched_cpu_set(&set, -1, allowed);
	return sched_setaffinity(tid, sizeof(set), &set) < 0 ? -errno : 0;
}

void sched_leave_rseq(void)
{
#ifdef HAVE_SYS_RSEQ_H
	/* The size that it was registered with, as long as the kernel has no use for more. */
	if (__rseq_size)
		syscall(SYS_rseq, (uint8_t *)__builtin_thread_pointer() + __rseq_offset, 32, 1 /* RSEQ_FLAG_UNREGISTER */, RSEQ_SIG);
#endif
}
