/* tokenizer/internal.h - what the files of this room share. Not for others.
 *
 *     tokenizer.c  keys, flags, the partition by special tokens     family -> bpe.c or spm.c
 *     vocab.c      pieces and the index from bytes to id            words.c: words met before; merge.c, lanes.c: pairs to ids
 *     proven.c     pieces that need no merges
 *     special.c    the trie of special pieces                       pretok.c: where byte-level BPE may merge
 *     cuts.c       the same for ASCII, by masks of 64 bytes         level.c: instruction sets
 */
#ifndef VS_TOKENIZER_INTERNAL_H
#define VS_TOKENIZER_INTERNAL_H
#include "base/entry.h"
#include "tokenizer/pretok.h"
#include "tokenizer/tokenizer.h"

#include <string.h>

enum { VS_NO_ID = VS_TOKENIZER_NONE };

enum vs_piece_type {                    /* tokenizer.ggml.token_type */
    VS_PIECE_UNDEFINED, VS_PIECE_NORMAL, VS_PIECE_UNKNOWN, VS_PIECE_CONTROL, VS_PIECE_USER, VS_PIECE_UNUSED, VS_PIECE_BYTE,
};

enum vs_piece_flag {
    VS_PIECE_IS_CONTROL = 1,            /* matches trusted text only, and no merge makes it */
    VS_PIECE_IS_SPECIAL = 2,            /* matches before all else: control, unknown and user-defined pieces */
    VS_PIECE_IS_HIDDEN = 4,             /* prints nothing unless asked */
    VS_PIECE_IS_END = 8,
    VS_PIECE_IS_MERGEABLE = 16,         /* may come out of merging */
    VS_PIECE_STRIPS_AFTER = 32,         /* swallows white space behind it */
    VS_PIECE_STRIPS_BEFORE = 64,
    VS_PIECE_IS_PROVEN = 128,           /* its bytes alone merge to it (proven.c) */
};

struct vs_spans {                       /* n strings in one piece of memory: string i is data[at[i]..at[i + 1]) */
    char *data;
    uint32_t *at;
};

/* A short string: its bytes, zeros behind them, and in the last one how many they are. */
enum { VS_SHORT = 15 };
struct vs_key { uint64_t low, high; };

/* From a hash to what has it, among n < 2^31 things that who asks keeps: four bytes for each, because a near cache holds few of
 * them. */
enum { VS_SLOTS_TOGETHER = 4 };
struct vs_index {
    uint32_t *slot;                     /* 0, part of the hash, and below it the number; ~0 is empty */
    uint32_t mask;
    unsigned bits;                      /* of the number */
};

struct vs_vocab {
    uint32_t n;
    uint64_t seed[2];                   /* of all hashes, chance: no file makes its pieces or rules meet in one place */
    struct vs_spans spelled;            /* as the file writes them */
    struct vs_spans bytes;              /* what they print; and what they match, except for specials */
    uint8_t *type, *flags;
    struct vs_index by_bytes;           /* of mergeable pieces */
    uint32_t max_bytes;                 /* the longest mergeable piece */
};

enum { VS_FEW_FIRST = 4 };
#define VS_NODE_ENDS (1u << 31)         /* a piece ends at this node: the others' ids need not be looked at */
struct vs_trie {                        /* special pieces by their spelling */
    uint64_t seed;                      /* odd */
    uint64_t *edge;                     /* key (node << 8 | byte) << 32 | node, with VS_NODE_ENDS; ~0 is empty */
    uint32_t edge_mask;
    uint32_t *id;                       /* by node: the piece that ends there */
    bool first[256];
    unsigned n_first;                   /* how many of them */
    uint8_t few[VS_FEW_FIRST];          /* them, where they are few */
};

/* A merge of two neighbours: lower comes first. Upper half is the priority, lower half the id made. */
#define VS_NO_MERGE UINT64_MAX

struct vs_symbol {                      /* a part of a word while it is merged */
    uint32_t at, n;                     /* bytes of the word */
    uint32_t id;                        /* VS_NO_ID: bytes that are no piece */
};

struct vs_encoder;
struct vs_lane;

