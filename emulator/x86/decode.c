/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fetch and decode, and operands as the handlers see them.
 *
 * Theory of operation: up to 15 bytes are copied, once, to the end of the page or of the code segment; only
 * if Zydis wants more are the bytes behind fetched, because fetching them may fault. The copy is what is
 * decoded, executed and reported: the guest may change its code at any time.
 */
#include "emulator/x86/internal.h"

#define MODES(amd)                                                                                           \
	{                                                                                                    \
		[ZYDIS_DECODER_MODE_AMD_BRANCHES] = amd, [ZYDIS_DECODER_MODE_CET] = ZYAN_TRUE,               \
		[ZYDIS_DECODER_MODE_LZCNT] = ZYAN_TRUE, [ZYDIS_DECODER_MODE_TZCNT] = ZYAN_TRUE,              \
		[ZYDIS_DECODER_MODE_WBNOINVD] = ZYAN_TRUE, [ZYDIS_DECODER_MODE_CLDEMOTE] = ZYAN_TRUE,        \
	}

/* What ZydisDecoderInit() makes, but constant, and with WBNOINVD instead of the obsolete MPX. */
static const ZydisDecoder decoder_16 = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16,
					MODES(ZYAN_FALSE)};
static const ZydisDecoder decoder_32 = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32,
					MODES(ZYAN_FALSE)};
static const ZydisDecoder decoder_64 = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, MODES(ZYAN_FALSE)};
static const ZydisDecoder decoder_64_amd = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64,
					    MODES(ZYAN_TRUE)};

static const ZydisDecoder *context_decoder(const struct context *c)
{
	if (c->code_bits == 64)
		return c->machine->amd_branches ? &decoder_64_amd : &decoder_64;
	return c->code_bits == 32 ? &decoder_32 : &decoder_16;
}

/* Bytes that can be fetched from rip on before the segment ends; 0: none. */
static uint32_t code_bytes_left(const struct context *c)
{
	const struct x86_segment *cs = &c->s->segment[X86_CS];
	uint64_t rip = c->s->rip;

	if (c->code_bits == 64)
		return ZYDIS_MAX_INSTRUCTION_LENGTH;
	if (rip > cs->limit)
		return 0;
	return cs->limit - rip >= ZYDIS_MAX_INSTRUCTION_LENGTH ? ZYDIS_MAX_INSTRUCTION_LENGTH
							       : (uint32_t)(cs->limit - rip) + 1;
}

/* Fetches up to `until` bytes of the instruction. */
static bool fetch_until(struct context *c, uint32_t until)
{
	uint64_t linear = c->s->rip + c->fetched;

	if (c->code_bits != 64)
		linear = (linear + c->s->segment[X86_CS].base) & 0xffffffff;
	if (!linear_read(c, linear, c->bytes + c->fetched, until - c->fetched, ACCESS_FETCH))
		return false;
	c->fetched = (uint8_t)until;
	return true;
}

/* What the processor does with bytes that Zydis refuses. */
static bool decode_failure(struct context *c, ZyanStatus status)
{
	switch (status) {
	case ZYDIS_STATUS_INSTRUCTION_TOO_LONG:
	case ZYDIS_STATUS_NO_MORE_DATA: /* beyond the limit of the segment, or 15 prefixes */
		return gp0(c);
	case ZYDIS_STATUS_BAD_REGISTER:
	case ZYDIS_STATUS_ILLEGAL_LOCK:
	case ZYDIS_STATUS_ILLEGAL_LEGACY_PFX:
	case ZYDIS_STATUS_ILLEGAL_REX:
		return ud(c);
	default:
		return stop_unknown(c, "not an instruction that Zydis knows");
	}
}

/*
 * Zydis 4.0 takes the SIB byte's "no base, but 32 bits of displacement" (mod 0, base 5: SDM 2A, table 2-3)
 * for r13d if REX.B is set and the address size is 32 bits.
 */
static void correct_base(struct context *c)
{
	if (c->insn.raw.modrm.mod || c->insn.raw.modrm.rm != 4 || c->insn.raw.sib.base != 5)
		return;
	for (unsigned i = 0; i < c->insn.operand_count_visible; i++) {
		ZydisDecodedOperandMem *mem = &c->op[i].mem;

		if (c->op[i].type != ZYDIS_OPERAND_TYPE_MEMORY || mem->base != ZYDIS_REGISTER_R13D)
			continue;
		mem->base = ZYDIS_REGISTER_NONE;
		mem->disp.has_displacement = ZYAN_TRUE;
		mem->disp.value = c->insn.raw.disp.value;
	}
}

