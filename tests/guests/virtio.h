/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's side of virtio-mmio (virtio 1.2, 4.2) with one split virtqueue (2.7), polled or by interrupt.
 * One device at a time: the queue's memory is static.
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "lib.h"

#define VIRTIO_MAGIC 0x74726976u

enum virtio_register { /* 4.2.2 */
		       VIRTIO_MAGIC_VALUE = 0x000,
		       VIRTIO_VERSION = 0x004,
		       VIRTIO_DEVICE_ID = 0x008,
		       VIRTIO_DEVICE_FEATURES = 0x010,
		       VIRTIO_DEVICE_FEATURES_SEL = 0x014,
		       VIRTIO_DRIVER_FEATURES = 0x020,
		       VIRTIO_DRIVER_FEATURES_SEL = 0x024,
		       VIRTIO_QUEUE_SEL = 0x030,
		       VIRTIO_QUEUE_NUM_MAX = 0x034,
		       VIRTIO_QUEUE_NUM = 0x038,
		       VIRTIO_QUEUE_READY = 0x044,
		       VIRTIO_QUEUE_NOTIFY = 0x050,
		       VIRTIO_INTERRUPT_STATUS = 0x060,
		       VIRTIO_INTERRUPT_ACK = 0x064,
		       VIRTIO_STATUS = 0x070,
		       VIRTIO_QUEUE_DESC = 0x080,
		       VIRTIO_QUEUE_DRIVER = 0x090,
		       VIRTIO_QUEUE_DEVICE = 0x0a0,
		       VIRTIO_CONFIG_GENERATION = 0x0fc,
		       VIRTIO_CONFIG = 0x100,
};

enum virtio_device_id { VIRTIO_ID_BLOCK = 2, VIRTIO_ID_RNG = 4 };

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER      2u
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u

#define FEATURE_INDIRECT  (1ull << 28)
#define FEATURE_EVENT_IDX (1ull << 29)
#define FEATURE_VERSION_1 (1ull << 32)

#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

#define QUEUE_SIZE 32u

struct descriptor {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/* A piece of a request: memory that the device reads, or (write) that it fills. */
struct piece {
	void *at;
	uint32_t len;
	bool write;
};

struct virtio {
	uint64_t base;
	uint64_t offered;   /* features */
	uint16_t free;      /* next descriptor to use; all earlier requests have ended when it wraps */
	uint16_t available; /* requests ever made available */
	uint16_t seen;      /* used entries ever taken */
};

struct virtqueue_memory {
	struct descriptor desc[QUEUE_SIZE];
	struct {
		uint16_t flags;
		uint16_t idx;
		uint16_t ring[QUEUE_SIZE];
		uint16_t used_event;
	} avail;
	struct {
		uint16_t flags;
		uint16_t idx;
		struct {
			uint32_t id;
			uint32_t len;
		} ring[QUEUE_SIZE];
		uint16_t avail_event;
	} used __attribute__((aligned(8)));
} __attribute__((aligned(4096)));

extern volatile struct virtqueue_memory virtqueue;

static inline uint32_t virtio_read(const struct virtio *d, uint32_t reg)
{
	return mmio_read32(d->base + reg);
}
static inline void virtio_write(const struct virtio *d, uint32_t reg, uint32_t v)
{
	mmio_write32(d->base + reg, v);
}

/* Where slot n of the transport is. */
uint64_t virtio_slot(unsigned n);

/* Finds the nth device of an id and reads what it offers; false if there is none. */
bool virtio_find(struct virtio *d, enum virtio_device_id id, unsigned nth);

/* Resets the device and brings it up with queue 0. VERSION_1 is always asked for. Interrupts are asked for or
 * not. */
void virtio_start(struct virtio *d, uint64_t features, bool interrupts);

/* Makes a request available without ringing; returns the head's index. With `indirect`, in a table of its
 * own. */
uint16_t virtio_queue(struct virtio *d, const struct piece *pieces, unsigned count, bool indirect);
void virtio_ring(const struct virtio *d);

/* Takes the next used entry, polled; returns its length and stores its head. Fails the run if none arrives.
 */
uint32_t virtio_take(struct virtio *d, uint16_t *head);

/* Queue, ring, take. */
uint32_t virtio_request(struct virtio *d, const struct piece *pieces, unsigned count);

#endif
