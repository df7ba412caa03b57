/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the differential test share: where things are in the low 4 GiB (32-bit code has to reach
 * them), the registers that go into and come out of a native execution, and forms of instructions.
 */
#ifndef DVMM_TESTS_X86_DIFFERENTIAL_H
#define DVMM_TESTS_X86_DIFFERENTIAL_H

#include <stdbool.h>
#include <stdint.h>
#include <Zydis/Zydis.h>

#include "emulator/x86/x86.h"

/* Linear addresses that the instructions under test see. The pages between are not mapped. */
#define CODE       0x10002000u /* one page */
#define DATA       0x10004000u
#define DATA_BYTES 0x2000u
#define READONLY   0x10007000u /* one page */

#define MAX_BYTES ZYDIS_MAX_INSTRUCTION_LENGTH

/* A small generator (xorshift64*): a case is a function of its seed, so that it can be made again. */
struct random {
	uint64_t state;
};
uint64_t random_next(struct random *r);
static inline uint64_t random_below(struct random *r, uint64_t n)
{
	return random_next(r) % n;
}
static inline bool one_in(struct random *r, unsigned n)
{
	return random_next(r) % n == 0;
}

/* --- forms.c: a form is a mnemonic with kinds and sizes of its operands in one mode, and its encodings. */
struct encoding {
	uint8_t bytes[MAX_BYTES];
	uint8_t length;                    /* of prefixes, opcode and ModRM; what follows is random */
	uint8_t prefixes, modrm, rex, vex; /* offsets, 0: none (but for prefixes: how many) */
};
struct form {
	char name[64];
	unsigned bits;        /* 32 or 64 */
	const char *excluded; /* why it is not compared, or NULL */
	struct encoding *encoding;
	unsigned encodings;
	uint64_t compared, declined;
	uint64_t fetched; /* of the compared, those whose bytes did not all fault */
};
extern struct form *forms;
extern unsigned form_count;
void forms_enumerate(void);
struct instruction {
	uint8_t bytes[MAX_BYTES];
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};
/* A random instruction of a form. */
void form_instance(const struct form *form, struct random *r, struct instruction *out);
bool instruction_parse(struct instruction *in, unsigned bits);
void instruction_text(const struct instruction *in, char *text, unsigned size);

/* --- case.c: what the emulator and the processor both start from. */
extern struct test {
	struct form *form;
	uint64_t number;
	struct random random;
	struct instruction in;
	struct x86_state state;
	struct x86_xstate xstate;
	bool with_xstate;
	uint8_t data[DATA_BYTES];
} test;
/* What the processor that executes natively has. */
extern struct processor {
	uint64_t xcr0, tsc_aux, fs_base;
	uint32_t xstate_bytes, mxcsr_mask;
	const struct x86_xcomponent *component;
} processor;
extern uint8_t pool[]; /* random bytes: what memory and XSAVE state are made of */
void pool_make(void);
void processor_read(const struct x86_machine *m);
/* Makes `test`: case `number` of a form. */
void case_make(struct form *form, uint64_t number, uint64_t seed);
/* ... and its XSAVE state, which most do without. */
void xstate_make(void);
void status_normalise(uint8_t *image);
bool is_repeated(const struct instruction *in);
unsigned gpr_number(ZydisRegister reg);

/* --- native.c */
struct native_result {
	uint64_t gpr[16], rip, rflags, fs, gs;
	int trap; /* vector of the exception, or -1: it went on with the next instruction */
	uint64_t error, cr2;
	struct x86_xstate xstate;
};
/* Makes the arena. False, with a message: this host cannot run the test. */
bool native_init(void);
/* Executes the instruction at state->rip, `length` bytes, with these registers; xstate NULL: as they are. */
void native_run(const struct x86_state *state, const struct x86_xstate *xstate, unsigned bits,
		unsigned length, struct native_result *result);
/* Is this address one of the test's own pages? */
bool native_owns(uint64_t address);
uint32_t native_xstate_bytes(void);

/* --- tolerance.c: what is not defined, with the source of it. */
uint64_t flags_undefined(const ZydisDecodedInstruction *insn);
const char *exclusion(const ZydisDecodedInstruction *insn);
bool encoding_varies(const ZydisDecodedInstruction *insn);
bool length_varies(const ZydisDecodedInstruction *insn);
bool alignment_varies(const struct instruction *in);
/* Memory after a fault, and the exact address of the fault, are up to the processor. */
bool fault_is_loose(const ZydisDecodedInstruction *insn);

#endif
