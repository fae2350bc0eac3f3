/* filter/join.c - letters that were spaced, dotted or written without blanks, as words; digits and signs as letters. See views.h.
 *
 * What was written without blanks is cut into words by how common they are: the cheapest way to read it, found by the cost of each
 * place in it from the places before (16 letters back at most).
 */
#include "filter/view_parts.h"

#include "filter/english.h"
#include "filter/letters.h"

#include <string.h>

/* ---- words without blanks ---- */

enum {
    N_WORDS = 4096,                      /* slots; the list has some 2,500 words */
    LONGEST = 16,                        /* letters of a word */
    PIECE = 512,                         /* letters that are cut at once */
    STRANGE = 96,                        /* cost of a letter that belongs to no word */
};

static struct { const char *word; uint8_t n, cost; } slots[N_WORDS];

static uint32_t hash_on(uint32_t h, char c)
{
    return (h ^ (uint8_t)(c | 0x20)) * 0x01000193u;
}

/* Before main, so that no lookup has to ask. 0.1 ms. */
__attribute__((constructor)) static void start(void)
{
    unsigned rank = 0;
    for (const char *w = vs_english_words; *w; rank++) {
        size_t n = strcspn(w, " ");
        uint32_t h = 0x811c9dc5u;
        for (size_t i = 0; i < n; i++)
            h = hash_on(h, w[i]);
        unsigned at = (h ^ h >> 15) % N_WORDS, cost = 30;
        while (slots[at].word)
            at = (at + 1) % N_WORDS;
        for (unsigned r = rank + 8; r > 8; r >>= 1)         /* 7 for each doubling of the rank */
            cost += 7;
        slots[at].word = w;
        slots[at].n = (uint8_t)n;
        slots[at].cost = (uint8_t)cost;
        w += n + (w[n] == ' ');
    }
}

/* 0: it is none. */
static unsigned cost_of(const char *s, unsigned n, uint32_t h)
{
    for (unsigned at = (h ^ h >> 15) % N_WORDS; slots[at].word; at = (at + 1) % N_WORDS) {
        unsigned i = 0;
        while (i < n && slots[at].n == n && slots[at].word[i] == (s[i] | 0x20))
            i++;
        if (i == n && slots[at].n == n)
            return slots[at].cost;
    }
    return 0;
}

/* Marks in cut[] where words of s[0, n) end, n at most PIECE; returns the share of letters that belong to words, in percent. */
static unsigned cut_words(const char *s, unsigned n, bool cut[PIECE + 1])
{
    uint32_t cost[PIECE + 1];
    uint8_t back[PIECE + 1];
    unsigned known = 0;
    cost[0] = 0;
    for (unsigned i = 1; i <= n; i++)
        cost[i] = UINT32_MAX;
    for (unsigned i = 0; i < n; i++) {
        uint32_t h = 0x811c9dc5u;
        if (cost[i] + STRANGE < cost[i + 1]) {
            cost[i + 1] = cost[i] + STRANGE;
            back[i + 1] = 0;             /* goes on with the letter before */
        }
        for (unsigned k = 1; k <= LONGEST && i + k <= n; k++) {
            h = hash_on(h, s[i + k - 1]);
            unsigned c = cost_of(s + i, k, h);
            if (c && cost[i] + c < cost[i + k]) {
                cost[i + k] = cost[i] + c;
                back[i + k] = (uint8_t)k;
            }
        }
    }
    memset(cut, 0, (PIECE + 1) * sizeof *cut);
    for (unsigned i = n; i;) {
        unsigned k = back[i];
        if (k) {
            cut[i] = cut[i - k] = true;
            known += k;
        }
        i -= k ? k : 1;
    }
    return 100 * known / n;
}

/* Letters, each with its place in the source, written as words. */
struct letters {
    char c[PIECE];
    size_t at[PIECE];
    unsigned n;
};

