/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy: what each kind of thread may ask of the kernel. An argument is compared under a mask, and the mask
 * has 32 bits where the kernel looks at 32 bits, so that a rule is exactly as wide as what the call does.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "seccomp/filters.h"
#include "seccomp/syscalls.h"

/* clang-format off */
#define U32 0xffffffffull
#define U64 0xffffffffffffffffull

/* Conditions: argument n equal as 32 bits; as 64 bits; futex operation, shared or private; bits not set. */
#define IS(n, v) { n, U32, (uint32_t)(v) }
#define IS64(n, v) { n, U64, v }
#define FUTEX(op) { 1, U32 & ~(uint64_t)FUTEX_PRIVATE_FLAG, op }
#define FUTEX_TIMED(op) { 1, U32 & ~(uint64_t)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME), op }
#define NOT(n, bits) { n, bits, 0 }

/* Linux 6.7 and later. All that arguments can make of them is another wait or wake-up - one with a timeout, say, or of
 * threads on one NUMA node - so none is looked at: a hand-off has two of these calls, and what is not looked at costs nothing. */
#define FUTEX_RULES                                                                                         \
	{ SYS_futex_wake, FILTER_ANY, {}, "wake the other side of a hand-off" },                            \
	{ SYS_futex_wait, FILTER_ANY, {}, "wait for the other side" },

#ifdef DVMM_ASAN
/* Sanitizer builds only: what their run-time library does in threads of ours. No release build has these. */
#define SANITIZER_RULES                                                                                     \
	{ SCMP_SYS(mmap), FILTER_ANY, { NOT(2, PROT_EXEC) }, "sanitizer: shadow, fake stacks" },            \
	{ SCMP_SYS(munmap), FILTER_ANY, {}, "sanitizer" },                                                  \
	{ SCMP_SYS(madvise), FILTER_ANY, {}, "sanitizer" },                                                 \
	{ SCMP_SYS(mprotect), FILTER_ANY, { NOT(2, PROT_EXEC) }, "sanitizer" },                             \
	{ SCMP_SYS(sigaltstack), FILTER_ANY, {}, "sanitizer: end of a thread" },                            \
	{ SCMP_SYS(write), FILTER_ANY, { IS(0, STDERR_FILENO) }, "sanitizer: report" },                     \
	{ SCMP_SYS(getpid), FILTER_ANY, {}, "sanitizer: report" },                                          \
	{ SCMP_SYS(gettid), FILTER_ANY, {}, "sanitizer: report" },                                          \
	{ SCMP_SYS(sched_yield), FILTER_ANY, {}, "sanitizer: its locks" },                                  \
	{ SCMP_SYS(openat), FILTER_ANY, {}, "sanitizer: report (the root is empty)" },                      \
	{ SCMP_SYS(readlink), FILTER_ANY, {}, "sanitizer: report (the root is empty)" },                    \
	{ SCMP_SYS(rt_sigaction), FILTER_ANY, {}, "sanitizer: report" },                                    \
	{ SCMP_SYS(rt_sigprocmask), FILTER_ANY, {}, "sanitizer: report" },
#else
#define SANITIZER_RULES
#endif

/* A worker sleeps on its mailbox slot, raises interrupts, and locks a device; the I/O thread also has the ring, and takes
 * doorbells. That is all they ever do. */
