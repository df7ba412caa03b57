/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "devices/fw_cfg.h"

#include <string.h>

enum item {
	ITEM_SIGNATURE = 0x00, /* "QEMU": that there is such a device at all */
	ITEM_ID = 0x01,        /* features: bit 0 is what is here */
	ITEM_RAM_SIZE = 0x03,  /* bytes, 64 bits */
	ITEM_CPUS = 0x05,      /* 16 bits */
	ITEM_MAX_CPUS = 0x0f,  /* 16 bits */
};
#define ITEM_BYTES_MAX 8u

/* The bytes of the selected item, padded with zeros. All numbers are little-endian. */
static uint64_t item_value(const struct fw_cfg_state *s)
{
	static const char signature[4] = {'Q', 'E', 'M', 'U'};
	uint64_t value = 0;

	switch (s->selected) {
	case ITEM_SIGNATURE:
		memcpy(&value, signature, sizeof(signature));
		return value;
	case ITEM_ID:
		return 1;
	case ITEM_RAM_SIZE:
		return s->ram_bytes;
	case ITEM_CPUS:
	case ITEM_MAX_CPUS:
		return (uint16_t)s->cpus;
	default:
		return 0;
	}
}

static void fw_cfg_init(void *state, const struct device_config *cfg)
{
	struct fw_cfg_state *s = state;

	s->cpus = cfg->cpus;
	s->ram_bytes = cfg->capacity;
}

static void fw_cfg_access(struct operation *op, struct access *a)
{
	struct fw_cfg_state *s = op->state;

	if (a->write && a->offset == 0 && a->size == 2) {
		s->selected = (uint16_t)a->value;
		s->offset = 0;
	} else if (!a->write && a->offset == 1 && a->size == 1) {
		a->value = s->offset < ITEM_BYTES_MAX ? item_value(s) >> s->offset * 8 & 0xff : 0;
		s->offset += s->offset < ITEM_BYTES_MAX;
	}
}

const struct device_ops fw_cfg_ops = {
	.name = "fw-cfg",
	.state_size = sizeof(struct fw_cfg_state),
	.max_access = 2,
	.init = fw_cfg_init,
	.access = fw_cfg_access,
};

_Static_assert(sizeof(struct fw_cfg_state) == 16, "layout of fw_cfg's state");
