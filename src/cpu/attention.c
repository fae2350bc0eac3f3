/* cpu/attention.c - K and V to their pages, and attention over them (docs/NUMERICS.md, "attention").
 *
 * A page holds, for each layer and KV head: 64 keys, transposed so that lanes are keys (for q8_0 then their scales,
 * f32 [head_dim / 32][64]); 64 values (for q8_0 then their scales, f32 [64]). ops.h says where each element lies, internal.h
 * how pages lie in runs. The rows that attend together, times the query heads of one KV head, are a block: with many queries
 * it widens an f16 page exactly to f32 once for all of them, with few the kernels read f16 as it is. 8-bit pages are never widened:
 * queries and weights become integers instead.
 *
 * Splits are 256 absolute positions; each gives (max, sum, o) and they are merged in ascending order by one owner. With
 * few rows and a long context the splits are tasks of their own and VS_I_MERGE merges: the same arithmetic, the same bits.
 */
#include "cpu/internal.h"

#include "base/num.h"

#include <assert.h>
#include <string.h>

enum {
    LEAST_QUERIES = 48, MOST_QUERIES = 192,      /* of a block: enough that widening a page is cheap; scores stay in the L2 cache */
    FEW_QUERIES = 12,                            /* no more than the kernels hold in registers: nothing is widened */
};

/* K or V of one head in the page of a position. */
static uint8_t *key_at(const struct vs_cpu *c, const uint32_t *pages, uint32_t position, uint32_t layer, uint32_t head)
{
    return vs_kv_place(c, pages[position / VS_PAGE_TOKENS], layer, head, false);
}

static uint8_t *value_at(const struct vs_cpu *c, const uint32_t *pages, uint32_t position, uint32_t layer, uint32_t head)
{
    return vs_kv_place(c, pages[position / VS_PAGE_TOKENS], layer, head, true);
}

/* d and 127 / amax of up to n values, as activations are quantised. */
static float q8_scale(const float *x, size_t n, float *ret_inverse)
{
    uint32_t greatest = 0;               /* of the bits of |x|: NaN above all */
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = vs_f32_bits(x[i]) & 0x7fffffff;
        greatest = bits > greatest ? bits : greatest;
    }
    float amax = vs_f32_of_bits(greatest);
    *ret_inverse = 0;
    if (greatest >= 0x7f800000)          /* a fault must reach the logits */
        return vs_f32_of_bits(0x7fc00000);
    if (amax < 0x1p-100f)
        return 0;
    *ret_inverse = 127.0f / amax;
    return amax / 127.0f;
}

/* A NaN has no integer: it becomes 0, and its block's scale is NaN. */
static int8_t q8(float x)
{
    float r = vs_rnef(x);
    return r >= -127.0f && r <= 127.0f ? (int8_t)r : 0;
}

static void write_k(const struct vs_cpu *c, const struct vs_kv_layer_layout *l, uint8_t *at, uint32_t slot, const float *k)
{
    enum vs_kv_type type = c->memory.kv_layout.type;
    size_t hd = l->head_dim;
    assert(hd <= VS_MAX_HEAD_DIM);
    if (type == VS_KV_Q8_0) {
        struct vs_act act[VS_MAX_HEAD_DIM / 32];
        float *scale = (float *)(void *)(at + l->k_bytes);
        c->ops.quantize(k, hd, act, 1);
        for (size_t b = 0; b * 32 < hd; b++)
            scale[b * VS_PAGE_TOKENS + slot] = act[b].d;
        for (size_t d = 0; d < hd; d++)  /* four elements of a key side by side, as integer dots take them */
            at[vs_key8_at(hd, d, slot)] = (uint8_t)act[d / 32].q[d % 32] ^ 0x80;
    } else if (type == VS_KV_F32) {
        float *to = (float *)(void *)at;
        for (size_t d = 0; d < hd; d++)
            to[vs_key_at(hd, d, slot)] = k[d];
    } else {
        uint16_t half[VS_MAX_HEAD_DIM], *to = (uint16_t *)(void *)at;
        c->ops.to_f16(half, k, hd);
        for (size_t d = 0; d < hd; d++)
            to[vs_key_at(hd, d, slot)] = half[d];
    }
}

