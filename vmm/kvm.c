/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /dev/kvm, and the parts of the machine that the kernel holds: memory slots, interrupt controllers and
 * timer, the eventfds that raise interrupt lines (irqfd) and those that the guest's doorbells ring
 * (ioeventfd).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/vm.h"

static const struct {
	int cap;
	const char *name;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
	{KVM_CAP_PIT2, "KVM_CAP_PIT2"},
	{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
	{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

static int open_error(struct failure *f)
{
	if (errno == ENOENT)
		return fail_with(f, EXIT_HOST,
				 "/dev/kvm: not there; load kvm_intel or kvm_amd, or enable "
				 "virtualisation in the firmware");
	if (errno == EACCES || errno == EPERM)
		return fail_with(f, EXIT_HOST, "/dev/kvm: permission denied; add yourself to the group kvm");
	return fail_with(f, EXIT_HOST, "/dev/kvm: %s; see dvmm --check-host", strerror(errno));
}

int kvm_open(struct vm *vm, struct failure *f)
{
	int version, max;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		return open_error(f);
	version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return fail_with(f, EXIT_HOST, "/dev/kvm: speaks version %d; dvmm needs %d", version,
				 KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return fail_with(f, EXIT_HOST, "/dev/kvm: lacks %s; see dvmm --check-host",
					 needed[i].name);
	vm->exit_on_emulation_failure =
		ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_EXIT_ON_EMULATION_FAILURE) > 0;
	max = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (max > 0 && vm->machine.vcpus > (uint32_t)max)
		return fail_with(f, EXIT_HOST, "--cpus %u: this host's KVM has at most %d", vm->machine.vcpus,
				 max);
	return 0;
}

static int kvm_fail(struct failure *f, const char *what)
{
	return fail_with(f, EXIT_HOST, "/dev/kvm: %s: %s", what, strerror(errno));
}

static int add_memory(struct vm *vm, struct failure *f)
{
	for (uint32_t i = 0; i < GUEST_MEMORY_SEGMENTS; i++) {
		const struct guest_memory_segment *s = &vm->memory.seg[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = s->gpa,
			.memory_size = s->size,
			.userspace_addr = (uintptr_t)s->host,
		};

		if (s->size && ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return kvm_fail(f, "cannot give the guest its memory");
	}
	return 0;
}

/* So that instructions which KVM cannot emulate come to us at all privilege levels, with nothing queued for the guest. */
static void enable_emulation_exits(struct vm *vm)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args = {1}};

	if (vm->exit_on_emulation_failure && ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) < 0)
		vm->exit_on_emulation_failure = false;
}

static int add_irqchip(struct vm *vm, struct failure *f)
{
	/* PIT_SPEAKER_DUMMY: the kernel answers port 0x61 too, which kernels use to calibrate with the PIT.
	 */
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	uint64_t identity = KVM_IDENTITY_MAP;

	/* Intel processors without unrestricted guest need these pages; elsewhere they are ignored. */
	if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0 &&
	    ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return kvm_fail(f, "cannot place the identity map");
	if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0 &&
	    ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, KVM_TSS_BASE) < 0)
		return kvm_fail(f, "cannot place the TSS");
	if (ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return kvm_fail(f, "cannot create the interrupt controllers");
	if (ioctl(vm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return kvm_fail(f, "cannot create the timer");
	return 0;
}

static int connect_device(struct vm *vm, const struct machine_device *d, struct failure *f)
{
	struct kvm_irqfd line = {.fd = (uint32_t)d->irq_fd, .gsi = d->irq};
	struct kvm_ioeventfd doorbell = {
		.addr = d->base + VIRTIO_MMIO_QUEUE_NOTIFY,
		.len = 4,
		.fd = d->queue_fd,
	};

	if (d->irq_fd >= 0 && ioctl(vm->vm_fd, KVM_IRQFD, &line) < 0)
		return kvm_fail(f, "cannot connect an interrupt line");
	if (d->queue_fd >= 0 && ioctl(vm->vm_fd, KVM_IOEVENTFD, &doorbell) < 0)
		return kvm_fail(f, "cannot connect a doorbell");
	return 0;
}

/*
 * Has the kernel destroy the VM behind our back. That takes 8 to 25 ms of waiting for SRCU grace periods
 * (interrupt controllers, timer and doorbells are unhooked one by one), and otherwise our exit would wait for
 * them. The last reference to the VM is left to a ring that is never used: the kernel lets go of a ring's
 * files from a work queue, after we are gone. Guest memory does not wait: it goes with our mappings. Without
 * io_uring the only difference is a slower exit.
 */
static void defer_destruction(struct vm *vm)
{
	struct io_uring_params params = {0};
	int ring = io_uring_setup(1, &params);

	if (ring >= 0)
		io_uring_register((unsigned)ring, IORING_REGISTER_FILES, &vm->vm_fd, 1);
}

int kvm_create_machine(struct vm *vm, struct failure *f)
{
	vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->vm_fd < 0)
		return kvm_fail(f, "cannot create a VM");
	defer_destruction(vm);
	enable_emulation_exits(vm);
	/* Memory first: once interrupts are routed, a new memory slot has to wait for an SRCU grace period (6
	 * ms). */
	if (add_memory(vm, f) || add_irqchip(vm, f))
		return -1;
	for (uint32_t i = 0; i < vm->machine.devices; i++)
		if (connect_device(vm, &vm->machine.device[i], f))
			return -1;
	return 0;
}
