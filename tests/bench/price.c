/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bounded time and restart cost when nothing goes wrong: register accesses of dvmm as it is, against a
 * dvmm without watchdog whose emulator changes device state in place and asks nobody whether it may
 * (tests/bench/plain; the rest is the same sources and flags). A round is one run of each by each hand-off,
 * in turns first and second; the price is the median, over rounds, of one median latency over the other.
 */
#include "tests/bench/bench.h"

#include <stdio.h>

#define DEFAULT_ROUNDS 15

enum { PLAIN, PRODUCT, PROGRAMS };

struct price {
	struct samples p50[LATENCY_MODES][LATENCY_KINDS][PROGRAMS]; /* ns, one of each round */
	struct samples ratio[LATENCY_MODES][LATENCY_KINDS]; /* product / plain in thousandths, the same */
	double drift;
};

static int run(const struct bench *b, struct price *p, enum latency_mode mode, int program)
{
	struct samples samples[LATENCY_KINDS] = {0};
	int rc = latency_run(b, program == PLAIN ? b->plain : b->dvmm, mode, samples, &p->drift);

	for (int kind = 0; kind < LATENCY_KINDS; kind++) {
		if (!rc)
			samples_add(&p->p50[mode][kind][program], samples_quantile(&samples[kind], 500));
		samples_free(&samples[kind]);
	}
	return rc;
}

static int round_run(const struct bench *b, struct price *p, unsigned round)
{
	const int modes = allowed_cpu(1) >= 0 ? LATENCY_MODES : LATENCY_SPIN;

	for (int mode = LATENCY_SAME_CPU; mode < modes; mode++) {
		for (unsigned i = 0; i < PROGRAMS; i++)
			if (run(b, p, (enum latency_mode)mode, (int)((i + round) % PROGRAMS)))
				return -1;
		for (int kind = 0; kind < LATENCY_KINDS; kind++) {
			const struct samples *s = p->p50[mode][kind];
			size_t last = s[PLAIN].count - 1;

			samples_add(&p->ratio[mode][kind],
				    s[PRODUCT].value[last] * 1000 /
					    (s[PLAIN].value[last] ? s[PLAIN].value[last] : 1));
		}
	}
	return 0;
}

static void report(const struct bench *b, struct price *p)
{
	json_t *object = json_object();

	printf("Watchdog, commit and outbox, ns (p50)     without      with     price   (of rounds: p10 to "
	       "p90)\n");
	for (int mode = LATENCY_SAME_CPU; mode < LATENCY_MODES && p->ratio[mode][LATENCY_PIO_READ].count;
	     mode++) {
		json_t *row = json_object();

		for (int kind = LATENCY_PIO_READ; kind < LATENCY_KINDS; kind++) {
			struct samples *ratio = &p->ratio[mode][kind], *s = p->p50[mode][kind];
			double price = (double)samples_quantile(ratio, 500) / 10 - 100;

			printf("  %-10s %-26s %9ju %9ju   %+6.1f%%   (%+.1f to %+.1f)\n",
			       latency_mode_title[mode], latency_kind_title[kind],
			       (uintmax_t)samples_quantile(&s[PLAIN], 500),
			       (uintmax_t)samples_quantile(&s[PRODUCT], 500), price,
			       (double)samples_quantile(ratio, 100) / 10 - 100,
			       (double)samples_quantile(ratio, 900) / 10 - 100);
			json_object_set_new(row, latency_kind_name[kind],
					    json_pack("{s:I, s:I, s:f}", "without_p50_ns",
						      (json_int_t)samples_quantile(&s[PLAIN], 500),
						      "with_p50_ns",
						      (json_int_t)samples_quantile(&s[PRODUCT], 500),
						      "price_percent", price));
		}
		json_object_set_new(object, mode == LATENCY_SPIN ? "spin" : "same_cpu", row);
	}
	if (p->drift > 0)
		printf("Do not trust these figures: the guest's TSC ran at %.2f of the host's time.\n",
		       p->drift);
	printf("\n");
	json_object_set_new(b->result, "price", object);
}

int bench_price(const struct bench *b)
{
	unsigned rounds = b->rounds ? b->rounds : DEFAULT_ROUNDS;
	struct price p = {0};
	int rc = 0;

	for (unsigned round = 0; !rc && round < rounds; round++)
		rc = round_run(b, &p, round);
	if (!rc)
		report(b, &p);
	for (int mode = 0; mode < LATENCY_MODES; mode++)
		for (int kind = 0; kind < LATENCY_KINDS; kind++) {
			samples_free(&p.ratio[mode][kind]);
			for (int i = 0; i < PROGRAMS; i++)
				samples_free(&p.p50[mode][kind][i]);
		}
	return rc;
}
