/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The driver offers buffers, the device fills them with random bytes. The bytes come
 * from the I/O thread (getrandom()), because a device model makes no system call, and because what an
 * operation leaves behind must not depend on chance.
 */
#include "devices/virtio_rng.h"

#include <linux/virtio_ids.h>

static void rng_init(void *state, const struct device_config *cfg)
{
	struct virtio_rng *rng = state;

	virtio_mmio_init(&rng->mmio, 0);
}

static bool rng_request(struct operation *op, struct virtqueue_chain *chain)
{
	const struct segments *in = &chain->in;
	struct virtio_slot *slot;

	if (!in->bytes)
		return virtio_mmio_give_back(op, chain->head, 0);
	slot = virtio_mmio_slot_begin(op);
	if (!slot)
		return false;
	slot->status_gpa = 0;
	slot->wanted = 0;
	slot->in_bytes = (uint32_t)in->bytes;
	slot->head = chain->head;
	slot->io.kind = IO_RANDOM;
	slot->io.sync = 0;
	slot->io.offset = 0;
	slot->io.count = 0;
	for (uint32_t i = 0; i < in->count && i < IO_SEGMENTS && slot->wanted < VIRTIO_RNG_BYTES; i++) {
		uint32_t room = VIRTIO_RNG_BYTES - slot->wanted, len = in->seg[i].len;

		slot->io.seg[i].gpa = in->seg[i].gpa;
		slot->io.seg[i].len = len < room ? len : room;
		slot->wanted += slot->io.seg[i].len;
		slot->io.count++;
	}
	return true;
}

static const struct virtio_model rng_model = {
	.id = VIRTIO_ID_RNG,
	.request = rng_request,
};

static void rng_access(struct operation *op, struct access *a)
{
	virtio_mmio_access(op, &rng_model, a);
}

static void rng_notify(struct operation *op, unsigned queue)
{
	virtio_mmio_notify(op, &rng_model, queue);
}

/* Without entropy (result <= 0) the buffer goes back empty; nothing in the protocol says it better. */
static void rng_complete(struct operation *op, unsigned n, int32_t result)
{
	struct virtio_slot slot;
	uint32_t written = result > 0 ? (uint32_t)result : 0;

	if (!virtio_mmio_slot_end(op, n, &slot))
		return;
	if (!virtio_mmio_give_back(op, (uint16_t)slot.head, written < slot.wanted ? written : slot.wanted))
		virtio_mmio_break(op);
}

static bool rng_io_describe(const void *state, const void *bulk, unsigned n, struct io_request *req)
{
	uint64_t bytes = 0;

	if (!virtio_mmio_io_describe(state, bulk, n, req) || req->kind != IO_RANDOM)
		return false;
	for (uint32_t i = 0; i < req->count; i++)
		bytes += req->seg[i].len;
	return bytes <= VIRTIO_RNG_BYTES;
}

const struct device_ops virtio_rng_ops = {
	.name = "virtio-rng",
	.state_size = sizeof(struct virtio_rng),
	.bulk_size = DEVICE_IO_SLOTS * sizeof(struct virtio_slot),
	.max_access = 8,
	.queues = 1,
	.init = rng_init,
	.access = rng_access,
	.notify = rng_notify,
	.complete = rng_complete,
	.io_pending = virtio_mmio_io_pending,
	.io_describe = rng_io_describe,
	.registers = virtio_mmio_registers,
	.register_count = VIRTIO_MMIO_REGISTERS,
	.publish = virtio_mmio_publish,
};
