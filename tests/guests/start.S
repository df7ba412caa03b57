/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the PVH entry to C: 32-bit protected mode without paging, EBX = struct hvm_start_info, nothing else
 * promised. Goes to long mode, because only there is all memory in reach and an access can be 8 bytes wide.
 *
 * The page tables (identity map of the first 4 GiB in 2 MiB pages) are made by the assembler, not at run
 * time: where KVM emulates ring 0, 2048 entries written in a loop would take longer than most of the guests.
 */
#include "pvh.h"

#define CR0_PE	  0x00000001
#define CR0_PG	  0x80000000
#define CR4_PAE	  0x20
#define MSR_EFER  0xc0000080
#define EFER_LME  8	/* bit number */
#define PRESENT_WRITABLE 0x3
#define LARGE_PAGE 0x80

#define CODE64 0x08
#define DATA   0x10

	.text
	.code32
	.globl pvh_start
pvh_start:
	cli
	cld
	movl $stack_top, %esp
	movl %ebx, %edi
	lgdt gdt_pointer
	movl $pml4, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $MSR_EFER, %ecx
	rdmsr
	btsl $EFER_LME, %eax
	wrmsr
	movl %cr0, %eax
	orl $(CR0_PG | CR0_PE), %eax
	movl %eax, %cr0
	ljmp $CODE64, $start64

	.code64
start64:
	movl $DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $stack_top, %esp	/* the upper halves are undefined after the switch: SDM vol. 1, 3.4.1.1 */
	movl %edi, %edi
	call lib_start
	call guest_main
	movl %eax, %edi
	call guest_exit

/*
 * Interrupt entries for vectors 0 to 63. Each pushes an error code (unless the processor has) and its number;
 * interrupt_stubs[] holds their addresses for the IDT.
 */
	.macro stub vector
stub_\vector:
	.if \vector != 8 && (\vector < 10 || \vector > 14) && \vector != 17 && \vector != 21
	pushq $0
	.endif
	pushq $\vector
	jmp interrupt_common
	.pushsection .rodata
	.quad stub_\vector
	.popsection
	.endm

	.section .rodata
	.globl interrupt_stubs
	.balign 8
interrupt_stubs:
	.text
	.altmacro
	.set vector, 0
	.rept 64
	stub %vector
	.set vector, vector + 1
	.endr
	.noaltmacro

interrupt_common:
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	cld
	movq 72(%rsp), %rdi	/* vector */
	movq 80(%rsp), %rsi	/* error code */
	movq 88(%rsp), %rdx	/* RIP; 16 words in all, so the stack is still aligned */
	call interrupt_handle
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rax
	addq $16, %rsp
	iretq

/*
 * What an application processor runs, copied to a page below 1 MiB: in real mode it reads the line status
 * register 32 times, so that several vCPUs have exits under way at once, then reports and halts for ever.
 */
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	movw $32, %cx
	movw $0x3fd, %dx
1:	inb %dx, %al
	loop 1b
	lock incl %cs:(ap_trampoline_count - ap_trampoline)
2:	hlt
	jmp 2b
	.balign 4
ap_trampoline_count:
	.long 0
ap_trampoline_end:
	.code64

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* CODE64: execute/read, 64-bit, accessed */
	.quad 0x00cf93000000ffff	/* DATA: read/write, flat, accessed */
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.balign 4096
	.globl pml4, pdpt
pml4:
	.quad pdpt + PRESENT_WRITABLE
	.fill 511, 8, 0
pdpt:
	.quad pd + 0x0000 + PRESENT_WRITABLE
	.quad pd + 0x1000 + PRESENT_WRITABLE
	.quad pd + 0x2000 + PRESENT_WRITABLE
	.quad pd + 0x3000 + PRESENT_WRITABLE
	.fill 508, 8, 0
pd:
	.set page, 0
	.rept 2048
	.quad page + LARGE_PAGE + PRESENT_WRITABLE
	.set page, page + 0x200000
	.endr

	.bss
	.balign 16
	.skip 16384
stack_top:

	.section .note.GNU-stack, "", @progbits
