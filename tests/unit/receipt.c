/* rooms: evidence receipt ipc base */
/* Receipts: the vectors of docs/RECEIPT.md; each bit flipped and each scalar edited is found; what is not a receipt is told so. */
#include "evidence/receipt.h"
#include "receipt/best.h"

#include "base/bytes.h"
#include "ipc/json.h"

#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_PROMPT = 3, N_OUT = 4, N_VOCAB = 200 };

static const uint32_t prompt[N_PROMPT] = { 1, 2, 300 }, tokens[N_OUT] = { 7, 8, 9, 2 };
static const char text[] = "Paris \xc3\xa9\n\"x\"";
static uint8_t salt[VS_SALT_BYTES];
static struct vs_key_secret secret;     /* which signs the receipts */
static struct vs_buf keys;               /* one epoch */
static bool is_long;                     /* every bit, and not one of seven */

/* Logits that anybody can make: (id * 37 + t * 11) mod 101, in quarters, minus 10. */
static void make_logits(uint32_t t, float *ret)
{
    for (uint32_t id = 0; id < N_VOCAB; id++)
        ret[id] = (float)((id * 37 + t * 11) % 101) * 0.25f - 10.0f;
}

static struct vs_hashed some(uint8_t byte)
{
    struct vs_hashed h = { .is_there = true };
    memset(h.hash, byte, sizeof h.hash);
    return h;
}

static struct vs_hashed committed(const char *name, const void *data, size_t n)
{
    struct vs_hashed h = { .is_there = true };
    vs_commit(name, salt, data, n, h.hash);
    return h;
}

static struct vs_hashed committed_ids(const char *name, const uint32_t *id, size_t n)
{
    struct vs_hashed h = { .is_there = true };
    vs_commit_ids(name, salt, id, n, h.hash);
    return h;
}

static struct vs_hashed committed_stop(void)
{
    struct vs_hashed h = { .is_there = true };
    struct vs_sha256 s;
    vs_commit_begin(&s, VS_COMMIT_STOP, salt);
    vs_commit_add_text(&s, "END", 3);
    vs_sha256_end(&s, h.hash);
    return h;
}

static void make_chain(struct vs_statement *s)
{
    float logits[N_VOCAB];
    uint8_t d[VS_DIGEST_BYTES];
    assert_int_equal(vs_statement_chain(s, salt, s->trace.chain.hash), VS_OK);
    s->trace.chain.is_there = true;
    for (uint32_t t = 0; t < s->trace.n_out; t++) {
        make_logits(t, logits);
        vs_trace_digest((unsigned)s->trace.level, logits, N_VOCAB, d);
        vs_trace_step(s->trace.chain.hash, N_PROMPT + t, tokens[t], d);
    }
}

static struct vs_statement make_statement(void)
{
    const uint32_t bias[2] = { 5, 0xff800000 };
    struct vs_statement s = {
        .tokens = committed_ids(VS_COMMIT_TOKENS, tokens, N_OUT), .text = committed(VS_COMMIT_TEXT, text, sizeof text - 1),
        .has_worker = true, .contract = { "VNC-1" }, .model = { .sha256 = some(0xaa) }, .numeric = { "f16", 2048 },
        .request = { .prompt = committed_ids(VS_COMMIT_PROMPT, prompt, N_PROMPT), .n_prompt = N_PROMPT, .seed = 42,
                     .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .typical_p = 1, .repeat_penalty = 1,
                     .repeat_last_n = 64, .max_tokens = 4, .bias = committed_ids(VS_COMMIT_BIAS, bias, 2),
                     .stop = committed_stop(), .stop_tokens = committed_ids(VS_COMMIT_STOP_TOKENS, tokens + 3, 1),
                     .constraint = committed(VS_COMMIT_CONSTRAINT, "{\"regex\":\"a\"}", 13) },
        .trace = { .level = VS_TRACE_SOME, .n_out = N_OUT },
        .observed = { .isa = "avx2", .threads = 8, .parallel = 3, .chunk = 512, .cached = 2 },
        .engine = { "veritas", "0.1.0" }, .result = { .finish = "length" },
        .has_guard = true, .guard = { some(0xbb), "pass" }, .time = { 1790000000000, 1790000000123, "local" },
        .actor = { .uid = 1000, .request = 7, .key = "alice@example" }, .has_log = true, .log = { "c1c15f702af06aa5", 7 },
    };
    make_chain(&s);
    return s;
}

