/* tokenizer/merge.c - merges the symbols of a word, lowest priority value first, leftmost first among equals.
 *
 * Short words scan their pairs; long ones keep them in a heap, so that a word of a million letters takes
 * n log n steps. Words met before in the same call are copied from the ids already made.
 */
#include "tokenizer/internal.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_WORD = 48, MIN_SEEN_BITS = 5, MAX_SEEN_BITS = 14, CACHE_LINE = 64, MAX_SEEN_BYTES = 256, SEEN_IDS = 3 };

static size_t seen_size(const struct vs_encoder *e)
{
    return 2 * sizeof *e->seen << e->seen_bits;
}

int vs_encoder_init(struct vs_encoder *e, const struct vs_tokenizer *t, size_t n_text, struct vs_check *check,
                    struct vs_ids *ids, struct vs_error *err)
{
    *e = (struct vs_encoder){ .t = t, .ids = ids, .check = check, .err = err };
    if (n_text < 256)
        return VS_OK;
    e->seen_bits = MIN_SEEN_BITS;
    while ((size_t)16 << e->seen_bits < n_text && e->seen_bits < MAX_SEEN_BITS)
        e->seen_bits++;
    e->seen = aligned_alloc(CACHE_LINE, seen_size(e));
    if (!e->seen)
        return vs_error_set(err, VS_E_NOMEM, "no memory to tokenize %zu bytes", n_text);
    memset(e->seen, 0, seen_size(e));
    return VS_OK;
}

void vs_encoder_clear(struct vs_encoder *e)
{
    vs_check_free(e->check, e->seen, e->seen ? seen_size(e) : 0);
    vs_check_free(e->check, e->symbol, e->cap_symbols * sizeof *e->symbol);
    vs_buf_clear(&e->text);
}

static int no_memory(struct vs_encoder *e, size_t n)
{
    return vs_error_set(e->err, VS_E_NOMEM, "no memory to tokenize a word of %zu bytes", n);
}

/* s[0..n) with pair[i] the merge of s[i] and s[i + 1]; returns how many symbols are left, in s[0..). */
static size_t merge_short(const struct vs_tokenizer *t, const char *word, struct vs_symbol *s, size_t n)
{
    uint64_t (*merge)(const struct vs_tokenizer *, const char *, const struct vs_symbol *, const struct vs_symbol *) =
        t->family->merge;
    uint64_t pair[SHORT_WORD];
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = merge(t, word, &s[i], &s[i + 1]);
    while (n > 1) {
        size_t best = 0;
        uint64_t least = pair[0] >> 32;
        for (size_t i = 1; i + 1 < n; i++)
            if (pair[i] >> 32 < least) {
                least = pair[i] >> 32;
                best = i;
            }
        if (pair[best] == VS_NO_MERGE)
            break;
        s[best].id = (uint32_t)pair[best];
        s[best].n += s[best + 1].n;
        memmove(&s[best + 1], &s[best + 2], (n - best - 2) * sizeof *s);
        n--;
        if (best + 1 < n) {
            memmove(&pair[best + 1], &pair[best + 2], (n - best - 2) * sizeof *pair);
            pair[best] = merge(t, word, &s[best], &s[best + 1]);
        }
        if (best)
            pair[best - 1] = merge(t, word, &s[best - 1], &s[best]);
    }
    return n;
}

/* A heap of (priority << 32 | position), least on top. Entries are never removed early: one is stale when the
 * pair at its position has another priority by now. */
struct heap {
    uint64_t *key;
    size_t n;
};

static void heap_push(struct heap *h, uint64_t key)
{
    size_t i = h->n++;
    while (i && h->key[(i - 1) / 4] > key) {
        h->key[i] = h->key[(i - 1) / 4];
        i = (i - 1) / 4;
    }
    h->key[i] = key;
}

