/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The least of QEMU's fw_cfg (QEMU, docs/specs/fw_cfg.rst): what a guest without tables learns the size of
 * its machine from. A 16-bit write to port 0 of the window selects an item; each byte read from port 1 is the
 * next of it, and zero behind its end. No file directory, no DMA, no writing.
 */
#ifndef DVMM_DEVICES_FW_CFG_H
#define DVMM_DEVICES_FW_CFG_H

#include "devices/device.h"

#define FW_CFG_PORTS 2u /* size of the window */

struct fw_cfg_state {
	uint16_t selected; /* item */
	uint16_t offset;   /* of its next byte; stays at the end */
	uint32_t cpus;
	uint64_t ram_bytes;
};

extern const struct device_ops fw_cfg_ops;

#endif
