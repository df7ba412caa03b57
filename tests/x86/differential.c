/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x86 emulator against the processor: random instructions of every form that the emulator covers, with
 * random registers, flags, memory and XSAVE state, are executed by x86_run() and natively at CPL 3, and
 * everything that an instruction can change is compared.
 *
 * Theory of operation: a case (case.c) is a function of the seed, the name of its form and its number, so that any
 * difference can be made again (the line that reports it has the options). Memory under test is mapped at
 * the same linear addresses for both: natively by mmap(), in the emulator by page tables over a copy. The
 * emulator goes first; what it declines (X86_UNKNOWN) is not executed natively.
 */
#include "tests/x86/differential.h"

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RAM_BYTES 0x20000u
#define CODE_GPA  0x10000u
#define DATA_GPA  0x11000u
#define RO_GPA    0x13000u

#define VECTOR_SS 12
#define VECTOR_GP 13
#define VECTOR_PF 14

/* CF PF AF ZF SF DF OF NT AC ID; not TF, IF, IOPL, which CPL 3 does not change, nor RF. */
#define FLAGS_COMPARED 0x244cd5u

static struct {
	uint64_t seed, cases, first;
	const char *form;
	bool list, undefined, verbose;
	unsigned max_differences;
} options = {.seed = 1, .cases = 3000000, .max_differences = 50};

static struct guest_memory memory;
static struct x86_machine machine;
static uint8_t *ram;
static struct x86_cpu cpu;
static struct native_result native;
static unsigned unrepeated; /* differences in XSAVE state that went away when repeated */

/* --- The machine. */

static void machine_make(void)
{
	uint64_t *table = NULL;

	ram = aligned_alloc(4096, RAM_BYTES);
	if (!ram)
		abort();
	memset(ram, 0, RAM_BYTES);
	memory = (struct guest_memory){.seg = {{.gpa = 0, .size = RAM_BYTES, .host = ram}}};
	x86_machine_init(&machine, &memory);
	table = (uint64_t *)(void *)ram;
	table[0x1000 / 8] = 0x2027;
	table[0x2000 / 8] = 0x3027;
	table[0x3000 / 8 + (CODE >> 21 & 511)] = 0x4027;
	table[0x4000 / 8 + (CODE >> 12 & 511)] = CODE_GPA | 0x67;
	for (unsigned i = 0; i < DATA_BYTES / 4096; i++)
		table[0x4000 / 8 + (DATA >> 12 & 511) + i] = (DATA_GPA + i * 4096) | 0x67;
	table[0x4000 / 8 + (READONLY >> 12 & 511)] = RO_GPA | 0x65;
	pool_make();
	memcpy(ram + RO_GPA, pool, 4096);
	memcpy((void *)(uintptr_t)READONLY, pool, 4096);
	mprotect((void *)(uintptr_t)READONLY, 4096, PROT_READ);
}

/* --- Running a case. */

static enum x86_stop emulate_once(void)
{
	enum x86_stop stop;

	cpu.reads = 0;
	stop = x86_run(&machine, &cpu, 1);
	x86_apply(&memory, &cpu.stores);
	return stop;
}

static void emulator_load(void)
{
	cpu.state = test.state;
	cpu.xstate.size = test.with_xstate ? test.xstate.size : 0;
	if (test.with_xstate)
		memcpy(cpu.xstate.image, test.xstate.image, test.xstate.size);
	memcpy(ram + DATA_GPA, test.data, DATA_BYTES);
	memcpy(ram + CODE_GPA + (test.state.rip - CODE), test.in.bytes,
	       test.state.rip + MAX_BYTES > CODE + 4096 ? CODE + 4096 - test.state.rip : MAX_BYTES);
}

/* XSAVE state is made when the emulator asks for it. REP forms go on until they are through. */
static enum x86_stop emulate(void)
{
	enum x86_stop stop;

	emulator_load();
	stop = emulate_once();
	if (stop == X86_WANT_STATE && cpu.want == X86_XSTATE) {
		xstate_make();
		emulator_load();
		stop = emulate_once();
	}
	for (unsigned i = 0;
	     i < 100000 && stop == X86_DONE && cpu.state.rip == test.state.rip && is_repeated(&test.in); i++)
		stop = emulate_once();
	return stop;
}

static void run_native(void)
{
	memcpy((void *)(uintptr_t)DATA, test.data, DATA_BYTES);
	memcpy((void *)(uintptr_t)test.state.rip, test.in.bytes,
	       test.state.rip + MAX_BYTES > CODE + 4096 ? CODE + 4096 - test.state.rip : MAX_BYTES);
	native_run(&test.state, test.with_xstate ? &test.xstate : NULL, test.form->bits, test.in.insn.length,
		   &native);
}

