/* filter/rulefile.c - see rulefile.h: reads the lines, replaces names, and writes patterns that Vectorscan takes. */
#include "filter/rulefile.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/utf8.h"
#include "unicode/unicode.h"

#include <stdlib.h>
#include <string.h>

struct vs_rule_let { char *name, *pattern; };

const char *const vs_rule_class_names[VS_N_RULE_CLASSES] = {
#define VS_RULE_CLASS_NAME(name, text) text,
    VS_RULE_CLASS_MAP(VS_RULE_CLASS_NAME)
#undef VS_RULE_CLASS_NAME
};

/* A blank within a part, as Vectorscan gets it; and an ending of any letters, as `spell` writes it. */
#define BLANK "[\\s\"'*_,:()-]+"
enum { ENDING = 1 };

struct place { const char *file; unsigned line; struct vs_error *err; };

static int wrong(const struct place *p, const char *what, const char *about, size_t n)
{
    return vs_error_set(p->err, VS_E_MALFORMED, "%s:%u: %s: \"%.*s\"", p->file, p->line, what, (int)(n < 80 ? n : 80), about);
}

/* Room for one more of `size` bytes at the end of *array, zeroed; NULL: no memory. */
static void *one_more(void *array, size_t *n, size_t size)
{
    void **a = array;
    char *grown = realloc(*a, (*n + 1) * size);
    if (!grown)
        return NULL;
    *a = grown;
    return memset(grown + (*n)++ * size, 0, size);
}

/* ---- patterns ---- */

static const struct vs_rule_let *let_named(const struct vs_rulefile *f, const char *name, size_t n)
{
    for (size_t i = 0; i < f->n_lets; i++)
        if (strlen(f->let[i].name) == n && memcmp(f->let[i].name, name, n) == 0)
            return &f->let[i];
    return NULL;
}

/* One character that is not ASCII, folded; several bytes are a group, so that a `?` behind them means all. */
static size_t pattern_char(const char *s, size_t n, struct vs_buf *out)
{
    uint32_t c, to[VS_FOLD_MOST];
    size_t length = vs_utf8_decode(s, n, &c);
    if (!length)
        return 0;
    int count = vs_unicode_fold(c, to);
    bool group = count && (count > 1 || to[0] >= 0x80);
    vs_buf_str(out, group ? "(?:" : "");
    for (int i = 0; i < count; i++)
        vs_buf_utf8(out, to[i]);
    vs_buf_str(out, group ? ")" : "");
    return length;
}

/* Where a class [...] that begins at s ends; 0: it does not, or holds what is not ASCII. */
static size_t class_length(const char *s, size_t n)
{
    for (size_t i = 1; i < n && (unsigned char)s[i] < 0x80; i++) {
        if (s[i] == '\\')
            i++;
        else if (s[i] == ']' && i > 1 && !(i == 2 && s[1] == '^'))
            return i + 1;
    }
    return 0;
}

/* How far it is to the next `end` that no group holds: a blank behind a part, a | behind an alternative. */
static size_t length_before(char end, const char *s, size_t n)
{
    unsigned depth = 0;
    for (size_t i = 0; i < n; i++) {
        size_t class = s[i] == '[' ? class_length(s + i, n - i) : 0;
        if (s[i] == '\\')
            i++;
        else if (class)
            i += class - 1;
        else if (s[i] == '(')
            depth++;
        else if (s[i] == ')' && depth)
            depth--;
        else if (s[i] == end && !depth)
            return i;
    }
    return n;
}

