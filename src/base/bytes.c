/* base/bytes.c - see bytes.h */
#include "base/bytes.h"

#include "base/status.h"

#include <string.h>

void vs_bytes_init(struct vs_bytes *b, const void *data, size_t n)
{
    b->at = data;
    b->end = b->at + n;
    b->status = VS_OK;
}

size_t vs_bytes_left(const struct vs_bytes *b)
{
    return (size_t)(b->end - b->at);
}

const uint8_t *vs_bytes_take(struct vs_bytes *b, uint64_t n)
{
    if (b->status != VS_OK || n > vs_bytes_left(b)) {
        b->status = VS_E_SHORT;
        b->at = b->end;
        return NULL;
    }
    const uint8_t *p = b->at;
    b->at += n;
    return p;
}

uint8_t vs_bytes_u8(struct vs_bytes *b)
{
    const uint8_t *p = vs_bytes_take(b, 1);
    return p ? *p : 0;
}

uint16_t vs_bytes_u16le(struct vs_bytes *b)
{
    const uint8_t *p = vs_bytes_take(b, 2);
    return p ? vs_load_u16le(p) : 0;
}

uint32_t vs_bytes_u32le(struct vs_bytes *b)
{
    const uint8_t *p = vs_bytes_take(b, 4);
    return p ? vs_load_u32le(p) : 0;
}

uint64_t vs_bytes_u64le(struct vs_bytes *b)
{
    const uint8_t *p = vs_bytes_take(b, 8);
    return p ? vs_load_u64le(p) : 0;
}

uint16_t vs_load_u16le(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

uint32_t vs_load_u32le(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t vs_load_u64le(const void *p)
{
    return vs_load_u32le(p) | (uint64_t)vs_load_u32le((const uint8_t *)p + 4) << 32;
}

void vs_store_u16le(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

void vs_store_u32le(void *p, uint32_t v)
{
    vs_store_u16le(p, (uint16_t)v);
    vs_store_u16le((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

void vs_store_u64le(void *p, uint64_t v)
{
    vs_store_u32le(p, (uint32_t)v);
    vs_store_u32le((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

static const char digits[] = "0123456789abcdef";

bool vs_bytes_are_equal(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;      /* volatile: no compiler may stop at the first difference */
    unsigned unlike = 0;
    for (size_t i = 0; i < n; i++)
        unlike |= (unsigned)(x[i] ^ y[i]);
    return unlike == 0;
}

void vs_hex(const void *bytes, size_t n, char *ret)
{
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i++) {
        *ret++ = digits[b[i] >> 4];
        *ret++ = digits[b[i] & 15];
    }
    *ret = 0;
}

bool vs_hex_is_sha256(const char *hex)
{
    return strspn(hex, digits) == 64 && hex[64] == 0;
}

int vs_hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void vs_hex_bytes(const char *hex, size_t n, uint8_t *ret)
{
    for (size_t i = 0; i < n; i++)
        ret[i] = (uint8_t)(vs_hex_digit(hex[2 * i]) << 4 | vs_hex_digit(hex[2 * i + 1]));
}
