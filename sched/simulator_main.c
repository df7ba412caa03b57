/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simulator [--json FILE] [--seed N] [--seconds N] [--max-quanta N] [--repins N] [--burst N] [SCENARIO...]
 *
 * Every scenario runs with the mechanism off and on, from the same seed; the same seed gives the same
 * figures. A share above 100 % is possible: CPUs that are now full and now empty give more than ones that are
 * always half full. Ends with status 1 if a limit was broken: more moves of a VM in some second than the
 * bucket promises, a move to a CPU that is not allowed or the same one, an operation completed by force
 * before N or after N + 2 quanta.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/simulator.h"

static const struct scenario scenarios[] = {
	{"honest", "long but legitimate operations", HONEST, 256, 16, 1024, 0},
	{"stack", "one guest stalls all vCPUs on one CPU", STALL, 1, 16, 8, 0},
	{"stack-two", "the same with two CPUs, where every move is to the other one", STALL, 1, 8, 2, 0},
	{"stack-many", "256 guests stall all vCPUs on the same CPU", STALL, 256, 16, 1024, 0},
	{"steer", "one guest tries to gather its vCPUs on a CPU of its choice", STEER, 1, 16, 8, 0},
	{"steer-two", "the same with two CPUs", STEER, 1, 8, 2, 0},
	{"steer-many", "256 guests try to gather on the same CPU", STEER, 256, 16, 1024, 0},
	{"storm", "N = 1: as many moves as stalls can cause", STALL, 256, 16, 1024, 1},
	{"under", "one guest, operations one quantum short of N on one CPU", UNDER, 1, 16, 8, 0},
	{"crash", "one guest kills its emulator with every request", CRASH, 1, 16, 8, 0},
	{"deaf", "one guest stalls a worker that does not give up", DEAF, 1, 16, 8, 0},
};
#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static void result_print(const char *mode, const struct result *r, unsigned seconds)
{
	char first[32] = "never";

	if (r->first_move_ns)
		snprintf(first, sizeof(first), "%.2f s", (double)r->first_move_ns / NS_PER_SECOND);
	printf("  %-3s %6u %5u %5u %5u  %7.1f%% %7.1f%%  %8s %8.1f %6u %8llu %8llu %5u\n", mode, r->peak,
	       r->p50, r->p99, r->most, 100 * r->worst, 100 * r->worst_late, first,
	       (double)r->moves / seconds, r->most_moves, (unsigned long long)r->forced,
	       (unsigned long long)r->restarts, r->ended);
}

static json_t *result_json(const struct result *r, unsigned seconds)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:f, s:f, s:I, s:f, s:i, s:I, s:I, s:I, s:i, s:b}",
			 "stuck_peak", (int)r->peak, "stuck_settled_p50", (int)r->p50, "stuck_settled_p99",
			 (int)r->p99, "stuck_settled_max", (int)r->most, "victim_worst_of_fair", r->worst,
			 "victim_worst_of_fair_settled", r->worst_late, "first_repin_ns",
			 (json_int_t)r->first_move_ns, "repins_per_second", (double)r->moves / seconds,
			 "repins_of_one_vm_in_any_second", (int)r->most_moves, "forced",
			 (json_int_t)r->forced, "completed", (json_int_t)r->completed, "restarts",
			 (json_int_t)r->restarts, "vms_ended", (int)r->ended, "limit_broken", r->broken);
}

static bool scenario_wanted(const struct scenario *sc, char **names)
{
	bool wanted = !*names;

	for (; *names; names++)
		wanted |= !strcmp(*names, sc->name);
	return wanted;
}

static bool scenario_known(const char *name)
{
	for (size_t i = 0; i < SCENARIOS; i++)
		if (!strcmp(name, scenarios[i].name))
			return true;
	return false;
}

enum { SEED, SECONDS, MAX_QUANTA, REPINS, BURST, SETTINGS, JSON };