static void write_v(const struct vs_cpu *c, const struct vs_kv_layer_layout *l, uint8_t *at, uint32_t slot, const float *v)
{
    enum vs_kv_type type = c->memory.kv_layout.type;
    size_t hd = l->value_dim;
    if (type == VS_KV_Q8_0) {
        float inverse, *scale = (float *)(void *)(at + l->v_bytes);
        scale[slot] = q8_scale(v, hd, &inverse);
        for (size_t d = 0; d < hd; d++)
            ((int8_t *)at)[vs_value8_at(slot, d)] = q8(v[d] * inverse);
        return;
    }
    for (size_t d = 0; d < hd; d += VS_VALUE_GROUP) {
        size_t to = vs_value_at(hd, slot, d), n = vs_value_width(hd, d);
        if (type == VS_KV_F32)
            memcpy((float *)(void *)at + to, v + d, n * sizeof *v);
        else
            c->ops.to_f16((uint16_t *)(void *)at + to, v + d, n);
    }
}

/* What the query of a position counts (docs/NUMERICS.md: temperature). */
static float heat_of(const struct vs_instr *in, uint32_t position)
{
    return (float)(1 + (double)in->temperature * vs_log64(1 + (double)(position / in->temperature_length)));
}

void vs_attention_head(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, enum vs_role role, uint32_t head, float *x)
{
    const struct vs_row *r = &c->run.step->rows[row];
    const uint32_t *pages = c->run.step->pages + r->table;
    uint32_t slot = r->position % VS_PAGE_TOKENS;
    const struct vs_kv_layer_layout *l = &c->memory.kv_layout.layers[in->layer];
    if (role == VS_ROLE_V) {
        if (in->v_normed)
            c->ops.rms_norm(x, x, NULL, in->value_dim, in->eps);
        write_v(c, l, value_at(c, pages, r->position, in->layer, head), slot, x);
        return;
    }
    const float *weight = role == VS_ROLE_Q ? in->weight : in->weight2;
    bool normed = role == VS_ROLE_Q ? in->q_normed : in->k_normed;
    uint32_t warm = r->position + in->temperature_first;
    if (normed && !in->norm_last)
        c->ops.rms_norm(x, x, weight, in->head_dim, in->eps);
    if (in->rope != VS_NONE) {
        const struct vs_rope_table *t = &c->program.ropes[in->rope];
        uint32_t pairs = t->n_pairs;
        c->ops.rope(x + in->rope_first, t->cosine + (size_t)row * pairs, t->sine + (size_t)row * pairs, pairs, t->kind);
    }
    if (normed && in->norm_last)
        c->ops.rms_norm(x, x, weight, in->head_dim, in->eps);
    if (role == VS_ROLE_Q && in->temperature != 0 && warm >= in->temperature_length)
        c->ops.scale(x, x, heat_of(in, warm), in->head_dim);
    if (role == VS_ROLE_K)
        write_k(c, l, key_at(c, pages, r->position, in->layer, head), slot, x);
}

/* ---- the step's plan ---- */

static uint32_t first_visible(const struct vs_instr *in, const struct vs_row *row)
{
    uint32_t position = row->position, first = in->of_source ? 0 : row->first;
    if (in->chunks && in->window)
        return position - position % in->window;
    return in->window && position + 1 > in->window + first ? position + 1 - in->window : first;
}

/* One more than the last position that the query of a position sees. */
static uint32_t end_visible(const struct vs_instr *in, const struct vs_block *block, const struct vs_row *row)
{
    uint32_t position = row->position;
    if (in->of_source)
        return row->first;
    if (!in->both_ways)
        return position + 1;
    return in->window && block->end - position > in->window ? position + in->window : block->end;
}

