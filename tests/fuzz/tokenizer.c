/* rooms: tokenizer import */
/* fuzz/tokenizer.c - a file's vocabulary, and text through it. Input: GGUF bytes, then the text after the header. */
#include "import/gguf.h"
#include "tokenizer/tokenizer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

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
        vs_tokenizer_free(t);
    }
    vs_gguf_close(g);
    return 0;
}
