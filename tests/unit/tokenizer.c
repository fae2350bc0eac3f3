/* rooms: tokenizer import */
#include "base/bytes.h"
#include "base/utf8.h"
#include "import/gguf.h"
#include "tokenizer/internal.h"
#include "../support/asking.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* ---- a vocabulary in memory ---- */

enum { MAX_PIECES = 2048, MAX_PIECE = 48 };

struct vocabulary {
    const char *model, *pre;
    char piece[MAX_PIECES][MAX_PIECE];
    int32_t type[MAX_PIECES];
    float score[MAX_PIECES];
    uint32_t n, n_types, n_scores;
    char merge[MAX_PIECES][2 * MAX_PIECE];
    uint32_t left[MAX_PIECES], right[MAX_PIECES], made[MAX_PIECES], n_merges;
    int64_t bos, eos;                    /* -1: no key */
    int add_bos, add_space_prefix;       /* -1: no key */
    uint32_t tokens_type;                /* of the array's elements; VS_ENTRY_STRING unless a test wants it wrong */
};

static void put(struct vs_buf *b, uint64_t v, size_t n)
{
    uint8_t bytes[8];
    vs_store_u64le(bytes, v);
    vs_buf_add(b, bytes, n);
}

static void put_str(struct vs_buf *b, const char *s)
{
    put(b, strlen(s), 8);
    vs_buf_str(b, s);
}

static void put_key(struct vs_buf *b, uint64_t *n_kv, const char *key, uint32_t type)
{
    ++*n_kv;
    put_str(b, key);
    put(b, type, 4);
}

static void put_array(struct vs_buf *b, uint64_t *n_kv, const char *key, uint32_t type, uint64_t count)
{
    put_key(b, n_kv, key, VS_ENTRY_ARRAY);
    put(b, type, 4);
    put(b, count, 8);
}

static int create(const struct vocabulary *v, struct vs_tokenizer **ret, struct vs_error *err)
{
    struct vs_buf kv = { 0 }, file = { 0 };
    uint64_t n_kv = 0;
    put_key(&kv, &n_kv, "tokenizer.ggml.model", VS_ENTRY_STRING);
    put_str(&kv, v->model);
    if (v->pre) {
        put_key(&kv, &n_kv, "tokenizer.ggml.pre", VS_ENTRY_STRING);
        put_str(&kv, v->pre);
    }
    put_array(&kv, &n_kv, "tokenizer.ggml.tokens", v->tokens_type, v->n);
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->tokens_type == VS_ENTRY_STRING)
            put_str(&kv, v->piece[i]);
        else
            put(&kv, i, 4);
    }
    put_array(&kv, &n_kv, "tokenizer.ggml.token_type", VS_ENTRY_I32, v->n_types);
    for (uint32_t i = 0; i < v->n_types; i++)
        put(&kv, (uint32_t)v->type[i], 4);
    if (v->n_scores) {
        put_array(&kv, &n_kv, "tokenizer.ggml.scores", VS_ENTRY_F32, v->n_scores);
        for (uint32_t i = 0; i < v->n_scores; i++)
            vs_buf_add(&kv, &v->score[i], 4);
    }
    if (strcmp(v->model, "gpt2") == 0 || strcmp(v->model, "gemma4") == 0) {
        put_array(&kv, &n_kv, "tokenizer.ggml.merges", VS_ENTRY_STRING, v->n_merges);
        for (uint32_t i = 0; i < v->n_merges; i++)
            put_str(&kv, v->merge[i]);
    }
    const struct { const char *key; int64_t id; } ids[] = {
        { "tokenizer.ggml.bos_token_id", v->bos }, { "tokenizer.ggml.eos_token_id", v->eos },
    };
    for (size_t i = 0; i < 2; i++)
        if (ids[i].id >= 0) {
            put_key(&kv, &n_kv, ids[i].key, VS_ENTRY_U32);
            put(&kv, (uint64_t)ids[i].id, 4);
        }
    const struct { const char *key; int value; } flags[] = {
        { "tokenizer.ggml.add_bos_token", v->add_bos }, { "tokenizer.ggml.add_space_prefix", v->add_space_prefix },
    };
    for (size_t i = 0; i < 2; i++)
        if (flags[i].value >= 0) {
            put_key(&kv, &n_kv, flags[i].key, VS_ENTRY_BOOL);
            put(&kv, (uint64_t)flags[i].value, 1);
        }
    vs_buf_str(&file, "GGUF");
    put(&file, 3, 4);
    put(&file, 0, 8);
    put(&file, n_kv, 8);
    vs_buf_add(&file, kv.data, kv.n);
    while (file.n % 32)
        vs_buf_char(&file, 0);
    assert_int_equal(file.status | kv.status, VS_OK);
    struct vs_gguf *g;
    int r = vs_gguf_open(file.data, file.n, file.n, &g, err);
    if (r == VS_OK) {
        r = vs_tokenizer_create(vs_gguf_entries(g), ret, err);
        vs_gguf_close(g);
    }
    vs_buf_clear(&kv);
    vs_buf_clear(&file);                 /* the tokenizer must not need it any more */
    return r;
}

static uint64_t random_state = 88172645463325252u;
static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

static uint32_t add_piece(struct vocabulary *v, const char *s, int32_t type, float score)
{
    assert_true(v->n < MAX_PIECES && strlen(s) < MAX_PIECE);
    memcpy(v->piece[v->n], s, strlen(s) + 1);
    v->type[v->n] = type;
    v->score[v->n] = score;
    v->n_types = v->n + 1;
    return v->n++;
}

static struct vocabulary *empty(const char *model, const char *pre)
{
    struct vocabulary *v = calloc(1, sizeof *v);
    assert_non_null(v);
    v->model = model;
    v->pre = pre;
    v->bos = v->eos = v->add_bos = v->add_space_prefix = -1;
    v->tokens_type = VS_ENTRY_STRING;
    return v;
}

static uint32_t find_piece(const struct vocabulary *v, const char *s)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (strcmp(v->piece[i], s) == 0)
            return i;
    return UINT32_MAX;
}

/* The 256 bytes in their printable spelling at ids 0 to 255, then merges of a random language over few letters. */
static struct vocabulary *byte_level(const char *pre)
{
    struct vocabulary *v = empty("gpt2", pre);
    uint32_t next = 0x100;
    for (uint32_t b = 0; b < 256; b++) {
        bool prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        struct vs_buf s = { 0 };
        vs_buf_utf8(&s, prints ? b : next++);
        add_piece(v, s.data, 1, 0);
        vs_buf_clear(&s);
    }
    for (int i = 0; i < 4000 && v->n_merges < 700; i++) {
        uint32_t from[2];
        for (int k = 0; k < 2; k++) {
            uint32_t letter = (uint8_t)"abcde"[random_below(5)];
            from[k] = v->n > 256 && random_below(3) ? 256 + random_below(v->n - 256) : letter;
        }
        char joined[2 * MAX_PIECE];
        snprintf(joined, sizeof joined, "%s%s", v->piece[from[0]], v->piece[from[1]]);
        if (strlen(joined) > 10 || find_piece(v, joined) != UINT32_MAX)
            continue;
        char rule[2 * MAX_PIECE];
        snprintf(rule, sizeof rule, "%.40s %.40s", v->piece[from[0]], v->piece[from[1]]);
        memcpy(v->merge[v->n_merges], rule, sizeof rule);
        v->left[v->n_merges] = from[0];
        v->right[v->n_merges] = from[1];
        v->made[v->n_merges++] = add_piece(v, joined, 1, 0);
    }
    return v;
}

static void encode(const struct vs_tokenizer *t, const char *s, size_t n, bool trusted, unsigned flags, struct vs_ids *ids)
{
    struct vs_text_run run = { n, trusted };
    struct vs_error err = { 0 };
    ids->n = 0;
    int r = vs_tokenizer_encode(t, s, n, &run, 1, flags, NULL, ids, &err);
    if (r != VS_OK)
        fail_msg("%s", err.text);
}

static void assert_ids(const struct vs_tokenizer *t, const char *s, bool trusted, unsigned flags, size_t n,
                       const uint32_t *want)
{
    struct vs_ids ids = { 0 };
    encode(t, s, strlen(s), trusted, flags, &ids);
    assert_int_equal(ids.n, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ids.id[i], want[i]);
    vs_ids_clear(&ids);
}
#define ASSERT_IDS(t, s, trusted, flags, ...)                                                  \
    assert_ids(t, s, trusted, flags, sizeof((uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t),     \
               (uint32_t[]){ __VA_ARGS__ })

/* ---- pre-tokenizers ---- */

struct cuts { uint64_t n, hash; const char *at; };

static int on_pieces(void *context, const char *s, const uint32_t *n_bytes, size_t n)
{
    struct cuts *c = context;
    assert_ptr_equal(s, c->at);          /* in order, without a gap */
    assert_true(n > 0);
    for (size_t k = 0; k < n; k++) {
        assert_true(n_bytes[k] > 0);
        c->at += n_bytes[k];
        c->n++;
        uint8_t bytes[4];
        vs_store_u32le(bytes, n_bytes[k]);
        for (int i = 0; i < 4; i++)
            c->hash = (c->hash ^ bytes[i]) * 0x100000001b3u;
    }
    return VS_OK;
}

static char *read_file(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *data = malloc((size_t)n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)n, f), n);
    fclose(f);
    data[n] = 0;
    *ret_n = (size_t)n;
    return data;
}

/* The lines of mixed.txt and edges.txt, then runs of nine lines, as tools/golden_pretok.py takes them. */
static size_t texts_of(char *text, size_t n, const char **start, size_t *length, size_t cap)
{
    size_t n_lines = 0;
    for (char *s = text, *end = text + n; s <= end; n_lines++) {
        char *e = memchr(s, '\n', (size_t)(end - s));
        e = e ? e : end;
        assert_true(n_lines < cap);
        start[n_lines] = s;
        length[n_lines] = (size_t)(e - s);
        s = e + 1;
    }
    size_t all = n_lines;
    for (size_t i = 0; i < n_lines; i += 9, all++) {
        size_t last = i + 8 < n_lines ? i + 8 : n_lines - 1;
        assert_true(all < cap);
        start[all] = start[i];
        length[all] = (size_t)(start[last] + length[last] - start[i]);
    }
    return all;
}

