/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "emulator/image.h"

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define PAGE 4096u

#define SEGMENTS_MOST 8

/* The linker's (text.ld): the code of the program that runs all the time. NULL if linked without it. */
extern const char running_begin[] __attribute__((weak)), running_end[] __attribute__((weak));

static void let_go(uintptr_t start, uintptr_t end)
{
	if (start < end)
		madvise((void *)start, end - start, MADV_DONTNEED);
}

/* Not the code that runs all the time: it would be back at once, but without the breakpoints of whoever traces it. */
static void release_segment(uintptr_t start, uintptr_t end)
{
	const uintptr_t keep = (uintptr_t)running_begin & ~(uintptr_t)(PAGE - 1);

	if (keep >= start && keep < end) {
		let_go(start, keep);
		start = ((uintptr_t)running_end + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
	}
	let_go(start, end);
}

/* Of the program, and of each library. The headers, which say where the segments are, go with the first of these, so all
 * is noted before. Which code of the program runs all the time is not known without text.ld: then all of it stays. */
static int release_object(struct dl_phdr_info *info, size_t size, void *data)
{
	const bool program = info->dlpi_name[0] == '\0';
	uintptr_t start[SEGMENTS_MOST], end[SEGMENTS_MOST];
	unsigned count = 0;

	for (int i = 0; i < info->dlpi_phnum && count < SEGMENTS_MOST; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		const uintptr_t at = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || segment->p_flags & PF_W ||
		    (program && segment->p_flags & PF_X && !running_begin))
			continue;
		start[count] = at & ~(uintptr_t)(PAGE - 1);
		end[count++] = at + segment->p_memsz;
	}
	for (unsigned i = 0; i < count; i++)
		release_segment(start[i], end[i]);
	return 0;
}

void image_release_startup(void) { dl_iterate_phdr(release_object, NULL); }