/* A part, or a piece of one, as Vectorscan gets it, into out. */
static int part_read(const struct vs_rulefile *f, const struct place *p, const char *s, size_t n, struct vs_buf *out)
{
    for (size_t i = 0; i < n;) {
        size_t left = n - i, took = 1;
        const char *close = s[i] == '{' ? memchr(s + i, '}', left) : NULL;
        if (s[i] == ' ') {
            vs_buf_str(out, BLANK);
        } else if (s[i] == '{' && left > 1 && s[i + 1] >= 'a' && s[i + 1] <= 'z' && close) {
            const struct vs_rule_let *let = let_named(f, s + i + 1, (size_t)(close - s) - i - 1);
            took = (size_t)(close - s) - i + 1;
            if (!let)
                return wrong(p, "no such name", s + i, took);
            vs_buf_printf(out, "(?:%s)", let->pattern);
        } else if (s[i] == '\\' && left > 1) {
            took = 2;
            vs_buf_add(out, s + i, took);
        } else if (s[i] == '[') {
            if (!(took = class_length(s + i, left)))
                return wrong(p, "a class in [] that does not end, or with more than ASCII", s + i, left);
            vs_buf_add(out, s + i, took);
        } else if ((unsigned char)s[i] >= 0x80) {
            if (!(took = pattern_char(s + i, left, out)))
                return wrong(p, "this is not UTF-8", s, n);
        } else {
            vs_buf_char(out, s[i]);
        }
        i += took;
        if (out->n >= VS_RULE_PATTERN)
            return wrong(p, "this is too long, its names replaced", s, n);
    }
    return out->status;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Does it begin, does it end with a letter or digit? Groups and counts around it are looked through. */
static bool begins_word(const char *s, size_t n)
{
    size_t i = 0;
    while (n - i > 3 && memcmp(s + i, "(?:", 3) == 0)
        i += 3;
    return i < n && (is_word(s[i]) || (s[i] == '\\' && n - i > 1 && (s[i + 1] == 'w' || s[i + 1] == 'd')));
}

static bool ends_word(const char *s, size_t n)
{
    while (n && strchr(")?*+", s[n - 1]) && !(n > 1 && s[n - 2] == '\\'))
        n--;
    return n && is_word(s[n - 1]) && !(n > 1 && s[n - 2] == '\\' && s[n - 1] != 'w' && s[n - 1] != 'd');
}

/* The place of this text in a list of each once, added when it is new; takes the text. VS_RULES_MOST: no room or memory. */
static size_t place_of(char ***list, size_t *n, char *text)
{
    size_t i = 0;
    while (i < *n && strcmp((*list)[i], text) != 0)
        i++;
    if (i < *n) {
        free(text);
        return i;
    }
    char **place = i < VS_RULES_MOST ? one_more(list, n, sizeof *place) : NULL;
    if (!place) {
        free(text);
        return VS_RULES_MOST;
    }
    *place = text;
    return i;
}

/* Is all of it one group, with nothing behind it? */
static bool is_group(const char *s, size_t n)
{
    unsigned depth = 0;
    if (n < 4 || memcmp(s, "(?:", 3) != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t class = s[i] == '[' ? class_length(s + i, n - i) : 0;
        if (s[i] == '\\')
            i++;
        else if (class)
            i += class - 1;
        else if (s[i] == '(')
            depth++;
        else if (s[i] == ')' && --depth == 0)
            return i + 1 == n;
    }
    return false;
}

/* ---- words: what a part may be, one by one ---- */

enum { MOST_SPELT = 256 };
struct spelt { struct vs_buf text[MOST_SPELT]; unsigned n; };

static void spelt_clear(struct spelt *w)
{
    for (unsigned i = 0; i < w->n; i++)
        vs_buf_clear(&w->text[i]);
    w->n = 0;
}

static bool spell(const char *s, size_t n, struct spelt *ret);

/* [abc], signs like [<(], or blanks like [ _-]. */
static bool spell_class(const char *s, size_t length, struct spelt *ret)
{
    bool blanks = false;
    if (length < 3 || length > 24 || s[1] == '^')
        return false;
    for (size_t i = 1; i + 1 < length; i++)
        blanks = blanks || s[i] == ' ';
    if (blanks) {
        vs_buf_char(&ret->text[ret->n++], ' ');
        return strspn(s + 1, " _'-:,") == length - 2;
    }
    for (size_t i = 1; i + 1 < length; i++) {
        if (s[i] == '\\' && is_word(s[++i]))
            return false;               /* \w, \s, \n: many */
        if (s[i] == '-' && i > 1 && i + 2 < length)
            return false;               /* a range */
        vs_buf_char(&ret->text[ret->n++], s[i]);
    }
    return true;
}

/* One letter, escape, class or group at s: all that it may be; returns its length, 0: it has no end to what it may be. Blanks, and
 * what counts as one, become one blank. */
static size_t spell_element(const char *s, size_t n, struct spelt *ret)
{
    static const char blank[] = BLANK;
    size_t length = 1;
    char c = s[0];
    if (n >= sizeof blank - 1 && memcmp(s, blank, sizeof blank - 1) == 0) {
        length = sizeof blank - 1;
        c = ' ';
    } else if (c == '[') {
        length = class_length(s, n);
        return spell_class(s, length, ret) ? length : 0;
    } else if (c == '(') {
        for (length = 3; length <= n && !is_group(s, length);)
            length++;
        return length <= n && spell(s + 3, length - 4, ret) ? length : 0;
    } else if (n > 1 && memcmp(s, "\\s", 2) == 0) {
        length = 2;
        c = ' ';
    } else if (c == '\\' && n > 1 && !is_word(s[1])) {
        length = 2;
        c = s[1];
    } else if (c == '\\') {
        length = 3;
        c = ENDING;
        if (n < 3 || s[1] != 'w' || (s[2] != '*' && s[2] != '+'))
            return 0;
    } else if (c == '\'' || c == '-' || c == '_') {
        c = ' ';
    } else if (strchr(".*+?{}^$|)", c)) {
        return 0;
    }
    vs_buf_char(&ret->text[ret->n++], (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c));
    return length;
}

/* Each of `so_far` with each of `next` behind it. */
static bool spell_product(struct spelt *so_far, const struct spelt *next)
{
    struct spelt all = { 0 };
    if (so_far->n * next->n > MOST_SPELT)
        return false;
    for (unsigned i = 0; i < so_far->n; i++) {
        for (unsigned k = 0; k < next->n; k++, all.n++) {
            vs_buf_add(&all.text[all.n], so_far->text[i].data, so_far->text[i].n);
            vs_buf_add(&all.text[all.n], next->text[k].data, next->text[k].n);
        }
    }
    spelt_clear(so_far);
    *so_far = all;
    return true;
}

/* Appends all that s[0, n) may be; false: too many, or without end (then *ret holds some). */
static bool spell(const char *s, size_t n, struct spelt *ret)
{
    bool good = true;
    for (size_t from = 0; from <= n && good;) {
        size_t length = length_before('|', s + from, n - from);
        struct spelt whole = { .n = 1 };
        for (size_t i = from; i < from + length && good;) {
            struct spelt next = { 0 };
            size_t took = spell_element(s + i, from + length - i, &next);
            i += took;
            if (i < from + length && s[i] == '?') {
                good = next.n < MOST_SPELT;
                next.n += good;         /* or nothing */
                i++;
            }
            good = good && took && spell_product(&whole, &next);
            spelt_clear(&next);
        }
        good = good && ret->n + whole.n <= MOST_SPELT;
        for (unsigned i = 0; i < whole.n && good; i++) {
            ret->text[ret->n++] = whole.text[i];
            whole.text[i] = (struct vs_buf){ 0 };
        }
        spelt_clear(&whole);
        from += length + 1;
    }
    return good;
}

static int add_word_number(struct vs_rule_part *part, size_t number)
{
    uint16_t *grown = number < VS_RULES_MOST ? realloc(part->word, (part->n + 1) * sizeof *grown) : NULL;
    if (!grown)
        return VS_E_NOMEM;
    part->word = grown;
    part->word[part->n++] = (uint16_t)number;
    return VS_OK;
}

/* The number of a word of this kind, added when it is new. VS_RULES_MOST: no room or memory. */
static size_t word_number(struct vs_rulefile *f, const char *s, size_t n, enum vs_rule_word_kind kind)
{
    for (size_t i = 0; i < f->n_words; i++)
        if (f->word[i].kind == kind && strlen(f->word[i].text) == n && memcmp(f->word[i].text, s, n) == 0)
            return i;
    struct vs_rule_word *word = f->n_words < VS_RULES_MOST ? one_more(&f->word, &f->n_words, sizeof *word) : NULL;
    if (!word)
        return VS_RULES_MOST;
    *word = (struct vs_rule_word){ strndup(s, n), kind };
    return word->text ? f->n_words - 1 : VS_RULES_MOST;
}

/* A word that was spelt: whole, or with an ending. */
static size_t plain_number(struct vs_rulefile *f, const char *s, size_t n)
{
    bool ending = n && s[n - 1] == ENDING;
    return word_number(f, s, n - ending, ending ? VS_WORD_PREFIX : VS_WORD_WHOLE);
}

/* A part that is this one word. */
static size_t single_part(struct vs_rulefile *f, const char *s, size_t n)
{
    char *text = strndup(s, n);
    size_t i = text ? place_of(&f->part_text, &f->n_part_texts, text) : VS_RULES_MOST;
    if (i < f->n_parts || i == VS_RULES_MOST)
        return i;
    struct vs_rule_part part = { 0 };
    if (!one_more(&f->part, &f->n_parts, sizeof part) || add_word_number(&part, plain_number(f, s, n)) != VS_OK)
        return VS_RULES_MOST;
    f->part[i] = part;
    return i;
}

/* Words with blanks between: a pattern that is found as a word. Its number. */
static size_t phrase_number(struct vs_rulefile *f, const char *s, size_t n)
{
    struct vs_rule_pattern phrase = { .rule = VS_RULE_NONE };
    size_t known = f->n_words, number = word_number(f, s, n, VS_WORD_PHRASE);
    if (number < known || number == VS_RULES_MOST)
        return number;
    phrase.word = (uint16_t)number;
    for (size_t i = 0; i < n;) {
        const char *blank = memchr(s + i, ' ', n - i);
        size_t length = blank ? (size_t)(blank - s) - i : n - i;
        size_t part = length && phrase.n < VS_RULE_PARTS ? single_part(f, s + i, length) : length ? VS_RULES_MOST : 0;
        if (part == VS_RULES_MOST)
            return VS_RULES_MOST;
        if (length)
            phrase.part[phrase.n++] = (uint16_t)part;
        i += length + 1;
    }
    struct vs_rule_pattern *place = f->n_patterns < VS_RULES_MOST ? one_more(&f->pattern, &f->n_patterns, sizeof *place) : NULL;
    if (!place || !phrase.n)
        return VS_RULES_MOST;
    *place = phrase;
    return number;
}

/* Chinese and Japanese do not separate words, Thai neither: these are found anywhere. */
static bool separates_words(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t length = vs_utf8_decode(s + i, n - i, &c);
        if (!length || (c >= 0xe00 && c < 0xe80) || (c >= 0x2e80 && c < 0xac00) || c >= 0x20000)
            return false;
        i += length;
    }
    return true;
}

