/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shifts, rotations, single bits, bit fields: SDM 2. What the oldest processors lack is computed here in C,
 * because the host may lack it too. */
#include "emulator/x86/handlers.h"
#include "emulator/x86/host.h"

bool do_shift(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t flags = c->s->rflags, v, count;

	if (!operand_read(c, 0, &v) || !operand_read(c, 1, &count))
		return false;
	switch (c->opcode->argument) {
	case SHIFT_ROL:
		v = host_rol(v, count, size, &flags);
		break;
	case SHIFT_ROR:
		v = host_ror(v, count, size, &flags);
		break;
	case SHIFT_RCL:
		v = host_rcl(v, count, size, &flags);
		break;
	case SHIFT_RCR:
		v = host_rcr(v, count, size, &flags);
		break;
	case SHIFT_SHL:
		v = host_shl(v, count, size, &flags);
		break;
	case SHIFT_SHR:
		v = host_shr(v, count, size, &flags);
		break;
	default:
		v = host_sar(v, count, size, &flags);
		break;
	}
	status_set(c, flags);
	return operand_write(c, 0, v);
}

bool do_shift_double(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t flags = c->s->rflags, v, from, count;

	if (!operand_read(c, 0, &v) || !operand_read(c, 1, &from) || !operand_read(c, 2, &count))
		return false;
	v = c->opcode->argument ? host_shrd(v, from, count, size, &flags)
				: host_shld(v, from, count, size, &flags);
	status_set(c, flags);
	return operand_write(c, 0, v);
}

bool do_shiftx(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t v, count;

	if (!operand_read(c, 1, &v) || !operand_read(c, 2, &count))
		return false;
	count &= size * 8 - 1;
	if (c->opcode->argument == SHIFT_SHL)
		v <<= count;
	else if (c->opcode->argument == SHIFT_SHR)
		v >>= count;
	else
		v = (uint64_t)((int64_t)sign_extend(v, size) >> count);
	return operand_write(c, 0, v);
}

bool do_rorx(struct context *c)
{
	uint32_t bits = operand_size(c, 0) * 8;
	uint64_t v, count;

	if (!operand_read(c, 1, &v) || !operand_read(c, 2, &count))
		return false;
	count &= bits - 1;
	if (count)
		v = v >> count | v << (bits - count);
	return operand_write(c, 0, v);
}

/* With the bit's number in a register, a memory operand is a string of bits in both directions: SDM 1, 4.2.3.
 */
static void bit_string(struct context *c, uint64_t bit, uint32_t size)
{
	int64_t element = (int64_t)sign_extend(bit, size) >> (size == 2 ? 4 : size == 4 ? 5 : 6);

	c->op[0].mem.disp.value = (int64_t)((uint64_t)c->op[0].mem.disp.value + (uint64_t)element * size);
	c->op[0].mem.disp.has_displacement = ZYAN_TRUE;
}

bool do_bit_test(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t flags = c->s->rflags, v, bit;

	if (!operand_read(c, 1, &bit))
		return false;
	if (operand_is_memory(c, 0) && operand_is_register(c, 1))
		bit_string(c, bit, size);
	if (!operand_read(c, 0, &v))
		return false;
	bit &= size * 8 - 1;
	switch (c->opcode->argument) {
	case BIT_TEST:
		host_bt(v, bit, size, &flags);
		break;
	case BIT_SET:
		v = host_bts(v, bit, size, &flags);
		break;
	case BIT_RESET:
		v = host_btr(v, bit, size, &flags);
		break;
	default:
		v = host_btc(v, bit, size, &flags);
		break;
	}
	status_set(c, flags);
	return c->opcode->argument == BIT_TEST || operand_write(c, 0, v);
}

bool do_scan(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t flags = c->s->rflags, v, old;

	if (!operand_read(c, 1, &v))
		return false;
	old = register_read(c, operand(c, 0)->reg.value);
	old = c->opcode->argument ? host_bsr(old, v, size, &flags) : host_bsf(old, v, size, &flags);
	status_set(c, flags);
	/* A source of 0 leaves all of the destination alone, also the upper half. */
	return (flags & FLAG_ZF) || operand_write(c, 0, old);
}

