/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the watchdog decides: when an operation has lasted too long, what is done about it, and where the
 * vCPU goes afterwards. Functions of numbers; the thread that feeds and obeys them is vmm/watchdog.c.
 *
 * Owns nothing, makes no system call, reads no clock, allocates nothing. The state of the two limits
 * (struct repin_bucket, struct restart_budget) is the caller's; all zero is a fresh one.
 * Threads: no locking; one thread at a time per state.
 *
 * All times are nanoseconds of one clock that does not go backwards (CLOCK_MONOTONIC); 0 stands for "never
 * happened". A clock that does go backwards, or ends, is harmless: no time has passed, nothing overflows, and
 * what could be refused is refused.
 *
 * The life of an operation, as the caller records it in struct watchdog_operation:
 *
 *     handed to the emulator    began_ns = now, forced_ns = 0, deaths = 0
 *     WATCHDOG_FORCE            the vCPU has its synthesised answer; forced_ns = now
 *     the emulator died         not forced: deaths++, began_ns = when the successor was given the request
 *                               forced: began_ns = 0, the successor is not given what has been answered
 *     answered, acknowledged    began_ns = 0; the next operation starts with a count of 0
 */
#ifndef DVMM_SCHED_WATCHDOG_POLICY_H
#define DVMM_SCHED_WATCHDOG_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What to do with an operation that has lasted max_quanta. */
enum on_stall {
	ON_STALL_REPIN = 0, /* complete it by force and move the vCPU */
	ON_STALL_RESTART,   /* first try it once more in a new emulator */
	ON_STALL_KILL,      /* end the VM */
};

/* The request that has killed this many emulators is answered by force. */
#define WATCHDOG_MAX_DEATHS 2

/* The most restarts that can be counted in one window; a larger `restarts` means this many. */
#define WATCHDOG_MAX_RESTARTS 1024

struct watchdog_config {
	uint64_t quantum_ns; /* 0: no operation is ever too long */
	uint32_t max_quanta; /* N; 0: no operation is ever too long */
	enum on_stall on_stall;

	uint32_t repins_per_second; /* 0: none at all */
	uint32_t repin_burst;       /* this many at once after a quiet time; 0: none at all */

	uint32_t restarts;          /* this many emulators may be replaced ... */
	uint64_t restart_window_ns; /* ... in any time of this length */
};

/* One de-privileged operation: the request of one vCPU in its mailbox slot. */
struct watchdog_operation {
	uint64_t began_ns;  /* when the present emulator was given it; 0: none under way */
	uint64_t forced_ns; /* when it was completed by force and the worker asked to abandon it; 0: not */
	uint32_t deaths;    /* emulators that have died while this very request was under way */
};

enum watchdog_action {
	WATCHDOG_NOTHING = 0,
	WATCHDOG_FORCE,   /* answer the vCPU, ask the worker to abandon, re-pin the vCPU if that is allowed */
	WATCHDOG_REPLACE, /* kill the emulator; if the budget allows, the standby takes over, otherwise end */
	WATCHDOG_END,     /* end the VM with status 4 */
};

/*
 * What to do about this operation now. The same answer is given until the caller has recorded what it did.
 *
 *     none under way                               NOTHING
 *     forced, less than one quantum ago            NOTHING
 *     forced, and still not acknowledged           REPLACE
 *     deaths >= WATCHDOG_MAX_DEATHS                FORCE, however short it has lasted
 *     lasted less than max_quanta                  NOTHING
 *     otherwise, on_stall repin                    FORCE
 *                         restart, no death yet    REPLACE
 *                         restart, after a death   FORCE
 *                         kill                     END
 */
enum watchdog_action watchdog_decide(const struct watchdog_config *config,
				     const struct watchdog_operation *op, uint64_t now_ns);

/*
 * When watchdog_decide() will no longer say NOTHING about this operation: now_ns if that is now, UINT64_MAX
 * if never; exact to the nanosecond and never before now_ns. A thread that sleeps until the earliest of
 * these, but at most N quanta at a time, sees every operation before it is due, those that began while it
 * slept too: so nobody has to wake it when an operation begins. If it is late by less than two quanta, every
 * stuck operation is completed between N and N + 2 quanta after it began.
 */
uint64_t watchdog_next_check_ns(const struct watchdog_config *config, const struct watchdog_operation *op,
				uint64_t now_ns);

