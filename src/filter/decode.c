/* filter/decode.c - encodings, each tried on runs that look like it, and kept when text comes out. See views.h.
 *
 * ROT13, reversed and other shifted text is found by how English its words are: for each word the sum of vs_english_pairs, as it
 * stands and as it would be; runs of words where the other reading is better by far are kept (the run with the greatest sum of
 * differences).
 */
#include "filter/view_parts.h"

#include "base/bytes.h"
#include "base/status.h"
#include "base/utf8.h"
#include "filter/english.h"
#include "filter/letters.h"

#include <string.h>

enum {
    N_LETTERS = 26,
    ATBASH = 26,
    BLANK = 26,                          /* of vs_english_pairs: before and behind a word */
    BETTER = 150,                        /* by how much another reading of a run must be better to be written: some ten letters */
    BACKWARDS = 110,                     /* from here on reversed words are looked for */
    STRANGE = 110,                       /* from here on it is tried */
    AT_LEAST = 4,                        /* bytes that a decoded piece has */
    LEAST_RUN = 12,                      /* digits of base64 that are worth a look */
};

#ifdef __SSE2__
/* All bits of each byte that is one of the four. */
static inline __m128i one_of_four(__m128i bytes, const char four[static 4])
{
    __m128i first = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(four[0])), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(four[1])));
    __m128i last = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(four[2])), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(four[3])));
    return _mm_or_si128(first, last);
}
#endif

/* From i on the next byte that is one of the four, a constant, or the end. */
static inline size_t next_of_four(const struct vs_source *s, size_t i, const char four[static 4])
{
#ifdef __SSE2__
    for (; s->n - i >= 16; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(s->text + i));
        unsigned which = (unsigned)_mm_movemask_epi8(one_of_four(bytes, four));
        if (which)
            return i + (unsigned)__builtin_ctz(which);
    }
#endif
    while (i < s->n && s->text[i] != four[0] && s->text[i] != four[1] && s->text[i] != four[2] && s->text[i] != four[3])
        i++;
    return i;
}

/* ---- pieces ---- */

struct piece {                           /* decoded bytes; where each came from */
    const struct vs_source *source;
    struct vs_reading *to;
    size_t *budget, before;
};

static struct piece begin(const struct vs_source *s, size_t *budget, struct vs_reading *to)
{
    vs_reading_break(to);
    return (struct piece){ s, to, budget, to->text.n };
}

static bool add(struct piece *p, char c, size_t from, size_t end, enum vs_reading_step step)
{
    if (!*p->budget)
        return false;
    --*p->budget;
    vs_reading_put(p->to, p->source, &c, 1, from, end, step);
    return true;
}

/* Text, and not what comes out when something else is decoded: UTF-8, no control, letters or digits at least for half. */
static bool is_text(const char *s, size_t n)
{
    size_t letters = 0, controls = 0;
    for (size_t i = 0; i < n; i++) {
        letters += vs_ascii_letter(s[i]) || vs_ascii_digit(s[i]) || s[i] == ' ' || (uint8_t)s[i] >= 0x80;
        controls += (uint8_t)s[i] < 0x20 && s[i] != '\n' && s[i] != '\t' && s[i] != '\r';
    }
    size_t valid = vs_utf8_valid(s, n);
    return n >= AT_LEAST && valid + 3 >= n && !controls && 2 * letters >= n;
}

/* Moves the bytes [from, from + n) of the view to `to`. */
static void move(struct vs_reading *view, size_t to, size_t from, size_t n)
{
    memmove(view->text.data + to, view->text.data + from, n);
    memmove(view->from + to, view->from + from, n * sizeof *view->from);
    memmove(view->to + to, view->to + from, n * sizeof *view->to);
    memmove(view->step + to, view->step + from, n);
}

/* Of UTF-16 every second byte is 0. */
static void drop_zeros(struct vs_reading *view, size_t before)
{
    size_t kept = before;
    for (size_t i = before; i < view->text.n; i++)
        if (view->text.data[i])
            move(view, kept++, i, 1);
    view->text.n = kept;
}

/* Of what is not text as a whole the runs that are: a byte that nobody can read does not hide what stands beside it. */
static void keep_runs(struct vs_reading *view, size_t before)
{
    enum { RUN = 12 };                   /* by chance 1 of 100,000 places begins so many bytes that can be read */
    const char *text = view->text.data;
    size_t kept = before, n = view->text.n;
    for (size_t i = before, run; i < n; i += run + 1) {
        for (run = 0; i + run < n && (uint8_t)text[i + run] < 0x80 && !vs_is_control(text[i + run]); run++)
            ;
        if (run < RUN)
            continue;
        move(view, kept, i, run);
        kept += run;
        if (i + run < n) {
            move(view, kept, i + run, 1);
            view->text.data[kept++] = '\n';
        }
    }
    view->text.n = kept;
}

/* Keeps the piece when it is text. */
static bool end_piece(struct piece *p)
{
    struct vs_buf *text = &p->to->text;
    if (text->status == VS_OK && text->n > p->before) {
        drop_zeros(p->to, p->before);
        if (!is_text(text->data + p->before, text->n - p->before))
            keep_runs(p->to, p->before);
        if (is_text(text->data + p->before, text->n - p->before))
            return true;
    }
    text->n = text->n < p->before ? text->n : p->before;
    return false;
}

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
        unsigned other = vs_no_letters(bytes) & ~(unsigned)_mm_movemask_epi8(_mm_or_si128(digit, one_of_four(bytes, "+/-_")));
        if (other)
            return i + (unsigned)__builtin_ctz(other);
    }
