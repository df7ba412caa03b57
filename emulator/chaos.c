/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. To the core this is a device like any other; it breaks the rules of devices/device.h
 * on purpose, one by one. It keeps pointers in static variables to reach what no model may touch, and makes
 * system calls.
 *
 * What it remembers is in two places. The state says what has happened: it goes back to what was committed
 * when the emulator dies. The bulk area says what was tried: it is written at once and survives.
 */
#include "emulator/chaos.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "emulator/futex.h"

struct chaos_state {
	uint32_t committed;
	uint32_t unused;
};

struct chaos_bulk {
	uint32_t begun;    /* commands, ever */
	uint32_t sequence; /* state.committed when the command below was begun: tells whether it is the same
			      one */
	uint32_t deaths;   /* of that command, by CHAOS_CRASH_FIRST */
	uint32_t unused;
};

static const struct core *core;
static uint8_t *replies;

void chaos_attach(const struct core *with_core, void *with_replies)
{
	core = with_core;
	replies = with_replies;
}

/* The compiler must not know that this is NULL: it would be free to leave out everything that leads here. */
static void crash(void)
{
	static uint32_t *volatile nowhere;

	*nowhere = 1;
}

static void spin_ms(uint32_t ms)
{
	const uint64_t end = monotonic_ns() + ms * 1000000ull;

	while (monotonic_ns() < end)
		__builtin_ia32_pause();
}

static void spin_for_ever(void)
{
	for (;;)
		__builtin_ia32_pause();
}

static void sleep_for_ever(void)
{
	static uint32_t nobody_wakes;

	for (;;)
		futex_wait(&nobody_wakes, 0, NULL);
}

/* The filters allow no call that gets memory, so what is left to take is the stack, down to its guard. */
static void exhaust_memory(void)
{
	volatile uint8_t *stack = __builtin_frame_address(0);

	for (;;)
		*(stack -= 512) = 1;
}

static uint32_t chance(uint64_t *seed) /* xorshift64: the same seed, the same damage */
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (uint32_t)(*seed >> 16);
}

static uint64_t seed_of(uint32_t arg)
{
	uint64_t seed = arg + 0x9e3779b97f4a7c15ull; /* never 0 */

	for (int i = 0; i < 8; i++)
		chance(&seed);
	return seed;
}

static void scribble(void *at, size_t bytes, uint64_t *seed)
{
	volatile uint32_t *word = at;

	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		word[i] = chance(seed);
}

/* Every slot's reply. With `forge`, what is written is as often 0, which is valid nearly everywhere, as it is
 * random, and comes under the number that dvmm waits for (or will wait for next). */
static void scribble_replies(uint32_t arg, bool forge)
{
	const size_t fields = offsetof(struct reply, device);
	uint64_t seed = seed_of(arg);

	for (uint32_t slot = 0; slot <= core->machine->vcpus; slot++) {
		struct reply *r = mailbox_reply(replies, slot);
		uint32_t awaited = r->seq + 1;

		if (forge) {
			for (size_t at = fields; at < sizeof(*r); at += sizeof(uint32_t))
				*(volatile uint32_t *)((uint8_t *)r + at) =
					chance(&seed) & 1 ? chance(&seed) : 0;
			__atomic_store_n(&r->seq, awaited, __ATOMIC_SEQ_CST);
		} else {
			scribble(r, sizeof(*r), &seed);
			scribble(mailbox_claim(replies, slot), sizeof(uint32_t), &seed);
		}
		futex_wake(&r->seq);
	}
}

/* Which copy an operation on a device works on. */
static uint32_t spare_of(uint32_t device)
{
	return region_current(&core->layout, core->region, device) ^ 1;
}

/* The device whose spare state this is. (Some other, when another vCPU has just scribbled over the region.)
 */
static uint32_t own_device(const struct chaos_state *s)
{
	uint32_t i = 0;

	while (i + 1 < core->machine->devices &&
	       region_state_of(&core->layout, core->region, i, spare_of(i)) != s)
		i++;
	return i;
}

static void flood(uint32_t device, uint32_t times)
{
	const int fd = core->machine->device[device].irq_fd;
	const uint64_t one = 1;

	while (fd >= 0 && times--)
		if (write(fd, &one, sizeof(one)) < 0)
			return;
}

