/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sandbox, looked at from outside and tried from inside.
 */
#include "config.h"

#include <check.h>
#include <dirent.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/sandbox_subject.h"

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

int main(int argc, char **argv)
{
	TCase *tests = tcase_create("sandbox");

	be_emulator(argc, argv);
	tcase_add_loop_test(tests, seen_from_outside_it_has_nothing, 0, 2);
	tcase_add_test(tests, root_sees_an_empty_root_only_lo_and_its_descriptors);
	tcase_add_loop_test(tests, each_stage_holds_by_itself, 0, 2);
	tcase_add_loop_test(tests, limits_hold, 0, 2);
	tcase_add_loop_test(tests, a_forbidden_call_kills_it, 0, 2);
	tcase_add_loop_test(tests, it_does_not_outlive_its_parent, 0, 2);
	return run_in_children(tests, "sandbox");
}
