/* import/llm.c - see llm.h: what stands before the first layer and behind the last, and that nothing of the file is left over. */
#include "import/internal.h"
#include "import/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The layer that a tensor's name puts it into; 0 for those of none. Blocks after the last layer guess further tokens, which we
 * don't ask them for. */
static uint32_t block_of(const struct vs_builder *b, const struct vs_gguf_tensor *t)
{
    uint32_t n = 0;
    size_t at = 4;
    if (t->name.n < 6 || memcmp(t->name.data, "blk.", 4) != 0)
        return 0;
    for (; at < t->name.n && t->name.data[at] >= '0' && t->name.data[at] <= '9' && n < MAX_LAYERS; at++)
        n = 10 * n + (uint32_t)(t->name.data[at] - '0');
    return at < t->name.n && t->name.data[at] == '.' && n < b->n_blocks ? n : 0;
}

static bool holds(struct vs_str s, const char *part)
{
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= s.n; i++)
        if (memcmp(s.data + i, part, n) == 0)
            return true;
    return false;
}

/* Tensors that no node reads would be a wrong answer. What serves other machines only may stay. */
static void refuse_unused(struct vs_builder *b)
{
    static const char ending[] = ".input_scale";
    for (size_t i = 0; i < vs_gguf_n_tensors(b->file) && b->status == VS_OK; i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(b->file, i);
        size_t n = sizeof ending - 1;
        bool is_indexer = b->arch->indexer && holds(t->name, ".indexer.");
        bool is_shared = b->n_own < b->n_layers && block_of(b, t) >= b->n_own
                         && (holds(t->name, ".attn_k") || holds(t->name, ".attn_v"));
        /* RWKV 7: layer 0 would mix its values with themselves */
        bool is_first = b->arch->mixer == RWKV7 && block_of(b, t) == 0 && holds(t->name, "blk.0.time_mix_v")
                        && !holds(t->name, "time_mix_value");
        /* the first T5 files have it, and no T5 reads it */
        bool is_bias = b->arch->decoder && holds(t->name, ".cross_attn_rel_b.");
        bool is_output = b->g->whole && (vs_gb_is_named(t->name, "output.weight") || vs_gb_is_named(t->name, "output.bias"));
        if (b->made[i] != VS_NONE || is_output || is_indexer || is_first || is_shared || is_bias || block_of(b, t) >= b->n_layers
            || (t->name.n > n && memcmp(t->name.data + t->name.n - n, ending, n) == 0))
            continue;
        b->status = vs_error_set(b->err, VS_E_UNSUPPORTED,
                                 "model: %s: nothing in a %s model reads this tensor; without it the answers would "
                                 "be wrong", vs_str_shown(t->name).text, b->arch->name);
    }
}

static void read_all(struct vs_builder *b)
{
    b->status = vs_keys_check(b->file, b->arch->name, b->err);
    if (b->status == VS_OK)
        vs_gb_read_hyper_parameters(b);
    if (b->status == VS_OK)
        vs_gb_read_vocabulary(b);
    if (b->status == VS_OK)
        vs_gb_read_ropes(b);
}

