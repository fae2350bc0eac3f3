/* prog/veritas/command.h - the commands of `veritas` and what they share.
 *
 * A command is a row in the table of main.c and a function in a file of its own. It gets checked options, prints answers
 * to stdout and messages to stderr (term.h), and returns the exit status of the program:
 * 0 done, 1 failed, 2 usage, 3 input malformed or unsupported, 4 not found, 5 busy or over a limit,
 * 6 cancelled or timed out, 7 refused by a filter, 70 a process of ours died (base/status.h).
 */
#ifndef VS_VERITAS_COMMAND_H
#define VS_VERITAS_COMMAND_H
#include "prog/veritas/options.h"

enum vs_command_id {
    VS_COMMAND_RUN, VS_COMMAND_CHAT, VS_COMMAND_SERVE, VS_COMMAND_GATEWAY, VS_COMMAND_STOP, VS_COMMAND_PS, VS_COMMAND_TOP,
    VS_COMMAND_METRICS, VS_COMMAND_LOAD, VS_COMMAND_UNLOAD,
    VS_COMMAND_MODELS, VS_COMMAND_MODELS_LIST, VS_COMMAND_MODELS_PULL, VS_COMMAND_MODELS_ADD,
    VS_COMMAND_MODELS_VERIFY, VS_COMMAND_MODELS_RM, VS_COMMAND_MODELS_PATH, VS_COMMAND_INSPECT, VS_COMMAND_TOKENIZE,
    VS_COMMAND_DETOKENIZE, VS_COMMAND_RENDER, VS_COMMAND_CONSTRAIN, VS_COMMAND_PERPLEXITY,
    VS_COMMAND_SCAN, VS_COMMAND_REDACT, VS_COMMAND_POLICY, VS_COMMAND_POLICY_CHECK, VS_COMMAND_POLICY_SHOW,
    VS_COMMAND_KEYS, VS_COMMAND_KEYS_ADD, VS_COMMAND_KEYS_LIST, VS_COMMAND_KEYS_REVOKE, VS_COMMAND_KEYS_ROTATE,
    VS_COMMAND_KEYS_WHOAMI,
    VS_COMMAND_AUDIT, VS_COMMAND_AUDIT_VERIFY, VS_COMMAND_AUDIT_SHOW, VS_COMMAND_AUDIT_CHECKPOINT, VS_COMMAND_AUDIT_KEY,
    VS_COMMAND_AUDIT_EXPORT, VS_COMMAND_AUDIT_FETCH, VS_COMMAND_VERIFY,
    VS_COMMAND_LOGITS, VS_COMMAND_COMPARE, VS_COMMAND_QUANTIZE, VS_COMMAND_IMATRIX, VS_COMMAND_EMBED, VS_COMMAND_RERANK,
    VS_COMMAND_BENCH, VS_COMMAND_DOCTOR,
    VS_COMMAND_SELFTEST, VS_COMMAND_VERSION, VS_COMMAND_HELP,
    VS_COMMAND_COUNT
};
#define VS_COMMAND_BIT(id) (UINT64_C(1) << (id))

/* What a line that begins with / does in a chat: X(name, name and argument in 19 columns, what it does, function). */
#define VS_CHAT_COMMANDS(X) \
    X("/help",   "/help              ", "show this", on_help) \
    X("/clear",  "/clear             ", "forget the conversation, but not the system message", on_clear) \
    X("/regen",  "/regen             ", "answer the last message anew, with the next seed", on_regen) \
    X("/set",    "/set OPTION VALUE  ", "change an option of answers (temp, seed, stop, ...); without VALUE: show it", on_set) \
    X("/system", "/system TEXT       ", "set the system message (and forget the conversation); without TEXT: show it", on_system) \
    X("/save",   "/save FILE         ", "write the conversation as JSON", on_save) \
    X("/load",   "/load FILE         ", "go on with a conversation that was saved", on_load) \
    X("/exit",   "/exit              ", "leave (so do /quit and Ctrl-D)", on_quit)
#define VS_CHAT_LINE(name, usage, help, run) "  " usage help "\n"

struct vs_command {
    const char *name;            /* "run", "models pull" */
    const char *usage;           /* its arguments: "[options] [PROMPT...]" */
    const char *summary;         /* one line without a full stop */
    const char *text;            /* paragraphs for help and man page; lines that start with a blank stay as they are */
    int min, max;                /* how many positional arguments; max -1: any number */
    int (*run)(const struct vs_args *args);
};

