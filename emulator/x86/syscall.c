/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSCALL of ring 3, where the host's KVM delivers it wrongly.
 *
 * kvm_pvm runs ring 3 natively and emulates ring 0, and was made for guests that know it. For others SYSCALL
 * does half of its work: RCX, R11 and RIP are as they should be, but the processor is still in ring 3. Fetching the
 * first instruction of the kernel then is a page fault of ring 3, and the guest's handler for that is entered, in ring 0.
 * Where its first instruction is one that KVM cannot emulate, which CLAC is, we come to see it. What was meant is done then:
 * the frame of the fault is dropped, and the system call entered as SDM vol. 2, SYSCALL, says.
 *
 * Mistaken for that can only be what amounts to the same: a fault of fetching at the address in LSTAR, from ring 3, with RCX
 * behind a SYSCALL instruction and in R11 flags that a program can have. A program of the guest that jumps there with
 * registers set up so gets what that instruction would have given it.
 */
#include <string.h>

#include "emulator/x86/internal.h"

/* SDM vol. 3A, 4.7: of the error code of a fetch by ring 3, U/S is set, P and I/D depend on the page and on NXE. */
#define ERROR_USER 0x04u
#define ERROR_ANY  0x11u

/* Status, TF, IF, DF, NT, AC, ID and the bit that is always set: not IOPL, VM, VIF and VIP, which ring 3 cannot set. RF may be
 * left over. */
#define FLAGS_OF_PROGRAMS 0x254fd7u

struct fault_frame {
	uint64_t error, rip, cs, rflags, rsp, ss;
};

/* A read of what may not be there. */
static bool peek(struct context *c, uint64_t linear, void *to, uint32_t size)
{
	bool ok = linear_read(c, linear, to, size, ACCESS_READ);

	c->stop = X86_DONE;
	return ok;
}

/* Are we at the beginning of the handler of page faults? ENDBR64 may have been executed. */
static bool at_fault_handler(struct context *c)
{
	struct {
		uint16_t offset_low, selector, type, offset_middle;
		uint32_t offset_high, reserved;
	} gate;
	uint64_t handler;

	if (!peek(c, c->s->idt.base + (uint64_t)VECTOR_PF * sizeof(gate), &gate, sizeof(gate)))
		return false;
	handler = gate.offset_low | (uint64_t)gate.offset_middle << 16 | (uint64_t)gate.offset_high << 32;
	return c->s->rip == handler || c->s->rip == handler + 4;
}

/* Translations that were good for one level are not for the other. */
static void look_as(struct context *c, unsigned cpl)
{
	c->cpl = cpl;
	memset(c->translation, 0, sizeof(c->translation));
}

/* As the program sees it: SMAP. */
static bool is_behind_syscall(struct context *c, uint64_t rip)
{
	uint8_t code[2];
	bool ok;

	look_as(c, 3);
	ok = peek(c, rip - 2, code, sizeof(code)) && code[0] == 0x0f && code[1] == 0x05;
	look_as(c, 0);
	return ok;
}

static bool looks_like_syscall(struct context *c, struct fault_frame *frame)
{
	const uint64_t *gpr = c->s->gpr;

	/* The processor aligns the stack before it pushes the frame: SDM vol. 3A, 6.14.2. */
	return c->code_bits == 64 && c->cpl == 0 && c->s->cr2 && !(gpr[X86_RSP] & 15) &&
	       peek(c, gpr[X86_RSP], frame, sizeof(*frame)) && frame->rip == c->s->cr2 &&
	       (frame->error & ~(uint64_t)ERROR_ANY) == ERROR_USER && (frame->cs & 3) == 3 &&
	       !(gpr[X86_R11] & ~(uint64_t)FLAGS_OF_PROGRAMS) && at_fault_handler(c) &&
	       is_behind_syscall(c, gpr[X86_RCX]);
}

/* CS and SS are flat, whatever the descriptor table says: SDM vol. 2, SYSCALL. */
static void enter_kernel(struct context *c, const struct fault_frame *frame)
{
	struct x86_state *s = c->s;
	const uint16_t selector = s->star >> 32 & 0xfffc;

	s->segment[X86_CS] = (struct x86_segment){.selector = selector, .limit = UINT32_MAX, .attributes = 0xa09b};
	s->segment[X86_SS] = (struct x86_segment){
		.selector = (uint16_t)(selector + 8), .limit = UINT32_MAX, .attributes = 0xc093};
	s->gpr[X86_RSP] = frame->rsp;
	s->rip = s->lstar;
	s->rflags = (s->gpr[X86_R11] & ~s->sfmask & ~(uint64_t)FLAG_RF) | BIT(1);
	c->cpu->changed |= X86_REGS | X86_SREGS;
}

bool syscall_repair(struct context *c)
{
	struct fault_frame frame;

	if (!looks_like_syscall(c, &frame))
		return true;
	if (!state_needed(c, X86_SYSCALL))
		return false;
	if (c->s->lstar == frame.rip && c->s->efer & EFER_SCE)
		enter_kernel(c, &frame);
	return true;
}
