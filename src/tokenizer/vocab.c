/* tokenizer/vocab.c - the pieces of a vocabulary, and the way from bytes to id. */
#include "tokenizer/internal.h"

#include "base/bytes.h"
#include "base/word.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const uint64_t max_pieces = 1u << 24, max_total_bytes = 1u << 30;

int vs_vocab_array(const struct vs_entries *entries, const char *key, uint64_t n, bool needed, const struct vs_entry **ret,
                   struct vs_error *err)
{
    const struct vs_entry *kv = vs_entries_find(entries, key);
    if (!kv && needed)
        return vs_error_set(err, VS_E_MALFORMED, "%s is missing", key);
    if (kv && kv->type != VS_ENTRY_ARRAY)
        return vs_error_set(err, VS_E_MALFORMED, "%s is not an array", key);
    if (kv && kv->count < n)
        return vs_error_set(err, VS_E_MALFORMED, "%s has %" PRIu64 " element%s, but there are %" PRIu64 " token%s", key,
                            kv->count, vs_plural(kv->count), n, vs_plural(n));
    *ret = kv;
    return VS_OK;
}

static int string_array(const struct vs_entry *kv, const char *key, struct vs_error *err)
{
    if (kv->elem_type != VS_ENTRY_STRING)
        return vs_error_set(err, VS_E_MALFORMED, "%s holds %s, not strings", key, vs_entry_type_name(kv->elem_type));
    return VS_OK;
}

static int load_types(struct vs_vocab *v, const struct vs_entries *entries, struct vs_error *err)
{
    const char *key = "tokenizer.ggml.token_type";
    const struct vs_entry *kv = NULL;
    int r = vs_vocab_array(entries, key, v->n, false, &kv, err);
    if (r != VS_OK)
        return r;
    for (uint32_t i = 0; i < v->n; i++) {
        int64_t type = VS_PIECE_UNDEFINED;   /* the file doesn't say */
        if (kv && !vs_entry_int(kv, i, &type))
            return vs_error_set(err, VS_E_MALFORMED, "%s holds %s, not integers", key, vs_entry_type_name(kv->elem_type));
        if (type < VS_PIECE_UNDEFINED || type > VS_PIECE_BYTE)
            return vs_error_set(err, VS_E_MALFORMED, "%s: token %" PRIu32 " has type %" PRId64 ", which does not exist", key,
                                i, type);
        v->type[i] = (uint8_t)type;
    }
    return VS_OK;
}

int vs_vocab_load(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    struct vs_vocab *v = &t->vocab;
    const char *key = "tokenizer.ggml.tokens";
    const struct vs_entry *kv = NULL;
    int r = vs_vocab_array(entries, key, 1, true, &kv, err);
    if (r == VS_OK)
        r = string_array(kv, key, err);
    if (r != VS_OK)
        return r;
    if (getrandom(v->seed, sizeof v->seed, 0) != (ssize_t)sizeof v->seed)
        return vs_error_set(err, VS_E_SYSTEM, "there are no random numbers");
    if (kv->count > max_pieces || kv->n_bytes > max_total_bytes)
        return vs_error_set(err, VS_E_LIMIT, "%s holds %" PRIu64 " tokens in %zu bytes, more than is reasonable", key,
                            kv->count, kv->n_bytes);
    v->n = (uint32_t)kv->count;
    size_t n_text = kv->n_bytes - 8 * (size_t)v->n;
    v->spelled.data = malloc(n_text + 1);
    v->bytes.data = calloc(n_text + sizeof(struct vs_key), 1);          /* short ones are read as keys */
    v->spelled.at = malloc((v->n + (size_t)1) * sizeof(uint32_t));
    v->bytes.at = malloc((v->n + (size_t)1) * sizeof(uint32_t));
    v->type = malloc(v->n);
    v->flags = calloc(v->n, 1);
    if (!v->spelled.data || !v->bytes.data || !v->spelled.at || !v->bytes.at || !v->type || !v->flags)
        return vs_error_set(err, VS_E_NOMEM, "no memory for a vocabulary of %" PRIu32 " tokens", v->n);
    r = load_types(v, entries, err);
    if (r != VS_OK)
        return r;
    struct vs_entry_cursor cursor = { 0 };
    struct vs_str s;
    uint32_t at = 0, bytes_at = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        if (!vs_entry_next_str(kv, &cursor, &s) || s.n > n_text - at)
            return vs_error_set(err, VS_E_MALFORMED, "%s ends at token %" PRIu32, key, i);
        v->spelled.at[i] = at;
        v->bytes.at[i] = bytes_at;
        memcpy(v->spelled.data + at, s.data, s.n);
        bool reachable = true;
        bytes_at += (uint32_t)t->family->unspell(v->type[i], s.data, s.n, v->bytes.data + bytes_at, &reachable);
        at += (uint32_t)s.n;
        switch ((enum vs_piece_type)v->type[i]) {
        case VS_PIECE_CONTROL:
        case VS_PIECE_UNKNOWN:
            v->flags[i] = VS_PIECE_IS_CONTROL | VS_PIECE_IS_SPECIAL | VS_PIECE_IS_HIDDEN;
            break;
        case VS_PIECE_USER:
            v->flags[i] = VS_PIECE_IS_SPECIAL | (reachable ? VS_PIECE_IS_MERGEABLE : 0);
            break;
        case VS_PIECE_BYTE:
            break;
        default:
            v->flags[i] = reachable ? VS_PIECE_IS_MERGEABLE : 0;
        }
    }
    v->spelled.at[v->n] = at;
    v->bytes.at[v->n] = bytes_at;
    return VS_OK;
}

