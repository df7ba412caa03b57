/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a case starts from: an instruction of a form, registers that send its operands to where something is, flags,
 * memory, XSAVE state. All of it follows from the seed, the name of the form and the number of the case.
 */
#include "tests/x86/differential.h"

#include <string.h>

#define POOL 0x10000u /* random bytes, of which each case takes a window */

#define FLAG_TF 0x100u
#define FLAG_AC 0x40000u

struct test test;
struct processor processor;
uint8_t pool[POOL + DATA_BYTES + 4096];

uint64_t random_next(struct random *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 2685821657736338717ull;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t text_hash(const char *s)
{
	uint64_t h = 14695981039346656037ull;

	while (*s)
		h = (h ^ (uint8_t)*s++) * 1099511628211ull;
	return h;
}

void pool_make(void)
{
	struct random r = {.state = 0x9e3779b97f4a7c15ull};

	for (unsigned i = 0; i < sizeof(pool); i += 8) {
		uint64_t v = one_in(&r, 4) ? random_below(&r, 100) : random_next(&r);

		memcpy(pool + i, &v, 8);
	}
}

void processor_read(const struct x86_machine *m)
{
	uint8_t legacy[512] __attribute__((aligned(16)));
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	processor.xcr0 = (uint64_t)high << 32 | low;
	__asm__ volatile("rdtscp" : "=c"(low)::"eax", "edx");
	processor.tsc_aux = low;
	__asm__ volatile("rdfsbase %0" : "=r"(processor.fs_base));
	processor.xstate_bytes = native_xstate_bytes();
	__asm__ volatile("fxsave64 %0" : "=m"(legacy));
	memcpy(&processor.mxcsr_mask, legacy + 28, 4);
	processor.component = m->xcomponent;
}

static uint64_t random_value(struct random *r)
{
	static const uint64_t edges[] = {0,          1,
					 2,          0x7f,
					 0x80,       0xff,
					 0x7fff,     0x8000,
					 0xffff,     0x7fffffff,
					 0x80000000, 0xffffffff,
					 INT64_MAX,  (uint64_t)INT64_MIN,
					 UINT64_MAX, UINT64_MAX - 1};

	switch (random_below(r, 6)) {
	case 0:
		return random_below(r, 64) - (one_in(r, 2) ? 32 : 0);
	case 1:
		return edges[random_below(r, sizeof(edges) / sizeof(*edges))];
	case 2:
		return random_next(r) & 0xffffffff;
	case 3:
		return random_next(r) >> random_below(r, 64);
	default:
		return random_next(r);
	}
}

/* Where a memory operand goes: mostly into the data, sometimes over an end of it, or elsewhere. */
static uint64_t random_target(struct random *r, unsigned size)
{
	uint64_t in_data = DATA + random_below(r, DATA_BYTES - 0x400);

	switch (random_below(r, 32)) {
	case 0:
		return DATA + DATA_BYTES - random_below(r, size + 2);
	case 1:
		return DATA + 4096 - random_below(r, size + 1);
	case 2:
		return DATA - random_below(r, size + 2);
	case 3:
		return READONLY + random_below(r, 4096);
	case 4:
		return random_value(r);
	case 5:
		return in_data;
	default: /* aligned more often than chance has it */
		return in_data & -(uint64_t)(1u << random_below(r, 7));
	}
}

static void gpr_set(unsigned reg, uint64_t value)
{
	test.state.gpr[reg] = test.form->bits == 64 ? value : value & 0xffffffff;
}

unsigned gpr_number(ZydisRegister reg)
{
	return (unsigned)ZydisRegisterGetId(reg) & 15;
}

static void displacement_set(uint64_t value)
{
	memcpy(test.in.bytes + test.in.insn.raw.disp.offset, &value, test.in.insn.raw.disp.size / 8);
}

/* Makes a memory operand point to a target, by its base register, or its displacement where it has none. */
static void operand_aim(const ZydisDecodedOperand *op, struct random *r)
{
	uint64_t to = random_target(r, op->size / 8 + 1), index = 0;

	if (op->mem.segment == ZYDIS_REGISTER_GS)
		to -= test.state.segment[X86_GS].base;
	if (op->mem.index != ZYDIS_REGISTER_NONE) {
		if (one_in(r, 2))
			gpr_set(gpr_number(op->mem.index), random_below(r, 256) - 128);
		index = test.state.gpr[gpr_number(op->mem.index)] * op->mem.scale;
	}
	if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP)
		displacement_set(to - test.state.rip - test.in.insn.length);
	else if (op->mem.base != ZYDIS_REGISTER_NONE)
		gpr_set(gpr_number(op->mem.base), to - index - (uint64_t)op->mem.disp.value);
	else if (test.in.insn.raw.disp.size >= 32)
		displacement_set(to - index);
}

