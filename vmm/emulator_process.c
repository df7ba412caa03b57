/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting dvmm-emulator: which descriptors it gets, at which numbers, and waiting until it says that it is in its sandbox.
 *
 * Numbers: the four memory files, then all eventfds in one run (so that a filter can name them by a range), then the
 * backing files. Nothing else reaches the child.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulator/futex.h"
#include "seccomp/spawn.h"
#include "vmm/vm.h"

#define START_TIMEOUT_NS 10000000000ull

struct descriptors {
	struct sandbox_descriptor fd[FD_FIRST_DEVICE + 3 * MACHINE_MAX_DEVICES];
	unsigned count;
	int next; /* number that the next device descriptor gets */
};

static void pass(struct descriptors *d, int from, int to) { d->fd[d->count++] = (struct sandbox_descriptor){from, to}; }

/* Gives *fd, if there is one, the next number in the emulator and writes that number into *theirs. */
static void pass_next(struct descriptors *d, int fd, int32_t *theirs)
{
	*theirs = -1;
	if (fd < 0)
		return;
	pass(d, fd, d->next);
	*theirs = d->next++;
}

/* Decides all numbers; *theirs becomes the machine as the emulator sees it. */
static void assign_descriptors(struct vm *vm, struct descriptors *d, struct machine *theirs)
{
	*theirs = vm->machine;
	*d = (struct descriptors){.next = FD_FIRST_DEVICE};
	pass(d, vm->requests.fd, FD_REQUEST);
	pass(d, vm->replies.fd, FD_REPLY);
	pass(d, vm->region.fd, FD_REGION);
	pass(d, vm->ram.fd, FD_MEMORY);
	for (uint32_t i = 0; i < vm->machine.devices; i++) {
		pass_next(d, vm->machine.device[i].irq_fd, &theirs->device[i].irq_fd);
		pass_next(d, vm->machine.device[i].queue_fd, &theirs->device[i].queue_fd);
	}
	for (uint32_t i = 0; i < vm->machine.devices; i++)
		pass_next(d, vm->machine.device[i].file_fd, &theirs->device[i].file_fd);
}

/* The executable: what the operator named, else beside ourselves (a build tree), else where it was installed. */
static const char *find_emulator(const struct options *o, char path[PATH_MAX])
{
	ssize_t n;
	char *slash;

	if (o->emulator)
		return o->emulator;
	n = readlink("/proc/self/exe", path, PATH_MAX - sizeof("dvmm-emulator"));
	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		memcpy(slash + 1, "dvmm-emulator", sizeof("dvmm-emulator"));
		if (access(path, X_OK) == 0)
			return path;
	}
	return PKGLIBEXECDIR "/dvmm-emulator";
}

/* For messages: what the operator named, or what everybody calls it. */
static const char *emulator_name(const struct vm *vm)
{
	return vm->options->emulator ? vm->options->emulator : "dvmm-emulator";
}

/* A mistake in --emulator is told before anything is started. */
static int check_emulator_option(const char *path, struct failure *f)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return fail_with(f, EXIT_USAGE, "--emulator %.200s: cannot be opened: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
		return fail_with(f, EXIT_USAGE, "--emulator %.200s: not an executable file; leave the option out", path);
	return 0;
}

int emulator_spawn(struct vm *vm, struct failure *f)
{
	char path[PATH_MAX], error[SANDBOX_ERROR_BYTES] = "";
	struct descriptors d;
	char *argv[] = {"dvmm-emulator", NULL};
	struct sandbox_spawn spec = {.path = find_emulator(vm->options, path), .argv = argv, .descriptors = d.fd};

	if (vm->options->emulator && check_emulator_option(vm->options->emulator, f))
		return -1;
	assign_descriptors(vm, &d, vm->requests.at);
	spec.count = d.count;
	if (sandbox_spawn(&spec, &vm->emulator, error))
		return fail_with(f, EXIT_HOST, "%s", error);
	return 0;
}

static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* The signals that end dvmm are blocked, and nobody reads them yet. */
static bool end_is_pending(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) > 0 || sigismember(&pending, SIGINT) > 0 ||
					     sigismember(&pending, SIGHUP) > 0);
}

int emulator_wait_ready(struct vm *vm, struct failure *f)
{
	struct emulator_status *s = (void *)((uint8_t *)vm->replies.at + EMULATOR_STATUS_OFFSET);
	const struct timespec step = {.tv_nsec = 20000000};
	const uint64_t end = monotonic_ns() + START_TIMEOUT_NS;
	char error[SANDBOX_ERROR_BYTES];
	uint32_t state;

	if (sandbox_spawn_wait(&vm->emulator, error))
		return fail_with(f, EXIT_HOST, "%.200s: %s", emulator_name(vm), error);
	while ((state = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE)) == EMULATOR_STARTING) {
		if (has_ended(vm->emulator.pidfd))
			return fail_with(f, EXIT_HOST, "%.200s: ended while it was setting up its sandbox; "
						  "see dvmm --check-host", emulator_name(vm));
		if (end_is_pending())
			return fail_with(f, EXIT_GUEST_ENDED, "stopped by a signal before the guest has started");
		if (monotonic_ns() > end)
			return fail_with(f, EXIT_HOST, "%.200s: not ready within 10 s; is it a dvmm-emulator?",
					 emulator_name(vm));
		futex_wait(&s->state, EMULATOR_STARTING, &step);
	}
	if (state == EMULATOR_READY)
		return 0;
	return fail_with(f, EXIT_HOST, "%.200s: %.*s", emulator_name(vm), (int)sizeof(s->message) - 1, s->message);
}
