/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: parsing and checks that need no file and no KVM.
 */
#ifndef DVMM_VMM_OPTIONS_H
#define DVMM_VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "emulator/machine.h"
#include "sched/watchdog_policy.h"
#include "vmm/failure.h"
#include "vmm/log.h"

/* dvmm's exit status; the man page promises these numbers. */
enum exit_status {
	EXIT_GUEST_ENDED = 0,   /* powered off, or rebooted */
	EXIT_USAGE = 1,         /* command line, or a file that cannot be used */
	EXIT_HOST = 2,          /* this host cannot do it */
	EXIT_GUEST_CRASHED = 3, /* triple fault, an exit that cannot be handled */
	EXIT_EMULATOR_LOST = 4, /* the emulator died or answered nonsense */
};

enum options_action { ACTION_RUN = 0, ACTION_HELP, ACTION_VERSION, ACTION_CHECK_HOST };
enum unknown_insn { UNKNOWN_INSN_UD = 0, UNKNOWN_INSN_STOP };
enum options_handoff { WANT_AUTO = 0, WANT_SAME_CPU, WANT_SPIN };

struct disk_option {
	const char *path;
	bool read_only;
};

struct options {
	enum options_action action;
	const char *kernel;
	const char *initrd; /* NULL: none */
	const char *cmdline;
	bool kaslr; /* the kernel is loaded to a random address */
	uint64_t mem_bytes;
	uint32_t cpus;
	struct disk_option disk[MACHINE_MAX_DISKS];
	uint32_t disks;
	bool in_process;
	enum options_handoff handoff;
	const char *pin; /* unparsed: sched/placement.h */
	bool published;  /* published registers are read without a hand-off */
	bool posted;     /* writes to posted registers are not waited for */
	uint32_t quantum_ms;
	uint32_t max_quanta;
	enum on_stall on_stall;
	uint32_t repins_per_second;
	uint32_t max_restarts; /* in any 60 s; 0: the first death of the emulator ends the machine */
	enum unknown_insn on_unknown_insn; /* what neither KVM nor the emulator knows */
	uint32_t insn_batch;               /* instructions emulated in one go, at most */
	const char *stats;    /* NULL: none */
	const char *emulator; /* NULL: the one that was installed with us */
	const char *dump_state; /* NULL: none */
	bool chaos;           /* the guest gets a device that misbehaves */
	bool testdev;         /* the guest gets QEMU's test devices, and its exit status */
	enum log_level log_level;
};

/* Fills o from the command line; 0, or -1 and f says why. Strings point into argv. */
int options_parse(struct options *o, int argc, char **argv, struct failure *f);

/* The text of --help. */
extern const char options_help[];

#endif
