/* base/text.h - foreign text on its way to a terminal or into a log.
 *
 * Names, messages and answers come from files, peers and models. What could steer a terminal, forge a line of a log or reorder
 * what a reader sees is written as an escape: C0 controls, DEL, C1 controls (as UTF-8 or as bytes), line and paragraph
 * separators, bidirectional controls, and bytes that are not UTF-8. Everything else passes as it is. This is the one place
 * that knows the list; a pipe or a file that is to hold the exact bytes does not go through it.
 */
#ifndef VS_BASE_TEXT_H
#define VS_BASE_TEXT_H
#include "base/buf.h"

#include <stddef.h>
#include <stdio.h>

enum vs_text_kind {
    VS_TEXT_LINE,                       /* a word or a line: \x0A for a newline, \x1B, \x9B, \u202E */
    VS_TEXT_LINES,                      /* an answer: newline, tab and the marks that Arabic and Hebrew need stay */
    VS_TEXT_JSON,                       /* a JSON document, which stays one: \u009b within its strings */
};

void vs_text_show(struct vs_buf *out, const char *s, size_t n, enum vs_text_kind kind);
void vs_text_print(FILE *f, const char *s, size_t n, enum vs_text_kind kind);

/* One line into to[size], cut at a whole character, NUL-terminated; returns its length. s[n] may have a NUL: it ends there. */
size_t vs_text_line(char *to, size_t size, const char *s, size_t n);

/* For printf: vs_shown(name).text lives as long as the call. Cut at some 500 bytes. NULL is "-". */
struct vs_shown { char text[512]; };
struct vs_shown vs_shown(const char *s);
#endif
