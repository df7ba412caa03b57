/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The spawner: a small process that starts emulators for as long as dvmm lives.
 *
 * Once a guest runs, dvmm's own threads may neither fork nor exec, and should not; yet an emulator that dies
 * has to be replaced. So before dvmm opens /dev/kvm it splits off this process, which holds what an emulator
 * is started with (memory files, eventfds, disk images) and nothing else, and obeys one kind of message. It
 * is the emulators' parent, kills those that somebody has stopped (SIGSTOP), and ends with dvmm.
 *
 * Requests (a sequenced-packet socket) name an emulator by its incarnation number:
 *
 *     START   answered with STARTED, which carries a pidfd, or FAILED; later, once, with ENDED
 *     MOVE    the worker of a slot goes to another CPU; not answered. Workers may not do that themselves, and
 *             dvmm does not see their thread ids. They are known by their names, which a hostile emulator
 *             chooses among its own threads, all of which it could have burdened that CPU with anyway.
 *
 * Threads: spawner_request() any, the rest dvmm's main thread only.
 */
#ifndef DVMM_VMM_SPAWNER_H
#define DVMM_VMM_SPAWNER_H

#include "vmm/vm.h"

enum spawner_order { SPAWNER_START = 1, SPAWNER_MOVE };

struct spawner_request {
	uint32_t order; /* enum spawner_order */
	uint32_t incarnation;
	uint32_t slot; /* MOVE: whose worker */
	int32_t cpu;   /* and where to; -1: any allowed CPU */
};

enum spawner_event { SPAWNER_STARTED = 1, SPAWNER_FAILED, SPAWNER_ENDED };

struct spawner_message {
	uint32_t event;                  /* enum spawner_event */
	uint32_t incarnation;            /* of which emulator */
	int32_t status;                  /* ENDED: as waitpid() gives it */
	int32_t pidfd;                   /* STARTED: valid in the receiver, close-on-exec; otherwise -1 */
	char error[SANDBOX_ERROR_BYTES]; /* FAILED: one line */
};

/* Splits the process off. vm->requests and so on must exist, /dev/kvm must not be open. */
int spawner_start(struct vm *vm, struct spawner_handle *handle, struct failure *f);

/* Has it end all emulators and itself, and waits for that: at most a second for a spawner that does not run.
 */
void spawner_stop(struct spawner_handle *handle);

/* Sends a request; does not wait. -errno: the spawner is gone, or has too much to do. */
int spawner_request(int socket_fd, enum spawner_order order, uint32_t incarnation, uint32_t slot, int cpu);

/* Takes one message; does not wait. -EAGAIN: there is none. -EPIPE: the spawner is gone. */
int spawner_receive(int socket_fd, struct spawner_message *m);

#endif
