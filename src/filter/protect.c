/* filter/protect.c - see protect.h
 *
 * A text is read as letters (struct letter): its letters and digits, small, %XX decoded. The last eight are one word of 64 bits; a
 * form begins where that word is one of a small table, and is followed from there. `raw` forms have every byte as a letter. */
#include "filter/protect.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEY = 8,                             /* letters by which a form is looked up */
    SLOTS = 1 << 12, PREFIX_BITS = 1 << 15, LAST_BITS = 12,
    BYTES_MAX = 240, OPEN_LEAST = 24, GAP = 4, GAP_MAX = 12,
    FORMS = 48, LETTERS = 96,            /* of a value at most; letters of all of them for each byte of it */
    WIDE = 0xef,                         /* the first byte of full-width letters */
    CODED = 2 * 2 * VS_PROTECT_MOST,     /* bytes of a value that was encoded twice */
};

struct form {
    uint64_t key;
    uint32_t at, n;                      /* its letters in `letters` */
    int32_t next;
    const char *rule;
    bool is_raw;
};

struct vs_protect {
    int32_t slot[SLOTS];
    uint64_t prefix[PREFIX_BITS / 64];   /* the first 1..7 letters of all forms */
    bool last[1 << LAST_BITS];           /* by the 6th to 8th of each */
    struct form *form;                   /* [n_forms] */
    size_t n_forms, gap, n_letters, size;
    bool has_raw, has_high;              /* has_high: bytes from 0x80 on are letters too, for a value has them */
    char letter[256];                    /* small; 0: it is none */
    char letters[];
};

enum which { PLAIN, REVERSED, HEX, HEX_0X, HEX_X, BASE64, BASE32, ROT13, TWICE };

static const char *const names[] = {
    [PLAIN] = "protected", [REVERSED] = "protected-reversed", [HEX] = "protected-hex", [HEX_0X] = "protected-hex-0x",
    [HEX_X] = "protected-hex-x", [BASE64] = "protected-base64", [BASE32] = "protected-base32", [ROT13] = "protected-rot13",
    [TWICE] = "protected-twice",
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}

static bool is_one(const struct vs_protect *p, char c)
{
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z')
           || ((unsigned char)c >= 0x80 && (unsigned char)c != WIDE && p->has_high);
}

static inline bool is_letter(const struct vs_protect *p, char c)
{
    return p->letter[(unsigned char)c] != 0;
}

/* Of the last three letters. */
static inline unsigned last_of(uint64_t key)
{
    return ((uint32_t)key << 8) * UINT32_C(0x9e3779b1) >> (32 - LAST_BITS);
}

/* May the letters whose last eight are `key` be those of a form? Most are not: then no table is asked. */
static inline bool may_be_form(const struct vs_protect *p, uint64_t key)
{
    return p->last[last_of(key)];
}

/* A full-width letter or sign (U+FF01 to U+FF5E) at text[i] is the one of ASCII. */
static size_t wide_at(const char *text, size_t n, size_t i, bool whole, char *ret)
{
    unsigned char second = n - i > 1 ? (unsigned char)text[i + 1] : 0, third = n - i > 2 ? (unsigned char)text[i + 2] : 0;
    if (n - i < 3 && !whole && (n - i == 1 || second == 0xbc || second == 0xbd))
        return 0;
    if ((third & 0xc0) != 0x80 || !(second == 0xbc ? third > 0x80 : second == 0xbd && third < 0x9f))
        return 1;
    *ret = lower((char)((second == 0xbc ? 0x20 : 0x60) + (third & 0x3f)));
    return 3;
}

/* The byte at text[i], %XX and full-width letters decoded, and its length; 0: cut short. */
static inline size_t byte_at(const char *text, size_t n, size_t i, bool whole, char *ret)
{
    *ret = lower(text[i]);
    if ((unsigned char)text[i] == WIDE)
        return wide_at(text, n, i, whole, ret);
    if (text[i] != '%')
        return 1;
    if (n - i < 3)
        return !whole && (n - i == 1 || digit(text[i + 1]) >= 0) ? 0 : 1;
    if (digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0)
        return 1;
    *ret = lower((char)(digit(text[i + 1]) << 4 | digit(text[i + 2])));
    return 3;
}

