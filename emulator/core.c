/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Whatever happens to a device - a register access, a doorbell, the end of an I/O
 * request, a key typed - is one *operation*, and every operation takes the same way:
 *
 *     lock the device
 *     begin      the spare copy becomes equal to the committed one
 *     model      works on the spare; effects go to the spare's outbox, the reply to its journal
 *     commit     one store makes all of it true
 *     registers  those that dvmm reads without asking are published: who hears of the operation by an effect, or by
 *                the reply, and then looks, finds what it has done
 *     effects    interrupt, used index, I/O to start: all idempotent
 *     publish    the reply becomes visible to dvmm
 *     unlock
 *
 * Reply and effects come before the next operation on the same device begins, so at most one operation per
 * device is ever committed but not finished, and the region alone says which and what remains to be done for
 * it.
 */
#include "emulator/core.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "devices/virtqueue.h"
#include "emulator/bus.h"
#include "emulator/instruction.h"

static uint64_t wall_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int core_init(struct core *core, const struct machine *m, void *region, const struct guest_memory *memory)
{
	int err;

	memset(core, 0, sizeof(*core));
	core->request = core_request;
	core->machine = m;
	core->region = region;
	core->memory = *memory;
	core->now_ns = wall_clock_ns;
	err = region_layout(m, &core->layout);
	if (err)
		return err;
	for (uint32_t i = 0; i < MACHINE_MAX_DEVICES; i++)
		pthread_mutex_init(&core->lock[i], NULL);
	pthread_mutex_init(&core->x86_lock, NULL);
	return 0;
}

/* An operation under way: the device is locked, the spare copy is ours. */
struct transaction {
	uint32_t device;
	uint32_t spare;
	struct region_copy *copy;
	struct operation op;
};

static void transaction_begin(struct core *core, struct transaction *t, uint32_t device)
{
	pthread_mutex_lock(&core->lock[device]);
	t->device = device;
	t->spare = region_begin(&core->layout, core->region, device);
	t->copy = region_copy_of(&core->layout, core->region, device, t->spare);
	t->op = (struct operation){
		.state = region_state_of(&core->layout, core->region, device, t->spare),
		.bulk = region_bulk_of(&core->layout, core->region, device),
		.out = &t->copy->outbox,
		.mem = &core->memory,
		.now_ns = core->now_ns,
	};
}

/* The effects that concern the world outside of dvmm. Idempotent. */
static void perform_effects(struct core *core, uint32_t device, const struct outbox *out)
{
	bool interrupt = out->irq != 0;
	const uint64_t one = 1;

	if (out->used_gpa)
		interrupt |= virtqueue_publish(out, &core->memory);
	if (out->io_start && core->start_io)
		core->start_io(core->io_context, device, out->io_start);
	if (interrupt && core->machine->device[device].irq_fd >= 0) {
		/* An eventfd only fails to count when it is full, and then the line is being pulsed anyway.
		 */
		if (write(core->machine->device[device].irq_fd, &one, sizeof(one)) < 0)
			return;
	}
}

/* A word is stored only if it is another one: those who read it all the time keep it in their caches. */
static void publish_registers(struct core *core, uint32_t device, const void *state)
{
	const struct device_ops *ops = device_ops_of(core->machine->device[device].type);
	uint64_t *word = core->published ? core->published[device].word : NULL;

	for (uint32_t n = 0; word && n < ops->register_count; n++) {
		uint32_t value = 0;
		uint64_t now = ops->publish(state, n, &value) ? PUBLISHED_VALID | value : 0;

		if (__atomic_load_n(&word[n], __ATOMIC_RELAXED) != now)
			__atomic_store_n(&word[n], now, __ATOMIC_RELEASE);
	}
}

/* Commits and does the effects; the device stays locked until transaction_end(). */
static void transaction_commit(struct core *core, struct transaction *t)
{
	struct reply *reply = &t->copy->journal.reply;

	reply->event = t->copy->outbox.event;
	reply->exit_code = t->copy->outbox.exit_code;
	reply->console_head = t->copy->outbox.console_head;
	reply->flags = t->copy->outbox.console_room ? REPLY_CONSOLE_ROOM : 0;
	region_commit(&core->layout, core->region, t->device, t->spare);
	publish_registers(core, t->device, t->op.state);
	perform_effects(core, t->device, &t->copy->outbox);
}

static void transaction_end(struct core *core, struct transaction *t)
{
	pthread_mutex_unlock(&core->lock[t->device]);
}

/* A request is well-formed if its data fit the mailbox; dvmm never sends another, but it costs nothing to
 * look. */
static bool request_valid(const struct request *req)
{
	if (req->kind == REQUEST_INPUT)
		return req->count <= MAILBOX_DATA;
	return (req->kind == REQUEST_READ || req->kind == REQUEST_WRITE) &&
	       (req->size == 1 || req->size == 2 || req->size == 4 || req->size == 8) &&
	       req->count <= MAILBOX_DATA / req->size;
}