/* Can it be looked up: words, with endings at ends alone, or one sign? */
static bool is_plain(const char *s, size_t n)
{
    bool good = n > 0 && separates_words(s, n);
    if (n == 1 && s[0] != ENDING && s[0] != ' ')
        return true;
    for (size_t i = 0; i < n && good; i++)
        good = (is_word(s[i]) || s[i] == ' ' || s[i] == ENDING || (unsigned char)s[i] >= 0x80)
            && (s[i] != ENDING || (i && s[i - 1] != ' ' && (i + 1 == n || s[i + 1] == ' ')));
    return good;
}

static int add_regex(struct vs_rulefile *f, struct vs_rule_part *part, const char *s, size_t n)
{
    struct vs_buf text = { 0 };
    vs_buf_printf(&text, "%s(?:%.*s)%s", begins_word(s, n) ? "\\b" : "", (int)n, s, ends_word(s, n) ? "\\b" : "");
    int r = text.status == VS_OK ? add_word_number(part, word_number(f, text.data, text.n, VS_WORD_REGEX)) : VS_E_NOMEM;
    vs_buf_clear(&text);
    return r;
}

/* Something that was spelt and can't be looked up: as an expression, letter by letter. */
static int add_spelt_regex(struct vs_rulefile *f, struct vs_rule_part *part, const char *s, size_t n)
{
    struct vs_buf text = { 0 };
    for (size_t i = 0; i < n; i++) {
        if (s[i] == ' ')
            vs_buf_str(&text, BLANK);
        else if (s[i] == ENDING)
            vs_buf_str(&text, "\\w*");
        else
            vs_buf_printf(&text, "%s%c", is_word(s[i]) || (unsigned char)s[i] >= 0x80 ? "" : "\\", s[i]);
    }
    int r = text.status == VS_OK && text.n ? add_regex(f, part, text.data, text.n) : text.status;
    vs_buf_clear(&text);
    return r;
}

