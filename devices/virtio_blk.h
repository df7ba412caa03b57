/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk: virtio 1.2, section 5.2, on virtio-mmio. Reads, writes, flush and GET_ID; up to VIRTQUEUE_MAX
 * in flight.
 *
 * Features: SEG_MAX, BLK_SIZE, FLUSH, and RO for a read-only disk. A driver that does not negotiate FLUSH
 * gets a write-through cache (5.2.6.2): its writes carry io_request.sync.
 *
 * device_ops.complete() wants the number of bytes moved: a read or write that moved fewer than asked for has
 * failed. An I/O thread that sees a short transfer should go on with the rest before it reports.
 */
#ifndef DVMM_DEVICES_VIRTIO_BLK_H
#define DVMM_DEVICES_VIRTIO_BLK_H

#include "devices/virtio_mmio.h"

/* State, 120 bytes. */
struct virtio_blk {
	struct virtio_mmio mmio;
	uint64_t capacity; /* sectors of 512 bytes */
	char serial[24];   /* what GET_ID returns: the first VIRTIO_BLK_ID_BYTES, padded with NUL */
};
_Static_assert(sizeof(struct virtio_blk) == 120, "layout of the state");

extern const struct device_ops virtio_blk_ops;

#endif
