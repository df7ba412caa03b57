/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that does nothing but one port write after another: what a hand-off costs between two entries of a guest. */
#ifndef DVMM_BENCH_BARE_GUEST_H
#define DVMM_BENCH_BARE_GUEST_H

#include <stddef.h>

struct bare_guest {
	int vcpu;
	unsigned char *memory;
	struct kvm_run *run;
	size_t run_bytes;
};

/* 0, or -1: errno says why. */
int bare_guest_open(struct bare_guest *g);
/* Until its next port write. */
int bare_guest_run(struct bare_guest *g);
void bare_guest_close(struct bare_guest *g);

#endif
