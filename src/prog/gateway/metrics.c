/* prog/gateway/metrics.c - /metrics for Prometheus: requests that were answered over HTTP, which are counted here, and what the
 * daemon counts (METRICS), of which client/metrics.h makes text. Labels of ours are model, route and code, and no other.
 *
 * --metrics-alias vllm prints what vLLM has too once more, under its names. */
#include "prog/gateway/gateway.h"

#include "client/metrics.h"

#include <stdio.h>
#include <string.h>

enum { MAX_MODELS = 64, MAX_COUNTS = 1024 };

static char models[MAX_MODELS][128];    /* that have answered: else clients could make names without end */
static size_t n_models;
static struct { char model[128], route[48]; int status; uint64_t n; } counts[MAX_COUNTS];
static size_t n_counts;

static bool is_known(const char *name)
{
    for (size_t i = 0; i < n_models; i++)
        if (strcmp(models[i], name) == 0)
            return true;
    return false;
}

void metrics_answered(const char *model)
{
    if (model[0] && n_models < MAX_MODELS && !is_known(model))
        snprintf(models[n_models++], sizeof models[0], "%s", model);
}

void metrics_count(const char *model, const char *route, int status)
{
    const char *name = is_known(model) ? model : "";
    size_t i = 0;
    while (i < n_counts
           && (counts[i].status != status || strcmp(counts[i].route, route) != 0 || strcmp(counts[i].model, name) != 0))
        i++;
    if (i == MAX_COUNTS)
        return;
    if (i == n_counts) {
        n_counts++;
        counts[i].status = status;
        snprintf(counts[i].model, sizeof counts[i].model, "%s", name);
        snprintf(counts[i].route, sizeof counts[i].route, "%s", route);
    }
    counts[i].n++;
}

static json_t *own_counters(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n_counts; i++) {
        char code[16];
        snprintf(code, sizeof code, "%d", counts[i].status);
        json_array_append_new(list, json_pack("{s:s, s:{s:s, s:s, s:s}, s:I}", "name", "veritas_requests_total", "labels", "model",
                                              counts[i].model, "route", counts[i].route, "code", code, "value",
                                              (json_int_t)counts[i].n));
    }
    return list;
}

static const struct { const char *ours, *theirs; } vllm[] = {
    { "veritas_request_duration_seconds", "vllm:e2e_request_latency_seconds" },
    { "veritas_time_to_first_token_seconds", "vllm:time_to_first_token_seconds" },
    { "veritas_inter_token_seconds", "vllm:inter_token_latency_seconds" },
    { "veritas_queue_seconds", "vllm:request_queue_time_seconds" },
    { "veritas_prompt_tokens_total", "vllm:prompt_tokens_total" },
    { "veritas_generated_tokens_total", "vllm:generation_tokens_total" },
    { "veritas_requests_running", "vllm:num_requests_running" },
    { "veritas_requests_waiting", "vllm:num_requests_waiting" },
    { "veritas_kv_used_ratio", "vllm:kv_cache_usage_perc" },
};

/* The entries that vLLM has too, with its names and its label. */
static json_t *renamed(const json_t *list)
{
    json_t *found = json_array(), *one;
    size_t i;
    json_array_foreach(list, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        for (size_t k = 0; name && k < sizeof vllm / sizeof *vllm; k++) {
            if (strcmp(vllm[k].ours, name) != 0)
                continue;
            json_t *copy = json_copy(one), *labels = json_copy(json_object_get(one, "labels"));
            json_object_set(labels, "model_name", json_object_get(labels, "model"));
            json_object_del(labels, "model");
            json_object_set_new(copy, "alias_of", json_string(name));
            json_object_set_new(copy, "labels", labels);
            json_object_set_new(copy, "name", json_string(vllm[k].theirs));
            json_array_append_new(found, copy);
        }
    }
    return found;
}

static int begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    (void)http;
    call->type = "text/plain; version=0.0.4; charset=utf-8";
    if (link_is_up(the_gateway) && gw_call_ask(call, VS_MSG_METRICS, json_object()) != VS_OK) {
        gw_error_of(err, VS_E_NOMEM, "out of memory", 0);
        return VS_E_NOMEM;
    }
    return VS_OK;
}

static void done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    static const char *const kinds[] = { "counters", "gauges", "histograms" };
    (void)call, (void)ask;
    json_t *all = json_object(), *alias = json_object();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        json_t *theirs = json_object_get(result, kinds[i]), *list = i == 0 ? own_counters() : json_array();
        json_array_extend(list, theirs);
        json_object_set_new(all, kinds[i], list);
        json_object_set_new(alias, kinds[i], renamed(theirs));
    }
    vs_metrics_text(all, out);
    if (the_gateway->settings.is_vllm)
        vs_metrics_text(alias, out);
    json_decref(all);
    json_decref(alias);
}

static void fail(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out)
{
    (void)begun;
    call->type = NULL;
    gw_error_write(err, out);
}

const struct gw_api gw_api_metrics = { .begin = begin, .done = done, .fail = fail };
