/* rooms: cpu */
/* Every kernel of every instruction set against plain C: random shapes, odd sizes, aliasing, denormals, infinities and NaN.
 *
 *   ops                 random cases                                   (label unit)
 *   ops all             ten times as many, and what takes one or two floats over all of them (label long)
 *   ops brief           a tenth: with sanitizers
 *
 * Arrays end at a page that may not be touched and begin after bytes that may not change. Results are compared bit for bit, except
 * that one NaN is as good as another.
 */
#include "base/num.h"
#include "cpu/ops.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned n_rounds = 300;
static bool all;
static struct vs_cpu_ops plain, fast;

static uint64_t random_state = 7;
static uint64_t random64(void)          /* splitmix64 */
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(random64() >> 32) % n;
}

static uint32_t between(uint32_t low, uint32_t high)
{
    return low + below(high - low + 1);
}

/* ---- memory that notices ---- */

enum { FRONT = 64, CANARY = 0xa5, MAX_ARRAYS = 48 };
static struct array { uint8_t *map, *at; size_t map_bytes, bytes; } arrays[MAX_ARRAYS];
static size_t n_arrays;

static void *array(size_t bytes, const void *copy)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + FRONT + page - 1) / page * page;
    struct array *a = &arrays[n_arrays++];
    a->map_bytes = body + page;
    a->bytes = bytes;
    a->map = mmap(NULL, a->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (n_arrays == MAX_ARRAYS || a->map == MAP_FAILED || mprotect(a->map + body, page, PROT_NONE) != 0) {
        printf("ops: no memory\n");
        exit(1);
    }
    a->at = a->map + body - bytes;
    memset(a->map, CANARY, body);
    if (copy && bytes)
        memcpy(a->at, copy, bytes);
    return a->at;
}

static float *floats(size_t n)
{
    return array(n * sizeof(float), NULL);
}

static float *twin(const float *x, size_t n)
{
    return array(n * sizeof(float), x);
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("ops: FAILED: %s: ", fast.name);
    vprintf(format, args);
    printf("\n");
    exit(1);
}

static void forget_arrays(const char *what)
{
    for (size_t i = 0; i < n_arrays; i++) {
        for (uint8_t *p = arrays[i].map; p < arrays[i].at; p++)
            if (*p != CANARY)
                fail("%s: wrote before an array of %zu bytes", what, arrays[i].bytes);
        munmap(arrays[i].map, arrays[i].map_bytes);
    }
    n_arrays = 0;
}

/* ---- values ---- */

enum wild { TAME, TINY, WILD };         /* around 1; denormals and zeros too; also huge, infinite, NaN */

static float value(enum wild wild)
{
    float v = (float)((int32_t)(random64() >> 32)) * 0x1p-30f;
    uint32_t r = below(wild == WILD ? 40 : 20);
    if (wild == TAME || r > 9)
        return v;
    static const float special[] = { 0.0f, -0.0f, 0x1p-149f, -0x1p-126f, 0x1.fffffep127f, -0x1p127f };
    if (r < 4)
        return special[r];
    if (r < 7 || wild == TINY)
        return v * (r & 1 ? 0x1p-130f : 0x1p-60f);
    return r == 7 ? special[4 + below(2)] : r == 8 ? vs_f32_of_bits(0x7f800000 | below(2) << 31)
                                                    : vs_f32_of_bits(below(2) << 31 | 0x7f800001 | below(0x7fffff));
}

static enum wild some_wild(void)
{
    uint32_t r = below(8);
    return r == 0 ? WILD : r < 3 ? TINY : TAME;
}

static float *random_floats(size_t n, enum wild wild)
{
    float *x = floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = value(wild);
    return x;
}

static void compare(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (vs_f32_bits(got[i]) != vs_f32_bits(want[i]) && !(got[i] != got[i] && want[i] != want[i]))
            fail("%s: element %zu of %zu is %a, plain C has %a", what, i, n, (double)got[i], (double)want[i]);
}

static void compare_bytes(const void *got, const void *want, size_t n, const char *what)
{
    if (n && memcmp(got, want, n) != 0)
        fail("%s: bytes differ", what);
}

static size_t length(void)
{
    return below(3) ? between(1, 70) : between(1, 600);
}

/* ---- one function for each slot ---- */

static void test_rms_norm(void)
{
    size_t n = length();
    enum wild wild = some_wild();
    float *x = random_floats(n, wild), *w = below(4) ? random_floats(n, wild) : NULL, *want = floats(n);
    float eps = below(2) ? 1e-5f : 0.0f;
    plain.rms_norm(want, x, w, n, eps);
    float *y = below(2) ? x : floats(n);
    fast.rms_norm(y, x, w, n, eps);
    compare(y, want, n, "rms_norm");
}