static void write_letters(const struct vs_source *s, struct letters *l, bool sure, struct vs_reading *to)
{
    bool cut[PIECE + 1] = { false };
    unsigned share = l->n >= 6 ? cut_words(l->c, l->n, cut) : 0, n_words = 1;
    for (unsigned i = 1; i < l->n; i++)
        n_words += cut[i];
    bool words = sure ? share >= 60 : share >= 80 && 10 * l->n >= 32 * n_words;      /* a long word is no row of short ones */
    for (unsigned i = 0; i < l->n && (words || sure); i++) {
        if (i && words && cut[i])
            vs_reading_put(to, s, " ", 1, l->at[i], l->at[i], VS_READING_JOINED);
        vs_reading_put(to, s, &l->c[i], 1, l->at[i], l->at[i] + 1, VS_READING_JOINED);
    }
    l->n = 0;
}

/* ---- spaced and dotted ---- */

/* Blanks, and all signs of ASCII. */
static bool is_separator(char c)
{
    return c == '\n' || c == '\t' || (c >= ' ' && c <= '~' && !vs_ascii_letter(c) && !vs_ascii_digit(c));
}

/* The sign at i that may stand between letters, with all its bytes: bullets, arrows, dingbats, emoji. 0: there is none. */
static size_t separator(const struct vs_source *s, size_t i)
{
    const uint8_t *b = (const uint8_t *)s->text + i;
    size_t n = s->n - i;
    if (b[0] < 0x80)
        return is_separator((char)b[0]);
    if (b[0] == 0xc2 && n > 1 && b[1] < 0xc0)
        return 2;
    if (n > 2 && ((b[0] == 0xe2 && b[1] >= 0x80 && b[1] < 0xb0) || (b[0] == 0xe3 && b[1] == 0x80)
                  || (b[0] == 0xef && b[1] == 0xb8)))
        return 3;
    return b[0] == 0xf0 && n > 3 && b[1] == 0x9f ? 4 : 0;
}

static bool word_char(char c)
{
    return vs_ascii_letter(c) || vs_ascii_digit(c);
}

/* Where a run of single letters that begins at i ends, and how many there are. A letter of it has no letter beside it. */
static size_t spaced_run(const struct vs_source *s, size_t i, unsigned *ret_letters)
{
    size_t end = i;
    unsigned letters = 0;
    while (i < s->n && word_char(s->text[i]) && (i + 1 == s->n || !word_char(s->text[i + 1]))) {
        letters++;
        end = ++i;
        size_t gap = i, width;
        unsigned n = 0;
        while (gap < s->n && n < 5 && (width = separator(s, gap))) {
            gap += width;
            n++;
        }
        if (!n || n == 5)
            break;
        i = gap;
    }
    *ret_letters = letters;
    return end;
}

/* Words of the run are apart where the gap is another one than between its first letters. */
static void write_spaced(const struct vs_source *s, size_t from, size_t end, struct vs_reading *to)
{
    struct letters l = { .n = 0 };
    size_t first = 0;
    while (from + 1 + first < end && !word_char(s->text[from + 1 + first]))
        first++;
    for (size_t i = from; i < end;) {
        l.c[l.n] = s->text[i];
        l.at[l.n++] = i;
        size_t gap = ++i;
        while (i < end && !word_char(s->text[i]))
            i++;
        bool apart = i - gap != first || memcmp(s->text + gap, s->text + from + 1, first) != 0;
        if (apart || l.n == PIECE || i >= end) {
            write_letters(s, &l, true, to);
            if (apart && i < end) {
                vs_reading_put(to, s, strpbrk("!?", (char[]){ s->text[gap], 0 }) ? ". " : " ", 1, gap, gap, VS_READING_JOINED);
            }
        }
    }
}

