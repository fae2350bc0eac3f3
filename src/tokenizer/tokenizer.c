/* tokenizer/tokenizer.c - vocabulary, special tokens, decoding; the families are in bpe.c and spm.c. See tokenizer.h. */
#include "tokenizer/internal.h"

#include "base/utf8.h"
#include "import/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct vs_family *const families[] = { &vs_family_bpe, &vs_family_spm };
enum { N_FAMILIES = sizeof families / sizeof *families, MAX_SPECIAL = 256, MAX_VOCAB = 1 << 24 };

/* Texts that end a generation, whatever the file calls them. */
static const char *const end_texts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>",
    "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>",
    "<|tool_response>", "<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
};

/* ---- small things ---- */

void vs_ids_clear(struct vs_ids *ids)
{
    free(ids->id);
    memset(ids, 0, sizeof *ids);
}

int vs_ids_add(struct vs_ids *ids, uint32_t id)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 64;
        uint32_t *grown = realloc(ids->id, cap * sizeof *grown);
        if (!grown)
            return VS_E_NOMEM;
        ids->id = grown;
        ids->cap = cap;
    }
    ids->id[ids->n++] = id;
    return VS_OK;
}

static uint32_t hash(const char *s, size_t n)            /* FNV-1a, mixed at the end */
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * UINT64_C(0x100000001b3);
    return (uint32_t)(h ^ h >> 32);
}

static uint32_t table_size(uint32_t n)
{
    uint32_t size = 64;
    while (size < 2 * n)
        size *= 2;
    return size;
}

uint32_t vs_piece_find(const struct vs_tokenizer *t, const char *s, size_t n)
{
    for (uint32_t i = hash(s, n);; i++) {
        uint32_t slot = t->table[i & t->table_mask];
        if (!slot)
            return VS_TOKENIZER_NONE;
        size_t len;
        const char *piece = vs_piece_bytes(t, slot - 1, &len);
        if (len == n && memcmp(piece, s, n) == 0)
            return slot - 1;
    }
}

int vs_piece_as_bytes(const struct vs_tokenizer *t, const char *s, size_t n, struct vs_ids *ids, struct vs_error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t id = t->byte_id[(uint8_t)s[i]];
        if (id == VS_TOKENIZER_NONE)
            return vs_error_set(err, VS_E_MALFORMED, "tokenizer: the vocabulary has no token for byte 0x%02x", (uint8_t)s[i]);
        if (vs_ids_add(ids, id) != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    return VS_OK;
}

static bool before(const struct vs_pair *a, const struct vs_pair *b)
{
    return a->key != b->key ? a->key < b->key : a->left < b->left;
}

int vs_heap_push(struct vs_heap *h, struct vs_pair p)
{
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 256;
        struct vs_pair *grown = realloc(h->pair, cap * sizeof *grown);
        if (!grown)
            return VS_E_NOMEM;
        h->pair = grown;
        h->cap = cap;
    }
    size_t i = h->n++;
    for (; i && before(&p, &h->pair[(i - 1) / 2]); i = (i - 1) / 2)
        h->pair[i] = h->pair[(i - 1) / 2];
    h->pair[i] = p;
    return VS_OK;
}

bool vs_heap_pop(struct vs_heap *h, struct vs_pair *ret)
{
    if (!h->n)
        return false;
    *ret = h->pair[0];
    struct vs_pair last = h->pair[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(&h->pair[child + 1], &h->pair[child]))
            child++;
        if (!before(&h->pair[child], &last))
            break;
        h->pair[i] = h->pair[child];
        i = child;
    }
    if (h->n)
        h->pair[i] = last;
    return true;
}

/* ---- load ---- */

static bool is_special(const struct vs_tokenizer *t, uint32_t id)
{
    return t->type[id] == VS_PIECE_CONTROL || t->type[id] == VS_PIECE_UNKNOWN || t->type[id] == VS_PIECE_USER;
}

/* The printable mapping of byte-level vocabularies: bytes that print stand for themselves, the other 68 for U+0100 and up. */
static int byte_of(uint32_t c)
{
    if ((c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255))
        return (int)c;
    if (c < 0x100 || c >= 0x100 + 68)
        return -1;
    c -= 0x100;
    return c < 33 ? (int)c : c < 67 ? (int)(c - 33 + 127) : 173;
}

