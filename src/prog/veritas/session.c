/* prog/veritas/session.c - see session.h */
#include "prog/veritas/session.h"

#include "base/files.h"
#include "prog/veritas/models.h"
#include "prog/veritas/policy_file.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t interrupts;
static volatile sig_atomic_t in_call;

static void on_signal(int number)
{
    bool is_second = interrupts > 0;
    interrupts += number == SIGTERM ? VS_SESSION_TERMINATED : 1;
    if (is_second && in_call)
        _exit(6);                        /* a private daemon sees its connection close and ends too */
}

void vs_session_signals(void)
{
    struct sigaction act = { .sa_handler = on_signal };    /* no SA_RESTART: waiting ends, so that the flag is looked at */
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

int vs_session_interrupts(void)
{
    int n = interrupts;
    interrupts = 0;
    return n;
}

bool vs_session_is_interrupted(void)
{
    return interrupts > 0;
}

bool vs_session_is_path(const char *word)
{
    size_t n = strlen(word);
    return strchr(word, '/') || (n > 5 && strcmp(word + n - 5, ".gguf") == 0 && access(word, F_OK) == 0);
}

/* The absolute path of a file without links; of a split model only its directory's, since the name tells of the parts. */
static bool name_file(const char *path, char ret[PATH_MAX])
{
    char folder[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    size_t at;
    if (vs_split_count(path, &at) <= 1)
        return realpath(path, ret) != NULL;
    if (slash && snprintf(folder, sizeof folder, "%.*s", (int)(slash - path + 1), path) >= (int)sizeof folder)
        return false;
    if (!realpath(folder, ret))
        return false;
    size_t n = strlen(ret);
    return snprintf(ret + n, PATH_MAX - n, "%s%s", n > 1 ? "/" : "", slash ? slash + 1 : path) < (int)(PATH_MAX - n);
}

static void show_progress(struct vs_session *s, const json_t *event)
{
    const char *what = json_string_value(json_object_get(event, "what"));
    if (s->hidden || (s->silent && !isatty(2)))
        return;
    if (what && strncmp(what, s->what, sizeof s->what - 1) != 0) {
        vs_progress_end(&s->progress);
        snprintf(s->what, sizeof s->what, "%s", what);
        s->progress = (struct vs_progress){ .bytes = strcmp(what, "load") == 0 || strcmp(what, "digest") == 0, .what = s->what };
    }
    json_int_t done = json_integer_value(json_object_get(event, "done")),
               total = json_integer_value(json_object_get(event, "total"));
    vs_progress_show(&s->progress, done > 0 ? (uint64_t)done : 0, total > 0 ? (uint64_t)total : 0);
}

/* What a word is another name of, by a daemon's STATUS; the word when it is none. */
static const char *real_name(const json_t *status, const char *word)
{
    const char *of = json_string_value(json_object_get(json_object_get(status, "aliases"), word));
    return of ? of : word;
}

/* What can be done when the context is full: is a larger one possible, and is it as large as the KV cache? Asks the daemon. */
static void context_advice(struct vs_session *s, char *ret, size_t n)
{
    json_t *request = json_object(), *result = NULL, *model;
    json_int_t context = 0, limit = 0, pool = 0, token = 0;
    size_t i;
    if (vs_client_call(s->client, VS_MSG_STATUS, request, NULL, &result, NULL) == VS_OK)
        json_array_foreach(json_object_get(result, "models"), i, model) {
            json_t *facts = json_object_get(model, "facts");
            const char *name = json_string_value(json_object_get(model, "name"));
            if (!name || strcmp(name, real_name(result, s->model)) != 0)
                continue;
            context = json_integer_value(json_object_get(facts, "context"));
            limit = json_integer_value(json_object_get(facts, "context_limit"));
            pool = json_integer_value(json_object_get(facts, "kv_memory"));
            token = json_integer_value(json_object_get(facts, "kv_bytes_per_token"));
        }
    json_decref(result);
    json_decref(request);
    const char *first = s->when_full ? s->when_full : "", *comma = s->when_full ? "; " : "";
    if (token > 0 && limit > context && pool / token <= context)
        snprintf(ret, n, "%s%sa larger --kv-memory of `veritas serve` or `load` makes room (%lld MiB hold a context of %lld)",
                 first, comma, (long long)(limit * token / (1 << 20) + 1), (long long)limit);
    else if (limit > context && context > 0)
        snprintf(ret, n, "%s%sa larger --ctx (up to %lld) makes room", first, comma, (long long)limit);
    else
        snprintf(ret, n, "%s%sthe model was made for no more", first, comma);
}

bool vs_is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", text[i]) || !text[i])
            return false;
    return true;
}

void vs_session_remarks(struct vs_session *s, const json_t *request, const json_t *result, bool is_blank)
{
    const char *notice = json_string_value(json_object_get(result, "notice"));
    const char *reason = json_string_value(json_object_get(result, "finish_reason"));
    const json_t *most = json_object_get(request, "max_tokens");
    json_int_t n = json_integer_value(json_object_get(json_object_get(result, "usage"), "completion_tokens"));
    bool was_told = json_is_integer(most) && json_integer_value(most) <= n;      /* as many as were asked for */
    if (notice)
        vs_note("%s", notice);
    if (reason && strcmp(reason, "filtered") == 0) {
        vs_note("the guard cut the answer off: its policy lets no more of it out");
    } else if (reason && strcmp(reason, "length") == 0 && !was_told) {
        char advice[256];
        context_advice(s, advice, sizeof advice);
        vs_note("the answer is cut: the context is full; %s", advice);
    } else if (is_blank && !was_told) {
        vs_note("the answer is empty: %s",
                json_object_get(request, "stop") ? "the model or a --stop ended it" : "the model ended it at once");
    }
}

static void advise(struct vs_error *err, const char *text)
{
    size_t n = strlen(err->text);
    snprintf(err->text + n, sizeof err->text - n, "; %s", text);
}

static bool is_here(const char *model)
{
    char path[PATH_MAX];
    return vs_model_find(model, path, sizeof path, NULL) == VS_OK && access(path, F_OK) == 0;
}

/* The daemon's word for what can't be done gets our word for what to do about it. */
static int explain(struct vs_session *s, int code, int64_t retry_ms, struct vs_error *err)
{
    char advice[256];
    if (code == VS_E_BUSY && retry_ms > 0 && err) {
        snprintf(advice, sizeof advice, "try again in %lld s", (long long)(retry_ms + 999) / 1000);
        advise(err, advice);
    }
    if (code == VS_E_CONTEXT && err) {
        context_advice(s, advice, sizeof advice);
        advise(err, advice);
    }
    if (code == VS_E_NOT_FOUND && s->model[0] && s->model[0] != '/' && vs_model_name_is_valid(s->model) && err &&
        !strstr(err->text, "models pull") && !is_here(s->model))
        return vs_model_missing(s->model, err);
    return code;
}

static int call(struct vs_session *s, uint16_t type, json_t *request, const struct vs_files *files, vs_session_take *take,
                void *context, json_t **ret_result, struct vs_error *err)
{
    uint64_t id;
    struct vs_event e;
    struct vs_error why = { 0 };
    int rc, stopped = VS_OK;
    bool cancelled = false, has_text = false;
    vs_session_signals();
    interrupts = 0;
    in_call = 1;
    if (s->model[0])
        json_object_set_new(request, "model", json_string(s->model));
    if (s->deadline_ms > 0)
        json_object_set_new(request, "deadline_ms", json_integer(s->deadline_ms));
    rc = vs_client_request(s->client, type, request, files, &id, &why);
    while (rc == VS_OK) {
        sigset_t block, before;          /* looking at the flag and waiting are one step: signals come in only while it waits */
        sigemptyset(&block);
        sigaddset(&block, SIGINT);
        sigaddset(&block, SIGTERM);
        sigprocmask(SIG_BLOCK, &block, &before);
        if (interrupts > 0 && !cancelled) {
            sigprocmask(SIG_SETMASK, &before, NULL);
            cancelled = true;
            rc = vs_client_cancel(s->client, id, &why);
            continue;
        }
        vs_client_wait_with(s->client, &before);
        rc = vs_client_next(s->client, -1, &e, &why);
        vs_client_wait_with(s->client, NULL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (rc == VS_E_TIMEOUT && interrupts > 0) {
            rc = VS_OK;
            continue;
        }
        if (rc != VS_OK || e.request != id)
            continue;
        has_text |= e.kind == VS_MSG_TOKEN;
        if (e.kind == VS_MSG_PROGRESS && !has_text)     /* it would wipe the line that the answer stands in */
            show_progress(s, e.json);
        if (e.kind == VS_MSG_TOKEN || e.kind == VS_MSG_DATA || e.kind == VS_MSG_FILES) {
            vs_progress_end(&s->progress);
            if (take && stopped == VS_OK && (stopped = take(context, &e)) != VS_OK)
                rc = vs_client_cancel(s->client, id, &why);
        }
        if (e.is_last)
            break;
    }
    in_call = 0;
    vs_progress_end(&s->progress);
    if (stopped != VS_OK)
        return stopped == VS_E_SYSTEM ? vs_answer_error(err) : stopped;
    if (rc == VS_OK && e.kind != VS_MSG_COMPLETE && e.json && ret_result)
        *ret_result = json_incref(e.json);
    if (rc == VS_OK && e.kind != VS_MSG_COMPLETE) {
        why = e.error;
        rc = why.code == VS_OK ? VS_E_PROTOCOL : why.code;
    }
    if (rc != VS_OK) {
        vs_error_set(err, rc, "%s", rc == VS_E_CANCELLED && cancelled ? "cancelled" : why.text);
        return explain(s, rc, why.retry_after_ms, err);
    }
    if (ret_result)
        *ret_result = json_incref(e.json);
    return VS_OK;
}

int vs_session_call(struct vs_session *s, uint16_t type, json_t *request, int fd, vs_session_take *take, void *context,
                    json_t **ret_result, struct vs_error *err)
{
    const struct vs_files one = { 1, { fd } };
    return call(s, type, request, fd >= 0 ? &one : NULL, take, context, ret_result, err);
}

static int send_load(struct vs_session *s, const struct vs_files *files, json_t *settings, json_t **ret_result,
                     struct vs_error *err)
{
    int rc;
    json_t *request = json_object();
    if (!request || (settings && json_object_size(settings) > 0 && json_object_set(request, "settings", settings) < 0))
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    else
        rc = call(s, VS_MSG_LOAD, request, files, NULL, NULL, ret_result, err);
    json_decref(request);
    return rc;
}

/* Opens the adapters that are meant by a path, behind the model's files; *ret_settings: the same settings with absolute paths. */
static int open_adapters(json_t *settings, struct vs_files *io, json_t **ret_settings, struct vs_error *err)
{
    const json_t *text, *list = json_object_get(settings, "lora");
    json_t *names = json_array(), *copy = settings ? json_copy(settings) : json_object();
    size_t i, n;
    int rc = VS_OK;
    json_array_foreach(list, i, text) {
        char path[PATH_MAX], full[PATH_MAX + 32];
        struct stat st;
        double scale = vs_files_scale(json_string_value(text), &n);
        snprintf(path, sizeof path, "%.*s", (int)(n < PATH_MAX ? n : PATH_MAX - 1), json_string_value(text));
        snprintf(full, sizeof full, "%s", json_string_value(text));
        if (vs_session_is_path(path)) {
            int fd = -1;
            rc = vs_file_open("the adapter", path, &fd, &st, err);
            if (rc == VS_OK && io->n < VS_MAX_FILES)
                io->fd[io->n++] = fd;
            char real[PATH_MAX];
            if (rc == VS_OK && realpath(path, real))
                snprintf(full, sizeof full, "%s=%.9g", real, scale);
        }
        if (rc != VS_OK)
            break;
        json_array_append_new(names, json_string(full));
    }
    if (list)
        json_object_set(copy, "lora", names);
    json_decref(names);
    *ret_settings = copy;
    return rc;
}

int vs_session_choose(struct vs_session *s, const char *model, struct vs_error *err)
{
    if (vs_session_is_path(model))
        return name_file(model, s->model) ? VS_OK : vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : VS_E_SYSTEM,
                                                                 "the model %s: %s", model, strerror(errno));
    int rc = vs_model_name_is_valid(model) ? VS_OK : vs_model_path(model, s->model, sizeof s->model, err);
    if (rc == VS_OK)
        snprintf(s->model, sizeof s->model, "%s", model);
    return rc;
}

int vs_session_load(struct vs_session *s, const char *model, json_t *settings, json_t **ret_result, struct vs_error *err)
{
    struct vs_files files = { 0 };
    struct stat st;
    uint64_t bytes;
    json_t *all = NULL;
    int rc;
    if (vs_session_is_path(model)) {
        rc = vs_files_open_model("the model", model, &files, &st, &bytes, err);
        if (rc == VS_OK && !name_file(model, s->model))
            rc = vs_error_set(err, VS_E_SYSTEM, "the model %s: %s", model, strerror(errno));
        if (rc == VS_OK && (rc = open_adapters(settings, &files, &all, err)) == VS_OK)
            rc = send_load(s, &files, all, ret_result, err);
        json_decref(all);
        vs_files_close(&files);
        return rc;
    }
    rc = vs_session_choose(s, model, err);
    if (rc != VS_OK)
        return rc;
    rc = open_adapters(settings, &files, &all, err);
    if (rc == VS_OK)
        rc = send_load(s, files.n ? &files : NULL, all, ret_result, err);
    json_decref(all);
    vs_files_close(&files);
    return rc;
}

int vs_session_check_variables(struct vs_error *err)
{
    struct vs_sandbox_options options = { 0 };
    struct vs_error why = { 0 };
    int rc = vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &why);
    return rc == VS_OK ? VS_OK : vs_error_set(err, rc, "VERITAS_SANDBOX: %s", why.text);
}