#endif
    while (i < s->n && base64_digit(s->text[i]) >= 0)
        i++;
    return i;
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

/* Where a run of digits that begins at i ends; a line break between two lines of at least 40 digits belongs to it. */
static size_t digits_run(const struct vs_source *s, size_t i, size_t run_end(const struct vs_source *, size_t))
{
    for (size_t line = i;;) {
        i = run_end(s, i);
        size_t next = i;
        while (next < s->n && next < i + 3 && (s->text[next] == '\n' || s->text[next] == '\r'))
            next++;
        if (next == i || i - line < 40 || next >= s->n || run_end(s, next) == next)
            return i;
        line = i = next;
    }
}

static void decode_digits(const struct vs_source *s, size_t from, size_t end, int digit(char), unsigned bits,
                          enum vs_reading_step step, size_t *budget, struct vs_reading *to)
{
    struct piece p = begin(s, budget, to);
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
            if (!add(&p, (char)(have >> n & 0xff), first, i + 1, step))
                break;
            first = i;
        }
    }
    end_piece(&p);
}

/* Groups of digits of one length with one blank or line end between them, the last one perhaps shorter: where they end, from i on;
 * i: fewer than four. */
static size_t groups_end(const struct vs_source *s, size_t i)
{
    enum { SHORTEST = 3, LEAST = 4 };
    size_t width = 0, n = 0, end = i;
    char between = 0;
    while (i < s->n) {
        size_t from = i;
        while (i < s->n && base64_digit(s->text[i]) >= 0 && i - from <= 64)
            i++;
        size_t length = i - from;
        if (!length || length > (width ? width : 64) || (!width && length < SHORTEST))
            break;
        while (i < s->n && s->text[i] == '=')
            i++;
        width = width ? width : length;
        end = i;
        n++;
        if (length < width || i == s->n || (s->text[i] != ' ' && s->text[i] != '\n') || (between && s->text[i] != between))
            break;
        between = s->text[i++];
    }
    return n >= LEAST ? end : 0;
}

static void decode_groups(const struct vs_source *s, size_t *budget, struct vs_reading *to)
{
    for (size_t i = 0, end; i < s->n;) {
        bool starts = base64_digit(s->text[i]) >= 0 && (!i || base64_digit(s->text[i - 1]) < 0);
        end = starts ? groups_end(s, i) : 0;
        if (end > i)
            decode_digits(s, i, end, base64_digit, 6, VS_READING_BASE64, budget, to);
        else
            end = starts ? base64_end(s, i) : i + 1;
        i = end;
    }
}

static void decode_base(const struct vs_source *s, size_t *budget, struct vs_reading *to)
{
    for (size_t i = 0; i < s->n;) {
        size_t end = base64_digit(s->text[i]) < 0 ? i : digits_run(s, i, base64_end);
        size_t end32 = end - i < 16 || base32_digit(s->text[i]) < 0 ? i : digits_run(s, i, base32_end);
        if (end - i >= LEAST_RUN)
            decode_digits(s, i, end, base64_digit, 6, VS_READING_BASE64, budget, to);
        if (end32 - i >= 16 && end32 + 1 >= end)
            decode_digits(s, i, end32, base32_digit, 5, VS_READING_BASE32, budget, to);
        i = end > i ? end : i + 1;
    }
}

/* ---- numbers: hex, decimal, octal, binary, places in the alphabet ---- */

/* -1: it is none. */
static inline int hex_digit(char c)
{
    unsigned letter = ((uint8_t)c | 0x20u) - 'a';
    return vs_ascii_digit(c) ? c - '0' : letter < 6 ? (int)letter + 10 : -1;
}

