/* cpu/ops.h - the table of kernels: one plain C version of each (the oracle), replaced slot by slot by what the CPU does faster.
 *
 * Every version of a slot gives the same bits (docs/NUMERICS.md): lanes are outputs, keys or the contract's 16 virtual
 * lanes, never a partial sum of their own. Kernels allocate nothing and touch no memory but what is named.
 * f32 arrays need no alignment; vs_act arrays are 64-byte aligned.
 */
#ifndef VS_CPU_OPS_H
#define VS_CPU_OPS_H
#include "backend/page.h"
#include "base/num.h"
#include "cpu/matrix.h"
#include "graph/graph.h"

/* What to ask memory for ahead of its use.
 * few_even, few, many: how many bytes ahead a kernel asks for weights, 0 = not at all: when one or two rows of x use them, in
 * classes whose codes lie in one even stream and in those that read codes, high bits and scales to and fro, and when more do. NEON
 * asks for nothing. From the ninth row on the weights come from the L2 cache, which is asked 2 KiB ahead in any case.
 * lines: kernels of attention that read a page from memory ask for the next pages line by line; else attention.c asks for whole
 * pages. */
struct vs_prefetch {
    uint16_t few_even, few, many;
    bool lines;
};

/* Rows of x that a kernel may unpack weights for at once: who cuts rows into pieces cuts at multiples of it. */
enum { VS_MANY_ROWS = 64 };

/* y[n, n_rows of w] = x @ w^T for panels [begin, end) of w; element (i, r) goes to y[i * ldy + r]. */
struct vs_matmul {
    const struct vs_matrix *w;
    size_t n;                           /* rows of x */
    const struct vs_act *x;             /* quantised rows (block formats), in panels as vs_act_index says */
    bool high;                          /* x are pairs of rows: row i is 254 * (row 2i) + (row 2i + 1), scale and sums in row 2i */
    const float *xf;                    /* f32 rows (float formats), xf[i * ldx + k] */
    size_t ldx;
    float *y;
    size_t ldy;
    const float *bias;                  /* [n_rows] added first, or NULL */
    const float *residual;              /* residual[i * ldy + r] added last, or NULL; may be y itself */
    struct vs_prefetch prefetch;
    bool cached;                        /* rows before these used the same weights, which are in the L2 cache */
};

enum vs_rope_kind { VS_ROPE_NORM, VS_ROPE_NEOX };      /* pairs (2i, 2i + 1) or (i, i + n_pairs) */

/* attention split, in absolute positions; runs of 32 in a KV page */
enum { VS_SPLIT = 256, VS_PAGE_BLOCKS = VS_PAGE_TOKENS / 32 };
/* floats from one query's scores to the next: no power of two, so that they spread over a cache */
enum { VS_SCORES = VS_SPLIT + 16 };

/* Where a page (one head, 64 tokens) keeps an element, in elements. Keys lie in groups of 32 tokens with their dimensions one
 * after the other, values in groups of 32 dimensions with their tokens one after the other; bytes in groups of 16 (VS_LANES8), four
 * of what is summed over side by side. A kernel's pass over a group reads memory in order. */
enum { VS_KEY_GROUP = 32, VS_LANES8 = 16, VS_VALUE_GROUP = 32 };
static inline size_t vs_key_at(size_t head_dim, size_t d, size_t t)
{
    return (t / VS_KEY_GROUP * head_dim + d) * VS_KEY_GROUP + t % VS_KEY_GROUP;
}
static inline size_t vs_key8_at(size_t head_dim, size_t d, size_t t)
{
    return ((t / VS_LANES8 * ((head_dim + 3) / 4) + d / 4) * VS_LANES8 + t % VS_LANES8) * 4 + d % 4;
}
static inline size_t vs_value8_at(size_t t, size_t d)
{
    return ((d / VS_LANES8 * (VS_PAGE_TOKENS / 4) + t / 4) * VS_LANES8 + d % VS_LANES8) * 4 + t % 4;
}
static inline size_t vs_value_width(size_t head_dim, size_t d)        /* dimensions in the group that holds d */
{
    size_t first = d - d % VS_VALUE_GROUP;
    return head_dim - first < VS_VALUE_GROUP ? head_dim - first : VS_VALUE_GROUP;
}
static inline size_t vs_value_at(size_t head_dim, size_t t, size_t d)
{
    return (d - d % VS_VALUE_GROUP) * VS_PAGE_TOKENS + t * vs_value_width(head_dim, d) + d % VS_VALUE_GROUP;
}

/* The part of one attention split that one query sees: keys [lo, hi) of the split (0 <= lo < hi <= 256). */
struct vs_span { uint32_t lo, hi; };

/* An end of a span as a key of the page that begins at key `base` of the split: 0 .. VS_PAGE_TOKENS. */
static inline size_t vs_in_page(uint32_t at, size_t base)
{
    size_t t = at > base ? at - base : 0;
    return t < VS_PAGE_TOKENS ? t : VS_PAGE_TOKENS;
}

