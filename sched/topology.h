/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which CPUs this process may run on, and which of them share a core.
 *
 * Owns: the list in struct topology, from topology_read()/topology_make() until topology_free().
 * Threads: read-only once made. CPUs are the kernel's numbers and may have gaps; there may be more than
 * CPU_SETSIZE.
 */
#ifndef DVMM_SCHED_TOPOLOGY_H
#define DVMM_SCHED_TOPOLOGY_H

#include <sched.h>
#include <stddef.h>
#include <sys/types.h>

#define TOPOLOGY_SYSFS "/sys/devices/system/cpu"

/* A CPU number in a list is below this; the kernel's own limit (NR_CPUS) is 8192 on x86. */
#define TOPOLOGY_CPU_LIMIT 65536

struct topology_cpu {
	int cpu;          /* the kernel's number */
	unsigned core;    /* 0 .. cores - 1, in the order of the lowest allowed CPU of each */
	unsigned thread;  /* 0 .. threads - 1 among the allowed CPUs of this core, by number */
	unsigned threads; /* allowed CPUs of this core */
};

struct topology {
	unsigned count;           /* allowed CPUs, at least 1 */
	unsigned cores;           /* different cores among them */
	struct topology_cpu *cpu; /* [count], ascending by number */
};

/*
 * The CPUs that sched_getaffinity(2) allows this thread: what cpuset, cgroup, taskset and CPU hot-unplug
 * leave. Siblings are read below sysfs (normally TOPOLOGY_SYSFS); a CPU that it says nothing about is a core
 * of its own. 0, -ENOMEM or what sched_getaffinity() said, negated.
 */
int topology_read(struct topology *t, const char *sysfs);

/* The same for a given list of count >= 1 CPUs, ascending, without repetition. 0, -EINVAL or -ENOMEM. */
int topology_make(struct topology *t, const int *cpu, unsigned count, const char *sysfs);

void topology_free(struct topology *t);

/* The index of a CPU in t->cpu, or -1 if it is not allowed. */
int topology_index(const struct topology *t, int cpu);

/* Writes the allowed CPUs as a list ("0-3,8") of at most size - 1 bytes, ended by "..." if there was no room.
 */
void topology_format(const struct topology *t, char *to, size_t size);

/*
 * Parses a CPU list as sysfs and taskset write it ("0-3,8", one trailing newline allowed) and stores the
 * first max CPUs in the order of the list. Returns how many the list names (perhaps more than max), -EINVAL
 * for anything else or an empty list, -ERANGE for a CPU number from TOPOLOGY_CPU_LIMIT on or a list that
 * names more CPUs than that.
 */
int cpu_list_parse(const char *text, int *cpu, unsigned max);

/* Binds a thread (0: the caller) to one CPU; cpu < 0 leaves it as it is. 0 or -errno: -EINVAL, the CPU is not
 * allowed. */
int sched_pin_thread(pid_t tid, int cpu);

/* One CPU, or with -1 all of these; those from CPU_SETSIZE on are left out. */
void sched_cpu_set(cpu_set_t *set, int cpu, const struct topology *allowed);

/* Takes the calling thread's rseq(2) area back from the kernel, which writes to it whenever the thread has been switched out:
 * 0.2 us of a hand-off on one CPU. All that the C library has it for is sched_getcpu(), which asks the vDSO then. Where
 * there is none nothing happens. */
void sched_leave_rseq(void);

/* Lets a thread (0: the caller) run on all of these CPUs below CPU_SETSIZE. 0 or -errno. */
int sched_unbind_thread(pid_t tid, const struct topology *allowed);

#endif
