/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Halts for ever with interrupts off; dvmm must be able to stop it. The '.' says that it has started. */
#include "pvh.h"

	.text
	.code32
	.globl pvh_start
pvh_start:
	cli
	movw $0x3f8, %dx
	movb $'.', %al
	outb %al, %dx
1:	hlt
	jmp 1b

	.section .note.GNU-stack, "", @progbits
