/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include "emulator/spawner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "emulator/image.h"
#include "emulator/mailbox.h"

#if !defined(HAVE__FORK) || defined(DVMM_ASAN) /* the sanitizers have threads and locks of their own */
#define _Fork fork
#endif

#define MAX_CHILDREN 4 /* the active one, the standby, and two that are on their way out */

static const struct timespec moment = {.tv_nsec = 10000000};

struct spawner {
	const void *replies;
	void (*emulator)(uint32_t incarnation);
	struct child {
		uint32_t incarnation; /* 0: unused */
		pid_t pid;
		int pidfd;
	} child[MAX_CHILDREN];
};

/* False: it cannot be sent now, errno says why. */
static bool send_message(const struct spawner_message *m)
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
	if (sendmsg(FD_SPAWNER, &msg, MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EPIPE || errno == ECONNRESET)
		_exit(0); /* dvmm is gone, and our end takes the emulators along */
	return false;
}

/* A message without a descriptor: only a lack of memory can be in its way, and that passes. */
static void tell(const struct spawner_message *m)
{
	while (!send_message(m))
		nanosleep(&moment, NULL);
}

static struct child *find_child(struct spawner *s, uint32_t incarnation)
{
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (s->child[i].incarnation == incarnation)
			return &s->child[i];
	return NULL;
}

/* A stack protector value of its own, or what is learnt of one emulator could be used on the next. This is where the x86-64
 * ABI has it, and whence threads get theirs; no function that has seen the old one returns. */
static inline __attribute__((always_inline)) void change_canary(void)
{
	uint64_t canary;

	if (getrandom(&canary, sizeof(canary), 0) == sizeof(canary))
		__asm__ volatile("movq %0, %%fs:0x28" : : "r"(canary & ~0xffull));
}

/* In the child: nothing of ours stays. */
static void __attribute__((noreturn)) become_emulator(struct spawner *s, uint32_t incarnation)
{
	sigset_t none;

	change_canary();
	close(FD_SPAWNER);
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (s->child[i].incarnation)
			close(s->child[i].pidfd);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	s->emulator(incarnation);
	_exit(1);
}

/* One that dvmm shall not have. */
static void give_up(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	if (c->pidfd >= 0)
		close(c->pidfd);
	c->incarnation = 0;
}

/* Into *c. -1: m->error says why not. */
static int split_off(struct spawner *s, struct child *c, struct spawner_message *m)
{
	/* Not fork(), which puts the C library's locks in order and calls handlers in the child: there is one thread, so no
	 * lock is held, and each emulator would have six more pages of its own. */
	pid_t pid = _Fork();

	if (pid == 0)
		become_emulator(s, m->incarnation);
	if (pid < 0) {
		snprintf(m->error, sizeof(m->error), "cannot fork: %s; raise the limit of processes (ulimit -u, pids cgroup)",
			 strerrordesc_np(errno));
		return -1;
	}
	*c = (struct child){m->incarnation, pid, (int)syscall(SYS_pidfd_open, pid, 0)};
	if (c->pidfd >= 0)
		return 0;
	snprintf(m->error, sizeof(m->error), "cannot open its pidfd: %s; raise the limit of descriptors (ulimit -n)",
		 strerrordesc_np(errno));
	give_up(c);
	return -1;
}

static void start(struct spawner *s, uint32_t incarnation)
{
	struct spawner_message m = {.event = SPAWNER_FAILED, .incarnation = incarnation, .pidfd = -1}, started = m;
	struct child *c = find_child(s, 0);

	if (incarnation == FIRST_INCARNATION + 1)
		image_release_startup(); /* what was only needed to get here */
	if (!c) {
		snprintf(m.error, sizeof(m.error), "too many emulators that do not end");
	} else if (split_off(s, c, &m) == 0) {
		started.event = SPAWNER_STARTED;
		started.pidfd = c->pidfd;
		if (send_message(&started))
			return;
		/* unix(7), ETOOMANYREFS: whoever is the same user outside counts, in whatever namespace. */
		snprintf(m.error, sizeof(m.error),
			 "cannot pass its pidfd: %s; other processes of this user have too many descriptors in flight",
			 strerrordesc_np(errno));
		give_up(c);
	}
	tell(&m);
}

static void move(const struct spawner *s, const struct spawner_request *r)
{
	int32_t tid;

	if (r->slot >= MAILBOX_SLOTS)
		return;
	tid = __atomic_load_n(mailbox_worker_tid((void *)s->replies, r->slot, r->incarnation), __ATOMIC_RELAXED);
	if (tid > 1) /* 0 and 1 are this process */
		sched_setaffinity(tid, sizeof(r->cpus), &r->cpus);
}

/* SIGCHLD has come, or may have. */
static void look_after(struct child *c)
{
	struct spawner_message m = {.event = SPAWNER_ENDED, .incarnation = c->incarnation, .pidfd = -1};

	if (!c->incarnation || waitpid(c->pid, &m.status, WNOHANG | WUNTRACED) != c->pid)
		return;
	if (WIFSTOPPED(m.status)) {
		kill(c->pid, SIGKILL);
		return;
	}
	close(c->pidfd);
	c->incarnation = 0;
	tell(&m);
}

static void obey(struct spawner *s)
{
	struct spawner_request request;
	ssize_t n = recv(FD_SPAWNER, &request, sizeof(request), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n != sizeof(request))
		_exit(0);
	if (request.order == SPAWNER_MOVE)
		move(s, &request);
	else if (request.incarnation)
		start(s, request.incarnation);
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

void spawner_serve(const void *replies, void (*emulator)(uint32_t incarnation))
{
	struct spawner s = {.replies = replies, .emulator = emulator};
	struct pollfd order = {.fd = FD_SPAWNER, .events = POLLIN};
	sigset_t while_waiting;

	watch_children(&while_waiting);
	for (;;) {
		if (ppoll(&order, 1, NULL, &while_waiting) < 0 && errno != EINTR)
			nanosleep(&moment, NULL); /* somebody has left us no descriptor */
		for (int i = 0; i < MAX_CHILDREN; i++)
			look_after(&s.child[i]);
		obey(&s);
	}
}
