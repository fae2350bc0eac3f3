/* bench/tokenizer.c - speed of loading a vocabulary and of encoding a text file in one thread.
 *
 *     bench-tokenizer MODEL.gguf TEXT [repetitions]
 *
 * Prints the best of the repetitions, in processor time; the text is encoded as one plain run, the way a prompt is.
 */
#include "import/gguf.h"
#include "tokenizer/tokenizer.h"
#include "../tests/support/cpu_time.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_LOADS = 5 };

static const char *map(const char *path, size_t *ret_n)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s) != 0 || !s.st_size) {
        perror(path);
        exit(1);
    }
    void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (p == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(fd);
    *ret_n = (size_t)s.st_size;
    return p;
}

static void stop(const struct vs_error *err)
{
    fprintf(stderr, "bench-tokenizer: %s\n", err->text);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench-tokenizer MODEL.gguf TEXT [repetitions]\n");
        return 2;
    }
    int reps = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 5;
    size_t n_model, n_text;
    const char *model = map(argv[1], &n_model), *text = map(argv[2], &n_text);
    struct vs_error err = { 0 };
    struct vs_gguf *g;
    struct vs_tokenizer *t = NULL;
    if (vs_gguf_open(model, n_model, n_model, &g, &err) != VS_OK)
        stop(&err);
    uint64_t load = UINT64_MAX, encode = UINT64_MAX;
    struct vs_ids ids = { 0 };
    struct vs_text_run run = { n_text, false };
    for (int i = 0; i < reps && i < MOST_LOADS; i++) {
        vs_tokenizer_free(t);
        uint64_t t0 = cpu_ns();
        if (vs_tokenizer_create(vs_gguf_entries(g), &t, &err) != VS_OK)
            stop(&err);
        uint64_t ns = cpu_ns() - t0;
        load = ns < load ? ns : load;
    }
    for (int i = 0; i < reps; i++) {
        ids.n = 0;
        uint64_t t0 = cpu_ns();
        if (vs_tokenizer_encode(t, text, n_text, &run, 1, 0, NULL, &ids, &err) != VS_OK)
            stop(&err);
        uint64_t ns = cpu_ns() - t0;
        encode = ns < encode ? ns : encode;
    }
    printf("load %.1f ms, %zu bytes in %zu tokens, %.1f MB/s\n", (double)load * 1e-6, n_text, ids.n,
           (double)n_text * 1e3 / (double)encode);
    return 0;
}
