/* prog/worker/imatrix.c - see imatrix.h */
#include "prog/worker/imatrix.h"
#include "prog/worker/make.h"

#include "base/buf.h"
#include "cpu/backend.h"
#include "engine/model.h"
#include "import/header.h"
#include "sandbox/sandbox.h"
#include "tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 256 << 20, ROWS = 128, ALIGNMENT = 32 };

struct work {
    struct vs_model_file *file;
    struct vs_header *header;
    struct vs_tokenizer *tokenizer;
    struct vs_model *model;
    struct vs_ids ids;
    size_t chunk, n_chunks, at;          /* tokens of a chunk; chunks, and how many were read */
};

static int open_model(struct work *w, const struct vs_files *parts, unsigned n_threads, uint32_t ctx, struct vs_error *err)
{
    struct vs_model_config config = { .backend = &vs_backend_cpu, .n_threads = n_threads, .chunk = ROWS, .max_out = ROWS,
                                      .kv_type = VS_KV_F16, .sharing = VS_KV_SHARE_NONE, .context = ctx, .observe = true };
    struct vs_graph graph = { 0 };
    int rc = vs_model_file_open(parts, &w->file, err);
    if (rc == VS_OK)
        rc = config.backend->level_parse("auto", &config.level, err);
    if (rc == VS_OK)
        rc = vs_header_open(vs_model_file_glance(w->file), &w->header, err);
    if (rc == VS_OK)
        rc = vs_header_graph(w->header, &graph, err);
    if (rc == VS_OK && graph.output[VS_OUTPUT_LOGITS] == VS_NONE)
        rc = vs_error_set(err, VS_E_UNSUPPORTED, "a %s model writes no text; an imatrix is made of those that do",
                          graph.architecture);
    if (rc == VS_OK && graph.n_source)
        rc = vs_error_set(err, VS_E_UNSUPPORTED, "a %s model answers texts; an imatrix is made of those that go on with one",
                          graph.architecture);
    config.context = ctx < graph.context ? ctx : graph.context;
    vs_graph_clear(&graph);
    if (rc == VS_OK && (rc = vs_tokenizer_create(vs_header_entries(w->header), &w->tokenizer, err)) == VS_E_NOT_FOUND)
        rc = vs_error_set(err, VS_E_UNSUPPORTED, "the model file carries no tokenizer");
    if (rc == VS_OK)
        rc = vs_model_open(w->header, w->file, &config, NULL, NULL, &w->model, err);
    if (rc == VS_OK && vs_tokenizer_n_vocab(w->tokenizer) > vs_model_n_vocab(w->model))
        rc = vs_error_set(err, VS_E_MALFORMED, "model: the tokenizer has more tokens than the model");
    return rc;
}

static int read_text(struct work *w, struct vs_error *err)
{
    int fd = VS_MAKE_INPUT;
    struct vs_source text;
    char *bytes = NULL;
    int rc = vs_make_source(&fd, &text, err);
    if (rc == VS_OK && text.n_bytes > MAX_TEXT)
        rc = vs_error_set(err, VS_E_LIMIT, "the text has %llu MB; at most %d are read", (unsigned long long)(text.n_bytes >> 20),
                          MAX_TEXT >> 20);
    if (rc == VS_OK && !(bytes = malloc((size_t)text.n_bytes + 1)))
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK)
        rc = vs_source_read(&text, 0, (size_t)text.n_bytes, bytes, err);
    struct vs_text_run run = { rc == VS_OK ? (size_t)text.n_bytes : 0, false };
    if (rc == VS_OK)
        rc = vs_tokenizer_encode(w->tokenizer, bytes, run.n, &run, 1, VS_ENCODE_ADD_FIRST, NULL, &w->ids, err);
    free(bytes);
    w->chunk = vs_model_context(w->model);
    w->n_chunks = w->ids.n / w->chunk;
    if (rc == VS_OK && !w->n_chunks)
        rc = vs_error_set(err, VS_E_INVALID, "the text has %zu tokens, fewer than a chunk of %zu; give a longer one, or a smaller "
                          "--ctx", w->ids.n, w->chunk);
    return rc;
}

