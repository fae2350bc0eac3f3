/* rooms: selftest cpu */
/* Pages of the KV cache copied and cleared, for each type and for head sizes that are no multiple of anything: what a sequence
 * computes afterwards must have the same bits as on its own page, and nobody else's may change.
 *
 *   pages               plain C and the best instruction set, some lengths     (label unit)
 *   pages all           every instruction set and length                       (label long)
 *   pages brief         the best, few lengths: with sanitizers
 */
#include "selftest/selftest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* pages of ten texts; a copy; one never written; for a 65th token */
enum { N_FULL = 10, SAVED = N_FULL, EMPTY, SPARE, N_PAGES };

static const char *what;

static void check(bool good, const char *why)
{
    if (good)
        return;
    printf("pages: FAILED: %s: %s\n", what, why);
    exit(1);
}

struct machine {
    struct vs_subject of;
    struct vs_backend *backend;
    float *logits[N_FULL];               /* what the 65th token gives behind each text */
    size_t n_bytes;
};

/* Tokens [from, to) of a text, to a page. */
static void compute(struct machine *m, uint32_t text, uint32_t page, uint32_t from, uint32_t to)
{
    struct vs_row rows[VS_PAGE_TOKENS];
    const struct vs_step step = { .rows = rows, .n_rows = to - from, .pages = &page };
    const float *logits;
    struct vs_error err;
    for (uint32_t i = from; i < to; i++)
        rows[i - from] = (struct vs_row){ .token = vs_subject_prompt(&m->of, text, i), .position = i };
    check(to == from || vs_backend_step(m->backend, &step, &logits, &err) == VS_OK, "a step failed");
}

/* The logits of one more token behind what a page holds. */
static const float *read_page(struct machine *m, uint32_t page)
{
    const uint32_t pages[] = { page, SPARE }, out = 0;
    const struct vs_row row = { .token = 1, .position = VS_PAGE_TOKENS };
    const struct vs_step step = { .rows = &row, .n_rows = 1, .pages = pages, .out = &out, .n_out = 1 };
    const float *logits;
    struct vs_error err;
    check(vs_backend_step(m->backend, &step, &logits, &err) == VS_OK, "a step failed");
    return logits;
}

static void check_page(struct machine *m, uint32_t page, uint32_t text, const char *why)
{
    check(memcmp(read_page(m, page), m->logits[text], m->n_bytes) == 0, why);
}

static void copy(struct machine *m, uint32_t from, uint32_t to, uint32_t n)
{
    m->backend->kind->copy_page(m->backend, from, to, n);
}

static void test_copy(struct machine *m, uint32_t from, uint32_t to, uint32_t n)
{
    copy(m, to, SAVED, VS_PAGE_TOKENS);
    check_page(m, SAVED, to, "a copied page");
    copy(m, from, to, n);
    compute(m, to, to, 0, n);
    check_page(m, to, to, "what lies behind the copied positions was changed");
    copy(m, from, to, n);
    compute(m, from, to, n, VS_PAGE_TOKENS);
    check_page(m, to, from, "a sequence that goes on in a copied page");
    copy(m, SAVED, to, VS_PAGE_TOKENS);
    for (uint32_t i = 0; i < N_FULL; i++)
        check_page(m, i, i, "another page was changed");
}

static void test_clear(struct machine *m, uint32_t a, uint32_t b)
{
    const uint32_t pages[] = { a, b };
    float *empty = malloc(m->n_bytes);
    check(empty, "memory");
    memcpy(empty, read_page(m, EMPTY), m->n_bytes);
    m->backend->kind->clear_pages(m->backend, pages, 2);
    for (int i = 0; i < 2; i++)
        check(memcmp(read_page(m, pages[i]), empty, m->n_bytes) == 0, "a cleared page is not as one that was never written");
    for (uint32_t i = 0; i < N_FULL; i++)
        if (i != a && i != b)
            check_page(m, i, i, "another page was changed");
    for (int i = 0; i < 2; i++)
        compute(m, pages[i], pages[i], 0, VS_PAGE_TOKENS);
    free(empty);
}

static size_t test(const struct vs_case *of, enum vs_kv_type type, int isa, uint32_t stride)
{
    struct machine m = { 0 };
    struct vs_error err;
    char text[200];
    snprintf(text, sizeof text, "%s: kv %s, %s", of->name, vs_kv_type_name(type), vs_isa_name((enum vs_isa)isa));
    what = text;
    check(vs_subject_create(of, &m.of, &err) == VS_OK, "no subject");
    const struct vs_backend_config config = { .level = isa, .n_threads = 1, .max_rows = VS_PAGE_TOKENS, .max_out = 1,
                                              .max_positions = 2 * VS_PAGE_TOKENS, .n_pages = N_PAGES, .kv_type = type };
    const struct vs_source file = vs_source_memory(m.of.file.data, m.of.file.n);
    check(vs_backend_cpu.create(&m.of.graph, &config, &file, NULL, NULL, &m.backend, &err) == VS_OK, "no backend");
    m.n_bytes = m.of.graph.n_vocab * sizeof(float);
    for (uint32_t i = 0; i < N_FULL; i++) {
        compute(&m, i, i, 0, VS_PAGE_TOKENS);
        m.logits[i] = malloc(m.n_bytes);
        check(m.logits[i], "memory");
        memcpy(m.logits[i], read_page(&m, i), m.n_bytes);
        for (uint32_t k = 0; k < i; k++)
            check(memcmp(m.logits[i], m.logits[k], m.n_bytes) != 0, "two texts give the same: this test shows nothing");
    }
    size_t n_done = 0;
    for (uint32_t n = 1; n <= VS_PAGE_TOKENS; n++)
        if (n % stride == 0 || n == 1 || n >= VS_PAGE_TOKENS - 1) {
            test_copy(&m, n % N_FULL, (n + 1 + n / N_FULL % (N_FULL - 1)) % N_FULL, n);
            n_done++;
        }
    test_clear(&m, 3, 8);
    for (uint32_t i = 0; i < N_FULL; i++)
        free(m.logits[i]);
    vs_backend_free(m.backend);
    vs_subject_clear(&m.of);
    return n_done;
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "llama Q4_0 kv f16", "rows no multiple of 16, heads in threes", "every type, odd sizes",
                                         "columns no multiple of 32", "one head of 22, rope scaled", "three splits, kv q8_0",
                                         "three splits, grouped heads, kv f16" };
    bool all = argc > 1 && strcmp(argv[1], "all") == 0, brief = argc > 1 && strcmp(argv[1], "brief") == 0;
    int best = (int)vs_isa_best();
    for (int type = 0; type < VS_N_KV_TYPES; type++) {
        size_t n = 0, n_cases = 0;
        for (size_t c = 0; c < vs_n_cases; c++)
            for (size_t k = 0; k < sizeof names / sizeof *names; k++)
                for (int isa = brief ? best : 0; isa <= best && strcmp(vs_cases[c].name, names[k]) == 0;
                     isa = all || isa == best ? isa + 1 : best) {
                    n += test(&vs_cases[c], (enum vs_kv_type)type, isa, all ? 1 : brief || isa < best ? 21 : 7);
                    n_cases++;
                }
        printf("kv %s: %zu backends, %zu copies\n", vs_kv_type_name((enum vs_kv_type)type), n_cases, n);
        if (n_cases < 7)
            return 1;
    }
    return 0;
}
