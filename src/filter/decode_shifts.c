/* filter/decode_shifts.c - ROT13 and other shifts, ROT47, reversed and upside-down text. See decode.h.
 *
 * They are found by how English their words are: for each word the sum of vs_english_pairs, as it
 * stands and as it would be; runs of words where the other reading is better by far are kept (the run with the greatest sum of
 * differences).
 */
#include "filter/decode.h"

#include "base/utf8.h"
#include "filter/english.h"

#include <string.h>

enum {
    ATBASH = 26,
    BETTER = 150,                        /* by how much another reading of a run must be better to be written: some ten letters */
};

/* ---- shifted and reversed ---- */

/* by ATBASH: the alphabet from behind. */
static unsigned shifted(unsigned letter, unsigned by)
{
    return letter == VS_BLANK ? letter : by == ATBASH ? VS_N_LETTERS - 1 - letter : (letter + by) % VS_N_LETTERS;
}

/* How much more English a pair of letters is by another reading. */
struct gains { int16_t of[VS_N_LETTERS + 1][VS_N_LETTERS + 1]; };
static struct gains by_thirteen, from_behind;

static void gains_make(struct gains *g, unsigned by, bool backwards)
{
    for (unsigned a = 0; a <= VS_BLANK; a++)
        for (unsigned b = 0; b <= VS_BLANK; b++)
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
    unsigned before = VS_BLANK;
    int score = 0;
    for (size_t i = 0; i <= n; i++) {
        unsigned letter = i == n ? VS_BLANK : shifted(vs_letter(s[i]), by);
        score += vs_english_pairs[before][letter];
        before = letter;
    }
    return score;
}

enum { LONG_WORD = 20, UNSURE = -30 };   /* a longer word is no word; from here on a word may belong to a run beside it */

static int gain_of(const struct vs_source *s, size_t from, size_t end, const struct gains *g)
{
    unsigned before = VS_BLANK;
    int gain = 0;
    if (end - from > LONG_WORD)
        return 2 * UNSURE;
    for (size_t i = from; i < end; i++) {
        unsigned letter = vs_letter(s->text[i]);
        gain += g->of[before][letter];
        before = letter;
    }
    return gain + g->of[before][VS_BLANK];
}

static inline size_t next_word(const struct vs_source *s, size_t i, size_t *ret_end)
{
    while (i < s->n && !vs_is_letter(s->text[i]))
        i++;
    *ret_end = vs_letters_end(s->text, s->n, i);
    return i;
}

static void write_shifted(const struct vs_source *s, size_t from, size_t end, unsigned by, size_t *budget, struct vs_reading *to)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    for (size_t i = from; i < end; i++) {
        char c = s->text[i];
        if (vs_ascii_letter(c))
            c = (char)((c & 0x20) + 'A' + (int)shifted(vs_letter(c), by));
        if (!vs_piece_add(&p, c, i, i + 1, VS_READING_SHIFTED))
            break;
    }
    vs_piece_end(&p);
}

/* All from behind; and each word by itself. */
static void write_reversed(const struct vs_source *s, size_t from, size_t end, size_t *budget, struct vs_reading *to)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    for (size_t i = end; i > from;) {
        size_t start = i - 1;
        while (start > from && ((uint8_t)s->text[start] & 0xc0) == 0x80)
            start--;
        for (size_t k = start; k < i; k++)
            vs_piece_add(&p, s->text[k], start, i, VS_READING_REVERSED);
        i = start;
    }
    vs_piece_end(&p);
    p = vs_piece_begin(s, budget, to);
    for (size_t i = from; i < end;) {
        size_t stop, start = next_word(s, i, &stop);
        stop = stop < end ? stop : end;
        for (size_t k = i; k < start && k < end; k++)
            vs_piece_add(&p, s->text[k], k, k + 1, VS_READING_PLAIN);
        for (size_t k = stop; k > start; k--)
            vs_piece_add(&p, s->text[k - 1], k - 1, k, VS_READING_REVERSED);
        i = stop;
    }
    vs_piece_end(&p);
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

