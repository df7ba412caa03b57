/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: kernel and initrd are read with pread() straight to where they belong, so that needs
 * no memory of ours however large they are. A size that fstat() told is only a plan: the file may
 * change meanwhile, and a read that ends early is an error that says so.
 */
#include "vmm/boot_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int boot_fail(char error[BOOT_ERROR_BYTES], int err, const char *name, const char *format, ...)
{
	char message[BOOT_ERROR_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	snprintf(error, BOOT_ERROR_BYTES, "%s: %.384s", name, message);
	/* A name may hold a line feed, and so may what a loader said; the message is one line all the same.
	 */
	for (char *c = error; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c == 0x7f)
			*c = '?';
	return -err;
}

int boot_file_examine(struct boot_file *file, char error[BOOT_ERROR_BYTES])
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return boot_fail(error, errno, file->name, "cannot be examined: %s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return boot_fail(error, EINVAL, file->name, "is a directory: give a file");
	if (!S_ISREG(st.st_mode))
		return boot_fail(error, EINVAL, file->name,
				 "is not a regular file: copy its contents to one and give that");
	if (st.st_size <= 0)
		return boot_fail(error, EINVAL, file->name, "is empty: give a complete file");
	file->bytes = (uint64_t)st.st_size;
	return 0;
}

int boot_file_read(const struct boot_file *file, void *to, uint64_t len, char error[BOOT_ERROR_BYTES])
{
	uint64_t offset = 0;

	while (offset < len) {
		ssize_t n = pread(file->fd, (uint8_t *)to + offset, len - offset, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return boot_fail(error, errno, file->name, "cannot be read: %s", strerror(errno));
		if (n == 0)
			return boot_fail(error, EINVAL, file->name,
					 "truncated: it ends %llu bytes too early: give a complete file",
					 (unsigned long long)(len - offset));
		offset += (uint64_t)n;
	}
	return 0;
}

int boot_put(const struct guest_memory *mem, uint64_t gpa, const void *from, uint64_t len,
	     char error[BOOT_ERROR_BYTES])
{
	if (guest_memory_write(mem, gpa, from, len))
		return 0;
	return boot_fail(error, ENOMEM, "--mem", "the guest's memory ends below 1 MiB: give more");
}
