/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USDT probes, for perf(1), bpftrace(8) and systemtap: places in dvmm that can be watched while a guest runs.
 * Each is one NOP and a note in the executable; built without <sys/sdt.h>, nothing at all. Arguments are
 * values that dvmm has at hand there anyway, except for the time of a repin, force or restart.
 *
 *     dvmm:exit        vcpu, reason                  KVM_RUN has returned; KVM_EXIT_... of <linux/kvm.h>
 *     dvmm:handoff     slot, kind, address, bytes    a request goes to the emulator; enum request_kind
 *     dvmm:completion  slot, kind, address, device   its reply is there, and checked; device: index in the
 *                                                    machine, 0xffffffff: nobody claims the address
 *     dvmm:force       slot, kind, address, ns       completed by force, so long after it was handed over
 *     dvmm:repin       vcpu, from, to                the vCPU is bound to another host CPU now
 *     dvmm:restart     from, to, ns                  incarnations: an emulator has taken over, so long after
 * the end of its predecessor was seen
 *
 * slot is the vCPU; the one after the last vCPU carries typed input. For a slot, completion or force follows
 * handoff before there is another, so the time in between is the operation's. Posted writes (--posted on) are
 * handoffs that have no completion of their own: one comes for the last of them, or for what is called behind
 * them.
 */
#ifndef DVMM_VMM_PROBES_H
#define DVMM_VMM_PROBES_H

#include "config.h"

#ifdef HAVE_SYS_SDT_H
#include <sys/sdt.h>
/* The sign makes plain values of atomic variables, which clang needs. */
#define PROBE2(name, a, b)       DTRACE_PROBE2(dvmm, name, +(a), +(b))
#define PROBE3(name, a, b, c)    DTRACE_PROBE3(dvmm, name, +(a), +(b), +(c))
#define PROBE4(name, a, b, c, d) DTRACE_PROBE4(dvmm, name, +(a), +(b), +(c), +(d))
#else
#define PROBE2(name, a, b)       ((void)0)
#define PROBE3(name, a, b, c)    ((void)0)
#define PROBE4(name, a, b, c, d) ((void)0)
#endif

#endif
