/* prog/worker/mix.c - see mix.h */
#include "prog/worker/mix.h"

#include "import/gguf.h"
#include "tensor/quantize.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum where {
    ALL,                /* every layer */
    MORE,               /* the first and the last eighth, and every third between */
    EIGHTH, SIXTEENTH,  /* the first of them */
    FIRST_2, FIRST_4,
};

struct rule { const char *part; enum where where; enum vs_dtype type; };

struct vs_mix {
    const char *name;
    uint32_t file_type;
    enum vs_dtype base, output, embedding;
    struct rule rules[6];                /* the first that fits counts */
};

#define PLAIN(name, number, base, output) { name, number, VS_##base, VS_##output, VS_##base, { { NULL, ALL, VS_F32 } } }

static const struct vs_mix mixes[] = {
    PLAIN("F32", 0, F32, F32),     PLAIN("F16", 1, F16, F16),     PLAIN("BF16", 32, BF16, BF16),  PLAIN("Q8_0", 7, Q8_0, Q8_0),
    PLAIN("Q4_1", 3, Q4_1, Q6_K),  PLAIN("Q5_1", 9, Q5_1, Q6_K),
    { "Q4_0", 2, VS_Q4_0, VS_Q6_K, VS_Q4_0, { { "ffn_down", EIGHTH, VS_Q4_1 } } },
    { "Q5_0", 8, VS_Q5_0, VS_Q6_K, VS_Q5_0, { { "ffn_down", EIGHTH, VS_Q5_1 } } },
    PLAIN("Q6_K", 18, Q6_K, Q6_K), PLAIN("Q5_K_S", 16, Q5_K, Q6_K), PLAIN("Q3_K_S", 11, Q3_K, Q6_K),
    PLAIN("NVFP4", 39, NVFP4, Q8_0), PLAIN("MXFP4", 38, MXFP4, Q8_0),
    { "Q2_K", 10, VS_Q2_K, VS_Q6_K, VS_Q2_K,
      { { "attn_v", ALL, VS_Q4_K }, { "attn_qkv", ALL, VS_Q3_K }, { "attn_output", ALL, VS_Q3_K }, { "ffn_down", ALL, VS_Q3_K } } },
    { "Q3_K_M", 12, VS_Q3_K, VS_Q6_K, VS_Q3_K,
      { { "attn_v", FIRST_2, VS_Q5_K }, { "attn_v", ALL, VS_Q4_K }, { "attn_qkv", ALL, VS_Q4_K }, { "attn_output", ALL, VS_Q4_K },
        { "ffn_down", SIXTEENTH, VS_Q5_K }, { "ffn_down", MORE, VS_Q4_K } } },
    { "Q3_K_L", 13, VS_Q3_K, VS_Q6_K, VS_Q3_K,
      { { "attn_v", ALL, VS_Q5_K }, { "attn_qkv", ALL, VS_Q4_K }, { "attn_output", ALL, VS_Q5_K }, { "ffn_down", ALL, VS_Q5_K } } },
    { "Q4_K_S", 14, VS_Q4_K, VS_Q6_K, VS_Q4_K, { { "attn_v", FIRST_4, VS_Q5_K }, { "ffn_down", EIGHTH, VS_Q5_K } } },
    { "Q4_K_M", 15, VS_Q4_K, VS_Q6_K, VS_Q4_K,
      { { "attn_v", MORE, VS_Q6_K }, { "attn_qkv", ALL, VS_Q5_K }, { "ffn_down", MORE, VS_Q6_K } } },
    { "Q5_K_M", 17, VS_Q5_K, VS_Q6_K, VS_Q5_K,
      { { "attn_v", MORE, VS_Q6_K }, { "attn_qkv", ALL, VS_Q6_K }, { "ffn_down", MORE, VS_Q6_K } } },
    { "IQ4_NL", 25, VS_IQ4_NL, VS_Q6_K, VS_IQ4_NL, { { "attn_v", ALL, VS_Q5_K }, { "ffn_down", EIGHTH, VS_Q5_K } } },
    { "IQ4_XS", 30, VS_IQ4_XS, VS_Q6_K, VS_IQ4_XS, { { "attn_v", ALL, VS_Q5_K }, { "ffn_down", EIGHTH, VS_Q5_K } } },
    { "IQ3_M", 27, VS_IQ3_S, VS_Q6_K, VS_IQ3_S,
      { { "attn_v", ALL, VS_Q4_K }, { "attn_qkv", ALL, VS_Q4_K }, { "attn_output", ALL, VS_Q4_K },
        { "ffn_down", EIGHTH, VS_Q4_K } } },
    { "IQ3_S", 26, VS_IQ3_S, VS_Q6_K, VS_IQ3_S, { { "attn_v", ALL, VS_Q4_K }, { "ffn_down", EIGHTH, VS_Q4_K } } },
    { "IQ3_XS", 22, VS_IQ3_S, VS_Q6_K, VS_IQ3_S,
      { { "attn_v", ALL, VS_Q4_K }, { "attn_q", ALL, VS_IQ3_XXS }, { "attn_k", ALL, VS_IQ3_XXS },
        { "ffn_down", EIGHTH, VS_Q4_K } } },
    { "IQ3_XXS", 23, VS_IQ3_XXS, VS_Q5_K, VS_IQ3_S,
      { { "attn_v", ALL, VS_Q4_K }, { "attn_q", ALL, VS_IQ2_S }, { "attn_k", ALL, VS_IQ2_S }, { "attn_output", ALL, VS_IQ3_S },
        { "ffn_down", EIGHTH, VS_Q3_K } } },
    { "IQ2_M", 29, VS_IQ2_S, VS_Q5_K, VS_IQ3_S,
      { { "attn_v", ALL, VS_Q4_K }, { "attn_output", ALL, VS_IQ3_S }, { "ffn_down", EIGHTH, VS_IQ3_S } } },
    { "IQ2_S", 28, VS_IQ2_XS, VS_Q5_K, VS_IQ3_S,
      { { "attn_v", ALL, VS_Q4_K }, { "attn_output", ALL, VS_IQ3_S }, { "ffn_down", EIGHTH, VS_IQ3_S } } },
    { "IQ2_XS", 20, VS_IQ2_XS, VS_Q5_K, VS_Q2_K, { { "attn_v", ALL, VS_Q4_K }, { "ffn_down", EIGHTH, VS_Q2_K } } },
    { "IQ2_XXS", 19, VS_IQ2_XXS, VS_Q5_K, VS_Q2_K, { { "attn_v", ALL, VS_Q4_K }, { "ffn_down", EIGHTH, VS_Q2_K } } },
    { "IQ1_M", 31, VS_IQ1_M, VS_Q5_K, VS_Q2_K,
      { { "attn_v", ALL, VS_Q4_K }, { "attn_output", ALL, VS_IQ2_XXS }, { "ffn_down", EIGHTH, VS_Q2_K } } },
    { "IQ1_S", 24, VS_IQ1_S, VS_Q5_K, VS_Q2_K,
      { { "attn_v", ALL, VS_Q4_K }, { "attn_output", ALL, VS_IQ2_XXS }, { "ffn_down", EIGHTH, VS_Q2_K } } },
    PLAIN("Q1_0", 40, Q1_0, Q6_K), PLAIN("Q2_0", 41, Q2_0, Q6_K),
    { "TQ1_0", 36, VS_TQ1_0, VS_Q6_K, VS_Q4_K, { { NULL, ALL, VS_F32 } } },
    { "TQ2_0", 37, VS_TQ2_0, VS_Q6_K, VS_Q4_K, { { NULL, ALL, VS_F32 } } },
    { "MXFP4_MOE", 38, VS_Q8_0, VS_Q8_0, VS_Q8_0, { { "exps", ALL, VS_MXFP4 } } },
};
enum { N_MIXES = sizeof mixes / sizeof *mixes };

