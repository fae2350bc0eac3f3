/* filter/secrets.c - see secrets.h
 *
 * `try_place` is asked at each place where a word or a value may begin; every question has one of four answers. UNDECIDED ends a
 * call: what is held begins there. */
#include "filter/secrets.h"

#include "filter/letters.h"
#include "filter/secret_value.h"

#include <assert.h>
#include <string.h>

enum answer { NO, UNDECIDED, FOUND, FOUND_OPEN };

enum {
    SHAPE_MAX = 84,                      /* characters of the longest first word of a shape */
    JWT_HEADER_MAX = 220,
    PEM_LABEL_MAX = 48, PEM_GAP_MAX = 40, PEM_BODY = 16,
};

/* ---- classes of characters ---- */

enum {
    DIGIT = 1 << 0, LOWER = 1 << 1, UPPER = 1 << 2, HEX_LOWER = 1 << 3, HEX_UPPER = 1 << 4, UNDERSCORE = 1 << 5, DASH = 1 << 6,
    PLUS_SLASH = 1 << 7, EQUALS = 1 << 8, DOT = 1 << 9, TILDE = 1 << 10, PERCENT = 1 << 11, SIGN = 1 << 12,
    SLASH = 1 << 13,
    OPENS = 1 << 14,                     /* a value may begin behind it */
    ALNUM = DIGIT | LOWER | UPPER,
};

#define SIX(bits, a) [a] = bits, [a + 1] = bits, [a + 2] = bits, [a + 3] = bits, [a + 4] = bits, [a + 5] = bits
#define TEN(bits, a) SIX(bits, a), [a + 6] = bits, [a + 7] = bits, [a + 8] = bits, [a + 9] = bits
static const uint16_t is[256] = {
    TEN(DIGIT | HEX_LOWER | HEX_UPPER, '0'), SIX(LOWER | HEX_LOWER, 'a'), TEN(LOWER, 'g'), TEN(LOWER, 'q'),
    SIX(UPPER | HEX_UPPER, 'A'), TEN(UPPER, 'G'), TEN(UPPER, 'Q'), ['_'] = UNDERSCORE, ['-'] = DASH, ['+'] = PLUS_SLASH,
    ['/'] = PLUS_SLASH | SLASH, ['='] = EQUALS | OPENS,
    ['.'] = DOT, ['~'] = TILDE, ['%'] = PERCENT, ['!'] = SIGN, ['@'] = SIGN, ['#'] = SIGN, ['$'] = SIGN, ['^'] = SIGN, ['&'] = SIGN,
    ['*'] = SIGN, ['('] = SIGN | OPENS, [')'] = SIGN, [':'] = OPENS, ['>'] = OPENS, ['\''] = OPENS, ['"'] = OPENS,
    ['`'] = OPENS, [' '] = OPENS, ['\t'] = OPENS, [','] = OPENS, ['['] = OPENS,
};

static uint16_t at(const char *text, size_t i)
{
    return is[(unsigned char)text[i]];
}

/* The letters after % of secret_rows.c. */
static unsigned class_of(char letter)
{
    static const unsigned classes[128] = {
        ['d'] = DIGIT, ['h'] = HEX_LOWER, ['H'] = HEX_LOWER | HEX_UPPER, ['l'] = DIGIT | LOWER, ['U'] = DIGIT | UPPER,
        ['A'] = ALNUM,
        ['N'] = ALNUM, ['w'] = ALNUM | UNDERSCORE, ['B'] = ALNUM | UNDERSCORE | DASH, ['b'] = ALNUM | PLUS_SLASH,
        ['e'] = ALNUM | PLUS_SLASH | EQUALS | DASH | UNDERSCORE, ['t'] = ALNUM | UNDERSCORE | DASH | DOT | TILDE,
        ['k'] = ALNUM | UNDERSCORE | DASH | PLUS_SLASH, ['q'] = ALNUM | PERCENT | DASH | UNDERSCORE,
        ['c'] = ALNUM | DOT | SLASH, ['n'] = ALNUM | DOT | UNDERSCORE | DASH | SIGN | SLASH,
        ['p'] = ALNUM | UNDERSCORE | DASH | PLUS_SLASH | EQUALS | SIGN | PERCENT,
    };
    return classes[(unsigned char)letter & 127];
}

