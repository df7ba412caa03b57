/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Benchmarks: what dvmm costs, each figure next to the least that the host can do, measured in the same run.
 *
 * Shared by dvmm-bench, which makes the report, and by tests/bench/bench, which has what takes minutes and a
 * build directory. What is compared is interleaved, so that a host that slows down meanwhile slows all of it.
 * Times are nanoseconds unless named otherwise. Functions return 0, or -1 after one line on stderr.
 */
#ifndef DVMM_BENCH_H
#define DVMM_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bench {
	const char *dvmm;     /* program under test */
	const char *bare_kvm; /* tests/bench/bare_kvm */
	const char *plain;    /* tests/bench/plain/dvmm */
	const char *guests;   /* folder of the payloads */
	unsigned rounds;      /* 0: each benchmark's own choice */
	const char *plot;     /* file for what gnuplot draws, or NULL */
	json_t *result;
};

/* tests/bench/bench: prints a table and adds an object of its name to the result. */
int bench_attack(const struct bench *b);
int bench_price(const struct bench *b);

/* Samples of one quantity. Memory is the owner's: samples_free(). */
struct samples {
	uint64_t *value;
	size_t count;
	size_t room;
};

int samples_add(struct samples *s, uint64_t value);
void samples_free(struct samples *s);

/* The value that p of 1000 samples do not exceed; sorts them. 0 if there are none. */
uint64_t samples_quantile(struct samples *s, unsigned p);

/*
 * An interval for the median of what the samples were drawn from, by order statistics: no assumption but that
 * they are independent. Returns the confidence: at least 0.95 from 6 samples on, less with fewer. Sorts them.
 */
double samples_interval(struct samples *s, uint64_t *low, uint64_t *high);

uint64_t now_ns(void);

/* Cycles of this host's TSC per microsecond, measured once against CLOCK_MONOTONIC_RAW. */
double tsc_mhz(void);

/* The nth CPU that this process may run on, or -1. */
int allowed_cpu(unsigned nth);

/* --- child.c: programs under test ----------------------------------------------------------- */

struct child {
	pid_t pid;
	int output, errors;  /* what it prints, -1 if that was not asked for; what it complains of */
	char complaint[200]; /* its first line, after child_end() */
};

/* From here on a signal ends those running, removes these files and folders (a list that ends with NULL, and
 * may get longer) and ends us, with a line and status 128 + number. */
void child_signals_init(const char *const scratch[]);

/* Starts argv[0] (a path) with stdin empty. output, errors: descriptors; an output of -1 is discarded. */
int child_spawn(pid_t *pid, const char *const argv[], int output, int errors);

/* waitpid() for those started so. */
pid_t child_wait(pid_t pid, int *status, int options);

/* The same with stdout discarded, or readable in child->output, and stderr kept. */
int child_start(struct child *child, const char *const argv[], bool want_output);

/* Waits until it has ended, at most limit_ms, then kills it; its exit status, or -1. Closes output. */
int child_end(struct child *child, int limit_ms);

/* Runs it to its end; *ns: from before exec to after its exit. -1 also if the exit status is not the one
 * wanted. */
int child_time(struct child *child, const char *const argv[], int want_status, uint64_t *ns);

/* Reads exactly len bytes, waiting at most limit_ms for each piece. */
int child_read(const struct child *child, void *to, size_t len, int limit_ms);

/*
 * Moves us, and who we start, into one scheduling group, so that threads compete with each other as threads
 * do: the session that each emulator makes would else be a group of its own where sched_autogroup_enabled is
 * set. Its weight is the usual one: with a greater one, what else runs on this host would be kept from ending
 * its RCU read sections, and no emulator could start meanwhile. Says so if it cannot.
 */
void scheduling_group_enter(void);

/* --- restart.c ------------------------------------------------------------------------------ */

/* Kills emulators of one guest and adds the times to the first reply of the next (ns). spaced: only when
 * another stands by and is idle. */
int restart_series(const struct bench *b, bool spaced, unsigned kills, struct samples *s);

/* --- latency.c ------------------------------------------------------------------------------ */

enum latency_mode { LATENCY_IN_PROCESS, LATENCY_SAME_CPU, LATENCY_SPIN, LATENCY_MODES };
enum latency_kind {
	LATENCY_NOTHING,
	LATENCY_PIO_READ,
	LATENCY_PIO_WRITE,
	LATENCY_MMIO_READ,
	LATENCY_MMIO_WRITE,
	LATENCY_KINDS,         /* the guest's word `registers` adds those of real devices */
	LATENCY_TRANSMIT = 7,  /* the one that prints as many characters as it is done times */
	LATENCY_ALL_KINDS = 18 /* as in tests/guests/latency.c */
};
extern const char *const latency_mode_title[LATENCY_MODES];
extern const char *const latency_kind_name[LATENCY_KINDS], *const latency_kind_title[LATENCY_ALL_KINDS];

/*
 * Runs a guest that speaks as tests/guests/latency.c does and adds its samples (ns). *drift is set if the
 * guest's clock was wrong. -1 after a line on stderr also if the exit status is not the one wanted.
 */
int latency_collect(struct child *child, const char *const argv[], int want_status, unsigned kinds,
		    struct samples samples[], double *drift);

/* The latency guest once, without the registers. */
int latency_run(const struct bench *b, const char *dvmm, enum latency_mode mode,
		struct samples samples[LATENCY_KINDS], double *drift);

/* --- pingpong.c ----------------------------------------------------------------------------- */

enum pingpong_kind {
	PINGPONG_FUTEX_ONE_CPU = 0,
	PINGPONG_FUTEX_TWO_CPUS,
	PINGPONG_SPIN,
	PINGPONG_BETWEEN_RUNS,
	PINGPONG_KINDS
};
extern const char *const pingpong_title[PINGPONG_KINDS];

/* Adds `count` round trips (ns) between two processes; none where the host has too few CPUs. */
int pingpong_measure(enum pingpong_kind kind, unsigned count, struct samples *round_trip);

#endif
