/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system call filters, twice. First every rule and every call number against an interpreter of the filter
 * program, which sees each bit that a rule compares flipped. Then real processes: calls that must go through,
 * calls that must end in SIGSYS.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "seccomp/filters.h"
#include "seccomp/syscalls.h"

#define FIRST FILTER_FIRST_EVENT
#define LAST  FILTER_LAST_EVENT
#define RING  FILTER_RING
#define VCPU  251

/* ---- The interpreter: the instructions that libseccomp emits. ---- */

static uint32_t run_filter(const struct filter *f, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (unsigned pc = 0; pc < f->length; pc++) {
		const struct sock_filter *i = &f->code[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			ck_assert_uint_le(i->k, sizeof(*data) - sizeof(a));
			memcpy(&a, (const char *)data + i->k, sizeof(a));
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			ck_abort_msg("instruction %#x", i->code);
		}
	}
	ck_abort_msg("no return");
	return 0;
}

static bool passes(const struct filter *f, int nr, const uint64_t arg[6])
{
	struct seccomp_data data = {.nr = nr, .arch = AUDIT_ARCH_X86_64};

	memcpy(data.args, arg, sizeof(data.args));
	return run_filter(f, &data) == SECCOMP_RET_ALLOW;
}

/* What the tables say, computed the slow way. */
static bool rule_fits(const struct filter_rule *rule, int nr, const uint64_t arg[6])
{
	uint32_t fd = (uint32_t)arg[0];
	bool fits = rule->syscall == nr;

	fits &= rule->first != FILTER_EVENT_FD || (fd >= FIRST && fd <= LAST);
	fits &= rule->first != FILTER_RING_FD || fd == RING;
	fits &= rule->first != FILTER_VCPU_FD || fd == VCPU;
	fits &= rule->first != FILTER_SELF || fd == (uint32_t)getpid();
	for (unsigned i = 0; i < FILTER_ARGUMENTS; i++)
		if (rule->argument[i].mask)
			fits &= (arg[rule->argument[i].index] & rule->argument[i].mask) ==
				rule->argument[i].value;
	return fits;
}

static uint64_t first_argument(enum filter_first first)
{
	switch (first) {
	case FILTER_RING_FD:
		return RING;
	case FILTER_VCPU_FD:
		return VCPU;
	case FILTER_SELF:
		return (uint64_t)getpid();
	default:
		return FIRST;
	}
}

static void check_call(const struct filter *f, enum filter_kind kind, int nr, const uint64_t arg[6])
{
	unsigned count;
	const struct filter_rule *rule = filter_rules(kind, &count);
	bool expected = false;

	for (unsigned i = 0; i < count; i++)
		expected |= rule_fits(&rule[i], nr, arg);
	ck_assert_msg(passes(f, nr, arg) == expected, "kind %d call %d(%#lx, %#lx, %#lx, %#lx): expected %d",
		      kind, nr, (long)arg[0], (long)arg[1], (long)arg[2], (long)arg[3], expected);
}

START_TEST(every_rule_is_exactly_as_wide_as_its_line)
{
	enum filter_kind kind = (enum filter_kind)_i;
	const struct filter_rule *rule;
	struct filter f;
	unsigned count;

	filter_build(&f, kind, VCPU);
	rule = filter_rules(kind, &count);
	for (unsigned r = 0; r < count; r++) {
		uint64_t arg[6] = {0};

		arg[0] = first_argument(rule[r].first);
		for (unsigned i = 0; i < FILTER_ARGUMENTS; i++)
			if (rule[r].argument[i].mask)
				arg[rule[r].argument[i].index] = rule[r].argument[i].value;
		ck_assert_msg(passes(&f, rule[r].syscall, arg), "kind %d rule %u", kind, r);
		for (unsigned n = 0; n < 6; n++) {
			for (unsigned bit = 0; bit < 64; bit++) {
				arg[n] ^= 1ull << bit;
				check_call(&f, kind, rule[r].syscall, arg);
				arg[n] ^= 1ull << bit;
			}
		}
		for (int fd = -2; fd < 300 && rule[r].first != FILTER_ANY; fd++) {
			arg[0] = (uint64_t)fd;
			check_call(&f, kind, rule[r].syscall, arg);
		}
	}
}
END_TEST

