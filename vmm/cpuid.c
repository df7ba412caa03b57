/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest's CPUID says: all that KVM can do, with what is particular to each vCPU (its APIC id) and to
 * the topology (one package, vCPUs as its cores, one thread each) put in. SDM vol. 2, CPUID; APM vol. 3,
 * appendix E.
 *
 * Not offered: VMX and SVM. KVM obeys, so the part of the host's kernel that would run a guest's guests, by
 * far the largest that a guest can reach, is out of its reach.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmm/vm.h"

#define MAX_ENTRIES 256

#define ECX1_VMX          (1u << 5)
#define ECX1_TSC_DEADLINE (1u << 24)
#define ECX1_HYPERVISOR   (1u << 31)
#define EDX1_HTT          (1u << 28)
#define ECX8_1_CMP_LEGACY (1u << 1)
#define ECX8_1_SVM        (1u << 2)

/* Bits of an APIC id that hold the core's number. */
static uint32_t core_bits(uint32_t cores)
{
	return cores > 1 ? 32 - (uint32_t)__builtin_clz(cores - 1) : 0;
}

/* Leaves 0xb and 0x1f: level 0 threads, level 1 cores. */
static void set_extended_topology(struct kvm_cpuid_entry2 *e, uint32_t id, uint32_t cores)
{
	const uint32_t smt = 1, core = 2;

	e->edx = id;
	e->ecx = e->index;
	e->eax = e->ebx = 0;
	if (e->index == 0) {
		e->ebx = 1;
		e->ecx |= smt << 8;
	} else if (e->index == 1) {
		e->eax = core_bits(cores);
		e->ebx = cores;
		e->ecx |= core << 8;
	}
}

/* Also over what it has made of the entry for another vCPU. */
static void adjust_entry(struct kvm_cpuid_entry2 *e, uint32_t id, uint32_t cores, bool tsc_deadline)
{
	switch (e->function) {
	case 0x1:
		e->ebx = (e->ebx & 0x0000ffff) | cores << 16 | id << 24;
		e->ecx &= ~ECX1_VMX;
		e->ecx |= ECX1_HYPERVISOR | (tsc_deadline ? ECX1_TSC_DEADLINE : 0);
		e->edx = (e->edx & ~EDX1_HTT) | (cores > 1 ? EDX1_HTT : 0);
		break;
	case 0x4: /* Intel: cores that share a cache; each has its own up to level 2, all share level 3 */
		if (e->eax & 0x1f) {
			uint32_t level = e->eax >> 5 & 7;
			uint32_t ids = 1u << core_bits(cores);

			e->eax &= 0x3fff;
			e->eax |= (ids - 1) << 26 | (level > 2 ? (ids - 1) << 14 : 0);
		}
		break;
	case 0xb:
	case 0x1f:
		set_extended_topology(e, id, cores);
		break;
	case 0x80000001: /* AMD. CMP_LEGACY: the count in leaf 1 is of cores, not of threads */
		e->ecx &= ~ECX8_1_SVM;
		if (cores > 1)
			e->ecx |= ECX8_1_CMP_LEGACY;
		break;
	case 0x80000008: /* AMD: number of cores, and bits of the id that number them */
		e->ecx = cores > 1 ? core_bits(cores) << 12 | (cores - 1) : 0;
		break;
	case 0x8000001d: /* AMD's leaf 4 */
		if (e->eax & 0x1f) {
			uint32_t level = e->eax >> 5 & 7;

			e->eax = (e->eax & 0x3fff) | (level > 2 ? (cores - 1) << 14 : 0);
		}
		break;
	case 0x8000001e: /* AMD: extended APIC id; one thread a core; one node */
		e->eax = id;
		e->ebx = id;
		e->ecx = 0;
		break;
	}
}

static bool has_leaf(const struct kvm_cpuid2 *c, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == function && c->entries[i].index == index)
			return true;
	return false;
}

/* KVM reports only the levels that the host has; the guest's topology needs both. */
static void add_topology_levels(struct kvm_cpuid2 *c, uint32_t function)
{
	if (!has_leaf(c, function, 0))
		return;
	if (!has_leaf(c, function, 1) && c->nent < MAX_ENTRIES)
		c->entries[c->nent++] = (struct kvm_cpuid_entry2){
			.function = function, .index = 1, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
}

#define CPUID_BYTES (sizeof(struct kvm_cpuid2) + MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2))

/*
 * Asked once for all vCPUs: for each leaf KVM executes CPUID, and under a hypervisor each of those is an exit to it, 0.4 ms
 * in all.
 */
static int read_supported(struct vm *vm, struct failure *f)
{
	void *map = mmap(NULL, CPUID_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return fail_with(f, EXIT_HOST, "out of memory");
	vm->cpuid = map;
	vm->cpuid->nent = MAX_ENTRIES;
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, vm->cpuid) < 0)
		return fail_with(f, EXIT_HOST, "/dev/kvm: cannot tell its CPUID: %s", strerror(errno));
	add_topology_levels(vm->cpuid, 0xb);
	add_topology_levels(vm->cpuid, 0x1f);
	return 0;
}

int cpuid_set(struct vm *vm, struct vcpu *vcpu, struct failure *f)
{
	bool tsc_deadline = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;

	if (!vm->cpuid && read_supported(vm, f))
		return -1;
	for (uint32_t i = 0; i < vm->cpuid->nent; i++)
		adjust_entry(&vm->cpuid->entries[i], vcpu->index, vm->machine.vcpus, tsc_deadline);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, vm->cpuid) < 0)
		return fail_with(f, EXIT_HOST, "/dev/kvm: refuses the guest's CPUID: %s", strerror(errno));
	return 0;
}

void cpuid_forget(struct vm *vm)
{
	munmap(vm->cpuid, CPUID_BYTES);
	vm->cpuid = NULL;
}