/* --- Comparing. Each writes what differs, and returns whether anything does. */

static bool differs(char *why, size_t size, const char *what, uint64_t emulated, uint64_t was)
{
	snprintf(why, size, "%s: native %#llx, emulated %#llx", what, (unsigned long long)was,
		 (unsigned long long)emulated);
	return true;
}

/* The area of an XSAVE form may be touched in any order; with short addresses it may wrap. */
static bool cr2_far(uint64_t address, char *why, size_t size)
{
	uint64_t mask = test.in.insn.address_width == 16 ? UINT16_MAX : UINT32_MAX;
	uint64_t distance = (address - native.cr2 + X86_XSTATE_BYTES) & mask;

	return distance > 2 * X86_XSTATE_BYTES && differs(why, size, "CR2", address, native.cr2);
}

static bool stop_differs(enum x86_stop stop, char *why, size_t size)
{
	const struct x86_exception *e = &cpu.exception;
	int vector = stop == X86_EXCEPTION ? e->vector : -1;

	if (stop != X86_DONE && stop != X86_EXCEPTION)
		return differs(why, size, "stop", stop, X86_DONE);
	/* The system under this one may report #SS of a non-canonical address as #GP. */
	if (vector == VECTOR_SS && native.trap == VECTOR_GP)
		vector = VECTOR_GP;
	if (fault_is_loose(&test.in.insn) && native.trap >= VECTOR_GP && native.trap <= VECTOR_PF &&
	    vector >= VECTOR_GP && vector <= VECTOR_PF)
		return cr2_far(native.trap == vector && vector == VECTOR_PF ? e->address : native.cr2, why,
			       size);
	if (vector != native.trap)
		return differs(why, size, "vector", (uint64_t)(int64_t)vector,
			       (uint64_t)(int64_t)native.trap);
	if (vector < 0 || e->trap || !e->has_error)
		return false;
	/* Linux hides what is mapped in the upper half, where nothing is its user's. */
	if (vector == VECTOR_PF && e->address >> 63)
		return false;
	if (e->error != native.error)
		return differs(why, size, "error code", e->error, native.error);
	return vector == VECTOR_PF && e->address != native.cr2 &&
	       differs(why, size, "CR2", e->address, native.cr2);
}

/* POPA may have loaded some of its registers: the manual does not say. */
static bool popa_faulted(void)
{
	return native.trap > 1 && (test.in.insn.mnemonic == ZYDIS_MNEMONIC_POPA ||
				   test.in.insn.mnemonic == ZYDIS_MNEMONIC_POPAD);
}

static bool registers_differ(char *why, size_t size)
{
	static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
	uint64_t flags = FLAGS_COMPARED;

	if (!options.undefined)
		flags &= ~flags_undefined(&test.in.insn);
	/* Outside of 64-bit mode the upper halves are undefined: SDM 1, 3.4.1.1. */
	for (unsigned i = 0; i < (test.form->bits == 64 ? 16u : 8u) && !popa_faulted(); i++)
		if ((cpu.state.gpr[i] ^ native.gpr[i]) & (test.form->bits == 64 ? UINT64_MAX : UINT32_MAX))
			return differs(why, size, names[i], cpu.state.gpr[i], native.gpr[i]);
	if (cpu.state.rip != native.rip)
		return differs(why, size, "rip", cpu.state.rip, native.rip);
	if ((cpu.state.rflags ^ native.rflags) & flags)
		return differs(why, size, "rflags", cpu.state.rflags & flags, native.rflags & flags);
	if (cpu.state.segment[X86_FS].base != native.fs)
		return differs(why, size, "fs base", cpu.state.segment[X86_FS].base, native.fs);
	if (cpu.state.segment[X86_GS].base != native.gs)
		return differs(why, size, "gs base", cpu.state.segment[X86_GS].base, native.gs);
	return false;
}

static bool memory_differs(char *why, size_t size)
{
	const uint8_t *was = (const uint8_t *)(uintptr_t)DATA, *is = ram + DATA_GPA;
	char what[40];
	unsigned i = 0;

	if (!memcmp(was, is, DATA_BYTES) ||
	    (native.trap >= 0 && native.trap != 1 && fault_is_loose(&test.in.insn)))
		return false;
	while (was[i] == is[i])
		i++;
	snprintf(what, sizeof(what), "memory at %#x (was %#x)", DATA + i, test.data[i]);
	return differs(why, size, what, is[i], was[i]);
}

