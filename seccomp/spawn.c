/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * dvmm                                   child
 *   clone3(user, pid) ------------------>
 *   sched_setaffinity() ---------------->  unshare(mount, net, ipc, uts, cgroup)   the slow part, 0.6 ms
 *   write /proc/CHILD/{uid,gid}_map
 *   "go" over the channel -------------->  ids, capabilities, death signal, descriptors
 *   ... makes its virtual machine ...      execveat()
 *   sandbox_spawn_wait() <---------------  end of file (the channel is close-on-exec), or {stage, errno}
 *
 * Why a copy of the address space (as fork() makes) and not CLONE_VM: it costs 60 us more, and what it costs
 * does not grow with the guest, because the kernel does not copy page tables of shared file mappings. In
 * return the child can change its ids without making dvmm's own memory undumpable (the kernel keeps that flag
 * with the memory) and cannot write over anything of dvmm's.
 *
 * Why the network namespace is made by the child: it takes longer than all the others together, and dvmm need
 * not wait.
 *
 * Why a process group and not a session of its own: a terminal's signals reach neither, and the emulator can name no
 * terminal. But a new session is a new scheduling group (sched(7), autogroup). That would give one VM the time of two,
 * and each switch between a vCPU and its worker on one CPU would be one between groups, 0.3 us dearer.
 *
 * Why the CPUs are divided, until exec: the scheduler starts a process where its parent runs, though other CPUs are idle,
 * and there it gets its turn when dvmm happens to sleep, 0.4 ms later. And why so: dvmm sleeps in
 * KVM_SET_USER_MEMORY_REGION until SRCU has called back, which it does on the first CPU. With the child at work there, that
 * takes up to 1.5 ms instead of 0.1.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "seccomp/spawn.h"

#define NOBODY 65534u

/* For the set-up of a child, which takes a few milliseconds, on however busy a host. */
#define PATIENCE_S 5

/* What the child was doing when it failed, and what helps. */
enum stage { STAGE_NAMESPACES, STAGE_IDS, STAGE_CAPABILITIES, STAGE_DESCRIPTORS, STAGE_EXEC, STAGES };

static const char *const stage_text[STAGES][2] = {
	[STAGE_NAMESPACES] = {"cannot make mount, network, ipc, uts and cgroup namespaces",
			      "allow user namespaces (AppArmor, user.max_*_namespaces), or run dvmm as root"},
	[STAGE_IDS] = {"cannot become nobody", "run dvmm where user and group 65534 exist, or not as root"},
	[STAGE_CAPABILITIES] = {"cannot keep CAP_SYS_ADMIN over the new namespaces", "allow user namespaces"},
	[STAGE_DESCRIPTORS] = {"cannot pass the descriptors", "raise the limit of open files (ulimit -n)"},
	[STAGE_EXEC] = {"cannot start the emulator's executable",
			"it must be an x86-64 program that every user may read and execute"},
};

struct failure {
	int32_t stage;
	int32_t error;
};

static int fail(char error[SANDBOX_ERROR_BYTES], int err, const char *what, const char *way_out)
{
	snprintf(error, SANDBOX_ERROR_BYTES, "sandbox: %s: %s; %s", what, strerrordesc_np(err), way_out);
	return -err;
}

/* The CPUs that we may run on; while the child is made, we keep to the lower half of them and it to the upper one. */
struct cpus {
	bool divided; /* there are two halves */
	cpu_set_t all, lower, upper;
};

/* ---- In the child, between clone3() and exec: system calls only. ---- */

/* glibc's setresuid() would make every thread that it remembers do the same, and those did not come along. */
static bool child_ids(bool own_groups)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return false;
	if (own_groups && syscall(SYS_setgroups, 0, NULL))
		return false;
	return !syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) &&
	       !syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY);
}

/* Capabilities survive the exec of a process that is not root only as ambient ones. */
static bool child_capabilities(void)
{
	static const int kept[] = {CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SETPCAP};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		data[0].permitted |= 1u << kept[i];
		data[0].effective |= 1u << kept[i];
		data[0].inheritable |= 1u << kept[i];
	}
	if (syscall(SYS_capset, &header, data))
		return false;
	for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept[i], 0, 0))
			return false;
	return true;
}

/*
 * The order closes every gap: the ids have been changed (which clears the death signal), then it is set, then
 * dvmm is seen to be alive. A process closes its descriptors before it signals its children, so a dvmm that
 * died unseen shows as end of file.
 */
