/* ipc/keys.c - the list of keys.h, and the one place that judges by it. */
#include "ipc/keys.h"

#include "base/word.h"
#include "ipc/envelope.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define R(name) VS_READS(VS_MSG_##name)
#define ANSWER (R(GENERATE) | R(CHAT))
#define CHATTED (R(CHAT) | R(TOKENIZE))
#define PROMPT (ANSWER | R(TOKENIZE))
#define TEXT (R(TOKENIZE) | R(LOGITS) | R(PERPLEXITY))
#define CONSTRAINT "json_schema, json_object, regex, choice or grammar"
#define STARTED VS_READS(VS_KEYS_OF_WORKER)
#define SETTINGS (R(LOAD) | STARTED)
#define BROKER VS_READS(VS_KEYS_OF_BROKER)
#define INT_MOST 2147483647.0
#define U32_MOST 4294967295.0
#define I64_MOST 9223372036854775807.0

static const struct vs_key keys[] = {
    /* path                         value            low, high           words                                    readers */
    { "prompt",                     VS_VALUE_TEXT,   0, 0,               NULL,                                    R(GENERATE) },
    { "system",                     VS_VALUE_TEXT,   0, 0,               NULL,                                    R(GENERATE) },
    { "raw",                        VS_VALUE_FLAG,   0, 0,               NULL,                                    R(GENERATE) },
    { "messages",                   VS_VALUE_LIST,   0, 0,               "{\"role\", \"content\"}",               CHATTED },
    { "documents",                  VS_VALUE_LIST,   0, 1024,            "{\"title\", \"text\"}",
      PROMPT | R(RERANK) },
    { "query",                      VS_VALUE_TEXT,   0, 0,               NULL,                                    R(RERANK) },
    { "input",                      VS_VALUE_LIST,   0, 2048,            "texts",                                 R(EMBED) },
    { "pooling",                    VS_VALUE_CHOICE, 0, 0,               "none|mean|cls|last|rank",               R(EMBED) },
    { "normalize",                  VS_VALUE_CHOICE, 0, 0,               "l2|none",                               R(EMBED) },
    { "dimensions",                 VS_VALUE_INT,    1, 1048576,         NULL,                                    R(EMBED) },
    { "begun",                      VS_VALUE_TEXT,   0, 0,               NULL,                                    CHATTED },
    { "tools",                      VS_VALUE_LIST,   0, 0,               "objects",                               PROMPT },
    { "tool_choice",                VS_VALUE_CHOICE_OR_OBJECT, 0, 0,     "auto|none|required",                    PROMPT },
    { "parallel_tool_calls",        VS_VALUE_FLAG,   0, 0,               NULL,                                    ANSWER },
    { "strict_calls",               VS_VALUE_FLAG,   0, 0,               NULL,                                    ANSWER },
    { "template",                   VS_VALUE_TEXT,   0, 0,               NULL,                                    PROMPT },
    { "template_text",              VS_VALUE_TEXT,   0, 0,               NULL,                                    R(TOKENIZE) },
    { "template_args",              VS_VALUE_OBJECT, 0, 0,               "variables of the template",             PROMPT },
    { "now",                        VS_VALUE_INT,    0, 253402300799,    NULL,                                    PROMPT },
    { "max_tokens",                 VS_VALUE_INT,    0, INT_MOST,        NULL,                                    ANSWER },
    { "stop",                       VS_VALUE_LIST,   0, 64,              "strings",
      ANSWER | R(VERIFY) },
    { "stop_tokens",                VS_VALUE_LIST,   0, 65536,           "token ids",
      ANSWER | R(VERIFY) },
    { "ignore_eos",                 VS_VALUE_FLAG,   0, 0,               NULL,                                    ANSWER },
    { "parts",                      VS_VALUE_FLAG,   0, 0,               NULL,                                    PROMPT },
    { "logprobs",                   VS_VALUE_INT,    0, 100,             NULL,                                    ANSWER },
    { "logits_hash",                VS_VALUE_FLAG,   0, 0,               NULL,                                    ANSWER },
    { "n",                          VS_VALUE_INT,    1, VS_MAX_CHOICES,  NULL,                                    ANSWER },
    { "speculation",                VS_VALUE_CHOICE, 0, 0,               "auto|off",                              ANSWER },
    { "constraint",                 VS_VALUE_OBJECT, 0, 0,               CONSTRAINT,
      PROMPT | R(CONSTRAIN) | R(VERIFY) },
    { "lora",                       VS_VALUE_LIST,   0, 7,               "numbers, one for each adapter",
      ANSWER | R(LOGITS) | R(PERPLEXITY) },
    { "cache_key",                  VS_VALUE_TEXT,   0, 0,               NULL,                                    ANSWER },
    { "sampling",                   VS_VALUE_OBJECT, 0, 0,               NULL,                                    ANSWER },
    { "sampling.seed",              VS_VALUE_INT,    -I64_MOST, I64_MOST, NULL,                                   ANSWER },
    { "sampling.temperature",       VS_VALUE_NUMBER, 0, 100,             NULL,                                    ANSWER },
    { "sampling.top_k",             VS_VALUE_INT,    0, INT_MOST,        NULL,                                    ANSWER },
    { "sampling.top_p",             VS_VALUE_NUMBER, 0, 1,               NULL,                                    ANSWER },
    { "sampling.min_p",             VS_VALUE_NUMBER, 0, 1,               NULL,                                    ANSWER },
    { "sampling.typical_p",         VS_VALUE_NUMBER, 0, 1,               NULL,                                    ANSWER },
    { "sampling.repeat_penalty",    VS_VALUE_NUMBER, 0.01, 100,          NULL,                                    ANSWER },
    { "sampling.presence_penalty",  VS_VALUE_NUMBER, -100, 100,          NULL,                                    ANSWER },
    { "sampling.frequency_penalty", VS_VALUE_NUMBER, -100, 100,          NULL,                                    ANSWER },
    { "sampling.repeat_last_n",     VS_VALUE_INT,    -1, INT_MOST,       NULL,                                    ANSWER },
    { "sampling.logit_bias",        VS_VALUE_LIST,   0, 65536,           "[id, bias], the bias a number or \"-inf\"", ANSWER },
    { "sampling.ignore_file",       VS_VALUE_FLAG,   0, 0,               NULL,                                    ANSWER },

    { "text",                       VS_VALUE_TEXT,   0, 0,               NULL,
      TEXT | R(CONSTRAIN) | R(SCAN) },
    { "zone",                       VS_VALUE_CHOICE, 0, 0,               "system|user|retrieved|tool",            R(SCAN) },
    { "redact",                     VS_VALUE_OBJECT, 0, 0,               NULL,                                    R(SCAN) },
    { "redact.types",               VS_VALUE_LIST,   0, 64,              "types of personal data",                R(SCAN) },
    { "redact.style",               VS_VALUE_CHOICE, 0, 0,               "label|mask|hash",                       R(SCAN) },
    { "redact.cut",                 VS_VALUE_INT,    0, VS_MAX_REQUEST,  NULL,                                    R(SCAN) },
    { "redact.seed",                VS_VALUE_INT,    0, I64_MOST,        NULL,                                    R(SCAN) },
    { "render",                     VS_VALUE_FLAG,   0, 0,               NULL,                                    R(TOKENIZE) },
    { "no_bos",                     VS_VALUE_FLAG,   0, 0,               NULL,                                    TEXT },
    { "special",                    VS_VALUE_FLAG,   0, 0,               NULL,
      TEXT | ANSWER | R(DETOKENIZE) },
    { "tokens",                     VS_VALUE_LIST,   0, 0,               "token ids",
      R(GENERATE) | R(DETOKENIZE) | R(LOGITS) | R(PERPLEXITY) | R(EMBED) | R(VERIFY) },
    { "prompt_tokens",              VS_VALUE_LIST,   1, 0,               "token ids",                             R(VERIFY) },
    { "statement",                  VS_VALUE_TEXT,   0, 0,               NULL,                                    R(VERIFY) },
    { "salt",                       VS_VALUE_TEXT,   0, 0,               NULL,                                    R(VERIFY) },
    { "finish",                     VS_VALUE_TEXT,   0, 0,               NULL,                                    R(VERIFY) },
    { "decode",                     VS_VALUE_FLAG,   0, 0,               NULL,                                    R(VERIFY) },
    { "asked",                      VS_VALUE_OBJECT, 0, 0,               "the request",                           R(VERIFY) },
    { "bias",                       VS_VALUE_LIST,   0, 0,               "[id, bits]",                            R(VERIFY) },
    { "ctx",                        VS_VALUE_INT,    0, U32_MOST,        NULL,
      R(INSPECT) | R(PERPLEXITY) },
    { "program",                    VS_VALUE_FLAG,   0, 0,               NULL,                                    R(INSPECT) },
    { "pp",                         VS_VALUE_LIST,   0, 64,              "numbers of tokens",                     R(BENCH) },
    { "tg",                         VS_VALUE_LIST,   0, 64,              "numbers of tokens",                     R(BENCH) },
    { "depth",                      VS_VALUE_LIST,   0, 64,              "numbers of tokens",                     R(BENCH) },
    { "batch",                      VS_VALUE_LIST,   0, 64,              "numbers of sequences",                  R(BENCH) },
    { "reps",                       VS_VALUE_INT,    1, 1000,            NULL,                                    R(BENCH) },

    { "model",                      VS_VALUE_TEXT,   0, 0,               NULL,                                    0 },
    { "deadline_ms",                VS_VALUE_INT,    1, 604800000,       NULL,                                    0 },
    { "trace",                      VS_VALUE_TEXT,   0, 0,               NULL,                                    0 },
    { "on_behalf_of",               VS_VALUE_TEXT,   0, 0,               NULL,                                    0 },
    { "key",                        VS_VALUE_TEXT,   0, 0,               NULL,                                    0 },
    { "remote",                     VS_VALUE_TEXT,   0, 0,               NULL,                                    0 },
    { "refused",                    VS_VALUE_CHOICE, 0, 0,               "wrong_key|locked_out",                  0 },
    { "receipt",                    VS_VALUE_FLAG_OR_INT, 0, VS_N_RECEIPTS - 1, NULL,                             0 },
    { "force",                      VS_VALUE_FLAG,   0, 0,               NULL,                                    0 },
    { "priority",                   VS_VALUE_CHOICE, 0, 0,               "high|normal|low",                       0 },
    { "owner",                      VS_VALUE_INT,    0, I64_MOST,        NULL,                                    0 },
    { "client",                     VS_VALUE_INT,    0, I64_MOST,        NULL,                                    0 },
    { "deadline_at",                VS_VALUE_INT,    0, I64_MOST,        NULL,                                    0 },
    { "arrived_at",                 VS_VALUE_INT,    0, I64_MOST,        NULL,                                    0 },
    { "sent",                       VS_VALUE_INT,    0, U32_MOST,        NULL,                                    0 },
    { "credit",                     VS_VALUE_INT,    0, VS_CREDIT_MAX,   NULL,                                    0 },
    { "resumes",                    VS_VALUE_INT,    0, I64_MOST,        NULL,                                    0 },
    { "keep",                       VS_VALUE_FLAG,   0, 0,               NULL,                                    0 },

    { "settings",                   VS_VALUE_OBJECT, 0, 0,               NULL,                                    R(LOAD) },
    { "settings.threads",           VS_VALUE_INT,    1, 256,             NULL,                                    SETTINGS },
    { "settings.isa",               VS_VALUE_CHOICE, 0, 0,               "auto|c|avx2|avxvnni|avx512|neon|i8mm",  SETTINGS },
    { "settings.ctx",               VS_VALUE_INT,    1, 16777216,        NULL,                                    SETTINGS },
    { "settings.kv_type",           VS_VALUE_CHOICE, 0, 0,               "f16|f32|q8_0",                          SETTINGS },
    { "settings.prefill_chunk",     VS_VALUE_INT,    1, 65536,           NULL,                                    SETTINGS },
    { "settings.precision",         VS_VALUE_CHOICE, 0, 0,               "fast|high",                             SETTINGS },
    { "settings.parallel",          VS_VALUE_INT,    1, 256,             NULL,                                    SETTINGS },
    { "settings.itl_target_ms",     VS_VALUE_INT,    1, 60000,           NULL,                                    SETTINGS },
    { "settings.kv_memory",         VS_VALUE_INT,    1, I64_MOST,        NULL,                                    SETTINGS },
    { "settings.prefix_cache",      VS_VALUE_CHOICE, 0, 0,               "owner|shared|off",                      SETTINGS },
    { "settings.speculation",       VS_VALUE_CHOICE, 0, 0,               "auto|off",                              SETTINGS },
    { "settings.draft",             VS_VALUE_TEXT,   0, 0,               NULL,                                    SETTINGS },
    { "settings.lora",              VS_VALUE_LIST,   0, 7,               "adapters",                              SETTINGS },
    { "settings.idle_unload_s",     VS_VALUE_INT,    0, 31536000,        NULL,                                    SETTINGS },
    { "settings.alias",             VS_VALUE_TEXT,   0, 0,               NULL,                                    SETTINGS },
    { "settings.inspect_only",      VS_VALUE_FLAG,   0, 0,               NULL,                                    SETTINGS },
    { "settings.check_only",        VS_VALUE_FLAG,   0, 0,               NULL,                                    SETTINGS },
    { "settings.n_cpus",            VS_VALUE_INT,    0, 1048576,         NULL,                                    STARTED },
    { "settings.free_bytes",        VS_VALUE_INT,    0, I64_MOST,        NULL,                                    STARTED },
    { "settings.memory_bytes",      VS_VALUE_INT,    0, I64_MOST,        NULL,                                    STARTED },

    { "serve.queue",                VS_VALUE_INT,    1, 65536,           NULL,                                    BROKER },
    { "serve.clients",              VS_VALUE_INT,    1, 16384,           NULL,                                    BROKER },
    { "serve.memory",               VS_VALUE_INT,    1048576, I64_MOST,  NULL,                                    BROKER },
    { "serve.hang_s",               VS_VALUE_INT,    1, 3600,            NULL,                                    BROKER },
    { "serve.drain_s",              VS_VALUE_INT,    0, 86400,           NULL,                                    BROKER },
    { "serve.log",                  VS_VALUE_CHOICE, 0, 0,               "text|json",                             BROKER },
    { "serve.delegates",            VS_VALUE_LIST,   0, 256,             "user ids",                              BROKER },
    { "serve.aliases",              VS_VALUE_OBJECT, 0, 0,               "names of models",                       BROKER },
};
enum { N_KEYS = sizeof keys / sizeof *keys };

