/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moves of SSE, AVX and AVX-512: what copies memory, and devices' memory, uses. No arithmetic.
 *
 * Theory of operation: a vector register lies in up to three components of the XSAVE image, 16, 16 and 32
 * bytes of it (or, from 16 on, in one component as a whole). It is read as 64 bytes; written with the
 * width of the operand, and forms with VEX or EVEX clear the rest. The checks of SDM 2, 2.4 to 2.7 come
 * first.
 */
#include "emulator/x86/handlers.h"

#define VECTOR_BYTES 64u

/* --- Registers. */

static bool register_is_vector(ZydisRegister reg)
{
	return reg >= ZYDIS_REGISTER_XMM0 && reg <= ZYDIS_REGISTER_ZMM31;
}

static bool operand_is_vector(const struct context *c, unsigned n)
{
	return operand_is_register(c, n) && register_is_vector(operand(c, n)->reg.value);
}

static unsigned vector_number(const struct context *c, unsigned n)
{
	return (operand(c, n)->reg.value - ZYDIS_REGISTER_XMM0) % 32u;
}

static bool is_legacy(const struct context *c)
{
	return c->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
}

/* Copies [from, to) of a register that starts at `at` of a component, if that exists. */
struct piece {
	unsigned component, from, to, at;
};

static unsigned vector_pieces(unsigned reg, struct piece piece[3])
{
	if (reg >= 16) {
		piece[0] = (struct piece){XCOMPONENT_ZMM_HIGH, 0, 64, 64 * (reg - 16)};
		return 1;
	}
	piece[0] = (struct piece){XCOMPONENT_SSE, 0, 16, 16 * reg};
	piece[1] = (struct piece){XCOMPONENT_AVX, 16, 32, 16 * reg};
	piece[2] = (struct piece){XCOMPONENT_ZMM, 32, 64, 32 * reg};
	return 3;
}

static void vector_read(struct context *c, unsigned n, uint8_t value[VECTOR_BYTES])
{
	struct piece piece[3];
	unsigned pieces = vector_pieces(vector_number(c, n), piece);

	memset(value, 0, VECTOR_BYTES);
	for (unsigned i = 0; i < pieces; i++) {
		const uint8_t *from = xstate_component(c, piece[i].component);

		if (from)
			memcpy(value + piece[i].from, from + piece[i].at, piece[i].to - piece[i].from);
	}
}

/* Writes all 64 bytes of a register. */
static void vector_store(struct context *c, unsigned reg, const uint8_t value[VECTOR_BYTES])
{
	struct piece piece[3];
	unsigned pieces = vector_pieces(reg, piece);
	uint64_t written = 0;

	for (unsigned i = 0; i < pieces; i++) {
		uint8_t *to = xstate_component(c, piece[i].component);
		unsigned n = piece[i].to - piece[i].from;

		/* What does not change does not become in use. */
		if (!to || !memcmp(to + piece[i].at, value + piece[i].from, n))
			continue;
		memcpy(to + piece[i].at, value + piece[i].from, n);
		written |= BIT(piece[i].component);
	}
	xstate_written(c, written);
}

/* Writes the low `size` bytes of an operand; the rest stays, or is cleared, as the encoding says. */
static bool vector_write(struct context *c, unsigned n, const uint8_t *value, uint32_t size)
{
	uint8_t all[VECTOR_BYTES] = {0};

	if (is_legacy(c))
		vector_read(c, n, all);
	memcpy(all, value, size);
	vector_store(c, vector_number(c, n), all);
	return true;
}

/* --- Admission. */

static bool vector_admitted(struct context *c)
{
	uint64_t needed = c->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ? 0xe6 : 0x06;

	if (is_legacy(c)) {
		if ((c->s->cr0 & CR0_EM) || !(c->s->cr4 & CR4_OSFXSR))
			return ud(c);
	} else {
		if (!c->protected_mode || !(c->s->cr4 & CR4_OSXSAVE))
			return ud(c);
		if (!state_needed(c, X86_XCR0 | X86_XSTATE))
			return false;
		if ((c->s->xcr0 & needed) != needed)
			return ud(c);
	}
	if (c->s->cr0 & CR0_TS)
		return stop_exception(c, VECTOR_NM);
	return xstate_ready(c);
}

/* The n-th operand that is not an AVX-512 mask. */
static unsigned unmasked(const struct context *c, unsigned n)
{
	for (unsigned i = 0; i < c->insn.operand_count_visible; i++) {
		if (operand(c, i)->encoding == ZYDIS_OPERAND_ENCODING_MASK)
			continue;
		if (!n--)
			return i;
	}
	return 0;
}

