/* prog/guard/checked.c - what a worker says that is no text: numbers, and names from tables. It is read, judged, and said again in
 * words of ours, so that nothing travels in it that nobody has looked at. */
#include "prog/guard/guard.h"

#include "ipc/json.h"

#include <string.h>

/* A count that a worker may name. The least number of a card is larger, so none hides in a count. */
#define MOST_COUNT ((json_int_t)1 << 40)
#define MOST_BYTES ((json_int_t)1 << 50)        /* and one of bytes */

static bool is_count(const json_t *value, json_int_t most)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= most;
}

static bool is_among(const char *word, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, names[i]) == 0)
            return true;
    return false;
}

/* {"what", "done", "total"}. False: it is none. *ret NULL: of something that we don't know, which nobody needs to hear. */
bool checked_progress(const struct vs_frame *f, json_t **ret)
{
    static const char *const names[] = {
#define PROGRESS_NAME(name) name,
        VS_PROGRESS_MAP(PROGRESS_NAME)
    };
    json_t *said = vs_json_parse(f->data, f->n, NULL);
    const json_t *done = json_object_get(said, "done"), *total = json_object_get(said, "total");
    const char *what = json_string_value(json_object_get(said, "what"));
    bool good = json_object_size(said) == 3 && what && is_count(done, MOST_BYTES) && is_count(total, MOST_BYTES);
    *ret = NULL;
    if (good && is_among(what, names, sizeof names / sizeof *names))
        *ret = json_pack("{s:s, s:I, s:I}", "what", what, "done", json_integer_value(done), "total", json_integer_value(total));
    json_decref(said);
    return good;
}

/* Numbers, each under a name that we know; *ret has them all. */
bool checked_stats(const struct vs_frame *f, json_t **ret)
{
    static const char *const names[] = { "pages", "used", "cached", "page_bytes", "parked", "preemptions", "prompt_tokens" };
    json_t *said = vs_json_parse(f->data, f->n, NULL), *value;
    const char *key;
    bool good = json_is_object(said);
    *ret = json_object();
    json_object_foreach(said, key, value) {
        good &= is_among(key, names, sizeof names / sizeof *names) && is_count(value, MOST_BYTES);
        json_object_set(*ret, key, value);
    }
    json_decref(said);
    return good;
}

/* A message of an error, as the policy leaves it. */
void checked_message(const struct screen *s, struct verdict *v, struct vs_error *error)
{
    struct vs_buf out = { 0 };
    bool changed, passed = screen_text(s, SIDE_RESULT, error->text, strlen(error->text), "error", v, &out, &changed);
    if (!passed || out.status != VS_OK)
        vs_error_set(error, error->code, "%s", vs_status_text(error->code));
    else if (changed)
        vs_error_set(error, error->code, "%.*s", (int)out.n, out.data ? out.data : "");
    vs_buf_clear(&out);
}

/* Why there is no model, or no more. */
json_t *checked_failure(const struct guard *g, const struct vs_frame *f)
{
    struct vs_error why;
    struct verdict none = { 0 };
    json_t *said = vs_json_parse(f->data, f->n, NULL);
    vs_json_to_error(said, &why);
    json_decref(said);
    checked_message(g->screen, &none, &why);
    return vs_json_error(why.code, why.text);
}

/* The numbers and the name in the envelope of an end. */
bool checked_outcome(const struct vs_outcome *o)
{
    static const char *const finishes[] = { "", "stop", "length", "tool_calls" };
    const int64_t counts[] = {
        o->usage.prompt_tokens, o->usage.completion_tokens, o->usage.cached_tokens, o->usage.drafted_tokens,
        o->usage.accepted_tokens, o->usage.recomputed_tokens, o->usage.resumed, o->hints.retry_after_ms,
    };
    const int64_t bytes[] = { o->hints.needed, o->hints.free, o->hints.held };
    bool good = is_among(o->finish_reason, finishes, sizeof finishes / sizeof *finishes);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        good &= counts[i] <= MOST_COUNT;
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        good &= bytes[i] <= MOST_BYTES;
    return good;
}

/* The words of a statement that its parser does not know by their names: no text hides in them. */
bool checked_statement(const struct vs_statement *s)
{
    static const char *const kv_types[] = { "f16", "f32", "q8_0" };
    static const char *const isas[] = { "c", "avx2", "avxvnni", "avx512", "neon", "i8mm" };
    return is_among(s->numeric.kv_type, kv_types, sizeof kv_types / sizeof *kv_types)
        && is_among(s->observed.isa, isas, sizeof isas / sizeof *isas) && !s->result.error[0];
}
