/* evidence/tree.c - see tree.h. */
#include "evidence/tree.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static EVP_MD *sha256;

int vs_evidence_setup(struct vs_error *err)
{
    if (!sha256 && !(sha256 = EVP_MD_fetch(NULL, "SHA256", NULL)))
        return vs_error_set(err, VS_E_UNSUPPORTED, "OpenSSL has no SHA-256 here");
    return VS_OK;
}

void vs_hash_pieces(const struct vs_piece *pieces, size_t n, uint8_t ret[VS_HASH_BYTES])
{
    static _Thread_local EVP_MD_CTX *context;
    unsigned length;
    bool done = (context || (context = EVP_MD_CTX_new())) && EVP_DigestInit_ex(context, sha256, NULL);
    for (size_t i = 0; i < n && done; i++)
        done = EVP_DigestUpdate(context, pieces[i].data, pieces[i].n);
    if (!done || !EVP_DigestFinal_ex(context, ret, &length))
        abort();                        /* no memory for a hash: there is nothing to go on with */
}

void vs_hash(const void *data, size_t n, uint8_t ret[VS_HASH_BYTES])
{
    vs_hash_pieces(&(struct vs_piece){ data, n }, 1, ret);
}

void vs_leaf(const void *line, size_t n, uint8_t ret[VS_HASH_BYTES])
{
    static const uint8_t tag = 0;
    vs_hash_pieces((struct vs_piece[]){ { &tag, 1 }, { line, n } }, 2, ret);
}

void vs_node(const uint8_t *left, const uint8_t *right, uint8_t ret[VS_HASH_BYTES])
{
    static const uint8_t tag = 1;
    vs_hash_pieces((struct vs_piece[]){ { &tag, 1 }, { left, VS_HASH_BYTES }, { right, VS_HASH_BYTES } }, 3, ret);
}

void vs_tree_add(struct vs_tree *t, const uint8_t leaf[VS_HASH_BYTES])
{
    uint8_t carried[VS_HASH_BYTES];
    unsigned level = 0;
    memcpy(carried, leaf, VS_HASH_BYTES);
    for (; t->n >> level & 1; level++)
        vs_node(t->peak[level], carried, carried);
    memcpy(t->peak[level], carried, VS_HASH_BYTES);
    t->n++;
}

void vs_tree_root(const struct vs_tree *t, uint8_t ret[VS_HASH_BYTES])
{
    uint8_t root[VS_HASH_BYTES];
    bool has = false;
    for (unsigned level = 0; level < VS_TREE_LEVELS; level++) {
        if (!(t->n >> level & 1))
            continue;
        if (has)
            vs_node(t->peak[level], root, root);
        else
            memcpy(root, t->peak[level], VS_HASH_BYTES);
        has = true;
    }
    if (has)
        memcpy(ret, root, VS_HASH_BYTES);
    else
        vs_hash("", 0, ret);
}
