/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of emulators: which descriptors they get, at which numbers; waiting until the first one says that
 * it is in its sandbox; one that stands by, and takes over when the active one has died.
 *
 * Numbers: the four memory files and the spawner's socket, then all eventfds, in a range that the filters name, then the
 * backing files and the pipe of the beat, which are closed again before there are filters. Nothing else reaches the child.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulator/futex.h"
#include "emulator/image.h"
#include "seccomp/spawn.h"
#include "vmm/probes.h"
#include "vmm/spawner.h"

#define START_TIMEOUT_NS 10000000000ull
#define LOAD_TIMEOUT_NS  60000000000ull /* for unpacking the kernel, on a slow and busy host */

struct descriptors {
	struct sandbox_descriptor fd[SANDBOX_MAX_DESCRIPTORS];
	unsigned count;
	int next; /* number that the next device descriptor gets */
};

static void pass(struct descriptors *d, int from, int to)
{
	d->fd[d->count++] = (struct sandbox_descriptor){from, to};
}

/* Gives *fd, if there is one, the next number in the emulator and writes that number into *theirs. */
static void pass_next(struct descriptors *d, int fd, int32_t *theirs)
{
	*theirs = -1;
	if (fd < 0)
		return;
	pass(d, fd, d->next);
	*theirs = d->next++;
}

_Static_assert(FD_FIRST_EVENT == FILTER_FIRST_EVENT && FD_FIRST_EVENT + 2 * MACHINE_MAX_DEVICES <= FILTER_LAST_EVENT + 1 &&
		       FD_FIRST_EVENT + 2 * MACHINE_MAX_DEVICES + MACHINE_MAX_DISKS + 1 <= SANDBOX_MAX_DESCRIPTORS,
	       "descriptors have room");

/* Decides all numbers; *theirs becomes the machine as the emulator sees it. */
static void assign_descriptors(struct vm *vm, int spawner_end, struct descriptors *d, struct machine *theirs)
{
	*theirs = vm->machine;
	*d = (struct descriptors){.next = FD_FIRST_EVENT};
	pass(d, vm->requests.fd, FD_REQUEST);
	pass(d, vm->replies.fd, FD_REPLY);
	pass(d, vm->region.fd, FD_REGION);
	pass(d, vm->ram.fd, FD_MEMORY);
	pass(d, spawner_end, FD_SPAWNER);
	for (uint32_t i = 0; i < vm->machine.devices; i++) {
		pass_next(d, vm->machine.device[i].irq_fd, &theirs->device[i].irq_fd);
		pass_next(d, vm->machine.device[i].queue_fd, &theirs->device[i].queue_fd);
	}
	for (uint32_t i = 0; i < vm->machine.devices; i++)
		pass_next(d, vm->machine.device[i].file_fd, &theirs->device[i].file_fd);
	pass_next(d, vm->machine.beat_fd, &theirs->beat_fd);
}

/* For messages: what the operator named, or what everybody calls it. */
static const char *emulator_name(const struct vm *vm)
{
	return vm->options->emulator ? vm->options->emulator : "dvmm-emulator";
}

/* Opens the executable, once: whoever stands by later is the same program. A mistake in --emulator is told
 * before anything is started. */
static int open_emulator(const struct options *o, struct failure *f)
{
	char buffer[PATH_MAX];
	const char *path = o->emulator ? o->emulator : program_find("dvmm-emulator", buffer);
	int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && o->emulator)
		return fail_with(f, EXIT_USAGE, "--emulator %.200s: cannot be opened: %s", path,
				 strerror(errno));
	if (fd < 0)
		return fail_with(f, EXIT_HOST,
				 "%.200s: %s; install dvmm completely, or use --emulation=in-process", path,
				 strerror(errno));
	if (o->emulator && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || access(path, X_OK) < 0)) {
		close(fd);
		return fail_with(f, EXIT_USAGE,
				 "--emulator %.200s: not an executable file; leave the option out", path);
	}
	return fd;
}

int emulator_describe(struct vm *vm, int spawner_end, struct sandbox_spawn *spec,
		      struct sandbox_descriptor *list, struct failure *f)
{
	static char *argv[] = {"dvmm-emulator", NULL};
	struct descriptors d;
	int executable = open_emulator(vm->options, f);

