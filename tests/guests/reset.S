/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resets the machine with its second instruction: what the start-up benchmark runs. A machine without an i8042,
 * QEMU's microvm, goes on to the debug-exit port. */
#include "pvh.h"

	.text
	.code32
	.globl pvh_start
pvh_start:
	movb $0xfe, %al		/* i8042: pulse output line 0, the processor's reset */
	outb %al, $0x64
	xorl %eax, %eax
	outb %al, $0xf4
1:	hlt
	jmp 1b

	.section .note.GNU-stack, "", @progbits
