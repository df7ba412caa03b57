/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One table names every option, whether it takes a value, and the function that understands it; getopt_long's
 * table is made from it. An option given twice is an error unless the table says that it may repeat.
 */
#include "vmm/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_MEM (16ull << 20)
#define MAX_MEM                                                                                              \
	(1ull << 44) /* what fits the guest-physical addresses we lay out; the host decides earlier          \
		      */

const char options_help[] = "Usage: dvmm --kernel FILE [OPTION]...\n"
			    "Runs a guest under KVM; every device model lives in a sandboxed process.\n"
			    "\n"
			    "Guest:\n"
			    "  --kernel FILE          bzImage, ELF with a PVH entry, or multiboot image\n"
			    "  --initrd FILE          initial RAM disk\n"
			    "  --cmdline STR          kernel command line (default: console=ttyS0)\n"
			    "  --kaslr on|off         random addresses for the kernel (default on)\n"
			    "  --mem SIZE[K|M|G]      memory (default 512M; a bare number is MiB)\n"
			    "  --cpus N               virtual CPUs, 1 to 16 (default 1)\n"
			    "  --disk PATH[,ro]       raw file or block device; repeatable\n"
			    "\n"
			    "Emulation:\n"
			    "  --emulation MODE       sandboxed (default) or in-process\n"
			    "  --handoff MODE         auto (default), same-cpu or spin\n"
			    "  --pin auto|none|VCPU:CPU[,...]\n"
			    "                         host CPU of each vCPU (default auto)\n"
			    "  --published on|off     reads that need no hand-off (default on)\n"
			    "  --posted on|off        writes that are not waited for (default on)\n"
			    "  --quantum MS           unit in which operations are timed (default 10)\n"
			    "  --max-quanta N         quanta that an operation may take (default 100)\n"
			    "  --on-stall ACTION      and then: repin (default), restart or kill\n"
			    "  --repin-limit N        vCPUs moved per second at most (default 10)\n"
			    "  --max-restarts N       emulators replaced in a minute at most (default 10)\n"
			    "  --on-unknown-insn ud|stop\n"
			    "                         what neither KVM nor the emulator knows (default ud)\n"
			    "  --insn-batch N         instructions emulated in one go at most (default 64)\n"
			    "  --emulator FILE        another dvmm-emulator than the installed one\n"
			    "  --chaos                a device that misbehaves on command; for tests only\n"
			    "  --testdev              QEMU's test devices and exit status, for test images\n"
			    "  --dump-state FILE      write the devices' last state; for tests only\n"
			    "\n"
			    "Information:\n"
			    "  --stats FILE           write statistics as JSON when the guest ends\n"
			    "  --log-level LEVEL      error, warn (default), info or debug\n"
			    "  --check-host           say what this host offers and what dvmm does about it\n"
			    "  --version, --help\n"
			    "\n"
			    "On a terminal, Ctrl-A X ends the guest. Exit status: 0 guest powered off or\n"
			    "rebooted, 1 usage or unusable file, 2 the host cannot, 3 guest crashed,\n"
			    "4 emulator lost.\n"
			    "The manual page, dvmm(1), has the details.\n";

/* A decimal number, nothing else, in [min, max]. */
static bool parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *n, const char **end)
{
	char *stop;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*n = strtoull(s, &stop, 10);
	if (end)
		*end = stop;
	return !errno && (end || !*stop) && *n >= min && *n <= max;
}

static int parse_u32(const char *name, const char *s, uint32_t min, uint32_t max, uint32_t *to,
		     struct failure *f)
{
	uint64_t n;

	if (!parse_number(s, min, max, &n, NULL))
		return fail_with(f, EXIT_USAGE, "%s %.40s: must be a number from %u to %u", name, s, min,
				 max);
	*to = (uint32_t)n;
	return 0;
}

static int set_mem(struct options *o, char *s, struct failure *f)
{
	const char *unit;
	uint64_t n, scale = 1ull << 20;

	if (!parse_number(s, 0, UINT64_MAX, &n, &unit) || (*unit && (!strchr("KMG", *unit) || unit[1])))
		return fail_with(f, EXIT_USAGE, "--mem %.40s: not a size; write for example 512M or 2G", s);
	if (*unit)
		scale = *unit == 'K' ? 1ull << 10 : *unit == 'M' ? 1ull << 20 : 1ull << 30;
	if (n > MAX_MEM / scale)
		return fail_with(f, EXIT_USAGE, "--mem %.40s: more than a guest can have (16384G)", s);
	o->mem_bytes = n * scale;
	if (o->mem_bytes < MIN_MEM)
		return fail_with(f, EXIT_USAGE, "--mem %.40s: too little; a guest needs at least 16M", s);
	if (o->mem_bytes % 4096)
		return fail_with(f, EXIT_USAGE, "--mem %.40s: must be a multiple of 4K", s);
	return 0;
}

