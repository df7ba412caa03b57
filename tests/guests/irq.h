/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts for payloads: an IDT that counts, the two 8259s, the I/O APIC and the local APIC. */
#ifndef GUEST_IRQ_H
#define GUEST_IRQ_H

#include "lib.h"

#define PIC_VECTOR    0x20 /* IRQ n arrives at PIC_VECTOR + n */
#define IOAPIC_VECTOR 0x28 /* GSI n arrives at IOAPIC_VECTOR + n */
#define IOAPIC_PINS   24

#define LAPIC_BASE     0xfee00000ul
#define LAPIC_ID       0x020 /* SDM vol. 3, table 11-1 */
#define LAPIC_EOI      0x0b0
#define LAPIC_SVR      0x0f0
#define LAPIC_ICR      0x300
#define LAPIC_ICR_HIGH 0x310
#define LAPIC_LINT0    0x350

/* How often each vector has arrived. An exception is fatal: it is printed and the run ends with 254. */
extern volatile uint32_t interrupt_count[64];

/* Loads the IDT, switches the local APIC on and masks every line. */
void interrupts_init(void);

/* Routes all 16 lines of the 8259s, of which `irq` alone is unmasked, through LINT0. */
void pic_enable(unsigned irq);
void pic_disable(void);

/* Unmasks one pin of the I/O APIC: edge-triggered, active high, to this processor. */
void ioapic_enable(unsigned gsi);

/* Interrupts that have arrived on any pin of the I/O APIC, other than the UART's. */
uint32_t ioapic_arrivals(void);

#endif
