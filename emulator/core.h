/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The emulator's core: requests in, device operations, effects out. The same code serves the sandboxed process
 * (emulator/main.c) and dvmm itself with --emulation=in-process.
 *
 * Owns: the per-device locks. Borrows: the machine, the region, guest memory, the descriptors that the machine names.
 * Threads: every function may be called from any thread; an operation holds its device's lock from begin until its effects are
 * done and its reply is stored, so the journal of the last operation is enough to restart from.
 */
#ifndef DVMM_EMULATOR_CORE_H
#define DVMM_EMULATOR_CORE_H

#include <pthread.h>

#include "emulator/mailbox.h"
#include "emulator/region.h"

struct core {
	const struct machine *machine;
	struct region_layout layout;
	void *region;
	struct guest_memory memory;
	uint64_t (*now_ns)(void);
	pthread_mutex_t lock[MACHINE_MAX_DEVICES];

	/* How I/O gets started (emulator/io.c): called under the device's lock, after the commit. */
	void (*start_io)(void *context, uint32_t device, uint64_t slots);
	void *io_context;
};

/* Sets up the core over a region that region_init() (or an earlier emulator) has filled. 0 or -errno. */
int core_init(struct core *core, const struct machine *m, void *region, const struct guest_memory *memory);

/* Performs one request and stores its reply through `publish` while the device's lock is held.
 * The request must be the caller's private copy. */
void core_request(struct core *core, uint32_t slot, const struct request *req,
		  void (*publish)(void *context, const struct reply *), void *context);

/* The doorbell of a device rang; an I/O slot has ended with `result`. */
void core_notify(struct core *core, uint32_t device);
void core_complete(struct core *core, uint32_t device, unsigned slot, int32_t result);

#endif
