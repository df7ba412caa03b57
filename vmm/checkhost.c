/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: each check tries one thing and prints one line. A fact that dvmm cannot do without
 * also becomes the verdict, the first one found wins; all checks are made in any case, so that one run shows
 * everything there is to repair.
 */
#include "config.h"

#include "vmm/checkhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulator/machine.h"
#include "sched/placement.h"
#include "vmm/ringspeed.h"

_Static_assert(PLACEMENT_MAX_VCPUS == MACHINE_MAX_VCPUS, "the scheduler's limit is the machine's");

struct report {
	FILE *out;
	char obstacle[512]; /* why a guest cannot run here: the first such line; empty: it can */
};

enum fact { OK, SLOW, MISSING, NEEDED /* missing, and dvmm cannot do without */ };

__attribute__((format(printf, 4, 5))) static void fact_print(struct report *r, enum fact fact,
							     const char *what, const char *format, ...)
{
	static const char *const word[] = {"ok", "slow", "missing", "missing"};
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(r->out, "%-8s %-26s %s\n", word[fact], what, text);
	if (fact == NEEDED && !r->obstacle[0])
		snprintf(r->obstacle, sizeof(r->obstacle), "%s: %s", what, text);
}

static const struct capability {
	long number;
	enum fact absent;
	const char *name, *present_text, *absent_text;
} capabilities[] = {
	{KVM_CAP_USER_MEMORY, NEEDED, "USER_MEMORY", "guest memory is dvmm's to share with the emulator",
	 "guest memory cannot be mapped: this KVM is too old"},
	{KVM_CAP_IRQCHIP, NEEDED, "IRQCHIP", "interrupt controllers are in the kernel",
	 "dvmm has no interrupt controllers of its own"},
	{KVM_CAP_IRQFD, NEEDED, "IRQFD",
	 "the emulator raises interrupts through eventfds, dvmm is not on the way",
	 "the emulator has no other way to raise an interrupt"},
	{KVM_CAP_IOEVENTFD, NEEDED, "IOEVENTFD", "doorbells of disks reach the emulator without a hand-off",
	 "the emulator has no other doorbell"},
	{KVM_CAP_IMMEDIATE_EXIT, NEEDED, "IMMEDIATE_EXIT", "a vCPU can be stopped at any time",
	 "a vCPU could not be stopped without a race; Linux 4.12 has it"},
	{KVM_CAP_SET_TSS_ADDR, NEEDED, "SET_TSS_ADDR", "old Intel processors find the pages they need",
	 "Intel processors without unrestricted guest cannot start"},
	{KVM_CAP_PIT2, NEEDED, "PIT2", "guests calibrate their clocks by the kernel's PIT",
	 "dvmm has no timer of its own by which a guest could calibrate its clocks"},
	{KVM_CAP_EXT_CPUID, NEEDED, "EXT_CPUID", "the guest sees the processor that KVM offers",
	 "dvmm cannot tell the guest what its processor can do"},
	{KVM_CAP_TSC_DEADLINE_TIMER, SLOW, "TSC_DEADLINE_TIMER", "guest timers cost one register write",
	 "guests program the APIC timer's counter instead, which takes more exits"},
	{KVM_CAP_EXIT_ON_EMULATION_FAILURE, MISSING, "EXIT_ON_EMULATION_FAILURE",
	 "instructions that KVM does not know are emulated by dvmm, at all privilege levels",
	 "instructions that KVM does not know are emulated by dvmm in the guest's kernel only"},
	{KVM_CAP_X86_USER_SPACE_MSR, MISSING, "X86_USER_SPACE_MSR",
	 "accesses to unknown MSRs can be passed to dvmm",
	 "KVM alone answers accesses to unknown MSRs (#GP)"},
};

static void capabilities_check(struct report *r, int kvm)
{
	int vcpus = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS);
	int most = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	for (unsigned i = 0; i < sizeof(capabilities) / sizeof(*capabilities); i++) {
		const struct capability *c = &capabilities[i];
		bool present = ioctl(kvm, KVM_CHECK_EXTENSION, c->number) > 0;

		fact_print(r, present ? OK : c->absent, c->name, "%s",
			   present ? c->present_text : c->absent_text);
	}
	if (most <= 0) /* the API's default, Documentation/virt/kvm/api.rst 4.7 */
		most = vcpus > 0 ? vcpus : 4;
	fact_print(r, most < MACHINE_MAX_VCPUS ? MISSING : OK, "vCPUs",
		   "a guest may have up to %d (KVM's limit %d, recommended %d)",
		   most < MACHINE_MAX_VCPUS ? most : MACHINE_MAX_VCPUS, most, vcpus);
}

