/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 emulator's instructions of the system, and the ones that 64-bit mode has dropped. */
#include "tests/unit/x86_state_harness.h"

START_TEST(privileged_instructions_need_privilege)
{
	static const struct {
		uint8_t code[6];
		unsigned vector;
	} cases[] = {
		{{0x0f, 0x01, 0xca}, 6},              /* clac */
		{{0x0f, 0x01, 0xcb}, 6},              /* stac */
		{{0x0f, 0x09}, 13},                   /* wbinvd */
		{{0x0f, 0x01, 0xf8}, 13},             /* swapgs */
		{{0x66, 0x0f, 0x38, 0x82, 0x03}, 13}, /* invpcid rax, [rbx] */
		{{0x0f, 0x01, 0x3b}, 13},             /* invlpg [rbx] */
		{{0x0f, 0x01, 0xd1}, 13},             /* xsetbv */
		{{0x48, 0x0f, 0xc7, 0x2b}, 13},       /* xsaves64 [rbx] */
		{{0xfa}, 13},                         /* cli */
		{{0xfb}, 13},                         /* sti */
		{{0xf3, 0x48, 0x0f, 0xae, 0xd0}, 6},  /* wrfsbase rax, without CR4.FSGSBASE */
	};

	start(MODE_4_LEVEL, 3);
	cpu.xstate.size = 576;
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	memcpy(ram + CODE_GPA, cases[_i].code, 6);
	expect_fault(run(1), cases[_i].vector, cases[_i].vector == 13, 0, 0);
}
END_TEST

START_TEST(clac_and_stac_change_ac)
{
	start(MODE_4_LEVEL, 0);
	CODE(0x0f, 0x01, 0xcb, 0x0f, 0x01, 0xca); /* stac; clac */
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.rflags & 1u << 18, 1u << 18);
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.rflags & 1u << 18, 0);
}
END_TEST

/* In one batch: what AC allowed a moment ago must not be remembered. */
START_TEST(clac_takes_effect_at_once)
{
	start(MODE_4_LEVEL, 0);
	cpu.state.cr4 |= 1u << 21;
	entry_set(DATA_GPA, 1, DATA_GPA | PTE_P | PTE_U);
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	CODE(0x0f, 0x01, 0xcb, 0x8b, 0x03, 0x0f, 0x01, 0xca, 0x8b, 0x03); /* stac; load; clac; load */
	ck_assert_int_eq(run(10), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.executed, 3);
	ck_assert_uint_eq(cpu.exception.error, 1);
}
END_TEST

START_TEST(invpcid_asks_for_a_flush)
{
	start(MODE_4_LEVEL, 0);
	CODE(0x66, 0x0f, 0x38, 0x82, 0x03, 0x90);
	cpu.state.gpr[X86_RAX] = 2;
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	ck_assert_int_eq(run(2), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 1);
	ck_assert_uint_eq(cpu.effects, X86_FLUSH_TLB);
	cpu.state.rip = CODE_GPA;
	cpu.state.gpr[X86_RAX] = 4;
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.gpr[X86_RAX] = 0;
	ram64_set(DATA_GPA + 8, 0x800000000000);
	expect_fault(run(1), 13, true, 0, 0);
	ram64_set(DATA_GPA + 8, 0);
	ram64_set(DATA_GPA, 1); /* a PCID without CR4.PCIDE */
	expect_fault(run(1), 13, true, 0, 0);
}
END_TEST

START_TEST(sti_has_a_shadow)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xfb, 0x90);
	ck_assert_int_eq(run(2), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 1);
	ck_assert_uint_eq(cpu.effects, X86_INTERRUPT_SHADOW);
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.effects, 0);
}
END_TEST

START_TEST(xsetbv_takes_valid_combinations)
{
	static const struct {
		uint64_t value;
		bool good;
	} cases[] = {
		{1, true},
		{3, true},
		{7, true},
		{0, false},
		{2, false},
		{5, false},
		{0xe7, true},
		{0x27, false},
		{0xe3, false},
		{0x207, false},
		{1ull << 63 | 3, false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start_with_state();
		CODE(0x0f, 0x01, 0xd1);
		cpu.state.gpr[X86_RCX] = 0;
		cpu.state.gpr[X86_RAX] = cases[i].value & 0xffffffff;
		cpu.state.gpr[X86_RDX] = cases[i].value >> 32;
		if (cases[i].good)
			step(X86_DONE);
		else
			expect_gp();
		ck_assert_uint_eq(cpu.state.xcr0, cases[i].good ? cases[i].value : 0xe7);
	}
}
END_TEST

START_TEST(decimal_adjustments)
{
	static const struct {
		uint8_t code[2];
		uint16_t ax, flags, result, carries;
	} cases[] = {
		{{0x27}, 0x00ae, 0, 0x0014, 0x11},                                           /* daa */
		{{0x27}, 0x0045, 0, 0x0045, 0x00},     {{0x2f}, 0x0047, 0x10, 0x0041, 0x10}, /* das */
		{{0x37}, 0x000b, 0, 0x0101, 0x11},                                           /* aaa */
		{{0x3f}, 0x020f, 0, 0x0109, 0x11},                                           /* aas */
		{{0xd4, 10}, 0x0063, 0, 0x0909, 0x00},                                       /* aam */
		{{0xd5, 10}, 0x0908, 0, 0x0062, 0x10},                                       /* aad */
	};

	start(MODE_FLAT, 0);
	memcpy(ram + CODE_GPA, cases[_i].code, 2);
	cpu.state.gpr[X86_RAX] = cases[_i].ax;
	cpu.state.rflags |= cases[_i].flags;
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], cases[_i].result);
	ck_assert_uint_eq(cpu.state.rflags & 0x11, cases[_i].carries);
}
END_TEST

START_TEST(aam_by_zero_faults)
{
	start(MODE_FLAT, 0);
	CODE(0xd4, 0);
	expect_fault(run(1), 0, false, 0, 0);
}
END_TEST

START_TEST(pusha_and_popa_and_bound)
{
	start(MODE_FLAT, 0);
	CODE(0x60, 0x31, 0xc0, 0x31, 0xff, 0x61); /* pusha; xor eax, eax; xor edi, edi; popa */
	for (unsigned i = 0; i < 8; i++)
		if (i != X86_RSP)
			cpu.state.gpr[i] = 0x1000 + i;
	ck_assert_int_eq(run(4), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 4);
	before.rip = cpu.state.rip;
	ck_assert(!memcmp(cpu.state.gpr, before.gpr, sizeof(before.gpr)));
	CODE(0x62, 0x03); /* bound eax, [ebx] */
	cpu.state.rip = CODE_GPA;
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	ram64_set(DATA_GPA, 0x00001000ffffffff);
	ck_assert_int_eq(run(1), X86_DONE);
	cpu.state.rip = CODE_GPA;
	cpu.state.gpr[X86_RAX] = 0x1001;
	expect_fault(run(1), 5, false, 0, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("x86_system");
	TCase *tc = tcase_create("system");

	tcase_add_loop_test(tc, privileged_instructions_need_privilege, 0, 11);
	tcase_add_test(tc, clac_and_stac_change_ac);
	tcase_add_test(tc, clac_takes_effect_at_once);
	tcase_add_test(tc, invpcid_asks_for_a_flush);
	tcase_add_test(tc, sti_has_a_shadow);
	tcase_add_test(tc, xsetbv_takes_valid_combinations);
	tcase_add_loop_test(tc, decimal_adjustments, 0, 7);
	tcase_add_test(tc, aam_by_zero_faults);
	tcase_add_test(tc, pusha_and_popa_and_bound);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
