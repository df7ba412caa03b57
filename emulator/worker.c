/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "emulator/worker.h"

#include <string.h>

#include "emulator/futex.h"
#include "emulator/instruction.h"

/* Waits until there is request seq. The protocol of `sleeping`: mailbox.h. */
static void wait_for_request(struct worker *w, uint32_t seq)
{
	const uint32_t *word = &queue_at(w->queue, seq)->seq;
	const uint32_t before = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	if (before == seq || spin_while_equal(word, before, w->spin_ns) == seq)
		return;
	while (!queue_has(w->queue, seq)) {
		__atomic_store_n(&w->reply->sleeping, 1, __ATOMIC_SEQ_CST);
		if (!queue_has(w->queue, seq))
			futex_wait(&w->reply->sleeping, 1, NULL);
		__atomic_store_n(&w->reply->sleeping, 0, __ATOMIC_RELAXED);
	}
}

/* Called under the device's lock: makes the reply visible. The wake-up comes after the unlock, or the
 * woken vCPU, which may share our CPU, would run the guest while we still hold the lock. */
static void publish(void *context, const struct reply *reply)
{
	struct worker *w = context;
	const size_t from = offsetof(struct reply, device), head = offsetof(struct reply, console_head);

	/* The line that nobody watches first. */
	if (w->answer_bytes > REPLY_SHORT)
		memcpy(w->reply->data + REPLY_SHORT, reply->data + REPLY_SHORT, MAILBOX_DATA - REPLY_SHORT);

	/* A reply that says nothing of the console leaves there what has been said before, by a predecessor
	 * too: dvmm may not have seen it yet. */
	memcpy((uint8_t *)w->reply + from, (const uint8_t *)reply + from, head - from);
	if (reply->console_head)
		__atomic_store_n(&w->reply->console_head, reply->console_head, __ATOMIC_RELAXED);
	memcpy(w->reply->data, reply->data, REPLY_SHORT);
	__atomic_store_n(&w->reply->seq, reply->seq, __ATOMIC_SEQ_CST);
}

static void wake_client(struct worker *w)
{
	if (__atomic_load_n(&w->queue->sleeping, __ATOMIC_SEQ_CST))
		futex_wake(&w->reply->seq);
}

void worker_publish(struct worker *w, const struct reply *reply)
{
	w->answer_bytes = MAILBOX_DATA; /* whatever it was */
	publish(w, reply);
	wake_client(w);
}

/* Called under the device's lock, right before the commit: is it still ours to decide? */
static bool claim(void *context, uint32_t seq)
{
	struct worker *w = context;
	uint32_t open = CLAIM(seq, CLAIM_OPEN);

	return __atomic_compare_exchange_n(w->claim, &open, CLAIM(seq, CLAIM_COMMITTED), false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* Opens the claim on a request, unless dvmm has completed it by force already. */
static bool open_claim(struct worker *w, uint32_t seq)
{
	uint32_t before = __atomic_load_n(w->claim, __ATOMIC_SEQ_CST);

	return before != CLAIM(seq, CLAIM_CANCELLED) &&
	       __atomic_compare_exchange_n(w->claim, &before, CLAIM(seq, CLAIM_OPEN), false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* Our predecessor has committed this run of instructions, and has not lived to tell. (For devices that is the
 * region's business: core_recover().) */
static bool left_behind(const struct worker *w, const struct request *request)
{
	return request->kind == REQUEST_X86 && w->instruction &&
	       __atomic_load_n(w->claim, __ATOMIC_SEQ_CST) == CLAIM(request->seq, CLAIM_COMMITTED);
}

static void serve(struct worker *w, uint32_t seq)
{
	const struct core_client client = {
		.slot = w->slot, .context = w, .claim = claim, .publish = publish, .instruction = w->instruction};
	struct request request = *queue_at(w->queue, seq);

	request.seq = seq;
	w->answer_bytes = request_answer_bytes(&request);
	if (left_behind(w, &request)) {
		instruction_finish(w->core, &client, seq);
		return;
	}
	/* Cancelled: dvmm has no use for a reply, but waits for the acknowledgement before it asks again. */
	if (__atomic_load_n(&w->queue->cancelled, __ATOMIC_ACQUIRE) == seq || !open_claim(w, seq) ||
	    !core_request(w->core, &client, &request))
		__atomic_store_n(&w->reply->seq, seq, __ATOMIC_SEQ_CST);
}

void worker_run(struct worker *w)
{
	uint32_t next = __atomic_load_n(&w->reply->seq, __ATOMIC_ACQUIRE) + 1;

	for (;;) {
		wait_for_request(w, next);
		/* Who waits does so for the last one. */
		for (; queue_has(w->queue, next); next++) {
			if (queue_at(w->queue, next)->kind == REQUEST_QUIT)
				return;
			serve(w, next);
		}
		wake_client(w);
	}
}
