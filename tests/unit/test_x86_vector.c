/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 emulator's vector moves, their masks, and what they do with devices. */
#include "tests/unit/x86_state_harness.h"

START_TEST(vector_moves_clear_or_keep_the_rest)
{
	start_with_state();
	memset(ram + AREA, 0x99, 64);
	CODE(0x0f, 0x10, 0x0b); /* movups xmm1, [rbx]: keeps the upper part */
	step(X86_DONE);
	ck_assert_uint_eq(cpu.xstate.image[XMM(1) + 15], 0x99);
	ck_assert_uint_ne(cpu.xstate.image[AVX_OFFSET + 16], 0);
	CODE(0xc5, 0xf8, 0x10, 0x0b); /* vmovups xmm1, [rbx]: clears it */
	step(X86_DONE);
	ck_assert_uint_eq(cpu.xstate.image[AVX_OFFSET + 16], 0);
	ck_assert_uint_eq(cpu.xstate.image[ZMM_OFFSET + 32], 0);
	CODE(0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x0b); /* vmovdqu64 zmm1, [rbx] */
	step(X86_DONE);
	ck_assert_uint_eq(cpu.xstate.image[AVX_OFFSET + 31], 0x99);
	ck_assert_uint_eq(cpu.xstate.image[ZMM_OFFSET + 63], 0x99);
	CODE(0x62, 0xe1, 0xfe, 0x48, 0x6f, 0x0b); /* vmovdqu64 zmm17, [rbx] */
	step(X86_DONE);
	ck_assert_uint_eq(cpu.xstate.image[1408 + 64 + 63], 0x99);
	CODE(0xc5, 0xfe, 0x7f, 0x4b, 0x40); /* vmovdqu [rbx+0x40], ymm1 */
	step(X86_DONE);
	ck_assert_uint_eq(ram[AREA + 0x40 + 31], 0x99);
	ck_assert_uint_eq(ram[AREA + 0x40 + 32], 0);
}
END_TEST

START_TEST(aligned_moves_are_checked)
{
	start_with_state();
	cpu.state.gpr[X86_RBX] = AREA + 8;
	CODE(0x0f, 0x28, 0x0b); /* movaps xmm1, [rbx] */
	expect_gp();
	cpu.state.gpr[X86_RBX] = AREA + 16;
	step(X86_DONE);
	CODE(0xc5, 0xfd, 0x6f, 0x0b); /* vmovdqa ymm1, [rbx] */
	expect_gp();
}
END_TEST

START_TEST(masked_moves_touch_selected_elements_only)
{
	static const uint8_t mask[] = {0x05};

	start_with_state();
	memcpy(cpu.xstate.image + 832 + 8, mask, 1);
	memset(cpu.xstate.image + 832 + 9, 0, 7);
	entry_set(AREA + 0x1000, 1, 0);
	memset(ram + AREA + 0x1000 - 12, 0x77, 12);
	cpu.state.gpr[X86_RBX] = AREA + 0x1000 - 12; /* elements 0 to 2 are there */
	CODE(0x62, 0xf1, 0x7e, 0xc9, 0x6f, 0x13);    /* vmovdqu32 zmm2 {k1}{z}, [rbx] */
	step(X86_DONE);
	ck_assert_uint_eq(cpu.xstate.image[XMM(2)], 0x77);
	ck_assert_uint_eq(cpu.xstate.image[XMM(2) + 4], 0);
	ck_assert_uint_eq(cpu.xstate.image[XMM(2) + 8], 0x77);
	ck_assert_uint_eq(cpu.xstate.image[XMM(2) + 12], 0);
	cpu.xstate.image[832 + 8] = 0x09;
	expect_fault((cpu.state.rip = CODE_GPA, run(1)), 14, true, 0, AREA + 0x1000);
}
END_TEST

