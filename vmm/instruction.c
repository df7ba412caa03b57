/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that KVM cannot emulate: registers to the emulator, its answer back into KVM.
 *
 * dvmm decodes nothing. It takes a snapshot of the processor, hands it over, and sets what the answer says has
 * changed. The snapshot grows as the emulator asks for more (X86_WANT_*), because most instructions need the
 * general registers and segments only, and every ioctl costs.
 *
 * What an answer may do to the guest: general registers, RIP and RFLAGS; the segment registers; XCR0, XSAVE
 * state and IA32_KERNEL_GS_BASE; stores to guest memory, which the emulator has made already; an exception. Control
 * registers, EFER and descriptor tables are KVM's own business: it never fails at instructions that write
 * them, so an answer that does is nonsense. All that KVM is given it checks itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/stats.h"
#include "vmm/vcpu.h"

#define MSR_TSC_AUX        0xc0000103u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_XSS            0xda0u
#define MSR_STAR           0xc0000081u
#define MSR_LSTAR          0xc0000082u
#define MSR_SFMASK         0xc0000084u

#define VECTOR_DB 1
#define VECTOR_UD 6

#define ROUNDS 32 /* requests for one instruction: each names a part of the state once, or one more device read */
#define REPORTS 20 /* unknown instructions that are warned of, per vCPU; later ones are for --log-level debug */

/* What is known while an instruction is under way. */
struct emulation {
	struct vcpu *vcpu;
	struct handoff *h;
	struct x86_cpu *ask;          /* our area */
	const struct x86_cpu *answer; /* the emulator's area: copied from, once */
	struct kvm_sregs sregs;       /* as they were */

	/* The copy that counts. */
	uint32_t stop, executed, changed, want, effects;
	struct x86_exception exception;
	struct x86_device_access device;
	struct x86_state state;
};

static bool kvm_failed(struct emulation *e, const char *what)
{
	vm_stop(e->vcpu->vm, EXIT_GUEST_CRASHED, "vCPU %u: %s: %s", e->vcpu->index, what, strerror(errno));
	return false;
}

static bool nonsense(struct emulation *e, const char *what)
{
	vm_stop(e->vcpu->vm, EXIT_EMULATOR_LOST, "dvmm-emulator answered nonsense on slot %u: %s", e->vcpu->index, what);
	return false;
}

/* --- The snapshot ------------------------------------------------------------------------------ */

/* SDM vol. 3C, 25.4.1: the layout of the VMCS, which struct x86_segment has. */
static void segment_from_kvm(struct x86_segment *to, const struct kvm_segment *from)
{
	*to = (struct x86_segment){
		.base = from->base,
		.limit = from->limit,
		.selector = from->selector,
		.attributes = (uint32_t)(from->type & 15) | (uint32_t)(from->s & 1) << 4 | (uint32_t)(from->dpl & 3) << 5 |
			      (uint32_t)(from->present & 1) << 7 | (uint32_t)(from->avl & 1) << 12 |
			      (uint32_t)(from->l & 1) << 13 | (uint32_t)(from->db & 1) << 14 |
			      (uint32_t)(from->g & 1) << 15 | (uint32_t)(from->unusable & 1) << 16,
	};
}

static void segment_to_kvm(struct kvm_segment *to, const struct x86_segment *from)
{
	const uint32_t a = from->attributes;

	*to = (struct kvm_segment){
		.base = from->base,
		.limit = from->limit,
		.selector = from->selector,
		.type = a & 15,
		.s = a >> 4 & 1,
		.dpl = a >> 5 & 3,
		.present = a >> 7 & 1,
		.avl = a >> 12 & 1,
		.l = a >> 13 & 1,
		.db = a >> 14 & 1,
		.g = a >> 15 & 1,
		.unusable = a >> 16 & 1,
	};
}

static void regs_from_kvm(struct x86_state *s, const struct kvm_regs *r)
{
	const uint64_t gpr[16] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
				  r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};

	memcpy(s->gpr, gpr, sizeof(gpr));
	s->rip = r->rip;
	s->rflags = r->rflags;
}

