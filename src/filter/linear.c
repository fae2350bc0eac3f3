/* filter/linear.c - see linear.h: the words of a text, their features, and the scores. */
#include "filter/linear.h"

#include "base/utf8.h"
#include "filter/english.h"
#include "filter/letters.h"
#include "filter/linear_weights.h"
#include "unicode/unicode.h"

#include <string.h>

enum {
    WORD = 32,                           /* characters: a longer word is read as several */
    MARK = 4,                            /* characters of a run of marks that count */
    AHEAD = 16,                          /* letters that are written at once, so that there must be room for them */
    FEATURES = 64,                       /* of one word, at most: WORD of characters, 7 of words, 3 of each mark */
    MARKS = 2,                           /* runs of marks before a word that count */
    SENTENCE = 4,                        /* words: a shorter sentence goes on with the next one */
    HALF = 32,                           /* words: half a window */
    ALONE_LESS = 150,                    /* what the highest kind's score counts less when no other kind agrees */
};

/* -- Characters ----------------------------------------------------------------------------------------------------- */

enum kind {
    SPACE, LINE, LETTER, DIGIT, ALONE,   /* ALONE: a word of its own */
    STOP,                                /* may end a sentence */
    QUIET,                               /* separates words, says nothing */
    QUOTE, SIGN,                         /* marks */
    NOTHING,                             /* a format character: as if it were not there */
};

/* Rows of 16 from U+0000. */
#define X SPACE
#define N LINE
#define L LETTER
#define D DIGIT
#define P STOP
#define Q QUIET
#define U QUOTE
#define G SIGN
static const uint8_t ascii[128] = {
    X, X, X, X, X, X, X, X, X, X, N, X, X, X, X, X,    X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
    X, P, U, G, G, G, G, Q, Q, Q, G, G, Q, Q, P, G,    D, D, D, D, D, D, D, D, D, D, G, Q, G, G, G, P,
    G, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,    L, L, L, L, L, L, L, L, L, L, L, G, G, G, G, G,
    U, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,    L, L, L, L, L, L, L, L, L, L, L, G, G, G, G, X,
};
#undef X
#undef N
#undef L
#undef D
#undef P
#undef Q
#undef U
#undef G

static bool alone(uint32_t c, const struct vs_unicode *u)
{
    return u->mask >> VS_U_HAN & 1 || (c >= 0x3041 && c <= 0x30ff && c != 0x30fb) || (c >= 0xac00 && c <= 0xd7a3);
}

static enum kind kind_of(uint32_t c)
{
    const struct vs_unicode *u = vs_unicode(c);
    if (alone(c, u))
        return ALONE;
    if (u->flags & VS_UNICODE_DECIMAL)
        return DIGIT;
    if (u->flags & VS_UNICODE_ALPHA || u->mask & (1u << VS_U_MN | 1u << VS_U_MC | 1u << VS_U_ME))
        return LETTER;
    if (u->mask & 1u << VS_U_CF)
        return NOTHING;
    if (u->mask & (1u << VS_U_ZL | 1u << VS_U_ZP) || c == 0x85)
        return LINE;
    if (u->mask & 1u << VS_U_WHITE_SPACE)
        return SPACE;
    if (c == 0x3002 || c == 0xff01 || c == 0xff1f || c == 0x61f || c == 0x964 || c == 0x6d4 || c == 0x2026)
        return STOP;
    if (u->mask & (1u << VS_U_PI | 1u << VS_U_PF) || c == 0x300c || c == 0x300d || c == 0x201e)
        return c == 0x2019 ? QUIET : QUOTE;
    return u->mask & (1u << VS_U_PO | 1u << VS_U_PD | 1u << VS_U_PS | 1u << VS_U_PE) ? QUIET : SIGN;
}

/* -- Words and their features --------------------------------------------------------------------------------------- */

enum salt { ONE = 1, TWO, THREE, APART, FOUR, CHARACTERS, SIGN_ONE, SIGN_WORD, CAPITALS, CAPITALS_WORD };
enum { START = 0x51ed270b, GLUE = 0x01000193, TURN = 0x2c1b3c6d };

struct scorer;

struct reader {
    const char *text;
    size_t n, at;
    struct scorer *scorer;               /* wants sums of weights; NULL: `told` wants the features themselves */
    vs_linear_word_fn *told;
    void *arg;

