/* prog/veritas/options.h - every option of the command line, once.
 *
 * One table feeds the parser, --help, the man pages, the completions of three shells and the JSON of requests: an option
 * exists when it has a row in options.c. Numbers are read strictly: the whole argument, in range, finite.
 */
#ifndef VS_VERITAS_OPTIONS_H
#define VS_VERITAS_OPTIONS_H
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_command;

enum vs_option_id {
    VS_OPT_HELP, VS_OPT_MODEL, VS_OPT_FILE, VS_OPT_DOCUMENT, VS_OPT_SYSTEM, VS_OPT_CHAT_TEMPLATE, VS_OPT_TEMPLATE_ARG, VS_OPT_RAW,
    VS_OPT_SPECIAL, VS_OPT_TEMPLATE, VS_OPT_RUNS,
    VS_OPT_JSON, VS_OPT_PROGRAM, VS_OPT_TIMINGS, VS_OPT_NO_HISTORY, VS_OPT_BRIEF, VS_OPT_EVERY, VS_OPT_QUIET, VS_OPT_VERBOSE,
    VS_OPT_MAX_TOKENS, VS_OPT_SEED, VS_OPT_TEMP, VS_OPT_TOP_K, VS_OPT_TOP_P, VS_OPT_MIN_P, VS_OPT_TYPICAL,
    VS_OPT_REPEAT_PENALTY, VS_OPT_PRESENCE_PENALTY, VS_OPT_FREQUENCY_PENALTY, VS_OPT_REPEAT_LAST_N, VS_OPT_LOGIT_BIAS,
    VS_OPT_IGNORE_FILE_SAMPLING, VS_OPT_IGNORE_EOS, VS_OPT_STOP, VS_OPT_STOP_TOKEN, VS_OPT_LOGPROBS, VS_OPT_LOGITS_HASH,
    VS_OPT_RECEIPT, VS_OPT_RECEIPT_LEVEL, VS_OPT_LINE, VS_OPT_KEPT,
    VS_OPT_CHOICES, VS_OPT_PRIORITY, VS_OPT_CACHE_KEY, VS_OPT_SPECULATION,
    VS_OPT_SCHEMA, VS_OPT_REGEX, VS_OPT_GRAMMAR, VS_OPT_CHOICE, VS_OPT_ACCEPTS,
    VS_OPT_NOW, VS_OPT_DEADLINE,
    VS_OPT_THREADS, VS_OPT_ISA, VS_OPT_CTX, VS_OPT_KV_TYPE, VS_OPT_PREFILL_CHUNK, VS_OPT_PRECISION,
    VS_OPT_DRAFT, VS_OPT_LORA, VS_OPT_LORA_SCALE,
    VS_OPT_KV_MEMORY, VS_OPT_PARALLEL, VS_OPT_ITL_TARGET, VS_OPT_PREFIX_CACHE, VS_OPT_IDLE_UNLOAD, VS_OPT_ALIAS,
    VS_OPT_MIX, VS_OPT_IMATRIX, VS_OPT_TENSOR_TYPE,
    VS_OPT_NO_BOS, VS_OPT_TOKENS, VS_OPT_POOLING, VS_OPT_NORMALIZE, VS_OPT_DIMENSIONS, VS_OPT_QUERY, VS_OPT_OUTPUT,
    VS_OPT_PP, VS_OPT_TG, VS_OPT_DEPTH, VS_OPT_BATCH, VS_OPT_REPS,
    VS_OPT_FROM, VS_OPT_SHA256, VS_OPT_INSECURE_NO_DIGEST, VS_OPT_CA, VS_OPT_ALL_TENSORS, VS_OPT_FORMATS, VS_OPT_FORCE,
    VS_OPT_LISTEN, VS_OPT_METRICS_LISTEN, VS_OPT_METRICS_ALIAS, VS_OPT_REQUIRE_KEY, VS_OPT_TLS_CERT, VS_OPT_TLS_KEY,
    VS_OPT_INSECURE, VS_OPT_ALLOW_HOST, VS_OPT_ALLOW_ORIGIN, VS_OPT_MAX_BODY, VS_OPT_MAX_CONNECTIONS, VS_OPT_NO_WEB,
    VS_OPT_OLLAMA, VS_OPT_OTLP,
    VS_OPT_POLICY, VS_OPT_ZONE, VS_OPT_MAX_BYTES, VS_OPT_TYPES, VS_OPT_STYLE, VS_OPT_CUT, VS_OPT_LINES, VS_OPT_FAIL,
    VS_OPT_ROLE, VS_OPT_SCOPES, VS_OPT_EXPIRES, VS_OPT_GRACE,
    VS_OPT_SINCE, VS_OPT_UNTIL, VS_OPT_TYPE, VS_OPT_CHECKPOINT, VS_OPT_PUBKEY, VS_OPT_FORMAT, VS_OPT_PROOF, VS_OPT_MODE,
    VS_OPT_QUEUE, VS_OPT_CLIENTS, VS_OPT_MEMORY, VS_OPT_HANG, VS_OPT_DRAIN, VS_OPT_CONFIG, VS_OPT_CHECK, VS_OPT_LOG,
    VS_OPT_DELEGATE, VS_OPT_TOOLS, VS_OPT_TOOL_CHOICE, VS_OPT_REASONING,
    VS_OPT_SOCKET, VS_OPT_PRIVATE, VS_OPT_PRIVATE_FD, VS_OPT_MAN, VS_OPT_COMPLETION, VS_OPT_COUNT
};

