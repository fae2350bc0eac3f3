/* bench/constraint.c - how long constraints take: the vocabulary's trie, compiling, and the mask of every token of given answers.
 *
 *     bench-constraint MODEL.gguf CASES.jsonl         a case is {"constraint": ..., "text": an answer}
 *
 * Each case has a matcher of its own that knows nothing yet, so that the first mask of every state counts. Times are those of the
 * processor, so that others who use it do not count.
 */
#include "grammar/grammar.h"
#include "import/gguf.h"
#include "tokenizer/tokenizer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_MASKS = 1 << 20 };

static _Noreturn void stop(const char *what)
{
    fprintf(stderr, "bench-constraint: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static const char *map(const char *path, size_t *ret_n)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s) != 0 || !s.st_size)
        stop(path);
    void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (p == MAP_FAILED)
        stop(path);
    close(fd);
    *ret_n = (size_t)s.st_size;
    return p;
}

static const char *text_of(void *context, uint32_t id, size_t *ret_n)
{
    return vs_tokenizer_text(context, id, ret_n);
}

static bool is_end(void *context, uint32_t id)
{
    return vs_tokenizer_is_end(context, id);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *what, uint64_t *ns, size_t n)
{
    if (!n)
        stop("nothing was measured");
    qsort(ns, n, sizeof *ns, by_size);
    printf("%s: %zu, p50 %.1f us, p90 %.1f, p99 %.1f, max %.1f\n", what, n, (double)ns[n / 2] / 1e3, (double)ns[n * 9 / 10] / 1e3,
           (double)ns[n * 99 / 100] / 1e3, (double)ns[n - 1] / 1e3);
}

/* Masks along the text's tokens. Returns how many were measured. */
static size_t follow(const struct vs_grammar *g, const struct vs_ids *ids, uint64_t *ns)
{
    struct vs_matcher *m;
    size_t n = 0;
    if (vs_matcher_create(g, &m) != VS_OK)
        stop("out of memory");
    for (size_t i = 0; i < ids->n; i++) {
        uint64_t t0 = now_ns();
        const uint64_t *mask = vs_matcher_mask(m, 1 << 20);
        ns[n++] = now_ns() - t0;
        uint32_t id = ids->id[i];
        if (!mask || !(mask[id / 64] >> id % 64 & 1) || !vs_matcher_take(m, id)) {
            fprintf(stderr, "token %zu of the text is not allowed\n", i);
            break;
        }
    }
    vs_matcher_free(m);
    return n;
}

int main(int argc, char **argv)
{
    size_t n_model, n = 0, n_compiled = 0;
    static uint64_t masks[MAX_MASKS], compiled[4096];
    struct vs_error err = { 0 };
    struct vs_gguf *g;
    struct vs_tokenizer *t;
    struct vs_vocabulary *v;
    char *line = NULL;
    size_t cap = 0;
    FILE *cases = argc == 3 ? fopen(argv[2], "r") : NULL;
    if (!cases)
        stop("usage: bench-constraint MODEL.gguf CASES.jsonl");
    const char *model = map(argv[1], &n_model);
    if (vs_gguf_open(model, n_model, n_model, &g, &err) != VS_OK || vs_tokenizer_create(vs_gguf_entries(g), &t, &err) != VS_OK)
        stop(err.text);
    const struct vs_vocabulary_source source = { vs_tokenizer_n_vocab(t), t, text_of, is_end };
    uint64_t t0 = now_ns();
    if (vs_vocabulary_create(&source, NULL, &v) != VS_OK)
        stop("out of memory");
    printf("vocabulary of %u: %.1f ms\n", source.n, (double)(now_ns() - t0) / 1e6);
    while (getline(&line, &cap, cases) > 0 && n < MAX_MASKS / 2 && n_compiled < 4096) {
        json_t *o = json_loads(line, 0, NULL);
        const char *text = json_string_value(json_object_get(o, "text"));
        struct vs_grammar *grammar;
        struct vs_ids ids = { 0 };
        if (!text)
            stop("a case is {\"constraint\", \"text\"}");
        struct vs_text_run run = { json_string_length(json_object_get(o, "text")), false };
        t0 = now_ns();
        if (vs_grammar_compile(json_object_get(o, "constraint"), VS_GRAMMAR_WRITES, v, NULL, &grammar, &err) != VS_OK)
            stop(err.text);
        compiled[n_compiled++] = now_ns() - t0;
        if (vs_tokenizer_encode(t, text, run.n, &run, 1, 0, NULL, &ids, &err) != VS_OK)
            stop(err.text);
        n += follow(grammar, &ids, masks + n);
        vs_ids_clear(&ids);
        vs_grammar_free(grammar);
        json_decref(o);
    }
    print("compiled", compiled, n_compiled);
    print("masks", masks, n);
    free(line);
    fclose(cases);
    vs_vocabulary_free(v);
    vs_tokenizer_free(t);
    vs_gguf_close(g);
    return 0;
}
