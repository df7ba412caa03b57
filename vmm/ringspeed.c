/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: one VM, one vCPU, four pages of memory: code and three levels of page tables that map
 * the first 2 MiB one to one. The state is that of a kernel in 64-bit mode, since that is the mode whose
 * speed matters. The loop grows tenfold until a run takes MEASURE_NS, so that entry and exit, some
 * microseconds, do not count; a slow ring 0 is known after the first size. The best of three runs is taken,
 * because a run may be interrupted.
 */
#include "vmm/ringspeed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "emulator/machine.h"

#define MEASURE_NS  500000u
#define FIRST_LOOPS 1000u
#define MOST_LOOPS  10000000u

/* Guest-physical addresses. */
#define CODE_AT    0x0000u
#define PML4_AT    0x1000u
#define PDPT_AT    0x2000u
#define PD_AT      0x3000u
#define GUEST_SIZE 0x4000u

/* SDM volume 3, 2.5 (CR0, CR4), 2.2.1 (EFER), table 4-15 ff. (page table entries). */
#define CR0_PE   0x1u
#define CR0_ET   0x10u
#define CR0_NE   0x20u
#define CR0_PG   0x80000000u
#define CR4_PAE  0x20u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define PTE_P    0x1u
#define PTE_W    0x2u
#define PTE_PS   0x80u

/* Two instructions a loop, and the end, at which KVM exits as there is no interrupt controller. */
static const uint8_t code[] = {
	0xff, 0xc9, /* 1: dec %ecx */
	0x75, 0xfc, /*    jnz 1b */
	0xf4,       /*    hlt */
};

struct micro_guest {
	int vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
	size_t run_size;
};

static void entry_put(uint8_t *memory, uint32_t at, uint64_t entry)
{
	memcpy(memory + at, &entry, sizeof(entry));
}

static int memory_make(struct micro_guest *g)
{
	struct kvm_userspace_memory_region region = {.memory_size = GUEST_SIZE};
	void *map = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	g->memory = map;
	memcpy(g->memory + CODE_AT, code, sizeof(code));
	entry_put(g->memory, PML4_AT, PDPT_AT | PTE_P | PTE_W);
	entry_put(g->memory, PDPT_AT, PD_AT | PTE_P | PTE_W);
	entry_put(g->memory, PD_AT, PTE_P | PTE_W | PTE_PS);
	region.userspace_addr = (uintptr_t)g->memory;
	return ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

static int vcpu_make(struct micro_guest *g, int kvm_fd)
{
	struct kvm_segment flat = {
		.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .g = 1, .db = 1};
	int size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_sregs sregs;
	void *map;

	if (size < 0)
		return -errno;
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	if (g->vcpu < 0)
		return -errno;
	map = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (map == MAP_FAILED)
		return -errno;
	g->run = map;
	g->run_size = (size_t)size;

	if (ioctl(g->vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	flat.selector = 8;
	flat.type = 11; /* execute, read, accessed */
	flat.db = 0;
	flat.l = 1;
	sregs.cs = flat;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	sregs.cr3 = PML4_AT;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	return ioctl(g->vcpu, KVM_SET_SREGS, &sregs) < 0 ? -errno : 0;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Runs the loop once; *ns is what it took. */
static int loop_run(struct micro_guest *g, uint32_t loops, uint64_t *ns, struct ringspeed *speed)
{
	struct kvm_regs regs = {.rip = CODE_AT, .rcx = loops, .rflags = 2};
	uint64_t start;
	int ret;

	if (ioctl(g->vcpu, KVM_SET_REGS, &regs) < 0)
		return -errno;
	start = now_ns();
	do
		ret = ioctl(g->vcpu, KVM_RUN, 0);
	while (ret < 0 && errno == EINTR);
	*ns = now_ns() - start;
	if (ret < 0)
		return -errno;
	speed->exit_reason = g->run->exit_reason;
	return g->run->exit_reason == KVM_EXIT_HLT ? 0 : -EIO;
}

static int loops_measure(struct micro_guest *g, struct ringspeed *speed)
{
	for (uint32_t loops = FIRST_LOOPS;; loops *= 10) {
		uint64_t ns = 0, best = UINT64_MAX;
		int ret;

		for (int n = 0; n < 3; n++) {
			ret = loop_run(g, loops, &ns, speed);
			if (ret < 0)
				return ret;
			best = ns < best ? ns : best;
		}
		if (best >= MEASURE_NS || loops == MOST_LOOPS) {
			speed->ns_per_instruction = (double)best / (2.0 * loops);
			return 0;
		}
	}
}

int ringspeed_measure(int kvm_fd, struct ringspeed *speed)
{
	struct micro_guest g = {.vm = -1, .vcpu = -1};
	int ret;

	memset(speed, 0, sizeof(*speed));
	g.vm = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	if (g.vm < 0)
		return -errno;
	/* Old Intel processors want it, others ignore it; whoever lacks it gets that line from --check-host.
	 */
	(void)ioctl(g.vm, KVM_SET_TSS_ADDR, KVM_TSS_BASE);
	ret = memory_make(&g);
	if (!ret)
		ret = vcpu_make(&g, kvm_fd);
	if (!ret)
		ret = loops_measure(&g, speed);
	if (g.run)
		munmap(g.run, g.run_size);
	if (g.vcpu >= 0)
		close(g.vcpu);
	close(g.vm);
	if (g.memory)
		munmap(g.memory, GUEST_SIZE);
	return ret;
}
