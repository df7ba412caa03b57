/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The driver finds the device by its magic number, negotiates features, hands one queue
 * over, sets DRIVER_OK, and from then on rings the doorbell; each ring takes all waiting chains. Status bits
 * are only ever added; writing 0 resets.
 *
 * A reset with I/O in flight. The I/O thread, or the disk, may be writing to guest memory just then and
 * cannot be called back. virtio 1.2, 2.4.2, has the driver wait until Status reads 0 before it considers the
 * reset complete, so that is what Status says: as long as requests are in flight everything stays as it is,
 * except that no further request is taken, completions are dropped, and no register but InterruptACK can be
 * written. When the last one has ended, the reset happens. The same holds for QueueReady (4.2.2.2: the driver
 * reads back the 0 that it wrote). So no completion ever meets a queue that it does not belong to, and a slot
 * is never used again before its I/O has ended.
 *
 * A slot for every request: virtqueue_pop() lets at most VIRTQUEUE_MAX chains be out at a time, and counts
 * those that the present operation gives back as out. There are as many slots, so one is always free, and not
 * one that this operation has freed; nothing has ever to wait for a slot.
 */
#include "devices/virtio_mmio.h"

#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#define MAGIC  0x74726976u /* "virt" */
#define VENDOR 0x6d6d7664u /* "dvmm" */

#define BIT(n) (1ull << (n))

/* What the driver may set in Status. */
#define DRIVER_STATUS_BITS                                                                                   \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |                  \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)

void virtio_mmio_init(struct virtio_mmio *m, uint64_t features)
{
	m->device_features = features | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
			     BIT(VIRTIO_RING_F_EVENT_IDX);
}

/* May chains be taken and given back? */
static bool running(const struct virtio_mmio *m)
{
	const uint32_t good = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;
	const uint32_t bad = VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED;

	return (m->status & (good | bad)) == good && m->draining == DRAIN_NONE && m->queue.ready;
}

void virtio_mmio_break(struct operation *op)
{
	struct virtio_mmio *m = op->state;

	m->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (m->status & VIRTIO_CONFIG_S_DRIVER_OK) {
		m->interrupt_status |= VIRTIO_MMIO_INT_CONFIG;
		op->out->irq = 1;
	}
}

/*
 * Takes all chains that wait. Ends with an empty look at the queue after the doorbell was armed. Arming
 * follows a chain or the start, and virtqueue_pop() bounds the chains, so the loop is bounded whatever the
 * guest does meanwhile.
 */
static void run(struct operation *op, const struct virtio_model *model)
{
	struct virtio_mmio *m = op->state;
	struct virtqueue_chain chain;
	bool armed = false;

	if (!running(m))
		return;
	virtqueue_quiet(&m->queue, op->mem);
	for (;;) {
		int r = virtqueue_pop(&m->queue, op, &chain);

		if (r < 0 || (r > 0 && !model->request(op, &chain))) {
			virtio_mmio_break(op);
			return;
		}
		if (r == 0 && armed)
			return;
		armed = r == 0;
		if (armed)
			virtqueue_arm(&m->queue, op->mem);
	}
}

void virtio_mmio_notify(struct operation *op, const struct virtio_model *model, unsigned queue)
{
	if (queue == 0)
		run(op, model);
}

bool virtio_mmio_give_back(struct operation *op, uint16_t head, uint32_t written)
{
	struct virtio_mmio *m = op->state;

	if (!virtqueue_push(&m->queue, op, head, written))
		return false;
	m->interrupt_status |= VIRTIO_MMIO_INT_VRING;
	return true;
}

struct virtio_slot *virtio_mmio_slot_begin(struct operation *op)
{
	struct virtio_mmio *m = op->state;
	unsigned n;

	if (m->slots == UINT64_MAX)
		return NULL;
	n = (unsigned)__builtin_ctzll(~m->slots);
	m->slots |= BIT(n);
	op->out->io_start |= BIT(n);
	return (struct virtio_slot *)op->bulk + n;
}

/* Does what waits for the end of all I/O, if that has come. */
static void drain(struct virtio_mmio *m)
{
	if (m->slots)
		return;
	if (m->draining == DRAIN_RESET)
		*m = (struct virtio_mmio){.device_features = m->device_features};
	m->queue.ready = 0;
	m->draining = DRAIN_NONE;
}

bool virtio_mmio_slot_end(struct operation *op, unsigned n, struct virtio_slot *slot)
{
	struct virtio_mmio *m = op->state;

	if (n >= DEVICE_IO_SLOTS || !(m->slots & BIT(n)))
		return false;
	m->slots &= ~BIT(n);
	if (m->draining != DRAIN_NONE)
		drain(m);
	if (!running(m))
		return false;
	memcpy(slot, (struct virtio_slot *)op->bulk + n, sizeof(*slot));
	return true;
}

uint64_t virtio_mmio_io_pending(const void *state)
{
	return ((const struct virtio_mmio *)state)->slots;
}

bool virtio_mmio_io_describe(const void *state, const void *bulk, unsigned n, struct io_request *req)
{
	const struct virtio_mmio *m = state;

	if (n >= DEVICE_IO_SLOTS || !(m->slots & BIT(n)))
		return false;
	memcpy(req, &((const struct virtio_slot *)bulk)[n].io, sizeof(*req));
	return req->count <= IO_SEGMENTS;
}

const struct device_register virtio_mmio_registers[VIRTIO_MMIO_REGISTERS] = {
	{VIRTIO_MMIO_INTERRUPT_STATUS, 4, REGISTER_PUBLISHED}};