static void regs_to_kvm(struct kvm_regs *r, const struct x86_state *s)
{
	const uint64_t *g = s->gpr;

	*r = (struct kvm_regs){
		.rax = g[X86_RAX], .rcx = g[X86_RCX], .rdx = g[X86_RDX], .rbx = g[X86_RBX],
		.rsp = g[X86_RSP], .rbp = g[X86_RBP], .rsi = g[X86_RSI], .rdi = g[X86_RDI],
		.r8 = g[X86_R8],   .r9 = g[X86_R9],   .r10 = g[X86_R10], .r11 = g[X86_R11],
		.r12 = g[X86_R12], .r13 = g[X86_R13], .r14 = g[X86_R14], .r15 = g[X86_R15],
		.rip = s->rip,     .rflags = s->rflags,
	};
}

/* In the order of enum x86_segment_register. */
static struct kvm_segment *segment_of(struct kvm_sregs *s, unsigned n)
{
	struct kvm_segment *const segment[6] = {&s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs};

	return segment[n];
}

static void sregs_from_kvm(struct x86_state *s, struct kvm_sregs *r)
{
	for (unsigned i = 0; i < 6; i++)
		segment_from_kvm(&s->segment[i], segment_of(r, i));
	segment_from_kvm(&s->ldt, &r->ldt);
	segment_from_kvm(&s->tr, &r->tr);
	s->gdt = (struct x86_table){r->gdt.base, r->gdt.limit};
	s->idt = (struct x86_table){r->idt.base, r->idt.limit};
	s->cr0 = r->cr0;
	s->cr2 = r->cr2;
	s->cr3 = r->cr3;
	s->cr4 = r->cr4;
	s->cr8 = r->cr8;
	s->efer = r->efer;
}

static bool take_snapshot(struct emulation *e)
{
	struct kvm_regs regs;

	if (ioctl(e->vcpu->fd, KVM_GET_REGS, &regs) < 0 || ioctl(e->vcpu->fd, KVM_GET_SREGS, &e->sregs) < 0)
		return kvm_failed(e, "cannot read its registers");
	regs_from_kvm(&e->ask->state, &regs);
	sregs_from_kvm(&e->ask->state, &e->sregs);
	e->ask->state.have = X86_REGS | X86_SREGS;
	e->ask->reads = 0;
	e->ask->xstate.size = 0;
	return true;
}

/* One MSR, 0 where KVM does not know it. */
static uint64_t msr_read(const struct emulation *e, uint32_t index)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = {.head.nmsrs = 1, .entry.index = index};

	return ioctl(e->vcpu->fd, KVM_GET_MSRS, &msr) == 1 ? msr.entry.data : 0;
}

static bool add_xcr0(struct emulation *e)
{
	struct kvm_xcrs xcrs = {0};

	if (ioctl(e->vcpu->fd, KVM_GET_XCRS, &xcrs) < 0)
		return kvm_failed(e, "cannot read XCR0");
	e->ask->state.xcr0 = xcrs.nr_xcrs ? xcrs.xcrs[0].value : 1;
	e->ask->state.have |= X86_XCR0;
	return true;
}

static bool add_xstate(struct emulation *e)
{
	_Static_assert(sizeof(struct kvm_xsave) == X86_XSTATE_BYTES, "KVM_GET_XSAVE fills an image");
	if (ioctl(e->vcpu->fd, KVM_GET_XSAVE, e->ask->xstate.image) < 0)
		return kvm_failed(e, "cannot read its XSAVE state");
	e->ask->xstate.size = X86_XSTATE_BYTES;
	return true;
}

