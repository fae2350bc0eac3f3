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
        enum { PARTS_UNKNOWN, PARTS_TAKEN, PARTS_JOINED } parts;      /* does it take content that is a list of parts? */
    } one[VS_MAX_TEMPLATES];
    size_t n;
};

void vs_chat_open(struct vs_chat *c, const struct vs_entries *entries);
void vs_chat_close(struct vs_chat *c);

/* The text of messages (a list, checked here) by the template that the request's `template` and `tools` ask for, with its
 * `template_args` and `now`. */
int vs_chat_render(struct vs_chat *c, const struct vs_tokenizer *t, const json_t *messages, const json_t *request,
                   struct vs_check *check, struct vs_marked_text *ret, struct vs_error *err);
#endif
