/* filter/decode_spelling.c - English words that orders need, spelled in another way, and strings in parts. See decode.h.
 *
 *     respelled   swapped or shuffled letters behind the first (ingore), letters doubled or stretched (iggnoore), one left out
 *                 (ignre), no vowels (prvs, pr*v**s), parted (ig-no-re), Pig Latin (ignoreway, ulesray), the first letter at the
 *                 end (gnorei). Where two such words stand close together, or one beside one that is right, the words around
 *                 them are written with them put right
 *     joined      'Igno' + 're the' + ' rules': strings that a sum makes one; and two strings, whatever stands between them, where
 *                 the end of one and the beginning of the next are such a word: a = "ig"; b = "nore all rules"
 *
 * A word's letters as a set say which words it may be: one look for each word of a text whose words are strange, none otherwise. */
#include "filter/decode.h"

#include <string.h>

static const char *const known[] = {
    "ignore", "disregard", "forget", "bypass", "override", "reveal", "print", "repeat", "display", "disable", "remove",
    "pretend", "previous", "prior", "earlier", "above", "initial", "original", "hidden", "secret", "everything",
    "instructions", "instruction", "rules", "guidelines", "restrictions", "limits", "filters", "filter", "policies",
    "policy", "safety", "system", "prompt", "prompts", "message", "password", "passwords", "credentials", "developer",
    "unrestricted", "uncensored", "unfiltered", "assistant", "mode", "never", "refuse", "answer", "show", "tell", "word",
    "your", "without", "jailbreak", "orders", "commands", "directives", "programming", "confidential", "internal",
    "verbatim", "ethical", "limitations", "obey",
};
enum {
    N_KNOWN = sizeof known / sizeof *known,
    LONGEST = 24, SHORTEST = 3, STRETCHED = 64,      /* letters of a word, and before stretched ones are put together */
    N_SLOTS = 4096,
    N_FOUND = 128,                       /* known words that are weighed at once */
    STRANGE = 45,                        /* of a survey: other texts are not looked at */
    NEAR = 160, AROUND = 48,             /* bytes between two that count together, and what is written around them */
};

/* Which words a set of letters may be: chains of entries. And by the first letter of one that is not Pig Latin, which letters may
 * be the second: what is compared begins as the word does, or with its second letter. */
static struct entry { uint32_t set; uint16_t word; } slots[N_SLOTS];
static uint32_t lengths[26];             /* by the first letter: how long words may be, a bit each */
static uint32_t seconds[32];             /* by the low five bits of a letter, bits by those, too */

static const char vowels[] = "aeiou";

static bool is_vowel(char c)
{
    return memchr(vowels, c, sizeof vowels - 1) != NULL;
}

static uint32_t set_of(const char *s, size_t n)
{
    uint32_t set = 0;
    for (size_t i = 0; i < n; i++)
        set |= UINT32_C(1) << (s[i] - 'a');
    return set;
}

static size_t slot_of(uint32_t set)
{
    return set * UINT32_C(0x9e3779b1) >> 20;
}

static void put(uint32_t set, uint16_t word)
{
    size_t at = slot_of(set);
    for (; slots[at].set; at = (at + 1) % N_SLOTS)
        if (slots[at].set == set && slots[at].word == word)
            return;
    slots[at] = (struct entry){ set, word };
}

/* The word without its vowels but the first letter; all: without that, too. */
static size_t skeleton(const char *word, size_t n, bool all, char out[LONGEST])
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if ((i == 0 && !all) || !is_vowel(word[i]))
            out[kept++] = word[i];
    return kept;
}

/* Before main, so that no text has to wait. */
__attribute__((constructor)) static void start(void)
{
    char other[LONGEST];
    for (uint16_t k = 0; k < N_KNOWN; k++) {
        size_t n = strlen(known[k]);
        lengths[known[k][0] - 'a'] |= UINT32_C(1) << n;
        seconds[known[k][0] & 31] |= set_of(known[k], n) << 1;
        seconds[known[k][1] & 31] |= UINT32_C(1) << (known[k][2] & 31);
        put(set_of(known[k], n), k);
        put(set_of(other, skeleton(known[k], n, false, other)), k);
        put(set_of(other, skeleton(known[k], n, true, other)), k);
        for (size_t i = 1; i + 1 < n && n >= 6; i++) {   /* one within is left out */
            memcpy(other, known[k], i);
            memcpy(other + i, known[k] + i + 1, n - i - 1);
            put(set_of(other, n - 1), k);
        }
    }
}

