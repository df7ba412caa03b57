/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: the command line, the syntax of --pin for an imagined host, and lists of CPUs. The operator is
 * not an attacker, but what he wrote may have come from somebody else's configuration.
 *
 * The input: one byte chooses; the rest is words, each ended by a line feed.
 */
#include "sched/placement.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/options.h"

#define WORDS 32

static const struct topology *host(void)
{
	static struct topology_cpu cpu[5] = {
		{0, 0, 0, 2}, {1, 0, 1, 2}, {2, 1, 0, 2}, {3, 1, 1, 2}, {70, 2, 0, 1}};
	static const struct topology t = {.count = 5, .cores = 3, .cpu = cpu};

	return &t;
}

static void check_pin(const char *text, unsigned vcpus)
{
	struct placement_request want = {.topology = host(), .vcpus = vcpus};
	struct placement p;
	char error[80];

	if (placement_pin_parse(text, host(), vcpus, &want.pin, error, sizeof(error))) {
		fuzz_require(memchr(error, '\0', sizeof(error)) && *error);
		return;
	}
	for (unsigned wish = 0; wish < 3; wish++) {
		want.wish = (enum placement_wish)wish;
		fuzz_require(placement_choose(&want, &p) == 0);
		for (unsigned i = 0; i < vcpus; i++)
			fuzz_require(p.vcpu_cpu[i] == -1 || topology_index(host(), p.vcpu_cpu[i]) >= 0);
	}
}

static void check_list(const char *text)
{
	int cpu[16], n = cpu_list_parse(text, cpu, 16);

	for (int i = 0; i < n && i < 16; i++)
		fuzz_require(cpu[i] >= 0 && cpu[i] < TOPOLOGY_CPU_LIMIT);
}

/* The only copies that options_parse() makes: they live as long as dvmm does. */
static void forget(const struct options *o)
{
	for (uint32_t i = 0; i < o->disks; i++)
		if (o->disk[i].read_only)
			free((char *)o->disk[i].path);
}

static void check_command_line(char *text)
{
	char *argv[WORDS + 2] = {(char *)"dvmm"};
	struct failure f = {0};
	struct options o;
	int argc = 1;

	for (char *word = text, *end; *word && argc <= WORDS; word = end) {
		end = word + strcspn(word, "\n");
		if (*end)
			*end++ = '\0';
		argv[argc++] = word;
	}
	if (options_parse(&o, argc, argv, &f)) {
		fuzz_require(f.status == EXIT_USAGE && *f.text);
		forget(&o);
		return;
	}
	fuzz_require(o.cpus >= 1 && o.cpus <= MACHINE_MAX_VCPUS && o.disks <= MACHINE_MAX_DISKS);
	fuzz_require(o.mem_bytes >= 16ull << 20 && o.mem_bytes % 4096 == 0);
	check_pin(o.pin, o.cpus);
	forget(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size < 1)
		return 0;
	text = malloc(size);
	fuzz_require(text);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] & 1)
		check_pin(text, 1u + (data[0] >> 4));
	else if (data[0] & 2)
		check_list(text);
	else
		check_command_line(text);
	free(text);
	return 0;
}
