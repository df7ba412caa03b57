/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run loop: one instruction after the other, until something has to be asked or the batch ends.
 *
 * Theory of operation: before each instruction the general registers are noted, and how far the log of
 * stores goes; an instruction that fails leaves by going back to that. Everything else that it may change
 * (segments, XCR0, XSAVE state) is changed by its handler as the last step, when nothing can fail any more.
 * In a batch, what may not run there stops it with STOP_BATCH, which means: done, and KVM sees the rest.
 */
#include "emulator/x86/internal.h"

#include <cpuid.h>

#define RETRIES 64u /* of a locked instruction that other processors disturb */

/* Entries of the log that one instruction may need in a batch: ENTER with all its levels. */
#define STORES_PER_INSTRUCTION 36u

#define DR6_BS BIT(14)

#define HYGON_EBX 0x6f677948u /* "Hygo": AMD's design */

bool stop_exception(struct context *c, enum vector vector)
{
	c->cpu->exception = (struct x86_exception){.vector = (uint8_t)vector};
	c->stop = X86_EXCEPTION;
	return false;
}

bool stop_exception_error(struct context *c, enum vector vector, uint32_t error)
{
	stop_exception(c, vector);
	c->cpu->exception.has_error = true;
	c->cpu->exception.error = error;
	return false;
}

bool stop_page_fault(struct context *c, uint64_t linear, uint32_t error)
{
	stop_exception_error(c, VECTOR_PF, error);
	c->cpu->exception.address = linear;
	return false;
}

bool stop_trap(struct context *c, enum vector vector, uint64_t dr6)
{
	stop_exception(c, vector);
	c->cpu->exception.trap = true;
	c->cpu->exception.dr6 = dr6;
	return false;
}

bool stop_unknown(struct context *c, const char *why)
{
	struct x86_unknown *u = &c->cpu->unknown;

	c->stop = X86_UNKNOWN;
	if (c->executed)
		return false;
	memset(u, 0, sizeof(*u));
	memcpy(u->bytes, c->bytes, c->fetched);
	u->length = c->insn.length ? c->insn.length : c->fetched;
	if (c->insn.length)
		instruction_format(c, u->text, sizeof(u->text));
	if (why) {
		size_t at = strlen(u->text), n = strlen(why);

		if (at + n + 3 < sizeof(u->text)) {
			memcpy(u->text + at, at ? ": " : "", at ? 2 : 0);
			memcpy(u->text + at + (at ? 2 : 0), why, n + 1);
		}
	}
	return false;
}

bool stop_retry(struct context *c)
{
	c->stop = STOP_RETRY;
	return false;
}

bool stop_batch(struct context *c)
{
	c->stop = STOP_BATCH;
	return false;
}

bool state_needed(struct context *c, uint32_t parts)
{
	uint32_t have = c->s->have & ~(uint32_t)X86_XSTATE;

	if (c->cpu->xstate.size)
		have |= X86_XSTATE;
	if (!(parts & ~have))
		return true;
	c->cpu->want = parts & ~have;
	c->stop = X86_WANT_STATE;
	return false;
}

void context_checkpoint(struct context *c)
{
	const struct x86_stores *log = &c->cpu->stores;

	memcpy(c->undo_gpr, c->s->gpr, sizeof(c->undo_gpr));
	c->undo_rip = c->s->rip;
	c->undo_rflags = c->s->rflags;
	c->undo_stores = log->count;
	c->undo_last_size = log->count ? log->entry[log->count - 1].size : 0;
}

void context_back(struct context *c)
{
	struct x86_stores *log = &c->cpu->stores;

	memcpy(c->s->gpr, c->undo_gpr, sizeof(c->undo_gpr));
	c->s->rip = c->undo_rip;
	c->s->rflags = c->undo_rflags;
	log->count = c->undo_stores;
	if (log->count)
		log->entry[log->count - 1].size = c->undo_last_size;
	c->device_write = false;
}

static void context_mode(struct context *c)
{
	const struct x86_state *s = c->s;
	uint32_t cs = s->segment[X86_CS].attributes;
	bool protected = s->cr0 & CR0_PE, vm86 = protected && (s->rflags & FLAG_VM) && !(s->efer & EFER_LMA);

	c->protected_mode = protected && !vm86;
	c->cpl = vm86 ? 3 : protected ? s->segment[X86_SS].attributes >> 5 & 3 : 0;
	c->code_bits = cs & BIT(14) ? 32 : 16;
	if (vm86 || !protected)
		c->code_bits = vm86 ? 16 : c->code_bits;
	else if ((s->efer & EFER_LMA) && (cs & BIT(13)))
		c->code_bits = 64;
	c->canonical57 = s->cr4 & CR4_LA57;
}

static bool context_begin(struct context *c, const struct x86_machine *machine, struct x86_cpu *cpu)
{
	c->machine = machine;
	c->cpu = cpu;
	c->s = &cpu->state;
	c->executed = c->reads_used = 0;
	c->device_write = c->normalised = c->last = false;
	c->insn.mnemonic = ZYDIS_MNEMONIC_INVALID;
	c->store_pages = 0;
	memset(c->translation, 0, sizeof(c->translation));
	cpu->executed = cpu->changed = cpu->want = cpu->effects = cpu->mnemonic = 0;
	cpu->stores.count = 0;
	if (cpu->xstate.size > X86_XSTATE_BYTES || cpu->xstate.size < 576)
		cpu->xstate.size = 0;
	return state_needed(c, X86_REGS | X86_SREGS);
}

