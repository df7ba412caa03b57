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
	h->queue = mailbox_queue(vm->requests.at, slot);
	h->reply = mailbox_reply(vm->replies.at, slot);
	h->claim = mailbox_claim(vm->replies.at, slot);
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

/* Makes the request that has been filled in the last one. */
static void sequence(struct handoff *h)
{
	const uint32_t harmless = h->seq + 1 - MAILBOX_RING; /* it has been answered */

	h->seq++;
	PROBE4(handoff, h->slot, handoff_sent(h)->kind, handoff_sent(h)->addr,
	       handoff_sent(h)->size * handoff_sent(h)->count);
	/* Numbers come again after 2^32 requests; what an old one says must not be taken for word of the new
	 * one. (An old forcing_seq only has the claim looked at.) */
	if (__atomic_load_n(&h->queue->cancelled, __ATOMIC_RELAXED) == h->seq)
		__atomic_store_n(&h->queue->cancelled, harmless, __ATOMIC_RELAXED);
	if (atomic_load_explicit(&h->watch->forced_seq, memory_order_relaxed) == h->seq)
		atomic_store_explicit(&h->watch->forced_seq, harmless, memory_order_relaxed);
}

/* After a request has been made. */
static void wake_worker(struct reply *reply)
{
	if (!__atomic_load_n(&reply->sleeping, __ATOMIC_SEQ_CST))
		return;
	__atomic_store_n(&reply->sleeping, 0, __ATOMIC_SEQ_CST);
	futex_wake(&reply->sleeping);
}

static void send_locally(struct handoff *h)
{
	h->local_request.seq = ++h->seq;
	PROBE4(handoff, h->slot, h->local_request.kind, h->local_request.addr,
	       h->local_request.size * h->local_request.count);
	h->core->request(h->core,
			 &(struct core_client){.slot = h->slot,
					       .context = h,
					       .publish = publish_locally,
					       .instruction = h->instruction.cpu ? &h->instruction : NULL},
			 &h->local_request);
}

void handoff_send(struct handoff *h)
{
	if (h->core) {
		send_locally(h);
		return;
	}
	sequence(h);
	atomic_store_explicit(&h->watch->began_ns, monotonic_ns(), memory_order_relaxed);
	__atomic_store_n(&queue_at(h->queue, h->seq)->seq, h->seq, __ATOMIC_SEQ_CST);
	wake_worker(h->reply);
}

/* The watchdog has decided, or tried to and the claim says that it has: then there is no reply, only an
 * acknowledgement. */
static bool completed_by_force(struct handoff *h)
{
	if (!h->watch || atomic_load_explicit(&h->watch->forcing_seq, memory_order_acquire) != h->seq)
		return false;
	return atomic_load_explicit(&h->watch->forced_seq, memory_order_acquire) == h->seq ||
	       __atomic_load_n(h->claim, __ATOMIC_ACQUIRE) == CLAIM(h->seq, CLAIM_CANCELLED);
}

/* Forgets the posts: they have been waited for. */
static void collected(struct handoff *h)
{
	const uint32_t us = 1u << h->slot;

	h->posts = 0;
	if (!h->posted_to)
		return;
	atomic_store_explicit(&h->watch->posted_ns, 0, memory_order_relaxed);
	for (; h->posted_to; h->posted_to &= h->posted_to - 1)
		atomic_fetch_and(&h->vm->posters[__builtin_ctzll(h->posted_to)], ~us);
}

bool handoff_busy(struct handoff *h)
{
	if (h->abandoned)
		h->abandoned = __atomic_load_n(&h->reply->seq, __ATOMIC_ACQUIRE) != h->seq;
	return h->abandoned;
}

static int abandon(struct handoff *h)
{
	h->abandoned = true;
	collected(h);
	return -ETIME;
}

