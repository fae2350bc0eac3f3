/* tensor/quantize_grid.c - see quantize_grid.h */
#include "tensor/quantize_grid.h"
#include "tensor/grids.h"
#include "tensor/indexed.h"

#include "base/bytes.h"
#include "base/num.h"

#include <assert.h>
#include <pthread.h>

enum { SUPER = 256, GROUPS = SUPER / 8, NEAR = 24, MOST_POINTS = 6561 };

/* What a block becomes. Entries: one for each group of eight, or two. */
struct found {
    uint16_t d;                          /* f16 */
    uint8_t sub[16];                     /* of runs */
    uint16_t entry[2 * GROUPS];
    uint8_t signs[GROUPS];
    bool minus[GROUPS];                  /* IQ1: an eighth is taken away, not added */
};

struct kind {
    enum vs_dtype dtype;
    const uint16_t *grid;
    uint16_t n;
    uint8_t len, bits, levels;           /* elements of an entry; bits of an element, and how many values of it are used */
    uint8_t top;                         /* the largest sub-scale */
    bool has_signs, even;                /* of each element; their number is even */
    enum { NO_SHIFT, SHIFT_OF_RUN, SHIFT_OF_GROUP } shift;
    void (*pack)(const struct found *f, uint8_t *b);
    uint16_t (*near)[NEAR];              /* [points]: entries nearest to the point, the best first */
    pthread_once_t *once;
    void (*make)(void);
};

/* ---- how blocks hold it ---- */

static void put_nibble(uint8_t *p, unsigned i, unsigned v)
{
    p[i / 2] |= (uint8_t)(v << i % 2 * 4);
}

/* Signs and sub-scale in one word for each run of 32. */
static void put_words(const struct found *f, uint8_t *at, size_t step)
{
    for (unsigned r = 0; r < 8; r++) {
        uint32_t word = (uint32_t)f->sub[r] << 28;
        for (unsigned l = 0; l < 4; l++)
            word |= (uint32_t)(f->signs[4 * r + l] & 127) << 7 * l;
        vs_store_u32le(at + step * r, word);
    }
}

static void pack_iq2_xxs(const struct found *f, uint8_t *b)
{
    vs_store_u16le(b, f->d);
    put_words(f, b + 6, 8);
    for (unsigned g = 0; g < GROUPS; g++)
        b[2 + 8 * (g / 4) + g % 4] = (uint8_t)f->entry[g];
}

static void pack_iq2_xs(const struct found *f, uint8_t *b)
{
    vs_store_u16le(b, f->d);
    for (unsigned g = 0; g < GROUPS; g++)
        vs_store_u16le(b + 2 + 2 * g, (uint16_t)(f->entry[g] | (f->signs[g] & 127) << 9));
    for (unsigned r = 0; r < 16; r++)
        put_nibble(b + 66, r, f->sub[r]);
}

static void pack_iq2_s(const struct found *f, uint8_t *b)
{
    vs_store_u16le(b, f->d);
    for (unsigned g = 0; g < GROUPS; g++) {
        b[2 + g] = (uint8_t)f->entry[g];
        b[34 + g] = f->signs[g];
        b[66 + g / 4] |= (uint8_t)(f->entry[g] >> 8 << g % 4 * 2);
    }
    for (unsigned r = 0; r < 16; r++)
        put_nibble(b + 74, r, f->sub[r]);
}

static void pack_iq3_xxs(const struct found *f, uint8_t *b)
{
    vs_store_u16le(b, f->d);
    put_words(f, b + 66, 4);
    for (unsigned e = 0; e < 2 * GROUPS; e++)
        b[2 + e] = (uint8_t)f->entry[e];
}

static void pack_iq3_s(const struct found *f, uint8_t *b)
{
    vs_store_u16le(b, f->d);
    for (unsigned e = 0; e < 2 * GROUPS; e++) {
        b[2 + e] = (uint8_t)f->entry[e];
        b[66 + e / 8] |= (uint8_t)(f->entry[e] >> 8 << e % 8);
    }
    for (unsigned g = 0; g < GROUPS; g++)
        b[74 + g] = f->signs[g];
    for (unsigned r = 0; r < 8; r++)
        put_nibble(b + 106, r, f->sub[r]);
}

