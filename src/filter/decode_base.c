/* filter/decode_base.c - base64 and base32 in runs and in groups, base85, base58, uuencode. See decode.h. */
#include "filter/decode.h"

#include <string.h>

/* ---- base64, base32 ---- */

static int8_t base64_value[256];         /* -1: it is no digit */

__attribute__((constructor)) static void start_base64(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    memset(base64_value, -1, sizeof base64_value);
    for (int k = 0; k < 64; k++)
        base64_value[(uint8_t)digits[k]] = (int8_t)k;
    base64_value['-'] = 62;
    base64_value['_'] = 63;
}

static inline int base64_digit(char c)
{
    return base64_value[(uint8_t)c];
}

/* Where the run of digits ends that goes on at i. */
static size_t base64_end(const struct vs_source *s, size_t i)
{
#ifdef __SSE2__
    for (; s->n - i >= 16; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(s->text + i));
        __m128i from_zero = _mm_add_epi8(bytes, _mm_set1_epi8(0x7f - '9'));        /* '0' to '9' are the greatest signed bytes */
        __m128i digit = _mm_cmpgt_epi8(from_zero, _mm_set1_epi8(0x7f - 10));
        unsigned other = vs_no_letters(bytes) & ~(unsigned)_mm_movemask_epi8(_mm_or_si128(digit, vs_one_of_four(bytes, "+/-_")));
        if (other)
            return i + (unsigned)__builtin_ctz(other);
    }
#endif
    while (i < s->n && base64_digit(s->text[i]) >= 0)
        i++;
    return i;
}

/* Where the next run of VS_LEAST_RUN digits or more begins, from i on, which is not within one; the text's end: nowhere. Where its
 * last byte would be says most. */
static size_t next_run(const struct vs_source *s, size_t i)
{
    while (s->n - i >= VS_LEAST_RUN) {
        size_t last = i + VS_LEAST_RUN - 1, from = last;
        if (base64_digit(s->text[last]) < 0) {
            i = last + 1;
            continue;
        }
        while (from > i && base64_digit(s->text[from - 1]) >= 0)
            from--;
        size_t end = base64_end(s, last);
        if (end - from >= VS_LEAST_RUN)
            return from;
        i = end;
    }
    return s->n;
}

static int base32_digit(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' : c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

static size_t base32_end(const struct vs_source *s, size_t i)
{
    while (i < s->n && base32_digit(s->text[i]) >= 0)
        i++;
    return i;
}

/* Behind the line ends at i and the blanks that begin the next line; i: none. */
static size_t next_line(const struct vs_source *s, size_t i)
{
    enum { ENDS = 4, INDENT = 16 };
    size_t end = i;
    while (end < s->n && end < i + ENDS && (s->text[end] == '\n' || s->text[end] == '\r'))
        end++;
    for (size_t line = end; end > i && end < s->n && end < line + INDENT && (s->text[end] == ' ' || s->text[end] == '\t'); end++)
        ;
    return end;
}

/* Where a run of digits that begins at i ends; a line break between two lines of at least 40 digits belongs to it. */
static size_t digits_run(const struct vs_source *s, size_t i, size_t run_end(const struct vs_source *, size_t))
{
    for (size_t line = i;;) {
        i = run_end(s, i);
        size_t next = next_line(s, i);
        if (next == i || i - line < 40 || next >= s->n || run_end(s, next) == next)
            return i;
        line = i = next;
    }
}

static void decode_digits(const struct vs_source *s, size_t from, size_t end, int digit(char), unsigned bits,
                          enum vs_reading_step step, size_t *budget, struct vs_reading *to)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    uint32_t have = 0;
    unsigned n = 0;
    size_t first = from;
    for (size_t i = from; i < end; i++) {
        int d = digit(s->text[i]);
        if (d < 0)
            continue;
        first = n ? first : i;
        have = (have << bits | (uint32_t)d) & 0xffff;
        n += bits;
        if (n >= 8) {
            n -= 8;
            if (!vs_piece_add(&p, (char)(have >> n & 0xff), first, i + 1, step))
                break;
            first = i;
        }
    }
    vs_piece_end(&p);
}

/* Groups of digits of one length with one blank or line end between them, the last one perhaps shorter: where they end, from i on;
 * 0: fewer than four. *ret_first: where the first one ends. */
