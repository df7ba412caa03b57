/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "emulator/worker.h"

#include <string.h>

#include "emulator/futex.h"

/* Waits until request->seq differs from `done`, and returns it. The protocol of `sleeping`: mailbox.h. */
static uint32_t wait_for_request(struct worker *w, uint32_t done)
{
	uint32_t seq = spin_while_equal(&w->request->seq, done, w->spin_ns);

	while (seq == done) {
		__atomic_store_n(&w->reply->sleeping, 1, __ATOMIC_SEQ_CST);
		seq = __atomic_load_n(&w->request->seq, __ATOMIC_SEQ_CST);
		if (seq == done)
			futex_wait(&w->request->seq, done, NULL);
		__atomic_store_n(&w->reply->sleeping, 0, __ATOMIC_RELAXED);
		seq = __atomic_load_n(&w->request->seq, __ATOMIC_ACQUIRE);
	}
	return seq;
}

/* Called under the device's lock: makes the reply visible. The wake-up comes after the unlock, or the
 * woken vCPU, which may share our CPU, would run the guest while we still hold the lock. */
static void publish(void *context, const struct reply *reply)
{
	struct worker *w = context;
	const size_t from = offsetof(struct reply, device);

	memcpy((uint8_t *)w->reply + from, (const uint8_t *)reply + from, sizeof(*reply) - from);
	__atomic_store_n(&w->reply->seq, reply->seq, __ATOMIC_SEQ_CST);
}

void worker_run(struct worker *w)
{
	const size_t what = offsetof(struct request, kind); /* before it: words that both sides watch */
	uint32_t done = __atomic_load_n(&w->reply->seq, __ATOMIC_ACQUIRE);

	for (;;) {
		struct request request;

		done = wait_for_request(w, done);
		memcpy((uint8_t *)&request + what, (const uint8_t *)w->request + what, sizeof(request) - what);
		request.seq = done;
		if (request.kind == REQUEST_QUIT)
			return;
		core_request(w->core, w->slot, &request, publish, w);
		if (__atomic_load_n(&w->request->sleeping, __ATOMIC_SEQ_CST))
			futex_wake(&w->reply->seq);
	}
}
