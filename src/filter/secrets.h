/* filter/secrets.h - keys, tokens and passwords: spans of kind SECRET, type API_KEY.
 *
 * Three ways, tried at each place where a word begins:
 *
 *   formats    A table of what vendors give out (secret_rows.c): a prefix, then alphabets and lengths. Also private keys (PEM of
 *              any kind, PGP, PuTTY, age), JSON web tokens whose header decodes to JSON, base64 of a PEM block, hashes of
 *              passwords.
 *              Of GitHub's and npm's tokens the checksum raises the score; it never refuses one.
 *   places     The password of a URL (scheme, user, `:`, password, `@`), what follows `Bearer` and `Basic`, `-u user:`.
 *   generic    An assignment whose name speaks of a secret (password, api_key, token, a vendor's name, ...) and whose value looks
 *              random (random.h), or, for a password, mixes letters with digits or signs.
 *
 * No secret is what stands for one: xxxx, <your-key>, ${VAR}, {{var}}, process.env.X, example, changeme, 12345678, abcdef, one
 * character again and again; and of assignments what a name says is public: hashes, checksums, commits, ids, certificates.
 *
 * Formats of no greatest length (JWT, PEM, long tokens) are told open as soon as their least length is there.
 * Decided by at most 128 bytes before a span, which is undecided for at most 256. Threads: the struct is only read after _init.
 */
#ifndef VS_FILTER_SECRETS_H
#define VS_FILTER_SECRETS_H
#include "filter/detector.h"

enum { VS_SECRET_SLOTS = 4096, VS_SECRET_ROWS = 512 };

struct vs_secret_row {
    const char *id;
    /* Literal characters; % and a class of secrets.c with a count: %A36, %A20,40, or last %A20+, whose end is the first character
     * of another class; %u: a UUID. Nothing of the class may follow. */
    const char *pattern;
    unsigned flags;                      /* VS_SECRET_* */
};

enum {
    VS_SECRET_RANDOM = 1,                /* only when what follows the prefix looks random: the prefix is a common one */
    VS_SECRET_CRC = 2,                   /* the last 6 characters are the CRC-32 of those after the prefix, in base 62 */
    VS_SECRET_ANY = 4,                   /* also what looks like a placeholder */
    VS_SECRET_DIGIT = 8,                 /* what follows the prefix has a digit */
    VS_SECRET_JWT = 16, VS_SECRET_PEM = 32, VS_SECRET_PEM64 = 64, VS_SECRET_PUTTY = 128,     /* checks of their own in secrets.c */
};

extern const struct vs_secret_row vs_secret_rows[];      /* begin with 3 literal bytes or more */
extern const unsigned vs_n_secret_rows;
extern const struct vs_secret_row vs_secret_shapes[];    /* known by their shape; tried at words of the right length */
extern const unsigned vs_n_secret_shapes;

struct vs_secrets {
    uint16_t slot[VS_SECRET_SLOTS], next[VS_SECRET_ROWS];     /* rows + 1 by their first 3 bytes */
    uint8_t first[256];                                       /* bytes with which a row begins */
};

void vs_secrets_init(struct vs_secrets *s);
/* `s` must live as long as the detector. */
struct vs_detector vs_secrets_detector(const struct vs_secrets *s);

#endif