static bool component_differs(unsigned n, uint64_t used, uint64_t used_native, char *why, size_t size)
{
	unsigned at = n == 0 ? 0 : n == 1 ? 160 : machine.xcomponent[n].offset;
	unsigned bytes = n == 0 ? 160 : n == 1 ? 256 : machine.xcomponent[n].size;
	char what[40];

	for (unsigned i = 0; i < bytes; i++) {
		uint8_t is = used >> n & 1 ? cpu.xstate.image[at + i] : 0;
		uint8_t was = used_native >> n & 1 ? native.xstate.image[at + i] : 0;

		/* Reserved; FOP, FIP and FDP, which some processors load only with an exception pending;
		 * MXCSR and its mask, which come later. */
		if (n == 0 && ((i >= 5 && i < 32) || (i >= 32 && i % 16 >= 10)))
			continue;
		if (n == 0 && i < 2) { /* the initial control word is not 0 */
			is = used & 1 ? is : 0x37f >> 8 * i & 0xff;
			was = used_native & 1 ? was : 0x37f >> 8 * i & 0xff;
		}
		if (is == was)
			continue;
		snprintf(what, sizeof(what), "XSAVE component %u, byte %u", n, i);
		return differs(why, size, what, is, was);
	}
	return false;
}

static bool xstate_differs(char *why, size_t size)
{
	uint64_t used, used_native;
	uint32_t mxcsr[2];

	if (!test.with_xstate)
		return false;
	status_normalise(cpu.xstate.image); /* as the processor will, when it enters the guest */
	memcpy(&used, cpu.xstate.image + 512, 8);
	memcpy(&used_native, native.xstate.image + 512, 8);
	for (unsigned n = 0; n < 8; n++)
		if ((0xe7 & processor.xcr0 & (1u << n)) && component_differs(n, used, used_native, why, size))
			return true;
	memcpy(&mxcsr[0], cpu.xstate.image + 24, 4);
	memcpy(&mxcsr[1], native.xstate.image + 24, 4);
	return mxcsr[0] != mxcsr[1] && differs(why, size, "MXCSR", mxcsr[0], mxcsr[1]);
}

/* --- Reporting. */

static void report(const char *why)
{
	static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
	char text[128];

	instruction_text(&test.in, text, sizeof(text));
	printf("DIFFERENCE %s; %s [", why, text);
	for (unsigned i = 0; i < test.in.insn.length; i++)
		printf("%02x", test.in.bytes[i]);
	printf("] before:");
	for (unsigned i = 0; i < (test.form->bits == 64 ? 16u : 8u); i++)
		printf(" %s=%llx", names[i], (unsigned long long)test.state.gpr[i]);
	printf(" rip=%llx rflags=%llx; after, where changed (native/emulated):",
	       (unsigned long long)test.state.rip, (unsigned long long)test.state.rflags);
	for (unsigned i = 0; i < (test.form->bits == 64 ? 16u : 8u); i++)
		if (native.gpr[i] != test.state.gpr[i] || cpu.state.gpr[i] != test.state.gpr[i])
			printf(" %s=%llx/%llx", names[i], (unsigned long long)native.gpr[i],
			       (unsigned long long)cpu.state.gpr[i]);
	printf(" rip=%llx/%llx rflags=%llx/%llx vector=%d/%d; --seed %llu --form '%s' --first %llu --cases "
	       "1\n",
	       (unsigned long long)native.rip, (unsigned long long)cpu.state.rip,
	       (unsigned long long)native.rflags, (unsigned long long)cpu.state.rflags, native.trap,
	       cpu.stop == X86_EXCEPTION ? cpu.exception.vector : -1, (unsigned long long)options.seed,
	       test.form->name, (unsigned long long)test.number);
}

/* Natively an access could hit the test's own pages, which the emulator takes for absent. */
static bool hits_own_pages(enum x86_stop stop)
{
	return stop == X86_EXCEPTION && cpu.exception.vector == 14 && native_owns(cpu.exception.address);
}

