/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the emulator is started: with what, and what is said when it cannot be.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/sandbox_subject.h"

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

/* Their CPUs are divided only while it is started. */
START_TEST(it_may_run_where_we_may)
{
	struct sandbox_child child;
	char before[256];

	if (!become(_i))
		return;
	snprintf(before, sizeof(before), "%s", status_of(getpid(), "Cpus_allowed_list"));
	child = hold();
	ck_assert_str_eq(status_of(child.pid, "Cpus_allowed_list"), before);
	ck_assert_str_eq(status_of(getpid(), "Cpus_allowed_list"), before);
	sandbox_stop(&child);
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
	ck_assert_int_eq(sandbox_spawn(&folder, &child, start_error), 0);
	ck_assert_int_eq(sandbox_spawn_wait(&child, start_error), -EACCES);
	ck_assert_ptr_nonnull(strstr(start_error, "executable"));
	ck_assert_int_eq(sandbox_spawn(&bad, &child, start_error), 0);
	ck_assert_int_eq(sandbox_spawn_wait(&child, start_error), -EBADF);
	ck_assert_ptr_nonnull(strstr(start_error, "descriptors"));
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
	ck_assert_int_eq(sandbox_spawn(&leased, &child, start_error), 0);
	ck_assert_int_eq(sandbox_spawn_wait(&child, start_error), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(start_error, "stopped"));
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

/* Stopped on its way, before dvmm dies, it would stay for ever. */
START_TEST(a_child_that_is_stopped_early_dies_with_dvmm)
{
	char *argv[] = {"dvmm-emulator", "--emulator", "none", NULL};
	struct sandbox_spawn spec = {open("/proc/self/exe", O_PATH | O_CLOEXEC), argv, NULL, 0};
	struct sandbox_child child;
	pid_t dvmm, stopped;
	int status, ends[2];

	if (!become(_i))
		return;
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	ck_assert_int_eq(pipe(ends), 0);
	dvmm = fork();
	if (dvmm == 0) {
		if (sandbox_spawn(&spec, &child, start_error))
			_exit(1);
		while (getpgid(child.pid) != child.pid) /* then it makes its namespaces, which takes a while */
			;
		if (kill(child.pid, SIGSTOP) ||
		    waitpid(child.pid, &status, WUNTRACED) != child.pid || !WIFSTOPPED(status))
			_exit(1);
		status = (int)write(ends[1], &child.pid, sizeof(child.pid));
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(ends[0], &stopped, sizeof(stopped)), sizeof(stopped));
	ck_assert_int_eq(kill(dvmm, SIGKILL), 0);
	ck_assert_int_eq(waitpid(dvmm, &status, 0), dvmm);
	ck_assert_int_eq(waitpid(stopped, &status, 0), stopped);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
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
		if (start("start-1", NULL, 0, &child) != -ENOSPC || !strstr(start_error, "max_*_namespaces"))
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
		_exit(start("start-1", NULL, 0, &child) != -ENOSPC || !strstr(start_error, "max_user_namespaces"));
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
	TCase *tests = tcase_create("sandbox_spawn");

	be_emulator(argc, argv);
	tcase_add_loop_test(tests, it_starts_with_what_it_was_given, 0, 2);
	tcase_add_loop_test(tests, descriptors_may_overlap, 0, 2);
	tcase_add_loop_test(tests, it_may_run_where_we_may, 0, 2);
	tcase_add_loop_test(tests, a_failed_start_says_why_and_leaves_nobody, 0, 2);
	tcase_add_test(tests, a_start_that_hangs_is_given_up);
	tcase_add_loop_test(tests, a_child_that_is_stopped_early_dies_with_dvmm, 0, 2);
	tcase_add_loop_test(tests, without_user_namespaces_root_goes_on_and_others_are_told, 0, 3);
	return run_in_children(tests, "sandbox_spawn");
}
