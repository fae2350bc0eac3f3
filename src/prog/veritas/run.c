/* prog/veritas/run.c - `veritas run`: one prompt, one answer, streamed. */
#include "prog/veritas/command.h"
#include "base/word.h"
#include "prog/veritas/output.h"
#include "prog/veritas/receipts.h"
#include "prog/veritas/session.h"

#include "base/buf.h"
#include "ipc/json.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROMPT_LIMIT (12u << 20)
enum { SILENCE_MS = 10000, MAX_CHOICES = VS_MAX_CHOICES, MAX_CALLS = 64 };

struct choice {                          /* one answer */
    json_t *tokens, *logprobs;           /* --json: ids, and what came with them */
    struct vs_buf text;                  /* what was not shown yet, or --json: all of it */
    struct vs_buf reasoning;             /* so too */
    struct vs_buf call[MAX_CALLS];       /* "NAME\nARGUMENTS" */
    uint32_t n_calls;
    bool is_blank;                       /* nothing but space so far */
    char last;                           /* last byte */
};

struct answer {
    bool silent;                         /* --json: nothing before the end */
    bool wants_logprobs, has_tools;
    enum vs_reasoning reasoning;
    uint32_t n;                          /* choices */
    struct choice choice[MAX_CHOICES];
};

/* Text of a part that is no content. */
static int take_part(struct answer *a, struct choice *c, const struct vs_event *e)
{
    if (e->part == VS_PART_REASONING && !a->silent && e->index == 0)
        return vs_reasoning_show(a->reasoning, e->text, e->n);
    if (e->part == VS_PART_REASONING) {
        vs_buf_add(&c->reasoning, e->text, e->n);
        return c->reasoning.status;
    }
    uint32_t k = e->part - VS_PART_CALL;
    if (k >= MAX_CALLS)
        return VS_E_LIMIT;
    c->n_calls = k >= c->n_calls ? k + 1 : c->n_calls;
    vs_buf_add(&c->call[k], e->text, e->n);
    return c->call[k].status;
}

static int take_token(void *context, const struct vs_event *e)
{
    struct answer *a = context;
    if (e->kind != VS_MSG_TOKEN)
        return VS_OK;
    if (e->index >= a->n)
        return VS_E_PROTOCOL;
    struct choice *c = &a->choice[e->index];
    if (e->json && a->wants_logprobs) {
        json_t *entry = json_copy(e->json);
        json_object_set_new(entry, "id", json_integer(e->token));
        json_array_append_new(c->logprobs, entry);
    }
    c->is_blank = c->is_blank && vs_is_blank(e->text, e->n);
    if (a->silent && e->token != VS_NO_TOKEN)        /* an answer is sent once: its frames are all there is of it */
        json_array_append_new(c->tokens, json_integer(e->token));
    if (e->n == 0)
        return VS_OK;
    if (e->part != VS_PART_CONTENT)
        return take_part(a, c, e);
    if (!a->silent && e->index == 0)
        vs_reasoning_end(a->reasoning);
    c->last = e->text[e->n - 1];
    if (a->silent || e->index > 0) {     /* they come mixed: the first is shown while it is made, the others at the end */
        vs_buf_add(&c->text, e->text, e->n);
        return c->text.status;
    }
    int rc = vs_answer(e->text, e->n);
    return rc == VS_OK ? vs_answer_flush() : rc;
}

static void answer_init(struct answer *a, const struct vs_args *args)
{
    *a = (struct answer){ .silent = vs_args_given(args, VS_OPT_JSON), .wants_logprobs = vs_args_given(args, VS_OPT_LOGPROBS) };
    a->n = (uint32_t)vs_args_int(args, VS_OPT_CHOICES);
    a->reasoning = vs_reasoning_wanted(args);
    a->has_tools = vs_args_given(args, VS_OPT_TOOLS);
    for (uint32_t i = 0; i < a->n; i++)
        a->choice[i] = (struct choice){ .is_blank = true, .tokens = json_array(), .logprobs = json_array() };
}

static void answer_clear(struct answer *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        json_decref(a->choice[i].tokens);
        json_decref(a->choice[i].logprobs);
        vs_buf_clear(&a->choice[i].text);
        vs_buf_clear(&a->choice[i].reasoning);
        for (uint32_t k = 0; k < a->choice[i].n_calls; k++)
            vs_buf_clear(&a->choice[i].call[k]);
    }
}

