/* prog/broker/metrics.c - what METRICS and TRACES say: counts since the daemon's start, and when the steps of traced requests were.
 *
 * Counts belong to a model's name, so that they outlive its unloading; a path counts by its last component, and where there are
 * too many names the rest share one. A worker has read a foreign file: the numbers that it says are bounded before they count.
 * All of it has a fixed size. No name of a user and no text is in it. */
#include "prog/broker/broker.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_TALLIES = 64,
    MOST_TRACED = 512,                  /* traced requests that nobody has asked for; older ones are lost */
    TRACES_AT_ONCE = 64,
};
#define MOST_TOKENS INT64_C(1000000000) /* of one request */
#define NS_PER_S 1e9

static const struct { const char *name; double le[N_BOUNDS]; } times[N_TIMES] = {
    [TIME_REQUEST] = { "veritas_request_duration_seconds", { .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600 } },
    [TIME_FIRST_TOKEN] = { "veritas_time_to_first_token_seconds", { .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60 } },
    [TIME_INTER_TOKEN] = { "veritas_inter_token_seconds", { .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5 } },
    [TIME_QUEUE] = { "veritas_queue_seconds", { .001, .005, .01, .05, .1, .25, .5, 1, 5, 10, 30, 60 } },
};

static const struct { const char *name, *label, *value; } counts[N_COUNTS] = {
    [COUNT_PROMPT] = { "veritas_prompt_tokens_total", NULL, NULL },
    [COUNT_CACHED] = { "veritas_cached_prompt_tokens_total", NULL, NULL },
    [COUNT_GENERATED] = { "veritas_generated_tokens_total", NULL, NULL },
    [COUNT_ACCEPTED] = { "veritas_draft_tokens_total", "result", "accepted" },
    [COUNT_REJECTED] = { "veritas_draft_tokens_total", "result", "rejected" },
    [COUNT_RESTARTS] = { "veritas_worker_restarts_total", NULL, NULL },
};

struct tally {                          /* of a model's name */
    struct tally *next;
    char model[MAX_LOG_NAME];
    uint64_t count[N_COUNTS];
    struct { uint64_t n[N_BOUNDS + 1]; double sum; } time[N_TIMES];
};

struct traced {
    char trace[VS_TRACE_BYTES], model[MAX_LOG_NAME], finish[32], type[16];
    uint64_t arrived_at, begun_at, first_at, ended_at;          /* 0: it never came to that */
    struct vs_usage usage;
};

struct metrics {
    struct tally *tallies;
    unsigned n_tallies;
    struct traced traced[MOST_TRACED];  /* a ring */
    uint64_t n_traced, n_told, n_lost;
};

static void short_name(const char *name, char *ret, size_t n)
{
    const char *slash = strrchr(name, '/');
    snprintf(ret, n, "%s", slash ? slash + 1 : name);
}

/* NULL: there is no memory, and nothing is counted. */
static struct metrics *metrics_of(struct broker *b)
{
    if (!b->metrics)
        b->metrics = calloc(1, sizeof *b->metrics);
    return b->metrics;
}

static struct tally *tally_of(struct broker *b, const struct model *m)
{
    struct metrics *all = metrics_of(b);
    char name[MAX_LOG_NAME];
    if (!all)
        return NULL;
    short_name(m->name, name, sizeof name);
    if (all->n_tallies == MOST_TALLIES)
        for (struct tally *t = all->tallies; t; t = t->next)
            if (strcmp(t->model, name) == 0)
                return t;
    if (all->n_tallies == MOST_TALLIES)
        snprintf(name, sizeof name, "others");
    struct tally **at = &all->tallies;
    while (*at && strcmp((*at)->model, name) != 0)
        at = &(*at)->next;
    if (*at || !(*at = calloc(1, sizeof **at)))
        return *at;
    memcpy((*at)->model, name, sizeof name);
    all->n_tallies++;
    return *at;
}

void metrics_count(struct broker *b, const struct model *m, enum count kind, int64_t n)
{
    struct tally *t = tally_of(b, m);
    if (t && n > 0)
        t->count[kind] += (uint64_t)(n < MOST_TOKENS ? n : MOST_TOKENS);
}

void metrics_time(struct broker *b, const struct model *m, enum time kind, uint64_t ns)
{
    struct tally *t = tally_of(b, m);
    double seconds = (double)ns / NS_PER_S;
    unsigned i = 0;
    if (!t)
        return;
    while (i < N_BOUNDS && seconds > times[kind].le[i])
        i++;
    t->time[kind].n[i]++;
    t->time[kind].sum += seconds;
}

void metrics_usage(struct broker *b, const struct model *m, const struct request *r, const struct vs_outcome *o)
{
    const struct vs_usage *u = &o->usage;
    metrics_count(b, m, COUNT_GENERATED, o->has_usage ? u->completion_tokens : r->n_tokens);
    metrics_count(b, m, COUNT_PROMPT, u->prompt_tokens);
    metrics_count(b, m, COUNT_CACHED, u->cached_tokens < u->prompt_tokens ? u->cached_tokens : u->prompt_tokens);
    metrics_count(b, m, COUNT_ACCEPTED, u->accepted_tokens);
    metrics_count(b, m, COUNT_REJECTED, u->drafted_tokens - u->accepted_tokens);
}

