/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reset control register, port 0xcf9 (Intel 82371AB data sheet, RC): a rise of bit 2 (RCPU) resets the
 * machine, hard or soft alike. All bits read back. The FADT's RESET_REG names it; RESET_VALUE 0x06.
 */
#ifndef DVMM_DEVICES_RESET_H
#define DVMM_DEVICES_RESET_H

#include "devices/device.h"

#define RESET_PORTS 1u    /* size of the window */
#define RESET_VALUE 0x06u /* what the FADT tells the guest to write */

struct reset_state {
	uint8_t value; /* as last written */
	uint8_t unused[7];
};

extern const struct device_ops reset_ops;

#endif