/* Under a mask, what an access over the end of the segment does differs from element to element. */
static bool masked_at_segment_end(void)
{
	uint64_t at;

	if (test.form->bits == 64 || test.in.insn.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return false;
	for (unsigned i = 0; i < test.in.insn.operand_count; i++) {
		const ZydisDecodedOperand *op = &test.in.op[i];

		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		at = (uint64_t)op->mem.disp.value;
		if (op->mem.base != ZYDIS_REGISTER_NONE)
			at += test.state.gpr[gpr_number(op->mem.base)];
		if (op->mem.index != ZYDIS_REGISTER_NONE)
			at += test.state.gpr[gpr_number(op->mem.index)] * op->mem.scale;
		if ((uint32_t)at > UINT32_MAX - 64)
			return true;
	}
	return false;
}

static bool result_differs(enum x86_stop stop, char *why, size_t size)
{
	return stop_differs(stop, why, size) || registers_differ(why, size) || memory_differs(why, size) ||
	       xstate_differs(why, size);
}

/* True: it differs. */
static bool case_run(struct form *form, uint64_t number)
{
	enum x86_stop stop;
	char why[160];
	bool different;

	case_make(form, number, options.seed);
	stop = emulate();
	if (stop == X86_UNKNOWN || hits_own_pages(stop) || masked_at_segment_end()) {
		form->declined++;
		return false;
	}
	run_native();
	form->compared++;
	form->fetched +=
		!(stop == X86_EXCEPTION && cpu.exception.vector == 14 && (cpu.exception.error & 16) &&
		  (test.state.rip & 4095) + test.in.insn.length > 4096);
	different = result_differs(stop, why, sizeof(why));
	/* An interrupt between XRSTOR and the instruction saves and loads XSAVE state: afterwards components
	 * may be in use that were not (SDM 1, 13.6), and XSAVEOPT shows it. Once more, then. */
	for (unsigned i = 0; i < 2 && different && test.with_xstate; i++) {
		run_native();
		different = result_differs(stop, why, sizeof(why));
		unrepeated += !different;
	}
	if (different || options.verbose)
		report(different ? why : "none");
	return different;
}

static void usage(FILE *to)
{
	fprintf(to, "differential [--seed N] [--cases N] [--form NAME] [--first N] [--undefined] [--list] "
		    "[--verbose]\n"
		    "  --form NAME   only forms whose name begins so\n"
		    "  --first N     start at case N of each form\n"
		    "  --undefined   compare also flags that the manual leaves undefined\n"
		    "  --list        the forms, how many cases of each were compared, and what is excluded\n"
		    "  --differences N   stop after so many (default 50)\n");
}

static void options_parse(int argc, char **argv)
{
	static const struct option names[] = {
		{"seed", 1, NULL, 's'},      {"cases", 1, NULL, 'c'},
		{"form", 1, NULL, 'f'},      {"first", 1, NULL, 'n'},
		{"undefined", 0, NULL, 'u'}, {"list", 0, NULL, 'l'},
		{"verbose", 0, NULL, 'v'},   {"differences", 1, NULL, 'd'},
		{"help", 0, NULL, 'h'},      {0},
	};

	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
		switch (c) {
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			options.cases = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			options.first = strtoull(optarg, NULL, 0);
			break;
		case 'd':
			options.max_differences = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'f':
			options.form = optarg;
			break;
		case 'u':
			options.undefined = true;
			break;
		case 'l':
			options.list = true;
			break;
		case 'v':
			options.verbose = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(1);
		}
	}
}

/* Moves the forms that are wanted to the front. */
static unsigned forms_select(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < form_count; i++) {
		struct form f = forms[i];

		if (options.form && strncmp(f.name, options.form, strlen(options.form)))
			continue;
		if (f.excluded && options.list)
			printf("excluded: %s: %s\n", f.name, f.excluded);
		if (f.excluded)
			continue;
		forms[i] = forms[n];
		forms[n++] = f;
	}
	return n;
}

static unsigned forms_report(unsigned selected)
{
	unsigned covered = 0;

	for (unsigned i = 0; i < selected; i++) {
		covered += forms[i].fetched != 0;
		if (options.list)
			printf("%s: %s: %llu compared, %llu declined\n",
			       forms[i].fetched ? "covered" : "declined", forms[i].name,
			       (unsigned long long)forms[i].compared, (unsigned long long)forms[i].declined);
	}
	return covered;
}

/* One CPU, so that RDPID has one result. */
static void cpu_pin(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int main(int argc, char **argv)
{
	uint64_t compared = 0, differences = 0, turns = 0;
	unsigned selected;

	options_parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	cpu_pin();
	if (!native_init())
		return 77;
	machine_make();
	processor_read(&machine);
	forms_enumerate();
	selected = forms_select();
	if (!selected) {
		fprintf(stderr, "no such form\n");
		return 1;
	}
	for (; turns < options.cases && differences < options.max_differences; turns++)
		differences += case_run(&forms[turns % selected], options.first + turns / selected);
	for (unsigned i = 0; i < selected; i++)
		compared += forms[i].fetched ? forms[i].compared : 0;
	if (unrepeated)
		printf("%u differences in XSAVE state did not repeat\n", unrepeated);
	printf("%llu cases, %u forms, %llu differences\n", (unsigned long long)compared,
	       forms_report(selected), (unsigned long long)differences);
	return differences ? 1 : 0;
}
