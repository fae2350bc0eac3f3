/* prog/broker/describe.c - what STATUS says of a model. */
#include "prog/broker/broker.h"

/* The worker has more than fit into a step: those wait, too. */
void model_count(const struct model *m, unsigned *ret_running, unsigned *ret_waiting)
{
    unsigned parked = (unsigned)(m->stats[STATS_parked] < m->n_runs ? m->stats[STATS_parked] : m->n_runs);
    unsigned active = m->n_runs - parked;
    *ret_running = active < m->parallel ? active : m->parallel;
    *ret_waiting = m->queue.n + active - *ret_running;
}

static json_t *requests_json(const struct model *m)
{
    unsigned running, waiting, parked = (unsigned)(m->stats[STATS_parked] < m->n_runs ? m->stats[STATS_parked] : m->n_runs);
    model_count(m, &running, &waiting);
    return json_pack("{s:i, s:i, s:i}", "running", (int)running, "waiting", (int)waiting, "parked", (int)parked);
}

static json_t *kv_json(const struct model *m)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "pages", (json_int_t)m->stats[STATS_pages], "used", (json_int_t)m->stats[STATS_used],
                     "cached", (json_int_t)m->stats[STATS_cached], "page_bytes", (json_int_t)m->stats[STATS_page_bytes]);
}

json_t *model_settings(const struct model *m)
{
    static const struct {
        const char *key, *fact;
    } told[] = {
        { "threads", "threads" }, { "isa", "isa" }, { "ctx", "context" }, { "kv_type", "kv_type" }, { "precision", "precision" },
        { "prefill_chunk", "prefill_chunk" }, { "parallel", "parallel" }, { "itl_target_ms", "itl_target_ms" },
        { "kv_memory", "kv_memory" }, { "prefix_cache", "prefix_cache" }, { "speculation", "speculation" },
    };
    json_t *all = json_copy(m->settings);
    bool is_told = json_object_get(m->facts, "threads");
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        json_t *fact = json_object_get(m->facts, told[i].fact);
        if (json_is_integer(fact) || json_is_string(fact))
            json_object_set(all, told[i].key, fact);
    }
    if (is_told && !json_object_get(all, "idle_unload_s"))
        json_object_set_new(all, "idle_unload_s", json_integer(0));
    return all;
}

static json_t *guard_json(const struct model *m)
{
    json_t *guard = json_copy(m->guard);
    if (m->guard_sandbox)
        json_object_set(guard, "sandbox", m->guard_sandbox);
    return guard;
}

json_t *model_describe(const struct broker *b, const struct model *m)
{
    static const char *const states[] = { "starting", "loading", "ready", "restarting" };
    bool busy = m->state == MODEL_READY && m->n_runs;
    json_t *value = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:s?}", "name", m->name, "state",
                              busy ? "busy" : states[m->state], "pid", (int)m->pid, "running", (int)m->n_runs, "queued",
                              (int)m->queue.n, "served", (int)m->n_served,
                              "restarts", (int)m->n_restarts, "model_digest", m->digest[0] ? m->digest : NULL);
    json_object_set_new(value, "settings", model_settings(m));
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
    if (m->guard)
        json_object_set_new(value, "guard", guard_json(m));
    return value;
}
