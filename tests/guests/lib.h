/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the payload guests share. A payload is one C file with guest_main(); it runs alone on the machine, in
 * long mode at CPL 0, with the first 4 GiB identity-mapped and interrupts off. Its result is what it prints
 * on COM1 and the value it leaves at the debug-exit port: 0 for success, else the number of the check that
 * failed.
 *
 * Where KVM emulates ring 0 an instruction costs about a microsecond, and it must be one that KVM's emulator
 * knows: keep payloads to some thousand plain integer instructions.
 */
#ifndef GUEST_LIB_H
#define GUEST_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COM1              0x3f8
#define COM1_RBR          (COM1 + 0) /* 16550 data sheet, table of registers */
#define COM1_THR          (COM1 + 0)
#define COM1_IER          (COM1 + 1)
#define COM1_IIR          (COM1 + 2)
#define COM1_FCR          (COM1 + 2)
#define COM1_LCR          (COM1 + 3)
#define COM1_MCR          (COM1 + 4)
#define COM1_LSR          (COM1 + 5)
#define COM1_MSR          (COM1 + 6)
#define COM1_SCR          (COM1 + 7)
#define LSR_DATA          0x01
#define LSR_THRE          0x20
#define MCR_LOOP          0x10
#define MCR_OUT2          0x08 /* on a PC: lets the chip's interrupt reach the interrupt controller */
#define COM1_IRQ          4
#define DEBUG_EXIT        0xf4
#define ACPI_PM1A_CONTROL 0x604
#define OPEN_PORT         0x5000       /* 16 ports that no device claims */
#define OPEN_MMIO         0xd8000000ul /* 64 KiB that no device claims */

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

/* Device registers: exactly one access of the type's size, by a plain MOV. */
#define DEFINE_MMIO(name, type)                                                                              \
	static inline type mmio_read##name(uint64_t gpa)                                                     \
	{                                                                                                    \
		type v;                                                                                      \
		__asm__ volatile("mov %1, %0" : "=r"(v) : "m"(*(volatile type *)gpa));                       \
		return v;                                                                                    \
	}                                                                                                    \
	static inline void mmio_write##name(uint64_t gpa, type v)                                            \
	{                                                                                                    \
		__asm__ volatile("mov %1, %0" : "=m"(*(volatile type *)gpa) : "r"(v) : "memory");            \
	}
DEFINE_MMIO(8, uint8_t)
DEFINE_MMIO(16, uint16_t)
DEFINE_MMIO(32, uint32_t)
DEFINE_MMIO(64, uint64_t)

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

static inline void barrier(void)
{
	__asm__ volatile("" ::: "memory");
}
static inline void interrupts_on(void)
{
	__asm__ volatile("sti" ::: "memory");
}
static inline void interrupts_off(void)
{
	__asm__ volatile("cli" ::: "memory");
}

/* Halts until an interrupt; call with interrupts off. STI's shadow closes the gap before HLT. */
static inline void interrupt_wait(void)
{
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

/* Waits up to some seconds for a condition; true if it came true. */
#define WAIT_CYCLES (1ull << 34)
#define wait_until(condition)                                                                                \
	({                                                                                                   \
		uint64_t wait_start = rdtsc();                                                               \
		bool wait_met;                                                                               \
		while (!(wait_met = (condition)) && rdtsc() - wait_start < WAIT_CYCLES)                      \
			__asm__ volatile("pause" ::: "memory");                                              \
		wait_met;                                                                                    \
	})

/* The start of day: what the loader told us (Xen public/arch-x86/hvm/start_info.h). */
struct hvm_start_info {
	uint32_t magic; /* 0x336ec578 */
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr; /* from version 1 on */
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct hvm_memmap_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type; /* as in e820; 1: RAM */
	uint32_t reserved;
};

extern const struct hvm_start_info *start_info;

/* The payload. The return value goes to the debug-exit port. */
unsigned guest_main(void);

/* Ends the run with a value at the debug-exit port. */
__attribute__((noreturn)) void guest_exit(unsigned value);

/* COM1, polled. */
void putchar(char c);
void puts(const char *s); /* no newline is added */
void puthex(uint64_t v, unsigned digits);
void putdec(uint64_t v);

/* NAME=VALUE on the command line, or the default; a bare NAME is 1. Numbers are decimal or 0x... */
uint64_t option(const char *name, uint64_t otherwise);
/* Whether NAME=VALUE is there, with this text as its value. */
bool option_is(const char *name, const char *value);

void *memset(void *to, int byte, size_t len);
void *memcpy(void *to, const void *from, size_t len);
bool same(const void *a, const void *b, size_t len); /* len > 0 */

/* Checks are numbered in order of execution. One that fails prints what was found and ends the run. */
void check_equal(uint64_t got, uint64_t want, const char *what, unsigned line);
#define check_eq(got, want) check_equal((got), (want), #got, __LINE__)
#define check(condition)    check_equal((condition) ? 1 : 0, 1, #condition, __LINE__)

#endif
