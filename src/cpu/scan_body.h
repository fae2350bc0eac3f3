/* cpu/scan_body.h - the kernels of scan_c.c on vectors, for the files that include it. They say what a vector is:
 *
 *   VEC, N_VEC                         the type, and its floats
 *   LOAD(p) STORE(p, v) SET(x)         unaligned; one number in all
 *   STREAM(p, v) STREAMED()            aligned, past the caches; what was stored so is there for other threads
 *   ADD(a, b) SUB(a, b) MUL(a, b) DIV(a, b) FMA(a, b, c)     c + a * b, rounded once
 *   EXP(v) SIGMOID(v) NEG_ABS(v) ABOVE_0(v)       as base/num.h; -|v|; v where it is above 0, else 0
 *
 * Lanes are channels, so every number is computed as plain C does it. Tails are plain C.
 */
#ifndef VS_CPU_SCAN_BODY_H
#define VS_CPU_SCAN_BODY_H
#include "base/num.h"
#include "cpu/ops.h"

#ifndef VEC                              /* so that it compiles alone */
#define VEC float
#define N_VEC 1
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define STREAM(p, v) (*(p) = (v))
#define STREAMED() ((void)0)
#define SET(x) (x)
#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
#define SUB(a, b) ((a) - (b))
#define FMA(a, b, c) vs_fmaf(a, b, c)
#define DIV(a, b) ((a) / (b))
#define EXP(v) vs_expf(v)
#define SIGMOID(v) vs_sigmoidf(v)
#define NEG_ABS(v) (-vs_absf(v))
#define ABOVE_0(v) ((v) > 0.0f ? (v) : 0.0f)
#endif

/* Are rows of a state whole cache lines? */
static inline bool are_lines(const float *s, size_t lds)
{
    return (uintptr_t)s % 64 == 0 && lds % 16 == 0;
}

/* Where past is a constant. */
static inline __attribute__((always_inline)) void put(float *p, VEC v, const bool past)
{
    if (past)
        STREAM(p, v);
    else
        STORE(p, v);
}

static inline void mul(float *y, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + N_VEC <= n; i += N_VEC)
        STORE(y + i, MUL(LOAD(a + i), LOAD(b + i)));
    for (; i < n; i++)
        y[i] = a[i] * b[i];
}

static inline void conv(float *y, const float *const *u, const float *w, const float *bias, size_t n_taps, size_t n)
{
    size_t i = 0;
    for (; i + N_VEC <= n; i += N_VEC) {
        VEC sum = bias ? LOAD(bias + i) : SET(0.0f);
        for (size_t j = 0; j < n_taps; j++)
            sum = FMA(LOAD(w + j * n + i), LOAD(u[j] + i), sum);
        STORE(y + i, sum);
    }
    for (; i < n; i++) {
        float sum = bias ? bias[i] : 0.0f;
        for (size_t j = 0; j < n_taps; j++)
            sum = vs_fmaf(w[j * n + i], u[j][i], sum);
        y[i] = sum;
    }
}

static inline VEC softplus_of(VEC x)
{
    VEC e = EXP(NEG_ABS(x)), s = DIV(e, ADD(SET(2.0f), e)), z = MUL(s, s);
    VEC p = FMA(SET(VS_SOFTPLUS_P7), z, SET(VS_SOFTPLUS_P6));
    p = FMA(p, z, SET(VS_SOFTPLUS_P5));
    p = FMA(p, z, SET(VS_SOFTPLUS_P4));
    p = FMA(p, z, SET(VS_SOFTPLUS_P3));
    p = FMA(p, z, SET(VS_SOFTPLUS_P2));
    p = FMA(p, z, SET(VS_SOFTPLUS_P1));
    p = FMA(p, z, SET(2.0f));
    return ADD(ABOVE_0(x), MUL(s, p));
}

static inline void softplus(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + N_VEC <= n; i += N_VEC)
        STORE(y + i, softplus_of(LOAD(x + i)));
    for (; i < n; i++)
        y[i] = vs_softplusf(x[i]);
}

