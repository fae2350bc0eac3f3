/* filter/pii_text.c - see pii_text.h */
#include "filter/pii_text.h"

#include "filter/letters.h"
#include "filter/pii_words.h"

#include <string.h>

enum { LOOK_BACK = 112, WORDS_BACK = 10 };

#define D VS_C_DIGIT | VS_C_HEX | VS_C_MAIL
#define U VS_C_UPPER | VS_C_MAIL
#define L VS_C_LOWER | VS_C_MAIL
#define X VS_C_HEX
#define M VS_C_MAIL
#define S VS_C_SPACE
#define H VS_C_HIGH

const uint8_t vs_pii_kind[256] = {
    ['\t'] = S, ['\n'] = S, ['\r'] = S, [' '] = S,
    ['0'] = D, D, D, D, D, D, D, D, D, D,
    ['A'] = U | X, U | X, U | X, U | X, U | X, U | X, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U,
    ['a'] = L | X, L | X, L | X, L | X, L | X, L | X, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    ['.'] = M, ['_'] = M, ['%'] = M, ['+'] = M, ['-'] = M, ['\''] = M, ['&'] = M, ['#'] = 0, ['!'] = 0, ['~'] = M,
    [0x80] = H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H,
};

#undef D
#undef U
#undef L
#undef X
#undef M
#undef S
#undef H

static bool is_letter(uint8_t c)
{
    return vs_is_alnum(c) || c >= 0x80;
}

static uint8_t small(uint8_t c)
{
    return vs_is_upper(c) ? c | 32 : c;
}

/* ---- the words before p ---- */

/* The word that ends before text[i], not before `limit`; of camelCase its last part. Where it begins. */
static size_t word_back(const char *text, size_t i, size_t limit)
{
    size_t start = i;
    bool is_small = false;
    while (start > limit && is_letter((uint8_t)text[start - 1])) {
        uint8_t c = (uint8_t)text[start - 1];
        bool is_plural = i - start == 1 && text[start] == 's' && start - 1 > limit && vs_is_upper((uint8_t)text[start - 2]);
        if (vs_is_upper(c) && is_small && !is_plural)
            return start - 1;            /* but "IPs" is one word */
        if (start < i && !vs_is_upper(c) && vs_is_upper((uint8_t)text[start]) && !vs_is_digit(c))
            return start;
        is_small |= vs_is_lower(c);
        start--;
    }
    return start;
}

/* How many words further off the mark between two words makes the first: a line's end, a sentence's end. A question is answered. */
static unsigned distance(const char *text, size_t i, size_t next, size_t n_word_before)
{
    unsigned words = 0, lines = 0;
    for (size_t k = i; k < next; k++) {
        uint8_t c = (uint8_t)text[k];
        bool is_spaced = k + 1 < next && (vs_pii_kind[(uint8_t)text[k + 1]] & VS_C_SPACE);
        lines += c == '\n';
        if (((c == '.' && n_word_before > 4) || c == '!') && is_spaced)
            words += 4;
        if (c == ';' || c == '|')
            words += 1;
    }
    return words + lines + (lines > 1 ? VS_FAR : 0);
}

/* The word text[start, end) by its first letters, "D.O.B." and "DoB" as one; *ret_start where it begins then. */
static uint64_t key_back(const char *text, size_t start, size_t end, size_t limit, size_t *ret_start)
{
    uint64_t key = vs_pii_key(text + start, end - start);
    bool is_letter_dot = end - start == 1;
    for (unsigned n = 1; is_letter_dot && n < 5 && start > limit + 1 && text[start - 1] == '.'; n++) {
        if (!vs_is_alpha((uint8_t)text[start - 2]) || (start > limit + 2 && is_letter((uint8_t)text[start - 3])))
            break;
        key = key << 8 | small((uint8_t)text[start - 2]);
        start -= 2;
    }
    if (is_letter_dot && key == 'b' && start > limit + 1 && text[start - 1] == 'o' && text[start - 2] == 'D') {
        key = 'd' | 'o' << 8 | 'b' << 16;
        start -= 2;
    }
    if (end - start == 1 && key == 'c' && start > limit + 1 && text[start - 1] == '/' && (text[start - 2] | 32) == 'a') {
        key = 'a' | 'c' << 8;            /* a/c */
        start -= 2;
    }
    *ret_start = start;
    return key;
}

