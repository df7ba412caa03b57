/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dvmm: the privileged process. main() reads as the life of a virtual machine:
 *
 *     options, files, shared memory       nothing has power over us yet
 *     emulator starts                     and walks into its sandbox while we go on
 *     VM, guest memory, vCPUs             the emulator unpacks the kernel meanwhile
 *     emulator ready, our own filters     before the first guest instruction
 *     the guest runs                      vCPU threads; here: signals, typed input, the emulator's pidfd
 *     everybody out                       status and reason come from whoever stopped the machine first
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/uart16550.h"
#include "emulator/futex.h"
#include "sched/placement.h"
#include "sched/topology.h"
#include "seccomp/filters.h"
#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/checkhost.h"
#include "vmm/console.h"
#include "vmm/dump_state.h"
#include "vmm/handoff.h"
#include "vmm/in_process.h"
#include "vmm/stats.h"
#include "vmm/typing.h"

#define SPIN_NS            50000u /* a spinning side gives up its CPU after this long */
#define KICK_EVERY_MS      2
#define OUTPUT_PATIENCE_NS 500000000u

static struct vm vm;

#ifdef DVMM_ASAN
/* The search for leaks at the end forks and traces, which our own filter does not allow. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static int open_file(struct boot_file *file, const char *name, struct failure *f)
{
	/* O_NONBLOCK: a FIFO must not make us wait for its other end. */
	file->name = name;
	file->fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return file->fd >= 0
		       ? 0
		       : fail_with(f, EXIT_USAGE, "%.200s: cannot be opened: %s", name, strerror(errno));
}

static int open_files(struct vm *v, struct boot_files *files, struct failure *f)
{
	const struct options *o = v->options;

	char error[BOOT_ERROR_BYTES];

	files->initrd = (struct boot_file){.fd = -1};
	files->cmdline = o->cmdline;
	files->kaslr = o->kaslr;
	if (open_file(&files->kernel, o->kernel, f) || (o->initrd && open_file(&files->initrd, o->initrd, f)))
		return -1;
	return boot_examine(files, error) ? fail_with(f, EXIT_USAGE, "%s", error) : 0;
}

static bool placed(const struct vm *v, int cpu)
{
	for (uint32_t i = 0; i < v->machine.vcpus; i++)
		if (v->vcpu[i].home == cpu || v->machine.worker_cpu[i] == cpu)
			return true;
	return false;
}

/* An operator who names CPUs means these and no others, also when vCPUs are moved. */
static void keep_placed(struct vm *v)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < v->allowed.count; i++)
		if (placed(v, v->allowed.cpu[i].cpu))
			v->allowed.cpu[kept++] = v->allowed.cpu[i];
	v->allowed.count = kept;
}

/* Which CPU each vCPU and worker gets, and how they hand over; into the machine and the vCPUs. */
static int choose_placement(struct vm *v, struct failure *f)
{
	struct topology *topology = &v->allowed;
	struct placement_request want = {
		.topology = topology,
		.vcpus = v->machine.vcpus,
		.wish = (enum placement_wish)v->options->handoff,
		.offset = placement_offset(getpid()),
	};
	struct placement p;
	int err = topology_read(topology, TOPOLOGY_SYSFS);

	if (err)
		return fail_with(f, EXIT_HOST, "cannot tell which CPUs are allowed: %s", strerror(-err));
	if (placement_pin_parse(v->options->pin, topology, want.vcpus, &want.pin, f->text, sizeof(f->text))) {
		f->status = EXIT_USAGE;
		return -1;
	}
	if (placement_choose(&want, &p))
		return fail_with(f, EXIT_USAGE, "--pin %.80s: no placement is possible", v->options->pin);
	if (p.warning)
		log_warn("%s", p.warning);
	v->machine.handoff = p.handoff == PLACEMENT_SPIN ? HANDOFF_SPIN : HANDOFF_SAME_CPU;
	v->machine.spin_ns = SPIN_NS;
	for (uint32_t i = 0; i < v->machine.vcpus; i++)
		v->vcpu[i].cpu = v->vcpu[i].home = p.vcpu_cpu[i];
	for (uint32_t i = 0; i <= v->machine.vcpus; i++)
		v->machine.worker_cpu[i] = p.worker_cpu[i];
	if (want.pin.policy == PLACEMENT_PIN_MAP)
		keep_placed(v);
	return 0;
}

