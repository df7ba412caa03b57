/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two VMs on the same host CPUs. The victim has one vCPU bound to each CPU, which counts; the attacker has K
 * vCPUs whose emulator computes for ever (chaos device), and wants the victim to suffer.
 *
 *     spread   all K stall, where --pin auto has put them
 *     stack    all K stall and begin on one CPU: --pin says so, and allows the others too
 *     choose   twice as many vCPUs, placed by --pin auto; those on one half of the CPUs stall, the rest halts
 *     steer    each stalls unless it is on the first CPU, where it stays in the guest and computes; this
 *              attacker is told where it is, which a real one has to find out
 *
 * Each with the mechanism off (an N that is never reached) and on, with N = 10, 100, 1000 quanta of 1 ms.
 *
 * The victim's share is the work of its slowest vCPU a second, for a parallel program runs at the speed of
 * its slowest part, over the work of the same vCPU a second without attack, before and after in the same run.
 * Its fair share is what each of its vCPUs would get if the K stuck operations were spread over the C CPUs
 * evenly and the scheduler were exact: 1 / (1 + K / C). `kept` is one over the other, over the second half of
 * the attack, when placement has settled, and over all of it. A round runs all cases in turn; figures are
 * medians of the rounds. Next to it the same by the scheduler's account: what the vCPU thread with the least
 * had of the time that it wanted to run, against what it had of it without attack. Where the host's CPUs are
 * threads of some other host, that one tells attack and other load apart.
 */
#include "tests/bench/bench.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/observe.h"

#define DEFAULT_ROUNDS 3
#define STUCK          8u /* K: as many as there are chaos devices */
#define CHAOS_SPIN     2
#define ALONE_NS       400000000ull /* before an attack, and after it */
#define REST_NS        100000000ull /* until what was started or ended is out of the way */
#define ATTACK_NS      3000000000ull
#define LOOK_NS        20000000ull
#define MOVES          4096

enum attack { NO_ATTACK, SPREAD, STACK, CHOOSE, STEER, ATTACKS };
static const char *const attack_name[ATTACKS] = {"none", "spread", "stack", "choose", "steer"};

enum mode { OFF, N10, N100, N1000, MODES };
static const char *const mode_name[MODES] = {"off", "N=10", "N=100", "N=1000"};
static const char *const mode_key[MODES] = {"off", "n10", "n100", "n1000"};
static const char *const mode_quanta[MODES] = {"1000000", "10", "100", "1000"};

/* What is reported of a case, kept in thousandths. */
enum figure {
	KEPT,
	KEPT_ALL,
	KEPT_CPU,
	SHARE,
	MEAN_SHARE,
	FIRST_MOVE,
	STUCK_P50,
	STUCK_P99,
	FORCED,
	MOVED,
	MOVED_SECOND,
	RESTARTED,
	PROGRESS,
	CPU_TIME,
	OUTSIDE,
	ENDED,
	FIGURES
};
static const char *const figure_key[FIGURES] = {
	"kept_of_fair_share",
	"kept_of_fair_share_from_the_start",
	"kept_of_fair_share_by_the_scheduler",
	"slowest_vcpu_share",
	"mean_vcpu_share",
	"first_repin_ms",
	"stuck_on_one_cpu_p50",
	"stuck_on_one_cpu_p99",
	"forced_per_second",
	"repins_per_second",
	"repins_in_any_second",
	"restarts_per_second",
	"attacker_operations_per_second",
	"attacker_cpus",
	"vcpus_seen_outside_allowed",
	"attacker_lost_its_vm",
};

struct attack_bench {
	const struct bench *b;
	unsigned cpus; /* allowed ones: C */
	int cpu[OBSERVE_CPUS];
	struct observed victim;
	struct samples figure[ATTACKS][MODES][FIGURES];
};

