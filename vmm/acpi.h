/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ACPI tables (ACPI 6.5): RSDP, XSDT, FADT, FACS, MADT and DSDT, all derived from struct machine.
 *
 * They describe a full-hardware ACPI machine that is in ACPI mode from the start: no SMI, no PM timer,
 * no GPEs, no fixed buttons, no PCI. The PM1a event block must keep what is written to its enable register,
 * because Linux reads it back when it takes RTC_EN. Interrupt lines are wired as KVM's default routing does
 * it: GSI n to I/O APIC pin n, the timer's GSI 0 included, so only the SCI needs an override.
 *
 * Owns [ACPI_BASE, ACPI_END) of guest memory, which the memory map reports as reserved.
 * Threads: call before any vCPU runs.
 */
#ifndef DVMM_VMM_ACPI_H
#define DVMM_VMM_ACPI_H

#include <stdint.h>

#include "devices/guest_memory.h"
#include "emulator/machine.h"

/*
 * Writes the tables and says where the RSDP is (it is ACPI_BASE). 0, or -EFAULT if guest memory does not
 * reach ACPI_END, -EINVAL if the machine has no vCPU, too many vCPUs or devices, or a device that 32-bit
 * resources cannot describe, -ENOSPC if the tables do not fit.
 */
int acpi_build(const struct guest_memory *mem, const struct machine *m, uint64_t *rsdp_gpa);

#endif
