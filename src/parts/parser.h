/* parts/parser.h - what the files of the parser share: its state, what it looks at, what it says. Stays inside the room.
 *
 *     parts.c   the states of an answer, what comes from outside     look.c    bytes that are not decided, and what is said of them
 *     call.c    a call: its beginning and end; JSON; name, arguments  markup.c  calls as tags, and as source code
 *
 * Steps return false when they need more bytes. Positions count from the first byte that is not decided.
 */
#ifndef VS_PARTS_PARSER_H
#define VS_PARTS_PARSER_H
#include "parts/internal.h"
#include "parts/literal.h"
#include "parts/parts.h"
#include "parts/scan.h"

#define CONTROL '\xff'                   /* what codes of marks begin with, and only they */
enum { MOST_HEADER = 512, MOST_KEY = 256 };      /* bytes of what stands in front of a call's arguments; of a tag's name */

enum vs_parts_state { START, THINK, AFTER_THINK, FIRST, CONTENT, CALL, AFTER_CALL, HEADER, MESSAGE };

enum vs_call_phase {
    MARKS, IN_JSON, IN_HEADER, IN_ARGUMENTS, IN_NAME, IN_ATTRIBUTES, AT_TAG, IN_KEY, AT_VALUE, IN_VALUE, AT_CODE, IN_CODE,
    BEHIND_CODE,
};

/* A text as it stands in our bytes. */
struct vs_pattern { char text[64]; size_t n; };
enum vs_tag { NAME_END, NAME_TAIL, KEY_OPEN, KEY_CLOSE, VALUE_OPEN, VALUE_CLOSE, TAGS_END, N_TAGS };

struct vs_span { size_t at, n; };

struct vs_call {                         /* what may be one, or several: positions count from the first undecided byte */
    enum vs_call_phase phase;
    size_t at;                           /* looked at so far */
    size_t from;                         /* where the text begins that phase is about */
    size_t behind;                       /* its mark */
    size_t said;                         /* what stands before was said, as calls */
    bool has_begun;                      /* its mark was there */
    bool is_bare;
    bool is_fenced, is_braced;           /* a fence of Markdown stands in front of it; a brace */
    struct vs_scan scan;
    unsigned base;                       /* depth of the objects that are calls */
    struct vs_span key, value, arguments;
    bool has_value;
    const json_t *tool;                  /* that was named */
    bool has_object, is_sure;            /* an object that may be a call is under way; it will be one */
    size_t object_at;                    /* where it begins */
    size_t told, value_end;              /* of its arguments, what was said; where they end; 0: not yet */
    json_t *object;                      /* arguments that come as tags */
    unsigned n_within;                   /* elements that have begun in the value and are called as it is */
    bool is_text, is_told;               /* the value's attributes say that it is text; they say what it is */
    struct vs_literal_scan code;
    bool in_list;                        /* of calls that are source code */
};

struct vs_parts {
    struct vs_parts_config config;
    const struct vs_family *family;      /* NULL: no calls */
    bool has_control;                    /* some marks are control tokens */
    struct vs_pattern pattern[VS_N_MARKS], tag[N_TAGS], tail;
    struct vs_literal_form code;
    uint8_t stop[2 * VS_MOST_MARKS], closers[VS_MOST_MARKS + 1];      /* marks that end content; those that belong around it */
    unsigned n_openers;                  /* marks that content has begun with */
    bool has_control_closers;            /* they are control tokens, and so never text */
    struct vs_buf in;
    size_t done;                         /* bytes of it that are decided */
    size_t dropped;                      /* of the answer, that stood in front of it */
    struct vs_span blank;                   /* see skip_space; counted from the answer's first byte */
    size_t look, solid;                  /* behind them: looked at for marks; of these, up to the last that is no white space */
    enum vs_parts_state state;
    uint32_t part;                       /* MESSAGE: what its text is */
    struct vs_call call;
    bool last_was_bare;
    bool in_fence, in_brace;             /* that stand in front of a bare call */
    uint32_t n_calls;
    struct vs_pieces said;
    int status;
};

/* ---- look.c ---- */

static inline const char *bytes(const struct vs_parts *p)
{
    return p->in.data + p->done;
}

static inline size_t left(const struct vs_parts *p)
{
    return p->in.n - p->done;
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

enum vs_match { NO, PERHAPS, YES };      /* PERHAPS: what is there may become it */
enum vs_match vs_look_match(const struct vs_parts *p, size_t at, const char *text, size_t n);

static inline enum vs_match match_mark(const struct vs_parts *p, size_t at, unsigned mark)
{
    return vs_look_match(p, at, p->pattern[mark].text, p->pattern[mark].n);
}

static inline enum vs_match match_tag(const struct vs_parts *p, size_t at, enum vs_tag tag)
{
    return vs_look_match(p, at, p->tag[tag].text, p->tag[tag].n);
}

/* One of a list. *ret_n: its bytes. */
enum vs_match vs_look_any(const struct vs_parts *p, size_t at, const uint8_t *marks, size_t *ret_n);
/* Behind white space. A long run that still goes on is looked through once. */
size_t vs_look_space(struct vs_parts *p, size_t at);
/* Where text begins, from call.at on; what was looked at in vain is remembered. SIZE_MAX: not yet. */
size_t vs_look_find(struct vs_parts *p, const char *text, size_t n);
/* The next word of a header: [at, at + n) between white space and marks. n is 0: there is none. */
struct vs_span vs_look_word(const struct vs_parts *p, size_t at, size_t end);
struct vs_span vs_look_trimmed(const struct vs_parts *p, size_t from, size_t to);
bool vs_look_is(const struct vs_parts *p, struct vs_span s, const char *word);

/* A fence of Markdown in front of JSON: three ` and perhaps a word. *ret_at: where the JSON begins. */
enum vs_match vs_look_fence(struct vs_parts *p, size_t at, size_t *ret_at);

void vs_parts_say_plain(struct vs_parts *p, uint32_t part, const char *text, size_t n);
/* The next n bytes that are not decided, and they are then. */
void vs_parts_say(struct vs_parts *p, uint32_t part, size_t n);

/* ---- parts.c ---- */

void vs_parts_enter(struct vs_parts *p, enum vs_parts_state state);

/* ---- call.c ---- */

/* The function of a tool; NULL: none has that name. _of_word: "functions.NAME:0" and "NAME>" name a tool as NAME does. */
const json_t *vs_tool_find(const struct vs_parts *p, const char *name, size_t n);
const json_t *vs_tool_of_word(const struct vs_parts *p, const char *word, size_t n);

void vs_call_begin(struct vs_parts *p, size_t at, bool is_bare);
void vs_call_drop(struct vs_parts *p);
/* It was none: what stands before `at` is content. It ends before `at`. Both return true. */
bool vs_call_fail(struct vs_parts *p, size_t at);
bool vs_call_succeed(struct vs_parts *p, size_t at);
bool vs_call_say_object(struct vs_parts *p, const json_t *object);       /* as arguments; false: out of memory */
bool vs_call_step(struct vs_parts *p);

/* ---- markup.c: a step for each phase ---- */

bool vs_tags_name(struct vs_parts *p);
bool vs_tags_attributes(struct vs_parts *p);
bool vs_tags_next(struct vs_parts *p);
bool vs_tags_key(struct vs_parts *p);
bool vs_tags_at_value(struct vs_parts *p);
bool vs_tags_value(struct vs_parts *p);
bool vs_code_name(struct vs_parts *p);
bool vs_code_arguments(struct vs_parts *p);
bool vs_code_behind(struct vs_parts *p);
#endif
