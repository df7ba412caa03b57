/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dvmm-fuzz-guest: random accesses to every device and random virtqueue requests, the same for the same
 * seed=.
 *
 * What it leaves in the devices must not depend on who emulates, nor on when an I/O thread gets to a
 * doorbell. So:
 *
 * - no clock is looked at: the RTC's data port stays alone (its index is fair game), and nothing is given up after
 *   some time; if a chain never comes back, whoever runs us gives up;
 * - a doorbell rings only when there are chains, all of them are made available at once, and the next step
 * waits until they are back or the device has asked for its reset;
 * - chains that are in flight together share no sector and no buffer, so those that break rules go alone;
 * - random numbers go where nothing else is read from;
 * - what would end the machine comes last; which way is the seed's choice.
 *
 * seed=N operations=N on the command line.
 */
#include "irq.h"
#include "virtio.h"

#define STATUS_NEEDS_RESET 0x40u
#define HEADERS            4u

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

static struct header header[HEADERS];
static uint8_t data[4096];
static uint8_t entropy[4096];
static volatile uint8_t status_byte[HEADERS];
static struct descriptor table[3];
static uint64_t state;

static uint32_t chance(void) /* xorshift64 */
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

/* Ports that do not end the machine, with the number of bits of the value that may be random. */
static const uint16_t ports[] = {
	COM1, COM1, COM1,  COM1 + 1, COM1 + 2, COM1 + 3, COM1 + 4, COM1 + 5, COM1 + 6, COM1 + 7,  0x70,
	0x60, 0x64, 0x600, 0x601,    0x602,    0x603,    0x604,    0xcf9,    0xf4,     OPEN_PORT, 0x3fe,
};

/* What is written there, so that the machine goes on: no reset (0xcf9 bit 2, 0x64 0xf0 to 0xff with bit 0
 * clear, 0xd1 and then 0x60 with bit 0 clear), no soft-off. */
static uint8_t harmless(uint16_t port, uint8_t value)
{
	switch (port) {
	case 0xcf9:
		return value & ~4u;
	case 0x60:
		return value | 1;
	case 0x64:
		return value >= 0xf0 ? value | 1 : value;
	default:
		return value;
	}
}

static void access_port(void)
{
	const uint16_t port = ports[chance() % (sizeof(ports) / sizeof(ports[0]))];
	const uint32_t what = chance();

	if (what & 1 && port != 0xf4)
		outb(port, harmless(port, (uint8_t)(what >> 8)));
	else if (what & 2 && port != 0x70)
		inw(port);
	else if (what & 4 && port != 0x70)
		inl(port);
	else
		inb(port);
}

/* Any register but the doorbell, and Status and QueueReady not to anything that could start the queue by
 * chance while its memory is not set up: that is what drive() does. */
static void access_virtio(uint64_t base)
{
	const uint32_t what = chance();
	const uint32_t reg = (what >> 8) & (what & 1 ? 0xfc : 0x1fc);

	if (!(what & 2))
		mmio_read32(base + reg);
	else if (what & 4)
		mmio_read8(base + reg + (what >> 24 & 3));
	else if (reg != VIRTIO_QUEUE_NOTIFY && reg != VIRTIO_QUEUE_READY && reg != VIRTIO_STATUS)
		mmio_write32(base + reg, what & 8 ? chance() : chance() & 0xff);
	else if (reg == VIRTIO_STATUS)
		mmio_write32(base + reg, 0);
	else
		mmio_write16(base + reg, (uint16_t)what); /* too narrow: ignored */
}

/* Something that is not quite right about a descriptor. */
static void spoil(volatile struct descriptor *d)
{
	switch (chance() % 8) {
	case 0:
		d->gpa = OPEN_MMIO;
		break;
	case 1:
		d->gpa = ~0ull - chance() % 4096;
		break;
	case 2:
		d->len = chance();
		break;
	case 3:
		d->len = 0;
		break;
	case 4:
		d->next = (uint16_t)chance();
		break;
	case 5:
		d->next = (uint16_t)(chance() % QUEUE_SIZE);
		break;
	case 6:
		d->flags ^= DESC_WRITE;
		break;
	case 7:
		d->flags = (uint16_t)(chance() & 7);
		break;
	}
}

