/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/handoff.h"

#include <errno.h>
#include <string.h>

#include "emulator/futex.h"
#include "vmm/probes.h"

/* In-process: what instructions are executed on. No thread that runs guests may allocate. */
static struct x86_cpu local_cpu[MACHINE_MAX_VCPUS];

void handoff_init(struct handoff *h, struct vm *vm, uint32_t slot)
{
	*h = (struct handoff){.vm = vm, .core = vm->core, .slot = slot};
	if (h->core) {
		h->request = &h->local_request;
		h->reply = &h->local_reply;
		if (slot < vm->machine.vcpus)
			h->instruction = (struct instruction){
				.asked = mailbox_request_cpu(vm->requests.at, vm->machine.vcpus, slot),
				.answer = mailbox_reply_cpu(vm->replies.at, vm->machine.vcpus, slot),
				.cpu = &local_cpu[slot],
			};
		return;
	}
	h->watch = &vm->watch[slot];
	h->request = mailbox_request(vm->requests.at, slot);
	h->reply = mailbox_reply(vm->replies.at, slot);
	h->spin_ns = vm->machine.handoff == HANDOFF_SPIN ? vm->machine.spin_ns : 0;
}

const char *handoff_check(const struct request *req, const struct reply *reply, uint32_t devices)
{
	if (reply->device != REPLY_NO_DEVICE && reply->device >= devices)
		return "a device that does not exist";
	if (reply->event > MACHINE_EXIT)
		return "a machine event that does not exist";
	if (reply->flags & ~(uint32_t)REPLY_CONSOLE_ROOM)
		return "flags that do not exist";
	if (req->kind == REQUEST_INPUT && reply->count > req->count)
		return "more bytes taken than were offered";
	return NULL;
}

/* In-process, "publishing" is a copy into our own reply. */
static void publish_locally(void *context, const struct reply *reply)
{
	((struct handoff *)context)->local_reply = *reply;
}

void handoff_send(struct handoff *h)
{
	const uint32_t before = h->seq++;

	PROBE4(handoff, h->slot, h->request->kind, h->request->addr, h->request->size * h->request->count);
	if (h->core) {
		h->request->seq = h->seq;
		h->core->request(h->core,
			     &(struct core_client){.slot = h->slot,
						   .context = h,
						   .publish = publish_locally,
						   .instruction = h->instruction.cpu ? &h->instruction : NULL},
			     h->request);
		return;
	}
	/* Numbers come again after 2^32 requests; what an old one says must not be taken for word of the new
	 * one. */
	h->request->cancelled = before;
	atomic_store_explicit(&h->watch->forced_seq, before, memory_order_relaxed);
	atomic_store_explicit(&h->watch->began_ns, monotonic_ns(), memory_order_relaxed);
	__atomic_store_n(&h->request->seq, h->seq, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&h->reply->sleeping, __ATOMIC_SEQ_CST))
		futex_wake(&h->request->seq);
}

/* The watchdog has decided, or the worker says that it has: then there is no reply, only an acknowledgement.
 */
static bool completed_by_force(struct handoff *h)
{
	return h->watch &&
	       (atomic_load_explicit(&h->watch->forced_seq, memory_order_acquire) == h->seq ||
		__atomic_load_n(&h->reply->claim, __ATOMIC_ACQUIRE) == CLAIM(h->seq, CLAIM_CANCELLED));
}

bool handoff_busy(struct handoff *h)
{
	if (h->abandoned)
		h->abandoned = __atomic_load_n(&h->reply->seq, __ATOMIC_ACQUIRE) == h->seq - 1;
	return h->abandoned;
}

static int abandon(struct handoff *h)
{
	h->abandoned = true;
	return -ETIME;
}

/* Copies the reply, once; from here on only the copy counts. */
static int take_reply(struct handoff *h, struct reply *reply)
{
	const size_t what = offsetof(struct reply, device); /* before it: words that both sides watch */
	const char *wrong;

	if (completed_by_force(h))
		return abandon(h);
	if (h->watch)
		atomic_store_explicit(&h->watch->began_ns, 0, memory_order_relaxed);
	reply->seq = h->seq;
	reply->sleeping = 0;
	memcpy((uint8_t *)reply + what, (const uint8_t *)h->reply + what, sizeof(*reply) - what);
	/* The compiler knows that both are equal now, and might look at the shared one again; not behind
	 * this. */
	__asm__ volatile("" : : "r"(reply) : "memory");
	wrong = handoff_check(h->request, reply, h->vm->machine.devices);
	if (!wrong) {
		PROBE4(completion, h->slot, h->request->kind, h->request->addr, reply->device);
		return 0;
	}
	vm_stop(h->vm, EXIT_EMULATOR_LOST, "dvmm-emulator answered nonsense on slot %u: %s", h->slot, wrong);
	return -EPROTO;
}

static int bad_sequence(struct handoff *h, uint32_t seen)
{
	vm_stop(h->vm, EXIT_EMULATOR_LOST,
		"dvmm-emulator answered nonsense on slot %u: sequence %u instead of %u", h->slot, seen,
		h->seq);
	return -EPROTO;
}

/* Sleeps until reply->seq may have changed. The protocol of `sleeping`: mailbox.h. */
static void sleep_for_reply(struct handoff *h, uint32_t before, const struct timespec *timeout)
{
	__atomic_store_n(&h->request->sleeping, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&h->reply->seq, __ATOMIC_SEQ_CST) == before && !vm_stopping(h->vm))
		futex_wait(&h->reply->seq, before, timeout);
	__atomic_store_n(&h->request->sleeping, 0, __ATOMIC_RELAXED);
}

/* The slot is free again when the worker, or its successor, has acknowledged a request that was completed by
 * force. */
static int wait_until_free(struct handoff *h)
{
	while (handoff_busy(h)) {
		sleep_for_reply(h, h->seq - 1, NULL);
		if (handoff_busy(h) && vm_stopping(h->vm))
			return -EINTR;
	}
	return 0;
}

int handoff_call(struct handoff *h, struct reply *reply)
{
	const uint32_t before = h->seq;
	uint32_t now;

	if (wait_until_free(h))
		return -EINTR;
	handoff_send(h);
	now = spin_while_equal(&h->reply->seq, before, h->spin_ns);
	while (now == before) {
		sleep_for_reply(h, before, NULL);
		now = __atomic_load_n(&h->reply->seq, __ATOMIC_ACQUIRE);
		if (now == before && completed_by_force(h))
			return abandon(h);
		if (now == before && vm_stopping(h->vm))
			return -EINTR;
	}
	return now == h->seq ? take_reply(h, reply) : bad_sequence(h, now);
}

int handoff_poll(struct handoff *h, uint32_t wait_ns, struct reply *reply)
{
	const struct timespec timeout = {.tv_nsec = wait_ns};
	uint32_t now = __atomic_load_n(&h->reply->seq, __ATOMIC_ACQUIRE);

	if (now == h->seq - 1 && wait_ns) {
		sleep_for_reply(h, now, &timeout);
		now = __atomic_load_n(&h->reply->seq, __ATOMIC_ACQUIRE);
	}
	if (now == h->seq - 1)
		return completed_by_force(h) ? abandon(h) : -EAGAIN;
	return now == h->seq ? take_reply(h, reply) : bad_sequence(h, now);
}