static int open_stats(struct vm *v, struct failure *f)
{
	static const char *names[MACHINE_MAX_DEVICES];
	int err;

	if (!v->options->stats)
		return 0;
	for (uint32_t i = 0; i < v->machine.devices; i++)
		names[i] = device_ops_of(v->machine.device[i].type)->name;
	err = stats_open(&v->stats, v->options->stats, v->machine.vcpus, names, v->machine.devices);
	if (err)
		return fail_with(f, EXIT_USAGE, "--stats %.200s: cannot be written: %s", v->options->stats,
				 strerror(-err));
	return 0;
}

static int open_dump(struct vm *v, int *fd, struct failure *f)
{
	*fd = -1;
	if (!v->options->dump_state)
		return 0;
	*fd = dump_state_open(v->options->dump_state);
	if (*fd < 0)
		return fail_with(f, EXIT_USAGE, "--dump-state %.200s: cannot be written: %s",
				 v->options->dump_state, strerror(-*fd));
	return 0;
}

static void write_dump(struct vm *v, int fd)
{
	int err = fd < 0 ? 0 : dump_state_write(v, fd);

	if (err)
		log_error("--dump-state %s: %s", v->options->dump_state, strerror(-err));
}

static int check_memory_fits(const struct options *o, struct failure *f)
{
	struct sysinfo host;
	uint64_t bytes;

	if (sysinfo(&host) < 0)
		return 0;
	bytes = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
	if (o->mem_bytes > bytes)
		return fail_with(
			f, EXIT_USAGE,
			"--mem: %llu MiB are more than this host has (%llu MiB); give the guest less",
			(unsigned long long)o->mem_bytes >> 20, (unsigned long long)bytes >> 20);
	return 0;
}

static int make_shared_memory(struct vm *v, const struct boot_files *files, struct failure *f)
{
	if (region_layout(&v->machine, &v->layout))
		return fail_with(f, EXIT_HOST, "the machine has a device without a model");
	if (shared_memory_create(&v->requests, "dvmm-requests", mailbox_request_bytes(v->machine.vcpus),
				 false, f) ||
	    shared_memory_create(&v->replies, "dvmm-replies", mailbox_reply_bytes(v->machine.vcpus), true,
				 f) ||
	    shared_memory_create(&v->region, "dvmm-state", v->layout.size, true, f) ||
	    shared_memory_create(&v->ram, "dvmm-memory",
				 v->machine.ram_bytes + loader_staging_bytes(files->kernel.bytes), true, f))
		return -1;
	region_init(&v->machine, &v->layout, v->region.at);
	registers_build(&v->registers, &v->machine, mailbox_published(v->replies.at, v->machine.vcpus),
			(v->options->published ? 1u << REGISTER_PUBLISHED : 0) |
				(v->options->posted ? 1u << REGISTER_POSTED : 0));
	machine_memory(&v->machine, v->ram.at, &v->memory);
	for (uint32_t i = 0; i < v->machine.devices; i++)
		if (v->machine.device[i].type == DEVICE_UART)
			console_init(region_bulk_of(&v->layout, v->region.at, i), UART_RING_BYTES);
	return 0;
}

/* Asks the loader, which is in the emulator unless that is in-process. It works while we go on. */
static int stage_kernel(struct vm *v, const struct boot_files *files, struct failure *f)
{
	struct loader_request *request = mailbox_loader_request(v->requests.at);
	uint8_t *staging = (uint8_t *)v->ram.at + v->machine.ram_bytes;
	char error[BOOT_ERROR_BYTES];
	uint64_t rsdp;

	if (acpi_build(&v->memory, &v->machine, &rsdp))
		return fail_with(f, EXIT_HOST, "the ACPI tables do not fit");
	if (boot_stage(&v->memory, v->machine.ram_bytes, files, rsdp, staging, request, error))
		return fail_with(f, EXIT_USAGE, "%s", error);
	if (v->options->in_process) {
		in_process->load(v, request, staging);
		return 0;
	}
	__atomic_store_n(&request->posted, 1, __ATOMIC_SEQ_CST);
	futex_wake(&request->posted);
	return 0;
}