static void test_quantize(void)
{
    size_t n = length(), stride = between(1, 8), blocks = (n + 31) / 32,
           bytes = ((blocks - 1) * stride + 1) * sizeof(struct vs_act);
    float *x = random_floats(n, some_wild());
    if (below(8) == 0)                  /* the edge below which a block is zero, and ties */
        for (size_t i = 0; i < n; i++)
            x[i] = below(2) ? 0x1p-100f * (float)between(0, 2) : 0x1.fffffep-101f;
    else if (below(4) == 0)
        for (size_t i = 0; i < n; i++)
            x[i] = i % 32 ? ((float)below(254) - 127.0f + 0.5f) / 127.0f : 1.0f;
    struct vs_act *want = array(bytes, NULL), *got = array(bytes, NULL);
    plain.quantize(x, n, want, stride);
    fast.quantize(x, n, got, stride);
    compare_bytes(got, want, bytes, "quantize");
    stride++;                           /* in pairs */
    bytes = ((blocks - 1) * stride + 2) * sizeof(struct vs_act);
    want = array(bytes, NULL);
    got = array(bytes, NULL);
    plain.quantize_high(x, n, want, stride);
    fast.quantize_high(x, n, got, stride);
    compare_bytes(got, want, bytes, "quantize_high");
}

static const enum vs_activation gated[] = { VS_ACT_SILU, VS_ACT_GELU_TANH, VS_ACT_GELU_ERF, VS_ACT_SIGMOID, VS_ACT_SWIGLU_OAI };
static const char *const gated_names[] = { "glu, silu", "glu, gelu", "glu, gelu by erf", "glu, sigmoid", "glu, oai" };
enum { N_GATED = sizeof gated / sizeof *gated };

static void test_glu(void)
{
    size_t n = length();
    enum wild wild = some_wild();
    float *gate = random_floats(n, wild), *up = random_floats(n, wild), *want = floats(n);
    float by = below(2) ? 1.0f : 60.0f;
    for (size_t i = 0; i < n; i++)
        gate[i] *= by;
    for (size_t k = 0; k < N_GATED; k++) {
        enum vs_activation act = gated[k];
        float *g = twin(gate, n), *u = twin(up, n);
        plain.glu(want, gate, up, n, act);
        uint32_t r = below(3);
        float *y = r == 0 ? g : r == 1 ? u : floats(n);
        fast.glu(y, g, u, n, act);
        compare(y, want, n, gated_names[k]);
    }
}

static void test_simple(void)
{
    size_t n = length();
    enum wild wild = some_wild();
    float *a = random_floats(n, wild), *b = random_floats(n, wild), *want = floats(n), s = value(wild), cap = 30.0f;
    float *y = below(2) ? twin(a, n) : NULL, *from = y ? y : a, *to = y ? y : floats(n);
    plain.add(want, a, b, n);
    fast.add(to, from, b, n);
    compare(to, want, n, "add");
    from = y ? memcpy(y, a, n * 4) : a;
    plain.scale(want, a, s, n);
    fast.scale(to, from, s, n);
    compare(to, want, n, "scale");
    float *sum = random_floats(n, wild), *sum_twin = twin(sum, n);
    plain.add_scaled(sum, a, s, n);
    fast.add_scaled(sum_twin, a, s, n);
    compare(sum_twin, sum, n, "add_scaled");
    from = y ? memcpy(y, a, n * 4) : a;
    plain.softcap(want, a, cap, n);
    fast.softcap(to, from, cap, n);
    compare(to, want, n, "softcap");
}

static void test_conv(void)
{
    size_t n = length() + 1, taps = between(1, VS_MAX_TAPS);
    enum wild wild = some_wild();
    const float *u[VS_MAX_TAPS];
    for (size_t j = 0; j < taps; j++)
        u[j] = random_floats(n, wild);
    float *w = random_floats(taps * n, wild), *bias = below(2) ? random_floats(n, wild) : NULL, *want = floats(n), *got = floats(n);
    plain.conv(want, u, w, bias, taps, n);
    fast.conv(got, u, w, bias, taps, n);
    compare(got, want, n, "conv");
    plain.mul(want, u[0], w, n);
    fast.mul(got, u[0], w, n);
    compare(got, want, n, "mul");
}

/* Lanes of a state and their stride, often whole cache lines: these may go past the caches. */
static size_t lanes(size_t *ret_stride)
{
    size_t n = between(1, 80);
    if (below(2))
        n = (n + 15) / 16 * 16;
    *ret_stride = n + (n % 16 ? below(5) : 0);
    return n;
}

static void test_scan_heads(void)
{
    size_t lds, n = lanes(&lds), n_rows = between(1, 5), n_state = between(1, 40), ldx = n + 2 * n_state + below(9);
    size_t ldy = n + below(9), last = (n_rows - 1) * ldx;
    enum wild wild = some_wild();
    float *x = random_floats(last + n, wild), *b = random_floats(last + n_state, wild), *c = random_floats(last + n_state, wild);
    float *raw = random_floats(n_rows, wild), *dt[2], *decay[2], *s[2], *y[2];
    float bias = value(TAME), a = -1 + value(TAME), d = value(TAME);
    s[0] = random_floats((n_state - 1) * lds + n, wild);
    float *old = below(2) ? random_floats((n_state - 1) * lds + n, wild) : NULL;     /* what is read may lie elsewhere */
    bool past = below(2);
    s[1] = twin(s[0], (n_state - 1) * lds + n);
    y[0] = random_floats((n_rows - 1) * ldy + n, TAME);
    y[1] = twin(y[0], (n_rows - 1) * ldy + n);
    for (int i = 0; i < 2; i++) {
        const struct vs_cpu_ops *ops = i ? &fast : &plain;
        dt[i] = floats(n_rows);
        decay[i] = floats(n_rows);
        ops->steps(dt[i], decay[i], raw, bias, a, n_rows);
        ops->scan_heads(y[i], ldy, s[i], old ? old : s[i], lds, x, ldx, b, c, dt[i], decay[i], d, n_rows, n_state, n, past);
    }
    compare(dt[1], dt[0], n_rows, "steps");
    compare(decay[1], decay[0], n_rows, "steps, decay");
    compare(s[1], s[0], (n_state - 1) * lds + n, "scan_heads, state");
    compare(y[1], y[0], (n_rows - 1) * ldy + n, "scan_heads");
}