    uint32_t before[3];                  /* hashes of the words before, the last one first; START: the sentence begins there */
    uint32_t mark[MARKS], n_marks;       /* between that word and the next one */
    bool opens;                          /* the next word begins a sentence */
    int sum;                             /* of the weights of this word's features, for the scorer; */
    unsigned n_summed;                   /* how many those are */

    uint32_t letter[WORD + 2 + AHEAD];   /* the word, in lower case, a space on each side */
    unsigned n_letters, n_digits;
    bool has_small;                      /* one of them is no capital */
    size_t start;

    uint32_t bucket[FEATURES];
    unsigned n_features;
};

static uint32_t bucket_of(enum salt salt, uint32_t h)
{
    h += salt * 0x9e3779b9u;
    h ^= h >> 15;
    h *= 0x2c1b3c6du;
    return h / (UINT32_MAX / VS_LINEAR_BUCKETS + 1);
}

static inline void feature(struct reader *r, enum salt salt, uint32_t h)
{
    uint32_t bucket = bucket_of(salt, h);
    if (r->scorer) {
        r->sum += vs_linear_weight(bucket);
        r->n_summed++;
    } else {
        r->bucket[r->n_features++] = bucket;
    }
}

static uint32_t pair(uint32_t a, uint32_t b)
{
    return (a ^ a >> 16) * (uint32_t)TURN + b;
}

/* letter[0] and letter[n - 1] are spaces. Of four letters a, b, c, d it is ((a P + b) P + c) P + d. */
static void of_characters(struct reader *r, unsigned n)
{
    const uint32_t P = 0x10dcd, p2 = P * P;
    const uint32_t *letter = r->letter;
    uint32_t before = letter[0] * P + letter[1], pair = letter[1] * P + letter[2];
    for (unsigned i = 3; i < n; i++) {
        uint32_t next = letter[i - 1] * P + letter[i];
        feature(r, CHARACTERS, before * p2 + next);
        before = pair;
        pair = next;
    }
}

static void weigh(struct scorer *s, const struct reader *r, size_t end);

/* A word is whole: tells it. */
static void tell(struct reader *r, uint32_t h, size_t end)
{
    feature(r, ONE, h);
    feature(r, TWO, pair(r->before[0], h));
    feature(r, THREE, pair(pair(r->before[1], r->before[0]), h));
    feature(r, APART, pair(r->before[1], h));
    for (uint32_t i = 0; i < r->n_marks; i++) {
        feature(r, SIGN_ONE, r->mark[i]);
        feature(r, SIGN_WORD, pair(r->mark[i], h));
        feature(r, SIGN_WORD, pair(r->before[0], r->mark[i]));
    }
    if (r->scorer)
        weigh(r->scorer, r, end);
    else
        r->told(r->arg, &(struct vs_linear_word){ r->bucket, r->n_features, r->start, end, r->opens });
    r->n_features = r->n_marks = r->n_summed = 0;
    r->sum = 0;
    r->opens = false;
    r->before[2] = r->before[1];
    r->before[1] = r->before[0];
    r->before[0] = h;
}

static void of_capitals(struct reader *r, unsigned n, uint32_t h)
{
    if (!r->has_small && n >= 3) {
        feature(r, CAPITALS, 0);
        feature(r, CAPITALS_WORD, h);
    }
}

static uint32_t hash_of(const struct reader *r, unsigned n)
{
    uint32_t h = 0x811c9dc5u;
    for (unsigned i = 1; i <= n; i++)
        h = (h ^ r->letter[i]) * (uint32_t)GLUE;
    return h;
}

static void end_word(struct reader *r, size_t end)
{
    unsigned n = r->n_letters;
    if (!n)
        return;
    uint32_t h = 0x811c9dc5u + 0x30 + n;
    if (r->n_digits != n) {
        h = hash_of(r, n);
        r->letter[0] = r->letter[n + 1] = ' ';
        of_characters(r, n + 2);
        of_capitals(r, n, h);
    }
    r->n_letters = r->n_digits = 0;
    r->has_small = false;
    tell(r, h, end);
}

static void end_sentence(struct reader *r)
{
    r->before[0] = r->before[1] = r->before[2] = START;
    r->opens = true;
}

static uint32_t lower(uint32_t c, bool *ret_capital)
{
    *ret_capital = false;
    if (c < 0x80) {
        *ret_capital = c >= 'A' && c <= 'Z';
        return *ret_capital ? c + 0x20 : c;
    }
    if (!(vs_unicode(c)->flags & (VS_UNICODE_UPPER | VS_UNICODE_TITLE)))
        return c;
    uint32_t to[3];
    vs_unicode_to(c, VS_TO_LOWER, to);
    *ret_capital = true;
    return to[0];
}

