/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a bzImage is a real-mode part (which is skipped; only its setup header matters) and a
 * protected-mode part, which unpacks the kernel. The latter is put at the address that the header prefers,
 * and entered 0x200 bytes in, in long mode, with the header and the memory map in struct boot_params.
 *
 * The preferred address is taken for relocatable kernels as well: Linux never runs below it, wherever it is
 * loaded, so a guest too small for it is too small. From the load address on the kernel uses init_size bytes,
 * before it has looked at any memory map; all else is kept out of that range.
 *
 * Names and paragraphs: Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
 */
#include "vmm/boot_internal.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "emulator/machine.h"

#define HEADER_MAGIC  0x53726448u /* "HdrS" */
#define BOOT_FLAG     0xaa55
#define HEADER_OFFSET offsetof(struct boot_params, hdr)
/* Up to init_size is what protocol 2.12 has and this loader reads. */
#define HEADER_NEEDED    (offsetof(struct setup_header, init_size) + sizeof(uint32_t))
#define HEADER_MAGIC_END (offsetof(struct setup_header, header) + sizeof(uint32_t))
#define ENTRY64          0x200u

/* Where the parts of the file go. */
struct bzimage {
	struct setup_header header; /* as much of it as the kernel has; the rest is zero */
	uint64_t setup_bytes;       /* real-mode part, at the start of the file */
	uint64_t code_bytes;        /* protected-mode part: the rest */
	uint64_t code_gpa;
	uint64_t code_end; /* behind what the kernel uses before it has a memory map */
};

static int read_header(struct boot *b, struct setup_header *h)
{
	const struct boot_file *file = &b->files->kernel;
	uint64_t have = b->kernel_bytes > HEADER_OFFSET ? b->kernel_bytes - HEADER_OFFSET : 0;
	uint64_t end;
	int r;

	memset(h, 0, sizeof(*h));
	r = boot_file_read(b, file, HEADER_OFFSET, h, have < sizeof(*h) ? have : sizeof(*h));
	if (r < 0)
		return r;
	if (have < HEADER_MAGIC_END || h->boot_flag != BOOT_FLAG || h->header != HEADER_MAGIC)
		return boot_fail(b, ENOEXEC, file->name,
				 "not a kernel, neither a bzImage nor an ELF file: give the vmlinuz of a "
				 "distribution, or arch/x86/boot/bzImage");
	/* The second byte of the jump instruction, which is at 0x200, says where the header ends. */
	end = 0x202 - HEADER_OFFSET + (h->jump >> 8);
	if (h->version < 0x20c)
		return boot_fail(
			b, ENOEXEC, file->name,
			"boot protocol %u.%02u is too old: dvmm needs 2.12 (64-bit Linux 3.8 or newer)",
			h->version >> 8, h->version & 0xff);
	if (have < HEADER_NEEDED)
		return boot_fail(b, EINVAL, file->name, "truncated: its header is cut: give a complete file");
	if (end < HEADER_NEEDED)
		return boot_fail(b, EINVAL, file->name,
				 "damaged: its header is too short for its version: get a new copy");
	if (end < sizeof(*h))
		memset((uint8_t *)h + end, 0, sizeof(*h) - end);
	return 0;
}

static int check_header(struct boot *b, const struct setup_header *h)
{
	const char *name = b->files->kernel.name;

	if (!(h->loadflags & LOADED_HIGH))
		return boot_fail(b, ENOEXEC, name, "a zImage, which loads below 1 MiB: build a bzImage");
	if (!(h->xloadflags & XLF_KERNEL_64))
		return boot_fail(b, ENOEXEC, name,
				 "32-bit kernel: dvmm needs a 64-bit kernel (CONFIG_X86_64)");
	if (h->relocatable_kernel &&
	    (h->kernel_alignment == 0 || h->kernel_alignment & (h->kernel_alignment - 1)))
		return boot_fail(b, EINVAL, name,
				 "damaged: its alignment of 0x%x is not a power of two: get a new copy",
				 h->kernel_alignment);
	return 0;
}

