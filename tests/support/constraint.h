/* support/constraint.h - for the fuzz targets of constraints: a small vocabulary, and an answer that the bytes of the input choose.
 *
 * Whatever the constraint is: compiling ends, and where it is taken each mask allows something, and the answer ends valid in time.
 */
#ifndef TESTS_SUPPORT_CONSTRAINT_H
#define TESTS_SUPPORT_CONSTRAINT_H
#include "grammar/grammar.h"

#include <stdlib.h>
#include <string.h>

enum { FUZZ_VOCAB = 262, FUZZ_END = 261, FUZZ_STEPS = 40 };

static const char *fuzz_text(void *context, uint32_t id, size_t *ret_n)
{
    static const char *const longer[] = { "{\"", "\":", "aa", "true", "\xc3\xa9" };
    static char single[256];
    (void)context;
    *ret_n = id < 256 ? 1 : id < FUZZ_END ? strlen(longer[id - 256]) : 0;
    if (id >= 256)
        return id < FUZZ_END ? longer[id - 256] : NULL;
    single[id] = (char)id;
    return single + id;
}

static bool fuzz_is_end(void *context, uint32_t id)
{
    (void)context;
    return id == FUZZ_END;
}

/* Which of the allowed tokens: by the next byte of the input. */
static uint32_t fuzz_pick(const uint64_t *mask, uint8_t byte)
{
    uint32_t allowed[FUZZ_VOCAB], n = 0;
    for (uint32_t id = 0; id < FUZZ_VOCAB; id++)
        if (mask[id / 64] >> id % 64 & 1)
            allowed[n++] = id;
    if (!n)
        abort();
    return allowed[byte % n];
}

static const struct vs_vocabulary *fuzz_vocabulary(void)
{
    static struct vs_vocabulary *v;
    static const struct vs_vocabulary_source source = { .n = FUZZ_VOCAB, .text = fuzz_text, .is_end = fuzz_is_end };
    if (!v && vs_vocabulary_create(&source, NULL, &v) != VS_OK)
        abort();
    return v;
}

/* An answer; the grammar is taken over. */
static void fuzz_follow(struct vs_grammar *g, const uint8_t *data, size_t n)
{
    struct vs_matcher *m;
    if (vs_matcher_create(g, &m) != VS_OK)
        abort();
    uint32_t shortest = vs_matcher_shortest(m), left = shortest + n % 8;
    if (shortest == UINT32_MAX)
        abort();                         /* every byte has a token */
    for (uint32_t i = 0; i < FUZZ_STEPS && left && !vs_matcher_must_end(m); i++) {
        const uint64_t *mask = vs_matcher_mask(m, --left);
        uint32_t id = mask ? fuzz_pick(mask, n ? data[i % n] : 0) : FUZZ_END;
        if (!mask)
            abort();
        if (id == FUZZ_END)
            break;
        if (!vs_matcher_take(m, id) || vs_matcher_shortest(m) > left)
            abort();
    }
    if (!left && !vs_matcher_may_end(m))
        abort();
    vs_matcher_free(m);
    vs_grammar_free(g);
}

/* constraint is taken over. */
static inline void fuzz_constraint(json_t *constraint, const uint8_t *data, size_t n)
{
    struct vs_grammar *g;
    struct vs_error err = { 0 };
    int r = constraint ? vs_grammar_compile(constraint, VS_GRAMMAR_WRITES, fuzz_vocabulary(), NULL, &g, &err) : VS_E_INVALID;
    json_decref(constraint);
    if (r == VS_OK)
        fuzz_follow(g, data, n);
}
#endif
