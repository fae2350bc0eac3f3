/* support/service_echo.c - a service without a model, to test everything around one.
 *
 * It says a request's prompt back, one character a token, and misbehaves on demand: the first byte of the model file 'X' fails
 * the load, 'S' makes it take three seconds; a prompt "@crash" dies, "@hang" never looks at its socket, "@open" tries a file,
 * "@slow N" makes N tokens of 10 ms, "@flood N" sends N bytes of data, "@spill N" makes N long tokens, "@work N" works N seconds
 * and says nothing, "@try NAME" tries what a worker must not do (attempts.h), "@attempts" lists what can be tried. */
#include "prog/worker/formats.h"
#include "base/utf8.h"
#include "prog/worker/imatrix.h"
#include "prog/worker/quantize.h"
#include "prog/worker/render.h"
#include "prog/worker/service.h"
#include "sandbox/sandbox.h"
#include "support/attempts.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_SAID = 4 << 20 };            /* tokens */

struct vs_service {
    unsigned char first;
};

void vs_service_prepare(void)
{
}

int vs_formats(int argc, char *const *argv)
{
    (void)argc;
    (void)argv;
    return 2;                           /* it can run none */
}

int vs_imatrix_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 2;                           /* it reads none */
}

int vs_quantize_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 2;                           /* it reads none */
}

int vs_render_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 2;                           /* nor templates */
}

int vs_service_open(const struct vs_files *parts, int draft, const json_t *settings, struct vs_sink *sink, struct vs_service **ret,
                    struct vs_error *err)
{
    struct vs_files all = *parts;
    (void)settings;
    if (draft >= 0)
        close(draft);
    struct vs_service *s = calloc(1, sizeof *s);
    if (!s || read(all.fd[0], &s->first, 1) != 1 || s->first == 'X') {
        free(s);
        return vs_error_set(err, VS_E_MALFORMED, "not an echo model");
    }
    vs_files_close(&all);
    const struct timespec late = { s->first == 'S' ? 3 : 0, 0 };
    nanosleep(&late, NULL);
    sink->progress(sink->context, "loading", 1, 1);
    *ret = s;
    return VS_OK;
}

void vs_service_close(struct vs_service *s)
{
    free(s);
}

static void nap_ms(long ms)
{
    struct timespec t = { 0, ms * 1000000 };
    nanosleep(&t, NULL);
}

static int say_token(struct vs_sink *sink, uint32_t id, const char *text, size_t n)
{
    const struct vs_said said = { .index = -1, .part = -1, .id = id, .text = text, .n = n };
    return sink->token(sink->context, &said);
}

static int say(struct vs_sink *sink, const char *prompt, size_t n, json_t **ret, struct vs_error *err)
{
    if (n > MOST_SAID)                  /* or it would say more than an answer may have, and be stopped for that */
        return vs_error_set(err, VS_E_CONTEXT, "the prompt has %zu bytes, and each is a token: %d at most", n, MOST_SAID);
    for (size_t i = 0, width; i < n; i += width) {
        uint32_t c;
        width = vs_utf8_decode(prompt + i, n - i, &c);
        int status = say_token(sink, (unsigned char)prompt[i], prompt + i, width);
        if (status != VS_OK)
            return status;
    }
    *ret = json_pack("{s:i}", "n", (int)n);
    memcpy(sink->outcome->finish_reason, "stop", 5);
    sink->outcome->has_usage = true;
    sink->outcome->usage = (struct vs_usage){ .prompt_tokens = (int64_t)n, .completion_tokens = (int64_t)n };
    return VS_OK;
}

static int flood(struct vs_sink *sink, long n, bool tokens, json_t **ret)
{
    static char block[60000];
    memset(block, 'z', sizeof block);
    for (long left = n; left > 0;) {
        size_t k = left < (long)sizeof block ? (size_t)left : sizeof block;
        int status = tokens ? say_token(sink, 1, block, k) : sink->data(sink->context, block, k);
        if (status != VS_OK)
            return status;
        left -= (long)k;
    }
    *ret = json_pack("{s:I}", "bytes", (json_int_t)n);
    return VS_OK;
}

/* ---- attempts ---- */

/* Standard descriptors, the link and what wakes its loop; the model was closed when it was read. */
static bool descriptors_are_planned(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n == 5 && fcntl(3, F_GETFD) >= 0;
}

static const struct attempt planned = { "descriptors as planned", descriptors_are_planned, WORKS, 0, false };

static json_t *attempt_row(const struct attempt *a)
{
    static const char *const ends[] = { [TRAPPED] = "trapped", [KILLED] = "killed", [WORKS] = "works" };
    const char *call = a->end == TRAPPED ? vs_sandbox_call_name(a->call) : NULL;
    return json_pack("{s:s, s:s, s:i, s:s?}", "name", a->name, "end", ends[a->end], "number", a->call, "call", call);
}

