/* filter/view.h - the characters of a text that comes in pieces, as detectors are to see them, and which input bytes each stands
 * for.
 *
 * Plain text is its own view, whole characters at a time. Of JSON the view has the characters that escapes mean (`\u0040` is '@'),
 * and says of each byte whether it lies in a string, in a bare value, or between values. It checks nothing: what is no JSON is seen
 * as bare values, quotes and brackets.
 *
 * The window slides: text[0] is the oldest byte that is kept. Memory: the struct. Threads: none. Source: RFC 8259.
 */
#ifndef VS_FILTER_VIEW_H
#define VS_FILTER_VIEW_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VS_VIEW_BYTES = 4096, VS_VIEW_ROOM = 1024, VS_VIEW_ESCAPE = 12 };

/* A byte of a bare value is VS_VIEW_BARE and above: that many bytes of the value stand before it, at most 250. */
enum vs_view_kind { VS_VIEW_BETWEEN, VS_VIEW_STRING, VS_VIEW_BARE, VS_VIEW_BARE_MAX = VS_VIEW_BARE + 250 };

struct vs_view {
    bool json;
    size_t n;                            /* bytes of the view */
    size_t n_raw, n_seen;                /* bytes of the input that are here; those that are in the view */
    size_t most;                         /* bytes of text or raw that were ever used */
    bool in_string;
    unsigned n_bare;                     /* bytes of the bare value at the end */
    char text[VS_VIEW_BYTES];
    char raw[VS_VIEW_BYTES];             /* of JSON: the input; input and view slide by themselves */
    uint8_t width[VS_VIEW_BYTES];        /* of JSON: input bytes of the character that begins here; 0 inside one */
    uint8_t kind[VS_VIEW_BYTES];         /* of JSON: see above */
};

void vs_view_init(struct vs_view *v, bool json);
void vs_view_wipe(struct vs_view *v);    /* nothing of the text stays in memory; what was never used is not touched */

/* Appends n <= VS_VIEW_ROOM bytes; there must be room for them in input and view. `end`: what is unfinished is seen as it is. */
void vs_view_add(struct vs_view *v, const char *bytes, size_t n, bool end);

/* Forgets text[0, n) and, of JSON, n_raw bytes of the input. */
void vs_view_drop(struct vs_view *v, size_t n, size_t n_raw);

/* Input bytes of text[from, to), both at the beginning of a character. */
size_t vs_view_width(const struct vs_view *v, size_t from, size_t to);

/* Where the character begins that text[i] is part of, and where the next begins when i is inside one. */
size_t vs_view_floor(const struct vs_view *v, size_t i);
size_t vs_view_ceiling(const struct vs_view *v, size_t i);
#endif
