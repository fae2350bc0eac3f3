/* cpu/scan_c.c - the kernels of recurrent layers in plain C: the specification, the fallback, the oracle. */
#include "cpu/ops.h"

#include "base/num.h"

static void mul(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] * b[i];
}

static void conv(float *y, const float *const *u, const float *w, const float *bias, size_t n_taps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float sum = bias ? bias[i] : 0.0f;
        for (size_t j = 0; j < n_taps; j++)
            sum = vs_fmaf(w[j * n + i], u[j][i], sum);
        y[i] = sum;
    }
}

static void softplus(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = vs_softplusf(x[i]);
}

static void sigmoid(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = vs_sigmoidf(x[i]);
}

static void steps(float *dt, float *decay, const float *x, float bias, float a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dt[i] = vs_softplusf(x[i] + bias);
        decay[i] = vs_expf(dt[i] * a);
    }
}

static void scan_heads(float *y, size_t ldy, float *s, const float *old, size_t lds, const float *x, size_t ldx, const float *b,
                       const float *c, const float *dt, const float *decay, float d, size_t n_rows, size_t n_state, size_t n,
                       bool past)
{
    (void)past;
    for (size_t t = 0; t < n_rows; t++, old = s, y += ldy, x += ldx, b += ldx, c += ldx)
        for (size_t i = 0; i < n; i++) {
            float input = dt[t] * x[i], sum = 0.0f;
            for (size_t k = 0; k < n_state; k++) {
                float *at = &s[k * lds + i];
                *at = vs_fmaf(input, b[k], old[k * lds + i] * decay[t]);
                sum = vs_fmaf(*at, c[k], sum);
            }
            y[i] = vs_fmaf(d, x[i], sum);
        }
}

static void scan(float *y, float *s, const float *old, size_t lds, const float *x, const float *dt, const float *a, const float *b,
                 const float *c, const float *d, size_t n_state, size_t n, bool past)
{
    (void)past;
    for (size_t i = 0; i < n; i++) {
        float input = dt[i] * x[i], sum = 0.0f;
        for (size_t k = 0; k < n_state; k++) {
            float *at = &s[k * lds + i];
            *at = vs_fmaf(input, b[k], old[k * lds + i] * vs_expf(dt[i] * a[k * n + i]));
            sum = vs_fmaf(*at, c[k], sum);
        }
        y[i] = vs_fmaf(d[i], x[i], sum);
    }
}

static void delta(float *y, float *s, const float *old, size_t lds, const float *k, const float *q, const float *v, float beta,
                  const float *decay, bool each, size_t n_keys, size_t n, bool past)
{
    (void)past;
    for (size_t i = 0; i < n; i++) {
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

static void shift(float *y, const float *x, const float *before, const float *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = vs_fmaf(w[i], before[i] - x[i], x[i]);
}

static void wkv6(float *y, float *s, const float *old, size_t lds, const float *r, const float *w, const float *k, const float *u,
                 const float *v, size_t n_keys, size_t n, bool past)
{
    (void)past;
    for (size_t i = 0; i < n; i++) {
        float sum = 0.0f;
        for (size_t j = 0; j < n_keys; j++) {
            float had = old[j * lds + i], in = k[j] * v[i];
            sum = vs_fmaf(vs_fmaf(u[j], in, had), r[j], sum);
            s[j * lds + i] = vs_fmaf(had, w[j], in);
        }
        y[i] = sum;
    }
}

static void wkv7(float *y, float *s, const float *old, size_t lds, const float *r, const float *w, const float *k, const float *a,
                 const float *b, const float *v, size_t n_keys, size_t n, bool past)
{
    (void)past;
    for (size_t i = 0; i < n; i++) {
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

void vs_cpu_scan_init_c(struct vs_cpu_ops *ops)
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
