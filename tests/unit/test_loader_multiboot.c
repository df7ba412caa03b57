/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loader on multiboot images made here: what good ones become, what bad ones are told, and, with random
 * addresses (a fixed seed), that nothing is touched but guest memory and the workspace.
 */
#include "tests/unit/loader_harness.h"

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
	Suite *s = suite_create("loader_multiboot");
	TCase *t = loader_tests("images", setup);

	tcase_add_test(t, multiboot_by_addresses);
	tcase_add_test(t, bad_multiboot_images);
	tcase_add_test(t, damaged_multiboot_images_do_no_harm);
	suite_add_tcase(s, t);
	return run_suite(s);
}
