/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/registers.h"

#include <string.h>

static void add(struct registers *r, const struct fast_register *e)
{
	uint32_t i = registers_place(e->space, e->addr);

	if (r->count == REGISTERS_MAX || registers_find(r, e->space, e->addr))
		return;
	while (r->place[i])
		i = (i + 1) % REGISTERS_PLACES;
	r->entry[r->count++] = *e;
	r->place[i] = (uint8_t)r->count;
}

void registers_build(struct registers *r, const struct machine *m, const struct published *published)
{
	memset(r, 0, sizeof(*r));
	for (uint32_t i = 0; i < m->devices; i++) {
		const struct machine_device *d = &m->device[i];
		const struct device_ops *ops = device_ops_of(d->type);

		for (uint32_t n = 0; n < ops->register_count && n < DEVICE_MAX_REGISTERS; n++)
			add(r, &(struct fast_register){
				       .addr = d->base + ops->registers[n].offset,
				       .space = d->space,
				       .size = ops->registers[n].size,
				       .device = i,
				       .word = &published[i].word[n],
			       });
	}
}