START_TEST(masks_move)
{
	uint8_t *k = cpu.xstate.image + 832;

	start_with_state();
	cpu.state.gpr[X86_RAX] = 0x1122334455667788;
	CODE(0xc5, 0xf8, 0x92, 0xc8); /* kmovw k1, eax */
	step(X86_DONE);
	ck_assert(!memcmp(k + 8, "\x88\x77\0\0\0\0\0\0", 8));
	CODE(0xc5, 0xf8, 0x90, 0xd9); /* kmovw k3, k1 */
	step(X86_DONE);
	ck_assert(!memcmp(k + 24, k + 8, 8));
	CODE(0xc5, 0xf8, 0x93, 0xc1); /* kmovw eax, k1 */
	step(X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 0x7788);
	ram64_set(AREA, 0x0123456789abcdef);
	CODE(0xc4, 0xe1, 0xf8, 0x90, 0x13); /* kmovq k2, [rbx] */
	step(X86_DONE);
	CODE(0xc4, 0xe1, 0xf8, 0x91, 0x53, 0x08); /* kmovq [rbx+8], k2 */
	step(X86_DONE);
	ck_assert_uint_eq(ram64(AREA + 8), 0x0123456789abcdef);
	cpu.state.xcr0 = 7; /* no AVX-512 */
	expect_fault((cpu.state.rip = CODE_GPA, run(1)), 6, false, 0, 0);
}
END_TEST

START_TEST(elements_are_broadcast)
{
	start_with_state();
	memcpy(cpu.xstate.image + XMM(1), "abcdefgh", 8);
	CODE(0xc4, 0xe2, 0x7d, 0x18, 0xc1); /* vbroadcastss ymm0, xmm1 */
	step(X86_DONE);
	ck_assert(!memcmp(cpu.xstate.image + XMM(0), "abcdabcdabcdabcd", 16));
	ck_assert(!memcmp(cpu.xstate.image + AVX_OFFSET, "abcdabcdabcdabcd", 16));
	memcpy(&cpu.state.gpr[X86_RAX], "ABCDEFGH", 8);
	CODE(0x62, 0xf2, 0xfd, 0x28, 0x7c, 0xc0); /* vpbroadcastq ymm0, rax */
	step(X86_DONE);
	ck_assert(!memcmp(cpu.xstate.image + AVX_OFFSET, "ABCDEFGHABCDEFGH", 16));
	ck_assert_uint_eq(cpu.xstate.image[ZMM_OFFSET], 0);
}
END_TEST

START_TEST(vectors_go_to_devices)
{
	start_with_state();
	cpu.state.cr0 = 0x10033;
	cpu.state.efer = 0;
	start(MODE_FLAT, 0);
	x86_machine_init(&machine, &mem);
	cpu.xstate.size = 576;
	cpu.xstate.image[XSTATE_BV] = 2;
	memset(cpu.xstate.image + XMM(0), 0x42, 16);
	cpu.state.gpr[X86_RBX] = DEVICE;
	CODE(0x0f, 0x11, 0x03); /* movups [ebx], xmm0 */
	step(X86_DEVICE_WRITE);
	ck_assert_uint_eq(cpu.device.size, 16);
	ck_assert_uint_eq(cpu.device.data[15], 0x42);
	CODE(0x0f, 0x10, 0x0b); /* movups xmm1, [ebx] */
	step(X86_WANT_READ);
	ck_assert_uint_eq(cpu.device.size, 16);
	cpu.read[0] = cpu.device;
	memset(cpu.read[0].data, 0x24, 16);
	cpu.reads = 1;
	step(X86_DONE);
	ck_assert_uint_eq(cpu.xstate.image[XMM(1) + 15], 0x24);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("x86_vector");
	TCase *tc = tcase_create("vector");

	tcase_add_test(tc, vector_moves_clear_or_keep_the_rest);
	tcase_add_test(tc, aligned_moves_are_checked);
	tcase_add_test(tc, masked_moves_touch_selected_elements_only);
	tcase_add_test(tc, masks_move);
	tcase_add_test(tc, elements_are_broadcast);
	tcase_add_test(tc, vectors_go_to_devices);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
