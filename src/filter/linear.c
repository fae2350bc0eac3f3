/* filter/linear.c - see linear.h: the words of a text, their features, and the scores. */
#include "filter/linear.h"

#include "base/utf8.h"
#include "filter/concepts.h"
#include "filter/english.h"
#include "filter/letters.h"
#include "filter/linear_weights.h"
#include "unicode/unicode.h"

#include <string.h>

enum {
    WORD = 32,                           /* characters: a longer word is read as several */
    MARK = 4,                            /* characters of a run of marks that count */
    AHEAD = 16,                          /* letters that are written at once, so that there must be room for them */
    FEATURES = 96,                       /* of one word: WORD of characters, 7 of words, 3 of each mark, 6 of each concept */
    MEANINGS = 2,                        /* concepts of a word, or of a phrase that ends with it */
    BEGINNING = 2,                       /* words with which a sentence begins */
    STEM = 3,                            /* letters of the shortest stem */
    MARKS = 2,                           /* runs of marks before a word that count */
    SENTENCE = 4,                        /* words: a shorter sentence goes on with the next one */
    HALF = 32,                           /* words: half a window */
    ALONE_LESS = 200,                    /* what the highest kind's score counts less when no other kind agrees */
    DOUBT = 30,                          /* what the score of all is lowered by, so that 500 is what few harmless texts reach */
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

enum salt {
    ONE = 1, TWO, THREE, APART, FOUR, CHARACTERS, SIGN_ONE, SIGN_WORD, CAPITALS, CAPITALS_WORD,
    CONCEPT, CONCEPT_FIRST, CONCEPT_OVER, CONCEPT_NEAR, CONCEPT_THREE,
};
enum { START = 0x51ed270b, GLUE = 0x01000193, TURN = 0x2c1b3c6d };

struct scorer;

struct reader {
    const char *text;
    size_t n, at;
    struct scorer *scorer;               /* wants sums of weights; NULL: `told` wants the features themselves */
    vs_linear_word_fn *told;
    void *arg;

    uint32_t before[4];                  /* hashes of the words before, the last one first; START: the sentence begins there */
    uint32_t turned, turned_two, turned_pair;        /* of `before`: turn of the first, of the second, of the pair of both */
    uint32_t mark[MARKS], n_marks;       /* between that word and the next one */
    bool opens;                          /* the next word begins a sentence */
    unsigned words;                      /* of this sentence */
    uint8_t concept[3], over;            /* of this sentence's words so far, the last one first; the last of the sentence before */
    int sum;                             /* of the weights of this word's features as vs_linear_stored has them, for the scorer; */
    unsigned n_summed;                   /* how many those are */

    uint32_t letter[WORD + 2 + AHEAD];   /* the word, in lower case, a space on each side */
    unsigned n_letters, n_digits;
    bool has_small;                      /* one of them is no capital */
    size_t start;