static void add_list(struct vs_buf *out, const char *key, const uint32_t *id, size_t n)
{
    vs_buf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++)
        vs_buf_printf(out, "%s%u", i ? "," : "", id[i]);
    vs_buf_char(out, ']');
}

static void add_opening(struct vs_buf *out)
{
    char hex[2 * VS_SALT_BYTES + 1];
    vs_hex(salt, sizeof salt, hex);
    out->n--;                            /* the brace that ends it */
    vs_buf_printf(out, ",\"opening\":{\"salt\":\"%s\"", hex);
    add_list(out, "prompt_tokens", prompt, N_PROMPT);
    add_list(out, "tokens", tokens, N_OUT);
    vs_buf_str(out, ",\"text\":\"Paris \xc3\xa9\\n\\\"x\\\"\",\"bias\":[[5,\"ff800000\"]],\"stop\":[\"END\"],\"stop_tokens\":[2]"
                    ",\"constraint\":\"{\\\"regex\\\":\\\"a\\\"}\"}}");
}

static int sign(const struct vs_buf *payload, const struct vs_key_secret *with, const char *lines, size_t n, struct vs_buf *out)
{
    struct vs_key *key;
    struct vs_buf own = { 0 };
    int rc = vs_key_create(with, &key);
    vs_receipt_keys(lines, n, &own);
    if (rc == VS_OK)
        rc = vs_receipt_sign(payload->data, payload->n, key, &own, out);
    vs_buf_clear(&own);
    vs_key_free(rc == VS_OK ? key : NULL);
    return rc;
}

static struct vs_buf make_receipt(const struct vs_statement *s)
{
    struct vs_buf payload = { 0 }, receipt = { 0 };
    vs_statement_format(s, VS_STATEMENT_WHOLE, &payload);
    assert_int_equal(sign(&payload, &secret, keys.data, keys.n, &receipt), VS_OK);
    vs_buf_clear(&payload);
    add_opening(&receipt);
    return receipt;
}

static enum vs_verdict judge(const char *data, size_t n, char reason[400])
{
    struct vs_receipt r;
    enum vs_verdict v = vs_receipt_check(data, n, NULL, 0, &r, reason, 400);
    vs_receipt_clear(&r);
    return v;
}

/* The statement, signed: is it what the reason says? NULL: well-formed. */
static void expect(const struct vs_statement *s, const char *why)
{
    char reason[400];
    struct vs_buf receipt = make_receipt(s);
    enum vs_verdict v = judge(receipt.data, receipt.n, reason);
    vs_buf_clear(&receipt);
    if (v != (why ? VS_INVALID : VS_WELL_FORMED) || (why && !strstr(reason, why)))
        fail_msg("%s: %s, and not %s", vs_verdict_name(v), reason, why ? why : "well-formed");
}

static int setup(void **state)
{
    uint8_t seed[VS_SEED_BYTES];
    (void)state;
    for (unsigned i = 0; i < 32; i++) {
        salt[i] = (uint8_t)i;
        seed[i] = (uint8_t)(0x40 + i);
    }
    vs_json_setup(0);
    return vs_evidence_setup(NULL) != VS_OK || vs_key_secret_read(VS_KEY_ED25519, seed, NULL, &secret) != VS_OK
        || vs_keys_line(1, &secret.public, NULL, &secret, &keys) != VS_OK;
}

static int teardown(void **state)
{
    (void)state;
    vs_buf_clear(&keys);
    return 0;
}

static void is_hex(const uint8_t *bytes, const char *expected)
{
    char hex[2 * VS_DIGEST_BYTES + 1];
    vs_hex(bytes, VS_DIGEST_BYTES, hex);
    assert_string_equal(hex, expected);
}

/* ---- the vectors of docs/RECEIPT.md ---- */

