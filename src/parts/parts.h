/* parts/parts.h - the parts of an answer: content, reasoning, calls of tools.
 *
 *     text, marks --> vs_parts_push --> pieces: (part, text)
 *
 * Models write their reasoning and their calls into the text, each family in its own way: between marks, as JSON or as tags. The
 * template of a model tells which way is its own (family.c, a row for each). One parser follows the text as it comes. What it says
 * depends on the bytes alone, not on how they were cut: so a streamed answer and a whole one are the same.
 *
 * A call is said when it is whole: its name is that of a tool, its arguments are a JSON object. What looked like a call and is none
 * is content, byte for byte. Only white space beside marks, and the marks themselves, are left out. Who makes sure that a call will
 * be whole (by masks: vs_parts_object) has its arguments said as they come.
 *
 * Marks that are control tokens of the model are no text: who calls says that one came (vs_parts_push_mark). The same letters as
 * text are then no mark, so that nobody can talk a model into writing a call that it does not mean.
 *
 * Memory:  a vs_parts owns its bytes; the tools stay the caller's. Time is linear in the text.
 * Threads: one at a time for each.
 * Sources: the chat templates of the models, as their makers publish them.
 */
#ifndef VS_PARTS_PARTS_H
#define VS_PARTS_PARTS_H
#include "base/buf.h"
#include "grammar/grammar.h"
#include "ipc/message.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- family.c ---- */

