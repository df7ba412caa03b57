/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SYSCALL where KVM does half of it (emulator/x86/syscall.c): recognised, completed, and nothing else mistaken for it. */
#include "tests/unit/x86_harness.h"

#define IDT_GPA     0x5000u
#define PROGRAM     0x8000u /* a page of ring 3: the SYSCALL instruction is its first */
#define ENTRY       0x6000u /* of the guest's kernel */
#define FRAME       (STACK_GPA + 0x800)
#define PROGRAM_RSP 0x12345670u
#define FLAGS       0x246u
#define MASKED      0x47700u

enum { FRAME_ERROR, FRAME_RIP, FRAME_CS, FRAME_FLAGS, FRAME_RSP, FRAME_SS };

static void frame_set(unsigned n, uint64_t value) { ram64_set(FRAME + 8 * n, value); }

static void handler_at(uint64_t gpa)
{
	ram64_set(IDT_GPA + 14 * 16, (gpa & 0xffff) | 0x8e00ull << 32 | (gpa >> 16 & 0xffff) << 48);
}

/* The handler of page faults has been entered for the fetch of the kernel's first instruction. */
static void half_a_syscall(void)
{
	struct x86_state *s = &cpu.state;

	start(MODE_4_LEVEL, 0);
	entry_set(PROGRAM, 1, PROGRAM | PTE_P | PTE_U);
	memcpy(ram + PROGRAM, "\x0f\x05", 2);
	CODE(0x0f, 0x01, 0xca); /* clac */
	memset(ram + ENTRY, 0x90, 16);
	handler_at(CODE_GPA);
	frame_set(FRAME_ERROR, 0x14);
	frame_set(FRAME_RIP, ENTRY);
	frame_set(FRAME_CS, 0x33);
	frame_set(FRAME_FLAGS, FLAGS);
	frame_set(FRAME_RSP, PROGRAM_RSP);
	frame_set(FRAME_SS, 0x2b);
	s->have |= X86_SYSCALL;
	s->efer |= 1; /* SCE */
	s->cr4 |= 1u << 21 | 1u << 20; /* SMAP, SMEP */
	s->cr2 = s->lstar = ENTRY;
	s->star = 0x00230013ull << 32; /* RPL bits are ignored */
	s->sfmask = MASKED;
	s->idt = (struct x86_table){IDT_GPA, 0xfff};
	s->gpr[X86_RSP] = FRAME;
	s->gpr[X86_RCX] = PROGRAM + 2;
	s->gpr[X86_R11] = FLAGS;
}

static void expect_entered(void)
{
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.rip, ENTRY + 1); /* the first instruction there has been executed */
	ck_assert_uint_eq(cpu.state.gpr[X86_RSP], PROGRAM_RSP);
	ck_assert_uint_eq(cpu.state.gpr[X86_RCX], PROGRAM + 2);
	ck_assert_uint_eq(cpu.state.segment[X86_CS].selector, 0x10);
	ck_assert_uint_eq(cpu.state.segment[X86_SS].selector, 0x18);
	ck_assert_uint_eq(cpu.state.rflags, (FLAGS & ~MASKED) | 2);
	ck_assert_uint_eq(cpu.changed & (X86_REGS | X86_SREGS), X86_REGS | X86_SREGS);
}

START_TEST(it_enters_the_kernel)
{
	half_a_syscall();
	expect_entered();
}
END_TEST

START_TEST(the_handler_may_begin_with_endbr)
{
	half_a_syscall();
	handler_at(CODE_GPA - 4);
	expect_entered();
}
END_TEST

START_TEST(it_asks_for_the_registers_of_syscall)
{
	half_a_syscall();
	cpu.state.have &= ~(uint32_t)X86_SYSCALL;
	ck_assert_int_eq(run(1), X86_WANT_STATE);
	ck_assert_uint_eq(cpu.want, X86_SYSCALL);
	ck_assert(!memcmp(&cpu.state, &before, sizeof(before)));
}
END_TEST

/* What makes it something else. */
static void another_address(void) { cpu.state.cr2 = ENTRY + 8; }
static void no_fault(void) { cpu.state.cr2 = 0; }
static void stack_not_aligned(void) { cpu.state.gpr[X86_RSP] += 8; }
static void stack_not_there(void) { cpu.state.gpr[X86_RSP] = 0x10000; }
static void fault_of_ring_0(void) { frame_set(FRAME_ERROR, 0x10); }
static void fault_of_a_write(void) { frame_set(FRAME_ERROR, 0x06); }
static void from_ring_0(void) { frame_set(FRAME_CS, 0x10); }
static void flags_of_the_kernel(void) { cpu.state.gpr[X86_R11] |= 0x3000; /* IOPL */ }
static void not_the_handler(void) { handler_at(CODE_GPA + 0x10); }
static void idt_not_there(void) { cpu.state.idt.base = 0x10000; }
static void no_syscall_before_rcx(void) { ram[PROGRAM + 1] = 0x0b; }
static void nothing_before_rcx(void) { cpu.state.gpr[X86_RCX] = 0x10000; }
static void not_what_lstar_says(void) { cpu.state.lstar = ENTRY + 0x100; }
static void syscall_not_enabled(void) { cpu.state.efer &= ~1ull; }

/* ... in a page of which a translation for ring 0 is known already. */
static void code_of_the_kernel_before_rcx(void)
{
	memcpy(ram + STACK_GPA, "\x0f\x05", 2);
	cpu.state.gpr[X86_RCX] = STACK_GPA + 2;
}

static void (*const differences[])(void) = {
	another_address,   no_fault,        stack_not_aligned,   stack_not_there, fault_of_ring_0,
	fault_of_a_write,  from_ring_0,     flags_of_the_kernel, not_the_handler, idt_not_there,
	no_syscall_before_rcx, nothing_before_rcx, code_of_the_kernel_before_rcx, not_what_lstar_says, syscall_not_enabled,
};

START_TEST(nothing_else_is_taken_for_it)
{
	half_a_syscall();
	differences[_i]();
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 3); /* CLAC */
	ck_assert_uint_eq(cpu.state.gpr[X86_RSP], before.gpr[X86_RSP]);
	ck_assert(!memcmp(cpu.state.segment, before.segment, sizeof(before.segment)));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("x86_syscall");
	TCase *tc = tcase_create("syscall");

	tcase_add_test(tc, it_enters_the_kernel);
	tcase_add_test(tc, the_handler_may_begin_with_endbr);
	tcase_add_test(tc, it_asks_for_the_registers_of_syscall);
	tcase_add_loop_test(tc, nothing_else_is_taken_for_it, 0, sizeof(differences) / sizeof(differences[0]));
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