struct vs_cpu_ops {
    const char *name;                   /* of the level */
    bool packed;                        /* computes from panels; plain C computes from the file's blocks */
    struct vs_prefetch prefetch;        /* what suits this processor; for vs_matmul.prefetch */

    /* y = x / sqrt(mean(x^2) + eps) * w. w NULL = ones. y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *w, size_t n, float eps);
    /* y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * w + bias. w NULL = ones, bias NULL = zeros. y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *w, const float *bias, size_t n, float eps);
    /* n / 32 blocks (the last may be short: zeros follow) of one row to dst[0], dst[stride], ... */
    void (*quantize)(const float *x, size_t n, struct vs_act *dst, size_t stride);
    /* The same to 16 bits (VNC-1H): block b to dst[b * stride] and dst[b * stride + 1] */
    void (*quantize_high)(const float *x, size_t n, struct vs_act *dst, size_t stride);
    void (*matmul)(const struct vs_matmul *m, size_t begin, size_t end);
    /* y = act(gate) * up (glu.h); y may be gate or up */
    void (*glu)(float *y, const float *gate, const float *up, size_t n, enum vs_activation act);
    void (*relu2)(float *y, const float *x, size_t n);                   /* max(x, 0)^2, NaN stays NaN; y may be x */
    /* p = alpha of x > 0, of the others, beta, eps. x > 0: fma(x * x, p0, p2 * x), else fma(exp(min(x, p3)) - 1 - x, p1, p2 * x).
     * y may be x */
    void (*xielu)(float *y, const float *x, size_t n, const float p[4]);
    void (*add)(float *y, const float *a, const float *b, size_t n);
    void (*mul)(float *y, const float *a, const float *b, size_t n);
    /* y[i] = chain of fma from bias[i] (NULL: 0) over taps j ascending of w[j * n + i] * u[j][i] */
    void (*conv)(float *y, const float *const *u, const float *w, const float *bias, size_t n_taps, size_t n);
    /* dt = softplus(x + bias), decay = exp(dt * a) */
    void (*steps)(float *dt, float *decay, const float *x, float bias, float a, size_t n);
    void (*softplus)(float *y, const float *x, size_t n);
    void (*sigmoid)(float *y, const float *x, size_t n);
    /* States: s[k] are the lanes at s + k * lds. What a row reads of them is at `old`, which may be s. `past`: nobody reads
     * what is left for a while, so it may go past the caches; it bypasses them only where rows of s are whole cache lines.
     * n lanes of a head through n_rows rows, each from the state that the row before it left:
     * s[k] = fma(dt * x, b[k], s[k] * decay), k = 0 .. n_state - 1; y = fma(d, x, chain over k of fma(s[k], c[k], y) from 0).
     * Row t: y + t * ldy, x + t * ldx, b and c + t * ldx, dt[t], decay[t] */
    void (*scan_heads)(float *y, size_t ldy, float *s, const float *old, size_t lds, const float *x, size_t ldx, const float *b,
                       const float *c, const float *dt, const float *decay, float d, size_t n_rows, size_t n_state, size_t n,
                       bool past);
    /* One row of n channels, each with its own step: s[k] = fma(dt * x, b[k], s[k] * exp(dt * a[k])), y as above; a[k * n + i] */
    void (*scan)(float *y, float *s, const float *old, size_t lds, const float *x, const float *dt, const float *a, const float *b,
                 const float *c, const float *d, size_t n_state, size_t n, bool past);
    /* One row of n lanes of a head: r = chain over j of fma(s[j] * decay, k[j], r) from 0, d = beta * (v - r); then for j ascending
     * s[j] = fma(k[j], d, s[j] * decay), y = fma(s[j], q[j], y) from 0. decay is *decay, or (each) decay[j] */
    void (*delta)(float *y, float *s, const float *old, size_t lds, const float *k, const float *q, const float *v, float beta,
                  const float *decay, bool each, size_t n_keys, size_t n, bool past);
    /* y = fma(w, before - x, x) */
    void (*shift)(float *y, const float *x, const float *before, const float *w, size_t n);
    /* One row of n lanes of a head; for j ascending, with m = k[j] * v: y = fma(fma(u[j], m, s[j]), r[j], y) from 0, then
     * s[j] = fma(s[j], w[j], m) */
    void (*wkv6)(float *y, float *s, const float *old, size_t lds, const float *r, const float *w, const float *k, const float *u,
                 const float *v, size_t n_keys, size_t n, bool past);
    /* The same: h = chain over j of fma(s[j], a[j], h) from 0; then s[j] = fma(k[j], v, fma(b[j], -h, s[j] * w[j])),
     * y = fma(s[j], r[j], y) from 0 */
    void (*wkv7)(float *y, float *s, const float *old, size_t lds, const float *r, const float *w, const float *k, const float *a,
                 const float *b, const float *v, size_t n_keys, size_t n, bool past);
    void (*scale)(float *y, const float *x, float s, size_t n);
    void (*add_scaled)(float *y, const float *x, float s, size_t n);     /* y = fma(x, s, y) */
    void (*softcap)(float *y, const float *x, float cap, size_t n);      /* cap * tanh(x / cap) */
    void (*rope)(float *x, const float *cosine, const float *sine, size_t n_pairs, enum vs_rope_kind kind);

