/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: what dvmm does with answers of an emulator that has been taken over, once they have got through the
 * hand-off (target replies): accesses of the guest, console output, machine events, and registers for KVM; and with
 * what it has published, which decides what is read without it and what is posted.
 *
 * The emulator is played by the input: it answers each request as soon as dvmm looks, with what the input says, and
 * may change its area between two looks of dvmm (shared_reads.h). KVM is played, too, and so is standard output: what
 * dvmm asks of them must be within what an answer may do to the guest (vmm/instruction.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#define SHARED_READS_THEMSELVES
#include "tests/fuzz/shared_reads.h"
#include "vmm/console.h"
#include "vmm/log.h"
#include "vmm/vcpu.h"

#define STEPS      16
#define RACES      4u
#define DEVICES    9
#define RING_BYTES 4096u
#define VCPU_FD    1000
#define CR4_PGE    0x80u
#define DR6_BITS   0xe00full

static struct vm vm;
static struct options options;
static struct handoff h;
static struct input *script;
static struct reply *hostile;
static struct x86_cpu *area;
static uint32_t answered; /* the last request that has got its answer, of whatever kind */

/* --- Standard output. */

static uint8_t ring[RING_BYTES];
static uint64_t written;

ssize_t __real_write(int fd, const void *from, size_t len);
ssize_t __wrap_write(int fd, const void *from, size_t len);

ssize_t __wrap_write(int fd, const void *from, size_t len)
{
	const size_t at = (size_t)((uintptr_t)from - (uintptr_t)ring);

	if (fd != STDOUT_FILENO)
		return __real_write(fd, from, len);
	if (at >= sizeof(ring))
		return __real_write(fd, from, len);
	fuzz_require(len && len <= sizeof(ring) - at && at == written % sizeof(ring));
	written += len;
	return (ssize_t)len;
}

/* --- KVM. */

static struct kvm_sregs sregs;
static struct kvm_regs regs;
static unsigned calls, failing_call; /* 0: none fails */

/* Registers that an answer must leave alone; translations are dropped by turning CR4.PGE over, twice. */
static void check_sregs(const struct kvm_sregs *now)
{
	fuzz_require(now->cr0 == sregs.cr0 && now->cr3 == sregs.cr3 && now->cr8 == sregs.cr8);
	fuzz_require(((now->cr4 ^ sregs.cr4) & ~(uint64_t)CR4_PGE) == 0 && now->efer == sregs.efer);
	fuzz_require(!memcmp(&now->gdt, &sregs.gdt, sizeof(sregs.gdt)) && !memcmp(&now->idt, &sregs.idt, sizeof(sregs.idt)));
	fuzz_require(!memcmp(&now->tr, &sregs.tr, sizeof(sregs.tr)) && !memcmp(&now->ldt, &sregs.ldt, sizeof(sregs.ldt)));
	fuzz_require(now->apic_base == sregs.apic_base);
}

static void check_msrs(const struct kvm_msrs *m)
{
	fuzz_require(m->nmsrs == 1 && m->entries[0].index == 0xc0000102); /* IA32_KERNEL_GS_BASE */
}

static void check_events(const struct kvm_vcpu_events *events)
{
	fuzz_require(events->flags == KVM_VCPUEVENT_VALID_SHADOW && events->exception.injected <= 1);
	fuzz_require(events->exception.nr < 32 && !events->exception.pending && !events->interrupt.injected);
}

static void check_debug_registers(const struct kvm_debugregs *d)
{
	fuzz_require(!(d->dr6 & ~DR6_BITS) && !d->dr7 && !d->db[0] && !d->db[1] && !d->db[2] && !d->db[3]);
}

static int kvm(unsigned long request, void *arg)
{
	switch (request) {
	case KVM_GET_REGS:
		memcpy(arg, &regs, sizeof(regs));
		return 0;
	case KVM_GET_SREGS:
		memcpy(arg, &sregs, sizeof(sregs));
		return 0;
	case KVM_GET_MSRS:
		fuzz_require(((struct kvm_msrs *)arg)->nmsrs == 1);
		return 1;
	case KVM_GET_XCRS:
		*(struct kvm_xcrs *)arg = (struct kvm_xcrs){.nr_xcrs = 1, .xcrs[0].value = 7};
		return 0;
	case KVM_GET_XSAVE:
	case KVM_GET_DEBUGREGS:
		return 0;
	case KVM_GET_VCPU_EVENTS:
		memset(arg, 0, sizeof(struct kvm_vcpu_events));
		return 0;
	case KVM_SET_REGS:
		memcpy(&regs, arg, sizeof(regs));
		return 0;
	case KVM_SET_SREGS:
		check_sregs(arg);
		memcpy(&sregs, arg, sizeof(sregs));
		return 0;
	case KVM_SET_MSRS:
		check_msrs(arg);
		return 1;
	case KVM_SET_XCRS:
		fuzz_require(((struct kvm_xcrs *)arg)->nr_xcrs == 1 && ((struct kvm_xcrs *)arg)->xcrs[0].xcr == 0);
		return 0;
	case KVM_SET_XSAVE:
		return 0;
	case KVM_SET_DEBUGREGS:
		check_debug_registers(arg);
		return 0;
	case KVM_SET_VCPU_EVENTS:
		check_events(arg);
		return 0;
	}
	fuzz_require(!"a call of KVM that is none of these");
	return -1;
}

int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	fuzz_require(fd == VCPU_FD);
	if (request == KVM_GET_DEBUGREGS)
		memset(arg, 0, sizeof(struct kvm_debugregs));
	if (++calls == failing_call) {
		errno = EINVAL;
		return -1;
	}
	return kvm(request, arg);
}

