/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a header in the first 8 KiB of the file, found by its magic number and checksum,
 * either says itself what is loaded where and entered, or leaves that to the ELF file it is in. The guest
 * starts in 32-bit protected mode with ebx pointing to an information structure. The initrd is its one
 * module; it goes right behind the kernel, since small kernels take the end of memory for free.
 *
 * Paragraphs: Multiboot Specification, version 0.6.96.
 */
#include "emulator/loader/internal.h"

#include <errno.h>
#include <string.h>

#include "emulator/machine.h"

#define SEARCHED     8192u /* 3.1: the header is completely within these bytes of the file, and aligned */
#define HEADER_MAGIC 0x1badb002u

/* 3.1.2: what the kernel demands; of bits 0 to 15 each that is not understood must be refused. */
#define WANTS_PAGE_ALIGNMENT (1u << 0)
#define WANTS_MEMORY         (1u << 1)
#define WANTS_UNDERSTOOD     (WANTS_PAGE_ALIGNMENT | WANTS_MEMORY)
#define WANTS_MASK           0xffffu
#define HAS_ADDRESSES        (1u << 16)

/* 3.3: which parts of the information are there. */
#define INFO_MEMORY     (1u << 0)
#define INFO_CMDLINE    (1u << 2)
#define INFO_MODULES    (1u << 3)
#define INFO_MEMORY_MAP (1u << 6)
#define INFO_LOADER     (1u << 9)

struct multiboot_header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr; /* HAS_ADDRESSES */
};
#define HEADER_MIN offsetof(struct multiboot_header, header_addr)

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name;
	uint32_t apm_table, vbe[4];
};

struct multiboot_module {
	uint32_t start, end, string, reserved;
};

struct multiboot_memory {
	uint32_t size; /* of what follows */
	uint64_t addr, length;
	uint32_t type; /* 1 is RAM, as in e820 */
} __attribute__((packed));

/* All that ebx leads to, in one piece at BOOT_PARAMS_GPA. */
struct multiboot_block {
	struct multiboot_info info;
	struct multiboot_module module;
	struct multiboot_memory map[LOAD_MAP_ENTRIES];
	char loader[8];
};

_Static_assert(sizeof(struct multiboot_memory) == 24 && sizeof(struct multiboot_module) == 16, "layout");
_Static_assert(BOOT_PARAMS_GPA + sizeof(struct multiboot_block) <= BOOT_PML4_GPA, "low memory");

/* 3.1.1. The addresses may be cut off where they are not used. */
static bool find_header(struct load *l, struct multiboot_header *h, uint64_t *at)
{
	uint64_t end = l->image.have < SEARCHED ? l->image.have : SEARCHED;

	for (*at = 0; *at + HEADER_MIN <= end; *at += 4) {
		memset(h, 0, sizeof(*h));
		memcpy(h, l->image.bytes + *at, end - *at < sizeof(*h) ? end - *at : sizeof(*h));
		if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0)
			return true;
	}
	return false;
}

static int bad_addresses(struct load *l)
{
	return load_fail(
		l, EINVAL, LOADER_KERNEL,
		"damaged: the addresses in its multiboot header contradict each other: get a new copy");
}

/* 3.1.3: the header's own addresses. *end: behind what the kernel uses. */
static int load_by_addresses(struct load *l, const struct multiboot_header *h, uint64_t at, uint64_t *end)
{
	uint64_t offset, bytes, bss_end;
	void *to;

	if (h->header_addr < h->load_addr || at < h->header_addr - h->load_addr)
		return bad_addresses(l);
	offset = at - (h->header_addr - h->load_addr);
	if (h->load_end_addr && h->load_end_addr < h->load_addr)
		return bad_addresses(l);
	bytes = h->load_end_addr ? h->load_end_addr - h->load_addr : l->image.size - offset;
	if (bytes > l->image.have - offset)
		return load_truncated(l, "its code ends");
	*end = h->load_addr + bytes;
	bss_end = h->bss_end_addr ? h->bss_end_addr : *end;
	if (bss_end < *end || h->entry_addr < h->load_addr || h->entry_addr >= *end)
		return bad_addresses(l);
	if (h->load_addr < BOOT_KERNEL_MIN || bss_end > MMIO_HOLE_START)
		return load_fail(
			l, ENOEXEC, LOADER_KERNEL,
			"wants to be loaded to 0x%x, where no memory can be: link it to run from 1 MiB "
			"to 3 GiB",
			h->load_addr);
	if (bss_end > l->low_end)
		return load_too_large(l, bss_end);
	to = guest_memory_range(l->mem, h->load_addr, bss_end - h->load_addr);
	if (!to)
		return load_too_large(l, bss_end);
	memcpy(to, l->image.bytes + offset, bytes);
	memset((uint8_t *)to + bytes, 0, bss_end - *end);
	*end = bss_end;
	return 0;
}

