/* rooms: selftest engine */
/* One hash, whatever the way: the matrix of docs/NUMERICS.md, "How it is proven", in one process on tiny models.
 *
 *   contract            a sample of every factor                       (label unit)
 *   contract all        every level, and the full factorial            (label long)
 *   contract brief      one of 29 of the sample: with sanitizers
 *   contract threads    one of 5 of what has threads, nothing else: with TSan
 *
 * The target is a model of the self-test; its golden hash must come out when the step also holds rows of other sequences, when
 * pages lie anywhere and are full of NaN, when a prefix was kept and what followed it was thrown away, with any threads, chunks and
 * instruction set. Prints "N configurations, 1 hash" for each factor.
 */
#include "engine/model.h"
#include "import/header.h"
#include "selftest/selftest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool all;
static unsigned every = 1;
static uint64_t random_state = 1;

static uint32_t below(uint32_t n)
{
    return (uint32_t)(vs_tiny_random(&random_state) % n);
}

__attribute__((noreturn)) static void fail(const char *what, const char *why)
{
    printf("contract: FAILED: %s: %s\n", what, why);
    exit(1);
}

static void *need(void *p)
{
    if (!p)
        fail("memory", "out of it");
    return p;
}

/* ---- one run of the target ---- */

enum { NOTHING_KEPT = -1, NO_POISON = -1 };

struct run {
    struct vs_way way;
    uint32_t n_rows;                    /* rows in each step that generates, the target's among them; 1 = alone */
    uint32_t slot;                      /* how many rows of others stand before the target's */
    bool random_chunks;                 /* up to way.chunk rows of the prompt a step */
    bool shuffle;                       /* physical pages in random order */
    int64_t poison;                     /* a token whose K and V are NaN: nobody uses it */
    bool fill;                          /* but it fills every page before */
    int64_t keep;                       /* this much of the prompt was followed by something else before */
};

struct sequence {
    uint32_t table, done;               /* where its pages are in the machine's; positions that are in the cache */
    uint64_t which;
};

struct machine {
    const struct vs_subject *of;
    const struct run *run;
    struct vs_backend *backend;
    uint32_t n_all, pages_each, n_pages, *pages;
    struct sequence *other;             /* [n_rows - 1] */
    struct vs_row *rows;
    uint32_t *out, n, n_out;
    struct vs_stretch *stretches;       /* [n_rows] of the step */
    uint32_t n_stretches, n_states;
    uint32_t *state;                    /* [n_rows + 1] the slot that each sequence's state lies in: one of its two, or another */
};

static void check(int status, const struct vs_error *err, const char *what)
{
    if (status != VS_OK)
        fail(what, err->text);
}

static void push(struct machine *m, uint32_t token, uint32_t position, uint32_t table, bool read)
{
    if (read)
        m->out[m->n_out++] = m->n;
    m->rows[m->n++] = (struct vs_row){ .token = token, .position = position, .table = table };
}

/* The rows pushed last, n of a sequence from `position` on; after the first n_mark of them its state goes to the last slot, too. */
static void push_stretch(struct machine *m, uint32_t table, uint32_t position, uint32_t n, uint32_t n_mark)
{
    uint32_t which = table / m->pages_each, *state = &m->state[which];
    uint32_t end = *state == 2 * which ? 2 * which + 1 : 2 * which;
    m->stretches[m->n_stretches++] = (struct vs_stretch){ .first = m->n - n, .n = n, .from = position ? *state : VS_NO_STATE,
                                                          .end = end, .n_mark = n_mark, .mark = m->n_states - 1 };
    *state = end;
}

/* n rows of sequences from *next on, one to three of each; some of them are read. */
static void push_others(struct machine *m, uint32_t n, uint32_t *next)
{
    while (n) {
        struct sequence *s = &m->other[(*next)++];
        uint32_t rows = 1 + below(n < 3 ? n : 3);
        if (s->done + rows > m->n_all) {                 /* it has ended; another one begins in its place */
            s->done = 0;
            s->which++;
        }
        for (uint32_t i = 0; i < rows; i++, s->done++) {
            uint32_t token = vs_subject_prompt(m->of, s->which, s->done);
            if (token == m->run->poison)                 /* read by mistake it would be a fault of the whole step */
                token = (token + 1) % m->of->graph.n_vocab;
            push(m, token, s->done, s->table, i + 1 == rows && below(2));
        }
        push_stretch(m, s->table, s->done - rows, rows, 0);
        n -= rows;
    }
}

enum { MOST_TASKS = 40 };

