/* tokenizer/words.c - a call's words: those met before are copied, what is new is merged.
 *
 * Words come many at a time. First each is looked for among those met before; then all that are new are merged in turns (lanes.c);
 * then their ids are put between the others.
 */
#include "tokenizer/internal.h"

#include <stdlib.h>
#include <string.h>

enum { MIN_SEEN_BITS = 5, MAX_SEEN_BITS = 14, CACHE_LINE = 64, MAX_SEEN_BYTES = 256, SEEN_IDS = 3, BATCH = 128, LANES = 16,
       PART = 1 << 16 };                /* bytes between two questions whether the work may go on */

static size_t seen_size(const struct vs_encoder *e)
{
    return 2 * sizeof *e->seen << e->seen_bits;
}

int vs_encoder_init(struct vs_encoder *e, const struct vs_tokenizer *t, size_t n_text, struct vs_check *check,
                    struct vs_ids *ids, struct vs_error *err)
{
    *e = (struct vs_encoder){ .t = t, .ids = ids, .check = check, .err = err };
    if (n_text < 256)
        return VS_OK;
    e->seen_bits = MIN_SEEN_BITS;
    while ((size_t)16 << e->seen_bits < n_text && e->seen_bits < MAX_SEEN_BITS)
        e->seen_bits++;
    e->seen = aligned_alloc(CACHE_LINE, seen_size(e));
    if (!e->seen)
        return vs_error_set(err, VS_E_NOMEM, "no memory to tokenize %zu bytes", n_text);
    memset(e->seen, 0, seen_size(e));
    return VS_OK;
}

void vs_encoder_clear(struct vs_encoder *e)
{
    vs_check_free(e->check, e->seen, e->seen ? seen_size(e) : 0);
    vs_check_free(e->check, e->room, e->n_room);
    vs_buf_clear(&e->text);
}

void *vs_encoder_room(struct vs_encoder *e, size_t n)
{
    if (n > e->n_room) {
        void *more = realloc(e->room, n);
        if (!more)
            return NULL;
        e->room = more;
        e->n_room = n;
    }
    return e->room;
}

static inline struct vs_key load_short(const struct vs_encoder *e, const char *word, size_t n)
{
    return e->end - word >= (ptrdiff_t)sizeof(struct vs_key) ? vs_key_load(word, n) : vs_key_of(word, n);
}

static inline struct vs_seen *slot_of(const struct vs_encoder *e, struct vs_key key)
{
    return &e->seen[vs_key_mix(&e->t->vocab, key) >> (64 - e->seen_bits) << 1];
}

static inline bool is_word(const struct vs_seen *s, struct vs_key key)
{
    return vs_key_same((struct vs_key){ s->word[0], s->word[1] }, key);
}

/* The ids of this word are those from `before` on. */
static void remember(struct vs_seen *slot, struct vs_key key, size_t n, const struct vs_ids *ids, size_t before)
{
    size_t n_ids = ids->n - before;
    if (n_ids > UINT16_MAX || (n_ids > SEEN_IDS && before > UINT32_MAX))
        return;
    slot[1] = slot[0];
    slot[0] = (struct vs_seen){ .word = { key.low, key.high }, .n = (uint16_t)n, .n_ids = (uint16_t)n_ids };
    if (n_ids > SEEN_IDS)
        slot->id[0] = (uint32_t)before;
    else
        memcpy(slot->id, ids->id + before, n_ids * sizeof *slot->id);
}

/* Is a word that is this piece never merged otherwise? */
static inline bool is_whole(const struct vs_tokenizer *t, uint32_t id)
{
    return id != VS_NO_ID && (t->vocab.flags[id] & VS_PIECE_IS_PROVEN || t->bpe.pretok.flags & VS_PRE_WHOLE_WORD);
}

int vs_find_or_merge(struct vs_encoder *e, const char *word, size_t n)
{
    uint32_t id = vs_vocab_find(&e->t->vocab, word, n);
    return is_whole(e->t, id) ? vs_ids_add(e->ids, id) : vs_merge_word(e, word, n);
}

/* Of a longer word the key is its hash, and where it lies behind base. */
int vs_encoder_word(struct vs_encoder *e, const char *word, size_t n)
{
    struct vs_ids *ids = e->ids;
    if (!e->seen || n > MAX_SEEN_BYTES)
        return e->t->family->word(e, word, n);
    bool is_short = n <= VS_SHORT;
    struct vs_key key = is_short ? load_short(e, word, n)
                                 : (struct vs_key){ vs_vocab_hash(&e->t->vocab, word, n), (uint64_t)(word - e->base) };
    struct vs_seen *slot = slot_of(e, is_short ? key : (struct vs_key){ key.low, 0 });
    for (const struct vs_seen *seen = slot; seen < slot + 2; seen++)
        if (seen->n == n && (is_short ? is_word(seen, key)
                                      : seen->word[0] == key.low && memcmp(e->base + seen->word[1], word, n) == 0)) {
            int r = vs_ids_reserve(ids, seen->n_ids);       /* first: the ids may move */
            return r != VS_OK ? r : vs_ids_append(ids, seen->n_ids > SEEN_IDS ? ids->id + seen->id[0] : seen->id, seen->n_ids);
        }
    size_t before = ids->n;
    e->forget = false;
    int r = e->t->family->word(e, word, n);
    if (r == VS_OK && !e->forget)
        remember(slot, key, n, ids, before);
    return r;
}