/* The merge of two neighbours of a word, or VS_NO_MERGE. */
typedef uint64_t vs_merge_function(const struct vs_tokenizer *t, const char *word, const struct vs_symbol *a,
                                   const struct vs_symbol *b);

struct vs_family {
    const char *name;
    uint32_t bos, eos, unk, sep;        /* defaults, where the piece's type allows; VS_NO_ID for none */
    bool add_bos, add_eos, add_space_prefix;
    const char *pre;                    /* its pre-tokenizer; NULL: none, or the one that the file names */
    /* What a spelling prints, into out (at least n bytes); *ret_reachable: whether merging may make it. */
    size_t (*unspell)(enum vs_piece_type type, const char *spelled, size_t n, char *out, bool *ret_reachable);
    int (*load)(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err);
    /* Appends the ids of text without special pieces. at_start: at the beginning, or behind a special piece. */
    int (*encode)(struct vs_encoder *e, const char *text, size_t n, bool at_start);
    int (*word)(struct vs_encoder *e, const char *word, size_t n);      /* appends its ids, for vs_encoder_word */
    vs_merge_function *merge;
    vs_merge_function *merge_first;     /* the same for symbols that nothing was merged into yet; NULL: as merge */
    /* Cuts a word into its first symbols, at most n. */
    int (*symbols)(struct vs_encoder *e, const char *word, size_t n, struct vs_symbol *ret, size_t *ret_n);
    /* Appends what stands for a symbol that is no piece; NULL where there is none. */
    int (*emit)(struct vs_encoder *e, const char *word, const struct vs_symbol *s);
};

extern const struct vs_family vs_family_bpe, vs_family_spm, vs_family_lines, vs_family_wordpiece, vs_family_unigram, vs_family_rwkv,
                              vs_family_plamo2, vs_family_plamo3;

struct vs_merge_rule { uint64_t pair; uint64_t merge; };   /* left << 32 | right; ~0 is empty */

/* Roles of pieces that end an answer, each named by a key of the file. */
enum { VS_END_EOS, VS_END_EOT, VS_END_EOM, VS_END_FIM_PAD, VS_END_FIM_REPOSITORY, VS_END_FIM_FILE, VS_N_ENDS };

struct vs_tokenizer {
    const struct vs_family *family;
    struct vs_vocab vocab;
    struct vs_trie special;
    uint32_t bos, sep, unk, end[VS_N_ENDS];
    bool add_bos, add_eos, add_sep, add_space_prefix;
    bool is_guess;                      /* the file does not say how text is cut */
    uint32_t byte_id[256];              /* piece of a single byte: for byte-level BPE and for byte fallback */
    uint64_t joined[1 << 16 >> 6];      /* a bit for two bytes, first << 8 | second: some piece has them side by side */
    struct {
        struct vs_pretok pretok;
        struct vs_merge_rule *rule;
        uint32_t rule_mask;
        void (*merge_lanes)(const struct vs_tokenizer *t, struct vs_lane *lane, size_t n);
        uint64_t *of_bytes;             /* by two bytes: the merge of their pieces */
        uint32_t n_rules, n_skipped;    /* skipped: merges that name absent pieces, and repeated ones */
    } bpe;
    struct { bool lowers, strips_accents; } wordpiece;
    struct vs_unigram {
        struct vs_trie pieces;
        float *score;                   /* by id: the logarithm of how likely it is */
        double unknown;                 /* of a character that no piece spells */
        bool collapses;                 /* runs of spaces become one, and go at both ends */
        uint32_t *map;                  /* double array of the character map; n_map words; then what it puts in their place */
        size_t n_map, n_texts;
        char *texts;
        bool plain[128];                /* by byte: stands for itself where another such byte, or none, follows */
    } unigram;
    struct { int32_t *cost; } plamo;    /* by id: the score, negated, in ten-thousandths */
    struct { uint32_t *priority; } spm; /* by id: ascending is descending score */
};

