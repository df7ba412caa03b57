/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 emulator's XSAVE family, FXSAVE and MXCSR. */
#include "tests/unit/x86_state_harness.h"

static bool same(const uint8_t *area, unsigned offset, unsigned size)
{
	return !memcmp(area + offset, cpu.xstate.image + offset, size);
}

START_TEST(xsave_writes_what_is_asked_for)
{
	start_with_state();
	CODE(0x48, 0x0f, 0xae, 0x23); /* xsave64 [rbx] */
	memset(ram + AREA, 0xee, 4096);
	step(X86_DONE);
	ck_assert(same(ram + AREA, 0, 416));
	ck_assert(same(ram + AREA, AVX_OFFSET, 2432 - AVX_OFFSET));
	ck_assert_uint_eq(ram[AREA + 416], 0xee);
	ck_assert_uint_eq(ram64(AREA + XSTATE_BV), (0xeeeeeeeeeeeeeeee & ~0xe7ull) | 0xe7);
	ck_assert_uint_eq(ram64(AREA + XCOMP_BV), 0xeeeeeeeeeeeeeeee);
	/* Only AVX: the rest of the area, and of XSTATE_BV, stays. */
	memset(ram + AREA, 0xee, 4096);
	cpu.state.gpr[X86_RAX] = 4;
	step(X86_DONE);
	ck_assert_uint_eq(ram[AREA], 0xee);
	ck_assert(same(ram + AREA, MXCSR, 8));
	ck_assert_uint_eq(ram[AREA + XMM(0)], 0xee);
	ck_assert(same(ram + AREA, AVX_OFFSET, 256));
	ck_assert_uint_eq(ram[AREA + 832], 0xee);
}
END_TEST

START_TEST(what_is_not_in_use_is_initial)
{
	static const uint8_t zero[1024];

	start_with_state();
	cpu.xstate.image[XSTATE_BV] = 0; /* the rest of the image is rubbish */
	CODE(0x48, 0x0f, 0xae, 0x23);
	ram64_set(AREA + XSTATE_BV, 0xe7);
	step(X86_DONE);
	ck_assert_uint_eq(ram64(AREA + XSTATE_BV), 0);
	ck_assert_uint_eq(ram64(AREA), 0x37f);
	ck_assert_uint_eq(ram64(AREA + MXCSR) & 0xffffffff, 0x1f80);
	ck_assert(!memcmp(ram + AREA + XMM(0), zero, 256));
	ck_assert(!memcmp(ram + AREA + AVX_OFFSET, zero, 256));
	ck_assert(!memcmp(ram + AREA + 1408, zero, 1024));
}
END_TEST

START_TEST(compacted_areas_are_packed)
{
	start_with_state();
	cpu.state.gpr[X86_RAX] = 0x45; /* x87, AVX, upper halves of ZMM */
	CODE(0x48, 0x0f, 0xc7, 0x23);  /* xsavec64 [rbx] */
	memset(ram + AREA, 0xee, 4096);
	step(X86_DONE);
	ck_assert_uint_eq(ram64(AREA + XSTATE_BV), 0x45);
	ck_assert_uint_eq(ram64(AREA + XCOMP_BV), COMPACTED | 0x45);
	ck_assert_uint_eq(ram[AREA + MXCSR], 0xee);
	ck_assert(same(ram + AREA, AVX_OFFSET, 256));
	ck_assert(!memcmp(ram + AREA + 832, cpu.xstate.image + ZMM_OFFSET, 512));
	ck_assert_uint_eq(ram[AREA + 832 + 512], 0xee);
	/* And back, over other values. */
	struct x86_xstate saved = cpu.xstate;

	memset(cpu.xstate.image + AVX_OFFSET, 0x33, 1856);
	CODE(0x48, 0x0f, 0xae, 0x2b); /* xrstor64 [rbx] */
	memset(ram + AREA + XCOMP_BV + 8, 0, 48);
	step(X86_DONE);
	ck_assert(same(saved.image, AVX_OFFSET, 256));
	ck_assert(same(saved.image, ZMM_OFFSET, 512));
	ck_assert_uint_eq(cpu.xstate.image[832], 0x33);
	ck_assert_uint_eq(cpu.xstate.image[1408], 0x33);
	ck_assert_uint_eq(cpu.changed, X86_REGS | X86_XSTATE);
}
END_TEST