	if (executable < 0)
		return -1;
	assign_descriptors(vm, spawner_end, &d, vm->requests.at);
	memcpy(list, d.fd, d.count * sizeof(d.fd[0]));
	*spec = (struct sandbox_spawn){
		.executable = executable, .argv = argv, .descriptors = list, .count = d.count};
	return 0;
}

/* Asks for the next incarnation, into *e. */
static int request_emulator(struct vm *vm, struct emulator_process *e)
{
	uint32_t incarnation = ++vm->incarnations;

	/* Odd and even ones have their places in the reply file, and the active one is using its own. */
	if (e != &vm->active && !((incarnation ^ vm->active.incarnation) & 1))
		incarnation = ++vm->incarnations;
	memset(mailbox_status(vm->replies.at, incarnation), 0, sizeof(struct emulator_status));
	*e = (struct emulator_process){.incarnation = incarnation,
				       .pidfd = -1,
				       .asked_ns = monotonic_ns(),
				       .moves_before = atomic_load(&vm->moves)};
	return spawner_request(vm->spawner.socket,
			       &(struct spawner_request){.order = SPAWNER_START, .incarnation = incarnation});
}

/* A pipe, because an eventfd that both sides can write could be filled up by a hostile emulator, and the watchdog would wait.
 * Only our end does not block. */
static int make_beat(struct vm *vm, struct failure *f)
{
	int end[2];

	if (pipe2(end, O_CLOEXEC) < 0 || fcntl(end[1], F_SETFL, O_WRONLY | O_NONBLOCK) < 0)
		return fail_with(f, EXIT_HOST, "cannot create a pipe: %s", strerror(errno));
	vm->machine.beat_fd = end[0];
	vm->beat_write_fd = end[1];
	return 0;
}

int emulator_start(struct vm *vm, struct failure *f)
{
	if (make_beat(vm, f))
		return -1;
	if (spawner_start(vm, &vm->spawner, f))
		return -1;
	vm->standby = (struct emulator_process){.pidfd = -1};
	request_emulator(vm, &vm->active); /* if the spawner is gone, emulator_wait_ready() learns why */
	return 0;
}

void emulator_move_worker(struct vm *vm, uint32_t slot)
{
	const struct machine *theirs = vm->requests.at;

	struct spawner_request r = {.order = SPAWNER_MOVE, .incarnation = vm->active.incarnation, .slot = slot};

	sched_cpu_set(&r.cpus, theirs->worker_cpu[slot], &vm->allowed);
	spawner_request(vm->spawner.socket, &r);
}

static uint32_t status_of(struct vm *vm, const struct emulator_process *e)
{
	return __atomic_load_n(&mailbox_status(vm->replies.at, e->incarnation)->state, __ATOMIC_ACQUIRE);
}

/* Its turn: everybody before it is dead. */
static void activate(struct vm *vm, const struct emulator_process *e)
{
	uint32_t *active = &mailbox_control(vm->requests.at)->active;

	__atomic_store_n(active, e->incarnation, __ATOMIC_SEQ_CST);
	futex_wake(active);
}

/* The signals that end dvmm are blocked, and nobody reads them yet. */
static bool end_is_pending(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) > 0 || sigismember(&pending, SIGINT) > 0 ||
		sigismember(&pending, SIGHUP) > 0);
}

static int start_failed(struct vm *vm, const struct spawner_message *m, struct failure *f)
{
	if (m->event == SPAWNER_FAILED)
		return fail_with(f, EXIT_HOST, "%.200s: %.230s", emulator_name(vm), m->error);
	if (status_of(vm, &vm->active) == EMULATOR_LOADING)
		return fail_with(f, EXIT_HOST, "%.200s: ended while it was unpacking %.200s",
				 emulator_name(vm), vm->options->kernel);
	return fail_with(f, EXIT_HOST,
			 "%.200s: ended while it was setting up its sandbox; see dvmm --check-host",
			 emulator_name(vm));
}