/* Is this instruction, by itself, allowed here? */
static bool instruction_admitted(struct context *c)
{
	bool lock = c->insn.attributes & ZYDIS_ATTRIB_HAS_LOCK;

	if (!c->executed)
		c->cpu->mnemonic = c->insn.mnemonic;
	if (!c->opcode->execute)
		return stop_unknown(c, NULL);
	if (c->insn.meta.isa_ext == ZYDIS_ISA_EXT_KNC)
		return ud(c); /* of Knights Corner only: LZCNT and others with a VEX prefix */
	c->locked = (lock || c->insn.mnemonic == ZYDIS_MNEMONIC_XCHG) && operand_is_memory(c, 0);
	c->locked_host = NULL;
	if (c->executed && (c->locked || (c->opcode->rules & RULE_FIRST)))
		return stop_batch(c);
	if (c->locked || (c->opcode->rules & RULE_LAST))
		c->last = true;
	return true;
}

static bool instruction_execute(struct context *c)
{
	c->stay = c->modified_known = false;
	if (!instruction_decode(c))
		return false;
	c->opcode = &x86_opcode[c->insn.mnemonic];
	return instruction_admitted(c) && c->opcode->execute(c);
}

/* The instruction is complete: SDM 3B, 17.3.1 for RF. */
static void instruction_retire(struct context *c)
{
	if (c->stay)
		c->last = true;
	else
		c->s->rip = c->next_rip;
	c->s->rflags &= ~(uint64_t)FLAG_RF;
	c->executed++;
	c->cpu->changed |= X86_REGS;
	if (c->machine->counts)
		__atomic_fetch_add(&c->machine->counts[c->insn.mnemonic].executed, 1, __ATOMIC_RELAXED);
}

/* What stops the run after a complete instruction. TF counts as it was before it. */
static bool instruction_go_on(struct context *c)
{
	if (c->device_write) {
		c->stop = X86_DEVICE_WRITE;
		return false;
	}
	if (c->undo_rflags & FLAG_TF)
		return stop_trap(c, VECTOR_DB, DR6_BS);
	return true;
}

static bool instruction_step(struct context *c)
{
	uint32_t effects = c->cpu->effects;

	for (unsigned tries = 0; tries < RETRIES; tries++) {
		c->cpu->effects = effects & ~(uint32_t)X86_INTERRUPT_SHADOW;
		c->reads_used = 0;
		context_checkpoint(c);
		c->merge_from = c->undo_stores;
		if (instruction_execute(c)) {
			instruction_retire(c);
			return instruction_go_on(c);
		}
		if (c->stop == X86_EXCEPTION && c->cpu->exception.trap) {
			instruction_retire(c);
			return false;
		}
		context_back(c);
		c->cpu->effects = effects;
		if (c->stop != STOP_RETRY)
			return false;
	}
	return false;
}

/* What the caller is told. */
static enum x86_stop run_result(struct context *c)
{
	bool asks = c->stop == X86_UNKNOWN || c->stop == X86_WANT_STATE || c->stop == X86_WANT_READ;

	if (c->stop == STOP_BATCH || c->stop == STOP_RETRY || (c->executed && asks))
		c->stop = X86_DONE;
	if (c->stop != X86_WANT_STATE && c->stop != X86_WANT_READ)
		c->cpu->reads = 0; /* they were for this instruction */
	c->cpu->stop = (uint32_t)c->stop;
	c->cpu->executed = c->executed;
	return (enum x86_stop)c->stop;
}

enum x86_stop x86_run(const struct x86_machine *machine, struct x86_cpu *cpu, unsigned budget)
{
	struct context c;

	c.stop = X86_DONE;
	if (!context_begin(&c, machine, cpu)) {
		cpu->stop = (uint32_t)c.stop;
		return (enum x86_stop)c.stop;
	}
	context_mode(&c);
	if (!syscall_repair(&c))
		return run_result(&c);
	do {
		c.stop = X86_DONE;
		if (!instruction_step(&c))
			break;
	} while (c.executed < budget && !c.last && stores_room(&c, STORES_PER_INSTRUCTION));
	return run_result(&c);
}

static void machine_xcomponents(struct x86_machine *machine)
{
	for (unsigned i = 2; i < X86_XCOMPONENTS; i++) {
		unsigned size, offset, flags, unused;

		__cpuid_count(0xd, i, size, offset, flags, unused);
		if (!size || size > X86_XSTATE_BYTES || (!(flags & 1) && offset + size > X86_XSTATE_BYTES))
			continue;
		machine->xcomponent[i] = (struct x86_xcomponent){.offset = (uint16_t)(flags & 1 ? 0 : offset),
								 .size = (uint16_t)size,
								 .align = flags & 2,
								 .supervisor = flags & 1};
	}
}

void x86_count_names(struct x86_count *counts, unsigned n)
{
	for (unsigned i = 0; i < n && i <= ZYDIS_MNEMONIC_MAX_VALUE; i++) {
		const char *name = ZydisMnemonicGetString((ZydisMnemonic)i);

		if (name)
			strncpy(counts[i].name, name, sizeof(counts[i].name) - 1);
	}
}

void x86_machine_init(struct x86_machine *machine, const struct guest_memory *memory)
{
	unsigned a, b, c, d;

	memset(machine, 0, sizeof(*machine));
	machine->memory = memory;
	machine->physical_bits = 36;
	if (__get_cpuid(0x80000008, &a, &b, &c, &d) && (a & 0xff) >= 32 && (a & 0xff) <= 52)
		machine->physical_bits = a & 0xff;
	if (__get_cpuid(0, &a, &b, &c, &d))
		machine->amd_branches = b == signature_AMD_ebx || b == HYGON_EBX;
	if (__get_cpuid(1, &a, &b, &c, &d)) {
		machine->rdrand = c & bit_RDRND;
		if ((c & bit_XSAVE) && __get_cpuid_max(0, NULL) >= 0xd)
			machine_xcomponents(machine);
	}
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
		machine->rdseed = b & bit_RDSEED;
}
