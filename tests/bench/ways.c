/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ways of running a guest that are compared, as command lines. */
#include "tests/bench/sections.h"

#include <string.h>
#include <unistd.h>

const char *const way_title[WAYS] = {"in-process", "same-cpu", "spin", "qemu"};

bool way_possible(const struct plan *p, enum way way)
{
	return (way != SPIN || p->spin) && (way != QEMU || p->qemu);
}

bool way_still_possible(const struct plan *p, const struct section *s, enum way way)
{
	return way_possible(p, way) && (way != QEMU || !s->qemu_failed);
}

void section_qemu_failed(struct section *s, const char *complaint)
{
	s->qemu_failed = true;
	section_note(s, "QEMU cannot do this on this host: %.200s", complaint);
}

void section_ways(struct section *s, const struct plan *p)
{
	s->columns = p->qemu ? WAYS : QEMU;
	for (unsigned i = 0; i < s->columns; i++)
		s->column[i] = way_title[i];
	if (!p->spin)
		section_note(s, "spin is left out: it needs two CPUs of its own");
}

void progress(const char *what, unsigned round, unsigned rounds)
{
	const bool terminal = isatty(STDERR_FILENO);

	if (terminal)
		fprintf(stderr, "\r\033[Kdvmm-bench: %s, round %u of %u ", what, round + 1, rounds);
	else if (!round)
		fprintf(stderr, "dvmm-bench: %s, rounds: %u\n", what, rounds);
	if (terminal && round + 1 == rounds)
		fprintf(stderr, "\r\033[K");
}

/* --- dvmm --------------------------------------------------------------------------------------- */

struct words {
	const char *argv[40];
	unsigned n;
};

static void put(struct words *w, const char *option, const char *value)
{
	w->argv[w->n++] = option;
	if (value)
		w->argv[w->n++] = value;
	w->argv[w->n] = NULL;
}

static void put_emulation(struct words *w, enum way way)
{
	put(w, "--emulation", way == IN_PROCESS ? "in-process" : "sandboxed");
	put(w, "--handoff", way == SPIN ? "spin" : "same-cpu");
}

static const char *const *dvmm_argv(const struct plan *p, enum way way, const char *payload,
				    const char *words, const char *disk)
{
	static struct words w;
	static char pin[32];

	snprintf(pin, sizeof(pin), "0:%d", allowed_cpu(0));
	w.n = 0;
	put(&w, p->bench.dvmm, NULL);
	put(&w, "--kernel", payload);
	put(&w, "--cmdline", words);
	put(&w, "--mem", "128M");
	put(&w, "--pin", pin);
	put_emulation(&w, way);
	if (disk)
		put(&w, "--disk", disk);
	return w.argv;
}

bool dvmm_has(const struct plan *p, const char *option)
{
	const char *const argv[] = {p->bench.dvmm, "--help", NULL};
	struct child child;
	char text[8192];
	size_t n = 0;

	if (child_start(&child, argv, true))
		return false;
	while (n < sizeof(text) - 1 && !child_read(&child, &text[n], 1, 5000))
		n++;
	text[n] = '\0';
	child_end(&child, 5000);
	return strstr(text, option) != NULL;
}

/* --- QEMU --------------------------------------------------------------------------------------- */

static void put_qemu(struct words *w, const struct plan *p, const char *machine, const char *mem)
{
	w->n = 0;
	put(w, p->qemu, NULL);
	put(w, "-M", machine);
	put(w, "-accel", "kvm");
	put(w, "-nodefaults", NULL);
	put(w, "-no-reboot", NULL);
	put(w, "-display", "none");
	put(w, "-serial", "stdio");
	put(w, "-m", mem);
	put(w, "-smp", "1");
	put(w, "-global", "virtio-mmio.force-legacy=false");
}

/* The devices the payloads look for, where they are told to look for them. */
static const char *const *qemu_argv(const struct plan *p, const char *payload, const char *words,
				    const char *disk)
{
	static struct words w;
	static char append[512], drive[4096];

	snprintf(append, sizeof(append), "qemu virtio=0xfeb00000 stride=512 %s", words);
	snprintf(drive, sizeof(drive), "if=none,id=d0,format=raw,aio=io_uring,file=%s", disk ? disk : "");
	put_qemu(&w, p, "microvm,pit=on,pic=on,rtc=on,isa-serial=on,ioapic2=off", "128");
	put(&w, "-device", "isa-debug-exit,iobase=0xf4,iosize=1");
	put(&w, "-device",
	    disk ? "virtio-blk-device,bus=virtio-mmio-bus.0,drive=d0"
		 : "virtio-rng-device,bus=virtio-mmio-bus.0");
	if (disk)
		put(&w, "-drive", drive);
	put(&w, "-kernel", payload);
	put(&w, "-append", append);
	return w.argv;
}

/* --- Either ------------------------------------------------------------------------------------- */

const char *const *way_argv(const struct plan *p, enum way way, const char *payload, const char *words,
			    const char *disk)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", p->bench.guests, payload);
	return way == QEMU ? qemu_argv(p, path, words, disk) : dvmm_argv(p, way, path, words, disk);
}

const char *const *way_boot_argv(const struct plan *p, enum way way, bool handed_off, const char *stats)
{
	static struct words w;

	if (way == QEMU) {
		put_qemu(&w, p, "microvm", "512");
		put(&w, "-kernel", p->kernel);
		put(&w, "-append", p->cmdline);
		if (p->initrd)
			put(&w, "-initrd", p->initrd);
		return w.argv;
	}
	w.n = 0;
	put(&w, p->bench.dvmm, NULL);
	put(&w, "--kernel", p->kernel);
	put(&w, "--cmdline", p->cmdline);
	put(&w, "--mem", "512M");
	put_emulation(&w, way);
	if (p->initrd)
		put(&w, "--initrd", p->initrd);
	if (stats)
		put(&w, "--stats", stats);
	if (handed_off) {
		put(&w, "--published", "off");
		put(&w, "--posted", "off");
	}
	return w.argv;
}
