/* cpu/math_neon.h - the functions of base/num.h on 4 lanes: the same operations in the same order, so the same bits. */
#ifndef VS_CPU_MATH_NEON_H
#define VS_CPU_MATH_NEON_H
#include "base/num.h"
#include "graph/graph.h"

#include <arm_neon.h>

static inline float32x4_t vs_exp4(float32x4_t x)
{
    const float32x4_t magic = vdupq_n_f32(VS_RNE_MAGIC);
    float32x4_t t = vfmaq_f32(magic, x, vdupq_n_f32(VS_LOG2E));
    float32x4_t n = vsubq_f32(t, magic);
    float32x4_t r = vfmaq_f32(x, n, vdupq_n_f32(-VS_LN2_HI));
    r = vfmaq_f32(r, n, vdupq_n_f32(-VS_LN2_LO));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(VS_EXP_C5), vdupq_n_f32(VS_EXP_C6), r);
    p = vfmaq_f32(vdupq_n_f32(VS_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(VS_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(VS_EXP_C2), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    float32x4_t y = vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p), vshlq_n_u32(vreinterpretq_u32_f32(t), 23)));
    y = vbslq_f32(vcltq_f32(x, vdupq_n_f32(VS_EXP_MIN)), vdupq_n_f32(0.0f), y);
    y = vbslq_f32(vcgtq_f32(x, vdupq_n_f32(VS_EXP_MAX)), vdupq_n_f32(__builtin_inff()), y);
    return vbslq_f32(vceqq_f32(x, x), y, x);
}

static inline float32x4_t vs_sigmoid4(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    float32x4_t e = vs_exp4(vnegq_f32(vabsq_f32(x)));
    float32x4_t top = vbslq_f32(vcgeq_f32(x, vdupq_n_f32(0.0f)), one, e);
    return vdivq_f32(top, vaddq_f32(one, e));
}

static inline float32x4_t vs_silu4(float32x4_t x)
{
    return vmulq_f32(x, vs_sigmoid4(x));
}

static inline float32x4_t vs_gelu_tanh4(float32x4_t x)
{
    float32x4_t u = vmulq_f32(x, x);
    float32x4_t z = vmulq_f32(x, vfmaq_f32(vdupq_n_f32(VS_GELU_B), u, vdupq_n_f32(VS_GELU_A)));
    return vmulq_f32(x, vs_sigmoid4(z));
}

static inline float32x4_t vs_gelu_erf4(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    float32x4_t a = vabsq_f32(x), t = vdivq_f32(one, vfmaq_f32(one, vdupq_n_f32(VS_GELU_P), a));
    float32x4_t p = vdupq_n_f32(VS_GELU_H7);
    p = vfmaq_f32(vdupq_n_f32(VS_GELU_H6), p, t);
    p = vfmaq_f32(vdupq_n_f32(VS_GELU_H5), p, t);
    p = vfmaq_f32(vdupq_n_f32(VS_GELU_H4), p, t);
    p = vfmaq_f32(vdupq_n_f32(VS_GELU_H3), p, t);
    p = vfmaq_f32(vdupq_n_f32(VS_GELU_H2), p, t);
    p = vfmaq_f32(vdupq_n_f32(VS_GELU_H1), p, t);
    p = vfmaq_f32(vdupq_n_f32(VS_GELU_H0), p, t);
    float32x4_t e = vs_exp4(vmulq_f32(vdupq_n_f32(-0.5f), vmulq_f32(a, a)));
    float32x4_t tail = vmulq_f32(vmulq_f32(p, t), e);
    return vbslq_f32(vcgeq_f32(x, vdupq_n_f32(0.0f)), vfmsq_f32(x, x, tail), vmulq_f32(x, tail));
}

static inline float32x4_t vs_activation4(float32x4_t x, enum vs_activation act)
{
    return act == VS_ACT_SILU ? vs_silu4(x) : act == VS_ACT_SIGMOID ? vs_sigmoid4(x)
           : act == VS_ACT_GELU_ERF ? vs_gelu_erf4(x) : vs_gelu_tanh4(x);
}

/* Sum of 16 virtual lanes (4i .. 4i + 3 in v[i]) by the tree 8-4-2-1. */
static inline float vs_tree16(const float32x4_t v[4])
{
    float32x4_t s4 = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
    float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}
#endif
