/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main() for a fuzz target without a fuzzer: runs it on files, and on all files of directories.
 *
 *	TARGET [-r ROUNDS] FILE|DIRECTORY...
 *
 * With -r all inputs are run that many times and the rate is printed. An input that crashes, or takes longer
 *than LIMIT_S, ends the process; its name is on standard error.
 */
#include "config.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define LIMIT_S 20u

struct sample {
	char *name;
	uint8_t *bytes;
	size_t size;
};

static struct sample *samples;
static size_t count;

static void read_file(const char *name)
{
	FILE *file = fopen(name, "rb");
	struct sample *s = realloc(samples, (count + 1) * sizeof(*samples));
	long size;

	if (s)
		samples = s;
	if (!file || !s || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0) {
		perror(name);
		exit(EXIT_FAILURE);
	}
	rewind(file);
	s = &samples[count++];
	s->name = strdup(name);
	s->size = (size_t)size;
	s->bytes = malloc(s->size ? s->size : 1); /* of the exact size: sanitizers see a byte beyond */
	if (!s->name || !s->bytes || fread(s->bytes, 1, s->size, file) != s->size) {
		perror(name);
		exit(EXIT_FAILURE);
	}
	fclose(file);
}

static void read_directory(const char *name)
{
	struct dirent **entry;
	int n = scandir(name, &entry, NULL, alphasort); /* in the same order every time */
	char path[4096];

	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", name, entry[i]->d_name);
		if (entry[i]->d_name[0] != '.')
			read_file(path);
		free(entry[i]);
	}
	free(n < 0 ? NULL : entry);
}

static const char *running;

static void run(const struct sample *s)
{
	running = s->name;
	alarm(LIMIT_S);
	LLVMFuzzerTestOneInput(s->bytes, s->size);
	alarm(0);
}

/* Then the signal does what it would have done. */
static void say_which(int signo)
{
	dprintf(STDERR_FILENO, "signal %d while it ran %s\n", signo, running);
	signal(signo, SIG_DFL);
	raise(signo);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	unsigned long rounds = 1;
	struct stat st;
	double start;
	int opt;

	while ((opt = getopt(argc, argv, "r:")) != -1) {
		if (opt != 'r')
			return 2;
		rounds = strtoul(optarg, NULL, 10);
	}
	for (; optind < argc; optind++) {
		if (stat(argv[optind], &st) == 0 && S_ISDIR(st.st_mode))
			read_directory(argv[optind]);
		else
			read_file(argv[optind]);
	}
	if (!count) {
		fprintf(stderr, "no input\n");
		return 2;
	}
	signal(SIGALRM, say_which);
	signal(SIGABRT, say_which);
#ifndef DVMM_ASAN /* which says more about the others itself */
	signal(SIGSEGV, say_which);
	signal(SIGBUS, say_which);
	signal(SIGFPE, say_which);
	signal(SIGILL, say_which);
#endif
	start = seconds();
	for (unsigned long r = 0; r < rounds; r++)
		for (size_t i = 0; i < count; i++)
			run(&samples[i]);
	printf("%zu inputs", count);
	if (rounds > 1)
		printf(", %.0f executions/s of CPU time",
		       (double)rounds * (double)count / (seconds() - start));
	putchar('\n');
	for (size_t i = 0; i < count; i++) {
		free(samples[i].name);
		free(samples[i].bytes);
	}
	free(samples);
	return 0;
}