/* One run of one case while it goes on. */
struct run {
	enum attack attack;
	enum mode mode;
	struct observed vm; /* the attacker */
	uint64_t began_ns, forced, moved, restarted, first_move_ns;
	uint64_t move_ns[MOVES];
	struct samples stuck; /* on the CPU that had the most, at each look */
	bool outside[LOAD_PROCESSORS];
	bool ended;      /* its VM, with status 4 */
	char text[4096]; /* messages not yet at the end of a line */
	size_t text_len;
};

/* --- The attacker ------------------------------------------------------------------------------- */

static unsigned attacker_cpus(const struct attack_bench *a, enum attack attack)
{
	switch (attack) {
	case STACK:
		return STUCK + a->cpus - 1;
	case CHOOSE:
		return 2 * STUCK;
	default:
		return STUCK;
	}
}

/* Which of them stall. --pin auto deals vCPUs out to the CPUs one after another. */
static unsigned attacker_mask(const struct attack_bench *a, enum attack attack)
{
	unsigned mask = 0, found = 0;

	if (attack != CHOOSE)
		return (1u << STUCK) - 1;
	for (unsigned v = 0; v < 2 * STUCK; v++)
		if (v % a->cpus < (a->cpus + 1) / 2 && found++ < STUCK)
			mask |= 1u << v;
	return mask;
}

/* All that stall on the first CPU; those that halt make the others allowed. */
static void attacker_pin(const struct attack_bench *a, enum attack attack, char *pin, size_t size)
{
	size_t at = 0;

	snprintf(pin, size, "auto");
	if (attack != STACK)
		return;
	for (unsigned v = 0; v < attacker_cpus(a, attack); v++) {
		int cpu = a->cpu[v < STUCK ? 0 : v - STUCK + 1];

		at += (size_t)snprintf(pin + at, size - at, "%s%u:%d", v ? "," : "", v, cpu);
	}
}

/* In the steer case with more than two CPUs the attacker may not use the last one: that is checked, too. */
static unsigned attacker_allowed(const struct attack_bench *a, enum attack attack)
{
	return attack == STEER && a->cpus > 2 ? a->cpus - 1 : a->cpus;
}

static int affinity_set(const struct attack_bench *a, unsigned count)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (unsigned i = 0; i < count; i++)
		CPU_SET(a->cpu[i], &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static int attacker_start(const struct attack_bench *a, struct run *r)
{
	char kernel[4096], cpus[8], pin[128], words[96];
	const char *const argv[] = {
		a->b->dvmm,
		"--chaos",
		"--kernel",
		kernel,
		"--mem",
		"32M",
		"--cpus",
		cpus,
		"--pin",
		pin,
		"--max-restarts",
		"1024",
		"--quantum",
		"1",
		"--max-quanta",
		mode_quanta[r->mode],
		"--cmdline",
		words,
		NULL,
	};
	int rc;

	snprintf(kernel, sizeof(kernel), "%s/load.elf", a->b->guests);
	snprintf(cpus, sizeof(cpus), "%u", attacker_cpus(a, r->attack));
	attacker_pin(a, r->attack, pin, sizeof(pin));
	snprintf(words, sizeof(words), "cpus=%s mask=%u command=%u", cpus, attacker_mask(a, r->attack),
		 CHAOS_SPIN);
	affinity_set(a, attacker_allowed(a, r->attack));
	rc = observe_start(&r->vm, argv, attacker_cpus(a, r->attack), STUCK);
	affinity_set(a, a->cpus);
	if (rc)
		fprintf(stderr, "bench: the attacker of case %s, %s\n", attack_name[r->attack],
			mode_name[r->mode]);
	return rc;
}

static void note_move(struct run *r, int from, int to, uint64_t now)
{
	r->forced++;
	if (from == to)
		return;
	if (!r->moved)
		r->first_move_ns = now - r->began_ns;
	if (r->moved < MOVES)
		r->move_ns[r->moved] = now;
	r->moved++;
}

static void attacker_message(struct run *r, const char *line)
{
	const char *at = strstr(line, " by force after ");
	int from, to;

	if (at && sscanf(at, " by force after %*u ms, CPU %d -> %d", &from, &to) == 2)
		note_move(r, from, to, now_ns());
	r->restarted += strstr(line, "has taken over from") != NULL;
}

static void attacker_listen(struct run *r)
{
	ssize_t n;

	while ((n = read(r->vm.messages, r->text + r->text_len, sizeof(r->text) - 1 - r->text_len)) > 0) {
		char *line = r->text, *end;

		r->text_len += (size_t)n;
		r->text[r->text_len] = '\0';
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			attacker_message(r, line);
		}
		r->text_len -= (size_t)(line - r->text);
		memmove(r->text, line, r->text_len);
		if (r->text_len == sizeof(r->text) - 1)
			r->text_len = 0;
	}
}