static size_t groups_end(const struct vs_source *s, size_t i, size_t *ret_first)
{
    enum { SHORTEST = 3, LEAST = 4 };
    size_t width = 0, n = 0, end = i;
    char between = 0;
    while (i < s->n) {
        size_t from = i;
        i = base64_end(s, i);
        *ret_first = n ? *ret_first : i;
        size_t length = i - from;
        if (!length || length > (width ? width : 64) || (!width && length < SHORTEST))
            break;
        while (i < s->n && s->text[i] == '=')
            i++;
        width = width ? width : length;
        end = i;
        n++;
        size_t next = i < s->n && s->text[i] == ' ' ? i + 1 : next_line(s, i);
        if (length < width || next == i || (between && s->text[i] != between))
            break;
        between = s->text[i];
        i = next;
    }
    return n >= LEAST ? end : 0;
}

void vs_decode_groups(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    for (size_t i = 0, end, first; i < s->n && v->strange >= VS_STRANGE;) {
        bool starts = base64_digit(s->text[i]) >= 0 && (!i || base64_digit(s->text[i - 1]) < 0);
        end = starts ? groups_end(s, i, &first) : 0;
        if (end > i)
            decode_digits(s, i, end, base64_digit, 6, VS_READING_BASE64, budget, to);
        else
            end = starts ? first : i + 1;
        i = end;
    }
}

void vs_decode_base64(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    for (size_t i = v->run >= VS_LEAST_RUN ? next_run(s, 0) : s->n, end; i < s->n; i = next_run(s, end)) {
        end = digits_run(s, i, base64_end);
        size_t end32 = end - i < 16 || base32_digit(s->text[i]) < 0 ? i : digits_run(s, i, base32_end);
        decode_digits(s, i, end, base64_digit, 6, VS_READING_BASE64, budget, to);
        if (end32 - i >= 16 && end32 + 1 >= end)
            decode_digits(s, i, end32, base32_digit, 5, VS_READING_BASE32, budget, to);
    }
}

/* ---- base85: Ascii85, Z85, RFC 1924 ---- */

enum {
    FIVE = 5, FOUR = 4,                  /* signs for so many bytes */
    PROBE = 3,                           /* groups: what their twelve bytes are says whether the rest is worth it */
    LONG_LINE = 60,                      /* signs: a token may go on behind the end of such a line */
    N_ALPHABETS = 3,
};

static int8_t base85_value[N_ALPHABETS][256];        /* -1: it is no digit */

__attribute__((constructor)) static void start_base85(void)
{
    static const char *const digits[N_ALPHABETS] = {
        "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstu",
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#",
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~",
    };
    memset(base85_value, -1, sizeof base85_value);
    for (unsigned a = 0; a < N_ALPHABETS; a++)
        for (int k = 0; digits[a][k]; k++)
            base85_value[a][(uint8_t)digits[a][k]] = (int8_t)k;
}

static inline bool is_sign(char c)
{
    return (uint8_t)(c - '!') <= '~' - '!';
}

/* Where the run of signs ends that goes on at i. */
static size_t signs_end(const struct vs_source *s, size_t i)
{
#ifdef __SSE2__
    for (; s->n - i >= 16; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(s->text + i));
        __m128i shifted = _mm_add_epi8(bytes, _mm_set1_epi8(0x7f - '~'));       /* '!' to '~' are the greatest signed bytes */
        unsigned other = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(_mm_set1_epi8(0x7f - '~' + '!'), shifted));
        if (other)
            return i + (unsigned)__builtin_ctz(other);
    }
#endif
    while (i < s->n && is_sign(s->text[i]))
        i++;
    return i;
}

/* A token of signs at i; lines of LONG_LINE belong together: where it ends. */
static size_t token_end(const struct vs_source *s, size_t i)
{
    for (size_t line = i;;) {
        i = signs_end(s, i);
        size_t next = i - line >= LONG_LINE ? next_line(s, i) : i;
        if (next == i || next >= s->n || !is_sign(s->text[next]))
            return i;
        line = i = next;
    }
}

static bool is_printable(uint32_t four, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        char c = (char)(four >> (24 - 8 * k));
        if ((uint8_t)c < ' ' ? c != '\n' && c != '\t' && c != '\r' : (uint8_t)c >= 0x7f)
            return false;
    }
    return true;
}