/* A run of letters that is long for a word; capitals within it begin words. */
static void write_long(const struct vs_source *s, size_t from, size_t end, struct vs_reading *to)
{
    struct letters l = { .n = 0 };
    size_t before = to->text.n;
    for (size_t i = from; i < end; i++) {
        l.c[l.n] = s->text[i];
        l.at[l.n++] = i;
        if (l.n == PIECE || i + 1 == end)
            write_letters(s, &l, false, to);
    }
    if (to->text.n == before)            /* no words: as it was */
        vs_reading_copy(to, s, from, end);
}

void vs_reading_joined(const struct vs_source *s, struct vs_reading *to)
{
    bool changed = false;
    size_t plain = 0;                    /* from here to i nothing is written yet */
    for (size_t i = 0; i < s->n;) {
        if (!word_char(s->text[i])) {
            i++;
            continue;
        }
        unsigned letters = 0;
        size_t end = i, spaced = spaced_run(s, i, &letters);
        while (end < s->n && vs_ascii_letter(s->text[end]))
            end++;
        bool is_long = end - i >= 18;
        if (letters >= 5 || is_long) {
            vs_reading_copy(to, s, plain, i);
            if (letters >= 5)
                write_spaced(s, i, end = spaced, to);
            else
                write_long(s, i, end, to);
            plain = end;
            changed = true;
        }
        while (end < s->n && word_char(s->text[end]))
            end++;
        i = end;
        if (plain > i)
            i = plain;
    }
    if (changed)
        vs_reading_copy(to, s, plain, s->n);
    if (to->text.n && !memchr(to->step, VS_READING_JOINED, to->text.n))
        to->text.n = 0;                  /* long words that are just that */
}

/* ---- marks within words ---- */

/* The end of a tag or of marks of Markdown at i; i: there is none. */
static size_t mark_end(const struct vs_source *s, size_t i)
{
    enum { LONGEST_TAG = 80 };
    size_t end = i;
    if (s->text[i] == '<' && i + 2 < s->n && (vs_ascii_letter(s->text[i + 1]) || s->text[i + 1] == '/' || s->text[i + 1] == '!')) {
        while (end < s->n && end < i + LONGEST_TAG && s->text[end] != '>' && s->text[end] != '\n')
            end++;
        return end < s->n && s->text[end] == '>' ? end + 1 : i;
    }
    while (end < s->n && end < i + 4 && (s->text[end] == '*' || s->text[end] == '`' || s->text[end] == '~'))
        end++;
    return end;
}

void vs_reading_unmarked(const struct vs_source *s, struct vs_reading *to)
{
    size_t plain = 0;                    /* from here to i nothing is written yet */
    bool changed = false;
    for (size_t i = 1; i < s->n;) {
        size_t end = i, next;
        if (!vs_may_be_mark(s->text[i]) || !vs_ascii_letter(s->text[i - 1])) {
            i++;
            continue;
        }
        bool is_apart = false;
        while (end < s->n && (next = mark_end(s, end)) > end) {
            end = next;
            if (s->text[i] == '<' && end + 1 < s->n && s->text[end] == ' ' && s->text[end + 1] == '<'
                && mark_end(s, end + 1) > end + 1) {
                is_apart = true;         /* "</b> <b>": between two words */
                end++;
            }
        }
        bool comment = s->text[i] == '<' && s->text[i + 1 < s->n ? i + 1 : i] == '!';      /* may stand between words too */
        if (end > i && end < s->n && (vs_ascii_letter(s->text[end]) || (comment && s->text[end] == ' '))) {
            vs_reading_copy(to, s, plain, i);
            if (is_apart)
                vs_reading_put(to, s, " ", 1, i, i, VS_READING_UNMARKED);
            vs_reading_put(to, s, s->text + end, 1, i, end + 1, VS_READING_UNMARKED);
            plain = ++end;
            changed = true;
        }
        i = end > i ? end : i + 1;
    }
    if (changed)
        vs_reading_copy(to, s, plain, s->n);
}

/* ---- leet ---- */

