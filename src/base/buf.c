/* base/buf.c - see buf.h */
#include "base/buf.h"

#include "base/bytes.h"
#include "base/status.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *vs_buf_grow(struct vs_buf *b, size_t n)
{
    if (b->status != VS_OK)
        return NULL;
    if (n > SIZE_MAX / 4 - b->n) {
        b->status = VS_E_NOMEM;
        return NULL;
    }
    if (b->limit && n > b->limit - b->n) {
        b->status = VS_E_LIMIT;
        return NULL;
    }
    size_t need = b->n + n + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need)
            cap *= 2;
        char *data = realloc(b->data, cap);
        if (!data) {
            b->status = VS_E_NOMEM;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    char *at = b->data + b->n;
    b->n += n;
    b->data[b->n] = 0;
    return at;
}

int vs_buf_resize(struct vs_buf *b, size_t cap)
{
    if (cap <= b->n)
        cap = b->n + 1;                 /* a NUL behind the last byte */
    char *data = realloc(b->data, cap);
    if (!data)
        return VS_E_NOMEM;
    b->data = data;
    b->cap = cap;
    b->data[b->n] = 0;
    return VS_OK;
}

void vs_buf_add(struct vs_buf *b, const void *data, size_t n)
{
    char *at = vs_buf_grow(b, n);
    if (at && n)
        memcpy(at, data, n);
}

void vs_buf_str(struct vs_buf *b, const char *s)
{
    vs_buf_add(b, s, strlen(s));
}

void vs_buf_char(struct vs_buf *b, char c)
{
    vs_buf_add(b, &c, 1);
}

void vs_buf_u32le(struct vs_buf *b, uint32_t v)
{
    uint8_t p[4];
    vs_store_u32le(p, v);
    vs_buf_add(b, p, sizeof p);
}

void vs_buf_u64le(struct vs_buf *b, uint64_t v)
{
    uint8_t p[8];
    vs_store_u64le(p, v);
    vs_buf_add(b, p, sizeof p);
}

/* Mostly it fits where there is room already. */
void vs_buf_printf(struct vs_buf *b, const char *format, ...)
{
    size_t room = b->data && b->status == VS_OK ? b->cap - b->n : 0;
    va_list args;
    if (b->limit && room > b->limit - b->n + 1)
        room = b->limit - b->n + 1;
    va_start(args, format);
    int n = vsnprintf(room ? b->data + b->n : NULL, room, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < room) {
        b->n += (size_t)n;
        return;
    }
    if (room)
        b->data[b->n] = 0;              /* what came through of it goes */
    char *at = n < 0 ? NULL : vs_buf_grow(b, (size_t)n);
    if (!at)
        return;
    va_start(args, format);
    vsnprintf(at, (size_t)n + 1, format, args);
    va_end(args);
}

void vs_buf_decimal(struct vs_buf *b, uint64_t v)
{
    char text[20];
    size_t at = sizeof text;
    do
        text[--at] = (char)('0' + v % 10);
    while (v /= 10);
    vs_buf_add(b, text + at, sizeof text - at);
}

void vs_buf_utf8(struct vs_buf *b, uint32_t c)
{
    char s[4];
    vs_buf_add(b, s, vs_utf8_encode(c, s));
}

void vs_buf_drop(struct vs_buf *b, size_t n)
{
    assert(n <= b->n);
    if (!n)
        return;
    memmove(b->data, b->data + n, b->n - n);
    b->n -= n;
    b->data[b->n] = 0;
}

void vs_buf_reset(struct vs_buf *b)
{
    b->n = 0;
    b->status = VS_OK;
    if (b->data)
        b->data[0] = 0;
}

void vs_buf_clear(struct vs_buf *b)
{
    free(b->data);
    size_t limit = b->limit;
    memset(b, 0, sizeof *b);
    b->limit = limit;
}