/* vocab.c */
int vs_vocab_load(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err);
int vs_vocab_index(struct vs_vocab *v, struct vs_error *err);              /* after flags are settled */
void vs_vocab_clear(struct vs_vocab *v);
static inline const char *vs_span(const struct vs_spans *s, uint32_t i, size_t *ret_n)
{
    *ret_n = s->at[i + 1] - s->at[i];
    return s->data + s->at[i];
}
uint64_t vs_vocab_hash(const struct vs_vocab *v, const char *s, size_t n);
uint32_t vs_vocab_find(const struct vs_vocab *v, const char *s, size_t n);         /* the lowest id; VS_NO_ID: there is none */
static inline uint64_t vs_mix(const struct vs_vocab *v, uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)(a ^ v->seed[0]) * (b ^ v->seed[1]);
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}
static inline uint64_t vs_key_mix(const struct vs_vocab *v, struct vs_key key)
{
    return vs_mix(v, key.low, key.high);
}
static inline bool vs_key_same(struct vs_key a, struct vs_key b)
{
    return ((a.low ^ b.low) | (a.high ^ b.high)) == 0;
}
struct vs_key vs_key_of(const char *s, size_t n);          /* n <= VS_SHORT */
/* The same, and reads 16 bytes. */
static inline struct vs_key vs_key_load(const char *s, size_t n)
{
    static const uint64_t masks[4] = { UINT64_MAX, UINT64_MAX, 0, 0 };   /* from byte 16 - n on: n bytes of ones */
    struct vs_key key, mask;
    memcpy(&key, s, sizeof key);
    memcpy(&mask, (const char *)masks + sizeof key - n, sizeof mask);
    return (struct vs_key){ key.low & mask.low, (key.high & mask.high) | (uint64_t)n << 56 };
}

/* Where to look first; the next place is VS_SLOTS_TOGETHER behind. */
static inline uint32_t vs_index_first(const struct vs_index *x, uint64_t hash)
{
    return (uint32_t)(hash >> 32) & x->mask & ~(uint32_t)(VS_SLOTS_TOGETHER - 1);
}
/* Bit k: the number in slot at + k may be meant. Without a branch, because nothing foretells it. */
static inline uint32_t vs_index_same(const struct vs_index *x, uint32_t at, uint64_t hash)
{
    uint32_t same = 0;
    for (unsigned k = 0; k < VS_SLOTS_TOGETHER; k++)
        same |= (uint32_t)((x->slot[at + k] ^ ((uint32_t)hash & INT32_MAX)) >> x->bits == 0) << k;
    return same;
}
struct vs_index_walk { uint64_t hash; uint32_t at, same; };
static inline struct vs_index_walk vs_index_begin(const struct vs_index *x, uint64_t hash)
{
    uint32_t at = vs_index_first(x, hash);
    return (struct vs_index_walk){ hash, at, vs_index_same(x, at, hash) };
}
/* The next number that may be meant; VS_NO_ID: there are no more. */
static inline uint32_t vs_index_next(const struct vs_index *x, struct vs_index_walk *w)
{
    while (!w->same) {
        if (x->slot[w->at + VS_SLOTS_TOGETHER - 1] == UINT32_MAX)
            return VS_NO_ID;
        w->at = (w->at + VS_SLOTS_TOGETHER) & x->mask;
        w->same = vs_index_same(x, w->at, w->hash);
    }
    uint32_t at = w->at + (uint32_t)__builtin_ctz(w->same);
    w->same &= w->same - 1;
    return x->slot[at] & (((uint32_t)1 << x->bits) - 1);
}
void vs_vocab_ask(const struct vs_vocab *v, const char *s, size_t n);              /* has memory fetched for a find that follows */
static inline void vs_vocab_ask_key(const struct vs_vocab *v, struct vs_key key)
{
    __builtin_prefetch(&v->by_bytes.slot[vs_index_first(&v->by_bytes, vs_key_mix(v, key))]);
}
/* As vs_vocab_find. */
static inline uint32_t vs_vocab_find_key(const struct vs_vocab *v, struct vs_key key)
{
    struct vs_index_walk walk = vs_index_begin(&v->by_bytes, vs_key_mix(v, key));
    for (uint32_t id; (id = vs_index_next(&v->by_bytes, &walk)) != VS_NO_ID;) {
        size_t n;
        const char *piece = vs_span(&v->bytes, id, &n);
        if (n <= VS_SHORT && vs_key_same(vs_key_load(piece, n), key))
            return id;
    }
    return VS_NO_ID;
}
/* An array of count >= n elements; *ret NULL when absent and not needed. */
int vs_vocab_array(const struct vs_entries *entries, const char *key, uint64_t n, bool needed, const struct vs_entry **ret,
                   struct vs_error *err);