/* Where the attacker's threads are; in the steer case it is told. */
static void attacker_look(const struct attack_bench *a, struct run *r)
{
	unsigned per_cpu[OBSERVE_CPUS] = {0}, most = 0;
	const int last = a->cpu[a->cpus - 1];

	observe_workers(&r->vm, per_cpu);
	for (unsigned v = 0; r->attack == STEER && v < STUCK; v++) {
		int cpu = observe_vcpu_cpu(&r->vm, v);
		bool there = cpu == a->cpu[0];

		r->vm.block->command[v] = there ? 0 : CHAOS_SPIN;
		per_cpu[a->cpu[0]] += there;
		r->outside[v] |= attacker_allowed(a, STEER) < a->cpus && cpu == last;
	}
	for (unsigned i = 0; i < OBSERVE_CPUS; i++)
		most = per_cpu[i] > most ? per_cpu[i] : most;
	samples_add(&r->stuck, most);
	observe_counts(&r->vm);
}

static uint64_t most_moves_in_a_second(const struct run *r)
{
	uint64_t most = 0, count = r->moved < MOVES ? r->moved : MOVES;

	for (uint64_t i = 0, j = 0; i < count; i++) {
		while (r->move_ns[i] - r->move_ns[j] >= 1000000000ull)
			j++;
		most = i - j + 1 > most ? i - j + 1 : most;
	}
	return most;
}

/* --- The victim --------------------------------------------------------------------------------- */

struct work {
	uint64_t at_ns;
	uint64_t total[LOAD_PROCESSORS];
	uint64_t ran_ns[LOAD_PROCESSORS], waited_ns[LOAD_PROCESSORS];
};

static int victim_start(struct attack_bench *a)
{
	char kernel[4096], cpus[8], pin[256] = "", words[64];
	const char *const argv[] = {
		a->b->dvmm, "--kernel", kernel,      "--mem",    "32M",       "--cpus", cpus,
		"--pin",    pin,        "--handoff", "same-cpu", "--cmdline", words,    NULL,
	};

	snprintf(kernel, sizeof(kernel), "%s/load.elf", a->b->guests);
	snprintf(cpus, sizeof(cpus), "%u", a->cpus);
	snprintf(words, sizeof(words), "cpus=%s mask=%u", cpus, (1u << a->cpus) - 1);
	for (unsigned v = 0, at = 0; v < a->cpus; v++)
		at += (unsigned)snprintf(pin + at, sizeof(pin) - at, "%s%u:%d", v ? "," : "", v, a->cpu[v]);
	return observe_start(&a->victim, argv, a->cpus, a->cpus);
}

static struct work victim_work(struct attack_bench *a)
{
	struct work w = {.at_ns = now_ns()};

	observe_counts(&a->victim);
	memcpy(w.total, a->victim.total, sizeof(w.total));
	for (unsigned v = 0; v < a->cpus; v++)
		observe_vcpu_times(&a->victim, v, &w.ran_ns[v], &w.waited_ns[v]);
	return w;
}

static double rate(const struct work *from, const struct work *to, unsigned v)
{
	return (double)(to->total[v] - from->total[v]) / (double)(to->at_ns - from->at_ns);
}

