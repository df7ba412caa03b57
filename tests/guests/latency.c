/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long one access to a device register takes, seen by the guest: the difference of two RDTSC around it.
 * First the difference with nothing in between, then a port read and write (the UART's scratch register) and
 * a memory read and write (QueueSel of the first virtio device, or its magic number). Sends a line "latency
 * KINDS SAMPLES\n", then the samples, kind by kind, as 32-bit little-endian TSC cycles, and at last, in 64
 * bits, the cycles since that line, by which the host can tell whether the guest's TSC keeps time.
 * tests/bench/latency.c is the reader.
 */
#include "virtio.h"

#define SAMPLES 2000u /* unless the command line asks for fewer: samples=N */
#define WARM_UP 200u
#define FIFO    16u

static uint32_t sample[SAMPLES];
static unsigned samples;

/* Each measured access is one instruction, in a loop of its own so that nothing is decided between the two
 * RDTSC. */
#define MEASURE(access)                                                                                      \
	do {                                                                                                 \
		for (unsigned i = 0; i < WARM_UP + samples; i++) {                                           \
			uint64_t start = rdtsc();                                                            \
			access;                                                                              \
			sample[i < WARM_UP ? 0 : i - WARM_UP] = (uint32_t)(rdtsc() - start);                 \
		}                                                                                            \
		send(sample, samples * sizeof(sample[0]));                                                   \
	} while (0)

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
	uint64_t device = virtio_slot(0), begin, cycles;

	samples = (unsigned)option("samples", SAMPLES);
	check(samples > 0 && samples <= SAMPLES);
	outb(COM1_FCR, 0x01); /* FIFOs on */
	puts("latency 5 ");
	putdec(samples);
	puts("\n");
	begin = rdtsc();
	MEASURE(barrier());
	MEASURE(inb(COM1_SCR));
	MEASURE(outb(COM1_SCR, 0x5a));
	MEASURE(mmio_read32(device + VIRTIO_MAGIC_VALUE));
	MEASURE(mmio_write32(device + VIRTIO_QUEUE_SEL, 0));
	cycles = rdtsc() - begin;
	send(&cycles, sizeof(cycles));
	return 0;
}