/* Takes what the loader has said, once, and its room away. */
static int enter_kernel(struct vm *v, const struct boot_files *files, struct failure *f)
{
	const struct loader_result result = *mailbox_loader_result(v->replies.at);
	char error[BOOT_ERROR_BYTES];
	struct boot_entry entry;
	int err;

	__asm__ volatile(""
			 :
			 : "r"(&result)
			 : "memory"); /* this copy, not the original, is what is checked and used */
	madvise((uint8_t *)v->ram.at + v->machine.ram_bytes, v->ram.bytes - v->machine.ram_bytes,
		MADV_REMOVE);
	shared_memory_map_present(&v->ram, v->machine.ram_bytes);
	memset(&mailbox_loader_request(v->requests.at)->options, 0, sizeof(struct loader_options));
	err = boot_finish(&v->memory, v->machine.ram_bytes, files, &result, &entry, error);
	if (err)
		return fail_with(f, err == -EPROTO ? EXIT_HOST : EXIT_USAGE, "%s", error);
	if (*error)
		log_warn("%s", error);
	return vcpu_set_entry(&v->vcpu[0], &entry, f);
}

static int create_guest(struct vm *v, struct failure *f)
{
	if (kvm_create_machine(v, f))
		return -1;
	for (uint32_t i = 0; i < v->machine.vcpus; i++)
		if (vcpu_create(v, i, f))
			return -1;
	cpuid_forget(v);
	return 0;
}

/*
 * All that the emulator, which is on its way into its sandbox meanwhile, is not needed for. The threads are held at
 * the gate, where let_go() comes last.
 */
static int start_threads(struct vm *v, struct filter *own, struct failure *f)
{
	filter_build(own, FILTER_MAIN, -1);
	pthread_barrier_init(&v->gate, NULL, v->machine.vcpus + (v->options->in_process ? 1 : 2));
	if (!v->options->in_process && watchdog_start(v, f))
		return -1;
	for (uint32_t i = 0; i < v->machine.vcpus; i++)
		if (vcpu_start(&v->vcpu[i], f))
			return -1; /* nothing has been lost: exit ends the threads that did start */
	return 0;
}

/* Everything up to the first guest instruction. *own becomes the main thread's filter. */
static int prepare(struct vm *v, struct filter *own, int *dump_fd, struct failure *f)
{
	struct boot_files files;

	if (check_memory_fits(v->options, f) || open_files(v, &files, f) ||
	    machine_build(&v->machine, v->options, f) || choose_placement(v, f) || open_stats(v, f) ||
	    make_shared_memory(v, &files, f))
		return -1;
	/* The spawner is split off before there is a descriptor of KVM that it could inherit. */
	if (v->options->in_process ? in_process->start(v, f) : emulator_start(v, f))
		return -1;
	if (kvm_open(v, f) || stage_kernel(v, &files, f) || create_guest(v, f) || start_threads(v, own, f) ||
	    (!v->options->in_process && emulator_wait_ready(v, f)))
		return -1;
	return enter_kernel(v, &files, f) || open_dump(v, dump_fd, f) ? -1 : 0;
}

/* The guest runs from here on, and this thread has no more freedom than it needs. */
static void let_go(struct vm *v, const struct filter *own)
{
	int err;

	console_terminal_raw();
	v->started_ns = monotonic_ns();
	err = filter_load(own);
	if (err)
		vm_stop(v, EXIT_HOST, "cannot install the main thread's system call filter: %s",
			strerror(-err));
	pthread_barrier_wait(&v->gate);
}

/* What the main thread waits for while the guest runs. */
enum { WAIT_WAKE, WAIT_SIGNAL, WAIT_SPAWNER, WAIT_EMULATOR, WAIT_INPUT, WAITS };

static void handle_signal(struct vm *v, int signal_fd)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGTSTP)
		console_terminal_suspend();
	else if (info.ssi_signo == SIGCONT)
		console_terminal_resume();
	else
		vm_stop(v, EXIT_GUEST_ENDED, "stopped by signal %u", info.ssi_signo);
}

