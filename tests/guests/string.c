/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions on ports and on device memory: counts around the sizes at which KVM and the mailbox
 * batch, every width, both directions of DF. Order shows on the console and in the UART's loopback FIFO; the
 * bytes around a destination show that not one too many was stored.
 */
#include "virtio.h"

#define GUARD 0x99

static uint8_t buffer[4 * 1030 + 16];
static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";

/* REP INS and REP OUTS of one width, with DF as `direction` (cld, std) says. C code wants it clear. */
#define DEFINE_STRING_IO(name, suffix, direction)                                                            \
	static void ins##name(uint16_t port, void *to, uint64_t count)                                       \
	{                                                                                                    \
		__asm__ volatile(direction "; rep ins" suffix "; cld"                                        \
				 : "+D"(to), "+c"(count)                                                     \
				 : "d"(port)                                                                 \
				 : "memory");                                                                \
		check_eq(count, 0);                                                                          \
	}                                                                                                    \
	static void outs##name(uint16_t port, const void *from, uint64_t count)                              \
	{                                                                                                    \
		__asm__ volatile(direction "; rep outs" suffix "; cld"                                       \
				 : "+S"(from), "+c"(count)                                                   \
				 : "d"(port)                                                                 \
				 : "memory");                                                                \
		check_eq(count, 0);                                                                          \
	}
DEFINE_STRING_IO(b, "b", "cld")
DEFINE_STRING_IO(w, "w", "cld")
DEFINE_STRING_IO(l, "l", "cld")
DEFINE_STRING_IO(b_down, "b", "std")

/* REP MOVSL, also up or down. */
#define DEFINE_MOVS(name, direction)                                                                         \
	static void name(void *to, const void *from, uint64_t count)                                         \
	{                                                                                                    \
		__asm__ volatile(direction "; rep movsl; cld"                                                \
				 : "+D"(to), "+S"(from), "+c"(count)::"memory");                             \
		check_eq(count, 0);                                                                          \
	}
DEFINE_MOVS(movsl, "cld")
DEFINE_MOVS(movsl_down, "std")

static bool filled(const uint8_t *at, uint8_t value, size_t len)
{
	bool equal = true;

	__asm__ volatile("repe scasb" : "=@ccz"(equal), "+D"(at), "+c"(len) : "a"(value) : "memory");
	return equal;
}

static void check_ins(void)
{
	static const uint16_t counts[] = {1, 2, 63, 64, 65, 1000, 1024, 1025};

	outb(COM1_SCR, 0x6b);
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		size_t count = counts[i];

		memset(buffer, GUARD, count + 16);
		insb(COM1_SCR, buffer + 8, count);
		check(filled(buffer, GUARD, 8));
		check(filled(buffer + 8, 0x6b, count));
		check(filled(buffer + 8 + count, GUARD, 8));
	}
	memset(buffer, GUARD, 16);
	insb(COM1_SCR, buffer, 0);
	check(filled(buffer, GUARD, 16));

	/* 16 and 32 bits wide: the scratch register is the highest byte of each element. */
	memset(buffer, GUARD, 2 * 65 + 16);
	insw(COM1_MSR, buffer + 8, 65);
	check_eq(buffer[7], GUARD);
	for (unsigned i = 0; i < 65; i += 8)
		check_eq(buffer[8 + 2 * i + 1], 0x6b);
	check(filled(buffer + 8 + 2 * 65, GUARD, 8));
	memset(buffer, GUARD, 4 * 1025 + 16);
	insl(COM1_MCR, buffer + 8, 1025);
	check_eq(buffer[7], GUARD);
	check_eq(buffer[8 + 3], 0x6b);
	check_eq(buffer[8 + 4 * 1024 + 3], 0x6b);
	check(filled(buffer + 8 + 4 * 1025, GUARD, 8));

	memset(buffer, 0, 4 * 17 + 1);
	insl(OPEN_PORT, buffer, 17);
	check(filled(buffer, 0xff, 4 * 17));
	check_eq(buffer[4 * 17], 0);
}

