/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU thread: KVM_RUN -> request -> hand-off -> checked reply -> KVM_RUN.
 *
 * Nothing here looks at what the guest wrote or decides what an address means. A read of a register whose
 * value is published (vmm/registers.h) is answered with that. Every other exit is turned into one or more
 * requests (a request holds at most MAILBOX_DATA bytes; only string I/O has more), and the reply's bytes are
 * what the guest reads. What a reply asks of the machine - output, reset, power off - is done before the
 * guest runs on. Writes to posted registers are waited for later: with the next request, or when somebody
 * kicks us out of the guest.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/uart16550.h"
#include "emulator/futex.h"
#include "sched/topology.h"
#include "vmm/boot.h"
#include "vmm/console.h"
#include "vmm/probes.h"
#include "vmm/stats.h"
#include "vmm/vcpu.h"

#define MSR_IA32_MISC_ENABLE    0x1a0
#define MISC_ENABLE_FAST_STRING 1
#define MSR_MTRR_DEF_TYPE       0x2ff
#define MTRR_ENABLE_WRITE_BACK                                                                               \
	((1u << 11) | 6) /* MTRRs on, default type write-back (SDM vol. 3, 12.11.2.1) */

static int vcpu_fail(struct failure *f, uint32_t index, const char *what)
{
	return fail_with(f, EXIT_HOST, "/dev/kvm: vCPU %u: %s: %s", index, what, strerror(errno));
}

/* What has been posted and not yet been printed must not be more than the console's ring holds. */
_Static_assert(2 * MACHINE_MAX_VCPUS * MAILBOX_RING * MAILBOX_DATA <= UART_RING_BYTES, "posts fit the ring");

/* The registers that firmware would have set. KVM counts how many it accepted; none of these is vital. */
static void set_msrs(struct vcpu *vcpu)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[2];
	} msrs = {
		.head.nmsrs = 2,
		.entry = {{.index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING},
			  {.index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE_WRITE_BACK}},
	};

	if (ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) < (int)msrs.head.nmsrs)
		log_debug("vCPU %u: KVM did not take all initial MSRs", vcpu->index);
}

int vcpu_set_entry(struct vcpu *vcpu, const struct boot_entry *entry, struct failure *f)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {0};

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return vcpu_fail(f, vcpu->index, "cannot read its registers");
	boot_sregs(entry, &sregs);
	boot_regs(entry, &regs);
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return vcpu_fail(f, vcpu->index, "cannot set its registers");
	return 0;
}

int vcpu_create(struct vm *vm, uint32_t index, struct failure *f)
{
	struct vcpu *vcpu = &vm->vcpu[index];
	int bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, index);
	if (vcpu->fd < 0 || bytes < (int)sizeof(*vcpu->run))
		return vcpu_fail(f, index, "cannot be created");
	vcpu->run_bytes = (size_t)bytes;
	vcpu->run = mmap(NULL, vcpu->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		return vcpu_fail(f, index, "cannot be mapped");
	if (cpuid_set(vm, vcpu, f))
		return -1;
	set_msrs(vcpu);
	return 0;
}

/* With --testdev as QEMU's isa-debug-exit, whose users expect it. */
static int debug_exit_status(const struct vm *vm, uint32_t value)
{
	if (vm->options->testdev)
		return (int)(value << 1 | 1) & 0xff;
	return value ? EXIT_GUEST_CRASHED : EXIT_GUEST_ENDED;
}