const struct vs_key *vs_key_find(const char *path)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].path, path) == 0)
            return &keys[i];
    return NULL;
}

static void format_number(double v, char *ret, size_t n)
{
    if (v >= I64_MOST)
        snprintf(ret, n, "9223372036854775807");
    else if (v <= -I64_MOST)
        snprintf(ret, n, "-9223372036854775808");
    else
        snprintf(ret, n, "%.15g", v);
}

/* "auto|c|avx2" as "auto, c or avx2" */
static void list_words(const char *words, char *ret, size_t n)
{
    size_t at = 0;
    for (const char *w = words; *w && at + 8 < n; w++) {
        if (*w != '|')
            ret[at++] = *w;
        else
            at += (size_t)snprintf(ret + at, n - at, strchr(w + 1, '|') ? ", " : " or ");
    }
    ret[at] = '\0';
}

void vs_key_range(const struct vs_key *key, char *ret, size_t n)
{
    char low[32], high[32], needed[100];
    format_number(key->low, low, sizeof low);
    format_number(key->high, high, sizeof high);
    switch (key->value) {
    case VS_VALUE_FLAG: snprintf(ret, n, "true or false"); break;
    case VS_VALUE_FLAG_OR_INT: snprintf(ret, n, "true, false or a whole number from %s to %s", low, high); break;
    case VS_VALUE_INT: snprintf(ret, n, "a whole number from %s to %s", low, high); break;
    case VS_VALUE_NUMBER: snprintf(ret, n, "a number from %s to %s", low, high); break;
    case VS_VALUE_TEXT: snprintf(ret, n, "a string"); break;
    case VS_VALUE_CHOICE: list_words(key->words, ret, n); break;
    case VS_VALUE_CHOICE_OR_OBJECT:
        list_words(key->words, needed, sizeof needed);
        snprintf(ret, n, "%s, or an object", needed);
        break;
    case VS_VALUE_LIST:
        if (key->high > 0)
            snprintf(ret, n, "a list of at most %s %s", high, key->words);
        else
            snprintf(ret, n, "a list of %s", key->words);
        break;
    case VS_VALUE_OBJECT: snprintf(ret, n, key->words ? "an object of %s" : "an object", key->words); break;
    }
}