void metrics_end(struct broker *b, const struct request *r, const struct vs_outcome *o)
{
    struct metrics *all = metrics_of(b);
    if (r->began && (r->type == VS_MSG_GENERATE || r->type == VS_MSG_CHAT))
        metrics_time(b, r->model, TIME_REQUEST, b->now - r->arrived_at);
    if (!all || !r->trace[0])
        return;
    struct traced *t = &all->traced[all->n_traced++ % MOST_TRACED];
    *t = (struct traced){ .arrived_at = r->arrived_at, .begun_at = r->begun_at, .first_at = r->first_at, .ended_at = b->now,
                          .usage = o->usage };
    memcpy(t->trace, r->trace, sizeof t->trace);
    short_name(r->model->name, t->model, sizeof t->model);
    snprintf(t->type, sizeof t->type, "%s", vs_message_name(r->type));
    snprintf(t->finish, sizeof t->finish, "%s", o->error.code ? vs_status_name(o->error.code) : o->finish_reason);
    if (all->n_traced - all->n_told > MOST_TRACED) {
        all->n_lost += all->n_traced - all->n_told - MOST_TRACED;
        all->n_told = all->n_traced - MOST_TRACED;
    }
}

void metrics_free(struct broker *b)
{
    while (b->metrics && b->metrics->tallies) {
        struct tally *t = b->metrics->tallies;
        b->metrics->tallies = t->next;
        free(t);
    }
    free(b->metrics);
    b->metrics = NULL;
}

/* ---- as JSON ---- */

static json_t *labels(const char *model, const char *label, const char *value)
{
    json_t *o = json_pack("{s:s}", "model", model);
    if (label)
        json_object_set_new(o, label, json_string(value));
    return o;
}

static void add(json_t *list, const char *name, json_t *with, json_t *value)
{
    json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "name", name, "labels", with, "value", value));
}

static void add_tally(json_t *counters, json_t *histograms, const struct tally *t)
{
    for (unsigned i = 0; i < N_COUNTS; i++)
        add(counters, counts[i].name, labels(t->model, counts[i].label, counts[i].value), json_integer((json_int_t)t->count[i]));
    for (unsigned i = 0; i < N_TIMES; i++) {
        json_t *le = json_array(), *n = json_array();
        uint64_t so_far = 0;
        for (unsigned k = 0; k < N_BOUNDS; k++) {
            so_far += t->time[i].n[k];
            json_array_append_new(le, json_real(times[i].le[k]));
            json_array_append_new(n, json_integer((json_int_t)so_far));
        }
        so_far += t->time[i].n[N_BOUNDS];
        json_array_append_new(histograms, json_pack("{s:s, s:o, s:o, s:o, s:f, s:I}", "name", times[i].name, "labels",
                                                    labels(t->model, NULL, NULL), "le", le, "counts", n, "sum", t->time[i].sum,
                                                    "count", (json_int_t)so_far));
    }
}

/* What a worker says of itself may be anything. */
static double used_ratio(const struct model *m)
{
    double pages = (double)m->stats[STATS_pages], used = (double)m->stats[STATS_used];
    return pages > 0 && used > 0 ? used < pages ? used / pages : 1 : 0;
}

static void add_model(json_t *gauges, const struct model *m)
{
    char name[MAX_LOG_NAME];
    unsigned running, waiting;
    short_name(m->name, name, sizeof name);
    model_count(m, &running, &waiting);
    add(gauges, "veritas_requests_running", labels(name, NULL, NULL), json_integer(running));
    add(gauges, "veritas_requests_waiting", labels(name, NULL, NULL), json_integer(waiting));
    add(gauges, "veritas_kv_used_ratio", labels(name, NULL, NULL), json_real(used_ratio(m)));
}

json_t *metrics_json(struct broker *b)
{
    json_t *counters = json_array(), *histograms = json_array(), *gauges = json_array();
    unsigned n_loaded = 0;
    for (const struct model *m = b->models; m; m = m->next)
        if (!m->gone && m->state == MODEL_READY) {
            tally_of(b, m);             /* what never counted yet is 0, and there */
            add_model(gauges, m);
            n_loaded++;
        }
    add(gauges, "veritas_models_loaded", json_object(), json_integer(n_loaded));
    add(gauges, "veritas_build_info", json_pack("{s:s}", "version", VERITAS_VERSION), json_integer(1));
    for (const struct tally *t = b->metrics ? b->metrics->tallies : NULL; t; t = t->next)
        add_tally(counters, histograms, t);
    return json_pack("{s:o, s:o, s:o}", "counters", counters, "histograms", histograms, "gauges", gauges);
}

/* Nanoseconds since 1970, as the wall clock is now. */
static json_t *wall(const struct broker *b, uint64_t at)
{
    int64_t now = vs_clock_real_ms() * 1000000;
    return at ? json_integer((json_int_t)(now - (int64_t)(b->now - at))) : json_null();
}

json_t *metrics_traces_json(struct broker *b)
{
    struct metrics *all = metrics_of(b);
    json_t *list = json_array();
    uint64_t n_lost = all ? all->n_lost : 0;
    for (int i = 0; all && i < TRACES_AT_ONCE && all->n_told < all->n_traced; i++) {
        const struct traced *t = &all->traced[all->n_told++ % MOST_TRACED];
        json_array_append_new(list, json_pack(
            "{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "trace", t->trace, "model", t->model, "type", t->type,
            "finish", t->finish, "arrived_ns", wall(b, t->arrived_at), "begun_ns", wall(b, t->begun_at), "first_token_ns",
            wall(b, t->first_at), "ended_ns", wall(b, t->ended_at), "prompt_tokens", (json_int_t)t->usage.prompt_tokens,
            "completion_tokens", (json_int_t)t->usage.completion_tokens, "cached_tokens", (json_int_t)t->usage.cached_tokens));
    }
    if (all)
        all->n_lost = 0;
    return json_pack("{s:o, s:I, s:b}", "requests", list, "lost", (json_int_t)n_lost, "more",
                     all && all->n_told < all->n_traced);
}
