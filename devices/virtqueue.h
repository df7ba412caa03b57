/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The split virtqueue, device side: virtio 1.2, section 2.7.
 *
 * Owns nothing: struct virtqueue is part of a device's state, the rings are in guest memory. All functions
 * are called inside an operation, under the device's lock (see device.h), but virtqueue_publish(), which is
 * called after its commit.
 *
 * Whatever the driver has written is read once, checked, and then used. A rule that it broke is reported as
 * -EINVAL or false; the transport then asks for a reset. No function takes longer than a few steps per queue
 * entry.
 *
 * Numbers in the rings are little-endian, and so is every machine that dvmm runs on: there is no conversion.
 */
#ifndef DVMM_DEVICES_VIRTQUEUE_H
#define DVMM_DEVICES_VIRTQUEUE_H

#include "devices/device.h"

/*
 * The largest queue that is offered, and the longest descriptor chain that is taken ("A driver MUST NOT
 * create a descriptor chain longer than the Queue Size", 2.7.5.3.1). No larger than DEVICE_IO_SLOTS: see
 * virtqueue_pop().
 */
#define VIRTQUEUE_MAX 64u
_Static_assert(VIRTQUEUE_MAX <= DEVICE_IO_SLOTS, "a slot for every entry of a queue");

/* State of one queue, 40 bytes. */
struct virtqueue {
	uint64_t desc_gpa;   /* descriptor table */
	uint64_t driver_gpa; /* available ring */
	uint64_t device_gpa; /* used ring */
	uint16_t size;       /* entries: a power of two up to VIRTQUEUE_MAX; 0: not set or not acceptable */
	uint16_t ready;      /* 1: the driver has handed the rings over and they passed virtqueue_start() */
	uint16_t last_avail; /* chains ever taken, modulo 2^16: where the next one is taken from */
	uint16_t used;       /* chains ever given back, modulo 2^16: where the next one goes */
	uint16_t event_idx;  /* 1: VIRTIO_RING_F_EVENT_IDX was negotiated */
	uint16_t indirect;   /* 1: VIRTIO_RING_F_INDIRECT_DESC was negotiated */
	uint32_t unused;
};

/* One direction of a descriptor chain: a stream of bytes, in pieces that are all RAM and not empty. */
struct segments {
	uint64_t bytes; /* left in the stream, at most UINT32_MAX */
	uint32_t first; /* seg[first] to seg[first + count - 1] are left */
	uint32_t count;
	struct io_segment seg[VIRTQUEUE_MAX];
};

/* A descriptor chain, taken out of the rings: nothing in it changes any more. */
struct virtqueue_chain {
	uint16_t head;       /* what virtqueue_push() gives back */
	struct segments out; /* device-readable */
	struct segments in;  /* device-writable */
};

/* Makes the queue ready, indices at 0, if size, alignment and place of its rings are acceptable (2.7, table
 * of alignments; all of each ring is RAM). Returns whether it is. */
bool virtqueue_start(struct virtqueue *vq, const struct guest_memory *mem);

/*
 * Takes the next available chain: 1, chain is filled; 0, there is none; -EINVAL, the driver broke the rules.
 *
 * A driver has at most `size` chains out at a time (each needs a descriptor), and it learns of those given
 * back only when the operation is over. A driver that offers more is at fault. So one operation takes at most
 * `size` chains, whatever other vCPUs do to the ring meanwhile, and at most `size` chains are ever between
 * pop and publication.
 */
int virtqueue_pop(struct virtqueue *vq, struct operation *op, struct virtqueue_chain *chain);

/* Gives a chain back, `written` bytes of which were written from the start of its writable part. The driver
 * sees it when the outbox is published. False: the ring is not where it was. */
bool virtqueue_push(struct virtqueue *vq, struct operation *op, uint16_t head, uint32_t written);

/* Asks the driver not to ring, and to ring again from the next chain on (2.7.7, 2.7.10). After
 * virtqueue_arm() the queue must be looked at once more: what was added before the driver saw it is not
 * announced. */
void virtqueue_quiet(const struct virtqueue *vq, const struct guest_memory *mem);
void virtqueue_arm(const struct virtqueue *vq, const struct guest_memory *mem);

/*
 * After the commit: shows the driver what the operation gave back, and returns whether it wants to be
 * interrupted. May be done again, by a successor that cannot know whether it had been done, as long as no
 * further operation on the device has begun.
 */
bool virtqueue_publish(const struct outbox *out, const struct guest_memory *mem);

/* Removes len bytes from the front of the stream and copies them from / into guest memory. False: there are
 * fewer. */
bool segments_read(struct segments *s, const struct guest_memory *mem, void *to, uint32_t len);
bool segments_write(struct segments *s, const struct guest_memory *mem, const void *from, uint32_t len);

/* Removes the last byte of the stream and tells where it is. False: the stream is empty. */
bool segments_take_last(struct segments *s, uint64_t *gpa);

#endif