/* Where the sequence of each block ends. */
static void set_ends(struct vs_cpu *c)
{
    const struct vs_row *rows = c->run.step->rows;
    for (uint32_t i = c->run.n_blocks; i-- > 0;) {
        struct vs_block *b = &c->run.blocks[i], *next = i + 1 < c->run.n_blocks ? b + 1 : NULL;
        uint32_t last = rows[b->first + b->n - 1].position;
        bool goes_on = next && rows[next->first].table == rows[b->first].table && rows[next->first].position == last + 1;
        b->end = goes_on ? next->end : last + 1;
    }
}

void vs_attention_plan(struct vs_cpu *c)
{
    const struct vs_step *s = c->run.step;
    uint32_t group = c->program.max_group ? c->program.max_group : 1, longest = 0;
    uint32_t most = s->n_rows * c->memory.kv_layout.n_kv_heads / (4 * c->config.n_threads);      /* rows in a block */
    most = most * group < LEAST_QUERIES ? LEAST_QUERIES / group : most;
    most = most * group > c->program.max_queries ? c->program.max_queries / group : most;
    most = most ? most : 1;
    c->run.n_blocks = 0;
    for (uint32_t i = 0; i < s->n_rows; i++) {
        struct vs_block *last = c->run.n_blocks ? &c->run.blocks[c->run.n_blocks - 1] : NULL;
        if (last && last->n < most && s->rows[i].table == s->rows[i - 1].table
            && s->rows[i].position == s->rows[i - 1].position + 1)
            last->n++;
        else
            c->run.blocks[c->run.n_blocks++] = (struct vs_block){ i, 1, 0 };
        longest = s->rows[i].position + 1 > longest ? s->rows[i].position + 1 : longest;
    }
    set_ends(c);
    c->run.n_splits = (longest + VS_SPLIT - 1) / VS_SPLIT;
    const struct vs_kv_layout *l = &c->memory.kv_layout;
    size_t need = (size_t)s->n_rows * l->n_kv_heads * c->program.max_group * c->run.n_splits * (2 + l->value_dim);
    c->run.split_attention = c->run.n_splits > 1 && need <= c->memory.partial_floats
                      && c->run.n_blocks * c->memory.kv_layout.n_kv_heads < 4 * c->config.n_threads;
    uint32_t pieces = c->run.n_blocks * c->memory.kv_layout.n_kv_heads * (c->run.split_attention ? c->run.n_splits : 1);
    c->run.n_parts = !pieces || pieces >= 3 * c->config.n_threads ? 1 : 3 * c->config.n_threads / pieces;
}

/* Pieces that the query heads of one KV head are cut into, so that no thread is without work. */
static uint32_t n_parts(const struct vs_cpu *c, const struct vs_instr *in)
{
    uint32_t group = in->n_heads / in->n_kv_heads;
    return c->run.n_parts < group ? c->run.n_parts : group;
}

uint32_t vs_attention_n_tasks(const struct vs_cpu *c, const struct vs_instr *in)
{
    if (in->kind == VS_I_MERGE)
        return c->run.split_attention ? c->run.step->n_rows * in->n_heads : 0;
    return c->run.n_blocks * in->n_kv_heads * n_parts(c, in) * (c->run.split_attention ? c->run.n_splits : 1);
}

size_t vs_attention_scratch_bytes(struct vs_cpu *c)
{
    uint32_t group = c->program.max_group ? c->program.max_group : 1;
    c->program.max_queries = group > MOST_QUERIES ? group : MOST_QUERIES / group * group;
    size_t hd = c->memory.kv_layout.head_dim, vd = c->memory.kv_layout.value_dim, q = c->program.max_queries;
    size_t widest = hd > vd ? hd : vd;
    size_t floats = widest * VS_PAGE_TOKENS + q * (VS_SCORES + hd + 2 * vd + 4);         /* as scratch_init lays them out */
    size_t acts = (hd + 31) / 32 + VS_PAGE_BLOCKS;
    return (floats * 4 + q * (acts * sizeof(struct vs_act) + sizeof(struct vs_span)) + 4095) / 4096 * 4096;
}

/* ---- one task ---- */