static void count(void *counts, uint32_t i, unsigned thread)
{
    (void)thread;
    ((uint8_t *)counts)[i]++;
}

/* Work between steps: each task once, and nobody is left in it, whoever came. */
static void share_out(struct machine *m)
{
    static uint32_t turn;
    uint8_t counts[MOST_TASKS] = { 0 };
    uint32_t n = turn++ % (MOST_TASKS + 1);
    m->backend->kind->each(m->backend, n, count, counts);
    for (uint32_t i = 0; i < MOST_TASKS; i++)
        if (counts[i] != (i < n))
            fail("between steps", "a task was left out, or done twice");
}

static const float *step(struct machine *m, const char *what)
{
    const struct vs_step job = { .rows = m->rows, .n_rows = m->n, .pages = m->pages, .out = m->out, .n_out = m->n_out,
                                 .stretches = m->stretches, .n_stretches = m->n_stretches };
    const float *logits = NULL;
    struct vs_error err = { 0 };
    m->n_stretches = 0;
    check(vs_backend_step(m->backend, &job, &logits, &err), &err, what);
    share_out(m);
    return logits;
}

/* Every slot of every page gets K and V of the poison token: NaN; and so do states. Nothing is read, so nothing is a fault. */
static void fill_with_poison(struct machine *m, uint32_t max_rows)
{
    for (uint32_t first = 0; first < m->n_pages; first += m->pages_each) {
        uint32_t n_slots = m->pages_each * VS_PAGE_TOKENS;
        for (uint32_t at = 0; at < n_slots; at += m->n) {
            m->n = m->n_out = 0;
            for (uint32_t i = at; i < n_slots && m->n < max_rows; i++)
                push(m, (uint32_t)m->run->poison, i, first, false);
            push_stretch(m, first, at, m->n, m->n / 2);
            step(m, "poison");
        }
    }
}

static void target_rows(struct machine *m, const uint32_t *tokens, uint32_t done, uint32_t n, bool read)
{
    for (uint32_t i = 0; i < n; i++)
        push(m, tokens[done + i], done + i, 0, read && i + 1 == n);
    int64_t mark = m->run->keep - (int64_t)done;
    push_stretch(m, 0, done, n, mark > 0 && mark <= n ? (uint32_t)mark : 0);
}

static void compute(const struct vs_subject *of, const struct run *run, char ret_hash[65], uint32_t *ret_tokens)
{
    struct vs_error err = { 0 };
    struct vs_answer a;
    check(vs_answer_init(&a, of, &err), &err, "answer");
    uint32_t n_prompt = of->of->n_prompt, n_others = run->n_rows - 1;
    uint32_t chunk = run->way.chunk && run->way.chunk < n_prompt ? run->way.chunk : n_prompt;
    uint32_t max_rows = chunk + n_others;
    struct machine m = { .of = of, .run = run, .n_all = n_prompt + of->of->n_generate };
    m.pages_each = vs_pages_for(m.n_all);
    m.n_pages = m.pages_each * (run->n_rows + 1);
    m.pages = need(malloc(m.n_pages * sizeof *m.pages));
    m.other = need(calloc(run->n_rows, sizeof *m.other));
    m.rows = need(malloc(max_rows * sizeof *m.rows));
    m.out = need(malloc(max_rows * sizeof *m.out));
    m.stretches = need(malloc(max_rows * sizeof *m.stretches));
    m.state = need(malloc((run->n_rows + 1) * sizeof *m.state));
    m.n_states = 2 * (run->n_rows + 1) + 1;
    for (uint32_t i = 0; i <= run->n_rows; i++)
        m.state[i] = 2 * i;
    for (uint32_t i = 0; i < m.n_pages; i++)
        m.pages[i] = i;
    for (uint32_t i = m.n_pages - 1; i && run->shuffle; i--) {
        uint32_t j = below(i + 1), page = m.pages[i];
        m.pages[i] = m.pages[j];
        m.pages[j] = page;
    }
    for (uint32_t i = 0; i < n_others; i++)
        m.other[i] = (struct sequence){ (i + 1) * m.pages_each, 0, 1000u * (i + 1) };
    const struct vs_backend_config config = {
        .level = (int)run->way.isa, .n_threads = run->way.n_threads, .max_rows = max_rows, .max_out = run->n_rows,
        .max_positions = m.pages_each * VS_PAGE_TOKENS, .n_pages = m.n_pages, .n_states = m.n_states,
        .kv_type = of->of->kv, .high = of->of->high,
    };
    const struct vs_source file = vs_source_memory(of->file.data, of->file.n);
    check(vs_backend_cpu.create(&of->graph, &config, &file, NULL, NULL, &m.backend, &err), &err, "create");
    if (run->fill)
        fill_with_poison(&m, max_rows);
    uint32_t done = 0;
    if (run->keep >= 0) {                                /* another text with the same beginning */
        uint32_t *wrong = need(malloc(n_prompt * sizeof *wrong));
        for (uint32_t i = 0; i < n_prompt; i++)
            wrong[i] = i < run->keep ? a.tokens[i] : vs_subject_prompt(of, 77, i);
        for (uint32_t at = 0; at < n_prompt; at += m.n) {
            m.n = m.n_out = 0;
            target_rows(&m, wrong, at, n_prompt - at < chunk ? n_prompt - at : chunk, false);
            step(&m, "prefix");
        }
        free(wrong);
        done = (uint32_t)run->keep;
        m.state[0] = m.n_states - 1;
    }
    while (a.n < m.n_all) {
        uint32_t n = a.n - done < chunk ? a.n - done : chunk, next = 0;
        if (run->random_chunks)
            n = 1 + below(n);
        bool read = done + n == a.n;
        m.n = m.n_out = 0;
        push_others(&m, run->slot, &next);
        uint32_t mine = m.n_out;
        target_rows(&m, a.tokens, done, n, read);
        push_others(&m, n_others - run->slot, &next);
        const float *logits = step(&m, "step");
        done += n;
        if (read)
            check(vs_answer_add(&a, logits + (size_t)mine * of->graph.n_vocab, &err), &err, "answer");
    }
    vs_answer_hash(&a, ret_hash);
    if (ret_tokens)
        memcpy(ret_tokens, a.tokens, a.n * sizeof *a.tokens);
    vs_answer_clear(&a);
    vs_backend_free(m.backend);
    free(m.pages);
    free(m.other);
    free(m.rows);
    free(m.out);
    free(m.stretches);
    free(m.state);
}

