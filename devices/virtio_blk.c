/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A request is a stream of readable bytes (16 bytes of header, then the data of a write)
 * and a stream of writable ones (the data of a read, then one byte of status); where one descriptor ends and
 * the next begins means nothing (VIRTIO_F_VERSION_1 implies any layout). What can be answered at once is; the
 * rest becomes the record of a slot, which the I/O thread performs and complete() answers.
 *
 * A chain without room for header or status cannot be answered and breaks the device. Everything else that is
 * wrong with a request is that request's own I/O error.
 */
#include "devices/virtio_blk.h"

#include <string.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#define SECTOR 512u
#define BIT(n) (1ull << (n))

/* The most that one readv() or writev() moves on Linux; more could only end short. Also below INT32_MAX. */
#define MAX_BYTES 0x7ffff000u

static void blk_init(void *state, const struct device_config *cfg)
{
	struct virtio_blk *blk = state;

	virtio_mmio_init(&blk->mmio, BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
					     BIT(VIRTIO_BLK_F_FLUSH) |
					     (cfg->read_only ? BIT(VIRTIO_BLK_F_RO) : 0));
	blk->capacity = cfg->capacity;
	memcpy(blk->serial, cfg->serial, sizeof(cfg->serial));
}

static void blk_config(const void *state, uint8_t config[VIRTIO_CONFIG_BYTES])
{
	const struct virtio_blk *blk = state;
	const struct virtio_blk_config c = {
		.capacity = blk->capacity,
		.seg_max = IO_SEGMENTS - 2,
		.blk_size = SECTOR,
	};

	_Static_assert(offsetof(struct virtio_blk_config, physical_block_exp) <= VIRTIO_CONFIG_BYTES, "room");
	memcpy(config, &c, offsetof(struct virtio_blk_config, physical_block_exp));
}

/*
 * Answers a request: `data` of its `in_bytes` bytes of writable data were written. The length reported counts
 * from the first writable byte on and must not include any that was not written (2.7.8.2), so the status
 * byte, which is the last one, counts only if all before it do.
 */
static bool blk_answer(struct operation *op, uint16_t head, uint64_t status_gpa, uint8_t status,
		       uint32_t data, uint32_t in_bytes)
{
	return guest_memory_write(op->mem, status_gpa, &status, sizeof(status)) &&
	       virtio_mmio_give_back(op, head, data == in_bytes ? data + 1 : data);
}

/* Are these bytes, from this sector on, whole sectors on the disk? Nothing in it can wrap around. */
static bool range_acceptable(const struct virtio_blk *blk, uint64_t sector, uint64_t bytes)
{
	return bytes && bytes <= MAX_BYTES && !(bytes % SECTOR) && sector <= blk->capacity &&
	       bytes / SECTOR <= blk->capacity - sector;
}

static bool write_through(const struct virtio_blk *blk)
{
	return !(blk->mmio.driver_features & BIT(VIRTIO_BLK_F_FLUSH));
}

/* Records a request that takes time. data: its data, or NULL for a flush. */
static bool blk_begin(struct operation *op, const struct virtqueue_chain *chain, uint64_t status_gpa,
		      uint32_t kind, uint64_t sector, const struct segments *data)
{
	struct virtio_slot *slot = virtio_mmio_slot_begin(op);

	if (!slot)
		return false;
	slot->status_gpa = status_gpa;
	slot->wanted = data ? (uint32_t)data->bytes : 0;
	slot->in_bytes = (uint32_t)chain->in.bytes;
	slot->head = chain->head;
	slot->io.kind = kind;
	slot->io.count = data ? data->count : 0;
	slot->io.sync = kind == IO_WRITE && write_through(op->state);
	slot->io.offset = sector * SECTOR;
	for (uint32_t i = 0; i < slot->io.count; i++) {
		slot->io.seg[i].gpa = data->seg[data->first + i].gpa;
		slot->io.seg[i].len = data->seg[data->first + i].len;
	}
	return true;
}

