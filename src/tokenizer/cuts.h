/* tokenizer/cuts.h - where the pieces of ASCII text begin, 64 bytes at a time.
 *
 * The usual rules cut ASCII by the kinds of neighbouring characters alone, so that a few operations on masks of 64 bits find all
 * pieces of a block. A block begins where a piece does and is cut up to the last piece whose beginning no later byte can change;
 * the next block begins there. What is not sure (other characters, control characters under some rules, the end of a text) is
 * left to the blocks of pretok.c, which say the same: the unit test compares both.
 *
 * Threads: any. Memory: none. Plain C and each instruction set give the same cuts.
 */
#ifndef VS_TOKENIZER_CUTS_H
#define VS_TOKENIZER_CUTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vs_cut_flag {
    VS_CUT_USED = 1,                    /* this rule is cut so */
    VS_CUT_SPACE_ONLY = 2,              /* a run of letters, digits or signs takes one space in front; else letters any one sign */
    VS_CUT_CASED = 4,                   /* a capital behind a small letter begins a piece */
    VS_CUT_CONTRACTS = 8,               /* 's and its like are pieces of their own */
    VS_CUT_CONTRACTS_ANY_CASE = 16,
    VS_CUT_CONTRACTS_BEHIND = 32,       /* they end the word in front of them */
    VS_CUT_THREES = 64,                 /* at most three digits; else each is alone, but for SPACE_ONLY */
    VS_CUT_DIGITS_FIRST = 128,          /* a pass of their own: other pieces see the end of the text there */
    VS_CUT_SIGNS_TAKE_LINES = 256,      /* line ends behind signs belong to them */
    VS_CUT_SIGNS_TAKE_SLASHES = 512,    /* and slashes among these */
    VS_CUT_LINES = 1024,                /* white space up to its last line end is a piece */
    VS_CUT_NO_CONTROLS = 2048,          /* control characters are not signs: not sure */
};

enum { VS_CUT_BLOCK = 64 };

/* Appends the lengths of pieces of s to n_bytes, which has room for cap, as long as another block may fit; *io_n counts them.
 * Returns the bytes that they have. */
typedef size_t vs_cut_function(unsigned flags, const char *s, const char *end, uint32_t *n_bytes, size_t cap, size_t *io_n);
vs_cut_function vs_cut_c, vs_cut_avx2, vs_cut_avx512;
#endif