static int load_by_elf(struct load *l, uint64_t *entry, uint64_t *end)
{
	struct elf elf = {0};
	char magic[SELFMAG];
	int r = load_read(l, 0, magic, sizeof(magic));

	if (r == 0 && memcmp(magic, ELFMAG, SELFMAG) != 0)
		return load_fail(l, ENOEXEC, LOADER_KERNEL,
				 "a multiboot image that is no ELF file and has no addresses in its header: "
				 "build it as ELF");
	if (r == 0)
		r = elf_read(l, &elf);
	if (r < 0)
		return r;
	*entry = elf.entry;
	r = elf_walk(l, &elf, false, *entry, end);
	return r < 0 ? r : elf_walk(l, &elf, true, *entry, end);
}

static int place_module(struct load *l, uint64_t end)
{
	uint64_t bytes = l->options.initrd_bytes;

	l->result->initrd_gpa = (end + PAGE_MASK) & ~PAGE_MASK;
	if (l->result->initrd_gpa <= l->low_end && bytes <= l->low_end - l->result->initrd_gpa)
		return 0;
	return load_fail(
		l, ENOMEM, LOADER_INITRD,
		"the module does not fit in memory behind the kernel: give more --mem, or make it smaller");
}

/* 3.3. */
static int put_info(struct load *l)
{
	struct boot_e820_entry map[LOAD_MAP_ENTRIES];
	unsigned entries = load_memory_map(l->options.ram_bytes, map);
	struct multiboot_block block;

	memset(&block, 0, sizeof(block));
	block.info.flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER;
	block.info.mem_lower = BOOT_LOW_END >> 10;
	block.info.mem_upper = (uint32_t)((l->low_end - MIB) >> 10);
	block.info.cmdline = BOOT_CMDLINE_GPA; /* with the name: programs take the first word for their own */
	block.info.mods_addr = BOOT_PARAMS_GPA + offsetof(struct multiboot_block, module);
	block.info.mmap_length = entries * (uint32_t)sizeof(block.map[0]);
	block.info.mmap_addr = BOOT_PARAMS_GPA + offsetof(struct multiboot_block, map);
	block.info.boot_loader_name = BOOT_PARAMS_GPA + offsetof(struct multiboot_block, loader);
	memcpy(block.loader, "dvmm", sizeof("dvmm"));
	for (unsigned i = 0; i < entries; i++)
		block.map[i] = (struct multiboot_memory){sizeof(block.map[i]) - sizeof(block.map[i].size),
							 map[i].addr, map[i].size, map[i].type};
	if (l->options.initrd_bytes) {
		block.info.mods_count = 1;
		block.module.start = (uint32_t)l->result->initrd_gpa; /* below the hole, both */
		block.module.end = (uint32_t)(l->result->initrd_gpa + l->options.initrd_bytes);
		block.module.string = block.info.boot_loader_name + sizeof("dvmm") - 1; /* an empty one */
	}
	return load_put(l, BOOT_PARAMS_GPA, &block, sizeof(block));
}

int multiboot_load(struct load *l)
{
	struct multiboot_header h;
	uint64_t at, entry, end = 0;
	int r;

	if (!find_header(l, &h, &at))
		return -ENOEXEC;
	if (h.flags & WANTS_MASK & ~WANTS_UNDERSTOOD)
		return load_fail(
			l, ENOEXEC, LOADER_KERNEL,
			"a multiboot image that demands what dvmm has not (flags 0x%x), a video mode "
			"for instance: build it without",
			h.flags);
	entry = h.entry_addr;
	r = h.flags & HAS_ADDRESSES ? load_by_addresses(l, &h, at, &end) : load_by_elf(l, &entry, &end);
	if (r == 0)
		r = place_module(l, end);
	if (r == 0)
		r = put_info(l);
	if (r < 0)
		return r;
	l->result->kind = LOADER_MULTIBOOT;
	l->result->entry = entry;
	l->result->params_gpa = BOOT_PARAMS_GPA;
	return 0;
}