static int open_signals(struct failure *f)
{
	static const int by_descriptor[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(by_descriptor) / sizeof(by_descriptor[0]); i++)
		if (!program_ignores(by_descriptor[i])) /* a blocked signal would come, ignored or not */
			sigaddset(&set, by_descriptor[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ,
	       SIG_IGN); /* too large a file is an error of write() or ftruncate(), told like any other */
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		fail_with(f, EXIT_HOST, "cannot receive signals by descriptor: %s", strerror(errno));
	return fd;
}

/* Of two timeouts as poll() takes them, -1 meaning none. */
static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* The main thread while the guest runs: until somebody has asked for the end. */
static void watch(struct vm *v, int signal_fd)
{
	struct pollfd wait[WAITS] = {
		[WAIT_WAKE] = {.fd = v->wake_fd, .events = POLLIN},
		[WAIT_SIGNAL] = {.fd = signal_fd, .events = POLLIN},
		[WAIT_SPAWNER] = {.fd = v->spawner.socket, .events = POLLIN},
		[WAIT_EMULATOR] = {.events = POLLIN},
		[WAIT_INPUT] = {.events = POLLIN},
	};
	struct typing t;
	uint64_t woken;

	typing_init(&t, v);
	while (!vm_stop_told(
		v)) { /* and not before: the reason may come from a thread that nobody waits for */
		int timeout_ms = sooner(emulator_tend(v), typing_timeout_ms(&t, v));

		wait[WAIT_EMULATOR].fd = v->active.dead ? -1 : v->active.pidfd;
		wait[WAIT_INPUT].fd = console_input_wanted(&t.input) ? STDIN_FILENO : -1;
		if (poll(wait, WAITS, timeout_ms) < 0) {
			/* What poll() left in `wait` is old: reading standard input because of it could
			 * block. */
			if (errno != EINTR)
				vm_stop(v, EXIT_HOST, "poll: %s", strerror(errno));
			continue;
		}
		if (wait[WAIT_WAKE].revents && read(v->wake_fd, &woken, sizeof(woken)) < 0)
			continue;
		if (wait[WAIT_SIGNAL].revents)
			handle_signal(v, signal_fd);
		if (wait[WAIT_EMULATOR].revents)
			emulator_died(v);
		if (wait[WAIT_SPAWNER].revents)
			emulator_messages(v);
		if (wait[WAIT_INPUT].revents)
			console_input_read(&t.input);
		if (t.input.quit)
			vm_stop(v, EXIT_GUEST_ENDED, "ended by Ctrl-A X");
		typing_go_on(&t, v);
	}
}

/* Gets every vCPU thread out of the guest, a hand-off or a write. One kick may come at a bad moment, so:
 * until it helps. Who reads our output slowly gets some time for the rest of it; who does not read must not
 * keep us. */
static void collect_vcpus(struct vm *v)
{
	struct pollfd wake = {.fd = v->wake_fd, .events = POLLIN};
	const uint64_t patience_ends = monotonic_ns() + OUTPUT_PATIENCE_NS;
	uint64_t woken;

	for (uint32_t i = 0; i < v->machine.vcpus; i++) {
		while (atomic_load(&v->vcpu[i].running)) {
			if (monotonic_ns() >= patience_ends)
				console_abandon();
			for (uint32_t k = i; k < v->machine.vcpus; k++)
				vcpu_kick(&v->vcpu[k]);
			if (poll(&wake, 1, KICK_EVERY_MS) > 0 && read(v->wake_fd, &woken, sizeof(woken)) < 0)
				continue;
		}
		pthread_join(v->vcpu[i].thread, NULL);
	}
}

/* What exit would do, at the same time as the emulators die, and the watchdog's thread. The I/O thread of
 * --emulation=in-process still has the guest's memory. */
static void dismantle(struct vm *v)
{
	for (uint32_t i = 0; i < v->machine.vcpus; i++)
		vcpu_destroy(&v->vcpu[i]);
	close(v->vm_fd);
	if (v->options->in_process)
		return;
	munmap(v->ram.at, v->ram.bytes);
	close(v->ram.fd);
}

/* Ends the emulator and gives the disks' locks back now. Left to the kernel, locks go when the last reference
 * to an image goes, which for an io_uring is some time after its process has ended: the next VM would find
 * its disk busy. */
static void release_disks(struct vm *v)
{
	const struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	if (!emulator_wait_gone(v))
		return; /* one may still be writing */
	for (uint32_t i = 0; i < v->machine.devices; i++)
		if (v->machine.device[i].file_fd >= 0)
			fcntl(v->machine.device[i].file_fd, F_OFD_SETLK, &unlock);
}

static void write_stats(struct vm *v)
{
	struct stats_run run = {
		.emulation = v->options->in_process ? "in-process" : "sandboxed",
		.handoff = v->machine.handoff == HANDOFF_SPIN ? "spin" : "same-cpu",
		.reason = v->stop.reason,
		.exit_status = v->stop.status,
		.forced = atomic_load(&v->counted.forced),
		.repins = atomic_load(&v->counted.repins),
		.restarts = atomic_load(&v->counted.restarts),
		.instructions = mailbox_counts(v->replies.at, v->machine.vcpus),
		.instruction_kinds = MAILBOX_COUNTS,
	};
	int err;

	if (!v->stats)
		return;
	err = stats_write(v->stats, &run);
	if (err)
		log_error("--stats %s: %s", v->options->stats, strerror(-err));
	stats_close(v->stats);
}

/* Sees the guest, which runs, to its end; returns the exit status. */
static int run(struct vm *v, int signal_fd, int dump_fd)
{
	watch(v, signal_fd);
	collect_vcpus(v);
	emulator_kill_all(v);
	watchdog_end(v);
	console_terminal_restore();
	dismantle(v);
	release_disks(v);
	write_dump(v, dump_fd);
	write_stats(v);
	log_message(v->stop.status ? LOG_ERROR : LOG_INFO, "%s", v->stop.reason);
	return v->stop.status;
}

/* A call that our own filter forbids: a defect of dvmm, or somebody who has taken it over. Say which, and die
 * of it. */
static void forbidden_call(int signo, siginfo_t *info, void *context)
{
	console_terminal_restore();
	log_error("system call %d is not allowed to dvmm while a guest runs; please report this",
		  info->si_syscall);
	signal(signo, SIG_DFL);
	raise(signo);
}

static void catch_forbidden_calls(void)
{
	struct sigaction action = {.sa_sigaction = forbidden_call, .sa_flags = SA_SIGINFO};

	sigaction(SIGSYS, &action, NULL);
}

/* Whoever starts us may have closed some of these. The next file opened, a disk say, would take the number's
 * place and get what is printed. */
static void open_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_NOCTTY) != fd)
			_exit(EXIT_HOST); /* there is nowhere to say why */
}

