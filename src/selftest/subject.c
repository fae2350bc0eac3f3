/* selftest/subject.c - makes a model of the table and computes with it; see selftest.h */
#include "selftest/selftest.h"

#include "base/bytes.h"
#include "import/llm.h"
#include "sampler/sampler.h"

#include <stdlib.h>
#include <string.h>

int vs_subject_create(const struct vs_case *of, struct vs_subject *ret, struct vs_error *err)
{
    struct vs_subject s = { .of = of };
    struct vs_tiny tiny = of->tiny;
    struct vs_tiny_head head = { 0 };
    struct vs_gguf *gguf = NULL;
    int r = vs_tiny_complete(&tiny, err);
    if (r == VS_OK) {
        vs_tiny_metadata(&tiny, &head);
        r = vs_tiny_file(&tiny, &head, true, &s.file, err);
    }
    if (r == VS_OK)
        r = vs_gguf_open(s.file.data, s.file.n, s.file.n, &gguf, err);
    if (r == VS_OK)
        r = vs_import_llm(gguf, &s.graph, err);
    vs_gguf_close(gguf);
    vs_buf_clear(&head.buf);
    if (r != VS_OK) {
        vs_subject_clear(&s);
        return r;
    }
    *ret = s;
    return VS_OK;
}

void vs_subject_clear(struct vs_subject *s)
{
    vs_graph_clear(&s->graph);
    vs_buf_clear(&s->file);
}

uint32_t vs_subject_prompt(const struct vs_subject *s, uint64_t which, uint32_t i)
{
    uint64_t state = which << 32 | i;
    return (uint32_t)(vs_tiny_random(&state) % s->graph.n_vocab);
}

int vs_answer_init(struct vs_answer *a, const struct vs_subject *of, struct vs_error *err)
{
    *a = (struct vs_answer){ .of = of, .n = of->of->n_prompt };
    vs_sha256_init(&a->hash);
    a->tokens = malloc((of->of->n_prompt + of->of->n_generate) * sizeof *a->tokens);
    if (!a->tokens || vs_sampler_create(of->graph.n_vocab, &a->sampler) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < a->n; i++)
        a->tokens[i] = vs_subject_prompt(of, 0, i);
    return VS_OK;
}

int vs_answer_add(struct vs_answer *a, const float *logits, struct vs_error *err)
{
    struct vs_sampling sampling;
    vs_sampling_defaults(&sampling);
    sampling.seed = 20260101;
    int r = vs_sampler_sample(a->sampler, &sampling, logits, a->tokens, a->n, a->n, &a->tokens[a->n], err);
    if (r != VS_OK)
        return r;
    uint8_t word[4];
    vs_store_u32le(word, a->n);
    vs_sha256_add(&a->hash, word, 4);
    for (uint32_t i = 0; i < a->of->graph.n_vocab; i++) {
        uint32_t bits;
        memcpy(&bits, logits + i, 4);
        vs_store_u32le(word, bits);
        vs_sha256_add(&a->hash, word, 4);
    }
    vs_store_u32le(word, a->tokens[a->n++]);
    vs_sha256_add(&a->hash, word, 4);
    return VS_OK;
}

void vs_answer_hash(struct vs_answer *a, char ret[65])
{
    uint8_t bytes[32];
    vs_sha256_end(&a->hash, bytes);
    vs_hex(bytes, sizeof bytes, ret);
}

void vs_answer_clear(struct vs_answer *a)
{
    vs_sampler_free(a->sampler);
    free(a->tokens);
    *a = (struct vs_answer){ 0 };
}

int vs_subject_run(const struct vs_subject *s, const struct vs_way *way, char ret_hash[65], struct vs_error *err)
{
    uint32_t n_prompt = s->of->n_prompt, n_all = n_prompt + s->of->n_generate;
    uint32_t chunk = way->chunk && way->chunk < n_prompt ? way->chunk : n_prompt;
    uint32_t n_pages = vs_pages_for(n_all);
    const struct vs_backend_config config = {
        .level = (int)way->isa, .n_threads = way->n_threads, .max_rows = chunk, .max_out = 1, .max_positions = n_all,
        .n_pages = n_pages, .kv_type = s->of->kv, .high = s->of->high,
    };
    struct vs_backend *backend = NULL;
    struct vs_answer a = { 0 };
    uint32_t *pages = malloc(n_pages * sizeof *pages);
    struct vs_row *rows = malloc(chunk * sizeof *rows);
    int r = pages && rows ? vs_answer_init(&a, s, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    const struct vs_source file = vs_source_memory(s->file.data, s->file.n);
    if (r == VS_OK)
        r = vs_backend_cpu.create(&s->graph, &config, &file, NULL, NULL, &backend, err);
    for (uint32_t i = 0; i < n_pages && r == VS_OK; i++)
        pages[i] = i;
    for (uint32_t done = 0; r == VS_OK && a.n < n_all;) {
        uint32_t step = a.n - done < chunk ? a.n - done : chunk, last = step - 1;
        for (uint32_t i = 0; i < step; i++)
            rows[i] = (struct vs_row){ a.tokens[done + i], done + i, 0 };
        done += step;
        const struct vs_step job = { .rows = rows, .n_rows = step, .pages = pages, .out = &last, .n_out = done == a.n };
        const float *logits;
        r = vs_backend_step(backend, &job, &logits, err);
        if (r == VS_OK && done == a.n)
            r = vs_answer_add(&a, logits, err);
    }
    if (r == VS_OK)
        vs_answer_hash(&a, ret_hash);
    vs_answer_clear(&a);
    vs_backend_free(backend);
    free(pages);
    free(rows);
    return r;
}

size_t vs_selftest_ways(enum vs_isa isa, bool brief, struct vs_way ret[VS_MAX_WAYS])
{
    static const struct vs_way shapes[] = { { .n_threads = 1, .chunk = 0 }, { .n_threads = 3, .chunk = 7 },
                                            { .n_threads = 2, .chunk = 33 }, { .n_threads = 2, .chunk = 15 } };
    size_t n = 0;
    for (int i = 0; i <= (int)isa; i++)
        for (size_t k = 0; k < (brief ? 1 : i ? 4 : 2); k++) {
            ret[n] = shapes[k];
            ret[n++].isa = (enum vs_isa)i;
        }
    return n;
}