bool vcpu_obey_reply(struct vcpu *vcpu, const struct reply *reply)
{
	struct vm *vm = vcpu->vm;

	if (reply->console_head && reply->console_head != vcpu->console_head &&
	    console_output(reply->console_head)) {
		vm_stop(vm, EXIT_EMULATOR_LOST,
			"dvmm-emulator answered nonsense: impossible console position");
		return false;
	}
	vcpu->console_head = reply->console_head;
	if (reply->flags & REPLY_CONSOLE_ROOM) {
		atomic_store(&vm->console_room, true);
		vm_wake_main(vm);
	}
	switch ((enum machine_event)reply->event) {
	case MACHINE_RUN:
		return true;
	case MACHINE_RESET:
		vm_stop(vm, EXIT_GUEST_ENDED, "the guest has reset the machine");
		return false;
	case MACHINE_POWEROFF:
		vm_stop(vm, EXIT_GUEST_ENDED, "the guest has powered off");
		return false;
	case MACHINE_EXIT:
		vm_stop(vm, debug_exit_status(vm, reply->exit_code),
			"the guest has ended with value %u at the debug-exit port", reply->exit_code);
		return false;
	}
	return false;
}

/* Before it enters the guest again, so that nobody can stack stuck vCPUs on one CPU: where the watchdog says, and from
 * there, for a time, wherever the scheduler wants it (sched/watchdog_policy.h). */
void vcpu_obey_watchdog(struct vcpu *vcpu)
{
	int cpu = atomic_exchange(&vcpu->vm->watch[vcpu->index].repin_to, -1);

	if (cpu >= 0 && sched_pin_thread(0, cpu) == 0) {
		PROBE3(repin, vcpu->index, atomic_load(&vcpu->cpu), cpu);
		vcpu->cpu = cpu;
	}
	if (vcpu->home >= 0)
		sched_unbind_thread(0, &vcpu->vm->allowed);
	vcpu->forces = atomic_load(&vcpu->vm->watch[vcpu->index].forces);
}

/* A post may have been completed by force before what has just been answered. */
static void obey_watchdog_late(struct vcpu *vcpu)
{
	if (atomic_load_explicit(&vcpu->vm->watch[vcpu->index].forces, memory_order_relaxed) != vcpu->forces)
		vcpu_obey_watchdog(vcpu);
}

/* The result of an operation that was completed by force, for what remains of the access: reads are all ones,
 * writes are dropped. */
static bool synthesise(uint8_t *data, uint32_t bytes, bool write)
{
	if (!write)
		memset(data, 0xff, bytes);
	return true;
}

/* One element that can be read without a hand-off. (Of an access in several pieces, or by REP, each is its
 * own operation anyway.) */
static bool read_published(struct vcpu *vcpu, uint32_t space, uint64_t addr, uint32_t size, uint8_t *data)
{
	const struct fast_register *r =
		registers_find(&vcpu->vm->registers, space, addr, REGISTER_PUBLISHED);
	uint32_t value;

	if (!r || r->size != size || !register_read(r, &value))
		return false;
	memcpy(data, &value, size);
	stats_published(vcpu->vm->stats, vcpu->index, r->device);
	return true;
}

/* The register that this is a write to, if it may be posted now. */
static const struct fast_register *find_posted(struct vcpu *vcpu, struct handoff *h, uint32_t space, uint64_t addr,
					       uint32_t size)
{
	const struct fast_register *r = registers_find(&vcpu->vm->registers, space, addr, REGISTER_POSTED);
	uint32_t how;

	if (!r || r->size != size || !register_read(r, &how) || !handoff_may_post(h, how & POST_URGENT))
		return NULL;
	return r;
}

/* What other vCPUs have posted to the device comes first. */
static void order(struct vcpu *vcpu, struct handoff *h, uint32_t space, uint64_t addr)
{
	uint32_t device;

	if (vcpu->vm->machine.vcpus == 1)
		return;
	device = registers_posted_device(&vcpu->vm->registers, space, addr);
	if (device != NOT_POSTED)
		handoff_order(h, device);
}

/* A hand-off that is waited for: of a request, or of what has been posted. Returns as they do. */
static int wait_for(int (*what)(struct handoff *h, struct reply *reply), struct vcpu *vcpu, struct handoff *h,
		    struct reply *reply)
{
	uint64_t start = vcpu->vm->stats ? monotonic_ns() : 0;
	int err = what(h, reply);

