/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Typed input on its way to the UART: one request at a time, on the mailbox slot that is the main thread's, and never waited for
 * for long, because the emulator may be dead. Main thread only.
 */
#ifndef DVMM_VMM_TYPING_H
#define DVMM_VMM_TYPING_H

#include "vmm/console.h"
#include "vmm/handoff.h"

struct typing {
	struct console_input input;
	struct handoff handoff;
	bool sent;    /* a request is under way */
	bool refused; /* the UART has taken nothing; wait until it has room */
};

void typing_init(struct typing *t, struct vm *vm);

/* Goes on until there is nothing to send, the UART wants nothing, or it takes too long. A guest that makes and takes
 * back room all the time must not keep the main thread here. */
void typing_go_on(struct typing *t, struct vm *vm);

/* How long the main thread may sleep, as poll() takes it. Room that is announced from now on wakes it. */
int typing_timeout_ms(struct typing *t, struct vm *vm);

#endif
