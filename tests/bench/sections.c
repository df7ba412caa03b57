/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host sees: start-up, memory, restarts, and what an operation costs in processor time. */
#include "tests/bench/sections.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/observe.h"

#define GUEST_BYTES      (128ul << 20)
#define SETTLE_MS        5    /* a standby that sleeps this long is ready */
#define SETTLE_LIMIT     2000 /* ms */
#define RESTART_FAILURES 3
#define BUSY_PAUSES      20   /* for a guest that has had no CPU so far */
#define QEMU_SETTLE      1000 /* ms; there is no telling when it is ready */

static void pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

/* --- Start-up ----------------------------------------------------------------------------------- */

enum { BARE, PLAIN, SANDBOXED, MICROVM, STARTUP_COLUMNS };
enum { ROW_WHOLE, ROW_EXEC, ROW_SANDBOX, ROW_LOAD, ROW_GUEST };

static int startup_whole(const struct plan *p, struct section *s, unsigned column, bool count)
{
	static const enum way way[STARTUP_COLUMNS] = {IN_PROCESS, IN_PROCESS, SAME_CPU, QEMU};
	const char *const bare[] = {p->bench.bare_kvm, NULL};
	struct child child;
	uint64_t ns;

	if (!child_time(&child, column == BARE ? bare : way_argv(p, way[column], "reset.elf", "", NULL),
			column == MICROVM ? QEMU_DONE : 0, &ns)) {
		if (count)
			cell_value(&s->cell[ROW_WHOLE][column], ns / 1000);
		return 0;
	}
	if (column != MICROVM)
		return -1;
	section_qemu_failed(s, child.complaint);
	return 0;
}

static int startup_steps(const struct plan *p, struct section *s, unsigned column)
{
	const enum way way = column == PLAIN ? IN_PROCESS : SAME_CPU;
	struct start t;

	if (start_watch(way_argv(p, way, "latency.elf", "samples=1", NULL), NULL, 0, &t)) {
		fprintf(stderr, "dvmm-bench: start-up, %s: %s\n", way_title[way], t.complaint);
		return -1;
	}
	cell_value(&s->cell[ROW_EXEC][column], t.exec);
	if (t.sandbox)
		cell_value(&s->cell[ROW_SANDBOX][column], t.sandbox - t.exec);
	if (t.vcpu > t.sandbox) {
		cell_value(&s->cell[ROW_LOAD][column], t.vcpu - (t.sandbox ? t.sandbox : t.exec));
		cell_value(&s->cell[ROW_GUEST][column], t.first - t.vcpu);
	}
	return 0;
}

json_t *section_startup(const struct plan *p)
{
	struct section *s = &(struct section){
		.name = "startup",
		.title = "Start and end of a guest that resets at once",
		.how = "exec to exit: wall clock, from before posix_spawn to after the exit has been seen, which "
		       "includes the kernel's taking down of process and VM; 128 MiB. bare: a KVM program of 40 lines "
		       "that makes a VM and a vCPU and executes one HLT. The steps are those of another guest, "
		       "latency.elf: the exec; emulator confined and vCPU's thread started, which are looked for in /proc "
		       "several times a millisecond, and that slows them; the guest's first character.",
		.base = BARE,
		.columns = p->qemu ? STARTUP_COLUMNS : MICROVM,
		.column = {"bare", "in-process", "sandboxed", "qemu"},
	};
	const unsigned rounds = 4 * p->rounds + 1; /* the first is the warm-up */

	section_row(s, "exec to exit", "us");
	section_row(s, "step: exec", "us");
	section_row(s, "step: sandbox", "us");
	section_row(s, "step: load", "us");
	section_row(s, "step: guest to first character", "us");
	for (unsigned round = 0; round < rounds; round++) {
		progress("start-up", round, rounds);
		for (unsigned i = 0; i < s->columns; i++) {
			const unsigned column = (i + round) % s->columns;

			if (!(column == MICROVM && s->qemu_failed) && startup_whole(p, s, column, round > 0))
				return NULL;
		}
		for (unsigned column = PLAIN; round < p->rounds && column <= SANDBOXED; column++)
			if (startup_steps(p, s, column))
				return NULL;
	}
	return section_json(s);
}

/* --- Memory ------------------------------------------------------------------------------------- */