/* Made by another program, from that page alone. */
#define TEXT_VECTOR      "7188ef5102151230202fd68e467554e760dc26e1d89682c09cd842cbfd9d5b9e"
#define SOME_VECTOR      "f996f37205c35a59d7da5cb03e4a502653d6a60ef6f85f6dc2a25ec323a52969"
#define ALL_VECTOR       "62235ce46c83823735e0c871db0c79d3466f7d81855150f96e6993c432fe5095"
#define BEGIN_VECTOR     "5db2c4606a4bda12678d5e2ee03b87dc304df5ee3ef520f704dd1645d598acfe"
#define CHAIN_VECTOR     "c285efbd0005e242734eb471d41c02c9fda0ae047e5766d4208a35aada3e0252"
#define STATEMENT_VECTOR "616732cf7d96b37653abc643fbb4139335abe194506002c4c0a08fca4ddb4ab9"

static void test_vectors(void **state)
{
    float logits[N_VOCAB];
    uint8_t d[VS_DIGEST_BYTES];
    struct vs_statement s = make_statement();
    struct vs_buf whole = { 0 }, pae = { 0 };
    (void)state;
    is_hex(s.text.hash, TEXT_VECTOR);
    make_logits(0, logits);
    vs_trace_digest(VS_TRACE_SOME, logits, N_VOCAB, d);
    is_hex(d, SOME_VECTOR);
    vs_trace_digest(VS_TRACE_ALL, logits, N_VOCAB, d);
    is_hex(d, ALL_VECTOR);
    assert_int_equal(vs_statement_chain(&s, salt, d), VS_OK);
    is_hex(d, BEGIN_VECTOR);
    is_hex(s.trace.chain.hash, CHAIN_VECTOR);
    vs_statement_format(&s, VS_STATEMENT_WHOLE, &whole);
    vs_sha256_of(whole.data, whole.n, d);
    is_hex(d, STATEMENT_VECTOR);
    vs_receipt_pae("hello", 5, &pae);
    assert_string_equal(pae.data, "DSSEv1 28 application/vnd.in-toto+json 5 hello");
    vs_buf_clear(&whole);
    vs_buf_clear(&pae);
}

enum { MANY = 40000 };

/* The best, by a sort of all. */
static int by_order(const void *a, const void *b)
{
    const struct vs_logit { uint32_t id; float v; } *x = a, *y = b;
    return x->v != y->v ? (x->v < y->v ? 1 : -1) : x->id < y->id ? -1 : 1;
}

static void sorted_digest(const float *logits, size_t n, uint8_t ret[VS_DIGEST_BYTES])
{
    struct { uint32_t id; float v; } all[MANY];
    uint8_t words[VS_BEST_MOST * 8];
    size_t best = n < VS_BEST_MOST ? n : VS_BEST_MOST;
    for (size_t i = 0; i < n; i++) {
        all[i].id = (uint32_t)i;
        all[i].v = logits[i];
    }
    qsort(all, n, sizeof *all, by_order);
    for (size_t i = 0; i < best; i++) {
        uint32_t bits;
        memcpy(&bits, &all[i].v, 4);
        vs_store_u32le(words + 8 * i, all[i].id);
        vs_store_u32le(words + 8 * i + 4, bits);
    }
    vs_sha256_of(words, best * 8, ret);
}

static void test_best(void **state)
{
    float logits[MANY];
    uint32_t x = 1;
    (void)state;
    for (int round = 0; round < 300; round++) {
        uint8_t fast[VS_DIGEST_BYTES], slow[VS_DIGEST_BYTES];
        size_t n = round < 100 ? (size_t)round + 1 : (round < 290 ? 9000 : MANY) - (size_t)round;
        for (size_t i = 0; i < n; i++) {
            x = x * 1664525 + 1013904223;
            /* Many equal ones, both zeros, and in order now and then. */
            logits[i] = round % 3 == 0 ? (float)i : round % 3 == 1 ? (float)(int)(x >> 28) - 8 : (float)(int)x;
            if (logits[i] == 0 && x & 1 << 20)
                logits[i] = -0.0f;
            if (round % 7 == 0)
                logits[i] = i % 900 == 3 ? logits[i] : -INFINITY;        /* nearly all of them can't be drawn */
            else if (round % 5 == 0)
                logits[i] -= (float)i;
        }
        vs_trace_digest(VS_TRACE_SOME, logits, n, fast);
        sorted_digest(logits, n, slow);
        assert_memory_equal(fast, slow, sizeof fast);
        uint32_t one[VS_BEST_MOST], other[VS_BEST_MOST], n_best = vs_best(logits, n, one);
        assert_int_equal(vs_best_c(logits, n, other), n_best);
        assert_memory_equal(one, other, n_best * sizeof *one);
    }
}