struct scratch {
    struct vs_act *q8;                   /* [queries, blocks of 32] */
    struct vs_act *p8;                   /* [queries, blocks of a page] */
    float *wide;                         /* K or V of a page */
    float *scores;                       /* [queries, VS_SCORES] */
    float *q;                            /* [queries, head_dim] */
    float *o_split, *o;                  /* [queries, value_dim] */
    float *l, *m, *l_split, *m_split;    /* [queries] */
    struct vs_span *span;
};

static void scratch_init(const struct vs_cpu *c, unsigned thread, struct scratch *s)
{
    size_t hd = c->memory.kv_layout.head_dim, vd = c->memory.kv_layout.value_dim, q = c->program.max_queries;
    s->q8 = (struct vs_act *)(void *)(c->memory.scratch + thread * c->memory.scratch_bytes);
    s->p8 = s->q8 + q * ((hd + 31) / 32);
    float *at = (float *)(void *)(s->p8 + q * VS_PAGE_BLOCKS);
    s->wide = at;     at += (hd > vd ? hd : vd) * VS_PAGE_TOKENS;
    s->scores = at;   at += q * VS_SCORES;
    s->q = at;        at += q * hd;
    s->o_split = at;  at += q * vd;
    s->o = at;        at += q * vd;
    s->l = at;        at += q;
    s->m = at;        at += q;
    s->l_split = at;  at += q;
    s->m_split = at;  at += q;
    s->span = (struct vs_span *)(void *)at;
}

/* K or V of a page, whose dimensions are dim. */
static const float *widen(const struct vs_cpu *c, const uint8_t *from, float *to, size_t dim)
{
    size_t n = dim * VS_PAGE_TOKENS;
    if (c->memory.kv_layout.type == VS_KV_F32)
        return (const float *)(const void *)from;
    c->ops.from_f16(to, (const uint16_t *)(const void *)from, n);
    return to;
}

/* q8_0: queries become integers, by the rule of activations. */
static void quantise_queries(const struct vs_cpu *c, struct scratch *s, size_t n_q, size_t hd)
{
    for (size_t i = 0; i < n_q; i++)
        c->ops.quantize(s->q + i * hd, hd, s->q8 + i * ((hd + 31) / 32), 1);
}

/* Scores of queries [i, end) with one page. */
static void page_scores(const struct vs_cpu *c, const struct vs_kv_layer_layout *l, struct scratch *s, const uint8_t *keys,
                        size_t i, size_t end, size_t base)
{
    enum vs_kv_type type = c->memory.kv_layout.type;
    size_t hd = l->head_dim, n = end - i;
    float *to = s->scores + i * VS_SCORES + base;
    const float *q = s->q + i * hd;
    if (type == VS_KV_Q8_0)
        c->ops.scores_q8(to, s->q8 + i * ((hd + 31) / 32), n, keys, (const float *)(const void *)(keys + l->k_bytes), hd);
    else if (type == VS_KV_F16 && n <= FEW_QUERIES)
        c->ops.scores_f16(to, q, hd, n, (const uint16_t *)(const void *)keys, hd);
    else
        c->ops.scores(to, q, hd, n, widen(c, keys, s->wide, hd), hd);
}

static void page_values(const struct vs_cpu *c, const struct vs_kv_layer_layout *l, struct scratch *s, const uint8_t *at, size_t i,
                        size_t end, size_t base)
{
    enum vs_kv_type type = c->memory.kv_layout.type;
    size_t hd = l->value_dim, n = end - i;
    float *o = s->o_split + i * hd;
    const float *p = s->scores + i * VS_SCORES;
    if (type == VS_KV_Q8_0) {                          /* the scale of V goes into p, after the sum was taken */
        const float *dv = (const float *)(const void *)(at + l->v_bytes);
        for (size_t k = 0; k < n; k++)                    /* what lies outside the span is not ours to read */
            c->ops.weigh(p + k * VS_SCORES + base, dv, vs_in_page(s->span[i + k].lo, base), vs_in_page(s->span[i + k].hi, base),
                         s->p8 + k * VS_PAGE_BLOCKS);
        c->ops.mix_q8(o, hd, s->p8, n, (const int8_t *)at, hd);
    } else if (type == VS_KV_F16 && n <= FEW_QUERIES) {
        c->ops.mix_f16(o, hd, p, n, s->span + i, base, (const uint16_t *)(const void *)at, hd);
    } else {
        c->ops.mix(o, hd, p, n, s->span + i, base, widen(c, at, s->wide, hd), hd);
    }
}