static unsigned hash(uint64_t key, unsigned n)
{
    return (unsigned)((key ^ (uint64_t)n << 57) * 0x9e3779b97f4a7c15u >> 49);
}

/* ---- building ---- */

static void put_letter(struct vs_protect *p, struct form *f, char c, bool is_raw)
{
    if ((is_raw || is_letter(p, c)) && p->n_letters < p->size) {
        p->letters[p->n_letters++] = lower(c);
        f->n++;
    }
}

/* The letters of f are there. */
static void enter(struct vs_protect *p, struct form *f)
{
    uint64_t key = 0;
    if (f->n < KEY) {
        p->n_letters -= f->n;
        return;
    }
    for (unsigned k = 0; k < KEY; k++) {
        key = key << 8 | (unsigned char)p->letters[f->at + k];
        if (k + 1 < KEY) {
            unsigned bit = hash(key, k + 1) & (PREFIX_BITS - 1);
            p->prefix[bit / 64] |= (uint64_t)1 << bit % 64;
        }
    }
    f->key = key;
    p->last[last_of(key)] = true;
    int32_t *slot = &p->slot[hash(key, KEY) & (SLOTS - 1)];
    f->next = *slot;
    *slot = (int32_t)p->n_forms++;
    p->has_raw |= f->is_raw;
}

struct coded { char s[CODED]; size_t n; };

static void add_form(struct vs_protect *p, enum which which, const struct coded *c, bool is_raw)
{
    struct form *f = &p->form[p->n_forms];
    *f = (struct form){ .at = (uint32_t)p->n_letters, .rule = names[which], .is_raw = is_raw };
    for (size_t i = 0; i < c->n; i++)
        put_letter(p, f, c->s[i], is_raw);
    enter(p, f);
}

/* As a text is read, so that what stands for others in a value does so in texts. */
static struct coded read_value(const struct vs_protected *v)
{
    struct coded c = { .n = 0 };
    for (size_t i = 0; i < v->n; c.n++)
        i += byte_at(v->bytes, v->n, i, true, &c.s[c.n]);
    return c;
}

static struct coded reversed(const char *s, size_t n)
{
    struct coded c = { .n = n };
    for (size_t i = 0; i < n; i++)
        c.s[i] = s[n - 1 - i];
    return c;
}

static struct coded rot13(const char *s, size_t n)
{
    struct coded c = { .n = n };
    for (size_t i = 0; i < n; i++) {
        bool is_letter = lower(s[i]) >= 'a' && lower(s[i]) <= 'z';
        c.s[i] = is_letter ? (char)(s[i] + (lower(s[i]) < 'n' ? 13 : -13)) : s[i];
    }
    return c;
}

static struct coded hex(const char *s, size_t n, const char *before, bool upper)
{
    struct coded c = { .n = 0 };
    for (size_t i = 0; i < n; i++) {
        for (const char *b = before; *b; b++)
            c.s[c.n++] = *b;
        const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
        c.s[c.n++] = digits[(unsigned char)s[i] >> 4];
        c.s[c.n++] = digits[s[i] & 15];
    }
    return c;
}

/* Digits of `bits` bits: those that depend on s alone, when it begins `shift` bytes into a group. */
static struct coded digits_of(const char *s, size_t n, const char *digits, unsigned bits, unsigned shift)
{
    struct coded c = { .n = 0 };
    for (size_t bit = (bits - 8 * shift % bits) % bits; bit + bits <= 8 * n; bit += bits) {
        unsigned two = (unsigned)(unsigned char)s[bit / 8] << 8;
        two |= bit / 8 + 1 < n ? (unsigned char)s[bit / 8 + 1] : 0;
        c.s[c.n++] = digits[two >> (16 - bits - bit % 8) & ((1u << bits) - 1)];
    }
    return c;
}

static struct coded base64(const char *s, size_t n, unsigned shift)
{
    return digits_of(s, n, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 6, shift);
}

static void add_base64(struct vs_protect *p, enum which which, const struct coded *c)
{
    for (unsigned shift = 0; shift < 3; shift++) {
        struct coded form = base64(c->s, c->n, shift);
        add_form(p, which, &form, false);
    }
}

