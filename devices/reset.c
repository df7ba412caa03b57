/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "devices/reset.h"

#define RESET_CPU 0x04u

static void reset_access(struct operation *op, struct access *a)
{
	struct reset_state *s = op->state;

	if (!a->write) {
		a->value = s->value;
		return;
	}
	if ((a->value & RESET_CPU) && !(s->value & RESET_CPU))
		op->out->event = MACHINE_RESET;
	s->value = (uint8_t)a->value;
}

const struct device_ops reset_ops = {
	.name = "reset",
	.state_size = sizeof(struct reset_state),
	.max_access = 1,
	.access = reset_access,
};

_Static_assert(sizeof(struct reset_state) == 8, "layout of the reset register's state");