static void test_pretok_golden(void **state)
{
    (void)state;
    enum { MAX_TEXTS = 8192 };
    static const char *start[MAX_TEXTS];
    static size_t length[MAX_TEXTS];
    static bool skipped[MAX_TEXTS];
    size_t n_text, n_golden;
    char *mixed = read_file(TEST_DIR "/golden/tokenizer/mixed.txt", &n_text);
    char *edges = read_file(TEST_DIR "/golden/tokenizer/edges.txt", &n_golden);
    struct vs_buf both = { 0 };
    vs_buf_add(&both, mixed, n_text);
    vs_buf_char(&both, '\n');
    vs_buf_add(&both, edges, n_golden);
    free(mixed);
    free(edges);
    char *text = both.data, *golden = read_file(TEST_DIR "/golden/tokenizer/pretok.txt", &n_golden);
    size_t n = texts_of(text, both.n, start, length, MAX_TEXTS);
    char *save, *row = strtok_r(golden, "\n", &save), *numbers;
    for (char *word = strtok_r(row, " ", &numbers); (word = strtok_r(NULL, " ", &numbers));) {
        size_t i = strtoul(word, NULL, 10);
        assert_true(i < n);
        skipped[i] = true;
    }
    int n_rules = 0;
    while ((row = strtok_r(NULL, "\n", &save))) {
        char name[64];
        uint64_t n_pieces, hash;
        assert_int_equal(sscanf(row, "%63s %" SCNu64 " %" SCNx64, name, &n_pieces, &hash), 3);
        struct vs_pretok p;
        assert_int_equal(vs_pretok_init(&p, name, strlen(name)), VS_OK);
        struct cuts cuts = { .hash = 0xcbf29ce484222325u };
        for (size_t i = 0; i < n; i++) {
            if (skipped[i])
                continue;
            cuts.at = start[i];
            vs_pretok_split(&p, start[i], length[i], NULL, on_pieces, &cuts);
            assert_ptr_equal(cuts.at, start[i] + length[i]);
        }
        if (cuts.n != n_pieces || cuts.hash != hash)
            fail_msg("%s cuts otherwise than the original: %" PRIu64 " pieces, not %" PRIu64, name, cuts.n, n_pieces);
        n_rules++;
    }
    assert_true(n_rules > 20);
    struct vs_pretok p;
    assert_int_equal(vs_pretok_init(&p, "no-such", 7), VS_E_UNSUPPORTED);
    vs_buf_clear(&both);
    free(golden);
}

/* No rule may take quadratic time: a megabyte of what it looks ahead over. */
static void test_pretok_linear(void **state)
{
    (void)state;
    static const char *const names[] = { "llama-bpe", "gpt-4o", "jais-2", "superbpe", "afmoe", "tiny_aya", "deepseek-llm",
                                         "chameleon", "exaone-moe", "kimi-k2", "default" };
    static const char *const units[] = { "a", " ", "1", "\n", "A", "'", "\xc3\xa9", "a ", "1 ", " \n", "A1", "\xcc\x81" };
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        struct vs_buf b = { 0 };
        while (b.n < 1u << 20)
            vs_buf_str(&b, units[u]);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            struct vs_pretok p;
            assert_int_equal(vs_pretok_init(&p, names[i], strlen(names[i])), VS_OK);
            struct cuts cuts = { .at = b.data };
            uint64_t t0 = cpu_ns();
            assert_int_equal(vs_pretok_split(&p, b.data, b.n, NULL, on_pieces, &cuts), VS_OK);
            if (cpu_ns() - t0 > 10000000000u)
                fail_msg("%s takes more than 10 s for a megabyte of '%s'", names[i], units[u]);
        }
        vs_buf_clear(&b);
    }
}

/* ---- merging ---- */

/* Section 5 of the rules said slowly: merge the pair of lowest rank, the leftmost of them, until none is left. */
static size_t merge_slowly(const struct vocabulary *v, uint32_t *id, size_t n)
{
    for (;;) {
        uint32_t best = UINT32_MAX;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (uint32_t m = 0; m < v->n_merges && m < best; m++)
                if (v->left[m] == id[i] && v->right[m] == id[i + 1]) {
                    best = m;
                    at = i;
                }
        if (best == UINT32_MAX)
            return n;
        id[at] = v->made[best];
        memmove(id + at + 1, id + at + 2, (n - at - 2) * sizeof *id);
        n--;
    }
}

static void test_bpe_is_the_slow_algorithm(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("ufakzeka");
    struct vs_tokenizer *t;
    struct vs_error err = { 0 };
    assert_int_equal(create(v, &t, &err), VS_OK);
    for (int round = 0; round < 300; round++) {
        char s[200];
        uint32_t want[200];
        size_t n = 1 + random_below(round % 2 ? 20 : 199);
        for (size_t i = 0; i < n; i++)
            want[i] = (uint8_t)(s[i] = "abcde"[random_below(5)]);   /* letters only: one word */
        size_t n_want = merge_slowly(v, want, n);
        struct vs_ids ids = { 0 };
        encode(t, s, n, false, 0, &ids);
        assert_int_equal(ids.n, n_want);
        assert_memory_equal(ids.id, want, n_want * sizeof *want);
        vs_ids_clear(&ids);
    }
    vs_tokenizer_free(t);
    free(v);
}

static void assert_merges_slowly(const struct vocabulary *v, const struct vs_tokenizer *t, const char *s)
{
    uint32_t want[200];
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        want[i] = (uint8_t)s[i];
    size_t n_want = merge_slowly(v, want, n);
    struct vs_ids ids = { 0 };
    encode(t, s, n, false, 0, &ids);
    if (ids.n != n_want || memcmp(ids.id, want, n_want * sizeof *want) != 0)
        fail_msg("'%s' gives %zu ids, not %zu", s, ids.n, n_want);
    vs_ids_clear(&ids);
}

/* Words that are pieces are not merged where that is proven: rules in the order of a training, in any order, several of a piece. */
static void test_proven_pieces(void **state)
{
    (void)state;
    unsigned n_proven = 0, n_unproven = 0, n_refuted = 0;
    for (int round = 0; round < 6; round++) {
        struct vocabulary *v = byte_level("ufakzeka");
        struct vs_tokenizer *t;
        for (uint32_t i = 0; round % 3 == 1 && i < v->n_merges; i++) {              /* in any order */
            uint32_t k = random_below(v->n_merges);
            char rule[sizeof v->merge[0]];
            memcpy(rule, v->merge[i], sizeof rule);
            memcpy(v->merge[i], v->merge[k], sizeof rule);
            memcpy(v->merge[k], rule, sizeof rule);
            uint32_t of_i[] = { v->left[i], v->right[i], v->made[i] };
            v->left[i] = v->left[k], v->right[i] = v->right[k], v->made[i] = v->made[k];
            v->left[k] = of_i[0], v->right[k] = of_i[1], v->made[k] = of_i[2];
        }
        for (uint32_t id = 256; round % 3 == 2 && id < v->n && v->n_merges < MAX_PIECES; id++) {       /* another of a piece */
            char left[MAX_PIECE] = { 0 };
            size_t n = strlen(v->piece[id]), at = 1 + random_below((uint32_t)n - 1);
            memcpy(left, v->piece[id], at);
            uint32_t of_left = find_piece(v, left), of_right = find_piece(v, v->piece[id] + at);
            bool is_there = of_left == UINT32_MAX || of_right == UINT32_MAX;
            for (uint32_t i = 0; i < v->n_merges; i++)
                is_there |= v->left[i] == of_left && v->right[i] == of_right;
            if (is_there)
                continue;
            snprintf(v->merge[v->n_merges], sizeof v->merge[0], "%.40s %.40s", left, v->piece[id] + at);
            v->left[v->n_merges] = of_left;
            v->right[v->n_merges] = of_right;
            v->made[v->n_merges++] = id;
        }
        assert_int_equal(create(v, &t, NULL), VS_OK);
        for (uint32_t id = 256; id < v->n; id++) {
            uint32_t alone[MAX_PIECE];
            size_t n = strlen(v->piece[id]);
            for (size_t i = 0; i < n; i++)
                alone[i] = (uint8_t)v->piece[id][i];
            bool is_proven = t->vocab.flags[id] & VS_PIECE_IS_PROVEN, is_whole = merge_slowly(v, alone, n) == 1;
            assert_true(is_whole || !is_proven);
            if (round % 3 == 0)
                assert_int_equal(is_whole, is_proven);
            n_proven += is_proven;
            n_unproven += is_whole && !is_proven;
            n_refuted += !is_whole;
            assert_merges_slowly(v, t, v->piece[id]);
        }
        for (int i = 0; i < 200; i++) {
            char s[20] = { 0 };
            for (uint32_t k = 1 + random_below(18), letters = 1 + random_below(5); k--;)
                s[k] = "abcde"[random_below(letters)];
            assert_merges_slowly(v, t, s);
        }
        vs_tokenizer_free(t);
        free(v);
    }
    assert_true(n_proven > 1000 && n_unproven > 10 && n_refuted > 100);
}

/* Two pieces have the same bytes: rules make the lower id, of which others make more. */
static void test_pieces_said_twice(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("ufakzeka");
    uint32_t xyz = add_piece(v, "xyz", 1, 0);
    add_piece(v, "yz", 1, 0);
    add_piece(v, "ww", 1, 0);
    add_piece(v, "xyz", 1, 0);          /* behind the piece of the rule before: where it is looked for first */
    uint32_t xyzw = add_piece(v, "xyzw", 1, 0);
    static const char *const merges[] = { "y z", "w w", "x yz", "xyz w" };
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        snprintf(v->merge[v->n_merges++], sizeof *v->merge, "%s", merges[i]);
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    ASSERT_IDS(t, "xyz", false, 0, xyz);
    ASSERT_IDS(t, "xyzw", false, 0, xyzw);
    vs_tokenizer_free(t);
    free(v);
}

