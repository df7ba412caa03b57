/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of dvmm-bench. */
#include "tests/bench/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

static const char usage[] =
	"Usage: dvmm-bench [OPTION]... [SECTION]...\n"
	"Measures dvmm, sandboxed and in-process, on this host, and writes a report.\n"
	"Sections (default: all): pingpong latency startup memory restart disk\n"
	"operations boot\n"
	"\n"
	"  --quick              about a minute; wider intervals\n"
	"  --rounds N           rounds of each section (default 15; 7 with --quick,\n"
	"                       6 with --rig)\n"
	"  --samples N          accesses of each kind in a round, at most 2000\n"
	"                       (default 1000; 200 with --quick or --rig)\n"
	"  --against qemu       also QEMU's microvm on the same payloads and kernel,\n"
	"                       where it is installed\n"
	"  --kernel FILE        what boot starts; without it there is no boot\n"
	"  --initrd FILE        its initial RAM disk\n"
	"  --cmdline STR        its command line (default: console=ttyS0)\n"
	"  --boot-until TEXT    what its console says when it is done\n"
	"                       (default: \"as init process\")\n"
	"  --rig                run in a KVM host made of software, and boot Debian's\n"
	"                       kernel there; in a build directory only\n"
	"  --no-spin            leave out the hand-off by spinning\n"
	"  --json FILE          (default dvmm-bench.json)\n"
	"  --html FILE          (default dvmm-bench.html)\n"
	"  --dvmm FILE          another dvmm than the one beside dvmm-bench\n"
	"  --version, --help\n"
	"\n"
	"Exit status: 0 all was measured, 1 usage, a section that failed or a report that\n"
	"cannot be written, 2 the host cannot. The manual page, dvmm-bench(1), has the\n"
	"details.\n";

enum {
	OPT_QUICK = 1,
	OPT_ROUNDS,
	OPT_SAMPLES,
	OPT_AGAINST,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_CMDLINE,
	OPT_BOOT_UNTIL,
	OPT_RIG,
	OPT_NO_SPIN,
	OPT_JSON,
	OPT_HTML,
	OPT_DVMM,
	OPT_VERSION,
	OPT_HELP
};

static bool known(const char *name)
{
	for (size_t i = 0; i < SECTION_COUNT; i++)
		if (!strcmp(name, section_table[i].name))
			return true;
	return false;
}

static bool number(const char *option, const char *s, unsigned most, unsigned *to)
{
	char *end;
	unsigned long value = strtoul(s, &end, 10);

	*to = (unsigned)value;
	if (*s >= '0' && *s <= '9' && !*end && value >= 1 && value <= most)
		return true;
	fprintf(stderr, "dvmm-bench: %s %.40s: must be a number from 1 to %u\n", option, s, most);
	return false;
}

static bool take_file(struct choice *c, int option, const char *value)
{
	struct plan *p = &c->plan;

	if (!*value) {
		fprintf(stderr, "dvmm-bench: an option's value is empty\n");
		return false;
	}
	if (option == OPT_KERNEL)
		p->kernel = value;
	else if (option == OPT_INITRD)
		p->initrd = value;
	else if (option == OPT_BOOT_UNTIL)
		p->boot_until = value;
	else if (option == OPT_JSON)
		c->json = value;
	else if (option == OPT_HTML)
		c->html = value;
	else
		c->other_dvmm = value;
	return true;
}

static bool take(struct choice *c, int option, const char *value)
{
	struct plan *p = &c->plan;

	switch (option) {
	case OPT_QUICK:
		c->quick = true;
		return true;
	case OPT_ROUNDS:
		return number("--rounds", value, 1000, &p->rounds);
	case OPT_SAMPLES:
		return number("--samples", value, 2000, &p->samples);
	case OPT_AGAINST:
		c->against_qemu = true;
		if (!strcmp(value, "qemu"))
			return true;
		fprintf(stderr, "dvmm-bench: --against %.40s: must be qemu\n", value);
		return false;
	case OPT_CMDLINE:
		p->cmdline = value;
		return true;
	case OPT_RIG:
		c->rig = true;
		return true;
	case OPT_NO_SPIN:
		p->spin = false;
		return true;
	case OPT_VERSION:
		c->says_only = true;
		puts("dvmm-bench " PACKAGE_VERSION);
		return true;
	case OPT_HELP:
		c->says_only = true;
		fputs(usage, stdout);
		return true;
	case '?':
		return false;
	default:
		return take_file(c, option, value);
	}
}

