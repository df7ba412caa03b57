/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Executes one instruction on this processor, at CPL 3, with all registers given.
 *
 * Theory of operation: an assembly trampoline loads XSAVE state, GS base and general registers and enters by
 * IRETQ, which sets rip, flags, stack and code segment (0x23 for 32-bit code) in one step. Behind the
 * instruction stands a jump to where the registers are stored: no signal, so a case costs well below a
 * microsecond. Where the instruction may go elsewhere TF is set, and a SIGTRAP ends it. An exception arrives
 * as a signal: the handler copies the registers, and returns to the trampoline's second half.
 *
 * What the trampoline uses has fixed addresses below 4 GiB, but far from the pages that are tested.
 */
#include "tests/x86/differential.h"

#include <cpuid.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define WAY_OUT 0x31000000u
#define AREA 0x32000000u /* also in the assembly below */

/* At AREA. The assembly knows the offsets; native_init() would not compile if they were others. */
struct area {
	uint64_t in[16];                      /* 0x000 */
	uint64_t frame[5];                    /* 0x080: rip, cs, rflags, rsp, ss */
	uint64_t gs, fs_host, gs_host, stack; /* 0x0a8, 0x0b0, 0x0b8, 0x0c0 */
	uint64_t with_xstate, xcr0;           /* 0x0c8, 0x0d0 */
	uint64_t out[16];                     /* 0x0d8 */
	uint64_t out_flags, out_fs, out_gs;   /* 0x158, 0x160, 0x168 */
	uint64_t exit;                        /* 0x170: native_exit */
	uint64_t mxcsr;                       /* 0x178 */
	uint8_t unused[0x200 - 0x180];
	uint8_t xin[X86_XSTATE_BYTES];  /* 0x200 */
	uint8_t xout[X86_XSTATE_BYTES]; /* 0x1200 */
};
_Static_assert(offsetof(struct area, out) == 0xd8 && offsetof(struct area, mxcsr) == 0x178 &&
		       offsetof(struct area, xin) == 0x200 && offsetof(struct area, xout) == 0x1200,
	       "the trampoline's offsets");

static struct area *const area = (struct area *)AREA;
static volatile sig_atomic_t running;
static volatile int trap;
static uint64_t out_rip, out_error, out_cr2;
static uint64_t way_out_code = WAY_OUT; /* where a case goes on behind its instruction */

void native_enter(void);
void native_exit(void);
void native_signalled(void);
void native_handler_entry(void);
void native_handler(int sig, siginfo_t *info, void *context);

