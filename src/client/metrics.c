/* client/metrics.c - what METRICS says, as the text that Prometheus reads (see metrics.h). */
#include "client/metrics.h"

#include <stdio.h>
#include <string.h>

static const struct { const char *name, *help; } known[] = {
    { "veritas_requests_total", "Requests that were answered, by model, route and status." },
    { "veritas_request_duration_seconds", "From the arrival of a request to its end." },
    { "veritas_time_to_first_token_seconds", "From the arrival of a request to its first token." },
    { "veritas_inter_token_seconds", "Between two tokens of an answer." },
    { "veritas_queue_seconds", "From the arrival of a request until a worker has it." },
    { "veritas_prompt_tokens_total", "Tokens of prompts, cached ones too." },
    { "veritas_cached_prompt_tokens_total", "Tokens of prompts that an earlier request had computed." },
    { "veritas_generated_tokens_total", "Tokens of answers." },
    { "veritas_draft_tokens_total", "Tokens that were guessed, by whether they came true." },
    { "veritas_worker_restarts_total", "Workers that died and were started again." },
    { "veritas_requests_running", "Requests in a step of the model." },
    { "veritas_requests_waiting", "Requests that wait for a place in a step." },
    { "veritas_kv_used_ratio", "Share of the KV cache that requests use." },
    { "veritas_models_loaded", "Models that answer." },
    { "veritas_build_info", "1; the label says which version this is." },
};

static void add_quoted(struct vs_buf *out, const char *text)
{
    vs_buf_str(out, "\"");
    for (; *text; text++) {
        const char *escape = *text == '\\' ? "\\\\" : *text == '"' ? "\\\"" : *text == '\n' ? "\\n" : NULL;
        if (escape)
            vs_buf_str(out, escape);
        else
            vs_buf_add(out, text, 1);
    }
    vs_buf_str(out, "\"");
}

static void add_number(struct vs_buf *out, const json_t *value)
{
    if (json_is_integer(value))
        vs_buf_printf(out, "%lld", (long long)json_integer_value(value));
    else
        vs_buf_printf(out, "%.12g", json_number_value(value));
}

/* name{label="value",...} and one label more, if it is given. */
static void add_series(struct vs_buf *out, const char *name, const char *suffix, const json_t *labels, const char *more,
                       const char *value)
{
    const char *key, *before = "{";
    json_t *label;
    vs_buf_printf(out, "%s%s", name, suffix);
    json_object_foreach((json_t *)(uintptr_t)labels, key, label) {
        vs_buf_printf(out, "%s%s=", before, key);
        add_quoted(out, json_is_string(label) ? json_string_value(label) : "");
        before = ",";
    }
    if (more) {
        vs_buf_printf(out, "%s%s=", before, more);
        add_quoted(out, value);
        before = ",";
    }
    vs_buf_str(out, *before == ',' ? "} " : " ");
}

static void add_histogram(struct vs_buf *out, const char *name, const json_t *one)
{
    const json_t *labels = json_object_get(one, "labels"), *le = json_object_get(one, "le");
    const json_t *counts = json_object_get(one, "counts");
    char bound[32];
    for (size_t i = 0; i < json_array_size(le); i++) {
        snprintf(bound, sizeof bound, "%.12g", json_number_value(json_array_get(le, i)));
        add_series(out, name, "_bucket", labels, "le", bound);
        add_number(out, json_array_get(counts, i));
        vs_buf_str(out, "\n");
    }
    add_series(out, name, "_bucket", labels, "le", "+Inf");
    add_number(out, json_object_get(one, "count"));
    vs_buf_str(out, "\n");
    add_series(out, name, "_sum", labels, NULL, NULL);
    add_number(out, json_object_get(one, "sum"));
    vs_buf_str(out, "\n");
    add_series(out, name, "_count", labels, NULL, NULL);
    add_number(out, json_object_get(one, "count"));
    vs_buf_str(out, "\n");
}

static const char *name_of(const json_t *list, size_t i)
{
    const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));
    return name ? name : "";
}

static void add_head(struct vs_buf *out, const char *name, const json_t *one, const char *type)
{
    const char *of = json_string_value(json_object_get(one, "alias_of"));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, of ? of : name) == 0)
            vs_buf_printf(out, "# HELP %s %s\n", name, known[i].help);
    vs_buf_printf(out, "# TYPE %s %s\n", name, type);
}

/* All that has one name stands together, where its first entry is. */
static void add_list(struct vs_buf *out, const json_t *list, const char *type)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = name_of(list, i);
        size_t first = 0;
        while (strcmp(name_of(list, first), name) != 0)
            first++;
        if (first != i)
            continue;
        add_head(out, name, json_array_get(list, i), type);
        for (size_t k = i; k < json_array_size(list); k++) {
            const json_t *one = json_array_get(list, k);
            if (strcmp(name_of(list, k), name) != 0)
                continue;
            if (strcmp(type, "histogram") == 0) {
                add_histogram(out, name, one);
            } else {
                add_series(out, name, "", json_object_get(one, "labels"), NULL, NULL);
                add_number(out, json_object_get(one, "value"));
                vs_buf_str(out, "\n");
            }
        }
    }
}

void vs_metrics_text(const json_t *metrics, struct vs_buf *out)
{
    add_list(out, json_object_get(metrics, "counters"), "counter");
    add_list(out, json_object_get(metrics, "gauges"), "gauge");
    add_list(out, json_object_get(metrics, "histograms"), "histogram");
}
