/* prog/veritas/run.c - `veritas run`: one prompt, one answer, streamed. */
#include "prog/veritas/command.h"
#include "base/word.h"
#include "prog/veritas/session.h"

#include "base/buf.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROMPT_LIMIT (12u << 20)
enum { SILENCE_MS = 10000, MAX_CHOICES = 16 };     /* as many as n of ipc/keys.c may be */

struct choice {                          /* one answer */
    json_t *tokens, *logprobs;           /* --json: ids, and what came with them */
    struct vs_buf text;                  /* what was not shown yet, or --json: all of it */
    bool is_blank;                       /* nothing but space so far */
    char last;                           /* last byte */
};

struct answer {
    bool silent;                         /* --json: nothing before the end */
    bool wants_logprobs;
    uint32_t n;                          /* choices */
    struct choice choice[MAX_CHOICES];
};

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
    if (a->silent)                       /* an answer is sent once: its frames are all there is of it */
        json_array_append_new(c->tokens, json_integer(e->token));
    if (e->n == 0)
        return VS_OK;
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
    for (uint32_t i = 0; i < a->n; i++)
        a->choice[i] = (struct choice){ .is_blank = true, .tokens = json_array(), .logprobs = json_array() };
}

static void answer_clear(struct answer *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        json_decref(a->choice[i].tokens);
        json_decref(a->choice[i].logprobs);
        vs_buf_clear(&a->choice[i].text);
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

/* The end of the first answer, and the others. */
static void print_rest(const struct answer *a)
{
    for (uint32_t i = 0; i < a->n && !a->silent; i++) {
        const struct choice *c = &a->choice[i];
        if (i > 0)
            print_title(a, i);
        if (i > 0 && c->text.n)
            vs_answer(c->text.data, c->text.n);
        if (c->last && c->last != '\n')
            vs_answer("\n", 1);
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
}

/* Copies keys of `from`; those that are missing become null, but for a notice. */
static void copy_keys(json_t *to, const json_t *from, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_t *value = json_object_get(from, keys[i]);
        if (value || strcmp(keys[i], "notice") != 0)
            json_object_set(to, keys[i], value ? value : json_null());
    }
}

/* The object that --json promises: always the same keys; with --choices some of them stand in `choices`. */
static int print_json(const struct vs_session *s, const json_t *result, const struct answer *a)
{
    static const char *const one[] = {
        "model_digest", "prompt_tokens", "tokens", "text", "finish_reason", "logits_hash", "usage", "timings",
        "notice"
    };
    static const char *const all[] = { "model_digest", "prompt_tokens", "choices", "usage", "timings", "notice" };
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

int vs_command_run(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    struct vs_buf prompt = { .limit = PROMPT_LIMIT };
    struct answer a;
    json_t *request = NULL, *result = NULL;
    int status = 0, rc;
    if (vs_args_given(args, VS_OPT_LOGPROBS) && !vs_args_given(args, VS_OPT_JSON))
        return vs_usage("run", "--logprobs needs --json: there is no place for them in plain text");
    answer_init(&a, args);
    rc = read_prompt(args, &prompt, &err);
    if (rc == VS_E_INVALID) {
        status = vs_usage("run", "%s", err.text);
        goto out;
    }
    if (rc != VS_OK || (rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), 0, &err)) != VS_OK)
        goto out;
    request = json_object();
    if (vs_args_json(args, "", request) != VS_OK ||
        json_object_set_new(request, "prompt", json_stringn(prompt.data, prompt.n)) < 0) {
        rc = vs_error_set(&err, VS_E_NOMEM, "out of memory");
        goto out;
    }
    vs_seed_print(args);
    print_title(&a, 0);
    rc = vs_session_call(&s, VS_MSG_GENERATE, request, -1, take_token, &a, &result, &err);
    print_rest(&a);
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
out:
    if (rc != VS_OK && status == 0)
        status = vs_fail(&err);
    answer_clear(&a);
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    vs_buf_clear(&prompt);
    return status;
}
