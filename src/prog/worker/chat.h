/* prog/worker/chat.h - the chat templates of a model file, and a conversation as the text that one of them makes.
 *
 * A file has a default template (tokenizer.chat_template) and may have named ones (tokenizer.chat_template.NAME). A request
 * picks one by name; otherwise `tool_use` serves a request with tools, and the default all others. One that can't be
 * parsed says so when it is asked for.
 *
 * Stays inside the worker.
 */
#ifndef VS_WORKER_CHAT_H
#define VS_WORKER_CHAT_H
#include "base/check.h"
#include "parts/parts.h"
#include "template/template.h"

#include <stdbool.h>

struct vs_entries;
struct vs_tokenizer;

enum { VS_MAX_TEMPLATES = 32, VS_MAX_TEMPLATE_NAME = 63 };

struct vs_chat {                         /* zeroed = a file without templates */
    struct vs_chat_template {
        char name[VS_MAX_TEMPLATE_NAME + 1];
        struct vs_template *template;    /* NULL: err says why */
        struct vs_error err;
        struct vs_style style;           /* how its model writes calls and reasoning */
        enum { PARTS_UNKNOWN, PARTS_TAKEN, PARTS_JOINED } parts;      /* does it take content that is a list of parts? */
    } one[VS_MAX_TEMPLATES];
    size_t n;
};

void vs_chat_open(struct vs_chat *c, const struct vs_entries *entries);
void vs_chat_close(struct vs_chat *c);

/* ---- messages.c ---- */

/* A list of at least one message with role and content, or VS_E_INVALID / VS_E_UNSUPPORTED that names the entry. */
int vs_messages_check(const json_t *messages, struct vs_check *check, struct vs_error *err);

struct vs_shape {                        /* what templates disagree about; zeroed = as it came */
    enum { VS_MISSING_AS_IT_IS, VS_MISSING_AS_NULL, VS_MISSING_LEFT_OUT, VS_MISSING_AS_EMPTY, VS_N_MISSING } missing;  /* content */
    bool join;                           /* content in parts as one string */
    bool parse;                          /* a call's arguments that are a JSON text as what it says */
    const char *call;                    /* the name of the call of vs_messages_call, in place of its own; NULL: its own */
};
/* A new reference; NULL when it was stopped or there is no memory. */
json_t *vs_messages_shape(const json_t *messages, const struct vs_shape *shape, struct vs_check *check);

/* The same conversation for a template that knows no tools: what they are said in a system message, calls and their results as
 * text. A new reference; NULL: there is no memory. */
json_t *vs_messages_without_tools(const json_t *messages, const json_t *tools);

/* Is each document {"text"}, with a `title` or without? VS_E_INVALID that names the entry. */
int vs_documents_check(const json_t *documents, struct vs_check *check, struct vs_error *err);
/* The same conversation with documents at the beginning of the last message of the user (a new one where there is none), for a
 * template that does not show them. A new reference; NULL: it was stopped, or there is no memory. */
json_t *vs_messages_with_documents(const json_t *messages, const json_t *documents, struct vs_check *check);

bool vs_messages_in_parts(const json_t *messages);
bool vs_messages_lack_content(const json_t *messages);
const char *vs_messages_call(const json_t *messages);        /* the first that a message without content makes; NULL */
const json_t *vs_messages_arguments(const json_t *messages); /* the first that are a text; NULL */

/* ---- chat.c ---- */

/* The text of messages (a list, checked here) by the template that the request's `template` and `tools` ask for, with its
 * `template_args` and `now`. *ret_notice is set when the user should be told something. Where the template shows no tools and the
 * answer is to come in parts, a system message describes them; *ret_style says how the model will call them. Its `documents` are
 * the template's variable of that name where it shows them, else a block of the last message of the user; they are input either
 * way. */
int vs_chat_render(struct vs_chat *c, const struct vs_tokenizer *t, const json_t *messages, const json_t *request,
                   struct vs_check *check, struct vs_marked_text *ret, struct vs_style *ret_style, const char **ret_notice,
                   struct vs_error *err);

/* The style of the request's template, as far as there is one. */
void vs_chat_style(struct vs_chat *c, const json_t *request, struct vs_style *ret);

/* The tools that the model may call; NULL: none (tool_choice). Borrowed. */
json_t *vs_chat_tools(const json_t *request);
#endif
