/* tokenizer/internal.h - shared by tokenizer.c (vocabulary, outer loop, decoding), bpe.c and spm.c; stays inside the room. */
#ifndef VS_TOKENIZER_INTERNAL_H
#define VS_TOKENIZER_INTERNAL_H
#include "tokenizer/pretok.h"
#include "tokenizer/tokenizer.h"

enum vs_piece_type {                     /* tokenizer.ggml.token_type */
    VS_PIECE_UNDEFINED, VS_PIECE_NORMAL, VS_PIECE_UNKNOWN, VS_PIECE_CONTROL, VS_PIECE_USER, VS_PIECE_UNUSED, VS_PIECE_BYTE,
};

struct vs_merge { uint32_t left, right, rank, id; };     /* rank UINT32_MAX = empty slot */

struct vs_family {
    const char *name;                    /* tokenizer.ggml.model */
    bool byte_level;                     /* normal pieces are spelled in the printable byte mapping */
    bool add_bos, add_space_prefix;      /* when the file does not say */
    int (*load)(struct vs_tokenizer *t, const struct vs_gguf *g, struct vs_error *err);
    /* one fragment between special tokens; prefix_space: it begins the text or follows a special token */
    int (*encode)(const struct vs_tokenizer *t, const char *text, size_t n, bool prefix_space, struct vs_ids *ids,
                  struct vs_error *err);
};
extern const struct vs_family vs_family_bpe, vs_family_spm;

struct vs_tokenizer {
    const struct vs_family *family;
    uint32_t n_vocab, bos, eos;
    bool add_bos, add_eos, add_space_prefix;

    char *spelling;                      /* all pieces as the file spells them, one after the other */
    uint32_t *spelling_at;               /* [n_vocab + 1] */
    char *bytes;                         /* all pieces as the bytes they stand for; = spelling for families without a mapping */
    uint32_t *bytes_at;
    uint8_t *type;                       /* enum vs_piece_type */
    bool *is_end;
    uint32_t *table;                     /* open addressing: bytes of pieces that text may become -> id + 1 */
    uint32_t table_mask;
    uint32_t byte_id[256];               /* single-byte piece, VS_TOKENIZER_NONE when absent */

    uint32_t *special;                   /* open addressing: spelling of control, unknown and user-defined pieces -> id + 1 */
    uint32_t special_mask;
    uint64_t *special_lengths;           /* [256][4]: bit n of the row of first byte b: a piece of n + 1 bytes begins with b */
    size_t special_longest;

    struct vs_merge *merges;             /* BPE: open addressing by (left, right) */
    uint32_t merges_mask;
    struct vs_pretok pretok;
    float *score;                        /* SPM */
};

static inline const char *vs_piece_bytes(const struct vs_tokenizer *t, uint32_t id, size_t *ret_n)
{
    *ret_n = t->bytes_at[id + 1] - t->bytes_at[id];
    return t->bytes + t->bytes_at[id];
}

uint32_t vs_piece_find(const struct vs_tokenizer *t, const char *s, size_t n);   /* VS_TOKENIZER_NONE when absent */
/* Emits text as single-byte pieces; VS_E_MALFORMED when a byte has none. */
int vs_piece_as_bytes(const struct vs_tokenizer *t, const char *s, size_t n, struct vs_ids *ids, struct vs_error *err);

/* A piece in the printable byte mapping as bytes, at most n of them; returns how many. */
size_t vs_piece_unmap(const char *s, size_t n, char *to);

/* A binary heap of pairs of neighbours, smallest key first. */
struct vs_pair { uint64_t key; uint32_t left, right, size; };
struct vs_heap { struct vs_pair *pair; size_t n, cap; };
int vs_heap_push(struct vs_heap *h, struct vs_pair p);
bool vs_heap_pop(struct vs_heap *h, struct vs_pair *ret);
#endif
