/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the loader's tests share: guest memory, a workspace and room for an image, each of which ends at a
 * page that cannot be accessed, so that nothing is touched behind them; and what every result has to be like.
 */
#ifndef DVMM_TESTS_LOADER_HARNESS_H
#define DVMM_TESTS_LOADER_HARNESS_H

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "emulator/loader/loader.h"
#include "emulator/machine.h"
#include "tests/unit/run_suite.h"

#define MIB       (1ull << 20)
#define RAM_BYTES (64 * MIB)
#define IMAGE_MAX (4 * MIB)

/* A fresh one for every test. */
static struct guest_memory mem;
static uint8_t *workspace;
static uint8_t *image_area; /* IMAGE_MAX bytes with an inaccessible page behind; images lie at its end */
static const uint8_t *image;
static size_t image_bytes;
static struct loader_options options;
static struct loader_result result;

static inline uint8_t *map_guarded(size_t bytes)
{
	uint8_t *p = mmap(NULL, bytes + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert(p != MAP_FAILED);
	ck_assert_int_eq(mprotect(p, bytes, PROT_READ | PROT_WRITE), 0);
	return p;
}

static uint64_t random_state;

static inline uint64_t random_below(uint64_t limit)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % limit;
}

static inline void setup(void)
{
	mem.seg[0] =
		(struct guest_memory_segment){.gpa = 0, .size = RAM_BYTES, .host = map_guarded(RAM_BYTES)};
	workspace = map_guarded(LOADER_WORKSPACE);
	image_area = map_guarded(IMAGE_MAX);
	memset(mem.seg[0].host + 12 * MIB, 0xa5, 16 * MIB);
	options = (struct loader_options){
		.ram_bytes = RAM_BYTES, .rsdp_gpa = 0xe0000, .name_bytes = 6, .cmdline_bytes = 20};
	random_state = 4711;
}

static inline void teardown(void)
{
	munmap(mem.seg[0].host, RAM_BYTES + 4096);
	munmap(workspace, LOADER_WORKSPACE + 4096);
	munmap(image_area, IMAGE_MAX + 4096);
}

static inline void *at(uint64_t gpa, uint64_t len)
{
	void *host = guest_memory_range(&mem, gpa, len);

	ck_assert_ptr_nonnull(host);
	return host;
}

static inline int load_image(uint64_t have, uint64_t size)
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

static inline int load(void)
{
	return load_image(image_bytes, image_bytes);
}

static inline void must_fail(int err, const char *text)
{
	int r = load();

	ck_assert_msg(r == -err, "%d instead of %d: %s", r, -err, result.text);
	ck_assert_msg(strstr(result.text, text) != NULL, "'%s' without '%s'", result.text, text);
}

/* A case whose tests are set up like this each. */
static inline TCase *loader_tests(const char *name, void (*how)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, how, teardown);
	tcase_set_timeout(t, 300);
	return t;
}

#endif