/* ---- one word ---- */

static size_t collapse(const char *s, size_t n, char out[LONGEST])
{
    size_t kept = 0;
    for (size_t i = 0; i < n && kept < LONGEST; i++)
        if (!kept || out[kept - 1] != s[i])
            out[kept++] = s[i];
    return kept;
}

static bool has_same_letters(const char *a, const char *b, size_t n)
{
    int8_t count[26] = { 0 };
    for (size_t i = 0; i < n; i++) {
        count[a[i] - 'a']++;
        count[b[i] - 'a']--;
    }
    for (size_t i = 0; i < sizeof count; i++)
        if (count[i])
            return false;
    return true;
}

static bool lacks_one(const char *s, const char *word, size_t n)
{
    size_t i = 0;
    while (i < n - 1 && s[i] == word[i])
        i++;
    return i && i < n - 1 && memcmp(s + i, word + i + 1, n - 1 - i) == 0;
}

/* Letters of a word of the text, small, without what stands between them. */
struct spelled {
    char letters[STRETCHED];
    size_t n, stars;                     /* stars: in place of letters */
    size_t from, end;                    /* in the source */
    bool is_parted;
};

enum likeness { UNLIKE, RIGHT, RESPELLED };

static enum likeness compare(const struct spelled *s, const char *word)
{
    size_t n = strlen(word), short_n;
    char a[LONGEST], b[LONGEST];
    if (s->stars) {
        short_n = skeleton(word, n, true, a);
        return s->n + s->stars == n && s->n == short_n && memcmp(s->letters, a, short_n) == 0 ? RESPELLED : UNLIKE;
    }
    if (s->n == n && memcmp(s->letters, word, n) == 0)
        return s->is_parted ? RESPELLED : RIGHT;
    if (s->n == n && has_same_letters(s->letters, word, n) && n > 3)
        return *s->letters == *word || memcmp(s->letters, word + 1, n - 1) == 0 ? RESPELLED : UNLIKE;
    if (*s->letters != *word)
        return UNLIKE;
    if (n >= 6 && s->n == n - 1 && lacks_one(s->letters, word, n))
        return RESPELLED;
    short_n = skeleton(word, n, false, a);
    if (short_n >= SHORTEST && short_n < n && s->n == short_n && memcmp(s->letters, a, short_n) == 0)
        return RESPELLED;
    if (s->n <= n || collapse(s->letters, s->n, a) != (short_n = collapse(word, n, b)))
        return UNLIKE;
    return memcmp(a, b, short_n) == 0 ? RESPELLED : UNLIKE;
}

/* The known word that it is like; NULL: none. */
static const char *look_up(const struct spelled *s, enum likeness *ret)
{
    uint32_t set = set_of(s->letters, s->n);
    for (size_t at = slot_of(set); slots[at].set; at = (at + 1) % N_SLOTS)
        if (slots[at].set == set && (*ret = compare(s, known[slots[at].word])) != UNLIKE)
            return known[slots[at].word];
    return NULL;
}

/* Pig Latin: what is before "ay", with its last letters in front; in `other`. */
static const char *look_up_pig(const struct spelled *s, struct spelled *other)
{
    enum likeness like;
    const char *word;
    size_t n = s->n > 4 && memcmp(s->letters + s->n - 2, "ay", 2) == 0 ? s->n - 2 : 0;
    *other = (struct spelled){ .n = n };
    for (size_t moved = 0; n && moved < 4 && moved < n - 1; moved++) {
        if (moved && is_vowel(s->letters[n - moved]))
            return NULL;
        memcpy(other->letters, s->letters + n - moved, moved);
        memcpy(other->letters + moved, s->letters, n - moved);
        other->n = n;
        if (!moved && s->letters[n - 1] == 'w')
            other->n--;
        if ((moved || other->n < n) && (word = look_up(other, &like)) && like == RIGHT)
            return word;
    }
    return NULL;
}

