/* parts/internal.h - what family.c knows and parts.c follows; stays inside the room. */
#ifndef VS_PARTS_INTERNAL_H
#define VS_PARTS_INTERNAL_H
#include "parts/parts.h"

enum { VS_MOST_MARKS = 4, NO_MARK = VS_N_MARKS };

struct vs_think {
    uint8_t open, close;                 /* enum vs_mark */
};

/* A call as tags: NAME name_end (key_open KEY key_close value_open VALUE value_close)* end */
struct vs_tags {
    char name_end;                       /* 0: the name ends where a tag begins; behind a quotation mark it is not of the name */
    const char *key_open, *key_close, *value_open, *value_close, *end;
    uint8_t end_mark;                    /* that is `end`, too; NO_MARK */
    bool has_lines;                      /* a value stands on lines of its own: the first and the last line feed are not its own */
};

struct vs_family {
    const char *name;
    struct vs_call_form form;            /* how calls are written that are held to their form */
    const char *sign[3];                 /* words that all stand in a template of this family; none: the plain one */
    uint8_t section[VS_MOST_MARKS];      /* marks that may stand in front of `begin`, or between calls; ended by NO_MARK */
    uint8_t begin[VS_MOST_MARKS];        /* marks that a call begins with; ended by NO_MARK */
    uint8_t end[VS_MOST_MARKS];          /* marks that may stand behind a call; ended by NO_MARK */
    const struct vs_tags *tags;          /* NULL: calls are no tags */
    const char *tail;                    /* text that may stand behind arguments; NULL */
    const char *const *noise;            /* words around the name in front of arguments; NULL: calls aren't written so */
    bool is_json;                        /* a call may be an object with a name and arguments, or a list of such */
    bool is_bare;                        /* such an object may also stand where the answer begins, without a mark */
    bool is_channels;                    /* the answer is messages with headers: gpt-oss */
};

const struct vs_family *vs_family_find(const char *name);
#endif
