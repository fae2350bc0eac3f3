/* grammar/schema.h - what the files that write rules for JSON schemas share. Stays inside the room.
 *
 *     schema.c            what a schema may say, where it stands, the way from a schema to rules
 *     schema_sets.c       sets, $ref, alternatives      schema_scalars.c   strings, numbers, enum and const
 *     schema_arrays.c     schema_objects.c
 *
 * All of them stop when the grammar has an error.
 */
#ifndef VS_GRAMMAR_SCHEMA_H
#define VS_GRAMMAR_SCHEMA_H
#include "grammar/internal.h"

enum {
    MAX_SET = 64,                        /* schemas that must hold together */
    MAX_COUNTED = 20000,                 /* members that are counted, and characters beside a pattern */
    MAX_PATH = 200,                      /* bytes of a place that is shown */
};

enum {
    T_NULL = VS_JSON_NULL, T_BOOLEAN = VS_JSON_BOOLEAN, T_INTEGER = VS_JSON_INTEGER, T_NUMBER = VS_JSON_NUMBER,
    T_STRING = VS_JSON_STRING, T_ARRAY = VS_JSON_ARRAY, T_OBJECT = VS_JSON_OBJECT, T_ALL = VS_JSON_ANY,
};

/* Schemas that must all hold, in the order in which they were met; sorted for its key. */
struct vs_set { const json_t *v[MAX_SET]; unsigned n; bool never; };

/* A set that has a rule; v sorted, and once more in its own order. pair_of: two alternatives of that one's oneOf,
 * asked for only to see that they allow nothing together; else NULL. */
struct vs_made { const json_t **v; unsigned n; uint32_t rule; const json_t *pair_of; };
struct vs_named_place { const json_t *schema; char *path; };

struct vs_compiler {
    struct vs_grammar *g;
    struct vs_schema_scope *scope;
    struct vs_made *made;                /* [n_made]; those from n_done on are still to be written */
    uint32_t n_made, n_done, cap_made;
    uint32_t *slot, mask;                /* of made, by content */
    struct vs_named_place *place;        /* an open table by address */
    uint32_t n_places, place_mask;
    uint32_t n_pairs;                    /* of alternatives that must exclude each other */
    uint32_t space, companion;
    uint32_t number[2];                  /* rules of any number, and of any integer; VS_NOWHERE: not yet */
    json_t *own;                         /* schemas that were made here */
};

/* end[i]: where those of v[n] end that came through v[i]; NULL: it does not matter. */
struct vs_list { struct vs_compiler *c; const json_t *const *v; const unsigned *end; unsigned n; uint32_t from, to; };

static inline bool failed(const struct vs_compiler *c)
{
    return c->g->err.code != VS_OK;
}

static inline uint32_t address_hash(const void *p)
{
    uint64_t h = (uint64_t)(uintptr_t)p * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

/* ---- schema.c ---- */

void vs_compiler_clear(struct vs_compiler *c);
void *vs_schema_no_memory(struct vs_compiler *c);        /* says so, and returns NULL */
/* Where a schema stands, for messages: "#/properties/a". _at, _at_number: the schema below another one, which is named by keyword
 * and name or number. */
const char *vs_path_of(struct vs_compiler *c, const json_t *schema);
void vs_schema_name(struct vs_compiler *c, const json_t *schema, const char *path);
const json_t *vs_schema_at(struct vs_compiler *c, const json_t *parent, const char *keyword, const char *name,
                           const json_t *schema);
const json_t *vs_schema_at_number(struct vs_compiler *c, const json_t *parent, const char *keyword, size_t i);
void vs_refuse(struct vs_compiler *c, int code, const json_t *schema, const char *keyword, const char *why);

bool vs_is_schema(const json_t *v);
/* T_*, by its type, and nullable beside that; T_ALL: it says none; 0: what it says is none. */
unsigned vs_types_said(const json_t *schema);
bool vs_schema_whole(const json_t *v, uint64_t *ret);    /* a whole number of at least 0 */
/* Some keywords say nothing in one form; then they are no reason to refuse. */
bool vs_is_idle(const json_t *schema, const char *name, const json_t *v);
bool vs_schema_check(struct vs_compiler *c, const json_t *schema);       /* its keywords; false: one was refused */
/* What the list allows of these types. has_type: the schemas say a type. */
void vs_list_add_types(struct vs_list *l, unsigned bits, bool has_type);

/* ---- schema_sets.c ---- */

void vs_set_add(struct vs_compiler *c, struct vs_set *s, const json_t *schema);
/* The rule of the set; it is written later. VS_NOWHERE: the set allows nothing. */
uint32_t vs_set_rule(struct vs_compiler *c, const struct vs_set *s, const json_t *pair_of);
void vs_set_call(struct vs_compiler *c, const struct vs_set *s, uint32_t from, uint32_t to);
/* The place behind a comma, and white space, at `from`: where an element or a member behind others begins. */
uint32_t vs_behind_comma(struct vs_compiler *c, uint32_t from);
/* All ways to take one alternative of each: `take` gets each list of schemas, none of which has alternatives that are not taken. */
typedef void vs_take_list(void *context, const json_t *const *list, const unsigned *end, unsigned n);
void vs_set_open(struct vs_compiler *c, const struct vs_made *m, vs_take_list *take, void *context);
const json_t *vs_schema_resolve(struct vs_compiler *c, const json_t *schema);    /* its $ref; NULL: refused */
/* Where a reference that stands alone leads to; else the schema itself. */
const json_t *vs_schema_behind(const struct vs_compiler *c, const json_t *schema);

/* ---- schema_scalars.c ---- */

uint64_t vs_list_greatest(const struct vs_list *l, const char *keyword);         /* 0: nobody says it */
uint64_t vs_list_least(const struct vs_list *l, const char *keyword);            /* UINT64_MAX: nobody says it */
/* The strings of a list of n values; list NULL: of the one value. */
struct vs_dfa *vs_schema_texts(struct vs_compiler *c, const json_t *list, const json_t *one, size_t n);
/* Those of `all` that keep patterns and formats; all NULL: any text, and NULL comes back where nothing is said of it. */
struct vs_dfa *vs_list_patterns(struct vs_list *l, bool has_type, struct vs_dfa *all);
struct vs_dfa *vs_list_length(struct vs_list *l, struct vs_dfa *all, uint64_t low, uint64_t high);
void vs_list_add_string(struct vs_list *l, bool has_type);
void vs_list_add_number(struct vs_list *l, bool integer, bool fractional);
bool vs_json_same(const json_t *a, const json_t *b);
/* Is it one of those that enum and const of all schemas but `own` allow? */
bool vs_list_has(const struct vs_list *l, const json_t *value, unsigned own);
bool vs_list_add_values(const struct vs_list *l, unsigned bits); /* true: enum or const say what it may be */

/* ---- schema_arrays.c, schema_objects.c ---- */

void vs_list_add_array(struct vs_list *l);
void vs_list_add_object(struct vs_list *l);
#endif