bool instruction_decode(struct context *c)
{
	const ZydisDecoder *decoder = context_decoder(c);
	uint32_t left = code_bytes_left(c), first;
	ZydisDecoderContext context;
	ZyanStatus status;

	c->fetched = 0;
	c->insn.length = 0;
	c->insn.mnemonic = ZYDIS_MNEMONIC_INVALID;
	if (!left || (c->code_bits == 64 && !address_canonical(c, c->s->rip)))
		return gp0(c);
	first = 4096 -
		(uint32_t)((c->code_bits == 64 ? c->s->rip : c->s->rip + c->s->segment[X86_CS].base) & 4095);
	if (!fetch_until(c, first < left ? first : left))
		return false;
	status = ZydisDecoderDecodeInstruction(decoder, &context, c->bytes, c->fetched, &c->insn);
	if (status == ZYDIS_STATUS_NO_MORE_DATA && c->fetched < left) {
		if (!fetch_until(c, left))
			return false;
		status = ZydisDecoderDecodeInstruction(decoder, &context, c->bytes, c->fetched, &c->insn);
	}
	if (ZYAN_FAILED(status)) {
		c->insn.length = 0;
		c->insn.mnemonic = ZYDIS_MNEMONIC_INVALID;
		return decode_failure(c, status);
	}
	if (c->insn.operand_count_visible > VISIBLE_OPERANDS ||
	    ZYAN_FAILED(ZydisDecoderDecodeOperands(decoder, &context, &c->insn, c->op,
						   c->insn.operand_count_visible)))
		return stop_unknown(c, "operands that Zydis cannot decode");
	correct_base(c);
	c->next_rip = c->s->rip + c->insn.length;
	if (c->code_bits != 64)
		c->next_rip &= 0xffffffff;
	return true;
}

void instruction_format(const struct context *c, char *text, uint32_t size)
{
	ZydisFormatter formatter;

	if (ZYAN_FAILED(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
	    ZYAN_FAILED(ZydisFormatterFormatInstruction(
		    &formatter, &c->insn, c->op, c->insn.operand_count_visible, text, size, c->s->rip, NULL)))
		memcpy(text, "?", 2);
}

/* --- General registers. Zydis numbers them AL to BH, SPL to DIL, R8B.., AX.., EAX.., RAX... */

static unsigned byte_register(ZydisRegister reg, unsigned *shift)
{
	unsigned n = reg - ZYDIS_REGISTER_AL;

	*shift = n >= 4 && n < 8 ? 8 : 0; /* AH, CH, DH, BH */
	return n < 4 ? n : n - 4;
}

uint64_t register_read(const struct context *c, ZydisRegister reg)
{
	unsigned shift;
	unsigned index;

	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
		return c->s->gpr[reg - ZYDIS_REGISTER_RAX];
	if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
		return gpr_read(c, reg - ZYDIS_REGISTER_EAX, 4);
	if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W)
		return gpr_read(c, reg - ZYDIS_REGISTER_AX, 2);
	if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_R15B) {
		index = byte_register(reg, &shift);
		return c->s->gpr[index & 15] >> shift & 0xff;
	}
	if (reg == ZYDIS_REGISTER_RIP)
		return c->next_rip;
	if (reg == ZYDIS_REGISTER_EIP)
		return c->next_rip & 0xffffffff;
	return 0; /* ZYDIS_REGISTER_NONE: no base, no index */
}

static bool register_write(struct context *c, ZydisRegister reg, uint64_t value)
{
	unsigned shift;
	unsigned index;

	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15) {
		gpr_write(c, reg - ZYDIS_REGISTER_RAX, value, 8);
	} else if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D) {
		gpr_write(c, reg - ZYDIS_REGISTER_EAX, value, 4);
	} else if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W) {
		gpr_write(c, reg - ZYDIS_REGISTER_AX, value, 2);
	} else if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_R15B) {
		index = byte_register(reg, &shift) & 15;
		c->s->gpr[index] = (c->s->gpr[index] & ~(0xffull << shift)) | (value & 0xff) << shift;
	} else {
		return stop_unknown(c, NULL); /* a segment, control or debug register */
	}
	return true;
}

static bool register_is_general(ZydisRegister reg)
{
	return reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_R15;
}

/* --- Memory operands. */

