/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include "tests/unit/sandbox_subject.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "seccomp/filters.h"
#include "seccomp/sandbox.h"

#define ORDINARY_USER 12345

char start_error[SANDBOX_ERROR_BYTES];

/* ---- The emulator's side. Returns its exit status; 0 means all is as it should be. ---- */

static int all_stages(void)
{
	char error[SANDBOX_ERROR_BYTES];
	static struct filter filter;

	filter_build(&filter, FILTER_EMULATOR, -1);
	return sandbox_enter(error) || sandbox_seal(4096, error) || filter_load(&filter);
}

/* Sandboxed, waits to be looked at. */
static int emulator_hold(void)
{
	uint64_t one = 1;

	if (all_stages() || write(FD_READY, &one, sizeof(one)) != sizeof(one))
		return 1;
	return read(FD_NEVER, &one, sizeof(one)) < 0;
}

static int emulator_socket(void)
{
	if (all_stages())
		return 1;
	return socket(AF_INET, SOCK_STREAM, 0) >= 0; /* not reached */
}

/* What a new program finds: nothing in the environment but the one word, process 1, its own group, nothing open but
 * 3 .. 2 + n. */
static int emulator_start(int n)
{
	extern char **environ;

	if (!environ[0] || strcmp(environ[0], "LD_BIND_NOW=1") || environ[1])
		return 2;
	if (getpid() != 1 || getpgrp() != 1 || getuid() != 65534 || getgid() != 65534)
		return 2;
	for (int fd = 0; fd < 1024; fd++) {
		bool open = fcntl(fd, F_GETFD) >= 0, expected = fd >= 3 && fd < 3 + n;

#ifdef DVMM_ASAN
		if (fd == STDERR_FILENO)
			continue;
#endif
		if (open != expected)
			return 3;
	}
	return 0;
}

/* Says into each descriptor which one it is. */
static int emulator_numbers(unsigned first)
{
	for (uint64_t fd = first; fd < first + 3; fd++)
		if (write((int)fd, &fd, sizeof(fd)) != sizeof(fd))
			return 4;
	return 0;
}

static bool root_is_empty(void)
{
	DIR *dir = opendir("/");
	struct dirent *entry;
	int entries = 0;

	if (access("/dev", F_OK) == 0 || errno != ENOENT || access("/proc", F_OK) == 0 || errno != ENOENT)
		return false;
	if (sandbox_landlock_abi() > 0)
		return !dir; /* forbids even to list it */
	if (!dir)
		return false;
	while ((entry = readdir(dir)))
		entries += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	closedir(dir);
	return entries == 0;
}

/* The stages must hold without the system call filter, which would hide a stage that does nothing. */
static int emulator_without_filter(void)
{
	char error[SANDBOX_ERROR_BYTES];
	void *page;

	if (sandbox_enter(error))
		return 10;
	if (!root_is_empty())
		return 11;
	if (open("/file", O_CREAT | O_WRONLY, 0600) >= 0 || mkdir("/dir", 0700) == 0)
		return 12;
	if (mount("none", "/", "tmpfs", 0, NULL) == 0 || umount2("/", MNT_DETACH) == 0 || chroot("/") == 0)
		return 13;
	if (syscall(SYS_setresuid, 0, 0, 0) == 0 || syscall(SYS_setresgid, 0, 0, 0) == 0 ||
	    sethostname("x", 1) == 0)
		return 14;
	if (unshare(CLONE_NEWNET) == 0 || prctl(PR_CAPBSET_READ, 21, 0, 0, 0) != 0)
		return 15;
	if (prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0)
		return 16;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 17;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (prctl(66 /* PR_GET_MDWE, Linux 6.3 */, 0, 0, 0, 0) >= 0 &&
	    mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0)
		return 18;
	if (socket(AF_INET, SOCK_RAW, 1) >= 0)
		return 19;
	return 0;
}