#define VS_MARK_MAP(X) /* all that any family writes around calls and reasoning; a token of its own, or several, or text */      \
    X(THINK, "<think>")                         X(END_THINK, "</think>")                                             \
    X(MISTRAL_THINK, "[THINK]")                 X(MISTRAL_END_THINK, "[/THINK]")                                     \
    X(SEED_THINK, "<seed:think>")               X(SEED_END_THINK, "</seed:think>")                                   \
    X(CALL, "<tool_call>")                      X(END_CALL, "</tool_call>")                                          \
    X(FUNCTION, "<function=")                   X(INVOKE, "<invoke name=\"")                                         \
    X(MINIMAX_CALLS, "<minimax:tool_call>")     X(MINIMAX_END_CALLS, "</minimax:tool_call>")                         \
    X(PIPE_CALL, "<|tool_call|>")               X(PIPE_END_CALL, "<|/tool_call|>")                                   \
    X(PYTHON, "<|python_tag|>")                                                                                      \
    X(TOOL_CALLS, "[TOOL_CALLS]")               X(CALL_ID, "[CALL_ID]")           X(ARGS, "[ARGS]")                  \
    X(DEEPSEEK_CALLS, "<｜tool▁calls▁begin｜>")   X(DEEPSEEK_END_CALLS, "<｜tool▁calls▁end｜>")                           \
    X(DEEPSEEK_CALL, "<｜tool▁call▁begin｜>")     X(DEEPSEEK_END_CALL, "<｜tool▁call▁end｜>")                             \
    X(DEEPSEEK_SEP, "<｜tool▁sep｜>")                                                                                  \
    X(KIMI_CALLS, "<|tool_calls_section_begin|>") X(KIMI_END_CALLS, "<|tool_calls_section_end|>")                    \
    X(KIMI_CALL, "<|tool_call_begin|>")         X(KIMI_END_CALL, "<|tool_call_end|>")                                \
    X(KIMI_ARGS, "<|tool_call_argument_begin|>")                                                                     \
    X(CHANNEL, "<|channel|>")                   X(MESSAGE, "<|message|>")         X(CONSTRAIN, "<|constrain|>")      \
    X(START, "<|start|>")                       X(END, "<|end|>")                 X(END_OF_CALL, "<|call|>")         \
    X(DSML, "｜DSML｜")                         X(DSML_INVOKE, "<｜DSML｜invoke name=\"")                             \
    X(DSML_FUNCTIONS, "<｜DSML｜function_calls>") X(DSML_END_FUNCTIONS, "</｜DSML｜function_calls>")                   \
    X(DSML_CALLS, "<｜DSML｜tool_calls>")       X(DSML_END_CALLS, "</｜DSML｜tool_calls>")                             \
    X(GEMMA_CALL, "<|tool_call>")               X(GEMMA_END_CALL, "<tool_call|>")                                    \
    X(GEMMA_CHANNEL, "<|channel>")              X(GEMMA_THINK, "<|channel>thought")                                  \
    X(GEMMA_END_THINK, "<channel|>")            X(GEMMA_QUOTE, "<|\"|>")                                             \
    X(GEMMA_TURN, "<turn|>")                                                                                         \
    X(START_CALL, "<start_function_call>")      X(END_START_CALL, "<end_function_call>")  X(ESCAPE, "<escape>")      \
    X(LIQUID_CALL, "<|tool_call_start|>")                                                                            \
    X(PYTHON_START, "<|python_start|>")         X(PYTHON_END, "<|python_end|>")                                  \
    X(OLMO_CALLS, "<function_calls>")           X(OLMO_END_CALLS, "</function_calls>")                               \
    X(TOOLS_PREFIX, "<|tools_prefix|>")         X(TOOLS_SUFFIX, "<|tools_suffix|>")                                  \
    X(INNER_PREFIX, "<|inner_prefix|>")         X(INNER_SUFFIX, "<|inner_suffix|>")                                  \
    X(START_THINKING, "<|START_THINKING|>")     X(END_THINKING, "<|END_THINKING|>")                                  \
    X(START_ACTION, "<|START_ACTION|>")         X(END_ACTION, "<|END_ACTION|>")                                      \
    X(START_RESPONSE, "<|START_RESPONSE|>")     X(END_RESPONSE, "<|END_RESPONSE|>")                                  \
    X(START_TEXT, "<|START_TEXT|>")             X(END_TEXT, "<|END_TEXT|>")                                          \
    X(ACTION, "Action:")                        X(FENCE_JSON, "```json")          X(FENCE, "```")                    \
    X(TAG_CALLS, "<tool_calls>")                X(TAG_END_CALLS, "</tool_calls>")                                    \
    X(UPPER_CALL, "<TOOLCALL>")                 X(UPPER_END_CALL, "</TOOLCALL>")                                     \
    X(FUNCTOOLS, "functools")                                                                                        \
    X(FUNCTION_CALL, "<|function_call|>")       X(ROLE_SEP, "<|role_sep|>")       X(MESSAGE_SEP, "<|message_sep|>")  \
    X(GIGA_CALL, "function call<|role_sep|>")                                                                        \
    X(SEED_CALL, "<seed:tool_call>")            X(SEED_END_CALL, "</seed:tool_call>")                                \
    X(NAMED_FUNCTION, "<function name=\"")                                                                           \
    X(HY_THINK, "<think:opensource>")           X(HY_END_THINK, "</think:opensource>")                               \
    X(HY_CALLS, "<tool_calls:opensource>")      X(HY_END_CALLS, "</tool_calls:opensource>")                          \
    X(HY_CALL, "<tool_call:opensource>")        X(HY_END_CALL, "</tool_call:opensource>")                            \
    X(HY_SEP, "<tool_sep:opensource>")                                                                               \
    X(HY_KEY, "<arg_key:opensource>")           X(HY_END_KEY, "</arg_key:opensource>")                               \
    X(HY_VALUE, "<arg_value:opensource>")       X(HY_END_VALUE, "</arg_value:opensource>")                           \
    X(OPEN, "<|open|>")                         X(CLOSE, "<|close|>")             X(SEP, "<|sep|>")                  \
    X(K3_THINK, "<|open|>think<|sep|>")         X(K3_END_THINK, "<|close|>think<|sep|>")                             \
    X(K3_RESPONSE, "<|open|>response<|sep|>")   X(K3_END_RESPONSE, "<|close|>response<|sep|>")                       \
    X(K3_CALLS, "<|open|>tools<|sep|>")         X(K3_END_CALLS, "<|close|>tools<|sep|>")                             \
    X(K3_CALL, "<|open|>call tool=\"")          X(K3_END_MESSAGE, "<|close|>message<|sep|>")                         \
    X(SOLAR_THINK, "<|think|>")                 X(SOLAR_ROLE, "<|begin|>assistant")  X(SOLAR_BEGIN, "<|begin|>")     \
    X(SOLAR_CONTENT, "<|content|>")             X(SOLAR_CALLS, "<|tool_calls|>")                                     \
    X(SOLAR_CALL, "<|tool_call:begin|>")        X(SOLAR_END_CALL, "<|tool_call:end|>")                               \
    X(SOLAR_NAME, "<|tool_call:name|>")         X(SOLAR_ARGS, "<|tool_call:args|>")                                  \
    X(ARROWS, ">>>")                            X(ARROWS_ALL, ">>>all")                                               \
    X(STEPS, "Here are my reasoning steps:")    X(FINAL, "[BEGIN FINAL RESPONSE]")  X(END_FINAL, "[END FINAL RESPONSE]") \
    X(RESPONSE, "<response>")                   X(TAG_END_RESPONSE, "</response>")                                   \
    X(ANSWER, "<answer>")                       X(END_ANSWER, "</answer>")                                           \
    X(M3_THINK, "<mm:think>")                   X(M3_END_THINK, "</mm:think>")    X(M3_MARK, "]<]minimax[>[")        \
    X(M3_CALLS, "]<]minimax[>[<tool_call>")     X(M3_END_CALLS, "]<]minimax[>[</tool_call>")                         \
    X(M3_INVOKE, "]<]minimax[>[<invoke name=\"")

enum vs_mark {
#define VS_MARK_ENUM(name, text) VS_MARK_##name,
    VS_MARK_MAP(VS_MARK_ENUM)
#undef VS_MARK_ENUM
    VS_N_MARKS
};
extern const char *const vs_mark_text[VS_N_MARKS];

struct vs_family;                        /* how calls are written */
struct vs_think;                         /* and reasoning */
struct vs_wrap;                          /* and what stands around content */

