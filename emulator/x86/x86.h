/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x86 instruction emulator: what KVM could not emulate is decoded (by Zydis) and executed here, as a
 * function over a snapshot of the processor and guest memory. It knows neither KVM nor the mailbox.
 *
 * Owns nothing. Threads: x86_run() may run on any number of threads, each with its own struct x86_cpu; struct
 * x86_machine is constant after x86_machine_init(). No malloc, no system calls, no libc beyond memcpy() and
 * friends; every loop has a bound. Everything in struct x86_cpu may come from a hostile guest, or from a
 * shared page; run on a private copy of it. All structs are plain data without pointers (but for
 * x86_machine).
 *
 * Follows the Intel SDM (325462), volumes 1 to 3, and the AMD APM where the two differ by vendor. Flags that
 * they call undefined come out as the host's processor leaves them, because it executes the operation.
 *
 * What the caller does, in order:
 *   1. fill cpu->state (and state.have), cpu->xstate if it has it, and set cpu->reads to 0; x86_run()
 *   2. X86_WANT_STATE: fill in what cpu->want names, run again. X86_WANT_READ: perform the device read
 *      cpu->device, append it to cpu->read[] with its data, increment cpu->reads, run again; the instruction
 *      starts again from its beginning, so all earlier reads must stay. Neither has changed anything.
 *   3. any other stop: journal cpu->stores (with state), x86_apply() them (applying twice does no harm),
 *      perform cpu->device if the stop is X86_DEVICE_WRITE, set the registers that cpu->changed names,
 * deliver cpu->exception if there is one, look at cpu->effects, then enter the guest.
 */
#ifndef DVMM_EMULATOR_X86_X86_H
#define DVMM_EMULATOR_X86_X86_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/guest_memory.h"

/* In the order of their encoding. */
enum x86_gpr {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_R9,
	X86_R10,
	X86_R11,
	X86_R12,
	X86_R13,
	X86_R14,
	X86_R15,
};
enum x86_segment_register { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS };

/* Parts of the processor: what the caller has filled in, what an instruction wants, what it changed. */
enum x86_part {
	X86_REGS = 1u << 0,   /* gpr, rip, rflags: always needed */
	X86_SREGS = 1u << 1,  /* segments, tables, cr0 to cr4, efer: always needed */
	X86_XCR0 = 1u << 2,   /* xcr0: XGETBV, XSETBV, the XSAVE family and all VEX and EVEX forms */
	X86_MSRS = 1u << 3,   /* kernel_gs_base (SWAPGS), tsc_aux (RDPID), xss (XSAVES, XRSTORS) */
	X86_SYSCALL = 1u << 5, /* star, lstar, sfmask: see syscall.c */
	X86_XSTATE = 1u << 4, /* struct x86_xstate; supplied if its size is not 0 */
};

/* A segment register with its hidden part. attributes has the layout of the VMCS (SDM 3C, 25.4.1): bits 0 to
 * 7 the access byte of the descriptor (type, S, DPL, P), 12 AVL, 13 L, 14 D/B, 15 G, 16 unusable. */
struct x86_segment {
	uint64_t base;
	uint32_t limit; /* of the last byte, G already applied */
	uint16_t selector;
	uint16_t unused;
	uint32_t attributes;
	uint32_t unused2;
};
#define X86_SEGMENT_UNUSABLE (1u << 16)

struct x86_table {
	uint64_t base;
	uint64_t limit;
};

struct x86_state {
	uint64_t gpr[16];
	uint64_t rip;
	uint64_t rflags;
	struct x86_segment segment[6];
	struct x86_segment ldt, tr;
	struct x86_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer;
	uint64_t xcr0;
	uint64_t xss;            /* IA32_XSS */
	uint64_t kernel_gs_base; /* IA32_KERNEL_GS_BASE */
	uint64_t tsc_aux;        /* IA32_TSC_AUX */
	uint64_t star, lstar, sfmask; /* IA32_STAR, IA32_LSTAR, IA32_FMASK */
	uint32_t have;           /* enum x86_part, without X86_XSTATE */
	uint32_t unused;
};

