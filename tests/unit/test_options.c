/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: what is accepted, and that everything else gets status 1 and one line that names the option. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "vmm/options.h"

static struct options o;
static struct failure f;

/* Parses "dvmm" + words, which are separated by single spaces. */
static int parse(const char *line)
{
	static char words[512];
	char *argv[40] = {"dvmm"}, *save = NULL;
	int argc = 1;

	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	memset(&f, 0, sizeof(f));
	return options_parse(&o, argc, argv, &f);
}

START_TEST(defaults)
{
	ck_assert_int_eq(parse("--kernel k"), 0);
	ck_assert_str_eq(o.kernel, "k");
	ck_assert_ptr_null(o.initrd);
	ck_assert_str_eq(o.cmdline, "console=ttyS0");
	ck_assert_uint_eq(o.mem_bytes, 512u << 20);
	ck_assert_uint_eq(o.cpus, 1);
	ck_assert_uint_eq(o.disks, 0);
	ck_assert(!o.in_process);
	ck_assert(!o.chaos);
	ck_assert(!o.testdev);
	ck_assert(o.kaslr);
	ck_assert(o.published && o.posted);
	ck_assert_int_eq(o.handoff, WANT_AUTO);
	ck_assert_str_eq(o.pin, "auto");
	ck_assert_uint_eq(o.quantum_ms, 10);
	ck_assert_uint_eq(o.max_quanta, 100);
}
END_TEST

START_TEST(everything)
{
	ck_assert_int_eq(parse("--kernel k --initrd i --mem 3G --cpus 16 --disk a --disk b,ro --emulation in-process "
			       "--handoff spin --pin 0:1 --quantum 5 --max-quanta 7 --stats s --log-level debug --published off --posted off"), 0);
	ck_assert(!o.published && !o.posted);
	ck_assert_uint_eq(o.mem_bytes, 3ull << 30);
	ck_assert_uint_eq(o.cpus, 16);
	ck_assert_uint_eq(o.disks, 2);
	ck_assert_str_eq(o.disk[0].path, "a");
	ck_assert(!o.disk[0].read_only);
	ck_assert_str_eq(o.disk[1].path, "b");
	ck_assert(o.disk[1].read_only);
	ck_assert(o.in_process);
	ck_assert_int_eq(o.handoff, WANT_SPIN);
	ck_assert_uint_eq(o.quantum_ms, 5);
	ck_assert_uint_eq(o.max_quanta, 7);
	ck_assert_int_eq(o.log_level, LOG_DEBUG);
}
END_TEST

static const struct {
	const char *text;
	uint64_t bytes;
} sizes[] = {
	{"16", 16ull << 20}, {"16M", 16ull << 20}, {"16384K", 16ull << 20}, {"1G", 1ull << 30}, {"5120M", 5ull << 30},
	{"20480K", 20ull << 20},
};

START_TEST(memory_sizes)
{
	char line[64];

	snprintf(line, sizeof(line), "--kernel k --mem %s", sizes[_i].text);
	ck_assert_int_eq(parse(line), 0);
	ck_assert_uint_eq(o.mem_bytes, sizes[_i].bytes);
}
END_TEST

/* A wrong command line, and a word that the message must contain. */
static const char *const wrong[][2] = {
	{"", "--kernel"},
	{"--kernel", "--kernel"},
	{"--kernel k extra", "extra"},
	{"--kernel k --bogus", "--bogus"},
	{"--kernel k --kernel k", "--kernel"},
	{"--kernel k --mem 0", "--mem"},
	{"--kernel k --mem 3M", "--mem"},
	{"--kernel k --mem -1G", "--mem"},
	{"--kernel k --mem 12Q", "--mem"},
	{"--kernel k --mem 1GG", "--mem"},
	{"--kernel k --mem 99999999999999999999G", "--mem"},
	{"--kernel k --mem 18446744073709551615G", "--mem"},
	{"--kernel k --mem 16777217K", NULL}, /* odd, but a multiple of 4K it is not */
	{"--kernel k --cpus 0", "--cpus"},
	{"--kernel k --cpus 17", "--cpus"},
	{"--kernel k --cpus 10000", "--cpus"},
	{"--kernel k --cpus 2x", "--cpus"},
	{"--kernel k --cpus +2", "--cpus"},
	{"--kernel k --emulation both", "--emulation"},
	{"--kernel k --handoff slow", "--handoff"},
	{"--kernel k --quantum 0", "--quantum"},
	{"--kernel k --max-quanta many", "--max-quanta"},
	{"--kernel k --log-level loud", "--log-level"},
	{"--kernel k --disk ,ro", NULL}, /* a file named ",ro" */
	{"--kernel k --cpus 2 --cpus 2", "--cpus"},
	{"--kernel k --chaos --chaos", "--chaos"},
	{"--kernel k --chaos --emulation in-process", "--chaos"},
	{"--kernel k --chaos --testdev", "--testdev"},
	{"--kernel k --testdev --testdev", "--testdev"},
	{"--kernel k --kaslr maybe", "--kaslr maybe"},
	{"--kernel k --kaslr", "--kaslr"},
};

START_TEST(refusals)
{
	int err = parse(wrong[_i][0]);

	if (!strcmp(wrong[_i][0], "--kernel k --disk ,ro")) {
		ck_assert_int_eq(err, 0);
		return;
	}
	ck_assert_int_eq(err, -1);
	ck_assert_int_eq(f.status, EXIT_USAGE);
	ck_assert_ptr_null(strchr(f.text, '\n'));
	if (wrong[_i][1])
		ck_assert_msg(strstr(f.text, wrong[_i][1]), "\"%s\" does not name %s", f.text, wrong[_i][1]);
}
END_TEST

START_TEST(too_many_disks)
{
	char line[512] = "--kernel k";

	for (int i = 0; i < MACHINE_MAX_DISKS; i++)
		strncat(line, " --disk d", sizeof(line) - strlen(line) - 1);
	ck_assert_int_eq(parse(line), 0);
	strncat(line, " --disk d", sizeof(line) - strlen(line) - 1);
	ck_assert_int_eq(parse(line), -1);
	ck_assert_ptr_nonnull(strstr(f.text, "--disk"));
}
END_TEST

START_TEST(actions)
{
	ck_assert_int_eq(parse("--help"), 0);
	ck_assert_int_eq(o.action, ACTION_HELP);
	ck_assert_int_eq(parse("--version"), 0);
	ck_assert_int_eq(o.action, ACTION_VERSION);
	ck_assert_int_eq(parse("--check-host"), 0);
	ck_assert_int_eq(o.action, ACTION_CHECK_HOST);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("options");
	TCase *t = tcase_create("options");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, defaults);
	tcase_add_test(t, everything);
	tcase_add_loop_test(t, memory_sizes, 0, sizeof(sizes) / sizeof(sizes[0]));
	tcase_add_loop_test(t, refusals, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test(t, too_many_disks);
	tcase_add_test(t, actions);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