uint32_t vs_table_mask(uint64_t n);     /* size - 1 of an open-addressing table for n entries, at most two thirds full */

/* spm.c, for the family that has its pieces and the other's merges */
size_t vs_spm_unescape(const char *s, size_t n, char *out);
size_t vs_spm_unspell(enum vs_piece_type type, const char *s, size_t n, char *out, bool *ret_reachable);
void vs_spm_find_bytes(struct vs_tokenizer *t);
int vs_spm_rewrite(struct vs_encoder *e, const char *text, size_t n, size_t *ret_from);
int vs_spm_symbols(struct vs_encoder *e, const char *word, size_t n, struct vs_symbol *ret, size_t *ret_n);
int vs_spm_emit(struct vs_encoder *e, const char *word, const struct vs_symbol *s);

/* special.c */
/* Of the pieces with this flag: IS_SPECIAL by their spelling, IS_MERGEABLE by what they match, where that is UTF-8 (with
 * VS_TRIE_BYTES: whatever it is). */
enum { VS_TRIE_BYTES = 256 };
int vs_trie_build(struct vs_trie *trie, const struct vs_vocab *v, unsigned flag, struct vs_error *err);
/* Where the edge of a key is, or would be. */
static inline uint32_t vs_trie_slot(const struct vs_trie *trie, uint32_t key)
{
    uint32_t i = (uint32_t)((key * trie->seed) >> 32) & trie->edge_mask;
    while (trie->edge[i] != UINT64_MAX && trie->edge[i] >> 32 != key)
        i = (i + 1) & trie->edge_mask;
    return i;
}
/* From node 0; VS_NO_ID: no piece goes on so. */
static inline uint32_t vs_trie_next(const struct vs_trie *trie, uint32_t node, uint8_t byte)
{
    uint64_t edge = trie->edge[vs_trie_slot(trie, node << 8 | byte)];
    return edge == UINT64_MAX ? VS_NO_ID : (uint32_t)edge;
}
/* The piece that ends there. */
static inline uint32_t vs_trie_id(const struct vs_trie *trie, uint32_t node)
{
    return node & VS_NODE_ENDS ? trie->id[node & ~VS_NODE_ENDS] : VS_NO_ID;
}
size_t vs_trie_skip(const struct vs_trie *trie, const char *text, size_t i, size_t end);    /* to where a piece may begin, or end */
void vs_trie_clear(struct vs_trie *trie);
/* Longest special piece at s that may match there: control pieces within the first n_trusted bytes only. VS_NO_ID: none.
 * Adds how many bytes it looked at to *io_work. */
uint32_t vs_trie_match(const struct vs_trie *trie, const struct vs_vocab *v, const char *s, size_t n, size_t n_trusted,
                       size_t *io_work);

/* words.c: one call of vs_tokenizer_encode */
struct vs_seen {                        /* a word met before in this call; half a cache line */
    uint64_t word[2];                   /* its bytes, zeros, how many; beyond 15 bytes its hash, and where it lies behind base */
    uint32_t id[3];                     /* its ids; of more than 3 the place of the first in ids */
    uint16_t n, n_ids;                  /* n: bytes, 0: empty */
};
struct vs_encoder {
    const struct vs_tokenizer *t;
    struct vs_ids *ids;
    struct vs_check *check;
    struct vs_error *err;
    const char *base, *end;             /* words passed to vs_encoder_word lie between them, at stable offsets from base */
    struct vs_buf text;                 /* rewritten text: where pieces are characters, and where normalise says so */
    bool normalise;                     /* some of the text is not in NFC, and the model wants it to be */
    struct vs_seen *seen;               /* NULL for short texts */
    unsigned seen_bits;                 /* 2^seen_bits pairs of them, each in a cache line: a newer and an older */
    size_t first;                       /* where this stretch's ids begin */
    bool forget;                        /* a family's word says so: its ids depend on what stands before it */
    void *room;                         /* for long words, grown on demand */
    size_t n_room;
};
int vs_encoder_init(struct vs_encoder *e, const struct vs_tokenizer *t, size_t n_text, struct vs_check *check,
                    struct vs_ids *ids, struct vs_error *err);
