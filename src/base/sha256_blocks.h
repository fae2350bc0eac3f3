/* base/sha256_blocks.h - the inside of SHA-256: whole blocks. For sha256.c and its test; others want base/sha256.h.
 * All ways give the same words. Threads: pure. */
#ifndef VS_BASE_SHA256_BLOCKS_H
#define VS_BASE_SHA256_BLOCKS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint32_t vs_sha256_k[64];   /* 64-byte aligned */

void vs_sha256_blocks_c(uint32_t state[8], const uint8_t *p, size_t n);        /* p[64 n]; the definition */
#if defined(__x86_64__)
void vs_sha256_blocks_shani(uint32_t state[8], const uint8_t *p, size_t n);     /* where vs_sha256_has_shani() says so */
#endif
bool vs_sha256_has_shani(void);
#endif
