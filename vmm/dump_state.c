/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dump_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int dump_state_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);

	return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const void *from, size_t len)
{
	const uint8_t *at = from;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int write_device(struct vm *vm, int fd, uint32_t device)
{
	const struct region_device *d = &vm->layout.device[device];
	const uint32_t current = region_current(&vm->layout, vm->region.at, device);
	char title[80];
	int err;

	snprintf(title, sizeof(title), "%s %u %u\n", device_ops_of(vm->machine.device[device].type)->name,
		 d->state_size, d->bulk_size);
	err = write_all(fd, title, strlen(title));
	if (!err)
		err = write_all(fd, region_state_of(&vm->layout, vm->region.at, device, current),
				d->state_size);
	if (!err && d->bulk_size)
		err = write_all(fd, region_bulk_of(&vm->layout, vm->region.at, device), d->bulk_size);
	return err;
}

int dump_state_write(struct vm *vm, int fd)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < vm->machine.devices; i++)
		err = write_device(vm, fd, i);
	if (close(fd) < 0 && !err)
		err = -errno;
	return err;
}
