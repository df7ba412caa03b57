/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A triple fault: an undefined instruction without an IDT to handle it, or the faults that follow. */
#include "pvh.h"

	.text
	.code32
	.globl pvh_start
pvh_start:
	lidt empty
	ud2
1:	hlt
	jmp 1b

	.data
	.balign 8
empty:
	.word 0
	.long 0

	.section .note.GNU-stack, "", @progbits
