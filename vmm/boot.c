/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: look at the first bytes of the file, hand it to the loader of its kind, and provide
 * what both loaders need: the command line in low memory, and the initrd as high as it may be.
 */
#include "vmm/boot.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "emulator/machine.h"
#include "vmm/boot_internal.h"

#define PAGE_MASK 4095ull

int boot_put_cmdline(struct boot *b, uint64_t max)
{
	const char *cmdline = b->files->cmdline ? b->files->cmdline : "";
	uint64_t len = strlen(cmdline);

	if (max > BOOT_CMDLINE_MAX)
		max = BOOT_CMDLINE_MAX;
	if (len > max)
		return boot_fail(b, E2BIG, "--cmdline",
				 "%llu characters, but this kernel takes at most %llu: shorten it",
				 (unsigned long long)len, (unsigned long long)max);
	return boot_put(b, BOOT_CMDLINE_GPA, cmdline, len + 1);
}

int boot_put_initrd(struct boot *b, uint64_t floor, uint64_t limit)
{
	const struct boot_file *file = &b->files->initrd;
	uint64_t bytes;
	int r;

	b->initrd_gpa = b->initrd_bytes = 0;
	if (file->fd < 0)
		return 0;
	r = boot_file_size(b, file, &bytes);
	if (r < 0)
		return r;
	if (limit > b->low_end)
		limit = b->low_end;
	floor = (floor + PAGE_MASK) & ~PAGE_MASK; /* floor is in RAM below 4 GiB: no overflow */
	limit &= ~PAGE_MASK;
	if (floor > limit || bytes > limit - floor) {
		if (limit < b->low_end || bytes > MMIO_HOLE_START - floor)
			return boot_fail(b, ENOMEM, file->name,
					 "%llu MiB of initrd cannot be placed where this kernel looks for "
					 "it: make it smaller",
					 (unsigned long long)(bytes / MIB));
		return boot_fail(
			b, ENOMEM, file->name,
			"the initrd does not fit in memory behind the kernel: give --mem %lluM or more",
			(unsigned long long)((floor + bytes + PAGE_MASK + MIB - 1) / MIB));
	}
	b->initrd_gpa = (limit - bytes) & ~PAGE_MASK;
	b->initrd_bytes = bytes;
	return boot_file_load(b, file, 0, b->initrd_gpa, bytes);
}

int boot_load(const struct guest_memory *mem, uint64_t ram_bytes, const struct boot_files *files,
	      uint64_t rsdp_gpa, struct boot_entry *entry, char error[BOOT_ERROR_BYTES])
{
	struct boot b = {
		.mem = mem,
		.files = files,
		.ram_bytes = ram_bytes,
		.low_end = ram_bytes < MMIO_HOLE_START ? ram_bytes : MMIO_HOLE_START,
		.rsdp_gpa = rsdp_gpa,
		.error = error,
	};
	char magic[SELFMAG];
	int r;

	error[0] = '\0';
	if (ram_bytes < 2 * MIB)
		return boot_fail(&b, ENOMEM, "--mem", "%llu KiB: a guest needs 2M at the very least",
				 (unsigned long long)(ram_bytes >> 10));
	r = boot_file_size(&b, &files->kernel, &b.kernel_bytes);
	if (r == 0)
		r = boot_file_read(&b, &files->kernel, 0, magic,
				   b.kernel_bytes < SELFMAG ? b.kernel_bytes : SELFMAG);
	if (r < 0)
		return r;
	if (b.kernel_bytes >= SELFMAG && memcmp(magic, ELFMAG, SELFMAG) == 0)
		return pvh_load(&b, entry);
	return bzimage_load(&b, entry);
}
