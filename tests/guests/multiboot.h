/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clang-format off */
/*
 * A multiboot 1 guest in 32-bit code: prints what it was told and ends with 0 at the debug-exit port. The
 * file that includes this defines HEADER_FLAGS and what the header has behind its checksum.
 */
#define MAGIC		0x1badb002
#define IN_EAX		0x2badb002
#define INFO_FLAGS	0
#define INFO_UPPER	8
#define INFO_CMDLINE	16
#define INFO_MODULES	20
#define INFO_MODULE	24
#define INFO_MAP_BYTES	44
#define WANTED_FLAGS	0x4d	/* memory, command line, modules, memory map */
#define COM1		0x3f8
#define DEBUG_EXIT	0xf4

	.text
	.code32
	.globl pvh_start	/* what the linker script calls the entry */
header:
	.long MAGIC
	.long HEADER_FLAGS
	.long -(MAGIC + HEADER_FLAGS)
	HEADER_ADDRESSES

pvh_start:
	movl $stack_top, %esp
	cmpl $IN_EAX, %eax
	jne failed
	movl %ebx, %ebp
	movl INFO_FLAGS(%ebp), %eax
	andl $WANTED_FLAGS, %eax
	cmpl $WANTED_FLAGS, %eax
	jne failed
	cmpl $0, bss_word		/* cleared by the loader */
	jne failed

	movl INFO_CMDLINE(%ebp), %esi
	movl %esi, %ecx			/* up to its end */
1:	cmpb $0, (%ecx)
	je 2f
	incl %ecx
	jmp 1b
2:	call print

	cmpl $1, INFO_MODULES(%ebp)
	jne failed
	movl INFO_MODULE(%ebp), %eax
	movl (%eax), %esi
	movl 4(%eax), %ecx
	call print

	/* As many 'm' as the memory map has entries, and whether the last one ends where mem_upper does. */
	movl INFO_MAP_BYTES(%ebp), %edi
	movl INFO_MAP_BYTES + 4(%ebp), %ebx
3:	movb $'m', %al
	call put
	movl 4(%ebx), %eax
	addl 12(%ebx), %eax		/* its end */
	movl (%ebx), %edx
	addl $4, %edx			/* the size does not count itself */
	addl %edx, %ebx
	subl %edx, %edi
	ja 3b
	jb failed
	shrl $10, %eax
	subl $1024, %eax
	cmpl %eax, INFO_UPPER(%ebp)
	jne failed
	movb $'\n', %al
	call put
	xorl %eax, %eax
	jmp end
failed:
	movl $1, %eax
end:	movw $DEBUG_EXIT, %dx
	outl %eax, %dx
	hlt

/* Prints [esi, ecx) and a newline. */
print:	cmpl %ecx, %esi
	jae 4f
	movb (%esi), %al
	call put
	incl %esi
	jmp print
4:	movb $'\n', %al
put:	movw $COM1, %dx
	outb %al, %dx
	ret

code_end:
	.bss
	.balign 16
bss_word:
	.skip 1024
stack_top:
	.section .note.GNU-stack, "", @progbits
