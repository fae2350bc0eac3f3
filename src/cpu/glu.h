/* cpu/glu.h - one element of a product of gate and up, as all versions of that kernel compute it (docs/NUMERICS.md). */
#ifndef VS_CPU_GLU_H
#define VS_CPU_GLU_H
#include "base/num.h"
#include "graph/graph.h"

#define VS_OAI_LIMIT 7.0f
#define VS_OAI_SLOPE 1.702f

static inline float vs_glu1(float gate, float up, enum vs_activation act)
{
    if (act == VS_ACT_SWIGLU_OAI) {
        gate = gate > VS_OAI_LIMIT ? VS_OAI_LIMIT : gate;
        up = up > VS_OAI_LIMIT ? VS_OAI_LIMIT : up < -VS_OAI_LIMIT ? -VS_OAI_LIMIT : up;
        return (up + 1.0f) * (gate * vs_sigmoidf(VS_OAI_SLOPE * gate));
    }
    return (act == VS_ACT_SILU ? vs_siluf(gate) : act == VS_ACT_SIGMOID ? vs_sigmoidf(gate)
            : act == VS_ACT_GELU_ERF ? vs_gelu_erff(gate) : vs_gelu_tanhf(gate)) * up;
}
#endif
