/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio.h"

#define AVAIL_NO_INTERRUPT 1u

volatile struct virtqueue_memory virtqueue;
static struct descriptor indirect_table[QUEUE_SIZE][QUEUE_SIZE];

uint64_t virtio_slot(unsigned n)
{
	static uint64_t base, stride;

	if (!base) {
		base = option("virtio", 0xd0000000);
		stride = option("stride", 0x1000);
	}
	return base + n * stride;
}

bool virtio_find(struct virtio *d, enum virtio_device_id id, unsigned nth)
{
	for (unsigned slot = 0; slot < 16; slot++) {
		*d = (struct virtio){.base = virtio_slot(slot)};
		if (virtio_read(d, VIRTIO_MAGIC_VALUE) != VIRTIO_MAGIC)
			return false;
		if (virtio_read(d, VIRTIO_DEVICE_ID) != id || nth--)
			continue;
		check_eq(virtio_read(d, VIRTIO_VERSION), 2);
		virtio_write(d, VIRTIO_DEVICE_FEATURES_SEL, 1);
		d->offered = (uint64_t)virtio_read(d, VIRTIO_DEVICE_FEATURES) << 32;
		virtio_write(d, VIRTIO_DEVICE_FEATURES_SEL, 0);
		d->offered |= virtio_read(d, VIRTIO_DEVICE_FEATURES);
		return true;
	}
	return false;
}

static void write_address(const struct virtio *d, uint32_t reg, volatile void *at)
{
	virtio_write(d, reg, (uint32_t)(uint64_t)at);
	virtio_write(d, reg + 4, (uint32_t)((uint64_t)at >> 32));
}

void virtio_start(struct virtio *d, uint64_t features, bool interrupts)
{
	uint32_t status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

	features |= FEATURE_VERSION_1;
	check_eq(d->offered & features, features);

	virtio_write(d, VIRTIO_STATUS, 0); /* 3.1.1: the order of the steps below is prescribed */
	check(wait_until(virtio_read(d, VIRTIO_STATUS) == 0));
	memset((void *)&virtqueue, 0, sizeof(virtqueue)); /* only now is it no longer the device's */
	d->free = d->available = d->seen = 0;
	virtqueue.avail.flags = interrupts ? 0 : AVAIL_NO_INTERRUPT;

	virtio_write(d, VIRTIO_STATUS, STATUS_ACKNOWLEDGE);
	virtio_write(d, VIRTIO_STATUS, status);
	virtio_write(d, VIRTIO_DRIVER_FEATURES_SEL, 0);
	virtio_write(d, VIRTIO_DRIVER_FEATURES, (uint32_t)features);
	virtio_write(d, VIRTIO_DRIVER_FEATURES_SEL, 1);
	virtio_write(d, VIRTIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
	status |= STATUS_FEATURES_OK;
	virtio_write(d, VIRTIO_STATUS, status);
	check_eq(virtio_read(d, VIRTIO_STATUS), status);

	virtio_write(d, VIRTIO_QUEUE_SEL, 0);
	check_eq(virtio_read(d, VIRTIO_QUEUE_READY), 0);
	check(virtio_read(d, VIRTIO_QUEUE_NUM_MAX) >= QUEUE_SIZE);
	virtio_write(d, VIRTIO_QUEUE_NUM, QUEUE_SIZE);
	write_address(d, VIRTIO_QUEUE_DESC, virtqueue.desc);
	write_address(d, VIRTIO_QUEUE_DRIVER, &virtqueue.avail);
	write_address(d, VIRTIO_QUEUE_DEVICE, &virtqueue.used);
	virtio_write(d, VIRTIO_QUEUE_READY, 1);
	check_eq(virtio_read(d, VIRTIO_QUEUE_READY), 1);
	status |= STATUS_DRIVER_OK;
	virtio_write(d, VIRTIO_STATUS, status);
	check_eq(virtio_read(d, VIRTIO_STATUS), status);
}

uint16_t virtio_queue(struct virtio *d, const struct piece *pieces, unsigned count, bool indirect)
{
	uint16_t head, first;
	volatile struct descriptor *table = virtqueue.desc;

	if (d->free + (indirect ? 1 : count) > QUEUE_SIZE)
		d->free = 0; /* callers never have more than fits in flight */
	head = first = d->free;
	if (indirect) {
		table = indirect_table[head];
		virtqueue.desc[head].gpa = (uint64_t)table;
		virtqueue.desc[head].len = count * (uint32_t)sizeof(*table);
		virtqueue.desc[head].flags = DESC_INDIRECT;
		first = 0;
	}
	for (unsigned i = 0; i < count; i++) {
		bool last = i + 1 == count;

		table[first + i].gpa = (uint64_t)pieces[i].at;
		table[first + i].len = pieces[i].len;
		table[first + i].flags =
			(uint16_t)((pieces[i].write ? DESC_WRITE : 0) | (last ? 0 : DESC_NEXT));
		table[first + i].next = (uint16_t)(last ? 0 : first + i + 1);
	}
	d->free = (uint16_t)(d->free + (indirect ? 1 : count));
	virtqueue.avail.ring[d->available++ % QUEUE_SIZE] = head;
	barrier(); /* x86 keeps stores in order; the compiler must too */
	virtqueue.avail.idx = d->available;
	return head;
}

void virtio_ring(const struct virtio *d)
{
	virtio_write(d, VIRTIO_QUEUE_NOTIFY, 0);
}

uint32_t virtio_take(struct virtio *d, uint16_t *head)
{
	unsigned slot = d->seen % QUEUE_SIZE;

	check(wait_until(virtqueue.used.idx != d->seen));
	d->seen++;
	*head = (uint16_t)virtqueue.used.ring[slot].id;
	return virtqueue.used.ring[slot].len;
}

uint32_t virtio_request(struct virtio *d, const struct piece *pieces, unsigned count)
{
	uint16_t head = virtio_queue(d, pieces, count, false), taken;
	uint32_t len;

	virtio_ring(d);
	len = virtio_take(d, &taken);
	check_eq(taken, head);
	return len;
}
