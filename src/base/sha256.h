/* base/sha256.h - SHA-256 (FIPS 180-4), in plain C or with the processor's instructions for it: the self-test links no library, so
 * that it can be built for a machine of which only a compiler is at hand. For comparing computations, and for what is kept of API
 * keys (identity/key.h): its time depends on n alone, and the struct is the caller's to wipe. Threads: pure. */
#ifndef VS_BASE_SHA256_H
#define VS_BASE_SHA256_H
#include <stddef.h>
#include <stdint.h>

struct vs_sha256 {
    uint32_t h[8];
    uint64_t n;                         /* bytes so far */
    uint8_t block[64];
};

void vs_sha256_init(struct vs_sha256 *s);
void vs_sha256_add(struct vs_sha256 *s, const void *data, size_t n);
void vs_sha256_end(struct vs_sha256 *s, uint8_t ret[32]);
void vs_sha256_of(const void *data, size_t n, uint8_t ret[32]);      /* all three */
#endif
