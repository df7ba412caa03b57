/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "devices/testdev.h"

#include <string.h>

#define FLUSH_OFFSET 4u /* the four ports that are not the register */

static void testdev_access(struct operation *op, struct access *a)
{
	struct testdev_state *s = op->state;
	unsigned shift = (a->offset & 3) * 8;
	uint64_t mask = ((1ull << a->size * 8) - 1) << shift;

	if ((a->offset & ~3ull) == FLUSH_OFFSET)
		return;
	if (a->write)
		s->value = (uint32_t)((s->value & ~mask) | (a->value << shift & mask));
	else
		a->value = (s->value & mask) >> shift;
}

static void irq_access(struct operation *op, struct access *a)
{
	struct testdev_irq_state *s = op->state;

	if (!a->write)
		return;
	if (a->value & 0xff && !s->level)
		op->out->irq = 1;
	s->level = (a->value & 0xff) != 0;
}

static void memory_access(struct operation *op, struct access *a)
{
	uint8_t *at = (uint8_t *)op->bulk + a->offset; /* the whole access is inside of the window */

	if (a->write)
		memcpy(at, &a->value, a->size);
	else
		memcpy(&a->value, at, a->size);
}

const struct device_ops testdev_ops = {
	.name = "testdev",
	.state_size = sizeof(struct testdev_state),
	.max_access = 4,
	.access = testdev_access,
};

const struct device_ops testdev_irq_ops = {
	.name = "testdev-irq",
	.state_size = sizeof(struct testdev_irq_state),
	.max_access = 1,
	.access = irq_access,
};

const struct device_ops testdev_memory_ops = {
	.name = "testdev-memory",
	.bulk_size = TESTDEV_MEMORY_BYTES,
	.max_access = 8,
	.access = memory_access,
};

_Static_assert(sizeof(struct testdev_state) == 8 && sizeof(struct testdev_irq_state) == 8,
	       "layout of the state");
