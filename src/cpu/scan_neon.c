/* cpu/scan_neon.c - recurrent layers on 4 lanes. */
#include "cpu/ops.h"

#include "cpu/math_neon.h"

#define VEC float32x4_t
#define N_VEC 4
#define LOAD(p) vld1q_f32(p)
#define STORE(p, v) vst1q_f32(p, v)
#define STREAM(p, v) vst1q_f32(p, v)
#define STREAMED() ((void)0)
#define SET(x) vdupq_n_f32(x)
#define ADD(a, b) vaddq_f32(a, b)
#define SUB(a, b) vsubq_f32(a, b)
#define MUL(a, b) vmulq_f32(a, b)
#define FMA(a, b, c) vfmaq_f32(c, a, b)
#define DIV(a, b) vdivq_f32(a, b)
#define EXP(v) vs_exp4(v)
#define SIGMOID(v) vs_sigmoid4(v)
#define NEG_ABS(v) vnegq_f32(vabsq_f32(v))
#define ABOVE_0(v) vmaxq_f32(v, vdupq_n_f32(0.0f))
#include "cpu/scan_body.h"

void vs_cpu_scan_init_neon(struct vs_cpu_ops *ops)
{
    scan_init(ops);
}