static json_t *list_attempts(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n_attempts; i++)
        json_array_append_new(list, attempt_row(&attempts[i]));
    for (size_t i = 0; i < n_attempts_of_worker; i++)
        json_array_append_new(list, attempt_row(&attempts_of_worker[i]));
    json_array_append_new(list, attempt_row(&planned));
    return json_pack("{s:o}", "attempts", list);
}

static int attempt(const char *name, json_t **ret, struct vs_error *err)
{
    const struct attempt *a = strcmp(name, planned.name) == 0 ? &planned : attempt_find(name);
    if (!a)
        return vs_error_set(err, VS_E_NOT_FOUND, "no attempt '%s'", name);
    *ret = json_pack("{s:b}", "worked", a->go());
    return VS_OK;
}

bool vs_service_has(uint16_t type)
{
    (void)type;                         /* whatever it is, it says the prompt back */
    return true;
}

bool vs_service_needs_digest(uint16_t type)
{
    (void)type;
    return false;
}

bool vs_service_is_quick(uint16_t type)
{
    (void)type;
    return false;
}

/* All is done by vs_service_call: there are no steps. */
void vs_service_join(struct vs_service *s, struct vs_work *work)
{
    (void)s, (void)work;
}

void vs_work_free(struct vs_work *work)
{
    (void)work;
}

bool vs_service_turn(struct vs_service *s, void (*attend)(void *context), void *context)
{
    (void)s, (void)attend, (void)context;
    return false;
}

json_t *vs_service_stats(struct vs_service *s)
{
    (void)s;
    return NULL;
}

int vs_service_digest(struct vs_service *s, unsigned wait_ms, char ret_hex[65], uint64_t *ret_done, uint64_t *ret_total,
                      struct vs_error *err)
{
    (void)err, (void)wait_ms;
    *ret_done = *ret_total = 1;
    memset(ret_hex, s->first % 10 + '0', 64);        /* as if it were one */
    ret_hex[64] = 0;
    return VS_OK;
}

const char *vs_service_adapter_digest(const struct vs_service *s, unsigned i)
{
    (void)s, (void)i;
    return "";                          /* it has none */
}

json_t *vs_service_facts(const struct vs_service *s)
{
    (void)s;
    return json_pack("{s:i}", "memory_bytes", 1);
}

int vs_service_call(struct vs_service *s, uint16_t type, json_t *request, struct vs_sink *sink, struct vs_answer *ret,
                    struct vs_error *err)
{
    (void)s, (void)type;
    json_t **ret_result = &ret->result;
    const json_t *value = json_object_get(request, "prompt"), *messages = json_object_get(request, "messages");
    if (messages)                       /* what was said last */
        value = json_object_get(json_array_get(messages, json_array_size(messages) - 1), "content");
    const char *prompt = json_string_value(value);
    if (!prompt)
        return vs_error_set(err, VS_E_INVALID, "prompt is missing");
    if (strcmp(prompt, "@crash") == 0)
        raise(SIGSEGV);
    if (strcmp(prompt, "@open") == 0)
        return open("/etc/passwd", O_RDONLY) >= 0 ? vs_error_set(err, VS_E_FAULT, "a file could be opened") : VS_E_DENIED;
    if (strncmp(prompt, "@try ", 5) == 0)
        return attempt(prompt + 5, ret_result, err);
    if (strcmp(prompt, "@attempts") == 0) {
        *ret_result = list_attempts();
        return VS_OK;
    }
    for (long i = 0; strcmp(prompt, "@hang") == 0 && i < 2000; i++)
        nap_ms(10);
    if (strncmp(prompt, "@work ", 6) == 0) {
        long seconds = atol(prompt + 6);
        for (long i = 0; i < 100 * seconds; i++, nap_ms(10))
            if (vs_check_ask(&sink->check) != VS_OK)
                return sink->check.status;
        *ret_result = json_pack("{s:i}", "n", (int)seconds);
        return VS_OK;
    }
    if (strncmp(prompt, "@flood ", 7) == 0)
        return flood(sink, atol(prompt + 7), false, ret_result);
    if (strncmp(prompt, "@spill ", 7) == 0)
        return flood(sink, atol(prompt + 7) * 60000, true, ret_result);
    if (strncmp(prompt, "@slow ", 6) == 0) {
        for (long i = atol(prompt + 6); i > 0; i--) {
            int status = say_token(sink, 1, "x", 1);
            nap_ms(10);
            if (status == VS_OK)
                status = vs_check_ask(&sink->check);
            if (status != VS_OK)
                return status;
        }
        *ret_result = json_object();
        return VS_OK;
    }
    return say(sink, prompt, json_string_length(value), ret_result, err);
}