static void test_scan(void)
{
    size_t lds, n = lanes(&lds), n_state = between(1, 20);
    enum wild wild = some_wild();
    float *x = random_floats(n, wild), *raw = random_floats(n, wild), *a = random_floats(n_state * n, wild);
    float *b = random_floats(n_state, wild), *c = random_floats(n_state, wild), *d = random_floats(n, wild), *dt[2], *s[2], *y[2];
    s[0] = random_floats((n_state - 1) * lds + n, wild);
    float *old = below(2) ? random_floats((n_state - 1) * lds + n, wild) : NULL;     /* what is read may lie elsewhere */
    bool past = below(2);
    s[1] = twin(s[0], (n_state - 1) * lds + n);
    for (int i = 0; i < 2; i++) {
        const struct vs_cpu_ops *ops = i ? &fast : &plain;
        dt[i] = floats(n);
        y[i] = floats(n);
        ops->softplus(dt[i], raw, n);
        ops->scan(y[i], s[i], old ? old : s[i], lds, x, dt[i], a, b, c, d, n_state, n, past);
    }
    compare(dt[1], dt[0], n, "softplus");
    compare(s[1], s[0], (n_state - 1) * lds + n, "scan, state");
    compare(y[1], y[0], n, "scan");
}

static void test_delta(void)
{
    size_t lds, n = lanes(&lds), n_keys = between(1, 40);
    enum wild wild = some_wild();
    float *k = random_floats(n_keys, wild), *q = random_floats(n_keys, wild), *v = random_floats(n, wild), *s[2], *y[2];
    float beta = value(TAME), *decay = random_floats(n_keys, TAME);
    bool each = below(2);               /* a decay for each key, or one */
    s[0] = random_floats((n_keys - 1) * lds + n, wild);
    float *old = below(2) ? random_floats((n_keys - 1) * lds + n, wild) : NULL;     /* what is read may lie elsewhere */
    bool past = below(2);
    s[1] = twin(s[0], (n_keys - 1) * lds + n);
    for (int i = 0; i < 2; i++) {
        const struct vs_cpu_ops *ops = i ? &fast : &plain;
        y[i] = floats(n);
        ops->delta(y[i], s[i], old ? old : s[i], lds, k, q, v, beta, decay, each, n_keys, n, past);
    }
    compare(s[1], s[0], (n_keys - 1) * lds + n, "delta, state");
    compare(y[1], y[0], n, "delta");
    plain.sigmoid(y[0], v, n);
    fast.sigmoid(y[1], v, n);
    compare(y[1], y[0], n, "sigmoid");
}

static void test_wkv(void)
{
    size_t lds, n = lanes(&lds), n_keys = between(1, 40);
    enum wild wild = some_wild();
    float *r = random_floats(n_keys, wild), *w = random_floats(n_keys, TAME), *k = random_floats(n_keys, wild);
    float *a = random_floats(n_keys, wild), *b = random_floats(n_keys, wild), *v = random_floats(n, wild), *s[4], *y[4];
    float *before = random_floats(n, wild), *by = random_floats(n, wild);
    s[0] = random_floats((n_keys - 1) * lds + n, wild);
    float *old = below(2) ? random_floats((n_keys - 1) * lds + n, wild) : NULL;     /* what is read may lie elsewhere */
    bool past = below(2);
    for (int i = 0; i < 4; i++) {
        y[i] = floats(n);
        s[i] = i ? twin(s[0], (n_keys - 1) * lds + n) : s[0];
    }
    for (int i = 0; i < 4; i++) {
        const struct vs_cpu_ops *ops = i % 2 ? &fast : &plain;
        if (i < 2)
            ops->wkv6(y[i], s[i], old ? old : s[i], lds, r, w, k, a, v, n_keys, n, past);
        else
            ops->wkv7(y[i], s[i], old ? old : s[i], lds, r, w, k, a, b, v, n_keys, n, past);
    }
    compare(s[1], s[0], (n_keys - 1) * lds + n, "wkv6, state");
    compare(y[1], y[0], n, "wkv6");
    compare(s[3], s[2], (n_keys - 1) * lds + n, "wkv7, state");
    compare(y[3], y[2], n, "wkv7");
    plain.shift(y[0], v, before, by, n);
    fast.shift(y[1], v, before, by, n);
    compare(y[1], y[0], n, "shift");
}

static void test_rope(void)
{
    size_t pairs = length() / 4 + 1;
    float *x = random_floats(2 * pairs, some_wild()), *c = random_floats(pairs, TAME), *s = random_floats(pairs, TAME);
    for (int kind = 0; kind < 2; kind++) {
        float *want = twin(x, 2 * pairs), *got = twin(x, 2 * pairs);
        plain.rope(want, c, s, pairs, (enum vs_rope_kind)kind);
        fast.rope(got, c, s, pairs, (enum vs_rope_kind)kind);
        compare(got, want, 2 * pairs, kind ? "rope, neox" : "rope, norm");
    }
}

