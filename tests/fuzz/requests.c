/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: everything that a guest and its user can make the emulator do, in any order, by several vCPUs,
 * with other vCPUs changing memory meanwhile, forced completions and emulators that die.
 *
 * The input is a list of steps; the first byte of each says which.
 */
#include <linux/virtio_mmio.h>

#include "tests/fuzz/machine.h"

#define STEPS 32 /* more of them find little that a second input would not */

static const uint16_t registers[] = {
	VIRTIO_MMIO_MAGIC_VALUE,     VIRTIO_MMIO_VERSION,
	VIRTIO_MMIO_DEVICE_ID,       VIRTIO_MMIO_VENDOR_ID,
	VIRTIO_MMIO_DEVICE_FEATURES, VIRTIO_MMIO_DEVICE_FEATURES_SEL,
	VIRTIO_MMIO_DRIVER_FEATURES, VIRTIO_MMIO_DRIVER_FEATURES_SEL,
	VIRTIO_MMIO_QUEUE_SEL,       VIRTIO_MMIO_QUEUE_NUM_MAX,
	VIRTIO_MMIO_QUEUE_NUM,       VIRTIO_MMIO_QUEUE_READY,
	VIRTIO_MMIO_QUEUE_NOTIFY,    VIRTIO_MMIO_INTERRUPT_STATUS,
	VIRTIO_MMIO_INTERRUPT_ACK,   VIRTIO_MMIO_STATUS,
	VIRTIO_MMIO_QUEUE_DESC_LOW,  VIRTIO_MMIO_QUEUE_DESC_HIGH,
	VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
	VIRTIO_MMIO_QUEUE_USED_LOW,  VIRTIO_MMIO_QUEUE_USED_HIGH,
	VIRTIO_MMIO_SHM_LEN_LOW,     VIRTIO_MMIO_CONFIG_GENERATION,
	VIRTIO_MMIO_CONFIG,          VIRTIO_MMIO_CONFIG + 0x38,
	VIRTIO_MMIO_CONFIG + 0x40,   0xffc,
};
#define REGISTERS (sizeof(registers) / sizeof(registers[0]))

/* Who asks, and how it ends, is in the step's upper bits. */
static void ask(const struct request *req, uint8_t step)
{
	static const enum fuzz_fate fates[4] = {FATE_REPLY, FATE_REPLY, FATE_ABANDONED, FATE_KILLED};
	struct reply reply;

	machine_request(req, (step >> 4 & 3) % FUZZ_VCPUS, fates[step >> 6], &reply);
}

static void any_register(struct input *in, uint8_t step)
{
	const uint8_t which = input_u8(in), shape = input_u8(in);
	const struct machine_device *d = &fuzz.machine.device[(which & 15) % FUZZ_DEVICES];
	struct request req = {.kind = which & 0x80 ? REQUEST_WRITE : REQUEST_READ,
			      .space = d->space,
			      .addr = d->base + input_u8(in) % d->size,
			      .size = 1u << (shape & 3),
			      .count = 1};

	if (shape & 4)
		req.count = shape >> 3;
	if (req.kind == REQUEST_WRITE)
		input_copy(in, req.data,
			   req.size * req.count < MAILBOX_DATA ? req.size * req.count : MAILBOX_DATA);
	ask(&req, step);
}

static void virtio_register(struct input *in, uint8_t step)
{
	const uint8_t which = input_u8(in);
	const uint32_t device = FUZZ_RNG + which % (FUZZ_DEVICES - FUZZ_RNG);
	struct request req = {.kind = which & 0x80 ? REQUEST_WRITE : REQUEST_READ,
			      .space = BUS_MMIO,
			      .size = 4,
			      .count = 1};
	uint64_t value;

	req.addr = fuzz.machine.device[device].base + registers[input_u8(in) % REGISTERS];
	value = which & 0x40 ? input_gpa(in) : input_u8(in);
	memcpy(req.data, &value, sizeof(value));
	ask(&req, step);
}

static void any_request(struct input *in, uint8_t step)
{
	struct request req = {.kind = input_u8(in), .space = input_u8(in), .addr = input_u64(in)};

	req.size = input_u32(in);
	req.count = input_u32(in);
	input_copy(in, req.data, sizeof(req.data));
	ask(&req, step);
}

static void typed(struct input *in, uint8_t step)
{
	struct request req = {.kind = REQUEST_INPUT, .count = input_u8(in) % (MAILBOX_DATA + 2)};

	input_copy(in, req.data, req.count < MAILBOX_DATA ? req.count : MAILBOX_DATA);
	ask(&req, step);
}

static uint32_t virtio_device(struct input *in)
{
	return FUZZ_RNG + input_u8(in) % (FUZZ_DEVICES - FUZZ_RNG);
}

static void memory(struct input *in)
{
	uint8_t bytes[32];
	uint64_t gpa = input_gpa(in);
	uint32_t len = 1 + input_u8(in) % sizeof(bytes);

	input_copy(in, bytes, len);
	guest_memory_write(&fuzz.core.memory, gpa, bytes, len);
}

/* Ends I/O: of a slot that the input names, or of all that is under way. */
static void end_io(struct input *in)
{
	const uint32_t device = virtio_device(in);
	const uint8_t how = input_u8(in);

	if (how & 1) {
		machine_io(device, how >> 1, input_u32(in), true);
		return;
	}
	for (unsigned slot = 0; slot < DEVICE_IO_SLOTS; slot++)
		if (fuzz.to_start[device] >> slot & 1)
			machine_io(device, slot, how >> 1, true);
}

static void step(struct input *in)
{
	const uint8_t s = input_u8(in);

	switch (s & 15) {
	case 0:
	case 1:
		any_register(in, s);
		break;
	case 2:
	case 3:
		virtio_register(in, s);
		break;
	case 4:
		any_request(in, s);
		break;
	case 5:
		typed(in, s);
		break;
	case 6:
		memory(in);
		break;
	case 7:
		fuzz.clock_ns += input_u64(in) >> (s >> 4 << 2);
		break;
	case 8:
		driver_start(in, virtio_device(in));
		break;
	case 9:
	case 10:
	case 11:
		driver_chain(in, virtio_device(in));
		break;
	case 12:
		core_notify(&fuzz.core, input_u8(in) % FUZZ_DEVICES);
		break;
	case 13:
		end_io(in);
		break;
	case 14:
		race_add(in);
		break;
	case 15:
		machine_recover();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	machine_reset();
	for (unsigned i = 0; i < STEPS && in.left; i++)
		step(&in);
	return 0;
}
