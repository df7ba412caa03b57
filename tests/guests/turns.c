/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two processors print in turns, and say through memory whose turn it is: what one has sent is out before
 * what the other sends. The last to print is not the one that ends the run. turns=N (default 50).
 */
#include "irq.h"

#define TRAMPOLINE   0x8000ul    /* the SIPI's vector is the page number */
#define ICR_INIT     0x000c4500u /* to all but self, level assert */
#define ICR_STARTUP  0x000c4600u
#define CYCLES_10_MS (1ull << 25) /* 11 ms at 3 GHz */

/* What the other one runs, in real mode: "bc", whenever `turn`, the last word, is 1. */
extern const char other_start[], other_end[];
__asm__(".pushsection .rodata\n"
	".code16\n"
	"other_start:\n"
	"	cli\n"
	"	movw %cs, %ax\n"
	"	movw %ax, %ds\n"
	"	movw $0x3f8, %dx\n"
	"1:	cmpl $1, other_end - other_start - 4\n"
	"	jne 1b\n"
	"	movb $'b', %al\n"
	"	outb %al, %dx\n"
	"	movb $'c', %al\n"
	"	outb %al, %dx\n"
	"	movl $0, other_end - other_start - 4\n"
	"	jmp 1b\n"
	"	.balign 4\n"
	"	.long 0\n"
	"other_end:\n"
	".code64\n"
	".popsection");

unsigned guest_main(void)
{
	size_t size = (size_t)(other_end - other_start);
	volatile uint32_t *turn = (volatile uint32_t *)(TRAMPOLINE + size - sizeof(uint32_t));
	uint64_t turns = option("turns", 50), start;

	interrupts_init();
	memcpy((void *)TRAMPOLINE, other_start, size);
	mmio_write32(LAPIC_BASE + LAPIC_ICR, ICR_INIT);
	for (start = rdtsc(); rdtsc() - start < CYCLES_10_MS;)
		barrier();
	mmio_write32(LAPIC_BASE + LAPIC_ICR, ICR_STARTUP | TRAMPOLINE >> 12);
	while (turns--) {
		outb(COM1_THR, 'a');
		*turn = 1;
		check(wait_until(*turn == 0));
	}
	return 0;
}
