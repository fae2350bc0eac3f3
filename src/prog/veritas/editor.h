/* prog/veritas/editor.h - lines typed at a terminal: edited by libedit, remembered in history.h.
 *
 * What is pasted (terminals mark it) becomes a part of the line, its newlines too, and is sent by Enter only. The window may change
 * its size, and Ctrl-Z stops the program as usual.
 *
 * One editor at a time. Signals: SIGINT and SIGTERM are let in only while it waits for a key (session.h counts them).
 */
#ifndef VS_VERITAS_EDITOR_H
#define VS_VERITAS_EDITOR_H
#include "base/buf.h"
#include "prog/veritas/history.h"

#define VS_EDITOR_LIMIT (8u << 20)          /* bytes of a line */

struct vs_editor;

/* What Tab may put in place of the end of a line: the words, a NUL behind each, for the bytes from `from` on. */
struct vs_completion { size_t from; struct vs_buf words; };
typedef void vs_editor_complete(void *context, const char *line, size_t n, struct vs_completion *ret);

/* NULL when the terminal can't be used. history is borrowed. */
struct vs_editor *vs_editor_open(const struct vs_history *history, vs_editor_complete *complete, void *context);
void vs_editor_close(struct vs_editor *e);

enum vs_line { VS_LINE, VS_LINE_NONE, VS_LINE_END };     /* a line; interrupted; end of input, or the program is to end */

/* Reads a line, with its newline; other newlines are in it when they were pasted, or came from the history. */
enum vs_line vs_editor_line(struct vs_editor *e, const char *prompt, struct vs_buf *ret);

/* Puts what was said into the history. Its first failure is told on stderr. */
void vs_editor_remember(struct vs_editor *e, const char *text, size_t n);
#endif
