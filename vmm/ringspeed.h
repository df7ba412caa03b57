/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast does this KVM run ring 0? A micro guest in 64-bit mode counts down in a loop, and the clock says.
 *
 * Some KVMs (kvm_pvm) emulate privileged code instruction by instruction, a thousand times slower than the
 * processor. Nothing announces that, so it has to be measured.
 */
#ifndef DVMM_VMM_RINGSPEED_H
#define DVMM_VMM_RINGSPEED_H

#include <stdint.h>

/* From here on ring 0 counts as emulated. Native: below 1 ns; natively in a software-emulated host: 2-5 ns;
 * kvm_pvm: 1200 ns. */
#define RINGSPEED_EMULATED_NS 50.0

struct ringspeed {
	double ns_per_instruction;
	uint32_t exit_reason; /* KVM_EXIT_* that the guest ended with if the result is -EIO */
};

/*
 * Measures on an open /dev/kvm. Takes some milliseconds, or 6000 instructions where these take longer than
 * that. Leaves nothing behind. 0; -EIO: the guest did not get to its end; or -errno of the system call that
 * failed.
 */
int ringspeed_measure(int kvm_fd, struct ringspeed *speed);

#endif