/* ---- statements ---- */

static void test_statement(void **state)
{
    struct vs_statement s = make_statement(), back;
    struct vs_buf one = { 0 }, two = { 0 };
    struct vs_error err;
    (void)state;
    for (int part = VS_STATEMENT_WORKER; part <= VS_STATEMENT_WHOLE; part++) {
        vs_buf_reset(&one);
        vs_buf_reset(&two);
        vs_statement_format(&s, part, &one);
        assert_int_equal(vs_statement_parse(one.data, one.n, part, &back, &err), VS_OK);
        vs_statement_format(&back, part, &two);
        assert_string_equal(one.data, two.data);
        assert_true(one.n <= VS_STATEMENT_MOST);
        /* Any cut and any bit: another statement, or none. */
        for (size_t n = 0; n < one.n; n++)
            assert_int_not_equal(vs_statement_parse(one.data, n, part, &back, &err), VS_OK);
        for (size_t bit = 0; bit < 8 * one.n; bit++) {
            one.data[bit / 8] ^= (char)(1 << bit % 8);
            if (vs_statement_parse(one.data, one.n, part, &back, &err) == VS_OK) {
                vs_buf_reset(&two);
                vs_statement_format(&back, part, &two);
                assert_string_equal(one.data, two.data);
            }
            one.data[bit / 8] ^= (char)(1 << bit % 8);
        }
    }
    assert_true(vs_statement_is_word("alice@example"));
    for (int c = 1; c < 256; c++)
        assert_int_equal(vs_statement_is_word((char[]){ (char)c, 0 }), (isalnum(c) && c < 128) || strchr("._-/:+@", c) != NULL);
    assert_false(vs_statement_is_word("") || vs_statement_is_word("a b") || vs_statement_is_word("\"")
                 || vs_statement_is_word("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"));
    s.has_worker = s.has_guard = s.has_log = false;
    s.tokens.is_there = s.text.is_there = false;
    s.body = some(1);
    vs_buf_reset(&one);
    vs_statement_format(&s, VS_STATEMENT_WHOLE, &one);
    assert_int_equal(vs_statement_parse(one.data, one.n, VS_STATEMENT_WHOLE, &back, &err), VS_OK);
    assert_false(back.has_worker);
    vs_buf_clear(&one);
    vs_buf_clear(&two);
}

/* Adapters have a list, in one spelling; one of several answers says how it ended. */
static void test_adapters(void **state)
{
    struct vs_statement s = make_statement(), again;
    struct vs_buf said = { 0 };
    struct vs_error err;
    (void)state;
    s.model.adapters.n = VS_STATEMENT_ADAPTERS;
    for (unsigned i = 0; i < s.model.adapters.n; i++) {
        memset(s.model.adapters.one[i].sha256, (int)i + 1, VS_DIGEST_BYTES);
        s.model.adapters.one[i].scale = 0.5f * (float)i - 1;
    }
    vs_statement_format(&s, VS_STATEMENT_CHOICE, &said);
    assert_int_equal(vs_statement_parse(said.data, said.n, VS_STATEMENT_CHOICE, &again, &err), VS_OK);
    assert_int_equal(again.model.adapters.n, s.model.adapters.n);
    assert_memory_equal(&again.model.adapters.one[6], &s.model.adapters.one[6], sizeof s.model.adapters.one[6]);
    assert_string_equal(again.result.finish, s.result.finish);
    assert_int_equal(vs_statement_parse(said.data, said.n, VS_STATEMENT_WORKER, &again, &err), VS_E_MALFORMED);
    static const struct { const char *was, *is; } changes[] = {
        { "\"adapters\":[{", "\"adapters\":[" }, { "\"adapters\":[", "\"adapters\":" }, { "},{\"sha256\"", "} ,{\"sha256\"" },
        { "\"scale\":\"bf800000\"", "\"scale\":\"7fc00000\"" }, { "\"scale\":\"bf800000\"", "\"scale\":-1" },
        { "\"adapters\":[", "\"adapters\":[{\"sha256\":\"" "0101010101010101010101010101010101010101010101010101010101010101"
          "\",\"scale\":\"3f800000\"}," },
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct vs_buf other = { 0 };
        const char *at = strstr(said.data, changes[i].was);
        assert_non_null(at);
        vs_buf_add(&other, said.data, (size_t)(at - said.data));
        vs_buf_str(&other, changes[i].is);
        vs_buf_str(&other, at + strlen(changes[i].was));
        assert_int_equal(vs_statement_parse(other.data, other.n, VS_STATEMENT_CHOICE, &again, &err), VS_E_MALFORMED);
        vs_buf_clear(&other);
    }
    vs_buf_clear(&said);
}

