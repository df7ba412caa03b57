/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs under test: started, read from and, whatever they do and whatever happens to us, ended. */
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMED_LIMIT_MS 20000
#define MAX_RUNNING    8

extern char **environ;

/* --- A signal ends us and what we have started -------------------------------------------------- */

static volatile pid_t running[MAX_RUNNING];
static const char *const *scratch;

static void interrupted(int number)
{
	static const char text[] = "\ninterrupted: programs under test are ended, no report is written\n";

	for (int i = 0; i < MAX_RUNNING; i++)
		if (running[i])
			kill(running[i], SIGTERM);
	for (const char *const *path = scratch; path && *path; path++)
		if (unlink(*path) && errno == EISDIR)
			rmdir(*path);
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	_exit(128 + number);
}

void child_signals_init(const char *const paths[])
{
	const struct sigaction action = {.sa_handler = interrupted};
	static const int numbers[] = {SIGHUP, SIGINT, SIGPIPE, SIGTERM};

	scratch = paths;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct sigaction was;

		if (!sigaction(numbers[i], NULL, &was) && was.sa_handler != SIG_IGN) /* nohup(1) */
			sigaction(numbers[i], &action, NULL);
	}
}

static void note_running(pid_t before, pid_t after)
{
	for (int i = 0; i < MAX_RUNNING; i++)
		if (running[i] == before) {
			running[i] = after;
			return;
		}
}

/* --- Start and end ------------------------------------------------------------------------------ */

int child_spawn(pid_t *pid, const char *const argv[], int output, int errors)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t all, before;
	int error;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (output >= 0)
		posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	else
		posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);

	/* No signal between its start and our knowing of it. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	posix_spawnattr_setsigmask(&attributes, &before);
	error = posix_spawn(pid, argv[0], &actions, &attributes, (char *const *)argv, environ);
	if (!error)
		note_running(0, *pid);
	sigprocmask(SIG_SETMASK, &before, NULL);

	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (error)
		fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, argv[0], strerror(error));
	return error ? -1 : 0;
}

pid_t child_wait(pid_t pid, int *status, int options)
{
	pid_t ended = waitpid(pid, status, options);

	if (ended == pid)
		note_running(pid, 0);
	return ended;
}

int child_start(struct child *child, const char *const argv[], bool want_output)
{
	int ends[2] = {-1, -1}, rc;

	*child = (struct child){.output = -1, .errors = memfd_create("errors", MFD_CLOEXEC)};
	if (child->errors < 0 || (want_output && pipe2(ends, O_CLOEXEC))) {
		fprintf(stderr, "%s: pipe: %s\n", program_invocation_short_name, strerror(errno));
		if (child->errors >= 0)
			close(child->errors);
		return -1;
	}
	rc = child_spawn(&child->pid, argv, ends[1], child->errors);
	if (want_output)
		close(ends[1]);
	child->output = ends[0];
	if (!rc)
		return 0;
	close(child->errors);
	if (want_output)
		close(ends[0]);
	return -1;
}

/* The first line that it said on standard error. */
static void take_complaint(struct child *child)
{
	ssize_t n = pread(child->errors, child->complaint, sizeof(child->complaint) - 1, 0);

	child->complaint[n > 0 ? n : 0] = '\0';
	child->complaint[strcspn(child->complaint, "\r\n")] = '\0';
	close(child->errors);
}

int child_end(struct child *child, int limit_ms)
{
	struct pollfd poll_exit = {.fd = pidfd_open(child->pid, 0), .events = POLLIN};
	bool late = poll_exit.fd < 0 || poll(&poll_exit, 1, limit_ms) <= 0;
	int status;

	if (late)
		kill(child->pid, SIGKILL);
	if (poll_exit.fd >= 0)
		close(poll_exit.fd);
	if (child->output >= 0)
		close(child->output);
	if (child_wait(child->pid, &status, 0) < 0)
		status = -1;
	take_complaint(child);
	if (late && !*child->complaint)
		snprintf(child->complaint, sizeof(child->complaint), "did not end within %d ms", limit_ms);
	return status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int child_time(struct child *child, const char *const argv[], int want_status, uint64_t *ns)
{
	uint64_t start = now_ns();
	int status;

	if (child_start(child, argv, false))
		return -1;
	status = child_end(child, TIMED_LIMIT_MS);
	*ns = now_ns() - start;
	if (status == want_status)
		return 0;
	fprintf(stderr, "%s: %s: status %d: %s\n", program_invocation_short_name, argv[0], status,
		child->complaint);
	return -1;
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
