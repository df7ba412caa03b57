/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Work of which nothing may get lost or happen twice while the emulator is killed over and over. Each round
 * writes four sectors under one doorbell, reads them back, counts on the chaos device and prints a line; it
 * waits for interrupts, so one that is lost ends the progress. A byte on COM1, after the first round, ends
 * it. Sector n of the disk then holds the last number out of n, n + sectors, n + 2 * sectors ... that was
 * written, in decimal, zero-padded to 511 digits, and a newline.
 */
#include "chaos.h"
#include "irq.h"
#include "virtio.h"

#define SECTOR  512u
#define BATCH   4u
#define DIGITS  8u
#define MCR_RTS 0x02 /* "request to send": the other end may */

enum { T_IN = 0, T_OUT = 1 };

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

static uint8_t written[BATCH][SECTOR] __attribute__((aligned(SECTOR)));
static uint8_t read_back[BATCH][SECTOR] __attribute__((aligned(SECTOR)));

static void set_number(uint8_t *sector, uint64_t n)
{
	for (uint8_t *digit = sector + SECTOR - 2; digit > sector + SECTOR - 2 - DIGITS; digit--, n /= 10)
		*digit = (uint8_t)('0' + n % 10);
}

static void wait_for_interrupt(struct virtio *d)
{
	while (virtqueue.used.idx == d->seen)
		interrupt_wait();
	virtio_write(d, VIRTIO_INTERRUPT_ACK, virtio_read(d, VIRTIO_INTERRUPT_STATUS));
}

/* Four requests of one sector each; every head must come back exactly once. */
static void transfer(struct virtio *d, uint32_t type, uint64_t first, uint8_t (*data)[SECTOR])
{
	static struct header header[BATCH];
	static volatile uint8_t status[BATCH];
	uint16_t head[BATCH];
	unsigned taken = 0;

	d->free = 0; /* nothing is in flight: all four fit */
	for (unsigned i = 0; i < BATCH; i++) {
		struct piece pieces[] = {
			{&header[i], sizeof(header[i]), false},
			{data[i], SECTOR, type == T_IN},
			{(void *)&status[i], 1, true},
		};

		header[i] = (struct header){type, 0, first + i};
		status[i] = 0xff;
		head[i] = virtio_queue(d, pieces, 3, false);
	}
	virtio_ring(d);
	for (unsigned done = 0, i; done < BATCH; done++) {
		uint16_t which;

		wait_for_interrupt(d);
		virtio_take(d, &which);
		for (i = 0; i < BATCH && head[i] != which;)
			i++;
		check(i < BATCH && !(taken & 1u << i));
		taken |= 1u << i;
		check_eq(status[i], 0);
	}
}

/* REPE CMPSQ: one emulated instruction for eight bytes. */
static bool same_words(const void *a, const void *b, size_t words)
{
	bool equal;

	__asm__ volatile("repe cmpsq" : "=@ccz"(equal), "+S"(a), "+D"(b), "+c"(words)::"memory");
	return equal;
}

static void round_trip(struct virtio *d, uint64_t n, uint64_t sectors)
{
	for (unsigned i = 0; i < BATCH; i++)
		set_number(written[i], n * BATCH + i);
	transfer(d, T_OUT, n * BATCH % sectors, written);
	memset(read_back, 0, DIGITS);
	transfer(d, T_IN, n * BATCH % sectors, read_back);
	check(same_words(read_back, written, sizeof(written) / 8));
}

unsigned guest_main(void)
{
	uint64_t sectors, n = 0;
	struct virtio d;

	outb(COM1_MCR, MCR_RTS);
	interrupts_init();
	for (unsigned gsi = 5; gsi < IOAPIC_PINS; gsi++)
		ioapic_enable(gsi);
	check(virtio_find(&d, VIRTIO_ID_BLOCK, 0));
	virtio_start(&d, 0, true);
	sectors = virtio_read(&d, VIRTIO_CONFIG);
	check_eq(sectors % BATCH, 0);
	memset(written, '0', sizeof(written));
	for (unsigned i = 0; i < BATCH; i++)
		written[i][SECTOR - 1] = '\n';
	do {
		round_trip(&d, n, sectors);
		chaos_command(CHAOS_COUNT, 0);
		puts("round ");
		putdec(++n);
		puts(" the quick brown fox\n");
	} while (!(inb(COM1_LSR) & LSR_DATA));
	check_eq(inl(CHAOS_COUNTER), n);
	puts("end of storm\n");
	return 0;
}