static int emulator_limits(void)
{
	static const int none[] = {RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE};
	char error[SANDBOX_ERROR_BYTES];
	struct rlimit limit;

	if (sandbox_enter(error) || sandbox_seal(4096, error))
		return 20;
#ifndef DVMM_ASAN
	if (dup(FD_READY) >= 0 || open("/", O_RDONLY) >= 0)
		return 21;
	if (mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return 22;
#endif
	/* Process 1 does not die of a signal that it sends itself, so this is an error here, not an end. */
	if (pwrite(FD_READY, "x", 1, 0) != 1 || pwrite(FD_READY, "x", 1, 4096) != -1 || errno != EFBIG)
		return 23;
	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		if (getrlimit(none[i], &limit) || limit.rlim_max != 0)
			return 24;
	return 0;
}

static int emulator_main(const char *what)
{
	if (!strcmp(what, "hold"))
		return emulator_hold();
	if (!strcmp(what, "socket"))
		return emulator_socket();
	if (!strcmp(what, "start-1"))
		return emulator_start(1);
	if (!strcmp(what, "start-3"))
		return emulator_start(3);
	if (!strncmp(what, "numbers-", 8))
		return emulator_numbers((unsigned)atoi(what + 8));
	if (!strcmp(what, "without-filter"))
		return emulator_without_filter();
	if (!strcmp(what, "limits"))
		return emulator_limits();
	return 99;
}

void be_emulator(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--emulator"))
		_exit(emulator_main(argv[2]));
}

/* ---- dvmm's side. ---- */

int run_in_children(TCase *tests, const char *name)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int failed;

	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int start(const char *what, const struct sandbox_descriptor *descriptors, unsigned count,
		 struct sandbox_child *child)
{
	char *argv[] = {"dvmm-emulator", "--emulator", (char *)what, NULL};
	const struct sandbox_spawn spec = {open("/proc/self/exe", O_PATH | O_CLOEXEC), argv, descriptors, count};
	int err = sandbox_spawn(&spec, child, start_error);

	close(spec.executable);
	return err ? err : sandbox_spawn_wait(child, start_error);
}

bool become(int index)
{
	struct sandbox_child child;

	if (index == 0 && geteuid() == 0)
		return true;
	if (geteuid() == 0) {
		ck_assert_int_eq(setgroups(0, NULL), 0);
		ck_assert_int_eq(setresgid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER), 0);
		ck_assert_int_eq(setresuid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER), 0);
		ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
	}
	if (!start("none", NULL, 0, &child)) {
		sandbox_stop(&child);
		return true;
	}
	printf("not tested as an ordinary user: %s\n", start_error);
	return false;
}

int run(const char *what, const struct sandbox_descriptor *descriptors, unsigned count)
{
	struct sandbox_child child;
	int status, err = start(what, descriptors, count, &child);
	struct pollfd end;

	ck_assert_msg(err == 0, "%s", start_error);
	end = (struct pollfd){.fd = child.pidfd, .events = POLLIN};
	ck_assert_int_eq(poll(&end, 1, 20000), 1);
	status = sandbox_stop(&child);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

struct sandbox_child hold(void)
{
	const struct sandbox_descriptor descriptors[] = {{eventfd(0, EFD_CLOEXEC), FD_READY},
							 {eventfd(0, 0), FD_NEVER}};
	struct sandbox_child child;
	struct pollfd ready = {.fd = descriptors[0].from, .events = POLLIN};

	ck_assert_msg(start("hold", descriptors, 2, &child) == 0, "%s", start_error);
	ck_assert_int_eq(poll(&ready, 1, 20000), 1);
	return child;
}

const char *status_of(pid_t pid, const char *name)
{
	static char line[256];
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':') {
			fclose(file);
			line[strcspn(line, "\n")] = 0;
			return line + strlen(name) + 2;
		}
	}
	fclose(file);
	return "";
}
