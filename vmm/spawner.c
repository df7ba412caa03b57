/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/spawner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulator/image.h"
#include "emulator/worker.h"
#include "sched/topology.h"

#define STOP_PATIENCE_MS 1000
#define MAX_CHILDREN     4 /* the active one, the standby, and two that are on their way out */

struct spawner {
	struct vm *vm;
	int socket;
	struct sandbox_spawn spec;
	struct child {
		uint32_t incarnation; /* 0: unused */
		struct sandbox_child sandbox;
	} child[MAX_CHILDREN];
};

/* --- The spawner's side ------------------------------------------------------------------------ */

static void tell(struct spawner *s, const struct spawner_message *m)
{
	struct iovec data = {.iov_base = (void *)m, .iov_len = sizeof(*m)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct msghdr msg = {.msg_iov = &data, .msg_iovlen = 1};

	if (m->pidfd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.head = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.head), &m->pidfd, sizeof(int));
	}
	if (sendmsg(s->socket, &msg, MSG_NOSIGNAL) < 0)
		_exit(0); /* dvmm is gone, and our end takes the emulators along */
}

static struct child *free_child(struct spawner *s)
{
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (!s->child[i].incarnation)
			return &s->child[i];
	return NULL;
}

static void spawn(struct spawner *s, uint32_t incarnation)
{
	struct spawner_message m = {.event = SPAWNER_FAILED, .incarnation = incarnation, .pidfd = -1};
	struct child *c = free_child(s);
	char number[12];
	char *argv[] = {"dvmm-emulator", number, NULL};

	snprintf(number, sizeof(number), "%u", incarnation);
	s->spec.argv = argv;
	if (!c) {
		snprintf(m.error, sizeof(m.error), "too many emulators that do not end");
	} else if (sandbox_spawn(&s->spec, &c->sandbox, m.error) == 0 &&
		   sandbox_spawn_wait(&c->sandbox, m.error) == 0) {
		c->incarnation = incarnation;
		m.event = SPAWNER_STARTED;
		m.pidfd = c->sandbox.pidfd;
	}
	tell(s, &m);
}

/* Thread ids as this pid namespace sees them are in /proc only. */
static void move(const struct spawner *s, const struct spawner_request *r)
{
	char path[64], name[32], wanted[16];
	struct dirent *entry;
	DIR *tasks = NULL;

	worker_name(wanted, r->slot);
	for (int i = 0; i < MAX_CHILDREN && !tasks; i++) {
		if (s->child[i].incarnation != r->incarnation)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task", (int)s->child[i].sandbox.pid);
		tasks = opendir(path);
	}
	while (tasks && (entry = readdir(tasks))) {
		int fd, tid = atoi(entry->d_name);
		ssize_t n;

		snprintf(name, sizeof(name), "%d/comm", tid);
		fd = tid > 0 ? openat(dirfd(tasks), name, O_RDONLY | O_CLOEXEC) : -1;
		if (fd < 0)
			continue;
		n = read(fd, name, sizeof(name) - 1);
		close(fd);
		if (n > 1 && (size_t)n - 1 == strlen(wanted) && !memcmp(name, wanted, (size_t)n - 1))
			r->cpu < 0 ? sched_unbind_thread(tid, &s->vm->allowed) : sched_pin_thread(tid, r->cpu);
	}
	if (tasks)
		closedir(tasks);
}

static void bury(struct spawner *s, struct child *c)
{
	struct spawner_message m = {.event = SPAWNER_ENDED, .incarnation = c->incarnation, .pidfd = -1};

	m.status = sandbox_stop(&c->sandbox);
	c->incarnation = 0;
	tell(s, &m);
}

/*
 * A stopped emulator is as good as dead, and only its parent hears of it at once: the watchdog would see a
 * request unanswered, but a guest that waits for its disk makes none. Killed, it is replaced like any other.
 */
static void kill_stopped(const struct child *c)
{
	siginfo_t info = {0};

	if (c->incarnation && waitid(P_PIDFD, (id_t)c->sandbox.pidfd, &info, WSTOPPED | WNOHANG) == 0 &&
	    info.si_pid)
		syscall(SYS_pidfd_send_signal, c->sandbox.pidfd, SIGKILL, NULL, 0);
}

static void child_changed(int signo) {}

