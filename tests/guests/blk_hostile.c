/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver that breaks every rule of the virtqueue (virtio 1.2, 2.7): rings and buffers that are not memory,
 * chains without end, indexes out of range. What the device answers is its own affair (2.1.2 lets it ask for
 * a reset); after each offence it must come back by a reset and read a sector as if nothing had happened.
 */
#include "virtio.h"

#define SECTOR      512u
#define STATUS_GONE 0xff
#define PATIENCE    (1ull << 21) /* cycles, about a millisecond: the device's time to trip over an offence */

static struct {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
} header;
static uint8_t data[2 * SECTOR];
static volatile uint8_t status;
static struct descriptor table[4];
static struct virtio disk;

static void describe(unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	virtqueue.desc[i].gpa = gpa;
	virtqueue.desc[i].len = len;
	virtqueue.desc[i].flags = flags;
	virtqueue.desc[i].next = next;
}

/* A read of sector 0 as it should be, made available but not announced. */
static void prepare(void)
{
	virtio_start(&disk, disk.offered & FEATURE_INDIRECT, false);
	status = STATUS_GONE;
	memset(data, 0, SECTOR);
	describe(0, (uint64_t)&header, sizeof(header), DESC_NEXT, 1);
	describe(1, (uint64_t)data, SECTOR, DESC_NEXT | DESC_WRITE, 2);
	describe(2, (uint64_t)&status, 1, DESC_WRITE, 0);
	virtqueue.avail.ring[0] = 0;
	virtqueue.avail.idx = 1;
	barrier();
}

static void ring_and_wait(void)
{
	uint64_t start;

	barrier();
	virtio_ring(&disk);
	for (start = rdtsc(); rdtsc() - start < PATIENCE && !virtqueue.used.idx;)
		barrier();
}

static void check_alive(void)
{
	prepare();
	virtio_ring(&disk);
	check(wait_until(virtqueue.used.idx == 1));
	check_eq(status, 0);
	check_eq(data[SECTOR - 1], '\n');
}

/* Commits an offence on top of a good request, lets the device see it, and looks whether it recovers. */
#define offend(offence)                                                                                      \
	do {                                                                                                 \
		prepare();                                                                                   \
		offence;                                                                                     \
		ring_and_wait();                                                                             \
		check_alive();                                                                               \
	} while (0)

static void offend_by_address(uint64_t gpa)
{
	for (unsigned i = 0; i < 3; i++)
		offend(virtqueue.desc[i].gpa = gpa);
	for (uint32_t reg = VIRTIO_QUEUE_DESC; reg <= VIRTIO_QUEUE_DEVICE; reg += 0x10) {
		prepare();
		virtio_write(&disk, VIRTIO_QUEUE_READY, 0);
		virtio_write(&disk, reg, (uint32_t)gpa);
		virtio_write(&disk, reg + 4, (uint32_t)(gpa >> 32));
		virtio_write(&disk, VIRTIO_QUEUE_READY, 1);
		ring_and_wait();
		check_alive();
	}
}

static void offend_by_indirection(void)
{
	uint32_t whole = sizeof(table);
	uint64_t at = (uint64_t)table;

	table[0] = (struct descriptor){at, whole, DESC_INDIRECT, 0};
	offend(describe(0, at, whole, DESC_INDIRECT, 0));             /* a table within a table: 2.7.5.3.1 */
	offend(describe(0, at, whole - 1, DESC_INDIRECT, 0));         /* not a multiple of 16 */
	offend(describe(0, at, 0, DESC_INDIRECT, 0));                 /* empty */
	offend(describe(0, at, 0xfffffff0, DESC_INDIRECT, 0));        /* longer than memory */
	offend(describe(0, at, whole, DESC_INDIRECT | DESC_NEXT, 1)); /* followed by more */
	offend(describe(0, OPEN_MMIO, whole, DESC_INDIRECT, 0));      /* not memory */
	table[0] = (struct descriptor){(uint64_t)&header, sizeof(header), DESC_NEXT, 4};
	offend(describe(0, at, whole, DESC_INDIRECT, 0)); /* next is outside the table */
	table[0].next = 0;
	offend(describe(0, at, whole, DESC_INDIRECT, 0)); /* next is itself */
}

static void offend_by_structure(void)
{
	offend(virtqueue.avail.idx = 100);            /* more requests than the queue has room for */
	offend(virtqueue.avail.idx = 0xffff);         /* back in time */
	offend(virtqueue.avail.ring[0] = QUEUE_SIZE); /* a head out of range */
	offend(virtqueue.avail.ring[0] = 0xffff);
	offend(virtqueue.desc[1].next = QUEUE_SIZE);              /* a link out of range */
	offend(virtqueue.desc[1].next = 0);                       /* a loop */
	offend(virtqueue.desc[0].next = 0);                       /* a loop of one */
	offend(virtqueue.desc[0].flags = 0);                      /* nothing but a header */
	offend(virtqueue.desc[0].flags = DESC_NEXT | DESC_WRITE); /* a header that may not be read */
	offend(virtqueue.desc[0].len = 0);
	offend(virtqueue.desc[0].len = 15);
	offend(virtqueue.desc[1].flags = DESC_NEXT); /* a read into memory that may not be written */
	offend(virtqueue.desc[1].len = 0);
	offend(virtqueue.desc[1].len = SECTOR - 1);
	offend(virtqueue.desc[1].len = 0xffffffff);
	offend(virtqueue.desc[2].flags = 0); /* a status that may not be written */
	offend(virtqueue.desc[2].len = 0);
	offend(virtqueue.desc[2].flags = 0xffff);
}

/* Registers: sizes that are not allowed, and steps of the initialisation left out or doubled. */
static void offend_by_register(void)
{
	static const uint32_t sizes[] = {0, 3, 0x8000, 0xffffffff};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		prepare();
		virtio_write(&disk, VIRTIO_QUEUE_READY, 0);
		virtio_write(&disk, VIRTIO_QUEUE_NUM, sizes[i]);
		virtio_write(&disk, VIRTIO_QUEUE_READY, 1);
		ring_and_wait();
		check_alive();
	}
	offend(virtio_write(&disk, VIRTIO_QUEUE_NOTIFY, 1)); /* queues that do not exist */
	offend(virtio_write(&disk, VIRTIO_QUEUE_NOTIFY, 0xffffffff));
	offend(virtio_write(&disk, VIRTIO_QUEUE_SEL, 0xffffffff); virtio_write(&disk, VIRTIO_QUEUE_READY, 1));
	offend(virtio_write(&disk, VIRTIO_DEVICE_FEATURES_SEL, 0xffffffff);
	       virtio_write(&disk, VIRTIO_DRIVER_FEATURES_SEL, 0xffffffff);
	       virtio_write(&disk, VIRTIO_DRIVER_FEATURES, 0xffffffff));
	offend(virtio_write(&disk, VIRTIO_INTERRUPT_ACK, 0xffffffff));
	offend(virtio_write(&disk, VIRTIO_STATUS, 0xff));
	offend(virtio_write(&disk, VIRTIO_STATUS, 0)); /* the doorbell of a device that is off */
}

unsigned guest_main(void)
{
	check(virtio_find(&disk, VIRTIO_ID_BLOCK, 0));
	check_alive();
	offend_by_structure();
	offend_by_indirection();
	offend_by_address(OPEN_MMIO);
	offend_by_address((option("mem", 128) << 20) - 4); /* partly memory */
	offend_by_address(~0ull - 3);                      /* wraps */
	offend_by_register();
	puts("blk_hostile: the device has survived\n");
	return 0;
}