/* What is added to the rows of tokens, before the first layer. */
static uint32_t embedded(struct vs_builder *b, uint32_t h)
{
    char what[96];
    if (b->arch->positions == POSITIONS || (b->arch->positions && vs_gb_is_there(b, -1, "position_embd.weight"))) {
        struct vs_node n = vs_gb_base(VS_OP_POSITION, h);
        uint32_t rows = vs_gb_rows_of(b, "position_embd.weight", UINT32_C(1) << 24);
        n.tensor[0] = vs_gb_tensor(b, -1, "position_embd.weight", b->n_embd, vs_gb_whole(rows), false);
        snprintf(what, sizeof what, "has %u rows, and the context is %u", rows, b->g->context);
        if (b->status == VS_OK && rows < b->g->context)
            vs_gb_fail(b, VS_E_MALFORMED, what, "position_embd.weight");
        h = vs_gb_node(b, n, b->n_embd);
    }
    if (b->arch->encoder && vs_gb_is_there(b, -1, "token_types.weight")) {     /* the first is that of a text alone */
        struct vs_node n = vs_gb_base(VS_OP_SCALE, h);
        uint32_t rows = vs_gb_rows_of(b, "token_types.weight", 1024);
        n.p.scale = 1;
        n.tensor[1] = vs_gb_tensor(b, -1, "token_types.weight", b->n_embd, (struct vs_part){ 0, 1, rows }, false);
        if (b->status == VS_OK && b->g->tensors[n.tensor[1]].dtype != VS_F32)
            vs_gb_fail(b, VS_E_UNSUPPORTED, "a norm, bias, scale or rope tensor must be F32", "token_types.weight");
        h = vs_gb_node(b, n, b->n_embd);
    }
    if (b->arch->bare_embedding_norm)
        h = vs_gb_group_norm(b, h, -1, NULL, 1, b->n_embd);
    bool normed = b->arch->embedding_norm || (b->arch->encoder && vs_gb_is_there(b, -1, "token_embd_norm.weight"));
    return normed ? vs_gb_norm(b, h, -1, "token_embd_norm", b->n_embd) : h;
}

/* modern-bert's last layer before the scores, which reads the mean of all rows, or the first one, where the file says so. */
static uint32_t mean_head(struct vs_builder *b, uint32_t h)
{
    enum { POOL_MEAN = 1, POOL_CLS = 2 };        /* as the files number it */
    if (vs_gb_get_u32(b, "classifier.pooling_type", POOL_MEAN, POOL_MEAN, POOL_CLS) == POOL_MEAN)
        h = vs_gb_node(b, vs_gb_base(VS_OP_MEAN, h), b->n_embd);
    if (!vs_gb_is_there(b, -1, "cls.weight"))
        return h;
    h = vs_gb_act(b, vs_gb_linear(b, h, -1, "cls", b->n_embd, b->n_embd), b->n_embd, VS_ACT_GELU_ERF);
    return vs_gb_is_there(b, -1, "cls.norm.weight") ? vs_gb_norm(b, h, -1, "cls.norm", b->n_embd) : h;
}

/* The scores of a model that ranks: of encoders behind one more layer, where they have it. VS_NONE: it does not rank. */
static uint32_t ranks(struct vs_builder *b, uint32_t h)
{
    if (!vs_gb_is_there(b, -1, "cls.output.weight"))
        return VS_NONE;
    if (b->arch->mean_head)
        h = mean_head(b, h);
    else if (b->arch->encoder && vs_gb_is_there(b, -1, "cls.weight"))
        h = vs_gb_tanh(b, vs_gb_linear(b, h, -1, "cls", b->n_embd, b->n_embd), b->n_embd);
    return vs_gb_linear(b, h, -1, "cls.output", b->n_embd, vs_gb_rows_of(b, "cls.output.weight", 1024));
}

/* EmbeddingGemma's last two matrices. They follow the mean of the rows; row by row it is the same, as nothing bends between. */
static uint32_t dense_ends(struct vs_builder *b, uint32_t h)
{
    uint32_t width = b->n_embd;
    static const char *const stems[] = { "dense_2", "dense_3" };
    for (int i = 0; i < 2 && b->arch->dense_ends; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.weight", stems[i]);
        if (!vs_gb_is_there(b, -1, name))
            continue;
        uint32_t n = vs_gb_rows_of(b, name, MAX_WIDTH);
        h = vs_gb_linear(b, h, -1, stems[i], width, n);
        width = n;
    }
    return h;
}