int emulator_wait_ready(struct vm *vm, struct failure *f)
{
	struct emulator_status *s = mailbox_status(vm->replies.at, vm->active.incarnation);
	const struct timespec step = {.tv_nsec = 20000000};
	const uint64_t start_ns = monotonic_ns();
	struct spawner_message m = {0};
	uint32_t state;

	if (spawner_wait_started(&vm->spawner, m.error))
		return fail_with(f, EXIT_HOST, "%.200s: %.230s", emulator_name(vm), m.error);
	while ((state = status_of(vm, &vm->active)) == EMULATOR_STARTING || state == EMULATOR_LOADING ||
	       (state == EMULATOR_READY && vm->active.pidfd < 0)) {
		int err = spawner_receive(vm->spawner.socket, &m);

		bool over = err == -EPIPE || (err == 0 && m.event != SPAWNER_STARTED);

		if (over && status_of(vm, &vm->active) == EMULATOR_FAILED)
			continue;
		if (over)
			return start_failed(vm, &m, f);
		if (err == 0)
			vm->active.pidfd = m.pidfd;
		if (end_is_pending())
			return fail_with(f, EXIT_GUEST_ENDED,
					 "stopped by a signal before the guest has started");
		if (state != EMULATOR_LOADING && monotonic_ns() - start_ns > START_TIMEOUT_NS)
			return fail_with(f, EXIT_HOST,
					 "%.200s: not ready within 10 s; is it a dvmm-emulator?",
					 emulator_name(vm));
		if (monotonic_ns() - start_ns > LOAD_TIMEOUT_NS)
			return fail_with(f, EXIT_HOST, "%.200s: has not unpacked %.200s within 60 s",
					 emulator_name(vm), vm->options->kernel);
		if (err)
			futex_wait(&s->state, state, &step);
	}
	if (state != EMULATOR_READY)
		return fail_with(f, EXIT_HOST, "%.200s: %.*s", emulator_name(vm), (int)sizeof(s->message) - 1,
				 s->message);
	activate(vm, &vm->active);
	return 0;
}

/* --- While the guest runs ---------------------------------------------------------------------- */

#define STANDBY_DELAY_NS     100000000ull /* a guest that ends at once needs none */
#define TAKEOVER_PATIENCE_NS 10000000000ull
#define RETRY_NS                                                                                             \
	100000000ull /* after a standby that could not be started; twice that after the next one, and so on  \
		      */
#define RETRY_DOUBLINGS 7
#define RETRY_DEAD_NS   200000000ull /* at most, while there is no active one */

static const char *how_it_ended(int status, char text[80])
{
	if (status < 0)
		snprintf(text, 80, "it is gone");
	else if (WIFEXITED(status))
		snprintf(text, 80, "it has ended with status %d", WEXITSTATUS(status));
	else
		snprintf(text, 80, "it was killed by signal %d (%s)", WTERMSIG(status),
			 WTERMSIG(status) == SIGSYS ? "it tried a forbidden system call"
						    : strsignal(WTERMSIG(status)));
	return text;
}

static void forget(struct emulator_process *e)
{
	if (e->pidfd >= 0)
		close(e->pidfd);
	*e = (struct emulator_process){.pidfd = -1};
}

/* The next one is not tried at once: what there is too little of, or what is not there, may be back later. */
static void standby_failed(struct vm *vm)
{
	vm->standby_at_ns = monotonic_ns() + (RETRY_NS << vm->failed_standbys);
	vm->failed_standbys += vm->failed_standbys < RETRY_DOUBLINGS;
	forget(&vm->standby);
}

/* It had got ready and was killed, or it has not got through its set-up, and perhaps has left word why. */
static void standby_ended(struct vm *vm)
{
	const struct emulator_status *s = mailbox_status(vm->replies.at, vm->standby.incarnation);

	if (status_of(vm, &vm->standby) == EMULATOR_READY) {
		vm->failed_standbys = 0;
		forget(&vm->standby);
		return;
	}
	if (status_of(vm, &vm->standby) == EMULATOR_FAILED)
		log_warn("dvmm-emulator %u: %.*s", vm->standby.incarnation, (int)sizeof(s->message) - 1,
			 s->message);
	standby_failed(vm);
}

