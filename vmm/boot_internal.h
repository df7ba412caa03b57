/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of vmm/boot*.c share. Nobody else includes this.
 */
#ifndef DVMM_VMM_BOOT_INTERNAL_H
#define DVMM_VMM_BOOT_INTERNAL_H

#include "vmm/boot.h"

#define MIB (1ull << 20)

/* Puts "name: message" into the error buffer, on one line without control characters, and returns -err. */
int boot_fail(char error[BOOT_ERROR_BYTES], int err, const char *name, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The size of a file that has to be a regular one and not empty; into file->bytes. */
int boot_file_examine(struct boot_file *file, char error[BOOT_ERROR_BYTES]);

/* Reads exactly len bytes from the start of the file. */
int boot_file_read(const struct boot_file *file, void *to, uint64_t len, char error[BOOT_ERROR_BYTES]);

/* Writes into guest memory at a place of our own choice. */
int boot_put(const struct guest_memory *mem, uint64_t gpa, const void *from, uint64_t len,
	     char error[BOOT_ERROR_BYTES]);

/* What boot_sregs() refers to: the GDT and, for long mode, page tables. */
int boot_put_tables(const struct guest_memory *mem, enum loader_kind kind, char error[BOOT_ERROR_BYTES]);

#endif
