/* filter/decode.h - what the decoders share: decode.c has their table, decode_*.c are those of one family each.
 *
 * A decoder looks at the survey, so that plain text costs it nothing, then for runs that look like its encoding, and writes what
 * it made of each as a piece; a piece that is no text is taken back. It stops where the budget is used up. Memory: none but the
 * view's. Threads: as views.h.
 */
#ifndef VS_FILTER_DECODE_H
#define VS_FILTER_DECODE_H
#include "filter/letters.h"
#include "filter/view_parts.h"

enum {
    VS_N_LETTERS = 26,
    VS_BLANK = 26,                       /* of vs_english_pairs: before and behind a word */
    VS_LEAST_RUN = 12,                   /* digits of base64 that are worth a look */
    VS_SOLID = 20,                       /* bytes without a blank that may be base85 or base58 */
    VS_STRANGE = 110,                    /* of a survey: from here on other shifts are tried, */
    VS_BACKWARDS = 110,                  /* and reversed words looked for */
};

struct vs_piece {                        /* decoded bytes; where each came from */
    const struct vs_source *source;
    struct vs_reading *to;
    size_t *budget, before;
};

struct vs_piece vs_piece_begin(const struct vs_source *source, size_t *budget, struct vs_reading *to);

/* The byte c, which source[from, end) stands for. false: the budget is used up. */
bool vs_piece_add(struct vs_piece *p, char c, size_t from, size_t end, enum vs_reading_step step);

/* Keeps the piece when it is text, or the runs of it that are; false: nothing was. */
bool vs_piece_end(struct vs_piece *p);
void vs_piece_drop(struct vs_piece *p);
bool vs_piece_close(struct vs_piece *p, bool is_enough);        /* one or the other */

typedef void vs_decoder_fn(const struct vs_source *s, const struct vs_survey *v, size_t *budget, struct vs_reading *to);
vs_decoder_fn vs_decode_base64, vs_decode_base85, vs_decode_base58, vs_decode_uu, vs_decode_numbers, vs_decode_morse,
              vs_decode_escapes, vs_decode_groups, vs_decode_shifted, vs_decode_reversed, vs_decode_rot47, vs_decode_reordered,
              vs_decode_listed, vs_decode_respelled, vs_decode_parts;

/* What may stand where: bits of a word, 0 for most. Two that no sentence has side by side tell of one from behind: "your and". */
enum {
    VS_BEFORE_NOUN = 1,                  /* the, your */
    VS_BEFORE_MANY = 2,                  /* all, any: also "all of them" */
    VS_ORDER = 4,                        /* a verb in the imperative that is hardly a noun */
    VS_PARTICLE = 8,                     /* no noun, and no part of one */
};

enum { VS_KINDS = 256 };
extern struct vs_kind { uint64_t key; unsigned bits; } vs_kinds[VS_KINDS];   /* by vs_letters_key */

static inline struct vs_kind *vs_kind_of(uint64_t key)
{
    size_t slot = key * 0x9e3779b97f4a7c15u >> 56;
    while (vs_kinds[slot].key && vs_kinds[slot].key != key)
        slot = (slot + 1) % VS_KINDS;
    return &vs_kinds[slot];
}

/* `room` bytes of the word may be read. */
static inline unsigned vs_word_kind(const char *word, size_t n, size_t room)
{
    return n > 9 ? 0 : vs_kind_of(vs_letters_key(word, n, room))->bits;
}

static inline bool vs_is_astray(unsigned before, unsigned kind)
{
    return (before & VS_BEFORE_NOUN && kind & (VS_ORDER | VS_PARTICLE)) || (before & VS_BEFORE_MANY && kind & VS_ORDER);
}

/* Whether a word may be of a kind that another must not follow: by its length and first letter. */
static inline bool vs_may_lead(const char *word, size_t n)
{
    const uint32_t first = 1 << ('t' - 'a') | 1 << ('y' - 'a') | 1 << ('m' - 'a') | 1 << ('o' - 'a') | 1 << ('i' - 'a') |
                           1 << ('h' - 'a') | 1 << ('a' - 'a') | 1 << ('e' - 'a');
    return n - 2 < 4 && first >> (((uint8_t)*word | 0x20) - 'a') & 1;
}

/* -1: it is none. */
static inline int vs_hex_digit(char c)
{
    unsigned letter = ((uint8_t)c | 0x20u) - 'a';
    return vs_ascii_digit(c) ? c - '0' : letter < 6 ? (int)letter + 10 : -1;
}

#ifdef __SSE2__
/* All bits of each byte that is one of the four. */
static inline __m128i vs_one_of_four(__m128i bytes, const char four[static 4])
{
    __m128i first = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(four[0])), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(four[1])));
    __m128i last = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(four[2])), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(four[3])));
    return _mm_or_si128(first, last);
}
#endif

/* From i on the next byte that is one of the four, a constant, or the end. */
static inline size_t vs_next_of_four(const struct vs_source *s, size_t i, const char four[static 4])
{
#ifdef __SSE2__
    for (; s->n - i >= 16; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(s->text + i));
        unsigned which = (unsigned)_mm_movemask_epi8(vs_one_of_four(bytes, four));
        if (which)
            return i + (unsigned)__builtin_ctz(which);
    }
#endif
    while (i < s->n && s->text[i] != four[0] && s->text[i] != four[1] && s->text[i] != four[2] && s->text[i] != four[3])
        i++;
    return i;
}
#endif
