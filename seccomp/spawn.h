/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting the emulator: a new process in new namespaces that has the descriptors it is given, and nothing
 * else of dvmm.
 *
 * What the started program finds when its main() begins:
 *   - user, pid, mount, network, ipc, uts and cgroup namespaces of its own; it is process 1 of its pid
 *     namespace and leader of its own process group, so no signal of a terminal reaches it;
 *   - user and group 65534 inside. Outside that is 65534 (nobody) too if dvmm runs as root, and dvmm's own
 *     user and group otherwise (the kernel lets an ordinary user map nobody else; its supplementary groups
 *     stay, unmapped);
 *   - CAP_SYS_ADMIN, CAP_SYS_CHROOT and CAP_SETPCAP over its own namespaces, for sandbox_enter() to use
 *     and drop;
 *   - the descriptors listed, at the numbers listed. 0, 1 and 2 are closed: the emulator has nothing to say
 *     to a terminal, and a host device node (/dev/null) is one more object than it needs. With DVMM_ASAN 2
 *     stays open for reports;
 *   - nothing in the environment but LD_BIND_NOW, default signal actions (what dvmm ignores stays ignored), no
 *     blocked signals;
 *   - SIGKILL waiting for it as soon as the *thread* that called sandbox_spawn() ends. Call it from a thread
 *     that lives as long as dvmm does.
 *
 * Where user namespaces are forbidden, root gets the same without the user namespace.
 * Needs Linux 5.11 (CLOSE_RANGE_CLOEXEC). An ordinary user's dvmm must be dumpable (the default) while it
 * spawns, because the kernel shows the id maps of the child to their owner only then.
 *
 * The start is in two halves, so that dvmm can make its virtual machine while the kernel makes the
 * namespaces: sandbox_spawn() returns once the child exists, sandbox_spawn_wait() once it runs the program.
 */
#ifndef DVMM_SECCOMP_SPAWN_H
#define DVMM_SECCOMP_SPAWN_H

#include <sys/types.h>

#define SANDBOX_ERROR_BYTES     232 /* one line, NUL included; fits struct emulator_status */
#define SANDBOX_MAX_DESCRIPTORS 128

struct sandbox_descriptor {
	int from; /* open in dvmm */
	int to;   /* its number in the child, >= 3, each at most once */
};

struct sandbox_spawn {
	int executable;                               /* descriptor of it (O_PATH suffices), stays open */
	char *const *argv;                            /* NULL-terminated */
	const struct sandbox_descriptor *descriptors; /* in any order; `from` and `to` may overlap */
	unsigned count;                               /* of descriptors */
};

struct sandbox_child {
	pid_t pid;   /* as dvmm sees it */
	int pidfd;   /* close-on-exec; readable when the child is dead */
	int channel; /* how the start went; -1 after sandbox_spawn_wait() */
};

/*
 * Starts the child. Everything in spec is used up on return, descriptors may be closed then.
 * The executable is a descriptor, so that the same one is started each time, whatever becomes of its name
 * meanwhile, and because nobody may not be allowed to walk the path to it.
 * 0: *child is valid, and sandbox_spawn_wait() must follow. -errno: there is no child, error[] says why and
 * what helps. Any thread; the child uses nothing but system calls before exec, so other threads may hold any
 * lock.
 */
int sandbox_spawn(const struct sandbox_spawn *spec, struct sandbox_child *child,
		  char error[SANDBOX_ERROR_BYTES]);

/* Waits until the program has been started, five seconds at most. -errno, with error[]: it has not, and the child is
 * gone and forgotten. */
int sandbox_spawn_wait(struct sandbox_child *child, char error[SANDBOX_ERROR_BYTES]);

/* Kills the child if it still lives, waits for its end and closes what *child holds. Returns its status as
 * waitpid() gives it, or -errno. */
int sandbox_stop(struct sandbox_child *child);

#endif