static const struct filter_rule emulator_rules[] = {
	{ SCMP_SYS(io_uring_enter), FILTER_RING_FD, { NOT(3, U32 & ~(uint64_t)IORING_ENTER_GETEVENTS) },
	  "start I/O, wait for it and for doorbells" },
	FUTEX_RULES
	{ SCMP_SYS(futex), FILTER_ANY, { FUTEX(FUTEX_WAKE) }, "reply to dvmm, unlock a device" },
	{ SCMP_SYS(futex), FILTER_ANY, { FUTEX(FUTEX_WAIT), IS64(3, 0) }, "wait for a request, a lock" },
	{ SCMP_SYS(write), FILTER_EVENT_FD, { IS64(2, 8) }, "raise an interrupt line" },
	{ SCMP_SYS(read), FILTER_EVENT_FD, { IS64(2, 8) }, "take a doorbell's count" },
	{ SCMP_SYS(clock_gettime), FILTER_ANY, { IS(0, CLOCK_REALTIME) }, "RTC, where the vDSO cannot" },
	{ SCMP_SYS(clock_gettime), FILTER_ANY, { IS(0, CLOCK_MONOTONIC) }, "end of a spin, as before" },
	{ SCMP_SYS(getrandom), FILTER_ANY, { IS(2, 0) }, "virtio-rng" },
	{ SCMP_SYS(exit), FILTER_ANY, {}, "end of the thread" },
	{ SCMP_SYS(exit_group), FILTER_ANY, {}, "end of the emulator" },
	SANITIZER_RULES
};

/* What any thread of dvmm may need: locks, signals, an error message, the terminal put right, an end. */
#define DVMM_RULES                                                                                          \
	{ SCMP_SYS(write), FILTER_ANY, {}, "eventfds, console output, messages" },                          \
	{ SCMP_SYS(read), FILTER_ANY, {}, "eventfds, typed characters, signalfd" },                         \
	{ SCMP_SYS(poll), FILTER_ANY, {}, "main loop, standard output that is full and does not block" },   \
	{ SCMP_SYS(tgkill), FILTER_SELF, {}, "bring a vCPU out of KVM_RUN" },                               \
	{ SCMP_SYS(rt_sigreturn), FILTER_ANY, {}, "end of a signal handler" },                              \
	{ SCMP_SYS(rt_sigprocmask), FILTER_ANY, {}, "start and end of a thread, pthread_kill" },            \
	{ SCMP_SYS(rt_sigaction), FILTER_ANY, {}, "die by the signal that was caught" },                    \
	{ SCMP_SYS(restart_syscall), FILTER_ANY, {}, "a timed wait goes on after SIGSTOP" },                \
	{ SCMP_SYS(clock_gettime), FILTER_ANY, {}, "where the vDSO cannot" },                               \
	{ SCMP_SYS(clock_nanosleep), FILTER_ANY, {}, "quanta of the watchdog, pauses" },                    \
	{ SCMP_SYS(sched_setaffinity), FILTER_ANY, {}, "pin, and move to another CPU" },                    \
	{ SCMP_SYS(sched_getaffinity), FILTER_ANY, {}, "where may we run" },                                \
	{ SCMP_SYS(getcpu), FILTER_ANY, {}, "statistics, where the vDSO cannot" },                          \
	{ SCMP_SYS(getpid), FILTER_ANY, {}, "tgkill" },                                                     \
	{ SCMP_SYS(gettid), FILTER_ANY, {}, "tgkill, statistics" },                                         \
	{ SCMP_SYS(madvise), FILTER_ANY, {}, "end of a thread: its stack; start-up code" },                 \
	{ SCMP_SYS(munmap), FILTER_ANY, {}, "end of a thread: its stack" },                                 \
	{ SCMP_SYS(ioctl), FILTER_ANY, { IS(1, TCSETS) }, "put the terminal right" },                       \
	{ SCMP_SYS(exit), FILTER_ANY, {}, "end of a thread" },                                              \
	{ SCMP_SYS(exit_group), FILTER_ANY, {}, "end of dvmm" },

#define DVMM_FUTEX_RULES                                                                                    \
	FUTEX_RULES                                                                                         \
	{ SCMP_SYS(futex), FILTER_ANY, { FUTEX(FUTEX_WAKE) }, "hand-off, locks" },                          \
	{ SCMP_SYS(futex), FILTER_ANY, { FUTEX(FUTEX_WAIT) }, "hand-off, locks" },                          \
	{ SCMP_SYS(futex), FILTER_ANY, { FUTEX_TIMED(FUTEX_WAIT_BITSET) },                                  \
	  "condition variables, pthread_join, timed waits" },