/* --- The host's kernel: whoever waits is woken at once, as the watchdog or the emulator would do. */

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	return number == SYS_futex ? 0 : __real_syscall(number, a, b, c, d, e, f);
}

/* --- The emulator. */

/* Writes to its area at a moment of its choice. */
static struct race {
	unsigned after; /* looks from now on */
	uint32_t word;
	uint32_t value;
} races[RACES];
static unsigned race_count, looks;

static uint64_t input_address(struct input *in)
{
	return input_u8(in) & 1 ? input_u64(in) : input_u16(in);
}

/* Mostly of what x86_run() says, up to the size of a device access. */
static void add_races(struct input *in, uint8_t count)
{
	race_count = count;
	looks = 0;
	for (unsigned i = 0; i < count; i++) {
		const uint8_t which = input_u8(in);

		races[i].after = 1u + input_u8(in) % 32;
		races[i].word = which & 128 ? input_u16(in) % (sizeof(*area) / 4)
					    : offsetof(struct x86_cpu, stop) / 4 + which % 20;
		races[i].value = which & 64 ? input_u32(in) : input_u8(in);
	}
}

/* What x86_run() would have left, starting from what it was asked. */
static void answer_instruction(struct input *in)
{
	const uint8_t how = input_u8(in);

	area->state = mailbox_request_cpu(vm.requests.at, 1, 0)->state;
	area->stop = how & 7;
	area->executed = input_u8(in);
	area->changed = how & 8 ? input_u32(in) : input_u8(in) & 0x1f;
	area->want = how & 16 ? input_u32(in) : input_u8(in) & 0x3f;
	area->effects = input_u8(in);
	area->exception = (struct x86_exception){
		.vector = input_u8(in), .has_error = how >> 5 & 1, .error = input_u8(in), .dr6 = input_u64(in)};
	area->device.gpa = input_address(in);
	area->device.size = input_u8(in) % (X86_STORE_BYTES + 4);
	area->unknown.length = input_u8(in);
	input_copy(in, area->unknown.text, input_u8(in) % (sizeof(area->unknown.text) + 1));
	for (unsigned changes = how >> 6; changes; changes--) {
		uint32_t word = input_u8(in) % (sizeof(area->state) / 4), value = input_u32(in);

		memcpy((uint8_t *)&area->state + 4ul * word, &value, sizeof(value));
	}
	add_races(in, input_u8(in) % (RACES + 1));
}

static void fill_reply(struct input *in, uint8_t how)
{
	struct reply r = {.device = how & 1 ? input_u8(in) % (DEVICES + 2) : REPLY_NO_DEVICE};

	if (how & 2) {
		r.event = input_u8(in) % (MACHINE_EXIT + 2);
		r.exit_code = input_u8(in);
		r.flags = input_u8(in) % 3;
		r.count = input_u8(in);
	}
	if (how & 4)
		r.console_head = written + input_u16(in) % (RING_BYTES + 2);
	if (how & 8)
		r.console_head = input_u64(in);
	input_copy(in, r.data, how & 16 ? sizeof(r.data) : 0);
	memcpy((uint8_t *)hostile + offsetof(struct reply, device), &r.device, sizeof(r) - offsetof(struct reply, device));
}