/* XSAVE state in the standard (not compacted) format, as KVM_GET_XSAVE2 returns it. x86_run() may fill
 * components that XSTATE_BV leaves out with their initial values, which changes nothing. */
#define X86_XSTATE_BYTES 4096u
struct x86_xstate {
	uint32_t size; /* valid bytes of the image; 0: not supplied. At least 576 otherwise */
	uint32_t unused[15];
	uint8_t image[X86_XSTATE_BYTES] __attribute__((aligned(64)));
};

/*
 * What the instructions of a run have stored: made by x86_apply() afterwards, in order. An entry does not
 * cross the end of a page. Later loads, fetches and page walks of the same run see it.
 */
#define X86_STORE_BYTES 64u
#define X86_STORES      72u /* enough for the largest XSAVE area */
struct x86_store {
	uint64_t gpa;
	uint32_t size; /* 1 to X86_STORE_BYTES */
	uint32_t unused;
	uint8_t data[X86_STORE_BYTES];
};
struct x86_stores {
	uint32_t count;
	uint32_t unused[3];
	struct x86_store entry[X86_STORES];
};

/* An access to guest-physical memory that is not RAM. size: 1 to 64; it does not cross the end of a page. */
struct x86_device_access {
	uint64_t gpa;
	uint32_t size;
	uint32_t unused;
	uint8_t data[X86_STORE_BYTES];
};
#define X86_DEVICE_READS 8u

/* Why a run stopped. What was executed before in the batch stands, the instruction that stopped it has
 * changed nothing, unless said otherwise. Values are part of the protocol between processes. */
enum x86_stop {
	X86_DONE = 1,  /* enter the guest again. cpu->executed is 0 only if other vCPUs kept changing what the
			  instruction works on, or the page tables between a device read and its use */
	X86_EXCEPTION, /* deliver cpu->exception. A REP form may have made iterations: registers are those of
			  the iteration that faulted, and what the others stored is in the log */
	X86_WANT_STATE,   /* cpu->want names the parts of the state that are missing. executed is 0 */
	X86_WANT_READ,    /* cpu->device (gpa, size) is to be read. executed is 0 */
	X86_DEVICE_WRITE, /* the one instruction executed is complete but for writing cpu->device. A REP form
			     has made an iteration, and rip is still at it */
	X86_UNKNOWN,      /* not covered: cpu->unknown. executed is 0 */
};

struct x86_exception {
	uint8_t vector;
	uint8_t has_error;
	uint8_t trap; /* the instruction is complete and rip behind it: #BP, #OF, #DB (INT1, single step) */
	uint8_t unused;
	uint32_t error;
	uint64_t address; /* #PF: what goes to CR2. state.cr2 is not changed */
	uint64_t dr6;     /* #DB: bits to set in DR6 (BS after a single step) */
};

/*
 * What the caller owes to the guest besides registers and memory:
 *   X86_FLUSH_TLB         INVPCID, INVLPG: have KVM drop all translations of this vCPU
 *   X86_INTERRUPT_SHADOW  the last instruction was STI: no interrupt before the next one has been executed.
 * If it is not set after executed > 0, a shadow that KVM had before is over X86_WRITE_BACK        WBINVD,
 * WBNOINVD, INVD: nothing to do
 */
enum x86_effect {
	X86_FLUSH_TLB = 1u << 0,
	X86_INTERRUPT_SHADOW = 1u << 1,
	X86_WRITE_BACK = 1u << 2,
};

struct x86_unknown {
	uint8_t bytes[15];
	uint8_t length; /* of the instruction, or of what could be fetched of it if it cannot be decoded; 0:
			   not even the first byte is in RAM */
	char text[112]; /* disassembly, or why there is none; NUL-terminated */
};

struct x86_cpu {
	struct x86_state state; /* in and out */