/* Asks for n bytes to be brought to the L2 cache (not the first: it has too few misses in flight to compute beside),
 * unless the kernels ask. */
static void prefetch(const struct vs_cpu *c, const uint8_t *at, size_t n)
{
    if (c->ops.prefetch.lines)
        return;
    for (size_t i = 0; i < n; i += 64)
        __builtin_prefetch(at + i, 0, 2);
}

/* Queries [*ret_first, *ret_end) are those that see something of the page: rows ascend, so they lie together. */
static void who_sees(const struct scratch *s, size_t n_q, size_t base, size_t *ret_first, size_t *ret_end)
{
    size_t first = 0, end = n_q;
    while (first < end && !(s->span[first].hi > base && s->span[first].lo < base + VS_PAGE_TOKENS))
        first++;
    while (end > first && !(s->span[end - 1].hi > base && s->span[end - 1].lo < base + VS_PAGE_TOKENS))
        end--;
    *ret_first = first;
    *ret_end = end;
}

enum { SIDE = 16, EXACT = 8 };           /* buckets of distances: to each side, those of one distance */

/* That of T5's decoders, whose keys all lie before the query: twice as many to the one side. Where those of more than one distance
 * begin: at 16 * 8^(k / 16), k from 1 on. */
static size_t bucket_before(uint32_t distance)
{
    static const uint8_t begin[] = { 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113 };
    size_t k = 0;
    if (distance < 2 * EXACT)
        return distance;
    while (k < sizeof begin && distance >= begin[k])
        k++;
    return 2 * EXACT + k;
}

/* That of T5's encoders: behind those of one distance ever wider ones, the last from 91 on; more for keys behind the query. */
static size_t bucket(uint32_t key, uint32_t position)
{
    uint64_t distance = key > position ? key - position : position - key;
    size_t first = key > position ? SIDE : 0, k = 0;
    if (distance < EXACT)
        return first + distance;
    while (k < SIDE - EXACT - 1 && distance * distance >= (uint64_t)EXACT * EXACT << (k + 1))
        k++;
    return first + EXACT + k;
}

static size_t bucket_of(const struct vs_instr *in, uint32_t key, uint32_t position)
{
    return in->both_ways ? bucket(key, position) : bucket_before(position - key);
}

enum { FAR = 128 };                     /* from here on all distances to one side are in one bucket */

static void add_bias(float *x, uint32_t lo, uint32_t hi, float scale, float bias)
{
    for (uint32_t t = lo; t < hi; t++)
        x[t] = x[t] * scale + bias;
}

/* s * scale, and what the distance of the key adds: a bias of its bucket, or ALiBi's slope. */
static void add_distances(const struct vs_cpu *c, const struct vs_instr *in, float *x, struct vs_span span, uint32_t position,
                          uint32_t head, uint32_t base)
{
    if (in->tensor == VS_NONE) {
        float slope = c->program.slopes[head];
        for (uint32_t t = span.lo; t < span.hi; t++) {
            uint32_t key = base + t, distance = key > position ? key - position : position - key;
            x[t] = vs_fmaf(-slope, (float)distance, x[t] * in->scale);
        }
        return;
    }
    const float *biases = c->memory.weights[in->tensor].vector + head;      /* [buckets, heads] */
    uint32_t near = position > base + FAR ? position - base - FAR : 0;
    uint32_t far = position + FAR + 1 > base ? position + FAR + 1 - base : 0;
    near = near < span.lo ? span.lo : near > span.hi ? span.hi : near;
    far = far < near ? near : far > span.hi ? span.hi : far;
    if (span.lo < near)
        add_bias(x, span.lo, near, in->scale, biases[bucket_of(in, base + span.lo, position) * in->n_heads]);
    for (uint32_t t = near; t < far; t++)
        x[t] = x[t] * in->scale + biases[bucket_of(in, base + t, position) * in->n_heads];
    if (far < span.hi)
        add_bias(x, far, span.hi, in->scale, biases[bucket_of(in, base + far, position) * in->n_heads]);
}

