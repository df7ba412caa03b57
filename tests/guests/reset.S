/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resets the machine with its third instruction: what the start-up benchmark runs. */
#include "pvh.h"

	.text
	.code32
	.globl pvh_start
pvh_start:
	movb $0xfe, %al		/* i8042: pulse output line 0, the processor's reset */
	outb %al, $0x64
1:	hlt
	jmp 1b

	.section .note.GNU-stack, "", @progbits