/* The words stay as they are: dvmm-in-process gets them once more. A path without ",ro" is a copy, for as long as we live. */
static int set_disk(struct options *o, char *s, struct failure *f)
{
	size_t len = strlen(s);
	bool read_only = len > 3 && !strcmp(s + len - 3, ",ro");

	if (o->disks == MACHINE_MAX_DISKS)
		return fail_with(f, EXIT_USAGE, "--disk %.80s: too many; at most %d disks", s,
				 MACHINE_MAX_DISKS);
	if (!*s)
		return fail_with(f, EXIT_USAGE,
				 "--disk: a path is missing; write --disk PATH or --disk PATH,ro");
	if (read_only && !(s = strndup(s, len - 3)))
		return fail_with(f, EXIT_HOST, "out of memory");
	o->disk[o->disks++] = (struct disk_option){.path = s, .read_only = read_only};
	return 0;
}

static int set_emulation(struct options *o, char *s, struct failure *f)
{
	o->in_process = !strcmp(s, "in-process");
	if (o->in_process || !strcmp(s, "sandboxed"))
		return 0;
	return fail_with(f, EXIT_USAGE, "--emulation %.40s: must be sandboxed or in-process", s);
}

static int set_handoff(struct options *o, char *s, struct failure *f)
{
	static const char *const names[] = {"auto", "same-cpu", "spin"};

	for (int i = 0; i < 3; i++) {
		o->handoff = (enum options_handoff)i;
		if (!strcmp(s, names[i]))
			return 0;
	}
	return fail_with(f, EXIT_USAGE, "--handoff %.40s: must be auto, same-cpu or spin", s);
}

static int set_log_level(struct options *o, char *s, struct failure *f)
{
	int level = log_level_parse(s);

	o->log_level = (enum log_level)level;
	return level >= 0
		       ? 0
		       : fail_with(f, EXIT_USAGE, "--log-level %.40s: must be error, warn, info or debug", s);
}

static int parse_switch(const char *name, const char *s, bool *to, struct failure *f)
{
	*to = !strcmp(s, "on");
	if (*to || !strcmp(s, "off"))
		return 0;
	return fail_with(f, EXIT_USAGE, "%s %.40s: must be on or off", name, s);
}

static int set_kaslr(struct options *o, char *s, struct failure *f)
{
	return parse_switch("--kaslr", s, &o->kaslr, f);
}
static int set_published(struct options *o, char *s, struct failure *f)
{
	return parse_switch("--published", s, &o->published, f);
}

static int set_posted(struct options *o, char *s, struct failure *f)
{
	return parse_switch("--posted", s, &o->posted, f);
}

static int set_cpus(struct options *o, char *s, struct failure *f)
{
	return parse_u32("--cpus", s, 1, MACHINE_MAX_VCPUS, &o->cpus, f);
}
static int set_quantum(struct options *o, char *s, struct failure *f)
{
	return parse_u32("--quantum", s, 1, 10000, &o->quantum_ms, f);
}
static int set_max_quanta(struct options *o, char *s, struct failure *f)
{
	return parse_u32("--max-quanta", s, 1, 1000000, &o->max_quanta, f);
}

static int set_repin_limit(struct options *o, char *s, struct failure *f)
{
	return parse_u32("--repin-limit", s, 0, 1000, &o->repins_per_second, f);
}
static int set_max_restarts(struct options *o, char *s, struct failure *f)
{
	return parse_u32("--max-restarts", s, 0, WATCHDOG_MAX_RESTARTS, &o->max_restarts, f);
}

static int set_on_stall(struct options *o, char *s, struct failure *f)
{
	static const char *const names[] = {"repin", "restart", "kill"};

	for (int i = 0; i < 3; i++) {
		o->on_stall = (enum on_stall)i;
		if (!strcmp(s, names[i]))
			return 0;
	}
	return fail_with(f, EXIT_USAGE, "--on-stall %.40s: must be repin, restart or kill", s);
}

static int set_on_unknown_insn(struct options *o, char *s, struct failure *f)
{
	if (strcmp(s, "ud") && strcmp(s, "stop"))
		return fail_with(f, EXIT_USAGE, "--on-unknown-insn %.40s: must be ud or stop", s);
	o->on_unknown_insn = strcmp(s, "ud") ? UNKNOWN_INSN_STOP : UNKNOWN_INSN_UD;
	return 0;
}
static int set_insn_batch(struct options *o, char *s, struct failure *f)
{
	return parse_u32("--insn-batch", s, 1, 65536, &o->insn_batch, f);
}

