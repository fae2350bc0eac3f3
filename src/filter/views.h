/* filter/views.h - what a text says when it is not taken literally: views of it, in each of which rules and model look.
 *
 *     folded format characters, marks and variation selectors gone, compatible forms (NFKC), lower case, Braille; confusables in
 *                 words of mixed scripts as the letters that they look like; tag characters and the like are text of their own
 *     unmarked    words without the marks and tags that stand within them, and without comments between them
 *     joined      letters that were s p a c e d, d.o.t.t.e.d or written without blanks between words, as words
 *     leet        digits and signs inside words as the letters that they stand for
 *     decoded     runs of base64, base32, base58, base85, uuencode, hex, numbers (bytes, octal too, or places in the alphabet),
 *                 binary, Morse; %41, &#65; \u0041, quoted-printable; ROT13, ROT47, other shifts, reversed and upside-down text;
 *                 words from behind, words with a number before each, words that are spelled in another way:
 *                 each decoded piece is a line of its own. Twice: what was decoded is decoded once more
 *
 * A view is made only where the text has a reason for it, so plain text costs one pass. Each byte of a view knows the bytes of the
 * input that it came from. A text is read in blocks, so that memory has a limit whatever the text: the views of a block hold at
 * most VS_VIEWS_MOST bytes for each byte of it, and decoding stops where that is used up.
 *
 * Memory: the struct's, kept for the next block; _clear frees it. Time: linear. Threads: one at a time for each struct.
 * Any bytes are welcome: what is not valid UTF-8 is left out of views.
 */
#ifndef VS_FILTER_VIEWS_H
#define VS_FILTER_VIEWS_H
#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    VS_VIEWS_BLOCK = 1 << 14,            /* bytes of a block, at most */
    VS_VIEWS = 8,                        /* views of one block, the plain one not counted */
    VS_VIEWS_DEPTH = 2,                  /* encodings within encodings */
    VS_VIEWS_MOST = 4,                   /* bytes of decoded text for each byte of the block, */
    VS_VIEWS_LEAST = 4096,               /* and so many more: what is short may be tried in every way */
};

/* How a piece of a view came to be: names what a finding says. */
#define VS_READING_STEP_MAP(X)                                                                                                  \
    X(PLAIN, "plain") X(INVISIBLE, "invisible") X(TAGS, "tags") X(FOLDED, "folded") X(MARKS, "marks") \
    X(CONFUSABLES, "confusables") X(UNMARKED, "unmarked") X(JOINED, "joined") X(LEET, "leet") X(BASE64, "base64") \
    X(BASE32, "base32") X(BASE58, "base58") X(BASE85, "base85") X(UU, "uuencode") X(HEX, "hex") X(NUMBERS, "numbers") \
    X(BINARY, "binary") X(MORSE, "morse") X(ESCAPES, "escapes") X(SHIFTED, "rot13") X(REVERSED, "reversed") \
    X(UPSIDE_DOWN, "upside-down") X(REORDERED, "reordered") X(LISTED, "listed") X(RESPELLED, "respelled")

enum vs_reading_step {
#define VS_READING_STEP_ENUM(name, text) VS_READING_##name,
    VS_READING_STEP_MAP(VS_READING_STEP_ENUM)
#undef VS_READING_STEP_ENUM
    VS_N_READING_STEPS
};
extern const char *const vs_reading_step_names[VS_N_READING_STEPS];

struct vs_reading {
    struct vs_buf text;
    uint32_t *from;                      /* [cap]: where in the block a byte of the view began; not always rising (reversed) */
    uint32_t *to;                        /* [cap]: and ended */
    uint8_t *step;                       /* [cap]: enum vs_reading_step, the one that says most */
    size_t cap;
};

struct vs_survey;

struct vs_views {
    struct vs_reading view[VS_VIEWS];
    unsigned n;
    size_t budget;                       /* bytes that may still be decoded */
    bool hidden;                         /* there was text that nobody sees: at least VS_VIEWS_HIDDEN tag characters or the like */
};
enum { VS_VIEWS_HIDDEN = 8 };

/* The views of text[0, n), n at most VS_VIEWS_BLOCK; those of the last block are gone then. VS_OK or VS_E_NOMEM. */
/* known: the text's survey (view_parts.h), where it is known already; else NULL. */
int vs_views_make(struct vs_views *v, const char *text, size_t n, const struct vs_survey *known);
void vs_views_clear(struct vs_views *v);

/* Where in the block the bytes start..end of a view came from, and by which step: the one that says most. */
void vs_reading_place(const struct vs_reading *view, size_t start, size_t end, size_t *ret_start, size_t *ret_end,
                      enum vs_reading_step *ret_step);
#endif