bool virtio_mmio_publish(const void *state, unsigned n, uint32_t *value)
{
	*value = ((const struct virtio_mmio *)state)->interrupt_status;
	return true;
}

/* The 32 features that are selected; there are none from 64 on. */
static uint32_t features_window(uint64_t features, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(features >> (32 * sel));
}

static uint32_t control_read(const struct virtio_mmio *m, const struct virtio_model *model, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return model->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return features_window(m->device_features, m->device_features_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return m->queue_sel ? 0 : VIRTQUEUE_MAX;
	case VIRTIO_MMIO_QUEUE_READY:
		return m->queue_sel ? 0 : m->queue.ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return m->interrupt_status;
	case VIRTIO_MMIO_STATUS:
		return m->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* no such region: 4.2.2, SHMLen */
	default:
		/* Also ConfigGeneration: no configuration here ever changes. */
		return 0;
	}
}

/* One half of a 64-bit value. */
static void low_write(uint64_t *whole, uint32_t value)
{
	*whole = (*whole & ~(uint64_t)UINT32_MAX) | value;
}

static void high_write(uint64_t *whole, uint32_t value)
{
	*whole = (*whole & UINT32_MAX) | (uint64_t)value << 32;
}

static bool features_acceptable(const struct virtio_mmio *m)
{
	return !(m->driver_features & ~m->device_features) && m->driver_features & BIT(VIRTIO_F_VERSION_1);
}

static void status_write(struct operation *op, const struct virtio_model *model, uint32_t value)
{
	struct virtio_mmio *m = op->state;
	uint32_t before = m->status;

	if (!value) {
		m->draining = DRAIN_RESET;
		drain(m);
		return;
	}
	if (m->draining != DRAIN_NONE)
		return;

	value &= DRIVER_STATUS_BITS;
	if (value & ~before & VIRTIO_CONFIG_S_FEATURES_OK) {
		if (features_acceptable(m)) {
			m->queue.event_idx = !!(m->driver_features & BIT(VIRTIO_RING_F_EVENT_IDX));
			m->queue.indirect = !!(m->driver_features & BIT(VIRTIO_RING_F_INDIRECT_DESC));
		} else {
			/* The driver reads back that it is not set: 3.1.1. */
			value &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
		}
	}
	if (!((before | value) & VIRTIO_CONFIG_S_FEATURES_OK))
		value &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
	m->status |= value;

	/* A doorbell that rang too early has been ignored. */
	if (value & ~before & VIRTIO_CONFIG_S_DRIVER_OK)
		run(op, model);
}

static void driver_features_write(struct virtio_mmio *m, uint32_t value)
{
	if (m->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	if (m->driver_features_sel == 0)
		low_write(&m->driver_features, value);
	else if (m->driver_features_sel == 1)
		high_write(&m->driver_features, value);
}

static void queue_ready_write(struct operation *op, uint32_t value)
{
	struct virtio_mmio *m = op->state;

	if (!value) {
		m->draining = DRAIN_QUEUE;
		drain(m);
	} else if (!m->queue.ready && !virtqueue_start(&m->queue, op->mem)) {
		virtio_mmio_break(op);
	}
}

/* Where the queue is and how large: fixed while it is ready (4.2.2.2). */
static void queue_layout_write(struct virtqueue *vq, uint64_t offset, uint32_t value)
{
	if (vq->ready)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		vq->size = value <= VIRTQUEUE_MAX ? (uint16_t)value : 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		low_write(&vq->desc_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		high_write(&vq->desc_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		low_write(&vq->driver_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		high_write(&vq->driver_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		low_write(&vq->device_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		high_write(&vq->device_gpa, value);
		break;
	}
}

static void control_write(struct operation *op, const struct virtio_model *model, uint64_t offset,
			  uint32_t value)
{
	struct virtio_mmio *m = op->state;

	if (offset == VIRTIO_MMIO_STATUS) {
		status_write(op, model, value);
		return;
	}
	if (m->draining != DRAIN_NONE && offset != VIRTIO_MMIO_INTERRUPT_ACK)
		return;
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->driver_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		driver_features_write(m, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (m->queue_sel == 0)
			queue_ready_write(op, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY: /* normally caught by an ioeventfd */
		virtio_mmio_notify(op, model, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		m->interrupt_status &= ~value;
		break;
	default:
		if (m->queue_sel == 0)
			queue_layout_write(&m->queue, offset, value);
	}
}

static uint64_t config_read(const struct operation *op, const struct virtio_model *model, uint64_t offset,
			    uint32_t size)
{
	uint8_t config[VIRTIO_CONFIG_BYTES + sizeof(uint64_t)] = {0}; /* room for a read across the end */
	uint64_t value = 0;

	if (offset >= VIRTIO_CONFIG_BYTES || size > sizeof(value) || !model->config)
		return 0;
	model->config(op->state, config);
	memcpy(&value, config + offset, size);
	return value;
}

void virtio_mmio_access(struct operation *op, const struct virtio_model *model, struct access *a)
{
	if (a->offset >= VIRTIO_MMIO_CONFIG) {
		if (!a->write) /* nothing in it is writable */
			a->value = config_read(op, model, a->offset - VIRTIO_MMIO_CONFIG, a->size);
		return;
	}

	/* 4.2.2.2: "The driver MUST only use 32 bit wide and aligned reads and writes to access the control
	 * registers". */
	if (a->size != sizeof(uint32_t)) {
		if (!a->write)
			a->value = 0;
	} else if (a->write) {
		control_write(op, model, a->offset, (uint32_t)a->value);
	} else {
		a->value = control_read(op->state, model, a->offset);
	}
}
