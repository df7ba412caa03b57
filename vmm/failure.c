/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/failure.h"

#include <stdarg.h>
#include <stdio.h>

int fail_with(struct failure *f, int status, const char *format, ...)
{
	va_list args;

	f->status = status;
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
	return -1;
}
