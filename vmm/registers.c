/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/registers.h"

#include <string.h>

static void add(struct registers *r, const struct fast_register *e)
{
	uint32_t i = registers_place(e->space, e->addr);

	while (r->place[i])
		i = (i + 1) % REGISTERS_PLACES;
	r->entry[r->count++] = *e;
	r->place[i] = (uint8_t)r->count;
}

/* The device of a posted register, once. */
static void add_posted(struct registers *r, const struct machine *m, uint32_t device)
{
	const struct machine_device *d = &m->device[device];

	if (registers_posted_device(r, d->space, d->base) != NOT_POSTED)
		return;
	r->posted[r->posted_count++] =
		(struct posted_device){.base = d->base, .size = d->size, .space = d->space, .device = device};
}

void registers_build(struct registers *r, const struct machine *m, const struct published *published, uint32_t uses)
{
	memset(r, 0, sizeof(*r));
	for (uint32_t i = 0; i < m->devices; i++) {
		const struct machine_device *d = &m->device[i];
		const struct device_ops *ops = device_ops_of(d->type);

		for (uint32_t n = 0; n < ops->register_count && n < DEVICE_MAX_REGISTERS; n++) {
			const struct device_register *reg = &ops->registers[n];

			if (!(uses & 1u << reg->use) || r->count == REGISTERS_MAX)
				continue;
			add(r, &(struct fast_register){
				       .addr = d->base + reg->offset,
				       .space = d->space,
				       .size = reg->size,
				       .use = reg->use,
				       .device = i,
				       .word = &published[i].word[n],
			       });
			if (reg->use == REGISTER_POSTED)
				add_posted(r, m, i);
		}
	}
}
