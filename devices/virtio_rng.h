/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-rng, the entropy device: virtio 1.2, section 5.4, on virtio-mmio.
 *
 * Each chain becomes one IO_RANDOM request for the start of its writable part: at most VIRTIO_RNG_BYTES bytes
 * in at most IO_SEGMENTS segments ("The device MUST place one or more random bytes into the buffer, but it
 * MAY use less than the entire buffer length", 5.4.6.2). So a guest cannot keep the I/O thread busy with one
 * request. device_ops.complete() wants the number of bytes filled, counted from the first.
 */
#ifndef DVMM_DEVICES_VIRTIO_RNG_H
#define DVMM_DEVICES_VIRTIO_RNG_H

#include "devices/virtio_mmio.h"

#define VIRTIO_RNG_BYTES 4096u

/* State: the transport's only. */
struct virtio_rng {
	struct virtio_mmio mmio;
};

extern const struct device_ops virtio_rng_ops;

#endif
