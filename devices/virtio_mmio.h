/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio-mmio transport, version 2: virtio 1.2, section 4.2. One queue per device.
 *
 * Registers, feature negotiation, the life of a device from reset to DRIVER_OK, and the bookkeeping of
 * requests in flight; what a request means is the business of virtio_blk.c and virtio_rng.c, each of which
 * describes itself by a constant struct virtio_model and embeds struct virtio_mmio at the very start of its
 * state.
 *
 * All functions are called inside an operation; see device.h for the rules. op->state points to the struct
 * virtio_mmio and op->bulk to DEVICE_IO_SLOTS records of struct virtio_slot.
 *
 * What is asked of the caller (emulator/core.c) beyond device.h:
 * - After a restart, and after an abandoned operation, call ops->notify() once. The doorbell is gone then.
 * - If io_describe() refuses a slot of io_pending(), end that slot with ops->complete(slot, -EIO).
 *   A slot that nobody completes would hold up the driver's next reset for ever.
 */
#ifndef DVMM_DEVICES_VIRTIO_MMIO_H
#define DVMM_DEVICES_VIRTIO_MMIO_H

#include "devices/virtqueue.h"

/*
 * Published (device.h): what a driver reads in each interrupt. Reading it changes nothing.
 *
 * InterruptACK, which is written next, cannot be posted: the driver looks at the used ring after it. Were the
 * write done later, it could take back an interrupt that has come after that look, and nobody would look
 * again.
 */
#define VIRTIO_MMIO_REGISTERS 1
extern const struct device_register virtio_mmio_registers[VIRTIO_MMIO_REGISTERS];
bool virtio_mmio_publish(const void *state, unsigned n, uint32_t *value);

#define VIRTIO_CONFIG_BYTES 64 /* of a device's configuration space; reads beyond are 0 */

/* What waits for the requests in flight to end before it happens. */
enum virtio_drain {
	DRAIN_NONE = 0,
	DRAIN_QUEUE, /* the driver wrote 0 to QueueReady */
	DRAIN_RESET, /* the driver wrote 0 to Status */
};

/* State of the transport, 88 bytes, at the start of each device's state. */
struct virtio_mmio {
	uint64_t device_features;     /* offered; set once, by init */
	uint64_t driver_features;     /* wanted by the driver; fixed once FEATURES_OK is set */
	uint64_t slots;               /* bit n: the request in record n of bulk is in flight */
	uint32_t device_features_sel; /* which 32 bits of the features are seen, 0 or 1 */
	uint32_t driver_features_sel;
	uint32_t queue_sel;        /* only queue 0 exists */
	uint32_t status;           /* VIRTIO_CONFIG_S_* */
	uint32_t interrupt_status; /* VIRTIO_MMIO_INT_* */
	uint32_t draining;         /* enum virtio_drain */
	struct virtqueue queue;
};
_Static_assert(sizeof(struct virtio_mmio) == 88, "layout of the state");

/* A request in flight: its record in bulk. Written while the slot is free, valid once the committed `slots`
 * says so. */
struct virtio_slot {
	uint64_t status_gpa; /* virtio-blk: where the status byte goes */
	uint32_t wanted;     /* bytes that the I/O must move to have succeeded, at most INT32_MAX */
	uint32_t in_bytes;   /* virtio-blk: writable bytes of the chain without the status byte */
	uint32_t head;       /* of the descriptor chain, to be given back */
	uint32_t unused;
	struct io_request io;
};

/* What makes a virtio device this device. Constant. */
struct virtio_model {
	uint32_t id; /* VIRTIO_ID_* */

	/* Fills in the configuration space, all zero on entry. NULL: there is none. */
	void (*config)(const void *state, uint8_t config[VIRTIO_CONFIG_BYTES]);

	/* A chain was taken from the queue: give it back or put it into a slot. False: it is malformed beyond
	 * an answer. */
	bool (*request)(struct operation *op, struct virtqueue_chain *chain);
};

/* The power-on state. `features`: the device's own; the transport adds its. */
void virtio_mmio_init(struct virtio_mmio *m, uint64_t features);

/* device_ops.access and device_ops.notify. */
void virtio_mmio_access(struct operation *op, const struct virtio_model *model, struct access *a);
void virtio_mmio_notify(struct operation *op, const struct virtio_model *model, unsigned queue);

/* Gives a chain back to the driver and marks the interrupt. False: the ring is not where it was. */
bool virtio_mmio_give_back(struct operation *op, uint16_t head, uint32_t written);

/* The device cannot go on (virtio 1.2, 2.1.2): sets DEVICE_NEEDS_RESET; doorbells are ignored until the
 * reset. */
void virtio_mmio_break(struct operation *op);

/* A free record, marked as in flight and to be started at the commit; the caller fills all of it but
 * io.unused. NULL cannot happen unless the state is damaged. Not to be mixed with virtio_mmio_slot_end() in
 * one operation: the committed state still refers to a record that the operation has just freed. */
struct virtio_slot *virtio_mmio_slot_begin(struct operation *op);

/* The I/O of a slot ended. True: *slot is a copy of its record, the driver awaits the answer. False: nobody
 * does. */
bool virtio_mmio_slot_end(struct operation *op, unsigned n, struct virtio_slot *slot);

/* device_ops.io_pending, and the part of device_ops.io_describe that is common. */
uint64_t virtio_mmio_io_pending(const void *state);
bool virtio_mmio_io_describe(const void *state, const void *bulk, unsigned n, struct io_request *req);

#endif