static int add_spelt(struct vs_rulefile *f, struct vs_rule_part *part, const char *s, size_t n)
{
    while (n && s[0] == ' ')
        s++, n--;
    while (n && s[n - 1] == ' ')
        n--;
    if (!n)
        return VS_OK;
    if (!is_plain(s, n))
        return add_spelt_regex(f, part, s, n);
    return add_word_number(part, memchr(s, ' ', n) ? phrase_number(f, s, n) : plain_number(f, s, n));
}

/* Adds each alternative of s[0, n) as words of their own, letter by letter where their number has an end: such lists are what an
 * automaton is best at, and it is small. */
static int add_words(struct vs_rulefile *f, struct vs_rule_part *part, const char *s, size_t n)
{
    if (is_group(s, n))
        return add_words(f, part, s + 3, n - 4);
    for (size_t i = 0; i <= n;) {
        size_t length = length_before('|', s + i, n - i);
        struct spelt words = { 0 };
        int r = VS_OK;
        if (length < n && is_group(s + i, length))
            r = add_words(f, part, s + i, length);
        else if (!spell(s + i, length, &words))
            r = length ? add_regex(f, part, s + i, length) : VS_OK;
        else
            for (unsigned k = 0; k < words.n && r == VS_OK; k++)
                r = add_spelt(f, part, words.text[k].data, words.text[k].n);
        spelt_clear(&words);
        if (r != VS_OK)
            return r;
        i += length + 1;
    }
    return VS_OK;
}

