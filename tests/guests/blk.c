/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk through a tiny driver (virtio 1.2, 5.2). The host has filled each disk so that sector n is the
 * number n in decimal, zero-padded to 511 digits, and a newline; disk 0 is writable, disk 1 is not.
 */
#include "irq.h"
#include "virtio.h"

#define SECTOR   512u
#define PATTERN  100u /* sectors 100 to 107 are overwritten: 'A' to 'H' */
#define PATTERNS 8u

#define FEATURE_RO    (1ull << 5)
#define FEATURE_FLUSH (1ull << 9)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_UNKNOWN = 0x7f };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

static uint8_t buffer[PATTERNS * SECTOR] __attribute__((aligned(SECTOR)));
static uint8_t pattern[PATTERNS * SECTOR];
static uint32_t used_len;

/* One request with its data in up to three pieces; returns the status byte. */
static uint8_t request(struct virtio *d, uint32_t type, uint64_t sector, uint8_t *data, uint32_t len,
		       bool indirect)
{
	struct header header = {type, 0, sector};
	uint8_t status = 0xff;
	bool in = type == T_IN || type == T_GET_ID;
	struct piece pieces[5] = {{&header, sizeof(header), false}};
	unsigned count = 1;
	uint16_t head, taken;

	if (len > SECTOR) {
		pieces[count++] = (struct piece){data, SECTOR / 2, in};
		pieces[count++] = (struct piece){data + SECTOR / 2, SECTOR / 2, in};
		data += SECTOR;
		len -= SECTOR;
	}
	if (len)
		pieces[count++] = (struct piece){data, len, in};
	pieces[count++] = (struct piece){&status, 1, true};
	head = virtio_queue(d, pieces, count, indirect);
	virtio_ring(d);
	used_len = virtio_take(d, &taken);
	check_eq(taken, head);
	barrier();
	return *(volatile uint8_t *)&status;
}

/* Does this sector hold its own number, as the host wrote it? */
static bool untouched(const uint8_t *at, unsigned sector)
{
	if (at[SECTOR - 1] != '\n' || at[0] != '0')
		return false;
	for (const uint8_t *digit = at + SECTOR - 2; digit > at + SECTOR - 8; digit--, sector /= 10)
		if (*digit != '0' + sector % 10)
			return false;
	return true;
}

static void check_reads(struct virtio *d, bool indirect)
{
	check_eq(request(d, T_IN, 0, buffer, SECTOR, indirect), S_OK);
	check_eq(used_len, SECTOR + 1);
	check(untouched(buffer, 0));
	check_eq(request(d, T_IN, 1023, buffer, 4 * SECTOR, indirect), S_OK);
	check_eq(used_len, 4 * SECTOR + 1);
	for (unsigned i = 0; i < 4; i++)
		check(untouched(buffer + i * SECTOR, 1023 + i));
}

static void check_writes(struct virtio *d)
{
	for (unsigned i = 0; i < PATTERNS; i++)
		memset(pattern + i * SECTOR, (int)('A' + i), SECTOR);
	check_eq(request(d, T_OUT, PATTERN, pattern, sizeof(pattern), false), S_OK);
	check_eq(used_len, 1);
	check_eq(request(d, T_FLUSH, 0, NULL, 0, false), S_OK);
	check_eq(used_len, 1);
	check_eq(request(d, T_IN, PATTERN, buffer, sizeof(buffer), false), S_OK);
	check(same(buffer, pattern, sizeof(buffer)));
	check_eq(request(d, T_IN, PATTERN + PATTERNS, buffer, SECTOR, false), S_OK);
	check(untouched(buffer, PATTERN + PATTERNS));
}

static void check_errors(struct virtio *d, uint64_t capacity)
{
	check_eq(request(d, T_IN, capacity - 1, buffer, SECTOR, false), S_OK);
	check(untouched(buffer, (unsigned)capacity - 1));
	check_eq(request(d, T_IN, capacity, buffer, SECTOR, false), S_IOERR);
	check_eq(request(d, T_OUT, capacity, pattern, SECTOR, false), S_IOERR);
	check_eq(request(d, T_OUT, capacity - 1, pattern, 2 * SECTOR, false), S_IOERR);
	check_eq(request(d, T_IN, ~0ull, buffer, SECTOR, false), S_IOERR);
	check_eq(request(d, T_IN, 1ull << 55, buffer, SECTOR, false), S_IOERR); /* * 512 overflows */
	check_eq(request(d, T_UNKNOWN, 0, NULL, 0, false), S_UNSUPP);
}

