/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loader on kernels made here: a small vmlinux with relocations, packed in each format into a bzImage,
 * and multiboot images. What good ones become, that odd ones are left to the guest, and, with files cut and
 * damaged at random (fixed seeds), that nothing is touched but guest memory and the workspace: both end at
 * pages that cannot be accessed. What dvmm makes of results is in test_boot.c.
 */
#include "emulator/loader/loader.h"

#include <asm/bootparam.h>
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#include "emulator/machine.h"

#define MIB         (1ull << 20)
#define RAM_BYTES   (64 * MIB)
#define LINKED      0x1000000ull
#define ROOM        (4 * MIB)
#define ALIGNMENT   (2 * MIB)
#define MAP_BASE    0xffffffff80000000ull
#define SETUP_BYTES 1024u
#define PAYLOAD_AT  0x400u /* in the protected-mode part */
#define IMAGE_MAX   (4 * MIB)
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
static struct guest_memory mem;
static uint8_t *workspace;
static uint8_t *image_area; /* IMAGE_MAX bytes with an inaccessible page behind; images lie at its end */
static const uint8_t *image;
static size_t image_bytes;
static uint8_t vmlinux[ELF_BYTES + TABLE_MAX * 4 + 1];
static size_t vmlinux_bytes;
static struct setup_header header;
static struct loader_options options;
static struct loader_result result;

static uint8_t *map_guarded(size_t bytes)
{
	uint8_t *p = mmap(NULL, bytes + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert(p != MAP_FAILED);
	ck_assert_int_eq(mprotect(p, bytes, PROT_READ | PROT_WRITE), 0);
	return p;
}

static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % limit;
}

/* ---- A vmlinux ---- */

static Elf64_Ehdr *elf(void)
{
	return (Elf64_Ehdr *)vmlinux;
}
static Elf64_Phdr *segment(unsigned i)
{
	return (Elf64_Phdr *)(vmlinux + sizeof(Elf64_Ehdr)) + i;
}

/* The table, from words; the last ones are the ends of lists as the kernel's tool writes them. */
static void put_table(const uint32_t *words, size_t count)
{
	memcpy(vmlinux + ELF_BYTES, words, count * 4);
	vmlinux_bytes = ELF_BYTES + count * 4;
}

#define AT(offset) ((uint32_t)(MAP_BASE + LINKED + (offset)))
static const uint32_t three_lists[] = {0, AT(0x10), AT(DATA + 8),   0, AT(CPU + 0x10),
				       0, AT(0x20), AT(CPU + 0x7fc)};
static const uint32_t two_lists[] = {0, AT(0x10), AT(DATA + 8), 0, AT(0x20), AT(CPU + 0x7fc)};
#define TABLE(words) put_table(words, sizeof(words) / sizeof((words)[0]))

static void make_vmlinux(void)
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