/* What people, and models, do next: one encoding within another. */
static void add_twice(struct vs_protect *p, const struct vs_protected *v)
{
    struct coded inner = reversed(v->bytes, v->n), form;
    add_base64(p, TWICE, &inner);
    inner = rot13(v->bytes, v->n);
    add_base64(p, TWICE, &inner);
    for (unsigned upper = 0; upper < 2; upper++) {
        inner = hex(v->bytes, v->n, "", upper);
        add_base64(p, TWICE, &inner);
        form = hex(inner.s, inner.n, "", false);
        add_form(p, TWICE, &form, false);
    }
    for (unsigned shift = 0; shift < 3; shift++) {
        inner = base64(v->bytes, v->n, shift);
        add_base64(p, TWICE, &inner);
        form = hex(inner.s, inner.n, "", false);
        add_form(p, TWICE, &form, false);
        form = reversed(inner.s, inner.n);
        add_form(p, TWICE, &form, false);
    }
    explicit_bzero(&inner, sizeof inner);
    explicit_bzero(&form, sizeof form);
}

static void add_value(struct vs_protect *p, const struct vs_protected *v, bool is_raw)
{
    static const char *const before_hex[] = { "", "0x", "x" };
    struct coded plain = read_value(v), form = reversed(plain.s, plain.n);
    add_form(p, PLAIN, &plain, is_raw);
    add_form(p, REVERSED, &form, is_raw);
    form = rot13(plain.s, plain.n);
    if (memcmp(form.s, plain.s, plain.n) != 0)
        add_form(p, ROT13, &form, is_raw);
    for (unsigned k = 0; k < 3; k++) {
        form = hex(v->bytes, v->n, before_hex[k], false);
        add_form(p, HEX + k, &form, false);
    }
    for (unsigned shift = 0; shift < 5; shift++) {
        form = digits_of(v->bytes, v->n, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 5, shift);
        add_form(p, BASE32, &form, false);
    }
    for (unsigned shift = 0; shift < 3; shift++) {
        form = base64(v->bytes, v->n, shift);
        add_form(p, BASE64, &form, false);
    }
    add_twice(p, v);
    explicit_bzero(&plain, sizeof plain);
    explicit_bzero(&form, sizeof form);
}

static size_t count_letters(const struct vs_protect *p, const struct vs_protected *v, size_t *ret_gap)
{
    size_t count = 0, gap = 0;
    char c;
    for (size_t i = 0, length; i < v->n; i += length) {
        length = byte_at(v->bytes, v->n, i, true, &c);
        bool letter = is_letter(p, c);
        count += letter;
        gap = letter ? 0 : gap + 1;
        if (count && gap > *ret_gap && gap <= GAP_MAX - GAP)
            *ret_gap = gap;
    }
    return count;
}

struct vs_protect *vs_protect_create(const struct vs_protected *values, size_t n)
{
    size_t total = 0, gap = 0;
    for (size_t i = 0; i < n; i++) {
        if (values[i].n < VS_PROTECT_LEAST || values[i].n > VS_PROTECT_MOST)
            return NULL;
        total += values[i].n;
    }
    if (n > VS_PROTECT_VALUES)
        return NULL;
    size_t size = total * LETTERS + 1;
    struct vs_protect *p = calloc(1, sizeof *p + size);
    if (!p || !(p->form = calloc(n * FORMS + 1, sizeof *p->form))) {
        free(p);
        return NULL;
    }
    p->size = size;
    memset(p->slot, 0xff, sizeof p->slot);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < values[i].n; k++)
            p->has_high |= (unsigned char)values[i].bytes[k] >= 0x80;
    for (unsigned c = 0; c < 256; c++)
        p->letter[c] = is_one(p, (char)c) ? lower((char)c) : 0;
    for (size_t i = 0; i < n; i++) {
        bool is_raw = count_letters(p, &values[i], &gap) < KEY;
        add_value(p, &values[i], is_raw);
    }
    p->gap = gap + GAP;
    return p;
}