void vs_vocab_clear(struct vs_vocab *v)
{
    free(v->spelled.data);
    free(v->spelled.at);
    free(v->bytes.data);
    free(v->bytes.at);
    free(v->type);
    free(v->flags);
    free(v->by_bytes.slot);
}

uint32_t vs_table_mask(uint64_t n)
{
    uint64_t size = 16;
    while (size < n + n / 2)
        size *= 2;
    return (uint32_t)(size - 1);
}

/* Eight bytes a step, folded by a 64 x 64 multiplication. Only for tables in memory: the values are never stored. */
uint64_t vs_vocab_hash(const struct vs_vocab *v, const char *s, size_t n)
{
    uint64_t h = (n * 0x9e3779b97f4a7c15u) ^ v->seed[0], w = 0;
    for (; n > 8; s += 8, n -= 8) {
        memcpy(&w, s, 8);
        __uint128_t m = (__uint128_t)(h ^ w ^ 0xd6e8feb86659fd93u) * 0xa0761d6478bd642fu;
        h = (uint64_t)m ^ (uint64_t)(m >> 64);
    }
    if (n == 8) {
        memcpy(&w, s, 8);
    } else if (n >= 4) {
        w = (uint64_t)vs_load_u32le(s) << 32 | vs_load_u32le(s + n - 4);
    } else if (n) {
        w = (uint64_t)(uint8_t)s[0] << 16 | (uint64_t)(uint8_t)s[n >> 1] << 8 | (uint8_t)s[n - 1];
    }
    __uint128_t m = (__uint128_t)(h ^ w ^ 0xe7037ed1a0b428dbu) * 0x8ebc6af09c88c6e3u;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static int index_init(struct vs_index *x, uint64_t n, struct vs_error *err)
{
    x->mask = vs_table_mask(n);
    for (x->bits = 1; n >> x->bits; x->bits++)
        continue;
    size_t n_bytes = (x->mask + (size_t)1) * sizeof *x->slot;
    x->slot = aligned_alloc(VS_SLOTS_TOGETHER * sizeof *x->slot, n_bytes);
    if (!x->slot)
        return vs_error_set(err, VS_E_NOMEM, "no memory for a vocabulary of %" PRIu64 " entries", n);
    memset(x->slot, 0xff, n_bytes);
    return VS_OK;
}

static void index_put(struct vs_index *x, uint64_t hash, uint32_t i)
{
    uint32_t at = vs_index_first(x, hash);
    while (x->slot[at] != UINT32_MAX)
        at = (at + 1) & x->mask;
    x->slot[at] = ((uint32_t)hash & INT32_MAX) >> x->bits << x->bits | i;
}

struct vs_key vs_key_of(const char *s, size_t n)
{
    struct vs_key key = { 0, (uint64_t)n << 56 };
    if (n > 8) {
        key.low = vs_load_u64le(s);
        key.high |= vs_load_u64le(s + n - 8) >> 8 * (16 - n);
    } else if (n >= 4) {
        key.low = vs_load_u32le(s) | (uint64_t)vs_load_u32le(s + n - 4) << 8 * (n - 4);
    } else if (n) {
        key.low = (uint64_t)(uint8_t)s[0] | (uint64_t)(uint8_t)s[n / 2] << 8 * (n / 2) | (uint64_t)(uint8_t)s[n - 1] << 8 * (n - 1);
    }
    return key;
}

void vs_vocab_ask(const struct vs_vocab *v, const char *s, size_t n)
{
    if (n <= VS_SHORT)
        vs_vocab_ask_key(v, vs_key_of(s, n));
}

static uint32_t find_long(const struct vs_vocab *v, const char *s, size_t n)
{
    struct vs_index_walk walk = vs_index_begin(&v->by_bytes, vs_vocab_hash(v, s, n));
    for (uint32_t id; (id = vs_index_next(&v->by_bytes, &walk)) != VS_NO_ID;) {
        size_t n_piece;
        const char *piece = vs_span(&v->bytes, id, &n_piece);
        if (n_piece == n && memcmp(piece, s, n) == 0)
            return id;
    }
    return VS_NO_ID;
}

uint32_t vs_vocab_find(const struct vs_vocab *v, const char *s, size_t n)
{
    return n > v->max_bytes ? VS_NO_ID : n <= VS_SHORT ? vs_vocab_find_key(v, vs_key_of(s, n)) : find_long(v, s, n);
}

int vs_vocab_index(struct vs_vocab *v, struct vs_error *err)
{
    int r = index_init(&v->by_bytes, v->n, err);
    for (uint32_t id = 0; r == VS_OK && id < v->n; id++) {
        size_t n;
        const char *s = vs_span(&v->bytes, id, &n);
        if (!n || !(v->flags[id] & VS_PIECE_IS_MERGEABLE))
            continue;
        if (n > v->max_bytes)
            v->max_bytes = (uint32_t)n;
        if (vs_vocab_find(v, s, n) == VS_NO_ID)
            index_put(&v->by_bytes, n <= VS_SHORT ? vs_key_mix(v, vs_key_load(s, n)) : vs_vocab_hash(v, s, n), id);
        else
            v->flags[id] &= (uint8_t)~VS_PIECE_IS_MERGEABLE;    /* said twice: the lower id is meant */
    }
    return r;
}
