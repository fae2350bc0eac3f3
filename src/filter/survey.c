/* filter/survey.c - what a pass over a text sees of it: whether views and decoders are worth a look. See view_parts.h. */
#include "filter/decode.h"

#include "base/utf8.h"
#include "filter/english.h"

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
static struct said said[(VS_N_LETTERS + 1) * 32];

__attribute__((constructor)) static void start_survey(void)
{
    for (unsigned a = 0; a <= VS_BLANK; a++)
        for (unsigned b = 0; b <= VS_BLANK && a + b < 2 * VS_BLANK; b++)
            said[32 * a + b] = (struct said){ (int16_t)-vs_english_pairs[a][b],
                                              (int16_t)(vs_english_pairs[b][a] - vs_english_pairs[a][b]), vs_english_pairs[a][b] };
}

/* How English a text is: every byte is a letter, or nothing between two. A sum that falls below 0 begins anew; the greatest counts,
 * and none goes beyond MOST_SAID: what it is compared with is far below. */
static void survey_pairs(const struct vs_source *s, struct vs_survey *ret)
{
    enum { MOST_SAID = INT16_MAX };
    size_t row = 32 * VS_BLANK;
#ifdef __SSE2__
    __m128i plain = _mm_setzero_si128(), sums = plain, most = plain, zero = plain;
#pragma GCC unroll 4
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
    size_t solid;                        /* and where the run of bytes without a blank does */
    size_t group, row;                   /* and the last group of digits, and the first one of its row */
    unsigned singles, listed, kind;      /* kind: of the word before */
    bool word_before;
};

/* A run of letters. */
static inline void on_letters(struct surveying *k, const struct vs_source *s, size_t i, size_t end)
{
    unsigned n = (unsigned)(end - i);
    if (n == 1 && !k->word_before && (end == s->n || !vs_ascii_digit(s->text[end])))
        k->v.singles = ++k->singles > k->v.singles ? k->singles : k->v.singles;
    else
        k->singles = 0;
    k->v.letters = n > k->v.letters ? n : k->v.letters;
    k->word_before = true;
    if (k->kind || vs_may_lead(s->text + i, n)) {
        unsigned kind = vs_word_kind(s->text + i, n, s->n - i);
        if (vs_is_astray(k->kind, kind)) {
            if (k->v.astray < VS_ASTRAY)
                k->v.astray_at[k->v.astray] = (uint32_t)i;
            k->v.astray++;
        }
        k->kind = kind;
    }
}

/* The run ends before i: it counts when it is long, and has two digits, = or capitals that do not begin it. */
static inline void end_run(struct surveying *k, const struct vs_source *s, size_t i)
{
    unsigned mixed = 0;
    if (i - k->run < VS_LEAST_RUN || i - k->run <= k->v.run)
        return;
    for (size_t at = k->run; at < i; at++) {
        char c = s->text[at];
        mixed += vs_ascii_digit(c) || c == '=' || (c >= 'A' && c <= 'Z' && at > k->run);
    }
    k->v.run = mixed > 1 ? (unsigned)(i - k->run) : k->v.run;
}

/* A blank at i. */
static void end_solid(struct surveying *k, size_t i)
{
    k->v.solid = i - k->solid > k->v.solid ? (unsigned)(i - k->solid) : k->v.solid;
    k->solid = i + 1;
}

/* A group of digits begins at i. Four with a word behind each, and few bytes between, may be a row of numbered words. */
static void on_group(struct surveying *k, const struct vs_source *s, size_t i)
{
    enum { NEAR = 48, ROW = 4, DIGITS = 3, SIGNS = 3 };
    size_t end = i, word;
    k->v.groups++;
    while (end < s->n && vs_ascii_digit(s->text[end]))
        end++;
    for (word = end; word < s->n && word < end + SIGNS && !vs_ascii_letter(s->text[word]) && !vs_ascii_digit(s->text[word]); word++)
        ;
    if (end - i > DIGITS || word == s->n || word == end || vs_ascii_digit(s->text[word]))
        return;
    bool goes_on = k->listed && i - k->group < NEAR;
    k->row = goes_on ? k->row : i;
    k->listed = goes_on ? k->listed + 1 : 1;
    k->group = i;
    if (k->listed >= ROW) {
        k->v.list = k->v.list_end ? k->v.list : k->row;
        k->v.list_end = i + NEAR < s->n ? i + NEAR : s->n;
    }
}

/* A digit or a sign at i; behind: a letter stands in front of it. Returns how many bytes it has. */
static size_t on_sign(struct surveying *k, const struct vs_source *s, size_t i, bool behind)
{
    char c = s->text[i];
    bool next = i + 1 < s->n && vs_ascii_letter(s->text[i + 1]);
    if (vs_ascii_digit(c)) {
        k->v.leet += !behind ? 0 : next ? 2 : 1;
        if (!k->word_before)
            on_group(k, s, i);
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
    bool is_quoted = c == '=' && i + 2 < s->n && (vs_hex_digit(s->text[i + 1]) >= 2 || s->text[i + 1] == '\n');
    k->v.escapes += c == '%' || c == '&' || c == '\\' || is_quoted;
    if (c == '\n')
        end_solid(k, i);
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
        size_t end = vs_letters_end(s->text, s->n, i);
        if (end > i) {
            on_letters(&k, s, i, end);
            i = end;
            if (i == s->n)
                break;
        }
        if (s->text[i] == ' ') {
            end_run(&k, s, i);
            end_solid(&k, i);
            k.run = ++i;
            k.word_before = false;
        } else {
            i += on_sign(&k, s, i, i && vs_ascii_letter(s->text[i - 1]));
        }
    }
    end_run(&k, s, s->n);
    end_solid(&k, s->n);
    survey_pairs(s, &k.v);
    *ret = k.v;
}
