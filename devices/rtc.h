/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Motorola MC146818A real-time clock with 128 bytes of CMOS RAM, as on a PC: ports 0x70 (index) and 0x71
 * (data).
 *
 * Follows the MC146818A data sheet and, for what is a PC's own (the century in register 0x32, the ports),
 * Intel's 82371AB (PIIX4) data sheet. Time is the host's wall clock plus an offset that is part of the state,
 * so a time set by the guest persists and runs on. Years 1970 to 2099; the day of the week follows from the
 * date.
 *
 * What differs, because a model has no timer:
 * - The chip never raises its interrupt line. The flags in register C are computed when it is read (and
 *   before the clock is reprogrammed), from the time that has passed since; so a guest that polls sees each
 *   of them.
 * - An update takes no time. UIP announces it during the last 244 us of each second (data sheet: tBUC).
 * Daylight saving (DSE) and the square wave are stored and do nothing.
 *
 * Port 0x70 is write-only, as on the PIIX4 (RTCI); reading it gives ff. Its bit 7, the NMI mask, is ignored.
 * Setting the time with SET clear works byte by byte, each byte making a valid date; use SET, as the data
 * sheet says.
 */
#ifndef DVMM_DEVICES_RTC_H
#define DVMM_DEVICES_RTC_H

#include "devices/device.h"

#define RTC_PORTS     2u /* size of the window */
#define RTC_REGISTERS 128u
#define RTC_CENTURY   0x32u /* what the FADT's CENTURY field should say */

struct rtc_state {
	uint64_t offset_ns; /* guest clock = wall clock + offset, modulo 2^64; ns since 1970 */
	uint64_t seen_ns;   /* guest clock up to which the flags of register C are computed */
	/* Registers and CMOS RAM. The ten of time and date are valid while the clock is held (SET, or the
	 * divider in reset), else computed when needed. C holds the flags not read yet, without IRQF. A is
	 * without UIP. */
	uint8_t reg[RTC_REGISTERS];
	uint8_t index; /* register that port 0x71 accesses; bit 7 is ignored */
	uint8_t unused[7];
};

extern const struct device_ops rtc_ops;

#endif
