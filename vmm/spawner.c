/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/spawner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_PATIENCE_MS 1000

int spawner_start(struct vm *vm, struct spawner_handle *handle, struct failure *f)
{
	struct sandbox_descriptor list[SANDBOX_MAX_DESCRIPTORS];
	struct sandbox_spawn spec;
	char error[SANDBOX_ERROR_BYTES];
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail_with(f, EXIT_HOST, "cannot create a socket: %s", strerror(errno));
	handle->socket = pair[0];
	err = emulator_describe(vm, pair[1], &spec, list, f);
	if (!err) {
		err = sandbox_spawn(&spec, &handle->process, error);
		close(spec.executable);
		if (err)
			fail_with(f, EXIT_HOST, "%s", error);
	}
	close(pair[1]);
	return err ? -1 : 0;
}

int spawner_wait_started(struct spawner_handle *handle, char error[SANDBOX_ERROR_BYTES])
{
	return sandbox_spawn_wait(&handle->process, error);
}

int spawner_request(int socket_fd, const struct spawner_request *r)
{
	return send(socket_fd, r, sizeof(*r), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

void spawner_kill(const struct spawner_handle *handle)
{
	syscall(SYS_pidfd_send_signal, handle->process.pidfd, SIGKILL, NULL, 0);
}

bool spawner_wait_gone(struct spawner_handle *handle)
{
	struct pollfd end = {.fd = handle->process.pidfd, .events = POLLIN};
	bool gone = poll(&end, 1, END_PATIENCE_MS) == 1;
	siginfo_t info;

	waitid(P_PIDFD, (id_t)handle->process.pidfd, &info, WEXITED | WNOHANG);
	close(handle->socket);
	handle->socket = -1;
	return gone;
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