static uint64_t classes_of(const char *word, size_t n)
{
    return vs_pii_lookup(vs_pii_key(word, n))->classes;
}

static void note(struct vs_pii_at *a, uint64_t classes, unsigned far)
{
    for (; classes && far < VS_FAR; classes &= classes - 1) {
        uint8_t *near = &a->near[__builtin_ctzll(classes)];
        *near = far < *near ? (uint8_t)far : *near;
    }
}

static const uint64_t born = 'b' | 'o' << 8 | 'r' << 16 | 'n' << 24;
static const uint64_t birth = 'b' | 'i' << 8 | 'r' << 16 | 't' << 24 | (uint64_t)'h' << 32;

/* "born of a dispute", "born from", "the birth of the web": of no person, unless one is named, or his date or place of birth.
 * text[start, i) is the word. */
static bool is_figure(const char *text, size_t start, size_t i, size_t next, size_t end)
{
    enum { FAR_ENOUGH = 48 };
    static const char *const words[] = { "of ", "from", "out " };
    static const char *const persons[] = {
        "parents", "wedlock", "mother", "father", "marriage", "family", "couple", "patient", "child", "son", "daughter", "baby",
        "applicant",
    };
    static const char *const subjects[] = { "he was ", "He was ", "I was ", "who was ", " of " };
    bool is_said = false;
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        is_said |= next == i + 1 && next + strlen(words[k]) <= end && memcmp(text + next, words[k], strlen(words[k])) == 0;
    for (size_t k = 0; is_said && k < sizeof persons / sizeof *persons; k++)
        if (memmem(text + i, end - i < FAR_ENOUGH ? end - i : FAR_ENOUGH, persons[k], strlen(persons[k])))
            return false;
    for (size_t k = 0; is_said && k < sizeof subjects / sizeof *subjects; k++) {
        size_t n = strlen(subjects[k]);
        if (start >= n && memcmp(text + start - n, subjects[k], n) == 0)
            return false;
    }
    return is_said;
}

/* ---- Chinese, Japanese and Korean, where the words around a label make it another word: "passport fee", "ruling party" ---- */

enum { CHARACTER = 3, LONGEST = 3 * CHARACTER };
#define NOT_TOLD (VS_NEAR(OTHER) | VS_NEAR(EVENT) | VS_NEAR(ELSE))

static bool is_wide(const char *s)
{
    return (uint8_t)*s >= 0xe3 && (uint8_t)*s < 0xf0;
}

/* From which places nothing but links, labels, digits and signs leads to `stop`. */
struct chain {
    size_t stop, at;                     /* known from `at` on */
    uint64_t linked[2];                  /* bit k: from stop - k */
};
static_assert(LOOK_BACK < 128, "the bits of a chain");

static struct chain chain_to(size_t stop)
{
    return (struct chain){ stop, stop, { 1, 0 } };
}

static bool is_linked(const struct chain *c, size_t i)
{
    return i <= c->stop && c->stop - i < 128 && c->linked[(c->stop - i) / 64] >> (c->stop - i) % 64 & 1;
}

static bool leads_on(const struct chain *c, const char *text, size_t i)
{
    static const char signs[] = " \t\n:=#()[]{}\"'`*_-+/|\\<>0123456789";
    size_t end = i;
    if (text[i] && strchr(signs, text[i]))
        return is_linked(c, i + 1);
    while (end < c->stop && vs_is_alpha((uint8_t)text[end]))
        end++;
    if (end > i)
        return is_linked(c, end) && classes_of(text + i, end - i) & ~NOT_TOLD;
    for (end = i + CHARACTER; end <= c->stop && end <= i + LONGEST; end += CHARACTER)
        if (is_linked(c, end) && classes_of(text + i, end - i) & ~NOT_TOLD)
            return true;
    return false;
}

/* Labels within the last twelve characters of text[start, end), up to a comma or full stop: those that lead to the chain's end, and
 * words of other things. Four characters are a word's distance. What begins with the end of another word is none: the characters
 * of "birth" and "day" in "to happen" and "day". */
