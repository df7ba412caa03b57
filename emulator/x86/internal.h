/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the x86 emulator share.
 *
 * Theory of operation: a run owns one struct context, on the stack. For each instruction it notes where to go
 * back to (checkpoint), fetches, decodes, and calls the handler of the mnemonic. Whatever can fail returns a
 * bool: false means that context.stop says why, and the whole way up does nothing but return false; the run
 * loop then goes back to the checkpoint. So a handler may change registers in any order; it only has to do
 * accesses that no checkpoint can undo (locked ones) last.
 *
 * Values of up to 64 bits travel as uint64_t, zero-extended from their size, which is in bytes: 1, 2, 4 or 8.
 */
#ifndef DVMM_EMULATOR_X86_INTERNAL_H
#define DVMM_EMULATOR_X86_INTERNAL_H

#include <string.h>
#include <Zydis/Zydis.h>

#include "emulator/x86/x86.h"

#define BIT(n) (1ull << (n))

enum flag {
	FLAG_CF = 1u << 0,
	FLAG_PF = 1u << 2,
	FLAG_AF = 1u << 4,
	FLAG_ZF = 1u << 6,
	FLAG_SF = 1u << 7,
	FLAG_TF = 1u << 8,
	FLAG_IF = 1u << 9,
	FLAG_DF = 1u << 10,
	FLAG_OF = 1u << 11,
	FLAG_IOPL = 3u << 12,
	FLAG_NT = 1u << 14,
	FLAG_RF = 1u << 16,
	FLAG_VM = 1u << 17,
	FLAG_AC = 1u << 18,
	FLAG_VIF = 1u << 19,
	FLAG_VIP = 1u << 20,
	FLAG_ID = 1u << 21,
	FLAGS_STATUS = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF,
};

enum vector {
	VECTOR_DE = 0,
	VECTOR_DB = 1,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_BR = 5,
	VECTOR_UD = 6,
	VECTOR_NM = 7,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_MF = 16,
	VECTOR_AC = 17,
};

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_PG BIT(31)

#define CR4_VME      BIT(0)
#define CR4_PVI      BIT(1)
#define CR4_PSE      BIT(4)
#define CR4_PAE      BIT(5)
#define CR4_OSFXSR   BIT(9)
#define CR4_UMIP     BIT(11)
#define CR4_LA57     BIT(12)
#define CR4_FSGSBASE BIT(16)
#define CR4_PCIDE    BIT(17)
#define CR4_OSXSAVE  BIT(18)
#define CR4_SMEP     BIT(20)
#define CR4_SMAP     BIT(21)

#define EFER_SCE BIT(0)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

/* How memory is accessed; also the part of a translation's tag. */
enum access {
	ACCESS_READ = 0,
	ACCESS_WRITE = 1u << 0,
	ACCESS_FETCH = 1u << 1,
};

/* The translations of one run. A processor may keep them as long: what would invalidate them ends the run. */
#define TRANSLATIONS 16u
struct translation {
	uint64_t tag;  /* page number and kind of access; 0: empty */
	uint64_t gpa;  /* of the page */
	uint8_t *host; /* the page in this process; NULL: not RAM */
};

struct context;

/* What an instruction does, by mnemonic. */
struct opcode {
	bool (*execute)(struct context *c);
	uint8_t argument; /* for the handler */
	uint8_t rules;    /* enum rule */
};
enum rule {
	RULE_FIRST = 1u << 0, /* not in a batch after its first instruction */
	RULE_LAST = 1u << 1,  /* the run ends after it */
};

extern const struct opcode x86_opcode[ZYDIS_MNEMONIC_MAX_VALUE + 1];

/* Stops that only the run loop sees. */
enum {
	STOP_RETRY = 100, /* another processor was quicker: execute the instruction once more */
	STOP_BATCH
}; /* the instruction must not be executed here; what came before stands */

#define VISIBLE_OPERANDS ZYDIS_MAX_OPERAND_COUNT_VISIBLE

struct context {
	const struct x86_machine *machine;
	struct x86_cpu *cpu;
	struct x86_state *s; /* &cpu->state */

	/* Mode; constant in a run, because what changes it ends the run. */
	uint8_t code_bits; /* 16, 32 or 64 */
	uint8_t cpl;
	bool protected_mode; /* segments have types and limits that count: PE and not VM */
	bool canonical57;    /* 64-bit linear addresses have 57 bits, not 48 */

