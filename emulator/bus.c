/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "emulator/bus.h"

#include <string.h>

uint32_t bus_find(const struct machine *m, uint32_t space, uint64_t addr)
{
	for (uint32_t i = 0; i < m->devices; i++)
		if (m->device[i].space == space && addr - m->device[i].base < m->device[i].size)
			return i;
	return REPLY_NO_DEVICE;
}

/* The widest access that both sides can do. */
static uint32_t access_width(const struct device_ops *ops, uint32_t size)
{
	return size < ops->max_access ? size : ops->max_access;
}

static bool inside_window(const struct machine_device *dev, uint64_t offset, uint32_t size)
{
	return offset < dev->size && size <= dev->size - offset;
}

void bus_read(const struct machine_device *dev, struct operation *op, uint64_t addr, uint32_t size,
	      uint8_t *data)
{
	const struct device_ops *ops = device_ops_of(dev->type);
	uint32_t step = access_width(ops, size);

	memset(data, 0xff, size);
	for (uint32_t done = 0; done < size; done += step) {
		struct access a = {.offset = addr + done - dev->base, .size = step, .value = UINT64_MAX};

		if (inside_window(dev, a.offset, step)) {
			ops->access(op, &a);
			memcpy(data + done, &a.value, step);
		}
	}
}

void bus_write(const struct machine_device *dev, struct operation *op, uint64_t addr, uint32_t size,
	       const uint8_t *data)
{
	const struct device_ops *ops = device_ops_of(dev->type);
	uint32_t step = access_width(ops, size);

	for (uint32_t done = 0; done < size; done += step) {
		struct access a = {.offset = addr + done - dev->base, .size = step, .write = true};

		memcpy(&a.value, data + done, step);
		if (inside_window(dev, a.offset, step))
			ops->access(op, &a);
	}
}