/* Copies the reply, once; from here on only the copy counts. */
static int take_reply(struct handoff *h, struct reply *reply)
{
	const size_t what = offsetof(struct reply, device); /* before it: words that both sides watch */
	const bool is_long = request_answer_bytes(handoff_sent(h)) > REPLY_SHORT;
	const char *wrong;

	if (completed_by_force(h))
		return abandon(h);
	if (h->watch) {
		atomic_store_explicit(&h->watch->began_ns, 0, memory_order_relaxed);
		collected(h);
	}
	reply->seq = h->seq;
	reply->sleeping = 0;
	memcpy((uint8_t *)reply + what, (const uint8_t *)h->reply + what, offsetof(struct reply, data) + REPLY_SHORT - what);
	if (is_long)
		memcpy(reply->data + REPLY_SHORT, h->reply->data + REPLY_SHORT, MAILBOX_DATA - REPLY_SHORT);
	/* The compiler knows that both are equal now, and might look at the shared one again; not behind
	 * this. */
	__asm__ volatile("" : : "r"(reply) : "memory");
	wrong = handoff_check(handoff_sent(h), reply, h->vm->machine.devices);
	if (!wrong) {
		PROBE4(completion, h->slot, handoff_sent(h)->kind, handoff_sent(h)->addr, reply->device);
		return 0;
	}
	vm_stop(h->vm, EXIT_EMULATOR_LOST, "dvmm-emulator answered nonsense on slot %u: %s", h->slot, wrong);
	return -EPROTO;
}

/* How far has the worker come? Between where it was and the last request sent, if it is honest. */
static bool look_at_answered(struct handoff *h)
{
	const uint32_t now = __atomic_load_n(&h->reply->seq, __ATOMIC_ACQUIRE);

	if (h->core || h->seq - now <= h->seq - h->done) {
		h->done = now;
		return true;
	}
	vm_stop(h->vm, EXIT_EMULATOR_LOST,
		"dvmm-emulator answered nonsense on slot %u: sequence %u instead of %u", h->slot, now, h->seq);
	return false;
}

/* Sleeps until reply->seq may have changed. The protocol of `sleeping`: mailbox.h. */
static void sleep_for_reply(struct handoff *h, uint32_t before, const struct timespec *timeout)
{
	__atomic_store_n(&h->queue->sleeping, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&h->reply->seq, __ATOMIC_SEQ_CST) == before && !vm_stopping(h->vm))
		futex_wait(&h->reply->seq, before, timeout);
	__atomic_store_n(&h->queue->sleeping, 0, __ATOMIC_RELAXED);
}

/* The slot is free again when the worker, or its successor, has acknowledged a request that was completed by
 * force. */
static int wait_until_free(struct handoff *h)
{
	while (handoff_busy(h)) {
		if (!look_at_answered(h))
			return -EPROTO;
		sleep_for_reply(h, h->done, NULL);
		if (handoff_busy(h) && vm_stopping(h->vm))
			return -EINTR;
	}
	return 0;
}

/* Waits until all has been answered, and takes the last reply. */
static int wait_for_reply(struct handoff *h, struct reply *reply)
{
	for (;;) {
		if (!look_at_answered(h))
			return -EPROTO;
		if (h->done == h->seq)
			return take_reply(h, reply);
		if (spin_while_equal(&h->reply->seq, h->done, h->spin_ns) != h->done)
			continue;
		if (completed_by_force(h))
			return abandon(h);
		if (vm_stopping(h->vm))
			return -EINTR;
		sleep_for_reply(h, h->done, NULL);
	}
}

int handoff_call(struct handoff *h, struct reply *reply)
{
	int err = wait_until_free(h);

	if (err)
		return err;
	handoff_send(h);
	return wait_for_reply(h, reply);
}

/* The watchdog must look before long. While it looks, and before it sleeps, it says "never". */
static void expect_watchdog(struct vm *vm, uint64_t now_ns)
{
	if (atomic_load(&vm->watchdog.next_ns) <= now_ns + 2 * POST_PATIENCE_NS)
		return;
	__atomic_fetch_add(&vm->watchdog.bell, 1, __ATOMIC_SEQ_CST);
	futex_wake(&vm->watchdog.bell);
}

