/* prog/worker/inspect.h - what a GGUF file holds, as JSON, for `veritas inspect`.
 *
 * Works for any header that opens, whatever its architecture. The answer is bounded whatever the file holds: long arrays
 * are summarised, long strings and lists are cut and say so. Bytes that are not UTF-8 appear as \xNN.
 *
 *   {"format":"GGUF", "version":3, "architecture":"llama", "header_bytes":N, "tensor_bytes":N, "parameters":N,
 *    "bits_per_weight":4.9, "n_keys":N, "n_tensors":N, "types":{"Q4_0":{"tensors":N,"parameters":N,"bytes":N},...},
 *    "metadata":{"key":value,...}, "tensors":[{"name","dims":[...],"type","bytes","offset"},...],
 *    "chat_template":"..." or null,
 *    "memory":{"context":N, "weights":N, "kv":{"f16":N,"f32":N,"q8_0":N}, "total":{...}} or {"unknown":"why"}}
 *
 * A metadata value is a JSON scalar; {"type":"array","elem":"u32","count":N,"head":[first 8]} for an array; a decimal string
 * for an integer beyond 63 bits and "nan", "inf", "-inf" for such floats; {"type":"string","bytes":N,"head":"..."} for a
 * string over 64 KiB. "keys_left_out" and "tensors_left_out" tell what did not fit.
 */
#ifndef VS_WORKER_INSPECT_H
#define VS_WORKER_INSPECT_H
#include "backend/backend.h"
#include "base/check.h"
#include "base/status.h"

#include <jansson.h>
#include <stdint.h>

struct vs_gguf;

/* backend: who would hold the keys and values; ctx: the context length to compute memory for, 0 = the model's own. A model that
 * can't run needs none that is known. *ret is a new reference. */
int vs_inspect(const struct vs_gguf *g, const struct vs_backend_kind *backend, uint32_t ctx, struct vs_check *check,
               json_t **ret, struct vs_error *err);
#endif
