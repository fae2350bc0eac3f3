/* filter/secret_value.h - values that are secret because of where they stand: assignments, headers, URLs. A part of secrets.h.
 *
 * A place is judged by at most 128 bytes before it, a value by at most VS_SECRET_VALUE_MAX of its own. Threads: no state.
 */
#ifndef VS_FILTER_SECRET_VALUE_H
#define VS_FILTER_SECRET_VALUE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VS_SECRET_VALUE_MAX = 128 };

enum vs_secret_why {
    VS_WHY_PASSWORD,                     /* a name that says password */
    VS_WHY_SECRET,                       /* token, api key, secret, ... */
    VS_WHY_VENDOR,                       /* the name of who gives out keys */
    VS_WHY_KEY,                          /* a key of some kind */
    VS_WHY_BEARER, VS_WHY_BASIC, VS_WHY_USER, VS_WHY_URL,
};

struct vs_secret_place {
    enum vs_secret_why why;
    const char *rule;
    unsigned score;
    char quote;                          /* that opens the value, or 0 */
    bool is_set;                         /* what stands there is surely a value: NAME=value, "name" = "value" */
};

/* Whether a value at text[i] may be a secret, by what stands before it. */
bool vs_secret_place(const char *text, size_t i, struct vs_secret_place *ret);

enum vs_secret_answer { VS_VALUE_NONE, VS_VALUE_UNDECIDED, VS_VALUE_FOUND, VS_VALUE_LONG };
/* The value at text[i] of text[0, n). FOUND: *ret_end is its end. LONG: it goes on behind VS_SECRET_VALUE_MAX characters. */
enum vs_secret_answer vs_secret_value(const char *text, size_t n, size_t i, bool whole, const struct vs_secret_place *place,
                                      size_t *ret_end);

/* Whether it looks random; letters alone must be many. */
bool vs_secret_is_random(const char *s, size_t n);
/* Whether it stands for a secret, so that it is none: xxxx, <your-key>, ${VAR}, example, ... */
bool vs_secret_is_placeholder(const char *s, size_t n);
/* Both alphabets, padding or not; up to the first other character, or until `to` is full. Returns how many bytes. */
size_t vs_base64_decode(const char *s, size_t n, char *to, size_t size);
#endif