/* clang-format off */
__asm__(".text\n"
	".set IN, 0x32000000 + 0x0\n"
	".set FRAME, 0x32000000 + 0x80\n"
	".set GS, 0x32000000 + 0xa8\n"
	".set FS_HOST, 0x32000000 + 0xb0\n"
	".set GS_HOST, 0x32000000 + 0xb8\n"
	".set STACK, 0x32000000 + 0xc0\n"
	".set WITH_XSTATE, 0x32000000 + 0xc8\n"
	".set XCR0, 0x32000000 + 0xd0\n"
	".set OUT, 0x32000000 + 0xd8\n"
	".set OUT_FLAGS, 0x32000000 + 0x158\n"
	".set OUT_FS, 0x32000000 + 0x160\n"
	".set OUT_GS, 0x32000000 + 0x168\n"
	".set MXCSR, 0x32000000 + 0x178\n"
	".set XIN, 0x32000000 + 0x200\n"
	".set XOUT, 0x32000000 + 0x1200\n"
	"native_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, STACK\n"
	"	cmpq $0, WITH_XSTATE\n"
	"	je 1f\n"
	"	mov XCR0, %eax; xor %edx, %edx\n"
	"	mov $XIN, %ecx\n"
	"	xrstor64 (%rcx)\n"
	"1:	mov GS, %rax; wrgsbase %rax\n"
	"	pushq FRAME + 32; pushq FRAME + 24; pushq FRAME + 16; pushq FRAME + 8; pushq FRAME\n"
	"	mov IN + 0x0, %rax; mov IN + 0x8, %rcx; mov IN + 0x10, %rdx\n"
	"	mov IN + 0x18, %rbx; mov IN + 0x28, %rbp; mov IN + 0x30, %rsi\n"
	"	mov IN + 0x38, %rdi; mov IN + 0x40, %r8; mov IN + 0x48, %r9\n"
	"	mov IN + 0x50, %r10; mov IN + 0x58, %r11; mov IN + 0x60, %r12\n"
	"	mov IN + 0x68, %r13; mov IN + 0x70, %r14; mov IN + 0x78, %r15\n"
	"	iretq\n"
	"native_exit:\n"
	"	mov %rax, OUT + 0x0; mov %rcx, OUT + 0x8; mov %rdx, OUT + 0x10; mov %rbx, OUT + 0x18\n"
	"	mov %rsp, OUT + 0x20; mov %rbp, OUT + 0x28; mov %rsi, OUT + 0x30; mov %rdi, OUT + 0x38\n"
	"	mov %r8, OUT + 0x40; mov %r9, OUT + 0x48; mov %r10, OUT + 0x50; mov %r11, OUT + 0x58\n"
	"	mov %r12, OUT + 0x60; mov %r13, OUT + 0x68; mov %r14, OUT + 0x70; mov %r15, OUT + 0x78\n"
	"	mov STACK, %rsp\n"
	"	pushfq; popq OUT_FLAGS; pushq $2; popfq\n"
	"native_signalled:\n"
	"	rdfsbase %rax; mov %rax, OUT_FS; mov FS_HOST, %rax; wrfsbase %rax\n"
	"	rdgsbase %rax; mov %rax, OUT_GS; mov GS_HOST, %rax; wrgsbase %rax\n"
	"	cmpq $0, WITH_XSTATE\n"
	"	je 1f\n"
	"	mov XCR0, %eax; xor %edx, %edx\n"
	"	mov $XOUT, %ecx\n"
	"	xsave64 (%rcx)\n"
	"	fninit; ldmxcsr MXCSR; vzeroupper\n"
	"1:	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	/* The kernel enters handlers with AC as it was. */
	"native_handler_entry:\n"
	"	pushfq; andq $~0x44400, (%rsp); popfq\n"
	"	jmp native_handler\n");
/* clang-format on */

static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

__attribute__((visibility("default"), no_sanitize("address"))) void native_handler(int sig, siginfo_t *info,
										   void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	(void)info;
	if (!running) { /* a defect of the test itself, or of the emulator */
		signal(sig, SIG_DFL);
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		area->out[i] = (uint64_t)g[greg_of[i]];
	out_rip = (uint64_t)g[REG_RIP];
	area->out_flags = (uint64_t)g[REG_EFL];
	trap = (int)g[REG_TRAPNO];
	out_error = (uint64_t)g[REG_ERR];
	out_cr2 = (uint64_t)g[REG_CR2];
	g[REG_RIP] = (greg_t)(uintptr_t)native_signalled;
	g[REG_RSP] = (greg_t)area->stack;
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | 0x33;
}

static void *map(uint32_t address, uint32_t size, int protection)
{
	void *p = mmap((void *)(uintptr_t)address, size, protection,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);

	return p == (void *)(uintptr_t)address ? p : NULL;
}

/* jmp *area->exit */
static void way_out_write(uint8_t *at)
{
	const uint32_t slot = AREA + offsetof(struct area, exit);

	memcpy(at, (const uint8_t[]){0xff, 0x24, 0x25}, 3);
	memcpy(at + 3, &slot, 4);
}

static bool signals_init(void)
{
	static const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS};
	static uint8_t stack[1 << 16];
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	sa.sa_sigaction = (void (*)(int, siginfo_t *, void *))native_handler_entry;
	if (sigaltstack(&ss, NULL))
		return false;
	for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (sigaction(signals[i], &sa, NULL))
			return false;
	return true;
}