/* What a vCPU had of the time that it wanted to run, by the scheduler's account. */
static double cpu_share(const struct work *from, const struct work *to, unsigned v)
{
	double ran = (double)(to->ran_ns[v] - from->ran_ns[v]);
	double waited = (double)(to->waited_ns[v] - from->waited_ns[v]);

	return ran > 0 ? ran / (ran + waited) : 1e-9; /* the kernel does not say */
}

/* Sleeps, and counts meanwhile; with a run, watches the attacker. */
static void pass(struct attack_bench *a, struct run *r, uint64_t ns)
{
	const uint64_t end = now_ns() + ns;
	uint64_t look = now_ns();

	for (uint64_t now; (now = now_ns()) < end;) {
		struct pollfd message = {.fd = r ? r->vm.messages : -1, .events = POLLIN};

		if (now >= look) {
			observe_counts(&a->victim);
			if (r)
				attacker_look(a, r);
			look += LOOK_NS;
		}
		now = now_ns();
		if (look > now && poll(&message, 1, (int)((look - now) / 1000000) + 1) > 0 && r) {
			if (!(message.revents & POLLIN)) {
				r->ended = true;
				usleep(LOOK_NS / 1000);
			}
			attacker_listen(r);
		}
	}
}

/* --- A case ------------------------------------------------------------------------------------- */

static void figure_add(struct attack_bench *a, const struct run *r, enum figure f, double value)
{
	samples_add(&a->figure[r->attack][r->mode][f], (uint64_t)(value * 1000 + 0.5));
}

/* The victim's work at the moments between which it is measured. */
enum moment { BEFORE, BEFORE_END, BEGUN, MIDDLE, END, AFTER, AFTER_END, MOMENTS };

static void shares_add(struct attack_bench *a, const struct run *r, const struct work at[MOMENTS])
{
	const double fair = r->attack == NO_ATTACK ? 1 : 1 / (1 + (double)STUCK / a->cpus);
	double slowest = 1e9, slowest_all = 1e9, least_cpu = 1e9, sum = 0;

	for (unsigned v = 0; v < a->cpus; v++) {
		double alone =
			(rate(&at[BEFORE], &at[BEFORE_END], v) + rate(&at[AFTER], &at[AFTER_END], v)) / 2;
		double late = rate(&at[MIDDLE], &at[END], v) / alone,
		       all = rate(&at[BEGUN], &at[END], v) / alone;

		slowest = late < slowest ? late : slowest;
		slowest_all = all < slowest_all ? all : slowest_all;
		sum += late;
		alone = (cpu_share(&at[BEFORE], &at[BEFORE_END], v) +
			 cpu_share(&at[AFTER], &at[AFTER_END], v)) /
			2;
		late = cpu_share(&at[MIDDLE], &at[END], v) / alone;
		least_cpu = late < least_cpu ? late : least_cpu;
	}
	figure_add(a, r, SHARE, slowest);
	figure_add(a, r, MEAN_SHARE, sum / a->cpus);
	figure_add(a, r, KEPT, slowest / fair);
	figure_add(a, r, KEPT_ALL, slowest_all / fair);
	figure_add(a, r, KEPT_CPU, least_cpu / fair);
}

static void attacker_figures_add(struct attack_bench *a, struct run *r, double cpu_seconds)
{
	const double seconds = (double)ATTACK_NS / 1e9;
	uint64_t done = 0;
	unsigned outside = 0;

	for (unsigned v = 0; v < r->vm.vcpus; v++) {
		done += r->vm.total[v];
		outside += r->outside[v < LOAD_PROCESSORS ? v : 0];
	}
	if (r->moved)
		figure_add(a, r, FIRST_MOVE, (double)r->first_move_ns / 1e6);
	figure_add(a, r, STUCK_P50, (double)samples_quantile(&r->stuck, 500));
	figure_add(a, r, STUCK_P99, (double)samples_quantile(&r->stuck, 990));
	figure_add(a, r, FORCED, (double)r->forced / seconds);
	figure_add(a, r, MOVED, (double)r->moved / seconds);
	figure_add(a, r, MOVED_SECOND, (double)most_moves_in_a_second(r));
	figure_add(a, r, RESTARTED, (double)r->restarted / seconds);
	figure_add(a, r, PROGRESS, (double)done / seconds);
	figure_add(a, r, CPU_TIME, cpu_seconds / seconds);
	figure_add(a, r, OUTSIDE, outside);
	figure_add(a, r, ENDED, r->ended);
}