static size_t pack_gzip(uint8_t *to, size_t room)
{
	z_stream z = {
		.next_in = vmlinux, .avail_in = (uInt)vmlinux_bytes, .next_out = to, .avail_out = (uInt)room};

	ck_assert_int_eq(deflateInit2(&z, 1, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static size_t pack_lz4(uint8_t *to, size_t room)
{
	uint32_t n = (uint32_t)LZ4_compress_default((const char *)vmlinux, (char *)to + 8, (int)vmlinux_bytes,
						    (int)room - 8);

	ck_assert_uint_gt(n, 0);
	memcpy(to, (uint32_t[]){0x184c2102, n}, 8);
	return n + 8;
}

static size_t pack_zstd(uint8_t *to, size_t room)
{
	size_t n = ZSTD_compress(to, room, vmlinux, vmlinux_bytes, 1);

	ck_assert(!ZSTD_isError(n));
	return n;
}

/* With the filters that the kernel's build uses. */
static size_t pack_xz(uint8_t *to, size_t room)
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
static void wrap(const uint8_t *payload, size_t bytes)
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

static uint8_t *payload(void)
{
	return (uint8_t *)image + SETUP_BYTES + PAYLOAD_AT;
}

static void pack(enum format format)
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

static void setup(void)
{
	mem.seg[0] =
		(struct guest_memory_segment){.gpa = 0, .size = RAM_BYTES, .host = map_guarded(RAM_BYTES)};
	workspace = map_guarded(LOADER_WORKSPACE);
	image_area = map_guarded(IMAGE_MAX);
	memset(mem.seg[0].host + 12 * MIB, 0xa5, 16 * MIB);
	options = (struct loader_options){
		.ram_bytes = RAM_BYTES, .rsdp_gpa = 0xe0000, .name_bytes = 6, .cmdline_bytes = 20};
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
	random_state = 4711;
}

static void teardown(void)
{
	munmap(mem.seg[0].host, RAM_BYTES + 4096);
	munmap(workspace, LOADER_WORKSPACE + 4096);
	munmap(image_area, IMAGE_MAX + 4096);
}

static void *at(uint64_t gpa, uint64_t len)
{
	void *host = guest_memory_range(&mem, gpa, len);

	ck_assert_ptr_nonnull(host);
	return host;
}

static int load_image(uint64_t have, uint64_t size)
{
	const struct loader_image i = {.bytes = image, .have = have, .size = size};
	int r;

	memset(&result, 0xee, sizeof(result));
	r = loader_load(&i, &mem, &options, workspace, &result);
	ck_assert_int_eq(r, result.error);
	ck_assert_int_eq(r == 0, result.kind != LOADER_NOTHING);
	ck_assert_ptr_nonnull(memchr(result.text, '\0', sizeof(result.text)));
	ck_assert_ptr_null(strchr(result.text, '\n'));
	if (r < 0) {
		ck_assert_str_ne(result.text, "");
		return r;
	}
	ck_assert_uint_lt(result.kind, LOADER_KINDS);
	at(result.entry, 1);
	at(result.params_gpa, 4096);
	if (options.initrd_bytes)
		at(result.initrd_gpa, options.initrd_bytes);
	return 0;
}

static int load(void)
{
	return load_image(image_bytes, image_bytes);
}

static void must_unpack(void)
{
	int r = load();

	ck_assert_msg(r == 0 && result.flags & LOADER_UNPACKED, "%d: %s", r, result.text);
	ck_assert_int_eq(result.kind, LOADER_LONG_MODE);
	ck_assert_str_eq(result.text, "");
}

/* The guest gets its own extractor, and a line says why. */
static void must_fall_back(const char *why)
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

static void must_fail(int err, const char *text)
{
	int r = load();

	ck_assert_msg(r == -err, "%d instead of %d: %s", r, -err, result.text);
	ck_assert_msg(strstr(result.text, text) != NULL, "'%s' without '%s'", result.text, text);
}

/* The segments are at gpa, but for the fields that the table names. */
static void check_segments(uint64_t gpa, uint64_t distance, bool has_inverse)
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

/* ---- Tests ---- */

START_TEST(every_format_is_unpacked)
{
	const struct boot_params *p;

	pack((enum format)_i);
	must_unpack();
	ck_assert_uint_eq(result.flags, LOADER_UNPACKED);
	ck_assert_uint_eq(result.entry, LINKED + ENTRY);
	check_segments(LINKED, 0, true);
	p = at(result.params_gpa, sizeof(*p));
	ck_assert_uint_eq(p->hdr.loadflags & KASLR_FLAG, 0);
	ck_assert_uint_eq(p->hdr.cmd_line_ptr, BOOT_CMDLINE_GPA + 7);
	ck_assert_uint_eq(p->acpi_rsdp_addr, 0xe0000);
	ck_assert_uint_eq(p->e820_entries, 4);
}
END_TEST

/* Slots are 2 MiB; the highest that is possible follows from what is there. */
START_TEST(kaslr_moves_and_relocates)
{
	const uint64_t last = RAM_BYTES - ROOM, last_virtual = (1ull << 30) - ROOM;
	const uint64_t slots = (last - LINKED) / ALIGNMENT + 1,
		       virtual_slots = (last_virtual - LINKED) / ALIGNMENT + 1;
	const struct boot_params *p;

	pack(LZ4);
	options.kaslr = 1;
	for (unsigned i = 0; i < 200; i++) {
		uint64_t n = i < 2 ? i * (slots - 1) : random_below(slots);
		uint64_t v = i < 2 ? i * (virtual_slots - 1) : random_below(virtual_slots);

		options.entropy[0] = n + slots * random_below(1u << 20);
		options.entropy[1] = v + virtual_slots * random_below(1u << 20);
		must_unpack();
		ck_assert_uint_eq(result.flags, LOADER_UNPACKED | LOADER_RELOCATED);
		ck_assert_uint_eq(result.entry, LINKED + n * ALIGNMENT + ENTRY);
		check_segments(LINKED + n * ALIGNMENT, v * ALIGNMENT, true);
		p = at(result.params_gpa, sizeof(*p));
		ck_assert_uint_eq(p->hdr.loadflags & KASLR_FLAG, KASLR_FLAG);
	}
}
END_TEST

START_TEST(kaslr_stays_below_the_initrd)
{
	pack(LZ4);
	options.kaslr = 1;
	options.initrd_bytes = 33 * MIB + 1;
	for (options.entropy[0] = 0; options.entropy[0] < 40; options.entropy[0]++) {
		must_unpack();
		ck_assert_uint_le(result.entry - ENTRY + ROOM, result.initrd_gpa);
	}
	options.initrd_bytes = RAM_BYTES - LINKED - ROOM; /* then there is one place */
	must_unpack();
	ck_assert_uint_eq(result.entry, LINKED + ENTRY);
	options.initrd_bytes++;
	must_fail(ENOMEM, "does not fit in memory behind the kernel");
}
END_TEST

/* Linux since 6.15. */
START_TEST(table_without_inverse_relocations)
{
	TABLE(two_lists);
	pack(LZ4);
	options.kaslr = 1;
	options.entropy[1] = 3;
	must_unpack();
	ck_assert_uint_eq(result.flags, LOADER_UNPACKED | LOADER_RELOCATED);
	check_segments(result.entry - ENTRY, 3 * ALIGNMENT, false);
}
END_TEST

START_TEST(kernel_without_relocations)
{
	vmlinux_bytes = ELF_BYTES;
	pack(LZ4);
	options.kaslr = 1;
	options.entropy[1] = 3;
	must_unpack();
	ck_assert_uint_eq(result.flags, LOADER_UNPACKED);
	check_segments(result.entry - ENTRY, 0, true);
}
END_TEST

/* Nothing is 2 MiB into the file: all of it has to be moved up before the segments move down. */
START_TEST(file_of_another_layout)
{
	memmove(vmlinux + 0x1000, vmlinux + TEXT_AT, TEXT_BYTES);
	segment(0)->p_offset = 0x1000;
	pack(ZSTD);
	must_unpack();
	ck_assert_mem_eq(at(LINKED, TEXT_BYTES), vmlinux + 0x1000, TEXT_BYTES);
	ck_assert_mem_eq(at(LINKED + DATA, DATA_BYTES), vmlinux + DATA_AT, DATA_BYTES);
	header.init_size =
		(uint32_t)(vmlinux_bytes + 0x1000); /* too little for that, but enough for the file */
	header.pref_address = LINKED;
	pack(ZSTD);
	must_unpack();
	segment(0)->p_offset = 0;
	header.init_size = (uint32_t)vmlinux_bytes - 1;
	pack(ZSTD);
	must_fall_back("larger than its header says");
}
END_TEST

START_TEST(odd_headers_are_left_to_the_guest)
{
	header.relocatable_kernel = 0;
	pack(LZ4);
	must_fall_back("not relocatable");
	header.relocatable_kernel = 1;
	header.kernel_alignment = 1 << 20;
	pack(LZ4);
	must_fall_back("alignment");
	header.kernel_alignment = ALIGNMENT;
	header.payload_offset = UINT32_MAX;
	pack(LZ4);
	must_fall_back("no payload");
	header.payload_offset = PAYLOAD_AT + 32;
	pack(LZ4);
	must_fall_back("no payload");
	header.payload_offset = PAYLOAD_AT - 1;
	pack(LZ4);
	must_fall_back("its"); /* its size is not in its last bytes, nor its magic number in the first */
}
END_TEST

START_TEST(lying_sizes_are_left_to_the_guest)
{
	static const int64_t lies[] = {-1, 1, -1000000, 1000000};

	for (enum format f = LZ4; f < FORMATS; f++) {
		for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
			uint32_t lie = (uint32_t)((int64_t)vmlinux_bytes + lies[i]);

			pack(f);
			memcpy(payload() + header.payload_length - 4, &lie, 4);
			must_fall_back("damaged");
		}
		memset(payload() + header.payload_length - 4, 0xff, 4);
		must_fall_back("larger than its header says");
		memset(payload() + header.payload_length - 4, 0, 4);
		must_fall_back("larger than its header says");
	}
}
END_TEST

/* A payload that ends anywhere, by its header. */
START_TEST(cut_payloads_are_left_to_the_guest)
{
	pack((enum format)_i);
	for (uint32_t full = header.payload_length, cut = 0; cut < full;
	     cut += cut < 64 || full - cut < 64 ? 1 : 997) {
		memcpy((uint8_t *)image + 0x1f1 + offsetof(struct setup_header, payload_length), &cut, 4);
		/* What its last four bytes then say may be anything. */
		must_fall_back("");
		ck_assert_str_ne(result.text, "");
	}
}
END_TEST

/* A file that ends anywhere. */
START_TEST(cut_files_are_errors)
{
	static uint8_t whole[IMAGE_MAX];
	size_t bytes;

	pack(ZSTD);
	bytes = image_bytes;
	memcpy(whole, image, bytes);
	for (image_bytes = 0; image_bytes < bytes;
	     image_bytes += image_bytes < 1100 || bytes - image_bytes < 32 ? 1 : 97) {
		image = image_area + IMAGE_MAX - image_bytes; /* up to the inaccessible page */
		memcpy((uint8_t *)image, whole, image_bytes);
		ck_assert_int_lt(load(), 0);
	}
}
END_TEST

START_TEST(file_that_is_not_all_there)
{
	pack(LZ4);
	ck_assert_int_eq(load_image(image_bytes, 200 * MIB), 0); /* what follows is a signature at most */
	image = vmlinux;                                         /* made a multiboot image */
	segment(3)->p_type = PT_NULL;
	memcpy(vmlinux + 0x400, (uint32_t[]){0x1badb002, 0, -0x1badb002u}, 12);
	ck_assert_int_eq(load_image(sizeof(vmlinux), 200 * MIB), 0);
	ck_assert_int_eq(load_image(TEXT_AT, 200 * MIB), -EINVAL);
	ck_assert_ptr_nonnull(strstr(result.text, "strip it"));
	ck_assert_int_eq(load_image(TEXT_AT, TEXT_AT), -EINVAL);
	ck_assert_ptr_nonnull(strstr(result.text, "truncated"));
}
END_TEST

START_TEST(odd_vmlinuxes_are_left_to_the_guest)
{
	static const struct {
		unsigned segment;
		Elf64_Phdr p;
	} odd[] = {
		/* overlapping in memory; in the file; in another order; beyond the room; before the start */
		{1,
		 {.p_type = PT_LOAD,
		  .p_offset = DATA_AT,
		  .p_paddr = LINKED + 0x2fff,
		  .p_filesz = 16,
		  .p_memsz = 16}},
		{1,
		 {.p_type = PT_LOAD,
		  .p_offset = TEXT_AT + 0x2fff,
		  .p_paddr = LINKED + DATA,
		  .p_filesz = 16,
		  .p_memsz = 16}},
		{0,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT + CPU_BYTES,
		  .p_paddr = LINKED,
		  .p_filesz = 0x200,
		  .p_memsz = 0x200}},
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT,
		  .p_paddr = LINKED + ROOM,
		  .p_filesz = 0,
		  .p_memsz = 1}},
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT,
		  .p_paddr = LINKED + CPU,
		  .p_filesz = 0,
		  .p_memsz = UINT64_MAX}},
		{0,
		 {.p_type = PT_LOAD,
		  .p_offset = TEXT_AT,
		  .p_paddr = LINKED - 1,
		  .p_filesz = 0x200,
		  .p_memsz = 0x200}},
		{2,
		 {.p_type = PT_LOAD, .p_offset = CPU_AT, .p_paddr = UINT64_MAX, .p_filesz = 0, .p_memsz = 1}},
		/* beyond the file; larger than in memory; without the entry */
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = UINT64_MAX,
		  .p_paddr = LINKED + CPU,
		  .p_filesz = 2,
		  .p_memsz = 2}},
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT,
		  .p_paddr = LINKED + CPU,
		  .p_filesz = ELF_BYTES,
		  .p_memsz = ELF_BYTES}},
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT,
		  .p_paddr = LINKED + CPU,
		  .p_filesz = 2,
		  .p_memsz = 1}},
		{0,
		 {.p_type = PT_LOAD,
		  .p_offset = TEXT_AT,
		  .p_paddr = LINKED,
		  .p_filesz = ENTRY,
		  .p_memsz = ENTRY}},
	};

	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		make_vmlinux();
		*segment(odd[i].segment) = odd[i].p;
		pack(LZ4);
		must_fall_back("unusual");
	}
	for (unsigned i = 0; i < 4; i++) {
		make_vmlinux();
		switch (i) {
		case 0:
			elf()->e_phnum = UINT16_MAX;
			break;
		case 1:
			elf()->e_phoff = UINT64_MAX;
			break;
		case 2:
			elf()->e_shoff = UINT64_MAX;
			break;
		case 3:
			elf()->e_machine = EM_386;
		}
		pack(LZ4);
		must_fall_back("unusual");
	}
	vmlinux_bytes = 10; /* not even a header */
	pack(LZ4);
	must_fall_back("unusual");
}
END_TEST

