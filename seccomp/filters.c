/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "seccomp/filters.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp/filter_code.h"

#define CODE(kind) { (kind), sizeof(kind) / sizeof((kind)[0]) }

_Static_assert(sizeof(main_code) / sizeof(main_code[0]) <= FILTER_MAX_INSTRUCTIONS &&
		       sizeof(vcpu_code) / sizeof(vcpu_code[0]) <= FILTER_MAX_INSTRUCTIONS &&
		       sizeof(worker_code) / sizeof(worker_code[0]) <= FILTER_MAX_INSTRUCTIONS &&
		       sizeof(io_code) / sizeof(io_code[0]) <= FILTER_MAX_INSTRUCTIONS,
	       "a filter fits struct filter");

static const struct {
	const struct sock_filter *code;
	uint16_t length;
} filters[FILTER_KINDS] = {
	[FILTER_WORKER] = CODE(worker_code),
	[FILTER_IO] = CODE(io_code),
	[FILTER_VCPU] = CODE(vcpu_code),
	[FILTER_MAIN] = CODE(main_code),
};

void filter_build(struct filter *filter, enum filter_kind kind, int vcpu_fd)
{
	filter->length = filters[kind].length;
	memcpy(filter->code, filters[kind].code, filter->length * sizeof(filter->code[0]));
	for (unsigned i = 0; i < filter->length; i++) {
		struct sock_filter *f = &filter->code[i];

		if (f->code == (BPF_JMP | BPF_JEQ | BPF_K) && f->k == FILTER_SOME_VCPU)
			f->k = (uint32_t)vcpu_fd;
		else if (f->code == (BPF_JMP | BPF_JEQ | BPF_K) && f->k == FILTER_SOME_PROCESS)
			f->k = (uint32_t)getpid();
	}
}

int filter_load(const struct filter *filter)
{
	struct sock_fprog program = {filter->length, (struct sock_filter *)filter->code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		return -errno;
	return 0;
}