/* Computes, or leaves it out in the brief form; 1 when it was computed, and came out right. */
static size_t expect(const struct vs_subject *of, const struct run *run, const char *want)
{
    static unsigned turn;
    char hash[65], what[300];
    if (turn++ % every)
        return 0;
    compute(of, run, hash, NULL);
    if (strcmp(hash, want) == 0)
        return 1;
    snprintf(what, sizeof what, "%s: isa %s, %u threads, chunk %u%s, row %u of %u, pages %s%s, prefix %lld", of->of->name,
             vs_isa_name(run->way.isa), run->way.n_threads, run->way.chunk, run->random_chunks ? " at most" : "", run->slot + 1,
             run->n_rows, run->shuffle ? "shuffled" : "in order", run->fill ? " and full of NaN" : "", (long long)run->keep);
    snprintf(hash + 16, sizeof hash - 16, ", want %.16s", want);
    fail(what, hash);
}

static struct run alone(enum vs_isa isa, unsigned n_threads, uint32_t chunk)
{
    return (struct run){ .way = { .isa = isa, .n_threads = n_threads, .chunk = chunk }, .n_rows = 1, .poison = NO_POISON,
                         .keep = NOTHING_KEPT };
}

static void report(const char *factor, const char *of, size_t n, const char *hash)
{
    printf("%s: %s: %zu configurations, 1 hash %.16s\n", factor, of, n, hash);
    fflush(stdout);
}

static struct vs_subject subject(const struct vs_case *of)
{
    struct vs_subject s;
    struct vs_error err = { 0 };
    check(vs_subject_create(of, &s, &err), &err, of->name);
    return s;
}

static const struct vs_case *named(const char *name)
{
    for (size_t i = 0; i < vs_n_cases; i++)
        if (strcmp(vs_cases[i].name, name) == 0)
            return &vs_cases[i];
    fail("no such case", name);
}

/* ---- T1: threads, more than there are processors, and others that take the processors away ---- */

static atomic_bool noise_ends;

static void *make_noise(void *arg)
{
    uint64_t state = (uint64_t)(uintptr_t)arg;
    free(arg);
    while (!atomic_load(&noise_ends)) {
        uint64_t r = vs_tiny_random(&state);
        for (volatile uint32_t i = 0; i < r % 200000; i++)
            ;
        usleep((useconds_t)(r >> 32) % 500);
    }
    return NULL;
}

