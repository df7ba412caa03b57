/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dvmm on a terminal: raw while the guest runs, and restored byte for byte on every way out. And dvmm on a pipe that nobody
 * reads, which needs a small pipe and is here for that reason only.
 *
 * Theory of operation: for each case, a process like a shell becomes leader of a session on a new pseudo-terminal and starts dvmm as
 * its foreground job, so that job control and hang-up happen as they do for a user. We hold the master, and the slave as well, to
 * look at its settings.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS  10
#define LIMIT_MS 10000 /* anything that takes longer has not happened */

struct session {
	const char *name;
	bool nohup; /* dvmm is started as nohup and a shell without job control would */
	int master, slave;
	pid_t shell, dvmm;
	struct termios before;
	char seen[4096]; /* what the guest has printed */
	size_t seen_bytes;
	bool failed;
};

static const char *dvmm = "./dvmm";

static void pause_ms(int ms)
{
	const struct timespec t = {.tv_nsec = ms * 1000000};

	nanosleep(&t, NULL);
}

static void fail(struct session *s, const char *what)
{
	printf("FAIL: %s: %s\n", s->name, what);
	s->failed = true;
}

/* Not as we have inherited them: a test may itself have been started in the background. */
static void set_signals(void (*handler)(int))
{
	signal(SIGHUP, handler);
	signal(SIGINT, handler);
	signal(SIGQUIT, handler);
}

static void be_shell(struct session *s, int report, const char *guest)
{
	const struct rlimit no_core = {0, 0};
	char path[256];
	pid_t child;
	int status;

	setsid();
	ioctl(s->slave, TIOCSCTTY, 0);
	set_signals(SIG_DFL);
	signal(SIGTTOU, SIG_IGN);
	child = fork();
	if (child == 0) {
		setpgid(0, 0);
		tcsetpgrp(s->slave, getpid());
		signal(SIGTTOU, SIG_DFL);
		set_signals(s->nohup ? SIG_IGN : SIG_DFL);
		setrlimit(RLIMIT_CORE, &no_core);
		dup2(s->slave, STDIN_FILENO);
		dup2(s->slave, STDOUT_FILENO);
		closefrom(STDERR_FILENO + 1);
		snprintf(path, sizeof(path), "tests/guests/%s.elf", guest);
		execl(dvmm, "dvmm", "--kernel", path, "--mem", "32M", NULL);
		_exit(127);
	}
	close(s->master);
	if (write(report, &child, sizeof(child)) != sizeof(child) || waitpid(child, &status, 0) != child ||
	    write(report, &status, sizeof(status)) != sizeof(status))
		_exit(1);
	_exit(0);
}

/* Starts dvmm; *report becomes the descriptor that its status comes from. */
static void start(struct session *s, const char *guest, int *report)
{
	int ends[2];

	if (openpty(&s->master, &s->slave, NULL, NULL, NULL) || pipe2(ends, O_CLOEXEC)) {
		perror("openpty");
		exit(1);
	}
	/* Settings that nobody would guess. */
	tcgetattr(s->slave, &s->before);
	s->before.c_cc[VERASE] = 0x11;
	s->before.c_cc[VMIN] = 7;
	s->before.c_lflag ^= ECHOK | NOFLSH;
	s->before.c_iflag |= IXON | IXANY;
	tcsetattr(s->slave, TCSANOW, &s->before);
	memset(&s->before, 0, sizeof(s->before));
	tcgetattr(s->slave, &s->before);
	fcntl(s->master, F_SETFL, O_NONBLOCK);

	s->shell = fork();
	if (s->shell == 0)
		be_shell(s, ends[1], guest);
	close(ends[1]);
	*report = ends[0];
	if (read(ends[0], &s->dvmm, sizeof(s->dvmm)) != sizeof(s->dvmm))
		fail(s, "has not started");
}