/* Short names for the usual ones. */
static const struct { const char *name, *means; } others[] = {
    { "Q2_K_S", "Q2_K" }, { "Q3_K", "Q3_K_M" }, { "Q4_K", "Q4_K_M" }, { "Q5_K", "Q5_K_M" },
};

const struct vs_mix *vs_mix_find(const char *name)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i].name, name) == 0)
            name = others[i].means;
    for (size_t i = 0; i < N_MIXES; i++)
        if (strcmp(mixes[i].name, name) == 0)
            return &mixes[i];
    return NULL;
}

const char *vs_mix_name(size_t i)
{
    return i < N_MIXES ? mixes[i].name : NULL;
}

uint32_t vs_mix_file_type(const struct vs_mix *mix)
{
    return mix->file_type;
}

/* ---- names ---- */

static bool ends_with(struct vs_str s, const char *end)
{
    size_t n = strlen(end);
    return s.n >= n && memcmp(s.data + s.n - n, end, n) == 0;
}

static bool holds(struct vs_str s, const char *part)
{
    return memmem(s.data, s.n, part, strlen(part)) != NULL;
}

static bool begins_with(struct vs_str s, const char *begin)
{
    size_t n = strlen(begin);
    return s.n >= n && memcmp(s.data, begin, n) == 0;
}