static int load_start(const struct plan *p, enum way way, struct observed *o)
{
	return observe_start(o, way_argv(p, way, "load.elf", "cpus=1 mask=1", NULL), 1, 1);
}

/* Two emulators, of which the younger one has nothing more to do, or none to be expected. */
static void settle(const struct observed *o)
{
	for (unsigned ms = 0, ready = 0; o->sandboxed && ms < SETTLE_LIMIT && ready < SETTLE_MS; ms++) {
		ready = observe_standby_idle(o) ? ready + 1 : 0;
		pause_ms(1);
	}
}

enum { ROW_TOTAL = OBSERVE_PROCESSES, ROW_SECOND, MEMORY_ROWS };

/* KiB by role and all together; -1 if the kernel does not let us look. */
static long memory_of(const struct observed *o, long kib[OBSERVE_PROCESSES])
{
	pid_t pid[OBSERVE_PROCESSES];
	long total = 0;

	observe_processes(o, pid);
	for (unsigned i = 0; i < OBSERVE_PROCESSES; i++) {
		kib[i] = pid[i] ? process_memory_kib(pid[i], 0) : 0;
		if (kib[i] < 0)
			return -1;
		total += kib[i];
	}
	return total;
}

/* One VM, and then a second one beside it: of that counts what both have more than the first alone. */
static int memory_round(const struct plan *p, struct section *s, enum way way)
{
	long kib[OBSERVE_PROCESSES], one, first, second = -1;
	struct observed a, b;

	if (load_start(p, way, &a))
		return -1;
	settle(&a);
	one = memory_of(&a, kib);
	for (unsigned i = 0; one >= 0 && i < OBSERVE_PROCESSES; i++)
		if (kib[i])
			cell_value(&s->cell[i][way == IN_PROCESS ? 0 : 1], (uint64_t)kib[i]);
	if (!load_start(p, way, &b)) {
		settle(&b);
		second = memory_of(&b, kib);
		first = memory_of(&a, kib);
		if (one >= 0 && second >= 0 && first >= 0) {
			cell_value(&s->cell[ROW_TOTAL][way == IN_PROCESS ? 0 : 1], (uint64_t)one);
			cell_value(&s->cell[ROW_SECOND][way == IN_PROCESS ? 0 : 1],
				   first + second > one ? (uint64_t)(first + second - one) : 0);
		}
		observe_end(&b);
	}
	observe_end(&a);
	if (one < 0 || second < 0)
		section_note(s, "the kernel does not let this user see the emulator's memory; try as root");
	return 0;
}

static int memory_qemu(const struct plan *p, struct section *s)
{
	struct child child;
	long kib;

	if (child_start(&child, way_argv(p, QEMU, "load.elf", "cpus=1 mask=1", NULL), false))
		return -1;
	pause_ms(QEMU_SETTLE);
	kib = process_memory_kib(child.pid, GUEST_BYTES);
	kill(child.pid, SIGTERM);
	child_end(&child, SETTLE_LIMIT);
	if (kib > 0) {
		cell_value(&s->cell[OBSERVE_DVMM][2], (uint64_t)kib);
		cell_value(&s->cell[ROW_TOTAL][2], (uint64_t)kib);
	} else {
		section_qemu_failed(s, child.complaint);
	}
	return 0;
}

json_t *section_memory(const struct plan *p)
{
	struct section *s = &(struct section){
		.name = "memory",
		.title = "Memory beside the guest's",
		.how = "Sum of Pss of all mappings in /proc/PID/smaps (what smaps_rollup adds up), without the guest's "
		       "memory: mappings of the file dvmm-memory, and for QEMU those of 128 MiB or more, which is "
		       "the guest's size. Guest load.elf runs on one vCPU, and the standby has come to rest. Pages "
		       "that processes share count by their share, so what else runs of the same programs lowers "
		       "it. a second VM adds: all processes of both, less the first alone. Kernel memory, page "
		       "tables among it, is not counted.",
		.base = -1,
		.columns = p->qemu ? 3 : 2,
		.column = {"in-process", "sandboxed", "qemu"},
	};
	static const char *const title[MEMORY_ROWS] = {"dvmm (or QEMU)",   "spawner",  "emulator",
						       "standby emulator", "together", "a second VM adds"};

	for (unsigned i = 0; i < MEMORY_ROWS; i++)
		section_row(s, title[i], "KiB");
	for (unsigned round = 0; round < p->rounds; round++) {
		progress("memory", round, p->rounds);
		if (memory_round(p, s, IN_PROCESS) || memory_round(p, s, SAME_CPU) ||
		    (way_still_possible(p, s, QEMU) && memory_qemu(p, s)))
			return NULL;
	}
	return section_json(s);
}

