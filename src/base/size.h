/* base/size.h - a size as people write it: "512M", "2G", "65536". K, M, G and T stand for 2^10, 2^20, 2^30 and 2^40 bytes; small
 * letters too. */
#ifndef VS_BASE_SIZE_H
#define VS_BASE_SIZE_H
#include <stdbool.h>
#include <stdint.h>

/* A time as people write it, in seconds: "90s", "30m", "12h", "30d"; 1 second to 36500 days. The whole text; else false. */
bool vs_duration_parse(const char *text, uint64_t *ret_seconds);

/* The whole text, at most INT64_MAX bytes; false, and nothing written, when it is not that. */
bool vs_size_parse(const char *text, uint64_t *ret_bytes);
#endif