START_TEST(odd_relocations_are_left_to_the_guest)
{
	static const uint32_t outside[] = {AT(-1), AT(CPU + CPU_BYTES - 3), AT(CPU + CPU_BYTES),
					   AT(0x70000000), 1};
	uint32_t words[] = {0, AT(0x10), 0, AT(CPU + 0x10), 0, AT(0x20)};

	options.kaslr = 1;
	options.entropy[1] = 1;
	TABLE(words);
	pack(LZ4);
	must_unpack();
	for (unsigned i = 0; i < 3 * sizeof(outside) / sizeof(outside[0]); i++) {
		uint32_t *word = &words[1 + i % 3 * 2], good = *word;

		*word = outside[i / 3];
		TABLE(words);
		pack(LZ4);
		must_fall_back("relocations");
		*word = good;
	}
	words[1] = AT(CPU + CPU_BYTES - 7); /* the last byte of 8 is outside, of 4 it would not be */
	TABLE(words);
	pack(LZ4);
	must_fall_back("relocations");
	words[0] = words[1] = AT(0x10); /* no zero in front */
	TABLE(words);
	pack(LZ4);
	must_fall_back("relocations");
	put_table((uint32_t[]){0, AT(0x10)}, 2);
	pack(LZ4);
	must_fall_back("relocations");
	put_table((uint32_t[]){0, 0, 0, 0}, 4);
	pack(LZ4);
	must_fall_back("relocations");
	TABLE(three_lists);
	vmlinux_bytes++;
	pack(LZ4);
	must_fall_back("relocations");
	options.kaslr = 0; /* then nobody looks at them */
	must_unpack();
}
END_TEST

