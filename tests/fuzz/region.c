/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: an emulator takes over a state region in which its predecessor, which had been taken over by
 * the guest, has left any bytes at all; then life goes on. Nothing that is found there may be followed out of
 * the region or of guest memory, or make an operation endless.
 *
 * The input: a list of patches (device, part, offset, bytes), the filler for all else, and what happens then.
 */
#include "tests/fuzz/machine.h"

#define PATCHES 32
#define STEPS   24

enum { PART_CURRENT, PART_COPY, PART_STATE, PART_BULK };

static void fill(uint8_t *at, uint64_t bytes, uint64_t seed)
{
	for (uint64_t i = 0; i + 8 <= bytes; i += 8) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(at + i, &seed, 8);
	}
}

/* The part's bytes, and how many. */
static uint8_t *part_of(uint32_t device, unsigned part, unsigned which, uint64_t *bytes)
{
	const struct region_device *d = &fuzz.core.layout.device[device];

	switch (part) {
	case PART_CURRENT:
		*bytes = sizeof(uint32_t);
		return fuzz.region + d->current;
	case PART_COPY:
		*bytes = sizeof(struct region_copy);
		return fuzz.region + d->copy[which];
	case PART_STATE:
		*bytes = d->state_size;
		return fuzz.region + d->state[which];
	default:
		*bytes = d->bulk_size;
		return fuzz.region + d->bulk;
	}
}

/* All states and records; bulk areas are large, so only as much as is likely to be used. */
static void fill_all(uint64_t seed)
{
	for (uint32_t i = 0; i < FUZZ_DEVICES; i++)
		for (unsigned part = PART_CURRENT; part <= PART_BULK; part++)
			for (unsigned which = 0; which < 2; which++) {
				uint64_t bytes;
				uint8_t *at = part_of(i, part, which, &bytes);

				fill(at, bytes < 4096 ? bytes : 4096, seed + i * 8 + part * 2 + which);
			}
}

static void patch(struct input *in)
{
	const uint8_t where = input_u8(in), len = input_u8(in);
	const uint32_t device = (where & 15) % FUZZ_DEVICES;
	uint64_t bytes, at = input_u16(in);
	uint8_t *part = part_of(device, where >> 4 & 3, where >> 6 & 1, &bytes);

	if (!bytes)
		return;
	at %= bytes;
	input_copy(in, part + at, len < bytes - at ? len : bytes - at);
}

/* As emulator/io.c: whatever the state says is under way has to end. */
static void end_pending(uint32_t outcome)
{
	for (uint32_t i = FUZZ_RNG; i < FUZZ_DEVICES; i++)
		for (unsigned slot = 0; slot < DEVICE_IO_SLOTS; slot++)
			if (fuzz.to_start[i] >> slot & 1)
				machine_io(i, slot, outcome, false);
}

static void use(struct input *in)
{
	const uint8_t how = input_u8(in);
	const uint32_t device = (how & 15) % FUZZ_DEVICES;
	const struct machine_device *d = &fuzz.machine.device[device];
	struct request req = {.kind = REQUEST_READ,
			      .space = d->space,
			      .addr = d->base + input_u8(in) % d->size,
			      .size = d->space == BUS_MMIO ? 4 : 1,
			      .count = 1};
	struct reply reply;

	switch (how >> 4) {
	case 0:
		core_notify(&fuzz.core, device);
		return;
	case 1:
		machine_io(device, input_u8(in), input_u32(in), false);
		return;
	case 2:
		end_pending(input_u8(in));
		return;
	case 3:
		machine_recover();
		return;
	case 4:
		req.kind = REQUEST_INPUT;
		req.count = input_u8(in) % MAILBOX_DATA;
		break;
	case 5 ... 9:
		req.kind = REQUEST_WRITE;
		input_copy(in, req.data, req.size);
		break;
	}
	machine_request(&req, 0, FATE_REPLY, &reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t seed, patches;

	machine_reset();
	memset(fuzz.bulk_changed, 1, sizeof(fuzz.bulk_changed));
	seed = input_u8(&in);
	patches = input_u8(&in) % PATCHES;
	if (seed)
		fill_all(seed);
	for (unsigned i = 0; i < patches; i++)
		patch(&in);
	machine_recover();
	if (!(seed & 1))
		end_pending(0);
	for (unsigned i = 0; i < STEPS && in.left; i++)
		use(&in);
	return 0;
}