/* Spares the record of this very operation, so that it ends well and all others find the damage. */
static void scribble_region(uint32_t device, uint32_t arg)
{
	struct region_copy *record = region_copy_of(&core->layout, core->region, device, spare_of(device));
	const struct region_copy saved = *record;
	uint64_t seed = seed_of(arg);

	scribble(core->region, core->layout.size, &seed);
	*record = saved;
}

/* As the worker and the core would claim and commit: the journal is complete but for fields that stay 0 for
 * us. */
static void commit_and_crash(struct chaos_state *s, uint32_t device)
{
	const uint32_t spare = spare_of(device);
	const struct journal *j = &region_copy_of(&core->layout, core->region, device, spare)->journal;

	s->committed++;
	__atomic_store_n(mailbox_claim(replies, j->slot), CLAIM(j->seq, CLAIM_COMMITTED),
			 __ATOMIC_SEQ_CST);
	region_commit(&core->layout, core->region, device, spare);
	crash();
}

/* The first device that the I/O thread serves is never given back; its doorbell has the thread find out. */
static void hang_io(void)
{
	const uint64_t one = 1;
	uint32_t i = 0;

	while (i < core->machine->devices && core->machine->device[i].queue_fd < 0)
		i++;
	if (i == core->machine->devices || pthread_mutex_lock((pthread_mutex_t *)&core->lock[i]) ||
	    write(core->machine->device[i].queue_fd, &one, sizeof(one)) < 0)
		return;
}

static void perform_attached(struct chaos_state *s, uint32_t action, uint32_t arg)
{
	const uint32_t device = own_device(s);

	switch (action) {
	case CHAOS_CRASH_COMMITTED:
		commit_and_crash(s, device);
		break;
	case CHAOS_SCRIBBLE_REGION:
		scribble_region(device, arg);
		break;
	case CHAOS_SCRIBBLE_REPLY:
	case CHAOS_FORGE_REPLY:
		scribble_replies(arg, action == CHAOS_FORGE_REPLY);
		sleep_for_ever();
		break;
	case CHAOS_INTERRUPTS:
		flood(device, arg);
		break;
	case CHAOS_HANG_IO:
		hang_io();
		break;
	}
}

static void perform(struct chaos_state *s, struct chaos_bulk *b, uint32_t action, uint32_t arg)
{
	switch (action) {
	case CHAOS_SPIN_MS:
		spin_ms(arg);
		break;
	case CHAOS_SPIN:
		spin_for_ever();
		break;
	case CHAOS_SLEEP:
		sleep_for_ever();
		break;
	case CHAOS_CRASH:
		crash();
		break;
	case CHAOS_TRAP:
		__builtin_trap();
		break;
	case CHAOS_EXIT:
		_exit((int)arg);
		break;
	case CHAOS_CRASH_SPARE:
		s->committed = 0xdeadbeef;
		crash();
		break;
	case CHAOS_CRASH_FIRST:
		if (b->deaths++ < arg)
			crash();
		break;
	case CHAOS_EXHAUST:
		exhaust_memory();
		break;
	case CHAOS_SYSCALL:
		syscall(arg, 0, 0, 0, 0, 0, 0);
		break;
	default:
		if (core)
			perform_attached(s, action, arg);
	}
}

static void command(struct chaos_state *s, struct chaos_bulk *b, uint32_t value)
{
	b->begun++;
	if (b->sequence != s->committed) {
		b->sequence = s->committed;
		b->deaths = 0;
	}
	/* Stores to shared memory, and what follows may never return. */
	__asm__ volatile("" ::: "memory");
	perform(s, b, value & 0xff, value >> 8);
	s->committed++;
}

static void chaos_access(struct operation *op, struct access *a)
{
	struct chaos_state *s = op->state;
	struct chaos_bulk *b = op->bulk;

	if (a->size != 4 || (a->offset != CHAOS_COMMAND && a->offset != CHAOS_COUNTER))
		return;
	if (!a->write)
		a->value = a->offset == CHAOS_COMMAND ? b->begun : s->committed;
	else if (a->offset == CHAOS_COUNTER)
		s->committed = (uint32_t)a->value;
	else
		command(s, b, (uint32_t)a->value);
}

const struct device_ops chaos_ops = {
	.name = "chaos",
	.state_size = sizeof(struct chaos_state),
	.bulk_size = sizeof(struct chaos_bulk),
	.max_access = 4,
	.access = chaos_access,
};

_Static_assert(sizeof(struct chaos_state) == 8, "layout of the chaos device's state");
