/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/typing.h"

#include <errno.h>
#include <string.h>

#define INPUT_WAIT_NS  1000000u /* how long the main thread waits before it looks around again */
#define INPUT_REQUESTS 16       /* one after another before it looks around */

_Static_assert(CONSOLE_INPUT_BYTES <= MAILBOX_DATA, "all that is typed fits a request");

void typing_init(struct typing *t, struct vm *vm)
{
	memset(t, 0, sizeof(*t));
	handoff_init(&t->handoff, vm, vm->machine.vcpus);
}

static void send_input(struct typing *t)
{
	struct request *req = handoff_request(&t->handoff);

	req->kind = REQUEST_INPUT;
	req->count = t->input.count;
	memcpy(req->data, t->input.byte, t->input.count);
	handoff_send(&t->handoff);
	t->sent = true;
}

void typing_go_on(struct typing *t, struct vm *vm)
{
	struct reply reply;
	int err;

	for (int i = 0; i < INPUT_REQUESTS; i++) {
		if (!t->sent) {
			/* Room that was announced while a request was under way may concern its refusal, so
			 * it is only taken note of here, when the next one can be sent. */
			if (t->refused && atomic_exchange(&vm->console_room, false))
				t->refused = false;
			if (t->refused || !t->input.count || handoff_busy(&t->handoff))
				return;
			send_input(t);
		}
		err = handoff_poll(&t->handoff, INPUT_WAIT_NS, &reply);
		if (err == -ETIME) /* completed by force: nothing was taken */
			reply.count = 0;
		else if (err)
			return;
		t->sent = false;
		t->refused = reply.count == 0 && err == 0;
		console_input_taken(&t->input, reply.count);
	}
}

int typing_timeout_ms(struct typing *t, struct vm *vm)
{
	if (t->sent || handoff_busy(&t->handoff))
		return 1;
	return t->input.count && (!t->refused || atomic_load(&vm->console_room)) ? 0 : -1;
}