static bool names_known(const struct choice *c)
{
	for (char **name = c->names; *name; name++) {
		if (!known(*name)) {
			fprintf(stderr, "dvmm-bench: %s: no such section\n", *name);
			return false;
		}
		if (!strcmp(*name, "boot") && !c->plan.kernel && !c->rig) {
			fprintf(stderr, "dvmm-bench: boot needs --kernel\n");
			return false;
		}
	}
	return true;
}

/* What was asked of this program, for the one in the rig. */
static void pass_on(struct choice *c)
{
	static char rounds[16], samples[16];
	const char **to = c->passed_on;

	snprintf(rounds, sizeof(rounds), "%u", c->plan.rounds);
	snprintf(samples, sizeof(samples), "%u", c->plan.samples);
	*to++ = "--rounds";
	*to++ = rounds;
	*to++ = "--samples";
	*to++ = samples;
	if (c->quick)
		*to++ = "--quick";
	if (c->against_qemu) {
		*to++ = "--against";
		*to++ = "qemu";
	}
	for (char **name = c->names; *name && to < c->passed_on + 23; name++)
		*to++ = *name;
	/* The disk's guest polls, and would measure time slices of the CPU that the rig has: only if named.
	 */
	for (size_t i = 0; !*c->names && i < SECTION_COUNT; i++)
		if (section_table[i].run != section_disk)
			*to++ = section_table[i].name;
	*to = NULL;
}

/* The rig has a kernel of its own, and the programs of the build directory. */
static bool rig_alone(const struct choice *c)
{
	if (!c->rig || (!c->plan.kernel && !c->plan.initrd && !c->other_dvmm))
		return true;
	fprintf(stderr, "dvmm-bench: --rig cannot be combined with --kernel, --initrd or --dvmm\n");
	return false;
}

bool options_parse(struct choice *c, int argc, char **argv)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, OPT_QUICK},
		{"rounds", required_argument, NULL, OPT_ROUNDS},
		{"samples", required_argument, NULL, OPT_SAMPLES},
		{"against", required_argument, NULL, OPT_AGAINST},
		{"kernel", required_argument, NULL, OPT_KERNEL},
		{"initrd", required_argument, NULL, OPT_INITRD},
		{"cmdline", required_argument, NULL, OPT_CMDLINE},
		{"boot-until", required_argument, NULL, OPT_BOOT_UNTIL},
		{"rig", no_argument, NULL, OPT_RIG},
		{"no-spin", no_argument, NULL, OPT_NO_SPIN},
		{"json", required_argument, NULL, OPT_JSON},
		{"html", required_argument, NULL, OPT_HTML},
		{"dvmm", required_argument, NULL, OPT_DVMM},
		{"version", no_argument, NULL, OPT_VERSION},
		{"help", no_argument, NULL, OPT_HELP},
		{0},
	};
	struct plan *p = &c->plan;
	int option;

	*c = (struct choice){
		.plan = {.cmdline = "console=ttyS0", .boot_until = "as init process", .spin = true},
		.json = "dvmm-bench.json",
		.html = "dvmm-bench.html",
	};
	while (!c->says_only && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!take(c, option, optarg))
			return false;
	c->names = argv + optind;
	if (!c->says_only && (!names_known(c) || !rig_alone(c)))
		return false;
	p->rounds = p->rounds ? p->rounds : c->quick ? 7 : c->rig ? 6 : 15;
	p->samples = p->samples ? p->samples : c->quick || c->rig ? 200 : 1000;
	p->kills = c->quick ? 5 * p->rounds : 20 * p->rounds;
	p->load_ms = c->quick ? 200 : 1000;
	p->boot_rounds = c->quick ? 1 : p->rounds < 6 ? p->rounds : 6;
	p->spin = p->spin && allowed_cpu(1) >= 0;
	pass_on(c);
	return true;
}
