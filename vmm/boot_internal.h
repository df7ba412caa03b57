/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the boot loader (vmm/boot*.c) share. Nobody else includes this.
 */
#ifndef DVMM_VMM_BOOT_INTERNAL_H
#define DVMM_VMM_BOOT_INTERNAL_H

#include <asm/bootparam.h>

#include "vmm/boot.h"

/* Low memory, as the kernel finds it. */
#define BOOT_GDT_GPA     0x1000ull
#define BOOT_PARAMS_GPA  0x2000ull /* struct boot_params, or struct pvh_block */
#define BOOT_PML4_GPA    0x4000ull /* then one page of pointers and four of 2 MiB pages */
#define BOOT_CMDLINE_GPA 0x10000ull
#define BOOT_CMDLINE_MAX 0xffffull   /* without its NUL */
#define BOOT_LOW_END     0x9fc00ull  /* where the EBDA of a PC begins */
#define BOOT_KERNEL_MIN  0x100000ull /* nothing is loaded below */

#define MIB (1ull << 20)

/* One call of boot_load(). */
struct boot {
	const struct guest_memory *mem;
	const struct boot_files *files;
	uint64_t ram_bytes;
	uint64_t low_end; /* RAM below the hole ends here */
	uint64_t rsdp_gpa;
	uint64_t kernel_bytes; /* size of the kernel file */
	uint64_t initrd_gpa;   /* set by boot_put_initrd() */
	uint64_t initrd_bytes; /* 0: there is none */
	char *error;
};

/* Puts "name: message" into the error buffer, on one line, and returns -err. */
int boot_fail(struct boot *b, int err, const char *name, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The size of a file that has to be a regular one and not empty. */
int boot_file_size(struct boot *b, const struct boot_file *file, uint64_t *bytes);

/* Reads exactly len bytes at offset, into memory of ours or (load) of the guest. */
int boot_file_read(struct boot *b, const struct boot_file *file, uint64_t offset, void *to, uint64_t len);
int boot_file_load(struct boot *b, const struct boot_file *file, uint64_t offset, uint64_t gpa, uint64_t len);

/* Writes into guest memory at a place of our own choice. */
int boot_put(struct boot *b, uint64_t gpa, const void *from, uint64_t len);

/* The command line, at BOOT_CMDLINE_GPA; the kernel takes at most max characters. */
int boot_put_cmdline(struct boot *b, uint64_t max);

/* The initrd, as high as possible in [floor, limit). */
int boot_put_initrd(struct boot *b, uint64_t floor, uint64_t limit);

/* What boot_sregs() refers to: the GDT and, for long mode, page tables. */
int boot_put_tables(struct boot *b, enum boot_mode mode);

/* The memory map: what is RAM and what is reserved. Returns the number of entries. */
#define BOOT_E820_ENTRIES 5
unsigned boot_e820(uint64_t ram_bytes, struct boot_e820_entry map[BOOT_E820_ENTRIES]);

int bzimage_load(struct boot *b, struct boot_entry *entry);
int pvh_load(struct boot *b, struct boot_entry *entry);

#endif
