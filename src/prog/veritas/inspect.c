/* prog/veritas/inspect.c - `veritas inspect`: what the worker says of a file, for people.
 *
 * The object is printed as it comes: scalars as `key: value`, lists of objects as tables, long lists by their beginning,
 * templates whole and indented. Strings come out of a file that nobody trusts: base/text.h shows them.
 */
#include "base/files.h"
#include "prog/veritas/command.h"
#include "prog/veritas/models.h"
#include "prog/veritas/record.h"
#include "prog/veritas/session.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIST_SHOWN = 8, TEXT_SHOWN = 160 };
#define MAX_DIGEST (UINT64_C(2) << 30)      /* larger files have a digest here only when it was written down */

static bool shorten;                         /* long texts are cut */

/* A chat template is read here, so its lines stay lines; any other text is one. */
static void print_lines(const char *s, size_t n, int indent)
{
    for (const char *end = s + n, *line = s; line <= end; ) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        vs_text_print(stdout, line, (size_t)((stop ? stop : end) - line), VS_TEXT_LINES);
        if (!stop)
            return;
        printf("\n%*s", indent, "");
        line = stop + 1;
    }
}

static void print_word(const char *s, size_t n)
{
    vs_text_print(stdout, s, n, VS_TEXT_LINE);
}

static void print_scalar(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING: print_word(json_string_value(value), json_string_length(value)); break;
    case JSON_INTEGER: printf("%lld", (long long)json_integer_value(value)); break;
    case JSON_REAL: printf("%.9g", json_real_value(value)); break;
    case JSON_TRUE: printf("yes"); break;
    case JSON_FALSE: printf("no"); break;
    default: printf("-"); break;
    }
}

static void print_flat(const char *key, const json_t *value, int indent)
{
    const char *s = json_string_value(value);
    size_t n = s ? json_string_length(value) : 0;
    if (shorten && n > TEXT_SHOWN) {
        for (n = TEXT_SHOWN; n > 0 && ((unsigned char)s[n] & 0xC0) == 0x80; n--)
            ;                            /* no character is cut in two */
        print_word(s, n);
        printf("... (%zu bytes in all)", json_string_length(value));
    } else if (s && strchr(s, '\n') && strstr(key, "chat_template")) {
        printf("\n%*s", indent + 2, "");
        print_lines(s, json_string_length(value), indent + 2);
    } else {
        print_scalar(value);
    }
}

static bool is_flat(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

static void print_list(const json_t *list)
{
    size_t n = json_array_size(list);
    printf("[");
    for (size_t i = 0; i < n && i < LIST_SHOWN; i++) {
        printf(i ? ", " : "");
        if (is_flat(json_array_get(list, i)))
            print_scalar(json_array_get(list, i));
        else if (json_is_array(json_array_get(list, i)))
            print_list(json_array_get(list, i));
        else
            printf("{...}");
    }
    printf(n > LIST_SHOWN ? ", ... %zu in all]" : "]", n);
}

/* Bytes are told in MB too. */
static bool is_bytes(const char *key)
{
    static const char *const names[] = { "bytes", "header_bytes", "tensor_bytes", "weights", "f16", "f32", "q8_0" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(key, names[i]) == 0)
            return true;
    return false;
}

/* A tensor a line: the columns are the keys of the first object. */
static void print_table(const json_t *list, int indent)
{
    json_t *row, *value;
    const char *key;
    size_t i;
    int widest = 4;
    json_array_foreach(list, i, row)
        if ((int)json_string_length(json_object_get(row, "name")) > widest)
            widest = (int)json_string_length(json_object_get(row, "name"));
    widest = widest > 48 ? 48 : widest;
    printf("\n");
    json_array_foreach(list, i, row) {
        printf("%*s", indent + 2, "");
        json_object_foreach(row, key, value) {
            int width = strcmp(key, "name") == 0 ? widest : 8;
            if (json_is_string(value)) {
                print_word(json_string_value(value), json_string_length(value));
                int pad = width - (int)json_string_length(value);
                printf("%*s", pad > 0 ? pad + 2 : 2, "");
            } else if (json_is_array(value)) {
                print_list(value);
                printf("  ");
            } else {
                print_word(key, strlen(key));
                putchar(' ');
                print_scalar(value);
                printf("  ");
            }
        }
        printf("\n");
    }
}

static void print_value(const char *key, json_t *value, int indent)
{
    const char *inner;
    json_t *item;
    printf("%*s", indent, "");
    print_word(key, strlen(key));
    printf(":");
    json_t *head = json_object_get(value, "head"), *count = json_object_get(value, json_is_array(head) ? "count" : "bytes");
    if (head && json_is_integer(count)) {
        /* the beginning of something long */
        printf(" ");
        json_is_array(head) ? print_list(head) : print_flat(key, head, indent);
        long long n = json_integer_value(count);
        printf(" (%lld %s%s in all)\n", n, json_is_array(head) ? "element" : "byte", n == 1 ? "" : "s");
    } else if (json_is_integer(value) && is_bytes(key) && json_integer_value(value) >= 1000000) {
        printf(" %lld (%.1f MB)\n", (long long)json_integer_value(value), (double)json_integer_value(value) / 1e6);
    } else if (json_is_object(value)) {
        printf("\n");
        json_object_foreach(value, inner, item)
            print_value(inner, item, indent + 2);
    } else if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
        print_table(value, indent);
    } else if (json_is_array(value)) {
        printf(" ");
        print_list(value);
        printf("\n");
    } else {
        printf(" ");
        print_flat(key, value, indent);
        printf("\n");
    }
}

