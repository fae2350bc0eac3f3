/* prog/gateway/trace.c - see trace.h: spans as protobuf. */
#include "prog/gateway/trace.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { MAX_QUEUED = 1 << 20 };          /* bytes */
enum { KIND_INTERNAL = 1, KIND_SERVER = 2, STATUS_ERROR = 2 };
enum { VARINT, FIXED64, BYTES };        /* wire types */

static struct vs_buf spans = { .limit = MAX_QUEUED };
static size_t n_spans;

/* ---- protobuf ---- */

static void add_varint(struct vs_buf *b, uint64_t v)
{
    for (; v > 127; v >>= 7)
        vs_buf_char(b, (char)(v | 128));
    vs_buf_char(b, (char)v);
}

static void add_int(struct vs_buf *b, unsigned field, uint64_t v)
{
    add_varint(b, field << 3 | VARINT);
    add_varint(b, v);
}

static void add_time(struct vs_buf *b, unsigned field, uint64_t v)
{
    uint8_t le[8];
    vs_store_u32le(le, (uint32_t)v);
    vs_store_u32le(le + 4, (uint32_t)(v >> 32));
    add_varint(b, field << 3 | FIXED64);
    vs_buf_add(b, le, sizeof le);
}

static void add_bytes(struct vs_buf *b, unsigned field, const void *data, size_t n)
{
    add_varint(b, field << 3 | BYTES);
    add_varint(b, n);
    vs_buf_add(b, data, n);
}

static void add_text(struct vs_buf *b, unsigned field, const char *s)
{
    add_bytes(b, field, s, strlen(s));
}

/* A message within b: takes `inner` and empties it. */
static void add_message(struct vs_buf *b, unsigned field, struct vs_buf *inner)
{
    if (inner->status != VS_OK)
        b->status = inner->status;
    add_bytes(b, field, inner->data ? inner->data : "", inner->n);
    vs_buf_clear(inner);
}

/* ---- attributes: KeyValue { key 1, value 2 }, AnyValue { string 1, int 3, array 5 } ---- */

static void add_attribute(struct vs_buf *b, unsigned field, const char *key, struct vs_buf *value)
{
    struct vs_buf pair = { 0 };
    add_text(&pair, 1, key);
    add_message(&pair, 2, value);
    add_message(b, field, &pair);
}

static void add_text_attribute(struct vs_buf *b, unsigned field, const char *key, const char *s)
{
    struct vs_buf value = { 0 };
    if (!s[0])
        return;
    add_text(&value, 1, s);
    add_attribute(b, field, key, &value);
}

static void add_int_attribute(struct vs_buf *b, unsigned field, const char *key, int64_t v)
{
    struct vs_buf value = { 0 };
    if (v < 0)
        return;
    add_int(&value, 3, (uint64_t)v);
    add_attribute(b, field, key, &value);
}

static void add_list_attribute(struct vs_buf *b, unsigned field, const char *key, const char *s)
{
    struct vs_buf value = { 0 }, list = { 0 }, one = { 0 };
    if (!s[0])
        return;
    add_text(&one, 1, s);
    add_message(&list, 1, &one);
    add_message(&value, 5, &list);
    add_attribute(b, field, key, &value);
}

/* ---- spans ---- */

void trace_begin(struct gw_span *s, const char *traceparent, char ret[56])
{
    memset(s, 0, sizeof *s);
    s->begun_ns = vs_clock_real_ms() * 1000000;
    s->begun_at = vs_clock_ns();
    s->input = s->output = -1;
    ret[0] = 0;
    if (traceparent) {                  /* 00-TRACE-PARENT-FLAGS */
        vs_hex_bytes(traceparent + 3, sizeof s->trace, s->trace);
        vs_hex_bytes(traceparent + 36, sizeof s->parent, s->parent);
        s->has_parent = true;
        s->is_on = vs_hex_digit(traceparent[54]) & 1;
    } else {
        s->is_on = getrandom(s->trace, sizeof s->trace, 0) == (ssize_t)sizeof s->trace;
    }
    if (getrandom(s->id, sizeof s->id, 0) != (ssize_t)sizeof s->id)
        s->is_on = false;
    if (!s->is_on)
        return;
    memcpy(ret, "00-", 3);
    vs_hex(s->trace, sizeof s->trace, ret + 3);
    ret[35] = '-';
    vs_hex(s->id, sizeof s->id, ret + 36);
    memcpy(ret + 52, "-01", 4);
}

