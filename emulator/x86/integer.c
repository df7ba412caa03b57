/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moves, additions and logic on general registers and memory: SDM 2. */
#include "emulator/x86/handlers.h"
#include "emulator/x86/host.h"

static bool register_is_segment(const struct context *c, unsigned n)
{
	return operand_is_register(c, n) && operand(c, n)->reg.value >= ZYDIS_REGISTER_ES &&
	       operand(c, n)->reg.value <= ZYDIS_REGISTER_GS;
}

bool do_mov(struct context *c)
{
	uint64_t v;

	if (register_is_segment(c, 1))
		v = c->s->segment[operand(c, 1)->reg.value - ZYDIS_REGISTER_ES].selector;
	else if (!operand_read(c, 1, &v))
		return false;
	return operand_write(c, 0, v);
}

bool do_movsx(struct context *c)
{
	uint64_t v;

	return operand_read(c, 1, &v) && operand_write(c, 0, sign_extend(v, operand_size(c, 1)));
}

static uint64_t swap_bytes(uint64_t v, uint32_t size)
{
	return size == 8   ? __builtin_bswap64(v)
	       : size == 4 ? __builtin_bswap32((uint32_t)v)
			   : __builtin_bswap16((uint16_t)v);
}

bool do_movbe(struct context *c)
{
	uint64_t v;

	return operand_read(c, 1, &v) && operand_write(c, 0, swap_bytes(v, operand_size(c, 1)));
}

bool do_bswap(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t v;

	if (!operand_read(c, 0, &v))
		return false;
	return operand_write(c, 0,
			     size == 2 ? 0 : swap_bytes(v, size)); /* 16 bits: undefined, and 0 everywhere */
}

bool do_lea(struct context *c)
{
	return operand_write(c, 0, operand_offset(c, 1));
}

bool do_convert(struct context *c)
{
	uint32_t size = c->opcode->argument;

	gpr_write(c, X86_RAX, sign_extend(c->s->gpr[X86_RAX] & size_mask(size / 2), size / 2), size);
	return true;
}

bool do_convert_wide(struct context *c)
{
	uint32_t size = c->opcode->argument;
	bool negative = c->s->gpr[X86_RAX] >> (size * 8 - 1) & 1;

	gpr_write(c, X86_RDX, negative ? UINT64_MAX : 0, size);
	return true;
}

bool do_alu(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t flags = c->s->rflags, a, b;

	if (!operand_read(c, 0, &a) || !operand_read(c, 1, &b))
		return false;
	switch (c->opcode->argument) {
	case ALU_ADD:
		a = host_add(a, b, size, &flags);
		break;
	case ALU_OR:
		a = host_or(a, b, size, &flags);
		break;
	case ALU_ADC:
		a = host_adc(a, b, size, &flags);
		break;
	case ALU_SBB:
		a = host_sbb(a, b, size, &flags);
		break;
	case ALU_XOR:
		a = host_xor(a, b, size, &flags);
		break;
	case ALU_AND:
	case ALU_TEST:
		a = host_and(a, b, size, &flags);
		break;
	default: /* ALU_SUB, ALU_CMP */
		a = host_sub(a, b, size, &flags);
		break;
	}
	status_set(c, flags);
	return c->opcode->argument >= ALU_CMP || operand_write(c, 0, a);
}

bool do_unary(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t flags = c->s->rflags, v;

	if (!operand_read(c, 0, &v))
		return false;
	switch (c->opcode->argument) {
	case UNARY_INC:
		v = host_inc(v, size, &flags);
		break;
	case UNARY_DEC:
		v = host_dec(v, size, &flags);
		break;
	case UNARY_NEG:
		v = host_neg(v, size, &flags);
		break;
	default: /* NOT changes no flags */
		v = ~v;
		break;
	}
	status_set(c, flags);
	return operand_write(c, 0, v);
}

bool do_xchg(struct context *c)
{
	uint64_t a, b;

	return operand_read(c, 0, &a) && operand_read(c, 1, &b) && operand_write(c, 1, a) &&
	       operand_write(c, 0, b);
}