static struct vs_str without(struct vs_str s, const char *begin)
{
    size_t n = begins_with(s, begin) ? strlen(begin) : 0;
    return (struct vs_str){ s.data + n, s.n - n };
}

/* The layer of "blk.N.REST", of an encoder's or a decoder's too, and REST; -1 for others. */
static int layer_of(struct vs_str name, struct vs_str *ret_rest)
{
    int layer = 0;
    size_t at = 4;
    name = without(without(name, "enc."), "dec.");
    if (name.n < 6 || memcmp(name.data, "blk.", 4) != 0)
        return -1;
    for (; at < name.n && name.data[at] >= '0' && name.data[at] <= '9' && layer < 100000; at++)
        layer = 10 * layer + name.data[at] - '0';
    if (at == 4 || at >= name.n || name.data[at] != '.')
        return -1;
    *ret_rest = without((struct vs_str){ name.data + at + 1, name.n - at - 1 }, "cross_");
    return layer;
}

/* * stands for any text. */
static bool fits(const char *pattern, size_t n, struct vs_str name)
{
    size_t p = 0, i = 0, star = SIZE_MAX, mark = 0;
    while (i < name.n) {
        if (p < n && pattern[p] == '*') {
            star = p++;
            mark = i;
        } else if (p < n && pattern[p] == name.data[i]) {
            p++;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++mark;
        } else {
            return false;
        }
    }
    while (p < n && pattern[p] == '*')
        p++;
    return p == n;
}

static const struct vs_dtype_info *type_named(const char *name)
{
    const struct vs_dtype_info *info;
    for (size_t i = 0; (info = vs_dtype_at(i)) != NULL; i++)
        if (strcmp(info->name, name) == 0)
            return info;
    return NULL;
}

int vs_mix_check_override(const char *override, struct vs_error *err)
{
    const char *equals = strrchr(override, '=');
    const struct vs_dtype_info *type = equals ? type_named(equals + 1) : NULL;
    if (!equals || equals == override)
        return vs_error_set(err, VS_E_INVALID, "--tensor wants PATTERN=TYPE, not '%.100s'", override);
    if (!type)
        return vs_error_set(err, VS_E_INVALID, "--tensor: there is no type '%.40s'", equals + 1);
    if (!type->computable || !vs_quantize_makes((enum vs_dtype)type->id))
        return vs_error_set(err, VS_E_UNSUPPORTED, "--tensor: %s can be read but not made", type->name);
    return VS_OK;
}

/* ---- the choice ---- */

static bool is_matrix(const struct vs_gguf_tensor *t)
{
    static const char *const kept[] = { "_norm", "ffn_gate_inp", "ssm_conv1d", "shortconv.conv", "time_mix_", "position_embd",
                                        "token_types", "altup", "laurel", "per_layer_model_proj", "attn_rel_b", "attn_sinks",
                                        "rope_f" };
    if (t->n_dims < 2 || t->ne[1] < 2 || !ends_with(t->name, ".weight") || !t->dtype->computable)
        return false;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (holds(t->name, kept[i]))
            return false;
    return true;
}

static bool is_there(enum where where, uint32_t layer, uint32_t n)
{
    switch (where) {
    case MORE: return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
    case EIGHTH: return layer < n / 8;
    case SIXTEENTH: return layer < n / 16;
    case FIRST_2: return layer < 2;
    case FIRST_4: return layer < 4;
    default: return true;
    }
}

