/* filter/prompt.c - see prompt.h
 *
 * The end of a text is followed as a `trail`: its last characters, normalised, where each begins, and how many of them agree. What
 * agrees is a function of the text alone: the longest end of it in which all runs of 4 and of 16 characters are the message's. */
#include "filter/prompt.h"

#include "base/utf8.h"
#include "unicode/unicode.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHORT = 4, LONG = 16,                /* characters of the runs that are kept */
    RING = 64,                           /* characters of a trail that are remembered; more than VS_PROMPT_RUN */
    BYTES_MAX = 240,                     /* of a trail */
    UNITS = 4,                           /* of work for a character */
    SPACE_MAX = 8,                       /* bytes of white space that are one space */
};

struct set {
    uint64_t *bits;
    unsigned shift;                      /* 64 - log2 of the number of bits */
};

struct vs_prompt {
    struct set few, many;                /* the runs of SHORT and of LONG characters */
    size_t n_chars;
    uint64_t words[];
};

struct trail {
    uint32_t c[RING];
    size_t begin[RING];
    uint32_t four;                       /* the last bytes of the last four */
    size_t n, agree;                     /* characters seen; how many at the end agree */
};

static bool is_white(uint32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x80 && vs_unicode(c)->mask >> VS_U_WHITE_SPACE & 1);
}

/* The normalised character at text[i] and its length. 0: cut short. White space is one space up to SPACE_MAX bytes. */
static inline size_t next(const char *text, size_t n, size_t i, bool whole, uint32_t *ret)
{
    unsigned char b = (unsigned char)text[i];
    uint32_t c = b, folded[3];
    size_t length = 1;
    if (b > ' ' && b < 0x80) {
        *ret = b >= 'A' && b <= 'Z' ? b + 32u : b;
        return 1;
    }
    if (b >= 0x80) {
        length = vs_utf8_decode(text + i, n - i, &c);
        if (!length && !whole && vs_utf8_unfinished(text + i, n - i) == n - i)
            return 0;
        if (!length)
            c = b, length = 1;
        else if (vs_unicode_to(c, VS_TO_LOWER, folded) > 0)
            c = folded[0];
    }
    *ret = c;
    if (is_white(c)) {
        *ret = ' ';
        for (size_t more; i + length < n && length < SPACE_MAX; length += more) {
            more = vs_utf8_decode(text + i + length, n - i - length, &c);
            if (!more || !is_white(c))
                break;
        }
    }
    return length;
}

/* ---- sets ---- */

static uint64_t hash_of_few(uint32_t four)
{
    return four * 0x9e3779b97f4a7c15u;
}

static uint64_t hash_of_many(const struct trail *t)
{
    uint64_t h = 0;
    for (size_t k = 0; k < LONG; k++)
        h = (h ^ t->c[(t->n - LONG + k) % RING]) * 0xff51afd7ed558ccdu, h ^= h >> 29;
    return h * 0x9e3779b97f4a7c15u;
}

static void put(struct set *s, uint64_t hash)
{
    uint64_t bit = hash >> s->shift;
    s->bits[bit >> 6] |= (uint64_t)1 << (bit & 63);
}

static inline bool has(const struct set *s, uint64_t hash)
{
    uint64_t bit = hash >> s->shift;
    return s->bits[bit >> 6] >> (bit & 63) & 1;
}

static inline void add(struct trail *t, uint32_t c, size_t begin)
{
    t->c[t->n % RING] = c;
    t->begin[t->n % RING] = begin;
    t->four = t->four << 8 | (c & 0xff);
    t->n++;
}

/* Where the part that agrees begins. */
static size_t start_of(const struct trail *t)
{
    return t->begin[(t->n - t->agree) % RING];
}

/* Whether the last character goes on with what agreed, and how much of it agrees then. */
static inline bool agree(const struct vs_prompt *p, struct trail *t, size_t end)
{
    size_t before = t->agree;
    t->agree = before + 1 < RING ? before + 1 : RING - 1;
    if (t->agree >= SHORT && !has(&p->few, hash_of_few(t->four)))
        t->agree = SHORT - 1;
    else if (t->agree >= LONG && !has(&p->many, hash_of_many(t)))
        t->agree = LONG - 1;
    bool goes_on = t->agree > before || t->agree == RING - 1;
    while (t->agree && end - start_of(t) > BYTES_MAX)
        t->agree--;
    return goes_on;
}

/* ---- building ---- */

