/* prog/broker/describe.c - what STATUS says of a model. */
#include "prog/broker/broker.h"

/* The worker has more than fit into a step: those wait, too. */
static json_t *requests_json(const struct model *m)
{
    unsigned parked = (unsigned)(m->stats[STATS_parked] < m->n_runs ? m->stats[STATS_parked] : m->n_runs);
    unsigned active = m->n_runs - parked, running = active < m->parallel ? active : m->parallel;
    return json_pack("{s:i, s:i, s:i}", "running", (int)running, "waiting", (int)(m->queue.n + active - running), "parked",
                     (int)parked);
}

static json_t *kv_json(const struct model *m)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "pages", (json_int_t)m->stats[STATS_pages], "used", (json_int_t)m->stats[STATS_used],
                     "cached", (json_int_t)m->stats[STATS_cached], "page_bytes", (json_int_t)m->stats[STATS_page_bytes]);
}

json_t *model_describe(const struct broker *b, const struct model *m)
{
    static const char *const states[] = { "starting", "loading", "ready", "restarting" };
    bool busy = m->state == MODEL_READY && m->n_runs;
    json_t *value = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:s?}", "name", m->name, "state",
                              busy ? "busy" : states[m->state], "pid", (int)m->pid, "running", (int)m->n_runs, "queued",
                              (int)m->queue.n, "served", (int)m->n_served,
                              "restarts", (int)m->n_restarts, "model_digest", m->digest[0] ? m->digest : NULL);
    json_object_set(value, "settings", m->settings);
    json_object_set_new(value, "requests", requests_json(m));
    json_object_set_new(value, "kv", kv_json(m));
    json_object_set_new(value, "preemptions", json_integer((json_int_t)m->stats[STATS_preemptions]));
    json_object_set_new(value, "tokens_per_second", measure_rate_json(&m->measure, b->now));
    json_object_set_new(value, "latency_ms", measure_latency_json(&m->measure, b->now));
    json_object_set_new(value, "memory_bytes", json_integer((json_int_t)ledger_bytes(m)));
    const struct {
        const char *key;
        json_t *of;
    } more[] = {
        { "path", m->path }, { "bytes", m->bytes }, { "file", m->origin }, { "facts", m->facts }, { "sandbox", m->sandbox },
    };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (more[i].of)
            json_object_set(value, more[i].key, more[i].of);
    return value;
}