static struct setting {
	const char *name;
	unsigned long least, most, value;
} setting[SETTINGS] = {
	[SEED] = {"seed", 0, ULONG_MAX, 1},
	[SECONDS] = {"seconds", 2, 3600, 20},
	[MAX_QUANTA] = {"max-quanta", 2, 1000000, 100},
	[REPINS] = {"repins", 0, 1000000, 20},
	[BURST] = {"burst", 0, 1000000, 16},
};

static bool setting_parse(struct setting *to, const char *text)
{
	char *end;

	errno = 0;
	to->value = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && to->value >= to->least &&
	       to->value <= to->most;
}

static int usage(void)
{
	fprintf(stderr, "Usage: simulator [--json FILE] [--seed N] [--seconds N] [--max-quanta N] "
			"[--repins N] [--burst N] [SCENARIO...]\nScenarios:");
	for (size_t i = 0; i < SCENARIOS; i++)
		fprintf(stderr, " %s", scenarios[i].name);
	fprintf(stderr, "\n");
	return 1;
}

static bool arguments_parse(int argc, char **argv, const char **json)
{
	struct option options[SETTINGS + 2] = {[SETTINGS] = {"json", required_argument, NULL, JSON}};
	int opt;

	for (int i = 0; i < SETTINGS; i++)
		options[i] = (struct option){setting[i].name, required_argument, NULL, i};
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == JSON)
			*json = optarg;
		else if (opt >= SETTINGS || !setting_parse(&setting[opt], optarg))
			return false;
	}
	for (char **name = argv + optind; *name; name++)
		if (!scenario_known(*name))
			return false;
	return true;
}

/* Both runs of one scenario; its object for the JSON result. */
static json_t *scenario_report(const struct scenario *sc, bool *broken)
{
	const struct watchdog_config config = {
		.quantum_ns = QUANTUM_NS,
		.max_quanta = sc->max_quanta ? sc->max_quanta : (uint32_t)setting[MAX_QUANTA].value,
		.repins_per_second = (uint32_t)setting[REPINS].value,
		.repin_burst = (uint32_t)setting[BURST].value,
		.restarts = 10,
		.restart_window_ns = 10 * NS_PER_SECOND,
	};
	const unsigned seconds = (unsigned)setting[SECONDS].value;
	json_t *object = json_object();

	printf("%s: %s (%u x %u vCPUs, %u CPUs)\n", sc->name, sc->what, sc->vms, sc->vcpus, sc->cpus);
	for (int on = 0; on < 2; on++) {
		const struct result r = scenario_run(sc, &config, on, setting[SEED].value, seconds);

		result_print(on ? "on" : "off", &r, seconds);
		json_object_set_new(object, on ? "on" : "off", result_json(&r, seconds));
		*broken |= r.broken;
	}
	return object;
}

static const char legend[] =
	"  peak               operations under way on one CPU, at any time\n"
	"  p50, p99, most     the same, over all CPUs and steps of the second half of the time\n"
	"  worst, settled     victim's part of its fair share on the worst CPU, whole time and second half\n"
	"  first, pins/s      time to the first re-pin, re-pins a second of all VMs\n"
	"  in 1 s             the most re-pins of one VM in any second\n\n"
	"        peak   p50   p99  most    worst  settled    first    pins/s in 1 s   forced restarts "
	"ended\n";

int main(int argc, char **argv)
{
	json_t *all = json_object();
	const char *json = NULL;
	bool broken = false;
	int status = 0;

	if (!arguments_parse(argc, argv, &json)) {
		json_decref(all);
		return usage();
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	fputs(legend, stdout);
	for (size_t i = 0; i < SCENARIOS; i++)
		if (scenario_wanted(&scenarios[i], argv + optind))
			json_object_set_new(all, scenarios[i].name, scenario_report(&scenarios[i], &broken));
	if (broken) {
		fprintf(stderr, "simulator: a limit that the policy promises was broken\n");
		status = 1;
	}
	if (json &&
	    json_dump_file(all, json, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6))) {
		fprintf(stderr, "simulator: %s: cannot be written\n", json);
		status = 1;
	}
	json_decref(all);
	return status;
}