static void handle_message(struct vm *vm, const struct spawner_message *m)
{
	struct emulator_process *standby = &vm->standby;
	char text[80];

	if (m->event == SPAWNER_STARTED && m->incarnation == standby->incarnation) {
		standby->pidfd = m->pidfd;
	} else if (m->event == SPAWNER_FAILED && m->incarnation == standby->incarnation) {
		log_warn("dvmm-emulator %u: %s", m->incarnation, m->error);
		standby_failed(vm);
	} else if (m->event == SPAWNER_ENDED) {
		log_message(vm_stopping(vm) || !vm->policy.restarts ? LOG_DEBUG : LOG_WARN,
			    "dvmm-emulator %u: %s", m->incarnation, how_it_ended(m->status, text));
		if (m->incarnation == standby->incarnation)
			standby_ended(vm);
		if (m->incarnation == vm->active.incarnation && !vm->active.dead)
			emulator_died(vm);
		if (!vm->policy.restarts && m->incarnation == vm->active.incarnation)
			vm_stop(vm, EXIT_EMULATOR_LOST, "dvmm-emulator is lost: %s", text);
	}
}

void emulator_messages(struct vm *vm)
{
	struct spawner_message m;
	int err;

	while ((err = spawner_receive(vm->spawner.socket, &m)) == 0)
		handle_message(vm, &m);
	if (err == -EPIPE)
		vm_stop(vm, EXIT_EMULATOR_LOST, "the spawner of dvmm-emulator is gone");
}

void emulator_died(struct vm *vm)
{
	vm->active.dead = true;
	vm->active.died_ns = monotonic_ns();
}

/*
 * What was under way is begun again, but its time goes on: what others do must not let it take longer than N
 * quanta. The death goes to the account of the requests that a worker had begun and not finished, which their
 * claims say: what nobody had looked at, or what had been committed, has killed nobody. If it was the
 * watchdog who killed, it did so because of one slot; only that one is to blame, and gets its time anew
 * (--on-stall restart). A claim of 0 says that the successor has not begun it.
 */