static void add_letter(struct reader *r, uint32_t c, bool digit, size_t at)
{
    if (r->n_letters == WORD)
        end_word(r, at);
    if (!r->n_letters)
        r->start = at;
    bool capital;
    r->letter[++r->n_letters] = lower(c, &capital);
    r->has_small |= !capital;
    r->n_digits += digit;
}

static void add_alone(struct reader *r, uint32_t c, size_t at, size_t next)
{
    r->start = at;
    uint32_t h = (0x811c9dc5u ^ c) * (uint32_t)GLUE;
    feature(r, FOUR, pair(pair(pair(r->before[2], r->before[1]), r->before[0]), h));
    tell(r, h, next);
}

static inline size_t character(const struct reader *r, size_t at, uint32_t *ret_c, enum kind *ret_kind)
{
    uint8_t byte = (uint8_t)r->text[at];
    if (byte < 0x80) {
        *ret_c = byte;
        *ret_kind = ascii[byte];
        return 1;
    }
    size_t bytes = vs_utf8_decode(r->text + at, r->n - at, ret_c);
    *ret_kind = bytes ? kind_of(*ret_c) : SIGN;
    if (!bytes)
        *ret_c = 0xfffd;
    return bytes ? bytes : 1;
}

/* The rest of a word, as far as its letters are ASCII: the usual case, and the same as add_letter. */
static size_t add_ascii(struct reader *r, size_t at)
{
#ifdef __SSE2__
    if (r->n - at >= AHEAD) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(r->text + at)), zero = _mm_setzero_si128();
        __m128i small = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
        unsigned other = vs_no_letters(bytes), n = (unsigned)__builtin_ctz(other | 1u << AHEAD);
        if (n < AHEAD && n <= WORD - r->n_letters) {
            __m128i low = _mm_unpacklo_epi8(small, zero), high = _mm_unpackhi_epi8(small, zero);
            __m128i *to = (__m128i *)(void *)(r->letter + r->n_letters + 1);
            _mm_storeu_si128(to, _mm_unpacklo_epi16(low, zero));
            _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(low, zero));
            _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(high, zero));
            _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(high, zero));
            /* 0x20 of a byte becomes its sign */
            r->has_small |= (unsigned)_mm_movemask_epi8(_mm_slli_epi16(bytes, 2)) & ((1u << n) - 1);
            r->n_letters += n;
            return at + n;
        }
    }
#endif
    while (at < r->n && r->n_letters < WORD) {
        uint8_t byte = (uint8_t)r->text[at];
        if (byte >= 0x80 || ascii[byte] != LETTER)
            break;
        r->letter[++r->n_letters] = byte | 0x20;
        r->has_small |= byte & 0x20;
        at++;
    }
    return at;
}

/* ---- common words: most of a text. What their letters say is known. ---- */

enum { KNOWN = 8, N_KNOWN = 1 << 12 };   /* letters of such a word, at most; slots, of which the list fills half */
static struct known { uint64_t key; uint32_t h; int16_t sum, n; } known[N_KNOWN];       /* key: vs_letters_key; n: features */

static unsigned slot_of(uint64_t key)
{
    return (unsigned)(key * UINT64_C(0x9e3779b97f4a7c15) >> 52);
}

static void learn(const char *word, size_t n)
{
    struct reader r = { .letter = { ' ' } };
    struct known *k = &known[slot_of(vs_letters_key(word, n, n))];
    while (k->key)
        k = k == known + N_KNOWN - 1 ? known : k + 1;
    for (size_t i = 0; i < n; i++)
        r.letter[i + 1] = (uint8_t)word[i];
    r.letter[n + 1] = ' ';
    of_characters(&r, (unsigned)n + 2);
    *k = (struct known){ vs_letters_key(word, n, n), hash_of(&r, (unsigned)n), 0, (int16_t)r.n_features };
    for (unsigned i = 0; i < r.n_features; i++)
        k->sum = (int16_t)(k->sum + vs_linear_weight(r.bucket[i]));
}