/* What is there instead, in words. */
static void describe(const json_t *v, char *ret, size_t n)
{
    double d = json_real_value(v);
    switch (json_typeof(v)) {
    case JSON_INTEGER: snprintf(ret, n, "%lld", (long long)json_integer_value(v)); break;
    case JSON_REAL:
        if (fabs(d) < 1e15 && d == (double)(int64_t)d)
            snprintf(ret, n, "%.1f, a number with a point or an exponent", d);
        else
            snprintf(ret, n, "%.6g", d);
        break;
    case JSON_STRING:
        if (json_string_length(v) <= 40 && strlen(json_string_value(v)) == json_string_length(v))
            snprintf(ret, n, "the string '%s'", json_string_value(v));
        else
            snprintf(ret, n, "a string of %zu bytes", json_string_length(v));
        break;
    case JSON_ARRAY: snprintf(ret, n, "a list of %zu", json_array_size(v)); break;
    case JSON_OBJECT: snprintf(ret, n, "an object"); break;
    case JSON_TRUE: snprintf(ret, n, "true"); break;
    case JSON_FALSE: snprintf(ret, n, "false"); break;
    default: snprintf(ret, n, "null"); break;
    }
}

static bool has_word(const char *words, const char *s)
{
    size_t n = strlen(s);
    for (const char *w = words; n && (w = strstr(w, s)); w += n)
        if ((w == words || w[-1] == '|') && (w[n] == '|' || !w[n]) && !strchr(s, '|'))
            return true;
    return false;
}