/* Finds out where in the file the code is. */
static int split_file(struct boot *b, struct bzimage *image)
{
	const struct setup_header *h = &image->header;
	const char *name = b->files->kernel.name;
	uint64_t code_needed = (uint64_t)h->syssize * 16;

	image->setup_bytes = ((h->setup_sects ? h->setup_sects : 4) + 1ull) * 512;
	if (code_needed <= ENTRY64)
		return boot_fail(b, EINVAL, name, "damaged: its header tells of no code: get a new copy");
	if (b->kernel_bytes < image->setup_bytes || b->kernel_bytes - image->setup_bytes < code_needed)
		return boot_fail(b, EINVAL, name,
				 "truncated: %llu bytes of at least %llu: give a complete file",
				 (unsigned long long)b->kernel_bytes,
				 (unsigned long long)(image->setup_bytes + code_needed));
	image->code_bytes = b->kernel_bytes - image->setup_bytes; /* signatures behind the code do no harm */
	return 0;
}

/* Finds out where in memory the code goes, and how much room it needs there. */
static int place_code(struct boot *b, struct bzimage *image)
{
	const struct setup_header *h = &image->header;
	const char *name = b->files->kernel.name;
	uint64_t room = h->init_size > image->code_bytes ? h->init_size : image->code_bytes;
	uint64_t runtime_gpa = h->pref_address;

	if (h->pref_address < BOOT_KERNEL_MIN || h->pref_address >= MMIO_HOLE_START)
		return boot_fail(b, ENOEXEC, name,
				 "wants to run at 0x%llx, where no memory can be: build it with a "
				 "CONFIG_PHYSICAL_START from 1 MiB to 3 GiB",
				 (unsigned long long)h->pref_address);
	if (h->relocatable_kernel) /* where the code moves itself; both terms are below 2^32 */
		runtime_gpa = (runtime_gpa + h->kernel_alignment - 1) & ~((uint64_t)h->kernel_alignment - 1);
	image->code_gpa = h->pref_address;
	image->code_end = runtime_gpa + room;
	if (image->code_end > MMIO_HOLE_START)
		return boot_fail(
			b, ENOMEM, name,
			"its header asks for %llu MiB below 4 GiB, more than any guest has: get a new copy",
			(unsigned long long)(image->code_end / MIB));
	if (image->code_end > b->low_end)
		return boot_fail(b, ENOMEM, name,
				 "the kernel does not fit in %llu MiB of memory: give --mem %lluM or more",
				 (unsigned long long)(b->ram_bytes / MIB),
				 (unsigned long long)((image->code_end + MIB - 1) / MIB));
	return 0;
}

/* The "zero page". */
static int put_boot_params(struct boot *b, const struct bzimage *image)
{
	struct boot_params p;

	memset(&p, 0, sizeof(p));
	p.hdr = image->header;
	p.hdr.type_of_loader = 0xff; /* none of the registered ones */
	p.hdr.ext_loader_type = p.hdr.ext_loader_ver = 0;
	p.hdr.vid_mode = 0xffff; /* "normal" */
	p.hdr.code32_start = (uint32_t)image->code_gpa;
	p.hdr.cmd_line_ptr = BOOT_CMDLINE_GPA;
	p.hdr.ramdisk_image = (uint32_t)b->initrd_gpa; /* below MMIO_HOLE_START, both */
	p.hdr.ramdisk_size = (uint32_t)b->initrd_bytes;
	p.hdr.setup_data = 0;
	p.acpi_rsdp_addr = b->rsdp_gpa;
	p.e820_entries = (uint8_t)boot_e820(b->ram_bytes, p.e820_table);
	return boot_put(b, BOOT_PARAMS_GPA, &p, sizeof(p));
}

int bzimage_load(struct boot *b, struct boot_entry *entry)
{
	struct bzimage image;
	int r = read_header(b, &image.header);

	if (r == 0)
		r = check_header(b, &image.header);
	if (r == 0)
		r = split_file(b, &image);
	if (r == 0)
		r = place_code(b, &image);
	if (r == 0)
		r = boot_put_cmdline(b, image.header.cmdline_size);
	if (r == 0)
		r = boot_put_initrd(b, image.code_end, (uint64_t)image.header.initrd_addr_max + 1);
	if (r == 0)
		r = boot_file_load(b, &b->files->kernel, image.setup_bytes, image.code_gpa, image.code_bytes);
	if (r == 0)
		r = put_boot_params(b, &image);
	if (r == 0)
		r = boot_put_tables(b, BOOT_LONG_MODE);
	if (r < 0)
		return r;
	*entry = (struct boot_entry){
		.mode = BOOT_LONG_MODE, .rip = image.code_gpa + ENTRY64, .params_gpa = BOOT_PARAMS_GPA};
	return 0;
}