static inline bool stands_between(char c)
{
    return c == ' ' || c == ',' || c == ';' || c == ':' || c == '-' || c == '\n' || c == '\t' || c == '%' || c == '\\';
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

static size_t decode_hex(const struct vs_source *s, size_t i, size_t *budget, struct vs_reading *to)
{
    struct piece p = begin(s, budget, to);
    size_t pairs = 0, at = skip_between(s, i);
    while (at + 1 < s->n && hex_digit(s->text[at]) >= 0 && hex_digit(s->text[at + 1]) >= 0) {
        char c = (char)(hex_digit(s->text[at]) << 4 | hex_digit(s->text[at + 1]));
        if (!add(&p, c, at, at + 2, VS_READING_HEX))
            break;
        pairs++;
        at = skip_between(s, i = at + 2);
    }
    if (pairs < 6 || !end_piece(&p)) {
        to->text.n = to->text.n < p.before ? to->text.n : p.before;
        return 0;
    }
    return i;
}

/* Decimal or octal. */
static size_t decode_values(const struct vs_source *s, size_t i, unsigned base, size_t *budget, struct vs_reading *to)
{
    struct piece p = begin(s, budget, to);
    size_t count = 0, end = i;
    while (i < s->n && vs_ascii_digit(s->text[i])) {
        size_t from = i;
        unsigned value = 0, digit = 0;
        while (i < s->n && vs_ascii_digit(s->text[i]) && i < from + 4 && digit < base) {
            digit = (unsigned)(s->text[i++] - '0');
            value = base * value + digit;
        }
        if (digit >= base || value < 9 || value > 255 || i - from < 2 || !add(&p, (char)value, from, i, VS_READING_NUMBERS))
            break;
        count++;
        end = i;
        while (i < s->n && i < end + 3 && strchr(" ,;-\n", s->text[i]) && s->text[i])
            i++;
        if (i == end)
            break;
    }
    if (count < 6 || !end_piece(&p)) {
        to->text.n = to->text.n < p.before ? to->text.n : p.before;
        return 0;
    }
    return end;
}

/* "9-7-14-15-18-5 1-12-12": letters by their places in the alphabet, words with a blank or a slash between them. */
static size_t decode_places(const struct vs_source *s, size_t i, size_t *budget, struct vs_reading *to)
{
    struct piece p = begin(s, budget, to);
    size_t letters = 0, end = i;
    char between = 0;                    /* two letters of a word */
    while (i < s->n && vs_ascii_digit(s->text[i])) {
        size_t from = i;
        unsigned value = 0;
        while (i < s->n && vs_ascii_digit(s->text[i]) && i < from + 3)
            value = 10 * value + (unsigned)(s->text[i++] - '0');
        if (!value || value > N_LETTERS || !add(&p, (char)('a' + value - 1), from, i, VS_READING_NUMBERS))
            break;
        letters++;
        end = i;
        while (i < s->n && i < end + 3 && strchr("-. ,/|\n", s->text[i]) && s->text[i])
            i++;
        between = between ? between : i > end ? s->text[end] : 0;
        if (i == end || ((s->text[end] != between || i > end + 1) && !add(&p, ' ', end, i, VS_READING_NUMBERS)))
            break;
    }
    if (letters < 8 || !end_piece(&p)) {
        to->text.n = to->text.n < p.before ? to->text.n : p.before;
        return 0;
    }
    return end;
}

static size_t decode_binary(const struct vs_source *s, size_t i, size_t *budget, struct vs_reading *to)
{
    struct piece p = begin(s, budget, to);
    size_t count = 0, end = i;
    while (i < s->n && (s->text[i] == '0' || s->text[i] == '1')) {
        size_t from = i;
        unsigned value = 0;
        while (i < s->n && i < from + 8 && (s->text[i] == '0' || s->text[i] == '1'))
            value = value << 1 | (unsigned)(s->text[i++] - '0');
        if (i - from < 7 || !add(&p, (char)value, from, i, VS_READING_BINARY))
            break;
        count++;
        end = i;
        while (i < s->n && i < end + 2 && (s->text[i] == ' ' || s->text[i] == ',' || s->text[i] == '\n'))
            i++;
    }
    if (count < 4 || !end_piece(&p)) {
        to->text.n = to->text.n < p.before ? to->text.n : p.before;
        return 0;
    }
    return end;
}

/* Letters and digits that go on at i, or behind text[i - 1]: where they end. */
static size_t word_end(const struct vs_source *s, size_t i)
{
    for (size_t end; i < s->n; i = end) {
        end = vs_letters_end(s->text, s->n, i);
        while (end < s->n && vs_ascii_digit(s->text[end]))
            end++;
        if (end == i)
            break;
    }
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

static size_t decode_kind(const struct vs_source *s, size_t i, enum number_kind kind, size_t *budget, struct vs_reading *to)
{
    return kind == BINARY ? decode_binary(s, i, budget, to)
         : kind == PLACES ? decode_places(s, i, budget, to)
         : kind == HEX_PAIRS ? decode_hex(s, i, budget, to) : decode_values(s, i, kind == OCTAL ? 8 : 10, budget, to);
}

static bool may_begin(const struct vs_source *s, size_t i, enum number_kind kind)
{
    return kind == BINARY ? s->text[i] == '0' || s->text[i] == '1'
         : kind == DECIMAL ? vs_ascii_digit(s->text[i])
         : kind == HEX_PAIRS || is_row(s, i);
}

/* A run that was nothing is read again from some of its numbers, not from each: that would use up what may be decoded, and hide
 * what stands behind it. */
static void decode_numbers(const struct vs_source *s, size_t *budget, struct vs_reading *to)
{
    size_t until[N_NUMBER_KINDS] = { 0 };        /* not before */
    for (size_t i = 0; i < s->n;) {
        bool starts = i + 11 < s->n && (hex_digit(s->text[i]) >= 0 || s->text[i] == '\\');
        size_t end = 0;
        for (enum number_kind kind = 0; kind < N_NUMBER_KINDS && starts && !end; kind++) {
            size_t before = *budget;
            if (i < until[kind] || !may_begin(s, i, kind))
                continue;
            end = decode_kind(s, i, kind, budget, to);
            until[kind] = end ? end : i + (before - *budget) / 2;
        }
        if (!end && starts && s->text[i] == '\\')
            for (; i + 1 < s->n && hex_digit(s->text[i + 1]) >= 0; i++)
                ;                        /* that was what decode_hex began with */
        i = word_end(s, end ? end : i) + 1;
    }
}

/* ---- Morse ---- */

static char morse_letter(const char *s, size_t n)
{
    static const char *const code[] = {
        ".-", "-...", "-.-.", "-..", ".", "..-.", "--.", "....", "..", ".---", "-.-", ".-..", "--", "-.", "---", ".--.", "--.-",
        ".-.", "...", "-", "..-", "...-", ".--", "-..-", "-.--", "--..", "-----", ".----", "..---", "...--", "....-", ".....",
        "-....", "--...", "---..", "----.",
    };
    for (unsigned k = 0; k < sizeof code / sizeof *code; k++)
        if (strlen(code[k]) == n && memcmp(code[k], s, n) == 0)
            return (char)(k < N_LETTERS ? 'a' + (int)k : '0' + (int)(k - N_LETTERS));
    return 0;
}

static void decode_morse(const struct vs_source *s, size_t *budget, struct vs_reading *to)
{
    for (size_t i = 0; (i = next_of_four(s, i, ".-.-")) < s->n;) {
        bool starts = i + 2 < s->n && strchr(".- ", s->text[i + 1]) && strchr(".-/ ", s->text[i + 2])
            && (!i || !vs_ascii_letter(s->text[i - 1]));
        if (!starts) {
            i++;
            continue;
        }
        struct piece p = begin(s, budget, to);
        unsigned letters = 0;
        size_t from = i;
        while (i < s->n && strchr(".-/| \n", s->text[i]) && s->text[i]) {
            size_t at = i;
            while (i < s->n && i < at + 7 && (s->text[i] == '.' || s->text[i] == '-'))
                i++;
            char c = i > at ? morse_letter(s->text + at, i - at) : ' ';
            if (i == at)
                i++;
            bool twice = c == ' ' && to->text.n > p.before && to->text.data[to->text.n - 1] == ' ';
            if (!c || (i > at + 1 && c == ' '))
                break;
            letters += c != ' ';
            /* A blank ends a letter; a slash, a bar or several blanks a word. */
            bool word = c != ' ' || s->text[at] != ' ' || (i < s->n && s->text[i] == ' ');
            if (!twice && word && !add(&p, c, at, i, VS_READING_MORSE))
                break;
        }
        if (letters < 6 || !end_piece(&p))
            to->text.n = to->text.n < p.before ? to->text.n : p.before;
        i = i > from ? i : i + 1;
    }
}

/* ---- %41 &#65; \u0041 \x41 =41 ---- */

static size_t number_at(const struct vs_source *s, size_t i, unsigned base, size_t most, uint32_t *ret)
{
    size_t from = i;
    *ret = 0;
    for (int d; i < s->n && i < from + most && (d = hex_digit(s->text[i])) >= 0 && d < (int)base; i++)
        *ret = *ret * base + (uint32_t)d;
    return i - from;
}

/* The character that an escape at i stands for, and how long the escape is; 0: there is none. */
static size_t escape_at(const struct vs_source *s, size_t i, uint32_t *ret)
{
    static const struct { const char *name; uint32_t c; } names[] = {
        { "&lt;", '<' }, { "&gt;", '>' }, { "&amp;", '&' }, { "&quot;", '"' }, { "&apos;", '\'' }, { "&nbsp;", ' ' },
        { "&lbrack;", '[' }, { "&rbrack;", ']' }, { "&excl;", '!' }, { "&period;", '.' }, { "&comma;", ',' }, { "&colon;", ':' },
    };
    const char *t = s->text + i;
    size_t left = s->n - i, n;
    if (t[0] == '%' && number_at(s, i + 1, 16, 2, ret) == 2)
        return 3;
    if (t[0] == '=' && number_at(s, i + 1, 16, 2, ret) == 2 && *ret >= ' ')
        return 3;                        /* of mails: quoted-printable */
    if (t[0] == '\\' && left > 3 && t[1] == '\\' && t[2] == 'u' && number_at(s, i + 3, 16, 4, ret) == 4)
        return 7;                        /* of JSON within JSON */
    if (t[0] == '\\' && left > 2 && (t[1] | 0x20) == 'u') {
        bool brace = t[2] == '{';
        n = number_at(s, i + 2 + brace, 16, brace ? 6 : t[1] == 'U' ? 8 : 4, ret);
        return brace ? (n && i + 3 + n < s->n && s->text[i + 3 + n] == '}' ? n + 4 : 0) : n >= 4 ? n + 2 : 0;
    }
    if (t[0] == '\\' && left > 3 && t[1] == 'x' && number_at(s, i + 2, 16, 2, ret) == 2)
        return 4;
    if (t[0] == '\\' && left > 3 && number_at(s, i + 1, 8, 3, ret) == 3)
        return 4;
    if (t[0] != '&' || left < 4)
        return 0;
    if (t[1] == '#') {
        bool hex = (t[2] | 0x20) == 'x';
        n = number_at(s, i + 2 + hex, hex ? 16 : 10, 7, ret);
        return n ? 2 + hex + n + (i + 2 + hex + n < s->n && s->text[i + 2 + hex + n] == ';') : 0;
    }
    for (unsigned k = 0; k < sizeof names / sizeof *names; k++) {
        n = strlen(names[k].name);
        if (n <= left && memcmp(names[k].name, t, n) == 0) {
            *ret = names[k].c;
            return n;
        }
    }
    return 0;
}

static void decode_escapes(const struct vs_source *s, size_t *budget, struct vs_reading *to)
{
    struct piece p = begin(s, budget, to);
    unsigned count = 0;
    for (size_t i = 0, plain; i < s->n;) {
        uint32_t c;
        char out[4];
        size_t length = 0;
        for (plain = i; (i = next_of_four(s, i, "%=\\&")) < s->n && !(length = escape_at(s, i, &c)); i++)
            ;
        if (i - plain > *budget)
            break;
        vs_reading_copy(to, s, plain, i);
        *budget -= i - plain;
        if (!length)
            break;
        /* %C3%A9 are bytes of UTF-8 */
        bool is_byte = s->text[i] == '%' || s->text[i] == '=';
        size_t n = is_byte ? 1 : vs_utf8_encode(c > 0x10ffff ? 0xfffd : c, out);
        if (is_byte)
            out[0] = (char)c;
        bool room = true;
        for (size_t k = 0; k < n && room; k++)
            room = add(&p, out[k], i, i + length, VS_READING_ESCAPES);
        if (!room)
            break;
        count++;
        i += length;
    }
    if (count < 2 || !end_piece(&p))
        to->text.n = to->text.n < p.before ? to->text.n : p.before;
}

/* ---- shifted and reversed ---- */

/* by ATBASH: the alphabet from behind. */
static unsigned shifted(unsigned letter, unsigned by)
{
    return letter == BLANK ? letter : by == ATBASH ? N_LETTERS - 1 - letter : (letter + by) % N_LETTERS;
}

/* How much more English a pair of letters is by another reading. */
struct gains { int16_t of[N_LETTERS + 1][N_LETTERS + 1]; };
static struct gains by_thirteen, from_behind;

static void gains_make(struct gains *g, unsigned by, bool backwards)
{
    for (unsigned a = 0; a <= BLANK; a++)
        for (unsigned b = 0; b <= BLANK; b++)
            g->of[a][b] = (int16_t)((backwards ? vs_english_pairs[b][a] : vs_english_pairs[shifted(a, by)][shifted(b, by)])
                                    - vs_english_pairs[a][b]);
}

/* Before main, so that no text has to wait. 10 us. */
__attribute__((constructor)) static void start(void)
{
    gains_make(&by_thirteen, 13, false);
    gains_make(&from_behind, 0, true);
}

/* How English the word s[0, n) is, shifted by `by` letters. */
static int word_score(const char *s, size_t n, unsigned by)
{
    unsigned before = BLANK;
    int score = 0;
    for (size_t i = 0; i <= n; i++) {
        unsigned letter = i == n ? BLANK : shifted(vs_letter(s[i]), by);
        score += vs_english_pairs[before][letter];
        before = letter;
    }
    return score;
}

enum { LONG_WORD = 20, UNSURE = -30 };   /* a longer word is no word; from here on a word may belong to a run beside it */

static int gain_of(const struct vs_source *s, size_t from, size_t end, const struct gains *g)
{
    unsigned before = BLANK;
    int gain = 0;
    if (end - from > LONG_WORD)
        return 2 * UNSURE;
    for (size_t i = from; i < end; i++) {
        unsigned letter = vs_letter(s->text[i]);
        gain += g->of[before][letter];
        before = letter;
    }
    return gain + g->of[before][BLANK];
}

static size_t next_word(const struct vs_source *s, size_t i, size_t *ret_end)
{
    while (i < s->n && !vs_ascii_letter(s->text[i]))
        i++;
    *ret_end = vs_letters_end(s->text, s->n, i);
    return i;
}

static void write_shifted(const struct vs_source *s, size_t from, size_t end, unsigned by, size_t *budget, struct vs_reading *to)
{
    struct piece p = begin(s, budget, to);
    for (size_t i = from; i < end; i++) {
        char c = s->text[i];
        if (vs_ascii_letter(c))
            c = (char)((c & 0x20) + 'A' + (int)shifted(vs_letter(c), by));
        if (!add(&p, c, i, i + 1, VS_READING_SHIFTED))
            break;
    }
    end_piece(&p);
}

/* All from behind; and each word by itself. */
static void write_reversed(const struct vs_source *s, size_t from, size_t end, size_t *budget, struct vs_reading *to)
{
    struct piece p = begin(s, budget, to);
    for (size_t i = end; i > from;) {
        size_t start = i - 1;
        while (start > from && ((uint8_t)s->text[start] & 0xc0) == 0x80)
            start--;
        for (size_t k = start; k < i; k++)
            add(&p, s->text[k], start, i, VS_READING_REVERSED);
        i = start;
    }
    end_piece(&p);
    p = begin(s, budget, to);
    for (size_t i = from; i < end;) {
        size_t stop, start = next_word(s, i, &stop);
        stop = stop < end ? stop : end;
        for (size_t k = i; k < start && k < end; k++)
            add(&p, s->text[k], k, k + 1, VS_READING_PLAIN);
        for (size_t k = stop; k > start; k--)
            add(&p, s->text[k - 1], k - 1, k, VS_READING_REVERSED);
        i = stop;
    }
    end_piece(&p);
}

/* The end of the sentence or line that holds what ends here: its marks belong to what is read from behind. */
static size_t with_marks(const struct vs_source *s, size_t i, bool ahead)
{
    while (ahead ? i < s->n && strchr(".!?", s->text[i]) : i > 0 && strchr(".!?", s->text[i - 1]))
        i += ahead ? 1 : (size_t)-1;
    return i;
}

static size_t word_before(const struct vs_source *s, size_t i, size_t *ret_end)
{
    while (i > 0 && !vs_ascii_letter(s->text[i - 1]))
        i--;
    *ret_end = i;
    while (i > 0 && vs_ascii_letter(s->text[i - 1]))
        i--;
    return i;
}

/* Words beside a run that may as well be read so belong to it. */
static void widen(const struct vs_source *s, const struct gains *g, size_t *from, size_t *end)
{
    size_t other, word;
    while ((word = word_before(s, *from, &other)) < other && *from - other < 4 && gain_of(s, word, other, g) >= UNSURE)
        *from = word;
    while ((word = next_word(s, *end, &other)) < other && word - *end < 4 && gain_of(s, word, other, g) >= UNSURE)
        *end = other;
}

/* Writes each run of words whose other reading is better by BETTER at least. */
static void find_runs(const struct vs_source *s, unsigned by, const struct gains *g, size_t *budget, struct vs_reading *to)
{
    bool backwards = g == &from_behind;
    int sum = 0, best = 0, better = backwards ? BACKWARDS : BETTER;
    size_t from = 0, best_end = 0, end;
    for (size_t i = next_word(s, 0, &end); i < end || best >= better; i = next_word(s, end, &end)) {
        bool over = i >= end;
        if (!over) {
            int gain = gain_of(s, i, end, g);
            if (sum <= 0) {
                sum = best = 0;
                from = i;
            }
            sum += gain;
            if (sum > best) {
                best = sum;
                best_end = end;
            }
        }
        if (best >= better && (over || sum < best - better / 2)) {
            widen(s, g, &from, &best_end);
            if (backwards)
                write_reversed(s, with_marks(s, from, false), with_marks(s, best_end, true), budget, to);
            else
                write_shifted(s, from, best_end, by, budget, to);
            sum = best = 0;
        }
        if (over)
            break;
    }
}

/* ---- ROT47 ---- */

/* Signs and digits stand for most letters, so it has no words: what blanks part is a token. ':' to '@' are i to o. */
enum {
    ROT47_FIRST = '!', ROT47_SIGNS = 94,
    ROT47_RARE = 12,                     /* one byte in so many of a line is ':' to '@'; in usual lines there are fewer, */
    ROT47_OFTEN = 8,                     /* and in a run of tokens one in so many: digits alone are no ROT47 */
    ROT47_LEAST = 16,                    /* bytes of a run */
    ROT47_ENGLISH = 3,                   /* a token that reads better than so much a byte goes on with a run, */
    ROT47_SURE = 4,                      /* and a run has so much at least */
};

static inline char rot47(char c)
{
    unsigned sign = (uint8_t)c - (unsigned)ROT47_FIRST;
    return sign < ROT47_SIGNS ? (char)((sign + ROT47_SIGNS / 2) % ROT47_SIGNS + ROT47_FIRST) : c;
}

static size_t signs_of(const char *text, size_t n)
{
    size_t signs = 0;
    for (size_t i = 0; i < n; i++)
        signs += (uint8_t)(text[i] - ':') <= '@' - ':';
    return signs;
}

/* How much better than ROT47_ENGLISH a byte the token s[0, n) reads, with the blank behind it. */
static int token_gain(const char *s, size_t n)
{
    unsigned before = BLANK;
    int gain = 0;
    for (size_t i = 0; i <= n; i++) {
        unsigned letter = i == n ? BLANK : vs_letter(rot47(s[i]));
        gain += before != BLANK || letter != BLANK ? vs_english_pairs[before][letter] : 0;
        before = letter;
    }
    return gain - ROT47_ENGLISH * (int)(n + 1);
}

static void write_rot47(const struct vs_source *s, size_t from, size_t end, size_t *budget, struct vs_reading *to)
{
    struct piece p = begin(s, budget, to);
    for (size_t i = from; i < end && add(&p, rot47(s->text[i]), i, i + 1, VS_READING_SHIFTED); i++)
        ;
    end_piece(&p);
}

/* The run of tokens of the line s[from, end) that reads best, if it reads as English. */
static void rot47_line(const struct vs_source *s, size_t from, size_t end, size_t *budget, struct vs_reading *to)
{
    size_t start = from, best_start = from, best_end = from;
    int sum = 0, best = 0;
    for (size_t i = from, stop; i < end; i = stop + 1) {
        const char *blank = memchr(s->text + i, ' ', end - i);
        stop = blank ? (size_t)(blank - s->text) : end;
        if (sum <= 0) {
            sum = 0;
            start = i;
        }
        sum += stop > i ? token_gain(s->text + i, stop - i) : 0;
        if (sum > best) {
            best = sum;
            best_start = start;
            best_end = stop;
        }
    }
    size_t n = best_end - best_start;
    if (n >= ROT47_LEAST && best >= (ROT47_SURE - ROT47_ENGLISH) * (int)n && signs_of(s->text + best_start, n) * ROT47_OFTEN >= n)
        write_rot47(s, best_start, best_end, budget, to);
}

static void decode_rot47(const struct vs_source *s, size_t *budget, struct vs_reading *to)
{
    for (size_t i = 0, end; i < s->n; i = end + 1) {
        const char *line_end = memchr(s->text + i, '\n', s->n - i);
        end = line_end ? (size_t)(line_end - s->text) : s->n;
        if (end - i >= ROT47_LEAST && signs_of(s->text + i, end - i) * ROT47_RARE >= end - i)
            rot47_line(s, i, end, budget, to);
    }
}

/* ---- one shift for all ---- */

/* The shift, other than 0 and 13, that makes the text most English; 0: none does. */
static unsigned best_shift(const struct vs_source *s)
{
    enum { SAMPLE = 48 };                /* words */
    int score[ATBASH + 1] = { 0 };
    size_t end;
    unsigned words = 0, best = 0;
    for (size_t i = next_word(s, 0, &end); i < end && words < SAMPLE; i = next_word(s, end, &end), words++)
        for (unsigned by = 0; by <= ATBASH; by++)
            score[by] += word_score(s->text + i, end - i, by);
    for (unsigned by = 1; by <= ATBASH; by++)
        if (by != 13 && score[by] > score[best])
            best = by;
    return score[best] >= score[0] + BETTER ? best : 0;
}

/* ---- upside down ---- */

static char turned(uint32_t c)
{
    static const struct { uint32_t from; char to; } letters[] = {
        { 0x250, 'a' }, { 0x254, 'c' }, { 0x1dd, 'e' }, { 0x25f, 'f' }, { 0x183, 'g' }, { 0x253, 'g' }, { 0x265, 'h' },
        { 0x1d09, 'i' }, { 0x131, 'i' }, { 0x27e, 'j' }, { 0x17f, 'j' }, { 0x29e, 'k' }, { 0x26f, 'm' }, { 0x279, 'r' },
        { 0x287, 't' }, { 0x28c, 'v' }, { 0x28d, 'w' }, { 0x28e, 'y' }, { 0x2d9, '.' }, { 0xa1, '!' }, { 0xbf, '?' },
        { 0x5df, 'l' }, { 'b', 'q' }, { 'q', 'b' }, { 'd', 'p' }, { 'p', 'd' }, { 'n', 'u' }, { 'u', 'n' }, { 'l', 'l' },
    };
    for (unsigned k = 0; k < sizeof letters / sizeof *letters; k++)
        if (letters[k].from == c)
            return letters[k].to;
    return c < 0x80 ? (char)c : 0;
}

void vs_reading_upside_down(const struct vs_source *s, size_t *budget, struct vs_reading *to)
{
    size_t i = 0;
    while (i < s->n) {
        size_t from = i, strange = 0;
        while (i < s->n && s->text[i] != '\n' && i < from + 1024) {
            uint32_t c;
            size_t length = (uint8_t)s->text[i] < 0x80 ? 1 : vs_utf8_decode(s->text + i, s->n - i, &c);
            strange += length > 1 && turned(c);
            i += length ? length : 1;
        }
        struct piece p = begin(s, budget, to);
        for (size_t end = i; end > from && strange >= 3;) {
            uint32_t c;
            size_t start = end - 1;
            while (start > from && ((uint8_t)s->text[start] & 0xc0) == 0x80)
                start--;
            char letter = vs_utf8_decode(s->text + start, s->n - start, &c) ? turned(c) : 0;
            if (letter && !add(&p, letter, start, end, VS_READING_UPSIDE_DOWN))
                break;
            end = start;
        }
        end_piece(&p);
        i += i < s->n && s->text[i] == '\n';
    }
}

/* ---- all ---- */

/* Signs of general and Latin punctuation: the letters around them say as much without a view. */
static size_t punctuation(const char *s, size_t n)
{
    const uint8_t *b = (const uint8_t *)s;
    if (n > 2 && b[0] == 0xe2 && b[1] == 0x80 && b[2] >= 0x90 && b[2] <= 0xa7)
        return 3;
    return n > 1 && b[0] == 0xc2 && b[1] > 0xa0 && b[1] != 0xad ? 2 : 0;
}

/* What a pair of letters says: how English it is, and what that adds to two sums: how strange, how much more English from behind.
 * Rows of 32; nothing beside nothing is 0. */
struct said { int16_t strange, backwards; int32_t plain; };
static struct said said[(N_LETTERS + 1) * 32];

__attribute__((constructor)) static void start_survey(void)
{
    for (unsigned a = 0; a <= BLANK; a++)
        for (unsigned b = 0; b <= BLANK && a + b < 2 * BLANK; b++)
            said[32 * a + b] = (struct said){ (int16_t)-vs_english_pairs[a][b],
                                              (int16_t)(vs_english_pairs[b][a] - vs_english_pairs[a][b]), vs_english_pairs[a][b] };
}

/* How English a text is: every byte is a letter, or nothing between two. A sum that falls below 0 begins anew; the greatest counts,
 * and none goes beyond MOST_SAID: what it is compared with is far below. */
static void survey_pairs(const struct vs_source *s, struct vs_survey *ret)
{
    enum { MOST_SAID = INT16_MAX };
    size_t row = 32 * BLANK;
#ifdef __SSE2__
    __m128i plain = _mm_setzero_si128(), sums = plain, most = plain, zero = plain;
    for (size_t i = 0; i < s->n; i++) {
        unsigned letter = vs_letter(s->text[i]);
        __m128i pair = _mm_loadl_epi64((const __m128i *)(const void *)&said[row + letter]);
        row = 32 * letter;
        plain = _mm_add_epi32(plain, pair);                            /* its second lane counts */
        sums = _mm_max_epi16(_mm_adds_epi16(sums, pair), zero);         /* its first two lanes */
        most = _mm_max_epi16(most, sums);
    }
    ret->plain = _mm_cvtsi128_si32(_mm_shuffle_epi32(plain, 1));
    ret->strange = _mm_extract_epi16(most, 0);
    ret->backwards = _mm_extract_epi16(most, 1);
#else
    int plain = 0, strange = 0, strangest = 0, backwards = 0, most = 0;
    for (size_t i = 0; i < s->n; i++) {
        unsigned letter = vs_letter(s->text[i]);
        const struct said *pair = &said[row + letter];
        row = 32 * letter;
        plain += pair->plain;
        strange += pair->strange;
        strange = strange < 0 ? 0 : strange < MOST_SAID ? strange : MOST_SAID;
        strangest = strange > strangest ? strange : strangest;
        backwards += pair->backwards;
        backwards = backwards < 0 ? 0 : backwards < MOST_SAID ? backwards : MOST_SAID;
        most = backwards > most ? backwards : most;
    }
    ret->plain = plain;
    ret->strange = strangest;
    ret->backwards = most;
#endif
}

/* What the pass over the words of a text knows. */
struct surveying {
    struct vs_survey v;
    size_t run;                          /* where the run of digits of base64 begins that goes on here */
    unsigned singles;
    bool word_before;
};

/* A run of letters, which begins at i: where it ends. */
static size_t on_letters(struct surveying *k, const struct vs_source *s, size_t i)
{
    size_t end = vs_letters_end(s->text, s->n, i);
    unsigned n = (unsigned)(end - i);
    bool alone = n == 1 && !k->word_before && (end == s->n || !vs_ascii_digit(s->text[end]));
    k->singles = alone ? k->singles + 1 : 0;
    k->v.singles = k->singles > k->v.singles ? k->singles : k->v.singles;
    k->v.letters = n > k->v.letters ? n : k->v.letters;
    k->word_before = true;
    return end;
}

/* The run ends before i: it counts when it is long, and has two digits, = or capitals that do not begin it. */
static void end_run(struct surveying *k, const struct vs_source *s, size_t i)
{
    unsigned mixed = 0;
    for (size_t at = i - k->run >= LEAST_RUN && i - k->run > k->v.run ? k->run : i; at < i; at++) {
        char c = s->text[at];
        mixed += vs_ascii_digit(c) || c == '=' || (c >= 'A' && c <= 'Z' && at > k->run);
    }
    k->v.run = mixed > 1 ? (unsigned)(i - k->run) : k->v.run;
}

/* A digit or a sign at i; behind: a letter stands in front of it. Returns how many bytes it has. */
static size_t on_sign(struct surveying *k, const struct vs_source *s, size_t i, bool behind)
{
    char c = s->text[i];
    bool next = i + 1 < s->n && vs_ascii_letter(s->text[i + 1]);
    if (vs_ascii_digit(c)) {
        k->v.leet += !behind ? 0 : next ? 2 : 1;
        k->v.groups += !k->word_before;
        k->singles = 0;
        k->word_before = true;
        return 1;
    }
    size_t sign = (uint8_t)c >= 0x80 ? punctuation(s->text + i, s->n - i) : 0;
    if (c != '+' && c != '/' && c != '-' && c != '_' && c != '=') {
        end_run(k, s, i);
        k->run = i + (sign ? sign : 1);
    }
    k->v.foreign += ((uint8_t)c >= 0x80 && !sign) || vs_is_control(c);
    k->v.escapes += c == '%' || c == '&' || c == '\\' || (c == '=' && i + 2 < s->n && hex_digit(s->text[i + 1]) >= 2);
    k->v.leet += 2 * (next && behind) * (c == '@' || c == '$' || c == '!' || c == '|');
    k->v.marks += behind && vs_may_be_mark(c) && i + 1 < s->n && (next || s->text[i + 1] == c || s->text[i + 1] == '/'
                                                            || (c == '<' && s->text[i + 1] == '!'));
    k->v.dots += (c == '.' || c == '-') && i && (s->text[i - 1] == '.' || s->text[i - 1] == '-' || s->text[i - 1] == ' ');
    k->word_before = false;
    return sign ? sign : 1;
}

void vs_survey_make(const struct vs_source *s, struct vs_survey *ret)
{
    struct surveying k = { .run = 0 };
    for (size_t i = 0; i < s->n;) {
        if (vs_ascii_letter(s->text[i])) {
            i = on_letters(&k, s, i);
        } else if (s->text[i] == ' ') {
            end_run(&k, s, i);
            k.run = ++i;
            k.word_before = false;
        } else {
            i += on_sign(&k, s, i, i && vs_ascii_letter(s->text[i - 1]));
        }
    }
    end_run(&k, s, s->n);
    survey_pairs(s, &k.v);
    *ret = k.v;
}

void vs_reading_decoded(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    if (v->run >= LEAST_RUN)
        decode_base(s, budget, to);
    if (v->groups >= 4 || v->run >= LEAST_RUN || v->escapes >= 4)
        decode_numbers(s, budget, to);
    if (v->dots >= 6)
        decode_morse(s, budget, to);
    if (v->escapes >= 2)
        decode_escapes(s, budget, to);
    if (v->strange >= STRANGE) {
        decode_groups(s, budget, to);
        unsigned by = v->plain < 0 ? best_shift(s) : 0;
        struct gains other;
        find_runs(s, 13, &by_thirteen, budget, to);
        if (by) {
            gains_make(&other, by, false);
            find_runs(s, by, &other, budget, to);
        }
    }
    if (v->backwards > BACKWARDS)
        find_runs(s, 0, &from_behind, budget, to);
    decode_rot47(s, budget, to);
}