/* A piece in the mapping becomes bytes; a character outside it stays as it is. */
size_t vs_piece_unmap(const char *s, size_t n, char *to)
{
    size_t out = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = vs_utf8_decode(s + i, n - i, &c);
        int b = len ? byte_of(c) : -1;
        if (b >= 0) {
            to[out++] = (char)b;
        } else {
            len = len ? len : 1;
            memcpy(to + out, s + i, len);
            out += len;
        }
        i += len;
    }
    return out;
}

static int load_pieces(struct vs_tokenizer *t, const struct vs_gguf *g, struct vs_error *err)
{
    const struct vs_gguf_kv *tokens = vs_gguf_find(g, "tokenizer.ggml.tokens");
    if (!tokens || tokens->type != VS_GGUF_ARRAY || tokens->elem_type != VS_GGUF_STRING)
        return vs_error_set(err, VS_E_MALFORMED, "tokenizer: tokenizer.ggml.tokens is %s", tokens ? "not a list of strings" : "missing");
    if (!tokens->count || tokens->count > MAX_VOCAB || tokens->n_bytes > UINT32_MAX)
        return vs_error_set(err, VS_E_MALFORMED, "tokenizer: tokenizer.ggml.tokens has %llu entries",
                            (unsigned long long)tokens->count);
    t->n_vocab = (uint32_t)tokens->count;
    t->spelling = malloc(tokens->n_bytes + 1);
    t->spelling_at = malloc((t->n_vocab + 1) * sizeof *t->spelling_at);
    t->type = malloc(t->n_vocab);
    t->is_end = calloc(t->n_vocab, 1);
    if (!t->spelling || !t->spelling_at || !t->type || !t->is_end)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    struct vs_gguf_cursor cursor = { 0 };
    struct vs_str s;
    uint32_t at = 0, i = 0;
    while (i < t->n_vocab && vs_gguf_next_str(tokens, &cursor, &s)) {
        t->spelling_at[i++] = at;
        memcpy(t->spelling + at, s.data, s.n);
        at += (uint32_t)s.n;
    }
    if (i != t->n_vocab)
        return vs_error_set(err, VS_E_MALFORMED, "tokenizer: tokenizer.ggml.tokens ends early");
    t->spelling_at[i] = at;

    const struct vs_gguf_kv *types = vs_gguf_find(g, "tokenizer.ggml.token_type");
    if (types && (types->type != VS_GGUF_ARRAY || types->count < t->n_vocab))
        return vs_error_set(err, VS_E_MALFORMED, "tokenizer: tokenizer.ggml.token_type is not a list as long as the tokens");
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        int64_t type = VS_PIECE_NORMAL;
        if (types && !vs_gguf_int(types, id, &type))
            return vs_error_set(err, VS_E_MALFORMED, "tokenizer: tokenizer.ggml.token_type is not a list of whole numbers");
        t->type[id] = type >= 0 && type <= VS_PIECE_BYTE ? (uint8_t)type : VS_PIECE_NORMAL;
    }
    return VS_OK;
}

static bool spelled(const struct vs_tokenizer *t, uint32_t id, const char *text)
{
    size_t n;
    const char *s = vs_tokenizer_piece(t, id, &n);
    return strlen(text) == n && memcmp(s, text, n) == 0;
}

static uint32_t get_id(const struct vs_tokenizer *t, const struct vs_gguf *g, const char *key)
{
    uint32_t id;
    return vs_gguf_get_u32(g, key, &id, NULL) == VS_OK && id < t->n_vocab ? id : VS_TOKENIZER_NONE;
}