static inline void sigmoid(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + N_VEC <= n; i += N_VEC)
        STORE(y + i, SIGMOID(LOAD(x + i)));
    for (; i < n; i++)
        y[i] = vs_sigmoidf(x[i]);
}

static inline void steps(float *dt, float *decay, const float *x, float bias, float a, size_t n)
{
    size_t i = 0;
    for (; i + N_VEC <= n; i += N_VEC) {
        VEC step = softplus_of(ADD(LOAD(x + i), SET(bias)));
        STORE(dt + i, step);
        STORE(decay + i, EXP(MUL(step, SET(a))));
    }
    for (; i < n; i++) {
        dt[i] = vs_softplusf(x[i] + bias);
        decay[i] = vs_expf(dt[i] * a);
    }
}

/* Lanes of one row, n_vec vectors of them: a constant. */
static inline __attribute__((always_inline)) void scan_lanes(const size_t n_vec, float *y, float *s, const float *old, size_t lds,
                                                             const float *x, const float *b, const float *c, float dt,
                                                             float decay, float d, size_t n_state, const bool past)
{
    VEC input[4], sum[4], fade = SET(decay);
    for (size_t v = 0; v < n_vec; v++) {
        input[v] = MUL(SET(dt), LOAD(x + v * N_VEC));
        sum[v] = SET(0.0f);
    }
    for (size_t k = 0; k < n_state; k++, s += lds, old += lds) {
        VEC in = SET(b[k]), out = SET(c[k]);
        for (size_t v = 0; v < n_vec; v++) {
            VEC now = FMA(input[v], in, MUL(LOAD(old + v * N_VEC), fade));
            put(s + v * N_VEC, now, past);
            sum[v] = FMA(now, out, sum[v]);
        }
    }
    for (size_t v = 0; v < n_vec; v++)
        STORE(y + v * N_VEC, FMA(SET(d), LOAD(x + v * N_VEC), sum[v]));
}

static inline void scan_heads(float *y, size_t ldy, float *s, const float *old, size_t lds, const float *x, size_t ldx,
                              const float *b, const float *c, const float *dt, const float *decay, float d, size_t n_rows,
                              size_t n_state, size_t n, bool past)
{
    past = past && are_lines(s, lds);
    for (size_t t = 0; t < n_rows; t++, old = s, y += ldy, x += ldx, b += ldx, c += ldx) {
        size_t i = 0;
        for (; past && i + 4 * N_VEC <= n; i += 4 * N_VEC)
            scan_lanes(4, y + i, s + i, old + i, lds, x + i, b, c, dt[t], decay[t], d, n_state, true);
        for (; i + 4 * N_VEC <= n; i += 4 * N_VEC)
            scan_lanes(4, y + i, s + i, old + i, lds, x + i, b, c, dt[t], decay[t], d, n_state, false);
        for (; i + N_VEC <= n; i += N_VEC)
            scan_lanes(1, y + i, s + i, old + i, lds, x + i, b, c, dt[t], decay[t], d, n_state, false);
        for (; i < n; i++) {
            float input = dt[t] * x[i], sum = 0.0f;
            for (size_t k = 0; k < n_state; k++) {
                float *at = &s[k * lds + i];
                *at = vs_fmaf(input, b[k], old[k * lds + i] * decay[t]);
                sum = vs_fmaf(*at, c[k], sum);
            }
            y[i] = vs_fmaf(d, x[i], sum);
        }
    }
    if (past)
        STREAMED();
}