uint64_t operand_offset(const struct context *c, unsigned n)
{
	const ZydisDecodedOperandMem *mem = &c->op[n].mem;
	uint64_t offset = register_read(c, mem->base) + register_read(c, mem->index) * mem->scale;

	if (mem->disp.has_displacement)
		offset += (uint64_t)mem->disp.value;
	return offset & size_mask(c->insn.address_width / 8);
}

enum x86_segment_register operand_segment(const struct context *c, unsigned n)
{
	ZydisRegister seg = c->op[n].mem.segment;

	return seg >= ZYDIS_REGISTER_ES && seg <= ZYDIS_REGISTER_GS
		       ? (enum x86_segment_register)(seg - ZYDIS_REGISTER_ES)
		       : X86_DS;
}

/* Is it the stack or the processor's own data, where no page tables are? */
static bool store_fits_batch(const struct context *c, unsigned n)
{
	const ZydisDecodedOperandMem *mem = &c->op[n].mem;

	switch (mem->base) {
	case ZYDIS_REGISTER_RSP:
	case ZYDIS_REGISTER_RBP:
	case ZYDIS_REGISTER_ESP:
	case ZYDIS_REGISTER_EBP:
		return true;
	default:
		return mem->segment == ZYDIS_REGISTER_GS;
	}
}

bool operand_linear(struct context *c, unsigned n, uint32_t size, enum access access, uint64_t *linear)
{
	if ((access & ACCESS_WRITE) && c->executed && !store_fits_batch(c, n))
		return stop_batch(c);
	return segment_linear(c, operand_segment(c, n), operand_offset(c, n), size, access, linear);
}

static bool memory_operand_read(struct context *c, unsigned n, uint64_t *value, uint32_t size)
{
	enum access access = c->op[n].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? ACCESS_WRITE : ACCESS_READ;
	uint64_t linear;

	*value = 0;
	if (!operand_linear(c, n, size, access, &linear) || !alignment_check(c, linear, size))
		return false;
	if (access == ACCESS_WRITE) {
		c->modified_known = true;
		c->modified_linear = linear;
	}
	if (c->locked && n == 0)
		return linear_locked_read(c, linear, value, size);
	/* Read and modified: a fault must say "write". Reading needs no rights that writing does not. */
	return linear_read(c, linear, value, size, access);
}

static bool memory_operand_write(struct context *c, unsigned n, uint64_t value, uint32_t size)
{
	uint64_t linear;

	if (c->locked && n == 0 && c->locked_host)
		return linear_locked_write(c, &value, size);
	if (c->modified_known)
		return linear_write(c, c->modified_linear, &value, size);
	return operand_linear(c, n, size, ACCESS_WRITE, &linear) && alignment_check(c, linear, size) &&
	       linear_write(c, linear, &value, size);
}

bool operand_read(struct context *c, unsigned n, uint64_t *value)
{
	const ZydisDecodedOperand *op = &c->op[n];

	switch (op->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (!register_is_general(op->reg.value))
			return stop_unknown(c, NULL);
		*value = register_read(c, op->reg.value);
		return true;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (op->size != 8 && op->size != 16 && op->size != 32 && op->size != 64)
			return stop_unknown(c, NULL);
		return memory_operand_read(c, n, value, op->size / 8);
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		*value = op->imm.value.u;
		return true;
	default:
		return stop_unknown(c, NULL);
	}
}

bool operand_write(struct context *c, unsigned n, uint64_t value)
{
	const ZydisDecodedOperand *op = &c->op[n];

	switch (op->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return register_write(c, op->reg.value, value);
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (op->size != 8 && op->size != 16 && op->size != 32 && op->size != 64)
			return stop_unknown(c, NULL);
		return memory_operand_write(c, n, value, op->size / 8);
	default:
		return stop_unknown(c, NULL);
	}
}

/* #AC is for accesses of 2, 4 and 8 bytes: SDM 2, table 2-21. */
static bool bytes_aligned(struct context *c, uint64_t linear, uint32_t size)
{
	return size > 8 || alignment_check(c, linear, size);
}

bool operand_read_bytes(struct context *c, unsigned n, void *to, uint32_t size)
{
	uint64_t linear;

	return operand_linear(c, n, size, ACCESS_READ, &linear) && bytes_aligned(c, linear, size) &&
	       linear_read(c, linear, to, size, ACCESS_READ);
}

bool operand_write_bytes(struct context *c, unsigned n, const void *from, uint32_t size)
{
	uint64_t linear;

	return operand_linear(c, n, size, ACCESS_WRITE, &linear) && bytes_aligned(c, linear, size) &&
	       linear_write(c, linear, from, size);
}