    uint32_t bucket[FEATURES];
    unsigned n_features;
};

static inline uint32_t mixed(enum salt salt, uint32_t h)
{
    h += salt * 0x9e3779b9u;
    h ^= h >> 15;
    return h * 0x2c1b3c6du;
}

static inline void in_bucket(struct reader *r, uint32_t bucket)
{
    if (r->scorer) {
        r->sum += vs_linear_stored(bucket);
        r->n_summed++;
    } else {
        r->bucket[r->n_features++] = bucket;
    }
}

static inline void feature(struct reader *r, enum salt salt, uint32_t h)
{
    in_bucket(r, mixed(salt, h) / (UINT32_MAX / VS_LINEAR_WORDS + 1));
}

/* The pair of a word and another is what this makes of the first, plus the second. */
static inline uint32_t turn(uint32_t a)
{
    return (a ^ a >> 16) * (uint32_t)TURN;
}

static inline uint32_t pair(uint32_t a, uint32_t b)
{
    return turn(a) + b;
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

/* ---- concepts: what words mean, by their hashes and those of phrases; of a stem with a turn ---- */

enum { N_MEANINGS = 1 << 13, N_FILTER = 1 << 16, STEM_TURN = 0x5bd1e995 };
struct meaning { uint8_t concept[MEANINGS]; };          /* 0: none */
static struct {
    uint32_t key[N_MEANINGS];
    struct meaning of[N_MEANINGS];
    uint8_t has[N_FILTER / 8], begins[N_FILTER / 8];    /* a bit for each key; for the first STEM letters of each stem */
} lexicon;

static inline bool is_in(const uint8_t *filter, uint32_t key)
{
    return filter[key >> 19] >> (key >> 16 & 7) & 1;
}

static void put_in(uint8_t *filter, uint32_t key)
{
    filter[key >> 19] |= (uint8_t)(1u << (key >> 16 & 7));
}

static unsigned place_of(uint32_t key)
{
    unsigned at = key * 0x9e3779b1u >> 19;
    while (lexicon.key[at] != key && lexicon.key[at])
        at = (at + 1) % N_MEANINGS;
    return at;
}

/* NULL: of what has no meaning; mostly one look says so. */
static inline const struct meaning *meaning_of(uint32_t key)
{
    if (!is_in(lexicon.has, key))
        return NULL;
    unsigned at = place_of(key);
    return lexicon.key[at] ? &lexicon.of[at] : NULL;
}

static void concept_feature(struct reader *r, enum salt salt, uint32_t x)
{
    in_bucket(r, VS_LINEAR_WORDS + mixed(salt, (x + 1) * 0x10dcdu) / (UINT32_MAX / VS_LINEAR_CONCEPTS + 1));
}

static void add_concept(struct reader *r, uint32_t c)
{
    enum { BITS = 8 };
    const uint8_t *last = r->concept;
    concept_feature(r, CONCEPT, c);
    if (r->words < BEGINNING)
        concept_feature(r, CONCEPT_FIRST, c);
    if (!last[0] && r->over)
        concept_feature(r, CONCEPT_OVER, c | (uint32_t)r->over << BITS);
    for (unsigned i = 0; i < sizeof r->concept && last[i]; i++)
        concept_feature(r, CONCEPT_NEAR, c | (uint32_t)last[i] << BITS);
    if (last[1])
        concept_feature(r, CONCEPT_THREE, c | (uint32_t)last[0] << BITS | (uint32_t)last[1] << 2 * BITS);
    r->concept[2] = r->concept[1];
    r->concept[1] = r->concept[0];
    r->concept[0] = (uint8_t)c;
}

static void add_meaning(struct reader *r, const struct meaning *m)
{
    for (unsigned i = 0; m && i < MEANINGS && m->concept[i]; i++)
        add_concept(r, m->concept[i]);
}

static void weigh(struct scorer *s, const struct reader *r, size_t end);

/* What stands before the next word: `before`, and its turns. */
static inline void set_before(struct reader *r, uint32_t h)
{
    r->before[3] = r->before[2];
    r->before[2] = r->before[1];
    r->before[1] = r->before[0];
    r->before[0] = h;
    r->turned_two = r->turned;
    r->turned = turn(h);
    r->turned_pair = turn(r->turned_two + h);
}

static __attribute__((noinline)) void tell_features(struct reader *r, size_t end)
{
    r->told(r->arg, &(struct vs_linear_word){ r->bucket, r->n_features, r->start, end, r->opens });
    r->n_features = 0;
}

/* A word is whole: tells it, and the features that it has beside this one. */
static inline __attribute__((always_inline)) void tell(struct reader *r, uint32_t h, struct meaning meaning, size_t end)
{
    feature(r, TWO, r->turned + h);
    feature(r, THREE, r->turned_pair + h);
    feature(r, APART, r->turned_two + h);
    add_meaning(r, &meaning);
    add_meaning(r, meaning_of(r->turned + h));
    add_meaning(r, meaning_of(r->turned_pair + h));
    r->words++;
    for (uint32_t i = 0; i < r->n_marks; i++) {
        feature(r, SIGN_ONE, r->mark[i]);
        feature(r, SIGN_WORD, pair(r->mark[i], h));
        feature(r, SIGN_WORD, pair(r->before[0], r->mark[i]));
    }
    if (r->scorer)
        weigh(r->scorer, r, end);
    else
        tell_features(r, end);
    r->n_marks = r->n_summed = 0;
    r->sum = 0;
    r->opens = false;
    set_before(r, h);
}

static void of_capitals(struct reader *r, unsigned n, uint32_t h)
{
    if (!r->has_small && n >= 3) {
        feature(r, CAPITALS, 0);
        feature(r, CAPITALS_WORD, h);
    }
}

static inline void mean_too(struct meaning *to, const struct meaning *from)
{
    for (unsigned i = 0; from && i < MEANINGS; i++) {
        unsigned k = 0;
        while (k < MEANINGS && to->concept[k] && to->concept[k] != from->concept[i])
            k++;
        if (k < MEANINGS)
            to->concept[k] = from->concept[i];
    }
}

static uint32_t hash_of(const struct reader *r, unsigned n)
{
    uint32_t h = 0x811c9dc5u;
    for (unsigned i = 1; i <= n; i++)
        h = (h ^ r->letter[i]) * (uint32_t)GLUE;
    return h;
}

/* By itself, and by its longest stem. h: of the whole word. */
static struct meaning meaning_of_word(const struct reader *r, unsigned n, uint32_t h)
{
    struct meaning ret = { 0 };
    const struct meaning *stem = NULL;
    mean_too(&ret, meaning_of(h));
    if (n < STEM)
        return ret;
    h = hash_of(r, STEM);
    if (!is_in(lexicon.begins, h))
        return ret;
    for (unsigned i = STEM;; h = (h ^ r->letter[++i]) * (uint32_t)GLUE) {
        const struct meaning *m = meaning_of(h ^ STEM_TURN);
        stem = m ? m : stem;
        if (i == n)
            break;
    }
    mean_too(&ret, stem);
    return ret;
}

static void end_letters(struct reader *r, size_t end)
{
    unsigned n = r->n_letters;
    uint32_t h = 0x811c9dc5u + 0x30 + n;
    struct meaning meaning = { 0 };
    if (r->n_digits != n) {
        h = hash_of(r, n);
        meaning = meaning_of_word(r, n, h);
        r->letter[0] = r->letter[n + 1] = ' ';
        of_characters(r, n + 2);
        of_capitals(r, n, h);
    }
    r->n_letters = r->n_digits = 0;
    r->has_small = false;
    feature(r, ONE, h);
    tell(r, h, meaning, end);
}

static inline void end_word(struct reader *r, size_t end)
{
    if (r->n_letters)
        end_letters(r, end);
}

static void end_sentence(struct reader *r)
{
    for (unsigned i = 0; i < 3; i++)
        set_before(r, START);
    r->over = r->words ? r->concept[0] : r->over;
    r->concept[0] = r->concept[1] = r->concept[2] = 0;
    r->words = 0;
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
    uint32_t four = pair(pair(pair(r->before[2], r->before[1]), r->before[0]), h);
    struct meaning meaning = { 0 };
    mean_too(&meaning, meaning_of(h));
    mean_too(&meaning, meaning_of(four));
    feature(r, FOUR, four);
    feature(r, ONE, h);
    tell(r, h, meaning, next);
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
/* key: vs_letters_key; n: features, those of its letters and the word itself; sum: of their weights as they are stored. */
static struct known { uint64_t key; uint32_t h; int16_t sum; uint8_t n; struct meaning meaning; } known[N_KNOWN];

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
    feature(&r, ONE, hash_of(&r, (unsigned)n));
    *k = (struct known){ .key = vs_letters_key(word, n, n), .h = hash_of(&r, (unsigned)n), .n = (uint8_t)r.n_features };
    k->meaning = meaning_of_word(&r, (unsigned)n, k->h);
    for (unsigned i = 0; i < r.n_features; i++)
        k->sum = (int16_t)(k->sum + vs_linear_stored(r.bucket[i]));
}

static void read_words(struct reader *r);
static void tell_nobody(void *arg, const struct vs_linear_word *word) { (void)arg; (void)word; }

/* An entry of the lexicon: read as any text is, so that its hashes are those of texts. */
static void mean(const char *entry, size_t n, unsigned concept)
{
    char text[64];
    struct reader r = { .text = text, .n = n, .told = tell_nobody };
    for (size_t i = 0; i < n; i++)
        text[i] = entry[i] == '_' ? ' ' : entry[i];
    bool is_stem = text[n - 1] == '*';
    r.n -= is_stem;
    read_words(&r);
    uint32_t key = is_stem ? r.before[0] ^ STEM_TURN : r.before[0];
    if (r.words == 2)
        key = pair(r.before[1], r.before[0]);
    else if (r.words > 2)
        key = pair(pair(r.before[2], r.before[1]), r.before[0]);
    if (r.words > 3)
        key = pair(pair(pair(r.before[3], r.before[2]), r.before[1]), r.before[0]);     /* as add_alone does */
    unsigned at = place_of(key);
    lexicon.key[at] = key;
    mean_too(&lexicon.of[at], &(struct meaning){ { (uint8_t)(concept + 1) } });
    put_in(lexicon.has, key);
    if (is_stem)
        put_in(lexicon.begins, hash_of(&r, STEM));
}

/* Before main, so that no text has to wait. 0.5 ms. */
__attribute__((constructor)) static void start(void)
{
    for (unsigned concept = 0; concept < VS_CONCEPTS; concept++)
        for (const char *entry = vs_concept_words[concept]; *entry;) {
            size_t n = strcspn(entry, " ");
            mean(entry, n, concept);
            entry += n + (entry[n] == ' ');
        }
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
    if (end - at > KNOWN || (end < r->n && ((uint8_t)r->text[end] >= 0x80 || ascii[(uint8_t)r->text[end]] == DIGIT)))
        return at;
    uint64_t key = vs_letters_key(r->text + at, end - at, r->n - at);
    const struct known *k = &known[slot_of(key)];
    while (k->key != key && k->key)
        k = k == known + N_KNOWN - 1 ? known : k + 1;
    if (!k->key)
        return at;
    r->start = at;
    r->sum = k->sum;
    r->n_summed = (unsigned)k->n;
    if (!(r->text[at] & 0x20)) {         /* a capital: perhaps all are */
        for (size_t i = at; i < end && !r->has_small; i++)
            r->has_small = r->text[i] & 0x20;
        of_capitals(r, (unsigned)(end - at), k->h);
        r->has_small = false;
    }
    tell(r, k->h, k->meaning, end);
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

static void read_words(struct reader *r)
{
    size_t n = r->n;
    end_sentence(r);
    for (size_t at = 0; at < n;) {
        uint32_t c;
        enum kind kind;
        if (r->text[at] == ' ') {        /* most of what is no letter */
            end_word(r, at++);
            continue;
        }
        if (r->scorer && !r->n_letters && vs_is_letter(r->text[at])) {
            size_t end = add_known(r, at);
            if (end > at) {
                at = end;
                continue;
            }
        }
        size_t next = at + character(r, at, &c, &kind);
        if (kind == LETTER || kind == DIGIT) {
            add_letter(r, c, kind == DIGIT, at);
            at = add_ascii(r, next);
            continue;
        }
        if (kind == NOTHING) {
            at = next;
            continue;
        }
        end_word(r, at);
        if (kind == ALONE)
            add_alone(r, c, at, next);
        else if (kind == SIGN || kind == QUOTE)
            next = add_mark(r, at);
        else if ((kind == STOP && (c >= 0x80 || stops(r, next))) || (kind == LINE && lines_end(r, next)))
            end_sentence(r);
        at = next;
    }
    end_word(r, n);
}

void vs_linear_words(const char *text, size_t n, vs_linear_word_fn *told, void *arg)
{
    read_words(&(struct reader){ .text = text, .n = n, .told = told, .arg = arg });
}

/* -- Scores --------------------------------------------------------------------------------------------------------- */

/* All up to a word: features and their weights; a unit is what came between two of these. */
struct tally {
    int64_t sum;                         /* of the weights of its features */
    uint64_t n;                          /* features */
    size_t words;
    size_t start;                        /* of the next word: where a unit begins */
};

struct best { int32_t raw; bool any; size_t start, end; };

struct scorer {
    struct tally now, sentence, window, half, none;  /* now; where the units begin; half: the next window; none: the whole */
    size_t end;                          /* of the last word */
    struct best best[VS_LINEAR_KINDS];
    struct vs_check *check;
};

static uint64_t root(uint64_t x)
{
    uint64_t r = 0;
    for (uint64_t bit = x ? (uint64_t)1 << ((63 - __builtin_clzll(x)) & ~1) : 0; bit; bit >>= 2) {
        if (x >= r + bit) {
            x -= r + bit;
            r = (r >> 1) + bit;
        } else {
            r >>= 1;
        }
    }
    return r;
}

/* The unit from `from` on. The raw score is in 256ths. */
static __attribute__((noinline)) void rate(struct scorer *s, enum vs_linear_kind kind, const struct tally *from)
{
    struct best *best = &s->best[kind];
    uint64_t n = s->now.n - from->n;
    if (!n)
        return;
    int64_t raw = (s->now.sum - from->sum) * 4096 / (int64_t)root(n << 8);
    if (best->any && raw <= best->raw)
        return;
    *best = (struct best){ .raw = (int32_t)raw, .any = true, .start = from->start, .end = s->end };
}

/* Half a window is full, and another word begins. */
static __attribute__((noinline)) void next_half(struct scorer *s)
{
    if (s->now.words == 0) {
        s->none = s->sentence = s->window = s->now;
    } else if (s->now.words > HALF) {
        rate(s, VS_LINEAR_WINDOW, &s->window);
        s->window = s->half;
    }
    s->half = s->now;
}

static inline void weigh(struct scorer *s, const struct reader *r, size_t end)
{
    vs_check_work(s->check, r->n_summed);
    s->now.start = r->start;
    if (s->now.words % HALF == 0)
        next_half(s);
    if (r->opens && s->now.words - s->sentence.words >= SENTENCE) {
        rate(s, VS_LINEAR_SENTENCE, &s->sentence);
        s->sentence = s->now;
    }
    s->now.sum += r->sum - VS_LINEAR_ZERO * (int)r->n_summed;
    s->now.n += r->n_summed;
    s->now.words++;
    s->end = end;
}

/* In a straight line through both points of the kind. */
static unsigned calibrated(enum vs_linear_kind kind, const struct best *best)
{
    const struct vs_linear_point *p = vs_linear_calibration[kind];
    if (!best->any)
        return 0;
    int64_t score = p[0].score + (int64_t)(best->raw - p[0].raw) * (p[1].score - p[0].score) / (p[1].raw - p[0].raw);
    return score < 0 ? 0 : score > VS_LINEAR_MOST ? VS_LINEAR_MOST : (unsigned)score;
}

static unsigned most(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

void vs_linear_score(const char *text, size_t n, struct vs_check *check, struct vs_linear_scores *ret)
{
    struct scorer s = { .check = check };
    read_words(&(struct reader){ .text = text, .n = n, .scorer = &s });
    rate(&s, VS_LINEAR_WINDOW, &s.window);
    rate(&s, VS_LINEAR_WHOLE, &s.none);
    if (s.now.words - s.sentence.words >= SENTENCE || !s.best[VS_LINEAR_SENTENCE].any)
        rate(&s, VS_LINEAR_SENTENCE, &s.sentence);

    unsigned score[VS_LINEAR_KINDS];
    for (enum vs_linear_kind kind = 0; kind < VS_LINEAR_KINDS; kind++)
        score[kind] = calibrated(kind, &s.best[kind]);
    unsigned sentence = score[VS_LINEAR_SENTENCE], window = score[VS_LINEAR_WINDOW], whole = score[VS_LINEAR_WHOLE];
    unsigned first = most(most(sentence, window), whole);
    unsigned together = most((sentence + window + whole) / VS_LINEAR_KINDS, first > ALONE_LESS ? first - ALONE_LESS : 0);
    const struct best *decides = &s.best[sentence >= together ? VS_LINEAR_SENTENCE : VS_LINEAR_WINDOW];
    if (sentence < together && window < together)
        decides = &s.best[VS_LINEAR_WHOLE];
    *ret = (struct vs_linear_scores){
        .sentence = sentence, .window = window, .whole = whole, .score = together > DOUBT ? together - DOUBT : 0,
        .start = decides->start, .end = decides->end,
    };
}
