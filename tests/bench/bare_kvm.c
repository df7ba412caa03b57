/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The least that a KVM program can do: one VM, one vCPU, 128 MiB, one HLT. The start-up benchmark's
 * yardstick.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define MEMORY_BYTES (128ul << 20)
#define START        0x1000

int main(void)
{
	struct kvm_userspace_memory_region ram = {.memory_size = MEMORY_BYTES};
	struct kvm_regs regs = {.rip = START, .rflags = 2};
	struct kvm_sregs sregs;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	unsigned char *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (kvm < 0 || vm < 0 || memory == MAP_FAILED)
		err(2, "/dev/kvm");
	memory[START] = 0xf4; /* HLT */
	ram.userspace_addr = (unsigned long)memory;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &ram))
		err(2, "KVM_SET_USER_MEMORY_REGION");

	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	long run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run =
		mmap(NULL, (unsigned long)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (vcpu < 0 || run == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &sregs))
		err(2, "vCPU");
	sregs.cs.base = sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs) || ioctl(vcpu, KVM_RUN, 0))
		err(2, "KVM_RUN");
	return run->exit_reason == KVM_EXIT_HLT ? 0 : 3;
}