/* The letter that a digit or sign inside a word stands for; 1 and | may be i or l: '1'. 0: none. */
static char leet_letter(char c)
{
    static const char to[256] = {
        ['0'] = 'o', ['1'] = '1', ['3'] = 'e', ['4'] = 'a', ['5'] = 's', ['6'] = 'g', ['7'] = 't', ['8'] = 'b', ['9'] = 'g',
        ['@'] = 'a', ['$'] = 's', ['!'] = '1', ['|'] = '1', ['+'] = 't',
    };
    return to[(uint8_t)c];
}

static int pair(unsigned a, unsigned b)
{
    return vs_english_pairs[a][b];
}

/* i or l, by the letters beside it. */
static char one_of(char before, char behind)
{
    unsigned a = vs_letter(before), b = vs_letter(behind), i = 'i' - 'a', l = 'l' - 'a';
    return pair(a, i) + pair(i, b) >= pair(a, l) + pair(l, b) ? 'i' : 'l';
}

/* Is s[0, n) a word, or may it be one of another language: then a digit stands within its letters? What is none ("x86", "utf8")
 * hides nothing. */
static bool is_disguise(const char *s, unsigned n, bool within)
{
    uint32_t h = 0x811c9dc5u;
    for (unsigned i = 0; i < n; i++)
        h = hash_on(h, s[i]);
    return n >= 3 && ((within && n >= 5) || cost_of(s, n, h));
}

static char after_leet(const struct vs_source *s, size_t i, size_t end)
{
    char c = i < end ? leet_letter(s->text[i]) : 0;
    return i >= end ? ' ' : c ? (char)(c == '1' ? 'i' : c) : s->text[i];
}

/* A word with digits or signs as letters, text[from, end). */
struct leet {
    size_t from, end;
    char word[LONGEST + 4];
    bool changed[LONGEST + 4], is_disguise;
};

/* The next one from i on; false: there is none. */
static bool next_leet(const struct vs_source *s, size_t i, struct leet *ret)
{
    for (size_t end; i < s->n; i = end) {
        size_t letters = (end = vs_letters_end(s->text, s->n, i)) - i;
        unsigned signs = 0;
        while (end < s->n && (vs_ascii_letter(s->text[end]) || leet_letter(s->text[end]))) {
            letters += vs_ascii_letter(s->text[end]);
            signs += !vs_ascii_letter(s->text[end]);
            end++;
        }
        while (end > i && signs && (s->text[end - 1] == '!' || s->text[end - 1] == '|')) {
            end--;                       /* "stop!" */
            signs--;
        }
        end += end == i;
        if (!signs || !letters || end - i > LONGEST + 4)
            continue;
        char before = ' ';
        bool within = false;
        for (size_t k = i; k < end; k++) {
            char c = leet_letter(s->text[k]);
            within |= c && k > i && k + 1 < end && vs_ascii_letter(s->text[k - 1]) && vs_ascii_letter(s->text[k + 1]);
            c = c == '1' ? one_of(before, after_leet(s, k + 1, end)) : c;
            ret->changed[k - i] = c != 0;
            before = ret->word[k - i] = c ? c : s->text[k];
        }
        ret->from = i;
        ret->end = end;
        ret->is_disguise = is_disguise(ret->word, (unsigned)(end - i), within);
        return true;
    }
    return false;
}

void vs_reading_leet(const struct vs_source *s, struct vs_reading *to)
{
    size_t plain = 0;                    /* from here on nothing is written yet */
    struct leet l = { .end = 0 };
    bool any = false;
    while (!any && next_leet(s, l.end, &l))
        any = l.is_disguise;
    for (l.end = 0; any && next_leet(s, l.end, &l); plain = l.end) {
        vs_reading_copy(to, s, plain, l.from);
        for (size_t k = l.from; k < l.end; k++)
            vs_reading_put(to, s, &l.word[k - l.from], 1, k, k + 1, l.changed[k - l.from] ? VS_READING_LEET : VS_READING_PLAIN);
    }
    if (any)
        vs_reading_copy(to, s, plain, s->n);
}
