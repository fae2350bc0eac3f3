/* filter/rulefile.h - rules of injection as people write them: src/filter/rules/ *.rules, plain text (docs/RULES.md explains it).
 *
 *     let forget = ignore|disregard|forget            a name for a part of patterns: {forget}; it may use earlier ones
 *     rule override-1 override 800                    id, class, weight: how sure this rule alone makes us, 0 to 1000;
 *                                                     350/700: of what a user says, and of retrieved documents and tools' output
 *       match {forget} .. {prior} ~ rules?            a pattern; several mean any of them
 *       for Ignore all previous instructions.         an example that it finds: a test
 *       not Ignore the previous error message.        one that it must not find: a test
 *
 * A pattern is a row of parts, with blanks between. A part is a small regular expression of Vectorscan (PCRE's syntax without
 * look-around and back references); blanks within its groups separate words. Between two parts stands in the text:
 *
 *     A B         what separates words, at most VS_RULE_NEXT bytes
 *     A ~ B       at most VS_RULE_NEAR bytes of the same sentence
 *     A .. B      at most VS_RULE_FAR bytes of the same sentence
 *     A ... B     at most VS_RULE_BEYOND bytes, whatever they are
 *
 * Letters stand for both cases. A part is taken apart into the words that it may be, and these are looked up; only what has more
 * than letters, digits and blanks, or no end to what it may be, becomes an expression of Vectorscan. `\w*` at the end of a word
 * stands for any ending. Hyphens, underscores and apostrophes are blanks ("don't" is two words). What is not ASCII is folded as
 * vs_unicode_fold does, so that it finds the texts that views.h makes; scripts that do not separate words (Chinese, Japanese) are
 * found anywhere. In examples \n, \t, \\ and \u{HEX} are read as one expects. `#` begins a comment line.
 *
 * Only the compiler of rules (tools/mkrules.c) and tests read this; the guard gets what rules.h describes.
 * Memory: all of it belongs to the struct; _clear frees it. Threads: one at a time.
 */
#ifndef VS_FILTER_RULEFILE_H
#define VS_FILTER_RULEFILE_H
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*    name in files     */
#define VS_RULE_CLASS_MAP(X)                                                                                                \
    X(OVERRIDE, "override")             /* what was said before no longer holds */                                       \
    X(EXTRACTION, "extraction")         /* tell me your instructions */                                                  \
    X(ROLE, "role")                     /* be somebody who may do anything */                                            \
    X(MARKER, "marker")                 /* pretends to be the template, or another role of the conversation */           \
    X(EXFILTRATION, "exfiltration")     /* send data out, use tools */                                                   \
    X(ENCODING, "encoding")             /* decode this and do what it says */                                            \
    X(LANGUAGE, "language")             /* any of these in a language other than English */                              \
    X(HARMLESS, "harmless")             /* what begins in it does not count ("do not forget ..."); weight unused */            \
    X(ABOUT, "about")                   /* speaks about injection: a quoted phrase beside it counts less; weight unused */      \
    X(REPORTED, "reported")             /* what begins in it was told to somebody: it counts half; weight unused */

enum vs_rule_class {
#define VS_RULE_CLASS_ENUM(name, text) VS_RULE_##name,
    VS_RULE_CLASS_MAP(VS_RULE_CLASS_ENUM)
#undef VS_RULE_CLASS_ENUM
    VS_N_RULE_CLASSES
};
extern const char *const vs_rule_class_names[VS_N_RULE_CLASSES];

enum vs_rule_gap { VS_RULE_ADJACENT, VS_RULE_SHORT, VS_RULE_LONG, VS_RULE_WIDE, VS_N_RULE_GAPS };     /* ` `, ~, .., ... */

enum {
    VS_RULE_ID = 48,                     /* bytes of an id with its NUL */
    VS_RULE_PARTS = 8,                   /* parts of a pattern */
    VS_RULE_WORD = 63,                   /* bytes of a word that is looked up */
    VS_RULE_PATTERN = 8192,              /* bytes of a part, names replaced */
    VS_RULES_MOST = 16384,               /* rules, patterns, parts, words */
    VS_RULE_NEXT = 6, VS_RULE_NEAR = 24, VS_RULE_FAR = 56, VS_RULE_BEYOND = 240,
};

enum vs_rule_word_kind {
    VS_WORD_WHOLE,                       /* a word of the text is this: letters, digits and bytes from 0x80 on, in lower case */
    VS_WORD_PREFIX,                      /* a word of the text begins so */
    VS_WORD_PHRASE,                      /* words with what separates words between: a pattern of its own */
    VS_WORD_REGEX,                       /* the rest: for Vectorscan */
    VS_N_WORD_KINDS
};
struct vs_rule_word { char *text; enum vs_rule_word_kind kind; };

/* What any of the alternatives of a part is: words[0, n) of the file. */
struct vs_rule_part { uint16_t *word; unsigned n; };

enum { VS_RULE_NONE = 0xffff };
struct vs_rule_pattern {
    uint16_t rule;                       /* VS_RULE_NONE: a phrase, which is found as the word `word` */
    uint16_t word;
    uint8_t n;                           /* parts; at least one */
    uint8_t gap[VS_RULE_PARTS];          /* enum vs_rule_gap, before each; unused of the first */
    uint16_t part[VS_RULE_PARTS];
};

struct vs_rule_example { char *text; size_t n; bool found; };        /* found: `for` */

struct vs_rule_text {
    char id[VS_RULE_ID];
    enum vs_rule_class class;
    unsigned weight[2];                  /* of what a user says; of what was retrieved, or came from a tool */
    unsigned n_patterns;
    struct vs_rule_example *example;     /* [n_examples] */
    size_t n_examples;
};

struct vs_rulefile {
    struct vs_rule_text *rule;           /* [n] */
    size_t n;
    struct vs_rule_pattern *pattern;     /* [n_patterns] */
    size_t n_patterns;
    struct vs_rule_part *part;           /* [n_parts] */
    char **part_text;                    /* [n_parts], each once */
    size_t n_parts, n_part_texts;
    struct vs_rule_word *word;           /* [n_words], each once */
    size_t n_words;
    struct vs_rule_let *let;             /* names so far */
    size_t n_lets;
};

/* Adds what text[0, n) says; `name` is for messages. Names and ids of earlier files hold. VS_E_MALFORMED with file, line and what
 * was wrong, or VS_E_NOMEM; then what was read before stays. A zeroed struct is empty. */
int vs_rulefile_add(struct vs_rulefile *f, const char *name, const char *text, size_t n, struct vs_error *err);
void vs_rulefile_clear(struct vs_rulefile *f);
#endif