static bool fits(const struct vs_key *key, const json_t *v)
{
    double number = json_number_value(v);
    switch (key->value) {
    case VS_VALUE_FLAG: return json_is_boolean(v);
    case VS_VALUE_FLAG_OR_INT:
        if (json_is_boolean(v))
            return true;
        /* fall through */
    case VS_VALUE_INT: return json_is_integer(v) && number >= key->low && number <= key->high;
    case VS_VALUE_NUMBER: return json_is_number(v) && number >= key->low && number <= key->high;
    case VS_VALUE_TEXT: return json_is_string(v);
    case VS_VALUE_CHOICE_OR_OBJECT:
        if (json_is_object(v))
            return true;
        /* fall through */
    case VS_VALUE_CHOICE:
        return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v)
               && has_word(key->words, json_string_value(v));
    case VS_VALUE_LIST: return json_is_array(v) && (key->high <= 0 || (double)json_array_size(v) <= key->high);
    case VS_VALUE_OBJECT: return json_is_object(v);
    }
    return false;
}

int vs_key_judge(const struct vs_key *key, const json_t *v, struct vs_error *err)
{
    char needed[160], there[80];
    if (fits(key, v))
        return VS_OK;
    vs_key_range(key, needed, sizeof needed);
    describe(v, there, sizeof there);
    return vs_error_set(err, VS_E_INVALID, "%s: %s is needed, this is %s", key->path, needed, there);
}

