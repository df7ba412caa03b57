/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: an ELF file says where its segments go (p_paddr), and a note says where it wants to be
 * entered: in 32-bit protected mode, with ebx pointing to an hvm_start_info that leads to everything else.
 *
 * The program headers are walked three times: for the note, so that a file that is no kernel is refused
 * before anything is loaded, then to check all segments, then to load them. Each header is read again and
 * checked where it is used, so a file that changes meanwhile can spoil the guest, and nothing else.
 *
 * Paragraphs: Xen, docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h; System V gABI,
 * chapter 5.
 */
#include "vmm/boot_internal.h"

#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "emulator/machine.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define PVH_MAGIC                0x336ec578u
#define PVH_CMDLINE_MAX          2047 /* the format has no limit; Linux cuts longer ones silently */
#define PROGRAM_HEADERS_MAX      128
#define NOTES_MAX                256 /* looked at in one segment */

struct pvh_start_info { /* struct hvm_start_info, version 1 */
	uint32_t magic, version, flags, modules;
	uint64_t modules_gpa, cmdline_gpa, rsdp_gpa, memory_map_gpa;
	uint32_t memory_map_entries, reserved;
};

struct pvh_module { /* struct hvm_modlist_entry */
	uint64_t gpa, size, cmdline_gpa, reserved;
};

struct pvh_memory { /* struct hvm_memmap_table_entry; types are those of e820 */
	uint64_t gpa, size;
	uint32_t type, reserved;
};

/* All that ebx leads to, in one piece at BOOT_PARAMS_GPA. */
struct pvh_block {
	struct pvh_start_info info;
	struct pvh_module initrd;
	struct pvh_memory map[BOOT_E820_ENTRIES];
};

_Static_assert(sizeof(struct pvh_start_info) == 56 && sizeof(struct pvh_memory) == 24, "layout of PVH");
_Static_assert(BOOT_PARAMS_GPA + sizeof(struct pvh_block) <= BOOT_PML4_GPA, "low memory");

/* What of the ELF header is used, the same for 32 and 64 bits. */
struct elf {
	bool is64;
	uint64_t headers_at; /* offset of the first program header */
	uint32_t headers;
	uint32_t header_bytes; /* distance between them */
};

static int damaged(struct boot *b, const char *what)
{
	return boot_fail(b, EINVAL, b->files->kernel.name, "damaged ELF file: %s: get a new copy", what);
}