static void pack_iq1_s(const struct found *f, uint8_t *b)
{
    vs_store_u16le(b, f->d);
    for (unsigned r = 0; r < 8; r++) {
        unsigned h = (unsigned)f->sub[r] << 12 | (f->minus[4 * r] ? 1u << 15 : 0);
        for (unsigned l = 0; l < 4; l++) {
            b[2 + 4 * r + l] = (uint8_t)f->entry[4 * r + l];
            h |= (unsigned)f->entry[4 * r + l] >> 8 << 3 * l;
        }
        vs_store_u16le(b + 34 + 2 * r, (uint16_t)h);
    }
}

static void pack_iq1_m(const struct found *f, uint8_t *b)
{
    for (unsigned g = 0; g < GROUPS; g++) {
        b[g] = (uint8_t)f->entry[g];
        put_nibble(b + 32, g, f->entry[g] >> 8 | (f->minus[g] ? 8u : 0));
    }
    for (unsigned i = 0; i < 4; i++) {
        unsigned word = (unsigned)(f->d >> 4 * i & 15) << 12;
        for (unsigned r = 0; r < 4; r++)
            word |= (unsigned)f->sub[4 * i + r] << 3 * r;
        vs_store_u16le(b + 48 + 2 * i, (uint16_t)word);
    }
}

/* ---- the table ---- */

#define KINDS(X) \
    X(IQ2_XXS, iq2_xxs, iq2_xxs, 256,  8, 2, 3, 15, true,  true,  NO_SHIFT) \
    X(IQ2_XS,  iq2_xs,  iq2_xs,  512,  8, 2, 3, 15, true,  true,  NO_SHIFT) \
    X(IQ2_S,   iq2_s,   iq2_s,   1024, 8, 2, 3, 15, true,  false, NO_SHIFT) \
    X(IQ3_XXS, iq3_xxs, iq3_xxs, 256,  4, 3, 8, 15, true,  true,  NO_SHIFT) \
    X(IQ3_S,   iq3_s,   iq3_s,   512,  4, 3, 8, 15, true,  false, NO_SHIFT) \
    X(IQ1_S,   iq1_s,   iq1,     2048, 8, 2, 3, 7,  false, false, SHIFT_OF_RUN) \
    X(IQ1_M,   iq1_m,   iq1,     2048, 8, 2, 3, 7,  false, false, SHIFT_OF_GROUP)

#define STORE(name, low, grid, n, len, bits, levels, top, has_signs, even, shift) \
    static uint16_t near_##low[MOST_POINTS][NEAR]; \
    static pthread_once_t once_##low = PTHREAD_ONCE_INIT; \
    static void make_##low(void);
KINDS(STORE)

#define ROW(name, low, grid, n, len, bits, levels, top, has_signs, even, shift) \
    { VS_##name, vs_grid_##grid, n, len, bits, levels, top, has_signs, even, shift, pack_##low, near_##low, &once_##low, \
      make_##low },
static const struct kind kinds[] = { KINDS(ROW) };

static const struct kind *kind_of(enum vs_dtype dtype)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].dtype == dtype)
            return &kinds[i];
    return NULL;
}

bool vs_quantize_grid_makes(enum vs_dtype dtype)
{
    return kind_of(dtype) != NULL;
}

static unsigned element(const struct kind *k, unsigned entry, unsigned i)
{
    return k->grid[entry] >> k->bits * i & ((1u << k->bits) - 1);
}

/* A point has a value of its own in each place: the entries that lie nearest, ascending by distance, then by number. */
static void make_point(const struct kind *k, const int8_t *values, unsigned point)
{
    int digit[8], far[NEAR];
    unsigned n = 0;
    for (unsigned i = 0, rest = point; i < k->len; i++, rest /= k->levels)
        digit[i] = values[rest % k->levels];
    for (unsigned e = 0; e < k->n; e++) {
        int distance = 0;
        for (unsigned i = 0; i < k->len; i++) {
            int off = digit[i] - values[element(k, e, i)];
            distance += off * off;
        }
        unsigned at = n;
        while (at > 0 && far[at - 1] > distance)
            at--;
        if (at == NEAR)
            continue;
        for (unsigned i = n < NEAR ? n : NEAR - 1; i > at; i--) {
            far[i] = far[i - 1];
            k->near[point][i] = k->near[point][i - 1];
        }
        far[at] = distance;
        k->near[point][at] = (uint16_t)e;
        n = n < NEAR ? n + 1 : NEAR;
    }
}

