/* filter/decode_numbers.c - hex, decimal, octal, binary, and letters by their places in the alphabet. See decode.h. */
#include "filter/decode.h"

#include <assert.h>
#include <string.h>

static inline bool stands_between(char c)
{
    return c == ' ' || c == ',' || c == ';' || c == ':' || c == '-' || c == '\n' || c == '\r' || c == '\t' || c == '%'
        || c == '\\';
}

/* "0x", "\x", "%", "u00": what may stand before a pair of digits. */
static size_t skip_between(const struct vs_source *s, size_t i)
{
    while (i < s->n && stands_between(s->text[i]))
        i++;
    if (i + 2 < s->n && s->text[i] == '0' && (s->text[i + 1] | 0x20) == 'x')
        i += 2;
    else if (i + 1 < s->n && (s->text[i] | 0x20) == 'x' && i && s->text[i - 1] == '\\')
        i++;
    return i;
}

/* Each of the four returns the end of what it wrote, or 0; *ret_seen: how far it looked. */
static size_t decode_hex(const struct vs_source *s, size_t i, size_t *budget, struct vs_reading *to, size_t *ret_seen)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    size_t pairs = 0, at = skip_between(s, i);
    while (at + 1 < s->n && vs_hex_digit(s->text[at]) >= 0 && vs_hex_digit(s->text[at + 1]) >= 0) {
        char c = (char)(vs_hex_digit(s->text[at]) << 4 | vs_hex_digit(s->text[at + 1]));
        if (!vs_piece_add(&p, c, at, at + 2, VS_READING_HEX))
            break;
        pairs++;
        at = skip_between(s, i = at + 2);
    }
    *ret_seen = at;
    return vs_piece_close(&p, pairs >= 6) ? i : 0;
}

/* Decimal or octal. */
static size_t decode_values(const struct vs_source *s, size_t i, unsigned base, size_t *budget, struct vs_reading *to,
                            size_t *ret_seen)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    size_t count = 0, end = i;
    while (i < s->n && vs_ascii_digit(s->text[i])) {
        size_t from = i;
        unsigned value = 0, digit = 0;
        while (i < s->n && vs_ascii_digit(s->text[i]) && i < from + 4 && digit < base) {
            digit = (unsigned)(s->text[i++] - '0');
            value = base * value + digit;
        }
        bool is_byte = digit < base && value >= 9 && value <= 255 && i - from >= 2;
        if (!is_byte || !vs_piece_add(&p, (char)value, from, i, VS_READING_NUMBERS))
            break;
        count++;
        end = i;
        while (i < s->n && i < end + 3 && strchr(" ,;-\r\n", s->text[i]) && s->text[i])
            i++;
        if (i == end)
            break;
    }
    *ret_seen = i;
    return vs_piece_close(&p, count >= 6) ? end : 0;
}

/* "9-7-14-15-18-5 1-12-12": letters by their places in the alphabet, words with a blank or a slash between them. */
static size_t decode_places(const struct vs_source *s, size_t i, size_t *budget, struct vs_reading *to, size_t *ret_seen)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    size_t letters = 0, end = i;
    char between = 0;                    /* two letters of a word */
    while (i < s->n && vs_ascii_digit(s->text[i])) {
        size_t from = i;
        unsigned value = 0;
        while (i < s->n && vs_ascii_digit(s->text[i]) && i < from + 3)
            value = 10 * value + (unsigned)(s->text[i++] - '0');
        if (!value || value > VS_N_LETTERS || !vs_piece_add(&p, (char)('a' + value - 1), from, i, VS_READING_NUMBERS))
            break;
        letters++;
        end = i;
        while (i < s->n && i < end + 3 && strchr("-. ,/|\r\n", s->text[i]) && s->text[i])
            i++;
        between = between ? between : i > end ? s->text[end] : 0;
        if (i == end || ((s->text[end] != between || i > end + 1) && !vs_piece_add(&p, ' ', end, i, VS_READING_NUMBERS)))
            break;
    }
    *ret_seen = i;
    return vs_piece_close(&p, letters >= 8) ? end : 0;
}

static size_t decode_binary(const struct vs_source *s, size_t i, size_t *budget, struct vs_reading *to, size_t *ret_seen)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    size_t count = 0, end = i;
    while (i < s->n && (s->text[i] == '0' || s->text[i] == '1')) {
        size_t from = i;
        unsigned value = 0;
        while (i < s->n && i < from + 8 && (s->text[i] == '0' || s->text[i] == '1'))
            value = value << 1 | (unsigned)(s->text[i++] - '0');
        if (i - from < 7 || !vs_piece_add(&p, (char)value, from, i, VS_READING_BINARY))
            break;
        count++;
        end = i;
        while (i < s->n && i < end + 2 && (s->text[i] == ' ' || s->text[i] == ',' || s->text[i] == '\n' || s->text[i] == '\r'))
            i++;
    }
    *ret_seen = i;
    return vs_piece_close(&p, count >= 4) ? end : 0;
}

/* Letters and digits that go on at i, or behind text[i - 1]: where they end. */
static size_t word_end(const struct vs_source *s, size_t i)
{
    for (i = vs_letters_end(s->text, s->n, i); i < s->n && vs_ascii_digit(s->text[i]); i = vs_letters_end(s->text, s->n, i))
        while (i < s->n && vs_ascii_digit(s->text[i]))
            i++;
    return i;
}

