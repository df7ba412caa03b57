/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --check-host: whatever this host is like, the report has its form, agrees with the status and leaves
 * nothing behind. */
#include "config.h"

#include "vmm/checkhost.h"
#include "vmm/ringspeed.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned descriptors_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static bool starts_with(const char *line, const char *word)
{
	return !strncmp(line, word, strlen(word));
}

START_TEST(report_has_its_form)
{
	FILE *out = tmpfile();
	unsigned before, facts = 0;
	char line[1024] = "";
	int status;

	ck_assert_ptr_nonnull(out);
	before = descriptors_count();
	status = check_host(out);
	ck_assert_uint_eq(descriptors_count(), before);
	ck_assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);

	rewind(out);
	while (fgets(line, sizeof(line), out) && !starts_with(line, "verdict: ")) {
		ck_assert_msg(starts_with(line, "ok ") || starts_with(line, "slow ") ||
				      starts_with(line, "missing "),
			      "%s", line);
		ck_assert_ptr_nonnull(strchr(line, '\n'));
		facts++;
	}
	ck_assert_uint_ge(facts, 5);
	ck_assert_str_eq(starts_with(line, "verdict: ") ? "verdict" : line, "verdict");
	ck_assert_int_eq(status, strstr(line, "runs here natively") ? 0 : 2);
	ck_assert_ptr_null(fgets(line, sizeof(line), out));
	fclose(out);
}
END_TEST

START_TEST(ringspeed_wants_kvm)
{
	struct ringspeed speed;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(ringspeed_measure(-1, &speed), -EBADF);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ringspeed_measure(fd, &speed), -ENOTTY);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("checkhost");
	TCase *tcase = tcase_create("checkhost");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, report_has_its_form);
	tcase_add_test(tcase, ringspeed_wants_kvm);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