	if (err == -ETIME)
		vcpu_obey_watchdog(vcpu);
	if (err)
		return err;
	if (vcpu->vm->stats)
		stats_operation(vcpu->vm->stats, vcpu->index, reply->device, monotonic_ns() - start);
	obey_watchdog_late(vcpu);
	return 0;
}

static void fill(struct request *req, uint32_t space, uint64_t addr, uint32_t size, uint32_t count, bool write,
		 const uint8_t *data)
{
	req->kind = write ? REQUEST_WRITE : REQUEST_READ;
	req->space = space;
	req->addr = addr;
	req->size = size;
	req->count = count;
	if (write)
		memcpy(req->data, data, (size_t)count * size);
}

bool vcpu_access(struct vcpu *vcpu, struct handoff *h, uint32_t space, uint64_t addr, uint32_t size,
			   uint32_t count, bool write, uint8_t *data)
{
	const uint32_t most = MAILBOX_DATA / size;

	if (!write && count == 1 && read_published(vcpu, space, addr, size, data))
		return true;
	order(vcpu, h, space, addr);
	for (uint32_t n; count; data += (size_t)n * size, count -= n) {
		const struct fast_register *posted = write ? find_posted(vcpu, h, space, addr, size) : NULL;
		struct reply reply;
		int err;

		n = count < most ? count : most;
		fill(handoff_request(h), space, addr, size, n, write, data);
		if (posted) {
			if (handoff_post(h, posted->device))
				return false;
			stats_posted(vcpu->vm->stats, vcpu->index, posted->device);
			continue;
		}
		err = wait_for(handoff_call, vcpu, h, &reply);
		if (err == -ETIME)
			return synthesise(data, count * size, write);
		if (err)
			return false;
		if (!write)
			memcpy(data, reply.data, (size_t)n * size);
		if (!vcpu_obey_reply(vcpu, &reply))
			return false;
	}
	return true;
}

/* The largest piece that is left, that is aligned and that a device knows. KVM splits an access that crosses a page, so odd
 * lengths come from it too. */
static uint32_t piece(uint64_t addr, uint32_t length)
{
	uint32_t size = 8;

	while (size > length || addr & (size - 1))
		size /= 2;
	return size;
}

bool vcpu_access_memory(struct vcpu *vcpu, struct handoff *h, uint64_t addr, uint32_t length, bool write,
			uint8_t *data)
{
	/* A single access of a size that devices know stays one, aligned or not. */
	if (length == 1 || length == 2 || length == 4 || length == 8)
		return vcpu_access(vcpu, h, BUS_MMIO, addr, length, 1, write, data);
	for (uint32_t n; length; addr += n, data += n, length -= n) {
		n = piece(addr, length);
		if (!vcpu_access(vcpu, h, BUS_MMIO, addr, n, 1, write, data))
			return false;
	}
	return true;
}

static bool internal_error(struct vcpu *vcpu, struct handoff *h)
{
	struct kvm_regs regs = {0};

	if (vcpu->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		return instruction_emulate(vcpu, h);
	ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	vm_stop(vcpu->vm, EXIT_GUEST_CRASHED, "vCPU %u: KVM cannot go on at rip 0x%llx (internal error %u)",
		vcpu->index, regs.rip, vcpu->run->internal.suberror);
	return false;
}

/* Handles one exit. False: the guest must not be entered again. */
static bool handle_exit(struct vcpu *vcpu, struct handoff *h)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return vcpu_access(vcpu, h, BUS_PIO, run->io.port, run->io.size, run->io.count,
				      run->io.direction == KVM_EXIT_IO_OUT,
				      (uint8_t *)run + run->io.data_offset);
	case KVM_EXIT_MMIO:
		return vcpu_access_memory(vcpu, h, run->mmio.phys_addr, run->mmio.len, run->mmio.is_write,
					  run->mmio.data);
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN:
		vm_stop(vcpu->vm, EXIT_GUEST_CRASHED, "vCPU %u: triple fault", vcpu->index);
		return false;
	case KVM_EXIT_SYSTEM_EVENT:
		vm_stop(vcpu->vm,
			run->system_event.type == KVM_SYSTEM_EVENT_CRASH ? EXIT_GUEST_CRASHED
									 : EXIT_GUEST_ENDED,
			"vCPU %u: the guest has asked KVM to end (event %u)", vcpu->index,
			run->system_event.type);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		vm_stop(vcpu->vm, EXIT_GUEST_CRASHED,
			"vCPU %u: the processor refuses to enter the guest (reason 0x%llx)", vcpu->index,
			run->fail_entry.hardware_entry_failure_reason);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		return internal_error(vcpu, h);
	default:
		vm_stop(vcpu->vm, EXIT_GUEST_CRASHED, "vCPU %u: exit %u, which dvmm does not know",
			vcpu->index, run->exit_reason);
		return false;
	}
}