static void look_within(struct vs_pii_at *a, struct chain *c, size_t start, size_t end, unsigned far)
{
    const char *text = a->text;
    size_t i = end;
    while (c->at > start) {
        size_t k = c->stop - --c->at;
        if (((uint8_t)text[c->at] & 0xc0) != 0x80 && k < 128)
            c->linked[k / 64] |= (uint64_t)leads_on(c, text, c->at) << k % 64;
    }
    for (unsigned k = 0; k < 12 && i >= start + CHARACTER && is_wide(text + i - CHARACTER); k++) {
        i -= CHARACTER;
        if (strstr("。、，", (char[]){ text[i], text[i + 1], text[i + 2], 0 }))
            return;
        bool is_end = i >= start + CHARACTER && classes_of(text + i - CHARACTER, 2 * CHARACTER) & VS_NEAR(ELSE);
        for (size_t n = 2 * CHARACTER; n <= LONGEST && i + n <= end && !is_end; n += CHARACTER) {
            uint64_t classes = classes_of(text + i, n);
            note(a, is_linked(c, i + n) ? classes : classes & NOT_TOLD, far + k / 4);
        }
    }
}

static void look_back(struct vs_pii_at *a, int most_words)
{
    const char *text = a->text;
    size_t limit = a->p > LOOK_BACK ? a->p - LOOK_BACK : 0, i = a->p;
    unsigned far = 0, n_numbers = 0;
    struct chain chain = chain_to(a->p);
    for (int words = 0; words < most_words && far < VS_FAR; words++) {
        size_t next = i;
        while (i > limit && !is_letter((uint8_t)text[i - 1]))
            i--;
        if (i == limit)
            return;
        size_t start = word_back(text, i, limit);
        bool is_number = true;
        far += distance(text, i, next, i - start);
        for (size_t k = start; k < i; k++)
            is_number &= vs_is_digit((uint8_t)text[k]);
        if (is_number && i - start > 2) {
            far += 3;
            if (++n_numbers > 2)
                return;
        }
        uint64_t key = key_back(text, start, i, limit, &start);
        if (i - start >= CHARACTER && is_wide(text + i - CHARACTER))
            look_within(a, &chain, start, i, far);
        else if ((key != born && key != birth) || !is_figure(text, start, i, next, a->p))
            note(a, vs_pii_lookup(key)->classes, far);
        far++;
        i = start;
    }
}

/* ---- tables: the name of p's column ---- */

/* Cells before `end` of the line that begins at `line`; quotes hide the separator. */
static unsigned cells(const char *text, size_t line, size_t end, char separator)
{
    unsigned n = 0;
    bool is_quoted = false;
    for (size_t i = line; i < end; i++) {
        is_quoted ^= text[i] == '"';
        n += text[i] == separator && !is_quoted;
    }
    return n;
}

/* A line of names: no digits, nothing that ends a sentence, short cells. */
static bool is_header(const char *text, size_t line, size_t end, char separator)
{
    unsigned n_words = 0;
    for (size_t i = line, cell = line; i < end; i++) {
        char c = text[i];
        cell = c == separator ? i + 1 : cell;
        n_words = c == separator ? 0 : n_words + (c == ' ');
        if (vs_is_digit((uint8_t)c) || c == '!' || c == '?' || c == ':' || c == '@' || i + 1 - cell > 28 || n_words > 5)
            return false;
    }
    return true;
}

/* Whether a line may be one of names for any separator: most are refused here, by one look at each byte. */
static bool may_be_header(const char *text, size_t line, size_t end)
{
    unsigned n = 0;                      /* separators */
    for (size_t i = line; i < end; i++) {
        uint8_t c = (uint8_t)text[i];
        if (vs_is_digit(c) || c == '!' || c == '?' || c == ':' || c == '@')
            return false;
        n += c == ',' || c == '|' || c == ';' || c == '\t';
    }
    return n >= 2;
}