static bool is_nan16(uint16_t h)
{
    return (h & 0x7fff) > 0x7c00;
}

static void compare_f16(const uint16_t *got, const uint16_t *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (got[i] != want[i] && !(is_nan16(got[i]) && is_nan16(want[i])))
            fail("to_f16: %zu of %zu is %04x, plain C has %04x", i, n, got[i], want[i]);
}

static void test_conversions(void)
{
    size_t n = length();
    float *x = random_floats(n, WILD), *want = floats(n), *got = floats(n);
    for (size_t i = 0; i < n; i++)      /* where f16 rounds, overflows and is denormal */
        if (below(2))
            x[i] = vs_f32_of_bits(vs_f32_bits(x[i]) % 0x10000000 + 0x33000000) * (below(2) ? 1.0f : -1.0f);
    uint16_t *want16 = array(2 * n, NULL), *got16 = array(2 * n, NULL);
    plain.to_f16(want16, x, n);
    fast.to_f16(got16, x, n);
    compare_f16(got16, want16, n);
    for (size_t i = 0; i < n; i++)
        want16[i] = (uint16_t)random64();
    plain.from_f16(want, want16, n);
    fast.from_f16(got, want16, n);
    compare(got, want, n, "from_f16");
}

static void test_scores(void)
{
    size_t hd = between(1, 140), n_q = between(1, 13), ldq = hd + below(9);
    enum wild wild = some_wild();
    float *q = random_floats((n_q - 1) * ldq + hd, wild), *k = random_floats(hd * VS_PAGE_TOKENS, wild);
    size_t n = (n_q - 1) * VS_SCORES + VS_PAGE_TOKENS;
    float *want = random_floats(n, TAME), *got = twin(want, n);
    plain.scores(want, q, ldq, n_q, k, hd);
    fast.scores(got, q, ldq, n_q, k, hd);
    compare(got, want, n, "scores");
    uint16_t *half = array(hd * VS_PAGE_TOKENS * 2, NULL);
    plain.to_f16(half, k, hd * VS_PAGE_TOKENS);
    plain.scores_f16(want, q, ldq, n_q, half, hd);
    fast.scores_f16(got, q, ldq, n_q, half, hd);
    compare(got, want, n, "scores_f16");
}

static void test_scores_q8(void)
{
    size_t hd = between(1, 140), blocks = (hd + 31) / 32, n_q = between(1, 13);
    float *x = random_floats(n_q * hd, some_wild()), *dk = random_floats(blocks * VS_PAGE_TOKENS, some_wild());
    struct vs_act *q = array(n_q * blocks * sizeof *q, NULL);
    for (size_t i = 0; i < n_q; i++)
        plain.quantize(x + i * hd, hd, q + i * blocks, 1);
    size_t bytes = (hd + 3) / 4 * 4 * VS_PAGE_TOKENS, n = (n_q - 1) * VS_SCORES + VS_PAGE_TOKENS;
    uint8_t *k = array(bytes, NULL);
    uint32_t how = below(4);
    for (size_t i = 0; i < bytes; i++)
        k[i] = how == 0 ? 1 : how == 1 ? 255 : (uint8_t)between(1, 255);
    float *want = random_floats(n, TAME), *got = twin(want, n);
    plain.scores_q8(want, q, n_q, k, dk, hd);
    fast.scores_q8(got, q, n_q, k, dk, hd);
    compare(got, want, n, "scores_q8");
}

static struct vs_span random_span(void)
{
    uint32_t a = below(VS_SPLIT), b = below(VS_SPLIT);
    if (below(3) == 0)
        a = 0;
    if (below(3) == 0)
        b = VS_SPLIT - 1;
    return (struct vs_span){ a < b ? a : b, (a < b ? b : a) + 1 };
}

static void test_soft_max(void)
{
    struct vs_span span = random_span();
    float *want = random_floats(VS_SPLIT, WILD), *got, by = below(2) ? 1.0f : 40.0f, max[2], sum[2];
    enum wild wild = some_wild();
    for (uint32_t j = span.lo; j < span.hi; j++)         /* outside: anything, NaN too */
        want[j] = value(wild) * by;
    got = twin(want, VS_SPLIT);
    float scale = below(2) ? 0.125f : 0.0721f, cap = below(3) ? 0.0f : 50.0f;
    plain.soft_max(want, span, scale, cap, &max[0], &sum[0]);
    fast.soft_max(got, span, scale, cap, &max[1], &sum[1]);
    compare(got, want, VS_SPLIT, "soft_max");
    compare(&sum[1], &sum[0], 1, "soft_max, sum");
    if (max[0] != 0 || max[1] != 0)     /* the sign of a zero is not seen by what follows */
        compare(&max[1], &max[0], 1, "soft_max, max");
}