/* ---- formats ---- */

struct match {
    size_t end;                          /* of what is decided: the whole of it, or the least length of an open one */
    size_t body;                         /* where the first class of the pattern begins */
    unsigned tail;                       /* the class of the end */
    bool open;
};

static enum answer short_of(bool whole)
{
    return whole ? NO : UNDECIDED;
}

static enum answer match_uuid(const char *text, size_t n, size_t *i, bool whole)
{
    for (unsigned k = 0; k < 36; k++, ++*i) {
        bool is_dash = k == 8 || k == 13 || k == 18 || k == 23;
        if (*i == n)
            return short_of(whole);
        if (is_dash ? text[*i] != '-' : !(at(text, *i) & (HEX_LOWER | HEX_UPPER)))
            return NO;
    }
    return FOUND;
}

static unsigned number(const char **p)
{
    unsigned value = 0;
    while (**p >= '0' && **p <= '9')
        value = value * 10 + (unsigned)(*(*p)++ - '0');
    return value;
}

/* The row's pattern at text[i]. FOUND fills ret. */
static enum answer match_pattern(const char *pattern, const char *text, size_t n, size_t i, bool whole, struct match *ret)
{
    unsigned class = 0;
    *ret = (struct match){ .body = SIZE_MAX };
    for (const char *p = pattern; *p;) {
        if (*p != '%' || p[1] == '%') {
            if (i == n)
                return short_of(whole);
            p += *p == '%';
            if (text[i++] != *p++)
                return NO;
            class = 0;
            continue;
        }
        if (ret->body == SIZE_MAX)
            ret->body = i;
        if (p[1] == 'u') {
            enum answer uuid = match_uuid(text, n, &i, whole);
            if (uuid != FOUND)
                return uuid;
            class = ALNUM | DASH;
            p += 2;
            continue;
        }
        class = class_of(p[1]);
        p += 2;
        unsigned least = number(&p), most = least;
        if (*p == ',')
            p++, most = number(&p);
        size_t begin = i;
        while (i < n && i - begin < most && at(text, i) & class)
            i++;
        if (i - begin < least)
            return i == n ? short_of(whole) : NO;
        if (i == n && i - begin < most && (*p || !whole))
            return short_of(whole);
        if (*p == '+') {
            ret->open = true;
            break;
        }
    }
    if (!ret->open && i == n && !whole)
        return UNDECIDED;
    bool is_stop = !ret->open && i < n && text[i] == '.';       /* of a sentence, though the class has it */
    if (is_stop && i + 1 == n && !whole)
        return UNDECIDED;
    is_stop = is_stop && (i + 1 == n || !(at(text, i + 1) & (class | ALNUM)));
    if (!ret->open && i < n && at(text, i) & (class | ALNUM) && !is_stop)
        return NO;
    ret->end = i;
    ret->tail = class;
    return FOUND;
}

static uint32_t crc32_of(const char *s, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)s[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return ~crc;
}

/* s[n]: random characters, then six of the checksum in base 62: digits, large letters, small letters. */
static bool has_checksum(const char *s, size_t n)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if (n <= 6)
        return false;
    uint32_t crc = crc32_of(s, n - 6);
    for (size_t i = n; i-- > n - 6; crc /= 62)
        if (s[i] != digits[crc % 62])
            return false;
    return true;
}

static bool has_digit(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (at(s, i) & DIGIT)
            return true;
    return false;
}