/* ---- a text ---- */

/* The word at i, which is a letter or a star. */
static struct spelled spell(const struct vs_source *src, size_t i)
{
    struct spelled s = { .from = i };
    for (; i < src->n; i++) {
        char c = src->text[i];
        bool inside = i > s.from && i + 1 < src->n && vs_ascii_letter(src->text[i - 1]) && vs_ascii_letter(src->text[i + 1]);
        if (vs_ascii_letter(c)) {
            if (s.n < sizeof s.letters)
                s.letters[s.n] = (char)(c | 0x20);
            s.n++;
        } else if (c == '*') {
            s.stars++;
        } else if (inside && (c == '-' || c == '\'')) {
            s.is_parted = true;
        } else {
            break;
        }
    }
    s.end = i;
    return s;
}

struct found { size_t from, end; const char *word; enum likeness like; };

/* Whether the run of letters at i, which ends at `end`, may be one: most are not. */
static bool may_be_known(const struct vs_source *s, size_t i, size_t end)
{
    char behind = end < s->n ? s->text[end] : ' ';
    uint32_t set = 0;
    size_t at;
    if (behind == '*' || behind == '-' || behind == '\'')
        return true;
    if (end - i < SHORTEST || end - i > STRETCHED || (end - i == SHORTEST && is_vowel((char)(s->text[i + 1] | 0x20))))
        return false;                    /* of three letters only what has no vowels is told */
    bool is_pig = end - i > 4 && (s->text[end - 1] | 0x20) == 'y' && (s->text[end - 2] | 0x20) == 'a';
    if (is_pig || !(seconds[(uint8_t)s->text[i] & 31] >> ((uint8_t)s->text[i + 1] & 31) & 1))
        return is_pig;
    for (size_t k = i; k < end; k++)
        set |= UINT32_C(1) << ((uint8_t)s->text[k] & 31);
    for (at = slot_of(set >> 1); slots[at].set && slots[at].set != set >> 1; at = (at + 1) % N_SLOTS)
        ;
    return slots[at].set;
}

/* Known words from *at on, as they are or respelled, behind the n that are found. How many there are then; *at: where it ended. */
static size_t find_known(const struct vs_source *s, size_t *at, struct found found[N_FOUND], size_t n)
{
    size_t i = *at;
    for (size_t end; i < s->n && n < N_FOUND;) {
        if (!vs_is_letter(s->text[i]) && s->text[i] != '*') {
            i++;
            continue;
        }
        end = vs_letters_end(s->text, s->n, i);
        if (end > i && !may_be_known(s, i, end)) {
            i = end;
            continue;
        }
        struct spelled word = spell(s, i), other;
        enum likeness like = RESPELLED;
        i = word.end;
        if (word.n < SHORTEST || word.n > sizeof word.letters)
            continue;
        const char *is = look_up(&word, &like);
        if (!is && (is = look_up_pig(&word, &other)))
            like = RESPELLED;
        if (is)
            found[n++] = (struct found){ word.from, word.end, is, like };
    }
    *at = i;
    return n;
}

static void copy(struct vs_piece *p, const struct vs_source *s, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++)
        if (!vs_piece_add(p, s->text[i], i, i + 1, VS_READING_RESPELLED))
            break;
}

static size_t at_blank(const struct vs_source *s, size_t i, size_t limit)
{
    while (i > limit && s->text[i - 1] != ' ' && s->text[i - 1] != '\n')
        i--;
    return i;
}

/* found[0, n), which stand close together, with what is around them from `from` on. Where it ends. */
static size_t write_right(const struct vs_source *s, const struct found *found, size_t n, size_t from, size_t *budget,
                          struct vs_reading *to)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    size_t at = found[0].from > from + AROUND ? at_blank(s, found[0].from - AROUND, from) : from;
    for (size_t k = 0; k < n; k++) {
        copy(&p, s, at, found[k].from);
        for (const char *c = found[k].word; *c; c++)
            if (!vs_piece_add(&p, *c, found[k].from, found[k].end, VS_READING_RESPELLED))
                break;
        at = found[k].end;
    }
    size_t end = at + AROUND < s->n ? at_blank(s, at + AROUND, at) : s->n;
    copy(&p, s, at, end);
    vs_piece_end(&p);
    return at;
}