/* In a table (CSV, or with '|') the first line of which is in sight, the words above p are near. */
static void look_up(struct vs_pii_at *a)
{
    static const char separators[] = ",|;\t";
    const char *text = a->text;
    size_t limit = a->p > VS_DETECT_CONTEXT ? a->p - VS_DETECT_CONTEXT : 0;
    const char *before = memrchr(text + limit, '\n', a->p - limit);
    const char *first = limit ? memchr(text + limit, '\n', a->p - limit) : NULL;
    size_t line = before ? (size_t)(before - text) + 1 : limit, head = first ? (size_t)(first - text) + 1 : limit;
    if (line == limit || head >= line)
        return;
    size_t end = (size_t)((const char *)memchr(text + head, '\n', line - head) - text);
    if (!may_be_header(text, head, end))
        return;
    for (const char *separator = separators; *separator; separator++) {
        unsigned n_above = cells(text, head, end, *separator), column = cells(text, line, a->p, *separator);
        if (n_above < 2 || column > n_above || !is_header(text, head, end, *separator))
            continue;
        size_t from = head, to;
        for (unsigned k = 0; k < column; k++)
            while (text[from++] != *separator)
                ;
        for (to = from; to < end && text[to] != *separator; to++)
            ;
        struct chain chain = chain_to(to);
        for (unsigned far = 0; to > from; far++) {
            while (to > from && !is_letter((uint8_t)text[to - 1]))
                to--;
            size_t start = word_back(text, to, from);
            if (to - start >= CHARACTER && is_wide(text + to - CHARACTER))
                look_within(a, &chain, start, to, far);
            else if (start < to)
                note(a, vs_pii_lookup(key_back(text, start, to, from, &start))->classes, far);
            to = start;
        }
        return;
    }
}

static void know_near(struct vs_pii_at *a, int how_much)
{
    if (a->known == NONE_KNOWN) {
        memset(a->near, VS_FAR, sizeof a->near);
        look_up(a);
    }
    look_back(a, how_much == ALL_KNOWN ? WORDS_BACK : 1);
    a->known = how_much;
}

bool vs_pii_is_next(struct vs_pii_at *a, uint64_t classes)
{
    if (a->known == NONE_KNOWN)
        know_near(a, NEXT_KNOWN);
    for (; classes; classes &= classes - 1)
        if (a->near[__builtin_ctzll(classes)] == 0)
            return true;
    return false;
}

unsigned vs_pii_near(struct vs_pii_at *a, uint64_t classes)
{
    unsigned near = VS_FAR;
    if (a->known != ALL_KNOWN)
        know_near(a, ALL_KNOWN);
    for (; classes; classes &= classes - 1)
        if (a->near[__builtin_ctzll(classes)] < near)
            near = a->near[__builtin_ctzll(classes)];
    return near;
}

/* ---- what follows ---- */

size_t vs_pii_word(struct vs_pii_at *a, size_t i, uint64_t *ret_classes)
{
    enum { MOST = 40 };
    size_t limit = a->p + VS_DETECT_HELD < a->n ? a->p + VS_DETECT_HELD : a->n;
    size_t end = i < limit ? vs_letters_end(a->text, limit - i < MOST ? limit : i + MOST, i) : i;
    while (is_letter(vs_pii_byte(a, end)) && end - i < MOST)
        end++;
    *ret_classes = end > i ? classes_of(a->text + i, end - i) : 0;
    return end;
}

bool vs_pii_is_all(struct vs_pii_at *a, size_t i, const char *word)
{
    for (; *word; word++, i++)
        if (small(vs_pii_byte(a, i)) != (uint8_t)*word)
            return false;
    return !is_letter(vs_pii_byte(a, i));
}

unsigned vs_pii_month(struct vs_pii_at *a, size_t i, size_t *ret_end)
{
    uint64_t classes;
    size_t end = vs_pii_word(a, i, &classes), n = end - i;
    const struct vs_pii_word *word = vs_pii_lookup(vs_pii_key(a->text + i, n));
    if (!word->month || word->n != n)
        return 0;
    *ret_end = end + (n < 5 && vs_pii_byte(a, end) == '.');
    return word->month;
}

uint64_t vs_pii_after(struct vs_pii_at *a, size_t i)
{
    uint64_t classes, all = 0;
    bool is_bracket = false;
    if (vs_pii_byte(a, i) == ',')
        return 0;
    while (vs_pii_byte(a, i) == ' ')
        i++;
    if (vs_pii_byte(a, i) == '(') {
        is_bracket = true;
        i++;
    }
    for (int words = 0; words < 6; words++) {
        size_t end = vs_pii_word(a, i, &classes);
        if (end == i)
            return is_bracket ? all : 0;
        uint8_t c = vs_pii_byte(a, end);
        if (c == ':' || c == '=' || c == '#')
            return 0;                    /* it names what follows */
        all |= classes & ~VS_NEAR(LINK);
        if (!is_bracket && !words && !(classes & VS_NEAR(LINK)))
            return 0;                    /* "12345 account settings" */
        if (!is_bracket && (all & ~VS_NEAR(NUMBER)))
            return vs_pii_byte(a, end) == ' ' && (vs_is_digit(vs_pii_byte(a, end + 1)) || vs_pii_byte(a, end + 1) == '#') ? 0 : all;
        if (!is_bracket && !(classes & VS_NEAR(LINK)))
            return 0;
        i = end;
        if (c == '\'' || c == ' ' || c == '-')
            i++;
    }
    return is_bracket ? all : 0;
}

