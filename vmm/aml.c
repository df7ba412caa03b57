/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: AML is a prefix code, so encoding is appending. The one thing that is not known in
 * advance is the length of a body (PkgLength), which is itself one to four bytes long. A body is therefore
 * written first, right behind its opcode, and aml_end() moves it up by as much as the length needs. Bodies
 * are some hundred bytes, and the result is the shortest encoding, the one that a compiler produces.
 */
#include "vmm/aml.h"

#include <string.h>

enum aml_opcode {
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_WORD = 0x0b,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_QWORD = 0x0e,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_EXTENDED = 0x5b,
	AML_EXTENDED_DEVICE = 0x82,
};

void aml_init(struct aml *a, void *bytes, uint32_t size)
{
	*a = (struct aml){.bytes = bytes, .size = size};
}

/* Makes room for len bytes at offset `at` by moving what follows. Returns the room, NULL: it does not fit. */
static uint8_t *aml_insert(struct aml *a, uint32_t at, uint32_t len)
{
	if (a->failed || len > a->size - a->used) {
		a->failed = true;
		return NULL;
	}
	memmove(a->bytes + at + len, a->bytes + at, a->used - at);
	a->used += len;
	return a->bytes + at;
}

static void aml_append(struct aml *a, const void *from, uint32_t len)
{
	uint8_t *to = aml_insert(a, a->used, len);

	if (to)
		memcpy(to, from, len);
}

static void aml_byte(struct aml *a, uint8_t value)
{
	aml_append(a, &value, 1);
}

/* len bytes of value, least significant first, as everything in ACPI is. */
static void aml_little_endian(struct aml *a, uint64_t value, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		aml_byte(a, (uint8_t)(value >> (8 * i)));
}

