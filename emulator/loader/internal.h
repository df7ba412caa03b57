/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the loader share. Nobody else includes this.
 */
#ifndef DVMM_EMULATOR_LOADER_INTERNAL_H
#define DVMM_EMULATOR_LOADER_INTERNAL_H

#include <asm/bootparam.h>
#include <elf.h>
#include <stdbool.h>

#include "emulator/loader/loader.h"

#define MIB       (1ull << 20)
#define PAGE_MASK 4095ull

/* One call of loader_load(). */
struct load {
	struct loader_image image;
	const struct guest_memory *mem;
	struct loader_options options;
	uint64_t low_end; /* RAM below the hole ends here */
	void *workspace;
	struct loader_result *result;
};

/* Writes the error into the result, and returns -err. */
int load_fail(struct load *l, int err, enum loader_subject subject, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* The same for a kernel that does not end where it should. */
int load_truncated(struct load *l, const char *what);
/* ... and for one that ends at `end`, behind all memory below the hole. */
int load_too_large(struct load *l, uint64_t end);

/* Says why the guest has to unpack itself; keeps the first reason. */
void load_note(struct load *l, const char *why);

/* Copies exactly len bytes of the image. */
int load_read(struct load *l, uint64_t offset, void *to, uint64_t len);

/* Writes into guest memory: our own bytes, or a part of the image. */
int load_put(struct load *l, uint64_t gpa, const void *from, uint64_t len);
int load_put_image(struct load *l, uint64_t offset, uint64_t gpa, uint64_t len);

/* Whether a kernel that takes at most max characters takes the command line. */
int load_check_cmdline(struct load *l, uint64_t max);

/* Finds a place for the initrd, as high as possible in [floor, limit); into the result. */
int load_place_initrd(struct load *l, uint64_t floor, uint64_t limit);

/* The memory map: what is RAM and what is reserved. Returns the number of entries. */
#define LOAD_MAP_ENTRIES 5
unsigned load_memory_map(uint64_t ram_bytes, struct boot_e820_entry map[LOAD_MAP_ENTRIES]);

/* What of an ELF header is used, the same for 32 and 64 bits. */
#define ELF_HEADERS_MAX 128
struct elf {
	bool is64;
	uint64_t entry;
	uint64_t headers_at; /* offset of the first program header */
	uint32_t headers;
	uint32_t header_bytes; /* distance between them */
};
int elf_read(struct load *l, struct elf *elf);
int elf_read_segment(struct load *l, const struct elf *elf, uint32_t index, Elf64_Phdr *p);
int elf_damaged(struct load *l, const char *what);
/* Checks all segments and, with load, puts them into guest memory; `entry` must be in one of them. *end:
 * behind the highest. */
int elf_walk(struct load *l, const struct elf *elf, bool load, uint64_t entry, uint64_t *end);

/* Unpacks a payload. NULL, and `bytes` are at `to`; or why not, and anything may be there. */
const char *unpack(const uint8_t *payload, uint64_t payload_bytes, uint8_t *to, uint64_t bytes,
		   void *workspace);
/* How many bytes a payload says that it unpacks to (Linux appends the number). */
uint64_t unpack_size(const uint8_t *payload, uint64_t payload_bytes);

/* Where a kernel goes, and how it gets there. */
struct vmlinux_place {
	const uint8_t *payload; /* compressed, inside of the image */
	uint64_t payload_bytes;
	uint64_t linked;    /* physical address that it was linked for */
	uint64_t room;      /* bytes that it may use from its start */
	uint64_t alignment; /* a power of two */
	uint64_t limit;     /* the room ends below this */
	uint64_t entry;     /* out */
};
/* Unpacks a vmlinux and puts it into place. NULL, or why the guest must do it itself. */
const char *vmlinux_load(struct load *l, struct vmlinux_place *place);

/* The formats. -ENOEXEC with an empty text: not of this format. */
int bzimage_load(struct load *l);
int pvh_load(struct load *l, const struct elf *elf);
int multiboot_load(struct load *l);

#endif
