/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests/bench/price.c: a hand-off that does not say when it began. */
#include "vmm/handoff.h"

#include "emulator/futex.h"

#undef atomic_store_explicit
#define atomic_store_explicit(...) ((void)0)
#define monotonic_ns()             0
#include "vmm/handoff.c"
