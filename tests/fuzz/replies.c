/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: dvmm's side of the mailbox against an emulator that has been taken over. It writes what it
 * likes into the replies, whenever it likes: also between two reads that dvmm makes of them (shared_reads.h).
 *
 * What dvmm accepts must be what it has checked; what it does not accept must end the machine in order; and
 * nothing waits for ever.
 */
#include <errno.h>

#include "emulator/futex.h"
#include "tests/fuzz/fuzz.h"
#define SHARED_READS_THEMSELVES
#include "tests/fuzz/shared_reads.h"
#include "vmm/handoff.h"

#define STEPS   48
#define RACES   8
#define DEVICES 9

static struct vm vm;
static struct handoff h;
static struct reply *hostile;

/* Writes of the emulator at a moment of its choice. */
static struct race {
	unsigned after; /* reads of the reply from now on */
	uint8_t at;     /* byte of the reply, a multiple of 4 */
	uint32_t value;
} races[RACES];
static unsigned race_count, reads;

/* A word of the reply; the claim stands for the one that means nothing. */
static void write_reply(uint8_t at, uint32_t value)
{
	const size_t word = at % (sizeof(*hostile) / 4);

	__atomic_store_n(word == offsetof(struct reply, unused) / 4 ? mailbox_claim(vm.replies.at, 0)
								     : (uint32_t *)hostile + word,
			 value, __ATOMIC_RELAXED);
}

void shared_read(const void *at, size_t bytes)
{
	if ((uintptr_t)at - (uintptr_t)hostile >= sizeof(*hostile))
		return;
	reads++;
	for (unsigned i = 0; i < race_count; i++)
		if (races[i].after == reads)
			write_reply(races[i].at, races[i].value);
}

/* Values near those that mean something. */
static uint32_t input_value(struct input *in)
{
	const uint8_t how = input_u8(in);

	switch (how >> 6) {
	case 0:
		return how & 63;
	case 1:
		return h.seq + (how & 63) - 32;
	case 2:
		return CLAIM(h.seq, how & 3);
	default:
		return input_u32(in);
	}
}

static void add_race(struct input *in)
{
	struct race *r = &races[race_count % RACES];

	r->after = reads + 1 + input_u8(in) % 32;
	r->at = input_u8(in);
	r->value = input_value(in);
	race_count += race_count < RACES;
}

static void fill_request(struct input *in)
{
	const uint8_t how = input_u8(in);
	struct request *req = handoff_request(&h);

	req->kind = how & 1 ? REQUEST_INPUT : how & 2 ? REQUEST_WRITE : REQUEST_READ;
	req->size = 1;
	req->count = (how >> 2) % (MAILBOX_DATA + 1);
	req->addr = 0x3f8;
}

/* What has just been accepted, or not. */
static void check_result(int result, const struct reply *reply)
{
	switch (result) {
	case 0:
		fuzz_require(reply->seq == h.seq && !handoff_check(handoff_sent(&h), reply, DEVICES));
		break;
	case -EPROTO:
		fuzz_require(vm_stopping(&vm));
		break;
	default:
		fuzz_require(result == -EAGAIN || result == -EINTR || result == -ETIME);
	}
	memset(&vm.stop, 0, sizeof(vm.stop));
}

static void call(struct input *in)
{
	struct reply reply;

	fill_request(in);
	/* Somebody asks for the end just now: so a reply that does not come is not waited for. */
	vm.stop.asked = 1;
	check_result(handoff_call(&h, &reply), &reply);
}

/* As many as may be; then, or sometimes before, they are waited for. */
static void post(struct input *in)
{
	struct reply reply;
	int err;

	vm.stop.asked = 1;
	fill_request(in);
	if (handoff_may_post(&h, false)) {
		err = handoff_post(&h, 0);
		fuzz_require(!err || err == -EINTR || (err == -EPROTO && vm_stopping(&vm)));
	}
	fuzz_require(h.posts < MAILBOX_RING);
	if (input_u8(in) & 1)
		check_result(handoff_flush(&h, &reply), &reply);
	memset(&vm.stop, 0, sizeof(vm.stop));
}

static void step(struct input *in)
{
	const uint8_t what = input_u8(in);
	struct reply reply;

	switch (what & 7) {
	case 0:
		if (!handoff_busy(&h)) {
			fill_request(in);
			handoff_send(&h);
		}
		break;
	case 1:
		check_result(handoff_poll(&h, 0, &reply), &reply);
		break;
	case 2:
		call(in);
		break;
	case 3:
		write_reply(what >> 3, input_value(in));
		break;
	case 4:
		input_copy(in, (uint8_t *)hostile + offsetof(struct reply, device), 1u + (what >> 3));
		break;
	case 5:
		add_race(in);
		break;
	case 6: /* an honest answer, as far as it goes */
		__atomic_store_n(&hostile->seq, h.seq, __ATOMIC_RELAXED);
		break;
	case 7: /* the watchdog has had enough, or something is posted */
		if (what & 16) {
			post(in);
			break;
		}
		atomic_store(&vm.watch[0].forcing_seq, what & 8 ? h.seq : h.seq - 1);
		atomic_store(&vm.watch[0].forced_seq, what & 8 ? h.seq : h.seq - 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	if (!hostile) {
		vm.machine.vcpus = 1;
		vm.machine.devices = DEVICES;
		vm.wake_fd = -1;
		vm.requests.at = aligned_alloc(MAILBOX_PAGE, mailbox_request_bytes(1));
		vm.replies.at = aligned_alloc(MAILBOX_PAGE, mailbox_reply_bytes(1));
		fuzz_require(vm.requests.at && vm.replies.at);
		hostile = mailbox_reply(vm.replies.at, 0);
	}
	memset(mailbox_queue(vm.requests.at, 0), 0, sizeof(struct request_queue));
	memset(hostile, 0, sizeof(*hostile));
	*mailbox_claim(vm.replies.at, 0) = 0;
	memset(vm.watch, 0, sizeof(vm.watch[0]));
	memset(&vm.stop, 0, sizeof(vm.stop));
	race_count = reads = 0;
	handoff_init(&h, &vm, 0);
	if (input_u8(&in) & 1) { /* close to where the numbers come again */
		h.seq = h.done = hostile->seq = UINT32_MAX - 2;
	}
	for (unsigned i = 0; i < STEPS && in.left; i++)
		step(&in);
	return 0;
}