extern const struct vs_command vs_commands[VS_COMMAND_COUNT];

const struct vs_command *vs_command_find(const char *name);          /* NULL when there is none */
enum vs_command_id vs_command_id(const struct vs_command *command);

/* Becomes a program of ours. Returns its own exit status, when that can't be; it is told. */
int vs_command_become(const char *program, const char *const *words);

int vs_command_run(const struct vs_args *args);
int vs_command_chat(const struct vs_args *args);
int vs_command_serve(const struct vs_args *args);
int vs_command_gateway(const struct vs_args *args);
int vs_command_stop(const struct vs_args *args);
int vs_command_ps(const struct vs_args *args);
int vs_command_top(const struct vs_args *args);
int vs_command_metrics(const struct vs_args *args);
int vs_command_load(const struct vs_args *args);
int vs_command_unload(const struct vs_args *args);
int vs_command_models(const struct vs_args *args);
int vs_command_models_list(const struct vs_args *args);
int vs_command_models_pull(const struct vs_args *args);
int vs_command_models_add(const struct vs_args *args);
int vs_command_models_verify(const struct vs_args *args);
int vs_command_models_rm(const struct vs_args *args);
int vs_command_models_path(const struct vs_args *args);
int vs_command_inspect(const struct vs_args *args);
int vs_command_tokenize(const struct vs_args *args);
int vs_command_detokenize(const struct vs_args *args);
int vs_command_render(const struct vs_args *args);
int vs_command_constrain(const struct vs_args *args);
int vs_command_scan(const struct vs_args *args);
int vs_command_redact(const struct vs_args *args);
int vs_command_policy(const struct vs_args *args);
int vs_command_policy_check(const struct vs_args *args);
int vs_command_policy_show(const struct vs_args *args);
int vs_command_keys(const struct vs_args *args);
int vs_command_keys_add(const struct vs_args *args);
int vs_command_keys_list(const struct vs_args *args);
int vs_command_keys_revoke(const struct vs_args *args);
int vs_command_keys_rotate(const struct vs_args *args);
int vs_command_keys_whoami(const struct vs_args *args);
int vs_command_audit(const struct vs_args *args);
int vs_command_audit_verify(const struct vs_args *args);
int vs_command_audit_checkpoint(const struct vs_args *args);
int vs_command_audit_key(const struct vs_args *args);
int vs_command_audit_export(const struct vs_args *args);
int vs_command_audit_fetch(const struct vs_args *args);
int vs_command_audit_show(const struct vs_args *args);
int vs_command_verify(const struct vs_args *args);
int vs_command_perplexity(const struct vs_args *args);
int vs_command_logits(const struct vs_args *args);
int vs_command_compare(const struct vs_args *args);
int vs_command_quantize(const struct vs_args *args);
int vs_command_imatrix(const struct vs_args *args);
int vs_command_embed(const struct vs_args *args);
int vs_command_rerank(const struct vs_args *args);
int vs_command_bench(const struct vs_args *args);
int vs_command_doctor(const struct vs_args *args);
int vs_command_selftest(const struct vs_args *args);
int vs_command_version(const struct vs_args *args);
int vs_command_help(const struct vs_args *args);

/* serve.c: where a program of ours lies: beside this one (a build), or in ../libexec/veritas (installed). VS_E_NOT_FOUND. */
int vs_program_find(const char *name, char *ret, size_t n, struct vs_error *err);
/* The same of a file that need not be a program: mode as access() has it. */
int vs_beside_find(const char *name, int mode, char *ret, size_t n, struct vs_error *err);

/* run.c: the files of --document as the request's `documents`, each with its name as the title; NULL where there is none. A new
 * reference. VS_E_MALFORMED and others name the file. */
int vs_documents_read(const struct vs_args *args, json_t **ret, struct vs_error *err);

/* constrain.c: what --schema, --regex, --grammar and --choice say, as the request's `constraint`; NULL where none was given. A new
 * reference. VS_E_INVALID: more than one; else what was wrong with the file. */
int vs_constraint_read(const struct vs_args *args, json_t **ret, struct vs_error *err);

/* main.c: says that there is no such command, and which one may be meant; returns 2. */
int vs_command_unknown(const char *name);

/* help.c: what --help prints; returns 0. */
int vs_help_print(const struct vs_command *command);
#endif
