/* grammar/vocabulary.c - what the tokens of a model spell, as a trie in the order in which it is walked.
 *
 *     node    byte  depth  skip    token
 *     0       'a'   0      3       "a"          a walk that may not go on at a node continues at its skip
 *     1       'b'   1      2       "ab"
 *     2       'c'   1      3       -
 *     3       'd'   0      ...
 *
 * Most tokens are plain text, and within a string of JSON all of that is allowed: such tokens are also kept as masks ("slices") by
 * their number of characters, and a second trie has only the others.
 */
#include "grammar/internal.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { SORTED_BY_HAND = 24 };            /* so few are sorted by insertion */

struct sorting {
    const struct vs_vocabulary *v;
    struct vs_check *check;
    uint32_t *spare;
    int status;
};

static size_t size_of(const struct vs_vocabulary *v, uint32_t id)
{
    return v->at[id + 1] - v->at[id];
}

static int compare(const struct vs_vocabulary *v, uint32_t a, uint32_t b, size_t from)
{
    size_t n_a = size_of(v, a), n_b = size_of(v, b), n = n_a < n_b ? n_a : n_b;
    int order = n > from ? memcmp(v->bytes + v->at[a] + from, v->bytes + v->at[b] + from, n - from) : 0;
    return order ? order : n_a < n_b ? -1 : n_a > n_b ? 1 : a < b ? -1 : a > b;
}

/* By the byte at `from`, then what is alike by the next; all of id[n] begin alike. Recursion ends with the longest token. */
static void sort(struct sorting *s, uint32_t *id, uint32_t n, size_t from)
{
    if (s->status != VS_OK || (s->status = vs_check_work(s->check, 4 * n)) != VS_OK)
        return;
    if (n <= SORTED_BY_HAND) {
        for (uint32_t i = 1; i < n; i++) {
            uint32_t moved = id[i], at = i;
            for (; at && compare(s->v, id[at - 1], moved, from) > 0; at--)
                id[at] = id[at - 1];
            id[at] = moved;
        }
        return;
    }
    uint32_t first[258] = { 0 };         /* [1]: those that end here */
    for (uint32_t i = 0; i < n; i++) {
        bool ends = size_of(s->v, id[i]) == from;
        first[(ends ? 0 : 1 + (uint8_t)s->v->bytes[s->v->at[id[i]] + from]) + 1]++;
    }
    for (int b = 0; b < 257; b++)
        first[b + 1] += first[b];
    memcpy(s->spare, id, n * sizeof *id);
    for (uint32_t i = 0; i < n; i++) {
        bool ends = size_of(s->v, s->spare[i]) == from;
        id[first[ends ? 0 : 1 + (uint8_t)s->v->bytes[s->v->at[s->spare[i]] + from]]++] = s->spare[i];
    }
    for (int b = 0; b < 256; b++)        /* first[b] is where its group has ended by now */
        if (first[b + 1] - first[b] > 1)
            sort(s, id + first[b], first[b + 1] - first[b], from + 1);
}

static bool add_node(struct vs_trie_nodes *t, uint8_t byte, size_t depth)
{
    if (t->n == t->cap) {
        uint32_t cap = t->cap ? 2 * t->cap : 1024;
        void *byte_more = realloc(t->byte, cap), *depth_more, *skip_more, *token_more;
        t->byte = byte_more ? byte_more : t->byte;
        depth_more = realloc(t->depth, cap);
        t->depth = depth_more ? depth_more : t->depth;
        skip_more = realloc(t->skip, cap * sizeof *t->skip);
        t->skip = skip_more ? skip_more : t->skip;
        token_more = realloc(t->token, cap * sizeof *t->token);
        t->token = token_more ? token_more : t->token;
        if (!byte_more || !depth_more || !skip_more || !token_more)
            return false;
        t->cap = cap;
    }
    t->byte[t->n] = byte;
    t->depth[t->n] = (uint8_t)depth;
    t->skip[t->n] = t->token[t->n] = VS_NOWHERE;
    t->n++;
    return true;
}

/* id[n] are sorted, and no two spell the same. */
static int build(const struct vs_vocabulary *v, const uint32_t *id, uint32_t n, struct vs_check *check, struct vs_trie_nodes *t)
{
    uint32_t open[VS_TOKEN_BYTES + 1];   /* nodes of the last token */
    size_t n_open = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char *s = v->bytes + v->at[id[i]], *last = i ? v->bytes + v->at[id[i - 1]] : NULL;
        size_t size = size_of(v, id[i]), same = 0;
        while (i && same < n_open && same < size && s[same] == last[same])
            same++;
        while (n_open > same)
            t->skip[open[--n_open]] = t->n;
        for (; n_open < size; n_open++) {
            if (!add_node(t, (uint8_t)s[n_open], n_open))
                return VS_E_NOMEM;
            open[n_open] = t->n - 1;
        }
        t->token[t->n - 1] = id[i];
        int r = vs_check_work(check, size);
        if (r != VS_OK)
            return r;
    }
    while (n_open)
        t->skip[open[--n_open]] = t->n;
    return VS_OK;
}

/* Characters of plain text; 0: it is something else. */
static size_t plain_chars(const char *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++) {
        if (!vs_is_plain((uint8_t)s[i]))
            return 0;
        chars += ((uint8_t)s[i] & 0xc0) != 0x80;
    }
    return vs_utf8_valid(s, n) == n ? chars : 0;
}