void vs_protect_free(struct vs_protect *p)
{
    if (!p)
        return;
    explicit_bzero(p->form, p->n_forms * sizeof *p->form);
    free(p->form);
    explicit_bzero(p, sizeof *p + p->size);
    free(p);
}

/* ---- the detector ---- */

/* The last letters of a text: of the one reading and of the other. */
struct trail {
    uint64_t key;
    unsigned n;                          /* up to KEY */
};

static inline void add(struct trail *t, char c)
{
    t->key = t->key << 8 | (unsigned char)c;
    t->n += t->n < KEY;
}

/* Where the last k letters before `end` begin, which were read from `from` on. Nearly no text asks, so the trail does not know. A %
 * and the first byte of a full-width letter begin what they are part of, so text is read the same from behind. */
static size_t begin_of(const struct vs_protect *p, bool is_raw, const char *text, size_t from, size_t end, unsigned k)
{
    while (k && end > from) {
        char c;
        bool is_three = end - from >= 3 && byte_at(text, end, end - 3, true, &c) == 3;
        end -= is_three ? 3 : 1;
        if (!is_three)
            byte_at(text, end + 1, end, true, &c);
        k -= is_raw || is_letter(p, c);
    }
    return end;
}

enum answer { NO, UNDECIDED, FOUND, FOUND_OPEN };

/* A form whose first KEY letters end before `i` and begin at `start`. */
static enum answer follow(const struct vs_protect *p, const struct form *f, const char *text, size_t n, size_t start, size_t i,
                          bool whole, size_t *ret_end)
{
    size_t k = KEY, gap = 0;
    *ret_end = i;
    while (k < f->n) {
        char c;
        if (i - start > BYTES_MAX)
            return k >= OPEN_LEAST ? FOUND_OPEN : NO;
        if (i == n)
            return whole ? NO : UNDECIDED;
        size_t length = byte_at(text, n, i, whole, &c);
        if (length == 0)
            return UNDECIDED;
        if (f->is_raw || is_letter(p, c)) {
            if (c != p->letters[f->at + k])
                return NO;
            k++;
            gap = 0;
            *ret_end = i + length;
        } else if (++gap > p->gap)
            return NO;
        i += length;
    }
    return FOUND;
}

/* The forms that begin with the trail's letters. */
static inline enum answer try_forms(const struct vs_protect *p, const struct trail *t, bool is_raw, const char *text, size_t n,
                                    size_t from, size_t i, bool whole, struct vs_span *ret)
{
    enum answer best = NO;
    if (!may_be_form(p, t->key) || t->n < KEY)
        return NO;
    for (int32_t k = p->slot[hash(t->key, KEY) & (SLOTS - 1)]; k >= 0; k = p->form[k].next) {
        const struct form *f = &p->form[k];
        if (f->key != t->key || f->is_raw != is_raw)
            continue;
        size_t start = begin_of(p, is_raw, text, from, i, KEY), end;
        enum answer answer = follow(p, f, text, n, start, i, whole, &end);
        if (answer == UNDECIDED)
            return UNDECIDED;
        if (answer == NO || (best != NO && (answer < best || end <= ret->end)))
            continue;
        best = answer;
        *ret = (struct vs_span){ VS_FOUND_PROTECTED, 0, f->rule, start, end, 1000, answer == FOUND_OPEN };
    }
    return best;
}

/* The longest end of text[from, n) that may begin a form: where it begins, or n. */
static size_t held_of(const struct vs_protect *p, const struct trail *t, bool is_raw, const char *text, size_t from, size_t n)
{
    for (unsigned k = t->n < KEY ? t->n : KEY - 1; k > 0; k--) {
        unsigned bit = hash(t->key & (((uint64_t)1 << 8 * k) - 1), k) & (PREFIX_BITS - 1);
        if (p->prefix[bit / 64] >> bit % 64 & 1)
            return begin_of(p, is_raw, text, from, n, k);
    }
    return n;
}