static unsigned unmasked_count(const struct context *c)
{
	unsigned count = 0;

	for (unsigned i = 0; i < c->insn.operand_count_visible; i++)
		count += operand(c, i)->encoding != ZYDIS_OPERAND_ENCODING_MASK;
	return count;
}

static bool is_masked(const struct context *c)
{
	return c->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX &&
	       c->insn.avx.mask.reg > ZYDIS_REGISTER_K0 && c->insn.avx.mask.reg <= ZYDIS_REGISTER_K7;
}

static bool is_zeroing(const struct context *c)
{
	return c->insn.avx.mask.mode == ZYDIS_MASK_MODE_ZEROING;
}

static uint64_t mask_value(struct context *c)
{
	const uint8_t *k = xstate_component(c, XCOMPONENT_OPMASK);
	uint64_t v;

	if (!is_masked(c))
		return UINT64_MAX;
	if (!k)
		return 0;
	memcpy(&v, k + 8 * (c->insn.avx.mask.reg - ZYDIS_REGISTER_K0), 8);
	return v;
}

/* --- Whole vectors. */

static bool masked_memory(struct context *c, uint8_t *value, uint32_t size, uint32_t element, bool store,
			  uint64_t linear)
{
	uint64_t mask = mask_value(c);

	/* What the mask leaves out is not accessed, and cannot fault: SDM 2, 2.7.9 (fault suppression). */
	for (uint32_t at = 0; at < size; at += element, mask >>= 1) {
		if (!(mask & 1))
			continue;
		if (store ? !linear_write(c, linear + at, value + at, element)
			  : !linear_read(c, linear + at, value + at, element, ACCESS_READ))
			return false;
	}
	return true;
}

static bool mask_selects(struct context *c, uint32_t size)
{
	uint32_t elements = size / (c->opcode->argument >> 1);

	return elements >= 64 ? mask_value(c) : mask_value(c) & (BIT(elements) - 1);
}

static bool vector_memory(struct context *c, unsigned n, uint8_t *value, uint32_t size, bool store)
{
	enum access access = store ? ACCESS_WRITE : ACCESS_READ;
	bool aligned = c->opcode->argument & 1;
	uint64_t linear;

	if (is_masked(c) && !mask_selects(c, size))
		return true;
	if (!operand_linear(c, n, size, access, &linear))
		return false;
	if (aligned && (linear & (size - 1)))
		return gp0(c);
	if (is_masked(c))
		return masked_memory(c, value, size, c->opcode->argument >> 1, store, linear);
	return store ? linear_write(c, linear, value, size)
		     : linear_read(c, linear, value, size, ACCESS_READ);
}

/* Elements that the mask leaves out are zero, or those of the destination. */
static void mask_merge(struct context *c, unsigned destination, uint8_t *value, uint32_t size)
{
	uint32_t element = c->opcode->argument >> 1;
	uint64_t mask = mask_value(c);
	uint8_t old[VECTOR_BYTES] = {0};

	if (!is_zeroing(c))
		vector_read(c, destination, old);
	for (uint32_t at = 0; at < size; at += element, mask >>= 1)
		if (!(mask & 1))
			memcpy(value + at, old + at, element);
}

bool do_vector_move(struct context *c)
{
	unsigned to = unmasked(c, 0), from = unmasked(c, 1);
	uint32_t size = is_legacy(c) ? 16 : c->insn.avx.vector_length / 8;
	uint8_t value[VECTOR_BYTES] = {0};

	if (!operand_is_vector(c, operand_is_memory(c, to) ? from : to) || !size || size > VECTOR_BYTES ||
	    (is_masked(c) && !(c->opcode->argument >> 1)))
		return stop_unknown(c, NULL);
	if (!vector_admitted(c))
		return false;
	if (operand_is_memory(c, from)) {
		if (!vector_memory(c, from, value, size, false))
			return false;
	} else {
		vector_read(c, from, value);
	}
	if (operand_is_memory(c, to))
		return vector_memory(c, to, value, size, true);
	if (is_masked(c))
		mask_merge(c, to, value, size);
	return vector_write(c, to, value, size);
}

