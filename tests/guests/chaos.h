/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The chaos device of dvmm --chaos (emulator/chaos.h), as its driver sees it. */
#ifndef GUEST_CHAOS_H
#define GUEST_CHAOS_H

#include "lib.h"

#define CHAOS_COMMAND 0x5c0 /* write: action | argument << 8; read: commands begun */
#define CHAOS_COUNTER 0x5c4 /* commands committed */
#define CHAOS_PORTS   8     /* the next device, of the next vCPU, is so much further */
#define CHAOS_DEVICES 8
#define CHAOS_IRQ     3     /* of the first */

enum chaos_action { CHAOS_COUNT = 0 };

static inline void chaos_command(uint32_t action, uint32_t argument)
{
	outl(CHAOS_COMMAND, action | argument << 8);
}

#endif
