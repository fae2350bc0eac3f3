/* grammar/grammar.h - answers that keep a form: a JSON schema, a regular expression, a choice, a grammar; calls of functions.
 *
 *     constraint (JSON) --schema.c, regex.c, gbnf.c--> rules over bytes --matcher.c--> states --trie of the vocabulary--> masks
 *     tools             --calls.c, schema.c---------->
 *
 * A grammar is a set of rules; a rule is an automaton over bytes whose edges may call rules. A matcher follows one answer through
 * it and says which tokens may come next. It always ends valid: each state knows its shortest end, and where just enough tokens are
 * left only such a way is allowed.
 *
 * What can't be enforced is refused before anything begins: VS_E_INVALID (it is no schema, no regular expression; nothing can
 * satisfy it), VS_E_UNSUPPORTED (a keyword or a construct, named with its place), VS_E_LIMIT (too large).
 *
 * Memory:  a vocabulary some 8 MB for 150,000 tokens; a grammar at most some 20 MB, a matcher at most some 12 MB.
 * Threads: vocabularies and grammars are read-only once made, for any number of threads; a matcher is one thread's at a time.
 */
#ifndef VS_GRAMMAR_GRAMMAR_H
#define VS_GRAMMAR_GRAMMAR_H
#include "base/buf.h"
#include "base/check.h"
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the tokens of a model spell, as a trie. */
struct vs_vocabulary;
struct vs_vocabulary_source {
    uint32_t n;                          /* tokens; a mask has so many bits */
    void *context;
    /* The bytes that a token adds to the answer; NULL or *ret_n 0: it adds nothing, and is never allowed but as an end. */
    const char *(*text)(void *context, uint32_t id, size_t *ret_n);
    bool (*is_end)(void *context, uint32_t id);
};
int vs_vocabulary_create(const struct vs_vocabulary_source *source, struct vs_check *check, struct vs_vocabulary **ret);
void vs_vocabulary_free(struct vs_vocabulary *v);

struct vs_grammar;
enum vs_grammar_use {
    VS_GRAMMAR_WRITES,                   /* for answers: a value is spelled in one way */
    VS_GRAMMAR_READS,                    /* for texts that are there: also other spellings of the same value */
};
/* The object {"json_schema"|"json_object"|"regex"|"choice"|"grammar": ...}. The vocabulary must outlive it. "or_calls" (a flag) may
 * stand beside: vs_grammar_calls reads it. */
int vs_grammar_compile(const json_t *constraint, enum vs_grammar_use use, const struct vs_vocabulary *v, struct vs_check *check,
                       struct vs_grammar **ret, struct vs_error *err);
void vs_grammar_free(struct vs_grammar *g);

/* ---- calls of functions ---- */

/* How a family of models writes them: open NAME close ARGUMENTS. Texts; 0xff and bytes above 0xf7 spell tokens that are no text, as
 * the vocabulary's source does. */
struct vs_call_tags {
    const char *key_open;
    const char *key_close, *value_close; /* around text; a %s in value_close is the key. NULL: all values are JSON */
    const char *end;                     /* behind the last value */
    const char *json_close, *json_end;   /* around JSON, where they are others; a %s in json_close is its type */
    const char *between;                 /* two of them; NULL: nothing */
};
struct vs_call_form {
    const char *begin;                   /* stands in front of the first one; a part of the grammar only beside a constraint */
    const char *open, *close;
    const char *between;                 /* two calls; NULL: there is but one */
    const char *after;                   /* may stand behind the last of several; NULL: nothing */
    const struct vs_call_tags *tags;     /* arguments are (key_open KEY key_close VALUE value_close between)... end; NULL: JSON */
};
struct vs_callable { const char *name; const json_t *parameters; };
/* One call of any of them, or several; or, where `constraint` is not NULL, what that wants in their place; is_bare: or the object
 * of one call alone. All may go afterwards, but for the vocabulary. */
int vs_grammar_calls(const struct vs_call_form *form, const struct vs_callable *f, size_t n, const json_t *constraint,
                     bool is_bare, const struct vs_vocabulary *v, struct vs_check *check, struct vs_grammar **ret,
                     struct vs_error *err);
#define VS_OR_CALLS "or_calls"           /* key of a constraint: the answer keeps it, or is calls */

/* Of which types a value of the schema may be; root is what its references are about. Too many rather than too few. */
enum vs_json_type {
    VS_JSON_NULL = 1, VS_JSON_BOOLEAN = 2, VS_JSON_INTEGER = 4, VS_JSON_NUMBER = 8, VS_JSON_STRING = 16, VS_JSON_ARRAY = 32,
    VS_JSON_OBJECT = 64, VS_JSON_ANY = 127,
};
unsigned vs_schema_types(const json_t *root, const json_t *schema);
unsigned vs_json_type(const json_t *v);  /* a whole number is an INTEGER, another one a NUMBER */
uint32_t vs_grammar_size(const struct vs_grammar *g);      /* states */

/* One text on its way through a grammar. */
struct vs_matcher;
int vs_matcher_create(const struct vs_grammar *g, struct vs_matcher **ret);
void vs_matcher_free(struct vs_matcher *m);

/* Tokens that an answer needs from here, at most: 0 when it may end here. UINT32_MAX: the vocabulary can't spell an end. */
uint32_t vs_matcher_shortest(struct vs_matcher *m);
/* Which tokens may come next, when `left` more may follow that one: bit id % 64 of word id / 64. Valid until the next call. Tokens
 * that end an answer are among them where it may end. NULL: out of memory, or no token may come. */
const uint64_t *vs_matcher_mask(struct vs_matcher *m, uint32_t left);
/* The token comes. False: it may not, or there is no memory; nothing has changed. */
bool vs_matcher_take(struct vs_matcher *m, uint32_t id);
/* Bytes come; returns how many of them may: all n, or those before the first that may not. */
size_t vs_matcher_read(struct vs_matcher *m, const char *text, size_t n);
bool vs_matcher_may_end(const struct vs_matcher *m);
bool vs_matcher_must_end(const struct vs_matcher *m);       /* nothing can follow */

/* Adds to *out (NULL: nowhere) the JSON text with its strings and numbers in one spelling of all (respell.c), at most so many bytes
 * of it; returns how many bytes of the text those are. What is no JSON stays what it is. */
size_t vs_json_respell(const char *text, size_t n, size_t most, struct vs_buf *out);
#endif