/* End-of-generation set: eos, eot, eom and well-known texts; those texts are control tokens whatever the file says. */
static void find_ends(struct vs_tokenizer *t, const struct vs_gguf *g)
{
    static const char *const keys[] = { "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id" };
    bool has_return = false, has_call = false, has_flush = false, has_calls = false, has_tool_response = false;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *s = vs_tokenizer_piece(t, id, &n);
        if (n < 4 || (s[0] != '<' && s[0] != '[' && s[0] != '_'))
            continue;
        for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++)
            if (spelled(t, id, end_texts[i])) {
                t->is_end[id] = true;
                t->type[id] = VS_PIECE_CONTROL;
            }
        has_return |= spelled(t, id, "<|return|>");
        has_call |= spelled(t, id, "<|call|>");
        has_flush |= spelled(t, id, "<|flush|>");
        has_calls |= spelled(t, id, "<|calls|>");
        has_tool_response |= spelled(t, id, "<|tool_response>");
    }
    bool messages = (has_return && has_call) || (has_flush && has_calls);      /* there <|end|> closes a message only */
    for (uint32_t id = 0; id < t->n_vocab && (messages || has_tool_response); id++) {
        if (messages && spelled(t, id, "<|end|>"))
            t->is_end[id] = false;
        if (has_tool_response && spelled(t, id, "</s>"))
            t->is_end[id] = false;
    }
    for (size_t i = 0; i < 3; i++) {
        uint32_t id = get_id(t, g, keys[i]);
        if (id != VS_TOKENIZER_NONE)
            t->is_end[id] = true;
    }
}

static int make_bytes(struct vs_tokenizer *t, struct vs_error *err)
{
    t->bytes = malloc(t->spelling_at[t->n_vocab] + 1);
    t->bytes_at = malloc((t->n_vocab + 1) * sizeof *t->bytes_at);
    if (!t->bytes || !t->bytes_at)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    uint32_t at = 0;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *s = vs_tokenizer_piece(t, id, &n);
        t->bytes_at[id] = at;
        if (t->family->byte_level && !is_special(t, id)) {
            at += (uint32_t)vs_piece_unmap(s, n, t->bytes + at);
        } else {
            memcpy(t->bytes + at, s, n);
            at += (uint32_t)n;
        }
    }
    t->bytes_at[t->n_vocab] = at;
    return VS_OK;
}

/* Pieces that text can become through merging: control, unknown and byte pieces are not among them. The lowest id wins. */
static int make_table(struct vs_tokenizer *t, struct vs_error *err)
{
    uint32_t size = table_size(t->n_vocab), n_special = 0;
    t->table = calloc(size, sizeof *t->table);
    if (!t->table)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    t->table_mask = size - 1;
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *s = vs_piece_bytes(t, id, &n);
        n_special += is_special(t, id);
        if (t->type[id] == VS_PIECE_CONTROL || t->type[id] == VS_PIECE_UNKNOWN || t->type[id] == VS_PIECE_BYTE || !n)
            continue;
        uint32_t i = hash(s, n);
        for (;; i++) {
            uint32_t *slot = &t->table[i & t->table_mask];
            size_t len = 0;
            const char *other = *slot ? vs_piece_bytes(t, *slot - 1, &len) : NULL;
            if (!other)
                *slot = id + 1;
            if (!other || (len == n && memcmp(other, s, n) == 0))
                break;
        }
    }
    size = table_size(n_special);
    t->special = calloc(size, sizeof *t->special);
    t->special_lengths = calloc(256 * (MAX_SPECIAL / 64), sizeof *t->special_lengths);
    if (!t->special || !t->special_lengths)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    t->special_mask = size - 1;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *s = vs_tokenizer_piece(t, id, &n);
        if (!is_special(t, id) || !n || n > MAX_SPECIAL)
            continue;
        uint32_t i = hash(s, n);
        while (t->special[i & t->special_mask])
            i++;
        t->special[i & t->special_mask] = id + 1;
        t->special_lengths[(uint8_t)s[0] * (MAX_SPECIAL / 64) + (n - 1) / 64] |= UINT64_C(1) << (n - 1) % 64;
    }
    return VS_OK;
}

static bool flag(const struct vs_gguf *g, const char *key, bool preset)
{
    bool v;
    return vs_gguf_get_bool(g, key, &v, NULL) == VS_OK ? v : preset;
}

