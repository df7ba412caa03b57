/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 emulator's XSAVE family, vector moves, and instructions of the system. */
#include "tests/unit/x86_harness.h"

#define AREA       DATA_GPA
#define XSTATE_BV  512u
#define XCOMP_BV   520u
#define MXCSR      24u
#define XMM(n)     (160u + 16u * (n))
#define COMPACTED  (1ull << 63)
#define DEVICE     0xa0000u
#define AVX_OFFSET 576u /* here, whatever the host has */
#define ZMM_OFFSET 896u

/* The components of a small machine: AVX, the masks, both parts of AVX-512. */
static void start_with_state(void)
{
	start(MODE_4_LEVEL, 0);
	memset(machine.xcomponent, 0, sizeof(machine.xcomponent));
	machine.xcomponent[2] = (struct x86_xcomponent){.offset = AVX_OFFSET, .size = 256};
	machine.xcomponent[5] = (struct x86_xcomponent){.offset = 832, .size = 64};
	machine.xcomponent[6] = (struct x86_xcomponent){.offset = ZMM_OFFSET, .size = 512, .align = true};
	machine.xcomponent[7] = (struct x86_xcomponent){.offset = 1408, .size = 1024};
	cpu.state.xcr0 = 0xe7;
	cpu.xstate.size = 2432;
	for (unsigned i = 0; i < 2432; i++)
		cpu.xstate.image[i] = (uint8_t)(i * 7 + 1);
	memset(cpu.xstate.image + XSTATE_BV, 0, 64);
	cpu.xstate.image[XSTATE_BV] = 0xe7;
	memcpy(cpu.xstate.image + MXCSR, "\xa0\x1f\0\0\xff\xff\0\0", 8);
	cpu.state.gpr[X86_RAX] = cpu.state.gpr[X86_RDX] = 0xffffffff;
	cpu.state.gpr[X86_RBX] = AREA;
	before = cpu.state;
}

static void step(enum x86_stop stop)
{
	cpu.state.rip = CODE_GPA;
	ck_assert_int_eq(run(1), stop);
	if (stop == X86_DONE)
		apply();
}

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

static void expect_gp(void)
{
	cpu.state.rip = CODE_GPA;
	expect_fault(run(1), 13, true, 0, 0);
}

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

/* --- Vector moves. */

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

/* --- The system. */

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
	Suite *suite = suite_create("x86_state");
	TCase *tc = tcase_create("state");

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
	tcase_add_test(tc, vector_moves_clear_or_keep_the_rest);
	tcase_add_test(tc, aligned_moves_are_checked);
	tcase_add_test(tc, masked_moves_touch_selected_elements_only);
	tcase_add_test(tc, masks_move);
	tcase_add_test(tc, elements_are_broadcast);
	tcase_add_test(tc, vectors_go_to_devices);
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
