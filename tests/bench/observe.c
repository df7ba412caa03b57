/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/observe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOAD_BLOCK   0x9000 /* where tests/guests/load.c has it */
#define START_MS     20000
#define MAX_CHILDREN 8

extern char **environ;

/* --- /proc -------------------------------------------------------------------------------------- */

static ssize_t read_descriptor(int fd, char *text, size_t size)
{
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
	return n;
}

static ssize_t read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read_descriptor(fd, text, size);

	if (fd >= 0)
		close(fd);
	return n;
}

/* Fields of proc(5)'s stat from the third on; the name before them may contain anything. */
struct task_stat {
	char state;
	unsigned long user, system; /* ticks */
	long dead_user, dead_system;
	int cpu;
};

static bool task_stat(const char *path, struct task_stat *s)
{
	char text[1024], *at;

	if (read_text(path, text, sizeof(text)) <= 0 || !(at = strrchr(text, ')')))
		return false;
	return sscanf(at + 1,
		      " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu %ld %ld" /* 3 to 17 */
		      " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
		      " %d", /* 39 */
		      &s->state, &s->user, &s->system, &s->dead_user, &s->dead_system, &s->cpu) == 6;
}

static unsigned children_of(pid_t pid, pid_t child[MAX_CHILDREN])
{
	char path[64], text[512], *at = text, *end;
	unsigned n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	read_text(path, text, sizeof(text));
	for (; n < MAX_CHILDREN; at = end) {
		child[n] = (pid_t)strtol(at, &end, 10);
		if (end == at)
			break;
		n++;
	}
	return n;
}

static int compare(const void *a, const void *b)
{
	return *(const pid_t *)a - *(const pid_t *)b;
}

/* The thread ids of a process, ascending; at most `room`. */
static unsigned tasks_of(pid_t pid, pid_t *tid, unsigned room)
{
	const struct dirent *entry;
	unsigned n = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && n < room && (entry = readdir(dir)))
		if (*entry->d_name != '.')
			tid[n++] = (pid_t)strtol(entry->d_name, NULL, 10);
	if (dir)
		closedir(dir);
	qsort(tid, n, sizeof(*tid), compare);
	return n;
}

/* --- Start and end ------------------------------------------------------------------------------ */

/* The guest's memory is a file without a name; the link to its descriptor says which one it is. */
static volatile struct load_block *map_block(pid_t pid)
{
	char path[64], target[128];
	void *block = MAP_FAILED;

	for (int number = 0; number < 256 && block == MAP_FAILED; number++) {
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
		n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		if (!strstr(target, "dvmm-memory"))
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			break;
		block = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, LOAD_BLOCK);
		close(fd);
	}
	return block == MAP_FAILED ? NULL : block;
}

/* KVM adds a thread of its own, which looks like one of dvmm's but for its name. */
static bool is_ours(pid_t pid, pid_t tid)
{
	char path[64], name[32];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
	return read_text(path, name, sizeof(name)) > 0 && strncmp(name, "kvm", 3) != 0;
}

/* vCPU threads are the last that dvmm starts. */
static bool find_threads(struct observed *o)
{
	pid_t tid[64], child[MAX_CHILDREN];
	unsigned all = tasks_of(o->pid, tid, 64), n = 0;

	for (unsigned i = 0; i < all; i++)
		if (is_ours(o->pid, tid[i]))
			tid[n++] = tid[i];
	if (n < o->vcpus || children_of(o->pid, child) < 1)
		return false;
	memcpy(o->vcpu, tid + n - o->vcpus, o->vcpus * sizeof(*tid));
	o->spawner = child[0];
	return true;
}