static bool blk_transfer(struct operation *op, const struct virtqueue_chain *chain, uint64_t status_gpa,
			 uint32_t kind, uint64_t sector)
{
	const struct virtio_blk *blk = op->state;
	const struct segments *data = kind == IO_READ ? &chain->in : &chain->out;

	if (!range_acceptable(blk, sector, data->bytes) || data->count > IO_SEGMENTS ||
	    (kind == IO_WRITE && blk->mmio.device_features & BIT(VIRTIO_BLK_F_RO)))
		return blk_answer(op, chain->head, status_gpa, VIRTIO_BLK_S_IOERR, 0,
				  (uint32_t)chain->in.bytes);
	return blk_begin(op, chain, status_gpa, kind, sector, data);
}

static bool blk_get_id(struct operation *op, struct virtqueue_chain *chain, uint64_t status_gpa)
{
	const struct virtio_blk *blk = op->state;
	uint32_t room = (uint32_t)chain->in.bytes;
	uint32_t len = room < VIRTIO_BLK_ID_BYTES ? room : VIRTIO_BLK_ID_BYTES;

	return segments_write(&chain->in, op->mem, blk->serial, len) &&
	       blk_answer(op, chain->head, status_gpa, VIRTIO_BLK_S_OK, len, room);
}

static bool blk_request(struct operation *op, struct virtqueue_chain *chain)
{
	struct virtio_blk_outhdr header;
	uint64_t status_gpa;

	if (!segments_read(&chain->out, op->mem, &header, sizeof(header)) ||
	    !segments_take_last(&chain->in, &status_gpa))
		return false;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		return blk_transfer(op, chain, status_gpa, IO_READ, header.sector);
	case VIRTIO_BLK_T_OUT:
		return blk_transfer(op, chain, status_gpa, IO_WRITE, header.sector);
	case VIRTIO_BLK_T_FLUSH:
		return blk_begin(op, chain, status_gpa, IO_FLUSH, 0, NULL);
	case VIRTIO_BLK_T_GET_ID:
		return blk_get_id(op, chain, status_gpa);
	default:
		return blk_answer(op, chain->head, status_gpa, VIRTIO_BLK_S_UNSUPP, 0,
				  (uint32_t)chain->in.bytes);
	}
}

static const struct virtio_model blk_model = {
	.id = VIRTIO_ID_BLOCK,
	.config = blk_config,
	.request = blk_request,
};

static void blk_access(struct operation *op, struct access *a)
{
	virtio_mmio_access(op, &blk_model, a);
}

static void blk_notify(struct operation *op, unsigned queue)
{
	virtio_mmio_notify(op, &blk_model, queue);
}

static void blk_complete(struct operation *op, unsigned n, int32_t result)
{
	struct virtio_slot slot;
	uint32_t data;
	bool ok;

	if (!virtio_mmio_slot_end(op, n, &slot))
		return;
	ok = result >= 0 && (uint32_t)result == slot.wanted;
	data = ok && slot.io.kind == IO_READ ? slot.wanted : 0;
	if (!blk_answer(op, (uint16_t)slot.head, slot.status_gpa, ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR,
			data, slot.in_bytes))
		virtio_mmio_break(op);
}

/* A damaged record must not become I/O beyond the end of the disk, which would enlarge the file. */
static bool blk_io_describe(const void *state, const void *bulk, unsigned n, struct io_request *req)
{
	const struct virtio_blk *blk = state;
	uint64_t bytes = 0;

	if (!virtio_mmio_io_describe(state, bulk, n, req))
		return false;
	for (uint32_t i = 0; i < req->count; i++)
		bytes += req->seg[i].len;
	switch (req->kind) {
	case IO_READ:
	case IO_WRITE:
		return !(req->offset % SECTOR) && range_acceptable(blk, req->offset / SECTOR, bytes);
	case IO_FLUSH:
		return bytes == 0;
	default:
		return false;
	}
}

const struct device_ops virtio_blk_ops = {
	.name = "virtio-blk",
	.state_size = sizeof(struct virtio_blk),
	.bulk_size = DEVICE_IO_SLOTS * sizeof(struct virtio_slot),
	.max_access = 8,
	.queues = 1,
	.init = blk_init,
	.access = blk_access,
	.notify = blk_notify,
	.complete = blk_complete,
	.io_pending = virtio_mmio_io_pending,
	.io_describe = blk_io_describe,
	.registers = virtio_mmio_registers,
	.register_count = VIRTIO_MMIO_REGISTERS,
	.publish = virtio_mmio_publish,
};