static int copy_bytes(struct vs_vocabulary *v, const struct vs_vocabulary_source *source, struct vs_check *check)
{
    size_t total = 0, n;
    for (uint32_t id = 0; id < v->n; id++)
        if (source->text(source->context, id, &n) && n <= VS_TOKEN_BYTES)
            total += n;
    v->bytes = malloc(total + 1);
    if (!v->bytes || total > UINT32_MAX)
        return VS_E_NOMEM;
    for (uint32_t id = 0; id < v->n; id++) {
        const char *s = source->text(source->context, id, &n);
        n = s && n <= VS_TOKEN_BYTES ? n : 0;
        if (n)
            memcpy(v->bytes + v->at[id], s, n);
        v->at[id + 1] = v->at[id] + (uint32_t)n;
        if (n == 1)
            v->spells[(uint8_t)*s] = true;
        v->n_ends += source->is_end(source->context, id);
        int r = vs_check_work(check, 2);
        if (r != VS_OK)
            return r;
    }
    for (unsigned b = 0xf8; b < 0x100; b++)
        v->spells[b] = true;             /* of no text: parts of what spells a token that is none */
    return VS_OK;
}

/* What spells the same hangs on the first of its kind; id[*io_n] keeps only that. */
static void drop_doubles(struct vs_vocabulary *v, uint32_t *id, uint32_t *io_n)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < *io_n; i++) {
        if (n && size_of(v, id[n - 1]) == size_of(v, id[i])
            && memcmp(v->bytes + v->at[id[n - 1]], v->bytes + v->at[id[i]], size_of(v, id[i])) == 0) {
            v->same[id[i]] = v->same[id[n - 1]];
            v->same[id[n - 1]] = id[i];
        } else {
            id[n++] = id[i];
        }
    }
    *io_n = n;
}

static int fill(struct vs_vocabulary *v, const struct vs_vocabulary_source *source, struct vs_check *check, uint32_t *id)
{
    uint32_t n = 0, n_rest = 0;
    int r = copy_bytes(v, source, check);
    if (r != VS_OK)
        return r;
    if (!(v->end = malloc((v->n_ends + 1) * sizeof *v->end)))
        return VS_E_NOMEM;
    v->n_ends = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        v->same[i] = VS_NOWHERE;
        if (source->is_end(source->context, i))
            v->end[v->n_ends++] = i;
        else if (size_of(v, i))
            id[n++] = i;
    }
    struct sorting s = { v, check, id + v->n, VS_OK };
    sort(&s, id, n, 0);
    if (s.status != VS_OK)
        return s.status;
    drop_doubles(v, id, &n);
    r = build(v, id, n, check, &v->all);
    for (uint32_t i = 0; i < n; i++) {
        size_t chars = plain_chars(v->bytes + v->at[id[i]], size_of(v, id[i]));
        if (chars == 0 || chars > VS_SLICE_CHARS) {
            id[n_rest++] = id[i];
            continue;
        }
        for (uint32_t k = id[i]; k != VS_NOWHERE; k = v->same[k])
            v->slice[chars][k / 64] |= UINT64_C(1) << k % 64;
    }
    for (unsigned k = 1; k <= VS_SLICE_CHARS; k++)
        for (uint32_t w = 0; w < v->n_words; w++)
            v->slice[k][w] |= v->slice[k - 1][w];
    if (r == VS_OK)
        r = build(v, id, n_rest, check, &v->rest);
    return r;
}

int vs_vocabulary_create(const struct vs_vocabulary_source *source, struct vs_check *check, struct vs_vocabulary **ret)
{
    struct vs_vocabulary *v = calloc(1, sizeof *v);
    uint32_t *id = malloc((2 * (size_t)source->n + 1) * sizeof *id);
    if (!v || !id) {
        free(v);
        free(id);
        return VS_E_NOMEM;
    }
    v->n = source->n;
    v->n_words = (v->n + 63) / 64;
    v->at = calloc((size_t)v->n + 1, sizeof *v->at);
    v->same = malloc(((size_t)v->n + 1) * sizeof *v->same);
    uint64_t *slices = calloc((size_t)(VS_SLICE_CHARS + 1) * v->n_words + 1, sizeof *slices);
    for (unsigned k = 0; k <= VS_SLICE_CHARS && slices; k++)
        v->slice[k] = slices + (size_t)k * v->n_words;
    int r = v->at && v->same && slices ? fill(v, source, check, id) : VS_E_NOMEM;
    free(id);
    for (unsigned b = 0; b <= 256; b++)
        v->child[b] = VS_NOWHERE;
    for (uint32_t i = 0; r == VS_OK && i < v->all.n; i = v->all.skip[i])
        v->child[v->all.byte[i]] = i;
    v->spells_all = true;
    for (unsigned b = 0; b < 256; b++)
        v->spells_all &= v->spells[b];
    if (r == VS_OK)
        *ret = v;
    else
        vs_vocabulary_free(v);
    return r;
}

static void clear_nodes(struct vs_trie_nodes *t)
{
    free(t->byte);
    free(t->depth);
    free(t->skip);
    free(t->token);
}

void vs_vocabulary_free(struct vs_vocabulary *v)
{
    if (!v)
        return;
    clear_nodes(&v->all);
    clear_nodes(&v->rest);
    free(v->slice[0]);
    free(v->bytes);
    free(v->at);
    free(v->same);
    free(v->end);
    free(v);
}