static int spawn(struct observed *o, const char *const argv[])
{
	posix_spawn_file_actions_t actions;
	int ends[2], error;

	if (pipe2(ends, O_CLOEXEC))
		return errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
	error = posix_spawn(&o->pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	o->messages = ends[0];
	fcntl(o->messages, F_SETFL, O_NONBLOCK);
	return error;
}

int observe_start(struct observed *o, const char *const argv[], unsigned vcpus, unsigned started)
{
	char text[1024];
	int error;

	*o = (struct observed){.vcpus = vcpus};
	error = spawn(o, argv);
	if (error) {
		fprintf(stderr, "bench: %s: %s\n", argv[0], strerror(error));
		return -1;
	}
	for (int ms = 0; ms < START_MS; ms++) {
		if (!o->block)
			o->block = map_block(o->pid);
		if (o->block && o->block->started >= started && find_threads(o))
			return 0;
		usleep(1000);
	}
	fprintf(stderr, "bench: of a guest under test %u of %u vCPUs have started: ",
		o->block ? o->block->started : 0, started);
	if (read_descriptor(o->messages, text, sizeof(text)) > 0)
		fprintf(stderr, "%s", text);
	observe_end(o);
	return -1;
}

void observe_end(struct observed *o)
{
	char text[4096];
	int ms = 0;

	kill(o->pid, SIGTERM);
	while (waitpid(o->pid, NULL, WNOHANG) == 0) {
		/* Nobody may have to wait for us to read. */
		while (read(o->messages, text, sizeof(text)) > 0)
			;
		if (++ms == START_MS)
			kill(o->pid, SIGKILL);
		usleep(1000);
	}
	close(o->messages);
	if (o->block)
		munmap((void *)(uintptr_t)o->block, 4096);
}

/* --- While it runs ------------------------------------------------------------------------------ */

void observe_counts(struct observed *o)
{
	for (unsigned v = 0; v < o->vcpus; v++) {
		uint32_t now = o->block->count[v];

		o->total[v] += now - o->seen[v];
		o->seen[v] = now;
	}
}

int observe_vcpu_cpu(const struct observed *o, unsigned vcpu)
{
	struct task_stat s;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", o->pid, o->vcpu[vcpu]);
	return task_stat(path, &s) ? s.cpu : -1;
}

void observe_vcpu_times(const struct observed *o, unsigned vcpu, uint64_t *ran_ns, uint64_t *waited_ns)
{
	char path[64], text[128];

	*ran_ns = *waited_ns = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", o->pid, o->vcpu[vcpu]);
	if (read_text(path, text, sizeof(text)) > 0)
		sscanf(text, "%" SCNu64 " %" SCNu64, ran_ns, waited_ns);
}

void observe_workers(const struct observed *o, unsigned per_cpu[OBSERVE_CPUS])
{
	pid_t emulator[MAX_CHILDREN], tid[64];
	unsigned emulators = children_of(o->spawner, emulator);

	for (unsigned e = 0; e < emulators; e++) {
		unsigned tasks = tasks_of(emulator[e], tid, 64);

		for (unsigned t = 0; t < tasks; t++) {
			struct task_stat s;
			char path[64];

			snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", emulator[e], tid[t]);
			if (task_stat(path, &s) && s.state == 'R' && s.cpu < OBSERVE_CPUS)
				per_cpu[s.cpu]++;
		}
	}
}

double observe_cpu_seconds(const struct observed *o)
{
	pid_t pid[MAX_CHILDREN + 2] = {o->pid, o->spawner};
	unsigned n = 2 + children_of(o->spawner, pid + 2);
	long ticks = 0;

	for (unsigned i = 0; i < n; i++) {
		struct task_stat s;
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/stat", pid[i]);
		if (task_stat(path, &s))
			ticks += (long)(s.user + s.system) + s.dead_user + s.dead_system;
	}
	return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* The emulators that have not ended, in the order of their birth, which is that in which they serve. */
static unsigned living(const struct observed *o, pid_t emulator[MAX_CHILDREN])
{
	unsigned all = children_of(o->spawner, emulator), n = 0;

	for (unsigned i = 0; i < all; i++) {
		struct task_stat s;
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/stat", emulator[i]);
		if (task_stat(path, &s) && s.state != 'Z' && s.state != 'X')
			emulator[n++] = emulator[i];
	}
	return n;
}

pid_t observe_emulator(const struct observed *o)
{
	pid_t emulator[MAX_CHILDREN];

	return living(o, emulator) ? emulator[0] : 0;
}

bool observe_standby_idle(const struct observed *o)
{
	pid_t emulator[MAX_CHILDREN], tid[64];
	unsigned tasks;

	if (living(o, emulator) != 2)
		return false;
	tasks = tasks_of(emulator[1], tid, 64);
	for (unsigned t = 0; t < tasks; t++) {
		struct task_stat s;
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", emulator[1], tid[t]);
		if (!task_stat(path, &s) || s.state != 'S')
			return false;
	}
	return tasks == o->vcpus + 2; /* a worker for each vCPU and for typed input, the I/O thread */
}