/* --- Replacing the emulator: at most config->restarts in any window --------------------------- */

struct restart_budget {
	uint64_t at_ns[WATCHDOG_MAX_RESTARTS]; /* ring of the restarts that were allowed */
	uint32_t made;                         /* how many entries are valid */
	uint32_t next;                         /* where the next one goes */
};

/* May the emulator be replaced now? True counts as having done so; false: the VM ends with status 4. */
bool watchdog_restart_allowed(const struct watchdog_config *config, struct restart_budget *budget,
			      uint64_t now_ns);

/* --- Moving the vCPU -------------------------------------------------------------------------- */

struct repin_bucket {
	uint64_t full_ns; /* when the bucket will be full again, if nothing is taken from it */
};

/*
 * May a vCPU be moved now? True counts as having moved it. In any time T at most repin_burst +
 * T * repins_per_second moves are allowed, whatever the guest does. Keep one bucket for a whole VM. The
 * first to ask gets the token, so where several vCPUs are stuck, do not always begin with the same one.
 *
 * Refused, the operation is completed by force all the same, and only the vCPU stays where it is. That takes
 * nothing from anybody else: the CPU has the threads that it had before, and the next forced completion may
 * move it again. A move, on the other hand, is something that the guest gets done: it costs whoever is on the
 * CPU of arrival, and with moves at will a guest could try CPUs until it sits where it wants to be.
 */
bool watchdog_repin_allowed(const struct watchdog_config *config, struct repin_bucket *bucket,
			    uint64_t now_ns);

/* One CPU that the operator allowed, and what this VM has there. */
struct repin_cpu {
	int cpu;        /* the kernel's number */
	uint32_t stuck; /* operations under way there for a quantum or more */
	uint32_t vcpus; /* vCPUs of this VM bound to it, stuck or not */
};

struct repin_request {
	const struct repin_cpu *allowed; /* [count], in any order */
	size_t count;
	int current;  /* where the vCPU is; need not be allowed (any more), -1: it is not bound */
	uint64_t tie; /* a number that the guest cannot know, another one each time: getrandom(2) will do */
};

/*
 * Where the vCPU goes: an allowed CPU other than the current one; the current one if there is no other. Of
 * several the one with the fewest vCPUs, of those the one with the fewest stuck operations, of those the one
 * that `tie` says (each with equal probability if tie is random).
 *
 * The number of vCPUs comes first because it is all that the guest cannot choose. It chooses which of them
 * are stuck: were that looked at first, a guest that stalls everywhere except on one CPU would gather all its
 * vCPUs there, where they take as much by never leaving the guest. As it is, of K vCPUs on C allowed CPUs
 * none arrives where there are already more than (K - 1) / (C - 1), stuck or not, whatever the guest does.
 * Nor is an operation known as stuck before a quantum has passed, and vCPUs that are moved at the same time
 * would all go to the one CPU that had none; their number is right at once. Between CPUs that have as many,
 * the one with stuck operations is avoided.
 *
 * Among equals the guest cannot know the choice. Several guests that conspire are several VMs, whose counts
 * are apart: for them only the rate of moves and the allowed CPUs are a limit.
 */
int watchdog_repin_target(const struct repin_request *req);

/* --- Letting the vCPU go ---------------------------------------------------------------------- */

/* A vCPU whose operation was completed by force is bound to no CPU for this many times as long as that
 * lasted. */
#define WATCHDOG_UNBOUND_TIMES 10

/*
 * Until when the vCPU, and its worker, may run on every allowed CPU after an operation begun then has been
 * completed by force now; UINT64_MAX: for good. Afterwards, between two operations, both go home: to the CPU
 * where the vCPU was when the guest started. The last one counts, if there are more.
 *
 * A move alone leaves a stuck operation on one CPU for N quanta, and whoever has a thread there sees that of
 * it. Where to move it to, the watchdog can only guess: it knows its own VM, not who else runs where, and the
 * guest knows what it counts. The scheduler does know, and it is what shares out CPUs between threads anyway;
 * it only has to be allowed to. A guest that behaves again for that long has spent at least nine tenths of
 * the time bound to no CPU, so at most a tenth of an attack's time is spent where the guest has chosen; and a
 * guest cannot gather vCPUs by moves, because none stays where it was moved to.
 */
uint64_t watchdog_unbound_until_ns(uint64_t began_ns, uint64_t now_ns);

#endif