    void (*to_f16)(uint16_t *y, const float *x, size_t n);
    void (*from_f16)(float *y, const uint16_t *x, size_t n);

    /* One page of keys: s[i * VS_SCORES + t] = chain over d ascending of q[i * ldq + d] * K(d, t), t in 0..63; K as vs_key_at
     * says */
    void (*scores)(float *s, const float *q, size_t ldq, size_t n_q, const float *k, size_t head_dim);
    void (*scores_f16)(float *s, const float *q, size_t ldq, size_t n_q, const uint16_t *k, size_t head_dim);
    /* The same for 8-bit keys: q[i * n_blocks + b], n_blocks = ceil(head_dim / 32), are the queries, a byte of k is a key's element
     * + 128, where vs_key8_at says; s = chain over b of RN(exact integer dot) * RN(dk[b * 64 + t] * q.d) */
    void (*scores_q8)(float *s, const struct vs_act *q, size_t n_q, const uint8_t *k, const float *dk, size_t head_dim);
    /* In place on s[0..256), only the span counts: s = s * scale, softcap (0 = none), max, s = exp(s - max); what lies
     * outside the span becomes 0. *ret_sum in 16 lanes and tree. */
    void (*soft_max)(float *s, struct vs_span span, float scale, float cap, float *ret_max, float *ret_sum);
    /* One page of values: o[i * ldo + d] continued by the chain over keys t, base + t within span[i], of p[i * VS_SCORES + base +
     * t] * V(t, d); V as vs_value_at says */
    void (*mix)(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                size_t base, const float *v, size_t head_dim);
    void (*mix_f16)(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                    size_t base, const uint16_t *v, size_t head_dim);
    /* The weights of 8-bit values: block b of dst[VS_PAGE_BLOCKS] gets (q and d only) p[32b .. 32b + 31] * dv[...] by the rule of
     * activations, where p and dv count as 0 outside [lo, hi) and dv is not read there; p >= 0, so q is 0..127 */
    void (*weigh)(const float *p, const float *dv, size_t lo, size_t hi, struct vs_act *dst);
    /* One page of 8-bit values: o[i * ldo + d] continued by fma(RN(exact integer dot), p.d, o) for p[2i], then p[2i + 1]; V as
     * vs_value8_at says */
    void (*mix_q8)(float *o, size_t ldo, const struct vs_act *p, size_t n_q, const int8_t *v, size_t head_dim);
    /* l = fma(l_split, b, l * a), o = fma(o_split, b, o * a) with a = exp(m - max), b = exp(m_split - max) */
    void (*merge)(float *o, float *l, float *m, const float *o_split, float l_split, float m_split, size_t head_dim);
    /* Greatest |x| as bits are compared: true when some x is NaN or infinite. */
    bool (*has_fault)(const float *x, size_t n);
};

/* What this CPU can do, and a mask for tests. */
#if defined(__aarch64__)
enum vs_isa { VS_ISA_C, VS_ISA_NEON, VS_ISA_I8MM, VS_N_ISAS };       /* NEON: Armv8.2 with the dot instruction */
#else
enum vs_isa { VS_ISA_C, VS_ISA_AVX2, VS_ISA_AVXVNNI, VS_ISA_AVX512, VS_N_ISAS };     /* AVX-512: with VNNI */
#endif
const char *vs_isa_name(enum vs_isa isa);                /* "c", "avx2", "avxvnni", "avx512"; "c", "neon", "i8mm" */
int vs_isa_parse(const char *name);                      /* -1 when unknown; "auto" gives vs_isa_best() */
enum vs_isa vs_isa_best(void);                           /* the highest that this CPU runs */

/* Fills the table for isa, which must not be above vs_isa_best(). */
void vs_cpu_ops_init(struct vs_cpu_ops *ops, enum vs_isa isa);

/* One per instruction set; each replaces the slots it does faster. */
void vs_cpu_ops_init_c(struct vs_cpu_ops *ops);
void vs_cpu_scan_init_c(struct vs_cpu_ops *ops);
void vs_cpu_ops_init_avx2(struct vs_cpu_ops *ops);
void vs_cpu_matmul_init_avx2(struct vs_cpu_ops *ops);
void vs_cpu_scan_init_avx2(struct vs_cpu_ops *ops);
void vs_cpu_matmul_init_avxvnni(struct vs_cpu_ops *ops);
void vs_cpu_matmul_init_avx512vl(struct vs_cpu_ops *ops);
void vs_cpu_ops_init_avx512(struct vs_cpu_ops *ops);
void vs_cpu_matmul_init_avx512(struct vs_cpu_ops *ops);
void vs_cpu_scan_init_avx512(struct vs_cpu_ops *ops);
void vs_cpu_ops_init_neon(struct vs_cpu_ops *ops);
void vs_cpu_matmul_init_neon(struct vs_cpu_ops *ops);
void vs_cpu_scan_init_neon(struct vs_cpu_ops *ops);
void vs_cpu_matmul_init_i8mm(struct vs_cpu_ops *ops);
#endif