static int case_run(struct attack_bench *a, enum attack attack, enum mode mode)
{
	struct run *r = calloc(1, sizeof(*r)), *attacker = attack == NO_ATTACK ? NULL : r;
	struct work at[MOMENTS];
	double cpu_seconds = 0;
	int rc = 0;

	if (!r)
		return -1;
	*r = (struct run){.attack = attack, .mode = mode};
	pass(a, NULL, REST_NS);
	at[BEFORE] = victim_work(a);
	pass(a, NULL, ALONE_NS);
	at[BEFORE_END] = victim_work(a);
	rc = attacker ? attacker_start(a, r) : 0;
	if (rc)
		goto out;
	r->began_ns = now_ns();
	at[BEGUN] = victim_work(a);
	pass(a, attacker, ATTACK_NS / 2);
	at[MIDDLE] = victim_work(a);
	pass(a, attacker, ATTACK_NS / 2);
	at[END] = victim_work(a);
	if (attacker) {
		cpu_seconds = observe_cpu_seconds(&r->vm);
		attacker_figures_add(a, r, cpu_seconds);
		observe_end(&r->vm);
	}
	pass(a, NULL, REST_NS);
	at[AFTER] = victim_work(a);
	pass(a, NULL, ALONE_NS);
	at[AFTER_END] = victim_work(a);
	shares_add(a, r, at);
out:
	samples_free(&r->stuck);
	free(r);
	return rc;
}

static int round_run(struct attack_bench *a)
{
	if (case_run(a, NO_ATTACK, OFF))
		return -1;
	for (int attack = SPREAD; attack < ATTACKS; attack++)
		for (int mode = 0; mode < MODES; mode++)
			if (case_run(a, (enum attack)attack, (enum mode)mode))
				return -1;
	return 0;
}

/* --- The report --------------------------------------------------------------------------------- */

static double median(struct attack_bench *a, int attack, int mode, enum figure f)
{
	return (double)samples_quantile(&a->figure[attack][mode][f], 500) / 1000;
}

static void line_print(struct attack_bench *a, int attack, int mode)
{
	char first[16] = "never";

	if (a->figure[attack][mode][FIRST_MOVE].count)
		snprintf(first, sizeof(first), "%.0f ms", median(a, attack, mode, FIRST_MOVE));
	printf("  %-7s %-7s %6.1f%% %7.1f%% %7.1f%% %7.1f%% %6.1f%% ", attack_name[attack],
	       attack == NO_ATTACK ? "" : mode_name[mode], 100 * median(a, attack, mode, KEPT),
	       100 * median(a, attack, mode, KEPT_ALL), 100 * median(a, attack, mode, KEPT_CPU),
	       100 * median(a, attack, mode, SHARE), 100 * median(a, attack, mode, MEAN_SHARE));
	if (attack != NO_ATTACK)
		printf("%9s %4.0f %4.0f %7.0f %7.1f %7.0f %7.1f %7.0f %6.2f", first,
		       median(a, attack, mode, STUCK_P50), median(a, attack, mode, STUCK_P99),
		       median(a, attack, mode, FORCED), median(a, attack, mode, MOVED),
		       median(a, attack, mode, MOVED_SECOND), median(a, attack, mode, RESTARTED),
		       median(a, attack, mode, PROGRESS), median(a, attack, mode, CPU_TIME));
	if (median(a, attack, mode, ENDED) > 0)
		printf("  (lost its VM)");
	printf("\n");
}

static json_t *case_json(struct attack_bench *a, int attack, int mode)
{
	json_t *object = json_object();

	for (int f = 0; f < FIGURES; f++) {
		bool any = a->figure[attack][mode][f].count;

		json_object_set_new(object, figure_key[f],
				    any ? json_real(median(a, attack, mode, (enum figure)f)) : json_null());
	}
	return object;
}

