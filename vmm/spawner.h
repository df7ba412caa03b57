/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dvmm's side of the spawner (emulator/spawner.h): starting it, ordering, hearing from it, ending it.
 *
 * Once a guest runs, dvmm's own threads may neither fork nor exec, and should not; yet an emulator that dies has
 * to be replaced. So the spawner is started before dvmm opens /dev/kvm, with what an emulator needs (memory files,
 * eventfds, disk images) and nothing else.
 *
 * Threads: spawner_request() any, the rest dvmm's main thread only.
 */
#ifndef DVMM_VMM_SPAWNER_H
#define DVMM_VMM_SPAWNER_H

#include "emulator/spawner.h"
#include "vmm/vm.h"

/* Starts it; returns while it is still on its way. vm->requests and so on must exist, /dev/kvm must not be open. */
int spawner_start(struct vm *vm, struct spawner_handle *handle, struct failure *f);

/* Waits until the program runs. -errno, with error[]: it cannot be started. */
int spawner_wait_started(struct spawner_handle *handle, char error[SANDBOX_ERROR_BYTES]);

/* Kills it, and with it all emulators; does not wait. */
void spawner_kill(const struct spawner_handle *handle);
/* Waits until they are gone, a second at most. False: they are not, the kernel holds one. */
bool spawner_wait_gone(struct spawner_handle *handle);

/* Sends an order; does not wait. -errno: the spawner is gone, or has too much to do. */
int spawner_request(int socket_fd, const struct spawner_request *r);

/* Takes one message; does not wait. -EAGAIN: there is none. -EPIPE: the spawner is gone. */
int spawner_receive(int socket_fd, struct spawner_message *m);

#endif
