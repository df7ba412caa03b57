/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hand-off: how a thread of dvmm has an operation emulated, and gets a reply it can trust.
 *
 *     struct request *req = handoff_request(h);      fill kind, space, addr, size, count, data
 *     err = handoff_call(h, &reply);                 wait for it
 *
 * or, if handoff_may_post() says so for a posted register (devices/device.h),
 *
 *     err = handoff_post(h, device);                 do not wait for it
 *
 * In sandboxed mode the request goes through the mailbox to the emulator's worker for this slot; in-process
 * it is performed here and now, and nothing may be posted. Everything else of dvmm cannot tell the two apart.
 *
 * A reply is copied once, and the copy is checked before anybody sees it: handoff_check() lists what a reply
 * may say.
 *
 * Posts are done in order with everything else of the thread, and their effects on dvmm, console output, come
 * with the next reply. With spinning workers a post is begun at once. With a worker on the same CPU, waking
 * it is what would cost, so it is left asleep, and does what was posted together with the next call; what
 * follows MAILBOX_POSTS posts is one. If none comes, the watchdog sees within three times POST_PATIENCE_NS
 * that a post is not waited for, and makes the vCPU thread leave the guest; that calls handoff_flush(). So a
 * post counts as an operation under way, and its time is counted, from when somebody waits for it: as one
 * with the others of that wait, until one of them is completed by force.
 *
 * Threads: one struct handoff per thread; the two halves handoff_send() and handoff_poll() are for the main
 * thread, which must not sleep on an emulator that may be dead. It does not post.
 */
#ifndef DVMM_VMM_HANDOFF_H
#define DVMM_VMM_HANDOFF_H

#include "emulator/instruction.h"
#include "vmm/vm.h"

struct handoff {
	struct vm *vm;
	struct core *core;           /* in-process; NULL: sandboxed */
	struct request_queue *queue; /* ours to write */
	struct reply *reply;         /* the emulator's to write, but for what mailbox.h says */
	uint32_t *claim;             /* anybody's */
	uint32_t slot;
	uint32_t seq;        /* of the last request sent */
	uint32_t done;       /* last one that was seen to be answered */
	uint32_t posts;      /* at the end of the queue: nobody has waited for these */
	uint64_t posted_to;  /* bit n: these, or some of them, are for device n */
	uint32_t spin_ns;    /* how long to spin for a reply before sleeping; 0: the worker is on our CPU */
	struct watch *watch; /* what the watchdog sees of us; NULL in-process */
	bool abandoned;      /* the last request was completed by force, and its worker has not been seen to
				acknowledge it */
	struct instruction instruction;
	struct request local_request; /* in-process: nobody shares anything */
	struct reply local_reply;
};

void handoff_init(struct handoff *h, struct vm *vm, uint32_t slot);

/* The request to fill in; its seq is not the caller's. */
static inline struct request *handoff_request(struct handoff *h)
{
	return h->core ? &h->local_request : queue_at(h->queue, h->seq + 1);
}

/* The one that was sent last. */
static inline const struct request *handoff_sent(const struct handoff *h)
{
	return h->core ? &h->local_request : queue_at(h->queue, h->seq);
}

/* May the next request be posted? urgent: it may cause an interrupt, so it must not be left lying. */
static inline bool handoff_may_post(const struct handoff *h, bool urgent)
{
	return !h->core && h->posts < MAILBOX_POSTS && (h->spin_ns || !urgent);
}

/* Sends the request for a device, and does not wait. 0; -EINTR and -EPROTO as below. */
int handoff_post(struct handoff *h, uint32_t device);

/* Waits for what has been posted: *reply is the last one's. -EAGAIN: there is nothing to wait for; else as
 * handoff_call(). */
int handoff_flush(struct handoff *h, struct reply *reply);

/* The same when the machine stops: for at most some 100 ms. */
int handoff_finish(struct handoff *h, struct reply *reply);

/* Before a request for a device with posted registers: waits until what other vCPUs have posted to it is
 * done, but not longer than one operation may take. */
void handoff_order(struct handoff *h, uint32_t device);

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