/* More than the workspace holds. */
START_TEST(xz_with_a_large_dictionary)
{
	lzma_options_lzma lzma;
	lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &lzma}, {LZMA_VLI_UNKNOWN, NULL}};
	static uint8_t packed[MIB];
	uint32_t unpacked = (uint32_t)vmlinux_bytes;
	size_t n = 0;

	ck_assert(!lzma_lzma_preset(&lzma, 0));
	lzma.dict_size = 64 * MIB;
	ck_assert_int_eq(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC64, NULL, vmlinux, vmlinux_bytes,
						   packed, &n, MIB),
			 LZMA_OK);
	memcpy(packed + n, &unpacked, 4);
	wrap(packed, n + 4);
	must_fall_back("dictionary is too large");
}
END_TEST

START_TEST(little_memory)
{
	pack(LZ4);
	options.kaslr = 1;
	options.entropy[0] = 5;
	options.ram_bytes = LINKED + ROOM;
	must_unpack();
	ck_assert_uint_eq(result.entry, LINKED + ENTRY);
	options.ram_bytes--;
	must_fail(ENOMEM, "give --mem 20M or more");
	options.ram_bytes = LINKED + ROOM;
	mem.seg[0].size = LINKED + ROOM - 1; /* and if it is not even there */
	must_fall_back("no room");
	mem.seg[0].size = 0x1000;
	ck_assert_int_eq(load(), -ENOMEM);
	mem.seg[0].size = RAM_BYTES;
}
END_TEST