int vs_tokenizer_create(const struct vs_gguf *g, struct vs_tokenizer **ret, struct vs_error *err)
{
    struct vs_str model;
    int r = vs_gguf_get_str(g, "tokenizer.ggml.model", &model, err);
    if (r == VS_E_NOT_FOUND || (r == VS_OK && ((model.n == 4 && memcmp(model.data, "none", 4) == 0)
                                              || (model.n == 8 && memcmp(model.data, "no_vocab", 8) == 0))))
        return vs_error_set(err, VS_E_NOT_FOUND, "the model file carries no tokenizer");
    if (r != VS_OK)
        return r;
    const struct vs_family *family = NULL;
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (strlen(families[i]->name) == model.n && memcmp(families[i]->name, model.data, model.n) == 0)
            family = families[i];
    if (!family)
        return vs_error_set(err, VS_E_UNSUPPORTED, "tokenizer: model '%.*s' is not supported; supported are gpt2, llama",
                            (int)(model.n < 40 ? model.n : 40), model.data);
    struct vs_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    t->family = family;
    t->add_bos = family->add_bos;
    r = load_pieces(t, g, err);
    if (r == VS_OK) {
        find_ends(t, g);
        r = make_bytes(t, err);
    }
    if (r == VS_OK)
        r = make_table(t, err);
    if (r == VS_OK)
        r = family->load(t, g, err);
    if (r != VS_OK) {
        vs_tokenizer_free(t);
        return r;
    }
    t->bos = get_id(t, g, "tokenizer.ggml.bos_token_id");
    t->eos = get_id(t, g, "tokenizer.ggml.eos_token_id");
    if (family == &vs_family_spm && !vs_gguf_find(g, "tokenizer.ggml.bos_token_id") && t->n_vocab > 2) {
        t->bos = 1;
        t->eos = t->eos == VS_TOKENIZER_NONE ? 2 : t->eos;
        t->is_end[t->eos] = true;
    }
    t->add_bos = flag(g, "tokenizer.ggml.add_bos_token", t->add_bos);
    t->add_eos = flag(g, "tokenizer.ggml.add_eos_token", false);
    t->add_space_prefix = flag(g, "tokenizer.ggml.add_space_prefix", family->add_space_prefix);
    *ret = t;
    return VS_OK;
}

void vs_tokenizer_free(struct vs_tokenizer *t)
{
    if (!t)
        return;
    free(t->spelling);
    free(t->spelling_at);
    free(t->bytes);
    free(t->bytes_at);
    free(t->type);
    free(t->is_end);
    free(t->table);
    free(t->special);
    free(t->special_lengths);
    free(t->merges);
    free(t->score);
    free(t);
}

/* ---- facts ---- */

uint32_t vs_tokenizer_n_vocab(const struct vs_tokenizer *t) { return t->n_vocab; }
uint32_t vs_tokenizer_bos(const struct vs_tokenizer *t) { return t->bos; }
uint32_t vs_tokenizer_eos(const struct vs_tokenizer *t) { return t->eos; }
bool vs_tokenizer_adds_bos(const struct vs_tokenizer *t) { return t->add_bos && t->bos != VS_TOKENIZER_NONE; }
bool vs_tokenizer_is_end(const struct vs_tokenizer *t, uint32_t id) { return id < t->n_vocab && t->is_end[id]; }

bool vs_tokenizer_is_control(const struct vs_tokenizer *t, uint32_t id)
{
    return id < t->n_vocab && t->type[id] == VS_PIECE_CONTROL;
}

const char *vs_tokenizer_piece(const struct vs_tokenizer *t, uint32_t id, size_t *ret_n)
{
    if (id >= t->n_vocab) {
        *ret_n = 0;
        return "";
    }
    *ret_n = t->spelling_at[id + 1] - t->spelling_at[id];
    return t->spelling + t->spelling_at[id];
}

/* ---- encode: special tokens first, then the family's algorithm on what lies between ---- */

struct match { size_t at, n; uint32_t id; };
struct matches { struct match *m; size_t n, cap; };

static uint32_t find_special(const struct vs_tokenizer *t, const char *s, size_t n, bool trusted)
{
    uint32_t best = VS_TOKENIZER_NONE;   /* ties: the lowest id */
    for (uint32_t i = hash(s, n);; i++) {
        uint32_t slot = t->special[i & t->special_mask];
        if (!slot)
            return best;
        size_t len;
        const char *piece = vs_tokenizer_piece(t, slot - 1, &len);
        if (len == n && memcmp(piece, s, n) == 0 && (trusted || t->type[slot - 1] == VS_PIECE_USER) && slot - 1 < best)
            best = slot - 1;
    }
}

