/* rooms: template base */
/* helpers/template-render.c - renders chat templates from the command line, for people and scripts.
 *
 *   template-render TEMPLATE CONTEXT.json      prints the text; with --runs, each run on a line of its own
 *   template-render --lines                    reads {"template": ..., "context": ...} one a line, answers
 *                                              {"text": ..., "runs": [[n, trusted], ...]} or {"error": ..., "code": ...}
 */
#include "template/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const trusted[] = { "bos_token", "eos_token", "unk_token", "pad_token", NULL };
enum { NOW = 1700000000 };              /* 2023-11-14 22:13:20 */

static int render(const char *source, size_t n, const json_t *context, struct vs_marked_text *out, struct vs_error *err)
{
    struct vs_template *t;
    int status = vs_template_parse(source, n, &t, err);
    if (status != VS_OK)
        return status;
    status = vs_template_render(t, context, trusted, NOW, NULL, out, err);
    vs_template_free(t);
    return status;
}

static json_t *answer(const json_t *request)
{
    struct vs_marked_text out = { 0 };
    struct vs_error err = { 0 };
    const json_t *source = json_object_get(request, "template");
    int status = render(json_string_value(source), json_string_length(source), json_object_get(request, "context"), &out, &err);
    json_t *reply;
    if (status != VS_OK) {
        reply = json_pack("{s:s, s:s}", "error", err.text, "code", vs_status_name(status));
    } else {
        json_t *runs = json_array();
        for (size_t i = 0; i < out.n_runs; i++)
            json_array_append_new(runs, json_pack("[I, b]", (json_int_t)out.runs[i].n, (int)out.runs[i].trusted));
        reply = json_pack("{s:o, s:o}", "text", json_stringn(out.text.data ? out.text.data : "", out.text.n), "runs", runs);
    }
    vs_marked_text_clear(&out);
    return reply;
}

static int lines(void)
{
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        json_t *reply = request ? answer(request) : json_pack("{s:s, s:s}", "error", "not JSON", "code", "REQUEST");
        json_dumpf(reply, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
        fflush(stdout);
        json_decref(reply);
        json_decref(request);
    }
    free(line);
    return 0;
}

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *data = f ? malloc(1 << 20) : NULL;
    if (!data) {
        perror(path);
        exit(1);
    }
    *n = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--lines") == 0)
        return lines();
    bool runs = argc == 4 && strcmp(argv[1], "--runs") == 0;
    if (argc != 3 && !runs) {
        fprintf(stderr, "usage: template-render [--runs] TEMPLATE CONTEXT.json | --lines\n");
        return 2;
    }
    size_t n;
    char *source = read_file(argv[argc - 2], &n);
    json_error_t bad;
    json_t *context = json_load_file(argv[argc - 1], JSON_ALLOW_NUL, &bad);
    struct vs_marked_text out = { 0 };
    struct vs_error err = { 0 };
    int status = context ? render(source, n, context, &out, &err) : vs_error_set(&err, VS_E_MALFORMED, "%s", bad.text);
    if (status != VS_OK)
        fprintf(stderr, "%s: %s\n", vs_status_name(status), err.text);
    const char *at = out.text.data;
    for (size_t i = 0; runs && i < out.n_runs; at += out.runs[i++].n)
        printf("%s %.*s\n", out.runs[i].trusted ? "template" : "input   ", (int)out.runs[i].n, at);
    if (!runs && out.text.n)
        fwrite(out.text.data, 1, out.text.n, stdout);
    vs_marked_text_clear(&out);
    json_decref(context);
    free(source);
    return vs_status_exit(status);
}
