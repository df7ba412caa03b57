/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI fixed hardware: the PM1a event and control blocks (ACPI 6.5, 4.8.3.1 and 4.8.3.2), for powering off.
 *
 *     offset 0  PM1a status   16 bits, write 1 to clear; nothing here ever sets a bit
 *            2  PM1a enable   16 bits
 *            4  PM1a control  16 bits: SCI_EN reads 1 (always in ACPI mode: there is no SMI command), SLP_TYP
 *                             reads back, SLP_EN and GBL_RLS are write-only and read 0
 *
 * Setting SLP_EN with SLP_TYP ACPI_PM_SLP_TYP_S5 powers the machine off; there is no other sleep state, and
 * nothing happens. Accesses of one and two bytes anywhere in the window of 6 ports. No events, so no SCI.
 */
#ifndef DVMM_DEVICES_ACPI_PM_H
#define DVMM_DEVICES_ACPI_PM_H

#include "devices/device.h"

#define ACPI_PM_PORTS      6u /* size of the window */
#define ACPI_PM_SLP_TYP_S5 5u /* the DSDT's \_S5 says this number */

struct acpi_pm_state {
	uint8_t reg[ACPI_PM_PORTS]; /* the three registers, little-endian, as they are read */
	uint8_t unused[2];
};

extern const struct device_ops acpi_pm_ops;

#endif