static int longest_first(const void *a, const void *b)
{
    const struct match *x = a, *y = b;
    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int by_place(const void *a, const void *b)
{
    const struct match *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* All places where a special piece matches and may. */
static int find_matches(const struct vs_tokenizer *t, const char *text, size_t n, const struct vs_text_run *runs, size_t n_runs,
                        struct matches *ret)
{
    size_t run = 0, run_end = n_runs ? runs[0].n : 0, trusted_end = 0;
    for (size_t i = 0; i < n; i++) {
        while (i >= run_end && run + 1 < n_runs)
            run_end += runs[++run].n;
        bool trusted = n_runs && runs[run].trusted;
        if (trusted && trusted_end <= i) {               /* as far as trusted runs reach without a gap */
            trusted_end = run_end;
            for (size_t k = run + 1; k < n_runs && (runs[k].trusted || !runs[k].n); k++)
                trusted_end += runs[k].n;
        }
        const uint64_t *lengths = t->special_lengths + (uint8_t)text[i] * (MAX_SPECIAL / 64);
        for (size_t w = 0; w < MAX_SPECIAL / 64; w++)
            for (uint64_t bits = lengths[w]; bits; bits &= bits - 1) {
                size_t len = 64 * w + (size_t)__builtin_ctzll(bits) + 1;
                if (len > n - i)
                    break;
                uint32_t id = find_special(t, text + i, len, trusted && i + len <= trusted_end);
                if (id == VS_TOKENIZER_NONE)
                    continue;
                if (ret->n == ret->cap) {
                    size_t cap = ret->cap ? ret->cap * 2 : 32;
                    struct match *grown = realloc(ret->m, cap * sizeof *grown);
                    if (!grown)
                        return VS_E_NOMEM;
                    ret->m = grown;
                    ret->cap = cap;
                }
                ret->m[ret->n++] = (struct match){ i, len, id };
            }
    }
    return VS_OK;
}

/* Keeps those that win: longest text first, then lowest id, then leftmost; none may overlap a winner. */
static int choose_matches(struct matches *m, size_t n)
{
    if (!m->n)
        return VS_OK;
    uint64_t *taken = calloc(n / 64 + 1, sizeof *taken);
    if (!taken)
        return VS_E_NOMEM;
    qsort(m->m, m->n, sizeof *m->m, longest_first);
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct match x = m->m[i];
        bool free_range = true;
        for (size_t k = x.at; k < x.at + x.n && free_range; k++)
            free_range = !(taken[k / 64] >> k % 64 & 1);
        if (!free_range)
            continue;
        for (size_t k = x.at; k < x.at + x.n; k++)
            taken[k / 64] |= UINT64_C(1) << k % 64;
        m->m[kept++] = x;
    }
    m->n = kept;
    qsort(m->m, m->n, sizeof *m->m, by_place);
    free(taken);
    return VS_OK;
}

int vs_tokenizer_encode(const struct vs_tokenizer *t, const char *text, size_t n,
                        const struct vs_text_run *runs, size_t n_runs, unsigned flags,
                        struct vs_ids *ids, struct vs_error *err)
{
    size_t valid = vs_utf8_valid(text, n), first = ids->n, at = 0;
    if (valid != n)
        return vs_error_set(err, VS_E_MALFORMED, "the text is not valid UTF-8 at byte %zu", valid);
    struct matches m = { 0 };
    int r = find_matches(t, text, n, runs, n_runs, &m);
    if (r == VS_OK)
        r = choose_matches(&m, n);
    if (r != VS_OK)
        vs_error_set(err, r, "out of memory");
    if (r == VS_OK && flags & VS_ENCODE_ADD_SPECIAL && vs_tokenizer_adds_bos(t)
        && !(m.n && m.m[0].at == 0 && m.m[0].id == t->bos))
        r = vs_ids_add(ids, t->bos);
    for (size_t i = 0; i <= m.n && r == VS_OK; i++) {
        size_t end = i < m.n ? m.m[i].at : n;
        if (end > at)
            r = t->family->encode(t, text + at, end - at, true, ids, err);
        if (r == VS_OK && i < m.n) {
            r = vs_ids_add(ids, m.m[i].id);
            at = m.m[i].at + m.m[i].n;
        }
    }
    if (r == VS_OK && flags & VS_ENCODE_ADD_SPECIAL && t->add_eos && t->eos != VS_TOKENIZER_NONE)
        r = vs_ids_add(ids, t->eos);
    if (r == VS_E_NOMEM)
        vs_error_set(err, r, "out of memory");
    free(m.m);
    if (r != VS_OK)
        ids->n = first;
    return r;
}

/* ---- decode ---- */

static void add_piece(const struct vs_tokenizer *t, uint32_t id, bool special, struct vs_buf *out)
{
    size_t n;
    const char *s = vs_piece_bytes(t, id, &n);
    if (t->type[id] == VS_PIECE_CONTROL || t->type[id] == VS_PIECE_UNKNOWN) {
        if (special)
            vs_buf_add(out, s, n);
        return;
    }
    if (t->family->byte_level) {
        vs_buf_add(out, s, n);
        return;
    }
    unsigned byte;
    if (t->type[id] == VS_PIECE_BYTE && n == 6 && sscanf(s, "<0x%2X>", &byte) == 1) {
        vs_buf_char(out, (char)byte);
        return;
    }
    for (size_t i = 0; i < n;) {         /* U+2581 stands for a space */
        bool space = n - i >= 3 && memcmp(s + i, "\xe2\x96\x81", 3) == 0;
        vs_buf_char(out, space ? ' ' : s[i]);
        i += space ? 3 : 1;
    }
}

static bool drops_space(const struct vs_tokenizer *t)
{
    return !t->family->byte_level && t->add_space_prefix;
}

int vs_tokenizer_decode(const struct vs_tokenizer *t, const uint32_t *ids, size_t n, bool special,
                        struct vs_buf *out, struct vs_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= t->n_vocab)
            return vs_error_set(err, VS_E_INVALID, "token %u is beyond the vocabulary of %u", ids[i], t->n_vocab);
    size_t first = out->n;
    bool dropped = !drops_space(t);
    for (size_t i = 0; i < n; i++) {
        add_piece(t, ids[i], special, out);
        if (!dropped && out->status == VS_OK && t->type[ids[i]] != VS_PIECE_CONTROL) {
            if (out->n > first && out->data[first] == ' ') {
                memmove(out->data + first, out->data + first + 1, out->n - first);
                out->n--;
            }
            dropped = true;
        }
    }
    return out->status == VS_OK ? VS_OK : vs_error_set(err, out->status, "out of memory");
}