/* The number of this part among all of the file. */
static int part_number(struct vs_rulefile *f, const struct place *p, const char *s, size_t n, uint16_t *ret)
{
    struct vs_buf text = { 0 };
    int r = part_read(f, p, s, n, &text);
    if (r != VS_OK || !text.n) {
        vs_buf_clear(&text);
        return r != VS_OK ? r : wrong(p, "a part that is empty", s, n);
    }
    size_t i = place_of(&f->part_text, &f->n_part_texts, text.data);
    if (i == VS_RULES_MOST)
        return VS_E_NOMEM;
    *ret = (uint16_t)i;
    if (i < f->n_parts)
        return VS_OK;
    struct vs_rule_part part = { 0 };   /* phrases add parts of their own */
    if (!one_more(&f->part, &f->n_parts, sizeof part))
        return VS_E_NOMEM;
    char *copy = strdup(f->part_text[i]);
    r = copy ? add_words(f, &part, copy, strlen(copy)) : VS_E_NOMEM;
    free(copy);
    f->part[i] = part;
    return r;
}

/* ~, .. or ...; VS_RULE_ADJACENT: it is a part. */
static enum vs_rule_gap gap_of(const char *s, size_t n)
{
    return n == 1 && s[0] == '~' ? VS_RULE_SHORT : n == 2 && memcmp(s, "..", 2) == 0 ? VS_RULE_LONG
        : n == 3 && memcmp(s, "...", 3) == 0 ? VS_RULE_WIDE : VS_RULE_ADJACENT;
}

static int pattern_read(struct vs_rulefile *f, const struct place *p, const char *s, size_t n, struct vs_rule_pattern *ret)
{
    enum vs_rule_gap gap = VS_RULE_ADJACENT;
    for (size_t i = 0; i < n;) {
        size_t length = length_before(' ', s + i, n - i);
        enum vs_rule_gap next = gap_of(s + i, length);
        if (next != VS_RULE_ADJACENT) {
            if (gap != VS_RULE_ADJACENT || !ret->n)
                return wrong(p, "between two parts stands one of ~ .. ...", s, n);
            gap = next;
        } else if (length) {
            if (ret->n == VS_RULE_PARTS)
                return wrong(p, "a pattern has at most 8 parts", s, n);
            int r = part_number(f, p, s + i, length, &ret->part[ret->n]);
            if (r != VS_OK)
                return r;
            ret->gap[ret->n++] = (uint8_t)gap;
            gap = VS_RULE_ADJACENT;
        }
        i += length + 1;
    }
    return gap != VS_RULE_ADJACENT || !ret->n ? wrong(p, "a pattern ends with a part", s, n) : VS_OK;
}

/* ---- examples ---- */

