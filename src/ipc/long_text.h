/* ipc/long_text.h - long strings of JSON, past jansson, which takes 20 ns for each of their bytes to read and 9 to write.
 *
 *     {"messages": [{"content": "a long text ..."}]} --take--> {"messages": [{"content": ""}]} and the long text
 *                                                    <--put--- jansson's value of that
 *
 * What they are is judged as jansson does: strict UTF-8, no control characters, no half of a surrogate pair.
 *
 * Memory:  a vs_long_texts owns its bytes and values until _clear. Threads: none. Inside the room.
 */
#ifndef VS_IPC_LONG_TEXT_H
#define VS_IPC_LONG_TEXT_H
#include "base/buf.h"
#include "base/check.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { VS_LONG_TEXT = 256 };            /* bytes from which on it is worth it */

struct vs_long_texts {
    struct vs_buf thin;                 /* the JSON without them */
    struct vs_long_one { size_t ordinal; json_t *value; } *one;      /* [n] ordinal: strings before it, but for keys */
    size_t n, cap;
};

/* False: there is none, or one that is not as it should be (jansson says what is wrong), or no memory. _clear in either case. */
bool vs_long_take(const char *s, size_t n, struct vs_check *check, struct vs_long_texts *ret);
bool vs_long_put(struct vs_long_texts *t, json_t *root); /* false: no memory */
void vs_long_clear(struct vs_long_texts *t);

/* Where the string that begins at s[at] ends: behind its quote, or n. Is it a key? */
size_t vs_string_end(const char *s, size_t n, size_t at);
bool vs_string_is_key(const char *s, size_t n, size_t end);

void vs_long_write(const char *s, size_t n, struct vs_buf *out);       /* with its quotes, as jansson writes it */
#endif
