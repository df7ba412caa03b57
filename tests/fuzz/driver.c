/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio driver that gets as far as a good one, so that what lies behind the negotiation is reached in one
 * step of a fuzzer, and that departs from the rules wherever the input says so.
 *
 * Each device has its rings, unless the input puts them elsewhere, in a window of 16 KiB of guest memory; its
 * requests' headers and buffers overlap them only by the input's will.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "devices/virtio_mmio.h"
#include "tests/fuzz/machine.h"

#define DESC_OFFSET   0x000u
#define AVAIL_OFFSET  0x800u
#define USED_OFFSET   0xc00u
#define HEADER_OFFSET 0x1000u
#define TABLE_OFFSET  0x1400u /* indirect */
#define DATA_OFFSET   0x2000u

static uint64_t window(uint32_t device)
{
	return (uint64_t)(device - FUZZ_RNG) * 0x4000;
}

static void set(uint32_t device, uint32_t reg, uint32_t value)
{
	machine_access(BUS_MMIO, fuzz.machine.device[device].base + reg, 4, true, value);
}

static void set_address(uint32_t device, uint32_t reg, uint64_t gpa)
{
	set(device, reg, (uint32_t)gpa);
	set(device, reg + 4, (uint32_t)(gpa >> 32));
}

void driver_start(struct input *in, uint32_t device)
{
	const uint8_t how = input_u8(in);
	uint32_t features = (how & 1 ? 1u << VIRTIO_RING_F_EVENT_IDX : 0) |
			    (how & 2 ? 0 : 1u << VIRTIO_RING_F_INDIRECT_DESC) |
			    (how & 4 ? 1u << VIRTIO_BLK_F_FLUSH : 0);

	set(device, VIRTIO_MMIO_STATUS, 0);
	set(device, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	set(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	set(device, VIRTIO_MMIO_DRIVER_FEATURES,
	    device == FUZZ_RNG ? features & ~(1u << VIRTIO_BLK_F_FLUSH) : features);
	set(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(device, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	set(device, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FEATURES_OK);
	set(device, VIRTIO_MMIO_QUEUE_NUM, how & 8 ? input_u8(in) : 1u << (how >> 5));
	set_address(device, VIRTIO_MMIO_QUEUE_DESC_LOW,
		    how & 16 ? input_gpa(in) & ~15ull : window(device) + DESC_OFFSET);
	set_address(device, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		    how & 16 ? input_gpa(in) & ~1ull : window(device) + AVAIL_OFFSET);
	set_address(device, VIRTIO_MMIO_QUEUE_USED_LOW,
		    how & 16 ? input_gpa(in) & ~3ull : window(device) + USED_OFFSET);
	set(device, VIRTIO_MMIO_QUEUE_READY, 1);
	set(device, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Where the device believes its rings are. */
static const struct virtqueue *queue_of(uint32_t device)
{
	const struct region_layout *l = &fuzz.core.layout;
	const struct virtio_mmio *m =
		region_state_of(l, fuzz.region, device, region_current(l, fuzz.region, device));

	return &m->queue;
}

static void put(uint64_t gpa, const void *from, uint32_t len)
{
	guest_memory_write(&fuzz.core.memory, gpa, from, len);
}

static struct vring_desc input_descriptor(struct input *in, uint64_t data_gpa)
{
	const uint8_t how = input_u8(in);
	struct vring_desc d = {.addr = data_gpa, .len = 512, .flags = how & 7};

	if (how & 8)
		d.addr = input_gpa(in);
	switch (how >> 4 & 3) {
	case 1:
		d.len = 1;
		break;
	case 2:
		d.len = input_u8(in);
		break;
	case 3:
		d.len = how & 0x40 ? input_u32(in) : 16u * input_u8(in);
		break;
	}
	d.next = how & 0x80 ? input_u16(in) : 0;
	return d;
}

/*
 * A chain of a header, some pieces and a status byte, each of which the input may turn into something else;
 * in the queue's own table, or in one of its own, to which a single descriptor refers.
 */
void driver_chain(struct input *in, uint32_t device)
{
	const struct virtqueue *vq = queue_of(device);
	const uint8_t how = input_u8(in);
	const uint32_t pieces = how & 7, first = input_u8(in) % VIRTQUEUE_MAX;
	const bool indirect = how & 8;
	const uint64_t base = window(device);
	const uint64_t table = indirect ? base + TABLE_OFFSET : vq->desc_gpa;
	struct virtio_blk_outhdr header = {.type = input_u8(in)};
	uint32_t at = indirect ? 0 : first;
	uint16_t index, head = (uint16_t)first;

	header.sector = how & 16 ? input_u64(in) : input_u8(in);
	put(base + HEADER_OFFSET, &header, sizeof(header));
	for (uint32_t i = 0; i < pieces + 2; i++) {
		struct vring_desc d;

		if (i == 0)
			d = (struct vring_desc){base + HEADER_OFFSET, sizeof(header), 0, 0};
		else if (i == pieces + 1)
			d = (struct vring_desc){base + HEADER_OFFSET + 0x3ff, 1, VRING_DESC_F_WRITE, 0};
		else
			d = input_descriptor(in, base + DATA_OFFSET + i * 512);
		if (i != pieces + 1)
			d.flags |= VRING_DESC_F_NEXT;
		if (!d.next)
			d.next = (uint16_t)(at + 1);
		put(table + (uint64_t)at * sizeof(d), &d, sizeof(d));
		at++;
	}
	if (indirect) {
		struct vring_desc d = {table, (pieces + 2) * (uint32_t)sizeof(d), VRING_DESC_F_INDIRECT, 0};

		put(vq->desc_gpa + first * sizeof(d), &d, sizeof(d));
	}
	if (how & 32) /* one descriptor, or part of it, is something else */
		input_copy(in, &index, sizeof(index));
	else
		index = 0;
	if (index) {
		struct vring_desc d = input_descriptor(in, base);

		put(table + (uint64_t)(index % VIRTQUEUE_MAX) * sizeof(d), &d, sizeof(d));
	}
	if (!guest_memory_read(&fuzz.core.memory, vq->driver_gpa + offsetof(struct vring_avail, idx), &index,
			       sizeof(index)))
		return;
	put(vq->driver_gpa + offsetof(struct vring_avail, ring) +
		    (index & (uint16_t)(vq->size - 1)) * sizeof(head),
	    &head, sizeof(head));
	index = (uint16_t)(index + (how & 64 ? input_u8(in) : 1));
	put(vq->driver_gpa + offsetof(struct vring_avail, idx), &index, sizeof(index));
}
