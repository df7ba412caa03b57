/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the x86 emulator faults and traps: segments, alignment, breakpoints, single steps, divisions. */
#include "tests/unit/x86_harness.h"

START_TEST(segments_have_limits_and_types)
{
	start(MODE_FLAT, 0);
	CODE(0x8b, 0x03, 0x90); /* mov eax, [ebx] */
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	cpu.state.segment[X86_DS].limit = DATA_GPA + 3;
	ck_assert_int_eq(run(1), X86_DONE);
	cpu.state.rip = CODE_GPA;
	cpu.state.segment[X86_DS].limit = DATA_GPA + 2;
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.segment[X86_DS].limit = UINT32_MAX;
	cpu.state.segment[X86_DS].attributes = X86_SEGMENT_UNUSABLE;
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.segment[X86_DS].attributes = 0xc099; /* code that cannot be read */
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.segment[X86_DS].attributes = 0xc097; /* expands down */
	cpu.state.segment[X86_DS].limit = DATA_GPA;
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.segment[X86_DS].limit = DATA_GPA - 1;
	ck_assert_int_eq(run(1), X86_DONE);
	CODE(0x89, 0x03); /* mov [ebx], eax */
	cpu.state.rip = CODE_GPA;
	cpu.state.segment[X86_DS] = segment(0xc091); /* read-only */
	expect_fault(run(1), 13, true, 0, 0);
	CODE(0x50); /* push eax */
	cpu.state.segment[X86_SS].limit = 0x100;
	expect_fault(run(1), 12, true, 0, 0);
}
END_TEST

START_TEST(real_mode_adds_bases)
{
	start(MODE_REAL, 0);
	cpu.state.segment[X86_CS].base = 0x1000;
	cpu.state.rip = 0;
	cpu.state.segment[X86_DS].base = DATA_GPA;
	cpu.state.gpr[X86_RBX] = 0xfffe;
	cpu.state.gpr[X86_RSI] = 0x12;
	CODE(0x8b, 0x00); /* mov ax, [bx+si]: wraps to 0x10 */
	ram64_set(DATA_GPA + 0x10, 0xbeef);
	cpu.state.gpr[X86_RAX] = 0xffff0000;
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 0xffffbeef);
	ck_assert_uint_eq(cpu.state.rip, 2);
}
END_TEST

START_TEST(alignment_is_checked_for_the_user)
{
	start(MODE_4_LEVEL, 3);
	CODE(0x8b, 0x03);
	cpu.state.gpr[X86_RBX] = DATA_GPA + 1;
	cpu.state.rflags |= 1u << 18;
	ck_assert_int_eq(run(1), X86_DONE);
	cpu.state.rip = CODE_GPA;
	cpu.state.cr0 |= 1u << 18;
	expect_fault(run(1), 17, true, 0, 0);
}
END_TEST

START_TEST(traps_are_behind_the_instruction)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xcc);
	ck_assert_int_eq(run(5), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.exception.vector, 3);
	ck_assert_uint_eq(cpu.exception.trap, 1);
	ck_assert_uint_eq(cpu.executed, 1);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 1);
	cpu.state.rip = CODE_GPA;
	CODE(0x90, 0x90);
	cpu.state.rflags |= 0x100;
	ck_assert_int_eq(run(5), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.exception.vector, 1);
	ck_assert_uint_eq(cpu.exception.dr6, 1u << 14);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 1);
}
END_TEST

START_TEST(single_steps_stop_between_iterations)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xf3, 0xaa); /* rep stosb */
	cpu.state.rflags |= 0x100;
	cpu.state.gpr[X86_RDI] = DATA_GPA;
	cpu.state.gpr[X86_RCX] = 2;
	ck_assert_int_eq(run(1), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.exception.vector, 1);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA);
	ck_assert_uint_eq(cpu.state.gpr[X86_RCX], 1);
	ck_assert_int_eq(run(1), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 2);
}
END_TEST

START_TEST(divisions_that_do_not_fit_fault)
{
	static const struct {
		uint8_t code[3];
		uint64_t rax, rdx, rcx;
		bool fits;
	} cases[] = {
		{{0x48, 0xf7, 0xf1}, 1, 0, 0, false}, /* div rcx */
		{{0x48, 0xf7, 0xf1}, 1, 5, 5, false},
		{{0x48, 0xf7, 0xf1}, UINT64_MAX, 4, 5, true},
		{{0x48, 0xf7, 0xf9}, 1ull << 63, UINT64_MAX, UINT64_MAX, false}, /* idiv rcx */
		{{0x48, 0xf7, 0xf9}, 1ull << 63, UINT64_MAX, 1, true},
		{{0x48, 0xf7, 0xf9}, 0, 1ull << 63, UINT64_MAX, false},
		{{0x48, 0xf7, 0xf9}, 0, 1ull << 63, 1ull << 63, false},
		{{0xf7, 0xf9, 0x90}, 0x80000000, 0xffffffff, 0xffffffff, false}, /* idiv ecx */
		{{0xf6, 0xf9, 0x90}, 0x8000, 0, 0xff, false},                    /* idiv cl */
		{{0xf6, 0xf9, 0x90}, 0xff80, 0, 1, true},
	};

	start(MODE_4_LEVEL, 0);
	memcpy(ram + CODE_GPA, cases[_i].code, 3);
	cpu.state.gpr[X86_RAX] = cases[_i].rax;
	cpu.state.gpr[X86_RDX] = cases[_i].rdx;
	cpu.state.gpr[X86_RCX] = cases[_i].rcx;
	if (cases[_i].fits)
		ck_assert_int_eq(run(1), X86_DONE);
	else
		expect_fault(run(1), 0, false, 0, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("x86_fault");
	TCase *tc = tcase_create("fault");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, segments_have_limits_and_types);
	tcase_add_test(tc, real_mode_adds_bases);
	tcase_add_test(tc, alignment_is_checked_for_the_user);
	tcase_add_test(tc, traps_are_behind_the_instruction);
	tcase_add_test(tc, single_steps_stop_between_iterations);
	tcase_add_loop_test(tc, divisions_that_do_not_fit_fault, 0, 10);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