/* --- Restart ------------------------------------------------------------------------------------ */

/* What has been measured until a series fails, on a host too busy for a standby to come to rest, counts. */
json_t *section_restart(const struct plan *p)
{
	struct section *s = &(struct section){
		.name = "restart",
		.title = "From SIGKILL of the emulator to the next one's first reply",
		.how = "Guest load.elf makes one request after another and counts replies in its memory, which is "
		       "looked at from outside every 20 us or so; the end of the longest time without a reply "
		       "counts. Each round is a guest of its own.",
		.base = -1,
		.columns = 2,
		.column = {"standby ready", "back to back"},
	};
	const unsigned kills = p->kills / p->rounds ? p->kills / p->rounds : 1;
	unsigned failed = 0;

	section_row(s, "without a reply", "ns");
	for (unsigned round = 0; round < p->rounds; round++) {
		progress("restart", round, p->rounds);
		for (unsigned i = 0; i < 2; i++) {
			struct samples samples = {0};

			failed += restart_series(&p->bench, !i, kills, &samples) != 0;
			cell_round(&s->cell[0][i], &samples);
		}
		if (failed > RESTART_FAILURES)
			return NULL;
	}
	if (failed)
		section_note(s, "%u of %u series ended early, see standard error: is this host busy?", failed,
			     2 * p->rounds);
	return section_json(s);
}

/* --- What an operation costs -------------------------------------------------------------------- */

struct account {
	uint64_t operations, switches, cpu_ns;
};

static struct account account_of(struct observed *o)
{
	struct account now = {0};
	pid_t pid[OBSERVE_PROCESSES];

	observe_processes(o, pid);
	for (unsigned i = 0; i < OBSERVE_PROCESSES; i++)
		if (pid[i]) {
			now.switches += process_switches(pid[i]);
			now.cpu_ns += process_cpu_ns(pid[i]);
		}
	observe_counts(o);
	now.operations = o->total[0];
	return now;
}

enum { ROW_CPU, ROW_SWITCHES, ROW_RATE };

static int operations_round(const struct plan *p, struct section *s, enum way way)
{
	struct account before, after;
	struct observed o;
	uint64_t ns, count = 0;

	if (observe_start(&o, way_argv(p, way, "load.elf", "cpus=1 mask=1 command=256", NULL), 1, 1))
		return -1;
	settle(&o);
	before = account_of(&o);
	ns = now_ns();
	for (unsigned i = 0; !count && i < BUSY_PAUSES; i++) {
		pause_ms(p->load_ms);
		after = account_of(&o);
		count = after.operations - before.operations;
	}
	ns = now_ns() - ns;
	observe_end(&o);
	if (!count) {
		fprintf(stderr, "dvmm-bench: the guest made no operations\n");
		return -1;
	}
	cell_value(&s->cell[ROW_CPU][way], (after.cpu_ns - before.cpu_ns) / count);
	cell_value(&s->cell[ROW_SWITCHES][way], (after.switches - before.switches) * 1000 / count);
	cell_value(&s->cell[ROW_RATE][way], count * 1000000000ull / ns);
	return 0;
}

json_t *section_operations(const struct plan *p)
{
	struct section *s = &(struct section){
		.name = "operations",
		.title = "What an operation costs the host",
		.how = "Guest load.elf writes to a port that no device claims, over and over. Processor time "
		       "(schedstat) and context switches (status) of all threads of dvmm and its emulators, divided "
		       "by the guest's own count. It includes the guest's time in its loop.",
		.base = IN_PROCESS,
		.columns = QEMU,
		.column = {way_title[0], way_title[1], way_title[2]},
	};

	section_row(s, "processor time", "ns an operation");
	section_row_thousandths(s, "context switches", "an operation");
	section_row(s, "rate", "operations a second");
	for (unsigned round = 0; round < p->rounds; round++) {
		progress("operations", round, p->rounds);
		for (unsigned i = 0; i < s->columns; i++) {
			const enum way way = (enum way)((i + round) % s->columns);

			if (way_possible(p, way) && operations_round(p, s, way))
				return NULL;
		}
	}
	return section_json(s);
}
