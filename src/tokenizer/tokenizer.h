/* tokenizer/tokenizer.h - text to token ids and back, exactly as the model was trained.
 *
 * Families (tokenizer.ggml.model): "gpt2" (byte-level BPE, pre-tokenizer by tokenizer.ggml.pre), "llama"
 * (SentencePiece BPE with byte fallback), "gemma4" (merges of characters over whole lines, byte fallback), "bert" (WordPiece),
 * "t5" (Unigram), "rwkv" (the longest piece at each byte), "plamo2" and "plamo3" (the cheapest cut). Others are refused by name.
 *
 * Text that came from outside never becomes a control token: every byte of the input is marked trusted (written by
 * the template) or not, and a control or unknown piece matches only where all its bytes are trusted.
 * User-defined pieces match anywhere. Apart from that, trust changes nothing: runs are tokenized as one text.
 * Where a model wants Normalization Form C, special pieces are found first, in the text as it came, so that no origin is lost and
 * nothing that the normaliser makes can become one; what lies between them is normalised.
 *
 * Memory:  a tokenizer owns copies of all it needs; the file's header may go after _create.
 * Threads: read-only after _create; encode uses only its own memory.
 * Failure: VS_OK or VS_E_*, err says what; outputs are untouched on failure unless said otherwise.
 */
#ifndef VS_TOKENIZER_TOKENIZER_H
#define VS_TOKENIZER_TOKENIZER_H
#include "base/buf.h"
#include "base/check.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_entries;
struct vs_tokenizer;

struct vs_text_run {                    /* the next n bytes of a text */
    size_t n;
    bool trusted;
};

struct vs_ids {                         /* growable list of token ids; zeroed = empty; _clear frees */
    uint32_t *id;
    size_t n, cap;
};
void vs_ids_clear(struct vs_ids *ids);
int vs_ids_add(struct vs_ids *ids, uint32_t id);      /* VS_OK or VS_E_NOMEM: nothing changed; so too below */
int vs_ids_append(struct vs_ids *ids, const uint32_t *id, size_t n);
int vs_ids_reserve(struct vs_ids *ids, size_t n);     /* memory for n more */

enum { VS_TOKENIZER_NONE = UINT32_MAX };              /* "no such token" */

/* VS_E_NOT_FOUND when the file carries no tokenizer (model "none" or keys absent). */
int vs_tokenizer_create(const struct vs_entries *entries, struct vs_tokenizer **ret, struct vs_error *err);
void vs_tokenizer_free(struct vs_tokenizer *t);

enum {
    VS_ENCODE_ADD_FIRST = 1,            /* bos in front, as the model asks; never a second one */
    VS_ENCODE_ADD_LAST = 2,             /* eos or sep at the end, as the model asks: not where the text is to be continued */
    VS_ENCODE_ADD_SPECIAL = 3,
};

/* Appends the ids of text[0..n) to *ids. The runs must cover exactly n bytes. Invalid UTF-8 is VS_E_MALFORMED and names
 * the byte offset. Time grows about linearly with n; check (or NULL) is asked every few milliseconds. */
int vs_tokenizer_encode(const struct vs_tokenizer *t, const char *text, size_t n,
                        const struct vs_text_run *runs, size_t n_runs, unsigned flags, struct vs_check *check,
                        struct vs_ids *ids, struct vs_error *err);

/* Names number i of what can be read, as tokenizer.ggml.model and .pre have them; NULL: there are no more. */
const char *vs_tokenizer_model_name(size_t i);
const char *vs_tokenizer_pre_name(size_t i);

uint32_t vs_tokenizer_n_vocab(const struct vs_tokenizer *t);
uint32_t vs_tokenizer_bos(const struct vs_tokenizer *t);         /* VS_TOKENIZER_NONE when there is none */
uint32_t vs_tokenizer_eos(const struct vs_tokenizer *t);
uint32_t vs_tokenizer_unk(const struct vs_tokenizer *t);         /* stands for a byte that no piece spells */
/* The file does not say how its model cuts text: what was usual long ago is taken, and ids are likely to be wrong. */
bool vs_tokenizer_is_guess(const struct vs_tokenizer *t);
bool vs_tokenizer_adds_bos(const struct vs_tokenizer *t);
/* A pair of texts has two end tokens between its parts (as RoBERTa was trained), not one. */
bool vs_tokenizer_pairs_twice(const struct vs_tokenizer *t);
bool vs_tokenizer_is_end(const struct vs_tokenizer *t, uint32_t id);      /* end-of-generation set */
bool vs_tokenizer_is_control(const struct vs_tokenizer *t, uint32_t id);
/* The piece as the file spells it (for inspect and for bos_token in templates). Ids beyond the vocabulary give n = 0. */
const char *vs_tokenizer_piece(const struct vs_tokenizer *t, uint32_t id, size_t *ret_n);

/* What a token adds to an answer that goes on; n = 0: nothing, because it is a control token or beyond the vocabulary. */
const char *vs_tokenizer_text(const struct vs_tokenizer *t, uint32_t id, size_t *ret_n);

/* Ids back to bytes. Control tokens give nothing unless `special`. The bytes may be invalid UTF-8. Appends to out.
 * VS_E_INVALID when an id is beyond the vocabulary; what would go beyond out->limit is VS_E_LIMIT before it is built. */
int vs_tokenizer_decode(const struct vs_tokenizer *t, const uint32_t *ids, size_t n, bool special,
                        struct vs_check *check, struct vs_buf *out, struct vs_error *err);

/* Streaming: pushes never split a UTF-8 character. What can't be shown yet is held back (at most 3 bytes);
 * bytes that can no longer become valid turn into U+FFFD. Concatenated output of push ... finish is valid UTF-8. */
struct vs_detok {
    const struct vs_tokenizer *t;
    bool special;                       /* print control tokens too */
    bool started;                       /* false until the first token: SPM drops one leading space there */
    unsigned char held[4];
    size_t n_held;
};
void vs_detok_init(struct vs_detok *d, const struct vs_tokenizer *t, bool special);
/* For an answer that continues a prompt: no leading space is dropped. */
void vs_detok_continue(struct vs_detok *d);
int vs_detok_push(struct vs_detok *d, uint32_t id, struct vs_buf *out);
void vs_detok_finish(struct vs_detok *d, struct vs_buf *out);
#endif