static int read_elf_header(struct boot *b, struct elf *elf)
{
	const struct boot_file *file = &b->files->kernel;
	union {
		unsigned char ident[EI_NIDENT];
		Elf32_Ehdr e32;
		Elf64_Ehdr e64;
	} h;
	uint64_t len = b->kernel_bytes < sizeof(h) ? b->kernel_bytes : sizeof(h);
	uint16_t machine;
	int r;

	memset(&h, 0, sizeof(h)); /* what is cut off reads as no program headers */
	r = boot_file_read(b, file, 0, &h, len);
	if (r < 0)
		return r;
	elf->is64 = h.ident[EI_CLASS] == ELFCLASS64;
	machine = elf->is64 ? h.e64.e_machine : h.e32.e_machine;
	if (h.ident[EI_DATA] != ELFDATA2LSB || (!elf->is64 && h.ident[EI_CLASS] != ELFCLASS32) ||
	    machine != (elf->is64 ? EM_X86_64 : EM_386))
		return boot_fail(b, ENOEXEC, file->name,
				 "an ELF file for another kind of processor: build it for x86-64");
	elf->headers_at = elf->is64 ? h.e64.e_phoff : h.e32.e_phoff;
	elf->headers = elf->is64 ? h.e64.e_phnum : h.e32.e_phnum;
	elf->header_bytes = elf->is64 ? h.e64.e_phentsize : h.e32.e_phentsize;
	if (elf->headers == 0)
		return boot_fail(b, ENOEXEC, file->name,
				 "an ELF file without program headers, so not linked or truncated: give "
				 "vmlinux itself");
	if (elf->headers > PROGRAM_HEADERS_MAX)
		return damaged(b, "too many program headers");
	if (elf->header_bytes < (elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return damaged(b, "its program headers are too small");
	if (elf->headers_at > b->kernel_bytes)
		return damaged(b, "its program headers are past its end");
	return 0;
}

static int read_program_header(struct boot *b, const struct elf *elf, uint32_t index, Elf64_Phdr *p)
{
	uint64_t at = elf->headers_at + (uint64_t)index * elf->header_bytes; /* below 2^63 + 2^23 */
	Elf32_Phdr p32;
	int r;

	if (elf->is64)
		return boot_file_read(b, &b->files->kernel, at, p, sizeof(*p));
	r = boot_file_read(b, &b->files->kernel, at, &p32, sizeof(p32));
	if (r < 0)
		return r;
	*p = (Elf64_Phdr){.p_type = p32.p_type,
			  .p_offset = p32.p_offset,
			  .p_paddr = p32.p_paddr,
			  .p_filesz = p32.p_filesz,
			  .p_memsz = p32.p_memsz,
			  .p_align = p32.p_align};
	return 0;
}

/* Looks through the notes of one segment. *entry stays as it is if the one that matters is not there. */
static int find_entry_note(struct boot *b, const Elf64_Phdr *p, uint64_t *entry)
{
	const struct boot_file *file = &b->files->kernel;
	const uint64_t align = p->p_align == 8 ? 8 : 4;
	uint64_t at = p->p_offset, left = p->p_filesz;

	if (at > b->kernel_bytes || left > b->kernel_bytes - at)
		return damaged(b, "its notes are past its end");
	for (unsigned i = 0; i < NOTES_MAX && left > sizeof(Elf64_Nhdr); i++) {
		Elf64_Nhdr note; /* the same as Elf32_Nhdr */
		uint64_t desc_at, size;
		char name[4] = "";
		int r = boot_file_read(b, file, at, &note, sizeof(note));

		if (r < 0)
			return r;
		desc_at = (sizeof(note) + note.n_namesz + align - 1) & ~(align - 1);
		size = (desc_at + note.n_descsz + align - 1) & ~(align - 1);
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == sizeof(name) &&
		    (note.n_descsz == 4 || note.n_descsz == 8)) {
			if (desc_at + note.n_descsz > left)
				return damaged(b, "its PVH note is cut");
			r = boot_file_read(b, file, at + sizeof(note), name, sizeof(name));
			if (r < 0)
				return r;
			if (memcmp(name, "Xen", sizeof(name)) == 0) {
				*entry = 0;
				return boot_file_read(b, file, at + desc_at, entry, note.n_descsz);
			}
		}
		if (size > left)
			break;
		at += size;
		left -= size;
	}
	return 0;
}

static int find_entry(struct boot *b, const struct elf *elf, uint64_t *entry)
{
	*entry = UINT64_MAX;
	for (uint32_t i = 0; i < elf->headers && *entry == UINT64_MAX; i++) {
		Elf64_Phdr p;
		int r = read_program_header(b, elf, i, &p);

		if (r == 0 && p.p_type == PT_NOTE)
			r = find_entry_note(b, &p, entry);
		if (r < 0)
			return r;
	}
	if (*entry == UINT64_MAX)
		return boot_fail(b, ENOEXEC, b->files->kernel.name,
				 "an ELF file without a PVH entry (note XEN_ELFNOTE_PHYS32_ENTRY): build it "
				 "with CONFIG_PVH=y, or give the bzImage");
	return 0;
}

static int check_segment(struct boot *b, const Elf64_Phdr *p)
{
	const char *name = b->files->kernel.name;

	if (p->p_filesz > p->p_memsz)
		return damaged(b, "a segment is larger in the file than in memory");
	if (p->p_offset > b->kernel_bytes || p->p_filesz > b->kernel_bytes - p->p_offset)
		return boot_fail(b, EINVAL, name,
				 "truncated: a segment ends behind the file: give a complete file");
	if (p->p_paddr < BOOT_KERNEL_MIN || p->p_paddr >= MMIO_HOLE_START ||
	    p->p_memsz > MMIO_HOLE_START - p->p_paddr)
		return boot_fail(b, ENOEXEC, name,
				 "a segment of 0x%llx bytes for address 0x%llx, where no memory can be: link "
				 "it to run from 1 MiB to 3 GiB",
				 (unsigned long long)p->p_memsz, (unsigned long long)p->p_paddr);
	if (p->p_paddr + p->p_memsz > b->low_end)
		return boot_fail(b, ENOMEM, name,
				 "the kernel does not fit in %llu MiB of memory: give --mem %lluM or more",
				 (unsigned long long)(b->ram_bytes / MIB),
				 (unsigned long long)((p->p_paddr + p->p_memsz + MIB - 1) / MIB));
	return 0;
}

static int load_segment(struct boot *b, const Elf64_Phdr *p)
{
	uint64_t zeros = p->p_memsz - p->p_filesz;
	void *rest;
	int r = boot_file_load(b, &b->files->kernel, p->p_offset, p->p_paddr, p->p_filesz);

	if (r < 0 || zeros == 0)
		return r;
	rest = guest_memory_range(b->mem, p->p_paddr + p->p_filesz, zeros);
	if (!rest)
		return boot_fail(b, ENOMEM, b->files->kernel.name,
				 "has no room in the guest's memory: give more --mem");
	memset(rest, 0, zeros);
	return 0;
}

/* Checks the segments and, with load, puts them into guest memory. *end: behind the highest of them. */
static int walk_segments(struct boot *b, const struct elf *elf, bool load, uint64_t entry, uint64_t *end)
{
	bool entered = false;

	*end = 0;
	for (uint32_t i = 0; i < elf->headers; i++) {
		Elf64_Phdr p;
		int r = read_program_header(b, elf, i, &p);

		if (r < 0)
			return r;
		if (p.p_type != PT_LOAD || p.p_memsz == 0)
			continue;
		r = check_segment(b, &p);
		if (r < 0)
			return r;
		entered |= entry >= p.p_paddr && entry - p.p_paddr < p.p_filesz;
		*end = p.p_paddr + p.p_memsz > *end ? p.p_paddr + p.p_memsz : *end;
		if (load)
			r = load_segment(b, &p);
		if (r < 0)
			return r;
	}
	if (!entered)
		return damaged(b, "its PVH entry is in none of its segments");
	return 0;
}

static int put_start_info(struct boot *b)
{
	struct boot_e820_entry map[BOOT_E820_ENTRIES];
	unsigned entries = boot_e820(b->ram_bytes, map);
	struct pvh_block block;

	memset(&block, 0, sizeof(block));
	block.info.magic = PVH_MAGIC;
	block.info.version = 1;
	block.info.cmdline_gpa = BOOT_CMDLINE_GPA;
	block.info.rsdp_gpa = b->rsdp_gpa;
	block.info.memory_map_gpa = BOOT_PARAMS_GPA + offsetof(struct pvh_block, map);
	block.info.memory_map_entries = entries;
	for (unsigned i = 0; i < entries; i++) {
		block.map[i].gpa = map[i].addr;
		block.map[i].size = map[i].size;
		block.map[i].type = map[i].type;
	}
	if (b->initrd_bytes) {
		block.info.modules = 1;
		block.info.modules_gpa = BOOT_PARAMS_GPA + offsetof(struct pvh_block, initrd);
		block.initrd.gpa = b->initrd_gpa;
		block.initrd.size = b->initrd_bytes;
	}
	return boot_put(b, BOOT_PARAMS_GPA, &block, sizeof(block));
}

int pvh_load(struct boot *b, struct boot_entry *entry)
{
	struct elf elf;
	uint64_t rip = 0, end = 0;
	int r = read_elf_header(b, &elf);

	if (r == 0)
		r = find_entry(b, &elf, &rip);
	if (r == 0)
		r = walk_segments(b, &elf, false, rip, &end);
	if (r == 0)
		r = boot_put_cmdline(b, PVH_CMDLINE_MAX);
	if (r == 0)
		r = boot_put_initrd(b, end, b->low_end);
	if (r == 0)
		r = walk_segments(b, &elf, true, rip, &end);
	if (r == 0)
		r = put_start_info(b);
	if (r == 0)
		r = boot_put_tables(b, BOOT_PROTECTED_MODE);
	if (r < 0)
		return r;
	*entry = (struct boot_entry){.mode = BOOT_PROTECTED_MODE, .rip = rip, .params_gpa = BOOT_PARAMS_GPA};
	return 0;
}
