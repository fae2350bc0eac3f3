/* filter/redact.h - what is written in place of something found.
 *
 *   label   [REDACTED:EMAIL]          says what was there
 *   mask    ****************          as many characters as there were
 *   hash    [EMAIL:5f0c1e9a7b32]      the first 12 hex digits of HMAC-SHA-256 (RFC 2104) over type, ':' and the bytes: the same
 * value
 *                                     gives the same mark under one key, and nobody without the key can try values
 *
 * A replacement is made piece by piece, because a secret may be longer than any buffer. Memory: the caller's. Threads: none.
 */
#ifndef VS_FILTER_REDACT_H
#define VS_FILTER_REDACT_H
#include "base/sha256.h"

#include <stddef.h>
#include <stdint.h>

#define VS_REDACT_MAP(X) X(LABEL, "label") X(MASK, "mask") X(HASH, "hash")

enum vs_redact_style {
#define VS_REDACT_ENUM(name, text) VS_REDACT_##name,
    VS_REDACT_MAP(VS_REDACT_ENUM)
#undef VS_REDACT_ENUM
    VS_N_REDACT
};

enum { VS_REDACT_BOUND = 64, VS_REDACT_KEY = 32 };

struct vs_redact {                       /* one replacement on its way */
    enum vs_redact_style style;
    const char *type;                    /* "EMAIL" */
    uint8_t outer[64];                   /* the key, for the outer hash */
    struct vs_sha256 hash;
    uint64_t n_characters;               /* of the mask: not written yet */
};

void vs_redact_begin(struct vs_redact *r, enum vs_redact_style style, const uint8_t key[VS_REDACT_KEY], const char *type);

/* The next bytes of what is replaced; whole characters. */
void vs_redact_add(struct vs_redact *r, const char *text, size_t n);

/* When all was added: the next bytes of the mark, into ret: how many; 0: no more. */
size_t vs_redact_next(struct vs_redact *r, char ret[VS_REDACT_BOUND]);
#endif