static void ring0_check(struct report *r, int kvm)
{
	struct ringspeed speed;
	int ret = ringspeed_measure(kvm, &speed);

	if (ret == -EIO) {
		fact_print(r, NEEDED, "ring 0", "a guest of five bytes ended with KVM exit %u instead of HLT",
			   speed.exit_reason);
	} else if (ret < 0) {
		fact_print(r, NEEDED, "ring 0", "a guest of five bytes could not be made: %s",
			   strerror(-ret));
	} else if (speed.ns_per_instruction >= RINGSPEED_EMULATED_NS) {
		fact_print(r, SLOW, "ring 0",
			   "emulated, %.0f ns per instruction: a stock kernel takes very long, or stops at "
			   "an instruction "
			   "that KVM does not know",
			   speed.ns_per_instruction);
		if (!r->obstacle[0])
			snprintf(r->obstacle, sizeof(r->obstacle),
				 "ring 0 is emulated (%.0f ns per instruction); small guests run, for a "
				 "stock kernel use tests/rig",
				 speed.ns_per_instruction);
	} else {
		fact_print(r, OK, "ring 0", "native, %.2f ns per instruction", speed.ns_per_instruction);
	}
}

/* What to do about an open(2) of /dev/kvm that failed. */
static const char *kvm_advice(int cause)
{
	switch (cause) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return "load kvm_intel or kvm_amd; if that fails, turn virtualisation on in the firmware (or "
		       "nested "
		       "virtualisation, in a VM)";
	case EACCES:
	case EPERM:
		return "add yourself to group kvm and log in again, or run dvmm as root";
	default:
		return "the kernel log may say more";
	}
}

static void kvm_check(struct report *r)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (kvm < 0) {
		fact_print(r, NEEDED, "/dev/kvm", "%s: %s", strerror(errno), kvm_advice(errno));
		return;
	}
	version = ioctl(kvm, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		fact_print(r, NEEDED, "/dev/kvm", "opens, but its API version is %d where %d is wanted",
			   version, KVM_API_VERSION);
	} else {
		fact_print(r, OK, "/dev/kvm", "opens, API version %d", version);
		capabilities_check(r, kvm);
		ring0_check(r, kvm);
	}
	close(kvm);
}

/* Makes the emulator's namespaces in a child, and checks that they give rights: some hosts make them
 * powerless. */
static int namespaces_try(int flags)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return -errno;
	if (!child) {
		int ret = unshare(flags);

		if (!ret)
			ret = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
		_exit(ret < 0 ? errno : 0);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static void namespaces_check(struct report *r)
{
	int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	int ret = namespaces_try(flags | CLONE_NEWUSER);
	const char *cause = ret == -ENOSPC ? "their number is limited" : strerror(-ret);

	if (!ret)
		fact_print(r, OK, "namespaces",
			   "user, mount, pid, net, ipc, uts: the emulator gets its own of each");
	else if (geteuid() == 0 && !namespaces_try(flags))
		fact_print(r, MISSING, "namespaces",
			   "no user namespaces (%s): started by root, the emulator still gets the others",
			   cause);
	else
		fact_print(r, NEEDED, "namespaces",
			   "%s: allow user namespaces (sysctl user.max_user_namespaces, "
			   "kernel.unprivileged_userns_clone, "
			   "kernel.apparmor_restrict_unprivileged_userns), or run dvmm as root",
			   cause);
}

static void confinement_check(struct report *r)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;
	long abi;
	int fd;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		fact_print(r, NEEDED, "seccomp",
			   "%s: the kernel needs CONFIG_SECCOMP_FILTER, Linux 4.14 or newer",
			   strerror(errno));
	else
		fact_print(r, OK, "seccomp", "a system call that is not on the list kills the emulator");

	abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 0)
		fact_print(r, MISSING, "Landlock",
			   "%s: the emulator goes without; its root is empty all the same", strerror(errno));
	else
		fact_print(r, OK, "Landlock", "ABI %ld: the emulator's access to files is denied once more",
			   abi);

	fd = memfd_create("check-host", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) < 0)
		fact_print(r, NEEDED, "memfd seals", "%s: Linux 5.1 or newer is needed", strerror(errno));
	else
		fact_print(r, OK, "memfd seals", "the emulator can read requests, and cannot write them");
	if (fd >= 0)
		close(fd);
}

