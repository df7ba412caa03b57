/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The spawner: the process from which emulators are split off, and all that dvmm and it say to each other.
 *
 * dvmm starts the program dvmm-emulator once, as process 1 of new namespaces (seccomp/spawn.h). It maps the shared
 * files, enters the sandbox, builds the filter, and is then the spawner: it waits for orders and forks an
 * emulator for each START. What is slow - namespaces, exec, relocation - is so paid for once, a new
 * emulator is there within a fraction of a millisecond, and what emulators never write to they share.
 *
 * It never touches what a guest or an emulator has written, but for thread ids (see MOVE). It has no capability, file
 * system or network either, but no system call filter of its own, because its children would inherit that one and have
 * yet to set up theirs.
 *
 * All emulators of a VM have one address-space layout, that of this process; only the stack protector's value is each one's
 * own. Somebody who makes one crash to learn about the layout of the next one has at most --max-restarts attempts a
 * minute, or the VM ends, and each is told in the log.
 *
 * Orders come by a sequenced-packet socket, FD_SPAWNER, and name an emulator by its incarnation number:
 *
 *     START   answered with STARTED, which carries a pidfd, or FAILED; later, once, with ENDED
 *     MOVE    the worker of a slot shall run on these CPUs; not answered. Workers may not do that themselves, and dvmm
 *             does not see their thread ids, which are those of a pid namespace. Emulators write them into the reply
 *             file: one that lies has another thread of this VM's emulators moved to a CPU that it could have burdened
 *             itself.
 *
 * An emulator that somebody has stopped (SIGSTOP) is killed: it is as good as dead, only its parent hears of it, and a
 * guest that waits for its disk makes no request that could be late. When dvmm closes its end of the socket or dies, the
 * spawner ends, and as it is process 1 of its namespace, so do all emulators, before its own end is seen.
 */
#ifndef DVMM_EMULATOR_SPAWNER_H
#define DVMM_EMULATOR_SPAWNER_H

#include <sched.h>
#include <stdint.h>

#include "seccomp/spawn.h"

enum spawner_order { SPAWNER_START = 1, SPAWNER_MOVE };

struct spawner_request {
	uint32_t order; /* enum spawner_order */
	uint32_t incarnation;
	uint32_t slot;  /* MOVE: whose worker */
	uint32_t unused;
	cpu_set_t cpus; /* and where to */
};

enum spawner_event { SPAWNER_STARTED = 1, SPAWNER_FAILED, SPAWNER_ENDED };

struct spawner_message {
	uint32_t event;                  /* enum spawner_event */
	uint32_t incarnation;            /* of which emulator */
	int32_t status;                  /* ENDED: as waitpid() gives it */
	int32_t pidfd;                   /* STARTED: valid in the receiver, close-on-exec; otherwise -1 */
	char error[SANDBOX_ERROR_BYTES]; /* FAILED: one line */
};

/*
 * Serves orders until dvmm is gone; the caller's process has one thread. In each child, emulator() is called with
 * its incarnation and nothing of the spawner's left open; it does not return.
 */
void __attribute__((noreturn)) spawner_serve(const void *replies, void (*emulator)(uint32_t incarnation));

#endif