/* The daemon of our own finds its policy by the variable, which it inherits. A wrong one is told here, in our words. */
static int give_policy(const char *named, struct vs_error *err)
{
    struct vs_policy_file f;
    int rc = vs_policy_file_read(&f, named, err);
    if (rc == VS_OK && named && setenv("VERITAS_POLICY", f.path, 1) != 0)
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    vs_policy_file_clear(&f);
    return rc;
}

/* Is it another name that the running daemon has for a model? Then that comes to ret. */
static bool is_alias(const struct vs_args *args, const char *word, char ret[PATH_MAX])
{
    struct vs_client *client;
    json_t *request = json_object(), *status = NULL;
    const char *socket = vs_args_given(args, VS_OPT_SOCKET) ? vs_args_text(args, VS_OPT_SOCKET) : NULL;
    if (vs_client_connect(socket, "veritas", NULL, &client, NULL) == VS_OK) {
        vs_client_call(client, VS_MSG_STATUS, request, NULL, &status, NULL);
        vs_client_close(client);
    }
    const char *real = real_name(status, word);
    bool found = real != word && snprintf(ret, PATH_MAX, "%s", real) < PATH_MAX;
    json_decref(status);
    json_decref(request);
    return found;
}

/* The file that a word means, for who opens it himself. *io_word: what an alias stands for, in real. VS_E_NOT_FOUND says what to
 * do. */