/* The row of name within group ("" for none) that this message reads. */
static const struct vs_key *row_of(uint16_t type, const char *group, const char *name)
{
    size_t n = strlen(group);
    for (size_t i = 0; i < N_KEYS && !strchr(name, '.'); i++) {
        const char *path = keys[i].path;
        if (!(keys[i].readers & VS_READS(type)))
            continue;
        if (n ? strncmp(path, group, n) == 0 && path[n] == '.' && strcmp(path + n + 1, name) == 0 : strcmp(path, name) == 0)
            return &keys[i];
    }
    return NULL;
}

int vs_key_unknown(const char *name, const char *what, const char *near, struct vs_error *err)
{
    return vs_error_set(err, VS_E_INVALID, "%.130s is not a key of %s%s%s%s", name, what, near ? "; did you mean " : "",
                        near ? near : "", near ? "?" : "");
}

static int unknown(uint16_t type, const char *group, const char *name, struct vs_error *err)
{
    const char *near = NULL;
    unsigned best = 3;
    for (size_t i = 0; i < N_KEYS; i++) {
        const char *dot = strchr(keys[i].path, '.'), *last = dot ? dot + 1 : keys[i].path;
        unsigned far = keys[i].readers & VS_READS(type) ? vs_word_distance(name, last) : best;
        if (far < best) {
            best = far;
            near = keys[i].path;
        }
    }
    char path[128];
    snprintf(path, sizeof path, "%s%s%.60s", group, *group ? "." : "", name);
    return vs_key_unknown(path, vs_message_name(type), near, err);
}

int vs_key_check_group(uint16_t type, const char *group, const json_t *object, struct vs_error *err)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, name, v) {
        const struct vs_key *key = row_of(type, group, name);
        if (!key)
            return unknown(type, group, name, err);
        if (json_is_null(v))
            continue;
        int r = vs_key_judge(key, v, err);
        if (r == VS_OK && key->value == VS_VALUE_OBJECT && !key->words)
            r = vs_key_check_group(type, key->path, v, err);
        if (r != VS_OK)
            return r;
    }
    return VS_OK;
}

int vs_key_check_body(uint16_t type, const json_t *body, struct vs_error *err)
{
    return vs_key_check_group(type, "", body, err);
}
