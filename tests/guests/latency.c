/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long one access to a device register takes, seen by the guest: the difference of two RDTSC around it.
 * First the difference with nothing in between, then a port read and write (the UART's scratch register) and
 * a memory read and write (QueueSel of the first virtio device, or its magic number). Sends a line "latency
 * KINDS SAMPLES\n", then the samples, kind by kind, as 32-bit little-endian TSC cycles, and at last, in 64
 * bits, the cycles since that line, by which the host can tell whether the guest's TSC keeps time.
 * With the word `registers` those of real devices follow, in the order that tests/bench/latency.c has names
 * for; each access leaves its device as it was. tests/bench/latency.c is the reader. It skips what the one
 * that is a write of the UART's data register prints: WARM_UP + SAMPLES characters before that kind's
 * samples.
 */
#include "virtio.h"

#define SAMPLES 2000u /* unless the command line asks for fewer: samples=N */
#define WARM_UP 200u
#define FIFO    16u

#define KINDS     5u
#define ALL_KINDS 18u

#define RTC_INDEX     0x70
#define RTC_DATA      0x71
#define I8042_COMMAND 0x64
#define I8042_DISABLE 0xad /* the keyboard, which is not there */
#define PIC_MASK      0x21

static uint32_t sample[SAMPLES];
static unsigned samples;

/* Each measured access is one instruction, in a loop of its own so that nothing is decided between the two
 * RDTSC. */
#define MEASURE(access) MEASURE_AFTER(barrier(), access)
#define MEASURE_AFTER(before, access)                                                                        \
	do {                                                                                                 \
		for (unsigned i = 0; i < WARM_UP + samples; i++) {                                           \
			uint64_t start = (before, rdtsc());                                                  \
			access;                                                                              \
			sample[i < WARM_UP ? 0 : i - WARM_UP] = (uint32_t)(rdtsc() - start);                 \
		}                                                                                            \
		send(sample, samples * sizeof(sample[0]));                                                   \
	} while (0)

static void transmitter_wait(void)
{
	while (!(inb(COM1_LSR) & LSR_THRE))
		;
}

/* A FIFO full at a time. */
static void send(const void *from, size_t len)
{
	for (size_t count; len; len -= count) {
		size_t todo = count = len < FIFO ? len : FIFO;

		transmitter_wait();
		__asm__ volatile("rep outsb" : "+S"(from), "+c"(todo) : "d"(COM1_THR) : "memory");
	}
}

static void measure_registers(uint64_t device)
{
	MEASURE(inb(COM1_LSR));
	MEASURE(outb(COM1_IER, 0));
	MEASURE_AFTER(transmitter_wait(), outb(COM1_THR, '.'));
	MEASURE(inb(RTC_DATA));
	MEASURE(outb(RTC_INDEX, 0x0d));
	MEASURE(inb(I8042_COMMAND));
	MEASURE(outb(I8042_COMMAND, I8042_DISABLE));
	MEASURE(inw(ACPI_PM1A_CONTROL));
	MEASURE(outw(ACPI_PM1A_CONTROL, 0));
	MEASURE(mmio_read32(device + VIRTIO_INTERRUPT_STATUS));
	MEASURE(mmio_write32(device + VIRTIO_INTERRUPT_ACK, 0));
	MEASURE(inb(OPEN_PORT));
	MEASURE(inb(PIC_MASK));
}

unsigned guest_main(void)
{
	uint64_t device = virtio_slot(0), begin, cycles;
	bool registers = option("registers", 0);

	samples = (unsigned)option("samples", SAMPLES);
	check(samples > 0 && samples <= SAMPLES);
	outb(COM1_FCR, 0x01); /* FIFOs on */
	puts("latency ");
	putdec(registers ? ALL_KINDS : KINDS);
	putchar(' ');
	putdec(samples);
	puts("\n");
	begin = rdtsc();
	MEASURE(barrier());
	MEASURE(inb(COM1_SCR));
	MEASURE(outb(COM1_SCR, 0x5a));
	MEASURE(mmio_read32(device + VIRTIO_MAGIC_VALUE));
	MEASURE(mmio_write32(device + VIRTIO_QUEUE_SEL, 0));
	if (registers)
		measure_registers(device);
	cycles = rdtsc() - begin;
	send(&cycles, sizeof(cycles));
	return 0;
}
