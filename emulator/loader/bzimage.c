/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a bzImage is a real-mode part (which is skipped; only its setup header matters) and a
 * protected-mode part: an extractor and its payload, the kernel proper. The payload is unpacked here and
 * entered in place of the extractor (vmlinux.c). If that is not possible the protected-mode part is put at
 * the address that the header prefers, and entered 0x200 bytes in. Both are entered in long mode, with the
 * header and the memory map in struct boot_params.
 *
 * The preferred address is the lowest for relocatable kernels as well: Linux never runs below it, wherever it
 * is loaded, so a guest too small for it is too small. From the load address on the kernel uses init_size
 * bytes, before it has looked at any memory map; all else is kept out of that range.
 *
 * Names and paragraphs: Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
 */
#include "emulator/loader/internal.h"

#include <errno.h>
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
	uint64_t runtime_gpa; /* where the kernel goes if nobody chooses another place */
	uint64_t room;        /* what it uses from there on before it has a memory map */
	uint64_t code_end;    /* behind that */
};

static int read_header(struct load *l, struct setup_header *h)
{
	uint64_t have = l->image.have > HEADER_OFFSET ? l->image.have - HEADER_OFFSET : 0;
	uint64_t end;

	memset(h, 0, sizeof(*h));
	if (have)
		load_read(l, HEADER_OFFSET, h, have < sizeof(*h) ? have : sizeof(*h));
	if (have < HEADER_MAGIC_END || h->boot_flag != BOOT_FLAG || h->header != HEADER_MAGIC)
		return -ENOEXEC;
	/* The second byte of the jump instruction, which is at 0x200, says where the header ends. */
	end = 0x202 - HEADER_OFFSET + (h->jump >> 8);
	if (h->version < 0x20c)
		return load_fail(
			l, ENOEXEC, LOADER_KERNEL,
			"boot protocol %u.%02u is too old: dvmm needs 2.12 (64-bit Linux 3.8 or newer)",
			h->version >> 8, h->version & 0xff);
	if (have < HEADER_NEEDED)
		return load_fail(l, EINVAL, LOADER_KERNEL,
				 "truncated: its header is cut: give a complete file");
	if (end < HEADER_NEEDED)
		return load_fail(l, EINVAL, LOADER_KERNEL,
				 "damaged: its header is too short for its version: get a new copy");
	if (end < sizeof(*h))
		memset((uint8_t *)h + end, 0, sizeof(*h) - end);
	return 0;
}

static int check_header(struct load *l, const struct setup_header *h)
{
	if (!(h->loadflags & LOADED_HIGH))
		return load_fail(l, ENOEXEC, LOADER_KERNEL,
				 "a zImage, which loads below 1 MiB: build a bzImage");
	if (!(h->xloadflags & XLF_KERNEL_64))
		return load_fail(l, ENOEXEC, LOADER_KERNEL,
				 "32-bit kernel: dvmm needs a 64-bit kernel (CONFIG_X86_64)");
	if (h->relocatable_kernel &&
	    (h->kernel_alignment == 0 || h->kernel_alignment & (h->kernel_alignment - 1)))
		return load_fail(l, EINVAL, LOADER_KERNEL,
				 "damaged: its alignment of 0x%x is not a power of two: get a new copy",
				 h->kernel_alignment);
	return 0;
}

/* Finds out where in the file the code is. */
static int split_file(struct load *l, struct bzimage *image)
{
	const struct setup_header *h = &image->header;
	uint64_t code_needed = (uint64_t)h->syssize * 16;

	image->setup_bytes = ((h->setup_sects ? h->setup_sects : 4) + 1ull) * 512;
	if (code_needed <= ENTRY64)
		return load_fail(l, EINVAL, LOADER_KERNEL,
				 "damaged: its header tells of no code: get a new copy");
	if (l->image.have < image->setup_bytes || l->image.have - image->setup_bytes < code_needed)
		return load_fail(l, EINVAL, LOADER_KERNEL,
				 "truncated: %llu bytes of at least %llu: give a complete file",
				 (unsigned long long)l->image.size,
				 (unsigned long long)(image->setup_bytes + code_needed));
	image->code_bytes = l->image.have - image->setup_bytes; /* signatures behind the code do no harm */
	return 0;
}

