/* grammar/internal.h - what the files of this room share. Not for others.
 *
 *     grammar.c     places, edges, rules; costs, left recursion        vocabulary.c  the trie of the tokens
 *     matcher.c     states, masks                                      dfa.c         automata that are intersected
 *     subset.c      automata from places
 *     regex.c gbnf.c json.c calls.c   what writes rules                rewrite.c     schemas that say less with more
 *     schema*.c     rules for JSON schemas (schema.h)
 */
#ifndef VS_GRAMMAR_INTERNAL_H
#define VS_GRAMMAR_INTERNAL_H
#include "grammar/grammar.h"

#define VS_NOWHERE UINT32_MAX           /* no place, no rule, no node */
#define VS_COST_NEVER 0x3fffffffu       /* of what has no end */
#define VS_COST_RARE 0x100000u          /* of a byte that no token spells alone */
enum {
    VS_MAX_PLACES = 1 << 18,
    VS_MAX_EDGES = 1 << 20,
    VS_MAX_LOOKS = 32,                  /* look-aheads and look-behinds of a regular expression */
    VS_MAX_HEIGHT = 4000,               /* rules that are open at once */
    VS_MAX_SPENT = 64 << 20,            /* units of work for one constraint: about a second */
};

/* BEGIN and END: only where nothing was read yet, where nothing follows. WORD: a boundary of words; AHEAD, BEHIND: what `rule`
 * allows follows, or ends here. subset.c resolves these. */
enum vs_edge_kind {
    VS_EDGE_EMPTY, VS_EDGE_BYTES, VS_EDGE_CALL, VS_EDGE_BEGIN, VS_EDGE_END,
    VS_EDGE_WORD, VS_EDGE_NOT_WORD, VS_EDGE_AHEAD, VS_EDGE_NOT_AHEAD, VS_EDGE_BEHIND, VS_EDGE_NOT_BEHIND,
};
struct vs_edge {
    uint32_t to;
    uint32_t rule;                      /* called, or looked for; VS_NOWHERE: none */
    uint32_t next;                      /* of the same place, while it is built */
    uint8_t lo, hi;
    uint8_t kind;
};

struct vs_place {
    uint32_t first;                     /* edge; the last that was added, while it is built */
    uint32_t n;
    uint32_t cost;                      /* of the shortest way to the end of its rule, in bytes */
    uint32_t best;                      /* the edge that it begins with; VS_NOWHERE: it is the end */
    uint32_t run;                       /* so many characters of plain text may follow, whatever they are; UINT32_MAX: any number */
    uint32_t run_cost;                  /* greatest cost of the places that they lead to */
    uint32_t group;                     /* of the places of one automaton; 0: alone */
    uint16_t height;                    /* rules that are opened on that way, one in the other */
    bool is_end, has_bytes;
    bool reads_plain;                   /* some byte of plain text */
    bool is_companion;                  /* reads what lies beyond ASCII, or an escape, for a place with a run */
};

struct vs_rule { uint32_t start, end; char *name; };

struct vs_never { uint32_t owner, rule; char *text; };      /* owner may allow something only if rule allows nothing */

struct vs_grammar {
    const struct vs_vocabulary *v;
    enum vs_grammar_use use;
    struct vs_check *check;             /* while it is built */
    struct vs_place *place;
    struct vs_edge *edge;
    struct vs_rule *rule;
    uint32_t n_places, cap_places, n_edges, cap_edges, n_rules, cap_rules;
    uint32_t root;
    struct vs_never *never;
    uint32_t n_never, cap_never;
    uint64_t spent;                     /* units of work */
    bool overlaps;                      /* alternatives of a oneOf do, as far as is known */
    bool splits;                        /* oneOf is written as alternatives that exclude each other by complements (rewrite.c) */
    struct vs_error err;                /* the first that went wrong while it was built; code VS_OK: nothing */
    uint8_t class_of[256], example[256];        /* bytes that no edge tells apart; one of each class */
    unsigned n_classes;
};

/* ---- grammar.c: building. All are sticky: after an error they do nothing, and the last one tells. ---- */