/* The SHA-256 of the file that was looked into: the recorded one while that is of this file, else computed, unless that would take
 * long. */
static int add_digest(json_t *result, const struct vs_files *files, uint64_t bytes, const char *path, struct vs_error *err)
{
    struct vs_record record = { 0 };
    int rc = VS_OK;
    bool known = path && vs_record_of_model(path, files, &record) == VS_RECORD_CURRENT;
    if (!known && bytes <= MAX_DIGEST) {
        if ((rc = vs_files_digest(files, "computing the SHA-256", record.sha256, err)) != VS_OK)
            return rc;
        known = true;
    }
    json_object_set_new(result, "model_digest", known ? json_string(record.sha256) : json_null());
    return VS_OK;
}

static void print_program(const json_t *lines)
{
    const json_t *line;
    size_t i;
    json_array_foreach(lines, i, line) {
        print_lines(json_string_value(line), json_string_length(line), 0);
        printf("\n");
    }
}

int vs_command_inspect(const struct vs_args *args)
{
    const char *formats[] = { "veritas-worker", "--formats", vs_args_given(args, VS_OPT_JSON) ? "--json" : NULL, NULL };
    if (vs_args_given(args, VS_OPT_FORMATS))
        return args->n ? vs_usage("inspect", "--formats looks at no model") : vs_command_become("veritas-worker", formats);
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    json_t *request = json_object(), *result = NULL, *value;
    const char *key;
    const char *model = args->n > 0 ? args->v[0] : vs_args_text(args, VS_OPT_MODEL);
    char path[PATH_MAX];
    struct vs_files files = { 0 };
    uint64_t bytes = 0;
    bool all = vs_args_given(args, VS_OPT_ALL_TENSORS), program = vs_args_given(args, VS_OPT_PROGRAM);
    if (vs_args_given(args, VS_OPT_CTX))
        json_object_set_new(request, "ctx", json_integer(vs_args_int(args, VS_OPT_CTX)));
    if (program)
        json_object_set_new(request, "program", json_true());
    int rc = vs_session_open_model(args, model, path, &files, &bytes, &err);
    if (rc == VS_OK)                     /* the worker and the digest get the same files */
        rc = vs_session_open_files(&s, args, &files, &err);
    if (rc == VS_OK)
        rc = vs_session_call(&s, VS_MSG_INSPECT, request, -1, NULL, NULL, &result, &err);
    if (rc == VS_OK && !program)
        rc = add_digest(result, &files, bytes, vs_session_is_path(model) ? NULL : path, &err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_JSON)) {
        vs_answer_json(result, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    } else if (rc == VS_OK && program) {
        print_program(json_object_get(result, "program"));
    } else if (rc == VS_OK) {
        json_t *tensors = json_object_get(result, "tensors"), *metadata = json_object_get(result, "metadata");
        shorten = !all;
        print_value("model_digest", json_object_get(result, "model_digest"), 0);
        /* the template is among the metadata, and the longest list comes last */
        json_object_foreach(result, key, value)
            if (strcmp(key, "tensors") != 0 && strcmp(key, "model_digest") != 0
                && !(strcmp(key, "chat_template") == 0 && json_object_get(metadata, "tokenizer.chat_template")))
                print_value(key, value, 0);
        if (all && json_array_size(tensors) > 0)
            print_value("tensors", tensors, 0);
        else if (json_array_size(tensors) > 0)
            printf("tensors: %zu; --tensors lists them, and shows long texts whole\n", json_array_size(tensors));
    }
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    vs_files_close(&files);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