static int find_model(const struct vs_args *args, const char **io_word, char real[PATH_MAX], char ret_path[PATH_MAX],
                      struct vs_error *err)
{
    bool may_be_alias = true;
    for (;;) {
        int rc = VS_OK;
        bool is_path = vs_session_is_path(*io_word);
        if (is_path)
            snprintf(ret_path, PATH_MAX, "%s", *io_word);
        else if ((rc = vs_model_find(*io_word, ret_path, PATH_MAX, err)) != VS_OK)
            return rc;
        if (is_path || access(ret_path, F_OK) == 0 || errno != ENOENT)
            return VS_OK;
        if (!may_be_alias || !is_alias(args, *io_word, real))
            return vs_model_missing(*io_word, err);
        *io_word = real;
        may_be_alias = false;
    }
}

int vs_session_open(struct vs_session *s, const struct vs_args *args, const char *model, unsigned flags, struct vs_error *err)
{
    char real[PATH_MAX], path[PATH_MAX];
    memset(s, 0, sizeof *s);
    s->silent = !(flags & VS_SESSION_LOUD);
    if (vs_args_given(args, VS_OPT_DEADLINE))
        s->deadline_ms = (int64_t)(vs_args_float(args, VS_OPT_DEADLINE) * 1000 + 0.5);
    const char *socket = vs_args_given(args, VS_OPT_SOCKET) ? vs_args_text(args, VS_OPT_SOCKET) : NULL;
    int rc = VS_OK;
    json_t *settings = json_object(), *result = NULL;
    if (!settings || vs_args_json(args, "settings.", settings) != VS_OK) {
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
        goto out;
    }
    const char *policy = vs_args_given(args, VS_OPT_POLICY) ? vs_args_text(args, VS_OPT_POLICY) : NULL;
    bool own = (flags & (VS_SESSION_PRIVATE | VS_SESSION_INSPECT)) || vs_args_given(args, VS_OPT_PRIVATE) || policy ||
               (json_object_size(settings) > 0 && !(flags & VS_SESSION_RUNNING));
    if (flags & VS_SESSION_INSPECT) {
        json_object_clear(settings);
        json_object_set_new(settings, "inspect_only", json_true());
    }
    /* What can be known before a process is started is said before. */
    if (own && model && (rc = find_model(args, &model, real, path, err)) != VS_OK)
        goto out;
    vs_session_signals();
    if (!own)
        rc = vs_client_connect(socket, "veritas", NULL, &s->client, err);
    if ((own || (rc == VS_E_NOT_FOUND && !socket && !(flags & VS_SESSION_RUNNING))) &&
        (rc = vs_session_check_variables(err)) == VS_OK && (rc = give_policy(policy, err)) == VS_OK)
        rc = vs_client_private(NULL, false, 2, "veritas", &s->client, err);
    if (rc != VS_OK || !model || (flags & VS_SESSION_NO_LOAD))
        goto out;
    if (vs_session_is_path(model) || json_object_size(settings) > 0 || vs_client_is_private(s->client))
        rc = vs_session_load(s, model, settings, &result, err);
    else
        rc = vs_session_choose(s, model, err);
out:
    json_decref(result);
    json_decref(settings);
    if (rc != VS_OK)
        vs_session_close(s);
    return rc;
}

