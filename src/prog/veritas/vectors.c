/* prog/veritas/vectors.c - `veritas embed` and `veritas rerank`: texts in, vectors or scores out. */
#include "prog/veritas/command.h"
#include "prog/veritas/output.h"
#include "prog/veritas/session.h"

#include "base/buf.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_LIMIT (15u << 20)

/* One more text of the list; a newline that ends a file is not part of it. */
static int add_text(json_t *list, const char *what, const char *text, size_t n, bool is_file, struct vs_error *err)
{
    n -= is_file && n && text[n - 1] == '\n';
    int rc = vs_text_check(what, text, n, err);
    if (rc == VS_OK && json_array_append_new(list, json_stringn(text, n)) != 0)
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    return rc;
}

static int add_file(json_t *list, const char *path, struct vs_error *err)
{
    char *text = NULL;
    size_t n = 0;
    int rc = vs_text_read(path, TEXT_LIMIT, &text, &n, err);
    if (rc == VS_OK)
        rc = add_text(list, "the text", text, n, true, err);
    free(text);
    return rc;
}

/* The words of the command line, then the files of --file; standard input where there is neither and `reads`. A new reference. */
static int read_texts(const struct vs_args *args, bool reads, json_t **ret, struct vs_error *err)
{
    json_t *list = json_array();
    int rc = list ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (int i = 0; i < args->n && rc == VS_OK; i++)
        rc = add_text(list, "the text", args->v[i], strlen(args->v[i]), false, err);
    for (int i = 0; i < args->option[VS_OPT_FILE].n && rc == VS_OK; i++)
        rc = add_file(list, args->option[VS_OPT_FILE].v[i], err);
    if (rc == VS_OK && reads && !json_array_size(list))
        rc = add_file(list, NULL, err);
    if (rc == VS_OK)
        *ret = list;
    else
        json_decref(list);
    return rc;
}

static int take_data(void *context, const struct vs_event *e)
{
    struct vs_buf *bytes = context;
    if (e->kind == VS_MSG_DATA)
        vs_buf_add(bytes, e->text, e->n);
    return bytes->status;
}

static float number(const struct vs_buf *bytes, size_t i)
{
    uint32_t u = vs_load_u32le(bytes->data + 4 * i);
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* ---- embed ---- */

/* The digits of a float that give it back: nine. */
static json_t *number_json(float x)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.9g", (double)x);
    return json_real(strtod(digits, NULL));
}

static void print_vectors(const struct vs_buf *bytes, size_t rows, size_t dim)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t d = 0; d < dim; d++)
            printf("%.9g%c", (double)number(bytes, i * dim + d), d + 1 < dim ? ' ' : '\n');
}

static int print_json(json_t *result, const struct vs_buf *bytes, size_t rows, size_t dim)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rows; i++) {
        json_t *vector = json_array();
        for (size_t d = 0; d < dim; d++)
            json_array_append_new(vector, number_json(number(bytes, i * dim + d)));
        json_array_append_new(list, vector);
    }
    json_object_set_new(result, "embeddings", list);
    vs_answer_json(result, JSON_COMPACT);
    return VS_OK;
}

static const char *wrong_use(const struct vs_args *args)
{
    const char *path = vs_args_text(args, VS_OPT_OUTPUT);
    if (vs_args_given(args, VS_OPT_TOKENS) && (args->n > 0 || vs_args_given(args, VS_OPT_FILE)))
        return "either --tokens or texts, not both";
    if (path && strcmp(path, "-") == 0 && vs_args_given(args, VS_OPT_JSON))
        return "-o - and --json would both write to standard output";
    return NULL;
}