/* For tests/bench/attack.gp: two blocks, what is kept (percent) and the most stuck operations on one CPU. */
static void plot_write(struct attack_bench *a)
{
	static const enum figure blocks[] = {KEPT, STUCK_P99};
	FILE *f = fopen(a->b->plot, "w");

	for (int i = 0; f && i < 2; i++) {
		fprintf(f, "attack");
		for (int mode = 0; mode < MODES; mode++)
			fprintf(f, " %s", mode_name[mode]);
		for (int attack = SPREAD; attack < ATTACKS; attack++) {
			fprintf(f, "\n%s", attack_name[attack]);
			for (int mode = 0; mode < MODES; mode++)
				fprintf(f, " %g", median(a, attack, mode, blocks[i]) * (i ? 1 : 100));
		}
		fprintf(f, "\n\n\n");
	}
	if (!f || fclose(f))
		fprintf(stderr, "bench: %s: cannot be written\n", a->b->plot);
}

static void report(struct attack_bench *a)
{
	json_t *all = json_pack("{s:i, s:i, s:f, s:i}", "cpus", (int)a->cpus, "stuck_operations", (int)STUCK,
				"fair_share", 1 / (1 + (double)STUCK / a->cpus), "rounds",
				(int)a->figure[NO_ATTACK][OFF][KEPT].count);

	printf("Attack: %u stuck vCPUs against a victim on each of %u CPUs, medians of %zu rounds\n"
	       "  fair share of a victim's vCPU: %.1f%%; kept: of that, by its slowest vCPU, settled; from "
	       "the "
	       "start; settled, by the scheduler's account\n"
	       "                     kept    start   sched.   share    mean     first  stuck on one  forced  "
	       "repins"
	       "  in any restarts attacker:\n"
	       "                                            slowest             repin   p50  p99      /s     "
	       " /s"
	       "     1 s      /s   ops/s   CPUs\n",
	       STUCK, a->cpus, a->figure[NO_ATTACK][OFF][KEPT].count, 100 / (1 + (double)STUCK / a->cpus));
	for (int attack = 0; attack < ATTACKS; attack++) {
		json_t *object = json_object();

		for (int mode = 0; mode < (attack == NO_ATTACK ? 1 : MODES); mode++) {
			line_print(a, attack, mode);
			json_object_set_new(object, mode_key[mode], case_json(a, attack, mode));
		}
		json_object_set_new(all, attack_name[attack], object);
	}
	printf("\n");
	json_object_set_new(a->b->result, "attack", all);
}

int bench_attack(const struct bench *b)
{
	struct attack_bench *a = calloc(1, sizeof(*a));
	unsigned rounds = b->rounds ? b->rounds : DEFAULT_ROUNDS;
	int rc = a ? 0 : -1;

	if (!a)
		return rc;
	a->b = b;
	scheduling_group_enter();
	/* "stack" needs a vCPU for each CPU but one, besides those that stall. */
	while (a->cpus < LOAD_PROCESSORS - STUCK + 1 && allowed_cpu(a->cpus) >= 0 &&
	       allowed_cpu(a->cpus) < OBSERVE_CPUS) {
		a->cpu[a->cpus] = allowed_cpu(a->cpus);
		a->cpus++;
	}
	if (affinity_set(a, a->cpus) || victim_start(a)) {
		free(a);
		return -1;
	}
	for (unsigned round = 0; !rc && round < rounds; round++)
		rc = round_run(a);
	observe_end(&a->victim);
	if (!rc)
		report(a);
	if (!rc && b->plot)
		plot_write(a);
	for (int attack = 0; attack < ATTACKS; attack++)
		for (int mode = 0; mode < MODES; mode++)
			for (int f = 0; f < FIGURES; f++)
				samples_free(&a->figure[attack][mode][f]);
	free(a);
	return rc;
}