/* Whatever is said of model, contract and request shows in the beginning of the chain. */
static void test_bound(void **state)
{
    struct vs_statement good = make_statement(), s;
    uint8_t h[VS_DIGEST_BYTES], other[VS_DIGEST_BYTES];
    (void)state;
    assert_int_equal(vs_statement_chain(&good, salt, h), VS_OK);
#define CHANGED(change) do { \
        s = good; \
        change; \
        assert_int_equal(vs_statement_chain(&s, salt, other), VS_OK); \
        assert_memory_not_equal(h, other, sizeof h); \
    } while (0)
    CHANGED(strcpy(s.contract.id, "VNC-1H"));
    CHANGED(s.model.sha256.hash[0] ^= 1);
    CHANGED(s.model.adapters.n = 1);
    CHANGED(strcpy(s.numeric.kv_type, "q8_0"));
    CHANGED(s.numeric.n_ctx++);
    CHANGED(s.request.prompt.hash[31] ^= 1);
    CHANGED(s.request.n_prompt++);
    CHANGED(s.request.seed++);
    CHANGED(s.request.temperature = 0.9f);
    CHANGED(s.request.top_k++);
    CHANGED(s.request.top_p = 0.9f);
    CHANGED(s.request.min_p = 0);
    CHANGED(s.request.typical_p = 0.5f);
    CHANGED(s.request.repeat_penalty = 1.1f);
    CHANGED(s.request.presence_penalty = 0.1f);
    CHANGED(s.request.frequency_penalty = 0.1f);
    CHANGED(s.request.repeat_last_n = -1);
    CHANGED(s.request.max_tokens = -1);
    CHANGED(s.request.ignore_eos = 1);
    CHANGED(s.request.special = 1);
    CHANGED(s.request.parts = 1);
    CHANGED(s.request.bias.is_there = false);
    CHANGED(s.request.stop.is_there = false);
    CHANGED(s.request.stop_tokens.is_there = false);
    CHANGED(s.request.constraint.is_there = false);
    CHANGED(s.request.shaped = 1);
    CHANGED(s.trace.level = VS_TRACE_ALL);
#undef CHANGED
    s = good;                            /* and what must not matter does not */
    s.observed.threads = 1;
    strcpy(s.observed.isa, "c");
    assert_int_equal(vs_statement_chain(&s, salt, other), VS_OK);
    assert_memory_equal(h, other, sizeof h);
}

/* ---- receipts ---- */

static void test_receipt(void **state)
{
    struct vs_statement s = make_statement();
    struct vs_buf receipt = make_receipt(&s), vkey = { 0 };
    struct vs_receipt r;
    char reason[400];
    struct vs_key_secret other;
    (void)state;
    assert_int_equal(vs_receipt_check(receipt.data, receipt.n, NULL, 0, &r, reason, sizeof reason), VS_WELL_FORMED);
    assert_string_equal(reason, "");
    assert_false(r.is_trusted);
    assert_null(vs_receipt_lacks(&r));
    json_t *request = vs_receipt_request(&r, true);
    assert_int_equal(json_array_size(json_object_get(request, "tokens")), N_OUT);
    json_decref(request);
    vs_vkey_format(r.signer, &secret.public, &vkey);
    vs_receipt_clear(&r);
    assert_int_equal(vs_receipt_check(receipt.data, receipt.n, vkey.data, vkey.n, &r, reason, sizeof reason), VS_WELL_FORMED);
    assert_true(r.is_trusted);
    vs_receipt_clear(&r);
    assert_int_equal(vs_receipt_check(receipt.data, receipt.n, keys.data, keys.n, &r, reason, sizeof reason), VS_WELL_FORMED);
    assert_true(r.is_trusted);
    vs_receipt_clear(&r);
    vs_buf_reset(&vkey);
    assert_int_equal(vs_key_secret_make(VS_KEY_ED25519, &other), VS_OK);
    vs_vkey_format("veritas-audit/0011223344556677", &other.public, &vkey);
    assert_int_equal(vs_receipt_check(receipt.data, receipt.n, vkey.data, vkey.n, &r, reason, sizeof reason), VS_INVALID);
    vs_receipt_clear(&r);
    assert_int_equal(vs_receipt_check(receipt.data, receipt.n, "x", 1, &r, reason, sizeof reason), VS_INVALID);
    vs_receipt_clear(&r);
    vs_buf_clear(&vkey);
    vs_buf_clear(&receipt);
}