/* One split for all queries of the block: its o_split, m_split, l_split. false when no query sees any of it. */
static bool split(const struct vs_cpu *c, const struct vs_instr *in, struct scratch *s, const struct vs_block *block,
                  uint32_t head, uint32_t first_head, uint32_t group, uint32_t which)
{
    const struct vs_row *rows = c->run.step->rows + block->first;
    uint32_t base = which * VS_SPLIT, lo = VS_SPLIT, hi = 0;
    size_t n_q = (size_t)block->n * group;
    const struct vs_kv_layer_layout *l = &c->memory.kv_layout.layers[in->layer];
    for (uint32_t i = 0; i < block->n; i++) {
        uint32_t from = first_visible(in, &rows[i]), end = end_visible(in, block, &rows[i]);
        struct vs_span span = { from > base ? from - base : 0, end > base ? end - base : 0 };
        span.lo = span.lo < VS_SPLIT ? span.lo : VS_SPLIT;
        span.hi = span.hi < VS_SPLIT ? span.hi : VS_SPLIT;
        if (span.hi > span.lo) {
            lo = span.lo < lo ? span.lo : lo;
            hi = span.hi > hi ? span.hi : hi;
        } else {
            span = (struct vs_span){ 0, 0 };
        }
        for (uint32_t g = 0; g < group; g++)
            s->span[i * group + g] = span;
    }
    if (lo >= hi)
        return false;
    uint32_t first = lo / VS_PAGE_TOKENS, last = (hi - 1) / VS_PAGE_TOKENS;
    const uint32_t *pages = c->run.step->pages + rows[0].table;
    size_t i, end;
    for (uint32_t p = first * VS_PAGE_TOKENS; p <= last * VS_PAGE_TOKENS; p += VS_PAGE_TOKENS) {
        who_sees(s, n_q, p, &i, &end);
        prefetch(c, value_at(c, pages, base + p, in->layer, head), l->value_bytes);
        page_scores(c, l, s, key_at(c, pages, base + p, in->layer, head), i, end, p);
    }
    bool by_distance = in->alibi > 0 || in->tensor != VS_NONE;
    for (i = 0; i < n_q; i++) {
        float *x = s->scores + i * VS_SCORES;
        if (s->span[i].hi <= s->span[i].lo)
            continue;
        if (by_distance)
            add_distances(c, in, x, s->span[i], rows[i / group].position, first_head + (uint32_t)(i % group), base);
        c->ops.soft_max(x, s->span[i], by_distance ? 1 : in->scale, in->cap, &s->m_split[i], &s->l_split[i]);
    }
    memset(s->o_split, 0, n_q * in->value_dim * 4);
    for (uint32_t p = first * VS_PAGE_TOKENS; p <= last * VS_PAGE_TOKENS; p += VS_PAGE_TOKENS) {
        who_sees(s, n_q, p, &i, &end);
        if (base + VS_SPLIT + p <= rows[block->n - 1].position)          /* the keys of the next split */
            prefetch(c, key_at(c, pages, base + VS_SPLIT + p, in->layer, head), l->key_bytes);
        page_values(c, l, s, value_at(c, pages, base + p, in->layer, head), i, end, p);
    }
    return true;
}

static float *partial_at(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, uint32_t head, uint32_t which)
{
    return c->memory.partial + (((size_t)row * in->n_heads + head) * c->run.n_splits + which) * (2 + in->value_dim);
}

/* o / l of one head of one row, after its sink where there is one, in place, to where the program wants it. */
static void finish(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, uint32_t head, float *o, float l, float m)
{
    static const float nothing[VS_MAX_HEAD_DIM];
    size_t hd = in->value_dim, column = (size_t)head * hd;
    if (in->sinks)
        c->ops.merge(o, &l, &m, nothing, 1.0f, in->sinks[head], hd);
    c->ops.scale(o, o, 1.0f / l, hd);
    if (in->y != VS_NONE)
        memcpy(vs_cpu_at(c, in->y) + (size_t)row * in->width + column, o, hd * sizeof *o);
    if (in->act != VS_NONE)
        vs_cpu_quantize(c, in->act, c->run.step->n_rows, in->width, row, o - column, column, hd);
}

