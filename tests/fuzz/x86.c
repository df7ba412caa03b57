/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the x86 instruction emulator over any code, registers, control registers, segments and page
 * tables, with devices where the input puts them and memory that other vCPUs change meanwhile.
 *
 * Guest memory: four page tables from TABLES on that map the first 64 KiB one to one, unless the input says
 * otherwise; code, data and stack behind them. Half of the inputs compare a batch with its instructions one
 * by one; page tables that are not below CODE are not compared, as accessed bits may differ. Others go the way of
 * a request, through the areas that both processes share, and then a successor finds what a predecessor, or an
 * attacker in its place, has left there. The input: mode and budget, registers, changes of the page tables, races,
 * the code.
 */
#include "emulator/instruction.h"
#include "emulator/x86/x86.h"
#include "tests/fuzz/machine.h"

#define TABLES 0x1000ull /* PML4, PDPT, PD, PT */
#define CODE   0x6000ull
#define DATA   0x8000ull
#define STACK  0xa000ull
#define ROUNDS 12 /* device reads and requests for state */

#define PTE_BITS 0x67ull /* present, writable, user, accessed, dirty */

enum {
	CR0_PE = 1u << 0,
	CR0_WP = 1u << 16,
	CR0_PG = 1u << 31,
	CR4_PAE = 1u << 5,
	CR4_OSFXSR = 3u << 9,
	CR4_OSXSAVE = 1u << 18
};
enum { EFER_LME = 1u << 8, EFER_LMA = 1u << 10, EFER_NXE = 1u << 11 };

static struct x86_machine machine;
static struct x86_cpu cpu;

static void put64(uint64_t gpa, uint64_t value)
{
	guest_memory_write(&fuzz.core.memory, gpa, &value, sizeof(value));
}

static void build_tables(struct input *in, uint8_t changes)
{
	for (unsigned level = 0; level < 3; level++)
		put64(TABLES + level * 4096, (TABLES + (level + 1) * 4096) | PTE_BITS);
	for (uint64_t page = 0; page < 16; page++)
		put64(TABLES + 3 * 4096 + page * 8, page * 4096 | PTE_BITS);
	for (; changes; changes--) {
		const uint8_t where = input_u8(in);
		const uint64_t at = TABLES + (where >> 6) * 4096ull + (where & 63) * 8ull;

		put64(at, input_gpa(in) << 12 | input_u16(in) | (where & 1 ? 1ull << 63 : 0));
	}
}

static uint64_t input_register(struct input *in)
{
	const uint8_t how = input_u8(in);

	switch (how >> 5) {
	case 0:
		return how;
	case 1:
		return DATA + (how & 31) * 8;
	case 2:
		return DATA + 4096 - (how & 31);
	case 3:
		return input_gpa(in);
	case 4:
		return -(uint64_t)(how & 31);
	case 5:
		return input_u32(in);
	case 6:
		return STACK + (how & 31) * 8;
	default:
		return input_u64(in);
	}
}

static struct x86_segment flat(uint16_t selector, uint32_t attributes, uint32_t limit)
{
	return (struct x86_segment){.selector = selector, .attributes = attributes, .limit = limit};
}

/* mode: bits 0 and 1 the kind of code, 2 user, 3 without paging (if it can be). */
static void build_state(struct input *in, uint8_t mode)
{
	struct x86_state *s = &cpu.state;
	const uint32_t dpl = mode & 4 ? 3u << 5 : 0;
	const uint16_t rpl = mode & 4 ? 3 : 0;
	const bool real = (mode & 3) == 3, is64 = (mode & 3) < 2;
	const uint32_t code = 0x9b | dpl | (is64 ? 0xa000 : real ? 0 : 0xc000);

	s->have = input_u8(in) & 1 ? X86_REGS | X86_SREGS : X86_REGS | X86_SREGS | X86_XCR0 | X86_MSRS;
	s->cr0 = real ? 0x10 : CR0_PE | CR0_WP | 0x10 | (is64 || !(mode & 8) ? CR0_PG : 0);
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE;
	s->efer = is64 ? EFER_LME | EFER_LMA | EFER_NXE : 0;
	s->cr3 = is64 ? TABLES : TABLES + 4096; /* PAE: the PDPT */
	s->xcr0 = 7;
	s->rflags = 2;
	s->segment[X86_CS] = flat(8 | rpl, code, real ? 0xffff : UINT32_MAX);
	for (unsigned i = 0; i < 6; i++)
		if (i != X86_CS)
			s->segment[i] =
				flat(16 | rpl, real ? 0x93 : 0xc093 | dpl, real ? 0xffff : UINT32_MAX);
	s->ldt.attributes = X86_SEGMENT_UNUSABLE;
	s->tr = flat(24, 0x8b, 0x67);
	s->gdt = (struct x86_table){DATA + 0x800, 0x7f};
	s->idt = (struct x86_table){DATA + 0xc00, 0xff};
	s->gpr[X86_RSP] = STACK + 0x800;
	s->rip = CODE;
}

