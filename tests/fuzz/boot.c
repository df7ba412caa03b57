/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: kernel images (bzImage, ELF with a PVH entry) and an initrd, read by the boot loader.
 *
 * The input: one byte of flags, one for the initrd's size, then the kernel file.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/boot.h"

#define RAM_BYTES (8ull << 20)

static int file_of(int *fd, const void *bytes, size_t size)
{
	if (!*fd)
		*fd = memfd_create("fuzz", MFD_CLOEXEC);
	fuzz_require(*fd > 0 && ftruncate(*fd, 0) == 0);
	fuzz_require(pwrite(*fd, bytes, size, 0) == (ssize_t)size);
	return *fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t initrd[256 * 16];
	static uint8_t *ram;
	static int kernel_fd, initrd_fd;
	struct input in = {data, size};
	const uint8_t flags = input_u8(&in), initrd_size = input_u8(&in);
	const uint64_t ram_bytes = flags & 2 ? 2ull << 20 : RAM_BYTES;
	struct boot_files files = {.initrd.fd = -1, .cmdline = flags & 4 ? "console=ttyS0" : NULL};
	struct guest_memory mem = {{{.size = ram_bytes}}};
	struct boot_entry entry = {0};
	char error[BOOT_ERROR_BYTES];
	int r;

	if (!ram)
		fuzz_require(ram = malloc(RAM_BYTES));
	mem.seg[0].host = ram + (RAM_BYTES - ram_bytes); /* its end is the allocation's */
	files.kernel = (struct boot_file){file_of(&kernel_fd, in.at, in.left), "kernel"};
	if (flags & 1)
		files.initrd = (struct boot_file){file_of(&initrd_fd, initrd, initrd_size * 16u), "initrd"};
	r = boot_load(&mem, ram_bytes, &files, 0xe0000, &entry, error);
	fuzz_require(r <= 0 && memchr(error, '\0', sizeof(error)) && !*error == !r);
	if (r == 0)
		fuzz_require(entry.rip < ram_bytes && guest_memory_range(&mem, entry.params_gpa, 1));
	return 0;
}
