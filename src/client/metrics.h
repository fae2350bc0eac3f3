/* client/metrics.h - what METRICS says, as the text that Prometheus reads.
 *
 * Source of the format: Prometheus' exposition formats, text, version 0.0.4. */
#ifndef VS_CLIENT_METRICS_H
#define VS_CLIENT_METRICS_H
#include "base/buf.h"

#include <jansson.h>

/* Appends the text of {"counters", "gauges", "histograms"} (docs/PROTOCOL.md); the caller may have added entries of its own;
 * alias_of of one is the name whose description it has. out->status tells of failure. */
void vs_metrics_text(const json_t *metrics, struct vs_buf *out);
#endif
