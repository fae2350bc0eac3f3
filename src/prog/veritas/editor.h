/* prog/veritas/editor.h - lines typed at a terminal: edited by libedit, remembered in history.h.
 *
 * One editor at a time. Signals: SIGINT and SIGTERM are let in only while it waits for a key (session.h counts them).
 */
#ifndef VS_VERITAS_EDITOR_H
#define VS_VERITAS_EDITOR_H
#include "base/buf.h"
#include "prog/veritas/history.h"

struct vs_editor;

/* NULL when the terminal can't be used. history is borrowed. */
struct vs_editor *vs_editor_open(const struct vs_history *history);
void vs_editor_close(struct vs_editor *e);

enum vs_line { VS_LINE, VS_LINE_NONE, VS_LINE_END };     /* a line; interrupted; end of input, or the program is to end */

/* Reads a line, with its newline. */
enum vs_line vs_editor_line(struct vs_editor *e, const char *prompt, struct vs_buf *ret);

/* Puts what was said into the history. Its first failure is told on stderr. */
void vs_editor_remember(struct vs_editor *e, const char *text, size_t n);
#endif
