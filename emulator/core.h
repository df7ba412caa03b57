/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The emulator's core: requests in, device operations, effects out. The same code serves the sandboxed
 * process (emulator/main.c) and dvmm itself with --emulation=in-process.
 *
 * Owns: the per-device locks. Borrows: the machine, the region, guest memory, the descriptors that the
 * machine names. Threads: every function may be called from any thread; an operation holds its device's lock
 * from begin until its effects are done and its reply is stored, so the journal of the last operation is
 * enough to restart from.
 */
#ifndef DVMM_EMULATOR_CORE_H
#define DVMM_EMULATOR_CORE_H

#include <pthread.h>

#include "emulator/mailbox.h"
#include "emulator/region.h"

struct core_client;
struct core {
	/* core_request(), for those who are not linked with it; set by core_init(). */
	bool (*request)(struct core *core, const struct core_client *client, const struct request *req);
	const struct machine *machine;
	struct region_layout layout;
	void *region;
	struct guest_memory memory;
	uint64_t (*now_ns)(void);
	pthread_mutex_t lock[MACHINE_MAX_DEVICES];

	/* How I/O gets started (emulator/io.c): called under the device's lock, after the commit. */
	void (*start_io)(void *context, uint32_t device, uint64_t slots);
	void *io_context;

	/* Published registers (mailbox.h), [devices]; NULL: nobody reads them. */
	struct published *published;

	struct x86_machine x86; /* once x86_ready (emulator/instruction.c) */
	bool x86_ready;
	pthread_mutex_t x86_lock;
	struct x86_count *x86_counts; /* [MAILBOX_COUNTS], for the machine; NULL: nobody wants them */
};

/* Sets up the core over a region that region_init() (or an earlier emulator) has filled. 0 or -errno. */
int core_init(struct core *core, const struct machine *m, void *region, const struct guest_memory *memory);

/*
 * Who asks, and how the answer gets there. Both functions are called while the device's lock is held.
 * claim (may be NULL: always) is asked right before the commit; false: the operation is abandoned, nothing
 * has happened and publish is not called.
 */
struct core_client {
	uint32_t slot;
	void *context;
	bool (*claim)(void *context, uint32_t seq);
	void (*publish)(void *context, const struct reply *);
	struct instruction *instruction; /* for REQUEST_X86; NULL: that is answered as if nobody were there */
};

/* Performs one request, which must be the caller's private copy. False: it was abandoned. */
bool core_request(struct core *core, const struct core_client *client, const struct request *req);

/* Publishes the registers of all devices as they are. core_recover() has done it; for those who need no
 * recovery. */
void core_publish(struct core *core);

/* The doorbell of a device rang; an I/O slot has ended with `result`. */
void core_notify(struct core *core, uint32_t device);
void core_complete(struct core *core, uint32_t device, unsigned slot, int32_t result);

/*
 * Takes over a region from an emulator that is dead, before any worker runs: finishes for each device the
 * last committed operation (its registers are published, its effects, and its reply if that has not been
 * published: `unanswered` says so, `publish` does it), and starts the I/O that was under way. Nothing of this
 * does harm if it had been done already.
 */
void core_recover(struct core *core, bool (*unanswered)(void *context, uint32_t slot, uint32_t seq),
		  void (*publish)(void *context, uint32_t slot, const struct reply *), void *context);

#endif