/* Each part can be asked for once: then it is there. */
static bool add_state(struct emulation *e)
{
	const uint32_t have = e->ask->state.have | (e->ask->xstate.size ? X86_XSTATE : 0);
	const uint32_t want = e->want & ~have;

	if (!want || want & ~(uint32_t)(X86_XCR0 | X86_MSRS | X86_SYSCALL | X86_XSTATE))
		return nonsense(e, "asks for state that it has or that does not exist");
	if (want & X86_XCR0 && !add_xcr0(e))
		return false;
	if (want & X86_XSTATE && !add_xstate(e))
		return false;
	if (want & X86_MSRS) {
		e->ask->state.kernel_gs_base = msr_read(e, MSR_KERNEL_GS_BASE);
		e->ask->state.tsc_aux = msr_read(e, MSR_TSC_AUX);
		e->ask->state.xss = msr_read(e, MSR_XSS);
		e->ask->state.have |= X86_MSRS;
	}
	if (want & X86_SYSCALL) {
		e->ask->state.star = msr_read(e, MSR_STAR);
		e->ask->state.lstar = msr_read(e, MSR_LSTAR);
		e->ask->state.sfmask = msr_read(e, MSR_SFMASK);
		e->ask->state.have |= X86_SYSCALL;
	}
	return true;
}

static bool add_read(struct emulation *e)
{
	const uint32_t n = e->ask->reads;

	if (n >= X86_DEVICE_READS)
		return nonsense(e, "asks for more device reads than there can be");
	if (!vcpu_access_memory(e->vcpu, e->h, e->device.gpa, e->device.size, false, e->device.data))
		return false;
	e->ask->read[n] = e->device;
	e->ask->reads = n + 1;
	return true;
}

/* --- The answer -------------------------------------------------------------------------------- */

/* Copies it, once, and checks what dvmm itself relies on. */
static bool take_answer(struct emulation *e)
{
	const struct x86_cpu *a = e->answer;

	e->stop = a->stop;
	e->executed = a->executed;
	e->changed = a->changed;
	e->want = a->want;
	e->effects = a->effects;
	e->exception = a->exception;
	e->device = a->device;
	if (e->changed & ~(uint32_t)X86_XSTATE)
		e->state = a->state;
	__asm__ volatile("" : : "r"(e) : "memory"); /* from here on the copy, also to the compiler */
	if (e->changed & ~(uint32_t)(X86_REGS | X86_SREGS | X86_XCR0 | X86_MSRS | X86_XSTATE))
		return nonsense(e, "changes what does not exist");
	if ((e->stop == X86_WANT_READ || e->stop == X86_DEVICE_WRITE) &&
	    (!e->device.size || e->device.size > X86_STORE_BYTES))
		return nonsense(e, "an access of impossible size");
	if (e->stop == X86_EXCEPTION && e->exception.vector > 31)
		return nonsense(e, "an exception that does not exist");
	return true;
}

/* Segment registers, and CR2 if there is a page fault. */
static bool set_sregs(struct emulation *e)
{
	struct kvm_sregs sregs = e->sregs;
	const struct x86_state *was = &e->ask->state, *now = &e->state;

	if (e->changed & X86_SREGS) {
		if (now->cr0 != was->cr0 || now->cr3 != was->cr3 || now->cr4 != was->cr4 || now->efer != was->efer)
			return nonsense(e, "changes control registers");
		for (unsigned i = 0; i < 6; i++)
			segment_to_kvm(segment_of(&sregs, i), &now->segment[i]);
	}
	if (e->stop == X86_EXCEPTION && e->exception.vector == 14)
		sregs.cr2 = e->exception.address;
	if (ioctl(e->vcpu->fd, KVM_SET_SREGS, &sregs) < 0)
		return kvm_failed(e, "KVM refuses the segments that an instruction left");
	return true;
}

static bool set_xcr0(struct emulation *e)
{
	const struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0] = {.xcr = 0, .value = e->state.xcr0}};

	return ioctl(e->vcpu->fd, KVM_SET_XCRS, &xcrs) == 0 || kvm_failed(e, "KVM refuses the XCR0 that XSETBV wrote");
}

static bool set_kernel_gs_base(struct emulation *e)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = {.head.nmsrs = 1, .entry = {.index = MSR_KERNEL_GS_BASE, .data = e->state.kernel_gs_base}};

	return ioctl(e->vcpu->fd, KVM_SET_MSRS, &msr) == 1 || kvm_failed(e, "KVM refuses IA32_KERNEL_GS_BASE");
}

static bool set_xstate(struct emulation *e)
{
	struct kvm_xsave image;

	memcpy(&image, e->answer->xstate.image, sizeof(image));
	return ioctl(e->vcpu->fd, KVM_SET_XSAVE, &image) == 0 || kvm_failed(e, "KVM refuses an XSAVE state");
}

