/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near jumps, calls, loops, and the instructions that only raise an exception. What changes CS is not
 * covered. */
#include "emulator/x86/handlers.h"

/* The size of an instruction pointer in this instruction. In 64-bit code Intel's processors ignore the prefix
 * for 16 bits, AMD's do not: APM 3, Jcc. */
static uint32_t branch_size(const struct context *c)
{
	if (c->code_bits != 64)
		return c->insn.operand_width / 8;
	return c->machine->amd_branches && (c->insn.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) &&
			       !c->insn.raw.rex.W
		       ? 2
		       : 8;
}

bool rip_set(struct context *c, uint64_t rip, uint32_t size)
{
	rip &= size_mask(size);
	if (c->code_bits == 64 ? !address_canonical(c, rip) : rip > c->s->segment[X86_CS].limit)
		return gp0(c);
	c->next_rip = rip;
	return true;
}

static bool is_far(const struct context *c)
{
	return c->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

/* The target of a near jump or call. */
static bool branch_target(struct context *c, uint64_t *rip)
{
	if (is_far(c))
		return stop_unknown(c, NULL);
	/* Zydis says 64 bits where AMD's processors read 16. */
	if (operand_is_memory(c, 0))
		c->op[0].size = (ZyanU16)(branch_size(c) * 8);
	if (!operand_read(c, 0, rip))
		return false;
	if (operand(c, 0)->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		*rip += c->next_rip;
	return true;
}

bool do_jcc(struct context *c)
{
	uint64_t rip;

	if (!condition(c->s->rflags, c->opcode->argument))
		return true;
	return branch_target(c, &rip) && rip_set(c, rip, branch_size(c));
}

bool do_jcxz(struct context *c)
{
	uint64_t rip;

	if (gpr_read(c, X86_RCX, c->insn.address_width / 8))
		return true;
	return branch_target(c, &rip) && rip_set(c, rip, branch_size(c));
}

bool do_loop(struct context *c)
{
	uint32_t size = c->insn.address_width / 8;
	uint64_t count = (gpr_read(c, X86_RCX, size) - 1) & size_mask(size), rip;
	bool zero = c->s->rflags & FLAG_ZF;

	gpr_write(c, X86_RCX, count, size);
	if (!count || (c->opcode->argument == 1 && !zero) || (c->opcode->argument == 2 && zero))
		return true;
	return branch_target(c, &rip) && rip_set(c, rip, branch_size(c));
}

bool do_jmp(struct context *c)
{
	uint64_t rip;

	return branch_target(c, &rip) && rip_set(c, rip, branch_size(c));
}

bool do_call(struct context *c)
{
	uint64_t rip, back = c->next_rip;

	return branch_target(c, &rip) && stack_push(c, back, branch_size(c)) &&
	       rip_set(c, rip, branch_size(c));
}

bool do_ret(struct context *c)
{
	uint64_t rip, release = 0;

	if (is_far(c))
		return stop_unknown(c, NULL);
	if (operand_present(c, 0) && !operand_read(c, 0, &release))
		return false;
	if (!stack_pop(c, &rip, branch_size(c)) || !rip_set(c, rip, branch_size(c)))
		return false;
	stack_release(c, release & 0xffff);
	return true;
}

bool do_int3(struct context *c)
{
	return stop_trap(c, VECTOR_BP, 0);
}

bool do_int1(struct context *c)
{
	return stop_trap(c, VECTOR_DB, 0);
}

bool do_into(struct context *c)
{
	return !(c->s->rflags & FLAG_OF) || stop_trap(c, VECTOR_OF, 0);
}

bool do_bound(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	enum x86_segment_register seg = operand_segment(c, 1);
	uint64_t index, low, high, at = operand_offset(c, 1);

	/* Two accesses: each with its own checks. */
	if (!operand_read(c, 0, &index) || !segment_read(c, seg, at, &low, size) ||
	    !segment_read(c, seg, at + size, &high, size))
		return false;
	if ((int64_t)sign_extend(index, size) < (int64_t)sign_extend(low, size) ||
	    (int64_t)sign_extend(index, size) > (int64_t)sign_extend(high, size))
		return stop_exception(c, VECTOR_BR);
	return true;
}

bool do_ud(struct context *c)
{
	return ud(c);
}

bool do_nop(struct context *c)
{
	return true;
}

bool do_pause(struct context *c)
{
	/* F3 90 with REX.B is XCHG r8, rax, which Zydis takes for PAUSE. */
	return !c->insn.raw.rex.B || stop_unknown(c, NULL);
}
