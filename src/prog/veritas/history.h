/* prog/veritas/history.h - what was typed in chats, from one session to the next.
 *
 * A file that only the user may read, one entry a line, added to at once under a lock: so a session that is killed has lost
 * nothing, and sessions side by side keep each other's entries. Control characters and \ are written as \ooo (three octal digits),
 * so an entry may have several lines. When the file has become long the newest entries go to a new one that takes its place.
 */
#ifndef VS_VERITAS_HISTORY_H
#define VS_VERITAS_HISTORY_H
#include "base/buf.h"
#include "base/status.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum { VS_HISTORY_ENTRIES = 1000 };      /* so many are kept; the file is cut when it has twice as many */
#define VS_HISTORY_ENTRY_LIMIT (1u << 20)    /* longer ones are not kept */

struct vs_history {
    char path[PATH_MAX];                 /* "": nothing is kept */
};

/* $VERITAS_HISTORY ("off", or a file), else $XDG_STATE_HOME/veritas/chat_history, else ~/.local/state/veritas/chat_history. Makes
 * the directory. A file that is none (/dev/null) means off. On failure, and without HOME, nothing is kept; err says why. */
int vs_history_open(struct vs_history *h, struct vs_error *err);

/* Hands over the newest entries, the oldest of them first. Cuts the file when it has become long. */
int vs_history_load(const struct vs_history *h, void (*take)(void *context, const char *entry), void *context,
                    struct vs_error *err);

/* Adds an entry. What vs_history_keeps refuses is not kept. */
int vs_history_add(const struct vs_history *h, const char *entry, size_t n, struct vs_error *err);

/* Not empty, not too long, UTF-8 without NUL. */
bool vs_history_keeps(const char *entry, size_t n);

/* One line of the file: appends the entry and a newline; reads one (without its newline), false when it is none. */
void vs_history_encode(const char *entry, size_t n, struct vs_buf *ret);
bool vs_history_decode(const char *line, size_t n, struct vs_buf *ret);
#endif