/* Channels of one row, n_vec vectors of them: a constant. */
static inline __attribute__((always_inline)) void scan_channels(const size_t n_vec, float *y, float *s, const float *old,
                                                                size_t lds, const float *x, const float *dt, const float *a,
                                                                size_t lda, const float *b, const float *c, const float *d,
                                                                size_t n_state, const bool past)
{
    VEC step[4], input[4], sum[4];
    for (size_t v = 0; v < n_vec; v++) {
        step[v] = LOAD(dt + v * N_VEC);
        input[v] = MUL(step[v], LOAD(x + v * N_VEC));
        sum[v] = SET(0.0f);
    }
    for (size_t k = 0; k < n_state; k++, s += lds, old += lds, a += lda) {
        VEC in = SET(b[k]), out = SET(c[k]);
        for (size_t v = 0; v < n_vec; v++) {
            VEC now = FMA(input[v], in, MUL(LOAD(old + v * N_VEC), EXP(MUL(step[v], LOAD(a + v * N_VEC)))));
            put(s + v * N_VEC, now, past);
            sum[v] = FMA(now, out, sum[v]);
        }
    }
    for (size_t v = 0; v < n_vec; v++)
        STORE(y + v * N_VEC, FMA(LOAD(d + v * N_VEC), LOAD(x + v * N_VEC), sum[v]));
}

static inline void scan(float *y, float *s, const float *old, size_t lds, const float *x, const float *dt, const float *a,
                        const float *b, const float *c, const float *d, size_t n_state, size_t n, bool past)
{
    size_t i = 0;
    past = past && are_lines(s, lds);
    for (; past && i + 4 * N_VEC <= n; i += 4 * N_VEC)
        scan_channels(4, y + i, s + i, old + i, lds, x + i, dt + i, a + i, n, b, c, d + i, n_state, true);
    for (; i + 4 * N_VEC <= n; i += 4 * N_VEC)
        scan_channels(4, y + i, s + i, old + i, lds, x + i, dt + i, a + i, n, b, c, d + i, n_state, false);
    for (; i + N_VEC <= n; i += N_VEC)
        scan_channels(1, y + i, s + i, old + i, lds, x + i, dt + i, a + i, n, b, c, d + i, n_state, false);
    for (; i < n; i++) {
        float input = dt[i] * x[i], sum = 0.0f;
        for (size_t k = 0; k < n_state; k++) {
            float *at = &s[k * lds + i];
            *at = vs_fmaf(input, b[k], old[k * lds + i] * vs_expf(dt[i] * a[k * n + i]));
            sum = vs_fmaf(*at, c[k], sum);
        }
        y[i] = vs_fmaf(d[i], x[i], sum);
    }
    if (past)
        STREAMED();
}

/* n_vec vectors of lanes: a constant, as past is. */
static inline __attribute__((always_inline)) void delta_lanes(const size_t n_vec, float *y, float *s, const float *old, size_t lds,
                                                              const float *k, const float *q, const float *v, float beta,
                                                              const float *decay, const bool each, size_t n_keys,
                                                              const bool past)
{
    VEC change[4], sum[4], fade = SET(*decay);
    for (size_t u = 0; u < n_vec; u++)
        change[u] = sum[u] = SET(0.0f);
    for (size_t j = 0; j < n_keys; j++) {
        VEC key = SET(k[j]);
        if (each)
            fade = SET(decay[j]);
        for (size_t u = 0; u < n_vec; u++)
            change[u] = FMA(MUL(LOAD(old + j * lds + u * N_VEC), fade), key, change[u]);
    }
    for (size_t u = 0; u < n_vec; u++)
        change[u] = MUL(SET(beta), SUB(LOAD(v + u * N_VEC), change[u]));
    for (size_t j = 0; j < n_keys; j++) {
        VEC key = SET(k[j]), query = SET(q[j]);
        if (each)
            fade = SET(decay[j]);
        for (size_t u = 0; u < n_vec; u++) {
            VEC now = FMA(key, change[u], MUL(LOAD(old + j * lds + u * N_VEC), fade));
            put(s + j * lds + u * N_VEC, now, past);
            sum[u] = FMA(now, query, sum[u]);
        }
    }
    for (size_t u = 0; u < n_vec; u++)
        STORE(y + u * N_VEC, sum[u]);
}

