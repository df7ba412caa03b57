/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What public test images for x86 virtual machines expect of QEMU's "-device pc-testdev", as three models:
 *
 * - testdev: a window of TESTDEV_PORTS ports. Four of them are one 32-bit register, accessible by 1, 2 and 4
 *   bytes at a time: what was written is read back. It appears twice, at offsets 0 and 8. A write to
 *   offset 4 asks for a page to be taken out of the guest's mappings and put back, which no guest can
 *   observe except by its time; it is accepted and does nothing.
 * - testdev-irq: one port; a byte that is not 0 raises the interrupt line that the device is connected to, 0
 *   lowers it. One device for each line. dvmm's lines are edges: raising one that is low pulses it once,
 *   and nothing happens when it is lowered. That is all an edge-triggered pin sees; a level-triggered one
 *   sees a level that goes away by itself after one delivery.
 * - testdev-memory: TESTDEV_MEMORY_BYTES of memory where every access is an exit. In the bulk area: a write
 *   that is done twice, after a restart, comes to the same.
 */
#ifndef DVMM_DEVICES_TESTDEV_H
#define DVMM_DEVICES_TESTDEV_H

#include "devices/device.h"

#define TESTDEV_PORTS        12u /* size of the first window; the second one's is 1 */
#define TESTDEV_MEMORY_BYTES 0x10000u

struct testdev_state {
	uint32_t value; /* the register */
	uint32_t unused;
};

struct testdev_irq_state {
	uint8_t level; /* 0 or 1 */
	uint8_t unused[7];
};

extern const struct device_ops testdev_ops;
extern const struct device_ops testdev_irq_ops;
extern const struct device_ops testdev_memory_ops;

#endif
