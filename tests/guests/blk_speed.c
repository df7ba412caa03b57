/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast virtio-blk is: random reads of 4 KiB from the first disk, first one at a time, then with 32 in
 * flight, by a driver that polls. Descriptors are made once, in indirect tables (virtio 1.2, 2.7.5.3),
 * because the benchmark is of the device: where KVM emulates ring 0 every instruction of the driver's costs
 * as much as a thousand elsewhere.
 *
 * Speaks as latency.c does (tests/bench/latency.c is the reader), with four kinds of samples: by depth, the
 * time from the request's being made available to its being taken, then that from one completion to the next.
 */
#include "virtio.h"

#define BLOCK   4096u
#define SECTORS (BLOCK / 512u)
#define DEPTH   32u
#define SAMPLES 2000u
#define WARM_UP 64u
#define FIFO    16u
#define KINDS   4u
#define T_IN    0u
#define S_OK    0u

struct slot {
	struct {
		uint32_t type;
		uint32_t reserved;
		uint64_t sector;
	} header;
	uint64_t begun;
	volatile uint8_t status;
	struct descriptor table[3];
};

_Static_assert(DEPTH <= QUEUE_SIZE, "a descriptor for each request in flight");

static struct slot slot[DEPTH] __attribute__((aligned(16)));
static uint8_t data[DEPTH][BLOCK] __attribute__((aligned(4096)));
static uint32_t latency[SAMPLES], interval[SAMPLES];
static uint32_t blocks; /* on the disk, a power of two at most */
static uint32_t chance = 1;

/* Numerical Recipes' quick generator: two instructions. The high bits are the random ones. */
static uint64_t random_sector(void)
{
	chance = chance * 1664525u + 1013904223u;
	return (uint64_t)((chance >> 8) & (blocks - 1)) * SECTORS;
}

static void slots_init(void)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		struct slot *s = &slot[i];

		s->header.type = T_IN;
		s->table[0] = (struct descriptor){(uint64_t)&s->header, sizeof(s->header), DESC_NEXT, 1};
		s->table[1] = (struct descriptor){(uint64_t)data[i], BLOCK, DESC_NEXT | DESC_WRITE, 2};
		s->table[2] = (struct descriptor){(uint64_t)&s->status, 1, DESC_WRITE, 0};
		virtqueue.desc[i].gpa = (uint64_t)s->table;
		virtqueue.desc[i].len = sizeof(s->table);
		virtqueue.desc[i].flags = DESC_INDIRECT;
	}
}

static void submit(struct virtio *d, unsigned i)
{
	slot[i].header.sector = random_sector();
	slot[i].begun = rdtsc();
	virtqueue.avail.ring[d->available++ % QUEUE_SIZE] = (uint16_t)i;
	barrier();
	virtqueue.avail.idx = d->available;
	virtio_ring(d);
}

/* Takes the next completion; its slot. */
static unsigned take(struct virtio *d)
{
	unsigned i;

	while (virtqueue.used.idx == d->seen)
		barrier();
	i = virtqueue.used.ring[d->seen++ % QUEUE_SIZE].id;
	check(i < DEPTH && slot[i].status == S_OK);
	return i;
}

static void measure(struct virtio *d, unsigned depth, unsigned samples)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < depth; i++)
		submit(d, i);
	for (unsigned n = 0; n < WARM_UP + samples; n++) {
		unsigned i = take(d), at = n < WARM_UP ? 0 : n - WARM_UP;
		uint64_t now = rdtsc();

		latency[at] = (uint32_t)(now - slot[i].begun);
		interval[at] = (uint32_t)(now - last);
		last = now;
		submit(d, i);
	}
	for (unsigned i = 0; i < depth; i++)
		take(d);
}

/* A FIFO full at a time. */
static void send(const void *from, size_t len)
{
	for (size_t count; len; len -= count) {
		size_t todo = count = len < FIFO ? len : FIFO;

		while (!(inb(COM1_LSR) & LSR_THRE))
			;
		__asm__ volatile("rep outsb" : "+S"(from), "+c"(todo) : "d"(COM1_THR) : "memory");
	}
}

unsigned guest_main(void)
{
	unsigned samples = (unsigned)option("samples", SAMPLES);
	uint64_t begin, cycles;
	struct virtio d;

	check(samples > 0 && samples <= SAMPLES);
	check(virtio_find(&d, VIRTIO_ID_BLOCK, 0));
	virtio_start(&d, FEATURE_INDIRECT, false);
	for (blocks = 1; blocks * 2 <= virtio_read(&d, VIRTIO_CONFIG) / SECTORS;)
		blocks *= 2;
	slots_init();
	outb(COM1_FCR, 0x01); /* FIFOs on */
	puts("latency ");
	putdec(KINDS);
	putchar(' ');
	putdec(samples);
	puts("\n");
	begin = rdtsc();
	for (unsigned depth = 1; depth <= DEPTH; depth += DEPTH - 1) {
		measure(&d, depth, samples);
		send(latency, samples * sizeof(latency[0]));
		send(interval, samples * sizeof(interval[0]));
	}
	cycles = rdtsc() - begin;
	send(&cycles, sizeof(cycles));
	return 0;
}