/* The group of `n` signs, two to five, whose places are at[]: its bytes; false: there is no such group. */
static bool group_of(const struct vs_source *s, const size_t *at, unsigned n, const int8_t *value, uint32_t *ret)
{
    uint64_t sum = 0;
    for (unsigned k = 0; k < FIVE; k++) {
        int d = k < n ? value[(uint8_t)s->text[at[k]]] : 84;
        if (d < 0)
            return false;
        sum = 85 * sum + (uint64_t)d;
    }
    *ret = (uint32_t)sum;
    return sum <= UINT32_MAX;
}

/* Every group must come out as ASCII text: by chance 1 of 200 does, and 1 of 10^6 of the PROBE first. Where it stopped; `from`:
 * not even the PROBE was text. */
static size_t decode_token85(const struct vs_source *s, size_t from, size_t end, const int8_t *value, size_t *budget,
                             struct vs_reading *to)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    size_t at[FIVE], i = from, group = from;
    for (bool good = true; i < end && good;) {
        unsigned n = 0;
        uint32_t four = 0;
        for (group = i; i < end && n < FIVE; i++)
            if (is_sign(s->text[i]))
                at[n++] = i;
        good = n > 1 && group_of(s, at, n, value, &four) && is_printable(four, n - 1);
        for (unsigned k = 0; k + 1 < n && good; k++)
            good = vs_piece_add(&p, (char)(four >> (24 - 8 * k)), at[k], at[k + 1] + 1, VS_READING_BASE85);
        if (!good && i - from <= PROBE * FIVE) {
            vs_piece_drop(&p);
            return from;
        }
        if (!good)
            i = end = group;             /* what follows the text, a mark say, ends it */
    }
    vs_piece_end(&p);
    return i;
}

/* Does a text begin at i, behind text[i - 1], as a value in JSON, of a form, of an element? */
static bool may_begin85(const struct vs_source *s, size_t i)
{
    static const char before[] = "\"'`=:>([{,;~|\n\r\t ";
    return is_sign(s->text[i]) && (!i || strchr(before, s->text[i - 1]));
}

/* What is none of one alphabet may be of another; behind what was read nothing is read again. */
static size_t decode_at85(const struct vs_source *s, size_t from, size_t end, size_t *budget, struct vs_reading *to)
{
    size_t last = end - from > 2 && s->text[end - 1] == '>' && s->text[end - 2] == '~' ? end - 2 : end, stop = from;
    for (unsigned a = 0; a < N_ALPHABETS && stop == from; a++)
        stop = decode_token85(s, from, last, base85_value[a], budget, to);
    return stop > from ? stop : from + 1;
}

void vs_decode_base85(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    for (size_t i = 0, end; i < s->n && v->solid >= VS_SOLID; i = end + 1) {
        end = token_end(s, i);
        for (size_t from = i; from < end && end - from >= VS_SOLID;)
            from = may_begin85(s, from) ? decode_at85(s, from, end, budget, to) : from + 1;
    }
}

/* ---- base58 ---- */

enum {
    MOST58 = 2048, LEAST58 = 20,         /* digits of a token: it takes time by its square, so much that they are read by AT_ONCE */
    AT_ONCE = 5,                         /* 58^5 has 30 bits */
    LIMBS58 = MOST58 * 3 / 4 / 4 + 1,
};

static int base58_digit(char c)
{
    unsigned digit = (uint8_t)c - (unsigned)'1', capital = (uint8_t)c - (unsigned)'A', small = (uint8_t)c - (unsigned)'a';
    if (digit < 9)
        return (int)digit;
    if (capital < VS_N_LETTERS)          /* without I and O */
        return c == 'I' || c == 'O' ? -1 : (int)capital + 9 - (c > 'I') - (c > 'O');
    return small >= VS_N_LETTERS || c == 'l' ? -1 : (int)small + 33 - (c > 'l');
}

/* The number that text[from, end) is, by 2^32: its limbs from behind; how many. */
static unsigned number58(const struct vs_source *s, size_t from, size_t end, uint32_t limb[LIMBS58])
{
    unsigned n = 0;
    for (size_t i = from; i < end;) {
        uint64_t carry = 0, power = 1;
        for (size_t last = i + AT_ONCE < end ? i + AT_ONCE : end; i < last; i++, power *= 58)
            carry = 58 * carry + (unsigned)base58_digit(s->text[i]);
        for (unsigned k = 0; k < n; k++, carry >>= 32)
            limb[k] = (uint32_t)(carry += power * limb[k]);
        if (carry)
            limb[n++] = (uint32_t)carry;
    }
    return n;
}

