/* tools/llama_logits.c - llama.cpp's logits of given tokens as a .npy, for tools/kl.py.
 *
 *     cc -O2 -I LLAMA/include -I LLAMA/ggml/include tools/llama_logits.c -L BUILD/bin -lllama -lggml-base -Wl,-rpath,BUILD/bin
 *     ./a.out MODEL.gguf IDS.json OUT.npy [f16|f32 [THREADS [BATCH]]]
 *
 * A development tool, not part of the build: it links the rival's library. All tokens go in as one prompt, by default in one batch
 * as its users do it, and the K/V type is f16 as its default is.
 */
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

static int fail(const char *what)
{
    fprintf(stderr, "llama_logits: %s\n", what);
    return 1;
}

/* A JSON list of integers, or integers with commas between: everything but digits separates. */
static int read_ids(const char *name, llama_token *id, int max)
{
    FILE *f = fopen(name, "r");
    int n = 0, c;
    if (!f)
        return -1;
    while (n < max && (c = fgetc(f)) != EOF) {
        if (c < '0' || c > '9')
            continue;
        ungetc(c, f);
        if (fscanf(f, "%d", &id[n]) == 1)
            n++;
    }
    fclose(f);
    return n;
}

static int write_header(FILE *f, int rows, int columns)
{
    char head[128];
    int n = snprintf(head, sizeof head, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, columns);
    memset(head + n, ' ', sizeof head - (size_t)n);
    head[117] = '\n';                   /* 10 bytes before it make 128 */
    return fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, f) == 10 && fwrite(head, 1, 118, f) == 118;
}

int main(int argc, char **argv)
{
    enum { MAX_IDS = 65536 };
    static llama_token id[MAX_IDS];
    if (argc < 4)
        return fail("usage: llama_logits MODEL.gguf IDS.json OUT.npy [f16|f32 [THREADS [BATCH]]]");
    int n = read_ids(argv[2], id, MAX_IDS);
    if (n < 1)
        return fail("no token ids");
    int threads = argc > 5 ? atoi(argv[5]) : 2, batch_size = argc > 6 ? atoi(argv[6]) : n;
    if (threads < 1 || batch_size < 1)
        return fail("threads and batch are at least 1");

    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    struct llama_model *model = llama_model_load_from_file(argv[1], mp);
    if (!model)
        return fail("the model does not load");
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = (uint32_t)n;
    cp.n_batch = (uint32_t)batch_size;
    cp.n_threads = cp.n_threads_batch = threads;
    if (argc > 4 && !strcmp(argv[4], "f32")) {          /* its most exact: flash attention rounds within */
        cp.type_k = cp.type_v = GGML_TYPE_F32;
        cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    }
    struct llama_context *ctx = llama_init_from_model(model, cp);
    if (!ctx)
        return fail("no context");
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < n; i++)
        if (id[i] >= n_vocab)
            return fail("a token id lies beyond the vocabulary");

    FILE *out = fopen(argv[3], "wb");
    if (!out || !write_header(out, n, n_vocab))
        return fail("the output can't be written");
    for (int at = 0; at < n; at += batch_size) {
        int rows = n - at < batch_size ? n - at : batch_size;
        struct llama_batch batch = llama_batch_init(rows, 0, 1);
        batch.n_tokens = rows;
        for (int i = 0; i < rows; i++) {
            batch.token[i] = id[at + i];
            batch.pos[i] = at + i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = 1;
        }
        if (llama_decode(ctx, batch))
            return fail("llama_decode failed");
        for (int i = 0; i < rows; i++)
            if (fwrite(llama_get_logits_ith(ctx, i), sizeof(float), (size_t)n_vocab, out) != (size_t)n_vocab)
                return fail("the output can't be written");
        llama_batch_free(batch);
    }
    if (fclose(out))
        return fail("the output can't be written");
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