/* Something that XRSTOR, FXRSTOR, LDMXCSR may like, at a 64-byte boundary; and not quite, at times. */
static void image_place(struct random *r)
{
	unsigned at = (unsigned)random_below(r, 16) * 64;
	uint8_t *image = test.data + at;
	uint64_t header[8] = {random_next(r) & 0xe7 & processor.xcr0};

	if (one_in(r, 3))
		header[1] = 1ull << 63 | header[0] | (random_next(r) & 0xe7 & processor.xcr0);
	if (one_in(r, 16))
		header[random_below(r, 8)] ^= 1ull << random_below(r, 64);
	memcpy(image + 512, header, sizeof(header));
	memcpy(image + 24, &(uint32_t){(uint32_t)random_next(r) & (one_in(r, 8) ? 0x1ffff : 0xffff)}, 4);
	for (unsigned i = 0; i < test.in.insn.operand_count; i++) {
		const ZydisDecodedOperand *op = &test.in.op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.base != ZYDIS_REGISTER_NONE &&
		    op->mem.base != ZYDIS_REGISTER_RIP && op->mem.index == ZYDIS_REGISTER_NONE)
			gpr_set(gpr_number(op->mem.base), DATA + at - (uint64_t)op->mem.disp.value -
								  (op->mem.segment == ZYDIS_REGISTER_GS
									   ? test.state.segment[X86_GS].base
									   : 0));
	}
}

static bool is_restore(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_XRSTOR || m == ZYDIS_MNEMONIC_XRSTOR64 || m == ZYDIS_MNEMONIC_FXRSTOR ||
	       m == ZYDIS_MNEMONIC_FXRSTOR64 || m == ZYDIS_MNEMONIC_LDMXCSR || m == ZYDIS_MNEMONIC_VLDMXCSR;
}

