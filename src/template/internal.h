/* template/internal.h - what the files of this room share.
 *
 *   lexer.c -> parser.c -> scope.c     source text to a tree whose names are bound to slots (once, at parse)
 *   eval.c                             walks the tree
 *   value.c string.c format.c json.c   Python's values, strings, formatting, JSON
 *   filters.c tests.c methods.c globals.c   tables of what a template may call
 *
 * Values are what Python's would be in jinja2, with two differences: integers have 64 bits (overflow is an error), and
 * every string byte, and every scalar, knows whether the template or the input made it.
 *
 * Memory:  a template's tree lies in its own arena; a render's values lie in another one, with a cap. Nothing is
 *          freed singly. Constants of the tree are shared by renders and never written.
 * Failure: functions that can fail return false (or -1) after vs_tp_fail; the first failure is the one kept.
 */
#ifndef VS_TEMPLATE_INTERNAL_H
#define VS_TEMPLATE_INTERNAL_H
#include "template/template.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what work costs ----------------------------------------------------------------------------------------
 *
 * Everything is paid before it is done: a step for a node, an item or a call (vs_tp_step), and a step for each 64 bytes that are
 * copied, compared or searched (vs_tp_work; a character that is looked at costs 4). Paying also asks whether the render may go on.
 * Whoever walks over a string does it with vs_tp_walk, which pays block by block; what has no loop of its own goes through
 * vs_tp_copy, vs_tp_same and vs_tp_str_find. When nothing is left, vm->status is set and stays, and nothing that pays goes on.
 */

/* ---- memory ------------------------------------------------------------------------------------------------ */

struct vs_tp_chunk;
struct vs_tp_arena {
    struct vs_tp_chunk *chunk;          /* newest first */
    size_t used, cap;                   /* bytes of all chunks; most of them */
    int status;                         /* VS_OK, VS_E_NOMEM or VS_E_LIMIT once something didn't fit */
};
void *vs_tp_alloc(struct vs_tp_arena *a, size_t n);                      /* 16-byte aligned, uninitialised; NULL */
void *vs_tp_alloc_zero(struct vs_tp_arena *a, size_t n);
bool vs_tp_extend(struct vs_tp_arena *a, void *p, size_t old, size_t n);    /* in place; false where there is no room */
void *vs_tp_realloc(struct vs_tp_arena *a, void *p, size_t old, size_t n); /* in place where p is the newest */
void vs_tp_arena_clear(struct vs_tp_arena *a);

/* ---- values ------------------------------------------------------------------------------------------------ */

enum vs_tp_kind {
    VS_TP_MISSING,                      /* no value: an argument not given, a name not yet assigned */
    VS_TP_UNDEFINED, VS_TP_NONE, VS_TP_BOOL, VS_TP_INT, VS_TP_FLOAT, VS_TP_STR, VS_TP_LIST, VS_TP_TUPLE, VS_TP_DICT,
    VS_TP_VIEW, VS_TP_RANGE, VS_TP_ITER, VS_TP_NAMESPACE, VS_TP_LOOP, VS_TP_MACRO, VS_TP_GLOBAL, VS_TP_METHOD,
    VS_TP_CYCLER, VS_TP_JOINER,
    VS_TP_N_KINDS
};

struct vs_tp_value {
    uint8_t kind;
    bool trusted;                       /* scalars: made by the template. Strings say it byte by byte instead */
    union {
        bool b;
        int64_t i;
        double f;
        struct vs_tp_str *str;
        struct vs_tp_undefined *undefined;
        struct vs_tp_list *list;        /* LIST and TUPLE */
        struct vs_tp_dict *dict;        /* DICT and NAMESPACE */
        struct vs_tp_view *view;
        struct vs_tp_range_value *range;
        struct vs_tp_iter *iter;
        struct vs_tp_loop *loop;
        struct vs_tp_macro *macro;
        const struct vs_tp_callable *global;
        struct vs_tp_method *method;
        struct vs_tp_cycler *cycler;
        struct vs_tp_joiner *joiner;
    } u;
};

