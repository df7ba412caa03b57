/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --dump-state FILE: what every device's state is when the guest has ended. For tests: two runs that did the
 * same leave the same bytes, whichever process emulated.
 *
 * For each device in the machine's order a line "NAME STATE-BYTES BULK-BYTES\n", then the committed state and
 * the bulk area as they are in the state region. Not in it: which of the two copies is the committed one, the
 * spare, the journal and the outbox. They tell of the last operation on a device and of how many there have
 * been, and a doorbell that rings twice in a row is one operation or two as the emulator gets to it.
 *
 * Threads: main thread. The emulator must have ended before dump_state_write().
 */
#ifndef DVMM_VMM_DUMP_STATE_H
#define DVMM_VMM_DUMP_STATE_H

#include "vmm/vm.h"

/* Creates the file, while files can still be opened. A descriptor or -errno. */
int dump_state_open(const char *path);

/* Writes all devices and closes the file. 0 or -errno. */
int dump_state_write(struct vm *vm, int fd);

#endif
