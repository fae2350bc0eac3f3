/* evidence/line.h - the lines of the log: how one begins, and how one follows the other (docs/AUDIT.md).
 *
 *     {"seq":12,"prev":"<SHA-256 of line 11>","time":1790000000000,"mono":81234567,"boot":"<32 hex>", ... }
 *
 * The first five members stand at the front, in this order and in this spelling, so that a chain is checked without reading JSON:
 * seq counts from 1, prev of the first is 64 zeros, time is milliseconds since 1970, mono nanoseconds of CLOCK_MONOTONIC. A line is
 * what stands before its newline. Behind the five come the members of the record, in OCSF's words.
 *
 * Bytes that are no record may lie between two (a write that was cut by a power failure): then the record behind them says so, by
 * "torn":{"bytes":N,"sha256":"..."} at its very end, about all bytes since the newline of the record before.
 *
 * Memory: lines borrow the caller's bytes. Threads: pure.
 */
#ifndef VS_EVIDENCE_LINE_H
#define VS_EVIDENCE_LINE_H
#include "base/buf.h"
#include "evidence/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VS_LINE_MOST = 32 << 10,             /* bytes of a line, without its newline */
    VS_BOOT_HEX = 33,                    /* the kernel's boot id without its dashes, and a NUL */
};

struct vs_line_head {
    uint64_t seq;
    uint8_t prev[VS_HASH_BYTES];
    int64_t time_ms;
    uint64_t mono_ns;
    char boot[VS_BOOT_HEX];
};

/* Appends the line, without a newline: head, then members[n], the inside of a JSON object without its braces. */
void vs_line_format(const struct vs_line_head *head, const char *members, size_t n, struct vs_buf *out);

/* Reads the five members of a line that is otherwise sound: printable, braced, not too long. NULL, or what is wrong. */
const char *vs_line_parse(const char *line, size_t n, struct vs_line_head *ret);

/* What the line says of bytes before it; false: nothing. */
bool vs_line_torn(const char *line, size_t n, uint64_t *ret_bytes, uint8_t ret_hash[VS_HASH_BYTES]);
void vs_line_torn_format(const void *bytes, size_t n, struct vs_buf *out);      /* ,"torn":{...} */
#endif