static bool restored(struct session *s)
{
	struct termios now;

	memset(&now, 0, sizeof(now));
	return tcgetattr(s->slave, &now) == 0 && !memcmp(&now, &s->before, sizeof(now));
}

static bool raw(struct session *s)
{
	struct termios now;

	return tcgetattr(s->slave, &now) == 0 && !(now.c_lflag & (ICANON | ECHO | ISIG | IEXTEN)) &&
	       !(now.c_iflag & (ICRNL | IXON));
}

static bool stopped(struct session *s)
{
	char path[64], line[512] = "";
	FILE *f;
	char *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)s->dvmm);
	f = fopen(path, "r");
	if (!f)
		return false;
	state = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return state && state[2] == 'T';
}

static void look(struct session *s)
{
	ssize_t n = read(s->master, s->seen + s->seen_bytes, sizeof(s->seen) - s->seen_bytes);

	if (n > 0)
		s->seen_bytes += (size_t)n;
}

static void expect(struct session *s, bool (*true_now)(struct session *), const char *what)
{
	for (int ms = 0; !true_now(s); ms += STEP_MS) {
		if (ms > LIMIT_MS) {
			fail(s, what);
			return;
		}
		pause_ms(STEP_MS);
	}
}

static void expect_output(struct session *s, const char *text)
{
	for (int ms = 0; !memmem(s->seen, s->seen_bytes, text, strlen(text)); ms += STEP_MS) {
		if (ms > LIMIT_MS) {
			fail(s, "the guest has not printed what it should");
			return;
		}
		pause_ms(STEP_MS);
		look(s);
	}
}

static void type_text(struct session *s, const char *text)
{
	if (write(s->master, text, strlen(text)) != (ssize_t)strlen(text))
		fail(s, "cannot type");
}

/* The emulator of a running dvmm. */
static pid_t emulator_of(pid_t parent)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		char path[300];
		int pid, ppid;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		f = fopen(path, "r");
		if (f && fscanf(f, "%d (%*[^)]) %*c %d", &pid, &ppid) == 2 && ppid == parent)
			found = pid;
		if (f)
			fclose(f);
	}
	if (proc)
		closedir(proc);
	return found;
}

static void end_by_signal(struct session *s, int signo)
{
	expect_output(s, ".");
	expect(s, raw, "the terminal does not become raw");
	kill(s->dvmm, signo);
}

static void end_by_itself(struct session *s, int unused) {}

static void end_by_escape(struct session *s, int unused)
{
	expect_output(s, ".");
	expect(s, raw, "the terminal does not become raw");
	type_text(s, "\x03\x1a\x1c"); /* Ctrl-C, Ctrl-Z, Ctrl-\: nothing to dvmm */
	type_text(s, "\x01y\x01x");
}

static void kill_emulator(struct session *s, int unused)
{
	pid_t emulator;

	expect_output(s, ".");
	emulator = emulator_of(s->dvmm);
	if (emulator <= 0)
		fail(s, "has no emulator");
	else
		kill(emulator, SIGKILL);
}

/* What a terminal would act upon reaches the guest. */
static void control_characters(struct session *s, int unused)
{
	expect(s, raw, "the terminal does not become raw");
	type_text(s, "<\x03\x1a\x1c\x13\x11\x04\x7f\x01\x01\r>");
	expect_output(s, "<\x03\x1a\x1c\x13\x11\x04\x7f\x01\r>");
	type_text(s, "\nq");
}

static void ignore_signals(struct session *s, int unused)
{
	expect(s, raw, "the terminal does not become raw");
	kill(s->dvmm, SIGHUP);
	kill(s->dvmm, SIGINT);
	kill(s->dvmm, SIGQUIT);
	pause_ms(STEP_MS);
	type_text(s, "<>");
	expect_output(s, "<>");
	kill(s->dvmm, SIGTERM);
}