static void registers_make(struct random *r)
{
	struct x86_state *s = &test.state;

	for (unsigned i = 0; i < 16; i++)
		gpr_set(i, i < 8 || test.form->bits == 64 ? random_value(r) : 0);
	if (one_in(r, 4))
		gpr_set(X86_RDX, (uint64_t)((int64_t)s->gpr[X86_RAX] >> 63)); /* for divisions that succeed */
	if (!one_in(r, 64))
		gpr_set(X86_RSP, (random_target(r, 16) & ~(one_in(r, 8) ? 0ull : 7ull)));
	if (!one_in(r, 16))
		gpr_set(X86_RBP, random_target(r, 16));
	if (test.in.insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
		gpr_set(X86_RCX, one_in(r, 64) ? random_value(r) : random_below(r, one_in(r, 16) ? 300 : 8));
	s->rflags = 0x202 | (random_next(r) & 0x8d5) | (one_in(r, 8) ? 0x400 : 0) |
		    (one_in(r, 16) ? FLAG_AC : 0) | (one_in(r, 16) ? 0x200000 : 0);
	s->segment[X86_GS].base = random_below(r, 0x1000);
}

static void state_make(struct random *r)
{
	struct x86_state *s = &test.state;
	bool is_64 = test.form->bits == 64;

	memset(s, 0, sizeof(*s));
	s->rip = CODE + random_below(r, 64);
	if (one_in(r, 32) && !length_varies(&test.in.insn)) /* over the end of the page */
		s->rip = CODE + 4096 - 1 - random_below(r, test.in.insn.length);
	for (unsigned i = 0; i < 6; i++)
		s->segment[i].attributes = X86_SEGMENT_UNUSABLE;
	s->segment[X86_CS] =
		(struct x86_segment){0, 0xffffffff, is_64 ? 0x33 : 0x23, 0, is_64 ? 0xa0fb : 0xc0fb, 0};
	s->segment[X86_SS] = (struct x86_segment){0, 0xffffffff, 0x2b, 0, 0xc0f3, 0};
	s->segment[X86_DS] = s->segment[X86_ES] = s->segment[X86_SS];
	s->segment[X86_FS].base = processor.fs_base;
	s->cr0 = 0x80050033;
	s->cr3 = 0x1000;
	s->cr4 = 0x50620; /* PAE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE */
	s->efer = 0xd01;
	s->xcr0 = processor.xcr0;
	s->tsc_aux = processor.tsc_aux;
	s->have = X86_REGS | X86_SREGS | X86_XCR0 | X86_MSRS;
	registers_make(r);
}

/* A control transfer may go anywhere, and POPF may set TF: these need TF. So does code at the page's end. */
static bool needs_trap(const struct instruction *in)
{
	switch (in->insn.meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET:
		return true;
	default:
		break;
	}
	return in->insn.mnemonic == ZYDIS_MNEMONIC_POPF || in->insn.mnemonic == ZYDIS_MNEMONIC_POPFD ||
	       in->insn.mnemonic == ZYDIS_MNEMONIC_POPFQ ||
	       (test.state.rip & 4095) + in->insn.length + 7 > 4096;
}

bool is_repeated(const struct instruction *in)
{
	return in->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
}

void case_make(struct form *form, uint64_t number, uint64_t seed)
{
	struct random *r = &test.random;

	test.form = form;
	test.number = number;
	r->state = mix(mix(seed) ^ text_hash(form->name) ^ mix(number + 1)) | 1;
	test.with_xstate = false;
	form_instance(form, r, &test.in);
	state_make(r);
	memcpy(test.data, pool + random_below(r, POOL / 8) * 8, DATA_BYTES);
	for (unsigned i = 0; i < test.in.insn.operand_count; i++)
		if (test.in.op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && !one_in(r, 64))
			operand_aim(&test.in.op[i], r);
	if (is_restore(test.in.insn.mnemonic) && !one_in(r, 4))
		image_place(r);
	if (is_repeated(&test.in) && (test.state.rip & 4095) > 4000)
		test.state.rip = CODE;
	if (alignment_varies(&test.in))
		test.state.rflags &= ~(uint64_t)FLAG_AC;
	if (needs_trap(&test.in) || (!is_repeated(&test.in) && one_in(r, 32)))
		test.state.rflags |= FLAG_TF;
	instruction_parse(&test.in, form->bits);
}

/* Loading x87 state, a processor makes ES and B of the status word from the exceptions that are not masked.
 */
void status_normalise(uint8_t *image)
{
	bool pending = image[2] & ~image[0] & 0x3f;

	if (!(image[512] & 1))
		return;
	image[2] = (image[2] & 0x7f) | (pending ? 0x80 : 0);
	image[3] = (image[3] & 0x7f) | (pending ? 0x80 : 0);
	image[0] = (image[0] & 0x3f) | 0x40; /* reserved bits of the control word */
	image[1] &= 0x1f;
}

/* Everything that XSAVE covers, each component in use or not; MXCSR with all of its 16 bits. */
void xstate_make(void)
{
	struct random *r = &test.random;
	uint8_t *image = test.xstate.image;
	uint64_t in_use = random_next(r) & 0xe7 & processor.xcr0;

	test.with_xstate = true;
	test.xstate.size = processor.xstate_bytes;
	memset(image, 0, 1088);
	memcpy(image + 160, pool + random_below(r, POOL / 8) * 8, 256);
	for (unsigned i = 2; i < 8; i++)
		if (processor.xcr0 & 0xe4 & (1u << i))
			memcpy(image + processor.component[i].offset, pool + random_below(r, POOL / 8) * 8,
			       processor.component[i].size);
	if (one_in(r, 2))
		in_use |= 7 & processor.xcr0;
	memcpy(image + 512, &in_use, 8);
	for (unsigned i = 0; i < 8; i++) { /* x87: registers of 80 bits */
		memcpy(image + 32 + 16 * i, &(uint64_t){random_next(r)}, 8);
		memcpy(image + 40 + 16 * i, &(uint16_t){(uint16_t)random_next(r)}, 2);
	}
	memcpy(image, &(uint16_t){one_in(r, 4) ? (random_next(r) & 0x0f3f) | 0x40 : 0x37f}, 2);
	memcpy(image + 2, &(uint16_t){random_next(r) & (one_in(r, 4) ? 0x7f7f : 0x7f00)}, 2);
	image[4] = (uint8_t)random_next(r);
	/* Without SSE and AVX in use KVM reports the initial MXCSR. */
	memcpy(image + 24, &(uint32_t){in_use & 6 ? (uint32_t)random_next(r) & 0xffff : 0x1f80}, 4);
	memcpy(image + 28, &processor.mxcsr_mask, 4);
	status_normalise(image);
}
