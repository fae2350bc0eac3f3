/* tokenizer/cuts_body.h - see cuts.h: what each instruction set does alike. */
#ifndef VS_TOKENIZER_CUTS_BODY_H
#define VS_TOKENIZER_CUTS_BODY_H
#include "tokenizer/cuts.h"

struct kinds {                          /* a bit for each of 64 bytes; each byte is of one kind */
    uint64_t upper, lower, digit, space, newline;
    uint64_t blank;                     /* other white space */
    uint64_t other;                     /* not ASCII */
    uint64_t quote, control;            /* of what is left: apostrophes, control characters */
};

typedef void look_function(const char *s, struct kinds *ret);

/* Bits of a byte's kind by its halves: both tables have the bit. */
enum { UPPER_1 = 1, UPPER_2 = 2, LOWER_1 = 4, LOWER_2 = 8, DIGIT = 16, SPACE = 32, NEWLINE = 64, BLANK = 128,
       UPPER = UPPER_1 | UPPER_2, LOWER = LOWER_1 | LOWER_2 };
#define OF_LOW_HALF                                                                                                             \
    UPPER_2 | LOWER_2 | DIGIT | SPACE, OF_1_TO_8, OF_1_TO_8, OF_1_TO_8, OF_1_TO_8, OF_1_TO_8, OF_1_TO_8, OF_1_TO_8, OF_1_TO_8,   \
    OF_1_TO_8 | BLANK, UPPER_1 | UPPER_2 | LOWER_1 | LOWER_2 | NEWLINE, UPPER_1 | LOWER_1 | BLANK, UPPER_1 | LOWER_1 | BLANK,    \
    UPPER_1 | LOWER_1 | NEWLINE, UPPER_1 | LOWER_1, UPPER_1 | LOWER_1
#define OF_1_TO_8 UPPER_1 | UPPER_2 | LOWER_1 | LOWER_2 | DIGIT
#define OF_HIGH_HALF NEWLINE | BLANK, 0, SPACE, DIGIT, UPPER_1, UPPER_2, LOWER_1, LOWER_2, 0, 0, 0, 0, 0, 0, 0, 0

static inline uint64_t below(unsigned n)
{
    return n < 64 ? ((uint64_t)1 << n) - 1 : UINT64_MAX;
}

/* The runs of ones that begin with these. */
static inline uint64_t runs_from(uint64_t first, uint64_t ones)
{
    return ((ones + first) ^ ones) & ones;
}