/* Before main, so that no text has to wait. 0.2 ms. */
__attribute__((constructor)) static void start(void)
{
    for (const char *word = vs_english_words; *word;) {
        size_t n = strcspn(word, " ");
        if (n <= KNOWN)
            learn(word, n);
        word += n + (word[n] == ' ');
    }
}

/* The word that begins at `at`, when it is a common one: where it ends. Else `at`. */
static size_t add_known(struct reader *r, size_t at)
{
    size_t end = vs_letters_end(r->text, r->n, at);
    bool is_whole = end == r->n || ((uint8_t)r->text[end] < 0x80 && ascii[(uint8_t)r->text[end]] != DIGIT);
    if (end - at > KNOWN || !is_whole)
        return at;
    uint64_t key = vs_letters_key(r->text + at, end - at, r->n - at);
    const struct known *k = &known[slot_of(key)];
    while (k->key != key && k->key)
        k = k == known + N_KNOWN - 1 ? known : k + 1;
    if (!k->key)
        return at;
    for (size_t i = at; i < end && !r->has_small; i++)
        r->has_small = r->text[i] & 0x20;
    r->start = at;
    r->sum = k->sum;
    r->n_summed = (unsigned)k->n;
    of_capitals(r, (unsigned)(end - at), k->h);
    r->has_small = false;
    tell(r, k->h, end);
    return end;
}

/* A stop ends a sentence when nothing that belongs to a word follows. */
static bool stops(const struct reader *r, size_t at)
{
    uint32_t c;
    enum kind kind;
    if (at == r->n)
        return true;
    character(r, at, &c, &kind);
    return kind != LETTER && kind != DIGIT;
}

/* So does a line's end, unless a small letter follows: a text that was wrapped. */
static bool lines_end(const struct reader *r, size_t at)
{
    uint32_t c;
    enum kind kind;
    if (at == r->n)
        return true;
    character(r, at, &c, &kind);
    bool capital;
    lower(c, &capital);
    return kind != LETTER || capital;
}

/* Reads the run of signs at `at`: returns where it ends. Of equal ones in a row one counts. */
static size_t add_mark(struct reader *r, size_t at)
{
    uint32_t h = 0x811c9dc5u, last = 0, c;
    unsigned n = 0;
    enum kind kind;
    for (size_t bytes; at < r->n; at += bytes) {
        bytes = character(r, at, &c, &kind);
        if (kind != SIGN && kind != QUOTE)
            break;
        if (c != last && n < MARK) {
            h = (h ^ c) * (uint32_t)GLUE;
            n++;
        }
        last = c;
    }
    if (r->n_marks < MARKS)
        r->mark[r->n_marks++] = h;
    return at;
}

static void read_words(const char *text, size_t n, struct scorer *scorer, vs_linear_word_fn *told, void *arg)
{
    struct reader r = { .text = text, .n = n, .scorer = scorer, .told = told, .arg = arg };
    end_sentence(&r);
    for (size_t at = 0; at < n;) {
        uint32_t c;
        enum kind kind;
        size_t next = at + character(&r, at, &c, &kind);
        if (kind == LETTER || kind == DIGIT) {
            size_t end = r.scorer && c < 0x80 && kind == LETTER && !r.n_letters ? add_known(&r, at) : at;
            if (end == at) {
                add_letter(&r, c, kind == DIGIT, at);
                end = add_ascii(&r, next);
            }
            at = end;
            continue;
        }
        if (kind == NOTHING) {
            at = next;
            continue;
        }
        end_word(&r, at);
        if (kind == ALONE)
            add_alone(&r, c, at, next);
        else if (kind == SIGN || kind == QUOTE)
            next = add_mark(&r, at);
        else if ((kind == STOP && (c >= 0x80 || stops(&r, next))) || (kind == LINE && lines_end(&r, next)))
            end_sentence(&r);
        at = next;
    }
    end_word(&r, n);
}

void vs_linear_words(const char *text, size_t n, vs_linear_word_fn *told, void *arg)
{
    read_words(text, n, NULL, told, arg);
}

/* -- Scores --------------------------------------------------------------------------------------------------------- */

struct unit {
    int64_t sum;                         /* of the weights of its features */
    uint64_t n;                          /* features */
    unsigned words;
    size_t start, end;
};

struct best { int32_t raw; bool any; size_t start, end; };

struct scorer {
    struct unit sentence, half[2], whole;            /* whole: of the halves that are through */
    struct best best[VS_LINEAR_KINDS];
    struct vs_check *check;
};