static bool child_dies_with_parent(int channel)
{
	char byte;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return false;
	return recv(channel, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/*
 * Every source is first copied above the highest target, so no target can overwrite a source. What is not
 * then put in its place stays close-on-exec. channel and exe are moved out of the way too.
 */
static bool child_descriptors(const struct sandbox_spawn *spec, int *channel, int *exe)
{
	int copy[SANDBOX_MAX_DESCRIPTORS], top = STDERR_FILENO + 1, moved;

	for (unsigned i = 0; i < spec->count; i++)
		if (spec->descriptors[i].to >= top)
			top = spec->descriptors[i].to + 1;
	moved = fcntl(*channel, F_DUPFD_CLOEXEC, top);
	if (moved < 0) /* and the old one is still there to say so */
		return false;
	*channel = moved;
	*exe = fcntl(*exe, F_DUPFD_CLOEXEC, top);
	if (*exe < 0)
		return false;
	for (unsigned i = 0; i < spec->count; i++) {
		copy[i] = fcntl(spec->descriptors[i].from, F_DUPFD_CLOEXEC, top);
		if (copy[i] < 0)
			return false;
	}
	if (syscall(SYS_close_range, 0, ~0u, CLOSE_RANGE_CLOEXEC))
		return false;
	for (unsigned i = 0; i < spec->count; i++)
		if (dup3(copy[i], spec->descriptors[i].to, 0) < 0)
			return false;
#ifdef DVMM_ASAN
	fcntl(STDERR_FILENO, F_SETFD, 0);
#endif
	return true;
}

static void child_fail(int channel, enum stage stage)
{
	struct failure failure = {stage, errno};

	send(channel, &failure, sizeof(failure), MSG_NOSIGNAL);
	_exit(127);
}

static void child_main(const struct sandbox_spawn *spec, int channel, int exe, bool root, const struct cpus *cpus)
{
	/* The C library calls the loader through its own table. Bound when it first does so, that would be done in every
	 * emulator anew, and each time touch the symbols of all libraries. */
	char *const environment[] = {(char *)"LD_BIND_NOW=1", NULL};
	sigset_t none;
	char go;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* until the ids change; if dvmm is dead already, there is no "go" */
	setpgid(0, 0);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP))
		child_fail(channel, STAGE_NAMESPACES);
	if (recv(channel, &go, 1, 0) != 1)
		_exit(127); /* dvmm is gone */
	if (cpus->divided)
		sched_setaffinity(0, sizeof(cpus->all), &cpus->all);
	if (!child_ids(root))
		child_fail(channel, STAGE_IDS);
	if (!child_capabilities())
		child_fail(channel, STAGE_CAPABILITIES);
	if (!child_dies_with_parent(channel))
		_exit(127);
	if (!child_descriptors(spec, &channel, &exe))
		child_fail(channel, STAGE_DESCRIPTORS);
	execveat(exe, "", spec->argv, environment, AT_EMPTY_PATH);
	child_fail(channel, STAGE_EXEC);
}

/* ---- In dvmm. ---- */

/* Like fork(), into new namespaces. Returns 0 in the child. */
static pid_t clone_child(uint64_t namespaces, int *pidfd)
{
	struct clone_args args = {
		.flags = namespaces | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static struct cpus divide_cpus(void)
{
	struct cpus c = {0};
	int count, n = 0;

	if (sched_getaffinity(0, sizeof(c.all), &c.all))
		return c; /* more CPUs than a set holds */
	count = CPU_COUNT(&c.all);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &c.all))
			CPU_SET(cpu, n++ < count / 2 ? &c.lower : &c.upper);
	c.divided = count >= 2;
	return c;
}

/* Off the child's CPUs; nothing is forbidden to us from then on. */
static void move_down(const struct cpus *c)
{
	int here = sched_getcpu();

	if (!c->divided || here < 0 || CPU_ISSET(here, &c->lower))
		return;
	if (!sched_setaffinity(0, sizeof(c->lower), &c->lower))
		sched_setaffinity(0, sizeof(c->all), &c->all);
}

static void move_up(const struct cpus *c, pid_t child)
{
	if (c->divided)
		sched_setaffinity(child, sizeof(c->upper), &c->upper);
}