int handoff_post(struct handoff *h, uint32_t device)
{
	const uint32_t us = 1u << h->slot;
	int err = wait_until_free(h);
	uint64_t now_ns;

	if (err)
		return err;
	sequence(h);
	/* Before it is there, so that nobody finds it there and misses that. */
	if (!(h->posted_to & 1ull << device)) {
		h->posted_to |= 1ull << device;
		atomic_fetch_or(&h->vm->posters[device], us);
	}
	__atomic_store_n(&queue_at(h->queue, h->seq)->seq, h->seq, __ATOMIC_SEQ_CST);
	if (h->spin_ns)
		wake_worker(h->reply);
	if (!h->posts++) {
		now_ns = monotonic_ns();
		atomic_store(&h->watch->posted_ns, now_ns);
		expect_watchdog(h->vm, now_ns);
	}
	return 0;
}

int handoff_flush(struct handoff *h, struct reply *reply)
{
	if (!h->posts)
		return -EAGAIN;
	atomic_store_explicit(&h->watch->began_ns, monotonic_ns(), memory_order_relaxed);
	wake_worker(h->reply);
	return wait_for_reply(h, reply);
}

int handoff_finish(struct handoff *h, struct reply *reply)
{
	const struct timespec step = {.tv_nsec = 1000000};

	if (!h->posts)
		return -EAGAIN;
	for (int i = 0; i < 100 && look_at_answered(h) && h->done != h->seq; i++) {
		wake_worker(h->reply);
		futex_wait(&h->reply->seq, h->done, &step);
	}
	return h->done == h->seq ? take_reply(h, reply) : -EINTR;
}

/* How many requests of another slot are under way, from *done on. Who posts just now has not been waited for
 * by the guest either. */
static uint32_t under_way(struct request_queue *q, const struct reply *reply, uint32_t *done)
{
	uint32_t n = 0;

	*done = __atomic_load_n(&reply->seq, __ATOMIC_SEQ_CST);
	while (n < MAILBOX_RING && queue_has(q, *done + n + 1))
		n++;
	return n;
}

/* `sleeping` of that slot is its owner's: we look again and again, which is long enough for a handful of
 * posts. */
static void wait_for_posts_of(struct handoff *h, uint32_t slot)
{
	const struct timespec step = {.tv_nsec = 200000};
	const uint64_t steps = h->vm->policy.quantum_ns * h->vm->policy.max_quanta / 200000 + 1;
	struct request_queue *q = mailbox_queue(h->vm->requests.at, slot);
	struct reply *reply = mailbox_reply(h->vm->replies.at, slot);
	uint32_t done, now, n = under_way(q, reply, &done);

	for (uint64_t i = 0; n && i < steps && !vm_stopping(h->vm); i++) {
		wake_worker(reply);
		now = __atomic_load_n(&reply->seq, __ATOMIC_SEQ_CST);
		if (now - done >= n)
			return;
		if (spin_while_equal(&reply->seq, now, 20000) == now)
			futex_wait(&reply->seq, now, &step);
	}
}

void handoff_order(struct handoff *h, uint32_t device)
{
	uint32_t others = atomic_load(&h->vm->posters[device]) & ~(1u << h->slot);

	for (; others; others &= others - 1)
		wait_for_posts_of(h, (uint32_t)__builtin_ctz(others));
}

int handoff_poll(struct handoff *h, uint32_t wait_ns, struct reply *reply)
{
	const struct timespec timeout = {.tv_nsec = wait_ns};

	if (!look_at_answered(h))
		return -EPROTO;
	if (h->done != h->seq && wait_ns) {
		sleep_for_reply(h, h->done, &timeout);
		if (!look_at_answered(h))
			return -EPROTO;
	}
	if (h->done != h->seq)
		return completed_by_force(h) ? abandon(h) : -EAGAIN;
	return take_reply(h, reply);
}