static const struct filter_rule vcpu_rules[] = {
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_RUN) }, "run the guest" },
	DVMM_FUTEX_RULES
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_GET_REGS) }, "emulate an instruction" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_SET_REGS) }, "emulate an instruction" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_GET_SREGS) }, "emulate an instruction" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_SET_SREGS) }, "emulate an instruction" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_GET_VCPU_EVENTS) }, "emulate: exceptions" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_SET_VCPU_EVENTS) }, "emulate: exceptions" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_GET_DEBUGREGS) }, "emulate: #DB" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_SET_DEBUGREGS) }, "emulate: #DB" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_GET_XCRS) }, "emulate: XGETBV, XSAVE, VEX" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_SET_XCRS) }, "emulate: XSETBV" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_GET_XSAVE) }, "emulate: vector moves, XSAVE" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_SET_XSAVE) }, "emulate: vector moves, XRSTOR" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_GET_MSRS) }, "emulate: SWAPGS, RDPID, XSAVES" },
	{ SCMP_SYS(ioctl), FILTER_VCPU_FD, { IS(1, KVM_SET_MSRS) }, "emulate: SWAPGS" },
	DVMM_RULES
	SANITIZER_RULES
};

static const struct filter_rule main_rules[] = {
	DVMM_FUTEX_RULES
	{ SCMP_SYS(ppoll), FILTER_ANY, {}, "main loop" },
	DVMM_RULES
	{ SCMP_SYS(pidfd_send_signal), FILTER_ANY, {}, "kill the emulator" },
	{ SCMP_SYS(waitid), FILTER_ANY, {}, "the spawner has ended" },
	{ SCMP_SYS(sendto), FILTER_ANY, { IS64(4, 0) }, "ask the spawner for an emulator" },
	{ SCMP_SYS(recvmsg), FILTER_ANY, {}, "hear from the spawner" },
	{ SCMP_SYS(close), FILTER_ANY, {}, "clean-up" },
	{ SCMP_SYS(fcntl), FILTER_ANY, { IS(1, F_OFD_SETLK) }, "give back the disks' locks" },
	{ SCMP_SYS(ftruncate), FILTER_ANY, {}, "the statistics file" },
	{ SCMP_SYS(brk), FILTER_ANY, {}, "malloc: the statistics' JSON" },
	{ SCMP_SYS(mmap), FILTER_ANY, { NOT(2, PROT_EXEC) }, "malloc: the statistics' JSON" },
	{ SCMP_SYS(mremap), FILTER_ANY, {}, "realloc: the statistics' JSON" },
	{ SCMP_SYS(getrandom), FILTER_ANY, {}, "hash seed of the JSON library" },
	SANITIZER_RULES
};

#define TABLE(kind) { kind, sizeof(kind) / sizeof(kind[0]) }
/* clang-format on */

static const struct {
	const struct filter_rule *rule;
	unsigned count;
} tables[FILTER_KINDS] = {
	[FILTER_EMULATOR] = TABLE(emulator_rules),
	[FILTER_VCPU] = TABLE(vcpu_rules),
	[FILTER_MAIN] = TABLE(main_rules),
};

const struct filter_rule *filter_rules(enum filter_kind kind, unsigned *count)
{
	*count = tables[kind].count;
	return tables[kind].rule;
}

unsigned filter_syscalls(unsigned kinds)
{
	bool seen[512] = {false};
	unsigned n = 0;

	for (unsigned k = 0; k < FILTER_KINDS; k++) {
		for (unsigned i = 0; kinds & (1u << k) && i < tables[k].count; i++) {
			int nr = tables[k].rule[i].syscall;

			n += !seen[nr];
			seen[nr] = true;
		}
	}
	return n;
}
