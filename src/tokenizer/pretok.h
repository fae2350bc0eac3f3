/* tokenizer/pretok.h - cuts text into the pieces inside which BPE may merge.
 *
 * A rule is data: passes of blocks of elements, interpreted by one small matcher (pretok.c). The names of
 * tokenizer.ggml.pre map to rules and flags in one table; a name that is not there is refused, never guessed.
 *
 * Threads: read-only after _init. Memory: none. Time: linear in the text for every rule.
 */
#ifndef VS_TOKENIZER_PRETOK_H
#define VS_TOKENIZER_PRETOK_H
#include "base/check.h"
#include "tokenizer/cuts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vs_pretok_flag {
    VS_PRE_WHOLE_WORD = 1,              /* a pre-token that is itself in the vocabulary is emitted unmerged */
    VS_PRE_ADD_BOS = 2,                 /* default when the file does not say */
    VS_PRE_ADD_SEP = 4,
    VS_PRE_NFC = 8,                     /* text is put into Normalization Form C first */
    VS_PRE_CHARACTERS = 16,             /* pieces are characters, not bytes: U+2581 for a space, byte fallback */
    VS_PRE_SPACE_FIRST = 32,            /* each line begins with a space, its own or one that is added */
    VS_PRE_FORCES_BOS = 64,             /* whatever the file says */
    VS_PRE_MASK_STRIPS = 128,           /* the piece for a mask swallows white space in front of it */
};

struct vs_pretok_rule;

enum { VS_PRE_PASSES = 6 };             /* at most, of a rule */
enum { VS_PRE_CLASSES = 16, VS_PRE_SHAPES = 32 };

/* What the first two characters of a text say of its first piece, where all that matters is ASCII: how the piece is made. */
struct vs_pretok_plan {
    uint8_t class[256];                 /* by byte; 0: not ASCII, or one too many */
    uint8_t shape[VS_PRE_CLASSES][VS_PRE_CLASSES];      /* by the classes of both; 0: the blocks must be asked */
};
struct vs_pretok_shape {
    uint8_t kind, from;                 /* of pretok.c; characters in front of the run */
    uint8_t run, then;                  /* sets: as many of run as there are, at most `most`; then as many of `then` */
    uint16_t most;
    bool has_then, may_contract;        /* a contraction may follow */
};

struct vs_pretok {
    const struct vs_pretok_rule *rule;
    unsigned flags;                     /* enum vs_pretok_flag */
    uint64_t ascii[256];                /* by byte; bit k: the character is in set k of pretok.c; of no ASCII character: 0 */
    uint32_t first[VS_PRE_PASSES][128]; /* by pass; bit k: block k may match what begins with this character */
    struct vs_pretok_plan plan[VS_PRE_PASSES];
    struct vs_pretok_shape shape[VS_PRE_SHAPES];        /* that plans name */
    unsigned n_shapes;
    unsigned cut_flags;                 /* enum vs_cut_flag; 0: not by masks */
    vs_cut_function *cut;
};

/* VS_OK, or VS_E_UNSUPPORTED when the name is not known (p is then untouched). */
int vs_pretok_init(struct vs_pretok *p, const char *name, size_t n);

/* Name i of the table; NULL: there are no more. */
const char *vs_pretok_name(size_t i);

/* The next n pieces, one behind the other from s on. */
typedef int vs_pretok_pieces(void *context, const char *s, const uint32_t *n_bytes, size_t n);

/* Calls pieces for the parts of text[0..n), in order and without a gap; stops and returns its result, or the check's, when it
 * is not VS_OK. text must be valid UTF-8 and shorter than 2^31 bytes. */
int vs_pretok_split(const struct vs_pretok *p, const char *text, size_t n, struct vs_check *check, vs_pretok_pieces *pieces,
                    void *context);
#endif