/* Options whose value is kept as it is. */
#define STRING_OPTION(member)                                                                                \
	static int set_##member(struct options *o, char *s, struct failure *f)                               \
	{                                                                                                    \
		o->member = s;                                                                               \
		return *s ? 0 : fail_with(f, EXIT_USAGE, "--" #member ": its value is empty");               \
	}
STRING_OPTION(kernel)
STRING_OPTION(initrd)
STRING_OPTION(pin)
STRING_OPTION(stats)
STRING_OPTION(emulator)
static int set_dump_state(struct options *o, char *s, struct failure *f)
{
	o->dump_state = s;
	return *s ? 0 : fail_with(f, EXIT_USAGE, "--dump-state: its value is empty");
}

static int set_cmdline(struct options *o, char *s, struct failure *f)
{
	o->cmdline = s;
	return 0;
}

static int set_chaos(struct options *o, char *s, struct failure *f)
{
	o->chaos = true;
	return 0;
}

static int set_testdev(struct options *o, char *s, struct failure *f)
{
	o->testdev = true;
	return 0;
}

/* Options that are an action. */
#define ACTION_OPTION(name, value)                                                                           \
	static int set_##name(struct options *o, char *s, struct failure *f)                                 \
	{                                                                                                    \
		o->action = value;                                                                           \
		return 0;                                                                                    \
	}
ACTION_OPTION(help, ACTION_HELP)
ACTION_OPTION(version, ACTION_VERSION)
ACTION_OPTION(check_host, ACTION_CHECK_HOST)

static const struct {
	const char *name;
	int has_arg;
	bool repeats;
	int (*set)(struct options *o, char *value, struct failure *f);
} table[] = {
	{"kernel", required_argument, false, set_kernel},
	{"initrd", required_argument, false, set_initrd},
	{"cmdline", required_argument, false, set_cmdline},
	{"kaslr", required_argument, false, set_kaslr},
	{"mem", required_argument, false, set_mem},
	{"cpus", required_argument, false, set_cpus},
	{"disk", required_argument, true, set_disk},
	{"emulation", required_argument, false, set_emulation},
	{"handoff", required_argument, false, set_handoff},
	{"pin", required_argument, false, set_pin},
	{"published", required_argument, false, set_published},
	{"posted", required_argument, false, set_posted},
	{"quantum", required_argument, false, set_quantum},
	{"max-quanta", required_argument, false, set_max_quanta},
	{"on-stall", required_argument, false, set_on_stall},
	{"repin-limit", required_argument, false, set_repin_limit},
	{"max-restarts", required_argument, false, set_max_restarts},
	{"on-unknown-insn", required_argument, false, set_on_unknown_insn},
	{"insn-batch", required_argument, false, set_insn_batch},
	{"stats", required_argument, false, set_stats},
	{"emulator", required_argument, false, set_emulator},
	{"chaos", no_argument, false, set_chaos},
	{"testdev", no_argument, false, set_testdev},
	{"dump-state", required_argument, false, set_dump_state},
	{"log-level", required_argument, false, set_log_level},
	{"check-host", no_argument, false, set_check_host},
	{"version", no_argument, false, set_version},
	{"help", no_argument, false, set_help},
};
#define OPTIONS (sizeof(table) / sizeof(table[0]))

static int unknown_option(const char *arg, int opt, struct failure *f)
{
	if (opt == ':')
		return fail_with(f, EXIT_USAGE, "%.80s: a value is missing; see dvmm --help", arg);
	return fail_with(f, EXIT_USAGE, "%.80s: no such option; see dvmm --help", arg);
}

int options_parse(struct options *o, int argc, char **argv, struct failure *f)
{
	struct option longopts[OPTIONS + 1] = {0};
	bool seen[OPTIONS] = {false};
	int opt, index = -1;

	*o = (struct options){
		.cmdline = "console=ttyS0",
		.kaslr = true,
		.mem_bytes = 512ull << 20,
		.cpus = 1,
		.pin = "auto",
		.published = true,
		.posted = true,
		.quantum_ms = 10,
		.max_quanta = 100,
		.repins_per_second = 10,
		.max_restarts = 10,
		.insn_batch = 64,
		.log_level = LOG_WARN,
	};
	for (size_t i = 0; i < OPTIONS; i++)
		longopts[i] = (struct option){table[i].name, table[i].has_arg, NULL, 'L'};
	optind = 0;
	for (;;) {
		/* Of "-ab", getopt reports 'a' before it moves on; what it is looking at is what was wrong.
		 */
		const char *arg = argv[optind ? optind : 1];

		opt = getopt_long(argc, argv, "+:", longopts, &index);
		if (opt == -1)
			break;
		if (opt != 'L')
			return unknown_option(arg, opt, f);
		if (seen[index] && !table[index].repeats)
			return fail_with(f, EXIT_USAGE, "--%s: given twice; give it once", table[index].name);
		seen[index] = true;
		if (table[index].set(o, optarg, f))
			return -1;
	}
	if (optind < argc)
		return fail_with(f, EXIT_USAGE,
				 "%.80s: unexpected argument; the kernel is given with --kernel FILE",
				 argv[optind]);
	if (o->action == ACTION_RUN && !o->kernel)
		return fail_with(f, EXIT_USAGE, "--kernel FILE is missing; see dvmm --help");
	if (o->chaos && o->in_process)
		return fail_with(
			f, EXIT_USAGE,
			"--chaos: would take dvmm itself down with --emulation in-process; leave one out");
	if (o->chaos && o->testdev)
		return fail_with(f, EXIT_USAGE,
				 "--chaos and --testdev: too many devices for one machine; leave one out");
	return 0;
}