/* Bits of the packed file: the libraries have to cope. */
START_TEST(damaged_images_do_no_harm)
{
	options.initrd_bytes = 5000;
	for (unsigned i = 0; i < 300; i++) {
		options.kaslr = i & 1;
		options.entropy[0] = random_below(1u << 30);
		options.entropy[1] = random_below(1u << 30);
		pack((enum format)_i);
		for (uint64_t flips = 1 + random_below(8); flips; flips--) {
			uint64_t where = random_below(2)   ? random_below(image_bytes)
					 : random_below(4) ? SETUP_BYTES + PAYLOAD_AT + random_below(64)
							   : 0x1f0 + random_below(0x80);

			((uint8_t *)image)[where] ^= (uint8_t)(1u << random_below(8));
		}
		load();
	}
}
END_TEST

/* What comes out of the packed file: headers and table. */
START_TEST(damaged_vmlinuxes_do_no_harm)
{
	static const uint64_t numbers[] = {
		0,       1,    0xff,          0xffff,    0x7fffffff, 0x80000000, UINT32_MAX, LINKED,
		TEXT_AT, ROOM, LINKED + ROOM, ELF_BYTES, 1ull << 32, INT64_MAX,  1ull << 63, UINT64_MAX};
	unsigned unpacked = 0;

	for (unsigned i = 0; i < 2000; i++) {
		make_vmlinux();
		for (uint64_t fields = 1 + random_below(4); fields; fields--) {
			uint64_t value = numbers[random_below(sizeof(numbers) / sizeof(numbers[0]))];
			uint64_t where =
				random_below(3) ? random_below(288 - 8) : ELF_BYTES + random_below(24);

			if (random_below(3) == 0)
				value = random_below(1u << 26);
			memcpy(vmlinux + where, &value, 1u << random_below(4));
		}
		options.kaslr = random_below(4) != 0;
		options.entropy[0] = random_below(1u << 30);
		options.entropy[1] = random_below(1u << 30);
		pack(LZ4);
		ck_assert_int_eq(load(), 0); /* at worst the guest is left with it */
		unpacked += result.flags & LOADER_UNPACKED;
	}
	ck_assert_uint_gt(unpacked, 100);
	ck_assert_uint_lt(unpacked, 1900);
}
END_TEST