/* What a pattern cannot say. */
static bool is_believed(const struct vs_secret_row *row, const char *text, size_t start, const struct match *m)
{
    size_t body = m->body < m->end ? m->body : start, n = m->end - body;
    if (row->flags & VS_SECRET_DIGIT && !has_digit(text + body, n))
        return false;
    if (row->flags & VS_SECRET_RANDOM && !vs_secret_is_random(text + body, n))
        return false;
    return row->flags & VS_SECRET_ANY || !vs_secret_is_placeholder(text + body, n);
}

/* ---- JSON web tokens ---- */

static size_t run_of(const char *text, size_t n, size_t i, unsigned class)
{
    while (i < n && at(text, i) & class)
        i++;
    return i;
}

static bool begins(const char *s, size_t n, const char *with)
{
    size_t length = strlen(with);
    return n >= length && memcmp(s, with, length) == 0;
}

/* Whether a header begins as those of JOSE do: one of its names first. */
static bool has_jose_name(const char *json, size_t n)
{
    static const char *const names[] = {
        "alg", "typ", "kid", "enc", "cty", "zip", "x5t", "x5c", "jku", "jwk", "crit", "epk", "b64",
    };
    size_t i = 1;
    while (i < n && (json[i] == ' ' || json[i] == '\n' || json[i] == '\r'))
        i++;
    if (n == 0 || json[0] != '{' || i >= n || json[i] != '"')
        return false;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (begins(json + i + 1, n - i - 1, names[k]))
            return true;
    return false;
}

/* Whether it is one object of JSON, as far as quotes and brackets say. */
static bool is_object(const char *json, size_t n)
{
    unsigned depth = 0;
    bool in_string = false, has_colon = false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)json[i];
        if (c < ' ' && c != '\n' && c != '\r' && c != '\t')
            return false;
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string) {
            has_colon |= c == ':';
            depth += c == '{' || c == '[';
            if ((c == '}' || c == ']') && (depth-- == 0 || (depth == 0 && i + 1 < n)))
                return false;
        }
    }
    return n && json[0] == '{' && depth == 0 && !in_string && has_colon;
}

static enum answer match_jwt(const char *text, size_t n, size_t i, bool whole, struct match *ret)
{
    unsigned class = class_of('B');
    char json[JWT_HEADER_MAX];
    size_t most = n - i > JWT_HEADER_MAX ? i + JWT_HEADER_MAX : n, dot = run_of(text, most, i, class);
    size_t length = vs_base64_decode(text + i, dot - i, json, sizeof json);
    bool is_jose = has_jose_name(json, length);
    *ret = (struct match){ .end = dot, .body = i, .tail = class | DOT, .open = true };
    if (dot - i == JWT_HEADER_MAX)
        return is_jose ? FOUND : NO;
    if (dot == n)
        return short_of(whole);
    if (text[dot] != '.' || (!is_jose && !is_object(json, length)))
        return NO;
    size_t payload = run_of(text, dot + 17 < n ? dot + 17 : n, dot + 1, class);
    ret->end = payload;
    if (payload - dot > 16)
        return FOUND;
    return payload == n ? short_of(whole) : NO;
}

/* ---- private keys ---- */

/* What may stand between the parts of a key that is part of a string of a program: line ends, quotes, +, escapes. */
static size_t skip_gap(const char *text, size_t n, size_t i)
{
    size_t most = n - i > PEM_GAP_MAX ? i + PEM_GAP_MAX : n;
    while (i < most && strchr(" \t\r\n\"'+,\\", text[i]) && text[i])
        i += text[i] == '\\' && i + 1 < most && strchr("nrt", text[i + 1]) ? 2 : 1;
    return i;
}

