/* evidence/tree.h - hashes of records, and the Merkle tree over them (RFC 6962).
 *
 *     leaf = SHA-256(0x00 || line)        node = SHA-256(0x01 || left || right)
 *
 * A tree is kept as its frontier: the roots of its full subtrees, one for each bit of its size, so that it grows by a leaf in
 * constant time on average and 64 hashes hold a tree of any size.
 *
 * Memory: none of its own. Threads: any number, each with its own tree; vs_evidence_setup once, before the others. Failure: hashing
 * cannot fail once vs_evidence_setup has said VS_OK.
 */
#ifndef VS_EVIDENCE_TREE_H
#define VS_EVIDENCE_TREE_H
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VS_HASH_BYTES = 32, VS_HASH_HEX = 65, VS_TREE_LEVELS = 64 };

/* Fetches what OpenSSL would look for in files later, which a locked-in process may not open. */
int vs_evidence_setup(struct vs_error *err);

void vs_hash(const void *data, size_t n, uint8_t ret[VS_HASH_BYTES]);           /* SHA-256 */
/* SHA-256 of the n pieces one after the other. */
struct vs_piece { const void *data; size_t n; };
void vs_hash_pieces(const struct vs_piece *pieces, size_t n, uint8_t ret[VS_HASH_BYTES]);

struct vs_tree {
    uint64_t n;                                                 /* leaves */
    uint8_t peak[VS_TREE_LEVELS][VS_HASH_BYTES];                /* [level]: the root of 2^level leaves, where n has that bit */
};

void vs_leaf(const void *line, size_t n, uint8_t ret[VS_HASH_BYTES]);
void vs_node(const uint8_t *left, const uint8_t *right, uint8_t ret[VS_HASH_BYTES]);     /* ret may be one of the two */
void vs_tree_add(struct vs_tree *t, const uint8_t leaf[VS_HASH_BYTES]);
void vs_tree_root(const struct vs_tree *t, uint8_t ret[VS_HASH_BYTES]);         /* of no leaves: SHA-256 of nothing */
#endif
