/* prog/veritas/chat_commands.c - what a line that begins with / does in `veritas chat`, and how Tab completes it. */
#include "prog/veritas/chat.h"
#include "prog/veritas/command.h"
#include "prog/veritas/output.h"

#include "base/text.h"
#include "base/word.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LIMIT (64u << 20)

/* ---- what they share ---- */

static const char *system_of(const struct chat *c)
{
    json_t *first = json_array_get(c->messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    return role && strcmp(role, "system") == 0 ? json_string_value(json_object_get(first, "content")) : NULL;
}

/* ~ and ~/FILE are in the home directory, as in a shell. */
static int expand(const char *path, char ret[PATH_MAX], struct vs_error *err)
{
    const char *home = getenv("HOME");
    bool is_home = path[0] == '~' && (path[1] == '/' || path[1] == '\0') && home && home[0];
    int n = snprintf(ret, PATH_MAX, "%s%s", is_home ? home : "", is_home ? path + 1 : path);
    return n < PATH_MAX ? VS_OK : vs_error_set(err, VS_E_LIMIT, "the path is too long");
}

static void say_count(const json_t *messages, const char *where, const char *path)
{
    size_t n = json_array_size(messages);
    vs_note("%zu message%s %s %s", n, n == 1 ? "" : "s", where, vs_shown(path).text);
}

/* ---- the commands ---- */

static int on_clear(struct chat *c, const char *rest, struct vs_error *err)
{
    (void)rest, (void)err;
    char *system = system_of(c) ? strdup(system_of(c)) : NULL;
    vs_chat_begin(c, system);
    free(system);
    return VS_OK;
}

static int on_system(struct chat *c, const char *rest, struct vs_error *err)
{
    (void)err;
    const char *text = system_of(c) ? system_of(c) : "(no system message)";
    if (rest[0]) {
        vs_chat_begin(c, rest);
        return VS_OK;
    }
    vs_text_print(stderr, text, strlen(text), VS_TEXT_LINES);
    fputc('\n', stderr);
    return VS_OK;
}

/* May the file be replaced? Without a terminal there is nobody to ask: who wrote the commands meant it. */
static bool may_replace(struct chat *c, const char *path)
{
    struct stat st;
    char prompt[PATH_MAX + 64];
    struct vs_buf line = { 0 };
    if (!c->editor || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return true;
    snprintf(prompt, sizeof prompt, "%s is there; replace it? [y/N] ", vs_shown(path).text);
    bool yes = vs_editor_line(c->editor, prompt, &line) == VS_LINE && line.data && (line.data[0] == 'y' || line.data[0] == 'Y');
    vs_buf_clear(&line);
    return yes;
}

static int save(struct chat *c, const char *path, struct vs_error *err)
{
    struct vs_output file;
    char *text = json_dumps(c->messages, JSON_INDENT(2));
    int rc = text ? vs_output_open(&file, path, 0600, err)
                  : vs_error_set(err, VS_E_NOMEM, "out of memory: the conversation was not saved");
    if (rc == VS_OK) {
        vs_output_write(&file, text, strlen(text));
        vs_output_write(&file, "\n", 1);
        rc = vs_output_commit(&file, err);
    }
    free(text);
    if (rc == VS_OK)
        say_count(c->messages, strcmp(path, "-") == 0 ? "on" : "saved in", strcmp(path, "-") == 0 ? "standard output" : path);
    return rc;
}

static int on_save(struct chat *c, const char *rest, struct vs_error *err)
{
    char path[PATH_MAX];
    int rc = rest[0] ? expand(rest, path, err) : vs_error_set(err, VS_E_INVALID, "where to? /save FILE");
    if (rc == VS_OK && !may_replace(c, path)) {
        vs_say("nothing was saved");
        return VS_OK;
    }
    if (rc == VS_OK)
        rc = save(c, path, err);
    c->unsaved = rc;
    return rc;
}

/* A list of messages as /save writes it; the worker looks closer when they are sent. */
static int check_messages(const json_t *list, const char *path, struct vs_error *err)
{
    json_t *message;
    size_t i;
    if (!json_is_array(list))
        return vs_error_set(err, VS_E_MALFORMED, "%s is not a list of messages", path);
    json_array_foreach(list, i, message) {
        json_t *content = json_object_get(message, "content");
        if (!json_is_string(json_object_get(message, "role")) || (content && !json_is_string(content) && !json_is_null(content)))
            return vs_error_set(err, VS_E_MALFORMED, "%s: message %zu is not {\"role\": TEXT, \"content\": TEXT}", path, i + 1);
    }
    return VS_OK;
}

static int on_load(struct chat *c, const char *rest, struct vs_error *err)
{
    char path[PATH_MAX], *text = NULL;
    size_t n = 0;
    json_error_t why;
    json_t *list = NULL;
    struct stat st;
    int rc = rest[0] ? expand(rest, path, err) : vs_error_set(err, VS_E_INVALID, "which one? /load FILE");
    if (rc != VS_OK)
        return rc;
    if (strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
        return vs_error_set(err, VS_E_INVALID, "%s is not a plain file", path);
    if ((rc = vs_text_read(path, FILE_LIMIT, &text, &n, err)) == VS_OK) {
        list = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
        rc = list ? check_messages(list, path, err)
                  : vs_error_set(err, VS_E_MALFORMED, "%s is not JSON: line %d: %s", path, why.line, why.text);
    }
    if (rc == VS_OK) {
        json_array_clear(c->messages);
        json_array_extend(c->messages, list);
        c->again = 0;
        say_count(c->messages, "from", path);
    }
    json_decref(list);
    free(text);
    return rc;
}

static bool last_is(const struct chat *c, const char *role)
{
    const char *last = json_string_value(json_object_get(json_array_get(c->messages, json_array_size(c->messages) - 1), "role"));
    return last && strcmp(last, role) == 0;
}

static int on_regen(struct chat *c, const char *rest, struct vs_error *err)
{
    (void)rest;
    json_t *before = NULL;
    if (last_is(c, "assistant")) {
        before = json_incref(json_array_get(c->messages, json_array_size(c->messages) - 1));
        json_array_remove(c->messages, json_array_size(c->messages) - 1);
    }
    int rc = VS_OK;
    if (!last_is(c, "user")) {
        rc = vs_error_set(err, VS_E_INVALID, "there is no answer yet");
    } else {
        if (before)
            c->again++;                  /* the same seed would give the same answer */
        rc = vs_chat_answer(c, err);
    }
    if (before && !last_is(c, "assistant"))
        json_array_append(c->messages, before);      /* nothing better came */
    json_decref(before);
    return rc;
}

/* "temp 0.5 (default: the model file's, else 0.8)" */
static void show_option(const struct chat *c, const struct vs_option *o)
{
    int id = (int)(o - vs_options), n = c->args.option[id].n;
    fprintf(stderr, "  %s", o->name);
    for (int i = 0; i < n; i++)
        fprintf(stderr, " %s", o->type == VS_TYPE_FLAG ? "on" : vs_shown(c->args.option[id].v[i]).text);
    if (n == 0)
        fprintf(stderr, " %s", o->value ? o->value : "on|off");
    if (o->preset)
        fprintf(stderr, " (default: %s)", o->preset);
    fputc('\n', stderr);
}

static int on_set(struct chat *c, const char *rest, struct vs_error *err)
{
    char name[40];
    size_t n = strcspn(rest, " \t=");
    const char *value = rest + n + strspn(rest + n, " \t=");
    snprintf(name, sizeof name, "%.*s", (int)n, rest);
    const char *plain = name + strspn(name, "-");
    bool one_is_known = false;
    for (int i = 0; i < VS_OPT_COUNT; i++) {
        bool is_it = strcmp(vs_options[i].name, plain) == 0;
        if (!vs_option_is_settable(&vs_options[i], c->args.command) || (plain[0] && !is_it))
            continue;
        if (is_it && (value[0] || vs_options[i].type == VS_TYPE_FLAG))
            break;                       /* it is to be set */
        show_option(c, &vs_options[i]);
        one_is_known = true;
    }
    if (one_is_known)
        return VS_OK;
    int rc = vs_args_set(&c->args, name, value, err);
    if (rc == VS_OK && strcmp(plain, "seed") == 0) {
        c->again = 0;
        if (strcmp(value, "random") == 0)
            vs_seed_print(&c->args);
    }
    return rc;
}

static int on_quit(struct chat *c, const char *rest, struct vs_error *err)
{
    (void)rest, (void)err;
    c->leave = true;
    return VS_OK;
}

static int on_help(struct chat *c, const char *rest, struct vs_error *err);

#define ROW(name, usage, help, run) { name, usage, help, run },
static const struct command {
    const char *name, *usage, *help;
    int (*run)(struct chat *c, const char *rest, struct vs_error *err);
} commands[] = { VS_CHAT_COMMANDS(ROW) };
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static int on_help(struct chat *c, const char *rest, struct vs_error *err)
{
    (void)c, (void)rest, (void)err;
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(stderr, "%s%s\n", commands[i].usage, commands[i].help);
    fprintf(stderr,
            "\"\"\" starts and ends a text of several lines; a \\ at the end of a line continues it; Ctrl-C stops an answer\n");
    return VS_OK;
}

int vs_chat_command(struct chat *c, const char *line, struct vs_error *err)
{
    char name[32];
    size_t word = strcspn(line, " \t"), n = strlen(line);
    const char *rest = line + word + strspn(line + word, " \t");
    const char *near = NULL;
    unsigned best = 3;
    snprintf(name, sizeof name, "%.*s", (int)word, line);
    if (strcmp(name, "/quit") == 0)
        snprintf(name, sizeof name, "/exit");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        unsigned far = vs_word_unlike(name, commands[i].name);
        if (strcmp(name, commands[i].name) == 0 && word < sizeof name) {
            /* blanks at the end are no part of a file's name or a value: Tab leaves one */
            while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
                n--;
            char *trimmed = strndup(rest, line + n > rest ? (size_t)(line + n - rest) : 0);
            int rc = trimmed ? commands[i].run(c, trimmed, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
            free(trimmed);
            return rc;
        }
        if (far < best) {
            best = far;
            near = commands[i].name;
        }
    }
    if (near)
        return vs_error_set(err, VS_E_INVALID, "unknown command %.40s; did you mean %s?", name, near);
    return vs_error_set(err, VS_E_INVALID,
                        "unknown command %.40s; /help lists them (a line that should begin with / can begin with a blank)", name);
}

/* ---- Tab ---- */

static void offer(struct vs_completion *ret, const char *typed, size_t n, const char *word)
{
    if (strncmp(word, typed, n) == 0)
        vs_buf_add(&ret->words, word, strlen(word) + 1);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Files of which `typed` is the beginning; directories end with a slash. */
static void offer_files(struct vs_completion *ret, const char *typed)
{
    char folder[PATH_MAX], path[PATH_MAX + 258];
    struct dirent **list = NULL;
    struct vs_error err;
    struct stat st;
    const char *slash = strrchr(typed, '/');
    size_t head = slash ? (size_t)(slash - typed) + 1 : 0;
    snprintf(path, sizeof path, "%.*s", (int)head, typed);
    if (expand(head ? path : ".", folder, &err) != VS_OK)
        return;
    int n = scandir(folder, &list, NULL, by_name);
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        bool is_hidden = name[0] == '.' && typed[head] != '.';
        if (!is_hidden && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
            strncmp(name, typed + head, strlen(typed + head)) == 0) {
            snprintf(path, sizeof path, "%s/%s", folder, name);
            bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
            vs_buf_add(&ret->words, typed, head);
            vs_buf_str(&ret->words, name);
            vs_buf_add(&ret->words, is_folder ? "/" : "", is_folder ? 2 : 1);
        }
        free(list[i]);
    }
    free(list);
}

static bool is_word(const char *line, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(line, word, n) == 0;
}

void vs_chat_complete(void *context, const char *line, size_t n, struct vs_completion *ret)
{
    const struct chat *c = context;
    char *typed = strndup(line, n);
    if (!typed || typed[0] != '/')
        goto out;
    size_t word = strcspn(typed, " \t"), from = word + strspn(typed + word, " \t");
    if (from == word) {
        for (size_t i = 0; i < N_COMMANDS; i++)
            offer(ret, typed, n, commands[i].name);
    } else if (is_word(typed, word, "/save") || is_word(typed, word, "/load")) {
        ret->from = from;
        offer_files(ret, typed + from);
    } else if (is_word(typed, word, "/set") && !strpbrk(typed + from, " \t")) {
        ret->from = from;
        for (int i = 0; i < VS_OPT_COUNT; i++)
            if (vs_option_is_settable(&vs_options[i], c->args.command))
                offer(ret, typed + from, n - from, vs_options[i].name);
    }
out:
    free(typed);
}