/* SIGCHLD is blocked except in ppoll(), which it ends: nothing that happens between two of them is missed. */
static void watch_children(sigset_t *while_waiting)
{
	const struct sigaction end_wait = {.sa_handler = child_changed};
	sigset_t child;

	sigaction(SIGCHLD, &end_wait, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	sigemptyset(while_waiting);
}

static void serve(struct spawner *s)
{
	sigset_t while_waiting;

	watch_children(&while_waiting);
	for (;;) {
		struct pollfd wait[MAX_CHILDREN + 1] = {{.fd = s->socket, .events = POLLIN}};
		struct spawner_request request;

		for (int i = 0; i < MAX_CHILDREN; i++)
			wait[i + 1] = (struct pollfd){
				.fd = s->child[i].incarnation ? s->child[i].sandbox.pidfd : -1,
				.events = POLLIN};
		for (int i = 0; i < MAX_CHILDREN; i++)
			kill_stopped(&s->child[i]);
		if (ppoll(wait, MAX_CHILDREN + 1, NULL, &while_waiting) < 0)
			continue;
		for (int i = 0; i < MAX_CHILDREN; i++)
			if (wait[i + 1].revents)
				bury(s, &s->child[i]);
		if (!wait[0].revents)
			continue;
		if (recv(s->socket, &request, sizeof(request), MSG_DONTWAIT) != sizeof(request))
			return;
		if (request.order == SPAWNER_MOVE)
			move(s, &request);
		else
			spawn(s, request.incarnation);
	}
}

/* dvmm has closed its end: nobody is left behind. */
static void stop_children(struct spawner *s)
{
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (s->child[i].incarnation)
			sandbox_stop(&s->child[i].sandbox);
}

static int compare_numbers(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Keeps the descriptors that emulators are started with, the socket, and standard error for messages of
 * sanitizers. */
static void close_all_others(struct spawner *s)
{
	int keep[SANDBOX_MAX_DESCRIPTORS + 3];
	unsigned n = 0, next = 0;

	keep[n++] = STDERR_FILENO;
	keep[n++] = s->socket;
	keep[n++] = s->spec.executable;
	for (unsigned i = 0; i < s->spec.count; i++)
		keep[n++] = s->spec.descriptors[i].from;
	qsort(keep, n, sizeof(keep[0]), compare_numbers);
	for (unsigned i = 0; i < n; next = (unsigned)keep[i++] + 1)
		if ((unsigned)keep[i] > next)
			close_range(next, (unsigned)keep[i] - 1, 0);
	close_range(next, ~0u, 0);
}

static void __attribute__((noreturn)) spawner_main(struct spawner *s, pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "dvmm-spawner");
	if (getppid() != parent)
		_exit(0);
	setsid(); /* signals typed at the terminal are for dvmm */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	munmap(s->vm->ram.at, s->vm->ram.bytes);
	close_all_others(s);
	image_release_startup();
	serve(s);
	stop_children(s);
	_exit(0);
}

/* --- dvmm's side ------------------------------------------------------------------------------- */

int spawner_start(struct vm *vm, struct spawner_handle *handle, struct failure *f)
{
	struct sandbox_descriptor list[SANDBOX_MAX_DESCRIPTORS];
	struct spawner s = {.vm = vm, .spec = {.descriptors = list}};
	pid_t parent = getpid(), pid;
	int pair[2];

	if (emulator_describe(vm, &s.spec, list, f))
		return -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail_with(f, EXIT_HOST, "cannot create a socket: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return fail_with(f, EXIT_HOST, "cannot start the spawner: %s", strerror(errno));
	if (pid == 0) {
		s.socket = pair[1];
		spawner_main(&s, parent);
	}
	close(s.spec.executable);
	close(pair[1]);
	handle->socket = pair[0];
	handle->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}

int spawner_request(int socket_fd, enum spawner_order order, uint32_t incarnation, uint32_t slot, int cpu)
{
	const struct spawner_request r = {
		.order = order, .incarnation = incarnation, .slot = slot, .cpu = cpu};

	return send(socket_fd, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

void spawner_stop(struct spawner_handle *handle)
{
	struct pollfd gone = {.fd = handle->pidfd, .events = POLLIN};
	siginfo_t info;

	close(handle->socket);
	if (poll(&gone, 1, STOP_PATIENCE_MS) == 0)
		syscall(SYS_pidfd_send_signal, handle->pidfd, SIGKILL, NULL, 0);
	waitid(P_PIDFD, (id_t)handle->pidfd, &info, WEXITED);
	handle->socket = handle->pidfd = -1;
}

int spawner_receive(int socket_fd, struct spawner_message *m)
{
	struct iovec data = {.iov_base = m, .iov_len = sizeof(*m)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = &data,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
	if (n != sizeof(*m))
		return -EPIPE;
	m->pidfd = -1;
	if (msg.msg_controllen >= CMSG_LEN(sizeof(int)) && control.head.cmsg_type == SCM_RIGHTS)
		memcpy(&m->pidfd, CMSG_DATA(&control.head), sizeof(int));
	m->error[sizeof(m->error) - 1] = '\0';
	return 0;
}