void vs_encoder_clear(struct vs_encoder *e);
/* For step i of a loop of steps of some 50 ns. */
static inline int vs_encoder_ask(struct vs_encoder *e, size_t i)
{
    return i % 1024 == 1023 ? vs_check_work(e->check, 4096) : VS_OK;
}
/* Memory of n bytes until it is asked for again; NULL: there is none. */
void *vs_encoder_room(struct vs_encoder *e, size_t n);
int vs_encoder_word(struct vs_encoder *e, const char *word, size_t n);
/* Where no piece has two bytes side by side none reaches over the place between them: text is cut there into words, with the ids
 * of the whole. vs_find_joined comes first. */
void vs_find_joined(struct vs_tokenizer *t);
int vs_encoder_text(struct vs_encoder *e, const char *s, const char *end);
/* A word of the family "gpt2"; words one behind the other. */
int vs_find_or_merge(struct vs_encoder *e, const char *word, size_t n);
int vs_encoder_words(struct vs_encoder *e, const char *s, const uint32_t *n_bytes, size_t n);

/* merge.c */
int vs_merge_word(struct vs_encoder *e, const char *word, size_t n);      /* appends its ids */

/* lanes.c */
enum { VS_LANE_BYTES = 16 };
struct vs_lane {                        /* a short word of the family "gpt2" that is merged beside others */
    const char *word;
    uint32_t slot[2];                   /* where the rules of two pairs are looked for */
    uint8_t asked[2];                   /* these pairs, by their left symbol */
    uint8_t n_bytes, n;                 /* n: symbols; in the end how many ids */
    uint8_t next[VS_LANE_BYTES + 1], prev[VS_LANE_BYTES + 1];   /* the last one: what is before and behind all */
    int32_t key[VS_LANE_BYTES + 1];     /* of the merge with the next symbol: its rank, then the place; INT32_MAX: none */
    uint32_t made[VS_LANE_BYTES + 1];
    uint32_t id[VS_LANE_BYTES + 1];
};
/* At most 32. word and n_bytes are given; id and n come back. */
typedef void vs_lanes_function(const struct vs_tokenizer *t, struct vs_lane *lane, size_t n);
vs_lanes_function vs_lanes_c, vs_lanes_avx2, vs_lanes_avx512;

/* level.c: what each instruction set does its own way, with the same ids; plain C is the first. */
extern const struct vs_level {
    vs_cut_function *cut;
    vs_lanes_function *merge_lanes;
} vs_level[];
unsigned vs_levels(void);               /* how many of them this processor runs */

/* proven.c */
struct vs_proven;                       /* while rules are loaded */
struct vs_proven *vs_proven_new(struct vs_tokenizer *t);                    /* NULL: no memory */
/* A rule that is not in the table yet; each once, by ascending rank. Its piece may become a proven one. */
void vs_proven_add(struct vs_proven *p, uint32_t left, uint32_t right, uint64_t merge);
void vs_proven_free(struct vs_proven *p);

/* bpe.c: rules lie four in a cache line. Where the search for that of a pair (left << 32 | right) begins, and what is found. */
enum { VS_RULES_TOGETHER = 4 };
static inline uint32_t vs_rule_slot(const struct vs_tokenizer *t, uint64_t pair)
{
    return (uint32_t)vs_mix(&t->vocab, pair, 0) & t->bpe.rule_mask & ~(uint32_t)(VS_RULES_TOGETHER - 1);
}
uint64_t vs_rule_find(const struct vs_tokenizer *t, uint64_t pair, uint32_t slot);
#endif
