/* prog/gateway/trace.h - what a request took, for a collector of traces: OTLP over HTTP, as protobuf.
 *
 * A request is a span of kind server; under it lie queue, prefill and decode, as the answer's timings say. It belongs to the trace
 * of the request's traceparent (one that says "not sampled" is not sent), else to one of its own. Spans are kept until there are
 * many or a second has passed, and go to the collector in one POST. What cannot be sent is lost, and the log says so once:
 * telemetry never holds up an answer.
 *
 * Wire format: opentelemetry-proto, trace/v1 and collector/trace/v1; names of gen_ai.* from its semantic conventions. No text of
 * prompts or answers.
 */
#ifndef VS_GATEWAY_TRACE_H
#define VS_GATEWAY_TRACE_H
#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gw_span {                        /* a request's */
    bool is_on, has_parent;
    uint8_t trace[16], id[8], parent[8];
    int64_t begun_ns;                   /* since 1970 */
    uint64_t begun_at;                  /* vs_clock_ns() */
    double queue_ms, prompt_ms, decode_ms;
    int64_t input, output;              /* tokens; -1: none were told */
    char finish[32];
};

/* traceparent: the request's, checked, or NULL. ret: what the daemon is told, 56 bytes, or "". */
void trace_begin(struct gw_span *s, const char *traceparent, char ret[56]);
void trace_result(struct gw_span *s, const json_t *result);
/* operation: "chat", "text_completion"; model may be "". Queues its spans. */
void trace_end(const struct gw_span *s, const char *route, const char *model, int status);

/* One request as it goes out, of the spans that are queued: body only. Empties the queue. */
void trace_export(struct vs_buf *ret);
size_t trace_queued(void);
#endif
