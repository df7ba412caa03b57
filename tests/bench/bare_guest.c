/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/bare_guest.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_BYTES 0x10000ul
#define START        0x1000

/* Real mode, at START. */
static const unsigned char code[] = {
	0xe6, 0x80, /* 1: out %al, $0x80 */
	0xeb, 0xfc, /* jmp 1b */
};

static int make_vcpu(struct bare_guest *g, int kvm, int vm)
{
	struct kvm_userspace_memory_region ram = {.memory_size = MEMORY_BYTES,
						  .userspace_addr = (unsigned long)g->memory};
	struct kvm_regs regs = {.rip = START, .rflags = 2};
	struct kvm_sregs sregs;
	long bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &ram) || (g->vcpu = ioctl(vm, KVM_CREATE_VCPU, 0)) < 0 ||
	    bytes < (long)sizeof(*g->run))
		return -1;
	g->run_bytes = (size_t)bytes;
	g->run = mmap(NULL, g->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (g->run == MAP_FAILED || ioctl(g->vcpu, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cs.base = sregs.cs.selector = 0;
	return ioctl(g->vcpu, KVM_SET_SREGS, &sregs) || ioctl(g->vcpu, KVM_SET_REGS, &regs) ? -1 : 0;
}

int bare_guest_open(struct bare_guest *g)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = ioctl(kvm, KVM_CREATE_VM, 0), rc = -1;

	*g = (struct bare_guest){.vcpu = -1, .run = MAP_FAILED};
	g->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (g->memory != MAP_FAILED && vm >= 0) {
		memcpy(g->memory + START, code, sizeof(code));
		rc = make_vcpu(g, kvm, vm);
	}
	if (vm >= 0)
		close(vm); /* the vCPU keeps it */
	if (kvm >= 0)
		close(kvm);
	if (rc)
		bare_guest_close(g);
	return rc;
}

int bare_guest_run(struct bare_guest *g)
{
	return ioctl(g->vcpu, KVM_RUN, 0) || g->run->exit_reason != KVM_EXIT_IO ? -1 : 0;
}

void bare_guest_close(struct bare_guest *g)
{
	if (g->run != MAP_FAILED)
		munmap(g->run, g->run_bytes);
	if (g->vcpu >= 0)
		close(g->vcpu);
	if (g->memory != MAP_FAILED)
		munmap(g->memory, MEMORY_BYTES);
}