static void test_mix(void)
{
    size_t hd = below(2) ? 16u * between(1, 9) : between(1, 140), n_q = between(1, 13), base = VS_PAGE_TOKENS * below(4);
    enum wild wild = some_wild();
    struct vs_span *span = array(n_q * sizeof *span, NULL), first = random_span();
    bool seen[VS_PAGE_TOKENS] = { false };
    for (size_t i = 0; i < n_q; i++) {
        span[i] = first;                /* a causal run, or each its own, or none */
        if (below(2))
            first.hi += first.hi < VS_SPLIT;
        if (below(4) == 0)
            span[i] = below(4) ? random_span() : (struct vs_span){ 0, 0 };
        for (uint32_t t = 0; t < VS_PAGE_TOKENS; t++)
            seen[t] |= base + t >= span[i].lo && base + t < span[i].hi;
    }
    float *p = random_floats(n_q * VS_SCORES, TAME), *v = random_floats(VS_PAGE_TOKENS * hd, wild);
    for (size_t i = 0; i < n_q; i++)
        for (uint32_t j = 0; j < VS_SPLIT; j++)
            if (j < span[i].lo || j >= span[i].hi)
                p[i * VS_SCORES + j] = vs_f32_of_bits(0x7fa00000);
    for (size_t t = 0; t < VS_PAGE_TOKENS; t++)
        for (size_t d = 0; d < hd && !seen[t]; d++)
            v[vs_value_at(hd, t, d)] = vs_f32_of_bits(0x7fa00000);
    size_t ldo = hd + below(5), n = (n_q - 1) * ldo + hd;
    float *want = random_floats(n, TAME), *got = twin(want, n);
    plain.mix(want, ldo, p, n_q, span, base, v, hd);
    fast.mix(got, ldo, p, n_q, span, base, v, hd);
    compare(got, want, n, "mix");
    uint16_t *half = array(hd * VS_PAGE_TOKENS * 2, NULL);
    plain.to_f16(half, v, hd * VS_PAGE_TOKENS);
    plain.mix_f16(want, ldo, p, n_q, span, base, half, hd);
    fast.mix_f16(got, ldo, p, n_q, span, base, half, hd);
    compare(got, want, n, "mix_f16");
}

/* 8-bit values: p as soft_max leaves it (0 outside the span), scales that may be anything, NaN where nobody may read. */
static void test_mix_q8(void)
{
    size_t hd = below(2) ? 16u * between(1, 9) : between(1, 140), n_q = between(1, 13), ldo = hd + below(5);
    float *dv = random_floats(VS_PAGE_TOKENS, TAME), *p = floats(n_q * VS_SCORES);
    for (size_t t = 0; t < VS_PAGE_TOKENS; t++)
        dv[t] = below(30) ? vs_f32_of_bits(vs_f32_bits(dv[t]) & 0x7fffffff) : below(2) ? 0.0f : 0x1p-110f;
    struct vs_act *want8 = array(2 * n_q * sizeof *want8, NULL), *got8 = array(2 * n_q * sizeof *got8, NULL);
    for (size_t i = 0; i < n_q; i++) {
        size_t a = below(VS_PAGE_TOKENS + 1), b = below(VS_PAGE_TOKENS + 1), lo = a < b ? a : b, hi = a < b ? b : a;
        if (below(2)) {
            lo = 0;
            hi = VS_PAGE_TOKENS;
        }
        float *row = p + i * VS_SCORES, *mine = random_floats(VS_PAGE_TOKENS, TAME);
        for (size_t t = 0; t < VS_PAGE_TOKENS; t++) {
            row[t] = t >= lo && t < hi ? vs_expf(below(3) ? -10 * vs_f32_of_bits(vs_f32_bits(mine[t]) & 0x7fffffff) : 0.0f) : 0.0f;
            mine[t] = t >= lo && t < hi ? dv[t] : vs_f32_of_bits(0x7fa00000);
        }
        if (hi > lo && below(10) == 0)  /* a fault among the values */
            mine[lo] = vs_f32_of_bits(0x7fc00000);
        plain.weigh(row, mine, lo, hi, want8 + 2 * i);
        fast.weigh(row, mine, lo, hi, got8 + 2 * i);
        for (size_t b8 = 2 * i; b8 < 2 * i + 2; b8++) {
            compare(&got8[b8].d, &want8[b8].d, 1, "weigh, d");
            if (memcmp(got8[b8].q, want8[b8].q, 32) != 0)
                fail("weigh: the integers of block %zu differ", b8);
        }
    }
    size_t bytes = (hd + VS_LANES8 - 1) / VS_LANES8 * VS_LANES8 * VS_PAGE_TOKENS, n = (n_q - 1) * ldo + hd;
    int8_t *v = array(bytes, NULL);
    uint32_t how = below(4);
    for (size_t i = 0; i < bytes; i++)
        v[i] = (int8_t)(how == 0 ? 127 : how == 1 ? -127 : (int)between(0, 254) - 127);
    float *want = random_floats(n, TAME), *got = twin(want, n);
    plain.mix_q8(want, ldo, want8, n_q, v, hd);
    fast.mix_q8(got, ldo, want8, n_q, v, hd);
    compare(got, want, n, "mix_q8");
}

static void test_merge(void)
{
    size_t hd = between(1, 140);
    float *o = random_floats(hd, some_wild()), *split = random_floats(hd, TAME), *twin_o = twin(o, hd);
    float l[2], m[2], l_split = value(TAME) + 3, m_split = value(TAME) * 50;
    l[0] = l[1] = value(TAME) + 3;
    m[0] = m[1] = below(5) ? value(TAME) * 50 : -__builtin_inff();
    plain.merge(o, &l[0], &m[0], split, l_split, m_split, hd);
    fast.merge(twin_o, &l[1], &m[1], split, l_split, m_split, hd);
    compare(twin_o, o, hd, "merge, o");
    compare(&l[1], &l[0], 1, "merge, l");
    compare(&m[1], &m[0], 1, "merge, m");
}