uint32_t vs_place_add(struct vs_grammar *g);
void vs_edge_empty(struct vs_grammar *g, uint32_t from, uint32_t to);
void vs_edge_assert(struct vs_grammar *g, uint32_t from, enum vs_edge_kind kind, uint32_t rule, uint32_t to);    /* BEGIN and on */
void vs_edge_bytes(struct vs_grammar *g, uint32_t from, unsigned lo, unsigned hi, uint32_t to);
void vs_edge_call(struct vs_grammar *g, uint32_t from, uint32_t rule, uint32_t to);
void vs_edge_text(struct vs_grammar *g, uint32_t from, const char *text, size_t n, uint32_t to);
/* Code points lo to hi as UTF-8; surrogates are left out. */
void vs_edge_chars(struct vs_grammar *g, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to);
uint32_t vs_rule_add(struct vs_grammar *g, const char *name, size_t n_name);      /* with a start and an end place */
int vs_grammar_fail(struct vs_grammar *g, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Units of work: false when it must stop. */
bool vs_grammar_work(struct vs_grammar *g, uint64_t units);

/* Where an answer can come to `owner`, `rule` must allow nothing; else the text (taken over) is why it is refused. */
bool vs_grammar_never(struct vs_grammar *g, uint32_t owner, uint32_t rule, char *text);

struct vs_grammar *vs_grammar_begin(const struct vs_vocabulary *v, enum vs_grammar_use use, struct vs_check *check);
int vs_grammar_finish(struct vs_grammar *g, struct vs_error *err);
/* Finishes it, and refuses what would take too long; *ret or it is freed. *ret_overlaps: it may be tried again, with `splits`. */
int vs_grammar_give(struct vs_grammar *g, struct vs_grammar **ret, bool *ret_overlaps, struct vs_error *err);

/* Ranges of characters; zeroed: none. free(v) ends them. */
struct vs_range { uint32_t lo, hi; };
struct vs_ranges { struct vs_range *v; size_t n, cap; };
bool vs_ranges_add(struct vs_grammar *g, struct vs_ranges *r, uint32_t lo, uint32_t hi);
bool vs_ranges_invert(struct vs_grammar *g, struct vs_ranges *r);
void vs_ranges_edges(struct vs_grammar *g, struct vs_ranges *r, uint32_t from, uint32_t to);    /* sorts them */

/* ---- property.c ---- */

/* The characters of \p{name}. False: a name that is not known. */
bool vs_property_ranges(struct vs_grammar *g, const char *name, size_t n, struct vs_ranges *r);

/* ---- regex.c ---- */

/* The whole text. */
void vs_regex_add(struct vs_grammar *g, const char *text, size_t n, uint32_t from, uint32_t to);

/* With edges of all kinds, for subset.c. searches: somewhere in the text, as patterns of JSON schema are meant. */
void vs_regex_places(struct vs_grammar *g, const char *text, size_t n, bool searches, uint32_t from, uint32_t to);

/* ---- subset.c: NULL when g has an error. ---- */

/* The texts that lead from start to end in `of`, which has no calls; looks have rules of it, inner ones behind outer ones. */
struct vs_dfa *vs_dfa_of_places(struct vs_grammar *g, const struct vs_grammar *of, uint32_t start, uint32_t end);

/* ---- dfa.c: NULL when g has an error. ---- */

#define VS_DFA_DEAD UINT64_MAX
struct vs_dfa {
    uint32_t n;                          /* states; it begins in 0; with none it accepts nothing */
    unsigned n_classes;
    uint8_t class_of[256];
    uint32_t *next;                      /* [n, n_classes]; VS_NOWHERE */
    bool *accepts;                       /* [n] */
};
struct vs_dfa_maker {
    uint64_t start;                      /* a state is any number */
    void *context;
    uint64_t (*step)(void *context, uint64_t state, uint8_t byte);      /* VS_DFA_DEAD: nowhere */
    bool (*accepts)(void *context, uint64_t state);
    void (*cuts)(void *context, uint64_t state, bool cut[257]);         /* of this state alone, added; NULL: any cut may be one */
};
/* cut[b]: byte b differs from byte b - 1. */
struct vs_dfa *vs_dfa_make(struct vs_grammar *g, const bool cut[257], const struct vs_dfa_maker *maker);
struct vs_dfa *vs_dfa_of_pattern(struct vs_grammar *g, const char *text, size_t n, bool searches);
struct vs_dfa *vs_dfa_of_texts(struct vs_grammar *g, const char *const *text, const size_t *n, size_t n_texts);
struct vs_dfa *vs_dfa_of_length(struct vs_grammar *g, uint64_t low, uint64_t high);      /* in characters; high UINT64_MAX: none */
enum vs_dfa_both { VS_DFA_AND, VS_DFA_AND_NOT };
struct vs_dfa *vs_dfa_both(struct vs_grammar *g, struct vs_dfa *a, struct vs_dfa *b, enum vs_dfa_both both); /* takes a and b */
uint32_t vs_dfa_step(const struct vs_dfa *d, uint32_t state, uint8_t byte);
void vs_dfa_free(struct vs_dfa *d);
/* As it is; and as what stands between the quotes of a JSON string. */
void vs_dfa_emit(struct vs_grammar *g, const struct vs_dfa *d, uint32_t from, uint32_t to);
void vs_dfa_emit_string(struct vs_grammar *g, const struct vs_dfa *d, uint32_t from, uint32_t to);

/* ---- matcher.c ---- */

/* Of a new matcher, which is of no use afterwards: so many places at once that a mask takes some 10 ms, or would with more tokens.
 * 0: never so many, going on by the bytes that leave most places open; moves_on: and never in a circle. */
uint32_t vs_matcher_too_wide(struct vs_matcher *m, bool moves_on);

/* ---- grammar.c ---- */

/* What a constraint allows, whichever kind it is. */
void vs_constraint_add(struct vs_grammar *g, const json_t *constraint, uint32_t from, uint32_t to);

/* ---- gbnf.c ---- */

void vs_gbnf_add(struct vs_grammar *g, const char *text, size_t n);               /* its rule "root" becomes the root */

/* ---- json.c ---- */

uint32_t vs_spell_space(struct vs_grammar *g);         /* a rule: bounded white space */
uint32_t vs_spell_companion(struct vs_grammar *g);     /* a rule: a character of a string that is not plain ASCII */
/* Between the quotes of a string: low to high characters (UINT64_MAX: no limit). */
void vs_spell_text(struct vs_grammar *g, uint32_t companion, uint64_t low, uint64_t high, uint32_t from, uint32_t to);
void vs_spell_literal(struct vs_grammar *g, const char *s, size_t n, uint32_t from, uint32_t to);       /* with its quotes */
void vs_spell_value(struct vs_grammar *g, uint32_t space, const json_t *v, uint32_t from, uint32_t to);

/* A decimal number: no zeros that say nothing, and no minus before zero. */
enum { VS_WHOLE_DIGITS = 60, VS_FRACTION_DIGITS = 40 };       /* of a number, at most */
struct vs_decimal { bool negative; char whole[64], fraction[48]; };
bool vs_decimal_of(const json_t *v, struct vs_decimal *ret);          /* false: it is no number, or too large or too long */
int vs_decimal_compare(const struct vs_decimal *a, const struct vs_decimal *b);
struct vs_number {
    bool integer, has_low, has_high, low_open, high_open;
    bool fractional;                    /* no whole number */
    struct vs_decimal low, high;
    uint64_t multiple;                  /* of multiple / 10^decimals it is one; 0: of anything */
    unsigned decimals;
    const char *multiple_path;          /* for messages */
};
/* A number as an answer says it. */
enum { VS_NUMBER_TEXT = 160 };
void vs_spell_number_of(const json_t *v, char text[VS_NUMBER_TEXT]);
void vs_spell_number(struct vs_grammar *g, const struct vs_number *what, uint32_t from, uint32_t to);

/* ---- schema_sets.c: what $ref may name. {root} is one; nothing is read before the first name is asked for. ---- */

struct vs_schema_scope {
    const json_t *root;                 /* not held */
    json_t *named;                      /* "A" by $id, "#x" and "A#x" by $anchor; null: several have the name. NULL: not read yet */
    bool has_failed;                    /* no memory: nothing is found */
};
void vs_schema_scope_read(struct vs_schema_scope *s);      /* now; later changes below the root change no name */
void vs_schema_scope_clear(struct vs_schema_scope *s);
const json_t *vs_schema_follow(struct vs_schema_scope *s, const char *ref);    /* NULL: there is no schema */

/* ---- schema.c ---- */

enum { VS_MAX_BELOW = 500 };             /* levels of a schema that are looked through */
void vs_schema_add(struct vs_grammar *g, const json_t *schema, uint32_t from, uint32_t to);
bool vs_schema_says_nothing(const json_t *schema);
bool vs_schema_asserts(const json_t *schema, const char *keyword, const json_t *v);     /* does this keyword of it say anything? */
enum vs_schemas_below { VS_BELOW_NONE, VS_BELOW_ONE, VS_BELOW_LIST, VS_BELOW_MAP };
enum vs_schemas_below vs_schema_below(const char *keyword);             /* which schemas stand under a keyword */
/* Those of the texts (taken over) that the schema allows as strings; NULL when g has an error. */
struct vs_dfa *vs_schema_limit(struct vs_grammar *g, struct vs_schema_scope *scope, const json_t *schema, struct vs_dfa *text);
/* As vs_schema_types, and counted as work. */
unsigned vs_schema_types_within(struct vs_grammar *g, struct vs_schema_scope *scope, const json_t *schema);

/* ---- rewrite.c: a new reference, to a copy where something was rewritten; NULL: no memory. *scope becomes that of it. ---- */

json_t *vs_schema_rewritten(struct vs_grammar *g, const json_t *schema, struct vs_schema_scope *scope);
/* Keywords that only it writes. */
#define VS_NOT_PATTERN "\x7f" "not pattern"
#define VS_NOT_ENUM "\x7f" "not enum"               /* strings */
#define VS_NOT_INTEGER "\x7f" "not integer"
#define VS_NOT_CONTAINS "\x7f" "not contains"       /* what contains does not count */

/* ---- vocabulary.c ---- */

enum { VS_SLICE_CHARS = 32, VS_TOKEN_BYTES = 256 };
struct vs_trie_nodes {                  /* in the order of a walk: a node, then what lies below it */
    uint8_t *byte;
    uint8_t *depth;                     /* of its parent; the root's children have 0 */
    uint32_t *skip;                     /* the next node that is not below this one */
    uint32_t *token;                    /* that ends here; VS_NOWHERE */
    uint32_t n, cap;
};

struct vs_vocabulary {
    uint32_t n, n_words;                /* tokens; words of a mask */
    char *bytes;                        /* of token i: bytes[at[i] .. at[i + 1]) */
    uint32_t *at;
    uint32_t *same;                     /* the next token with the same bytes; VS_NOWHERE */
    struct vs_trie_nodes all;           /* each token */
    struct vs_trie_nodes rest;          /* without those in slices */
    uint32_t child[257];                /* the root's child for a byte; VS_NOWHERE */
    uint64_t *slice[VS_SLICE_CHARS + 1];         /* tokens of plain text of at most so many characters */
    uint32_t *end;                      /* [n_ends] */
    uint32_t n_ends;
    bool spells[256];                   /* some token is this byte alone */
    bool spells_all;
};

/* Characters beyond ASCII: the first byte, the second, and how many follow the first. */
enum { VS_UTF8_SHAPES = 8 };
extern const struct vs_utf8_shape { uint8_t lo, hi, second_lo, second_hi, n; } vs_utf8_shape[VS_UTF8_SHAPES];

/* Text that stands for itself in a JSON string: all but quote, backslash and control characters. */
static inline bool vs_is_plain(unsigned byte)
{
    return byte >= 0x20 && byte != '"' && byte != '\\';
}
#endif
