/* prog/veritas/run.c - `veritas run`: one prompt, one answer, streamed. */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include "base/buf.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROMPT_LIMIT (12u << 20)
enum { SILENCE_MS = 10000 };

struct answer {
    bool silent;                         /* --json: nothing before the end */
    bool is_blank;                       /* nothing but space so far */
    char last;                           /* last byte shown */
    json_t *logprobs;                    /* what came with the tokens */
    json_t *tokens;                      /* --json: their ids, */
    struct vs_buf text;                  /* and all of their text */
};

static int take_token(void *context, const struct vs_event *e)
{
    struct answer *a = context;
    if (e->kind != VS_MSG_TOKEN)
        return VS_OK;
    if (e->json && a->logprobs) {
        json_t *entry = json_copy(e->json);
        json_object_set_new(entry, "id", json_integer(e->token));
        json_array_append_new(a->logprobs, entry);
    }
    a->is_blank = a->is_blank && vs_is_blank(e->text, e->n);
    if (a->silent) {                     /* an answer is sent once: its frames are all there is of it */
        json_array_append_new(a->tokens, json_integer(e->token));
        vs_buf_add(&a->text, e->text, e->n);
        return a->text.status;
    }
    if (e->n == 0)
        return VS_OK;
    a->last = e->text[e->n - 1];
    int rc = vs_answer(e->text, e->n);
    return rc == VS_OK ? vs_answer_flush() : rc;
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

/* The object that --json promises: always the same keys. */
static int print_json(const struct vs_session *s, json_t *result, json_t *logprobs)
{
    static const char *const keys[] = { "model_digest", "prompt_tokens", "tokens", "text", "finish_reason", "logits_hash",
                                        "timings", "notice" };
    json_t *out = json_object();
    json_object_set_new(out, "model", json_string(s->model));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(result, keys[i]);
        if (value || strcmp(keys[i], "notice") != 0)
            json_object_set(out, keys[i], value ? value : json_null());
    }
    if (logprobs)
        json_object_set(out, "logprobs", logprobs);
    int rc = vs_answer_json(out, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(out);
    return rc;
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
    vs_say("prompt: %lld tokens (%lld from before), %.1f tokens/s; answer: %lld tokens, %.1f tokens/s; load: %.0f ms",
           (long long)json_integer_value(json_object_get(usage, "prompt_tokens")),
           (long long)json_integer_value(json_object_get(usage, "cached_tokens")), prompt,
           (long long)json_integer_value(json_object_get(usage, "completion_tokens")), decode,
           json_number_value(json_object_get(t, "load_ms")));
}

int vs_command_run(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    struct vs_buf prompt = { .limit = PROMPT_LIMIT };
    struct answer a = { .silent = vs_args_given(args, VS_OPT_JSON), .is_blank = true };
    json_t *request = NULL, *result = NULL;
    int status = 0, rc;
    if (vs_args_given(args, VS_OPT_LOGPROBS) && !a.silent)
        return vs_usage("run", "--logprobs needs --json: there is no place for them in plain text");
    a.tokens = json_array();
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
    if (vs_args_given(args, VS_OPT_LOGPROBS))
        a.logprobs = json_array();
    rc = vs_session_call(&s, VS_MSG_GENERATE, request, -1, take_token, &a, &result, &err);
    if (!a.silent && a.last && a.last != '\n')
        vs_answer("\n", 1);
    if (rc != VS_OK)
        goto out;
    if (a.silent) {
        json_object_set(result, "tokens", a.tokens);
        json_object_set_new(result, "text", json_stringn(a.text.n ? a.text.data : "", a.text.n));
        print_json(&s, result, a.logprobs);
    }
    vs_answer_flush();
    vs_session_remarks(&s, request, result, a.is_blank);
    if (vs_args_given(args, VS_OPT_LOGITS_HASH) && !a.silent && json_is_string(json_object_get(result, "logits_hash")))
        vs_say("logits hash %s", json_string_value(json_object_get(result, "logits_hash")));
    if (vs_args_given(args, VS_OPT_TIMINGS))
        vs_timings_print(result);
    const char *reason = json_string_value(json_object_get(result, "finish_reason"));
    if (reason && strcmp(reason, "cancelled") == 0)
        rc = vs_error_set(&err, VS_E_CANCELLED, "cancelled");
out:
    if (rc != VS_OK && status == 0)
        status = vs_fail(&err);
    json_decref(a.logprobs);
    json_decref(a.tokens);
    vs_buf_clear(&a.text);
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    vs_buf_clear(&prompt);
    return status;
}
