/* import/ropes.c - how positions turn heads: rope_scaling keys, sections, lists of divisors. */
#include "import/internal.h"
#include "base/num.h"

#include <string.h>

/* rope.scaling.type; true and *ret for a name that is known. What a file without the key means is "linear". */
enum scaling { SCALING_NONE, SCALING_LINEAR, SCALING_YARN, SCALING_LONGROPE };

static enum scaling read_scaling_type(struct vs_builder *b)
{
    static const char *const names[] = { "none", "linear", "yarn", "longrope" };
    char key[128];
    struct vs_str type;
    if (b->status != VS_OK)
        return SCALING_NONE;
    int r = vs_entries_str(vs_gguf_entries(b->file), vs_gb_key_of(b, "rope.scaling.type", key), &type, b->err);
    if (r == VS_E_NOT_FOUND)
        return SCALING_LINEAR;
    if (r != VS_OK) {
        b->status = r;
        return SCALING_NONE;
    }
    for (int i = 0; i <= SCALING_LONGROPE; i++)
        if (strlen(names[i]) == type.n && memcmp(names[i], type.data, type.n) == 0)
            return (enum scaling)i;
    vs_gb_fail(b, VS_E_UNSUPPORTED, "this kind of rope scaling is not supported; supported are none, linear, yarn and longrope",
               key);
    return SCALING_NONE;
}

static double floor_of(double x)        /* |x| < 2^62 */
{
    double down = (double)(int64_t)x;
    return down > x ? down - 1 : down;
}

/* The pair whose angle turns `beta` times over the original context; not yet whole, nor within the pairs. */
static double pair_of(const struct vs_rope *r, double beta, double context)
{
    return r->n_dims * vs_log64(context / (beta * 2 * 3.14159265358979323846)) / (2 * vs_log64(r->base));
}

/* Between which pairs the angles are a mixture. */
static void read_ramp(struct vs_builder *b, struct vs_rope *r)
{
    uint32_t context = vs_gb_get_u32(b, "rope.scaling.original_context_length", b->g->context, 1, UINT32_C(1) << 30);
    double fast = vs_gb_get_float(b, "rope.scaling.yarn_beta_fast", b->arch->yarn_fast > 0 ? b->arch->yarn_fast : 32, 1e-3, 1e6);
    double slow = vs_gb_get_float(b, "rope.scaling.yarn_beta_slow", 1, 1e-3, 1e6);
    if (b->status != VS_OK)
        return;
    double low = floor_of(pair_of(r, fast, context)), high = -floor_of(-pair_of(r, slow, context));
    r->low = low > 0 ? low : 0;
    r->high = high < r->n_dims - 1 ? high : r->n_dims - 1;
}

/* YaRN: fast pairs keep their angle, slow ones are slowed by the factor, between low and high it is a mixture. */
static void read_yarn(struct vs_builder *b, struct vs_rope *r, double factor, double ext)
{
    char key[128];
    if (b->status == VS_OK && factor < 1)
        vs_gb_fail(b, VS_E_MALFORMED, "is below 1, which yarn doesn't allow", vs_gb_key_of(b, "rope.scaling.factor", key));
    if (b->status == VS_OK && r->base < 1.001)
        vs_gb_fail(b, VS_E_MALFORMED, "is too small for yarn", vs_gb_key_of(b, "rope.freq_base", key));
    if (b->status != VS_OK)
        return;
    read_ramp(b, r);
    r->ext = ext;
    double all = vs_gb_get_float(b, "rope.scaling.yarn_log_multiplier", 0, 0, 1e3);
    if (b->arch->latent) {               /* scores are multiplied in place of what is turned; the key holds a tenth already */
        double by = r->magnitude * (1 + all * vs_log64(factor));
        b->attention_scale = (float)((double)b->attention_scale * by * by);
        return;
    }
    r->magnitude *= (1 + 0.1 * vs_log64(factor)) / (1 + 0.1 * all * vs_log64(factor));
}

/* yarn_attn_factor is what the published configuration calls its own magnitude; where it is yarn's, as in OLMo 3, all is well. */
static void check_yarn_factor(struct vs_builder *b, enum scaling type, double factor)
{
    double said = vs_gb_get_float(b, "rope.scaling.yarn_attn_factor", 1, 0, 1e6);
    double yarns = type == SCALING_YARN && factor >= 1 ? 1 + 0.1 * vs_log64(factor) : 1, difference = said - yarns;
    char key[128];
    if (b->status == VS_OK && said != 1 && !(difference > -1e-4 && difference < 1e-4))
        vs_gb_fail(b, VS_E_UNSUPPORTED, "a scale of rotated vectors other than yarn's is not supported",
                   vs_gb_key_of(b, "rope.scaling.yarn_attn_factor", key));
}

