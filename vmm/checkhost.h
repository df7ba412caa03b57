/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --check-host: what this host has, what it lacks, and what dvmm makes of it.
 *
 * Tries things instead of reading versions: opens /dev/kvm, runs a micro guest, makes namespaces in a child,
 * sets up a ring. Leaves nothing behind. Call it early, while the process has one thread (it forks).
 */
#ifndef DVMM_VMM_CHECKHOST_H
#define DVMM_VMM_CHECKHOST_H

#include <stdio.h>

/*
 * Prints one line for each fact, "ok", "slow" or "missing" first, and a verdict as the last line. Returns the
 * exit status: 0, all that dvmm needs is there and ring 0 runs natively, so a stock kernel boots; 2
 * otherwise.
 */
int check_host(FILE *out);

#endif
