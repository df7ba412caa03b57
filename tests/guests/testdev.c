/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's test devices, as --testdev has them; under QEMU itself with -device pc-testdev and isa-debug-exit.
 */
#include "irq.h"

#define REGISTER  0xe0
#define BYTES     0xe8
#define LINES     0x2000
#define MEMORY    0xff000000ul
#define FW_SELECT 0x510
#define FW_DATA   0x511
#define LINE      11

static uint64_t fw_cfg(uint16_t item, unsigned bytes)
{
	uint64_t value = 0;

	outw(FW_SELECT, item);
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)inb(FW_DATA) << 8 * i;
	return value;
}

static void check_register(void)
{
	outl(REGISTER, 0x12345678);
	check_eq(inl(REGISTER), 0x12345678);
	check_eq(inw(REGISTER + 2), 0x1234);
	check_eq(inb(REGISTER + 1), 0x56);
	outb(REGISTER + 3, 0xab);
	outw(BYTES, 0xcdef);
	check_eq(inl(REGISTER), 0xab34cdef);
	check_eq(inl(BYTES), 0xab34cdef);
}

static void check_memory(void)
{
	mmio_write64(MEMORY, 0x1122334455667788);
	mmio_write32(MEMORY + 0xfffc, 0x99aabbcc);
	check_eq(mmio_read64(MEMORY), 0x1122334455667788);
	check_eq(mmio_read16(MEMORY + 2), 0x5566);
	check_eq(mmio_read8(MEMORY + 0xffff), 0x99);
}

/* One interrupt for each time the line goes up. */
static void check_line(void)
{
	volatile uint32_t *count = &interrupt_count[IOAPIC_VECTOR + LINE];

	interrupts_init();
	ioapic_enable(LINE);
	interrupts_on();
	for (uint32_t i = 1; i <= 3; i++) {
		outb(LINES + LINE, 1);
		check(wait_until(*count == i));
		if (!option("qemu", 0)) /* its own I/O APIC takes each of these for an edge; KVM's does not */
			outb(LINES + LINE, 1);
		outb(LINES + LINE, 0);
		check_eq(*count, i);
	}
	interrupts_off();
}

unsigned guest_main(void)
{
	check_register();
	check_memory();
	check_line();
	check_eq(fw_cfg(0, 4), 0x554d4551); /* QEMU */
	check_eq(fw_cfg(3, 8), option("mem", 0) << 20);
	check_eq(fw_cfg(5, 2), option("cpus", 0));
	puts("testdev: done\n");
	return 5;
}
