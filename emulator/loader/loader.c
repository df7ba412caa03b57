/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: look at the first bytes of the image, hand it to the loader of its kind, and provide
 * what all of them need: bounded reads and writes, a place for the initrd, and one line for what is wrong.
 */
#include "emulator/loader/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "emulator/machine.h"

int load_fail(struct load *l, int err, enum loader_subject subject, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(l->result->text, sizeof(l->result->text), format, args);
	va_end(args);
	l->result->kind = LOADER_NOTHING;
	l->result->subject = subject;
	l->result->error = -err;
	return -err;
}

int load_truncated(struct load *l, const char *what)
{
	if (l->image.have < l->image.size)
		return load_fail(l, EINVAL, LOADER_KERNEL,
				 "%s past the first %llu MiB, which is all that is read: strip it", what,
				 (unsigned long long)(l->image.have / MIB));
	return load_fail(l, EINVAL, LOADER_KERNEL, "truncated: %s past its end: give a complete file", what);
}

int load_too_large(struct load *l, uint64_t end)
{
	return load_fail(l, ENOMEM, LOADER_KERNEL,
			 "the kernel does not fit in %llu MiB of memory: give --mem %lluM or more",
			 (unsigned long long)(l->options.ram_bytes / MIB),
			 (unsigned long long)((end + MIB - 1) / MIB));
}

void load_note(struct load *l, const char *why)
{
	if (!l->result->text[0])
		snprintf(l->result->text, sizeof(l->result->text), "%s", why);
}

int load_read(struct load *l, uint64_t offset, void *to, uint64_t len)
{
	if (offset > l->image.have || len > l->image.have - offset)
		return load_truncated(l, "it refers to data");
	memcpy(to, l->image.bytes + offset, len);
	/* The copy is what counts: a compiler that sees both must not look at the image again. */
	__asm__ volatile("" : : "r"(to) : "memory");
	return 0;
}

int load_put(struct load *l, uint64_t gpa, const void *from, uint64_t len)
{
	if (guest_memory_write(l->mem, gpa, from, len))
		return 0;
	return load_fail(l, ENOMEM, LOADER_MEM, "the guest's memory ends below 1 MiB: give more");
}

int load_put_image(struct load *l, uint64_t offset, uint64_t gpa, uint64_t len)
{
	if (offset > l->image.have || len > l->image.have - offset)
		return load_truncated(l, "it refers to data");
	if (guest_memory_write(l->mem, gpa, l->image.bytes + offset, len))
		return 0;
	return load_fail(l, ENOMEM, LOADER_KERNEL, "has no room in the guest's memory: give more --mem");
}

int load_check_cmdline(struct load *l, uint64_t max)
{
	if (l->options.cmdline_bytes <= max)
		return 0;
	return load_fail(l, E2BIG, LOADER_CMDLINE,
			 "%u characters, but this kernel takes at most %llu: shorten it",
			 l->options.cmdline_bytes, (unsigned long long)max);
}

int load_place_initrd(struct load *l, uint64_t floor, uint64_t limit)
{
	const uint64_t bytes = l->options.initrd_bytes;

	if (bytes == 0)
		return 0;
	if (limit > l->low_end)
		limit = l->low_end;
	floor = (floor + PAGE_MASK) & ~PAGE_MASK; /* floor is in RAM below 4 GiB: no overflow */
	limit &= ~PAGE_MASK;
	if (floor > limit || bytes > limit - floor) {
		if (limit < l->low_end || bytes > MMIO_HOLE_START - floor)
			return load_fail(l, ENOMEM, LOADER_INITRD,
					 "%llu MiB of initrd cannot be placed where this kernel looks for "
					 "it: make it smaller",
					 (unsigned long long)(bytes / MIB));
		return load_fail(
			l, ENOMEM, LOADER_INITRD,
			"the initrd does not fit in memory behind the kernel: give --mem %lluM or more",
			(unsigned long long)((floor + bytes + PAGE_MASK + MIB - 1) / MIB));
	}
	l->result->initrd_gpa = (limit - bytes) & ~PAGE_MASK;
	if (!guest_memory_range(l->mem, l->result->initrd_gpa, bytes))
		return load_fail(l, ENOMEM, LOADER_INITRD,
				 "has no room in the guest's memory: give more --mem");
	return 0;
}

static int load_elf(struct load *l)
{
	struct elf elf;
	int r = elf_read(l, &elf);

	if (r < 0)
		return r;
	r = pvh_load(l, &elf);
	if (r == -ENOEXEC && !l->result->text[0])
		r = multiboot_load(l);
	if (r == -ENOEXEC && !l->result->text[0])
		r = load_fail(
			l, ENOEXEC, LOADER_KERNEL,
			"an ELF file without a PVH entry (note XEN_ELFNOTE_PHYS32_ENTRY) or a multiboot "
			"header: build it with CONFIG_PVH=y, or give the bzImage");
	return r;
}

static int load_other(struct load *l)
{
	int r = bzimage_load(l);

	if (r == -ENOEXEC && !l->result->text[0])
		r = multiboot_load(l);
	if (r == -ENOEXEC && !l->result->text[0])
		r = load_fail(l, ENOEXEC, LOADER_KERNEL,
			      "not a kernel, neither a bzImage nor an ELF file: give the vmlinuz of a "
			      "distribution, or arch/x86/boot/bzImage");
	return r;
}

int loader_load(const struct loader_image *image, const struct guest_memory *mem,
		const struct loader_options *options, void *workspace, struct loader_result *result)
{
	struct load l = {
		.image = *image,
		.mem = mem,
		.options = *options,
		.low_end = options->ram_bytes < MMIO_HOLE_START ? options->ram_bytes : MMIO_HOLE_START,
		.workspace = workspace,
		.result = result,
	};
	char magic[SELFMAG] = "";

	memset(result, 0, sizeof(*result));
	if (options->ram_bytes < 2 * MIB)
		return load_fail(&l, ENOMEM, LOADER_MEM, "%llu KiB: a guest needs 2M at the very least",
				 (unsigned long long)(options->ram_bytes >> 10));
	if (image->have >= SELFMAG)
		memcpy(magic, image->bytes, SELFMAG);
	return memcmp(magic, ELFMAG, SELFMAG) == 0 ? load_elf(&l) : load_other(&l);
}

int loader_run(const struct loader_request *request, const struct guest_memory *mem, uint8_t *staging,
	       struct loader_result *result)
{
	const struct loader_image image = {
		.bytes = staging, .have = request->image_have, .size = request->image_size};

	return loader_load(&image, mem, &request->options, staging + loader_image_room(image.size), result);
}