/* A request as it should be. */
static volatile struct descriptor *add_chain(struct virtio *d, unsigned n, bool block)
{
	const uint32_t what = chance();
	const bool write = what & 1;
	struct piece pieces[] = {
		{&header[n], sizeof(header[n]), false},
		{block ? data + 1024 * n : entropy, 512u << (what >> 1 & 1), !write || !block},
		{(void *)&status_byte[n], 1, true},
	};

	header[n] = (struct header){what & 0x70 ? write : what >> 7 & 15, 0, n * 2};
	return &virtqueue.desc[virtio_queue(d, block ? pieces : pieces + 1, block ? 3 : 1, false)];
}

/* ... and one that is not. */
static void add_odd_chain(struct virtio *d, bool block)
{
	volatile struct descriptor *head = add_chain(d, 0, block);
	const uint32_t what = chance();

	if (!(what & 7))
		header[0].sector = chance();
	if (what & 8) {
		spoil(head + chance() % 3);
	} else {
		memcpy(table, (const void *)head, sizeof(table[0]) * (block ? 3 : 1));
		head->gpa = (uint64_t)table;
		head->len = sizeof(table[0]) * (1 + chance() % 3);
		head->flags = DESC_INDIRECT;
		head->next = 0;
		table[0].next = 1;
		table[1].next = 2;
		if (what & 16)
			spoil(&table[chance() % 3]);
	}
}

/* Brings the device up, has it do some requests and waits for them. */
static void drive(struct virtio *d, bool block)
{
	const bool odd = chance() & 1;
	const unsigned chains = odd ? 1 : 1 + chance() % 4;

	virtio_start(d, chance() & 1 ? FEATURE_INDIRECT : 0, false);
	d->free = 0;
	memset(table, 0, sizeof(table));
	/* virtio_queue() shows each chain at once; nobody looks before the doorbell rings. */
	for (unsigned i = 0; i < chains && !odd; i++)
		add_chain(d, i, block);
	if (odd)
		add_odd_chain(d, block);
	virtio_ring(d);
	while (virtqueue.used.idx != chains)
		if (virtio_read(d, VIRTIO_STATUS) & STATUS_NEEDS_RESET)
			return;
}

static void end(void)
{
	puts("\nfuzz: the end\n");
	switch (chance() % 4) {
	case 0:
		outb(0xcf9, 0);
		outb(0xcf9, 6);
		break;
	case 1:
		outb(0x64, 0xfe);
		break;
	case 2:
		outw(ACPI_PM1A_CONTROL, 0x3401);
		break;
	}
}

/* The UART may be in loopback, or its divisor where its data is. */
static void uart_reset(void)
{
	outb(COM1_LCR, 3);
	outb(COM1_MCR, 0);
}

unsigned guest_main(void)
{
	const uint64_t operations = option("operations", 500);
	struct virtio disk, rng;
	bool have_disk;

	state = option("seed", 1) * 0x9e3779b97f4a7c15ull + 1;
	for (unsigned i = 0; i < 8; i++)
		chance();
	have_disk = virtio_find(&disk, VIRTIO_ID_BLOCK, 0);
	check(virtio_find(&rng, VIRTIO_ID_RNG, 0));
	for (uint64_t i = 0; i < operations; i++) {
		const uint32_t what = chance() % 32;

		if (what < 20)
			access_port();
		else if (what < 29)
			access_virtio(what & 1 && have_disk ? disk.base : rng.base);
		else if (what < 31 && have_disk)
			drive(&disk, true);
		else
			drive(&rng, false);
	}
	uart_reset();
	end();
	return 0;
}
