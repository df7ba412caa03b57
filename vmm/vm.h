/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual machine as dvmm holds it: descriptors, shared memory, vCPUs, and how its life ends.
 *
 * Threads: built by the main thread before any other thread exists; immutable from then on, except for `stop`
 * (atomic) and what belongs to a vCPU, which only its own thread touches.
 */
#ifndef DVMM_VMM_VM_H
#define DVMM_VMM_VM_H

#include <limits.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "emulator/core.h"
#include "emulator/io.h"
#include "emulator/mailbox.h"
#include "sched/topology.h"
#include "sched/watchdog_policy.h"
#include "seccomp/filters.h"
#include "seccomp/spawn.h"
#include "vmm/failure.h"
#include "vmm/options.h"
#include "vmm/registers.h"

struct stats;

/* An emulator as dvmm sees it: the active one, or the one that stands by. */
struct emulator_process {
	uint32_t incarnation; /* 0: there is none */
	int pidfd;            /* -1: it has not been started yet */
	uint64_t asked_ns;    /* when the spawner was asked for it */
	bool dead;            /* active one: its end has been seen, its successor does not serve yet */
	uint64_t died_ns;
	uint64_t moves_before; /* vm.moves when it was asked for: its workers know of these */
	uint32_t killed_for;   /* 1 + the slot because of which the watchdog has killed it; 0: it has not */
};

/* A vCPU does not leave posts behind for longer than three times this: the last character on the console, which people
 * still take for immediate. */
#define POST_PATIENCE_NS 30000000ull

/* What the watchdog knows of a mailbox slot. The slot's owner writes began_ns, everybody else only what is
 * said. */
struct watch {
	_Atomic uint64_t began_ns;  /* since when the owner waits for what is under way (owner, takeover); 0: it does not */
	_Atomic uint64_t posted_ns; /* when the first of those posts was sent that the owner has not waited for; 0: none */
	_Atomic uint32_t
		forcing_seq; /* the watchdog has tried to decide about this request: only then its claim has to be looked at */
	_Atomic uint32_t
		forced_seq; /* the watchdog has completed this request by force; the owner forgets old ones */
	_Atomic int repin_to; /* with it: CPU to go to before the guest is entered, -1: stay (watchdog) */
	_Atomic uint32_t forces; /* how many requests of this slot have been (watchdog) */
	uint64_t forced_ns;   /* when (with emulator_lock) */
	uint32_t forced_for;  /* which one forced_ns is about (with emulator_lock) */
	uint64_t resumed_ns;  /* when one was that others had been waiting behind (with emulator_lock) */
	uint64_t unbound_until_ns; /* vCPU and worker may run anywhere until then, 0: are bound (with
				      emulator_lock) */
	_Atomic uint32_t
		deaths; /* emulators that died while request deaths_seq was under way (with emulator_lock) */
	_Atomic uint32_t deaths_seq;
} __attribute__((aligned(64))); /* vCPUs write theirs at every operation */

/* A shared memory file and where it is mapped here. */
struct shared_memory {
	void *at;
	uint64_t bytes;
	int fd;
};

struct vcpu {
	struct vm *vm;
	uint32_t index;
	int fd;
	_Atomic int cpu; /* host CPU it is bound to or was last, -1: never; its own thread moves it, the
			    watchdog sends it home */
	int home;        /* where it starts */
	_Atomic pid_t tid;
	struct kvm_run *run;
	size_t run_bytes;
	pthread_t thread;
	uint64_t console_head;  /* of the last reply that was obeyed */
	uint32_t forces;        /* watch.forces, when it was last looked at */
	uint32_t unknown_insns; /* reported so far */
	atomic_bool running;    /* the thread has not ended yet */
	struct filter filter;   /* of its system calls */
};

/* Why the machine stops. The first one who asks decides. */
struct stop {
	atomic_int asked;
	atomic_bool told; /* status and reason are valid */
	int status;       /* enum exit_status */
	char reason[200];
};

struct vm {
	const struct options *options;
	struct machine machine; /* with our own descriptor numbers; the emulator gets a copy with its own */
	struct region_layout layout;
	struct guest_memory memory;
	struct shared_memory requests, replies, region, ram;
	struct registers registers;

	int kvm_fd, vm_fd;
	bool exit_on_emulation_failure; /* KVM leaves it to us, and queues no #UD of its own */
	struct kvm_cpuid2 *cpuid; /* what KVM can offer, once it has been asked (vmm/cpuid.c) */
	struct vcpu vcpu[MACHINE_MAX_VCPUS];

	struct spawner_handle {
		int socket; /* -1: in-process */
		struct sandbox_child process;
	} spawner;
	uint32_t incarnations; /* emulators ever asked for */
	uint32_t
		failed_standbys; /* one after another; the next is asked for at standby_at_ns (main thread) */
	uint64_t standby_at_ns;
	pthread_mutex_t emulator_lock; /* active and the machine's worker_cpu (the main thread and the
					  watchdog change them), and the watchdog's own state */
	struct emulator_process active, standby;
	struct restart_budget restarts; /* main thread */
	struct watchdog_config policy;
	struct topology allowed; /* CPUs that vCPUs and workers may be moved to */
	_Atomic uint64_t moves;  /* changes to the machine's worker_cpu */
	struct watch watch[MAILBOX_SLOTS];
	struct {
		_Atomic uint64_t next_ns; /* when it looks next; UINT64_MAX: it is about to decide that */
		uint32_t bell;            /* futex: incremented to have it look now */
		atomic_bool over;         /* nothing is left to be watched */
	} watchdog;
	_Atomic uint32_t posters[MACHINE_MAX_DEVICES]; /* bit n: slot n has posted to it, and not waited for that yet */
	int beat_write_fd;    /* the other end of machine.beat_fd, ours alone; does not block */
	uint64_t io_asked_ns; /* when the I/O thread was last asked whether it lives (with emulator_lock) */
	struct {
		_Atomic uint64_t forced, repins, restarts;
	} counted;
	struct core *core; /* in-process only */
	struct io *io;

