/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions, with and without REP: SDM 1, 7.3.9.
 *
 * Theory of operation: each iteration is complete before the next one starts: registers are advanced and the
 * checkpoint moves. So a fault in the middle leaves the state in which the processor would take it. A request
 * does at most REP_BYTES, or what the log of stores has room for, or one iteration that touches a
 * device; then rip stays at the instruction, and the guest continues it.
 */
#include "emulator/x86/handlers.h"
#include "emulator/x86/host.h"

#define REP_BYTES 4096u

enum x86_segment_register segment_override(const struct context *c)
{
	static const struct {
		ZydisInstructionAttributes attribute;
		enum x86_segment_register segment;
	} overrides[] = {
		{ZYDIS_ATTRIB_HAS_SEGMENT_ES, X86_ES}, {ZYDIS_ATTRIB_HAS_SEGMENT_CS, X86_CS},
		{ZYDIS_ATTRIB_HAS_SEGMENT_SS, X86_SS}, {ZYDIS_ATTRIB_HAS_SEGMENT_DS, X86_DS},
		{ZYDIS_ATTRIB_HAS_SEGMENT_FS, X86_FS}, {ZYDIS_ATTRIB_HAS_SEGMENT_GS, X86_GS},
	};

	if (c->insn.attributes & ZYDIS_ATTRIB_HAS_SEGMENT)
		for (unsigned i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++)
			if (c->insn.attributes & overrides[i].attribute)
				return overrides[i].segment;
	return X86_DS;
}

/* Steps rsi or rdi by one element. */
static void string_step(struct context *c, enum x86_gpr reg, uint32_t size)
{
	uint32_t address = c->insn.address_width / 8;
	uint64_t by = c->s->rflags & FLAG_DF ? -(uint64_t)size : size;

	gpr_write(c, reg, gpr_read(c, reg, address) + by, address);
}

static bool string_source(struct context *c, uint64_t *v, uint32_t size)
{
	return segment_read(c, segment_override(c), gpr_read(c, X86_RSI, c->insn.address_width / 8), v, size);
}

static bool string_destination(struct context *c, uint64_t *v, uint32_t size)
{
	return segment_read(c, X86_ES, gpr_read(c, X86_RDI, c->insn.address_width / 8), v, size);
}

static bool string_store(struct context *c, uint64_t v, uint32_t size)
{
	return segment_write(c, X86_ES, gpr_read(c, X86_RDI, c->insn.address_width / 8), v, size);
}

static void string_compare(struct context *c, uint64_t a, uint64_t b, uint32_t size)
{
	uint64_t flags = c->s->rflags;

	host_sub(a, b, size, &flags);
	status_set(c, flags);
}

static bool string_once(struct context *c, enum string_form form, uint32_t size)
{
	uint64_t a, b;

	switch (form) {
	case STRING_MOVS:
		if (!string_source(c, &a, size) || !string_store(c, a, size))
			return false;
		string_step(c, X86_RSI, size);
		string_step(c, X86_RDI, size);
		return true;
	case STRING_STOS:
		if (!string_store(c, gpr_read(c, X86_RAX, size), size))
			return false;
		string_step(c, X86_RDI, size);
		return true;
	case STRING_LODS:
		if (!string_source(c, &a, size))
			return false;
		gpr_write(c, X86_RAX, a, size);
		string_step(c, X86_RSI, size);
		return true;
	case STRING_SCAS:
		if (!string_destination(c, &a, size))
			return false;
		string_compare(c, gpr_read(c, X86_RAX, size), a, size);
		string_step(c, X86_RDI, size);
		return true;
	default:
		if (!string_source(c, &a, size) || !string_destination(c, &b, size))
			return false;
		string_compare(c, a, b, size);
		string_step(c, X86_RSI, size);
		string_step(c, X86_RDI, size);
		return true;
	}
}

/* Do the flags of the last comparison end a REPE or REPNE? */
static bool string_ends(const struct context *c, enum string_form form)
{
	if (form != STRING_SCAS && form != STRING_CMPS)
		return false;
	return !(c->s->rflags & FLAG_ZF) == !(c->insn.attributes & ZYDIS_ATTRIB_HAS_REPNE);
}

/* Must the run end between two iterations? With TF set there is a trap after each. */
static bool string_pauses(const struct context *c, uint32_t done)
{
	return done >= REP_BYTES || !stores_room(c, 2) || c->device_write || c->reads_used ||
	       (done && (c->s->rflags & FLAG_TF));
}

static bool string_repeated(struct context *c, enum string_form form, uint32_t size)
{
	uint32_t address = c->insn.address_width / 8;

	for (uint32_t done = 0; gpr_read(c, X86_RCX, address); done += size) {
		if (string_pauses(c, done)) {
			c->stay = true;
			return true;
		}
		if (!string_once(c, form, size)) {
			if (!done || c->stop == X86_EXCEPTION)
				return false;
			context_back(c); /* what cannot be done in this run will be the next run's first */
			c->stay = true;
			return true;
		}
		gpr_write(c, X86_RCX, gpr_read(c, X86_RCX, address) - 1, address);
		if (string_ends(c, form))
			return true;
		if (!c->device_write)
			context_checkpoint(c);
		c->cpu->changed |= X86_REGS;
	}
	return true;
}

bool do_string(struct context *c)
{
	enum string_form form = c->opcode->argument >> 4;
	uint32_t size = c->opcode->argument & 15;

	/* rdi may point to page tables; KVM must make such stores itself. */
	if (c->executed && (form == STRING_MOVS || form == STRING_STOS))
		return stop_batch(c);
	if (c->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
		return string_repeated(c, form, size);
	return string_once(c, form, size);
}

bool do_string_or_vector(struct context *c)
{
	if (c->insn.meta.category == ZYDIS_CATEGORY_STRINGOP)
		return do_string(c);
	return c->insn.mnemonic == ZYDIS_MNEMONIC_MOVSD ? do_scalar_move(c) : stop_unknown(c, NULL);
}
