/* bench/matmul.c - the matrix kernels alone, on one thread, as fractions of the int8 peak measured in the same rounds.
 *
 *   bench-matmul [--isa avx2|avxvnni|avx512] [--type Q4_1] [--n 1,4,8,512] [--shape ROWSxCOLS] [--rounds 7]
 *                [--prefetch EVEN,FEW,MANY]      bytes ahead (struct vs_prefetch) in place of what suits this processor
 *
 * Time is the thread's own processor time, so that another job on the machine disturbs little. Quantising the
 * activations is not counted. Weights are random codes with harmless scales.
 */
#include "cpu/ops.h"
#include "limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_ROUNDS = 99 };

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

static void *take(size_t n)
{
    void *p = aligned_alloc(1 << 21, (n + (1 << 21) - 1) >> 21 << 21);
    if (!p) {
        fprintf(stderr, "bench-matmul: out of memory\n");
        exit(1);
    }
    madvise(p, n, MADV_HUGEPAGE);        /* as the engine's memory */
    return p;
}

static void measure(const struct vs_cpu_ops *ops, const struct limits *limits, const struct vs_dtype_info *type, uint32_t rows,
                    uint32_t cols, size_t n, int rounds)
{
    struct vs_matrix w = vs_matrix_of((enum vs_dtype)type->id, rows, cols, true);
    size_t bytes = vs_matrix_bytes(&w), n_panels = vs_matrix_n_panels(&w), panel = vs_matrix_panel_bytes(&w);
    uint8_t *data = take(bytes + 64);
    uint32_t seed = 1;
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24) & 0x2f;
    for (size_t at = 0; w.cls == VS_CLASS_M4 && at < bytes; at += vs_class_infos[w.cls].super_bytes)
        memset(data + at, 120, VS_PANEL_ROWS);           /* exponents as models have them */
    w.data = data;
    float *x = take(n * cols * 4), *y = take(n * rows * 4);
    struct vs_act *act = take(n * (cols + 31) / 32 * sizeof *act + 64 * 64);
    for (size_t i = 0; i < n * cols; i++)
        x[i] = (float)((seed = seed * 1664525 + 1013904223) >> 8) / 16777216.0f - 0.5f;
    for (size_t i = 0; i < n; i++)
        ops->quantize(x + i * cols, cols, act + vs_act_index((cols + 31) / 32, i), vs_act_width(n, i));
    struct vs_matmul job = { .w = &w, .n = n, .x = act, .xf = x, .ldx = cols, .y = y, .ldy = rows, .prefetch = ops->prefetch };
    size_t group = n > VS_ACT_ROWS ? (320u << 10) / panel : n_panels;      /* as GROUP_BYTES of cpu/run.c */
    group = group ? group : 1;
    double work = 2.0 * rows * cols * (double)n, rate[MAX_ROUNDS], part[MAX_ROUNDS];
    int again = 1 + (int)(2e9 / work);
    for (int r = -1; r < rounds; r++) {
        double start = cpu_seconds();
        double peak = limits->int8(2000000) / (cpu_seconds() - start);
        start = cpu_seconds();
        for (int k = 0; k < again; k++)
            for (size_t p = 0; p < n_panels; p += group)
                ops->matmul(&job, p, p + group < n_panels ? p + group : n_panels);
        double seconds = (cpu_seconds() - start) / again;
        if (r >= 0) {
            rate[r] = work / seconds * 1e-9;
            part[r] = 100 * work / seconds / peak;
        }
    }
    double g = median(rate, rounds);
    printf("%-8s %6u x %-6u n %4zu  %7.1f GOPS  %5.1f %% of peak  %6.2f GB/s of weights\n", type->name, rows, cols, n, g,
           median(part, rounds), g / (2.0 * (double)n) * (double)bytes / ((double)rows * cols));
    free(data);
    free(x);
    free(y);
    free(act);
}

int main(int argc, char **argv)
{
    const char *isa = "auto", *only = NULL, *ns = "1,4,8,512", *prefetch = NULL;
    unsigned rows = 1536, cols = 1536;
    int rounds = 7;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--isa") == 0)
            isa = value;
        else if (strcmp(argv[i], "--type") == 0)
            only = value;
        else if (strcmp(argv[i], "--n") == 0)
            ns = value;
        else if (strcmp(argv[i], "--prefetch") == 0)
            prefetch = value;
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = atoi(value);
        else if (strcmp(argv[i], "--shape") != 0 || sscanf(value, "%ux%u", &rows, &cols) != 2) {
            fprintf(stderr, "usage: bench-matmul [--isa avx2|avxvnni|avx512] [--type Q4_1] [--n 1,4,8,512] [--shape ROWSxCOLS] "
                            "[--rounds 7] [--prefetch EVEN,FEW,MANY]\n");
            return 2;
        }
    }
    int level = vs_isa_parse(isa);
    if (level <= VS_ISA_C || level > (int)vs_isa_best() || rounds < 1 || rounds > MAX_ROUNDS || !rows || !cols || cols % 256) {
        fprintf(stderr,
                "bench-matmul: needs avx2 or avx512 (and a CPU that has it), 1 to 99 rounds, columns in multiples of 256\n");
        return 2;
    }
    struct vs_cpu_ops ops;
    vs_cpu_ops_init(&ops, (enum vs_isa)level);
    uint32_t ahead[3];
    char rest;
    if (prefetch && (sscanf(prefetch, "%9u,%9u,%9u%c", &ahead[0], &ahead[1], &ahead[2], &rest) != 3
                     || ahead[0] > UINT16_MAX || ahead[1] > UINT16_MAX || ahead[2] > UINT16_MAX)) {
        fprintf(stderr, "bench-matmul: --prefetch takes three numbers of bytes, 0 to 65535\n");
        return 2;
    }
    if (prefetch)
        ops.prefetch = (struct vs_prefetch){ .few_even = (uint16_t)ahead[0], .few = (uint16_t)ahead[1],
                                             .many = (uint16_t)ahead[2] };
    /* avxvnni reaches the same peak as AVX-512 where that splits its vectors in two; elsewhere AVX2's is all we can measure */
    const struct limits *limits = level > VS_ISA_AVX2 && vs_isa_best() == VS_ISA_AVX512 ? &vs_limits_avx512 : &vs_limits_avx2;
    const struct vs_dtype_info *type;
    for (size_t i = 0; (type = vs_dtype_at(i)) != NULL; i++) {
        if (!type->computable || (only && strcmp(only, type->name) != 0))
            continue;
        for (const char *at = ns; *at;) {
            char *end;
            unsigned long n = strtoul(at, &end, 10);
            if (n < 1 || n > 4096 || end == at)
                return 2;
            measure(&ops, limits, type, rows, cols, n, rounds);
            at = *end ? end + 1 : end;
        }
    }
    return 0;
}
