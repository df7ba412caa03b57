/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of a unit test's main(): runs the suite, and tells by the exit status how that went. */
#ifndef DVMM_TESTS_RUN_SUITE_H
#define DVMM_TESTS_RUN_SUITE_H

#include <check.h>
#include <stdlib.h>

static inline int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
