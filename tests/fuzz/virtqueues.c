/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the virtqueue alone, over memory that is descriptors and rings at once and that changes while
 * it is looked at. What a chain says when it has been taken out must be true, and must stay within what
 * virtqueue.h promises.
 *
 * The input: what the queue's state is, where the rings are, what memory holds, races, and then a list of
 * calls.
 */
#include <errno.h>

#include <linux/virtio_ring.h>

#include "devices/virtqueue.h"
#include "tests/fuzz/machine.h"

#define STEPS 48
#define TABLE 0x0000u
#define AVAIL 0x0800u
#define USED  0x0c00u

static struct virtqueue vq;
static struct outbox out;
static struct operation op = {.out = &out, .mem = &fuzz.core.memory};
static unsigned popped; /* in this operation */

static void check_stream(const struct segments *s)
{
	uint64_t bytes = 0;

	fuzz_require(s->first + s->count <= VIRTQUEUE_MAX);
	for (uint32_t i = s->first; i < s->first + s->count; i++) {
		fuzz_require(s->seg[i].len > 0);
		fuzz_require(guest_memory_range(op.mem, s->seg[i].gpa, s->seg[i].len));
		bytes += s->seg[i].len;
	}
	fuzz_require(bytes == s->bytes && bytes <= UINT32_MAX);
}

static void use_chain(struct input *in, struct virtqueue_chain *chain, uint8_t how)
{
	uint8_t bytes[64];
	uint64_t gpa;

	check_stream(&chain->out);
	check_stream(&chain->in);
	if (how & 1)
		segments_read(&chain->out, op.mem, bytes, how >> 2);
	if ((how & 2) && segments_take_last(&chain->in, &gpa))
		fuzz_require(guest_memory_range(op.mem, gpa, 1));
	memset(bytes, 0x5a, sizeof(bytes));
	if (how & 2)
		segments_write(&chain->in, op.mem, bytes, how >> 2);
	check_stream(&chain->out);
	check_stream(&chain->in);
	if (how & 4)
		virtqueue_push(&vq, &op, chain->head, input_u8(in));
}

static void take(struct input *in)
{
	struct virtqueue_chain chain;
	const uint8_t how = input_u8(in);
	const uint16_t before = vq.last_avail;
	int r = virtqueue_pop(&vq, &op, &chain);

	fuzz_require(r == 1 || r == 0 || r == -EINVAL);
	fuzz_require(vq.last_avail == (uint16_t)(before + (r == 1)));
	if (r != 1)
		return;
	popped++;
	fuzz_require(popped <= VIRTQUEUE_MAX);
	use_chain(in, &chain, how);
}

static void end_operation(void)
{
	virtqueue_publish(&out, op.mem);
	memset(&out, 0, sizeof(out));
	popped = 0;
}

static void write_descriptors(struct input *in)
{
	const uint8_t how = input_u8(in);
	uint64_t gpa =
		(how & 1 ? input_gpa(in) : vq.desc_gpa) + (uint64_t)(how >> 4) * sizeof(struct vring_desc);

	for (unsigned i = 0; i <= (how >> 1 & 7); i++, gpa += sizeof(struct vring_desc)) {
		struct vring_desc d = {.addr = input_gpa(in)};
		uint8_t len = input_u8(in);

		d.len = len & 0x80 ? input_u32(in) >> (len & 31) : 16u * len;
		d.flags = input_u8(in);
		d.next = d.flags & 0x80 ? input_u16(in) : d.flags >> 3 & 15;
		d.flags &= 7;
		guest_memory_write(op.mem, gpa, &d, sizeof(d));
	}
}

static void make_available(struct input *in)
{
	const uint8_t how = input_u8(in);
	uint16_t head = how & 63, index;

	if (!guest_memory_read(op.mem, vq.driver_gpa + offsetof(struct vring_avail, idx), &index,
			       sizeof(index)))
		return;
	guest_memory_write(op.mem,
			   vq.driver_gpa + offsetof(struct vring_avail, ring) +
				   (uint64_t)(index & (uint16_t)(vq.size - 1)) * sizeof(head),
			   &head, sizeof(head));
	index = (uint16_t)(index + (how & 0x80 ? input_u16(in) : 1));
	guest_memory_write(op.mem, vq.driver_gpa + offsetof(struct vring_avail, idx), &index, sizeof(index));
}

/* As the driver hands it over, or (damaged) as only a dead emulator can have left it. */
static void open_queue(struct input *in)
{
	const uint8_t how = input_u8(in);

	memset(&out, 0, sizeof(out));
	memset(&vq, 0, sizeof(vq));
	popped = 0;
	if (how & 1) {
		input_copy(in, &vq, sizeof(vq));
		return;
	}
	vq.size = how & 2 ? input_u16(in) : (uint16_t)(1u << (how >> 5));
	vq.desc_gpa = how & 4 ? input_gpa(in) : TABLE;
	vq.driver_gpa = how & 8 ? input_gpa(in) : AVAIL;
	vq.device_gpa = how & 8 ? input_gpa(in) : USED;
	vq.indirect = !(how & 16);
	vq.event_idx = how >> 5 & 1;
	if (!virtqueue_start(&vq, op.mem)) {
		fuzz_require(!vq.ready);
		return;
	}
	fuzz_require(vq.size <= VIRTQUEUE_MAX && guest_memory_range(op.mem, vq.desc_gpa, vq.size * 16ull));
	if (input_u8(in) & 1) { /* close to where the indices wrap */
		const uint16_t index = UINT16_MAX - 1;

		vq.last_avail = vq.used = index;
		guest_memory_write(op.mem, vq.driver_gpa + offsetof(struct vring_avail, idx), &index,
				   sizeof(index));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	machine_reset();
	open_queue(&in);
	for (unsigned i = 0; i < STEPS && in.left; i++) {
		switch (input_u8(&in) & 7) {
		case 0:
			write_descriptors(&in);
			break;
		case 1:
			make_available(&in);
			break;
		case 2:
		case 3:
			take(&in);
			break;
		case 4:
			end_operation();
			break;
		case 5:
			race_add(&in);
			break;
		case 6:
			virtqueue_quiet(&vq, op.mem);
			break;
		case 7:
			virtqueue_arm(&vq, op.mem);
			break;
		}
	}
	return 0;
}
