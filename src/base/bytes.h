/* base/bytes.h - a cursor over bytes we do not trust.
 *
 * The first short read sets status to VS_E_SHORT; every later read yields zero (or NULL), so a parser
 * checks once, not per field. Little-endian. The bytes belong to the caller and must outlive the cursor.
 */
#ifndef VS_BASE_BYTES_H
#define VS_BASE_BYTES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_bytes {
    const uint8_t *at, *end;
    int status;                         /* VS_OK or VS_E_SHORT */
};

void vs_bytes_init(struct vs_bytes *b, const void *data, size_t n);
size_t vs_bytes_left(const struct vs_bytes *b);
const uint8_t *vs_bytes_take(struct vs_bytes *b, uint64_t n);   /* NULL when short */
uint8_t vs_bytes_u8(struct vs_bytes *b);
uint16_t vs_bytes_u16le(struct vs_bytes *b);
uint32_t vs_bytes_u32le(struct vs_bytes *b);
uint64_t vs_bytes_u64le(struct vs_bytes *b);

/* Unaligned little-endian loads and stores on memory already known to be there. */
uint16_t vs_load_u16le(const void *p);
uint32_t vs_load_u32le(const void *p);
uint64_t vs_load_u64le(const void *p);
void vs_store_u16le(void *p, uint16_t v);
void vs_store_u32le(void *p, uint32_t v);
void vs_store_u64le(void *p, uint64_t v);

/* Not 0 where one of eight bytes is 0; which one is the first: the highest bit of that byte is set, and none in front of it. */
static inline uint64_t vs_zero_bytes(uint64_t w)
{
    return (w - 0x0101010101010101u) & ~w & 0x8080808080808080u;
}

/* Are n bytes the same, in a time that depends on n alone? For digests of what is secret. */
bool vs_bytes_are_equal(const void *a, const void *b, size_t n);

/* n bytes as 2n digits (lower case) and a NUL. Is it the text of a SHA-256: 64 such digits? */
void vs_hex(const void *bytes, size_t n, char *ret);
bool vs_hex_is_sha256(const char *hex);

/* The value of one digit, of either case; -1: it is none. The n bytes of 2n digits that are known to be such. */
int vs_hex_digit(char c);
void vs_hex_bytes(const char *hex, size_t n, uint8_t *ret);
#endif