/* Whatever of the state the input wants to have otherwise: it came through shared memory. */
static void change_state(struct input *in, uint8_t changes)
{
	for (; changes; changes--) {
		const uint8_t which = input_u8(in);

		switch (which >> 4) {
		case 0:
			cpu.state.rflags ^= input_u32(in);
			break;
		case 1:
			cpu.state.cr0 ^= input_u32(in);
			break;
		case 2:
			cpu.state.cr4 ^= input_u32(in);
			break;
		case 3:
			cpu.state.efer ^= input_u16(in);
			break;
		case 4:
			cpu.state.rip = input_register(in);
			break;
		case 5:
			cpu.state.segment[(which & 15) % 6].base = input_register(in);
			break;
		case 6:
			cpu.state.segment[(which & 15) % 6].limit = (uint32_t)input_register(in);
			break;
		case 7:
			cpu.state.segment[(which & 15) % 6].attributes ^= input_u32(in);
			break;
		case 8:
			input_copy(in, &cpu.xstate.size, sizeof(cpu.xstate.size));
			break;
		case 9:
			input_copy(in, cpu.xstate.image + 512, 64);
			break;
		case 10:
			cpu.state.xcr0 = input_u16(in);
			break;
		case 11: /* any bytes of the state at all */
			input_copy(in, (uint8_t *)&cpu.state + input_u16(in) % (sizeof(cpu.state) - 16),
				   which & 15);
			break;
		case 12:
			cpu.reads = which & 15;
			break;
		default:
			cpu.state.gpr[which & 15] = input_register(in);
		}
	}
}

static void check_stores(const struct x86_stores *stores)
{
	fuzz_require(stores->count <= X86_STORES);
	for (uint32_t i = 0; i < stores->count; i++) {
		const struct x86_store *s = &stores->entry[i];

		fuzz_require(s->size >= 1 && s->size <= X86_STORE_BYTES);
		fuzz_require((s->gpa & 4095) + s->size <= 4096);
		fuzz_require(guest_memory_range(&fuzz.core.memory, s->gpa, s->size));
	}
}

static void check_stop(enum x86_stop stop, const struct x86_state *before, unsigned budget)
{
	fuzz_require(stop == cpu.stop && stop >= X86_DONE && stop <= X86_UNKNOWN);
	fuzz_require(cpu.executed <= budget);
	check_stores(&cpu.stores);
	switch (stop) {
	case X86_WANT_STATE:
	case X86_WANT_READ:
	case X86_UNKNOWN:
		fuzz_require(cpu.executed == 0 && memcmp(before, &cpu.state, sizeof(*before)) == 0);
		break;
	case X86_EXCEPTION:
		fuzz_require(cpu.exception.vector < 32);
		break;
	default:
		break;
	}
	if (stop == X86_WANT_READ || stop == X86_DEVICE_WRITE) {
		fuzz_require(cpu.device.size >= 1 && cpu.device.size <= X86_STORE_BYTES);
		fuzz_require((cpu.device.gpa & 4095) + cpu.device.size <= 4096);
	}
	if (stop == X86_UNKNOWN)
		fuzz_require(cpu.unknown.length <= 15 &&
			     memchr(cpu.unknown.text, '\0', sizeof(cpu.unknown.text)));
}

/* --- As a request, from dvmm's area to the emulator's. --------------------------------------------- */

static struct x86_cpu asked, answer;
static struct instruction instruction = {&asked, &answer, &cpu};
static unsigned published;

static void publish(void *context, const struct reply *reply)
{
	published++;
}

static const struct core_client client = {.publish = publish, .instruction = &instruction};

static enum x86_stop request(unsigned budget)
{
	const struct request req = {.seq = 1, .kind = REQUEST_X86, .count = budget};

	asked = cpu;
	published = 0;
	fuzz_require(core_request(&fuzz.core, &client, &req) && published == 1);
	fuzz_require(answer.stop == cpu.stop && answer.stores.count == cpu.stores.count);
	if (cpu.changed & ~(uint32_t)X86_XSTATE)
		fuzz_require(memcmp(&answer.state, &cpu.state, sizeof(answer.state)) == 0);
	return cpu.stop;
}

/* What is there may be anything. */
static void finish(struct input *in)
{
	answer.stores.count = input_u8(in);
	for (unsigned i = 0; i < 2; i++) {
		answer.stores.entry[i].gpa = input_gpa(in);
		answer.stores.entry[i].size = input_u8(in);
	}
	published = 0;
	instruction_finish(&fuzz.core, &client, 1);
	fuzz_require(published == 1);
}

/* As the caller does: supplies what is asked for, and runs again. */
static void run(struct input *in, unsigned budget, bool as_request)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		const struct x86_state before = cpu.state;
		enum x86_stop stop = as_request ? request(budget) : x86_run(&machine, &cpu, budget);

		check_stop(stop, &before, budget ? budget : 1);
		if (stop == X86_WANT_STATE) {
			fuzz_require(cpu.want);
			cpu.state.have |= cpu.want & ~(uint32_t)X86_XSTATE;
			if (cpu.want & X86_XSTATE && !cpu.xstate.size)
				cpu.xstate.size = 576 + 256;
		} else if (stop == X86_WANT_READ) {
			fuzz_require(cpu.reads < X86_DEVICE_READS);
			cpu.read[cpu.reads] = cpu.device;
			input_copy(in, cpu.read[cpu.reads].data, cpu.device.size);
			cpu.reads++;
		} else {
			x86_apply(&fuzz.core.memory, &cpu.stores);
			break;
		}
	}
	if (as_request)
		finish(in);
}