/* A decoder beside an encoder may have another number of them. */
static uint32_t n_layers(const struct vs_gguf *g, bool decoder)
{
    struct vs_str arch;
    uint32_t n = 0;
    char key[128];
    if (vs_entries_str(vs_gguf_entries(g), "general.architecture", &arch, NULL) != VS_OK)
        return 0;
    snprintf(key, sizeof key, "%.*s.block_count", arch.n < 64 ? (int)arch.n : 64, arch.data);
    vs_entries_u32(vs_gguf_entries(g), key, &n, NULL);
    snprintf(key, sizeof key, "%.*s.decoder_block_count", arch.n < 64 ? (int)arch.n : 64, arch.data);
    if (decoder)
        vs_entries_u32(vs_gguf_entries(g), key, &n, NULL);
    return n;
}

static enum vs_dtype wanted(const struct vs_mix *mix, const struct vs_gguf *g, const struct vs_gguf_tensor *t)
{
    struct vs_str rest;
    if (ends_with(t->name, "token_embd.weight"))
        return vs_gguf_tensor(g, "output.weight") ? mix->embedding : mix->output;
    int layer = layer_of(t->name, &rest);
    if (layer < 0)
        return ends_with(t->name, "output.weight") ? mix->output : mix->base;
    for (size_t i = 0; i < sizeof mix->rules / sizeof *mix->rules && mix->rules[i].part; i++) {
        const char *part = mix->rules[i].part;
        size_t n = strlen(part);
        bool same = strcmp(part, "exps") == 0 ? holds(rest, "_exps")
                  : rest.n > n && memcmp(rest.data, part, n) == 0 && (rest.data[n] == '.' || rest.data[n] == '_');
        if (same && is_there(mix->rules[i].where, (uint32_t)layer, n_layers(g, begins_with(t->name, "dec."))))
            return mix->rules[i].type;
    }
    return mix->base;
}

/* What is taken where a row is no multiple of the block. */
static enum vs_dtype fitting(enum vs_dtype type, uint64_t n_cols)
{
    static const struct { enum vs_dtype from, to; } fallback[] = {
        { VS_Q2_K, VS_IQ4_NL }, { VS_Q3_K, VS_IQ4_NL }, { VS_IQ4_XS, VS_IQ4_NL }, { VS_Q4_K, VS_Q5_0 }, { VS_Q5_K, VS_Q5_1 },
        { VS_Q6_K, VS_Q8_0 }, { VS_IQ3_S, VS_IQ4_NL }, { VS_IQ3_XXS, VS_IQ4_NL }, { VS_IQ2_S, VS_IQ4_NL },
        { VS_IQ2_XS, VS_IQ4_NL }, { VS_IQ2_XXS, VS_IQ4_NL }, { VS_IQ1_M, VS_IQ4_NL }, { VS_IQ1_S, VS_IQ4_NL },
        { VS_Q1_0, VS_Q2_0 }, { VS_Q2_0, VS_Q4_0 }, { VS_TQ1_0, VS_Q4_0 }, { VS_TQ2_0, VS_Q4_0 }, { VS_NVFP4, VS_MXFP4 },
    };
    for (size_t i = 0; i < sizeof fallback / sizeof *fallback; i++)
        if (fallback[i].from == type && n_cols % vs_dtype_info((uint32_t)type)->block_len != 0)
            type = fallback[i].to;
    return n_cols % vs_dtype_info((uint32_t)type)->block_len == 0 ? type : VS_F16;
}

static bool override_fits(const char *override, struct vs_str name)
{
    return fits(override, (size_t)(strrchr(override, '=') - override), name);
}

int vs_mix_check_fits(const char *override, const struct vs_gguf *g, struct vs_error *err)
{
    for (size_t i = 0; i < vs_gguf_n_tensors(g); i++)
        if (is_matrix(vs_gguf_tensor_at(g, i)) && override_fits(override, vs_gguf_tensor_at(g, i)->name))
            return VS_OK;
    return vs_error_set(err, VS_E_INVALID, "--tensor %.100s: it fits the whole name of no matrix; * stands for any text", override);
}

const struct vs_dtype_info *vs_mix_type(const struct vs_mix *mix, const struct vs_gguf *g, const struct vs_gguf_tensor *t,
                                        char *const *overrides, int n)
{
    if (!is_matrix(t))
        return t->dtype;
    for (int i = 0; i < n; i++)
        if (override_fits(overrides[i], t->name))
            return vs_dtype_info((uint32_t)fitting((enum vs_dtype)type_named(strrchr(overrides[i], '=') + 1)->id, t->ne[0]));
    return vs_dtype_info((uint32_t)fitting(wanted(mix, g, t), t->ne[0]));
}
