/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine for tests of instructions that need XSAVE state: all components of a small processor, filled. */
#ifndef DVMM_TESTS_X86_STATE_HARNESS_H
#define DVMM_TESTS_X86_STATE_HARNESS_H

#include "tests/unit/x86_harness.h"

#define AREA       DATA_GPA
#define XSTATE_BV  512u
#define XCOMP_BV   520u
#define MXCSR      24u
#define XMM(n)     (160u + 16u * (n))
#define COMPACTED  (1ull << 63)
#define AVX_OFFSET 576u /* here, whatever the host has */
#define ZMM_OFFSET 896u

/* The components of a small machine: AVX, the masks, both parts of AVX-512. */
static inline void start_with_state(void)
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

static inline void step(enum x86_stop stop)
{
	cpu.state.rip = CODE_GPA;
	ck_assert_int_eq(run(1), stop);
	if (stop == X86_DONE)
		apply();
}

static inline void expect_gp(void)
{
	cpu.state.rip = CODE_GPA;
	expect_fault(run(1), 13, true, 0, 0);
}

#endif