bool do_broadcast(struct context *c)
{
	uint32_t element = c->opcode->argument, size = c->insn.avx.vector_length / 8;
	unsigned to = unmasked(c, 0), from = unmasked(c, 1);
	uint8_t value[VECTOR_BYTES] = {0};

	if (!operand_is_vector(c, to) || is_masked(c) || !size || size > VECTOR_BYTES || size < element)
		return stop_unknown(c, NULL);
	if (!vector_admitted(c))
		return false;
	if (operand_is_memory(c, from)) {
		if (!operand_read_bytes(c, from, value, element))
			return false;
	} else if (operand_is_vector(c, from)) {
		vector_read(c, from, value);
	} else {
		uint64_t v = register_read(c, operand(c, from)->reg.value);

		memcpy(value, &v, element < 8 ? element : 8);
	}
	for (uint32_t at = element; at < size; at += element)
		memcpy(value + at, value, element);
	return vector_write(c, to, value, size);
}

/* --- One element. */

bool do_scalar_move(struct context *c)
{
	uint32_t size = c->insn.mnemonic == ZYDIS_MNEMONIC_MOVSD
				? 8
				: c->opcode->argument; /* the string form's is 4 */
	unsigned count = unmasked_count(c), to = unmasked(c, 0), from = unmasked(c, count - 1);
	uint8_t value[VECTOR_BYTES] = {0}, low[VECTOR_BYTES];

	if (is_masked(c))
		return stop_unknown(c, NULL);
	if (!vector_admitted(c))
		return false;
	if (operand_is_memory(c, from))
		return operand_read_bytes(c, from, value, size) && vector_write(c, to, value, 16);
	vector_read(c, from, low);
	if (operand_is_memory(c, to))
		return operand_write_bytes(c, to, low, size);
	/* Between registers the rest of the low 128 bits is merged. */
	vector_read(c, unmasked(c, count == 3 ? 1 : 0), value);
	memcpy(value, low, size);
	return vector_write(c, to, value, 16);
}

/* MOVD, MOVQ: a register of either kind or memory, zero-extended into a vector. */
bool do_movd(struct context *c)
{
	uint32_t size =
		c->insn.mnemonic == ZYDIS_MNEMONIC_MOVQ || c->insn.mnemonic == ZYDIS_MNEMONIC_VMOVQ ? 8 : 4;
	uint8_t value[VECTOR_BYTES] = {0};
	uint64_t v;

	if (!operand_is_vector(c, 0) && !operand_is_vector(c, 1))
		return stop_unknown(c, NULL); /* MMX */
	if (!vector_admitted(c))
		return false;
	if (operand_is_vector(c, 1)) {
		vector_read(c, 1, value);
	} else {
		if (!operand_read(c, 1, &v))
			return false;
		memcpy(value, &v, size);
	}
	if (operand_is_vector(c, 0)) {
		memset(value + size, 0, sizeof(value) - size);
		return vector_write(c, 0, value, 16);
	}
	memcpy(&v, value, 8);
	return operand_write(c, 0, v & size_mask(size));
}

bool do_half_move(struct context *c)
{
	unsigned last = c->insn.operand_count_visible - 1u, high = c->opcode->argument ? 8 : 0;
	uint8_t value[VECTOR_BYTES], half[8];

	if (!vector_admitted(c))
		return false;
	if (operand_is_memory(c, 0)) {
		vector_read(c, last, value);
		return operand_write_bytes(c, 0, value + high, 8);
	}
	if (!operand_is_memory(c, last))
		return stop_unknown(c, NULL);
	if (!operand_read_bytes(c, last, half, 8))
		return false;
	vector_read(c, last == 2 ? 1 : 0, value);
	memcpy(value + high, half, 8);
	return vector_write(c, 0, value, 16);
}

/* MOVHLPS: the high half of the source becomes the low one; MOVLHPS: the other way round. */
bool do_half_exchange(struct context *c)
{
	unsigned last = c->insn.operand_count_visible - 1u, to_high = c->opcode->argument;
	uint8_t value[VECTOR_BYTES], from[VECTOR_BYTES];

	if (!vector_admitted(c))
		return false;
	vector_read(c, last, from);
	vector_read(c, last == 2 ? 1 : 0, value);
	memcpy(value + (to_high ? 8 : 0), from + (to_high ? 0 : 8), 8);
	return vector_write(c, 0, value, 16);
}

bool do_vzero(struct context *c)
{
	unsigned registers = c->code_bits == 64 ? 16 : 8, keep = c->opcode->argument ? 0 : 16;

	if (!vector_admitted(c))
		return false;
	for (unsigned i = 0; i < registers; i++) {
		uint8_t value[VECTOR_BYTES] = {0};

		memcpy(value, xstate_component(c, XCOMPONENT_SSE) + 16 * i, keep);
		vector_store(c, i, value);
	}
	return true;
}