/* No flip of a bit of any byte passes as something else. */
static void test_flips(void **state)
{
    struct vs_statement s = make_statement();
    struct vs_buf receipt = make_receipt(&s);
    json_t *whole = vs_json_parse(receipt.data, receipt.n, NULL);
    char reason[400];
    (void)state;
    for (size_t bit = 0; bit < 8 * receipt.n; bit += is_long ? 1 : 7) {
        receipt.data[bit / 8] ^= (char)(1 << bit % 8);
        enum vs_verdict v = judge(receipt.data, receipt.n, reason);
        json_t *flipped = v == VS_WELL_FORMED ? vs_json_parse(receipt.data, receipt.n, NULL) : NULL;
        if (v == VS_WELL_FORMED && !json_equal(flipped, whole))
            fail_msg("bit %zu of byte %zu may be flipped", bit % 8, bit / 8);
        if (v != VS_WELL_FORMED && !reason[0])
            fail_msg("bit %zu of byte %zu: no reason", bit % 8, bit / 8);
        json_decref(flipped);
        receipt.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    json_decref(whole);
    vs_buf_clear(&receipt);
}

static void replace(struct vs_buf *b, const char *from, const char *to)
{
    const char *at = memmem(b->data, b->n, from, strlen(from));
    struct vs_buf other = { 0 };
    assert_non_null(at);
    vs_buf_add(&other, b->data, (size_t)(at - b->data));
    vs_buf_str(&other, to);
    vs_buf_add(&other, at + strlen(from), b->n - (size_t)(at - b->data) - strlen(from));
    vs_buf_clear(b);
    *b = other;
}

static void test_edits(void **state)
{
    static const struct { const char *from, *to; enum vs_verdict verdict; const char *why; } edits[] = {
        { "\"prompt_tokens\":[1,", "\"prompt_tokens\":[3,", VS_INVALID, "prompt_tokens" },
        { "\"tokens\":[7,", "\"tokens\":[6,", VS_INVALID, "tokens" },
        { "\"tokens\":[7,", "\"tokens\":[", VS_INVALID, "tokens" },
        { "\"tokens\":[7,", "\"tokens\":[NaN,", VS_INVALID, "no receipt" },
        { "\"tokens\":[7,", "\"tokens\":[7.0,", VS_INVALID, "tokens: entry 0" },
        { "\"tokens\":[7,", "\"tokens\":[4294967303,", VS_INVALID, "tokens: entry 0" },
        { "Paris", "Parks", VS_INVALID, "text" },
        { "ff800000", "7f800000", VS_INVALID, "bias" },
        { "ff800000", "FF800000", VS_INVALID, "bias" },
        { "\"END\"", "\"EN\",\"D\"", VS_INVALID, "stop" },
        { "\"stop_tokens\":[2]", "\"stop_tokens\":[]", VS_INVALID, "stop_tokens" },
        { "regex", "regeX", VS_INVALID, "constraint" },
        { "\"salt\":\"00", "\"salt\":\"01", VS_INVALID, "prompt_tokens" },
        { "\"salt\":\"00", "\"salt\":\"", VS_INVALID, "salt" },
        { "\"opening\":{", "\"opening\":{\"salt\":\"x\",", VS_INVALID, "no receipt" },
        { "\"opening\":{", "\"opening\":{\"more\":1,", VS_INVALID, "not known" },
        { "\"opening\":{", "\"opening\":{\"delivered\":\"x\",", VS_INVALID, "delivered" },
        { "vnd.in-toto", "vnd.other", VS_INVALID, "payloadType" },
        { "\"keys\":\"1 ", "\"keys\":\"2 ", VS_INVALID, "keys" },
        { "\"keys\":\"1 ", "\"keys\":\"1", VS_INVALID, "keys" },
        { "\"signatures\":[", "\"signatures\":[{},", VS_INVALID, "signatures" },
    };
    struct vs_statement s = make_statement();
    char reason[400];
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct vs_buf receipt = make_receipt(&s);
        replace(&receipt, edits[i].from, edits[i].to);
        enum vs_verdict v = judge(receipt.data, receipt.n, reason);
        if (v != edits[i].verdict || !strstr(reason, edits[i].why))
            fail_msg("%s for %s: %s, %s", edits[i].to, edits[i].from, vs_verdict_name(v), reason);
        vs_buf_clear(&receipt);
    }
}

