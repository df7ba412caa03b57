/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bus: which device claims an address, and how a guest's access becomes accesses of registers.
 *
 * Stateless: everything is looked up in struct machine. Addresses nobody claims read as all ones and
 * ignore writes, as a PC's bus does. An access that is wider than the device takes is split into its widest
 * accesses, lowest address first, as the ISA bus splits a word access to an 8-bit card; the part of an access
 * that lies behind the window's end is unclaimed.
 */
#ifndef DVMM_EMULATOR_BUS_H
#define DVMM_EMULATOR_BUS_H

#include "emulator/mailbox.h"

/* The device whose window holds addr, or REPLY_NO_DEVICE. */
uint32_t bus_find(const struct machine *m, uint32_t space, uint64_t addr);

/* One element of a request, performed on a device: size (1, 2, 4, 8) bytes at addr, from or to data. */
void bus_read(const struct machine_device *dev, struct operation *op, uint64_t addr, uint32_t size,
	      uint8_t *data);
void bus_write(const struct machine_device *dev, struct operation *op, uint64_t addr, uint32_t size,
	       const uint8_t *data);

#endif
