/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: kernel images (bzImage with its payloads, ELF with a PVH entry, multiboot), taken apart by the loader.
 *
 * The input: one byte of flags, one for the initrd's size, then the kernel file.
 */
#include <sys/mman.h>

#include "emulator/loader/loader.h"
#include "tests/fuzz/fuzz.h"

#define RAM_BYTES (8ull << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *ram, *workspace;
	struct input in = {data, size};
	const uint8_t flags = input_u8(&in), initrd_size = input_u8(&in);
	const uint64_t ram_bytes = flags & 2 ? 2ull << 20 : RAM_BYTES;
	const struct loader_image image = {in.at, in.left, flags & 16 ? in.left * 2 : in.left};
	const struct loader_options options = {
		.ram_bytes = ram_bytes,
		.rsdp_gpa = 0xe0000,
		.initrd_bytes = flags & 1 ? initrd_size * 16u : 0,
		.name_bytes = 7,
		.cmdline_bytes = flags & 4 ? 19 : 6,
		.kaslr = flags >> 3 & 1,
		.entropy = {0x123456789abcdefull * initrd_size, 0xfedcba987654321ull * flags},
	};
	struct guest_memory mem = {{{.size = ram_bytes}}};
	struct loader_result result;
	int r;

	if (!ram) {
		fuzz_require(ram = malloc(RAM_BYTES));
		workspace = mmap(NULL, LOADER_WORKSPACE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		fuzz_require(workspace != MAP_FAILED);
	}
	mem.seg[0].host = ram + (RAM_BYTES - ram_bytes); /* its end is the allocation's */
	r = loader_load(&image, &mem, &options, workspace, &result);
	fuzz_require(r <= 0 && memchr(result.text, '\0', sizeof(result.text)));
	fuzz_require((r == 0) == (result.kind != LOADER_NOTHING) && result.kind < LOADER_KINDS);
	if (r == 0)
		fuzz_require(result.entry < ram_bytes && guest_memory_range(&mem, result.params_gpa, 1));
	return 0;
}