/* Many words in a call, short ones merged beside others on each instruction set, one after another what they are alone. */
static void test_many_words(void **state)
{
    (void)state;
    enum { MOST = 40000 };
    struct vocabulary *v = byte_level("ufakzeka");
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    char *s = malloc(MOST);
    uint32_t *want = malloc(MOST * sizeof *want);
    size_t n = 0, n_want = 0;
    while (n < MOST - 40) {
        size_t from = n, length = 1 + random_below(random_below(20) ? 14 : 30);
        s[n++] = " -"[random_below(2)];
        while (length--)
            s[n++] = "abcde"[random_below(5)];
        size_t again = random_below(n / 4 + 1);
        if (random_below(3) == 0 && s[again] == ' ') {      /* some that was met before */
            n = from;
            do s[n++] = s[again++]; while (s[again] >= 'a' && again < from);
        }
        for (size_t i = from; i < n; i++)
            want[n_want + i - from] = find_piece(v, s[i] == ' ' ? "\xc4\xa0" : (char[]){ s[i], 0 });
        n_want += merge_slowly(v, want + n_want, n - from);
    }
    for (unsigned level = 0; level < vs_levels(); level++) {
        struct vs_ids ids = { 0 };
        t->bpe.merge_lanes = vs_level[level].merge_lanes;
        t->bpe.pretok.cut = vs_level[level].cut;
        encode(t, s, n, false, 0, &ids);
        assert_int_equal(ids.n, n_want);
        assert_memory_equal(ids.id, want, n_want * sizeof *want);
        vs_ids_clear(&ids);
    }
    free(s);
    free(want);
    vs_tokenizer_free(t);
    free(v);
}

/* One call over a long text (words remembered, long words in the heap) gives what its lines give alone, and decodes back. */
static void test_bpe_round_trip(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("llama-bpe");
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    size_t n;
    char *text = read_file(TEST_DIR "/golden/tokenizer/mixed.txt", &n);
    struct vs_ids all = { 0 }, one = { 0 };
    struct vs_buf back = { 0 };
    encode(t, text, n, false, 0, &all);
    assert_int_equal(vs_tokenizer_decode(t, all.id, all.n, false, NULL, &back, NULL), VS_OK);
    assert_int_equal(back.n, n);
    assert_memory_equal(back.data, text, n);
    encode(t, text, n, true, 0, &one);   /* no special pieces: trust changes nothing */
    assert_int_equal(one.n, all.n);
    assert_memory_equal(one.id, all.id, all.n * sizeof *all.id);
    vs_buf_clear(&back);
    vs_ids_clear(&all);
    vs_ids_clear(&one);
    free(text);
    vs_tokenizer_free(t);
    free(v);
}

