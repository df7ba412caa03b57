/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "vmm/in_process.h"

const struct in_process *const in_process = NULL;

int in_process_exec(char **argv, struct failure *f)
{
	char buffer[PATH_MAX];
	const char *path = program_find("dvmm-in-process", buffer);

	execv(path, argv);
	return fail_with(f, EXIT_HOST, "%.200s: %s; install dvmm completely, or use --emulation=sandboxed", path,
			 strerror(errno));
}