bool do_popcnt(struct context *c)
{
	uint64_t v;

	if (!operand_read(c, 1, &v))
		return false;
	status_set(c, v ? 0 : FLAG_ZF);
	return operand_write(c, 0, (uint64_t)__builtin_popcountll(v));
}

bool do_count_zeros(struct context *c)
{
	uint32_t bits = operand_size(c, 0) * 8;
	uint64_t flags = c->s->rflags & FLAG_OF,
		 v; /* of the undefined ones AMD leaves OF and clears the others */

	if (!operand_read(c, 1, &v))
		return false;
	if (!v) {
		flags |= FLAG_CF;
		v = bits;
	} else {
		v = c->opcode->argument ? (uint64_t)__builtin_clzll(v) - (64 - bits)
					: (uint64_t)__builtin_ctzll(v);
	}
	status_set(c, flags | (v ? 0 : FLAG_ZF));
	return operand_write(c, 0, v);
}

/* SF, ZF and (as processors do it) PF of a result; OF and AF are cleared. */
static void field_flags(struct context *c, uint64_t result, uint32_t size, bool carry)
{
	uint64_t flags = 0;

	host_and(result, result, size, &flags);
	status_set(c, flags | (carry ? FLAG_CF : 0));
}

bool do_andn(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t a, b;

	if (!operand_read(c, 1, &a) || !operand_read(c, 2, &b))
		return false;
	a = ~a & b;
	field_flags(c, a, size, false);
	return operand_write(c, 0, a);
}

bool do_bextr(struct context *c)
{
	uint64_t v, control, start, length, flags = 0;

	if (!operand_read(c, 1, &v) || !operand_read(c, 2, &control))
		return false;
	start = control & 0xff;
	length = control >> 8 & 0xff;
	v = start < 64 ? v >> start : 0;
	if (length < 64)
		v &= BIT(length) - 1;
	host_and(v, v, 8, &flags);
	/* SF, AF and PF are undefined: this is what Zen 5 does. */
	status_set(c, (flags & (FLAG_ZF | FLAG_PF)) | FLAG_AF);
	return operand_write(c, 0, v);
}

bool do_bls(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t v, result;
	bool carry;

	if (!operand_read(c, 1, &v))
		return false;
	carry = !v;
	if (c->opcode->argument == 0) {
		result = v & -v;
		carry = v;
	} else if (c->opcode->argument == 1) {
		result = (v - 1) ^ v;
	} else {
		result = (v - 1) & v;
	}
	field_flags(c, result, size, carry);
	return operand_write(c, 0, result);
}

bool do_bzhi(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t v, from;
	bool beyond;

	if (!operand_read(c, 1, &v) || !operand_read(c, 2, &from))
		return false;
	from &= 0xff;
	beyond = from >= size * 8;
	if (!beyond)
		v &= BIT(from) - 1;
	field_flags(c, v, size, beyond);
	return operand_write(c, 0, v);
}

bool do_pdep(struct context *c)
{
	uint64_t v, mask, result = 0;

	if (!operand_read(c, 1, &v) || !operand_read(c, 2, &mask))
		return false;
	for (; mask; mask &= mask - 1, v >>= 1)
		if (v & 1)
			result |= mask & -mask;
	return operand_write(c, 0, result);
}

bool do_pext(struct context *c)
{
	uint64_t v, mask, result = 0;
	unsigned n = 0;

	if (!operand_read(c, 1, &v) || !operand_read(c, 2, &mask))
		return false;
	for (; mask; mask &= mask - 1, n++)
		if (v & mask & -mask)
			result |= BIT(n);
	return operand_write(c, 0, result);
}

/* Castagnoli's polynomial, bits reversed. */
bool do_crc32(struct context *c)
{
	uint32_t size = operand_size(c, 1), crc;
	uint64_t v, old;

	if (!operand_read(c, 0, &old) || !operand_read(c, 1, &v))
		return false;
	crc = (uint32_t)old;
	for (uint32_t byte = 0; byte < size; byte++, v >>= 8) {
		crc ^= (uint32_t)(v & 0xff);
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return operand_write(c, 0, crc);
}