void trace_result(struct gw_span *s, const json_t *result)
{
    const json_t *usage = json_object_get(result, "usage"), *timings = json_object_get(result, "timings");
    const char *finish = json_string_value(json_object_get(result, "finish_reason"));
    if (!usage)
        return;
    s->input = json_integer_value(json_object_get(usage, "prompt_tokens"));
    s->output = json_integer_value(json_object_get(usage, "completion_tokens"));
    s->queue_ms = json_number_value(json_object_get(timings, "queue_ms"));
    s->prompt_ms = json_number_value(json_object_get(timings, "prompt_ms"));
    s->decode_ms = json_number_value(json_object_get(timings, "decode_ms"));
    snprintf(s->finish, sizeof s->finish, "%s", finish ? finish : "");
}

/* Span { trace_id 1, span_id 2, parent_span_id 4, name 5, kind 6, start 7, end 8, attributes 9, status 15 }. */
static void begin_span(struct vs_buf *b, const struct gw_span *s, const uint8_t *id, const uint8_t *parent, const char *name,
                       int kind, uint64_t from, uint64_t to)
{
    add_bytes(b, 1, s->trace, sizeof s->trace);
    add_bytes(b, 2, id, 8);
    if (parent)
        add_bytes(b, 4, parent, 8);
    add_text(b, 5, name);
    add_int(b, 6, (uint64_t)kind);
    add_time(b, 7, from);
    add_time(b, 8, to > from ? to : from);
}

static void keep(struct vs_buf *span)
{
    size_t before = spans.n;
    add_message(&spans, 2, span);
    if (spans.status != VS_OK)          /* full: this one is lost */
        spans.n = before, spans.status = VS_OK;
    else
        n_spans++;
}

void trace_end(const struct gw_span *s, const char *route, const char *model, int status)
{
    struct vs_buf span = { 0 };
    char name[200];
    uint64_t from = (uint64_t)s->begun_ns, to = from + (vs_clock_ns() - s->begun_at);   /* the turn's clock may be behind */
    if (!s->is_on)
        return;
    const char *operation = strstr(route, "chat") || strstr(route, "messages") ? "chat" : s->output >= 0 ? "text_completion" : "";
    snprintf(name, sizeof name, "%s%s%s", operation[0] ? operation : route, model[0] ? " " : "", model);
    begin_span(&span, s, s->id, s->has_parent ? s->parent : NULL, name, KIND_SERVER, from, to);
    add_text_attribute(&span, 9, "http.route", route);
    add_int_attribute(&span, 9, "http.response.status_code", status);
    add_text_attribute(&span, 9, "gen_ai.operation.name", operation);
    add_text_attribute(&span, 9, "gen_ai.provider.name", operation[0] ? "veritas" : "");
    add_text_attribute(&span, 9, "gen_ai.request.model", model);
    add_int_attribute(&span, 9, "gen_ai.usage.input_tokens", s->input);
    add_int_attribute(&span, 9, "gen_ai.usage.output_tokens", s->output);
    add_list_attribute(&span, 9, "gen_ai.response.finish_reasons", s->finish);
    if (status >= 500) {
        struct vs_buf error = { 0 };
        add_int(&error, 3, STATUS_ERROR);
        add_message(&span, 15, &error);
    }
    keep(&span);
    const struct { const char *name; double ms; } parts[] = {
        { "queue", s->queue_ms }, { "prefill", s->prompt_ms }, { "decode", s->decode_ms },
    };
    for (size_t i = 0; s->output >= 0 && i < sizeof parts / sizeof *parts; i++) {
        uint8_t id[8];
        uint64_t end = from + (uint64_t)(parts[i].ms > 0 ? parts[i].ms * 1e6 : 0);
        end = end < to ? end : to;
        memcpy(id, s->id, sizeof id);
        id[7] = (uint8_t)(id[7] + i + 1);               /* within its trace that is unique enough */
        begin_span(&span, s, id, s->id, parts[i].name, KIND_INTERNAL, from, end);
        keep(&span);
        from = end;
    }
}

size_t trace_queued(void)
{
    return n_spans;
}

/* ExportTraceServiceRequest { ResourceSpans 1 { Resource 1 { attributes 1 }, ScopeSpans 2 { Scope 1 { name 1, version 2 },
 * spans 2 } } } */
void trace_export(struct vs_buf *ret)
{
    struct vs_buf resource = { 0 }, scope = { 0 }, of_scope = { 0 }, of_resource = { 0 };
    add_text_attribute(&resource, 1, "service.name", "veritas-gateway");
    add_text_attribute(&resource, 1, "service.version", VERITAS_VERSION);
    add_text(&scope, 1, "veritas-gateway");
    add_text(&scope, 2, VERITAS_VERSION);
    add_message(&of_scope, 1, &scope);
    vs_buf_add(&of_scope, spans.data, spans.n);         /* each with its field number already */
    add_message(&of_resource, 1, &resource);
    add_message(&of_resource, 2, &of_scope);
    add_message(ret, 1, &of_resource);
    vs_buf_clear(&spans);
    spans.limit = MAX_QUEUED;
    n_spans = 0;
}