static void build(struct vs_builder *b)
{
    struct vs_graph *g = b->g;
    struct vs_node embed = vs_gb_base(VS_OP_EMBED, VS_NONE);
    embed.tensor[0] = vs_gb_tensor(b, -1, "token_embd.weight", b->n_embd, vs_gb_whole(b->n_vocab), false);
    embed.p.scale = b->embedding_scale;
    uint32_t h = vs_gb_node(b, embed, b->n_embd);
    h = embedded(b, h);
    b->layer_inputs = b->layer_width ? vs_gb_layer_inputs(b, h) : VS_NONE;
    h = b->arch->streams ? vs_gb_streams(b, h) : h;
    bool between = !vs_gb_get_bool(b, "skip_loop_final_norm", false);
    for (b->loop = 0; b->loop < b->n_loops && b->status == VS_OK; b->loop++) {
        for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++)
            h = vs_gb_layer(b, h, i);
        if (between && b->loop + 1 < b->n_loops)
            h = vs_gb_norm(b, h, -1, "output_norm", b->n_embd);
    }
    h = b->arch->streams ? vs_gb_streams_end(b, h) : h;
    bool other = b->arch->final_norm && !vs_gb_is_there(b, -1, "output_norm.weight");
    if (b->arch->decoder)
        h = vs_gb_decoder(b, h, &embed);
    else if (!b->arch->sum_norm)
        h = vs_gb_norm(b, h, -1, other ? b->arch->final_norm : "output_norm", b->n_embd);
    uint32_t tied = vs_gb_is_there(b, -1, "output.weight") ? VS_NONE : embed.tensor[0];
    if (!b->arch->decoder) {
        g->output[VS_OUTPUT_SCORE] = ranks(b, h);
        g->output[VS_OUTPUT_VECTOR] = dense_ends(b, h);
    }
    g->n_layers = b->n_layers;
    g->n_vocab = b->n_vocab;
    g->n_embd = b->n_embd;
    if (g->whole)
        return;                          /* no token follows from what has seen them all */
    uint32_t logits = vs_gb_product(b, h, -1, "output", "output", tied, b->n_embd, vs_gb_whole(b->n_vocab));
    logits = vs_gb_scaled(b, logits, b->logit_scale, b->n_vocab);
    if (b->logit_cap > 0) {
        struct vs_node n = vs_gb_base(VS_OP_SOFTCAP, logits);
        n.p.softcap = b->logit_cap;
        logits = vs_gb_node(b, n, b->n_vocab);
    }
    g->output[VS_OUTPUT_LOGITS] = logits;
}

int vs_import_llm(const struct vs_gguf *file, struct vs_graph *ret, struct vs_error *err)
{
    return vs_import_adapted(file, NULL, 0, ret, err);
}

int vs_import_adapted(const struct vs_gguf *file, struct vs_adapter *const *adapters, unsigned n, struct vs_graph *ret,
                      struct vs_error *err)
{
    struct vs_error unseen = { 0 };
    if (!err)
        err = &unseen;
    memset(ret, 0, sizeof *ret);
    for (int i = 0; i < VS_N_OUTPUTS; i++)
        ret->output[i] = VS_NONE;
    const struct vs_family *arch = vs_gb_find_architecture(file, err);
    if (!arch)
        return err->code;
    size_t n_tensors = vs_gguf_n_tensors(file);
    struct vs_builder b = { .file = file, .arch = arch, .g = ret, .err = err, .made = malloc((n_tensors + 1) * sizeof *b.made),
                         .blocks = arch->blocks ? arch->blocks : "blk",
                         .adapters = adapters, .n_adapters = n };
    if (!b.made)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    memset(b.made, 0xff, n_tensors * sizeof *b.made);    /* VS_NONE */
    snprintf(ret->architecture, sizeof ret->architecture, "%s", arch->name);
    read_all(&b);
    if (b.status == VS_OK)
        build(&b);
    if (b.status == VS_OK && ret->status != VS_OK)
        vs_gb_fail(&b, ret->status, "out of memory", "");
    if (b.status == VS_OK)
        refuse_unused(&b);
    if (b.status == VS_OK)
        vs_gb_check_adapted(&b);
    ret->n_adapters = n;
    free(b.made);
    if (b.status != VS_OK)
        vs_graph_clear(ret);
    return b.status;
}
