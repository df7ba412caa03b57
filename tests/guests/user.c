/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ring 3 and back, a thousand times, by SYSCALL and SYSRET. On a host that runs ring 3 natively and emulates ring 0, each way
 * crosses between the two, and a KVM made for other guests does only half of a SYSCALL: see emulator/x86/syscall.c, which
 * needs a page fault handler that begins with CLAC, as that of Linux does.
 */
#include "irq.h"

#define MSR_EFER   0xc0000080u
#define MSR_STAR   0xc0000081u
#define MSR_LSTAR  0xc0000082u
#define MSR_SFMASK 0xc0000084u
#define EFER_SCE   1u

enum { KERNEL_CODE = 0x08, KERNEL_DATA = 0x10, USER_DATA = 0x18 | 3, USER_CODE = 0x20 | 3, TSS = 0x28 };

static uint64_t gdt[7] __attribute__((aligned(16)));
static uint32_t tss[26];
static uint8_t kernel_stack[4096] __attribute__((aligned(16)));

#define USER_PAGE  0x400000ul /* 2 MiB that ring 3 may access: its program at the start, its stack at the end */
#define USER_STACK (USER_PAGE + 0x200000)

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static void load_descriptors(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} pointer = {sizeof(gdt) - 1, (uint64_t)gdt};
	const uint64_t stack = (uint64_t)(kernel_stack + sizeof(kernel_stack)), at = (uint64_t)tss;

	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	gdt[3] = 0x00cff3000000ffff;
	gdt[4] = 0x00affb000000ffff;
	gdt[5] = (at & 0xffffff) << 16 | (sizeof(tss) - 1) | 0x89ull << 40 | (at >> 24 & 0xff) << 56;
	gdt[6] = at >> 32;
	tss[1] = (uint32_t)stack; /* RSP0 */
	tss[2] = (uint32_t)(stack >> 32);
	__asm__ volatile("lgdt %0" : : "m"(pointer));
	__asm__ volatile("ltr %w0" : : "r"(TSS));
}

static void open_user_page(void)
{
	uint64_t table;

	__asm__ volatile("mov %%cr3, %0" : "=r"(table));
	for (int shift = 39; shift >= 21; shift -= 9) {
		uint64_t *entry = (uint64_t *)(table & ~0xffful) + (USER_PAGE >> shift & 511);

		*entry |= 4;
		table = *entry;
	}
	__asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(table) : : "memory");
}

extern const char page_fault[];

static void set_page_fault_handler(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} pointer;
	uint16_t *gate;

	__asm__ volatile("sidt %0" : "=m"(pointer));
	gate = (uint16_t *)(pointer.base + 14 * 16);
	gate[0] = (uint16_t)(uint64_t)page_fault;
	gate[3] = (uint16_t)((uint64_t)page_fault >> 16);
}

/* Calls the function at `code` in ring 3; comes back when that executes SYSCALL with RAX 0. */
uint64_t run_user(void (*code)(void), void *stack);
extern const char system_call[], user_code[], user_code_end[];
struct seen {
	uint64_t cs, ss, rsp, rcx, r11, rflags, calls;
};
extern volatile struct seen seen;

__asm__(".pushsection .text\n"
	"run_user:\n"
	"	pushq %rbx\n	pushq %rbp\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, saved_rsp\n"
	"	pushq $0x1b\n	pushq %rsi\n	pushq $0x2\n	pushq $0x23\n	pushq %rdi\n"
	"	iretq\n"
	"system_call:\n"
	"	movq %rsp, seen+16\n"
	"	movq saved_rsp, %rsp\n"
	"	movq %rcx, seen+24\n"
	"	movq %r11, seen+32\n"
	"	movq %cs, %rcx\n	movq %rcx, seen\n"
	"	movq %ss, %rcx\n	movq %rcx, seen+8\n"
	"	pushfq\n	popq seen+40\n"
	"	incq seen+48\n"
	"	movq seen+24, %rcx\n"
	"	testq %rax, %rax\n"
	"	jz 1f\n"
	"	leaq 1(%rax), %rax\n"
	"	movq seen+16, %rsp\n"
	"	sysretq\n"
	"1:	movq %rdi, %rax\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbp\n	popq %rbx\n"
	"	ret\n"
	"user_code:\n"
	"	movl $5, %eax\n"
	"	movl $0x1234, %ebx\n"
	"	stc\n"
	"	syscall\n"
	"	cmpl $6, %eax\n	jne 2f\n"
	"	cmpl $0x1234, %ebx\n	jne 2f\n"
	"	movl $1000, %r12d\n"
	"3:	movl %r12d, %eax\n"
	"	syscall\n"
	"	decl %r12d\n"
	"	jnz 3b\n"
	"	movl $1, %edi\n"
	"	jmp 4f\n"
	"2:	xorl %edi, %edi\n"
	"4:	xorl %eax, %eax\n"
	"	syscall\n"
	"	ud2\n"
	"user_code_end:\n"
	"page_fault:\n"
	"	clac\n"
	"	ud2\n"
	".popsection\n"
	".pushsection .bss\n"
	".balign 8\n"
	"saved_rsp: .skip 8\n"
	"seen: .skip 56\n"
	".popsection");

unsigned guest_main(void)
{
	interrupts_init();
	load_descriptors();
	open_user_page();
	set_page_fault_handler();
	memcpy((void *)USER_PAGE, user_code, (size_t)(user_code_end - user_code));
	wrmsr(MSR_STAR, (uint64_t)KERNEL_CODE << 32 | (uint64_t)(KERNEL_DATA | 3) << 48);
	wrmsr(MSR_LSTAR, (uint64_t)system_call);
	wrmsr(MSR_SFMASK, 0x300);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	check(run_user((void (*)(void))USER_PAGE, (void *)USER_STACK) == 1);
	check(seen.calls == 1002);
	check(seen.cs == KERNEL_CODE && seen.ss == KERNEL_DATA && seen.rsp == USER_STACK);
	puts("ring 3\n");
	return 0;
}