/* What the operator signs himself must still fit together. */
static void test_fits(void **state)
{
    struct vs_statement good = make_statement(), s;
    (void)state;
    expect(&good, NULL);
#define SIGNED(why, change) do { \
        s = good; \
        change; \
        expect(&s, why); \
    } while (0)
    SIGNED("time", s.time.end = s.time.start - 1);
    SIGNED("text: the statement says nothing", s.text.is_there = false);
    SIGNED("trace", s.numeric.n_ctx = 5);
    SIGNED("trace", s.request.max_tokens = 3);
    SIGNED("prompt_tokens", s.request.n_prompt = 4);
    SIGNED("tokens", s.trace.n_out = 3);
    SIGNED("tokens", s.tokens.hash[0] ^= 1);
    SIGNED("prompt_tokens: the statement says nothing", s.has_worker = false);
    SIGNED("stop: the statement says nothing", s.request.stop.is_there = false);
    SIGNED("request.temperature", s.request.temperature = NAN);
    SIGNED("contract.id", strcpy(s.contract.id, "VNC-9"));
    SIGNED("result.finish", strcpy(s.result.finish, "because"));
    SIGNED("trace.level", s.trace.level = 3);
    SIGNED("request.n_prompt", s.request.n_prompt = 1000000 * 17);
#undef SIGNED
}

static void test_strange(void **state)
{
    char reason[400];
    struct vs_buf deep = { 0 };
    (void)state;
    for (int i = 0; i < 100000; i++)
        vs_buf_str(&deep, "{\"envelope\":");
    assert_int_equal(judge(deep.data, deep.n, reason), VS_INVALID);
    assert_int_equal(judge("", 0, reason), VS_INVALID);
    assert_int_equal(judge("[]", 2, reason), VS_INVALID);
    assert_int_equal(judge("{}", 2, reason), VS_INVALID);
    assert_int_equal(judge("{\"envelope\":{}}", 15, reason), VS_INVALID);
    vs_buf_clear(&deep);
}

/* A million tokens that nobody committed to are read, and refused. */
static void test_million(void **state)
{
    struct vs_statement s = make_statement();
    struct vs_buf receipt = make_receipt(&s), many = { 0 };
    char reason[400];
    (void)state;
    vs_buf_str(&many, "\"tokens\":[");
    for (int i = 0; i < 1000000; i++)
        vs_buf_str(&many, "7,");
    replace(&receipt, "\"tokens\":[", many.data);
    assert_int_equal(judge(receipt.data, receipt.n, reason), VS_INVALID);
    assert_non_null(strstr(reason, "tokens"));
    vs_buf_clear(&receipt);
    vs_buf_clear(&many);
}

/* A log's second key signs, of one kind or the other. */
static void put_vkey(const struct vs_public *key, struct vs_buf *out)
{
    uint8_t hash[VS_HASH_BYTES];
    char hex[17], origin[VS_ORIGIN_BYTES];
    vs_hash(key->bytes, key->n, hash);
    vs_hex(hash, 8, hex);
    snprintf(origin, sizeof origin, "veritas-audit/%s", hex);
    vs_vkey_format(origin, key, out);
    vs_buf_char(out, '\n');
}