enum vs_option_type {
    VS_TYPE_FLAG,        /* no value */
    VS_TYPE_INT,         /* a whole number in [low, high] */
    VS_TYPE_SIZE,        /* bytes in [low, high], as base/size.h reads them */
    VS_TYPE_FLOAT,       /* a finite number in [low, high] */
    VS_TYPE_TEXT,        /* valid UTF-8 of at least low bytes, and at most high when that is not 0 */
    VS_TYPE_PATH,        /* any bytes; completes to files */
    VS_TYPE_MODEL,       /* a path or a name; completes to both */
    VS_TYPE_CHOICE,      /* one of `choices` */
    VS_TYPE_INTS,        /* whole numbers in [low, high], separated by commas */
    VS_TYPE_BIAS,        /* ID=VALUE; VALUE may be -inf */
    VS_TYPE_NAMED        /* NAME=VALUE; VALUE is JSON, else text */
};

struct vs_option {
    const char *name;            /* without the dashes */
    char letter;                 /* 0: no short form */
    enum vs_option_type type;
    bool repeat;                 /* may be given several times; else the last one counts */
    bool hidden;                 /* not for people */
    double low, high;            /* both 0, and choices NULL: those of `key` in ipc/keys.h */
    const char *choices;         /* "auto|c|avx2"; of a number: words that stand for one */
    const char *value;           /* what the value is called in help: "N", "FILE" */
    const char *unit;            /* "tokens", "seconds"; NULL */
    const char *preset;          /* the default, in words or as a value; NULL: none */
    const char *key;             /* where it goes in JSON: "sampling.top_k", "settings.threads"; NULL: nowhere */
    uint64_t commands;           /* VS_COMMAND_BIT of each command that takes it */
    const char *help;            /* one sentence */
};

extern const struct vs_option vs_options[VS_OPT_COUNT];

/* The option as one command takes it: some have another meaning or default there. For people; the parser reads vs_options. */
struct vs_option vs_option_of(enum vs_option_id id, const struct vs_command *command);

/* What was given. Values borrow argv. */
struct vs_args {
    const struct vs_command *command;
    int n;                               /* positional arguments */
    char **v;
    struct { int n; const char **v; } option[VS_OPT_COUNT];
    char **own;                          /* texts of vs_args_set, NULL at the end */
    char drawn[24];                      /* the number that --seed random became; "" when it was not given */
};

/* Parses argv[0..argc) (the words after the command's name). VS_E_INVALID with text for people; *args must be
 * cleared in every case. Sets VS_OPT_HELP and stops checking when --help is among them. */
int vs_args_parse(struct vs_args *args, const struct vs_command *command, int argc, char **argv, struct vs_error *err);
void vs_args_clear(struct vs_args *args);

/* For a program that runs: sets an option that goes into requests, or --timings (see vs_option_is_settable). name may have its
 * dashes. value: "" or "on" / "off" for a flag; "default" takes back what was given; an option that may be repeated gets one more.
 * The text is copied into *args, which must have been made by vs_args_copy. VS_E_INVALID. */
int vs_args_set(struct vs_args *args, const char *name, const char *value, struct vs_error *err);
int vs_args_copy(struct vs_args *ret, const struct vs_args *args);
/* For a file of options: gives args (zeroed but for its command, or filled by this) one of the options that set something. The text
 * is copied. VS_E_INVALID: an option that the command does not have, one of the command line only, a value that it cannot have. */
int vs_args_give(struct vs_args *args, const char *name, const char *value, struct vs_error *err);
/* Takes the options that args lacks from `from`, whose texts it borrows. */
int vs_args_fill(struct vs_args *args, const struct vs_args *from, struct vs_error *err);
bool vs_option_is_settable(const struct vs_option *option, const struct vs_command *command);

bool vs_args_given(const struct vs_args *args, enum vs_option_id id);
/* The (last) value as given, or the preset; NULL when neither is there. */
const char *vs_args_text(const struct vs_args *args, enum vs_option_id id);
/* Numbers were checked by the parser; an option that was not given yields its preset (0 when that is not a number). */
int64_t vs_args_int(const struct vs_args *args, enum vs_option_id id);
double vs_args_float(const struct vs_args *args, enum vs_option_id id);
/* A VS_TYPE_INTS value (given or preset) as a JSON array of integers; a new reference, NULL when there is none. */
json_t *vs_args_ints(const struct vs_args *args, enum vs_option_id id);

/* Puts every given option whose key starts with `prefix` ("settings." or "" for the others) into `object`, the prefix
 * taken off: "sampling.top_k" makes {"sampling":{"top_k":..}}. Options that were not given are not put. */
int vs_args_json(const struct vs_args *args, const char *prefix, json_t *object);

/* "0 to 1", "auto, c, avx2 or avx512": what the option accepts, in words; "" for free text. */
void vs_option_range(const struct vs_option *option, char *ret, size_t n);
const char *vs_option_choices(const struct vs_option *option);         /* "auto|c|avx2"; NULL */

/* Strict reading, used by the parser and by commands for positional numbers. */
bool vs_integer_parse(const char *s, int64_t *ret);
#endif