START_TEST(xsaveopt_leaves_out_what_is_initial)
{
	start_with_state();
	cpu.xstate.image[XSTATE_BV] = 3;
	CODE(0x48, 0x0f, 0xae, 0x33); /* xsaveopt64 [rbx] */
	memset(ram + AREA, 0xee, 4096);
	step(X86_DONE);
	ck_assert_uint_eq(ram[AREA + XSTATE_BV], 0x0b); /* bit 3 was there, and was not asked for */
	ck_assert(same(ram + AREA, XMM(0), 256));
	ck_assert_uint_eq(ram[AREA + AVX_OFFSET], 0xee);
}
END_TEST

/* A valid area in the standard format at AREA. */
static void area_make(uint64_t present)
{
	memset(ram + AREA, 0x11, 4096);
	memset(ram + AREA + XSTATE_BV, 0, 64);
	ram64_set(AREA + XSTATE_BV, present);
	ram64_set(AREA + MXCSR, 0x0000ffff00001fa0);
}

START_TEST(xrstor_loads_and_initialises)
{
	static const uint8_t zero[1024];

	start_with_state();
	area_make(0x46);
	CODE(0x48, 0x0f, 0xae, 0x2b); /* xrstor64 [rbx] */
	step(X86_DONE);
	ck_assert_uint_eq(cpu.xstate.image[XSTATE_BV], 0x46);
	ck_assert_uint_eq(cpu.xstate.image[0], 0x7f); /* x87 is not in the area */
	ck_assert_uint_eq(cpu.xstate.image[XMM(3)], 0x11);
	ck_assert_uint_eq(cpu.xstate.image[MXCSR], 0xa0);
	ck_assert_uint_eq(cpu.xstate.image[AVX_OFFSET], 0x11);
	ck_assert_uint_eq(cpu.xstate.image[ZMM_OFFSET + 511], 0x11);
	ck_assert(!memcmp(cpu.xstate.image + 832, zero, 64));
	ck_assert(!memcmp(cpu.xstate.image + 1408, zero, 1024));
}
END_TEST

START_TEST(xrstor_refuses_bad_headers)
{
	struct x86_xstate saved;

	start_with_state();
	saved = cpu.xstate;
	CODE(0x48, 0x0f, 0xae, 0x2b);
	area_make(1ull << 9); /* not in XCR0 */
	expect_gp();
	area_make(1ull << 62);
	expect_gp();
	area_make(7);
	ram64_set(AREA + XCOMP_BV, 7); /* standard format, yet not zero */
	expect_gp();
	area_make(7);
	ram[AREA + XCOMP_BV + 8] = 1;
	expect_gp();
	area_make(7);
	ram64_set(AREA + XCOMP_BV, COMPACTED | 3); /* AVX is not in the layout */
	expect_gp();
	area_make(7);
	ram64_set(AREA + XCOMP_BV, COMPACTED | 0x407);
	expect_gp();
	area_make(7);
	ram64_set(AREA + XCOMP_BV, COMPACTED | 7);
	ram[AREA + 575] = 1;
	expect_gp();
	area_make(7);
	ram64_set(AREA + MXCSR, 0x0000ffff00011f80);
	expect_gp();
	area_make(7);
	cpu.state.gpr[X86_RBX] = AREA + 32;
	expect_gp();
	ck_assert(!memcmp(&saved, &cpu.xstate, sizeof(saved)));
}
END_TEST

START_TEST(xrstors_wants_the_compacted_format)
{
	start_with_state();
	CODE(0x48, 0x0f, 0xc7, 0x1b); /* xrstors64 [rbx] */
	area_make(7);
	expect_gp();
	ram64_set(AREA + XCOMP_BV, COMPACTED | 7);
	step(X86_DONE);
	CODE(0x48, 0x0f, 0xc7, 0x2b); /* xsaves64 [rbx] */
	step(X86_DONE);
	cpu.state.xss = 1u << 11;
	step(X86_UNKNOWN); /* supervisor state is not there */
}
END_TEST