/* A line before each of several answers. */
static void print_title(const struct answer *a, uint32_t i)
{
    char line[64];
    if (a->n > 1 && !a->silent)
        vs_answer(line, (size_t)snprintf(line, sizeof line, "--- answer %u of %u ---\n", i + 1, a->n));
    vs_answer_flush();
}

/* Of a call: its function's name, then the arguments. */
static size_t name_of(const struct vs_buf *call)
{
    const char *line = call->n ? memchr(call->data, '\n', call->n) : NULL;
    return line ? (size_t)(line - call->data) : call->n;
}

/* A line for each call: NAME ARGUMENTS. */
static void print_calls(const struct choice *c)
{
    for (uint32_t k = 0; k < c->n_calls; k++) {
        size_t n = name_of(&c->call[k]);
        vs_answer(c->call[k].data, n);
        vs_answer(" ", 1);
        if (n + 1 < c->call[k].n)
            vs_answer(c->call[k].data + n + 1, c->call[k].n - n - 1);
        vs_answer("\n", 1);
    }
}

/* The end of the first answer, and the others. */
static void print_rest(const struct answer *a)
{
    for (uint32_t i = 0; i < a->n && !a->silent; i++) {
        const struct choice *c = &a->choice[i];
        if (i > 0)
            print_title(a, i);
        if (i > 0 && c->reasoning.n)
            vs_reasoning_show(a->reasoning, c->reasoning.data, c->reasoning.n);
        vs_reasoning_end(a->reasoning);
        if (i > 0 && c->text.n)
            vs_answer(c->text.data, c->text.n);
        if (c->last && c->last != '\n')
            vs_answer("\n", 1);
        print_calls(c);
    }
}

/* Is standard input something that brings text, beside a prompt that is there already? A pipe that stays silent (the standard input
 * of some job runners is one that nobody ever closes) is left out, and that is said. */