static void make_near(enum vs_dtype dtype)
{
    const struct kind *k = kind_of(dtype);
    unsigned n = 1;
    for (unsigned i = 0; i < k->len; i++)
        n *= k->levels;
    assert(n <= MOST_POINTS);
    for (unsigned p = 0; p < n; p++)
        make_point(k, vs_indexed_of(dtype)->values, p);
}

#define MAKE(name, low, grid, n, len, bits, levels, top, has_signs, even, shift) \
    static void make_##low(void) { make_near(VS_##name); }
KINDS(MAKE)

/* ---- one group of eight ---- */

/* What it is matched with, and how well: error, sum of w x q and of w q q, where q are the values that stand there. */
struct match {
    uint16_t entry[2];
    uint8_t signs;
    bool minus;
    double error, xq, qq;
};

static unsigned level_of(const struct kind *k, const int8_t *values, float v)
{
    unsigned best = 0;
    for (unsigned i = 1; i < k->levels; i++)
        if (vs_absf(v - (float)values[i]) < vs_absf(v - (float)values[best]))
            best = i;
    return best;
}

/* The best of the entries near to v[len]. */
static unsigned entry_for(const struct kind *k, const int8_t *values, const float *v, const float *w)
{
    unsigned point = 0, best = 0;
    float least = 0;
    for (unsigned i = k->len; i-- > 0;)
        point = point * k->levels + level_of(k, values, v[i]);
    const uint16_t *near = k->near[point];
    for (unsigned c = 0; c < NEAR; c++) {
        float sum = 0;
        for (unsigned i = 0; i < k->len; i++) {
            float off = v[i] - (float)values[element(k, near[c], i)];
            sum += w[i] * off * off;
        }
        if (c == 0 || sum < least) {
            least = sum;
            best = near[c];
        }
    }
    return best;
}

/* Signs of eight elements, whose magnitudes remain; where they must be even the one that matters least gives way. */
static unsigned take_signs(float v[8], const float *w, bool even)
{
    unsigned signs = 0, least = 0;
    for (unsigned i = 0; i < 8; i++) {
        signs |= (unsigned)(v[i] < 0) << i;
        v[i] = vs_absf(v[i]);
        if (w[i] * v[i] * v[i] < w[least] * v[least] * v[least])
            least = i;
    }
    if (even && __builtin_parity(signs)) {
        signs ^= 1u << least;
        v[least] = -v[least];
    }
    return signs;
}

static struct match match_with(const struct kind *k, const int8_t *values, const float *x, const float *w, float scale, bool minus)
{
    struct match m = { .minus = minus };
    float v[8], id = scale != 0 ? 1 / scale : 0;
    for (unsigned i = 0; i < 8; i++)
        v[i] = x[i] * id;
    m.signs = k->has_signs ? (uint8_t)take_signs(v, w, k->even) : 0;
    for (unsigned part = 0; part < 8u / k->len; part++) {
        m.entry[part] = (uint16_t)entry_for(k, values, v + part * k->len, w + part * k->len);
        for (unsigned i = part * k->len; i < (part + 1u) * k->len; i++) {
            double q = values[element(k, m.entry[part], i - part * k->len)];
            q = m.signs >> i & 1 ? -q : q;
            double off = (double)scale * q - (double)x[i];
            m.error += (double)w[i] * off * off;
            m.xq += (double)w[i] * (double)x[i] * q;
            m.qq += (double)w[i] * q * q;
        }
    }
    return m;
}

/* shift: 0 an eighth more, 1 an eighth less, 2 whichever is better. */
static struct match match(const struct kind *k, const float *x, const float *w, float scale, int shift)
{
    const int8_t *values = vs_indexed_of(k->dtype)->values;
    struct match more = match_with(k, values + (shift == 1 ? 4 : 0), x, w, scale, shift == 1);
    if (shift < 2)
        return more;
    struct match less = match_with(k, values + 4, x, w, scale, true);
    return less.error < more.error ? less : more;
}

/* ---- runs ---- */

struct run_of {
    const struct kind *k;
    const float *x, *w;
    unsigned n;                          /* elements, a multiple of eight */
};

static float largest(const float *x, unsigned n)
{
    float m = 0;
    for (unsigned i = 0; i < n; i++)
        m = vs_absf(x[i]) > m ? vs_absf(x[i]) : m;
    return m;
}

static double match_run(const struct run_of *r, float scale, int shift, struct match *ret)
{
    double error = 0;
    for (unsigned g = 0; g < r->n / 8; g++) {
        ret[g] = match(r->k, r->x + 8 * g, r->w + 8 * g, scale, shift);
        error += ret[g].error;
    }
    return error;
}

