/* tokenizer/merge.c - merges the symbols of a word, lowest priority value first, leftmost first among equals.
 *
 * Short words scan their pairs; long ones keep them in a heap, so that a word of a million letters takes
 * n log n steps. lanes.c does the same for several short words in turns.
 */
#include "tokenizer/internal.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_WORD = 48 };

static int no_memory(struct vs_encoder *e, size_t n)
{
    return vs_error_set(e->err, VS_E_NOMEM, "no memory to tokenize a word of %zu bytes", n);
}

/* The merges of neighbours: s[i] with s[next[i]]. What went has none. */
struct pairs {
    uint32_t priority[SHORT_WORD], made[SHORT_WORD];
    uint8_t next[SHORT_WORD + 1], prev[SHORT_WORD + 1];
};

static inline void set_pair(struct pairs *p, size_t i, uint64_t merge)
{
    p->priority[i] = (uint32_t)(merge >> 32);
    p->made[i] = (uint32_t)merge;
}

/* The first of the least: no branch, because nothing foretells where it is. */
static inline size_t best_pair(const struct pairs *p, size_t n)
{
    size_t best = 0;
    uint32_t least = p->priority[0];
    for (size_t i = 1; i < n; i++) {
        bool less = p->priority[i] < least;
        least = less ? p->priority[i] : least;
        best = less ? i : best;
    }
    return best;
}

/* Merges s[0..n); returns how many symbols are left, in s[0..). */
static size_t merge_short(const struct vs_tokenizer *t, const char *word, struct vs_symbol *s, size_t n)
{
    vs_merge_function *merge = t->family->merge, *first = t->family->merge_first ? t->family->merge_first : merge;
    struct pairs p;
    size_t left = 0;
    if (n < 2)
        return n;
    for (size_t i = 0; i < n; i++) {
        set_pair(&p, i, i + 1 < n ? first(t, word, &s[i], &s[i + 1]) : VS_NO_MERGE);
        p.next[i] = (uint8_t)(i + 1);
        p.prev[i + 1] = (uint8_t)i;
    }
    for (;;) {
        size_t i = best_pair(&p, n - 1), gone = p.next[i];
        if (p.made[i] == VS_NO_ID)
            break;
        size_t after = p.next[i] = p.next[gone];
        p.prev[after] = (uint8_t)i;
        s[i].id = p.made[i];
        s[i].n += s[gone].n;
        set_pair(&p, gone, VS_NO_MERGE);
        set_pair(&p, i, after < n ? merge(t, word, &s[i], &s[after]) : VS_NO_MERGE);
        if (i)
            set_pair(&p, p.prev[i], merge(t, word, &s[p.prev[i]], &s[i]));
    }
    for (size_t i = 0; i < n; i = p.next[i])
        s[left++] = s[i];
    return left;
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

int vs_merge_word(struct vs_encoder *e, const char *word, size_t n)
{
    const struct vs_family *family = e->t->family;
    struct vs_symbol few[SHORT_WORD], *s = few;
    if (n > SHORT_WORD) {
        s = vs_encoder_room(e, n * sizeof *s);
        if (!s)
            return no_memory(e, n);
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