void vs_attention_task(struct vs_cpu *c, const struct vs_instr *in, uint32_t task, unsigned thread)
{
    struct scratch s;
    scratch_init(c, thread, &s);
    uint32_t n_which = c->run.split_attention ? c->run.n_splits : 1, parts = n_parts(c, in), all = in->n_heads / in->n_kv_heads;
    uint32_t which = task % n_which, part = task / n_which % parts, head = task / n_which / parts % in->n_kv_heads;
    const struct vs_block *block = &c->run.blocks[task / n_which / parts / in->n_kv_heads];
    uint32_t begin = part * all / parts, group = (part + 1) * all / parts - begin;
    uint32_t first_head = head * all + begin;
    size_t hd = in->head_dim, vd = in->value_dim, n_q = (size_t)block->n * group, width = (size_t)in->n_heads * hd;
    const float *q = vs_cpu_at(c, in->x) + block->first * width + first_head * hd;
    for (uint32_t i = 0; i < block->n; i++)
        memcpy(s.q + i * group * hd, q + i * width, group * hd * 4);
    if (c->memory.kv_layout.type == VS_KV_Q8_0)
        quantise_queries(c, &s, n_q, hd);

    if (c->run.split_attention) {
        if (!split(c, in, &s, block, head, first_head, group, which))
            for (size_t i = 0; i < n_q; i++)
                s.span[i] = (struct vs_span){ 0, 0 };
        for (uint32_t i = 0; i < n_q; i++) {
            float *to = partial_at(c, in, block->first + i / group, first_head + i % group, which);
            to[0] = s.span[i].hi > s.span[i].lo ? s.m_split[i] : -__builtin_inff();
            to[1] = s.l_split[i];
            memcpy(to + 2, s.o_split + i * vd, vd * 4);
        }
        return;
    }
    for (size_t i = 0; i < n_q; i++) {
        s.m[i] = -__builtin_inff();
        s.l[i] = 0;
    }
    memset(s.o, 0, n_q * vd * 4);
    const struct vs_row *rows = c->run.step->rows + block->first;
    uint32_t from = first_visible(in, &rows[0]) / VS_SPLIT;
    uint32_t to = (end_visible(in, block, &rows[block->n - 1]) - 1) / VS_SPLIT;
    for (uint32_t w = from; w <= to; w++) {
        if (!split(c, in, &s, block, head, first_head, group, w))
            continue;
        for (size_t i = 0; i < n_q; i++)
            if (s.span[i].hi > s.span[i].lo)
                c->ops.merge(s.o + i * vd, &s.l[i], &s.m[i], s.o_split + i * vd, s.l_split[i], s.m_split[i], vd);
    }
    for (uint32_t i = 0; i < n_q; i++)
        finish(c, in, block->first + i / group, first_head + i % group, s.o + i * vd, s.l[i], s.m[i]);
}

void vs_attention_merge(struct vs_cpu *c, const struct vs_instr *in, uint32_t task)
{
    uint32_t row = task / in->n_heads, head = task % in->n_heads;
    size_t hd = in->value_dim;
    float o[VS_MAX_HEAD_DIM], l = 0, m = -__builtin_inff();
    assert(hd <= VS_MAX_HEAD_DIM);
    memset(o, 0, hd * 4);
    uint32_t n = in->both_ways ? c->run.n_splits : c->run.step->rows[row].position / VS_SPLIT + 1;
    for (uint32_t w = 0; w < n; w++) {
        const float *p = partial_at(c, in, row, head, w);
        if (p[0] != -__builtin_inff())
            c->ops.merge(o, &l, &m, p + 2, p[1], p[0], hd);
    }
    finish(c, in, row, head, o, l, m);
}
