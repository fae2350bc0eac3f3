/* import/decoder.c - what stands behind the encoder of a model that answers a source: keys and values of the source for each layer
 * of the decoder, then these layers, each of which attends first to the answer, then to the source (T5). */
#include "import/internal.h"
#include "base/num.h"

/* Of the last layer only rows that are read go past attention. */
static uint32_t layer(struct vs_builder *b, uint32_t h, uint32_t il)
{
    int i = (int)il;
    uint32_t width, x = vs_gb_attend(b, vs_gb_norm(b, h, i, "attn_norm", b->n_embd), il, &width);
    h = vs_gb_add(b, h, vs_gb_linear(b, x, i, b->arch->attention_output, width, b->n_embd));
    x = vs_gb_attend_source(b, vs_gb_norm(b, h, i, "cross_attn_norm", b->n_embd), il);
    x = vs_gb_read_rows(b, x, il, b->n_heads * b->value_dim);
    h = vs_gb_read_rows(b, h, il, b->n_embd);
    h = vs_gb_add(b, h, vs_gb_linear(b, x, i, "cross_attn_o", b->n_heads * b->value_dim, b->n_embd));
    return vs_gb_add(b, h, vs_gb_feed_forward(b, vs_gb_norm(b, h, i, "ffn_norm", b->n_embd), i));
}

uint32_t vs_gb_decoder(struct vs_builder *b, uint32_t source, const struct vs_node *embed)
{
    struct vs_graph *g = b->g;
    uint32_t n_layers = vs_gb_get_u32(b, "decoder_block_count", b->n_layers, 1, MAX_LAYERS);
    g->start = vs_gb_get_u32(b, "decoder_start_token_id", -1, 0, b->n_vocab - 1);
    source = vs_gb_norm(b, source, -1, "enc.output_norm", b->n_embd);
    b->blocks = b->arch->decoder;
    for (uint32_t i = 0; i < n_layers && b->status == VS_OK; i++)
        vs_gb_keep_source(b, source, i);
    g->n_source = g->n_nodes;
    g->context *= 2;                     /* distances alone are told: a source and an answer may be as long */
    b->in_source = b->both_ways = false;
    b->n_layers = b->n_own = n_layers;
    b->loop = 0;                         /* they run once */
    uint32_t h = vs_gb_node(b, *embed, b->n_embd);
    for (uint32_t i = 0; i < n_layers && b->status == VS_OK; i++)
        h = layer(b, h, i);
    h = vs_gb_norm(b, h, -1, "dec.output_norm", b->n_embd);
    bool tied = !vs_gb_is_there(b, -1, "output.weight");     /* then the models were trained so */
    return vs_gb_scaled(b, h, tied ? 1.0f / vs_sqrtf((float)b->n_embd) : 1, b->n_embd);
}