/* Finds out where in memory the code goes, and how much room it needs there. */
static int place_code(struct load *l, struct bzimage *image)
{
	const struct setup_header *h = &image->header;

	image->room = h->init_size > image->code_bytes ? h->init_size : image->code_bytes;
	image->runtime_gpa = h->pref_address;
	if (h->pref_address < BOOT_KERNEL_MIN || h->pref_address >= MMIO_HOLE_START)
		return load_fail(l, ENOEXEC, LOADER_KERNEL,
				 "wants to run at 0x%llx, where no memory can be: build it with a "
				 "CONFIG_PHYSICAL_START from 1 MiB to 3 GiB",
				 (unsigned long long)h->pref_address);
	if (h->relocatable_kernel) /* where the code moves itself; both terms are below 2^32 */
		image->runtime_gpa =
			(image->runtime_gpa + h->kernel_alignment - 1) & ~((uint64_t)h->kernel_alignment - 1);
	image->code_gpa = h->pref_address;
	image->code_end = image->runtime_gpa + image->room;
	if (image->code_end > MMIO_HOLE_START)
		return load_fail(
			l, ENOMEM, LOADER_KERNEL,
			"its header asks for %llu MiB below 4 GiB, more than any guest has: get a new copy",
			(unsigned long long)(image->code_end / MIB));
	return image->code_end > l->low_end ? load_too_large(l, image->code_end) : 0;
}

/* The kernel proper, here and now. NULL, or why not. */
static const char *load_payload(struct load *l, const struct bzimage *image, uint64_t *entry)
{
	const struct setup_header *h = &image->header;
	struct vmlinux_place place = {
		.payload_bytes = h->payload_length,
		.linked = image->runtime_gpa,
		.room = image->room,
		.alignment = h->kernel_alignment,
		.limit = l->result->initrd_gpa ? l->result->initrd_gpa : l->low_end,
	};
	const char *why;

	if (h->payload_length == 0 || h->payload_offset > image->code_bytes ||
	    h->payload_length > image->code_bytes - h->payload_offset)
		return "its header tells of no payload";
	if (!h->relocatable_kernel)
		return "it is not relocatable";
	place.payload = l->image.bytes + image->setup_bytes + h->payload_offset;
	why = vmlinux_load(l, &place);
	*entry = place.entry;
	return why;
}

/* The kernel itself, or the code that unpacks it. */
static int load_code(struct load *l, const struct bzimage *image)
{
	const char *why = load_payload(l, image, &l->result->entry);

	if (!why)
		return 0;
	load_note(l, why);
	l->result->flags = 0;
	l->result->entry = image->code_gpa + ENTRY64;
	return load_put_image(l, image->setup_bytes, image->code_gpa, image->code_bytes);
}

/* The "zero page". */
static int put_boot_params(struct load *l, const struct bzimage *image)
{
	struct boot_params p;

	memset(&p, 0, sizeof(p));
	p.hdr = image->header;
	p.hdr.type_of_loader = 0xff; /* none of the registered ones */
	p.hdr.ext_loader_type = p.hdr.ext_loader_ver = 0;
	p.hdr.vid_mode = 0xffff; /* "normal" */
	p.hdr.code32_start = (uint32_t)image->code_gpa;
	p.hdr.cmd_line_ptr = (uint32_t)BOOT_CMDLINE_GPA + l->options.name_bytes + 1;
	p.hdr.ramdisk_image = (uint32_t)l->result->initrd_gpa; /* below MMIO_HOLE_START, both */
	p.hdr.ramdisk_size = (uint32_t)l->options.initrd_bytes;
	p.hdr.setup_data = 0;
	/* As the extractor says it: the kernel then chooses random places for its own mappings, too. */
	p.hdr.loadflags &= (uint8_t)~KASLR_FLAG;
	if (l->result->flags & LOADER_RELOCATED)
		p.hdr.loadflags |= KASLR_FLAG;
	p.acpi_rsdp_addr = l->options.rsdp_gpa;
	p.e820_entries = (uint8_t)load_memory_map(l->options.ram_bytes, p.e820_table);
	return load_put(l, BOOT_PARAMS_GPA, &p, sizeof(p));
}

int bzimage_load(struct load *l)
{
	struct bzimage image;
	int r = read_header(l, &image.header);

	if (r == 0)
		r = check_header(l, &image.header);
	if (r == 0)
		r = split_file(l, &image);
	if (r == 0)
		r = place_code(l, &image);
	if (r == 0)
		r = load_check_cmdline(l, image.header.cmdline_size);
	if (r == 0)
		r = load_place_initrd(l, image.code_end, (uint64_t)image.header.initrd_addr_max + 1);
	if (r == 0)
		r = load_code(l, &image);
	if (r == 0)
		r = put_boot_params(l, &image);
	if (r < 0)
		return r;
	l->result->kind = LOADER_LONG_MODE;
	l->result->params_gpa = BOOT_PARAMS_GPA;
	return 0;
}
