/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sandbox, looked at from outside and tried from inside. This program starts itself through
 * sandbox_spawn() as the emulator; what it then does its arguments say. Tests run as they are and, started by
 * root, as an ordinary user too.
 */
#include "config.h"

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
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "seccomp/filters.h"
#include "seccomp/sandbox.h"
#include "seccomp/spawn.h"

#define ORDINARY_USER 12345
#define FD_READY      8 /* eventfd, FILTER_FIRST_EVENT: the emulator says that it is sandboxed */
#define FD_NEVER      9 /* eventfd that never rings */

/* ---- The emulator's side. Returns its exit status; 0 means all is as it should be. ---- */

static int all_stages(void)
{
	char error[SANDBOX_ERROR_BYTES];
	static struct filter filter;

	filter_build(&filter, FILTER_IO, -1);
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

/* What a new program finds: nothing in the environment but the one word, process 1, no terminal, nothing open but
 * 3 .. 2 + n. */
static int emulator_start(int n)
{
	extern char **environ;

	if (!environ[0] || strcmp(environ[0], "LD_BIND_NOW=1") || environ[1])
		return 2;
	if (getpid() != 1 || getsid(0) != 1 || getuid() != 65534 || getgid() != 65534)
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

/* ---- dvmm's side. ---- */

static char error[SANDBOX_ERROR_BYTES];

static int start(const char *what, const struct sandbox_descriptor *descriptors, unsigned count,
		 struct sandbox_child *child)
{
	char *argv[] = {"dvmm-emulator", "--emulator", (char *)what, NULL};
	const struct sandbox_spawn spec = {open("/proc/self/exe", O_PATH | O_CLOEXEC), argv, descriptors, count};
	int err = sandbox_spawn(&spec, child, error);

	close(spec.executable);
	return err ? err : sandbox_spawn_wait(child, error);
}

/* Loop index 0: as we were started. 1: as an ordinary user, if we can become one. False: nothing to test. */
static bool become(int index)
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
	printf("not tested as an ordinary user: %s\n", error);
	return false;
}

/* Starts the emulator and returns its exit status, or 128 + the signal that ended it. */
static int run(const char *what, const struct sandbox_descriptor *descriptors, unsigned count)
{
	struct sandbox_child child;
	int status, err = start(what, descriptors, count, &child);
	struct pollfd end;

	ck_assert_msg(err == 0, "%s", error);
	end = (struct pollfd){.fd = child.pidfd, .events = POLLIN};
	ck_assert_int_eq(poll(&end, 1, 20000), 1);
	status = sandbox_stop(&child);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static struct sandbox_child hold(void)
{
	const struct sandbox_descriptor descriptors[] = {{eventfd(0, EFD_CLOEXEC), FD_READY},
							 {eventfd(0, 0), FD_NEVER}};
	struct sandbox_child child;
	struct pollfd ready = {.fd = descriptors[0].from, .events = POLLIN};

	ck_assert_msg(start("hold", descriptors, 2, &child) == 0, "%s", error);
	ck_assert_int_eq(poll(&ready, 1, 20000), 1);
	return child;
}

/* The value of a line of /proc/PID/status. */
static const char *status_of(pid_t pid, const char *name)
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

START_TEST(seen_from_outside_it_has_nothing)
{
	static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
	static const gid_t groups[] = {0, 7};
	unsigned uid = geteuid() == 0 && _i == 0 ? 65534 : 0;
	struct sandbox_child child;
	char expected[64];

	if (geteuid() == 0)
		ck_assert_int_eq(setgroups(2, groups), 0);
	if (!become(_i))
		return;
	if (!uid)
		uid = geteuid();
	child = hold();
	for (unsigned i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		ck_assert_str_eq(status_of(child.pid, sets[i]), "0000000000000000");
	ck_assert_str_eq(status_of(child.pid, "NoNewPrivs"), "1");
	ck_assert_str_eq(status_of(child.pid, "Seccomp"), "2");
	snprintf(expected, sizeof(expected), "%u\t%u\t%u\t%u", uid, uid, uid, uid);
	ck_assert_str_eq(status_of(child.pid, "Uid"), expected);
	ck_assert_str_eq(status_of(child.pid, "Gid"), expected);
	if (uid == 65534) /* an ordinary user keeps its groups */
		ck_assert_str_eq(status_of(child.pid, "Groups") + strspn(status_of(child.pid, "Groups"), " "),
				 "");
	ck_assert_int_eq(WTERMSIG(sandbox_stop(&child)), SIGKILL);
}
END_TEST

/* Only root may look into an undumpable process. */
START_TEST(root_sees_an_empty_root_only_lo_and_its_descriptors)
{
	static const char *const namespaces[] = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"};
	struct sandbox_child child;
	struct dirent *entry;
	char path[64], line[256], ours[64], theirs[64];
	unsigned interfaces = 0, descriptors = 0;
	FILE *file;
	DIR *dir;

	if (geteuid() != 0)
		return;
	child = hold();

	snprintf(path, sizeof(path), "/proc/%d/root", child.pid);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		ck_assert_msg(entry->d_name[0] == '.', "%s", entry->d_name);
	closedir(dir);

	snprintf(path, sizeof(path), "/proc/%d/mounts", child.pid);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
	ck_assert_int_eq(strncmp(line, "none / tmpfs ro,", 16), 0);
	ck_assert_ptr_null(fgets(line, sizeof(line), file));
	fclose(file);

	snprintf(path, sizeof(path), "/proc/%d/net/dev", child.pid);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file)) {
		if (!strchr(line, ':'))
			continue;
		ck_assert_ptr_nonnull(strstr(line, "lo:"));
		interfaces++;
	}
	fclose(file);
	ck_assert_uint_le(interfaces, 1);

	snprintf(path, sizeof(path), "/proc/%d/fd", child.pid);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
#ifdef DVMM_ASAN
		if (!strcmp(entry->d_name, "2"))
			continue;
#endif
		ck_assert_msg(!strcmp(entry->d_name, "8") || !strcmp(entry->d_name, "9"), "%s",
			      entry->d_name);
		descriptors++;
	}
	closedir(dir);
	ck_assert_uint_eq(descriptors, 2);

	for (unsigned i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
		memset(ours, 0, sizeof(ours));
		memset(theirs, 0, sizeof(theirs));
		snprintf(path, sizeof(path), "/proc/self/ns/%s", namespaces[i]);
		ck_assert_int_gt(readlink(path, ours, sizeof(ours) - 1), 0);
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", child.pid, namespaces[i]);
		ck_assert_int_gt(readlink(path, theirs, sizeof(theirs) - 1), 0);
		ck_assert_str_ne(ours, theirs);
	}
	sandbox_stop(&child);
}
END_TEST

