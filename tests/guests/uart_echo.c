/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Echoes what is typed: the first line by polling, the rest by interrupts, up to a 'q'. */
#include "irq.h"

#define IER_DATA 0x01
#define MCR_DTR  0x01
#define MCR_RTS  0x02 /* "request to send": the other end may */

unsigned guest_main(void)
{
	char c;

	outb(COM1_MCR, MCR_DTR | MCR_RTS);
	do {
		while (!(inb(COM1_LSR) & LSR_DATA))
			__asm__ volatile("pause");
		c = (char)inb(COM1_RBR);
		putchar(c);
	} while (c != '\n');

	interrupts_init();
	ioapic_enable(COM1_IRQ);
	outb(COM1_MCR, MCR_DTR | MCR_RTS | MCR_OUT2);
	outb(COM1_IER, IER_DATA);
	for (;;) {
		uint32_t seen = interrupt_count[IOAPIC_VECTOR + COM1_IRQ];

		/* Take all there is, and only then sleep: the line is edge-triggered. */
		while (inb(COM1_LSR) & LSR_DATA) {
			c = (char)inb(COM1_RBR);
			if (c == 'q') {
				interrupts_on(); /* one at least has come, even if there was never a need to
						    wait */
				check(wait_until(interrupt_count[IOAPIC_VECTOR + COM1_IRQ]));
				puts("\necho: done\n");
				return 0;
			}
			putchar(c);
		}
		if (seen == interrupt_count[IOAPIC_VECTOR + COM1_IRQ])
			interrupt_wait();
	}
}
