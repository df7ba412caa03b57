/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holds a VM with one processor for as long as the rig runs, so that no other one is the first or the last.
 *
 * For the first and after the last VM, KVM has the kernel patch running code, __schedule() among it (the static key of preempt
 * notifiers), and for the first processor whose APIC is off its own. QEMU's TCG may go on executing what it has translated of the
 * code as it was in between, with a breakpoint in it: then all processors of the rig take breakpoints for ever (seen), or
 * do what the patched code would not have done.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR), vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0 || ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0 || ioctl(vm, KVM_CREATE_VCPU, 0) < 0) {
		perror("hold: /dev/kvm");
		return 1;
	}
	if (fork())
		return 0; /* it is there now */
	for (;;)
		pause();
}