	/* The instruction. */
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand op[VISIBLE_OPERANDS];
	const struct opcode *opcode;
	uint64_t next_rip;
	uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
	uint8_t fetched; /* valid bytes */
	bool locked;     /* memory operand 0 is read and written in one atomic step */
	bool last;       /* end the run after this instruction */
	bool stay;       /* REP: more iterations to come, rip stays */

	/* A memory operand that is read and then written has one address, whatever happens to its registers.
	 */
	bool modified_known;
	uint64_t modified_linear;

	/* A locked operand between its read and its write. */
	uint8_t *locked_host;
	uint8_t locked_old[16];

	/* Where a failing instruction goes back to. */
	uint64_t undo_gpr[16], undo_rip, undo_rflags;
	uint32_t undo_stores, undo_last_size;
	uint32_t merge_from; /* stores from here on are this instruction's own */

	uint32_t executed;
	uint32_t reads_used;
	bool device_write; /* cpu->device is filled with one */
	bool normalised;   /* components of the XSAVE image that XSTATE_BV leaves out have been initialised */
	int stop;

	uint64_t store_pages; /* a set of hashes of the pages that the log stores to */
	struct translation translation[TRANSLATIONS];
};

/* --- x86.c: stops. All return false. */
bool stop_exception(struct context *c, enum vector vector); /* without an error code */
bool stop_exception_error(struct context *c, enum vector vector, uint32_t error);
bool stop_page_fault(struct context *c, uint64_t linear, uint32_t error);
bool stop_trap(struct context *c, enum vector vector, uint64_t dr6);
bool stop_unknown(struct context *c, const char *why); /* why: NULL means disassembly */
bool stop_retry(struct context *c);
bool stop_batch(struct context *c);
/* False, with a stop, if the caller has not supplied these parts (enum x86_part). */
bool state_needed(struct context *c, uint32_t parts);
/* The point that a failing instruction goes back to is here: between two iterations of a REP form. */
void context_checkpoint(struct context *c);
void context_back(struct context *c);

static inline bool gp0(struct context *c)
{
	return stop_exception_error(c, VECTOR_GP, 0);
}

static inline bool ud(struct context *c)
{
	return stop_exception(c, VECTOR_UD);
}

/* --- paging.c */
/* The translation of the page of a linear address for this access, or NULL with a stop. */
const struct translation *translate(struct context *c, uint64_t linear, enum access access);

/* --- stores.c: the log. */
/* False, with a stop, if the log is full. The bytes must be in one page. */
bool stores_add(struct context *c, uint64_t gpa, const void *data, uint32_t size);
/* Replaces bytes read from [gpa, gpa + size) by what the log says of them; true if there was any. */
bool stores_overlay(const struct context *c, uint64_t gpa, void *data, uint32_t size);
/* Room for n more entries. */
bool stores_room(const struct context *c, uint32_t n);
/* One access of 1, 2, 4 or 8 aligned bytes is one access to memory; other sizes are bytes in any order. */
void memory_copy_in(void *to, const uint8_t *from, uint32_t size);

/* --- memory.c: linear memory, and what a logical address is. */
bool linear_read(struct context *c, uint64_t linear, void *to, uint32_t size, enum access access);
bool linear_write(struct context *c, uint64_t linear, const void *from, uint32_t size);
/* Whether this access may be written, all of it: faults as a write. */
bool linear_probe_write(struct context *c, uint64_t linear, uint32_t size);
/* Atomically: old is read into c->locked_old, and c->locked_host remembered; write only if it is still there.
 */
bool linear_locked_read(struct context *c, uint64_t linear, void *to, uint32_t size);
bool linear_locked_write(struct context *c, const void *from, uint32_t size);
/* Segmentation: checks [offset, offset + size) and forms the linear address. */
bool segment_linear(struct context *c, enum x86_segment_register seg, uint64_t offset, uint32_t size,
		    enum access access, uint64_t *linear);
/* The same with the alignment check of integer accesses, and the access itself. */
bool segment_read(struct context *c, enum x86_segment_register seg, uint64_t offset, uint64_t *value,
		  uint32_t size);
bool segment_write(struct context *c, enum x86_segment_register seg, uint64_t offset, uint64_t value,
		   uint32_t size);
bool address_canonical(const struct context *c, uint64_t linear);
bool alignment_check(struct context *c, uint64_t linear, uint32_t size);