static bool set_registers(struct emulation *e)
{
	struct kvm_regs regs;

	if (e->changed & X86_REGS) {
		regs_to_kvm(&regs, &e->state);
		if (ioctl(e->vcpu->fd, KVM_SET_REGS, &regs) < 0)
			return kvm_failed(e, "cannot set its registers");
	}
	if ((e->changed & X86_SREGS || (e->stop == X86_EXCEPTION && e->exception.vector == 14)) && !set_sregs(e))
		return false;
	if (e->changed & X86_XCR0 && !set_xcr0(e))
		return false;
	if (e->changed & X86_MSRS && !set_kernel_gs_base(e))
		return false;
	return !(e->changed & X86_XSTATE) || set_xstate(e);
}

/* KVM drops all translations of the vCPU when CR4.PGE changes. */
static bool flush_translations(struct emulation *e)
{
	struct kvm_sregs sregs;
	const uint64_t pge = 1u << 7;

	for (int i = 0; i < 2; i++) {
		if (ioctl(e->vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
			return kvm_failed(e, "cannot read its registers");
		sregs.cr4 ^= pge;
		if (ioctl(e->vcpu->fd, KVM_SET_SREGS, &sregs) < 0)
			return kvm_failed(e, "cannot have its translations dropped");
	}
	return true;
}

/* Bits that an exception sets in DR6 (#DB only). */
static bool set_dr6(struct emulation *e)
{
	struct kvm_debugregs d;

	if (ioctl(e->vcpu->fd, KVM_GET_DEBUGREGS, &d) < 0)
		return kvm_failed(e, "cannot read its debug registers");
	d.dr6 |= e->exception.dr6 & 0xe00f; /* BT, BS, BD, B3 to B0: SDM vol. 3B, 17.2.3 */
	return ioctl(e->vcpu->fd, KVM_SET_DEBUGREGS, &d) == 0 || kvm_failed(e, "KVM refuses DR6");
}

/*
 * What KVM has pending for the guest, after an emulation that failed: an exception to deliver, or none. (KVM
 * queues #UD beside the exit where KVM_CAP_EXIT_ON_EMULATION_FAILURE is missing; that is taken back.)
 */
static bool set_events(struct emulation *e, const struct x86_exception *x)
{
	struct kvm_vcpu_events events;

	if (ioctl(e->vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return kvm_failed(e, "cannot read its pending events");
	events.flags = KVM_VCPUEVENT_VALID_SHADOW;
	memset(&events.exception, 0, sizeof(events.exception));
	if (x) {
		events.exception.injected = 1;
		events.exception.nr = x->vector;
		events.exception.has_error_code = x->has_error;
		events.exception.error_code = x->error;
	}
	events.interrupt.shadow = e->effects & X86_INTERRUPT_SHADOW && !x ? KVM_X86_SHADOW_INT_STI : 0;
	return ioctl(e->vcpu->fd, KVM_SET_VCPU_EVENTS, &events) == 0 || kvm_failed(e, "KVM refuses an exception");
}

static bool deliver(struct emulation *e)
{
	log_debug("vCPU %u: exception %u (error 0x%x, address 0x%llx) at rip 0x%llx, CS 0x%x, SS 0x%x (0x%x), rflags 0x%llx, "
		  "after %u instructions",
		  e->vcpu->index, e->exception.vector, e->exception.error, (unsigned long long)e->exception.address,
		  (unsigned long long)e->state.rip, e->ask->state.segment[X86_CS].selector,
		  e->ask->state.segment[X86_SS].selector, e->ask->state.segment[X86_SS].attributes,
		  (unsigned long long)e->ask->state.rflags, e->executed);
	if (e->exception.vector == VECTOR_DB && !set_dr6(e))
		return false;
	return set_events(e, &e->exception);
}

/* Not covered, or not done in time: KVM's snapshot is still what it was. */
static bool unknown(struct emulation *e, const char *why)
{
	struct vm *vm = e->vcpu->vm;
	const struct x86_exception ud = {.vector = VECTOR_UD};
	const uint64_t rip = e->ask->state.rip;

	if (vm->options->on_unknown_insn == UNKNOWN_INSN_STOP) {
		vm_stop(vm, EXIT_GUEST_CRASHED, "vCPU %u: an instruction that KVM does not know, at rip 0x%llx: %s",
			e->vcpu->index, (unsigned long long)rip, why);
		return false;
	}
	log_message(e->vcpu->unknown_insns++ < REPORTS ? LOG_WARN : LOG_DEBUG,
		    "vCPU %u: #UD for an instruction that KVM does not know, at rip 0x%llx: %s", e->vcpu->index,
		    (unsigned long long)rip, why);
	e->effects = 0;
	return set_events(e, &ud);
}

/* The bytes and their disassembly. The text is the emulator's: it is cut and cleaned (log.c prints no control characters). */
static bool unknown_instruction(struct emulation *e)
{
	struct x86_unknown u = e->answer->unknown;
	char why[3 * sizeof(u.bytes) + sizeof(u.text) + 8] = "no byte of it is in memory";
	size_t n = 0;

	if (u.length > sizeof(u.bytes))
		u.length = sizeof(u.bytes);
	u.text[sizeof(u.text) - 1] = '\0';
	for (unsigned i = 0; i < u.length; i++)
		n += (size_t)snprintf(why + n, sizeof(why) - n, "%02x ", u.bytes[i]);
	if (n)
		snprintf(why + n, sizeof(why) - n, "(%s)", u.text);
	return unknown(e, why);
}

/* One hand-off. 1: the emulator has answered; 0: something else has been done instead; -1: do not run on. */
static int ask(struct emulation *e)
{
	struct request *req = handoff_request(e->h);
	struct reply reply;
	int err;

	req->kind = REQUEST_X86;
	req->space = BUS_MMIO;
	req->addr = e->ask->state.rip;
	req->size = 1;
	req->count = e->vcpu->vm->options->insn_batch;
	err = handoff_call(e->h, &reply);
	if (err == -ETIME) {
		vcpu_obey_watchdog(e->vcpu);
		return unknown(e, "it took too long to emulate") ? 0 : -1;
	}
	return err || !vcpu_obey_reply(e->vcpu, &reply) ? -1 : take_answer(e) ? 1 : -1;
}

/* The emulator has executed something, or found an exception. */
static bool finish(struct emulation *e)
{
	if (e->stop == X86_EXCEPTION) {
		if (!set_registers(e) || !deliver(e))
			return false;
	} else if (!set_registers(e)) {
		return false;
	} else if ((e->effects & X86_INTERRUPT_SHADOW || !e->vcpu->vm->exit_on_emulation_failure) &&
		   !set_events(e, NULL)) {
		return false;
	}
	if (e->effects & X86_FLUSH_TLB && !flush_translations(e))
		return false;
	return e->stop != X86_DEVICE_WRITE ||
	       vcpu_access_memory(e->vcpu, e->h, e->device.gpa, e->device.size, true, e->device.data);
}

bool instruction_emulate(struct vcpu *vcpu, struct handoff *h)
{
	struct vm *vm = vcpu->vm;
	struct emulation e = {
		.vcpu = vcpu,
		.h = h,
		.ask = mailbox_request_cpu(vm->requests.at, vm->machine.vcpus, vcpu->index),
		.answer = mailbox_reply_cpu(vm->replies.at, vm->machine.vcpus, vcpu->index),
	};

	if (!take_snapshot(&e))
		return false;
	for (int round = 0; round < ROUNDS; round++) {
		int answered = ask(&e);

		if (answered <= 0)
			return answered == 0;
		switch ((enum x86_stop)e.stop) {
		case X86_WANT_STATE:
			if (!add_state(&e))
				return false;
			break;
		case X86_WANT_READ:
			if (!add_read(&e))
				return false;
			break;
		case X86_UNKNOWN:
			return unknown_instruction(&e);
		case X86_DONE:
		case X86_EXCEPTION:
		case X86_DEVICE_WRITE:
			return finish(&e);
		default:
			return nonsense(&e, "a stop that does not exist");
		}
	}
	return nonsense(&e, "asks for ever");
}
