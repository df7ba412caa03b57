/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a note of an ELF file says where it wants to be entered: in 32-bit protected mode,
 * with ebx pointing to an hvm_start_info that leads to everything else.
 *
 * Paragraphs: Xen, docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h.
 */
#include "emulator/loader/internal.h"

#include <errno.h>
#include <string.h>

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define PVH_MAGIC                0x336ec578u
#define PVH_CMDLINE_MAX          2047 /* the format has no limit; Linux cuts longer ones silently */
#define NOTES_MAX                256  /* looked at in one segment */

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
	struct pvh_memory map[LOAD_MAP_ENTRIES];
};

_Static_assert(sizeof(struct pvh_start_info) == 56 && sizeof(struct pvh_memory) == 24, "layout of PVH");
_Static_assert(BOOT_PARAMS_GPA + sizeof(struct pvh_block) <= BOOT_PML4_GPA, "low memory");

/* Looks through the notes of one segment. *entry stays as it is if the one that matters is not there. */
static int find_entry_note(struct load *l, const Elf64_Phdr *p, uint64_t *entry)
{
	const uint64_t align = p->p_align == 8 ? 8 : 4;
	uint64_t at = p->p_offset, left = p->p_filesz;

	if (at > l->image.have || left > l->image.have - at)
		return elf_damaged(l, "its notes are past its end");
	for (unsigned i = 0; i < NOTES_MAX && left > sizeof(Elf64_Nhdr); i++) {
		Elf64_Nhdr note; /* the same as Elf32_Nhdr */
		uint64_t desc_at, size;
		char name[4] = "";
		int r = load_read(l, at, &note, sizeof(note));

		if (r < 0)
			return r;
		desc_at = (sizeof(note) + note.n_namesz + align - 1) & ~(align - 1);
		size = (desc_at + note.n_descsz + align - 1) & ~(align - 1);
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == sizeof(name) &&
		    (note.n_descsz == 4 || note.n_descsz == 8)) {
			if (desc_at + note.n_descsz > left)
				return elf_damaged(l, "its PVH note is cut");
			r = load_read(l, at + sizeof(note), name, sizeof(name));
			if (r < 0)
				return r;
			if (memcmp(name, "Xen", sizeof(name)) == 0) {
				*entry = 0;
				return load_read(l, at + desc_at, entry, note.n_descsz);
			}
		}
		if (size > left)
			break;
		at += size;
		left -= size;
	}
	return 0;
}

static int find_entry(struct load *l, const struct elf *elf, uint64_t *entry)
{
	*entry = UINT64_MAX;
	for (uint32_t i = 0; i < elf->headers && *entry == UINT64_MAX; i++) {
		Elf64_Phdr p;
		int r = elf_read_segment(l, elf, i, &p);

		if (r == 0 && p.p_type == PT_NOTE)
			r = find_entry_note(l, &p, entry);
		if (r < 0)
			return r;
	}
	return *entry == UINT64_MAX ? -ENOEXEC : 0;
}

static int put_start_info(struct load *l)
{
	struct boot_e820_entry map[LOAD_MAP_ENTRIES];
	unsigned entries = load_memory_map(l->options.ram_bytes, map);
	struct pvh_block block;

	memset(&block, 0, sizeof(block));
	block.info.magic = PVH_MAGIC;
	block.info.version = 1;
	block.info.cmdline_gpa = BOOT_CMDLINE_GPA + l->options.name_bytes + 1;
	block.info.rsdp_gpa = l->options.rsdp_gpa;
	block.info.memory_map_gpa = BOOT_PARAMS_GPA + offsetof(struct pvh_block, map);
	block.info.memory_map_entries = entries;
	for (unsigned i = 0; i < entries; i++) {
		block.map[i].gpa = map[i].addr;
		block.map[i].size = map[i].size;
		block.map[i].type = map[i].type;
	}
	if (l->options.initrd_bytes) {
		block.info.modules = 1;
		block.info.modules_gpa = BOOT_PARAMS_GPA + offsetof(struct pvh_block, initrd);
		block.initrd.gpa = l->result->initrd_gpa;
		block.initrd.size = l->options.initrd_bytes;
	}
	return load_put(l, BOOT_PARAMS_GPA, &block, sizeof(block));
}

int pvh_load(struct load *l, const struct elf *elf)
{
	uint64_t entry = 0, end = 0;
	int r = find_entry(l, elf, &entry);

	if (r == 0)
		r = elf_walk(l, elf, false, entry, &end);
	if (r == 0)
		r = load_check_cmdline(l, PVH_CMDLINE_MAX);
	if (r == 0)
		r = load_place_initrd(l, end, l->low_end);
	if (r == 0)
		r = elf_walk(l, elf, true, entry, &end);
	if (r == 0)
		r = put_start_info(l);
	if (r < 0)
		return r;
	l->result->kind = LOADER_PVH;
	l->result->entry = entry;
	l->result->params_gpa = BOOT_PARAMS_GPA;
	return 0;
}