static void test_threads(void)
{
    static const unsigned threads[] = { 1, 2, 3, 4, 5, 7, 8, 16 };
    const struct vs_case *cases[] = { named("rows no multiple of 16, heads in threes"),
                                      named("three splits, grouped heads, kv f16") };
    enum { NOISE = 2 };
    for (int c = 0; c < (all ? 2 : 1); c++) {
        struct vs_subject s = subject(cases[c]);
        size_t n = 0;
        for (int noisy = 0; noisy < 2; noisy++) {
            pthread_t thread[NOISE];
            atomic_store(&noise_ends, false);
            for (int i = 0; i < NOISE && noisy; i++)
                if (pthread_create(&thread[i], NULL, make_noise, need(calloc(1, 1))) != 0)
                    fail("noise", "no thread");
            for (int isa = 0; isa <= (int)vs_isa_best(); isa++)
                for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
                    struct run run = alone((enum vs_isa)isa, threads[t], noisy ? 17 : 33);
                    n += expect(&s, &run, s.of->golden);
                }
            atomic_store(&noise_ends, true);
            for (int i = 0; i < NOISE && noisy; i++)
                pthread_join(thread[i], NULL);
        }
        report("threads", s.of->name, n, s.of->golden);
        vs_subject_clear(&s);
    }
}

/* ---- T2: rows of other sequences in the same step ---- */

static void test_batch(void)
{
    static const uint32_t sizes[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32 };
    for (size_t c = 0, first = 0; c < vs_n_cases; c++) {
        const struct vs_case *of = &vs_cases[c];
        if (of->n_prompt > 70)
            continue;
        struct vs_subject s = subject(of);
        size_t n = 0;
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            for (uint32_t slot = 0; slot < sizes[k]; slot++)
                for (int isa = 0; isa <= (int)vs_isa_best(); isa++, first++) {
                    if (!all && first % 37)              /* each case meets others of the sizes and slots */
                        continue;
                    if (all && isa == VS_ISA_C && (slot + k) % 4)
                        continue;
                    struct run run = alone((enum vs_isa)isa, 1 + below(2), 1 + below(20));
                    run.n_rows = sizes[k];
                    run.slot = slot;
                    run.shuffle = below(2);
                    n += expect(&s, &run, of->golden);
                }
        report("rows of others", of->name, n, of->golden);
        vs_subject_clear(&s);
    }
}

/* ---- T3: how the prompt is cut ---- */

static void test_chunks(void)
{
    static const uint32_t chunks[] = { 1, 2, 7, 31, 32, 33, 127, 255, 256, 257, 512, 0 };
    const struct vs_case *cases[] = { named("three splits, grouped heads, kv f16"), named("three splits, kv q8_0"),
                                      named("a window over pages and splits") };
    for (size_t c = 0; c < 3; c++) {
        struct vs_subject s = subject(cases[c]);
        size_t n = 0;
        for (int isa = 0; isa <= (int)vs_isa_best(); isa++)
            for (size_t k = 0; k < sizeof chunks / sizeof *chunks; k++) {
                if (!all && (k + c + (size_t)isa) % 3)
                    continue;
                struct run run = alone((enum vs_isa)isa, chunks[k] == 1 ? 1 : 2, chunks[k]);
                n += expect(&s, &run, s.of->golden);
                run.random_chunks = true;
                if (all || k % 2)
                    n += expect(&s, &run, s.of->golden);
            }
        report("chunks", s.of->name, n, s.of->golden);
        vs_subject_clear(&s);
    }
}

/* ---- T4: where the pages lie, what is in them, and what was thrown away ---- */

#define POISONED(text, model, kv_type, long_prompt)                                                                              \
    { .name = text, .kv = kv_type, .n_prompt = long_prompt, .n_generate = 6,                                                     \
      .tiny = { .arch = model, .type = "Q4_0", .embd_type = "F32", .output_type = "Q8_0", .layers = 2, .embd = 64, .heads = 4,   \
                .kv_heads = 2, .head_dim = 16, .ff = 64, .vocab = 300, .ctx = 1024, .seed = 5, .window = 40, .version = 3,       \
                .freq_base = 10000 } }

static const struct vs_case poisoned[] = {
    POISONED("a page and a bit, kv f16", "llama", VS_KV_F16, 70),
    POISONED("a page and a bit, kv f32", "llama", VS_KV_F32, 70),
    POISONED("a page and a bit, kv q8_0", "llama", VS_KV_Q8_0, 70),
    POISONED("two splits, kv f16", "qwen2", VS_KV_F16, 300),
    POISONED("two splits, kv q8_0", "qwen2", VS_KV_Q8_0, 300),
    POISONED("two splits, kv f32", "qwen2", VS_KV_F32, 300),
};