static uint64_t root(uint64_t x)
{
    uint64_t r = 0;
    for (uint64_t bit = (uint64_t)1 << (x >> 32 ? 62 : 30); bit; bit >>= 2) {
        if (x >= r + bit) {
            x -= r + bit;
            r = (r >> 1) + bit;
        } else {
            r >>= 1;
        }
    }
    return r;
}

static void add(struct unit *u, int64_t sum, uint64_t n, unsigned words, size_t start, size_t end)
{
    if (!u->words)
        u->start = start;
    u->sum += sum;
    u->n += n;
    u->words += words;
    u->end = end;
}

static void join(struct unit *u, const struct unit *with)
{
    if (with->words)
        add(u, with->sum, with->n, with->words, with->start, with->end);
}

/* The raw score is in 256ths. */
static void rate(struct best *best, const struct unit *u)
{
    if (!u->n)
        return;
    int64_t raw = u->sum * 4096 / (int64_t)root(u->n << 8);
    if (best->any && raw <= best->raw)
        return;
    *best = (struct best){ .raw = (int32_t)raw, .any = true, .start = u->start, .end = u->end };
}

static void rate_window(struct scorer *s)
{
    struct unit window = s->half[0];
    join(&window, &s->half[1]);
    rate(&s->best[VS_LINEAR_WINDOW], &window);
}

static void weigh(struct scorer *s, const struct reader *r, size_t end)
{
    int64_t sum = r->sum;
    unsigned n = r->n_summed;
    vs_check_work(s->check, n);
    if (r->opens && s->sentence.words >= SENTENCE) {
        rate(&s->best[VS_LINEAR_SENTENCE], &s->sentence);
        s->sentence.words = 0;
        s->sentence.sum = 0;
        s->sentence.n = 0;
    }
    if (s->half[1].words == HALF) {
        rate_window(s);
        join(&s->whole, &s->half[0]);
        s->half[0] = s->half[1];
        s->half[1] = (struct unit){ 0 };
    }
    add(&s->sentence, sum, n, 1, r->start, end);
    add(&s->half[s->half[0].words == HALF], sum, n, 1, r->start, end);
}

/* Between two points of the table in a straight line. */
static unsigned calibrated(enum vs_linear_kind kind, const struct best *best)
{
    const struct vs_linear_point *p = vs_linear_calibration[kind];
    if (!best->any || best->raw <= p[0].raw)
        return 0;
    for (unsigned i = 1; i < VS_LINEAR_POINTS; i++) {
        if (best->raw < p[i].raw) {
            int64_t part = (int64_t)(best->raw - p[i - 1].raw) * (p[i].score - p[i - 1].score);
            return (unsigned)(p[i - 1].score + part / (p[i].raw - p[i - 1].raw));
        }
    }
    return (unsigned)p[VS_LINEAR_POINTS - 1].score;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned most(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

void vs_linear_score(const char *text, size_t n, struct vs_check *check, struct vs_linear_scores *ret)
{
    struct scorer s = { .check = check };
    read_words(text, n, &s, NULL, NULL);
    rate_window(&s);
    join(&s.whole, &s.half[0]);
    join(&s.whole, &s.half[1]);
    rate(&s.best[VS_LINEAR_WHOLE], &s.whole);
    if (s.sentence.words >= SENTENCE || !s.best[VS_LINEAR_SENTENCE].any)
        rate(&s.best[VS_LINEAR_SENTENCE], &s.sentence);

    unsigned score[VS_LINEAR_KINDS];
    for (enum vs_linear_kind kind = 0; kind < VS_LINEAR_KINDS; kind++)
        score[kind] = calibrated(kind, &s.best[kind]);
    unsigned sentence = score[VS_LINEAR_SENTENCE], window = score[VS_LINEAR_WINDOW], whole = score[VS_LINEAR_WHOLE];
    unsigned second = most(least(sentence, window), least(most(sentence, window), whole));
    unsigned first = most(most(sentence, window), whole);
    unsigned together = most(second, first > ALONE_LESS ? first - ALONE_LESS : 0);
    const struct best *decides = &s.best[sentence >= together ? VS_LINEAR_SENTENCE : VS_LINEAR_WINDOW];
    if (sentence < together && window < together)
        decides = &s.best[VS_LINEAR_WHOLE];
    *ret = (struct vs_linear_scores){
        .sentence = sentence, .window = window, .whole = whole, .score = together, .start = decides->start, .end = decides->end,
    };
}
