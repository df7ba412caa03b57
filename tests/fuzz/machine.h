/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine that fuzz targets attack: the emulator's core over every device that a guest can reach (but
 * chaos, which breaks the rules on purpose), without processes, threads, descriptors or a clock.
 *
 * Guest memory is two small ranges, from 0 and from 4 GiB, so that its ends are near. What lies between the
 * parts of the state region is poisoned: with AddressSanitizer a device that leaves its state is caught.
 *
 * machine_reset() puts everything back by copying what can have changed. It belongs at the start of a run.
 */
#ifndef DVMM_TESTS_FUZZ_MACHINE_H
#define DVMM_TESTS_FUZZ_MACHINE_H

#include "emulator/core.h"
#include "tests/fuzz/fuzz.h"

#define FUZZ_VCPUS      4u
#define FUZZ_LOW_BYTES  0xc000u
#define FUZZ_HIGH_BYTES 0x4000u

enum fuzz_device {
	FUZZ_UART,
	FUZZ_RTC,
	FUZZ_I8042,
	FUZZ_ACPI_PM,
	FUZZ_RESET,
	FUZZ_DEBUG_EXIT,
	FUZZ_RNG,
	FUZZ_BLK,
	FUZZ_BLK_READ_ONLY,
	FUZZ_DEVICES
};

struct fuzz_machine {
	struct machine machine;
	struct core core;
	uint8_t *region;
	uint8_t *low, *high; /* guest memory */
	uint64_t clock_ns;
	uint64_t to_start[FUZZ_DEVICES]; /* I/O that the core has asked for and that has not ended yet */
	uint64_t slots[FUZZ_DEVICES];    /* all that have been asked for since the reset */
	bool bulk_changed[FUZZ_DEVICES]; /* ... in ways that neither the above nor the journals tell */
	uint32_t seq;
};
extern struct fuzz_machine fuzz;

void machine_reset(void);

/* How the next request ends. */
enum fuzz_fate {
	FATE_REPLY,     /* as usual */
	FATE_ABANDONED, /* completed by force: it must not have happened */
	FATE_KILLED,    /* the emulator dies between commit and reply, its successor answers */
};

/* Performs a request; checks what must be true of every reply. *reply is what dvmm gets, if anything: true.
 */
bool machine_request(const struct request *req, uint32_t slot, enum fuzz_fate fate, struct reply *reply);

/* A register access of one element; returns what is read. */
uint64_t machine_access(uint32_t space, uint64_t addr, uint32_t size, bool write, uint64_t value);

/* An emulator dies and another takes over. */
void machine_recover(void);

/* Performs the I/O of a slot as emulator/io.c would, and completes it: as it should (outcome 0), or with an
 * error, a short transfer, or what else may come. With `trusted` the state was made by the models alone, so
 * what they ask for must be possible. */
void machine_io(uint32_t device, unsigned slot, uint32_t outcome, bool trusted);

/* A guest-physical address, mostly one where something interesting may be. */
uint64_t input_gpa(struct input *in);

/* --- Memory that changes while it is looked at: another vCPU, played by the input. --- */

#define RACES 4u

/* Right before the core looks at guest memory for the nth time from now on, bytes appear at gpa. */
void race_add(struct input *in);
void race_clear(void);

/* --- A virtio driver that does what the input says. --- */

/* Brings device FUZZ_RNG.. up to DRIVER_OK, more or less. */
void driver_start(struct input *in, uint32_t device);
/* Writes descriptors, and makes a chain available. */
void driver_chain(struct input *in, uint32_t device);

#endif
