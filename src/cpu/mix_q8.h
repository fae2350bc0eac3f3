/* cpu/mix_q8.h - how one instruction set walks a page of 8-bit values: what AVX2 and NEON share.
 *
 * The file that includes it has mix_q8_tile(o, ldo, p, n, v), always inlined: n queries, a constant, and as many dimensions as the
 * tile has lanes, from v on. VS_MIX_Q8(queries, lanes) gives `static void mix_q8(...)` for its slot: `queries` at a time, then one
 * by one; dimensions that fill no tile go through a copy, since the page is padded but o is not.
 */
#ifndef VS_CPU_MIX_Q8_H
#define VS_CPU_MIX_Q8_H
#include "cpu/ops.h"

#include <string.h>

#define VS_MIX_Q8(queries, lanes)                                                                                         \
    static void mix_q8(float *o, size_t ldo, const struct vs_act *p, size_t n_q, const int8_t *v, size_t head_dim)        \
    {                                                                                                                     \
        for (size_t d = 0; d < head_dim; d += (lanes)) {                                                                  \
            const int8_t *from = v + vs_value8_at(0, d);                                                                  \
            size_t i = 0, width = head_dim - d;                                                                           \
            for (; width >= (lanes) && i + (queries) <= n_q; i += (queries))                                              \
                mix_q8_tile(o + i * ldo + d, ldo, p + i * VS_PAGE_BLOCKS, (queries), from);                               \
            for (; width >= (lanes) && i < n_q; i++)                                                                      \
                mix_q8_tile(o + i * ldo + d, ldo, p + i * VS_PAGE_BLOCKS, 1, from);                                       \
            for (; i < n_q; i++) {                                                                                        \
                float part[lanes] = { 0 };                                                                                \
                memcpy(part, o + i * ldo + d, width * sizeof *part);                                                      \
                mix_q8_tile(part, 0, p + i * VS_PAGE_BLOCKS, 1, from);                                                    \
                memcpy(o + i * ldo + d, part, width * sizeof *part);                                                      \
            }                                                                                                             \
        }                                                                                                                 \
    }
#endif