static int write_file(pid_t pid, const char *name, const char *text)
{
	char path[64];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* User and group 65534 of the child's namespace are nobody (root asks) or the user who asks; there are no
 * others. */
static int map_ids(pid_t pid, bool root)
{
	char map[64];
	int err;

	snprintf(map, sizeof(map), "%u %u 1", NOBODY, root ? NOBODY : geteuid());
	err = write_file(pid, "uid_map", map);
	/* user_namespaces(7): an ordinary user may map its group only once setgroups() is forbidden for good.
	 * Root's child needs setgroups() once more, to leave root's groups, and then has no capability to
	 * call it. */
	if (!err && !root)
		err = write_file(pid, "setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", NOBODY, root ? NOBODY : getegid());
	return err ? err : write_file(pid, "gid_map", map);
}

static int fail_clone(int err, bool root, char error[SANDBOX_ERROR_BYTES])
{
	if (err == ENOSYS)
		return fail(error, err, "cannot clone",
			    "clone3 needs Linux 5.3, and a container that lets it through");
	if (err == EAGAIN)
		return fail(error, err, "cannot clone",
			    "raise the limit of processes (ulimit -u, pids cgroup)");
	if (root)
		return fail(error, err, "cannot make a pid namespace",
			    "give this container CAP_SYS_ADMIN, or use --emulation=in-process");
	return fail(error, err, "cannot make a user namespace",
		    "allow it (user.max_user_namespaces, kernel.unprivileged_userns_clone, no chroot), or "
		    "run dvmm as root");
}

int sandbox_spawn(const struct sandbox_spawn *spec, struct sandbox_child *child,
		  char error[SANDBOX_ERROR_BYTES])
{
	const struct cpus cpus = divide_cpus();
	bool root = geteuid() == 0, userns = true;
	int pair[2], err = 0;

	*child = (struct sandbox_child){.pid = -1, .pidfd = -1, .channel = -1};
	if (spec->count > SANDBOX_MAX_DESCRIPTORS)
		return fail(error, E2BIG, "cannot pass the descriptors", "use fewer devices");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return fail(error, errno, "cannot make a socket pair",
			    "raise the limit of open files (ulimit -n)");

	move_down(&cpus);
	child->pid = clone_child(CLONE_NEWUSER | CLONE_NEWPID, &child->pidfd);
	if (child->pid < 0 && root) {
		userns = false;
		child->pid = clone_child(CLONE_NEWPID, &child->pidfd);
	}
	if (child->pid == 0) {
		close(pair[0]);
		child_main(spec, pair[1], spec->executable, root, &cpus);
	}
	close(pair[1]);
	child->channel = pair[0];
	if (child->pid < 0) {
		err = fail_clone(errno, root, error);
		close(child->channel);
		child->channel = -1;
		return err;
	}

	move_up(&cpus, child->pid);
	if (userns)
		err = map_ids(child->pid, root);
	if (err) {
		fail(error, -err, "cannot map user and group of the new user namespace",
		     "run dvmm where user and group 65534 exist, or not as root");
		sandbox_stop(child);
		return err;
	}
	send(child->channel, "", 1,
	     MSG_NOSIGNAL); /* if the child is dead by now, sandbox_spawn_wait() finds out */
	return 0;
}

int sandbox_spawn_wait(struct sandbox_child *child, char error[SANDBOX_ERROR_BYTES])
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct failure failure;
	ssize_t n;

	/* A child may be stopped there, by somebody's SIGSTOP or a frozen cgroup, and then says nothing any more. */
	setsockopt(child->channel, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	/* ECONNRESET comes first where the child has died with our "go" unread, and then what it has said. */
	do
		n = recv(child->channel, &failure, sizeof(failure), 0);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n == 0) {
		close(child->channel);
		child->channel = -1;
		return 0;
	}
	if (n < 0 && errno == EAGAIN) {
		sandbox_stop(child);
		return fail(error, ETIMEDOUT, "the emulator's process does not get through its set-up",
			    "it is stopped, or the host too busy; try again");
	}
	sandbox_stop(child);
	if (n != sizeof(failure) || (unsigned)failure.stage >= STAGES)
		return fail(error, EPROTO, "cannot start the emulator", "please report this as a bug");
	return fail(error, failure.error, stage_text[failure.stage][0], stage_text[failure.stage][1]);
}

int sandbox_stop(struct sandbox_child *child)
{
	int status = 0, err = 0;

	syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
	while (waitpid(child->pid, &status, 0) < 0) {
		if (errno != EINTR) {
			err = -errno;
			break;
		}
	}
	close(child->pidfd);
	if (child->channel >= 0)
		close(child->channel);
	*child = (struct sandbox_child){.pid = -1, .pidfd = -1, .channel = -1};
	return err ? err : status;
}