bool do_xadd(struct context *c)
{
	uint64_t flags = c->s->rflags, a, b, sum;

	if (!operand_read(c, 0, &a) || !operand_read(c, 1, &b))
		return false;
	sum = host_add(a, b, operand_size(c, 0), &flags);
	status_set(c, flags);
	return operand_write(c, 1, a) && operand_write(c, 0, sum);
}

bool do_cmpxchg(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	uint64_t flags = c->s->rflags, old, new;

	if (!operand_read(c, 0, &old) || !operand_read(c, 1, &new))
		return false;
	host_sub(gpr_read(c, X86_RAX, size), old, size, &flags);
	status_set(c, flags);
	if (flags & FLAG_ZF)
		return operand_write(c, 0, new);
	gpr_write(c, X86_RAX, old, size);
	/* Memory is written in any case, so that a read-only page faults. */
	return !operand_is_memory(c, 0) || operand_write(c, 0, old);
}

/* The parts of the register pair that CMPXCHG8B and CMPXCHG16B use, as they are in memory. */
static void pair_read(const struct context *c, enum x86_gpr low, enum x86_gpr high, uint32_t size,
		      uint8_t *to)
{
	memcpy(to, &c->s->gpr[low], size);
	memcpy(to + size, &c->s->gpr[high], size);
}

bool do_cmpxchg_wide(struct context *c)
{
	uint32_t size = c->opcode->argument;
	uint8_t old[16] = {0}, expected[16], new[16];
	uint64_t linear, half[2] = {0};
	bool equal;

	if (!operand_linear(c, 0, size, ACCESS_WRITE, &linear))
		return false;
	if (size == 16 && (linear & 15))
		return gp0(c);
	if (!alignment_check(c, linear, size))
		return false;
	if (!(c->locked ? linear_locked_read(c, linear, old, size)
			: linear_read(c, linear, old, size, ACCESS_WRITE)))
		return false;
	pair_read(c, X86_RAX, X86_RDX, size / 2, expected);
	pair_read(c, X86_RBX, X86_RCX, size / 2, new);
	equal = !memcmp(old, expected, size);
	if (equal) {
		c->s->rflags |= FLAG_ZF;
	} else {
		memcpy(&half[0], old, size / 2);
		memcpy(&half[1], old + size / 2, size / 2);
		gpr_write(c, X86_RAX, half[0], size / 2);
		gpr_write(c, X86_RDX, half[1], size / 2);
		c->s->rflags &= ~(uint64_t)FLAG_ZF;
	}
	if (c->locked && c->locked_host)
		return linear_locked_write(c, equal ? new : old, size);
	return linear_write(c, linear, equal ? new : old, size);
}

bool do_xlat(struct context *c)
{
	uint64_t offset = c->s->gpr[X86_RBX] + gpr_read(c, X86_RAX, 1), v;

	offset &= size_mask(c->insn.address_width / 8);
	if (!segment_read(c, segment_override(c), offset, &v, 1))
		return false;
	gpr_write(c, X86_RAX, v, 1);
	return true;
}

bool condition(uint64_t rflags, unsigned code)
{
	bool less = !(rflags & FLAG_SF) != !(rflags & FLAG_OF), result;

	switch (code >> 1) {
	case 0:
		result = rflags & FLAG_OF;
		break;
	case 1:
		result = rflags & FLAG_CF;
		break;
	case 2:
		result = rflags & FLAG_ZF;
		break;
	case 3:
		result = rflags & (FLAG_CF | FLAG_ZF);
		break;
	case 4:
		result = rflags & FLAG_SF;
		break;
	case 5:
		result = rflags & FLAG_PF;
		break;
	case 6:
		result = less;
		break;
	default:
		result = less || (rflags & FLAG_ZF);
		break;
	}
	return result != (code & 1);
}

bool do_setcc(struct context *c)
{
	return operand_write(c, 0, condition(c->s->rflags, c->opcode->argument));
}

bool do_cmovcc(struct context *c)
{
	uint64_t old, new;

	/* The source is read, and may fault, and 32 bits are zero-extended, whatever the condition. */
	return operand_read(c, 0, &old) && operand_read(c, 1, &new) &&
	       operand_write(c, 0, condition(c->s->rflags, c->opcode->argument) ? new : old);
}
