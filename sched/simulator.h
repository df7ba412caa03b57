/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulator of the watchdog's policy: simulator.c is the model, simulator_main.c the scenarios and the
 * output.
 */
#ifndef DVMM_SCHED_SIMULATOR_H
#define DVMM_SCHED_SIMULATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/watchdog_policy.h"

#define NS_PER_SECOND    1000000000ull
#define QUANTUM_NS       10000000ull
#define STEPS_PER_SECOND ((unsigned)(NS_PER_SECOND / QUANTUM_NS))

enum behaviour {
	HONEST, /* now and then an operation of 1 .. N - 1 quanta, from any CPU */
	STALL,  /* every vCPU, all begun on one CPU, in operations without end */
	STEER,  /* stall until moved to CPU 0; there, run in the guest without ever leaving it */
	UNDER,  /* all on one CPU, operations of N - 1 quanta one after another */
	CRASH,  /* all on one CPU, every operation kills the emulator */
	DEAF,   /* as STALL, and the worker never acknowledges */
};

struct scenario {
	const char *name, *what;
	enum behaviour behaviour;
	unsigned vms, vcpus, cpus; /* of each VM; allowed */
	uint32_t max_quanta;       /* 0: as the command line says */
};

struct result {
	uint64_t forced, moves, restarts, completed;
	unsigned ended;           /* VMs */
	unsigned most_moves;      /* of one VM in any second */
	uint64_t first_move_ns;   /* 0: none */
	unsigned peak;            /* operations under way on one CPU, ever */
	unsigned p50, p99, most;  /* the same, over all CPUs and all steps, settled */
	double worst, worst_late; /* victim's share of its fair share on the worst CPU: whole time, settled */
	bool broken;
};

/*
 * Runs the scenario with the mechanism off or on. The same seed gives the same result. config->quantum_ns
 * must be QUANTUM_NS. Ends the program if there is not enough memory.
 */
struct result scenario_run(const struct scenario *sc, const struct watchdog_config *config, bool watchdog,
			   uint64_t seed, unsigned seconds);

#endif
