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
		       sizeof(emulator_code) / sizeof(emulator_code[0]) <= FILTER_MAX_INSTRUCTIONS,
	       "a filter fits struct filter");

static const struct {
	const struct sock_filter *code;
	uint16_t length;
} filters[FILTER_KINDS] = {
	[FILTER_EMULATOR] = CODE(emulator_code),
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

static int load(const struct filter *filter, unsigned flags)
{
	struct sock_fprog program = {filter->length, (struct sock_filter *)filter->code};
	long rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

	if (!rc)
		rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (rc > 0)
		return -ESRCH; /* a thread has a filter of its own already */
	return rc ? -errno : 0;
}

int filter_load(const struct filter *filter)
{
	return load(filter, 0);
}

int filter_load_process(const struct filter *filter)
{
	return load(filter, SECCOMP_FILTER_FLAG_TSYNC);
}
