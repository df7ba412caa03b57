/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loader on bzImages made here: what good ones of each format become, that odd ones are left to the
 * guest, and, with files cut and damaged at random (a fixed seed), that nothing is touched but guest memory
 * and the workspace. What dvmm makes of results is in test_boot*.c.
 */
#include "tests/unit/loader_kernel.h"

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

int main(void)
{
	Suite *s = suite_create("loader");
	TCase *t = loader_tests("images", setup_kernel);

	tcase_add_loop_test(t, every_format_is_unpacked, 0, FORMATS);
	tcase_add_test(t, odd_headers_are_left_to_the_guest);
	tcase_add_test(t, lying_sizes_are_left_to_the_guest);
	tcase_add_loop_test(t, cut_payloads_are_left_to_the_guest, 0, FORMATS);
	tcase_add_test(t, cut_files_are_errors);
	tcase_add_test(t, file_that_is_not_all_there);
	tcase_add_test(t, xz_with_a_large_dictionary);
	tcase_add_test(t, little_memory);
	tcase_add_loop_test(t, damaged_images_do_no_harm, 0, FORMATS);
	suite_add_tcase(s, t);
	return run_suite(s);
}