static uint32_t request_device(const struct core *core, const struct request *req)
{
	if (req->kind == REQUEST_INPUT) {
		for (uint32_t i = 0; i < core->machine->devices; i++)
			if (device_ops_of(core->machine->device[i].type)->input)
				return i;
		return REPLY_NO_DEVICE;
	}
	return bus_find(core->machine, req->space, req->addr);
}

static void run_model(struct core *core, struct transaction *t, const struct request *req,
		      struct reply *reply)
{
	const struct machine_device *dev = &core->machine->device[t->device];

	if (req->kind == REQUEST_INPUT) {
		reply->count = device_ops_of(dev->type)->input(&t->op, req->data, req->count);
		return;
	}
	for (uint32_t i = 0; i < req->count; i++) {
		size_t at = (size_t)i * req->size;

		if (req->kind == REQUEST_WRITE)
			bus_write(dev, &t->op, req->addr, req->size, req->data + at);
		else
			bus_read(dev, &t->op, req->addr, req->size, reply->data + at);
	}
}

/* Nobody claims the address, or the request makes no sense. */
static void answer_nobody(const struct core_client *client, const struct request *req)
{
	struct reply nobody = {.device = REPLY_NO_DEVICE, .seq = req->seq};

	memset(nobody.data, 0xff, sizeof(nobody.data));
	client->publish(client->context, &nobody);
}

bool core_request(struct core *core, const struct core_client *client, const struct request *req)
{
	uint32_t device = request_valid(req) ? request_device(core, req) : REPLY_NO_DEVICE;
	struct transaction t;
	bool ours;

	if (req->kind == REQUEST_X86 && client->instruction)
		return instruction_request(core, client, req);
	if (device == REPLY_NO_DEVICE) {
		answer_nobody(client, req);
		return true;
	}
	transaction_begin(core, &t, device);
	t.copy->journal.slot = client->slot;
	t.copy->journal.seq = req->seq;
	t.copy->journal.reply.seq = req->seq;
	t.copy->journal.reply.device = device;
	run_model(core, &t, req, &t.copy->journal.reply);
	ours = !client->claim || client->claim(client->context, req->seq);
	if (ours) {
		transaction_commit(core, &t);
		client->publish(client->context, &t.copy->journal.reply);
	}
	transaction_end(core, &t);
	return ours;
}

void core_publish(struct core *core)
{
	for (uint32_t i = 0; i < core->machine->devices; i++) {
		pthread_mutex_lock(&core->lock[i]);
		publish_registers(core, i,
				  region_state_of(&core->layout, core->region, i,
						  region_current(&core->layout, core->region, i)));
		pthread_mutex_unlock(&core->lock[i]);
	}
}

void core_notify(struct core *core, uint32_t device)
{
	const struct device_ops *ops = device_ops_of(core->machine->device[device].type);
	struct transaction t;

	if (!ops->notify)
		return;
	transaction_begin(core, &t, device);
	ops->notify(&t.op, 0);
	transaction_commit(core, &t);
	transaction_end(core, &t);
}

void core_complete(struct core *core, uint32_t device, unsigned slot, int32_t result)
{
	const struct device_ops *ops = device_ops_of(core->machine->device[device].type);
	struct transaction t;

	if (!ops->complete)
		return;
	transaction_begin(core, &t, device);
	ops->complete(&t.op, slot, result);
	transaction_commit(core, &t);
	transaction_end(core, &t);
}

static void recover_device(struct core *core, uint32_t device,
			   bool (*unanswered)(void *context, uint32_t slot, uint32_t seq),
			   void (*publish)(void *context, uint32_t slot, const struct reply *), void *context)
{
	const struct device_ops *ops = device_ops_of(core->machine->device[device].type);
	uint32_t current = region_current(&core->layout, core->region, device);
	struct region_copy *copy = region_copy_of(&core->layout, core->region, device, current);
	const void *state = region_state_of(&core->layout, core->region, device, current);

	publish_registers(core, device, state);
	perform_effects(core, device, &copy->outbox);
	if (ops->io_pending && core->start_io)
		core->start_io(core->io_context, device, ops->io_pending(state));
	/* Last: who gets the reply may ask again at once. */
	if (copy->journal.slot <= core->machine->vcpus && copy->journal.reply.seq == copy->journal.seq &&
	    unanswered(context, copy->journal.slot, copy->journal.seq))
		publish(context, copy->journal.slot, &copy->journal.reply);
}

void core_recover(struct core *core, bool (*unanswered)(void *context, uint32_t slot, uint32_t seq),
		  void (*publish)(void *context, uint32_t slot, const struct reply *), void *context)
{
	for (uint32_t i = 0; i < core->machine->devices; i++)
		recover_device(core, i, unanswered, publish, context);
	/* A doorbell that our predecessor had heard, but not yet obeyed, is heard by nobody else. */
	for (uint32_t i = 0; i < core->machine->devices; i++)
		core_notify(core, i);
}
