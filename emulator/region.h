/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state region: all device state, as plain data of fixed layout in one shared memory file.
 *
 * Per device: a word `current` that says which of two copies is the committed one, the two copies, and the
 * bulk area. A copy holds what one operation leaves behind: the device's state, the outbox of the operation,
 * and its journal (who asked, and what the reply is). Storing `current` commits all of that in one step:
 *
 *     region_begin()    spare = committed state
 *     ... the model works on the spare ...
 *     region_commit()   current ^= 1
 *     effects, reply    done by the caller, before the next operation on this device begins
 *
 * If the emulator dies before the commit, the operation did not happen. If it dies after it, its successor
 * finds the journal and the outbox and does effects and reply again, which is harmless because effects are
 * idempotent and the reply is the same.
 *
 * Threads: operations on one device are serialised by the caller; devices are independent.
 * The contents are untrusted on both sides: `current` is masked, every field is checked where it is used.
 */
#ifndef DVMM_EMULATOR_REGION_H
#define DVMM_EMULATOR_REGION_H

#include <stdint.h>

#include "emulator/machine.h"
#include "emulator/mailbox.h"

#define JOURNAL_NOBODY UINT32_MAX

/* Who the last committed operation was for, and the reply it got. */
struct journal {
	uint32_t slot; /* mailbox slot, or JOURNAL_NOBODY: a doorbell or an I/O completion */
	uint32_t seq;  /* the request's sequence number */
	struct reply reply;
};

struct region_copy {
	struct journal journal;
	struct outbox outbox;
	/* the state follows, 64-byte aligned */
};

/* Where the parts of one device are: byte offsets into the region. */
struct region_device {
	uint64_t current; /* a uint32_t */
	uint64_t copy[2]; /* struct region_copy */
	uint64_t state[2];
	uint64_t bulk;
	uint32_t state_size;
	uint32_t bulk_size;
};

struct region_layout {
	struct region_device device[MACHINE_MAX_DEVICES];
	uint64_t size; /* bytes, whole pages */
};

/* A pure function of the machine: both processes compute the same. -EINVAL: an unknown device type. */
int region_layout(const struct machine *m, struct region_layout *layout);

/* Puts every device into its power-on state; the region is all zero on entry. */
void region_init(const struct machine *m, const struct region_layout *layout, void *region);

uint32_t region_current(const struct region_layout *layout, void *region, uint32_t device);
struct region_copy *region_copy_of(const struct region_layout *layout, void *region, uint32_t device,
				   uint32_t which);
void *region_state_of(const struct region_layout *layout, void *region, uint32_t device, uint32_t which);
void *region_bulk_of(const struct region_layout *layout, void *region, uint32_t device);

/* Makes the spare's state equal to the committed one, clears its outbox and journal, and returns which copy
 * is the spare. */
uint32_t region_begin(const struct region_layout *layout, void *region, uint32_t device);

/* Makes copy `which`, as returned by region_begin(), the committed one. */
void region_commit(const struct region_layout *layout, void *region, uint32_t device, uint32_t which);

#endif