START_TEST(a_fault_in_the_middle_changes_nothing)
{
	struct x86_xstate saved;

	start_with_state();
	saved = cpu.xstate;
	/* The area's last page is missing. */
	cpu.state.gpr[X86_RBX] = AREA + 0x1000 - 1024;
	entry_set(AREA + 0x1000, 1, 0);
	memset(ram + AREA + 0x1000 - 1024, 0, 1024);
	ram64_set(AREA + 0x1000 - 1024 + XSTATE_BV, 0xe7);
	CODE(0x48, 0x0f, 0xae, 0x2b);
	expect_fault(run(1), 14, true, 0, AREA + 0x1000);
	CODE(0x48, 0x0f, 0xae, 0x23);
	expect_fault(run(1), 14, true, 2, AREA + 0x1000);
	ck_assert(!memcmp(saved.image, cpu.xstate.image, sizeof(saved.image)));
}
END_TEST

START_TEST(the_xsave_family_has_conditions)
{
	start_with_state();
	CODE(0x48, 0x0f, 0xae, 0x23);
	cpu.state.cr0 |= 8;
	expect_fault(run(1), 7, false, 0, 0);
	cpu.state.cr4 &= ~(1ull << 18);
	expect_fault(run(1), 6, false, 0, 0);
	start_with_state();
	CODE(0x48, 0x0f, 0xae, 0x23);
	cpu.xstate.size = 0;
	ck_assert_int_eq(run(1), X86_WANT_STATE);
	ck_assert_uint_eq(cpu.want, X86_XSTATE);
	/* An image that is shorter than the components that are asked for. */
	cpu.xstate.size = 600;
	ck_assert_int_eq(run(1), X86_UNKNOWN);
	cpu.state.gpr[X86_RAX] = 3;
	ck_assert_int_eq(run(1), X86_DONE);
}
END_TEST

START_TEST(fxsave_and_fxrstor)
{
	uint8_t image[416];

	start_with_state();
	memcpy(image, cpu.xstate.image, 416);
	CODE(0x48, 0x0f, 0xae, 0x03); /* fxsave64 [rbx] */
	step(X86_DONE);
	ck_assert(!memcmp(ram + AREA, image, 416));
	memset(cpu.xstate.image + XMM(0), 0, 256);
	CODE(0x48, 0x0f, 0xae, 0x0b); /* fxrstor64 [rbx] */
	step(X86_DONE);
	ck_assert(!memcmp(cpu.xstate.image, image, 416));
	cpu.state.gpr[X86_RBX] = AREA + 8;
	expect_gp();
}
END_TEST

START_TEST(mxcsr_is_checked)
{
	start_with_state();
	CODE(0x0f, 0xae, 0x13); /* ldmxcsr [rbx] */
	ram64_set(AREA, 0x10000);
	expect_gp();
	ram64_set(AREA, 0x9fc0);
	step(X86_DONE);
	CODE(0x0f, 0xae, 0x5b, 0x08); /* stmxcsr [rbx+8] */
	step(X86_DONE);
	ck_assert_uint_eq(ram64(AREA + 8), 0x9fc0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("x86_xsave");
	TCase *tc = tcase_create("xsave");

	tcase_add_test(tc, xsave_writes_what_is_asked_for);
	tcase_add_test(tc, what_is_not_in_use_is_initial);
	tcase_add_test(tc, compacted_areas_are_packed);
	tcase_add_test(tc, xsaveopt_leaves_out_what_is_initial);
	tcase_add_test(tc, xrstor_loads_and_initialises);
	tcase_add_test(tc, xrstor_refuses_bad_headers);
	tcase_add_test(tc, xrstors_wants_the_compacted_format);
	tcase_add_test(tc, a_fault_in_the_middle_changes_nothing);
	tcase_add_test(tc, the_xsave_family_has_conditions);
	tcase_add_test(tc, fxsave_and_fxrstor);
	tcase_add_test(tc, mxcsr_is_checked);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