START_TEST(calls_without_a_line_do_not_pass)
{
	enum filter_kind kind = (enum filter_kind)_i;
	const uint64_t zero[6] = {0};
	const uint32_t refusal = kind == FILTER_EMULATOR ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_TRAP;
	struct seccomp_data data = {.arch = AUDIT_ARCH_I386};
	struct filter f;

	filter_build(&f, kind, VCPU);
	for (int nr = 0; nr < 1024; nr++)
		check_call(&f, kind, nr, zero);
	for (data.nr = 0; data.nr < 512; data.nr++)
		ck_assert_uint_eq(run_filter(&f, &data), SECCOMP_RET_KILL_PROCESS); /* int 0x80 */
	data.arch = AUDIT_ARCH_X86_64;
	for (data.nr = 0x40000000; data.nr < 0x40000000 + 600; data.nr++)
		ck_assert_uint_eq(run_filter(&f, &data), SECCOMP_RET_KILL_PROCESS); /* x32 */
	data.nr = SYS_execve;
	ck_assert_uint_eq(run_filter(&f, &data) & SECCOMP_RET_ACTION_FULL, refusal);
}
END_TEST

#ifndef DVMM_ASAN
START_TEST(the_emulator_keeps_its_promise_of_few_calls)
{
	ck_assert_uint_le(filter_syscalls(1u << FILTER_EMULATOR), 10);
}
END_TEST
#endif

/* ---- Real processes. ---- */

#define EMULATOR    (1u << FILTER_EMULATOR)
#define DVMM        (1u << FILTER_VCPU | 1u << FILTER_MAIN)
#define ALL         (EMULATOR | DVMM)
#define VCPU_THREAD (1u << FILTER_VCPU)
#define MAIN        (1u << FILTER_MAIN)

static uint32_t word;
static uint64_t buffer[8];
static struct timespec pause_time = {0, 1000};

struct probe {
	const char *name;
	unsigned pass, die; /* kinds that may, kinds that may not */
	long nr;
	long arg[6];
};

#define PTR(p) ((long)(uintptr_t)(p))