/* A string is a slice of bytes that never change. mark is NULL when all bytes have the same origin (`trusted`), else
 * mark[i] is 1 for a byte the template made. It is valid UTF-8. */
struct vs_tp_str {
    const char *s;
    const uint8_t *mark;
    size_t n;
    size_t n_chars;
    struct vs_tp_growth *growth;        /* non-NULL: s lies in a buffer with room behind it (see vs_tp_str_concat) */
    bool trusted;
    bool markup;                        /* went through `safe` or `escape`: + and % then escape what they add */
};

struct vs_tp_undefined {
    const char *owner;                  /* NULL: a name that isn't there; else what lacks it ("'dict object'") */
    struct vs_tp_str *name;             /* or NULL */
    const char *hint;                   /* or NULL; replaces the usual text */
};
struct vs_tp_list { struct vs_tp_value *item; size_t n, cap; };
struct vs_tp_pair { struct vs_tp_value key, value; uint64_t hash; };
struct vs_tp_dict {                     /* in order of insertion */
    struct vs_tp_pair *pair;
    size_t n, cap;
    uint32_t *slot;                     /* open addressing, index + 1; NULL while small */
    size_t n_slots;
};
enum vs_tp_view_of { VS_TP_KEYS, VS_TP_VALUES, VS_TP_ITEMS };
struct vs_tp_view { struct vs_tp_dict *dict; enum vs_tp_view_of of; };
struct vs_tp_range_value { int64_t start, stop, step; size_t n; };

struct vs_tp_vm;
/* 1: *ret is the next item; 0: no more; -1: failed. */
typedef int vs_tp_next(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret);
struct vs_tp_iter {
    vs_tp_next *next;
    bool generator;                     /* a Python generator or iterator: no length, used up by walking it */
    struct vs_tp_value source;
    size_t at;                          /* next item, or next byte of a string */
    struct vs_tp_iter *inner;           /* lazy filters: what they draw from */
    struct vs_tp_apply *apply;          /* lazy filters: what they do */
};

struct vs_tp_loop {
    struct vs_tp_value iterable;
    struct vs_tp_iter *it;
    size_t index0;
    bool has_length, has_after, ended, has_before, has_changed;
    size_t length;
    struct vs_tp_value before, current, after, changed;
};

struct vs_tp_node;
struct vs_tp_frame;
struct vs_tp_macro { const struct vs_tp_node *node; struct vs_tp_frame *frame; };
struct vs_tp_method { const struct vs_tp_callable *callable; struct vs_tp_value self; };
struct vs_tp_cycler { struct vs_tp_list *items; size_t at; };
struct vs_tp_joiner { struct vs_tp_value separator; bool used; };

/* ---- one render --------------------------------------------------------------------------------------------- */

struct vs_tp_vm {
    struct vs_tp_arena arena;
    uint64_t steps;                     /* left */
    size_t owed;                        /* bytes worked on and not yet paid: less than a few steps */
    struct vs_check *check;
    unsigned depth, max_depth;          /* C recursion of evaluator and values */
    unsigned calls, max_calls;          /* macros within macros */
    uint32_t line;                      /* of the construct at work, for messages */
    int64_t now;
    struct vs_tp_dict *context;         /* global variables */
    struct vs_tp_frame *frame;
    struct vs_tp_builder *capture;      /* where output goes, or NULL for `out` */
    struct vs_marked_text *out;
    size_t out_limit;
    int status;
    struct vs_error *err;
};