static void account_death(struct vm *vm)
{
	for (uint32_t i = 0; i <= vm->machine.vcpus; i++) {
		struct watch *w = &vm->watch[i];
		/* The oldest one not answered: those behind it have not been begun. */
		uint32_t seq = __atomic_load_n(&mailbox_reply(vm->replies.at, i)->seq, __ATOMIC_ACQUIRE) + 1;
		uint32_t begun = CLAIM(seq, CLAIM_OPEN);

		if (!queue_has(mailbox_queue(vm->requests.at, i), seq))
			continue;
		if (atomic_load(&w->forced_seq) == seq) {
			w->forced_ns =
				monotonic_ns(); /* the successor has a quantum of its own to acknowledge it */
			w->forced_for = seq;
			continue;
		}
		if (vm->active.killed_for == i + 1 && atomic_load(&w->began_ns))
			atomic_store(&w->began_ns, monotonic_ns());
		else if (vm->active.killed_for && vm->active.killed_for != i + 1)
			continue;
		if (!__atomic_compare_exchange_n(mailbox_claim(vm->replies.at, i), &begun, 0, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		if (atomic_load(&w->deaths_seq) != seq)
			atomic_store(&w->deaths, 0);
		atomic_store(&w->deaths_seq, seq);
		atomic_fetch_add(&w->deaths, 1);
	}
}

/* A reply may have been stored by somebody who died before waking the one who sleeps for it. */
static void wake_sleepers(struct vm *vm)
{
	for (uint32_t i = 0; i <= vm->machine.vcpus; i++)
		futex_wake(&mailbox_reply(vm->replies.at, i)->seq);
}

/* Workers go where the machine says when they start; those that stand by may have started before the last
 * move. */
static void move_workers(struct vm *vm)
{
	if (vm->active.moves_before == atomic_load(&vm->moves))
		return;
	for (uint32_t i = 0; i < vm->machine.vcpus; i++)
		emulator_move_worker(vm, i);
}

static void take_over(struct vm *vm)
{
	uint64_t died_ns = vm->active.died_ns;
	uint32_t before = vm->active.incarnation;

	pthread_mutex_lock(&vm->emulator_lock);
	account_death(vm);
	forget(&vm->active);
	vm->active = vm->standby;
	vm->standby = (struct emulator_process){.pidfd = -1};
	vm->failed_standbys = 0;
	watchdog_ask_io(vm, monotonic_ns());
	pthread_mutex_unlock(&vm->emulator_lock);
	watchdog_look(vm); /* a request that has killed twice is not given to a third */
	move_workers(vm);
	activate(vm, &vm->active);
	wake_sleepers(vm);
	PROBE3(restart, before, vm->active.incarnation, monotonic_ns() - died_ns);
	atomic_fetch_add(&vm->counted.restarts, 1);
	log_warn("dvmm-emulator %u has taken over from %u, %llu us after its end", vm->active.incarnation,
		 before, (unsigned long long)(monotonic_ns() - died_ns) / 1000);
}

/* The active emulator is dead. */
static int tend_death(struct vm *vm)
{
	struct emulator_process *standby = &vm->standby;

	if (vm->active.dead && !vm->active.asked_ns) /* the budget has been asked about this death already */
		;
	else if (!watchdog_restart_allowed(&vm->policy, &vm->restarts, monotonic_ns())) {
		if (vm->policy.restarts)
			vm_stop(vm, EXIT_EMULATOR_LOST,
				"dvmm-emulator is lost: it died more than %u times in %llu s",
				vm->policy.restarts,
				(unsigned long long)(vm->policy.restart_window_ns / 1000000000));
		else if (monotonic_ns() - vm->active.died_ns > TAKEOVER_PATIENCE_NS)
			vm_stop(vm, EXIT_EMULATOR_LOST, "dvmm-emulator is lost");
		return 100; /* without restarts the spawner's message, which says how it ended, ends the
			       machine */
	}
	vm->active.asked_ns = 0;
	if (standby->incarnation && standby->pidfd >= 0 && status_of(vm, standby) == EMULATOR_READY)
		take_over(vm);
	else if (monotonic_ns() - vm->active.died_ns > TAKEOVER_PATIENCE_NS)
		vm_stop(vm, EXIT_EMULATOR_LOST, "dvmm-emulator is lost: no other one gets ready");
	return 1;
}

/* Asks for a standby if there is none and it is time. Returns as emulator_tend(). */
static int tend_standby(struct vm *vm)
{
	uint64_t now_ns = monotonic_ns(), at_ns;

	if (!vm->policy.restarts || vm->standby.incarnation)
		return -1;
	if (vm->active.dead && vm->standby_at_ns > now_ns + RETRY_DEAD_NS)
		vm->standby_at_ns = now_ns + RETRY_DEAD_NS;
	at_ns = vm->standby_at_ns;
	if (!vm->active.dead && at_ns < vm->started_ns + STANDBY_DELAY_NS)
		at_ns = vm->started_ns + STANDBY_DELAY_NS;
	if (now_ns < at_ns)
		return (int)((at_ns - now_ns) / 1000000) + 1;
	if (vm->incarnations == FIRST_INCARNATION)
		image_release_startup(); /* what was only needed to get here */
	if (request_emulator(vm, &vm->standby))
		vm_stop(vm, EXIT_EMULATOR_LOST, "the spawner of dvmm-emulator is gone");
	return -1;
}

int emulator_tend(struct vm *vm)
{
	int wait_ms;

	if (vm->spawner.socket < 0)
		return -1;
	wait_ms = tend_standby(vm);
	return vm->active.dead ? tend_death(vm) : wait_ms;
}

/* The end of the spawner is that of all others; killed one by one they die side by side. */
void emulator_kill_all(struct vm *vm)
{
	const int pidfds[] = {vm->active.pidfd, vm->standby.pidfd};

	if (vm->spawner.process.pidfd < 0)
		return;
	for (int i = 0; i < 2; i++)
		if (pidfds[i] >= 0)
			syscall(SYS_pidfd_send_signal, pidfds[i], SIGKILL, NULL, 0);
	spawner_kill(&vm->spawner);
}

bool emulator_wait_gone(struct vm *vm)
{
	return vm->spawner.process.pidfd < 0 || spawner_wait_gone(&vm->spawner);
}
