/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs under test: started, read from and, whatever they do, ended. */
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int child_start(struct child *child, const char *const argv[], bool want_output)
{
	posix_spawn_file_actions_t actions;
	int ends[2] = {-1, -1}, error;

	if (want_output && pipe2(ends, O_CLOEXEC)) {
		fprintf(stderr, "bench: pipe: %s\n", strerror(errno));
		return -1;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (want_output)
		posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	else
		posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	error = posix_spawn(&child->pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (want_output)
		close(ends[1]);
	child->output = ends[0];
	if (error) {
		fprintf(stderr, "bench: %s: %s\n", argv[0], strerror(error));
		if (want_output)
			close(ends[0]);
		return -1;
	}
	return 0;
}

int child_end(struct child *child, int limit_ms)
{
	struct pollfd poll_exit = {.fd = pidfd_open(child->pid, 0), .events = POLLIN};
	int status;

	if (poll_exit.fd < 0 || poll(&poll_exit, 1, limit_ms) <= 0) {
		fprintf(stderr, "bench: a program under test did not end within %d ms\n", limit_ms);
		kill(child->pid, SIGKILL);
	}
	if (poll_exit.fd >= 0)
		close(poll_exit.fd);
	if (child->output >= 0)
		close(child->output);
	if (waitpid(child->pid, &status, 0) < 0 || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

int child_read(const struct child *child, void *to, size_t len, int limit_ms)
{
	struct pollfd poll_output = {.fd = child->output, .events = POLLIN};
	char *at = to;

	while (len) {
		ssize_t n = poll(&poll_output, 1, limit_ms) > 0 ? read(child->output, at, len) : -1;

		if (n <= 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static bool write_text(const char *directory, const char *name, const char *text)
{
	char path[128];
	bool done;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return done;
}

void scheduling_group_enter(void)
{
	static const char *const groups[] = {"/sys/fs/cgroup/cpu/dvmm-bench", "/sys/fs/cgroup/dvmm-bench"};

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		mkdir(groups[i], 0755);
		if (write_text(groups[i], "cgroup.procs", "0"))
			return;
	}
	printf("Cannot make a scheduling group: a process in a session of its own counts as much as all others.\n");
}