static void stop_and_continue(struct session *s, int unused)
{
	expect_output(s, ".");
	expect(s, raw, "the terminal does not become raw");
	for (int i = 0; i < 2; i++) {
		kill(s->dvmm, SIGTSTP);
		expect(s, stopped, "SIGTSTP does not stop it");
		if (!restored(s))
			fail(s, "stopped, and the terminal is not restored");
		kill(s->dvmm, SIGCONT);
		expect(s, raw, "continued, and the terminal is not raw");
	}
	/* Stopped without notice; a shell puts its own settings back then. */
	kill(s->dvmm, SIGSTOP);
	expect(s, stopped, "SIGSTOP does not stop it");
	tcsetattr(s->slave, TCSANOW, &s->before);
	kill(s->dvmm, SIGCONT);
	expect(s, raw, "continued after SIGSTOP, and the terminal is not raw");
	type_text(s, "\x01x");
}

struct scenario {
	const char *name, *guest;
	void (*play)(struct session *s, int arg);
	int arg;
	int status; /* exit status, or minus the signal that it dies of */
};

static const struct scenario scenarios[] = {
	{"power off", "hello", end_by_itself, 0, 0},
	{"guest crash", "triple", end_by_itself, 0, 3},
	{"Ctrl-A X", "spin", end_by_escape, 0, 0},
	{"Ctrl-A X, halted guest", "halt", end_by_escape, 0, 0},
	{"control characters", "uart_echo", control_characters, 0, 0},
	{"job control", "spin", stop_and_continue, 0, 0},
	{"emulator killed", "spin", kill_emulator, 0, 4},
	{"SIGTERM", "spin", end_by_signal, SIGTERM, 0},
	{"SIGINT", "halt", end_by_signal, SIGINT, 0},
	{"SIGHUP", "spin", end_by_signal, SIGHUP, 0},
	{"SIGHUP and so on, ignored", "uart_echo", ignore_signals, 0, 0},
	{"SIGQUIT", "spin", end_by_signal, SIGQUIT, -SIGQUIT},
	{"SIGSEGV", "spin", end_by_signal, SIGSEGV, -SIGSEGV},
	{"SIGBUS", "halt", end_by_signal, SIGBUS, -SIGBUS},
	{"SIGILL", "spin", end_by_signal, SIGILL, -SIGILL},
	{"SIGFPE", "spin", end_by_signal, SIGFPE, -SIGFPE},
	{"SIGABRT", "spin", end_by_signal, SIGABRT, -SIGABRT},
	{"SIGTRAP", "spin", end_by_signal, SIGTRAP, -SIGTRAP},
	{"SIGSYS", "spin", end_by_signal, SIGSYS, -SIGSYS},
	{"SIGALRM", "spin", end_by_signal, SIGALRM, -SIGALRM},
	{"SIGUSR2", "halt", end_by_signal, SIGUSR2, -SIGUSR2},
	{"SIGXCPU", "spin", end_by_signal, SIGXCPU, -SIGXCPU},
};

