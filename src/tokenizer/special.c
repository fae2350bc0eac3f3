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

enum { MAX_SPECIAL_BYTES = 4096 };      /* bounds the work at one position; longer ones are left out */

static uint32_t edge_slot(const struct vs_trie *trie, uint32_t key)
{
    uint32_t i = (uint32_t)((key * 0x9e3779b97f4a7c15u) >> 32) & trie->edge_mask;
    while (trie->edge[i] != UINT64_MAX && trie->edge[i] >> 32 != key)
        i = (i + 1) & trie->edge_mask;
    return i;
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
    trie->edge_mask = vs_table_mask(total);
    size_t n_slots = trie->edge_mask + (size_t)1;
    trie->edge = malloc(n_slots * sizeof *trie->edge);
    trie->id = malloc((total + 1) * sizeof *trie->id);
    if (!trie->edge || !trie->id)
        return vs_error_set(err, VS_E_NOMEM, "no memory for the tokens");
    memset(trie->edge, 0xff, n_slots * sizeof *trie->edge);
    trie->id[0] = VS_NO_ID;
    uint32_t n_nodes = 1;
    for (uint32_t id = 0; id < v->n; id++) {
        const char *s = usable(v, id, flag, &n);
        if (!s)
            continue;
        if (!trie->first[(uint8_t)*s] && trie->n_first++ < VS_FEW_FIRST)
            trie->few[trie->n_first - 1] = (uint8_t)*s;
        trie->first[(uint8_t)*s] = true;
        uint32_t node = 0;
        for (size_t k = 0; k < n; k++) {
            uint32_t key = node << 8 | (uint8_t)s[k];
            uint32_t i = edge_slot(trie, key);
            if (trie->edge[i] == UINT64_MAX) {
                trie->id[n_nodes] = VS_NO_ID;
                trie->edge[i] = (uint64_t)key << 32 | n_nodes++;
            }
            node = (uint32_t)trie->edge[i];
        }
        if (trie->id[node] == VS_NO_ID)
            trie->id[node] = id;
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

uint32_t vs_trie_next(const struct vs_trie *trie, uint32_t node, uint8_t byte)
{
    uint64_t edge = trie->edge[edge_slot(trie, node << 8 | byte)];
    return edge == UINT64_MAX ? VS_NO_ID : (uint32_t)edge;
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
        uint64_t edge = trie->edge[edge_slot(trie, node << 8 | (uint8_t)s[k])];
        if (edge == UINT64_MAX)
            break;
        node = (uint32_t)edge;
        uint32_t id = trie->id[node];
        if (id != VS_NO_ID && (k < n_trusted || !(v->flags[id] & VS_PIECE_IS_CONTROL)))
            found = id;
    }
    return found;
}
