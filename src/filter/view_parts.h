/* filter/view_parts.h - what the makers of views share: views.c (blocks, folding), join.c (joined, leet), survey.c,
 * decode.c and decode_*.c (encodings).
 *
 * A maker reads a source, which is the block itself or a view of it, and puts bytes into a view, each with the bytes of the source
 * that it came from. Memory: views grow; a view that can't sets its text's status. Threads: as views.h.
 */
#ifndef VS_FILTER_VIEW_PARTS_H
#define VS_FILTER_VIEW_PARTS_H
#include "filter/views.h"

struct vs_source {
    const char *text;
    size_t n;
    const struct vs_reading *map;           /* NULL: the text is the block */
};

/* Appends bytes that came from source[from, to) by this step. */
void vs_reading_put(struct vs_reading *view, const struct vs_source *source, const char *bytes, size_t n, size_t from, size_t to,
                 enum vs_reading_step step);

/* Appends source[from, to) as it is. */
void vs_reading_copy(struct vs_reading *view, const struct vs_source *source, size_t from, size_t to);

/* Ends the piece that is there, so that no pattern reaches over to the next one. */
void vs_reading_break(struct vs_reading *view);

/* What a pass over the source saw: whether a view is worth making. */
enum { VS_ASTRAY = 8 };
struct vs_survey {
    unsigned foreign;                    /* bytes from 0x80 on that are no plain punctuation, and control characters */
    unsigned singles;                    /* the most letters in a row that stand alone */
    unsigned run;                        /* the longest run of letters, digits, + / - _ =, with digits or capitals: 12 or more */
    unsigned letters;                    /* the longest run of letters */
    unsigned solid;                      /* the longest run of bytes without a blank */
    unsigned leet;                       /* digits and signs behind letters; two for each that is between letters */
    unsigned escapes;                    /* %, & and backslashes with something behind, = before a hex digit or at a line's end */
    unsigned marks;                      /* <, *, ` and ~ within words */
    unsigned groups;                     /* groups of digits */
    unsigned dots;                       /* dots and dashes behind a blank or another one */
    unsigned astray;                     /* words that cannot stand behind the one before: "the of"; where the first ones are */
    uint32_t astray_at[VS_ASTRAY];
    size_t list, list_end;               /* where rows of numbered words begin and end; the same: there are none */
    int plain;                           /* how English its words are: the sum of vs_english_pairs */
    int strange;                         /* how little the least English run of words is */
    int backwards;                       /* how much more English some run of words is from behind */
};
void vs_survey_make(const struct vs_source *source, struct vs_survey *ret);

void vs_reading_joined(const struct vs_source *source, struct vs_reading *to);
/* Without the marks and tags that stand within words. */
void vs_reading_unmarked(const struct vs_source *source, struct vs_reading *to);
void vs_reading_leet(const struct vs_source *source, struct vs_reading *to);
/* Appends what it could decode; *budget is what it may still write. */
void vs_reading_decoded(const struct vs_source *source, const struct vs_survey *survey, size_t *budget, struct vs_reading *to);
/* Upside-down letters, before they are folded. */
void vs_reading_upside_down(const struct vs_source *source, size_t *budget, struct vs_reading *to);

/* 0 to 25 for letters of either case, 26 for what is none: a row of vs_english_pairs. */
extern const uint8_t vs_letter_of[256];

static inline bool vs_ascii_letter(char c)
{
    return vs_letter_of[(uint8_t)c] < 26;
}

static inline bool vs_is_control(char c)
{
    return ((uint8_t)c < ' ' && c != '\n' && c != '\t' && c != '\r') || c == 0x7f;
}

/* Marks of HTML and Markdown that may stand within a word. */
static inline bool vs_may_be_mark(char c)
{
    return c == '<' || c == '*' || c == '`' || c == '~';
}

static inline bool vs_ascii_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline unsigned vs_letter(char c)
{
    return vs_letter_of[(uint8_t)c];
}
#endif