static const struct probe probes[] = {
	{"wake", ALL, 0, SYS_futex, {PTR(&word), FUTEX_WAKE, 1}},
	{"wake private", ALL, 0, SYS_futex, {PTR(&word), FUTEX_WAKE_PRIVATE, 1}},
	{"wait", ALL, 0, SYS_futex, {PTR(&word), FUTEX_WAIT, 1, 0}},
	{"wait private", ALL, 0, SYS_futex, {PTR(&word), FUTEX_WAIT_PRIVATE, 1, 0}},
	{"wait with timeout", DVMM, EMULATOR, SYS_futex, {PTR(&word), FUTEX_WAIT, 1, PTR(&pause_time)}},
	{"wait bitset", DVMM, EMULATOR, SYS_futex, {PTR(&word), FUTEX_WAIT_BITSET_PRIVATE, 1, 0, 0, 1}},
	{"futex_wake", ALL, 0, SYS_futex_wake, {PTR(&word), FUTEX_BITSET_MATCH_ANY, 1, 2}},
	{"futex_wait", ALL, 0, SYS_futex_wait, {PTR(&word), 1, FUTEX_BITSET_MATCH_ANY, 2, 0, 0}},
	{"futex_requeue", 0, ALL, SYS_futex_wait + 1, {PTR(buffer), 0, 1, 1}},
	{"requeue", 0, ALL, SYS_futex, {PTR(&word), FUTEX_REQUEUE, 1, 1, PTR(&word)}},
	{"lock pi", 0, ALL, SYS_futex, {PTR(&word), FUTEX_LOCK_PI}},
	{"write to the first eventfd", ALL, 0, SYS_write, {FIRST, PTR(buffer), 8}},
	{"write to the last eventfd", ALL, 0, SYS_write, {LAST, PTR(buffer), 8}},
	{"write below the eventfds", 0, EMULATOR, SYS_write, {FIRST - 1, PTR(buffer), 8}},
	{"write above the eventfds", 0, EMULATOR, SYS_write, {LAST + 1, PTR(buffer), 8}},
	{"write more", 0, EMULATOR, SYS_write, {FIRST, PTR(buffer), 9}},
	{"write less", 0, EMULATOR, SYS_write, {FIRST, PTR(buffer), 0}},
	{"read an eventfd", ALL, 0, SYS_read, {FIRST, PTR(buffer), 8}},
	{"read below the eventfds", 0, EMULATOR, SYS_read, {FIRST - 1, PTR(buffer), 8}},
	{"read more", 0, EMULATOR, SYS_read, {FIRST, PTR(buffer), 16}},
	{"clock_gettime REALTIME", ALL, 0, SYS_clock_gettime, {CLOCK_REALTIME, PTR(buffer)}},
	{"clock_gettime MONOTONIC", ALL, 0, SYS_clock_gettime, {CLOCK_MONOTONIC, PTR(buffer)}},
	{"clock_gettime CPU clock",
	 DVMM,
	 EMULATOR,
	 SYS_clock_gettime,
	 {CLOCK_PROCESS_CPUTIME_ID, PTR(buffer)}},
	{"io_uring_enter", EMULATOR, DVMM, SYS_io_uring_enter, {RING}},
	{"io_uring_enter and wait", EMULATOR, DVMM, SYS_io_uring_enter, {RING, 0, 0, IORING_ENTER_GETEVENTS}},
	{"io_uring_enter with a signal mask", 0, ALL, SYS_io_uring_enter, {RING, 0, 0, IORING_ENTER_EXT_ARG}},
	{"io_uring_enter on another", 0, ALL, SYS_io_uring_enter, {FIRST}},
	{"getrandom", EMULATOR | MAIN, VCPU_THREAD, SYS_getrandom, {PTR(buffer), 8, 0}},
	{"getrandom with flags", MAIN, EMULATOR | VCPU_THREAD, SYS_getrandom, {PTR(buffer), 8, 2}},
	{"exit", ALL, 0, SYS_exit, {0}},
	{"exit_group", ALL, 0, SYS_exit_group, {0}},
	{"KVM_RUN", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_RUN}},
	{"KVM_RUN on another vCPU", 0, ALL, SYS_ioctl, {FIRST, KVM_RUN}},
	{"KVM_GET_REGS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_GET_REGS}},
	{"KVM_SET_REGS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_SET_REGS}},
	{"KVM_GET_SREGS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_GET_SREGS}},
	{"KVM_SET_SREGS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_SET_SREGS}},
	{"KVM_GET_VCPU_EVENTS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_GET_VCPU_EVENTS}},
	{"KVM_SET_VCPU_EVENTS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_SET_VCPU_EVENTS}},
	{"KVM_GET_DEBUGREGS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_GET_DEBUGREGS}},
	{"KVM_SET_DEBUGREGS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_SET_DEBUGREGS}},
	{"KVM_GET_XCRS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_GET_XCRS}},
	{"KVM_SET_XCRS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_SET_XCRS}},
	{"KVM_GET_XSAVE", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_GET_XSAVE}},
	{"KVM_SET_XSAVE", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_SET_XSAVE}},
	{"KVM_GET_MSRS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_GET_MSRS}},
	{"KVM_SET_MSRS", VCPU_THREAD, EMULATOR | MAIN, SYS_ioctl, {VCPU, KVM_SET_MSRS}},
	{"KVM_SET_REGS on another vCPU", 0, ALL, SYS_ioctl, {FIRST, KVM_SET_REGS}},
	{"KVM_SET_CPUID2", 0, ALL, SYS_ioctl, {VCPU, KVM_SET_CPUID2}},
	{"KVM_CREATE_VM", 0, ALL, SYS_ioctl, {FIRST, KVM_CREATE_VM}},
	{"KVM_SET_USER_MEMORY_REGION", 0, ALL, SYS_ioctl, {FIRST, KVM_SET_USER_MEMORY_REGION}},
	{"TCSETS", DVMM, EMULATOR, SYS_ioctl, {-1, TCSETS, PTR(buffer)}},
	{"TIOCSTI", 0, ALL, SYS_ioctl, {0, TIOCSTI, PTR("x")}},
	{"sched_setaffinity", DVMM, EMULATOR, SYS_sched_setaffinity, {0, 0, 0}},
	{"clock_nanosleep", DVMM, EMULATOR, SYS_clock_nanosleep, {CLOCK_MONOTONIC, 0, PTR(&pause_time)}},
	{"tgkill of another process", 0, ALL, SYS_tgkill, {1, 1, 0}},
	{"poll", DVMM, EMULATOR, SYS_poll, {0, 0, 0}},
	{"ppoll", MAIN, EMULATOR | VCPU_THREAD, SYS_ppoll, {0, 0, PTR(&pause_time)}},
	{"waitid", MAIN, EMULATOR | VCPU_THREAD, SYS_waitid, {1, 1, 0, WNOHANG | WEXITED}},
	{"pidfd_send_signal", MAIN, EMULATOR | VCPU_THREAD, SYS_pidfd_send_signal, {-1, 9}},
	{"close", MAIN, EMULATOR | VCPU_THREAD, SYS_close, {999}},
	{"fcntl F_OFD_SETLK", MAIN, EMULATOR | VCPU_THREAD, SYS_fcntl, {-1, F_OFD_SETLK, 0}},
	{"fcntl F_DUPFD", 0, ALL, SYS_fcntl, {0, F_DUPFD, 0}},
	{"fstat", 0, ALL, SYS_fstat, {-1, PTR(buffer)}},
	{"stat by path", 0, ALL, SYS_newfstatat, {AT_FDCWD, PTR("/"), PTR(buffer), 0}},
	{"mmap",
	 MAIN,
	 EMULATOR | VCPU_THREAD,
	 SYS_mmap,
	 {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
	{"mmap executable",
	 0,
	 ALL,
	 SYS_mmap,
	 {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
	{"mprotect executable", 0, ALL, SYS_mprotect, {0, 4096, PROT_READ | PROT_EXEC}},
	{"pkey_mprotect", 0, ALL, SYS_pkey_mprotect, {0, 4096, PROT_READ | PROT_EXEC, -1}},
	{"open", 0, ALL, SYS_open, {PTR("/"), O_RDONLY}},
	{"openat2", 0, ALL, SYS_openat2, {AT_FDCWD, PTR("/"), PTR(buffer), 24}},
	{"creat", 0, ALL, SYS_creat, {PTR("/nowhere/x"), 0600}},
	{"unlink", 0, ALL, SYS_unlink, {PTR("/nowhere/x")}},
	{"socket", 0, ALL, SYS_socket, {2, 1, 0}},
	{"sendto an address", 0, ALL, SYS_sendto, {-1, PTR(buffer), 4, 0, PTR(buffer), 16}},
	{"sendto", MAIN, EMULATOR | VCPU_THREAD, SYS_sendto, {-1, PTR(buffer), 4, 0, 0, 0}},
	{"sendmsg", 0, ALL, SYS_sendmsg, {-1, PTR(buffer), 0}},
	{"recvmsg", MAIN, EMULATOR | VCPU_THREAD, SYS_recvmsg, {-1, PTR(buffer), 0}},
	{"execve", 0, ALL, SYS_execve, {PTR("/bin/true"), 0, 0}},
	{"execveat", 0, ALL, SYS_execveat, {AT_FDCWD, PTR("/bin/true"), 0, 0, 0}},
	{"fork", 0, ALL, SYS_fork, {0}},
	{"vfork", 0, ALL, SYS_vfork, {0}},
	{"clone", 0, ALL, SYS_clone, {SIGCHLD}},
	{"clone of a thread", 0, ALL, SYS_clone, {CLONE_VM | CLONE_THREAD | CLONE_SIGHAND}},
	{"clone3", 0, ALL, SYS_clone3, {PTR(buffer), 64}},
	{"ptrace", 0, ALL, SYS_ptrace, {0}},
	{"process_vm_readv", 0, ALL, SYS_process_vm_readv, {1, 0, 0, 0, 0, 0}},
	{"process_vm_writev", 0, ALL, SYS_process_vm_writev, {1, 0, 0, 0, 0, 0}},
	{"pidfd_getfd", 0, ALL, SYS_pidfd_getfd, {-1, 0, 0}},
	{"kill", 0, ALL, SYS_kill, {1, 0}},
	{"io_uring_setup", 0, ALL, SYS_io_uring_setup, {1, PTR(buffer)}},
	{"io_uring_register", 0, ALL, SYS_io_uring_register, {RING, 0, 0, 0}},
	{"userfaultfd", 0, ALL, SYS_userfaultfd, {0}},
	{"bpf", 0, ALL, SYS_bpf, {0, 0, 0}},
	{"perf_event_open", 0, ALL, SYS_perf_event_open, {0, 0, 0, 0, 0}},
	{"keyctl", 0, ALL, SYS_keyctl, {0}},
	{"mount", 0, ALL, SYS_mount, {0}},
	{"umount2", 0, ALL, SYS_umount2, {PTR("/"), 2}},
	{"pivot_root", 0, ALL, SYS_pivot_root, {PTR("."), PTR(".")}},
	{"chroot", 0, ALL, SYS_chroot, {PTR("/")}},
	{"unshare", 0, ALL, SYS_unshare, {CLONE_NEWUSER}},
	{"setns", 0, ALL, SYS_setns, {-1, 0}},
	{"setuid", 0, ALL, SYS_setuid, {0}},
	{"capset", 0, ALL, SYS_capset, {0, 0}},
	{"prctl", 0, ALL, SYS_prctl, {0}},
	{"seccomp", 0, ALL, SYS_seccomp, {0, 0, 0}},
	{"arch_prctl", 0, ALL, SYS_arch_prctl, {0x1004, PTR(buffer)}},
	{"modify_ldt", 0, ALL, SYS_modify_ldt, {0, 0, 0}},
	{"prlimit64", 0, ALL, SYS_prlimit64, {0, 0, 0, 0}},
	{"memfd_create", 0, ALL, SYS_memfd_create, {PTR("x"), 0}},
	{"dup2", 0, ALL, SYS_dup2, {0, 1}},
	{"reboot", 0, ALL, SYS_reboot, {0}},
	{"unknown call", 0, ALL, 999, {0}},
};

/* How a process that has the filter of a kind and makes the call ends: 0 by itself, or the signal. */
static int end_of_probe(const struct probe *p, enum filter_kind kind)
{
	struct filter f;
	int status;
	pid_t pid;

	filter_build(&f, kind, VCPU);
	pid = fork();
	if (pid == 0) {
		int event = eventfd(1, EFD_NONBLOCK);

		if (dup2(event, FIRST) < 0 || dup2(event, LAST) < 0 || filter_load(&f))
			syscall(SYS_exit_group, 1);
		syscall(p->nr, p->arg[0], p->arg[1], p->arg[2], p->arg[3], p->arg[4], p->arg[5]);
		syscall(SYS_exit_group, 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "%s: no filter", p->name);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#ifdef DVMM_ASAN
static bool sanitizer_needs(const struct probe *p, enum filter_kind kind)
{
	unsigned count;
	const struct filter_rule *rule = filter_rules(kind, &count);

	for (unsigned i = 0; i < count; i++)
		if (rule[i].syscall == p->nr && !strncmp(rule[i].why, "sanitizer", 9))
			return true;
	return false;
}
#else
static bool sanitizer_needs(const struct probe *p, enum filter_kind kind)
{
	return false;
}
#endif

START_TEST(a_call_passes_or_ends_in_sigsys)
{
	const struct probe *p = &probes[_i];

#ifdef __SANITIZE_THREAD__
	if (p->nr == SYS_exit)
		return; /* ends one thread, and this sanitizer has another */
#endif
	for (unsigned kind = 0; kind < FILTER_KINDS; kind++) {
		if (p->pass & (1u << kind))
			ck_assert_msg(end_of_probe(p, kind) == 0, "%s: kind %u died", p->name, kind);
		if (p->die & (1u << kind) && !sanitizer_needs(p, kind))
			ck_assert_msg(end_of_probe(p, kind) == SIGSYS, "%s: kind %u lived", p->name, kind);
	}
}
END_TEST

static void *call_later(void *arg)
{
	while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE))
		;
	syscall(SYS_socket, 2, 1, 0);
	syscall(SYS_exit_group, 0);
	return NULL;
}

/* Also of one that was there before it. */
START_TEST(a_filter_of_the_process_is_that_of_threads_there_are)
{
	static bool go;
	pthread_t thread;
	struct filter f;
	int status;
	pid_t pid;

	filter_build(&f, FILTER_EMULATOR, -1);
	pid = fork();
	if (pid == 0) {
		if (pthread_create(&thread, NULL, call_later, &go) || filter_load_process(&f))
			syscall(SYS_exit_group, 1);
		__atomic_store_n(&go, true, __ATOMIC_RELEASE);
		for (;;)
			;
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}
END_TEST

/* dvmm's handler of SIGSYS must get to run, put the terminal right and say why. */
static void on_sigsys(int signo)
{
	struct termios t = {0};

	ioctl(STDIN_FILENO, TCSETS, &t);
	syscall(SYS_write, FIRST, buffer, 8);
	_exit(77);
}

START_TEST(dvmm_can_handle_sigsys)
{
	enum filter_kind kind = FILTER_VCPU + _i;
	struct filter f;
	int status;
	pid_t pid;

	filter_build(&f, kind, VCPU);
	pid = fork();
	if (pid == 0) {
		close(STDIN_FILENO);
		signal(SIGSYS, on_sigsys);
		if (!filter_load(&f))
			syscall(SYS_socket, 0, 0, 0);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 77);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("filters");
	TCase *rules = tcase_create("rules"), *processes = tcase_create("processes");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(rules, every_rule_is_exactly_as_wide_as_its_line, 0, FILTER_KINDS);
	tcase_add_loop_test(rules, calls_without_a_line_do_not_pass, 0, FILTER_KINDS);
#ifndef DVMM_ASAN
	tcase_add_test(rules, the_emulator_keeps_its_promise_of_few_calls);
#endif
	tcase_set_timeout(rules, 60);
	tcase_add_loop_test(processes, a_call_passes_or_ends_in_sigsys, 0,
			    sizeof(probes) / sizeof(probes[0]));
	tcase_add_test(processes, a_filter_of_the_process_is_that_of_threads_there_are);
	tcase_add_loop_test(processes, dvmm_can_handle_sigsys, 0, 2);
	tcase_set_timeout(processes, 60);
	suite_add_tcase(suite, rules);
	suite_add_tcase(suite, processes);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