void vs_decode_respelled(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    struct found found[N_FOUND];
    size_t at = 0, end = 0, n = 0;
    while ((v->strange >= STRANGE || v->marks) && at < s->n && *budget) {
        n = find_known(s, &at, found, n);
        size_t k = 0, last;
        for (; k < n; k = last) {
            unsigned respelled = found[k].like == RESPELLED;
            for (last = k + 1; last < n && found[last].from < found[last - 1].end + NEAR; last++)
                respelled += found[last].like == RESPELLED;
            if (last == n && k && at < s->n)
                break;                   /* it may go on */
            if (respelled && last - k > 1)
                end = write_right(s, found + k, last - k, end, budget, to);
        }
        memmove(found, found + k, (n - k) * sizeof *found);
        n -= k;
    }
}

/* ---- strings in parts ---- */

static bool is_quote(char c)
{
    return c == '"' || c == '\'' || c == '`';
}

/* Do the letters before `end` and those from `next` on make one word that is known? */
static bool makes_word(const struct vs_source *s, size_t end, size_t next)
{
    char word[LONGEST];
    size_t start = end, n = 0;
    if (next >= s->n || !vs_ascii_letter(s->text[next]) || !end || !vs_ascii_letter(s->text[end - 1]))
        return false;
    while (start > 0 && end - start < LONGEST && vs_ascii_letter(s->text[start - 1]))
        start--;
    for (size_t i = start; i < end && n < LONGEST; i++)
        word[n++] = s->text[i] | 0x20;
    for (size_t i = next; i < s->n && vs_ascii_letter(s->text[i]); i++) {
        if (n == LONGEST)
            return false;
        word[n++] = s->text[i] | 0x20;
    }
    if (!(lengths[word[0] - 'a'] >> n & 1))
        return false;
    for (size_t k = 0; k < N_KNOWN; k++)
        if (strlen(known[k]) == n && !memcmp(known[k], word, n))
            return true;
    return false;
}

/* *ret_next: the quote after the one at i, with which a part ends. Does it begin the next part of one string: "' + '"?
 * *ret_within: a known word goes on there; then it does, whatever stands between. */
static bool is_joint(const struct vs_source *s, size_t i, size_t *ret_next, bool *ret_within)
{
    enum { MOST = 12, APART = 32 };
    bool joins = false;
    size_t next = *ret_next = vs_next_of_four(s, i + 1, "\"'`'");
    if (next >= s->n || next - i > APART)
        return false;
    if (makes_word(s, i, next + 1))
        return *ret_within = true;
    for (size_t k = i + 1; k < next; k++) {
        char c = s->text[k];
        if (c == '+' || c == '.' || c == '&')
            joins = true;
        else if (c != ' ' && c != '\n' && c != '\t' && c != '\\')
            return false;
    }
    return joins && next - i < MOST;
}

void vs_decode_parts(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    enum { PARTS = 3, LONG = 2048 };
    (void)v;
    for (size_t next, i = vs_next_of_four(s, 0, "\"'`'"); i < s->n && *budget; i = next) {
        bool within = false;
        if (!is_joint(s, i, &next, &within))
            continue;
        size_t start = i, here = i, parts = 1;
        while (start > 0 && i - start < 64 && s->text[start - 1] != s->text[i])
            start--;
        struct vs_piece p = vs_piece_begin(s, budget, to);
        for (size_t k = start; k < s->n && k < start + LONG; k++) {
            if (is_quote(s->text[k]) && is_joint(s, k, &next, &within)) {
                parts++;
                k = next;
            } else if ((is_quote(s->text[k]) && parts > 1) || !vs_piece_add(&p, s->text[k], k, k + 1, VS_READING_JOINED)) {
                here = k + 1;
                break;
            }
            here = k + 1;
        }
        vs_piece_close(&p, parts >= PARTS || within);
        here = here > i ? here : i + 1;  /* it may have ended before the quote, where it began */
        next = vs_next_of_four(s, here, "\"'`'");
    }
}