static void io_uring_check(struct report *r)
{
	struct io_uring_params params = {.flags = IORING_SETUP_R_DISABLED};
	long fd = syscall(SYS_io_uring_setup, 4, &params);
	struct rlimit limit;

	if (fd >= 0) {
		close((int)fd);
		fact_print(r, OK, "io_uring",
			   "disks are served through a ring restricted to registered files");
	} else {
		fact_print(r, NEEDED, "io_uring", "%s: %s", strerror(errno),
			   errno == EPERM ? "set sysctl kernel.io_uring_disabled to 0"
					  : "Linux 5.10 or newer with CONFIG_IO_URING is needed");
	}
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return;
	if (limit.rlim_cur == RLIM_INFINITY)
		fact_print(r, OK, "memory lock limit", "none");
	else
		fact_print(r, OK, "memory lock limit",
			   "%llu KiB; dvmm locks no memory, only kernels before 5.12 charge rings to it",
			   (unsigned long long)limit.rlim_cur / 1024);
}

/* The most vCPUs with which auto spins. */
static unsigned spin_vcpus(const struct topology *t)
{
	struct placement_request req = {.topology = t};
	struct placement p;
	unsigned spin = 0;

	for (req.vcpus = 1; req.vcpus <= PLACEMENT_MAX_VCPUS; req.vcpus++)
		if (!placement_choose(&req, &p) && p.handoff == PLACEMENT_SPIN)
			spin = req.vcpus;
	return spin;
}

static void cpus_check(struct report *r)
{
	struct topology t;
	char list[80];
	unsigned spin;
	int ret = topology_read(&t, TOPOLOGY_SYSFS);

	if (ret < 0) {
		fact_print(r, NEEDED, "allowed CPUs", "cannot be found out: %s", strerror(-ret));
		return;
	}
	topology_format(&t, list, sizeof(list));
	fact_print(r, OK, "allowed CPUs", "%u on %u core%s (%s)", t.count, t.cores, t.cores == 1 ? "" : "s",
		   list);
	spin = spin_vcpus(&t);
	if (!spin)
		fact_print(r, SLOW, "hand-off auto", "same-cpu: spinning takes two CPUs for each vCPU");
	else if (spin < PLACEMENT_MAX_VCPUS)
		fact_print(r, OK, "hand-off auto", "spin with up to %u vCPU%s, same-cpu with more", spin,
			   spin == 1 ? "" : "s");
	else
		fact_print(r, OK, "hand-off auto", "spin");
	topology_free(&t);
}

/* Guest memory is a memfd, so what counts is the policy for shared memory; the chosen one is in brackets. */
static void huge_pages_check(struct report *r)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
	char line[128] = "";

	if (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = '\0';
		fclose(f);
	}
	if (strstr(line, "[always]") || strstr(line, "[within_size]") || strstr(line, "[force]"))
		fact_print(r, OK, "huge pages", "guest memory gets them by itself");
	else if (strstr(line, "[advise]"))
		fact_print(r, OK, "huge pages", "guest memory gets them where madvise(2) asks for them");
	else
		fact_print(r, SLOW, "huge pages",
			   "guest memory is in pages of 4 KiB; to change that, write advise to "
			   "/sys/kernel/mm/transparent_hugepage/shmem_enabled");
}

int check_host(FILE *out)
{
	struct report r = {.out = out};

	kvm_check(&r);
	namespaces_check(&r);
	confinement_check(&r);
	io_uring_check(&r);
	cpus_check(&r);
	huge_pages_check(&r);
	if (r.obstacle[0]) {
		fprintf(out, "verdict: no stock kernel here: %s\n", r.obstacle);
		return 2;
	}
	fprintf(out, "verdict: a stock kernel runs here natively\n");
	return 0;
}