static void test_has_fault(void)
{
    size_t n = length();
    float *x = random_floats(n, TINY);
    x[below((uint32_t)n)] = 0x1.fffffep127f;
    if (plain.has_fault(x, n) || fast.has_fault(x, n))
        fail("has_fault: finite values are called a fault");
    static const uint32_t faults[] = { 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff };
    x[below((uint32_t)n)] = vs_f32_of_bits(faults[below(5)]);
    if (!plain.has_fault(x, n) || !fast.has_fault(x, n))
        fail("has_fault: a fault among %zu values is not seen", n);
}

/* ---- matrices ---- */

/* Bytes of a block where scales (f16) lie, so that random bytes can be given finite ones. */
static const struct { enum vs_dtype dtype; int at[2]; } scales_at[] = {
    { VS_Q4_0, { 0, -1 } },      { VS_Q4_1, { 0, 2 } },       { VS_Q5_0, { 0, -1 } },      { VS_Q5_1, { 0, 2 } },
    { VS_Q8_0, { 0, -1 } },      { VS_Q2_K, { 80, 82 } },     { VS_Q3_K, { 108, -1 } },    { VS_Q4_K, { 0, 2 } },
    { VS_Q5_K, { 0, 2 } },       { VS_Q6_K, { 208, -1 } },    { VS_IQ4_NL, { 0, -1 } },    { VS_IQ4_XS, { 0, -1 } },
    { VS_IQ3_S, { 0, -1 } },     { VS_IQ3_XXS, { 0, -1 } },   { VS_IQ2_XXS, { 0, -1 } },   { VS_IQ2_XS, { 0, -1 } },
    { VS_IQ2_S, { 0, -1 } },     { VS_IQ1_S, { 0, -1 } },     { VS_TQ1_0, { 52, -1 } },    { VS_TQ2_0, { 64, -1 } },
    { VS_Q2_0, { 0, -1 } },      { VS_Q1_0, { 0, -1 } },      { VS_Q6_0, { 0, -1 } },      { VS_Q8_1, { 0, -1 } },
};

static void random_weights(const struct vs_matrix *m, uint8_t *to)
{
    const struct vs_class_info *info = &vs_class_infos[m->cls];
    const struct vs_dtype_info *type = vs_dtype_info((uint32_t)m->dtype);
    size_t n = vs_matrix_bytes(m);
    uint32_t how = below(6);
    for (size_t i = 0; i < n; i++)      /* also nothing but the largest and smallest codes */
        to[i] = how == 0 ? 0xff : how == 1 ? 0x80 : how == 2 ? (uint8_t)(below(2) ? 0xff : 0) : (uint8_t)random64();
    if (info->is_float) {
        enum wild wild = some_wild();
        for (size_t i = 0; i < n / type->block_bytes; i++) {
            float v = value(wild);
            uint16_t h = m->dtype == VS_F16 ? vs_f32_to_f16(v) : vs_f32_to_bf16(v);
            memcpy(to + i * type->block_bytes, m->dtype == VS_F32 ? (void *)&v : (void *)&h, type->block_bytes);
        }
        return;
    }
    int scales[2] = { -1, -1 };
    for (size_t i = 0; i < sizeof scales_at / sizeof *scales_at; i++)
        if (scales_at[i].dtype == m->dtype)
            memcpy(scales, scales_at[i].at, sizeof scales);
    for (size_t i = 0; i < n; i += type->block_bytes) {
        for (int k = 0; k < 2; k++) {
            uint16_t h = (uint16_t)random64();
            if ((h & 0x7c00) == 0x7c00 && (m->indexed || below(50)))     /* rarely no number, where load does not refuse it */
                h ^= 0x4000;
            if (scales[k] >= 0)
                memcpy(to + i + (size_t)scales[k], &h, 2);
        }
        if (m->dtype == VS_MXFP4)                        /* 255 is refused before a kernel sees it */
            to[i] = (uint8_t)(below(8) ? between(60, 180) : below(255));
        if (m->dtype == VS_IQ1_M)                        /* the exponent's upper bits are spread */
            to[i + 55] &= 0xbf;
    }
}