static bool is_piped(void)
{
    struct stat st;
    struct pollfd in = { 0, POLLIN, 0 };
    if (fstat(0, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
        return false;
    if (poll(&in, 1, SILENCE_MS / 10) != 0)
        return true;
    vs_note("waiting for standard input, which belongs to the prompt (</dev/null leaves it out)");
    if (poll(&in, 1, SILENCE_MS) != 0)
        return true;
    vs_note("nothing came on standard input in %d seconds: the prompt goes without it (-f - waits for ever)", SILENCE_MS / 1000);
    return false;
}

/* Adds a file (standard input for "-"), on a line of its own. */
static int add_file(const char *file, struct vs_buf *prompt, struct vs_error *err)
{
    char *text = NULL;
    size_t n = 0;
    int rc = vs_text_read(file, PROMPT_LIMIT, &text, &n, err);
    if (rc != VS_OK)
        return rc;
    if (n > 0 && prompt->n > 0 && prompt->data[prompt->n - 1] != '\n')
        vs_buf_char(prompt, '\n');
    vs_buf_add(prompt, text, n);
    free(text);
    return VS_OK;
}

/* The prompt: words, then files, then what comes through a pipe. */
static int read_prompt(const struct vs_args *args, struct vs_buf *prompt, struct vs_error *err)
{
    int n_files = args->option[VS_OPT_FILE].n, rc = VS_OK;
    bool had_stdin = false;
    for (int i = 0; i < args->n; i++) {
        if (i > 0)
            vs_buf_char(prompt, ' ');
        vs_buf_str(prompt, args->v[i]);
    }
    if (args->n == 0 && n_files == 0 && isatty(0))
        return vs_error_set(err, VS_E_INVALID, "what is the prompt? Give it as words, with -f FILE or on standard input");
    for (int i = 0; i < n_files && rc == VS_OK; i++) {
        const char *file = args->option[VS_OPT_FILE].v[i];
        had_stdin |= strcmp(file, "-") == 0;
        rc = add_file(file, prompt, err);
    }
    if (rc == VS_OK && !had_stdin && ((args->n == 0 && n_files == 0) || is_piped()))
        rc = add_file("-", prompt, err);
    if (rc != VS_OK)
        return rc;
    if (prompt->status != VS_OK)
        return vs_error_set(err, prompt->status, "the prompt is longer than %u bytes", PROMPT_LIMIT);
    if (prompt->n == 0)
        return vs_error_set(err, VS_E_INVALID, "the prompt is empty");
    return vs_text_check("the prompt", prompt->data, prompt->n, err);
}

/* What the frames of an answer brought, put to what is told of it. */
static void add_frames(json_t *of, const struct answer *a, const struct choice *c)
{
    json_object_set(of, "tokens", c->tokens);
    json_object_set_new(of, "text", json_stringn(c->text.n ? c->text.data : "", c->text.n));
    if (a->wants_logprobs)
        json_object_set(of, "logprobs", c->logprobs);
    if (a->reasoning != VS_REASONING_RAW || a->has_tools)
        json_object_set_new(of, "reasoning", c->reasoning.n ? json_stringn(c->reasoning.data, c->reasoning.n) : json_null());
    if (!a->has_tools)
        return;
    json_t *calls = json_array();
    for (uint32_t k = 0; k < c->n_calls; k++) {
        const struct vs_buf *call = &c->call[k];
        size_t n = name_of(call), rest = n < call->n ? n + 1 : n;
        json_array_append_new(calls, json_pack("{s:s%, s:s%}", "name", call->data, n, "arguments", call->data + rest,
                                               call->n - rest));
    }
    json_object_set_new(of, "tool_calls", calls);
}

/* Copies keys of `from`; those that are missing become null, but for a notice and what the guard says. */
static void copy_keys(json_t *to, const json_t *from, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_t *value = json_object_get(from, keys[i]);
        if (value || (strcmp(keys[i], "notice") != 0 && strcmp(keys[i], "guard") != 0))
            json_object_set(to, keys[i], value ? value : json_null());
    }
}

/* The object that --json promises: always the same keys; with --choices some of them stand in `choices`. */
static int print_json(const struct vs_session *s, const json_t *result, const struct answer *a)
{
    static const char *const one[] = {
        "model_digest", "prompt_tokens", "tokens", "text", "finish_reason", "logits_hash", "usage", "timings",
        "notice", "guard"
    };
    static const char *const all[] = { "model_digest", "prompt_tokens", "choices", "usage", "timings", "notice", "guard" };
    static const char *const each[] = { "index", "finish_reason", "logits_hash", "completion_tokens" };
    json_t *out = json_object(), *list = json_array(), *told = json_object_get(result, "choices");
    json_object_set_new(out, "model", json_string(s->model));
    if (a->n == 1) {
        copy_keys(out, result, one, sizeof one / sizeof *one);
        add_frames(out, a, &a->choice[0]);
    } else {
        copy_keys(out, result, all, sizeof all / sizeof *all);
        for (uint32_t i = 0; i < a->n; i++) {
            json_t *choice = json_object();
            copy_keys(choice, json_array_get(told, i), each, sizeof each / sizeof *each);
            add_frames(choice, a, &a->choice[i]);
            json_array_append_new(list, choice);
        }
        json_object_set(out, "choices", list);
    }
    int rc = vs_answer_json(out, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(list);
    json_decref(out);
    return rc;
}

/* What is said of an answer, or of each of several, on standard error. */
static void print_remarks(struct vs_session *s, const json_t *request, const json_t *result, const struct answer *a, bool hashes)
{
    json_t *told = json_object_get(result, "choices");
    if (a->n > 1 && json_is_string(json_object_get(result, "notice")))
        vs_note("%s", json_string_value(json_object_get(result, "notice")));
    for (uint32_t i = 0; i < a->n; i++) {
        json_t *of = a->n == 1 ? json_copy((json_t *)(uintptr_t)result) : json_copy(json_array_get(told, i));
        const char *hash = json_string_value(json_object_get(of, "logits_hash"));
        if (a->n > 1)
            json_object_set_new(of, "usage", json_pack("{s:O?}", "completion_tokens", json_object_get(of, "completion_tokens")));
        vs_session_remarks(s, request, of, a->choice[i].is_blank);
        if (hashes && hash)
            vs_say(a->n == 1 ? "logits hash %s" : "logits hash %s of answer %u", hash, i + 1);
        json_decref(of);
    }
}

/* ---- reasoning: chat uses it too ---- */

enum vs_reasoning vs_reasoning_wanted(const struct vs_args *args)
{
    const char *how = vs_args_given(args, VS_OPT_REASONING) ? vs_args_text(args, VS_OPT_REASONING) : NULL;
    return !how ? VS_REASONING_RAW : strcmp(how, "show") == 0 ? VS_REASONING_SHOW : VS_REASONING_HIDE;
}

static bool is_thinking;                 /* reasoning was shown last */

int vs_reasoning_show(enum vs_reasoning how, const char *text, size_t n)
{
    if (how != VS_REASONING_SHOW || !n)
        return VS_OK;
    if (!is_thinking && isatty(1))
        vs_answer("\33[2m", 4);
    is_thinking = true;
    int rc = vs_answer(text, n);
    return rc == VS_OK ? vs_answer_flush() : rc;
}

void vs_reasoning_end(enum vs_reasoning how)
{
    if (how != VS_REASONING_SHOW || !is_thinking)
        return;
    is_thinking = false;
    if (isatty(1))
        vs_answer("\33[0m", 4);
    vs_answer("\n\n", 2);
}

void vs_seed_print(const struct vs_args *args)
{
    if (args->drawn[0])
        vs_note("--seed %s", args->drawn);
}

void vs_timings_print(const json_t *result)
{
    const json_t *t = json_object_get(result, "timings"), *usage = json_object_get(result, "usage");
    double prompt = json_number_value(json_object_get(t, "prompt_per_second")),
           decode = json_number_value(json_object_get(t, "decode_per_second"));
    json_int_t n_prompt = json_integer_value(json_object_get(usage, "prompt_tokens")),
               n_answer = json_integer_value(json_object_get(usage, "completion_tokens"));
    vs_say("prompt: %lld token%s (%lld from before), %.1f tokens/s; answer: %lld token%s, %.1f tokens/s; load: %.0f ms",
           (long long)n_prompt, vs_plural((uint64_t)n_prompt),
           (long long)json_integer_value(json_object_get(usage, "cached_tokens")), prompt,
           (long long)n_answer, vs_plural((uint64_t)n_answer), decode, json_number_value(json_object_get(t, "load_ms")));
}

/* --tools and --tool-choice. */
static int add_tools(const struct vs_args *args, json_t *request, struct vs_error *err)
{
    char *text = NULL;
    size_t n = 0;
    json_error_t where;
    const char *file = vs_args_text(args, VS_OPT_TOOLS), *choice = vs_args_text(args, VS_OPT_TOOL_CHOICE);
    int rc = vs_text_read(file, PROMPT_LIMIT, &text, &n, err);
    if (rc != VS_OK)
        return rc;
    json_t *tools = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_array(tools))
        rc = tools ? vs_error_set(err, VS_E_MALFORMED, "%s: a JSON list of tools is needed", file)
                   : vs_error_set(err, VS_E_MALFORMED, "%s:%d: %s", file, where.line, where.text);
    else
        json_object_set(request, "tools", tools);
    if (choice && strcmp(choice, "auto") != 0 && strcmp(choice, "none") != 0 && strcmp(choice, "required") != 0)
        json_object_set_new(request, "tool_choice", json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", choice));
    else if (choice)
        json_object_set_new(request, "tool_choice", json_string(choice));
    json_decref(tools);
    free(text);
    return rc;
}

int vs_documents_read(const struct vs_args *args, json_t **ret, struct vs_error *err)
{
    int n = args->option[VS_OPT_DOCUMENT].n, rc = VS_OK;
    json_t *list = n > 0 ? json_array() : NULL;
    for (int i = 0; i < n && rc == VS_OK; i++) {
        const char *file = args->option[VS_OPT_DOCUMENT].v[i], *slash = strrchr(file, '/');
        char *text = NULL, what[300];
        size_t length = 0;
        snprintf(what, sizeof what, "the document %.200s", file);
        rc = vs_text_read(file, PROMPT_LIMIT, &text, &length, err);
        if (rc == VS_OK)
            rc = vs_text_check(what, text, length, err);
        const char *name = slash ? slash + 1 : file;
        if (rc == VS_OK && json_array_append_new(list, json_pack("{s:o, s:o}", "title", vs_json_text(name, strlen(name)), "text",
                                                                 json_stringn(text, length))) != 0)
            rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
        free(text);
    }
    if (rc != VS_OK) {
        json_decref(list);
        list = NULL;
    }
    *ret = list;
    return rc;
}

/* --receipt, also of an answer that was refused. */
static int save_receipt(struct vs_output *out, const json_t *result, struct vs_error *err)
{
    struct vs_buf lines = { 0 };
    int rc = vs_receipts_add(result, &lines) ? vs_receipts_save(out, &lines, err)
        : vs_error_set(err, VS_E_SYSTEM, "no receipt came with the answer");
    vs_buf_clear(&lines);
    return rc;
}

int vs_command_run(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    struct vs_buf prompt = { .limit = PROMPT_LIMIT };
    struct vs_output out = { .fd = -1, .stream = -1 };
    struct answer a;
    json_t *request = NULL, *result = NULL, *constraint = NULL, *documents = NULL;
    if (vs_args_given(args, VS_OPT_LOGPROBS) && !vs_args_given(args, VS_OPT_JSON))
        return vs_usage("run", "--logprobs needs --json: there is no place for them in plain text");
    if (vs_args_given(args, VS_OPT_TOOL_CHOICE) && !vs_args_given(args, VS_OPT_TOOLS))
        return vs_usage("run", "--tool-choice needs --tools: there is nothing to call");
    const char *receipt = vs_args_given(args, VS_OPT_RECEIPT) ? vs_args_text(args, VS_OPT_RECEIPT) : NULL;
    if (!receipt && vs_args_given(args, VS_OPT_RECEIPT_LEVEL))
        return vs_usage("run", "--receipt-level needs --receipt");
    int status = 0, rc = vs_constraint_read(args, &constraint, &err);
    if (rc != VS_OK)
        return rc == VS_E_INVALID ? vs_usage("run", "%s", err.text) : vs_fail(&err);
    answer_init(&a, args);
    rc = read_prompt(args, &prompt, &err);
    if (rc == VS_E_INVALID) {
        status = vs_usage("run", "%s", err.text);
        goto out;
    }
    if (rc == VS_OK && receipt)          /* it will hold what was said, so it is for its owner alone */
        rc = vs_output_open(&out, receipt, VS_RECEIPTS_MODE, &err);
    if (rc != VS_OK || (rc = vs_documents_read(args, &documents, &err)) != VS_OK ||
        (rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), 0, &err)) != VS_OK)
        goto out;
    request = json_object();
    if (vs_args_json(args, "", request) != VS_OK ||
        (constraint && json_object_set(request, "constraint", constraint) < 0) ||
        (documents && json_object_set(request, "documents", documents) < 0) ||
        json_object_set_new(request, "prompt", json_stringn(prompt.data, prompt.n)) < 0) {
        rc = vs_error_set(&err, VS_E_NOMEM, "out of memory");
        goto out;
    }
    if (a.has_tools && (rc = add_tools(args, request, &err)) != VS_OK)
        goto out;
    if (a.has_tools || a.reasoning != VS_REASONING_RAW)
        json_object_set_new(request, "parts", json_true());
    if (receipt)
        json_object_set_new(request, "receipt", json_integer(vs_args_int(args, VS_OPT_RECEIPT_LEVEL)));
    vs_seed_print(args);
    print_title(&a, 0);
    rc = vs_session_call(&s, VS_MSG_GENERATE, request, -1, take_token, &a, &result, &err);
    print_rest(&a);
    if (receipt && rc != VS_OK && json_object_size(result))
        save_receipt(&out, result, &(struct vs_error){ 0 });
    if (rc != VS_OK)
        goto out;
    if (a.silent)
        print_json(&s, result, &a);
    vs_answer_flush();
    print_remarks(&s, request, result, &a, vs_args_given(args, VS_OPT_LOGITS_HASH) && !a.silent);
    if (vs_args_given(args, VS_OPT_TIMINGS))
        vs_timings_print(result);
    const char *reason = json_string_value(json_object_get(result, "finish_reason"));
    if (reason && strcmp(reason, "cancelled") == 0)
        rc = vs_error_set(&err, VS_E_CANCELLED, "cancelled");
    if (rc == VS_OK && receipt)
        rc = save_receipt(&out, result, &err);
out:
    if (rc != VS_OK && status == 0)
        status = vs_fail(&err);
    if (receipt)
        vs_output_drop(&out);
    answer_clear(&a);
    json_decref(result);
    json_decref(request);
    json_decref(constraint);
    json_decref(documents);
    vs_session_close(&s);
    vs_buf_clear(&prompt);
    return status;
}