static unsigned log2_of_bits(size_t n, unsigned most)
{
    unsigned bits = 12;
    while (bits < most && ((size_t)1 << bits) < n * 16)
        bits++;
    return bits;
}

struct vs_prompt *vs_prompt_create(const char *text, size_t n, struct vs_check *check)
{
    unsigned few = log2_of_bits(n, 20), many = log2_of_bits(n, 23);
    size_t few_words = (size_t)1 << (few - 6), many_words = (size_t)1 << (many - 6);
    struct vs_prompt *p = calloc(1, sizeof *p + (few_words + many_words) * sizeof *p->words);
    if (!p)
        return NULL;
    p->few = (struct set){ p->words, 64 - few };
    p->many = (struct set){ p->words + few_words, 64 - many };
    struct trail t = { .n = 0 };
    uint32_t c, last = ' ';
    for (size_t i = 0, length; i < n; i += length) {
        length = next(text, n, i, true, &c);
        if (c == ' ' && last == ' ')
            continue;
        last = c;
        vs_check_work(check, UNITS);
        add(&t, c, i);
        if (t.n >= SHORT)
            put(&p->few, hash_of_few(t.four));
        if (t.n >= LONG)
            put(&p->many, hash_of_many(&t));
    }
    p->n_chars = t.n;
    explicit_bzero(&t, sizeof t);
    return p;
}

void vs_prompt_free(struct vs_prompt *p)
{
    free(p);
}

/* ---- the detector ---- */

/* Whether text[i, n) is the beginning of a character that more bytes could complete. */
static bool is_unfinished(const char *text, size_t n, size_t i)
{
    return n > i && n - i <= 3 && vs_utf8_unfinished(text + i, n - i) == n - i;
}

/* Where a character that no longer agrees ends the run: before an ASCII one, behind another, and behind all of what might have
 * become one: however the text was cut, that was seen together. */
static size_t end_before(const char *text, size_t n, size_t i, size_t length)
{
    if ((unsigned char)text[i] < 0x80)
        return i;
    while (length < 3 && i + length < n && is_unfinished(text, i + length + 1, i))
        length++;
    return i + length;
}

/* Follows a told run from `looked`, with the characters before it as context. */
static size_t run_end(const struct vs_prompt *p, const char *text, size_t n, size_t looked, bool whole)
{
    struct trail t = { .n = 0 };
    size_t i = looked > VS_DETECT_CONTEXT ? looked - VS_DETECT_CONTEXT : 0;
    while (i < n && i < looked && ((unsigned char)text[i] & 0xc0) == 0x80)
        i++;
    for (size_t length; i < n; i += length) {
        uint32_t c;
        length = next(text, n, i, whole, &c);
        if (length == 0)
            return SIZE_MAX;
        add(&t, c, i);
        bool is_new = i >= looked || is_unfinished(text, looked, i);
        if (is_new && t.n >= LONG && !has(&p->many, hash_of_many(&t)))
            return end_before(text, n, i, length);
    }
    return SIZE_MAX;
}

static size_t closed(const struct vs_detector *d, const char *rule, const char *text, size_t n, size_t looked)
{
    (void)rule;
    return run_end(d->state, text, n, looked, false);
}

static size_t find(const struct vs_detector *d, const char *text, size_t n, size_t from, bool whole, vs_span_fn *told, void *arg)
{
    const struct vs_prompt *p = d->state;
    struct trail t = { .n = 0 };
    size_t i = from;
    if (p->n_chars < VS_PROMPT_RUN)
        return n;
    for (size_t length; i < n; i += length) {
        uint32_t c;
        length = next(text, n, i, whole, &c);
        if (length == 0 || (c == ' ' && i + length == n && length < SPACE_MAX && !whole))
            break;                       /* the rest of a character, or of white space */
        add(&t, c, i);
        agree(p, &t, i + length);
        if (t.agree < VS_PROMPT_RUN)
            continue;
        size_t start = start_of(&t), end = i + length;
        struct vs_span span = { VS_FOUND_SYSTEM_PROMPT, 0, "system-prompt", start, end, 1000, !whole };
        if (whole) {
            size_t last = run_end(p, text, n, end, true);
            span.end = last == SIZE_MAX ? n : last;
        }
        told(arg, &span);
        if (!whole)
            return start;
        memset(&t, 0, sizeof t);
        length = span.end - i;
    }
    return whole ? n : t.agree ? start_of(&t) : i;
}

struct vs_detector vs_prompt_detector(const struct vs_prompt *p)
{
    return (struct vs_detector){ "system_prompt", p, find, closed };
}
