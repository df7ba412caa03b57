/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two halves of a vCPU thread share: exits (vmm/vcpu.c), and instructions that KVM could not emulate
 * (vmm/instruction.c). Everything here runs in the vCPU's own thread; false always means: the guest must not
 * be entered again, the machine is stopping and its reason is told.
 */
#ifndef DVMM_VMM_VCPU_H
#define DVMM_VMM_VCPU_H

#include "vmm/handoff.h"

/* One access of the guest: count elements of size bytes (1, 2, 4, 8) at data, all to or from addr. */
bool vcpu_access(struct vcpu *vcpu, struct handoff *h, uint32_t space, uint64_t addr, uint32_t size,
		 uint32_t count, bool write, uint8_t *data);

/* An access to guest-physical memory of any length, in pieces that devices know. */
bool vcpu_access_memory(struct vcpu *vcpu, struct handoff *h, uint64_t addr, uint32_t length, bool write,
			uint8_t *data);

/* What a reply asks of the machine. False: the guest must not run on. */
bool vcpu_obey_reply(struct vcpu *vcpu, const struct reply *reply);

/* The request that handoff_call() has just answered with -ETIME: the vCPU goes where the watchdog says. */
void vcpu_obey_watchdog(struct vcpu *vcpu);

/*
 * KVM has left with KVM_INTERNAL_ERROR_EMULATION: has the emulator execute the instruction, and perhaps some
 * that follow, and gives KVM the result. What is not covered, or took too long, is #UD to the guest or the end,
 * as --on-unknown-insn says.
 */
bool instruction_emulate(struct vcpu *vcpu, struct handoff *h);

#endif