/* dvmm has asked, and looks for the first time. */
static void answer(void)
{
	const uint32_t seq = __atomic_load_n(&handoff_sent(&h)->seq, __ATOMIC_RELAXED);
	uint8_t how;

	if (h.abandoned) /* acknowledged */
		__atomic_store_n(&hostile->seq, seq, __ATOMIC_RELAXED);
	if (seq != h.seq || seq == answered) /* it is being filled in */
		return;
	answered = seq;
	how = input_u8(script);
	fill_reply(script, how);
	if (handoff_sent(&h)->kind == REQUEST_X86)
		answer_instruction(script);
	switch (how >> 5) {
	case 3: /* of several requests, not the last yet */
		if (h.seq - h.done > 1) {
			__atomic_store_n(&hostile->seq, h.done + 1, __ATOMIC_RELAXED);
			answered = h.done;
			break;
		}
		__atomic_store_n(&hostile->seq, seq, __ATOMIC_RELAXED);
		break;
	case 0: /* no answer, and somebody asks for the end: or dvmm would wait */
		vm_stop(&vm, EXIT_GUEST_ENDED, "enough");
		break;
	case 1: /* the watchdog has had enough */
		atomic_store(&vm.watch[0].forcing_seq, seq);
		atomic_store(&vm.watch[0].forced_seq, seq);
		break;
	case 2:
		__atomic_store_n(&hostile->seq, seq + input_u8(script), __ATOMIC_RELAXED);
		break;
	default:
		__atomic_store_n(&hostile->seq, seq, __ATOMIC_RELAXED);
	}
}

void shared_read(const void *at, size_t bytes)
{
	if ((uintptr_t)at - (uintptr_t)hostile < sizeof(*hostile))
		answer();
	if ((uintptr_t)at - (uintptr_t)area >= sizeof(*area))
		return;
	looks++;
	for (unsigned i = 0; i < race_count; i++)
		if (races[i].after == looks)
			memcpy((uint8_t *)area + 4ul * races[i].word, &races[i].value, 4);
}

/* --- dvmm. */

static bool access_port(struct input *in, uint8_t how)
{
	static uint8_t data[8 * 256]; /* a page at most, KVM says; this many are several requests */

	if (how & 32) /* registers that may be published or posted */
		return vcpu_access(&vm.vcpu[0], &h, BUS_PIO, how & 16 ? UART_PORT + input_u8(in) % 8 : RTC_PORT, 1,
				   1u + (how >> 3 & 1), how & 4, data);
	return vcpu_access(&vm.vcpu[0], &h, BUS_PIO, input_u16(in), 1u << (how >> 3 & 3), 1u + input_u8(in), how & 4, data);
}

static bool access_memory(struct input *in, uint8_t how)
{
	uint8_t data[X86_STORE_BYTES] = {0};

	return vcpu_access_memory(&vm.vcpu[0], &h, input_address(in), 1u + input_u8(in) % sizeof(data), how & 4, data);
}

static bool publish(struct input *in)
{
	struct published *p = &mailbox_published(vm.replies.at, 1)[input_u8(in) % DEVICES];
	const uint64_t valid = input_u8(in) & 1 ? PUBLISHED_VALID : 0;

	p->word[input_u8(in) % DEVICE_MAX_REGISTERS] = valid | input_u32(in);
	return true;
}

/* As after a kick. */
static bool flush(void)
{
	struct reply reply;
	int err = handoff_flush(&h, &reply);

	if (err == -ETIME)
		vcpu_obey_watchdog(&vm.vcpu[0]);
	return err ? err == -EAGAIN || err == -ETIME : vcpu_obey_reply(&vm.vcpu[0], &reply);
}

/* Nobody is kept waiting for posts that are not there, and none is forgotten. */
static void check_posts(void)
{
	fuzz_require(h.posts <= MAILBOX_POSTS && (h.posts != 0) == (atomic_load(&vm.watch[0].posted_ns) != 0));
	for (unsigned i = 0; i < DEVICES; i++)
		fuzz_require(atomic_load(&vm.posters[i]) == (h.posted_to >> i & 1));
	fuzz_require(h.posts || !h.posted_to);
}