/* --- decode.c: fetch, decode, operands. */
bool instruction_decode(struct context *c);
void instruction_format(const struct context *c, char *text, uint32_t size);

static inline const ZydisDecodedOperand *operand(const struct context *c, unsigned n)
{
	return &c->op[n];
}
static inline uint32_t operand_size(const struct context *c, unsigned n)
{
	return c->op[n].size / 8;
}
static inline bool operand_is_memory(const struct context *c, unsigned n)
{
	return c->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY;
}
static inline bool operand_is_register(const struct context *c, unsigned n)
{
	return c->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER;
}
static inline bool operand_present(const struct context *c, unsigned n)
{
	return n < c->insn.operand_count_visible;
}
/* The offset of a memory operand in its segment. */
uint64_t operand_offset(const struct context *c, unsigned n);
enum x86_segment_register operand_segment(const struct context *c, unsigned n);
/* Its linear address, checked for an access of `size` bytes; a write must also be allowed in a batch. */
bool operand_linear(struct context *c, unsigned n, uint32_t size, enum access access, uint64_t *linear);
/* General registers, memory, immediates (sign-extended where the instruction says so, then cut to `size`). A
 * memory operand that is also written is read as for writing. Memory must be read at most once. */
bool operand_read(struct context *c, unsigned n, uint64_t *value);
bool operand_write(struct context *c, unsigned n, uint64_t value);
/* An operand of any size, read or written as bytes, memory only. */
bool operand_read_bytes(struct context *c, unsigned n, void *to, uint32_t size);
bool operand_write_bytes(struct context *c, unsigned n, const void *from, uint32_t size);

/* --- Registers. */
static inline uint64_t size_mask(uint32_t size)
{
	return size >= 8 ? UINT64_MAX : BIT(size * 8) - 1;
}

static inline uint64_t sign_extend(uint64_t value, uint32_t size)
{
	unsigned shift = size >= 8 ? 0 : 64 - size * 8;

	return (uint64_t)((int64_t)(value << shift) >> shift);
}

/* Writes the low `size` bytes of a register; 4 bytes clear the upper half, as in 64-bit mode. */
static inline void gpr_write(struct context *c, unsigned index, uint64_t value, uint32_t size)
{
	uint64_t *reg = &c->s->gpr[index & 15];

	if (size >= 4)
		*reg = value & size_mask(size);
	else
		*reg = (*reg & ~size_mask(size)) | (value & size_mask(size));
}

static inline uint64_t gpr_read(const struct context *c, unsigned index, uint32_t size)
{
	return c->s->gpr[index & 15] & size_mask(size);
}

uint64_t register_read(const struct context *c, ZydisRegister reg);

static inline void status_set(struct context *c, uint64_t flags)
{
	c->s->rflags = (c->s->rflags & ~(uint64_t)FLAGS_STATUS) | (flags & FLAGS_STATUS);
}

/* --- XSAVE state (xstate.c). */
#define XCOMPONENT_X87      0u
#define XCOMPONENT_SSE      1u
#define XCOMPONENT_AVX      2u
#define XCOMPONENT_OPMASK   5u
#define XCOMPONENT_ZMM      6u /* the upper halves of ZMM0 to ZMM15 */
#define XCOMPONENT_ZMM_HIGH 7u /* ZMM16 to ZMM31 */
/* False, with a stop, if the caller has not supplied it. All components are valid in the image afterwards. */
bool xstate_ready(struct context *c);
/* Where a component is in the image, or NULL if this machine has none. SSE: its registers. */
uint8_t *xstate_component(struct context *c, unsigned component);
/* Says that components (a bit each) have been written. */
void xstate_written(struct context *c, uint64_t components);
/* XINUSE; after xstate_ready(). */
uint64_t xstate_in_use(struct context *c);
/* Whether MXCSR has its initial value. With another, XGETBV and the compacted forms take SSE for in use. */
bool xstate_mxcsr_initial(struct context *c);

/* --- syscall.c: before the first instruction of a run. False, with a stop: the caller must supply more. */
bool syscall_repair(struct context *c);

/* --- Stack (stack.c). */
bool stack_push(struct context *c, uint64_t value, uint32_t size);
bool stack_pop(struct context *c, uint64_t *value, uint32_t size);
/* Drops n bytes more from the stack. */
void stack_release(struct context *c, uint64_t n);
bool rip_set(struct context *c, uint64_t rip, uint32_t size); /* checks, then the next instruction is there */

#endif
