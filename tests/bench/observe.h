/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A running dvmm seen from outside: its guest's counters (tests/guests/load.c) through the guest memory file,
 * its threads and emulators through /proc, its messages through a pipe. Needs the rights of dvmm's own user.
 */
#ifndef DVMM_TESTS_BENCH_OBSERVE_H
#define DVMM_TESTS_BENCH_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LOAD_PROCESSORS 16
#define OBSERVE_CPUS    64 /* host CPUs with a higher number are not looked at */

/* As in tests/guests/load.c. */
struct load_block {
	uint32_t started;
	uint32_t unused[3];
	uint32_t command[LOAD_PROCESSORS]; /* 0: only count */
	uint32_t count[LOAD_PROCESSORS];
	uint32_t port[LOAD_PROCESSORS];
};

struct observed {
	pid_t pid, spawner;
	unsigned vcpus;
	pid_t vcpu[LOAD_PROCESSORS]; /* thread ids */
	bool sandboxed; /* there are other processes: a spawner and the emulators, its children */
	volatile struct load_block *block;
	int messages;                    /* what it says on standard error; does not block */
	uint32_t seen[LOAD_PROCESSORS];  /* counters at the last look; they wrap round */
	uint64_t total[LOAD_PROCESSORS]; /* since the start */
};

enum { OBSERVE_DVMM, OBSERVE_SPAWNER, OBSERVE_ACTIVE, OBSERVE_STANDBY, OBSERVE_PROCESSES };

/* Starts argv[0] and waits until `started` processors of its guest count. 0, or -1 after a line on stderr. */
int observe_start(struct observed *o, const char *const argv[], unsigned vcpus, unsigned started);

/* Adds to `total` what has been counted; at least every second, or a wrap goes unnoticed. */
void observe_counts(struct observed *o);

/* Where vCPU threads are now. */
int observe_vcpu_cpu(const struct observed *o, unsigned vcpu);

/* By the scheduler's account: how long a vCPU thread has had a CPU, and how long it wanted one and had none.
 * 0 and 0 where the kernel does not say. */
void observe_vcpu_times(const struct observed *o, unsigned vcpu, uint64_t *ran_ns, uint64_t *waited_ns);

/* Adds 1 to per_cpu[] for every thread of the emulators that is running or waiting for its CPU. */
void observe_workers(const struct observed *o, unsigned per_cpu[OBSERVE_CPUS]);

/* Processor time of dvmm and all its emulators, dead ones too, in seconds. */
double observe_cpu_seconds(const struct observed *o);

/* The process id of the active emulator, or 0. */
pid_t observe_emulator(const struct observed *o);

/* Is there a standby with all its threads, all of them asleep? */
bool observe_standby_idle(const struct observed *o);

/* The processes there are, by role; 0: there is none. */
void observe_processes(const struct observed *o, pid_t pid[OBSERVE_PROCESSES]);

/*
 * A process's proportional share of memory (proc(5), smaps), in KiB, without that of the guest's
 * memory: mappings of the file dvmm-memory, and unless 0 is given those of guest_bytes or more. -1 if the
 * kernel does not let us look.
 */
long process_memory_kib(pid_t pid, unsigned long guest_bytes);

/* Context switches of all its threads so far. */
uint64_t process_switches(pid_t pid);

/* Processor time of all its threads so far by the scheduler's account, in ns. */
uint64_t process_cpu_ns(pid_t pid);

/*
 * How far a dvmm is that has just been started: when it first had an emulator behind a seccomp filter, and
 * its latest thread, which is the vCPU's. Both as seen when looked at, so look often; all 0 at first.
 */
struct start_steps {
	uint64_t sandbox_ns; /* the emulator is confined */
	uint64_t vcpu_ns;    /* and dvmm itself: the guest may run */
};
void observe_steps(struct start_steps *s, pid_t dvmm);

/* Ends it with SIGTERM. */
void observe_end(struct observed *o);

#endif
