/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: kernel and initrd are read with pread() straight to where they belong, so loading
 * needs no memory of ours however large they are. A size that fstat() told is only a plan: the file may
 * change meanwhile, and a read that ends early is an error that says so.
 */
#include "vmm/boot_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int boot_fail(struct boot *b, int err, const char *name, const char *format, ...)
{
	char message[BOOT_ERROR_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	snprintf(b->error, BOOT_ERROR_BYTES, "%s: %.384s", name, message);
	/* A name may hold a line feed; the message is one line all the same. */
	for (char *c = b->error; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = '?';
	return -err;
}

int boot_file_size(struct boot *b, const struct boot_file *file, uint64_t *bytes)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return boot_fail(b, errno, file->name, "cannot be examined: %s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return boot_fail(b, EINVAL, file->name, "is a directory: give a file");
	if (!S_ISREG(st.st_mode))
		return boot_fail(b, EINVAL, file->name,
				 "is not a regular file: copy its contents to one and give that");
	if (st.st_size <= 0)
		return boot_fail(b, EINVAL, file->name, "is empty: give a complete file");
	*bytes = (uint64_t)st.st_size;
	return 0;
}

int boot_file_read(struct boot *b, const struct boot_file *file, uint64_t offset, void *to, uint64_t len)
{
	uint8_t *at = to;

	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return boot_fail(b, EINVAL, file->name,
				 "damaged: it refers to data past its end: give a complete file");
	while (len > 0) {
		ssize_t n = pread(file->fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return boot_fail(b, errno, file->name, "cannot be read: %s", strerror(errno));
		if (n == 0)
			return boot_fail(b, EINVAL, file->name,
					 "truncated: it ends %llu bytes too early: give a complete file",
					 (unsigned long long)len);
		at += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int boot_file_load(struct boot *b, const struct boot_file *file, uint64_t offset, uint64_t gpa, uint64_t len)
{
	void *to = guest_memory_range(b->mem, gpa, len);

	if (!to)
		return boot_fail(b, ENOMEM, file->name, "has no room in the guest's memory: give more --mem");
	return boot_file_read(b, file, offset, to, len);
}

int boot_put(struct boot *b, uint64_t gpa, const void *from, uint64_t len)
{
	if (guest_memory_write(b->mem, gpa, from, len))
		return 0;
	return boot_fail(b, ENOMEM, "--mem", "the guest's memory ends below 1 MiB: give more");
}