static enum answer match_pem(const char *text, size_t n, size_t i, bool whole, struct match *ret)
{
    static const char what[] = "PRIVATE KEY";
    size_t label = i + strlen("-----BEGIN "), most = n - label > PEM_LABEL_MAX ? label + PEM_LABEL_MAX : n, end = label;
    bool is_private = false;
    if (n < label)
        return short_of(whole);
    while (end < most && (at(text, end) & (UPPER | DIGIT) || text[end] == ' '))
        end++;
    for (size_t k = label; k + strlen(what) <= end; k++)
        is_private |= memcmp(text + k, what, strlen(what)) == 0;
    if (end == n)
        return short_of(whole);
    if (!is_private || text[end] != '-')
        return NO;
    while (end < n && text[end] == '-' && end < most + 5)
        end++;
    size_t body = skip_gap(text, n, end), far = n - body > PEM_BODY ? body + PEM_BODY : n;
    size_t after = run_of(text, far, body, ALNUM | PLUS_SLASH | DASH);
    *ret = (struct match){ .end = after, .body = body, .open = true };
    if (after == n && after - body < PEM_BODY)
        return short_of(whole);
    bool is_header = after < n && text[after] == ':';
    return body > end && (after - body == PEM_BODY || (is_header && after > body + 2)) ? FOUND : NO;
}

static enum answer match_pem64(const char *text, size_t n, size_t i, bool whole, struct match *ret)
{
    enum { LEAST = 72 };
    char plain[LEAST];
    size_t end = run_of(text, n - i > LEAST ? i + LEAST : n, i, class_of('e'));
    *ret = (struct match){ .end = end, .body = i, .tail = class_of('e'), .open = true };
    if (end - i < LEAST)
        return end == n ? short_of(whole) : NO;
    size_t length = vs_base64_decode(text + i, LEAST, plain, sizeof plain);
    for (size_t k = 0; k + 11 <= length; k++)
        if (memcmp(plain + k, "PRIVATE KEY", 11) == 0)
            return FOUND;
    return NO;
}

static enum answer match_putty(const char *text, size_t n, size_t i, bool whole, struct match *ret)
{
    size_t colon = i + strlen("PuTTY-User-Key-File-") + 1;
    *ret = (struct match){ .end = colon + 1, .body = i, .open = true };
    if (n <= colon)
        return short_of(whole);
    return text[colon - 1] >= '1' && text[colon - 1] <= '9' && text[colon] == ':' ? FOUND : NO;
}

/* Where the line before text[i], which begins behind a line end, begins. */
static size_t line_before(const char *text, size_t i)
{
    size_t end = i && text[i - 1] == '\n' ? i - 1 : i, k = end;
    while (k > 0 && end - k < 128 && text[k - 1] != '\n')
        k--;
    return k;
}

/* A blank line behind a line of the key: its end is missing. Blank lines after the marker and after headers belong to it. */
static bool is_cut_short(const char *text, size_t i)
{
    size_t from = line_before(text, i), k = from;
    while (k < i && at(text, k) & (ALNUM | PLUS_SLASH | EQUALS))
        k++;
    return k - from >= 8 && (text[k] == '\n' || text[k] == '\r');
}

static size_t pem_end(const char *text, size_t n, size_t looked)
{
    static const char mark[] = "-----END ";
    size_t back = PEM_LABEL_MAX + sizeof mark + 5;
    for (size_t i = looked > back ? looked - back : 0; i < n; i++) {
        if (text[i] == '-' && n - i >= sizeof mark - 1 && memcmp(text + i, mark, sizeof mark - 1) == 0) {
            size_t end = i + sizeof mark - 1, most = n - end > PEM_LABEL_MAX ? end + PEM_LABEL_MAX : n, dashes = 0;
            while (end < most && text[end] != '-' && text[end] != '\n')
                end++;
            while (end < n && text[end] == '-' && dashes < 5)
                end++, dashes++;
            if (end == n && dashes < 5)
                return SIZE_MAX;
            if (end >= looked)           /* equal: only now it is seen that no dash follows */
                return end;
        }
        if (i >= looked && text[i] == '\n' && i > 0 && text[i - 1] == '\n' && is_cut_short(text, i))
            return i;
    }
    return SIZE_MAX;
}