static enum vs_verdict judge_by(const char *data, size_t n, const struct vs_buf *key, char reason[400])
{
    struct vs_receipt r;
    enum vs_verdict verdict = vs_receipt_check(data, n, key->data, key->n, &r, reason, 400);
    assert_true(verdict != VS_WELL_FORMED || r.is_trusted);
    vs_receipt_clear(&r);
    return verdict;
}

static void test_epochs_of(enum vs_key_kind kind)
{
    struct vs_statement s = make_statement();
    struct vs_buf payload = { 0 }, many = { 0 }, receipt = { 0 };
    struct vs_key_secret other;
    char reason[400];
    assert_int_equal(vs_key_secret_make(kind, &other), VS_OK);
    vs_buf_add(&many, keys.data, keys.n);
    vs_buf_str(&many, "2 00112233\n");   /* what a kill left */
    assert_int_equal(vs_keys_line(2, &other.public, NULL, &secret, &many), VS_OK);
    vs_statement_format(&s, VS_STATEMENT_WHOLE, &payload);
    assert_int_equal(sign(&payload, &other, many.data, many.n, &receipt), VS_OK);
    assert_int_equal(judge(receipt.data, receipt.n, reason), VS_WELL_FORMED);
    /* Signed by the second key, but its line is not there. */
    vs_buf_reset(&receipt);
    assert_int_equal(sign(&payload, &other, keys.data, keys.n, &receipt), VS_OK);
    assert_int_equal(judge(receipt.data, receipt.n, reason), VS_INVALID);
    vs_buf_reset(&receipt);
    assert_int_equal(sign(&payload, &other, NULL, 0, &receipt), VS_OK);
    assert_int_equal(judge(receipt.data, receipt.n, reason), VS_UNVERIFIABLE);
    /* So many keys that the receipt brings none: the first one alone does not tell, and does with the file. */
    struct vs_key_secret before = other;
    struct vs_buf first = { 0 }, both = { 0 };
    for (uint64_t epoch = 3; epoch <= VS_RECEIPT_EPOCHS + 1; epoch++, before = other) {
        assert_int_equal(vs_key_secret_make(kind, &other), VS_OK);
        assert_int_equal(vs_keys_line(epoch, &other.public, NULL, &before, &many), VS_OK);
    }
    vs_buf_reset(&receipt);
    assert_int_equal(sign(&payload, &other, many.data, many.n, &receipt), VS_OK);
    assert_null(memmem(receipt.data, receipt.n, "\"keys\"", 6));
    put_vkey(&secret.public, &first);
    assert_int_equal(judge_by(receipt.data, receipt.n, &first, reason), VS_UNVERIFIABLE);
    assert_non_null(strstr(reason, "file of keys"));
    assert_int_equal(judge_by(receipt.data, receipt.n, &many, reason), VS_WELL_FORMED);
    vs_buf_add(&both, first.data, first.n);
    vs_buf_add(&both, many.data, many.n);
    assert_int_equal(judge_by(receipt.data, receipt.n, &both, reason), VS_WELL_FORMED);
    vs_buf_reset(&both);
    put_vkey(&other.public, &both);
    vs_buf_add(&both, many.data, many.n);
    assert_int_equal(judge_by(receipt.data, receipt.n, &both, reason), VS_INVALID);
    vs_buf_clear(&first);
    vs_buf_clear(&both);
    vs_buf_clear(&payload);
    vs_buf_clear(&many);
    vs_buf_clear(&receipt);
}

static void test_epochs(void **state)
{
    (void)state;
    test_epochs_of(VS_KEY_ED25519);
    test_epochs_of(VS_KEY_P256);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_best), cmocka_unit_test(test_statement),
        cmocka_unit_test(test_adapters), cmocka_unit_test(test_bound), cmocka_unit_test(test_receipt),
        cmocka_unit_test(test_flips), cmocka_unit_test(test_edits),
        cmocka_unit_test(test_fits), cmocka_unit_test(test_strange), cmocka_unit_test(test_million), cmocka_unit_test(test_epochs),
    };
    is_long = argc > 1 && strcmp(argv[1], "all") == 0;
    return cmocka_run_group_tests(tests, setup, teardown);
}