/* Bytes of the contraction at s, which is an apostrophe; 0: none. Two more bytes can be read. */
static inline unsigned contraction(const char *s, bool any_case)
{
    char a = any_case ? s[1] | 0x20 : s[1], b = any_case ? s[2] | 0x20 : s[2];
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    return (b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l') ? 3 : 0;
}

/* What contractions change. quotes: apostrophes that begin a piece or end a word, in front of a letter. */
static inline uint64_t contract(unsigned flags, const char *s, uint64_t quotes, uint64_t letters, uint64_t starts)
{
    unsigned free_from = 0;             /* a second one right behind belongs to no word */
    for (; quotes; quotes &= quotes - 1) {
        unsigned at = (unsigned)__builtin_ctzll(quotes);
        unsigned n = contraction(s + at, (flags & (VS_CUT_CONTRACTS_ANY_CASE | VS_CUT_CONTRACTS_BEHIND)) != 0);
        if (!n)
            continue;
        if (flags & VS_CUT_CONTRACTS_BEHIND) {
            if (!at || at == free_from || !(letters >> (at - 1) & 1))
                continue;
            starts &= ~((uint64_t)1 << at);
            free_from = at + n;
        }
        starts &= ~(below(at + n) & ~below(at + 1));
        starts |= below(at + n + 1) & ~below(at + n);
    }
    return starts;
}

#define INLINE static inline __attribute__((always_inline))

/* Where pieces begin in the 64 bytes at s; *ret_sure is the last place that is sure, 0 where none is but the first. */
INLINE uint64_t starts_of(look_function *look, unsigned flags, const char *s, unsigned *ret_sure)
{
    struct kinds k;
    look(s, &k);
    uint64_t letters = k.upper | k.lower, unsure = k.other | (flags & VS_CUT_NO_CONTROLS ? k.control : 0);
    unsigned end = unsure ? (unsigned)__builtin_ctzll(unsure) : 64;
    uint64_t white = k.space | k.newline | k.blank, signs = ~(letters | k.digit | white | k.other);
    if (flags & VS_CUT_SIGNS_TAKE_LINES) {
        uint64_t taken = runs_from(signs << 1 & k.newline, k.newline);
        white &= ~taken;
        k.newline &= ~taken;
        for (uint64_t behind = flags & VS_CUT_SIGNS_TAKE_SLASHES ? taken << 1 & signs : 0; behind; behind &= behind - 1) {
            unsigned at = (unsigned)__builtin_ctzll(behind);
            if (s[at] == '/' && at < end)
                end = at;
        }
    }
    uint64_t no_lines = white & ~k.newline, starts = white & ~(white << 1);
    uint64_t next_sees = flags & VS_CUT_DIGITS_FIRST ? (letters | signs) >> 1 : ~(white >> 1);
    if (flags & VS_CUT_LINES) {
        uint64_t behind = no_lines & k.newline << 1;                    /* runs behind the last line end, if it is the last */
        for (uint64_t ends = ((behind + no_lines) & ~no_lines) & k.newline; ends; ends &= ends - 1) {
            unsigned at = (unsigned)__builtin_ctzll(ends);
            uint64_t before = ~no_lines & below(at);
            behind &= ~((uint64_t)1 << (before ? 64 - __builtin_clzll(before) : 0));
        }
        starts |= behind | (no_lines & next_sees);
    } else {
        starts |= white & next_sees;
    }
    uint64_t signs_begin = signs & ~(signs << 1) & ~(k.space << 1);
    uint64_t glue = flags & VS_CUT_SPACE_ONLY ? k.space : no_lines | signs_begin;       /* goes with letters behind it */
    starts |= signs_begin | (letters & ~(letters << 1) & ~(glue << 1));
    if (flags & VS_CUT_CASED)
        starts |= k.upper & k.lower << 1;
    uint64_t digits = k.digit;
    if (flags & VS_CUT_THREES) {
        digits &= ~(digits << 1);
        for (uint64_t next = digits; (next = next << 3 & k.digit & k.digit << 1 & k.digit << 2);)
            digits |= next;
    } else if (flags & VS_CUT_SPACE_ONLY && !(flags & VS_CUT_DIGITS_FIRST)) {
        digits &= ~(digits << 1) & ~(k.space << 1);
    }
    starts |= digits | 1;
    uint64_t sure = below(end < 2 ? 0 : end - 2);       /* an apostrophe looks at two more */
    uint64_t quotes = k.quote & signs_begin & letters >> 1 & sure;
    if (quotes && flags & (VS_CUT_CONTRACTS | VS_CUT_CONTRACTS_ANY_CASE | VS_CUT_CONTRACTS_BEHIND))
        starts = contract(flags, s, quotes, letters, starts);
    /* white space that goes on to the end is cut by what follows it: only its beginning is sure */
    uint64_t visible = ~white & below(end);
    unsigned from = visible ? 64 - (unsigned)__builtin_clzll(visible) : 0;
    uint64_t usable = starts & sure & below(from + 1);
    *ret_sure = usable ? 63 - (unsigned)__builtin_clzll(usable) : 0;
    return usable;
}

INLINE size_t cut(look_function *look, unsigned flags, const char *s, const char *end, uint32_t *n_bytes, size_t cap, size_t *io_n)
{
    const char *from = s;
    size_t n = *io_n;
    while (end - s >= VS_CUT_BLOCK && cap - n >= VS_CUT_BLOCK) {
        unsigned sure, at = 0;
        uint64_t starts = starts_of(look, flags, s, &sure);
        if (!sure)
            break;
        for (starts &= starts - 1; starts; starts &= starts - 1) {
            unsigned next = (unsigned)__builtin_ctzll(starts);
            n_bytes[n++] = next - at;
            at = next;
        }
        s += sure;
    }
    *io_n = n;
    return (size_t)(s - from);
}
#endif
