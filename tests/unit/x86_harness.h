/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine for the x86 emulator's tests: a few hundred kilobytes of memory at 0, page tables of every format
 * made from the top of it downwards, and a processor in one of the modes.
 */
#ifndef DVMM_TESTS_X86_HARNESS_H
#define DVMM_TESTS_X86_HARNESS_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/x86/x86.h"
#include "tests/unit/run_suite.h"

#define RAM_BYTES 0x80000u
#define CODE_GPA  0x1000u
#define DATA_GPA  0x4000u
#define STACK_GPA 0x7000u
#define DEVICE    0xa0000u /* outside of memory */

#define PTE_P  1ull
#define PTE_W  2ull
#define PTE_U  4ull
#define PTE_A  0x20ull
#define PTE_D  0x40ull
#define PTE_PS 0x80ull
#define PTE_NX (1ull << 63)

enum mode { MODE_REAL, MODE_FLAT, MODE_32, MODE_PAE, MODE_4_LEVEL, MODE_5_LEVEL };

static struct guest_memory mem;
static struct x86_machine machine;
static struct x86_cpu cpu;
static uint8_t *ram;
static enum mode mode;
static uint64_t tables_end; /* tables are allocated below */

static inline bool mode_is_64(void)
{
	return mode >= MODE_4_LEVEL;
}

static inline uint64_t table_new(void)
{
	tables_end -= 4096;
	memset(ram + tables_end, 0, 4096);
	return tables_end;
}

/* The entry at `level` (1: page) for an address; the tables above are made with all rights. */
static inline void *entry_of(uint64_t linear, unsigned level)
{
	unsigned levels = mode == MODE_32 ? 2 : mode == MODE_PAE ? 3 : mode == MODE_4_LEVEL ? 4 : 5;
	uint64_t table = cpu.state.cr3 & 0xffffffffff000ull;

	for (unsigned l = levels;; l--) {
		unsigned shift = mode == MODE_32 ? 12 + 10 * (l - 1) : 12 + 9 * (l - 1);
		uint64_t index = linear >> shift & (mode == MODE_32 ? 1023 : 511);
		uint64_t *wide = (uint64_t *)(void *)(ram + table + index * 8);
		uint32_t *narrow = (uint32_t *)(void *)(ram + table + index * 4);

		if (l == level)
			return mode == MODE_32 ? (void *)narrow : (void *)wide;
		if (mode == MODE_32) {
			if (!*narrow)
				*narrow = (uint32_t)(table_new() | PTE_P | PTE_W | PTE_U);
			table = *narrow & 0xfffff000;
		} else {
			if (!*wide)
				*wide = table_new() |
					(mode == MODE_PAE && l == 3 ? PTE_P : PTE_P | PTE_W | PTE_U);
			table = *wide & 0xffffffffff000ull;
		}
	}
}

static inline uint64_t entry_get(uint64_t linear, unsigned level)
{
	return mode == MODE_32 ? *(uint32_t *)entry_of(linear, level) : *(uint64_t *)entry_of(linear, level);
}

static inline void entry_set(uint64_t linear, unsigned level, uint64_t value)
{
	if (mode == MODE_32)
		*(uint32_t *)entry_of(linear, level) = (uint32_t)value;
	else
		*(uint64_t *)entry_of(linear, level) = value;
}

static inline struct x86_segment segment(uint32_t attributes)
{
	return (struct x86_segment){.limit = 0xffffffff, .selector = 8, .attributes = attributes};
}

/* A processor in a mode at privilege level `cpl`, with code, data and stack mapped where they are. */
static inline void start(enum mode m, unsigned cpl)
{
	struct x86_state *s = &cpu.state;

	mode = m;
	tables_end = RAM_BYTES;
	if (!ram)
		ram = aligned_alloc(4096, RAM_BYTES);
	memset(ram, 0, RAM_BYTES);
	mem = (struct guest_memory){.seg = {{.gpa = 0, .size = RAM_BYTES, .host = ram}}};
	x86_machine_init(&machine, &mem);
	machine.physical_bits = 40;
	memset(&cpu, 0, sizeof(cpu));
	s->have = X86_REGS | X86_SREGS | X86_XCR0 | X86_MSRS;
	s->rip = CODE_GPA;
	s->rflags = 2;
	s->gpr[X86_RSP] = STACK_GPA + 0x800;
	for (unsigned i = 0; i < 6; i++)
		s->segment[i] = segment(0xc093 | cpl << 5);
	s->segment[X86_CS] = segment((mode_is_64() ? 0xa09b : 0xc09b) | cpl << 5);
	s->cr0 = 0x10031; /* PE, ET, NE, WP */
	s->cr4 = 0x40600; /* OSFXSR, OSXMMEXCPT, OSXSAVE */
	s->xcr0 = 7;
	s->efer = 0x800; /* NXE */
	if (m == MODE_REAL) {
		s->cr0 = 0x10;
		for (unsigned i = 0; i < 6; i++)
			s->segment[i] = (struct x86_segment){.limit = 0xffff, .attributes = 0x93};
	}
	if (m < MODE_32)
		return;
	s->cr0 |= 1u << 31;
	s->cr3 = table_new();
	s->cr4 |= m == MODE_32 ? 0x10 : m == MODE_5_LEVEL ? 0x1020 : 0x20;
	if (mode_is_64())
		s->efer |= 0x500;
	for (uint64_t page = 0; page < 0x10000; page += 4096)
		entry_set(page, 1, page | PTE_P | PTE_W | PTE_U);
	if (cpl == 0)
		for (uint64_t page = 0; page < 0x10000; page += 4096)
			entry_set(page, 1, page | PTE_P | PTE_W);
}

#define CODE(...)                                                                                            \
	memcpy(ram + CODE_GPA, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static struct x86_state before;

static inline enum x86_stop run(unsigned budget)
{
	before = cpu.state;
	return x86_run(&machine, &cpu, budget);
}

static inline void apply(void)
{
	x86_apply(&mem, &cpu.stores);
}

/* The run must have stopped with this exception, and changed nothing. */
static inline void expect_fault(enum x86_stop stop, unsigned vector, bool has_error, uint32_t error,
				uint64_t cr2)
{
	ck_assert_int_eq(stop, X86_EXCEPTION);
	ck_assert_uint_eq(cpu.exception.vector, vector);
	ck_assert_uint_eq(cpu.exception.has_error, has_error);
	ck_assert_uint_eq(cpu.exception.error, error);
	ck_assert_uint_eq(cpu.exception.address, cr2);
	ck_assert_uint_eq(cpu.exception.trap, 0);
	ck_assert_uint_eq(cpu.executed, 0);
	ck_assert_uint_eq(cpu.stores.count, 0);
	ck_assert(!memcmp(&cpu.state, &before, sizeof(before)));
}

static inline uint64_t ram64(uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, ram + gpa, 8);
	return v;
}

static inline void ram64_set(uint64_t gpa, uint64_t v)
{
	memcpy(ram + gpa, &v, 8);
}

#endif