int vs_session_open_model(const struct vs_args *args, const char *word, char ret_path[PATH_MAX], struct vs_files *ret,
                          uint64_t *ret_bytes, struct vs_error *err)
{
    char real[PATH_MAX];
    struct stat st;
    int rc = find_model(args, &word, real, ret_path, err);
    return rc == VS_OK ? vs_files_open_model("the model", ret_path, ret, &st, ret_bytes, err) : rc;
}

int vs_session_open_files(struct vs_session *s, const struct vs_args *args, const struct vs_files *files, struct vs_error *err)
{
    char link[64];
    int rc = vs_session_open(s, args, NULL, VS_SESSION_INSPECT, err);
    if (rc != VS_OK)
        return rc;
    json_t *settings = json_pack("{s:b}", "inspect_only", 1);
    snprintf(link, sizeof link, "/proc/self/fd/%d", files->fd[0]);
    if (!realpath(link, s->model)) {
        ssize_t n = readlink(link, s->model, sizeof s->model - 1);       /* its name was taken away */
        s->model[n > 0 ? n : 0] = '\0';
    }
    rc = send_load(s, files, settings, NULL, err);
    json_decref(settings);
    if (rc != VS_OK)
        vs_session_close(s);
    return rc;
}

void vs_session_close(struct vs_session *s)
{
    vs_progress_end(&s->progress);
    vs_client_close(s->client);
    s->client = NULL;
}
