/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/handoff.h"

#include <errno.h>
#include <string.h>

#include "emulator/futex.h"

void handoff_init(struct handoff *h, struct vm *vm, uint32_t slot)
{
	*h = (struct handoff){.vm = vm, .core = vm->core, .slot = slot};
	if (h->core) {
		h->request = &h->local_request;
		h->reply = &h->local_reply;
		return;
	}
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
static void publish_locally(void *context, const struct reply *reply) { ((struct handoff *)context)->local_reply = *reply; }

void handoff_send(struct handoff *h)
{
	h->seq++;
	if (h->core) {
		h->request->seq = h->seq;
		core_request(h->core, h->slot, h->request, publish_locally, h);
		return;
	}
	__atomic_store_n(&h->request->seq, h->seq, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&h->reply->sleeping, __ATOMIC_SEQ_CST))
		futex_wake(&h->request->seq);
}

/* Copies the reply, once; from here on only the copy counts. */
static int take_reply(struct handoff *h, struct reply *reply)
{
	const size_t what = offsetof(struct reply, device); /* before it: words that both sides watch */
	const char *wrong;

	reply->seq = h->seq;
	reply->sleeping = 0;
	memcpy((uint8_t *)reply + what, (const uint8_t *)h->reply + what, sizeof(*reply) - what);
	/* The compiler knows that both are equal now, and might look at the shared one again; not behind this. */
	__asm__ volatile("" : : "r"(reply) : "memory");
	wrong = handoff_check(h->request, reply, h->vm->machine.devices);
	if (!wrong)
		return 0;
	vm_stop(h->vm, EXIT_EMULATOR_LOST, "dvmm-emulator answered nonsense on slot %u: %s", h->slot, wrong);
	return -EPROTO;
}

static int bad_sequence(struct handoff *h, uint32_t seen)
{
	vm_stop(h->vm, EXIT_EMULATOR_LOST, "dvmm-emulator answered nonsense on slot %u: sequence %u instead of %u",
		h->slot, seen, h->seq);
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

int handoff_call(struct handoff *h, struct reply *reply)
{
	const uint32_t before = h->seq;
	uint32_t now;

	handoff_send(h);
	now = spin_while_equal(&h->reply->seq, before, h->spin_ns);
	while (now == before) {
		sleep_for_reply(h, before, NULL);
		now = __atomic_load_n(&h->reply->seq, __ATOMIC_ACQUIRE);
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
		return -EAGAIN;
	return now == h->seq ? take_reply(h, reply) : bad_sequence(h, now);
}
