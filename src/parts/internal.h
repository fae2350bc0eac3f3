/* parts/internal.h - what family.c knows and the parser follows; stays inside the room. */
#ifndef VS_PARTS_INTERNAL_H
#define VS_PARTS_INTERNAL_H
#include "parts/parts.h"

enum { VS_MOST_MARKS = 4, NO_MARK = VS_N_MARKS };

struct vs_think {
    uint8_t open, close;                 /* enum vs_mark */
    const char *gap;                     /* what stands behind `close`, where we write it */
};

/* Marks that may stand in front of content, and behind it: they are no part of it. */
struct vs_wrap {
    uint8_t sign;                        /* what stands in a template of such a family */
    uint8_t open[VS_MOST_MARKS], close[VS_MOST_MARKS];       /* each ended by NO_MARK */
};

/* A call as tags: NAME name_end (key_open KEY key_close value_open VALUE value_close)* end. With attributes, a quotation mark ends
 * names and keys, and what stands between that and name_end or key_close says things about them. */
struct vs_tags {
    const char *name_end;                /* "": the name ends where a tag begins */
    const char *name_tail;               /* may stand behind it; "" */
    const char *key_open, *key_close, *value_open, *value_close, *end;
    uint8_t end_mark;                    /* that is `end`, too; NO_MARK */
    bool has_lines;                      /* a value stands on lines of its own: the first and the last line feed are not its own */
    bool has_attributes;
    const char *text_sign;               /* an attribute of a value that is text; others are JSON then; NULL: the schema tells */
    bool is_nested;                      /* lists and objects in a value are tags again; value_close goes on with KEY> */
};

/* A call as source code: prefix NAME open KEY is VALUE, ... close (literal.h). */
struct vs_code {
    const char *prefix;                  /* "" */
    char open, is, close;
    uint8_t quote;                       /* the mark around texts; NO_MARK: Python's quotes */
    bool is_list;                        /* several stand between [ and ] */
};

struct vs_family {
    const char *name;
    struct vs_call_form form;            /* how calls are written that are held to their form */
    const char *sign[3];                 /* words that all stand in a template of this family; none: the plain one */
    uint8_t section[VS_MOST_MARKS];      /* marks that may stand in front of `begin`, or between calls; ended by NO_MARK */
    uint8_t begin[VS_MOST_MARKS];        /* marks that a call begins with; ended by NO_MARK */
    uint8_t end[VS_MOST_MARKS];          /* marks that may stand behind a call; ended by NO_MARK */
    const struct vs_tags *tags;          /* NULL: calls are no tags */
    const struct vs_code *code;          /* NULL: they are no source code */
    const char *lead;                    /* begin[0], where prompts end with it: content begins with it, too; NULL */
    const char *tail;                    /* text that may stand behind arguments; NULL */
    const char *const *noise;            /* words around the name in front of arguments; NULL: calls aren't written so */
    const struct vs_call_keys *keys;     /* calls are objects of JSON, or lists of such; NULL: they are not */
    bool is_bare;                        /* such calls may also stand where the answer begins, without a mark */
    bool is_repeated;                    /* an object may follow another one without a mark */
    bool is_channels;                    /* the answer is messages with headers: gpt-oss */
};
#endif
