/* tokenizer/spm.c - SentencePiece BPE (tokenizer.ggml.model "llama").
 *
 * Two neighbours merge when their joined text is a piece; the highest score goes first. U+2581 in the file stands for a
 * space; here pieces are kept with the space. Characters that are no piece become byte tokens.
 *
 * The original looks at a whole text at once. Where no piece has two bytes side by side no merge can cross the place between
 * them, so the text is cut there into words: same ids, and words can be remembered.
 */
#include "tokenizer/internal.h"

#include "base/bytes.h"
#include "base/num.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char space_sign[] = "\xe2\x96\x81";      /* U+2581 */
enum { N_SIGN = sizeof space_sign - 1, PART = 1 << 16 };

size_t vs_spm_unescape(const char *s, size_t n, char *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n;) {
        if (n - i >= N_SIGN && memcmp(s + i, space_sign, N_SIGN) == 0) {
            out[n_out++] = ' ';
            i += N_SIGN;
        } else {
            out[n_out++] = s[i++];
        }
    }
    return n_out;
}

/* "<0x0A>" -> 10, else -1 */
static int byte_of(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || vs_hex_digit(s[3]) < 0 || vs_hex_digit(s[4]) < 0)
        return -1;
    return vs_hex_digit(s[3]) * 16 + vs_hex_digit(s[4]);
}

size_t vs_spm_unspell(enum vs_piece_type type, const char *s, size_t n, char *out, bool *ret_reachable)
{
    *ret_reachable = !memchr(s, ' ', n);        /* merging sees spaces as U+2581 */
    if (type == VS_PIECE_CONTROL || type == VS_PIECE_UNKNOWN) {
        memcpy(out, s, n);
        return n;
    }
    if (type == VS_PIECE_BYTE && byte_of(s, n) >= 0) {
        *out = (char)byte_of(s, n);
        return 1;
    }
    return vs_spm_unescape(s, n, out);
}

/* Ascending when the scores descend. */
static uint32_t priority(float score)
{
    return ~vs_f32_order(score);
}

/* A byte's own piece, where there is one, else the piece that it prints as. */
void vs_spm_find_bytes(struct vs_tokenizer *t)
{
    struct vs_vocab *v = &t->vocab;
    for (unsigned b = 0; b < 256; b++) {
        char c = (char)b;
        t->byte_id[b] = vs_vocab_find(v, &c, 1);
    }
    for (uint32_t id = 0; id < v->n; id++) {
        size_t n;
        const char *s = vs_span(&v->bytes, id, &n);
        if (v->type[id] == VS_PIECE_BYTE && n == 1)
            t->byte_id[(uint8_t)*s] = id;
    }
}

/* Appends the text with spaces for their signs to e->text; words lie in it from now on. Where it begins there. */
int vs_spm_rewrite(struct vs_encoder *e, const char *text, size_t n, size_t *ret_from)
{
    *ret_from = e->text.n;
    char *out = vs_buf_grow(&e->text, n);
    if (!out)
        return VS_E_NOMEM;
    size_t n_out = 0;
    int r = VS_OK;
    for (size_t i = 0, part; i < n && r == VS_OK; i += part) {
        part = n - i < PART ? n - i : PART;
        while (i + part < n && ((uint8_t)text[i + part] & 0xc0) == 0x80)
            part++;                     /* the sign is not cut */
        n_out += vs_spm_unescape(text + i, part, out + n_out);
        r = vs_check_work(e->check, part);
    }
    e->text.n -= n - n_out;
    e->base = e->text.data;
    return r;
}

static int load(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    struct vs_vocab *v = &t->vocab;
    const char *key = "tokenizer.ggml.scores";
    const struct vs_entry *kv = NULL;
    int r = vs_vocab_array(entries, key, v->n, true, &kv, err);
    if (r != VS_OK)
        return r;
    t->spm.priority = malloc(v->n * sizeof *t->spm.priority);
    if (!t->spm.priority)
        return vs_error_set(err, VS_E_NOMEM, "no memory for a vocabulary of %" PRIu32 " tokens", v->n);
    vs_spm_find_bytes(t);
    for (uint32_t id = 0; id < v->n; id++) {
        double score;
        if (!vs_entry_float(kv, id, &score) || score != score)
            return vs_error_set(err, VS_E_MALFORMED, "%s: the score of token %" PRIu32 " is not a number", key, id);
        t->spm.priority[id] = priority((float)score);
    }
    vs_find_joined(t);
    return VS_OK;
}

static int encode(struct vs_encoder *e, const char *text, size_t n, bool at_start)
{
    const struct vs_tokenizer *t = e->t;
    size_t from;
    bool prefix = at_start && t->add_space_prefix;
    if (prefix)
        vs_buf_char(&e->text, ' ');
    int r = vs_spm_rewrite(e, text, n, &from);
    if (r != VS_OK)
        return r;
    from -= prefix;
    e->end = e->base + e->text.n;
    return vs_encoder_text(e, e->base + from, e->end);
}

static uint64_t merge(const struct vs_tokenizer *t, const char *word, const struct vs_symbol *a, const struct vs_symbol *b)
{
    uint32_t id = vs_vocab_find(&t->vocab, word + a->at, (size_t)a->n + b->n);
    return id == VS_NO_ID ? VS_NO_MERGE : (uint64_t)t->spm.priority[id] << 32 | id;
}

int vs_spm_symbols(struct vs_encoder *e, const char *word, size_t n, struct vs_symbol *ret, size_t *ret_n)
{
    size_t n_symbols = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        int r = vs_encoder_ask(e, n_symbols);
        if (r != VS_OK)
            return r;
        size_t len = vs_utf8_decode(word + i, n - i, &c);
        if (!len)
            return vs_error_set(e->err, VS_E_MALFORMED, "the text is not valid UTF-8");
        ret[n_symbols++] = (struct vs_symbol){ (uint32_t)i, (uint32_t)len, vs_vocab_find(&e->t->vocab, word + i, len) };
        i += len;
    }
    *ret_n = n_symbols;
    return VS_OK;
}

int vs_spm_emit(struct vs_encoder *e, const char *word, const struct vs_symbol *s)
{
    const char *bytes = word + s->at;
    size_t n = s->n;
    if (n == 1 && *bytes == ' ') {
        bytes = space_sign;
        n = N_SIGN;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t id = e->t->byte_id[(uint8_t)bytes[i]];
        if (id == VS_NO_ID)
            id = e->t->unk;
        if (id == VS_NO_ID)
            return vs_error_set(e->err, VS_E_MALFORMED, "the vocabulary has no token for byte 0x%02x", (uint8_t)bytes[i]);
        int r = vs_ids_add(e->ids, id);
        if (r != VS_OK)
            return r;
    }
    return VS_OK;
}

const struct vs_family vs_family_spm = {
    .name = "llama", .bos = 1, .eos = 2, .unk = 0, .sep = VS_NO_ID, .add_bos = true, .add_space_prefix = true,
    .unspell = vs_spm_unspell, .load = load, .encode = encode, .word = vs_merge_word, .merge = merge,
    .symbols = vs_spm_symbols, .emit = vs_spm_emit,
};