/* BERT's: what begins a word has U+2581, special pieces at the usual ids; the first word is 104. */
static struct vocabulary *word_pieces(void)
{
    static const char *const words[] = { "\xe2\x96\x81un", "aff", "able", "\xe2\x96\x81,", "\xe2\x96\x81" "cafe",
                                         "\xe2\x96\x81!", "f", "\xe2\x96\x81\xe4\xb8\x96", "\xe2\x96\x81" "b" };
    struct vocabulary *v = empty("bert", NULL);
    for (int i = 0; i < 100; i++)
        add_piece(v, "[unused]", 1, 0);
    add_piece(v, "[UNK]", 2, 0);
    add_piece(v, "[CLS]", 3, 0);
    add_piece(v, "[SEP]", 3, 0);
    add_piece(v, "[MASK]", 3, 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        add_piece(v, words[i], 1, 0);
    return v;
}

static void test_word_pieces(void **state)
{
    (void)state;
    enum { UNK = 100, CLS, SEP, MASK, UN, AFF, ABLE, COMMA, CAFE, BANG, F, SHI, B };
    struct vocabulary *v = word_pieces();
    struct vs_tokenizer *t;
    char longest[102] = "b";
    assert_int_equal(create(v, &t, NULL), VS_OK);
    ASSERT_IDS(t, "Unaffable, CAF\xc3\x89!", false, VS_ENCODE_ADD_SPECIAL, CLS, UN, AFF, ABLE, COMMA, CAFE, BANG, SEP);
    ASSERT_IDS(t, "unaff unx b", false, 0, UN, AFF, UNK, B);         /* a word is spelled to its end, or not at all */
    ASSERT_IDS(t, "un\xe2\x80\x8b" "aff\tb\xc2\xa0" "b", false, 0, UN, AFF, B, B);
    ASSERT_IDS(t, "b\xe4\xb8\x96" "b", false, 0, B, SHI, B);
    ASSERT_IDS(t, "cafe\xcc\x81", false, 0, CAFE);
    ASSERT_IDS(t, "[MASK]", true, 0, MASK);
    ASSERT_IDS(t, "[MASK]", false, 0, UNK, UNK, UNK);
    memset(longest + 1, 'f', 99);
    struct vs_ids ids = { 0 };
    encode(t, longest, 100, false, 0, &ids);
    assert_int_equal(ids.n, 100);
    longest[100] = 'f';
    encode(t, longest, 101, false, 0, &ids);                         /* one character more than a word may have */
    assert_true(ids.n == 1 && ids.id[0] == UNK);
    vs_ids_clear(&ids);
    vs_tokenizer_free(t);
    free(v);
}

static void test_unigram(void **state)
{
    (void)state;
    enum { PAD, END, UNK, A, B, AB, S_AB, S, S_A };
    struct vocabulary *v = empty("t5", NULL);
    static const struct { const char *s; int32_t type; float score; } pieces[] = {
        { "<pad>", 3, 0 }, { "</s>", 3, 0 }, { "<unk>", 2, 0 }, { "a", 1, -3 }, { "b", 1, -2 }, { "ab", 1, -4 },
        { "\xe2\x96\x81" "ab", 1, -9 }, { "\xe2\x96\x81", 1, -2 }, { "\xe2\x96\x81" "a", 1, -3.5f },
    };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        add_piece(v, pieces[i].s, pieces[i].type, pieces[i].score);
    v->n_scores = v->n;
    v->add_space_prefix = 1;
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    ASSERT_IDS(t, "ab", false, VS_ENCODE_ADD_SPECIAL, S_A, B, END);          /* -5.5, not -6 or -9 */
    ASSERT_IDS(t, "abab b", false, 0, S_A, B, AB, S, B);
    ASSERT_IDS(t, "xyza", false, 0, S, UNK, A);                              /* unknown ones that follow each other are one */
    ASSERT_IDS(t, "ax\xc3\xa9 b", false, 0, S_A, UNK, S, B);
    ASSERT_IDS(t, "</s>", true, 0, END);
    vs_tokenizer_free(t);
    v->n_scores--;
    struct vs_error err = { 0 };
    assert_int_equal(create(v, &t, &err), VS_E_MALFORMED);
    free(v);
}

static void test_rwkv(void **state)
{
    (void)state;
    enum { END, A, AB, ABC, BC, C, LINES, EURO, CUT, QUOTE, BACKSLASH };
    struct vocabulary *v = empty("rwkv", NULL);
    static const char *const pieces[] = { "<s>", "a", "ab", "abcd", "bc", "c", "\\n\\n", "\\xe2\\x82\\xac", "\\xe2", "\\'", "\\\\",
                                          "\\q" };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        add_piece(v, pieces[i], i ? 1 : 3, 0);
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    ASSERT_IDS(t, "abcd", false, VS_ENCODE_ADD_SPECIAL, ABC);
    ASSERT_IDS(t, "abc", false, 0, AB, C);                                   /* the longest, though what follows fits worse */
    ASSERT_IDS(t, "a\n\nbc\xe2\x82\xac'\\", false, 0, A, LINES, BC, EURO, QUOTE, BACKSLASH);
    assert_true(vs_tokenizer_is_end(t, END));
    struct vs_ids ids = { 0 };
    struct vs_text_run run = { 1, false };
    struct vs_error err = { 0 };
    assert_int_equal(vs_tokenizer_encode(t, "q", 1, &run, 1, 0, NULL, &ids, &err), VS_E_MALFORMED);    /* no such escape */
    assert_non_null(strstr(err.text, "0x71"));
    vs_ids_clear(&ids);
    struct vs_buf out = { 0 };
    const uint32_t back[] = { CUT, LINES, BACKSLASH, AB };
    assert_int_equal(vs_tokenizer_decode(t, back, 4, false, NULL, &out, &err), VS_OK);
    assert_int_equal(out.n, 6);
    assert_memory_equal(out.data, "\xe2\n\n\\ab", 6);
    vs_buf_clear(&out);
    vs_tokenizer_free(t);
    free(v);
}

enum { PLAMO_UNK, PLAMO_BOS, PLAMO_EOS, PLAMO_PAD, PLAMO_BYTE, PLAMO_A = PLAMO_BYTE + 256, PLAMO_B, PLAMO_AB, PLAMO_BA, PLAMO_A_A,
       PLAMO_ABA, PLAMO_S, PLAMO_SS, PLAMO_AAAA, PLAMO_DEAR, PLAMO_TAG_A };

static struct vocabulary *plamo(const char *model)
{
    struct vocabulary *v = empty(model, NULL);
    static const struct { const char *s; int32_t type; float score; } first[] = {
        { "<|plamo:unk|>", 2, 0 }, { "<|plamo:bos|>", 3, 0 }, { "<|plamo:eos|>", 3, 0 }, { "<|plamo:pad|>", 3, 0 },
    }, then[] = {
        { "a", 1, -3 }, { "b", 1, -3 }, { "ab", 1, -4 }, { "ba", 1, -4.00004f }, { "a a", 1, -5 }, { "aba", 1, -7 }, { " ", 1, -2 },
        { "  ", 1, -3 }, { "aaaa", 1, -12 }, { "dear", 1, -3000 }, { "<|plamo:a", 1, -1 },
    };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        add_piece(v, first[i].s, first[i].type, first[i].score);
    for (unsigned i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        add_piece(v, name, 6, 0);
    }
    for (size_t i = 0; i < sizeof then / sizeof *then; i++)
        add_piece(v, then[i].s, then[i].type, then[i].score);
    v->n_scores = v->n;
    return v;
}

static void test_plamo(void **state)
{
    (void)state;
    struct vocabulary *v = plamo("plamo2"), *w = plamo("plamo3");
    struct vs_tokenizer *t, *u;
    struct vs_error err = { 0 };
    assert_int_equal(create(v, &t, NULL), VS_OK);
    assert_int_equal(create(w, &u, NULL), VS_OK);
    /* 7 for aba as for ab, a and (in ten-thousandths) a, ba: the longer first piece */
    ASSERT_IDS(t, "aba", false, VS_ENCODE_ADD_SPECIAL, PLAMO_ABA);
    ASSERT_IDS(t, "abab", false, 0, PLAMO_AB, PLAMO_AB);
    ASSERT_IDS(t, "baba", false, 0, PLAMO_BA, PLAMO_BA);
    ASSERT_IDS(t, "a a a", false, 0, PLAMO_A_A, PLAMO_S, PLAMO_A);           /* a piece over a space; of two ways, the one above */
    ASSERT_IDS(t, "a\xc3\xa9", false, 0, PLAMO_A, PLAMO_BYTE + 0xc3, PLAMO_BYTE + 0xa9);
    ASSERT_IDS(t, "d", false, 0, PLAMO_BYTE + 'd');
    ASSERT_IDS(t, "dea", false, 0, PLAMO_BYTE + 'd', PLAMO_BYTE + 'e', PLAMO_A);
    /* a score below -2,000 does not count */
    ASSERT_IDS(t, "dear", false, 0, PLAMO_BYTE + 'd', PLAMO_BYTE + 'e', PLAMO_A, PLAMO_BYTE + 'r');
    ASSERT_IDS(t, "<|plamo:eos|>", true, 0, PLAMO_EOS);
    ASSERT_IDS(t, "\xef\xbb\xbf" "a\xef\xbb\xbf", false, 0, PLAMO_A, PLAMO_BYTE + 0xef, PLAMO_BYTE + 0xbb, PLAMO_BYTE + 0xbf);
    ASSERT_IDS(t, "aaaaa", false, 0, PLAMO_AAAA, PLAMO_A);                    /* of five ways */
    assert_true(vs_tokenizer_is_end(t, PLAMO_EOS));
    struct vs_buf out = { 0 };
    const uint32_t back[] = { PLAMO_BYTE + 0xc3, PLAMO_BYTE + 0xa9, PLAMO_A_A, PLAMO_S };
    assert_int_equal(vs_tokenizer_decode(t, back, 4, false, NULL, &out, &err), VS_OK);
    assert_int_equal(out.n, 6);
    assert_memory_equal(out.data, "\xc3\xa9" "a a ", 6);
    vs_buf_clear(&out);

    ASSERT_IDS(u, "aba", false, 0, PLAMO_ABA);
    ASSERT_IDS(u, "\xef\xbb\xbf" "a", false, 0, PLAMO_BYTE + 0xef, PLAMO_BYTE + 0xbb, PLAMO_BYTE + 0xbf, PLAMO_A);
    ASSERT_IDS(u, "a\xee\xb8\x80" "ba", false, 0, PLAMO_A, PLAMO_BA);        /* a boundary, which goes */
    ASSERT_IDS(u, "ab\xee\xb8\x80\xee\xb8\x80", false, 0, PLAMO_AB);
    ASSERT_IDS(u, "baaaa", false, 0, PLAMO_B, PLAMO_AAAA);                     /* a run is apart: not ba */
    ASSERT_IDS(u, "baaa", false, 0, PLAMO_BA, PLAMO_A, PLAMO_A);
    ASSERT_IDS(u, "a  a", false, 0, PLAMO_A, PLAMO_SS, PLAMO_A);
    ASSERT_IDS(u, "a a", false, 0, PLAMO_A_A);
    ASSERT_IDS(u, "b<|plamo:a|>a", false, 0, PLAMO_B, PLAMO_TAG_A, PLAMO_BYTE + '|', PLAMO_BYTE + '>', PLAMO_A);
    vs_tokenizer_free(t);
    vs_tokenizer_free(u);
    v->score[PLAMO_A] = 1e6f;
    assert_int_equal(create(v, &t, &err), VS_E_MALFORMED);
    v->score[PLAMO_A] = -3;
    v->type[PLAMO_BYTE + 200] = 1;
    assert_int_equal(create(v, &t, &err), VS_E_MALFORMED);
    assert_non_null(strstr(err.text, "0xc8"));
    v->type[PLAMO_BYTE + 200] = 6;
    v->n_scores--;
    assert_int_equal(create(v, &t, &err), VS_E_MALFORMED);
    free(v);
    free(w);
}

static void assert_cuts_alike(const struct vs_pretok *p, const char *text, size_t n)
{
    struct vs_pretok way = *p;
    struct cuts blocks = { .at = text };
    memset(way.plan, 0, sizeof way.plan);
    way.cut_flags = 0;
    assert_int_equal(vs_pretok_split(&way, text, n, NULL, on_pieces, &blocks), VS_OK);
    way = *p;
    for (unsigned level = 0; level <= vs_levels(); level++) {           /* the last: no masks */
        struct cuts cuts = { .at = text };
        way.cut = vs_level[level % vs_levels()].cut;
        way.cut_flags = level < vs_levels() ? p->cut_flags : 0;
        if (level < vs_levels() && !way.cut_flags)
            continue;
        assert_int_equal(vs_pretok_split(&way, text, n, NULL, on_pieces, &cuts), VS_OK);
        if (cuts.n != blocks.n || cuts.hash != blocks.hash)
            fail_msg("level %u, flags %x: '%.*s' is cut otherwise", level, p->cut_flags, (int)(n < 200 ? n : 200), text);
    }
}

/* What masks and two characters decide is what the blocks say, which are asked for all where there is neither. */
static void test_plans_cut_as_blocks_do(void **state)
{
    (void)state;
    for (size_t i = 0, n_met = 0; vs_pretok_name(i); i++) {         /* four characters of any kind anywhere in a block */
        static const char letters[] = "aZs'lL1 \n\t./\x01";
        static unsigned met[64];
        struct vs_pretok p;
        assert_int_equal(vs_pretok_init(&p, vs_pretok_name(i), strlen(vs_pretok_name(i))), VS_OK);
        size_t m = 0;
        while (m < n_met && met[m] != p.cut_flags)
            m++;
        if (m < n_met || !p.cut_flags)
            continue;
        met[n_met++] = p.cut_flags;
        for (unsigned k = 0; k < 13 * 13 * 13 * 13; k++) {
            char text[140];
            memset(text, 'b', sizeof text);
            size_t at = k % 61;
            text[at] = letters[k % 13];
            text[at + 1] = letters[k / 13 % 13];
            text[at + 2] = letters[k / 169 % 13];
            text[at + 3] = letters[k / 2197];
            assert_cuts_alike(&p, text, sizeof text);
        }
    }
    static const char *const bits[] = {
        " ", " ", "  ", "\n", "\r\n", "\t", "    ", "a", "the", "The", "THE", "aBc", "fooBarBaz", "internationalisation", "1", "23",
        "4567890", "'", "'s", "'LL", "'re", "don't", "(", "->", "!=", ";\n", "/", "//", "_x_", "...", "\xc3\xa9", "\xe4\xb8\x96",
        "\xcc\x81", "\xc2\xa0", "\xe2\x80\xa8", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xc5\xbf", "\x01", "\x7f", "$", "^", "|",
    };
    for (size_t i = 0; vs_pretok_name(i); i++) {
        const char *name = vs_pretok_name(i);
        struct vs_pretok p;
        assert_int_equal(vs_pretok_init(&p, name, strlen(name)), VS_OK);
        for (int round = 0; round < 300; round++) {
            char text[12 << 10];
            bool long_runs = round % 50 >= 48;           /* of more than 4,096 bytes, after which the work is counted */
            size_t n = 0, ascii_only = round % 2, enough = 100 + random_below(long_runs ? 10000 : 300);
            while (n < enough) {
                const char *bit = bits[random_below(sizeof bits / sizeof *bits)];
                if (ascii_only && (uint8_t)*bit >= 0x80)
                    continue;
                size_t times = long_runs && random_below(4) == 0 ? random_below(6000) : 1;
                for (; times && n < enough; times--, n += strlen(bit))
                    memcpy(text + n, bit, strlen(bit));
            }
            assert_cuts_alike(&p, text, n);
        }
    }
}

static void test_long_words_take_linear_time(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("llama-bpe");
    struct vocabulary *w = empty("llama", NULL);
    add_piece(w, "a", 1, -9);
    add_piece(w, "aa", 1, -1);
    add_piece(w, "aaaa", 1, -2);
    w->n_scores = w->n;
    w->add_space_prefix = 0;
    struct vocabulary *u = empty("t5", NULL), *p = word_pieces(), *q = plamo("plamo3");
    add_piece(u, "a", 1, -9);
    add_piece(u, "</s>", 3, 0);
    add_piece(u, "<unk>", 2, 0);
    add_piece(u, "aaaa", 1, -3);
    u->n_scores = u->n;
    struct vocabulary *all[] = { v, w, u, p, q };
    enum { N = 1 << 20 };
    char *s = malloc(N);
    assert_non_null(s);
    memset(s, 'a', N);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct vs_tokenizer *t;
        assert_int_equal(create(all[i], &t, NULL), VS_OK);
        struct vs_ids ids = { 0 };
        uint64_t t0 = cpu_ns();
        encode(t, s, N, false, 0, &ids);
        assert_true(cpu_ns() - t0 < 10000000000u);
        assert_true(ids.n > 0 && ids.n < N);
        vs_ids_clear(&ids);
        vs_tokenizer_free(t);
        free(all[i]);
    }
    free(s);
}

