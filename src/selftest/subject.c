/* selftest/subject.c - a model of the table, and the answer that is wanted of it; see selftest.h */
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

uint32_t vs_case_source(const struct vs_case *of)
{
    return of->tiny.start ? of->n_prompt / 2 : 0;
}

uint32_t vs_subject_prompt(const struct vs_subject *s, uint64_t which, uint32_t i)
{
    uint64_t state = which << 32 | i;
    uint32_t token = (uint32_t)(vs_tiny_random(&state) % s->graph.n_vocab), n_source = vs_case_source(s->of);
    if (n_source && i == n_source)
        return s->graph.start;
    return n_source && token == s->graph.start ? (token + 1) % s->graph.n_vocab : token;
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