static void check_id(struct virtio *d)
{
	memset(buffer, 0xff, 20);
	check_eq(request(d, T_GET_ID, 0, buffer, 20, false), S_OK);
	check(buffer[0] != 0xff);
	check(buffer[19] != 0xff || option("qemu", 0)); /* which does not pad with NUL */
}

/* Four reads under one doorbell; they may end in any order. */
static void check_several(struct virtio *d)
{
	static struct header header[4];
	static volatile uint8_t status[4];
	uint16_t head[4];

	for (unsigned i = 0; i < 4; i++) {
		struct piece pieces[] = {
			{&header[i], sizeof(header[i]), false},
			{buffer + i * SECTOR, SECTOR, true},
			{(void *)&status[i], 1, true},
		};

		header[i] = (struct header){T_IN, 0, 2000 + i};
		status[i] = 0xff;
		if (!i)
			d->free = 0; /* nothing is in flight: all four fit */
		head[i] = virtio_queue(d, pieces, 3, false);
	}
	virtio_ring(d);
	for (unsigned taken = 0, i; taken != 0xf;) {
		uint16_t which;

		virtio_take(d, &which);
		for (i = 0; i < 4 && head[i] != which;)
			i++;
		check(i < 4 && !(taken & 1u << i));
		taken |= 1u << i;
		check_eq(status[i], S_OK);
		check(untouched(buffer + i * SECTOR, 2000 + i));
	}
}

/* One request whose completion is waited for in HLT. Which line the device has is seen from what arrives. */
static void check_interrupt(struct virtio *d, uint64_t features)
{
	struct header header = {T_IN, 0, 7};
	volatile uint8_t status = 0xff;
	struct piece pieces[] = {
		{&header, sizeof(header), false},
		{buffer, SECTOR, true},
		{(void *)&status, 1, true},
	};
	uint16_t taken;
	uint32_t before;

	virtio_start(d, features, true);
	before = ioapic_arrivals();
	virtio_queue(d, pieces, 3, false);
	virtio_ring(d);
	while (ioapic_arrivals() == before)
		interrupt_wait();
	check_eq(virtio_read(d, VIRTIO_INTERRUPT_STATUS), 1);
	virtio_write(d, VIRTIO_INTERRUPT_ACK, 1);
	check_eq(virtio_read(d, VIRTIO_INTERRUPT_STATUS), 0);
	virtio_take(d, &taken);
	check_eq(status, S_OK);
	check(untouched(buffer, 7));
	check_eq(ioapic_arrivals(), before + 1);
}

unsigned guest_main(void)
{
	uint64_t features = FEATURE_FLUSH | FEATURE_INDIRECT, capacity;
	struct virtio d;

	check(virtio_find(&d, VIRTIO_ID_BLOCK, 0));
	check(!(d.offered & FEATURE_RO));
	virtio_start(&d, features, false);
	capacity = virtio_read(&d, VIRTIO_CONFIG) | (uint64_t)virtio_read(&d, VIRTIO_CONFIG + 4) << 32;
	check_eq(capacity, option("sectors", 8192));
	check_reads(&d, false);
	check_reads(&d, true);
	check_writes(&d);
	check_errors(&d, capacity);
	check_id(&d);
	check_several(&d);

	interrupts_init();
	for (unsigned gsi = 5; gsi < IOAPIC_PINS; gsi++)
		ioapic_enable(gsi);
	check_interrupt(&d, features);
	check_interrupt(&d, features | (d.offered & FEATURE_EVENT_IDX));
	virtio_write(&d, VIRTIO_STATUS, 0);

	check(virtio_find(&d, VIRTIO_ID_BLOCK, 1));
	check(d.offered & FEATURE_RO);
	virtio_start(&d, FEATURE_RO, false);
	check_reads(&d, false);
	check_eq(request(&d, T_OUT, 0, pattern, SECTOR, false), S_IOERR);
	check_eq(request(&d, T_IN, 0, buffer, SECTOR, false), S_OK);
	check(untouched(buffer, 0));
	puts("blk: done\n");
	return 0;
}