/* ---- Multiboot ---- */

#define MULTIBOOT_MAGIC 0x1badb002u
#define HEADER_AT       0x40u

static uint32_t multiboot[1024];

/* flags, header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr */
static void make_multiboot(const uint32_t fields[6])
{
	uint32_t *h = multiboot + HEADER_AT / 4;

	for (unsigned i = 0; i < 1024; i++)
		multiboot[i] = i * 2654435761u | 1;
	h[0] = MULTIBOOT_MAGIC;
	h[1] = fields[0];
	h[2] = -(h[0] + h[1]);
	memcpy(h + 3, fields + 1, 5 * 4);
	image_bytes = sizeof(multiboot);
	image = memcpy(image_area + IMAGE_MAX - image_bytes, multiboot, image_bytes);
}

#define BASE 0x200000u

START_TEST(multiboot_by_addresses)
{
	const uint32_t *info;

	make_multiboot((uint32_t[]){0x10003, BASE + HEADER_AT - 0x20, BASE, 0, BASE + 0x3000, BASE + 0x123});
	options.initrd_bytes = 5;
	memset(at(BASE, 0x3000), 0xa5, 0x3000);
	ck_assert_int_eq(load(), 0);
	ck_assert_int_eq(result.kind, LOADER_MULTIBOOT);
	ck_assert_uint_eq(result.entry, BASE + 0x123);
	ck_assert_mem_eq(at(BASE, sizeof(multiboot) - 0x20), (uint8_t *)multiboot + 0x20,
			 sizeof(multiboot) - 0x20);
	for (uint32_t i = sizeof(multiboot) - 0x20; i < 0x3000; i++)
		ck_assert_uint_eq(*(uint8_t *)at(BASE + i, 1), 0);
	ck_assert_uint_eq(result.initrd_gpa, BASE + 0x3000);
	info = at(result.params_gpa, 88);
	ck_assert_uint_eq(info[0], 0x24d);
	ck_assert_uint_eq(info[1], 639);
	ck_assert_uint_eq(info[2], (RAM_BYTES - MIB) / 1024);
	ck_assert_uint_eq(info[4], BOOT_CMDLINE_GPA);
	ck_assert_uint_eq(info[5], 1);
	ck_assert_uint_eq(((uint32_t *)at(info[6], 16))[0], result.initrd_gpa);
	ck_assert_uint_eq(((uint32_t *)at(info[6], 16))[1], result.initrd_gpa + 5);
	ck_assert_uint_eq(info[11], 4 * 24);
	ck_assert_uint_eq(((uint32_t *)at(info[12], 96))[0], 20);
	ck_assert_str_eq(at(info[16], 5), "dvmm");
}
END_TEST