static bool name_character(char c, bool first)
{
	return (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* NameSeg, ACPI 6.5, 20.2.2. */
static void aml_name_segment(struct aml *a, const char *name)
{
	for (unsigned i = 0; i < 4; i++) {
		if (!name_character(name[i], i == 0)) { /* also where the string ends early */
			a->failed = true;
			return;
		}
	}
	a->failed |= name[4] != '\0';
	aml_append(a, name, 4);
}

uint32_t aml_scope(struct aml *a, const char *name)
{
	uint32_t mark;

	aml_byte(a, AML_SCOPE);
	mark = a->used;
	aml_name_segment(a, name);
	return mark;
}

uint32_t aml_device(struct aml *a, const char *name)
{
	uint32_t mark;

	aml_byte(a, AML_EXTENDED);
	aml_byte(a, AML_EXTENDED_DEVICE);
	mark = a->used;
	aml_name_segment(a, name);
	return mark;
}

uint32_t aml_package(struct aml *a, uint8_t elements)
{
	uint32_t mark;

	aml_byte(a, AML_PACKAGE);
	mark = a->used;
	aml_byte(a, elements);
	return mark;
}

/*
 * PkgLength, ACPI 6.5, 20.2.4: it counts its own bytes. Up to 63 it is one byte; otherwise bits 7:6 of the
 * first say how many follow, its bits 3:0 are the lowest four of the length, and the others eight each.
 */
void aml_end(struct aml *a, uint32_t mark)
{
	uint32_t body = a->used - mark;
	uint32_t extra = body + 1 < 1u << 6 ? 0 : body + 2 < 1u << 12 ? 1 : body + 3 < 1u << 20 ? 2 : 3;
	uint32_t length = body + 1 + extra;
	uint8_t *to;

	if (length >= 1u << 28)
		a->failed = true;
	to = aml_insert(a, mark, 1 + extra);
	if (!to)
		return;
	to[0] = extra ? (uint8_t)(extra << 6 | (length & 0xf)) : (uint8_t)length;
	for (uint32_t i = 0; i < extra; i++)
		to[1 + i] = (uint8_t)(length >> (4 + 8 * i));
}

void aml_name(struct aml *a, const char *name)
{
	aml_byte(a, AML_NAME);
	aml_name_segment(a, name);
}

/* ConstObj and the shortest of Byte-, Word-, DWord- and QWordConst, ACPI 6.5, 20.2.3. */
void aml_integer(struct aml *a, uint64_t value)
{
	if (value <= 1) { /* ZeroOp is 0, OneOp is 1 */
		aml_byte(a, (uint8_t)value);
	} else if (value <= UINT8_MAX) {
		aml_byte(a, AML_BYTE);
		aml_little_endian(a, value, 1);
	} else if (value <= UINT16_MAX) {
		aml_byte(a, AML_WORD);
		aml_little_endian(a, value, 2);
	} else if (value <= UINT32_MAX) {
		aml_byte(a, AML_DWORD);
		aml_little_endian(a, value, 4);
	} else {
		aml_byte(a, AML_QWORD);
		aml_little_endian(a, value, 8);
	}
}

void aml_string(struct aml *a, const char *ascii)
{
	aml_byte(a, AML_STRING);
	aml_append(a, ascii, (uint32_t)strlen(ascii) + 1);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* EISAID, ACPI 6.5, 19.6: five bits a letter, four a digit, and the whole most significant byte first. */
void aml_eisa_id(struct aml *a, const char *id)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < 7; i++) {
		int digit = i < 3 ? (id[i] >= 'A' && id[i] <= 'Z' ? id[i] - 'A' + 1 : -1) : hex_digit(id[i]);

		if (digit < 0) {
			a->failed = true;
			return;
		}
		value = value << (i < 3 ? 5 : 4) | (uint32_t)digit;
	}
	a->failed |= id[7] != '\0';
	aml_byte(a, AML_DWORD);
	aml_little_endian(a, __builtin_bswap32(value), 4);
}

uint32_t aml_resources(struct aml *a)
{
	aml_byte(a, AML_BUFFER);
	return a->used;
}

/* I/O port descriptor, ACPI 6.5, 6.4.2.5. */
void aml_io(struct aml *a, uint16_t port, uint8_t ports)
{
	aml_byte(a, 0x47);
	aml_byte(a, 1);                /* decodes all 16 address bits */
	aml_little_endian(a, port, 2); /* lowest base ... */
	aml_little_endian(a, port, 2); /* ... and highest */
	aml_byte(a, 1);                /* alignment */
	aml_byte(a, ports);
}

/* 32-bit fixed memory range descriptor, ACPI 6.5, 6.4.3.4. */
void aml_memory32(struct aml *a, uint32_t gpa, uint32_t bytes)
{
	aml_byte(a, 0x86);
	aml_little_endian(a, 9, 2); /* bytes that follow */
	aml_byte(a, 1);             /* writable */
	aml_little_endian(a, gpa, 4);
	aml_little_endian(a, bytes, 4);
}

/* Extended interrupt descriptor, ACPI 6.5, 6.4.3.6. */
void aml_interrupt_edge(struct aml *a, uint32_t gsi)
{
	aml_byte(a, 0x89);
	aml_little_endian(a, 6, 2);   /* bytes that follow */
	aml_byte(a, 1 << 0 | 1 << 1); /* consumer, edge; active high, exclusive, wakes nobody */
	aml_byte(a, 1);               /* one line */
	aml_little_endian(a, gsi, 4);
}

void aml_resources_end(struct aml *a, uint32_t mark)
{
	struct aml size;
	uint8_t encoded[9];
	uint8_t *to;

	aml_byte(a, 0x79); /* end tag, ACPI 6.5, 6.4.2.9 ... */
	aml_byte(a, 0);    /* ... whose checksum need not be kept */
	aml_init(&size, encoded, sizeof(encoded));
	aml_integer(&size, a->used - mark); /* DefBuffer: PkgLength, size, bytes */
	to = aml_insert(a, mark, size.used);
	if (!to)
		return;
	memcpy(to, encoded, size.used);
	aml_end(a, mark);
}
