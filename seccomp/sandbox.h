/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving up power from inside, in the program that sandbox_spawn() started.
 *
 * The order in the emulator's program; each line can do less than the one before:
 *
 *     map the shared files
 *     sandbox_enter()          no file can be named, no capability, no new privilege
 *     fork()                   an emulator; all that follows is done by each
 *     make the io_uring (disabled, restricted), close what is then no longer needed
 *     start the workers        they wait at a barrier
 *     sandbox_seal()           no new descriptor, no new memory, files cannot grow
 *     filter_load_process()    every thread has the filter; this one becomes the I/O thread. Now report ready
 *
 * sandbox_enter() must be called while the process has one thread: capabilities, no_new_privs and Landlock
 * belong to threads, and the workers inherit them. Errors are -errno and one line in error[]; the caller
 * gives up then.
 */
#ifndef DVMM_SECCOMP_SANDBOX_H
#define DVMM_SECCOMP_SANDBOX_H

#include <stdint.h>

#include "seccomp/spawn.h"

/* Empty root, no capabilities, no new privileges, not dumpable, Landlock. What the kernel is too old for
 * (Landlock, memory-deny-write-execute) is left out quietly: the stages before and after do not lean on it.
 */
int sandbox_enter(char error[SANDBOX_ERROR_BYTES]);

/* Sets the limits to what the running emulator needs: nothing, but writes to its files up to
 * largest_file_bytes. */
int sandbox_seal(uint64_t largest_file_bytes, char error[SANDBOX_ERROR_BYTES]);

/* The Landlock ABI of this kernel, 0 if it has none. For --check-host. */
int sandbox_landlock_abi(void);

#endif