/* Whether the KEY letters of the trail stand anywhere in a form of this rule: an open span goes on. */
static bool is_inside(const struct vs_protect *p, const char *rule, uint64_t key)
{
    char want[KEY];
    for (unsigned k = 0; k < KEY; k++)
        want[k] = (char)(key >> 8 * (KEY - 1 - k));
    for (size_t i = 0; i < p->n_forms; i++) {
        const struct form *f = &p->form[i];
        if (f->rule == rule && memmem(p->letters + f->at, f->n, want, KEY))
            return true;
    }
    return false;
}

static size_t closed(const struct vs_detector *d, const char *rule, const char *text, size_t n, size_t looked)
{
    const struct vs_protect *p = d->state;
    struct trail t = { .n = 0 };
    size_t i = looked > VS_DETECT_CONTEXT - 4 ? looked - (VS_DETECT_CONTEXT - 4) : 0, gap = 0;
    for (size_t length; i < n; i += length) {
        char c;
        length = byte_at(text, n, i, false, &c);
        if (length == 0)
            return SIZE_MAX;
        bool is_new = i + length > looked;
        gap = is_letter(p, c) ? 0 : gap + 1;
        if (is_letter(p, c))
            add(&t, c);
        if (is_new && (gap > p->gap || (!gap && t.n == KEY && !is_inside(p, rule, t.key))))
            return length > 1 ? i + length : i;
    }
    return SIZE_MAX;
}

/* Adds the letters from i on up to one with which a form may end, and what stands between them up to what begins an escape or a
 * wide letter: where that stands. Nearly all of a text. */
static inline size_t add_letters(const struct vs_protect *p, struct trail *t, size_t *gap, const char *text, size_t n, size_t i)
{
    uint64_t key = t->key, next;
    size_t letters = t->n, between = *gap;
    for (; i < n; i++) {
        char c = p->letter[(unsigned char)text[i]];
        if (c) {
            next = key << 8 | (unsigned char)c;
            if (may_be_form(p, next))
                break;
            key = next;
            letters++;
            between = 0;
        } else if (text[i] == '%' || (unsigned char)text[i] == WIDE) {
            break;
        } else if (++between > p->gap) {
            letters = 0;
        }
    }
    *gap = between;
    t->key = key;
    t->n = letters < KEY ? (unsigned)letters : KEY;
    return i;
}

static size_t find(const struct vs_detector *d, const char *text, size_t n, size_t from, bool whole, vs_span_fn *told, void *arg)
{
    const struct vs_protect *p = d->state;
    struct trail squeezed = { .n = 0 }, raw = { .n = 0 };
    size_t i = from, gap = 0;
    if (p->n_forms == 0)
        return n;
    for (size_t length; i < n; i += length) {
        char c;
        struct vs_span span;
        enum answer answer = NO;
        if (!p->has_raw && (i = add_letters(p, &squeezed, &gap, text, n, i)) == n)
            break;
        length = byte_at(text, n, i, whole, &c);
        if (length == 0)
            break;
        if (is_letter(p, c)) {
            gap = 0;
            add(&squeezed, c);
            answer = try_forms(p, &squeezed, false, text, n, from, i + length, whole, &span);
            if (answer == UNDECIDED)
                return begin_of(p, false, text, from, i + length, KEY);
        } else if (++gap > p->gap)
            squeezed.n = 0;
        if (p->has_raw) {
            add(&raw, c);
            answer = answer == NO ? try_forms(p, &raw, true, text, n, from, i + length, whole, &span) : answer;
            if (answer == UNDECIDED)
                return begin_of(p, true, text, from, i + length, KEY);
        }
        if (answer == NO)
            continue;
        if (span.open && whole) {
            size_t end = closed(d, span.rule, text, n, span.end);
            span.end = end == SIZE_MAX ? n : end;
            span.open = false;
        }
        told(arg, &span);
        if (span.open)
            return span.start;
        memset(&squeezed, 0, sizeof squeezed);
        memset(&raw, 0, sizeof raw);
        gap = 0;
        length = span.end - i;
    }
    if (whole)
        return n;
    size_t held = held_of(p, &squeezed, false, text, from, i), held_raw = p->has_raw ? held_of(p, &raw, true, text, from, i) : i;
    return held < held_raw ? held : held_raw;
}

struct vs_detector vs_protect_detector(const struct vs_protect *p)
{
    return (struct vs_detector){ "protect", p, find, closed };
}
