/* prog/veritas/chat.h - what the two halves of `veritas chat` share: the talk (chat.c) and its commands (chat_commands.c). */
#ifndef VS_VERITAS_CHAT_H
#define VS_VERITAS_CHAT_H
#include "prog/veritas/editor.h"
#include "prog/veritas/history.h"
#include "prog/veritas/session.h"

struct chat {
    struct vs_args args;                 /* as given, and as /set changes them */
    struct vs_session session;
    json_t *messages, *documents;        /* documents: of --document; NULL: none */
    struct vs_editor *editor;            /* NULL: standard input is no terminal */
    struct vs_history history;
    struct vs_buf shown;                 /* of the answer that runs */
    struct vs_buf receipts;              /* of all answers so far, where --receipt wants them */
    int unsaved;                         /* code of the last /save when it failed */
    unsigned again;                      /* how often the last message was answered anew */
    bool leave;
};

/* Forgets the conversation; system may be NULL. */
void vs_chat_begin(struct chat *c, const char *system);

/* Answers the last message, which is the user's. What was said of a stopped answer stays in the conversation. */
int vs_chat_answer(struct chat *c, struct vs_error *err);

/* Runs a line that begins with /. */
int vs_chat_command(struct chat *c, const char *line, struct vs_error *err);

/* A vs_editor_complete; context is the struct chat. */
void vs_chat_complete(void *context, const char *line, size_t n, struct vs_completion *ret);
#endif