static void test_matmul(enum vs_dtype dtype)
{
    uint32_t unit = vs_dtype_info((uint32_t)dtype)->block_len;
    bool large = below(64) == 0;         /* further than kernels for many rows go at once, in rows and in columns */
    struct vs_matrix w = vs_matrix_of(dtype, between(1, below(4) || large ? 40 : 130), 0, false);
    const struct vs_class_info *info = &vs_class_infos[w.cls];
    uint32_t most = large ? 1536 : unit == 1 ? 200 : unit == 256 ? 768 : 384;
    w.n_cols = unit * between(1, most / unit);
    uint8_t *file = array(vs_matrix_bytes(&w), NULL);
    random_weights(&w, file);
    w.data = file;
    struct vs_matrix packed = w;
    packed.packed = true;
    size_t bytes = vs_matrix_bytes(&packed);
    uint8_t *panels = array(bytes + 64, NULL);           /* a vector may be read past the end (cpu/backend.c) */
    size_t n_panels = vs_matrix_n_panels(&w), cut = below((uint32_t)n_panels + 1);
    vs_matrix_pack(&packed, file + cut * VS_PANEL_ROWS * vs_matrix_row_bytes(&w), panels, cut, n_panels);
    vs_matrix_pack(&packed, file, panels, 0, cut);
    packed.data = panels;
    for (int i = 0; i < 3; i++) {                        /* a row comes out of both forms alike */
        uint32_t row = below(w.n_rows);
        float *a = floats(w.n_cols), *b = floats(w.n_cols), *c = floats(w.n_cols);
        vs_matrix_row(&w, row, a);
        vs_matrix_row(&packed, row, b);
        compare(b, a, w.n_cols, "a packed row");
        vs_dequantize(dtype, file + row * vs_matrix_row_bytes(&w), c, w.n_cols);
        if (w.indexed)
            compare(a, c, w.n_cols, "a row as the file defines it");
        /* the file's definition may round otherwise, by an ulp of the largest term */
        for (size_t k = 0; k < w.n_cols; k++)
            if (!(vs_absf(a[k] - c[k]) <= 1e-5f * (vs_absf(a[k]) + vs_absf(c[k]) + 70000.0f)) && a[k] == a[k] &&
                vs_absf(a[k]) < 1e30f)
                fail("row %u, element %zu: %a, the file says %a", row, k, (double)a[k], (double)c[k]);
    }

    bool high = !info->is_float && below(3) == 0;
    size_t n = between(1, large ? 150 : below(3) ? 9 : 40), blocks = (w.n_cols + 31) / 32;
    size_t ldx = w.n_cols + below(5), ldy = w.n_rows + below(5);
    float *x = random_floats((n - 1) * ldx + w.n_cols, some_wild());
    if (below(4) == 0)                                   /* every activation at the end of its range */
        for (size_t i = 0; i < (n - 1) * ldx + w.n_cols; i++)
            x[i] = below(16) ? 1.0f : -1.0f;
    size_t pair = high ? 2 : 1;
    struct vs_act *act = array(pair * n * blocks * sizeof *act, NULL);
    for (size_t i = 0; i < n && !info->is_float; i++)
        (high ? plain.quantize_high : plain.quantize)(x + i * ldx, w.n_cols, act + vs_act_index(blocks, pair * i),
                                                      vs_act_width(pair * n, pair * i));
    size_t n_y = (n - 1) * ldy + w.n_rows;
    float *want = random_floats(n_y, TAME), *got = twin(want, n_y);
    struct vs_matmul m = {
        .w = &w, .n = n, .high = high, .x = act, .xf = x, .ldx = ldx, .y = want, .ldy = ldy,
        .bias = below(2) ? random_floats(w.n_rows, TAME) : NULL, .prefetch = fast.prefetch, .cached = below(2),
    };
    uint32_t residual = below(3);
    m.residual = residual == 0 ? NULL : residual == 1 ? want : random_floats(n_y, TAME);
    size_t begin = below((uint32_t)n_panels), end = between((uint32_t)begin, (uint32_t)n_panels);
    if (below(2)) {
        begin = 0;
        end = n_panels;
    }
    plain.matmul(&m, begin, end);
    m.w = fast.packed ? &packed : &w;
    m.y = got;
    m.residual = residual == 1 ? got : m.residual;
    fast.matmul(&m, begin, end);
    char what[80];
    snprintf(what, sizeof what, "matmul%s %s, %u x %u, %zu rows of x", high ? " high" : "", vs_dtype_info((uint32_t)dtype)->name,
             w.n_rows, w.n_cols, n);
    compare(got, want, n_y, what);
}

/* ---- all arguments ---- */

enum { AT_ONCE = 1 << 15 };

static struct vs_cpu_ops levels[VS_N_ISAS];      /* those that this processor runs */

#define EACH_OTHER(slot)                                                                     \
    for (int isa = 1; isa <= (int)vs_isa_best(); isa++)                                      \
        if (fast = levels[isa], fast.slot != plain.slot)

/* These floats through everything that takes one. */
static void all_slots(float *x)
{
    static float up[AT_ONCE], want[AT_ONCE], got[AT_ONCE];
    static uint16_t want16[AT_ONCE], got16[AT_ONCE];
    plain.to_f16(want16, x, AT_ONCE);
    EACH_OTHER(to_f16) {
        fast.to_f16(got16, x, AT_ONCE);
        compare_f16(got16, want16, AT_ONCE);
    }
    for (size_t i = 0; i < AT_ONCE; i++)
        up[i] = 1.0f;
    for (int k = 0; k < 3; k++) {
        plain.glu(want, x, up, AT_ONCE, gated[k]);
        EACH_OTHER(glu) {
            fast.glu(got, x, up, AT_ONCE, gated[k]);
            compare(got, want, AT_ONCE, gated_names[k]);
        }
    }
    plain.softcap(want, x, 30.0f, AT_ONCE);
    EACH_OTHER(softcap) {
        fast.softcap(got, x, 30.0f, AT_ONCE);
        compare(got, want, AT_ONCE, "softcap of all floats");
    }
    for (size_t i = 0; i + VS_SPLIT <= AT_ONCE; i += VS_SPLIT) {
        /* the largest is 0, so that the others go through the exponential as they are */
        float in[VS_SPLIT], max[2], sum[2];
        for (size_t j = 0; j < VS_SPLIT; j++)
            in[j] = j ? -vs_absf(x[i + j]) : 0.0f;
        memcpy(want, in, sizeof in);
        plain.soft_max(want, (struct vs_span){ 0, VS_SPLIT }, 1.0f, 0, &max[0], &sum[0]);
        EACH_OTHER(soft_max) {
            memcpy(got, in, sizeof in);
            fast.soft_max(got, (struct vs_span){ 0, VS_SPLIT }, 1.0f, 0, &max[1], &sum[1]);
            compare(got, want, VS_SPLIT, "soft_max of all floats");
            compare(&sum[1], &sum[0], 1, "soft_max of all floats, sum");
        }
    }
    for (size_t i = 0; i + 32 <= AT_ONCE; i += 32) {
        _Alignas(64) struct vs_act a[2], h[2][2];        /* 2 sets the scale, so that the others meet every rounding */
        if (vs_absf(x[i]) > 2.0f || vs_absf(x[i + 31]) > 2.0f)
            continue;
        x[i] = 2.0f;
        plain.quantize(x + i, 32, &a[0], 1);
        plain.quantize_high(x + i, 32, h[0], 2);
        for (int isa = 1; isa <= (int)vs_isa_best(); isa++) {
            fast = levels[isa];
            fast.quantize(x + i, 32, &a[1], 1);
            compare_bytes(&a[1], &a[0], sizeof a[0], "quantize of all floats");
            fast.quantize_high(x + i, 32, h[1], 2);
            compare_bytes(h[1], h[0], sizeof h[0], "quantize_high of all floats");
        }
    }
}

