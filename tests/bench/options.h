/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of dvmm-bench. */
#ifndef DVMM_BENCH_OPTIONS_H
#define DVMM_BENCH_OPTIONS_H

#include "tests/bench/sections.h"

struct choice {
	struct plan plan;
	const char *json, *html; /* where the report goes */
	const char *other_dvmm;  /* or NULL */
	bool quick, says_only, rig, against_qemu;
	char **names;              /* of sections; ends with NULL */
	const char *passed_on[24]; /* with --rig: options for the other dvmm-bench */
};

/* Fills *c but for plan.bench, qemu and shortcuts. False after a line on stderr. */
bool options_parse(struct choice *c, int argc, char **argv);

#endif