/* Makes a token that the target never uses one whose embedding is a signalling NaN. */
static int64_t poison_token(struct vs_subject *s, const uint32_t *tokens, uint32_t n)
{
    uint32_t token = 0;
    for (uint32_t i = 0; i < n; i++)
        if (tokens[i] == token) {
            token++;
            i = UINT32_MAX;
        }
    for (size_t i = 0; i < s->graph.n_tensors; i++) {
        const struct vs_tensor *t = &s->graph.tensors[i];
        if (strcmp(t->name, "token_embd.weight") != 0)
            continue;
        static const uint8_t signalling[4] = { 0, 0, 0xa0, 0x7f };
        if (t->dtype != VS_F32)
            fail("poison", "the embedding is not f32");
        for (uint32_t k = 0; k < t->n_cols; k++)
            memcpy(s->file.data + t->offset + ((size_t)token * t->n_cols + k) * 4, signalling, 4);
        return token;
    }
    fail("poison", "no embedding");
}

/* The poison works: a sequence that contains the token is a fault, in every instruction set. */
static void check_poison(const struct vs_subject *s, int64_t token)
{
    for (int isa = 0; isa <= (int)vs_isa_best(); isa++) {
        const struct vs_backend_config config = { .level = isa, .n_threads = 1, .max_rows = 2, .max_out = 1,
                                                  .max_positions = 64, .n_pages = 1, .kv_type = s->of->kv };
        struct vs_backend *backend;
        struct vs_error err = { 0 };
        const struct vs_source file = vs_source_memory(s->file.data, s->file.n);
        check(vs_backend_cpu.create(&s->graph, &config, &file, NULL, NULL, &backend, &err), &err, "create");
        const uint32_t page = 0, last = 1;
        const struct vs_row rows[] = { { .token = (uint32_t)token }, { .token = (uint32_t)(token + 1), .position = 1 } };
        const struct vs_step job = { .rows = rows, .n_rows = 2, .pages = &page, .out = &last, .n_out = 1 };
        const float *logits;
        if (vs_backend_step(backend, &job, &logits, &err) != VS_E_FAULT)
            fail(s->of->name, "a NaN in the cache of a sequence is not noticed");
        vs_backend_free(backend);
    }
}

static void test_pages(void)
{
    for (size_t c = 0; c < sizeof poisoned / sizeof *poisoned; c++) {
        struct vs_subject s = subject(&poisoned[c]);
        uint32_t tokens[400], n_prompt = s.of->n_prompt;
        char want[65];
        const struct run oracle = alone(VS_ISA_C, 1, 0);
        compute(&s, &oracle, want, tokens);
        int64_t poison = poison_token(&s, tokens, n_prompt + s.of->n_generate);
        check_poison(&s, poison);
        const int64_t keeps[] = { NOTHING_KEPT, 0, 1, 63, 64, 65, n_prompt / 2, n_prompt - 1 };
        size_t n = 0;
        for (int isa = 0; isa <= (int)vs_isa_best(); isa++)
            for (size_t k = 0; k < sizeof keeps / sizeof *keeps; k++)
                for (int p = 0; p < 2; p++) {
                    if (!all && ((size_t)isa + k + c) % 2)
                        continue;
                    struct run run = alone((enum vs_isa)isa, 2, 32 + below(n_prompt));
                    run.shuffle = true;
                    run.poison = poison;
                    run.fill = p;
                    run.keep = keeps[k];
                    run.n_rows = p ? 4 : 1;
                    run.slot = p ? below(4) : 0;
                    n += expect(&s, &run, want);
                }
        report("pages and prefixes", s.of->name, n, want);
        vs_subject_clear(&s);
    }
}

/* ---- the same through engine/model.h: its chunks, its page tables, its truncation ---- */

struct reading { struct vs_answer *answer; int status; };

static int read_row(void *context, size_t first, size_t n, const float *logits)
{
    struct reading *r = context;
    struct vs_error err = { 0 };
    (void)first;
    if (n != 1)
        fail("engine", "one row was asked for");
    return vs_answer_add(r->answer, logits, &err);
}