static uint64_t heap_pop(struct heap *h)
{
    uint64_t top = h->key[0], last = h->key[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 4 * i + 1, least = child;
        if (child >= h->n)
            break;
        for (size_t k = child + 1; k < child + 4 && k < h->n; k++)
            if (h->key[k] < h->key[least])
                least = k;
        if (h->key[least] >= last)
            break;
        h->key[i] = h->key[least];
        i = least;
    }
    h->key[i] = last;
    return top;
}

enum { HEAP_UNITS = 32 };               /* of vs_check_work: a step looks at some ten places that no cache holds */

static int merge_long(struct vs_encoder *e, const char *word, struct vs_symbol *s, size_t *n_symbols)
{
    const struct vs_tokenizer *t = e->t;
    uint32_t n = (uint32_t)*n_symbols;
    struct link { uint32_t prev, next; uint64_t pair; } *l = malloc(n * sizeof *l);
    struct heap h = { malloc(3 * (size_t)n * sizeof(uint64_t)), 0 };    /* n first, then two for each merge */
    if (!l || !h.key) {
        free(l);
        free(h.key);
        return no_memory(e, n);
    }
    int r = VS_OK;
    for (uint32_t i = 0; i < n && (r = vs_encoder_ask(e, i)) == VS_OK; i++) {
        l[i] = (struct link){ i - 1, i + 1, i + 1 < n ? t->family->merge(t, word, &s[i], &s[i + 1]) : VS_NO_MERGE };
        if (l[i].pair != VS_NO_MERGE)
            heap_push(&h, l[i].pair >> 32 << 32 | i);
    }
    while (r == VS_OK && h.n && (r = vs_check_work(e->check, HEAP_UNITS)) == VS_OK) {
        uint64_t top = heap_pop(&h);
        uint32_t i = (uint32_t)top;
        if (l[i].pair == VS_NO_MERGE || l[i].pair >> 32 != top >> 32)
            continue;
        uint32_t gone = l[i].next;
        s[i].id = (uint32_t)l[i].pair;
        s[i].n += s[gone].n;
        s[gone].n = 0;
        l[gone].pair = VS_NO_MERGE;
        l[i].next = l[gone].next;
        l[i].pair = VS_NO_MERGE;
        if (l[i].next < n) {
            l[l[i].next].prev = i;
            l[i].pair = t->family->merge(t, word, &s[i], &s[l[i].next]);
            if (l[i].pair != VS_NO_MERGE)
                heap_push(&h, l[i].pair >> 32 << 32 | i);
        }
        uint32_t p = l[i].prev;
        if (p < n) {
            l[p].pair = t->family->merge(t, word, &s[p], &s[i]);
            if (l[p].pair != VS_NO_MERGE)
                heap_push(&h, l[p].pair >> 32 << 32 | p);
        }
    }
    size_t left = 0;
    for (uint32_t i = 0; i < n && r == VS_OK && (r = vs_encoder_ask(e, left)) == VS_OK; i = l[i].next)
        s[left++] = s[i];
    *n_symbols = left;
    vs_check_free(e->check, l, n * sizeof *l);
    vs_check_free(e->check, h.key, 3 * (size_t)n * sizeof(uint64_t));
    return r;
}

static int merge_word(struct vs_encoder *e, const char *word, size_t n)
{
    const struct vs_family *family = e->t->family;
    struct vs_symbol few[SHORT_WORD], *s = few;
    if (n > SHORT_WORD) {
        if (n > e->cap_symbols) {
            struct vs_symbol *grown = realloc(e->symbol, n * sizeof *s);
            if (!grown)
                return no_memory(e, n);
            e->symbol = grown;
            e->cap_symbols = n;
        }
        s = e->symbol;
    }
    size_t n_symbols;
    int r = family->symbols(e, word, n, s, &n_symbols);
    if (r == VS_OK && n_symbols <= SHORT_WORD)
        n_symbols = merge_short(e->t, word, s, n_symbols);
    else if (r == VS_OK)
        r = merge_long(e, word, s, &n_symbols);
    for (size_t i = 0; r == VS_OK && i < n_symbols && (r = vs_encoder_ask(e, i)) == VS_OK; i++)
        r = s[i].id != VS_NO_ID ? vs_ids_add(e->ids, s[i].id) : family->emit(e, word, &s[i]);
    return r;
}

