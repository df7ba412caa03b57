/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel for the loader's tests: a small vmlinux with relocations, packed in each format into a bzImage;
 * and what is to come of it.
 */
#ifndef DVMM_TESTS_LOADER_KERNEL_H
#define DVMM_TESTS_LOADER_KERNEL_H

#include <asm/bootparam.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "tests/unit/loader_harness.h"

#define LINKED      0x1000000ull
#define ROOM        (4 * MIB)
#define ALIGNMENT   (2 * MIB)
#define MAP_BASE    0xffffffff80000000ull
#define SETUP_BYTES 1024u
#define PAYLOAD_AT  0x400u /* in the protected-mode part */
#define ENTRY       0x123u

/* vmlinux: offset in the file, address from LINKED. The third has moved closer, as per-CPU data does. */
#define TEXT_AT     0x200000u
#define TEXT_BYTES  0x3000u
#define DATA_AT     0x204000u
#define DATA        0x4000u
#define DATA_BYTES  0x1000u
#define DATA_MEMORY 0x2000u
#define CPU_AT      0x208000u
#define CPU         0x6000u
#define CPU_BYTES   0x800u
#define SECTIONS_AT 0x209000u
#define SECTIONS    2u
#define ELF_BYTES   (SECTIONS_AT + SECTIONS * (uint32_t)sizeof(Elf64_Shdr))
#define TABLE_MAX   64u

enum format { GZIP, LZ4, ZSTD, XZ, FORMATS };

/* A fresh one for every test. */
static uint8_t vmlinux[ELF_BYTES + TABLE_MAX * 4 + 1];
static size_t vmlinux_bytes;
static struct setup_header header;

/* ---- A vmlinux ---- */

static inline Elf64_Ehdr *elf(void)
{
	return (Elf64_Ehdr *)vmlinux;
}

static inline Elf64_Phdr *segment(unsigned i)
{
	return (Elf64_Phdr *)(vmlinux + sizeof(Elf64_Ehdr)) + i;
}

/* The table, from words; the last ones are the ends of lists as the kernel's tool writes them. */
static inline void put_table(const uint32_t *words, size_t count)
{
	memcpy(vmlinux + ELF_BYTES, words, count * 4);
	vmlinux_bytes = ELF_BYTES + count * 4;
}

#define AT(offset) ((uint32_t)(MAP_BASE + LINKED + (offset)))
static const uint32_t three_lists[] = {0, AT(0x10), AT(DATA + 8),   0, AT(CPU + 0x10),
				       0, AT(0x20), AT(CPU + 0x7fc)};
#define TABLE(words) put_table(words, sizeof(words) / sizeof((words)[0]))

static inline void make_vmlinux(void)
{
	static const Elf64_Phdr load[] = {
		{.p_type = PT_LOAD,
		 .p_offset = TEXT_AT,
		 .p_paddr = LINKED,
		 .p_filesz = TEXT_BYTES,
		 .p_memsz = TEXT_BYTES},
		{.p_type = PT_LOAD,
		 .p_offset = DATA_AT,
		 .p_paddr = LINKED + DATA,
		 .p_filesz = DATA_BYTES,
		 .p_memsz = DATA_MEMORY},
		{.p_type = PT_LOAD,
		 .p_offset = CPU_AT,
		 .p_paddr = LINKED + CPU,
		 .p_filesz = CPU_BYTES,
		 .p_memsz = CPU_BYTES},
		{.p_type = PT_NOTE, .p_offset = 0xffffffff},
	};

	memset(vmlinux, 0, sizeof(vmlinux));
	for (uint32_t i = TEXT_AT; i < SECTIONS_AT; i++)
		vmlinux[i] = (uint8_t)(i * 7 + (i >> 8) * 3 + 1);
	*elf() = (Elf64_Ehdr){.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			      .e_type = ET_EXEC,
			      .e_machine = EM_X86_64,
			      .e_entry = LINKED + ENTRY,
			      .e_phoff = sizeof(Elf64_Ehdr),
			      .e_phentsize = sizeof(Elf64_Phdr),
			      .e_phnum = 4,
			      .e_shoff = SECTIONS_AT,
			      .e_shentsize = sizeof(Elf64_Shdr),
			      .e_shnum = SECTIONS};
	memcpy(segment(0), load, sizeof(load));
	TABLE(three_lists);
}

/* ---- A bzImage ---- */

