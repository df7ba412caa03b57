/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * in_flight UID: has descriptors in flight as that user, sent and not received, until it is killed. The kernel counts them
 * per user, and lets nobody send another one who has a limit of open files below their number (unix(7), ETOOMANYREFS).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define AT_ONCE 100 /* fewer than SCM_MAX_FD */
#define TIMES   3

int main(int argc, char **argv)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(AT_ONCE * sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec data = {.iov_base = "", .iov_len = 1};
	struct msghdr msg = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	uid_t uid = argc == 2 ? (uid_t)atoi(argv[1]) : geteuid();
	int pair[2], copies[AT_ONCE];

	if (uid != geteuid() && setresuid(uid, uid, uid))
		return 1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		return 1;
	for (int i = 0; i < AT_ONCE; i++)
		copies[i] = STDIN_FILENO;
	control.head = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(copies)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.head), copies, sizeof(copies));
	for (int i = 0; i < TIMES; i++)
		if (sendmsg(pair[0], &msg, 0) != 1)
			return 1;
	puts("in flight");
	fflush(stdout);
	for (;;)
		pause();
}