	/* Results of x86_run(). */
	uint32_t stop;     /* enum x86_stop, what x86_run() returned */
	uint32_t executed; /* instructions completed (a REP form stopped by its bound counts as one) */
	uint32_t changed;  /* enum x86_part: what the caller has to set. Of X86_SREGS only the bases of fs and
			      gs  ever change, of X86_MSRS kernel_gs_base */
	uint32_t want;     /* enum x86_part */
	uint32_t effects;  /* enum x86_effect */
	uint32_t mnemonic; /* ZydisMnemonic of the first instruction, for statistics; 0: not decoded */
	struct x86_exception exception;
	struct x86_device_access device;
	struct x86_unknown unknown;

	/* In: device reads that were asked for and done. Any stop but X86_WANT_... sets it to 0. */
	uint32_t reads; /* valid entries of read[], at most X86_DEVICE_READS */
	uint32_t unused;
	struct x86_device_access read[X86_DEVICE_READS];

	struct x86_stores stores; /* out */
	struct x86_xstate xstate; /* in and out */
};

/* Where each component of the XSAVE state is: CPUID leaf 0xd. */
#define X86_XCOMPONENTS 20u
struct x86_xcomponent {
	uint16_t offset; /* in the standard format; 0: the component is not supported */
	uint16_t size;
	bool align;      /* on 64 bytes in the compacted format */
	bool supervisor; /* enabled by IA32_XSS, not by XCR0 */
};

/* For statistics: how often an instruction was completed. */
struct x86_count {
	uint64_t executed;
	char name[24]; /* mnemonic, NUL-terminated */
};

/* What all vCPUs have in common. */
struct x86_machine {
	const struct guest_memory *memory;
	struct x86_count *counts; /* [ZydisMnemonic]; NULL: not wanted */
	uint8_t physical_bits; /* MAXPHYADDR: page table bits from here to 51 are reserved. 32 to 52 */
	bool amd_branches;     /* 64-bit code obeys the operand size prefix in near branches */
	bool rdrand, rdseed;   /* the host has them; a guest's RDRAND is #UD without */
	struct x86_xcomponent xcomponent[X86_XCOMPONENTS];
};

/*
 * Fills in a machine as this host's processor is. A caller whose guest is told another width of physical
 * addresses sets physical_bits after that. Guest memory must stay mapped as long as the machine is used.
 */
void x86_machine_init(struct x86_machine *machine, const struct guest_memory *memory);

/* Fills in the names of the first n counts. */
void x86_count_names(struct x86_count *counts, unsigned n);

/*
 * Executes up to `budget` instructions (0 counts as 1), and returns why it stopped. Writes guest memory only
 * for accessed and dirty bits, which are idempotent, and for locked instructions (and XCHG) on RAM: these use
 * the host's atomics, are only executed as the first of a run, and end it.
 *
 * Which features the guest has is decided by the control registers and by the host: CPUID is not consulted
 * otherwise. Protection keys and shadow stacks are not enforced; hardware breakpoints are not looked at; the
 * single-step trap after an instruction that ends in X86_DEVICE_WRITE is left out. The PDPTEs of PAE paging
 * are read from memory each time. A locked access that crosses a cache line is X86_UNKNOWN.
 *
 * In a batch, after the first instruction, the run ends (X86_DONE) before an instruction that
 *   - stores to anything but the stack (implicit, or by rsp or rbp) or a gs-based address;
 *   - is locked, touches memory that is not RAM, would stop with X86_UNKNOWN or X86_WANT_STATE;
 *   - changes segments, control registers or XCR0, or invalidates translations or caches;
 * and after STI, POPF, a locked form, a REP form that is not finished, or when the log of stores is nearly
 * full.
 */
enum x86_stop x86_run(const struct x86_machine *machine, struct x86_cpu *cpu, unsigned budget);

/* Makes the stores of a log, in order. Entries that are not RAM, or too large, are left out. Aligned stores
 * of up to 8 bytes are atomic. Needs no more than the log and guest memory, so that any process can finish a
 * run whose log has been journaled. */
void x86_apply(const struct guest_memory *memory, const struct x86_stores *stores);

#endif