static void check_outs(void)
{
	for (unsigned i = 0; i < 256; i++)
		buffer[i] = (uint8_t)i;
	for (unsigned count = 1; count <= 66; count = count < 62 ? 62 : count + 1) {
		outsb(COM1_SCR, buffer, count);
		check_eq(inb(COM1_SCR), count - 1);
	}
	/* Ends with the last element's highest byte in the scratch register; the line status, in
	 * between, cannot be written, and the modem control register gets 0. */
	memset(buffer, 0, 4 * 65);
	buffer[2 * 33 - 1] = 0x21;
	outsw(COM1_MSR, buffer, 33);
	check_eq(inb(COM1_SCR), 0x21);
	buffer[4 * 65 - 1] = 0x42;
	outsl(COM1_MCR, buffer, 65);
	check_eq(inb(COM1_SCR), 0x42);
	outsl(OPEN_PORT, buffer, 1025);
}

/* 1027 characters, so that every boundary is crossed in the middle of a line of 37. */
static void print_many(void)
{
	for (unsigned i = 0; i < 1027; i++)
		buffer[i] = i % 37 == 36 ? '\n' : (uint8_t)letters[i % 37];
	buffer[1026] = '\n';
	outsb(COM1_THR, buffer, 1027);
}

/* DF set: addresses go down. The loopback FIFO gives back 16 bytes in order. */
static void check_backwards(void)
{
	static const char forwards[] = "0123456789abcdef", backwards[] = "fedcba9876543210";

	outb(COM1_FCR, 0x07); /* enable and clear both FIFOs */
	outb(COM1_MCR, MCR_LOOP);
	outsb(COM1_THR, forwards, 16);
	memset(buffer, GUARD, 32);
	insb_down(COM1_RBR, buffer + 8 + 15, 16);
	check(same(buffer + 8, backwards, 16));
	check_eq(buffer[7], GUARD);
	check_eq(buffer[24], GUARD);
	check_eq(inb(COM1_LSR) & LSR_DATA, 0);
	outb(COM1_MCR, 0);
	outb(COM1_FCR, 0);

	outsb_down(COM1_THR, &"\nsdrawkcab"[9], 10);
}

static void check_movs(const struct virtio *d)
{
	uint64_t capacity = option("sectors", 8192);
	uint32_t words[66], magic_version_id[3] = {VIRTIO_MAGIC, 2, VIRTIO_ID_BLOCK};

	memset(words, GUARD, sizeof(words));
	movsl(words, (void *)d->base, 3); /* device to memory */
	check(same(words, magic_version_id, sizeof(magic_version_id)));
	check_eq(words[3], 0x99999999);
	memcpy(words, (void *)(d->base + VIRTIO_CONFIG), 8); /* byte by byte */
	check(same(words, &capacity, 8));

	words[0] = STATUS_ACKNOWLEDGE; /* memory to device */
	movsl((void *)(d->base + VIRTIO_STATUS), words, 1);
	check_eq(virtio_read(d, VIRTIO_STATUS), STATUS_ACKNOWLEDGE);
	movsl((void *)OPEN_MMIO, words, 65);

	movsl((void *)(d->base + VIRTIO_QUEUE_SEL), (void *)(d->base + VIRTIO_STATUS),
	      1);                                          /* device to device */
	check_eq(virtio_read(d, VIRTIO_QUEUE_NUM_MAX), 0); /* of queue 1, which does not exist */
	virtio_write(d, VIRTIO_STATUS, 0);

	movsl_down(words + 2, (void *)(d->base + VIRTIO_DEVICE_ID), 3);
	check(same(words, magic_version_id, sizeof(magic_version_id)));

	if (option("qemu", 0))
		return;
	movsl(words, (void *)OPEN_MMIO, 65);
	check(filled((uint8_t *)words, 0xff, sizeof(uint32_t[65])));
}

unsigned guest_main(void)
{
	struct virtio d;

	check_ins();
	check_outs();
	print_many();
	check_backwards();
	check(virtio_find(&d, VIRTIO_ID_BLOCK, 0));
	check_movs(&d);
	puts("string: done\n");
	return 0;
}