/* Divisors of the angles: one list (rope_freqs), or two of which the length of the context picks one (longrope). */
static void read_factors(struct vs_builder *b, struct vs_rope *r, enum scaling type)
{
    bool two = type == SCALING_LONGROPE || vs_gb_is_there(b, -1, "rope_factors_long.weight");
    char key[128];
    if (b->arch->local_rope_base > 0)
        return;
    if (two && !(vs_gb_is_there(b, -1, "rope_factors_short.weight") && vs_gb_is_there(b, -1, "rope_factors_long.weight"))) {
        vs_gb_fail(b, VS_E_MALFORMED, "longrope needs the tensors rope_factors_short.weight and rope_factors_long.weight",
                   vs_gb_key_of(b, "rope.scaling.type", key));
        return;
    }
    uint32_t n = b->n_rot / 2, all = b->arch->half_full_rot && b->any_local ? b->local_rot / 2 : n;
    r->factors = vs_gb_vector(b, -1, two ? "rope_factors_short.weight" : "rope_freqs.weight", (struct vs_part){ 0, n, all }, !two);
    if (!two)
        return;
    r->long_factors = vs_gb_vector(b, -1, "rope_factors_long.weight", (struct vs_part){ 0, n, all }, false);
    r->long_after = vs_gb_get_u32(b, "rope.scaling.original_context_length", b->g->context, 1, UINT32_C(1) << 30);
}

/* How many pairs turn by each of four positions. */
static void read_sections(struct vs_builder *b, struct vs_rope *r)
{
    char key[128];
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, "rope.dimension_sections", key));
    if (!kv || b->status != VS_OK || !b->arch->sections)
        return;
    uint64_t all = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t v;
        if (kv->type != VS_ENTRY_ARRAY || kv->count != 4 || !vs_entry_uint(kv, i, &v) || v > VS_MAX_HEAD_DIM) {
            vs_gb_fail(b, VS_E_MALFORMED, "is not a list of four numbers of pairs", key);
            return;
        }
        r->sections[i] = (uint32_t)v;
        all += v;
    }
    if (!all)
        vs_gb_fail(b, VS_E_MALFORMED, "has no pair", key);
    r->interleaved = b->arch->sections == SECTIONS_INTERLEAVED;
    r->neox = true;                      /* also where those without sections turn neighbours */
}

void vs_gb_read_ropes(struct vs_builder *b)
{
    if (!b->n_heads)
        return;
    enum scaling type = read_scaling_type(b);
    double factor = vs_gb_get_float(b, "rope.scaling.factor", 0, 0, 1e6);
    char key[128];
    if (b->status == VS_OK && !vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, "rope.scaling.factor", key)))
        factor = vs_gb_get_float(b, "rope.scale_linear", 0, 0, 1e6);
    if (type == SCALING_NONE || factor == 0)
        factor = 1;
    struct vs_rope r = { .n_dims = b->n_rot, .neox = b->arch->neox, .factors = VS_NONE, .long_factors = VS_NONE };
    r.base = vs_gb_get_float(b, "rope.freq_base", 10000, 1, 1e12);
    r.magnitude = vs_gb_get_float(b, "rope.scaling.attn_factor", 1, 1e-3, 1e3);
    double alpha = b->arch->rope_alpha ? vs_gb_get_float(b, "rope.scaling.alpha", 0, 0, 1e6) : 0;
    if (alpha > 0 && b->head_dim > 2)
        r.base *= vs_pow64(alpha, b->head_dim / (b->head_dim - 2.0));
    read_sections(b, &r);
    struct vs_rope local = r;
    double ext = vs_gb_get_float(b, "rope.scaling.yarn_ext_factor", type == SCALING_YARN, 0, 1);
    r.freq_scale = 1 / factor;
    check_yarn_factor(b, type, factor);
    if (ext > 0)
        read_yarn(b, &r, factor, ext);
    read_factors(b, &r, type);
    b->g->ropes[0] = r;
    b->g->n_ropes = 1;
    local.freq_scale = 1;
    if (!b->arch->local_rope_plain)
        local = r;
    if (b->arch->windows)
        local.base = vs_gb_get_float(b, "rope.freq_base_swa", b->arch->local_rope_base > 0 ? b->arch->local_rope_base : r.base, 1,
                                     1e12);
    local.n_dims = b->local_rot;
    if (local.ext > 0 && local.base < 1.001)
        vs_gb_fail(b, VS_E_MALFORMED, "is too small for yarn", vs_gb_key_of(b, "rope.freq_base_swa", key));
    else if (local.ext > 0)
        read_ramp(b, &local);
    if (b->arch->local_rope_bare)
        local.magnitude = 1;
    if (b->any_local)
        b->g->ropes[b->g->n_ropes++] = local;
}
