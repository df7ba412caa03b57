/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --emulation=in-process: the loader and the emulator's core in the process that holds the KVM descriptors. No
 * sandbox; for comparison.
 *
 * That is a program of its own, dvmm-in-process, made of the same sources: dvmm itself is not linked with loader, core and
 * instruction emulator, nor with the libraries that these need. Main thread, before the guest runs; request() is for the
 * threads that make hand-offs.
 */
#ifndef DVMM_VMM_IN_PROCESS_H
#define DVMM_VMM_IN_PROCESS_H

#include "vmm/vm.h"

struct in_process {
	/* Loads the kernel that has been staged (emulator/loader/loader.h). */
	void (*load)(struct vm *vm, const struct loader_request *request, uint8_t *staging);
	/* Sets up core and I/O thread, instead of emulator_start(). */
	int (*start)(struct vm *vm, struct failure *f);
};

/* NULL in dvmm. */
extern const struct in_process *const in_process;

/* Becomes dvmm-in-process; returns only if that fails. */
int in_process_exec(char **argv, struct failure *f);

#endif
