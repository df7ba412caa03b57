/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both sides of tests/bench/attack.c: every processor counts, over and over, and before each count writes its
 * command, if it has one, to its chaos device. The commands, the counts and the ports are in a block of
 * memory at LOAD_BLOCK, which the benchmark reads and writes from outside through the guest's memory file: so
 * neither measuring nor steering costs the guest anything.
 *
 * cpus=K: processors there are. mask=M: those that take part; the others halt. command=C: what all begin
 * with. The nth that takes part uses the nth device, because two on one device would wait for each other.
 */
#include "chaos.h"
#include "irq.h"

#define TRAMPOLINE   0x8000ul    /* the SIPI's vector is the page number */
#define LOAD_BLOCK   0x9000ul    /* 4 KiB further: the trampoline reaches it from its segment */
#define ICR_INIT     0x000c4500u /* to all but self, level assert */
#define ICR_STARTUP  0x000c4600u
#define CYCLES_10_MS (1ull << 25) /* 11 ms at 3 GHz */
#define PROCESSORS   16u

/* As in tests/bench/attack.c. By the processor's number, which is its initial APIC id. */
struct load_block {
	uint32_t started; /* processors that take part and have begun */
	uint32_t unused[3];
	uint32_t command[PROCESSORS]; /* 0: only count */
	uint32_t count[PROCESSORS];
	uint32_t port[PROCESSORS]; /* 0: halt */
};

/* What the other processors run, in real mode, copied to a page below 1 MiB. Offsets: struct load_block. */
extern const char others_start[], others_end[];
__asm__(".pushsection .rodata\n"
	".code16\n"
	"others_start:\n"
	"	cli\n"
	"	movw %cs, %ax\n"
	"	movw %ax, %ds\n"
	"	movl $1, %eax\n" /* the initial APIC id: SDM vol. 2, CPUID, EBX 31:24 */
	"	cpuid\n"
	"	shrl $24, %ebx\n"
	"	andl $15, %ebx\n"
	"	shll $2, %ebx\n"
	"	movw 0x1090(%bx), %dx\n"
	"	testw %dx, %dx\n"
	"	jz 3f\n"
	"	lock incl 0x1000\n"
	"1:	movl 0x1010(%bx), %eax\n"
	"	testl %eax, %eax\n"
	"	jz 2f\n"
	"	outl %eax, %dx\n"
	"2:	incl 0x1050(%bx)\n"
	"	jmp 1b\n"
	"3:	hlt\n"
	"	jmp 3b\n"
	"others_end:\n"
	".code64\n"
	".popsection");

_Static_assert(__builtin_offsetof(struct load_block, command) == 0x10 &&
		       __builtin_offsetof(struct load_block, count) == 0x50 &&
		       __builtin_offsetof(struct load_block, port) == 0x90,
	       "offsets in the trampoline");

static void others_begin(void)
{
	uint64_t start;

	memcpy((void *)TRAMPOLINE, others_start, (size_t)(others_end - others_start));
	mmio_write32(LAPIC_BASE + LAPIC_ICR, ICR_INIT);
	for (start = rdtsc(); rdtsc() - start < CYCLES_10_MS;)
		barrier();
	mmio_write32(LAPIC_BASE + LAPIC_ICR, ICR_STARTUP | TRAMPOLINE >> 12);
}

unsigned guest_main(void)
{
	volatile struct load_block *block = (struct load_block *)LOAD_BLOCK;
	uint64_t cpus = option("cpus", 1), mask = option("mask", 1);
	uint32_t command = (uint32_t)option("command", 0), devices = 0;

	for (uint32_t i = 0; i < cpus && i < PROCESSORS; i++) {
		if (!(mask & 1u << i))
			continue;
		block->command[i] = command;
		block->port[i] = CHAOS_COMMAND + devices++ % CHAOS_DEVICES * CHAOS_PORTS;
	}
	interrupts_init();
	if (cpus > 1)
		others_begin();
	if (!block->port[0])
		for (;;)
			__asm__ volatile("cli; hlt");
	__asm__ volatile("lock incl %0" : "+m"(block->started));
	for (;;) {
		uint32_t mine = block->command[0];

		if (mine)
			outl((uint16_t)block->port[0], mine);
		__asm__ volatile("incl %0" : "+m"(block->count[0]));
	}
}