/* The shifts that a run can have: of each group as it likes, or one or the other for all. */
static int first_shift(const struct kind *k)
{
    return k->shift == SHIFT_OF_GROUP ? 2 : 0;
}

static int end_shift(const struct kind *k)
{
    return k->shift == SHIFT_OF_GROUP ? 3 : k->shift == SHIFT_OF_RUN ? 2 : 1;
}

/* A scale with which the run can be matched well, before it is rounded. */
static float fit(const struct run_of *r)
{
    static const float tries[] = { 0.7f, 0.82f, 0.94f, 1.06f, 1.2f };
    const int8_t *values = vs_indexed_of(r->k->dtype)->values;
    float top = largest(r->x, r->n) / (float)values[r->k->levels - 1], best = top;
    double gain = -1;
    if (top == 0)
        return 0;
    for (size_t t = 0; t < sizeof tries / sizeof *tries; t++)
        for (int shift = first_shift(r->k); shift < end_shift(r->k); shift++) {
            struct match m[4];
            double xq = 0, qq = 0;
            match_run(r, top * tries[t], shift, m);
            for (unsigned g = 0; g < r->n / 8; g++) {
                xq += m[g].xq;
                qq += m[g].qq;
            }
            if (qq > 0 && xq > 0 && xq * xq / qq > gain) {
                gain = xq * xq / qq;
                best = (float)(xq / qq);
            }
        }
    return best;
}

/* The run with the sub-scales about its own scale, of which the best is kept. */
static void settle(const struct run_of *r, unsigned which, float scale, struct found *f, double *io_xq, double *io_qq)
{
    const struct vs_indexed *t = vs_indexed_of(r->k->dtype);
    unsigned near = 0, first = which * r->n / 8;
    double least = -1;
    struct match best[4];
    for (unsigned s = 1; s <= r->k->top; s++)
        if (vs_absf(vs_indexed_scale(t->scale, f->d, (uint8_t)s) - scale)
            < vs_absf(vs_indexed_scale(t->scale, f->d, (uint8_t)near) - scale))
            near = s;
    for (unsigned s = near ? near - 1 : 0; s <= near + 1 && s <= r->k->top; s++)
        for (int shift = first_shift(r->k); shift < end_shift(r->k); shift++) {
            struct match m[4];
            double error = match_run(r, vs_indexed_scale(t->scale, f->d, (uint8_t)s), shift, m);
            if (least >= 0 && error >= least)
                continue;
            least = error;
            f->sub[which] = (uint8_t)s;
            for (unsigned g = 0; g < r->n / 8; g++)
                best[g] = m[g];
        }
    double of_d = (double)vs_indexed_scale(t->scale, 0x3c00, f->sub[which]);     /* that of d = 1 */
    for (unsigned g = 0; g < r->n / 8; g++) {
        for (unsigned part = 0; part < 8u / r->k->len; part++)
            f->entry[8u / r->k->len * (first + g) + part] = best[g].entry[part];
        f->signs[first + g] = best[g].signs;
        f->minus[first + g] = best[g].minus;
        *io_xq += best[g].xq * of_d;
        *io_qq += best[g].qq * of_d * of_d;
    }
}

void vs_quantize_grid(enum vs_dtype dtype, const float *x, const float *w, uint8_t *block)
{
    const struct kind *k = kind_of(dtype);
    const struct vs_indexed *t = vs_indexed_of(dtype);
    struct found f = { 0 };
    float scale[16], most = 0;
    double xq = 0, qq = 0;
    unsigned n = t->sub_len;
    assert(k && n && n % 8 == 0);
    pthread_once(k->once, k->make);
    for (unsigned r = 0; r < SUPER / n; r++) {
        struct run_of run = { k, x + r * n, w + r * n, n };
        scale[r] = fit(&run);
        most = scale[r] > most ? scale[r] : most;
    }
    f.d = vs_f32_to_f16(most / vs_indexed_scale(t->scale, 0x3c00, k->top));
    for (unsigned r = 0; r < SUPER / n; r++) {
        struct run_of run = { k, x + r * n, w + r * n, n };
        settle(&run, r, scale[r], &f, &xq, &qq);
    }
    if (qq > 0 && xq > 0)                /* with what was chosen another d does still better */
        f.d = vs_f32_to_f16((float)(xq / qq));
    k->pack(&f, block);
}