/* Letters enough for a sentence, and few signs that language does not have: `ev.set()` reads well from behind, too. */
static bool is_prose(const struct vs_source *s, size_t from, size_t end)
{
    enum { LETTERS = 16, FOR_A_SIGN = 3 };
    unsigned letters = 0, signs = 0;
    for (size_t i = from; i < end; i++) {
        letters += vs_ascii_letter(s->text[i]);
        signs += s->text[i] && strchr("()[]{}<>_=+*/\\|&%$#@^~`", s->text[i]) != NULL;
    }
    return letters >= LETTERS && FOR_A_SIGN * signs <= letters;
}

/* Writes each run of words whose other reading is better by BETTER at least. */
static void find_runs(const struct vs_source *s, unsigned by, const struct gains *g, size_t *budget, struct vs_reading *to)
{
    bool backwards = g == &from_behind;
    int sum = 0, best = 0, better = backwards ? VS_BACKWARDS : BETTER;
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
            if (backwards && is_prose(s, from, best_end))
                write_reversed(s, with_marks(s, from, false), with_marks(s, best_end, true), budget, to);
            else if (!backwards)
                write_shifted(s, from, best_end, by, budget, to);
            sum = best = 0;
        }
        if (over)
            break;
    }
}

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

void vs_decode_shifted(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    if (v->strange < VS_STRANGE)
        return;
    unsigned by = v->plain < 0 ? best_shift(s) : 0;
    struct gains other;
    find_runs(s, 13, &by_thirteen, budget, to);
    if (by) {
        gains_make(&other, by, false);
        find_runs(s, by, &other, budget, to);
    }
}

void vs_decode_reversed(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    if (v->backwards > VS_BACKWARDS)
        find_runs(s, 0, &from_behind, budget, to);
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
    size_t signs = 0, i = 0;
    while (i < n) {                      /* so many that a byte can count them: sixteen at a time then */
        size_t end = n - i > UINT8_MAX ? i + UINT8_MAX : n;
        uint8_t some = 0;
        for (; i < end; i++)
            some += (uint8_t)(text[i] - ':') <= '@' - ':';
        signs += some;
    }
    return signs;
}

/* How much better than ROT47_ENGLISH a byte the token s[0, n) reads, with the blank behind it. */
static int token_gain(const char *s, size_t n)
{
    unsigned before = VS_BLANK;
    int gain = 0;
    for (size_t i = 0; i <= n; i++) {
        unsigned letter = i == n ? VS_BLANK : vs_letter(rot47(s[i]));
        gain += before != VS_BLANK || letter != VS_BLANK ? vs_english_pairs[before][letter] : 0;
        before = letter;
    }
    return gain - ROT47_ENGLISH * (int)(n + 1);
}

static void write_rot47(const struct vs_source *s, size_t from, size_t end, size_t *budget, struct vs_reading *to)
{
    struct vs_piece p = vs_piece_begin(s, budget, to);
    for (size_t i = from; i < end && vs_piece_add(&p, rot47(s->text[i]), i, i + 1, VS_READING_SHIFTED); i++)
        ;
    vs_piece_end(&p);
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

void vs_decode_rot47(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to)
{
    (void)v;
    for (size_t i = 0, end; i < s->n; i = end + 1) {
        const char *line_end = memchr(s->text + i, '\n', s->n - i);
        end = line_end ? (size_t)(line_end - s->text) : s->n;
        if (end - i >= ROT47_LEAST && signs_of(s->text + i, end - i) * ROT47_RARE >= end - i)
            rot47_line(s, i, end, budget, to);
    }
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
        struct vs_piece p = vs_piece_begin(s, budget, to);
        for (size_t end = i; end > from && strange >= 3;) {
            uint32_t c;
            size_t start = end - 1;
            while (start > from && ((uint8_t)s->text[start] & 0xc0) == 0x80)
                start--;
            char letter = vs_utf8_decode(s->text + start, s->n - start, &c) ? turned(c) : 0;
            if (letter && !vs_piece_add(&p, letter, start, end, VS_READING_UPSIDE_DOWN))
                break;
            end = start;
        }
        vs_piece_end(&p);
        i += i < s->n && s->text[i] == '\n';
    }
}