/* Waits for dvmm's status, which comes from its shell; kills it if it takes too long. */
static int end_status(struct session *s, int report)
{
	struct pollfd ready = {.fd = report, .events = POLLIN};
	int status = 0;

	for (int ms = 0; poll(&ready, 1, STEP_MS) == 0; ms += STEP_MS) {
		look(s); /* or its output might not fit */
		if (ms > LIMIT_MS) {
			fail(s, "does not end");
			kill(s->dvmm, SIGKILL);
			break;
		}
	}
	if (read(report, &status, sizeof(status)) != sizeof(status))
		fail(s, "its status is lost");
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static bool run(const struct scenario *scenario)
{
	struct session s = {.name = scenario->name, .nohup = scenario->play == ignore_signals};
	int report, status;

	start(&s, scenario->guest, &report);
	scenario->play(&s, scenario->arg);
	status = end_status(&s, report);
	if (status != scenario->status) {
		printf("%s: status %d, expected %d\n", s.name, status, scenario->status);
		fail(&s, "wrong status");
	}
	if (!restored(&s))
		fail(&s, "the terminal is not as it was");
	waitpid(s.shell, NULL, 0);
	close(s.master);
	close(s.slave);
	close(report);
	printf("%s: %s\n", s.name, s.failed ? "failed" : "ok");
	return !s.failed;
}

/* The window is closed: the shell ends, and so does its job. */
static bool run_hang_up(void)
{
	struct session s = {.name = "hang-up"};
	int report, status = -1;
	pid_t ended = 0;

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	start(&s, "spin", &report);
	expect_output(&s, ".");
	expect(&s, raw, "the terminal does not become raw");
	close(s.master);
	waitpid(s.shell, NULL, 0);
	for (int ms = 0; ms <= LIMIT_MS && !ended; ms += STEP_MS) {
		ended = waitpid(s.dvmm, &status, WNOHANG);
		pause_ms(STEP_MS);
	}
	if (ended != s.dvmm) {
		fail(&s, "does not end");
		kill(s.dvmm, SIGKILL);
		waitpid(s.dvmm, NULL, 0);
	} else if (status != 0) {
		fail(&s, "wrong status");
	}
	close(s.slave);
	close(report);
	printf("%s: %s\n", s.name, s.failed ? "failed" : "ok");
	return !s.failed;
}

/* A guest that fills a pipe waits, which is no reason for dvmm to outlive a SIGTERM, or to die earlier. */
static bool run_unread(const char *name, int flags)
{
	struct session s = {.name = name};
	int out[2], in[2], unread = 0, status = -1, bytes;
	char text[4096];
	pid_t ended = 0;

	if (pipe2(out, O_CLOEXEC) || pipe2(in, O_CLOEXEC))
		return false;
	/* All but a few bytes are there already: some guests take their time to print a page. */
	bytes = fcntl(out[1], F_SETPIPE_SZ, sizeof(text));
	memset(text, 'x', sizeof(text));
	if (bytes != sizeof(text) || write(out[1], text, sizeof(text) - 16) < 0 || write(in[1], text, 64) < 0)
		return false;
	fcntl(out[1], F_SETFL, flags);
	s.dvmm = fork();
	if (s.dvmm == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		execl(dvmm, "dvmm", "--kernel", "tests/guests/uart_echo.elf", "--mem", "32M", NULL);
		_exit(127);
	}
	for (int ms = 0; ms <= LIMIT_MS && unread < bytes; ms += STEP_MS) {
		pause_ms(STEP_MS);
		ioctl(out[0], FIONREAD, &unread);
	}
	pause_ms(100); /* the byte that does not fit */
	if (unread < bytes)
		fail(&s, "the guest has not filled the pipe");
	if (waitpid(s.dvmm, &status, WNOHANG))
		fail(&s, "has ended because nobody read");
	kill(s.dvmm, SIGTERM);
	for (int ms = 0; !s.failed && ms <= LIMIT_MS && !ended; ms += STEP_MS) {
		ended = waitpid(s.dvmm, &status, WNOHANG);
		pause_ms(STEP_MS);
	}
	if (!s.failed && (ended != s.dvmm || status != 0))
		fail(&s, "does not end by SIGTERM with status 0");
	if (!ended) {
		kill(s.dvmm, SIGKILL);
		waitpid(s.dvmm, NULL, 0);
	}
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
	printf("%s: %s\n", s.name, s.failed ? "failed" : "ok");
	return !s.failed;
}

int main(void)
{
	int failed = 0, kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0) {
		puts("SKIP: /dev/kvm cannot be opened");
		return 77;
	}
	close(kvm);
	if (getenv("DVMM"))
		dvmm = getenv("DVMM");
	setvbuf(stdout, NULL, _IONBF, 0);
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		failed += !run(&scenarios[i]);
	failed += !run_hang_up();
	failed += !run_unread("unread pipe", 0);
	failed += !run_unread("unread pipe, non-blocking", O_NONBLOCK);
	return failed ? 1 : 0;
}