/* Every stride-th float of part `part` of n. */
static void sweep(uint32_t stride, uint64_t part, uint64_t n)
{
    static float x[AT_ONCE];
    for (uint64_t first = part * AT_ONCE * stride; first < UINT64_C(1) << 32; first += n * AT_ONCE * stride) {
        for (uint64_t i = 0; i < AT_ONCE; i++)
            x[i] = vs_f32_of_bits((uint32_t)(first + i * stride));
        all_slots(x);
    }
}

static void sweep_f16(void)
{
    static uint16_t in[65536], got16[65536];
    static float want[65536], got[65536];
    for (uint32_t i = 0; i < 65536; i++)
        in[i] = (uint16_t)i;
    plain.from_f16(want, in, 65536);
    for (int isa = 0; isa <= (int)vs_isa_best(); isa++) {
        fast = levels[isa];
        fast.from_f16(got, in, 65536);
        compare(got, want, 65536, "from_f16 of all");
        fast.to_f16(got16, want, 65536);                 /* there and back */
        compare_f16(got16, in, 65536);
    }
}

/* All 2^32, shared among processes: one for each processor. */
static void sweep_all(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    n = n < 1 ? 1 : n > 64 ? 64 : n;
    for (long part = 0; part < n; part++) {
        pid_t pid = fork();
        if (pid < 0)
            fail("no process");
        if (pid == 0) {
            sweep(1, (uint64_t)part, (uint64_t)n);
            exit(0);
        }
    }
    for (long part = 0; part < n; part++) {
        int status;
        if (wait(&status) < 0 || status != 0)
            fail("a process that compares all floats");
    }
}

static void random_cases(void (*const tests[])(void), size_t n_tests)
{
    size_t n = 0;
    for (unsigned round = 0; round < n_rounds; round++) {
        for (size_t t = 0; t < n_tests; t++, n++) {
            tests[t]();
            forget_arrays("a kernel");
        }
        const struct vs_dtype_info *type;
        for (size_t i = 0; (type = vs_dtype_at(i)) != NULL; i++)
            if (type->computable) {
                test_matmul((enum vs_dtype)type->id);
                forget_arrays("matmul");
                n++;
            }
    }
    printf("%s: %zu random cases: as plain C\n", fast.name, n);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    all = argc > 1 && strcmp(argv[1], "all") == 0;
    if (all)
        n_rounds *= 10;
    if (argc > 1 && strcmp(argv[1], "brief") == 0)
        n_rounds /= 10;
    static void (*const tests[])(void) = { test_rms_norm, test_quantize, test_glu, test_simple, test_conv, test_scan_heads,
                                           test_scan, test_delta, test_wkv, test_rope,
                                           test_conversions,
                                           test_scores, test_scores_q8, test_soft_max, test_mix, test_mix_q8, test_merge,
                                           test_has_fault };
    enum { N_TESTS = sizeof tests / sizeof *tests };
    vs_fp_control_set();
    vs_cpu_ops_init(&plain, VS_ISA_C);
    for (int isa = 0; isa <= (int)vs_isa_best(); isa++)
        vs_cpu_ops_init(&levels[isa], (enum vs_isa)isa);
    for (int isa = 0; isa <= (int)vs_isa_best(); isa++) {
        fast = levels[isa];
        random_cases(tests, N_TESTS);
    }
#if defined(__x86_64__)
    /* the other encoding of avxvnni, which a processor with both does not choose */
    if (vs_isa_best() >= VS_ISA_AVX512) {
        vs_cpu_ops_init(&fast, VS_ISA_AVXVNNI);
        vs_cpu_matmul_init_avx512vl(&fast);
        fast.name = "avxvnni, EVEX";
        random_cases(tests, 0);
    }
#endif
    sweep_f16();
    if (all)
        sweep_all();
    else
        sweep(n_rounds < 300 ? 65521 : 4099, 0, 1);
    printf("%s floats through conversions, GLU, soft-max and quantisers: as plain C\n", all ? "all 2^32" : "sampled");
    return 0;
}