static inline __attribute__((always_inline)) void delta_vectors(float *y, float *s, const float *old, size_t lds, const float *k,
                                                                const float *q, const float *v, float beta, const float *decay,
                                                                const bool each, size_t n_keys, size_t n, const bool past)
{
    size_t i = 0;
    for (; i + 4 * N_VEC <= n; i += 4 * N_VEC)
        delta_lanes(4, y + i, s + i, old + i, lds, k, q, v + i, beta, decay, each, n_keys, past);
    for (; i + N_VEC <= n; i += N_VEC)
        delta_lanes(1, y + i, s + i, old + i, lds, k, q, v + i, beta, decay, each, n_keys, false);
    for (; i < n; i++) {
        float had = 0.0f, sum = 0.0f;
        for (size_t j = 0; j < n_keys; j++)
            had = vs_fmaf(old[j * lds + i] * decay[each ? j : 0], k[j], had);
        float change = beta * (v[i] - had);
        for (size_t j = 0; j < n_keys; j++) {
            float *at = &s[j * lds + i];
            *at = vs_fmaf(k[j], change, old[j * lds + i] * decay[each ? j : 0]);
            sum = vs_fmaf(*at, q[j], sum);
        }
        y[i] = sum;
    }
}

static inline void delta(float *y, float *s, const float *old, size_t lds, const float *k, const float *q, const float *v,
                         float beta, const float *decay, bool each, size_t n_keys, size_t n, bool past)
{
    past = past && are_lines(s, lds);
    if (each && past)
        delta_vectors(y, s, old, lds, k, q, v, beta, decay, true, n_keys, n, true);
    else if (each)
        delta_vectors(y, s, old, lds, k, q, v, beta, decay, true, n_keys, n, false);
    else if (past)
        delta_vectors(y, s, old, lds, k, q, v, beta, decay, false, n_keys, n, true);
    else
        delta_vectors(y, s, old, lds, k, q, v, beta, decay, false, n_keys, n, false);
    if (past)
        STREAMED();
}

static inline void shift(float *y, const float *x, const float *before, const float *w, size_t n)
{
    size_t i = 0;
    for (; i + N_VEC <= n; i += N_VEC)
        STORE(y + i, FMA(LOAD(w + i), SUB(LOAD(before + i), LOAD(x + i)), LOAD(x + i)));
    for (; i < n; i++)
        y[i] = vs_fmaf(w[i], before[i] - x[i], x[i]);
}

static inline __attribute__((always_inline)) void wkv6_lanes(const size_t n_vec, float *y, float *s, const float *old, size_t lds,
                                                             const float *r, const float *w, const float *k, const float *u,
                                                             const float *v, size_t n_keys, const bool past)
{
    VEC sum[4];
    for (size_t m = 0; m < n_vec; m++)
        sum[m] = SET(0.0f);
    for (size_t j = 0; j < n_keys; j++)
        for (size_t m = 0; m < n_vec; m++) {
            VEC had = LOAD(old + j * lds + m * N_VEC), in = MUL(SET(k[j]), LOAD(v + m * N_VEC));
            sum[m] = FMA(FMA(SET(u[j]), in, had), SET(r[j]), sum[m]);
            put(s + j * lds + m * N_VEC, FMA(had, SET(w[j]), in), past);
        }
    for (size_t m = 0; m < n_vec; m++)
        STORE(y + m * N_VEC, sum[m]);
}

