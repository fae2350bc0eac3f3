/* parts/literal.h - calls that look like source code: NAME(key=VALUE, ...), or as Gemma 4 writes them NAME{key:VALUE,...}.
 *
 * Values are what Python would write: quoted text, also between three quotes, numbers (in calls also 1_000, 0x1f), True, False,
 * None, lists, tuples, dicts; what JSON writes is among them. A quote ends a text only where something that may stand behind a
 * value follows, because models are taught with templates that escape nothing: 'it's late' is a text.
 *
 * Sources: docs.python.org, Lexical analysis; the chat templates of LFM2, Llama 4, OLMo 3, Gemma 4, FunctionGemma. Memory: what
 * _read returns. Threads: none. Time is linear in the text.
 */
#ifndef VS_PARTS_LITERAL_H
#define VS_PARTS_LITERAL_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VS_LITERAL_DEPTH = 64, VS_LITERAL_QUOTE = 16 };

struct vs_literal_form {
    char open, is, close;                /* NAME open KEY is VALUE, ... close */
    char quote[VS_LITERAL_QUOTE];        /* around texts, beside Python's own; "": no other. Keys inside values need none then */
    size_t n_quote;
};

struct vs_literal_scan {                 /* zeroed: behind `open` */
    uint8_t depth;                       /* of brackets inside the call */
    uint8_t state;
    char quote;                          /* that ends the text which is under way; 0: the form's own */
    uint8_t n_matched;                   /* bytes of that */
};

enum vs_literal_event { VS_LITERAL_MORE, VS_LITERAL_END, VS_LITERAL_BROKEN };

/* The next byte of a call; END: this was its `close`. */
enum vs_literal_event vs_literal_push(struct vs_literal_scan *s, const struct vs_literal_form *form, char c);

/* The arguments between `open` and `close` as an object, and one value. A new reference; NULL: they are none, or out of memory. */
json_t *vs_literal_arguments(const struct vs_literal_form *form, const char *text, size_t n);
json_t *vs_literal_value(const char *text, size_t n);
#endif
