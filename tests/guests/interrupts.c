/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UART's "transmitter empty" interrupt, first through the 8259s, then through the I/O APIC. */
#include "irq.h"

#define IER_THRE 0x02
#define IIR_NONE 0x01
#define IIR_THRE 0x02
#define IIR_ID   0x0f

/* Two interrupts, one for enabling it and one for a byte sent; `vector` says where they arrive. */
static void check_transmitter(unsigned vector)
{
	interrupts_off();
	check_eq(interrupt_count[vector], 0);
	outb(COM1_MCR, MCR_OUT2);
	outb(COM1_IER, IER_THRE);
	interrupts_on();
	check(wait_until(interrupt_count[vector] == 1));
	check_eq(inb(COM1_IIR) & IIR_ID, IIR_THRE);
	check_eq(inb(COM1_IIR) & IIR_ID, IIR_NONE); /* reading it is the acknowledgement */
	check_eq(interrupt_count[vector], 1);

	interrupts_off();
	outb(COM1_THR, '.');
	while (interrupt_count[vector] < 2)
		interrupt_wait();
	check_eq(inb(COM1_IIR) & IIR_ID, IIR_THRE);

	outb(COM1_IER, 0);
	outb(COM1_THR, '.');
	check_eq(inb(COM1_IIR) & IIR_ID, IIR_NONE);
	check_eq(interrupt_count[vector], 2);
}

unsigned guest_main(void)
{
	interrupts_init();
	pic_enable(COM1_IRQ);
	check_transmitter(PIC_VECTOR + COM1_IRQ);
	pic_disable();
	ioapic_enable(COM1_IRQ);
	check_transmitter(IOAPIC_VECTOR + COM1_IRQ);
	puts("\ninterrupts: done\n");
	return 0;
}