static inline void wkv6(float *y, float *s, const float *old, size_t lds, const float *r, const float *w, const float *k,
                        const float *u, const float *v, size_t n_keys, size_t n, bool past)
{
    size_t i = 0;
    past = past && are_lines(s, lds);
    for (; past && i + 4 * N_VEC <= n; i += 4 * N_VEC)
        wkv6_lanes(4, y + i, s + i, old + i, lds, r, w, k, u, v + i, n_keys, true);
    for (; i + 4 * N_VEC <= n; i += 4 * N_VEC)
        wkv6_lanes(4, y + i, s + i, old + i, lds, r, w, k, u, v + i, n_keys, false);
    for (; i + N_VEC <= n; i += N_VEC)
        wkv6_lanes(1, y + i, s + i, old + i, lds, r, w, k, u, v + i, n_keys, false);
    if (past)
        STREAMED();
    for (; i < n; i++) {
        float sum = 0.0f;
        for (size_t j = 0; j < n_keys; j++) {
            float had = old[j * lds + i], in = k[j] * v[i];
            sum = vs_fmaf(vs_fmaf(u[j], in, had), r[j], sum);
            s[j * lds + i] = vs_fmaf(had, w[j], in);
        }
        y[i] = sum;
    }
}

static inline __attribute__((always_inline)) void wkv7_lanes(const size_t n_vec, float *y, float *s, const float *old, size_t lds,
                                                             const float *r, const float *w, const float *k, const float *a,
                                                             const float *b, const float *v, size_t n_keys, const bool past)
{
    VEC had[4], sum[4];
    for (size_t m = 0; m < n_vec; m++)
        had[m] = sum[m] = SET(0.0f);
    for (size_t j = 0; j < n_keys; j++)
        for (size_t m = 0; m < n_vec; m++)
            had[m] = FMA(LOAD(old + j * lds + m * N_VEC), SET(a[j]), had[m]);
    for (size_t m = 0; m < n_vec; m++)
        had[m] = MUL(had[m], SET(-1.0f));
    for (size_t j = 0; j < n_keys; j++)
        for (size_t m = 0; m < n_vec; m++) {
            VEC faded = MUL(LOAD(old + j * lds + m * N_VEC), SET(w[j]));
            VEC now = FMA(SET(k[j]), LOAD(v + m * N_VEC), FMA(SET(b[j]), had[m], faded));
            put(s + j * lds + m * N_VEC, now, past);
            sum[m] = FMA(now, SET(r[j]), sum[m]);
        }
    for (size_t m = 0; m < n_vec; m++)
        STORE(y + m * N_VEC, sum[m]);
}

static inline void wkv7(float *y, float *s, const float *old, size_t lds, const float *r, const float *w, const float *k,
                        const float *a, const float *b, const float *v, size_t n_keys, size_t n, bool past)
{
    size_t i = 0;
    past = past && are_lines(s, lds);
    for (; past && i + 4 * N_VEC <= n; i += 4 * N_VEC)
        wkv7_lanes(4, y + i, s + i, old + i, lds, r, w, k, a, b, v + i, n_keys, true);
    for (; i + 4 * N_VEC <= n; i += 4 * N_VEC)
        wkv7_lanes(4, y + i, s + i, old + i, lds, r, w, k, a, b, v + i, n_keys, false);
    for (; i + N_VEC <= n; i += N_VEC)
        wkv7_lanes(1, y + i, s + i, old + i, lds, r, w, k, a, b, v + i, n_keys, false);
    if (past)
        STREAMED();
    for (; i < n; i++) {
        float had = 0.0f, sum = 0.0f;
        for (size_t j = 0; j < n_keys; j++)
            had = vs_fmaf(old[j * lds + i], a[j], had);
        for (size_t j = 0; j < n_keys; j++) {
            float *at = &s[j * lds + i];
            *at = vs_fmaf(k[j], v[i], vs_fmaf(b[j], -had, old[j * lds + i] * w[j]));
            sum = vs_fmaf(*at, r[j], sum);
        }
        y[i] = sum;
    }
}

static inline void scan_init(struct vs_cpu_ops *ops)
{
    ops->mul = mul;
    ops->conv = conv;
    ops->softplus = softplus;
    ops->sigmoid = sigmoid;
    ops->steps = steps;
    ops->scan_heads = scan_heads;
    ops->scan = scan;
    ops->delta = delta;
    ops->shift = shift;
    ops->wkv6 = wkv6;
    ops->wkv7 = wkv7;
}
#endif
