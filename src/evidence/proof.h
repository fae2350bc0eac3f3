/* evidence/proof.h - inclusion proofs: that a record is in the tree that a checkpoint signs (RFC 6962, 2.1.1; C2SP tlog-proof).
 *
 * All leaves of a log are kept with the nodes above them, 64 bytes a record. Records that were deleted count by the frontier that
 * the first file tells.
 *
 * Memory: owned; vs_proofs_clear. Threads: one at a time.
 */
#ifndef VS_EVIDENCE_PROOF_H
#define VS_EVIDENCE_PROOF_H
#include "base/buf.h"
#include "evidence/tree.h"

struct vs_proofs {
    struct vs_tree before;               /* of the records that are not here */
    uint64_t n;                          /* leaves: those before, and those that were added */
    struct vs_proofs_level { uint8_t (*hash)[VS_HASH_BYTES]; uint64_t first, n, cap; } level[VS_TREE_LEVELS];
};

void vs_proofs_init(struct vs_proofs *p, const struct vs_tree *before);
int vs_proofs_add(struct vs_proofs *p, const uint8_t leaf[VS_HASH_BYTES]);      /* VS_E_NOMEM */
/* Appends the proof that leaf `index` (from 0) is in the tree of the first `size` leaves, which were all added, and the note that
 * signs that tree. VS_E_INVALID: it is not, or not here. */
int vs_proofs_format(const struct vs_proofs *p, uint64_t index, uint64_t size, const char *note, size_t n, struct vs_buf *out);
void vs_proofs_clear(struct vs_proofs *p);
#endif
