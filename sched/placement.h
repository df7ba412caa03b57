/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where vCPUs and their workers run, and which hand-off suits that: pure functions of numbers.
 *
 * Owns nothing, makes no system call, keeps no state: the same request always gets the same answer.
 *
 * What the pin policies mean:
 *
 * - auto: every vCPU thread is bound to one allowed CPU, different cores first; its worker as the hand-off
 *   wants it.
 *
 * - map: the same, but the operator names the CPU of some or all vCPUs.
 *
 * - none: nothing is bound, the scheduler places all threads. "Same CPU" is then a hope: a worker that is
 *   woken elsewhere costs the futex round trip of two CPUs. And as no vCPU is bound to a CPU during a
 *   de-privileged operation either, stuck operations cannot be stacked on one, and none has to be moved.
 */
#ifndef DVMM_SCHED_PLACEMENT_H
#define DVMM_SCHED_PLACEMENT_H

#include <stddef.h>
#include <stdint.h>

#include "sched/topology.h"

#define PLACEMENT_MAX_VCPUS 16

enum placement_wish { PLACEMENT_WISH_AUTO = 0, PLACEMENT_WISH_SAME_CPU, PLACEMENT_WISH_SPIN };

enum placement_handoff {
	PLACEMENT_SAME_CPU = 0, /* the worker shares its vCPU's CPU and is woken by futex */
	PLACEMENT_SPIN,         /* the worker has another CPU; both sides spin, then sleep */
};

enum placement_policy { PLACEMENT_PIN_AUTO = 0, PLACEMENT_PIN_NONE, PLACEMENT_PIN_MAP };

struct placement_pin {
	enum placement_policy policy;
	int cpu[PLACEMENT_MAX_VCPUS]; /* with PIN_MAP: the CPU of each vCPU, -1: choose as auto does */
};

struct placement_request {
	const struct topology *topology;
	unsigned vcpus; /* 1 .. PLACEMENT_MAX_VCPUS */
	struct placement_pin pin;
	enum placement_wish wish;
	unsigned offset; /* where auto starts: different VMs give different numbers, see placement_offset() */
};

struct placement {
	enum placement_handoff handoff;
	int vcpu_cpu[PLACEMENT_MAX_VCPUS]; /* -1: not bound */
	/*
	 * The worker of each vCPU, -1: not bound; entry `vcpus` is the worker of dvmm's main thread. That one
	 * is never bound: it carries typed bytes only, and should not have to wait behind whatever occupies
	 * one certain CPU.
	 */
	int worker_cpu[PLACEMENT_MAX_VCPUS + 1];
	const char *warning; /* one line for the operator (a constant string), or NULL */
};

/*
 * An offset made of a process id. VMs started in a row have ids with a constant stride, which must not meet
 * the number of CPUs, so the bits are mixed (the finaliser of MurmurHash3).
 */
static inline unsigned placement_offset(pid_t pid)
{
	uint32_t h = (uint32_t)pid;

	h = (h ^ h >> 16) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	return h ^ h >> 16;
}

/*
 * Parses the value of --pin: auto, none or VCPU:CPU[,VCPU:CPU...]. Needs the number of vCPUs, so call it
 * after all options are read. 0, or -EINVAL with one line in error that names the option, the cause and the
 * way out.
 */
int placement_pin_parse(const char *text, const struct topology *t, unsigned vcpus, struct placement_pin *pin,
			char *error, size_t error_size);

/*
 * Chooses. With wish auto the mode is spin if every vCPU and every worker can have an allowed CPU of its own,
 * otherwise same-cpu. 0, or -EINVAL: vcpus out of range or a pin map with a CPU that is not allowed.
 */
int placement_choose(const struct placement_request *req, struct placement *p);

const char *placement_handoff_name(enum placement_handoff handoff);

#endif