static void set_policy(struct vm *v)
{
	const struct options *o = v->options;

	v->policy = (struct watchdog_config){
		.quantum_ns = (uint64_t)o->quantum_ms * 1000000,
		.max_quanta = o->max_quanta,
		.on_stall = o->on_stall,
		.repins_per_second = o->repins_per_second,
		.repin_burst = o->repins_per_second,
		.restarts = o->max_restarts,
		.restart_window_ns = 60000000000ull,
	};
	for (uint32_t i = 0; i < MAILBOX_SLOTS; i++)
		atomic_store(&v->watch[i].repin_to, -1);
}

static int start(const struct options *o)
{
	struct failure f = {0};
	struct filter own;
	int signal_fd, dump_fd, status = -1;

	vm.options = o;
	vm.spawner.socket = vm.spawner.process.pidfd = vm.active.pidfd = vm.standby.pidfd = -1;
	pthread_mutex_init(&vm.emulator_lock, NULL);
	set_policy(&vm);
	vm.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	catch_forbidden_calls();
	signal_fd = open_signals(&f);
	if (vm.wake_fd < 0)
		fail_with(&f, EXIT_HOST, "cannot create an eventfd: %s", strerror(errno));
	else if (signal_fd >= 0 && prepare(&vm, &own, &dump_fd, &f)) {
		stats_close(vm.stats); /* removes the file if we have made it */
	} else if (signal_fd >= 0) {
		let_go(&vm, &own);
		status = run(&vm, signal_fd, dump_fd);
	}
	if (status >= 0)
		return status;
	log_error("%s", f.text);
	emulator_kill_all(&vm);
	release_disks(&vm);
	return f.status;
}

int main(int argc, char **argv)
{
	struct options o;
	struct failure f = {0};

	open_standard_files();
	futex_choose();
	if (options_parse(&o, argc, argv, &f)) {
		log_error("%s", f.text);
		return f.status;
	}
	log_set_level(o.log_level);
	if (o.in_process && !in_process && in_process_exec(argv, &f)) {
		log_error("%s", f.text);
		return f.status;
	}
	switch (o.action) {
	case ACTION_HELP:
		fputs(options_help, stdout);
		return 0;
	case ACTION_VERSION:
		puts("dvmm " PACKAGE_VERSION);
		return 0;
	case ACTION_CHECK_HOST:
		return check_host(stdout);
	case ACTION_RUN:
		break;
	}
	return start(&o);
}