static void step(struct input *in)
{
	const uint8_t how = input_u8(in);
	bool go_on;

	memset(&vm.stop, 0, sizeof(vm.stop));
	answered = h.done; /* who has stopped the machine before may go on */
	calls = 0;
	failing_call = how & 128 ? 1u + input_u8(in) % 16 : 0;
	switch (how & 3) {
	case 0:
		go_on = access_port(in, how);
		break;
	case 1:
		go_on = access_memory(in, how);
		break;
	case 2:
		go_on = how & 16 ? publish(in) : flush();
		break;
	default:
		options.on_unknown_insn = how & 4 ? UNKNOWN_INSN_STOP : UNKNOWN_INSN_UD;
		vm.exit_on_emulation_failure = how & 8;
		go_on = instruction_emulate(&vm.vcpu[0], &h);
	}
	fuzz_require(go_on || vm_stopping(&vm));
	check_posts();
	fuzz_require(memchr(vm.stop.reason, '\0', sizeof(vm.stop.reason)));
}

static void add_devices(struct machine *m)
{
	m->device[0] = (struct machine_device){.type = DEVICE_UART, .space = BUS_PIO, .base = UART_PORT, .size = 8};
	m->device[1] = (struct machine_device){.type = DEVICE_RTC, .space = BUS_PIO, .base = RTC_PORT, .size = 2};
	for (m->devices = 2; m->devices < DEVICES; m->devices++)
		m->device[m->devices] = (struct machine_device){.type = DEVICE_VIRTIO_BLK,
								.space = BUS_MMIO,
								.base = VIRTIO_MMIO_BASE +
									m->devices * VIRTIO_MMIO_SIZE,
								.size = VIRTIO_MMIO_SIZE};
}

static void open_vm(void)
{
	log_set_level(LOG_ERROR);
	vm.options = &options;
	options.insn_batch = 64;
	vm.machine.vcpus = 1;
	add_devices(&vm.machine);
	vm.wake_fd = -1;
	vm.vcpu[0] = (struct vcpu){.vm = &vm, .fd = VCPU_FD, .home = -1};
	vm.requests.at = aligned_alloc(MAILBOX_PAGE, mailbox_request_bytes(1));
	vm.replies.at = aligned_alloc(MAILBOX_PAGE, mailbox_reply_bytes(1));
	fuzz_require(vm.requests.at && vm.replies.at);
	hostile = mailbox_reply(vm.replies.at, 0);
	area = mailbox_reply_cpu(vm.replies.at, 1, 0);
	registers_build(&vm.registers, &vm.machine, mailbox_published(vm.replies.at, 1), 3);
	console_init(ring, sizeof(ring));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct reply reply;

	if (!hostile)
		open_vm();
	console_output((written + sizeof(ring) - 1) / sizeof(ring) * sizeof(ring)); /* always from the ring's start on */
	memset(mailbox_queue(vm.requests.at, 0), 0, sizeof(struct request_queue));
	memset(mailbox_request_cpu(vm.requests.at, 1, 0), 0, sizeof(struct x86_cpu));
	memset(hostile, 0, sizeof(*hostile));
	memset(area, 0, sizeof(*area));
	memset(vm.watch, 0, sizeof(vm.watch[0]));
	memset(mailbox_published(vm.replies.at, 1), 0, DEVICES * sizeof(struct published));
	for (unsigned i = 0; i < DEVICES; i++)
		atomic_store(&vm.posters[i], 0);
	atomic_store(&vm.watch[0].repin_to, -1);
	vm.vcpu[0].unknown_insns = 0;
	sregs = (struct kvm_sregs){.cr0 = 0x80000011, .cr3 = 0x1000, .cr4 = 0x20, .efer = 0x500, .cs = {.l = 1}};
	memset(&regs, 0, sizeof(regs));
	script = &in;
	answered = race_count = looks = 0;
	handoff_init(&h, &vm, 0);
	for (unsigned i = 0; i < STEPS && in.left; i++)
		step(&in);
	handoff_finish(&h, &reply);
	return 0;
}
