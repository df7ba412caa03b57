/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/observe.h"
#include "tests/bench/bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOAD_BLOCK   0x9000 /* where tests/guests/load.c has it */
#define START_MS     20000
#define MAX_CHILDREN 8

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
	struct stat st;

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
		/* It has no size at first, and looking beyond its end would be SIGBUS. */
		if (fstat(fd, &st) == 0 && st.st_size >= LOAD_BLOCK + 4096)
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
	if (n < o->vcpus || (o->sandboxed && children_of(o->pid, child) < 1))
		return false;
	memcpy(o->vcpu, tid + n - o->vcpus, o->vcpus * sizeof(*tid));
	o->spawner = o->sandboxed ? child[0] : 0;
	return true;
}

static int spawn(struct observed *o, const char *const argv[])
{
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC)) {
		fprintf(stderr, "%s: pipe: %s\n", program_invocation_short_name, strerror(errno));
		return -1;
	}
	rc = child_spawn(&o->pid, argv, -1, ends[1]);
	close(ends[1]);
	if (rc) {
		close(ends[0]);
		return -1;
	}
	o->messages = ends[0];
	fcntl(o->messages, F_SETFL, O_NONBLOCK);
	return 0;
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}

int observe_start(struct observed *o, const char *const argv[], unsigned vcpus, unsigned started)
{
	char text[1024];

	*o = (struct observed){.vcpus = vcpus, .sandboxed = true};
	for (const char *const *arg = argv; *arg; arg++)
		if (!strcmp(*arg, "in-process"))
			o->sandboxed = false;
	if (spawn(o, argv))
		return -1;
	for (int ms = 0; ms < START_MS; ms++) {
		if (!o->block)
			o->block = map_block(o->pid);
		if (o->block && o->block->started >= started && find_threads(o))
			return 0;
		if (has_ended(o->pid))
			break;
		usleep(1000);
	}
	fprintf(stderr,
		"%s: of a guest under test %u of %u vCPUs have started: ", program_invocation_short_name,
		o->block ? o->block->started : 0, started);
	read_descriptor(o->messages, text, sizeof(text));
	fprintf(stderr, "%s%s", text, *text && text[strlen(text) - 1] == '\n' ? "" : "\n");
	observe_end(o);
	return -1;
}

void observe_end(struct observed *o)
{
	char text[4096];
	int ms = 0;

	kill(o->pid, SIGTERM);
	while (child_wait(o->pid, NULL, WNOHANG) == 0) {
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

void observe_processes(const struct observed *o, pid_t pid[OBSERVE_PROCESSES])
{
	pid_t emulator[MAX_CHILDREN];
	unsigned n = o->sandboxed ? living(o, emulator) : 0;

	pid[OBSERVE_DVMM] = o->pid;
	pid[OBSERVE_SPAWNER] = o->sandboxed ? o->spawner : 0;
	pid[OBSERVE_ACTIVE] = n > 0 ? emulator[0] : 0;
	pid[OBSERVE_STANDBY] = n > 1 ? emulator[1] : 0;
}

/* --- A process's accounts ----------------------------------------------------------------------- */

long process_memory_kib(pid_t pid, unsigned long guest_bytes)
{
	unsigned long first, end;
	long total = -1, kib;
	bool guest = false;
	char path[64], line[512];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	maps = fopen(path, "re");
	if (!maps)
		return -1;
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &first, &end) == 2) {
			guest = (guest_bytes && end - first >= guest_bytes) || strstr(line, "dvmm-memory");
			continue;
		}
		if (sscanf(line, "Pss: %ld", &kib) == 1)
			total = (total < 0 ? 0 : total) + (guest ? 0 : kib);
	}
	fclose(maps);
	return total;
}

uint64_t process_switches(pid_t pid)
{
	pid_t tid[64];
	unsigned n = tasks_of(pid, tid, 64);
	uint64_t all = 0;

	for (unsigned i = 0; i < n; i++) {
		char path[64], text[4096];
		const char *at;

		snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid[i]);
		read_text(path, text, sizeof(text));
		at = strstr(text, "\nvoluntary_ctxt_switches:");
		if (at)
			all += strtoull(strchr(at, ':') + 1, NULL, 10);
		at = strstr(text, "\nnonvoluntary_ctxt_switches:");
		if (at)
			all += strtoull(strchr(at, ':') + 1, NULL, 10);
	}
	return all;
}

uint64_t process_cpu_ns(pid_t pid)
{
	pid_t tid[64];
	unsigned n = tasks_of(pid, tid, 64);
	uint64_t all = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t ran = 0;
		char path[64], text[128];

		snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, tid[i]);
		if (read_text(path, text, sizeof(text)) > 0 && sscanf(text, "%" SCNu64, &ran) == 1)
			all += ran;
	}
	return all;
}

/* --- A start, step by step ---------------------------------------------------------------------- */

/* The number behind a key of proc(5)'s status, or 0. */
static unsigned status_number(pid_t pid, const char *key)
{
	char path[64], text[4096];
	const char *at;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	read_text(path, text, sizeof(text));
	at = strstr(text, key);
	return at ? (unsigned)strtoul(at + strlen(key), NULL, 10) : 0;
}

static bool confined(pid_t dvmm)
{
	pid_t spawner[MAX_CHILDREN], emulator[MAX_CHILDREN];

	return children_of(dvmm, spawner) && children_of(spawner[0], emulator) &&
	       status_number(emulator[0], "\nSeccomp:\t") == 2;
}

void observe_steps(struct start_steps *s, pid_t dvmm)
{
	if (!s->sandbox_ns && confined(dvmm))
		s->sandbox_ns = now_ns();
	if (!s->vcpu_ns && status_number(dvmm, "\nSeccomp:\t") == 2)
		s->vcpu_ns = now_ns();
}
