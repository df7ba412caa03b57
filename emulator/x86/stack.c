/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stack: SDM 1, 6.2. What loads a segment register is not covered. */
#include "emulator/x86/handlers.h"

/* The size of the stack pointer in bytes. */
static uint32_t stack_address_size(const struct context *c)
{
	return c->code_bits == 64 ? 8 : c->s->segment[X86_SS].attributes & BIT(14) ? 4 : 2;
}

static uint64_t stack_pointer(const struct context *c)
{
	return gpr_read(c, X86_RSP, stack_address_size(c));
}

static void stack_move(struct context *c, uint64_t by)
{
	uint32_t size = stack_address_size(c);

	gpr_write(c, X86_RSP, gpr_read(c, X86_RSP, size) + by, size);
}

void stack_release(struct context *c, uint64_t n)
{
	stack_move(c, n);
}

bool stack_push(struct context *c, uint64_t value, uint32_t size)
{
	uint64_t at = (stack_pointer(c) - size) & size_mask(stack_address_size(c));

	if (!segment_write(c, X86_SS, at, value, size))
		return false;
	stack_move(c, -(uint64_t)size);
	return true;
}

bool stack_pop(struct context *c, uint64_t *value, uint32_t size)
{
	if (!segment_read(c, X86_SS, stack_pointer(c), value, size))
		return false;
	stack_move(c, size);
	return true;
}

/* What PUSH, POP, ENTER and LEAVE move: 64-bit code has no form of 4 bytes. */
static uint32_t stack_operand_size(const struct context *c)
{
	if (c->code_bits == 64)
		return c->insn.operand_width == 16 ? 2 : 8;
	return c->insn.operand_width == 16 ? 2 : 4;
}

bool do_push(struct context *c)
{
	ZydisRegister reg = operand(c, 0)->reg.value;
	uint64_t v;

	if (operand_is_register(c, 0) && reg >= ZYDIS_REGISTER_ES && reg <= ZYDIS_REGISTER_GS)
		v = c->s->segment[reg - ZYDIS_REGISTER_ES].selector;
	else if (!operand_read(c, 0, &v))
		return false;
	return stack_push(c, v, stack_operand_size(c));
}

bool do_pop(struct context *c)
{
	ZydisRegister reg = operand(c, 0)->reg.value;
	uint64_t v;

	if (operand_is_register(c, 0) && reg >= ZYDIS_REGISTER_ES && reg <= ZYDIS_REGISTER_GS)
		return stop_unknown(c, NULL);
	/* An address by rsp is that after the increment, and POP rsp leaves what was popped. */
	return stack_pop(c, &v, stack_operand_size(c)) && operand_write(c, 0, v);
}

bool do_pusha(struct context *c)
{
	uint32_t size = c->opcode->argument;
	uint64_t sp = gpr_read(c, X86_RSP, size);

	for (unsigned i = X86_RAX; i <= X86_RDI; i++)
		if (!stack_push(c, i == X86_RSP ? sp : gpr_read(c, i, size), size))
			return false;
	return true;
}

bool do_popa(struct context *c)
{
	uint32_t size = c->opcode->argument;
	uint64_t v;

	for (int i = X86_RDI; i >= X86_RAX; i--) {
		if (!stack_pop(c, &v, size))
			return false;
		if (i != X86_RSP)
			gpr_write(c, (unsigned)i, v, size);
	}
	return true;
}

static unsigned iopl(const struct context *c)
{
	return c->s->rflags >> 12 & 3;
}

/* In virtual-8086 mode with IOPL below 3 the flags are the monitor's (#GP), or VME's (not covered). */
static bool flags_admitted(struct context *c)
{
	if (!(c->s->cr0 & CR0_PE) || !(c->s->rflags & FLAG_VM) || iopl(c) == 3)
		return true;
	return c->s->cr4 & CR4_VME ? stop_unknown(c, NULL) : gp0(c);
}

bool do_pushf(struct context *c)
{
	uint64_t image = c->s->rflags & ~(uint64_t)(FLAG_VM | FLAG_RF);

	return flags_admitted(c) && stack_push(c, image, c->opcode->argument);
}

bool do_popf(struct context *c)
{
	uint64_t change = FLAGS_STATUS | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID, old = c->s->rflags,
		 v;
	uint32_t size = c->opcode->argument;

	if (!flags_admitted(c) || !stack_pop(c, &v, size))
		return false;
	if (c->cpl == 0)
		change |= FLAG_IOPL;
	if (c->cpl <= iopl(c))
		change |= FLAG_IF;
	if (size == 2)
		change &= 0xffff;
	c->s->rflags = (old & ~change) | (v & change);
	if (c->s->rflags & ~old & (FLAG_IF | FLAG_TF))
		c->last = true;
	return true;
}

/* SDM 2A, ENTER. */
bool do_enter(struct context *c)
{
	uint32_t size = stack_operand_size(c), address = stack_address_size(c);
	uint64_t frame, pointer, bytes, level, linear;

	if (!operand_read(c, 0, &bytes) || !operand_read(c, 1, &level))
		return false;
	level &= 31;
	if (!stack_push(c, gpr_read(c, X86_RBP, size), size))
		return false;
	frame = stack_pointer(c);
	pointer = gpr_read(c, X86_RBP, address);
	for (uint64_t i = 1; i < level; i++) {
		uint64_t v;

		pointer = (pointer - size) & size_mask(address);
		if (!segment_read(c, X86_SS, pointer, &v, size) || !stack_push(c, v, size))
			return false;
	}
	if (level && !stack_push(c, frame, size))
		return false;
	gpr_write(c, X86_RBP, frame, size);
	stack_move(c, -(bytes & 0xffff));
	/* Faults if the new top could not be written. */
	return segment_linear(c, X86_SS, stack_pointer(c), size, ACCESS_WRITE, &linear) &&
	       linear_probe_write(c, linear, size);
}

bool do_leave(struct context *c)
{
	uint32_t size = stack_operand_size(c), address = stack_address_size(c);
	uint64_t v;

	gpr_write(c, X86_RSP, gpr_read(c, X86_RBP, address), address);
	if (!stack_pop(c, &v, size))
		return false;
	gpr_write(c, X86_RBP, v, size);
	return true;
}
