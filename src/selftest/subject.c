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

/* ---- a run ---- */

struct machine {
    const struct vs_subject *of;
    const struct vs_way *way;
    struct vs_backend *backend;
    uint32_t n_pages, chunk;            /* chunk: most rows of a step, but for drafts */
    uint32_t *pages, *out;
    struct vs_row *rows;
};

static void close_machine(struct machine *m)
{
    vs_backend_free(m->backend);
    free(m->pages);
    free(m->out);
    free(m->rows);
}

static int open_machine(struct machine *m, struct vs_error *err)
{
    const struct vs_case *of = m->of->of;
    uint32_t n_all = of->n_prompt + of->n_generate, n_drafts = m->way->n_drafts;
    m->chunk = m->way->chunk && m->way->chunk < of->n_prompt ? m->way->chunk : of->n_prompt;
    m->n_pages = vs_pages_for(n_all);
    m->pages = malloc(m->n_pages * sizeof *m->pages);
    m->out = malloc((1 + n_drafts) * sizeof *m->out);
    m->rows = malloc((m->chunk + n_drafts) * sizeof *m->rows);
    if (!m->pages || !m->out || !m->rows)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < m->n_pages; i++)
        m->pages[i] = i;
    const struct vs_backend_config config = {
        .level = (int)m->way->isa, .n_threads = m->way->n_threads, .max_rows = m->chunk + n_drafts, .max_out = 1 + n_drafts,
        .max_positions = n_all, .n_pages = m->n_pages, .kv_type = of->kv, .high = of->high,
    };
    const struct vs_source file = vs_source_memory(m->of->file.data, m->of->file.n);
    return vs_backend_cpu.create(&m->of->graph, &config, &file, NULL, NULL, &m->backend, err);
}

/* Guesses at the tokens that follow, known to be right; every third position gets a wrong one. Returns how many. */
static uint32_t guess(const struct machine *m, const struct vs_answer *a, const uint32_t *right, uint32_t *ret)
{
    uint32_t n_all = m->of->of->n_prompt + m->of->of->n_generate, n = 0;
    for (uint32_t at = a->n; n < m->way->n_drafts && at + 1 < n_all; at++)
        ret[n++] = at % 3 == 0 ? (right[at] + 1) % m->of->graph.n_vocab : right[at];
    return n;
}

/* The next rows, from `done` on; when they reach the answer's end, with guesses behind it: what comes is taken row by row, as long
 * as it is what was guessed. */
static int step(struct machine *m, struct vs_answer *a, const uint32_t *right, uint32_t *done, struct vs_error *err)
{
    uint32_t left = a->n - *done, n = left < m->chunk ? left : m->chunk, n_guesses = 0, guesses[VS_MAX_DRAFTS];
    bool reads = n == left;
    if (reads && right)
        n_guesses = guess(m, a, right, guesses);
    for (uint32_t i = 0; i < n + n_guesses; i++)
        m->rows[i] = (struct vs_row){ i < n ? a->tokens[*done + i] : guesses[i - n], *done + i, 0 };
    for (uint32_t i = 0; i <= n_guesses; i++)
        m->out[i] = n - 1 + i;
    const struct vs_step job = { .rows = m->rows, .n_rows = n + n_guesses, .pages = m->pages, .out = m->out,
                                 .n_out = reads ? 1 + n_guesses : 0 };
    const float *logits;
    int r = vs_backend_step(m->backend, &job, &logits, err);
    *done += n;
    bool right_so_far = r == VS_OK && reads;
    for (uint32_t i = 0; i <= n_guesses && right_so_far; i++, logits += m->of->graph.n_vocab) {
        r = vs_answer_add(a, logits, err);
        right_so_far = r == VS_OK && i < n_guesses && a->tokens[a->n - 1] == guesses[i];
        *done += right_so_far;
    }
    return r;
}

/* right: the tokens of an earlier answer, to guess from; NULL: nothing is guessed. */
static int answer(const struct vs_subject *s, const struct vs_way *way, const uint32_t *right, struct vs_answer *a, struct vs_error *err)
{
    struct machine m = { .of = s, .way = way };
    uint32_t n_all = s->of->n_prompt + s->of->n_generate, done = 0;
    int r = open_machine(&m, err);
    if (r == VS_OK)
        r = vs_answer_init(a, s, err);
    while (r == VS_OK && a->n < n_all)
        r = step(&m, a, right, &done, err);
    close_machine(&m);
    return r;
}

int vs_subject_run(const struct vs_subject *s, const struct vs_way *way, char ret_hash[65], struct vs_error *err)
{
    struct vs_answer plain = { 0 }, drafted = { 0 };
    int r = answer(s, way, NULL, &plain, err);
    if (r == VS_OK && way->n_drafts)
        r = answer(s, way, plain.tokens, &drafted, err);
    if (r == VS_OK)
        vs_answer_hash(way->n_drafts ? &drafted : &plain, ret_hash);
    vs_answer_clear(&plain);
    vs_answer_clear(&drafted);
    return r;
}

size_t vs_selftest_ways(enum vs_isa isa, bool brief, struct vs_way ret[VS_MAX_WAYS])
{
    static const struct vs_way shapes[] = { { .n_threads = 1, .chunk = 0 }, { .n_threads = 3, .chunk = 7 },
                                            { .n_threads = 2, .chunk = 7, .n_drafts = 3 },
                                            { .n_threads = 2, .chunk = 33 }, { .n_threads = 2, .chunk = 15 } };
    size_t n = 0;
    for (int i = 0; i <= (int)isa; i++)
        for (size_t k = 0; k < (brief ? 1 : i ? 5 : 3); k++) {
            ret[n] = shapes[k];
            ret[n++].isa = (enum vs_isa)i;
        }
    return n;
}