/* Somebody wants us out of the guest: to look at vm_stopping(), or to wait for what we have posted. */
static bool kicked_out(struct vcpu *vcpu, struct handoff *h)
{
	struct reply reply;
	int err;

	/* Before vm_stopping() is looked at: who stops the machine says so first, and then kicks. If this
	 * undoes that kick, we see what it was for. */
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	err = wait_for(handoff_flush, vcpu, h, &reply);
	if (err)
		return err == -EAGAIN || err == -ETIME;
	return vcpu_obey_reply(vcpu, &reply);
}

static void run_guest(struct vcpu *vcpu, struct handoff *h)
{
	while (!vm_stopping(vcpu->vm)) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			if ((errno == EINTR || errno == EAGAIN) && kicked_out(vcpu, h))
				continue;
			if (!vm_stopping(vcpu->vm))
				vm_stop(vcpu->vm, EXIT_GUEST_CRASHED, "vCPU %u: KVM_RUN: %s", vcpu->index,
					strerror(errno));
			return;
		}
		PROBE2(exit, vcpu->index, vcpu->run->exit_reason);
		if (vcpu->vm->stats)
			stats_exit(vcpu->vm->stats, vcpu->index, vcpu->run->exit_reason);
		if (!handle_exit(vcpu, h))
			return;
	}
}

/* At the end, what has been posted is still done. */
static void enter_guest(struct vcpu *vcpu)
{
	struct handoff handoff;
	struct reply reply;

	handoff_init(&handoff, vcpu->vm, vcpu->index);
	run_guest(vcpu, &handoff);
	if (handoff_finish(&handoff, &reply) == 0)
		vcpu_obey_reply(vcpu, &reply);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;
	int err = sched_pin_thread(0, vcpu->cpu);

	sched_leave_rseq();
	atomic_store(&vcpu->tid, gettid());
	if (!err)
		err = filter_load(&vcpu->filter);
	if (err)
		vm_stop(vcpu->vm, EXIT_HOST, "vCPU %u: cannot be bound to CPU %d and filtered: %s",
			vcpu->index, vcpu->cpu, strerror(-err));
	pthread_barrier_wait(&vcpu->vm->gate);
	stats_vcpu_start(vcpu->vm->stats, vcpu->index, vcpu->cpu);
	enter_guest(vcpu);
	stats_vcpu_end(vcpu->vm->stats, vcpu->index);
	atomic_store(&vcpu->running, false);
	vm_wake_main(vcpu->vm);
	return NULL;
}

static void kicked(int signo) {}

int vcpu_start(struct vcpu *vcpu, struct failure *f)
{
	struct sigaction kick = {.sa_handler = kicked}; /* no SA_RESTART: it is meant to interrupt */
	int err;

	sigaction(VCPU_KICK_SIGNAL, &kick, NULL);
	filter_build(&vcpu->filter, FILTER_VCPU, vcpu->fd);
	atomic_store(&vcpu->running, true);
	err = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
	if (err)
		return fail_with(f, EXIT_HOST, "cannot start the thread of vCPU %u: %s", vcpu->index,
				 strerror(err));
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	munmap(vcpu->run, vcpu->run_bytes);
	close(vcpu->fd);
}