static void test_engine(void)
{
    const struct vs_case *cases[] = { named("three splits, kv q8_0"), named("columns no multiple of 32") };
    for (size_t c = 0; c < 2; c++) {
        struct vs_subject s = subject(cases[c]);
        int fd = memfd_create("model", MFD_CLOEXEC);
        if (fd < 0 || write(fd, s.file.data, s.file.n) != (ssize_t)s.file.n)
            fail("engine", "no file");
        size_t n = 0;
        for (int isa = 0; isa <= (int)vs_isa_best(); isa++)
            for (uint32_t keep = 0; keep < s.of->n_prompt; keep += all ? 13 : every > 1 ? 400 : 171, n++) {
                struct vs_error err = { 0 };
                struct vs_header *header;
                struct vs_model *model;
                struct vs_sequence *sequence;
                struct vs_answer a;
                const struct vs_model_config config = { .backend = &vs_backend_cpu, .level = isa, .n_threads = 2,
                                                        .kv_type = s.of->kv, .high = s.of->high, .chunk = 50 + keep };
                struct vs_model_file *file;
                check(vs_model_file_open(&(struct vs_files){ 1, { dup(fd) } }, &file, &err), &err, "file");
                check(vs_header_open(vs_model_file_glance(file), &header, &err), &err, "header");
                check(vs_model_open(header, file, &config, NULL, NULL, &model, &err), &err, "model");
                check(vs_sequence_create(model, &sequence), &err, "sequence");
                check(vs_answer_init(&a, &s, &err), &err, "answer");
                struct reading reading = { &a, VS_OK };
                uint32_t other[100];
                for (uint32_t i = 0; i < 100; i++)
                    other[i] = vs_subject_prompt(&s, 99, i);
                if (keep)
                    check(vs_sequence_append(sequence, a.tokens, keep, 0, NULL, NULL, NULL, &err), &err, "append");
                check(vs_sequence_append(sequence, other, 100, 0, NULL, NULL, NULL, &err), &err, "append");
                vs_sequence_truncate(sequence, keep);
                uint32_t done = keep;
                while (a.n < s.of->n_prompt + s.of->n_generate) {
                    uint32_t have = a.n;
                    check(vs_sequence_append(sequence, a.tokens + done, have - done, 1, read_row, NULL, &reading, &err),
                          &err, "append");
                    done = have;
                }
                char hash[65];
                vs_answer_hash(&a, hash);
                if (strcmp(hash, s.of->golden) != 0)
                    fail(s.of->name, "another hash through the engine");
                vs_answer_clear(&a);
                vs_sequence_free(sequence);
                vs_model_close(model);
                vs_header_close(header);
                vs_model_file_close(file);
            }
        close(fd);
        report("engine, prefix kept", s.of->name, n, s.of->golden);
        vs_subject_clear(&s);
    }
}

/* ---- all factors crossed ---- */

static void test_factorial(void)
{
    static const unsigned threads[] = { 1, 2, 3, 4, 5, 8 };
    static const uint32_t rows[] = { 1, 2, 5, 8, 17, 32 }, chunks[] = { 1, 7, 32, 33, 0 };
    for (size_t c = 0; c < 3; c++) {                     /* f16, f32 and q8_0 */
        struct vs_subject s = subject(&poisoned[c]);
        uint32_t tokens[400];
        char want[65];
        const struct run oracle = alone(VS_ISA_C, 1, 0);
        compute(&s, &oracle, want, tokens);
        int64_t poison = poison_token(&s, tokens, s.of->n_prompt + s.of->n_generate);
        size_t n = 0;
        for (int isa = 0; isa <= (int)vs_isa_best(); isa++)
            for (size_t t = 0; t < 6; t++)
                for (size_t r = 0; r < 6; r++)
                    for (size_t k = 0; k < 5; k++)
                        for (int dirty = 0; dirty < 2; dirty++) {
                            struct run run = alone((enum vs_isa)isa, threads[t], chunks[k]);
                            run.n_rows = rows[r];
                            run.slot = below(rows[r]);
                            run.shuffle = dirty;
                            run.poison = poison;
                            run.fill = dirty;
                            n += expect(&s, &run, want);
                        }
        report("isa x threads x rows x chunk x pages", s.of->name, n, want);
        vs_subject_clear(&s);
    }
}

int main(int argc, char **argv)
{
    all = argc > 1 && strcmp(argv[1], "all") == 0;
    if (argc > 1 && strcmp(argv[1], "brief") == 0)
        every = 29;
    if (argc > 1 && strcmp(argv[1], "threads") == 0) {
        every = 5;
        test_threads();
        return 0;
    }
    test_threads();
    test_batch();
    test_chunks();
    test_pages();
    test_engine();
    if (all)
        test_factorial();
    return 0;
}
