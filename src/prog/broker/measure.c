/* prog/broker/measure.c - what a model did lately: tokens in a second, and how long who waited for what.
 *
 * Tokens are counted in seconds, of which the last eight that are over count. Times go into histograms, one for each ten seconds of
 * a sliding minute; a bucket is a quarter of an octave wide, so what is told is right to an eighth. All of it has a fixed size. */
#include "prog/broker/broker.h"

#define SECOND (1000 * MS)
#define SLICE (10 * SECOND)
#define UNIT (MS / 8)                   /* the first bucket ends here; a power of two, so that what is told has few digits */

static const char *const latency_names[N_LATENCIES] = { "queue", "first_token", "inter_token" };
static const char *const rate_names[N_RATES] = { "prompt", "generated" };

/* 0; then four buckets for each power of two. */
static unsigned bucket_of(uint64_t ns)
{
    uint64_t v = ns / UNIT;
    if (v == 0)
        return 0;
    unsigned octave = 63 - (unsigned)__builtin_clzll(v);
    unsigned quarter = octave >= 2 ? (unsigned)(v >> (octave - 2)) & 3 : (unsigned)(v << (2 - octave)) & 3;
    unsigned i = 1 + 4 * octave + quarter;
    return i < N_BUCKETS ? i : N_BUCKETS - 1;
}

/* Its middle, in milliseconds. */
static double middle_of(unsigned bucket)
{
    if (bucket == 0)
        return 0;
    unsigned octave = (bucket - 1) / 4, quarter = (bucket - 1) % 4;
    return (double)(UINT64_C(1) << octave) * (1 + (quarter + 0.5) / 4) * ((double)UNIT / (double)MS);
}

static struct slice *slice_now(struct measure *m, uint64_t now)
{
    uint64_t number = now / SLICE;
    struct slice *s = &m->slice[number % N_SLICES];
    if (s->number != number)
        *s = (struct slice){ .number = number };
    return s;
}

static bool is_recent(const struct slice *s, uint64_t now)
{
    return s->number + N_SLICES > now / SLICE;
}

void measure_latency(struct measure *m, uint64_t now, enum latency kind, uint64_t ns)
{
    slice_now(m, now)->count[kind][bucket_of(ns)]++;
}

void measure_tokens(struct measure *m, uint64_t now, enum rate kind, uint64_t n)
{
    uint64_t second = now / SECOND;
    struct second *s = &m->second[second % N_SECONDS];
    if (s->number != second)
        *s = (struct second){ .number = second };
    s->n[kind] += n;
}

static uint64_t count_ends(const struct measure *m, uint64_t now)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < N_SLICES; i++)
        n += is_recent(&m->slice[i], now) ? m->slice[i].n_ended : 0;
    return n;
}

void measure_end(struct measure *m, uint64_t now)
{
    if (count_ends(m, now) == 0)
        m->since = now;
    slice_now(m, now)->n_ended++;
}

static uint64_t bounded(uint64_t ms)
{
    return ms < 100 ? 100 : ms > 600000 ? 600000 : ms;
}

/* Milliseconds until so many have ended, at the rate of the last minute. False: none ended in it. */
static bool time_of(const struct measure *m, uint64_t now, uint64_t n_ends, uint64_t *ret_ms)
{
    uint64_t n = count_ends(m, now), span = now - m->since;
    span = span < SECOND ? SECOND : span > N_SLICES * SLICE ? N_SLICES * SLICE : span;
    if (n)
        *ret_ms = n_ends * (span / MS) / n;
    return n;
}

uint64_t measure_retry_ms(const struct measure *m, uint64_t now, unsigned n_waiting)
{
    uint64_t ms = RETRY_MS;
    time_of(m, now, n_waiting, &ms);
    return bounded(ms);
}

/* As many as are there end while one of them lasts. Of what lasts longer than that, or of which nothing is known, nobody can say
 * more than that it will last as long again as it did. */
uint64_t measure_end_ms(const struct measure *m, uint64_t now, unsigned n_there, uint64_t age)
{
    uint64_t lasts, ms = age / MS;
    if (m && time_of(m, now, n_there, &lasts) && lasts > ms)
        ms = lasts - ms;
    return bounded(ms);
}

static double quantile(const struct measure *m, uint64_t now, unsigned kind, double q)
{
    uint64_t all[N_BUCKETS] = { 0 }, n = 0, seen = 0;
    for (unsigned i = 0; i < N_SLICES; i++)
        for (unsigned k = 0; k < N_BUCKETS && is_recent(&m->slice[i], now); k++) {
            all[k] += m->slice[i].count[kind][k];
            n += m->slice[i].count[kind][k];
        }
    for (unsigned k = 0; k < N_BUCKETS; k++) {
        seen += all[k];
        if (n && (double)seen >= q * (double)n)
            return middle_of(k);
    }
    return -1;
}

/* null where nothing was measured in the last minute. */
static json_t *quantile_json(const struct measure *m, uint64_t now, unsigned kind, double q)
{
    double ms = quantile(m, now, kind, q);
    return ms < 0 ? json_null() : json_real(ms);
}

json_t *measure_latency_json(const struct measure *m, uint64_t now)
{
    json_t *all = json_object();
    for (unsigned i = 0; i < N_LATENCIES; i++)
        json_object_set_new(all, latency_names[i],
                            json_pack("{s:o, s:o, s:o}", "p50", quantile_json(m, now, i, 0.5), "p95",
                                      quantile_json(m, now, i, 0.95), "p99", quantile_json(m, now, i, 0.99)));
    return all;
}

json_t *measure_rate_json(const struct measure *m, uint64_t now)
{
    json_t *all = json_object();
    for (unsigned i = 0; i < N_RATES; i++) {
        uint64_t n = 0;
        for (unsigned k = 0; k < N_SECONDS; k++) {
            uint64_t ago = now / SECOND - m->second[k].number;
            n += ago >= 1 && ago <= RATE_SECONDS ? m->second[k].n[i] : 0;
        }
        json_object_set_new(all, rate_names[i], json_real((double)n / RATE_SECONDS));
    }
    return all;
}