static inline size_t pack_gzip(uint8_t *to, size_t room)
{
	z_stream z = {
		.next_in = vmlinux, .avail_in = (uInt)vmlinux_bytes, .next_out = to, .avail_out = (uInt)room};

	ck_assert_int_eq(deflateInit2(&z, 1, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static inline size_t pack_lz4(uint8_t *to, size_t room)
{
	uint32_t n = (uint32_t)LZ4_compress_default((const char *)vmlinux, (char *)to + 8, (int)vmlinux_bytes,
						    (int)room - 8);

	ck_assert_uint_gt(n, 0);
	memcpy(to, (uint32_t[]){0x184c2102, n}, 8);
	return n + 8;
}

static inline size_t pack_zstd(uint8_t *to, size_t room)
{
	size_t n = ZSTD_compress(to, room, vmlinux, vmlinux_bytes, 1);

	ck_assert(!ZSTD_isError(n));
	return n;
}

/* With the filters that the kernel's build uses. */
static inline size_t pack_xz(uint8_t *to, size_t room)
{
	lzma_options_lzma lzma;
	lzma_filter filters[] = {
		{LZMA_FILTER_X86, NULL}, {LZMA_FILTER_LZMA2, &lzma}, {LZMA_VLI_UNKNOWN, NULL}};
	size_t n = 0;

	ck_assert(!lzma_lzma_preset(&lzma, 0));
	lzma.dict_size = 32 * MIB;
	ck_assert_int_eq(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, vmlinux, vmlinux_bytes,
						   to, &n, room),
			 LZMA_OK);
	return n;
}

/* The image around a payload: as large as needed, at the end of the area. */
static inline void wrap(const uint8_t *payload, size_t bytes)
{
	uint8_t *at;

	image_bytes = (SETUP_BYTES + PAYLOAD_AT + bytes + 15) & ~15ull;
	ck_assert_uint_le(image_bytes, IMAGE_MAX);
	at = image_area + IMAGE_MAX - image_bytes;
	memset(at, 0, image_bytes);
	header.payload_length = (uint32_t)bytes;
	header.syssize = (uint32_t)(image_bytes - SETUP_BYTES) / 16;
	memcpy(at + 0x1f1, &header, sizeof(header));
	memcpy(at + SETUP_BYTES + PAYLOAD_AT, payload, bytes);
	image = at;
}

static inline uint8_t *payload(void)
{
	return (uint8_t *)image + SETUP_BYTES + PAYLOAD_AT;
}

static inline void pack(enum format format)
{
	static size_t (*const packers[FORMATS])(uint8_t * to, size_t room) = {pack_gzip, pack_lz4, pack_zstd,
									      pack_xz};
	static uint8_t packed[IMAGE_MAX / 2];
	uint32_t unpacked = (uint32_t)vmlinux_bytes;
	size_t n = packers[format](packed, sizeof(packed) - 4);

	if (format != GZIP) {
		memcpy(packed + n, &unpacked, 4);
		n += 4;
	}
	wrap(packed, n);
}

static inline void setup_kernel(void)
{
	setup();
	header = (struct setup_header){
		.setup_sects = SETUP_BYTES / 512 - 1,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = ALIGNMENT,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.payload_offset = PAYLOAD_AT,
		.pref_address = LINKED,
		.init_size = ROOM,
	};
	make_vmlinux();
}

/* ---- What comes of it ---- */

static inline void must_unpack(void)
{
	int r = load();

	ck_assert_msg(r == 0 && result.flags & LOADER_UNPACKED, "%d: %s", r, result.text);
	ck_assert_int_eq(result.kind, LOADER_LONG_MODE);
	ck_assert_str_eq(result.text, "");
}

/* The guest gets its own extractor, and a line says why. */
static inline void must_fall_back(const char *why)
{
	int r = load();

	ck_assert_msg(r == 0, "%d: %s", r, result.text);
	ck_assert_uint_eq(result.flags, 0);
	ck_assert_uint_eq(result.entry, LINKED + 0x200);
	ck_assert_msg(strstr(result.text, why) != NULL, "'%s' without '%s'", result.text, why);
	ck_assert_mem_eq(at(LINKED, image_bytes - SETUP_BYTES), image + SETUP_BYTES,
			 image_bytes - SETUP_BYTES);
	ck_assert_int_eq(((struct boot_params *)at(result.params_gpa, 4096))->hdr.loadflags & KASLR_FLAG, 0);
}

/* The segments are at gpa, but for the fields that the table names. */
static inline void check_segments(uint64_t gpa, uint64_t distance, bool has_inverse)
{
	static uint8_t want[CPU + CPU_BYTES];
	uint64_t v64;
	uint32_t v32;

	memset(want, 0, sizeof(want));
	memcpy(want, vmlinux + TEXT_AT, TEXT_BYTES);
	memcpy(want + DATA, vmlinux + DATA_AT, DATA_BYTES);
	memcpy(want + CPU, vmlinux + CPU_AT, CPU_BYTES);
	for (unsigned i = 0; i < 2; i++) {
		static const uint32_t at64[] = {0x10, DATA + 8}, at32[] = {0x20, CPU + 0x7fc};

		memcpy(&v64, want + at64[i], 8);
		v64 += distance;
		memcpy(want + at64[i], &v64, 8);
		memcpy(&v32, want + at32[i], 4);
		v32 += (uint32_t)distance;
		memcpy(want + at32[i], &v32, 4);
	}
	memcpy(&v32, want + CPU + 0x10, 4);
	v32 -= has_inverse ? (uint32_t)distance : 0;
	memcpy(want + CPU + 0x10, &v32, 4);
	ck_assert_mem_eq(at(gpa, TEXT_BYTES), want, TEXT_BYTES);
	ck_assert_mem_eq(at(gpa + DATA, sizeof(want) - DATA), want + DATA, sizeof(want) - DATA);
}

#endif