START_TEST(it_starts_with_what_it_was_given)
{
	struct sandbox_descriptor descriptors[] = {{0, 3}, {0, 4}, {0, 5}};

	if (!become(_i))
		return;
	for (int i = 0; i < 3; i++)
		descriptors[i].from = eventfd(0, 0);
	ck_assert_int_eq(run("start-3", descriptors, 3), 0);
	ck_assert_int_eq(run("start-1", descriptors, 1), 0);
	ck_assert_int_eq(run("start-3", descriptors, 1), 3);
}
END_TEST

/* Each source tells, by what was written into it, which target it became. */
static void check_numbers(const struct sandbox_descriptor *d, unsigned first)
{
	uint64_t count;
	char what[32];

	snprintf(what, sizeof(what), "numbers-%u", first);
	ck_assert_int_eq(run(what, d, 3), 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(read(d[i].from, &count, sizeof(count)), sizeof(count));
		ck_assert_uint_eq(count, (uint64_t)d[i].to);
	}
}

START_TEST(descriptors_may_overlap)
{
	const struct sandbox_descriptor rotated[] = {{120, 121}, {121, 122}, {122, 120}};
	const struct sandbox_descriptor one[] = {{122, 120}, {122, 121}, {122, 122}};
	uint64_t count;

	if (!become(_i))
		return;
	for (int fd = 120; fd < 123; fd++)
		ck_assert_int_ge(dup2(eventfd(0, EFD_NONBLOCK), fd), 0);
	check_numbers(rotated, 120);
	ck_assert_int_eq(run("numbers-120", one, 3), 0);
	ck_assert_int_eq(read(122, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, 120 + 121 + 122);

	/* Targets that are free, and so are what a new descriptor would get while the others are being moved.
	 */
	for (int fd = 3; fd < 100; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			ck_assert_int_eq(dup2(120, fd), fd);
	for (int to = 100; to < 110; to++) {
		const struct sandbox_descriptor swapped[] = {{120, to + 1}, {121, to}, {122, to + 2}};

		check_numbers(swapped, (unsigned)to);
	}
}
END_TEST

START_TEST(each_stage_holds_by_itself)
{
	if (become(_i))
		ck_assert_int_eq(run("without-filter", NULL, 0), 0);
}
END_TEST

START_TEST(limits_hold)
{
	const struct sandbox_descriptor file = {memfd_create("disk", 0), FD_READY};

	if (become(_i))
		ck_assert_int_eq(run("limits", &file, 1), 0);
}
END_TEST

START_TEST(a_forbidden_call_kills_it)
{
	const struct sandbox_descriptor descriptors[] = {{eventfd(0, 0), FD_READY},
							 {eventfd(0, 0), FD_NEVER}};

	if (become(_i))
		ck_assert_int_eq(run("socket", descriptors, 2), 128 + SIGSYS);
}
END_TEST

START_TEST(it_does_not_outlive_its_parent)
{
	struct sandbox_child child;
	int channel[2], pid, pidfd;
	struct pollfd end;
	pid_t middle;

	if (!become(_i))
		return;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
	middle = fork();
	if (middle == 0) {
		child = hold();
		send(channel[1], &child.pid, sizeof(child.pid), 0);
		for (;;)
			pause();
	}
	ck_assert_int_eq(recv(channel[0], &pid, sizeof(pid), 0), sizeof(pid));
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	ck_assert_int_ge(pidfd, 0);
	end = (struct pollfd){.fd = pidfd, .events = POLLIN};
	ck_assert_int_eq(poll(&end, 1, 0), 0);
	kill(middle, SIGKILL);
	ck_assert_int_eq(waitpid(middle, NULL, 0), middle);
	ck_assert_int_eq(poll(&end, 1, 10000), 1);
}
END_TEST

START_TEST(a_failed_start_says_why_and_leaves_nobody)
{
	char *argv[] = {"x", NULL};
	const struct sandbox_descriptor closed = {999, 3};
	struct sandbox_spawn folder = {open("/", O_PATH), argv, NULL, 0};
	struct sandbox_spawn bad = {open("/proc/self/exe", O_PATH), argv, &closed, 1};
	struct sandbox_child child;

	if (!become(_i))
		return;
	ck_assert_int_eq(sandbox_spawn(&folder, &child, error), 0);
	ck_assert_int_eq(sandbox_spawn_wait(&child, error), -EACCES);
	ck_assert_ptr_nonnull(strstr(error, "executable"));
	ck_assert_int_eq(sandbox_spawn(&bad, &child, error), 0);
	ck_assert_int_eq(sandbox_spawn_wait(&child, error), -EBADF);
	ck_assert_ptr_nonnull(strstr(error, "descriptors"));
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

/* Something stops the child in the middle of its set-up: here, nobody may open its executable for 45 s
 * (/proc/sys/fs/lease-break-time). */
START_TEST(a_start_that_hangs_is_given_up)
{
	char *argv[] = {"x", NULL}, path[] = "/tmp/dvmm-test-XXXXXX";
	struct sandbox_spawn leased = {.argv = argv};
	struct sandbox_child child;
	int file = mkostemp(path, O_CLOEXEC);

	ck_assert_int_ge(file, 0);
	fchmod(file, 0755);
	leased.executable = open(path, O_PATH | O_CLOEXEC);
	unlink(path);
	signal(SIGIO, SIG_IGN);
	if (fcntl(file, F_SETLEASE, F_WRLCK) < 0) {
		printf("leases are not to be had: %s\n", strerror(errno));
		return;
	}
	ck_assert_int_eq(sandbox_spawn(&leased, &child, error), 0);
	ck_assert_int_eq(sandbox_spawn_wait(&child, error), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(error, "stopped"));
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* The child dies of it at once; what it has said about that must get through. */
static bool is_told_that_there_is_no_network_namespace(void)
{
	struct sandbox_child child;

	for (int i = 0; i < 20; i++)
		if (start("start-1", NULL, 0, &child) != -ENOSPC || !strstr(error, "max_*_namespaces"))
			return false;
	return true;
}

/*
 * user.max_user_namespaces belongs to a user namespace, so it is made 0 in one made for this test, where we
 * are root and (second round) not root; in the third it is user.max_net_namespaces.
 */
START_TEST(without_user_namespaces_root_goes_on_and_others_are_told)
{
	const struct sandbox_descriptor descriptors[] = {{eventfd(0, 0), FD_READY},
							 {eventfd(0, 0), FD_NEVER}};
	const struct sandbox_descriptor one = {descriptors[0].from, 3};
	struct sandbox_child child;
	int go[2], made[2], status;
	char path[64], byte;
	pid_t pid;

#ifdef __SANITIZE_THREAD__
	return; /* has a thread of its own, and a process with two cannot make a user namespace */
#endif
	if (geteuid() != 0)
		return;
	ck_assert_int_eq(pipe(go), 0);
	ck_assert_int_eq(pipe(made), 0);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER) || write(made[1], "", 1) != 1 || read(go[0], &byte, 1) != 1)
			exit(1);
		if (_i == 1 && (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) || setresgid(7, 7, 7)))
			exit(2);
		status = open(_i == 2 ? "/proc/sys/user/max_net_namespaces" : "/proc/sys/user/max_user_namespaces",
			      O_WRONLY);
		if (write(status, "0", 1) != 1)
			exit(3);
		if (_i == 2)
			_exit(!is_told_that_there_is_no_network_namespace());
		if (_i == 0)
			_exit(run("without-filter", NULL, 0) || run("start-1", &one, 1) ||
			      run("socket", descriptors, 2) != 128 + SIGSYS);
		if (setresuid(7, 7, 7) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
			exit(4);
		_exit(start("start-1", NULL, 0, &child) != -ENOSPC || !strstr(error, "max_user_namespaces"));
	}
	if (read(made[0], &byte, 1) != 1)
		ck_abort_msg("no user namespace");
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	write_text(path, "0 0 65535");
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	write_text(path, "0 0 65535");
	ck_assert_int_eq(write(go[1], "", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("sandbox");
	TCase *tests = tcase_create("sandbox");
	SRunner *runner;
	int failed;

	if (argc == 3 && !strcmp(argv[1], "--emulator"))
		_exit(emulator_main(argv[2]));
	tcase_add_loop_test(tests, seen_from_outside_it_has_nothing, 0, 2);
	tcase_add_test(tests, root_sees_an_empty_root_only_lo_and_its_descriptors);
	tcase_add_loop_test(tests, it_starts_with_what_it_was_given, 0, 2);
	tcase_add_loop_test(tests, descriptors_may_overlap, 0, 2);
	tcase_add_loop_test(tests, each_stage_holds_by_itself, 0, 2);
	tcase_add_loop_test(tests, limits_hold, 0, 2);
	tcase_add_loop_test(tests, a_forbidden_call_kills_it, 0, 2);
	tcase_add_loop_test(tests, it_does_not_outlive_its_parent, 0, 2);
	tcase_add_loop_test(tests, a_failed_start_says_why_and_leaves_nobody, 0, 2);
	tcase_add_test(tests, a_start_that_hangs_is_given_up);
	tcase_add_loop_test(tests, without_user_namespaces_root_goes_on_and_others_are_told, 0, 3);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_FORK); /* tests change who they are */
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