void vs_decode_base58(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    for (size_t i = 0, end, run_end; i < s->n && v->run >= LEAST58; i = run_end + 1) {
        unsigned digits = 0, capitals = 0;
        if ((run_end = base64_end(s, i)) - i < LEAST58)
            continue;
        for (end = i; end < s->n && base58_digit(s->text[end]) >= 0; end++) {
            digits += vs_ascii_digit(s->text[end]);
            capitals += s->text[end] >= 'A' && s->text[end] <= 'Z';
        }
        size_t n = end - i;
        if (n < LEAST58 || n > MOST58 || !digits || capitals < 2 || capitals == n - digits)
            continue;
        uint32_t limb[LIMBS58];
        unsigned n_bytes = 4 * number58(s, i, end, limb);
        struct vs_piece p = vs_piece_begin(s, budget, to);
        bool good = true;
        for (unsigned k = n_bytes; k > 0 && good; k--) {
            char c = (char)(limb[(k - 1) / 4] >> (8 * ((k - 1) % 4)));
            bool leads = !c && k + 4 > n_bytes;        /* a zero of the greatest limb */
            good = leads || (is_printable((uint32_t)(uint8_t)c << 24, 1) && vs_piece_add(&p, c, i, end, VS_READING_BASE58));
        }
        vs_piece_close(&p, good);
    }
}

/* ---- uuencode ---- */

/* A line says by its first sign how many bytes it has, and so how long it is; all must be text. */
static bool uu_line(const struct vs_source *s, size_t from, size_t end, struct vs_piece *p)
{
    unsigned n = ((uint8_t)s->text[from] - 32u) & 63;
    for (size_t i = from + 1, k = 0; k < n; i += 4) {
        uint32_t three = 0;
        for (size_t j = i; j < i + 4; j++) {
            uint8_t c = j < end ? (uint8_t)s->text[j] : ' ';         /* blanks at the end may be cut off */
            if (c < 32 || c > 96)
                return false;
            three = three << 6 | ((c - 32u) & 63);
        }
        size_t last = i + 4 < end ? i + 4 : end;
        for (unsigned j = 0; j < 3 && k < n; j++, k++) {
            char c = (char)(three >> (16 - 8 * j));
            if (!is_printable((uint32_t)(uint8_t)c << 24, 1) || !vs_piece_add(p, c, i < end ? i : end - 1, last, VS_READING_UU))
                return false;
        }
    }
    return true;
}

void vs_decode_uu(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    enum { FEWEST = 9 };                 /* bytes of a line: fewer are by chance text too often */
    struct vs_piece p = { .to = NULL };
    (void)v;
    for (size_t i = 0, end, next; i < s->n; i = next + 1) {
        const char *line_end = memchr(s->text + i, '\n', s->n - i);
        next = line_end ? (size_t)(line_end - s->text) : s->n;
        for (end = next; i < end && (s->text[i] == ' ' || s->text[i] == '\t'); i++)
            ;                            /* an indent: no line begins so by itself */
        while (end > i && s->text[end - 1] == '\r')
            end--;
        unsigned n = end > i ? ((uint8_t)s->text[i] - 32u) & 63 : 0;
        size_t length = 1 + (n + 2) / 3 * 4, has = end - i;
        bool goes_on = p.to;             /* the last line may be short */
        bool is_length = n && s->text[i] > ' ' && s->text[i] <= '`';
        if (!is_length || (n < FEWEST && !goes_on) || has > length || has + 3 < length)
            n = 0;
        if (n && !p.to)
            p = vs_piece_begin(s, budget, to);
        size_t before = to->text.n;
        if (n && !uu_line(s, i, end, &p)) {
            *budget += to->text.n > before ? to->text.n - before : 0;
            to->text.n = before < to->text.n ? before : to->text.n;
            n = 0;
        }
        if (!n && p.to) {
            vs_piece_end(&p);
            p.to = NULL;
        }
    }
    if (p.to)
        vs_piece_end(&p);
}
