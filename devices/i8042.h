/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's keyboard controller (8042), with nothing plugged in: ports 0x60 (data) and 0x64 (status, command).
 *
 * It exists for two reasons: pulsing its output bit 0 (commands 0xf0-0xfe, 0xd1) is how PCs are reset, and
 * drivers that probe for it should find a controller that answers, so that none waits for a timeout. Follows
 * the IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller". There is
 * one keyboard port with no keyboard, whose every byte is answered by the controller's own "time-out" (0xfe,
 * status bit 6), and no auxiliary port.
 *
 * A command is done at once, so the input buffer is never full. No interrupts.
 * Window: 5 ports from 0x60. Those in between (0x61 is the PIT's, in the kernel) read ff and ignore writes.
 */
#ifndef DVMM_DEVICES_I8042_H
#define DVMM_DEVICES_I8042_H

#include "devices/device.h"

#define I8042_PORTS     5u /* size of the window */
#define I8042_RAM_BYTES 32u

struct i8042_state {
	uint8_t ram[I8042_RAM_BYTES]; /* [0] is the command byte */
	uint8_t status;               /* as read from port 0x64; bit 1 (input buffer full) is never set */
	uint8_t output;               /* output buffer: what port 0x60 reads */
	uint8_t command;              /* command whose data byte is awaited on port 0x60, or 0 */
	uint8_t unused[5];
};

extern const struct device_ops i8042_ops;

#endif