static int merge_or_find(struct vs_encoder *e, const char *word, size_t n)
{
    if (!(e->t->bpe.pretok.flags & VS_PRE_WHOLE_WORD))
        return merge_word(e, word, n);
    uint32_t id = vs_vocab_find(&e->t->vocab, word, n, vs_vocab_hash(word, n));
    return id != VS_NO_ID ? vs_ids_add(e->ids, id) : merge_word(e, word, n);
}

/* Zero behind the n bytes of a word of at most 16. */
static inline void load_short(const struct vs_encoder *e, const char *word, size_t n, uint64_t ret[2])
{
    if (e->end - word >= 16) {
        memcpy(ret, word, 16);
        ret[0] &= n < 8 ? ((uint64_t)1 << 8 * n) - 1 : UINT64_MAX;
        ret[1] &= n < 8 ? 0 : n < 16 ? ((uint64_t)1 << 8 * (n - 8)) - 1 : UINT64_MAX;
    } else {
        ret[0] = ret[1] = 0;
        memcpy(ret, word, n);
    }
}

static int take_seen(struct vs_ids *ids, const struct vs_seen *seen)
{
    if (ids->cap - ids->n < SEEN_IDS || seen->n_ids > SEEN_IDS) {
        int r = vs_ids_reserve(ids, seen->n_ids);       /* first: the ids may move */
        return r != VS_OK ? r : vs_ids_append(ids, seen->n_ids > SEEN_IDS ? ids->id + seen->id[0] : seen->id, seen->n_ids);
    }
    memcpy(ids->id + ids->n, seen->id, sizeof seen->id);        /* what is too much is overwritten */
    ids->n += seen->n_ids;
    return VS_OK;
}

static int merge_seen(struct vs_encoder *e, const char *word, size_t n, struct vs_seen *slot, const uint64_t key[2])
{
    struct vs_ids *ids = e->ids;
    size_t before = ids->n;
    int r = merge_or_find(e, word, n);
    size_t n_ids = ids->n - before;
    if (r != VS_OK || n_ids > UINT16_MAX || (n_ids > SEEN_IDS && before > UINT32_MAX))
        return r;
    slot[1] = slot[0];
    slot[0] = (struct vs_seen){ .word = { key[0], key[1] }, .n = (uint16_t)n, .n_ids = (uint16_t)n_ids };
    if (n_ids > SEEN_IDS)
        slot->id[0] = (uint32_t)before;
    else
        memcpy(slot->id, ids->id + before, n_ids * sizeof *slot->id);
    return r;
}

int vs_encoder_word(struct vs_encoder *e, const char *word, size_t n)
{
    if (!e->seen || n > MAX_SEEN_BYTES)
        return merge_or_find(e, word, n);
    uint64_t key[2];
    if (n <= sizeof key) {
        load_short(e, word, n, key);
    } else {
        key[0] = vs_vocab_hash(word, n);
        key[1] = (uint64_t)(word - e->base);
    }
    uint64_t mixed = (key[0] ^ n) * 0x9e3779b97f4a7c15u + (n <= sizeof key ? key[1] : 0);
    mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9u;
    struct vs_seen *slot = &e->seen[mixed >> (64 - e->seen_bits) << 1];
    for (const struct vs_seen *seen = slot; seen < slot + 2; seen++)
        if (seen->n == n && seen->word[0] == key[0] &&
            (n <= sizeof key ? seen->word[1] == key[1] : memcmp(e->base + seen->word[1], word, n) == 0))
            return take_seen(e->ids, seen);
    return merge_seen(e, word, n, slot, key);
}