static int example_read(const struct place *p, const char *s, size_t n, struct vs_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '\\') {
            vs_buf_char(out, s[i]);
            continue;
        }
        char c = ++i < n ? s[i] : 0;
        if (c == 'n' || c == 't' || c == '\\') {
            vs_buf_char(out, (char)(c == 'n' ? '\n' : c == 't' ? '\t' : '\\'));
            continue;
        }
        uint32_t value = 0;
        size_t k = i + 2;
        for (int digit; k < n && k < i + 8 && (digit = vs_hex_digit(s[k])) >= 0; k++)
            value = value << 4 | (uint32_t)digit;
        if (c != 'u' || i + 1 >= n || s[i + 1] != '{' || k == i + 2 || k >= n || s[k] != '}' || value > 0x10ffff)
            return wrong(p, "after \\ comes n, t, \\ or u{HEX}", s, n);
        vs_buf_utf8(out, value);
        i = k;
    }
    return out->status;
}

/* ---- lines ---- */

/* The next word of the line; both move on. */
static size_t word(const char **s, const char *end)
{
    const char *from = *s;
    while (*s < end && **s != ' ')
        ++*s;
    size_t n = (size_t)(*s - from);
    while (*s < end && **s == ' ')
        ++*s;
    return n;
}

static bool is_name(const char *s, size_t n)
{
    bool good = n > 0 && n < VS_RULE_ID && s[0] >= 'a' && s[0] <= 'z';
    for (size_t i = 0; i < n && good; i++)
        good = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-';
    return good;
}

static int line_let(struct vs_rulefile *f, const struct place *p, const char *s, const char *end)
{
    const char *name = s;
    size_t n = word(&s, end);
    if (!is_name(name, n) || let_named(f, name, n))
        return wrong(p, "a name is of a-z, 0-9 and -, and is given once", name, n);
    if (end - s < 3 || s[0] != '=' || s[1] != ' ')
        return wrong(p, "let NAME = PATTERN", name, (size_t)(end - name));
    struct vs_buf pattern = { 0 };
    int r = part_read(f, p, s + 2, (size_t)(end - s) - 2, &pattern);
    struct vs_rule_let *let = r == VS_OK ? one_more(&f->let, &f->n_lets, sizeof *let) : NULL;
    if (!let) {
        vs_buf_clear(&pattern);
        return r == VS_OK ? VS_E_NOMEM : r;
    }
    let->pattern = pattern.data;
    let->name = strndup(name, n);
    return let->name ? VS_OK : VS_E_NOMEM;
}

/* "800", or "350/700". */
static bool weights(const char *s, size_t n, unsigned ret[2])
{
    unsigned k = 0, digits = 0;
    ret[0] = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '/' && k == 0 && digits) {
            ret[++k] = digits = 0;
            continue;
        }
        if (s[i] < '0' || s[i] > '9' || ++digits > 4)
            return false;
        ret[k] = 10 * ret[k] + (unsigned)(s[i] - '0');
    }
    if (k == 0)
        ret[1] = ret[0];
    return digits && ret[0] <= 1000 && ret[1] <= 1000;
}

static int line_rule(struct vs_rulefile *f, const struct place *p, const char *s, const char *end)
{
    const char *id = s;
    size_t n_id = word(&s, end);
    const char *class = s;
    size_t n_class = word(&s, end);
    const char *number = s;
    size_t n_number = word(&s, end);
    unsigned weight[2], c = 0;
    while (c < VS_N_RULE_CLASSES && (strlen(vs_rule_class_names[c]) != n_class || memcmp(vs_rule_class_names[c], class, n_class)))
        c++;
    if (!is_name(id, n_id))
        return wrong(p, "an id is of a-z, 0-9 and -", id, n_id);
    for (size_t i = 0; i < f->n; i++)
        if (strlen(f->rule[i].id) == n_id && memcmp(f->rule[i].id, id, n_id) == 0)
            return wrong(p, "there is a rule with this id", id, n_id);
    if (c == VS_N_RULE_CLASSES)
        return wrong(p, "no such class", class, n_class);
    if (!weights(number, n_number, weight) || s != end)
        return wrong(p, "rule ID CLASS WEIGHT, a weight from 0 to 1000, or two with / between them", id, (size_t)(end - id));
    struct vs_rule_text *rule = one_more(&f->rule, &f->n, sizeof *rule);
    if (!rule)
        return VS_E_NOMEM;
    memcpy(rule->id, id, n_id);
    rule->class = (enum vs_rule_class)c;
    memcpy(rule->weight, weight, sizeof weight);
    return VS_OK;
}

