/* rooms: tokenizer import */
/* fuzz/tokenizer.c - a file's vocabulary, and text through it. Input: GGUF bytes; its last ones are also a text. */
#include "import/gguf.h"
#include "tokenizer/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* ASCII, long enough for masks, and for words that are merged beside others: by each instruction set, and without masks, with
 * every merge made and with no cuts between bytes that no piece has side by side. */
static void encode_each_way(struct vs_tokenizer *t, const uint8_t *data, size_t n)
{
    enum { MOST = 1024 };
    char text[MOST];
    struct vs_text_run run = { n < MOST ? n : MOST, false };
    struct vs_ids first = { 0 };
    for (size_t i = 0; i < run.n; i++)
        text[i] = (char)(data[n - run.n + i] & 0x7f);
    for (unsigned level = 0; level <= vs_levels(); level++) {
        struct vs_ids ids = { 0 };
        t->bpe.pretok.cut = vs_level[level % vs_levels()].cut;
        t->bpe.merge_lanes = vs_level[level % vs_levels()].merge_lanes;
        t->bpe.pretok.cut_flags = level < vs_levels() ? t->bpe.pretok.cut_flags : 0;
        for (uint32_t id = 0; level == vs_levels() && id < t->vocab.n; id++)
            t->vocab.flags[id] &= (uint8_t)~VS_PIECE_IS_PROVEN;
        if (level == vs_levels())
            memset(t->joined, 0xff, sizeof t->joined);
        if (vs_tokenizer_encode(t, text, run.n, &run, 1, 0, NULL, &ids, NULL) != VS_OK)
            ids.n = 0;
        if (level && (ids.n != first.n || (ids.n && memcmp(ids.id, first.id, ids.n * sizeof *ids.id) != 0)))
            abort();
        vs_ids_clear(level ? &ids : &first);
        first = level ? first : ids;
    }
    vs_ids_clear(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_gguf *g;
    struct vs_tokenizer *t;
    if (vs_gguf_open(data, n, n, &g, NULL) != VS_OK)
        return 0;
    if (vs_tokenizer_create(vs_gguf_entries(g), &t, NULL) == VS_OK) {
        static const char text[] = "Hello  <|im_start|>wor\xc3\xa9ld\n\n 123 \xf0\x9f\x98\x80's <0x41>";
        for (int trusted = 0; trusted < 2; trusted++) {
            struct vs_text_run run = { sizeof text - 1, trusted };
            struct vs_ids ids = { 0 };
            struct vs_buf out = { 0 };
            if (vs_tokenizer_encode(t, text, sizeof text - 1, &run, 1, trusted ? VS_ENCODE_ADD_SPECIAL : 0, NULL, &ids,
                                    NULL) == VS_OK) {
                struct vs_detok d;
                vs_detok_init(&d, t, trusted);
                for (size_t i = 0; i < ids.n; i++) {
                    uint32_t id = ids.id[i];
                    if (id >= vs_tokenizer_n_vocab(t))
                        abort();
                    if (!trusted && vs_tokenizer_is_control(t, id) && id != vs_tokenizer_unk(t))
                        abort();         /* plain text never becomes a control token; a byte without a piece is the unknown one */
                    vs_detok_push(&d, ids.id[i], &out);
                }
                vs_detok_finish(&d, &out);
                vs_tokenizer_decode(t, ids.id, ids.n, true, NULL, &out, NULL);
            }
            vs_ids_clear(&ids);
            vs_buf_clear(&out);
        }
        encode_each_way(t, data, n);
        vs_tokenizer_free(t);
    }
    vs_gguf_close(g);
    return 0;
}