/* Section 6 said slowly, on the whole text at once. */
static size_t spm_slowly(const struct vocabulary *v, char symbol[][64], size_t n)
{
    for (;;) {
        float best = -1e30f;
        size_t at = n;
        for (size_t i = 0; i + 1 < n; i++) {
            char joined[128];
            snprintf(joined, sizeof joined, "%.63s%.63s", symbol[i], symbol[i + 1]);
            uint32_t id = find_piece(v, joined);
            if (id != UINT32_MAX && v->type[id] == 1 && v->score[id] > best) {
                best = v->score[id];
                at = i;
            }
        }
        if (at == n)
            return n;
        size_t len = strlen(symbol[at]);
        assert_true(len + strlen(symbol[at + 1]) < 64);
        memcpy(symbol[at] + len, symbol[at + 1], strlen(symbol[at + 1]) + 1);
        memmove(symbol[at + 1], symbol[at + 2], (n - at - 2) * sizeof *symbol);
        n--;
    }
}

static struct vocabulary *sentence_piece(void)
{
    struct vocabulary *v = empty("llama", "default");
    add_piece(v, "<unk>", 2, 0);
    add_piece(v, "<s>", 3, 0);
    add_piece(v, "</s>", 3, 0);
    for (int b = 0; b < 256; b++) {
        char s[8];
        snprintf(s, sizeof s, "<0x%02X>", b);
        add_piece(v, s, 6, 0);
    }
    static const char *const first[] = { "\xe2\x96\x81", "a", "b", "c", "\xc3\xa9" };
    for (size_t i = 0; i < 5; i++)
        add_piece(v, first[i], 1, -1000);
    for (int i = 0; i < 3000 && v->n < 700; i++) {
        uint32_t a = 259 + random_below(v->n - 259), b = 259 + random_below(v->n - 259);
        char joined[2 * MAX_PIECE];
        snprintf(joined, sizeof joined, "%s%s", v->piece[a], v->piece[b]);
        if (strlen(joined) < 16 && find_piece(v, joined) == UINT32_MAX)
            add_piece(v, joined, 1, -(float)random_below(50));
    }
    v->n_scores = v->n;
    v->bos = 1;
    v->eos = 2;
    return v;
}

static void test_spm_is_the_slow_algorithm(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        struct vocabulary *v = sentence_piece();
        v->add_space_prefix = variant;
        if (variant)                     /* without pieces that join words, texts are cut at spaces */
            for (uint32_t id = 264; id < v->n; id++) {
                const char *sign = strstr(v->piece[id] + 3, "\xe2\x96\x81");
                while (sign && memcmp(sign - 3, "\xe2\x96\x81", 3) == 0)
                    sign = strstr(sign + 3, "\xe2\x96\x81");
                if (sign || (strstr(v->piece[id], "\xe2\x96\x81") && memcmp(v->piece[id], "\xe2\x96\x81", 3) != 0))
                    snprintf(v->piece[id], MAX_PIECE, "unused%" PRIu32, id);
            }
        struct vs_tokenizer *t;
        struct vs_error err = { 0 };
        if (create(v, &t, &err) != VS_OK)
            fail_msg("%s", err.text);
        for (int round = 0; round < 200; round++) {
            static char symbol[400][64];
            struct vs_buf s = { 0 };
            size_t n = 0, n_text = 1 + random_below(120);
            if (v->add_space_prefix)
                snprintf(symbol[n++], 64, "\xe2\x96\x81");
            for (size_t i = 0; i < n_text; i++) {
                static const char *const letters[] = { " ", "a", "b", "c", "\xc3\xa9", "z" };
                const char *letter = letters[random_below(6)];
                vs_buf_str(&s, letter);
                snprintf(symbol[n++], 64, "%s", *letter == ' ' ? "\xe2\x96\x81" : letter);
            }
            n = spm_slowly(v, symbol, n);
            struct vs_ids ids = { 0 };
            encode(t, s.data, s.n, false, 0, &ids);
            size_t k = 0;
            for (size_t i = 0; i < n; i++) {
                uint32_t id = find_piece(v, symbol[i]);
                assert_true(k < ids.n);
                assert_int_equal(ids.id[k++], id == UINT32_MAX ? 3u + 'z' : id);
            }
            assert_int_equal(k, ids.n);
            struct vs_buf back = { 0 };
            vs_tokenizer_decode(t, ids.id, ids.n, false, NULL, &back, NULL);
            assert_int_equal(back.n, s.n);
            assert_memory_equal(back.data, s.data, s.n);
            vs_buf_clear(&back);
            vs_buf_clear(&s);
            vs_ids_clear(&ids);
        }
        vs_tokenizer_free(t);
        free(v);
    }
}

/* Texts that are cut where no piece has two bytes side by side have the ids of the whole: pieces join few of the pairs. */
static void test_cuts_change_nothing(void **state)
{
    (void)state;
    static const char *const models[] = { "llama", "gemma4", "t5", "plamo2", "plamo3", "rwkv" };
    static const char *const letters[] = { "\xe2\x96\x81", "a", "b", "c", "d", "\xc3\xa9", "(", "\xc3\xa8", "z" };
    enum { N_LETTERS = sizeof letters / sizeof *letters, FIRST = 259 };
    size_t n_cut = 0;
    for (int round = 0; round < 60; round++) {
        struct vocabulary *v = empty(models[round % 6], NULL);
        bool has_unknown = round % 6 < 5;
        add_piece(v, "<unk>", 2, 0);
        add_piece(v, "<s>", 3, 0);
        add_piece(v, "</s>", 3, 0);
        for (int b = 0; b < 256; b++) {
            char s[8];
            snprintf(s, sizeof s, "<0x%02X>", b);
            add_piece(v, s, 6, 0);
        }
        for (size_t i = has_unknown ? 0 : 1; i < (has_unknown ? N_LETTERS - 1 : N_LETTERS); i++)
            add_piece(v, letters[i], 1, -4);
        if (!has_unknown)
            add_piece(v, " ", 1, -4);
        for (uint32_t i = 0, n_more = random_below(40); i < n_more; i++) {
            uint32_t a = FIRST + random_below(v->n - FIRST), b = FIRST + random_below(v->n - FIRST);
            char joined[2 * MAX_PIECE];
            snprintf(joined, sizeof joined, "%s%s", v->piece[a], v->piece[b]);
            if (strlen(joined) >= 24 || find_piece(v, joined) != UINT32_MAX)
                continue;
            char rule[2 * MAX_PIECE];
            snprintf(rule, sizeof rule, "%.40s %.40s", v->piece[a], v->piece[b]);
            memcpy(v->merge[v->n_merges], rule, sizeof rule);
            v->made[v->n_merges++] = add_piece(v, joined, 1, -(float)random_below(round < 30 ? 20 : 1u << 30) / 3);
        }
        v->n_scores = v->n;
        v->bos = 1;
        v->eos = 2;
        struct vs_tokenizer *t;
        struct vs_error err = { 0 };
        if (create(v, &t, &err) != VS_OK)
            fail_msg("%s: %s", v->model, err.text);
        for (unsigned i = 0; i < sizeof t->joined * 8; i++)
            n_cut += !(t->joined[i / 64] >> i % 64 & 1);
        struct vs_buf text[8] = { 0 };
        struct vs_ids ids[2][8] = { 0 };
        for (int whole = 0; whole < 2; whole++)
            for (int k = 0; k < 8; k++) {
                for (uint32_t i = 0, n = whole ? 0 : random_below(1000); i < n; i++) {
                    const char *letter = letters[random_below(random_below(4) ? 5 : N_LETTERS)];
                    vs_buf_str(&text[k], *letter == '\xe2' ? " " : letter);
                }
                if (whole)
                    memset(t->joined, 0xff, sizeof t->joined);
                encode(t, text[k].data, text[k].n, false, 0, &ids[whole][k]);
            }
        for (int k = 0; k < 8; k++) {
            if (ids[0][k].n != ids[1][k].n || (ids[0][k].n && memcmp(ids[0][k].id, ids[1][k].id, 4 * ids[0][k].n) != 0))
                fail_msg("%s: %zu ids are not the %zu of the whole", v->model, ids[0][k].n, ids[1][k].n);
            vs_buf_clear(&text[k]);
            vs_ids_clear(&ids[0][k]);
            vs_ids_clear(&ids[1][k]);
        }
        vs_tokenizer_free(t);
        free(v);
    }
    assert_true(n_cut > 60u * (1u << 15));
}

/* Where pieces and rules lie is chance, so that no file can make them meet; the ids are not. */
static void test_hashes_have_a_seed(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("qwen2");
    struct vs_tokenizer *t[2];
    struct vs_ids ids[2] = { 0 };
    char text[600];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "abcde "[random_below(6)];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(create(v, &t[i], NULL), VS_OK);
        encode(t[i], text, sizeof text, false, 0, &ids[i]);
    }
    struct vs_key key = vs_key_of("abcd", 4);
    assert_true(vs_key_mix(&t[0]->vocab, key) != vs_key_mix(&t[1]->vocab, key));
    assert_true(vs_mix(&t[0]->vocab, 'a', 0) != vs_mix(&t[1]->vocab, 'a', 0));
    assert_true(vs_vocab_hash(&t[0]->vocab, text, 40) != vs_vocab_hash(&t[1]->vocab, text, 40));
    assert_true(t[0]->special.seed != t[1]->special.seed && t[0]->special.seed % 2);
    assert_int_equal(ids[0].n, ids[1].n);
    assert_memory_equal(ids[0].id, ids[1].id, ids[0].n * sizeof *ids[0].id);
    for (int i = 0; i < 2; i++) {
        vs_ids_clear(&ids[i]);
        vs_tokenizer_free(t[i]);
    }
    free(v);
}

