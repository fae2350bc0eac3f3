/* filter/strip.h - a stream in front of which control characters go: what is left is what the other detectors see.
 *
 *     push --> control --what stays--> detectors --> pieces
 *
 * Were they taken out beside the others, "4111<ESC>[0m 1111 ..." would be no card to a detector, and become one by what is taken
 * out. Pieces and findings have offsets of the text that was pushed, as those of a stream (filter/stream.h): a piece that passes is
 * parted where something was taken out.
 *
 * Memory: that of two streams and a list of what was taken out of bytes that are held; nothing per push. Threads: one at a time.
 */
#ifndef VS_FILTER_STRIP_H
#define VS_FILTER_STRIP_H
#include "filter/stream.h"

struct vs_strip;

/* first: of what is taken out, NULL: nothing is; is_told: whether that is told; config: the others. NULL: no memory, or too many
 * detectors. */
struct vs_strip *vs_strip_create(const struct vs_detector *first, bool is_told, const struct vs_stream_config *config,
                                 const struct vs_stream_sink *sink);
void vs_strip_free(struct vs_strip *s);
bool vs_strip_push(struct vs_strip *s, const char *bytes, size_t n, bool end);
bool vs_strip_blocked(const struct vs_strip *s);
/* The most bytes that were held back when a push returned. */
size_t vs_strip_held_max(const struct vs_strip *s);
#endif