/* ---- numbers ---- */

/* A separator at i: how many bytes, and which. */
static size_t separator(struct vs_pii_at *a, size_t i, char *ret)
{
    uint8_t c = vs_pii_byte(a, i);
    *ret = (char)c;
    if (c == ' ' || c == '-' || c == '.' || c == '/')
        return 1;
    if (c == 0xc2 && vs_pii_byte(a, i + 1) == 0xa0) {       /* no-break space */
        *ret = ' ';
        return 2;
    }
    if (c == 0xe2 && (vs_pii_byte(a, i + 1) == 0x80)) {
        uint8_t d = vs_pii_byte(a, i + 2);
        *ret = d == 0xaf || d == 0x89 ? ' ' : '-';           /* narrow no-break space, thin space; hyphens and dashes */
        return (d >= 0x90 && d <= 0x93) || d == 0xaf || d == 0x89 ? 3 : 0;
    }
    return 0;
}

bool vs_pii_groups(struct vs_pii_at *a, size_t i, struct vs_pii_groups *ret)
{
    struct vs_pii_groups *g = ret;
    g->n = g->n_digits = 0;
    char mark = 0;
    for (;;) {
        size_t start = i;
        for (uint8_t c; vs_is_digit(c = vs_pii_byte(a, i)); i++) {
            if (g->n_digits == VS_PII_DIGITS)
                return g->n > 0;
            g->digits[g->n_digits++] = (char)c;
        }
        if (i == start)
            return g->n > 0;
        g->length[g->n] = (uint8_t)(i - start);
        g->separator[g->n] = mark;
        g->end[g->n++] = i;
        g->digits[g->n_digits] = 0;
        size_t width = separator(a, i, &mark);
        if (!width || g->n == VS_PII_GROUPS || !vs_is_digit(vs_pii_byte(a, i + width)))
            return true;
        i += width;
    }
}

/* Three digits and no more: what follows the comma of 1,000. */
static bool is_thousand(struct vs_pii_at *a, size_t i)
{
    return vs_is_digit(vs_pii_byte(a, i)) && vs_is_digit(vs_pii_byte(a, i + 1)) && vs_is_digit(vs_pii_byte(a, i + 2))
           && !vs_is_alnum(vs_pii_byte(a, i + 3)) && vs_pii_byte(a, i + 3) != '-' && vs_pii_byte(a, i + 3) != '/';
}

bool vs_pii_ends(struct vs_pii_at *a, size_t i)
{
    uint8_t c = vs_pii_byte(a, i);
    if (vs_is_word(c) || c == '%')
        return false;
    if (c == '-')
        return !vs_is_alnum(vs_pii_byte(a, i + 1));
    if (c == ',')
        return !is_thousand(a, i + 1);
    return (c != '.' && c != '/') || !vs_is_digit(vs_pii_byte(a, i + 1));
}

bool vs_pii_is_between(struct vs_pii_at *a, size_t i)
{
    return vs_pii_before(a, 1) == ' ' && vs_is_alnum(vs_pii_before(a, 2)) && vs_pii_byte(a, i) == ' '
           && vs_is_digit(vs_pii_byte(a, i + 1));
}

bool vs_pii_begins(struct vs_pii_at *a)
{
    uint8_t c = vs_pii_before(a, 1), b = vs_pii_before(a, 2);
    if (c == '$' || vs_is_word(c))
        return false;
    if (c == '-' || c == '.' || c == '/' || c == '+')
        return !vs_is_word(b);
    /* euro, pound */
    return !(c == 0xac && b == 0x82) && !(c == 0xa3 && b == 0xc2) && !(c == ',' && vs_is_digit(b) && is_thousand(a, a->p));
}
