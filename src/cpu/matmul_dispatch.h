/* cpu/matmul_dispatch.h - what every file of matrix kernels ends with: one function for each class, compiled with its constants, and
 * the table that picks it.
 *
 * The file defines before, always inlined:
 *   panels(cls, m, begin, end, high)       block formats
 *   float_panels(cls, m, begin, end)       f32, f16, bf16
 * and gets `static void matmul(const struct vs_matmul *, size_t begin, size_t end)` for its slot.
 */
#ifndef VS_CPU_MATMUL_DISPATCH_H
#define VS_CPU_MATMUL_DISPATCH_H
#include "cpu/ops.h"

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

#define VS_MATMUL_DISPATCH                                                                      \
    VS_CODES_FUNCTION(Q4) VS_CODES_FUNCTION(Q4M) VS_CODES_FUNCTION(Q5) VS_CODES_FUNCTION(Q5M)   \
    VS_CODES_FUNCTION(Q8) VS_CODES_FUNCTION(K2) VS_CODES_FUNCTION(K3) VS_CODES_FUNCTION(K4)     \
    VS_CODES_FUNCTION(K5) VS_CODES_FUNCTION(K6)                                                 \
    VS_FLOAT_FUNCTION(F32) VS_FLOAT_FUNCTION(F16) VS_FLOAT_FUNCTION(BF16)                       \
    static void matmul(const struct vs_matmul *m, size_t begin, size_t end)                     \
    {                                                                                           \
        static void (*const functions[VS_N_CLASSES])(const struct vs_matmul *, size_t, size_t) = { \
            [VS_CLASS_Q4] = panels_Q4, [VS_CLASS_Q4M] = panels_Q4M, [VS_CLASS_Q5] = panels_Q5,  \
            [VS_CLASS_Q5M] = panels_Q5M, [VS_CLASS_Q8] = panels_Q8, [VS_CLASS_K2] = panels_K2,  \
            [VS_CLASS_K3] = panels_K3, [VS_CLASS_K4] = panels_K4, [VS_CLASS_K5] = panels_K5,    \
            [VS_CLASS_K6] = panels_K6, [VS_CLASS_F32] = panels_F32, [VS_CLASS_F16] = panels_F16, \
            [VS_CLASS_BF16] = panels_BF16,                                                      \
        };                                                                                      \
        functions[m->w->cls](m, begin, end);                                                    \
    }
#endif