static bool processor_suits(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE) && (c & bit_AVX) &&
	       __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_FSGSBASE) &&
	       __get_cpuid_count(0xd, 0, &a, &b, &c, &d) && b <= X86_XSTATE_BYTES;
}

bool native_init(void)
{
	uint32_t low, high;

	if (!processor_suits()) {
		fprintf(stderr, "this processor has no XSAVE, AVX or FSGSBASE, or more state than is compared (AMX)\n");
		return false;
	}
	if (!map(WAY_OUT, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    !map(AREA, (sizeof(*area) + 4095) & ~4095u, PROT_READ | PROT_WRITE) ||
	    !map(CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    !map(DATA, DATA_BYTES, PROT_READ | PROT_WRITE) || !map(READONLY, 4096, PROT_READ | PROT_WRITE) ||
	    !signals_init()) {
		perror("low memory");
		return false;
	}
	way_out_write((void *)(uintptr_t)WAY_OUT);
	area->exit = (uintptr_t)native_exit;
	area->mxcsr = 0x1f80;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	area->xcr0 = low & 0xe7; /* no protection keys: XRSTOR would set those of this process */
	__asm__ volatile("rdfsbase %0" : "=r"(area->fs_host));
	__asm__ volatile("rdgsbase %0" : "=r"(area->gs_host));
	/* Flat data segments for 32-bit code. */
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(0x2b));
	return true;
}

uint32_t native_xstate_bytes(void)
{
	unsigned a, b, c, d;

	__cpuid_count(0xd, 0, a, b, c, d);
	return b;
}

bool native_owns(uint64_t address)
{
#ifdef __SANITIZE_ADDRESS__ /* its shadow, of all of the address space */
	if (address >= 0x7fff7000 && address < 0x100080000000)
		return true;
#endif
	return (address >= WAY_OUT - 64 && address < WAY_OUT + 4096) ||
	       (address >= AREA - 64 && address < AREA + sizeof(*area) + 4096);
}

/* What is behind the instruction: a jump to the way out. */
static void landing_write(uint8_t *at, unsigned bits)
{
	uint32_t distance = WAY_OUT - ((uint32_t)(uintptr_t)at + 5);

	if ((uintptr_t)at + 7 > CODE + 4096)
		return; /* at the end of the page: the caller sets TF */
	if (bits == 64) {
		at[0] = 0xe9;
		memcpy(at + 1, &distance, 4);
	} else {
		at[0] = 0xea;
		memcpy(at + 1, &way_out_code, 4);
		memcpy(at + 5, (const uint8_t[]){0x33, 0}, 2);
	}
}

static void result_fill(const struct x86_state *state, unsigned length, struct native_result *result)
{
	memcpy(result->gpr, area->out, sizeof(result->gpr));
	result->rflags = area->out_flags;
	result->fs = area->out_fs;
	result->gs = area->out_gs;
	result->trap = trap;
	result->rip = trap < 0 ? state->rip + length : out_rip;
	result->error = out_error;
	result->cr2 = out_cr2;
}

void native_run(const struct x86_state *state, const struct x86_xstate *xstate, unsigned bits,
		unsigned length, struct native_result *result)
{
	memcpy(area->in, state->gpr, sizeof(area->in));
	area->frame[0] = state->rip;
	area->frame[1] = bits == 64 ? 0x33 : 0x23;
	area->frame[2] = state->rflags;
	area->frame[3] = state->gpr[X86_RSP];
	area->frame[4] = 0x2b;
	area->gs = state->segment[X86_GS].base;
	area->with_xstate = xstate != NULL;
	if (xstate)
		memcpy(area->xin, xstate->image, xstate->size);
	landing_write((uint8_t *)(uintptr_t)state->rip + length, bits);
	trap = -1;
	running = 1;
	native_enter();
	running = 0;
	result_fill(state, length, result);
	if (xstate) {
		result->xstate.size = xstate->size;
		memcpy(result->xstate.image, area->xout, xstate->size);
	}
}
