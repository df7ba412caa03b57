/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hand-off: how a thread of dvmm has an operation emulated, and gets a reply it can trust.
 *
 *     struct request *req = handoff_request(h);      fill kind, space, addr, size, count, data
 *     err = handoff_call(h, &reply);                 wait for it
 *
 * In sandboxed mode the request goes through the mailbox to the emulator's worker for this slot; in-process
 * it is performed here and now. Everything else of dvmm cannot tell the two apart.
 *
 * A reply is copied once, and the copy is checked before anybody sees it: handoff_check() lists what a reply
 * may say.
 *
 * Threads: one struct handoff per thread; the two halves handoff_send() and handoff_poll() are for the main
 * thread, which must not sleep on an emulator that may be dead.
 */
#ifndef DVMM_VMM_HANDOFF_H
#define DVMM_VMM_HANDOFF_H

#include "emulator/instruction.h"
#include "vmm/vm.h"

struct handoff {
	struct vm *vm;
	struct core *core;         /* in-process; NULL: sandboxed */
	struct request *request;   /* ours to write */
	const struct reply *reply; /* the emulator's to write */
	uint32_t slot;
	uint32_t seq;        /* of the last request sent */
	uint32_t spin_ns;    /* how long to spin for a reply before sleeping */
	struct watch *watch; /* what the watchdog sees of us; NULL in-process */
	bool abandoned;      /* the last request was completed by force, and its worker has not been seen to
				acknowledge it */
	struct instruction instruction;
	struct request local_request; /* in-process: nobody shares anything */
	struct reply local_reply;
};

void handoff_init(struct handoff *h, struct vm *vm, uint32_t slot);

/* The request to fill in; its seq and sleeping are not the caller's. */
static inline struct request *handoff_request(struct handoff *h)
{
	return h->request;
}

/* Sends the request and waits. 0: *reply is filled and checked. -EINTR: the machine is stopping.
 * -ETIME: it took too long and has been completed by force; the caller makes up the result.
 * -EPROTO: the reply was nonsense; the machine has been stopped with status 4 and a reason. */
int handoff_call(struct handoff *h, struct reply *reply);

/* The same in two steps: handoff_poll() returns -EAGAIN while there is no reply; it waits at most wait_ns. */
void handoff_send(struct handoff *h);
/* Has the worker not yet acknowledged that the last request was completed by force? Then nothing may be sent.
 */
bool handoff_busy(struct handoff *h);
int handoff_poll(struct handoff *h, uint32_t wait_ns, struct reply *reply);

/* Is this reply one that an honest emulator can give to this request? NULL if so, otherwise what is wrong
 * with it. */
const char *handoff_check(const struct request *req, const struct reply *reply, uint32_t devices);

#endif
