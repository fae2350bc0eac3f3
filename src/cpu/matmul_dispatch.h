/* cpu/matmul_dispatch.h - what the files of matrix kernels share: how weights are asked for ahead of their use, and at the end one
 * function for each class, compiled with its constants, and the table that picks it.
 *
 * The file defines before VS_MATMUL_DISPATCH, always inlined:
 *   panels(cls, m, begin, end, high)       block formats
 *   float_panels(cls, m, begin, end)       f32, f16, bf16
 * and gets `static void matmul(const struct vs_matmul *, size_t begin, size_t end)` for its slot.
 */
#ifndef VS_CPU_MATMUL_DISPATCH_H
#define VS_CPU_MATMUL_DISPATCH_H
#include "cpu/classes.h"
#include "cpu/ops.h"

/* How far ahead to ask for weights of a class that nc columns from `first` on use; cls and nc are constants. */
static inline __attribute__((always_inline)) size_t vs_bytes_ahead(const enum vs_matrix_class cls, const struct vs_matmul *m,
                                                                   size_t first, const int nc)
{
    enum { FROM_L2 = 2048 };
    bool even = cls == VS_CLASS_Q4 || cls == VS_CLASS_Q4M || cls == VS_CLASS_Q8 || cls == VS_CLASS_L4 || cls == VS_CLASS_M4
                || cls >= VS_CLASS_F32;
    if (m->cached || first >= VS_ACT_ROWS)
        return FROM_L2;
    return nc > 2 ? m->prefetch.many : even ? m->prefetch.few_even : m->prefetch.few;
}

/* Asks for the n bytes of weights that lie `ahead` of `at`, all their lines in ascending order; n is a constant. It may run past
 * the end, which a prefetch does not mind. */
static inline __attribute__((always_inline)) void vs_prefetch_weights(const uint8_t *at, size_t ahead, const int n)
{
    if (ahead)
        for (int i = 0; i < n; i += 64)
            __builtin_prefetch(at + ahead + i);
}

#define VS_CODES_FUNCTION(cls)                                                                  \
    static void panels_##cls(const struct vs_matmul *m, size_t begin, size_t end)               \
    {                                                                                           \
        if (m->high)                                                                            \
            panels(VS_CLASS_##cls, m, begin, end, true);                                        \
        else                                                                                    \
            panels(VS_CLASS_##cls, m, begin, end, false);                                       \
    }

#define VS_FLOAT_FUNCTION(cls)                                                                  \
    static void panels_##cls(const struct vs_matmul *m, size_t begin, size_t end)               \
    {                                                                                           \
        float_panels(VS_CLASS_##cls, m, begin, end);                                            \
    }

#define VS_CODES_FUNCTION_OF(cls, ...) VS_CODES_FUNCTION(cls)
#define VS_CODES_ENTRY_OF(cls, ...) [VS_CLASS_##cls] = panels_##cls,

#define VS_MATMUL_DISPATCH                                                                      \
    VS_BLOCK_CLASSES(VS_CODES_FUNCTION_OF)                                                      \
    VS_INDEXED_CLASSES(VS_CODES_FUNCTION_OF)                                                    \
    VS_FLOAT_FUNCTION(F32) VS_FLOAT_FUNCTION(F16) VS_FLOAT_FUNCTION(BF16)                       \
    static void matmul(const struct vs_matmul *m, size_t begin, size_t end)                     \
    {                                                                                           \
        static void (*const functions[VS_N_CLASSES])(const struct vs_matmul *, size_t, size_t) = { \
            VS_BLOCK_CLASSES(VS_CODES_ENTRY_OF)                                                 \
            VS_INDEXED_CLASSES(VS_CODES_ENTRY_OF)                                               \
            [VS_CLASS_F32] = panels_F32, [VS_CLASS_F16] = panels_F16, [VS_CLASS_BF16] = panels_BF16, \
        };                                                                                      \
        functions[m->w->cls](m, begin, end);                                                    \
    }
#endif