/* Each chunk by itself, from its beginning; what does not fill one is left out, as others do. */
static int read_chunks(struct work *w, struct vs_error *err)
{
    struct vs_sequence *s = NULL;
    int rc = vs_sequence_create(w->model, &s);
    if (rc != VS_OK)
        return vs_error_set(err, rc, "out of memory");
    for (; rc == VS_OK && w->at < w->n_chunks; w->at++) {
        uint32_t *tokens = w->ids.id + w->at * w->chunk;
        if (vs_tokenizer_adds_bos(w->tokenizer))
            tokens[0] = vs_tokenizer_bos(w->tokenizer);
        rc = vs_make_progress(w->at, w->n_chunks, err);
        vs_sequence_truncate(s, 0);
        if (rc == VS_OK)
            rc = vs_sequence_append(s, tokens, w->chunk, w->chunk, NULL, NULL, NULL, err);
    }
    vs_sequence_free(s);
    return rc == VS_OK ? vs_make_progress(w->at, w->n_chunks, err) : rc;
}

/* ---- the file ---- */

static void put_text(struct vs_buf *b, const char *s)
{
    vs_buf_u64le(b, strlen(s));
    vs_buf_str(b, s);
}

static void put_float(struct vs_buf *b, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    vs_buf_u32le(b, bits);
}

static void pad(struct vs_buf *b)
{
    while (b->n % ALIGNMENT && b->status == VS_OK)
        vs_buf_char(b, 0);
}

enum { T_F32 = 0, T_U32 = 4, T_STR = 8, T_ARRAY = 9 };

static void put_info(struct vs_buf *b, const char *stem, const char *end, uint64_t n_columns, uint64_t n_rows, uint64_t *io_at)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", stem, end);
    put_text(b, name);
    vs_buf_u32le(b, 2);
    vs_buf_u64le(b, n_columns);
    vs_buf_u64le(b, n_rows);
    vs_buf_u32le(b, T_F32);
    vs_buf_u64le(b, *io_at);
    *io_at += (n_columns * n_rows * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void put_head(struct vs_buf *b, const struct work *w, const char *text, const struct vs_observed *o, size_t n)
{
    uint64_t at = 0;
    vs_buf_str(b, "GGUF");
    vs_buf_u32le(b, 3);
    vs_buf_u64le(b, 2 * n);
    vs_buf_u64le(b, 4);
    put_text(b, "general.type");
    vs_buf_u32le(b, T_STR);
    put_text(b, "imatrix");
    put_text(b, "imatrix.datasets");
    vs_buf_u32le(b, T_ARRAY);
    vs_buf_u32le(b, T_STR);
    vs_buf_u64le(b, 1);
    put_text(b, text);
    put_text(b, "imatrix.chunk_count");
    vs_buf_u32le(b, T_U32);
    vs_buf_u32le(b, (uint32_t)w->n_chunks);
    put_text(b, "imatrix.chunk_size");
    vs_buf_u32le(b, T_U32);
    vs_buf_u32le(b, (uint32_t)w->chunk);
    for (size_t i = 0; i < n; i++) {
        put_info(b, o[i].name, "in_sum2", o[i].n_columns, o[i].n_matrices, &at);
        put_info(b, o[i].name, "counts", 1, o[i].n_matrices, &at);
    }
    pad(b);
}

static int write_file(const struct work *w, const char *text, struct vs_error *err)
{
    size_t n;
    struct vs_backend *backend = vs_model_backend(w->model);
    const struct vs_observed *o = backend->kind->observed(backend, &n);
    struct vs_buf b = { 0 };
    put_head(&b, w, text, o, n);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < (size_t)o[i].n_columns * o[i].n_matrices; k++)
            put_float(&b, (float)o[i].sum[k]);
        pad(&b);
        for (size_t k = 0; k < o[i].n_matrices; k++)
            put_float(&b, (float)o[i].n_rows[k]);
        pad(&b);
    }
    int rc = b.status == VS_OK ? vs_make_length(b.n, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK)
        rc = vs_make_put(b.data, b.n, err);
    vs_buf_clear(&b);
    return rc;
}

int vs_imatrix_main(int argc, char **argv)
{
    struct vs_error err = { 0 };
    struct vs_files parts;
    struct work w = { 0 };
    if (argc < 5 || vs_make_begin("imatrix") != VS_OK)
        return 2;
    int rc = vs_make_enter(&parts, &err);
    vs_last_words_phase("loading the model");
    if (rc == VS_OK)
        rc = open_model(&w, &parts, vs_make_threads(argv[2]), (uint32_t)strtoul(argv[3], NULL, 10), &err);
    vs_last_words_phase("reading the text");
    if (rc == VS_OK)
        rc = read_text(&w, &err);
    if (rc == VS_OK)
        rc = read_chunks(&w, &err);
    if (rc == VS_OK)
        rc = write_file(&w, argv[4], &err);
    vs_ids_clear(&w.ids);
    vs_model_close(w.model);
    vs_tokenizer_free(w.tokenizer);
    vs_header_close(w.header);
    vs_model_file_close(w.file);
    return vs_make_end(rc, &err);
}