/* Whatever the text, whoever waits is heard every few milliseconds, and time stays linear. */
static void test_work_can_be_stopped(void **state)
{
    (void)state;
    static const char *const units[] = { "a", " ", "1", "\n", "A", "\xcc\x81", "\xcc\xa3\xcc\x81", "\xe4\xb8\xad", "<", "a ",
                                         "~\xe2\x80\x8b", "\xe1\x84\x80" };
    static const char *const names[] = { "qwen2", "tiny_aya", "jais-2" };
    for (size_t k = 0; k < 4; k++) {
        size_t n_text = (size_t)(k ? 1 : 4) << 20;
        struct vocabulary *v = k < 3 ? byte_level(names[k]) : sentence_piece();
        add_piece(v, "<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<x", 3, 0);
        v->n_scores = k < 3 ? 0 : v->n;
        struct vs_tokenizer *t;
        assert_int_equal(create(v, &t, NULL), VS_OK);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            struct vs_buf b = { 0 };
            while (b.n < n_text)
                vs_buf_str(&b, units[u]);
            struct vs_text_run run = { b.n, true };
            struct asking asking = { .worst_ns = UINT64_MAX };
            struct vs_check check;
            struct vs_ids ids = { 0 };
            struct vs_error err = { 0 };
            uint64_t took = 0;
            for (int attempt = 0; attempt < 4 && asking.worst_ns > WORST_NS; attempt++) {   /* others use this machine too */
                uint64_t from = cpu_ns();
                asking = (struct asking){ .last_ns = from };
                check = (struct vs_check){ .ask = on_ask, .context = &asking };
                ids.n = 0;
                assert_int_equal(vs_tokenizer_encode(t, b.data, b.n, &run, 1, 0, &check, &ids, &err), VS_OK);
                took = cpu_ns() - from;
                on_ask(&asking);
            }
            if (asking.worst_ns > WORST_NS || took > 10000000000u || asking.n < 8)
                fail_msg("%s, '%s': %" PRIu64 " ms, %" PRIu64 " times asked, %" PRIu64 " us between two", v->pre, units[u],
                         took / 1000000, asking.n, asking.worst_ns / 1000);
            asking = (struct asking){ .stop_at = asking.n / 2, .last_ns = cpu_ns() };
            check = (struct vs_check){ .ask = on_ask, .context = &asking };
            size_t n = ids.n;
            assert_int_equal(vs_tokenizer_encode(t, b.data, b.n, &run, 1, 0, &check, &ids, &err), VS_E_CANCELLED);
            assert_int_equal(ids.n, n);
            assert_int_equal(err.code, VS_E_CANCELLED);
            struct vs_buf text = { 0 };
            check = (struct vs_check){ .ask = on_ask, .context = &asking };
            asking = (struct asking){ .stop_at = 2 };
            if (n > 1 << 18)
                assert_int_equal(vs_tokenizer_decode(t, ids.id, n, false, &check, &text, &err), VS_E_CANCELLED);
            vs_buf_clear(&text);
            vs_ids_clear(&ids);
            vs_buf_clear(&b);
        }
        vs_tokenizer_free(t);
        free(v);
    }
}

/* ---- special pieces ---- */

static void test_trust(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("gpt-2");
    uint32_t start = add_piece(v, "<|im_start|>", 3, 0), user = add_piece(v, "<tool>", 4, 0);
    uint32_t longer = add_piece(v, "<tool>>", 3, 0), unk = add_piece(v, "<unk>", 2, 0);
    add_piece(v, "<tool>", 4, 0);        /* said twice: the lower id is meant */
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    ASSERT_IDS(t, "<|im_start|>", true, 0, start);
    ASSERT_IDS(t, "<tool><unk>", true, 0, user, unk);
    ASSERT_IDS(t, "<tool>>", true, 0, longer);
    ASSERT_IDS(t, "<tool>>", false, 0, user, '>');
    struct vs_ids ids = { 0 };
    encode(t, "x<|im_start|>\n<unk>", 19, false, 0, &ids);
    for (size_t i = 0; i < ids.n; i++)
        assert_false(vs_tokenizer_is_control(t, ids.id[i]));
    /* every split of the text into a trusted and a plain part, both ways: it matches only when wholly trusted */
    const char *s = "<|im_start|>x";
    for (size_t cut = 0; cut <= 13; cut++)
        for (int first = 0; first < 2; first++) {
            struct vs_text_run runs[] = { { cut, first }, { 0, !first }, { 13 - cut, !first } };
            ids.n = 0;
            assert_int_equal(vs_tokenizer_encode(t, s, 13, runs, 3, 0, NULL, &ids, NULL), VS_OK);
            bool whole = first ? cut >= 12 : cut == 0;
            assert_int_equal(ids.id[0] == start, whole);
        }
    /* neighbouring trusted runs are one */
    struct vs_text_run runs[] = { { 3, true }, { 0, false }, { 4, true }, { 5, true }, { 1, false } };
    ids.n = 0;
    assert_int_equal(vs_tokenizer_encode(t, s, 13, runs, 5, 0, NULL, &ids, NULL), VS_OK);
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.id[0], start);
    /* bad calls leave the list as it was */
    struct vs_error err = { 0 };
    assert_int_equal(vs_tokenizer_encode(t, s, 13, runs, 4, 0, NULL, &ids, &err), VS_E_INVALID);
    assert_int_equal(vs_tokenizer_encode(t, s, 12, runs, 5, 0, NULL, &ids, &err), VS_E_INVALID);
    struct vs_text_run run = { 4, false };
    assert_int_equal(vs_tokenizer_encode(t, "ab\xff" "c", 4, &run, 1, 0, NULL, &ids, &err), VS_E_MALFORMED);
    assert_non_null(strstr(err.text, "byte 2"));
    assert_int_equal(ids.n, 2);
    vs_ids_clear(&ids);
    vs_tokenizer_free(t);
    free(v);
}

/* Models that want NFC get it between special pieces, whoever wrote the parts; special pieces are found in the text as it came. */
static void test_normalised(void **state)
{
    (void)state;
    static const char *const wants[] = { "qwen2", "deepseek-r1-qwen", "qwen35", "command-r", "tiny_aya", "olmo" };
    static const char *const not[] = { "gpt-2", "llama-bpe", "smollm", "deepseek-v3", "tekken", "kimi-k2" };
    for (size_t i = 0; i < 12; i++) {
        struct vocabulary *v = byte_level(i < 6 ? wants[i] : not[i - 6]);
        uint32_t start = add_piece(v, "<|im_start|>", 3, 0), tool = add_piece(v, "<tool>", 4, 0),
                 kelvin = add_piece(v, "<K>", 3, 0);
        uint32_t apart = add_piece(v, "o\xcc\x88", 4, 0);
        struct vs_tokenizer *t;
        assert_int_equal(create(v, &t, NULL), VS_OK);
        if (i >= 6) {
            ASSERT_IDS(t, "xe\xcc\x81", true, 0, 'x', 'e', 0xcc, 0x81);
        } else {
            ASSERT_IDS(t, "xe\xcc\x81", true, 0, 'x', 0xc3, 0xa9);
            ASSERT_IDS(t, "\xc3\xa9", false, 0, 0xc3, 0xa9);
            ASSERT_IDS(t, "<|im_start|>\xcc\xb8", true, 0, start, 0xcc, 0xb8);       /* not U+226F */
            ASSERT_IDS(t, "<tool>e\xcc\x81<tool>", false, 0, tool, 0xc3, 0xa9, tool);
            ASSERT_IDS(t, "<\xe2\x84\xaa>", true, 0, '<', 'K', '>');                /* U+212A, which becomes K */
            ASSERT_IDS(t, "o\xcc\x88", false, 0, apart);
            struct vs_ids ids = { 0 };
            const struct vs_text_run runs[] = { { 13, true }, { 2, false }, { 3, true } };
            assert_int_equal(vs_tokenizer_encode(t, "<|im_start|>e\xcc\x81<K>", 18, runs, 3, 0, NULL, &ids, NULL), VS_OK);
            assert_int_equal(ids.n, 4);
            assert_int_equal(ids.id[1] << 8 | ids.id[2], 0xc3a9);
            assert_int_equal(ids.id[0] == start && ids.id[3] == kelvin, true);
            vs_ids_clear(&ids);
        }
        vs_tokenizer_free(t);
        free(v);
    }
}

/* Merging never makes a control piece, though its text is in the vocabulary. */
static void test_no_merge_makes_a_control_piece(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("tekken");
    add_piece(v, "!!", 3, 0);
    snprintf(v->merge[v->n_merges++], sizeof *v->merge, "! !");
    struct vocabulary *w = sentence_piece();
    add_piece(w, "/", 1, -1);
    add_piece(w, "<", 1, -1);
    add_piece(w, "s>", 1, -1);
    add_piece(w, "</", 1, -1);
    w->n_scores = w->n;
    w->add_space_prefix = 0;
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    ASSERT_IDS(t, "!!", false, 0, '!', '!');
    vs_tokenizer_free(t);
    assert_int_equal(create(w, &t, NULL), VS_OK);
    ASSERT_IDS(t, "</s>", true, 0, 2);
    struct vs_ids ids = { 0 };
    encode(t, "</s><s>", 7, false, 0, &ids);
    for (size_t i = 0; i < ids.n; i++)
        assert_false(vs_tokenizer_is_control(t, ids.id[i]));
    vs_ids_clear(&ids);
    vs_tokenizer_free(t);
    free(v);
    free(w);
}