struct vs_style {                        /* of a chat template */
    const struct vs_family *family;      /* never NULL: where the template shows none, the plain one */
    const struct vs_think *think;        /* NULL: none */
    const struct vs_wrap *wrap;          /* NULL: nothing */
};
void vs_style_detect(const char *template, size_t n, struct vs_style *ret);
/* How an answer begins that is to be a call; what such calls look like (with marks as text: vs_style_spell). */
void vs_style_begin_call(const struct vs_style *style, bool is_open, struct vs_buf *out);
const struct vs_call_form *vs_style_form(const struct vs_style *style);
/* The keys of calls that are objects of JSON; NULL: they are none, the name stands in front. */
struct vs_call_keys {
    const char *id;                      /* of a number in quotes, which may stand first; NULL: none */
    const char *name, *arguments;        /* NULL, both: the name is the key of the arguments */
};
const struct vs_call_keys *vs_style_keys(const struct vs_style *style);
bool vs_style_is_bare(const struct vs_style *style);            /* an object alone, where the answer begins, is a call, too */
bool vs_style_names_first(const struct vs_style *style);        /* calls are held from their arguments on, when the name is known */

/* The longest mark that is a control token and stands where a text begins; VS_N_MARKS: none. */
unsigned vs_mark_at(const char *text, const bool is_control[VS_N_MARKS]);
/* The text for a grammar: marks that are control tokens become the bytes that a vocabulary spells them with. */
void vs_style_spell(const char *text, const bool is_control[VS_N_MARKS], struct vs_buf *out);
enum { VS_MARK_CODE = 4 };
void vs_mark_code(enum vs_mark mark, char ret[VS_MARK_CODE]);
enum vs_mark vs_mark_of_code(const char code[VS_MARK_CODE]);    /* of one that _code made */

const char *vs_style_name(const struct vs_style *style);        /* of its family: "hermes" */
void vs_style_set_plain(struct vs_style *style); /* the template shows no tools: they are described to the model */
/* A tool's function: what stands under "function", or the tool itself. */
json_t *vs_tool_function(const json_t *tool);

/* Does a prompt that ends so leave reasoning begun? Or has it ended that? The text has the names of control tokens. */
bool vs_style_is_open(const struct vs_style *style, const char *prompt, size_t n);
bool vs_style_is_closed(const struct vs_style *style, const char *prompt, size_t n);
/* Does the prompt end with what all parts of an answer begin with? And that; NULL: nothing. */
bool vs_style_leads(const struct vs_style *style, const char *prompt, size_t n);
const char *vs_style_lead(const struct vs_style *style);
/* The marks of reasoning; false: it has none. */
bool vs_style_thinks(const struct vs_style *style, enum vs_mark *ret_open, enum vs_mark *ret_close);
/* How an answer begins that is to be content at once; nothing where it may just begin. */
void vs_style_begin_content(const struct vs_style *style, bool is_open, struct vs_buf *out);

/* For a template that shows no tools: what a system message says of them. Appends to out; it describes the plain family. */
void vs_style_describe(const json_t *tools, struct vs_buf *out);

/* ---- the parser ---- */

struct vs_parts_config {
    struct vs_style style;
    const json_t *tools;                 /* a list of {"type": "function", "function": {"name", "parameters"}}; none: no calls */
    bool is_control[VS_N_MARKS];         /* marks that are control tokens here, and so come by _push_mark only */
    bool is_open;                        /* the prompt has begun the reasoning */
    bool in_content;                     /* or content */
    bool is_single;                      /* the answer ends behind the first call */
    bool shows_control;                  /* of what is content all the same, names of control tokens are text */
};

struct vs_piece { uint32_t part; size_t n; };    /* the next n bytes of the text */

struct vs_pieces {
    struct vs_piece *piece;              /* [n]; neighbours are of different parts */
    size_t n, cap;
    struct vs_buf text;
};

struct vs_parts;
int vs_parts_create(const struct vs_parts_config *config, struct vs_parts **ret);      /* VS_OK or VS_E_NOMEM */
void vs_parts_free(struct vs_parts *p);

/* More of the answer; whole characters of UTF-8. VS_OK or VS_E_NOMEM. What can't be decided yet waits. */
int vs_parts_push(struct vs_parts *p, const char *text, size_t n);
int vs_parts_push_mark(struct vs_parts *p, enum vs_mark mark);
int vs_parts_finish(struct vs_parts *p); /* nothing comes any more: all that waits is said */

/* The call that is being written: what of it is held to its form. An object of JSON from its { on, arguments where the name comes
 * first, else all behind the mark. NULL: there is none, or it may still be no call. _name: of its function, where that comes
 * first, else NULL. _trust: it will become a call; one of JSON in the form {"name", then "arguments"}. */
const char *vs_parts_call(const struct vs_parts *p, size_t *ret_n);
const char *vs_parts_call_name(const struct vs_parts *p);
void vs_parts_trust(struct vs_parts *p);

/* What was said since _reset. */
const struct vs_pieces *vs_parts_said(const struct vs_parts *p);
void vs_parts_reset(struct vs_parts *p);
bool vs_parts_is_reasoning(const struct vs_parts *p);         /* it has begun, and its end was not there yet */
uint32_t vs_parts_n_calls(const struct vs_parts *p);
bool vs_parts_is_over(const struct vs_parts *p);      /* is_single, and the call is there */
#endif