void vs_find_joined(struct vs_tokenizer *t)
{
    const struct vs_vocab *v = &t->vocab;
    for (unsigned a = 0; a < 256; a++)
        memset(&t->joined[a << 8 >> 6 | 0x80 >> 6], 0xff, 0x40 / 8);     /* a character is not cut */
    for (uint32_t id = 0; id < v->n; id++) {
        size_t n;
        const char *s = vs_span(&v->bytes, id, &n);
        for (size_t i = 1; i < n && v->flags[id] & VS_PIECE_IS_MERGEABLE; i++) {
            unsigned pair = (unsigned)(uint8_t)s[i - 1] << 8 | (uint8_t)s[i];
            t->joined[pair >> 6] |= (uint64_t)1 << pair % 64;
        }
    }
}

int vs_encoder_text(struct vs_encoder *e, const char *s, const char *end)
{
    const uint64_t *joined = e->t->joined;
    int r = VS_OK;
    while (s < end && r == VS_OK) {
        const char *q = s + 1;
        for (const char *asked = s, *stop = q; q == stop && q < end && r == VS_OK; asked = q) {
            stop = end - q < PART ? end : q + PART;
            for (unsigned pair = (uint8_t)q[-1]; q < stop; q++) {
                pair = (pair << 8 | (uint8_t)*q) & 0xffff;
                if (!(joined[pair >> 6] >> pair % 64 & 1))
                    break;
            }
            r = vs_check_work(e->check, (uint64_t)(q - asked));
        }
        if (r == VS_OK)
            r = vs_encoder_word(e, s, (size_t)(q - s));
        s = q;
    }
    return r;
}

/* ---- many ---- */

struct new_word {                       /* of a batch */
    const char *word;
    struct vs_key key;
    size_t at;                          /* its ids go in front of this one */
    uint32_t n_bytes, n_ids;
    uint32_t id[VS_SHORT];
};

/* Makes the ids of new words; returns how many they are. */
static size_t merge_new(const struct vs_tokenizer *t, struct new_word *w, size_t n)
{
    struct vs_lane lane[LANES];
    uint8_t of[LANES];
    size_t n_lanes = 0, n_ids = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = vs_vocab_find_key(&t->vocab, w[i].key);
        if (is_whole(t, id)) {
            w[i].id[0] = id;
            w[i].n_ids = 1;
            n_ids++;
        } else {
            lane[n_lanes].word = w[i].word;
            lane[n_lanes].n_bytes = (uint8_t)w[i].n_bytes;
            of[n_lanes++] = (uint8_t)i;
        }
        if (n_lanes == LANES || (i + 1 == n && n_lanes)) {
            t->bpe.merge_lanes(t, lane, n_lanes);
            for (size_t k = 0; k < n_lanes; k++) {
                w[of[k]].n_ids = lane[k].n;
                n_ids += lane[k].n;
                memcpy(w[of[k]].id, lane[k].id, lane[k].n * sizeof *lane[k].id);
            }
            n_lanes = 0;
        }
    }
    return n_ids;
}

/* Puts what is new between what was not, from behind. There is room. */
static void insert(struct vs_encoder *e, struct new_word *w, size_t n)
{
    struct vs_ids *ids = e->ids;
    size_t n_more = merge_new(e->t, w, n), end = ids->n;
    ids->n += n_more;
    for (size_t i = n; i--; end = w[i].at) {
        memmove(ids->id + w[i].at + n_more, ids->id + w[i].at, (end - w[i].at) * sizeof *ids->id);
        n_more -= w[i].n_ids;
        memcpy(ids->id + w[i].at + n_more, w[i].id, w[i].n_ids * sizeof *ids->id);
    }
    for (size_t i = 0; i < n; n_more += w[i++].n_ids) {
        struct vs_seen *slot = slot_of(e, w[i].key);
        struct vs_ids until = { ids->id, w[i].at + n_more + w[i].n_ids, 0 };
        if (!is_word(slot, w[i].key))
            remember(slot, w[i].key, w[i].n_bytes, &until, w[i].at + n_more);
    }
}

/* Short words; returns how many of them, all but where a long one follows. There is room for the ids. */
static size_t add_short(struct vs_encoder *e, const char **io_s, const uint32_t *n_bytes, size_t n)
{
    struct new_word fresh[BATCH];
    struct vs_ids *ids = e->ids;
    uint32_t *id = ids->id + ids->n;
    const char *s = *io_s;
    size_t n_new = 0, i = 0;
    for (; i < n && n_bytes[i] <= VS_SHORT; s += n_bytes[i++]) {
        struct vs_key key = load_short(e, s, n_bytes[i]);
        const struct vs_seen *slot = slot_of(e, key);
        slot += !is_word(slot, key);
        if (!is_word(slot, key)) {
            struct new_word *w = &fresh[n_new++];
            vs_vocab_ask_key(&e->t->vocab, key);
            w->word = s;
            w->key = key;
            w->n_bytes = n_bytes[i];
            w->at = (size_t)(id - ids->id);
            continue;
        }
        if (slot->n_ids > SEEN_IDS)
            memcpy(id, ids->id + slot->id[0], slot->n_ids * sizeof *id);
        else
            memcpy(id, slot->id, sizeof slot->id);      /* what is too much is overwritten */
        id += slot->n_ids;
    }
    ids->n = (size_t)(id - ids->id);
    insert(e, fresh, n_new);
    *io_s = s;
    return i;
}

int vs_encoder_words(struct vs_encoder *e, const char *s, const uint32_t *n_bytes, size_t n)
{
    int r = VS_OK;
    for (size_t i = 0; r == VS_OK && i < n;) {
        size_t part = n - i < BATCH ? n - i : BATCH;
        if (e->seen && (r = vs_ids_reserve(e->ids, (part + 1) * VS_SHORT)) == VS_OK)
            i += add_short(e, &s, n_bytes + i, part);
        for (; r == VS_OK && i < n && (!e->seen || n_bytes[i] > VS_SHORT); s += n_bytes[i++])
            r = vs_encoder_word(e, s, n_bytes[i]);
    }
    return r;
}
