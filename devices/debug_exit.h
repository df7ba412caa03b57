/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The debug-exit port, for tests: the guest writes a value, of 1, 2 or 4 bytes, anywhere in the window of 4
 * ports, and the run ends with it in outbox.exit_code, whole. What exit status dvmm makes of it is dvmm's
 * affair. Reads give all ones. Of several writes in one operation (REP OUTS) the first counts. No state.
 */
#ifndef DVMM_DEVICES_DEBUG_EXIT_H
#define DVMM_DEVICES_DEBUG_EXIT_H

#include "devices/device.h"

#define DEBUG_EXIT_PORTS 4u /* size of the window */

extern const struct device_ops debug_exit_ops;

#endif
