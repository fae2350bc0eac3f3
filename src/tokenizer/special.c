/* tokenizer/special.c - finds special pieces in text: a trie over their spellings, its edges in one hash table. And one
 * over what other pieces match, for unigram.c.
 *
 * Longest first means: at the first place where any may match, the longest one there. A piece whose spelling is not valid
 * UTF-8 is left out, so that a match never cuts a character; of two with one spelling the lower id is meant.
 */
#include "tokenizer/internal.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_SPECIAL_BYTES = 4096,            /* bounds the work at one position; longer ones are left out */
    FIRST_EDGES = 16,
};

/* Twice as many places for edges. */
static bool grow(struct vs_trie *trie)
{
    uint64_t *old = trie->edge;
    size_t n_old = old ? trie->edge_mask + (size_t)1 : 0, n = old ? 2 * n_old : FIRST_EDGES;
    uint64_t *edge = malloc(n * sizeof *edge);
    if (!edge)
        return false;
    memset(edge, 0xff, n * sizeof *edge);
    trie->edge = edge;
    trie->edge_mask = (uint32_t)(n - 1);
    for (size_t i = 0; i < n_old; i++)
        if (old[i] != UINT64_MAX)
            edge[vs_trie_slot(trie, (uint32_t)(old[i] >> 32))] = old[i];
    free(old);
    return true;
}

/* What stands for the piece in the trie; NULL: nothing does. */
static const char *usable(const struct vs_vocab *v, uint32_t id, unsigned flag, size_t *ret_n)
{
    if (!(v->flags[id] & flag))
        return NULL;
    const char *s = vs_span(flag & VS_PIECE_IS_SPECIAL ? &v->spelled : &v->bytes, id, ret_n);
    return *ret_n && *ret_n <= MAX_SPECIAL_BYTES && (flag & VS_TRIE_BYTES || vs_utf8_valid(s, *ret_n) == *ret_n) ? s
                                                                                                             : NULL;
}

int vs_trie_build(struct vs_trie *trie, const struct vs_vocab *v, unsigned flag, struct vs_error *err)
{
    size_t total = 0, n;
    for (uint32_t id = 0; id < v->n; id++)
        if (usable(v, id, flag, &n))
            total += n;
    if (total >= 1u << 24)              /* a node and a byte make a 32-bit key */
        return vs_error_set(err, VS_E_LIMIT, "the tokens have %zu bytes, more than is reasonable", total);
    trie->seed = v->seed[1] | 1;
    trie->id = malloc((total + 1) * sizeof *trie->id);
    if (!trie->id || !grow(trie))
        return vs_error_set(err, VS_E_NOMEM, "no memory for the tokens");
    uint32_t n_nodes = 1;
    for (uint32_t id = 0; id < v->n; id++) {
        const char *s = usable(v, id, flag, &n);
        if (!s)
            continue;
        if (!trie->first[(uint8_t)*s] && trie->n_first++ < VS_FEW_FIRST)
            trie->few[trie->n_first - 1] = (uint8_t)*s;
        trie->first[(uint8_t)*s] = true;
        uint32_t node = 0, i = 0;
        for (size_t k = 0; k < n; k++) {
            uint32_t key = node << 8 | (uint8_t)s[k];
            i = vs_trie_slot(trie, key);
            if (trie->edge[i] == UINT64_MAX) {
                if (n_nodes > trie->edge_mask / 3 * 2) {
                    if (!grow(trie))
                        return vs_error_set(err, VS_E_NOMEM, "no memory for the tokens");
                    i = vs_trie_slot(trie, key);
                }
                trie->edge[i] = (uint64_t)key << 32 | n_nodes++;
            }
            node = (uint32_t)trie->edge[i];
        }
        if (!(node & VS_NODE_ENDS)) {
            trie->id[node] = id;
            trie->edge[i] |= VS_NODE_ENDS;
        }
    }
    return VS_OK;
}

size_t vs_trie_skip(const struct vs_trie *trie, const char *text, size_t i, size_t end)
{
    for (uint64_t w; trie->n_first <= VS_FEW_FIRST && end - i >= sizeof w; i += sizeof w) {
        uint64_t found = 0;
        memcpy(&w, text + i, sizeof w);
        for (unsigned k = 0; k < trie->n_first; k++)
            found |= vs_zero_bytes(w ^ 0x0101010101010101u * trie->few[k]);
        if (found)
            break;
    }
    while (i < end && !trie->first[(uint8_t)text[i]])
        i++;
    return i;
}

void vs_trie_clear(struct vs_trie *trie)
{
    free(trie->edge);
    free(trie->id);
}

uint32_t vs_trie_match(const struct vs_trie *trie, const struct vs_vocab *v, const char *s, size_t n, size_t n_trusted,
                       size_t *io_work)
{
    uint32_t node = 0, found = VS_NO_ID;
    for (size_t k = 0; k < n; k++, ++*io_work) {
        node = vs_trie_next(trie, node, (uint8_t)s[k]);
        if (node == VS_NO_ID)
            break;
        uint32_t id = vs_trie_id(trie, node);
        if (id != VS_NO_ID && (k < n_trusted || !(v->flags[id] & VS_PIECE_IS_CONTROL)))
            found = id;
    }
    return found;
}
