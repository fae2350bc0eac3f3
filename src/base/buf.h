/* base/buf.h - a growable run of bytes; the one string builder of the project.
 *
 * Memory:  owned by the buffer; freed by _clear. A zeroed struct is an empty buffer.
 * Failure: sticky. The first failed growth (or one past `limit`, when set) sets status and drops what was to be
 *          added; later calls do nothing. So a writer checks status once at the end.
 * data is always NUL-terminated after a successful append (the NUL is not counted in n), and NULL before the first.
 */
#ifndef VS_BASE_BUF_H
#define VS_BASE_BUF_H
#include <stddef.h>
#include <stdint.h>

struct vs_buf {
    char *data;
    size_t n, cap;
    size_t limit;                       /* most bytes it may hold; 0 = no limit of its own */
    int status;                         /* VS_OK, VS_E_NOMEM or VS_E_LIMIT */
};

void vs_buf_add(struct vs_buf *b, const void *data, size_t n);
void vs_buf_str(struct vs_buf *b, const char *s);
void vs_buf_char(struct vs_buf *b, char c);
void vs_buf_u32le(struct vs_buf *b, uint32_t v);
void vs_buf_u64le(struct vs_buf *b, uint64_t v);
void vs_buf_printf(struct vs_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *vs_buf_grow(struct vs_buf *b, size_t n);       /* n uninitialised bytes at the end; NULL on failure */
int vs_buf_resize(struct vs_buf *b, size_t cap);     /* memory for cap bytes, or for what it holds; VS_E_NOMEM: nothing changed */
void vs_buf_decimal(struct vs_buf *b, uint64_t v);        /* its digits, without a format */
void vs_buf_utf8(struct vs_buf *b, uint32_t code_point);  /* invalid code points become U+FFFD */
void vs_buf_drop(struct vs_buf *b, size_t n);        /* forget the first n bytes (n <= b->n) */
void vs_buf_reset(struct vs_buf *b);                 /* empty, status ok, memory kept */
void vs_buf_clear(struct vs_buf *b);                 /* free; the struct is empty and usable again */
#endif
