/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An encoder for the little AML that a DSDT of fixed devices needs (ACPI 6.5, chapters 19.6, 20 and 6.4).
 *
 * Owns nothing: bytes go into the caller's buffer. When it is full, or a name or a number cannot be
 * encoded, the sticky `failed` flag is set and nothing more is written; the caller looks once, at the end.
 * Objects with a body are opened and closed:
 *
 *     uint32_t com1 = aml_device(&a, "COM1");
 *     aml_name(&a, "_HID");
 *     aml_eisa_id(&a, "PNP0501");
 *     aml_end(&a, com1);
 *
 * Names are one segment of exactly four characters.
 * Threads: none of its own; one encoder belongs to one caller.
 */
#ifndef DVMM_VMM_AML_H
#define DVMM_VMM_AML_H

#include <stdbool.h>
#include <stdint.h>

struct aml {
	uint8_t *bytes;
	uint32_t size; /* of the buffer */
	uint32_t used; /* bytes written; <= size */
	bool failed;   /* what has been written is not valid AML */
};

void aml_init(struct aml *a, void *bytes, uint32_t size);

/* Objects with a body. Each returns the mark that its end wants. */
uint32_t aml_scope(struct aml *a, const char *name);
uint32_t aml_device(struct aml *a, const char *name);
uint32_t aml_package(struct aml *a, uint8_t elements);
void aml_end(struct aml *a, uint32_t mark);

/* Name(name, ...): one of the objects below, a package or resources must follow. */
void aml_name(struct aml *a, const char *name);
void aml_integer(struct aml *a, uint64_t value);
void aml_string(struct aml *a, const char *ascii);
void aml_eisa_id(struct aml *a, const char *id); /* three capitals and four hexadecimal digits: "PNP0501" */

/* A resource template (ACPI 6.5, 6.4): a buffer of descriptors. */
uint32_t aml_resources(struct aml *a);
void aml_io(struct aml *a, uint16_t port, uint8_t ports);       /* fixed ports, 16-bit decode */
void aml_memory32(struct aml *a, uint32_t gpa, uint32_t bytes); /* fixed, read-write */
void aml_interrupt_edge(struct aml *a, uint32_t gsi);           /* active high, exclusive */
void aml_resources_end(struct aml *a, uint32_t mark);

#endif