START_TEST(bad_multiboot_images)
{
	static const struct {
		uint32_t fields[6];
		int err;
		const char *text;
	} bad[] = {
		{{0x10007, BASE, BASE, 0, 0, BASE}, ENOEXEC, "flags 0x10007"},
		{{0x3}, ENOEXEC, "no ELF file"},
		{{0x10003, BASE - 1, BASE, 0, 0, BASE}, EINVAL, "contradict"},
		{{0x10003, BASE + HEADER_AT + 1, BASE, 0, 0, BASE}, EINVAL, "contradict"},
		{{0x10003, BASE, BASE, BASE - 1, 0, BASE}, EINVAL, "contradict"},
		{{0x10003, BASE, BASE, BASE + 0x1000, 0, BASE}, EINVAL, "truncated"},
		{{0x10003, BASE, BASE, BASE + 16, BASE + 15, BASE}, EINVAL, "contradict"},
		{{0x10003, BASE, BASE, BASE + 16, 0, BASE + 16}, EINVAL, "contradict"},
		{{0x10003, BASE, BASE, BASE + 16, 0, BASE - 1}, EINVAL, "contradict"},
		{{0x10003, 0xfffff, 0xfffff, 0, 0, 0xfffff}, ENOEXEC, "no memory can be"},
		{{0x10003, BASE, BASE, 0, 0xc0000001, BASE}, ENOEXEC, "no memory can be"},
		{{0x10003, 0xfffffff0, 0xfffffff0, 0, 0, 0xfffffff0}, ENOEXEC, "no memory can be"},
		{{0x10003, BASE, BASE, 0, RAM_BYTES + 1, BASE}, ENOMEM, "give --mem 65M or more"},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_multiboot(bad[i].fields);
		must_fail(bad[i].err, bad[i].text);
	}
	make_multiboot((uint32_t[]){0x10003, BASE, BASE, 0, RAM_BYTES, BASE});
	ck_assert_int_eq(load(), 0);
	options.initrd_bytes = 1;
	must_fail(ENOMEM, "module does not fit");
	((uint32_t *)image)[HEADER_AT / 4 + 2]++;
	must_fail(ENOEXEC, "not a kernel");
}
END_TEST

START_TEST(damaged_multiboot_images_do_no_harm)
{
	unsigned loaded = 0;

	for (unsigned i = 0; i < 20000; i++) {
		uint32_t fields[6] = {0x10003, BASE + HEADER_AT, BASE, 0, BASE + 0x3000, BASE};

		for (uint64_t n = random_below(4); n; n--)
			fields[1 + random_below(5)] = random_below(2)
							      ? (uint32_t)(BASE + random_below(0x2000))
							      : (uint32_t)random_below(1ull << 32);
		make_multiboot(fields);
		if (random_below(4) == 0)
			image_bytes = random_below(image_bytes);
		image = memcpy(image_area + IMAGE_MAX - image_bytes, multiboot, image_bytes);
		options.initrd_bytes = random_below(2) * random_below(RAM_BYTES);
		loaded += load() == 0;
	}
	ck_assert_uint_gt(loaded, 1000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("loader");
	TCase *t = tcase_create("images");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, every_format_is_unpacked, 0, FORMATS);
	tcase_add_test(t, kaslr_moves_and_relocates);
	tcase_add_test(t, kaslr_stays_below_the_initrd);
	tcase_add_test(t, table_without_inverse_relocations);
	tcase_add_test(t, kernel_without_relocations);
	tcase_add_test(t, file_of_another_layout);
	tcase_add_test(t, odd_headers_are_left_to_the_guest);
	tcase_add_test(t, lying_sizes_are_left_to_the_guest);
	tcase_add_loop_test(t, cut_payloads_are_left_to_the_guest, 0, FORMATS);
	tcase_add_test(t, cut_files_are_errors);
	tcase_add_test(t, file_that_is_not_all_there);
	tcase_add_test(t, odd_vmlinuxes_are_left_to_the_guest);
	tcase_add_test(t, odd_relocations_are_left_to_the_guest);
	tcase_add_test(t, xz_with_a_large_dictionary);
	tcase_add_test(t, little_memory);
	tcase_add_loop_test(t, damaged_images_do_no_harm, 0, FORMATS);
	tcase_add_test(t, damaged_vmlinuxes_do_no_harm);
	tcase_add_test(t, multiboot_by_addresses);
	tcase_add_test(t, bad_multiboot_images);
	tcase_add_test(t, damaged_multiboot_images_do_no_harm);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