/* Behind the line that holds the key's checksum. */
static size_t putty_end(const char *text, size_t n, size_t looked)
{
    static const char mark[] = "Private-MAC: ";
    for (size_t i = looked > 120 ? looked - 120 : 0; i + sizeof mark - 1 <= n; i++)
        if (text[i] == 'P' && memcmp(text + i, mark, sizeof mark - 1) == 0) {
            size_t end = run_of(text, n, i + sizeof mark - 1, HEX_LOWER);
            if (end == n)
                return SIZE_MAX;
            if (end >= looked)
                return end;
        }
    return SIZE_MAX;
}

/* ---- a place ---- */

typedef enum answer match_fn(const char *text, size_t n, size_t i, bool whole, struct match *ret);
static const struct { unsigned flag; match_fn *match; } special[] = {
    { VS_SECRET_JWT, match_jwt }, { VS_SECRET_PEM, match_pem }, { VS_SECRET_PEM64, match_pem64 }, { VS_SECRET_PUTTY, match_putty },
};

struct place {
    const char *text;
    size_t n, i;
    bool whole;
    struct vs_span span;
};

static enum answer take(struct place *p, const char *id, size_t start, size_t end, unsigned score, bool open)
{
    p->span = (struct vs_span){ VS_FOUND_SECRET, VS_PII_API_KEY, id, start, end, score, open };
    return open ? FOUND_OPEN : FOUND;
}

static enum answer try_row(struct place *p, const struct vs_secret_row *row)
{
    struct match m;
    enum answer answer = UNDECIDED;
    for (unsigned k = 0; k < sizeof special / sizeof *special; k++)
        if (row->flags & special[k].flag) {
            size_t length = strlen(row->pattern), known = p->n - p->i < length ? p->n - p->i : length;
            if (memcmp(p->text + p->i, row->pattern, known) != 0)
                return NO;
            answer = known < length ? short_of(p->whole) : special[k].match(p->text, p->n, p->i, p->whole, &m);
            return answer == FOUND ? take(p, row->id, p->i, m.end, 950, m.open) : answer;
        }
    answer = match_pattern(row->pattern, p->text, p->n, p->i, p->whole, &m);
    if (answer != FOUND)
        return answer;
    if (!is_believed(row, p->text, p->i, &m))
        return NO;
    bool is_sure = row->flags & VS_SECRET_CRC && has_checksum(p->text + m.body, m.end - m.body);
    return take(p, row->id, p->i, m.end, is_sure ? 1000 : row->flags & VS_SECRET_RANDOM ? 800 : 950, m.open);
}

static unsigned slot_of(const char *s)
{
    uint32_t three = (uint32_t)(unsigned char)s[0] << 16 | (uint32_t)(unsigned char)s[1] << 8 | (unsigned char)s[2];
    return three * 0x9e3779b1u >> 20;
}

static_assert(VS_SECRET_SLOTS == 1 << 12, "slot_of has 12 bits");

static enum answer try_formats(const struct vs_secrets *s, struct place *p)
{
    if (p->n - p->i < 3)
        return s->first[(unsigned char)p->text[p->i]] ? short_of(p->whole) : NO;
    for (unsigned row = s->slot[slot_of(p->text + p->i)]; row; row = s->next[row - 1]) {
        enum answer answer = try_row(p, &vs_secret_rows[row - 1]);
        if (answer != NO)
            return answer;
    }
    return NO;
}

/* Whether the word of a shape may begin with this character, have this length and be followed by that one: those that are one word
 * by anything, also by the full stop of a sentence. */
static bool may_be_shape(char first, size_t length, char next)
{
    bool is_digit = first >= '0' && first <= '9';
    if (length == 34 || length == 40 || length == SHAPE_MAX)
        return true;
    switch (next) {
    case ':': return length == 24 || (is_digit && length >= 8 && length <= 10);
    case '.': return length == 1 ? first == 's' || first == 'b' || first == 'r' : length == 14 || (length >= 23 && length <= 32);
    case '~': return length <= 5;
    case '-': return (is_digit && length <= 3) || length == 32;
    case '_': return length == 6;
    default: return false;
    }
}