/* A short number at i with another one right behind it. */
static bool is_row(const struct vs_source *s, size_t i)
{
    size_t from = i;
    while (i < s->n && i < from + 4 && vs_ascii_digit(s->text[i]))
        i++;
    return i < from + 4 && i + 1 < s->n && vs_ascii_digit(s->text[i + 1]) && strchr(" ,;-./|", s->text[i]) && s->text[i];
}

/* decode_values and the others, by what they read. */
enum number_kind { BINARY, DECIMAL, OCTAL, PLACES, HEX_PAIRS, N_NUMBER_KINDS };

static size_t decode_kind(const struct vs_source *s, size_t i, enum number_kind kind, size_t *budget, struct vs_reading *to,
                          size_t *ret_seen)
{
    return kind == BINARY ? decode_binary(s, i, budget, to, ret_seen)
         : kind == PLACES ? decode_places(s, i, budget, to, ret_seen)
         : kind == HEX_PAIRS ? decode_hex(s, i, budget, to, ret_seen)
         : decode_values(s, i, kind == OCTAL ? 8 : 10, budget, to, ret_seen);
}

/* A pair of hex digits, and what can go on with another: most words that begin with such a letter end here. */
static bool is_hex_row(const struct vs_source *s, size_t i)
{
    const char *t = s->text + i;
    if ((t[0] == '\\' || t[0] == '0') && (t[1] | 0x20) == 'x')
        return true;
    if (t[0] == '\\')
        return vs_hex_digit(t[1]) >= 0 && vs_hex_digit(t[2]) >= 0;
    if (vs_hex_digit(t[1]) < 0)
        return false;
    return stands_between(t[2]) || (vs_hex_digit(t[2]) >= 0 && (vs_hex_digit(t[3]) >= 0 || (t[3] | 0x20) == 'x'));
}

/* There are eleven bytes behind i. */
static bool may_begin(const struct vs_source *s, size_t i, enum number_kind kind)
{
    return kind == BINARY ? s->text[i] == '0' || s->text[i] == '1'
         : kind == DECIMAL ? vs_ascii_digit(s->text[i])
         : kind == HEX_PAIRS ? is_hex_row(s, i) : is_row(s, i);
}

/* What the least of these rows, six pairs of hex digits, is made of: digits, a to f, x, and what stands between. */
static inline bool is_of_row(char c)
{
    unsigned char b = (unsigned char)c;
    return (b >= ',' && b <= ';') || ((b | 0x20) >= 'a' && (b | 0x20) <= 'f') || (b | 0x20) == 'x' || (b | 0x20) == '|'
        || b == ' ' || b == '%' || (b >= '\t' && b <= '\r');
}

#ifdef __SSE2__
/* All bits of each byte from `first` to `last`. */
static inline __m128i in_range(__m128i bytes, char first, char last)
{
    __m128i from = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
    return _mm_cmpeq_epi8(_mm_min_epu8(from, _mm_set1_epi8((char)(last - first))), from);
}
#endif

/* Are so many bytes of such a row anywhere? Plain text has none. */
static bool may_have_row(const struct vs_source *s)
{
    enum { LEAST = 12 };
    size_t i = 0, run = 0;
#ifdef __SSE2__
    for (unsigned before = 0; s->n - i >= 16; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(s->text + i));
        __m128i small = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
        __m128i hex = _mm_or_si128(in_range(bytes, ',', ';'), in_range(small, 'a', 'f'));
        __m128i between = _mm_or_si128(in_range(bytes, '\t', '\r'), vs_one_of_four(small, "x| %"));
        unsigned row = (unsigned)_mm_movemask_epi8(_mm_or_si128(hex, between)), both = before | row << 16;
        static_assert(LEAST == 12, "as the shifts say");
        both &= both >> 1;
        both &= both >> 2;
        both &= both >> 4;
        if (both & both >> 4)
            return true;
        before = row;
        run = row == 0xffff ? run + 16 : (size_t)__builtin_clz(~(row << 16) | 0xffff);
    }
#endif
    for (; i < s->n && run < LEAST; i++)
        run = is_of_row(s->text[i]) ? run + 1 : 0;
    return run >= LEAST;
}

/* A run that was nothing is read again from behind an eighth of it, and so on, not from each of its numbers: all tries together
 * look at eight times its bytes at most. */
void vs_decode_numbers(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    if ((v->groups < 4 && v->run < VS_LEAST_RUN && v->escapes < 4) || (!to->text.n && !may_have_row(s)))
        return;
    enum { AGAIN = 8 };
    size_t until[N_NUMBER_KINDS] = { 0 };        /* not before */
    for (size_t i = 0; i < s->n;) {
        bool starts = i + 11 < s->n && (vs_hex_digit(s->text[i]) >= 0 || s->text[i] == '\\');
        size_t end = 0;
        enum number_kind first = vs_ascii_digit(s->text[i]) ? 0 : HEX_PAIRS;         /* the others begin with a digit */
        for (enum number_kind kind = first; kind < N_NUMBER_KINDS && starts && !end; kind++) {
            size_t seen = i;
            if (i < until[kind] || !may_begin(s, i, kind))
                continue;
            end = decode_kind(s, i, kind, budget, to, &seen);
            until[kind] = end ? end : i + (seen - i) / AGAIN;
        }
        if (!end && starts && s->text[i] == '\\')
            for (; i + 1 < s->n && vs_hex_digit(s->text[i + 1]) >= 0; i++)
                ;                        /* that was what decode_hex began with */
        i = word_end(s, end ? end : i) + 1;
    }
}
