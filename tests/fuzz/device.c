/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: each device model alone, below core and bus. State and bulk are allocations of exactly the
 * size that the model declares, the state is that after power-on or any bytes from the input, and what a
 * model without DMA does must depend on nothing but its state: it is done twice.
 *
 * The input's first byte chooses the device.
 */
#include "tests/fuzz/machine.h"

#define STEPS 64

struct subject {
	const struct device_ops *ops;
	uint64_t window;
	uint8_t *committed, *spare, *again, *bulk;
};

static struct subject subjects[FUZZ_DEVICES];

static void *exactly(size_t bytes)
{
	void *at = calloc(1, bytes ? bytes : 1);

	fuzz_require(at);
	return at;
}

static void open_subjects(void)
{
	for (uint32_t i = 0; i < FUZZ_DEVICES; i++) {
		const struct device_ops *ops = device_ops_of(fuzz.machine.device[i].type);

		subjects[i] = (struct subject){ops,
					       fuzz.machine.device[i].size,
					       exactly(ops->state_size),
					       exactly(ops->state_size),
					       exactly(ops->state_size),
					       exactly(ops->bulk_size)};
	}
}

static uint64_t now_ns(void)
{
	return fuzz.clock_ns;
}

static struct operation begin(const struct subject *s, uint8_t *spare, struct outbox *out)
{
	memset(out, 0, sizeof(*out));
	if (s->ops->state_size)
		memcpy(spare, s->committed, s->ops->state_size);
	return (struct operation){.state = spare,
				  .bulk = s->ops->bulk_size ? s->bulk : NULL,
				  .out = out,
				  .mem = &fuzz.core.memory,
				  .now_ns = now_ns};
}

static void access_register(struct input *in, struct subject *s, uint8_t step)
{
	struct access a = {.size = 1u << (step >> 4 & 3), .write = step >> 3 & 1, .value = UINT64_MAX}, b;
	struct outbox out, out_again;
	struct operation op = begin(s, s->spare, &out), op_again;

	while (a.size > s->ops->max_access || a.size > s->window)
		a.size /= 2;
	a.offset = input_u16(in) % (s->window - a.size + 1);
	if (a.write)
		a.value = (step & 0x40 ? input_gpa(in) : input_u32(in)) & (UINT64_MAX >> (64 - 8 * a.size));
	b = a;
	s->ops->access(&op, &a);
	fuzz_require(out.irq <= 1 && out.event <= MACHINE_EXIT);
	if (!s->ops->notify) {
		op_again = begin(s, s->again, &out_again);
		s->ops->access(&op_again, &b);
		fuzz_require(a.value == b.value && memcmp(&out, &out_again, sizeof(out)) == 0 &&
			     memcmp(s->spare, s->again, s->ops->state_size) == 0);
	}
}

static void end_io(struct input *in, struct subject *s, struct operation *op)
{
	const uint8_t slot = input_u8(in);
	struct io_request req;

	if (s->ops->io_describe && s->ops->io_describe(s->committed, s->bulk, slot, &req))
		fuzz_require(req.count <= IO_SEGMENTS);
	if (s->ops->complete)
		s->ops->complete(op, slot, (int32_t)input_u32(in));
}

static void step(struct input *in, struct subject *s)
{
	const uint8_t what = input_u8(in);
	uint8_t bytes[64], len;
	struct outbox out;
	struct operation op;

	switch (what & 7) {
	default:
		access_register(in, s, what);
		break;
	case 5:
		op = begin(s, s->spare, &out);
		len = input_u8(in) % (sizeof(bytes) + 1);
		input_copy(in, bytes, len);
		if (s->ops->input)
			fuzz_require(s->ops->input(&op, bytes, len) <= len);
		break;
	case 6:
		op = begin(s, s->spare, &out);
		if (s->ops->notify)
			s->ops->notify(&op, what >> 5);
		break;
	case 7:
		op = begin(s, s->spare, &out);
		end_io(in, s, &op);
		break;
	}
	memcpy(s->committed, s->spare, s->ops->state_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct subject *s;
	uint8_t how;

	machine_reset();
	if (!subjects[0].ops)
		open_subjects();
	s = &subjects[input_u8(&in) % FUZZ_DEVICES];
	how = input_u8(&in);
	memset(s->committed, 0, s->ops->state_size);
	memset(s->bulk, 0, s->ops->bulk_size);
	if (s->ops->init)
		s->ops->init(s->committed, &fuzz.machine.device[s - subjects].config);
	if (how & 1)
		input_copy(&in, s->committed, s->ops->state_size);
	if (how & 2)
		input_copy(&in, s->bulk, s->ops->bulk_size < 512 ? s->ops->bulk_size : 512);
	input_copy(&in, guest_memory_range(&fuzz.core.memory, 0, 512), (how >> 2) * 8u);
	for (unsigned i = 0; i < STEPS && in.left; i++) {
		step(&in, s);
		fuzz.clock_ns += (uint64_t)how << (i % 32);
	}
	return 0;
}
