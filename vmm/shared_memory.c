/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared memory between dvmm and the emulator. Sizes are sealed: a process that could shrink a file would
 * make the other one's accesses fault. What only dvmm may write is sealed against new writable mappings after
 * dvmm has made its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/vm.h"

#define MAP_MOST (256 << 20) /* bytes; kernels are rarely more */

#ifndef MADV_POPULATE_READ /* Linux 5.14; the C library's headers may be older */
#define MADV_POPULATE_READ 22
#endif

int shared_memory_create(struct shared_memory *s, const char *name, uint64_t bytes, bool writable,
			 struct failure *f)
{
	int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL | (writable ? 0 : F_SEAL_FUTURE_WRITE);

	s->bytes = bytes;
	s->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (s->fd < 0)
		return fail_with(f, EXIT_HOST, "cannot create shared memory for %s: %s", name,
				 strerror(errno));
	if (ftruncate(s->fd, (off_t)bytes) < 0)
		return fail_with(f, EXIT_HOST, "cannot size %s to %llu MiB: %s", name,
				 (unsigned long long)bytes >> 20, strerror(errno));
	s->at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, s->fd, 0);
	if (s->at == MAP_FAILED)
		return fail_with(f, EXIT_HOST,
				 "cannot map %llu MiB for %s: %s; give the guest less with --mem",
				 (unsigned long long)bytes >> 20, name, strerror(errno));
	if (fcntl(s->fd, F_ADD_SEALS, seals) < 0)
		return fail_with(f, EXIT_HOST, "cannot seal %s: %s; dvmm needs Linux 5.1 or newer", name,
				 strerror(errno));
	return 0;
}

/*
 * KVM would find out page by page, by a fault each; asked for at once they come 16 by 16. Who has filled them has parsed
 * a kernel's image and need not be honest any more, and signals wait meanwhile: hence an end to it.
 */
void shared_memory_map_present(const struct shared_memory *s, uint64_t bytes)
{
	off_t start = 0, end, left = MAP_MOST;

	while (left > 0 && (start = lseek(s->fd, start, SEEK_DATA)) >= 0 && start < (off_t)bytes &&
	       (end = lseek(s->fd, start, SEEK_HOLE)) > start) {
		if (end > (off_t)bytes)
			end = (off_t)bytes;
		if (end - start > left)
			end = start + left;
		if (madvise((uint8_t *)s->at + start, (size_t)(end - start), MADV_POPULATE_READ))
			return;
		left -= end - start;
		start = end;
	}
}