static int line_match(struct vs_rulefile *f, const struct place *p, const char *s, const char *end)
{
    struct vs_rule_pattern pattern = { .rule = (uint16_t)(f->n - 1) };
    int r = pattern_read(f, p, s, (size_t)(end - s), &pattern);
    struct vs_rule_pattern *place = r == VS_OK && f->n_patterns < VS_RULES_MOST
        ? one_more(&f->pattern, &f->n_patterns, sizeof *place) : NULL;
    if (!place)
        return r != VS_OK ? r : VS_E_NOMEM;
    *place = pattern;
    f->rule[f->n - 1].n_patterns++;
    return VS_OK;
}

static int line_example(struct vs_rulefile *f, const struct place *p, const char *s, const char *end, bool found)
{
    struct vs_rule_text *rule = &f->rule[f->n - 1];
    struct vs_buf text = { 0 };
    int r = example_read(p, s, (size_t)(end - s), &text);
    struct vs_rule_example *example = r == VS_OK && text.n ? one_more(&rule->example, &rule->n_examples, sizeof *example) : NULL;
    if (example)
        *example = (struct vs_rule_example){ text.data, text.n, found };
    else
        vs_buf_clear(&text);
    return example ? VS_OK : r != VS_OK ? r : s == end ? wrong(p, "an example that is empty", s, 0) : VS_E_NOMEM;
}

static int line_read(struct vs_rulefile *f, const struct place *p, const char *s, const char *end)
{
    while (s < end && *s == ' ')
        s++;
    while (end > s && (end[-1] == '\r' || end[-1] == ' '))
        end--;
    if (s == end || *s == '#')
        return VS_OK;
    const char *what = s;
    size_t n = word(&s, end);
    if (n == 3 && memcmp(what, "let", n) == 0)
        return line_let(f, p, s, end);
    if (n == 4 && memcmp(what, "rule", n) == 0)
        return line_rule(f, p, s, end);
    if (!f->n)
        return wrong(p, "before the first rule there may be `let` alone", what, n);
    if (n == 5 && memcmp(what, "match", n) == 0)
        return line_match(f, p, s, end);
    if (n == 3 && (memcmp(what, "for", n) == 0 || memcmp(what, "not", n) == 0))
        return line_example(f, p, s, end, what[0] == 'f');
    return wrong(p, "a line begins with let, rule, match, for, not or #", what, n);
}

int vs_rulefile_add(struct vs_rulefile *f, const char *name, const char *text, size_t n, struct vs_error *err)
{
    struct place p = { name, 0, err };
    for (size_t i = 0; i < n;) {
        const char *end = memchr(text + i, '\n', n - i);
        end = end ? end : text + n;
        p.line++;
        int r = line_read(f, &p, text + i, end);
        if (r == VS_E_NOMEM || r == VS_E_LIMIT)
            return vs_error_set(err, r, "%s:%u: %s", name, p.line, vs_status_text(r));
        if (r != VS_OK)
            return r;
        i = (size_t)(end - text) + 1;
    }
    for (size_t i = 0; i < f->n; i++)
        if (!f->rule[i].n_patterns)
            return vs_error_set(err, VS_E_MALFORMED, "%s: the rule %s has no pattern", name, f->rule[i].id);
    return VS_OK;
}

void vs_rulefile_clear(struct vs_rulefile *f)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t k = 0; k < f->rule[i].n_examples; k++)
            free(f->rule[i].example[k].text);
        free(f->rule[i].example);
    }
    for (size_t i = 0; i < f->n_parts; i++)
        free(f->part[i].word);
    for (size_t i = 0; i < f->n_part_texts; i++)
        free(f->part_text[i]);
    for (size_t i = 0; i < f->n_words; i++)
        free(f->word[i].text);
    for (size_t i = 0; i < f->n_lets; i++) {
        free(f->let[i].name);
        free(f->let[i].pattern);
    }
    free(f->rule);
    free(f->pattern);
    free(f->part);
    free(f->part_text);
    free(f->word);
    free(f->let);
    *f = (struct vs_rulefile){ 0 };
}