static enum answer try_shapes(struct place *p, size_t word_end)
{
    if (word_end == p->n && !p->whole)
        return word_end - p->i <= SHAPE_MAX ? UNDECIDED : NO;
    if (!may_be_shape(p->text[p->i], word_end - p->i, word_end < p->n ? p->text[word_end] : 0))
        return NO;
    for (unsigned k = 0; k < vs_n_secret_shapes; k++) {
        enum answer answer = try_row(p, &vs_secret_shapes[k]);
        if (answer != NO)
            return answer;
    }
    return NO;
}

/* A word of letters alone, between spaces or at the end of a line: no rule for values takes it, but that for options (-p word).
 * Most of a text is such words, so they are passed over before names are looked at. */
enum { LONGEST_PLAIN = 15 };

static bool is_behind_space(const char *text, size_t i)
{
    return i >= 3 && text[i - 1] == ' ' && !(text[i - 2] == 'p' && text[i - 3] == '-');
}

static bool is_plain_word(const struct place *p, size_t word_end)
{
    const char *text = p->text;
    if (!is_behind_space(text, p->i) || word_end == p->i || word_end - p->i > LONGEST_PLAIN)
        return false;
    if (word_end == p->n ? !p->whole : text[word_end] != ' ' && text[word_end] != '\n')
        return false;
    return vs_letters_end(text, word_end, p->i) == word_end;
}

static enum answer try_value(struct place *p, size_t word_end)
{
    struct vs_secret_place place;
    size_t end;
    if (p->i == 0 || !(at(p->text, p->i - 1) & OPENS) || is_plain_word(p, word_end))
        return NO;
    if (!vs_secret_place(p->text, p->i, &place))
        return NO;
    if (word_end == p->n && !p->whole && word_end - p->i < VS_SECRET_VALUE_MAX)
        return UNDECIDED;
    switch (vs_secret_value(p->text, p->n, p->i, p->whole, &place, &end)) {
    case VS_VALUE_NONE: return NO;
    case VS_VALUE_UNDECIDED: return UNDECIDED;
    case VS_VALUE_LONG: return take(p, place.rule, p->i, end, place.score, true);
    default: return take(p, place.rule, p->i, end, place.score, false);
    }
}

/* Whether a value may begin with a character that is no letter or digit. */
static bool may_be_value(const char *text, size_t i)
{
    if (i > 0 && text[i] == '`')
        return text[i - 1] == '\'' || text[i - 1] == '"';
    return i > 0 && at(text, i - 1) & OPENS && at(text, i) & (UNDERSCORE | DASH | PLUS_SLASH | DOT | TILDE | PERCENT | SIGN)
           && text[i] != '(' && text[i] != ')';
}

/* Where the word ends that begins at text[i]; what is part of an escape is one of its own: \nghp_... */
static size_t word_at(const char *text, size_t n, size_t i)
{
    size_t end = run_of(text, n, i, ALNUM);
    if (i > 0 && text[i - 1] == '\\' && strchr("nrt", text[i]))
        return i + 1;
    if (i > 0 && text[i - 1] == '%' && end - i >= 2 && at(text, i) & at(text, i + 1) & HEX_UPPER)
        return i + 2;
    return end;
}

/* Whether a word may begin behind text[i - 1]: not within one, but behind an escape: \n or %3D. */
static bool is_boundary(const char *text, size_t i)
{
    if (i == 0 || !(at(text, i - 1) & ALNUM))
        return true;
    if (i >= 2 && text[i - 2] == '\\' && (text[i - 1] == 'n' || text[i - 1] == 'r' || text[i - 1] == 't'))
        return true;
    return i >= 3 && text[i - 3] == '%' && at(text, i - 2) & at(text, i - 1) & HEX_UPPER;
}

static enum answer try_place(const struct vs_secrets *s, struct place *p, size_t word_end)
{
    enum answer answer = try_formats(s, p);
    if (answer == NO && word_end > p->i)
        answer = try_shapes(p, word_end);
    return answer == NO ? try_value(p, word_end) : answer;
}