	pthread_barrier_t gate; /* where every thread waits, filtered, until all are and the guest may run */
	uint64_t started_ns;  /* when the guest was let go */

	int wake_fd;              /* eventfd: something for the main thread to look at */
	atomic_bool console_room; /* the UART can take typed bytes again */
	struct stop stop;
	struct stats *stats; /* NULL: not asked for */
};

/* Asks the machine to stop; any thread, any number of times; the first reason is kept. */
void vm_stop(struct vm *vm, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool vm_stopping(struct vm *vm);
/* The same, once status and reason can be read. */
bool vm_stop_told(struct vm *vm);

/* Has the main thread look at the VM. Any thread; async-signal-safe. */
void vm_wake_main(struct vm *vm);

/* vmm/shared_memory.c: a sealed memfd of `bytes`, mapped here. writable false: nobody else can map it for
 * writing. */
int shared_memory_create(struct shared_memory *s, const char *name, uint64_t bytes, bool writable,
			 struct failure *f);
/* Has our page tables know the pages among the first `bytes` that another process has filled. Where that cannot be
 * done nothing is lost but time. */
void shared_memory_map_present(const struct shared_memory *s, uint64_t bytes);

/* vmm/machine_build.c: the device table, eventfds and disks of this command line; fills *m. */
int machine_build(struct machine *m, const struct options *o, struct failure *f);

/* vmm/kvm.c: opens /dev/kvm, makes the VM with interrupt controllers, memory, lines and doorbells. */
int kvm_open(struct vm *vm, struct failure *f);
int kvm_create_machine(struct vm *vm, struct failure *f);

/* vmm/vcpu.c */
struct boot_entry;
int vcpu_create(struct vm *vm, uint32_t index, struct failure *f);
/* The first one starts here; the others wait for the guest's INIT and start-up IPIs. */
int vcpu_set_entry(struct vcpu *vcpu, const struct boot_entry *entry, struct failure *f);
int vcpu_start(struct vcpu *vcpu, struct failure *f);
/* Its thread has been joined. */
void vcpu_destroy(struct vcpu *vcpu);
/* Makes a vCPU thread leave the guest or whatever it waits for, to look at vm_stopping(), and to wait for
 * what it has posted. Any thread (vmm/vm.c). */
#define VCPU_KICK_SIGNAL SIGUSR1
void vcpu_kick(struct vcpu *vcpu);

/* vmm/cpuid.c: what the guest's CPUID says; forget when all vCPUs have been told. */
int cpuid_set(struct vm *vm, struct vcpu *vcpu, struct failure *f);
void cpuid_forget(struct vm *vm);

/* vmm/emulator_process.c: the life of emulators. Main thread only. */
struct sandbox_spawn;
struct sandbox_descriptor;
/* What is started: *spec, its list of descriptors, spawner_end of a socket among them, and the machine with the emulator's
 * numbers, in the request file. */
int emulator_describe(struct vm *vm, int spawner_end, struct sandbox_spawn *spec, struct sandbox_descriptor *list,
		      struct failure *f);
/* Starts the spawner and has it start the first emulator; waits until that is in its sandbox and serves. */
int emulator_start(struct vm *vm, struct failure *f);
int emulator_wait_ready(struct vm *vm, struct failure *f);
/* Takes note of what the spawner says. */
void emulator_messages(struct vm *vm);
/* The active emulator has ended, its pidfd says. */
void emulator_died(struct vm *vm);
/* Moves the worker of a slot to the CPU that the emulator's machine says, soon. With emulator_lock, any
 * thread. */
void emulator_move_worker(struct vm *vm, uint32_t slot);
/* Does what can be done now: a standby is asked for, or takes over. Returns in how many ms to come again, -1:
 * no need. */
int emulator_tend(struct vm *vm);
/* Kills the spawner and all emulators, if they have been started; waits a while until they are gone, and says whether
 * they are. */
void emulator_kill_all(struct vm *vm);
bool emulator_wait_gone(struct vm *vm);

/* vmm/watchdog.c: the thread that bounds operations. */
int watchdog_start(struct vm *vm, struct failure *f);
/* When no vCPU runs any more: the thread ends before long. Nobody waits for that. */
void watchdog_end(struct vm *vm);
/* Asks the active emulator's I/O thread to show that it works. With emulator_lock. */
void watchdog_ask_io(struct vm *vm, uint64_t now_ns);
/* Looks at all slots now, and does what is due; returns when to look again. Any thread. */
uint64_t watchdog_look(struct vm *vm);
/* An executable of ours: beside this one (a build tree), else where it was installed. */
const char *program_find(const char *name, char path[PATH_MAX]);
/* Was this process started with that signal ignored, as by nohup? It stays so. */
bool program_ignores(int signo);

#endif