/* Sets the failure, once; always false. The text gets "template: line N: " in front. */
void vs_tp_set_failure(struct vs_tp_vm *vm, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static inline bool vs_tp_false(void) { return false; }
#define vs_tp_fail(...) (vs_tp_set_failure(__VA_ARGS__), vs_tp_false())   /* so that the compiler sees the false */
bool vs_tp_fail_memory(struct vs_tp_vm *vm);                             /* from the arena's status */
bool vs_tp_step(struct vs_tp_vm *vm, uint64_t n);                        /* false when they are used up */
static inline bool vs_tp_work(struct vs_tp_vm *vm, size_t bytes)
{
    vm->owed += bytes;
    if (vm->owed < 1024)
        return vm->status == VS_OK;
    uint64_t n = vm->owed / 64;
    vm->owed %= 64;
    return vs_tp_step(vm, n);
}
/* memcpy, and memcmp() == 0 in *ret, block by block. */
bool vs_tp_copy(struct vs_tp_vm *vm, void *to, const void *from, size_t n);
bool vs_tp_same(struct vs_tp_vm *vm, const void *a, const void *b, size_t n, bool *ret);
void *vs_tp_grow(struct vs_tp_vm *vm, void *p, size_t old, size_t n);    /* vs_tp_realloc; NULL after vs_tp_fail */
bool vs_tp_enter(struct vs_tp_vm *vm);                                   /* one deeper; pair with vs_tp_leave */
void vs_tp_leave(struct vs_tp_vm *vm);
void *vs_tp_new(struct vs_tp_vm *vm, size_t n);                          /* zeroed; NULL after vs_tp_fail */

/* ---- value.c ------------------------------------------------------------------------------------------------ */

#define VS_TP_SCALAR(k, field, x) ((struct vs_tp_value){ .kind = (k), .trusted = true, .u.field = (x) })
static inline struct vs_tp_value vs_tp_none(void) { return VS_TP_SCALAR(VS_TP_NONE, i, 0); }
static inline struct vs_tp_value vs_tp_bool(bool b) { return VS_TP_SCALAR(VS_TP_BOOL, b, b); }
static inline struct vs_tp_value vs_tp_int(int64_t i) { return VS_TP_SCALAR(VS_TP_INT, i, i); }
static inline struct vs_tp_value vs_tp_float(double f) { return VS_TP_SCALAR(VS_TP_FLOAT, f, f); }
static inline struct vs_tp_value vs_tp_of_str(struct vs_tp_str *s) { return VS_TP_SCALAR(VS_TP_STR, str, s); }

const char *vs_tp_type_name(struct vs_tp_value v);                       /* Python's: 'str', 'NoneType' */
bool vs_tp_undefined(struct vs_tp_vm *vm, const char *owner, struct vs_tp_str *name, const char *hint,
                     struct vs_tp_value *ret);
bool vs_tp_fail_undefined(struct vs_tp_vm *vm, struct vs_tp_value v);    /* "'x' is undefined" */
bool vs_tp_truth(struct vs_tp_value v);
bool vs_tp_is_number(struct vs_tp_value v);                              /* bool, int or float */
bool vs_tp_is_int(struct vs_tp_value v);                                 /* bool or int */
int64_t vs_tp_as_int(struct vs_tp_value v);                              /* of a bool or int */
double vs_tp_as_float(struct vs_tp_value v);                             /* of a number */

bool vs_tp_equal(struct vs_tp_vm *vm, struct vs_tp_value a, struct vs_tp_value b, bool *ret);
bool vs_tp_order(struct vs_tp_vm *vm, struct vs_tp_value a, struct vs_tp_value b, const char *op, int *ret);
bool vs_tp_contains(struct vs_tp_vm *vm, struct vs_tp_value box, struct vs_tp_value v, bool *ret);
bool vs_tp_length(struct vs_tp_vm *vm, struct vs_tp_value v, size_t *ret);   /* TypeError where Python has no len() */
bool vs_tp_has_length(struct vs_tp_value v);

/* An argument that is there, and not None. */
static inline bool vs_tp_given(struct vs_tp_value v) { return v.kind != VS_TP_MISSING && v.kind != VS_TP_NONE; }

struct vs_tp_list *vs_tp_list_new(struct vs_tp_vm *vm, size_t cap);
bool vs_tp_list_add(struct vs_tp_vm *vm, struct vs_tp_list *list, struct vs_tp_value v);
static inline struct vs_tp_value vs_tp_of_list(struct vs_tp_list *l) { return VS_TP_SCALAR(VS_TP_LIST, list, l); }
static inline struct vs_tp_value vs_tp_of_tuple(struct vs_tp_list *l) { return VS_TP_SCALAR(VS_TP_TUPLE, list, l); }
void vs_tp_list_reverse(struct vs_tp_list *list);                        /* in place */
bool vs_tp_pair_tuple(struct vs_tp_vm *vm, struct vs_tp_value a, struct vs_tp_value b, struct vs_tp_value *ret);
bool vs_tp_list_of(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_list **ret);  /* Python's list(v) */

struct vs_tp_dict *vs_tp_dict_new(struct vs_tp_vm *vm);
bool vs_tp_dict_set(struct vs_tp_vm *vm, struct vs_tp_dict *d, struct vs_tp_value key, struct vs_tp_value v);
/* *ret is NULL when the key isn't there. Fails on a key that can't be hashed. */
bool vs_tp_dict_find(struct vs_tp_vm *vm, struct vs_tp_dict *d, struct vs_tp_value key, struct vs_tp_pair **ret);
struct vs_tp_pair *vs_tp_dict_find_name(struct vs_tp_vm *vm, struct vs_tp_dict *d, const struct vs_tp_str *name);
bool vs_tp_dict_update(struct vs_tp_vm *vm, struct vs_tp_dict *d, struct vs_tp_value from);  /* dict(from) */

bool vs_tp_iterable(struct vs_tp_value v);
bool vs_tp_iter(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_iter **ret);
int vs_tp_iter_next(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret);
bool vs_tp_reversed(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_value *ret);  /* Python's reversed(v) */

bool vs_tp_from_json(struct vs_tp_vm *vm, const json_t *j, bool trusted, struct vs_tp_value *ret);

/* environment.getattr and environment.getitem of jinja2. */
bool vs_tp_getattr(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str *name, struct vs_tp_value *ret);
bool vs_tp_getitem(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_value key, struct vs_tp_value *ret);
bool vs_tp_slice(struct vs_tp_vm *vm, struct vs_tp_value v, const struct vs_tp_value bound[3], struct vs_tp_value *ret);

enum vs_tp_op { VS_TP_ADD, VS_TP_SUB, VS_TP_MUL, VS_TP_DIV, VS_TP_FLOORDIV, VS_TP_MOD, VS_TP_POW };
bool vs_tp_arith(struct vs_tp_vm *vm, enum vs_tp_op op, struct vs_tp_value a, struct vs_tp_value b,
                 struct vs_tp_value *ret);

/* ---- string.c ----------------------------------------------------------------------------------------------- */

struct vs_tp_builder {
    struct vs_tp_vm *vm;
    char *s;
    uint8_t *mark;                      /* NULL while all bytes are `trusted` */
    size_t n, cap, n_chars;
    bool trusted, failed;
};
void vs_tp_build(struct vs_tp_builder *b, struct vs_tp_vm *vm);
bool vs_tp_reserve(struct vs_tp_builder *b, size_t n, int64_t times);    /* n * times more bytes are sure to come */
bool vs_tp_put(struct vs_tp_builder *b, const char *s, size_t n, bool trusted);
bool vs_tp_put_cstr(struct vs_tp_builder *b, const char *s);             /* trusted */
bool vs_tp_put_str(struct vs_tp_builder *b, const struct vs_tp_str *s);
bool vs_tp_put_part(struct vs_tp_builder *b, const struct vs_tp_str *s, size_t from, size_t n);   /* bytes */
bool vs_tp_put_char(struct vs_tp_builder *b, uint32_t c, bool trusted);
bool vs_tp_put_fill(struct vs_tp_builder *b, const char *s, size_t n, int64_t times);
bool vs_tp_put_value(struct vs_tp_builder *b, struct vs_tp_value v);     /* str(v) */
bool vs_tp_put_repr(struct vs_tp_builder *b, struct vs_tp_value v);      /* repr(v) */
struct vs_tp_str *vs_tp_built(struct vs_tp_builder *b);                  /* NULL after a failure */
bool vs_tp_built_value(struct vs_tp_builder *b, struct vs_tp_value *ret);
bool vs_tp_give_str(struct vs_tp_str *s, struct vs_tp_value *ret);       /* s: NULL after a failure, which is passed on */
/* As built, marked as HTML if what it was made from was. */
bool vs_tp_built_like(struct vs_tp_builder *b, const struct vs_tp_str *from, struct vs_tp_value *ret);

static inline bool vs_tp_mark(const struct vs_tp_str *s, size_t i) { return s->mark ? s->mark[i] != 0 : s->trusted; }
struct vs_tp_str *vs_tp_str_new(struct vs_tp_vm *vm, const char *s, size_t n, bool trusted);    /* borrows s */
struct vs_tp_str *vs_tp_str_bytes(struct vs_tp_vm *vm, struct vs_tp_str *s, size_t from, size_t to);
struct vs_tp_str *vs_tp_str_concat(struct vs_tp_vm *vm, struct vs_tp_str *a, struct vs_tp_str *b);
bool vs_tp_str_equal(const struct vs_tp_str *a, const struct vs_tp_str *b);  /* of names in the source; vs_tp_equal for values */
bool vs_tp_str_is(const struct vs_tp_str *a, const char *b);
bool vs_tp_str_order(struct vs_tp_vm *vm, const struct vs_tp_str *a, const struct vs_tp_str *b, int *ret);
size_t vs_tp_str_offset(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t chars);   /* byte offset of a character index */
size_t vs_tp_str_chars(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t from, size_t to);   /* how many */
uint32_t vs_tp_str_char(const struct vs_tp_str *s, size_t at, size_t *ret_n);   /* code point at a byte offset */
/* A walk over the characters of s[from..to): for (struct vs_tp_walk w = vs_tp_over(...); vs_tp_walk(&w);) uses w.c, w.at, w.n.
 * It ends early when the steps are used up. */
struct vs_tp_walk { struct vs_tp_vm *vm; const struct vs_tp_str *s; size_t at, n, to, paid; uint32_t c; };
static inline struct vs_tp_walk vs_tp_over(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t from, size_t to)
{
    return (struct vs_tp_walk){ .vm = vm, .s = s, .at = from, .to = to, .paid = from };
}
bool vs_tp_walk(struct vs_tp_walk *w);
/* Byte offset of the first (last) `needle` in s[from..to), or SIZE_MAX. Pays for as far as it looks. */
bool vs_tp_str_find(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t from, size_t to,
                    const struct vs_tp_str *needle, bool last, size_t *ret);
bool vs_tp_str_of(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str **ret);    /* str(v); Markup stays */
bool vs_tp_str_escape(struct vs_tp_vm *vm, struct vs_tp_str *s, struct vs_tp_str **ret); /* HTML; Markup stays */
size_t vs_tp_count_chars(const char *s, size_t n);                       /* unpaid: of the source */

enum vs_tp_style { VS_TP_STYLE_UPPER, VS_TP_STYLE_LOWER, VS_TP_STYLE_TITLE, VS_TP_STYLE_CAPITALIZE, VS_TP_STYLE_SWAP };
bool vs_tp_put_cased(struct vs_tp_builder *b, const struct vs_tp_str *s, size_t from, size_t to, enum vs_tp_style style);
struct vs_tp_str *vs_tp_str_strip(struct vs_tp_vm *vm, struct vs_tp_str *s, const struct vs_tp_str *chars, bool left, bool right);
bool vs_tp_str_replace(struct vs_tp_vm *vm, struct vs_tp_str *s, struct vs_tp_str *old, struct vs_tp_str *with,
                       int64_t count, struct vs_tp_value *ret);
bool vs_tp_str_lines(struct vs_tp_vm *vm, struct vs_tp_str *s, bool keep_ends, struct vs_tp_list **ret);
bool vs_tp_str_cased(struct vs_tp_vm *vm, const struct vs_tp_str *s, enum vs_tp_style style, struct vs_tp_value *ret);
/* Is there a letter with `flag` (VS_UNICODE_UPPER, _LOWER), and no cased one without it? */
bool vs_tp_str_is_cased(struct vs_tp_vm *vm, const struct vs_tp_str *s, unsigned flag, struct vs_tp_value *ret);
enum vs_tp_side { VS_TP_SIDE_LEFT, VS_TP_SIDE_RIGHT, VS_TP_SIDE_MIDDLE };
/* Filled up to `width` characters with `fill`, one character (NULL: a space), so that s stands on that side. */
bool vs_tp_str_justify(struct vs_tp_vm *vm, struct vs_tp_str *s, int64_t width, const struct vs_tp_str *fill,
                       enum vs_tp_side side, struct vs_tp_value *ret);
/* What `it` gives, with glue between (NULL: nothing). strict: only strings are taken; else the text of any value. */
bool vs_tp_str_join(struct vs_tp_vm *vm, const struct vs_tp_str *glue, struct vs_tp_iter *it, bool strict,
                    struct vs_tp_value *ret);
bool vs_tp_str_isspace_at(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t at, size_t *ret_n);  /* vm NULL: unpaid */

/* ---- format.c, json.c --------------------------------------------------------------------------------------- */

int vs_tp_float_repr(double f, char out[64]);                            /* Python's repr(float) */
bool vs_tp_parse_float(const char *s, size_t n, double *ret);            /* Python's float(str); false: not one */
bool vs_tp_parse_int(const char *s, size_t n, int base, int64_t *ret, bool *ret_too_big);   /* Python's int(str, base) */
bool vs_tp_percent(struct vs_tp_vm *vm, struct vs_tp_str *format, struct vs_tp_value args, struct vs_tp_value *ret);
bool vs_tp_str_format(struct vs_tp_vm *vm, struct vs_tp_str *format, struct vs_tp_list *args, struct vs_tp_dict *named,
                      struct vs_tp_value *ret);
bool vs_tp_strftime(struct vs_tp_vm *vm, struct vs_tp_str *format, struct vs_tp_value *ret);

struct vs_tp_json { bool ascii, sort; struct vs_tp_str *indent, *item, *key; };   /* indent NULL: one line */
bool vs_tp_json(struct vs_tp_vm *vm, struct vs_tp_value v, const struct vs_tp_json *style, struct vs_tp_value *ret);

/* ---- what can be called ------------------------------------------------------------------------------------- */

/* Arguments of one call, already evaluated. */
struct vs_tp_args {
    struct vs_tp_value *at;
    size_t n;
    struct vs_tp_pair *named;           /* key is a string */
    size_t n_named;
};

/* A call of a filter, test, method or global function. */
enum { VS_TP_MAX_PARAMS = 6 };
struct vs_tp_call {
    const struct vs_tp_callable *me;
    struct vs_tp_value self;            /* the value filtered, tested or bound */
    struct vs_tp_value at[VS_TP_MAX_PARAMS];    /* arguments by parameter, bound as Python would; MISSING where not given */
    const struct vs_tp_args *args;      /* as they came: all that there is where params is "*" */
    struct vs_tp_value *ret;
};
typedef bool vs_tp_function(struct vs_tp_vm *vm, const struct vs_tp_call *in);
#define VS_TP_BUILTIN(name) \
    static bool name(struct vs_tp_vm *vm __attribute__((unused)), const struct vs_tp_call *in __attribute__((unused)))
struct vs_tp_callable {
    const char *name;
    vs_tp_function *run;                /* NULL: known to jinja2, not supported here */
    const char *params;                 /* "a b|c d": a and b needed, c and d not; a leading "/" means no names */
    int64_t variant;                    /* one function can serve several rows */
};

bool vs_tp_invoke(struct vs_tp_vm *vm, const struct vs_tp_callable *c, struct vs_tp_value self,
                  const struct vs_tp_args *args, struct vs_tp_value *ret);
bool vs_tp_call(struct vs_tp_vm *vm, struct vs_tp_value f, const struct vs_tp_args *args, struct vs_tp_value *ret);
bool vs_tp_call_macro(struct vs_tp_vm *vm, struct vs_tp_macro *m, const struct vs_tp_args *args, struct vs_tp_value *ret);

const struct vs_tp_callable *vs_tp_filter_find(const struct vs_tp_str *name);
const struct vs_tp_callable *vs_tp_test_find(const struct vs_tp_str *name);
const struct vs_tp_callable *vs_tp_global_find(const struct vs_tp_str *name);
/* The method or attribute `name` of v. 1: *ret; 0: Python has none; -1: failed. *ret is undefined for what the sandbox
 * forbids. */
int vs_tp_attribute(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str *name, struct vs_tp_value *ret);
/* As jinja2's call_test by name, for select and its kin. */
bool vs_tp_run_test(struct vs_tp_vm *vm, const struct vs_tp_callable *test, struct vs_tp_value v,
                    const struct vs_tp_args *args, bool *ret);

bool vs_tp_need_int(struct vs_tp_vm *vm, struct vs_tp_value v, int64_t missing, int64_t *ret);
bool vs_tp_need_str(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str **ret);

/* ---- the tree ----------------------------------------------------------------------------------------------- */

enum vs_tp_token_kind {
    VS_TP_EOF, VS_TP_DATA, VS_TP_BLOCK_BEGIN, VS_TP_BLOCK_END, VS_TP_VAR_BEGIN, VS_TP_VAR_END, VS_TP_NAME,
    VS_TP_STRING, VS_TP_INTEGER, VS_TP_FLOATING, VS_TP_OPERATOR
};
struct vs_tp_token {
    enum vs_tp_token_kind kind;
    uint32_t line;
    const char *s;                      /* source bytes; of a string the text between the quotes */
    size_t n;
    char op[3];                         /* OPERATOR */
};

struct vs_tp_lexer {
    const char *s;                      /* newlines are \n, at most the last one dropped */
    size_t n, at;
    uint32_t line;
    size_t line_at;                     /* `line` is the line of this offset */
    int state;
    bool line_starting;
    char nest[256];                     /* closing brackets awaited */
    size_t n_nest;
    struct vs_error *err;
};
int vs_tp_lexer_init(struct vs_tp_lexer *x, struct vs_tp_arena *a, const char *source, size_t n, struct vs_error *err);
int vs_tp_lexer_next(struct vs_tp_lexer *x, struct vs_tp_token *ret);    /* VS_OK or VS_E_*, err set */

enum vs_tp_node_kind {
    /* expressions */
    VS_TP_N_CONST, VS_TP_N_NAME, VS_TP_N_NSREF, VS_TP_N_TUPLE, VS_TP_N_LIST, VS_TP_N_DICT, VS_TP_N_CONCAT,
    VS_TP_N_ARITH, VS_TP_N_AND, VS_TP_N_OR, VS_TP_N_NOT, VS_TP_N_NEG, VS_TP_N_POS, VS_TP_N_COMPARE, VS_TP_N_COND,
    VS_TP_N_GETATTR, VS_TP_N_GETITEM, VS_TP_N_SLICE, VS_TP_N_FILTER, VS_TP_N_TEST, VS_TP_N_CALL, VS_TP_N_KEYWORD,
    /* statements */
    VS_TP_N_OUTPUT, VS_TP_N_SET, VS_TP_N_SET_BLOCK, VS_TP_N_IF, VS_TP_N_FOR, VS_TP_N_BREAK, VS_TP_N_CONTINUE,
    VS_TP_N_MACRO, VS_TP_N_CALL_BLOCK, VS_TP_N_GENERATION, VS_TP_N_FILTER_BLOCK, VS_TP_N_WITH,
};

struct vs_tp_nodes { struct vs_tp_node **at; size_t n, cap; };

/* Where a name lives: `hops` frames outwards, then `slot`. */
struct vs_tp_place { uint32_t hops, slot; };

enum vs_tp_cmp { VS_TP_EQ, VS_TP_NE, VS_TP_LT, VS_TP_LE, VS_TP_GT, VS_TP_GE, VS_TP_IN, VS_TP_NOT_IN };
enum { VS_TP_LOAD, VS_TP_STORE, VS_TP_PARAM };                           /* `context` of a NAME */

struct vs_tp_node {
    uint8_t kind;
    uint8_t context;                    /* NAME */
    bool negated;                       /* TEST */
    bool simple;                        /* FOR: the body doesn't mention `loop` */
    uint32_t line;
    struct vs_tp_place place;           /* NAME, NSREF, MACRO (the name it is stored under), FOR (`loop`) */
    struct vs_tp_value value;           /* CONST */
    struct vs_tp_str *name;             /* NAME, NSREF, GETATTR, FILTER, TEST, MACRO, KEYWORD */
    struct vs_tp_str *attr;             /* NSREF */
    struct vs_tp_node *a, *b, *c;       /* operands:
                                           NOT NEG POS: a   COND: a if b else c   GETATTR: a.name   GETITEM: a[b]
                                           SLICE: a:b:c   FILTER TEST CALL: applied to a   KEYWORD: name=a
                                           SET: a = b   SET_BLOCK: a, filter b   FOR: a in b if c
                                           CALL_BLOCK: call a, its macro is b   FILTER_BLOCK: filter b
                                           GENERATION: body of macro b */
    struct vs_tp_nodes list;            /* operands of TUPLE LIST DICT (key, value, ...) CONCAT ARITH AND OR COMPARE;
                                           arguments of FILTER TEST CALL; what OUTPUT prints; parameters of MACRO;
                                           targets of WITH */
    struct vs_tp_nodes more;            /* keywords of FILTER TEST CALL; defaults of MACRO; values of WITH;
                                           tests of IF (`list` then holds nothing) */
    struct vs_tp_node *star, *star_star;/* f(*star, **star_star) */
    uint8_t *op;                        /* ARITH: enum vs_tp_op, COMPARE: enum vs_tp_cmp, one before each operand but the first */
    struct vs_tp_nodes body, other;     /* statements; else of IF, FOR */
    struct vs_tp_nodes *bodies;         /* IF: one for each test in `more` */
    const struct vs_tp_callable *callable;  /* FILTER, TEST; NULL: looked for again, and missed, at run time */
    struct vs_tp_scope *scope;          /* of the body: FOR, MACRO, SET_BLOCK, FILTER_BLOCK, WITH */
    struct vs_tp_scope *scope_b, *scope_c;  /* FOR: of the else part, of the filter */
    int caller, kwargs, varargs;        /* MACRO: slot or -1 */
    bool explicit_caller;
};

enum vs_tp_load { VS_TP_LOAD_PARAM, VS_TP_LOAD_RESOLVE, VS_TP_LOAD_ALIAS, VS_TP_LOAD_UNDEFINED };
struct vs_tp_symbol {
    struct vs_tp_str *name;
    uint8_t load;                       /* what the slot holds when the frame is entered */
    bool stored;
    bool merged;                        /* in the making: stored by some branch of an `if` */
    struct vs_tp_place outer;           /* ALIAS: from the frame outside */
};
struct vs_tp_scope {
    struct vs_tp_scope *parent;
    struct vs_tp_symbol *symbol;
    size_t n, cap;
    bool in_loop;                       /* a loop around it was checked already */
};
struct vs_tp_frame {
    const struct vs_tp_scope *scope;
    struct vs_tp_frame *parent;
    struct vs_tp_value slot[];
};

struct vs_template {
    struct vs_tp_arena arena;
    struct vs_tp_nodes body;
    struct vs_tp_scope *scope;
};

/* Appends to a list in an arena. */
bool vs_tp_nodes_add(struct vs_tp_arena *a, struct vs_tp_nodes *list, struct vs_tp_node *node);

int vs_tp_parse(struct vs_template *t, const char *source, size_t n, struct vs_error *err);
/* Binds every name of the tree to a slot, by the rules of jinja2's compiler. */
int vs_tp_bind(struct vs_template *t, struct vs_error *err);
bool vs_tp_run(struct vs_tp_vm *vm, const struct vs_template *t);
bool vs_tp_compare(struct vs_tp_vm *vm, enum vs_tp_cmp op, struct vs_tp_value a, struct vs_tp_value b, bool *ret);
bool vs_tp_eval(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret);

/* FILTER, TEST with arguments ready, kept for a lazy filter. */
struct vs_tp_apply {
    const struct vs_tp_callable *callable;
    struct vs_tp_args args;
    struct vs_tp_list *path;            /* attribute path, or NULL */
    struct vs_tp_value fallback;        /* map(default=...) */
    bool keep;                          /* select: true, reject: false */
    bool ignore_case;
    struct vs_tp_dict *seen;            /* unique */
    int64_t count;                      /* batch */
    bool done;
};
#endif