/* Characters and their bytes; merges never leave a line; a run of line feeds is one piece where there is one. */
static void test_gemma4(void **state)
{
    (void)state;
    struct vocabulary *v = empty("gemma4", "ignored");
    add_piece(v, "<unk>", 2, 0);
    v->bos = add_piece(v, "<bos>", 3, 0);
    v->add_bos = 0;
    uint32_t bytes = v->n;
    for (int b = 0; b < 256; b++) {
        char s[8];
        snprintf(s, sizeof s, "<0x%02X>", b);
        add_piece(v, s, 6, 0);
    }
    uint32_t space = add_piece(v, "\xe2\x96\x81", 1, 0), a = add_piece(v, "a", 1, 0), b = add_piece(v, "b", 1, 0);
    uint32_t lf = add_piece(v, "\n", 1, 0), lf2 = add_piece(v, "\n\n", 1, 0), ab = add_piece(v, "ab", 1, 0);
    uint32_t space_ab = add_piece(v, "\xe2\x96\x81" "ab", 1, 0), b_space = add_piece(v, "b\xe2\x96\x81", 1, 0);
    add_piece(v, "b\n", 1, 0);
    static const char *const merges[] = { "a b", "\xe2\x96\x81 ab", "b \xe2\x96\x81", "b \n" };
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        snprintf(v->merge[v->n_merges++], sizeof *v->merge, "%s", merges[i]);
    struct vs_tokenizer *t;
    struct vs_error err = { 0 };
    if (create(v, &t, &err) != VS_OK)
        fail_msg("%s", err.text);
    ASSERT_IDS(t, "ab ab", false, 0, ab, space_ab);
    ASSERT_IDS(t, "bb b ", false, 0, b, b_space, b_space);
    ASSERT_IDS(t, "a a ab  ab", false, 0, a, space, a, space_ab, space, space_ab);         /* no piece begins "a " */
    ASSERT_IDS(t, "\xe2\x96\x81" "ab", false, 0, space_ab);      /* its own sign is a space */
    ASSERT_IDS(t, "ab\n\nb\n", false, 0, ab, lf2, b, lf);
    ASSERT_IDS(t, "\n\n\n", false, 0, lf, lf, lf);
    ASSERT_IDS(t, "a\xc3\xa9 ", false, 0, a, bytes + 0xc3, bytes + 0xa9, space);
    ASSERT_IDS(t, "<bos>a", false, VS_ENCODE_ADD_SPECIAL, (uint32_t)v->bos, bytes + '<', b, bytes + 'o', bytes + 's', bytes + '>',
               a);
    ASSERT_IDS(t, "", false, VS_ENCODE_ADD_SPECIAL, (uint32_t)v->bos);          /* whatever the file says */
    struct vs_ids ids = { 0 };
    struct vs_buf back = { 0 };
    static const char text[] = " ab  b\n\n\n\xc3\xa9\t ab \xf0\x9f\x98\x80";
    encode(t, text, sizeof text - 1, false, 0, &ids);
    assert_int_equal(vs_tokenizer_decode(t, ids.id, ids.n, false, NULL, &back, NULL), VS_OK);
    assert_int_equal(back.n, sizeof text - 1);
    assert_memory_equal(back.data, text, back.n);
    vs_buf_clear(&back);
    vs_ids_clear(&ids);
    vs_tokenizer_free(t);
    free(v);
}

