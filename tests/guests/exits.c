/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port and memory accesses of every size and direction: to registers that a device claims, to addresses that
 * nobody claims, to 8-bit devices with wider accesses, and across the end of a window. Needs a virtio-blk
 * device.
 */
#include "virtio.h"

static void check_ports(void)
{
	outb(COM1_SCR, 0x5a);
	check_eq(inb(COM1_SCR), 0x5a);
	outb(COM1_SCR, 0xa5);
	check_eq(inb(COM1_SCR), 0xa5);
	__asm__ volatile(
		"outb %%al, $0x80" ::"a"(0)); /* immediate port; unclaimed on a PC without POST card */

	/* An ISA bus splits what is too wide for an 8-bit card, lowest address first. */
	outw(COM1_MSR, 0x3c00);
	check_eq(inb(COM1_SCR), 0x3c);
	outl(COM1_MCR, 0xc3000003);
	check_eq(inb(COM1_SCR), 0xc3);
	check_eq(inb(COM1_MCR), 0x03);
	check_eq(inw(COM1_MSR) >> 8, 0xc3);
	check_eq(inl(COM1_MCR) >> 24, 0xc3);
	check_eq(inl(COM1_MCR) & 0xff, 0x03);
	outb(COM1_MCR, 0);
}

static void check_open_ports(void)
{
	outb(OPEN_PORT, 0x12);
	outw(OPEN_PORT, 0x1234);
	outl(OPEN_PORT, 0x12345678);
	check_eq(inb(OPEN_PORT), 0xff);
	check_eq(inw(OPEN_PORT), 0xffff);
	check_eq(inl(OPEN_PORT), 0xffffffff);
	check_eq(inb(0xffff), 0xff);
	if (!option("qemu", 0)) /* there, an unaligned access is invalid and reads as 0 */
		check_eq(inw(OPEN_PORT + 1), 0xffff);
}

/* The last port of the UART and those behind it. */
static void check_port_window(void)
{
	outw(COM1_SCR, 0x0077);
	check_eq(inb(COM1_SCR), 0x77);
	check_eq(inw(COM1_SCR), 0xff77);
	outl(COM1_SCR, 0x88);
	check_eq(inl(COM1_SCR), 0xffffff88);
	check_eq(inl(COM1 - 4), 0xffffffff);
}

static void check_mmio(const struct virtio *d)
{
	uint64_t capacity = option("sectors", 8192), config = d->base + VIRTIO_CONFIG;
	uint32_t flags;

	check_eq(mmio_read32(d->base + VIRTIO_MAGIC_VALUE), VIRTIO_MAGIC);

	/* Configuration space may be read with any width (virtio 1.2, 4.2.2.2). */
	for (unsigned i = 0; i < 8; i++)
		check_eq(mmio_read8(config + i), capacity >> 8 * i & 0xff);
	for (unsigned i = 0; i < 8; i += 2)
		check_eq(mmio_read16(config + i), capacity >> 8 * i & 0xffff);
	check_eq(mmio_read32(config), capacity & 0xffffffff);
	check_eq(mmio_read32(config + 4), capacity >> 32);
	check_eq(mmio_read64(config), capacity);

	/* The capacity is read-only, whatever the width. */
	mmio_write8(config, 0x55);
	mmio_write16(config, 0x5555);
	mmio_write32(config, 0x55555555);
	mmio_write64(config, 0x5555555555555555);
	check_eq(mmio_read64(config), capacity);

	/* A register that keeps what is written. Control registers want 32 bits; any other width does
	 * whatever the device likes, but it ends. */
	mmio_write32(d->base + VIRTIO_STATUS, 0);
	mmio_write32(d->base + VIRTIO_STATUS, STATUS_ACKNOWLEDGE);
	check_eq(mmio_read32(d->base + VIRTIO_STATUS), STATUS_ACKNOWLEDGE);
	mmio_write8(d->base + VIRTIO_QUEUE_SEL, 1);
	mmio_write16(d->base + VIRTIO_QUEUE_SEL, 1);
	mmio_write64(d->base + VIRTIO_QUEUE_SEL, 1);
	mmio_read8(d->base + VIRTIO_MAGIC_VALUE);
	mmio_read16(d->base + VIRTIO_MAGIC_VALUE);
	mmio_read64(d->base + VIRTIO_MAGIC_VALUE);
	mmio_read32(d->base + VIRTIO_MAGIC_VALUE + 2); /* unaligned */

	/* Instructions other than MOV: compare with memory, read-modify-write, push, sign extension. */
	__asm__ volatile("cmpl %2, %1"
			 : "=@ccz"(flags)
			 : "m"(*(volatile uint32_t *)d->base), "r"(VIRTIO_MAGIC));
	check_eq(flags, 1);
	__asm__ volatile("orl %1, %0"
			 : "+m"(*(volatile uint32_t *)(d->base + VIRTIO_STATUS))
			 : "i"(STATUS_DRIVER));
	check_eq(mmio_read32(d->base + VIRTIO_STATUS), STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	__asm__ volatile("pushq %1; popq %0" : "=r"(capacity) : "m"(*(volatile uint64_t *)config));
	check_eq(capacity, option("sectors", 8192));
	__asm__ volatile("movsbl %1, %0" : "=r"(flags) : "m"(*(volatile uint8_t *)(config + 1)));
	check_eq(flags, (uint32_t)(int8_t)(capacity >> 8));
	mmio_write32(d->base + VIRTIO_STATUS, 0);
}

static void check_open_mmio(void)
{
	uint64_t beyond = virtio_slot(31);

	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = i ? OPEN_MMIO : beyond;

		mmio_write8(at, 0);
		mmio_write16(at, 0);
		mmio_write32(at, 0);
		mmio_write64(at, 0);
		check_eq(mmio_read8(at), 0xff);
		check_eq(mmio_read16(at), 0xffff);
		check_eq(mmio_read32(at), 0xffffffff);
		check_eq(mmio_read64(at), ~0ull);
		check_eq(mmio_read32(at + 1), 0xffffffff); /* unaligned */
	}
}

/* The last bytes of the last virtio window and those behind it: KVM splits an access at the page's end. */
static void check_mmio_window(void)
{
	unsigned slots = 0;
	uint64_t end;

	while (mmio_read32(virtio_slot(slots)) == VIRTIO_MAGIC)
		slots++;
	end = virtio_slot(slots);
	check(slots > 0);
	check_eq(mmio_read64(end - 4) >> 32, 0xffffffff);
	check_eq(mmio_read32(end - 2) >> 16, 0xffff);
	mmio_write64(end - 4, 0);
	mmio_write32(end - 2, 0);
	check_eq(mmio_read32(virtio_slot(slots - 1)), VIRTIO_MAGIC);
	if (slots > 1) /* and into the window of the next device */
		check_eq(mmio_read64(virtio_slot(1) - 4) >> 32, VIRTIO_MAGIC);
}

unsigned guest_main(void)
{
	struct virtio d;

	check_ports();
	check_open_ports();
	check(virtio_find(&d, VIRTIO_ID_BLOCK, 0));
	check_mmio(&d);
	if (!option("qemu",
		    0)) { /* QEMU: unclaimed memory reads as 0, and windows are not split at their end */
		check_port_window();
		check_open_mmio();
		check_mmio_window();
	}
	puts("exits: done\n");
	return 0;
}