/* --- A batch is the same as its instructions one by one. ------------------------------------------ */

static uint8_t memory_before[FUZZ_LOW_BYTES + FUZZ_HIGH_BYTES], memory_after[sizeof(memory_before)];

static void save_memory(uint8_t *to)
{
	memcpy(to, fuzz.low, FUZZ_LOW_BYTES);
	memcpy(to + FUZZ_LOW_BYTES, fuzz.high, FUZZ_HIGH_BYTES);
}

static void restore_memory(const uint8_t *from)
{
	guest_memory_write(&fuzz.core.memory, 0, from, FUZZ_LOW_BYTES);
	guest_memory_write(&fuzz.core.memory, 1ull << 32, from + FUZZ_LOW_BYTES, FUZZ_HIGH_BYTES);
}

/* RDRAND and RDSEED are 0f c7 /6 and /7; what they return cannot be compared. */
static bool may_be_random(void)
{
	const uint8_t bytes[2] = {0x0f, 0xc7};

	return memmem(memory_before, sizeof(memory_before), bytes, sizeof(bytes));
}

/* A processor may go on with a translation that it has used before the table changed (SDM 3A, 4.10.4), and so
 * may a batch, where its parts walk the tables again. */
static bool stores_to_tables(void)
{
	for (uint32_t i = 0; i < cpu.stores.count; i++)
		if (cpu.stores.entry[i].gpa < CODE)
			return true;
	return cpu.state.cr3 != TABLES && cpu.state.cr3 != TABLES + 4096;
}

/* The batch has gone on to an instruction that faulted. A repeated one may have got some way before. */
static void compare_fault(const struct x86_exception *batch)
{
	enum x86_stop stop = x86_run(&machine, &cpu, 1);

	fuzz_require(stop == X86_EXCEPTION && cpu.executed == 0);
	fuzz_require(memcmp(batch, &cpu.exception, sizeof(*batch)) == 0);
	x86_apply(&fuzz.core.memory, &cpu.stores);
}

static void compare_batch(unsigned budget)
{
	static struct x86_cpu before;
	struct x86_exception exception;
	struct x86_state batch;
	uint32_t executed;
	bool fault;

	cpu.state.have = X86_REGS | X86_SREGS | X86_XCR0 | X86_MSRS;
	cpu.xstate.size = 832;
	cpu.reads = 0;
	before = cpu;
	save_memory(memory_before);
	fault = x86_run(&machine, &cpu, budget) == X86_EXCEPTION && !cpu.exception.trap;
	x86_apply(&fuzz.core.memory, &cpu.stores);
	batch = cpu.state;
	exception = cpu.exception;
	executed = cpu.executed;
	if (executed < 2 || may_be_random() || stores_to_tables())
		return;
	save_memory(memory_after);
	restore_memory(memory_before);
	cpu = before;
	for (uint32_t i = 0; i < executed; i++) {
		enum x86_stop stop = x86_run(&machine, &cpu, 1);

		fuzz_require(stop == X86_DONE || stop == X86_EXCEPTION);
		fuzz_require(cpu.executed == 1);
		x86_apply(&fuzz.core.memory, &cpu.stores);
	}
	if (fault)
		compare_fault(&exception);
	fuzz_require(memcmp(&batch, &cpu.state, sizeof(batch)) == 0);
	/* The batch may have gone on to an instruction that failed; its page walks leave accessed bits. */
	save_memory(memory_before);
	fuzz_require(memcmp(memory_after + CODE, memory_before + CODE, sizeof(memory_after) - CODE) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t mode, budget, changes, code[64];

	machine_reset();
	if (!machine.memory)
		x86_machine_init(&machine, &fuzz.core.memory);
	memset(&cpu, 0, sizeof(cpu));
	mode = input_u8(&in);
	budget = input_u8(&in) % 33;
	changes = input_u8(&in);
	input_copy(&in, code, 16);
	build_tables(&in, mode & 0x20 ? 0 : changes & 3);
	build_state(&in, mode);
	for (unsigned i = 0; i < (mode >> 6) && !(mode & 0x20); i++)
		race_add(&in);
	change_state(&in, changes >> 2 & 15);
	if (changes & 0x40)
		input_copy(&in, code + 16, sizeof(code) - 16);
	else
		memset(code + 16, 0x90, sizeof(code) - 16); /* nop */
	guest_memory_write(&fuzz.core.memory, CODE, code, sizeof(code));
	for (unsigned i = 0; i < 16 && in.left; i++)
		put64(DATA + i * 8, input_u64(&in));
	if (mode & 0x20)
		compare_batch(budget);
	else
		run(&in, budget, mode & 0x10);
	return 0;
}