/* "gpt2" in the file, but pieces of characters, as gemma4's: which pre-tokenizers say so, and what each does with a line. */
static void test_pieces_of_characters(void **state)
{
    (void)state;
    static const struct { const char *pre; bool bos, first; } cases[] = {
        { "gemma4", true, false }, { "granite-embed-multi-311m", true, false }, { "sarvam-moe", false, false },
        { "mmbert", false, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vocabulary *v = empty("gpt2", cases[i].pre);
        uint32_t bos = (uint32_t)(v->bos = add_piece(v, "<bos>", 3, 0)), mask = add_piece(v, "<mask>", 3, 0);
        v->add_bos = 0;
        uint32_t bytes = v->n;
        for (int b = 0; b < 256; b++) {
            char s[8];
            snprintf(s, sizeof s, "<0x%02X>", b);
            add_piece(v, s, 6, 0);
        }
        uint32_t space = add_piece(v, "\xe2\x96\x81", 1, 0), a = add_piece(v, "a", 1, 0), b = add_piece(v, "b", 1, 0);
        uint32_t lf = add_piece(v, "\n", 1, 0), lf2 = add_piece(v, "\n\n", 1, 0);
        uint32_t a_space = add_piece(v, "a\xe2\x96\x81", 1, 0), space_b = add_piece(v, "\xe2\x96\x81" "b", 1, 0);
        uint32_t space2 = add_piece(v, "\xe2\x96\x81\xe2\x96\x81", 1, 0);
        static const char *const merges[] = {
            "a \xe2\x96\x81", "\xe2\x96\x81 b", "\xe2\x96\x81 \xe2\x96\x81",
        };
        for (size_t k = 0; k < sizeof merges / sizeof *merges; k++)
            snprintf(v->merge[v->n_merges++], sizeof *v->merge, "%s", merges[k]);
        struct vs_tokenizer *t;
        struct vs_error err = { 0 };
        if (create(v, &t, &err) != VS_OK)
            fail_msg("%s: %s", cases[i].pre, err.text);
        if (cases[i].first) {           /* no merge crosses the place in front of a space */
            ASSERT_IDS(t, "a b", false, 0, space, a, space_b);
            ASSERT_IDS(t, " a  b", false, 0, space, a, space, space_b);
            ASSERT_IDS(t, "b\n\nb\n b\n\n\n", false, 0, space_b, lf2, space_b, lf, space_b, lf, lf, lf);
            ASSERT_IDS(t, "\xc3\xa9", false, 0, space, bytes + 0xc3, bytes + 0xa9);
            ASSERT_IDS(t, "b \t<mask> b<mask>", true, 0, space_b, mask, space_b, mask);
        } else {
            ASSERT_IDS(t, "a b", false, 0, a_space, b);
            ASSERT_IDS(t, " a  b", false, 0, space, a_space, space_b);
            ASSERT_IDS(t, "b\n\nb\n  a", false, 0, b, lf2, b, lf, space2, a);
            ASSERT_IDS(t, "b <mask>", true, 0, b, space, mask);
        }
        if (cases[i].bos)
            ASSERT_IDS(t, "a", false, VS_ENCODE_ADD_SPECIAL, bos, a);
        else
            ASSERT_IDS(t, "b", false, VS_ENCODE_ADD_SPECIAL, cases[i].first ? space_b : b);
        vs_tokenizer_free(t);
        free(v);
    }
}

/* A word that is a piece is emitted unmerged, though no merges lead to it, by some of those that cut words alike. */
static void test_whole_words(void **state)
{
    (void)state;
    static const struct { const char *pre; bool whole; } cases[] = {
        { "glm4", true }, { "glm5", true }, { "chatglm-bpe", false }, { "llama-bpe", true }, { "smaug-bpe", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vocabulary *v = byte_level(cases[i].pre);
        v->n_merges = 0;
        uint32_t word = add_piece(v, "xyz", 1, 0);
        struct vs_tokenizer *t;
        assert_int_equal(create(v, &t, NULL), VS_OK);
        struct vs_ids ids = { 0 };
        encode(t, "xyz", 3, false, 0, &ids);
        assert_int_equal(ids.n, cases[i].whole ? 1 : 3);
        assert_int_equal(ids.id[0], cases[i].whole ? word : 'x');
        assert_int_equal(vs_tokenizer_bos(t), VS_TOKENIZER_NONE);
        vs_ids_clear(&ids);
        vs_tokenizer_free(t);
        free(v);
    }
}

static void test_bos(void **state)
{
    (void)state;
    struct vocabulary *v = sentence_piece();
    v->add_space_prefix = 0;
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    assert_int_equal(vs_tokenizer_bos(t), 1);
    assert_true(vs_tokenizer_adds_bos(t));
    uint32_t a = find_piece(v, "a");
    ASSERT_IDS(t, "a", true, VS_ENCODE_ADD_SPECIAL, 1, a);
    ASSERT_IDS(t, "<s>a", true, VS_ENCODE_ADD_SPECIAL, 1, a);     /* never a second one */
    ASSERT_IDS(t, "", true, VS_ENCODE_ADD_SPECIAL, 1);
    assert_ids(t, "", true, 0, 0, NULL);
    assert_true(vs_tokenizer_is_end(t, 2));
    assert_false(vs_tokenizer_is_end(t, 1));
    assert_false(vs_tokenizer_is_end(t, UINT32_MAX));
    vs_tokenizer_free(t);
    v->eos = 1 << 20;                    /* beyond the vocabulary */
    struct vs_error err;
    assert_int_equal(create(v, &t, &err), VS_E_MALFORMED);
    assert_non_null(strstr(err.text, "eos_token_id is 1048576"));
    free(v);
}

/* What the file declares decides: a spelling makes nothing a control piece and nothing an end. */
static void test_types_decide(void **state)
{
    (void)state;
    static const char *const spelled[] = { "</s>", "<eos>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<EOT>", "[EOS]", "[PAD]",
                                           "<|fim_pad|>", "<|return|>", "<|tool_response>", "[e~[" };
    /*                        type: undefined, normal, unknown, control, user, unused */
    static const bool end[] = { false, false, false, true, false, false };
    static const bool control[] = { false, false, true, true, false, false };
    for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++)
        for (int32_t type = 0; type < 6; type++) {
            struct vocabulary *v = byte_level("gpt-2");
            uint32_t id = add_piece(v, spelled[i], type, 0);
            struct vs_tokenizer *t;
            assert_int_equal(create(v, &t, NULL), VS_OK);
            assert_int_equal(vs_tokenizer_is_end(t, id), end[type]);
            assert_int_equal(vs_tokenizer_is_control(t, id), control[type]);
            struct vs_ids ids = { 0 };
            encode(t, spelled[i], strlen(spelled[i]), false, 0, &ids);
            assert_int_equal(ids.id[0] == id, type == 4);
            vs_ids_clear(&ids);
            struct vs_buf out = { 0 };
            vs_tokenizer_decode(t, &id, 1, false, NULL, &out, NULL);
            assert_string_equal(out.data ? out.data : "", control[type] ? "" : spelled[i]);
            vs_buf_clear(&out);
            vs_tokenizer_free(t);
            free(v);
        }
    /* a key names an end, whatever its spelling; it is control too unless it is declared to be text */
    for (int32_t type = 0; type < 6; type++) {
        struct vocabulary *v = byte_level("gpt-2");
        v->eos = add_piece(v, "<stop>", type, 0);
        struct vs_tokenizer *t;
        assert_int_equal(create(v, &t, NULL), VS_OK);
        assert_true(vs_tokenizer_is_end(t, (uint32_t)v->eos));
        assert_int_equal(vs_tokenizer_is_control(t, (uint32_t)v->eos), type != 1);
        vs_tokenizer_free(t);
        free(v);
    }
    /* the family's own ids count only where the file has no text there */
    for (int32_t type = 1; type < 4; type++) {
        struct vocabulary *v = sentence_piece();
        v->bos = v->eos = -1;
        v->type[0] = v->type[1] = v->type[2] = type;
        struct vs_tokenizer *t;
        assert_int_equal(create(v, &t, NULL), VS_OK);
        assert_int_equal(vs_tokenizer_bos(t), type == 1 ? VS_TOKENIZER_NONE : 1);
        assert_int_equal(vs_tokenizer_eos(t), type == 1 ? VS_TOKENIZER_NONE : 2);
        assert_int_equal(vs_tokenizer_is_end(t, 2), type != 1);
        vs_tokenizer_free(t);
        free(v);
    }
    /* </s> beside the ends of some families is no end, even as a control piece */
    static const char *const others[] = { "<|tool_response>", "<|plamo:eos|>" };
    for (size_t i = 0; i < 2; i++) {
        struct vocabulary *v = byte_level("gpt-2");
        uint32_t id = add_piece(v, "</s>", 3, 0);
        add_piece(v, others[i], 3, 0);
        struct vs_tokenizer *t;
        assert_int_equal(create(v, &t, NULL), VS_OK);
        assert_false(vs_tokenizer_is_end(t, id));
        assert_true(vs_tokenizer_is_control(t, id));
        vs_tokenizer_free(t);
        free(v);
    }
}

static void test_harmony_ends(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("gpt-4o");
    uint32_t end = add_piece(v, "<|end|>", 3, 0), channel = add_piece(v, "<|channel|>", 3, 0);
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    assert_true(vs_tokenizer_is_end(t, end));
    vs_tokenizer_free(t);
    uint32_t back = add_piece(v, "<|return|>", 3, 0), call = add_piece(v, "<|call|>", 3, 0);
    assert_int_equal(create(v, &t, NULL), VS_OK);
    assert_false(vs_tokenizer_is_end(t, end));                    /* it closes a message there */
    assert_true(vs_tokenizer_is_control(t, end));
    assert_true(vs_tokenizer_is_end(t, back));
    assert_true(vs_tokenizer_is_end(t, call));
    struct vs_buf out = { 0 };
    vs_tokenizer_decode(t, (uint32_t[]){ channel, end, back }, 3, false, NULL, &out, NULL);
    assert_string_equal(out.data, "<|channel|><|end|>");
    vs_buf_clear(&out);
    vs_tokenizer_free(t);
    free(v);
}

/* ---- back to text ---- */

static void test_streaming(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("llama-bpe");
    uint32_t hidden = add_piece(v, "<|end|>", 3, 0);
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    size_t n;
    char *text = read_file(TEST_DIR "/golden/tokenizer/mixed.txt", &n);
    struct vs_ids ids = { 0 };
    encode(t, text, n, false, 0, &ids);
    struct vs_detok d;
    struct vs_buf out = { 0 };
    vs_detok_init(&d, t, false);
    for (size_t i = 0; i < ids.n; i++) {
        size_t before = out.n;
        assert_int_equal(vs_detok_push(&d, ids.id[i], &out), VS_OK);
        assert_int_equal(vs_utf8_valid(out.data + before, out.n - before), out.n - before);
        assert_true(d.n_held <= 3);
    }
    vs_detok_finish(&d, &out);
    assert_int_equal(out.n, n);
    assert_memory_equal(out.data, text, n);
    free(text);
    vs_ids_clear(&ids);

    /* bytes that make no character; ids of bytes are the bytes, a control token in between prints nothing */
    static const struct { const char *bytes, *want; } cases[] = {
        { "\xe2\x82", "\xef\xbf\xbd" },
        { "\xe2\x82\xac", "\xe2\x82\xac" },
        { "\xe2\x82" "a", "\xef\xbf\xbd" "a" },
        { "\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xf0\x9f\xe2\x82\xac", "\xef\xbf\xbd\xe2\x82\xac" },
        { "\xf0\x9f\x98\x80\xf0", "\xf0\x9f\x98\x80\xef\xbf\xbd" },
        { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\x80" "ok", "\xef\xbf\xbd" "ok" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_buf_reset(&out);
        vs_detok_init(&d, t, false);
        for (const char *s = cases[i].bytes; *s; s++) {
            assert_int_equal(vs_detok_push(&d, (uint8_t)*s, &out), VS_OK);
            assert_int_equal(vs_detok_push(&d, hidden, &out), VS_OK);
        }
        vs_detok_finish(&d, &out);
        assert_string_equal(out.data, cases[i].want);
    }
    assert_int_equal(vs_detok_push(&d, 1u << 30, &out), VS_E_INVALID);
    struct vs_error err = { 0 };
    assert_int_equal(vs_tokenizer_decode(t, (uint32_t[]){ 5, 1u << 30 }, 2, false, NULL, &out, &err), VS_E_INVALID);
    vs_buf_clear(&out);
    vs_tokenizer_free(t);
    free(v);
}

static void test_leading_space(void **state)
{
    (void)state;
    struct vocabulary *v = sentence_piece();
    uint32_t space_a = find_piece(v, "\xe2\x96\x81" "a");
    if (space_a == UINT32_MAX) {
        space_a = add_piece(v, "\xe2\x96\x81" "a", 1, -1);
        v->n_scores = v->n;
    }
    struct vs_tokenizer *t;
    assert_int_equal(create(v, &t, NULL), VS_OK);
    const uint32_t ids[] = { 1, space_a, space_a };
    struct vs_buf out = { 0 };
    assert_int_equal(vs_tokenizer_decode(t, ids, 3, false, NULL, &out, NULL), VS_OK);
    assert_string_equal(out.data, "a a");
    for (int continues = 0; continues < 2; continues++) {
        struct vs_detok d;
        vs_buf_reset(&out);
        vs_detok_init(&d, t, false);
        if (continues)
            vs_detok_continue(&d);
        for (size_t i = 0; i < 3; i++)
            vs_detok_push(&d, ids[i], &out);
        vs_detok_finish(&d, &out);
        assert_string_equal(out.data, continues ? " a a" : "a a");
    }
    vs_buf_clear(&out);
    vs_tokenizer_free(t);
    free(v);
}

/* ---- what files may not hold ---- */

static void refuse(const struct vocabulary *v, int code, const char *text)
{
    struct vs_tokenizer *t = NULL;
    struct vs_error err = { 0 };
    int r = create(v, &t, &err);
    if (r != code || !strstr(err.text, text))
        fail_msg("want %s with '%s', got %s: %s", vs_status_name(code), text, vs_status_name(r), err.text);
    assert_null(t);
}

static void test_refusals(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("gpt-2");
    v->pre = "from-the-future";
    refuse(v, VS_E_UNSUPPORTED, "from-the-future");
    v->pre = "gpt-2";
    v->model = "hybriddna";
    refuse(v, VS_E_UNSUPPORTED, "hybriddna");
    v->model = "none";
    refuse(v, VS_E_NOT_FOUND, "no tokenizer");
    v->model = "llama";
    refuse(v, VS_E_MALFORMED, "scores is missing");
    v->n_scores = v->n - 1;
    refuse(v, VS_E_MALFORMED, "scores has");
    v->n_scores = v->n;
    v->score[7] = (float)strtod("nan", NULL);
    refuse(v, VS_E_MALFORMED, "token 7");
    v->model = "gpt2";
    v->n_scores = 0;
    v->n_types = v->n - 1;
    refuse(v, VS_E_MALFORMED, "token_type has");
    v->n_types = v->n;
    v->type[3] = 77;
    refuse(v, VS_E_MALFORMED, "type 77");
    v->type[3] = 1;
    v->tokens_type = VS_ENTRY_U32;
    refuse(v, VS_E_MALFORMED, "not strings");
    v->tokens_type = VS_ENTRY_STRING;
    v->n = v->n_types = 0;
    refuse(v, VS_E_MALFORMED, "tokens");
    free(v);
}

/* Merges that name absent pieces, empty, doubled and mis-spelled pieces: the rest works. */
static void test_tolerated(void **state)
{
    (void)state;
    struct vocabulary *v = byte_level("gpt-2");
    static const char *const merges[] = { "zz zz", "nospace", "", " ", "a ", " a", "z \xff", "q \xe4\xb8\xad", "z z", "z z" };
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        snprintf(v->merge[v->n_merges++], sizeof *v->merge, "%s", merges[i]);
    add_piece(v, "", 1, 0);
    add_piece(v, "", 3, 0);
    add_piece(v, "\xff\xfe", 3, 0);
    add_piece(v, "\xa9", 4, 0);
    uint32_t zz = add_piece(v, "zz", 1, 0);
    add_piece(v, "zz", 1, 0);
    snprintf(v->piece['y'], MAX_PIECE, "no single byte");
    struct vs_tokenizer *t;
    struct vs_error err = { 0 };
    assert_int_equal(create(v, &t, &err), VS_OK);
    ASSERT_IDS(t, "zzz", false, 0, zz, 'z');
    ASSERT_IDS(t, "zyzyz", false, 0, zz, 'z');       /* a byte without a piece is not there */
    assert_ids(t, "yy", false, 0, 0, NULL);
    ASSERT_IDS(t, "\xc3\xa9", true, 0, 0xc3, 0xa9);
    vs_tokenizer_free(t);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pretok_golden),
        cmocka_unit_test(test_pretok_linear),
        cmocka_unit_test(test_bpe_is_the_slow_algorithm),
        cmocka_unit_test(test_proven_pieces),
        cmocka_unit_test(test_pieces_said_twice),
        cmocka_unit_test(test_many_words),
        cmocka_unit_test(test_bpe_round_trip),
        cmocka_unit_test(test_long_words_take_linear_time),
        cmocka_unit_test(test_spm_is_the_slow_algorithm), cmocka_unit_test(test_cuts_change_nothing),
        cmocka_unit_test(test_hashes_have_a_seed),
        cmocka_unit_test(test_work_can_be_stopped),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_normalised),
        cmocka_unit_test(test_no_merge_makes_a_control_piece),
        cmocka_unit_test(test_gemma4),
        cmocka_unit_test(test_word_pieces),
        cmocka_unit_test(test_unigram),
        cmocka_unit_test(test_rwkv),
        cmocka_unit_test(test_plamo),
        cmocka_unit_test(test_plans_cut_as_blocks_do),
        cmocka_unit_test(test_pieces_of_characters),
        cmocka_unit_test(test_whole_words), cmocka_unit_test(test_bos),
        cmocka_unit_test(test_types_decide),
        cmocka_unit_test(test_harmony_ends),
        cmocka_unit_test(test_streaming),
        cmocka_unit_test(test_leading_space),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tolerated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
