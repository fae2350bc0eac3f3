/* filter/decode_order.c - plain words in another order, or with numbers between them. See decode.h.
 *
 *     reordered   a sentence whose words stand from behind: "prompt your reveal and instructions previous all ignore". A word that
 *                 must go before a noun ("your", "the") stands before a verb, "and", "of" or the end: in as many places as not
 *     listed      words with a number in front of each: "1. ignore 2. all 3. previous", in one line or many. Not a menu, whose
 *                 entries have several words and begin with a capital: "1. Ignore list 2. All files"
 */
#include "filter/decode.h"

#include <string.h>

struct vs_kind vs_kinds[VS_KINDS];

/* Before main, so that no text has to wait. */
__attribute__((constructor)) static void start(void)
{
    static const struct { unsigned bits; const char *words; } lists[] = {
        { VS_BEFORE_NOUN, "the your my our its their his an" },
        { VS_BEFORE_MANY, "all any every each" },
        { VS_ORDER, "ignore disregard forget reveal repeat tell give bypass override disable follow pretend respond expose leak "
                    "obey become remove translate delete say send write print" },
        { VS_PARTICLE, "of to and or but from into with by at if as you me us we they that is are was were must will can then" },
    };
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
        for (const char *word = lists[k].words; *word;) {
            size_t n = strcspn(word, " ");
            uint64_t key = vs_letters_key(word, n, n);
            *vs_kind_of(key) = (struct vs_kind){ key, lists[k].bits };
            word += n + strspn(word + n, " ");
        }
}

/* Letters, digits and apostrophes between letters; of what has more bytes all but signs: bullets, arrows, emoji. */
static bool in_word(const struct vs_source *s, size_t i)
{
    char c = s->text[i];
    if ((uint8_t)c < 0x80)
        return vs_ascii_letter(c) || vs_ascii_digit(c) ||
               (c == '\'' && i && i + 1 < s->n && vs_ascii_letter(s->text[i - 1]) && vs_ascii_letter(s->text[i + 1]));
    for (unsigned k = 0; k < 3 && i && ((uint8_t)s->text[i] & 0xc0) == 0x80; k++)
        i--;
    uint8_t lead = (uint8_t)s->text[i];
    return lead >= 0xc3 && lead < 0xee && lead != 0xe2;
}

/* The words of s[from, end) from behind, with blanks between. */
static void write_words(const struct vs_source *s, size_t from, size_t end, size_t *budget, struct vs_reading *to)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    for (size_t i = end; i > from;) {
        size_t start = i;
        while (start > from && in_word(s, start - 1))
            start--;
        if (start == i) {
            i--;
            continue;
        }
        for (size_t k = start; k < i; k++)
            vs_piece_add(&p, s->text[k], k, k + 1, VS_READING_REORDERED);
        if (!vs_piece_add(&p, ' ', i, i, VS_READING_REORDERED))
            break;
        i = start;
    }
    vs_piece_end(&p);
}

enum { LEAST = 4 };                      /* words of a sentence, and of a line that is one */

/* Whether a sentence ends here; of_line: how many words its last line has. */
static bool ends_sentence(char c, unsigned of_line)
{
    return c == '\n' ? of_line >= LEAST : c && strchr(".!?:", c);
}

/* The sentence that begins at `from`, where it reads better from behind: its words. Where it ends. */
static size_t read_sentence(const struct vs_source *s, size_t from, size_t *budget, struct vs_reading *to)
{
    unsigned words = 0, of_line = 0, astray = 0, apt = 0, before = 0;
    size_t i = from;
    while (i < s->n && !ends_sentence(s->text[i], of_line)) {
        size_t start = i;
        while (i < s->n && in_word(s, i))
            i++;
        if (i == start) {
            of_line = s->text[i++] == '\n' ? 0 : of_line;
            continue;
        }
        unsigned kind = vs_word_kind(s->text + start, i - start, s->n - start);
        astray += vs_is_astray(before, kind);
        apt += before & VS_BEFORE_NOUN && !vs_is_astray(before, kind);
        before = kind;
        words++, of_line++;
    }
    astray += before & VS_BEFORE_NOUN ? 1 : 0;
    if (words >= LEAST && astray && astray >= apt)
        write_words(s, from, i, budget, to);
    return i;
}

/* Where the sentence that i is in begins. */
static size_t sentence_start(const struct vs_source *s, size_t i, size_t limit)
{
    unsigned of_line = 0;
    for (; i > limit; i--) {
        bool is_word = in_word(s, i - 1);
        of_line += is_word && (i - 1 == limit || !in_word(s, i - 2));
        if (is_word)
            continue;
        if (ends_sentence(s->text[i - 1], of_line))
            return i;
        of_line = s->text[i - 1] == '\n' ? 0 : of_line;
    }
    return i;
}

void vs_decode_reordered(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    size_t end = 0;
    for (unsigned k = 0; k < v->astray && k < VS_ASTRAY; k++)
        if (v->astray_at[k] >= end)
            for (end = read_sentence(s, sentence_start(s, v->astray_at[k], end), budget, to); end < v->astray_at[k];)
                end = read_sentence(s, end + 1, budget, to);         /* it was in a later one: a line before was long enough */
    while (v->astray > VS_ASTRAY && end < s->n)      /* all that follow */
        end = read_sentence(s, end + 1, budget, to);
}

/* ---- numbers between words ---- */

/* What is between two words is a number, with signs and line ends. */
static bool is_number(const struct vs_source *s, size_t from, size_t end)
{
    enum { LONGEST = 12 };
    unsigned digits = 0;
    for (size_t i = from; i < end && end - from <= LONGEST; i++)
        digits += vs_ascii_digit(s->text[i]);
    return digits && digits < 4;
}

static void write_list(const struct vs_source *s, size_t from, size_t end, size_t *budget, struct vs_reading *to)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    for (size_t i = from; i < end;) {
        size_t start = i;
        while (i < end && in_word(s, i) && !vs_ascii_digit(s->text[i]))
            i++;
        for (size_t k = start; k < i; k++)
            vs_piece_add(&p, s->text[k], k, k + 1, VS_READING_LISTED);
        if (i > start && !vs_piece_add(&p, ' ', i, i, VS_READING_LISTED))
            break;
        i += i == start;
    }
    vs_piece_end(&p);
}

void vs_decode_listed(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    enum { ITEMS = 4, WORDS = 3 };       /* of a list at least, of an item at most */
    unsigned items = 0, words = 0, capitals = 0, more = 0;
    size_t from = 0, last = 0;           /* the list goes on from here to the end of the last word */
    for (size_t i = v->list; i <= v->list_end && v->list_end;) {
        size_t start = i;
        while (i < v->list_end && in_word(s, i) && !vs_ascii_digit(s->text[i]))
            i++;
        if (i == start && i < v->list_end) {
            i++;
            continue;
        }
        bool is_next = i > start && items && is_number(s, last, start);
        bool goes_on = is_next || (i > start && items && words < WORDS && start - last == 1 && s->text[last] == ' ');
        if (!goes_on) {
            if (items >= ITEMS && !(2 * more >= items && 4 * capitals >= 3 * items))
                write_list(s, from, last, budget, to);
            items = words = capitals = more = 0;
            from = start;
        }
        if (i == start)
            break;
        bool is_first = is_next || !items;
        items += is_first;
        words = is_next ? 1 : words + 1;
        more += words == 2;              /* entries of several words, */
        capitals += is_first && s->text[start] >= 'A' && s->text[start] <= 'Z' && i - start > 1 && s->text[start + 1] >= 'a';
        last = i;
    }
}
