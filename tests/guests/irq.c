/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "irq.h"

#define IOAPIC_BASE        0xfec00000ul
#define IOAPIC_SELECT      0x00
#define IOAPIC_WINDOW      0x10
#define IOAPIC_REDIRECTION 0x10 /* two registers a pin; 82093AA data sheet, 3.2.4 */

#define LVT_MASKED      0x10000
#define LVT_EXTINT      0x00700
#define SVR_ENABLE      0x100
#define SPURIOUS_VECTOR 0x1f /* low four bits set: some APICs hard-wire them */

#define PIC1 0x20 /* command; data is the next port */
#define PIC2 0xa0

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint16_t type; /* IST 0, 64-bit interrupt gate, present */
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};

extern const uint64_t interrupt_stubs[64];
volatile uint32_t interrupt_count[64];
static struct gate idt[64] __attribute__((aligned(16)));

void interrupt_handle(uint64_t vector, uint64_t error, uint64_t rip);
void interrupt_handle(uint64_t vector, uint64_t error, uint64_t rip)
{
	interrupt_count[vector]++;
	if (vector == SPURIOUS_VECTOR)
		return;
	if (vector < PIC_VECTOR) {
		puts("\nexception ");
		putdec(vector);
		puts(", error code 0x");
		puthex(error, 8);
		puts(", at 0x");
		puthex(rip, 16);
		puts("\n");
		guest_exit(254);
	}
	if (vector < IOAPIC_VECTOR)
		outb(PIC1, 0x20); /* non-specific EOI; only IRQ 0 to 7 are ever used */
	else
		mmio_write32(LAPIC_BASE + LAPIC_EOI, 0);
}

static void ioapic_write(uint32_t index, uint32_t value)
{
	mmio_write32(IOAPIC_BASE + IOAPIC_SELECT, index);
	mmio_write32(IOAPIC_BASE + IOAPIC_WINDOW, value);
}

void interrupts_init(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} pointer = {sizeof(idt) - 1, (uint64_t)idt};

	for (unsigned i = 0; i < 64; i++)
		idt[i] = (struct gate){
			.offset_low = (uint16_t)interrupt_stubs[i],
			.selector = 0x08,
			.type = 0x8e00,
			.offset_middle = (uint16_t)(interrupt_stubs[i] >> 16),
		};
	__asm__ volatile("lidt %0" ::"m"(pointer));
	pic_disable();
	for (unsigned gsi = 0; gsi < IOAPIC_PINS; gsi++)
		ioapic_write(IOAPIC_REDIRECTION + 2 * gsi, LVT_MASKED);
	mmio_write32(LAPIC_BASE + LAPIC_SVR, SVR_ENABLE | SPURIOUS_VECTOR);
}

void pic_enable(unsigned irq)
{
	outb(PIC1, 0x11); /* ICW1: edge-triggered, cascade, ICW4 follows */
	outb(PIC1 + 1, PIC_VECTOR);
	outb(PIC1 + 1, 0x04); /* ICW3: the slave is on line 2 */
	outb(PIC1 + 1, 0x01); /* ICW4: 8086 mode */
	outb(PIC2, 0x11);
	outb(PIC2 + 1, PIC_VECTOR + 8);
	outb(PIC2 + 1, 0x02);
	outb(PIC2 + 1, 0x01);
	outb(PIC1 + 1, (uint8_t) ~(1u << irq));
	outb(PIC2 + 1, 0xff);
	mmio_write32(LAPIC_BASE + LAPIC_LINT0, LVT_EXTINT);
}

void pic_disable(void)
{
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
	mmio_write32(LAPIC_BASE + LAPIC_LINT0, LVT_MASKED);
}

void ioapic_enable(unsigned gsi)
{
	ioapic_write(IOAPIC_REDIRECTION + 2 * gsi + 1, mmio_read32(LAPIC_BASE + LAPIC_ID) & 0xff000000);
	ioapic_write(IOAPIC_REDIRECTION + 2 * gsi, IOAPIC_VECTOR + gsi);
}

uint32_t ioapic_arrivals(void)
{
	uint32_t sum = 0;

	for (unsigned gsi = 0; gsi < IOAPIC_PINS; gsi++)
		if (gsi != COM1_IRQ)
			sum += interrupt_count[IOAPIC_VECTOR + gsi];
	return sum;
}