void vs_detok_init(struct vs_detok *d, const struct vs_tokenizer *t, bool special)
{
    *d = (struct vs_detok){ .t = t, .special = special };
}

void vs_detok_continue(struct vs_detok *d)
{
    d->started = true;
}

/* Moves what is valid from s to out; what may still become valid stays held. */
static void flush(struct vs_detok *d, const char *s, size_t n, bool last, struct vs_buf *out)
{
    size_t keep = last ? 0 : vs_utf8_unfinished(s, n);
    for (size_t i = 0; i < n - keep;) {
        uint32_t c;
        size_t len = vs_utf8_decode(s + i, n - keep - i, &c);
        if (len)
            vs_buf_add(out, s + i, len);
        else
            vs_buf_utf8(out, 0xfffd);
        i += len ? len : 1;
    }
    memcpy(d->held, s + n - keep, keep);
    d->n_held = keep;
}

int vs_detok_push(struct vs_detok *d, uint32_t id, struct vs_buf *out)
{
    if (id >= d->t->n_vocab)
        return VS_E_INVALID;
    struct vs_buf piece = { 0 };
    vs_buf_add(&piece, d->held, d->n_held);
    add_piece(d->t, id, d->special, &piece);
    size_t skip = 0;
    if (!d->started && d->t->type[id] != VS_PIECE_CONTROL) {
        skip = drops_space(d->t) && piece.n && piece.data[0] == ' ';
        d->started = true;
    }
    int r = piece.status;
    if (r == VS_OK && piece.n)
        flush(d, piece.data + skip, piece.n - skip, false, out);
    vs_buf_clear(&piece);
    return r == VS_OK ? out->status : r;
}

void vs_detok_finish(struct vs_detok *d, struct vs_buf *out)
{
    if (d->n_held)
        vs_buf_utf8(out, 0xfffd);
    d->n_held = 0;
}
