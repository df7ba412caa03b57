/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Layout and commit of the state region; see region.h for the rule that everything rests on.
 */
#include "emulator/region.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define LINE 64u
#define PAGE 4096u

static uint64_t align_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static void *at(void *region, uint64_t offset)
{
	return (uint8_t *)region + offset;
}

int region_layout(const struct machine *m, struct region_layout *layout)
{
	uint64_t next = 0;

	memset(layout, 0, sizeof(*layout));
	if (m->devices > MACHINE_MAX_DEVICES)
		return -EINVAL;
	for (uint32_t i = 0; i < m->devices; i++) {
		const struct device_ops *ops = device_ops_of(m->device[i].type);
		struct region_device *d = &layout->device[i];

		if (!ops)
			return -EINVAL;
		d->state_size = ops->state_size;
		d->current = next;
		next += LINE;
		for (int c = 0; c < 2; c++) {
			d->copy[c] = next;
			d->state[c] = align_up(next + sizeof(struct region_copy), LINE);
			next = align_up(d->state[c] + d->state_size, LINE);
		}
	}
	/* Bulk areas last, so that the states, which every operation touches, stay close together. */
	for (uint32_t i = 0; i < m->devices; i++) {
		struct region_device *d = &layout->device[i];

		d->bulk_size = device_ops_of(m->device[i].type)->bulk_size;
		d->bulk = next;
		next = align_up(next + d->bulk_size, LINE);
	}
	layout->size = align_up(next, PAGE);
	return 0;
}

void region_init(const struct machine *m, const struct region_layout *layout, void *region)
{
	for (uint32_t i = 0; i < m->devices; i++) {
		const struct device_ops *ops = device_ops_of(m->device[i].type);

		region_copy_of(layout, region, i, 0)->journal.slot = JOURNAL_NOBODY;
		if (ops->init)
			ops->init(region_state_of(layout, region, i, 0), &m->device[i].config);
	}
}

uint32_t region_current(const struct region_layout *layout, void *region, uint32_t device)
{
	const _Atomic uint32_t *current = at(region, layout->device[device].current);

	return atomic_load_explicit(current, memory_order_acquire) & 1;
}

struct region_copy *region_copy_of(const struct region_layout *layout, void *region, uint32_t device,
				   uint32_t which)
{
	return at(region, layout->device[device].copy[which & 1]);
}

void *region_state_of(const struct region_layout *layout, void *region, uint32_t device, uint32_t which)
{
	return at(region, layout->device[device].state[which & 1]);
}

void *region_bulk_of(const struct region_layout *layout, void *region, uint32_t device)
{
	return layout->device[device].bulk_size ? at(region, layout->device[device].bulk) : NULL;
}

uint32_t region_begin(const struct region_layout *layout, void *region, uint32_t device)
{
	uint32_t current = region_current(layout, region, device);
	uint32_t spare = current ^ 1;
	struct region_copy *copy = region_copy_of(layout, region, device, spare);

	memset(copy, 0, sizeof(*copy));
	copy->journal.slot = JOURNAL_NOBODY;
	memcpy(region_state_of(layout, region, device, spare),
	       region_state_of(layout, region, device, current), layout->device[device].state_size);
	return spare;
}

void region_commit(const struct region_layout *layout, void *region, uint32_t device, uint32_t which)
{
	_Atomic uint32_t *current = at(region, layout->device[device].current);

	/* Release: who sees the new index sees all that it stands for. A process that dies here has
	 * either stored the word or not; both are consistent. */
	atomic_store_explicit(current, which & 1, memory_order_release);
}