static int embed_request(const struct vs_args *args, json_t *request, struct vs_error *err)
{
    json_t *texts = NULL;
    if (vs_args_json(args, "", request) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (vs_args_given(args, VS_OPT_TOKENS)) {
        json_t *ids = json_incref(json_object_get(request, "tokens"));
        return json_object_set_new(request, "tokens", json_pack("[o]", ids)) == 0
                   ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    int rc = read_texts(args, true, &texts, err);
    if (rc == VS_OK)
        json_object_set_new(request, "input", texts);
    return rc;
}

/* What came, checked against what the result says of it. */
static int show(const struct vs_args *args, struct vs_output *file, json_t *result, const struct vs_buf *bytes,
                struct vs_error *err)
{
    size_t dim = (size_t)json_integer_value(json_object_get(result, "dim")), rows = dim ? bytes->n / (4 * dim) : 0;
    const char *notice = json_string_value(json_object_get(result, "notice")), *path = vs_args_text(args, VS_OPT_OUTPUT);
    if (!dim || rows * dim * 4 != bytes->n || rows < (size_t)json_integer_value(json_object_get(result, "n")))
        return vs_error_set(err, VS_E_PROTOCOL, "%zu bytes of vectors came, of %zu numbers each", bytes->n, dim);
    if (notice)
        vs_note("%s", notice);
    if (path) {
        vs_output_npy(file, rows, dim);
        vs_output_write_at(file, VS_NPY_HEADER, bytes->data, bytes->n);
        int rc = vs_output_commit(file, err);
        if (rc != VS_OK)
            return rc;
    }
    if (vs_args_given(args, VS_OPT_JSON))
        return print_json(result, bytes, rows, dim);
    if (path)
        vs_note("%s: float32 [%zu, %zu]", strcmp(path, "-") == 0 ? "standard output" : path, rows, dim);
    else
        print_vectors(bytes, rows, dim);
    return VS_OK;
}

int vs_command_embed(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    struct vs_output file = { .fd = -1, .stream = -1 };
    struct vs_buf bytes = { .limit = 2048u << 20 };
    json_t *request = json_object(), *result = NULL;
    const char *wrong = wrong_use(args), *path = vs_args_text(args, VS_OPT_OUTPUT);
    if (wrong) {
        json_decref(request);
        return vs_usage("embed", "%s", wrong);
    }
    int rc = embed_request(args, request, &err);
    if (rc == VS_OK && path)             /* before the model is loaded, so that a bad path is said at once */
        rc = vs_output_spare(path, vs_args_text(args, VS_OPT_MODEL), &err);
    if (rc == VS_OK && path)
        rc = vs_output_open(&file, path, 0644, &err);
    if (rc == VS_OK)
        rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), 0, &err);
    if (rc == VS_OK)
        rc = vs_session_call(&s, VS_MSG_EMBED, request, -1, take_data, &bytes, &result, &err);
    if (rc == VS_OK)
        rc = show(args, &file, result, &bytes, &err);
    vs_output_drop(&file);
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    vs_buf_clear(&bytes);
    return rc == VS_OK ? 0 : vs_fail(&err);
}

/* ---- rerank ---- */

struct ranked { size_t index; double score; };

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static void print_ranked(const struct ranked *r, const json_t *documents)
{
    enum { SHOWN = 60 };
    const char *text = json_string_value(json_array_get(documents, r->index));
    size_t n = strcspn(text, "\r\n"), cut = n;
    while (cut > SHOWN || (cut < n && ((unsigned char)text[cut] & 0xc0) == 0x80))
        cut--;
    printf("%.6f\t%zu\t", r->score, r->index);
    vs_answer(text, cut);
    printf("%s\n", text[cut] ? "..." : "");
}

static void show_ranked(const struct vs_args *args, const json_t *documents, const json_t *result)
{
    const json_t *scores = json_object_get(result, "scores");
    size_t n = json_array_size(scores);
    struct ranked *r = calloc(n ? n : 1, sizeof *r);
    json_t *list = json_array();
    for (size_t i = 0; r && i < n; i++)
        r[i] = (struct ranked){ i, json_number_value(json_array_get(scores, i)) };
    if (r)
        qsort(r, n, sizeof *r, by_score);
    for (size_t i = 0; r && i < n; i++) {
        if (!vs_args_given(args, VS_OPT_JSON))
            print_ranked(&r[i], documents);
        else
            json_array_append_new(list, json_pack("{s:I, s:f, s:O}", "index", (json_int_t)r[i].index, "score", r[i].score, "logits",
                                                  json_array_get(json_object_get(result, "logits"), r[i].index)));
    }
    json_t *all = json_pack("{s:o, s:O}", "results", list, "tokens", json_object_get(result, "tokens"));
    if (vs_args_given(args, VS_OPT_JSON))
        vs_answer_json(all, JSON_COMPACT);
    json_decref(all);
    free(r);
}

int vs_command_rerank(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    json_t *request = json_object(), *result = NULL, *documents = NULL;
    const char *wrong = !vs_args_given(args, VS_OPT_QUERY)                         ? "which question? --query TEXT"
                        : args->n == 0 && !vs_args_given(args, VS_OPT_FILE)        ? "which documents? DOC, or -f FILE"
                                                                                   : NULL;
    if (wrong) {
        json_decref(request);
        return vs_usage("rerank", "%s", wrong);
    }
    int rc = read_texts(args, false, &documents, &err);
    if (rc == VS_OK && (vs_args_json(args, "", request) != VS_OK || json_object_set(request, "documents", documents) != 0))
        rc = vs_error_set(&err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK)
        rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), 0, &err);
    if (rc == VS_OK)
        rc = vs_session_call(&s, VS_MSG_RERANK, request, -1, NULL, NULL, &result, &err);
    if (rc == VS_OK && json_array_size(json_object_get(result, "scores")) != json_array_size(documents))
        rc = vs_error_set(&err, VS_E_PROTOCOL, "%zu scores came for %zu documents",
                          json_array_size(json_object_get(result, "scores")), json_array_size(documents));
    if (rc == VS_OK)
        show_ranked(args, documents, result);
    json_decref(result);
    json_decref(documents);
    json_decref(request);
    vs_session_close(&s);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