/* The letters at i are a plain word that begins no format, and more than it is there: where it ends. Otherwise i. This only spares
 * try_place what it would refuse. */
static size_t plain_end(const struct vs_secrets *s, const char *text, size_t n, size_t i)
{
    if (!is_behind_space(text, i) || n - i < 3)
        return i;
    size_t end = vs_letters_end(text, n, i);
    bool is_plain = end < n && end - i <= LONGEST_PLAIN && (text[end] == ' ' || text[end] == '\n');
    return is_plain && !s->slot[slot_of(text + i)] ? end : i;
}

/* ---- the detector ---- */

/* The end of an open span: of a format by its class, of a value by what a long one is made of. */
static size_t closed(const struct vs_detector *d, const char *rule, const char *text, size_t n, size_t looked)
{
    unsigned class = class_of('e') | class_of('t');
    (void)d;
    for (unsigned i = 0; i < vs_n_secret_rows + vs_n_secret_shapes; i++) {
        const struct vs_secret_row *row = i < vs_n_secret_rows ? &vs_secret_rows[i] : &vs_secret_shapes[i - vs_n_secret_rows];
        if (row->id != rule)
            continue;
        if (row->flags & VS_SECRET_PEM)
            return pem_end(text, n, looked);
        if (row->flags & VS_SECRET_PUTTY)
            return putty_end(text, n, looked);
        const char *last = strrchr(row->pattern, '%');
        if (row->flags & VS_SECRET_JWT)
            class = class_of('t');
        else if (row->flags & VS_SECRET_PEM64)
            class = class_of('e');
        else if (last && last[strlen(last) - 1] == '+')
            class = class_of(last[1]);
        else
            continue;                    /* another row of this id is the open one */
        break;
    }
    size_t end = run_of(text, n, looked, class);
    return end == n ? SIZE_MAX : end;
}

static size_t find(const struct vs_detector *d, const char *text, size_t n, size_t from, bool whole, vs_span_fn *told, void *arg)
{
    const struct vs_secrets *s = d->state;
    struct place p = { .text = text, .n = n, .whole = whole };
    size_t i = from;
    while (i < n) {
        unsigned char c = (unsigned char)text[i];
        bool is_word = is[c] & ALNUM;
        size_t plain = is_word ? plain_end(s, text, n, i) : i;
        if (plain > i || c == ' ') {
            i = plain + (text[plain] == ' ');        /* no format or value begins with a space */
            continue;
        }
        if ((is_word && !is_boundary(text, i)) || (!is_word && !s->first[c] && !may_be_value(text, i))) {
            i = is_word ? run_of(text, n, i, ALNUM) : i + 1;
            continue;
        }
        size_t word_end = is_word ? word_at(text, n, i) : i;
        p.i = i;
        enum answer answer = try_place(s, &p, word_end);
        if (answer == UNDECIDED)
            return i;
        if (answer == FOUND_OPEN && whole) {
            size_t end = closed(d, p.span.rule, text, n, p.span.end);
            p.span.end = end == SIZE_MAX ? n : end;
            p.span.open = false;
        }
        if (answer != NO)
            told(arg, &p.span);
        if (answer == FOUND_OPEN && !whole)
            return i;
        i = answer != NO ? p.span.end : is_word ? word_end : i + 1;
    }
    return n;
}

void vs_secrets_init(struct vs_secrets *s)
{
    memset(s, 0, sizeof *s);
    assert(vs_n_secret_rows <= VS_SECRET_ROWS);
    for (unsigned i = vs_n_secret_rows; i-- > 0;) {
        const char *pattern = vs_secret_rows[i].pattern;
        uint16_t *slot = &s->slot[slot_of(pattern)];
        s->next[i] = *slot;
        *slot = (uint16_t)(i + 1);
        s->first[(unsigned char)pattern[0]] = 1;
    }
}

struct vs_detector vs_secrets_detector(const struct vs_secrets *s)
{
    return (struct vs_detector){ "secrets", s, find, closed };
}
