/* evidence/proof.c - see proof.h. */
#include "evidence/proof.h"

#include "evidence/sign.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void vs_proofs_init(struct vs_proofs *p, const struct vs_tree *before)
{
    *p = (struct vs_proofs){ .before = *before, .n = before->n };
    for (unsigned k = 0; k < VS_TREE_LEVELS; k++)       /* the first node whose leaves are all here */
        p->level[k].first = before->n ? ((before->n - 1) >> k) + 1 : 0;
}

static int push(struct vs_proofs_level *l, const uint8_t hash[VS_HASH_BYTES])
{
    if (l->n == l->cap) {
        uint64_t cap = l->cap ? 2 * l->cap : 1024;
        uint8_t (*more)[VS_HASH_BYTES] = realloc(l->hash, cap * sizeof *more);
        if (!more)
            return VS_E_NOMEM;
        l->hash = more;
        l->cap = cap;
    }
    memcpy(l->hash[l->n++], hash, VS_HASH_BYTES);
    return VS_OK;
}

int vs_proofs_add(struct vs_proofs *p, const uint8_t leaf[VS_HASH_BYTES])
{
    uint8_t hash[VS_HASH_BYTES];
    uint64_t index = p->n++;
    memcpy(hash, leaf, sizeof hash);
    for (unsigned k = 0; k < VS_TREE_LEVELS; k++, index >>= 1) {
        struct vs_proofs_level *l = &p->level[k];
        int rc = push(l, hash);
        if (rc != VS_OK || !(index & 1) || l->n < 2)
            return rc;                  /* its neighbour to the left is not whole here: no node above */
        vs_node(l->hash[l->n - 2], l->hash[l->n - 1], hash);
    }
    return VS_OK;
}

/* The root of leaves [lo, hi). */
static bool root(const struct vs_proofs *p, uint64_t lo, uint64_t hi, uint8_t ret[VS_HASH_BYTES])
{
    uint64_t n = hi - lo, half = 1;
    unsigned k = 0;
    uint8_t left[VS_HASH_BYTES], right[VS_HASH_BYTES];
    while (UINT64_C(1) << k < n)
        k++;
    if (UINT64_C(1) << k == n && lo % n == 0) {
        const struct vs_proofs_level *l = &p->level[k];
        uint64_t i = lo >> k;
        if (hi <= p->before.n) {        /* a full subtree of what is not here, or nothing that can be known */
            if (!(p->before.n >> k & 1) || lo != (p->before.n >> (k + 1) << (k + 1)))
                return false;
            memcpy(ret, p->before.peak[k], VS_HASH_BYTES);
            return true;
        }
        if (i >= l->first && i - l->first < l->n) {
            memcpy(ret, l->hash[i - l->first], VS_HASH_BYTES);
            return true;
        }
        if (n == 1)
            return false;
    }
    while (2 * half < n)
        half *= 2;
    if (!root(p, lo, lo + half, left) || !root(p, lo + half, hi, right))
        return false;
    vs_node(left, right, ret);
    return true;
}

/* The neighbours on the way from leaf i to the root of [lo, hi), the lowest first. */
static bool path(const struct vs_proofs *p, uint64_t i, uint64_t lo, uint64_t hi, struct vs_buf *out)
{
    uint64_t half = 1;
    uint8_t hash[VS_HASH_BYTES];
    if (hi - lo == 1)
        return true;
    while (2 * half < hi - lo)
        half *= 2;
    bool is_left = i < lo + half;
    if (!path(p, i, is_left ? lo : lo + half, is_left ? lo + half : hi, out)
        || !root(p, is_left ? lo + half : lo, is_left ? hi : lo + half, hash))
        return false;
    vs_base64(hash, sizeof hash, out);
    vs_buf_char(out, '\n');
    return true;
}

int vs_proofs_format(const struct vs_proofs *p, uint64_t index, uint64_t size, const char *note, size_t n, struct vs_buf *out)
{
    if (size > p->n || index >= size || index < p->before.n)
        return VS_E_INVALID;
    vs_buf_printf(out, "c2sp.org/tlog-proof@v1\nindex %" PRIu64 "\n", index);
    if (!path(p, index, 0, size, out))
        return VS_E_INVALID;
    vs_buf_char(out, '\n');
    vs_buf_add(out, note, n);
    return out->status;
}

void vs_proofs_clear(struct vs_proofs *p)
{
    for (unsigned k = 0; k < VS_TREE_LEVELS; k++)
        free(p->level[k].hash);
    *p = (struct vs_proofs){ 0 };
}
