/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "devices/debug_exit.h"

static void debug_exit_access(struct operation *op, struct access *a)
{
	if (!a->write || op->out->event == MACHINE_EXIT)
		return;
	op->out->event = MACHINE_EXIT;
	op->out->exit_code = (uint32_t)a->value;
}

const struct device_ops debug_exit_ops = {
	.name = "debug-exit",
	.max_access = 4,
	.access = debug_exit_access,
};
